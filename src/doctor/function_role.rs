//! The function's role: whether it allows all that the function does, and whether it allows more than
//! template.yaml gives it.
//!
//! What the function does is listed here once, for both. The templates, as they are deployed in the tests over
//! the wire, keep the list whole: what they allow and it lacks is more than the template's.

use std::collections::BTreeSet;

use serde_json::json;

use super::deployment::{Deployment, Findings, Function, Part, REDEPLOY, Role, settings_of};
use super::policy::{Ask, Rights, actions, all_of, statements, word};
use super::{Answer, Case, Unseen, Verdict, fail, some_of};
use crate::aws::ec2_network::PERMISSIONS;
use crate::environment::AccountId;
use crate::settings::{GroupChoice, Settings};
use crate::sqs_policy::Word;
use crate::tags;

type Of<'a> = Case<'a, Deployment>;

/// Something that the function does.
#[derive(Clone, Debug)]
pub(super) struct Deed {
    pub(super) action: String,
    /// The ARN of what it is done with, or `*`.
    pub(super) resource: String,
    /// Condition keys with their values.
    pub(super) keys: Vec<(String, String)>,
    /// How bad it is if it is not allowed; none if the function, as it is set, does not do it.
    pub(super) lacking: Option<Verdict>,
    /// What the template does not allow the same with, whatever is known of the request.
    pub(super) beyond: Vec<String>,
}

impl Deed {
    fn ask<'a>(&'a self, account: &'a AccountId, keys: &'a [(&'a str, &'a str)]) -> Ask<'a> {
        let (action, resource) = (self.action.as_str(), self.resource.as_str());
        Ask { account: Some(account), action, resource, keys, ..Ask::default() }
    }
}

