//! One statement of a policy, and as much of its meaning as can be told.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::condition::Request;
use super::document::Fields;
use super::{Certainty, SID};
use crate::environment::AccountId;

/// One statement: its text, and as much of its meaning as can be told.
pub(super) struct Statement {
    pub(super) raw: Box<RawValue>,
    pub(super) is_under_our_sid: bool,
    /// The fields, if the statement is an object in which no field occurs twice.
    pub(super) fields: Option<Map<String, Value>>,
}

/// The elements that a statement may have (IAM user guide, "Grammar of the IAM JSON policy language").
const ELEMENTS: [&str; 9] = [
    "Sid",
    "Effect",
    "Principal",
    "NotPrincipal",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
];

impl Statement {
    pub(super) fn read(raw: Box<RawValue>) -> Self {
        let fields = match serde_json::from_str::<Unambiguous>(raw.get()) {
            Ok(Unambiguous(Value::Object(fields))) => Some(fields),
            _ => None,
        };
        // Also of a statement that cannot be read: if it is under our Sid, there is no room for ours.
        let sids = serde_json::from_str::<Fields>(raw.get()).map_or_else(|_| Vec::new(), |f| f.0);
        let is_under_our_sid = sids.iter().any(|(key, value)| {
            key == "Sid" && serde_json::from_str::<String>(value.get()).is_ok_and(|sid| sid == SID)
        });
        Self { raw, is_under_our_sid, fields }
    }

    /// Whether this statement surely allows a request for `action`: to everyone, under conditions that
    /// surely hold for it.
    pub(super) fn allows(&self, action: &str, request: Request<'_>) -> bool {
        let Some(fields) = &self.fields else { return false };
        fields.get("Effect") == Some(&Value::from("Allow"))
            && fields.keys().all(|key| ELEMENTS.contains(&key.as_str()))
            && request.holds(fields.get("Condition")) == Some(true)
            && !fields.contains_key("NotPrincipal")
            && fields.get("Principal").is_some_and(is_everyone)
            && covers(fields, "Action", "NotAction", &ActionText(action)) == Some(Certainty::Surely)
            && covers(fields, "Resource", "NotResource", &ResourceText(request.resource))
                == Some(Certainty::Surely)
    }

    /// Whether, and how surely, this statement denies a request for `action`.
    pub(super) fn denies(&self, action: &str, request: Request<'_>) -> Option<Certainty> {
        self.bears("Deny", action, request, true)
    }

    /// Whether, and how surely, this is a statement of this `effect` on a request for `action`. If the
    /// resource `is_exact`, it is the one that is asked for; otherwise an example of it.
    pub(super) fn bears(
        &self,
        effect: &str,
        action: &str,
        request: Request<'_>,
        is_exact: bool,
    ) -> Option<Certainty> {
        let Some(fields) = &self.fields else { return Some(Certainty::Maybe) };
        match fields.get("Effect").and_then(Value::as_str) {
            Some(own) if own == effect => {}
            Some("Allow" | "Deny") => return None,
            _ => return Some(Certainty::Maybe),
        }
        let action = covers(fields, "Action", "NotAction", &ActionText(action))?;
        let target = ResourceText(request.resource);
        let resource = match covers(fields, "Resource", "NotResource", &target) {
            covered if is_exact => covered?,
            Some(Certainty::Surely) if fields.contains_key("Resource") => Certainty::Surely,
            // What a `*` excepts of the example it excepts of each.
            None if fields.contains_key("NotResource") => return None,
            _ => Certainty::Maybe,
        };
        let principal = names_principal(fields, request)?;
        let condition = match request.holds(fields.get("Condition")) {
            Some(true) => Certainty::Surely,
            None => Certainty::Maybe,
            Some(false) => return None,
        };
        let grammar = if fields.keys().all(|key| ELEMENTS.contains(&key.as_str())) {
            Certainty::Surely
        } else {
            Certainty::Maybe
        };
        [action, resource, principal, condition, grammar].into_iter().min()
    }
}

/// A text that a pattern of a policy may match, surely or perhaps.
trait Target {
    /// Whether the pattern matches, however the doubtful points of matching are read.
    fn surely_matches(&self, pattern: &str) -> bool;
    /// Whether the pattern may match.
    fn may_match(&self, pattern: &str) -> bool;
}

