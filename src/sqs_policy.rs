//! The policy of an SQS interface endpoint: what it allows, what it denies, and how a queue joins it.
//!
//! Reading is asymmetric on purpose. An Allow counts only where it surely applies, a Deny counts
//! unless it surely does not. In doubt a queue is added that was not needed, or a block is reported
//! that is none; never is a queue taken for admitted that is not.
//!
//! Writing touches one statement, our own (Sid [`SID`]). All others are carried over as the text
//! they are, so that not even a number's spelling changes.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::environment::{AccountId, QueueArn};

/// The Sid of our own statement.
pub const SID: &str = "MwaaCeleryQueues";

/// The longest policy that EC2 takes for an endpoint, in characters, white space included
/// (VPC user guide, "Control access to VPC endpoints using endpoint policies").
pub const MAX_POLICY_CHARACTERS: usize = 20_480;

/// What the role of an MWAA environment does with its Celery queue (MWAA user guide, "Amazon MWAA
/// execution role").
pub const QUEUE_ACTIONS: [&str; 6] = [
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "sqs:GetQueueUrl",
    "sqs:ReceiveMessage",
    "sqs:SendMessage",
];

/// Why a policy cannot be made to admit the queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is no JSON object with a list of statements; the text says where.
    Unreadable(String),
    /// A statement with our Sid does not have our shape; the text says in what.
    SomebodysEdit(String),
    /// With the queues it would be longer than EC2 takes; the number is its length in characters.
    TooLong(usize),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Unreadable(why) => write!(f, "the policy cannot be read: {why}"),
            Problem::SomebodysEdit(why) => {
                write!(f, "the statement {SID} is not as this function writes it: {why}")
            }
            Problem::TooLong(characters) => write!(
                f,
                "with the queue the policy would have {characters} characters, and EC2 takes at most {MAX_POLICY_CHARACTERS}"
            ),
        }
    }
}

impl Problem {
    /// What the operator can do about it.
    pub fn remedy(&self) -> String {
        match self {
            Problem::Unreadable(_) => "give the endpoint a valid policy".to_owned(),
            Problem::SomebodysEdit(_) => format!(
                "give the edited statement another Sid, or delete it; the next delivery then writes {SID} anew"
            ),
            Problem::TooLong(_) => {
                "shorten the policy: remove queues of environments that are gone, or allow the queues with one pattern, such as arn:<partition>:sqs:<region>:*:airflow-celery-*"
                    .to_owned()
            }
        }
    }
}

/// What must happen for a policy to admit the queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Nothing: every queue is provably allowed, or in our statement already.
    Given,
    /// This document must replace the policy; `added` are the queues that it adds to our statement.
    Write {
        /// The whole policy, without white space.
        document: String,
        /// The queues that our statement did not list before.
        added: BTreeSet<QueueArn>,
    },
}

/// How surely a Deny keeps an environment from its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certainty {
    /// It applies to some requests, or it cannot be told.
    Maybe,
    /// It applies to every request.
    Surely,
}

/// A statement that denies an environment some use of its queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// How surely.
    pub certainty: Certainty,
    /// The statement, without white space.
    pub statement: String,
}

/// What must happen to `policy` (an absent one allows everything) for it to admit `queues`.
/// `organization` is the condition that our statement should carry.
///
/// # Errors
///
/// A [`Problem`] if the policy cannot be written; nothing should be written then.
pub fn admit(
    policy: Option<&str>,
    queues: &BTreeSet<QueueArn>,
    organization: Option<&str>,
) -> Result<Admission, Problem> {
    let Some(policy) = present(policy) else { return Ok(Admission::Given) };
    let document = Document::parse(policy)?;
    let ours = document.our_statement();
    let listed = match &ours {
        Ok(Some((_, ours))) if ours.organization.as_deref() == organization => ours.queues.clone(),
        _ => BTreeSet::new(),
    };
    // Our own statement is judged by what it lists, not by what it allows: if the condition that it
    // should carry has changed, it is written anew.
    let others: Vec<&Statement> = document
        .statements
        .iter()
        .enumerate()
        .filter(|(index, _)| !matches!(&ours, Ok(Some((our_index, _))) if our_index == index))
        .map(|(_, statement)| statement)
        .collect();
    if queues.iter().all(|queue| listed.contains(queue) || provably_allowed(&others, queue)) {
        return Ok(Admission::Given);
    }

    let ours = ours?;
    let before = ours.as_ref().map(|(_, ours)| ours.queues.clone()).unwrap_or_default();
    let real = |queue: &&QueueArn| !queue.is_nobodys();
    let after: BTreeSet<QueueArn> = before.union(queues).filter(real).cloned().collect();
    let text = document.with_our_statement(
        ours.map(|(index, _)| index),
        Some(&our_statement(&after, organization)),
    );
    let characters = text.chars().count();
    if characters > MAX_POLICY_CHARACTERS {
        return Err(Problem::TooLong(characters));
    }
    Ok(Admission::Write { document: text, added: after.difference(&before).cloned().collect() })
}

