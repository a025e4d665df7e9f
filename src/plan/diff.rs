//! A plan as a person reads it: as a diff of endpoints, groups, rules and policy statements.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Chain, Detached, Plan, Progress, Step};
use crate::endpoints::decide::EndpointRequest;
use crate::endpoints::{EndpointAction, EndpointStep, Groups};
use crate::environment::{GroupId, QueueArn, SubnetId};
use crate::report::{Change, Resource, Tense};
use crate::security_group::GroupStep;
use crate::sqs_policy::step::admit_own_first;
use crate::sqs_policy::{Admission, PolicyAction, PolicyStep, SID};
use crate::tags::{self, Tags};

/// What would become of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Sign {
    /// It is made, or joins something.
    Add,
    /// It changes.
    Change,
    /// It is deleted, or leaves something.
    Remove,
    /// It is not as it should be, and stays so.
    Wrong,
}

impl Sign {
    /// The character that stands before it.
    pub fn as_char(self) -> char {
        match self {
            Self::Add => '+',
            Self::Change => '~',
            Self::Remove => '-',
            Self::Wrong => '!',
        }
    }
}

/// A resource that would become another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What would become of it.
    pub sign: Sign,
    /// What it is: `endpoint vpce-…`, `policy of vpce-…`, `security group sg-…`, `tags of …`.
    pub what: String,
    /// What changes about it.
    pub parts: Vec<Part>,
    /// What helps, where it is wrong and stays so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// A part of a resource that would become another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// What would become of it.
    pub sign: Sign,
    /// What it is.
    pub what: String,
}

impl Difference {
    fn new(sign: Sign, what: impl Into<String>) -> Self {
        Self { sign, what: what.into(), parts: Vec::new(), remedy: None }
    }

    fn with(mut self, sign: Sign, what: impl Into<String>) -> Self {
        self.parts.push(Part { sign, what: what.into() });
        self
    }

    /// What stays wrong, with what helps.
    fn wrong(what: impl Into<String>, remedy: Option<String>) -> Self {
        Self { remedy, ..Self::new(Sign::Wrong, what) }
    }

    /// A line of the result that says that something stays wrong, if it says so.
    fn of_line(line: Resource) -> Option<Self> {
        let stays_wrong = matches!(line.outcome, Change::Failed | Change::Left | Change::Blocked);
        stays_wrong.then(|| Self::wrong(line.detail, line.remedy))
    }
}

impl Plan {
    /// What carrying it out would change, in that order, and what it would leave wrong.
    pub fn diff(&self) -> Vec<Difference> {
        let mut differences = Vec::new();
        let mut progress = Progress::default();
        for phase in &self.phases {
            if !progress.opens(phase.gate) {
                continue;
            }
            let mut lines = Vec::new();
            for chain in &phase.chains {
                differences.extend(chain.diff());
                lines.extend(chain.then.iter().flat_map(|step| step.lines(Tense::Would)));
            }
            progress.note(phase, &lines, false);
        }
        differences
    }

    /// What is to be done about the policies of SQS endpoints.
    pub fn policies(&self) -> impl Iterator<Item = &PolicyStep> {
        self.steps().filter_map(|step| match step {
            Step::Policy(step) => Some(step),
            _ => None,
        })
    }

    /// What is to be done about the environment's endpoints.
    pub fn endpoints(&self) -> impl Iterator<Item = &EndpointStep> {
        self.steps().filter_map(|step| match step {
            Step::Endpoint(step) => Some(step),
            _ => None,
        })
    }
}

impl Chain {
    fn diff(&self) -> Vec<Difference> {
        let group = self.first.as_ref();
        let of_group = group.and_then(of_group);
        let of_steps = self.then.iter().flat_map(|step| of_step(step, group));
        of_group.into_iter().chain(of_steps).collect()
    }
}

