//! The tags on what the function makes. They are its only memory, and every later version reads
//! them: a key or a form, once released, stays.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, Utc};

use crate::environment::GroupId;
use crate::gather::Gather;

/// What the keys of our own tags begin with.
pub const PREFIX: &str = "mwaa-vpc-endpoints/";
/// `<environment>-database`, `<environment>-webserver`, or the group's name.
pub const NAME: &str = "Name";
/// The environment's ARN.
pub const ENVIRONMENT: &str = "mwaa-vpc-endpoints/environment";
/// `database`, `webserver` or [`SECURITY_GROUP`].
pub const ROLE: &str = "mwaa-vpc-endpoints/role";
/// The ARN of the environment's Celery queue.
pub const QUEUE: &str = "mwaa-vpc-endpoints/queue";
/// The time of the newest event that was applied, RFC 3339.
pub const EVENT_TIME: &str = "mwaa-vpc-endpoints/event-time";

/// The environment's security groups, separated by spaces: those that were named when the resource
/// was last brought up to date, and older ones that have not been proven stale.
pub const GROUPS: &str = "mwaa-vpc-endpoints/groups";

/// The time at which the environment went, on what is left of it for a while; RFC 3339.
pub const GONE: &str = "mwaa-vpc-endpoints/gone";

/// The role of the security group that is kept for a participant's environment.
pub const SECURITY_GROUP: &str = "security-group";

/// A resource's tags.
pub type Tags = BTreeMap<String, String>;

/// The groups that `tags` remember.
pub fn groups(tags: &Tags) -> BTreeSet<GroupId> {
    let text = tags.get(GROUPS).map_or("", String::as_str);
    text.split(' ').filter_map(|group| GroupId::parse(group).ok()).gather()
}

/// Groups as the tag holds them; nothing if there are none or more than a tag's value can hold
/// (EC2 user guide, "Tag restrictions"; MWAA takes five groups at most).
pub fn groups_value<'a>(groups: impl IntoIterator<Item = &'a GroupId>) -> Option<String> {
    let ids: Vec<&str> = groups.into_iter().map(GroupId::as_str).collect();
    Some(ids.join(" ")).filter(|text| (1..=256).contains(&text.len()))
}

/// A time as the tag holds it.
pub fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

fn time(tags: &Tags, key: &str) -> Option<DateTime<Utc>> {
    tags.get(key)
        .and_then(|text| DateTime::parse_from_rfc3339(text).ok())
        .map(|time| time.with_timezone(&Utc))
}

/// The time of the newest event that was applied to the resource, if its tags tell.
pub fn event_time(tags: &Tags) -> Option<DateTime<Utc>> {
    time(tags, EVENT_TIME)
}

/// Whether the resource is what is left of an environment that is gone, and was not used again since.
pub fn is_left_behind(tags: &Tags) -> bool {
    time(tags, GONE).is_some_and(|gone| event_time(tags).is_none_or(|used| used <= gone))
}
