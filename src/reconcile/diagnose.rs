//! What may keep an environment from coming to be: the doctor's checks that fail, as warnings.

use chrono::TimeDelta;

use super::Context;
use crate::aws::ec2_network::{Named, Scope};
use crate::doctor::{self, Subject, Verdict};
use crate::environment::VpcId;
use crate::event::{EnvironmentSpec, Status};
use crate::plan::Told;
use crate::report::{Change, Kind, Resource, Warning, shortened};

/// How long an environment may wait before it is asked what it waits for. With its endpoints it takes 20
/// to 30 minutes to become available (MWAA user guide, "Create an Amazon MWAA environment").
const SLOW: TimeDelta = TimeDelta::hours(1);

/// The status says it, and how long it is left is told elsewhere.
const CLOCK: &str = "ours.clock";

/// What was found to be a possible cause.
#[derive(Default)]
pub(super) struct Found {
    /// Each shortened.
    pub(super) causes: Vec<String>,
    /// The same, with what helps.
    pub(super) warnings: Vec<Warning>,
    /// The checks that may hide another: what they need was not seen.
    pub(super) unseen: Vec<&'static str>,
}

/// What may be the cause of an environment's failure, or of its waiting for too long. Nothing if
/// something was put right only now, or an endpoint could not be: then that is what it waits for, as
/// far as anybody knows.
pub(super) async fn causes(
    context: &Context<'_>,
    spec: &EnvironmentSpec,
    vpc: &VpcId,
    told: &Told,
) -> Found {
    let mut found = Found::default();
    let waited = spec.pending_since().map(|since| context.now.signed_duration_since(since));
    let of = match (&spec.status, waited) {
        (Status::CreateFailed, _) => "CREATE_FAILED",
        (Status::Pending, Some(waited)) if waited >= SLOW => "its waiting",
        _ => return found,
    };
    // MWAA does not wait for a policy that others keep from being written.
    let is_cause = |line: &Resource| match line.outcome {
        Change::Created | Change::Updated => line.kind != Kind::Tags,
        Change::Failed => matches!(line.kind, Kind::Endpoint | Kind::SecurityGroup),
        _ => false,
    };
    if spec.status == Status::Pending && told.resources.iter().any(is_cause) {
        return found;
    }
    let Some(own) = context.own else { return found };
    let subject = Subject::of(spec, context.settings, context.now);
    let named = Named { subnets: &subject.subnets, groups: &subject.groups };
    let scope = if context.settings.diagnosis { Scope::Whole } else { Scope::Endpoints };
    let network = context.ec2.network(own, vpc, &subject.region, named, scope).await;
    for check in doctor::examine(&network, &subject) {
        match check.verdict {
            Verdict::Fail if check.id != CLOCK => {}
            Verdict::Unknown => {
                found.unseen.push(check.id);
                continue;
            }
            _ => continue,
        }
        let cause = format!("{} ({})", check.evidence, check.id);
        found.causes.push(shortened(&cause));
        let message = format!("a possible cause of {of}: {cause}");
        found.warnings.push(Warning { message, remedy: check.remedy });
    }
    found
}
