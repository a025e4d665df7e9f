//! The sweep: what events did not bring. It looks at EC2 first and asks MWAA second, so that what is
//! made in between is safe: only what that look saw is ever taken away.

mod ask;
mod health;
mod look;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::environment::{Environment, Region, VpcId};
use crate::event::{EnvironmentSpec, Origin, Status};
use crate::plan::decide;
use crate::plan::proof::{Clear, Course, MwaaSays, Serve, Stale, There, judge_untold};
use crate::reconcile::ask::Voices;
use crate::reconcile::look::{Admitted, Place, admitted, locate, subnets_of};
use crate::reconcile::{Context, Purpose, carry_out, decide_serve, nothing};
use crate::report::{Change, Failure, Outcome, Report, Warning};
use crate::vpc::Observed;
use look::{First, Landscape};

/// How many calls are under way at once.
const AT_ONCE: usize = 4;
/// How long MWAA waits for endpoints (MWAA user guide, "Managing your own Amazon VPC endpoints").
const PATIENCE: TimeDelta = TimeDelta::hours(72);

/// What a sweep found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SweepReport {
    /// The environments for which something was done, or could not be, or should be known.
    pub environments: Vec<Report>,
    /// How many environments were looked at.
    pub looked_at: usize,
    /// The VPCs in which something of ours is, or should be.
    pub vpcs: Vec<VpcHealth>,
    /// What somebody should know.
    pub warnings: Vec<Warning>,
    /// The participants' accounts that are not asked, since there is no role for it: nothing of theirs
    /// is taken away by a sweep.
    pub not_asked: BTreeSet<String>,
    /// The environments that could not be looked at, with the reason.
    pub failures: Vec<String>,
    /// The environment with which the next sweep goes on, if time ran out before the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped_before: Option<String>,
    /// Whether this is only what would be done.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
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

impl SweepReport {
    /// Whether anything failed, so that the invocation should fail too.
    pub fn has_failed(&self) -> bool {
        !self.failures.is_empty()
            || self.environments.iter().any(|report| report.outcome == Outcome::Failed)
    }
}

/// Where the last sweep stopped. It outlives an invocation as long as the process does; a new process
/// begins at the beginning.
#[derive(Debug, Default)]
pub struct Cursor(Mutex<Option<String>>);

impl Cursor {
    fn take(&self) -> Option<String> {
        self.0.lock().ok()?.take()
    }

    fn set(&self, environment: &str) {
        if let Ok(mut place) = self.0.lock() {
            *place = Some(environment.to_owned());
        }
    }
}

/// Looks at everything that is ours and at every environment that can be seen, and puts right what is
/// not. Stops before `deadline`.
///
/// # Errors
///
/// If EC2 could not be looked at to begin with.
pub async fn sweep(
    context: &Context<'_>,
    region: &Region,
    cursor: &Cursor,
    deadline: Instant,
) -> Result<SweepReport, Failure> {
    let mut report = SweepReport { dry_run: context.dry_run, ..SweepReport::default() };
    let first = look::first(context).await?;
    let tagged = first.environments(region);
    let began = Instant::now();
    let answers_by = began + deadline.saturating_duration_since(began) / 2;
    let said = ask::all(context, region, &tagged, answers_by, &mut report).await;
    let voices = Voices::of_all(context.mwaa, said.clone());
    let mut landscape = look::around(context, &first, &said).await?;

    let start = if context.dry_run { None } else { cursor.take() };
    let is_before =
        |environment: &Environment| start.as_ref().is_some_and(|start| environment.arn() < *start);
    let later = said.iter().skip_while(|(environment, _)| is_before(environment));
    let order = later.chain(said.iter().take_while(|(environment, _)| is_before(environment)));
    for (environment, says) in order {
        // At least one, so that a slow sweep gets on.
        if report.looked_at > 0 && Instant::now() >= deadline {
            if !context.dry_run {
                cursor.set(&environment.arn());
            }
            report.stopped_before = Some(environment.arn());
            break;
        }
        report.looked_at += 1;
        let one = One { context, environment, says, first: &first, voices: &voices };
        match one.work(&landscape).await {
            Ok(None) => {}
            Ok(Some(mut done)) => {
                if let MwaaSays::Says(answer) = says {
                    done.warnings.extend(waiting(answer, context.now));
                }
                let changed = matches!(done.outcome, Outcome::Changed | Outcome::Failed);
                let vpc = done.vpc.as_deref().and_then(|vpc| VpcId::parse(vpc).ok());
                let is_right = done.resources.iter().all(|it| it.outcome == Change::Kept);
                if changed || !done.warnings.is_empty() || !is_right {
                    report.environments.push(done);
                }
                // The next environment's decision must rest on what this one's left behind.
                if changed
                    && !context.dry_run
                    && let Err(failure) = landscape.look_again(context.ec2, vpc.as_ref()).await
                {
                    report.failures.push(failure.to_string());
                    return Ok(report);
                }
            }
            Err(failure) => report.failures.push(format!("{}: {failure}", environment.arn())),
        }
    }
    health::health(context, region, &landscape, context.now, &mut report);
    Ok(report)
}

/// Work on one of the environments of a sweep.
struct One<'a> {
    context: &'a Context<'a>,
    environment: &'a Environment,
    says: &'a MwaaSays,
    first: &'a First,
    voices: &'a Voices<'a>,
}

