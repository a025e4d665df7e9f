//! What the function promises, told as scenarios against a strict EC2 with injected faults.

mod double;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use double::{Double, Endpoint, Fault, OWNER, PARTICIPANT, VPC, service};
use futures_util::future::join_all;
use mwaa_vpc_endpoints::handler::{self, Clock, Function, Invocation, InvocationError, Telemetry};
use mwaa_vpc_endpoints::report::{Change, Kind, Outcome, Report, Resource};
use mwaa_vpc_endpoints::settings::Settings;
use mwaa_vpc_endpoints::sweep::Lasting;
use serde_json::{Value, json};

const SQS: &str = "com.amazonaws.us-east-1.sqs";
const QUEUE: &str = "arn:aws:sqs:us-east-1:555555555555:airflow-celery-1f2e";
const FUNCTION_ARN: &str = "arn:aws:lambda:us-east-1:111122223333:function:mwaa-vpc-endpoints";
/// The blog's policy: one Allow with an empty list.
const BLOG_POLICY: &str = r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":["sqs:SendMessage","sqs:ReceiveMessage"],"Resource":[]}]}"#;

fn event(account: &str, status: &str, mode: &str) -> Value {
    json!({
        "version": "0", "id": "7bf73129-1428-4cd3-a780-95db273d1602",
        "detail-type": "MWAA Environment Status Change", "source": "aws.airflow",
        "account": account, "time": "2026-03-04T10:15:00Z", "region": "us-east-1",
        "resources": [format!("arn:aws:airflow:us-east-1:{account}:environment/analytics")],
        "detail": {
            "name": "analytics", "status": status,
            "celeryExecutorQueue": QUEUE,
            "databaseVpcEndpointService": service("database"),
            "webserverVpcEndpointService": service("webserver"),
            "webserverAccessMode": mode,
            "networkConfiguration": {
                "subnetIds": ["subnet-1", "subnet-2"],
                "securityGroupIds": ["sg-1"]
            }
        }
    })
}

fn private() -> Value {
    event(OWNER, "PENDING", "PRIVATE_ONLY")
}

fn participants() -> Value {
    let mut event = event(PARTICIPANT, "PENDING", "PRIVATE_ONLY");
    event["detail"]["networkConfiguration"]["securityGroupIds"] = json!(["sg-9", "sg-8"]);
    event
}

fn later(mut event: Value, time: &str) -> Value {
    event["time"] = json!(time);
    event
}

fn settings(variables: &[(&str, &str)]) -> Settings {
    Settings::read(|name| {
        variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string())
    })
    .unwrap()
}

/// A VPC with an SQS endpoint that has the blog's policy.
fn vpc() -> Double {
    let double = Double::new();
    double.world().add_endpoint("vpce-sqs", SQS, Some(BLOG_POLICY));
    double
}

fn function(double: &Double, attempts: u32, settings: Settings) -> Function {
    double.world().deployed = (&settings).into();
    Function {
        ec2: double.ec2(attempts),
        mwaa: None,
        settings: Ok(settings),
        region: Some("us-east-1".parse_region()),
        lasting: Lasting::default(),
        clock: Clock::default(),
        telemetry: Telemetry::read(|_| None),
    }
}

trait ParseRegion {
    fn parse_region(&self) -> mwaa_vpc_endpoints::environment::Region;
}

impl ParseRegion for str {
    fn parse_region(&self) -> mwaa_vpc_endpoints::environment::Region {
        mwaa_vpc_endpoints::environment::Region::parse(self).unwrap()
    }
}

type Answer = Result<Report, InvocationError>;

fn invocation(function_arn: &str) -> Invocation<'_> {
    Invocation {
        function_arn,
        request_id: "1",
        deadline: Instant::now() + Duration::from_secs(120),
    }
}

/// Delivers an event once, with the SDK's own retries.
async fn deliver(double: &Double, event: &Value) -> Answer {
    deliver_to(&function(double, 3, Settings::default()), event).await
}

async fn deliver_with(double: &Double, event: &Value, variables: &[(&str, &str)]) -> Answer {
    deliver_to(&function(double, 3, settings(variables)), event).await
}

async fn deliver_to(function: &Function, event: &Value) -> Answer {
    match function.handle(event.clone(), invocation(FUNCTION_ARN)).await? {
        handler::Answer::Environment(report) => Ok(report),
        other => panic!("expected the report of an environment, got {other:?}"),
    }
}

fn resource(report: &Report, role: &str) -> Resource {
    report.resources.iter().find(|resource| resource.role == Some(role)).unwrap().clone()
}

fn of_kind(report: &Report, kind: Kind) -> Resource {
    report.resources.iter().find(|resource| resource.kind == kind).unwrap().clone()
}

fn failed_report(answer: Answer) -> Report {
    match answer {
        Err(InvocationError::Actions(report)) => *report,
        other => panic!("expected failed actions, got {other:?}"),
    }
}

fn policy(double: &Double, id: &str) -> Value {
    serde_json::from_str(double.world().endpoint(id).policy.as_deref().unwrap()).unwrap()
}

/// The queues in our statement of an SQS endpoint's policy.
fn listed(double: &Double, id: &str) -> Vec<String> {
    let policy = policy(double, id);
    let statements = policy["Statement"].as_array().unwrap();
    let ours: Vec<&Value> =
        statements.iter().filter(|s| s["Sid"] == json!("MwaaCeleryQueues")).collect();
    assert!(ours.len() <= 1, "{policy}");
    ours.first()
        .map_or_else(Vec::new, |ours| serde_json::from_value(ours["Resource"].clone()).unwrap())
}

