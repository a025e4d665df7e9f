//! What can be taken away, and on what proof. Only what carries our tags and the environment's ARN
//! is ever considered; a field that an event leaves out proves nothing.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::endpoints;
use crate::environment::{GroupId, QueueArn, Role, VpcId};
use crate::event::Wanted;
use crate::plan::Retag;
use crate::report::Kind;
use crate::security_group::{self, OwnGroup, Rule, Source};
use crate::settings::{GroupChoice, Settings};
use crate::tags::{self, Tags};
use crate::vpc::{self, Endpoint, Seen, Vpc};

/// What must be taken away. Rules go first: one that names a participant's group keeps that group
/// from being deleted. Queues go before the endpoints whose tags remember them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Rules of ours, by group.
    pub rules: Vec<(GroupId, BTreeSet<Rule>)>,
    /// What resources of ours that stay must lose of an older configuration.
    pub detach: Vec<Detach>,
    /// Queues in our statement of SQS endpoints.
    pub queues: Vec<QueueRemoval>,
    /// Endpoints of ours.
    pub endpoints: Vec<Doomed>,
    /// Groups of ours.
    pub groups: Vec<GroupId>,
    /// The tags for what is left for a while of an environment that is gone, and who lacks them.
    pub mark: Option<Retag>,
    /// Whether endpoints, queues and groups are only listed, because the settings say so.
    pub keep_leftovers: bool,
}

/// What a resource of ours that stays must lose of an older configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detach {
    /// What it is: an endpoint or a group.
    pub kind: Kind,
    /// Its id.
    pub id: String,
    /// The groups to take off, if it is an endpoint.
    pub groups: BTreeSet<GroupId>,
    /// The tags that forget the older configuration.
    pub tags: Tags,
}

/// Queues to take out of an SQS endpoint's policy, if they are in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueRemoval {
    /// The SQS endpoint.
    pub endpoint: String,
    /// Its service.
    pub service: String,
    /// The queues.
    pub queues: BTreeSet<QueueArn>,
    /// Whether its policy had one of them when it was looked at.
    pub is_listed: bool,
}

/// An endpoint to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doomed {
    /// The endpoint.
    pub id: String,
    /// Its role.
    pub role: Option<Role>,
    /// The service that it leads to.
    pub service: String,
    /// Why it can go.
    pub why: &'static str,
}

impl Removal {
    /// Whether there is nothing to take away and nothing to tell.
    pub fn is_empty(&self) -> bool {
        !self.changes_anything()
            && self.endpoints.is_empty()
            && self.groups.is_empty()
            && !self.queues.iter().any(|queue| queue.is_listed)
    }

    /// Whether taking it away changes anything.
    pub fn changes_anything(&self) -> bool {
        let listed = self.queues.iter().any(|queue| queue.is_listed);
        let deletes = listed || !self.endpoints.is_empty() || !self.groups.is_empty();
        !self.rules.is_empty()
            || !self.detach.is_empty()
            || self.mark.as_ref().is_some_and(|mark| self.keep_leftovers && !mark.ids.is_empty())
            || deletes && !self.keep_leftovers
    }
}

