//! What is made for the environment, once MWAA has named it: its endpoints, and its queue in the
//! policies of the VPC's SQS endpoints. And the quotas on both, which are worth a look before.

use std::collections::BTreeSet;

use chrono::TimeDelta;

use super::services::{facts, worst};
use super::{
    Answer, Case, Entry, Family, NetworkEndpoint, NetworkSubnet, State, Unseen, Verdict, fail,
    found, groups, listed, pass, some_of, unknown, warn,
};
use crate::environment::{Role, ServiceName};
use crate::event::{EnvironmentSpec, Origin, Status};
use crate::gather::{self, Gather};
use crate::sqs_policy::{
    self, Admission, Certainty, Facts, MAX_POLICY_CHARACTERS, QUEUE_ACTIONS, Queues, Wish, judge,
};
use crate::vpc::{Kind, port};

const MANAGEMENT: &str =
    "https://docs.aws.amazon.com/mwaa/latest/userguide/vpc-endpoint-management.html";
const POLICIES: &str =
    "https://docs.aws.amazon.com/vpc/latest/privatelink/vpc-endpoints-access.html";
const QUOTAS: &str = "https://docs.aws.amazon.com/vpc/latest/privatelink/vpc-limits-endpoints.html";

pub(super) const CHECKS: [Entry; 11] = [
    Entry { id: "ours.clock", title: "There is time left", source: MANAGEMENT, look: clock },
    Entry {
        id: "ours.database",
        title: "The database endpoint is available",
        source: MANAGEMENT,
        look: database,
    },
    Entry {
        id: "ours.webserver",
        title: "The web server endpoint is available",
        source: MANAGEMENT,
        look: webserver,
    },
    Entry {
        id: "ours.duplicate",
        title: "There is one endpoint to each of the environment's services",
        source: MANAGEMENT,
        look: duplicate,
    },
    Entry {
        id: "ours.subnets",
        title: "The environment's endpoints are in its subnets",
        source: MANAGEMENT,
        look: subnets,
    },
    Entry {
        id: "ours.groups",
        title: "The environment's endpoints let it in",
        source: "https://docs.aws.amazon.com/mwaa/latest/userguide/vpc-security.html",
        look: let_in,
    },
    Entry {
        id: "ours.address-type",
        title: "The environment's endpoints have the right address type",
        source: "https://docs.aws.amazon.com/mwaa/latest/userguide/networking-about.html",
        look: address_type,
    },
    Entry {
        id: "ours.queue",
        title: "The SQS endpoints let the environment's queue through",
        source: POLICIES,
        look: queue,
    },
    Entry {
        id: "ours.queue-denied",
        title: "No statement denies the environment its queue",
        source: POLICIES,
        look: queue_denied,
    },
    Entry {
        id: "ours.policy-length",
        title: "The SQS endpoints' policies have room",
        source: POLICIES,
        look: policy_length,
    },
    Entry {
        id: "ours.quota",
        title: "The VPC has room for endpoints",
        source: QUOTAS,
        look: quota,
    },
];

/// How long MWAA waits for the endpoints (MWAA user guide, "Managing your own Amazon VPC endpoints").
const PATIENCE: TimeDelta = TimeDelta::hours(72);
/// With less left than this it is time to hurry.
const SHORT: TimeDelta = TimeDelta::hours(24);
/// The share of a quota from which on it is reported, in percent.
const NEARLY_FULL: usize = 80;

/// Whether somebody should know how much of a quota is used.
pub(crate) fn is_nearly_full(used: usize, of: usize) -> bool {
    used * 100 >= of * NEARLY_FULL
}

/// What helps where a VPC has nearly all endpoints that it may have.
pub(crate) const MORE_ENDPOINTS: &str =
    "ask for a higher \"Interface VPC endpoints per VPC\" in Service Quotas, or delete unused ones";

/// What helps where a policy has nearly all characters that it may have.
pub(crate) const SHORTER_POLICY: &str =
    "allow the queues with one pattern, such as arn:<partition>:sqs:<region>:*:airflow-celery-*";

/// What helps where the function came too late.
const MAKE_ANEW: &str = "see that the function runs in the account that owns the VPC, then delete the environment and make it anew";

/// Whether an endpoint leads to the environment's service of this role.
pub(super) fn leads_to(case: &Case<'_>, endpoint: &NetworkEndpoint, role: Role) -> bool {
    let services = case.of.told.as_ref().map(EnvironmentSpec::services).unwrap_or_default();
    services.iter().any(|(own, it)| *own == role && it.as_str() == endpoint.endpoint.service)
}

