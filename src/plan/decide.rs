//! The decision: from what is wanted and what EC2 shows to what must be done. Nothing here knows a
//! client or an environment variable.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::proof::{Clear, Serve, Stale};
use super::recall::{Memory, filled_from_tags, outdated, remembered_queue};
use super::{Chain, Detach, Detached, EndpointRemoval, Gate, Phase, Plan, Step};
use crate::endpoints::{self, EndpointAction, EndpointStep, Groups, decide::Situation};
use crate::environment::{Environment, GroupId, QueueArn, Role, ServiceName, VpcId};
use crate::event::{EnvironmentSpec, Origin};
use crate::gather::{self, Gather};
use crate::report::{Change, Failure, Kind, Resource, Tense, Warning};
use crate::security_group::{self, GroupStep};
use crate::settings::{GroupChoice, Settings};
use crate::sqs_policy::{self, Queues, WithdrawStep};
use crate::tags::{self, Tags};
use crate::vpc::{Endpoint, Group, Observed, Rule, Source, Vpc, port};

/// Queues of other environments that an SQS endpoint of the VPC must admit, and what somebody should
/// know of them. Of the environment itself it is the queue that only its tags remember.
#[derive(Clone, Debug, Default)]
pub struct Neighbours {
    /// The queues.
    pub queues: Queues,
    /// What somebody should know.
    pub warnings: Vec<Warning>,
}

/// How old an event or a change must be for EC2 to list what was made for it.
const SURELY_LISTED: TimeDelta = TimeDelta::hours(1);

/// Decides what must be done in `vpc` for an environment.
pub fn serve(
    course: &Serve,
    vpc: &Vpc,
    observed: &Observed,
    neighbours: Neighbours,
    settings: &Settings,
    now: DateTime<Utc>,
) -> Plan {
    let memory = &course.memory;
    let spec = filled_from_tags(course.spec.clone(), vpc, observed);
    let mut plan = provide(course, &spec, vpc, observed, neighbours, settings, now);
    let removal = match &course.stale {
        Stale::None => Vec::new(),
        Stale::Proven(proof) => {
            let (removal, warnings) = stale(proof, &spec, vpc, observed, settings);
            plan.warnings.extend(warnings);
            removal
        }
        Stale::Unproven(proof, why) => {
            let (seems_stale, _) = stale(proof, &spec, vpc, observed, settings);
            unproven(&seems_stale, Kind::Tags, "what seems to be stale was not taken away", why)
        }
    };
    let changes = plan.changes_anything()
        || removal.iter().flat_map(|phase| &phase.chains).any(Chain::changes_anything);
    let memory = match memory {
        Memory::Seen(_) if !changes => Memory::None,
        memory => *memory,
    };
    let group = plan.phases.iter().flat_map(|phase| &phase.chains).find_map(|it| it.first.clone());
    let (retags, contradictions) = retags(&spec, memory, vpc, observed, &plan, group.as_ref());
    plan.warnings.extend(contradictions);
    if !retags.is_empty() {
        // The memory of this event comes before what it brings: once a rule is there, an older event
        // must be known for an older one. If it cannot be written, what is needed is made all the same;
        // only nothing is taken away.
        let remember = Phase { told_last: true, ..Phase::new(Gate::Always, Chain::each(retags)) };
        plan.phases.insert(0, remember);
    }
    plan.phases.extend(removal);
    plan
}

/// The failure to take away what is not proven to be of no use, if anything would be.
fn unproven(removal: &[Phase], kind: Kind, doing: &str, why: &str) -> Vec<Phase> {
    if !removal.iter().any(Phase::takes_away) {
        return Vec::new();
    }
    let failure = Failure::new(doing, why, "the next delivery or sweep asks again");
    vec![Phase::new(Gate::Always, Chain::each([Step::impossible(kind, None, failure)]))]
}

