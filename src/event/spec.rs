//! What is said of an environment, by whomever.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{DateTime, Utc};

use super::Refusal;
use crate::environment::{Environment, GroupId, QueueArn, Role, ServiceName, SubnetId};
use crate::gather::Gather;
use crate::report::{Failure, Warning};

/// An environment's status (MWAA API, `Environment.Status`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// MWAA makes it.
    Creating,
    /// MWAA waits for its endpoints, for 72 hours.
    Pending,
    /// It works.
    Available,
    /// It is being changed; what it needed before is still in use.
    Updating,
    /// A change failed. It was restored to what it was before, and is in use.
    UpdateFailed,
    /// Its creation failed.
    CreateFailed,
    /// MWAA is deleting it.
    Deleting,
    /// It is gone.
    Deleted,
    /// Any other, of which it is in use: UNAVAILABLE, MAINTENANCE, CREATING_SNAPSHOT, ROLLING_BACK,
    /// and whatever MWAA comes to say.
    InUse(String),
}

impl Status {
    /// Reads MWAA's word for it.
    pub fn parse(text: &str) -> Self {
        match text {
            "CREATING" => Self::Creating,
            "PENDING" => Self::Pending,
            "AVAILABLE" => Self::Available,
            "UPDATING" => Self::Updating,
            "UPDATE_FAILED" => Self::UpdateFailed,
            "CREATE_FAILED" => Self::CreateFailed,
            "DELETING" => Self::Deleting,
            "DELETED" => Self::Deleted,
            other => Self::InUse(other.chars().take(100).collect()),
        }
    }

    /// MWAA's word for it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Creating => "CREATING",
            Self::Pending => "PENDING",
            Self::Available => "AVAILABLE",
            Self::Updating => "UPDATING",
            Self::UpdateFailed => "UPDATE_FAILED",
            Self::CreateFailed => "CREATE_FAILED",
            Self::Deleting => "DELETING",
            Self::Deleted => "DELETED",
            Self::InUse(text) => text,
        }
    }

    /// Whether an event that tells it is about something in the VPC. Before `PENDING` nothing is
    /// needed yet, and what goes is needed until it is gone.
    pub fn concerns_the_vpc(&self) -> bool {
        !matches!(self, Self::Creating | Self::Deleting)
    }

    /// Whether nothing more will come of the last change, so that what is stale now stays stale.
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Available | Self::UpdateFailed)
    }

    /// Whether there is, or will be, no environment that could use an endpoint.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Deleting | Self::Deleted | Self::CreateFailed)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who says what is said of an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An event, which may be late, with its time if it tells one.
    Event(Option<DateTime<Utc>>),
    /// A person, who hands in an answer of MWAA that may be of any age.
    Replay,
    /// MWAA itself, asked by this function.
    Mwaa {
        /// When the environment was created.
        created: Option<DateTime<Utc>>,
        /// When its last update began.
        updated: Option<DateTime<Utc>>,
    },
    /// Nobody: only the tags on what was made for it are left to go by.
    Tags,
}

/// Who may reach the web server (MWAA API, `WebserverAccessMode`; the default is `PRIVATE_ONLY`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `PRIVATE_ONLY` or `PUBLIC_AND_PRIVATE`: it needs an endpoint.
    Private,
    /// `PUBLIC_ONLY`: it needs none.
    PublicOnly,
    /// A mode that is not known.
    Unknown(String),
}

impl Mode {
    /// Reads MWAA's word for it.
    pub fn parse(text: &str) -> Self {
        match text {
            "PUBLIC_ONLY" => Self::PublicOnly,
            "PRIVATE_ONLY" | "PUBLIC_AND_PRIVATE" => Self::Private,
            other => Self::Unknown(other.to_owned()),
        }
    }
}

/// What is needed and may not be said as it should be, without keeping the rest from being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The database's service.
    Database,
    /// The web server's service.
    Webserver,
    /// The Celery queue.
    Queue,
}

/// Why a part cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It is not there.
    Missing(Refusal),
    /// It is not as it should be.
    Wrong(Refusal),
}

/// What is said of an environment: by an event, by a person's replay, by MWAA itself, or by nobody.
/// All but a `PENDING` one may leave anything out; what is left out proves nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct EnvironmentSpec {
    /// The environment.
    pub environment: Environment,
    /// Its status.
    pub status: Status,
    /// Who says so.
    pub origin: Origin,
    /// Whether MWAA leaves the endpoints to the customer, if that is said.
    pub customer_managed: Option<bool>,
    /// The environment's subnets, each once, in the event's order; empty if they are not named.
    pub subnets: Vec<SubnetId>,
    /// The environment's security groups; empty if they are not named.
    pub groups: BTreeSet<GroupId>,
    /// The endpoint services that are named.
    pub named: BTreeMap<Role, ServiceName>,
    /// Who may reach the web server, if that is said.
    pub mode: Option<Mode>,
    /// The environment's Celery queue.
    pub queue: Option<QueueArn>,
    /// What should have been named and was not, or not as it should be.
    pub unusable: BTreeMap<Part, Unusable>,
    /// Services and queues that a fresh event names beyond what MWAA says: they are needed too.
    pub beyond: Beyond,
    /// What somebody should know of the event.
    pub warnings: Vec<Warning>,
}

/// What is needed beside what is [named](EnvironmentSpec::named).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Beyond {
    /// Services.
    pub services: BTreeSet<(Role, ServiceName)>,
    /// A queue.
    pub queue: Option<QueueArn>,
}

/// Something that should have been said.
#[derive(Clone, Debug, PartialEq)]
pub struct LeftOut {
    /// The role whose endpoint cannot be made; without one, the queue cannot be allowed.
    pub role: Option<Role>,
    /// What was left out and why.
    pub failure: Failure,
}

