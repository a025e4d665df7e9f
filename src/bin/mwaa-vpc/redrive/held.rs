//! What this run has received and not dealt with.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The most that SQS hands out, or takes, in one call.
pub const PAGE: i32 = 10;
/// How long nobody else receives what this run has received, in seconds.
pub const HIDDEN: i32 = 1800;
/// When that is prolonged. An invocation, which takes 330 seconds at most, may come between.
const PROLONG_AFTER: Duration = Duration::from_secs(600);

/// What this run holds of a queue.
#[derive(Debug, Default)]
pub struct Held {
    /// Receipt handles by message id.
    pub receipts: BTreeMap<String, String>,
    /// When the first of them was received, or all were prolonged.
    pub since: Option<Instant>,
}

impl Held {
    /// Notes that a message was received; whether it was not held yet.
    pub fn add(&mut self, id: &str, receipt: String) -> bool {
        self.receipts.insert(id.to_owned(), receipt).is_none()
    }

    /// Whether what is held should be kept to this run for longer.
    pub fn is_due(&self, now: Instant) -> bool {
        let passed = self.since.map(|since| now.saturating_duration_since(since));
        !self.receipts.is_empty() && passed.is_some_and(|passed| passed > PROLONG_AFTER)
    }

    /// As pages for SQS: for each message its id and its receipt handle.
    pub fn pages(&self, ids: &[&str]) -> Vec<Vec<(String, String)>> {
        let receipt = |id: &&str| Some(((*id).to_owned(), self.receipts.get(*id)?.clone()));
        let all: Vec<_> = ids.iter().filter_map(receipt).collect();
        all.chunks(PAGE as usize).map(<[_]>::to_vec).collect()
    }

    pub fn all(&self) -> Vec<Vec<(String, String)>> {
        self.pages(&self.receipts.keys().map(String::as_str).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_kept_for_longer_before_others_can_receive_it() {
        let now = Instant::now();
        let mut held = Held { since: Some(now), ..Held::default() };
        let later = |seconds| now + Duration::from_secs(seconds);
        assert!(!held.is_due(later(5000)), "nothing is held");
        held.add("a", "1".to_owned());
        assert!(!held.is_due(later(600)) && held.is_due(later(601)));
        // A look comes before each invocation, which may take its whole time.
        assert!(600 + 330 < HIDDEN as u64);
    }

    #[test]
    fn a_message_that_comes_twice_is_one_and_its_last_receipt_counts() {
        let mut held = Held::default();
        assert!(held.add("a", "1".to_owned()) && !held.add("a", "2".to_owned()));
        assert_eq!(held.all(), [[("a".to_owned(), "2".to_owned())]]);
    }

    #[test]
    fn sqs_takes_ten_at_a_time_of_what_is_held() {
        let mut held = Held::default();
        for id in 0..23 {
            held.add(&format!("{id:02}"), "r".to_owned());
        }
        let sizes = |pages: Vec<Vec<_>>| pages.iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(held.all()), [10, 10, 3]);
        assert_eq!(sizes(held.pages(&["05", "unheard-of"])), [1]);
    }
}
