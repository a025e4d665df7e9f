//! The doctor: what of a network keeps an environment from working, before and after it is there.
//!
//! A catalogue of checks. Each is a function from what was looked at ([`Network`]) and for whom
//! ([`Subject`]) to an [`Answer`]. What a check could not see it cannot have: [`Seen::get`] is an error
//! then, which ends the check and makes it `unknown`. So a check that passes has seen all that it says.

mod acls;
pub mod deployment;
#[cfg(test)]
mod deployment_tests;
mod function_role;
mod groups;
mod hub;
mod ours;
mod participant;
mod policy;
pub mod role;
mod routes;
mod s3;
mod services;
pub mod show;
mod subject;
mod subnets;
#[cfg(test)]
mod tests;
mod vpc;

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

pub use crate::vpc::network::*;
pub use crate::vpc::{Endpoint, Kind, State, Subnet};
pub(crate) use ours::{MORE_ENDPOINTS, SHORTER_POLICY, is_nearly_full};
pub use subject::Subject;

use crate::environment::SubnetId;
use crate::gather::Gather;
use routes::WayOut;

/// One thing that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Its id, such as `routes.nat-public`. Ids stay as they are.
    pub id: &'static str,
    /// What is right if it passes.
    pub title: &'static str,
    /// What it is about.
    pub group: CheckGroup,
    /// How it stands.
    pub verdict: Verdict,
    /// What was seen, or why it was not.
    pub evidence: String,
    /// What to do, if something is not right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The page that says what is right.
    pub source: &'static str,
}

/// How a check stands. The worst comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// It keeps the environment from working.
    Fail,
    /// It may come to, or works by luck.
    Warn,
    /// It could not be seen, or cannot be told from here.
    Unknown,
    /// It is right.
    Pass,
}

/// What checks are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum CheckGroup {
    /// The VPC's settings.
    Vpc,
    /// The environment's subnets.
    Subnets,
    /// Their route tables.
    Routes,
    /// Network ACLs.
    Acls,
    /// Endpoints of the AWS services that an environment uses.
    Services,
    /// The way to S3.
    S3,
    /// The environment's security groups.
    Groups,
    /// A hub VPC, through which many others reach AWS services.
    Hub,
    /// What is made for the environment: its endpoints, and its queue in the SQS endpoint's policy.
    Ours,
    /// The function, and what brings it events, in the owner's account.
    Deployment,
    /// What sends a participant's events to the owner.
    Participant,
    /// The environment's execution role.
    Role,
}

impl CheckGroup {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 12] = [
        Self::Vpc,
        Self::Subnets,
        Self::Routes,
        Self::Acls,
        Self::Services,
        Self::S3,
        Self::Groups,
        Self::Hub,
        Self::Ours,
        Self::Deployment,
        Self::Participant,
        Self::Role,
    ];

    /// Its name, as ids begin.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vpc => "vpc",
            Self::Subnets => "subnets",
            Self::Routes => "routes",
            Self::Acls => "acls",
            Self::Services => "services",
            Self::S3 => "s3",
            Self::Groups => "groups",
            Self::Hub => "hub",
            Self::Ours => "ours",
            Self::Deployment => "deployment",
            Self::Participant => "participant",
            Self::Role => "role",
        }
    }
}

impl fmt::Display for CheckGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A check of a catalogue, of what was looked at as an `S`.
struct Entry<S: 'static = Network> {
    id: &'static str,
    title: &'static str,
    source: &'static str,
    look: fn(&Case<'_, S>) -> Answer,
}

/// What a check found; nothing if it does not apply; an error if it could not see.
type Answer = Result<Option<Finding>, Unseen>;

/// What a check found.
struct Finding {
    verdict: Verdict,
    evidence: String,
    remedy: Option<String>,
}

fn pass(evidence: impl Into<String>) -> Answer {
    Ok(Some(Finding { verdict: Verdict::Pass, evidence: evidence.into(), remedy: None }))
}

fn fail(evidence: impl Into<String>, remedy: impl Into<String>) -> Answer {
    found(Verdict::Fail, evidence, remedy)
}

fn warn(evidence: impl Into<String>, remedy: impl Into<String>) -> Answer {
    found(Verdict::Warn, evidence, remedy)
}

