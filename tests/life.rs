//! The whole life of environments, at random: they are created, updated, deleted and created again
//! under the same name; their events are lost, duplicated, late and out of order, and sent on as those
//! of a deletion; people and other tools change things by hand and plant our tags; any call fails,
//! before or after it took effect; EC2 shows policies late and refuses changes for a while; and a
//! foreign writer changes policies between any two calls. The real function runs against a strict EC2
//! and MWAA, call by call watched for what a running environment loses, and for statements of anybody
//! else that are lost. At the end the faults stop, one sweep runs, and the VPC must be what a plain
//! model says; a second sweep must change nothing.
//!
//! `LIFE_SEED=n` runs one sequence and prints its steps; `LIFE_SEQUENCES=n` sets how many run.

mod double;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use double::{Double, Environment, Fault, OWNER, PARTICIPANT, World, service};
use mwaa_vpc_endpoints::environment::Region;
use mwaa_vpc_endpoints::handler::{
    Answer, Clock, Function, Invocation, InvocationError, Telemetry,
};
use mwaa_vpc_endpoints::settings::Settings;
use mwaa_vpc_endpoints::sweep::Lasting;
use serde_json::{Value, json};

const SQS: &str = "com.amazonaws.us-east-1.sqs";
const FUNCTION_ARN: &str = "arn:aws:lambda:us-east-1:111122223333:function:mwaa-vpc-endpoints";
const FOREIGN: &str = r#"{"Version":"2012-10-17","Statement":[{"Sid":"Terraform","Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":["arn:aws:sqs:us-east-1:111122223333:other"]}]}"#;
/// A queue that is nobody's.
const EVIL: &str = "arn:aws:sqs:us-east-1:555555555555:airflow-celery-evil";
/// Endpoints that somebody else has in the VPC, whatever tags they carry; the last never has a role.
const FOREIGN_ENDPOINTS: [(&str, &str, &str); 4] = [
    ("vpce-s3", "Gateway", "com.amazonaws.us-east-1.s3"),
    ("vpce-logs", "Interface", "com.amazonaws.us-east-1.logs"),
    ("vpce-other", "GatewayLoadBalancer", "com.amazonaws.vpce.us-east-1.vpce-svc-other"),
    ("vpce-partner", "Interface", "com.amazonaws.vpce.us-east-1.vpce-svc-partner"),
];
const NAMES: [(&str, &str); 3] =
    [(OWNER, "analytics"), (PARTICIPANT, "analytics"), (PARTICIPANT, "reports")];
const MODES: [&str; 3] = ["PRIVATE_ONLY", "PUBLIC_ONLY", "PUBLIC_AND_PRIVATE"];

/// A small generator of random numbers (SplitMix64), so that a seed is all of a sequence.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// Somebody who writes the policy of the SQS endpoint, now and then, at any time: the text that they
/// know, without our statement, or the one that is there, with a statement more.
fn foreign_writer(mut random: Random) -> impl FnMut(&mut World, &double::Call) + Send {
    let mut n = 0;
    move |world, _| {
        if !random.chance(3) {
            return;
        }
        n += 1;
        let deny = json!({"Sid": format!("Terraform{n}"), "Effect": "Deny", "Principal": "*",
            "Action": "sqs:DeleteQueue", "Resource": "*"});
        let text = if random.chance(50) {
            FOREIGN.to_owned()
        } else {
            world.endpoint("vpce-sqs").policy.clone().unwrap()
        };
        let mut policy: Value = serde_json::from_str(&text).unwrap();
        policy["Statement"].as_array_mut().unwrap().push(deny);
        world.overwrite_policy_unseen("vpce-sqs", &policy.to_string());
    }
}

fn now(seconds: &AtomicI64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds.load(Ordering::Relaxed), 0).unwrap()
}

