//! The door: an EventBridge event becomes a [`Request`], once, or is refused with the path of the
//! field that is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use crate::environment::{
    AccountId, Environment, GroupId, Malformed, QueueArn, Region, Role, ServiceName, SubnetId,
};
use crate::report::{Failure, Note};
use crate::tags;
use crate::vpc::{Endpoint, Vpc};

/// The source of MWAA's events.
pub const SOURCE: &str = "aws.airflow";
/// The detail type of the events that are handled.
pub const DETAIL_TYPE: &str = "MWAA Environment Status Change";

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
    /// An environment must get what it needs, or lose what it does not.
    Environment(Wanted),
    /// All that is ours must be looked at.
    Sweep,
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

/// What a status means for the VPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `PENDING`: MWAA waits for endpoints. All that is needed must be named.
    Provide,
    /// `UPDATING`: the environment may need more; what it needed before is still in use.
    Extend,
    /// `AVAILABLE`: the environment needs what is named, and what is proven stale can go.
    Settle,
    /// `CREATE_FAILED`: what is there should be told, and nothing changed.
    Diagnose,
    /// `DELETED`: the environment is gone.
    Remove,
}

impl Purpose {
    fn of(status: &str) -> Option<Self> {
        Some(match status {
            "PENDING" => Self::Provide,
            "UPDATING" => Self::Extend,
            "AVAILABLE" => Self::Settle,
            "CREATE_FAILED" => Self::Diagnose,
            "DELETED" => Self::Remove,
            _ => return None,
        })
    }
}

/// Who says what an environment needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An event, which may be late.
    Event,
    /// A person, who may hand in an answer of MWAA that is old.
    Replay,
    /// MWAA itself, asked by this function. It is newer than any event that was applied, and says
    /// nothing new by its time.
    Mwaa,
}

/// What is said of an environment: by an event, by a person's replay, or by MWAA itself. All but a
/// `PENDING` one may leave anything out; what is left out proves nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The environment.
    pub environment: Environment,
    /// Its status, as MWAA writes it.
    pub status: String,
    /// What the status means for the VPC.
    pub purpose: Purpose,
    /// When the event happened, if it says so; or when MWAA was asked.
    pub time: Option<DateTime<Utc>>,
    /// Who says so.
    pub origin: Origin,
    /// Whether MWAA leaves the endpoints to the customer, if it says so.
    pub customer_managed: Option<bool>,
    /// The environment's subnets, each once, in the event's order; empty if they are not named.
    pub subnets: Vec<SubnetId>,
    /// The environment's security groups, each once, sorted; empty if they are not named.
    pub groups: Vec<GroupId>,
    /// The endpoint services that are named.
    pub named: BTreeMap<Role, ServiceName>,
    /// Whether the web server is explicitly public only, so that it needs no endpoint.
    pub public_only: bool,
    /// The environment's Celery queue.
    pub queue: Option<QueueArn>,
    /// What cannot be done because the event does not say how; the rest is done all the same, since
    /// MWAA waits for 72 hours only.
    pub left_out: Vec<LeftOut>,
    /// What somebody should know of the event.
    pub warnings: Vec<Note>,
}

impl Wanted {
    /// The endpoint services that must be reachable in the VPC.
    pub fn services(&self) -> impl Iterator<Item = (Role, &ServiceName)> {
        let needed = |role: Role| role == Role::Database || !self.public_only;
        self.named
            .iter()
            .map(|(role, service)| (*role, service))
            .filter(move |(role, _)| needed(*role))
    }
}

