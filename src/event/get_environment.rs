//! The answer of MWAA's GetEnvironment: handed in by a person, who may have kept it for long, or
//! given to this function by MWAA itself.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::fields::{ANSWER, at, read, required, typed};
use super::spec::{EnvironmentSpec, Origin, Status};
use super::{Refusal, Work, refuse};
use crate::environment::Environment;

/// The field that the answer consists of.
pub(super) const OBJECT: &str = ANSWER.object;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Head {
    arn: Option<String>,
    status: Option<String>,
}

fn head(environment: &Value) -> Result<(Environment, Status), Refusal> {
    if !environment.is_object() {
        return Err(refuse(OBJECT, "expected an object"));
    }
    let head: Head = typed(environment.clone(), OBJECT)?;
    let (arn, status) = (ANSWER.path("arn"), ANSWER.path("status"));
    let identity = at(&arn, required(&arn, head.arn)?, |arn| Environment::parse(&arn))?;
    Ok((identity, Status::parse(&required(&status, head.status)?)))
}

/// Reads what a person hands in.
pub(super) fn replayed(answer: Value) -> Result<Work, Refusal> {
    let (environment, status) = head(&answer)?;
    if status == Status::Deleted {
        let reason =
            "that MWAA does not know it any more would be proof; that it says DELETED is none";
        return Ok(Work::Nothing { environment, status, reason: reason.to_owned() });
    }
    if !status.concerns_the_vpc() {
        return Ok(Work::none(environment, status));
    }
    let spec = read(environment, status, Origin::Replay, answer, &ANSWER, true)?;
    Ok(Work::asked_by(spec))
}

/// Reads what MWAA itself answers, the value of `Environment`. It may leave anything out.
///
/// # Errors
///
/// A [`Refusal`] that names the first field that cannot be read: then nobody knows what it says.
pub fn of_mwaa(answer: Value) -> Result<EnvironmentSpec, Refusal> {
    let (environment, status) = head(&answer)?;
    let time = |pointer: &str| -> Option<DateTime<Utc>> {
        let text = answer.pointer(pointer)?.as_str()?;
        Some(DateTime::parse_from_rfc3339(text).ok()?.with_timezone(&Utc))
    };
    let (created, updated) = (time("/CreatedAt"), time("/LastUpdate/CreatedAt"));
    let origin = Origin::Mwaa { created, updated };
    read(environment, status, origin, answer, &ANSWER, false)
}
