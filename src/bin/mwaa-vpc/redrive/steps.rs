//! Which invocations the messages of one environment need, and what is done with each outcome.

use mwaa_vpc_endpoints::environment::Environment;
use serde_json::{Value, json};

use super::message::Message;

/// An invocation, and the messages that are dealt with if it succeeds.
#[derive(Clone, Debug)]
pub struct Step {
    pub payload: Value,
    /// What it is served from, for a person.
    pub source: String,
    pub messages: Vec<Message>,
    /// Only whether the function has nothing to do for the event is asked.
    pub ask_only: bool,
}

impl Step {
    /// What the function gets.
    pub fn payload(&self, dry_run: bool) -> Value {
        let mut payload = self.payload.clone();
        if let Some(fields) = payload.as_object_mut()
            && (dry_run || self.ask_only)
        {
            fields.insert("dryRun".to_owned(), Value::Bool(true));
        }
        payload
    }
}

/// What MWAA says of an environment.
#[derive(Clone, Debug, PartialEq)]
pub enum Says {
    /// This.
    Answer(Value),
    /// That there is none.
    Gone,
    /// Nothing, for this reason: it was not asked, or may not be.
    Unknown(String),
}

/// Messages of one environment, the oldest first.
pub type Group = (Environment, Vec<Message>);

/// The messages by environment, each in order of time; the environment with the oldest first.
pub fn groups(messages: Vec<Message>) -> Vec<Group> {
    let mut messages = messages;
    messages.sort_by_key(Message::order);
    let mut groups: Vec<Group> = Vec::new();
    for message in messages {
        let Some(about) = &message.about else { continue };
        match groups.iter_mut().find(|(it, _)| *it == about.environment) {
            Some((_, group)) => group.push(message),
            None => groups.push((about.environment.clone(), vec![message])),
        }
    }
    groups
}

/// The invocations that messages of one environment need, the oldest message first.
///
/// # Errors
///
/// Why messages stay in the queue although nothing failed.
pub fn steps(messages: Vec<Message>, says: Says) -> Result<Vec<Step>, String> {
    let Some(newest) = messages.last() else { return Ok(Vec::new()) };
    let last_deleted = messages.iter().rposition(|it| it.status() == "DELETED");
    match says {
        Says::Answer(answer) => {
            let status = answer.get("Status").and_then(Value::as_str).unwrap_or_default();
            if last_deleted.is_some() && matches!(status, "DELETING" | "DELETED") {
                return Err(format!("MWAA says that it is {status}. Look again when it is gone."));
            }
            let source = format!("MWAA's answer ({status})");
            let payload = json!({"Environment": answer});
            Ok(vec![Step { payload, source, messages, ask_only: false }])
        }
        Says::Gone if !newest.is_ours => {
            Err(not_believed("MWAA says that there is no such environment"))
        }
        Says::Unknown(why) if !newest.is_ours => Err(not_believed(&why)),
        Says::Gone => {
            let ask_only = newest.status() != "DELETED";
            let payload = newest.payload.clone();
            let source = "the event, since it is gone".to_owned();
            Ok(vec![Step { payload, source, messages, ask_only }])
        }
        Says::Unknown(why) => {
            // An event before the last DELETED is about what is gone since.
            let mut first = messages;
            let rest = first.split_off(last_deleted.unwrap_or_default() + 1);
            let groups = std::iter::once(first).chain(rest.into_iter().map(|it| vec![it]));
            let step = |messages: Vec<Message>| {
                let payload = messages.last().map(|it| it.payload.clone()).unwrap_or_default();
                let source = format!("the event, since {why}");
                Step { payload, source, messages, ask_only: false }
            };
            Ok(groups.map(step).collect())
        }
    }
}

fn not_believed(why: &str) -> String {
    format!(
        "{why}, and others may have written what lies in this queue. If the environment is gone, see docs/runbook.md, \"Left over after deletion\". Then delete the message."
    )
}

/// Why a message stays of which it was only asked whether the function has nothing to do for it, and
/// it has.
pub const WOULD_SERVE: &str = "MWAA says that there is no such environment, and the function, which may not ask MWAA there, would serve it. If something is left of it, see docs/runbook.md, \"Left over after deletion\". Then delete the message.";

#[cfg(test)]
mod tests {
    use super::super::message::Told;
    use super::*;

