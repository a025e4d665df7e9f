//! Asking MWAA: about the environment at hand, and about neighbours whose queues are missing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::OnceCell;

use super::Context;
pub use crate::aws::mwaa::Asking;
use crate::aws::mwaa::Unanswered;
use crate::environment::{AccountId, EndpointId, Environment, QueueArn, VpcId};
use crate::event::{self, EnvironmentSpec};
use crate::gather::{self, Gather};
use crate::plan::Step;
use crate::plan::decide::Neighbours;
use crate::plan::proof::MwaaSays;
use crate::report::{Failure, Warning, shortened};
use crate::sqs_policy::{self, Facts, Queues, apply::Vouch};
use crate::tags;
use crate::vpc::{Endpoint, Observed};

/// How long the work on an event waits for MWAA's answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// What MWAA says of an environment.
pub async fn about(context: &Context<'_>, environment: &Environment) -> MwaaSays {
    about_within(context, environment, PATIENCE).await
}

/// The same with another patience.
pub(crate) async fn about_within(
    context: &Context<'_>,
    environment: &Environment,
    patience: Duration,
) -> MwaaSays {
    match context.own {
        Some(_) => ask(context.mwaa, environment, patience).await,
        None => MwaaSays::NoReply(unknown_account()),
    }
}

/// Why nobody can be asked by a function that does not know its account, as under an emulator.
fn unknown_account() -> Failure {
    Failure::new(
        "asking MWAA",
        "the function does not know the account that it runs in",
        "deploy it, or ask MWAA yourself",
    )
}

/// What MWAA says of an environment, if it can be asked at all.
async fn ask(mwaa: Option<Asking<'_>>, environment: &Environment, patience: Duration) -> MwaaSays {
    let doing = format!("asking MWAA about {}", environment.arn());
    let Some(mwaa) = mwaa else {
        return MwaaSays::MayNotAsk(Failure::new(doing, "it cannot be asked", "ask MWAA yourself"));
    };
    let failed = |why: String| Failure { doing, why: Some(why), error: None, remedy: None };
    match tokio::time::timeout(patience, mwaa.environment(environment)).await {
        Err(_) => MwaaSays::NoReply(failed(format!("no answer within {patience:?}"))),
        Ok(Err(Unanswered::NoRole(failure) | Unanswered::MayNotAsk(failure))) => {
            MwaaSays::MayNotAsk(failure)
        }
        Ok(Err(Unanswered::NoReply(failure))) => MwaaSays::NoReply(failure),
        Ok(Ok(None)) => MwaaSays::NotFound,
        Ok(Ok(Some(answer))) => match event::of_mwaa(answer) {
            Ok(spec) => MwaaSays::Says(Box::new(spec)),
            // Its options may hold secrets: no value of it is told.
            Err(refusal) => MwaaSays::NoReply(failed(format!(
                "the answer cannot be read: {} is not as it should be",
                refusal.path
            ))),
        },
    }
}

/// Whose word counts in a delivery or a sweep: what MWAA said of whom, and whose queues are known.
#[derive(Debug)]
pub struct Voices<'a> {
    mwaa: Option<Asking<'a>>,
    /// Nobody is asked about twice: who comes second waits for the answer.
    heard: Mutex<BTreeMap<Environment, Arc<OnceCell<MwaaSays>>>>,
    /// The accounts of queues that an event or MWAA has named: MWAA's own.
    accounts: Mutex<BTreeSet<AccountId>>,
    corrections: Mutex<BTreeMap<QueueArn, BTreeSet<EndpointId>>>,
}

impl<'a> Voices<'a> {
    /// Nobody was asked yet.
    pub fn new(context: &Context<'a>) -> Self {
        Self {
            mwaa: context.mwaa,
            heard: Mutex::default(),
            accounts: Mutex::default(),
            corrections: Mutex::default(),
        }
    }

    /// What MWAA says of an environment, which is asked for it once.
    pub async fn about(&self, context: &Context<'_>, environment: &Environment) -> MwaaSays {
        self.once(environment, || about(context, environment)).await
    }

    /// Takes down what MWAA would say of an environment, so that it is not asked.
    pub fn hear(&self, environment: &Environment, says: MwaaSays) {
        lock(&self.heard).insert(environment.clone(), Arc::new(OnceCell::new_with(Some(says))));
    }

