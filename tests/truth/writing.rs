//! How EC2 is looked at, and how a policy is written.

use std::time::Duration;

use serde_json::json;

use crate::double::{Call, Environment, Fault, World, service};
use crate::scene::*;

/// Longer than a look may be old.
const LONG: Duration = Duration::from_millis(700);

/// Lets Terraform write the policy of the SQS endpoint before the first call that `when` picks.
fn terraform_before(scene: &Scene, when: impl Fn(&Call) -> bool + Send + 'static) {
    let mut is_done = false;
    scene.double.meanwhile(move |world, call| {
        if !is_done && when(call) {
            is_done = true;
            world.overwrite_policy("vpce-sqs", DENY);
        }
    });
}

/// Terraform's statements, all of them, in the policy of the SQS endpoint.
fn keeps_the_deny(scene: &Scene) -> bool {
    scene.world().endpoint("vpce-sqs").policy.as_deref().unwrap().contains("Perimeter")
}

#[tokio::test]
async fn no_policy_is_written_from_a_look_that_mwaa_made_old() {
    for payload in [event(&own(), "AVAILABLE", THEN), event(&own(), "PENDING", THEN), sweep()] {
        let scene = Scene::new();
        scene.is(&own());
        scene.world().latency_of_mwaa = LONG;
        terraform_before(&scene, |call| call.action == "GetEnvironment");
        scene.send(payload.clone()).await.ok();
        assert!(keeps_the_deny(&scene), "{}", named(&payload));
        assert!(scene.listed().contains(QUEUE), "{}", named(&payload));
    }
}

/// While something is to be added and something to be taken away, MWAA is asked twice.
#[tokio::test]
async fn nor_from_one_that_the_second_question_made_old() {
    let public = own().public_only();
    for payload in [event(&public, "AVAILABLE", THEN), sweep()] {
        let scene = Scene::new();
        scene.serve(&own()).await;
        scene.is(&public).lose(QUEUE);
        scene.world().latency_of_mwaa = LONG;
        let mut n = 0;
        scene.double.meanwhile(move |world, call| {
            if call.action == "GetEnvironment" {
                n += 1;
                add_statement(world, &format!("Perimeter{n}"));
            }
        });
        scene.send(payload.clone()).await.ok();
        assert!(keeps_the_deny(&scene), "{}", named(&payload));
        assert!(scene.has_all(&public), "{}", named(&payload));
    }
}

/// The memory of an event comes before what it brings, and the mark before the withdrawal.
#[tokio::test]
async fn no_policy_is_written_from_a_look_that_other_calls_made_old() {
    for status in ["UPDATING", "AVAILABLE", "DELETED"] {
        let scene = Scene::new();
        scene.serve(&own()).await;
        if status == "DELETED" {
            scene.is_gone(&own());
        } else {
            // Where MWAA may not be asked, the memory counts.
            scene.says(&own(), [DENIED]).lose(QUEUE);
        }
        scene.world().latency_of.insert("CreateTags".into(), LONG);
        let mut is_done = false;
        scene.double.meanwhile(move |world, call| {
            if !is_done && call.action == "CreateTags" {
                is_done = true;
                add_statement(world, "Perimeter");
            }
        });
        scene.send(event(&own(), status, THEN)).await.ok();
        assert!(scene.changes().contains(&"CreateTags".to_owned()), "{status}");
        assert!(keeps_the_deny(&scene), "{status}");
        assert_eq!(scene.listed().contains(QUEUE), status != "DELETED", "{status}");
    }
}