    /// Messages of an environment, by their statuses, an hour between them.
    fn messages(is_ours: bool, statuses: &[&str]) -> Vec<Message> {
        let read = |(hour, status): (usize, &&str)| {
            let body = json!({
                "source": "aws.airflow", "detail-type": "MWAA Environment Status Change",
                "account": "111122223333", "region": "us-east-1", "time": format!("2026-03-01T0{hour}:00:00Z"),
                "detail": {"name": "analytics", "status": status},
            });
            Message::read(0, is_ours, Told { body: body.to_string(), ..Told::default() })
        };
        statuses.iter().enumerate().map(read).collect()
    }

    /// How many messages each step serves, and the status of the event that it hands over.
    fn shape(steps: &[Step]) -> Vec<(usize, &str)> {
        let status = |it: &Step| it.payload.pointer("/detail/status").is_some();
        steps
            .iter()
            .map(|it| {
                let newest = it.messages.last().map_or("", Message::status);
                (it.messages.len(), if status(it) { newest } else { "MWAA" })
            })
            .collect()
    }

    fn unknown() -> Says {
        Says::Unknown("nobody may ask".to_owned())
    }

    #[test]
    fn what_mwaa_says_serves_all_messages_and_not_the_old_events() {
        let answer = json!({"Status": "AVAILABLE"});
        for is_ours in [true, false] {
            let all = messages(is_ours, &["PENDING", "DELETED"]);
            let steps = steps(all, Says::Answer(answer.clone())).unwrap();
            assert_eq!(shape(&steps), [(2, "MWAA")]);
            assert_eq!(steps[0].payload, json!({"Environment": answer}));
            assert_eq!(steps[0].source, "MWAA's answer (AVAILABLE)");
        }
    }

    #[test]
    fn a_deletion_waits_until_mwaa_is_done_with_it() {
        for status in ["DELETING", "DELETED"] {
            let says = || Says::Answer(json!({"Status": status}));
            assert!(steps(messages(true, &["DELETED"]), says()).is_err());
            assert!(steps(messages(true, &["PENDING"]), says()).is_ok());
        }
    }

    #[test]
    fn of_what_is_gone_only_a_deletion_is_done() {
        let steps_of = |all: &[&str]| steps(messages(true, all), Says::Gone).unwrap();
        let gone = steps_of(&["PENDING", "DELETED"]);
        assert!(shape(&gone) == [(2, "DELETED")] && !gone[0].ask_only);
        assert_eq!(gone[0].payload(false).get("dryRun"), None);
        assert_eq!(gone[0].payload(true)["dryRun"], true);
        let other = steps_of(&["DELETED", "PENDING"]);
        assert!(shape(&other) == [(2, "PENDING")] && other[0].ask_only);
        assert_eq!(other[0].payload(false)["dryRun"], true);
    }

    #[test]
    fn where_nobody_may_ask_events_are_handed_over_from_the_last_deletion_on() {
        for (statuses, expected) in [
            (&["PENDING", "UPDATING"][..], &[(1, "PENDING"), (1, "UPDATING")][..]),
            (&["PENDING", "DELETED"], &[(2, "DELETED")]),
            (&["DELETED", "PENDING", "DELETED", "PENDING"], &[(3, "DELETED"), (1, "PENDING")]),
        ] {
            let steps = steps(messages(true, statuses), unknown()).unwrap();
            assert_eq!(shape(&steps), expected);
            assert_eq!(steps[0].source, "the event, since nobody may ask");
            assert!(steps.iter().all(|it| !it.ask_only));
        }
    }

    #[test]
    fn what_others_may_have_written_is_never_handed_over() {
        for says in [Says::Gone, unknown()] {
            for status in ["PENDING", "DELETED"] {
                let why = steps(messages(false, &[status]), says.clone()).unwrap_err();
                assert!(why.contains("others may have written"), "{why}");
            }
        }
    }

    #[test]
    fn environments_are_served_in_order_of_their_oldest_message() {
        let mut all = messages(true, &["PENDING", "UPDATING", "AVAILABLE"]);
        all[0].about.as_mut().unwrap().environment =
            Environment::parse("arn:aws:airflow:us-east-1:111122223333:environment/other").unwrap();
        all.reverse();
        let groups = groups(all);
        let names: Vec<_> = groups.iter().map(|(it, all)| (it.name(), all.len())).collect();
        assert_eq!(names, [("other", 1), ("analytics", 2)]);
        assert_eq!(groups[1].1[0].status(), "UPDATING");
    }
}
