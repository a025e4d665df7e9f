//! Conditions, as far as it is known of a request whether they hold.

use serde_json::{Map, Value};

use super::statement::{glob, strings};
use super::{Asker, Facts};
use crate::environment::AccountId;

/// A request by the role of an environment of `account`, to its queue or to something else.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) facts: &'a Facts,
    /// The ARN of what is asked for, or `*`.
    pub(super) resource: &'a str,
    /// None if it may be somebody else who asks.
    pub(super) account: Option<&'a AccountId>,
    pub(super) of: Asker<'a>,
}

/// What is known of a key's value in a request.
enum Known {
    /// This.
    Is(String),
    /// How it begins.
    Begins(String),
    /// It has none.
    Absent,
}

impl Request<'_> {
    /// Whether all of a `Condition` holds for this request; none if that is not known. All of its
    /// operators must, and of each operator all keys (IAM user guide, "Conditions with multiple context
    /// keys or values").
    pub(super) fn holds(&self, condition: Option<&Value>) -> Option<bool> {
        let Some(condition) = condition else { return Some(true) };
        let mut all = Some(true);
        for (operator, keys) in condition.as_object()? {
            let keys = keys.as_object().filter(|keys| !keys.is_empty())?;
            for (key, values) in keys {
                // One that surely does not hold is enough, whatever is known of the others; but a
                // variable may make all of a statement void, for Deny and Allow alike.
                match self.test(operator, key, values) {
                    Some(true) => {}
                    Some(false) => all = Some(false),
                    None if all == Some(false) => {}
                    None => all = None,
                }
            }
        }
        all.filter(|_| !has_variable(condition))
    }

    /// The keys of which something is known (IAM user guide, "AWS global condition context keys"): it
    /// is an IAM role that asks, over TLS, through this endpoint, and neither is it an AWS service nor
    /// does it ask by one.
    fn known(&self, key: &str) -> Option<Known> {
        let Facts { vpc, endpoint, organization, .. } = self.facts;
        let is = |text: &str| Some(Known::Is(text.to_owned()));
        if let Some((_, value)) = self.of.keys.iter().find(|(own, _)| own.eq_ignore_ascii_case(key))
        {
            return is(value);
        }
        let segment = |at| self.resource.split(':').nth(at).filter(|text| !text.is_empty());
        // Keys are case-insensitive (IAM user guide, "Condition").
        match key.to_ascii_lowercase().as_str() {
            "aws:securetransport" => is("true"),
            "aws:sourcevpc" => is(vpc.as_ref()?.as_str()),
            "aws:sourcevpce" => is(endpoint.as_ref()?.as_str()),
            "aws:requestedregion" => is(segment(3)?),
            "aws:principalaccount" => is(self.account?.as_str()),
            "aws:principalorgid" => self.account.and(is(organization.as_deref()?)),
            "aws:principaltype" => self.account.and(is("AssumedRole")),
            // Of a session it is its role's.
            "aws:principalarn" => {
                Some(Known::Begins(format!("arn:{}:iam::{}:role/", segment(1)?, self.account?)))
            }
            "aws:principalisawsservice" | "aws:viaawsservice" => self.account.and(is("false")),
            "aws:calledvia"
            | "aws:calledviafirst"
            | "aws:calledvialast"
            | "aws:principalservicename"
            | "aws:principalservicenameslist" => self.account.map(|_| Known::Absent),
            "aws:resourceaccount" => is(segment(4)?),
            _ => None,
        }
    }

    fn test(&self, operator: &str, key: &str, values: &Value) -> Option<bool> {
        let values = texts(values)?;
        let known = self.known(key)?;
        if operator == "Null" {
            let is_absent = matches!(known, Known::Absent);
            return match values.as_slice() {
                [value] => Some(value.parse::<bool>().ok()? == is_absent),
                _ => None,
            };
        }
        // For all, or for any, of a request's values: the keys that are known have one value, or none.
        // Without any, all of them match, and none does (IAM user guide, "Set operators for multivalued
        // context keys").
        let (of, operator) = match operator.split_once(':') {
            Some((of, operator)) => (Some(of), operator),
            None => (None, operator),
        };
        let (operator, if_exists) = match operator.strip_suffix("IfExists") {
            Some(operator) => (operator, true),
            None => (operator, false),
        };
        let (operator, is_negated) = negated(operator)?;
        if let Known::Absent = known {
            return match (of, if_exists) {
                // A key that is absent matches nothing, so that it does not equal either.
                (None, false) => Some(is_negated),
                (None, true) | (Some("ForAllValues"), false) => Some(true),
                (Some("ForAnyValue"), false) => Some(false),
                _ => None,
            };
        }
        if !matches!(of, None | Some("ForAllValues" | "ForAnyValue")) {
            return None;
        }
        let mut any = Some(false);
        for value in &values {
            match matches(operator, value, &known) {
                Some(true) => any = Some(true),
                None if any != Some(true) => any = None,
                _ => {}
            }
        }
        any.map(|any| any != is_negated)
    }
}

