//! The plan: what brings a VPC from what it is to what an environment needs, and no more. It is
//! decided once, and then described or carried out.

pub mod decide;
pub mod diff;
pub mod execute;
pub mod proof;
pub mod recall;

use std::collections::BTreeSet;

use crate::endpoints::{EndpointAction, EndpointStep};
use crate::environment::{EndpointId, Environment, GroupId, Role};
use crate::report::{Change, Failure, Kind, Resource, Tense, Warning};
use crate::security_group::{GroupStep, revoked};
use crate::sqs_policy::{PolicyAction, PolicyStep, WithdrawStep};
use crate::tags::Tags;
use crate::vpc::Rule;

/// What is to be done, phase by phase.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// One after the other.
    pub phases: Vec<Phase>,
    /// What somebody should know.
    pub warnings: Vec<Warning>,
}

/// What is done at the same time.
#[derive(Clone, Debug)]
pub struct Phase {
    /// What must not have happened before.
    pub gate: Gate,
    /// Side by side.
    pub chains: Vec<Chain>,
    /// Whether its lines stand behind those of the next phase.
    pub told_last: bool,
    /// Whether it takes something away, rather than add what is needed.
    pub is_removal: bool,
    /// Whether the environment may be gone, since nobody but an event or the tags speaks of it.
    pub may_be_late: bool,
}

/// When a phase begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// In any case.
    Always,
    /// If nothing failed of what is added, nor is held up.
    NothingLacks,
    /// If nothing failed that later phases rest on: a mark, or the withdrawal of a queue.
    NothingHeldUp,
}

/// Steps, of which all but the first wait for it.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// The group that the others need.
    pub first: Option<GroupStep>,
    /// The others, side by side.
    pub then: Vec<Step>,
    /// Whether only tags remember the environment's groups, so that one of them may be gone.
    pub remembers_groups: bool,
}

/// One thing to do.
#[derive(Clone, Debug)]
pub enum Step {
    /// Nothing: it is only told.
    Told(Resource),
    /// Tags of ours are set.
    Tag {
        /// On these resources.
        ids: BTreeSet<String>,
        /// To these values.
        tags: Tags,
        /// Whether what comes later rests on it.
        holds_up: bool,
    },
    /// An endpoint of the environment's is there and complete.
    Endpoint(EndpointStep),
    /// An SQS endpoint admits queues.
    Policy(PolicyStep),
    /// Rules of ours go.
    Revoke {
        /// Whose they are.
        environment: Environment,
        /// The group.
        group: GroupId,
        /// The rules.
        rules: BTreeSet<Rule>,
    },
    /// Queues leave an SQS endpoint's policy.
    Withdraw(WithdrawStep),
    /// A resource of ours that stays loses something of an older configuration.
    Detach(Detach),
    /// Endpoints of ours go, in one call.
    DeleteEndpoints(Vec<EndpointRemoval>),
    /// A group of ours goes.
    DeleteGroup(GroupId),
}

/// What a resource of ours that stays must lose of an older configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detach {
    /// What it is.
    pub resource: Detached,
    /// The tags that forget the older configuration.
    pub tags: Tags,
}

/// A resource that loses something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detached {
    /// An endpoint, and the groups to take off it.
    Endpoint(EndpointId, BTreeSet<GroupId>),
    /// A group, of which only the tags change.
    Group(GroupId),
}

/// An endpoint to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointRemoval {
    /// The endpoint.
    pub id: EndpointId,
    /// Its role.
    pub role: Option<Role>,
    /// The service that it leads to.
    pub service: String,
    /// Why it can go.
    pub why: &'static str,
}

impl EndpointRemoval {
    pub(crate) fn line(&self, tense: Tense) -> Resource {
        let detail = match tense {
            Tense::Would => format!("{}: {}", self.id, self.why),
            Tense::Did => format!("deleted {}: {}", self.id, self.why),
        };
        let mut resource = Resource::new(Kind::Endpoint, Change::Deleted, detail).with_id(&self.id);
        resource.role = self.role.map(Role::as_str);
        resource.service = Some(self.service.clone());
        resource
    }
}

impl Detach {
    fn line(&self) -> Resource {
        let (kind, id, groups) = match &self.resource {
            Detached::Endpoint(id, groups) => (Kind::Endpoint, id.to_string(), groups.clone()),
            Detached::Group(id) => (Kind::SecurityGroup, id.to_string(), BTreeSet::new()),
        };
        let names: Vec<&str> = groups.iter().map(GroupId::as_str).collect();
        let detail = if names.is_empty() {
            format!("{id}: its tags forget what is no longer the environment's")
        } else {
            format!("{id}: {} is no longer the environment's", names.join(", "))
        };
        Resource::new(kind, Change::Updated, detail).with_id(id)
    }
}

impl Step {
    /// What cannot be done, with the reason.
    pub fn impossible(kind: Kind, role: Option<Role>, failure: Failure) -> Self {
        let mut resource = Resource::new(kind, Change::Failed, "");
        resource.role = role.map(Role::as_str);
        Self::Told(resource.failed(failure))
    }

