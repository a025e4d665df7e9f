//! The sweep of many environments: each has its turn, fails alone, and is told of once.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mwaa_vpc_endpoints::handler::{Answer, Invocation};
use mwaa_vpc_endpoints::sweep::SweepReport;
use serde_json::{Value, json};

use crate::double::{Environment, Fault, PARTICIPANT, Says, service};
use crate::scene::{
    DENIED, FUNCTION_ARN, NOW, OTHER_QUEUE, QUEUE, SILENT, Scene, THEN, dry, event, neighbour, own,
    shared, sweep,
};

/// A sweep that has this much time.
async fn swept_within(scene: &Scene, time: Duration) -> SweepReport {
    // No environment begins in the second half of an invocation's time.
    let deadline = Instant::now() + time * 2;
    let invocation = Invocation { function_arn: FUNCTION_ARN, request_id: "1", deadline };
    match scene.function.handle(sweep(), invocation).await.unwrap() {
        Answer::Sweep(report) => report,
        other => panic!("{other:?}"),
    }
}

async fn swept(scene: &Scene) -> SweepReport {
    swept_within(scene, Duration::from_secs(60)).await
}

fn estate(count: usize) -> Vec<Environment> {
    (0..count).map(|n| neighbour(&format!("e{n:03}"))).collect()
}

/// An environment of each name is asked about, whatever the length of the list and of an answer.
#[tokio::test]
async fn every_environment_is_asked_about() {
    let scene = Scene::new();
    let all = estate(20);
    all.iter().for_each(|it| _ = scene.is(it));
    let report = swept(&scene).await;
    assert_eq!((report.reached, report.not_reached, report.looked_at), (20, 0, 20));
    for environment in &all {
        assert_eq!(scene.world().asked(&environment.account, &environment.name), 1);
        assert!(scene.has_all(environment), "{}", environment.name);
    }
}

#[tokio::test]
async fn what_has_no_turn_is_counted_and_has_one_in_a_later_sweep() {
    let scene = Scene::new();
    let all = estate(24);
    for environment in &all {
        scene.is(environment);
    }
    swept(&scene).await;
    scene.forget_calls();
    scene.world().latency_of_mwaa = Duration::from_millis(20);
    let mut had_turns = BTreeSet::new();
    for sweeps in 1.. {
        assert!(sweeps < 60, "{} of 24 had a turn", had_turns.len());
        scene.at_minute(sweeps * 15);
        let report = swept_within(&scene, Duration::from_millis(130)).await;
        assert_eq!(report.reached + report.not_reached, 24);
        assert_eq!(report.stopped_before.is_some(), report.not_reached > 0);
        let asked = all.iter().filter(|it| scene.world().asked(&it.account, &it.name) > 0);
        had_turns.extend(asked.map(|it| it.name.clone()));
        if had_turns.len() == 24 {
            assert!(sweeps > 1, "all had a turn at once, which proves nothing");
            break;
        }
    }
}

/// Otherwise those at the end of the list would never be found.
#[tokio::test]
async fn every_account_is_listed_in_some_sweep() {
    let accounts: Vec<String> = (0..24).map(|n| format!("{}", 210_000_000_000_u64 + n)).collect();
    let scene = Scene::with(&[
        ("READER_ROLE", "mwaa-vpc-endpoints-reader-us-east-1"),
        ("PARTICIPANT_ACCOUNTS", &accounts.join(",")),
    ]);
    scene.world().latency_of.insert("ListEnvironments".into(), Duration::from_millis(20));
    for sweeps in 1.. {
        assert!(sweeps < 60);
        scene.at_minute(sweeps * 15);
        let report = swept_within(&scene, Duration::from_millis(200)).await;
        assert_eq!(report.warnings, Vec::new());
        let calls = scene.calls().into_iter().filter(|call| call.action == "ListEnvironments");
        let listed: BTreeSet<String> =
            calls.map(|call| call.parameters["Account"].clone()).collect();
        if accounts.iter().all(|account| listed.contains(account)) {
            assert!(sweeps > 1, "all had a turn at once, which proves nothing");
            break;
        }
        assert!(report.accounts_not_listed > 0);
    }
}

/// MWAA may be waiting for it.
#[tokio::test]
async fn environments_without_anything_come_first() {
    let scene = Scene::new();
    let old = estate(20);
    old.iter().for_each(|it| _ = scene.is(it));
    swept(&scene).await;
    let new = neighbour("z-new");
    scene.is(&new.with_status("PENDING"));
    scene.world().latency_of.insert("GetEnvironment".into(), Duration::from_millis(80));
    let report = swept_within(&scene, Duration::from_millis(200)).await;
    assert!(report.not_reached > 0, "all had a turn, which proves nothing");
    assert!(scene.has_all(&new));
}

