//! The security group that the function keeps, in the VPC owner's account, for a participant's
//! environment, whose own groups cannot be put on the owner's endpoints (VPC user guide,
//! "Responsibilities and permissions for owners and participants").

pub mod apply;
pub mod decide;

use std::collections::BTreeSet;

pub use decide::{GroupStep, wanted_rules};

use crate::environment::GroupId;
use crate::report::{Change, Kind, Resource};
use crate::vpc::Rule;

/// Rules as a list for a sentence.
pub fn listed<'a>(rules: impl IntoIterator<Item = &'a Rule>) -> String {
    rules.into_iter().map(Rule::to_string).collect::<Vec<_>>().join(", ")
}

/// What is told of rules that are taken off a group.
pub fn revoked(group: &GroupId, rules: &BTreeSet<Rule>) -> Resource {
    let detail = format!("{group}: {} is no longer needed", listed(rules));
    Resource::new(Kind::SecurityGroup, Change::Updated, detail).with_id(group)
}
