//! Endpoints of the AWS services that an environment uses.

use std::collections::BTreeSet;

use super::routes::WayOut;
use super::{
    Answer, Case, Entry, Family, NetworkEndpoint, State, Unseen, Verdict, fail, found, groups,
    listed, pass, some_of, unknown, warn,
};
use crate::environment::{AccountId, Region};
use crate::gather::Gather;
use crate::sqs_policy::{ANY_NAME, Facts, QUEUE_ACTIONS, Wish, Word, judge, judge_once_listed};

const NEEDED: &str = "https://docs.aws.amazon.com/mwaa/latest/userguide/vpc-vpe-create-access.html";
const ACCESS: &str =
    "https://docs.aws.amazon.com/vpc/latest/privatelink/privatelink-access-aws-services.html";

pub(super) const CHECKS: [Entry; 6] = [
    Entry {
        id: "services.present",
        title: "The services that an environment uses have endpoints, or there is a way out",
        source: NEEDED,
        look: present,
    },
    Entry {
        id: "services.state",
        title: "The services' endpoints are available",
        source: "https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_VpcEndpoint.html",
        look: state,
    },
    Entry {
        id: "services.private-dns",
        title: "The services' own names lead to their endpoints",
        source: ACCESS,
        look: private_dns,
    },
    Entry {
        id: "services.groups",
        title: "The services' endpoints let the environment in",
        source: ACCESS,
        look: let_in,
    },
    Entry {
        id: "services.policy",
        title: "The services' endpoint policies allow what an environment does",
        source: "https://docs.aws.amazon.com/vpc/latest/privatelink/vpc-endpoints-access.html",
        look: policy,
    },
    Entry {
        id: "services.zones",
        title: "The services' endpoints are in the environment's zones",
        source: ACCESS,
        look: zones,
    },
];

/// A service that an environment uses, and what it does there: an action, and the ARN of an example,
/// without account where the account is not known.
struct Service {
    name: &'static str,
    /// Who asks there: the environment's role, or MWAA, too, which pulls the images.
    is_by_role: bool,
    wishes: &'static [(&'static str, &'static str)],
}

/// Of its queues the actions are those of workers.
const SQS: Service = Service { name: "sqs", is_by_role: true, wishes: &[] };

const AIRFLOW: &[(&str, &str)] =
    &[("airflow:PublishMetrics", "arn:{partition}:airflow:{region}:{account}:environment/{name}")];
const ECR: &str = "arn:{partition}:ecr:{region}::repository/{any}";

/// An environment's log group (MWAA user guide, "Viewing Airflow logs in Amazon CloudWatch"). That of the
/// web server is written outside of the VPC.
macro_rules! logs {
    ($of:literal) => {
        concat!(
            "arn:{partition}:logs:{region}:{account}:log-group:airflow-{name}-",
            $of,
            ":log-stream:{any}"
        )
    };
}

/// What a network without internet access needs (MWAA user guide, "Creating the required VPC service
/// endpoints in an Amazon VPC with private routing"), and what the execution role does there (same
/// guide, "Amazon MWAA execution role").
const SERVICES: [Service; 9] = [
    SQS,
    Service {
        name: "ecr.api",
        is_by_role: false,
        wishes: &[("ecr:GetAuthorizationToken", "*"), ("ecr:BatchGetImage", ECR)],
    },
    Service {
        name: "ecr.dkr",
        is_by_role: false,
        wishes: &[("ecr:BatchGetImage", ECR), ("ecr:GetDownloadUrlForLayer", ECR)],
    },
    Service {
        name: "logs",
        is_by_role: true,
        wishes: &[
            ("logs:CreateLogStream", logs!("Task")),
            ("logs:GetLogEvents", logs!("Task")),
            ("logs:PutLogEvents", logs!("Task")),
            ("logs:PutLogEvents", logs!("Worker")),
            ("logs:PutLogEvents", logs!("Scheduler")),
            ("logs:PutLogEvents", logs!("DAGProcessing")),
        ],
    },
    Service { name: "monitoring", is_by_role: true, wishes: &[("cloudwatch:PutMetricData", "*")] },
    Service {
        name: "kms",
        is_by_role: true,
        wishes: &[("kms:Decrypt", KEY), ("kms:GenerateDataKey", KEY)],
    },
    Service { name: "airflow.api", is_by_role: true, wishes: AIRFLOW },
    Service { name: "airflow.env", is_by_role: true, wishes: AIRFLOW },
    Service { name: "airflow.ops", is_by_role: true, wishes: AIRFLOW },
];
/// If no key is known, it may be one of MWAA's account.
const KEY: &str = "arn:{partition}:kms:{region}::key/{any}";

