//! One invocation: from the payload to the result, and what the log says of it.

use std::fmt;

use lambda_runtime::Diagnostic;
use serde_json::{Value, json};
use tracing::{error, info, warn};

use crate::ec2::Ec2;
use crate::environment::{AccountId, Region};
use crate::event::{self, Refusal, Request};
use crate::reconcile;
use crate::report::{Done, Failure, Outcome, Report};
use crate::settings::Settings;

/// What outlives an invocation.
#[derive(Clone, Debug)]
pub struct Function {
    /// EC2.
    pub ec2: Ec2,
    /// The template's parameters; the error is told by every invocation, since a function that does
    /// not start tells nobody why.
    pub settings: Result<Settings, String>,
    /// The Region that the function runs in.
    pub region: Option<Region>,
}

/// Why an invocation failed. Lambda tries again what EventBridge sent.
#[derive(Clone, Debug, PartialEq, Eq)]
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
                write!(f, "{}: {count} failed: {}", report.environment, failures.join("; "))
            }
        }
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
    /// Handles one payload. `invoked_arn` is the invoked function's ARN as the runtime tells it, in
    /// which the function's own account stands; an emulator may tell something else.
    ///
    /// # Errors
    ///
    /// An [`InvocationError`] for whatever should be tried again or looked at.
    pub async fn handle(
        &self,
        payload: Value,
        invoked_arn: &str,
    ) -> Result<Report, InvocationError> {
        let result = self.work(payload, invoked_arn).await;
        log(&result);
        result
    }

    async fn work(&self, payload: Value, invoked_arn: &str) -> Result<Report, InvocationError> {
        let settings = self.settings.as_ref().map_err(|e| InvocationError::Settings(e.clone()))?;
        let wanted = match event::parse(payload).map_err(InvocationError::Refused)? {
            Request::Serve(wanted) => wanted,
            Request::Nothing { environment, status, reason } => {
                return Ok(Report::nothing(environment.arn(), status, Outcome::Ignored, reason));
            }
        };
        let region = &wanted.environment.region;
        if let Some(own) = self.region.as_ref().filter(|own| *own != region) {
            return Err(InvocationError::Refused(Refusal {
                path: "region".to_owned(),
                why: format!(
                    "the event is of {region} and this function serves {own}; deploy it in {region} too"
                ),
            }));
        }
        let own = own_account(invoked_arn);
        let report = reconcile::serve(&self.ec2, settings, own.as_ref(), &wanted)
            .await
            .map_err(InvocationError::Failed)?;
        match report.outcome {
            Outcome::Failed => Err(InvocationError::Actions(Box::new(report))),
            _ => Ok(report),
        }
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

/// Logs a line for everything that somebody should know, and the result as one line of JSON.
fn log(result: &Result<Report, InvocationError>) {
    let report = match result {
        Ok(report) => Some(report),
        Err(InvocationError::Actions(report)) => Some(report.as_ref()),
        Err(error) => {
            error!("{error}");
            None
        }
    };
    let Some(report) = report else { return };
    for note in &report.warnings {
        warn!(remedy = note.remedy, "{}", note.message);
    }
    for resource in &report.resources {
        match resource.outcome {
            Done::Failed | Done::Blocked => error!("{}", resource.sentence()),
            _ => info!("{}", resource.detail),
        }
    }
    // Lambda reads the level of a JSON line from its field `level`, and drops the line if the level
    // is below the one that is set (Lambda developer guide, "Log-level filtering").
    let level = match result {
        Err(_) => "ERROR",
        Ok(report) if report.resources.iter().any(|r| r.outcome == Done::Blocked) => "ERROR",
        Ok(report) if !report.warnings.is_empty() => "WARN",
        Ok(_) => "INFO",
    };
    let now = crate::tags::rfc3339(chrono::Utc::now());
    println!(
        "{}",
        json!({"timestamp": now, "level": level, "message": "result", "result": report})
    );
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