/// Of everything that a sweep does, any call may take long.
#[tokio::test]
async fn a_sweep_writes_no_policy_from_an_old_look() {
    let scene = Scene::new();
    let (first, second) = (neighbour("a"), neighbour("b"));
    scene.serve(&first).await;
    scene.serve(&second).await;
    scene.world().overwrite_policy("vpce-sqs", FOREIGN);
    scene.is_gone(&first);
    let slow = ["DescribeSecurityGroups", "DescribeSubnets", "DeleteVpcEndpoints", "CreateTags"];
    scene.world().latency_of.extend(slow.map(|action| (action.into(), LONG)));
    scene.world().latency_of_mwaa = LONG;
    // Terraform writes, again and again, but never between a look and a write that follows at once.
    let mut n = 0;
    scene.double.meanwhile(move |world, call| {
        let looks_at_a_policy = call.action == "DescribeVpcEndpoints";
        if !looks_at_a_policy && !call.writes_policy() {
            n += 1;
            add_statement(world, &format!("Terraform{n}"));
        }
    });
    scene.send(sweep()).await.ok();
    assert!(scene.has_all(&second));
    assert!(scene.policy_writes() > 0);
}

/// Somebody else adds a statement to the policy, and leaves the others as they are.
fn add_statement(world: &mut World, sid: &str) {
    let text = world.endpoint("vpce-sqs").policy.clone().unwrap();
    let mut policy: serde_json::Value = serde_json::from_str(&text).unwrap();
    policy["Statement"].as_array_mut().unwrap().push(json!({
        "Sid": sid, "Effect": "Deny", "Principal": "*", "Action": "sqs:DeleteQueue", "Resource": "*"
    }));
    world.overwrite_policy("vpce-sqs", &policy.to_string());
}

#[tokio::test]
async fn a_look_that_takes_long_is_followed_by_the_write_at_once() {
    for (status, there) in [("PENDING", false), ("AVAILABLE", false), ("DELETED", true)] {
        let scene = Scene::new();
        if there {
            scene.serve(&own()).await;
            scene.is_gone(&own());
        } else {
            scene.is(&own());
        }
        scene.world().latency_of.insert("DescribeVpcEndpoints".into(), LONG);
        scene.send(event(&own(), status, THEN)).await.ok();
        assert_eq!(scene.policy_writes(), 1, "{status}");
        assert_eq!(scene.listed().contains(QUEUE), !there, "{status}");
        let calls = scene.calls();
        let looks = calls.iter().filter(|call| call.action == "DescribeVpcEndpoints").count();
        assert!(looks <= 6, "{status}: {looks} looks");
    }
}

/// The SDK's own retries would send the old document again.
#[tokio::test]
async fn a_write_that_is_refused_or_not_answered_is_decided_anew_from_a_new_look() {
    for fault in [
        Fault::Refused(503, "RequestLimitExceeded"),
        Fault::Refused(400, "Throttling"),
        Fault::Refused(500, "InternalError"),
        Fault::TimeoutBefore,
        Fault::LostAnswer,
    ] {
        for removes in [false, true] {
            let mut scene = Scene::new();
            scene.serve(&own()).await;
            if removes {
                scene.is_gone(&own());
            } else {
                scene.lose(QUEUE);
            }
            scene.function.ec2 = scene.double.ec2(3);
            let mut writes = 0;
            let mut is_done = false;
            scene.double.meanwhile(move |world, call| {
                if writes > 0 && !is_done {
                    is_done = true;
                    add_statement(world, "Perimeter");
                }
                if call.writes_policy() {
                    writes += 1;
                    if writes == 1 {
                        world.faults.insert(world.calls.len(), fault);
                    }
                }
            });
            let status = if removes { "DELETED" } else { "AVAILABLE" };
            let told = scene.send(event(&own(), status, THEN)).await;
            assert!(!told.failed, "{fault:?}, {status}: {told:?}");
            assert!(keeps_the_deny(&scene), "{fault:?}, {status}");
            assert_eq!(scene.listed().contains(QUEUE), !removes, "{fault:?}, {status}");
        }
    }
}

#[tokio::test]
async fn a_lag_of_a_few_looks_costs_at_most_two_writes() {
    for environment in [own(), shared()] {
        for lag in 0..=5 {
            for status in ["PENDING", "AVAILABLE"] {
                let scene = Scene::new();
                scene.is(&environment);
                scene.world().policy_lag = lag;
                let told = scene.send(event(&environment, status, THEN)).await;
                let writes = scene.policy_writes();
                assert!(!told.failed, "{status}, lag {lag}: {told:?}");
                assert!(scene.has_all(&environment), "{status}, lag {lag}");
                assert!((1..=2).contains(&writes), "{status}, lag {lag}: {writes} writes");
            }
        }
    }
}