/// S3, which needs no interface endpoint, but may have one. Of its policy s3.policy tells.
const S3: Service = Service { name: "s3", is_by_role: true, wishes: &[] };

/// The services that exist in a Region's partition: airflow.ops only in `aws` (MWAA user guide, same
/// page as above, in its editions).
fn services(region: &Region) -> impl Iterator<Item = &'static Service> {
    let is_aws = region.partition() == "aws";
    SERVICES.iter().filter(move |service| service.name != "airflow.ops" || is_aws)
}

impl Service {
    /// Whether an endpoint service of this name is this service's. In China some begin with `cn.`.
    fn is_called(&self, name: &str, region: &Region) -> bool {
        let name = match region.partition() {
            "aws-cn" => name.strip_prefix("cn.").unwrap_or(name),
            _ => name,
        };
        let own = format!("com.amazonaws.{region}.{}", self.name);
        name == own
    }

    /// Its interface endpoints, in whatever state but deleted.
    fn endpoints<'a>(&self, case: &Case<'a>) -> Result<Vec<&'a NetworkEndpoint>, Unseen> {
        let all = case.seen.endpoints.get()?.iter();
        let is_its = |it: &&NetworkEndpoint| {
            !it.is_gateway
                && !it.endpoint.state.is_going()
                && self.is_called(&it.endpoint.service, &case.of.region)
        };
        Ok(all.filter(is_its).collect())
    }

    /// Those that its own name leads to. With private DNS one serves all of its VPC, whatever subnets
    /// it is in.
    fn named<'a>(&self, case: &Case<'a>) -> Result<Vec<&'a NetworkEndpoint>, Unseen> {
        let mut all = self.endpoints(case)?;
        all.retain(|it| it.private_dns && it.endpoint.state.is_alive());
        Ok(all)
    }

    /// The one that its own name leads to, and that is available. One endpoint must be both: of two,
    /// each with a fault of its own, neither is of use.
    fn answering<'a>(&self, case: &Case<'a>) -> Result<Option<&'a NetworkEndpoint>, Unseen> {
        Ok(self.named(case)?.into_iter().find(|it| it.endpoint.state == State::Available))
    }

    /// The one by which the environment reaches it.
    fn reached<'a>(&self, case: &Case<'a>) -> Result<Option<&'a NetworkEndpoint>, Unseen> {
        Ok(match self.answering(case)? {
            Some(it) if lost(case, it)?.is_none() => Some(it),
            _ => None,
        })
    }
}

/// Why the environment does not get to an endpoint by the service's name that leads there, if it does
/// not. A name has an address of each interface, of the families that the endpoint and its DNS records
/// have (PrivateLink guide, "Access AWS services": "IP address types", "DNS record IP type").
fn lost(case: &Case<'_>, it: &NetworkEndpoint) -> Result<Option<String>, Unseen> {
    if it.endpoint.subnets.is_empty() {
        return Ok(Some("is in no subnet".to_owned()));
    }
    let is_v6 = case.subnets()?.iter().all(|it| it.family() == Family::V6);
    let (right, wrong) = if is_v6 { ("IPv6", "ipv4") } else { ("IPv4", "ipv6") };
    let Some(has) = &it.address_type else {
        return Err(Unseen(format!("EC2 does not tell the address type of {}", it.endpoint.id)));
    };
    let is_lost = has == wrong || it.record_type.as_deref() == Some(wrong);
    Ok(is_lost.then(|| format!("has no {right}, and the environment nothing else")))
}

