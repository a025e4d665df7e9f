//! The environment's subnets.

use std::collections::BTreeSet;

use super::ours::{is_going, is_to_be, to_come};
use super::{Answer, Case, Entry, Unseen, fail, listed, pass, unknown, warn};
use crate::environment::AccountId;
use crate::gather::Gather;

const NETWORKING: &str = "https://docs.aws.amazon.com/mwaa/latest/userguide/networking-about.html";
const SHARING: &str = "https://docs.aws.amazon.com/vpc/latest/userguide/vpc-sharing.html";

pub(super) const CHECKS: [Entry; 6] = [
    Entry {
        id: "subnets.two",
        title: "There are exactly two subnets",
        source: "https://docs.aws.amazon.com/mwaa/latest/API/API_NetworkConfiguration.html",
        look: two,
    },
    Entry { id: "subnets.vpc", title: "The subnets are in the VPC", source: NETWORKING, look: vpc },
    Entry {
        id: "subnets.zones",
        title: "The subnets are in different Availability Zones",
        source: NETWORKING,
        look: zones,
    },
    Entry {
        id: "subnets.owner",
        title: "Whoever owns the VPC is the one to make the endpoints",
        source: "https://docs.aws.amazon.com/mwaa/latest/userguide/vpc-endpoint-management.html",
        look: owner,
    },
    Entry {
        id: "subnets.shared",
        title: "The subnets are shared with the environment's account",
        source: SHARING,
        look: shared,
    },
    Entry {
        id: "subnets.addresses",
        title: "The subnets have addresses left",
        source: "https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html",
        look: addresses,
    },
];

fn two(case: &Case<'_>) -> Answer {
    let named: BTreeSet<_> = case.of.subnets.iter().gather();
    match named.len() {
        0 => Err(Unseen("no subnets are named".to_owned())),
        2 => pass(listed(named)),
        count => fail(
            format!("{count} are named: {}", listed(named)),
            "give the environment exactly two: it is made anew for that, since subnets never change",
        ),
    }
}

fn vpc(case: &Case<'_>) -> Answer {
    let seen = case.seen.subnets.get()?;
    let vpc = &case.seen.vpc;
    if case.of.subnets.is_empty() {
        return Err(Unseen("no subnets are named".to_owned()));
    }
    let mut wrong = Vec::new();
    for id in &case.of.subnets {
        match seen.iter().find(|it| it.subnet.id == *id) {
            None => {
                wrong.push(format!("{id} is not there, or not for account {}", case.seen.viewer))
            }
            Some(it) if it.subnet.vpc != *vpc => {
                wrong.push(format!("{id} is in {}", it.subnet.vpc));
            }
            Some(_) => {}
        }
    }
    if !wrong.is_empty() {
        return fail(wrong.join("; "), format!("name two subnets of {vpc}"));
    }
    pass(format!("they are in {vpc}"))
}

fn zones(case: &Case<'_>) -> Answer {
    let subnets = case.subnets()?;
    let zones: BTreeSet<&str> = subnets.iter().map(|it| it.zone_id.as_str()).gather();
    if zones.contains("") {
        return Err(Unseen("EC2 tells no zone id".to_owned()));
    }
    let places = listed(subnets.iter().map(|it| format!("{} in {}", it.subnet.id, it.zone_id)));
    // Those of Local Zones and Wavelength Zones have a place in them: `use1-bos1-az1`.
    if zones.iter().any(|zone| zone.matches('-').count() > 1) {
        return fail(
            places,
            "name subnets in two Availability Zones: neither Local Zones nor Wavelength Zones are any",
        );
    }
    if zones.len() < subnets.len() {
        return fail(
            places,
            "name subnets in two zones; compare zone ids, since the same zone has other names in other accounts",
        );
    }
    pass(places)
}

