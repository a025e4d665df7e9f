//! Writing policies. ModifyVpcEndpoint replaces all of one and cannot tell that another writer was
//! faster, so whatever is written rests on a look from moments ago, and is read back.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::step::{PolicyAction, PolicyStep, Seen, WithdrawStep, admit_own_first, mentions};
use super::{Admission, Queues, Withdrawal, admit};
use crate::aws::Ec2;
use crate::environment::{EndpointId, QueueArn};
use crate::gather::Gather;
use crate::report::{Change, Failure, Resource, Tense, Warning};
use crate::vpc::Endpoint;

/// How old a look may be when a policy is written that rests on it.
const FRESH: Duration = Duration::from_millis(500);

/// How often a policy is written at most, while somebody else writes it too.
const WRITES: usize = 4;

/// Says which queues of other environments count, of those that tags remember.
pub trait Vouch {
    /// The queues of those neighbours on `endpoints` whose queue `is_missing`, and what somebody
    /// should know of them. Somebody `may` be `asked` who has not been asked before, which takes time.
    fn neighbours(
        &self,
        endpoints: &[Endpoint],
        is_missing: &(dyn Fn(&Queues) -> BTreeSet<QueueArn> + Sync),
        may_ask: bool,
    ) -> impl Future<Output = (Queues, Vec<Warning>)> + Send;
}

/// What came of letting queues through an SQS endpoint.
#[derive(Clone, Debug)]
pub struct Allowed {
    /// What is told of it.
    pub resource: Resource,
    /// What somebody should know.
    pub warnings: Vec<Warning>,
    /// The queues that were written into its policy, or may have been.
    pub written: BTreeSet<QueueArn>,
}

/// Sees to it that an SQS endpoint admits the environment's queues, and its neighbours' that are
/// missing. Of what it cannot let through only the environment's own is a failure: each of the others
/// is seen to by its own deliveries, and by the sweep.
pub async fn allow(
    ec2: &Ec2,
    step: &PolicyStep,
    vouch: &(impl Vouch + Sync),
    until: Instant,
) -> Allowed {
    let resource = step.line(Tense::Did);
    let mut allowed = Allowed { resource, warnings: Vec::new(), written: BTreeSet::new() };
    let seen = match &step.action {
        PolicyAction::RequesterManaged { .. } | PolicyAction::Impossible(_) => return allowed,
        PolicyAction::Keep if step.is_whole => return allowed,
        // What the neighbours need was not seen yet.
        PolicyAction::Keep => None,
        PolicyAction::Write(_) => Some(step.seen.clone()),
    };
    let mut change = Allow {
        step,
        vouch,
        endpoints: None,
        neighbours: step.neighbours.clone(),
        written: BTreeSet::new(),
        warnings: Vec::new(),
    };
    let outcome = write(ec2, &step.endpoint, &mut change, seen, until).await;
    allowed.resource = match outcome {
        Ok(0) => {
            let detail = format!("{} admits the queue", step.endpoint);
            step.with_blocks(step.resource(Change::Kept, detail))
        }
        Ok(_) => {
            let detail = step.wrote(&change.written);
            step.with_blocks(step.resource(Change::Updated, detail))
        }
        Err(Stopped::Impossible(failure) | Stopped::Failed(failure)) => {
            step.resource(Change::Failed, String::new()).failed(failure)
        }
    };
    (allowed.warnings, allowed.written) = (change.warnings, change.written);
    allowed
}

/// What came of taking queues out of a policy.
#[derive(Clone, Debug)]
pub enum Withdrawn {
    /// They were not in it.
    Nothing,
    /// They were taken out.
    Done(Resource),
    /// Only a person can put the policy right.
    Impossible(Resource),
    /// It did not work this time.
    Failed(Resource),
}

/// Takes queues out of an SQS endpoint's policy as it is now, and reads it back.
pub async fn withdraw(ec2: &Ec2, step: &WithdrawStep, until: Instant) -> Withdrawn {
    let resource = step.resource(Change::Updated);
    match write(ec2, &step.endpoint, &mut Withdraw { step }, None, until).await {
        Ok(0) => Withdrawn::Nothing,
        Ok(_) => Withdrawn::Done(resource),
        Err(Stopped::Impossible(failure)) => Withdrawn::Impossible(resource.failed(failure)),
        Err(Stopped::Failed(failure)) => Withdrawn::Failed(resource.failed(failure)),
    }
}

/// What must happen to a policy as it is now.
enum Next {
    Nothing,
    Write { document: String, added: BTreeSet<QueueArn> },
}

/// Why a policy is not as it should be.
enum Stopped {
    /// Only a person can put it right.
    Impossible(Failure),
    /// It did not work this time.
    Failed(Failure),
}

