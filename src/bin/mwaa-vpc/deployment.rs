//! What the doctor looks at beside the network: the function's stack, the participant's, and with whom
//! subnets are shared. What may not be seen is `Unseen`, with AWS's answer.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_eventbridge::types::RuleState;
use aws_sdk_ram::types::ResourceOwner;
use aws_sdk_sqs::types::QueueAttributeName;
use aws_types::SdkConfig;
use futures_util::future::join_all;
use mwaa_vpc_endpoints::aws::error::failure;
use mwaa_vpc_endpoints::doctor::deployment::{
    Bus, Deployment, Function, Input, Part, Participant, Queue, Role, Rule, STATUSES, Stack,
    Target, event_of, rule_of_participant,
};
use mwaa_vpc_endpoints::doctor::{Seen, Subject, Unseen};
use mwaa_vpc_endpoints::environment::{AccountId, Region, SubnetId, VpcId};
use mwaa_vpc_endpoints::report::Failure;
use serde_json::Value;

use crate::lambda::Lambda;
use crate::stack::{self, Stacks};

/// What it needs in the owner's account.
pub const OWNERS_PERMISSIONS: [&str; 18] = [
    "cloudformation:DescribeStacks",
    "cloudformation:ListStackResources",
    "events:DescribeEventBus",
    "events:DescribeRule",
    "events:ListTargetsByRule",
    "events:TestEventPattern",
    "iam:GetPolicy",
    "iam:GetPolicyVersion",
    "iam:GetRole",
    "iam:GetRolePolicy",
    "iam:ListAttachedRolePolicies",
    "iam:ListRolePolicies",
    "lambda:GetFunctionConcurrency",
    "lambda:GetFunctionConfiguration",
    "lambda:GetFunctionEventInvokeConfig",
    "lambda:GetPolicy",
    "ram:ListPrincipals",
    "sqs:GetQueueAttributes",
];

/// What it needs in the environment's account.
pub const PARTICIPANTS_PERMISSIONS: [&str; 12] = [
    "cloudformation:DescribeStacks",
    "cloudformation:ListStacks",
    "events:DescribeRule",
    "events:ListTargetsByRule",
    "events:TestEventPattern",
    "iam:GetPolicy",
    "iam:GetPolicyVersion",
    "iam:GetRole",
    "iam:GetRolePolicy",
    "iam:ListAttachedRolePolicies",
    "iam:ListRolePolicies",
    "iam:SimulatePrincipalPolicy",
];

/// From where the two sides are looked at; what is none is not asked.
#[derive(Clone, Copy, Debug)]
pub struct From<'a> {
    /// The account that owns the VPC.
    pub owner: &'a AccountId,
    /// How it is reached.
    pub owner_config: Option<&'a SdkConfig>,
    /// How the environment's account is reached.
    pub environment_config: Option<&'a SdkConfig>,
    /// The environment's VPC.
    pub vpc: &'a VpcId,
    /// What the owner's stack is called.
    pub stack: &'a str,
}

/// Looks at what brings an environment's events to the function: both sides side by side, each in three or
/// four rounds of calls.
pub async fn look(from: From<'_>, of: &Subject) -> Deployment {
    let is_guests = of.account != *from.owner;
    let (mut seen, participant) = tokio::join!(owners(from, of), async {
        match is_guests {
            true => Some(participants(from, of).await),
            false => None,
        }
    });
    seen.participant = participant;
    // Most often the role of the template's name, which was looked at meanwhile.
    if let (Some(name), Some(side)) = (asks_with(&seen), &mut seen.participant)
        && name != reader(&of.region)
        && let Some(config) = from.environment_config
    {
        let iam = Iam::new(config);
        side.reader = part(Some(&name), |name| iam.role(name)).await;
    }
    seen
}

/// The role that participant.yaml makes for the function to ask MWAA with.
fn reader(region: &Region) -> String {
    format!("mwaa-vpc-endpoints-reader-{region}")
}

