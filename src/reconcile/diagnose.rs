//! What may keep an environment from coming to be: the doctor's checks that fail, as warnings.

use chrono::TimeDelta;

use super::Context;
use crate::aws::ec2_network::{Named, Scope};
use crate::doctor::{self, Subject, Verdict};
use crate::environment::VpcId;
use crate::event::{EnvironmentSpec, Status};
use crate::plan::Told;
use crate::report::{Change, Warning};

/// How long an environment may wait before it is asked what it waits for. With its endpoints it takes 20
/// to 30 minutes to become available (MWAA user guide, "Create an Amazon MWAA environment").
const SLOW: TimeDelta = TimeDelta::hours(1);

/// The status says it, and how long it is left is told elsewhere.
const CLOCK: &str = "ours.clock";

/// The possible causes that are seen of an environment's failure, or of its waiting for too long. None
/// if something was put right only now: then nobody knows yet whether that was it.
pub(super) async fn causes(
    context: &Context<'_>,
    spec: &EnvironmentSpec,
    vpc: &VpcId,
    told: &Told,
) -> Vec<Warning> {
    let waited = spec.pending_since().map(|since| context.now.signed_duration_since(since));
    let of = match (&spec.status, waited) {
        (Status::CreateFailed, _) => "CREATE_FAILED",
        (Status::Pending, Some(waited)) if waited >= SLOW => "its waiting",
        _ => return Vec::new(),
    };
    let is_new = |change| matches!(change, Change::Created | Change::Updated);
    if spec.status == Status::Pending && told.resources.iter().any(|line| is_new(line.outcome)) {
        return Vec::new();
    }
    let Some(own) = context.own else { return Vec::new() };
    let subject = Subject::of(spec, context.settings, context.now);
    let named = Named { subnets: &subject.subnets, groups: &subject.groups };
    let scope = if context.settings.diagnosis { Scope::Whole } else { Scope::Endpoints };
    let network = context.ec2.network(own, vpc, &subject.region, named, scope).await;
    let failed = doctor::examine(&network, &subject)
        .into_iter()
        .filter(|check| check.verdict == Verdict::Fail && check.id != CLOCK);
    failed
        .map(|check| Warning {
            message: format!("a possible cause of {of}: {} ({})", check.evidence, check.id),
            remedy: check.remedy,
        })
        .collect()
}