/// What the function does, as it is set. IAM decides a call on each resource that it touches, and condition
/// keys exist for some types only; template.yaml says which.
pub(super) fn deeds(case: &Of<'_>, function: &Function, settings: &Settings) -> Vec<Deed> {
    let (seen, region) = (case.seen, &case.of.region);
    let (owner, partition) = (seen.owner.as_str(), region.partition());
    let arn = |rest: &str| format!("arn:{partition}:{rest}");
    let ec2 = |rest: &str| arn(&format!("ec2:{region}:{owner}:{rest}"));
    let is_served = settings.vpcs.is_empty() || settings.vpcs.contains(&seen.vpc);
    // Of a VPC that is not served deployment.settings tells.
    let vpc = settings.vpcs.first().filter(|_| !is_served).unwrap_or(&seen.vpc).as_str();
    let (group, makes_groups) = match &settings.groups {
        GroupChoice::Auto => ("sg-0", true),
        GroupChoice::Listed(all) => (all.first().map_or("sg-0", |it| it.as_str()), false),
    };
    let (in_vpcs, of_groups) = (!settings.vpcs.is_empty(), !makes_groups);
    let environment = arn(&format!("airflow:{region}:{owner}:environment/x"));
    let key = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let service = key("ec2:VpceServiceName", &format!("com.amazonaws.vpce.{region}.vpce-svc-0"));
    let requested = key(&format!("aws:RequestTag/{}", tags::ENVIRONMENT), &environment);
    let ours = key(&format!("aws:ResourceTag/{}", tags::ENVIRONMENT), &environment);
    let of_vpc = key("ec2:Vpc", &ec2(&format!("vpc/{vpc}")));
    let (vpc_id, group_id) = (key("ec2:VpcID", vpc), key("ec2:SecurityGroupID", group));
    let endpoint = ec2("vpc-endpoint/vpce-0");
    let (group, vpc) = (ec2(&format!("security-group/{group}")), ec2(&format!("vpc/{vpc}")));
    let subnet = ec2("subnet/subnet-0");
    let mut all = Vec::new();
    // With `is_limited` the template's conditions say more than the resource.
    let mut add = |action: &str, resource: &str, keys: &[&(String, String)], is_limited: bool| {
        let mut beyond = Vec::new();
        if is_limited {
            beyond.push(resource.to_owned());
        }
        if resource.contains(owner) {
            beyond.push(resource.replacen(owner, "000000000000", 1));
        }
        all.push(Deed {
            action: action.to_owned(),
            resource: resource.to_owned(),
            keys: keys.iter().map(|it| (*it).clone()).collect(),
            lacking: Some(Verdict::Fail),
            beyond,
        });
        all.len() - 1
    };
    let mut not_done = Vec::new();
    for action in ["Subnets", "VpcEndpoints", "SecurityGroups", "SecurityGroupRules", "Vpcs"] {
        add(&format!("ec2:Describe{action}"), "*", &[], false);
    }
    let create = "ec2:CreateVpcEndpoint";
    add(create, &endpoint, &[&service, &requested], true);
    add(create, &vpc, &[&vpc_id], in_vpcs);
    add(create, &subnet, &[], false);
    add(create, &group, &[&group_id], of_groups);
    let modify = "ec2:ModifyVpcEndpoint";
    add(modify, &subnet, &[&of_vpc], in_vpcs);
    add(modify, &group, &[&of_vpc, &group_id], in_vpcs || of_groups);
    add(modify, &endpoint, &[&ours], true);
    let sqs = key("ec2:VpceServiceName", &format!("com.amazonaws.{region}.sqs"));
    add(
        modify,
        &sqs_endpoint(seen, &ec2("vpc-endpoint/")).unwrap_or(endpoint.clone()),
        &[&sqs],
        false,
    );
    add("ec2:DeleteVpcEndpoints", &endpoint, &[&service, &ours], true);
    let on_creation = |of: &str| key("ec2:CreateAction", of);
    add("ec2:CreateTags", &endpoint, &[&on_creation("CreateVpcEndpoint")], true);
    let later = key("aws:TagKeys", tags::QUEUE);
    add("ec2:CreateTags", &endpoint, &[&ours, &later], true);
    add("ec2:CreateTags", &group, &[&ours, &later], true);
    add("ec2:RevokeSecurityGroupIngress", &group, &[&ours, &of_vpc], true);
    let deletes = add("ec2:DeleteSecurityGroup", &group, &[&ours, &of_vpc], true);
    if !makes_groups && settings.keep_leftovers {
        not_done.push(deletes);
    }
    let makes = [
        add("ec2:CreateSecurityGroup", &group, &[&requested], true),
        add("ec2:CreateSecurityGroup", &vpc, &[&vpc_id], in_vpcs),
        add("ec2:AuthorizeSecurityGroupIngress", &group, &[&ours, &of_vpc], true),
        add("ec2:CreateTags", &group, &[&on_creation("CreateSecurityGroup")], true),
    ];
    if !makes_groups {
        not_done.extend(makes);
    }
    add("airflow:ListEnvironments", "*", &[], false);
    add("airflow:GetEnvironment", &environment, &[], false);
    not_done.into_iter().for_each(|at| all[at].lacking = None);

    // Without these it does its work, but nobody hears of it. Which log and which queue, if that was seen.
    let mut beside = |action: &str, of: Option<(String, String)>, is_done: bool| {
        let (resource, beyond) = of.clone().unzip();
        all.push(Deed {
            action: action.to_owned(),
            resource: resource.unwrap_or_else(|| "*".to_owned()),
            keys: Vec::new(),
            lacking: is_done.then_some(Verdict::Warn),
            beyond: beyond.into_iter().collect(),
        });
    };
    let log = |name: &str| arn(&format!("logs:{region}:{owner}:log-group:{name}:log-stream:x"));
    let logs = function.log_group.as_ref().map(|it| (log(it), log("x")));
    for action in ["logs:CreateLogStream", "logs:PutLogEvents"] {
        beside(action, logs.clone(), logs.is_some());
    }
    for action in ["xray:PutTraceSegments", "xray:PutTelemetryRecords"] {
        beside(action, None, true);
    }
    let failed = match seen.failed.get() {
        Ok(Part::There(queue)) => {
            Some((queue.arn.clone(), arn(&format!("sqs:{region}:{owner}:x"))))
        }
        _ => None,
    };
    beside("sqs:SendMessage", failed.clone(), failed.is_some());
    let bus = |name: &str| arn(&format!("events:{region}:{owner}:event-bus/{name}"));
    let told = function.on_success.get().is_ok_and(Option::is_some);
    beside("events:PutEvents", Some((bus("default"), bus("x"))), told);
    // participant.reader says whether it may.
    let reader = |name: &str| arn(&format!("iam::{}:role/{name}", case.of.account));
    let name = settings.reader_role.as_deref().unwrap_or("x");
    beside("sts:AssumeRole", Some((reader(name), reader("y"))), false);
    let known: BTreeSet<String> = all.iter().map(|it| it.action.clone()).collect();
    for action in PERMISSIONS.into_iter().filter(|it| !known.contains(*it)) {
        let lacking = settings.diagnosis.then_some(Verdict::Warn);
        let (action, resource) = (action.to_owned(), "*".to_owned());
        all.push(Deed { action, resource, keys: Vec::new(), lacking, beyond: Vec::new() });
    }
    all
}

