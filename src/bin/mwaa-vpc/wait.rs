//! `mwaa-vpc wait`: until an environment is available, waits for its endpoints, or is gone.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command};
use mwaa_vpc_endpoints::aws::mwaa::{Unanswered, as_json};
use mwaa_vpc_endpoints::environment::Environment;
use mwaa_vpc_endpoints::event::{self, Status};
use mwaa_vpc_endpoints::report::Failure;
use mwaa_vpc_endpoints::sweep::{PATIENCE, waited};
use serde_json::json;

use crate::Answer;
use crate::accounts::{Accounts, Unseen};
use crate::iam::Needs;
use crate::options::{Common, needed_environment_arg};
use crate::paint::Paint;
use crate::problem::Problem;
use crate::spinner::{Spinner, elapsed};

/// What it needs of IAM.
pub const NEEDS: Needs = Needs { environments: &["airflow:GetEnvironment"], ..Needs::NONE };

const EXAMPLES: &str = "\
It ends at once with exit code 1 and the reason if it cannot become so any more: CREATE_FAILED, DELETING, UPDATE_FAILED
or UNAVAILABLE. The exit code is 1 when the time is over, too.

Examples:
  mwaa-vpc wait analytics --for available
  mwaa-vpc wait forecasting --for pending --environment-profile data --timeout 45m
  mwaa-vpc wait analytics --for deleted --interval 1m --json";

pub fn command() -> Command {
    let time = |name: &'static str, default, help| {
        Arg::new(name)
            .long(name)
            .value_name("TIME")
            .default_value(default)
            .value_parser(time)
            .help(help)
    };
    Command::new("wait")
        .about("Wait until an environment is available, waits for its endpoints, or is gone")
        .after_help(EXAMPLES)
        .arg(needed_environment_arg())
        .arg(
            Arg::new("for")
                .long("for")
                .value_name("STATE")
                .value_parser(PossibleValuesParser::new(["available", "pending", "deleted"]))
                .required_unless_present("iam")
                .help("What to wait for"),
        )
        .arg(time("interval", "15s", "How often MWAA is asked: 15s, 1m"))
        .arg(time("timeout", "2h", "How long to wait at most: 90s, 45m, 2h"))
}

/// Reads a time: a number and its unit.
fn time(text: &str) -> Result<Duration, String> {
    let expected = || "expected a time such as 15s, 45m or 2h".to_owned();
    let (number, unit) =
        text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(expected)?;
    let number: u64 = number.parse().map_err(|_| expected())?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(expected()),
    };
    match number.checked_mul(seconds) {
        Some(seconds @ 1..=LONGEST) => Ok(Duration::from_secs(seconds)),
        _ => Err("expected a time from 1s to 200h".to_owned()),
    }
}

const LONGEST: u64 = 200 * 3600;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    Available,
    Pending,
    Deleted,
}

/// Where an environment is on its way to the goal.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    /// It is there.
    Reached,
    /// It may come to be there.
    Open,
    /// It cannot, for this reason.
    Closed(String),
}

impl Goal {
    fn parse(text: &str) -> Self {
        match text {
            "available" => Self::Available,
            "pending" => Self::Pending,
            _ => Self::Deleted,
        }
    }

    /// Whether an environment in this status is there, or may come to be. Its error is MWAA's, if it told
    /// one. How long it is PENDING says nothing: it is known at most, and MWAA ends it with CREATE_FAILED.
    fn way(self, status: &Status, error: Option<&str>) -> Way {
        let closed = |why: &str| Way::Closed(why.to_owned());
        // MWAA keeps the error of the last update that failed: it is the reason of nothing else.
        let because = |why: &str| match error {
            Some(error) => Way::Closed(format!("{why}: {error}")),
            None => closed(why),
        };
        match (self, status) {
            (Self::Deleted, Status::Deleted)
            | (Self::Pending, Status::Pending)
            | (Self::Available, Status::Available) => Way::Reached,
            // Somebody may delete it at any time.
            (Self::Deleted, _) => Way::Open,
            (_, Status::CreateFailed) => because("its creation failed (CREATE_FAILED)"),
            (_, Status::Deleting | Status::Deleted) => closed("it is being deleted"),
            // Restored to what it was, or not stable: the end of an update in any case, as AWS's own
            // CloudFormation handler takes it (aws-cloudformation-resource-providers-mwaa).
            (Self::Available, Status::UpdateFailed) => because(
                "its update failed (UPDATE_FAILED); it was restored to what it was, and is in use",
            ),
            (Self::Available, Status::InUse(status)) if status == "UNAVAILABLE" => {
                because("a change failed, and it is not stable (UNAVAILABLE)")
            }
            (Self::Pending, Status::Available | Status::UpdateFailed) => {
                closed(&format!("it is {status}: it waits for no endpoints"))
            }
            _ => Way::Open,
        }
    }
}

