//! Look and ask, judge, decide, then describe or do: the one way through which every piece of work on
//! an environment goes.

pub mod ask;
mod diagnose;
pub mod look;

use std::time::Instant;

use chrono::{DateTime, Utc};

use crate::aws::Ec2;
use crate::environment::{AccountId, VpcId};
use crate::event::EnvironmentSpec;
use crate::plan::decide::{self, Neighbours};
use crate::plan::execute::Means;
use crate::plan::proof::{Clear, Course, MwaaSays, Serve, Stale, There, judge};
use crate::plan::{Chain, Gate, Phase, Plan, Told};
use crate::report::{Change, Facts, Failure, Outcome, Report, Tense, Warning};
use crate::settings::Settings;
use crate::vpc::Vpc;
use ask::{Asking, Voices, Voucher};
pub(crate) use diagnose::CAUSE;
use look::{Admitted, First};

/// What work on an environment needs beside the environment.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// EC2.
    pub ec2: &'a Ec2,
    /// The template's parameters.
    pub settings: &'a Settings,
    /// The account that the function runs in, if it is known.
    pub own: Option<&'a AccountId>,
    /// MWAA, if it can be asked at all.
    pub mwaa: Option<Asking<'a>>,
    /// Whether only the plan is asked for.
    pub dry_run: bool,
    /// When this work began, to the second: events tell no more.
    pub now: DateTime<Utc>,
    /// When nothing is waited for any more.
    pub until: Instant,
}

/// Sees to it that all is right for the environment of which a `hint` is given, and tells what was
/// done.
///
/// # Errors
///
/// A [`Failure`] if it could not even be looked or decided. A failed action is in the report, so
/// that what else was done is told too.
pub async fn environment(context: &Context<'_>, hint: &EnvironmentSpec) -> Result<Report, Failure> {
    if let Some(reason) = context.own.and_then(|own| look::refusal(context.settings, own, hint)) {
        return Ok(nothing(hint, Outcome::Refused, reason));
    }
    let voices = Voices::new(context);
    let (first, says) =
        tokio::join!(look::first(context, hint), voices.about(context, &hint.environment));
    voices.know(hint);
    work(context, hint, says, first?, &voices).await
}

/// What would be done for an environment, for a person.
#[derive(Debug)]
pub struct Preview {
    /// What the function would answer to a dry run.
    pub report: Report,
    /// What it would do, unless nothing is to be done for the reason in the report.
    pub plan: Option<Plan>,
    /// Whether it would only tell what is wrong, since the environment's creation failed.
    pub only_tells: bool,
}

/// Why it cannot be said what would be done.
#[derive(Debug)]
pub enum NoPreview {
    /// The VPC belongs to another account than the credentials that it was looked at with, and so do
    /// its endpoints.
    OfAnotherAccount(Vpc),
    /// It could not be looked.
    Failed(Failure),
}

/// Says what would be done for the environment of which a `hint` is given, and of which MWAA `says`
/// this, by the way that [`environment`] goes. Nothing is changed.
///
/// # Errors
///
/// [`NoPreview`], if it could not be looked at what the decision needs.
pub async fn preview(
    context: &Context<'_>,
    hint: &EnvironmentSpec,
    says: MwaaSays,
) -> Result<Preview, NoPreview> {
    let context = &Context { dry_run: true, ..*context };
    let refusal = context.own.and_then(|own| look::refusal(context.settings, own, hint));
    if let Some(reason) = refusal {
        let report = nothing(hint, Outcome::Refused, reason);
        return Ok(Preview { report, plan: None, only_tells: false });
    }
    let voices = Voices::new(context);
    voices.know(hint);
    voices.hear(&hint.environment, says);
    let says = voices.about(context, &hint.environment).await;
    let first = look::first(context, hint).await.map_err(NoPreview::Failed)?;
    if let Some(vpc) = first.vpc()
        && context.own.is_some_and(|own| *own != vpc.owner)
    {
        return Err(NoPreview::OfAnotherAccount(vpc.clone()));
    }
    let decided = decide(context, hint, &says, &first, &voices).await.map_err(NoPreview::Failed)?;
    let mut work = match decided {
        Decided::Report(report) => {
            return Ok(Preview { report: *report, plan: None, only_tells: false });
        }
        Decided::Work(work) => work,
    };
    let corrections = Chain::each(voices.corrections());
    if !corrections.is_empty() {
        work.plan.phases.push(Phase::new(Gate::Always, corrections));
    }
    let report = carry_out(context, &work, &voices).await;
    let only_tells = work.purpose == Purpose::Diagnose;
    Ok(Preview { report, plan: Some(work.plan), only_tells })
}

