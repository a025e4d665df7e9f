//! What is described is what is done: a dry run and the same in earnest tell of the same resources.

use serde_json::{Value, json};

use crate::double::{Environment, Fault, Says, service};
use crate::scene::*;

/// A scene and what is sent in it.
struct Case {
    name: &'static str,
    scene: Scene,
    payload: Value,
}

fn case(name: &'static str, scene: Scene, payload: Value) -> Case {
    Case { name, scene, payload }
}

fn named_fields(event: Value, fields: &[(&str, Value)]) -> Value {
    let mut event = event;
    for (field, value) in fields {
        event["detail"][*field] = value.clone();
    }
    event
}

/// A scene in which the environment is there and MWAA may not be asked, so that the event counts.
fn with_nothing(environment: &Environment) -> Scene {
    let scene = Scene::new();
    scene.is(environment);
    scene
}

async fn with_all(environment: &Environment) -> Scene {
    let scene = Scene::new();
    scene.world().add_group("sg-2", "more");
    scene.serve(environment).await;
    scene
}

/// Every scene is made twice, so the list is made twice.
async fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let groups_unsaid = |environment: &Environment, status| {
        let mut event = event(environment, status, THEN);
        event["detail"]["networkConfiguration"].as_object_mut().unwrap().remove("securityGroupIds");
        event
    };
    for environment in [own(), shared()] {
        let is_shared = environment == shared();
        let pick = |own: &'static str, shared: &'static str| if is_shared { shared } else { own };
        let pending = || event(&environment, "PENDING", THEN);
        let available = |it: &Environment| event(it, "AVAILABLE", THEN);

        cases.push(case(pick("new", "new, shared"), with_nothing(&environment), pending()));
        let scene = with_nothing(&environment.public_only());
        let public = event(&environment.public_only(), "PENDING", THEN);
        cases.push(case(pick("public", "public, shared"), scene, public));
        let scene = with_nothing(&environment);
        cases.push(case(pick("a sweep", "a sweep, shared"), scene, sweep()));
        let scene = with_nothing(&environment);
        cases.push(case(pick("a replay", "a replay, shared"), scene, replay(&environment)));
        let scene = with_all(&environment).await;
        let again = event(&environment, "PENDING", FIRST);
        cases.push(case(pick("all there", "all there, shared"), scene, again));
        let scene = with_all(&environment).await;
        cases.push(case(pick("a newer event", "a newer event, shared"), scene, pending()));

        // What is ours and lacks something.
        let scene = with_all(&environment).await;
        let database = scene.the(&environment.database);
        scene.world().endpoint(&database).subnets.remove("subnet-2");
        cases.push(case(pick("no subnet", "no subnet, shared"), scene, pending()));
        let scene = with_all(&environment).await;
        let database = scene.the(&environment.database);
        scene.world().endpoint(&database).groups = ["sg-2".into()].into();
        cases.push(case(pick("no group", "no group, shared"), scene, pending()));
        let scene = with_all(&environment).await;
        let database = scene.the(&environment.database);
        scene.world().endpoint(&database).state = "failed".into();
        cases.push(case(pick("dead", "dead, shared"), scene, pending()));
        let scene = with_all(&environment).await;
        scene.world().groups.iter_mut().for_each(|group| group.rules.clear());
        cases.push(case(pick("no rules", "no rules, shared"), scene, pending()));
        let scene = with_all(&environment).await;
        scene.lose(QUEUE);
        let dead = scene.the(&environment.database);
        scene.world().endpoint(&dead).state = "failed".into();
        scene.says(&environment, [SILENT]);
        let updating = event(&environment, "UPDATING", THEN);
        cases.push(case(pick("no reply", "no reply, shared"), scene, updating));

        // What an event leaves out: there are no groups, so no rules either.
        let scene = with_nothing(&environment);
        scene.says(&environment, [DENIED]);
        let unsaid = groups_unsaid(&environment, "UPDATING");
        cases.push(case(pick("no groups said", "no rules said"), scene, unsaid));
        let scene = with_all(&environment).await;
        let database = scene.the(&environment.database);
        for endpoint in &mut scene.world().endpoints {
            endpoint.tags.remove("mwaa-vpc-endpoints/groups");
        }
        scene.world().endpoint(&database).subnets.remove("subnet-2");
        scene.says(&environment, [DENIED]);
        let unsaid = groups_unsaid(&environment, "UPDATING");
        cases.push(case(pick("a subnet and no groups", "a subnet alone"), scene, unsaid));

        // What goes.
        let scene = with_all(&environment).await;
        scene.is(&environment.public_only());
        let stale = available(&environment.public_only());
        cases.push(case(pick("stale", "stale, shared"), scene, stale.clone()));
        let scene = with_all(&environment).await;
        scene.is(&environment.public_only()).world().overwrite_policy("vpce-sqs", "{oops");
        cases.push(case(pick("stale, and a failure", "the same, shared"), scene, stale));
        let scene = with_all(&environment).await;
        let regrouped = environment.with_groups(&[pick("sg-2", "sg-8")]);
        scene.is(&regrouped);
        cases.push(case(
            pick("other groups", "other groups, shared"),
            scene,
            available(&regrouped),
        ));
        let scene = with_all(&environment).await;
        let again = Environment {
            database: service("database-again"),
            webserver: service("webserver-again"),
            queue: OTHER_QUEUE.into(),
            ..environment.clone()
        };
        scene.is(&again);
        cases.push(case(pick("made again", "made again, shared"), scene, available(&again)));
        for (payload, names) in [
            (event(&environment, "DELETED", THEN), ["gone", "gone, shared"]),
            (sweep(), ["gone, a sweep", "gone, shared, a sweep"]),
        ] {
            let scene = with_all(&environment).await;
            scene.is_gone(&environment);
            cases.push(case(pick(names[0], names[1]), scene, payload));
        }
        let mut scene = with_all(&environment).await;
        scene.is_gone(&environment);
        scene.function.settings.as_mut().unwrap().keep_leftovers = true;
        let deleted = event(&environment, "DELETED", THEN);
        cases.push(case(pick("gone and left", "gone and left, shared"), scene, deleted.clone()));
        let scene = with_all(&environment).await;
        cases.push(case(pick("alive, not gone", "alive, shared"), scene, deleted));
        let scene = with_all(&environment).await;
        scene.lose(QUEUE);
        let failed = event(&environment, "CREATE_FAILED", THEN);
        cases.push(case(pick("diagnosed", "diagnosed, shared"), scene, failed));
    }
    cases.extend(of_somebody_elses().await);
    cases.extend(of_policies().await);
    cases
}

