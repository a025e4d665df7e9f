//! The environment's security groups, and whom groups let in and out.

use std::collections::BTreeSet;

use super::routes::{WayOut, internet};
use super::{
    Addresses, Answer, Case, Entry, NetworkEndpoint, Peer, Permission, Ports, PrefixList,
    SecurityGroup, Unseen, fail, listed, pass, some_of, unknown, warn,
};
use crate::environment::{AccountId, GroupId, PrefixListId, Role};
use crate::vpc::port;

const SECURITY: &str = "https://docs.aws.amazon.com/mwaa/latest/userguide/vpc-security.html";
const RULES: &str = "https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html";

pub(super) const CHECKS: [Entry; 4] = [
    Entry {
        id: "groups.count",
        title: "There are one to five security groups",
        source: "https://docs.aws.amazon.com/mwaa/latest/API/API_NetworkConfiguration.html",
        look: count,
    },
    Entry {
        id: "groups.usable",
        title: "The groups are of the VPC and of the environment's account",
        source: "https://docs.aws.amazon.com/vpc/latest/userguide/vpc-sharing.html",
        look: usable,
    },
    Entry {
        id: "groups.self",
        title: "The groups let the environment's own parts in",
        source: SECURITY,
        look: from_themselves,
    },
    Entry {
        id: "groups.outbound",
        title: "The groups let the environment out to what it uses",
        source: RULES,
        look: outbound,
    },
];

/// A group, if it was seen.
fn group<'a>(case: &Case<'a>, id: &GroupId) -> Result<&'a SecurityGroup, Unseen> {
    let found = case.seen.groups.get()?.iter().find(|group| group.id == *id);
    found.ok_or_else(|| Unseen(format!("{id} was not seen by account {}", case.seen.viewer)))
}

/// A prefix list, if it was seen.
pub(super) fn list<'a>(case: &Case<'a>, id: &PrefixListId) -> Result<&'a PrefixList, Unseen> {
    let found = case.seen.prefix_lists.get()?.get(id);
    let found = found.ok_or_else(|| Unseen(format!("prefix list {id} was not seen")))?;
    found.get().map_err(|Unseen(why)| Unseen(format!("prefix list {id} was not seen: {why}")))
}

/// The other end of traffic: what it carries, and where it is.
struct End<'a> {
    /// Groups that it carries, all of them, with their account, if that is known.
    groups: Vec<(Option<&'a AccountId>, &'a GroupId)>,
    /// Where it may be.
    addresses: Vec<Addresses>,
}

/// The environment, as whoever it asks sees it.
fn environment<'a>(case: &Case<'a>) -> Result<End<'a>, Unseen> {
    let of = case.of;
    if of.groups.is_empty() {
        return Err(none_named());
    }
    let groups = of.groups.iter().map(|group| (Some(&of.account), group)).collect();
    Ok(End { groups, addresses: case.addresses()? })
}

/// From which of the other end's addresses, or to which, `groups` let no TCP to `port` through. What
/// carries several groups has all their rules; a rule that names a group lets through whatever
/// carries it. It is an error only if what was not seen decides.
fn stopped<'a>(
    case: &Case<'a>,
    groups: impl IntoIterator<Item = &'a GroupId>,
    rules: impl Fn(&SecurityGroup) -> &[Permission],
    port: u16,
    end: &End<'_>,
) -> Result<Vec<Addresses>, Unseen> {
    let mut rest = end.addresses.clone();
    let mut unseen = None;
    for id in groups {
        let group = match group(case, id) {
            Ok(group) => group,
            Err(why) => {
                unseen = Some(why);
                continue;
            }
        };
        let fits = |rule: &&Permission| {
            rule.protocol.is_tcp()
                && rule.ports.unwrap_or(Ports::ALL).and(&Ports::one(port)).is_some()
        };
        for rule in rules(group).iter().filter(fits) {
            let blocks = match &rule.peer {
                Peer::Group(account, peer) => {
                    let account = account.as_ref().unwrap_or(&group.owner);
                    let is_it = |(of, id): &(Option<&AccountId>, &GroupId)| {
                        *id == peer && of.is_none_or(|of| of == account)
                    };
                    if end.groups.iter().any(is_it) {
                        return Ok(Vec::new());
                    }
                    continue;
                }
                Peer::Block(block) => vec![block.addresses()],
                Peer::List(id) => match list(case, id) {
                    Ok(list) => list.blocks.iter().map(super::Block::addresses).collect(),
                    Err(why) => {
                        unseen = Some(why);
                        continue;
                    }
                },
            };
            for block in blocks {
                rest = rest.iter().flat_map(|it| it.without(&block)).collect();
            }
        }
    }
    match unseen {
        Some(why) if !rest.is_empty() => Err(why),
        _ => Ok(rest),
    }
}

