//! The way of an event to the function, by configuration: the owner's stack, and the participant's.
//!
//! What was looked at is in plain types, as with the network. The checks of the owner's side are here,
//! those of the participant's in `participant`.

use std::collections::{BTreeMap, BTreeSet};

use super::policy::{Ask, EVERYTHING, word};
use super::{
    Answer, Case, Check, CheckGroup, Entry, Seen, Subject, Unseen, Verdict, fail, found,
    function_role, listed, participant, pass, run, unknown, warn,
};
use crate::environment::{AccountId, VpcId};
use crate::event;
use crate::report::shortened;
use crate::settings::Settings;
use crate::sqs_policy::Word;

/// What brings an environment's events to the function, as it was looked at.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// The account that owns the VPC, where the function is.
    pub owner: AccountId,
    /// The environment's VPC.
    pub vpc: VpcId,
    /// What the owner's stack is called.
    pub name: String,
    /// The owner's stack, if there is one of that name.
    pub stack: Seen<Option<Stack>>,
    /// The function.
    pub function: Seen<Part<Function>>,
    /// The rule that hears the owner's environments, and participants' if they send to the same bus.
    pub own_rule: Seen<Part<Rule>>,
    /// The rule that hears participants' environments on a bus of their own.
    pub participants_rule: Seen<Part<Rule>>,
    /// The rule that asks for sweeps.
    pub sweep_rule: Seen<Part<Rule>>,
    /// The event bus that participants send to.
    pub bus: Seen<Part<Bus>>,
    /// Events that the function could not finish.
    pub failed: Seen<Part<Queue>>,
    /// Events that EventBridge could not hand over.
    pub undelivered: Seen<Part<Queue>>,
    /// The function's role.
    pub role: Seen<Part<Role>>,
    /// The ARNs of the policies that the stack attaches to it.
    pub attached_by_stack: BTreeSet<String>,
    /// The participant's side, if the environment is not of the owner's account.
    pub participant: Option<Participant>,
}

/// The participant's side of the way.
#[derive(Clone, Debug)]
pub struct Participant {
    /// Stacks of participant.yaml: StackSets name them, so they are known by their outputs.
    pub stacks: Seen<Vec<Stack>>,
    /// The rule that sends to the owner.
    pub rule: Seen<Part<Rule>>,
    /// The role that the rule sends with.
    pub forward: Seen<Part<Role>>,
    /// The role that the function asks MWAA with.
    pub reader: Seen<Part<Role>>,
}

/// A CloudFormation stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stack {
    /// Its name.
    pub name: String,
    /// Its status, such as `UPDATE_COMPLETE`.
    pub status: String,
    /// Its outputs, by name.
    pub outputs: BTreeMap<String, String>,
}

/// A resource of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<T> {
    /// The stack was not told to make it.
    NotOfStack,
    /// The stack made it, and it is not there: what it is called.
    Gone(String),
    /// It is there.
    There(T),
}

/// The function.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its ARN.
    pub arn: String,
    /// Whether it can be invoked: `Active`.
    pub state: String,
    /// How its last update went: `Successful`.
    pub last_update: String,
    /// Its environment variables.
    pub variables: Seen<BTreeMap<String, String>>,
    /// The ARN of its role.
    pub role: String,
    /// How many may run at a time, if that is limited.
    pub concurrency: Seen<Option<u64>>,
    /// Its policy, if it has one.
    pub policy: Seen<Option<String>>,
    /// Where events go that it gives up on.
    pub on_failure: Seen<Option<String>>,
    /// Where its results go, if anywhere.
    pub on_success: Seen<Option<String>>,
    /// The log that it writes, if Lambda says so.
    pub log_group: Option<String>,
}

/// A rule of EventBridge.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its ARN.
    pub arn: String,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Those of [`STATUSES`] of which its pattern takes no event of the environment, as EventBridge itself
    /// says. Of a rule with a schedule it is not asked.
    pub misses: Seen<BTreeSet<&'static str>>,
    /// Its schedule, if it has one.
    pub schedule: Option<String>,
    /// What it hands events to.
    pub targets: Seen<Vec<Target>>,
}

/// What a rule hands events to.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its ARN.
    pub arn: String,
    /// The ARN of the role that it is done with, if any.
    pub role: Option<String>,
    /// The ARN of the queue for events that cannot be handed over.
    pub dead_letters: Option<String>,
    /// What is handed over.
    pub input: Input,
}