impl EnvironmentSpec {
    /// An environment of which nobody says anything: the tags on what was made for it say what it
    /// needs.
    pub fn from_tags(environment: Environment) -> Self {
        Self {
            environment,
            status: Status::InUse("UNKNOWN".to_owned()),
            origin: Origin::Tags,
            customer_managed: None,
            subnets: Vec::new(),
            groups: BTreeSet::new(),
            named: BTreeMap::new(),
            mode: None,
            queue: None,
            unusable: BTreeMap::new(),
            beyond: Beyond::default(),
            warnings: Vec::new(),
        }
    }

    /// Whether nobody says anything of it, as in a sweep.
    pub fn is_untold(&self) -> bool {
        self.origin == Origin::Tags
    }

    /// When the event happened, if this is one and says so.
    pub fn event_time(&self) -> Option<DateTime<Utc>> {
        match self.origin {
            Origin::Event(time) => time,
            _ => None,
        }
    }

    /// Since when it has been waiting for its endpoints, if it does and this says so.
    pub fn pending_since(&self) -> Option<DateTime<Utc>> {
        match self.origin {
            _ if self.status != Status::Pending => None,
            Origin::Event(time) => time,
            Origin::Mwaa { created, updated } => updated.max(created),
            Origin::Replay | Origin::Tags => None,
        }
    }

    /// Whether the web server is explicitly public only, so that it needs no endpoint.
    pub fn is_public_only(&self) -> bool {
        self.mode == Some(Mode::PublicOnly)
    }

    /// The endpoint services that must be reachable in the VPC.
    pub fn services(&self) -> Vec<(Role, ServiceName)> {
        let needed = |role: Role| role == Role::Database || !self.is_public_only();
        let named = self.named.iter().filter(|(role, _)| needed(**role));
        let mut services: Vec<_> = named.map(|(role, it)| (*role, it.clone())).collect();
        services.extend(self.beyond.services.iter().cloned());
        services.sort_unstable();
        services.dedup();
        services
    }

    /// The queues that are named.
    pub fn queues(&self) -> BTreeSet<QueueArn> {
        self.queue.iter().chain(&self.beyond.queue).cloned().gather()
    }

    /// What MWAA says, with what it lacks from a `hint`: from an event, or a person. If the hint
    /// `is_fresh`, MWAA's answer may lag behind it, so what it names beyond the answer is needed too.
    pub fn filled_from(mut self, hint: &EnvironmentSpec, is_fresh: bool) -> Self {
        self.customer_managed = self.customer_managed.or(hint.customer_managed);
        // That it needs no web server endpoint must not be filled in where MWAA names its service.
        if !(hint.is_public_only() && self.named.contains_key(&Role::Webserver)) {
            self.mode = self.mode.or_else(|| hint.mode.clone());
        }
        if self.subnets.is_empty() {
            self.subnets = hint.subnets.clone();
        }
        if self.groups.is_empty() || is_fresh {
            self.groups.extend(hint.groups.iter().cloned());
        }
        if is_fresh {
            self.beyond.services.extend(hint.services());
            self.beyond.queue = hint.queue.clone();
        }
        for (role, service) in &hint.named {
            self.named.entry(*role).or_insert_with(|| service.clone());
        }
        self.queue = self.queue.or_else(|| hint.queue.clone());
        for (part, why) in &hint.unusable {
            let is_wrong = matches!(why, Unusable::Wrong(_));
            if is_wrong || self.unusable.contains_key(part) {
                self.unusable.insert(*part, why.clone());
            }
        }
        self.warnings.extend(hint.warnings.iter().cloned());
        self
    }

    /// What cannot be done because it is not said how; the rest is done all the same, since MWAA waits
    /// for 72 hours only. While it `is_waiting`, all that is needed must be named.
    pub fn left_out(&self, is_waiting: bool) -> Vec<LeftOut> {
        let why = |part| match self.unusable.get(&part) {
            Some(Unusable::Wrong(why)) => Some(why),
            Some(Unusable::Missing(why)) => Some(why).filter(|_| is_waiting),
            None => None,
        };
        let mut left_out = Vec::new();
        let no_database = !self.services().iter().any(|(role, _)| *role == Role::Database);
        if let Some(why) = why(Part::Database).filter(|_| no_database) {
            left_out.push(LeftOut {
                role: Some(Role::Database),
                failure: Failure::new(
                    "the database endpoint was left out",
                    why.at_path(),
                    "replay the environment once MWAA names its DatabaseVpcEndpointService (aws mwaa get-environment)",
                ),
            });
        }
        let no_server = self.is_public_only()
            || self.services().iter().any(|(role, _)| *role == Role::Webserver)
            || matches!(self.mode, Some(Mode::Unknown(_)))
                && matches!(self.unusable.get(&Part::Webserver), Some(Unusable::Missing(_)));
        if let Some(why) = why(Part::Webserver).filter(|_| !no_server) {
            left_out.push(LeftOut {
                role: Some(Role::Webserver),
                failure: Failure::new(
                    "the web server endpoint was left out",
                    why.at_path(),
                    "create it by hand from the environment's WebserverVpcEndpointService (aws mwaa get-environment), or replay the environment",
                ),
            });
        }
        if let Some(why) = why(Part::Queue).filter(|_| self.queues().is_empty()) {
            left_out.push(LeftOut {
                role: None,
                failure: Failure::new(
                    "the queue was not let through",
                    why.at_path(),
                    "add the environment's CeleryExecutorQueue (aws mwaa get-environment) to the SQS endpoint's policy by hand, or replay the environment",
                ),
            });
        }
        left_out
    }
}