    /// What is told of it.
    pub fn lines(&self, tense: Tense) -> Vec<Resource> {
        match self {
            Self::Told(resource) => vec![resource.clone()],
            Self::Tag { ids, holds_up, .. } => {
                let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
                let ids = ids.join(", ");
                let detail = match (tense, holds_up) {
                    (Tense::Would, false) => format!("the tags of {ids} are not up to date"),
                    (Tense::Did, false) => format!("brought the tags of {ids} up to date"),
                    (Tense::Would, true) => format!("{ids} are not marked as going"),
                    (Tense::Did, true) => format!("marked {ids} as going"),
                };
                vec![Resource::new(Kind::Tags, Change::Updated, detail)]
            }
            Self::Endpoint(step) => vec![step.line(tense)],
            Self::Policy(step) => vec![step.line(tense)],
            Self::Revoke { group, rules, .. } => vec![revoked(group, rules)],
            Self::Withdraw(step) => step.line(Change::Updated).into_iter().collect(),
            Self::Detach(detach) => vec![detach.line()],
            Self::DeleteEndpoints(endpoints) => endpoints.iter().map(|it| it.line(tense)).collect(),
            Self::DeleteGroup(group) => {
                let detail = match tense {
                    Tense::Would => format!("{group}: the environment left it"),
                    Tense::Did => format!("deleted {group}"),
                };
                let resource = Resource::new(Kind::SecurityGroup, Change::Deleted, detail);
                vec![resource.with_id(group)]
            }
        }
    }

    /// Whether carrying it out may change something that somebody has a use for: anything but tags.
    fn changes_anything(&self) -> bool {
        match self {
            Self::Told(_) | Self::Tag { .. } => false,
            Self::Endpoint(step) => {
                !matches!(step.action, EndpointAction::Keep { .. } | EndpointAction::Impossible(_))
            }
            Self::Policy(step) => matches!(step.action, PolicyAction::Write(_)),
            Self::Withdraw(step) => step.is_listed,
            _ => true,
        }
    }
}

impl Step {
    fn takes_away(&self) -> bool {
        match self {
            Self::Told(_) | Self::Endpoint(_) | Self::Policy(_) => false,
            // The mark of what goes.
            Self::Tag { holds_up, .. } => *holds_up,
            Self::Withdraw(step) => step.is_listed,
            Self::Revoke { .. }
            | Self::Detach(_)
            | Self::DeleteEndpoints(_)
            | Self::DeleteGroup(_) => true,
        }
    }
}

impl Chain {
    /// Steps that wait for nothing.
    pub fn of(then: impl IntoIterator<Item = Step>) -> Self {
        Self { then: then.into_iter().collect(), ..Self::default() }
    }

    /// Each step for itself.
    pub fn each(steps: impl IntoIterator<Item = Step>) -> Vec<Self> {
        steps.into_iter().map(|step| Self::of([step])).collect()
    }

    fn changes_anything(&self) -> bool {
        let group = |step: &GroupStep| step.existing.is_none() || !step.missing.is_empty();
        self.first.as_ref().is_some_and(group) || self.then.iter().any(Step::changes_anything)
    }
}

impl Phase {
    /// Whether carrying it out takes anything away, or marks it as going.
    pub fn takes_away(&self) -> bool {
        self.chains.iter().flat_map(|chain| &chain.then).any(Step::takes_away)
    }

    /// A phase that adds something, whose lines stand where it does.
    pub fn new(gate: Gate, chains: Vec<Chain>) -> Self {
        Self { gate, chains, told_last: false, is_removal: false, may_be_late: false }
    }
}

/// What is told of a plan that was described or carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Resource by resource.
    pub resources: Vec<Resource>,
    /// What somebody should know.
    pub warnings: Vec<Warning>,
}

impl Plan {
    /// Whether carrying it out changes anything but tags.
    pub fn changes_anything(&self) -> bool {
        self.phases.iter().flat_map(|phase| &phase.chains).any(Chain::changes_anything)
    }

    /// Whether there is nothing to do and nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.steps().all(|step| step.lines(Tense::Would).is_empty())
    }

    /// Whether carrying it out takes anything away, or marks it as going.
    pub fn takes_away(&self) -> bool {
        self.phases.iter().any(Phase::takes_away)
    }

    /// Whether carrying it out changes anything at all, if only tags.
    pub fn acts(&self) -> bool {
        let tags = |step: &Step| matches!(step, Step::Tag { .. });
        self.changes_anything() || self.takes_away() || self.steps().any(tags)
    }

    fn steps(&self) -> impl Iterator<Item = &Step> {
        self.phases.iter().flat_map(|phase| &phase.chains).flat_map(|chain| &chain.then)
    }

    /// What carrying it out would do.
    pub fn describe(&self) -> Told {
        let mut told: Vec<Vec<Resource>> = Vec::new();
        let mut progress = Progress::default();
        for phase in &self.phases {
            let mut lines = Vec::new();
            if progress.opens(phase.gate) {
                for chain in &phase.chains {
                    lines.extend(chain.first.iter().map(|step| step.line(Tense::Would)));
                    lines.extend(chain.then.iter().flat_map(|step| step.lines(Tense::Would)));
                }
            }
            progress.note(phase, &lines, false);
            told.push(lines);
        }
        Told { resources: in_order(&self.phases, told), warnings: self.warnings.clone() }
    }
}

/// How far a plan got.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    lacks_something: bool,
    is_held_up: bool,
}

impl Progress {
    fn opens(self, gate: Gate) -> bool {
        match gate {
            Gate::Always => true,
            Gate::NothingLacks => !self.lacks_something && !self.is_held_up,
            Gate::NothingHeldUp => !self.is_held_up,
        }
    }

    fn note(&mut self, phase: &Phase, lines: &[Resource], is_held_up: bool) {
        let failed = lines.iter().any(|line| line.outcome == Change::Failed);
        self.lacks_something |= failed && !phase.is_removal;
        self.is_held_up |= is_held_up;
    }
}

/// The lines of all phases, in the order in which they are told.
fn in_order(phases: &[Phase], lines: Vec<Vec<Resource>>) -> Vec<Resource> {
    let mut told = Vec::new();
    let mut waiting = Vec::new();
    for (phase, lines) in phases.iter().zip(lines) {
        if phase.told_last {
            waiting.extend(lines);
        } else {
            told.extend(lines);
            told.append(&mut waiting);
        }
    }
    told.append(&mut waiting);
    told
}
