//! `mwaa-vpc plan`: what the function would do for an environment, by the code that it decides with.

use std::fs;
use std::io::{self, Read};

use chrono::Utc;
use clap::{Arg, ArgMatches, Command};
use mwaa_vpc_endpoints::environment::Environment;
use mwaa_vpc_endpoints::event::{self, EnvironmentSpec, Status, Work};
use mwaa_vpc_endpoints::plan::diff::{Difference, Sign};
use mwaa_vpc_endpoints::plan::proof::MwaaSays;
use mwaa_vpc_endpoints::reconcile::{self, NoPreview, Preview};
use mwaa_vpc_endpoints::report::{Failure, Outcome, Report};
use mwaa_vpc_endpoints::sweep::{PATIENCE, waited};
use serde_json::{Value, json};

use crate::Answer;
use crate::accounts::{Accounts, Unseen};
use crate::iam::Needs;
use crate::options::{self, Common, Named, environment_arg};
use crate::paint::{Paint, fact, unseen};
use crate::problem::Problem;
use crate::spinner::Spinner;
use crate::status::{Finding, of_status, of_waiting};

/// What it needs of IAM. MWAA is asked about neighbours whose queues are missing, too.
pub const NEEDS: Needs = Needs {
    owner: &["ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcEndpoints"],
    environments: &["airflow:GetEnvironment"],
    ..Needs::NONE
};

const EXAMPLES: &str = "\
Nothing is changed, and the function need not be deployed. The exit code is 1 if something would be done.

Examples:
  mwaa-vpc plan analytics
  mwaa-vpc plan forecasting --owner-profile network --environment-profile data
  mwaa-vpc plan arn:aws:airflow:us-east-1:210987654321:environment/forecasting --owner-profile network
  mwaa-vpc plan --event event.json --owner-profile network
  aws mwaa get-environment --name forecasting --profile data | mwaa-vpc plan --event - --owner-profile network
  mwaa-vpc plan analytics --json | jq .diff";

pub fn command() -> Command {
    let command = Command::new("plan")
        .about("Show what the function would do for an environment, as a diff")
        .after_help(EXAMPLES)
        .arg(environment_arg("The environment's name, or its ARN").required_unless_present_any(["event", "iam"]))
        .arg(
            Arg::new("event")
                .long("event")
                .value_name("FILE")
                .help("Do not ask MWAA about it, but believe this event, or answer of `aws mwaa get-environment`; - is standard input"),
        );
    options::with_settings(command)
}

/// What is known of the environment before it is looked at EC2.
struct Known {
    work: Work,
    says: MwaaSays,
}

pub async fn answer(
    matches: &ArgMatches,
    common: &Common,
    paint: Paint,
) -> Result<Answer, Problem> {
    let settings = options::settings(matches)?;
    let named = Named::of(matches)?;
    let file = matches.get_one::<String>("event");
    let told = file.map(|file| read(file)).transpose()?;
    let common = match (&told, &named) {
        (Some(work), _) => common.within(&of_work(work).region, "the event")?,
        (None, Some(named)) => named.within(common)?,
        (None, None) => return Err(Problem::usage("no environment is named")),
    };
    let accounts = Accounts::of(&common).await?;
    let mut not_seen = Vec::new();
    let known = match told {
        Some(work) => {
            let environment = of_work(&work);
            if let Some(named) = &named {
                let asked_for = match named {
                    Named::Whole(named) => named == environment,
                    Named::Name(name) => name == environment.name(),
                };
                if !asked_for {
                    let arn = environment.arn();
                    return Err(Problem::usage(format!("the event is about {arn}")));
                }
            }
            not_seen.push(Unseen {
                what: format!("what MWAA says of {} now", environment.arn()),
                from: format!("account {}: without --event", environment.account),
            });
            let why = Failure::new("asking MWAA", "it was not asked", "leave out --event");
            Known { work, says: MwaaSays::MayNotAsk(why) }
        }
        None => ask(&accounts, &accounts.environment(&named.expect("it is named"))?).await?,
    };
    let wrong = of_environment(&known.says);
    let preview = preview(&accounts, &settings, known).await?;
    let nothing_is_there = preview.report.outcome == Outcome::Unchanged
        && preview.report.resources.is_empty()
        && preview.report.status == Status::Deleted.as_str();
    if file.is_none() && nothing_is_there {
        let environment = Environment::parse(&preview.report.environment);
        return Err(match environment {
            Ok(environment) => accounts.no_such(&environment),
            Err(error) => Problem::usage(error.to_string()),
        });
    }
    Ok(shown(&preview, &wrong, &not_seen, paint))
}