impl One<'_> {
    /// Does what the event would have asked for that did not come.
    async fn work(&self, landscape: &Landscape) -> Result<Option<Report>, Failure> {
        let Self { context, environment, .. } = self;
        let observed = landscape.of(environment, self.first);
        let unknown = EnvironmentSpec::from_tags((*environment).clone());
        let there = There::of(environment, &observed);
        match judge_untold(&unknown, self.says, there, context.now) {
            Course::Nothing(_) | Course::Diagnose(_) => Ok(None),
            Course::Clear(course) => self.clear(&course, observed).await,
            Course::Serve(course) => self.serve(*course, landscape, &observed).await,
        }
    }

    async fn serve(
        &self,
        mut course: Serve,
        landscape: &Landscape,
        observed: &Observed,
    ) -> Result<Option<Report>, Failure> {
        let Self { context, environment, .. } = self;
        let subnets = subnets_of(&course.spec, observed);
        if subnets.is_empty() && course.is_waiting {
            let reason = "MWAA waits for its endpoints, and does not say in which subnets";
            let mut told = nothing(&course.spec, Outcome::Ignored, reason);
            told.warnings.push(Warning { message: reason.to_owned(), remedy: None });
            return Ok(Some(told));
        }
        let is_known_customers = course.spec.customer_managed.is_some() || course.is_waiting;
        if subnets.is_empty() || !is_known_customers && !observed.owns_anything(environment) {
            return Ok(None);
        }
        let place = locate(context.own, &course.spec, &subnets, &landscape.subnets)?;
        // An environment in somebody else's VPC is somebody else's to serve.
        if let (Place::Here(vpc), Some(own)) = (&place, context.own)
            && vpc.owner != *own
        {
            return Ok(None);
        }
        let Admitted::To(vpc) = admitted(context, &course.spec, place)? else { return Ok(None) };
        let mut observed = observed.clone();
        observed.groups.retain(|group| group.owner == vpc.owner);
        // Something newer was applied since MWAA was asked.
        if observed.remembered_time(environment) > Some(context.now) {
            course.stale = Stale::None;
        }
        let mut plan = decide_serve(context, &course, &vpc, &observed, self.voices).await;
        if plan.takes_away() && !self.is_still_so().await {
            course.stale = Stale::None;
            plan = decide_serve(context, &course, &vpc, &observed, self.voices).await;
        }
        let (spec, vpc) = (&course.spec, Some(&vpc.id));
        Ok(Some(carry_out(context, spec, Purpose::Do, vpc, &plan, self.voices).await))
    }

    /// Whether MWAA says what it said when the sweep began: that is a while ago. Where it may not be
    /// asked, or did not reply, it would not say more now.
    async fn is_still_so(&self) -> bool {
        match self.says {
            MwaaSays::Says(_) | MwaaSays::NotFound => {
                crate::reconcile::ask::ask(self.context.mwaa, self.environment).await == *self.says
            }
            MwaaSays::MayNotAsk(_) | MwaaSays::NoReply(_) => true,
        }
    }

    /// Takes away what was made for an environment that is gone.
    async fn clear(
        &self,
        course: &Clear,
        mut observed: Observed,
    ) -> Result<Option<Report>, Failure> {
        let Self { context, environment, .. } = self;
        // Where the function does not know its account, only the owners of VPCs would tell.
        observed.groups.retain(|group| context.own == Some(&group.owner));
        if !observed.groups.is_empty() {
            // An environment that was made again meanwhile may use the group again.
            let now = context.ec2.own_groups(Some(environment), context.own).await?;
            observed.groups.retain(|group| {
                now.iter().any(|it| (&it.id, &it.tags) == (&group.id, &group.tags))
            });
            // One that an endpoint carries which is being deleted cannot go yet.
            let deleting: Vec<_> =
                observed.endpoints.iter().filter(|it| it.state.is_deleting()).collect();
            observed
                .groups
                .retain(|group| !deleting.iter().any(|it| it.groups.contains(&group.id)));
        }
        let plan = decide::clear(course, None, &observed, context.settings, context.now);
        if plan.is_empty() {
            let reason = "nothing is left that was made for it";
            return Ok(Some(nothing(&course.spec, Outcome::Unchanged, reason)));
        }
        if plan.takes_away() && !self.is_still_so().await {
            return Ok(None);
        }
        let spec = &course.spec;
        Ok(Some(carry_out(context, spec, Purpose::Do, None, &plan, self.voices).await))
    }
}

/// How long an environment has been waiting, and how long MWAA still waits.
fn waiting(answer: &EnvironmentSpec, now: DateTime<Utc>) -> Option<Warning> {
    let Origin::Mwaa { created, updated } = answer.origin else { return None };
    if answer.status != Status::Pending {
        return None;
    }
    let waited = now.signed_duration_since(updated.max(created)?);
    let left = PATIENCE - waited;
    Some(Warning::new(
        format!(
            "{} is PENDING, for at most {} h now; MWAA gives up after 72 h, in {} h at the earliest",
            answer.environment.name(),
            waited.num_hours(),
            left.num_hours().max(0)
        ),
        "see that both endpoints are available and that their security groups admit the environment",
    ))
}