/// One sequence.
struct Life {
    random: Random,
    double: Double,
    function: Function,
    /// The time, which goes on by some seconds between any two steps.
    seconds: Arc<AtomicI64>,
    /// Events on their way.
    mail: Vec<Value>,
    made: usize,
    steps: Vec<String>,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let double = Double::new();
        // What the SDK tries again by itself must not be a policy.
        let attempts = if random.chance(30) { 3 } else { 1 };
        {
            let mut world = double.world();
            world.services.clear();
            world.page = Some(1 + random.below(4));
            world.lag = random.below(2);
            world.deletion_takes = Some(random.below(3));
            world.policy_lag = random.below(3);
            world.change_takes = random.below(3);
            world.add_endpoint("vpce-sqs", SQS, Some(FOREIGN));
            if random.chance(30) {
                world.add_endpoint("vpce-fips", "com.amazonaws.us-east-1.sqs-fips", Some(FOREIGN));
            } else {
                // Of two policies each is looked at with the other.
                let writer = foreign_writer(Random(random.next()));
                world.stranger = Some(double::Stranger(Box::new(writer)));
            }
            for (id, kind, service) in FOREIGN_ENDPOINTS {
                world.add_endpoint(id, service, None).kind = kind.into();
            }
            for group in ["sg-a", "sg-b", "sg-c", "sg-hand"] {
                world.add_group(group, group);
            }
            // A participant gives its own group the name of the owner's.
            world.add_group("sg-0theirs", &format!("mwaa-{PARTICIPANT}-analytics"));
            world.groups.last_mut().unwrap().owner = PARTICIPANT.into();
        }
        let settings = Settings::read(|name| match name {
            "READER_ROLE" => Some("mwaa-vpc-endpoints-reader-us-east-1".into()),
            "PARTICIPANT_ACCOUNTS" => Some(PARTICIPANT.into()),
            _ => None,
        });
        let seconds = Arc::new(AtomicI64::new(1_800_000_000));
        let hand = seconds.clone();
        let clock = Clock(Box::new(move || now(&hand)));
        let function = Function {
            ec2: double.ec2(attempts),
            mwaa: Some(double.mwaa(1)),
            settings: Ok(settings.unwrap()),
            region: Some(Region::parse("us-east-1").unwrap()),
            lasting: Lasting::default(),
            clock,
            telemetry: Telemetry::read(|_| None),
        };
        Self { random, double, function, seconds, mail: Vec::new(), made: 0, steps: Vec::new() }
    }

    async fn invoke(&self, payload: Value) -> Result<Answer, InvocationError> {
        self.double.world().catch_up();
        self.seconds.fetch_add(1, Ordering::Relaxed);
        let deadline = Instant::now() + Duration::from_secs(600);
        self.function
            .handle(payload, Invocation { function_arn: FUNCTION_ARN, request_id: "1", deadline })
            .await
    }

    /// Lets a call of the next invocation fail, now and then.
    fn plan_fault(&mut self) -> String {
        self.double.take_calls(false);
        self.double.world().faults.clear();
        if !self.random.chance(35) {
            return String::new();
        }
        let faults = [
            Fault::Refused(503, "Unavailable"),
            Fault::Refused(400, "RequestLimitExceeded"),
            Fault::TimeoutBefore,
            Fault::LostAnswer,
            Fault::LostAnswer,
        ];
        let fault = faults[self.random.below(faults.len())];
        let index = self.random.below(12);
        self.double.world().faults.insert(index, fault);
        format!(", {fault:?} at call {index}")
    }

    fn emit(&mut self, environment: &Environment) {
        let mut facts = environment.facts();
        if environment.status != "PENDING" {
            // What is left out proves nothing.
            for field in ["celeryExecutorQueue", "webserverAccessMode", "endpointManagement"] {
                if self.random.chance(15) {
                    facts.as_object_mut().unwrap().remove(field);
                }
            }
        }
        let event = json!({
            "version": "0", "id": "i", "detail-type": "MWAA Environment Status Change",
            "source": "aws.airflow", "account": environment.account, "region": "us-east-1",
            "time": mwaa_vpc_endpoints::tags::rfc3339(now(&self.seconds)),
            "resources": [environment.arn()], "detail": facts
        });
        self.mail.push(event);
    }

    /// Somebody sends an event of an environment on, as one of its deletion.
    fn forge_deletion(&mut self) {
        let environments: Vec<Environment> =
            self.double.world().environments.values().cloned().collect();
        if environments.is_empty() {
            return;
        }
        let environment = &environments[self.random.below(environments.len())];
        self.steps.push(format!("{} is said to be deleted", environment.arn()));
        self.emit(&Environment { status: "DELETED".into(), ..environment.clone() });
    }

    fn some_groups(&mut self, account: &str) -> Vec<String> {
        let all =
            if account == OWNER { ["sg-a", "sg-b", "sg-c"] } else { ["sg-pa", "sg-pb", "sg-pc"] };
        let first = self.random.below(3);
        let mut groups = vec![all[first].to_owned()];
        if self.random.chance(40) {
            groups.push(all[(first + 1) % 3].to_owned());
        }
        groups.sort();
        groups
    }

    /// What happens to an environment on MWAA's side.
    fn environment_moves(&mut self) {
        let (account, name) = NAMES[self.random.below(NAMES.len())];
        let key = (account.to_owned(), name.to_owned());
        let found = self.double.world().environments.get(&key).cloned();
        let Some(mut environment) = found else {
            self.made += 1;
            let n = self.made;
            let mode = MODES[self.random.below(3)];
            let environment = Environment {
                account: account.into(),
                name: name.into(),
                status: "PENDING".into(),
                database: service(&format!("database{n}")),
                webserver: service(&format!("webserver{n}")),
                mode: mode.into(),
                queue: format!("arn:aws:sqs:us-east-1:555555555555:airflow-celery-{n:04}"),
                groups: self.some_groups(account),
                created: self.seconds.load(Ordering::Relaxed),
                ..Environment::default()
            };
            {
                let mut world = self.double.world();
                world.services.insert(environment.database.clone());
                world.services.insert(environment.webserver.clone());
                world.environments.insert(key, environment.clone());
            }
            self.steps.push(format!(
                "{account}/{name} is made, number {n}, {mode}, {:?}",
                environment.groups
            ));
            self.emit(&environment);
            return;
        };
        if self.random.chance(20) {
            environment.status = "DELETED".into();
            // An endpoint service can only go once its connections are rejected.
            let reject = self.random.chance(70);
            {
                let mut world = self.double.world();
                world.services.remove(&environment.database);
                world.services.remove(&environment.webserver);
                world.environments.remove(&key);
                if reject {
                    let services = [environment.database.clone(), environment.webserver.clone()];
                    let its = world.endpoints.iter_mut().filter(|e| services.contains(&e.service));
                    its.filter(|e| e.state == "pending").for_each(|e| e.state = "rejected".into());
                }
            }
            self.steps.push(format!("{account}/{name} is deleted"));
            self.emit(&environment);
            return;
        }
        match environment.status.as_str() {
            "PENDING" | "UPDATING" => {
                if !is_served(&self.double.world(), &environment) {
                    return;
                }
                environment.status = "AVAILABLE".into();
                environment.before = None;
            }
            _ => {
                environment.before = Some((environment.mode.clone(), environment.groups.clone()));
                environment.groups = self.some_groups(account);
                environment.mode = MODES[self.random.below(3)].into();
                environment.status = "UPDATING".into();
            }
        }
        self.steps.push(format!(
            "{account}/{name} is {}, {}, {:?}",
            environment.status, environment.mode, environment.groups
        ));
        self.double.world().environments.insert(key, environment.clone());
        self.emit(&environment);
    }

    /// What people and other tools do by hand.
    fn somebody_tampers(&mut self) {
        let double = self.double.clone();
        let mut world = double.world();
        let count = world.endpoints.len();
        match self.random.below(8) {
            0 => {
                world.endpoint("vpce-sqs").policy = Some(FOREIGN.into());
                self.steps.push("somebody overwrites the policy".into());
            }
            1 => {
                let index = self.random.below(count);
                let endpoint = &mut world.endpoints[index];
                if !endpoint.service.contains("sqs") && endpoint.state == "pending" {
                    endpoint.state = "deleted".into();
                    self.steps.push(format!("somebody deletes {}", endpoint.id));
                }
            }
            5 => {
                let (account, name) = NAMES[self.random.below(NAMES.len())];
                let (id, ..) = FOREIGN_ENDPOINTS[self.random.below(FOREIGN_ENDPOINTS.len())];
                let role = ["database", "webserver"][self.random.below(2)];
                let arn = format!("arn:aws:airflow:us-east-1:{account}:environment/{name}");
                world.endpoint(id).tags =
                    planted(&arn, Some(role).filter(|_| id != "vpce-partner"));
                self.steps.push(format!("somebody tags {id} as {arn}'s"));
            }
            6 => {
                let arn = format!("arn:aws:airflow:us-east-1:{PARTICIPANT}:environment/analytics");
                let theirs = world.groups.iter_mut().find(|group| group.owner == PARTICIPANT);
                theirs.unwrap().tags = planted(&arn, Some("security-group"));
                self.steps.push("a participant tags its own group".into());
            }
            7 => {
                let index = self.random.below(count);
                let endpoint = &mut world.endpoints[index];
                if let Some(queue) = endpoint.tags.get_mut("mwaa-vpc-endpoints/queue") {
                    *queue = EVIL.into();
                    self.steps.push(format!("somebody changes the queue tag of {}", endpoint.id));
                }
            }
            2 => {
                let World { groups, ours, .. } = &mut *world;
                let groups = groups.iter_mut().filter(|group| ours.contains(&group.id));
                if let Some(group) = groups.last()
                    && let Some(rule) = group.rules.keys().next().cloned()
                {
                    group.rules.remove(&rule);
                    self.steps.push(format!("somebody takes {rule} off {}", group.id));
                }
            }
            3 => {
                let World { groups, ours, .. } = &mut *world;
                let groups = groups.iter_mut().filter(|group| ours.contains(&group.id));
                if let Some(group) = groups.last() {
                    group.rules.insert("tcp/443/192.0.2.0/24".into(), "by hand".into());
                    self.steps.push(format!("somebody adds a rule to {}", group.id));
                }
            }
            _ => {
                let index = self.random.below(count);
                let endpoint = &mut world.endpoints[index];
                if !endpoint.service.contains("sqs") && endpoint.state == "pending" {
                    endpoint.groups.insert("sg-hand".into());
                    self.steps.push(format!("somebody puts a group on {}", endpoint.id));
                }
            }
        }
    }

    async fn step(&mut self) {
        self.seconds.fetch_add(1 + self.random.below(60) as i64, Ordering::Relaxed);
        match self.random.below(100) {
            0..30 => self.environment_moves(),
            30..75 if !self.mail.is_empty() => {
                let index =
                    if self.random.chance(60) { 0 } else { self.random.below(self.mail.len()) };
                let event = self.mail[index].clone();
                let fate = self.random.below(100);
                if fate < 85 {
                    self.mail.remove(index);
                }
                let what = format!(
                    "{}/{} {} of {}",
                    event["account"],
                    event["detail"]["name"],
                    event["detail"]["status"],
                    event["time"]
                );
                if fate < 15 {
                    self.steps.push(format!("lost: {what}"));
                    return;
                }
                let fault = self.plan_fault();
                let answer = self.invoke(event.clone()).await;
                let failed = if answer.is_err() { " (failed)" } else { "" };
                self.steps.push(format!("delivered: {what}{fault}{failed}"));
                // Lambda tries again.
                if answer.is_err() && self.random.chance(70) {
                    self.mail.insert(0, event);
                }
            }
            75..85 => self.somebody_tampers(),
            92..95 => self.forge_deletion(),
            85..92 => {
                let fault = self.plan_fault();
                let failed = if self.swept().await.is_err() { " (failed)" } else { "" };
                self.steps.push(format!("sweep{fault}{failed}"));
            }
            _ => {}
        }
    }

    /// A sweep in which nothing may fail.
    async fn swept(&self) -> Result<(), String> {
        let answer = self.invoke(json!({"sweep": true})).await.map_err(|e| e.to_string())?;
        let Answer::Sweep(report) = answer else { panic!("no sweep") };
        let failures = report.environments.iter().flat_map(|it| it.failures());
        let failures: Vec<String> = failures.chain(report.failures.clone()).collect();
        if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
    }

    /// Runs the sequence; the error says what went wrong.
    async fn run(&mut self) -> Result<(), String> {
        let length = 10 + self.random.below(30);
        for _ in 0..length {
            self.step().await;
            if let Some(violation) = self.double.world().violations.first() {
                return Err(violation.clone());
            }
        }
        self.double.take_calls(false);
        self.double.world().faults.clear();
        self.double.world().stranger = None;
        // What was made moments ago is listed by now.
        self.double.world().endpoints.iter_mut().for_each(|endpoint| endpoint.hidden = 0);
        self.steps.push("the last sweep".into());
        let forgotten = forgotten_queues(&self.double.world());
        self.swept().await.map_err(|e| format!("the sweep failed: {e}"))?;
        if let Some(violation) = self.double.world().violations.first() {
            return Err(violation.clone());
        }
        is_as_it_should_be(&self.double.world(), &forgotten)?;
        self.double.take_calls(false);
        self.double.world().endpoints.iter_mut().for_each(|endpoint| endpoint.hidden = 0);
        self.swept().await.map_err(|e| format!("the 2nd sweep failed: {e}"))?;
        let calls = self.double.take_calls(true);
        if calls.is_empty() { Ok(()) } else { Err(format!("the 2nd sweep made {calls:?}")) }
    }
}