/// What MWAA says of the environment, if it is there and not going.
fn told<'a>(case: &Case<'a>) -> Option<&'a EnvironmentSpec> {
    let told = case.of.told.as_ref()?;
    (!matches!(told.status, Status::Deleting | Status::Deleted)).then_some(told)
}

/// Whether it is going, so that nothing is made for it any more.
pub(super) fn is_going(case: &Case<'_>) -> bool {
    case.of.told.is_some() && told(case).is_none()
}

/// Whose endpoints are still to be made. What MWAA does not name yet is to be made all the same.
pub(super) fn to_come(case: &Case<'_>) -> Result<Vec<Role>, Unseen> {
    let mut roles = vec![Role::Database, Role::Webserver];
    let Some(told) = &case.of.told else { return Ok(roles) };
    if is_mwaas(told) || is_going(case) {
        return Ok(Vec::new());
    }
    if told.is_public_only() {
        roles.pop();
    }
    let own = own(case)?;
    roles.retain(|role| !own.iter().any(|(it, _)| it == role));
    let unnamed = roles.iter().find(|role| service(told, **role).is_none());
    match unnamed.filter(|_| !is_to_be(told)) {
        Some(role) => Err(names_none(*role)),
        None => Ok(roles),
    }
}

/// Whose endpoints are in the environment's own subnets, or will be, though nobody sees them: those that are
/// to be made, and those that MWAA makes.
pub(super) fn inside(case: &Case<'_>) -> Result<Vec<Role>, Unseen> {
    match told(case).filter(|it| is_mwaas(it)) {
        Some(told) if told.is_public_only() => Ok(vec![Role::Database]),
        Some(_) => Ok(vec![Role::Database, Role::Webserver]),
        None => to_come(case),
    }
}

fn names_none(role: Role) -> Unseen {
    Unseen(format!("MWAA names no service of the {role}"))
}

/// Whether the environment is still to be made, now or, if that failed, anew.
pub(super) fn is_to_be(told: &EnvironmentSpec) -> bool {
    matches!(told.status, Status::Pending | Status::Creating | Status::CreateFailed)
}

/// Whether MWAA makes the environment's endpoints itself.
fn is_mwaas(told: &EnvironmentSpec) -> bool {
    told.customer_managed == Some(false)
}

fn service(told: &EnvironmentSpec, role: Role) -> Option<ServiceName> {
    told.services().into_iter().find(|(own, _)| *own == role).map(|(_, service)| service)
}

/// The endpoints to the environment's services that work or may come to.
fn own<'a>(case: &Case<'a>) -> Result<Vec<(Role, &'a NetworkEndpoint)>, Unseen> {
    let mut own = Vec::new();
    for endpoint in case.endpoints()? {
        let roles = [Role::Database, Role::Webserver].into_iter();
        own.extend(roles.filter(|it| leads_to(case, endpoint, *it)).map(|it| (it, endpoint)));
    }
    Ok(own)
}

fn clock(case: &Case<'_>) -> Answer {
    let Some(told) = &case.of.told else { return Ok(None) };
    match told.status {
        Status::CreateFailed => {
            return fail(
                "its creation failed",
                "put right what fails here, then delete the environment and make it anew",
            );
        }
        Status::Pending => {}
        _ => return Ok(None),
    }
    let since = match told.origin {
        Origin::Mwaa { created, updated } => updated.max(created),
        _ => None,
    };
    let Some(since) = since else {
        return Err(Unseen("MWAA does not tell since when it waits".to_owned()));
    };
    let left = PATIENCE - case.of.now.signed_duration_since(since);
    let hours = left.num_hours();
    // What is told is when the environment was created or changed, and it waits since a little later.
    if left <= TimeDelta::zero() {
        return fail(
            "it has been PENDING for 72 hours, after which it becomes CREATE_FAILED",
            "delete the environment and make it anew, once all is right here",
        );
    }
    if left < SHORT {
        return warn(
            format!("it is PENDING, and MWAA waits for {hours} more hours"),
            "put right what fails here before that: then it becomes CREATE_FAILED, and must be made anew",
        );
    }
    pass(format!("it is PENDING, and MWAA waits for {hours} more hours"))
}

fn database(case: &Case<'_>) -> Answer {
    available(case, Role::Database)
}

fn webserver(case: &Case<'_>) -> Answer {
    if case.of.told.as_ref().is_some_and(EnvironmentSpec::is_public_only) {
        return Ok(None);
    }
    available(case, Role::Webserver)
}

