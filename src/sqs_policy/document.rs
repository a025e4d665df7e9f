//! A policy as a document: what is not ours in it is carried over as the text it is.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::statement::{Statement, is_everyone, strings};
use super::{Problem, QUEUE_ACTIONS};
use crate::environment::QueueArn;
use crate::gather::Gather;

/// A policy as the ordered fields it has, of which only `Statement` is looked into.
pub(super) struct Document {
    fields: Vec<(String, Box<RawValue>)>,
    pub(super) statements: Vec<Statement>,
}

impl Document {
    pub(super) fn parse(policy: &str) -> Result<Self, Problem> {
        let Fields(fields) =
            serde_json::from_str(policy).map_err(|e| Problem::Unreadable(e.to_string()))?;
        let mut keys = BTreeSet::new();
        if let Some((key, _)) = fields.iter().find(|(key, _)| !keys.insert(key)) {
            return Err(Problem::Unreadable(format!("{key} occurs twice")));
        }
        let statements = match fields.iter().find(|(key, _)| key == "Statement") {
            None => Vec::new(),
            Some((_, raw)) if raw.get().starts_with('{') => vec![Statement::read(raw.clone())],
            Some((_, raw)) => serde_json::from_str::<Vec<Box<RawValue>>>(raw.get())
                .map_err(|e| Problem::Unreadable(format!("Statement: {e}")))?
                .into_iter()
                .map(Statement::read)
                .collect(),
        };
        Ok(Self { fields, statements })
    }

    /// The place of our statement and what it says, if there is one.
    pub(super) fn our_statement(&self) -> Result<Option<(usize, Ours)>, Problem> {
        let mut found = None;
        for (index, statement) in self.statements.iter().enumerate() {
            if !statement.is_under_our_sid {
                continue;
            }
            if found.is_some() {
                return Err(Problem::SomebodysEdit("there is more than one".to_owned()));
            }
            let ours = Ours::read(statement).map_err(Problem::SomebodysEdit)?;
            found = Some((index, ours));
        }
        Ok(found)
    }

    /// The policy with `ours` in place of the statement at `place`, or after all others; or without
    /// the statement at `place`.
    pub(super) fn with_our_statement(&self, place: Option<usize>, ours: Option<&str>) -> String {
        let mut statements: Vec<String> =
            self.statements.iter().map(|statement| minified(statement.raw.get())).collect();
        match (place, ours) {
            (Some(index), Some(ours)) => statements[index] = ours.to_owned(),
            (Some(index), None) => drop(statements.remove(index)),
            (None, ours) => statements.extend(ours.map(str::to_owned)),
        }
        let list = format!("[{}]", statements.join(","));
        let mut fields: Vec<String> = Vec::with_capacity(self.fields.len() + 1);
        let mut placed = false;
        for (key, raw) in &self.fields {
            let value = if key == "Statement" {
                placed = true;
                list.clone()
            } else {
                minified(raw.get())
            };
            fields.push(format!("{}:{value}", Value::from(key.as_str())));
        }
        if !placed {
            fields.push(format!("\"Statement\":{list}"));
        }
        format!("{{{}}}", fields.join(","))
    }
}

/// What our own statement says.
pub(super) struct Ours {
    pub(super) queues: BTreeSet<QueueArn>,
    pub(super) organization: Option<String>,
}

impl Ours {
    /// Reads a statement that has our Sid; the error says in what it is not ours.
    pub(super) fn read(statement: &Statement) -> Result<Self, String> {
        let fields = statement.fields.as_ref().ok_or("it is no readable statement")?;
        if let Some(unknown) = fields.keys().find(|key| {
            !["Sid", "Effect", "Principal", "Action", "Resource", "Condition"]
                .contains(&key.as_str())
        }) {
            return Err(format!("it has a {unknown}"));
        }
        if fields.get("Effect") != Some(&Value::from("Allow")) {
            return Err("its Effect is not Allow".to_owned());
        }
        if !fields.get("Principal").is_some_and(is_everyone) {
            return Err("its Principal is not *".to_owned());
        }
        let actions: Option<BTreeSet<String>> = fields
            .get("Action")
            .and_then(strings)
            .map(|actions| actions.iter().map(|action| action.to_ascii_lowercase()).gather());
        let six = QUEUE_ACTIONS.iter().map(|action| action.to_ascii_lowercase()).gather();
        if actions != Some(six) {
            return Err("its Action is not the list of the six that it should be".to_owned());
        }
        let resources =
            fields.get("Resource").and_then(strings).ok_or("its Resource is no list of ARNs")?;
        let queues = resources
            .iter()
            .map(|resource| QueueArn::parse(resource))
            .gather::<Result<_, _>>()
            .map_err(|e| format!("its Resource holds something else than a queue: {e}"))?;
        let organization = match fields.get("Condition") {
            None => None,
            Some(condition) => Some(
                sole_organization(condition)
                    .ok_or("its Condition is not the one on aws:PrincipalOrgID")?,
            ),
        };
        Ok(Self { queues, organization })
    }
}

/// The organization of `{"StringEquals": {"aws:PrincipalOrgID": "o-…"}}`, if it is exactly that.
fn sole_organization(condition: &Value) -> Option<String> {
    let operators = condition.as_object().filter(|operators| operators.len() == 1)?;
    let keys = operators.get("StringEquals")?.as_object().filter(|keys| keys.len() == 1)?;
    let (key, value) = keys.iter().next()?;
    match strings(value)?.as_slice() {
        // Condition keys are case-insensitive (IAM user guide, "IAM JSON policy elements: Condition").
        [organization] if key.eq_ignore_ascii_case("aws:PrincipalOrgID") => {
            Some(organization.to_string())
        }
        _ => None,
    }
}

/// Valid JSON text without the white space between its tokens.
pub(super) fn minified(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in json.chars() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if c == '"' {
            in_string = true;
        } else if c.is_ascii_whitespace() {
            continue;
        }
        out.push(c);
    }
    out
}

/// The fields of an object in their order.
pub(super) struct Fields(pub(super) Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;
        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(ObjectVisitor)
    }
}