/// From where in the environment's subnets an endpoint's groups let nothing in.
pub(super) fn stopped_at<'a>(
    case: &Case<'a>,
    endpoint: &'a NetworkEndpoint,
    port: u16,
) -> Result<Vec<Addresses>, Unseen> {
    stopped(case, &endpoint.endpoint.groups, |it| &it.inbound, port, &environment(case)?)
}

/// The environment's groups, as rules in the VPC owner's account name them.
pub(super) fn sources(case: &Case<'_>) -> String {
    let account = &case.of.account;
    let owner = case.subnets().ok().and_then(|it| it.first().map(|it| it.subnet.owner.clone()));
    let is_owners = owner.as_ref() == Some(account);
    let name = |group: &GroupId| match is_owners {
        true => group.to_string(),
        false => format!("{account}/{group}"),
    };
    listed(case.of.groups.iter().map(name))
}

fn none_named() -> Unseen {
    Unseen("no security groups are named".to_owned())
}

fn count(case: &Case<'_>) -> Answer {
    let groups = &case.of.groups;
    match groups.len() {
        0 => Err(none_named()),
        1..=5 => pass(listed(groups)),
        count => fail(format!("{count} are named: {}", listed(groups)), "name five at most"),
    }
}

fn usable(case: &Case<'_>) -> Answer {
    let (mut wrong, mut elsewhere, mut unseen) = (Vec::new(), Vec::new(), None);
    let (account, vpc) = (&case.of.account, &case.seen.vpc);
    for id in &case.of.groups {
        match group(case, id) {
            Ok(it) if it.owner != *account => {
                wrong.push(format!("{id} is of account {}", it.owner))
            }
            Ok(it) if it.vpc != *vpc => elsewhere.push(format!("{id} is of {}", it.vpc)),
            Ok(_) => {}
            Err(why) => unseen = Some(why),
        }
    }
    if !wrong.is_empty() {
        return fail(wrong.join("; "), format!("name groups of {vpc} in account {account}"));
    }
    if let Some(why) = unseen {
        return Err(why);
    }
    // An account may associate its own groups with other VPCs, shared ones, too (VPC user guide,
    // "Associate security groups with multiple VPCs").
    if !elsewhere.is_empty() {
        return unknown(
            format!(
                "{}; whether it is associated with {vpc} is not looked at",
                elsewhere.join("; ")
            ),
            format!(
                "see that it is (aws ec2 describe-security-group-vpc-associations), or name groups of {vpc}"
            ),
        );
    }
    if case.of.groups.is_empty() {
        return Err(none_named());
    }
    pass(format!("{} of {vpc}", listed(&case.of.groups)))
}

/// The ports at which an environment's parts and endpoints are asked.
fn ports() -> [u16; 2] {
    [port(Role::Database), port(Role::Webserver)]
}

fn from_themselves(case: &Case<'_>) -> Answer {
    let end = environment(case)?;
    let (mut wrong, mut unseen) = (Vec::new(), None);
    for port in ports() {
        match stopped(case, &case.of.groups, |it| &it.inbound, port, &end) {
            Ok(rest) if rest.is_empty() => {}
            Ok(rest) => wrong.push(format!("TCP {port} from {}", listed(rest))),
            Err(why) => unseen = Some(why),
        }
    }
    let groups = listed(&case.of.groups);
    if !wrong.is_empty() {
        return fail(
            format!("{groups} do not let in from themselves: {}", wrong.join("; ")),
            "add an inbound rule for all traffic from the group itself; TCP 5432 and 443 at least",
        );
    }
    match unseen {
        Some(why) => Err(why),
        None => pass(format!("{groups} let in 5432 and 443 from themselves")),
    }
}

