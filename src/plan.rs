//! The decision: from what is wanted and what EC2 says to what must be done. Nothing here knows a
//! client, a clock or an environment variable.

use std::collections::{BTreeMap, BTreeSet};

use crate::endpoints::{self, EndpointAction, EndpointStep, Groups};
use crate::environment::{Environment, GroupId, QueueArn};
use crate::event::{LeftOut, Origin, Wanted};
use crate::report::{Failure, Note};
use crate::security_group::{self, GroupStep};
use crate::settings::Settings;
use crate::sqs_policy::{self, Admission, Block, Certainty, Problem};
use crate::tags::{self, Tags};
use crate::vpc::{self, Endpoint, Vpc};

/// What brings a VPC from what it is to what an environment needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The environment's security group, if one is kept for it. Endpoints wait for it and its rules.
    pub group: Option<GroupStep>,
    /// The endpoints, role by role.
    pub endpoints: Vec<EndpointStep>,
    /// The SQS endpoints of the VPC.
    pub queues: Vec<QueueStep>,
    /// Tags of ours that tell of an older event, another queue or fewer groups.
    pub retags: Vec<Retag>,
    /// What somebody should know.
    pub warnings: Vec<Note>,
}

/// What must happen to an SQS endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueStep {
    /// The endpoint.
    pub endpoint: String,
    /// Its service.
    pub service: String,
    /// What must happen to its policy.
    pub action: QueueAction,
    /// The statements that deny the environment its queue.
    pub blocks: Vec<Block>,
}

/// What must happen to the policy of an SQS endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueAction {
    /// Nothing: the queues are admitted.
    Keep,
    /// The policy must be written.
    Write {
        /// The whole policy.
        document: String,
        /// The queues that it adds.
        added: BTreeSet<QueueArn>,
    },
    /// An AWS service manages the endpoint, so it cannot be changed here.
    RequesterManaged {
        /// Whether it admits the environment's queue as it is.
        admits: bool,
    },
    /// The policy cannot be written.
    Impossible(Problem),
}

/// Tags to set on several resources of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retag {
    /// The resources.
    pub ids: BTreeSet<String>,
    /// The tags.
    pub tags: Tags,
}

/// Decides what must be done in `vpc` for what is `wanted`.
pub fn decide(wanted: &Wanted, vpc: &Vpc, settings: &Settings) -> Plan {
    let mut warnings = wanted.warnings.clone();
    warnings.extend(endpoints::one_per_zone(vpc).1);
    let common = common_tags(wanted, settings);
    let group = match endpoints::groups(wanted, vpc, settings) {
        Groups::Own => Some(security_group::decide(wanted, vpc, settings, common.clone())),
        Groups::Listed(_) => None,
    };
    if let [first, others @ ..] = vpc.own_groups.as_slice()
        && !others.is_empty()
    {
        let ids: Vec<&str> = others.iter().map(|group| group.id.as_str()).collect();
        warnings.push(Note::new(
            format!(
                "several security groups carry this environment's tags; {} is used, not {}",
                first.id,
                ids.join(", ")
            ),
            "delete the others, or take the tags off them",
        ));
    }
    let steps: Vec<EndpointStep> = wanted
        .services()
        .map(|service| endpoints::decide(wanted, vpc, settings, service, &common, &mut warnings))
        .collect();
    let queues = decide_queues(wanted, vpc, settings, &mut warnings);
    let retags = retags(wanted, vpc, &steps, group.as_ref());
    Plan { group, endpoints: steps, queues, retags, warnings }
}

/// The tags of everything that is made for the environment.
fn common_tags(wanted: &Wanted, settings: &Settings) -> Tags {
    let mut tags = settings.tags.clone();
    tags.insert(tags::ENVIRONMENT.to_owned(), wanted.environment.arn());
    if let Some(queue) = &wanted.queue {
        tags.insert(tags::QUEUE.to_owned(), queue.to_string());
    }
    if let Some(groups) = tags::groups_value(&wanted.groups) {
        tags.insert(tags::GROUPS.to_owned(), groups);
    }
    if let Some(time) = wanted.time {
        tags.insert(tags::EVENT_TIME.to_owned(), tags::rfc3339(time));
    }
    tags
}

/// The tags to set on what is ours and stays.
fn retags(
    wanted: &Wanted,
    vpc: &Vpc,
    steps: &[EndpointStep],
    group: Option<&GroupStep>,
) -> Vec<Retag> {
    let kept: BTreeSet<&str> = steps
        .iter()
        .filter_map(|step| match &step.action {
            EndpointAction::Keep { id, ours: true, .. } | EndpointAction::Complete { id, .. } => {
                Some(id.as_str())
            }
            _ => None,
        })
        .collect();
    let endpoints = vpc
        .endpoints
        .iter()
        .filter(|endpoint| kept.contains(endpoint.id.as_str()))
        .map(|endpoint| (endpoint.id.as_str(), &endpoint.tags));
    let groups = vpc
        .own_groups
        .iter()
        .filter(|own| group.is_some_and(|step| step.existing.as_ref() == Some(&own.id)))
        .map(|own| (own.id.as_str(), &own.tags));
    let mut retags: BTreeMap<Tags, BTreeSet<String>> = BTreeMap::new();
    for (id, has) in endpoints.chain(groups) {
        let tags = outdated(wanted, has);
        if !tags.is_empty() {
            retags.entry(tags).or_default().insert(id.to_owned());
        }
    }
    retags.into_iter().map(|(tags, ids)| Retag { ids, tags }).collect()
}

