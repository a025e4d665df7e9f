//! The decision: from what is wanted and what EC2 says to what must be done. Nothing here knows a
//! client, a clock or an environment variable.

use std::collections::BTreeSet;

use crate::endpoints::{self, EndpointAction, EndpointStep, Groups};
use crate::environment::{Environment, QueueArn};
use crate::event::Wanted;
use crate::report::Note;
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
    /// Tags of ours that tell of an older event or another queue.
    pub retag: Option<Retag>,
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
    /// The queues that it must admit.
    pub queues: BTreeSet<QueueArn>,
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
        /// Whether it admits the queues as it is.
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
        .services
        .iter()
        .map(|(role, service)| {
            endpoints::decide(wanted, vpc, settings, (*role, service), &common, &mut warnings)
        })
        .collect();
    let queues = decide_queues(wanted, vpc, settings, &mut warnings);
    let retag = retag(wanted, vpc, &steps, group.as_ref());
    Plan { group, endpoints: steps, queues, retag, warnings }
}

/// The tags of everything that is made for the environment.
fn common_tags(wanted: &Wanted, settings: &Settings) -> Tags {
    let mut tags = settings.tags.clone();
    tags.insert(tags::ENVIRONMENT.to_owned(), wanted.environment.arn());
    tags.extend(own_tags(wanted));
    tags
}

/// The tags that newer events bring up to date.
fn own_tags(wanted: &Wanted) -> Tags {
    let mut own = Tags::new();
    if let Some(queue) = &wanted.queue {
        own.insert(tags::QUEUE.to_owned(), queue.to_string());
    }
    if let Some(time) = wanted.time {
        own.insert(tags::EVENT_TIME.to_owned(), tags::rfc3339(time));
    }
    own
}

/// The tags to set on what is ours and stays, if they tell of an older event or another queue.
fn retag(
    wanted: &Wanted,
    vpc: &Vpc,
    steps: &[EndpointStep],
    group: Option<&GroupStep>,
) -> Option<Retag> {
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
    let tags = own_tags(wanted);
    let ids: BTreeSet<String> = endpoints
        .chain(groups)
        .filter(|(_, has)| {
            let remembered = tags::event_time(has);
            if wanted.time.is_some() && remembered > wanted.time {
                return false;
            }
            let newer = wanted.time.is_some() && remembered < wanted.time;
            let other_queue =
                tags.get(tags::QUEUE).is_some_and(|queue| has.get(tags::QUEUE) != Some(queue));
            newer || other_queue
        })
        .map(|(id, _)| id.to_owned())
        .collect();
    (!ids.is_empty()).then_some(Retag { ids, tags })
}

/// Decides for each alive SQS endpoint of the VPC, whatever subnets it is in: with private DNS it
/// serves the whole VPC.
fn decide_queues(
    wanted: &Wanted,
    vpc: &Vpc,
    settings: &Settings,
    warnings: &mut Vec<Note>,
) -> Vec<QueueStep> {
    let environment = &wanted.environment;
    // What was lost to another writer of the policy comes back with the next environment's queue.
    let (mut queues, unreadable) = vpc::tagged_queues(&vpc.endpoints, environment);
    queues.extend(wanted.queue.clone());
    for tag in unreadable {
        warnings.push(Note::new(
            format!("the tag {} holds no queue of this Region: {tag}", tags::QUEUE),
            "correct the tag; it was left out of the SQS endpoint's policy",
        ));
    }
    vpc.endpoints
        .iter()
        .filter(|endpoint| {
            endpoint.is_alive()
                && endpoint.is_interface
                && environment.region.is_sqs_service(&endpoint.service)
        })
        .map(|endpoint| decide_queue(endpoint, &queues, wanted, settings))
        .collect()
}

fn decide_queue(
    endpoint: &Endpoint,
    queues: &BTreeSet<QueueArn>,
    wanted: &Wanted,
    settings: &Settings,
) -> QueueStep {
    let policy = endpoint.policy.as_deref();
    let admission = sqs_policy::admit(policy, queues, settings.organization.as_deref());
    let action = match (endpoint.requester_managed, admission) {
        (true, admission) => {
            QueueAction::RequesterManaged { admits: admission == Ok(Admission::Given) }
        }
        (false, Ok(Admission::Given)) => QueueAction::Keep,
        (false, Ok(Admission::Write { document, added })) => QueueAction::Write { document, added },
        (false, Err(problem)) => QueueAction::Impossible(problem),
    };
    let blocks = wanted.queue.as_ref().map_or_else(Vec::new, |queue| {
        sqs_policy::blocks(policy, queue, &wanted.environment.account)
    });
    QueueStep {
        endpoint: endpoint.id.clone(),
        service: endpoint.service.clone(),
        queues: queues.clone(),
        action,
        blocks,
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
