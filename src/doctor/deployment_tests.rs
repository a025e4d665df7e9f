//! A participant's environment whose events reach the function, and its execution role; and one fault at a
//! time.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;
use serde_json::{Value, json};

use super::deployment::{
    self, Bus, Deployment, Function, Part, Participant, Queue, Role, Rule, Stack, Target,
};
use super::role::{self, Decision, ExecutionRole, Outcome, Topic, questions};
use super::*;
use crate::environment::{AccountId, Region, VpcId};

const OWNER: &str = "111122223333";
const PARTICIPANT: &str = "210987654321";
const FUNCTION: &str = "arn:aws:lambda:us-east-1:111122223333:function:f";
const FUNCTION_ROLE: &str = "arn:aws:iam::111122223333:role/mwaa-vpc-endpoints-function-us-east-1";
const BUS: &str = "arn:aws:events:us-east-1:111122223333:event-bus/mwaa";
const FAILED: &str = "arn:aws:sqs:us-east-1:111122223333:failed";
const UNDELIVERED: &str = "arn:aws:sqs:us-east-1:111122223333:undelivered";
const FORWARD: &str = "arn:aws:iam::210987654321:role/forward";
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
        takes: Seen::known(true),
        schedule: None,
        targets: Seen::known(vec![Target {
            arn: FUNCTION.to_owned(),
            role: None,
            dead_letters: Some(UNDELIVERED.to_owned()),
            input: None,
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
            "ExecutionRoleArn": ROLE,
            "NetworkConfiguration": {"SubnetIds": ["subnet-a", "subnet-b"], "SecurityGroupIds": ["sg-1"]},
        }),
        DateTime::parse_from_rfc3339("2026-03-04T11:00:00Z").unwrap().to_utc(),
    )
    .unwrap();
    let rules = ["own", "participants", "sweep"].map(owners_rule);
    let mut sweep = Rule { schedule: Some("rate(15 minutes)".to_owned()), ..rule("sweep") };
    sweep.targets.get_mut()[0].input = Some("{\"sweep\": true}".to_owned());
    let queue = |arn: &str, policy| Queue { arn: arn.to_owned(), policy, messages: 0 };
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
    let look = json!([{"Effect": "Allow", "Action": "ec2:DescribeSubnets", "Resource": "*"}]);
    let function_role = Role {
        arn: FUNCTION_ROLE.to_owned(),
        trust: trust(&["lambda.amazonaws.com"]),
        policies: policies(&[
            ("vpc-endpoints", look.clone()),
            ("environments", look.clone()),
            ("operation", look),
        ]),
        attached: Seen::known(Vec::new()),
    };
    let mut forwarding = rule("forward");
    forwarding.arn = RULE.to_owned();
    forwarding.targets = Seen::known(vec![Target {
        arn: BUS.to_owned(),
        role: Some(FORWARD.to_owned()),
        dead_letters: None,
        input: None,
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
            attached: Seen::known(Vec::new()),
        }),
        reader: there(Role {
            arn: READER.to_owned(),
            trust: document(reader_trust),
            policies: policies(&[]),
            attached: Seen::known(Vec::new()),
        }),
    };
    let seen = Deployment {
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
        }),
        own_rule: there(rule("own")),
        participants_rule: there(rule("participants")),
        sweep_rule: there(sweep),
        bus: there(Bus { arn: BUS.to_owned(), policy: Some(document(json!([admit]))) }),
        failed: there(queue(FAILED, None)),
        undelivered: there(queue(UNDELIVERED, Some(document(json!([send]))))),
        role: there(function_role),
        attached_by_stack: BTreeSet::new(),
        participant: Some(participant),
    };
    let answers = questions(&of).into_iter().map(|question| {
        let allowed = |action: &String, resource: &String| Decision {
            action: action.clone(),
            resource: resource.clone(),
            outcome: Outcome::Allowed,
            missing_keys: BTreeSet::new(),
            forbidden_by: None,
        };
        let of_action = |action| question.resources.iter().map(move |it| allowed(action, it));
        (question.topic, Seen::known(question.actions.iter().flat_map(of_action).collect()))
    });
    let execution = ExecutionRole {
        arn: ROLE.to_owned(),
        trust: Seen::known(Some(trust(&["airflow.amazonaws.com", "airflow-env.amazonaws.com"]))),
        answers: answers.collect(),
    };
    (seen, execution, of)
}