/// What is not ours, and what the event says wrongly.
async fn of_somebody_elses() -> Vec<Case> {
    let pending = || event(&own(), "PENDING", THEN);
    let by_hand = with_nothing(&own());
    {
        let mut world = by_hand.world();
        world.add_endpoint("vpce-by-hand", &own().database, None);
        world.add_endpoint("vpce-misfit", &own().webserver, None).subnets.remove("subnet-2");
    }
    let one_zone = with_nothing(&own());
    one_zone.world().subnets.get_mut("subnet-2").unwrap().zone = "us-east-1a".into();
    let wrong = json!("com.amazonaws.us-east-1.s3");
    let wrong = named_fields(pending(), &[("webserverVpcEndpointService", wrong)]);
    let managed = named_fields(pending(), &[("endpointManagement", json!("SERVICE"))]);
    let unknown = with_nothing(&own());
    unknown.says(&own(), [DENIED]);
    let unqueued = with_nothing(&own());
    unqueued.says(&own(), [DENIED]);
    vec![
        case("by hand", by_hand, pending()),
        case("one zone", one_zone, pending()),
        case("no queue said", unqueued, without(pending(), &["celeryExecutorQueue"])),
        case("no web server service", unknown, wrong),
        case("managed by MWAA", with_nothing(&own()), managed),
    ]
}

/// Policies, and SQS endpoints that have none to be written.
async fn of_policies() -> Vec<Case> {
    let mut cases = Vec::new();
    let deny = r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"},{"Effect":"Deny","Principal":"*","Action":"sqs:*","Resource":"*"}]}"#;
    let edited = r#"{"Statement":[{"Sid":"MwaaCeleryQueues","Effect":"Allow","Principal":"*","Action":"sqs:SendMessage","Resource":[]}]}"#;
    let long = format!(
        r#"{{"Statement":[{{"Effect":"Allow","Principal":"*","Action":"sqs:ListQueues","Resource":"arn:aws:sqs:us-east-1:1:{}"}}]}}"#,
        "x".repeat(20_300)
    );
    for status in ["PENDING", "AVAILABLE"] {
        let payload = || event(&own(), status, THEN);
        for (name, policy) in [
            ("blocked", deny),
            ("edited", edited),
            ("unreadable", "{oops"),
            ("too long", long.as_str()),
        ] {
            let scene = with_nothing(&own());
            scene.world().overwrite_policy("vpce-sqs", policy);
            cases.push(case(name, scene, payload()));
        }
        for (name, policy) in [("requester-managed", FOREIGN), ("managed and open", "")] {
            let scene = with_nothing(&own());
            let mut world = scene.world();
            let endpoint = world.endpoint("vpce-sqs");
            endpoint.requester_managed = true;
            endpoint.policy = Some(policy.to_owned()).filter(|policy| !policy.is_empty());
            drop(world);
            cases.push(case(name, scene, payload()));
        }
        let scene = with_nothing(&own());
        scene.world().endpoints.clear();
        cases.push(case("no SQS endpoint", scene, payload()));
        let scene = with_nothing(&own());
        scene.world().add_endpoint("vpce-fips", &format!("{SQS}-fips"), Some(FOREIGN));
        scene.world().add_endpoint("vpce-open", SQS, None);
        cases.push(case("several SQS endpoints", scene, payload()));

        let scene = with_all(&own()).await;
        scene.serve(&neighbour("other")).await;
        scene.lose(&neighbour("other").queue);
        cases.push(case("a neighbour's queue", scene, event(&own(), status, FIRST)));
        let mut scene = with_all(&own()).await;
        scene.function.settings.as_mut().unwrap().organization = Some("o-a1b2c3d4e5".into());
        cases.push(case("another organization", scene, event(&own(), status, FIRST)));
    }
    cases
}