/// What is added: one phase, in which the group with its endpoints stands beside the policies.
fn provide(
    course: &Serve,
    spec: &EnvironmentSpec,
    vpc: &Vpc,
    observed: &Observed,
    neighbours: Neighbours,
    settings: &Settings,
    now: DateTime<Utc>,
) -> Plan {
    let mut warnings = spec.warnings.clone();
    warnings.extend(endpoints::one_per_zone(vpc).1);
    warnings.extend(neighbours.warnings);
    let common = common_tags(spec, course.memory, vpc, observed, settings);

    let own_groups: Vec<&Group> = observed.groups_in(&vpc.id).collect();
    let own_group = own_groups.first().copied();
    let group = match endpoints::groups(spec, vpc, settings) {
        Groups::Own => {
            Some(security_group::decide::decide(spec, vpc, own_group, settings, common.clone()))
        }
        Groups::Listed(_) => None,
    };
    if let [first, others @ ..] = own_groups.as_slice()
        && !others.is_empty()
    {
        let ids: Vec<&str> = others.iter().map(|group| group.id.as_str()).collect();
        warnings.push(Warning::new(
            format!(
                "several security groups carry this environment's tags; {} is used, not {}",
                first.id,
                ids.join(", ")
            ),
            "delete the others, or take the tags off them",
        ));
    }
    let salt = since(spec)
        .filter(|since| now.signed_duration_since(*since) > SURELY_LISTED)
        .map(tags::rfc3339);
    let given = Situation {
        spec,
        vpc,
        observed,
        settings,
        own_group,
        has_no_group: !matches!(group, Some(Ok(_))),
        keeps_dead: course.keeps_dead.as_deref(),
        salt: salt.as_deref(),
    };
    let endpoints: Vec<EndpointStep> = spec
        .services()
        .into_iter()
        .map(|service| endpoints::decide(&given, service, &common, &mut warnings))
        .collect();
    // Where all endpoints are other people's, none would carry a new group.
    let is_foreign =
        |step: &EndpointStep| matches!(step.action, EndpointAction::Keep { ours: false, .. });
    let nobody_carries = !endpoints.is_empty() && endpoints.iter().all(is_foreign);
    let group = group.filter(|_| own_group.is_some() || !nobody_carries);
    let (first, no_group) = match group {
        Some(Ok(step)) => (Some(step), None),
        Some(Err(failure)) => (None, Some(failure)),
        None => (None, None),
    };
    let no_group = no_group.map(|why| Step::impossible(Kind::SecurityGroup, None, why));
    let environment = no_group.into_iter().chain(endpoints.into_iter().map(Step::Endpoint));
    let left_out = spec.left_out(course.is_waiting).into_iter().map(|left_out| {
        let kind = if left_out.role.is_some() { Kind::Endpoint } else { Kind::SqsEndpoint };
        Step::impossible(kind, left_out.role, left_out.failure)
    });
    let left_out = Chain::of(left_out);

    let vpcs = gather::one(vpc.id.clone());
    let mut policies: Vec<Step> = observed
        .sqs_endpoints(&vpcs, &spec.environment.region)
        .map(|endpoint| {
            Step::Policy(sqs_policy::step::decide(
                endpoint,
                &spec.environment,
                spec.queues(),
                neighbours.queues.clone(),
                settings.organization.as_deref(),
                (observed.at, observed.is_whole),
                &mut warnings,
            ))
        })
        .collect();
    if policies.is_empty() {
        policies.push(Step::Told(no_sqs_endpoint(&vpc.id)));
    }
    let remembers_groups = course.spec.groups.is_empty();
    let environment = Chain { first, then: environment.collect(), remembers_groups };
    let mut chains = vec![environment, left_out];
    chains.extend(Chain::each(policies));
    let may_be_late = !matches!(spec.origin, Origin::Mwaa { .. });
    let phase = Phase { may_be_late, ..Phase::new(Gate::Always, chains) };
    Plan { phases: vec![phase], warnings }
}