fn owner(case: &Case<'_>) -> Answer {
    let owners: BTreeSet<&AccountId> =
        case.subnets()?.into_iter().map(|it| &it.subnet.owner).gather();
    let account = &case.of.account;
    let managed = case.of.told.as_ref().map(|told| told.customer_managed);
    if owners.iter().all(|owner| *owner == account) {
        return pass(format!("{account} owns the VPC, and the environment lives there"));
    }
    let places = format!("{} owns the VPC, the environment is of {account}", listed(&owners));
    match managed {
        Some(Some(false)) => fail(
            format!("{places}, and MWAA is to make the endpoints (SERVICE), which it cannot there"),
            "make the environment anew with --endpoint-management CUSTOMER",
        ),
        Some(None) => unknown(
            format!("{places}; MWAA does not tell who makes the endpoints"),
            "see that EndpointManagement is CUSTOMER (aws mwaa get-environment)",
        ),
        Some(Some(true)) => pass(format!("{places}, with EndpointManagement CUSTOMER")),
        None => pass(format!("{places}: make it with --endpoint-management CUSTOMER")),
    }
}

fn shared(case: &Case<'_>) -> Answer {
    let account = &case.of.account;
    let subnets = case.subnets()?;
    let foreign: Vec<_> = subnets.iter().filter(|it| it.subnet.owner != *account).collect();
    if foreign.is_empty() {
        return Ok(None);
    }
    if case.seen.viewer == *account {
        return pass(format!("{account} sees {}", listed(foreign.iter().map(|it| &it.subnet.id))));
    }
    let shares = case.seen.shares.get()?;
    let (mut not_shared, mut by_others) = (Vec::new(), Vec::new());
    for it in foreign {
        let id = &it.subnet.id;
        match shares.get(id).filter(|with| !with.is_empty()) {
            Some(with) if with.contains(account.as_str()) => {}
            // Whether the account is in an organizational unit, only Organizations tells.
            Some(with) if with.iter().any(|it| AccountId::parse(it).is_err()) => {
                by_others.push(format!("{id} with {}", listed(with)));
            }
            Some(with) => not_shared.push(format!("{id} is shared with {}", listed(with))),
            None => not_shared.push(format!("{id} is not shared")),
        }
    }
    if !not_shared.is_empty() {
        return fail(not_shared.join("; "), format!("share both with {account} in AWS RAM"));
    }
    if !by_others.is_empty() {
        return unknown(
            format!(
                "they are shared with units, of which nobody sees here who is in them: {}",
                by_others.join("; ")
            ),
            format!("see that {account} is in them, or run this with credentials of {account}"),
        );
    }
    pass(format!("they are shared with {account}"))
}

fn addresses(case: &Case<'_>) -> Answer {
    if is_going(case) {
        return Ok(None);
    }
    // IPv6 never runs out.
    let mut subnets = case.subnets()?;
    subnets.retain(|it| !it.subnet.ipv6_only);
    if subnets.is_empty() {
        return pass("they have IPv6 only");
    }
    // Each endpoint takes an address in each subnet.
    let still = u32::try_from(to_come(case)?.len()).unwrap_or(u32::MAX);
    let free = listed(subnets.iter().map(|it| format!("{} has {} free", it.subnet.id, it.free)));
    let remedy = "free some, or give the environment larger subnets: it is made anew for that";
    if subnets.iter().any(|it| it.free < still) {
        return fail(format!("{free}; the endpoints still take {still} in each"), remedy);
    }
    let left: u32 = subnets.iter().map(|it| it.free - still).sum();
    let tasks = case.of.tasks;
    // As long as its endpoints are to be made, nothing of it runs.
    let is_to_be = case.of.told.as_ref().is_none_or(is_to_be);
    if left == 0 && still > 0 && is_to_be {
        return fail(
            format!(
                "{free}; the endpoints take {still} in each, and none is left for workers and schedulers"
            ),
            remedy,
        );
    }
    if left < tasks {
        return warn(
            format!(
                "{free}; workers and schedulers may take {tasks} more, and the endpoints {still} in each"
            ),
            format!("{remedy}; fewer workers (MaxWorkers) take fewer"),
        );
    }
    pass(format!(
        "{free}; up to {tasks} more workers and schedulers, and {still} endpoints in each"
    ))
}
