//! Network ACLs: which packets they stop, exactly.

use std::collections::{BTreeMap, BTreeSet};

use super::routes::{WayOut, internet, nats_of, table_of};
use super::{
    Acl, AclEntry, Addresses, Answer, Case, Destination, Entry, Family, NetworkSubnet, Ports,
    Target, Unseen, fail, listed, pass, some_of, warn,
};
use crate::environment::{Role, SubnetId};
use crate::vpc::port;

const ACLS: &str = "https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html";
const SECURITY: &str = "https://docs.aws.amazon.com/mwaa/latest/userguide/vpc-security.html";
const ANSWERS: &str =
    "https://docs.aws.amazon.com/vpc/latest/userguide/custom-network-acl.html#nacl-ephemeral-ports";

pub(super) const CHECKS: [Entry; 5] = [
    Entry {
        id: "acls.database",
        title: "Network ACLs let 5432 through to the database",
        source: SECURITY,
        look: database,
    },
    Entry {
        id: "acls.https",
        title: "Network ACLs let 443 through to the endpoints",
        source: SECURITY,
        look: https,
    },
    Entry {
        id: "acls.answers",
        title: "Network ACLs let the endpoints' answers through",
        source: ANSWERS,
        look: answers,
    },
    Entry {
        id: "acls.s3",
        title: "Network ACLs let through what goes to S3 by the gateway endpoint",
        source: "https://docs.aws.amazon.com/vpc/latest/privatelink/gateway-endpoints.html",
        look: s3,
    },
    Entry {
        id: "acls.internet",
        title: "Network ACLs let through what goes out by NAT",
        source: ACLS,
        look: out,
    },
];

/// The ports that answers go to: whichever a client has chosen. A NAT gateway chooses from all of them
/// ([`ANSWERS`]).
const EPHEMERAL: Ports = Ports { first: 1024, last: u16::MAX };

/// Those of them that Linux chooses by itself (kernel documentation, `ip_local_port_range`), as workers do.
const USUAL: Ports = Ports { first: 32768, last: 60999 };

/// TCP packets: all those from or to some addresses, to some ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packets {
    /// The other end's addresses.
    pub(super) addresses: Addresses,
    /// The destination's ports.
    pub(super) ports: Ports,
}

impl Packets {
    fn and(&self, other: &Self) -> Option<Self> {
        let addresses = self.addresses.and(&other.addresses)?;
        Some(Self { addresses, ports: self.ports.and(&other.ports)? })
    }

    fn without(&self, other: &Self) -> Vec<Self> {
        let Some(both) = self.and(other) else { return vec![*self] };
        let beside = self.addresses.without(&both.addresses).into_iter();
        let beside = beside.map(|addresses| Self { addresses, ports: self.ports });
        let above = self.ports.without(&both.ports).into_iter();
        let above = above.map(|ports| Self { addresses: both.addresses, ports });
        beside.chain(above).collect()
    }
}

/// Packets that an ACL stops, and the number of the entry that does; none if no entry fits them.
pub(super) type Stopped = (Packets, Option<i32>);

/// What of `needed` an ACL stops, in one direction. Of the entries that fit a packet, the one with the
/// lowest number decides; what none fits is stopped (VPC user guide, "Network ACL rules").
pub(super) fn stopped(acl: &Acl, is_egress: bool, needed: Packets) -> Vec<Stopped> {
    let mut entries: Vec<&AclEntry> = acl
        .entries
        .iter()
        .filter(|entry| entry.is_egress == is_egress && entry.protocol.is_tcp())
        .collect();
    entries.sort_unstable_by_key(|entry| entry.number);
    let (mut rest, mut stopped) = (vec![needed], Vec::new());
    for entry in entries {
        let fits = Packets {
            addresses: entry.block.addresses(),
            ports: entry.ports.unwrap_or(Ports::ALL),
        };
        if !entry.allows {
            let denied = rest.iter().filter_map(|it| it.and(&fits));
            stopped.extend(denied.map(|it| (it, Some(entry.number))));
        }
        rest = rest.iter().flat_map(|it| it.without(&fits)).collect();
    }
    stopped.extend(rest.into_iter().map(|it| (it, None)));
    stopped
}