/// The tags that make something look like ours.
fn planted(arn: &str, role: Option<&str>) -> double::Tags {
    let tags = [("environment", Some(arn)), ("role", role), ("queue", Some(EVIL))];
    let tags = tags.into_iter().filter_map(|(key, value)| Some((key, value?)));
    tags.map(|(key, value)| (format!("mwaa-vpc-endpoints/{key}"), value.to_owned())).collect()
}

fn ours<'a>(world: &'a World, environment: &Environment) -> Vec<&'a double::Endpoint> {
    let arn = environment.arn();
    world
        .endpoints
        .iter()
        .filter(|e| e.tags.get("mwaa-vpc-endpoints/environment") == Some(&arn))
        .filter(|e| world.ours.contains(&e.id) && !e.state.starts_with("delet"))
        .collect()
}

/// Whether everything that the environment needs is there, so that MWAA goes on.
fn is_served(world: &World, environment: &Environment) -> bool {
    environment.services_in_use().iter().all(|(service, _)| {
        let alive = world.alive(service);
        alive.iter().any(|endpoint| {
            let carried = |group: &String| endpoint.groups.contains(group);
            if environment.account == OWNER {
                environment.groups.iter().all(carried)
            } else {
                world.groups.iter().any(|group| {
                    carried(&group.id)
                        && environment.rules_in_use().iter().all(|r| group.rules.contains_key(r))
                })
            }
        })
    })
}