/// How often in a row MWAA may say nothing. Clients have tried several times by then.
const SILENCES: u32 = 5;

pub async fn answer(
    matches: &ArgMatches,
    common: &Common,
    paint: Paint,
) -> Result<Answer, Problem> {
    let text = |name: &str| matches.get_one::<String>(name).map_or("", String::as_str);
    let time = |name: &str| matches.get_one::<Duration>(name).copied().unwrap_or_default();
    let (interval, limit) = (time("interval"), time("timeout"));
    let goal = Goal::parse(text("for"));
    let (accounts, environment) = Accounts::and_environment(matches, common).await?;
    if !accounts.asked().contains(&environment.account) {
        let Unseen { what, from } = accounts.unasked(&environment);
        return Err(Problem::usage(format!("{what} could not be seen")).with_remedy(from));
    }

    let began = Instant::now();
    let waiting_for = format!("{} to be {}", environment.name(), text("for"));
    let spinner = Spinner::start(format!("waiting for {waiting_for}"));
    let mut told: Option<String> = None;
    let mut silences = 0;
    let (status, way) = loop {
        match look(&accounts, &environment).await {
            Ok(None) if goal == Goal::Deleted => break ("not there".to_owned(), Way::Reached),
            Ok(None) if told.is_none() => return Err(accounts.no_such(&environment)),
            Ok(None) => {
                break ("not there".to_owned(), Way::Closed("it is gone".to_owned()));
            }
            Ok(Some(seen)) => {
                silences = 0;
                let way = goal.way(&seen.status, seen.error.as_deref());
                let status = seen.status.to_string();
                let progress = seen.progress();
                spinner.say(format!("waiting for {waiting_for}: it is {progress}"));
                // For a log, where nobody sees the spinner.
                if !spinner.is_seen() && told.as_ref() != Some(&status) && way == Way::Open {
                    let _ = writeln!(io::stderr(), "{} is {progress}", environment.name());
                }
                told = Some(status.clone());
                if way != Way::Open {
                    break (status, way);
                }
            }
            Err(Unanswered::NoReply(_)) if silences < SILENCES && told.is_some() => silences += 1,
            Err(unanswered) => return Err(unanswered.into_failure().into()),
        }
        let Some(pause) = pause(began.elapsed(), interval, limit) else {
            let why = format!("the time is over ({})", elapsed(limit));
            break (told.clone().unwrap_or_default(), Way::Closed(why));
        };
        tokio::time::sleep(pause).await;
    };
    drop(spinner);
    let reached = way == Way::Reached;
    let reason = match way {
        Way::Closed(why) => Some(why),
        _ => None,
    };
    let took = elapsed(began.elapsed());
    // A wrong name, profile or Region is not there, either.
    let unseen = if told.is_none() { ", and was not seen by this command" } else { "" };
    let text = match &reason {
        None => format!(
            "{} {} is {status}{unseen} (after {took})\n",
            paint.green("ok:"),
            environment.name()
        ),
        Some(why) => format!(
            "{} {} is {status} and not {}: {why} (after {took})\n",
            paint.red("!"),
            environment.name(),
            text("for")
        ),
    };
    let json = json!({
        "environment": environment.arn(),
        "for": matches.get_one::<String>("for"),
        "status": status,
        "reached": reached,
        "seen": told.is_some(),
        "reason": reason,
        "seconds": began.elapsed().as_secs(),
    });
    Ok(Answer { json, text, has_findings: !reached, is_unseen: false })
}