/// What a rule hands over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The event.
    Event,
    /// This text, whatever the event is.
    Constant(String),
    /// What is found in the event by this path.
    Part(String),
    /// What a template makes of the event.
    Transformed,
}

impl Target {
    /// What is handed over instead of the event, if anything is.
    fn instead(&self) -> Option<String> {
        match &self.input {
            Input::Event => None,
            Input::Constant(text) => Some(format!("always {}", shortened(text))),
            Input::Part(path) => Some(format!("{path} of the event alone")),
            Input::Transformed => Some("what an input transformer makes of the event".to_owned()),
        }
    }
}

impl Rule {
    /// What it sends to an event bus: one of this account's, if there is one.
    ///
    /// # Errors
    ///
    /// If its targets were not seen.
    pub fn to_bus_of(&self, owner: &AccountId) -> Result<Option<&Target>, Unseen> {
        let of_owner = format!(":{owner}:event-bus/");
        let mut to_any = self.targets.get()?.iter().filter(|it| it.arn.contains(":event-bus/"));
        let first = to_any.clone().next();
        Ok(to_any.find(|it| it.arn.contains(&of_owner)).or(first))
    }
}

/// An event bus.
#[derive(Clone, Debug)]
pub struct Bus {
    /// Its ARN.
    pub arn: String,
    /// Its policy, if it has one.
    pub policy: Option<String>,
}

/// A queue.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Its ARN.
    pub arn: String,
    /// Its policy, if it has one.
    pub policy: Option<String>,
    /// The key in KMS that it is encrypted with, if it is with one.
    pub kms_key: Option<String>,
    /// How many messages are in it, those among them that somebody holds.
    pub messages: u64,
}

/// A role.
#[derive(Clone, Debug)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// Whom it trusts.
    pub trust: String,
    /// Its own policies, by name.
    pub policies: Seen<BTreeMap<String, String>>,
    /// The policies that are attached to it, by their ARNs.
    pub attached: Seen<BTreeMap<String, Seen<String>>>,
    /// What limits it, if anything does: the ARN of its permissions boundary, and what that says.
    pub boundary: Option<(String, Seen<String>)>,
}

impl Stack {
    /// Whether it is one of participant.yaml.
    pub fn is_participants(&self) -> bool {
        let has = |name: &str| self.outputs.contains_key(name);
        has("RuleArn") && has("UndeliveredEventsQueueUrl") && !has("FailedEventsQueueUrl")
    }

    /// Whether it sends to the function of `owner`.
    pub fn sends_to(&self, owner: &AccountId) -> bool {
        let rule = self.outputs.get("RuleArn");
        rule.is_some_and(|arn| arn.ends_with(&format!("/{}", rule_of_participant(owner))))
    }
}

/// What the rule of participant.yaml is called, which sends to `owner`.
pub fn rule_of_participant(owner: &AccountId) -> String {
    format!("mwaa-vpc-endpoints-{owner}")
}

/// The statuses of an environment that both templates' rules take the events of.
pub const STATUSES: [&str; 7] =
    [PENDING, "UPDATING", "AVAILABLE", "UPDATE_FAILED", "UNAVAILABLE", "CREATE_FAILED", "DELETED"];

/// The status in which an environment waits for its endpoints.
const PENDING: &str = "PENDING";

/// An event of an environment that came to have a status, as MWAA's are: what rules must take.
pub fn event_of(of: &Subject, status: &str) -> serde_json::Value {
    let (account, region) = (of.account.as_str(), of.region.as_str());
    let name = of.name().unwrap_or("planned");
    serde_json::json!({
        "version": "0",
        "id": "0d2b4f68-13a5-4c7e-9b80-2d4f6a8c0e1b",
        "detail-type": "MWAA Environment Status Change",
        "source": "aws.airflow",
        "account": account,
        "time": "2026-03-04T10:01:12Z",
        "region": region,
        "resources": [format!("arn:{}:airflow:{region}:{account}:environment/{name}", of.region.partition())],
        "detail": {"name": name, "status": status},
    })
}

const CATALOGUE: [(CheckGroup, &[Entry<Deployment>]); 2] =
    [(CheckGroup::Deployment, &CHECKS), (CheckGroup::Participant, &participant::CHECKS)];

