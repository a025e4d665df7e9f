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
        let remedy = failure.remedy.clone().map(|remedy| match remedy == NO_CREDENTIALS {
            true => SIGN_IN.to_owned(),
            false => remedy,
        });
        let message = Failure { remedy: None, ..failure.clone() }.to_string();
        let kind = if is_denied { Kind::Denied } else { Kind::Aws };
        Self { message, remedy, error: failure.error, kind }
    }
}

const SIGN_IN: &str = "name a profile (--owner-profile, --environment-profile), and sign in if it says so (`aws sso login --profile …`): `aws sts get-caller-identity --profile …` must work";