    async fn once<F: Future<Output = MwaaSays>>(
        &self,
        environment: &Environment,
        ask: impl FnOnce() -> F,
    ) -> MwaaSays {
        let cell = lock(&self.heard).entry(environment.clone()).or_default().clone();
        let says = cell.get_or_init(ask).await;
        if let MwaaSays::Says(answer) = says {
            self.know(answer);
        }
        says.clone()
    }

    /// The queues that somebody names are MWAA's.
    pub fn know(&self, spec: &EnvironmentSpec) {
        lock(&self.accounts).extend(spec.queues().iter().map(QueueArn::account));
    }

    /// What MWAA has said of a neighbour. It `may` be `asked` if it was not; of those that the work is
    /// about it always was.
    async fn neighbour(&self, environment: &Environment, may_ask: bool) -> Option<MwaaSays> {
        if may_ask {
            return Some(self.once(environment, || ask(self.mwaa, environment, PATIENCE)).await);
        }
        let cell = lock(&self.heard).get(environment)?.clone();
        cell.get().cloned()
    }

    /// The steps that put tags right which MWAA's answers have shown to be wrong. Each is told once.
    pub fn corrections(&self) -> Vec<Step> {
        let wrong = std::mem::take(&mut *lock(&self.corrections));
        wrong
            .into_iter()
            .map(|(queue, ids)| Step::Tag {
                ids: ids.iter().map(EndpointId::to_string).gather(),
                tags: gather::one((tags::QUEUE.to_owned(), queue.to_string())),
                holds_up: false,
            })
            .collect()
    }
}

/// Who says, for the work on one environment, which of its neighbours' queues count.
#[derive(Clone, Copy, Debug)]
pub struct Voucher<'a> {
    /// What was heard.
    voices: &'a Voices<'a>,
    /// The environment.
    environment: &'a Environment,
    /// Whether its queue is named: what its tags remember says nothing then.
    is_named: bool,
}

impl<'a> Voucher<'a> {
    /// For the work that `spec` asks for.
    pub fn new(voices: &'a Voices<'a>, spec: &'a EnvironmentSpec) -> Self {
        let is_named = !spec.queues().is_empty();
        Self { voices, environment: &spec.environment, is_named }
    }

    /// The queues of others in `vpc` that are missing from a policy there.
    pub async fn neighbours_in(
        &self,
        vpc: &VpcId,
        observed: &Observed,
        organization: Option<&str>,
    ) -> Neighbours {
        let endpoints: Vec<Endpoint> = observed.endpoints_in(vpc).cloned().collect();
        let is_missing = |queues: &Queues| {
            let policies = endpoints
                .iter()
                .filter(|it| it.serves_sqs(&self.environment.region) && !it.requester_managed);
            let missing = |it: &Endpoint| {
                let facts = Facts {
                    vpc: Some(vpc.clone()),
                    endpoint: Some(it.id.clone()),
                    organization: organization.map(str::to_owned),
                    is_gateway: false,
                };
                sqs_policy::missing(it.policy.as_deref(), queues, &facts)
            };
            policies.flat_map(missing).gather::<BTreeSet<QueueArn>>()
        };
        let (queues, warnings) = self.neighbours(&endpoints, &is_missing, true).await;
        Neighbours { queues, warnings }
    }
}

/// What the tags on an environment's endpoints say of its queue.
#[derive(Default)]
struct Remembered {
    queues: BTreeMap<QueueArn, BTreeSet<EndpointId>>,
}