#[tokio::test]
async fn another_organization_costs_at_most_two_writes_although_ec2_lags() {
    for payload in [event(&own(), "AVAILABLE", THEN), event(&own(), "PENDING", THEN), sweep()] {
        for lag in 0..=5 {
            let mut scene = Scene::new();
            scene.serve(&own()).await;
            scene.function.settings.as_mut().unwrap().organization = Some("o-a1b2c3d4e5".into());
            scene.world().policy_lag = lag;
            let told = scene.send(payload.clone()).await;
            let (at, writes) = (format!("{}, lag {lag}", named(&payload)), scene.policy_writes());
            assert!(!told.failed, "{at}: {told:?}");
            assert!((1..=2).contains(&writes), "{at}: {writes} writes");
            let policy = scene.world().endpoint("vpce-sqs").policy.clone().unwrap();
            assert!(policy.contains("o-a1b2c3d4e5") && policy.contains(QUEUE), "{at}: {policy}");
        }
    }
}

#[tokio::test]
async fn a_deletion_ends_in_one_delivery_although_ec2_lags() {
    for environment in [own(), shared()] {
        for lag in 0..=5 {
            let scene = Scene::new();
            scene.serve(&environment).await;
            scene.is_gone(&environment);
            scene.world().policy_lag = lag;
            let told = scene.send(event(&environment, "DELETED", THEN)).await;
            assert!(!told.failed, "lag {lag}: {told:?}");
            assert!(scene.is_empty(), "lag {lag}");
            assert!(scene.policy_writes() <= 2, "lag {lag}: {} writes", scene.policy_writes());
        }
    }
}

/// Nobody can tell a policy that is shown late from one that another tool restores.
#[tokio::test]
async fn a_queue_that_stays_missing_after_two_writes_fails_with_both_causes() {
    for lags in [true, false] {
        let scene = Scene::new();
        scene.is(&own());
        if lags {
            scene.world().policy_lag = usize::MAX;
        } else {
            scene.world().other_writer = Some(|endpoint| endpoint.policy = Some(FOREIGN.into()));
        }
        let error = scene.send(event(&own(), "PENDING", THEN)).await.err();
        assert_eq!(scene.policy_writes(), 2, "lags: {lags}");
        let says = |words: &[&str]| words.iter().any(|word| error.contains(word));
        assert!(
            says(&["somebody else", "another tool", "other tool", "another writer"]),
            "{error}"
        );
        assert!(says(&["lag", "late ", "behind", "not show", "still show"]), "{error}");
        // All else was done.
        assert_eq!(scene.alive(&own().database).len(), 1, "lags: {lags}");
    }
}

#[tokio::test]
async fn a_change_that_is_in_progress_is_waited_for() {
    for code in ["OperationInProgress", "IncorrectState"] {
        // A queue that joins a policy, and one that leaves it.
        for status in ["PENDING", "DELETED"] {
            let scene = Scene::new();
            if status == "DELETED" {
                scene.serve(&own()).await;
                scene.is_gone(&own());
            } else {
                scene.is(&own());
            }
            {
                let mut world = scene.world();
                world.busy_code = Some(code);
                world.busy.insert("vpce-sqs".into(), 3);
            }
            let told = scene.send(event(&own(), status, THEN)).await;
            assert!(!told.failed, "{code}, {status}: {told:?}");
            assert_eq!(scene.listed().contains(QUEUE), status == "PENDING", "{code}, {status}");
        }
        // A subnet and a group that an endpoint lacks, and a group that it must lose.
        let scene = Scene::new();
        scene.world().add_group("sg-2", "next");
        scene.serve(&own()).await;
        let after = own().with_groups(&["sg-2"]);
        scene.is(&after);
        let database = scene.the(&own().database);
        {
            let mut world = scene.world();
            world.endpoint(&database).subnets.remove("subnet-2");
            (world.busy_code, world.change_takes) = (Some(code), 3);
            world.busy.insert(database.clone(), 3);
        }
        let told = scene.send(event(&after, "AVAILABLE", THEN)).await;
        assert!(!told.failed, "{code}: {told:?}");
        let mut world = scene.world();
        let endpoint = world.endpoint(&database);
        assert_eq!((endpoint.subnets.len(), endpoint.groups.len()), (2, 1), "{code}");
        assert!(endpoint.groups.contains("sg-2"), "{code}");
    }
}

