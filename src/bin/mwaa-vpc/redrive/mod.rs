//! `mwaa-vpc redrive`: serves what lies in the queues for lost events, and deletes it once it is served.
//!
//! Each environment is served once, from what MWAA says of it now, or from the event itself where MWAA
//! may not be asked. A message is deleted when the function has succeeded, and not before; one that asks
//! for a sweep is deleted without, since the next sweep comes by itself. What was received and not dealt
//! with is visible in the queue again at the end.
//!
//! SQS has a redrive of its own, StartMessageMoveTask, but only for dead-letter queues of other queues.

mod ask;
mod find;
mod held;
mod message;
mod queue;
mod show;
mod steps;
mod why;
mod work;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::json;

use crate::accounts::Accounts;
use crate::deployed::{Function, stack_name, with_function};
use crate::iam::{Names, Needs};
use crate::options::Common;
use crate::paint::Paint;
use crate::problem::Problem;
use crate::signals::{Interrupted, Signals};
use crate::stack::Stacks;
use crate::{Answer, Ended};
use queue::Queue;
use show::{Output, counted};
use work::{Redrive, Stop};

/// What it needs of IAM.
pub const NEEDS: Needs = Needs {
    owner: &["cloudformation:DescribeStacks"],
    environments: &["airflow:GetEnvironment"],
    // To find a participant's queue.
    lists: &["cloudformation:DescribeStacks", "cloudformation:ListStacks"],
    function: &["lambda:InvokeFunction"],
    queues: &[
        "sqs:ChangeMessageVisibility",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "sqs:ReceiveMessage",
    ],
};

const EXAMPLES: &str = "\
Shows each message with the reason why it is there, and serves each environment once, from what MWAA says of it now. A
message is deleted only when the function has succeeded. What is not dealt with can be received again at once, after
Ctrl-C too. The exit code is 1 if something is left in the queues, or would be.

Examples:
  mwaa-vpc redrive --dry-run
  mwaa-vpc redrive --owner-profile network --environment-profile data
  mwaa-vpc redrive --queue failed --keep-going
  mwaa-vpc redrive --queue participant --owner-profile network --environment-profile data --dry-run";

pub fn command() -> Command {
    let command = Command::new("redrive")
        .about("Let the deployed function serve what lies in the queues for lost events")
        .after_help(EXAMPLES)
        .arg(
            Arg::new("keep-going")
                .long("keep-going")
                .help("Go on with the next environment when one fails")
                .action(ArgAction::SetTrue),
        )
        .arg(Arg::new("queue").long("queue").value_name("QUEUE").help(
            "failed or undelivered: one of the stack's two queues. participant: that of participant.yaml in the account of --environment-profile. Or a queue's URL",
        ));
    with_function(command)
}

/// What queues are called, for a policy.
pub fn names(matches: &ArgMatches, names: Names) -> Names {
    let queue = matches.try_get_one::<String>("queue").ok().flatten();
    let named = queue.and_then(|url| find::of_url(url)).map(|(_, name)| name.to_owned());
    Names { queues: named.map_or(names.queues, |it| vec![it]), ..names }
}

pub async fn answer(matches: &ArgMatches, common: &Common, paint: Paint) -> Result<Ended, Problem> {
    let signals = Signals::caught()
        .map_err(|error| Problem::aws(format!("signals cannot be caught: {error}")))?;
    let output = Output::new(paint, common.json);
    let dry_run = matches.get_flag("dry-run");
    let Ok(prepared) = signals.unless(prepare(matches, common)).await else {
        output.mark("Interrupted.");
        return Ok(shown(&output, Counts::default(), dry_run));
    };
    let (accounts, function, queues) = prepared?;
    let mut redrive = Redrive {
        accounts: &accounts,
        function: &function,
        queues,
        signals: &signals,
        output,
        dry_run,
        keep_going: matches.get_flag("keep-going"),
        done: 0,
        left: 0,
        others: None,
        is_over: false,
    };
    let ended = redrive.run().await;
    if let Err(Stop::Interrupted(Interrupted)) = ended {
        redrive.output.mark("Interrupted: what was not dealt with is put back.");
    }
    redrive.put_back().await;
    if let Err(Stop::Failed(problem)) = ended {
        return Err(problem);
    }
    let counts = Counts { done: redrive.done, left: redrive.left, others: redrive.others };
    Ok(shown(&redrive.output, counts, dry_run))
}

/// What is looked at before a message is received.
async fn prepare(
    matches: &ArgMatches,
    common: &Common,
) -> Result<(Accounts, Function, Vec<Queue>), Problem> {
    let accounts = Accounts::of(common).await?;
    let stack = Stacks::new(&accounts.owner_config).named(stack_name(matches)).await?;
    let queues = find::queues(matches, common, &accounts, stack.as_ref()).await?;
    let function = Function::in_stack(matches, &accounts, stack.as_ref())?;
    Ok((accounts, function, queues))
}

/// How many messages there are.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    done: usize,
    left: usize,
    /// What somebody else holds; none if that is not known.
    others: Option<usize>,
}

fn shown(output: &Output, counts: Counts, dry_run: bool) -> Ended {
    let Counts { done, left, others } = counts;
    let (dealt, stay) = match dry_run {
        true => ("would be dealt with", "would be left"),
        false => ("dealt with and deleted", "left in the queue"),
    };
    let text = match done + left {
        0 => String::new(),
        _ => {
            let outcome = output.paint.bold("Outcome:");
            format!("\n{outcome} {} {dealt}, {left} {stay}\n", counted(done))
        }
    };
    let json = json!({
        "dryRun": dry_run, "found": output.told, "done": done, "left": left, "heldByOthers": others,
    });
    let has_findings = left + others.unwrap_or_default() > 0;
    let answer = Answer { json, text, has_findings, is_unseen: false };
    Ended { answer, is_silent: others.is_none() }
}
