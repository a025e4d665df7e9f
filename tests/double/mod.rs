//! A small, strict EC2 for tests: it speaks EC2's wire protocol to the real SDK client, in the test's
//! own process, and enforces those of EC2's rules that this function must be right under. An
//! emulator that accepts everything cannot show a duplicate, a lost update or a wrong order.
//!
//! The rules, and where they come from:
//!
//! - A `ClientToken` makes CreateVpcEndpoint idempotent: the same token with the same parameters
//!   answers with the endpoint that was made, even when it is long dead; with any other parameter
//!   (tags and the order of lists included) it is `IdempotentParameterMismatch`. (EC2 developer
//!   guide, "Ensuring idempotency in Amazon EC2 API requests".)
//! - At most one subnet per Availability Zone (`DuplicateSubnetsInSameZone`), 50 endpoints per VPC
//!   (`VpcEndpointLimitExceeded`), known subnets and groups of the owner only, known services only.
//!   (EC2 API, "Error codes"; VPC user guide, "Quotas" and "Share your VPC subnets".)
//! - ModifyVpcEndpoint replaces the whole policy, without compare-and-set; at most 20,480 characters;
//!   it is stored with its parts in another order. (VPC user guide, "Endpoint policies".)
//! - What was just made may not be listed yet; a new group may be unknown; a policy may be shown as it
//!   was before it was written. (EC2 developer guide, "Eventual consistency"; 2.5 s were seen.)
//! - An endpoint that was changed a moment ago takes no other change: `OperationInProgress`.
//!   (terraform-provider-aws#42698, terraform-provider-aws#48364.)
//! - The VPC's owner sees the security groups that participants made in it, with whatever name and
//!   tags they gave them, and can neither use nor change them. (VPC user guide, "Share your VPC
//!   subnets"; cloud-custodian#6164.)
//! - DeleteVpcEndpoints answers 200 with the failures in `Unsuccessful`; deleted endpoints stay
//!   listed for a while. (EC2 API, `DeleteVpcEndpoints`.)
//! - AuthorizeSecurityGroupIngress adds all rules of a call or none: `InvalidPermission.Duplicate` if
//!   one is there; 60 rules per group; descriptions and group names of a limited set of characters.
//!   (EC2 API, `AuthorizeSecurityGroupIngress`, `CreateSecurityGroup`.)
//!
//! Faults are injected by call: before it took effect, or after it did and its answer was lost.
//! Strangers change the world between any two calls. What no caller may do is noted in
//! [`World::violations`]; among it, to write a policy from a look that is not the latest there was.

// Each test file uses a part of it.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::config::{
    AsyncSleep, BehaviorVersion, Credentials, HttpClient, Region, RuntimeComponents,
    SharedAsyncSleep, SharedCredentialsProvider, Sleep,
};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_async::time::SystemTimeSource;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_types::SdkConfig;
use mwaa_vpc_endpoints::aws::Ec2;
use mwaa_vpc_endpoints::aws::Mwaa;

/// The account that owns the VPC.
pub const OWNER: &str = "111122223333";
/// A participant's account.
pub const PARTICIPANT: &str = "210987654321";
/// The VPC.
pub const VPC: &str = "vpc-0a";

/// A resource's tags.
pub type Tags = BTreeMap<String, String>;

/// An endpoint as the double holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub id: String,
    pub vpc: String,
    pub service: String,
    pub kind: String,
    pub state: String,
    pub subnets: BTreeSet<String>,
    pub groups: BTreeSet<String>,
    pub tags: Tags,
    pub policy: Option<String>,
    pub requester_managed: bool,
    pub address_type: String,
    /// How many more descriptions do not show it.
    pub hidden: usize,
}

/// An inbound rule: protocol, port and source in one text, such as `tcp/5432/210987654321/sg-1`.
pub type RuleText = String;

/// A security group as the double holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub id: String,
    pub vpc: String,
    pub name: String,
    pub owner: String,
    pub tags: Tags,
    /// Inbound rules with their descriptions.
    pub rules: BTreeMap<RuleText, String>,
    /// How many more calls do not know it.
    pub hidden: usize,
}

/// A subnet: its VPC, its owner, its zone.
#[derive(Clone, Debug)]
pub struct Subnet {
    pub vpc: String,
    pub owner: String,
    pub zone: String,
    pub ipv6_only: bool,
}

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// EC2 answers with an error and has done nothing.
    Refused(u16, &'static str),
    /// The connection times out before EC2 has seen the call.
    TimeoutBefore,
    /// EC2 has done it, and the answer is lost.
    LostAnswer,
}

/// A call that was made. One of MWAA's has the parameters `Account`, of whoever asks, and `Name`.
#[derive(Clone, Debug)]
pub struct Call {
    pub action: String,
    pub parameters: BTreeMap<String, String>,
    /// Which round trip it belongs to: one more than the latest that was answered when it was made.
    pub round: usize,
}

impl Call {
    /// Whether MWAA is called.
    pub fn is_of_mwaa(&self) -> bool {
        matches!(self.action.as_str(), "GetEnvironment" | "ListEnvironments")
    }

    /// Whether it only looks.
    pub fn reads(&self) -> bool {
        let reads = ["Describe", "Get", "List", "Assume"];
        reads.iter().any(|prefix| self.action.starts_with(prefix))
    }

    /// Whether it writes a policy.
    pub fn writes_policy(&self) -> bool {
        self.parameters.contains_key("PolicyDocument")
    }
}