fn of_group(step: &GroupStep) -> Option<Difference> {
    let mut difference = match &step.existing {
        None => Difference::new(Sign::Add, format!("security group {}", step.name))
            .with(Sign::Add, format!("in {}", step.vpc)),
        Some(_) if step.missing.is_empty() => return None,
        Some(id) => Difference::new(Sign::Change, format!("security group {id} ({})", step.name)),
    };
    for rule in &step.missing {
        difference = difference.with(Sign::Add, format!("rule {rule}"));
    }
    Some(difference)
}

fn of_step(step: &Step, group: Option<&GroupStep>) -> Vec<Difference> {
    match step {
        Step::Told(line) => Difference::of_line(line.clone()).into_iter().collect(),
        Step::Tag { ids, tags, .. } => {
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            vec![of_tags(&ids.join(", "), tags)]
        }
        Step::Endpoint(step) => of_endpoint(step, group),
        Step::Policy(step) => of_policy(step),
        Step::Revoke { group, rules, .. } => {
            let difference = Difference::new(Sign::Change, format!("security group {group}"));
            vec![
                rules
                    .iter()
                    .fold(difference, |it, rule| it.with(Sign::Remove, format!("rule {rule}"))),
            ]
        }
        Step::Withdraw(step) if step.problem.is_none() && step.is_listed => {
            let difference = Difference::new(Sign::Change, format!("policy of {}", step.endpoint));
            vec![step.queues.iter().fold(difference, |it, queue| {
                it.with(Sign::Remove, format!("{queue} in statement {SID}"))
            })]
        }
        Step::Withdraw(step) => {
            step.line(Change::Updated).and_then(Difference::of_line).into_iter().collect()
        }
        Step::Detach(detach) => vec![match &detach.resource {
            Detached::Endpoint(id, groups) => {
                let difference = Difference::new(Sign::Change, format!("endpoint {id}"));
                let difference = groups.iter().fold(difference, |it, group| {
                    it.with(Sign::Remove, format!("security group {group}"))
                });
                detach.tags.iter().fold(difference, |it, (key, value)| {
                    it.with(Sign::Change, format!("tag {key} = {value}"))
                })
            }
            Detached::Group(id) => of_tags(id.as_str(), &detach.tags),
        }],
        Step::DeleteEndpoints(endpoints) => endpoints
            .iter()
            .map(|it| {
                Difference::new(Sign::Remove, format!("endpoint {}", it.id))
                    .with(Sign::Remove, format!("service {}", it.service))
                    .with(Sign::Remove, format!("since {}", it.why))
            })
            .collect(),
        Step::DeleteGroup(group) => {
            vec![Difference::new(Sign::Remove, format!("security group {group}"))]
        }
    }
}

fn of_tags(ids: &str, tags: &Tags) -> Difference {
    let difference = Difference::new(Sign::Change, format!("tags of {ids}"));
    tags.iter()
        .fold(difference, |it, (key, value)| it.with(Sign::Change, format!("{key} = {value}")))
}

fn of_endpoint(step: &EndpointStep, group: Option<&GroupStep>) -> Vec<Difference> {
    match &step.action {
        EndpointAction::Keep { .. } => Vec::new(),
        EndpointAction::Impossible(_) => {
            Difference::of_line(step.line(Tense::Would)).into_iter().collect()
        }
        EndpointAction::Complete { id, subnets, groups } => {
            let mut difference =
                Difference::new(Sign::Change, format!("endpoint {id} ({})", step.role));
            for subnet in subnets {
                difference = difference.with(Sign::Add, format!("subnet {subnet}"));
            }
            for group in names(groups, group) {
                difference = difference.with(Sign::Add, format!("security group {group}"));
            }
            vec![difference]
        }
        EndpointAction::Create { replaces, request, .. } => {
            let dead = replaces.iter().map(|id| {
                Difference::new(Sign::Remove, format!("endpoint {id}"))
                    .with(Sign::Remove, "it is dead: another takes its place")
            });
            let mut differences: Vec<Difference> = dead.collect();
            differences.push(of_request(step, request, group));
            differences
        }
    }
}