#[tokio::test]
async fn a_deletion_of_endpoints_that_are_being_changed_is_waited_for() {
    for code in ["OperationInProgress", "IncorrectState"] {
        let public = own().public_only();
        for payload in [event(&own(), "DELETED", THEN), event(&public, "AVAILABLE", THEN), sweep()]
        {
            let scene = Scene::new();
            scene.serve(&own()).await;
            let stays = payload["detail"]["status"] == json!("AVAILABLE");
            if stays {
                scene.is(&public);
            } else {
                scene.is_gone(&own());
            }
            let mut times = 0;
            scene.double.meanwhile(move |world, call| {
                if call.action == "DeleteVpcEndpoints" {
                    times += 1;
                    let fault = Fault::Refused(400, code);
                    if times <= 2 {
                        world.faults_of.insert(call.action.clone(), fault);
                    } else {
                        world.faults_of.remove(&call.action);
                    }
                }
            });
            let at = format!("{code}, {}", named(&payload));
            let told = scene.send(payload).await;
            assert!(!told.failed, "{at}: {told:?}");
            assert!(scene.alive(&own().webserver).is_empty(), "{at}: {told:?}");
            assert!(stays || scene.is_empty(), "{at}: {told:?}");
        }
    }
}

#[tokio::test]
async fn two_changes_of_one_endpoint_by_the_same_work_do_not_collide() {
    // It has other groups now.
    let updated = own().with_groups(&["sg-2"]);
    // It was made again: its queue joins the policy, and the one before leaves it.
    let made_again = Environment {
        database: service("database-after"),
        webserver: service("webserver-after"),
        queue: OTHER_QUEUE.into(),
        ..own()
    };
    for after in [updated, made_again] {
        for payload in [event(&after, "AVAILABLE", THEN), sweep()] {
            let scene = Scene::new();
            scene.world().add_group("sg-2", "next");
            scene.serve(&own()).await;
            scene.is(&after);
            let database = scene.the(&own().database);
            {
                let mut world = scene.world();
                world.endpoint(&database).subnets.remove("subnet-2");
                (world.latency, world.change_takes) = (Duration::from_millis(5), 2);
            }
            let told = scene.send(payload.clone()).await;
            assert!(!told.failed, "{}: {told:?}", named(&payload));
            assert!(scene.collisions().is_empty(), "{}: {:?}", named(&payload), scene.collisions());
            assert_eq!(scene.listed(), [after.queue.clone()].into(), "{}", named(&payload));
        }
    }
}

/// What one call can do takes one.
#[tokio::test]
async fn what_an_endpoint_lacks_is_added_in_one_change() {
    let scene = Scene::new();
    scene.serve(&own()).await;
    let database = scene.the(&own().database);
    {
        let mut world = scene.world();
        world.add_group("sg-2", "more");
        world.endpoint(&database).subnets.remove("subnet-2");
        world.change_takes = 2;
    }
    let after = own().with_groups(&["sg-1", "sg-2"]);
    scene.is(&after).send(event(&after, "UPDATING", THEN)).await.ok();
    let of_it = |call: &&Call| call.parameters.get("VpcEndpointId") == Some(&database);
    assert_eq!(scene.calls().iter().filter(of_it).count(), 1);
}

