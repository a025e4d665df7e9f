//! Look, decide, act: the one way through which every piece of work goes.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use crate::ec2::{self, Ec2};
use crate::endpoints::{EndpointAction, EndpointRequest, EndpointStep, Groups};
use crate::environment::{AccountId, Environment, GroupId, VpcId};
use crate::event::Wanted;
use crate::plan::{self, Plan, QueueAction, QueueStep};
use crate::report::{Done, Failure, Kind, Note, Outcome, Report, Resource};
use crate::security_group::{GroupStep, Rule};
use crate::settings::{GroupChoice, Settings};
use crate::sqs_policy::{self, Admission};
use crate::tags;
use crate::vpc::Vpc;

/// How often something that EC2 may not show yet is looked for, or a lost write is made again.
const TRIES: usize = 4;

/// Makes the VPC what the environment needs, and tells what was done. `own` is the account that the
/// function runs in, if it is known.
///
/// # Errors
///
/// A [`Failure`] if it could not even be looked or decided. A failed action is in the report, so
/// that what else was done is told too.
pub async fn serve(
    ec2: &Ec2,
    settings: &Settings,
    own: Option<&AccountId>,
    wanted: &Wanted,
) -> Result<Report, Failure> {
    let environment = &wanted.environment;
    let nothing = |outcome, reason: String| {
        Ok(Report::nothing(environment.arn(), wanted.status.clone(), outcome, reason))
    };
    let account = &environment.account;
    let is_refused = |own: &AccountId| {
        account != own
            && !settings.participants.is_empty()
            && !settings.participants.contains(account)
    };
    let refusal =
        || format!("account {account} is not among the participant accounts that are served");
    if own.is_some_and(is_refused) {
        return nothing(Outcome::Refused, refusal());
    }

    let vpc = match look_at_subnets(ec2, own, wanted).await? {
        Some(vpc) => vpc,
        None => {
            return nothing(
                Outcome::Ignored,
                format!(
                    "EC2 does not know the subnets of this environment of account {account} here: it is in a VPC that is not this account's"
                ),
            );
        }
    };
    if own.is_some_and(|own| *own != vpc.owner) {
        return Err(Failure::new(
            format!("looking at the environment's subnets in {}", vpc.id),
            format!("they belong to account {}, and this function runs in another", vpc.owner),
            format!(
                "deploy the function in the VPC owner's account, {}: only the owner can make endpoints that MWAA accepts",
                vpc.owner
            ),
        ));
    }
    if is_refused(&vpc.owner) {
        return nothing(Outcome::Refused, refusal());
    }
    if !settings.vpcs.is_empty() && !settings.vpcs.contains(&vpc.id) {
        let reason = format!("{} is not among the VPCs that are served", vpc.id);
        return nothing(Outcome::Refused, reason);
    }

    let vpc = look(ec2, settings, environment, vpc).await?;
    let plan = plan::decide(wanted, &vpc, settings);
    Ok(act(ec2, settings, wanted, &vpc, plan).await)
}

/// The VPC of the environment's subnets; none if a participant's environment is in a VPC that this
/// account does not see.
async fn look_at_subnets(
    ec2: &Ec2,
    own: Option<&AccountId>,
    wanted: &Wanted,
) -> Result<Option<Vpc>, Failure> {
    let subnets = match ec2.subnets(&wanted.subnets).await {
        // EC2 refuses the whole call if it does not know one of the ids: ask for those it knows.
        Err(failure) if ec2::is_unknown_subnet(&failure) => {
            let known = ec2.known_subnets(&wanted.subnets).await?;
            let participant = own.is_some_and(|own| *own != wanted.environment.account);
            if known.is_empty() && participant {
                return Ok(None);
            }
            known
        }
        answer => answer?,
    };
    Vpc::of_subnets(wanted, &subnets).map(Some)
}

