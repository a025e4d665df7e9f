//! What is ours, and whose word a tag is: whoever may call CreateTags can write our tags.

use std::time::Duration;

use serde_json::{Value, json};

use crate::double::{
    Call, Endpoint, Environment, Group, OWNER, PARTICIPANT, Says, Tags, VPC, service,
};
use crate::scene::*;

const EVIL: &str = "arn:aws:sqs:us-east-1:555555555555:airflow-celery-evil";

/// Endpoints of somebody else's with tags of ours, each with something that no endpoint of ours has.
fn plant_endpoints(scene: &Scene, environment: &Environment) {
    let (arn, svc) = (environment.arn(), service("somebodys"));
    let elsewhere = arn.replace("us-east-1", "eu-west-1");
    let aws = |name: &str| format!("com.amazonaws.us-east-1.{name}");
    for (id, kind, service, arn, role) in [
        ("vpce-s3", "Gateway", aws("s3"), Some(arn.as_str()), Some("database")),
        ("vpce-logs", "Interface", aws("logs"), Some(arn.as_str()), Some("webserver")),
        ("vpce-fips", "Interface", aws("sqs-fips"), Some(arn.as_str()), Some("database")),
        ("vpce-gwlb", "GatewayLoadBalancer", svc.clone(), Some(arn.as_str()), Some("database")),
        ("vpce-no-role", "Interface", svc.clone(), Some(arn.as_str()), None),
        ("vpce-other-role", "Interface", svc.clone(), Some(arn.as_str()), Some("security-group")),
        ("vpce-elsewhere", "Interface", svc.clone(), Some(elsewhere.as_str()), Some("database")),
        ("vpce-no-arn", "Interface", svc.clone(), Some("arn:aws:airflow:x"), Some("database")),
        ("vpce-no-environment", "Interface", svc.clone(), None, Some("database")),
    ] {
        scene.world().add_endpoint(id, &service, None).kind = kind.into();
        let tags = [("environment", arn), ("role", role), ("queue", Some(EVIL))];
        let tags: Vec<_> = tags.into_iter().filter_map(|(k, v)| Some((k, v?))).collect();
        scene.plant(id, &tags);
    }
    // And the one whose policy is written.
    scene.plant("vpce-sqs", &[("environment", &arn), ("role", "database"), ("queue", EVIL)]);
}

/// What somebody else has, with the policies left out.
fn others(scene: &Scene) -> (Vec<Endpoint>, Vec<Group>) {
    let world = scene.world();
    let not_ours = |id: &String| !world.ours.contains(id);
    let endpoints = world.endpoints.iter().filter(|e| not_ours(&e.id)).cloned();
    let endpoints = endpoints.map(|endpoint| Endpoint { policy: None, ..endpoint });
    let groups = world.groups.iter().filter(|group| not_ours(&group.id)).cloned();
    (endpoints.collect(), groups.collect())
}

#[tokio::test]
async fn an_endpoint_with_planted_tags_is_never_deleted_or_changed() {
    for environment in [own(), shared()] {
        for there in [false, true] {
            for (says, payload) in [
                (None, event(&environment, "DELETED", THEN)),
                (Some(DENIED), event(&environment, "DELETED", THEN)),
                (None, sweep()),
                (
                    Some(Says::from(&environment.public_only())),
                    event(&environment, "AVAILABLE", THEN),
                ),
                (Some(Says::from(&environment.public_only())), sweep()),
                (Some(Says::from(&environment)), event(&environment, "PENDING", THEN)),
                (Some(DENIED), sweep()),
            ] {
                let scene = Scene::new();
                if there {
                    scene.serve(&environment).await;
                }
                scene.is_gone(&environment);
                if let Some(says) = &says {
                    scene.says(&environment, [says.clone()]);
                }
                plant_endpoints(&scene, &environment);
                let before = others(&scene);
                let told = scene.send(payload.clone()).await;
                assert_eq!(others(&scene), before, "{says:?}, {}: {told:?}", named(&payload));
            }
        }
    }
}

