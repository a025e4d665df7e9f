//! The rule of truth: MWAA is asked, an event is a hint, a tag is a memory. What is wanted, and what may
//! be taken away, follows from what MWAA says, and from the event only as far as MWAA cannot say it.

use chrono::{DateTime, TimeDelta, Utc};

use super::recall::Memory;
use crate::environment::Environment;
use crate::event::{EnvironmentSpec, Origin, Status};
use crate::report::Failure;
use crate::vpc::Observed;

/// What MWAA says of an environment when it is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum MwaaSays {
    /// This.
    Says(Box<EnvironmentSpec>),
    /// That there is no such environment.
    NotFound,
    /// That it may not be asked about it; or there is no role to ask with.
    MayNotAsk(Failure),
    /// Nothing, or nothing that can be understood. That proves nothing.
    NoReply(Failure),
}

/// What is to be done for an environment.
#[derive(Clone, Debug, PartialEq)]
pub enum Course {
    /// Nothing, for this reason.
    Nothing(String),
    /// It gets what it needs, and loses what is proven stale.
    Serve(Box<Serve>),
    /// Its creation failed: what is there is told, and nothing changed.
    Diagnose(Box<Serve>),
    /// It is gone: what was made for it goes.
    Clear(Box<Clear>),
}

/// An environment gets what it needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Serve {
    /// What it needs.
    pub spec: EnvironmentSpec,
    /// Whether MWAA waits for its endpoints, so that all that is needed must be named.
    pub is_waiting: bool,
    /// What is remembered of it.
    pub memory: Memory,
    /// Why dead endpoints are not replaced, if they are not: they may be all that remembers it.
    pub keeps_dead: Option<String>,
    /// What may be taken away.
    pub stale: Stale,
}

/// What may be taken away from an environment that is in use.
#[derive(Clone, Debug, PartialEq)]
pub enum Stale {
    /// Nothing.
    None,
    /// What this proves stale.
    Proven(EnvironmentSpec),
    /// Nothing, for this reason, although this seems to prove something stale: it must be tried again.
    Unproven(EnvironmentSpec, String),
}

/// What was made for an environment that is gone goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Clear {
    /// What is said of it.
    pub spec: EnvironmentSpec,
    /// Whether MWAA itself says that it is gone.
    pub by_mwaa: bool,
    /// Why nothing is taken away, if nothing is: it must be tried again.
    pub unproven: Option<String>,
}

/// How old an event may be for MWAA's answer to lag behind it.
const FRESH_EVENT: TimeDelta = TimeDelta::minutes(5);

const LATE: &str = "MWAA says that there is no such environment any more: the event is late";

/// What is there of an environment already.
#[derive(Clone, Copy, Debug, Default)]
pub struct There {
    /// Whether anything was made for it.
    pub is_anything: bool,
    /// Whether all of that was marked as left when it went.
    pub is_left_behind: bool,
    /// The time of the newest event that was applied to it.
    pub remembered: Option<DateTime<Utc>>,
}

impl There {
    /// As it was seen.
    pub fn of(environment: &Environment, observed: &Observed) -> Self {
        Self {
            is_anything: observed.owns_anything(environment),
            is_left_behind: observed.is_left_behind(environment),
            remembered: observed.remembered_time(environment),
        }
    }
}

/// Judges what is to be done for an environment of which a `hint` is given, an event, a person's
/// replay, or of a sweep nothing, and of which MWAA `says` this.
pub fn judge(hint: &EnvironmentSpec, says: &MwaaSays, there: There, now: DateTime<Utc>) -> Course {
    if hint.is_untold() {
        return judge_untold(hint, says, there, now);
    }
    match says {
        MwaaSays::Says(answer) => by_answer(answer, Some(hint), there, now),
        MwaaSays::NotFound if hint.status == Status::Deleted => clear(hint.clone(), true, None),
        MwaaSays::NotFound => Course::Nothing(LATE.to_owned()),
        MwaaSays::MayNotAsk(_) => by_hint(hint, None, there.remembered),
        MwaaSays::NoReply(why) => by_hint(hint, Some(why.to_string()), there.remembered),
    }
}

fn clear(spec: EnvironmentSpec, by_mwaa: bool, unproven: Option<String>) -> Course {
    Course::Clear(Box::new(Clear { spec, by_mwaa, unproven }))
}

