//! The door: an EventBridge event becomes a [`Request`], once, or is refused with the path of the
//! field that is wrong.

use std::fmt;

use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use crate::environment::{
    AccountId, Environment, GroupId, Malformed, QueueArn, Region, Role, ServiceName, SubnetId,
};
use crate::report::{Failure, Note};

/// The source of MWAA's events.
pub const SOURCE: &str = "aws.airflow";
/// The detail type of the events that are handled.
pub const DETAIL_TYPE: &str = "MWAA Environment Status Change";

/// What an event asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// The VPC must be made what the environment needs.
    Serve(Wanted),
    /// There is nothing to do, for this reason.
    Nothing {
        /// The environment.
        environment: Environment,
        /// The status that the event tells.
        status: String,
        /// Why there is nothing to do.
        reason: String,
    },
}

/// What an environment needs of its VPC.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The environment.
    pub environment: Environment,
    /// The status that the event told.
    pub status: String,
    /// When the event happened, if it says so.
    pub time: Option<DateTime<Utc>>,
    /// The environment's subnets, each once, in the event's order.
    pub subnets: Vec<SubnetId>,
    /// The environment's security groups, each once, sorted.
    pub groups: Vec<GroupId>,
    /// The endpoint services that must be reachable in the VPC.
    pub services: Vec<(Role, ServiceName)>,
    /// The environment's Celery queue.
    pub queue: Option<QueueArn>,
    /// What cannot be done because the event does not say how; the rest is done all the same, since
    /// MWAA waits for 72 hours only.
    pub left_out: Vec<LeftOut>,
    /// What somebody should know of the event.
    pub warnings: Vec<Note>,
}

/// Something that the event should have said.
#[derive(Clone, Debug, PartialEq)]
pub struct LeftOut {
    /// The role whose endpoint cannot be made; without one, the queue cannot be let through.
    pub role: Option<Role>,
    /// What was left out and why.
    pub failure: Failure,
}

/// Why an event was refused: the path of a field, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Where, as in `detail.networkConfiguration.subnetIds[1]`; empty for the whole payload.
    pub path: String,
    /// What is wrong there.
    pub why: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "the payload" } else { &self.path };
        write!(f, "event refused: {path}: {}", self.why)
    }
}

impl std::error::Error for Refusal {}

fn refuse(path: impl Into<String>, why: impl fmt::Display) -> Refusal {
    Refusal { path: path.into(), why: why.to_string() }
}

/// The fields of `detail` that are read; MWAA sends more, and may come to send others.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    database_vpc_endpoint_service: Option<String>,
    webserver_access_mode: Option<String>,
    endpoint_management: Option<String>,
    network_configuration: Option<NetworkConfiguration>,
    // These two must not keep the rest from being done, so they may be anything.
    webserver_vpc_endpoint_service: Option<Value>,
    celery_executor_queue: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NetworkConfiguration {
    subnet_ids: Option<Vec<String>>,
    security_group_ids: Option<Vec<String>>,
}

/// What every event must say, whatever its status.
#[derive(Deserialize)]
struct Head {
    name: Option<String>,
    status: Option<String>,
}

