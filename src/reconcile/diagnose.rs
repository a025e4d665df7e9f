//! What may keep an environment from coming to be: the doctor's checks that fail, as warnings.

use chrono::TimeDelta;

use super::Context;
use crate::aws::ec2_network::{Named, Scope};
use crate::doctor::{self, Subject, Verdict};
use crate::environment::VpcId;
use crate::event::{EnvironmentSpec, Origin, Status};
use crate::plan::Told;
use crate::report::{Change, Kind, Resource, Warning, shortened};

/// How long an environment may wait before it is asked what it waits for. With its endpoints it takes 20
/// to 30 minutes to become available (MWAA user guide, "Create an Amazon MWAA environment").
const SLOW: TimeDelta = TimeDelta::hours(1);

/// The status says it, and how long it is left is told elsewhere.
const CLOCK: &str = "ours.clock";

/// How it is said.
pub(crate) const CAUSE: &str = "a possible cause of ";

/// What was found to be a possible cause.
#[derive(Default)]
pub(super) struct Found {
    /// Each shortened.
    pub(super) causes: Vec<String>,
    /// The same, with what helps.
    pub(super) warnings: Vec<Warning>,
    /// The checks that may hide another: what they need was not seen. None stands for all of them.
    pub(super) unseen: Vec<Option<&'static str>>,
}

/// What may be the cause of an environment's failure, or of its waiting for too long. Nothing if
/// an endpoint or a group was put right only now, or could not be: then that is what it waits for, as
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
        // By MWAA's own word it waits no more.
        _ if matches!(spec.origin, Origin::Mwaa { .. }) => return found,
        _ => {
            found.unseen.push(None);
            return found;
        }
    };
    // MWAA does not wait for a policy, nor for tags.
    let is_cause = |line: &Resource| {
        matches!(line.kind, Kind::Endpoint | Kind::SecurityGroup)
            && matches!(line.outcome, Change::Created | Change::Updated | Change::Failed)
    };
    let is_explained = spec.status == Status::Pending && told.resources.iter().any(is_cause);
    let Some(own) = context.own.filter(|_| !is_explained) else {
        found.unseen.push(None);
        return found;
    };
    let subject = Subject::of(spec, context.settings, context.now);
    let named = Named { subnets: &subject.subnets, groups: &subject.groups };
    let scope = if context.settings.diagnosis { Scope::Whole } else { Scope::Endpoints };
    let network = context.ec2.network(own, vpc, &subject.region, named, scope).await;
    for check in doctor::examine(&network, &subject) {
        match check.verdict {
            Verdict::Fail if check.id != CLOCK => {}
            Verdict::Unknown => {
                found.unseen.push(Some(check.id));
                continue;
            }
            _ => continue,
        }
        let cause = format!("{} ({})", check.evidence, check.id);
        found.causes.push(shortened(&cause));
        let message = format!("{CAUSE}{of}: {cause}");
        found.warnings.push(Warning { message, remedy: check.remedy });
    }
    found
}