fn no_sqs_endpoint(vpc: &VpcId) -> Resource {
    let detail = format!(
        "{vpc} has no SQS interface endpoint, so no policy holds the queue up; the workers need another way to SQS, such as a NAT gateway"
    );
    Resource::new(Kind::SqsEndpoint, Change::Kept, detail)
}

/// Since when what is said has been so.
fn since(spec: &EnvironmentSpec) -> Option<DateTime<Utc>> {
    match spec.origin {
        Origin::Event(time) => time,
        Origin::Mwaa { created, updated } => updated.max(created),
        Origin::Replay | Origin::Tags => None,
    }
}

/// The tags of everything that is made for the environment.
fn common_tags(
    spec: &EnvironmentSpec,
    memory: Memory,
    vpc: &Vpc,
    observed: &Observed,
    settings: &Settings,
) -> Tags {
    let mut tags = settings.tags.clone();
    tags.insert(tags::ENVIRONMENT.to_owned(), spec.environment.arn());
    let queue = spec.queue.clone().or_else(|| remembered_queue(spec, vpc, observed));
    if let Some(queue) = queue {
        tags.insert(tags::QUEUE.to_owned(), queue.to_string());
    }
    if let Some(groups) = tags::groups_value(&spec.groups) {
        tags.insert(tags::GROUPS.to_owned(), groups);
    }
    if let Memory::Event(time) | Memory::Seen(time) = memory {
        tags.insert(tags::EVENT_TIME.to_owned(), tags::rfc3339(time));
    }
    tags
}

/// The tags to set on what is ours and stays.
fn retags(
    spec: &EnvironmentSpec,
    memory: Memory,
    vpc: &Vpc,
    observed: &Observed,
    plan: &Plan,
    group: Option<&GroupStep>,
) -> (Vec<Step>, Vec<Warning>) {
    let steps = plan.phases.iter().flat_map(|phase| &phase.chains).flat_map(|chain| &chain.then);
    let kept: BTreeSet<&str> = steps
        .filter_map(|step| match step {
            Step::Endpoint(step) => match &step.action {
                EndpointAction::Keep { id, ours: true, .. }
                | EndpointAction::Complete { id, .. } => Some(id.as_str()),
                _ => None,
            },
            _ => None,
        })
        .gather();
    let endpoints = observed
        .endpoints_in(&vpc.id)
        .filter(|endpoint| kept.contains(endpoint.id.as_str()))
        .map(|endpoint| (endpoint.id.as_str(), &endpoint.tags));
    let groups = observed
        .groups_in(&vpc.id)
        .filter(|own| group.is_some_and(|step| step.existing.as_ref() == Some(&own.id)))
        .map(|own| (own.id.as_str(), &own.tags));
    let mut retags: BTreeMap<Tags, BTreeSet<String>> = BTreeMap::new();
    let mut warnings = Vec::new();
    for (id, has) in endpoints.chain(groups) {
        let tags = outdated(spec, memory, has);
        // MWAA itself says otherwise: somebody wrote the tag, or the environment was made again.
        if let (Origin::Mwaa { .. }, Some(queue), Some(tagged), true) =
            (spec.origin, &spec.queue, has.get(tags::QUEUE), tags.contains_key(tags::QUEUE))
        {
            warnings.push(Warning {
                message: format!(
                    "the tag {} on {id} says {tagged}, and MWAA says that the queue of {} is {queue}: the tag is put right",
                    tags::QUEUE,
                    spec.environment.arn()
                ),
                remedy: None,
            });
        }
        if !tags.is_empty() {
            retags.entry(tags).or_default().insert(id.to_owned());
        }
    }
    let steps = retags.into_iter().map(|(tags, ids)| Step::Tag { ids, tags, holds_up: false });
    (steps.collect(), warnings)
}