fn available(case: &Case<'_>, role: Role) -> Answer {
    let Some(told) = told(case).filter(|it| !is_mwaas(it)) else { return Ok(None) };
    let Some(service) = service(told, role) else {
        return Err(names_none(role));
    };
    let all = case.seen.endpoints.get()?.iter().map(|it| &it.endpoint);
    let all: Vec<_> =
        all.filter(|it| it.service == service.as_str() && !it.state.is_going()).collect();
    if let Some(it) = all.iter().find(|it| it.state == State::Available) {
        return pass(format!("{} leads to {service}", it.id));
    }
    let states = listed(all.iter().map(|it| format!("{} is {}", it.id, it.state)));
    if all.iter().any(|it| it.state.is_alive()) {
        return warn(
            states,
            "wait for some minutes: MWAA accepts it by itself. If it stays so, see that it was made in the account that owns the VPC",
        );
    }
    let why = if all.is_empty() { format!("no endpoint leads to {service}") } else { states };
    match told.status {
        Status::Creating if all.is_empty() => unknown(
            format!("{why}; MWAA waits for it once the environment is PENDING"),
            "look again then",
        ),
        Status::CreateFailed => fail(why, MAKE_ANEW),
        _ => fail(
            why,
            "let the function make it: deploy it in the account that owns the VPC, and replay the environment; or make it by hand, without private DNS",
        ),
    }
}

fn duplicate(case: &Case<'_>) -> Answer {
    if case.of.told.as_ref().is_none_or(is_mwaas) {
        return Ok(None);
    }
    let own = own(case)?;
    if own.is_empty() {
        return Ok(None);
    }
    let mut several = BTreeSet::new();
    for role in [Role::Database, Role::Webserver] {
        let ids: Vec<_> =
            own.iter().filter(|(it, _)| *it == role).map(|(_, it)| &it.endpoint.id).collect();
        if ids.len() > 1 {
            several.insert(format!("{role}: {}", listed(ids)));
        }
    }
    if several.is_empty() {
        return pass(listed(own.iter().map(|(_, it)| &it.endpoint.id)));
    }
    warn(
        listed(several),
        "delete the ones that nobody uses: each costs money and counts against the quota, and two cannot have the same private DNS name",
    )
}

/// In each of the environment's zones an endpoint must be in a subnet of the environment's: another one
/// there takes its place, since an endpoint has one subnet in a zone at most.
fn subnets(case: &Case<'_>) -> Answer {
    let own = own(case)?;
    if own.is_empty() {
        return Ok(None);
    }
    let subnets = case.subnets()?;
    let mut wrong = BTreeSet::new();
    for (role, endpoint) in own {
        let it = &endpoint.endpoint;
        let is_in = |place: &&&NetworkSubnet| it.subnets.contains(&place.subnet.id);
        let served: BTreeSet<&str> =
            subnets.iter().filter(is_in).map(|place| place.zone_id.as_str()).gather();
        let lacking = subnets.iter().filter(|place| !served.contains(place.zone_id.as_str()));
        let lacking = listed(lacking.map(|place| &place.subnet.id));
        if !lacking.is_empty() {
            wrong.insert(format!("{} ({role}) is not in {lacking}", it.id));
        }
    }
    if wrong.is_empty() {
        return pass(format!("they are in {}", listed(subnets.iter().map(|it| &it.subnet.id))));
    }
    // MWAA has taken them, and each zone reaches the other.
    let is_in_use = case.of.told.as_ref().is_some_and(|told| !is_to_be(told));
    found(
        if is_in_use { Verdict::Warn } else { Verdict::Fail },
        listed(wrong),
        "put them in the environment's subnets (aws ec2 modify-vpc-endpoint --add-subnet-ids, with --remove-subnet-ids for others in the same zones)",
    )
}

fn let_in(case: &Case<'_>) -> Answer {
    let own = own(case)?;
    if own.is_empty() {
        return Ok(None);
    }
    let (mut wrong, mut unseen) = (BTreeSet::new(), None);
    for (role, endpoint) in own {
        match groups::stopped_at(case, endpoint, port(role)) {
            Ok(rest) if rest.is_empty() => {}
            Ok(rest) => {
                let it = &endpoint.endpoint;
                wrong.insert(format!(
                    "{} ({}) does not let in TCP {} from {}",
                    it.id,
                    listed(&it.groups),
                    port(role),
                    listed(rest)
                ));
            }
            Err(why) => unseen = Some(why),
        }
    }
    if !wrong.is_empty() {
        return fail(
            listed(wrong),
            format!("add inbound rules to their groups, for {}", groups::sources(case)),
        );
    }
    match unseen {
        Some(why) => Err(why),
        None => pass(format!("for {}", groups::sources(case))),
    }
}