fn unknown(evidence: impl Into<String>, remedy: impl Into<String>) -> Answer {
    found(Verdict::Unknown, evidence, remedy)
}

fn found(verdict: Verdict, evidence: impl Into<String>, remedy: impl Into<String>) -> Answer {
    Ok(Some(Finding { verdict, evidence: evidence.into(), remedy: Some(remedy.into()) }))
}

const CATALOGUE: [(CheckGroup, &[Entry]); 9] = [
    (CheckGroup::Vpc, &vpc::CHECKS),
    (CheckGroup::Subnets, &subnets::CHECKS),
    (CheckGroup::Routes, &routes::CHECKS),
    (CheckGroup::Acls, &acls::CHECKS),
    (CheckGroup::Services, &services::CHECKS),
    (CheckGroup::S3, &s3::CHECKS),
    (CheckGroup::Groups, &groups::CHECKS),
    (CheckGroup::Hub, &hub::CHECKS),
    (CheckGroup::Ours, &ours::CHECKS),
];

/// Runs all checks that apply, in the catalogue's order.
pub fn examine(seen: &Network, of: &Subject) -> Vec<Check> {
    run(&CATALOGUE, Case { seen, of })
}

fn run<S>(catalogue: &[(CheckGroup, &[Entry<S>])], case: Case<'_, S>) -> Vec<Check> {
    let all = catalogue.iter().flat_map(|(group, entries)| entries.iter().map(|it| (*group, it)));
    all.filter_map(|(group, entry)| {
        let finding = (entry.look)(&case).unwrap_or_else(|Unseen(why)| {
            Some(Finding { verdict: Verdict::Unknown, evidence: why, remedy: None })
        })?;
        let Finding { verdict, evidence, remedy } = finding;
        let Entry { id, title, source, .. } = *entry;
        Some(Check { id, title, group, verdict, evidence, remedy, source })
    })
    .collect()
}

/// What is examined, and for whom.
struct Case<'a, S = Network> {
    seen: &'a S,
    of: &'a Subject,
}

impl<'a> Case<'a> {
    /// A subnet.
    fn subnet(&self, id: &SubnetId) -> Result<&'a NetworkSubnet, Unseen> {
        let mut all = self.seen.subnets.get()?.iter();
        let found = all.find(|it| it.subnet.id == *id);
        found.ok_or_else(|| Unseen(format!("{id} was not seen")))
    }

    /// The environment's subnets, all of them, each once.
    fn subnets(&self) -> Result<Vec<&'a NetworkSubnet>, Unseen> {
        if self.of.subnets.is_empty() {
            return Err(Unseen("no subnets are named".to_owned()));
        }
        let each: BTreeSet<&SubnetId> = self.of.subnets.iter().gather();
        each.into_iter().map(|id| self.subnet(id)).collect()
    }

    /// The addresses of the environment's subnets, of the family that it speaks.
    fn addresses(&self) -> Result<Vec<Addresses>, Unseen> {
        let subnets = self.subnets()?;
        Ok(subnets.iter().flat_map(|it| it.addresses(it.family())).collect())
    }

    /// The endpoints that work or may come to.
    fn endpoints(&self) -> Result<impl Iterator<Item = &'a NetworkEndpoint> + use<'a>, Unseen> {
        let all = self.seen.endpoints.get()?.iter();
        Ok(all.filter(|it| it.endpoint.state.is_alive()))
    }

    /// The way out of the environment's subnets.
    fn way_out(&self) -> Result<WayOut, Unseen> {
        routes::way_out(self)
    }
}

/// Things in one line, each once.
fn listed<T: fmt::Display + Ord>(things: impl IntoIterator<Item = T>) -> String {
    let things: BTreeSet<T> = things.into_iter().gather();
    let things: Vec<String> = things.iter().map(T::to_string).collect();
    things.join(", ")
}

/// The first of them in one line, where there may be many.
fn some_of(things: BTreeSet<String>) -> String {
    const SHOWN: usize = 6;
    let more = things.len().saturating_sub(SHOWN);
    let shown: Vec<String> = things.into_iter().take(SHOWN).collect();
    match more {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