/// The service, S3 among them, that the environment asks at an endpoint by the service's own name, if
/// there is one.
pub(super) fn asked_at(case: &Case<'_>, it: &NetworkEndpoint) -> Option<&'static str> {
    let region = &case.of.region;
    let has_name = !it.is_gateway && it.private_dns && it.endpoint.state.is_alive();
    let mut all = services(region).chain([&S3]).filter(|_| has_name);
    all.find(|of| of.is_called(&it.endpoint.service, region)).map(|of| of.name)
}

/// Whether an endpoint leads to S3.
pub(super) fn is_s3(case: &Case<'_>, it: &NetworkEndpoint) -> bool {
    S3.is_called(&it.endpoint.service, &case.of.region)
}

/// The interface endpoints that S3's own name leads to.
pub(super) fn named_s3<'a>(case: &Case<'a>) -> Result<Vec<&'a NetworkEndpoint>, Unseen> {
    S3.named(case)
}

/// The interface endpoint by which S3 is reached, if there is one.
pub(super) fn s3<'a>(case: &Case<'a>) -> Result<Option<&'a NetworkEndpoint>, Unseen> {
    S3.reached(case)
}

/// The endpoint by which SQS is reached, if there is one. The name of `sqs-fips` is another.
pub(super) fn sqs<'a>(case: &Case<'a>) -> Result<Option<&'a NetworkEndpoint>, Unseen> {
    SQS.reached(case)
}

/// All endpoints at which the environment asks services by their own names.
pub(super) fn used<'a>(
    case: &Case<'a>,
) -> Result<Vec<(&'static str, &'a NetworkEndpoint)>, Unseen> {
    Ok(case.endpoints()?.filter_map(|it| Some((asked_at(case, it)?, it))).collect())
}

/// Whether some service, or S3, is not reached by endpoints alone.
pub(super) fn need_a_way_out(case: &Case<'_>) -> Result<bool, Unseen> {
    for service in services(&case.of.region) {
        if service.reached(case)?.is_none() {
            return Ok(true);
        }
    }
    Ok(super::s3::reached(case)?.is_err())
}

/// What is said where something is missing: it matters only without a way out. Whether a way out that
/// does not work was to be it, nobody can tell: what keeps it from working is said elsewhere.
pub(super) fn unless_open(case: &Case<'_>, evidence: String, remedy: &str) -> Answer {
    match case.way_out() {
        Ok(WayOut::None) => fail(evidence, remedy),
        Ok(WayOut::Open(targets)) => {
            pass(format!("{evidence}; there is a way out by {}", listed(targets)))
        }
        Ok(WayOut::Private(why) | WayOut::Broken(why) | WayOut::Unsure(why)) => {
            unknown(format!("{evidence}; {why}"), remedy)
        }
        Err(Unseen(why)) => unknown(format!("{evidence}; the way out was not seen: {why}"), remedy),
    }
}

fn present(case: &Case<'_>) -> Answer {
    let mut missing = BTreeSet::new();
    for service in services(&case.of.region) {
        if service.endpoints(case)?.is_empty() {
            missing.insert(service.name);
        }
    }
    if missing.is_empty() {
        return pass(format!("{} have endpoints", names(case)));
    }
    unless_open(
        case,
        format!("{} has no endpoint for {}", case.seen.vpc, listed(missing)),
        "make interface endpoints with private DNS for them, in the environment's subnets, or give the subnets a route to a NAT gateway",
    )
}

fn names(case: &Case<'_>) -> String {
    services(&case.of.region).map(|it| it.name).collect::<Vec<_>>().join(", ")
}

fn state(case: &Case<'_>) -> Answer {
    let mut wrong = BTreeSet::new();
    for service in services(&case.of.region) {
        if service.answering(case)?.is_some() {
            continue;
        }
        for NetworkEndpoint { endpoint: it, .. } in service.endpoints(case)? {
            if it.state != State::Available {
                wrong.insert(format!("{} of {} is {}", it.id, service.name, it.state));
            }
        }
    }
    if wrong.is_empty() {
        return pass("those that are used are available");
    }
    unless_open(
        case,
        listed(wrong),
        "wait for one that comes to be; make one anew that failed or was rejected",
    )
}

