//! The outermost layer: the only rooms that talk to AWS.

pub mod config;
pub mod ec2;
mod ec2_entrance;
pub mod ec2_network;
mod ec2_query;
mod ec2_read;
pub mod error;
pub mod identity;
pub mod mwaa;

pub use ec2::Ec2;
pub use mwaa::Mwaa;
