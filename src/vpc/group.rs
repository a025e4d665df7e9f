//! A security group as EC2 shows it, and whose it is.

use std::collections::{BTreeMap, BTreeSet};

use super::rule::Rule;
use crate::environment::{AccountId, Environment, GroupId, VpcId};
use crate::gather::Gather;
use crate::tags::{self, Tags};

/// A security group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its id.
    pub id: GroupId,
    /// Its VPC.
    pub vpc: VpcId,
    /// The account that it belongs to. A VPC's owner sees its participants' groups, too (VPC user
    /// guide, "Share your VPC subnets with other accounts").
    pub owner: AccountId,
    /// Its tags, whoever wrote them.
    pub tags: Tags,
    /// Its inbound rules, as far as they are of this function's kind, with their descriptions.
    pub rules: BTreeMap<Rule, String>,
}

impl Group {
    /// The ports to which it has a rule.
    pub fn ports(&self) -> BTreeSet<u16> {
        self.rules.keys().map(|rule| rule.port).gather()
    }

    /// The environment that it was made for, if this function made it in account `own`.
    pub fn made_for(&self, own: &AccountId) -> Option<Environment> {
        let has_role = self.tags.get(tags::ROLE).is_some_and(|role| role == tags::SECURITY_GROUP);
        let environment = Environment::parse(self.tags.get(tags::ENVIRONMENT)?).ok()?;
        (has_role && self.owner == *own).then_some(environment)
    }

    /// The rules that this function made for `environment`. One that a person added has another
    /// description, or none.
    pub fn rules_made_for(&self, environment: &Environment) -> impl Iterator<Item = &Rule> {
        self.rules
            .iter()
            .filter(|(rule, description)| **description == rule.description(environment))
            .map(|(rule, _)| rule)
    }
}
