//! The fields that say what an environment needs, in the two spellings of MWAA.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::spec::{EnvironmentSpec, Mode, Origin, Part, Status, Unusable};
use super::{Refusal, quoted, refuse, refuse_shortly};
use crate::environment::{Environment, GroupId, Malformed, QueueArn, Role, ServiceName, SubnetId};
use crate::gather::Gather;
use crate::report::Warning;

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
pub(super) struct Names {
    /// The object that they are in.
    pub object: &'static str,
    /// Whether they begin with a capital.
    pascal: bool,
}

impl Names {
    /// The path of a field, given in camelCase.
    pub fn path(&self, field: &str) -> String {
        let words = field.split('.').map(|word| {
            let (first, rest) = word.split_at(1);
            if self.pascal { first.to_ascii_uppercase() + rest } else { word.to_owned() }
        });
        format!("{}.{}", self.object, words.collect::<Vec<_>>().join("."))
    }
}

pub(super) const EVENT: Names = Names { object: "detail", pascal: false };
pub(super) const ANSWER: Names = Names { object: "Environment", pascal: true };

/// Reads what is said of an environment. While it is `PENDING`, a person or an event must name its
/// subnets, its groups and its database service, or is refused if they are `strict`ly read.
pub(super) fn read(
    environment: Environment,
    status: Status,
    origin: Origin,
    detail: Value,
    names: &Names,
    strict: bool,
) -> Result<EnvironmentSpec, Refusal> {
    let detail: Detail = typed(detail, names.object)?;
    let must = strict && status == Status::Pending;
    let mut warnings = Vec::new();
    let customer_managed = match detail.endpoint_management.as_deref() {
        None => None,
        Some("SERVICE") => Some(false),
        Some("CUSTOMER") => Some(true),
        Some(other) => {
            warnings.push(Warning {
                message: format!(
                    "endpointManagement {} is not known; taken for CUSTOMER",
                    quoted(other)
                ),
                remedy: None,
            });
            Some(true)
        }
    };
    let mut spec =
        EnvironmentSpec { customer_managed, warnings, ..EnvironmentSpec::from_tags(environment) };
    (spec.status, spec.origin) = (status, origin);
    if customer_managed == Some(false) {
        return Ok(spec);
    }

    let network = names.path("networkConfiguration");
    let network = match detail.network_configuration {
        None if must => return Err(refuse(network, "missing")),
        network => {
            network.unwrap_or(NetworkConfiguration { subnet_ids: None, security_group_ids: None })
        }
    };
    let path = names.path("networkConfiguration.subnetIds");
    spec.subnets = ids(&path, network.subnet_ids, must, SubnetId::parse)?;
    let path = names.path("networkConfiguration.securityGroupIds");
    let groups: Vec<GroupId> = ids(&path, network.security_group_ids, must, GroupId::parse)?;
    spec.groups = groups.into_iter().gather::<BTreeSet<_>>();

    let region = spec.environment.region.clone();
    let path = names.path("databaseVpcEndpointService");
    match detail.database_vpc_endpoint_service {
        None if must => return Err(refuse(path, "missing")),
        None => {
            let why = Unusable::Missing(refuse(path, "missing"));
            spec.unusable.insert(Part::Database, why);
        }
        Some(text) => {
            let service = at(&path, text, |text| ServiceName::parse_in(&text, &region))?;
            spec.named.insert(Role::Database, service);
        }
    }
    spec.mode = detail.webserver_access_mode.as_deref().map(Mode::parse);
    let path = names.path("webserverVpcEndpointService");
    let parse = |text: String| ServiceName::parse_in(&text, &region);
    let service = usable(&path, detail.webserver_vpc_endpoint_service, parse);
    let is_named = !matches!(service, Err(Unusable::Missing(_)));
    if let Some(Mode::Unknown(mode)) = &spec.mode {
        let what = if is_named {
            "the web server service is named, so it gets an endpoint"
        } else {
            "no web server service is named, so none gets an endpoint"
        };
        let mode = quoted(mode);
        let message = format!("web server access mode {mode} is not known ({path}): {what}");
        spec.warnings.push(Warning { message, remedy: None });
    }
    match service {
        Ok(service) => {
            spec.named.insert(Role::Webserver, service);
        }
        Err(why) => {
            spec.unusable.insert(Part::Webserver, why);
        }
    }
    let path = names.path("celeryExecutorQueue");
    let parse = |text: String| QueueArn::parse_in(&text, &region);
    match usable(&path, detail.celery_executor_queue, parse) {
        Ok(queue) => {
            if !queue.is_named_as_celery_queue() {
                let message =
                    format!("{path}: {queue} is not named airflow-celery-…; used all the same");
                spec.warnings.push(Warning { message, remedy: None });
            }
            spec.queue = Some(queue);
        }
        Err(why) => {
            spec.unusable.insert(Part::Queue, why);
        }
    }
    Ok(spec)
}

/// A field that must be a string of some form.
fn usable<T>(
    path: &str,
    value: Option<Value>,
    parse: impl FnOnce(String) -> Result<T, Malformed>,
) -> Result<T, Unusable> {
    match value {
        None => Err(Unusable::Missing(refuse(path, "missing"))),
        Some(Value::String(text)) => at(path, text, parse).map_err(Unusable::Wrong),
        Some(_) => Err(Unusable::Wrong(refuse(path, "expected a string"))),
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

pub(super) fn required<T>(path: &str, value: Option<T>) -> Result<T, Refusal> {
    value.ok_or_else(|| refuse(path, "missing"))
}

pub(super) fn at<T, U>(
    path: &str,
    value: T,
    parse: impl FnOnce(T) -> Result<U, Malformed>,
) -> Result<U, Refusal> {
    parse(value).map_err(|e| refuse(path, e))
}

/// `value` as a `T`; a refusal names the path of what does not fit, below `prefix`.
pub(super) fn typed<T: for<'de> Deserialize<'de>>(
    value: Value,
    prefix: &str,
) -> Result<T, Refusal> {
    serde_path_to_error::deserialize(value).map_err(|e| {
        let path = match (prefix, e.path().to_string().as_str()) {
            (prefix, ".") => prefix.to_owned(),
            ("", path) => path.to_owned(),
            (prefix, path) => format!("{prefix}.{path}"),
        };
        refuse_shortly(path, e.inner())
    })
}
