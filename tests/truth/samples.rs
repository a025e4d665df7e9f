//! The sample events do what `events/README.md` says.

use std::fs;

use serde_json::Value;

use crate::double::{Environment, OWNER};
use crate::scene::*;

/// A sample, in the subnets of the double.
fn sample(name: &str) -> Value {
    let path = format!("{}/events/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(path).unwrap();
    let text = text.replace("subnet-0123456789abcdef0", "subnet-1");
    serde_json::from_str(&text.replace("subnet-0fedcba9876543210", "subnet-2")).unwrap()
}

/// The environment that a sample speaks of. MWAA says the same of it, and its groups are there.
fn told_by(scene: &Scene, sample: &Value) -> Environment {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let detail = &sample["detail"];
    let groups = detail["networkConfiguration"]["securityGroupIds"].as_array().unwrap();
    let environment = Environment {
        account: text(&sample["account"]),
        name: text(&detail["name"]),
        status: text(&detail["status"]),
        database: text(&detail["databaseVpcEndpointService"]),
        webserver: text(&detail["webserverVpcEndpointService"]),
        mode: text(&detail["webserverAccessMode"]),
        queue: text(&detail["celeryExecutorQueue"]),
        groups: groups.iter().map(text).collect(),
        ..own()
    };
    for group in environment.groups.iter().filter(|_| environment.account == OWNER) {
        let mut world = scene.world();
        if !world.groups.iter().any(|known| known.id == *group) {
            world.add_group(group, group);
        }
    }
    scene.is(&environment);
    environment
}

#[tokio::test]
async fn what_a_waiting_environment_needs_is_made() {
    for name in
        ["pending-private", "pending-public", "pending-public-and-private", "pending-participant"]
    {
        let scene = Scene::new();
        let environment = told_by(&scene, &sample(name));
        let told = scene.send(sample(name)).await.ok();
        assert!(scene.has_all(&environment), "{name}: {told:?}");
        let own_group = usize::from(environment.account != OWNER);
        assert_eq!(scene.made(), environment.services_in_use().len() + own_group, "{name}");
    }
}

#[tokio::test]
async fn what_needs_nothing_makes_no_call() {
    for name in ["creating", "pending-service-managed"] {
        let scene = Scene::new();
        let told = scene.send(sample(name)).await.ok();
        assert_eq!(told.outcome(), "ignored", "{name}: {told:?}");
        assert!(scene.calls().is_empty(), "{name}");
    }
}

/// From the first endpoint to the last.
#[tokio::test]
async fn the_samples_tell_the_life_of_an_environment() {
    let scene = Scene::new();
    scene.at("2026-04-12T00:00:00Z");
    let environment = told_by(&scene, &sample("pending-private"));
    scene.send(sample("dry-run")).await.ok();
    assert!(scene.is_empty());
    scene.send(sample("pending-private")).await.ok();
    let group = environment.groups[0].clone();
    let carries = |scene: &Scene| {
        let database = scene.the(&environment.database);
        scene.world().endpoint(&database).groups.clone()
    };
    assert_eq!(carries(&scene), [group.clone()].into());

    let updating = told_by(&scene, &sample("updating"));
    scene.send(sample("updating")).await.ok();
    assert_eq!(carries(&scene), updating.groups.iter().cloned().collect());

    let available = told_by(&scene, &sample("available"));
    scene.send(sample("available")).await.ok();
    assert!(scene.has_all(&available));
    assert_eq!(carries(&scene), available.groups.iter().cloned().collect());

    scene.is_gone(&environment);
    scene.send(sample("deleted")).await.ok();
    assert!(scene.is_empty());
}

#[tokio::test]
async fn a_failed_creation_is_told_and_changes_nothing() {
    let scene = Scene::new();
    told_by(&scene, &sample("create-failed"));
    let told = scene.send(sample("create-failed")).await.ok();
    assert!(told.warns(&["CREATE_FAILED"]), "{told:?}");
    assert!(scene.changes().is_empty());
}

#[tokio::test]
async fn the_answer_of_mwaa_and_the_sweep_do_what_the_event_does() {
    for name in ["get-environment", "sweep"] {
        let scene = Scene::new();
        let environment = told_by(&scene, &sample("pending-private"));
        scene.send(sample(name)).await.ok();
        assert!(scene.has_all(&environment), "{name}");
    }
}
