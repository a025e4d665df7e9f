//! Why a command has no answer.

use mwaa_vpc_endpoints::aws::error::NO_CREDENTIALS;
use mwaa_vpc_endpoints::report::{AwsError, Failure};
use serde::Serialize;

use crate::exit;

/// Why a command has no answer, and what helps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What is wrong.
    pub message: String,
    /// What helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// What AWS answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Box<AwsError>>,
    #[serde(skip)]
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The command line must say something else.
    Usage,
    /// The function could not do what it was asked for.
    Failed,
    /// AWS did not answer as it should.
    Aws,
    /// The same, since it may not be asked.
    Denied,
}

impl Problem {
    /// The command line must say something else.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), remedy: None, error: None, kind: Kind::Usage }
    }

    /// AWS says something else than was hoped for.
    pub fn aws(message: impl Into<String>) -> Self {
        Self { kind: Kind::Aws, ..Self::usage(message) }
    }

    /// The function could not do what it was asked for.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { kind: Kind::Failed, ..Self::usage(message) }
    }

    /// The same, with what helps.
    pub fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    pub fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Usage => exit::USAGE,
            Kind::Failed => exit::FINDINGS,
            Kind::Aws | Kind::Denied => exit::AWS,
        }
    }

    /// The same, with the command that says what it needs.
    pub fn advised(self, command: &str) -> Self {
        if self.kind != Kind::Denied {
            return self;
        }
        self.with_remedy(format!(
            "`mwaa-vpc {command} --iam` prints the policy that the profile needs; look for a service control policy or permissions boundary, too"
        ))
    }
}

/// What helps against a failure of the function's may not help a person.
impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let is_denied = failure.is_denied();
        let code = failure.code().unwrap_or_default();
        let remedy = match failure.remedy.clone() {
            _ if EXPIRED.contains(&code) => Some(SIGN_IN.to_owned()),
            _ if THROTTLED.contains(&code) => Some(AGAIN.to_owned()),
            Some(remedy) if remedy == NO_CREDENTIALS => Some(SIGN_IN.to_owned()),
            remedy => remedy,
        };
        let message = Failure { remedy: None, ..failure.clone() }.to_string();
        let kind = if is_denied { Kind::Denied } else { Kind::Aws };
        Self { message, remedy, error: failure.error, kind }
    }
}

/// Credentials that are not taken, any more or at all (the services' "Common errors").
const EXPIRED: [&str; 9] = [
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "AuthFailure",
    "InvalidAccessKeyId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
];

const THROTTLED: [&str; 5] = [
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "EC2ThrottledException",
];

const AGAIN: &str = "AWS limits the rate of calls: try again in a moment";

const SIGN_IN: &str = "name a profile (--owner-profile, --environment-profile), and sign in if it says so (`aws sso login --profile …`): `aws sts get-caller-identity --profile …` must work";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_helps_is_said_to_a_person() {
        let of = |code: &str| {
            let (call, message) = ("GetEnvironment".to_owned(), "m".to_owned());
            let error = Some(Box::new(AwsError { call, code: Some(code.to_owned()), message }));
            let remedy = Some("the next delivery tries again".to_owned());
            Problem::from(Failure { doing: "asking".to_owned(), why: None, error, remedy }).remedy
        };
        for code in ["ExpiredTokenException", "ExpiredToken", "AuthFailure"] {
            assert_eq!(of(code).as_deref(), Some(SIGN_IN), "{code}");
        }
        assert_eq!(of("ThrottlingException").as_deref(), Some(AGAIN));
        assert_eq!(of("Other").as_deref(), Some("the next delivery tries again"));
    }
}