/// Neither makes it ours an environment of which nothing is known, nor is it the endpoint that the
/// environment needs.
#[tokio::test]
async fn an_endpoint_with_planted_tags_does_not_count_as_ours() {
    for says in [DENIED, SILENT] {
        let scene = Scene::new();
        plant_endpoints(&scene, &own());
        scene.says(&own(), [says]);
        let payload = without(event(&own(), "UPDATING", THEN), &["endpointManagement"]);
        let told = scene.send(payload).await.ok();
        assert_eq!(told.outcome(), "ignored", "{told:?}");
        assert_eq!(scene.changes(), Vec::<String>::new());
    }
    // What its tags remember fills nothing in.
    let scene = Scene::new();
    plant_endpoints(&scene, &own());
    scene.is(&own()).says(&own(), [DENIED]);
    let unnamed = ["databaseVpcEndpointService", "celeryExecutorQueue"];
    scene.send(without(event(&own(), "UPDATING", THEN), &unnamed)).await.ok();
    assert_eq!(scene.alive(&own().webserver).len(), 1);
    assert_eq!(scene.alive(&service("somebodys")).len(), 6, "none was made");
    assert!(!scene.listed().contains(EVIL));
}

/// An endpoint in the tags of which there is a newer event orders nothing if it is not ours.
#[tokio::test]
async fn a_planted_event_time_orders_nothing() {
    let scene = Scene::new();
    plant_endpoints(&scene, &own());
    for id in ["vpce-s3", "vpce-logs", "vpce-no-role", "vpce-gwlb", "vpce-sqs"] {
        scene.plant(id, &[("event-time", "2036-01-01T00:00:00Z")]);
    }
    scene.is(&own()).says(&own(), [DENIED]);
    let told = scene.send(event(&own(), "PENDING", THEN)).await.ok();
    assert!(scene.has_all(&own()), "{told:?}");
}

#[tokio::test]
async fn a_planted_queue_opens_no_policy() {
    for payload in [
        event(&own(), "PENDING", THEN),
        event(&own(), "UPDATING", THEN),
        event(&own(), "AVAILABLE", THEN),
        sweep(),
    ] {
        for environment in [own(), neighbour("other")] {
            for says in [Says::from(&own()), DENIED, SILENT] {
                let scene = Scene::new();
                scene.serve(&own()).await;
                plant_endpoints(&scene, &environment);
                scene.says(&own(), [says.clone()]);
                let told = scene.send(payload.clone()).await;
                assert!(!scene.listed().contains(EVIL), "{says:?}, {}: {told:?}", named(&payload));
            }
        }
    }
}

/// Neither an endpoint that belongs there nor a queue that only a tag says to be there.
#[tokio::test]
async fn nothing_of_another_region_opens_a_policy_of_this_one() {
    const WEST: &str = "arn:aws:sqs:us-west-2:555555555555:airflow-celery-9";
    let elsewhere = format!("arn:aws:airflow:us-west-2:{OWNER}:environment/other");
    for variables in [true, false] {
        for payload in deliveries().into_iter().chain([sweep()]) {
            let scene = if variables { Scene::new() } else { Scene::with(&[]) };
            let service = "com.amazonaws.vpce.us-west-2.vpce-svc-1";
            scene.world().add_endpoint("vpce-west", service, None);
            scene.plant(
                "vpce-west",
                &[("environment", &elsewhere), ("role", "database"), ("queue", WEST)],
            );
            scene.serve(&neighbour("other")).await;
            for service in [&neighbour("other").database, &neighbour("other").webserver] {
                scene.plant(&scene.the(service), &[("queue", WEST)]);
            }
            scene.is(&own()).says(&neighbour("other"), [DENIED]);
            let told = scene.send(payload.clone()).await.ok();
            assert!(scene.listed().contains(QUEUE), "{}: {told:?}", named(&payload));
            assert!(!scene.listed().contains(WEST), "{}: {told:?}", named(&payload));
        }
    }
}

/// A participant's group with the name and all tags of the one that is kept for its environment.
fn plant_group(scene: &Scene) {
    let name = format!("mwaa-{PARTICIPANT}-analytics");
    let tags = [
        ("environment", shared().arn()),
        ("role", "security-group".into()),
        ("queue", EVIL.into()),
    ];
    let tags: Tags = tags.map(|(key, value)| (format!("mwaa-vpc-endpoints/{key}"), value)).into();
    scene.world().groups.insert(
        0,
        Group {
            id: "sg-0participants".into(),
            vpc: VPC.into(),
            name,
            owner: PARTICIPANT.into(),
            tags,
            rules: [(format!("tcp/5432/{PARTICIPANT}/sg-9"), "metadata database".into())].into(),
            hidden: 0,
        },
    );
}

