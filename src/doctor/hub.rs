//! A hub VPC: one with service endpoints that other VPCs use, too, by a transit gateway or peering and
//! private hosted zones.

use super::routes::WayOut;
use super::{Answer, Case, Entry, Unseen, pass, some_of, unknown};
use crate::gather::Gather;

pub(super) const CHECKS: [Entry; 1] = [Entry {
    id: "hub.sqs",
    title: "The queue is reached through this VPC",
    source: "https://docs.aws.amazon.com/whitepapers/latest/building-scalable-secure-multi-vpc-network-infrastructure/centralized-access-to-vpc-private-endpoints.html",
    look: sqs,
}];

fn sqs(case: &Case<'_>) -> Answer {
    let region = &case.of.region;
    if let Some(it) = super::services::sqs(case)?.first() {
        return pass(format!("by {}", it.endpoint.id));
    }
    if let Ok(WayOut::Open(_)) = case.way_out() {
        return pass("by the way out");
    }
    let others = case.seen.elsewhere.get().map_err(|Unseen(why)| {
        Unseen(format!(
            "{} has no SQS endpoint with private DNS, and other VPCs were not seen: {why}",
            case.seen.vpc
        ))
    })?;
    let others = others.iter().map(|it| &it.endpoint).filter(|it| it.serves_sqs(region));
    let others: std::collections::BTreeSet<String> =
        others.map(|it| format!("{} in {}", it.id, it.vpc)).gather();
    if others.is_empty() {
        // services.present says what that means.
        return pass("no other VPC of this account has an SQS endpoint");
    }
    unknown(
        format!(
            "{} has no SQS endpoint with private DNS; workers may use {}",
            case.seen.vpc,
            some_of(others)
        ),
        "if workers reach SQS there, see that its policy lets the environment's queue through",
    )
}
