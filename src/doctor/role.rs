//! The environment's execution role: what workers do with it, asked of IAM itself
//! (`SimulatePrincipalPolicy`).

use std::collections::{BTreeMap, BTreeSet};

use super::deployment::Findings;
use super::policy::{Ask, word};
use super::{
    Answer, Case, Check, CheckGroup, Entry, Seen, Subject, Unseen, Verdict, fail, listed, run,
};
use crate::sqs_policy::QUEUE_ACTIONS;

/// The execution role as it was looked at.
#[derive(Clone, Debug)]
pub struct ExecutionRole {
    /// Its ARN.
    pub arn: String,
    /// Whom it trusts; none if there is no such role.
    pub trust: Seen<Option<String>>,
    /// What IAM answered to [`questions`].
    pub answers: Vec<(Topic, Seen<Vec<Decision>>)>,
}

/// What a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// The Celery queue.
    Queue,
    /// The log.
    Logs,
    /// Metrics.
    Metrics,
    /// The key that the queue is encrypted with.
    Key,
    /// The bucket of DAGs.
    Bucket,
}

/// A question to IAM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What it is about.
    pub topic: Topic,
    /// The actions.
    pub actions: Vec<String>,
    /// The ARN of what they are done with, or of an example of it.
    pub resource: String,
    /// Condition keys with their values.
    pub keys: Vec<(&'static str, String)>,
}

/// What IAM says of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The action.
    pub action: String,
    /// What it is done with.
    pub resource: String,
    /// What IAM decided.
    pub outcome: Outcome,
    /// Condition keys that its policies name and nobody gave.
    pub missing_keys: BTreeSet<String>,
    /// What else forbids it, beside the role's own policies.
    pub forbidden_by: Option<&'static str>,
}

/// What IAM decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is allowed.
    Allowed,
    /// Nothing allows it.
    NotAllowed,
    /// A statement denies it.
    Denied,
}

/// A key of an account that nobody has: that of MWAA's own key is not known.
const AWS_OWNED_KEY: &str = "000000000000:key/00000000-0000-4000-8000-000000000000";

/// What IAM is to be asked about an environment's role.
pub fn questions(of: &Subject) -> Vec<Question> {
    let (partition, region, account) = (of.region.partition(), &of.region, &of.account);
    let arn = |rest: String| format!("arn:{partition}:{rest}");
    let question =
        |topic, actions: &[&str], resource: String, more: Option<(&'static str, String)>| {
            let usual = [
                ("aws:RequestedRegion", region.to_string()),
                ("aws:SecureTransport", "true".to_owned()),
                ("aws:PrincipalAccount", account.to_string()),
            ];
            Question {
                topic,
                actions: actions.iter().map(|it| (*it).to_owned()).collect(),
                resource,
                keys: usual.into_iter().chain(more).collect(),
            }
        };
    let queue = arn(format!("sqs:{region}:*:airflow-celery-*"));
    let queue = of.queue().map_or(queue, |it| it.as_str().to_owned());
    let log = format!("airflow-{}-Task", of.name().unwrap_or("*"));
    let log = arn(format!("logs:{region}:{account}:log-group:{log}:log-stream:worker"));
    let key = arn(format!("kms:{}", key(of)));
    let domain = if partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
    let by_sqs = ("kms:ViaService", format!("sqs.{region}.{domain}"));
    let mut all = vec![
        question(Topic::Queue, &QUEUE_ACTIONS, queue, None),
        question(
            Topic::Logs,
            &["logs:CreateLogStream", "logs:GetLogEvents", "logs:PutLogEvents"],
            log,
            None,
        ),
        question(
            Topic::Metrics,
            &["cloudwatch:PutMetricData"],
            "*".to_owned(),
            Some(("cloudwatch:namespace", "AmazonMWAA".to_owned())),
        ),
        question(
            Topic::Key,
            &["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"],
            key,
            Some(by_sqs),
        ),
    ];
    if let Some(bucket) = &of.bucket {
        let bucket = arn(format!("s3:::{bucket}"));
        let dags = of.dag_path.as_deref().unwrap_or("dags").trim_matches('/');
        let object = format!("{}{DAG}", format!("{bucket}/{dags}").trim_end_matches('/'));
        all.push(question(Topic::Bucket, &["s3:GetObject", "s3:GetObjectVersion"], object, None));
        let of_bucket =
            ["s3:GetBucketPublicAccessBlock", "s3:GetBucketVersioning", "s3:ListBucket"];
        all.push(question(Topic::Bucket, &of_bucket, bucket, None));
    }
    all
}