fn listed(policy: Option<&str>) -> BTreeSet<String> {
    let policy: Value = serde_json::from_str(policy.unwrap_or("{}")).unwrap();
    let statements = policy["Statement"].as_array().cloned().unwrap_or_default();
    statements
        .iter()
        .filter(|statement| statement["Sid"] == json!("MwaaCeleryQueues"))
        .flat_map(|statement| statement["Resource"].as_array().cloned().unwrap_or_default())
        .map(|queue| queue.as_str().unwrap().to_owned())
        .collect()
}

/// The queues that are let through, of environments that are gone, of which nothing of ours tells any
/// more: it was never made, or somebody deleted it, and the event of the deletion was lost. They cannot
/// be told from queues that somebody else needs.
fn forgotten_queues(world: &World) -> BTreeSet<String> {
    let endpoints = world.endpoints.iter().filter(|e| !e.state.starts_with("delet"));
    let endpoints = endpoints.map(|endpoint| (&endpoint.id, &endpoint.tags));
    let groups = world.groups.iter().map(|group| (&group.id, &group.tags));
    let remembered: BTreeSet<&String> = endpoints
        .chain(groups)
        .filter(|(id, _)| world.ours.contains(*id))
        .filter_map(|(_, tags)| tags.get("mwaa-vpc-endpoints/queue"))
        .collect();
    world
        .endpoints
        .iter()
        .flat_map(|endpoint| listed(endpoint.policy.as_deref()))
        .filter(|queue| !remembered.contains(queue))
        .filter(|queue| !world.environments.values().any(|e| e.queue == *queue))
        .collect()
}

