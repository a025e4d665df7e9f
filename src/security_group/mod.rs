//! The security group that the function keeps, in the VPC owner's account, for a participant's
//! environment, whose own groups cannot be put on the owner's endpoints (VPC user guide,
//! "Responsibilities and permissions for owners and participants").

pub mod apply;
pub mod decide;

use std::fmt;

pub use decide::{GroupStep, name, port, wanted_rules};

use crate::environment::{AccountId, Environment, GroupId, PrefixListId, Role};

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

/// Rules as a list for a sentence.
pub fn listed<'a>(rules: impl IntoIterator<Item = &'a Rule>) -> String {
    rules.into_iter().map(Rule::to_string).collect::<Vec<_>>().join(", ")
}
