//! Which queues are emptied.
//!
//! What lies in a queue of the function's own stack was written by Lambda or EventBridge. Nothing else
//! is believed of any other queue, whoever's it is, than which environment is meant.

use aws_sdk_sqs::Client;
use clap::ArgMatches;

use super::queue::Queue;
use crate::accounts::Accounts;
use crate::deployed::{no_stack, stack_name};
use crate::options::Common;
use crate::problem::Problem;
use crate::stack::{Stack, Stacks};

/// The stack's queues: what a person calls them, and what the template does.
const OURS: [(&str, &str); 2] =
    [("failed", "FailedEventsQueue"), ("undelivered", "UndeliveredEventsQueue")];

/// The queues that a person asks for.
///
/// # Errors
///
/// If there are none that are called so.
pub async fn queues(
    matches: &ArgMatches,
    common: &Common,
    accounts: &Accounts,
    stack: Option<&Stack>,
) -> Result<Vec<Queue>, Problem> {
    let asked = matches.get_one::<String>("queue").map(String::as_str);
    let url = |output: &str| stack?.outputs.get(&format!("{output}Url")).cloned();
    let is_asked = |name: &str, output: &str| match asked {
        None => true,
        Some(asked) => asked == name || url(output).as_deref() == Some(asked),
    };
    let ours: Vec<&str> = OURS.iter().filter(|(a, b)| is_asked(a, b)).map(|(_, it)| *it).collect();
    if !ours.is_empty() {
        let client = Client::new(&accounts.owner_config);
        let queue = |(at, name): (usize, &&str)| {
            let url = url(name).ok_or_else(|| not_known(name, matches, accounts, stack))?;
            Ok(Queue::new(at, *name, client.clone(), url, true))
        };
        return ours.iter().enumerate().map(queue).collect();
    }
    let url = match asked {
        Some("participant") => participants(common, accounts).await?,
        asked => asked.unwrap_or_default().to_owned(),
    };
    let Some((_, name)) = of_url(&url) else {
        return Err(Problem::usage(format!(
            "--queue: {url:?} is none of failed, undelivered, participant, or a queue's URL"
        )));
    };
    let client = Client::new(&accounts.environment_config);
    Ok(vec![Queue::new(0, name, client, url.clone(), false)])
}

fn not_known(
    queue: &str,
    matches: &ArgMatches,
    accounts: &Accounts,
    stack: Option<&Stack>,
) -> Problem {
    let why = match stack {
        None => no_stack(matches, accounts).message,
        Some(_) => format!("the stack {} has no output {queue}Url", stack_name(matches)),
    };
    Problem::aws(format!("{queue} is not known: {why}")).with_remedy(
        "name the stack, or a queue: --stack, --queue URL; of another Region: --region",
    )
}

/// The account and the name in a queue's URL.
pub fn of_url(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let mut parts = rest.split('/');
    let (host, account, name) = (parts.next()?, parts.next()?, parts.next()?);
    let is_name = |it: u8| it.is_ascii_alphanumeric() || it == b'-' || it == b'_';
    let is_one = parts.next().is_none()
        && !host.is_empty()
        && account.len() == 12
        && account.bytes().all(|it| it.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(is_name);
    is_one.then_some((account, name))
}

/// The queue of a stack of participant.yaml, which may have any name.
async fn participants(common: &Common, accounts: &Accounts) -> Result<String, Problem> {
    if common.environment_profile.is_none() {
        return Err(Problem::usage(
            "--queue participant: name a profile of the participant's account: --environment-profile",
        ));
    }
    let stacks = Stacks::new(&accounts.environment_config).all().await?;
    let mut found: Vec<String> = stacks.into_iter().filter_map(|it| queue_of(&it)).collect();
    if let [_] = found.as_slice() {
        return Ok(found.swap_remove(0));
    }
    let there = match found.len() {
        0 => "there is no stack".to_owned(),
        count => format!("there are {count} stacks"),
    };
    let problem = Problem::aws(format!(
        "{there} of participant.yaml in account {}, {}",
        accounts.environment.account, accounts.region
    ));
    Err(problem.with_remedy(format!("name the queue: --queue URL. {}", found.join(" ")).trim()))
}

/// The queue of a stack, if it is of participant.yaml: the owner's has another queue beside it.
fn queue_of(stack: &Stack) -> Option<String> {
    let is_owners = stack.outputs.contains_key("FailedEventsQueueUrl");
    stack.outputs.get("UndeliveredEventsQueueUrl").filter(|_| !is_owners).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queues_url_names_its_account_and_the_queue() {
        let sqs = "https://sqs.us-east-1.amazonaws.com";
        let url = format!("{sqs}/111122223333/failed-1_A");
        assert_eq!(of_url(&url), Some(("111122223333", "failed-1_A")));
        for wrong in ["", "all", "/1/x", "ftp://x/111122223333/y", "https:///111122223333/y"] {
            assert_eq!(of_url(wrong), None, "{wrong}");
        }
        for rest in [
            "",
            "/1/x",
            "/111122223333",
            "/111122223333/",
            "/111122223333/a/b",
            "/111122223333/a?b",
        ] {
            assert_eq!(of_url(&format!("{sqs}{rest}")), None, "{rest}");
        }
    }
}