/// What EC2 knows.
#[derive(Debug, Default)]
pub struct World {
    pub subnets: BTreeMap<String, Subnet>,
    pub endpoints: Vec<Endpoint>,
    pub groups: Vec<Group>,
    /// The endpoint services that exist.
    pub services: BTreeSet<String>,
    /// Every call, in order.
    pub calls: Vec<Call>,
    /// How long an answer takes. With any time at all, calls that do not wait for each other are
    /// made before the first of them is answered.
    pub latency: Duration,
    /// How long MWAA's answers take at least.
    pub latency_of_mwaa: Duration,
    /// How long the answers to an action take at least.
    pub latency_of: HashMap<String, Duration>,
    /// The latest round trip that was answered.
    pub answered: usize,
    /// The state that new endpoints are in.
    pub new_state: Option<String>,
    /// How many descriptions do not show a new endpoint.
    pub lag: usize,
    /// How many descriptions show a policy as it was before it was written.
    pub policy_lag: usize,
    /// How many more changes of an endpoint are refused after one.
    pub change_takes: usize,
    /// The code with which they are refused, if it is not `OperationInProgress`.
    pub busy_code: Option<&'static str>,
    /// How many more changes of an endpoint are refused, by its id.
    pub busy: BTreeMap<String, usize>,
    /// How many calls do not know a new group.
    pub group_lag: usize,
    /// Groups that EC2 does not know, so that no rule may name them.
    pub unknown_groups: BTreeSet<String>,
    /// How the function that speaks to this double is deployed.
    pub deployed: Deployed,
    /// The results on a page.
    pub page: Option<usize>,
    /// Endpoints that DeleteVpcEndpoints does not delete.
    pub undeletable: BTreeSet<String>,
    /// Endpoints of which a deletion says so many times that another change is in progress, while it
    /// deletes others.
    pub busy_in_deletion: BTreeMap<String, usize>,
    /// The most endpoints of a VPC.
    pub endpoint_quota: Option<usize>,
    /// The most rules of a group.
    pub rule_quota: Option<usize>,
    /// Faults by the index of the call among all calls.
    pub faults: HashMap<usize, Fault>,
    /// Faults for all calls of an action.
    pub faults_of: HashMap<String, Fault>,
    /// Runs after a policy was written, with the endpoint: another writer.
    pub other_writer: Option<fn(&mut Endpoint)>,
    /// Runs before each call is handled, with the call: anybody who changes anything meanwhile.
    pub stranger: Option<Stranger>,
    /// How many calls it takes until an endpoint is deleted.
    pub deletion_takes: Option<usize>,
    /// MWAA's environments, by account and name.
    pub environments: BTreeMap<(String, String), Environment>,
    /// What MWAA answers instead of what it knows, by account and name: to each question the next,
    /// to all after that the last.
    pub says: BTreeMap<(String, String), VecDeque<Says>>,
    /// Accounts that refuse to be asked about their environments.
    pub closed_accounts: BTreeSet<String>,
    /// What STS answers to AssumeRole instead of credentials, by account: a status and a code.
    pub roles: BTreeMap<String, (u16, &'static str)>,
    /// What was lost that a running environment needs, or touched that is not this function's; and
    /// policies that were written from an old look.
    pub violations: Vec<String>,
    /// What this caller made.
    pub ours: BTreeSet<String>,
    /// Older policies by endpoint, the oldest first, with how many more descriptions show each.
    lagging: BTreeMap<String, Vec<(Option<String>, usize)>>,
    /// Policies as they were before somebody else wrote them whom no description has shown yet.
    unseen: BTreeMap<String, Option<String>>,
    /// When a description last showed a policy, by endpoint, unless it was written since.
    shown: BTreeMap<String, Instant>,
    deleting: BTreeMap<String, usize>,
    tokens: HashMap<String, (BTreeMap<String, String>, String)>,
    made: usize,
}

mod iam;
pub use iam::Deployed;
mod mwaa;
pub use mwaa::{Environment, Loss, Says};

/// Somebody else, who changes the world between two calls.
pub struct Stranger(pub Box<Meddling>);

type Meddling = dyn FnMut(&mut World, &Call) + Send;

impl fmt::Debug for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stranger")
    }
}

/// The oldest look that a policy may be written from. Half a second is what is promised; the rest is
/// for a machine that is busy.
const OLDEST_LOOK: Duration = Duration::from_millis(600);

/// The double: a handle on a [`World`].
#[derive(Clone, Debug)]
pub struct Double(Arc<Mutex<World>>);

impl Double {
    /// A VPC with two private subnets in two zones, one group of the owner's, the services `database`
    /// and `webserver` of [`service`], and no endpoint.
    pub fn new() -> Self {
        let mut world = World { page: Some(2), ..World::default() };
        for (id, zone) in [("subnet-1", "us-east-1a"), ("subnet-2", "us-east-1b")] {
            let subnet = Subnet {
                vpc: VPC.into(),
                owner: OWNER.into(),
                zone: zone.into(),
                ipv6_only: false,
            };
            world.subnets.insert(id.into(), subnet);
        }
        world.add_group("sg-1", "workers");
        world.services = [service("database"), service("webserver")].into();
        Self(Arc::new(Mutex::new(world)))
    }

    /// What EC2 knows.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// The function's EC2 layer, with an SDK client that speaks to this double and tries each call
    /// `attempts` times.
    pub fn ec2(&self, attempts: u32) -> Ec2 {
        let config = aws_sdk_ec2::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .retry_config(RetryConfig::standard().with_max_attempts(attempts))
            .sleep_impl(NoSleep)
            .http_client(self.clone())
            .build();
        let mut ec2 = Ec2::new(aws_sdk_ec2::Client::from_conf(config));
        ec2.pause = Duration::ZERO;
        ec2
    }

    /// The names of the calls since the last time, without the Describe ones if `mutating`.
    pub fn take_calls(&self, mutating: bool) -> Vec<String> {
        let mut world = self.world();
        let calls = std::mem::take(&mut world.calls);
        world.deleting.values_mut().for_each(|at| *at = at.saturating_sub(calls.len()));
        let wanted = calls.into_iter().filter(|call| !mutating || !call.reads());
        wanted.map(|call| call.action).collect()
    }

    /// The names of the calls since the last time, by the round trip that they belong to; within
    /// one, sorted.
    pub fn take_rounds(&self) -> Vec<Vec<String>> {
        let mut world = self.world();
        world.answered = 0;
        let mut rounds: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for call in std::mem::take(&mut world.calls) {
            rounds.entry(call.round).or_default().push(call.action);
        }
        rounds.values_mut().for_each(|calls| calls.sort());
        rounds.into_values().collect()
    }

    /// Lets somebody else act before each call is handled.
    pub fn meanwhile(&self, stranger: impl FnMut(&mut World, &Call) + Send + 'static) {
        self.world().stranger = Some(Stranger(Box::new(stranger)));
    }

