//! Which environments there are: those that something was made for, and those that MWAA lists.

use std::collections::BTreeSet;
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream;

use super::{AT_ONCE, SweepReport};
use crate::aws::mwaa::Unanswered;
use crate::environment::{AccountId, Environment, Region};
use crate::plan::proof::MwaaSays;
use crate::reconcile::Context;
use crate::reconcile::ask::Voices;
use crate::report::{Failure, Warning};

/// The environments of a Region.
pub(super) struct Environments {
    pub(super) all: BTreeSet<Environment>,
    /// The accounts of which it is known already that MWAA does not say anything.
    pub(super) silent: BTreeSet<AccountId>,
}

/// Those that something was made for, and all that MWAA lists until `deadline`.
pub(super) async fn environments(
    context: &Context<'_>,
    region: &Region,
    tagged: BTreeSet<Environment>,
    voices: &Voices<'_>,
    deadline: Instant,
    report: &mut SweepReport,
) -> Environments {
    let mut found = Environments { all: tagged, silent: BTreeSet::new() };
    let Some(mwaa) = context.mwaa else { return found };
    let accounts: BTreeSet<AccountId> = found
        .all
        .iter()
        .map(|environment| environment.account.clone())
        .chain(context.settings.participants.iter().cloned())
        .chain(context.own.cloned())
        .collect();
    let mut lists = stream::iter(accounts)
        .map(|account| async move {
            (tokio::time::timeout_at(deadline.into(), mwaa.names(&account)).await, account)
        })
        .buffer_unordered(AT_ONCE);
    while let Some((names, account)) = lists.next().await {
        let unanswered = match names.unwrap_or_else(|_| Err(Unanswered::NoReply(out_of_time()))) {
            Ok(names) => {
                let listed = names
                    .iter()
                    .filter_map(|it| Environment::new(account.clone(), region.clone(), it).ok());
                found.all.extend(listed);
                continue;
            }
            Err(unanswered) => unanswered,
        };
        // Nobody meant to ask where there is no role, so that is no warning. Without the role nobody
        // can be asked there; without the list only what the tags name.
        let is_meant = !matches!(unanswered, Unanswered::NoRole(_));
        let is_denied = !matches!(unanswered, Unanswered::NoReply(_));
        let failure = unanswered.into_failure();
        let call = failure.error.as_ref().map(|error| error.call.as_str());
        let has_no_role = !is_meant || call == Some("AssumeRole");
        if is_meant {
            let what = match has_no_role {
                true => "nothing of account {} is taken away",
                false => "environments of account {} whose events were lost are not found",
            };
            let mut warning = Warning::of(&failure);
            warning.message =
                format!("{}: {}", what.replace("{}", account.as_str()), warning.message);
            report.warnings.push(warning);
        } else {
            report.not_asked.insert(account.to_string());
        }
        let says = match is_denied {
            true => MwaaSays::MayNotAsk(failure),
            false => MwaaSays::NoReply(failure),
        };
        if has_no_role {
            for environment in found.all.iter().filter(|it| it.account == account) {
                voices.hear(environment, says.clone());
            }
            found.silent.insert(account);
        }
    }
    drop(lists);
    found
}

fn out_of_time() -> Failure {
    Failure {
        doing: "asking MWAA".to_owned(),
        why: Some("the sweep's time ran out".to_owned()),
        error: None,
        remedy: None,
    }
}
