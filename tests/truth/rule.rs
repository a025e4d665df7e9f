//! What is wanted, and what may be taken away: as MWAA says, or does not.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::double::{Call, Environment, PARTICIPANT, Says, service};
use crate::scene::*;

/// What asking MWAA about an environment comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mwaa {
    /// It answers with this status.
    Says(&'static str),
    NotFound,
    /// The participant gave no role.
    NoRole,
    /// STS or MWAA says that it may not be asked.
    RoleDenied,
    Denied,
    /// MWAA fails, the connection times out, STS fails.
    Error,
    TimeOut,
    RoleFails,
}

/// The rows of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Row {
    Alive,
    Going,
    NotFound,
    MayNotAsk,
    NoReply,
}

impl Mwaa {
    fn row(self) -> Row {
        match self {
            Mwaa::Says("DELETING") => Row::Going,
            Mwaa::Says(_) => Row::Alive,
            Mwaa::NotFound => Row::NotFound,
            Mwaa::NoRole | Mwaa::RoleDenied | Mwaa::Denied => Row::MayNotAsk,
            Mwaa::Error | Mwaa::TimeOut | Mwaa::RoleFails => Row::NoReply,
        }
    }

    fn set_up(self, scene: &mut Scene, environment: &Environment) {
        let account = environment.account.clone();
        // An earlier question has left the credentials of a role.
        scene.function.mwaa = Some(scene.double.mwaa(1));
        match self {
            Mwaa::Says(status) => scene.is(&environment.with_status(status)),
            Mwaa::NotFound => scene.is_gone(environment),
            Mwaa::NoRole => {
                scene.function.settings.as_mut().unwrap().reader_role = None;
                &*scene
            }
            Mwaa::RoleDenied => {
                scene.world().roles.insert(account, (403, "AccessDenied"));
                &*scene
            }
            Mwaa::Denied => scene.says(environment, [DENIED]),
            Mwaa::Error => scene.says(environment, [Says::Refused(500, "InternalServerException")]),
            Mwaa::TimeOut => scene.says(environment, [SILENT]),
            Mwaa::RoleFails => {
                scene.world().roles.insert(account, (503, "ServiceUnavailable"));
                &*scene
            }
        };
    }
}

/// What is there when the payload comes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum There {
    Nothing,
    All,
    /// All, and a web server endpoint that the environment does not need any more.
    Stale,
    /// The web server endpoint is missing, and the tags remember an event that is newer.
    Newer,
}

const THERE: [There; 4] = [There::Nothing, There::All, There::Stale, There::Newer];
const PAYLOADS: [&str; 9] = [
    "PENDING",
    "UPDATING",
    "AVAILABLE",
    "UPDATE_FAILED",
    "UNAVAILABLE",
    "CREATE_FAILED",
    "DELETED",
    "replay",
    "sweep",
];

impl There {
    /// Puts it there, and returns the environment as it is now.
    async fn set_up(self, scene: &Scene, environment: &Environment) -> Environment {
        if self == There::Nothing {
            scene.is(environment);
            return environment.clone();
        }
        scene.serve(environment).await;
        if self == There::Newer {
            scene.send(event(environment, "UPDATING", LATER)).await.ok();
            let webserver = scene.the(&environment.webserver);
            scene.world().endpoint(&webserver).state = "deleted".into();
        }
        if self == There::Stale { environment.public_only() } else { environment.clone() }
    }
}

/// What may, and must, come of it; nothing is said where it is `None`.
struct Promise {
    adds: Option<bool>,
    takes: Option<bool>,
    fails: Option<bool>,
    is_ignored: Option<bool>,
}

fn promise(row: Row, payload: &str, there: There) -> Promise {
    let (sweep, replay) = (payload == "sweep", payload == "replay");
    let in_use = replay
        || ["PENDING", "UPDATING", "AVAILABLE", "UPDATE_FAILED", "UNAVAILABLE"].contains(&payload);
    let settled = replay || ["AVAILABLE", "UPDATE_FAILED"].contains(&payload);
    let deleted = payload == "DELETED";
    // A replay has no time, so nothing is newer.
    let outdated = there == There::Newer && !replay && !sweep;
    let missing = matches!(there, There::Nothing | There::Newer);
    let (anything, stale) = (there != There::Nothing, there == There::Stale);
    let adds = match row {
        // Nobody has said what becomes of a creation that failed while MWAA says that it did not.
        Row::Alive if payload == "CREATE_FAILED" => None,
        Row::Alive => Some(missing && (in_use || sweep)),
        Row::Going | Row::NotFound => Some(false),
        // The tags alone may not say what is missing.
        Row::MayNotAsk | Row::NoReply if sweep && there == There::Newer => None,
        Row::MayNotAsk | Row::NoReply => Some(missing && in_use && !outdated),
    };
    let takes = match row {
        Row::Alive => Some(stale && (settled || sweep)),
        // Whether an old event and MWAA agree on the same environment is not said.
        Row::Going if deleted && outdated => None,
        Row::Going => Some(deleted && anything),
        Row::NotFound => Some((deleted || sweep) && anything),
        Row::MayNotAsk => Some(deleted && anything && !outdated || payload == "AVAILABLE" && stale),
        Row::NoReply => Some(false),
    };
    let fails = match row {
        Row::NoReply if deleted && outdated || sweep => None,
        Row::NoReply if stale && settled && payload != "AVAILABLE" => None,
        Row::NoReply => Some(deleted && anything || payload == "AVAILABLE" && stale),
        _ => Some(false),
    };
    let is_ignored = match row {
        Row::NotFound if in_use => Some(true),
        Row::Alive if deleted => Some(true),
        Row::MayNotAsk | Row::NoReply if in_use && outdated => Some(true),
        _ if adds == Some(true) || takes == Some(true) => Some(false),
        _ => None,
    };
    Promise { adds, takes, fails, is_ignored }
}

