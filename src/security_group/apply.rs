//! Making the environment's group, giving it rules, taking rules off it, deleting it.

use std::collections::BTreeSet;

use super::decide::GroupStep;
use crate::aws::Ec2;
use crate::aws::ec2::NewGroup;
use crate::environment::{Environment, GroupId};
use crate::report::{Change, Failure, Kind, Resource, Tense, Warning};
use crate::tags;
use crate::vpc::Rule;

/// How often something that EC2 may not show yet is looked for.
const TRIES: usize = 4;

/// Sees to it that the environment's group is there with its rules: its id, if it is ready, and what
/// is told of it.
pub async fn keep(ec2: &Ec2, step: &GroupStep) -> (Option<GroupId>, Resource) {
    let mut resource = step.line(Tense::Did);
    let mut missing = step.missing.clone();
    let id = match &step.existing {
        Some(id) => id.clone(),
        None => match make(ec2, step).await {
            Ok((id, None)) => id,
            // Another delivery was faster.
            Ok((id, Some(lacks))) => {
                missing = lacks;
                let found = GroupStep { existing: Some(id.clone()), missing, ..step.clone() };
                resource = found.line(Tense::Did);
                missing = found.missing;
                id
            }
            Err(failure) => return (None, resource.failed(failure)),
        },
    };
    resource.id = Some(id.to_string());
    match authorize(ec2, &id, missing, &step.environment).await {
        Ok(()) => (Some(id), resource),
        Err(failure) => (None, resource.failed(failure)),
    }
}

/// Makes the group, or finds the one that an earlier delivery made: its id, and of a found one the
/// rules that it lacks.
async fn make(ec2: &Ec2, step: &GroupStep) -> Result<(GroupId, Option<BTreeSet<Rule>>), Failure> {
    let group = NewGroup {
        vpc: &step.vpc,
        name: &step.name,
        description: &step.description,
        tags: &step.tags,
    };
    let failure = match ec2.create_group(group).await {
        Ok(id) => return Ok((id, None)),
        Err(failure) if failure.is_duplicate_group() => failure,
        Err(failure) => return Err(failure),
    };
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(ec2.pause).await;
        }
        let Some(group) = ec2.group_named(&step.vpc, &step.name, &step.owner).await? else {
            continue;
        };
        if group.made_for(&step.owner).as_ref() == Some(&step.environment) {
            let lacks = |rule: &&Rule| !group.rules.contains_key(rule);
            let missing = step.missing.iter().filter(lacks).cloned().collect();
            return Ok((group.id, Some(missing)));
        }
        return Err(Failure {
            why: Some(format!("{} has this name and is not this function's", group.id)),
            remedy: Some(format!(
                "rename or delete it if nothing uses it; or tag it as the environment's ({} = {}, {} = {}) if the function may keep it",
                tags::ENVIRONMENT,
                step.environment.arn(),
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
    missing: BTreeSet<Rule>,
    environment: &Environment,
) -> Result<(), Failure> {
    if missing.is_empty() {
        return Ok(());
    }
    let call = |rules: BTreeSet<Rule>| async move {
        known_group(ec2, || ec2.authorize(group, &rules, environment)).await
    };
    match call(missing.clone()).await {
        Err(failure) if failure.is_duplicate_rule() => {}
        answer => return answer,
    }
    // EC2 adds none of a call's rules if one is there already: add them one by one.
    for rule in missing {
        match call(BTreeSet::from([rule])).await {
            Err(failure) if failure.is_duplicate_rule() => {}
            answer => answer?,
        }
    }
    Ok(())
}

/// Calls again, a few times, while EC2 does not know a group that may have been made just now.
pub async fn known_group<T, F>(ec2: &Ec2, call: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut attempt = 1;
    loop {
        match call().await {
            Err(failure) if failure.is_unknown_group() && attempt < TRIES => {
                attempt += 1;
                tokio::time::sleep(ec2.pause).await;
            }
            answer => return answer,
        }
    }
}

/// Takes rules off a group. One that is not there any more is an answer, not a failure; but EC2 then
/// takes none of a call's rules off.
pub async fn revoke(
    ec2: &Ec2,
    group: &GroupId,
    rules: &BTreeSet<Rule>,
    environment: &Environment,
) -> Result<(), Failure> {
    match ec2.revoke(group, rules, environment).await {
        Err(failure) if failure.is_unknown_rule() => {}
        answer => return answer,
    }
    for rule in rules {
        match ec2.revoke(group, &BTreeSet::from([rule.clone()]), environment).await {
            Err(failure) if failure.is_unknown_rule() => {}
            answer => answer?,
        }
    }
    Ok(())
}

/// Deletes a group. One that is still in use, as by an endpoint that is being deleted for minutes, is
/// left for a sweep: the tags of what is left behind, which it was given before, tell the sweep to.
pub async fn delete(ec2: &Ec2, group: &GroupId) -> (Resource, Option<Warning>) {
    let resource = Resource::new(Kind::SecurityGroup, Change::Deleted, format!("deleted {group}"))
        .with_id(group);
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(ec2.pause).await;
        }
        match ec2.delete_group(group).await {
            Ok(()) => return (resource, None),
            Err(failure) if failure.is_in_use() => {}
            Err(failure) => return (resource.failed(failure), None),
        }
    }
    let detail =
        format!("{group} is still in use, most likely by an endpoint that is being deleted");
    let warning = Warning::new(detail.clone(), "the sweep deletes it; or delete it by hand later");
    (Resource { outcome: Change::Left, detail, ..resource }, Some(warning))
}