fn private_dns(case: &Case<'_>) -> Answer {
    let mut wrong = BTreeSet::new();
    for (name, it) in used(case)? {
        if let Some(why) = lost(case, it)? {
            wrong.insert(format!("{} of {name} {why}", it.endpoint.id));
        }
    }
    if !wrong.is_empty() {
        let wrong = listed(wrong);
        let remedy = "put it into the environment's subnets, with addresses and DNS records of the environment's family (aws ec2 modify-vpc-endpoint --add-subnet-ids, --ip-address-type, --dns-options)";
        return match case.way_out() {
            Ok(WayOut::Open(_)) => {
                unknown(format!("{wrong}; whether the name leads out then is not known"), remedy)
            }
            _ => unless_open(case, wrong, remedy),
        };
    }
    for service in services(&case.of.region) {
        if service.answering(case)?.is_none() {
            let all = service.endpoints(case)?.into_iter().filter(|it| !it.private_dns);
            wrong.extend(all.map(|it| format!("{} of {}", it.endpoint.id, service.name)));
        }
    }
    if wrong.is_empty() {
        return pass("those that are used have them");
    }
    unless_open(
        case,
        format!("without private DNS: {}", listed(wrong)),
        "aws ec2 modify-vpc-endpoint --private-dns-enabled; a private hosted zone of your own that leads the service's name there does it too, and is not seen here",
    )
}

fn let_in(case: &Case<'_>) -> Answer {
    let (mut wrong, mut unseen, mut right) = (BTreeSet::new(), None, BTreeSet::new());
    for (name, endpoint) in used(case)? {
        match groups::stopped_at(case, endpoint, 443) {
            Ok(rest) if rest.is_empty() => {
                right.insert(name);
            }
            Ok(rest) => {
                let it = &endpoint.endpoint;
                wrong.insert(format!(
                    "{} of {name} ({}) does not let in {}",
                    it.id,
                    listed(&it.groups),
                    listed(rest)
                ));
            }
            Err(why) => unseen = Some(why),
        }
    }
    if !wrong.is_empty() {
        return fail(
            some_of(wrong),
            format!(
                "add an inbound rule to their groups: TCP 443 from {}; they are used even where there is a way out",
                groups::sources(case)
            ),
        );
    }
    match unseen {
        Some(why) => Err(why),
        None if right.is_empty() => pass("no service is reached by an endpoint"),
        None => pass(format!("they let in TCP 443: {}", listed(right))),
    }
}

/// What is known of requests through an endpoint.
pub(super) fn facts(case: &Case<'_>, endpoint: &NetworkEndpoint) -> Facts {
    Facts {
        vpc: Some(endpoint.endpoint.vpc.clone()),
        endpoint: Some(endpoint.endpoint.id.clone()),
        organization: case.of.organization.clone(),
        is_gateway: endpoint.is_gateway,
    }
}

