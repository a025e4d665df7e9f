//! Which environments there are: those that something was made for, and those that MWAA lists.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;

use super::turns::start;
use super::{AT_ONCE, SweepReport};
use crate::aws::mwaa::Unanswered;
use crate::environment::{AccountId, Environment, Region};
use crate::gather::Gather;
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

/// How long an account's list may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Those that something was made for, and all that MWAA lists. No account's list begins after
/// `deadline`; the clock says with which to begin, so that all have their turn.
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
        .gather();
    let mut accounts: VecDeque<AccountId> = accounts.into_iter().collect();
    accounts.rotate_left(start(accounts.len(), context.now));
    let in_time =
        std::iter::from_fn(|| (Instant::now() < deadline).then(|| accounts.pop_front()).flatten());
    let mut lists = stream::iter(in_time)
        .map(|account| async move {
            (tokio::time::timeout(PATIENCE, mwaa.names(&account)).await, account)
        })
        .buffer_unordered(AT_ONCE);
    while let Some((names, account)) = lists.next().await {
        let unanswered = match names.unwrap_or_else(|_| Err(Unanswered::NoReply(silence(&account))))
        {
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
    report.accounts_not_listed = accounts.len();
    found
}

fn silence(account: &AccountId) -> Failure {
    Failure {
        doing: format!("asking for the environments of account {account}"),
        why: Some(format!("no answer within {PATIENCE:?}")),
        error: None,
        remedy: None,
    }
}