/// What is in the VPC, for comparing one way there with another: ids and lists of calls left out.
fn picture(double: &Double) -> Vec<String> {
    let world = double.world();
    let own = |id: &String| {
        world.groups.iter().find(|group| group.id == *id).map_or(id.clone(), |g| g.name.clone())
    };
    let mut lines: Vec<String> = world
        .endpoints
        .iter()
        .filter(|endpoint| endpoint.state != "deleted")
        .map(|e| {
            let groups: Vec<String> = e.groups.iter().map(own).collect();
            format!(
                "{} {} {:?} {groups:?} {:?} {:?}",
                e.service, e.state, e.subnets, e.tags, e.policy
            )
        })
        .chain(world.groups.iter().map(|g| format!("{} {:?} {:?}", g.name, g.tags, g.rules)))
        .collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn a_private_environment_gets_two_endpoints_and_its_queue() {
    let double = vpc();
    let report = deliver(&double, &private()).await.unwrap();
    assert_eq!(report.outcome, Outcome::Changed);
    assert_eq!(report.vpc.as_deref(), Some(VPC));
    for role in ["database", "webserver"] {
        let world = double.world();
        let [endpoint] = world.alive(&service(role))[..] else { panic!("not one {role} endpoint") };
        assert_eq!(endpoint.subnets, BTreeSet::from(["subnet-1".into(), "subnet-2".into()]));
        assert_eq!(endpoint.groups, BTreeSet::from(["sg-1".into()]));
        let tags: Vec<String> = endpoint.tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(
            tags,
            [
                format!("Name=analytics-{role}"),
                format!(
                    "mwaa-vpc-endpoints/environment=arn:aws:airflow:us-east-1:{OWNER}:environment/analytics"
                ),
                "mwaa-vpc-endpoints/event-time=2026-03-04T10:15:00Z".to_owned(),
                "mwaa-vpc-endpoints/groups=sg-1".to_owned(),
                format!("mwaa-vpc-endpoints/queue={QUEUE}"),
                format!("mwaa-vpc-endpoints/role={role}"),
            ]
        );
        let done = resource(&report, role);
        assert_eq!((done.outcome, done.id.as_ref()), (Change::Created, Some(&endpoint.id)));
    }
    assert_eq!(listed(&double, "vpce-sqs"), [QUEUE]);
    let policy = policy(&double, "vpce-sqs");
    assert_eq!(policy["Statement"][0]["Resource"], json!([]), "a foreign statement was changed");
}

#[tokio::test]
async fn the_same_event_twice_changes_nothing() {
    for event in [private(), participants()] {
        let double = vpc();
        deliver(&double, &event).await.unwrap();
        let before = picture(&double);
        double.take_calls(false);
        let report = deliver(&double, &event).await.unwrap();
        assert_eq!(report.outcome, Outcome::Unchanged);
        assert_eq!(double.take_calls(true), Vec::<String>::new());
        assert_eq!(picture(&double), before);
    }
}

#[tokio::test]
async fn access_modes_decide_on_the_web_server_endpoint() {
    for (mode, endpoints) in
        [("PUBLIC_ONLY", 0), ("PRIVATE_ONLY", 1), ("PUBLIC_AND_PRIVATE", 1), ("NEW_MODE", 1)]
    {
        let double = vpc();
        deliver(&double, &event(OWNER, "PENDING", mode)).await.unwrap();
        assert_eq!(double.world().alive(&service("webserver")).len(), endpoints, "{mode}");
        assert_eq!(double.world().alive(&service("database")).len(), 1, "{mode}");
    }
}

#[tokio::test]
async fn other_statuses_make_no_call() {
    for status in ["CREATING", "DELETING"] {
        let double = vpc();
        let report = deliver(&double, &event(OWNER, status, "PRIVATE_ONLY")).await.unwrap();
        assert_eq!(report.outcome, Outcome::Ignored);
        assert!(report.reason.unwrap().contains(status));
        assert_eq!(double.take_calls(false), Vec::<String>::new());
    }
}

#[tokio::test]
async fn what_the_sdk_can_retry_does_not_fail_the_invocation() {
    let count = {
        let double = vpc();
        deliver(&double, &participants()).await.unwrap();
        double.take_calls(false).len()
    };
    for fault in [
        Fault::Refused(503, "RequestLimitExceeded"),
        Fault::Refused(400, "Throttling"),
        Fault::Refused(500, "InternalError"),
        // The process was frozen after it had signed the request.
        Fault::Refused(400, "RequestExpired"),
        Fault::TimeoutBefore,
    ] {
        for index in 0..count {
            let double = vpc();
            double.world().faults.insert(index, fault);
            let report = deliver(&double, &participants()).await.unwrap();
            assert_eq!(report.outcome, Outcome::Changed, "{fault:?} at call {index}");
        }
    }
}

/// Every call failing once, before or after it took effect, with and without the SDK's retries: after
/// one more delivery the VPC is as if nothing had failed.
#[tokio::test]
async fn a_failure_at_any_call_is_finished_by_the_next_delivery() {
    for event in [private(), participants()] {
        let (count, wanted) = {
            let double = vpc();
            deliver(&double, &event).await.unwrap();
            (double.take_calls(false).len(), picture(&double))
        };
        for attempts in [1, 3] {
            for fault in [
                Fault::Refused(400, "UnauthorizedOperation"),
                Fault::Refused(503, "Unavailable"),
                Fault::TimeoutBefore,
                Fault::LostAnswer,
            ] {
                for index in 0..count {
                    let double = vpc();
                    double.world().faults.insert(index, fault);
                    let function = function(&double, attempts, Settings::default());
                    let first = deliver_to(&function, &event).await;
                    let at = format!("{fault:?} at call {index}, {attempts} attempts");
                    // What EC2 refused or did not answer may have been done at the second try.
                    let is_done = picture(&double) == wanted;
                    assert!(first.is_err() || is_done, "{at}: the failure was swallowed");
                    let second = deliver_to(&function, &event).await;
                    assert!(second.is_ok(), "{at}: {second:?}");
                    assert_eq!(picture(&double), wanted, "{at}");
                }
            }
        }
    }
}

#[tokio::test]
async fn everything_is_attempted_even_if_something_fails() {
    let double = vpc();
    double.world().services.remove(&service("database"));
    let report = failed_report(deliver(&double, &private()).await);
    let failed = resource(&report, "database");
    assert_eq!(failed.outcome, Change::Failed);
    assert_eq!(failed.error.unwrap().code.as_deref(), Some("InvalidServiceName"));
    assert!(failed.remedy.unwrap().contains("stale"));
    assert_eq!(resource(&report, "webserver").outcome, Change::Created);
    assert_eq!(listed(&double, "vpce-sqs"), [QUEUE]);
}

#[tokio::test]
async fn duplicates_delivered_in_parallel_make_one_of_each() {
    for event in [private(), participants()] {
        let double = vpc();
        double.world().lag = 3;
        let function = function(&double, 3, Settings::default());
        let answers = join_all((0..8).map(|_| deliver_to(&function, &event))).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        for role in ["database", "webserver"] {
            assert_eq!(double.world().alive(&service(role)).len(), 1);
        }
        let own = double.world().groups.iter().filter(|g| g.name.starts_with("mwaa-")).count();
        assert_eq!(own, usize::from(event["account"] == json!(PARTICIPANT)));
        assert_eq!(listed(&double, "vpce-sqs"), [QUEUE]);
    }
}

/// Whichever way the work arrives: a newer event while the endpoint is not listed yet.
#[tokio::test]
async fn an_endpoint_that_is_not_listed_yet_is_not_made_again() {
    for time in ["2026-03-04T10:15:00Z", "2026-03-04T10:20:00Z"] {
        let double = vpc();
        double.world().lag = 2;
        deliver(&double, &private()).await.unwrap();
        deliver(&double, &later(private(), time)).await.unwrap();
        assert_eq!(double.world().alive(&service("database")).len(), 1, "{time}");
        assert_eq!(double.world().alive(&service("webserver")).len(), 1, "{time}");
    }
}

#[tokio::test]
async fn an_endpoint_deleted_by_hand_is_made_again_although_ec2_remembers_its_token() {
    for time in ["2026-03-04T10:15:00Z", "2026-03-04T10:30:00Z"] {
        for hidden in [0, usize::MAX] {
            let double = vpc();
            deliver(&double, &private()).await.unwrap();
            let id = double.world().alive(&service("database"))[0].id.clone();
            {
                let mut world = double.world();
                let endpoint = world.endpoint(&id);
                (endpoint.state, endpoint.hidden) = ("deleted".into(), hidden);
            }
            let report = deliver(&double, &later(private(), time)).await.unwrap();
            assert_eq!(resource(&report, "database").outcome, Change::Created, "{time} {hidden}");
            assert_eq!(double.world().alive(&service("database")).len(), 1);
        }
    }
}

/// The token is the request's: other parameters, another token; the same ones in another order or
/// with another time, the same.
#[tokio::test]
async fn client_tokens_tell_requests_apart() {
    let token = |event: Value, variables: &'static [(&str, &str)]| async move {
        let double = vpc();
        deliver_with(&double, &event, variables).await.unwrap();
        let world = double.world();
        let mut creates = world.calls.iter().filter(|call| call.action == "CreateVpcEndpoint");
        let parameters = &creates.next().unwrap().parameters;
        assert!(!parameters.contains_key("PrivateDnsEnabled"));
        let token = parameters["ClientToken"].clone();
        assert!(token.is_ascii() && token.len() <= 64);
        token
    };
    let first = token(private(), &[]).await;
    let mut reordered = later(private(), "2026-03-05T00:00:00Z");
    reordered["detail"]["networkConfiguration"]["subnetIds"] = json!(["subnet-2", "subnet-1"]);
    assert_eq!(token(reordered, &[]).await, first);
    let mut other_queue = private();
    other_queue["detail"]["celeryExecutorQueue"] = json!(format!("{QUEUE}0"));
    let mut one_subnet = private();
    one_subnet["detail"]["networkConfiguration"]["subnetIds"] = json!(["subnet-2"]);
    let others = [
        token(other_queue, &[]).await,
        token(one_subnet, &[]).await,
        token(private(), &[("ENDPOINT_TAGS", "team=data")]).await,
        token(private(), &[("IP_ADDRESS_TYPE", "dualstack")]).await,
        token(participants(), &[]).await,
    ];
    assert!(!others.contains(&first));
    assert_eq!(BTreeSet::from(others).len(), 5);
}

