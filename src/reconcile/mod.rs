//! Look and ask, judge, decide, then describe or do: the one way through which every piece of work on
//! an environment goes.

pub mod ask;
pub mod look;

use std::time::Instant;

use chrono::{DateTime, Utc};

use crate::aws::Ec2;
use crate::environment::{AccountId, VpcId};
use crate::event::EnvironmentSpec;
use crate::plan::decide::{self, Neighbours};
use crate::plan::execute::Means;
use crate::plan::proof::{Clear, Course, MwaaSays, Serve, There, judge};
use crate::plan::{Plan, Step, Told};
use crate::report::{Change, Failure, Kind, Outcome, Report, Resource, Tense, Warning};
use crate::settings::Settings;
use crate::vpc::{Observed, Vpc};
use ask::{Asking, Voices, Voucher};
use look::Admitted;

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
    let (first, mut says) =
        tokio::join!(look::first(context, hint), ask::about(context, &hint.environment));
    let first = first?;
    let environment = &hint.environment;
    let voices = Voices::of_one(context, hint, &says);
    for _ in 0..QUESTIONS {
        let there = There::of(environment, &first.observed);
        let course = judge(hint, &says, there, context.now);
        let purpose = match course {
            Course::Diagnose(_) => Purpose::Diagnose,
            _ => Purpose::Do,
        };
        let work = match course {
            Course::Nothing(reason) => return Ok(nothing(hint, Outcome::Ignored, reason)),
            Course::Clear(course) => clear(context, hint, &course, &first).await?,
            Course::Serve(course) | Course::Diagnose(course) => {
                match serve(context, &course, &first, &voices).await? {
                    Decided::Report(report) => return Ok(*report),
                    Decided::Plan(plan, vpc) => Work::new(course.spec, purpose, plan, vpc),
                }
            }
        };
        // What MWAA said before the look may be no longer so. Where it may not be asked, or does not
        // reply, asking again would change nothing.
        let by_mwaa = matches!(says, MwaaSays::Says(_) | MwaaSays::NotFound);
        if by_mwaa && work.plan.takes_away() {
            let again = ask::about(context, environment).await;
            if again != says {
                says = again;
                continue;
            }
        }
        return finish(context, work, &voices).await;
    }
    Err(Failure::new(
        format!("taking away what {} no longer needs", environment.arn()),
        "MWAA says something else each time that it is asked",
        "the next delivery or sweep asks again",
    ))
}

/// How often work begins anew because MWAA says something else than before the look.
const QUESTIONS: usize = 3;

/// What a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It is carried out, unless this is a dry run.
    Do,
    /// It only tells what is wrong with an environment whose creation failed.
    Diagnose,
}

/// What was decided for an environment.
struct Work {
    spec: EnvironmentSpec,
    purpose: Purpose,
    plan: Plan,
    vpc: Option<VpcId>,
    /// Whether it is gone.
    is_gone: bool,
    /// Why nothing is taken away, if nothing is: it is not proven that it is gone.
    unproven: Option<String>,
}

impl Work {
    fn new(spec: EnvironmentSpec, purpose: Purpose, plan: Plan, vpc: VpcId) -> Self {
        Self { spec, purpose, plan, vpc: Some(vpc), is_gone: false, unproven: None }
    }
}

/// What came of looking where an environment is to be served.
pub enum Decided {
    /// It is not, for a reason.
    Report(Box<Report>),
    /// This is to be done, in this VPC.
    Plan(Plan, VpcId),
}

async fn serve(
    context: &Context<'_>,
    course: &Serve,
    first: &look::First,
    voices: &Voices<'_>,
) -> Result<Decided, Failure> {
    let spec = &course.spec;
    let ignored =
        |reason: String| Ok(Decided::Report(Box::new(nothing(spec, Outcome::Ignored, reason))));
    if spec.customer_managed.is_none()
        && !course.is_waiting
        && !first.observed.owns_anything(&spec.environment)
    {
        return ignored(
            "it does not say that its endpoints are the customer's, and nothing here is its"
                .to_owned(),
        );
    }
    let place = first.place_of(context, spec).await?;
    let vpc = match look::admitted(context, spec, place) {
        Ok(Admitted::To(vpc)) => vpc,
        Ok(Admitted::Not(report)) => return Ok(Decided::Report(report)),
        Err(failure) if course.is_waiting => return Err(failure),
        // That the function is in the wrong account was said when the environment waited.
        Err(failure) => return ignored(failure.to_string()),
    };
    let observed = look::around(context, spec, course.is_waiting, &vpc, first).await?;
    Ok(Decided::Plan(decide_serve(context, course, &vpc, &observed, voices).await, vpc.id))
}

