//! The metrics of an invocation, as lines of the log in CloudWatch's embedded metric format, which need
//! no client and no permission. Names and dimensions are those of docs/operations.md: alarms and
//! dashboards depend on them.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{Answer, InvocationError, log};
use crate::report::{Change, Kind, Outcome, Report};
use crate::sqs_policy::MAX_POLICY_CHARACTERS;
use crate::sweep::{PATIENCE, SweepReport};

/// The namespace.
const NAMESPACE: &str = "MwaaVpcEndpoints";

/// What is said of the function in its metrics, and how loudly.
#[derive(Clone, Debug)]
pub struct Telemetry {
    function: String,
    level: &'static str,
}

impl Telemetry {
    /// Reads the variables that Lambda sets. Lambda drops lines below the level that is set, metrics too,
    /// and takes a line without a level for INFO: so these have a level that always gets through.
    /// <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html>
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = variable("AWS_LAMBDA_LOG_LEVEL").unwrap_or_default().to_ascii_uppercase();
        let level = ["WARN", "ERROR", "FATAL"].into_iter().find(|level| *level == set);
        Self {
            function: variable("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default(),
            level: level.unwrap_or("INFO"),
        }
    }
}

/// A number's name, unit and value; without a unit it is no metric.
type Number = (&'static str, &'static str, u64);
const COUNT: &str = "Count";