    /// MWAA, STS among it, with an SDK client that speaks to this double.
    pub fn mwaa(&self, attempts: u32) -> Mwaa {
        Mwaa::new(
            SdkConfig::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new("us-east-1"))
                .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
                    OWNER, "test", None, None, "test",
                )))
                .retry_config(RetryConfig::standard().with_max_attempts(attempts))
                .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
                .time_source(SystemTimeSource::new())
                .http_client(self.clone())
                .build(),
        )
    }
}

/// The endpoint service that MWAA made for a role.
pub fn service(role: &str) -> String {
    format!("com.amazonaws.vpce.us-east-1.vpce-svc-{role}")
}

impl World {
    pub fn add_group(&mut self, id: &str, name: &str) {
        self.groups.push(Group {
            id: id.into(),
            vpc: VPC.into(),
            name: name.into(),
            owner: OWNER.into(),
            tags: Tags::new(),
            rules: BTreeMap::new(),
            hidden: 0,
        });
    }

    /// Adds an endpoint that somebody else made, in both subnets.
    pub fn add_endpoint(&mut self, id: &str, service: &str, policy: Option<&str>) -> &mut Endpoint {
        self.endpoints.push(Endpoint {
            id: id.into(),
            vpc: VPC.into(),
            service: service.into(),
            kind: "Interface".into(),
            state: "available".into(),
            subnets: ["subnet-1".into(), "subnet-2".into()].into(),
            groups: ["sg-1".into()].into(),
            tags: Tags::new(),
            policy: policy.map(str::to_owned),
            requester_managed: false,
            address_type: "ipv4".into(),
            hidden: 0,
        });
        self.endpoints.last_mut().unwrap()
    }

    /// The endpoint with this id.
    pub fn endpoint(&mut self, id: &str) -> &mut Endpoint {
        self.endpoints.iter_mut().find(|endpoint| endpoint.id == id).unwrap()
    }

    /// The endpoints to a service that are not dead.
    pub fn alive(&self, service: &str) -> Vec<&Endpoint> {
        let dead = ["deleting", "deleted", "failed", "rejected", "expired"];
        self.endpoints
            .iter()
            .filter(|e| e.service == service && !dead.contains(&e.state.as_str()))
            .collect()
    }

    fn new_id(&mut self, prefix: &str) -> String {
        self.made += 1;
        format!("{prefix}-0{:04}", self.made)
    }
}

#[derive(Debug)]
struct NoSleep;

impl AsyncSleep for NoSleep {
    fn sleep(&self, _: Duration) -> Sleep {
        Sleep::new(std::future::ready(()))
    }
}

impl HttpClient for Double {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Double {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let double = self.clone();
        let parameters: BTreeMap<String, String> =
            form_urlencoded::parse(request.body().bytes().unwrap_or_default())
                .into_owned()
                .collect();
        let call = mwaa::call(&request).unwrap_or_else(|| {
            let action = parameters.get("Action").cloned().unwrap_or_default();
            Call { action, parameters, round: 0 }
        });
        let sent = Instant::now();
        HttpConnectorFuture::new(async move {
            let (latency, round) = {
                let world = double.world();
                let of_action = world.latency_of.get(&call.action).copied().unwrap_or_default();
                let of_mwaa =
                    if call.is_of_mwaa() { world.latency_of_mwaa } else { Duration::ZERO };
                (world.latency.max(of_action).max(of_mwaa), world.answered + 1)
            };
            // Lets deliveries that run at the same time take turns, call by call.
            tokio::task::yield_now().await;
            if !latency.is_zero() {
                tokio::time::sleep(latency).await;
            }
            let answer = {
                let mut world = double.world();
                let answer = world.answer(Call { round, ..call }, sent);
                world.answered = world.answered.max(round);
                answer
            };
            tokio::task::yield_now().await;
            answer
        })
    }
}

/// An error of EC2: its code and message.
struct Refusal(&'static str, String);

type Answer = Result<String, Refusal>;

fn refuse<T>(code: &'static str, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(code, message.into()))
}

/// The request's parameters: `Name`, `List.1`, `List.2.Field`.
struct Parameters<'a>(&'a BTreeMap<String, String>);

impl Parameters<'_> {
    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    fn need(&self, name: &str) -> Result<String, Refusal> {
        match self.get(name) {
            Some(value) => Ok(value),
            None => refuse("MissingParameter", format!("the request must contain {name}")),
        }
    }

    fn list(&self, name: &str) -> Vec<String> {
        (1..).map_while(|n| self.get(&format!("{name}.{n}"))).collect()
    }

    /// The prefixes `name.1`, `name.2` … that any parameter begins with.
    fn items(&self, name: &str) -> Vec<String> {
        (1..)
            .map(|n| format!("{name}.{n}"))
            .take_while(|p| self.0.keys().any(|key| key.starts_with(&format!("{p}."))))
            .collect()
    }

    fn tags(&self, name: &str) -> Result<Tags, Refusal> {
        let mut tags = Tags::new();
        for item in self.items(name) {
            let key = self.need(&format!("{item}.Key"))?;
            let value = self.get(&format!("{item}.Value")).unwrap_or_default();
            if key.len() > 128 || value.len() > 256 || key.starts_with("aws:") {
                return refuse("InvalidParameterValue", format!("tag {key}={value}"));
            }
            if tags.insert(key.clone(), value).is_some() {
                return refuse("InvalidParameterValue", format!("duplicate tag key {key}"));
            }
        }
        Ok(tags)
    }

    fn filters(&self) -> Result<Vec<(String, Vec<String>)>, Refusal> {
        self.items("Filter")
            .iter()
            .map(|item| {
                Ok((self.need(&format!("{item}.Name"))?, self.list(&format!("{item}.Value"))))
            })
            .collect()
    }
}

