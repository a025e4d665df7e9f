//! The tags on what the function makes. They are its only memory, and every later version reads
//! them: a key or a form, once released, stays.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::environment::Environment;

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

/// The role of the security group that is kept for a participant's environment.
pub const SECURITY_GROUP: &str = "security-group";

/// A resource's tags.
pub type Tags = BTreeMap<String, String>;

/// Whether `tags` say that the resource was made for `environment`, in this `role`.
pub fn made_for(tags: &Tags, environment: &Environment, role: &str) -> bool {
    tags.get(ENVIRONMENT).is_some_and(|arn| *arn == environment.arn())
        && tags.get(ROLE).is_some_and(|tagged| tagged == role)
}

/// A time as the tag holds it.
pub fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// The time of the newest event that was applied to the resource, if its tags tell.
pub fn event_time(tags: &Tags) -> Option<DateTime<Utc>> {
    tags.get(EVENT_TIME)
        .and_then(|text| DateTime::parse_from_rfc3339(text).ok())
        .map(|time| time.with_timezone(&Utc))
}
