//! The door: a payload becomes a [`Request`], once, or is refused with the path of the field that is
//! wrong.

mod eventbridge;
mod fields;
mod get_environment;
mod spec;

use std::fmt;

use serde_json::Value;

pub use eventbridge::shape;
pub use get_environment::of_mwaa;
pub use spec::{EnvironmentSpec, Mode, Origin, Status};

use crate::environment::Environment;

/// What a payload asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// What is to be done.
    pub work: Work,
    /// Whether only the plan is asked for.
    pub dry_run: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Something is said of an environment: see whether all is right there.
    Environment(Box<EnvironmentSpec>),
    /// All that is ours must be looked at.
    Sweep,
    /// There is nothing to do, for this reason.
    Nothing {
        /// The environment.
        environment: Environment,
        /// The status that the event tells.
        status: Status,
        /// Why there is nothing to do.
        reason: String,
    },
}

impl Work {
    /// What is to be done for an environment of which this is said.
    fn asked_by(spec: EnvironmentSpec) -> Self {
        if spec.customer_managed != Some(false) {
            return Self::Environment(Box::new(spec));
        }
        Self::Nothing {
            environment: spec.environment,
            status: spec.status,
            reason:
                "MWAA manages this environment's endpoints itself (endpointManagement is SERVICE)"
                    .to_owned(),
        }
    }

    /// That nothing is to be done for an environment in this status.
    fn none(environment: Environment, status: Status) -> Self {
        let reason = format!("an environment that is {status} needs nothing");
        Self::Nothing { environment, status, reason }
    }
}

/// Why an event was refused: the path of a field, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Where, as in `detail.networkConfiguration.subnetIds[1]`; empty for the whole payload.
    pub path: String,
    /// What is wrong there.
    pub why: String,
}

impl Refusal {
    /// Where, and what is wrong there.
    pub fn at_path(&self) -> String {
        let path = if self.path.is_empty() { "the payload" } else { &self.path };
        format!("{path}: {}", self.why)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event refused: {}", self.at_path())
    }
}

impl std::error::Error for Refusal {}

fn refuse(path: impl Into<String>, why: impl fmt::Display) -> Refusal {
    Refusal { path: path.into(), why: why.to_string() }
}

/// A refusal with a reason of somebody else's, which may quote the payload at any length.
fn refuse_shortly(path: impl Into<String>, why: impl fmt::Display) -> Refusal {
    const SHOWN: usize = 300;
    let why = why.to_string();
    let mut shown: String = why.chars().take(SHOWN).collect();
    if shown.len() < why.len() {
        shown.push('…');
    }
    refuse(path, shown)
}

/// Reads a payload: an EventBridge event, the answer of `aws mwaa get-environment`, or the schedule's
/// `{"sweep": true}`; each with `"dryRun": true` beside it or without.
///
/// # Errors
///
/// A [`Refusal`] that names the first field that is wrong.
pub fn parse(mut payload: Value) -> Result<Request, Refusal> {
    if let Some(advice) = one_step_off(&payload) {
        return Err(refuse("", advice));
    }
    // serde would take a JSON list for a struct, field by field.
    let Some(fields) = payload.as_object_mut() else {
        return Err(refuse("", "expected an EventBridge event, a JSON object"));
    };
    let dry_run = match fields.remove("dryRun") {
        None => false,
        Some(Value::Bool(dry_run)) => dry_run,
        Some(_) => return Err(refuse("dryRun", "expected true or false")),
    };
    let work = if let Some(sweep) = fields.get("sweep") {
        match sweep {
            Value::Bool(true) => Work::Sweep,
            _ => return Err(refuse("sweep", "expected true")),
        }
    } else if let Some(environment) = fields.remove(get_environment::OBJECT) {
        get_environment::replayed(environment)?
    } else {
        eventbridge::event(payload)?
    };
    Ok(Request { work, dry_run })
}

/// What to send instead of something that an event, or MWAA's answer, is in.
fn one_step_off(payload: &Value) -> Option<&'static str> {
    let has = |pointer: &str| payload.pointer(pointer).is_some_and(|value| !value.is_null());
    // Lambda developer guide, "Capturing records of Lambda asynchronous invocations".
    if has("/requestPayload") && has("/requestContext") {
        Some("a record of a failed event: send what is in its requestPayload (jq .requestPayload)")
    } else if has("/Records/0/body") {
        Some(
            "an event within SQS records: send the message's body (jq -r '.Records[0].body'); of the failed events' queue, what is in its requestPayload",
        )
    } else if has("/Records/0/Sns") {
        Some("an event within SNS records: send the message (jq -r '.Records[0].Sns.Message')")
    } else if has("/Records") {
        Some("records of another service: send an EventBridge event, or MWAA's answer")
    } else if has("/Arn") && has("/Status") {
        Some(
            "the Environment alone: send the answer of `aws mwaa get-environment` as it is, {\"Environment\": …}",
        )
    } else if has("/Messages/0/Body") {
        Some(
            "an answer of `aws sqs receive-message`: send the message's body (jq -r '.Messages[0].Body')",
        )
    } else if has("/eventVersion") && has("/eventName") || has("/detail/eventVersion") {
        Some(
            "an event of CloudTrail: send MWAA's own event, or the answer of `aws mwaa get-environment`",
        )
    } else if payload.is_array() {
        Some("a list: send one event at a time, a JSON object")
    } else {
        None
    }
}

/// A text that came from outside, for a message: cut off where it is longer than anybody would read.
fn quoted(text: &str) -> String {
    const SHOWN: usize = 200;
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

#[cfg(test)]
mod tests;
