//! An environment's endpoints: for each role, whether one is kept, completed or made.

pub mod apply;
pub mod decide;

pub use decide::{EndpointAction, EndpointStep, Groups, decide, groups, in_use, one_per_zone};
