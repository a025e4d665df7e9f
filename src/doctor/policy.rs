//! What the policies of roles, queues, buses and functions say of one request, by the evaluator that
//! SQS endpoints' policies are judged with.

use serde_json::{Value, json};

use crate::environment::AccountId;
use crate::sqs_policy::{Asker, Facts, Wish, Word, judge_of};

/// A request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ask<'a> {
    /// The AWS service that asks; none if a role of `account` does.
    pub service: Option<&'a str>,
    /// The account of the role that asks.
    pub account: Option<&'a AccountId>,
    /// The organization of that account, if it is known.
    pub organization: Option<&'a str>,
    /// The action.
    pub action: &'a str,
    /// The ARN of what is asked for.
    pub resource: &'a str,
    /// Condition keys with their values.
    pub keys: &'a [(&'a str, &'a str)],
}

/// What documents together say of a request. Without any it is refused.
pub(super) fn word<'a>(documents: impl IntoIterator<Item = &'a str>, ask: Ask<'_>) -> Word {
    let mut all = Vec::new();
    for document in documents {
        match statements(document) {
            Some(statements) => all.extend(statements),
            None => return Word::Unclear("a policy cannot be read".to_owned()),
        }
    }
    if all.is_empty() {
        return Word::Refused("there is no policy".to_owned());
    }
    let document = json!({"Version": "2012-10-17", "Statement": all}).to_string();
    let facts = Facts { organization: ask.organization.map(str::to_owned), ..Facts::default() };
    let Ask { action, resource, account, service, keys, .. } = ask;
    let wish = Wish { action, resource, is_exact: true, account };
    judge_of(&document, &wish, &facts, Asker { service, keys })
}

/// A document's statements. A role's policies name no principal, since it is the role; and a role's
/// trust no resource, since it is the role.
pub(super) fn statements(document: &str) -> Option<Vec<Value>> {
    let mut document: Value = serde_json::from_str(document).ok()?;
    let mut all = match document.get_mut("Statement")?.take() {
        Value::Array(all) => all,
        one => vec![one],
    };
    for statement in &mut all {
        let fields = statement.as_object_mut()?;
        for (element, contrary) in [("Principal", "NotPrincipal"), ("Resource", "NotResource")] {
            if !fields.contains_key(element) && !fields.contains_key(contrary) {
                fields.insert(element.to_owned(), json!("*"));
            }
        }
    }
    Some(all)
}

/// The actions that statements allow by a pattern or by an exception, and not by their names.
pub(super) fn wide(document: &str) -> Option<Vec<String>> {
    let mut wide = Vec::new();
    for statement in statements(document)? {
        if statement["Effect"] != "Allow" {
            continue;
        }
        if let Some(but) = statement.get("NotAction") {
            wide.push(format!("all but {but}"));
        }
        let actions = match &statement["Action"] {
            Value::Array(all) => all.clone(),
            one => vec![one.clone()],
        };
        let actions = actions.iter().filter_map(Value::as_str);
        wide.extend(actions.filter(|it| it.contains(['*', '?'])).map(str::to_owned));
    }
    Some(wide)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = "arn:aws:events:us-east-1:111122223333:rule/x";

    fn ask<'a>(keys: &'a [(&'a str, &'a str)]) -> Ask<'a> {
        let service = Some("events.amazonaws.com");
        Ask {
            service,
            action: "sqs:SendMessage",
            resource: "arn:aws:sqs:us-east-1:1:q",
            keys,
            ..Ask::default()
        }
    }

    fn queue(principal: Value, condition: Value) -> String {
        json!({"Statement": {"Effect": "Allow", "Principal": principal, "Action": "sqs:SendMessage",
            "Resource": "arn:aws:sqs:us-east-1:1:q", "Condition": condition}})
        .to_string()
    }

    #[test]
    fn a_service_is_let_in_by_its_own_name_and_from_its_own_source() {
        let of_rule = json!({"ArnEquals": {"aws:SourceArn": [RULE]}});
        let policy = queue(json!({"Service": "events.amazonaws.com"}), of_rule.clone());
        let word = |policy: &str, source: &str| word([policy], ask(&[("aws:SourceArn", source)]));
        assert_eq!(word(&policy, RULE), Word::Allowed);
        assert!(matches!(word(&policy, "arn:aws:events:us-east-1:1:rule/y"), Word::Refused(_)));
        for stranger in [json!({"Service": "sns.amazonaws.com"}), json!({"AWS": "111122223333"})] {
            let policy = queue(stranger, of_rule.clone());
            assert!(matches!(word(&policy, RULE), Word::Refused(_)));
        }
        let unclear = json!({"StringEquals": {"aws:SourceOrgID": "o-1"}});
        let policy = queue(json!({"Service": "events.amazonaws.com"}), unclear);
        assert!(matches!(word(&policy, RULE), Word::Unclear(_)));
    }

    #[test]
    fn without_a_policy_nobody_is_let_in_and_one_that_cannot_be_read_is_unclear() {
        assert!(matches!(word([], ask(&[])), Word::Refused(_)));
        assert!(matches!(word(["{oops"], ask(&[])), Word::Unclear(_)));
    }

    #[test]
    fn what_is_allowed_by_a_pattern_is_wide() {
        let document = json!({"Statement": [
            {"Effect": "Allow", "Action": ["ec2:*", "sqs:SendMessage"], "Resource": "*"},
            {"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"},
            {"Effect": "Deny", "Action": "*", "Resource": "*"},
        ]});
        assert_eq!(wide(&document.to_string()).unwrap(), ["ec2:*", "all but \"iam:*\""]);
    }
}