/// An endpoint that the role's policies name: with `SqsEndpointArns` no other may be changed.
fn sqs_endpoint(seen: &Deployment, begin: &str) -> Option<String> {
    let Ok(Part::There(role)) = seen.role.get() else { return None };
    let documents = role.policies.get().ok()?.values();
    let statements = documents.filter_map(|it| statements(it)).flatten();
    let resources = statements.flat_map(|it| all_of(&it["Resource"]));
    resources.into_iter().find(|it| it.starts_with(begin) && !it.contains(['*', '?']))
}

pub(super) fn role(case: &Of<'_>) -> Answer {
    if !case.is_deployed() {
        return Ok(None);
    }
    let role = match case.seen.role.get()? {
        Part::There(role) => role,
        Part::Gone(name) => return fail(format!("role {name} is not there"), REDEPLOY),
        Part::NotOfStack => return fail("the stack has no role", REDEPLOY),
    };
    let mut findings = Findings::default();
    of_trust(role, &mut findings);
    of_policies(role, case, &mut findings);
    if let Some(Part::There(function)) = findings.seen(&case.seen.function) {
        if function.role != role.arn {
            let text = format!("the function has another role than the stack's: {}", function.role);
            findings.add(Verdict::Warn, text);
        }
        if function.log_group.is_none() {
            findings.add(Verdict::Unknown, "Lambda does not say which log the function writes");
        }
        findings.seen(&function.on_success);
        findings.seen(&case.seen.failed);
        match settings_of(case) {
            Some(Ok(Ok(settings))) => {
                of_deeds(role, &deeds(case, function, &settings), &case.seen.owner, &mut findings);
            }
            Some(Err(Unseen(why)) | Ok(Err(why))) => {
                let text = format!("what it must allow depends on the function's variables: {why}");
                findings.add(Verdict::Unknown, text);
            }
            None => {}
        }
    }
    findings.answer(
        format!(
            "{}: its policies allow what the function does, and no other actions; conditions are not compared word for word, and what service control policies deny is not seen from here",
            role.arn
        ),
        "take off what the template does not give it, and put back what lacks (template.yaml, FunctionRole)",
    )
}

const LAMBDA: &str = "lambda.amazonaws.com";

fn of_trust(role: &Role, findings: &mut Findings) {
    let (action, resource) = ("sts:AssumeRole", role.arn.as_str());
    let lambda = Ask { service: Some(LAMBDA), action, resource, ..Ask::default() };
    let word = word([role.trust.as_str()], lambda);
    findings.add_word(word, Verdict::Fail, "Lambda may not assume it");
    let allowed = statements(&role.trust).unwrap_or_default().into_iter();
    for statement in allowed.filter(|it| it["Effect"] == "Allow") {
        let of_lambda = [json!({"Service": LAMBDA}), json!({"Service": [LAMBDA]})];
        let whom = statement.get("NotPrincipal").unwrap_or(&statement["Principal"]);
        if !of_lambda.contains(whom) {
            let but = if statement.get("NotPrincipal").is_some() { "all but " } else { "" };
            let text = format!("others than Lambda may assume it: {but}{whom}");
            findings.add(Verdict::Warn, text);
        }
    }
}