/// One cell of the table: what is not as promised.
async fn cell(mwaa: Mwaa, payload: &str, there: There, environment: &Environment) -> Vec<String> {
    let mut scene = Scene::new();
    let now = there.set_up(&scene, environment).await;
    scene.is(&now);
    mwaa.set_up(&mut scene, &now);
    if payload == "DELETED" && mwaa.row() == Row::MayNotAsk {
        scene.world().environments.clear();
    }
    scene.forget_calls();
    let (made, queues) = (scene.made(), scene.listed());
    let payload_sent = match payload {
        "sweep" => sweep(),
        "replay" => replay(&now),
        status => event(&now, status, THEN),
    };
    let (told, mut wrong) = scene.send_and_watch(payload_sent).await;
    let has_added = scene.made() > made || !scene.listed().is_subset(&queues);
    let has_taken = !scene.takings().is_empty() || !queues.is_subset(&scene.listed());
    let promise = promise(mwaa.row(), payload, there);
    let mut check = |what: &str, is: bool, promised: Option<bool>| {
        if promised.is_some_and(|promised| promised != is) {
            wrong.push(format!("{what}: {is}"));
        }
    };
    check("adds", has_added, promise.adds);
    check("takes", has_taken, promise.takes);
    check("fails", told.failed, promise.fails);
    check("is ignored", told.outcome() == "ignored", promise.is_ignored);
    if promise.adds == Some(true) {
        check("has all", scene.has_all(&now), Some(true));
    }
    if promise.takes == Some(true) {
        let stays = there == There::Stale && payload != "DELETED" && mwaa != Mwaa::NotFound;
        check("has all that it needs", scene.has_all(&now), Some(stays));
        check("is empty", scene.is_empty(), Some(!stays));
        check("has what is stale", !scene.alive(&now.webserver).is_empty(), Some(false));
    }
    if payload == "DELETED" && mwaa.row() == Row::Alive {
        let says_why = ["MWAA", "AVAILABLE"].iter().all(|part| told.reason().contains(part));
        check("says why", says_why, Some(true));
    }
    let at = format!("{mwaa:?}, {payload}, {there:?}, account {}", now.account);
    wrong.iter().map(|what| format!("{at}: {what}; {} {}", told.error, told.report)).collect()
}

