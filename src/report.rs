//! What an invocation answers: per resource, what was done, with ids, warnings and remedies.
//!
//! People and alarms depend on this shape. Fields may be added; none is renamed or removed.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;

/// The function's return value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The environment's ARN.
    pub environment: String,
    /// The status that the event told.
    pub status: String,
    /// The VPC, once it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vpc: Option<String>,
    /// What came of it all.
    pub outcome: Outcome,
    /// Whether this is only what would be done.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Why nothing was done, if nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was done, in a sentence, if anything was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// What was done, resource by resource.
    pub resources: Vec<Resource>,
    /// What somebody should know.
    pub warnings: Vec<Warning>,
    /// What could be better and is not wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The function's version, in what an invocation answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<&'static str>,
    /// What metrics are made of.
    #[serde(skip)]
    pub facts: Facts,
}

/// What metrics and messages are made of, beside the report itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The time of the event that this was done for.
    pub event_time: Option<DateTime<Utc>>,
    /// Since when the environment has been waiting for endpoints, if it does.
    pub pending_since: Option<DateTime<Utc>>,
    /// How many resources a sweep has put right that were right before.
    pub repaired: usize,
    /// What may keep the environment from coming to be, as far as that is seen.
    pub causes: Vec<String>,
    /// The checks whose verdict is not known: what they told before may still be so. None stands for all.
    pub unseen: Vec<Option<&'static str>>,
}

/// What came of an invocation as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Something was created or updated.
    Changed,
    /// All was as it should be.
    #[default]
    Unchanged,
    /// There was nothing to do for this event.
    Ignored,
    /// The settings do not let the function serve this event.
    Refused,
    /// Something failed: the invocation fails too, and is retried.
    Failed,
}

/// What was done to one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// What it is.
    pub kind: Kind,
    /// `database` or `webserver`, for an environment's endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// What was done.
    pub outcome: Change,
    /// Its id, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The service that an endpoint leads to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// What was done and why, for a person.
    pub detail: String,
    /// How surely a policy keeps the environment from its queue, if it is `blocked`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certainty: Option<Certainty>,
    /// What AWS answered, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<AwsError>,
    /// What can be done about a failure or a block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// The kinds of resources that results speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An environment's endpoint.
    Endpoint,
    /// An SQS endpoint of the VPC.
    SqsEndpoint,
    /// The security group that the function keeps for a participant's environment.
    SecurityGroup,
    /// The tags on what the function made.
    Tags,
}

/// Whether something is told before it is done, or after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tense {
    /// What would be done.
    Would,
    /// What was done.
    Did,
}

/// What was done to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// It was made.
    Created,
    /// It was right as it was, or is not ours to change.
    Kept,
    /// Something was added to it, or taken off it.
    Updated,
    /// It was deleted.
    Deleted,
    /// It should go, and is left: deletion is turned off, or it is still in use for a while.
    Left,
    /// A policy keeps the environment from its queue, or may do so; not ours to remove.
    Blocked,
    /// It should have been made or changed, and was not.
    Failed,
}

/// How surely a policy keeps an environment from its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Certainty {
    /// It may apply: that depends on what is not known of a request, or it cannot be read.
    Maybe,
    /// It applies to every request.
    Surely,
}

/// What came from outside, of which at most 200 characters are told: its beginning and its end.
pub(crate) fn shortened(text: &str) -> String {
    const MOST: usize = 200;
    let count = text.chars().count();
    if count <= MOST {
        return text.to_owned();
    }
    let half = MOST / 2 - 2;
    let begin: String = text.chars().take(half).collect();
    let end: String = text.chars().skip(count - half).collect();
    format!("{begin} … {end}")
}

/// Something that a person should know, and what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// What it is.
    pub message: String,
    /// What can be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Warning {
    /// A warning with a remedy.
    pub fn new(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { message: message.into(), remedy: Some(remedy.into()) }
    }

    /// A failure that is only to be known.
    pub fn of(failure: &Failure) -> Self {
        let message = Failure { remedy: None, ..failure.clone() }.to_string();
        Self { message, remedy: failure.remedy.clone() }
    }
}

/// What AWS answered to a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AwsError {
    /// The call, such as `CreateVpcEndpoint`.
    pub call: String,
    /// The error's code, if AWS answered at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The error's message.
    pub message: String,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was being done, to which resource.
    pub doing: String,
    /// What went wrong, if it was not AWS that said so.
    pub why: Option<String>,
    /// What AWS answered.
    pub error: Option<Box<AwsError>>,
    /// What can be done about it, where that is known.
    pub remedy: Option<String>,
}

impl Failure {
    /// A failure that is not an answer of AWS.
    pub fn new(
        doing: impl Into<String>,
        why: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            doing: doing.into(),
            why: Some(why.into()),
            error: None,
            remedy: Some(remedy.into()),
        }
    }

    /// The code of AWS's answer.
    pub fn code(&self) -> Option<&str> {
        self.error.as_ref()?.code.as_deref()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.doing)?;
        if let Some(why) = &self.why {
            write!(f, ": {why}")?;
        }
        if let Some(error) = &self.error {
            write!(f, ": {}", error.call)?;
            if let Some(code) = &error.code {
                write!(f, " answered {code}")?;
            }
            write!(f, ": {}", error.message)?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, " (remedy: {remedy})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

impl Report {
    /// A report on an event for which nothing is done.
    pub fn nothing(
        environment: String,
        status: String,
        outcome: Outcome,
        reason: impl Into<String>,
    ) -> Self {
        Self {
            environment,
            status,
            vpc: None,
            outcome,
            dry_run: false,
            reason: Some(reason.into()),
            summary: None,
            resources: Vec::new(),
            warnings: Vec::new(),
            note: None,
            version: None,
            facts: Facts::default(),
        }
    }

    /// Whether a policy surely keeps the environment from its queue.
    pub fn is_surely_blocked(&self) -> bool {
        self.resources.iter().any(Resource::is_surely_blocked)
    }

    /// One sentence for each failure, and nothing if there is none.
    pub fn failures(&self) -> Vec<String> {
        self.resources
            .iter()
            .filter(|resource| resource.outcome == Change::Failed)
            .map(Resource::sentence)
            .collect()
    }
}

impl Resource {
    /// A resource of which only the kind is known yet.
    pub fn new(kind: Kind, outcome: Change, detail: impl Into<String>) -> Self {
        Self {
            kind,
            role: None,
            outcome,
            id: None,
            service: None,
            detail: detail.into(),
            certainty: None,
            error: None,
            remedy: None,
        }
    }

    /// The same with an id.
    pub fn with_id(mut self, id: impl fmt::Display) -> Self {
        self.id = Some(id.to_string());
        self
    }

    /// The same, failed.
    pub fn failed(mut self, failure: Failure) -> Self {
        self.outcome = Change::Failed;
        self.remedy = failure.remedy.clone();
        self.detail = Failure { remedy: None, ..failure.clone() }.to_string();
        self.error = failure.error.map(|error| *error);
        self
    }

    /// Whether it is a policy that surely keeps the environment from its queue.
    pub fn is_surely_blocked(&self) -> bool {
        self.outcome == Change::Blocked && self.certainty == Some(Certainty::Surely)
    }

    /// The resource's line for a log or an error message.
    pub fn sentence(&self) -> String {
        let mut text = self.detail.clone();
        if let Some(remedy) = &self.remedy {
            text.push_str(&format!(" (remedy: {remedy})"));
        }
        text
    }
}
