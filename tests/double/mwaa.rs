//! MWAA and STS of the double, and a watch on what is lost.
//!
//! MWAA's rules (MWAA API reference): GetEnvironment answers `ResourceNotFoundException` (404) for an
//! environment that is not there, ListEnvironments lists names; who may not ask gets
//! `AccessDeniedException` (403). An account is asked with credentials of its own, which AssumeRole
//! gives. What AssumeRole refuses is `AccessDenied` (403) if the role is not there or does not trust the
//! caller, and something else if STS has a fault of its own (STS API reference, "Common errors").

use std::collections::BTreeSet;
use std::fmt;

use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use serde_json::{Value, json};

use super::{Call, Endpoint, Fault, Group, OWNER, Parameters, World, response};

/// What MWAA answers to a question about an environment.
#[derive(Clone, PartialEq)]
pub enum Says {
    /// This, as the value of `Environment`.
    This(Value),
    /// That there is no such environment.
    NotFound,
    /// An error: a status and a code.
    Refused(u16, &'static str),
    /// Nothing: the connection times out.
    Nothing,
}

impl fmt::Debug for Says {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Says::This(environment) => write!(f, "MWAA says {}", environment["Status"]),
            Says::NotFound => f.write_str("MWAA says not found"),
            Says::Refused(status, code) => write!(f, "MWAA says {status} {code}"),
            Says::Nothing => f.write_str("MWAA says nothing"),
        }
    }
}

impl From<&Environment> for Says {
    fn from(environment: &Environment) -> Self {
        Says::This(environment.answer())
    }
}

/// An environment as MWAA knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    pub account: String,
    pub name: String,
    pub status: String,
    pub database: String,
    pub webserver: String,
    pub mode: String,
    pub queue: String,
    pub groups: Vec<String>,
    /// The mode and the groups before the update that is under way.
    pub before: Option<(String, Vec<String>)>,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// When its last update was asked for, if there was one.
    pub updated: Option<i64>,
}

impl Environment {
    pub fn arn(&self) -> String {
        format!("arn:aws:airflow:us-east-1:{}:environment/{}", self.account, self.name)
    }

    /// Whether tasks run in it.
    pub fn is_running(&self) -> bool {
        matches!(self.status.as_str(), "AVAILABLE" | "UPDATING")
    }

    /// How the double's tables know it.
    pub fn key(&self) -> (String, String) {
        (self.account.clone(), self.name.clone())
    }

    /// The groups that workers may run behind.
    pub fn groups_in_use(&self) -> BTreeSet<String> {
        let before = self.before.iter().flat_map(|(_, groups)| groups);
        self.groups.iter().chain(before).cloned().collect()
    }

    /// The services that are in use, with the port of each.
    pub fn services_in_use(&self) -> Vec<(&str, u16)> {
        let private = |mode: &str| mode != "PUBLIC_ONLY";
        let mut services = vec![(self.database.as_str(), 5432)];
        if private(&self.mode) || self.before.as_ref().is_some_and(|(mode, _)| private(mode)) {
            services.push((&self.webserver, 443));
        }
        services
    }

    /// The rules that its group must have.
    pub fn rules_in_use(&self) -> BTreeSet<String> {
        self.services_in_use()
            .iter()
            .flat_map(|(_, port)| {
                self.groups_in_use()
                    .into_iter()
                    .map(move |group| format!("tcp/{port}/{}/{group}", self.account))
            })
            .collect()
    }

    /// What an event or an answer says of it, in camelCase.
    pub fn facts(&self) -> Value {
        json!({
            "name": self.name, "status": self.status, "endpointManagement": "CUSTOMER",
            "celeryExecutorQueue": self.queue,
            "databaseVpcEndpointService": self.database,
            "webserverVpcEndpointService": self.webserver,
            "webserverAccessMode": self.mode,
            "networkConfiguration": {
                "subnetIds": ["subnet-1", "subnet-2"], "securityGroupIds": self.groups
            }
        })
    }

    /// What GetEnvironment says of it: the value of `Environment`.
    pub fn answer(&self) -> Value {
        json!({
            "Name": self.name, "Arn": self.arn(), "Status": self.status,
            "CreatedAt": self.created, "EndpointManagement": "CUSTOMER",
            "LastUpdate": self.updated.map(|at| json!({"Status": "SUCCESS", "CreatedAt": at})),
            "CeleryExecutorQueue": self.queue,
            "DatabaseVpcEndpointService": self.database,
            "WebserverVpcEndpointService": self.webserver,
            "WebserverAccessMode": self.mode,
            "NetworkConfiguration": {
                "SubnetIds": ["subnet-1", "subnet-2"], "SecurityGroupIds": self.groups
            }
        })
    }
}