/// The reference model: what the VPC must hold for the environments that there are.
fn is_as_it_should_be(world: &World, forgotten: &BTreeSet<String>) -> Result<(), String> {
    let check = |holds: bool, what: String| if holds { Ok(()) } else { Err(what) };
    let mut endpoints = BTreeSet::new();
    let mut groups = BTreeSet::new();
    for environment in world.environments.values() {
        let who = format!("{}/{}", environment.account, environment.name);
        let settled = environment.before.is_none();
        let mut group_id = None;
        if environment.account != OWNER {
            let own: Vec<&double::Group> = world
                .groups
                .iter()
                .filter(|g| world.ours.contains(&g.id))
                .filter(|g| {
                    g.tags.get("mwaa-vpc-endpoints/environment") == Some(&environment.arn())
                })
                .collect();
            check(own.len() == 1, format!("{who} has {} groups", own.len()))?;
            let made: BTreeSet<String> = own[0]
                .rules
                .iter()
                .filter(|(_, description)| *description != "by hand")
                .map(|(rule, _)| rule.clone())
                .collect();
            let current = Environment { before: None, ..environment.clone() }.rules_in_use();
            let right = if settled && environment.status == "AVAILABLE" {
                made == current
            } else {
                made.is_superset(&current)
            };
            check(right, format!("{who} has rules {made:?} and needs {current:?}"))?;
            groups.insert(own[0].id.clone());
            group_id = Some(own[0].id.clone());
        }
        let needed: Vec<(String, u16)> = Environment { before: None, ..environment.clone() }
            .services_in_use()
            .into_iter()
            .map(|(service, port)| (service.to_owned(), port))
            .collect();
        for (service, _) in &needed {
            let alive = world.alive(service);
            check(alive.len() == 1, format!("{who} has {} endpoints to {service}", alive.len()))?;
            let carried: BTreeSet<&String> =
                alive[0].groups.iter().filter(|group| *group != "sg-hand").collect();
            let wanted: BTreeSet<&String> = match &group_id {
                Some(id) => BTreeSet::from([id]),
                None => environment.groups.iter().collect(),
            };
            let right = if settled && environment.status == "AVAILABLE" {
                carried == wanted
            } else {
                carried.is_superset(&wanted)
            };
            check(right, format!("{who}: {service} carries {carried:?} and should {wanted:?}"))?;
        }
        for endpoint in ours(world, environment) {
            // What an environment of the same name left behind goes once its successor is settled: an
            // update might be what changes a service.
            let may_stay = needed.iter().any(|(service, _)| *service == endpoint.service)
                || environment.status != "AVAILABLE";
            check(may_stay, format!("{who} still has {} to {}", endpoint.id, endpoint.service))?;
            endpoints.insert(endpoint.id.clone());
        }
    }
    for endpoint in &world.endpoints {
        if world.ours.contains(&endpoint.id) && !endpoint.state.starts_with("delet") {
            check(endpoints.contains(&endpoint.id), format!("{} is left over", endpoint.id))?;
        }
    }
    for group in &world.groups {
        if world.ours.contains(&group.id) {
            check(groups.contains(&group.id), format!("{} is left over", group.id))?;
        }
    }
    let queues: BTreeSet<String> = world.environments.values().map(|e| e.queue.clone()).collect();
    // Those that what is left behind remembers.
    let remembered: BTreeSet<String> = world
        .endpoints
        .iter()
        .filter(|endpoint| endpoints.contains(&endpoint.id))
        .map(|endpoint| &endpoint.tags)
        .chain(world.groups.iter().filter(|g| world.ours.contains(&g.id)).map(|group| &group.tags))
        .filter_map(|tags| tags.get("mwaa-vpc-endpoints/queue").cloned())
        .collect();
    let most: BTreeSet<String> =
        queues.iter().chain(&remembered).chain(forgotten).cloned().collect();
    for endpoint in world.endpoints.iter().filter(|e| e.service.contains(".sqs")) {
        let listed = listed(endpoint.policy.as_deref());
        let right = listed.is_superset(&queues) && listed.is_subset(&most);
        check(right, format!("{} lists {listed:?}, not {queues:?}", endpoint.id))?;
    }
    Ok(())
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// What went wrong in the lives of some seeds; the first that did is shown.
fn wrong_in(seeds: impl Iterator<Item = u64>, show: bool) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut wrong = Vec::new();
    for seed in seeds {
        let mut life = Life::new(seed);
        let outcome = runtime.block_on(life.run());
        if let Err(why) = &outcome {
            wrong.push(format!("LIFE_SEED={seed}: {why}"));
        }
        if show || outcome.is_err() && wrong.len() == 1 {
            eprintln!("sequence {seed}:\n  {}\n  {outcome:?}", life.steps.join("\n  "));
        }
    }
    wrong
}