/// All checks, with the group of each.
#[cfg(test)]
pub(super) fn catalogue() -> impl Iterator<Item = (CheckGroup, &'static Entry<Deployment>)> {
    CATALOGUE.into_iter().flat_map(|(group, all)| all.iter().map(move |it| (group, it)))
}

/// Runs all checks of the way of an event that apply, in the catalogue's order. Where a stack is not
/// there, or was not seen, that is told alone, since the others are about what it has made.
pub fn examine(seen: &Deployment, of: &Subject) -> Vec<Check> {
    run(&CATALOGUE, Case { seen, of })
}

const ASYNC: &str =
    "https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html";
const DLQ: &str = "https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html";

const CHECKS: [Entry<Deployment>; 10] = [
    Entry {
        id: "deployment.stack",
        title: "The function is deployed",
        source: "https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html",
        look: stack,
    },
    Entry {
        id: "deployment.function",
        title: "The function can run",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/functions-states.html",
        look: function,
    },
    Entry {
        id: "deployment.settings",
        title: "The function serves this account and VPC",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html",
        look: settings,
    },
    Entry {
        id: "deployment.rules",
        title: "A rule hands the environment's events to the function",
        source: "https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rules.html",
        look: rules,
    },
    Entry {
        id: "deployment.permissions",
        title: "The rules may invoke the function",
        source: "https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html",
        look: permissions,
    },
    Entry {
        id: "deployment.bus-policy",
        title: "The environment's account may send to the owner's event bus",
        source: "https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-bus-perms.html",
        look: bus_policy,
    },
    Entry {
        id: "deployment.queues",
        title: "Events that fail are kept",
        source: DLQ,
        look: queues,
    },
    Entry {
        id: "deployment.waiting",
        title: "No events lie in the queues",
        source: ASYNC,
        look: waiting,
    },
    Entry {
        id: "deployment.schedule",
        title: "Sweeps make up for lost events",
        source: "https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-run-lambda-schedule.html",
        look: schedule,
    },
    Entry {
        id: "deployment.role",
        title: "The function's role is as the template has it",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html",
        look: function_role::role,
    },
];

/// What helps against what somebody changed by hand.
pub(super) const REDEPLOY: &str = "undo what was changed by hand, or delete the stack and deploy it anew: an update leaves alone what the template has not changed";

type Of<'a> = Case<'a, Deployment>;

impl Of<'_> {
    /// Whether the environment is another account's.
    fn is_guests(&self) -> bool {
        self.of.account != self.seen.owner
    }

    /// Whether there is a stack to look at.
    pub(super) fn is_deployed(&self) -> bool {
        matches!(self.seen.stack.get(), Ok(Some(_)))
    }

    /// The rule that is to hear the environment.
    fn hearing(&self) -> Result<&Part<Rule>, Unseen> {
        match self.is_guests() {
            true => match self.seen.participants_rule.get()? {
                Part::NotOfStack => self.seen.own_rule.get(),
                own => Ok(own),
            },
            false => self.seen.own_rule.get(),
        }
    }

    /// The rules that have the function for a target, which are there.
    fn all_rules(&self) -> Result<Vec<&Rule>, Unseen> {
        let seen = self.seen;
        let all = [&seen.own_rule, &seen.participants_rule, &seen.sweep_rule];
        let mut rules = Vec::new();
        for rule in all {
            if let Part::There(rule) = rule.get()? {
                rules.push(rule);
            }
        }
        Ok(rules)
    }
}

/// Several findings about one thing: the worst counts.
#[derive(Default)]
pub(super) struct Findings(Vec<(Verdict, String)>);

impl Findings {
    pub(super) fn add(&mut self, verdict: Verdict, text: impl Into<String>) {
        self.0.push((verdict, text.into()));
    }

    /// What a policy says, where it should allow.
    pub(super) fn add_word(&mut self, word: Word, refused: Verdict, about: &str) {
        match word {
            Word::Allowed => {}
            Word::Unclear(why) => self.add(Verdict::Unknown, format!("{about}: {why}")),
            Word::Refused(why) => self.add(refused, format!("{about}: {why}")),
        }
    }