#[tokio::test]
async fn a_participants_group_of_that_name_and_with_our_tags_is_never_taken_for_ours() {
    for planted_before in [true, false] {
        let scene = Scene::new();
        if planted_before {
            plant_group(&scene);
        }
        scene.serve(&shared()).await;
        if !planted_before {
            plant_group(&scene);
        }
        let before = others(&scene);
        let own_group = |scene: &Scene| {
            let world = scene.world();
            world.groups.iter().find(|group| world.ours.contains(&group.id)).cloned()
        };
        let group = own_group(&scene).expect("a group of the owner's");
        let database = scene.the(&shared().database);
        assert_eq!(scene.world().endpoint(&database).groups, [group.id.clone()].into());
        for payload in
            [event(&shared(), "UPDATING", THEN), event(&shared(), "AVAILABLE", THEN), sweep()]
        {
            let told = scene.send(payload).await.ok();
            assert!(!told.warns(&["sg-0participants"]), "{told:?}");
            assert_eq!(others(&scene), before);
        }
        scene.is_gone(&shared());
        scene.send(event(&shared(), "DELETED", THEN)).await.ok();
        scene.send(sweep()).await.ok();
        assert!(scene.is_empty());
        assert_eq!(others(&scene), before);
    }
}

#[tokio::test]
async fn nothing_is_done_for_a_group_that_is_a_participants_alone() {
    for payload in [event(&shared(), "DELETED", THEN), sweep()] {
        let scene = Scene::new();
        plant_group(&scene);
        scene.send(payload).await.ok();
        assert_eq!(scene.changes(), Vec::<String>::new());
    }
    let scene = Scene::new();
    plant_group(&scene);
    scene.says(&shared(), [DENIED]);
    let payload = without(event(&shared(), "UPDATING", THEN), &["endpointManagement"]);
    assert_eq!(scene.send(payload).await.ok().outcome(), "ignored");
}

/// Then only the owner of the VPC says whose a group is.
#[tokio::test]
async fn a_participants_group_is_not_touched_where_the_own_account_is_not_known() {
    for (payload, is_gone) in [
        (event(&shared(), "DELETED", THEN), true),
        (event(&shared(), "AVAILABLE", THEN), false),
        (sweep(), true),
        (sweep(), false),
    ] {
        for there in [true, false] {
            let scene = Scene::new();
            if there {
                scene.serve(&shared()).await;
            }
            plant_group(&scene);
            if is_gone {
                scene.is_gone(&shared());
            }
            let before = others(&scene);
            scene.forget_calls();
            let (told, violations) = scene.send_as("_", payload.clone()).await;
            let at = format!("{}, there {there}, gone {is_gone}: {told:?}", named(&payload));
            assert_eq!(violations, Vec::<String>::new(), "{at}");
            assert_eq!(others(&scene), before, "{at}");
            let theirs = |call: &&Call| call.parameters.values().any(|v| v == "sg-0participants");
            let calls = scene.calls();
            let touched: Vec<&Call> = calls.iter().filter(|c| !c.reads()).filter(theirs).collect();
            assert!(touched.is_empty(), "{at}: {touched:?}");
        }
    }
}

#[tokio::test]
async fn groups_are_looked_for_by_their_owner() {
    for environment in [own(), shared()] {
        let scene = Scene::new();
        scene.serve(&environment).await;
        for status in ["PENDING", "UPDATING", "AVAILABLE"] {
            scene.send(event(&environment, status, THEN)).await.ok();
        }
        scene.send(sweep()).await.ok();
        scene.is_gone(&environment);
        scene.send(sweep()).await.ok();
        scene.send(event(&environment, "DELETED", LATER)).await.ok();
        let calls = scene.calls();
        // All but what the doctor examines of an environment that waits: groups by their ids and VPC.
        let is_by_tag =
            |call: &&Call| call.parameters.values().any(|value| value.starts_with("tag"));
        let looks: Vec<&Call> = calls
            .iter()
            .filter(|call| call.action == "DescribeSecurityGroups")
            .filter(is_by_tag)
            .collect();
        let by_owner = |call: &&&Call| {
            call.parameters.iter().any(|(key, value)| {
                value == "owner-id"
                    && call.parameters.get(&key.replace("Name", "Value.1")).map(String::as_str)
                        == Some(OWNER)
            })
        };
        assert!(!looks.is_empty());
        assert_eq!(looks.iter().filter(by_owner).count(), looks.len(), "{looks:?}");
    }
}

