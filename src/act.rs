//! Carrying a plan out: what is independent at the same time, everything even if something fails.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use crate::ec2::{self, Ec2};
use crate::endpoints::{EndpointAction, EndpointRequest, EndpointStep, Groups};
use crate::environment::{Environment, GroupId, QueueArn, VpcId};
use crate::event::{Purpose, Wanted};
use crate::plan::{self, Plan, QueueAction, QueueStep, Retag};
use crate::removal::{Detach, QueueRemoval, Removal};
use crate::report::{Done, Failure, Kind, Note, Resource};
use crate::security_group::{GroupStep, Rule};
use crate::settings::Settings;
use crate::sqs_policy::{self, Admission, Withdrawal};
use crate::tags;
use crate::vpc::Vpc;

/// How often something that EC2 may not show yet is looked for, or a lost write is made again.
const TRIES: usize = 4;

/// What was done, or would be, and what somebody should know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acted {
    /// Resource by resource.
    pub resources: Vec<Resource>,
    /// What somebody should know.
    pub warnings: Vec<Note>,
}

impl Acted {
    /// Whether anything failed.
    pub fn has_failed(&self) -> bool {
        self.resources.iter().any(|resource| resource.outcome == Done::Failed)
    }
}

/// Carries `plan` out.
pub async fn provide(
    ec2: &Ec2,
    settings: &Settings,
    wanted: &Wanted,
    vpc: &Vpc,
    plan: &Plan,
) -> Acted {
    let environment = &wanted.environment;
    let mut acted = Acted { resources: Vec::new(), warnings: plan.warnings.clone() };

    // The memory of this event comes before what it brings: once a rule is there, an older event must
    // be known for an older one. While MWAA waits, what is needed is made even if the memory fails.
    let retags = join_all(plan.retags.iter().map(|retag| tag(ec2, retag))).await;
    acted.resources.extend(retags);
    if acted.has_failed() && wanted.purpose != Purpose::Provide {
        return acted;
    }

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
    let queues = join_all(plan.queues.iter().map(|step| queue(ec2, settings, wanted, vpc, step)));
    let (mut endpoints, queues) = tokio::join!(endpoints, queues);
    let queues = if services_are_gone(plan, &endpoints) {
        // So was the group made for nothing; its rules would keep a participant's group from going.
        for resource in &mut endpoints {
            let made = resource.kind == Kind::SecurityGroup && resource.outcome == Done::Created;
            let id = resource.id.as_deref().and_then(|id| GroupId::parse(id).ok());
            if let Some(id) = id.filter(|_| made) {
                *resource = delete_group(ec2, &id, None).await.0;
            }
        }
        undo(ec2, wanted, plan, queues).await
    } else {
        queues
    };
    let retagged = std::mem::replace(&mut acted.resources, endpoints);
    acted.resources.extend(left_out(wanted));
    for Queued { resource, notes, .. } in queues {
        acted.resources.push(resource);
        for note in notes {
            if !acted.warnings.contains(&note) {
                acted.warnings.push(note);
            }
        }
    }
    acted.resources.extend(no_sqs_endpoint(vpc, plan));
    acted.resources.extend(retagged);
    acted
}

/// Whether EC2 knows none of the services of an environment that has no endpoint yet: the event is
/// late, and the environment is gone.
fn services_are_gone(plan: &Plan, endpoints: &[Resource]) -> bool {
    let mut made = endpoints.iter().filter(|resource| resource.kind == Kind::Endpoint).peekable();
    made.peek().is_some()
        && plan.endpoints.iter().all(|s| matches!(s.action, EndpointAction::Create { .. }))
        && made.all(|resource| {
            let code = resource.error.as_ref().and_then(|error| error.code.as_deref());
            code == Some("InvalidServiceName")
        })
}