/// A line of the log.
#[derive(Debug, Default)]
struct Line {
    texts: Vec<(&'static str, String)>,
    numbers: Vec<Number>,
}

pub(super) fn publish(
    result: &Result<Answer, InvocationError>,
    telemetry: &Telemetry,
    request_id: &str,
    (began, now): (DateTime<Utc>, DateTime<Utc>),
) {
    for line in lines(result, now) {
        let (message, fields) = line.fields(&telemetry.function, began);
        log::line(telemetry.level, message, request_id, &fields);
    }
}

impl Line {
    /// Its message and fields.
    fn fields(self, function: &str, began: DateTime<Utc>) -> (&'static str, Vec<(&str, Value)>) {
        let mut dimensions = vec!["FunctionName"];
        dimensions.extend(self.texts.iter().map(|it| it.0).find(|name| *name == "vpc"));
        let metrics: Vec<Value> = self
            .numbers
            .iter()
            .filter(|(_, unit, _)| !unit.is_empty())
            .map(|(name, unit, _)| json!({"Name": name, "Unit": unit}))
            .collect();
        let mut fields: Vec<(&str, Value)> = Vec::new();
        fields.extend(self.texts.into_iter().map(|(name, text)| (name, Value::String(text))));
        fields.extend(self.numbers.iter().map(|(name, _, value)| (*name, Value::from(*value))));
        if metrics.is_empty() {
            return ("waiting", fields);
        }
        fields.push(("FunctionName", Value::from(function)));
        fields.push(("version", Value::from(env!("CARGO_PKG_VERSION"))));
        // Lambda dates its own metrics by an invocation's beginning, and some are compared with these.
        let header = json!({
            "Timestamp": began.timestamp_millis(),
            "CloudWatchMetrics": [
                {"Namespace": NAMESPACE, "Dimensions": [dimensions], "Metrics": metrics},
            ],
        });
        fields.push(("_aws", header));
        ("metrics", fields)
    }
}

/// Nothing is told of what was only a plan; but that an invocation failed is told of every one, since
/// Lambda counts them all.
fn lines(result: &Result<Answer, InvocationError>, now: DateTime<Utc>) -> Vec<Line> {
    let failed = ("InvocationsFailed", COUNT, u64::from(result.is_err()));
    let mut lines = match result {
        Ok(Answer::Sweep(report)) if !report.dry_run => of_sweep(report, now),
        Ok(Answer::Environment(report)) if !report.dry_run => vec![of_environment(report, now)],
        Ok(_) => return Vec::new(),
        Err(InvocationError::Actions(report)) => vec![of_environment(report, now)],
        Err(_) => vec![Line::default()],
    };
    lines[0].numbers.push(failed);
    lines
}

fn count(report: &Report, what: Change, of: Option<Kind>) -> usize {
    let lines = report.resources.iter();
    lines.filter(|it| it.outcome == what && of.is_none_or(|of| it.kind == of)).count()
}

fn of_environment(report: &Report, now: DateTime<Utc>) -> Line {
    let served = matches!(report.outcome, Outcome::Changed | Outcome::Unchanged);
    let made = count(report, Change::Created, Some(Kind::Endpoint));
    let mut numbers = vec![
        ("EnvironmentsServed", COUNT, u64::from(served)),
        ("EndpointsCreated", COUNT, made as u64),
        ("ActionsFailed", COUNT, count(report, Change::Failed, None) as u64),
    ];
    if report.is_surely_blocked() {
        numbers.push(("BlockedQueues", COUNT, 1));
    }
    if let Some(time) = report.facts.event_time.filter(|_| made > 0) {
        numbers.push(("TimeToServeSeconds", "Seconds", seconds(now.signed_duration_since(time))));
    }
    // Properties and no dimensions, since each value of a dimension is a metric that costs.
    let texts =
        vec![("environment", report.environment.clone()), ("status", report.status.clone())];
    Line { texts, numbers }
}

fn of_sweep(report: &SweepReport, now: DateTime<Utc>) -> Vec<Line> {
    let all = &report.environments;
    let sum = |what: Change, of| all.iter().map(|it| count(it, what, of)).sum::<usize>();
    let mut lines = vec![Line::default()];
    let mut fullest = 0;
    for vpc in &report.vpcs {
        let percent = |used: usize, of: usize| (used * 100 / of.max(1)) as u64;
        let endpoints = percent(vpc.endpoints, vpc.quota);
        let mut numbers = vec![("EndpointQuotaPercent", "Percent", endpoints)];
        if let Some(longest) = vpc.policy_characters.values().max() {
            numbers.push(("PolicyPercent", "Percent", percent(*longest, MAX_POLICY_CHARACTERS)));
        }
        fullest = numbers.iter().map(|it| it.2).fold(fullest, u64::max);
        lines.push(Line { texts: vec![("vpc", vpc.vpc.clone())], numbers });
    }
    let mut oldest = 0;
    for (environment, since) in &report.waiting {
        let waited = now.signed_duration_since(since);
        oldest = hours(waited).max(oldest);
        lines.push(Line {
            texts: vec![("environment", environment.clone())],
            numbers: vec![
                ("hoursWaited", "", hours(waited)),
                ("hoursLeft", "", hours(PATIENCE - waited)),
            ],
        });
    }
    let numbers = [
        ("SweepsCompleted", 1),
        ("EnvironmentsServed", report.reached),
        // Of an account that was not listed nobody knows how many it has.
        ("EnvironmentsNotReached", report.not_reached + report.accounts_not_listed),
        ("AccountsNotAsked", report.not_asked.len()),
        ("EndpointsCreated", sum(Change::Created, Some(Kind::Endpoint))),
        ("EndpointsNotAvailable", report.not_available),
        ("ActionsFailed", sum(Change::Failed, None) + report.failures.len()),
        ("BlockedQueues", all.iter().filter(|it| it.is_surely_blocked()).count()),
        ("DriftRepaired", all.iter().map(|it| it.facts.repaired).sum()),
    ];
    let first = &mut lines[0].numbers;
    first.extend(numbers.map(|(name, value)| (name, COUNT, value as u64)));
    first.push(("OldestPendingHours", "None", oldest));
    first.push(("FullestQuotaPercent", "Percent", fullest));
    lines
}

/// None of them is negative: clocks may differ.
fn seconds(time: TimeDelta) -> u64 {
    u64::try_from(time.num_seconds()).unwrap_or_default()
}

/// Whole hours that are over.
fn hours(time: TimeDelta) -> u64 {
    seconds(time) / 3600
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Certainty, Failure, Resource};
    use crate::sweep::VpcHealth;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn told(result: &Result<Answer, InvocationError>) -> Vec<Value> {
        let (began, now) = (time("2026-03-04T06:00:00Z"), time("2026-03-04T06:00:30Z"));
        let lines = lines(result, now).into_iter().map(|line| {
            let (message, fields) = line.fields("f", began);
            json!({"message": message, "fields": fields.into_iter().collect::<Value>()})
        });
        lines.collect()
    }

    fn report(outcome: Outcome) -> Report {
        let mut report = Report::nothing("arn:e".into(), "PENDING".into(), outcome, "");
        let line = |kind, outcome| Resource::new(kind, outcome, "");
        report.resources = vec![
            line(Kind::Endpoint, Change::Created),
            line(Kind::SecurityGroup, Change::Created),
            line(Kind::SqsEndpoint, Change::Failed),
        ];
        report.facts.event_time = Some(time("2026-03-04T05:59:00Z"));
        report
    }