/// How often work begins anew because MWAA says something else than before the look.
const QUESTIONS: usize = 3;

/// Decides and does what is to be done for an environment of which MWAA `says` this, and of which this
/// was seen.
///
/// # Errors
///
/// A [`Failure`] if it could not be decided.
pub async fn work(
    context: &Context<'_>,
    hint: &EnvironmentSpec,
    mut says: MwaaSays,
    mut first: First,
    voices: &Voices<'_>,
) -> Result<Report, Failure> {
    for _ in 0..QUESTIONS {
        let work = match decide(context, hint, &says, &first, voices).await? {
            Decided::Report(report) => return Ok(*report),
            Decided::Work(work) => work,
        };
        // What MWAA said before the look may be no longer so. Where it may not be asked, or does not
        // reply, asking again would change nothing.
        let by_mwaa = matches!(says, MwaaSays::Says(_) | MwaaSays::NotFound);
        if by_mwaa && work.plan.takes_away() {
            let again = ask::about(context, &hint.environment).await;
            if again != says {
                says = again;
                // An event has a next delivery that takes away what still may go; a sweep has a next
                // sweep.
                first.only_adds = hint.is_untold();
                continue;
            }
        }
        return Ok(carry_out(context, &work, voices).await);
    }
    Err(Failure::new(
        format!("taking away what {} no longer needs", hint.environment.arn()),
        "MWAA says something else each time that it is asked",
        "the next delivery or sweep asks again",
    ))
}

/// What was decided for an environment.
pub struct Work {
    spec: EnvironmentSpec,
    purpose: Purpose,
    /// What is to be done.
    pub plan: Plan,
    /// Where, if that is known.
    pub vpc: Option<VpcId>,
}

/// What a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// It is carried out, unless this is a dry run.
    Do,
    /// It only tells what is wrong with an environment whose creation failed.
    Diagnose,
}

/// What came of judging and looking.
pub enum Decided {
    /// Nothing is to be done, for a reason.
    Report(Box<Report>),
    /// This is.
    Work(Box<Work>),
}

/// Decides what is to be done for an environment of which MWAA `says` this, and of which this was seen.
///
/// # Errors
///
/// A [`Failure`] if it could not be looked at what the decision needs beside that.
pub async fn decide(
    context: &Context<'_>,
    hint: &EnvironmentSpec,
    says: &MwaaSays,
    first: &First,
    voices: &Voices<'_>,
) -> Result<Decided, Failure> {
    let there = There::of(&hint.environment, &first.observed);
    let (course, purpose) = match judge(hint, says, there, context.now) {
        Course::Nothing(reason) => return Ok(ignored(hint, reason)),
        Course::Clear(_) if first.only_adds => {
            return Ok(ignored(hint, "MWAA says something else than a moment ago"));
        }
        Course::Clear(course) => return clear(context, &course, first).await,
        Course::Serve(course) => (course, Purpose::Do),
        Course::Diagnose(course) => (course, Purpose::Diagnose),
    };
    serve(context, hint, *course, purpose, first, voices).await
}

fn ignored(spec: &EnvironmentSpec, reason: impl Into<String>) -> Decided {
    Decided::Report(Box::new(nothing(spec, Outcome::Ignored, reason)))
}

async fn serve(
    context: &Context<'_>,
    hint: &EnvironmentSpec,
    mut course: Serve,
    purpose: Purpose,
    first: &First,
    voices: &Voices<'_>,
) -> Result<Decided, Failure> {
    let spec = &course.spec;
    if spec.customer_managed.is_none()
        && !course.is_waiting
        && !first.observed.owns_anything(&spec.environment)
    {
        return Ok(ignored(
            spec,
            "it does not say that its endpoints are the customer's, and nothing here is its",
        ));
    }
    let place = first.place_of(context, spec).await?;
    let vpc = match look::admitted(context, spec, place) {
        Ok(Admitted::To(vpc)) => vpc,
        Ok(Admitted::Not(report)) => return Ok(Decided::Report(report)),
        Err(failure) if course.is_waiting && !hint.is_untold() => return Err(failure),
        // That the function is in the wrong account was said when the environment waited.
        Err(failure) => return Ok(ignored(spec, failure.to_string())),
    };
    let observed = look::around(context, spec, course.is_waiting, &vpc, first).await?;
    if first.only_adds || first.has_unseen() {
        course.stale = Stale::None;
    }
    let neighbours = if observed.is_whole {
        let organization = context.settings.organization.as_deref();
        let voucher = Voucher::new(voices, &course.spec);
        voucher.neighbours_in(&vpc.id, &observed, organization).await
    } else {
        Neighbours::default()
    };
    let plan = decide::serve(&course, &vpc, &observed, neighbours, context.settings, context.now);
    Ok(Decided::Work(Box::new(Work { spec: course.spec, purpose, plan, vpc: Some(vpc.id) })))
}

