//! The sweep: what events did not bring. It looks at the Region once, and then asks and serves one
//! environment after the other. Where something is to be written, what matters is looked at again, and
//! MWAA is asked after that before anything is taken away.

mod ask;
mod health;
mod lasting;
mod look;
pub mod survey;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::{self, StreamExt};
use serde::Serialize;
use tokio::sync::OwnedMutexGuard;

use crate::environment::{AccountId, Environment, Region, VpcId};
use crate::event::{EnvironmentSpec, Status};
use crate::gather::Gather;
use crate::plan::proof::MwaaSays;
use crate::reconcile::ask::Voices;
use crate::reconcile::{self, CAUSE, Context, Decided};
use crate::report::{Change, Failure, Kind, Outcome, Report, Resource, Warning};
pub use lasting::Lasting;
use lasting::Problem;
use look::Landscape;
use turns::Turns;

/// How many environments, or accounts, are asked about at once.
const AT_ONCE: usize = 4;
/// How long MWAA waits for endpoints (MWAA user guide, "Managing your own Amazon VPC endpoints").
pub const PATIENCE: TimeDelta = TimeDelta::hours(72);

/// What a sweep found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SweepReport {
    /// What came of it all: `changed`, `unchanged` or `failed`.
    pub outcome: Outcome,
    /// What was done, in a sentence, if anything was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The environments for which something was done, or could not be, or should be known; those for
    /// which something failed come first.
    pub environments: Vec<Report>,
    /// How many environments were looked at.
    pub looked_at: usize,
    /// How many environments had their turn: all that were looked at.
    pub reached: usize,
    /// How many environments had none, because time ran out. They have it in a later sweep.
    pub not_reached: usize,
    /// How many accounts' environments were not listed, because time ran out: of those accounts only
    /// the environments that something was made for are known. A later sweep lists them.
    pub accounts_not_listed: usize,
    /// The VPCs in which something of ours is, or should be.
    pub vpcs: Vec<VpcHealth>,
    /// What somebody should know.
    pub warnings: Vec<Warning>,
    /// The participants' accounts that are not asked, since there is no role for it: nothing of theirs
    /// is taken away by a sweep.
    pub not_asked: BTreeSet<String>,
    /// The environments that could not be looked at, with the reason.
    pub failures: Vec<String>,
    /// The environment before which time ran out, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped_before: Option<String>,
    /// How many problems were told in the last day already.
    pub lasting: usize,
    /// The problems that an earlier sweep told, and that are no more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<String>,
    /// Whether this is only what would be done.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// What could be better and is not wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The function's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<&'static str>,
    /// The environments, warnings and failures that are not only there still.
    #[serde(skip)]
    pub news: BTreeSet<String>,
    /// The environments that wait for their endpoints, and since when.
    #[serde(skip)]
    pub waiting: Vec<(String, DateTime<Utc>)>,
    /// How many endpoints that were made for environments are not available.
    #[serde(skip)]
    pub not_available: usize,
}

/// How much of a VPC's quotas is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VpcHealth {
    /// The VPC.
    pub vpc: String,
    /// Its endpoints that count against the quota.
    pub endpoints: usize,
    /// The quota.
    pub quota: usize,
    /// The characters of each SQS endpoint's policy, of 20,480.
    pub policy_characters: BTreeMap<String, usize>,
}