/// The role that the function is told to ask with, if it is.
fn asks_with(seen: &Deployment) -> Option<String> {
    let Ok(Part::There(function)) = seen.function.get() else { return None };
    function.variables.get().ok()?.get("READER_ROLE").filter(|it| !it.is_empty()).cloned()
}

/// What was answered, or why not.
pub fn seen<T>(answer: Result<T, Failure>) -> Seen<T> {
    match answer {
        Ok(value) => Seen::known(value),
        // What helps the function's role does not help whoever looks here.
        Err(failure) => Seen::unseen(Failure { remedy: None, ..failure }.to_string()),
    }
}

/// What was not asked, since no profile of the account is named.
pub fn unasked<T>(account: &AccountId) -> Seen<T> {
    Seen::unseen(format!("account {account} was not asked: no profile of it is named"))
}

fn nowhere<T>() -> Seen<Part<T>> {
    Seen::known(Part::NotOfStack)
}

fn library(stack: stack::Stack) -> Stack {
    let stack::Stack { name, status, outputs } = stack;
    Stack { name, status, outputs }
}

async fn owners(from: From<'_>, of: &Subject) -> Deployment {
    let mut deployment = Deployment {
        owner: from.owner.clone(),
        vpc: from.vpc.clone(),
        name: from.stack.to_owned(),
        stack: unasked(from.owner),
        function: nowhere(),
        own_rule: nowhere(),
        participants_rule: nowhere(),
        sweep_rule: nowhere(),
        bus: nowhere(),
        failed: nowhere(),
        undelivered: nowhere(),
        role: nowhere(),
        attached_by_stack: BTreeSet::new(),
        participant: None,
    };
    let Some(config) = from.owner_config else {
        deployment.bus = unasked(from.owner);
        deployment.function = unasked(from.owner);
        return deployment;
    };
    let stacks = Stacks::new(config);
    let (stack, resources) = tokio::join!(stacks.named(from.stack), stacks.resources(from.stack));
    deployment.stack = seen(stack.map(|it| it.map(library)));
    let Ok(Some(stack)) = deployment.stack.get() else { return deployment };
    let resources = match resources {
        Ok(resources) => resources,
        Err(failure) => {
            let why = Failure { remedy: None, ..failure }.to_string();
            return all_unseen(deployment, &why);
        }
    };
    let named = |logical: &str| resources.get(logical).map(String::as_str);
    let bus = stack.outputs.get("EventBusArn").and_then(|arn| arn.rsplit('/').next());
    let (events, lambda) =
        (Events::new(config, of), Lambda::new(config.clone(), of.region.clone()));
    let (sqs, iam) = (aws_sdk_sqs::Client::new(config), Iam::new(config));
    let (function, own, participants, sweep, bus, failed, undelivered, role) = tokio::join!(
        part(named("MwaaVpcEndpointsFunction"), |name| function(&lambda, name)),
        part(named("DefaultBusRule"), |name| events.rule(name, Asks::Pattern)),
        part(named("ParticipantBusRule"), |name| events.rule(name, Asks::Pattern)),
        part(named("SweepRule"), |name| events.rule(name, Asks::Nothing)),
        part(bus, |name| events.bus(name)),
        part(named("FailedEventsQueue"), |url| queue(&sqs, url)),
        part(named("UndeliveredEventsQueue"), |url| queue(&sqs, url)),
        part(named("FunctionRole"), |name| iam.role(name)),
    );
    let policies = ["DiagnosisPolicy", "ParticipantsPolicy"].into_iter();
    let attached_by_stack = policies.filter_map(|it| named(it).map(str::to_owned)).collect();
    Deployment {
        function,
        own_rule: own,
        participants_rule: participants,
        sweep_rule: sweep,
        bus,
        failed,
        undelivered,
        role,
        attached_by_stack,
        ..deployment
    }
}