/// What an endpoint's policy says of all of `wishes`, as they are judged: the worst.
pub(super) fn worst(
    case: &Case<'_>,
    endpoint: &NetworkEndpoint,
    wishes: &[Wish<'_>],
    judge: fn(Option<&str>, &Wish<'_>, &Facts) -> Word,
) -> (Verdict, String) {
    let policy = endpoint.endpoint.policy.as_deref();
    let facts = facts(case, endpoint);
    let id = &endpoint.endpoint.id;
    let mut worst = (Verdict::Pass, String::new());
    for wish in wishes {
        let (verdict, text) = match judge(policy, wish, &facts) {
            Word::Allowed => continue,
            Word::Unclear(why) => (Verdict::Unknown, why),
            Word::Refused(why) => (Verdict::Fail, why),
        };
        if verdict < worst.0 {
            worst = (verdict, format!("{id}: {text}"));
        }
    }
    worst
}

/// The wishes at a service, with the Region's names in them.
fn wishes(case: &Case<'_>, service: &Service) -> Vec<(String, String)> {
    let region = &case.of.region;
    let name = case.of.name().unwrap_or(ANY_NAME);
    let words = [
        ("{partition}", region.partition()),
        ("{region}", region.as_str()),
        ("{account}", case.of.account.as_str()),
        ("{name}", name),
        ("{any}", ANY_NAME),
    ];
    let filled =
        |arn: &str| words.iter().fold(arn.to_owned(), |arn, (word, it)| arn.replace(word, it));
    if service.name == "sqs" {
        let queue = filled("arn:{partition}:sqs:{region}::airflow-celery-{any}");
        return QUEUE_ACTIONS.iter().map(|it| (it.to_string(), queue.clone())).collect();
    }
    let key = case.of.key().filter(|_| service.name == "kms");
    let resource = |arn: &str| key.clone().unwrap_or_else(|| filled(arn));
    service.wishes.iter().map(|(action, arn)| (action.to_string(), resource(arn))).collect()
}

fn policy(case: &Case<'_>) -> Answer {
    let mut told: Vec<(Verdict, String)> = Vec::new();
    let mut to_list = BTreeSet::new();
    for service in services(&case.of.region) {
        // Once the queue is known, ours.queue looks for itself.
        if service.name == "sqs" && case.of.queue().is_some() {
            continue;
        }
        let account: Option<&AccountId> = service.is_by_role.then_some(&case.of.account);
        let all = wishes(case, service);
        let all: Vec<Wish<'_>> = all
            .iter()
            .map(|(action, resource)| {
                let is_exact = !resource.contains(ANY_NAME);
                Wish { action, resource, is_exact, account }
            })
            .collect();
        for endpoint in service.named(case)? {
            let (mut verdict, mut text) = worst(case, endpoint, &all, judge);
            // The function lists the queue, once MWAA names it.
            if service.name == "sqs" && verdict != Verdict::Pass {
                (verdict, text) = worst(case, endpoint, &all, judge_once_listed);
                to_list.insert(&endpoint.endpoint.id);
            }
            // What MWAA does at these is documented for one of them only.
            let is_sure = !matches!(service.name, "airflow.api" | "airflow.env" | "airflow.ops");
            let verdict = if is_sure { verdict } else { verdict.max(Verdict::Unknown) };
            if verdict != Verdict::Pass {
                told.push((verdict, format!("{}: {text}", service.name)));
            }
        }
    }
    let Some(verdict) = told.iter().map(|(verdict, _)| *verdict).min() else {
        return match to_list.is_empty() {
            true => pass("they allow it"),
            false => pass(format!(
                "they allow it, but for the queue: the function adds it to the policy of {}",
                listed(to_list)
            )),
        };
    };
    let of_it = told.into_iter().filter(|(own, _)| *own == verdict).map(|(_, text)| text).gather();
    found(
        verdict,
        some_of(of_it),
        "allow the environment's role what it does there (MWAA user guide, \"Amazon MWAA execution role\"), or all, in the endpoint's policy",
    )
}

fn zones(case: &Case<'_>) -> Answer {
    let mut zones = BTreeSet::new();
    for subnet in case.subnets()? {
        zones.insert(&subnet.zone_id);
    }
    let mut elsewhere = BTreeSet::new();
    for (name, endpoint) in used(case)? {
        // That nothing reaches it services.private-dns says.
        if endpoint.endpoint.subnets.is_empty() {
            continue;
        }
        let mut own = BTreeSet::new();
        for id in &endpoint.endpoint.subnets {
            own.insert(&case.subnet(id)?.zone_id);
        }
        let lacking: Vec<_> = zones.difference(&own).collect();
        if !lacking.is_empty() {
            elsewhere.insert(format!(
                "{} of {name} is not in {}",
                endpoint.endpoint.id,
                listed(lacking)
            ));
        }
    }
    if elsewhere.is_empty() {
        return pass("those that are there are in them");
    }
    warn(
        some_of(elsewhere),
        "they are reached all the same, through another zone: that costs money, and fails with that zone",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_those_of_the_partition_under_the_names_that_they_have_there() {
        let china = Region::parse("cn-north-1").unwrap();
        let names: Vec<&str> = services(&china).map(|it| it.name).collect();
        assert!(names.len() == 8 && !names.contains(&"airflow.ops"), "{names:?}");
        let sqs = services(&china).next().unwrap();
        assert!(sqs.is_called("cn.com.amazonaws.cn-north-1.sqs", &china));
        assert!(sqs.is_called("com.amazonaws.cn-north-1.sqs", &china));
        let here = Region::parse("us-east-1").unwrap();
        assert_eq!(services(&here).count(), 9);
        assert!(!sqs.is_called("cn.com.amazonaws.us-east-1.sqs", &here));
        // Its private name is another, which MWAA's workers do not use.
        assert!(!sqs.is_called("com.amazonaws.us-east-1.sqs-fips", &here));
    }
}