fn acl_of<'a>(case: &Case<'a>, id: &SubnetId) -> Result<&'a Acl, Unseen> {
    let found = case.seen.acls.get()?.iter().find(|acl| acl.subnets.contains(id));
    found.ok_or_else(|| Unseen(format!("the network ACL of {id} was not seen")))
}

/// One thing that an ACL must let through.
struct Leg<'a> {
    subnet: &'a SubnetId,
    is_egress: bool,
    /// The other end's addresses.
    addresses: Vec<Addresses>,
    ports: Ports,
    /// Those of the ports that are used for sure.
    usual: Ports,
    /// Whether it is IPv6 beside IPv4, which the environment may never speak.
    is_beside: bool,
    /// Whether the other end is the internet, of which a part only is asked for.
    is_internet: bool,
}

/// The ports of them that are used for sure: of answers to workers, those that Linux chooses.
fn usual(ports: Ports) -> Ports {
    if ports.first == ports.last { ports } else { USUAL }
}

/// Whether of all of a leg's addresses something is stopped that is used for sure. Along the ports what
/// is stopped grows only where a part of it begins.
fn is_shut(leg: &Leg<'_>, all: &[Stopped]) -> bool {
    let mut begins = all.iter().filter_map(|(it, _)| it.ports.and(&leg.usual)).map(|it| it.first);
    begins.any(|port| {
        let at = all.iter().filter(|(it, _)| it.ports.and(&Ports::one(port)).is_some());
        let left = at.fold(leg.addresses.clone(), |left, (it, _)| {
            left.iter().flat_map(|own| own.without(&it.addresses)).collect()
        });
        left.is_empty()
    })
}

/// What ACLs stop, for a person.
#[derive(Default)]
struct Holes {
    /// What is stopped and needed.
    needed: BTreeSet<String>,
    /// What is stopped to or from a part of the internet, of which nobody knows here whether it is asked.
    partly: BTreeSet<String>,
    /// What is stopped, and may not be needed.
    perhaps: BTreeSet<String>,
    /// When it is.
    only: BTreeSet<&'static str>,
    /// The ACLs that were looked at.
    acls: BTreeSet<String>,
    /// Why not all was looked at.
    unseen: Option<Unseen>,
}

/// What ACLs stop of some legs, as far as they were seen.
fn holes(case: &Case<'_>, legs: Vec<Leg<'_>>) -> Holes {
    let mut holes = Holes::default();
    for leg in legs {
        let acl = match acl_of(case, leg.subnet) {
            Ok(acl) => acl,
            Err(why) => {
                holes.unseen = Some(why);
                continue;
            }
        };
        holes.acls.insert(acl.id.clone());
        let mut all = Vec::new();
        for addresses in &leg.addresses {
            let needed = Packets { addresses: *addresses, ports: leg.ports };
            all.extend(stopped(acl, leg.is_egress, needed));
        }
        let is_partly = leg.is_internet && !is_shut(&leg, &all);
        let mut alike: BTreeMap<(Ports, Option<i32>), Vec<Addresses>> = BTreeMap::new();
        for (packets, number) in all {
            alike.entry((packets.ports, number)).or_default().push(packets.addresses);
        }
        for ((ports, number), stopped) in alike {
            let is_all = stopped == leg.addresses;
            let (way, end) = if leg.is_egress { ("out of", "to") } else { ("into", "from") };
            let by =
                number.map_or("no rule allows it".to_owned(), |it| format!("rule {it} denies it"));
            // All of the internet has one name.
            let whole = stopped.first().filter(|_| is_all && stopped.len() > 1);
            let stopped = match whole {
                Some(first) => vec![first.family.all()],
                None => stopped,
            };
            let only = if leg.is_beside {
                Some("if the environment speaks IPv6")
            } else if ports.and(&leg.usual).is_none() {
                Some("for ports that Linux does not choose by itself, which takes 32768 to 60999")
            } else {
                None
            };
            holes.only.extend(only);
            let to = match only {
                Some(_) => &mut holes.perhaps,
                None if is_partly => &mut holes.partly,
                None => &mut holes.needed,
            };
            to.extend(stopped.iter().map(|addresses| {
                format!("{} {way} {}: TCP {ports} {end} {addresses} ({by})", acl.id, leg.subnet)
            }));
        }
    }
    holes
}