#[test]
fn whatever_happens_a_sweep_puts_it_right_and_nothing_running_is_broken() {
    let one = number("LIFE_SEED");
    let seeds = match one {
        Some(seed) => seed..seed + 1,
        None => 0..number("LIFE_SEQUENCES").unwrap_or(1000),
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let begun: Vec<_> = (0..threads)
            .map(|nth| seeds.clone().skip(nth).step_by(threads))
            .map(|some| scope.spawn(move || wrong_in(some, one.is_some())))
            .collect();
        begun.into_iter().flat_map(|it| it.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{} sequences went wrong:\n{}", wrong.len(), wrong.join("\n"));
}

// Single scenarios of the same world.

/// A life without chance: no lag, one SQS endpoint, whole pages, nobody else.
fn plain() -> Life {
    let life = Life::new(0);
    {
        let mut world = life.double.world();
        world.page = None;
        world.lag = 0;
        world.deletion_takes = Some(0);
        (world.policy_lag, world.change_takes, world.stranger) = (0, 0, None);
        world.endpoints.retain(|endpoint| endpoint.id == "vpce-sqs");
        world.groups.retain(|group| group.owner == OWNER);
    }
    life
}

impl Life {
    /// Makes an environment in `status`, which nobody has heard of yet.
    fn make(&mut self, account: &str, name: &str, status: &str) -> Environment {
        self.made += 1;
        let n = self.made;
        let group = if account == OWNER { "sg-a" } else { "sg-pa" };
        let environment = Environment {
            account: account.into(),
            name: name.into(),
            status: status.into(),
            database: service(&format!("database{n}")),
            webserver: service(&format!("webserver{n}")),
            mode: "PRIVATE_ONLY".into(),
            queue: format!("arn:aws:sqs:us-east-1:555555555555:airflow-celery-{n:04}"),
            groups: vec![group.into()],
            created: self.seconds.load(Ordering::Relaxed),
            ..Environment::default()
        };
        let mut world = self.double.world();
        world.services.insert(environment.database.clone());
        world.services.insert(environment.webserver.clone());
        world.environments.insert((account.into(), name.into()), environment.clone());
        environment
    }

    /// Deletes an environment, of which nobody hears.
    fn delete(&mut self, environment: &Environment) {
        let key = (environment.account.clone(), environment.name.clone());
        self.double.world().environments.remove(&key);
    }

    async fn sweep(&self) -> Answer {
        self.invoke(json!({"sweep": true})).await.unwrap()
    }

    /// The calls that change something, since the last time.
    fn changes(&self) -> Vec<String> {
        self.double.take_calls(true)
    }

    fn check(&self) {
        is_as_it_should_be(&self.double.world(), &BTreeSet::new()).unwrap();
        assert_eq!(self.double.world().violations, Vec::<String>::new());
    }

    fn event(&mut self, environment: &Environment) -> Value {
        self.seconds.fetch_add(1, Ordering::Relaxed);
        self.emit(environment);
        self.mail.pop().unwrap()
    }
}

fn policy(life: &Life) -> Value {
    let policy = life.double.world().endpoint("vpce-sqs").policy.clone();
    serde_json::from_str(&policy.unwrap()).unwrap()
}

#[tokio::test]
async fn a_sweep_serves_environments_whose_events_were_lost() {
    let mut life = plain();
    life.make(OWNER, "analytics", "PENDING");
    life.make(PARTICIPANT, "analytics", "PENDING");
    life.sweep().await;
    life.check();
    life.changes();
    life.sweep().await;
    assert_eq!(life.changes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_sweep_takes_away_what_environments_left_that_are_gone() {
    let mut life = plain();
    let gone = [life.make(OWNER, "gone", "PENDING"), life.make(PARTICIPANT, "gone", "PENDING")];
    life.make(PARTICIPANT, "stays", "PENDING");
    life.sweep().await;
    gone.iter().for_each(|environment| life.delete(environment));
    life.sweep().await;
    life.check();
}

/// Not found is proof; access denied, an error and silence are not.
#[tokio::test]
async fn an_account_that_does_not_answer_loses_nothing() {
    for fault in [None, Some(Fault::Refused(500, "x")), Some(Fault::TimeoutBefore)] {
        for action in ["ListEnvironments", "GetEnvironment"] {
            let mut life = plain();
            let gone = life.make(PARTICIPANT, "gone", "PENDING");
            life.sweep().await;
            life.delete(&gone);
            match fault {
                Some(fault) => {
                    life.double.world().faults_of.insert(action.into(), fault);
                }
                None => {
                    life.double.world().closed_accounts.insert(PARTICIPANT.into());
                }
            }
            life.changes();
            let Answer::Sweep(report) = life.sweep().await else { panic!("no sweep") };
            let warnings = report.environments.iter().flat_map(|it| &it.warnings);
            let warnings: Vec<_> = warnings.chain(&report.warnings).collect();
            let told = |what: &str| warnings.iter().any(|it| it.message.contains(what));
            // What is not listed is asked about by its name all the same, and that is proof.
            if action == "ListEnvironments" && fault.is_some() {
                assert!(life.changes().contains(&"DeleteVpcEndpoints".to_owned()), "{fault:?}");
                assert!(told("whose events were lost are not found"), "{fault:?}");
                continue;
            }
            assert_eq!(life.changes(), Vec::<String>::new(), "{fault:?} {action}");
            assert!(told("is taken away"), "{fault:?} {action}");
        }
    }
}

#[tokio::test]
async fn drift_is_repaired_from_the_tags_alone_where_mwaa_may_not_be_asked() {
    let mut life = plain();
    let environment = life.make(PARTICIPANT, "analytics", "AVAILABLE");
    // MWAA says of this one that the account is one of Celery queues.
    life.make(OWNER, "known", "AVAILABLE");
    life.sweep().await;
    life.double.world().closed_accounts.insert(PARTICIPANT.into());
    life.double.world().endpoint("vpce-sqs").policy = Some(FOREIGN.into());
    {
        let mut world = life.double.world();
        let group = world.groups.iter_mut().find(|g| g.name.starts_with("mwaa-")).unwrap();
        group.rules.clear();
    }
    life.sweep().await;
    life.check();
    assert!(is_served(&life.double.world(), &environment));
}

#[tokio::test]
async fn a_group_that_is_in_use_for_a_while_is_left_to_the_sweep_and_said() {
    let mut life = plain();
    let environment = life.make(PARTICIPANT, "analytics", "PENDING");
    life.sweep().await;
    life.delete(&environment);
    life.double.world().deletion_takes = Some(1000);
    let deleted = life.event(&Environment { status: "DELETED".into(), ..environment });
    let Answer::Environment(report) = life.invoke(deleted).await.unwrap() else { panic!() };
    assert!(report.warnings.iter().any(|note| note.message.contains("still in use")));
    let group = |life: &Life| {
        life.double.world().groups.iter().find(|g| g.name.starts_with("mwaa-")).cloned()
    };
    assert_eq!(group(&life).unwrap().rules.len(), 0, "rules go first");
    life.double.world().endpoints.retain(|endpoint| endpoint.state != "deleting");
    life.sweep().await;
    assert_eq!(group(&life), None);
    life.check();
}

#[tokio::test]
async fn the_last_queue_leaves_a_valid_policy_that_is_no_more_open() {
    let mut life = plain();
    let environment = life.make(OWNER, "analytics", "PENDING");
    life.sweep().await;
    {
        // Nothing of anyone else's is left in the policy.
        let mut policy = policy(&life);
        policy["Statement"].as_array_mut().unwrap().remove(0);
        life.double.world().endpoint("vpce-sqs").policy = Some(policy.to_string());
    }
    life.delete(&environment);
    life.sweep().await;
    let left = policy(&life);
    assert_eq!(left["Statement"].as_array().unwrap().len(), 1, "{left}");
    assert_eq!(
        left["Statement"][0]["Resource"],
        json!(["arn:aws:sqs:us-east-1:000000000000:no-mwaa-environment"])
    );
    // The next environment's queue takes its place.
    let next = life.make(OWNER, "next", "PENDING");
    life.sweep().await;
    assert_eq!(policy(&life)["Statement"][0]["Resource"], json!([next.queue]));
}

#[tokio::test]
async fn a_late_deletion_does_not_hit_what_was_made_again_under_the_same_name() {
    for account in [OWNER, PARTICIPANT] {
        let mut life = plain();
        let first = life.make(account, "analytics", "PENDING");
        let event = life.event(&first);
        life.invoke(event).await.unwrap();
        life.delete(&first);
        let deleted = life.event(&Environment { status: "DELETED".into(), ..first.clone() });
        let second = life.make(account, "analytics", "PENDING");
        let event = life.event(&second);
        life.invoke(event).await.unwrap();
        life.changes();
        life.invoke(deleted.clone()).await.unwrap();
        assert_eq!(life.changes(), Vec::<String>::new(), "{account}: MWAA knows the second");
        // What the first left goes once the second is settled.
        let second = Environment { status: "AVAILABLE".into(), ..second };
        life.double.world().environments.insert(second.key(), second.clone());
        life.sweep().await;
        life.check();
        let served = is_served(&life.double.world(), &second);
        assert!(served, "{account}: the second lost something");
        assert!(
            life.double.world().alive(&first.database).is_empty(),
            "{account}: the first is left"
        );
        // Also if it does not name the services.
        let mut nameless = deleted;
        nameless["detail"] = json!({"name": "analytics", "status": "DELETED"});
        life.changes();
        life.invoke(nameless).await.unwrap();
        assert_eq!(life.changes(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn with_deletion_turned_off_rules_go_and_the_rest_is_listed() {
    let mut life = plain();
    let environment = life.make(PARTICIPANT, "analytics", "PENDING");
    let event = life.event(&environment);
    life.invoke(event).await.unwrap();
    life.delete(&environment);
    life.function.settings.as_mut().unwrap().keep_leftovers = true;
    let deleted = life.event(&Environment { status: "DELETED".into(), ..environment });
    life.changes();
    let Answer::Environment(report) = life.invoke(deleted.clone()).await.unwrap() else { panic!() };
    assert_eq!(life.changes(), ["RevokeSecurityGroupIngress", "CreateTags"]);
    assert_eq!(report.warnings.len(), 4, "{:?}", report.warnings);
    life.invoke(deleted).await.unwrap();
    assert_eq!(life.changes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_dry_run_only_reads() {
    let mut life = plain();
    let environment = life.make(PARTICIPANT, "analytics", "PENDING");
    let mut payloads = vec![life.event(&environment)];
    life.sweep().await;
    for status in ["UPDATING", "AVAILABLE", "DELETED"] {
        let changed = Environment {
            status: status.into(),
            groups: vec!["sg-pb".into()],
            mode: "PUBLIC_ONLY".into(),
            ..environment.clone()
        };
        payloads.push(life.event(&changed));
    }
    life.double.take_calls(false);
    for mut payload in payloads {
        payload["dryRun"] = json!(true);
        let Answer::Environment(report) = life.invoke(payload).await.unwrap() else { panic!() };
        assert!(report.dry_run);
        assert_eq!(life.double.take_calls(true), Vec::<String>::new());
    }
    let lost = life.make(PARTICIPANT, "lost", "PENDING");
    let Answer::Sweep(report) = life.invoke(json!({"sweep": true, "dryRun": true})).await.unwrap()
    else {
        panic!("no sweep")
    };
    assert!(report.dry_run);
    assert!(report.environments.iter().any(|it| it.environment == lost.arn()), "{report:?}");
    assert_eq!(life.changes(), Vec::<String>::new());
    assert!(life.double.world().alive(&lost.database).is_empty());
}

/// What a sweep asks of EC2 grows with pages of results, not with environments.
#[tokio::test]
async fn a_sweep_of_many_environments_costs_no_more_calls_of_ec2() {
    let mut costs = Vec::new();
    for count in [1, 20] {
        let mut life = plain();
        for n in 0..count {
            life.make(OWNER, &format!("e{n}"), "AVAILABLE");
        }
        life.sweep().await;
        life.check();
        life.double.take_calls(false);
        life.sweep().await;
        let calls = life.double.take_calls(false);
        let ec2 = calls.iter().filter(|call| call.starts_with("Describe")).count();
        assert_eq!(calls.len() - ec2, count + 2, "one list per account and one answer each");
        costs.push(ec2);
    }
    assert_eq!(costs[0], costs[1]);
}

#[tokio::test]
async fn a_sweep_that_runs_out_of_time_says_where_it_stopped() {
    let mut life = plain();
    let both = [life.make(OWNER, "a", "PENDING"), life.make(OWNER, "b", "PENDING")];
    life.sweep().await;
    life.double.world().endpoint("vpce-sqs").policy = Some(FOREIGN.into());
    life.changes();
    let late = Invocation { function_arn: FUNCTION_ARN, request_id: "1", deadline: Instant::now() };
    let Answer::Sweep(report) = life.function.handle(json!({"sweep": true}), late).await.unwrap()
    else {
        panic!("no sweep")
    };
    // One at least, so that slow sweeps get on.
    assert_eq!((report.looked_at, report.reached, report.not_reached), (1, 1, 1));
    let stopped = report.stopped_before.unwrap();
    assert!(both.iter().any(|it| it.arn() == stopped), "{stopped}");
    life.sweep().await;
    life.check();
}

#[tokio::test]
async fn an_event_that_names_no_queue_takes_none_away() {
    let mut life = plain();
    let environment = life.make(OWNER, "analytics", "PENDING");
    // The database endpoint was made by hand, so only the other one remembers the queue.
    life.double.world().add_endpoint("vpce-hand", &environment.database, None).groups =
        environment.groups.iter().cloned().collect();
    let event = life.event(&environment);
    life.invoke(event).await.unwrap();
    let available = Environment {
        status: "AVAILABLE".into(),
        mode: "PUBLIC_ONLY".into(),
        ..environment.clone()
    };
    let key = (OWNER.to_owned(), "analytics".to_owned());
    life.double.world().environments.insert(key, available.clone());
    life.function.mwaa = None;
    let mut event = life.event(&available);
    event["detail"].as_object_mut().unwrap().remove("celeryExecutorQueue");
    life.invoke(event).await.unwrap();
    assert!(life.double.world().alive(&environment.webserver).is_empty());
    assert!(
        listed(life.double.world().endpoint("vpce-sqs").policy.as_deref())
            .contains(&environment.queue)
    );
    assert_eq!(life.double.world().violations, Vec::<String>::new());
}

#[tokio::test]
async fn an_old_answer_that_is_replayed_takes_nothing_away() {
    for askable in [true, false] {
        let mut life = plain();
        let first = life.make(OWNER, "analytics", "AVAILABLE");
        let detail = Environment { mode: "PUBLIC_ONLY".into(), ..first.clone() }.facts();
        let old = json!({"Environment": {
            "Arn": first.arn(), "Status": "AVAILABLE", "WebserverAccessMode": "PUBLIC_ONLY",
            "EndpointManagement": "CUSTOMER",
            "DatabaseVpcEndpointService": detail["databaseVpcEndpointService"],
            "WebserverVpcEndpointService": detail["webserverVpcEndpointService"],
            "CeleryExecutorQueue": detail["celeryExecutorQueue"],
            "NetworkConfiguration": {
                "SubnetIds": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-a"]
            }
        }});
        life.sweep().await;
        if !askable {
            life.function.mwaa = None;
        }
        life.changes();
        let Answer::Environment(report) = life.invoke(old).await.unwrap() else { panic!() };
        assert!(!life.changes().contains(&"DeleteVpcEndpoints".to_owned()), "{report:?}");
        life.check();
    }
}

#[tokio::test]
async fn a_late_event_serves_the_environment_that_has_the_name_now() {
    let mut life = plain();
    let first = life.make(OWNER, "analytics", "PENDING");
    let late = life.event(&first);
    life.delete(&first);
    let mut deleted = life.event(&Environment { status: "DELETED".into(), ..first });
    deleted["detail"] = json!({"name": "analytics", "status": "DELETED"});
    life.make(OWNER, "analytics", "PENDING");
    life.invoke(late).await.unwrap();
    life.check();
    life.changes();
    life.invoke(deleted).await.unwrap();
    assert_eq!(life.changes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_group_that_was_left_behind_is_cleared_up_without_asking_anybody() {
    let mut life = plain();
    let environment = life.make(PARTICIPANT, "analytics", "PENDING");
    let event = life.event(&environment);
    life.invoke(event).await.unwrap();
    life.delete(&environment);
    life.double.world().deletion_takes = Some(1000);
    life.double.world().closed_accounts.insert(PARTICIPANT.into());
    let deleted = life.event(&Environment { status: "DELETED".into(), ..environment });
    life.invoke(deleted).await.unwrap();
    // Still in use: the sweep waits, and gives it no rules back.
    life.changes();
    life.sweep().await;
    assert_eq!(life.changes(), Vec::<String>::new());
    life.double.world().endpoints.retain(|endpoint| endpoint.state != "deleting");
    life.sweep().await;
    life.check();
}