/// An action, such as `sqs:SendMessage`. Actions are case-insensitive.
struct ActionText<'a>(&'a str);

impl Target for ActionText<'_> {
    fn surely_matches(&self, pattern: &str) -> bool {
        // A wildcard in place of the service is valid only as the pattern "*".
        let service = self.0.find(':').and_then(|end| self.0.get(..=end)).unwrap_or_default();
        let of_it = pattern.get(..service.len());
        let of_it = of_it.is_some_and(|begin| begin.eq_ignore_ascii_case(service));
        pattern == "*" || of_it && self.may_match(pattern)
    }

    fn may_match(&self, pattern: &str) -> bool {
        glob(&pattern.to_ascii_lowercase(), &self.0.to_ascii_lowercase())
    }
}

/// A resource's ARN.
struct ResourceText<'a>(&'a str);

impl Target for ResourceText<'_> {
    fn surely_matches(&self, pattern: &str) -> bool {
        // A wildcard surely stays within its segment of the ARN, but for one in the last segment. That
        // one at another segment's end may run on over colons makes no other match surer. The segment
        // of the service may hold none (IAM user guide, "IAM JSON policy elements: Resource").
        let segments: Vec<&str> = pattern.splitn(6, ':').collect();
        let targets: Vec<&str> = self.0.splitn(segments.len(), ':').collect();
        let of_a_service =
            pattern == "*" || segments.get(2).is_some_and(|service| !service.contains(['*', '?']));
        of_a_service
            && (segments.len() == 6 || segments.last() == Some(&"*"))
            && segments.iter().zip(&targets).all(|(pattern, target)| glob(pattern, target))
    }

    fn may_match(&self, pattern: &str) -> bool {
        // A wildcard may run on over colons, and AWS completes an ARN of too few segments with
        // wildcards (same source).
        let pattern = variables_as_wildcards(pattern);
        glob(&pattern, self.0) || glob(&format!("{pattern}:*"), self.0)
    }
}

/// `pattern` with `*` in place of each `${…}`: a variable may stand for anything.
fn variables_as_wildcards(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(start) = rest.find("${") {
        out.push_str(&rest[..start]);
        out.push('*');
        rest = rest[start..].find('}').map_or("", |end| &rest[start + end + 1..]);
    }
    out + rest
}

/// Whether a statement covers `target` by its positive (`Action`) or negative (`NotAction`) list.
fn covers(
    fields: &Map<String, Value>,
    positive: &str,
    negative: &str,
    target: &impl Target,
) -> Option<Certainty> {
    let (patterns, inverted) = match (fields.get(positive), fields.get(negative)) {
        (Some(patterns), None) => (patterns, false),
        (None, Some(patterns)) => (patterns, true),
        // Neither or both: not a valid statement, so whether it covers cannot be told.
        _ => return Some(Certainty::Maybe),
    };
    let Some(patterns) = strings(patterns) else { return Some(Certainty::Maybe) };
    // A variable that cannot be resolved makes all of a statement void.
    let surely = !patterns.iter().any(|pattern| pattern.contains("${"))
        && patterns.iter().any(|pattern| target.surely_matches(pattern));
    let perhaps = patterns.iter().any(|pattern| target.may_match(pattern));
    match (inverted, surely, perhaps) {
        (false, true, _) => Some(Certainty::Surely),
        (false, false, true) => Some(Certainty::Maybe),
        (false, false, false) => None,
        (true, true, _) => None,
        (true, false, true) => Some(Certainty::Maybe),
        // An empty list excludes nothing, but is not known to be valid; a variable may make all void.
        (true, false, false)
            if patterns.is_empty() || patterns.iter().any(|pattern| pattern.contains("${")) =>
        {
            Some(Certainty::Maybe)
        }
        (true, false, false) => Some(Certainty::Surely),
    }
}