#[tokio::test]
async fn several_are_asked_about_at_once_and_never_more_than_four() {
    let scene = Scene::new();
    estate(30).iter().for_each(|it| _ = scene.is(it));
    swept(&scene).await;
    scene.world().latency_of_mwaa = Duration::from_millis(20);
    let began = Instant::now();
    swept(&scene).await;
    let took = began.elapsed();
    // One list and thirty answers, four at once, take at least nine times 20 ms.
    assert!(took >= Duration::from_millis(180), "{took:?}");
    assert!(took < Duration::from_millis(31 * 20), "{took:?}: one after the other");
}

/// A VPC is looked at again only where something is to be written.
#[tokio::test]
async fn where_nothing_is_to_be_done_a_look_at_the_region_is_all() {
    let scene = Scene::new();
    estate(10).iter().for_each(|it| _ = scene.is(it));
    scene.serve(&shared()).await;
    swept(&scene).await;
    scene.forget_calls();
    swept(&scene).await;
    let mut looks: Vec<String> = scene.calls().into_iter().map(|call| call.action).collect();
    looks.retain(|action| !action.contains("Environment") && action != "AssumeRole");
    looks.sort();
    assert_eq!(looks, ["DescribeSecurityGroups", "DescribeSubnets", "DescribeVpcEndpoints"]);

    scene.lose(QUEUE);
    scene.forget_calls();
    swept(&scene).await;
    let looks = scene.calls().into_iter().filter(|call| call.action == "DescribeVpcEndpoints");
    let again = looks.filter(|call| !call.parameters.is_empty()).count();
    // Before the write, and after it.
    assert!(again >= 2, "{again}");
}

#[tokio::test]
async fn an_environment_in_which_something_fails_fails_alone() {
    for says in [None, Some(SILENT), Some(DENIED), Some(Says::This(json!({"Name": 1})))] {
        let scene = Scene::new();
        let (bad, good) = (neighbour("bad"), neighbour("good"));
        scene.is(&bad).is(&good);
        match &says {
            Some(says) => drop(scene.says(&bad, [says.clone(); 1])),
            // EC2 does not know its service.
            None => drop(scene.world().services.remove(&bad.database)),
        }
        let report = swept(&scene).await;
        assert!(scene.has_all(&good), "{says:?}: {report:?}");
        let told = serde_json::to_string(&report).unwrap();
        assert!(told.contains(":environment/bad"), "{says:?}: {told}");
    }
}

/// The next one comes by itself, and the queue of failed events is for events.
#[tokio::test]
async fn a_sweep_fails_only_if_nothing_could_be_looked_at() {
    let refused = || Some(Fault::Refused(403, "UnauthorizedOperation"));
    for action in ["DescribeVpcEndpoints", "DescribeSubnets", "DescribeSecurityGroups"] {
        let scene = Scene::new();
        scene.is(&own());
        scene.fail(action, refused());
        let deadline = Instant::now() + Duration::from_secs(60);
        let invocation = Invocation { function_arn: FUNCTION_ARN, request_id: "1", deadline };
        let error = scene.function.handle(sweep(), invocation).await.unwrap_err().to_string();
        assert!(error.contains(action), "{error}");
    }
    for action in ["CreateVpcEndpoint", "ModifyVpcEndpoint", "CreateTags", "CreateSecurityGroup"] {
        let scene = Scene::new();
        scene.is(&own()).is(&shared());
        scene.fail(action, refused());
        swept(&scene).await;
    }
}

#[tokio::test]
async fn in_a_sweep_an_environment_of_which_no_subnet_is_known_is_elsewhere_whoevers_it_is() {
    for environment in [own(), shared()] {
        let scene = Scene::new();
        scene.is(&environment.with_status("PENDING"));
        scene.world().subnets.clear();
        let report = swept(&scene).await;
        assert_eq!(report.failures, Vec::<String>::new());
        let failed = report.environments.iter().flat_map(|it| it.failures()).collect::<Vec<_>>();
        assert_eq!(failed, Vec::<String>::new());
        assert_eq!(scene.changes(), Vec::<String>::new());
    }
    // Its own event says so.
    let scene = Scene::new();
    scene.is(&own());
    scene.world().subnets.clear();
    assert!(scene.send(event(&own(), "PENDING", NOW)).await.failed);
}