fn address_type(case: &Case<'_>) -> Answer {
    let own = own(case)?;
    if own.is_empty() {
        return Ok(None);
    }
    let is_v6 = case.subnets()?.iter().all(|it| it.family() == Family::V6);
    let right = if is_v6 { "ipv6" } else { "ipv4" };
    let (mut wrong, mut both) = (BTreeSet::new(), BTreeSet::new());
    for (role, endpoint) in own {
        let id = &endpoint.endpoint.id;
        let Some(has) = &endpoint.address_type else {
            return Err(Unseen(format!("EC2 does not tell the address type of {id}")));
        };
        match has.to_ascii_lowercase().as_str() {
            own if own == right => {}
            "dualstack" => drop(both.insert(format!("{id} ({role}) is dualstack"))),
            other => drop(wrong.insert(format!("{id} ({role}) is {other}, and not {right}"))),
        }
    }
    let remedy = format!("give it {right} (aws ec2 modify-vpc-endpoint --ip-address-type)");
    if !wrong.is_empty() {
        return fail(listed(wrong), remedy);
    }
    if !both.is_empty() {
        return warn(format!("{}: MWAA knows IPv4 and IPv6 only", listed(both)), remedy);
    }
    pass(right)
}

/// The SQS endpoints of the VPC that requests may take, `sqs-fips` among them.
fn sqs<'a>(case: &Case<'a>) -> Result<Vec<&'a NetworkEndpoint>, Unseen> {
    Ok(case.endpoints()?.filter(|it| it.endpoint.serves_sqs(&case.of.region)).collect())
}

/// What is known of requests through an endpoint, as the function knows it that writes its policy.
fn written(case: &Case<'_>, endpoint: &NetworkEndpoint) -> Facts {
    Facts { organization: case.of.limited_to.clone(), ..facts(case, endpoint) }
}

/// The environment's queue, with the account whose role uses it.
fn queues(case: &Case<'_>) -> Result<Queues, Unseen> {
    let queue = case.of.queue();
    let queue = queue.ok_or_else(|| Unseen("MWAA does not name the queue".to_owned()))?;
    Ok(gather::one((queue.clone(), case.of.account.clone())))
}

/// What the environment's role does with its queue.
fn wishes(queues: &Queues) -> Vec<Wish<'_>> {
    let of = |(queue, account)| {
        let (resource, account) = (crate::environment::QueueArn::as_str(queue), Some(account));
        QUEUE_ACTIONS.iter().map(move |action| Wish { action, resource, is_exact: true, account })
    };
    queues.iter().flat_map(of).collect()
}

fn queue(case: &Case<'_>) -> Answer {
    let Some(told) = told(case) else { return Ok(None) };
    let queues = queues(case)?;
    let endpoints = sqs(case)?;
    let is_missing = |it: &NetworkEndpoint, facts: &Facts| {
        let policy = it.endpoint.policy.as_deref();
        !sqs_policy::missing(policy, &queues, facts).is_empty()
    };
    let (mut refusing, mut unclear) = (BTreeSet::new(), BTreeSet::new());
    let mut without_condition = BTreeSet::new();
    for endpoint in &endpoints {
        let own = written(case, endpoint);
        if !is_missing(endpoint, &own) {
            continue;
        }
        let id = &endpoint.endpoint.id;
        let (verdict, why) = worst(case, endpoint, &wishes(&queues), judge);
        match verdict {
            Verdict::Fail => drop(refusing.insert(why)),
            Verdict::Pass if is_missing(endpoint, &Facts { organization: None, ..own }) => {}
            Verdict::Pass => drop(without_condition.insert(id)),
            _ => drop(unclear.insert(format!("{id} may not allow the queue; {why}"))),
        }
    }
    let closed: BTreeSet<String> = refusing.union(&unclear).cloned().gather();
    if !closed.is_empty() {
        let verdict = if refusing.is_empty() { Verdict::Unknown } else { Verdict::Fail };
        let remedy = match is_mwaas(told) {
            false if told.status == Status::CreateFailed => MAKE_ANEW,
            true => {
                "list the queue in the policy by hand: the function does not serve an environment whose endpoints MWAA makes. Without it no worker gets a task"
            }
            false => {
                "let the function add it (replay the environment), or list the queue in the policy by hand: without it no worker gets a task"
            }
        };
        return found(
            verdict,
            format!("{} is not let through: {}", listed(queues.keys()), some_of(closed)),
            remedy,
        );
    }
    if !without_condition.is_empty() {
        return warn(
            format!(
                "the queue is let through without the condition on aws:PrincipalOrgID that it should have: {}",
                listed(without_condition)
            ),
            "let the function write its statement anew (replay the environment)",
        );
    }
    if endpoints.is_empty() {
        return pass("the VPC has no SQS endpoint that could stop it");
    }
    pass(listed(endpoints.iter().map(|it| &it.endpoint.id)))
}