/// Reads an event.
///
/// # Errors
///
/// A [`Refusal`] that names the first field that is wrong.
pub fn parse(payload: Value) -> Result<Request, Refusal> {
    // serde would take a JSON list for a struct, field by field.
    if !payload.is_object() {
        return Err(refuse("", "expected an EventBridge event, a JSON object"));
    }
    for field in ["source", "detail-type", "detail"] {
        if payload.get(field).is_none_or(Value::is_null) {
            return Err(refuse(field, "missing"));
        }
    }
    let event: EventBridgeEvent<Value> = typed(payload, "")?;
    if event.source != SOURCE {
        return Err(refuse("source", format!("expected {SOURCE:?}, got {:?}", event.source)));
    }
    if event.detail_type != DETAIL_TYPE {
        return Err(refuse(
            "detail-type",
            format!("expected {DETAIL_TYPE:?}, got {:?}", event.detail_type),
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
    let status = required("detail.status", head.status)?;
    if status != "PENDING" {
        let reason = format!("an environment that is {status} needs nothing");
        return Ok(Request::Nothing { environment, status, reason });
    }
    serve(environment, status, event.time, event.detail)
}

fn serve(
    environment: Environment,
    status: String,
    time: Option<DateTime<Utc>>,
    detail: Value,
) -> Result<Request, Refusal> {
    let detail: Detail = typed(detail, "detail")?;
    let mut warnings = Vec::new();
    match detail.endpoint_management.as_deref() {
        Some("SERVICE") => {
            return Ok(Request::Nothing {
                environment,
                status,
                reason: "MWAA manages this environment's endpoints itself (endpointManagement is SERVICE)"
                    .to_owned(),
            });
        }
        None | Some("CUSTOMER") => {}
        Some(other) => warnings.push(Note {
            message: format!("endpointManagement {other:?} is not known; taken for CUSTOMER"),
            remedy: None,
        }),
    }

    let network = required("detail.networkConfiguration", detail.network_configuration)?;
    let subnets =
        ids("detail.networkConfiguration.subnetIds", network.subnet_ids, SubnetId::parse)?;
    let mut groups = ids(
        "detail.networkConfiguration.securityGroupIds",
        network.security_group_ids,
        GroupId::parse,
    )?;
    groups.sort();

    let region = &environment.region;
    let path = "detail.databaseVpcEndpointService";
    let database = at(path, required(path, detail.database_vpc_endpoint_service)?, |text| {
        ServiceName::parse_in(&text, region)
    })?;
    let mut services = vec![(Role::Database, database)];
    let mut left_out = Vec::new();

    match webserver(
        detail.webserver_access_mode.as_deref(),
        detail.webserver_vpc_endpoint_service,
        region,
        &mut warnings,
    ) {
        Ok(Some(service)) => services.push((Role::Webserver, service)),
        Ok(None) => {}
        Err(why) => left_out.push(LeftOut {
            role: Some(Role::Webserver),
            failure: Failure::new(
                "the web server endpoint was left out",
                why.to_string(),
                "create it by hand from the environment's WebserverVpcEndpointService (aws mwaa get-environment), or send the event again complete",
            ),
        }),
    }

    let queue = match queue(detail.celery_executor_queue, region) {
        Ok(queue) => {
            if !queue.is_named_as_celery_queue() {
                warnings.push(Note {
                    message: format!(
                        "detail.celeryExecutorQueue: {queue} is not named airflow-celery-…; used all the same"
                    ),
                    remedy: None,
                });
            }
            Some(queue)
        }
        Err(why) => {
            left_out.push(LeftOut {
                role: None,
                failure: Failure::new(
                    "the queue was not let through",
                    why.to_string(),
                    "add the environment's CeleryExecutorQueue (aws mwaa get-environment) to the SQS endpoint's policy by hand, or send the event again complete",
                ),
            });
            None
        }
    };

    Ok(Request::Serve(Wanted {
        environment,
        status,
        time,
        subnets,
        groups,
        services,
        queue,
        left_out,
        warnings,
    }))
}

/// The web server's service if the environment needs an endpoint to it: always but for
/// `PUBLIC_ONLY` (MWAA API, `WebserverAccessMode`; its default is `PRIVATE_ONLY`).
fn webserver(
    mode: Option<&str>,
    service: Option<Value>,
    region: &Region,
    warnings: &mut Vec<Note>,
) -> Result<Option<ServiceName>, Refusal> {
    const PATH: &str = "detail.webserverVpcEndpointService";
    let known = match mode {
        Some("PUBLIC_ONLY") => return Ok(None),
        None | Some("PRIVATE_ONLY" | "PUBLIC_AND_PRIVATE") => true,
        Some(_) => false,
    };
    if !known {
        let mode = mode.unwrap_or_default();
        let what = if service.is_some() {
            "the web server service is named, so it gets an endpoint"
        } else {
            "no web server service is named, so none gets an endpoint"
        };
        warnings.push(Note {
            message: format!("detail.webserverAccessMode: {mode:?} is not known; {what}"),
            remedy: None,
        });
        if service.is_none() {
            return Ok(None);
        }
    }
    let service = text(PATH, service)?;
    at(PATH, service, |text| ServiceName::parse_in(&text, region)).map(Some)
}

fn queue(queue: Option<Value>, region: &Region) -> Result<QueueArn, Refusal> {
    const PATH: &str = "detail.celeryExecutorQueue";
    let queue = text(PATH, queue)?;
    at(PATH, queue, |text| QueueArn::parse_in(&text, region))
}

/// A field that must be a string.
fn text(path: &str, value: Option<Value>) -> Result<String, Refusal> {
    match value {
        None => Err(refuse(path, "missing")),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(refuse(path, "expected a string")),
    }
}

/// A list of ids, each parsed, each once; at least one.
fn ids<T: PartialEq>(
    path: &str,
    list: Option<Vec<String>>,
    parse: impl Fn(&str) -> Result<T, Malformed>,
) -> Result<Vec<T>, Refusal> {
    let list = required(path, list)?;
    let mut ids = Vec::new();
    for (index, text) in list.iter().enumerate() {
        let id = parse(text).map_err(|e| refuse(format!("{path}[{index}]"), e))?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    if ids.is_empty() {
        return Err(refuse(path, "expected at least one id, got an empty list"));
    }
    Ok(ids)
}

fn required<T>(path: &str, value: Option<T>) -> Result<T, Refusal> {
    value.ok_or_else(|| refuse(path, "missing"))
}

fn at<T, U>(
    path: &str,
    value: T,
    parse: impl FnOnce(T) -> Result<U, Malformed>,
) -> Result<U, Refusal> {
    parse(value).map_err(|e| refuse(path, e))
}

/// `value` as a `T`; a refusal names the path of what does not fit, below `prefix`.
fn typed<T: for<'de> Deserialize<'de>>(value: Value, prefix: &str) -> Result<T, Refusal> {
    serde_path_to_error::deserialize(value).map_err(|e| {
        let path = match (prefix, e.path().to_string().as_str()) {
            (prefix, ".") => prefix.to_owned(),
            ("", path) => path.to_owned(),
            (prefix, path) => format!("{prefix}.{path}"),
        };
        refuse(path, e.inner())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pending() -> Value {
        json!({
            "version": "0", "id": "7bf73129-1428-4cd3-a780-95db273d1602",
            "detail-type": DETAIL_TYPE, "source": SOURCE,
            "account": "210987654321", "time": "2026-03-04T10:15:00Z", "region": "us-east-1",
            "resources": ["arn:aws:airflow:us-east-1:210987654321:environment/analytics"],
            "detail": {
                "name": "analytics", "status": "PENDING",
                "celeryExecutorQueue": "arn:aws:sqs:us-east-1:555555555555:airflow-celery-1f2e",
                "databaseVpcEndpointService": "com.amazonaws.vpce.us-east-1.vpce-svc-0aa",
                "webserverVpcEndpointService": "com.amazonaws.vpce.us-east-1.vpce-svc-0ee",
                "webserverAccessMode": "PRIVATE_ONLY",
                "networkConfiguration": {
                    "subnetIds": ["subnet-2", "subnet-1", "subnet-2"],
                    "securityGroupIds": ["sg-2", "sg-1"]
                }
            }
        })
    }

    /// The event with the value at `pointer` replaced, or removed for `None`.
    fn with(pointer: &str, value: Option<Value>) -> Value {
        let mut event = pending();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        let parent = event.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match value {
            Some(value) => parent.insert(field.to_owned(), value),
            None => parent.remove(field),
        };
        event
    }

    fn serve(event: Value) -> Wanted {
        match parse(event) {
            Ok(Request::Serve(wanted)) => wanted,
            other => panic!("expected something to serve, got {other:?}"),
        }
    }

    #[test]
    fn ids_are_taken_once_and_unknown_fields_are_ignored() {
        let wanted = serve(with("/detail/somethingNew", Some(json!({"a": [1]}))));
        let subnets: Vec<&str> = wanted.subnets.iter().map(SubnetId::as_str).collect();
        assert_eq!(subnets, ["subnet-2", "subnet-1"]);
        assert_eq!(wanted.services.len(), 2);
        assert!(wanted.left_out.is_empty() && wanted.warnings.is_empty());
    }

    #[test]
    fn a_wrong_field_is_refused_by_its_path() {
        for (pointer, value, path) in [
            ("/source", Some(json!("aws.ec2")), "source"),
            ("/source", None, "source"),
            ("/source", Some(json!(5)), "source"),
            ("/detail-type", Some(json!("Other")), "detail-type"),
            ("/detail", Some(json!([])), "detail"),
            ("/detail", Some(json!("x")), "detail"),
            ("/detail", None, "detail"),
            ("/account", None, "account"),
            ("/account", Some(json!("21098765432")), "account"),
            ("/account", Some(json!(210987654321u64)), "account"),
            ("/region", None, "region"),
            ("/region", Some(json!("mars")), "region"),
            ("/time", Some(json!("yesterday")), "time"),
            ("/detail/name", None, "detail.name"),
            ("/detail/name", Some(json!("1st")), "detail.name"),
            ("/detail/status", None, "detail.status"),
            ("/detail/status", Some(json!(7)), "detail.status"),
            ("/detail/databaseVpcEndpointService", None, "detail.databaseVpcEndpointService"),
            (
                "/detail/databaseVpcEndpointService",
                Some(json!("com.amazonaws.us-east-1.s3")),
                "detail.databaseVpcEndpointService",
            ),
            ("/detail/networkConfiguration", None, "detail.networkConfiguration"),
            ("/detail/networkConfiguration", Some(json!("x")), "detail.networkConfiguration"),
            (
                "/detail/networkConfiguration/subnetIds",
                Some(json!("subnet-1")),
                "detail.networkConfiguration.subnetIds",
            ),
            (
                "/detail/networkConfiguration/subnetIds",
                Some(json!([])),
                "detail.networkConfiguration.subnetIds",
            ),
            (
                "/detail/networkConfiguration/subnetIds",
                Some(json!(["subnet-1", 5])),
                "detail.networkConfiguration.subnetIds[1]",
            ),
            (
                "/detail/networkConfiguration/subnetIds",
                Some(json!(["subnet-1", "vpc-1"])),
                "detail.networkConfiguration.subnetIds[1]",
            ),
            (
                "/detail/networkConfiguration/securityGroupIds",
                None,
                "detail.networkConfiguration.securityGroupIds",
            ),
            ("/detail/webserverAccessMode", Some(json!(1)), "detail.webserverAccessMode"),
        ] {
            let refusal = parse(with(pointer, value.clone())).expect_err(pointer);
            assert_eq!(refusal.path, path, "{pointer} = {value:?}: {refusal}");
            assert!(refusal.to_string().contains(path), "{refusal}");
        }
        for payload in [json!(null), json!([]), json!("x"), json!(1), json!({})] {
            assert!(parse(payload).is_err());
        }
    }

    #[test]
    fn a_missing_or_malformed_queue_stops_nothing_else() {
        for queue in [
            None,
            Some(json!(null)),
            Some(json!(5)),
            Some(json!("")),
            Some(json!("arn:aws:sqs:us-east-1:555555555555:*")),
            Some(json!("arn:aws:sqs:us-west-2:555555555555:airflow-celery-1")),
        ] {
            let wanted = serve(with("/detail/celeryExecutorQueue", queue));
            assert_eq!(wanted.services.len(), 2);
            assert_eq!(wanted.queue, None);
            assert_eq!(wanted.left_out.len(), 1);
            assert!(wanted.left_out[0].failure.to_string().contains("detail.celeryExecutorQueue"));
        }
    }

    #[test]
    fn a_missing_or_malformed_web_server_service_stops_nothing_else() {
        for service in [None, Some(json!(5)), Some(json!("com.amazonaws.us-east-1.s3"))] {
            let wanted = serve(with("/detail/webserverVpcEndpointService", service));
            assert_eq!(wanted.services.len(), 1);
            assert!(wanted.queue.is_some());
            assert_eq!(wanted.left_out[0].role, Some(Role::Webserver));
        }
    }

    #[test]
    fn the_access_mode_decides_on_the_web_server_endpoint() {
        for (mode, roles, warnings) in [
            (Some(json!("PUBLIC_ONLY")), 1, 0),
            (Some(json!("PRIVATE_ONLY")), 2, 0),
            (Some(json!("PUBLIC_AND_PRIVATE")), 2, 0),
            (Some(json!("SOMETHING_NEW")), 2, 1),
            (None, 2, 0),
        ] {
            let wanted = serve(with("/detail/webserverAccessMode", mode.clone()));
            assert_eq!(
                (wanted.services.len(), wanted.warnings.len()),
                (roles, warnings),
                "{mode:?}"
            );
        }
        let mut event = with("/detail/webserverAccessMode", Some(json!("SOMETHING_NEW")));
        event["detail"].as_object_mut().unwrap().remove("webserverVpcEndpointService");
        let wanted = serve(event);
        assert_eq!((wanted.services.len(), wanted.left_out.len()), (1, 0));
    }

    #[test]
    fn a_queue_of_another_name_is_used_with_a_warning() {
        let queue = json!("arn:aws:sqs:us-east-1:555555555555:tasks");
        let wanted = serve(with("/detail/celeryExecutorQueue", Some(queue)));
        assert!(wanted.queue.is_some());
        assert_eq!(wanted.warnings.len(), 1);
    }

    #[test]
    fn other_statuses_need_a_name_and_nothing_else() {
        for status in ["AVAILABLE", "CREATING", "DELETED", "SOMETHING_NEW"] {
            let mut event = pending();
            event["detail"] = json!({"name": "analytics", "status": status});
            assert!(matches!(parse(event), Ok(Request::Nothing { .. })), "{status}");
        }
    }

    #[test]
    fn an_environment_whose_endpoints_mwaa_manages_is_left_alone() {
        let event = with("/detail/endpointManagement", Some(json!("SERVICE")));
        assert!(matches!(parse(event), Ok(Request::Nothing { .. })));
        let event = with("/detail/endpointManagement", Some(json!("CUSTOMER")));
        assert!(matches!(parse(event), Ok(Request::Serve(_))));
    }
}