/// How long to wait before MWAA is asked again; none if the time is over. It is asked at its end, too.
fn pause(passed: Duration, interval: Duration, limit: Duration) -> Option<Duration> {
    let left = limit.saturating_sub(passed);
    (!left.is_zero()).then(|| left.min(interval))
}

/// What MWAA says of the environment.
struct Seen {
    status: Status,
    error: Option<String>,
    waited: Option<TimeDelta>,
}

impl Seen {
    fn progress(&self) -> String {
        match (&self.status, self.waited) {
            (Status::Pending, Some(waited)) => {
                let left = (PATIENCE - waited).num_hours().max(0);
                format!("PENDING (at least {left} h until MWAA gives up)")
            }
            (status, _) => status.to_string(),
        }
    }
}

async fn look(accounts: &Accounts, environment: &Environment) -> Result<Option<Seen>, Unanswered> {
    let Some(answer) = accounts.asking().answer(environment).await? else { return Ok(None) };
    let Some(status) = answer.status() else {
        let doing = format!("asking MWAA about {}", environment.arn());
        let why = "the answer has no status";
        return Err(Unanswered::NoReply(Failure::new(doing, why, "try again")));
    };
    let status = Status::parse(status.as_str());
    let spec = event::of_mwaa(as_json(&answer)).ok();
    let waited = match status {
        Status::Pending => spec.and_then(|spec| waited(&spec, Utc::now())),
        _ => None,
    };
    let error = answer.last_update().and_then(|it| it.error());
    let error = error.map(|error| {
        let code = error.error_code().unwrap_or_default();
        let message = error.error_message().unwrap_or_default();
        format!("{code} {message}").trim().to_owned()
    });
    Ok(Some(Seen { status, error: error.filter(|text| !text.is_empty()), waited }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_number_and_a_unit() {
        assert_eq!(time("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(time("45m"), Ok(Duration::from_secs(2700)));
        assert_eq!(time("2h"), Ok(Duration::from_secs(7200)));
        for wrong in ["", "s", "5", "0s", "-1s", "1d", "1.5h", "999999999999h", "2ü"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_status_leads_to_each_goal_or_says_why_not() {
        let open = ["CREATING", "PENDING", "UPDATING", "MAINTENANCE", "ROLLING_BACK"];
        for status in open {
            let way = Goal::Available.way(&Status::parse(status), None);
            assert_eq!(way, Way::Open, "{status}");
        }
        for status in ["CREATE_FAILED", "DELETING", "DELETED", "UPDATE_FAILED", "UNAVAILABLE"] {
            let way = Goal::Available.way(&Status::parse(status), Some("why"));
            let is_of_it = !matches!(status, "DELETING" | "DELETED");
            assert!(
                matches!(&way, Way::Closed(why) if why.ends_with(": why") == is_of_it),
                "{way:?}"
            );
            let way = Goal::Deleted.way(&Status::parse(status), None);
            assert_ne!(way, Way::Closed(String::new()), "{status}");
        }
        assert_eq!(Goal::Pending.way(&Status::Creating, None), Way::Open);
        let way = Goal::Pending.way(&Status::Available, Some("of an update"));
        assert!(matches!(&way, Way::Closed(why) if !why.contains("of an update")), "{way:?}");
        assert_eq!(Goal::Deleted.way(&Status::Available, None), Way::Open);
        for (goal, status) in
            [(Goal::Available, "AVAILABLE"), (Goal::Pending, "PENDING"), (Goal::Deleted, "DELETED")]
        {
            assert_eq!(goal.way(&Status::parse(status), None), Way::Reached);
        }
    }

    #[test]
    fn mwaa_is_asked_until_the_time_is_over_and_then_too() {
        let seconds = Duration::from_secs;
        let pause =
            |passed| pause(seconds(passed), seconds(30), seconds(50)).map(|it| it.as_secs());
        assert_eq!([0, 20, 30, 49].map(pause), [Some(30), Some(30), Some(20), Some(1)]);
        assert_eq!([50, 70].map(pause), [None, None]);
    }
}