/// A change of a policy, which is decided anew from every look.
trait Rewrite {
    /// Looks at the policy.
    async fn look(&mut self, ec2: &Ec2) -> Result<Seen, Failure>;
    async fn decide(&mut self, seen: &Seen, may_ask: bool) -> Result<Next, Failure>;
    /// Queues are about to be written.
    fn writing(&mut self, _added: BTreeSet<QueueArn>) {}
    /// Whether what was written is still there, so that only more is to be written.
    fn is_kept(&self, _seen: &Seen) -> bool {
        false
    }
    /// It is not as it should be, and nothing more is tried: whether that is a failure.
    fn give_up(&mut self, seen: &Seen, why: String, remedy: &str) -> Result<(), Failure>;
}

/// Writes a policy until a look shows that it is as it should be. Returns the number of writes.
///
/// Pauses come before a look, never between a look and the write that rests on it.
async fn write(
    ec2: &Ec2,
    id: &EndpointId,
    change: &mut impl Rewrite,
    seen: Option<Seen>,
    until: Instant,
) -> Result<usize, Stopped> {
    let fits = |pause: Duration| Instant::now() + pause < until;
    let mut refusals = ec2.pauses();
    let (mut writes, mut wrote_over_lag, mut is_unanswered) = (0, false, false);
    let mut seen = match seen {
        Some(seen) => seen,
        None => look(ec2, change).await?,
    };
    loop {
        let mut next = change.decide(&seen, true).await.map_err(Stopped::Impossible)?;
        if matches!(next, Next::Write { .. }) && seen.at.elapsed() > FRESH {
            seen = look(ec2, change).await?;
            next = change.decide(&seen, false).await.map_err(Stopped::Impossible)?;
        }
        let Next::Write { document, added } = next else {
            // What was not answered was done all the same.
            return Ok(writes.max(usize::from(is_unanswered)));
        };
        if writes == WRITES {
            let why = format!(
                "it was not as it should be after {WRITES} writes: somebody else writes it too"
            );
            let remedy = "see that no other tool manages this policy, or that it leaves the statement alone; the next delivery tries again";
            return change.give_up(&seen, why, remedy).map(|()| writes).map_err(Stopped::Failed);
        }
        change.writing(added);
        match ec2.write_policy(id, &document).await {
            Ok(()) => writes += 1,
            // Nobody knows whether it was done: what a new look shows decides.
            Err(failure) if failure.may_pass() => match refusals.next() {
                Some(pause) if fits(pause) => {
                    is_unanswered |= failure.code().is_none();
                    tokio::time::sleep(pause).await;
                    seen = look(ec2, change).await?;
                    continue;
                }
                _ => return Err(Stopped::Failed(failure)),
            },
            Err(failure) => return Err(Stopped::Failed(failure)),
        }

        let before = seen.policy.clone();
        let mut pauses = ec2.pauses();
        loop {
            seen = look(ec2, change).await?;
            let next = change.decide(&seen, true).await.map_err(Stopped::Impossible)?;
            if matches!(next, Next::Nothing) {
                return Ok(writes);
            }
            if change.is_kept(&seen) {
                break;
            }
            let is_as_before = is_same(seen.policy.as_deref(), before.as_deref());
            match pauses.next() {
                // EC2 may tell late what was written, or another tool has restored its text: nobody
                // can tell from here.
                Some(pause) if is_as_before && fits(pause) => tokio::time::sleep(pause).await,
                _ if is_as_before && wrote_over_lag => {
                    let why = "it is as it was before it was written, twice: either EC2 tells late what was written, or somebody else restores it".to_owned();
                    let remedy = "see that no other tool manages this policy, or that it leaves the statement alone; the next delivery looks again";
                    return change
                        .give_up(&seen, why, remedy)
                        .map(|()| writes)
                        .map_err(Stopped::Failed);
                }
                _ if is_as_before => {
                    wrote_over_lag = true;
                    break;
                }
                // Another writer has been at it, and may be still.
                Some(pause) if fits(pause) => {
                    tokio::time::sleep(pause).await;
                    seen = look(ec2, change).await?;
                    break;
                }
                _ => break,
            }
        }
    }
}

async fn look(ec2: &Ec2, change: &mut impl Rewrite) -> Result<Seen, Stopped> {
    change.look(ec2).await.map_err(Stopped::Failed)
}

/// Whether two policies are the same. EC2 may hand one back with its fields in another order.
fn is_same(one: Option<&str>, other: Option<&str>) -> bool {
    let value = |text: Option<&str>| serde_json::from_str::<Value>(text?).ok();
    one == other || value(one).is_some_and(|one| value(other) == Some(one))
}

/// Queues join a policy.
struct Allow<'a, V> {
    step: &'a PolicyStep,
    vouch: &'a V,
    /// All endpoints of the VPC, once they were looked at.
    endpoints: Option<Vec<Endpoint>>,
    /// The neighbours' queues that were to be written last.
    neighbours: Queues,
    written: BTreeSet<QueueArn>,
    warnings: Vec<Warning>,
}

