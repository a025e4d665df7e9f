//! Orders in which things are done, which must stay whatever is built around them.

use std::collections::BTreeSet;

use crate::double::{Call, Environment, Fault, service};
use crate::scene::*;

const REFUSED: Fault = Fault::Refused(403, "UnauthorizedOperation");

/// Where the first call that `is` picks stands among the calls.
fn first(scene: &Scene, is: impl Fn(&Call) -> bool) -> Option<usize> {
    scene.calls().iter().position(is)
}

/// Once something new is there, an older event must be known for an older one. What is needed is made
/// even if nothing can be remembered; but nothing is taken away then.
#[tokio::test]
async fn the_memory_of_an_event_comes_before_what_it_brings_and_stops_only_what_is_taken_away() {
    for status in ["PENDING", "UPDATING", "AVAILABLE"] {
        for fails in [false, true] {
            let scene = Scene::new();
            scene.serve(&shared()).await;
            // Where MWAA may not be asked, the order of events is all there is.
            scene.says(&shared(), [DENIED]);
            scene.fail("CreateTags", Some(REFUSED).filter(|_| fails));
            let more = shared().with_groups(&["sg-8", "sg-9"]);
            let told = scene.send(event(&more, status, THEN)).await;
            let at = format!("{status}, fails {fails}: {told:?}");
            assert_eq!(told.failed, fails, "{at}");
            let memory = first(&scene, |call| call.action == "CreateTags").unwrap();
            let rules = first(&scene, |call| call.action == "AuthorizeSecurityGroupIngress");
            assert!(rules.is_some_and(|rules| memory < rules), "{at}");
            assert!(!fails || scene.takings().is_empty(), "{at}");
        }
    }
}

#[tokio::test]
async fn rules_go_before_queues_before_endpoints_before_groups_and_all_endpoints_at_once() {
    for payload in [event(&shared(), "DELETED", THEN), sweep()] {
        let scene = Scene::new();
        scene.serve(&shared()).await;
        scene.is_gone(&shared());
        scene.send(payload.clone()).await.ok();
        let steps = [
            first(&scene, |call| call.action == "RevokeSecurityGroupIngress"),
            first(&scene, Call::writes_policy),
            first(&scene, |call| call.action == "DeleteVpcEndpoints"),
            first(&scene, |call| call.action == "DeleteSecurityGroup"),
        ];
        assert!(steps.iter().all(Option::is_some), "{}: {steps:?}", named(&payload));
        assert!(steps.is_sorted(), "{}: {steps:?}", named(&payload));
        let deletions = scene.changes().iter().filter(|a| *a == "DeleteVpcEndpoints").count();
        assert_eq!(deletions, 1, "{}", named(&payload));
    }
}

/// The tags of what goes are all that remembers the queue.
#[tokio::test]
async fn a_withdrawal_that_fails_stops_the_deletion() {
    for payload in [event(&own(), "DELETED", THEN), sweep()] {
        let scene = Scene::new();
        scene.serve(&own()).await;
        scene.is_gone(&own()).fail("ModifyVpcEndpoint", Some(REFUSED));
        scene.send(payload.clone()).await.err();
        assert_eq!(scene.takings(), Vec::<String>::new(), "{}", named(&payload));
    }
}

#[tokio::test]
async fn nothing_is_taken_away_from_an_environment_that_lacks_something() {
    let again = Environment { database: service("database-again"), ..own().public_only() };
    for payload in [event(&again, "AVAILABLE", THEN), sweep()] {
        let scene = Scene::new();
        scene.serve(&own()).await;
        scene.is(&again).fail("CreateVpcEndpoint", Some(REFUSED));
        scene.send(payload.clone()).await.err();
        assert_eq!(scene.takings(), Vec::<String>::new(), "{}", named(&payload));
        scene.fail("CreateVpcEndpoint", None);
        scene.send(payload.clone()).await.ok();
        assert!(scene.alive(&own().database).is_empty(), "{}", named(&payload));
    }
}

