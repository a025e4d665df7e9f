//! One invocation: from the payload to the result, and what the log says of it.

mod fit;
mod log;
mod metrics;
mod sign;
mod summary;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use chrono::{DateTime, SubsecRound, Utc};
use futures_util::future::BoxFuture;
use lambda_runtime::Diagnostic;
pub use metrics::Telemetry;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use tracing::info;

use crate::aws::mwaa::Asking;
use crate::aws::{Ec2, Mwaa};
use crate::environment::{AccountId, Region};
use crate::event::{self, Refusal, Work};
use crate::reconcile::{self, Context};
use crate::report::{Failure, Outcome, Report};
use crate::settings::Settings;
use crate::sweep::{self, Lasting, SweepReport};

/// What outlives an invocation.
#[derive(Debug)]
pub struct Function {
    /// EC2.
    pub ec2: Ec2,
    /// MWAA, if it can be asked.
    pub mwaa: Option<Mwaa>,
    /// The template's parameters; the error is told by every invocation, since a function that does
    /// not start tells nobody why.
    pub settings: Result<Settings, String>,
    /// The Region that the function runs in.
    pub region: Option<Region>,
    /// What sweeps have told.
    pub lasting: Lasting,
    /// Tells the time.
    pub clock: Clock,
    /// What is said of the function in its metrics.
    pub telemetry: Telemetry,
}

/// Tells the time, to the second, as events do: a fraction would make what was seen in the same
/// second look newer than its event.
pub struct Clock(pub Box<dyn Fn() -> DateTime<Utc> + Send + Sync>);

impl Clock {
    fn now(&self) -> DateTime<Utc> {
        (self.0)().trunc_subsecs(0)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self(Box::new(Utc::now))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// What the runtime tells of an invocation.
#[derive(Clone, Copy, Debug)]
pub struct Invocation<'a> {
    /// The invoked function's ARN, in which the function's own account stands; an emulator may tell
    /// something else.
    pub function_arn: &'a str,
    /// The invocation's id, as it stands in Lambda's own lines of the log.
    pub request_id: &'a str,
    /// When the runtime ends the invocation.
    pub deadline: Instant,
}

/// An invocation's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Of work on one environment.
    Environment(Report),
    /// Of a sweep.
    Sweep(SweepReport),
}

/// As JSON it has at most 32 KB: what was left out is counted.
impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = match self {
            Self::Environment(report) => json!(report),
            Self::Sweep(report) => json!(report),
        };
        fit::fit(value).serialize(serializer)
    }
}

/// Why an invocation failed. Lambda tries again what EventBridge sent.
#[derive(Clone, PartialEq, Eq)]
pub enum InvocationError {
    /// A parameter of the template is wrong.
    Settings(String),
    /// The event was refused.
    Refused(Refusal),
    /// It could not be looked or decided.
    Failed(Failure),
    /// Actions failed; what else was done is in the report.
    Actions(Box<Report>),
}

impl fmt::Display for InvocationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvocationError::Settings(why) => write!(f, "wrong setting: {why}"),
            InvocationError::Refused(refusal) => refusal.fmt(f),
            InvocationError::Failed(failure) => failure.fmt(f),
            InvocationError::Actions(report) => {
                let failures = report.failures();
                let count = failures.len();
                let failures = fit::sentences(&failures);
                write!(f, "{}: {count} failed: {failures}", report.environment)
            }
        }
    }
}

/// The runtime logs an error in this form, beside the result's line, which has the details.
impl fmt::Debug for InvocationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for InvocationError {}

impl From<InvocationError> for Diagnostic {
    fn from(error: InvocationError) -> Self {
        let error_type = match error {
            InvocationError::Settings(_) => "WrongSetting",
            InvocationError::Refused(_) => "EventRefused",
            InvocationError::Failed(_) => "LookFailed",
            InvocationError::Actions(_) => "ActionsFailed",
        };
        Diagnostic { error_type: error_type.to_owned(), error_message: error.to_string() }
    }
}