fn examined(changes: &[Change]) -> Vec<Check> {
    let (mut seen, mut execution, mut of) = healthy();
    changes.iter().for_each(|change| change(&mut seen, &mut execution, &mut of));
    let mut checks = deployment::examine(&seen, &of);
    checks.extend(role::examine(&execution, &of));
    checks
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
        => "deployment.settings" Fail;
    "a rule that is disabled", |d, _, _| part(&mut d.participants_rule).enabled = false => "deployment.rules" Fail;
    "a rule that takes other events", |d, _, _| part(&mut d.participants_rule).takes = Seen::known(false)
        => "deployment.rules" Fail;
    "a rule without a target", |d, _, _| part(&mut d.participants_rule).targets.get_mut().clear() => "deployment.rules" Fail;
    "one bus for all, whose rule takes no participants", |d, _, _| {
        d.participants_rule = Seen::known(Part::NotOfStack);
        part(&mut d.own_rule).takes = Seen::known(false);
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
    "messages", |d, _, _| part(&mut d.failed).messages = 2 => "deployment.waiting" Warn;
    "no sweeps", |d, _, _| d.sweep_rule = Seen::known(Part::NotOfStack) => "deployment.schedule" Warn;
    "sweeps that are disabled", |d, _, _| part(&mut d.sweep_rule).enabled = false => "deployment.schedule" Warn;
    "a schedule that asks for no sweep", |d, _, _| part(&mut d.sweep_rule).targets.get_mut()[0].input = None
        => "deployment.schedule" Warn;
    "an administrator", |d, _, _| part(&mut d.role).attached.get_mut().push("arn:aws:iam::aws:policy/AdministratorAccess".into())
        => "deployment.role" Warn;
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
    "a participant's rule to another bus", |d, _, _| {
        part(&mut side(d).rule).targets.get_mut()[0].arn = BUS.replace("/mwaa", "/default");
    } => "participant.rule" Fail;
    "a participant's rule to another account", |d, _, _| {
        part(&mut side(d).rule).targets.get_mut()[0].arn = BUS.replace(OWNER, "333344445555");
    } => "participant.rule" Fail;
    "a role that may not send", |d, _, _| part(&mut side(d).forward).policies.get_mut().clear() => "participant.role" Fail;
    "a role that EventBridge may not assume", |d, _, _| part(&mut side(d).forward).trust = trust(&["sns.amazonaws.com"])
        => "participant.role" Fail;
    "no role to ask with", |d, _, _| side(d).reader = gone() => "participant.reader" Warn;

    "no execution role", |_, r, _| {
        r.trust = Seen::known(None);
        r.answers.clear();
    } => "role.trust" Fail;
    "a role for one service", |_, r, _| r.trust = Seen::known(Some(trust(&["airflow.amazonaws.com"]))) => "role.trust" Fail;
    "a denial of the queue", |_, r, _| decisions(r, Topic::Queue)[0].outcome = Outcome::Denied => "role.queue" Fail;
    "no queue", |_, r, _| decisions(r, Topic::Queue).iter_mut().for_each(|it| it.outcome = Outcome::NotAllowed)
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
    ("a pattern", |d, _, _| part(&mut d.participants_rule).takes = unseen()),
    ("targets", |d, _, _| part(&mut d.participants_rule).targets = unseen()),
    ("the sweep's rule", |d, _, _| d.sweep_rule = unseen()),
    ("the bus", |d, _, _| d.bus = unseen()),
    ("failed events", |d, _, _| d.failed = unseen()),
    ("undelivered events", |d, _, _| d.undelivered = unseen()),
    ("the role", |d, _, _| d.role = unseen()),
    ("its policies", |d, _, _| part(&mut d.role).policies = unseen()),
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
            let run = std::panic::catch_unwind(|| examined(&[*change, *hidden]));
            for (id, _) in *told {
                let check = run.as_ref().ok().and_then(|all| all.iter().find(|it| it.id == *id));
                let is_pass = check.is_some_and(|it| it.verdict == Verdict::Pass);
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

#[test]
fn a_role_that_allows_its_own_queue_alone_is_enough_once_there_is_one() {
    let narrow: Change = |_, r, _| {
        let any = |it: &&mut Decision| it.resource.ends_with('*');
        let all = decisions(r, Topic::Queue).iter_mut().filter(any);
        all.for_each(|it| it.outcome = Outcome::NotAllowed);
    };
    assert_eq!(not_right(&examined(&[narrow])), BTreeMap::new());
}

#[test]
fn iam_is_asked_about_the_key_that_mwaa_names_and_otherwise_about_one_of_another_account() {
    let (.., mut of) = healthy();
    let key = |of: &Subject| {
        let all = questions(of);
        all.into_iter().find(|it| it.topic == Topic::Key).unwrap().resources[0].clone()
    };
    assert!(!key(&of).contains(PARTICIPANT));
    of.kms_key = Some("arn:aws:kms:us-east-1:210987654321:key/1".to_owned());
    assert_eq!(key(&of), "arn:aws:kms:us-east-1:210987654321:key/1");
    of.region = Region::parse("cn-north-1").unwrap();
    let china = questions(&of).into_iter().find(|it| it.topic == Topic::Key).unwrap();
    assert!(china.keys.contains(&("kms:ViaService", "sqs.cn-north-1.amazonaws.com.cn".to_owned())));
}