/// A DAG, in its folder.
const DAG: &str = "/dag.py";

/// The key that the queue is encrypted with: Region, account and id. Policies on keys name keys, so that in
/// place of an alias there is a key that nobody has.
fn key(of: &Subject) -> String {
    let (region, account) = (&of.region, &of.account);
    let Some(key) = &of.kms_key else { return format!("{region}:{AWS_OWNED_KEY}") };
    let (begin, id) = match key.splitn(6, ':').collect::<Vec<_>>().as_slice() {
        ["arn", _, _, region, account, id] => (format!("{region}:{account}"), *id),
        _ => (format!("{region}:{account}"), key.as_str()),
    };
    match id.strip_prefix("key/").unwrap_or(id) {
        alias if alias.starts_with("alias/") => {
            let nobodys = AWS_OWNED_KEY.split_once(':').map_or("", |(_, key)| key);
            format!("{begin}:{nobodys}")
        }
        id => format!("{begin}:key/{id}"),
    }
}

/// Why what is asked about is an example, if it is: the role may allow the right one and not this.
fn doubt(of: &Subject, decision: &Decision, topic: Topic) -> Option<String> {
    let is_planned = of.told.is_none();
    let option = |name: &str| Some(format!("{name} says which it is"));
    match topic {
        Topic::Queue if of.queue().is_none() => Some("MWAA has not named the queue yet".to_owned()),
        Topic::Logs if of.name().is_none() => option("--name"),
        Topic::Key => match &of.kms_key {
            Some(key) if key.contains("alias/") => {
                Some(format!("the key behind {key} was not seen"))
            }
            None if is_planned => option("--kms-key"),
            _ => None,
        },
        Topic::Bucket if of.dag_path.is_none() && decision.resource.ends_with(DAG) => {
            match is_planned {
                true => option("--dag-folder"),
                false => Some("MWAA does not say in which folder DAGs lie".to_owned()),
            }
        }
        _ => None,
    }
}

const GUIDE: &str = "https://docs.aws.amazon.com/mwaa/latest/userguide/mwaa-create-role.html";

const CHECKS: [Entry<ExecutionRole>; 6] = [
    Entry {
        id: "role.trust",
        title: "MWAA may use the execution role",
        source: GUIDE,
        look: trust,
    },
    Entry {
        id: "role.queue",
        title: "The execution role may use the Celery queue",
        source: GUIDE,
        look: |case| answered(case, Topic::Queue),
    },
    Entry {
        id: "role.logs",
        title: "The execution role may write logs",
        source: GUIDE,
        look: |case| answered(case, Topic::Logs),
    },
    Entry {
        id: "role.metrics",
        title: "The execution role may send metrics",
        source: GUIDE,
        look: |case| answered(case, Topic::Metrics),
    },
    Entry {
        id: "role.kms",
        title: "The execution role may use the key that the queue is encrypted with",
        source: GUIDE,
        look: |case| answered(case, Topic::Key),
    },
    Entry {
        id: "role.bucket",
        title: "The execution role may read the DAG bucket",
        source: GUIDE,
        look: |case| answered(case, Topic::Bucket),
    },
];

const CATALOGUE: [(CheckGroup, &[Entry<ExecutionRole>]); 1] = [(CheckGroup::Role, &CHECKS)];

/// All checks, with the group of each.
#[cfg(test)]
pub(super) fn catalogue() -> impl Iterator<Item = (CheckGroup, &'static Entry<ExecutionRole>)> {
    CHECKS.iter().map(|it| (CheckGroup::Role, it))
}