impl Wanted {
    /// What is wanted, with what is not named filled in from what the tags on ours in `vpc` remember:
    /// it is left as it is, and where it was changed by hand it comes back.
    pub fn recalling(mut self, vpc: &Vpc) -> Self {
        let ours: Vec<&Endpoint> = vpc
            .endpoints
            .iter()
            .filter(|e| e.is_alive() && tags::is_of(&e.tags, &self.environment))
            .collect();
        let region = self.environment.region.clone();
        // What several environments of this name have left behind does not say which is the last.
        let sole = |mut values: BTreeSet<String>| {
            if values.len() == 1 { values.pop_first() } else { None }
        };
        for role in Role::ALL {
            let services = ours.iter().filter(|endpoint| endpoint.role() == Some(role));
            let service = sole(services.map(|endpoint| endpoint.service.clone()).collect());
            let service = service.and_then(|text| ServiceName::parse_in(&text, &region).ok());
            if let Some(service) = service.filter(|_| !self.named.contains_key(&role)) {
                self.named.insert(role, service);
            }
        }
        if self.groups.is_empty() {
            let remembering = ours
                .iter()
                .map(|endpoint| &endpoint.tags)
                .chain(vpc.own_groups.iter().map(|group| &group.tags));
            let groups: BTreeSet<GroupId> = remembering.flat_map(tags::groups).collect();
            self.groups = groups.into_iter().collect();
        }
        if self.queue.is_none() {
            let queues = ours.iter().filter_map(|endpoint| endpoint.tagged_queue());
            self.queue = sole(queues.map(str::to_owned).collect())
                .and_then(|text| QueueArn::parse_in(&text, &region).ok());
        }
        self
    }