/// What of a resource the two must agree on. The id of what is made cannot be known before.
fn essence(resource: &Value, made: bool) -> Value {
    json!({
        "kind": resource["kind"], "role": resource["role"], "outcome": resource["outcome"],
        "id": if made { &Value::Null } else { &resource["id"] },
    })
}

fn essences(resources: &[Value]) -> Vec<Value> {
    resources.iter().map(|r| essence(r, r["outcome"] == json!("created"))).collect()
}

#[tokio::test]
async fn describing_and_executing_agree_in_every_resource() {
    let mut differ = Vec::new();
    for (described, executed) in cases().await.into_iter().zip(cases().await) {
        described.scene.forget_calls();
        let (would, _) = described.scene.send_and_watch(dry(described.payload.clone())).await;
        assert_eq!(described.scene.changes(), Vec::<String>::new(), "{}", described.name);
        let (did, _) = executed.scene.send_and_watch(executed.payload.clone()).await;
        let (would_be, was) = (essences(&would.resources()), essences(&did.resources()));
        if would_be != was {
            let lines = |list: &[Value]| -> String {
                list.iter().map(|line| format!("\n    {line}")).collect()
            };
            let (name, payload) = (executed.name, &executed.payload["detail"]["status"]);
            differ.push(format!(
                "{name}, {payload}:\n  described{}\n  executed{}",
                lines(&would_be),
                lines(&was)
            ));
        }
    }
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.join("\n"));
}

/// The two tellings of one case.
async fn both(make: impl AsyncFn() -> Case) -> (Told, Told) {
    let (described, executed) = (make().await, make().await);
    (
        described.scene.send(dry(described.payload)).await,
        executed.scene.send(executed.payload).await,
    )
}

#[tokio::test]
async fn what_an_endpoint_lacks_is_described_as_what_it_lacks() {
    let (would, _) = both(async || {
        let scene = with_all(&shared()).await;
        let database = scene.the(&shared().database);
        scene.world().endpoint(&database).subnets.remove("subnet-2");
        case("no subnet", scene, event(&shared(), "PENDING", FIRST))
    })
    .await;
    let resources = would.resources();
    let database = resources.iter().find(|r| r["role"] == json!("database")).unwrap();
    let detail = database["detail"].as_str().unwrap();
    assert!(detail.contains("subnet-2") && !detail.contains("group"), "{detail}");
}

#[tokio::test]
async fn remedies_and_warnings_are_described_too() {
    let (would, did) = both(async || {
        let scene = with_nothing(&own());
        scene.world().endpoint("vpce-sqs").requester_managed = true;
        case("requester-managed", scene, event(&own(), "PENDING", THEN))
    })
    .await;
    let sqs = |told: &Told| {
        let resources = told.resources();
        resources.into_iter().find(|r| r["kind"] == json!("sqs-endpoint")).unwrap()
    };
    assert!(sqs(&did)["remedy"].is_string(), "{did:?}");
    assert_eq!(sqs(&would)["remedy"], sqs(&did)["remedy"]);
    assert!(did.warns(&["vpce-sqs"]), "{did:?}");
    assert_eq!(would.warnings(), did.warnings());
}