impl<V: Vouch + Sync> Rewrite for Allow<'_, V> {
    async fn look(&mut self, ec2: &Ec2) -> Result<Seen, Failure> {
        let endpoints = ec2.endpoints(&self.step.vpc).await?;
        let at = Instant::now();
        let found = endpoints.iter().find(|e| e.id == self.step.endpoint && e.state.is_alive());
        let Some(endpoint) = found else {
            return Err(Failure::new(
                format!("writing the policy of endpoint {}", self.step.endpoint),
                "it is gone, or about to be",
                "the next delivery looks for another SQS endpoint",
            ));
        };
        let seen = Seen { policy: endpoint.policy.clone(), at };
        self.endpoints = Some(endpoints);
        Ok(seen)
    }

    async fn decide(&mut self, seen: &Seen, may_ask: bool) -> Result<Next, Failure> {
        let PolicyStep { endpoint, own, facts, .. } = self.step;
        let policy = seen.policy.as_deref();
        let mut neighbours = self.step.neighbours.clone();
        if let Some(endpoints) = &self.endpoints {
            let is_missing = |queues: &Queues| super::missing(policy, queues, facts);
            let (more, warnings) = self.vouch.neighbours(endpoints, &is_missing, may_ask).await;
            neighbours = more;
            self.warn(warnings);
        }
        let answer = admit_own_first(endpoint, policy, own, &neighbours, facts);
        self.neighbours = neighbours;
        let (admission, warning) = answer.map_err(|problem| self.step.impossible(&problem))?;
        self.warn(warning);
        Ok(match admission {
            Admission::AlreadyAllowed => Next::Nothing,
            Admission::Write { document, added } => Next::Write { document, added },
        })
    }

    fn writing(&mut self, added: BTreeSet<QueueArn>) {
        self.written.extend(added);
    }

    fn is_kept(&self, seen: &Seen) -> bool {
        // If only the condition was to change, no queue tells whether it did.
        !self.written.is_empty() && self.lost(seen.policy.as_deref()).is_empty()
    }

    fn give_up(&mut self, seen: &Seen, why: String, remedy: &str) -> Result<(), Failure> {
        let PolicyStep { endpoint, own, facts, .. } = self.step;
        let policy = seen.policy.as_deref();
        if admit(policy, own, facts) == Ok(Admission::AlreadyAllowed) {
            let lost = self.lost(policy);
            let lost: Vec<&str> = lost.iter().map(QueueArn::as_str).collect();
            self.warn([Warning::new(
                format!(
                    "queues of other environments are missing from the policy of {endpoint} ({}): {why}",
                    lost.join(", ")
                ),
                "their deliveries, or the next sweep, put them back",
            )]);
            return Ok(());
        }
        Err(Failure::new(format!("writing the policy of endpoint {endpoint}"), why, remedy))
    }
}

impl<V> Allow<'_, V> {
    /// What was written and is not there.
    fn lost(&self, policy: Option<&str>) -> BTreeSet<QueueArn> {
        let known = self.neighbours.iter().chain(&self.step.own);
        let written = known.filter(|(queue, _)| self.written.contains(*queue));
        let written = written.map(|(queue, account)| (queue.clone(), account.clone())).gather();
        super::missing(policy, &written, &self.step.facts)
    }

    fn warn(&mut self, warnings: impl IntoIterator<Item = Warning>) {
        for warning in warnings {
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
    }
}

/// Queues leave a policy.
struct Withdraw<'a> {
    step: &'a WithdrawStep,
}

impl Rewrite for Withdraw<'_> {
    async fn look(&mut self, ec2: &Ec2) -> Result<Seen, Failure> {
        let endpoint = ec2.endpoint(&self.step.endpoint).await?;
        // An endpoint that is gone lists no queue either.
        Ok(Seen { policy: endpoint.and_then(|endpoint| endpoint.policy), at: Instant::now() })
    }

    async fn decide(&mut self, seen: &Seen, _may_ask: bool) -> Result<Next, Failure> {
        let policy = seen.policy.as_deref();
        match super::withdraw(policy, &self.step.queues) {
            Ok(Withdrawal::NotListed) => Ok(Next::Nothing),
            Ok(Withdrawal::Write { document }) => {
                Ok(Next::Write { document, added: BTreeSet::new() })
            }
            // A policy that cannot be read or was edited matters only if a queue is in it.
            Err(problem) if mentions(policy, &self.step.queues) => {
                Err(self.step.impossible(&problem))
            }
            Err(_) => Ok(Next::Nothing),
        }
    }

    fn give_up(&mut self, _seen: &Seen, why: String, remedy: &str) -> Result<(), Failure> {
        Err(Failure::new(self.step.doing(), why, remedy))
    }
}