/// What the environment as `proof` says no longer needs. Everything here is proven by a field that is
/// *named* there; what is `needed` by anybody's word stays.
fn stale(
    proof: &EnvironmentSpec,
    needed: &EnvironmentSpec,
    vpc: &Vpc,
    observed: &Observed,
    settings: &Settings,
) -> (Vec<Phase>, Vec<Warning>) {
    let environment = &proof.environment;
    let services = needed.services();
    let doomed: Vec<EndpointRemoval> = observed
        .own_endpoints(environment)
        .filter_map(|endpoint| {
            let role = endpoint.role()?;
            let is_needed =
                |(of, it): &(Role, ServiceName)| *of == role && it.as_str() == endpoint.service;
            if services.iter().any(is_needed) {
                return None;
            }
            match proof.named.get(&role) {
                Some(service) if service.as_str() != endpoint.service => {
                    Some(removal(endpoint, "the environment uses another service"))
                }
                _ if role == Role::Webserver && proof.is_public_only() => {
                    Some(removal(endpoint, "the web server is public only"))
                }
                _ => None,
            }
        })
        .collect();
    let goes = |endpoint: &Endpoint| doomed.iter().any(|gone| gone.id == endpoint.id);
    let groups_here: Vec<&Group> = observed.groups_in(&vpc.id).collect();

    let mut revokes = Vec::new();
    let mut detaches = Vec::new();
    if !proof.groups.is_empty() && proof.named.contains_key(&Role::Database) {
        let mut justified = security_group::wanted_rules(needed, settings);
        justified.extend(security_group::wanted_rules(proof, settings));
        let mode_is_told = proof.is_public_only() || proof.named.contains_key(&Role::Webserver);
        for group in &groups_here {
            let rules: BTreeSet<Rule> = group
                .rules_made_for(environment)
                .filter(|rule| mode_is_told || rule.port == port(Role::Database))
                .filter(|rule| !justified.contains(rule))
                .cloned()
                .gather();
            if !rules.is_empty() {
                let environment = environment.clone();
                revokes.push(Step::Revoke { environment, group: group.id.clone(), rules });
            }
        }
        let carry_their_own =
            settings.groups == GroupChoice::Auto && environment.account == vpc.owner;
        let staying = observed.own_endpoints(environment).filter(|e| e.state.is_alive());
        for endpoint in staying.filter(|endpoint| !goes(endpoint)) {
            detaches.extend(stale_groups(needed, vpc, observed, endpoint, carry_their_own));
        }
        for group in &groups_here {
            if tags::groups(&group.tags).difference(&needed.groups).next().is_some() {
                detaches.extend(forget(needed, Detached::Group(group.id.clone())));
            }
        }
    }

    let mut vpcs: BTreeSet<VpcId> =
        own(observed, environment, &doomed).map(|endpoint| endpoint.vpc.clone()).gather();
    // Queues of older environments of this name. Unless the queue in use is named, any may be it.
    let mut lost = BTreeSet::new();
    if let Some(queue) = &proof.queue {
        lost.extend(own(observed, environment, &doomed).filter_map(Endpoint::remembered_queue));
        // A group that is used again remembers the queue of the environment that it was made for.
        for group in &groups_here {
            let before = group_queue(group, environment).filter(|before| before != queue);
            if let Some(before) = before {
                let tags = gather::one((tags::QUEUE.to_owned(), queue.to_string()));
                detaches.push(Detach { resource: Detached::Group(group.id.clone()), tags });
                vpcs.insert(group.vpc.clone());
                lost.insert(before);
            }
        }
        lost.retain(|queue| !needed.queues().contains(queue));
    }
    // The environment was made again in another VPC.
    let left: Vec<GroupId> = observed
        .groups
        .iter()
        .filter(|group| !proof.subnets.is_empty() && group.vpc != vpc.id)
        .filter(|group| {
            let mut staying = observed.own_endpoints(environment).filter(|it| !goes(it));
            !staying.any(|endpoint| endpoint.groups.contains(&group.id))
        })
        .map(|group| group.id.clone())
        .collect();
    let removal = Removal {
        revokes,
        // What the environment's own tags say of an older queue is put right.
        withdrawals: withdrawals(environment, observed, &vpcs, lost, |endpoint| {
            goes(endpoint) || proof.queue.is_some() && endpoint.is_of(environment)
        }),
        detaches,
        endpoints: doomed.clone(),
        groups: left,
        mark: None,
    };
    removal.phases(Gate::NothingLacks, settings)
}

