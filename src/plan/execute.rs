//! Carrying a plan out: what is independent at the same time, everything even if something fails.

use std::collections::BTreeSet;
use std::time::Instant;

use futures_util::future::join_all;

use super::{
    Chain, Detach, Detached, EndpointRemoval, Phase, Plan, Progress, Step, Told, in_order,
};
use crate::aws::Ec2;
use crate::endpoints::apply::{delete, keep as keep_endpoint, when_free};
use crate::endpoints::{EndpointAction, Groups};
use crate::environment::{GroupId, QueueArn};
use crate::gather::Gather;
use crate::report::{AwsError, Change, Failure, Resource, Tense, Warning};
use crate::security_group::{self, apply::Kept};
use crate::sqs_policy::apply::{Vouch, Withdrawn, allow, withdraw};
use crate::sqs_policy::{PolicyStep, WithdrawStep};
use crate::vpc::port;

/// What carrying plans out needs.
#[derive(Debug)]
pub struct Means<'a, V> {
    /// EC2.
    pub ec2: &'a Ec2,
    /// Who says which neighbours' queues count.
    pub vouch: &'a V,
    /// When nothing is waited for any more.
    pub until: Instant,
}

impl<V> Clone for Means<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Means<'_, V> {}

/// What came of a step.
#[derive(Default)]
struct Applied {
    lines: Vec<Resource>,
    warnings: Vec<Warning>,
    holds_up: bool,
    /// Of a policy: the queues that were written into it.
    written: Vec<QueueArn>,
}

impl Applied {
    fn of(lines: Vec<Resource>) -> Self {
        Self { lines, ..Self::default() }
    }

    /// A group that is gone, and that only a tag remembers, is nobody's failure.
    fn forgive_groups(&mut self) {
        for line in &mut self.lines {
            if line.error.take_if(|error| error.is_unknown_group()).is_some() {
                line.outcome = Change::Kept;
                self.warnings
                    .push(Warning { message: line.detail.clone(), remedy: line.remedy.take() });
            }
        }
    }
}

impl Plan {
    /// Carries it out.
    pub async fn execute<V: Vouch + Sync>(&self, means: Means<'_, V>) -> Told {
        let mut lines = Vec::new();
        let mut warnings = self.warnings.clone();
        let mut progress = Progress::default();
        for phase in &self.phases {
            let mut applied = if progress.opens(phase.gate) {
                join_all(phase.chains.iter().map(|chain| chain.apply(means))).await
            } else {
                Vec::new()
            };
            if phase.may_be_late && services_are_gone(phase, &applied) {
                undo(means, phase, &mut applied).await;
            }
            let of_phase: Vec<Resource> =
                applied.iter().flatten().flat_map(|step| step.lines.clone()).collect();
            progress.note(phase, &of_phase, applied.iter().flatten().any(|step| step.holds_up));
            for warning in applied.into_iter().flatten().flat_map(|step| step.warnings) {
                if !warnings.contains(&warning) {
                    warnings.push(warning);
                }
            }
            lines.push(of_phase);
        }
        Told { resources: in_order(&self.phases, lines), warnings }
    }
}

impl Chain {
    /// What came of each step, the group's first.
    async fn apply<V: Vouch + Sync>(&self, means: Means<'_, V>) -> Vec<Applied> {
        let (mut applied, mut group) = (Vec::new(), Kept::default());
        if let Some(step) = &self.first {
            group = security_group::apply::keep(means.ec2, step).await;
            applied.push(Applied::of(std::mem::take(&mut group.lines)));
        }
        let then = self.then.iter().map(|step| step.apply(means, &group));
        let mut then = join_all(then).await;
        if self.remembers_groups {
            applied.iter_mut().for_each(Applied::forgive_groups);
            let forgiven =
                self.then.iter().zip(&mut then).filter(|(step, _)| step.adds_one_group());
            forgiven.for_each(|(_, applied)| applied.forgive_groups());
        }
        applied.extend(then);
        applied
    }
}

impl Step {
    /// Whether it puts one group on an endpoint, and does nothing else: then nothing is lacking if that
    /// group is gone.
    fn adds_one_group(&self) -> bool {
        let Self::Endpoint(step) = self else { return false };
        matches!(
            &step.action,
            EndpointAction::Complete { subnets, groups: Groups::Listed(groups), .. }
                if subnets.is_empty() && groups.len() == 1
        )
    }