async fn clear(context: &Context<'_>, course: &Clear, first: &First) -> Result<Decided, Failure> {
    let spec = &course.spec;
    let vpc = match first.place_of(context, spec).await {
        // What AWS did not answer is asked again; the subnets of an environment that is gone may be
        // gone too.
        Err(failure) if failure.error.is_some() => return Err(failure),
        Err(_) => None,
        Ok(place) => match look::admitted(context, spec, place) {
            Ok(Admitted::To(vpc)) => Some(vpc),
            _ => None,
        },
    };
    let mut observed = look::whole(context, spec, vpc.as_ref().map(|vpc| &vpc.id), first).await?;
    // Where the function does not know its account, the VPC's owner is it; and nobody without a VPC.
    let owner = context.own.or(vpc.as_ref().map(|vpc| &vpc.owner));
    observed.groups.retain(|group| owner == Some(&group.owner));
    first.spare(&mut observed);
    let vpc = vpc.map(|vpc| vpc.id);
    let plan = decide::clear(course, vpc.as_ref(), &observed, context.settings, context.now);
    if plan.is_empty() {
        let report = nothing(
            spec,
            Outcome::Unchanged,
            "nothing is left that was made for it, or what there is was used again after this event",
        );
        return Ok(Decided::Report(Box::new(report)));
    }
    Ok(Decided::Work(Box::new(Work { spec: spec.clone(), purpose: Purpose::Do, plan, vpc })))
}

/// Describes what was decided, or does it.
pub async fn carry_out(context: &Context<'_>, work: &Work, voices: &Voices<'_>) -> Report {
    let Work { spec, purpose, plan, vpc } = work;
    let looked_only = context.dry_run || *purpose == Purpose::Diagnose;
    let mut told = if looked_only {
        plan.describe()
    } else {
        let vouch = &Voucher::new(voices, spec);
        let means = Means { ec2: context.ec2, vouch, until: context.until };
        plan.execute(means).await
    };
    let mut found = diagnose::Found::default();
    if let Some(vpc) = vpc {
        found = diagnose::causes(context, spec, vpc, &told).await;
        told.warnings.append(&mut found.warnings);
    }
    // Tags that MWAA's answers have shown to be wrong.
    for step in voices.corrections() {
        if looked_only {
            told.resources.extend(step.lines(Tense::Would));
            continue;
        }
        match step.correct(context.ec2).await {
            Ok(lines) => told.resources.extend(lines),
            // The neighbour's own delivery, or the sweep, puts it right.
            Err(failure) => told.warnings.push(Warning::of(&failure)),
        }
    }
    let mut report = report(spec, vpc.as_ref(), told, looked_only);
    (report.facts.causes, report.facts.unseen) = (found.causes, found.unseen);
    report
}

pub(crate) fn nothing(
    spec: &EnvironmentSpec,
    outcome: Outcome,
    reason: impl Into<String>,
) -> Report {
    Report::nothing(spec.environment.arn(), spec.status.to_string(), outcome, reason)
}

fn report(spec: &EnvironmentSpec, vpc: Option<&VpcId>, told: Told, looked_only: bool) -> Report {
    let any =
        |changes: &[Change]| told.resources.iter().any(|line| changes.contains(&line.outcome));
    let outcome = if any(&[Change::Failed]) && !looked_only {
        Outcome::Failed
    } else if any(&[Change::Created, Change::Updated, Change::Deleted]) && !looked_only {
        Outcome::Changed
    } else {
        Outcome::Unchanged
    };
    Report {
        environment: spec.environment.arn(),
        status: spec.status.to_string(),
        vpc: vpc.map(VpcId::to_string),
        outcome,
        dry_run: looked_only,
        reason: None,
        summary: None,
        resources: told.resources,
        warnings: told.warnings,
        note: None,
        version: None,
        facts: Facts { pending_since: spec.pending_since(), ..Facts::default() },
    }
}