    #[test]
    fn the_level_always_gets_through() {
        for (set, level) in [
            ("", "INFO"),
            ("TRACE", "INFO"),
            ("DEBUG", "INFO"),
            ("INFO", "INFO"),
            ("loud", "INFO"),
            ("warn", "WARN"),
            ("WARN", "WARN"),
            ("ERROR", "ERROR"),
            ("FATAL", "FATAL"),
        ] {
            assert_eq!(Telemetry::read(|_| Some(set.to_owned())).level, level, "{set}");
        }
        assert_eq!(Telemetry::read(|_| None).level, "INFO");
    }

    #[test]
    fn an_event_tells_what_was_made_what_failed_and_how_long_it_took() {
        let told = told(&Err(InvocationError::Actions(Box::new(report(Outcome::Failed)))));
        let fields = &told[0]["fields"];
        assert_eq!(told.len(), 1);
        for (name, value) in [
            ("EnvironmentsServed", 0),
            ("EndpointsCreated", 1),
            ("ActionsFailed", 1),
            ("TimeToServeSeconds", 90),
            ("InvocationsFailed", 1),
        ] {
            assert_eq!(fields[name], json!(value), "{name}");
        }
        assert_eq!(fields["BlockedQueues"], Value::Null);
        assert_eq!(
            fields["_aws"]["Timestamp"],
            json!(time("2026-03-04T06:00:00Z").timestamp_millis())
        );
    }

    #[test]
    fn an_error_without_a_result_is_counted_and_a_plan_is_not() {
        let failed = InvocationError::Failed(Failure::new("looking", "no", "wait"));
        assert_eq!(told(&Err(failed))[0]["fields"]["InvocationsFailed"], json!(1));
        let mut plan = report(Outcome::Unchanged);
        plan.dry_run = true;
        assert_eq!(told(&Ok(Answer::Environment(plan))), Vec::<Value>::new());
        let plan = SweepReport { dry_run: true, ..SweepReport::default() };
        assert_eq!(told(&Ok(Answer::Sweep(plan))), Vec::<Value>::new());
    }

    #[test]
    fn a_sweep_tells_of_all_environments_and_of_each_vpc() {
        let mut blocked = report(Outcome::Unchanged);
        blocked.facts.repaired = 2;
        blocked.resources.push(Resource {
            certainty: Some(Certainty::Surely),
            ..Resource::new(Kind::SqsEndpoint, Change::Blocked, "")
        });
        let health = |vpc: &str, endpoints, characters: &[usize]| VpcHealth {
            vpc: vpc.into(),
            endpoints,
            quota: 50,
            policy_characters: characters.iter().map(|it| (format!("vpce-{it}"), *it)).collect(),
        };
        let sweep = SweepReport {
            environments: vec![blocked, report(Outcome::Changed)],
            reached: 5,
            failures: vec!["arn:f: no".into()],
            waiting: vec![
                ("arn:young".into(), time("2026-03-04T05:00:00Z")),
                ("arn:old".into(), time("2026-03-01T05:30:00Z")),
            ],
            vpcs: vec![health("vpc-1", 41, &[]), health("vpc-2", 3, &[20_480, 100])],
            ..SweepReport::default()
        };
        let told = told(&Ok(Answer::Sweep(sweep)));
        for (name, value) in [
            ("SweepsCompleted", json!(1)),
            ("EnvironmentsServed", json!(5)),
            ("EndpointsCreated", json!(2)),
            ("ActionsFailed", json!(3)),
            ("BlockedQueues", json!(1)),
            ("DriftRepaired", json!(2)),
            ("OldestPendingHours", json!(72)),
            ("FullestQuotaPercent", json!(100)),
        ] {
            assert_eq!(told[0]["fields"][name], value, "{name}");
        }
        let vpcs: Vec<_> = told[1..3].iter().map(|it| &it["fields"]).collect();
        assert_eq!(vpcs[0]["EndpointQuotaPercent"], json!(82));
        assert_eq!(vpcs[0]["PolicyPercent"], Value::Null);
        assert_eq!(vpcs[1]["PolicyPercent"], json!(100));
        assert_eq!(
            vpcs[1]["_aws"]["CloudWatchMetrics"][0]["Dimensions"],
            json!([["FunctionName", "vpc"]])
        );
        assert_eq!(told[3]["message"], "waiting");
        assert_eq!(told[4]["fields"]["hoursWaited"], json!(72));
        assert_eq!(told[4]["fields"]["hoursLeft"], json!(0));
        assert_eq!(told.len(), 5);
    }
}
