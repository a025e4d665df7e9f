//! Whose turn it is. The clock says where to begin, so that no process need remember where the last
//! sweep stopped, and each environment comes first from time to time.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};

use crate::environment::Environment;

/// Environments that wait for their turn.
#[derive(Default)]
pub(super) struct Turns {
    /// Those that nothing was made for: MWAA may be waiting for it.
    new: VecDeque<Environment>,
    /// Those that something was made for.
    served: VecDeque<Environment>,
    /// Those about which MWAA is not asked: what is known of others' queues helps them.
    unasked: VecDeque<Environment>,
    was_new: bool,
}

impl Turns {
    /// The turns of a sweep that began `now`.
    pub(super) fn new(
        all: impl IntoIterator<Item = Environment>,
        is_asked: impl Fn(&Environment) -> bool,
        is_new: impl Fn(&Environment) -> bool,
        now: DateTime<Utc>,
    ) -> Self {
        let mut turns = Self::default();
        for environment in all {
            let queue = match (is_asked(&environment), is_new(&environment)) {
                (false, _) => &mut turns.unasked,
                (true, true) => &mut turns.new,
                (true, false) => &mut turns.served,
            };
            queue.push_back(environment);
        }
        for queue in [&mut turns.new, &mut turns.served, &mut turns.unasked] {
            let start = start(queue.len(), now);
            queue.rotate_left(start);
        }
        turns
    }

    /// The next of those about which MWAA is asked. New ones come first; where there are so many that
    /// they take the first half of the time, every other turn from then on.
    pub(super) fn next(&mut self, is_first_half: bool) -> Option<Environment> {
        let new_first = is_first_half || !self.was_new || self.served.is_empty();
        let next = match new_first {
            true => self.new.pop_front(),
            false => None,
        };
        self.was_new = next.is_some();
        next.or_else(|| self.served.pop_front())
    }

    /// The next of the others.
    pub(super) fn next_unasked(&mut self) -> Option<Environment> {
        self.unasked.pop_front()
    }

    /// Whether anybody waits about whom MWAA is not asked.
    pub(super) fn has_unasked(&self) -> bool {
        !self.unasked.is_empty()
    }

    /// Those that still wait, the next one first.
    pub(super) fn left(&self) -> impl Iterator<Item = &Environment> {
        self.new.iter().chain(&self.served).chain(&self.unasked)
    }
}

/// The golden ratio, as a part of 2^64.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Where to begin among so many. Multiples of the golden ratio fall far from each other, whether sweeps
/// are a minute or fifteen apart: the places of a day are spread, and where a sweep reaches a tenth,
/// sixteen of them have reached all.
pub(super) fn start(among: usize, now: DateTime<Utc>) -> usize {
    let minute = now.timestamp().div_euclid(60).cast_unsigned();
    let place = u128::from(minute.wrapping_mul(GOLDEN)) * among as u128;
    usize::try_from(place >> 64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::environment::{AccountId, Region};

    fn environments(prefix: &str, count: usize) -> Vec<Environment> {
        let account = AccountId::parse("210987654321").unwrap();
        let region = Region::parse("us-east-1").unwrap();
        let environment =
            |n| Environment::new(account.clone(), region.clone(), &format!("{prefix}{n:04}"));
        (0..count).map(|n| environment(n).unwrap()).collect()
    }

    fn morning() -> DateTime<Utc> {
        "2026-03-04T06:00:00Z".parse().unwrap()
    }

    /// How many sweeps of `reach` environments it takes until all of `count` had a turn.
    fn sweeps_until_all(count: usize, reach: usize, minutes: i64, from: DateTime<Utc>) -> usize {
        let all = environments("e", count);
        let mut waiting: std::collections::BTreeSet<_> = all.iter().cloned().collect();
        let week = 7 * 24 * 60 / minutes;
        for sweep in 0..week {
            let now = from + TimeDelta::minutes(sweep * minutes);
            let mut turns = Turns::new(all.clone(), |_| true, |_| false, now);
            for _ in 0..reach {
                waiting.remove(&turns.next(true).unwrap());
            }
            if waiting.is_empty() {
                return usize::try_from(sweep).unwrap() + 1;
            }
        }
        panic!("{} of {count} had no turn in a week, every {minutes} minutes", waiting.len())
    }

    #[test]
    fn in_a_week_of_any_schedule_every_environment_has_its_turn() {
        for minutes in [1, 2, 3, 5, 10, 12, 15, 20, 30, 45, 60, 90, 120] {
            for hours in [0, 5, 13] {
                let from = morning() + TimeDelta::hours(hours);
                sweeps_until_all(300, 60, minutes, from);
            }
        }
    }

    #[test]
    fn ten_times_the_environments_take_ten_times_the_sweeps_not_more() {
        for minutes in [1, 15, 30, 60] {
            let once = sweeps_until_all(300, 300, minutes, morning());
            let ten_times = sweeps_until_all(3000, 300, minutes, morning());
            assert_eq!(once, 1);
            assert!(ten_times <= 17, "every {minutes} minutes: {ten_times} sweeps");
        }
    }

    #[test]
    fn new_environments_come_first_and_never_take_all_turns() {
        let all = || environments("new", 40).into_iter().chain(environments("old", 5));
        let is_new = |environment: &Environment| environment.name().starts_with("new");
        let mut turns = Turns::new(all(), |_| true, is_new, morning());
        let first: Vec<_> = (0..10).filter_map(|_| turns.next(true)).collect();
        assert!(first.iter().all(is_new));
        let then: Vec<_> = (0..10).filter_map(|_| turns.next(false)).collect();
        assert_eq!(then.iter().filter(|it| is_new(it)).count(), 5, "{then:?}");
        let rest = std::iter::from_fn(|| turns.next(false)).count();
        assert_eq!(rest, 45 - 20);
    }

    #[test]
    fn whoever_is_not_asked_about_comes_last_and_nobody_is_lost() {
        let all = environments("e", 6);
        let mut turns =
            Turns::new(all.clone(), |it| !it.name().ends_with('3'), |_| false, morning());
        assert!(turns.has_unasked());
        assert_eq!(turns.left().count(), 6);
        assert_eq!(std::iter::from_fn(|| turns.next(true)).count(), 5);
        assert_eq!(turns.next_unasked().as_ref(), Some(&all[3]));
        assert_eq!(turns.left().count(), 0);
    }
}
