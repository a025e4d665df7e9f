//! What the tags on what was made for an environment remember of it.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::environment::{GroupId, QueueArn, Role, ServiceName};
use crate::event::{EnvironmentSpec, Mode};
use crate::gather::Gather;
use crate::tags::{self, Tags};
use crate::vpc::{Endpoint, Observed, Vpc};

/// Until when an event or MWAA's answer is remembered to have been applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Nothing new: a person's replay, or the tags themselves, order nothing.
    None,
    /// An event of this time.
    Event(DateTime<Utc>),
    /// What was seen at this time, if it changes something: what changes by an observation must not
    /// be changed back by an older event.
    Seen(DateTime<Utc>),
}

/// `spec`, with what is not named filled in from what the tags on ours in `vpc` remember: it is left as
/// it is, and where it was changed by hand it comes back. Not the queue: whether a tag's queue counts
/// is another question.
pub fn filled_from_tags(
    mut spec: EnvironmentSpec,
    vpc: &Vpc,
    observed: &Observed,
) -> EnvironmentSpec {
    let ours = alive(&spec, vpc, observed);
    let region = spec.environment.region.clone();
    for role in Role::ALL {
        let services = ours.iter().filter(|endpoint| endpoint.role() == Some(role));
        let services: BTreeSet<ServiceName> = services
            .filter_map(|endpoint| ServiceName::parse_in(&endpoint.service, &region).ok())
            .gather();
        // What several environments of this name have left behind does not say which is the last.
        if let Some(service) = sole(services)
            && !(role == Role::Webserver && spec.mode == Some(Mode::PublicOnly))
        {
            spec.named.entry(role).or_insert(service);
        }
    }
    if spec.groups.is_empty() {
        let tags = ours.iter().map(|endpoint| &endpoint.tags);
        let remembering = tags.chain(observed.groups_in(&vpc.id).map(|group| &group.tags));
        spec.groups = remembering.flat_map(tags::groups).gather();
    }
    spec
}

/// The queue that the tags on ours in `vpc` remember, if they agree.
pub fn remembered_queue(
    spec: &EnvironmentSpec,
    vpc: &Vpc,
    observed: &Observed,
) -> Option<QueueArn> {
    let ours = alive(spec, vpc, observed);
    sole(ours.iter().filter_map(|endpoint| endpoint.remembered_queue()).gather())
}

fn alive<'a>(spec: &EnvironmentSpec, vpc: &Vpc, observed: &'a Observed) -> Vec<&'a Endpoint> {
    let is_its = |endpoint: &&Endpoint| {
        endpoint.vpc == vpc.id && endpoint.state.is_alive() && endpoint.is_of(&spec.environment)
    };
    observed.endpoints.iter().filter(is_its).collect()
}

fn sole<T: Ord>(mut values: BTreeSet<T>) -> Option<T> {
    if values.len() == 1 { values.pop_first() } else { None }
}

/// The tags of a resource that must be brought up to date, with their new values.
pub fn outdated(spec: &EnvironmentSpec, memory: Memory, has: &Tags) -> Tags {
    let mut tags = Tags::new();
    let time = match memory {
        Memory::None => None,
        Memory::Event(time) | Memory::Seen(time) => Some(time),
    };
    if let Some(time) = time.filter(|_| tags::event_time(has) < time) {
        tags.insert(tags::EVENT_TIME.to_owned(), tags::rfc3339(time));
    }
    // A group that is used again keeps its memory of an older queue until that is proven stale.
    let keeps_queue = has.contains_key(tags::QUEUE)
        && has.get(tags::ROLE).is_some_and(|role| role == tags::SECURITY_GROUP);
    if let Some(queue) = &spec.queue
        && !keeps_queue
        && has.get(tags::QUEUE).map(String::as_str) != Some(queue.as_str())
    {
        tags.insert(tags::QUEUE.to_owned(), queue.to_string());
    }
    // Older groups stay remembered until they are proven stale.
    let remembered = tags::groups(has);
    let groups: BTreeSet<GroupId> = remembered.union(&spec.groups).cloned().gather();
    if groups != remembered
        && let Some(value) = tags::groups_value(&groups)
    {
        tags.insert(tags::GROUPS.to_owned(), value);
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;

    #[test]
    fn a_memory_only_grows_and_a_replay_adds_no_time_to_it() {
        let arn = "arn:aws:airflow:us-east-1:210987654321:environment/analytics";
        let mut spec = EnvironmentSpec::from_tags(Environment::parse(arn).unwrap());
        spec.groups.insert(GroupId::parse("sg-2").unwrap());
        let time = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let has = Tags::from([
            (tags::EVENT_TIME.to_owned(), "2026-03-04T11:00:00Z".to_owned()),
            (tags::GROUPS.to_owned(), "sg-1".to_owned()),
        ]);
        for (memory, stamped) in [
            (Memory::None, None),
            (Memory::Event(time("2026-03-04T10:00:00Z")), None),
            (Memory::Event(time("2026-03-04T12:00:00Z")), Some("2026-03-04T12:00:00Z")),
            (Memory::Seen(time("2026-03-04T12:00:00Z")), Some("2026-03-04T12:00:00Z")),
        ] {
            let tags = outdated(&spec, memory, &has);
            assert_eq!(tags.get(tags::EVENT_TIME).map(String::as_str), stamped, "{memory:?}");
            assert_eq!(tags.get(tags::GROUPS).map(String::as_str), Some("sg-1 sg-2"));
        }
    }
}
