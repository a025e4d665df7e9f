//! `mwaa-vpc sweep`: lets the deployed function look at every environment, and put right what is not.

use clap::{ArgMatches, Command};
use serde_json::{Value, json};

use crate::Answer;
use crate::accounts::Accounts;
use crate::deployed::{Function, with_function};
use crate::iam::Needs;
use crate::lines::marked;
use crate::options::Common;
use crate::paint::{Paint, fact};
use crate::problem::Problem;
use crate::result::{self, is_wrong, list, text};

/// What it needs of IAM.
pub const NEEDS: Needs = Needs {
    owner: &["cloudformation:DescribeStacks"],
    function: &["lambda:InvokeFunction"],
    ..Needs::NONE
};

const EXAMPLES: &str = "\
The same as the scheduled sweep, at once. It shows what was put right, what failed and what somebody should know. The
exit code is 1 if something failed or is blocked, or if time ran out before every environment had its turn: the next
sweep begins with those.

Examples:
  mwaa-vpc sweep --dry-run
  mwaa-vpc sweep --owner-profile network
  mwaa-vpc sweep --stack my-stack --json | jq .result.environments";

pub fn command() -> Command {
    let command = Command::new("sweep")
        .about("Let the deployed function look at all environments now, and put right what is not")
        .after_help(EXAMPLES);
    with_function(command)
}

pub async fn answer(
    matches: &ArgMatches,
    common: &Common,
    paint: Paint,
) -> Result<Answer, Problem> {
    let dry_run = matches.get_flag("dry-run");
    let accounts = Accounts::of(common).await?;
    let function = Function::of(matches, &accounts).await?;
    let payload = json!({"sweep": true, "dryRun": dry_run});
    let result = function.invoke(&payload, &["outcome", "environments"]).await?;
    let mut shown = fact("function", &function.name);
    shown.push_str(&lines(&result, paint));
    shown.push_str(&result::outcome(&result, dry_run, paint));
    let json = json!({"function": function.name, "dryRun": dry_run, "result": result});
    Ok(Answer { has_findings: has_findings(&result), json, text: shown, is_unseen: false })
}

fn count(result: &Value, field: &str) -> u64 {
    result.get(field).and_then(Value::as_u64).unwrap_or_default()
}

fn has_findings(result: &Value) -> bool {
    text(result, "outcome") == "failed"
        || !list(result, "failures").is_empty()
        || list(result, "environments").iter().any(is_wrong)
        || count(result, "notReached") + count(result, "accountsNotListed") > 0
        // Of long lists only the beginning is answered.
        || result.get("cut").is_some()
}

fn lines(result: &Value, paint: Paint) -> String {
    let mut shown = String::new();
    for one in list(result, "environments") {
        let (arn, status) = (text(one, "environment"), text(one, "status"));
        shown.push_str(&format!("\n{}, {status}\n", paint.bold(&arn)));
        shown.push_str(&result::lines(one, paint));
    }
    let texts = |field: &str| -> Vec<String> {
        let all = list(result, field).iter().filter_map(Value::as_str);
        all.map(str::to_owned).collect()
    };
    let section = |title: &str, lines: String| match lines.is_empty() {
        true => String::new(),
        false => format!("\n{}\n{lines}", paint.bold(title)),
    };
    let all = |sign: char, texts: &[String]| -> String {
        texts.iter().map(|it| marked(sign, it, paint)).collect()
    };
    shown.push_str(&section("Could not be looked at", all('!', &texts("failures"))));
    shown.push_str(&section("To be known", result::warnings(result, paint)));
    shown.push_str(&section("No longer so", all('=', &texts("ended"))));
    shown.push_str(&section("In short", all(' ', &in_short(result, &texts("notAsked")))));
    shown
}

fn in_short(result: &Value, not_asked: &[String]) -> Vec<String> {
    let mut told = vec![format!("environments looked at: {}", count(result, "reached"))];
    told.extend(result.get("summary").map(|_| text(result, "summary")));
    let late = count(result, "notReached");
    if late > 0 {
        told.push(format!(
            "environments that had no turn, since time ran out: {late}. They are first next time."
        ));
    }
    let unlisted = count(result, "accountsNotListed");
    if unlisted > 0 {
        told.push(format!(
            "accounts whose environments were not listed, since time ran out: {unlisted}"
        ));
    }
    if let Some(cut) = result.get("cut") {
        told.push(format!("left out of the answer, and in the function's log: {cut}"));
    }
    if !not_asked.is_empty() {
        told.push(format!(
            "accounts whose MWAA may not be asked, so that nothing of theirs is taken away: {}",
            not_asked.join(", ")
        ));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right() -> Value {
        json!({
            "outcome": "changed",
            "environments": [{
                "environment": "arn:a", "status": "PENDING", "outcome": "changed",
                "resources": [{"kind": "endpoint", "role": "database", "outcome": "created", "detail": "made vpce-1"}],
                "warnings": [],
            }],
            "summary": "a of account 1: made 1 endpoint",
            "reached": 3, "notReached": 0, "accountsNotListed": 0,
            "warnings": [{"message": "the quota is nearly used up"}],
            "failures": [], "notAsked": ["210987654321"], "ended": [],
        })
    }

    #[test]
    fn what_was_put_right_and_what_is_to_be_known_is_shown() {
        let shown = lines(&right(), Paint::on(false));
        for part in [
            "\narn:a, PENDING\n  + created  database endpoint    made vpce-1\n",
            "\nTo be known\n  ! the quota is nearly used up\n",
            "environments looked at: 3\n",
            "a of account 1: made 1 endpoint",
            "taken away: 210987654321",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(!shown.contains("Could not") && !shown.contains("No longer"), "{shown}");
        assert!(!has_findings(&right()));
    }

    #[test]
    fn a_sweep_that_failed_for_one_or_did_not_reach_all_is_not_right() {
        for (field, value) in [
            ("outcome", json!("failed")),
            ("failures", json!(["arn:b: why"])),
            ("notReached", json!(1)),
            ("accountsNotListed", json!(1)),
            ("cut", json!({"failures": 1})),
            ("environments", json!([{"outcome": "failed"}])),
        ] {
            let mut result = right();
            result[field] = value;
            assert!(has_findings(&result), "{field}");
        }
    }
}