#[tokio::test]
async fn a_newer_event_is_remembered_and_an_older_one_is_not() {
    for event in [private(), participants()] {
        let double = vpc();
        deliver(&double, &event).await.unwrap();
        double.take_calls(false);
        deliver(&double, &later(event.clone(), "2026-03-04T11:00:00Z")).await.unwrap();
        assert_eq!(double.take_calls(true), ["CreateTags"]);
        deliver(&double, &later(event.clone(), "2026-03-04T09:00:00Z")).await.unwrap();
        assert_eq!(double.take_calls(true), Vec::<String>::new());
        let world = double.world();
        let made =
            world.endpoints.iter().map(|e| &e.tags).chain(world.groups.iter().map(|g| &g.tags));
        let times: BTreeSet<&String> =
            made.filter_map(|tags| tags.get("mwaa-vpc-endpoints/event-time")).collect();
        assert_eq!(times.len(), 1);
        assert_eq!(**times.first().unwrap(), "2026-03-04T11:00:00Z");
    }
}

#[tokio::test]
async fn a_dead_endpoint_of_ours_is_deleted_before_its_one_successor_is_made() {
    for state in ["failed", "rejected", "expired"] {
        let double = vpc();
        deliver(&double, &private()).await.unwrap();
        let dead = double.world().alive(&service("database"))[0].id.clone();
        double.world().endpoint(&dead).state = state.into();
        double.take_calls(false);
        deliver(&double, &private()).await.unwrap();
        assert_eq!(double.take_calls(true), ["DeleteVpcEndpoints", "CreateVpcEndpoint"]);
        assert_eq!(double.world().endpoint(&dead).state, "deleted");
        assert_eq!(double.world().alive(&service("database")).len(), 1);
    }
}

#[tokio::test]
async fn a_loop_of_failures_does_not_eat_the_quota() {
    let double = vpc();
    double.world().new_state = Some("Failed".into());
    for _ in 0..20 {
        let _ = deliver(&double, &private()).await;
    }
    let world = double.world();
    let left = world.endpoints.iter().filter(|e| e.state == "Failed").count();
    assert!(left <= 4, "{left} dead endpoints are left");
}

#[tokio::test]
async fn a_dead_endpoint_that_cannot_be_deleted_gets_no_successor() {
    let double = vpc();
    deliver(&double, &private()).await.unwrap();
    let dead = double.world().alive(&service("database"))[0].id.clone();
    double.world().endpoint(&dead).state = "failed".into();
    double.world().undeletable.insert(dead);
    let report = failed_report(deliver(&double, &private()).await);
    assert_eq!(resource(&report, "database").error.unwrap().call, "DeleteVpcEndpoints");
    assert_eq!(double.world().alive(&service("database")).len(), 0);
}

#[tokio::test]
async fn somebody_elses_endpoint_is_kept_and_never_changed() {
    let double = vpc();
    let before: Vec<Endpoint> = {
        let mut world = double.world();
        world.add_endpoint("vpce-by-hand", &service("database"), None);
        let misfit = world.add_endpoint("vpce-misfit", &service("webserver"), None);
        misfit.subnets.remove("subnet-2");
        misfit.groups = ["sg-other".into()].into();
        world.endpoints[1..].to_vec()
    };
    let report = deliver(&double, &private()).await.unwrap();
    assert_eq!(resource(&report, "database").outcome, Change::Kept);
    assert_eq!(resource(&report, "webserver").outcome, Change::Kept);
    assert_eq!(double.world().endpoints[1..], before);
    let [warning] = &report.warnings[..] else { panic!("{:?}", report.warnings) };
    for part in ["vpce-misfit", "subnet-2", "sg-1", "CREATE_FAILED"] {
        assert!(warning.message.contains(part), "{}", warning.message);
    }
}

#[tokio::test]
async fn an_endpoint_of_ours_gets_what_it_lacks_and_loses_nothing() {
    let double = vpc();
    deliver(&double, &private()).await.unwrap();
    let id = double.world().alive(&service("database"))[0].id.clone();
    {
        let mut world = double.world();
        let endpoint = world.endpoint(&id);
        endpoint.subnets.remove("subnet-2");
        endpoint.groups = ["sg-extra".into()].into();
    }
    let report = deliver(&double, &private()).await.unwrap();
    assert_eq!(resource(&report, "database").outcome, Change::Updated);
    let mut world = double.world();
    let endpoint = world.endpoint(&id);
    assert_eq!(endpoint.subnets, BTreeSet::from(["subnet-1".into(), "subnet-2".into()]));
    assert_eq!(endpoint.groups, BTreeSet::from(["sg-1".into(), "sg-extra".into()]));
}

#[tokio::test]
async fn of_two_subnets_in_one_zone_the_first_is_used() {
    let double = vpc();
    double.world().subnets.get_mut("subnet-2").unwrap().zone = "us-east-1a".into();
    let report = deliver(&double, &private()).await.unwrap();
    assert!(report.warnings[0].message.contains("subnet-2"));
    let subnets = double.world().alive(&service("database"))[0].subnets.clone();
    assert_eq!(subnets, BTreeSet::from(["subnet-1".into()]));
}

#[tokio::test]
async fn one_subnet_and_repeated_ids_are_enough() {
    let double = vpc();
    let mut event = private();
    event["detail"]["networkConfiguration"]["subnetIds"] = json!(["subnet-1", "subnet-1"]);
    deliver(&double, &event).await.unwrap();
    assert_eq!(double.world().alive(&service("database")).len(), 1);
}