fn all_unseen(deployment: Deployment, why: &str) -> Deployment {
    Deployment {
        function: Seen::unseen(why),
        own_rule: Seen::unseen(why),
        participants_rule: Seen::unseen(why),
        sweep_rule: Seen::unseen(why),
        bus: Seen::unseen(why),
        failed: Seen::unseen(why),
        undelivered: Seen::unseen(why),
        role: Seen::unseen(why),
        ..deployment
    }
}

/// A resource of the stack's by its physical id.
async fn part<'a, T, F: Future<Output = Result<Option<T>, Failure>>>(
    name: Option<&'a str>,
    look: impl FnOnce(&'a str) -> F,
) -> Seen<Part<T>> {
    let Some(name) = name else { return nowhere() };
    seen(look(name).await.map(|found| match found {
        Some(it) => Part::There(it),
        None => Part::Gone(name.to_owned()),
    }))
}

async fn function(lambda: &Lambda, name: &str) -> Result<Option<Function>, Failure> {
    let (configuration, policy, concurrency, async_config) = tokio::join!(
        lambda.describe("GetFunctionConfiguration", "2015-03-31", name, "/configuration"),
        lambda.describe("GetPolicy", "2015-03-31", name, "/policy"),
        lambda.describe("GetFunctionConcurrency", "2019-09-30", name, "/concurrency"),
        lambda.describe("GetFunctionEventInvokeConfig", "2019-09-25", name, "/event-invoke-config"),
    );
    let Some(configuration) = configuration? else { return Ok(None) };
    let text = |name: &str| configuration[name].as_str().unwrap_or_default().to_owned();
    let environment = &configuration["Environment"];
    let variables = match environment["Error"]["Message"].as_str() {
        Some(why) => Seen::unseen(format!("Lambda does not show the function's variables: {why}")),
        None => {
            let all = environment["Variables"].as_object().into_iter().flatten();
            let all = all.filter_map(|(name, it)| Some((name.clone(), it.as_str()?.to_owned())));
            Seen::known(all.collect::<BTreeMap<_, _>>())
        }
    };
    let of = |answer: Option<Value>, path: &str| {
        answer.as_ref().and_then(|it| it.pointer(path)).and_then(Value::as_str).map(str::to_owned)
    };
    let destination = |name: &str| {
        let path = format!("/DestinationConfig/{name}/Destination");
        match &async_config {
            Ok(it) => Seen::known(of(it.clone(), &path)),
            Err(failure) => seen(Err(failure.clone())),
        }
    };
    let (on_failure, on_success) = (destination("OnFailure"), destination("OnSuccess"));
    Ok(Some(Function {
        arn: text("FunctionArn"),
        state: text("State"),
        last_update: text("LastUpdateStatus"),
        variables,
        role: text("Role"),
        concurrency: seen(concurrency.map(|it| it?["ReservedConcurrentExecutions"].as_u64())),
        policy: seen(policy.map(|it| of(it, "/Policy"))),
        on_failure,
        on_success,
        log_group: configuration
            .pointer("/LoggingConfig/LogGroup")
            .and_then(Value::as_str)
            .map(str::to_owned),
    }))
}

async fn queue(sqs: &aws_sdk_sqs::Client, url: &str) -> Result<Option<Queue>, Failure> {
    use QueueAttributeName as Name;
    let counts = [Name::ApproximateNumberOfMessages, Name::ApproximateNumberOfMessagesNotVisible];
    let call = sqs.get_queue_attributes().queue_url(url);
    let call = call.set_attribute_names(Some(
        [Name::QueueArn, Name::Policy, Name::KmsMasterKeyId]
            .into_iter()
            .chain(counts.clone())
            .collect(),
    ));
    let answer = match call.send().await {
        Ok(answer) => answer,
        Err(error) if error.as_service_error().is_some_and(|it| it.is_queue_does_not_exist()) => {
            return Ok(None);
        }
        Err(error) => {
            return Err(failure("GetQueueAttributes", &format!("looking at queue {url}"), &error));
        }
    };
    let of = |name: &Name| answer.attributes().and_then(|all| all.get(name)).cloned();
    Ok(Some(Queue {
        arn: of(&Name::QueueArn).unwrap_or_else(|| url.to_owned()),
        policy: of(&Name::Policy).filter(|it| !it.is_empty()),
        kms_key: of(&Name::KmsMasterKeyId).filter(|it| !it.is_empty()),
        messages: counts.iter().filter_map(|it| of(it)?.parse::<u64>().ok()).sum(),
    }))
}