/// Takes back the environment's queue, which was let through for nothing: no endpoint remembers it,
/// so no sweep would find it.
async fn undo(ec2: &Ec2, wanted: &Wanted, plan: &Plan, queues: Vec<Queued>) -> Vec<Queued> {
    let undone = plan.queues.iter().zip(queues).map(|(step, queued)| async move {
        // Also if the policy could not be read back: a later delivery would find the queue in it,
        // and leave it.
        let Some(queue) = wanted.queue.as_ref().filter(|queue| queued.written.contains(queue))
        else {
            return queued;
        };
        let removal = QueueRemoval {
            endpoint: step.endpoint.clone(),
            service: step.service.clone(),
            queues: BTreeSet::from([queue.clone()]),
            is_listed: true,
        };
        match withdraw(ec2, &removal).await.resource() {
            Some(resource) => Queued { resource, ..queued },
            None => queued,
        }
    });
    join_all(undone).await
}

async fn tag(ec2: &Ec2, retag: &Retag) -> Resource {
    let ids: Vec<&str> = retag.ids.iter().map(String::as_str).collect();
    let resource = Resource::new(
        Kind::Tags,
        Done::Updated,
        format!("brought the tags of {} up to date", ids.join(", ")),
    );
    match ec2.tag(&retag.ids, &retag.tags).await {
        Ok(()) => resource,
        Err(failure) => resource.failed(failure),
    }
}

fn left_out(wanted: &Wanted) -> Vec<Resource> {
    wanted
        .left_out
        .iter()
        .map(|left_out| {
            let kind = if left_out.role.is_some() { Kind::Endpoint } else { Kind::SqsEndpoint };
            let mut resource = Resource::new(kind, Done::Failed, "");
            resource.role = left_out.role.map(|role| role.as_str());
            resource.failed(left_out.failure.clone())
        })
        .collect()
}

fn no_sqs_endpoint(vpc: &Vpc, plan: &Plan) -> Option<Resource> {
    plan.queues.is_empty().then(|| {
        let detail = format!(
            "{} has no SQS interface endpoint, so no policy holds the queue up; the workers need another way to SQS, such as a NAT gateway",
            vpc.id
        );
        Resource::new(Kind::SqsEndpoint, Done::Kept, detail)
    })
}

/// What carrying `plan` out would do.
pub fn preview(wanted: &Wanted, vpc: &Vpc, plan: &Plan) -> Acted {
    let environment = &wanted.environment;
    let mut resources = Vec::new();
    if let Some(step) = &plan.group {
        let rules: Vec<String> = step.missing.iter().map(Rule::to_string).collect();
        let (outcome, detail) = match &step.existing {
            None => (Done::Created, format!("{} is missing, with {}", step.name, rules.join(", "))),
            Some(_) if rules.is_empty() => (Done::Kept, format!("{} has its rules", step.name)),
            Some(_) => (Done::Updated, format!("{} lacks {}", step.name, rules.join(", "))),
        };
        let mut resource = Resource::new(Kind::SecurityGroup, outcome, detail);
        resource.id = step.existing.as_ref().map(GroupId::to_string);
        resources.push(resource);
    }
    for step in &plan.endpoints {
        let (outcome, id, detail) = match &step.action {
            EndpointAction::Keep { id, state, .. } => {
                (Done::Kept, Some(id), format!("{id} is {state}"))
            }
            EndpointAction::Complete { id, subnets, carries, groups } => {
                let mut lacks: Vec<&str> = subnets.iter().map(|subnet| subnet.as_str()).collect();
                match groups {
                    Groups::Own => lacks.push("the group that is kept for the environment"),
                    Groups::Listed(groups) => lacks.extend(
                        groups
                            .iter()
                            .map(GroupId::as_str)
                            .filter(|group| !carries.contains(*group)),
                    ),
                }
                (Done::Updated, Some(id), format!("{id} lacks {}", lacks.join(", ")))
            }
            EndpointAction::Create { bury, .. } => {
                let dead: Vec<&str> = bury.iter().map(String::as_str).collect();
                let dead = if dead.is_empty() {
                    String::new()
                } else {
                    format!(" ({} is dead)", dead.join(", "))
                };
                (Done::Created, None, format!("the {} endpoint is missing{dead}", step.role))
            }
        };
        let mut resource = Resource::new(Kind::Endpoint, outcome, detail);
        resource.role = Some(step.role.as_str());
        resource.service = Some(step.service.to_string());
        resource.id = id.cloned();
        resources.push(resource);
    }
    resources.extend(left_out(wanted));
    for step in &plan.queues {
        let id = &step.endpoint;
        let (outcome, detail) = match &step.action {
            QueueAction::Keep => (Done::Kept, format!("{id} admits the queue")),
            QueueAction::Write { added, .. } => {
                let names: Vec<&str> = added.iter().map(|queue| queue.as_str()).collect();
                (Done::Updated, format!("{id} does not let {} through", names.join(", ")))
            }
            QueueAction::RequesterManaged { admits: true } => {
                (Done::Kept, format!("{id} is managed by an AWS service and admits the queue"))
            }
            QueueAction::RequesterManaged { admits: false } => (
                Done::Blocked,
                format!("{id} is managed by an AWS service and may not admit the queue"),
            ),
            QueueAction::Impossible(problem) => (Done::Failed, format!("{id}: {problem}")),
        };
        let mut resource = Resource::new(Kind::SqsEndpoint, outcome, detail).with_id(id);
        resource.service = Some(step.service.clone());
        if let QueueAction::Impossible(problem) = &step.action {
            resource.remedy = Some(problem.remedy());
        }
        resources.push(report_blocks(resource, step, environment));
    }
    for retag in &plan.retags {
        let ids: Vec<&str> = retag.ids.iter().map(String::as_str).collect();
        let detail = format!("the tags of {} are not up to date", ids.join(", "));
        resources.push(Resource::new(Kind::Tags, Done::Updated, detail));
    }
    resources.extend(no_sqs_endpoint(vpc, plan));
    Acted { resources, warnings: plan.warnings.clone() }
}

