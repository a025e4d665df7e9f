//! What must happen to the policy of an SQS endpoint, as far as a look at it tells.

use std::collections::BTreeSet;
use std::time::Instant;

use super::{
    Admission, Block, Certainty, Facts, Problem, Queues, SID, Withdrawal, admit, blocks, withdraw,
};
use crate::environment::{EndpointId, Environment, QueueArn, VpcId};
use crate::gather::Gather;
use crate::report::{Change, Failure, Kind, Resource, Tense, Warning, shortened};
use crate::vpc::Endpoint;

/// A policy as it was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The policy; an absent one allows everything.
    pub policy: Option<String>,
    /// When EC2 had told it.
    pub at: Instant,
}

/// An SQS endpoint whose policy must admit queues.
#[derive(Clone, Debug)]
pub struct PolicyStep {
    /// The VPC.
    pub vpc: VpcId,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Its service.
    pub service: String,
    /// The environment that is being worked for.
    pub environment: Environment,
    /// What is known of requests through it.
    pub facts: Facts,
    /// The environment's own queues.
    pub own: Queues,
    /// Queues of its neighbours that are missing too.
    pub neighbours: Queues,
    /// The policy.
    pub seen: Seen,
    /// Whether all neighbours are known.
    pub is_whole: bool,
    /// What must happen.
    pub action: PolicyAction,
    /// The statements that deny the environment its queue.
    pub blocks: Vec<Block>,
}

/// What must happen to the policy of an SQS endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyAction {
    /// Nothing: the queues are admitted.
    Keep,
    /// It must be written; these are the queues that this adds.
    Write(BTreeSet<QueueArn>),
    /// An AWS service manages the endpoint, so it cannot be changed here.
    RequesterManaged {
        /// Whether it admits the environment's queue as it is.
        admits: bool,
    },
    /// The policy cannot be written.
    Impossible(Problem),
}

/// What must happen for `policy` to admit the environment's `own` queues and those of its
/// `neighbours`; if not all can be admitted, its own, with a warning that says so.
///
/// # Errors
///
/// A [`Problem`] if not even its own can be admitted.
pub fn admit_own_first(
    endpoint: &EndpointId,
    policy: Option<&str>,
    own: &Queues,
    neighbours: &Queues,
    facts: &Facts,
) -> Result<(Admission, Option<Warning>), Problem> {
    let all = neighbours.iter().chain(own).map(|(it, of)| (it.clone(), of.clone())).gather();
    match admit(policy, &all, facts) {
        Ok(admission) => Ok((admission, None)),
        Err(problem) => {
            let admission = admit(policy, own, facts)?;
            let warning = Warning::new(
                format!(
                    "{endpoint} admits the queue, but not all of other environments: {problem}"
                ),
                problem.remedy(),
            );
            Ok((admission, Some(warning)))
        }
    }
}

/// Decides what must happen to the policy of an SQS `endpoint`; what somebody should know is added to
/// `warnings`.
#[allow(clippy::too_many_arguments)]
pub fn decide(
    endpoint: &Endpoint,
    environment: &Environment,
    own: BTreeSet<QueueArn>,
    neighbours: Queues,
    organization: Option<&str>,
    (at, is_whole): (Instant, bool),
    warnings: &mut Vec<Warning>,
) -> PolicyStep {
    let policy = endpoint.policy.as_deref();
    let facts = Facts {
        vpc: Some(endpoint.vpc.clone()),
        endpoint: Some(endpoint.id.clone()),
        organization: organization.map(str::to_owned),
        is_gateway: false,
    };
    let own: Queues = own.into_iter().map(|queue| (queue, environment.account.clone())).gather();
    let action = if endpoint.requester_managed {
        let admits = admit(policy, &own, &facts) == Ok(Admission::AlreadyAllowed);
        PolicyAction::RequesterManaged { admits }
    } else {
        match admit_own_first(&endpoint.id, policy, &own, &neighbours, &facts) {
            Ok((admission, warning)) => {
                warnings.extend(warning);
                match admission {
                    Admission::AlreadyAllowed => PolicyAction::Keep,
                    Admission::Write { added, .. } => PolicyAction::Write(added),
                }
            }
            Err(problem) => PolicyAction::Impossible(problem),
        }
    };
    let blocks: Vec<Block> =
        own.iter().flat_map(|(queue, account)| blocks(policy, queue, account, &facts)).collect();
    let step = PolicyStep {
        vpc: endpoint.vpc.clone(),
        endpoint: endpoint.id.clone(),
        service: endpoint.service.clone(),
        environment: environment.clone(),
        facts,
        own,
        neighbours,
        seen: Seen { policy: endpoint.policy.clone(), at },
        is_whole,
        action,
        blocks,
    };
    if matches!(step.action, PolicyAction::RequesterManaged { .. }) {
        let line = step.line(Tense::Would);
        warnings.push(Warning { message: line.detail, remedy: line.remedy });
    }
    step
}