fn queue_denied(case: &Case<'_>) -> Answer {
    if told(case).is_none() {
        return Ok(None);
    }
    let queues = queues(case)?;
    let mut worst = None;
    let mut told = BTreeSet::new();
    for endpoint in sqs(case)? {
        let policy = endpoint.endpoint.policy.as_deref();
        for (queue, account) in &queues {
            let facts = facts(case, endpoint);
            for block in sqs_policy::blocks(policy, queue, account, &facts) {
                worst = worst.max(Some(block.certainty));
                let statement = crate::report::shortened(&block.statement);
                told.insert(format!("{}: {statement}", endpoint.endpoint.id));
            }
        }
    }
    let (verdict, why) = match worst {
        None => return pass("none does"),
        Some(Certainty::Surely) => (Verdict::Fail, ""),
        // Of which organization MWAA's account is, if of any, is documented nowhere.
        Some(Certainty::Maybe) => (
            Verdict::Unknown,
            ": whether it denies depends on what is not known here, such as the organization of MWAA's account, to which the queue belongs",
        ),
    };
    found(
        verdict,
        format!("{}{why}", some_of(told)),
        "except the environment's queue from the statement (arn:<partition>:sqs:<region>:*:airflow-celery-*): it belongs to an MWAA service account outside of your organization",
    )
}

fn policy_length(case: &Case<'_>) -> Answer {
    let endpoints = sqs(case)?;
    if endpoints.is_empty() {
        return Ok(None);
    }
    // What is to be written: without a queue, nothing.
    let queues = queues(case).unwrap_or_default();
    let (mut full, mut nearly, mut told) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for it in endpoints {
        let (id, policy) = (&it.endpoint.id, it.endpoint.policy.as_deref());
        let length = |text: &str| text.chars().count();
        let now = policy.map_or(0, length);
        match sqs_policy::admit(policy, &queues, &written(case, it)) {
            Err(sqs_policy::Problem::TooLong(length)) => {
                full.insert(format!("{id} would have {length} characters with the queue"));
            }
            Err(_) => {}
            Ok(admission) => {
                let after = match &admission {
                    Admission::AlreadyAllowed => now,
                    Admission::Write { document, .. } => length(document),
                };
                let text = format!("{id} has {after} characters");
                if is_nearly_full(after, MAX_POLICY_CHARACTERS) {
                    nearly.insert(text);
                } else {
                    told.insert(text);
                }
            }
        }
    }
    let remedy = SHORTER_POLICY;
    let most = format!("EC2 takes {MAX_POLICY_CHARACTERS}");
    if !full.is_empty() {
        return fail(format!("{}; {most}", listed(full)), remedy);
    }
    if !nearly.is_empty() {
        return warn(format!("{}; {most}", listed(nearly)), remedy);
    }
    if told.is_empty() {
        return unknown("the policies cannot be read", "give the endpoints valid policies");
    }
    pass(format!("{}; {most}", listed(told)))
}

fn quota(case: &Case<'_>) -> Answer {
    let all = case.seen.endpoints.get()?.iter().map(|it| &it.endpoint);
    let counts = |it: &&crate::vpc::Endpoint| {
        matches!(it.kind, Kind::Interface | Kind::LoadBalancer) && !it.state.is_going()
    };
    let count = all.filter(counts).count();
    let missing = to_come(case)?.len();
    let (quota, vpc) = (case.of.quota, &case.seen.vpc);
    if count > quota {
        return unknown(
            format!("{vpc} has {count} endpoints, so that its quota is higher than {quota}"),
            "see \"Interface VPC endpoints per VPC\" in Service Quotas, and name it (--endpoint-quota)",
        );
    }
    let evidence = format!("{vpc} has {count} of {quota} endpoints, and {missing} are to be made");
    let remedy = MORE_ENDPOINTS;
    if count + missing > quota {
        return fail(evidence, remedy);
    }
    if is_nearly_full(count + missing, quota) {
        return warn(evidence, remedy);
    }
    pass(evidence)
}