/// What taking `removal` away would do.
pub fn preview_removal(removal: &Removal) -> Vec<Resource> {
    let leftover = if removal.keep_leftovers { Done::Left } else { Done::Deleted };
    let rules = removal.rules.iter().map(|(group, rules)| {
        Resource::new(Kind::SecurityGroup, Done::Updated, took_off(group, rules)).with_id(group)
    });
    let detach = removal.detach.iter().map(|detach| {
        Resource::new(detach.kind, Done::Updated, detached(detach)).with_id(&detach.id)
    });
    let queues = removal.queues.iter().filter(|queue| queue.is_listed).map(|queue| {
        let outcome = if removal.keep_leftovers { Done::Left } else { Done::Updated };
        queue_resource(queue, outcome)
    });
    let endpoints = removal.endpoints.iter().map(|doomed| {
        let mut resource =
            Resource::new(Kind::Endpoint, leftover, format!("{}: {}", doomed.id, doomed.why));
        resource.role = doomed.role.map(|role| role.as_str());
        resource.service = Some(doomed.service.clone());
        resource.with_id(&doomed.id)
    });
    let groups = removal.groups.iter().map(|group| {
        Resource::new(Kind::SecurityGroup, leftover, format!("{group}: the environment left it"))
            .with_id(group)
    });
    rules.chain(detach).chain(queues).chain(endpoints).chain(groups).collect()
}

fn took_off(group: &GroupId, rules: &BTreeSet<Rule>) -> String {
    let names: Vec<String> = rules.iter().map(Rule::to_string).collect();
    format!("{group}: {} is no longer needed", names.join(", "))
}

fn detached(detach: &Detach) -> String {
    let names: Vec<&str> = detach.groups.iter().map(GroupId::as_str).collect();
    if names.is_empty() {
        format!("{}: its tags forget what is no longer the environment's", detach.id)
    } else {
        format!("{}: {} is no longer the environment's", detach.id, names.join(", "))
    }
}

fn queue_resource(queue: &QueueRemoval, outcome: Done) -> Resource {
    let names: Vec<&str> = queue.queues.iter().map(|queue| queue.as_str()).collect();
    let detail = format!(
        "{}: {} is no longer needed in statement {}",
        queue.endpoint,
        names.join(", "),
        sqs_policy::SID
    );
    let mut resource = Resource::new(Kind::SqsEndpoint, outcome, detail).with_id(&queue.endpoint);
    resource.service = Some(queue.service.clone());
    resource
}

