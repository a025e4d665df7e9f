//! What MWAA says of an environment.

use mwaa_vpc_endpoints::aws::mwaa::Unanswered;
use mwaa_vpc_endpoints::environment::Environment;

use super::steps::Says;
use crate::accounts::Accounts;
use crate::problem::Problem;
use crate::spinner::Spinner;

/// Asks MWAA, of the environment's account only: in another account one of the same name may be.
///
/// # Errors
///
/// If MWAA does not answer. That proves nothing.
pub async fn ask(accounts: &Accounts, environment: &Environment) -> Result<Says, Problem> {
    let _spinner = Spinner::start(format!("asking MWAA about {}", environment.name()));
    let Environment { account, region, .. } = environment;
    let unknown = |why: String| Ok(Says::Unknown(why));
    if !accounts.asked().contains(account) {
        return unknown(format!(
            "no profile of account {account} was named (--environment-profile)"
        ));
    }
    if *region != accounts.region {
        return unknown(format!("it is not of the Region {}", accounts.region));
    }
    match accounts.asking().environment(environment).await {
        Ok(None) => Ok(Says::Gone),
        Ok(Some(told)) => Ok(Says::Answer(told)),
        Err(Unanswered::NoReply(failure)) => Err(failure.into()),
        Err(Unanswered::MayNotAsk(_) | Unanswered::NoRole(_)) => {
            unknown(format!("this profile of account {account} may not ask MWAA"))
        }
    }
}