    /// What was not seen.
    pub(super) fn seen<'a, T>(&mut self, seen: &'a Seen<T>) -> Option<&'a T> {
        match seen.get() {
            Ok(it) => Some(it),
            Err(Unseen(why)) => {
                self.add(Verdict::Unknown, why);
                None
            }
        }
    }

    pub(super) fn answer(self, right: impl Into<String>, remedy: &str) -> Answer {
        let Some(worst) = self.0.iter().map(|(verdict, _)| *verdict).min() else {
            return pass(right);
        };
        let of_it = self.0.into_iter().filter(|(verdict, _)| *verdict == worst);
        found(worst, listed(of_it.map(|(_, text)| text)), remedy)
    }
}

/// Whether a stack is whole.
pub(super) fn of_status(stack: &Stack, findings: &mut Findings) {
    let Stack { name, status, .. } = stack;
    let is = |verdict, text: &str| Some((verdict, format!("{name} is {status}{text}")));
    let told = match status.as_str() {
        "CREATE_COMPLETE" | "UPDATE_COMPLETE" | "IMPORT_COMPLETE" => None,
        "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS" => None,
        "UPDATE_ROLLBACK_COMPLETE" | "IMPORT_ROLLBACK_COMPLETE" => {
            is(Verdict::Warn, ": the last update failed, and what was there before is in use")
        }
        changing if changing.ends_with("_IN_PROGRESS") => {
            is(Verdict::Warn, ": it is being changed at this moment")
        }
        _ => is(Verdict::Fail, ""),
    };
    if let Some((verdict, text)) = told {
        findings.add(verdict, text);
    }
}

fn stack(case: &Of<'_>) -> Answer {
    let (owner, region, name) = (&case.seen.owner, &case.of.region, &case.seen.name);
    let Some(stack) = case.seen.stack.get()? else {
        return warn(
            format!("account {owner} has no stack {name} in {region}"),
            "deploy it (docs/deploy.md), or say what it is called: --stack; without the function somebody must make the endpoints by hand, each time",
        );
    };
    let mut findings = Findings::default();
    of_status(stack, &mut findings);
    findings.answer(
        format!("{} of account {owner} is {}", stack.name, stack.status),
        "see the stack's events for the reason, and deploy it again",
    )
}

fn function(case: &Of<'_>) -> Answer {
    if !case.is_deployed() {
        return Ok(None);
    }
    let function = match case.seen.function.get()? {
        Part::There(function) => function,
        Part::Gone(name) => return fail(format!("function {name} is not there"), REDEPLOY),
        Part::NotOfStack => {
            return fail("the stack has no function", "name the function's stack: --stack");
        }
    };
    let mut findings = Findings::default();
    let Function { arn, state, last_update, concurrency, .. } = function;
    match state.as_str() {
        "Active" => {}
        "Inactive" | "Pending" => findings.add(Verdict::Warn, format!("its state is {state}")),
        _ => findings.add(Verdict::Fail, format!("its state is {state}")),
    }
    match last_update.as_str() {
        "Successful" => {}
        "InProgress" => findings.add(Verdict::Warn, "it is being updated at this moment"),
        _ => findings.add(Verdict::Fail, format!("its last update is {last_update}")),
    }
    if findings.seen(concurrency) == Some(&Some(0)) {
        findings.add(
            Verdict::Fail,
            "its reserved concurrency is 0, so that Lambda does not let it run",
        );
    }
    findings.answer(
        format!("{arn} is {state}"),
        "look at the function in the Lambda console: it says the reason; its concurrency is the parameter ReservedConcurrency",
    )
}

fn settings(case: &Of<'_>) -> Answer {
    if !case.is_deployed() {
        return Ok(None);
    }
    let Some(settings) = settings_of(case) else { return Ok(None) };
    let settings = match settings? {
        Ok(settings) => settings,
        Err(why) => {
            return fail(
                format!("the function cannot read its variables: {why}"),
                "put the parameter right, and deploy the stack again",
            );
        }
    };
    let (account, vpc) = (&case.of.account, &case.seen.vpc);
    let mut findings = Findings::default();
    let participants = &settings.participants;
    if case.is_guests() && !participants.is_empty() && !participants.contains(account) {
        let text = format!("ParticipantAccounts is {}, without {account}", listed(participants));
        findings.add(Verdict::Fail, text);
    }
    if !settings.vpcs.is_empty() && !settings.vpcs.contains(vpc) {
        findings.add(Verdict::Fail, format!("VpcIds is {}, without {vpc}", listed(&settings.vpcs)));
    }
    findings.answer(
        format!("{account} and {vpc} are among what it serves"),
        "add what lacks to the parameter, and deploy the stack again",
    )
}