/// The VPC with all that EC2 says of it.
async fn look(
    ec2: &Ec2,
    settings: &Settings,
    environment: &Environment,
    vpc: Vpc,
) -> Result<Vpc, Failure> {
    let keeps_group = settings.groups == GroupChoice::Auto && environment.account != vpc.owner;
    let groups = async {
        if keeps_group { ec2.own_groups(&vpc.id, environment).await } else { Ok(Vec::new()) }
    };
    let (endpoints, own_groups) = tokio::join!(ec2.endpoints(&vpc.id), groups);
    Ok(Vpc { endpoints: endpoints?, own_groups: own_groups?, ..vpc })
}

/// Carries the plan out: what is independent at the same time, everything even if something fails.
async fn act(ec2: &Ec2, settings: &Settings, wanted: &Wanted, vpc: &Vpc, plan: Plan) -> Report {
    let mut warnings = plan.warnings;
    let environment = &wanted.environment;

    let endpoints = async {
        let (group, mut resources) = match &plan.group {
            None => (Ok(None), Vec::new()),
            Some(step) => {
                let (group, resource) = keep_group(ec2, &vpc.id, environment, step).await;
                (group.map(Some), vec![resource])
            }
        };
        let steps = plan.endpoints.iter().map(|step| endpoint(ec2, step, group.as_ref()));
        resources.extend(join_all(steps).await);
        resources
    };
    let queues = join_all(plan.queues.iter().map(|step| queue(ec2, settings, environment, step)));
    let retag = async {
        let retag = plan.retag.as_ref()?;
        let failure = ec2.tag(&retag.ids, &retag.tags).await.err()?;
        Some(failed(Resource::of(Kind::Tags, Done::Failed, ""), failure))
    };
    let (mut resources, queues, retag) = tokio::join!(endpoints, queues, retag);

    for left_out in &wanted.left_out {
        let kind = if left_out.role.is_some() { Kind::Endpoint } else { Kind::SqsEndpoint };
        let mut resource = Resource::of(kind, Done::Failed, "");
        resource.role = left_out.role.map(|role| role.as_str());
        resources.push(failed(resource, left_out.failure.clone()));
    }
    if plan.queues.is_empty() {
        warnings.push(Note {
            message: format!(
                "{} has no SQS interface endpoint, so no policy can hold the queue up; the workers need another way to SQS, such as a NAT gateway",
                vpc.id
            ),
            remedy: None,
        });
    }
    for (resource, notes) in queues {
        resources.push(resource);
        warnings.extend(notes);
    }
    resources.extend(retag);

    let any = |done: &[Done]| resources.iter().any(|resource| done.contains(&resource.outcome));
    let outcome = if any(&[Done::Failed]) {
        Outcome::Failed
    } else if any(&[Done::Created, Done::Updated]) || plan.retag.is_some() {
        Outcome::Changed
    } else {
        Outcome::Unchanged
    };
    Report {
        environment: environment.arn(),
        status: wanted.status.clone(),
        vpc: Some(vpc.id.to_string()),
        outcome,
        reason: None,
        resources,
        warnings,
    }
}

impl Resource {
    fn of(kind: Kind, outcome: Done, detail: impl Into<String>) -> Self {
        Self {
            kind,
            role: None,
            outcome,
            id: None,
            service: None,
            detail: detail.into(),
            error: None,
            remedy: None,
        }
    }
}

/// `resource` as one that failed.
fn failed(mut resource: Resource, failure: Failure) -> Resource {
    resource.outcome = Done::Failed;
    resource.remedy = failure.remedy.clone();
    resource.detail = Failure { remedy: None, ..failure.clone() }.to_string();
    resource.error = failure.error.map(|error| *error);
    resource
}

