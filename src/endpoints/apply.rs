//! Completing, making and deleting endpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::decide::{EndpointAction, EndpointRequest, EndpointStep, Groups, group_is_not_ready};
use crate::aws::Ec2;
use crate::aws::ec2::NewEndpoint;
use crate::environment::{EndpointId, GroupId};
use crate::gather::{self, Gather};
use crate::report::{Change, Failure, Resource, Tense};
use crate::security_group::apply::known_group;

/// How often something that EC2 may not show yet is looked for.
const TRIES: usize = 4;

/// Sees to it that a role's endpoint is there and complete. `group` is the group that is kept for
/// the environment, if one is and it is ready.
pub async fn keep(
    ec2: &Ec2,
    step: &EndpointStep,
    group: Option<&GroupId>,
    until: Instant,
) -> Resource {
    let resource = step.line(Tense::Did);
    let groups = |groups: &Groups| match groups {
        Groups::Listed(groups) => Ok(groups.clone()),
        Groups::Own => {
            group.map(|id| gather::one(id.clone())).ok_or_else(|| group_is_not_ready(step.role))
        }
    };
    let done = match &step.action {
        EndpointAction::Keep { .. } | EndpointAction::Impossible(_) => return resource,
        EndpointAction::Complete { id, subnets, groups: lacks } => match groups(lacks) {
            Ok(groups) => {
                complete(ec2, id, subnets, &groups, until).await.map(|()| resource.clone())
            }
            Err(failure) => Err(failure),
        },
        EndpointAction::Create { replaces, dead, request } => match groups(&request.groups) {
            Ok(groups) => {
                let groups: Vec<GroupId> = groups.into_iter().collect();
                create(ec2, replaces, dead.clone(), request, &groups, until)
                    .await
                    .map(|made| told(resource.clone(), made, replaces))
            }
            Err(failure) => Err(failure),
        },
    };
    done.unwrap_or_else(|failure| resource.failed(failure))
}

/// How an endpoint came to be there.
enum Made {
    /// It was made now.
    Now(EndpointId),
    /// It was asked for by work that arrived in another way.
    Before(EndpointId),
}

fn told(mut resource: Resource, made: Made, replaces: &BTreeSet<EndpointId>) -> Resource {
    let (id, detail) = match made {
        Made::Now(id) if replaces.is_empty() => (id.clone(), format!("made {id}")),
        Made::Now(id) => {
            let dead: Vec<&str> = replaces.iter().map(EndpointId::as_str).collect();
            (id.clone(), format!("made {id} in place of {}", dead.join(", ")))
        }
        Made::Before(id) => {
            resource.outcome = Change::Kept;
            (id.clone(), format!("{id} was asked for moments ago"))
        }
    };
    resource.detail = detail;
    resource.with_id(id)
}

async fn complete(
    ec2: &Ec2,
    id: &EndpointId,
    subnets: &BTreeSet<crate::environment::SubnetId>,
    groups: &BTreeSet<GroupId>,
    until: Instant,
) -> Result<(), Failure> {
    let call =
        || async { when_free(ec2, until, || ec2.complete_endpoint(id, subnets, groups)).await };
    known_group(ec2, call).await
}

/// Calls again, a few times, while EC2 is at work on another change of the same endpoint.
pub async fn when_free<T, F>(ec2: &Ec2, until: Instant, call: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut pauses = ec2.pauses();
    loop {
        match call().await {
            Err(failure) if failure.is_in_progress() => match pauses.next() {
                Some(pause) if fits(pause, until) => tokio::time::sleep(pause).await,
                _ => return Err(failure),
            },
            answer => return answer,
        }
    }
}

