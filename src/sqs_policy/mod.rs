//! The policy of an SQS interface endpoint: what it allows, what it denies, and how a queue joins it.
//!
//! Reading is asymmetric on purpose. An Allow counts only where it surely applies, a Deny counts
//! unless it surely does not. In doubt a queue is added that was not needed, or a block is reported
//! that is none; never is a queue taken for allowed that is not. Whether it is added depends on the
//! Allows alone: one more changes nothing about a Deny.
//!
//! Writing touches one statement, our own (Sid [`SID`]). All others are carried over as the text
//! they are, so that not even a number's spelling changes.

pub mod apply;
mod condition;
mod document;
mod statement;
pub mod step;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::json;

pub use step::{PolicyAction, PolicyStep, WithdrawStep};

pub use crate::report::Certainty;

use crate::environment::{AccountId, EndpointId, QueueArn, VpcId};
use crate::gather::Gather;
use crate::report::shortened;
use condition::Request;
use document::{Document, Ours, minified};
use statement::Statement;

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

/// Queues, each with the account of the environment whose role uses it.
pub type Queues = BTreeMap<QueueArn, AccountId>;

/// What is known of every request through an SQS endpoint by environments' roles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The endpoint's VPC.
    pub vpc: Option<VpcId>,
    /// The endpoint.
    pub endpoint: Option<EndpointId>,
    /// The organization of environments' accounts: the parameter `QueuePrincipalOrgId`, which is also
    /// the condition that our statement should carry.
    pub organization: Option<String>,
    /// Whether it is a gateway endpoint. There, an account as principal stands for its root user only
    /// (VPC user guide, "Principals for gateway endpoints").
    pub is_gateway: bool,
}

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
            Problem::Unreadable(why) => {
                write!(f, "the policy cannot be read: {}", shortened(why))
            }
            Problem::SomebodysEdit(why) => write!(
                f,
                "the statement {SID} is not as this function writes it: {}",
                shortened(why)
            ),
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
    /// Nothing: every queue is surely allowed, or in our statement already.
    AlreadyAllowed,
    /// This document must replace the policy; `added` are the queues that it adds to our statement.
    Write {
        /// The whole policy, without white space.
        document: String,
        /// The queues that our statement did not list before.
        added: BTreeSet<QueueArn>,
    },
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
///
/// # Errors
///
/// A [`Problem`] if the policy cannot be written; nothing should be written then.
pub fn admit(policy: Option<&str>, queues: &Queues, facts: &Facts) -> Result<Admission, Problem> {
    let Some(policy) = present(policy) else { return Ok(Admission::AlreadyAllowed) };
    let document = Document::parse(policy)?;
    let ours = document.our_statement();
    let organization = facts.organization.as_deref();
    if missing_from(&document, &ours, queues, facts).is_empty() {
        return Ok(Admission::AlreadyAllowed);
    }

    let ours = ours?;
    let before = ours.as_ref().map(|(_, ours)| ours.queues.clone()).unwrap_or_default();
    let real = |queue: &&QueueArn| !queue.is_placeholder();
    let after: BTreeSet<QueueArn> =
        before.iter().chain(queues.keys()).filter(real).cloned().gather();
    let text = document.with_our_statement(
        ours.map(|(index, _)| index),
        Some(&our_statement(&after, organization)),
    );
    let characters = text.chars().count();
    if characters > MAX_POLICY_CHARACTERS {
        return Err(Problem::TooLong(characters));
    }
    Ok(Admission::Write { document: text, added: after.difference(&before).cloned().gather() })
}

/// Those of `queues` that `policy` does not admit. Of a policy that cannot be read, all.
pub fn missing(policy: Option<&str>, queues: &Queues, facts: &Facts) -> BTreeSet<QueueArn> {
    let Some(policy) = present(policy) else { return BTreeSet::new() };
    let Ok(document) = Document::parse(policy) else { return queues.keys().cloned().gather() };
    missing_from(&document, &document.our_statement(), queues, facts)
}

fn missing_from(
    document: &Document,
    ours: &Result<Option<(usize, Ours)>, Problem>,
    queues: &Queues,
    facts: &Facts,
) -> BTreeSet<QueueArn> {
    let ours = ours.as_ref().ok().and_then(Option::as_ref);
    // Our own statement is judged by what it lists, not by what it allows: if the condition that it
    // should carry has changed, it is written anew.
    let listed = ours.filter(|(_, ours)| ours.organization == facts.organization);
    let statements = document.statements.iter().enumerate();
    let others = statements.filter(|(index, _)| ours.is_none_or(|(place, _)| place != index));
    let others: Vec<&Statement> = others.map(|(_, statement)| statement).collect();
    let is_missing = |(queue, account): &(&QueueArn, &AccountId)| {
        let request = Request {
            facts,
            resource: queue.as_str(),
            account: Some(account),
            of: Asker::default(),
        };
        let is_listed = listed.is_some_and(|(_, ours)| ours.queues.contains(*queue));
        let is_allowed = |action: &&str| others.iter().any(|it| it.allows(action, request));
        !is_listed && !QUEUE_ACTIONS.iter().all(is_allowed)
    };
    queues.iter().filter(is_missing).map(|(queue, _)| queue.clone()).gather()
}