/// Reads an event, or an answer of MWAA.
fn read(file: &str) -> Result<Work, Problem> {
    let text = match file {
        "-" => io::read_to_string(io::stdin().lock().take(MOST)),
        _ => fs::File::open(file).and_then(|it| io::read_to_string(it.take(MOST))),
    };
    let text = text.map_err(|error| Problem::usage(format!("--event {file}: {error}")))?;
    let payload: Value = serde_json::from_str(&text)
        .map_err(|error| Problem::usage(format!("--event {file}: no JSON: {error}")))?;
    let request = event::parse(payload)
        .map_err(|refusal| Problem::usage(format!("--event {file}: {}", refusal.at_path())))?;
    match request.work {
        Work::Sweep => Err(Problem::usage(format!(
            "--event {file}: it asks for a sweep, which is about all environments: see `mwaa-vpc status`"
        ))),
        work => Ok(work),
    }
}

/// More than any event or answer has.
const MOST: u64 = 1 << 20;

fn of_work(work: &Work) -> &Environment {
    match work {
        Work::Environment(spec) => &spec.environment,
        Work::Nothing { environment, .. } => environment,
        Work::Sweep => unreachable!("a sweep is refused where it is read"),
    }
}

/// Asks MWAA. Of an environment that it does not know, what was made for it may be left.
async fn ask(accounts: &Accounts, environment: &Environment) -> Result<Known, Problem> {
    let _spinner = Spinner::start(format!("asking MWAA about {}", environment.name()));
    let untold = || Work::Environment(Box::new(EnvironmentSpec::from_tags(environment.clone())));
    if !accounts.asked().contains(&environment.account) {
        let Unseen { what, from } = accounts.unasked(environment);
        return Err(Problem::usage(format!("{what} could not be seen"))
            .with_remedy(format!("{from}; or hand in what MWAA says: --event FILE")));
    }
    let answer = match accounts.asking().environment(environment).await {
        Ok(Some(answer)) => answer,
        Ok(None) => return Ok(Known { work: untold(), says: MwaaSays::NotFound }),
        Err(unanswered) => return Err(unanswered.into_failure().into()),
    };
    let unreadable = |refusal: event::Refusal| {
        Problem::aws(format!("MWAA's answer cannot be read: {}", refusal.at_path()))
    };
    let says = event::of_mwaa(answer.clone()).map_err(unreadable)?;
    let request = event::parse(json!({"Environment": answer})).map_err(unreadable)?;
    Ok(Known { work: request.work, says: MwaaSays::Says(Box::new(says)) })
}

async fn preview(
    accounts: &Accounts,
    settings: &mwaa_vpc_endpoints::settings::Settings,
    known: Known,
) -> Result<Preview, Problem> {
    let hint = match known.work {
        Work::Environment(spec) => spec,
        Work::Nothing { environment, status, reason } => {
            let (arn, status) = (environment.arn(), status.to_string());
            let report = Report::nothing(arn, status, Outcome::Ignored, reason);
            return Ok(Preview { report, plan: None, only_tells: false });
        }
        Work::Sweep => return Err(Problem::usage("a sweep is about all environments")),
    };
    let _spinner = Spinner::start("looking at the VPC");
    let context = accounts.context(settings);
    match reconcile::preview(&context, &hint, known.says).await {
        Ok(preview) => Ok(preview),
        Err(NoPreview::OfAnotherAccount(vpc)) => {
            let Unseen { what, from } = accounts.of_another(vpc.id.as_str(), &vpc.owner);
            Err(Problem::usage(format!("not seen: {what}")).with_remedy(from))
        }
        Err(NoPreview::Failed(failure)) => {
            let is_of_aws = failure.error.is_some();
            let problem = Problem::from(failure);
            Err(match is_of_aws {
                true => problem,
                false => problem.with_remedy(
                    "name a profile of the account that owns the VPC, and its Region: --owner-profile, --region",
                ),
            })
        }
    }
}