/// What the environment that is `AVAILABLE` as `wanted` says no longer needs.
///
/// `vpc` is the environment's. Everything here is proven by a field that is *named*.
pub fn stale(wanted: &Wanted, vpc: &Vpc, seen: &Seen, settings: &Settings) -> Removal {
    let environment = &wanted.environment;
    let doomed: Vec<(&Endpoint, &'static str)> = seen
        .own_endpoints(environment)
        .filter_map(|endpoint| {
            let role = endpoint.role()?;
            match wanted.named.get(&role) {
                Some(service) if service.as_str() != endpoint.service => {
                    Some((endpoint, "the environment uses another service"))
                }
                _ if role == Role::Webserver && wanted.public_only => {
                    Some((endpoint, "the web server is public only"))
                }
                _ => None,
            }
        })
        .collect();
    let stays = |endpoint: &Endpoint| !doomed.iter().any(|(gone, _)| gone.id == endpoint.id);
    let groups_here = || seen.groups.iter().filter(|group| group.vpc == vpc.id);

    let justified = security_group::wanted_rules(wanted, settings);
    let mut rules = Vec::new();
    let mut detach = Vec::new();
    if !wanted.groups.is_empty() && wanted.named.contains_key(&Role::Database) {
        let mode_is_told = wanted.public_only || wanted.named.contains_key(&Role::Webserver);
        for group in groups_here() {
            let unjustified: BTreeSet<Rule> = group
                .rules_made_for(environment)
                .filter(|rule| mode_is_told || rule.port == security_group::port(Role::Database))
                .filter(|rule| !justified.contains(rule))
                .cloned()
                .collect();
            if !unjustified.is_empty() {
                rules.push((group.id.clone(), unjustified));
            }
        }
        let carry_their_own =
            settings.groups == GroupChoice::Auto && environment.account == vpc.owner;
        for endpoint in seen.own_endpoints(environment).filter(|e| e.is_alive() && stays(e)) {
            detach.extend(stale_groups(wanted, vpc, endpoint, carry_their_own));
        }
        for group in groups_here() {
            let named = wanted.groups.iter().cloned().collect();
            if tags::groups(&group.tags).difference(&named).next().is_some() {
                detach.extend(forget(
                    wanted,
                    Kind::SecurityGroup,
                    group.id.as_str(),
                    BTreeSet::new(),
                ));
            }
        }
    }

    let mut vpcs: BTreeSet<String> =
        doomed.iter().map(|(endpoint, _)| endpoint.vpc.clone()).collect();
    // Queues of older environments of this name. Unless the queue in use is named, any may be it.
    let mut lost = BTreeSet::new();
    if let Some(queue) = &wanted.queue {
        let doomed = doomed.iter().map(|(endpoint, _)| *endpoint);
        lost = vpc::tagged_queues(doomed, &environment.region).0;
        // A group that is used again remembers the queue of the environment that it was made for.
        for group in groups_here() {
            let before = remembered_queue(group, wanted).filter(|before| before != queue);
            if let Some(before) = before {
                let tags = Tags::from([(tags::QUEUE.to_owned(), queue.to_string())]);
                let (kind, id) = (Kind::SecurityGroup, group.id.to_string());
                detach.push(Detach { kind, id, groups: BTreeSet::new(), tags });
                vpcs.insert(group.vpc.to_string());
                lost.insert(before);
            }
        }
        lost.remove(queue);
    }
    Removal {
        rules,
        detach,
        queues: queues(wanted, seen, &vpcs, lost, stays),
        endpoints: doomed.iter().map(|(endpoint, why)| doom(endpoint, why)).collect(),
        // The environment was made again in another VPC.
        groups: seen
            .groups
            .iter()
            .filter(|group| !wanted.subnets.is_empty() && group.vpc != vpc.id)
            .filter(|group| {
                !seen
                    .own_endpoints(environment)
                    .any(|e| stays(e) && e.groups.contains(group.id.as_str()))
            })
            .map(|group| group.id.clone())
            .collect(),
        mark: None,
        keep_leftovers: settings.keep_leftovers,
    }
}

/// The groups that we once put on `endpoint` and that are not named any more. What somebody else put
/// there is not in the tag and stays; an endpoint never loses its last group.
fn stale_groups(
    wanted: &Wanted,
    vpc: &Vpc,
    endpoint: &Endpoint,
    carries_own: bool,
) -> Option<Detach> {
    let named: BTreeSet<GroupId> = wanted.groups.iter().cloned().collect();
    let remembered = tags::groups(&endpoint.tags);
    if remembered.is_subset(&named) {
        return None;
    }
    // The named groups were put on the endpoint that is used before anything is taken away.
    let used = endpoint.role().and_then(|role| {
        endpoints::in_use(vpc, &wanted.environment, role, &endpoint.service).map(|used| &used.id)
    });
    let carries_a_named_one = used == Some(&endpoint.id)
        || named.iter().any(|group| endpoint.groups.contains(group.as_str()));
    let groups: BTreeSet<GroupId> = remembered
        .difference(&named)
        .filter(|group| carries_own && endpoint.groups.contains(group.as_str()))
        .cloned()
        .collect();
    if !groups.is_empty() && !carries_a_named_one {
        return None;
    }
    forget(wanted, Kind::Endpoint, &endpoint.id, groups)
}

fn forget(wanted: &Wanted, kind: Kind, id: &str, groups: BTreeSet<GroupId>) -> Option<Detach> {
    let value = tags::groups_value(&wanted.groups)?;
    let tags = Tags::from([(tags::GROUPS.to_owned(), value)]);
    Some(Detach { kind, id: id.to_owned(), groups, tags })
}

/// What can go with an environment that is gone.
///
/// A late event must not hit an environment that was made again under the same name: only what was
/// last touched by no later event goes, and only what leads to the service that the event names, if
/// it names one. `vpc` is where the event says that the environment was, if it does.
pub fn gone(
    wanted: &Wanted,
    vpc: Option<&VpcId>,
    seen: &Seen,
    settings: &Settings,
    now: DateTime<Utc>,
) -> Removal {
    let environment = &wanted.environment;
    let not_later = |tags: &Tags| match (tags::event_time(tags), wanted.time) {
        (Some(remembered), Some(time)) => remembered <= time,
        // An endpoint without a memory was made for work without a time.
        _ => true,
    };
    let doomed: Vec<&Endpoint> = seen
        .own_endpoints(environment)
        .filter(|endpoint| {
            let named = endpoint.role().and_then(|role| wanted.named.get(&role));
            not_later(&endpoint.tags)
                && named.is_none_or(|service| service.as_str() == endpoint.service)
        })
        .collect();
    let stays = |endpoint: &Endpoint| !doomed.iter().any(|gone| gone.id == endpoint.id);

    // A group that an endpoint of the environment still carries is in use by its successor.
    let in_use = |group: &&OwnGroup| {
        seen.own_endpoints(environment)
            .any(|endpoint| stays(endpoint) && endpoint.groups.contains(group.id.as_str()))
    };
    let groups: Vec<&OwnGroup> =
        seen.groups.iter().filter(|group| not_later(&group.tags) && !in_use(group)).collect();
    let rules = groups
        .iter()
        .map(|group| {
            let ours: BTreeSet<Rule> = group
                .rules_made_for(environment)
                .filter(|rule| !settings.keep_leftovers || matches!(rule.source, Source::Group(..)))
                .cloned()
                .collect();
            (group.id.clone(), ours)
        })
        .filter(|(_, rules)| !rules.is_empty())
        .collect();

    let mut vpcs: BTreeSet<String> = doomed.iter().map(|endpoint| endpoint.vpc.clone()).collect();
    vpcs.extend(groups.iter().map(|group| group.vpc.to_string()));
    vpcs.extend(vpc.map(VpcId::to_string));
    let (mut lost, _) = vpc::tagged_queues(doomed.iter().copied(), &environment.region);
    lost.extend(groups.iter().filter_map(|group| remembered_queue(group, wanted)));
    lost.extend(wanted.queue.clone());
    let gone_at = Tags::from([(tags::GONE.to_owned(), tags::rfc3339(wanted.time.unwrap_or(now)))]);
    let unmarked = doomed
        .iter()
        .map(|endpoint| (endpoint.id.clone(), &endpoint.tags))
        .chain(groups.iter().map(|group| (group.id.to_string(), &group.tags)))
        .filter(|(_, tags)| !tags::is_left_behind(tags))
        .map(|(id, _)| id)
        .collect();
    Removal {
        rules,
        detach: Vec::new(),
        queues: queues(wanted, seen, &vpcs, lost, stays),
        endpoints: doomed.iter().map(|e| doom(e, "the environment is gone")).collect(),
        groups: groups.iter().map(|group| group.id.clone()).collect(),
        mark: Some(Retag { ids: unmarked, tags: gone_at }),
        keep_leftovers: settings.keep_leftovers,
    }
}

fn remembered_queue(group: &OwnGroup, wanted: &Wanted) -> Option<QueueArn> {
    QueueArn::parse_in(group.tags.get(tags::QUEUE)?, &wanted.environment.region).ok()
}

fn doom(endpoint: &Endpoint, why: &'static str) -> Doomed {
    Doomed {
        id: endpoint.id.clone(),
        role: endpoint.role(),
        service: endpoint.service.clone(),
        why,
    }
}

/// Takes `lost` queues out of the SQS endpoints of `vpcs`, but for those that an endpoint of ours
/// which stays remembers.
fn queues(
    wanted: &Wanted,
    seen: &Seen,
    vpcs: &BTreeSet<String>,
    lost: BTreeSet<QueueArn>,
    stays: impl Fn(&Endpoint) -> bool,
) -> Vec<QueueRemoval> {
    let region = &wanted.environment.region;
    let staying = seen.endpoints.iter().filter(|endpoint| !endpoint.is_going() && stays(endpoint));
    let (needed, _) = vpc::tagged_queues(staying, region);
    let lost: BTreeSet<QueueArn> = lost.difference(&needed).cloned().collect();
    if lost.is_empty() {
        return Vec::new();
    }
    seen.sqs_endpoints(vpcs, region)
        .filter(|endpoint| !endpoint.requester_managed)
        .map(|endpoint| {
            let policy = endpoint.policy.as_deref().unwrap_or_default();
            QueueRemoval {
                endpoint: endpoint.id.clone(),
                service: endpoint.service.clone(),
                queues: lost.clone(),
                is_listed: lost.iter().any(|queue| policy.contains(queue.as_str())),
            }
        })
        .collect()
}