/// What can be taken away, in the order in which it goes. Rules go first: one that names a
/// participant's group keeps that group from being deleted. Queues go before the endpoints whose tags
/// remember them.
struct Removal {
    revokes: Vec<Step>,
    withdrawals: Vec<WithdrawStep>,
    detaches: Vec<Detach>,
    endpoints: Vec<EndpointRemoval>,
    groups: Vec<GroupId>,
    /// Of an environment that is gone: the tags for what is left of it for a while, and who lacks
    /// them.
    mark: Option<(BTreeSet<String>, Tags)>,
}

impl Removal {
    /// The phases in which it goes, each with this gate, and what somebody should know.
    fn phases(self, gate: Gate, settings: &Settings) -> (Vec<Phase>, Vec<Warning>) {
        let lists_a_queue = self.withdrawals.iter().any(|step| step.is_listed);
        let deletes = !self.endpoints.is_empty() || !self.groups.is_empty() || lists_a_queue;
        // Before a queue goes, so that nobody takes a tag for a reason to put it back.
        let mark = self.mark.filter(|(ids, _)| deletes && !ids.is_empty());
        let mark = mark.map(|(ids, tags)| Step::Tag { ids, tags, holds_up: true });
        let mark: Vec<Step> = mark.into_iter().collect();
        let detaches: Vec<Step> = self.detaches.into_iter().map(Step::Detach).collect();
        let mut warnings = Vec::new();
        let steps = if settings.keep_leftovers {
            let left = left_over(&self.withdrawals, &self.endpoints, &self.groups);
            warnings.extend(left.iter().map(|line| {
                Warning::new(
                    format!("left over, since deletion is turned off: {}", line.detail),
                    "delete it by hand, or turn deletion on",
                )
            }));
            let left = left.into_iter().map(Step::Told).collect();
            vec![self.revokes, detaches, mark, left]
        } else {
            let endpoints = (!self.endpoints.is_empty()).then_some(self.endpoints);
            vec![
                self.revokes,
                mark,
                self.withdrawals.into_iter().map(Step::Withdraw).collect(),
                detaches,
                endpoints.into_iter().map(Step::DeleteEndpoints).collect(),
                self.groups.into_iter().map(Step::DeleteGroup).collect(),
            ]
        };
        let phase = |steps| Phase { is_removal: true, ..Phase::new(gate, Chain::each(steps)) };
        let steps = steps.into_iter().filter(|steps: &Vec<Step>| !steps.is_empty());
        (steps.map(phase).collect(), warnings)
    }
}

/// What is only told of, because the settings say so.
fn left_over(
    withdrawals: &[WithdrawStep],
    endpoints: &[EndpointRemoval],
    groups: &[GroupId],
) -> Vec<Resource> {
    let queues = withdrawals.iter().filter_map(|step| step.line(Change::Left));
    let endpoints = endpoints.iter().map(|it| it.line(Tense::Would));
    let groups = groups.iter().map(|group| {
        let detail = format!("{group}: the environment left it");
        Resource::new(Kind::SecurityGroup, Change::Left, detail).with_id(group)
    });
    let left = |line: Resource| Resource { outcome: Change::Left, ..line };
    queues.chain(endpoints.map(left)).chain(groups).collect()
}

