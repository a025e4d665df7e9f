//! An event as EventBridge delivers it.

use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use serde::Deserialize;
use serde_json::Value;

use super::fields::{EVENT, at, read, required, typed};
use super::spec::{Origin, Status};
use super::{Refusal, Work, quoted, refuse};
use crate::environment::{AccountId, Environment, Region};

/// The source of MWAA's events.
pub const SOURCE: &str = "aws.airflow";
/// The detail type of the events that are handled.
pub const DETAIL_TYPE: &str = "MWAA Environment Status Change";

/// What every event must say, whatever its status.
#[derive(Deserialize)]
struct Head {
    name: Option<String>,
    status: Option<String>,
}

pub(super) fn event(payload: Value) -> Result<Work, Refusal> {
    for field in ["source", "detail-type", "detail"] {
        if payload.get(field).is_none_or(Value::is_null) {
            return Err(refuse(field, "missing"));
        }
    }
    let event: EventBridgeEvent<Value> = typed(payload, "")?;
    if event.source != SOURCE {
        return Err(refuse(
            "source",
            format!("expected {SOURCE:?}, got {}", quoted(&event.source)),
        ));
    }
    if event.detail_type != DETAIL_TYPE {
        return Err(refuse(
            "detail-type",
            format!("expected {DETAIL_TYPE:?}, got {}", quoted(&event.detail_type)),
        ));
    }
    let account =
        at("account", required("account", event.account)?, |text| AccountId::parse(&text))?;
    let region = at("region", required("region", event.region)?, |text| Region::parse(&text))?;
    if !event.detail.is_object() {
        return Err(refuse("detail", "expected an object"));
    }
    let head: Head = typed(event.detail.clone(), "detail")?;
    let environment = at("detail.name", required("detail.name", head.name)?, |name| {
        Environment::new(account, region, &name)
    })?;
    let status = Status::parse(&required("detail.status", head.status)?);
    if event.time.is_none() && status == Status::Deleted {
        return Err(refuse(
            "time",
            "missing; without it the event might be of an earlier environment",
        ));
    }
    if !status.concerns_the_vpc() {
        return Ok(Work::none(environment, status));
    }
    let spec = read(environment, status, Origin::Event(event.time), event.detail, &EVENT, true)?;
    Ok(Work::asked_by(spec))
}

/// The names of the fields of an event's detail, sorted. MWAA publishes no schema of it.
pub fn shape(payload: &Value) -> Option<String> {
    let mut names = Vec::new();
    collect(payload.get("detail")?, "", &mut names);
    names.sort_unstable();
    Some(names.join(", "))
}

fn collect(value: &Value, prefix: &str, names: &mut Vec<String>) {
    const MOST: usize = 100;
    for (name, value) in value.as_object().into_iter().flatten() {
        if names.len() >= MOST {
            return;
        }
        let name: String = format!("{prefix}{name}").chars().take(MOST).collect();
        collect(value, &format!("{name}."), names);
        names.push(name);
    }
}
