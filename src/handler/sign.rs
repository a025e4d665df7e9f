//! What every answer says beside what was done: a summary, the function's version, and how its role
//! could be narrower.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::{Answer, InvocationError, summary};
use crate::gather::Gather;
use crate::report::{Change, Kind, Report};

/// Adds all three to an answer.
pub(super) fn sign(
    result: &mut Result<Answer, InvocationError>,
    function_arn: &str,
    now: DateTime<Utc>,
) {
    let version = Some(env!("CARGO_PKG_VERSION"));
    match result {
        Ok(Answer::Sweep(report)) => {
            report.version = version;
            report.summary = summary::of_sweep(report, now);
            let all = report.vpcs.iter().flat_map(|vpc| vpc.policy_characters.keys());
            report.note = narrowing(&report.environments, all, function_arn, "");
        }
        Ok(Answer::Environment(report)) => of_environment(report, version, function_arn, now),
        Err(InvocationError::Actions(report)) => of_environment(report, version, function_arn, now),
        Err(_) => {}
    }
}

fn of_environment(
    report: &mut Report,
    version: Option<&'static str>,
    function_arn: &str,
    now: DateTime<Utc>,
) {
    report.version = version;
    report.summary = summary::of_environment(report, now);
    let more = "; a sweep's result names those of all VPCs";
    report.note = narrowing(std::slice::from_ref(report), [], function_arn, more);
}

/// The most endpoints that `SqsEndpointArns` takes.
const MOST: usize = 20;

/// The value of `SqsEndpointArns` with which the role may change the policy of these SQS endpoints and
/// of no others, if a policy was written, or would be. Those in whose VPC something of ours is are `all`.
fn narrowing<'a>(
    reports: &'a [Report],
    all: impl IntoIterator<Item = &'a String>,
    function_arn: &str,
    more: &str,
) -> Option<String> {
    let mut parts = function_arn.split(':');
    let (Some("arn"), Some(partition), Some("lambda"), Some(region), Some(account)) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let lines = reports.iter().flat_map(|report| &report.resources);
    let lines = lines.filter(|line| line.kind == Kind::SqsEndpoint);
    if !lines.clone().any(|line| line.outcome == Change::Updated) {
        return None;
    }
    let ids: BTreeSet<&String> = lines.filter_map(|line| line.id.as_ref()).chain(all).gather();
    if ids.len() > MOST {
        return None;
    }
    let mut value = String::new();
    for id in ids {
        let comma = if value.is_empty() { "" } else { "," };
        value += &format!("{comma}arn:{partition}:ec2:{region}:{account}:vpc-endpoint/{id}");
    }
    Some(format!(
        "unless it is set, the template's parameter SqsEndpointArns can name the SQS endpoints that were seen here, and narrow the function's role to them{more}: {value}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Outcome, Resource};

    const FUNCTION: &str = "arn:aws-cn:lambda:cn-north-1:111122223333:function:f";

    fn report(lines: &[(Kind, Change, &str)]) -> Report {
        let mut report = Report::nothing("e".into(), "AVAILABLE".into(), Outcome::Changed, "");
        report.resources = lines
            .iter()
            .map(|(kind, outcome, id)| Resource {
                id: Some((*id).to_owned()),
                ..Resource::new(*kind, *outcome, "it is so")
            })
            .collect();
        report
    }

    #[test]
    fn no_value_is_told_that_the_template_would_not_take() {
        let written = [report(&[(Kind::SqsEndpoint, Change::Updated, "vpce-0")])];
        let all = |count: usize| (1..count).map(|n| format!("vpce-{n}")).collect::<Vec<_>>();
        assert!(narrowing(&written, &all(MOST), FUNCTION, "").is_some());
        assert_eq!(narrowing(&written, &all(MOST + 1), FUNCTION, ""), None);
    }

    #[test]
    fn the_role_is_narrowed_to_the_sqs_endpoints_that_are_used_once_a_policy_is_written() {
        let (kept, written) = (Change::Kept, Change::Updated);
        for (lines, all, expected) in
            [
                (vec![(Kind::SqsEndpoint, kept, "vpce-1")], vec![], None),
                (vec![(Kind::Endpoint, written, "vpce-1")], vec!["vpce-9"], None),
                (
                    vec![
                        (Kind::SqsEndpoint, kept, "vpce-2"),
                        (Kind::SqsEndpoint, written, "vpce-1"),
                        (Kind::Endpoint, written, "vpce-3"),
                    ],
                    vec!["vpce-9"],
                    Some(["vpce-1", "vpce-2", "vpce-9"].map(|id| {
                        format!("arn:aws-cn:ec2:cn-north-1:111122223333:vpc-endpoint/{id}")
                    })),
                ),
            ]
        {
            let all: Vec<String> = all.into_iter().map(str::to_owned).collect();
            let note = narrowing(&[report(&lines)], &all, FUNCTION, "");
            match expected {
                None => assert_eq!(note, None),
                Some(arns) => assert!(note.unwrap().ends_with(&format!(": {}", arns.join(",")))),
            }
            assert_eq!(narrowing(&[report(&lines)], &all, "function", ""), None);
        }
    }
}