/// What goes wrong while something is added, or remembered, from which something else is to go.
type Failing = (&'static str, fn(&Scene));

/// Whatever the phases of a removal are: rules, queues, endpoints, groups on endpoints.
#[tokio::test]
async fn a_failed_addition_closes_every_phase_of_a_removal() {
    let failing: [Failing; 5] = [
        ("an endpoint", |scene| scene.fail("CreateVpcEndpoint", Some(REFUSED))),
        ("a rule", |scene| scene.fail("AuthorizeSecurityGroupIngress", Some(REFUSED))),
        ("what an endpoint has or admits", |scene| scene.fail("ModifyVpcEndpoint", Some(REFUSED))),
        ("a policy", |scene| scene.world().overwrite_policy("vpce-sqs", BROKEN)),
        ("the memory", |scene| scene.fail("CreateTags", Some(REFUSED))),
    ];
    let made_again = |environment: &Environment| Environment {
        database: service("database-after"),
        webserver: service("webserver-after"),
        queue: OTHER_QUEUE.into(),
        ..environment.clone()
    };
    let own_groups = own().with_groups(&["sg-2"]);
    let regrouped = Environment { database: service("database-after"), ..own_groups };
    let shared = shared().with_groups(&["sg-1"]);
    for (before, after, unconcerned) in [
        // A queue and endpoints go; no tags stay.
        (own(), made_again(&own()), ["a rule", "the memory"].as_slice()),
        // An endpoint goes, and a group from one that stays.
        (own(), regrouped, &["a rule", "a policy"]),
        // Rules, a queue, endpoints and what the group remembers go.
        (shared.clone(), made_again(&shared.with_groups(&["sg-2"])), &[]),
    ] {
        for (what, fail) in failing.iter().filter(|(what, _)| !unconcerned.contains(what)) {
            for payload in [event(&after, "AVAILABLE", THEN), sweep()] {
                let scene = Scene::new();
                scene.world().add_group("sg-2", "next");
                scene.serve(&before).await;
                scene.is(&after);
                let had = left_of(&scene, &before);
                fail(&scene);
                let at = format!("{what}, {}, {}", after.account, named(&payload));
                let told = scene.send(payload.clone()).await;
                assert!(told.failed, "{at}: {told:?}");
                assert_eq!(scene.takings(), Vec::<String>::new(), "{at}: {told:?}");
                assert!(*what == "a policy" || scene.listed().contains(QUEUE), "{at}: {told:?}");
                assert!(left_of(&scene, &before).is_superset(&had), "{at}: {told:?}");
                // Once it lacks nothing, all of it goes.
                for action in ["CreateVpcEndpoint", "ModifyVpcEndpoint", "CreateTags"] {
                    scene.fail(action, None);
                }
                scene.fail("AuthorizeSecurityGroupIngress", None);
                if *what == "a policy" {
                    scene.world().overwrite_policy("vpce-sqs", FOREIGN);
                }
                scene.send(payload.clone()).await.ok();
                assert!(scene.has_all(&after), "{at}");
                assert_eq!(scene.listed(), [after.queue.clone()].into(), "{at}");
                assert!(left_of(&scene, &before).is_disjoint(&had), "{at}");
            }
        }
    }
}

/// No policy at all.
const BROKEN: &str = "{oops";

/// The endpoints, rules and groups that only an environment as it was before needs.
fn left_of(scene: &Scene, before: &Environment) -> BTreeSet<String> {
    let mut left: BTreeSet<String> = scene.alive(&before.database).into_iter().collect();
    let world = scene.world();
    let ours = |id: &String| world.ours.contains(id);
    for group in world.groups.iter().filter(|group| ours(&group.id)) {
        let its = |rule: &&String| rule.ends_with("/sg-1");
        left.extend(group.rules.keys().filter(its).map(|rule| format!("{} {rule}", group.id)));
    }
    for endpoint in world.endpoints.iter().filter(|endpoint| ours(&endpoint.id)) {
        let stays = !endpoint.state.starts_with("delet") && endpoint.groups.contains("sg-1");
        left.extend(stays.then(|| format!("{} sg-1", endpoint.id)));
    }
    left
}

/// The last thing that an endpoint is reached by stays if there is nothing to take its place.
#[tokio::test]
async fn a_group_that_is_not_there_takes_no_other_off_an_endpoint() {
    let again = Environment {
        database: service("database-again"),
        webserver: service("webserver-again"),
        queue: OTHER_QUEUE.into(),
        ..own()
    };
    let after = again.with_groups(&["sg-none"]);
    for payload in [event(&after, "AVAILABLE", THEN), sweep()] {
        let scene = Scene::new();
        scene.serve(&own()).await;
        // What is dead and not needed any more goes in a phase of its own.
        scene.world().endpoints.iter_mut().filter(|it| it.id != "vpce-sqs").for_each(|endpoint| {
            endpoint.state = "rejected".into();
        });
        scene.serve(&again).await;
        scene.is(&after);
        let told = scene.send(payload.clone()).await;
        assert!(told.failed, "{}: {told:?}", named(&payload));
        assert_eq!(scene.takings(), Vec::<String>::new(), "{}: {told:?}", named(&payload));
        for service in [&again.database, &again.webserver] {
            let id = scene.the(service);
            assert_eq!(scene.world().endpoint(&id).groups, ["sg-1".into()].into());
        }
    }
}

/// What is made between the look and MWAA's answer may be of an environment that was made again.
#[tokio::test]
async fn a_sweep_takes_away_only_what_its_first_look_saw() {
    let scene = Scene::new();
    scene.serve(&own()).await;
    scene.is_gone(&own());
    let database = scene.the(&own().database);
    scene.double.meanwhile(move |world, call| {
        if call.action == "GetEnvironment" && !world.ours.contains("vpce-late") {
            let mut late = world.endpoint(&database).clone();
            (late.id, late.service) = ("vpce-late".into(), service("database-again"));
            world.endpoints.push(late);
            world.ours.insert("vpce-late".into());
        }
    });
    scene.send(sweep()).await.ok();
    assert!(scene.alive(&own().database).is_empty());
    assert_eq!(scene.alive(&service("database-again")), ["vpce-late"]);
}

/// EC2 tells no account of a group of another VPC that is gone, and knows a rule that names it by its
/// id only. Left, it would count against the quota for ever.
#[tokio::test]
async fn a_rule_that_names_a_group_that_is_gone_is_taken_off_by_its_id() {
    for payload in [event(&shared(), "DELETED", THEN), sweep()] {
        let scene = Scene::new();
        scene.serve(&shared()).await;
        for group in &mut scene.world().groups {
            let rules = std::mem::take(&mut group.rules);
            let gone = |(rule, of): (String, String)| (rule.replace("210987654321/", "gone/"), of);
            group.rules = rules.into_iter().map(gone).collect();
        }
        scene.world().unknown_groups.insert("sg-9".into());
        scene.is_gone(&shared());
        let told = scene.send(payload.clone()).await.ok();
        assert!(scene.is_empty(), "{}: {told:?}", named(&payload));
        let by_id = scene.calls().into_iter().filter(|call| {
            call.action == "RevokeSecurityGroupIngress"
                && call.parameters.contains_key("SecurityGroupRuleId.1")
        });
        assert_eq!(by_id.count(), 2, "{}", named(&payload));
    }
}
