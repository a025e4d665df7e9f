//! MWAA and STS of the double, and a watch on what is lost.
//!
//! MWAA's rules (MWAA API reference): GetEnvironment answers `ResourceNotFoundException` (404) for an
//! environment that is not there, ListEnvironments lists names. An account is asked with credentials
//! of its own, which AssumeRole gives.

use std::collections::BTreeSet;

use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use serde_json::{Value, json};

use super::{Answer, Call, Endpoint, Fault, Group, OWNER, Parameters, World, refuse, response};

/// An environment as MWAA knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
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
}

impl Environment {
    pub fn arn(&self) -> String {
        format!("arn:aws:airflow:us-east-1:{}:environment/{}", self.account, self.name)
    }

    /// Whether tasks run in it.
    pub fn is_running(&self) -> bool {
        matches!(self.status.as_str(), "AVAILABLE" | "UPDATING")
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

    fn answer(&self) -> Value {
        json!({"Environment": {
            "Name": self.name, "Arn": self.arn(), "Status": self.status,
            "CreatedAt": 1.7e9, "EndpointManagement": "CUSTOMER",
            "CeleryExecutorQueue": self.queue,
            "DatabaseVpcEndpointService": self.database,
            "WebserverVpcEndpointService": self.webserver,
            "WebserverAccessMode": self.mode,
            "NetworkConfiguration": {
                "SubnetIds": ["subnet-1", "subnet-2"], "SecurityGroupIds": self.groups
            }
        }})
    }
}

/// The account whose credentials signed a request.
pub fn caller(request: &HttpRequest) -> String {
    let authorization = request.headers().get("authorization").unwrap_or_default();
    let key = authorization.split("Credential=").nth(1).and_then(|rest| rest.split('/').next());
    key.unwrap_or_default().to_owned()
}

impl World {
    pub(super) fn assume_role(&mut self, p: &Parameters) -> Answer {
        let role = p.need("RoleArn")?;
        let account = role.split(':').nth(4).unwrap_or_default().to_owned();
        if self.closed_accounts.contains(&account) {
            return refuse("AccessDenied", format!("not authorized to assume {role}"));
        }
        Ok(format!(
            "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><AssumedRoleUser><AssumedRoleId>r:s</AssumedRoleId><Arn>{role}</Arn></AssumedRoleUser><Credentials><AccessKeyId>{account}</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
        ))
    }

    pub(super) fn answer_mwaa(
        &mut self,
        uri: &str,
        caller: &str,
    ) -> Result<HttpResponse, ConnectorError> {
        let path = uri.split('?').next().unwrap_or_default();
        let name = path.split("/environments").nth(1).unwrap_or_default().trim_matches('/');
        let action = if name.is_empty() { "ListEnvironments" } else { "GetEnvironment" };
        let index = self.calls.len();
        self.calls.push(Call { action: action.into(), parameters: Default::default(), round: 0 });
        let error = |status: u16, code: &str| {
            let mut answer = response(status, json!({"message": "m"}).to_string());
            answer.headers_mut().insert("x-amzn-errortype", code.to_owned());
            answer
        };
        match self.fault(index, action) {
            Some(Fault::Refused(status, _)) => {
                return Ok(error(status, "InternalServerException"));
            }
            Some(_) => return Err(ConnectorError::timeout("injected time-out".into())),
            None => {}
        }
        if self.closed_accounts.contains(caller) {
            return Ok(error(403, "AccessDeniedException"));
        }
        if name.is_empty() {
            let names: Vec<&String> = self
                .environments
                .keys()
                .filter(|(a, _)| a == caller)
                .map(|(_, name)| name)
                .collect();
            return Ok(response(200, json!({"Environments": names}).to_string()));
        }
        Ok(match self.environments.get(&(caller.to_owned(), name.to_owned())) {
            Some(environment) => response(200, environment.answer().to_string()),
            None => error(404, "ResourceNotFoundException"),
        })
    }
}

/// Something that a call takes away.
pub enum Loss<'a> {
    Endpoint(&'a Endpoint),
    Rule { group: &'a Group, rule: &'a str, is_ours: bool },
    Group(&'a Group),
    EndpointGroup { endpoint: &'a Endpoint, group: &'a str },
    Policy { endpoint: &'a Endpoint, after: &'a str },
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
            Loss::Endpoint(endpoint) => {
                if !endpoint.tags.contains_key(TAG) {
                    found.push(format!("deleted somebody else's {}", endpoint.id));
                }
                if let Some(queue) = endpoint.tags.get("mwaa-vpc-endpoints/queue") {
                    let remembers = |other: &Endpoint| {
                        other.id != endpoint.id
                            && !other.state.starts_with("delet")
                            && other.tags.get("mwaa-vpc-endpoints/queue") == Some(queue)
                    };
                    let used = self.environments.values().any(|e| e.queue == *queue);
                    let listed =
                        |e: &Endpoint| lists(e.policy.as_deref().unwrap_or_default(), queue);
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
                    let mut services = environment.services_in_use().into_iter();
                    if services.any(|(service, _)| service == endpoint.service) {
                        found.push(format!("{} lost {}", environment.name, endpoint.id));
                    }
                }
            }
            Loss::Rule { group, rule, is_ours } => {
                if !is_ours || !group.tags.contains_key(TAG) {
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
                if !group.tags.contains_key(TAG) {
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
                let before = endpoint.policy.as_deref().unwrap_or_default();
                let sid = Some("MwaaCeleryQueues");
                if statements(before, sid) != statements(after, sid) {
                    found.push(format!("changed somebody else's statement of {}", endpoint.id));
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