fn told(holes: Holes) -> Answer {
    let Holes { needed, partly, perhaps, only, acls, unseen } = holes;
    let remedy = "allow it with a rule of a lower number; ACLs keep no state, so that answers need rules of their own";
    if !needed.is_empty() {
        return fail(some_of(needed), remedy);
    }
    if let Some(why) = unseen {
        return Err(why);
    }
    if !partly.is_empty() {
        return warn(
            some_of(partly),
            "see that no address of an AWS service in the Region is among them (ip-ranges.json), or allow them",
        );
    }
    if !perhaps.is_empty() {
        return warn(format!("only {}: {}", listed(only), some_of(perhaps)), remedy);
    }
    pass(format!("by {}", listed(acls)))
}

/// The legs of requests to `ports` from the environment's subnets to `servers`, or of the answers.
/// Within a subnet no ACL is asked (VPC user guide, "Network ACL basics").
fn legs<'a>(
    clients: &[&'a NetworkSubnet],
    servers: &[&'a NetworkSubnet],
    ports: Ports,
    is_answer: bool,
) -> Vec<Leg<'a>> {
    let mut legs = Vec::new();
    for client in clients {
        for server in servers.iter().filter(|it| it.subnet.id != client.subnet.id) {
            for family in [Family::V4, Family::V6] {
                let is_beside = family != client.family();
                let leg = |at: &'a NetworkSubnet, is_egress, other: &'a NetworkSubnet| {
                    other.addresses(family).map(move |addresses| Leg {
                        subnet: &at.subnet.id,
                        is_egress,
                        addresses: vec![addresses],
                        ports,
                        usual: usual(ports),
                        is_beside,
                        is_internet: false,
                    })
                };
                // Both must have the family.
                if client.addresses(family).next().is_none()
                    || server.addresses(family).next().is_none()
                {
                    continue;
                }
                legs.extend(leg(client, !is_answer, server));
                legs.extend(leg(server, is_answer, client));
            }
        }
    }
    legs
}

/// Where what the environment asks is: the subnets of endpoints that it uses, as far as they were seen,
/// and its own, if an endpoint that nobody sees is there, or is still to be made.
struct Servers<'a> {
    subnets: Vec<&'a NetworkSubnet>,
    unseen: Option<Unseen>,
}

impl<'a> Servers<'a> {
    fn of(case: &Case<'a>, role: Role, uses: impl Fn(&super::NetworkEndpoint) -> bool) -> Self {
        let mut servers = Self { subnets: Vec::new(), unseen: None };
        let mut ids: BTreeSet<&SubnetId> = BTreeSet::new();
        let inside = super::ours::inside(case);
        if inside.as_ref().map_or(true, |all| all.contains(&role)) {
            ids.extend(&case.of.subnets);
        }
        servers.unseen = inside.err();
        match case.endpoints() {
            Ok(all) => all.filter(|it| uses(it)).for_each(|it| ids.extend(&it.endpoint.subnets)),
            Err(why) => servers.unseen = Some(why),
        }
        for id in ids {
            match case.subnet(id) {
                Ok(subnet) => servers.subnets.push(subnet),
                Err(why) => servers.unseen = Some(why),
            }
        }
        servers
    }

    fn of_database(case: &Case<'a>) -> Self {
        Self::of(case, Role::Database, |it| super::ours::leads_to(case, it, Role::Database))
    }

