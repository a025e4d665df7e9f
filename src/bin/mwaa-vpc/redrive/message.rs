//! What a message of a queue for lost events says: why it is there, and of which environment it is.

use chrono::{DateTime, SecondsFormat};
use mwaa_vpc_endpoints::environment::{AccountId, Environment, Region};
use serde_json::Value;

use super::why::{why_failed, why_undelivered};
use crate::lines::plain;

/// A message as SQS hands it out.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub id: String,
    pub body: String,
    /// When it was sent, in milliseconds since 1970.
    pub sent: i64,
    /// What whoever sent it put beside it: names with values.
    pub attributes: Vec<(String, String)>,
}

/// A message that was read. One that cannot be read is about nothing.
#[derive(Clone, Debug)]
pub struct Message {
    /// The queue that it lies in, by its place in the list of queues.
    pub queue: usize,
    /// Whether only Lambda and EventBridge write into that queue.
    pub is_ours: bool,
    pub id: String,
    pub sent: i64,
    /// Why it is there.
    pub why: String,
    /// How it begins.
    pub text: String,
    /// What the function should have got.
    pub payload: Value,
    pub about: Option<About>,
}

/// What an event, or MWAA's answer, is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    pub environment: Environment,
    pub status: String,
    /// The event's time; empty if it tells none.
    pub time: String,
}

impl Message {
    /// Reads a message of a queue.
    pub fn read(queue: usize, is_ours: bool, told: Told) -> Self {
        let mut body: Value = serde_json::from_str(&told.body).unwrap_or_default();
        let (payload, why) = match body.get_mut("requestPayload").map(Value::take) {
            Some(payload) => (payload, why_failed(&body)),
            None => (body, why_undelivered(&told.attributes)),
        };
        Self {
            queue,
            is_ours,
            id: told.id,
            sent: told.sent,
            why: plain(&why),
            text: plain(&told.body).chars().take(300).collect(),
            about: about(&payload),
            payload,
        }
    }

    /// Whether it asks for a sweep, and nobody else can have written that.
    pub fn is_sweep(&self) -> bool {
        self.is_ours && self.payload.get("sweep") == Some(&Value::Bool(true))
    }

    /// The status that it tells.
    pub fn status(&self) -> &str {
        self.about.as_ref().map_or("", |about| about.status.as_str())
    }

    /// The event's time; empty if it tells none.
    pub fn time(&self) -> &str {
        self.about.as_ref().map_or("", |about| about.time.as_str())
    }

    /// What messages are ordered by: the event's time, or else when it was sent.
    pub fn order(&self) -> (String, i64) {
        let sent = || {
            let time = DateTime::from_timestamp_millis(self.sent).unwrap_or_default();
            time.to_rfc3339_opts(SecondsFormat::Secs, true)
        };
        let time = Some(self.time()).filter(|it| !it.is_empty());
        (time.map_or_else(sent, str::to_owned), self.sent)
    }
}

/// The environment that an event, or MWAA's answer, is about.
fn about(payload: &Value) -> Option<About> {
    let text = |pointer: &str| payload.pointer(pointer).and_then(Value::as_str);
    let is_event = text("/source") == Some("aws.airflow")
        && text("/detail-type") == Some("MWAA Environment Status Change");
    let (environment, status, time) = if payload.get("Environment").is_some_and(Value::is_object) {
        (Environment::parse(text("/Environment/Arn")?).ok()?, text("/Environment/Status")?, None)
    } else if is_event {
        let account = AccountId::parse(text("/account")?).ok()?;
        let region = Region::parse(text("/region")?).ok()?;
        let environment = Environment::new(account, region, text("/detail/name")?).ok()?;
        (environment, text("/detail/status")?, text("/time"))
    } else {
        return None;
    };
    let is_status = !status.is_empty()
        && status.len() <= 100
        && status.bytes().all(|it| it.is_ascii_uppercase() || it == b'_');
    let time = time.filter(|it| is_time(it)).unwrap_or_default().to_owned();
    is_status.then(|| About { environment, status: status.to_owned(), time })
}