    /// What the tags alone say that `environment` needs.
    pub fn from_memory(environment: Environment) -> Self {
        Self {
            environment,
            status: "UNKNOWN".to_owned(),
            purpose: Purpose::Extend,
            time: None,
            origin: Origin::Mwaa,
            customer_managed: None,
            subnets: Vec::new(),
            groups: Vec::new(),
            named: BTreeMap::new(),
            public_only: false,
            queue: None,
            left_out: Vec::new(),
            warnings: Vec::new(),
        }
    }
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

impl Refusal {
    /// Where, and what is wrong there.
    fn at_path(&self) -> String {
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

/// The fields of `detail` that are read; MWAA sends more, and may come to send others. The answer of
/// GetEnvironment has the same in PascalCase.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    #[serde(alias = "DatabaseVpcEndpointService")]
    database_vpc_endpoint_service: Option<String>,
    #[serde(alias = "WebserverAccessMode")]
    webserver_access_mode: Option<String>,
    #[serde(alias = "EndpointManagement")]
    endpoint_management: Option<String>,
    #[serde(alias = "NetworkConfiguration")]
    network_configuration: Option<NetworkConfiguration>,
    // These two must not keep the rest from being done, so they may be anything.
    #[serde(alias = "WebserverVpcEndpointService")]
    webserver_vpc_endpoint_service: Option<Value>,
    #[serde(alias = "CeleryExecutorQueue")]
    celery_executor_queue: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NetworkConfiguration {
    #[serde(alias = "SubnetIds")]
    subnet_ids: Option<Vec<String>>,
    #[serde(alias = "SecurityGroupIds")]
    security_group_ids: Option<Vec<String>>,
}

/// The names of the fields of one way in which MWAA speaks of an environment.
struct Names {
    /// The object that they are in.
    object: &'static str,
    /// Whether they begin with a capital.
    pascal: bool,
}

impl Names {
    /// The path of a field, given in camelCase.
    fn path(&self, field: &str) -> String {
        let words = field.split('.').map(|word| {
            let (first, rest) = word.split_at(1);
            if self.pascal { first.to_ascii_uppercase() + rest } else { word.to_owned() }
        });
        format!("{}.{}", self.object, words.collect::<Vec<_>>().join("."))
    }
}

const EVENT: Names = Names { object: "detail", pascal: false };
const ANSWER: Names = Names { object: "Environment", pascal: true };

/// What every event must say, whatever its status.
#[derive(Deserialize)]
struct Head {
    name: Option<String>,
    status: Option<String>,
}

/// Reads a payload: an EventBridge event, the answer of `aws mwaa get-environment`, or the schedule's
/// `{"sweep": true}`; each with `"dryRun": true` beside it or without.
///
/// # Errors
///
/// A [`Refusal`] that names the first field that is wrong.
pub fn parse(mut payload: Value) -> Result<Request, Refusal> {
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
    } else if let Some(environment) = fields.remove(ANSWER.object) {
        answer(environment)?
    } else {
        event(payload)?
    };
    Ok(Request { work, dry_run })
}

fn event(payload: Value) -> Result<Work, Refusal> {
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
    if event.time.is_none() && Purpose::of(&status) == Some(Purpose::Remove) {
        return Err(refuse(
            "time",
            "missing; without it the event might be of an earlier environment",
        ));
    }
    work(environment, status, event.time, event.detail, &EVENT)
}

/// Reads the `Environment` of an answer of MWAA's GetEnvironment.
///
/// # Errors
///
/// A [`Refusal`] that names the first field that is wrong.
pub fn answer(environment: Value) -> Result<Work, Refusal> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Head {
        arn: Option<String>,
        status: Option<String>,
    }
    if !environment.is_object() {
        return Err(refuse(ANSWER.object, "expected an object"));
    }
    let head: Head = typed(environment.clone(), ANSWER.object)?;
    let (arn, status) = (ANSWER.path("arn"), ANSWER.path("status"));
    let identity = at(&arn, required(&arn, head.arn)?, |arn| Environment::parse(&arn))?;
    let status = required(&status, head.status)?;
    if Purpose::of(&status) == Some(Purpose::Remove) {
        let reason =
            "that MWAA does not know it any more would be proof; that it says DELETED is none";
        return Ok(Work::Nothing { environment: identity, status, reason: reason.to_owned() });
    }
    work(identity, status, None, environment, &ANSWER)
}

fn work(
    environment: Environment,
    status: String,
    time: Option<DateTime<Utc>>,
    detail: Value,
    names: &Names,
) -> Result<Work, Refusal> {
    let Some(purpose) = Purpose::of(&status) else {
        let reason = format!("an environment that is {status} needs nothing");
        return Ok(Work::Nothing { environment, status, reason });
    };
    let detail: Detail = typed(detail, names.object)?;
    let mut warnings = Vec::new();
    let customer_managed = match detail.endpoint_management.as_deref() {
        Some("SERVICE") => {
            return Ok(Work::Nothing {
                environment,
                status,
                reason: "MWAA manages this environment's endpoints itself (endpointManagement is SERVICE)"
                    .to_owned(),
            });
        }
        None => None,
        Some("CUSTOMER") => Some(true),
        Some(other) => {
            warnings.push(Note {
                message: format!("endpointManagement {other:?} is not known; taken for CUSTOMER"),
                remedy: None,
            });
            Some(true)
        }
    };

    let pending = purpose == Purpose::Provide;
    let network = names.path("networkConfiguration");
    let network = match detail.network_configuration {
        None if pending => return Err(refuse(network, "missing")),
        network => {
            network.unwrap_or(NetworkConfiguration { subnet_ids: None, security_group_ids: None })
        }
    };
    let path = names.path("networkConfiguration.subnetIds");
    let subnets = ids(&path, network.subnet_ids, pending, SubnetId::parse)?;
    let path = names.path("networkConfiguration.securityGroupIds");
    let mut groups = ids(&path, network.security_group_ids, pending, GroupId::parse)?;
    groups.sort();

    let region = &environment.region;
    let mut named = BTreeMap::new();
    let path = names.path("databaseVpcEndpointService");
    match detail.database_vpc_endpoint_service {
        None if pending => return Err(refuse(path, "missing")),
        None => {}
        Some(text) => {
            let service = at(&path, text, |text| ServiceName::parse_in(&text, region))?;
            named.insert(Role::Database, service);
        }
    }

    let mut left_out = Vec::new();
    let mode = detail.webserver_access_mode.as_deref();
    let public_only = mode == Some("PUBLIC_ONLY");
    let path = names.path("webserverVpcEndpointService");
    let service = detail.webserver_vpc_endpoint_service;
    if needs_web_server(mode, service.is_some(), pending, &path, &mut warnings) {
        match text(&path, service)
            .and_then(|text| at(&path, text, |text| ServiceName::parse_in(&text, region)))
        {
            Ok(service) => {
                named.insert(Role::Webserver, service);
            }
            Err(why) => left_out.push(LeftOut {
                role: Some(Role::Webserver),
                failure: Failure::new(
                    "the web server endpoint was left out",
                    why.at_path(),
                    "create it by hand from the environment's WebserverVpcEndpointService (aws mwaa get-environment), or replay the environment",
                ),
            }),
        }
    } else if let Some(service) = service
        .as_ref()
        .and_then(Value::as_str)
        .and_then(|text| ServiceName::parse_in(text, region).ok())
    {
        named.insert(Role::Webserver, service);
    }

    let path = names.path("celeryExecutorQueue");
    let queue = match detail.celery_executor_queue {
        None if !pending => None,
        queue => match text(&path, queue)
            .and_then(|text| at(&path, text, |text| QueueArn::parse_in(&text, region)))
        {
            Ok(queue) => Some(queue),
            Err(why) => {
                left_out.push(LeftOut {
                    role: None,
                    failure: Failure::new(
                        "the queue was not let through",
                        why.at_path(),
                        "add the environment's CeleryExecutorQueue (aws mwaa get-environment) to the SQS endpoint's policy by hand, or replay the environment",
                    ),
                });
                None
            }
        },
    };
    if let Some(queue) = queue.as_ref().filter(|queue| !queue.is_named_as_celery_queue()) {
        warnings.push(Note {
            message: format!("{path}: {queue} is not named airflow-celery-…; used all the same"),
            remedy: None,
        });
    }

    Ok(Work::Environment(Wanted {
        environment,
        status,
        purpose,
        time,
        origin: if names.pascal { Origin::Replay } else { Origin::Event },
        customer_managed,
        subnets,
        groups,
        named,
        public_only,
        queue,
        left_out,
        warnings,
    }))
}

/// Whether the web server's service must be named: it needs an endpoint in every mode but
/// `PUBLIC_ONLY` (MWAA API, `WebserverAccessMode`; the default is `PRIVATE_ONLY`).
fn needs_web_server(
    mode: Option<&str>,
    is_named: bool,
    pending: bool,
    path: &str,
    warnings: &mut Vec<Note>,
) -> bool {
    match mode {
        Some("PUBLIC_ONLY") => false,
        None | Some("PRIVATE_ONLY" | "PUBLIC_AND_PRIVATE") => is_named || pending,
        Some(mode) => {
            let what = if is_named {
                "the web server service is named, so it gets an endpoint"
            } else {
                "no web server service is named, so none gets an endpoint"
            };
            let message = format!("web server access mode {mode:?} is not known ({path}): {what}");
            warnings.push(Note { message, remedy: None });
            is_named
        }
    }
}

/// A field that must be a string.
fn text(path: &str, value: Option<Value>) -> Result<String, Refusal> {
    match value {
        None => Err(refuse(path, "missing")),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(refuse(path, "expected a string")),
    }
}

/// A list of ids, each parsed, each once; at least one if they are needed.
fn ids<T: PartialEq>(
    path: &str,
    list: Option<Vec<String>>,
    needed: bool,
    parse: impl Fn(&str) -> Result<T, Malformed>,
) -> Result<Vec<T>, Refusal> {
    let list = if needed { required(path, list)? } else { list.unwrap_or_default() };
    let mut ids = Vec::new();
    for (index, text) in list.iter().enumerate() {
        let id = parse(text).map_err(|e| refuse(format!("{path}[{index}]"), e))?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    if needed && ids.is_empty() {
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
        match parse(event).map(|request| request.work) {
            Ok(Work::Environment(wanted)) => wanted,
            other => panic!("expected something to serve, got {other:?}"),
        }
    }

    #[test]
    fn ids_are_taken_once_and_unknown_fields_are_ignored() {
        let wanted = serve(with("/detail/somethingNew", Some(json!({"a": [1]}))));
        let subnets: Vec<&str> = wanted.subnets.iter().map(SubnetId::as_str).collect();
        assert_eq!(subnets, ["subnet-2", "subnet-1"]);
        assert_eq!(wanted.services().count(), 2);
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
            assert_eq!(wanted.services().count(), 2);
            assert_eq!(wanted.queue, None);
            assert_eq!(wanted.left_out.len(), 1);
            assert!(wanted.left_out[0].failure.to_string().contains("detail.celeryExecutorQueue"));
        }
    }

    #[test]
    fn a_missing_or_malformed_web_server_service_stops_nothing_else() {
        for service in [None, Some(json!(5)), Some(json!("com.amazonaws.us-east-1.s3"))] {
            let wanted = serve(with("/detail/webserverVpcEndpointService", service));
            assert_eq!(wanted.services().count(), 1);
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
                (wanted.services().count(), wanted.warnings.len()),
                (roles, warnings),
                "{mode:?}"
            );
        }
        let mut event = with("/detail/webserverAccessMode", Some(json!("SOMETHING_NEW")));
        event["detail"].as_object_mut().unwrap().remove("webserverVpcEndpointService");
        let wanted = serve(event);
        assert_eq!((wanted.services().count(), wanted.left_out.len()), (1, 0));
    }

