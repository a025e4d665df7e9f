//! A function, a strict EC2 and an MWAA that answers as it is told, for one test.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use mwaa_vpc_endpoints::environment::Region;
use mwaa_vpc_endpoints::handler::{
    Answer, Clock, Function, Invocation, InvocationError, Telemetry,
};
use mwaa_vpc_endpoints::report::Outcome;
use mwaa_vpc_endpoints::settings::Settings;
use mwaa_vpc_endpoints::sweep::Lasting;
use serde_json::{Value, json};

use crate::double::{Call, Double, Environment, Fault, OWNER, PARTICIPANT, Says, World, service};

pub const SQS: &str = "com.amazonaws.us-east-1.sqs";
pub const QUEUE: &str = "arn:aws:sqs:us-east-1:555555555555:airflow-celery-1f2e";
pub const OTHER_QUEUE: &str = "arn:aws:sqs:us-east-1:555555555555:airflow-celery-2";
pub const FUNCTION_ARN: &str = "arn:aws:lambda:us-east-1:111122223333:function:mwaa-vpc-endpoints";

/// What somebody else has in the policy of the SQS endpoint.
pub const FOREIGN: &str = r#"{"Version":"2012-10-17","Statement":[{"Sid":"Terraform","Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":["arn:aws:sqs:us-east-1:111122223333:other"]}]}"#;
/// What somebody else puts there while the function works: the same with a Deny, and nothing of ours.
pub const DENY: &str = r#"{"Version":"2012-10-17","Statement":[{"Sid":"Terraform","Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":["arn:aws:sqs:us-east-1:111122223333:other"]},{"Sid":"Perimeter","Effect":"Deny","Principal":"*","Action":"sqs:DeleteQueue","Resource":"*"}]}"#;

/// The hours of one day, on which everything happens: the environment was made on the day before, and
/// most events are old when they are handled.
pub const BEFORE: &str = "2026-03-02T08:00:00Z";
pub const MADE: &str = "2026-03-03T08:00:00Z";
pub const FIRST: &str = "2026-03-04T08:00:00Z";
pub const THEN: &str = "2026-03-04T10:15:00Z";
pub const LATER: &str = "2026-03-04T10:40:00Z";
pub const NOW: &str = "2026-03-04T11:00:00Z";

pub fn seconds(time: &str) -> i64 {
    DateTime::parse_from_rfc3339(time).unwrap().timestamp()
}

fn rfc3339(seconds: i64) -> String {
    let time = DateTime::from_timestamp(seconds, 0).unwrap();
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// An environment of this function's account that is available.
pub fn own() -> Environment {
    Environment {
        account: OWNER.into(),
        name: "analytics".into(),
        status: "AVAILABLE".into(),
        database: service("database"),
        webserver: service("webserver"),
        mode: "PRIVATE_ONLY".into(),
        queue: QUEUE.into(),
        groups: vec!["sg-1".into()],
        before: None,
        created: seconds(MADE),
        updated: Some(seconds(FIRST)),
    }
}

/// The same of a participant.
pub fn shared() -> Environment {
    Environment { account: PARTICIPANT.into(), groups: vec!["sg-9".into()], ..own() }
}

/// A neighbour of this function's account, with services and a queue of its own.
pub fn neighbour(name: &str) -> Environment {
    Environment {
        name: name.into(),
        database: service(&format!("database-{name}")),
        webserver: service(&format!("webserver-{name}")),
        queue: format!("{OTHER_QUEUE}-{name}"),
        ..own()
    }
}

impl Environment {
    pub fn with_status(&self, status: &str) -> Self {
        Self { status: status.into(), ..self.clone() }
    }

    pub fn public_only(&self) -> Self {
        Self { mode: "PUBLIC_ONLY".into(), ..self.clone() }
    }

    pub fn with_groups(&self, groups: &[&str]) -> Self {
        Self { groups: groups.iter().map(|group| group.to_string()).collect(), ..self.clone() }
    }
}

/// The event that says that the environment has this status.
pub fn event(environment: &Environment, status: &str, time: &str) -> Value {
    json!({
        "version": "0", "id": "7bf73129-1428-4cd3-a780-95db273d1602",
        "detail-type": "MWAA Environment Status Change", "source": "aws.airflow",
        "account": environment.account, "time": time, "region": "us-east-1",
        "resources": [environment.arn()],
        "detail": environment.with_status(status).facts()
    })
}

/// The same without some fields of the detail.
pub fn without(mut event: Value, fields: &[&str]) -> Value {
    fields.iter().for_each(|field| drop(event["detail"].as_object_mut().unwrap().remove(*field)));
    event
}

/// What a person hands in: the answer of `aws mwaa get-environment`, with the times as it prints them.
pub fn replay(environment: &Environment) -> Value {
    let mut answer = environment.answer();
    answer["CreatedAt"] = json!(rfc3339(environment.created));
    if let Some(updated) = environment.updated {
        answer["LastUpdate"]["CreatedAt"] = json!(rfc3339(updated));
    }
    json!({"Environment": answer})
}

pub fn sweep() -> Value {
    json!({"sweep": true})
}

pub fn dry(mut payload: Value) -> Value {
    payload["dryRun"] = json!(true);
    payload
}

/// That somebody who asks MWAA gets no reply.
pub const SILENT: Says = Says::Nothing;
/// That somebody who asks MWAA may not.
pub const DENIED: Says = Says::Refused(403, "AccessDeniedException");

/// A payload's name, for messages.
pub fn named(payload: &Value) -> String {
    let field = |pointer: &str| payload.pointer(pointer).and_then(Value::as_str);
    match (field("/detail/status"), field("/Environment/Status")) {
        (Some(status), _) => format!("{status} of {}", field("/time").unwrap_or_default()),
        (None, Some(status)) => format!("a replay, {status}"),
        (None, None) => payload.to_string(),
    }
}

/// What an invocation came to, as its caller and the log see it.
pub struct Told {
    /// Whether it failed, so that it is repeated; of a sweep, whether anything in it did.
    pub failed: bool,
    /// The result, or the error's.
    pub report: Value,
    /// The error's text.
    pub error: String,
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = if self.failed { "failed" } else { "succeeded" };
        write!(f, "it {outcome}: {} {}", self.error, self.report)
    }
}