/// Whether it is a time as events have it, so that the order of texts is that of times.
fn is_time(text: &str) -> bool {
    let form = "0000-00-00T00:00:00";
    let bytes = text.as_bytes();
    let begins = bytes.len() > form.len()
        && form.bytes().zip(bytes).all(|(form, it)| match form {
            b'0' => it.is_ascii_digit(),
            other => *it == other,
        });
    let rest = bytes.get(form.len()..).unwrap_or_default();
    let fraction = rest.strip_suffix(b"Z").and_then(|it| match it {
        [] => Some(&b"0"[..]),
        _ => it.strip_prefix(b"."),
    });
    begins && fraction.is_some_and(|it| !it.is_empty() && it.iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event() -> Value {
        json!({
            "source": "aws.airflow", "detail-type": "MWAA Environment Status Change",
            "account": "111122223333", "region": "us-east-1", "time": "2026-03-01T08:00:00Z",
            "detail": {"name": "analytics", "status": "PENDING"},
        })
    }

    fn read(body: &Value) -> Message {
        Message::read(0, true, Told { body: body.to_string(), ..Told::default() })
    }

    #[test]
    fn an_event_a_record_of_it_and_mwaas_answer_are_about_their_environment() {
        let arn = "arn:aws:airflow:us-east-1:111122223333:environment/analytics";
        let answer = json!({"Environment": {"Arn": arn, "Status": "AVAILABLE"}});
        for (body, status, time) in [
            (event(), "PENDING", "2026-03-01T08:00:00Z"),
            (json!({"requestPayload": event()}), "PENDING", "2026-03-01T08:00:00Z"),
            (answer.clone(), "AVAILABLE", ""),
            (json!({"requestPayload": answer}), "AVAILABLE", ""),
        ] {
            let message = read(&body);
            assert_eq!(message.about.clone().unwrap().environment.arn(), arn, "{body}");
            assert_eq!((message.status(), message.time()), (status, time));
        }
    }

    #[test]
    fn a_record_is_of_what_the_function_should_have_got() {
        let record = json!({"requestPayload": event(), "responsePayload": {"errorMessage": "b"}});
        let message = read(&record);
        assert_eq!((message.why.as_str(), message.payload), ("b", event()));
    }

    #[test]
    fn what_is_not_quite_an_event_is_about_nothing() {
        for (pointer, wrong) in [
            ("/source", json!("aws.s3")),
            ("/detail-type", json!("Object Created")),
            ("/account", json!(111_122_223_333_u64)),
            ("/account", json!("١١١١٢٢٢٢٣٣٣٣")),
            ("/region", json!("../x")),
            ("/detail", json!("none")),
            ("/detail/name", json!("a/../b")),
            ("/detail/status", json!("\u{1b}[2J")),
            ("/detail/status", json!("")),
        ] {
            let mut body = event();
            *body.pointer_mut(pointer).unwrap() = wrong;
            assert!(read(&body).about.is_none(), "{body}");
        }
        let bodies =
            ["not JSON", &"[".repeat(20_000), "[1]", "null", "7", "{\"requestPayload\": null}"];
        for body in bodies {
            let message = Message::read(0, true, Told { body: body.to_owned(), ..Told::default() });
            assert!(message.about.is_none() && !message.is_sweep());
            assert!(message.text.chars().count() <= 300);
        }
    }

    #[test]
    fn a_sweep_is_one_only_in_a_queue_of_our_own() {
        let body = json!({"sweep": true}).to_string();
        let told = Told { body, ..Told::default() };
        assert!(Message::read(0, true, told.clone()).is_sweep());
        assert!(!Message::read(0, false, told).is_sweep());
        assert!(!read(&json!({"sweep": "true"})).is_sweep());
    }

    #[test]
    fn messages_are_in_order_of_their_events_or_of_when_they_were_sent() {
        let mut early = read(&event());
        let answer = json!({"Environment": {"Arn": "arn:aws:airflow:us-east-1:111122223333:environment/a", "Status": "PENDING"}});
        let mut late = read(&answer);
        (early.sent, late.sent) = (9_000_000_000_000, 1_772_352_001_000);
        assert_eq!(late.order().0, "2026-03-01T08:00:01Z");
        assert!(early.order() < late.order());
        for (time, is_one) in [
            ("2026-03-01T08:00:00Z", true),
            ("2026-03-01T08:00:00.5Z", true),
            ("2026-03-01T08:00:00", false),
            ("2026-03-01T08:00:00.Z", false),
            ("2026-03-01T08:00:00+00:00", false),
            ("yesterday", false),
            ("", false),
        ] {
            assert_eq!(is_time(time), is_one, "{time}");
        }
    }
}
