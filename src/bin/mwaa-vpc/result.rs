//! What the deployed function answered, for a person. It may be of another version than this program,
//! so all of it is taken as it comes.

use serde_json::Value;

use crate::lines::{WIDTH, mark, marked, plain, wrapped};
use crate::paint::Paint;

/// Whether the function has done all that was to be done.
pub fn is_served(outcome: &str) -> bool {
    matches!(outcome, "changed" | "unchanged" | "ignored")
}

/// Whether something of an environment's result is not as it should be.
pub fn is_wrong(result: &Value) -> bool {
    let lines = list(result, "resources").iter();
    let bad = |line: &Value| matches!(text(line, "outcome").as_str(), "failed" | "blocked");
    !is_served(&text(result, "outcome")) || lines.into_iter().any(bad)
}

/// A field as a text that a terminal may show; empty if it is not there.
pub fn text(value: &Value, field: &str) -> String {
    match value.get(field) {
        Some(Value::String(text)) => plain(text),
        None | Some(Value::Null) => String::new(),
        Some(other) => plain(&other.to_string()),
    }
}

/// A field that is a list; empty if it is not there.
pub fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The result of one environment, line by line.
pub fn lines(result: &Value, paint: Paint) -> String {
    let mut shown = marked('=', &text(result, "reason"), paint);
    for line in list(result, "resources") {
        shown.push_str(&resource(line, paint));
    }
    shown.push_str(&warnings(result, paint));
    shown
}

fn resource(line: &Value, paint: Paint) -> String {
    let role = match text(line, "role").as_str() {
        "webserver" => "web server".to_owned(),
        other => other.to_owned(),
    };
    let name = match text(line, "kind").as_str() {
        "endpoint" => format!("{role} endpoint").trim().to_owned(),
        "sqs-endpoint" => "SQS endpoint".to_owned(),
        other => other.replace('-', " "),
    };
    let outcome = text(line, "outcome");
    let sign = match outcome.as_str() {
        "created" => '+',
        "updated" => '~',
        "deleted" => '-',
        "kept" => '=',
        _ => '!',
    };
    let details = wrapped(&text(line, "detail"), WIDTH - 34);
    let first = details.first().map_or("", String::as_str);
    let mut shown = mark(sign, &format!("{outcome:<8} {name:<20} {first}"), paint);
    for more in details.iter().skip(1) {
        shown.push_str(&mark(' ', &format!("{:<30}{more}", ""), paint));
    }
    for helps in wrapped(&text(line, "remedy"), WIDTH - 34) {
        shown.push_str(&mark(' ', &format!("{:<30}{}", "", paint.dim(&helps)), paint));
    }
    shown
}

/// The warnings of a result, with what helps.
pub fn warnings(result: &Value, paint: Paint) -> String {
    let told = list(result, "warnings").iter();
    told.map(|it| marked('!', &format!("{} {}", text(it, "message"), text(it, "remedy")), paint))
        .collect()
}

/// The last line: what came of it.
pub fn outcome(result: &Value, dry_run: bool, paint: Paint) -> String {
    let plan = if dry_run { ", as a plan" } else { "" };
    format!("\n{} {}{plan}\n", paint.bold("Outcome:"), text(result, "outcome"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLAIN: fn() -> Paint = || Paint::on(false);

    #[test]
    fn every_resource_has_a_line_with_its_sign_and_warnings_follow_with_what_helps() {
        let result = json!({
            "outcome": "changed",
            "resources": [
                {"kind": "security-group", "outcome": "created", "detail": "made sg-1"},
                {"kind": "endpoint", "role": "webserver", "outcome": "kept", "detail": "vpce-1 is right"},
                {"kind": "sqs-endpoint", "outcome": "blocked", "detail": "a Deny", "remedy": "except it"},
            ],
            "warnings": [{"message": "it waits.", "remedy": "look there"}],
        });
        assert_eq!(
            lines(&result, PLAIN()),
            "  + created  security group       made sg-1\n  \
               = kept     web server endpoint  vpce-1 is right\n  \
               ! blocked  SQS endpoint         a Deny\n                                  \
                                               except it\n  \
               ! it waits. look there\n"
        );
        assert!(is_wrong(&result));
        assert_eq!(outcome(&result, true, PLAIN()), "\nOutcome: changed, as a plan\n");
    }

    #[test]
    fn what_another_version_answers_is_shown_as_far_as_it_can_be() {
        let result = json!({
            "outcome": "unheard-of",
            "resources": [{"kind": "target-group", "outcome": "moved"}, 7],
            "warnings": "none",
            "reason": "so\x1b[2J it is",
        });
        let shown = lines(&result, PLAIN());
        assert!(shown.contains("! moved    target group") && !shown.contains('\x1b'), "{shown}");
        assert!(is_wrong(&result));
        assert!(lines(&json!(null), PLAIN()).is_empty());
    }

    #[test]
    fn only_what_failed_or_is_blocked_or_refused_is_wrong() {
        let of = |outcome: &str, line: &str| {
            is_wrong(&json!({"outcome": outcome, "resources": [{"outcome": line}]}))
        };
        assert!(!of("changed", "created") && !of("unchanged", "kept") && !of("ignored", "left"));
        assert!(of("refused", "kept") && of("unchanged", "failed") && of("changed", "blocked"));
    }
}