/// Looks at everything that is ours and at every environment that can be seen, and puts right what is
/// not. What fails for one environment keeps no other from its turn. None begins after `deadline`.
///
/// # Errors
///
/// If EC2 could not be looked at to begin with.
pub async fn sweep(
    context: &Context<'_>,
    region: &Region,
    lasting: &Lasting,
    deadline: Instant,
) -> Result<SweepReport, Failure> {
    let began = Instant::now();
    let part = |of: u32| began + deadline.saturating_duration_since(began) / 4 * of;
    let mut report = SweepReport { dry_run: context.dry_run, ..SweepReport::default() };
    let landscape = look::landscape(context, region).await?;
    let voices = Voices::new(context);
    let tagged = landscape.environments().cloned().gather();
    let found = ask::environments(context, region, tagged, &voices, part(1), &mut report).await;
    let environments: BTreeSet<String> = found.all.iter().map(Environment::arn).gather();
    let is_asked = |it: &Environment| !found.silent.contains(&it.account);
    let is_new = |it: &Environment| !landscape.has_anything_of(it);
    let mut turns = Turns::new(found.all.iter().cloned(), is_asked, is_new, context.now);

    let one = One {
        context,
        landscape: &landscape,
        voices: &voices,
        silent: &found.silent,
        deadline,
        busy: &Busy::default(),
    };
    let mut served = Vec::new();
    // What MWAA says of others tells which accounts' queues are its own, so whoever cannot be asked
    // about comes after those who can.
    let most_of_it = if turns.has_unasked() { part(3) } else { deadline };
    one.all(&mut served, most_of_it, || turns.next(Instant::now() < part(2))).await;
    one.all(&mut served, deadline, || turns.next_unasked()).await;
    one.all(&mut served, deadline, || turns.next(false)).await;

    report.stopped_before = turns.left().next().map(Environment::arn);
    report.reached = served.iter().filter(|turn| turn.is_reached()).count();
    (report.looked_at, report.not_reached) = (report.reached, environments.len() - report.reached);
    let mut vpcs: BTreeSet<VpcId> = landscape.own_vpcs().cloned().gather();
    let mut reached = BTreeSet::new();
    let mut unseen = Vec::new();
    for Turn { environment, came } in served {
        let arn = environment.arn();
        match came {
            Came::Late => {
                report.stopped_before.get_or_insert(arn);
                continue;
            }
            Came::Failed(failure) => {
                report.failures.push(format!("{arn}: {failure}"));
                unseen.push((arn.clone(), None));
            }
            Came::Done(done) => {
                vpcs.extend(done.vpc.as_deref().and_then(|vpc| VpcId::parse(vpc).ok()));
                let since = done.facts.pending_since;
                report.waiting.extend(since.map(|since| (arn.clone(), since)));
                unseen.extend(done.facts.unseen.iter().map(|check| (arn.clone(), *check)));
                let is_right = done.resources.iter().all(|it| it.outcome == Change::Kept);
                if !is_right || !done.warnings.is_empty() {
                    report.environments.push(*done);
                }
            }
        }
        reached.insert(arn);
    }
    // False comes before true.
    let is_fine = |report: &Report| report.outcome != Outcome::Failed;
    report
        .environments
        .sort_unstable_by(|a, b| (is_fine(a), &a.environment).cmp(&(is_fine(b), &b.environment)));
    report.failures.sort_unstable();
    report.outcome = outcome(&report);
    health::health(context, region, &landscape, &vpcs, &mut report);
    let was_seen = |of: &str, text: &str| {
        let is_hidden = |(arn, check): &(String, Option<&str>)| {
            let id = text.strip_suffix(')').and_then(|text| text.rsplit(" (").next());
            let is_cause = text.starts_with(CAUSE) && (check.is_none() || *check == id);
            arn == of && (is_cause || check.is_none() && text.contains(WAITS))
        };
        let was_reached = reached.contains(of) || !environments.contains(of);
        was_reached && !unseen.iter().any(is_hidden)
    };
    tell(&mut report, lasting, was_seen, context);
    Ok(report)
}

/// What came of a sweep. What failed for one environment does not hide what was changed for others.
fn outcome(report: &SweepReport) -> Outcome {
    let is = |outcome| report.environments.iter().any(|it| it.outcome == outcome);
    if is(Outcome::Changed) || report.environments.iter().any(changed_something) {
        Outcome::Changed
    } else if is(Outcome::Failed) || !report.failures.is_empty() {
        Outcome::Failed
    } else {
        Outcome::Unchanged
    }
}