/// The function's settings, if it is there.
pub(super) fn settings_of(case: &Of<'_>) -> Option<Result<Result<Settings, String>, Unseen>> {
    let function = match case.seen.function.get() {
        Ok(Part::There(function)) => function,
        Ok(_) => return None,
        Err(why) => return case.is_deployed().then_some(Err(why)),
    };
    let variables = function.variables.get();
    Some(variables.map(|variables| Settings::read(|name| variables.get(name).cloned())))
}

/// The function's ARN, if it is there.
fn function_arn<'a>(case: &Of<'a>) -> Result<Option<&'a str>, Unseen> {
    Ok(match case.seen.function.get()? {
        Part::There(function) => Some(&function.arn),
        _ => None,
    })
}

/// A rule that is to hand events to a target.
pub(super) fn of_rule(rule: &Rule, takes_what: Option<&str>, findings: &mut Findings) {
    let name = &rule.arn;
    if !rule.enabled {
        findings.add(Verdict::Fail, format!("{name} is disabled"));
    }
    if let Some(what) = takes_what
        && let Some(misses) = findings.seen(&rule.misses)
        && !misses.is_empty()
    {
        let text = format!("the pattern of {name} does not take {what}");
        let (verdict, text) = match misses.contains(PENDING) {
            _ if misses.len() == STATUSES.len() => (Verdict::Fail, text),
            true => (Verdict::Fail, format!("{text} with status {}", listed(misses))),
            false => {
                let late = "what is to be done then only a sweep does";
                (Verdict::Warn, format!("{text} with status {}: {late}", listed(misses)))
            }
        };
        findings.add(verdict, text);
    }
}

/// One of these must be handed the event as it is.
pub(super) fn of_targets<'a>(
    rule: &Rule,
    targets: impl Iterator<Item = &'a Target>,
    none: &str,
    findings: &mut Findings,
) {
    let instead: Vec<Option<String>> = targets.map(Target::instead).collect();
    if instead.is_empty() {
        findings.add(Verdict::Fail, format!("{} {none}", rule.arn));
    } else if !instead.contains(&None) {
        let what = listed(instead.into_iter().flatten());
        findings.add(Verdict::Fail, format!("{} hands over {what}, and not the event", rule.arn));
    }
}

fn rules(case: &Of<'_>) -> Answer {
    if !case.is_deployed() {
        return Ok(None);
    }
    let rule = match case.hearing()? {
        Part::There(rule) => rule,
        Part::Gone(name) => return fail(format!("rule {name} is not there"), REDEPLOY),
        Part::NotOfStack => return fail("the stack has no rule", REDEPLOY),
    };
    let mut findings = Findings::default();
    let what = format!("events of account {}", case.of.account);
    of_rule(rule, Some(&what), &mut findings);
    match function_arn(case) {
        Err(Unseen(why)) => findings.add(Verdict::Unknown, why),
        // deployment.function says so.
        Ok(None) => {}
        Ok(Some(function)) => {
            let targets = findings.seen(&rule.targets);
            if let Some(all) = targets {
                let own = all.iter().filter(|it| it.arn == function);
                of_targets(rule, own, &format!("has no target {function}"), &mut findings);
            }
        }
    }
    findings.answer(
        format!("{} is enabled, takes them, and hands them to the function", rule.arn),
        "a participant must be admitted by ParticipantAccounts or OrganizationId; enable the rule; if its pattern or target was changed by hand, undo that",
    )
}

const EVENTS: &str = "events.amazonaws.com";

/// Whether EventBridge may do something on behalf of a rule.
fn for_rule(
    policy: Option<&str>,
    rule: &Rule,
    action: &str,
    resource: &str,
    owner: &AccountId,
) -> Word {
    let keys = [("aws:SourceArn", rule.arn.as_str()), ("aws:SourceAccount", owner.as_str())];
    word(policy, Ask { service: Some(EVENTS), action, resource, keys: &keys, ..Ask::default() })
}

