//! Every way in which the function calls EC2, under every deployment that gives it another role. What IAM
//! is asked about each call is written down by the double; the tests of the templates hold it against the
//! role as it is made for that deployment.

use crate::double::{Environment, Fault, OWNER, service};
use crate::scene::*;

const LISTED: (&str, &str) = ("SECURITY_GROUPS", "sg-listed");
const AUTO: (&str, &str) = ("SECURITY_GROUPS", "auto");
const ON: (&str, &str) = ("DELETION", "on");
const OFF: (&str, &str) = ("DELETION", "off");

const MUTATING: [&str; 7] = [
    "CreateVpcEndpoint",
    "ModifyVpcEndpoint",
    "DeleteVpcEndpoints",
    "CreateSecurityGroup",
    "AuthorizeSecurityGroupIngress",
    "RevokeSecurityGroupIngress",
    "DeleteSecurityGroup",
];

fn scene(groups: (&str, &str), deletion: (&str, &str)) -> Scene {
    let scene = Scene::with(&asking(groups, deletion));
    for group in ["sg-2", "sg-listed"] {
        scene.world().add_group(group, group);
    }
    scene
}

fn asking<'a>(groups: (&'a str, &'a str), deletion: (&'a str, &'a str)) -> [(&'a str, &'a str); 3] {
    [("READER_ROLE", "mwaa-vpc-endpoints-reader-us-east-1"), groups, deletion]
}

/// One change of the world, after which the function is told, or a sweep finds out.
type Turn = fn(&Scene, &mut Environment);

const LIFE: [Turn; 8] = [
    |_, environment| {
        let of_its_account = if environment.account == OWNER { "sg-2" } else { "sg-10" };
        environment.groups = vec![of_its_account.into()];
    },
    |scene, environment| scene.lose(&environment.queue),
    |_, environment| environment.mode = "PUBLIC_ONLY".into(),
    |_, environment| environment.mode = "PRIVATE_ONLY".into(),
    |scene, environment| {
        let id = scene.the(&environment.database);
        scene.world().endpoint(&id).state = "rejected".into();
    },
    |scene, environment| {
        let id = scene.the(&environment.database);
        scene.world().endpoint(&id).subnets.remove("subnet-2");
    },
    |_, environment| environment.database = service("another"),
    |scene, _| {
        let mut world = scene.world();
        let ours = world.ours.clone();
        for group in world.groups.iter_mut().filter(|group| ours.contains(&group.id)) {
            group.rules.pop_first();
        }
    },
];

async fn whole_life(
    was: (&str, &str),
    groups: (&str, &str),
    deletion: (&str, &str),
    mut environment: Environment,
    fault: Option<(&str, Fault)>,
) -> Scene {
    let mut scene = scene(was, ON);
    scene.serve(&environment).await;
    scene.deploy(&asking(groups, deletion));
    for (n, turn) in LIFE.into_iter().enumerate() {
        turn(&scene, &mut environment);
        scene.is(&environment);
        // An event is later than the one before, and a failed one is repeated.
        let payload = match n % 2 {
            0 => event(&environment, "AVAILABLE", &format!("2026-03-04T09:{:02}:00Z", n)),
            _ => sweep(),
        };
        if let Some((action, fault)) = fault {
            scene.fail(action, Some(fault));
            scene.send(payload.clone()).await;
            scene.fail(action, None);
        }
        scene.world().settle();
        scene.send(payload).await;
        scene.world().settle();
        for endpoint in &mut scene.world().endpoints {
            endpoint.state = endpoint.state.replace("pending", "available");
        }
    }
    scene.is_gone(&environment);
    for payload in [event(&environment, "DELETED", THEN), sweep(), sweep()] {
        scene.send(payload).await;
        scene.world().settle();
    }
    scene
}

#[tokio::test]
async fn a_whole_life_is_led_under_every_deployment() {
    for was in [AUTO, LISTED] {
        for groups in [AUTO, LISTED] {
            for deletion in [ON, OFF] {
                for environment in [own(), shared()] {
                    let faults = MUTATING.map(|action| Some((action, Fault::LostAnswer)));
                    for fault in faults.into_iter().chain([None]) {
                        let scene =
                            whole_life(was, groups, deletion, environment.clone(), fault).await;
                        let at = format!("{was:?} {groups:?} {deletion:?} {fault:?}");
                        let left = scene.left();
                        assert!(deletion == OFF || left.is_empty(), "left, {at}: {left:?}");
                        let world = scene.world();
                        let rules = world.groups.iter().flat_map(|group| group.rules.keys());
                        let named: Vec<_> = rules.filter(|rule| rule.contains("/sg-")).collect();
                        assert!(
                            named.is_empty(),
                            "a participant's group is held up, {at}: {named:?}"
                        );
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn what_was_made_for_an_environment_that_is_gone_is_undone_whatever_deletion_says() {
    for deletion in [ON, OFF] {
        let scene = scene(AUTO, deletion);
        let environment = shared();
        scene.world().closed_accounts.insert(environment.account.clone());
        scene.world().services.clear();
        for _ in 0..2 {
            scene.send(event(&environment, "PENDING", THEN)).await;
        }
        assert!(scene.is_empty(), "{deletion:?}");
        assert!(scene.changes().contains(&"DeleteSecurityGroup".to_owned()), "{deletion:?}");
    }
}