/// Notes what of a report is news.
fn tell(
    report: &mut SweepReport,
    lasting: &Lasting,
    was_seen: impl Fn(&str, &str) -> bool,
    context: &Context<'_>,
) {
    // What is told of whom, and under which name it stands in the report.
    let mut problems: Vec<(Problem, String, String)> = Vec::new();
    for done in &report.environments {
        let arn = &done.environment;
        let bad = done
            .resources
            .iter()
            .filter(|line| matches!(line.outcome, Change::Failed | Change::Blocked));
        let texts = bad.map(|line| &line.detail);
        for text in texts.chain(done.warnings.iter().map(|warning| &warning.message)) {
            problems.push((Problem::new(arn, text), text.clone(), arn.clone()));
        }
        if done.outcome == Outcome::Changed || changed_something(done) {
            report.news.insert(arn.clone());
        }
    }
    for failure in &report.failures {
        let arn = failure.split(": ").next().unwrap_or_default();
        problems.push((Problem::new(arn, failure), failure.clone(), failure.clone()));
    }
    for Warning { message, .. } in &report.warnings {
        problems.push((Problem::new("", message), message.clone(), message.clone()));
    }
    // A person who asks what would be done is told all, and is not the one who reads the log.
    if context.dry_run {
        report.news.extend(problems.into_iter().map(|(_, _, name)| name));
        return;
    }
    let found = problems.iter().map(|(problem, text, _)| (problem.clone(), text.clone())).gather();
    let news = lasting.hear(found, was_seen, context.now);
    for (problem, _, name) in problems {
        if news.new.contains(&problem) {
            report.news.insert(name);
        } else {
            report.lasting += 1;
        }
    }
    report.ended = news
        .ended
        .into_iter()
        .map(|(of, text)| match of.as_str() {
            "" => text,
            of if text.starts_with(of) => text,
            of => format!("{of}: {text}"),
        })
        .collect();
}

/// Whether more was changed than what the tags remember of trying.
fn changed_something(report: &Report) -> bool {
    let changed = |it: Change| matches!(it, Change::Created | Change::Updated | Change::Deleted);
    !report.dry_run && lines(report).any(|line| changed(line.outcome))
}

/// All but the tags.
fn lines(report: &Report) -> impl Iterator<Item = &Resource> {
    report.resources.iter().filter(|line| line.kind != Kind::Tags)
}

struct Turn {
    environment: Environment,
    came: Came,
}

impl Turn {
    fn is_reached(&self) -> bool {
        !matches!(self.came, Came::Late)
    }
}

/// What came of a turn.
enum Came {
    /// This.
    Done(Box<Report>),
    /// It could not be looked or decided.
    Failed(Failure),
    /// Nothing: when others had done with its VPC, it was too late to begin.
    Late,
}

/// What serving environments needs.
#[derive(Clone, Copy)]
struct One<'a> {
    context: &'a Context<'a>,
    landscape: &'a Landscape,
    voices: &'a Voices<'a>,
    /// The accounts of which it is told already that they cannot be asked.
    silent: &'a BTreeSet<AccountId>,
    deadline: Instant,
    busy: &'a Busy,
}

/// The VPCs in which something is being written: one environment at a time, so that the next one's
/// decision rests on what this one's left behind.
#[derive(Default)]
struct Busy(Mutex<BTreeMap<VpcId, Arc<tokio::sync::Mutex<()>>>>);

impl Busy {
    /// Waits until nobody else writes in `vpcs`. All who wait for several do so in the same order.
    async fn alone_in(&self, vpcs: &BTreeSet<VpcId>) -> Vec<OwnedMutexGuard<()>> {
        let mut alone = Vec::new();
        for vpc in vpcs {
            let vpc = {
                let mut busy = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                busy.entry(vpc.clone()).or_default().clone()
            };
            alone.push(vpc.lock_owned().await);
        }
        alone
    }
}

