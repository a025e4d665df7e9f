//! What the policies of roles, queues, buses and functions say of one request, by the evaluator that
//! SQS endpoints' policies are judged with.

use serde_json::{Value, json};

use super::Unseen;
use super::deployment::Role;
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
    match Statements::of(documents) {
        Some(all) => all.word(ask),
        None => Word::Unclear(UNREADABLE.to_owned()),
    }
}

const UNREADABLE: &str = "a policy cannot be read";

/// Statements of documents that count together.
#[derive(Default)]
struct Statements(Vec<Value>);

impl Statements {
    /// None if a document cannot be read.
    fn of<'a>(documents: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut all = Vec::new();
        for document in documents {
            all.extend(statements(document)?);
        }
        Some(Self(all))
    }

    fn word(&self, ask: Ask<'_>) -> Word {
        if self.0.is_empty() {
            return Word::Refused("there is no policy".to_owned());
        }
        let Ask { action, resource, account, service, keys, .. } = ask;
        // Those that surely are about other actions are not handed on: there may be many.
        let is_named = |it: &str| it.contains(['*', '?', '$']) || it.eq_ignore_ascii_case(action);
        let may_be_about = |it: &&Value| match (it.get("Action"), it.get("NotAction")) {
            (Some(named), None) => texts(named).is_none_or(|all| all.into_iter().any(is_named)),
            _ => true,
        };
        let about: Vec<&Value> = self.0.iter().filter(may_be_about).collect();
        if about.is_empty() {
            return Word::Refused(format!("no statement allows {action}"));
        }
        let document = json!({"Version": "2012-10-17", "Statement": about}).to_string();
        let facts = Facts { organization: ask.organization.map(str::to_owned), ..Facts::default() };
        let wish = Wish { action, resource, is_exact: true, account };
        judge_of(&document, &wish, &facts, Asker { service, keys })
    }
}

/// What a role may: by policies of its own, by those that are attached to it, and within its permissions
/// boundary.
pub(super) struct Rights<'a> {
    own: Option<Statements>,
    /// The same and one that allows everything, if not all policies were seen; and why they were not. What it
    /// refuses is denied, whatever the others say.
    open: Option<(Option<Statements>, String)>,
    within: Option<(&'a str, Result<Option<Statements>, Unseen>)>,
}

/// A policy that allows everything.
pub(super) const EVERYTHING: &str =
    r#"{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}"#;

impl<'a> Rights<'a> {
    pub(super) fn of(role: &'a Role) -> Self {
        let (mut documents, mut unseen) = (Vec::new(), None);
        let mut add = |document: Result<&'a String, Unseen>| match document {
            Ok(document) => documents.push(document.as_str()),
            Err(Unseen(why)) => unseen = Some(why),
        };
        match role.policies.get() {
            Ok(all) => all.values().for_each(|it| add(Ok(it))),
            Err(why) => add(Err(why)),
        }
        match role.attached.get() {
            Ok(all) => all.values().for_each(|it| add(it.get())),
            Err(why) => add(Err(why)),
        }
        let within = role.boundary.as_ref().map(|(arn, document)| {
            (arn.as_str(), document.get().map(|it| Statements::of([it.as_str()])))
        });
        let open =
            unseen.map(|why| (Statements::of(documents.iter().copied().chain([EVERYTHING])), why));
        Self { own: Statements::of(documents), open, within }
    }

    /// What they say of a request.
    pub(super) fn word(&self, ask: Ask<'_>) -> Word {
        let of = |all: &Option<Statements>| match all {
            Some(all) => all.word(ask),
            None => Word::Unclear(UNREADABLE.to_owned()),
        };
        let own = match &self.open {
            None => of(&self.own),
            Some((open, why)) => match of(open) {
                Word::Refused(denied) => Word::Refused(denied),
                _ => {
                    Word::Unclear(format!("whether {} is allowed was not seen: {why}", ask.action))
                }
            },
        };
        let Some((arn, within)) = &self.within else { return own };
        let within = match within {
            Ok(all) => of(all),
            Err(Unseen(why)) => Word::Unclear(why.clone()),
        };
        let by = |why: String| format!("{why}, by the permissions boundary {arn}");
        match (own, within) {
            (Word::Refused(why), _) => Word::Refused(why),
            (_, Word::Refused(why)) => Word::Refused(by(why)),
            (Word::Unclear(why), _) => Word::Unclear(why),
            (Word::Allowed, Word::Unclear(why)) => Word::Unclear(by(why)),
            (Word::Allowed, Word::Allowed) => Word::Allowed,
        }
    }
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

/// What statements allow: actions, patterns of them, and exceptions.
pub(super) fn actions(document: &str) -> Option<Vec<String>> {
    let mut all = Vec::new();
    for statement in statements(document)?.iter().filter(|it| it["Effect"] == "Allow") {
        all.extend(statement.get("NotAction").map(|but| format!("all but {but}")));
        all.extend(all_of(&statement["Action"]));
    }
    Some(all)
}

/// The texts of an element, which is one or a list of them; those that are no texts are left out.
pub(super) fn all_of(element: &Value) -> Vec<String> {
    let all = match element {
        Value::Array(all) => all.as_slice(),
        one => std::slice::from_ref(one),
    };
    all.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The same, if they are all texts.
fn texts(element: &Value) -> Option<Vec<&str>> {
    match element {
        Value::Array(all) => all.iter().map(Value::as_str).collect(),
        one => Some(vec![one.as_str()?]),
    }
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
    fn what_is_allowed_is_listed() {
        let document = json!({"Statement": [
            {"Effect": "Allow", "Action": ["ec2:*", "sqs:SendMessage"], "Resource": "*"},
            {"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"},
            {"Effect": "Deny", "Action": "*", "Resource": "*"},
        ]});
        let all = actions(&document.to_string()).unwrap();
        assert_eq!(all, ["ec2:*", "sqs:SendMessage", "all but \"iam:*\""]);
    }
}