#[tokio::test]
async fn what_cannot_be_made_is_not_described_as_made() {
    for environment in [own(), shared()] {
        let (would, did) = both(async || {
            let scene = with_nothing(&environment);
            scene.says(&environment, [DENIED]);
            let mut event = event(&environment, "UPDATING", THEN);
            let network = event["detail"]["networkConfiguration"].as_object_mut().unwrap();
            network.remove("securityGroupIds");
            case("no groups said", scene, event)
        })
        .await;
        let database = |told: &Told| {
            let resources = told.resources();
            resources.into_iter().find(|r| r["role"] == json!("database")).unwrap()
        };
        assert_eq!(database(&did)["outcome"], json!("failed"), "{did:?}");
        assert_eq!(database(&would)["outcome"], json!("failed"), "{would:?}");
        assert!(database(&would)["remedy"].is_string(), "{would:?}");
    }
}

#[tokio::test]
async fn a_removal_that_a_failure_stops_is_not_described_as_done() {
    let (would, did) = both(async || {
        let scene = with_all(&own()).await;
        scene.is(&own().public_only()).world().overwrite_policy("vpce-sqs", "{oops");
        case("stale, and a failure", scene, event(&own().public_only(), "AVAILABLE", THEN))
    })
    .await;
    assert!(did.failed);
    let deleted = |told: &Told| told.resources().iter().any(|r| r["outcome"] == json!("deleted"));
    assert_eq!((deleted(&would), deleted(&did)), (false, false), "{would:?}");
}

/// Whether something is there to be taken away, and whether it may be, is the same in both.
#[tokio::test]
async fn a_description_rests_on_the_same_proof() {
    let public = own().public_only();
    for (says, goes) in [
        (Says::from(&public), true),
        (Says::from(&own()), false),
        (SILENT, false),
        (Says::NotFound, false),
    ] {
        let (would, did) = both(async || {
            let scene = with_all(&own()).await;
            if goes {
                scene.is(&public);
            }
            scene.says(&own(), [says.clone()]);
            case("stale", scene, event(&public, "AVAILABLE", THEN))
        })
        .await;
        for told in [would, did] {
            let goes_there = told.resources().iter().any(|r| r["outcome"] == json!("deleted"));
            assert_eq!(goes_there, goes, "{says:?}: {told:?}");
        }
    }
}

/// A queue in somebody else's statement is not taken out; nor is one from what only a person can read
/// or put right.
#[tokio::test]
async fn a_withdrawal_is_described_as_it_is_executed() {
    let statement = |sid: &str| {
        format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Sid":"{sid}","Effect":"Allow","Principal":"*","Action":"sqs:SendMessage","Resource":["{QUEUE}"]}}]}}"#
        )
    };
    let unreadable = format!("{{oops {QUEUE}");
    for (name, policy, outcome) in [
        ("somebody else's", statement("Theirs"), None),
        ("edited", statement("MwaaCeleryQueues"), Some(json!("failed"))),
        ("unreadable", unreadable, Some(json!("failed"))),
        ("an unreadable one without the queue", "{oops".into(), None),
    ] {
        for payload in [event(&own(), "DELETED", THEN), sweep()] {
            let make = async || {
                let scene = with_all(&own()).await;
                scene.is_gone(&own()).world().overwrite_policy("vpce-sqs", &policy);
                scene
            };
            // That the queue is still let through is noted, and no fault here.
            let (would, _) = make().await.send_and_watch(dry(payload.clone())).await;
            let (did, _) = make().await.send_and_watch(payload.clone()).await;
            let at = format!("{name}, {}", named(&payload));
            for told in [&would, &did] {
                let resources = told.resources();
                let mut sqs = resources.iter().filter(|r| r["kind"] == json!("sqs-endpoint"));
                let is = sqs.next().map(|r| r["outcome"].clone());
                assert_eq!((is, sqs.count()), (outcome.clone(), 0), "{at}: {told:?}");
                // Nobody waits for it with the rest.
                let gone = resources.iter().filter(|r| r["outcome"] == json!("deleted")).count();
                assert_eq!(gone, 2, "{at}: {told:?}");
            }
            assert_eq!(did.failed, outcome.is_some(), "{at}: {did:?}");
            assert_eq!(essences(&would.resources()), essences(&did.resources()), "{at}");
        }
    }
}

/// A failure that nobody could foresee is the one thing in which they differ.
#[tokio::test]
async fn a_failure_is_told_in_the_place_of_what_was_described() {
    let (would, did) = both(async || {
        let scene = with_nothing(&own());
        scene
            .world()
            .faults_of
            .insert("CreateVpcEndpoint".into(), Fault::Refused(400, "VpcEndpointLimitExceeded"));
        case("refused", scene, event(&own(), "PENDING", THEN))
    })
    .await;
    let places = |told: &Told| -> Vec<Value> {
        told.resources().iter().map(|r| json!([r["kind"], r["role"]])).collect()
    };
    assert_eq!(places(&would), places(&did));
    assert!(did.failed);
}