/// Whether tags and named fields pass the filters.
fn passes(
    filters: &[(String, Vec<String>)],
    tags: &Tags,
    fields: &[(&str, &str)],
) -> Result<bool, Refusal> {
    for (name, values) in filters {
        let value = match (name.strip_prefix("tag:"), name.as_str()) {
            (Some(key), _) => tags.get(key).map(String::as_str),
            (None, "tag-key") => {
                if tags.keys().any(|key| values.contains(key)) {
                    continue;
                }
                return Ok(false);
            }
            (None, name) => match fields.iter().find(|(field, _)| *field == name) {
                Some((_, value)) => Some(*value),
                None => return refuse("InvalidParameterValue", format!("filter {name}")),
            },
        };
        if !value.is_some_and(|value| values.iter().any(|v| v == value)) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn xml_text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn xml_tags(tags: &Tags) -> String {
    let items: String = tags
        .iter()
        .map(|(k, v)| {
            format!("<item><key>{}</key><value>{}</value></item>", xml_text(k), xml_text(v))
        })
        .collect();
    format!("<tagSet>{items}</tagSet>")
}

fn xml_list<'a>(
    name: &str,
    inner: Option<&str>,
    values: impl IntoIterator<Item = &'a String>,
) -> String {
    let items: String = values
        .into_iter()
        .map(|value| match inner {
            Some(inner) => format!("<item><{inner}>{value}</{inner}></item>"),
            None => format!("<item>{value}</item>"),
        })
        .collect();
    format!("<{name}>{items}</{name}>")
}

/// The policy with the fields of objects in reverse order, as EC2 may return it.
fn reordered(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .rev()
                .map(|(key, value)| format!("{} : {}", Value::from(key.as_str()), reordered(value)))
                .collect();
            format!("{{ {} }}", fields.join(", "))
        }
        Value::Array(list) => {
            let list: Vec<String> = list.iter().map(reordered).collect();
            format!("[ {} ]", list.join(", "))
        }
        other => other.to_string(),
    }
}

impl Endpoint {
    fn xml(&self) -> String {
        let mut xml = format!(
            "<vpcEndpointId>{}</vpcEndpointId><vpcId>{}</vpcId><serviceName>{}</serviceName><vpcEndpointType>{}</vpcEndpointType><state>{}</state><requesterManaged>{}</requesterManaged><ipAddressType>{}</ipAddressType><ownerId>{OWNER}</ownerId>",
            self.id,
            self.vpc,
            self.service,
            self.kind,
            self.state,
            self.requester_managed,
            self.address_type
        );
        if let Some(policy) = &self.policy {
            let _ = write!(xml, "<policyDocument>{}</policyDocument>", xml_text(policy));
        }
        xml + &xml_list("subnetIdSet", None, &self.subnets)
            + &xml_list("groupSet", Some("groupId"), &self.groups)
            + &xml_tags(&self.tags)
    }
}

impl Group {
    fn xml(&self) -> String {
        let permissions: String = self
            .rules
            .iter()
            .map(|(rule, description)| {
                let parts: Vec<&str> = rule.splitn(3, '/').collect();
                let source = parts[2];
                let description = format!("<description>{description}</description>");
                let source = if let Some((user, group)) =
                    source.split_once('/').filter(|(_, group)| group.starts_with("sg-"))
                {
                    // Of a group of another VPC that is gone, EC2 does not tell the account.
                    let user = match user {
                        "gone" => String::new(),
                        user => format!("<userId>{user}</userId>"),
                    };
                    format!("<groups><item>{user}<groupId>{group}</groupId>{description}</item></groups>")
                } else if source.starts_with("pl-") {
                    format!("<prefixListIds><item><prefixListId>{source}</prefixListId>{description}</item></prefixListIds>")
                } else if source.contains(':') {
                    format!("<ipv6Ranges><item><cidrIpv6>{source}</cidrIpv6>{description}</item></ipv6Ranges>")
                } else {
                    format!("<ipRanges><item><cidrIp>{source}</cidrIp>{description}</item></ipRanges>")
                };
                format!(
                    "<item><ipProtocol>{}</ipProtocol><fromPort>{p}</fromPort><toPort>{p}</toPort>{source}</item>",
                    parts[0],
                    p = parts[1]
                )
            })
            .collect();
        format!(
            "<item><ownerId>{}</ownerId><groupId>{}</groupId><groupName>{}</groupName><groupDescription>d</groupDescription><vpcId>{}</vpcId><ipPermissions>{permissions}</ipPermissions>{}</item>",
            self.owner,
            self.id,
            self.name,
            self.vpc,
            xml_tags(&self.tags)
        )
    }
}

impl World {
    /// Answers a call that was sent at some time.
    fn answer(&mut self, call: Call, sent: Instant) -> Result<HttpResponse, ConnectorError> {
        if let Some(mut stranger) = self.stranger.take() {
            (stranger.0)(self, &call);
            self.stranger.get_or_insert(stranger);
        }
        self.note_what_iam_is_asked(&call);
        if call.is_of_mwaa() {
            return self.answer_mwaa(call);
        }
        let Call { action, parameters, .. } = call.clone();
        let index = self.calls.len();
        let done: Vec<String> = self
            .deleting
            .iter()
            .filter(|(_, at)| **at <= index)
            .map(|(id, _)| id.clone())
            .collect();
        for id in done {
            self.deleting.remove(&id);
            self.endpoint(&id).state = "deleted".into();
        }
        self.calls.push(call);
        if parameters.contains_key("PolicyDocument") {
            self.watch_look(&parameters["VpcEndpointId"], sent);
        }
        let fault = self.fault(index, &action);
        match fault {
            Some(Fault::Refused(status, code)) if action == "AssumeRole" => {
                return Ok(mwaa::sts_error(status, code));
            }
            Some(Fault::Refused(status, code)) => {
                return Ok(error_response(status, code, "injected"));
            }
            Some(Fault::TimeoutBefore) => {
                return Err(ConnectorError::timeout("injected time-out".into()));
            }
            Some(Fault::LostAnswer) | None => {}
        }
        let p = Parameters(&parameters);
        if action == "AssumeRole" && fault.is_none() {
            return Ok(self.assume_role(&p));
        }
        let answer = match action.as_str() {
            "DescribeSubnets" => self.describe_subnets(&p),
            "DescribeVpcEndpoints" => self.describe_endpoints(&p),
            "DescribeSecurityGroups" => self.describe_groups(&p),
            "CreateVpcEndpoint" => self.create_endpoint(&p),
            "ModifyVpcEndpoint" => self.modify_endpoint(&p),
            "DeleteVpcEndpoints" => self.delete_endpoints(&p),
            "CreateSecurityGroup" => self.create_group(&p),
            "AuthorizeSecurityGroupIngress" => self.authorize(&p),
            "RevokeSecurityGroupIngress" if p.list("SecurityGroupRuleId").is_empty() => {
                self.revoke(&p)
            }
            "RevokeSecurityGroupIngress" => self.revoke_by_id(&p),
            "DescribeSecurityGroupRules" => self.describe_rules(&p),
            "DeleteSecurityGroup" => self.delete_group(&p),
            "CreateTags" => self.create_tags(&p),
            other => refuse("InvalidAction", format!("{other} is not an action of this double")),
        };
        if fault == Some(Fault::LostAnswer) {
            return Err(ConnectorError::timeout("injected: the answer was lost".into()));
        }
        Ok(match answer {
            Ok(xml) => response(
                200,
                format!("<{action}Response><requestId>r</requestId>{xml}</{action}Response>"),
            ),
            Err(Refusal(code, message)) => error_response(400, code, &message),
        })
    }