/// The operators that are understood, each with whether it is the contrary of the one that it is
/// returned with (IAM user guide, "IAM JSON policy elements: Condition operators").
fn negated(operator: &str) -> Option<(&'static str, bool)> {
    Some(match operator {
        "StringEquals" => ("equals", false),
        "StringNotEquals" => ("equals", true),
        "StringEqualsIgnoreCase" => ("ignoring case", false),
        "StringNotEqualsIgnoreCase" => ("ignoring case", true),
        "StringLike" => ("like", false),
        "StringNotLike" => ("like", true),
        "ArnEquals" | "ArnLike" => ("arn", false),
        "ArnNotEquals" | "ArnNotLike" => ("arn", true),
        "Bool" => ("bool", false),
        _ => return None,
    })
}

/// Whether a value of a condition matches what is known of the request's.
fn matches(operator: &str, value: &str, known: &Known) -> Option<bool> {
    let (actual, is_whole) = match known {
        Known::Is(actual) => (actual.as_str(), true),
        Known::Begins(begin) => (begin.as_str(), false),
        Known::Absent => return None,
    };
    match operator {
        "equals" if is_whole => Some(value == actual),
        "equals" => (!value.starts_with(actual)).then_some(false),
        "ignoring case" if is_whole => {
            // Beyond ASCII nobody says which letters are the same.
            (value.is_ascii() && actual.is_ascii()).then(|| value.eq_ignore_ascii_case(actual))
        }
        "bool" if is_whole => match value {
            "true" | "false" => Some(value == actual),
            _ => None,
        },
        "like" if is_whole => Some(glob(value, actual)),
        "like" => like_beginning(value, actual),
        "arn" => like_arn(value, actual, is_whole),
        _ => None,
    }
}

/// Whether a text that begins so matches a pattern; none if that depends on what follows.
fn like_beginning(pattern: &str, begin: &str) -> Option<bool> {
    let pattern: Vec<char> = pattern.chars().collect();
    // The places in the pattern at which one may be after what is known so far. All of them at once:
    // a pattern may be as long as a policy.
    let mut places = vec![false; pattern.len() + 1];
    let pass_stars = |places: &mut [bool]| {
        for (at, c) in pattern.iter().enumerate() {
            places[at + 1] |= places[at] && *c == '*';
        }
    };
    places[0] = true;
    pass_stars(&mut places);
    for c in begin.chars() {
        let mut next = vec![false; places.len()];
        for (at, p) in pattern.iter().enumerate().filter(|(at, _)| places[*at]) {
            next[at] |= *p == '*';
            next[at + 1] |= *p == '?' || *p == c;
        }
        pass_stars(&mut next);
        places = next;
    }
    // A `*` at the end takes in whatever follows.
    if pattern.last() == Some(&'*') && places[pattern.len() - 1] {
        return Some(true);
    }
    if places.contains(&true) { None } else { Some(false) }
}

/// Whether an ARN, or one that begins so, matches a pattern: each of its six parts for itself (IAM user
/// guide, "Amazon Resource Name (ARN) condition operators").
fn like_arn(pattern: &str, actual: &str, is_whole: bool) -> Option<bool> {
    let patterns: Vec<&str> = pattern.splitn(6, ':').collect();
    let actuals: Vec<&str> = actual.splitn(6, ':').collect();
    let (&[ref first @ .., last], &[ref known @ .., known_last]) =
        (patterns.as_slice(), actuals.as_slice())
    else {
        return None;
    };
    if first.len() != 5 || known.len() != 5 {
        return None;
    }
    if !first.iter().zip(known).all(|(pattern, part)| glob(pattern, part)) {
        return Some(false);
    }
    if is_whole { Some(glob(last, known_last)) } else { like_beginning(last, known_last) }
}