    fn of_https(case: &Case<'a>) -> Self {
        Self::of(case, Role::Webserver, |it| {
            super::ours::leads_to(case, it, Role::Webserver)
                || super::services::asked_at(case, it).is_some()
        })
    }
}

/// The subnets in which the environment asks; all of the VPC's, if it was not seen in which, and why it was not.
pub(super) fn servers<'a>(
    case: &Case<'a>,
) -> Result<(Vec<&'a NetworkSubnet>, Option<Unseen>), Unseen> {
    let (one, other) = (Servers::of_database(case), Servers::of_https(case));
    let unseen = one.unseen.or(other.unseen);
    if unseen.is_some() {
        let all = case.seen.subnets.get()?.iter();
        return Ok((all.filter(|it| it.subnet.vpc == case.seen.vpc).collect(), unseen));
    }
    let mut all = one.subnets;
    all.extend(other.subnets);
    Ok((all, None))
}

/// What ACLs stop between the environment's subnets and `servers`.
fn between(case: &Case<'_>, servers: Servers<'_>, ports: &[Ports], is_answer: bool) -> Answer {
    let clients = case.subnets()?;
    if servers.subnets.is_empty() && servers.unseen.is_none() {
        return Ok(None);
    }
    let all = ports.iter().flat_map(|ports| legs(&clients, &servers.subnets, *ports, is_answer));
    let mut holes = holes(case, all.collect());
    holes.unseen = holes.unseen.or(servers.unseen);
    told(holes)
}

fn database(case: &Case<'_>) -> Answer {
    let ports = [Ports::one(port(Role::Database))];
    between(case, Servers::of_database(case), &ports, false)
}

fn https(case: &Case<'_>) -> Answer {
    let ports = [Ports::one(port(Role::Webserver))];
    between(case, Servers::of_https(case), &ports, false)
}

fn answers(case: &Case<'_>) -> Answer {
    let mut servers = Servers::of_database(case);
    let others = Servers::of_https(case);
    servers.subnets.extend(others.subnets);
    servers.unseen = servers.unseen.or(others.unseen);
    // Where requests to the database are stopped, acls.database says so.
    let ports = EPHEMERAL.without(&Ports::one(port(Role::Database)));
    between(case, servers, &ports, true)
}

/// Requests from a subnet to 443 of `addresses`, and their answers, to the ports that are `usual` there.
fn outward(
    subnet: &NetworkSubnet,
    addresses: Vec<Addresses>,
    usual: Ports,
    is_internet: bool,
) -> [Leg<'_>; 2] {
    let leg = |is_egress, ports, usual| Leg {
        subnet: &subnet.subnet.id,
        is_egress,
        addresses: addresses.clone(),
        ports,
        usual,
        is_beside: false,
        is_internet,
    };
    [leg(true, Ports::one(443), Ports::one(443)), leg(false, EPHEMERAL, usual)]
}

fn s3(case: &Case<'_>) -> Answer {
    let mut legs = Vec::new();
    for subnet in case.subnets()? {
        let table = table_of(case, subnet)?;
        let Some(gateway) = super::s3::gateway_on(case, table)? else { continue };
        let is_its = |target: &Target| matches!(target, Target::Endpoint(id) if id == gateway.endpoint.id.as_str());
        for route in table.routes.iter().filter(|route| is_its(&route.target)) {
            let Destination::List(list) = &route.to else { continue };
            let blocks = &super::groups::list(case, list)?.blocks;
            let blocks = blocks.iter().map(super::Block::addresses);
            for block in blocks.filter(|it| it.family == subnet.family()) {
                legs.extend(outward(subnet, vec![block], USUAL, false));
            }
        }
    }
    if legs.is_empty() {
        return Ok(None);
    }
    told(holes(case, legs))
}