/// A request as a call of MWAA's, if it is one.
pub fn call(request: &HttpRequest) -> Option<Call> {
    let path = request.uri().split('?').next()?;
    let name = path.split_once("/environments")?.1.trim_matches('/');
    // The double gives every account its id as the access key's.
    let authorization = request.headers().get("authorization").unwrap_or_default();
    let account = authorization.split("Credential=").nth(1)?.split('/').next()?;
    let action = if name.is_empty() { "ListEnvironments" } else { "GetEnvironment" };
    let parameters = [("Account", account), ("Name", name)].map(|(k, v)| (k.into(), v.into()));
    Some(Call { action: action.into(), parameters: parameters.into(), round: 0 })
}

/// An error of STS.
pub fn sts_error(status: u16, code: &str) -> HttpResponse {
    response(
        status,
        format!(
            "<ErrorResponse xmlns=\"{STS}\"><Error><Type>Sender</Type><Code>{code}</Code><Message>injected</Message></Error><RequestId>r</RequestId></ErrorResponse>"
        ),
    )
}

const STS: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

impl World {
    /// How often MWAA was asked about an environment since the calls were last taken.
    pub fn asked(&self, account: &str, name: &str) -> usize {
        let is_about = |call: &&Call| {
            call.action == "GetEnvironment"
                && call.parameters["Account"] == account
                && call.parameters["Name"] == name
        };
        self.calls.iter().filter(is_about).count()
    }

    pub(super) fn assume_role(&mut self, p: &Parameters) -> HttpResponse {
        let role = p.get("RoleArn").unwrap_or_default();
        let account = role.split(':').nth(4).unwrap_or_default().to_owned();
        if let Some((status, code)) = self.roles.get(&account) {
            return sts_error(*status, code);
        }
        if self.closed_accounts.contains(&account) {
            return sts_error(403, "AccessDenied");
        }
        response(
            200,
            format!(
                "<AssumeRoleResponse xmlns=\"{STS}\"><AssumeRoleResult><AssumedRoleUser><AssumedRoleId>r:s</AssumedRoleId><Arn>{role}</Arn></AssumedRoleUser><Credentials><AccessKeyId>{account}</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
            ),
        )
    }

    pub(super) fn answer_mwaa(&mut self, call: Call) -> Result<HttpResponse, ConnectorError> {
        let key = (call.parameters["Account"].clone(), call.parameters["Name"].clone());
        let (index, action) = (self.calls.len(), call.action.clone());
        self.calls.push(call);
        let error = |status: u16, code: &str| {
            let mut answer = response(status, json!({"message": "m"}).to_string());
            answer.headers_mut().insert("x-amzn-errortype", code.to_owned());
            answer
        };
        match self.fault(index, &action) {
            Some(Fault::Refused(status, _)) => {
                return Ok(error(status, "InternalServerException"));
            }
            Some(_) => return Err(ConnectorError::timeout("injected time-out".into())),
            None => {}
        }
        if self.closed_accounts.contains(&key.0) {
            return Ok(error(403, "AccessDeniedException"));
        }
        if action == "ListEnvironments" {
            let its = self.environments.keys().filter(|(account, _)| *account == key.0);
            let names: Vec<&String> = its.map(|(_, name)| name).collect();
            return Ok(response(200, json!({"Environments": names}).to_string()));
        }
        let says = match self.says.get_mut(&key) {
            Some(script) if script.len() > 1 => script.pop_front(),
            Some(script) => script.front().cloned(),
            None => None,
        };
        let says = says.or_else(|| self.environments.get(&key).map(Says::from));
        match says.unwrap_or(Says::NotFound) {
            Says::This(environment) => {
                Ok(response(200, json!({"Environment": environment}).to_string()))
            }
            Says::NotFound => Ok(error(404, "ResourceNotFoundException")),
            Says::Refused(status, code) => Ok(error(status, code)),
            Says::Nothing => Err(ConnectorError::timeout("injected time-out".into())),
        }
    }
}