/// Sees to it that the environment's group is there with its rules.
async fn keep_group(
    ec2: &Ec2,
    vpc: &VpcId,
    environment: &Environment,
    step: &GroupStep,
) -> (Result<GroupId, ()>, Resource) {
    let mut resource = Resource::of(Kind::SecurityGroup, Done::Kept, "");
    let (id, mut missing) = match &step.existing {
        Some(id) => (id.clone(), step.missing.clone()),
        None => match make_group(ec2, vpc, environment, step).await {
            Ok((id, made, missing)) => {
                if made {
                    resource.outcome = Done::Created;
                }
                (id, missing)
            }
            Err(failure) => return (Err(()), failed(resource, failure)),
        },
    };
    resource.id = Some(id.to_string());
    let added: Vec<String> = missing.iter().map(Rule::to_string).collect();
    if let Err(failure) = authorize(ec2, &id, &mut missing, environment).await {
        return (Err(()), failed(resource, failure));
    }
    resource.detail = match (resource.outcome, added.as_slice()) {
        (Done::Created, added) => format!("made {} with {}", step.name, added.join(", ")),
        (_, []) => format!("{} has its rules", step.name),
        (_, added) => {
            resource.outcome = Done::Updated;
            format!("added {} to {}", added.join(", "), step.name)
        }
    };
    (Ok(id), resource)
}

/// Makes the group, or finds the one that an earlier delivery made: its id, whether it was made now,
/// and the rules that it lacks.
async fn make_group(
    ec2: &Ec2,
    vpc: &VpcId,
    environment: &Environment,
    step: &GroupStep,
) -> Result<(GroupId, bool, BTreeSet<Rule>), Failure> {
    let failure = match ec2.create_group(vpc, step).await {
        Ok(id) => return Ok((id, true, step.missing.clone())),
        Err(failure) if failure.code() == Some("InvalidGroup.Duplicate") => failure,
        Err(failure) => return Err(failure),
    };
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(ec2.pause).await;
        }
        let Some(group) = ec2.groups_named(vpc, &step.name).await?.into_iter().next() else {
            continue;
        };
        if tags::made_for(&group.tags, environment, tags::SECURITY_GROUP) {
            let missing = step.missing.difference(&group.rules).cloned().collect();
            return Ok((group.id, false, missing));
        }
        return Err(Failure {
            why: Some(format!("{} has this name and is not this function's", group.id)),
            remedy: Some(format!(
                "rename or delete it if nothing uses it; or tag it as the environment's ({} = {}, {} = {}) if the function may keep it",
                tags::ENVIRONMENT,
                environment.arn(),
                tags::ROLE,
                tags::SECURITY_GROUP
            )),
            ..failure
        });
    }
    Err(failure)
}

/// Adds the rules that are missing. A rule that is there already is an answer, not a failure.
async fn authorize(
    ec2: &Ec2,
    group: &GroupId,
    missing: &mut BTreeSet<Rule>,
    environment: &Environment,
) -> Result<(), Failure> {
    if missing.is_empty() {
        return Ok(());
    }
    let call = |rules: BTreeSet<Rule>| async move {
        retry_unknown_group(ec2, || ec2.authorize(group, &rules, environment)).await
    };
    match call(missing.clone()).await {
        Err(failure) if failure.code() == Some(DUPLICATE_RULE) => {}
        answer => return answer,
    }
    // EC2 adds none of a call's rules if one is there already: add them one by one.
    for rule in std::mem::take(missing) {
        match call(BTreeSet::from([rule])).await {
            Err(failure) if failure.code() == Some(DUPLICATE_RULE) => {}
            answer => answer?,
        }
    }
    Ok(())
}

const DUPLICATE_RULE: &str = "InvalidPermission.Duplicate";

/// Calls again, a few times, while EC2 does not know a group that may have been made just now.
async fn retry_unknown_group<T, F>(ec2: &Ec2, call: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut attempt = 1;
    loop {
        match call().await {
            Err(failure) if ec2::is_unknown_group(&failure) && attempt < TRIES => {
                attempt += 1;
                tokio::time::sleep(ec2.pause).await;
            }
            answer => return answer,
        }
    }
}

