//! The deployed function, for commands that go through it.

use clap::{Arg, ArgAction, ArgMatches, Command};
use mwaa_vpc_endpoints::environment::Region;
use serde_json::Value;

use crate::accounts::Accounts;
use crate::iam::Names;
use crate::lambda::Lambda;
use crate::problem::Problem;
use crate::result::text;
use crate::spinner::Spinner;
use crate::stack::{self, Stack, Stacks};

/// Options for commands that go through the function.
pub fn with_function(command: Command) -> Command {
    let option = |name: &'static str, help| {
        Arg::new(name)
            .long(name)
            .value_name("NAME")
            .help(help)
            .help_heading("The deployed function")
    };
    command
        .arg(
            Arg::new("dry-run")
                .long("dry-run")
                .help("Let the function only tell what it would do")
                .action(ArgAction::SetTrue),
        )
        .arg(option("stack", "The stack that the function is of").default_value(stack::OWNERS))
        .arg(option("function", "The function's name. Without it, what the stack says"))
}

/// The function that a command goes through.
#[derive(Debug)]
pub struct Function {
    /// Its name.
    pub name: String,
    lambda: Lambda,
    region: Region,
}

/// What helps where the function is not found.
const NAME_IT: &str =
    "name the function, or its stack: --function, --stack; of another Region: --region";

/// The name of the stack.
pub fn stack_name(matches: &ArgMatches) -> &str {
    matches.get_one::<String>("stack").map_or(stack::OWNERS, String::as_str)
}

/// What the function and the queues are called, for a policy.
pub fn names(matches: &ArgMatches) -> Names {
    let given = |name: &str| matches.try_get_one::<String>(name).ok().flatten();
    let mut names = given("stack").map(|it| Names::in_stack(it)).unwrap_or_default();
    if let Some(function) = given("function") {
        names.function = name_of(function);
    }
    names
}

/// The name in what names a function, with its version or alias: a policy must name that, too (Lambda
/// developer guide, "Fine-tuning the Resources and Conditions sections of policies").
fn name_of(function: &str) -> String {
    let parts: Vec<&str> = function.split(':').collect();
    match parts.as_slice() {
        ["arn", _, "lambda", _, _, "function", name @ ..] | [_, "function", name @ ..] => {
            name.join(":")
        }
        name => name.join(":"),
    }
}

/// That the stack is not there.
pub fn no_stack(matches: &ArgMatches, accounts: &Accounts) -> Problem {
    let (name, region) = (stack_name(matches), &accounts.region);
    let account = &accounts.owner.account;
    Problem::aws(format!("there is no stack {name} in account {account}, {region}"))
        .with_remedy(NAME_IT)
}

impl Function {
    /// The function that is named, or that the stack says.
    ///
    /// # Errors
    ///
    /// If neither is so, or as CloudFormation answers.
    pub async fn of(matches: &ArgMatches, accounts: &Accounts) -> Result<Self, Problem> {
        if matches.contains_id("function") {
            return Self::in_stack(matches, accounts, None);
        }
        let stack = Stacks::new(&accounts.owner_config).named(stack_name(matches)).await?;
        Self::in_stack(matches, accounts, stack.as_ref())
    }

    /// The same, where the stack was looked at.
    ///
    /// # Errors
    ///
    /// If the function is not named, and the stack does not say it.
    pub fn in_stack(
        matches: &ArgMatches,
        accounts: &Accounts,
        stack: Option<&Stack>,
    ) -> Result<Self, Problem> {
        let name = match (matches.get_one::<String>("function"), stack) {
            (Some(name), _) => name.clone(),
            (None, None) => return Err(no_stack(matches, accounts)),
            (None, Some(stack)) => stack.outputs.get("FunctionName").cloned().ok_or_else(|| {
                let name = &stack.name;
                Problem::aws(format!("the stack {name} has no output FunctionName"))
                    .with_remedy(NAME_IT)
            })?,
        };
        let region = accounts.region.clone();
        Ok(Self {
            name,
            lambda: Lambda::new(accounts.owner_config.clone(), region.clone()),
            region,
        })
    }

    /// Invokes it, and waits for what it answers, in which there must be these fields.
    ///
    /// # Errors
    ///
    /// If the function failed, or is none of this project's; or as Lambda answers.
    pub async fn invoke(&self, payload: &Value, fields: &[&str]) -> Result<Value, Problem> {
        let name = &self.name;
        let _spinner = Spinner::start(format!("{name} is at work"));
        let answer = match self.lambda.invoke(name, payload).await {
            Ok(answer) => answer,
            Err(failure) if failure.code() == Some("ResourceNotFoundException") => {
                let region = &self.region;
                return Err(Problem::aws(format!("there is no function {name} in {region}"))
                    .with_remedy(NAME_IT));
            }
            Err(failure) => return Err(failure.into()),
        };
        if answer.failed {
            let kind = text(&answer.payload, "errorType");
            let why = match text(&answer.payload, "errorMessage") {
                why if why.is_empty() => crate::lines::plain(&answer.payload.to_string()),
                why if kind.is_empty() => why,
                why => format!("{kind}: {why}"),
            };
            return Err(Problem::failed(format!("the function failed: {why}")));
        }
        if fields.iter().any(|it| answer.payload.get(it).is_none()) {
            let what = format!("{name} answered with no result of this project's function");
            return Err(Problem::aws(what).with_remedy(NAME_IT));
        }
        Ok(answer.payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_of_the_function_that_is_named_with_its_version() {
        for (named, name) in [
            ("f", "f"),
            ("f:live", "f:live"),
            ("111122223333:function:f", "f"),
            ("arn:aws:lambda:us-east-1:111122223333:function:f", "f"),
            ("arn:aws:lambda:us-east-1:111122223333:function:f:7", "f:7"),
        ] {
            assert_eq!(name_of(named), name, "{named}");
        }
    }
}