/// Takes `removal` away.
pub async fn take_away(ec2: &Ec2, environment: &Environment, removal: &Removal) -> Acted {
    let mut acted = Acted::default();
    let rules = removal.rules.iter().map(|(group, rules)| async move {
        let resource = Resource::new(Kind::SecurityGroup, Done::Updated, took_off(group, rules))
            .with_id(group);
        match revoke(ec2, group, rules, environment).await {
            Ok(()) => resource,
            Err(failure) => resource.failed(failure),
        }
    });
    acted.resources = join_all(rules).await;
    if removal.keep_leftovers {
        acted.resources.extend(join_all(removal.detach.iter().map(|d| detach(ec2, d))).await);
        let mark = removal.mark.iter().filter(|mark| !mark.ids.is_empty());
        acted.resources.extend(join_all(mark.map(|mark| tag(ec2, mark))).await);
        let deleted = Removal { rules: Vec::new(), detach: Vec::new(), ..removal.clone() };
        for resource in preview_removal(&deleted) {
            acted.warnings.push(Note::new(
                format!("left over, since deletion is turned off: {}", resource.detail),
                "delete it by hand, or turn deletion on",
            ));
            acted.resources.push(resource);
        }
        return acted;
    }

    // The tags of what goes remember the queues: they stay until the policies are written. A policy
    // that only a person can put right does not hold them up.
    let queues = join_all(removal.queues.iter().map(|queue| withdraw(ec2, queue))).await;
    let must_wait = queues.iter().any(|queue| matches!(queue, Withdrawn::Failed(_)));
    acted.resources.extend(queues.into_iter().filter_map(Withdrawn::resource));
    if must_wait {
        return acted;
    }
    acted.resources.extend(join_all(removal.detach.iter().map(|d| detach(ec2, d))).await);

    let ids: BTreeSet<String> = removal.endpoints.iter().map(|doomed| doomed.id.clone()).collect();
    let deleted = if ids.is_empty() { Ok(()) } else { ec2.delete_endpoints(&ids).await };
    for doomed in &removal.endpoints {
        let detail = format!("deleted {}: {}", doomed.id, doomed.why);
        let mut resource = Resource::new(Kind::Endpoint, Done::Deleted, detail).with_id(&doomed.id);
        resource.role = doomed.role.map(|role| role.as_str());
        resource.service = Some(doomed.service.clone());
        acted.resources.push(match &deleted {
            Ok(()) => resource,
            Err(failure) => resource.failed(failure.clone()),
        });
    }
    for group in &removal.groups {
        let (resource, note) = delete_group(ec2, group, removal.mark.as_ref()).await;
        acted.resources.push(resource);
        acted.warnings.extend(note);
    }
    acted
}

/// Takes rules off a group. One that is not there any more is an answer, not a failure; but EC2 then
/// takes none of a call's rules off.
async fn revoke(
    ec2: &Ec2,
    group: &GroupId,
    rules: &BTreeSet<Rule>,
    environment: &Environment,
) -> Result<(), Failure> {
    let is_unknown = |failure: &Failure| failure.code() == Some("InvalidPermission.NotFound");
    match ec2.revoke(group, rules, environment).await {
        Err(failure) if is_unknown(&failure) => {}
        answer => return answer,
    }
    for rule in rules {
        match ec2.revoke(group, &BTreeSet::from([rule.clone()]), environment).await {
            Err(failure) if is_unknown(&failure) => {}
            answer => answer?,
        }
    }
    Ok(())
}

/// Takes an older configuration off a resource that stays, and then lets its tags forget it.
async fn detach(ec2: &Ec2, detach: &Detach) -> Resource {
    let resource = Resource::new(detach.kind, Done::Updated, detached(detach)).with_id(&detach.id);
    let done = async {
        if !detach.groups.is_empty() {
            ec2.detach(&detach.id, &detach.groups).await?;
        }
        ec2.tag(&BTreeSet::from([detach.id.clone()]), &detach.tags).await
    };
    match done.await {
        Ok(()) => resource,
        Err(failure) => resource.failed(failure),
    }
}