impl Told {
    fn of(answer: Result<Answer, InvocationError>) -> Self {
        let (failed, report, error) = match answer {
            Ok(Answer::Sweep(report)) => {
                let bad = report.environments.iter().filter(|it| it.outcome == Outcome::Failed);
                let errors = bad.flat_map(|it| it.failures()).chain(report.failures.clone());
                let errors: Vec<String> = errors.collect();
                (!errors.is_empty(), json!(report), errors.join("; "))
            }
            Ok(answer) => (false, json!(answer), String::new()),
            Err(error) => {
                let report = match &error {
                    InvocationError::Actions(report) => json!(report),
                    _ => Value::Null,
                };
                (true, report, error.to_string())
            }
        };
        Self { failed, report, error }
    }

    /// The result of an invocation that must not have failed.
    pub fn ok(self) -> Self {
        assert!(!self.failed, "it failed: {}", self.error);
        self
    }

    /// The error of one that must have.
    pub fn err(self) -> String {
        assert!(self.failed, "it did not fail: {}", self.report);
        self.error
    }

    pub fn outcome(&self) -> &str {
        self.report["outcome"].as_str().unwrap_or_default()
    }

    pub fn reason(&self) -> &str {
        self.report["reason"].as_str().unwrap_or_default()
    }

    /// The warnings with their remedies, those of a sweep's environments among them.
    pub fn warnings(&self) -> Vec<String> {
        let of = |report: &Value| report["warnings"].as_array().cloned().unwrap_or_default();
        let environments = self.report["environments"].as_array().into_iter().flatten();
        let all = of(&self.report).into_iter().chain(environments.flat_map(of));
        all.map(|warning| warning.to_string()).collect()
    }

    /// Whether some warning says all of these.
    pub fn warns(&self, parts: &[&str]) -> bool {
        self.warnings().iter().any(|warning| parts.iter().all(|part| warning.contains(part)))
    }

    /// The resources, those of a sweep's environments one after the other.
    pub fn resources(&self) -> Vec<Value> {
        let of = |report: &Value| report["resources"].as_array().cloned().unwrap_or_default();
        let environments = self.report["environments"].as_array().into_iter().flatten();
        of(&self.report).into_iter().chain(environments.flat_map(of)).collect()
    }
}

/// A VPC with an SQS endpoint and what an invocation needs.
pub struct Scene {
    pub double: Double,
    pub function: Function,
    now: Arc<AtomicI64>,
}

impl Scene {
    /// Both accounts can be asked, and EC2 calls are not tried again.
    pub fn new() -> Self {
        Self::with(&[
            ("READER_ROLE", "mwaa-vpc-endpoints-reader-us-east-1"),
            ("PARTICIPANT_ACCOUNTS", PARTICIPANT),
        ])
    }