/// Deletes endpoints, and once more, a few times, those of which EC2 is at work on another change.
/// Returns those that are not deleted, each with the reason.
///
/// # Errors
///
/// If none was deleted.
pub async fn delete(
    ec2: &Ec2,
    ids: &BTreeSet<EndpointId>,
    until: Instant,
) -> Result<BTreeMap<EndpointId, Failure>, Failure> {
    let mut pauses = ec2.pauses();
    let mut failures = when_free(ec2, until, || ec2.delete_endpoints(ids)).await?;
    loop {
        let busy = failures.iter().filter(|(_, failure)| failure.is_in_progress());
        let busy: BTreeSet<EndpointId> = busy.map(|(id, _)| id.clone()).gather();
        match pauses.next() {
            Some(pause) if !busy.is_empty() && fits(pause, until) => {
                tokio::time::sleep(pause).await;
            }
            _ => return Ok(failures),
        }
        // If it cannot even be asked for any more, what it said before stands.
        let Ok(again) = ec2.delete_endpoints(&busy).await else { return Ok(failures) };
        failures.retain(|id, _| !busy.contains(id));
        failures.extend(again);
    }
}

fn fits(pause: Duration, until: Instant) -> bool {
    Instant::now() + pause < until
}

/// Makes an endpoint, at most one, after what it replaces was deleted.
async fn create(
    ec2: &Ec2,
    replaces: &BTreeSet<EndpointId>,
    mut dead: BTreeSet<EndpointId>,
    request: &EndpointRequest,
    groups: &[GroupId],
    until: Instant,
) -> Result<Made, Failure> {
    if !replaces.is_empty() {
        let failures = delete(ec2, replaces, until).await?;
        if let Some((_, failure)) = failures.into_iter().next() {
            return Err(failure);
        }
    }
    let mut salt = None;
    let mut died = 0;
    // With the first token, after a dead endpoint, and with a salt.
    for _ in 0..3 {
        let token = request.token(groups, &dead, salt);
        let new = NewEndpoint {
            vpc: &request.vpc,
            service: &request.service,
            subnets: &request.subnets,
            groups,
            address_type: request.address_type.as_str(),
            tags: &request.tags,
            token: &token,
        };
        match known_group(ec2, || ec2.create_endpoint(new)).await {
            Ok(endpoint) if endpoint.state.is_alive() => return Ok(Made::Now(endpoint.id)),
            // EC2 remembers a token for a day after the endpoint is gone.
            Ok(endpoint) => {
                dead.insert(endpoint.id);
                died += 1;
                if died == 2 {
                    break;
                }
            }
            // It was asked for by work that arrived in another way, and may not be listed yet.
            Err(failure) if failure.is_token_of_another() => {
                match find(ec2, request, &mut dead).await? {
                    Some(id) => return Ok(Made::Before(id)),
                    // What the token stands for is long gone.
                    None if request.salt.is_some() => salt = request.salt.as_deref(),
                    None => {
                        return Err(Failure {
                            remedy: Some(
                                "an endpoint was asked for with this token, and EC2 does not show it yet: the next delivery or sweep looks again".to_owned(),
                            ),
                            ..failure
                        });
                    }
                }
            }
            Err(failure) => return Err(failure),
        }
    }
    let dead: Vec<&str> = dead.iter().map(EndpointId::as_str).collect();
    Err(Failure::new(
        format!("making an endpoint to {} in {}", request.service, request.vpc),
        format!("EC2 answers with an endpoint that is dead ({})", dead.join(", ")),
        "the next delivery tries again; if it goes on, make the endpoint by hand",
    ))
}

/// Looks, a few times, for an alive endpoint to the request's service; dead ones join `dead`.
async fn find(
    ec2: &Ec2,
    request: &EndpointRequest,
    dead: &mut BTreeSet<EndpointId>,
) -> Result<Option<EndpointId>, Failure> {
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(ec2.pause).await;
        }
        let seen = ec2.endpoints_to(&request.vpc, request.service.as_str()).await?;
        if let Some(endpoint) = seen.iter().find(|endpoint| endpoint.state.is_alive()) {
            return Ok(Some(endpoint.id.clone()));
        }
        dead.extend(seen.into_iter().map(|endpoint| endpoint.id));
    }
    Ok(None)
}