impl Function {
    /// Handles one payload.
    ///
    /// The future is boxed, so that all that it does is compiled once, here, and not once more
    /// wherever it is awaited.
    ///
    /// # Errors
    ///
    /// An [`InvocationError`] for whatever should be tried again or looked at.
    pub fn handle<'a>(
        &'a self,
        payload: Value,
        invocation: Invocation<'a>,
    ) -> BoxFuture<'a, Result<Answer, InvocationError>> {
        Box::pin(async move {
            let began = self.clock.now();
            let mut result = self.work(payload, invocation).await;
            let now = self.clock.now();
            sign::sign(&mut result, invocation.function_arn, now);
            log::log(&result, invocation.request_id);
            metrics::publish(&result, &self.telemetry, invocation.request_id, (began, now));
            result
        })
    }

    async fn work(
        &self,
        payload: Value,
        invocation: Invocation<'_>,
    ) -> Result<Answer, InvocationError> {
        log_shape(&payload);
        let settings = self.settings.as_ref().map_err(|e| InvocationError::Settings(e.clone()))?;
        let request = event::parse(payload).map_err(InvocationError::Refused)?;
        let own = own_account(invocation.function_arn);
        let of_request = match &request.work {
            Work::Environment(spec) => Some(spec.environment.region.clone()),
            Work::Nothing { environment, .. } => Some(environment.region.clone()),
            Work::Sweep => None,
        };
        let region = &self
            .region
            .clone()
            .or(of_request)
            .ok_or_else(|| InvocationError::Settings("AWS_REGION: not set".to_owned()))?;
        let role = settings.reader_role.as_deref();
        let context = Context {
            ec2: &self.ec2,
            settings,
            own: own.as_ref(),
            mwaa: match (&self.mwaa, &own) {
                (Some(mwaa), Some(own)) => Some(Asking::new(mwaa, own, role, region)),
                _ => None,
            },
            dry_run: request.dry_run,
            now: self.clock.now(),
            until: last_wait(invocation.deadline),
        };
        let spec = match request.work {
            Work::Environment(spec) => spec,
            Work::Nothing { environment, status, reason } => {
                return Ok(Answer::Environment(Report::nothing(
                    environment.arn(),
                    status.to_string(),
                    Outcome::Ignored,
                    reason,
                )));
            }
            Work::Sweep => {
                let deadline = sweep_end(invocation.deadline);
                return sweep::sweep(&context, region, &self.lasting, deadline)
                    .await
                    .map(Answer::Sweep)
                    .map_err(InvocationError::Failed);
            }
        };
        if spec.environment.region != *region {
            let of = &spec.environment.region;
            return Err(InvocationError::Refused(Refusal {
                path: "region".to_owned(),
                why: format!(
                    "the event is of {of} and this function serves {region}; deploy it in {of} too"
                ),
            }));
        }
        let mut report =
            reconcile::environment(&context, &spec).await.map_err(InvocationError::Failed)?;
        report.dry_run |= request.dry_run;
        report.facts.event_time = spec.event_time();
        report.facts.pending_since = spec.pending_since().or(report.facts.pending_since);
        match report.outcome {
            Outcome::Failed => Err(InvocationError::Actions(Box::new(report))),
            _ => Ok(Answer::Environment(report)),
        }
    }
}

/// When a sweep must have begun with its last environment: with reserved concurrency 1 events wait
/// for it, and the work that it has begun must still fit into the function's time.
fn sweep_end(deadline: Instant) -> Instant {
    let now = Instant::now();
    now + deadline.saturating_duration_since(now) / 2
}

/// When an invocation waits for nothing any more: what it then still does must fit into its time.
fn last_wait(deadline: Instant) -> Instant {
    let now = Instant::now();
    now + deadline.saturating_duration_since(now) * 3 / 4
}

/// Logs the names of the fields of an event's detail, once for each set of names: MWAA publishes none,
/// and whoever looks into the log of a first event should see what it had.
fn log_shape(payload: &Value) {
    static SEEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    const MOST: usize = 20;
    let Some(shape) = event::shape(payload) else { return };
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    if seen.len() < MOST && seen.insert(shape.clone()) {
        info!(fields = shape, "the event's detail has these fields");
    }
}

/// The account in a function's ARN, if it is one.
fn own_account(invoked_arn: &str) -> Option<AccountId> {
    let parts: Vec<&str> = invoked_arn.split(':').collect();
    match parts.as_slice() {
        ["arn", _, "lambda", _, account, ..] => AccountId::parse(account).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_account_stands_in_the_functions_arn() {
        let account = |arn| own_account(arn).map(String::from);
        assert_eq!(
            account("arn:aws-cn:lambda:cn-north-1:111122223333:function:f:live").as_deref(),
            Some("111122223333")
        );
        for no_arn in ["", "_", "function-arn", "arn:aws:lambda:us-east-1:me:function:f"] {
            assert_eq!(account(no_arn), None, "{no_arn}");
        }
    }
}