/// The values of a test, at least one; none if one of them is no text. EC2 hands back `true` for
/// `"true"`.
fn texts(values: &Value) -> Option<Vec<String>> {
    if let Value::Bool(value) = values {
        return Some(vec![value.to_string()]);
    }
    let texts: Vec<String> = strings(values)?.into_iter().map(str::to_owned).collect();
    (!texts.is_empty()).then_some(texts)
}

/// Whether there is a variable in a value, which may stand for anything, or for nothing.
fn has_variable(condition: &Value) -> bool {
    let of = |keys: &Map<String, Value>| {
        keys.values()
            .any(|values| strings(values).is_some_and(|all| all.iter().any(|it| it.contains("${"))))
    };
    let operators = condition.as_object().into_iter().flat_map(Map::values);
    operators.filter_map(Value::as_object).any(of)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::environment::{EndpointId, QueueArn, VpcId};

    fn holds(condition: Value) -> Option<bool> {
        let facts = Facts {
            vpc: Some(VpcId::parse("vpc-1").unwrap()),
            endpoint: Some(EndpointId::parse("vpce-1").unwrap()),
            organization: Some("o-ours".to_owned()),
            is_gateway: false,
        };
        let queue = QueueArn::parse("arn:aws:sqs:us-east-1:555555555555:airflow-celery-1").unwrap();
        let account = &AccountId::parse("111111111111").unwrap();
        let account = Some(account);
        Request { facts: &facts, resource: queue.as_str(), account, of: Asker::default() }
            .holds(Some(&condition))
    }

    fn table(operator: &str, cases: &[(&str, Value, Option<bool>)]) {
        for (key, values, expected) in cases {
            assert_eq!(
                holds(json!({operator: {*key: values}})),
                *expected,
                "{operator} {key} {values}"
            );
        }
    }

    #[test]
    fn what_is_known_of_a_request_decides() {
        table(
            "StringEquals",
            &[
                ("aws:SourceVpc", json!("vpc-1"), Some(true)),
                ("AWS:SOURCEVPC", json!(["vpc-2", "vpc-1"]), Some(true)),
                ("aws:SourceVpc", json!("vpc-2"), Some(false)),
                ("aws:SourceVpc", json!("vpc-*"), Some(false)),
                ("aws:SourceVpce", json!("vpce-1"), Some(true)),
                ("aws:RequestedRegion", json!("us-east-1"), Some(true)),
                ("aws:PrincipalAccount", json!("111111111111"), Some(true)),
                ("aws:PrincipalAccount", json!(111111111111_i64), None),
                ("aws:PrincipalOrgID", json!("o-ours"), Some(true)),
                ("aws:PrincipalOrgID", json!("o-other"), Some(false)),
                ("aws:PrincipalType", json!("AssumedRole"), Some(true)),
                ("aws:ResourceAccount", json!("555555555555"), Some(true)),
                ("aws:ResourceOrgID", json!("o-ours"), None),
                ("aws:PrincipalOrgPaths", json!("o-ours/*"), None),
                ("aws:PrincipalArn", json!("arn:aws:iam::111111111111:role/r"), None),
                ("aws:PrincipalArn", json!("arn:aws:iam::222222222222:role/r"), Some(false)),
                ("aws:PrincipalTag/team", json!("x"), None),
                ("aws:SourceVpc", json!("${aws:SourceVpc}"), None),
                ("aws:SourceVpc", json!([]), None),
                ("aws:CalledViaFirst", json!("athena.amazonaws.com"), Some(false)),
            ],
        );
        table(
            "StringNotEquals",
            &[
                ("aws:SourceVpc", json!(["vpc-2", "vpc-3"]), Some(true)),
                ("aws:SourceVpc", json!(["vpc-2", "vpc-1"]), Some(false)),
                ("aws:CalledViaFirst", json!("athena.amazonaws.com"), Some(true)),
            ],
        );
        table(
            "StringLike",
            &[
                ("aws:PrincipalArn", json!("*"), Some(true)),
                ("aws:PrincipalArn", json!("arn:aws:iam::111111111111:*"), Some(true)),
                ("aws:PrincipalArn", json!("arn:aws:iam::*:role/*"), Some(true)),
                ("aws:PrincipalArn", json!("arn:aws:iam::*:role/mwaa-*"), None),
                ("aws:PrincipalArn", json!("*mwaa"), None),
                ("aws:PrincipalArn", json!("arn:aws:iam::111111111111:user/*"), Some(false)),
                ("aws:PrincipalArn", json!("arn:aws-cn:*"), Some(false)),
                ("aws:PrincipalOrgID", json!("o-*"), Some(true)),
            ],
        );
        table(
            "ArnNotLike",
            &[
                ("aws:PrincipalArn", json!("arn:aws:iam::222222222222:role/*"), Some(true)),
                ("aws:PrincipalArn", json!("arn:aws:iam::*:role/*"), Some(false)),
                ("aws:PrincipalArn", json!("arn:aws:iam::*:role/x"), None),
                ("aws:PrincipalArn", json!("*"), None),
                ("aws:SourceVpc", json!("arn:aws:ec2:*:*:vpc/vpc-1"), None),
            ],
        );
        table(
            "Bool",
            &[
                ("aws:SecureTransport", json!("false"), Some(false)),
                ("aws:SecureTransport", json!(true), Some(true)),
                ("aws:SecureTransport", json!("yes"), None),
                ("aws:ViaAWSService", json!("false"), Some(true)),
                ("aws:PrincipalIsAWSService", json!("true"), Some(false)),
                ("aws:MultiFactorAuthPresent", json!("true"), None),
            ],
        );
        table(
            "Null",
            &[
                ("aws:SourceVpc", json!("false"), Some(true)),
                ("aws:SourceVpc", json!(true), Some(false)),
                ("aws:CalledVia", json!("true"), Some(true)),
                ("aws:PrincipalTag/x", json!("true"), None),
            ],
        );
    }

    #[test]
    fn sets_of_values_are_read_as_iam_reads_them() {
        for (operator, key, values, expected) in [
            ("ForAllValues:StringEquals", "aws:CalledVia", "x", Some(true)),
            ("ForAnyValue:StringEquals", "aws:CalledVia", "x", Some(false)),
            ("ForAnyValue:StringNotEquals", "aws:CalledVia", "x", Some(false)),
            ("ForAllValues:StringEquals", "aws:SourceVpc", "vpc-1", Some(true)),
            ("ForAnyValue:StringLike", "aws:SourceVpc", "vpc-?", Some(true)),
            ("ForAnyValue:StringEquals", "aws:PrincipalOrgPaths", "o-ours/", None),
            ("ForSome:StringEquals", "aws:SourceVpc", "vpc-1", None),
            ("StringEqualsIfExists", "aws:CalledViaLast", "x", Some(true)),
            ("StringEqualsIfExists", "aws:SourceVpc", "vpc-2", Some(false)),
            ("IpAddress", "aws:SourceIp", "10.0.0.0/8", None),
            ("NumericEquals", "aws:SourceVpc", "1", None),
            ("stringequals", "aws:SourceVpc", "vpc-1", None),
        ] {
            assert_eq!(holds(json!({operator: {key: values}})), expected, "{operator} {key}");
        }
    }

    #[test]
    fn all_of_a_condition_must_hold() {
        let (yes, no, unknown) = (
            json!({"aws:SourceVpc": "vpc-1"}),
            json!({"aws:SourceVpc": "vpc-2"}),
            json!({"aws:SourceIp": "10.0.0.1"}),
        );
        for (one, other, expected) in [
            (&yes, &yes, Some(true)),
            (&yes, &no, Some(false)),
            (&yes, &unknown, None),
            (&unknown, &no, Some(false)),
            (&no, &unknown, Some(false)),
        ] {
            let both = json!({"StringEquals": one, "StringLike": other});
            assert_eq!(holds(both.clone()), expected, "{both}");
        }
        // A variable without a value may make the whole statement void.
        let variable = json!({"aws:SourceIp": "${aws:PrincipalTag/ip}"});
        assert_eq!(holds(json!({"StringEquals": no, "StringLike": variable})), None);
        assert_eq!(holds(json!({})), Some(true));
        assert_eq!(holds(json!({"StringEquals": {}})), None);
        assert_eq!(holds(json!("x")), None);
    }
}