/// What must happen for a policy to list queues no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Withdrawal {
    /// Nothing: our statement lists none of them.
    Given,
    /// This document must replace the policy; `removed` are the queues that our statement loses.
    Write {
        /// The whole policy, without white space.
        document: String,
        /// The queues.
        removed: BTreeSet<QueueArn>,
    },
}

/// What must happen to `policy` for our statement not to list `queues`.
///
/// The endpoint never becomes more open by it, and its policy never invalid. Where our statement
/// is the only one, it stays, with the ARN of a queue that cannot be, since a policy without any
/// statement is invalid and EC2 resets policies of gateway endpoints only (EC2 API,
/// `ModifyVpcEndpoint.ResetPolicy`).
///
/// # Errors
///
/// A [`Problem`] if the policy cannot be written; nothing should be written then.
pub fn withdraw(policy: Option<&str>, queues: &BTreeSet<QueueArn>) -> Result<Withdrawal, Problem> {
    let Some(policy) = present(policy) else { return Ok(Withdrawal::Given) };
    let document = Document::parse(policy)?;
    let Some((place, ours)) = document.our_statement()? else { return Ok(Withdrawal::Given) };
    let removed: BTreeSet<QueueArn> = ours.queues.intersection(queues).cloned().collect();
    let Some(one) = removed.first() else { return Ok(Withdrawal::Given) };
    let mut left: BTreeSet<QueueArn> = ours.queues.difference(&removed).cloned().collect();
    if left.is_empty() && document.statements.len() == 1 {
        left.insert(one.nobodys());
    }
    let ours = (!left.is_empty()).then(|| our_statement(&left, ours.organization.as_deref()));
    Ok(Withdrawal::Write {
        document: document.with_our_statement(Some(place), ours.as_deref()),
        removed,
    })
}

/// The statements of `policy` that deny an environment of `account` some use of `queue`. A policy
/// that cannot be read denies nothing here: [`admit`] reports it.
pub fn blocks(policy: Option<&str>, queue: &QueueArn, account: &AccountId) -> Vec<Block> {
    let Some(document) = present(policy).and_then(|policy| Document::parse(policy).ok()) else {
        return Vec::new();
    };
    document
        .statements
        .iter()
        .filter_map(|statement| {
            let certainty = QUEUE_ACTIONS
                .iter()
                .filter_map(|action| statement.denies(action, queue, Some(account)))
                .max()?;
            Some(Block { certainty, statement: minified(statement.raw.get()) })
        })
        .collect()
}

fn present(policy: Option<&str>) -> Option<&str> {
    policy.filter(|policy| !policy.trim().is_empty())
}

fn provably_allowed(statements: &[&Statement], queue: &QueueArn) -> bool {
    QUEUE_ACTIONS.iter().all(|action| {
        statements.iter().any(|statement| statement.allows(action, queue))
            && statements.iter().all(|statement| statement.denies(action, queue, None).is_none())
    })
}