/// Whether EventBridge is asked if a rule's pattern takes the environment's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    Pattern,
    Nothing,
}

#[derive(Debug)]
struct Events {
    client: aws_sdk_eventbridge::Client,
    /// An event of each status.
    events: Vec<(&'static str, String)>,
}

impl Events {
    fn new(config: &SdkConfig, of: &Subject) -> Self {
        let client = aws_sdk_eventbridge::Client::new(config);
        let events = STATUSES.map(|it| (it, event_of(of, it).to_string()));
        Self { client, events: events.into() }
    }

    /// A rule by its name, as CloudFormation has it: of one on another bus than the default one it is
    /// `bus|rule` (template reference, `AWS::Events::Rule`).
    async fn rule(&self, name: &str, asks: Asks) -> Result<Option<Rule>, Failure> {
        let (bus, name) =
            name.split_once('|').map_or((None, name), |(bus, name)| (Some(bus), name));
        let (bus, what) = (bus.map(str::to_owned), format!("looking at rule {name}"));
        let described =
            self.client.describe_rule().name(name).set_event_bus_name(bus.clone()).send();
        let (described, targets) = tokio::join!(described, self.targets(name, bus, &what));
        let rule = match described {
            Ok(rule) => rule,
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|it| it.is_resource_not_found_exception()) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(failure("DescribeRule", &what, &error)),
        };
        let misses = match (asks, rule.event_pattern()) {
            (Asks::Nothing, _) => Seen::unseen("it was not asked"),
            (Asks::Pattern, None) => Seen::known(STATUSES.into()),
            (Asks::Pattern, Some(pattern)) => seen(self.misses(pattern, &what).await),
        };
        Ok(Some(Rule {
            arn: rule.arn().unwrap_or(name).to_owned(),
            enabled: rule.state().is_some_and(|it| *it != RuleState::Disabled),
            misses,
            schedule: rule.schedule_expression().filter(|it| !it.is_empty()).map(str::to_owned),
            targets: seen(targets),
        }))
    }

    /// The statuses of which a pattern takes no event.
    async fn misses(&self, pattern: &str, what: &str) -> Result<BTreeSet<&'static str>, Failure> {
        let all = self.events.iter().map(async |(status, event)| {
            let call = self.client.test_event_pattern().event_pattern(pattern).event(event);
            let answer = call.send().await.map_err(|e| failure("TestEventPattern", what, &e))?;
            Ok((!answer.result()).then_some(*status))
        });
        let all: Result<Vec<_>, _> = join_all(all).await.into_iter().collect();
        Ok(all?.into_iter().flatten().collect())
    }

    async fn targets(
        &self,
        rule: &str,
        bus: Option<String>,
        what: &str,
    ) -> Result<Vec<Target>, Failure> {
        let call = self.client.list_targets_by_rule().rule(rule).set_event_bus_name(bus);
        let (mut all, mut next) = (Vec::new(), None);
        loop {
            let page = call.clone().set_next_token(next).send().await;
            let page = page.map_err(|e| failure("ListTargetsByRule", what, &e))?;
            all.extend(page.targets().iter().map(|it| Target {
                arn: it.arn().to_owned(),
                role: it.role_arn().map(str::to_owned),
                dead_letters: it.dead_letter_config().and_then(|it| it.arn()).map(str::to_owned),
                input: match (it.input(), it.input_path(), it.input_transformer()) {
                    (Some(text), ..) => Input::Constant(text.to_owned()),
                    (None, Some(path), _) if path != "$" => Input::Part(path.to_owned()),
                    (None, _, Some(_)) => Input::Transformed,
                    (None, _, None) => Input::Event,
                },
            }));
            next = page.next_token().filter(|it| !it.is_empty()).map(str::to_owned);
            if next.is_none() {
                return Ok(all);
            }
        }
    }

    async fn bus(&self, name: &str) -> Result<Option<Bus>, Failure> {
        match self.client.describe_event_bus().name(name).send().await {
            Ok(bus) => Ok(Some(Bus {
                arn: bus.arn().unwrap_or(name).to_owned(),
                policy: bus.policy().filter(|it| !it.is_empty()).map(str::to_owned),
            })),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|it| it.is_resource_not_found_exception()) =>
            {
                Ok(None)
            }
            Err(error) => {
                Err(failure("DescribeEventBus", &format!("looking at event bus {name}"), &error))
            }
        }
    }
}