fn of_request(
    step: &EndpointStep,
    request: &EndpointRequest,
    group: Option<&GroupStep>,
) -> Difference {
    let name = request.tags.get(tags::NAME).map_or("", String::as_str);
    let subnets: Vec<&str> = request.subnets.iter().map(SubnetId::as_str).collect();
    Difference::new(Sign::Add, format!("endpoint {name} ({})", step.role))
        .with(Sign::Add, format!("service {}", request.service))
        .with(Sign::Add, format!("in {}, {}", request.vpc, subnets.join(", ")))
        .with(Sign::Add, format!("security groups {}", names(&request.groups, group).join(", ")))
        .with(Sign::Add, format!("address type {}", request.address_type.as_str()))
}

/// The groups that an endpoint gets. Of the group that is kept for the environment it is the id, or
/// the name that it will have.
fn names(groups: &Groups, own: Option<&GroupStep>) -> Vec<String> {
    match groups {
        Groups::Listed(groups) => groups.iter().map(GroupId::to_string).collect(),
        Groups::Own => {
            let name = |step: &GroupStep| match &step.existing {
                Some(id) => id.to_string(),
                None => step.name.clone(),
            };
            own.map(name).into_iter().collect()
        }
    }
}

fn of_policy(step: &PolicyStep) -> Vec<Difference> {
    let mut differences = Vec::new();
    if let PolicyAction::Write(added) = &step.action {
        differences.push(of_write(step, added));
    }
    // What stays wrong is in the line beside what would be written.
    let line = step.line(Tense::Would);
    if line.outcome == Change::Failed {
        differences.extend(Difference::of_line(line));
    } else if line.outcome == Change::Blocked {
        let what = match &step.action {
            PolicyAction::RequesterManaged { .. } => line.detail,
            _ => format!("policy of {}: {}", step.endpoint, step.sentences().join("; ")),
        };
        differences.push(Difference::wrong(what, line.remedy));
    }
    differences
}

fn of_write(step: &PolicyStep, added: &BTreeSet<QueueArn>) -> Difference {
    let policy = step.seen.policy.as_deref();
    let difference = Difference::new(Sign::Change, format!("policy of {}", step.endpoint));
    if has_our_statement(policy) {
        let difference = difference.with(Sign::Change, format!("statement {SID}"));
        return added.iter().fold(difference, |it, queue| it.with(Sign::Add, queue.as_str()));
    }
    let written = admit_own_first(&step.endpoint, policy, &step.own, &step.neighbours, &step.facts);
    let statement = match written {
        Ok((Admission::Write { document, .. }, _)) => our_statement(&document),
        _ => None,
    };
    let statement = statement.map_or_else(String::new, |it| format!(" {it}"));
    difference.with(Sign::Add, format!("statement {SID}{statement}"))
}

/// Whether a policy has a statement with our Sid. One statement may stand without a list.
fn has_our_statement(policy: Option<&str>) -> bool {
    let Some(policy) = policy.and_then(|text| serde_json::from_str::<Value>(text).ok()) else {
        return false;
    };
    let is_ours = |it: &Value| it.get("Sid").and_then(Value::as_str) == Some(SID);
    match policy.get("Statement") {
        Some(Value::Array(statements)) => statements.iter().any(is_ours),
        Some(statement) => is_ours(statement),
        None => false,
    }
}