/// A row of the table, for both kinds of accounts as far as they have it.
async fn row(answers: &[Mwaa]) {
    let mut wrong = Vec::new();
    for environment in [own(), shared()] {
        let of_role = [Mwaa::NoRole, Mwaa::RoleDenied, Mwaa::RoleFails];
        let can_be = |mwaa: &&Mwaa| environment == shared() || !of_role.contains(*mwaa);
        for mwaa in answers.iter().filter(can_be) {
            for payload in PAYLOADS {
                for there in THERE {
                    wrong.extend(cell(*mwaa, payload, there, &environment).await);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn what_mwaa_answers_is_wanted_and_what_it_proves_stale_may_go() {
    row(&[Mwaa::Says("AVAILABLE"), Mwaa::Says("DELETING")]).await;
}

#[tokio::test]
async fn what_mwaa_does_not_know_any_more_gets_nothing_and_loses_all() {
    row(&[Mwaa::NotFound]).await;
}

#[tokio::test]
async fn where_mwaa_may_not_be_asked_the_event_counts_unless_the_tags_remember_a_newer_one() {
    row(&[Mwaa::NoRole, Mwaa::RoleDenied, Mwaa::Denied]).await;
}

#[tokio::test]
async fn while_mwaa_does_not_reply_things_are_added_and_none_is_taken_away() {
    row(&[Mwaa::Error, Mwaa::TimeOut, Mwaa::RoleFails]).await;
}

/// What MWAA's answer says of the web server is not what the event says.
fn stale() -> (Environment, Environment) {
    (own(), own().public_only())
}

#[tokio::test]
async fn mwaa_is_asked_once_and_at_the_same_time_as_ec2_is_looked_at() {
    for status in ["PENDING", "UPDATING", "AVAILABLE", "UNAVAILABLE"] {
        for nothing_there in [true, false] {
            let scene = Scene::new();
            if nothing_there {
                scene.is(&own());
            } else {
                scene.serve(&own()).await;
            }
            scene.world().latency = Duration::from_millis(20);
            scene.world().answered = 0;
            scene.send(event(&own(), status, THEN)).await.ok();
            let at = format!("{status}, nothing there: {nothing_there}");
            let asked = scene.calls();
            let asked: Vec<_> = asked.iter().filter(|c| c.action == "GetEnvironment").collect();
            assert_eq!(asked.len(), 1, "{at}");
            assert_eq!(asked[0].round, 1, "{at}");
        }
    }
}

#[tokio::test]
async fn a_sweep_asks_once_about_each_environment_that_loses_nothing() {
    let scene = Scene::new();
    scene.serve(&own()).await;
    scene.serve(&shared()).await;
    scene.is(&neighbour("new"));
    scene.send(sweep()).await.ok();
    let accounts = [(own(), 1), (shared(), 1), (neighbour("new"), 1)];
    for (environment, times) in accounts {
        let asked = scene.world().asked(&environment.account, &environment.name);
        assert_eq!(asked, times, "{}", environment.arn());
    }
}

#[tokio::test]
async fn before_anything_is_taken_away_mwaa_is_asked_again_after_the_look() {
    for (status, environment) in [("AVAILABLE", Some(own().public_only())), ("DELETED", None)] {
        let scene = Scene::new();
        scene.serve(&own()).await;
        match environment {
            Some(environment) => scene.is(&environment),
            None => scene.is_gone(&own()),
        };
        scene.send(event(&own().public_only(), status, THEN)).await.ok();
        let calls = scene.calls();
        let at = |is: &dyn Fn(&str) -> bool| calls.iter().position(|call| is(&call.action));
        let looked = at(&|action| action == "DescribeVpcEndpoints").unwrap();
        let asked = calls.iter().rposition(|call| call.action == "GetEnvironment").unwrap();
        let took = at(&|action| action == "DeleteVpcEndpoints").unwrap();
        assert!(looked < asked && asked < took, "{status}: {calls:?}");
        assert_eq!(scene.world().asked(&own().account, "analytics"), 2, "{status}");
    }
}

/// An answer about something that goes may be older than the look that it is to be compared with.
#[tokio::test]
async fn the_second_answer_counts() {
    let (private, public) = stale();
    let says = |environment: &Environment| Says::from(environment);
    let updating = says(&public.with_status("UPDATING"));
    for (status, first, second, fails, takes) in [
        ("AVAILABLE", says(&public), says(&public), false, true),
        ("AVAILABLE", says(&public), says(&private), false, false),
        ("AVAILABLE", says(&public), updating, false, false),
        ("AVAILABLE", says(&public), Says::NotFound, false, false),
        ("AVAILABLE", says(&public), SILENT, true, false),
        ("DELETED", Says::NotFound, Says::NotFound, false, true),
        ("DELETED", Says::NotFound, says(&private), false, false),
        ("DELETED", Says::NotFound, SILENT, true, false),
    ] {
        let scene = Scene::new();
        scene.serve(&private).await;
        scene.says(&private, [first.clone(), second.clone()]);
        // In truth it is all still there, so that every loss is noted.
        if takes {
            scene.world().environments.clear();
        }
        let told = scene.send(event(&public, status, THEN)).await;
        let at = format!("{status}, {first:?}, then {second:?}: {told:?}");
        assert_eq!(told.failed, fails, "{at}");
        assert_eq!(!scene.takings().is_empty(), takes, "{at}");
        assert!(takes || scene.listed().contains(QUEUE), "{at}");
    }
}

/// When a sweep gets to an environment, what it was told of it is a while ago.
#[tokio::test]
async fn a_sweep_takes_away_only_what_mwaa_says_twice() {
    let says = |environment: &Environment| Says::from(environment);
    for environment in [own(), shared()] {
        let (private, public) = (environment.clone(), environment.public_only());
        for (first, second, takes) in [
            (says(&public), says(&public), true),
            (says(&public), says(&private), false),
            (says(&public), says(&public.with_status("UPDATING")), false),
            (says(&public), Says::NotFound, false),
            (says(&public), SILENT, false),
            (says(&public), DENIED, false),
            (Says::NotFound, Says::NotFound, true),
            (Says::NotFound, says(&private), false),
            (Says::NotFound, SILENT, false),
            (Says::NotFound, DENIED, false),
        ] {
            let scene = Scene::new();
            scene.serve(&private).await;
            scene.says(&private, [first.clone(), second.clone()]);
            // In truth it is all still there, so that every loss is noted.
            if takes {
                scene.world().environments.insert(public.key(), public.with_status("CREATING"));
            }
            let told = scene.send(sweep()).await;
            let at = format!("{}, {first:?}, then {second:?}: {told:?}", environment.account);
            assert_eq!(scene.world().asked(&private.account, "analytics"), 2, "{at}");
            assert_eq!(!scene.takings().is_empty(), takes, "{at}");
            assert!(takes || scene.has_all(&private), "{at}");
            let marks = |service: &String| scene.tag(&scene.the(service), "gone");
            assert!(takes || marks(&private.database).is_none(), "{at}");
        }
    }
}

/// It was asked before the look that shows what is there now.
#[tokio::test]
async fn after_an_answer_that_differs_mwaa_is_asked_again_after_the_new_look() {
    let going = Says::from(&own().with_status("DELETING"));
    for (third, takes, fails) in
        [(Says::NotFound, true, false), (Says::from(&own()), false, false), (SILENT, false, true)]
    {
        let scene = Scene::new();
        scene.serve(&own()).await;
        scene.says(&own(), [going.clone(), Says::NotFound, third.clone()]);
        if takes {
            scene.world().environments.clear();
        }
        let database = scene.the(&own().database);
        let mut asked = 0;
        scene.double.meanwhile(move |world, call| {
            asked += usize::from(call.action == "GetEnvironment");
            let looks = asked == 2 && call.action == "DescribeVpcEndpoints";
            if looks && !world.ours.contains("vpce-late") {
                let mut late = world.endpoint(&database).clone();
                (late.id, late.service) = ("vpce-late".into(), service("database-again"));
                world.endpoints.push(late);
                world.ours.insert("vpce-late".into());
            }
        });
        let told = scene.send(event(&own(), "DELETED", THEN)).await;
        let at = format!("{third:?}: {told:?}");
        assert_eq!(told.failed, fails, "{at}");
        assert_eq!(!scene.takings().is_empty(), takes, "{at}");
        assert_eq!(scene.is_empty(), takes, "{at}");
        let calls = scene.calls();
        let asked: Vec<usize> =
            (0..calls.len()).filter(|n| calls[*n].action == "GetEnvironment").collect();
        assert_eq!(asked.len(), 3, "{at}");
        let between = &calls[asked[1]..asked[2]];
        assert!(between.iter().any(|call| call.action == "DescribeVpcEndpoints"), "{at}");
        assert!(calls[..asked[2]].iter().all(Call::reads), "{at}");
    }
}

/// A participant whose queue this is may send its messages on, also changed.
#[tokio::test]
async fn a_deletion_of_an_environment_that_is_alive_is_ignored_with_the_reason() {
    for status in [
        "CREATING",
        "PENDING",
        "AVAILABLE",
        "UPDATING",
        "UPDATE_FAILED",
        "UNAVAILABLE",
        "MAINTENANCE",
        "CREATING_SNAPSHOT",
        "ROLLING_BACK",
        "FROBNICATING",
    ] {
        for environment in [own(), shared()] {
            let scene = Scene::new();
            scene.serve(&environment).await;
            scene.says(&environment, [Says::from(&environment.with_status(status))]);
            let told = scene.send(event(&environment, "DELETED", THEN)).await.ok();
            assert_eq!(told.outcome(), "ignored", "{status}: {told:?}");
            assert!(told.reason().contains("MWAA") && told.reason().contains(status), "{told:?}");
            assert_eq!(scene.changes(), Vec::<String>::new(), "{status}");
        }
    }
}

#[tokio::test]
async fn a_deletion_that_mwaa_agrees_with_takes_all_away() {
    for environment in [own(), shared()] {
        let going = |status: &str| Says::from(&environment.with_status(status));
        for says in [Says::NotFound, going("DELETING"), going("DELETED")] {
            let scene = Scene::new();
            scene.serve(&environment).await;
            scene.is_gone(&environment).says(&environment, [says.clone()]);
            let told = scene.send(event(&environment, "DELETED", THEN)).await.ok();
            assert!(scene.is_empty(), "{says:?}: {told:?}");
        }
    }
}

#[tokio::test]
async fn a_dry_run_asks_mwaa_too_and_only_reads() {
    for environment in [own(), shared()] {
        for there in [false, true] {
            for payload in [
                event(&environment, "PENDING", THEN),
                event(&environment.public_only(), "AVAILABLE", THEN),
                event(&environment, "DELETED", THEN),
                replay(&environment),
                sweep(),
            ] {
                let scene = Scene::new();
                if there {
                    scene.serve(&environment).await;
                }
                let gone = payload["detail"]["status"] == json!("DELETED");
                if gone {
                    scene.is_gone(&environment);
                } else {
                    scene.is(&environment);
                }
                let told = scene.send(dry(payload.clone())).await.ok();
                assert_eq!(told.report["dryRun"], json!(true));
                assert_eq!(scene.changes(), Vec::<String>::new(), "{}", named(&payload));
                let asked = scene.world().asked(&environment.account, &environment.name);
                // Where there is nothing to take away, nobody need be asked whether it may go.
                assert!(asked > 0 || gone && !there, "{}", named(&payload));
            }
        }
    }
}

/// What a dry run says comes from MWAA, too.
#[tokio::test]
async fn a_dry_run_says_what_mwaa_lets_it_do() {
    let scene = Scene::new();
    scene.serve(&own()).await;
    let told = scene.send(dry(event(&own(), "DELETED", THEN))).await.ok();
    assert_eq!(told.outcome(), "ignored", "{told:?}");
    assert!(told.reason().contains("MWAA") && told.resources().is_empty(), "{told:?}");

    let scene = Scene::new();
    scene.is(&own());
    let told = scene.send(dry(sweep())).await.ok();
    let of = |kind: &str| told.resources().iter().filter(|r| r["kind"] == json!(kind)).count();
    assert_eq!((of("endpoint"), of("sqs-endpoint")), (2, 1), "{told:?}");
}

/// GetEnvironment may lag behind its own event.
#[tokio::test]
async fn no_status_of_the_answer_stops_what_is_added() {
    for says in ["CREATING", "PENDING", "AVAILABLE", "UPDATING", "UNAVAILABLE", "FROBNICATING"] {
        for status in ["PENDING", "UPDATING", "AVAILABLE"] {
            let scene = Scene::new();
            scene.is(&own()).says(&own(), [Says::from(&own().with_status(says))]);
            let told = scene.send(event(&own(), status, THEN)).await.ok();
            assert!(scene.has_all(&own()), "{status} while MWAA says {says}: {told:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_it_is_going_or_was_never_made_stops_what_is_added() {
    for says in ["DELETING", "DELETED", "CREATE_FAILED"] {
        for status in ["PENDING", "UPDATING", "AVAILABLE"] {
            let scene = Scene::new();
            scene.is(&own()).says(&own(), [Says::from(&own().with_status(says))]);
            let told = scene.send(event(&own(), status, THEN)).await.ok();
            assert_eq!(scene.changes(), Vec::<String>::new(), "{status}, {says}: {told:?}");
        }
    }
}

/// When an event of 10:15 is handled, and whether it may be newer than MWAA's answer.
const AGES: [(&str, bool); 3] = [
    ("2026-03-04T10:15:00Z", true),
    ("2026-03-04T10:19:00Z", true),
    ("2026-03-04T10:21:00Z", false),
];

/// Of an update, the event may be there before the answer.
#[tokio::test]
async fn what_an_event_under_five_minutes_old_names_beyond_the_answer_is_added_too() {
    let (before, after) = (own().public_only(), own().with_groups(&["sg-1", "sg-2"]));
    for (now, is_fresh) in AGES {
        for status in ["UPDATING", "AVAILABLE"] {
            let scene = Scene::new();
            scene.world().add_group("sg-2", "more");
            scene.serve(&before).await;
            scene.at(now).send(event(&after, status, THEN)).await.ok();
            let database = scene.the(&own().database);
            let carries = scene.world().endpoint(&database).groups.contains("sg-2");
            assert_eq!(carries, is_fresh, "another group, {status} at {now}");
            let webserver = !scene.alive(&own().webserver).is_empty();
            assert_eq!(webserver, is_fresh, "a web server service, {status} at {now}");
        }
    }
}

#[tokio::test]
async fn another_queue_in_an_event_under_five_minutes_old_is_added_too() {
    let after = Environment { queue: OTHER_QUEUE.into(), ..own() };
    for (now, is_fresh) in AGES {
        let scene = Scene::new();
        scene.serve(&own()).await;
        scene.at(now).send(event(&after, "AVAILABLE", THEN)).await.ok();
        assert_eq!(scene.listed().contains(OTHER_QUEUE), is_fresh, "at {now}");
        assert!(scene.listed().contains(QUEUE), "at {now}: what MWAA names stays");
    }
}

#[tokio::test]
async fn an_event_older_than_the_environment_names_nothing_that_counts() {
    let before = Environment {
        database: service("database-before"),
        webserver: service("webserver-before"),
        queue: format!("{OTHER_QUEUE}-before"),
        ..own().with_groups(&["sg-2"])
    };
    for status in ["PENDING", "UPDATING", "AVAILABLE", "DELETED"] {
        let scene = Scene::new();
        scene.world().add_group("sg-2", "before");
        scene.world().services.extend([before.database.clone(), before.webserver.clone()]);
        scene.is(&own());
        // Also if it was made moments ago.
        let told = scene.at("2026-03-03T08:01:00Z").send(event(&before, status, BEFORE)).await.ok();
        assert_eq!(scene.alive(&before.database), Vec::<String>::new(), "{status}: {told:?}");
        assert_eq!(scene.alive(&before.webserver), Vec::<String>::new(), "{status}");
        assert!(!scene.listed().contains(&before.queue), "{status}");
        if status == "DELETED" {
            assert_eq!(told.outcome(), "ignored", "{told:?}");
        } else {
            assert!(scene.has_all(&own()), "{status}: {told:?}");
            let database = scene.the(&own().database);
            assert!(!scene.world().endpoint(&database).groups.contains("sg-2"), "{status}");
        }
    }
}

/// Also while that one is going.
#[tokio::test]
async fn a_deletion_older_than_the_environment_takes_nothing_away() {
    for environment in [own(), shared()] {
        for status in ["DELETING", "DELETED"] {
            for (time, takes) in [(BEFORE, false), (THEN, true)] {
                let scene = Scene::new();
                scene.serve(&environment).await;
                scene.says(&environment, [Says::from(&environment.with_status(status))]);
                if takes {
                    scene.world().environments.clear();
                }
                let told = scene.send(event(&environment, "DELETED", time)).await.ok();
                let at = format!("{status}, of {time}: {told:?}");
                assert_eq!(told.outcome() == "ignored", !takes, "{at}");
                assert_eq!(scene.changes().is_empty(), !takes, "{at}");
                assert_eq!(scene.is_empty(), takes, "{at}");
            }
        }
    }
}

#[tokio::test]
async fn an_answer_about_another_arn_is_none() {
    let other = Environment { name: "other".into(), ..own().public_only() };
    let scene = Scene::new();
    scene.is(&own()).says(&own(), [Says::from(&other)]);
    scene.send(event(&own(), "PENDING", THEN)).await.ok();
    assert!(scene.has_all(&own()));

    let scene = Scene::new();
    scene.serve(&own()).await;
    scene.says(&own(), [Says::from(&other)]);
    let told = scene.send(event(&own().public_only(), "AVAILABLE", THEN)).await;
    assert_eq!(scene.takings(), Vec::<String>::new(), "{told:?}");
    scene.says(&own(), [Says::from(&other.with_status("DELETED"))]);
    let told = scene.send(event(&own(), "DELETED", LATER)).await;
    assert_eq!(scene.takings(), Vec::<String>::new(), "{told:?}");
}

/// Only where MWAA may not be asked, an event is proof enough to take something away.
#[tokio::test]
async fn only_a_denial_says_that_mwaa_may_not_be_asked() {
    let mwaa = |status, code| (None, Some(Says::Refused(status, code)));
    let role = |status, code| (Some((status, code)), None);
    for ((role, says), may_not) in [
        (role(403, "AccessDenied"), true),
        (mwaa(403, "AccessDeniedException"), true),
        (role(503, "ServiceUnavailable"), false),
        (role(500, "InternalFailure"), false),
        (role(403, "RegionDisabledException"), false),
        (role(403, "ExpiredToken"), false),
        (role(400, "Throttling"), false),
        (mwaa(500, "InternalServerException"), false),
        (mwaa(503, "ServiceUnavailable"), false),
        (mwaa(429, "ThrottlingException"), false),
        (mwaa(403, "ExpiredTokenException"), false),
        ((None, Some(SILENT)), false),
    ] {
        let mut scene = Scene::new();
        scene.serve(&shared()).await;
        scene.function.mwaa = Some(scene.double.mwaa(1));
        scene.world().environments.clear();
        scene.world().roles.extend(role.map(|answer| (PARTICIPANT.to_owned(), answer)));
        if let Some(says) = says.clone() {
            scene.says(&shared(), [says]);
        }
        let told = scene.send(event(&shared(), "DELETED", THEN)).await;
        assert_eq!(told.failed, !may_not, "{role:?} {says:?}: {told:?}");
        assert_eq!(scene.is_empty(), may_not, "{role:?} {says:?}");
        assert!(may_not || scene.takings().is_empty(), "{role:?} {says:?}");
    }
}

/// The one test that waits for a limit of time of the function's own.
#[tokio::test]
async fn mwaa_that_hangs_does_not_reply() {
    let scene = Scene::new();
    scene.serve(&own()).await;
    scene.is_gone(&own());
    scene.world().latency_of_mwaa = Duration::from_secs(30);
    scene.send(event(&own(), "DELETED", THEN)).await.err();
    assert_eq!(scene.changes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_replay_has_no_time_and_orders_nothing() {
    let mut scene = Scene::new();
    scene.function.mwaa = None;
    scene.is(&own());
    scene.send(replay(&own())).await.ok();
    let database = scene.the(&own().database);
    assert_eq!(scene.tag(&database, "event-time"), None, "what it makes remembers no time");

    // An event that was on its way when the old answer was replayed is served all the same.
    scene.world().add_group("sg-2", "more");
    let more = own().with_groups(&["sg-1", "sg-2"]);
    scene.send(event(&more, "UPDATING", THEN)).await.ok();
    assert!(scene.world().endpoint(&database).groups.contains("sg-2"));
    assert_eq!(scene.tag(&database, "event-time").as_deref(), Some(THEN));
    scene.send(replay(&own())).await.ok();
    assert_eq!(scene.tag(&database, "event-time").as_deref(), Some(THEN), "it changes no time");
}

#[tokio::test]
async fn a_replay_adds_and_takes_away_only_what_mwaa_confirms() {
    let (private, public) = stale();
    for (mwaa, takes) in [
        (Some(Says::from(&public)), true),
        (Some(Says::from(&private)), false),
        (Some(DENIED), false),
        (Some(SILENT), false),
        (None, false),
    ] {
        let mut scene = Scene::new();
        scene.serve(&private).await;
        scene.lose(QUEUE);
        match &mwaa {
            Some(says) => drop(scene.says(&private, [says.clone()])),
            None => scene.function.mwaa = None,
        }
        if takes {
            scene.is(&public);
        }
        let told = scene.send(replay(&public)).await;
        assert_eq!(scene.takings().is_empty(), !takes, "{mwaa:?}: {told:?}");
        assert!(scene.listed().contains(QUEUE), "{mwaa:?}: {told:?}");
    }
}

#[tokio::test]
async fn nothing_is_made_but_for_pending_unless_customer_is_said_or_something_is_ours() {
    let unsaid = |status| without(event(&own(), status, THEN), &["endpointManagement"]);
    let mut answer = own().answer();
    answer["EndpointManagement"] = Value::Null;
    for status in ["UPDATING", "AVAILABLE", "UPDATE_FAILED", "UNAVAILABLE", "FROBNICATING"] {
        for (says, payload, ours, is_made) in [
            (DENIED, unsaid(status), false, false),
            (SILENT, unsaid(status), false, false),
            (Says::This(answer.clone()), unsaid(status), false, false),
            (DENIED, event(&own(), status, THEN), false, true),
            (Says::This(answer.clone()), event(&own(), status, THEN), false, true),
            (Says::from(&own()), unsaid(status), false, true),
            (DENIED, unsaid(status), true, true),
            (DENIED, unsaid("PENDING"), false, true),
        ] {
            let scene = Scene::new();
            if ours {
                scene.serve(&own()).await;
                let webserver = scene.the(&own().webserver);
                scene.world().endpoint(&webserver).state = "deleted".into();
            }
            scene.is(&own()).says(&own(), [says.clone()]);
            let told = scene.send(payload.clone()).await.ok();
            assert_eq!(scene.has_all(&own()), is_made, "{says:?} {}: {told:?}", named(&payload));
            assert!(is_made || scene.changes().is_empty(), "{says:?} {}", named(&payload));
        }
    }
}

const IN_USE: [&str; 7] = [
    "UPDATE_FAILED",
    "UNAVAILABLE",
    "MAINTENANCE",
    "CREATING_SNAPSHOT",
    "ROLLING_BACK",
    "UPDATING",
    "FROBNICATING",
];

#[tokio::test]
async fn an_environment_in_use_gets_what_it_needs_whatever_its_status_is_called() {
    for environment in [own(), shared()] {
        for status in IN_USE {
            for payload in [event(&environment, status, THEN), sweep()] {
                let scene = Scene::new();
                scene.is(&environment.with_status(status));
                let told = scene.send(payload.clone()).await.ok();
                assert!(scene.has_all(&environment), "{status}, {}: {told:?}", named(&payload));
            }
            // Also on the event's word alone.
            let scene = Scene::new();
            scene.is(&environment).says(&environment, [DENIED]);
            let told = scene.send(event(&environment, status, THEN)).await.ok();
            assert!(scene.has_all(&environment), "{status}: {told:?}");
        }
    }
}

#[tokio::test]
async fn nothing_is_taken_away_in_a_status_that_passes_but_what_is_stale_after_a_failed_update() {
    let (private, public) = stale();
    for status in IN_USE {
        let proves = status == "UPDATE_FAILED";
        for payload in [event(&public, status, THEN), sweep()] {
            let scene = Scene::new();
            scene.serve(&private).await;
            scene.is(&public.with_status(status));
            let told = scene.send(payload.clone()).await.ok();
            assert_eq!(
                !scene.takings().is_empty(),
                proves,
                "{status}, {}: {told:?}",
                named(&payload)
            );
            assert!(scene.has_all(&public) || !proves, "{status}, {}: {told:?}", named(&payload));
        }
    }
}

/// Both the event and MWAA must say that the update is over, and MWAA what is stale.
#[tokio::test]
async fn what_is_stale_goes_only_if_mwaa_itself_says_that_the_environment_is_settled() {
    let (private, public) = stale();
    let says = |status| Says::from(&public.with_status(status));
    for (event_says, mwaa, takes) in [
        ("AVAILABLE", says("AVAILABLE"), true),
        ("AVAILABLE", says("UPDATE_FAILED"), true),
        ("AVAILABLE", says("UPDATING"), false),
        ("AVAILABLE", says("MAINTENANCE"), false),
        ("AVAILABLE", says("PENDING"), false),
        ("UPDATE_FAILED", says("AVAILABLE"), true),
        ("UPDATE_FAILED", says("UPDATE_FAILED"), true),
        ("UPDATE_FAILED", says("UPDATING"), false),
        ("UPDATE_FAILED", DENIED, false),
        ("UPDATING", says("AVAILABLE"), false),
        ("PENDING", says("AVAILABLE"), false),
        ("UNAVAILABLE", says("AVAILABLE"), false),
    ] {
        let scene = Scene::new();
        scene.serve(&private).await;
        scene.is(&public).says(&public, [mwaa.clone()]);
        let told = scene.send(event(&public, event_says, THEN)).await.ok();
        assert_eq!(!scene.takings().is_empty(), takes, "{event_says}, {mwaa:?}: {told:?}");
    }
}

#[tokio::test]
async fn what_the_answer_lacks_is_filled_in_from_the_event_for_adding_only() {
    let lacking = |fields: &[&str]| {
        let mut answer = own().answer();
        fields.iter().for_each(|field| answer[*field] = Value::Null);
        Says::This(answer)
    };
    let scene = Scene::new();
    let fields = ["WebserverVpcEndpointService", "CeleryExecutorQueue", "NetworkConfiguration"];
    scene.is(&own()).says(&own(), [lacking(&fields)]);
    let told = scene.send(event(&own(), "AVAILABLE", THEN)).await.ok();
    assert!(scene.has_all(&own()), "{told:?}");

    // Another queue and a public web server, which only the event names.
    let other = Environment { queue: OTHER_QUEUE.into(), ..own().public_only() };
    let scene = Scene::new();
    scene.serve(&own()).await;
    scene.says(&own(), [lacking(&["CeleryExecutorQueue", "WebserverAccessMode"])]);
    let told = scene.send(event(&other, "AVAILABLE", THEN)).await.ok();
    assert!(scene.listed().contains(OTHER_QUEUE), "{told:?}");
    assert!(scene.listed().contains(QUEUE) && scene.takings().is_empty(), "{told:?}");
}

#[tokio::test]
async fn no_event_fills_in_a_mode_by_which_something_goes_or_is_left_out() {
    for environment in [own(), shared()] {
        for is_null in [true, false] {
            let mut answer = environment.answer();
            answer["WebserverAccessMode"] = Value::Null;
            if !is_null {
                answer.as_object_mut().unwrap().remove("WebserverAccessMode");
            }
            let public = environment.public_only();
            for (now, status) in [
                (NOW, "AVAILABLE"),
                (NOW, "UPDATE_FAILED"),
                (NOW, "UPDATING"),
                (NOW, "PENDING"),
                // The event may be newer than the answer.
                ("2026-03-04T10:16:00Z", "AVAILABLE"),
            ] {
                let at = format!("{status} at {now}, {}, null {is_null}", environment.account);
                // It is there.
                let scene = Scene::new();
                scene.serve(&environment).await;
                scene.says(&environment, [Says::This(answer.clone())]);
                let told = scene.at(now).send(event(&public, status, THEN)).await.ok();
                assert_eq!(scene.takings(), Vec::<String>::new(), "{at}: {told:?}");
                assert!(scene.has_all(&environment), "{at}: {told:?}");
                // It is missing, alone or with all the rest.
                let webserver = scene.the(&environment.webserver);
                scene.world().endpoint(&webserver).state = "deleted".into();
                let told = scene.send(event(&public, status, LATER)).await.ok();
                assert!(scene.has_all(&environment), "{at}: {told:?}");
                let scene = Scene::new();
                scene.is(&environment).says(&environment, [Says::This(answer.clone())]);
                let told = scene.at(now).send(event(&public, status, THEN)).await.ok();
                assert!(scene.has_all(&environment), "{at}: {told:?}");
            }
        }
    }
}

/// Nobody knows what it is older than.
#[tokio::test]
async fn an_event_without_a_time_proves_nothing_stale_where_mwaa_may_not_be_asked() {
    let (private, public) = stale();
    for remembers in [true, false] {
        for says in [DENIED, SILENT] {
            let scene = Scene::new();
            scene.serve(&private).await;
            if remembers {
                scene.send(event(&private, "UPDATING", LATER)).await.ok();
            }
            scene.lose(QUEUE);
            scene.says(&private, [says.clone()]);
            let mut untimed = event(&public, "AVAILABLE", THEN);
            untimed.as_object_mut().unwrap().remove("time");
            let told = scene.send(untimed).await;
            let at = format!("{says:?}, remembers {remembers}: {told:?}");
            assert_eq!(scene.takings(), Vec::<String>::new(), "{at}");
            assert!(scene.has_all(&private), "{at}");
            assert!(!told.failed, "{at}");
        }
    }
}

#[tokio::test]
async fn what_is_missing_is_added_even_if_what_is_stale_must_wait_for_a_reply() {
    let (private, public) = stale();
    for says in [SILENT, Says::Refused(503, "ServiceUnavailable")] {
        let scene = Scene::new();
        scene.serve(&private).await;
        scene.lose(QUEUE);
        scene.says(&private, [says]);
        let error = scene.send(event(&public, "AVAILABLE", THEN)).await.err();
        assert!(error.contains("MWAA"), "{error}");
        assert!(scene.listed().contains(QUEUE), "{error}");
        assert_eq!(scene.takings(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_deletion_without_a_reply_fails_if_there_is_something_to_take_away() {
    for environment in [own(), shared()] {
        let scene = Scene::new();
        scene.serve(&environment).await;
        scene.says(&environment, [SILENT]);
        let error = scene.send(event(&environment, "DELETED", THEN)).await.err();
        assert!(error.contains("MWAA"), "{error}");
        assert_eq!(scene.changes(), Vec::<String>::new());

        let scene = Scene::new();
        scene.is(&environment).says(&environment, [SILENT]);
        let told = scene.send(event(&environment, "DELETED", THEN)).await.ok();
        assert_eq!(told.outcome(), "unchanged", "{told:?}");
    }
}

/// A mark says that somebody knew that it is gone.
#[tokio::test]
async fn without_a_reply_nothing_is_marked_as_gone_where_leftovers_are_kept() {
    for environment in [own(), shared()] {
        let mut scene = Scene::new();
        scene.serve(&environment).await;
        scene.function.settings.as_mut().unwrap().keep_leftovers = true;
        scene.says(&environment, [SILENT]);
        let error = scene.send(event(&environment, "DELETED", THEN)).await.err();
        assert!(error.contains("MWAA"), "{error}");
        assert_eq!(scene.changes(), Vec::<String>::new());
        let database = scene.the(&environment.database);
        assert_eq!(scene.tag(&database, "gone"), None);
        // So its neighbour's delivery puts its queue back.
        scene.lose(QUEUE);
        scene.is(&environment).serve(&neighbour("other")).await;
        assert!(scene.has_all(&environment));
        // And with a reply it is marked.
        scene.is_gone(&environment).send(event(&environment, "DELETED", LATER)).await.ok();
        assert!(scene.tag(&database, "gone").is_some());
        assert_eq!(scene.the(&environment.database), database);
    }
}

#[tokio::test]
async fn without_a_reply_nothing_fails_that_would_take_nothing_away() {
    let (private, public) = stale();
    for keeps in [true, false] {
        let mut scene = Scene::new();
        scene.serve(&private).await;
        scene.function.settings.as_mut().unwrap().keep_leftovers = keeps;
        scene.says(&private, [SILENT]);
        let told = scene.send(event(&public, "AVAILABLE", THEN)).await;
        assert_eq!(told.failed, !keeps, "{told:?}");
        assert_eq!(scene.takings(), Vec::<String>::new());
        assert!(scene.has_all(&private));
    }
}

/// Whoever may not list the environments of an account may be told of one all the same.
#[tokio::test]
async fn a_sweep_that_may_not_list_asks_about_each_environment_that_the_tags_name() {
    for environment in [own(), shared()] {
        for (is_gone, marked) in [(false, true), (false, false), (true, true), (true, false)] {
            let scene = Scene::new();
            scene.serve(&environment).await;
            let all: Vec<String> = scene.world().ours.iter().cloned().collect();
            for id in all.iter().filter(|_| marked) {
                scene.plant(id, &[("gone", NOW)]);
            }
            if is_gone {
                scene.is_gone(&environment);
            }
            let account = environment.account.clone();
            scene.double.meanwhile(move |world, call| {
                world.closed_accounts.clear();
                if call.action == "ListEnvironments" {
                    world.closed_accounts.insert(account.clone());
                }
            });
            let told = scene.send(sweep()).await.ok();
            let at = format!("{}, gone {is_gone}, marked {marked}: {told:?}", environment.account);
            let asked = scene.world().asked(&environment.account, "analytics");
            assert!(asked >= 1, "{at}");
            assert_eq!(scene.is_empty(), is_gone, "{at}");
            assert_eq!(scene.takings().is_empty(), !is_gone, "{at}");
            assert!(is_gone || scene.has_all(&environment), "{at}");
            assert!(told.warns(&["ListEnvironments", &environment.account]), "{at}");
        }
    }
}

/// Before `PENDING` nothing is needed, and what was made once may not be lost.
#[tokio::test]
async fn a_sweep_puts_back_what_an_environment_that_is_creating_lost_and_makes_it_nothing() {
    for environment in [own(), shared()] {
        let creating = environment.with_status("CREATING");
        let scene = Scene::new();
        scene.is(&creating).send(sweep()).await.ok();
        assert_eq!(scene.changes(), Vec::<String>::new());

        let scene = Scene::new();
        scene.serve(&environment).await;
        scene.lose(QUEUE);
        let told = scene.is(&creating).send(sweep()).await.ok();
        assert!(scene.has_all(&environment), "{told:?}");
        assert_eq!(scene.takings(), Vec::<String>::new());
    }
}

/// Its creation hangs, and nobody else would say so.
#[tokio::test]
async fn a_sweep_tells_what_mwaa_does_not_name_of_an_environment_that_waits() {
    for environment in [own(), shared()] {
        let waiting = environment.with_status("PENDING");
        for (field, fails) in
            [("DatabaseVpcEndpointService", true), ("NetworkConfiguration", false)]
        {
            for payload in [sweep(), dry(sweep())] {
                let mut answer = waiting.answer();
                answer.as_object_mut().unwrap().remove(field);
                let scene = Scene::new();
                scene.is(&waiting).says(&waiting, [Says::This(answer)]);
                let told = scene.send(payload.clone()).await;
                let at = format!("{field}, {}: {told:?}", named(&payload));
                if fails {
                    assert!(told.failed || payload["dryRun"] == json!(true), "{at}");
                    let failed = |r: &Value| {
                        r["outcome"] == json!("failed") && r.to_string().contains(field)
                    };
                    assert!(told.resources().iter().any(failed), "{at}");
                } else {
                    assert!(told.warns(&["subnets"]), "{at}");
                }
            }
        }
    }
}

/// They may be all that remembers an environment that is gone.
#[tokio::test]
async fn no_dead_endpoint_is_replaced_while_mwaa_does_not_reply() {
    for (says, replaces) in [(SILENT, false), (DENIED, true), (Says::from(&own()), true)] {
        for status in ["PENDING", "UPDATING", "AVAILABLE"] {
            let scene = Scene::new();
            scene.serve(&own()).await;
            let dead = scene.the(&own().database);
            scene.world().endpoint(&dead).state = "rejected".into();
            scene.says(&own(), [says.clone()]);
            let told = scene.send(event(&own(), status, THEN)).await;
            let at = format!("{status}, {says:?}: {told:?}");
            assert_eq!(scene.alive(&own().database).len(), usize::from(replaces), "{at}");
            assert_eq!(scene.world().endpoint(&dead).state == "rejected", !replaces, "{at}");
        }
    }
}

/// A text that the log is written into.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// No real event is public, so the first user's log should tell what is in one; but no values.
#[tokio::test]
async fn the_names_of_the_fields_of_a_new_shape_of_event_are_logged_once() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let scene = Scene::new();
    scene.is(&own());
    let mut payload = event(&own(), "PENDING", THEN);
    payload["detail"]["zebraField"] = json!({"zebraSecret": "swordfish"});
    let times = |what: &str| {
        let log = log.0.lock().unwrap();
        String::from_utf8_lossy(&log).lines().filter(|line| line.contains(what)).count()
    };
    for _ in 0..3 {
        scene.send(payload.clone()).await.ok();
        assert_eq!((times("zebraField"), times("swordfish")), (1, 0));
    }
    payload["detail"]["yakField"] = json!(1);
    scene.send(payload).await.ok();
    assert_eq!((times("zebraField"), times("yakField"), times("swordfish")), (2, 1, 0));
}

/// The calls of a delivery by round trip, with MWAA's and those for a role.
async fn rounds(scene: &Scene, payload: Value) -> Vec<Vec<String>> {
    scene.world().latency = Duration::from_millis(20);
    scene.double.take_rounds();
    scene.send(payload).await.ok();
    scene.double.take_rounds()
}

#[tokio::test]
async fn a_private_environment_with_nothing_there_takes_three_round_trips() {
    for status in ["PENDING", "AVAILABLE"] {
        let scene = Scene::new();
        scene.is(&own());
        let rounds = rounds(&scene, event(&own(), status, THEN)).await;
        assert!(rounds.len() <= if status == "PENDING" { 3 } else { 4 }, "{status}: {rounds:?}");
        assert!(rounds[0].contains(&"GetEnvironment".to_owned()), "{status}: {rounds:?}");
    }
}

#[tokio::test]
async fn an_environment_that_is_right_takes_two_round_trips_and_no_write() {
    for status in ["PENDING", "UPDATING", "AVAILABLE"] {
        let scene = Scene::new();
        scene.serve(&own()).await;
        let rounds = rounds(&scene, event(&own(), status, FIRST)).await;
        // Of what has been waiting for hours the doctor looks at the network, too, after all else.
        let limit = if status == "PENDING" { 3 } else { 2 };
        assert!(rounds.len() <= limit, "{status}: {rounds:?}");
        assert_eq!(scene.changes(), Vec::<String>::new());
    }
}

/// MWAA names them in whatever order it likes.
#[tokio::test]
async fn subnets_in_another_order_cost_no_further_round_trip() {
    for status in ["PENDING", "AVAILABLE"] {
        for there in [false, true] {
            let mut counts = Vec::new();
            for subnets in [["subnet-1", "subnet-2"], ["subnet-2", "subnet-1"]] {
                let scene = Scene::new();
                if there {
                    scene.serve(&own()).await;
                }
                let mut answer = own().with_status(status).answer();
                answer["NetworkConfiguration"]["SubnetIds"] = json!(subnets);
                scene.is(&own().with_status(status)).says(&own(), [Says::This(answer)]);
                let rounds = rounds(&scene, event(&own(), status, THEN)).await;
                counts.push(rounds.len());
                assert!(counts[0] == rounds.len(), "{status}, there {there}: {rounds:?}");
            }
        }
    }
}
