//! `mwaa-vpc replay`: hands what MWAA says of an environment now to the deployed function.

use clap::{ArgMatches, Command};
use mwaa_vpc_endpoints::environment::Environment;
use serde_json::{Value, json};

use crate::Answer;
use crate::accounts::Accounts;
use crate::deployed::{Function, with_function};
use crate::iam::Needs;
use crate::options::{Common, needed_environment_arg};
use crate::paint::{Paint, fact};
use crate::problem::Problem;
use crate::result::{self, text};
use crate::spinner::Spinner;

/// What it needs of IAM.
pub const NEEDS: Needs = Needs {
    owner: &["cloudformation:DescribeStacks"],
    environments: &["airflow:GetEnvironment"],
    function: &["lambda:InvokeFunction"],
    ..Needs::NONE
};

const EXAMPLES: &str = "\
The function looks at everything anew and puts right what is not: for an environment that was PENDING before the
function was deployed, or whose event went wrong. As often as you like. The exit code is 1 if the function failed or
refused, or tells something that failed or is blocked.

Examples:
  mwaa-vpc replay analytics --dry-run
  mwaa-vpc replay analytics
  mwaa-vpc replay forecasting --owner-profile network --environment-profile data
  mwaa-vpc replay analytics --stack my-stack --json | jq .result.resources";

pub fn command() -> Command {
    let command = Command::new("replay")
        .about("Let the deployed function serve an environment, by what MWAA says of it now")
        .after_help(EXAMPLES)
        .arg(needed_environment_arg());
    with_function(command)
}

pub async fn answer(
    matches: &ArgMatches,
    common: &Common,
    paint: Paint,
) -> Result<Answer, Problem> {
    let dry_run = matches.get_flag("dry-run");
    let (accounts, environment) = Accounts::and_environment(matches, common).await?;
    let told = ask(&accounts, &environment).await?;
    let function = Function::of(matches, &accounts).await?;
    let payload = json!({"Environment": told, "dryRun": dry_run});
    let result = function.invoke(&payload, &["outcome", "resources", "warnings"]).await?;
    let mut shown = fact("environment", &paint.bold(&environment.arn()));
    shown.push_str(&fact("status", &text(&told, "Status")));
    shown.push_str(&fact("function", &function.name));
    let what = if dry_run { "What the function would do" } else { "What the function did" };
    shown.push_str(&format!("\n{}\n", paint.bold(what)));
    shown.push_str(&result::lines(&result, paint));
    shown.push_str(&result::outcome(&result, dry_run, paint));
    let has_findings = result::is_wrong(&result);
    let json = json!({
        "environment": environment.arn(),
        "status": told.get("Status"),
        "function": function.name,
        "dryRun": dry_run,
        "result": result,
    });
    Ok(Answer { json, text: shown, has_findings, is_unseen: false })
}

/// What MWAA says of the environment, all that the function reads of it.
async fn ask(accounts: &Accounts, environment: &Environment) -> Result<Value, Problem> {
    let _spinner = Spinner::start(format!("asking MWAA about {}", environment.name()));
    if !accounts.asked().contains(&environment.account) {
        let unseen = accounts.unasked(environment);
        return Err(
            Problem::usage(format!("{} could not be seen", unseen.what)).with_remedy(unseen.from)
        );
    }
    match accounts.asking().environment(environment).await {
        Ok(Some(told)) => Ok(told),
        Ok(None) => Err(accounts.no_such(environment)),
        Err(unanswered) => Err(unanswered.into_failure().into()),
    }
}