/// Deletes a group. One that is still in use, as by an endpoint that is being deleted for minutes, is
/// marked, so that a sweep deletes it even if nobody can be asked about the environment then.
async fn delete_group(
    ec2: &Ec2,
    group: &GroupId,
    mark: Option<&Retag>,
) -> (Resource, Option<Note>) {
    let resource = Resource::new(Kind::SecurityGroup, Done::Deleted, format!("deleted {group}"))
        .with_id(group);
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(ec2.pause).await;
        }
        match ec2.delete_group(group).await {
            Ok(()) => return (resource, None),
            Err(failure) if failure.code() == Some("DependencyViolation") => {}
            Err(failure) => return (resource.failed(failure), None),
        }
    }
    if let Some(mark) = mark.filter(|mark| mark.ids.contains(group.as_str()))
        && let Err(failure) = ec2.tag(&BTreeSet::from([group.to_string()]), &mark.tags).await
    {
        return (resource.failed(failure), None);
    }
    let detail =
        format!("{group} is still in use, most likely by an endpoint that is being deleted");
    let note = Note::new(detail.clone(), "the sweep deletes it; or delete it by hand later");
    (Resource { outcome: Done::Left, detail, ..resource }, Some(note))
}

/// What came of taking queues out of a policy.
enum Withdrawn {
    /// They were not in it.
    Nothing,
    /// They were taken out.
    Done(Resource),
    /// Only a person can put the policy right.
    Impossible(Resource),
    /// It did not work this time.
    Failed(Resource),
}

impl Withdrawn {
    fn resource(self) -> Option<Resource> {
        match self {
            Withdrawn::Nothing => None,
            Withdrawn::Done(resource)
            | Withdrawn::Impossible(resource)
            | Withdrawn::Failed(resource) => Some(resource),
        }
    }
}

/// Takes queues out of an SQS endpoint's policy as it is now, and reads it back.
async fn withdraw(ec2: &Ec2, step: &QueueRemoval) -> Withdrawn {
    let resource = queue_resource(step, Done::Updated);
    let doing = format!("taking queues out of the policy of endpoint {}", step.endpoint);
    for attempt in 0..=TRIES {
        if attempt > 1 {
            tokio::time::sleep(ec2.pause).await;
        }
        let policy = match ec2.policy(&step.endpoint).await {
            Ok(policy) => policy,
            Err(failure) => return Withdrawn::Failed(resource.failed(failure)),
        };
        let document = match sqs_policy::withdraw(policy.as_deref(), &step.queues) {
            Ok(Withdrawal::Given) if attempt == 0 => return Withdrawn::Nothing,
            Ok(Withdrawal::Given) => return Withdrawn::Done(resource),
            Ok(Withdrawal::Write { document, .. }) => document,
            // A policy that cannot be read or was edited matters only if a queue is in it.
            Err(_) if !mentions(policy.as_deref(), step) => return Withdrawn::Nothing,
            Err(problem) => {
                let failure = Failure::new(doing, problem.to_string(), problem.remedy());
                return Withdrawn::Impossible(resource.failed(failure));
            }
        };
        if attempt < TRIES
            && let Err(failure) = ec2.write_policy(&step.endpoint, &document).await
        {
            return Withdrawn::Failed(resource.failed(failure));
        }
    }
    Withdrawn::Failed(resource.failed(Failure::new(
        doing,
        format!("they were in it again after {TRIES} writes: somebody else writes it too"),
        "see that no other tool manages this policy; the next delivery or sweep tries again",
    )))
}

fn mentions(policy: Option<&str>, step: &QueueRemoval) -> bool {
    let policy = policy.unwrap_or_default();
    step.queues.iter().any(|queue| policy.contains(queue.as_str()))
}

/// `resource` with the statements that deny the environment its queue.
fn report_blocks(mut resource: Resource, step: &QueueStep, environment: &Environment) -> Resource {
    if !step.blocks.is_empty() {
        let sentences: Vec<String> =
            step.blocks.iter().map(|block| plan::block_sentence(block, environment)).collect();
        resource.detail = format!("{}; {}", resource.detail, sentences.join("; "));
        resource.outcome = Done::Blocked;
        resource.remedy = Some(BLOCK_REMEDY.to_owned());
    }
    resource
}

