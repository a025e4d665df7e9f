//! What was done, or keeps an environment from coming to be, in a sentence: for messages to people who want
//! to hear of it.

use chrono::{DateTime, TimeDelta, Utc};

use crate::event::Status;
use crate::report::{Change, Kind, Report};
use crate::sweep::SweepReport;

/// What was done for an environment, and what may keep it from coming to be; nothing if there is neither, or
/// it was only a plan.
pub(super) fn of_environment(report: &Report, now: DateTime<Utc>) -> Option<String> {
    // A creation that failed is only looked at.
    let failed = report.status == Status::CreateFailed.as_str();
    if report.dry_run && !failed {
        return None;
    }
    let mut told = if report.dry_run { Vec::new() } else { done(report, now) };
    let causes = &report.facts.causes;
    if !causes.is_empty() {
        const MOST: usize = 3;
        let shown: Vec<&str> = causes.iter().take(MOST).map(String::as_str).collect();
        let more = match causes.len().saturating_sub(MOST) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        // Policies are quoted in them, and the rule for results puts a summary between quotes.
        let shown = shown.join("; ").replace(['"', '\\'], "'");
        told.push(format!("possible causes: {shown}{more}"));
    }
    if told.is_empty() {
        return None;
    }
    let mut parts = report.environment.splitn(6, ':').skip(4);
    let (account, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let name = name.trim_start_matches("environment/");
    Some(format!("{name} of account {account}, {}: {}", report.status, told.join(", ")))
}

/// What was done.
fn done(report: &Report, now: DateTime<Utc>) -> Vec<String> {
    let mut done = Vec::new();
    for (change, verb) in
        [(Change::Created, "made"), (Change::Updated, "changed"), (Change::Deleted, "deleted")]
    {
        for (kind, one, several) in [
            (Kind::Endpoint, "1 endpoint", "endpoints"),
            (Kind::SecurityGroup, "1 security group", "security groups"),
            (Kind::SqsEndpoint, "the policy of 1 SQS endpoint", "policies of SQS endpoints"),
            (Kind::Tags, "tags", "tags"),
        ] {
            let lines = report.resources.iter();
            match lines.filter(|line| line.kind == kind && line.outcome == change).count() {
                0 => {}
                1 => done.push(format!("{verb} {one}")),
                count => done.push(format!("{verb} {count} {several}")),
            }
        }
    }
    if done.is_empty() {
        return done;
    }
    let failed = report.failures().len();
    if failed > 0 {
        done.push(format!("{failed} failed"));
    }
    let made = report.resources.iter().any(|line| line.outcome == Change::Created);
    if let Some(since) = report.facts.pending_since.filter(|_| made) {
        done.push(format!("{} after PENDING", age(now.signed_duration_since(since))));
    }
    done
}

/// What was done for each environment, of which so many are told, and what is news of others.
pub(super) fn of_sweep(report: &SweepReport, now: DateTime<Utc>) -> Option<String> {
    const MOST: usize = 10;
    let is_told =
        |it: &&Report| it.facts.causes.is_empty() || report.news.contains(&it.environment);
    let environments = report.environments.iter().filter(is_told);
    let mut all: Vec<String> = environments.filter_map(|it| of_environment(it, now)).collect();
    let more = all.len().saturating_sub(MOST);
    all.truncate(MOST);
    if more > 0 {
        all.push(format!("and {more} more"));
    }
    (!all.is_empty()).then(|| all.join("; "))
}

fn age(time: TimeDelta) -> String {
    match time.num_minutes() {
        ..2 => format!("{} s", time.num_seconds().max(0)),
        minutes @ 2..120 => format!("{minutes} min"),
        minutes => format!("{} h", minutes / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Outcome, Resource};

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn report(lines: &[(Kind, Change)]) -> Report {
        let arn = "arn:aws:airflow:us-east-1:210987654321:environment/forecasting";
        let mut report = Report::nothing(arn.into(), "PENDING".into(), Outcome::Changed, "");
        report.resources =
            lines.iter().map(|(kind, change)| Resource::new(*kind, *change, "")).collect();
        report.facts.pending_since = Some(time("2026-03-04T06:00:00Z"));
        report
    }

    fn told(lines: &[(Kind, Change)]) -> Option<String> {
        of_environment(&report(lines), time("2026-03-04T06:01:35Z"))
    }

    #[test]
    fn a_person_reads_what_was_done_for_whom_and_how_soon() {
        assert_eq!(
            told(&[
                (Kind::SecurityGroup, Change::Created),
                (Kind::Endpoint, Change::Created),
                (Kind::Endpoint, Change::Created),
                (Kind::SqsEndpoint, Change::Updated),
                (Kind::SqsEndpoint, Change::Failed),
            ])
            .unwrap(),
            "forecasting of account 210987654321, PENDING: made 2 endpoints, made 1 security group, \
             changed the policy of 1 SQS endpoint, 1 failed, 95 s after PENDING"
        );
        assert!(
            told(&[(Kind::Endpoint, Change::Deleted)]).unwrap().ends_with(": deleted 1 endpoint")
        );
        assert_eq!(
            told(&[(Kind::Endpoint, Change::Kept), (Kind::SqsEndpoint, Change::Failed)]),
            None
        );
        let mut plan = report(&[(Kind::Endpoint, Change::Created)]);
        plan.facts.causes = vec!["it".to_owned()];
        plan.dry_run = true;
        assert_eq!(of_environment(&plan, time("2026-03-04T06:01:35Z")), None);
    }

    #[test]
    fn what_may_have_caused_a_failure_is_told_and_of_a_wait_only_while_it_is_news() {
        let now = time("2026-03-04T06:01:35Z");
        let mut failed = report(&[]);
        (failed.status, failed.dry_run) = ("CREATE_FAILED".into(), true);
        assert_eq!(of_environment(&failed, now), None);
        failed.facts.causes =
            ["a (x)", "b {\"c\"} (y)", "c (z)", "d (w)"].map(str::to_owned).into();
        assert_eq!(
            of_environment(&failed, now).unwrap(),
            "forecasting of account 210987654321, CREATE_FAILED: possible causes: a (x); b {'c'} (y); c (z); and 1 more"
        );
        let mut waiting = report(&[]);
        waiting.facts.causes = vec!["a (x)".to_owned()];
        let mut sweep = SweepReport { environments: vec![waiting], ..SweepReport::default() };
        assert_eq!(of_sweep(&sweep, now), None);
        sweep.news.insert(sweep.environments[0].environment.clone());
        assert!(of_sweep(&sweep, now).unwrap().ends_with("PENDING: possible causes: a (x)"));
    }

    #[test]
    fn of_many_environments_some_are_told_and_the_others_counted() {
        let one = report(&[(Kind::Endpoint, Change::Created)]);
        let sweep = SweepReport { environments: vec![one; 13], ..SweepReport::default() };
        let text = of_sweep(&sweep, time("2026-03-04T09:30:00Z")).unwrap();
        assert_eq!(text.matches("3 h after PENDING").count(), 10);
        assert!(text.ends_with("; and 3 more"));
        assert_eq!(of_sweep(&SweepReport::default(), time("2026-03-04T09:30:00Z")), None);
    }
}
