//! The way to S3: DAGs, plugins, and the layers of MWAA's images.

use super::routes::table_of;
use super::services::{self, unless_open, worst};
use super::{
    Addresses, Answer, Case, Destination, Entry, NetworkEndpoint, RouteTable, State, Target,
    Unseen, Verdict, found, listed, pass,
};
use crate::sqs_policy::{ANY_NAME, Wish, judge};

const GATEWAY: &str = "https://docs.aws.amazon.com/vpc/latest/privatelink/vpc-endpoints-s3.html";

pub(super) const CHECKS: [Entry; 2] = [
    Entry { id: "s3.way", title: "S3 is reached from both subnets", source: GATEWAY, look: way },
    Entry {
        id: "s3.policy",
        title: "The S3 endpoint's policy allows the DAG bucket and the images' layers",
        source: "https://docs.aws.amazon.com/AmazonECR/latest/userguide/vpc-endpoints.html",
        look: policy,
    },
];

/// The gateway endpoint to S3 on a route table, if that is the way: not where S3's own name leads to an
/// interface endpoint in the VPC.
pub(super) fn gateway_on<'a>(
    case: &Case<'a>,
    table: &RouteTable,
) -> Result<Option<&'a NetworkEndpoint>, Unseen> {
    if services::s3(case)?.is_some() {
        return Ok(None);
    }
    let is_it = |it: &&NetworkEndpoint| {
        it.is_gateway && services::is_s3(case, it) && it.route_tables.contains(&table.id)
    };
    Ok(case.endpoints()?.find(is_it))
}

/// The addresses of S3 that the subnets reach by a gateway endpoint.
pub(super) fn gateway_blocks(case: &Case<'_>) -> Result<Vec<Vec<Addresses>>, Unseen> {
    let mut all = Vec::new();
    for subnet in case.subnets()? {
        let table = table_of(case, subnet)?;
        let Some(gateway) = gateway_on(case, table)? else { continue };
        let id = gateway.endpoint.id.as_str();
        for route in &table.routes {
            let (Destination::List(list), Target::Endpoint(target)) = (&route.to, &route.target)
            else {
                continue;
            };
            if target == id {
                let list = super::groups::list(case, list)?;
                let blocks = list.blocks.iter().map(super::Block::addresses);
                all.push(blocks.filter(|it| it.family == subnet.family()).collect());
            }
        }
    }
    Ok(all)
}

/// By what S3 is reached from the subnets without a way out; an error within, if it is not.
pub(super) fn reached(case: &Case<'_>) -> Result<Result<String, String>, Unseen> {
    if let Some(it) = services::s3(case)? {
        return Ok(Ok(format!("by {}, with private DNS", it.endpoint.id)));
    }
    let (mut gateways, mut lacking) = (Vec::new(), Vec::new());
    for subnet in case.subnets()? {
        let table = table_of(case, subnet)?;
        match gateway_on(case, table)? {
            Some(it) if it.endpoint.state == State::Available => {
                gateways.push(it.endpoint.id.to_string())
            }
            Some(it) => lacking.push(format!("{} is {}", it.endpoint.id, it.endpoint.state)),
            None => lacking.push(format!(
                "{} of {} has no gateway endpoint to S3",
                table.id, subnet.subnet.id
            )),
        }
    }
    if lacking.is_empty() {
        return Ok(Ok(format!("by {}, on the route tables of both", listed(gateways))));
    }
    Ok(Err(listed(lacking)))
}

fn way(case: &Case<'_>) -> Answer {
    match reached(case)? {
        Ok(by) => pass(by),
        Err(lacking) => unless_open(
            case,
            lacking,
            "make a gateway endpoint for S3 (it costs nothing), or put the one that is there on these route tables (aws ec2 modify-vpc-endpoint --add-route-table-ids)",
        ),
    }
}

fn policy(case: &Case<'_>) -> Answer {
    let mut used = services::named_s3(case)?;
    for subnet in case.subnets()? {
        used.extend(gateway_on(case, table_of(case, subnet)?)?);
    }
    used.sort_unstable_by_key(|it| &it.endpoint.id);
    used.dedup_by_key(|it| &it.endpoint.id);
    if used.is_empty() {
        return Ok(None);
    }
    let (region, account) = (&case.of.region, &case.of.account);
    let partition = region.partition();
    // ECR hands out addresses in its own bucket, signed by itself, so that it is not the environment's
    // role that asks there.
    let layers = format!("arn:{partition}:s3:::prod-{region}-starport-layer-bucket/{ANY_NAME}");
    let bucket = case.of.bucket.as_deref();
    let dags = format!("arn:{partition}:s3:::{}", bucket.unwrap_or(ANY_NAME));
    let objects = format!("{dags}/{ANY_NAME}");
    let wish = |action, resource, is_exact, account| Wish { action, resource, is_exact, account };
    let wishes = [
        wish("s3:GetObject", &layers, true, None),
        wish("s3:GetObject", &objects, bucket.is_some(), Some(account)),
        wish("s3:ListBucket", &dags, bucket.is_some(), Some(account)),
    ];
    let mut told = (Verdict::Pass, String::new());
    for endpoint in &used {
        told = told.min(worst(case, endpoint, &wishes, judge));
    }
    if told.0 == Verdict::Pass {
        return pass(listed(used.iter().map(|it| &it.endpoint.id)));
    }
    let (verdict, evidence) = told;
    found(
        verdict,
        evidence,
        format!(
            "allow s3:GetObject on arn:{partition}:s3:::prod-{region}-starport-layer-bucket/* to everyone, and the DAG bucket and its objects to the environment's role"
        ),
    )
}
