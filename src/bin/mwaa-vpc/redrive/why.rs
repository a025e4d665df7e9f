//! Why a message is in a queue for lost events.

use serde_json::Value;

/// From Lambda's record of an invocation that failed (Lambda developer guide, "Capturing records of
/// Lambda asynchronous invocations").
pub fn why_failed(record: &Value) -> String {
    let at = |pointer: &str| record.pointer(pointer).map(as_text).filter(|it| !it.is_empty());
    match (at("/responsePayload/errorMessage"), at("/responsePayload/errorType")) {
        (Some(message), Some(kind)) => format!("{kind}: {message}"),
        (Some(message), None) => message,
        (None, _) => {
            let condition = at("/requestContext/condition");
            let times = at("/requestContext/approximateInvokeCount").filter(|it| it != "0");
            format!(
                "{}, after {} invocations, without an error",
                condition.as_deref().unwrap_or("no reason"),
                times.as_deref().unwrap_or("no")
            )
        }
    }
}

fn as_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// From what EventBridge puts beside an event that it could not deliver (EventBridge user guide,
/// "Using dead-letter queues to process undelivered events").
pub fn why_undelivered(attributes: &[(String, String)]) -> String {
    let told = |name: &str| {
        let found = attributes.iter().find(|(it, value)| it == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    };
    let parts: Vec<&str> = ["ERROR_CODE", "ERROR_MESSAGE"].into_iter().filter_map(told).collect();
    let mut why = parts.join(": ");
    if let Some(condition) = told("EXHAUSTED_RETRY_CONDITION") {
        let attempts = told("RETRY_ATTEMPTS").unwrap_or("?");
        why.push_str(&format!(" ({condition}, after {attempts} attempts)"));
    }
    if why.is_empty() { "no reason is told".to_owned() } else { why }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_says_why_the_function_failed() {
        for (record, why) in [
            (json!({"responsePayload": {"errorType": "A", "errorMessage": "b"}}), "A: b"),
            (json!({"responsePayload": {"errorMessage": "b"}}), "b"),
            (json!({"responsePayload": {"errorMessage": ["b"]}}), "[\"b\"]"),
            (
                json!({"requestContext": {"condition": "EventAgeExceeded", "approximateInvokeCount": 0}}),
                "EventAgeExceeded, after no invocations, without an error",
            ),
            (
                json!({"requestContext": {"condition": "RetriesExhausted", "approximateInvokeCount": 3}}),
                "RetriesExhausted, after 3 invocations, without an error",
            ),
            (json!({"requestContext": 7}), "no reason, after no invocations, without an error"),
        ] {
            assert_eq!(why_failed(&record), why);
        }
    }

    #[test]
    fn eventbridge_says_beside_a_message_why_it_was_not_delivered() {
        let why = |all: &[(&str, &str)]| {
            let all: Vec<_> = all.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            why_undelivered(&all)
        };
        assert_eq!(why(&[]), "no reason is told");
        assert_eq!(why(&[("ERROR_MESSAGE", "no"), ("ERROR_CODE", "X")]), "X: no");
        let condition = ("EXHAUSTED_RETRY_CONDITION", "MaximumRetryAttempts");
        assert_eq!(
            why(&[("ERROR_CODE", "X"), condition]),
            "X (MaximumRetryAttempts, after ? attempts)"
        );
    }
}