/// Two environments of one VPC are served at once, and neither's queue is lost.
#[tokio::test]
async fn environments_of_one_vpc_write_its_policy_one_after_the_other() {
    let scene = Scene::new();
    let all = estate(8);
    all.iter().for_each(|it| _ = scene.is(it));
    scene.world().latency_of.insert("ModifyVpcEndpoint".into(), Duration::from_millis(30));
    scene.world().latency_of_mwaa = Duration::from_millis(10);
    let report = swept(&scene).await;
    assert!(all.iter().all(|it| scene.has_all(it)), "{report:?}");
    assert_eq!(scene.collisions(), BTreeSet::new());
    assert!(scene.policy_writes() <= all.len(), "{}", scene.policy_writes());
}

#[tokio::test]
async fn what_lasts_is_news_when_it_begins_when_it_ends_and_once_a_day() {
    let scene = Scene::new();
    scene.is(&own().with_status("PENDING"));
    scene.world().services.remove(&own().database);
    let mut told = Vec::new();
    for sweeps in 0..100 {
        scene.at_minute(sweeps * 15);
        let report = swept(&scene).await;
        assert!(!report.environments.is_empty(), "the result tells it each time");
        if report.news.contains(&own().arn()) {
            told.push(sweeps);
        } else {
            assert!(report.lasting > 0);
        }
    }
    // The first sweep also made what could be made.
    assert_eq!(told, [0, 96]);
    let again = swept(&scene).await;
    assert_eq!(again.ended, Vec::<String>::new());

    scene.is(&own());
    let report = swept(&scene).await;
    let ended =
        |report: &SweepReport| report.ended.iter().any(|it| it.contains("InvalidServiceName"));
    assert!(ended(&report), "{report:?}");
    assert!(!ended(&swept(&scene).await), "once");
}

#[tokio::test]
async fn a_dry_run_tells_all_and_takes_no_news_away() {
    let scene = Scene::new();
    scene.is(&own()).says(&own(), [DENIED]);
    scene.serve(&own()).await;
    scene.says(&own(), [DENIED]);
    scene.send(dry(sweep())).await;
    let report = swept(&scene).await;
    assert!(report.news.contains(&own().arn()), "{report:?}");
    assert_eq!(report.lasting, 0);
}

/// What was not looked at may still be so.
#[tokio::test]
async fn what_had_no_turn_has_not_ended() {
    let scene = Scene::new();
    let all = estate(12);
    for environment in &all {
        scene.is(&environment.with_status("PENDING"));
        scene.world().services.remove(&environment.database);
    }
    let first = swept(&scene).await;
    assert_eq!(first.environments.len(), 12);
    scene.world().latency_of_mwaa = Duration::from_millis(30);
    let second = swept_within(&scene, Duration::from_millis(60)).await;
    assert!(second.not_reached > 0);
    assert_eq!(second.ended, Vec::<String>::new());
}

/// Whatever happens to many, what is told stays short, and what was cut is counted.
#[tokio::test]
async fn a_result_has_at_most_32_kb_and_says_what_was_cut() {
    let scene = Scene::new();
    let all = estate(120);
    for environment in &all {
        scene.is(&environment.with_status("PENDING"));
        scene.world().services.remove(&environment.database);
    }
    scene.fail("ModifyVpcEndpoint", Some(Fault::Refused(400, "InvalidPolicyDocument")));
    let report = swept(&scene).await;
    assert_eq!(report.environments.len(), 120);
    let told = serde_json::to_string(&Answer::Sweep(report)).unwrap();
    assert!(told.len() <= 32 * 1024, "{}", told.len());
    let told: Value = serde_json::from_str(&told).unwrap();
    let shown = told["environments"].as_array().unwrap().len();
    assert_eq!(told["cut"]["environments"], json!(120 - shown));
    assert_eq!((&told["lookedAt"], &told["reached"]), (&json!(120), &json!(120)));
    // The worst are not what is cut.
    assert_eq!(told["environments"][0]["outcome"], json!("failed"));
}

#[tokio::test]
async fn whoever_cannot_be_asked_about_has_a_turn_too_and_knows_the_others_queues() {
    let scene = Scene::new();
    scene.serve(&own()).await;
    let other = Environment {
        account: PARTICIPANT.into(),
        database: service("database-other"),
        webserver: service("webserver-other"),
        queue: OTHER_QUEUE.into(),
        ..shared()
    };
    scene.serve(&other).await;
    scene.lose(OTHER_QUEUE);
    scene.world().closed_accounts.insert(PARTICIPANT.into());
    for n in 0..5 {
        scene.at_minute(n);
        scene.lose(OTHER_QUEUE);
        let report = swept(&scene).await;
        assert_eq!(report.not_reached, 0);
        assert!(scene.listed().contains(OTHER_QUEUE), "{n}: {report:?}");
    }
}