impl Vouch for Voucher<'_> {
    async fn neighbours(
        &self,
        endpoints: &[Endpoint],
        is_missing: &(dyn Fn(&Queues) -> BTreeSet<QueueArn> + Sync),
        may_ask: bool,
    ) -> (Queues, Vec<Warning>) {
        let (remembered, mut warnings) = self.remembered(endpoints);
        let of = |environment: &Environment, it: &Remembered| -> Queues {
            let queues = it.queues.keys().cloned();
            queues.map(|queue| (queue, environment.account.clone())).gather()
        };
        let all = remembered.iter().flat_map(|(environment, it)| of(environment, it)).gather();
        let missing = is_missing(&all);
        let lacking: Vec<(&Environment, &Remembered)> = remembered
            .iter()
            .filter(|(_, it)| it.queues.keys().any(|queue| missing.contains(queue)))
            .collect();
        let answers = lacking.iter().map(|(it, _)| self.voices.neighbour(it, may_ask));
        let answers = join_all(answers).await;
        let accounts = lock(&self.voices.accounts).clone();
        let mut queues = Queues::new();
        for ((environment, remembered), says) in lacking.into_iter().zip(answers) {
            match says {
                Some(MwaaSays::Says(answer)) if !answer.status.is_over() => {
                    let Some(queue) = &answer.queue else { continue };
                    queues.insert(queue.clone(), environment.account.clone());
                    let wrong = remembered.queues.iter().filter(|(it, _)| *it != queue);
                    for (other, ids) in wrong {
                        warnings.push(contradicted(environment, other, queue, ids));
                        lock(&self.voices.corrections)
                            .entry(queue.clone())
                            .or_default()
                            .extend(ids.iter().cloned());
                    }
                }
                Some(MwaaSays::MayNotAsk(_)) => {
                    for (queue, ids) in &remembered.queues {
                        if !missing.contains(queue) {
                            continue;
                        }
                        if queue.is_named_as_celery_queue() && accounts.contains(&queue.account()) {
                            queues.insert(queue.clone(), environment.account.clone());
                        } else {
                            warnings.push(not_believed(environment, queue, ids));
                        }
                    }
                }
                // It is gone, or its own delivery or the sweep sees to it.
                _ => {}
            }
        }
        (queues, warnings)
    }
}

impl Voucher<'_> {
    /// What the tags on `endpoints` remember of environments of this Region, and what somebody should
    /// know of them. What is left behind remembers nothing that anybody needs.
    fn remembered(
        &self,
        endpoints: &[Endpoint],
    ) -> (BTreeMap<Environment, Remembered>, Vec<Warning>) {
        let mut all: BTreeMap<Environment, Remembered> = BTreeMap::new();
        let mut warnings = Vec::new();
        for endpoint in endpoints.iter().filter(|it| it.state.is_alive()) {
            let Some((environment, _)) = endpoint.made_for() else { continue };
            if environment.region != self.environment.region
                || self.is_named && environment == *self.environment
                || tags::is_left_behind(&endpoint.tags)
            {
                continue;
            }
            let Some(text) = endpoint.tags.get(tags::QUEUE) else { continue };
            match endpoint.remembered_queue() {
                Some(queue) => {
                    let queues = &mut all.entry(environment).or_default().queues;
                    queues.entry(queue).or_default().insert(endpoint.id.clone());
                }
                None => warnings.push(Warning::new(
                    format!(
                        "the tag {} holds no queue of this Region: {}: {}",
                        tags::QUEUE,
                        endpoint.id,
                        shortened(text)
                    ),
                    "correct the tag; it was left out of the SQS endpoint's policy",
                )),
            }
        }
        (all, warnings)
    }
}

fn contradicted(
    environment: &Environment,
    tagged: &QueueArn,
    queue: &QueueArn,
    ids: &BTreeSet<EndpointId>,
) -> Warning {
    Warning {
        message: format!(
            "the tag {} on {} says {tagged}, and MWAA says that the queue of {} is {queue}: the tag is put right",
            tags::QUEUE,
            names(ids),
            environment.arn()
        ),
        remedy: None,
    }
}

fn not_believed(
    environment: &Environment,
    queue: &QueueArn,
    ids: &BTreeSet<EndpointId>,
) -> Warning {
    Warning::new(
        format!(
            "the queue in the tag {} on {} was left out of the SQS endpoint's policy, from which it is missing: MWAA may not be asked about {}, and nothing else says that {queue} is a queue of MWAA",
            tags::QUEUE,
            names(ids),
            environment.arn()
        ),
        "replay the environment (aws mwaa get-environment), or let the function ask MWAA (ReaderRole)",
    )
}

fn names(ids: &BTreeSet<EndpointId>) -> String {
    ids.iter().map(EndpointId::as_str).collect::<Vec<_>>().join(", ")
}

/// What a panic elsewhere has left behind is still right: single values are put in.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
