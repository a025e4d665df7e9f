//! Whose credentials these are.

use aws_sdk_sts::Client;
use aws_types::SdkConfig;

use super::error::failure;
use crate::environment::AccountId;
use crate::report::Failure;

/// The account of the credentials of `config`. Nobody needs a permission to ask for it (STS API,
/// `GetCallerIdentity`).
///
/// # Errors
///
/// As STS answers, or if there are no credentials.
pub async fn account(config: &SdkConfig) -> Result<AccountId, Failure> {
    let what = "asking whose the credentials are";
    let answer = Client::new(config).get_caller_identity().send().await;
    let answer = answer.map_err(|error| failure("GetCallerIdentity", what, &error))?;
    AccountId::parse(answer.account().unwrap_or_default())
        .map_err(|error| Failure::new(what, error.to_string(), "try again"))
}