    #[test]
    fn a_queue_of_another_name_is_used_with_a_warning() {
        let queue = json!("arn:aws:sqs:us-east-1:555555555555:tasks");
        let wanted = serve(with("/detail/celeryExecutorQueue", Some(queue)));
        assert!(wanted.queue.is_some());
        assert_eq!(wanted.warnings.len(), 1);
    }

    #[test]
    fn only_a_pending_environment_must_name_what_it_needs() {
        for status in ["AVAILABLE", "UPDATING", "CREATE_FAILED", "DELETED"] {
            let mut event = pending();
            event["detail"] = json!({"name": "analytics", "status": status});
            let wanted = serve(event);
            assert!(wanted.named.is_empty() && wanted.left_out.is_empty(), "{status}");
        }
        for status in ["CREATING", "DELETING", "SOMETHING_NEW"] {
            let mut event = pending();
            event["detail"] = json!({"name": "analytics", "status": status});
            let request = parse(event).unwrap();
            assert!(matches!(request.work, Work::Nothing { .. }), "{status}");
        }
    }

    #[test]
    fn an_environment_whose_endpoints_mwaa_manages_is_left_alone() {
        let event = with("/detail/endpointManagement", Some(json!("SERVICE")));
        assert!(matches!(parse(event).unwrap().work, Work::Nothing { .. }));
        let event = with("/detail/endpointManagement", Some(json!("CUSTOMER")));
        assert_eq!(serve(event).customer_managed, Some(true));
    }