/// The policies that template.yaml gives the role itself.
const POLICIES: [&str; 3] = ["environments", "operation", "vpc-endpoints"];

/// Which policies there are. What they say is asked of them together.
fn of_policies(role: &Role, case: &Of<'_>, findings: &mut Findings) {
    for name in findings.seen(&role.policies).into_iter().flat_map(|all| all.keys()) {
        if !POLICIES.contains(&name.as_str()) {
            findings.add(Verdict::Warn, format!("its policy {name} is not the template's"));
        }
    }
    let by_stack = &case.seen.attached_by_stack;
    if let Some(attached) = findings.seen(&role.attached) {
        for (arn, document) in attached {
            if !by_stack.contains(arn) {
                findings.add(Verdict::Warn, format!("{arn} is attached to it"));
            }
            if let Err(Unseen(why)) = document.get() {
                findings.add(Verdict::Unknown, format!("what {arn} says was not seen: {why}"));
            }
        }
        for arn in by_stack.iter().filter(|it| !attached.contains_key(*it)) {
            let text = format!("{arn} is not attached to it, and the stack has it for that");
            findings.add(Verdict::Warn, text);
        }
    }
}

fn of_deeds(role: &Role, deeds: &[Deed], owner: &AccountId, findings: &mut Findings) {
    let mut lacking = [(Verdict::Fail, BTreeSet::new()), (Verdict::Warn, BTreeSet::new())];
    let (rights, mut unclear) = (Rights::of(role), BTreeSet::new());
    let mut beyond = BTreeSet::new();
    for deed in deeds {
        let keys: Vec<(&str, &str)> =
            deed.keys.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        if let Some(verdict) = deed.lacking {
            match rights.word(deed.ask(owner, &keys)) {
                Word::Allowed => {}
                Word::Unclear(why) => {
                    unclear.insert(why);
                }
                Word::Refused(why) => {
                    let of_it = lacking.iter_mut().find(|(own, _)| *own == verdict);
                    if let Some((_, all)) = of_it {
                        all.insert(format!("{why} on {}", deed.resource));
                    }
                }
            }
        }
        for resource in &deed.beyond {
            if rights.word(Ask { resource, ..deed.ask(owner, &[]) }) == Word::Allowed {
                beyond.insert(format!("{} on more than the template does", deed.action));
            }
        }
    }
    for (verdict, all) in lacking.into_iter().filter(|(_, all)| !all.is_empty()) {
        findings.add(verdict, some_of(all));
    }
    if !unclear.is_empty() {
        findings.add(Verdict::Unknown, some_of(unclear));
    }
    let known: BTreeSet<String> = deeds.iter().map(|it| it.action.to_ascii_lowercase()).collect();
    for document in documents(role) {
        match actions(document) {
            // Actions are case-insensitive.
            Some(all) => beyond
                .extend(all.into_iter().filter(|it| !known.contains(&it.to_ascii_lowercase()))),
            None => findings.add(Verdict::Unknown, "one of its policies cannot be read"),
        }
    }
    if !beyond.is_empty() {
        findings.add(Verdict::Warn, format!("its policies allow {}", some_of(beyond)));
    }
}

/// Those of a role's policies that were seen.
fn documents(role: &Role) -> Vec<&str> {
    let own = role.policies.get().into_iter().flat_map(|all| all.values());
    let attached = role.attached.get().into_iter().flat_map(|all| all.values());
    own.chain(attached.filter_map(|it| it.get().ok())).map(String::as_str).collect()
}