fn out(case: &Case<'_>) -> Answer {
    if !matches!(case.way_out()?, WayOut::Open(_)) {
        return Ok(None);
    }
    let mut legs = Vec::new();
    for subnet in case.subnets()? {
        let internet = internet(subnet.family());
        legs.extend(outward(subnet, internet.clone(), USUAL, true));
        for nat in nats_of(case, subnet)? {
            let Some(place) = &nat.subnet else { continue };
            let place = case.subnet(place)?;
            // The NAT gateway is what asks there.
            legs.extend(outward(place, internet.clone(), EPHEMERAL, true));
            // What comes from the environment's subnet, and what goes back to it.
            for addresses in subnet.addresses(subnet.family()) {
                let leg = |is_egress, ports| Leg {
                    subnet: &place.subnet.id,
                    is_egress,
                    addresses: vec![addresses],
                    ports,
                    usual: usual(ports),
                    is_beside: false,
                    is_internet: false,
                };
                legs.extend([leg(false, Ports::one(443)), leg(true, EPHEMERAL)]);
            }
        }
    }
    told(holes(case, legs))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::doctor::{Block, Protocol};

    /// An entry as the naive one reads it: number, egress, protocol, block, ports, allows.
    type Raw = (i32, bool, i16, (u32, u8), Option<(u16, u16)>, bool);

    fn raw() -> impl Strategy<Value = Raw> {
        let block = (0u32..16, 0u8..=6).prop_map(|(bits, length)| (bits << 28, length));
        let ports = prop::option::of((0u16..600, 0u16..600))
            .prop_map(|it| it.map(|(a, b)| (a.min(b), a.max(b))));
        let protocol = prop::sample::select(vec![-1i16, 6, 17]);
        (1i32..40, any::<bool>(), protocol, block, ports, any::<bool>())
    }

    fn mask(length: u8) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// The naive one takes one packet at a time through the entries in their order.
        #[test]
        fn a_packet_is_stopped_if_and_only_if_the_first_entry_that_fits_it_says_so(
            mut entries in prop::collection::vec(raw(), 0..12),
            is_egress in any::<bool>(),
            packets in prop::collection::vec((any::<u32>(), 0u16..600), 60),
        ) {
            // Numbers are unique in each direction.
            let mut used = BTreeSet::new();
            entries.retain(|it| used.insert((it.0, it.1)));
            let acl = Acl {
                id: "acl-1".to_owned(),
                subnets: BTreeSet::new(),
                entries: entries
                    .iter()
                    .map(|&(number, is_egress, protocol, (bits, length), ports, allows)| AclEntry {
                        number,
                        is_egress,
                        protocol: Protocol::parse(&protocol.to_string()).unwrap(),
                        block: Block::parse(&format!("{}/{length}", std::net::Ipv4Addr::from(bits)))
                            .unwrap(),
                        ports: ports.map(|(first, last)| Ports { first, last }),
                        allows,
                    })
                    .collect(),
            };
            let needed =
                Packets { addresses: Family::V4.all(), ports: Ports { first: 0, last: 599 } };
            let stopped = stopped(&acl, is_egress, needed);
            entries.sort();
            for (address, port) in packets {
                let first = entries.iter().find(|(_, egress, protocol, (bits, length), ports, _)| {
                    *egress == is_egress
                        && *protocol != 17
                        && address & mask(*length) == bits & mask(*length)
                        && ports.is_none_or(|(first, last)| (first..=last).contains(&port))
                });
                let naive = match first {
                    Some((.., true)) => None,
                    Some((number, ..)) => Some(Some(*number)),
                    None => Some(None),
                };
                let hits: Vec<Option<i32>> = stopped
                    .iter()
                    .filter(|(it, _)| {
                        (it.addresses.first..=it.addresses.last).contains(&u128::from(address))
                            && (it.ports.first..=it.ports.last).contains(&port)
                    })
                    .map(|(_, by)| *by)
                    .collect();
                prop_assert_eq!(hits, naive.into_iter().collect::<Vec<_>>());
            }
        }
    }
}
