//! A participant's environment whose events reach the function, and its execution role; and one fault at a
//! time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use chrono::DateTime;
use serde_json::{Value, json};

use super::deployment::{
    self, Bus, Deployment, Function, Input, Part, Participant, Queue, Role, Rule, STATUSES, Stack,
    Target,
};
use super::policy::EVERYTHING;
use super::role::{self, Decision, ExecutionRole, Outcome, Topic, questions};
use super::*;
use crate::environment::{AccountId, Region, VpcId};
use crate::settings::Settings;

const OWNER: &str = "111122223333";
const PARTICIPANT: &str = "210987654321";
const FUNCTION: &str = "arn:aws:lambda:us-east-1:111122223333:function:f";
const FUNCTION_ROLE: &str = "arn:aws:iam::111122223333:role/mwaa-vpc-endpoints-function-us-east-1";
const BUS: &str = "arn:aws:events:us-east-1:111122223333:event-bus/mwaa";
const FAILED: &str = "arn:aws:sqs:us-east-1:111122223333:failed";
const UNDELIVERED: &str = "arn:aws:sqs:us-east-1:111122223333:undelivered";
const FORWARD: &str = "arn:aws:iam::210987654321:role/forward";
const ASSUMES: &str = "arn:aws:iam::111122223333:policy/stack-ParticipantsPolicy";
const READER: &str = "arn:aws:iam::210987654321:role/mwaa-vpc-endpoints-reader-us-east-1";
const RULE: &str = "arn:aws:events:us-east-1:210987654321:rule/mwaa-vpc-endpoints-111122223333";
const ROLE: &str = "arn:aws:iam::210987654321:role/service-role/airflow";

/// Every check: its group, its id and its title.
pub(super) fn all() -> impl Iterator<Item = (CheckGroup, (&'static str, &'static str))> {
    let way = deployment::catalogue().map(|(group, it)| (group, (it.id, it.title)));
    way.chain(role::catalogue().map(|(group, it)| (group, (it.id, it.title))))
}