/// Data perimeters commonly deny what is outside of the organization, and the queue is: it belongs
/// to an MWAA service account.
const BLOCK_REMEDY: &str = "except the environment's queue from the statement (arn:<partition>:sqs:<region>:*:airflow-celery-*): it belongs to an MWAA service account outside of your organization";

impl PolicyStep {
    /// What is told of it.
    pub fn line(&self, tense: Tense) -> Resource {
        let id = &self.endpoint;
        let mut resource = self.resource(Change::Kept, format!("{id} admits the queue"));
        match &self.action {
            PolicyAction::Keep => {}
            PolicyAction::Write(added) => {
                resource.outcome = Change::Updated;
                resource.detail = match tense {
                    Tense::Would => format!("{id} does not let {} through", names(added)),
                    Tense::Did => self.wrote(added),
                };
            }
            PolicyAction::RequesterManaged { admits: true } => {
                resource.detail = format!(
                    "{id} is managed by an AWS service, is not modified, and admits the queue"
                );
            }
            PolicyAction::RequesterManaged { admits: false } => {
                resource.outcome = Change::Blocked;
                resource.certainty = Some(Certainty::Maybe);
                resource.detail = format!(
                    "{id} is managed by an AWS service, is not modified, and may not admit the queue"
                );
                resource.remedy = Some(
                    "change its policy where the service that manages it is set up".to_owned(),
                );
            }
            PolicyAction::Impossible(problem) => return resource.failed(self.impossible(problem)),
        }
        self.with_blocks(resource)
    }

    /// The sentence on queues that were added.
    pub(super) fn wrote(&self, added: &BTreeSet<QueueArn>) -> String {
        let id = &self.endpoint;
        if added.is_empty() {
            format!("brought statement {SID} of {id} up to date")
        } else {
            format!("added {} to statement {SID} of {id}", names(added))
        }
    }

    pub(super) fn impossible(&self, problem: &Problem) -> Failure {
        Failure::new(
            format!("letting the queue through {}", self.endpoint),
            problem.to_string(),
            problem.remedy(),
        )
    }

    pub(super) fn resource(&self, outcome: Change, detail: String) -> Resource {
        let mut resource =
            Resource::new(Kind::SqsEndpoint, outcome, detail).with_id(&self.endpoint);
        resource.service = Some(self.service.clone());
        resource
    }

    /// A sentence on each statement that denies the environment its queue.
    pub(crate) fn sentences(&self) -> Vec<String> {
        self.blocks.iter().map(|block| sentence(block, &self.environment)).collect()
    }

    /// `resource` with the statements that deny the environment its queue.
    pub(super) fn with_blocks(&self, mut resource: Resource) -> Resource {
        if !self.blocks.is_empty() {
            resource.detail = format!("{}; {}", resource.detail, self.sentences().join("; "));
            resource.outcome = Change::Blocked;
            resource.certainty = self.blocks.iter().map(|block| block.certainty).max();
            resource.remedy = Some(BLOCK_REMEDY.to_owned());
        }
        resource
    }
}

/// A sentence on a statement that denies the environment its queue.
fn sentence(block: &Block, environment: &Environment) -> String {
    let how = match block.certainty {
        Certainty::Surely => "is blocked",
        Certainty::Maybe => "may be blocked",
    };
    format!(
        "the queue of {} {how} by a statement that this function does not change: {}",
        environment.name(),
        shortened(&block.statement)
    )
}