    fn fault(&self, index: usize, action: &str) -> Option<Fault> {
        self.faults.get(&index).or_else(|| self.faults_of.get(action)).copied()
    }

    fn describe_subnets(&mut self, p: &Parameters) -> Answer {
        let mut ids = p.list("SubnetId");
        let unknown: Vec<&String> =
            ids.iter().filter(|id| !self.subnets.contains_key(*id)).collect();
        if !unknown.is_empty() {
            return refuse(
                "InvalidSubnetID.NotFound",
                format!("The subnet ID '{}' does not exist", unknown[0]),
            );
        }
        if ids.is_empty() {
            ids = self.subnets.keys().cloned().collect();
        }
        let filters = p.filters()?;
        let mut items = String::new();
        for id in ids {
            let subnet = &self.subnets[&id];
            if passes(&filters, &Tags::new(), &[("subnet-id", &id), ("vpc-id", &subnet.vpc)])? {
                let _ = write!(
                    items,
                    "<item><subnetId>{id}</subnetId><vpcId>{}</vpcId><ownerId>{}</ownerId><availabilityZone>{}</availabilityZone><ipv6Native>{}</ipv6Native></item>",
                    subnet.vpc, subnet.owner, subnet.zone, subnet.ipv6_only
                );
            }
        }
        Ok(format!("<subnetSet>{items}</subnetSet>"))
    }

    fn describe_endpoints(&mut self, p: &Parameters) -> Answer {
        let filters = p.filters()?;
        let ids = p.list("VpcEndpointId");
        let mut found = Vec::new();
        for endpoint in &mut self.endpoints {
            if endpoint.hidden > 0 {
                endpoint.hidden -= 1;
                continue;
            }
            let fields = [
                ("vpc-id", endpoint.vpc.as_str()),
                ("service-name", &endpoint.service),
                ("vpc-endpoint-state", &endpoint.state),
            ];
            if passes(&filters, &endpoint.tags, &fields)?
                && (ids.is_empty() || ids.contains(&endpoint.id))
            {
                found.push(endpoint.clone());
            }
        }
        if !ids.is_empty() && found.len() < ids.len() {
            return refuse("InvalidVpcEndpointId.NotFound", "an endpoint does not exist");
        }
        let max: Option<usize> = p.get("MaxResults").and_then(|max| max.parse().ok());
        if max.is_some_and(|max| max > 1000) {
            return refuse("InvalidParameterValue", "MaxResults");
        }
        let size = self.page.unwrap_or(usize::MAX).min(max.unwrap_or(usize::MAX));
        let start: usize = p.get("NextToken").and_then(|t| t.parse().ok()).unwrap_or(0);
        let end = start.saturating_add(size).min(found.len());
        let next =
            if end < found.len() { format!("<nextToken>{end}</nextToken>") } else { String::new() };
        let mut items = String::new();
        for endpoint in &mut found[start..end] {
            endpoint.policy = self.show_policy(endpoint);
            let _ = write!(items, "<item>{}</item>", endpoint.xml());
        }
        Ok(format!("<vpcEndpointSet>{items}</vpcEndpointSet>{next}"))
    }

    /// The policy that a description shows of an endpoint.
    fn show_policy(&mut self, endpoint: &Endpoint) -> Option<String> {
        self.shown.insert(endpoint.id.clone(), Instant::now());
        self.unseen.remove(&endpoint.id);
        let older = self.lagging.entry(endpoint.id.clone()).or_default();
        older.retain(|(_, left)| *left > 0);
        older.iter_mut().for_each(|(_, left)| *left -= 1);
        older.first().map_or_else(|| endpoint.policy.clone(), |(policy, _)| policy.clone())
    }

    /// Somebody else writes the policy of an endpoint, for all to see.
    pub fn overwrite_policy(&mut self, id: &str, policy: &str) {
        self.lagging.remove(id);
        self.endpoint(id).policy = Some(policy.to_owned());
    }

    /// Somebody else writes the policy of an endpoint, at some time between the last look at it and
    /// the next. If the next thing is a write from the last look, it was after that write: nobody
    /// could see it before (ModifyVpcEndpoint has no compare-and-set).
    pub fn overwrite_policy_unseen(&mut self, id: &str, policy: &str) {
        let before = self.endpoint(id).policy.clone();
        self.unseen.entry(id.to_owned()).or_insert(before);
        self.overwrite_policy(id, policy);
    }

    /// The policy of an endpoint as far as anybody can know.
    fn known_policy<'a>(&'a self, endpoint: &'a Endpoint) -> &'a str {
        self.unseen.get(&endpoint.id).unwrap_or(&endpoint.policy).as_deref().unwrap_or_default()
    }

    /// A while goes by: EC2 shows all policies as they are, and takes every change.
    pub fn catch_up(&mut self) {
        self.lagging.clear();
        self.busy.clear();
    }