/// What must happen for a policy to list queues no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Withdrawal {
    /// Nothing: our statement lists none of them.
    NotListed,
    /// This document must replace the policy.
    Write {
        /// The whole policy, without white space.
        document: String,
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
    let Some(policy) = present(policy) else { return Ok(Withdrawal::NotListed) };
    let document = Document::parse(policy)?;
    let Some((place, ours)) = document.our_statement()? else { return Ok(Withdrawal::NotListed) };
    let removed: BTreeSet<QueueArn> = ours.queues.intersection(queues).cloned().gather();
    let Some(one) = removed.first() else { return Ok(Withdrawal::NotListed) };
    let mut left: BTreeSet<QueueArn> = ours.queues.difference(&removed).cloned().gather();
    if left.is_empty() && document.statements.len() == 1 {
        left.insert(one.placeholder());
    }
    let ours = (!left.is_empty()).then(|| our_statement(&left, ours.organization.as_deref()));
    Ok(Withdrawal::Write { document: document.with_our_statement(Some(place), ours.as_deref()) })
}

/// The statements of `policy` that deny an environment of `account` some use of `queue`. A policy
/// that cannot be read denies nothing here: [`admit`] reports it.
pub fn blocks(
    policy: Option<&str>,
    queue: &QueueArn,
    account: &AccountId,
    facts: &Facts,
) -> Vec<Block> {
    let Some(document) = present(policy).and_then(|policy| Document::parse(policy).ok()) else {
        return Vec::new();
    };
    let request =
        Request { facts, resource: queue.as_str(), account: Some(account), of: Asker::default() };
    document
        .statements
        .iter()
        .filter_map(|statement| {
            let certainty = QUEUE_ACTIONS
                .iter()
                .filter_map(|action| statement.denies(action, request))
                .max()?;
            Some(Block { certainty, statement: minified(statement.raw.get()) })
        })
        .collect()
}

/// A name that nobody knows: of all patterns only a `*` matches it, which then matches the real one, too.
pub const ANY_NAME: &str =
    "\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}";

/// A request through an endpoint, to SQS or another service.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The action, such as `logs:PutLogEvents`.
    pub action: &'a str,
    /// The ARN of what is asked for, or `*` where the action knows no resource.
    pub resource: &'a str,
    /// Whether it is that very resource. If not, the ARN is an example, with [`ANY_NAME`] in place of what
    /// is not known.
    pub is_exact: bool,
    /// The account of the environment whose role asks; none if somebody else may.
    pub account: Option<&'a AccountId>,
}

/// What a policy says of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// It surely lets it through.
    Allowed,
    /// That depends on what is not known; the text says on which statement.
    Unclear(String),
    /// It surely does not; the text says why.
    Refused(String),
}

/// Who asks, if it is not an environment's role through an endpoint, and what is known of the request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asker<'a> {
    /// The AWS service that asks.
    pub service: Option<&'a str>,
    /// Condition keys with their values.
    pub keys: &'a [(&'a str, &'a str)],
}

/// What `policy` (an absent one allows everything) says of a request. Read as for queues: an Allow
/// counts only where it surely applies, a Deny unless it surely does not.
pub fn judge(policy: Option<&str>, wish: &Wish<'_>, facts: &Facts) -> Word {
    word(policy, wish, facts, Asker::default(), false)
}

/// What `policy` will say of a request that our statement comes to allow: what denies it, or leaves no
/// place for that statement, stays.
pub fn judge_once_listed(policy: Option<&str>, wish: &Wish<'_>, facts: &Facts) -> Word {
    word(policy, wish, facts, Asker::default(), true)
}

/// What `policy` says of a request by somebody else.
pub fn judge_of(policy: &str, wish: &Wish<'_>, facts: &Facts, of: Asker<'_>) -> Word {
    word(Some(policy), wish, facts, of, false)
}

fn word(
    policy: Option<&str>,
    wish: &Wish<'_>,
    facts: &Facts,
    of: Asker<'_>,
    is_to_be_listed: bool,
) -> Word {
    let Some(policy) = present(policy) else { return Word::Allowed };
    let document = match Document::parse(policy) {
        Ok(document) => document,
        Err(problem) => return Word::Unclear(problem.to_string()),
    };
    let Wish { action, resource, is_exact, account } = *wish;
    let request = Request { facts, resource, account, of };
    let told = |statement: &Statement| shortened(&minified(statement.raw.get()));
    let how = |effect, it: &Statement| it.bears(effect, action, request, is_exact);
    let mut unclear = None;
    for statement in &document.statements {
        match how("Deny", statement) {
            Some(Certainty::Surely) => {
                return Word::Refused(format!("{action} is denied by {}", told(statement)));
            }
            Some(Certainty::Maybe) => unclear = Some(told(statement)),
            None => {}
        }
    }
    let mut statements = document.statements.iter();
    let is_allowed = statements.any(|it| how("Allow", it) == Some(Certainty::Surely));
    let perhaps = document.statements.iter().find(|it| how("Allow", it).is_some());
    if is_to_be_listed {
        if let (false, Err(problem)) = (is_allowed, document.our_statement()) {
            return Word::Refused(problem.to_string());
        }
    } else if perhaps.is_none() {
        return Word::Refused(format!("no statement allows {action}"));
    }
    match (unclear, perhaps) {
        (Some(statement), _) => Word::Unclear(format!("{action} may be denied by {statement}")),
        (None, Some(perhaps)) if !is_allowed && !is_to_be_listed => {
            Word::Unclear(format!("whether {action} is allowed depends on {}", told(perhaps)))
        }
        _ => Word::Allowed,
    }
}

fn present(policy: Option<&str>) -> Option<&str> {
    policy.filter(|policy| !policy.trim().is_empty())
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