#[tokio::test]
async fn subnets_that_cannot_be_used_are_named() {
    let double = vpc();
    double.world().subnets.get_mut("subnet-2").unwrap().vpc = "vpc-0b".into();
    let error = deliver(&double, &private()).await.unwrap_err().to_string();
    assert!(
        error.contains("subnet-1 in vpc-0a") && error.contains("subnet-2 in vpc-0b"),
        "{error}"
    );

    let double = vpc();
    double.world().subnets.remove("subnet-2");
    let error = deliver(&double, &private()).await.unwrap_err().to_string();
    assert!(error.contains("subnet-2") && !error.contains("subnet-1"), "{error}");
    assert_eq!(double.take_calls(true), Vec::<String>::new());
}

#[tokio::test]
async fn every_alive_sqs_endpoint_of_the_vpc_is_served_and_no_other() {
    let double = vpc();
    {
        let mut world = double.world();
        let elsewhere = world.add_endpoint("vpce-elsewhere", SQS, Some(BLOG_POLICY));
        elsewhere.subnets = ["subnet-other".into()].into();
        elsewhere.state = "Available".into();
        world.add_endpoint("vpce-fips", "com.amazonaws.us-east-1.sqs-fips", Some(BLOG_POLICY));
        world.add_endpoint("vpce-cn", "cn.com.amazonaws.us-east-1.sqs", Some(BLOG_POLICY));
        world.add_endpoint("vpce-deleted", SQS, Some(BLOG_POLICY)).state = "deleted".into();
        world.add_endpoint("vpce-failed", SQS, Some(BLOG_POLICY)).state = "Failed".into();
        world.add_endpoint("vpce-open", SQS, None);
        world.add_endpoint("vpce-west", "com.amazonaws.us-west-2.sqs", Some(BLOG_POLICY));
        world.add_endpoint("vpce-sns", "com.amazonaws.us-east-1.sns", Some(BLOG_POLICY));
    }
    deliver(&double, &private()).await.unwrap();
    for id in ["vpce-sqs", "vpce-elsewhere", "vpce-fips", "vpce-cn"] {
        assert_eq!(listed(&double, id), [QUEUE], "{id}");
    }
    for id in ["vpce-deleted", "vpce-failed", "vpce-west", "vpce-sns"] {
        assert_eq!(listed(&double, id), Vec::<String>::new(), "{id}");
    }
    assert_eq!(double.world().endpoint("vpce-open").policy, None);
}

#[tokio::test]
async fn no_sqs_endpoint_at_all_is_fine_and_said() {
    let double = Double::new();
    let report = deliver(&double, &private()).await.unwrap();
    assert!(of_kind(&report, Kind::SqsEndpoint).detail.contains("no SQS interface endpoint"));
    assert!(report.warnings.is_empty());
}

#[tokio::test]
async fn a_requester_managed_sqs_endpoint_is_reported_and_not_modified() {
    let double = vpc();
    double.world().endpoint("vpce-sqs").requester_managed = true;
    let report = deliver(&double, &private()).await.unwrap();
    assert_eq!(of_kind(&report, Kind::SqsEndpoint).outcome, Change::Blocked);
    assert!(!double.take_calls(true).contains(&"ModifyVpcEndpoint".to_owned()));
}

const OTHER_QUEUE: &str = "arn:aws:sqs:us-east-1:555555555555:airflow-celery-2";

/// The event of another environment in the VPC.
fn neighbours(double: &Double) -> Value {
    let mut event = private();
    event["detail"]["name"] = json!("other");
    event["detail"]["celeryExecutorQueue"] = json!(OTHER_QUEUE);
    for role in ["database", "webserver"] {
        let service = service(&format!("{role}2"));
        double.world().services.insert(service.clone());
        event["detail"][format!("{role}VpcEndpointService")] = json!(service);
    }
    event
}

/// Takes the neighbour's queue out of an SQS endpoint's policy.
fn lose_neighbours_queue(endpoint: &mut Endpoint) {
    let policy = endpoint.policy.take().unwrap().replace(OTHER_QUEUE, &format!("{OTHER_QUEUE}-x"));
    endpoint.policy = Some(policy);
}

#[tokio::test]
async fn a_queue_lost_to_another_writer_comes_back() {
    let double = vpc();
    deliver(&double, &private()).await.unwrap();
    double.world().endpoint("vpce-sqs").policy = Some(BLOG_POLICY.into());
    let other = neighbours(&double);
    deliver(&double, &other).await.unwrap();
    assert_eq!(listed(&double, "vpce-sqs"), [QUEUE, OTHER_QUEUE]);
}

#[tokio::test]
async fn a_neighbours_queue_comes_back_with_an_event_that_changes_nothing_else() {
    let double = vpc();
    let other = neighbours(&double);
    deliver(&double, &other).await.unwrap();
    deliver(&double, &private()).await.unwrap();
    lose_neighbours_queue(double.world().endpoint("vpce-sqs"));
    assert!(!listed(&double, "vpce-sqs").contains(&OTHER_QUEUE.to_owned()));
    double.take_calls(true);
    let report = deliver(&double, &private()).await.unwrap();
    assert_eq!(double.take_calls(true), ["ModifyVpcEndpoint"]);
    assert!(listed(&double, "vpce-sqs").contains(&OTHER_QUEUE.to_owned()));
    let sqs = of_kind(&report, Kind::SqsEndpoint);
    assert_eq!(sqs.outcome, Change::Updated);
    assert!(sqs.detail.contains(OTHER_QUEUE), "{}", sqs.detail);
}

#[tokio::test]
async fn a_change_of_the_organization_alone_is_told_as_a_change() {
    let double = vpc();
    deliver(&double, &private()).await.unwrap();
    let changed = [("PRINCIPAL_ORG_ID", "o-a1b2c3d4e5")];
    let report = deliver_with(&double, &private(), &changed).await.unwrap();
    assert_eq!(report.outcome, Outcome::Changed);
    assert_eq!(of_kind(&report, Kind::SqsEndpoint).outcome, Change::Updated);
    assert!(policy(&double, "vpce-sqs").to_string().contains("o-a1b2c3d4e5"));

    // Behind another organization's condition the own queue is not let through.
    double.world().other_writer = Some(|endpoint| {
        let policy = endpoint.policy.take().unwrap().replace("o-b1b2c3d4e5", "o-c1b2c3d4e5");
        endpoint.policy = Some(policy);
    });
    let lost = [("PRINCIPAL_ORG_ID", "o-b1b2c3d4e5")];
    failed_report(deliver_with(&double, &private(), &lost).await);
}

#[tokio::test]
async fn a_neighbours_queue_that_is_lost_again_and_again_is_told_and_fails_nothing() {
    let double = vpc();
    let other = neighbours(&double);
    deliver(&double, &other).await.unwrap();
    double.world().other_writer = Some(lose_neighbours_queue);
    let report = deliver(&double, &private()).await.unwrap();
    let warnings: Vec<&str> = report.warnings.iter().map(|note| note.message.as_str()).collect();
    assert!(warnings.iter().any(|w| w.contains(OTHER_QUEUE)), "{warnings:?}");
    assert!(listed(&double, "vpce-sqs").contains(&QUEUE.to_owned()));
}