impl One<'_> {
    /// Serves the `next` environments, several at once, until there is none or time is over. One has
    /// its turn in any case, so that slow sweeps get on.
    async fn all(
        &self,
        served: &mut Vec<Turn>,
        until: Instant,
        mut next: impl FnMut() -> Option<Environment>,
    ) {
        let mut is_first = served.is_empty();
        let next = std::iter::from_fn(|| {
            let in_time = std::mem::take(&mut is_first) || Instant::now() < until;
            in_time.then(&mut next).flatten()
        });
        let turns = stream::iter(next).map(|environment| async move {
            let came = match self.serve(&environment).await {
                Ok(came) => came,
                Err(failure) => Came::Failed(failure),
            };
            Turn { environment, came }
        });
        served.extend(turns.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await);
    }

    /// That nothing of an environment is taken away, since MWAA does not say anything of it.
    fn unanswered(&self, environment: &Environment, says: &MwaaSays) -> Option<Warning> {
        let (MwaaSays::MayNotAsk(failure) | MwaaSays::NoReply(failure)) = says else { return None };
        if self.silent.contains(&environment.account) {
            return None;
        }
        let mut warning = Warning::of(failure);
        warning.message =
            format!("nothing of {} is taken away: {}", environment.arn(), warning.message);
        Some(warning)
    }

    /// Does for an environment what the event would have asked for that did not come.
    async fn serve(&self, environment: &Environment) -> Result<Came, Failure> {
        let One { context, landscape, voices, .. } = *self;
        let untold = EnvironmentSpec::from_tags(environment.clone());
        let says = voices.about(context, environment).await;
        let unanswered = self.unanswered(environment, &says);
        let answer = match &says {
            MwaaSays::Says(answer) => Some(answer.clone()),
            _ => None,
        };
        // What an environment that waits lacks was never right, and what is over is taken away.
        let is_in_use = match &says {
            MwaaSays::Says(answer) => !answer.status.is_over() && answer.status != Status::Pending,
            MwaaSays::NotFound => false,
            MwaaSays::MayNotAsk(_) | MwaaSays::NoReply(_) => true,
        };
        let mut first = landscape.of(context, environment, &says);
        let mut done = match reconcile::decide(context, &untold, &says, &first, voices).await? {
            Decided::Report(report) => *report,
            Decided::Work(work) if !work.plan.acts() => {
                reconcile::carry_out(context, &work, voices).await
            }
            Decided::Work(work) => {
                let mut vpcs = first.observed.own_vpcs(environment);
                vpcs.extend(work.vpc);
                let waited_from = Instant::now();
                let _alone = self.busy.alone_in(&vpcs).await;
                // Whoever waited for others begins only in time, as if it was its turn now.
                if waited_from < self.deadline && Instant::now() >= self.deadline {
                    return Ok(Came::Late);
                }
                if !context.dry_run {
                    first = landscape.again(context, environment, &vpcs, first).await?;
                }
                reconcile::work(context, &untold, says, first, voices).await?
            }
        };
        if is_in_use && !done.dry_run && landscape.has_anything_of(environment) {
            let put_right =
                |line: &&Resource| matches!(line.outcome, Change::Created | Change::Updated);
            done.facts.repaired = lines(&done).filter(put_right).count();
        }
        done.warnings.extend(unanswered);
        if let Some(answer) = answer.filter(|answer| answer.status == Status::Pending) {
            // Elsewhere it is somebody else's.
            if done.vpc.is_some() {
                done.facts.pending_since = answer.pending_since();
                // What it may be waiting for comes after it.
                done.warnings.splice(0..0, waiting(&answer, context.now));
            }
            done.warnings.extend(answer.subnets.is_empty().then(|| Warning {
                message:
                    "MWAA waits for its endpoints, and does not say in which subnets".to_owned(),
                remedy: None,
            }));
        }
        Ok(Came::Done(Box::new(done)))
    }
}

/// How long an environment has been waiting at most, if it is.
pub fn waited(answer: &EnvironmentSpec, now: DateTime<Utc>) -> Option<TimeDelta> {
    Some(now.signed_duration_since(answer.pending_since()?))
}

/// What only MWAA's word says.
const WAITS: &str = " is PENDING, for at most ";

/// How long an environment has been waiting, and how long MWAA still waits.
fn waiting(answer: &EnvironmentSpec, now: DateTime<Utc>) -> Option<Warning> {
    let waited = waited(answer, now)?;
    let left = PATIENCE - waited;
    Some(Warning::new(
        format!(
            "{}{WAITS}{} h now; MWAA gives up after 72 h, in {} h at the earliest",
            answer.environment.name(),
            waited.num_hours(),
            left.num_hours().max(0)
        ),
        "see that both endpoints are available and that their security groups admit the environment",
    ))
}