    /// A long time goes by: EC2 shows everything as it is.
    pub fn settle(&mut self) {
        self.catch_up();
        self.endpoints.iter_mut().for_each(|endpoint| endpoint.hidden = 0);
    }

    /// Notes a policy that is written from a look that is old, or was written from before: what
    /// somebody else did since would be lost.
    fn watch_look(&mut self, id: &str, sent: Instant) {
        match self.shown.remove(id) {
            None => self.violations.push(format!("the policy of {id} was written without a look")),
            Some(shown) if sent.saturating_duration_since(shown) > OLDEST_LOOK => {
                let age = sent.saturating_duration_since(shown).as_millis();
                self.violations
                    .push(format!("the policy of {id} was written from a look {age} ms old"));
            }
            Some(_) => {}
        }
    }

    fn describe_groups(&mut self, p: &Parameters) -> Answer {
        let filters = p.filters()?;
        let mut items = String::new();
        for group in &mut self.groups {
            if group.hidden > 0 {
                group.hidden -= 1;
                continue;
            }
            let fields = [
                ("vpc-id", group.vpc.as_str()),
                ("group-name", &group.name),
                ("group-id", &group.id),
                ("owner-id", &group.owner),
            ];
            if passes(&filters, &group.tags, &fields)? {
                items.push_str(&group.xml());
            }
        }
        Ok(format!("<securityGroupInfo>{items}</securityGroupInfo>"))
    }

