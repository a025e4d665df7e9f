//! Orders in which things are done, which must stay whatever is built around them.

use crate::double::{Call, Environment, Fault, service};
use crate::scene::*;

const REFUSED: Fault = Fault::Refused(403, "UnauthorizedOperation");

/// Where the first call that `is` picks stands among the calls.
fn first(scene: &Scene, is: impl Fn(&Call) -> bool) -> Option<usize> {
    scene.calls().iter().position(is)
}

/// Once something new is there, an older event must be known for an older one. While MWAA waits, what
/// is needed is made even if nothing can be remembered.
#[tokio::test]
async fn the_memory_of_an_event_comes_before_what_it_brings_but_for_pending() {
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
            assert_eq!(rules.is_some(), !fails || status == "PENDING", "{at}");
            assert!(status == "PENDING" || rules.is_none_or(|rules| memory < rules), "{at}");
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