fn outbound(case: &Case<'_>) -> Answer {
    if case.of.groups.is_empty() {
        return Err(none_named());
    }
    let (mut wrong, mut unseen) = (BTreeSet::new(), None);
    let mut look = |name: &str, port: u16, end: End<'_>| match stopped(
        case,
        &case.of.groups,
        |it| &it.outbound,
        port,
        &end,
    ) {
        Ok(rest) if rest.is_empty() => {}
        Ok(rest) => {
            wrong.insert(format!("TCP {port} to {name} ({})", listed(rest)));
        }
        Err(why) => unseen = Some(why),
    };
    // To the endpoints that are there, and to its own subnets, in which those are that nobody sees.
    let (inside, by_gateway) = (super::ours::inside(case), super::s3::gateway_blocks(case));
    for role in inside.as_deref().unwrap_or_default() {
        look("the environment's subnets", port(*role), environment(case)?);
    }
    for endpoint in case.endpoints()? {
        let port = if super::ours::leads_to(case, endpoint, Role::Database) {
            port(Role::Database)
        } else if super::ours::leads_to(case, endpoint, Role::Webserver)
            || super::services::asked_at(case, endpoint).is_some()
        {
            port(Role::Webserver)
        } else {
            continue;
        };
        let mut addresses = Vec::new();
        for id in &endpoint.endpoint.subnets {
            let subnet = case.subnet(id)?;
            addresses.extend(subnet.addresses(subnet.family()));
        }
        let owner_of = |id| group(case, id).ok().map(|group| &group.owner);
        let groups = endpoint.endpoint.groups.iter().map(|id| (owner_of(id), id)).collect();
        look(endpoint.endpoint.id.as_str(), port, End { groups, addresses });
    }
    let mut addresses = match case.subnets()?.first() {
        Some(subnet) => internet(subnet.family()),
        None => Vec::new(),
    };
    for blocks in by_gateway.iter().flatten() {
        // What a gateway endpoint takes does not take the way out.
        for block in blocks {
            addresses = addresses.iter().flat_map(|it| it.without(block)).collect();
        }
        look("S3", 443, End { groups: Vec::new(), addresses: blocks.clone() });
    }
    let is_asked = match case.way_out() {
        Ok(WayOut::Open(_)) => super::services::need_a_way_out(case),
        Ok(_) => Ok(false),
        Err(why) => Err(why),
    };
    let mut is_out = true;
    match is_asked {
        Ok(false) => {}
        Ok(true) => {
            let end = End { groups: Vec::new(), addresses };
            match stopped(case, &case.of.groups, |it| &it.outbound, 443, &end) {
                Ok(rest) if rest == end.addresses => {
                    wrong.insert(
                        "TCP 443 to the internet, by which services are reached".to_owned(),
                    );
                }
                Ok(rest) => is_out = rest.is_empty(),
                Err(why) => unseen = Some(why),
            }
        }
        Err(why) => unseen = Some(why),
    }
    let groups = listed(&case.of.groups);
    if !wrong.is_empty() {
        return fail(
            format!("{groups} do not let out {}", some_of(wrong)),
            "add an outbound rule for all traffic to 0.0.0.0/0, or for what is named here",
        );
    }
    if let Some(why) = unseen.or(inside.err()).or(by_gateway.err()) {
        return Err(why);
    }
    if !is_out {
        return warn(
            format!(
                "{groups} do not let out TCP 443 to all of the internet, by which services are reached"
            ),
            "add an outbound rule for TCP 443 to 0.0.0.0/0, or see that all services have endpoints",
        );
    }
    pass(format!("{groups} let out 5432 and 443"))
}
