//! Inbound rules of this function's kind.

use std::fmt;

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

/// The port that a role's endpoint serves (MWAA user guide, "Security in your VPC on Amazon MWAA").
pub fn port(role: Role) -> u16 {
    match role {
        Role::Database => 5432,
        Role::Webserver => 443,
    }
}