/// IAM of one account.
#[derive(Debug)]
pub struct Iam {
    pub client: aws_sdk_iam::Client,
}

impl Iam {
    pub fn new(config: &SdkConfig) -> Self {
        Self { client: aws_sdk_iam::Client::new(config) }
    }

    /// Whom a role trusts.
    pub async fn trust(&self, name: &str) -> Result<Option<String>, Failure> {
        Ok(self.described(name).await?.map(|it| trust_of(&it)))
    }

    async fn described(&self, name: &str) -> Result<Option<aws_sdk_iam::types::Role>, Failure> {
        match self.client.get_role().role_name(name).send().await {
            Ok(answer) => Ok(answer.role),
            Err(error)
                if error.as_service_error().is_some_and(|it| it.is_no_such_entity_exception()) =>
            {
                Ok(None)
            }
            Err(error) => Err(failure("GetRole", &format!("looking at role {name}"), &error)),
        }
    }

    /// A role by its name or its ARN, with its policies.
    async fn role(&self, name: &str) -> Result<Option<Role>, Failure> {
        let name = name.rsplit('/').next().unwrap_or(name);
        let described = async {
            let role = self.described(name).await;
            let limit = role.as_ref().ok().and_then(|it| it.as_ref()?.permissions_boundary());
            let boundary = match limit.and_then(|it| it.permissions_boundary_arn()) {
                Some(arn) => Some((arn.to_owned(), self.document(arn).await)),
                None => None,
            };
            (role, boundary)
        };
        let ((role, boundary), policies, attached) =
            tokio::join!(described, self.policies(name), self.attached(name));
        Ok(role?.map(|role| Role {
            arn: role.arn().to_owned(),
            trust: trust_of(&role),
            policies: seen(policies),
            attached: seen(attached),
            boundary,
        }))
    }

    /// What a managed policy says.
    async fn document(&self, arn: &str) -> Seen<String> {
        let what = format!("looking at policy {arn}");
        let read = async {
            let policy = self.client.get_policy().policy_arn(arn).send().await;
            let policy = policy.map_err(|e| failure("GetPolicy", &what, &e))?;
            let version = policy.policy().and_then(|it| it.default_version_id());
            let call = self.client.get_policy_version().policy_arn(arn);
            let answer = call.version_id(version.unwrap_or_default()).send().await;
            let answer = answer.map_err(|e| failure("GetPolicyVersion", &what, &e))?;
            Ok(decoded(answer.policy_version().and_then(|it| it.document()).unwrap_or_default()))
        };
        seen(read.await)
    }

