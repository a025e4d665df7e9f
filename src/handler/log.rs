//! What the log says of an invocation: lines of JSON, of which Lambda reads the field `level` and drops
//! those below the level that is set (Lambda developer guide, "Log-level filtering"). Each has the
//! `requestId`, by which all lines of an invocation are found.

use chrono::Utc;
use serde_json::{Value, json};

use super::fit::fit;
use super::{Answer, InvocationError};
use crate::report::{Change, Outcome, Report, Resource, Warning};
use crate::sweep::SweepReport;

pub(super) fn log(result: &Result<Answer, InvocationError>, request_id: &str) {
    match result {
        Ok(Answer::Environment(report)) => environment(report, request_id),
        Err(InvocationError::Actions(report)) => environment(report, request_id),
        Ok(Answer::Sweep(report)) => sweep(report, request_id),
        // The runtime logs it.
        Err(_) => {}
    }
}

/// A line for everything that somebody should know, and the result as one line of JSON.
fn environment(report: &Report, request_id: &str) {
    for Warning { message, remedy } in &report.warnings {
        line("WARN", message, request_id, &[("remedy", json!(remedy))]);
    }
    for resource in &report.resources {
        let level = match resource.outcome {
            Change::Failed => "ERROR",
            Change::Blocked if resource.is_surely_blocked() => "ERROR",
            Change::Blocked => "WARN",
            _ => "INFO",
        };
        line(level, &resource.sentence(), request_id, &[]);
    }
    if report.outcome == Outcome::Refused {
        let why = report.reason.as_deref().unwrap_or_default();
        line("WARN", &format!("{}: {why}", report.environment), request_id, &[]);
    }
    line(level(report), "result", request_id, &[("result", fit(json!(report)))]);
}

fn level(report: &Report) -> &'static str {
    let any = |bad: fn(&Resource) -> bool| report.resources.iter().any(bad);
    let failed = any(|line| line.outcome == Change::Failed) || report.is_surely_blocked();
    if report.outcome == Outcome::Failed || failed {
        "ERROR"
    } else if !report.warnings.is_empty()
        || report.outcome == Outcome::Refused
        || any(|line| line.outcome == Change::Blocked)
    {
        "WARN"
    } else {
        "INFO"
    }
}

/// A line for each environment of which there is news, one for each other problem that is news, and a
/// short one for the sweep.
fn sweep(report: &SweepReport, request_id: &str) {
    let is_news = |name: &String| report.news.contains(name);
    for done in report.environments.iter().filter(|done| is_news(&done.environment)) {
        line(level(done), "result", request_id, &[("result", fit(json!(done)))]);
    }
    for Warning { message, remedy } in report.warnings.iter().filter(|it| is_news(&it.message)) {
        line("WARN", message, request_id, &[("remedy", json!(remedy))]);
    }
    for failure in report.failures.iter().filter(|it| is_news(it)) {
        line("ERROR", failure, request_id, &[]);
    }
    for problem in &report.ended {
        line("INFO", &format!("no longer so: {problem}"), request_id, &[]);
    }
    let of = |outcome| report.environments.iter().filter(|it| it.outcome == outcome).count();
    let counts = json!({
        "reached": report.reached, "notReached": report.not_reached,
        "accountsNotListed": report.accounts_not_listed,
        "changed": of(Outcome::Changed), "failed": of(Outcome::Failed) + report.failures.len(),
        "warnings": report.warnings.len(), "lasting": report.lasting, "ended": report.ended.len(),
        "vpcs": report.vpcs.len(), "dryRun": report.dry_run,
    });
    let level = if report.not_reached + report.accounts_not_listed > 0 { "WARN" } else { "INFO" };
    let (note, version) = (json!(report.note), json!(report.version));
    line(level, "sweep", request_id, &[("sweep", counts), ("note", note), ("version", version)]);
}

pub(super) fn line(level: &str, message: &str, request_id: &str, more: &[(&str, Value)]) {
    let mut line = json!({
        "timestamp": crate::tags::rfc3339(Utc::now()), "level": level, "requestId": request_id,
        "message": message,
    });
    for (name, value) in more.iter().filter(|(_, value)| !value.is_null()) {
        line[*name] = value.clone();
    }
    println!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Certainty, Kind};

    #[test]
    fn only_what_failed_or_is_surely_blocked_is_an_error() {
        for (outcome, certainty, expected) in [
            (Change::Kept, None, "INFO"),
            (Change::Blocked, Some(Certainty::Maybe), "WARN"),
            (Change::Blocked, Some(Certainty::Surely), "ERROR"),
            (Change::Failed, None, "ERROR"),
        ] {
            let mut report = Report::nothing("e".into(), "AVAILABLE".into(), Outcome::Changed, "");
            report.resources.push(Resource {
                certainty,
                ..Resource::new(Kind::SqsEndpoint, outcome, "it is so")
            });
            assert_eq!(level(&report), expected, "{outcome:?} {certainty:?}");
        }
    }
}