/// The endpoints of an environment that are in a list of those that go.
fn own<'a>(
    observed: &'a Observed,
    environment: &'a Environment,
    doomed: &'a [EndpointRemoval],
) -> impl Iterator<Item = &'a Endpoint> {
    let goes = move |endpoint: &&Endpoint| doomed.iter().any(|gone| gone.id == endpoint.id);
    observed.own_endpoints(environment).filter(goes)
}

/// The groups that we once put on `endpoint` and that are not needed any more. What somebody else put
/// there is not in the tag and stays; an endpoint never loses its last group.
fn stale_groups(
    needed: &EnvironmentSpec,
    vpc: &Vpc,
    observed: &Observed,
    endpoint: &Endpoint,
    carries_own: bool,
) -> Option<Detach> {
    let remembered = tags::groups(&endpoint.tags);
    if remembered.is_subset(&needed.groups) {
        return None;
    }
    // The named groups were put on the endpoint that is used before anything is taken away.
    let used = endpoint.role().and_then(|role| {
        endpoints::in_use(observed, &vpc.id, &needed.environment, role, &endpoint.service)
    });
    let carries_a_named_one = used.is_some_and(|used| used.id == endpoint.id)
        || needed.groups.iter().any(|group| endpoint.groups.contains(group));
    let groups: BTreeSet<GroupId> = remembered
        .difference(&needed.groups)
        .filter(|group| carries_own && endpoint.groups.contains(*group))
        .cloned()
        .gather();
    if !groups.is_empty() && !carries_a_named_one {
        return None;
    }
    forget(needed, Detached::Endpoint(endpoint.id.clone(), groups))
}

fn forget(needed: &EnvironmentSpec, resource: Detached) -> Option<Detach> {
    let value = tags::groups_value(&needed.groups)?;
    Some(Detach { resource, tags: gather::one((tags::GROUPS.to_owned(), value)) })
}