/// Whether a statement names who asks: an AWS service, the role of an environment of an account, or, if none
/// is given, anybody.
fn names_principal(fields: &Map<String, Value>, request: Request<'_>) -> Option<Certainty> {
    let principal = match (fields.get("Principal"), fields.get("NotPrincipal")) {
        (Some(principal), None) => principal,
        _ => return Some(Certainty::Maybe),
    };
    if is_everyone(principal) {
        return Some(Certainty::Surely);
    }
    let Some(kinds) = principal.as_object() else { return Some(Certainty::Maybe) };
    if let Some(service) = request.of.service {
        let named = kinds.get("Service").and_then(strings);
        return named.filter(|all| all.contains(&service)).map(|_| Certainty::Surely);
    }
    let Some(account) = request.account else { return Some(Certainty::Maybe) };
    // An environment's role is an IAM role: a service principal is never it.
    if !kinds.is_empty() && kinds.keys().all(|kind| kind == "Service") {
        return None;
    }
    // An account as principal stands for everyone in it (IAM user guide, "IAM JSON policy elements:
    // Principal").
    let is_whole_account = |principal: &&str| {
        !request.facts.is_gateway
            && (*principal == account.as_str()
                || account_of(principal) == Some(account.as_str()) && principal.ends_with(":root"))
    };
    if kinds.get("AWS").and_then(strings).is_some_and(|all| all.iter().any(is_whole_account)) {
        return Some(Certainty::Surely);
    }
    let elsewhere = kinds.iter().all(|(kind, principals)| match kind.as_str() {
        "Service" => true,
        "AWS" => strings(principals).is_some_and(|principals| {
            principals.iter().all(|p| account_of(p).is_some_and(|of| of != account.as_str()))
        }),
        _ => false,
    });
    if elsewhere && !kinds.is_empty() { None } else { Some(Certainty::Maybe) }
}

/// The account of a principal that is an account id or an ARN, if it can be told.
fn account_of(principal: &str) -> Option<&str> {
    let parts: Vec<&str> = principal.split(':').collect();
    let account = match parts.as_slice() {
        ["arn", _, _, _, account, ..] => account,
        [account] => account,
        _ => return None,
    };
    AccountId::parse(account).is_ok().then_some(account)
}

/// Whether a `Principal` is everyone and nothing else: `"*"`, or `"*"` as the AWS principal.
pub(super) fn is_everyone(principal: &Value) -> bool {
    match principal {
        Value::String(text) => text == "*",
        Value::Object(kinds) if kinds.len() == 1 => {
            kinds.get("AWS").and_then(strings).is_some_and(|names| names == ["*"])
        }
        _ => false,
    }
}

/// A string, or a list of nothing but strings, as a list.
pub(super) fn strings(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(list) => list.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

/// Whether `text` matches `pattern`, in which `*` stands for any run of characters and `?` for one.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where to resume after the newest `*` has taken in one character more.
    let mut resume: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                resume = Some((p + 1, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((after_star, taken)) = resume else { return false };
                resume = Some((after_star, taken + 1));
                (p, t) = (after_star, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// A JSON value in which no object has a field twice. Which of the two counts would be anyone's
/// guess, and this code's must not differ from EC2's.
struct Unambiguous(Value);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueVisitor;
        impl<'de> Visitor<'de> for ValueVisitor {
            type Value = Unambiguous;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Unambiguous, E> {
                Ok(Unambiguous(value.into()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Unambiguous, E> {
                Ok(Unambiguous(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Unambiguous, E> {
                Ok(Unambiguous(value.into()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Unambiguous, E> {
                Ok(Unambiguous(value.into()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Unambiguous, E> {
                Ok(Unambiguous(value.into()))
            }

            fn visit_unit<E>(self) -> Result<Unambiguous, E> {
                Ok(Unambiguous(Value::Null))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Unambiguous, A::Error> {
                let mut list = Vec::new();
                while let Some(Unambiguous(value)) = seq.next_element()? {
                    list.push(value);
                }
                Ok(Unambiguous(list.into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unambiguous, A::Error> {
                let mut fields = Map::new();
                while let Some((key, Unambiguous(value))) = map.next_entry::<String, _>()? {
                    if fields.contains_key(&key) {
                        return Err(de::Error::custom(format!("{key} occurs twice")));
                    }
                    fields.insert(key, value);
                }
                Ok(Unambiguous(fields.into()))
            }
        }
        deserializer.deserialize_any(ValueVisitor)
    }
}
