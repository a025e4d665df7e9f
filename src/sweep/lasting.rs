//! What lasts is told when it begins, when it ends, and once a day: whoever is told the same every
//! quarter of an hour stops reading.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

/// How often what lasts is told again.
const AGAIN: TimeDelta = TimeDelta::days(1);

/// A problem: whose it is, and what it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Problem {
    /// An environment's ARN; empty for the sweep's own.
    pub(super) of: String,
    gist: String,
}

impl Problem {
    pub(super) fn new(of: &str, text: &str) -> Self {
        Self { of: of.to_owned(), gist: gist(text) }
    }
}

/// The problems that were told. It outlives an invocation as long as the process does: a new process
/// tells all once more.
#[derive(Debug, Default)]
pub struct Lasting(Mutex<BTreeMap<Problem, Told>>);

#[derive(Debug)]
struct Told {
    at: DateTime<Utc>,
    text: String,
}

/// What is to be told of the problems of a sweep.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Those that were not told in the last day.
    pub(super) new: BTreeSet<Problem>,
    /// The texts of those that were there and are not any more, with whose they were.
    pub(super) ended: Vec<(String, String)>,
}

impl Lasting {
    /// Takes down what a sweep `found` of problems, each with its text. Whether another has ended it
    /// knows only of what `was_seen`: of whom, and its text.
    pub(super) fn hear(
        &self,
        found: BTreeMap<Problem, String>,
        was_seen: impl Fn(&str, &str) -> bool,
        now: DateTime<Utc>,
    ) -> News {
        // What a panic elsewhere has left behind is still right: single values are put in.
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut news = News::default();
        let ended =
            told.extract_if(.., |it, told| !found.contains_key(it) && was_seen(&it.of, &told.text));
        news.ended = ended.map(|(problem, told)| (problem.of, told.text)).collect();
        for (problem, text) in found {
            let is_known = told.get(&problem);
            if is_known.is_none_or(|told| now.signed_duration_since(told.at) >= AGAIN) {
                news.new.insert(problem.clone());
                told.insert(problem, Told { at: now, text });
            }
        }
        news
    }
}

/// What of a text stays the same while what it tells of lasts: neither the numbers in it, which count
/// hours or characters, nor what AWS says beside an error's code, which may name a request.
fn gist(text: &str) -> String {
    let text = match text.find(" answered ") {
        Some(at) => {
            let code = &text[at + " answered ".len()..];
            let code = code.split(':').next().unwrap_or_default();
            &text[..at + " answered ".len() + code.len()]
        }
        None => text,
    };
    let is_number = |word: &&str| {
        let word = word.trim_matches(|c: char| c.is_ascii_punctuation());
        !word.is_empty() && word.chars().all(|c| c.is_ascii_digit() || c == ',' || c == '.')
    };
    text.split_whitespace().filter(|word| !is_number(word)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(texts: &[&str]) -> BTreeMap<Problem, String> {
        texts.iter().map(|text| (Problem::new("arn:e", text), (*text).to_owned())).collect()
    }

    fn at(minutes: i64) -> DateTime<Utc> {
        "2026-03-04T06:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::minutes(minutes)
    }

    #[test]
    fn what_lasts_is_told_when_it_begins_when_it_ends_and_once_a_day() {
        let lasting = Lasting::default();
        let told = |minutes, texts: &[&str], seen: bool| {
            let news = lasting.hear(found(texts), |_, _| seen, at(minutes));
            (news.new.len(), news.ended.len())
        };
        assert_eq!(told(0, &["a is broken"], true), (1, 0));
        for sweep in 1..96 {
            assert_eq!(told(sweep * 15, &["a is broken"], true), (0, 0), "sweep {sweep}");
        }
        assert_eq!(told(24 * 60, &["a is broken"], true), (1, 0), "once a day");
        assert_eq!(told(24 * 60 + 15, &["a is broken", "b too"], true), (1, 0));
        assert_eq!(told(24 * 60 + 30, &[], false), (0, 0), "it was not looked at");
        assert_eq!(told(24 * 60 + 45, &["b too"], true), (0, 1));
        assert_eq!(told(24 * 60 + 60, &["a is broken", "b too"], true), (1, 0), "again");
    }

    #[test]
    fn a_problem_stays_the_same_while_its_numbers_and_requests_change() {
        for (one, other) in [
            ("vpc-1 has 41 of 50 endpoints", "vpc-1 has 42 of 50 endpoints"),
            ("e is PENDING, for at most 3 h now", "e is PENDING, for at most 4 h now"),
            (
                "making it: CreateVpcEndpoint answered UnauthorizedOperation: encoded: aaa",
                "making it: CreateVpcEndpoint answered UnauthorizedOperation: encoded: bbb",
            ),
        ] {
            assert_eq!(gist(one), gist(other));
        }
        for (one, other) in [
            ("vpc-1 has 41 of 50 endpoints", "vpc-2 has 41 of 50 endpoints"),
            (
                "making it: CreateVpcEndpoint answered A: x",
                "making it: CreateVpcEndpoint answered B: x",
            ),
        ] {
            assert_ne!(gist(one), gist(other));
        }
    }
}