/// Decides what goes with an environment that is gone. `vpc` is where it was said to be, if that was
/// said.
pub fn clear(
    course: &Clear,
    vpc: Option<&VpcId>,
    observed: &Observed,
    settings: &Settings,
    now: DateTime<Utc>,
) -> Plan {
    let spec = &course.spec;
    let environment = &spec.environment;
    // Where MWAA cannot say that it is gone, a late event must not hit an environment that was made
    // again under the same name: only what was last touched by no later event goes, and only what
    // leads to the service that the event names, if it names one.
    let may_go = |tags: &Tags| match (course.by_mwaa, tags::event_time(tags), spec.event_time()) {
        (false, Some(remembered), Some(time)) => remembered <= time,
        // An endpoint without a memory was made for work without a time.
        _ => true,
    };
    let doomed: Vec<&Endpoint> = observed
        .own_endpoints(environment)
        .filter(|endpoint| {
            let named = endpoint.role().and_then(|role| spec.named.get(&role));
            let is_its = named.is_none_or(|service| service.as_str() == endpoint.service);
            may_go(&endpoint.tags) && (is_its || course.by_mwaa)
        })
        .collect();
    let goes = |endpoint: &Endpoint| doomed.iter().any(|gone| gone.id == endpoint.id);

    // A group that an endpoint of the environment still carries is in use by its successor.
    let in_use = |group: &&Group| {
        let mut staying = observed.own_endpoints(environment).filter(|endpoint| !goes(endpoint));
        staying.any(|endpoint| endpoint.groups.contains(&group.id))
    };
    let groups: Vec<&Group> =
        observed.groups.iter().filter(|group| may_go(&group.tags) && !in_use(group)).collect();
    let revokes = groups.iter().filter_map(|group| {
        let rules: BTreeSet<Rule> = group
            .rules_made_for(environment)
            .filter(|rule| !settings.keep_leftovers || matches!(rule.source, Source::Group(..)))
            .cloned()
            .gather();
        let environment = environment.clone();
        let step = Step::Revoke { environment, group: group.id.clone(), rules: rules.clone() };
        (!rules.is_empty()).then_some(step)
    });
    let revokes = revokes.collect();

    let mut vpcs: BTreeSet<VpcId> = doomed.iter().map(|endpoint| endpoint.vpc.clone()).gather();
    vpcs.extend(groups.iter().map(|group| group.vpc.clone()));
    vpcs.extend(vpc.cloned());
    let mut lost: BTreeSet<QueueArn> =
        doomed.iter().filter_map(|endpoint| endpoint.remembered_queue()).gather();
    lost.extend(groups.iter().filter_map(|group| group_queue(group, environment)));
    lost.extend(spec.queue.clone());
    // What is marked must not look as if it had been used since.
    let used = doomed.iter().map(|endpoint| &endpoint.tags);
    let used =
        used.chain(groups.iter().map(|group| &group.tags)).filter_map(tags::event_time).max();
    let gone_at = spec.event_time().unwrap_or(now);
    let gone_at = used.map_or(gone_at, |used| gone_at.max(used));
    let gone_at = gather::one((tags::GONE.to_owned(), tags::rfc3339(gone_at)));
    let unmarked = doomed
        .iter()
        .map(|endpoint| (endpoint.id.to_string(), &endpoint.tags))
        .chain(groups.iter().map(|group| (group.id.to_string(), &group.tags)))
        .filter(|(_, tags)| !tags::is_left_behind(tags))
        .map(|(id, _)| id)
        .gather();
    let removal = Removal {
        revokes,
        withdrawals: withdrawals(environment, observed, &vpcs, lost, goes),
        detaches: Vec::new(),
        endpoints: doomed.iter().map(|it| removal(it, "the environment is gone")).collect(),
        groups: groups.iter().map(|group| group.id.clone()).collect(),
        mark: Some((unmarked, gone_at)),
    };
    let (phases, warnings) = removal.phases(Gate::NothingHeldUp, settings);
    match &course.unproven {
        None => Plan { phases, warnings },
        Some(why) => {
            let doing = format!("taking away what was made for {}", environment.arn());
            let phases = unproven(&phases, Kind::Endpoint, &doing, why);
            Plan { phases, warnings: Vec::new() }
        }
    }
}

fn group_queue(group: &Group, environment: &Environment) -> Option<QueueArn> {
    QueueArn::parse_in(group.tags.get(tags::QUEUE)?, &environment.region).ok()
}

fn removal(endpoint: &Endpoint, why: &'static str) -> EndpointRemoval {
    EndpointRemoval {
        id: endpoint.id.clone(),
        role: endpoint.role(),
        service: endpoint.service.clone(),
        why,
    }
}

/// Takes `lost` queues out of the SQS endpoints of `vpcs`, but for those that an endpoint of ours
/// which stays remembers: one that does not go, or whose memory is not put right.
fn withdrawals(
    environment: &Environment,
    observed: &Observed,
    vpcs: &BTreeSet<VpcId>,
    lost: BTreeSet<QueueArn>,
    goes: impl Fn(&Endpoint) -> bool,
) -> Vec<WithdrawStep> {
    let staying = observed
        .endpoints
        .iter()
        .filter(|endpoint| !endpoint.state.is_going() && !goes(endpoint))
        .filter(|endpoint| !tags::is_left_behind(&endpoint.tags));
    let needed: BTreeSet<QueueArn> = staying.filter_map(Endpoint::remembered_queue).gather();
    let lost: BTreeSet<QueueArn> = lost.difference(&needed).cloned().gather();
    if lost.is_empty() {
        return Vec::new();
    }
    observed
        .sqs_endpoints(vpcs, &environment.region)
        .filter(|endpoint| !endpoint.requester_managed)
        .map(|endpoint| sqs_policy::step::decide_withdrawal(endpoint, &lost))
        .collect()
}
