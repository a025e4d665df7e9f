//! What may keep an environment from coming to be: the doctor's checks that fail, as warnings.

use chrono::TimeDelta;

use super::Context;
use crate::aws::ec2_network::{Named, Scope};
use crate::doctor::{self, Subject, Verdict};
use crate::environment::VpcId;
use crate::event::{EnvironmentSpec, Status};
use crate::plan::Told;
use crate::report::{Change, Warning, shortened};

/// How long an environment may wait before it is asked what it waits for. With its endpoints it takes 20
/// to 30 minutes to become available (MWAA user guide, "Create an Amazon MWAA environment").
const SLOW: TimeDelta = TimeDelta::hours(1);

/// The status says it, and how long it is left is told elsewhere.
const CLOCK: &str = "ours.clock";

/// The possible causes, each shortened and as a warning, that are seen of an environment's failure, or of its waiting for too long. None
/// if something was put right only now, or could not be: then that is what it waits for, as far as
/// anybody knows.
pub(super) async fn causes(
    context: &Context<'_>,
    spec: &EnvironmentSpec,
    vpc: &VpcId,
    told: &Told,
) -> Vec<(String, Warning)> {
    let waited = spec.pending_since().map(|since| context.now.signed_duration_since(since));
    let of = match (&spec.status, waited) {
        (Status::CreateFailed, _) => "CREATE_FAILED",
        (Status::Pending, Some(waited)) if waited >= SLOW => "its waiting",
        _ => return Vec::new(),
    };
    let is_cause = |it| matches!(it, Change::Created | Change::Updated | Change::Failed);
    if spec.status == Status::Pending && told.resources.iter().any(|line| is_cause(line.outcome)) {
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
        .map(|check| {
            let cause = format!("{} ({})", check.evidence, check.id);
            let message = format!("a possible cause of {of}: {cause}");
            (shortened(&cause), Warning { message, remedy: check.remedy })
        })
        .collect()
}