fn document(statements: Value) -> String {
    json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

fn owners_rule(name: &str) -> String {
    format!("arn:aws:events:us-east-1:{OWNER}:rule/{name}")
}

fn by_service(service: &str, action: &str, resource: &str, sources: &[String]) -> Value {
    json!({"Effect": "Allow", "Principal": {"Service": service}, "Action": action, "Resource": resource,
        "Condition": {"ArnLike": {"AWS:SourceArn": sources}}})
}

fn trust(services: &[&str]) -> String {
    document(
        json!([{"Effect": "Allow", "Principal": {"Service": services}, "Action": "sts:AssumeRole"}]),
    )
}

fn rule(name: &str) -> Rule {
    Rule {
        arn: owners_rule(name),
        enabled: true,
        misses: Seen::known(BTreeSet::new()),
        schedule: None,
        targets: Seen::known(vec![Target {
            arn: FUNCTION.to_owned(),
            role: None,
            dead_letters: Some(UNDELIVERED.to_owned()),
            input: Input::Event,
        }]),
    }
}

fn there<T>(it: T) -> Seen<Part<T>> {
    Seen::known(Part::There(it))
}

fn outputs(names: &[(&str, &str)]) -> BTreeMap<String, String> {
    names.iter().map(|(name, it)| ((*name).to_owned(), (*it).to_owned())).collect()
}

fn policies(all: &[(&str, Value)]) -> Seen<BTreeMap<String, String>> {
    Seen::known(all.iter().map(|(name, it)| ((*name).to_owned(), document(it.clone()))).collect())
}

type Scene = (Deployment, ExecutionRole, Subject);

fn healthy() -> Scene {
    static SCENE: LazyLock<Scene> = LazyLock::new(made);
    SCENE.clone()
}

fn made() -> Scene {
    let of = Subject::of_mwaa(
        json!({
            "Arn": format!("arn:aws:airflow:us-east-1:{PARTICIPANT}:environment/analytics"),
            "Name": "analytics",
            "Status": "PENDING",
            "CreatedAt": "2026-03-04T10:15:00Z",
            "CeleryExecutorQueue": "arn:aws:sqs:us-east-1:555555555555:airflow-celery-1",
            "DatabaseVpcEndpointService": "com.amazonaws.vpce.us-east-1.vpce-svc-0aa11bb22cc33dd44",
            "WebserverAccessMode": "PUBLIC_ONLY",
            "SourceBucketArn": "arn:aws:s3:::dags",
            "DagS3Path": "prod/dags/",
            "ExecutionRoleArn": ROLE,
            "NetworkConfiguration": {"SubnetIds": ["subnet-a", "subnet-b"], "SecurityGroupIds": ["sg-1"]},
        }),
        DateTime::parse_from_rfc3339("2026-03-04T11:00:00Z").unwrap().to_utc(),
    )
    .unwrap();
    let rules = ["own", "participants", "sweep"].map(owners_rule);
    let mut sweep = Rule { schedule: Some("rate(15 minutes)".to_owned()), ..rule("sweep") };
    sweep.targets.get_mut()[0].input = Input::Constant("{\"sweep\": true}".to_owned());
    let queue =
        |arn: &str, policy| Queue { arn: arn.to_owned(), policy, kms_key: None, messages: 0 };
    let invoke = rules.iter().map(|rule| {
        by_service(
            "events.amazonaws.com",
            "lambda:InvokeFunction",
            FUNCTION,
            std::slice::from_ref(rule),
        )
    });
    let send = by_service("events.amazonaws.com", "sqs:SendMessage", UNDELIVERED, &rules);
    let put = json!({"Effect": "Allow", "Action": "events:PutEvents", "Resource": BUS});
    let admit = json!({"Sid": "MwaaVpcEndpointsParticipants", "Effect": "Allow",
        "Principal": {"AWS": format!("arn:aws:iam::{PARTICIPANT}:root")},
        "Action": "events:PutEvents", "Resource": BUS,
        "Condition": {"ForAllValues:StringEquals": {"events:source": "aws.airflow"}, "Null": {"events:source": "false"}}});
    let assume = json!([{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": READER}]);
    let ask = json!([{"Effect": "Allow", "Action": ["airflow:GetEnvironment", "airflow:ListEnvironments"], "Resource": "*"}]);
    let function_role = Role {
        arn: FUNCTION_ROLE.to_owned(),
        trust: trust(&["lambda.amazonaws.com"]),
        policies: policies(&[]),
        attached: Seen::known([(ASSUMES.to_owned(), Seen::known(document(assume)))].into()),
        boundary: None,
    };
    let mut forwarding = rule("forward");
    forwarding.arn = RULE.to_owned();
    forwarding.targets = Seen::known(vec![Target {
        arn: BUS.to_owned(),
        role: Some(FORWARD.to_owned()),
        dead_letters: None,
        input: Input::Event,
    }]);
    let reader_trust = json!([{"Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{OWNER}:root")},
        "Action": "sts:AssumeRole", "Condition": {"ArnEquals": {"aws:PrincipalArn": FUNCTION_ROLE}}}]);
    let participant = Participant {
        stacks: Seen::known(vec![Stack {
            name: "StackSet-1".to_owned(),
            status: "CREATE_COMPLETE".to_owned(),
            outputs: outputs(&[("RuleArn", RULE), ("UndeliveredEventsQueueUrl", "https://q")]),
        }]),
        rule: there(forwarding),
        forward: there(Role {
            arn: FORWARD.to_owned(),
            trust: trust(&["events.amazonaws.com"]),
            policies: policies(&[("forward", json!([put]))]),
            attached: Seen::known(BTreeMap::new()),
            boundary: None,
        }),
        reader: there(Role {
            arn: READER.to_owned(),
            trust: document(reader_trust),
            policies: policies(&[("read", ask)]),
            attached: Seen::known(BTreeMap::new()),
            boundary: None,
        }),
    };
    let mut seen = Deployment {
        owner: AccountId::parse(OWNER).unwrap(),
        vpc: VpcId::parse("vpc-1").unwrap(),
        name: "mwaa-vpc-endpoints".to_owned(),
        stack: Seen::known(Some(Stack {
            name: "mwaa-vpc-endpoints".to_owned(),
            status: "UPDATE_COMPLETE".to_owned(),
            outputs: outputs(&[("EventBusArn", BUS)]),
        })),
        function: there(Function {
            arn: FUNCTION.to_owned(),
            state: "Active".to_owned(),
            last_update: "Successful".to_owned(),
            variables: Seen::known(outputs(&[
                ("PARTICIPANT_ACCOUNTS", PARTICIPANT),
                ("VPC_IDS", "vpc-1"),
                ("READER_ROLE", "mwaa-vpc-endpoints-reader-us-east-1"),
            ])),
            role: FUNCTION_ROLE.to_owned(),
            concurrency: Seen::known(Some(1)),
            policy: Seen::known(Some(document(invoke.collect()))),
            on_failure: Seen::known(Some(FAILED.to_owned())),
            on_success: Seen::known(None),
            log_group: Some("/aws/lambda/f".to_owned()),
        }),
        own_rule: there(rule("own")),
        participants_rule: there(rule("participants")),
        sweep_rule: there(sweep),
        bus: there(Bus { arn: BUS.to_owned(), policy: Some(document(json!([admit]))) }),
        failed: there(queue(FAILED, None)),
        undelivered: there(queue(UNDELIVERED, Some(document(json!([send]))))),
        role: there(function_role),
        attached_by_stack: [ASSUMES.to_owned()].into(),
        participant: Some(participant),
    };
    let granted = granted(&seen, &of);
    part(&mut seen.role).policies = policies(&granted);
    let answers = questions(&of).into_iter().map(|question| {
        let allowed = |action: &String, resource: &String| Decision {
            action: action.clone(),
            resource: resource.clone(),
            outcome: Outcome::Allowed,
            missing_keys: BTreeSet::new(),
            forbidden_by: None,
        };
        let of_action = |action| allowed(action, &question.resource);
        (question.topic, Seen::known(question.actions.iter().map(of_action).collect()))
    });
    let execution = ExecutionRole {
        arn: ROLE.to_owned(),
        trust: Seen::known(Some(trust(&["airflow.amazonaws.com", "airflow-env.amazonaws.com"]))),
        answers: answers.collect(),
    };
    (seen, execution, of)
}

/// The policies of the function's role: all that it does, as narrow as can be.
fn granted(seen: &Deployment, of: &Subject) -> [(&'static str, Value); 3] {
    let Ok(Part::There(function)) = seen.function.get() else { panic!() };
    let variables = function.variables.get().unwrap();
    let settings = Settings::read(|name| variables.get(name).cloned()).unwrap();
    let all = function_role::deeds(&Case { seen, of }, function, &settings);
    [("vpc-endpoints", "ec2:"), ("environments", "airflow:"), ("operation", "")].map(
        |(name, service)| {
            let own = |it: &&function_role::Deed| match service {
                "" => !it.action.starts_with("ec2:") && !it.action.starts_with("airflow:"),
                service => it.action.starts_with(service),
            };
            let done = all.iter().filter(|it| it.lacking.is_some()).filter(own);
            let statements = done.map(|it| {
                let keys: serde_json::Map<_, _> =
                    it.keys.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
                let mut statement =
                    json!({"Effect": "Allow", "Action": it.action, "Resource": it.resource});
                if !keys.is_empty() {
                    statement["Condition"] = json!({"StringEquals": keys});
                }
                statement
            });
            (name, statements.collect())
        },
    )
}

fn examined(changes: &[Change]) -> Vec<Check> {
    let (mut seen, mut execution, mut of) = healthy();
    changes.iter().for_each(|change| change(&mut seen, &mut execution, &mut of));
    let mut checks = deployment::examine(&seen, &of);
    checks.extend(role::examine(&execution, &of));
    checks
}

/// What one check comes to.
fn verdict(id: &str, changes: &[Change]) -> Option<Verdict> {
    let (mut seen, mut execution, mut of) = healthy();
    changes.iter().for_each(|change| change(&mut seen, &mut execution, &mut of));
    let of = &of;
    let of_way = deployment::catalogue().find(|(_, it)| it.id == id);
    let answer = match of_way {
        Some((_, entry)) => (entry.look)(&Case { seen: &seen, of }),
        None => {
            let mut all = role::catalogue();
            let (_, entry) = all.find(|(_, it)| it.id == id)?;
            (entry.look)(&Case { seen: &execution, of })
        }
    };
    answer.map_or(Some(Verdict::Unknown), |it| it.map(|it| it.verdict))
}

fn not_right(checks: &[Check]) -> BTreeMap<&'static str, Verdict> {
    let wrong = checks.iter().filter(|it| it.verdict != Verdict::Pass);
    wrong.map(|it| (it.id, it.verdict)).collect()
}

type Change = fn(&mut Deployment, &mut ExecutionRole, &mut Subject);

fn part<T>(seen: &mut Seen<Part<T>>) -> &mut T {
    match seen.get_mut() {
        Part::There(it) => it,
        _ => panic!("it is not there"),
    }
}

fn side(d: &mut Deployment) -> &mut Participant {
    d.participant.as_mut().unwrap()
}

fn decisions(r: &mut ExecutionRole, topic: Topic) -> &mut Vec<Decision> {
    r.answers.iter_mut().find(|(own, _)| *own == topic).unwrap().1.get_mut()
}

fn gone<T>() -> Seen<Part<T>> {
    Seen::known(Part::Gone("it".to_owned()))
}

fn unseen<T>() -> Seen<T> {
    Seen::unseen("denied")
}

fn attach(role: &mut Role, arn: &str, document: &str) {
    role.attached.get_mut().insert(arn.to_owned(), Seen::known(document.to_owned()));
}

fn inline(d: &mut Deployment, name: &str, effect: &str, actions: &[&str]) {
    let statement = json!([{"Effect": effect, "Action": actions, "Resource": "*"}]);
    part(&mut d.role).policies.get_mut().insert(name.to_owned(), document(statement));
}

fn add_inline(d: &mut Deployment, name: &str, statement: Value) {
    let own = part(&mut d.role).policies.get_mut().get_mut(name).unwrap();
    let mut all: Value = serde_json::from_str(own).unwrap();
    all["Statement"].as_array_mut().unwrap().push(statement);
    *own = all.to_string();
}

fn boundary(action: &str) -> Option<(String, Seen<String>)> {
    let statement = json!([{"Effect": "Allow", "Action": action, "Resource": "*"}]);
    Some(("arn:aws:iam::111122223333:policy/limit".to_owned(), Seen::known(document(statement))))
}

macro_rules! faults {
    ($($what:literal, $change:expr => $($id:literal $verdict:ident),+;)*) => {
        &[$(($what, $change, &[$(($id, Verdict::$verdict)),+])),*]
    };
}

/// What is changed, and which checks do not pass then.
type Fault = (&'static str, Change, &'static [(&'static str, Verdict)]);

#[rustfmt::skip]
const FAULTS: &[Fault] = faults![
    "a stack that is being changed", |d, _, _| d.stack.get_mut().as_mut().unwrap().status = "UPDATE_IN_PROGRESS".into()
        => "deployment.stack" Warn;
    "a stack that failed", |d, _, _| d.stack.get_mut().as_mut().unwrap().status = "ROLLBACK_COMPLETE".into()
        => "deployment.stack" Fail;
    "a function that sleeps", |d, _, _| part(&mut d.function).state = "Inactive".into() => "deployment.function" Warn;
    "a function that failed", |d, _, _| part(&mut d.function).last_update = "Failed".into() => "deployment.function" Fail;
    "a function that may not run", |d, _, _| part(&mut d.function).concurrency = Seen::known(Some(0))
        => "deployment.function" Fail;
    "a function that is gone", |d, _, _| d.function = gone() => "deployment.function" Fail;
    "another VPC", |d, _, _| d.vpc = VpcId::parse("vpc-2").unwrap() => "deployment.settings" Fail;
    "a setting that cannot be read", |d, _, _| drop(part(&mut d.function).variables.get_mut().insert("DELETION".into(), "no".into()))
        => "deployment.settings" Fail, "deployment.role" Unknown;
    "a rule that is disabled", |d, _, _| part(&mut d.participants_rule).enabled = false => "deployment.rules" Fail;
    "a rule that takes other events", |d, _, _| part(&mut d.participants_rule).misses = Seen::known(STATUSES.into())
        => "deployment.rules" Fail;
    "a rule without a target", |d, _, _| part(&mut d.participants_rule).targets.get_mut().clear() => "deployment.rules" Fail;
    "a rule that takes no new environments", |d, _, _| part(&mut d.participants_rule).misses = Seen::known(["PENDING"].into())
        => "deployment.rules" Fail;
    "a rule that takes new environments only", |d, _, _| part(&mut d.participants_rule).misses = Seen::known(STATUSES[1..].iter().copied().collect())
        => "deployment.rules" Warn;
    "a rule that hands over a part", |d, _, _| part(&mut d.participants_rule).targets.get_mut()[0].input = Input::Part("$.detail".into())
        => "deployment.rules" Fail;
    "a rule that hands over the same each time", |d, _, _| part(&mut d.participants_rule).targets.get_mut()[0].input = Input::Constant("{}".into())
        => "deployment.rules" Fail;
    "one bus for all, whose rule takes no participants", |d, _, _| {
        d.participants_rule = Seen::known(Part::NotOfStack);
        part(&mut d.own_rule).misses = Seen::known(STATUSES.into());
    } => "deployment.rules" Fail;
    "no permission", |d, _, _| part(&mut d.function).policy = Seen::known(None) => "deployment.permissions" Fail;
    "a permission for another rule", |d, _, _| part(&mut d.sweep_rule).arn = owners_rule("other")
        => "deployment.permissions" Fail, "deployment.queues" Warn;
    "a bus without a policy", |d, _, _| part(&mut d.bus).policy = None => "deployment.bus-policy" Fail;
    "a bus for an organization", |d, _, _| {
        let statement = json!({"Effect": "Allow", "Principal": "*", "Action": "events:PutEvents", "Resource": BUS,
            "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}}});
        part(&mut d.bus).policy = Some(document(json!([statement])));
    } => "deployment.bus-policy" Unknown;
    "a queue that does not let rules send", |d, _, _| part(&mut d.undelivered).policy = None => "deployment.queues" Warn;
    "a rule whose events get lost", |d, _, _| part(&mut d.own_rule).targets.get_mut()[0].dead_letters = None
        => "deployment.queues" Warn;
    "a function whose events get lost", |d, _, _| part(&mut d.function).on_failure = Seen::known(None)
        => "deployment.queues" Warn;
    "a queue of failed events that lets nobody send", |d, _, _| {
        let denied = json!([{"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*"}]);
        part(&mut d.failed).policy = Some(document(denied));
    } => "deployment.queues" Warn;
    "a queue of failed events with a key", |d, _, _| part(&mut d.failed).kms_key = Some("1".into()) => "deployment.queues" Unknown;
    "a queue for rules with SQS's own key", |d, _, _| part(&mut d.undelivered).kms_key = Some("alias/aws/sqs".into())
        => "deployment.queues" Warn;
    "a queue for rules with a key", |d, _, _| part(&mut d.undelivered).kms_key = Some("1".into()) => "deployment.queues" Unknown;
    "messages", |d, _, _| part(&mut d.failed).messages = 2 => "deployment.waiting" Warn;
    "no sweeps", |d, _, _| d.sweep_rule = Seen::known(Part::NotOfStack) => "deployment.schedule" Warn;
    "sweeps that are disabled", |d, _, _| part(&mut d.sweep_rule).enabled = false => "deployment.schedule" Warn;
    "a schedule that asks for no sweep", |d, _, _| part(&mut d.sweep_rule).targets.get_mut()[0].input = Input::Event
        => "deployment.schedule" Warn;
    "sweeps that only tell", |d, _, _| {
        let input = Input::Constant("{\"sweep\": true, \"dryRun\": true}".into());
        part(&mut d.sweep_rule).targets.get_mut()[0].input = input;
    } => "deployment.schedule" Warn;
    "an administrator", |d, _, _| attach(part(&mut d.role), "arn:aws:iam::aws:policy/AdministratorAccess", EVERYTHING)
        => "deployment.role" Warn;
    "a policy of the stack's that was changed", |d, _, _| attach(part(&mut d.role), ASSUMES, EVERYTHING) => "deployment.role" Warn;
    "a policy of the stack's that was taken off", |d, _, _| part(&mut d.role).attached.get_mut().clear()
        => "deployment.role" Warn, "participant.reader" Warn;
    "a policy that was emptied", |d, _, _| inline(d, "vpc-endpoints", "Allow", &["ec2:DescribeSubnets"]) => "deployment.role" Fail;
    "a policy that denies", |d, _, _| inline(d, "operation", "Deny", &["ec2:CreateVpcEndpoint"]) => "deployment.role" Fail;
    "a policy for somebody else", |d, _, _| add_inline(d, "operation", json!({"Effect": "Allow", "Action": "iam:PutRolePolicy", "Resource": "*"}))
        => "deployment.role" Warn;
    "others' endpoints", |d, _, _| add_inline(d, "operation", json!({"Effect": "Allow", "Action": "ec2:DeleteVpcEndpoints",
        "Resource": "arn:aws:ec2:us-east-1:111122223333:vpc-endpoint/*"})) => "deployment.role" Warn;
    "others' queues", |d, _, _| add_inline(d, "operation", json!({"Effect": "Allow", "Action": "sqs:SendMessage",
        "Resource": "arn:aws:sqs:us-east-1:111122223333:*"})) => "deployment.role" Warn;
    "no log", |d, _, _| part(&mut d.function).log_group = Some("/aws/lambda/g".into()) => "deployment.role" Warn;
    "diagnosis without its policy", |d, _, _| drop(part(&mut d.function).variables.get_mut().insert("DIAGNOSIS".into(), "on".into()))
        => "deployment.role" Warn;
    "a boundary", |d, _, _| part(&mut d.role).boundary = boundary("s3:*") => "deployment.role" Fail, "participant.reader" Warn;
    "a role for everybody", |d, _, _| {
        let mut trusted: Value = serde_json::from_str(&part(&mut d.role).trust).unwrap();
        trusted["Statement"].as_array_mut().unwrap().push(json!({"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}));
        part(&mut d.role).trust = trusted.to_string();
    } => "deployment.role" Warn;
    "a wildcard", |d, _, _| {
        let wide = document(json!({"Effect": "Allow", "Action": "ec2:*", "Resource": "*"}));
        part(&mut d.role).policies.get_mut().insert("operation".into(), wide);
    } => "deployment.role" Warn;
    "a policy that lacks", |d, _, _| drop(part(&mut d.role).policies.get_mut().remove("vpc-endpoints"))
        => "deployment.role" Fail;
    "another role", |d, _, _| part(&mut d.function).role = "arn:aws:iam::111122223333:role/x".into()
        => "deployment.role" Warn, "participant.reader" Warn;

    "no participant's stack", |d, _, _| side(d).stacks.get_mut().clear() => "participant.stack" Fail;
    "one for another owner", |d, _, _| {
        let arn = RULE.replace(OWNER, "333344445555");
        side(d).stacks.get_mut()[0].outputs.insert("RuleArn".into(), arn);
    } => "participant.stack" Fail;
    "a participant's rule that is disabled", |d, _, _| part(&mut side(d).rule).enabled = false => "participant.rule" Fail;
    "a participant's rule that takes no deletions", |d, _, _| part(&mut side(d).rule).misses = Seen::known(["DELETED"].into())
        => "participant.rule" Warn;
    "a participant's rule that sends something else", |d, _, _| part(&mut side(d).rule).targets.get_mut()[0].input = Input::Transformed
        => "participant.rule" Fail;
    "a participant's rule to another bus", |d, _, _| {
        part(&mut side(d).rule).targets.get_mut()[0].arn = BUS.replace("/mwaa", "/default");
    } => "participant.rule" Fail;
    "a participant's rule to another account", |d, _, _| {
        part(&mut side(d).rule).targets.get_mut()[0].arn = BUS.replace(OWNER, "333344445555");
    } => "participant.rule" Fail;
    "a role that may not send", |d, _, _| part(&mut side(d).forward).policies.get_mut().clear() => "participant.role" Fail;
    "a role that EventBridge may not assume", |d, _, _| part(&mut side(d).forward).trust = trust(&["sns.amazonaws.com"])
        => "participant.role" Fail;
    "a boundary of the participant's role", |d, _, _| part(&mut side(d).forward).boundary = boundary("s3:*") => "participant.role" Fail;
    "no role to ask with", |d, _, _| side(d).reader = gone() => "participant.reader" Warn;
    "a role that may not ask", |d, _, _| part(&mut side(d).reader).policies.get_mut().clear() => "participant.reader" Warn;
    "a role that may not ask by its boundary", |d, _, _| part(&mut side(d).reader).boundary = boundary("s3:*") => "participant.reader" Warn;
    "a role of another name", |d, _, _| drop(part(&mut d.function).variables.get_mut().insert("READER_ROLE".into(), "x".into()))
        => "participant.reader" Unknown;

    "no execution role", |_, r, _| {
        r.trust = Seen::known(None);
        r.answers.clear();
    } => "role.trust" Fail;
    "a role for one service", |_, r, _| r.trust = Seen::known(Some(trust(&["airflow.amazonaws.com"]))) => "role.trust" Fail;
    "a denial of the queue", |_, r, _| decisions(r, Topic::Queue)[0].outcome = Outcome::Denied => "role.queue" Fail;
    "no queue", |_, r, _| decisions(r, Topic::Queue).iter_mut().for_each(|it| it.outcome = Outcome::NotAllowed)
        => "role.queue" Fail;
    "a queue beyond the boundary", |_, r, _| decisions(r, Topic::Queue)[0].forbidden_by = Some("the permissions boundary")
        => "role.queue" Fail;
    "no log", |_, r, _| decisions(r, Topic::Logs)[0].outcome = Outcome::NotAllowed => "role.logs" Fail;
    "no metrics", |_, r, _| decisions(r, Topic::Metrics)[0].outcome = Outcome::Denied => "role.metrics" Fail;
    "no key", |_, r, _| decisions(r, Topic::Key)[0].outcome = Outcome::NotAllowed => "role.kms" Fail;
    "no bucket", |_, r, _| decisions(r, Topic::Bucket)[0].outcome = Outcome::NotAllowed => "role.bucket" Fail;
    "a key that nobody gave", |_, r, _| decisions(r, Topic::Logs)[0].missing_keys.extend(["aws:SourceVpce".to_owned()])
        => "role.logs" Unknown;
];

#[rustfmt::skip]
const UNSEEN: &[(&str, Change)] = &[
    ("the stack", |d, _, _| d.stack = unseen()),
    ("the function", |d, _, _| d.function = unseen()),
    ("variables", |d, _, _| part(&mut d.function).variables = unseen()),
    ("concurrency", |d, _, _| part(&mut d.function).concurrency = unseen()),
    ("the function's policy", |d, _, _| part(&mut d.function).policy = unseen()),
    ("its destination", |d, _, _| part(&mut d.function).on_failure = unseen()),
    ("the own rule", |d, _, _| d.own_rule = unseen()),
    ("the participants' rule", |d, _, _| d.participants_rule = unseen()),
    ("a pattern", |d, _, _| part(&mut d.participants_rule).misses = unseen()),
    ("targets", |d, _, _| part(&mut d.participants_rule).targets = unseen()),
    ("the sweep's rule", |d, _, _| d.sweep_rule = unseen()),
    ("the bus", |d, _, _| d.bus = unseen()),
    ("failed events", |d, _, _| d.failed = unseen()),
    ("undelivered events", |d, _, _| d.undelivered = unseen()),
    ("the role", |d, _, _| d.role = unseen()),
    ("its policies", |d, _, _| part(&mut d.role).policies = unseen()),
    ("what is attached to it", |d, _, _| part(&mut d.role).attached = unseen()),
    ("what that says", |d, _, _| *part(&mut d.role).attached.get_mut().get_mut(ASSUMES).unwrap() = unseen()),
    ("its boundary", |d, _, _| part(&mut d.role).boundary = Some(("b".into(), unseen()))),
    ("where results go", |d, _, _| part(&mut d.function).on_success = unseen()),
    ("the forwarding role's policies", |d, _, _| part(&mut side(d).forward).policies = unseen()),
    ("the reader's policies", |d, _, _| part(&mut side(d).reader).policies = unseen()),
    ("the participant's stacks", |d, _, _| side(d).stacks = unseen()),
    ("the participant's rule", |d, _, _| side(d).rule = unseen()),
    ("the participant's role", |d, _, _| side(d).forward = unseen()),
    ("the reader", |d, _, _| side(d).reader = unseen()),
    ("trust", |_, r, _| r.trust = unseen()),
    ("IAM's answers", |_, r, _| r.answers.iter_mut().for_each(|(_, it)| *it = unseen())),
];

#[test]
fn a_way_of_events_and_a_role_that_are_right_pass() {
    let checks = examined(&[]);
    assert_eq!(not_right(&checks), BTreeMap::new(), "{}", show::plain(&checks));
    let expected: Vec<_> = all().map(|(group, (id, _))| (group, id)).collect();
    assert_eq!(checks.iter().map(|it| (it.group, it.id)).collect::<Vec<_>>(), expected);
}

#[test]
fn a_fault_is_told_by_its_check_and_by_no_other() {
    for (what, change, told) in FAULTS {
        let checks = examined(&[*change]);
        let expected = told.iter().copied().collect();
        assert_eq!(not_right(&checks), expected, "{what}\n{}", show::plain(&checks));
        for check in checks.iter().filter(|it| it.verdict != Verdict::Pass) {
            assert!(!check.evidence.is_empty() && check.remedy.is_some(), "{} of {what}", check.id);
        }
    }
}

#[test]
fn what_is_not_seen_is_unknown_and_hides_no_fault_as_a_pass() {
    for (what, hidden) in UNSEEN {
        for (id, verdict) in not_right(&examined(&[*hidden])) {
            assert_eq!(verdict, Verdict::Unknown, "{id} without {what}");
        }
    }
    for (fault, change, told) in FAULTS {
        for (what, hidden) in UNSEEN {
            // What a fault has taken away cannot be hidden.
            for (id, _) in *told {
                let verdict = std::panic::catch_unwind(|| verdict(id, &[*change, *hidden]));
                let is_pass = verdict.is_ok_and(|it| it == Some(Verdict::Pass));
                assert!(!is_pass, "{id} passes with {fault} and without {what}");
            }
        }
    }
}

#[test]
fn each_check_is_seen_to_fail_and_not_to_know() {
    let mut seen: BTreeSet<(&str, Verdict)> = BTreeSet::new();
    let mut add = |checks: Vec<Check>| seen.extend(checks.iter().map(|it| (it.id, it.verdict)));
    FAULTS.iter().for_each(|(_, change, _)| add(examined(&[*change])));
    UNSEEN.iter().for_each(|(_, change)| add(examined(&[*change])));
    for (group, (id, _)) in all() {
        assert!(seen.contains(&(id, Verdict::Unknown)), "{id} was never seen not to know");
        let fails = [Verdict::Fail, Verdict::Warn].iter().any(|it| seen.contains(&(id, *it)));
        assert!(fails, "{id} was never seen to fail");
        assert!(id.starts_with(&format!("{group}.")), "{id} is of {group}");
    }
}

#[test]
fn without_a_stack_that_is_told_alone() {
    let checks = examined(&[|d, _, _| d.stack = Seen::known(None)]);
    let of_way = checks.iter().filter(|it| it.group != CheckGroup::Role);
    assert_eq!(of_way.map(|it| it.id).collect::<Vec<_>>(), ["deployment.stack"]);
}

#[test]
fn a_participant_alone_is_warned_if_it_has_no_stack() {
    let alone: Change = |d, _, _| {
        d.stack = unseen();
        side(d).stacks.get_mut().clear();
    };
    let told = not_right(&examined(&[alone]));
    assert_eq!(told.get("participant.stack"), Some(&Verdict::Warn), "{told:?}");
}

#[test]
fn a_key_of_another_service_bears_on_nothing() {
    let checks = examined(&[|_, r, _| {
        decisions(r, Topic::Queue)[0].missing_keys.insert("kms:ViaService".into());
    }]);
    assert_eq!(not_right(&checks), BTreeMap::new());
}

fn resource(of: &Subject, topic: Topic) -> String {
    questions(of).into_iter().find(|it| it.topic == topic).unwrap().resource
}

#[test]
fn iam_is_asked_about_the_environments_own_queue_once_there_is_one() {
    let (.., mut of) = healthy();
    assert_eq!(resource(&of, Topic::Queue), "arn:aws:sqs:us-east-1:555555555555:airflow-celery-1");
    of.told = None;
    assert_eq!(resource(&of, Topic::Queue), "arn:aws:sqs:us-east-1:*:airflow-celery-*");
}

#[test]
fn iam_is_asked_about_the_folder_of_dags() {
    let (.., mut of) = healthy();
    assert_eq!(resource(&of, Topic::Bucket), "arn:aws:s3:::dags/prod/dags/dag.py");
    of.dag_path = Some("/".to_owned());
    assert_eq!(resource(&of, Topic::Bucket), "arn:aws:s3:::dags/dag.py");
}

#[test]
fn iam_is_asked_about_the_key_that_mwaa_names_and_otherwise_about_one_of_another_account() {
    let (.., mut of) = healthy();
    let key = |of: &Subject| resource(of, Topic::Key);
    assert!(!key(&of).contains(PARTICIPANT));
    let arn = "arn:aws:kms:us-east-1:210987654321:key/1";
    for spelled in ["1", "key/1", arn] {
        of.kms_key = Some(spelled.to_owned());
        assert_eq!(key(&of), arn, "{spelled}");
    }
    of.region = Region::parse("cn-north-1").unwrap();
    let china = questions(&of).into_iter().find(|it| it.topic == Topic::Key).unwrap();
    assert!(china.keys.contains(&("kms:ViaService", "sqs.cn-north-1.amazonaws.com.cn".to_owned())));
}

#[test]
fn a_key_that_is_named_by_an_alias_is_not_known() {
    for alias in ["alias/x", "arn:aws:kms:us-east-1:210987654321:alias/x"] {
        let (seen, mut execution, mut of) = healthy();
        of.kms_key = Some(alias.to_owned());
        assert!(resource(&of, Topic::Key).starts_with("arn:aws:kms:us-east-1:210987654321:key/0"));
        let checks = role::examine(&execution, &of);
        assert_eq!(not_right(&checks), BTreeMap::new(), "any key is allowed");
        decisions(&mut execution, Topic::Key)[0].outcome = Outcome::NotAllowed;
        let told = not_right(&role::examine(&execution, &of));
        assert_eq!(told, BTreeMap::from([("role.kms", Verdict::Unknown)]));
        drop(seen);
    }
}

#[test]
fn what_is_asked_about_an_example_is_no_fault_where_the_role_names_the_right_one() {
    let planned: Change = |_, r, of| {
        (of.told, of.dag_path) = (None, None);
        for (_, decisions) in &mut r.answers {
            let all = decisions.get_mut().iter_mut();
            let of_bucket = |it: &&mut Decision| it.resource != "arn:aws:s3:::dags";
            all.filter(of_bucket).for_each(|it| it.outcome = Outcome::NotAllowed);
        }
        for topic in [Topic::Queue, Topic::Key] {
            decisions(r, topic)[0].outcome = Outcome::Denied;
        }
    };
    let told = not_right(&examined(&[planned]));
    for id in ["role.queue", "role.logs", "role.kms", "role.bucket"] {
        assert_eq!(told.get(id), Some(&Verdict::Unknown), "{id}: {told:?}");
    }
    assert_eq!(told.get("role.metrics"), Some(&Verdict::Fail));
    let named: Change = |_, _, of| {
        of.planned_name = Some("x".to_owned());
        of.kms_key = Some("1".to_owned());
        of.dag_path = Some("dags".to_owned());
    };
    let told = not_right(&examined(&[planned, named]));
    assert_eq!(told.get("role.queue"), Some(&Verdict::Unknown));
    for id in ["role.logs", "role.kms", "role.bucket"] {
        assert_eq!(told.get(id), Some(&Verdict::Fail), "{id}: {told:?}");
    }
}

#[test]
fn what_is_right_in_another_way_passes() {
    const RIGHT: &[(&str, Change)] = &[
        ("a policy that is attached", |d, _, _| {
            let forward = part(&mut side(d).forward);
            let own = std::mem::take(forward.policies.get_mut()).remove("forward").unwrap();
            attach(forward, "arn:aws:iam::210987654321:policy/forward", &own);
        }),
        ("a boundary that allows all", |d, _, _| part(&mut d.role).boundary = boundary("*")),
        ("a second target", |d, _, _| {
            let other = Target {
                arn: "arn:aws:states:us-east-1:210987654321:stateMachine:x".to_owned(),
                role: Some("arn:aws:iam::210987654321:role/other".to_owned()),
                dead_letters: None,
                input: Input::Transformed,
            };
            part(&mut side(d).rule).targets.get_mut().insert(0, other);
        }),
        ("SQS's own key for what the function sends", |d, _, _| {
            part(&mut d.failed).kms_key = Some("alias/aws/sqs".to_owned());
        }),
    ];
    for (what, change) in RIGHT {
        let checks = examined(&[*change]);
        assert_eq!(not_right(&checks), BTreeMap::new(), "{what}\n{}", show::plain(&checks));
    }
}

#[test]
fn the_target_that_sends_to_the_owner_is_the_one_whose_role_is_looked_at() {
    let (mut seen, ..) = healthy();
    let owner = seen.owner.clone();
    let rule = part(&mut side(&mut seen).rule);
    for bus in [
        "arn:aws:states:us-east-1:210987654321:stateMachine:x",
        "arn:aws:events:us-east-1:210987654321:event-bus/x",
    ] {
        let target = Target { arn: bus.to_owned(), ..rule.targets.get().unwrap()[0].clone() };
        rule.targets.get_mut().insert(0, target);
    }
    assert_eq!(rule.to_bus_of(&owner).unwrap().unwrap().arn, BUS);
}

#[test]
fn what_may_be_allowed_by_a_policy_that_was_not_seen_is_unknown() {
    let change: Change = |d, _, _| {
        let forward = part(&mut side(d).forward);
        forward.policies.get_mut().clear();
        forward.attached.get_mut().insert("arn:aws:iam::aws:policy/x".to_owned(), unseen());
    };
    let told = not_right(&examined(&[change]));
    assert_eq!(told, BTreeMap::from([("participant.role", Verdict::Unknown)]));
}

#[test]
fn a_policy_of_the_bus_that_was_changed_by_hand_is_not_put_right_by_a_parameter() {
    let remedy = |changes: &[Change]| {
        let all = examined(changes);
        all.into_iter().find(|it| it.id == "deployment.bus-policy").unwrap().remedy.unwrap()
    };
    let closed: Change = |d, _, _| part(&mut d.bus).policy = None;
    let all: Change =
        |d, _, _| drop(part(&mut d.function).variables.get_mut().remove("PARTICIPANT_ACCOUNTS"));
    assert!(!remedy(&[closed]).contains("ParticipantAccounts"));
    assert!(remedy(&[closed, all]).contains("set ParticipantAccounts or OrganizationId"));
}

#[test]
fn the_statuses_are_those_of_the_templates() {
    let of_rules = format!("status: [{}]", STATUSES.join(", "));
    for template in [include_str!("../../template.yaml"), include_str!("../../participant.yaml")] {
        let found = template.matches("          status: [").count();
        assert!(found > 0 && template.matches(&of_rules).count() == found, "{of_rules}");
    }
}