    /// The zones of subnets, which must be known, of the VPC, and one per zone.
    fn check_subnets<'a>(
        &self,
        vpc: &str,
        ids: impl IntoIterator<Item = &'a String>,
    ) -> Result<(), Refusal> {
        let mut zones = BTreeSet::new();
        for id in ids {
            match self.subnets.get(id) {
                Some(subnet) if subnet.vpc == vpc => {
                    if !zones.insert(subnet.zone.clone()) {
                        return refuse(
                            "DuplicateSubnetsInSameZone",
                            format!("Found another subnet in {} beside {id}", subnet.zone),
                        );
                    }
                }
                _ => return refuse("InvalidSubnetId.NotFound", format!("{id} does not exist")),
            }
        }
        Ok(())
    }

    fn check_groups<'a>(
        &mut self,
        vpc: &str,
        ids: impl IntoIterator<Item = &'a String>,
    ) -> Result<(), Refusal> {
        for id in ids {
            let group = self.groups.iter_mut().find(|g| g.id == *id && g.vpc == vpc);
            match group {
                Some(group) if group.hidden > 0 => {
                    group.hidden -= 1;
                    return refuse("InvalidGroup.NotFound", format!("{id} does not exist"));
                }
                Some(group) if group.owner == OWNER => {}
                _ => {
                    return refuse(
                        "InvalidSecurityGroupID.NotFound",
                        format!("{id} does not exist for account {OWNER}"),
                    );
                }
            }
        }
        Ok(())
    }

    fn create_endpoint(&mut self, p: &Parameters) -> Answer {
        let token = p.get("ClientToken");
        if token.as_ref().is_some_and(|token| token.len() > 64 || !token.is_ascii()) {
            return refuse("InvalidParameterValue", "ClientToken");
        }
        if let Some((parameters, id)) = token.as_ref().and_then(|token| self.tokens.get(token)) {
            if parameters != p.0 {
                return refuse("IdempotentParameterMismatch", "the token was used before");
            }
            let endpoint = self.endpoints.iter().find(|e| e.id == *id).unwrap();
            return Ok(format!("<vpcEndpoint>{}</vpcEndpoint>", endpoint.xml()));
        }
        let (vpc, service) = (p.need("VpcId")?, p.need("ServiceName")?);
        if vpc != VPC {
            return refuse("InvalidVpcId.NotFound", format!("{vpc} does not exist"));
        }
        if p.need("VpcEndpointType")? != "Interface" {
            return refuse("InvalidParameter", "VpcEndpointType");
        }
        if p.get("PrivateDnsEnabled").is_some() {
            return refuse(
                "InvalidParameter",
                "Private DNS can't be enabled: the service has no private DNS name",
            );
        }
        if !self.services.contains(&service) {
            return refuse(
                "InvalidServiceName",
                format!("The Vpc Endpoint Service '{service}' does not exist"),
            );
        }
        let (subnets, groups) = (p.list("SubnetId"), p.list("SecurityGroupId"));
        self.check_subnets(&vpc, &subnets)?;
        self.check_groups(&vpc, &groups)?;
        let gone = ["deleting", "deleted"];
        let used = self.endpoints.iter().filter(|e| !gone.contains(&e.state.as_str())).count();
        if used >= self.endpoint_quota.unwrap_or(50) {
            return refuse("VpcEndpointLimitExceeded", "the VPC has too many endpoints");
        }
        if p.get("TagSpecification.1.ResourceType").as_deref() != Some("vpc-endpoint") {
            return refuse("InvalidParameterValue", "TagSpecification");
        }
        let tags = p.tags("TagSpecification.1.Tag")?;
        let id = self.new_id("vpce");
        let endpoint = Endpoint {
            id: id.clone(),
            vpc,
            service,
            kind: "Interface".into(),
            state: self.new_state.clone().unwrap_or_else(|| "pending".into()),
            subnets: subnets.into_iter().collect(),
            groups: groups.into_iter().collect(),
            tags,
            policy: None,
            requester_managed: false,
            address_type: p.get("IpAddressType").unwrap_or_else(|| "ipv4".into()),
            hidden: self.lag,
        };
        let xml = endpoint.xml();
        self.endpoints.push(endpoint);
        self.ours.insert(id.clone());
        if let Some(token) = token {
            self.tokens.insert(token, (p.0.clone(), id));
        }
        Ok(format!("<vpcEndpoint>{xml}</vpcEndpoint>"))
    }

    fn modify_endpoint(&mut self, p: &Parameters) -> Answer {
        let id = p.need("VpcEndpointId")?;
        let gone = ["deleting", "deleted", "failed"];
        let Some(found) = self
            .endpoints
            .iter()
            .find(|e| e.id == id && !gone.contains(&e.state.as_str()))
            .cloned()
        else {
            return refuse("InvalidVpcEndpointId.NotFound", format!("{id} does not exist"));
        };
        if found.requester_managed {
            return refuse("OperationNotPermitted", "the endpoint is requester-managed");
        }
        if let Some(left) = self.busy.get_mut(&id).filter(|left| **left > 0) {
            *left -= 1;
            let code = self.busy_code.unwrap_or("OperationInProgress");
            return refuse(code, format!("{id} is being changed"));
        }
        let (subnets, groups) = (p.list("AddSubnetId"), p.list("AddSecurityGroupId"));
        if subnets.iter().any(|subnet| found.subnets.contains(subnet)) {
            return refuse("InvalidParameter", "the endpoint is in this subnet already");
        }
        if !subnets.is_empty() {
            self.check_subnets(&found.vpc, found.subnets.iter().chain(&subnets))?;
        }
        self.check_groups(&found.vpc, &groups)?;
        let policy = match p.get("PolicyDocument") {
            None => None,
            Some(text) => {
                if text.chars().count() > 20_480 {
                    return refuse("PolicyTooLong", "the policy is longer than 20480 characters");
                }
                match serde_json::from_str::<serde_json::Value>(&text) {
                    Ok(policy) if policy["Statement"].is_array() => Some(reordered(&policy)),
                    _ => return refuse("InvalidPolicyDocument", "the policy is not valid"),
                }
            }
        };
        let removed = p.list("RemoveSecurityGroupId");
        let left =
            found.groups.iter().chain(&groups).filter(|group| !removed.contains(group)).count();
        if !removed.is_empty() && left == 0 {
            return refuse("InvalidParameter", "an endpoint must have a security group");
        }
        if !subnets.is_empty() || !groups.is_empty() || !removed.is_empty() {
            self.watch(Loss::Shape(&found));
        }
        for group in &removed {
            self.watch(Loss::EndpointGroup { endpoint: &found, group });
        }
        if let Some(after) = &policy {
            self.watch(Loss::Policy { endpoint: &found, after });
        }
        let writer = self.other_writer;
        self.busy.insert(id.clone(), self.change_takes);
        let is_overwritten = policy.is_some() && self.unseen.remove(&id).is_some();
        if policy.is_some() && !is_overwritten && self.policy_lag > 0 {
            let older = self.lagging.entry(id.clone()).or_default();
            older.push((found.policy.clone(), self.policy_lag));
        }
        let endpoint = self.endpoint(&id);
        endpoint.subnets.extend(subnets);
        endpoint.groups.extend(groups);
        endpoint.groups.retain(|group| !removed.contains(group));
        if policy.is_some() && !is_overwritten {
            endpoint.policy = policy;
            if let Some(writer) = writer {
                writer(endpoint);
            }
        }
        Ok("<return>true</return>".into())
    }

    fn delete_endpoints(&mut self, p: &Parameters) -> Answer {
        let mut unsuccessful = String::new();
        for id in p.list("VpcEndpointId") {
            let busy = match self.busy_in_deletion.get_mut(&id) {
                Some(times) if *times > 0 => {
                    *times -= 1;
                    true
                }
                _ => false,
            };
            let undeletable = busy || self.undeletable.contains(&id);
            match self
                .endpoints
                .iter_mut()
                .find(|e| e.id == id && e.state != "deleting" && e.state != "deleted")
            {
                Some(endpoint) if !undeletable => {
                    let found = endpoint.clone();
                    endpoint.state = "deleting".into();
                    self.watch(Loss::Endpoint(&found));
                    let calls = self.calls.len();
                    self.deleting.insert(id, calls + self.deletion_takes.unwrap_or(0));
                }
                found => {
                    let code = if busy {
                        "OperationInProgress"
                    } else if found.is_some() {
                        "OperationNotPermitted"
                    } else {
                        "InvalidVpcEndpoint.NotFound"
                    };
                    let _ = write!(
                        unsuccessful,
                        "<item><resourceId>{id}</resourceId><error><code>{code}</code><message>m</message></error></item>"
                    );
                }
            }
        }
        Ok(format!("<unsuccessful>{unsuccessful}</unsuccessful>"))
    }

    fn create_group(&mut self, p: &Parameters) -> Answer {
        let (name, vpc) = (p.need("GroupName")?, p.need("VpcId")?);
        let description = p.need("GroupDescription")?;
        let allowed = |text: &str| {
            text.len() <= 255
                && text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(c))
        };
        if name.starts_with("sg-") || !allowed(&name) || !allowed(&description) {
            return refuse("InvalidParameterValue", "GroupName or GroupDescription");
        }
        let mine = self.groups.iter().filter(|group| group.owner == OWNER && group.vpc == vpc);
        if mine.into_iter().any(|group| group.name == name) {
            return refuse("InvalidGroup.Duplicate", format!("{name} already exists for {vpc}"));
        }
        let tags = p.tags("TagSpecification.1.Tag")?;
        let id = self.new_id("sg");
        self.add_group(&id, &name);
        self.ours.insert(id.clone());
        let hidden = self.group_lag;
        let group = self.groups.last_mut().unwrap();
        (group.tags, group.hidden) = (tags, hidden);
        Ok(format!("<groupId>{id}</groupId>"))
    }

    fn authorize(&mut self, p: &Parameters) -> Answer {
        let id = p.need("GroupId")?;
        self.check_groups(VPC, [&id])?;
        let quota = self.rule_quota.unwrap_or(60);
        let rules = rules(p)?;
        let sources = rules.iter().map(|(rule, _)| source_of(rule));
        if let Some(source) = { sources }.find(|source| self.unknown_groups.contains(source)) {
            return refuse("InvalidGroup.NotFound", format!("{source} does not exist"));
        }
        let group = self.groups.iter_mut().find(|group| group.id == id).unwrap();
        if rules.iter().any(|(rule, _)| group.rules.contains_key(rule)) {
            return refuse("InvalidPermission.Duplicate", "the specified rule already exists");
        }
        if group.rules.len() + rules.len() > quota {
            return refuse("RulesPerSecurityGroupLimitExceeded", "too many rules");
        }
        group.rules.extend(rules);
        Ok("<return>true</return>".into())
    }

    /// Each rule's id is its text, without slashes.
    fn describe_rules(&mut self, p: &Parameters) -> Answer {
        let filters = p.filters()?;
        let mut items = String::new();
        for group in &self.groups {
            if !passes(&filters, &group.tags, &[("group-id", group.id.as_str())])? {
                continue;
            }
            for (rule, description) in &group.rules {
                let (port, source) = (rule.split('/').nth(1).unwrap(), source_of(rule));
                let id = rule.replace('/', "-");
                let _ = write!(
                    items,
                    "<item><securityGroupRuleId>sgr-{id}</securityGroupRuleId><groupId>{}</groupId><isEgress>false</isEgress><ipProtocol>tcp</ipProtocol><fromPort>{port}</fromPort><toPort>{port}</toPort><referencedGroupInfo><groupId>{source}</groupId></referencedGroupInfo><description>{description}</description></item>",
                    group.id
                );
            }
        }
        Ok(format!("<securityGroupRuleSet>{items}</securityGroupRuleSet>"))
    }

    fn revoke_by_id(&mut self, p: &Parameters) -> Answer {
        let id = p.need("GroupId")?;
        self.check_groups(VPC, [&id])?;
        for rule in p.list("SecurityGroupRuleId") {
            let group = self.groups.iter().find(|group| group.id == id).unwrap().clone();
            let text =
                group.rules.keys().find(|it| format!("sgr-{}", it.replace('/', "-")) == rule);
            let Some(text) = text else {
                return refuse("InvalidSecurityGroupRuleId.NotFound", rule);
            };
            self.watch(Loss::Rule { group: &group, rule: text, is_ours: true });
            let group = self.groups.iter_mut().find(|group| group.id == id).unwrap();
            group.rules.remove(text);
        }
        Ok("<return>true</return>".into())
    }

    fn revoke(&mut self, p: &Parameters) -> Answer {
        let id = p.need("GroupId")?;
        self.check_groups(VPC, [&id])?;
        let rules = rules(p)?;
        let group = self.groups.iter().find(|group| group.id == id).unwrap().clone();
        // By a group that it does not know, EC2 knows no rule.
        let is_unknown = |rule: &String| self.unknown_groups.contains(&source_of(rule));
        if rules.iter().any(|(rule, _)| !group.rules.contains_key(rule) || is_unknown(rule)) {
            return refuse("InvalidPermission.NotFound", "the specified rule does not exist");
        }
        for (rule, description) in &rules {
            self.watch(Loss::Rule {
                group: &group,
                rule,
                is_ours: group.rules[rule] == *description,
            });
        }
        let group = self.groups.iter_mut().find(|group| group.id == id).unwrap();
        for (rule, _) in rules {
            group.rules.remove(&rule);
        }
        Ok("<return>true</return>".into())
    }

    fn delete_group(&mut self, p: &Parameters) -> Answer {
        let id = p.need("GroupId")?;
        let Some(group) = self.groups.iter().find(|group| group.id == id).cloned() else {
            return refuse("InvalidGroup.NotFound", format!("{id} does not exist"));
        };
        if group.owner != OWNER {
            self.watch(Loss::Group(&group));
            return refuse("UnauthorizedOperation", format!("{id} is of account {}", group.owner));
        }
        if self.endpoints.iter().any(|e| e.state != "deleted" && e.groups.contains(&id)) {
            return refuse("DependencyViolation", format!("{id} has a dependent object"));
        }
        self.watch(Loss::Group(&group));
        self.groups.retain(|group| group.id != id);
        Ok("<return>true</return>".into())
    }

    fn create_tags(&mut self, p: &Parameters) -> Answer {
        let tags = p.tags("Tag")?;
        for id in p.list("ResourceId") {
            self.watch(Loss::Tags(&id));
            let endpoint = self.endpoints.iter_mut().find(|e| e.id == id).map(|e| &mut e.tags);
            let group = self.groups.iter_mut().find(|g| g.id == id).map(|g| &mut g.tags);
            match endpoint.or(group) {
                Some(has) => has.extend(tags.clone()),
                None => return refuse("InvalidID", format!("{id} does not exist")),
            }
        }
        Ok("<return>true</return>".into())
    }
}