    pub fn with(variables: &[(&str, &str)]) -> Self {
        let double = Double::new();
        {
            let mut world = double.world();
            world.page = None;
            world.add_endpoint("vpce-sqs", SQS, Some(FOREIGN));
        }
        let now = Arc::new(AtomicI64::new(seconds(NOW)));
        let hand = now.clone();
        let clock: Box<dyn Fn() -> DateTime<Utc> + Send + Sync> =
            Box::new(move || DateTime::from_timestamp(hand.load(Ordering::Relaxed), 0).unwrap());
        let function = Function {
            ec2: double.ec2(1),
            mwaa: Some(double.mwaa(1)),
            settings: Ok(Settings::default()),
            region: Some(Region::parse("us-east-1").unwrap()),
            lasting: Lasting::default(),
            clock: Clock(clock),
            telemetry: Telemetry::read(|_| None),
        };
        let mut scene = Self { double, function, now };
        scene.deploy(variables);
        scene
    }

    /// The function is deployed anew, with these variables.
    pub fn deploy(&mut self, variables: &[(&str, &str)]) {
        let variable = |name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string())
        };
        let settings = Settings::read(variable).unwrap();
        self.world().deployed = (&settings).into();
        self.function.settings = Ok(settings);
    }

    /// Sets the function's clock.
    pub fn at(&self, time: &str) -> &Self {
        self.now.store(seconds(time), Ordering::Relaxed);
        self
    }

    /// Sets the function's clock to so many minutes after [`NOW`].
    pub fn at_minute(&self, minutes: i64) -> &Self {
        self.now.store(seconds(NOW) + minutes * 60, Ordering::Relaxed);
        self
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.double.world()
    }

    /// There is this environment, and MWAA says so.
    pub fn is(&self, environment: &Environment) -> &Self {
        let mut world = self.world();
        world.services.extend([environment.database.clone(), environment.webserver.clone()]);
        world.environments.insert(environment.key(), environment.clone());
        world.says.remove(&environment.key());
        drop(world);
        self
    }

    /// There is no such environment any more.
    pub fn is_gone(&self, environment: &Environment) -> &Self {
        self.world().environments.remove(&environment.key());
        self.world().says.remove(&environment.key());
        self
    }

    /// What MWAA says when it is asked about the environment, one answer after the other.
    pub fn says<const N: usize>(&self, of: &Environment, answers: [Says; N]) -> &Self {
        self.world().says.insert(of.key(), VecDeque::from(answers));
        self
    }

    /// Sends a payload. Whatever comes of it, nothing of anybody else's may have been touched, and no
    /// policy written from an old look.
    pub async fn send(&self, payload: Value) -> Told {
        let (told, violations) = self.send_and_watch(payload).await;
        assert_eq!(violations, Vec::<String>::new(), "{told:?}");
        told
    }

    /// The same, with what should not have happened.
    pub async fn send_and_watch(&self, payload: Value) -> (Told, Vec<String>) {
        self.send_as(FUNCTION_ARN, payload).await
    }

    /// The same to a function that is told that this is its ARN.
    pub async fn send_as(&self, function_arn: &str, payload: Value) -> (Told, Vec<String>) {
        let deadline = Instant::now() + Duration::from_secs(120);
        let invocation = Invocation { function_arn, request_id: "1", deadline };
        let told = Told::of(self.function.handle(payload, invocation).await);
        let violations = std::mem::take(&mut self.world().violations);
        (told, violations)
    }

    /// Makes what the environment needs, as when it waits for it: with an event of the first hour.
    pub async fn serve(&self, environment: &Environment) -> &Self {
        self.is(&environment.with_status("PENDING"));
        self.send(event(environment, "PENDING", FIRST)).await.ok();
        self.world().endpoints.iter_mut().for_each(|endpoint| {
            if endpoint.state == "pending" {
                endpoint.state = "available".into();
            }
        });
        self.is(environment);
        self.forget_calls();
        self
    }

    pub fn forget_calls(&self) {
        self.double.take_calls(false);
    }

    /// The calls since they were last forgotten.
    pub fn calls(&self) -> Vec<Call> {
        self.world().calls.clone()
    }

    /// The names of those that change something.
    pub fn changes(&self) -> Vec<String> {
        let changing = self.calls().into_iter().filter(|call| !call.reads());
        changing.map(|call| call.action).collect()
    }

    /// The names of those that take something away, and do not just let tags forget it.
    pub fn takings(&self) -> Vec<String> {
        let takes = |call: &Call| {
            matches!(
                call.action.as_str(),
                "DeleteVpcEndpoints" | "DeleteSecurityGroup" | "RevokeSecurityGroupIngress"
            ) || call.parameters.contains_key("RemoveSecurityGroupId.1")
        };
        self.calls().into_iter().filter(takes).map(|call| call.action).collect()
    }

    pub fn policy_writes(&self) -> usize {
        self.calls().iter().filter(|call| call.writes_policy()).count()
    }

    /// The queues in our statement of the SQS endpoint's policy.
    pub fn listed(&self) -> BTreeSet<String> {
        listed(self.world().endpoint("vpce-sqs").policy.as_deref().unwrap())
    }

    /// How many endpoints and groups the function made so far.
    pub fn made(&self) -> usize {
        self.world().ours.len()
    }

    /// The ids of the alive endpoints to a service.
    pub fn alive(&self, service: &str) -> Vec<String> {
        self.world().alive(service).iter().map(|endpoint| endpoint.id.clone()).collect()
    }

    /// The one alive endpoint to a service.
    pub fn the(&self, service: &str) -> String {
        let alive = self.alive(service);
        assert_eq!(alive.len(), 1, "endpoints to {service}: {alive:?}");
        alive[0].clone()
    }

    /// Whether the environment has what it needs.
    pub fn has_all(&self, environment: &Environment) -> bool {
        let served = |(service, _): &(&str, u16)| self.alive(service).len() == 1;
        environment.services_in_use().iter().all(served)
            && self.listed().contains(&environment.queue)
    }

    /// What is left that was made for anybody: endpoints, groups and queues.
    pub fn left(&self) -> Vec<String> {
        let world = self.world();
        let left = world.endpoints.iter().filter(|e| !e.state.starts_with("delet"));
        let groups = world.groups.iter().map(|group| &group.id);
        let ours = left.map(|e| &e.id).chain(groups).filter(|id| world.ours.contains(*id));
        let ours: Vec<String> = ours.cloned().collect();
        drop(world);
        ours.into_iter().chain(self.listed()).collect()
    }

    /// Whether nothing is left that was made for anybody.
    pub fn is_empty(&self) -> bool {
        self.left().is_empty()
    }

    /// The SQS endpoint's policy loses a queue, by another hand.
    pub fn lose(&self, queue: &str) {
        let mut world = self.world();
        let mut policy: Value =
            serde_json::from_str(world.endpoint("vpce-sqs").policy.as_deref().unwrap()).unwrap();
        for statement in policy["Statement"].as_array_mut().unwrap() {
            if let Some(resources) = statement["Resource"].as_array_mut() {
                resources.retain(|resource| resource != queue);
            }
        }
        world.overwrite_policy("vpce-sqs", &policy.to_string());
    }

    /// Sets a tag on a resource, as anybody can who may call CreateTags.
    pub fn plant(&self, id: &str, tags: &[(&str, &str)]) {
        let mut world = self.world();
        let group = world.groups.iter_mut().find(|group| group.id == id).map(|g| &mut g.tags);
        let tags = tags.iter().map(|(k, v)| (format!("mwaa-vpc-endpoints/{k}"), v.to_string()));
        match group {
            Some(has) => has.extend(tags),
            None => world.endpoint(id).tags.extend(tags),
        }
    }

    /// A tag of ours on an endpoint.
    pub fn tag(&self, id: &str, key: &str) -> Option<String> {
        self.world().endpoint(id).tags.get(&format!("mwaa-vpc-endpoints/{key}")).cloned()
    }

    /// Lets the next calls of an action fail.
    pub fn fail(&self, action: &str, fault: Option<Fault>) {
        match fault {
            Some(fault) => self.world().faults_of.insert(action.into(), fault),
            None => self.world().faults_of.remove(action),
        };
    }

    /// The endpoints that were changed by two calls at once.
    pub fn collisions(&self) -> BTreeSet<String> {
        let mut changes: BTreeMap<(String, usize), usize> = BTreeMap::new();
        for call in self.calls().iter().filter(|call| call.action == "ModifyVpcEndpoint") {
            let of = (call.parameters["VpcEndpointId"].clone(), call.round);
            *changes.entry(of).or_default() += 1;
        }
        changes.into_iter().filter(|(_, count)| *count > 1).map(|((id, _), _)| id).collect()
    }
}

pub fn listed(policy: &str) -> BTreeSet<String> {
    let policy: Value = serde_json::from_str(policy).unwrap();
    let statements = policy["Statement"].as_array().into_iter().flatten();
    statements
        .filter(|statement| statement["Sid"] == json!("MwaaCeleryQueues"))
        .flat_map(|statement| statement["Resource"].as_array().cloned().unwrap_or_default())
        .map(|queue| queue.as_str().unwrap().to_owned())
        .filter(|queue| !queue.ends_with(":no-mwaa-environment"))
        .collect()
}
