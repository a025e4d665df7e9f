//! A hub VPC: one with service endpoints that other VPCs use, too, by a transit gateway or peering and
//! private hosted zones.

use super::routes::WayOut;
use super::{Answer, Case, Entry, Unseen, pass, services, some_of, unknown};
use crate::gather::Gather;

pub(super) const CHECKS: [Entry; 1] = [Entry {
    id: "hub.sqs",
    title: "The queue is reached through this VPC",
    source: "https://docs.aws.amazon.com/whitepapers/latest/building-scalable-secure-multi-vpc-network-infrastructure/centralized-access-to-vpc-private-endpoints.html",
    look: sqs,
}];

fn sqs(case: &Case<'_>) -> Answer {
    let region = &case.of.region;
    if let Some(it) = services::sqs(case)? {
        return pass(format!("by {}", it.endpoint.id));
    }
    let way = case.way_out();
    if let Ok(WayOut::Open(_)) = way {
        return pass("by the way out");
    }
    let lacks = format!("{} has no SQS endpoint that the environment reaches", case.seen.vpc);
    let remedy =
        "if workers reach SQS there, see that its policy lets the environment's queue through";
    let others =
        case.seen.elsewhere.get().map_err(|Unseen(why)| {
            Unseen(format!("{lacks}, and other VPCs were not seen: {why}"))
        })?;
    let others = others.iter().map(|it| &it.endpoint).filter(|it| it.serves_sqs(region));
    let others: std::collections::BTreeSet<String> =
        others.map(|it| format!("{} in {}", it.id, it.vpc)).gather();
    if !others.is_empty() {
        return unknown(format!("{lacks}; workers may use {}", some_of(others)), remedy);
    }
    match way {
        // A hub may be another account's.
        Ok(WayOut::Private(why) | WayOut::Unsure(why)) => {
            unknown(format!("{lacks}; {why}"), remedy)
        }
        Err(Unseen(why)) => {
            unknown(format!("{lacks}, and the way out was not seen: {why}"), remedy)
        }
        // There is none. What that means the checks of services and routes say.
        _ => Ok(None),
    }
}