/// Our statement in a policy that is about to be written, as it stands there.
fn our_statement(document: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Policy<'a> {
        #[serde(borrow)]
        statement: Vec<&'a RawValue>,
    }
    let policy: Policy<'_> = serde_json::from_str(document).ok()?;
    let ours = policy.statement.iter().map(|it| it.get()).rfind(|it| it.contains(SID))?;
    Some(ours.to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::json;

    use super::*;
    use crate::environment::{EndpointId, Environment, VpcId};
    use crate::plan::{EndpointRemoval, Gate, Phase};
    use crate::report::{Failure, Kind};
    use crate::sqs_policy::step;
    use crate::vpc::{self, Endpoint, State};

    fn shown(plan: &Plan) -> Vec<String> {
        let mut lines = Vec::new();
        for difference in plan.diff() {
            lines.push(format!("{} {}", difference.sign.as_char(), difference.what));
            let parts = difference.parts.iter();
            lines.extend(parts.map(|part| format!("  {} {}", part.sign.as_char(), part.what)));
        }
        lines
    }

    fn plan(gate: Gate, steps: Vec<Step>) -> Plan {
        Plan { phases: vec![Phase::new(gate, Chain::each(steps))], warnings: Vec::new() }
    }

    fn policy(document: &Value) -> Step {
        let endpoint = Endpoint {
            id: EndpointId::parse("vpce-1").unwrap(),
            vpc: VpcId::parse("vpc-1").unwrap(),
            created: None,
            service: "com.amazonaws.us-east-1.sqs".to_owned(),
            state: State::Available,
            kind: vpc::Kind::Interface,
            subnets: BTreeSet::new(),
            groups: BTreeSet::new(),
            tags: Tags::new(),
            policy: Some(document.to_string()),
            requester_managed: false,
        };
        let arn = "arn:aws:airflow:us-east-1:210987654321:environment/analytics";
        let environment = Environment::parse(arn).unwrap();
        let own = BTreeSet::from([QueueArn::parse(QUEUE).unwrap()]);
        Step::Policy(step::decide(
            &endpoint,
            &environment,
            own,
            crate::sqs_policy::Queues::new(),
            None,
            (Instant::now(), true),
            &mut Vec::new(),
        ))
    }

    const QUEUE: &str = "arn:aws:sqs:us-east-1:555555555555:airflow-celery-1f2e";

    #[test]
    fn a_policy_gets_a_statement_or_the_statement_a_queue_and_a_deny_stays() {
        let allow = |sid: &str| {
            json!({"Sid": sid, "Effect": "Allow", "Principal": "*",
                "Action": crate::sqs_policy::QUEUE_ACTIONS,
                "Resource": ["arn:aws:sqs:us-east-1:555555555555:airflow-celery-other"]})
        };
        let lines = shown(&plan(Gate::Always, vec![policy(&json!({"Statement": [allow("x")]}))]));
        assert_eq!(lines[0], "~ policy of vpce-1");
        assert!(lines[1].starts_with("  + statement MwaaCeleryQueues {\"Sid\":"), "{lines:?}");
        assert!(lines[1].contains(QUEUE) && lines.len() == 2, "{lines:?}");

        let deny = json!({"Sid": "No", "Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"});
        let both = json!({"Statement": [allow(SID), deny]});
        let lines = shown(&plan(Gate::Always, vec![policy(&both)]));
        let queue = format!("  + {QUEUE}");
        let beginning = ["~ policy of vpce-1", "  ~ statement MwaaCeleryQueues", queue.as_str()];
        assert_eq!(lines[..3], beginning);
        assert!(lines[3].starts_with("! policy of vpce-1: the queue"), "{lines:?}");
    }

    #[test]
    fn what_would_not_be_reached_is_not_shown() {
        let gone = || {
            let removal = EndpointRemoval {
                id: EndpointId::parse("vpce-2").unwrap(),
                role: None,
                service: "com.amazonaws.vpce.us-east-1.vpce-svc-0aa".to_owned(),
                why: "the environment is gone",
            };
            plan(Gate::NothingLacks, vec![Step::DeleteEndpoints(vec![removal])])
        };
        assert_eq!(shown(&gone())[0], "- endpoint vpce-2");

        let failure = Failure::new("making it", "it cannot be", "look");
        let mut plan = plan(Gate::Always, vec![Step::impossible(Kind::Endpoint, None, failure)]);
        plan.phases.extend(gone().phases);
        assert_eq!(shown(&plan), ["! making it: it cannot be"]);
        assert_eq!(plan.diff()[0].remedy.as_deref(), Some("look"));
    }

    #[test]
    fn what_is_as_it_should_be_is_no_difference() {
        let told = Resource::new(Kind::SqsEndpoint, Change::Kept, "there is none");
        assert!(plan(Gate::Always, vec![Step::Told(told)]).diff().is_empty());
    }
}