/// MWAA answers: that is what is wanted. Event times play no part, but to tell an event of an earlier
/// environment, or one that MWAA's answer lags behind.
fn by_answer(
    answer: &EnvironmentSpec,
    hint: Option<&EnvironmentSpec>,
    there: There,
    now: DateTime<Utc>,
) -> Course {
    let status = &answer.status;
    let hint = match hint {
        // `DELETING` and `DELETED` agree with the event.
        Some(hint) if hint.status == Status::Deleted => {
            return match status {
                Status::Deleting | Status::Deleted if is_older(hint, answer) => Course::Nothing(
                    "the event is older than the environment that MWAA tells of".to_owned(),
                ),
                Status::Deleting | Status::Deleted => clear(hint.clone(), true, None),
                _ => Course::Nothing(format!(
                    "MWAA says that the environment is {status}: the event is late, or was sent on by somebody"
                )),
            };
        }
        // It is of an environment that had this name before.
        Some(hint) if is_older(hint, answer) => None,
        hint => hint,
    };
    let is_fresh = hint
        .and_then(EnvironmentSpec::event_time)
        .is_some_and(|time| now.signed_duration_since(time) < FRESH_EVENT);
    let told = hint.map_or(status, |hint| &hint.status);
    let mut spec = match hint {
        Some(hint) => answer.clone().filled_from(hint, is_fresh),
        None => answer.clone(),
    };
    if spec.customer_managed == Some(false) {
        return Course::Nothing(
            "MWAA manages this environment's endpoints itself (endpointManagement is SERVICE)"
                .to_owned(),
        );
    }
    let memory = match hint.and_then(EnvironmentSpec::event_time) {
        Some(time) => Memory::Event(time),
        None if hint.is_some() => Memory::None,
        None => Memory::Seen(now),
    };
    let is_waiting = *told == Status::Pending || *status == Status::Pending;
    let mut serve =
        Serve { spec: answer.clone(), is_waiting, memory, keeps_dead: None, stale: Stale::None };
    let failed = *status == Status::CreateFailed
        || matches!(status, Status::Creating | Status::Pending) && *told == Status::CreateFailed;
    if failed && *told == Status::CreateFailed && hint.is_some() {
        spec.status = Status::CreateFailed;
        (serve.spec, serve.is_waiting) = (spec, false);
        return Course::Diagnose(Box::new(serve));
    }
    if status.is_over() {
        return Course::Nothing(format!("MWAA says that the environment is {status}"));
    }
    // Before `PENDING` nothing is needed yet; after it, what was made is.
    if hint.is_none() && *status == Status::Creating && !there.is_anything {
        return Course::Nothing(format!("an environment that is {status} needs nothing"));
    }
    if status.is_settled() && (told.is_settled() || hint.is_none()) {
        serve.stale = Stale::Proven(answer.clone());
    }
    spec.status = told.clone();
    serve.spec = spec;
    Course::Serve(Box::new(serve))
}

/// Whether an event is of an environment that had this name before.
fn is_older(hint: &EnvironmentSpec, answer: &EnvironmentSpec) -> bool {
    match (hint.event_time(), answer.origin) {
        (Some(time), Origin::Mwaa { created: Some(created), .. }) => time < created,
        _ => false,
    }
}

/// MWAA may not be asked, or does not reply, for the reason in `silent`: the event is all there is, in
/// the order of event times. A person's replay has no time: it adds.
fn by_hint(
    hint: &EnvironmentSpec,
    silent: Option<String>,
    remembered: Option<DateTime<Utc>>,
) -> Course {
    if hint.status == Status::Deleted {
        let unproven = silent.map(|why| format!("MWAA did not say whether it is gone: {why}"));
        return clear(hint.clone(), false, unproven);
    }
    if let (Some(time), Some(remembered)) = (hint.event_time(), remembered)
        && remembered > time
    {
        return Course::Nothing(format!(
            "an event of {remembered} was applied before, and this one is of {time}"
        ));
    }
    let is_proof =
        hint.status == Status::Available && matches!(hint.origin, Origin::Event(Some(_)));
    let stale = match (&silent, is_proof) {
        (None, true) => Stale::Proven(hint.clone()),
        (Some(why), true) => {
            Stale::Unproven(hint.clone(), format!("MWAA did not say whether it is: {why}"))
        }
        (_, false) => Stale::None,
    };
    let serve = Serve {
        spec: hint.clone(),
        is_waiting: hint.status == Status::Pending,
        memory: hint.event_time().map_or(Memory::None, Memory::Event),
        keeps_dead: silent
            .map(|_| "MWAA did not answer whether the environment still exists".to_owned()),
        stale,
    };
    match hint.status {
        Status::CreateFailed => Course::Diagnose(Box::new(serve)),
        _ => Course::Serve(Box::new(serve)),
    }
}

/// Judges what a sweep does for an environment, of which no event tells anything.
fn judge_untold(
    unknown: &EnvironmentSpec,
    says: &MwaaSays,
    there: There,
    now: DateTime<Utc>,
) -> Course {
    let serve = |keeps_dead| {
        Course::Serve(Box::new(Serve {
            spec: unknown.clone(),
            is_waiting: false,
            memory: Memory::None,
            keeps_dead,
            stale: Stale::None,
        }))
    };
    match says {
        MwaaSays::Says(answer) => by_answer(answer, None, there, now),
        MwaaSays::NotFound => clear(gone(unknown), true, None),
        // Its event was the proof, so nobody need be asked.
        MwaaSays::MayNotAsk(_) if there.is_left_behind => clear(gone(unknown), false, None),
        MwaaSays::MayNotAsk(_) => serve(None),
        MwaaSays::NoReply(_) if there.is_left_behind => {
            Course::Nothing("it was left behind, and MWAA did not reply".to_owned())
        }
        MwaaSays::NoReply(_) => {
            serve(Some("MWAA did not answer whether the environment still exists".to_owned()))
        }
    }
}