/// Neighbours that were served, and whose queues are in the policy.
async fn neighbours(names: &[&str]) -> Scene {
    let scene = Scene::new();
    for name in names {
        scene.serve(&neighbour(name)).await;
    }
    scene.serve(&own()).await;
    scene
}

fn deliveries() -> [Value; 3] {
    ["PENDING", "UPDATING", "AVAILABLE"].map(|status| event(&own(), status, FIRST))
}

#[tokio::test]
async fn any_delivery_puts_back_neighbours_missing_queues_and_asks_mwaa_about_just_those() {
    for payload in deliveries() {
        let scene = neighbours(&["a", "b", "c", "d"]).await;
        scene.lose(&neighbour("b").queue);
        scene.lose(&neighbour("d").queue);
        scene.world().latency = Duration::from_millis(10);
        let told = scene.send(payload.clone()).await.ok();
        for name in ["a", "b", "c", "d"] {
            assert!(
                scene.listed().contains(&neighbour(name).queue),
                "{} {name}: {told:?}",
                named(&payload)
            );
            let asked = scene.world().asked(OWNER, name);
            assert_eq!(
                asked,
                usize::from(name == "b" || name == "d"),
                "{} {name}",
                named(&payload)
            );
        }
        let calls = scene.calls();
        let rounds: Vec<usize> = calls
            .iter()
            .filter(|call| {
                ["b", "d"].map(Some).contains(&call.parameters.get("Name").map(|n| &**n))
            })
            .map(|call| call.round)
            .collect();
        assert_eq!(rounds[0], rounds[1], "{}: they are asked side by side", named(&payload));
        assert_eq!(scene.policy_writes(), 1, "{}", named(&payload));
    }
}

#[tokio::test]
async fn with_two_sqs_endpoints_a_neighbour_is_asked_about_once() {
    for payload in deliveries() {
        for there in [true, false] {
            let scene = Scene::new();
            scene.world().add_endpoint("vpce-fips", &format!("{SQS}-fips"), Some(FOREIGN));
            scene.serve(&neighbour("other")).await;
            if there {
                scene.serve(&own()).await;
            }
            for id in ["vpce-sqs", "vpce-fips"] {
                scene.world().overwrite_policy(id, FOREIGN);
            }
            scene.is(&own()).world().latency = Duration::from_millis(5);
            scene.forget_calls();
            scene.send(payload.clone()).await.ok();
            let at = format!("{}, there {there}", named(&payload));
            assert_eq!(scene.world().asked(OWNER, "other"), 1, "{at}");
            assert_eq!(scene.world().asked(OWNER, "analytics"), 1, "{at}");
            for id in ["vpce-sqs", "vpce-fips"] {
                let policy = scene.world().endpoint(id).policy.clone().unwrap();
                let both: [String; 2] = [QUEUE.into(), neighbour("other").queue];
                assert_eq!(listed(&policy), both.into(), "{at}, {id}");
            }
        }
    }
}

#[tokio::test]
async fn a_neighbour_that_mwaa_does_not_know_any_more_gets_no_queue_back() {
    for payload in deliveries() {
        let scene = neighbours(&["gone"]).await;
        scene.lose(&neighbour("gone").queue);
        scene.is_gone(&neighbour("gone"));
        scene.send(payload.clone()).await.ok();
        assert_eq!(scene.listed(), [QUEUE.to_owned()].into(), "{}", named(&payload));
    }
}

#[tokio::test]
async fn without_a_reply_about_a_neighbour_its_queue_is_left_to_its_own_delivery() {
    for payload in deliveries() {
        let scene = neighbours(&["other"]).await;
        let other = neighbour("other");
        scene.lose(&other.queue);
        scene.says(&other, [SILENT]);
        scene.send(payload.clone()).await.ok();
        assert_eq!(scene.listed(), [QUEUE.to_owned()].into(), "{}", named(&payload));
        scene.is(&other).send(event(&other, "AVAILABLE", THEN)).await.ok();
        assert!(scene.listed().contains(&other.queue), "{}", named(&payload));
    }
}

