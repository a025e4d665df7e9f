//! What must happen for the environment's group to be there with its rules.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::listed;
use crate::environment::{AccountId, Environment, GroupId, Role, VpcId};
use crate::event::EnvironmentSpec;
use crate::report::{Change, Failure, Kind, Resource, Tense};
use crate::settings::Settings;
use crate::tags::{self, Tags};
use crate::vpc::{Group, Rule, Source, Vpc, port};

/// The group that is kept for an environment, and the rules that it lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStep {
    /// Whose it is.
    pub environment: Environment,
    /// The VPC.
    pub vpc: VpcId,
    /// The account that owns the VPC, and the group.
    pub owner: AccountId,
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
    /// The ports to which it has a rule already.
    pub ports: BTreeSet<u16>,
}

/// The group's name: the participant's account and the environment are in it, and a hash of its ARN,
/// since EC2 takes two names that differ only in case for the same, and MWAA does not. It must not
/// begin with `sg-` (EC2 API, `CreateSecurityGroup`).
pub fn name(environment: &Environment) -> String {
    let hash = Sha256::digest(environment.arn());
    let hash: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("mwaa-{}-{}-{hash}", environment.account, environment.name())
}

/// The rules that the environment's group must have: from each of the environment's groups to each
/// role's port, and to the web server from the sources in the settings.
pub fn wanted_rules(spec: &EnvironmentSpec, settings: &Settings) -> BTreeSet<Rule> {
    let mut rules = BTreeSet::new();
    for (role, _) in spec.services() {
        let port = port(role);
        for group in &spec.groups {
            let source = Source::Group(spec.environment.account.clone(), group.clone());
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
///
/// # Errors
///
/// If there is no group yet, and nobody named the groups that it must let in.
pub fn decide(
    spec: &EnvironmentSpec,
    vpc: &Vpc,
    existing: Option<&Group>,
    settings: &Settings,
    mut tags: Tags,
) -> Result<GroupStep, Failure> {
    let environment = &spec.environment;
    let name = name(environment);
    let mut missing = wanted_rules(spec, settings);
    match existing {
        Some(group) => missing.retain(|rule| !group.rules.contains_key(rule)),
        None if spec.groups.is_empty() || missing.is_empty() => {
            return Err(Failure::new(
                format!("security group {name} was not made"),
                "neither the event nor any tag names the environment's security groups",
                "replay the environment (aws mwaa get-environment)",
            ));
        }
        None => {}
    }
    tags.insert(tags::NAME.to_owned(), name.clone());
    tags.insert(tags::ROLE.to_owned(), tags::SECURITY_GROUP.to_owned());
    Ok(GroupStep {
        environment: environment.clone(),
        vpc: vpc.id.clone(),
        owner: vpc.owner.clone(),
        existing: existing.map(|group| group.id.clone()),
        description: format!("VPC endpoints of MWAA environment {}", environment.arn()),
        name,
        tags,
        missing,
        ports: existing.map(Group::ports).unwrap_or_default(),
    })
}

impl GroupStep {
    /// What is told of it.
    pub fn line(&self, tense: Tense) -> Resource {
        let rules = listed(&self.missing);
        let (outcome, detail) = match (&self.existing, tense) {
            (None, Tense::Would) => {
                (Change::Created, format!("{} is missing, with {rules}", self.name))
            }
            (None, Tense::Did) => (Change::Created, format!("made {} with {rules}", self.name)),
            (Some(_), _) if rules.is_empty() => {
                (Change::Kept, format!("{} has its rules", self.name))
            }
            (Some(_), Tense::Would) => (Change::Updated, format!("{} lacks {rules}", self.name)),
            (Some(_), Tense::Did) => (Change::Updated, format!("added {rules} to {}", self.name)),
        };
        let mut resource = Resource::new(Kind::SecurityGroup, outcome, detail);
        resource.id = self.existing.as_ref().map(GroupId::to_string);
        resource
    }
}