fn gone(unknown: &EnvironmentSpec) -> EnvironmentSpec {
    EnvironmentSpec { status: Status::Deleted, ..unknown.clone() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::event::{Work, of_mwaa, parse};

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn now() -> DateTime<Utc> {
        time("2026-03-04T12:00:00Z")
    }

    fn event(status: &str, at: &str) -> EnvironmentSpec {
        let payload = json!({
            "source": "aws.airflow", "detail-type": "MWAA Environment Status Change",
            "account": "210987654321", "region": "us-east-1", "time": at,
            "detail": {
                "name": "analytics", "status": status, "endpointManagement": "CUSTOMER",
                "databaseVpcEndpointService": "com.amazonaws.vpce.us-east-1.vpce-svc-0aa",
                "networkConfiguration": {
                    "subnetIds": ["subnet-1"], "securityGroupIds": ["sg-1", "sg-2"]
                }
            }
        });
        match parse(payload).unwrap().work {
            Work::Environment(spec) => *spec,
            other => panic!("{other:?}"),
        }
    }

    fn answer(status: &str, more: Value) -> MwaaSays {
        let mut answer = json!({
            "Arn": "arn:aws:airflow:us-east-1:210987654321:environment/analytics",
            "Status": status, "CreatedAt": "2026-03-04T10:00:00Z",
            "NetworkConfiguration": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
        });
        answer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        MwaaSays::Says(Box::new(of_mwaa(answer).unwrap()))
    }

    fn failure() -> Failure {
        Failure::new("asking", "no", "ask")
    }

    fn judged(hint: &EnvironmentSpec, says: &MwaaSays) -> Course {
        judge(hint, says, There { is_anything: true, ..There::default() }, now())
    }

    #[test]
    fn an_answer_is_what_is_wanted_and_a_fresh_event_only_adds_to_it() {
        for (at, groups) in [("2026-03-04T11:59:00Z", 2), ("2026-03-04T11:00:00Z", 1)] {
            let course = judged(&event("AVAILABLE", at), &answer("AVAILABLE", json!({})));
            let Course::Serve(serve) = course else { panic!("{course:?}") };
            assert_eq!(serve.spec.groups.len(), groups, "{at}");
            let Stale::Proven(proof) = serve.stale else { panic!("{:?}", serve.stale) };
            assert_eq!(proof.groups.len(), 1, "{at}");
            assert!(proof.named.is_empty(), "what the event fills in proves nothing");
        }
    }

    #[test]
    fn only_a_settled_environment_that_mwaa_calls_so_loses_what_is_stale() {
        for (told, says, loses) in [
            ("AVAILABLE", "AVAILABLE", true),
            ("UPDATE_FAILED", "UPDATE_FAILED", true),
            ("AVAILABLE", "UPDATING", false),
            ("UPDATING", "AVAILABLE", false),
            ("UNAVAILABLE", "UNAVAILABLE", false),
            ("PENDING", "AVAILABLE", false),
        ] {
            let course = judged(&event(told, "2026-03-04T11:00:00Z"), &answer(says, json!({})));
            let Course::Serve(serve) = course else { panic!("{told}, {says}: {course:?}") };
            assert_eq!(matches!(serve.stale, Stale::Proven(_)), loses, "{told}, {says}");
        }
    }

    #[test]
    fn a_deletion_counts_only_as_far_as_mwaa_can_say_otherwise() {
        let deleted = event("DELETED", "2026-03-04T11:00:00Z");
        let cleared = |says: &MwaaSays| match judged(&deleted, says) {
            Course::Clear(clear) => Some((clear.by_mwaa, clear.unproven.is_some())),
            Course::Nothing(_) => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(cleared(&answer("AVAILABLE", json!({}))), None);
        assert_eq!(cleared(&answer("DELETING", json!({}))), Some((true, false)));
        let later = json!({"CreatedAt": "2026-03-04T11:30:00Z"});
        assert_eq!(cleared(&answer("DELETING", later)), None);
        assert_eq!(cleared(&MwaaSays::NotFound), Some((true, false)));
        assert_eq!(cleared(&MwaaSays::MayNotAsk(failure())), Some((false, false)));
        assert_eq!(cleared(&MwaaSays::NoReply(failure())), Some((false, true)));
    }

    #[test]
    fn an_event_counts_in_the_order_of_times_only_where_mwaa_does_not_answer() {
        let hint = event("UPDATING", "2026-03-04T11:00:00Z");
        let newer = There {
            is_anything: true,
            is_left_behind: false,
            remembered: Some(time("2026-03-04T11:30:00Z")),
        };
        for says in [MwaaSays::MayNotAsk(failure()), MwaaSays::NoReply(failure())] {
            assert!(matches!(judge(&hint, &says, newer, now()), Course::Nothing(_)), "{says:?}");
        }
        let course = judge(&hint, &answer("UPDATING", json!({})), newer, now());
        assert!(matches!(course, Course::Serve(_)), "{course:?}");
    }
}