/// It is nobody's failure, and would be one for ever.
#[tokio::test]
async fn a_group_that_is_gone_is_a_warning_where_only_a_tag_remembers_it() {
    let scene = Scene::new();
    scene.serve(&shared()).await;
    for group in &mut scene.world().groups {
        group.rules.clear();
    }
    scene.world().unknown_groups.insert("sg-9".into());
    scene.says(&shared(), [DENIED, DENIED, DENIED, DENIED]);
    let told = scene.send(sweep()).await.ok();
    assert!(told.warns(&["sg-9", "InvalidGroup.NotFound"]), "{told:?}");
    // Where MWAA names it, somebody must know.
    scene.is(&shared());
    assert!(scene.send(sweep()).await.failed);
}

/// Gateway endpoints and those to resources and service networks have quotas of their own.
#[tokio::test]
async fn only_interface_and_load_balancer_endpoints_count_against_the_quota() {
    let scene = Scene::new();
    scene.serve(&own()).await;
    for kind in ["Gateway", "GatewayLoadBalancer", "Resource", "ServiceNetwork"] {
        scene.world().add_endpoint(&format!("vpce-{kind}"), "other", None).kind = kind.into();
    }
    let report = swept(&scene).await;
    // The SQS endpoint, the environment's two, and one.
    assert_eq!(report.vpcs[0].endpoints, 4, "{:?}", report.vpcs);
}

/// The SDK's shared cache of credentials keeps 64 of them.
#[tokio::test]
async fn of_many_participants_each_role_is_assumed_once() {
    let accounts: Vec<String> = (0..100).map(|n| format!("{}", 210_000_000_000_u64 + n)).collect();
    let scene = Scene::with(&[
        ("READER_ROLE", "mwaa-vpc-endpoints-reader-us-east-1"),
        ("PARTICIPANT_ACCOUNTS", &accounts.join(",")),
    ]);
    for _ in 0..3 {
        swept(&scene).await;
    }
    let roles: Vec<String> = scene
        .calls()
        .into_iter()
        .filter(|call| call.action == "AssumeRole")
        .map(|call| call.parameters["RoleArn"].clone())
        .collect();
    let once: BTreeSet<&String> = roles.iter().collect();
    assert_eq!((roles.len(), once.len()), (100, 100));
}

/// Nothing is lacking if a group cannot be put on an endpoint because it is gone; but an endpoint that
/// cannot be made is, whatever the reason.
#[tokio::test]
async fn an_endpoint_that_cannot_be_made_for_a_group_that_is_gone_is_a_failure() {
    let scene = Scene::new();
    scene.serve(&own()).await;
    let (database, webserver) = (scene.the(&own().database), scene.the(&own().webserver));
    scene.world().endpoint(&webserver).state = "deleted".into();
    scene.world().endpoint(&database).groups.clear();
    scene.world().groups.retain(|group| group.id != "sg-1");
    scene.says(&own(), [DENIED, DENIED, DENIED, DENIED]);
    let mut payload = event(&own(), "AVAILABLE", THEN);
    let network = &mut payload["detail"]["networkConfiguration"];
    network.as_object_mut().unwrap().remove("securityGroupIds");
    let told = scene.send(payload).await;
    assert!(told.failed, "{told:?}");
    let outcome = |role| {
        let lines = told.resources();
        lines.into_iter().find(|line| line["role"] == role).unwrap()["outcome"].clone()
    };
    assert_eq!((outcome("database"), outcome("webserver")), (json!("kept"), json!("failed")));
    assert!(told.warns(&["sg-1", &database]), "{told:?}");
}

/// EC2 has two codes for it. An endpoint that is being deleted for minutes carries the group so long.
#[tokio::test]
async fn a_group_that_is_in_use_is_left_for_a_later_sweep() {
    for code in ["DependencyViolation", "InvalidGroup.InUse"] {
        let scene = Scene::new();
        scene.serve(&shared()).await;
        scene.is_gone(&shared());
        scene.fail("DeleteSecurityGroup", Some(Fault::Refused(400, code)));
        let told = scene.send(event(&shared(), "DELETED", THEN)).await.ok();
        assert!(told.warns(&["still in use"]), "{code}: {told:?}");
        scene.fail("DeleteSecurityGroup", None);
        scene.send(sweep()).await.ok();
        assert!(scene.is_empty(), "{code}");
    }
}