/// Queues to take out of an SQS endpoint's policy, if they are in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WithdrawStep {
    /// The SQS endpoint.
    pub endpoint: EndpointId,
    /// Its service.
    pub service: String,
    /// The queues.
    pub queues: BTreeSet<QueueArn>,
    /// Whether our statement listed one of them when it was looked at.
    pub is_listed: bool,
    /// Why they could not be taken out, if they could not.
    pub problem: Option<Problem>,
}

/// Decides on taking `queues` out of the policy of an SQS endpoint. One that cannot be read, or was
/// edited, matters only if a queue is in it.
pub fn decide_withdrawal(endpoint: &Endpoint, queues: &BTreeSet<QueueArn>) -> WithdrawStep {
    let policy = endpoint.policy.as_deref();
    let (is_listed, problem) = match withdraw(policy, queues) {
        Ok(Withdrawal::Write { .. }) => (true, None),
        Ok(Withdrawal::NotListed) => (false, None),
        Err(problem) => (false, Some(problem).filter(|_| mentions(policy, queues))),
    };
    WithdrawStep {
        endpoint: endpoint.id.clone(),
        service: endpoint.service.clone(),
        queues: queues.clone(),
        is_listed,
        problem,
    }
}

/// Whether a policy has one of the queues in it, in whatever place.
pub(super) fn mentions(policy: Option<&str>, queues: &BTreeSet<QueueArn>) -> bool {
    let policy = policy.unwrap_or_default();
    queues.iter().any(|queue| policy.contains(queue.as_str()))
}

impl WithdrawStep {
    /// What is told of it, if there is anything to tell.
    pub fn line(&self, outcome: Change) -> Option<Resource> {
        if let Some(problem) = &self.problem {
            return Some(self.resource(outcome).failed(self.impossible(problem)));
        }
        self.is_listed.then(|| self.resource(outcome))
    }

    pub(super) fn impossible(&self, problem: &Problem) -> Failure {
        Failure::new(self.doing(), problem.to_string(), problem.remedy())
    }

    pub(super) fn doing(&self) -> String {
        format!("taking queues out of the policy of endpoint {}", self.endpoint)
    }

    pub(super) fn resource(&self, outcome: Change) -> Resource {
        let detail = format!(
            "{}: {} is no longer needed in statement {SID}",
            self.endpoint,
            names(&self.queues)
        );
        let mut resource =
            Resource::new(Kind::SqsEndpoint, outcome, detail).with_id(&self.endpoint);
        resource.service = Some(self.service.clone());
        resource
    }
}

fn names(queues: &BTreeSet<QueueArn>) -> String {
    queues.iter().map(QueueArn::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::AccountId;
    use crate::sqs_policy::MAX_POLICY_CHARACTERS;

    fn queue(name: &str) -> QueueArn {
        QueueArn::parse(&format!("arn:aws:sqs:us-east-1:555555555555:airflow-celery-{name}"))
            .unwrap()
    }

    #[test]
    fn of_a_long_statement_both_ends_are_told() {
        let statement = format!("{{\"Sid\":\"Perimeter\",{}\"Resource\":\"*\"}}", " ".repeat(9000));
        let block = Block { certainty: Certainty::Maybe, statement };
        let arn = "arn:aws:airflow:us-east-1:210987654321:environment/analytics";
        let told = sentence(&block, &Environment::parse(arn).unwrap());
        assert!(told.contains("Perimeter") && told.ends_with("\"Resource\":\"*\"}"), "{told}");
        assert!(told.chars().count() < 300, "{told}");
    }

    #[test]
    fn if_not_all_queues_fit_the_environments_own_goes_in() {
        let endpoint = EndpointId::parse("vpce-1").unwrap();
        let account = || AccountId::parse("111122223333").unwrap();
        let neighbours: Queues =
            (0..MAX_POLICY_CHARACTERS / 50).map(|n| (queue(&n.to_string()), account())).collect();
        let own = Queues::from([(queue("own"), account())]);
        let facts = Facts::default();
        let answer = admit_own_first(&endpoint, Some("{}"), &own, &neighbours, &facts).unwrap();
        let (Admission::Write { added, .. }, Some(warning)) = answer else { panic!("{answer:?}") };
        assert_eq!(added, BTreeSet::from([queue("own")]));
        assert!(warning.message.contains("not all of other environments"), "{warning:?}");
    }
}