fn permissions(case: &Of<'_>) -> Answer {
    if !case.is_deployed() {
        return Ok(None);
    }
    let Part::There(function) = case.seen.function.get()? else { return Ok(None) };
    let policy = function.policy.get()?;
    let mut findings = Findings::default();
    for rule in case.all_rules()? {
        let action = "lambda:InvokeFunction";
        let word = for_rule(policy.as_deref(), rule, action, &function.arn, &case.seen.owner);
        findings.add_word(word, Verdict::Fail, &rule.arn);
    }
    findings.answer("the function's policy lets each rule invoke it", REDEPLOY)
}

fn bus_policy(case: &Of<'_>) -> Answer {
    if !case.is_deployed() || !case.is_guests() {
        return Ok(None);
    }
    let account = &case.of.account;
    let settings = settings_of(case).and_then(|it| it.ok()?.ok());
    let admit = match settings.is_some_and(|it| it.participants.contains(account)) {
        true => REDEPLOY,
        false => {
            "set ParticipantAccounts or OrganizationId so that the account is admitted, and deploy the stack again; if it is, the bus's policy was changed by hand: undo that"
        }
    };
    let bus = match case.seen.bus.get()? {
        Part::There(bus) => bus,
        Part::Gone(name) => return fail(format!("event bus {name} is not there"), REDEPLOY),
        Part::NotOfStack => return fail("the stack admits no other account", admit),
    };
    let ask = Ask {
        account: Some(account),
        organization: case.of.organization.as_deref(),
        action: "events:PutEvents",
        resource: &bus.arn,
        keys: &[
            ("events:source", "aws.airflow"),
            ("events:detail-type", "MWAA Environment Status Change"),
        ],
        ..Ask::default()
    };
    match word(bus.policy.as_deref(), ask) {
        Word::Allowed => pass(format!("the policy of {} lets account {account} send", bus.arn)),
        Word::Refused(why) => fail(format!("{}: {why}", bus.arn), admit),
        Word::Unclear(why) => unknown(
            format!("{}: {why}", bus.arn),
            format!(
                "see that account {account} is in the organization that the statement names; --queue-principal-org-id says which it is in"
            ),
        ),
    }
}

/// SQS's own key of an account, which principals of it may use that may use the queue. Services may not, and
/// its policy cannot be changed (SQS developer guide, "Key management": compatibility with AWS services).
const KEY_OF_SQS: &str = "alias/aws/sqs";

fn queues(case: &Of<'_>) -> Answer {
    if !case.is_deployed() {
        return Ok(None);
    }
    let mut findings = Findings::default();
    let both = [("failed", &case.seen.failed), ("undelivered", &case.seen.undelivered)];
    let mut there = [None, None];
    for ((what, queue), there) in both.into_iter().zip(&mut there) {
        match findings.seen(queue) {
            Some(Part::There(queue)) => *there = Some(queue),
            Some(Part::Gone(name)) => {
                findings.add(
                    Verdict::Warn,
                    format!("the queue of {what} events, {name}, is not there"),
                );
            }
            Some(Part::NotOfStack) => {
                findings.add(Verdict::Warn, format!("the stack has no queue of {what} events"));
            }
            None => {}
        }
    }
    let [failed, undelivered] = there;
    if let (Some(failed), Some(Part::There(function))) =
        (failed, findings.seen(&case.seen.function))
    {
        // The role's policies are enough within an account, but for what denies it: deployment.role.
        let ask = Ask {
            account: Some(&case.seen.owner),
            action: "sqs:SendMessage",
            resource: &failed.arn,
            keys: &[("aws:PrincipalArn", &function.role)],
            ..Ask::default()
        };
        let word = word(failed.policy.as_deref().into_iter().chain([EVERYTHING]), ask);
        findings.add_word(word, Verdict::Warn, &format!("{} for the function", failed.arn));
        if let Some(key) = failed.kms_key.as_deref().filter(|it| !it.ends_with(KEY_OF_SQS)) {
            let text = format!(
                "whether the function may use {key}, which {} is encrypted with, is not looked at",
                failed.arn
            );
            findings.add(Verdict::Unknown, text);
        }
        let to = findings.seen(&function.on_failure);
        if to.is_some_and(|to| to.as_ref() != Some(&failed.arn)) {
            let text = format!("events that the function gives up on do not go to {}", failed.arn);
            findings.add(Verdict::Warn, text);
        }
    }
    if let Some((queue, key)) = undelivered.and_then(|it| Some((it, it.kms_key.as_deref()?))) {
        let (arn, of_sqs) = (&queue.arn, key.ends_with(KEY_OF_SQS));
        let (verdict, text) = match of_sqs {
            true => (
                Verdict::Warn,
                format!("EventBridge may not use {key}, which {arn} is encrypted with"),
            ),
            false => (
                Verdict::Unknown,
                format!(
                    "whether EventBridge may use {key}, which {arn} is encrypted with, is not looked at"
                ),
            ),
        };
        findings.add(verdict, text);
    }
    if let Some(queue) = undelivered {
        match case.all_rules() {
            Err(Unseen(why)) => findings.add(Verdict::Unknown, why),
            Ok(rules) => {
                rules.into_iter().for_each(|rule| of_dead_letters(case, rule, queue, &mut findings))
            }
        }
    }
    findings.answer(
        "both are there, and what fails goes to them",
        &format!("an event that fails would be lost: {REDEPLOY}"),
    )
}