fn shown(preview: &Preview, wrong: &[Finding], not_seen: &[Unseen], paint: Paint) -> Answer {
    let Preview { report, plan, only_tells } = preview;
    let diff = plan.as_ref().map(|plan| plan.diff()).unwrap_or_default();
    let mut text = fact("environment", &paint.bold(&report.environment));
    let is_gone = not_seen.is_empty() && report.status == Status::Deleted.as_str();
    let status = if is_gone { "MWAA does not know it any more" } else { &report.status };
    text.push_str(&fact("status", status));
    if let Some(vpc) = &report.vpc {
        text.push_str(&fact("VPC", vpc));
    }
    text.push('\n');
    for difference in &diff {
        text.push_str(&lines(difference, paint));
    }
    let told = wrong.iter().map(|it| (&it.message, &it.remedy));
    let warned = report.warnings.iter().map(|it| (&it.message, &it.remedy));
    for (message, remedy) in told.chain(warned) {
        text.push_str(&format!("{} {message}\n", paint.yellow("!")));
        if let Some(remedy) = remedy {
            text.push_str(&format!("    {} {remedy}\n", paint.dim("what helps:")));
        }
    }
    let is_right = diff.is_empty() && wrong.is_empty() && report.warnings.is_empty();
    if let Some(reason) = &report.reason {
        text.push_str(&format!("Nothing would be done: {reason}.\n"));
    } else if is_right {
        text.push_str("Nothing would be done: all is as it should be.\n");
    } else if diff.is_empty() {
        text.push_str("Nothing would be done.\n");
    } else {
        let count = |sign| diff.iter().filter(|it| it.sign == sign).count();
        text.push_str(&format!(
            "\n{} {} to add, {} to change, {} to remove, {} wrong\n",
            paint.bold("Plan:"),
            count(Sign::Add),
            count(Sign::Change),
            count(Sign::Remove),
            count(Sign::Wrong),
        ));
    }
    if *only_tells {
        text.push_str(
            "Its creation failed, so the function changes nothing, and only tells what it lacks.\n",
        );
    }
    text.push_str(&unseen(not_seen, paint));
    let json = json!({
        "environment": report.environment,
        "status": report.status,
        "diff": diff,
        "findings": wrong,
        "onlyTells": only_tells,
        "result": report,
        "unseen": not_seen,
    });
    Answer { json, text, has_findings: !is_right, is_unseen: false }
}

/// What is wrong with the environment itself, as `status` has it.
fn of_environment(says: &MwaaSays) -> Vec<Finding> {
    let MwaaSays::Says(spec) = says else { return Vec::new() };
    let waiting = waited(spec, Utc::now())
        .and_then(|waited| of_waiting(waited.num_hours(), (PATIENCE - waited).num_hours().max(0)));
    of_status(&spec.status).into_iter().chain(waiting).collect()
}

fn lines(difference: &Difference, paint: Paint) -> String {
    let Difference { sign, what, parts, remedy } = difference;
    let mut text = format!("{}\n", paint.sign(*sign, &format!("{} {what}", sign.as_char())));
    for part in parts {
        let line = format!("    {} {}", part.sign.as_char(), part.what);
        text.push_str(&format!("{}\n", paint.sign(part.sign, &line)));
    }
    if let Some(remedy) = remedy {
        text.push_str(&format!("    {} {remedy}\n", paint.dim("what helps:")));
    }
    text
}