    async fn apply<V: Vouch + Sync>(&self, means: Means<'_, V>, group: &Kept) -> Applied {
        let Means { ec2, vouch, until } = means;
        match self {
            Self::Told(resource) => Applied::of(vec![resource.clone()]),
            Self::Tag { ids, tags, holds_up } => {
                let done = ec2.tag(ids, tags).await;
                let holds_up = *holds_up && done.is_err();
                Applied { holds_up, ..Applied::of(self.told(done)) }
            }
            Self::Endpoint(step) => {
                // With at least one rule for it the endpoint is of use.
                let is_ready = group.ports.contains(&port(step.role));
                let group = group.id.as_ref().filter(|_| is_ready);
                Applied::of(vec![keep_endpoint(ec2, step, group, until).await])
            }
            Self::Policy(step) => {
                let allowed = allow(ec2, step, vouch, until).await;
                Applied {
                    lines: vec![allowed.resource],
                    warnings: allowed.warnings,
                    written: allowed.written.into_iter().collect(),
                    holds_up: false,
                }
            }
            Self::Revoke { environment, group, rules } => {
                let done = security_group::apply::revoke(ec2, group, rules, environment).await;
                Applied::of(self.told(done))
            }
            Self::Withdraw(step) => match withdraw(ec2, step, until).await {
                Withdrawn::Nothing => Applied::default(),
                // A policy that only a person can put right does not hold up the rest.
                Withdrawn::Done(line) | Withdrawn::Impossible(line) => Applied::of(vec![line]),
                Withdrawn::Failed(line) => Applied { holds_up: true, ..Applied::of(vec![line]) },
            },
            Self::Detach(detach) => Applied::of(self.told(detach.apply(ec2, until).await)),
            Self::DeleteEndpoints(endpoints) => {
                let ids = endpoints.iter().map(|EndpointRemoval { id, .. }| id.clone()).gather();
                match delete(ec2, &ids, until).await {
                    Err(failure) => Applied::of(self.told(Err(failure))),
                    Ok(mut failures) => {
                        let line = |it: &EndpointRemoval| match failures.remove(&it.id) {
                            None => it.line(Tense::Did),
                            Some(failure) => it.line(Tense::Did).failed(failure),
                        };
                        Applied::of(endpoints.iter().map(line).collect())
                    }
                }
            }
            Self::DeleteGroup(group) => {
                let (line, warning) = security_group::apply::delete(ec2, group).await;
                let warnings = warning.into_iter().collect();
                Applied { warnings, ..Applied::of(vec![line]) }
            }
        }
    }

    /// Carries out a step that only sets tags.
    ///
    /// # Errors
    ///
    /// As EC2 answers.
    pub async fn correct(&self, ec2: &Ec2) -> Result<Vec<Resource>, Failure> {
        if let Self::Tag { ids, tags, .. } = self {
            ec2.tag(ids, tags).await?;
        }
        Ok(self.lines(Tense::Did))
    }

    /// The lines of what was done, or failed.
    fn told(&self, done: Result<(), Failure>) -> Vec<Resource> {
        let lines = self.lines(Tense::Did).into_iter();
        match done {
            Ok(()) => lines.collect(),
            Err(failure) => lines.map(|line| line.failed(failure.clone())).collect(),
        }
    }
}

impl Detach {
    /// Takes the older configuration off, and then lets the tags forget it.
    async fn apply(&self, ec2: &Ec2, until: Instant) -> Result<(), Failure> {
        let id = match &self.resource {
            Detached::Endpoint(id, groups) => {
                if !groups.is_empty() {
                    when_free(ec2, until, || ec2.detach(id, groups)).await?;
                }
                id.to_string()
            }
            Detached::Group(id) => id.to_string(),
        };
        ec2.tag(&[id].into(), &self.tags).await
    }
}

/// Whether EC2 knows none of the services of an environment that has no endpoint yet: the event is
/// late, and the environment is gone.
fn services_are_gone(phase: &Phase, applied: &[Vec<Applied>]) -> bool {
    let mut any = false;
    for (chain, applied) in phase.chains.iter().zip(applied) {
        let of_steps = applied.iter().skip(usize::from(chain.first.is_some()));
        for (step, applied) in chain.then.iter().zip(of_steps) {
            let Step::Endpoint(step) = step else { continue };
            any = true;
            let is_unknown =
                |line: &Resource| line.error.as_ref().is_some_and(AwsError::is_unknown_service);
            if !matches!(step.action, EndpointAction::Create { .. })
                || !applied.lines.iter().all(is_unknown)
            {
                return false;
            }
        }
    }
    any
}

/// Takes back what was done for an environment that is gone: its queue, which no endpoint remembers, so
/// that no sweep would find it, and its group, whose rules would keep a participant's group from going.
async fn undo<V>(means: Means<'_, V>, phase: &Phase, applied: &mut [Vec<Applied>]) {
    let Means { ec2, until, .. } = means;
    for (chain, applied) in phase.chains.iter().zip(applied) {
        if chain.first.is_some()
            && let Some(line) = applied.first_mut().and_then(|group| group.lines.first_mut())
            && line.outcome == Change::Created
            && let Some(id) = line.id.as_deref().and_then(|id| GroupId::parse(id).ok())
        {
            *line = security_group::apply::delete(ec2, &id).await.0;
        }
        let of_steps = applied.iter_mut().skip(usize::from(chain.first.is_some()));
        for (step, applied) in chain.then.iter().zip(of_steps) {
            if let Step::Policy(step) = step
                && let Some(removal) = taken_back(step, &applied.written)
                && let Withdrawn::Done(line) | Withdrawn::Impossible(line) | Withdrawn::Failed(line) =
                    withdraw(ec2, &removal, until).await
            {
                applied.lines = vec![line];
            }
        }
    }
}

/// The environment's own queue, if it was let through just now. Also if the policy could not be read
/// back: a later delivery would find the queue in it, and leave it.
fn taken_back(step: &PolicyStep, written: &[QueueArn]) -> Option<WithdrawStep> {
    let queues: BTreeSet<QueueArn> =
        written.iter().filter(|queue| step.own.contains_key(queue)).cloned().gather();
    (!queues.is_empty()).then(|| WithdrawStep {
        endpoint: step.endpoint.clone(),
        service: step.service.clone(),
        queues,
        is_listed: true,
        problem: None,
    })
}