/// Sees to it that the environment's group is there with its rules.
async fn keep_group(
    ec2: &Ec2,
    vpc: &VpcId,
    environment: &Environment,
    step: &GroupStep,
) -> (Result<GroupId, ()>, Resource) {
    let mut resource = Resource::new(Kind::SecurityGroup, Done::Kept, "");
    let (id, mut missing) = match &step.existing {
        Some(id) => (id.clone(), step.missing.clone()),
        None if step.missing.is_empty() => {
            let failure = Failure::new(
                format!("security group {} was not made", step.name),
                "neither the event nor any tag names the environment's security groups",
                "replay the environment (aws mwaa get-environment)",
            );
            return (Err(()), resource.failed(failure));
        }
        None => match make_group(ec2, vpc, environment, step).await {
            Ok((id, made, missing)) => {
                if made {
                    resource.outcome = Done::Created;
                }
                (id, missing)
            }
            Err(failure) => return (Err(()), resource.failed(failure)),
        },
    };
    resource.id = Some(id.to_string());
    let added: Vec<String> = missing.iter().map(Rule::to_string).collect();
    if let Err(failure) = authorize(ec2, &id, &mut missing, environment).await {
        return (Err(()), resource.failed(failure));
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
            let lacks = |rule: &&Rule| !group.rules.contains_key(rule);
            let missing = step.missing.iter().filter(lacks).cloned().collect();
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
    let mut resource = Resource::new(Kind::Endpoint, Done::Kept, "");
    resource.role = Some(step.role.as_str());
    resource.service = Some(step.service.to_string());
    let groups = |groups: &Groups| -> Result<Vec<GroupId>, Failure> {
        match (groups, group) {
            // EC2 would put the VPC's default group on the endpoint.
            (Groups::Listed(groups), _) if groups.is_empty() => Err(Failure::new(
                format!("the {} endpoint was left out", step.role),
                "neither the event nor any tag names the environment's security groups",
                "replay the environment (aws mwaa get-environment)",
            )),
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
                Err(failure) => return resource.failed(failure),
            };
            let lacking: Vec<GroupId> =
                groups.into_iter().filter(|group| !carries.contains(group.as_str())).collect();
            let complete = || async { ec2.complete_endpoint(id, subnets, &lacking).await };
            if let Err(failure) = retry_unknown_group(ec2, complete).await {
                return resource.failed(failure);
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
                Err(failure) => return resource.failed(failure),
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

/// What was done to an SQS endpoint.
struct Queued {
    resource: Resource,
    /// What somebody should know.
    notes: Vec<Note>,
    /// The queues that were written into its policy.
    written: BTreeSet<QueueArn>,
}

/// Sees to it that an SQS endpoint admits the queues.
async fn queue(
    ec2: &Ec2,
    settings: &Settings,
    wanted: &Wanted,
    vpc: &Vpc,
    step: &QueueStep,
) -> Queued {
    let id = &step.endpoint;
    let mut resource = Resource::new(Kind::SqsEndpoint, Done::Kept, "");
    resource.id = Some(id.clone());
    resource.service = Some(step.service.clone());
    let mut notes = Vec::new();
    let mut written = BTreeSet::new();
    match &step.action {
        QueueAction::Keep if !vpc.is_partial => {
            resource.detail = format!("{id} admits the queue");
        }
        QueueAction::Keep | QueueAction::Write { .. } => {
            let writes = match settle(ec2, settings, wanted, vpc, step, &mut written).await {
                Ok((writes, told)) => {
                    notes = told;
                    writes
                }
                Err(failure) => {
                    return Queued { resource: resource.failed(failure), notes, written };
                }
            };
            let names: Vec<&str> = written.iter().map(|queue| queue.as_str()).collect();
            if writes == 0 {
                resource.detail = format!("{id} admits the queue");
            } else {
                resource.outcome = Done::Updated;
                resource.detail = if names.is_empty() {
                    format!("brought statement {} of {id} up to date", sqs_policy::SID)
                } else {
                    format!("added {} to statement {} of {id}", names.join(", "), sqs_policy::SID)
                };
            }
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
            return Queued { resource: resource.failed(failure), notes, written };
        }
    }
    Queued { resource: report_blocks(resource, step, &wanted.environment), notes, written }
}

/// Data perimeters commonly deny what is outside of the organization, and the queue is: it belongs
/// to an MWAA service account.
const BLOCK_REMEDY: &str = "except the environment's queue from the statement (arn:<partition>:sqs:<region>:*:airflow-celery-*): it belongs to an MWAA service account outside of your organization";

/// Writes the policy, if it must be, until a look at the whole VPC shows that it admits all queues:
/// ModifyVpcEndpoint replaces all of it and cannot tell that another writer was faster, and what the
/// neighbours need may not have been seen before. The queues that were added join `written`, whatever
/// comes after. Returns the number of writes, and what somebody should know.
///
/// Of the queues that it cannot let through only the environment's own is a failure: each of the
/// others is seen to by its own deliveries, and by the sweep.
async fn settle(
    ec2: &Ec2,
    settings: &Settings,
    wanted: &Wanted,
    vpc: &Vpc,
    step: &QueueStep,
    written: &mut BTreeSet<QueueArn>,
) -> Result<(usize, Vec<Note>), Failure> {
    let id = &step.endpoint;
    let failure = |why: String, remedy: &str| {
        Failure::new(format!("writing the policy of endpoint {id}"), why, remedy)
    };
    let admit = |policy: Option<&str>, queues: &BTreeSet<QueueArn>| {
        sqs_policy::admit(policy, queues, settings.organization.as_deref())
    };
    let own: BTreeSet<QueueArn> = wanted.queue.iter().cloned().collect();
    let mut writes = 0;
    let mut next = match &step.action {
        QueueAction::Write { document, added } => Some((document.clone(), added.clone())),
        _ => None,
    };
    loop {
        if let Some((document, added)) = next {
            if writes > 0 {
                tokio::time::sleep(ec2.pause).await;
            }
            ec2.write_policy(id, &document).await?;
            writes += 1;
            written.extend(added);
        }
        let endpoints = ec2.endpoints(&vpc.id).await?;
        let Some(endpoint) = endpoints.iter().find(|e| e.id == *id && e.is_alive()) else {
            return Err(failure(
                "it is gone, or about to be".to_owned(),
                "the next delivery looks for another SQS endpoint",
            ));
        };
        let (queues, mut notes) = plan::queues_to_admit(wanted, &endpoints);
        let policy = endpoint.policy.as_deref();
        let lacks_own = || admit(policy, &own) != Ok(Admission::Given);
        next = match admit(policy, &queues) {
            Ok(Admission::Given) => return Ok((writes, notes)),
            Ok(Admission::Write { document, added }) if writes < TRIES => Some((document, added)),
            Ok(Admission::Write { .. }) if lacks_own() => {
                return Err(failure(
                    format!("the queue was missing from it after {TRIES} writes: {FASTER}"),
                    "see that no other tool manages this policy, or that it leaves the statement alone; the next delivery tries again",
                ));
            }
            Ok(Admission::Write { added, .. }) => {
                let names: Vec<&str> = added.iter().map(QueueArn::as_str).collect();
                notes.push(Note::new(
                    format!(
                        "queues of other environments were missing from the policy of {id} after {TRIES} writes: {FASTER}: {}",
                        names.join(", ")
                    ),
                    "their deliveries, or the next sweep, put them back",
                ));
                return Ok((writes, notes));
            }
            Err(problem) if lacks_own() => {
                return Err(failure(problem.to_string(), &problem.remedy()));
            }
            Err(problem) => {
                notes.push(Note::new(
                    format!("{id} admits the queue, but not all of other environments: {problem}"),
                    problem.remedy(),
                ));
                return Ok((writes, notes));
            }
        };
    }
}

const FASTER: &str = "somebody else writes it too";
