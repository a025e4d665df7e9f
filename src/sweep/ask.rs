//! Asking MWAA about every environment that can be seen and every one in our tags.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream;

use super::{AT_ONCE, SweepReport};
use crate::aws::mwaa::Unanswered;
use crate::environment::{AccountId, Environment, Region};
use crate::plan::proof::MwaaSays;
use crate::reconcile::Context;
use crate::reconcile::ask::{ask, unknown_account};
use crate::report::{Failure, Warning};

pub(super) async fn all(
    context: &Context<'_>,
    region: &Region,
    tagged: &BTreeSet<Environment>,
    deadline: Instant,
    report: &mut SweepReport,
) -> BTreeMap<Environment, MwaaSays> {
    let Some(mwaa) = context.mwaa else {
        let failure = unknown_account();
        let says = |it: &Environment| {
            let says = match context.own {
                Some(_) => MwaaSays::MayNotAsk(failure.clone()),
                None => MwaaSays::NoReply(failure.clone()),
            };
            (it.clone(), says)
        };
        return tagged.iter().map(says).collect();
    };
    let accounts: BTreeSet<AccountId> = tagged
        .iter()
        .map(|environment| environment.account.clone())
        .chain(context.settings.participants.iter().cloned())
        .chain(context.own.cloned())
        .collect();
    let lists = stream::iter(accounts)
        .map(|account| async move {
            (tokio::time::timeout_at(deadline.into(), mwaa.names(&account)).await, account)
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    let mut asked: BTreeSet<Environment> = tagged.clone();
    let mut silent: BTreeMap<AccountId, MwaaSays> = BTreeMap::new();
    for (names, account) in lists {
        match names.unwrap_or_else(|_| Err(Unanswered::NoReply(out_of_time()))) {
            Ok(names) => asked.extend(
                names
                    .iter()
                    .filter_map(|it| Environment::new(account.clone(), region.clone(), it).ok()),
            ),
            // Nobody meant to ask there.
            Err(Unanswered::NoRole(failure)) => {
                report.not_asked.insert(account.to_string());
                silent.insert(account, MwaaSays::MayNotAsk(failure));
            }
            // Without its role nobody can be asked there; without the list only what the tags name.
            Err(unanswered) => {
                let is_denied = matches!(unanswered, Unanswered::MayNotAsk(_));
                let failure = unanswered.into_failure();
                let has_no_role =
                    failure.error.as_ref().is_none_or(|error| error.call == "AssumeRole");
                let what = if has_no_role {
                    "nothing of account {account} is taken away"
                } else {
                    "environments of account {account} whose events were lost are not found"
                };
                let what = what.replace("{account}", account.as_str());
                let message = format!("{what}: {failure}");
                report.warnings.push(Warning { message, remedy: None });
                if has_no_role {
                    let says = if is_denied { MwaaSays::MayNotAsk } else { MwaaSays::NoReply };
                    silent.insert(account, says(failure));
                }
            }
        }
    }
    let (silenced, asked): (BTreeSet<_>, BTreeSet<_>) =
        asked.into_iter().partition(|environment| silent.contains_key(&environment.account));
    let answers = stream::iter(asked)
        .map(|environment| async move {
            let answer = ask(Some(mwaa), &environment);
            (tokio::time::timeout_at(deadline.into(), answer).await, environment)
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    let mut said: BTreeMap<Environment, MwaaSays> = BTreeMap::new();
    for (says, environment) in answers {
        let says = says.unwrap_or_else(|_| MwaaSays::NoReply(out_of_time()));
        if let MwaaSays::MayNotAsk(failure) | MwaaSays::NoReply(failure) = &says {
            report.warnings.push(Warning {
                message: format!("nothing of {} is taken away: {failure}", environment.arn()),
                remedy: None,
            });
        }
        said.insert(environment, says);
    }
    said.extend(silenced.into_iter().filter_map(|environment| {
        let says = silent.get(&environment.account)?.clone();
        Some((environment, says))
    }));
    said
}

fn out_of_time() -> Failure {
    Failure {
        doing: "asking MWAA".to_owned(),
        why: Some("the sweep's time ran out".to_owned()),
        error: None,
        remedy: None,
    }
}
