//! The security group that the function keeps, in the VPC owner's account, for a participant's
//! environment, whose own groups cannot be put on the owner's endpoints (VPC user guide,
//! "Responsibilities and permissions for owners and participants").

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::environment::{AccountId, Environment, GroupId, PrefixListId, Role, VpcId};
use crate::event::Wanted;
use crate::settings::Settings;
use crate::tags::{self, Tags};
use crate::vpc::Vpc;

/// A group that was made for the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnGroup {
    /// Its id.
    pub id: GroupId,
    /// Its VPC.
    pub vpc: VpcId,
    /// Its tags.
    pub tags: Tags,
    /// Its inbound rules, as far as they are of this function's kind, with their descriptions.
    pub rules: BTreeMap<Rule, String>,
}

impl OwnGroup {
    /// The rules that this function made for `environment`. One that a person added has another
    /// description, or none.
    pub fn rules_made_for(&self, environment: &Environment) -> impl Iterator<Item = &Rule> {
        self.rules
            .iter()
            .filter(|(rule, description)| **description == rule.description(environment))
            .map(|(rule, _)| rule)
    }
}

/// An inbound rule: TCP to one port, from one source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// The port.
    pub port: u16,
    /// Who may come in.
    pub source: Source,
}

/// Who a rule lets in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// What carries this group of this account.
    Group(AccountId, GroupId),
    /// An IPv4 block.
    Ipv4(String),
    /// An IPv6 block.
    Ipv6(String),
    /// The blocks of a managed prefix list.
    PrefixList(PrefixListId),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Group(account, group) => write!(f, "{account}/{group}"),
            Source::Ipv4(block) | Source::Ipv6(block) => f.write_str(block),
            Source::PrefixList(list) => write!(f, "{list}"),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TCP {} from {}", self.port, self.source)
    }
}

impl Rule {
    /// The rule's description in EC2. It allows few characters (EC2 API, `IpRange.Description`).
    pub fn description(&self, environment: &Environment) -> String {
        let what =
            if self.port == port(Role::Database) { "metadata database" } else { "web server" };
        format!("{what} of MWAA environment {}", environment.name())
    }
}

/// The port that a role's endpoint serves (MWAA user guide, "Security in your VPC on Amazon MWAA").
pub fn port(role: Role) -> u16 {
    match role {
        Role::Database => 5432,
        Role::Webserver => 443,
    }
}

/// What must happen for the environment's group to be there with its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStep {
    /// The group, if there is one.
    pub existing: Option<GroupId>,
    /// Its name, for when it must be made.
    pub name: String,
    /// Its description, for when it must be made.
    pub description: String,
    /// Its tags, for when it must be made.
    pub tags: Tags,
    /// The rules that it lacks.
    pub missing: BTreeSet<Rule>,
}

/// The group's name: the participant's account and the environment are in it, so that it is unique
/// in a VPC. It must not begin with `sg-` (EC2 API, `CreateSecurityGroup`).
pub fn name(environment: &Environment) -> String {
    format!("mwaa-{}-{}", environment.account, environment.name())
}

/// The rules that the environment's group must have: from each of the environment's groups to each
/// role's port, and to the web server from the sources in the settings.
pub fn wanted_rules(wanted: &Wanted, settings: &Settings) -> BTreeSet<Rule> {
    let mut rules = BTreeSet::new();
    for (role, _) in wanted.services() {
        let port = port(role);
        for group in &wanted.groups {
            let source = Source::Group(wanted.environment.account.clone(), group.clone());
            rules.insert(Rule { port, source });
        }
        if role == Role::Webserver {
            let sources = settings.webserver_sources.iter();
            rules.extend(sources.map(|source| Rule { port, source: source.clone() }));
        }
    }
    rules
}

/// Decides what must happen to the environment's group. Rules are only added: while an environment
/// changes its groups, old workers still run behind the old one.
pub fn decide(wanted: &Wanted, vpc: &Vpc, settings: &Settings, tags: Tags) -> GroupStep {
    let environment = &wanted.environment;
    let name = name(environment);
    let existing = vpc.own_groups.first();
    let mut missing = wanted_rules(wanted, settings);
    if let Some(group) = existing {
        missing.retain(|rule| !group.rules.contains_key(rule));
    }
    let mut tags = tags;
    tags.insert(tags::NAME.to_owned(), name.clone());
    tags.insert(tags::ROLE.to_owned(), tags::SECURITY_GROUP.to_owned());
    GroupStep {
        existing: existing.map(|group| group.id.clone()),
        description: format!("VPC endpoints of MWAA environment {}", environment.arn()),
        name,
        tags,
        missing,
    }
}