/// Our statement for `queues`, in the one spelling that is ever written.
fn our_statement(queues: &BTreeSet<QueueArn>, organization: Option<&str>) -> String {
    let resources: Vec<&str> = queues.iter().map(QueueArn::as_str).collect();
    let condition = organization.map_or(String::new(), |organization| {
        format!(r#","Condition":{}"#, json!({"StringEquals": {"aws:PrincipalOrgID": organization}}))
    });
    format!(
        r#"{{"Sid":"{SID}","Effect":"Allow","Principal":"*","Action":{},"Resource":{}{condition}}}"#,
        json!(QUEUE_ACTIONS),
        json!(resources),
    )
}

/// A policy as the ordered fields it has, of which only `Statement` is looked into.
struct Document {
    fields: Vec<(String, Box<RawValue>)>,
    statements: Vec<Statement>,
}

impl Document {
    fn parse(policy: &str) -> Result<Self, Problem> {
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
    fn our_statement(&self) -> Result<Option<(usize, Ours)>, Problem> {
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
    fn with_our_statement(&self, place: Option<usize>, ours: Option<&str>) -> String {
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
struct Ours {
    queues: BTreeSet<QueueArn>,
    organization: Option<String>,
}

impl Ours {
    /// Reads a statement that has our Sid; the error says in what it is not ours.
    fn read(statement: &Statement) -> Result<Self, String> {
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
            .map(|actions| actions.iter().map(|action| action.to_ascii_lowercase()).collect());
        let six = QUEUE_ACTIONS.iter().map(|action| action.to_ascii_lowercase()).collect();
        if actions != Some(six) {
            return Err("its Action is not the list of the six that it should be".to_owned());
        }
        let resources =
            fields.get("Resource").and_then(strings).ok_or("its Resource is no list of ARNs")?;
        let queues = resources
            .iter()
            .map(|resource| QueueArn::parse(resource))
            .collect::<Result<_, _>>()
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

/// One statement: its text, and as much of its meaning as can be told.
struct Statement {
    raw: Box<RawValue>,
    is_under_our_sid: bool,
    /// The fields, if the statement is an object in which no field occurs twice.
    fields: Option<Map<String, Value>>,
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
    fn read(raw: Box<RawValue>) -> Self {
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

    /// Whether this statement surely allows `action` on `queue` to everyone.
    fn allows(&self, action: &str, queue: &QueueArn) -> bool {
        let Some(fields) = &self.fields else { return false };
        fields.get("Effect") == Some(&Value::from("Allow"))
            && fields.keys().all(|key| ELEMENTS.contains(&key.as_str()))
            && !fields.contains_key("Condition")
            && !fields.contains_key("NotPrincipal")
            && fields.get("Principal").is_some_and(is_everyone)
            && covers(fields, "Action", "NotAction", &ActionText(action)) == Some(Certainty::Surely)
            && covers(fields, "Resource", "NotResource", &ResourceText(queue.as_str()))
                == Some(Certainty::Surely)
    }

    /// Whether, and how surely, this statement denies `action` on `queue` to an environment of
    /// `account` (of any account if it is not given).
    fn denies(
        &self,
        action: &str,
        queue: &QueueArn,
        account: Option<&AccountId>,
    ) -> Option<Certainty> {
        let Some(fields) = &self.fields else { return Some(Certainty::Maybe) };
        match fields.get("Effect").and_then(Value::as_str) {
            Some("Allow") => return None,
            Some("Deny") => {}
            _ => return Some(Certainty::Maybe),
        }
        let action = covers(fields, "Action", "NotAction", &ActionText(action))?;
        let resource = covers(fields, "Resource", "NotResource", &ResourceText(queue.as_str()))?;
        let principal = names_principal(fields, account)?;
        let condition = match fields.get("Condition") {
            None => Certainty::Surely,
            Some(Value::Object(operators)) if operators.is_empty() => Certainty::Surely,
            Some(_) => Certainty::Maybe,
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
        let of_sqs = pattern.get(..4).is_some_and(|service| service.eq_ignore_ascii_case("sqs:"));
        pattern == "*" || of_sqs && self.may_match(pattern)
    }

    fn may_match(&self, pattern: &str) -> bool {
        glob(&pattern.to_ascii_lowercase(), &self.0.to_ascii_lowercase())
    }
}

/// A resource's ARN.
struct ResourceText<'a>(&'a str);

impl Target for ResourceText<'_> {
    fn surely_matches(&self, pattern: &str) -> bool {
        // A wildcard stays within its segment of the ARN, but for one in the last segment, which
        // may run on over colons (IAM user guide, "IAM JSON policy elements: Resource").
        let segments: Vec<&str> = pattern.splitn(6, ':').collect();
        let targets: Vec<&str> = self.0.splitn(segments.len(), ':').collect();
        (segments.len() == 6 || segments.last() == Some(&"*"))
            && segments.iter().zip(&targets).all(|(pattern, target)| glob(pattern, target))
    }

    fn may_match(&self, pattern: &str) -> bool {
        // AWS completes an ARN of too few segments with wildcards (same source).
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

/// Whether a Deny names the role of an environment of `account`.
fn names_principal(fields: &Map<String, Value>, account: Option<&AccountId>) -> Option<Certainty> {
    let principal = match (fields.get("Principal"), fields.get("NotPrincipal")) {
        (Some(principal), None) => principal,
        _ => return Some(Certainty::Maybe),
    };
    if is_everyone(principal) {
        return Some(Certainty::Surely);
    }
    let Some(kinds) = principal.as_object() else { return Some(Certainty::Maybe) };
    // An environment's role is an IAM role: a service principal is never it.
    if !kinds.is_empty() && kinds.keys().all(|kind| kind == "Service") {
        return None;
    }
    // An account as principal stands for everyone in it (IAM user guide, "IAM JSON policy elements:
    // Principal").
    let is_whole_account = |principal: &&str| {
        account.is_some_and(|account| {
            *principal == account.as_str()
                || account_of(principal) == Some(account.as_str()) && principal.ends_with(":root")
        })
    };
    if kinds.get("AWS").and_then(strings).is_some_and(|all| all.iter().any(is_whole_account)) {
        return Some(Certainty::Surely);
    }
    let elsewhere = kinds.iter().all(|(kind, principals)| match (kind.as_str(), account) {
        ("Service", _) => true,
        ("AWS", Some(account)) => strings(principals).is_some_and(|principals| {
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
fn is_everyone(principal: &Value) -> bool {
    match principal {
        Value::String(text) => text == "*",
        Value::Object(kinds) if kinds.len() == 1 => {
            kinds.get("AWS").and_then(strings).is_some_and(|names| names == ["*"])
        }
        _ => false,
    }
}

/// A string, or a list of nothing but strings, as a list.
fn strings(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(list) => list.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

/// Whether `text` matches `pattern`, in which `*` stands for any run of characters and `?` for one.
fn glob(pattern: &str, text: &str) -> bool {
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

/// Valid JSON text without the white space between its tokens.
fn minified(json: &str) -> String {
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
struct Fields(Vec<(String, Box<RawValue>)>);

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