#[tokio::test]
async fn a_write_that_another_writer_undoes_is_made_again_a_bounded_number_of_times() {
    let double = vpc();
    double.world().other_writer = Some(|endpoint| endpoint.policy = Some(BLOG_POLICY.into()));
    let report = failed_report(deliver(&double, &private()).await);
    let failed = of_kind(&report, Kind::SqsEndpoint);
    assert!(failed.detail.contains("somebody else"), "{}", failed.detail);
    let writes = double.take_calls(true).iter().filter(|call| *call == "ModifyVpcEndpoint").count();
    assert_eq!(writes, 2);
}

#[tokio::test]
async fn a_deny_is_reported_and_does_not_fail_the_invocation() {
    for (condition, word) in [
        (json!(null), "is blocked"),
        (json!({"StringNotEquals": {"aws:ResourceOrgID": "o-a1b2c3d4e5"}}), "may be blocked"),
    ] {
        let mut deny =
            json!({"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*"});
        if !condition.is_null() {
            deny["Condition"] = condition;
        }
        let policy = json!({"Statement": [
            {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}, deny
        ]});
        let double = vpc();
        double.world().endpoint("vpce-sqs").policy = Some(policy.to_string());
        let report = deliver(&double, &private()).await.unwrap();
        let done = of_kind(&report, Kind::SqsEndpoint);
        assert_eq!(done.outcome, Change::Blocked);
        assert!(done.detail.contains(word) && done.detail.contains("Deny"), "{}", done.detail);
    }
}

#[tokio::test]
async fn a_policy_that_cannot_be_written_is_left_as_it_is() {
    let long: Vec<String> = (0..240)
        .map(|n| {
            format!(
                "arn:aws:sqs:us-east-1:555555555555:airflow-celery-1f2e3d4c-5b6a-7988-8796-{n:012}"
            )
        })
        .collect();
    let too_long = json!({"Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": long}
    ]});
    let edited = json!({"Statement": [{"Sid": "MwaaCeleryQueues", "Effect": "Allow",
        "Principal": "*", "Action": "sqs:SendMessage", "Resource": []}]});
    for (policy, part) in [
        (too_long.to_string(), "20480"),
        (edited.to_string(), "MwaaCeleryQueues"),
        ("{oops".to_owned(), "cannot be read"),
    ] {
        let double = vpc();
        double.world().endpoint("vpce-sqs").policy = Some(policy.clone());
        let report = failed_report(deliver(&double, &private()).await);
        let failed = of_kind(&report, Kind::SqsEndpoint);
        assert!(failed.detail.contains(part), "{}", failed.detail);
        assert!(failed.remedy.is_some());
        assert_eq!(double.world().endpoint("vpce-sqs").policy.as_ref(), Some(&policy));
        assert_eq!(double.world().alive(&service("database")).len(), 1);
    }
}

#[tokio::test]
async fn a_missing_queue_or_web_server_service_stops_nothing_else() {
    let double = vpc();
    let mut event = private();
    event["detail"].as_object_mut().unwrap().remove("celeryExecutorQueue");
    let report = failed_report(deliver(&double, &event).await);
    assert!(
        of_kind(&report, Kind::SqsEndpoint).outcome == Change::Kept || report.failures().len() == 1
    );
    assert_eq!(double.world().alive(&service("webserver")).len(), 1);
    assert_eq!(listed(&double, "vpce-sqs"), Vec::<String>::new());

    let double = vpc();
    let mut event = private();
    event["detail"]["webserverVpcEndpointService"] = json!("com.amazonaws.us-east-1.s3");
    let report = failed_report(deliver(&double, &event).await);
    assert_eq!(resource(&report, "webserver").outcome, Change::Failed);
    assert_eq!(double.world().alive(&service("database")).len(), 1);
    assert_eq!(listed(&double, "vpce-sqs"), [QUEUE]);
}