#[tokio::test]
async fn if_not_all_queues_fit_into_a_policy_the_own_one_goes_in_with_a_warning() {
    let neighbours: Vec<_> = (0..4).map(|n| neighbour(&format!("n{n}"))).collect();
    // Somebody else's statement leaves room for ours with one queue and no second one.
    let ours = r#"{"Sid":"MwaaCeleryQueues","Effect":"Allow","Principal":"*","Action":["sqs:ChangeMessageVisibility","sqs:DeleteMessage","sqs:GetQueueAttributes","sqs:GetQueueUrl","sqs:ReceiveMessage","sqs:SendMessage"],"Resource":[""]},"#;
    let room = ours.len() + QUEUE.len() + 20;
    let policy = |fill: usize| {
        let filler = "x".repeat(fill);
        format!(
            r#"{{"Statement":[{{"Sid":"Long","Effect":"Allow","Principal":"*","Action":"sqs:ListQueues","Resource":"arn:aws:sqs:us-east-1:111122223333:{filler}"}}]}}"#
        )
    };
    let fill = 20_480 - room - policy(0).len();
    for payload in [event(&own(), "PENDING", THEN), event(&own(), "AVAILABLE", THEN), sweep()] {
        let scene = Scene::new();
        for neighbour in &neighbours {
            scene.serve(neighbour).await;
        }
        scene.world().overwrite_policy("vpce-sqs", &policy(fill));
        scene.is(&own());
        let is_sweep = payload == sweep();
        let told = scene.send(payload).await;
        // A sweep does for each what it can, and the rest fails.
        assert_eq!(scene.listed().len(), 1, "{told:?}");
        if !is_sweep {
            assert!(!told.failed, "{told:?}");
            assert_eq!(scene.listed(), [QUEUE.to_owned()].into(), "{told:?}");
            assert!(told.warns(&["480"]), "{told:?}");
        }
    }
}

#[tokio::test]
async fn a_queue_of_what_is_left_behind_is_nobodys_reason_to_write() {
    for payload in [event(&own(), "AVAILABLE", FIRST), event(&own(), "PENDING", FIRST)] {
        let scene = Scene::new();
        let gone = neighbour("gone");
        scene.serve(&gone).await;
        scene.serve(&own()).await;
        // Its endpoints could not be deleted yet; its queue is out of the policy.
        scene
            .is_gone(&gone)
            .fail("DeleteVpcEndpoints", Some(Fault::Refused(400, "OperationNotPermitted")));
        scene.send(event(&gone, "DELETED", THEN)).await.err();
        scene.fail("DeleteVpcEndpoints", None);
        assert!(!scene.listed().contains(&gone.queue));
        assert!(scene.tag(&scene.the(&gone.database), "gone").is_some(), "it is not marked");
        scene.forget_calls();
        let told = scene.send(payload.clone()).await.ok();
        assert_eq!(scene.changes(), Vec::<String>::new(), "{}: {told:?}", named(&payload));
    }
}

#[tokio::test]
async fn of_endpoints_that_go_in_one_call_the_one_that_is_being_changed_is_waited_for() {
    for (times, fails) in [(1, false), (3, false), (1000, true)] {
        for payload in [event(&own(), "DELETED", THEN), sweep()] {
            let scene = Scene::new();
            scene.serve(&own()).await;
            scene.is_gone(&own());
            let busy = scene.the(&own().database);
            scene.world().busy_in_deletion.insert(busy.clone(), times);
            let told = scene.send(payload.clone()).await;
            let at = format!("{times}, {}: {told:?}", named(&payload));
            assert_eq!(told.failed, fails, "{at}");
            assert!(scene.alive(&own().webserver).is_empty(), "{at}");
            assert_eq!(scene.alive(&own().database).is_empty(), !fails, "{at}");
            let other = told.resources().into_iter().find(|it| it["role"] == "webserver").unwrap();
            assert_eq!(other["outcome"], "deleted", "{at}");
        }
    }
}

/// Otherwise a parallel delivery puts the queue back.
#[tokio::test]
async fn the_mark_comes_before_the_withdrawal() {
    for environment in [own(), shared()] {
        for payload in [event(&environment, "DELETED", THEN), sweep()] {
            let scene = Scene::new();
            scene.serve(&environment).await;
            scene.is_gone(&environment);
            scene.send(payload.clone()).await.ok();
            let calls = scene.calls();
            let withdrawal = calls.iter().position(Call::writes_policy).unwrap();
            let mark = calls.iter().position(|call| {
                call.parameters.values().any(|value| value == "mwaa-vpc-endpoints/gone")
            });
            assert!(mark.is_some_and(|mark| mark < withdrawal), "{}: {mark:?}", named(&payload));
            assert!(scene.is_empty(), "{}", named(&payload));
        }
    }
}

