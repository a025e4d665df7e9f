//! What a redrive says as it goes, and what of it is told to a program at the end.

use std::time::{SystemTime, UNIX_EPOCH};

use mwaa_vpc_endpoints::environment::Environment;
use serde_json::{Value, json};

use super::message::Message;
use crate::lines::{WIDTH, marked, named};
use crate::paint::Paint;

/// Where it is said: at once to a person, at the end to a program.
#[derive(Debug)]
pub struct Output {
    pub paint: Paint,
    /// Whether a program reads the answer.
    pub is_json: bool,
    /// What is told to a program: one entry for each environment, and for what is none.
    pub told: Vec<Value>,
}

impl Output {
    pub fn new(paint: Paint, is_json: bool) -> Self {
        Self { paint, is_json, told: Vec::new() }
    }

    pub fn print(&self, text: &str) {
        if !self.is_json {
            crate::print(text);
        }
    }

    pub fn section(&self, title: &str, note: &str) {
        let gap = WIDTH.saturating_sub(title.chars().count() + note.chars().count()).max(1);
        let title = self.paint.bold(title);
        self.print(&format!("\n{title}{:gap$}{}\n", "", self.paint.dim(note)));
    }

    pub fn mark(&self, text: &str) {
        self.print(&marked('!', text, self.paint));
    }

    /// A message, with the reason why it is there.
    pub fn message(&self, message: &Message, queue: &str, name: &str) {
        let queued = format!("in {queue} for {}", ago(message.sent));
        let line = match message.time() {
            "" => queued,
            time => format!("of {time}, {queued}"),
        };
        self.print(&named(name, &line, self.paint));
        self.print(&named("why", &message.why, self.paint));
    }

    /// Begins to tell of an environment, of sweeps, or of what is none.
    pub fn begin(
        &mut self,
        environment: Option<&Environment>,
        messages: &[Message],
        queues: &[String],
    ) {
        let message = |it: &Message| {
            json!({
                "queue": queues.get(it.queue),
                "id": it.id,
                "status": it.about.as_ref().map(|it| &it.status),
                "time": Some(it.time()).filter(|it| !it.is_empty()),
                "sent": it.sent / 1000,
                "why": it.why,
                "text": it.about.is_none().then_some(&it.text),
            })
        };
        self.told.push(json!({
            "environment": environment.map(Environment::arn),
            "messages": messages.iter().map(message).collect::<Vec<_>>(),
            "invocations": [],
            "left": null,
        }));
    }

    /// What an invocation for the last of these answered.
    pub fn invoked(&mut self, source: &str, messages: usize, result: &Value) {
        if let Some(all) = self.told.last_mut().and_then(|it| it["invocations"].as_array_mut()) {
            all.push(json!({"source": source, "messages": messages, "result": result}));
        }
    }

    /// Why messages of the last of these stay in the queue.
    pub fn left(&mut self, why: &str) {
        if let Some(last) = self.told.last_mut() {
            last["left"] = Value::from(why);
        }
    }
}

pub fn counted(number: usize) -> String {
    format!("{number} message{}", if number == 1 { "" } else { "s" })
}

/// How long it is since a time in milliseconds.
fn ago(sent: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since(now.as_secs().saturating_sub(u64::try_from(sent / 1000).unwrap_or_default()))
}

fn since(seconds: u64) -> String {
    let units = [(86_400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds")];
    let fits = units.iter().find(|(size, _)| seconds >= 2 * size);
    fits.map_or_else(|| "a moment".to_owned(), |(size, unit)| format!("{} {unit}", seconds / size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_one_unit() {
        for (seconds, told) in [
            (0, "a moment"),
            (1, "a moment"),
            (2, "2 seconds"),
            (119, "119 seconds"),
            (120, "2 minutes"),
            (7199, "119 minutes"),
            (7200, "2 hours"),
            (200_000, "2 days"),
        ] {
            assert_eq!(since(seconds), told);
        }
        assert_eq!((counted(1), counted(0)), ("1 message".to_owned(), "0 messages".to_owned()));
    }
}
