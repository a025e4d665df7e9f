//! Making the environment's group, giving it rules, taking rules off it, deleting it.

use std::collections::{BTreeMap, BTreeSet};

use super::decide::GroupStep;
use crate::aws::Ec2;
use crate::aws::ec2::NewGroup;
use crate::environment::{Environment, GroupId};
use crate::gather::{self, Gather};
use crate::report::{Change, Failure, Kind, Resource, Tense, Warning};
use crate::tags;
use crate::vpc::{Group, Rule};

/// How often something that EC2 may not show yet is looked for.
const TRIES: usize = 4;

/// What came of seeing to a group.
#[derive(Default)]
pub struct Kept {
    /// The group, if it is there.
    pub id: Option<GroupId>,
    /// The ports to which it has a rule.
    pub ports: BTreeSet<u16>,
    /// What is told of it: of the group, and of each rule that could not be added.
    pub lines: Vec<Resource>,
}

/// Sees to it that the environment's group is there with its rules.
pub async fn keep(ec2: &Ec2, step: &GroupStep) -> Kept {
    let mut step = step.clone();
    let mut is_made = false;
    let id = match &step.existing {
        Some(id) => id.clone(),
        None => match make(ec2, &step).await {
            Ok((id, None)) => {
                is_made = true;
                id
            }
            // Another delivery was faster.
            Ok((id, Some(found))) => {
                step.missing.retain(|rule| !found.rules.contains_key(rule));
                (step.existing, step.ports) = (Some(id.clone()), found.ports());
                id
            }
            Err(failure) => {
                let lines = vec![step.line(Tense::Did).failed(failure)];
                return Kept { lines, ..Kept::default() };
            }
        },
    };
    let refused = authorize(ec2, &id, &step.missing, &step.environment).await;
    let wanted = std::mem::take(&mut step.missing);
    step.missing = wanted.into_iter().filter(|rule| !refused.contains_key(rule)).gather();
    let mut lines = Vec::new();
    if is_made || refused.is_empty() || !step.missing.is_empty() {
        lines.push(step.line(Tense::Did).with_id(&id));
    }
    let mut told: Vec<&Failure> = Vec::new();
    for failure in refused.values() {
        // What EC2 said of all rules at once is told once.
        if !told.contains(&failure) {
            told.push(failure);
            let line = Resource::new(Kind::SecurityGroup, Change::Failed, "").with_id(&id);
            lines.push(line.failed(failure.clone()));
        }
    }
    step.ports.extend(step.missing.iter().map(|rule| rule.port));
    Kept { id: Some(id), ports: step.ports, lines }
}

/// Makes the group, or finds the one that an earlier delivery made.
async fn make(ec2: &Ec2, step: &GroupStep) -> Result<(GroupId, Option<Group>), Failure> {
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
            return Ok((group.id.clone(), Some(group)));
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

/// Adds the rules that are missing, and returns those that could not be added, with the reason. A rule
/// that is there already is an answer, not a failure.
async fn authorize(
    ec2: &Ec2,
    group: &GroupId,
    missing: &BTreeSet<Rule>,
    environment: &Environment,
) -> BTreeMap<Rule, Failure> {
    if missing.is_empty() {
        return BTreeMap::new();
    }
    let all = known_group(ec2, || ec2.authorize(group, missing, environment)).await;
    let Err(failure) = all else { return BTreeMap::new() };
    if failure.code().is_none() || failure.may_pass() || failure.is_denied() {
        return missing.iter().map(|rule| (rule.clone(), failure.clone())).gather();
    }
    // EC2 adds none of a call's rules if one is wrong, or there already: they are added one by one.
    let mut refused = BTreeMap::new();
    for rule in missing {
        let one = gather::one(rule.clone());
        match ec2.authorize(group, &one, environment).await {
            Err(failure) if !failure.is_duplicate_rule() => {
                drop(refused.insert(rule.clone(), failure))
            }
            _ => {}
        }
    }
    refused
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
/// takes none of a call's rules off. Where a rule names a group that is gone, of another VPC, EC2 knows
/// the rule by its id only.
pub async fn revoke(
    ec2: &Ec2,
    group: &GroupId,
    rules: &BTreeSet<Rule>,
    environment: &Environment,
) -> Result<(), Failure> {
    let is_unknown = |failure: &Failure| failure.is_unknown_rule() || failure.is_unknown_group();
    match ec2.revoke(group, rules, environment).await {
        Err(failure) if is_unknown(&failure) => {}
        answer => return answer,
    }
    for rule in rules {
        match ec2.revoke(group, &gather::one(rule.clone()), environment).await {
            Err(failure) if is_unknown(&failure) => {}
            answer => {
                answer?;
                continue;
            }
        }
        let ids = ec2.rule_ids(group, rule, &rule.description(environment)).await?;
        if !ids.is_empty() {
            match ec2.revoke_by_id(group, ids).await {
                Err(failure) if !is_unknown(&failure) => return Err(failure),
                _ => {}
            }
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