/// Sees to it that a role's endpoint is there and complete. `group` is the group that is kept for
/// the environment, if one is; an error if it could not be made ready.
async fn endpoint(
    ec2: &Ec2,
    step: &EndpointStep,
    group: Result<&Option<GroupId>, &()>,
) -> Resource {
    let mut resource = Resource::of(Kind::Endpoint, Done::Kept, "");
    resource.role = Some(step.role.as_str());
    resource.service = Some(step.service.to_string());
    let groups = |groups: &Groups| -> Result<Vec<GroupId>, Failure> {
        match (groups, group) {
            (Groups::Listed(groups), _) => Ok(groups.iter().cloned().collect()),
            (Groups::Own, Ok(Some(id))) => Ok(vec![id.clone()]),
            (Groups::Own, _) => Err(Failure::new(
                format!("the {} endpoint was left out", step.role),
                "its security group is not ready",
                "see the security group's failure; the next delivery goes on from there",
            )),
        }
    };
    match &step.action {
        EndpointAction::Keep { id, state, ours } => {
            resource.id = Some(id.clone());
            let whose = if *ours { "made by this function" } else { "not made by this function" };
            resource.detail = format!("{id} is {state}, {whose}");
        }
        EndpointAction::Complete { id, subnets, carries, groups: wanted } => {
            resource.id = Some(id.clone());
            let groups = match groups(wanted) {
                Ok(groups) => groups,
                Err(failure) => return failed(resource, failure),
            };
            let lacking: Vec<GroupId> =
                groups.into_iter().filter(|group| !carries.contains(group.as_str())).collect();
            let complete = || async { ec2.complete_endpoint(id, subnets, &lacking).await };
            if let Err(failure) = retry_unknown_group(ec2, complete).await {
                return failed(resource, failure);
            }
            resource.outcome = Done::Updated;
            let added: Vec<&str> = subnets
                .iter()
                .map(|subnet| subnet.as_str())
                .chain(lacking.iter().map(GroupId::as_str))
                .collect();
            resource.detail = format!("added {} to {id}", added.join(", "));
        }
        EndpointAction::Create { bury, dead, request } => {
            let made = match groups(&request.groups) {
                Ok(groups) => create(ec2, bury, dead.clone(), request, &groups).await,
                Err(failure) => Err(failure),
            };
            match made {
                Ok((id, done)) => {
                    resource.outcome = done;
                    resource.detail = match done {
                        Done::Created if bury.is_empty() => format!("made {id}"),
                        Done::Created => {
                            let dead: Vec<&str> = bury.iter().map(String::as_str).collect();
                            format!("made {id} in place of {}", dead.join(", "))
                        }
                        _ => format!("{id} was asked for moments ago"),
                    };
                    resource.id = Some(id);
                }
                Err(failure) => return failed(resource, failure),
            }
        }
    }
    resource
}

/// Makes an endpoint, at most one, after what is dead of its predecessors was deleted.
async fn create(
    ec2: &Ec2,
    bury: &BTreeSet<String>,
    mut dead: BTreeSet<String>,
    request: &EndpointRequest,
    groups: &[GroupId],
) -> Result<(String, Done), Failure> {
    if !bury.is_empty() {
        ec2.delete_endpoints(bury).await?;
    }
    let mut salt = None;
    for _ in 0..2 {
        let token = request.token(groups, &dead, salt);
        let answer =
            retry_unknown_group(ec2, || ec2.create_endpoint(request, groups, &token)).await;
        match answer {
            Ok(endpoint) if endpoint.is_alive() => return Ok((endpoint.id, Done::Created)),
            // EC2 remembers a token for a day after the endpoint is gone.
            Ok(endpoint) => {
                dead.insert(endpoint.id);
            }
            // It was asked for by work that arrived in another way, and may not be listed yet.
            Err(failure) if failure.code() == Some("IdempotentParameterMismatch") => {
                match find(ec2, request, &mut dead).await? {
                    Some(id) => return Ok((id, Done::Kept)),
                    // What the token stands for is long gone; the time of the event makes another.
                    None => {
                        salt = Some(request.tags.get(tags::EVENT_TIME).map_or("", String::as_str))
                    }
                }
            }
            Err(failure) => return Err(failure),
        }
    }
    let dead: Vec<String> = dead.into_iter().collect();
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
    dead: &mut BTreeSet<String>,
) -> Result<Option<String>, Failure> {
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(ec2.pause).await;
        }
        let seen = ec2.endpoints_to(&request.vpc, request.service.as_str()).await?;
        if let Some(endpoint) = seen.iter().find(|endpoint| endpoint.is_alive()) {
            return Ok(Some(endpoint.id.clone()));
        }
        dead.extend(seen.into_iter().map(|endpoint| endpoint.id));
    }
    Ok(None)
}