/// EC2 says by `IdempotentParameterMismatch` that it was asked for before.
#[tokio::test]
async fn an_endpoint_that_was_asked_for_within_the_hour_and_is_not_listed_is_not_made_again() {
    for (now, is_made) in [("2026-03-04T10:20:00Z", false), ("2026-03-04T12:20:00Z", true)] {
        for hidden in [16, usize::MAX] {
            let mut scene = Scene::new();
            scene.function.mwaa = None;
            scene.is(&own()).world().lag = hidden;
            scene.at(now).send(event(&own(), "PENDING", "2026-03-04T10:14:00Z")).await.ok();
            let told = scene.send(event(&own(), "PENDING", THEN)).await;
            let count = scene.alive(&own().database).len();
            let at = format!("at {now}, hidden {hidden}: {told:?}");
            if is_made {
                assert!(hidden < usize::MAX || !told.failed && count == 2, "{at}");
                continue;
            }
            assert_eq!(count, 1, "{at}");
            assert!(told.failed || hidden < usize::MAX, "{at}");
            // The next delivery looks.
            scene.world().settle();
            scene.send(event(&own(), "PENDING", THEN)).await.ok();
            assert_eq!(scene.alive(&own().database).len(), 1, "{at}");
        }
    }
}

/// A sweep and a replay have no event; MWAA says when it was asked for something last.
#[tokio::test]
async fn without_an_event_mwaas_last_update_says_how_long_ago_an_endpoint_was_asked_for() {
    for (updated, is_made) in [("2026-03-04T10:55:00Z", false), ("2026-03-04T09:00:00Z", true)] {
        let scene = Scene::new();
        let environment = Environment { updated: Some(seconds(updated)), ..own() };
        scene.is(&environment).world().lag = usize::MAX;
        scene.send(event(&environment, "PENDING", updated)).await.ok();
        let told = scene.send(sweep()).await;
        let count = scene.alive(&service("database")).len();
        assert!(if is_made { !told.failed } else { count == 1 }, "updated {updated}: {told:?}");
    }
}

/// Whatever the second delivery is, and however long EC2 takes to list what the first one made.
#[tokio::test]
async fn no_lag_makes_a_twin() {
    for lag in [1, 4, 16, 40] {
        for payload in [
            event(&own(), "PENDING", LATER),
            event(&own(), "UPDATING", LATER),
            replay(&own()),
            sweep(),
        ] {
            let scene = Scene::new();
            let now = Environment { updated: Some(seconds(THEN)), ..own() };
            scene.is(&now).world().lag = lag;
            scene.send(event(&now, "PENDING", THEN)).await.ok();
            for _ in 0..3 {
                let _ = scene.send(payload.clone()).await;
            }
            for service in [&now.database, &now.webserver] {
                assert_eq!(scene.alive(service).len(), 1, "lag {lag}, {}", named(&payload));
            }
        }
    }
}

/// Whatever a write has to wait for.
#[tokio::test]
async fn pauses_come_before_a_look_and_never_between_a_look_and_a_write() {
    for busy in [false, true] {
        let mut scene = Scene::new();
        scene.is(&own());
        // A pause as long as that makes every look old that was before it.
        scene.function.ec2.pause = LONG;
        if busy {
            scene.world().busy.insert("vpce-sqs".into(), 1);
        } else {
            let (mut has_written, mut is_done) = (false, false);
            scene.double.meanwhile(move |world, call| {
                if has_written && !is_done {
                    is_done = true;
                    world.overwrite_policy("vpce-sqs", DENY);
                }
                has_written |= call.writes_policy();
            });
        }
        let told = scene.send(event(&own(), "PENDING", THEN)).await;
        assert!(!told.failed && scene.has_all(&own()), "{told:?}");
        assert!(busy || keeps_the_deny(&scene));
    }
}