    async fn policies(&self, role: &str) -> Result<BTreeMap<String, String>, Failure> {
        let what = format!("looking at the policies of role {role}");
        let mut pages = self.client.list_role_policies().role_name(role).into_paginator().send();
        let mut names = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| failure("ListRolePolicies", &what, &e))?;
            names.extend(page.policy_names().to_vec());
        }
        let all = names.into_iter().map(async |name| {
            let call = self.client.get_role_policy().role_name(role).policy_name(&name);
            let answer = call.send().await.map_err(|e| failure("GetRolePolicy", &what, &e))?;
            Ok((name, decoded(answer.policy_document())))
        });
        join_all(all).await.into_iter().collect()
    }

    async fn attached(&self, role: &str) -> Result<BTreeMap<String, Seen<String>>, Failure> {
        let what = format!("looking at the policies of role {role}");
        let call = self.client.list_attached_role_policies().role_name(role);
        let mut pages = call.into_paginator().send();
        let mut all: Vec<String> = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| failure("ListAttachedRolePolicies", &what, &e))?;
            let arns = page.attached_policies().iter().filter_map(|it| it.policy_arn());
            all.extend(arns.map(str::to_owned));
        }
        let all = all.into_iter().map(async |arn| {
            let document = self.document(&arn).await;
            (arn, document)
        });
        Ok(join_all(all).await.into_iter().collect())
    }
}

fn trust_of(role: &aws_sdk_iam::types::Role) -> String {
    decoded(role.assume_role_policy_document().unwrap_or_default())
}

/// A document as IAM hands it out, in the escapes of URLs (IAM API, `GetRolePolicy`).
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let code = more.get(..2).and_then(|it| std::str::from_utf8(it).ok());
        match code.and_then(|it| u8::from_str_radix(it, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &more[2..];
            }
            _ => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn participants(from: From<'_>, of: &Subject) -> Participant {
    let mut side = Participant {
        stacks: unasked(&of.account),
        rule: nowhere(),
        forward: nowhere(),
        reader: nowhere(),
    };
    let Some(config) = from.environment_config else { return side };
    let stacks = Stacks::new(config).all().await;
    let of_template = |all: Vec<stack::Stack>| {
        all.into_iter().map(library).filter(Stack::is_participants).collect::<Vec<_>>()
    };
    side.stacks = seen(stacks.map(of_template));
    let is_there = side.stacks.get().is_ok_and(|all| all.iter().any(|it| it.sends_to(from.owner)));
    if !is_there {
        return side;
    }
    let (events, iam) = (Events::new(config, of), Iam::new(config));
    let name = rule_of_participant(from.owner);
    let reader = reader(&of.region);
    let ((rule, forward), reader) = tokio::join!(
        async {
            let rule = part(Some(&name), |name| events.rule(name, Asks::Pattern)).await;
            let role = match rule.get() {
                Ok(Part::There(rule)) => {
                    rule.to_bus_of(from.owner).map(|target| target.and_then(|it| it.role.clone()))
                }
                _ => Ok(None),
            };
            let forward = match role {
                Ok(role) => part(role.as_deref(), |arn| iam.role(arn)).await,
                Err(Unseen(why)) => Seen::unseen(why),
            };
            (rule, forward)
        },
        part(Some(&reader), |name| iam.role(name)),
    );
    Participant { rule, forward, reader, ..side }
}

/// With whom subnets are shared, as their owner sees it.
pub async fn shares(
    config: &SdkConfig,
    owner: &AccountId,
    region: &Region,
    subnets: &[SubnetId],
) -> Seen<BTreeMap<SubnetId, BTreeSet<String>>> {
    let client = aws_sdk_ram::Client::new(config);
    let all = subnets.iter().map(async |subnet| {
        let arn = format!("arn:{}:ec2:{region}:{owner}:subnet/{subnet}", region.partition());
        let call = client.list_principals().resource_owner(ResourceOwner::SelfValue);
        let mut pages = call.resource_arn(arn).into_paginator().send();
        let mut with = BTreeSet::new();
        while let Some(page) = pages.next().await {
            let what = format!("asking with whom {subnet} is shared");
            let page = page.map_err(|e| failure("ListPrincipals", &what, &e))?;
            with.extend(page.principals().iter().filter_map(|it| it.id().map(str::to_owned)));
        }
        Ok((subnet.clone(), with))
    });
    seen(join_all(all).await.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_read_without_its_escapes() {
        assert_eq!(decoded("%7B%22a%22%3A%20%22%C3%A9%2B%22%7D"), "{\"a\": \"é+\"}");
        assert_eq!(decoded("100%, %4"), "100%, %4");
    }
}