/// Something that a call changes or takes away.
pub enum Loss<'a> {
    Endpoint(&'a Endpoint),
    /// Subnets or groups of an endpoint.
    Shape(&'a Endpoint),
    /// Tags of a resource.
    Tags(&'a str),
    Rule {
        group: &'a Group,
        rule: &'a str,
        is_ours: bool,
    },
    Group(&'a Group),
    EndpointGroup {
        endpoint: &'a Endpoint,
        group: &'a str,
    },
    Policy {
        endpoint: &'a Endpoint,
        after: &'a str,
    },
}

/// The resources that a policy's statements list, but for those of `without`.
fn statements(policy: &str, sid: Option<&str>) -> Vec<Value> {
    let policy: Value = serde_json::from_str(policy).unwrap_or_default();
    let list = policy["Statement"].as_array().cloned().unwrap_or_default();
    list.into_iter().filter(|s| sid.is_none() || s["Sid"].as_str() != sid).collect()
}

fn lists(policy: &str, queue: &str) -> bool {
    statements(policy, None)
        .iter()
        .any(|statement| statement["Resource"].to_string().contains(queue))
}

impl World {
    /// Notes a loss that a running environment suffers, or that of something foreign.
    pub fn watch(&mut self, loss: Loss) {
        const TAG: &str = "mwaa-vpc-endpoints/environment";
        let running: Vec<&Environment> =
            self.environments.values().filter(|e| e.is_running()).collect();
        let mut found = Vec::new();
        match loss {
            Loss::Shape(endpoint) => {
                if !self.ours.contains(&endpoint.id) {
                    found.push(format!("changed somebody else's {}", endpoint.id));
                }
            }
            Loss::Tags(id) => {
                if !self.ours.contains(id) {
                    found.push(format!("tagged somebody else's {id}"));
                }
            }
            Loss::Endpoint(endpoint) => {
                if !self.ours.contains(&endpoint.id) {
                    found.push(format!("deleted somebody else's {}", endpoint.id));
                }
                if let Some(queue) = endpoint.tags.get("mwaa-vpc-endpoints/queue") {
                    let remembers = |other: &Endpoint| {
                        other.id != endpoint.id
                            && !other.state.starts_with("delet")
                            && other.tags.get("mwaa-vpc-endpoints/queue") == Some(queue)
                    };
                    let used = self.environments.values().any(|e| e.queue == *queue);
                    let listed = |e: &Endpoint| lists(self.known_policy(e), queue);
                    if !used
                        && !self.endpoints.iter().any(remembers)
                        && self.endpoints.iter().any(listed)
                    {
                        found.push(format!(
                            "deleted the last memory of {queue}, which is let through"
                        ));
                    }
                }
                for environment in running {
                    let is_dead =
                        ["rejected", "failed", "expired"].contains(&endpoint.state.as_str());
                    let mut services = environment.services_in_use().into_iter();
                    if !is_dead && services.any(|(service, _)| service == endpoint.service) {
                        found.push(format!("{} lost {}", environment.name, endpoint.id));
                    }
                }
            }
            Loss::Rule { group, rule, is_ours } => {
                if !is_ours || !self.ours.contains(&group.id) {
                    found.push(format!("took somebody else's rule {rule}"));
                }
                for environment in running {
                    if group.tags.get(TAG) == Some(&environment.arn())
                        && environment.rules_in_use().contains(rule)
                    {
                        found.push(format!("{} lost rule {rule}", environment.name));
                    }
                }
            }
            Loss::Group(group) => {
                if !self.ours.contains(&group.id) {
                    found.push(format!("deleted somebody else's {}", group.id));
                }
            }
            Loss::EndpointGroup { endpoint, group } => {
                if group.contains("hand") {
                    found.push(format!("took somebody else's {group} off {}", endpoint.id));
                }
                for environment in running {
                    let uses = environment.account == OWNER
                        && environment.groups_in_use().contains(group)
                        && environment
                            .services_in_use()
                            .iter()
                            .any(|(s, _)| *s == endpoint.service);
                    if uses {
                        found.push(format!("{} lost {group} on {}", environment.name, endpoint.id));
                    }
                }
            }
            Loss::Policy { endpoint, after } => {
                let before = self.known_policy(endpoint);
                let sid = Some("MwaaCeleryQueues");
                if !endpoint.service.contains(".sqs") {
                    found.push(format!("wrote the policy of somebody else's {}", endpoint.id));
                }
                if statements(before, sid) != statements(after, sid) {
                    found.push(format!("changed somebody else's statement of {}", endpoint.id));
                }
                if lists(after, "evil") && !lists(before, "evil") {
                    found.push(format!("let nobody's queue through {}", endpoint.id));
                }
                for environment in running {
                    if lists(before, &environment.queue) && !lists(after, &environment.queue) {
                        found.push(format!(
                            "{} lost its queue on {}",
                            environment.name, endpoint.id
                        ));
                    }
                }
            }
        }
        self.violations.extend(found);
    }
}