/// The rules of a call, with their descriptions.
/// Who a rule lets in, without the account.
fn source_of(rule: &str) -> String {
    rule.rsplit('/').next().unwrap_or_default().to_owned()
}

fn rules(p: &Parameters) -> Result<Vec<(RuleText, String)>, Refusal> {
    let mut rules: Vec<(RuleText, String)> = Vec::new();
    for item in p.items("IpPermissions") {
        let protocol = p.need(&format!("{item}.IpProtocol"))?;
        let port = p.need(&format!("{item}.FromPort"))?;
        if port != p.need(&format!("{item}.ToPort"))? {
            return refuse("InvalidParameterValue", "this function opens single ports only");
        }
        for (list, fields) in [
            ("Groups", &["UserId", "GroupId"][..]),
            ("IpRanges", &["CidrIp"]),
            ("Ipv6Ranges", &["CidrIpv6"]),
            ("PrefixListIds", &["PrefixListId"]),
        ] {
            for source in p.items(&format!("{item}.{list}")) {
                let parts: Vec<String> = fields
                    .iter()
                    .map(|field| p.need(&format!("{source}.{field}")))
                    .collect::<Result<_, _>>()?;
                let description = p.need(&format!("{source}.Description"))?;
                let allowed =
                    |c: char| c.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(c);
                if !description.chars().all(allowed) {
                    return refuse("InvalidParameterValue", "Description");
                }
                rules.push((format!("{protocol}/{port}/{}", parts.join("/")), description));
            }
        }
    }
    Ok(rules)
}

fn response(status: u16, body: String) -> HttpResponse {
    HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body))
}

fn error_response(status: u16, code: &str, message: &str) -> HttpResponse {
    response(
        status,
        format!(
            "<Response><Errors><Error><Code>{code}</Code><Message>{}</Message></Error></Errors><RequestID>r</RequestID></Response>",
            xml_text(message)
        ),
    )
}