/// Changes the queue in the tags of both endpoints of an environment.
fn replace_tags(scene: &Scene, environment: &Environment, queue: &str) {
    for service in [&environment.database, &environment.webserver] {
        scene.plant(&scene.the(service), &[("queue", queue)]);
    }
}

#[tokio::test]
async fn where_mwaa_answers_a_queue_tag_that_says_otherwise_is_put_right_with_a_warning() {
    let own_or_neighbour = [own(), neighbour("other")];
    for changed in own_or_neighbour {
        for payload in [event(&own(), "UPDATING", THEN), event(&own(), "AVAILABLE", THEN), sweep()]
        {
            for is_lost in [false, true] {
                let scene = neighbours(&["other"]).await;
                replace_tags(&scene, &changed, EVIL);
                if is_lost {
                    scene.lose(&changed.queue);
                }
                let told = scene.send(payload.clone()).await.ok();
                let at = format!("{}, {}, lost {is_lost}: {told:?}", changed.name, named(&payload));
                assert!(!scene.listed().contains(EVIL), "{at}");
                assert!(scene.listed().contains(&changed.queue), "{at}");
                for service in [&changed.database, &changed.webserver] {
                    let tag = scene.tag(&scene.the(service), "queue");
                    assert_eq!(tag.as_ref(), Some(&changed.queue), "{at}");
                }
                assert!(told.warns(&[EVIL]), "{at}");
            }
        }
    }
}

#[tokio::test]
async fn where_mwaa_may_not_be_asked_a_tag_counts_only_for_a_celery_queue_of_a_known_account() {
    let arn = |account: &str, name: &str| format!("arn:aws:sqs:us-east-1:{account}:{name}");
    for (queue, counts) in [
        (arn("555555555555", "airflow-celery-b"), true),
        (arn("555555555555", "secrets"), false),
        (arn("555555555555", "my-airflow-celery-b"), false),
        (arn("999988887777", "airflow-celery-b"), false),
    ] {
        for payload in deliveries() {
            let scene = neighbours(&["other"]).await;
            scene.lose(&neighbour("other").queue);
            replace_tags(&scene, &neighbour("other"), &queue);
            scene.says(&neighbour("other"), [DENIED]);
            let told = scene.send(payload.clone()).await.ok();
            let at = format!("{queue}, {}: {told:?}", named(&payload));
            assert_eq!(scene.listed().contains(&queue), counts, "{at}");
            assert!(counts || told.warns(&[&queue, "replay"]), "{at}");
        }
    }
}

/// What the tags say of one environment is no word for another's.
#[tokio::test]
async fn an_account_that_only_tags_name_is_not_known() {
    let mut scene = neighbours(&["other"]).await;
    scene.lose(&neighbour("other").queue);
    scene.function.mwaa = None;
    let payload = without(event(&own(), "UPDATING", THEN), &["celeryExecutorQueue"]);
    let told = scene.send(payload).await.ok();
    assert_eq!(scene.listed(), [QUEUE.to_owned()].into(), "{told:?}");
    assert!(told.warns(&[&neighbour("other").queue, "replay"]), "{told:?}");
    // A replay of the one is the word for the other.
    scene.send(replay(&own())).await.ok();
    assert!(scene.listed().contains(&neighbour("other").queue));
}

/// In a sweep one environment that MWAA answers about is the word for all queues of that account.
#[tokio::test]
async fn a_sweep_knows_the_accounts_of_queues_from_mwaa() {
    for knows in [true, false] {
        let scene = Scene::new();
        scene.serve(&shared()).await;
        if knows {
            scene.serve(&neighbour("known")).await;
        }
        scene.world().closed_accounts.insert(PARTICIPANT.into());
        scene.lose(QUEUE);
        let told = scene.send(sweep()).await.ok();
        assert_eq!(scene.listed().contains(QUEUE), knows, "{told:?}");
        assert!(knows || told.warns(&[QUEUE, "replay"]), "{told:?}");
        assert_eq!(told.report["failures"], json!([]));
    }
}