/// Runs all checks of the execution role. Where there is none, or its account was not asked, that is
/// told alone.
pub fn examine(seen: &ExecutionRole, of: &Subject) -> Vec<Check> {
    run(&CATALOGUE, Case { seen, of })
}

type Of<'a> = Case<'a, ExecutionRole>;

fn trust(case: &Of<'_>) -> Answer {
    let ExecutionRole { arn, trust, .. } = case.seen;
    let Some(trust) = trust.get()? else {
        return fail(
            format!("{arn} is not there"),
            "make the role anew, with the name that it had, or give the environment another one",
        );
    };
    let account = case.of.account.as_str();
    let name = case.of.name();
    let environment = name.map(|name| {
        let region = &case.of.region;
        format!("arn:{}:airflow:{region}:{account}:environment/{name}", region.partition())
    });
    let mut keys = vec![("aws:SourceAccount", account)];
    keys.extend(environment.as_deref().map(|arn| ("aws:SourceArn", arn)));
    let mut findings = Findings::default();
    for service in ["airflow.amazonaws.com", "airflow-env.amazonaws.com"] {
        let action = "sts:AssumeRole";
        let ask =
            Ask { service: Some(service), action, resource: arn, keys: &keys, ..Ask::default() };
        findings.add_word(word([trust.as_str()], ask), Verdict::Fail, service);
    }
    findings.answer(
        format!("{arn} trusts airflow.amazonaws.com and airflow-env.amazonaws.com"),
        "let both services assume the role, in its trust policy",
    )
}

/// Whether a key may bear on an action: one of another service does not.
fn bears(key: &str, action: &str) -> bool {
    let of = |text: &str| text.split(':').next().unwrap_or_default().to_ascii_lowercase();
    matches!(of(key).as_str(), "aws" | "") || of(key) == of(action)
}

fn answered(case: &Of<'_>, topic: Topic) -> Answer {
    let mut findings = Findings::default();
    let mut of_topic = case.seen.answers.iter().filter(|(own, _)| *own == topic).peekable();
    if of_topic.peek().is_none() {
        return Ok(None);
    }
    let (mut actions, mut wrong) = (BTreeSet::new(), BTreeMap::new());
    for (_, decisions) in of_topic {
        let decisions = decisions.get()?;
        if decisions.is_empty() {
            return Err(Unseen("IAM decided nothing".to_owned()));
        }
        for decided in decisions {
            let action = decided.action.as_str();
            actions.insert(action);
            if let Some(told) = judged(decided, doubt(case.of, decided, topic)) {
                wrong.entry(told).or_insert_with(BTreeSet::new).insert(action);
            }
        }
    }
    for ((verdict, why), actions) in wrong {
        findings.add(verdict, format!("{} {why}", listed(actions)));
    }
    let arn = &case.seen.arn;
    findings.answer(
        format!("{arn} may {}", listed(actions)),
        "give the role the policy of the MWAA user guide, \"Amazon MWAA execution role\"; look for a service control policy or a permissions boundary, too",
    )
}

/// What is told of a decision, if it is not right. A doubt is why what was asked about is an example.
fn judged(decided: &Decision, doubt: Option<String>) -> Option<(Verdict, String)> {
    let Decision { action, resource, outcome, forbidden_by, .. } = decided;
    let keys: BTreeSet<&String> =
        decided.missing_keys.iter().filter(|key| bears(key, action)).collect();
    let by = forbidden_by.map(|by| format!(" ({by})")).unwrap_or_default();
    let how = if *outcome == Outcome::Denied { "denied" } else { "not allowed" };
    // Where the resource is another account's, the outcome is that of the role's own policies.
    let is_allowed = *outcome == Outcome::Allowed && forbidden_by.is_none();
    match (is_allowed, doubt) {
        _ if !keys.is_empty() => {
            let why = format!("on {resource}: whether that is allowed depends on {}", listed(keys));
            Some((Verdict::Unknown, why))
        }
        (true, _) => None,
        (false, None) => Some((Verdict::Fail, format!("on {resource}: {how}{by}"))),
        (false, Some(doubt)) => {
            let why = format!("on {resource}, which is an example: {how}{by}; {doubt}");
            Some((Verdict::Unknown, why))
        }
    }
}