fn of_dead_letters(case: &Of<'_>, rule: &Rule, queue: &Queue, findings: &mut Findings) {
    let (policy, owner) = (queue.policy.as_deref(), &case.seen.owner);
    let word = for_rule(policy, rule, "sqs:SendMessage", &queue.arn, owner);
    findings.add_word(word, Verdict::Warn, &format!("{} for {}", queue.arn, rule.arn));
    let function = function_arn(case).ok().flatten();
    let targets = findings.seen(&rule.targets).into_iter().flatten();
    for target in targets.filter(|it| Some(it.arn.as_str()) == function) {
        if target.dead_letters.as_ref() != Some(&queue.arn) {
            let text = format!("what {} cannot hand over does not go to {}", rule.arn, queue.arn);
            findings.add(Verdict::Warn, text);
        }
    }
}

fn waiting(case: &Of<'_>) -> Answer {
    if !case.is_deployed() {
        return Ok(None);
    }
    let mut findings = Findings::default();
    for queue in [&case.seen.failed, &case.seen.undelivered] {
        if let Some(Part::There(queue)) = findings.seen(queue)
            && queue.messages > 0
        {
            findings.add(Verdict::Warn, format!("{} has {} messages", queue.arn, queue.messages));
        }
    }
    findings.answer(
        "they are empty",
        "see what they are about, and have them served: `mwaa-vpc redrive`",
    )
}

fn schedule(case: &Of<'_>) -> Answer {
    const LOST: &str = "an event that gets lost is made up for by nothing else";
    if !case.is_deployed() {
        return Ok(None);
    }
    let rule = match case.seen.sweep_rule.get()? {
        Part::There(rule) => rule,
        Part::Gone(name) => {
            return warn(format!("rule {name} is not there: {LOST}"), REDEPLOY);
        }
        Part::NotOfStack => {
            return warn(
                format!("SweepSchedule is off: {LOST}"),
                "set SweepSchedule, as rate(15 minutes)",
            );
        }
    };
    let mut findings = Findings::default();
    if !rule.enabled {
        findings.add(Verdict::Warn, format!("{} is disabled: {LOST}", rule.arn));
    }
    if rule.schedule.is_none() {
        findings.add(Verdict::Warn, format!("{} has no schedule", rule.arn));
    }
    let function = function_arn(case);
    if let (Some(targets), Ok(Some(function))) = (findings.seen(&rule.targets), &function) {
        let asks = |it: &&Target| it.arn == **function && is_sweep(&it.input);
        if !targets.iter().any(|it| asks(&it)) {
            findings
                .add(Verdict::Warn, format!("{} does not ask the function for a sweep", rule.arn));
        }
    }
    if let Err(Unseen(why)) = function {
        findings.add(Verdict::Unknown, why);
    }
    let schedule = rule.schedule.as_deref().unwrap_or_default();
    findings.answer(
        format!("{} is enabled: {schedule}", rule.arn),
        "enable the rule; if it was changed by hand, undo that",
    )
}

/// Whether the function would take it for a sweep, and do what is to be done.
fn is_sweep(input: &Input) -> bool {
    let Input::Constant(text) = input else { return false };
    let read = serde_json::from_str(text).ok().and_then(|it| event::parse(it).ok());
    read.is_some_and(|it| it.work == event::Work::Sweep && !it.dry_run)
}