#[tokio::test]
async fn errors_say_the_call_the_resource_the_code_and_the_remedy() {
    for (action, code, remedy) in [
        ("CreateVpcEndpoint", "VpcEndpointLimitExceeded", "quota"),
        ("CreateVpcEndpoint", "UnauthorizedOperation", "ec2:CreateVpcEndpoint"),
        ("CreateVpcEndpoint", "InvalidServiceName", "owns the VPC"),
        ("DescribeSubnets", "UnauthorizedOperation", "ec2:DescribeSubnets"),
        ("DescribeVpcEndpoints", "UnauthorizedOperation", "ec2:DescribeVpcEndpoints"),
        ("ModifyVpcEndpoint", "UnauthorizedOperation", "ec2:ModifyVpcEndpoint"),
        ("ModifyVpcEndpoint", "InvalidPolicyDocument", "stricter"),
        ("CreateVpcEndpoint", "InsufficientFreeAddressesInSubnet", "more room"),
        ("CreateVpcEndpoint", "TagPolicyViolation", "EndpointTags"),
        ("CreateVpcEndpoint", "SecurityGroupsPerInterfaceLimitExceeded", "up to 16"),
    ] {
        let double = vpc();
        double.world().faults_of.insert(action.into(), Fault::Refused(403, code));
        let error = deliver(&double, &private()).await.unwrap_err().to_string();
        for part in [action, code, remedy, "injected"] {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
    }
}

/// Its groups go onto it in one call, so that nothing is half done.
#[tokio::test]
async fn more_groups_than_ec2_admits_are_put_on_an_endpoint_not_at_all() {
    let double = vpc();
    deliver(&double, &private()).await.unwrap();
    let code = Fault::Refused(400, "SecurityGroupsPerInterfaceLimitExceeded");
    double.world().faults_of.insert("ModifyVpcEndpoint".into(), code);
    let mut more = private();
    more["detail"]["networkConfiguration"]["securityGroupIds"] = json!(["sg-1", "sg-8", "sg-9"]);
    for group in ["sg-8", "sg-9"] {
        double.world().add_group(group, group);
    }
    double.take_calls(false);
    let report = failed_report(deliver(&double, &more).await);
    let failed = resource(&report, "database");
    assert!(failed.remedy.unwrap().contains("quota"), "{}", failed.detail);
    let changes = double.take_calls(true);
    let modifies = changes.iter().filter(|call| *call == "ModifyVpcEndpoint").count();
    assert_eq!(modifies, 2, "one for each endpoint: {changes:?}");
}

#[tokio::test]
async fn the_users_tags_and_organization_are_used() {
    let double = vpc();
    let variables = [("ENDPOINT_TAGS", "team=data"), ("PRINCIPAL_ORG_ID", "o-a1b2c3d4e5")];
    deliver_with(&double, &private(), &variables).await.unwrap();
    assert_eq!(double.world().alive(&service("database"))[0].tags["team"], "data");
    let ours = policy(&double, "vpce-sqs")["Statement"][1].clone();
    assert_eq!(ours["Condition"], json!({"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}}));
}

#[tokio::test]
async fn a_vpc_of_another_owner_is_refused_by_its_account() {
    let double = vpc();
    for subnet in double.world().subnets.values_mut() {
        subnet.owner = "999988887777".into();
    }
    let error = deliver(&double, &private()).await.unwrap_err().to_string();
    assert!(error.contains("999988887777") && error.contains("deploy"), "{error}");
    assert_eq!(double.take_calls(true), Vec::<String>::new());
}

/// The hash of the ARN of the participant's environment, in the name of its group.
const HASH: &str = "bb327413";

/// EC2 takes two names that differ only in case for the same, and MWAA does not.
#[tokio::test]
async fn names_of_groups_differ_in_more_than_case() {
    let double = vpc();
    let mut names = BTreeSet::new();
    for (index, name) in ["analytics", "Analytics"].into_iter().enumerate() {
        let mut event = participants();
        event["detail"]["name"] = json!(name);
        event["resources"] =
            json!([format!("arn:aws:airflow:us-east-1:{PARTICIPANT}:environment/{name}")]);
        for role in ["database", "webserver"] {
            let its = service(&format!("{role}{index}"));
            double.world().services.insert(its.clone());
            event["detail"][format!("{role}VpcEndpointService")] = json!(its);
        }
        let report = deliver(&double, &event).await.unwrap();
        let id = of_kind(&report, Kind::SecurityGroup).id;
        let world = double.world();
        let group = world.groups.iter().find(|group| Some(&group.id) == id.as_ref()).unwrap();
        names.insert(group.name.to_lowercase());
    }
    assert_eq!(names.len(), 2, "{names:?}");
}

/// EC2 adds all rules of a call or none.
#[tokio::test]
async fn of_rules_that_ec2_refuses_together_each_has_its_own_outcome() {
    let double = vpc();
    double.world().unknown_groups.insert("sg-9".into());
    let report = failed_report(deliver(&double, &participants()).await);
    let failed: Vec<_> =
        report.resources.iter().filter(|line| line.outcome == Change::Failed).collect();
    assert!(!failed.is_empty() && failed.iter().all(|line| line.detail.contains("sg-9")));
    assert!(failed.iter().all(|line| line.remedy.is_some()), "{failed:?}");
    for role in ["database", "webserver"] {
        assert_eq!(resource(&report, role).outcome, Change::Created, "{report:?}");
    }
    let groups = double.world().groups.clone();
    let rules: Vec<&String> = groups.iter().flat_map(|group| group.rules.keys()).collect();
    assert_eq!(rules, ["tcp/443/210987654321/sg-8", "tcp/5432/210987654321/sg-8"]);
    // Once the group is there, the rest follows.
    double.world().unknown_groups.clear();
    let report = deliver(&double, &participants()).await.unwrap();
    assert_eq!(report.outcome, Outcome::Changed);
}

/// Whose endpoints are all other people's needs none.
#[tokio::test]
async fn no_group_is_made_that_no_endpoint_would_carry() {
    let double = vpc();
    for (id, role) in [("vpce-a", "database"), ("vpce-b", "webserver")] {
        double.world().add_endpoint(id, &service(role), None);
    }
    let before = double.world().groups.len();
    let report = deliver(&double, &participants()).await.unwrap();
    assert_eq!(double.world().groups.len(), before, "{report:?}");
    assert!(report.resources.iter().all(|line| line.kind != Kind::SecurityGroup));

    // One that is missing carries it.
    let double = vpc();
    double.world().add_endpoint("vpce-a", &service("database"), None);
    let report = deliver(&double, &participants()).await.unwrap();
    assert_eq!(of_kind(&report, Kind::SecurityGroup).outcome, Change::Created);
}

#[tokio::test]
async fn a_participants_environment_gets_a_group_with_its_rules() {
    let double = vpc();
    let sources = [("WEBSERVER_SOURCES", "10.0.0.0/8,2001:db8::/32,pl-0123")];
    let report = deliver_with(&double, &participants(), &sources).await.unwrap();
    let group = of_kind(&report, Kind::SecurityGroup);
    assert_eq!(group.outcome, Change::Created);
    let world = double.world();
    let own = world.groups.iter().find(|g| Some(&g.id) == group.id.as_ref()).unwrap();
    assert_eq!(own.name, format!("mwaa-{PARTICIPANT}-analytics-{HASH}"));
    assert_eq!(own.tags["mwaa-vpc-endpoints/role"], "security-group");
    assert_eq!(own.tags["Name"], own.name);
    let rules: Vec<&str> = own.rules.keys().map(String::as_str).collect();
    assert_eq!(
        rules,
        [
            "tcp/443/10.0.0.0/8",
            "tcp/443/2001:db8::/32",
            "tcp/443/210987654321/sg-8",
            "tcp/443/210987654321/sg-9",
            "tcp/443/pl-0123",
            "tcp/5432/210987654321/sg-8",
            "tcp/5432/210987654321/sg-9",
        ]
    );
    assert!(own.rules.values().all(|text| text.contains("analytics")));
    for role in ["database", "webserver"] {
        let [endpoint] = world.alive(&service(role))[..] else { panic!("not one {role} endpoint") };
        assert_eq!(endpoint.groups, BTreeSet::from([own.id.clone()]));
    }
    let calls: Vec<&str> = world
        .calls
        .iter()
        .map(|call| call.action.as_str())
        .filter(|a| a.starts_with("Create") || a.starts_with("Authorize"))
        .collect();
    assert_eq!(calls[..2], ["CreateSecurityGroup", "AuthorizeSecurityGroupIngress"]);
}

#[tokio::test]
async fn without_a_web_server_endpoint_there_are_no_rules_for_it() {
    let double = vpc();
    let mut event = participants();
    event["detail"]["webserverAccessMode"] = json!("PUBLIC_ONLY");
    deliver_with(&double, &event, &[("WEBSERVER_SOURCES", "10.0.0.0/8")]).await.unwrap();
    let world = double.world();
    let own = world.groups.iter().find(|group| group.name.starts_with("mwaa-")).unwrap();
    assert!(own.rules.keys().all(|rule| rule.starts_with("tcp/5432/")), "{:?}", own.rules);
}

#[tokio::test]
async fn rules_are_only_added() {
    let double = vpc();
    deliver(&double, &participants()).await.unwrap();
    let mut event = later(participants(), "2026-03-04T12:00:00Z");
    event["detail"]["networkConfiguration"]["securityGroupIds"] = json!(["sg-7"]);
    double.take_calls(false);
    let report = deliver(&double, &event).await.unwrap();
    assert_eq!(of_kind(&report, Kind::SecurityGroup).outcome, Change::Updated);
    let world = double.world();
    let own = world.groups.iter().find(|group| group.name.starts_with("mwaa-")).unwrap();
    for group in ["sg-7", "sg-8", "sg-9"] {
        for port in [443, 5432] {
            assert!(own.rules.contains_key(&format!("tcp/{port}/{PARTICIPANT}/{group}")));
        }
    }
}

#[tokio::test]
async fn a_rule_that_is_there_already_is_an_answer() {
    let double = vpc();
    deliver(&double, &participants()).await.unwrap();
    // The description does not show a rule that another delivery has added since.
    let mut event = participants();
    event["detail"]["networkConfiguration"]["securityGroupIds"] = json!(["sg-7", "sg-8"]);
    let function = function(&double, 3, Settings::default());
    let answers = join_all((0..3).map(|_| deliver_to(&function, &event))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let world = double.world();
    let own = world.groups.iter().find(|group| group.name.starts_with("mwaa-")).unwrap();
    assert_eq!(own.rules.len(), 6);
}

#[tokio::test]
async fn a_group_of_that_name_without_our_tags_is_never_adopted() {
    let double = vpc();
    let name = format!("mwaa-{PARTICIPANT}-analytics-{HASH}");
    double.world().add_group("sg-foreign", &name);
    let report = failed_report(deliver(&double, &participants()).await);
    let group = of_kind(&report, Kind::SecurityGroup);
    assert!(group.detail.contains("sg-foreign") && group.remedy.is_some(), "{group:?}");
    let world = double.world();
    assert!(world.groups.iter().all(|group| group.rules.is_empty()));
    assert_eq!(
        world.alive(&service("database")).len(),
        0,
        "an endpoint was made without its group"
    );
    drop(world);
    assert_eq!(listed(&double, "vpce-sqs"), [QUEUE], "the queue waits for no group");
}

#[tokio::test]
async fn a_new_group_may_be_unknown_for_a_while() {
    let double = vpc();
    double.world().group_lag = 3;
    deliver(&double, &participants()).await.unwrap();
    assert_eq!(double.world().alive(&service("database")).len(), 1);
}

#[tokio::test]
async fn the_rules_quota_is_an_error_with_a_remedy() {
    // As many as fit are added, those of the web server's port first.
    for (quota, databases) in [(3, 1), (2, 0)] {
        let double = vpc();
        double.world().rule_quota = Some(quota);
        let report = failed_report(deliver(&double, &participants()).await);
        let failed = report.resources.iter().filter(|line| line.kind == Kind::SecurityGroup);
        let remedies: Vec<_> = failed.filter_map(|line| line.remedy.clone()).collect();
        assert!(!remedies.is_empty() && remedies.iter().all(|remedy| remedy.contains("quota")));
        assert_eq!(double.world().alive(&service("database")).len(), databases);
        assert_eq!(double.world().alive(&service("webserver")).len(), 1);
    }
}

#[tokio::test]
async fn listed_groups_are_carried_by_all_endpoints() {
    for event in [private(), participants()] {
        let double = vpc();
        double.world().add_group("sg-listed", "listed");
        deliver_with(&double, &event, &[("SECURITY_GROUPS", "sg-listed")]).await.unwrap();
        let world = double.world();
        assert_eq!(
            world.alive(&service("database"))[0].groups,
            BTreeSet::from(["sg-listed".to_owned()])
        );
        assert!(!world.groups.iter().any(|group| group.name.starts_with("mwaa-")));
    }
}

#[tokio::test]
async fn a_participants_environment_in_another_vpc_is_not_ours_and_no_failure() {
    let double = vpc();
    double.world().subnets.clear();
    let report = deliver(&double, &participants()).await.unwrap();
    assert_eq!(report.outcome, Outcome::Ignored);
    assert!(deliver(&double, &private()).await.is_err());
}

#[tokio::test]
async fn an_event_from_elsewhere_is_refused_and_changes_nothing() {
    for (name, value) in [("PARTICIPANT_ACCOUNTS", "333344445555"), ("VPC_IDS", "vpc-0b")] {
        let double = vpc();
        let report = deliver_with(&double, &participants(), &[(name, value)]).await.unwrap();
        assert_eq!(report.outcome, Outcome::Refused);
        assert!(report.reason.is_some());
        assert_eq!(double.take_calls(true), Vec::<String>::new());
    }
    let allowed = [("PARTICIPANT_ACCOUNTS", PARTICIPANT), ("VPC_IDS", VPC)];
    for event in [private(), participants()] {
        let double = vpc();
        assert_eq!(
            deliver_with(&double, &event, &allowed).await.unwrap().outcome,
            Outcome::Changed
        );
    }
}

#[tokio::test]
async fn without_an_arn_of_the_function_the_subnets_owner_decides() {
    for (event, groups) in [(private(), 1), (participants(), 2)] {
        let double = vpc();
        let function = function(&double, 3, Settings::default());
        function.handle(event, invocation("function-arn")).await.unwrap();
        assert_eq!(double.world().groups.len(), groups);
    }
}

#[tokio::test]
async fn the_address_type_follows_the_subnets_or_the_setting() {
    for (ipv6_only, variable, address_type) in [
        (false, "", "ipv4"),
        (true, "", "ipv6"),
        (false, "dualstack", "dualstack"),
        (false, "ipv6", "ipv6"),
        (true, "ipv4", "ipv4"),
    ] {
        let double = vpc();
        double.world().subnets.values_mut().for_each(|subnet| subnet.ipv6_only = ipv6_only);
        deliver_with(&double, &private(), &[("IP_ADDRESS_TYPE", variable)]).await.unwrap();
        assert_eq!(double.world().alive(&service("database"))[0].address_type, address_type);
    }
}

#[tokio::test]
async fn all_pages_are_read() {
    let double = vpc();
    {
        let mut world = double.world();
        for n in 0..7 {
            world.add_endpoint(&format!("vpce-x{n}"), "com.amazonaws.us-east-1.logs", None);
        }
        world.add_endpoint("vpce-last", &service("database"), None);
        world.add_endpoint("vpce-last-sqs", SQS, Some(BLOG_POLICY));
    }
    deliver(&double, &private()).await.unwrap();
    assert_eq!(double.world().alive(&service("database")).len(), 1);
    assert_eq!(listed(&double, "vpce-last-sqs"), [QUEUE]);
}

/// What a delivery asks, round trip by round trip.
async fn rounds(double: &Double, event: &Value, variables: &[(&str, &str)]) -> Vec<Vec<String>> {
    {
        let mut world = double.world();
        (world.page, world.latency) = (None, Duration::from_millis(20));
    }
    double.take_rounds();
    let mut function = function(double, 1, settings(variables));
    function.mwaa = Some(double.mwaa(1));
    deliver_to(&function, event).await.unwrap();
    double.take_rounds()
}

/// Tells MWAA of the environment of an event.
fn known_to_mwaa(double: &Double, event: &Value) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let detail = &event["detail"];
    let groups = detail["networkConfiguration"]["securityGroupIds"].as_array().unwrap();
    let environment = double::Environment {
        account: text(&event["account"]),
        name: text(&detail["name"]),
        status: text(&detail["status"]),
        database: text(&detail["databaseVpcEndpointService"]),
        webserver: text(&detail["webserverVpcEndpointService"]),
        mode: text(&detail["webserverAccessMode"]),
        queue: text(&detail["celeryExecutorQueue"]),
        groups: groups.iter().map(text).collect(),
        ..double::Environment::default()
    };
    double.world().environments.insert(environment.key(), environment);
}

const ROLE: [(&str, &str); 1] = [("READER_ROLE", "mwaa-vpc-endpoints-reader-us-east-1")];

/// Round trips are what a user waits for: their number and the calls in them stay as they are.
#[tokio::test]
async fn an_environment_takes_three_round_trips() {
    let double = vpc();
    known_to_mwaa(&double, &private());
    assert_eq!(
        rounds(&double, &private(), &[]).await,
        [
            vec![
                "DescribeSubnets",
                "DescribeVpcEndpoints",
                "DescribeVpcEndpoints",
                "GetEnvironment"
            ],
            vec!["CreateVpcEndpoint", "CreateVpcEndpoint", "ModifyVpcEndpoint"],
            vec!["DescribeVpcEndpoints"],
        ]
    );
}

/// What somebody does to a policy while MWAA takes its time to answer must survive.
#[tokio::test]
async fn a_policy_is_looked_at_again_after_a_slow_answer_of_mwaa() {
    let double = vpc();
    known_to_mwaa(&double, &private());
    double.world().latency_of_mwaa = Duration::from_millis(900);
    let foreign = r#"{"Statement":[{"Sid":"New","Effect":"Allow","Principal":"*","Action":"sqs:ListQueues","Resource":"*"}]}"#;
    let edit = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        double.world().endpoint("vpce-sqs").policy = Some(foreign.into());
    };
    let event = private();
    let (rounds, ()) = tokio::join!(rounds(&double, &event, &[]), edit);
    assert_eq!(rounds[1], ["DescribeVpcEndpoints"], "{rounds:?}");
    assert_eq!(rounds.len(), 4, "{rounds:?}");
    let policy = policy(&double, "vpce-sqs");
    let statements = policy["Statement"].as_array().unwrap();
    assert!(statements.iter().any(|statement| statement["Sid"] == json!("New")), "{policy}");
    assert_eq!(listed(&double, "vpce-sqs"), [QUEUE]);
}

#[tokio::test]
async fn an_environment_that_is_right_takes_two_round_trips_and_no_write() {
    const LOOK: [&str; 3] = ["DescribeSubnets", "DescribeVpcEndpoints", "DescribeVpcEndpoints"];
    let again = async |event: Value, variables: &[(&str, &str)]| {
        let double = vpc();
        known_to_mwaa(&double, &event);
        deliver_with(&double, &event, variables).await.unwrap();
        rounds(&double, &event, variables).await
    };
    let last = vec!["DescribeVpcEndpoints"];
    // It has been waiting for hours, so that the doctor looks, too, after all else.
    let doctor = [
        "DescribeSecurityGroups",
        "DescribeSecurityGroups",
        "DescribeSubnets",
        "DescribeSubnets",
        "DescribeVpcEndpoints",
    ];
    let first = [&LOOK[..], &["GetEnvironment"]].concat();
    assert_eq!(again(private(), &[]).await, [first, last.clone(), doctor.to_vec()]);
    let first = [&["DescribeSecurityGroups"], &LOOK[..]].concat();
    assert_eq!(again(participants(), &[]).await, [first, last.clone(), doctor.to_vec()]);
    // The role in the participant's account is taken on once an hour.
    let first = [&["AssumeRole", "DescribeSecurityGroups"], &LOOK[..]].concat();
    assert_eq!(
        again(participants(), &ROLE).await,
        [first, vec!["GetEnvironment"], last, doctor.to_vec()]
    );
}

/// An event of an environment that is gone: its services are unknown, and nothing remembers its
/// queue.
#[tokio::test]
async fn a_queue_let_through_for_nothing_is_taken_back_even_if_it_cannot_be_read_back() {
    let lookups = |double: &Double| {
        let calls = double.take_calls(false);
        let looks = calls.iter().enumerate().filter(|(_, call)| *call == "DescribeVpcEndpoints");
        looks.map(|(at, _)| at).collect::<Vec<_>>()
    };
    let late = || {
        let double = vpc();
        let mut world = double.world();
        world.page = None;
        world.services.clear();
        drop(world);
        double
    };
    let double = late();
    deliver_to(&function(&double, 1, Settings::default()), &private()).await.unwrap_err();
    let read_back = lookups(&double)[2];
    assert_eq!(listed(&double, "vpce-sqs"), Vec::<String>::new());

    let double = late();
    double.world().faults.insert(read_back, Fault::Refused(503, "RequestLimitExceeded"));
    deliver_to(&function(&double, 1, Settings::default()), &private()).await.unwrap_err();
    let writes = double.take_calls(true).iter().filter(|call| *call == "ModifyVpcEndpoint").count();
    assert_eq!(writes, 2);
    assert_eq!(listed(&double, "vpce-sqs"), Vec::<String>::new());
}

#[tokio::test]
async fn an_environment_that_is_available_and_right_takes_two_round_trips_and_no_write() {
    let double = vpc();
    known_to_mwaa(&double, &private());
    deliver(&double, &private()).await.unwrap();
    let available = event(OWNER, "AVAILABLE", "PRIVATE_ONLY");
    assert_eq!(
        rounds(&double, &available, &[]).await,
        [
            vec![
                "DescribeSecurityGroups",
                "DescribeSubnets",
                "DescribeVpcEndpoints",
                "GetEnvironment"
            ],
            vec!["DescribeVpcEndpoints"],
        ]
    );
}

/// Its group, the group's rules and the endpoints that carry it depend on each other.
#[tokio::test]
async fn a_participants_environment_takes_two_round_trips_more_at_most() {
    let double = vpc();
    known_to_mwaa(&double, &participants());
    let first = rounds(&double, &participants(), &ROLE).await;
    assert_eq!(first.len(), 5, "{first:?}");
    let calls: Vec<&str> = first.iter().flatten().map(String::as_str).collect();
    let of = |action: &str| calls.iter().filter(|call| **call == action).count();
    assert_eq!(of("CreateSecurityGroup"), 1);
    assert_eq!(of("AuthorizeSecurityGroupIngress"), 1);
    assert_eq!(of("CreateVpcEndpoint"), 2);
    assert_eq!(calls.len(), 12, "{first:?}");

    // Where MWAA may not be asked, nothing waits for its answer.
    let double = vpc();
    let alone = rounds(&double, &participants(), &[]).await;
    assert_eq!(alone.len(), 4, "{alone:?}");
}

#[tokio::test]
async fn a_wrong_setting_and_another_region_are_told_without_a_call() {
    let double = vpc();
    let mut function = function(&double, 3, Settings::default());
    function.region = Some("eu-central-1".parse_region());
    let error = deliver_to(&function, &private()).await.unwrap_err().to_string();
    assert!(error.contains("eu-central-1"), "{error}");
    function.settings = Err("VPC_IDS: wrong".into());
    let error = deliver_to(&function, &private()).await.unwrap_err().to_string();
    assert!(error.contains("VPC_IDS"), "{error}");
    assert_eq!(double.take_calls(false), Vec::<String>::new());
}

#[tokio::test]
async fn of_endpoints_that_go_in_one_call_each_is_told_for_itself() {
    let double = vpc();
    deliver(&double, &private()).await.unwrap();
    let id = |service: &str| double.world().alive(service)[0].id.clone();
    let (database, webserver) = (id(&service("database")), id(&service("webserver")));
    double.world().undeletable.insert(database.clone());
    let deleted = later(event(OWNER, "DELETED", "PRIVATE_ONLY"), "2026-03-05T10:15:00Z");
    let report = failed_report(deliver(&double, &deleted).await);
    let outcome = |id: &str| {
        let its = |it: &&Resource| it.kind == Kind::Endpoint && it.id.as_deref() == Some(id);
        report.resources.iter().find(its).unwrap().outcome
    };
    assert_eq!(outcome(&database), Change::Failed);
    assert_eq!(outcome(&webserver), Change::Deleted);
}