/// Sees to it that an SQS endpoint admits the queues.
async fn queue(
    ec2: &Ec2,
    settings: &Settings,
    environment: &Environment,
    step: &QueueStep,
) -> (Resource, Vec<Note>) {
    let id = &step.endpoint;
    let mut resource = Resource::of(Kind::SqsEndpoint, Done::Kept, "");
    resource.id = Some(id.clone());
    resource.service = Some(step.service.clone());
    let mut notes = Vec::new();
    match &step.action {
        QueueAction::Keep => resource.detail = format!("{id} admits the queue"),
        QueueAction::Write { document, added } => {
            let names: Vec<&str> = added.iter().map(|queue| queue.as_str()).collect();
            if let Err(failure) = write(ec2, settings, step, document.clone()).await {
                return (failed(resource, failure), notes);
            }
            resource.outcome = Done::Updated;
            resource.detail =
                format!("added {} to statement {} of {id}", names.join(", "), sqs_policy::SID);
        }
        QueueAction::RequesterManaged { admits } => {
            let admits =
                if *admits { "and admits the queue" } else { "and may not admit the queue" };
            resource.detail =
                format!("{id} is managed by an AWS service, is not modified, {admits}");
            let mut note = Note { message: resource.detail.clone(), remedy: None };
            if admits.contains("may not") {
                resource.outcome = Done::Blocked;
                resource.remedy = Some(
                    "change its policy where the service that manages it is set up".to_owned(),
                );
                note.remedy = resource.remedy.clone();
            }
            notes.push(note);
        }
        QueueAction::Impossible(problem) => {
            let failure = Failure::new(
                format!("letting the queue through {id}"),
                problem.to_string(),
                problem.remedy(),
            );
            return (failed(resource, failure), notes);
        }
    }
    if !step.blocks.is_empty() {
        let sentences: Vec<String> =
            step.blocks.iter().map(|block| plan::block_sentence(block, environment)).collect();
        resource.detail = format!("{}; {}", resource.detail, sentences.join("; "));
        resource.outcome = Done::Blocked;
        resource.remedy = Some(BLOCK_REMEDY.to_owned());
    }
    (resource, notes)
}

/// Data perimeters commonly deny what is outside of the organization, and the queue is: it belongs
/// to an MWAA service account.
const BLOCK_REMEDY: &str = "except the environment's queue from the statement (arn:<partition>:sqs:<region>:*:airflow-celery-*): it belongs to an MWAA service account outside of your organization";

/// Writes the policy and reads it back, since ModifyVpcEndpoint replaces all of it and cannot tell
/// that another writer was faster.
async fn write(
    ec2: &Ec2,
    settings: &Settings,
    step: &QueueStep,
    mut document: String,
) -> Result<(), Failure> {
    let id = &step.endpoint;
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(ec2.pause).await;
        }
        ec2.write_policy(id, &document).await?;
        let policy = ec2.policy(id).await?;
        match sqs_policy::admit(policy.as_deref(), &step.queues, settings.organization.as_deref()) {
            Ok(Admission::Given) => return Ok(()),
            Ok(Admission::Write { document: again, .. }) => document = again,
            Err(problem) => {
                return Err(Failure::new(
                    format!("writing the policy of endpoint {id}"),
                    problem.to_string(),
                    problem.remedy(),
                ));
            }
        }
    }
    Err(Failure::new(
        format!("writing the policy of endpoint {id}"),
        format!("the queue was missing from it after {TRIES} writes: somebody else writes it too"),
        "see that no other tool manages this policy, or that it leaves the statement alone; the next delivery tries again",
    ))
}