    /// The same facts, as GetEnvironment tells them.
    fn as_answer(event: &Value) -> Value {
        let detail = &event["detail"];
        json!({
            "Name": detail["name"], "Status": detail["status"], "Arn": event["resources"][0],
            "CreatedAt": "2026-03-04T10:00:00+00:00",
            "CeleryExecutorQueue": detail["celeryExecutorQueue"],
            "DatabaseVpcEndpointService": detail["databaseVpcEndpointService"],
            "WebserverVpcEndpointService": detail["webserverVpcEndpointService"],
            "WebserverAccessMode": detail["webserverAccessMode"],
            "NetworkConfiguration": {
                "SubnetIds": detail["networkConfiguration"]["subnetIds"],
                "SecurityGroupIds": detail["networkConfiguration"]["securityGroupIds"]
            }
        })
    }

    #[test]
    fn an_answer_of_get_environment_says_the_same_as_the_event() {
        let from_event = Wanted { time: None, origin: Origin::Replay, ..serve(pending()) };
        let answer = json!({"Environment": as_answer(&pending()), "dryRun": true});
        let request = parse(answer).unwrap();
        assert!(request.dry_run);
        assert_eq!(request.work, Work::Environment(from_event));

        let mut broken = as_answer(&pending());
        broken["NetworkConfiguration"]["SubnetIds"] = json!(["vpc-1"]);
        let refusal = parse(json!({"Environment": broken})).unwrap_err();
        assert_eq!(refusal.path, "Environment.NetworkConfiguration.SubnetIds[0]");
        let refusal = parse(json!({"Environment": {"Status": "PENDING"}})).unwrap_err();
        assert_eq!(refusal.path, "Environment.Arn");
    }

    #[test]
    fn the_schedule_asks_for_a_sweep() {
        assert_eq!(
            parse(json!({"sweep": true})).unwrap(),
            Request { work: Work::Sweep, dry_run: false }
        );
        assert!(parse(json!({"sweep": "yes"})).is_err());
        assert!(parse(json!({"sweep": true, "dryRun": 1})).is_err());
    }
}