/// Decides what must be done in `vpc`; asks MWAA of those neighbours whose queues are missing.
pub async fn decide_serve(
    context: &Context<'_>,
    course: &Serve,
    vpc: &Vpc,
    observed: &Observed,
    voices: &Voices<'_>,
) -> Plan {
    let neighbours = if observed.is_whole {
        let organization = context.settings.organization.as_deref();
        let voucher = Voucher::new(voices, &course.spec);
        voucher.neighbours_in(&vpc.id, observed, organization).await
    } else {
        Neighbours::default()
    };
    decide::serve(course, vpc, observed, neighbours, context.settings, context.now)
}

async fn clear(
    context: &Context<'_>,
    hint: &EnvironmentSpec,
    course: &Clear,
    first: &look::First,
) -> Result<Work, Failure> {
    let vpc = match first.place_of(context, hint).await {
        // What AWS did not answer is asked again; the subnets of an environment that is gone may be
        // gone too.
        Err(failure) if failure.error.is_some() => return Err(failure),
        Err(_) => None,
        Ok(place) => match look::admitted(context, hint, place) {
            Ok(Admitted::To(vpc)) => Some(vpc),
            _ => None,
        },
    };
    let mut observed = look::whole(context, hint, vpc.as_ref().map(|vpc| &vpc.id), first).await?;
    // Where the function does not know its account, the VPC's owner is it; and nobody without a VPC.
    let owner = context.own.or(vpc.as_ref().map(|vpc| &vpc.owner));
    observed.groups.retain(|group| owner == Some(&group.owner));
    let vpc = vpc.map(|vpc| vpc.id);
    let plan = decide::clear(course, vpc.as_ref(), &observed, context.settings, context.now);
    Ok(Work {
        spec: hint.clone(),
        purpose: Purpose::Do,
        plan,
        vpc,
        is_gone: true,
        unproven: course.unproven.clone(),
    })
}

const NOTHING_LEFT: &str =
    "nothing is left that was made for it, or what there is was used again after this event";

/// Describes what was decided, or does it.
async fn finish(context: &Context<'_>, work: Work, voices: &Voices<'_>) -> Result<Report, Failure> {
    let Work { spec, purpose, plan, vpc, is_gone, unproven } = &work;
    if let Some(why) = unproven.as_ref().filter(|_| plan.takes_away()) {
        let failure = Failure::new(
            format!("taking away what was made for {}", spec.environment.arn()),
            why.as_str(),
            "the next delivery asks again",
        );
        let line = Resource::new(Kind::Endpoint, Change::Failed, "").failed(failure);
        let told = Told { resources: vec![line], warnings: Vec::new() };
        return Ok(report(spec, vpc.as_ref(), told, context.dry_run));
    }
    if *is_gone && (plan.is_empty() || unproven.is_some()) {
        return Ok(nothing(spec, Outcome::Unchanged, NOTHING_LEFT));
    }
    Ok(carry_out(context, spec, *purpose, vpc.as_ref(), plan, voices).await)
}

/// Describes a plan, or carries it out.
pub async fn carry_out(
    context: &Context<'_>,
    spec: &EnvironmentSpec,
    purpose: Purpose,
    vpc: Option<&VpcId>,
    plan: &Plan,
    voices: &Voices<'_>,
) -> Report {
    let looked_only = context.dry_run || purpose == Purpose::Diagnose;
    let mut told = if looked_only {
        plan.describe()
    } else {
        let vouch = &Voucher::new(voices, spec);
        let means = Means { ec2: context.ec2, vouch, until: context.until };
        plan.execute(means).await
    };
    if purpose == Purpose::Diagnose {
        told.warnings.extend(diagnosis(plan, &told));
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
            Err(failure) => {
                told.warnings.push(Warning { message: failure.to_string(), remedy: None })
            }
        }
    }
    report(spec, vpc, told, looked_only)
}

/// What is wrong with the endpoints of an environment whose creation failed, as they stand.
fn diagnosis(plan: &Plan, told: &Told) -> Vec<Warning> {
    let lacking = told
        .resources
        .iter()
        .filter(|resource| resource.outcome != Change::Kept && resource.kind != Kind::Tags)
        .map(|resource| resource.detail.clone());
    let steps = plan.phases.iter().flat_map(|phase| &phase.chains).flat_map(|chain| &chain.then);
    let unavailable = steps.filter_map(|step| match step {
        Step::Endpoint(step) => step.not_available(),
        _ => None,
    });
    lacking
        .chain(unavailable)
        .map(|finding| Warning {
            message: format!("a possible cause of CREATE_FAILED: {finding}"),
            remedy: Some("put it right before the environment is created again".to_owned()),
        })
        .collect()
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
        resources: told.resources,
        warnings: told.warnings,
    }
}