/// The tags of a resource that must be brought up to date, with their new values.
fn outdated(wanted: &Wanted, has: &Tags) -> Tags {
    let mut tags = Tags::new();
    let remembered = tags::event_time(has);
    if wanted.origin != Origin::Mwaa && wanted.time.is_some() {
        if remembered > wanted.time {
            return tags;
        }
        if let Some(time) = wanted.time.filter(|_| remembered < wanted.time) {
            tags.insert(tags::EVENT_TIME.to_owned(), tags::rfc3339(time));
        }
    }
    // A group that is used again keeps its memory of an older queue until that is proven stale.
    let keeps_queue = has.contains_key(tags::QUEUE)
        && has.get(tags::ROLE).is_some_and(|role| role == tags::SECURITY_GROUP);
    if let Some(queue) = &wanted.queue
        && !keeps_queue
        && has.get(tags::QUEUE).map(String::as_str) != Some(queue.as_str())
    {
        tags.insert(tags::QUEUE.to_owned(), queue.to_string());
    }
    // Older groups stay remembered until they are proven stale.
    let groups: BTreeSet<GroupId> =
        tags::groups(has).into_iter().chain(wanted.groups.iter().cloned()).collect();
    if groups != tags::groups(has)
        && let Some(value) = tags::groups_value(&groups)
    {
        tags.insert(tags::GROUPS.to_owned(), value);
    }
    tags
}

/// Decides for each alive SQS endpoint of the VPC, whatever subnets it is in: with private DNS it
/// serves the whole VPC.
fn decide_queues(
    wanted: &Wanted,
    vpc: &Vpc,
    settings: &Settings,
    warnings: &mut Vec<Note>,
) -> Vec<QueueStep> {
    let (queues, notes) = queues_to_admit(wanted, &vpc.endpoints);
    warnings.extend(notes);
    vpc.endpoints
        .iter()
        .filter(|endpoint| endpoint.serves_sqs(&wanted.environment.region))
        .map(|endpoint| decide_queue(endpoint, &queues, wanted, settings))
        .collect()
}

/// The queues that an SQS endpoint of the VPC with these `endpoints` must admit, and what somebody
/// should know of them: the environment's queue, and those that our endpoints remember. So what was
/// lost to another writer of the policy comes back with the next environment's queue.
pub fn queues_to_admit(wanted: &Wanted, endpoints: &[Endpoint]) -> (BTreeSet<QueueArn>, Vec<Note>) {
    let alive = endpoints.iter().filter(|endpoint| endpoint.is_alive());
    let (mut queues, unreadable) = vpc::tagged_queues(alive, &wanted.environment.region);
    queues.extend(wanted.queue.clone());
    let note = |tag| {
        Note::new(
            format!("the tag {} holds no queue of this Region: {tag}", tags::QUEUE),
            "correct the tag; it was left out of the SQS endpoint's policy",
        )
    };
    (queues, unreadable.into_iter().map(note).collect())
}

fn decide_queue(
    endpoint: &Endpoint,
    queues: &BTreeSet<QueueArn>,
    wanted: &Wanted,
    settings: &Settings,
) -> QueueStep {
    let policy = endpoint.policy.as_deref();
    let admit = |queues| sqs_policy::admit(policy, queues, settings.organization.as_deref());
    let action = if endpoint.requester_managed {
        let own = wanted.queue.iter().cloned().collect();
        QueueAction::RequesterManaged { admits: admit(&own) == Ok(Admission::Given) }
    } else {
        match admit(queues) {
            Ok(Admission::Given) => QueueAction::Keep,
            Ok(Admission::Write { document, added }) => QueueAction::Write { document, added },
            Err(problem) => QueueAction::Impossible(problem),
        }
    };
    let blocks = wanted.queue.as_ref().map_or_else(Vec::new, |queue| {
        sqs_policy::blocks(policy, queue, &wanted.environment.account)
    });
    QueueStep { endpoint: endpoint.id.clone(), service: endpoint.service.clone(), action, blocks }
}

impl Plan {
    /// Takes the replacement of dead endpoints out of the plan, and tells what was left out.
    pub fn leave_dead_endpoints(&mut self) -> Vec<LeftOut> {
        let replaces = |step: &EndpointStep| matches!(&step.action, EndpointAction::Create { bury, .. } if !bury.is_empty());
        let (left, kept) = std::mem::take(&mut self.endpoints).into_iter().partition(replaces);
        self.endpoints = kept;
        let left: Vec<EndpointStep> = left;
        left.iter()
            .map(|step| LeftOut {
                role: Some(step.role),
                failure: Failure::new(
                    format!("the dead {} endpoint was not replaced", step.role),
                    "MWAA did not answer whether the environment still exists",
                    "the next delivery or sweep tries again",
                ),
            })
            .collect()
    }

    /// Whether carrying it out changes anything but tags.
    pub fn changes_anything(&self) -> bool {
        self.group.as_ref().is_some_and(|step| step.existing.is_none() || !step.missing.is_empty())
            || self.endpoints.iter().any(|s| !matches!(s.action, EndpointAction::Keep { .. }))
            || self.queues.iter().any(|s| matches!(s.action, QueueAction::Write { .. }))
    }
}

/// A sentence on a statement that denies the environment its queue.
pub fn block_sentence(block: &Block, environment: &Environment) -> String {
    let how = match block.certainty {
        Certainty::Surely => "is blocked",
        Certainty::Maybe => "may be blocked",
    };
    format!(
        "the queue of {} {how} by a statement that this function does not change: {}",
        environment.name(),
        block.statement
    )
}
