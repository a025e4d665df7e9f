//! The route tables of the environment's subnets.

use crate::gather::Gather;
use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::groups::list;
use super::{
    Addresses, Answer, Block, Case, Destination, Entry, Family, NatGateway, NetworkEndpoint,
    NetworkSubnet, Route, RouteTable, Target, Unseen, fail, listed, pass, some_of, unknown, warn,
};

const TABLES: &str = "https://docs.aws.amazon.com/vpc/latest/userguide/VPC_Route_Tables.html";
const NETWORKING: &str = "https://docs.aws.amazon.com/mwaa/latest/userguide/networking-about.html";
const NAT: &str = "https://docs.aws.amazon.com/vpc/latest/userguide/vpc-nat-gateway.html";

pub(super) const CHECKS: [Entry; 6] = [
    Entry {
        id: "routes.private",
        title: "The subnets are private",
        source: NETWORKING,
        look: private,
    },
    Entry {
        id: "routes.blackhole",
        title: "No route leads nowhere",
        source: TABLES,
        look: blackhole,
    },
    Entry {
        id: "routes.way-out",
        title: "It is known how the subnets reach AWS services",
        source: NETWORKING,
        look: known_way,
    },
    Entry {
        id: "routes.alike",
        title: "Both subnets have the same way out",
        source: NETWORKING,
        look: alike,
    },
    Entry { id: "routes.nat", title: "The NAT gateways work", source: NAT, look: nat_works },
    Entry {
        id: "routes.nat-public",
        title: "The NAT gateways are in public subnets",
        source: NAT,
        look: nat_is_public,
    },
];

/// How AWS services are reached, from one subnet or from all. The poorest comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WayOut {
    /// Not, but for endpoints.
    None,
    /// Not, but for endpoints, which may also be where these routes to private addresses lead.
    Private(String),
    /// Not, since what should lead there does not, for this reason. Another check says so.
    Broken(String),
    /// Nobody can tell from here, for this reason.
    Unsure(String),
    /// Through these.
    Open(BTreeSet<Target>),
}

impl WayOut {
    fn rank(&self) -> u8 {
        match self {
            Self::None => 0,
            Self::Private(_) => 1,
            Self::Broken(_) => 2,
            Self::Unsure(_) => 3,
            Self::Open(_) => 4,
        }
    }
}

/// The table that holds for a subnet: its own, or the VPC's main one (VPC user guide, "Subnet route
/// tables"). Of another VPC neither is seen.
pub(super) fn table_of<'a>(
    case: &Case<'a>,
    subnet: &NetworkSubnet,
) -> Result<&'a RouteTable, Unseen> {
    let tables = case.seen.route_tables.get()?;
    let id = &subnet.subnet.id;
    let is_inside = subnet.subnet.vpc == case.seen.vpc;
    let explicit = tables.iter().find(|table| table.subnets.contains(id));
    let table = explicit.or_else(|| tables.iter().find(|table| table.is_main && is_inside));
    table.ok_or_else(|| Unseen(format!("the route table of {id} was not seen")))
}

/// Whether a route is that of a gateway endpoint, which is looked at for itself: to a list of an AWS
/// service. A list of one's own may lead to an endpoint, too, of a Gateway Load Balancer.
fn is_gateways(case: &Case<'_>, route: &Route) -> bool {
    let (Destination::List(to), Target::Endpoint(id)) = (&route.to, &route.target) else {
        return false;
    };
    let is_it = |it: &NetworkEndpoint| it.is_gateway && it.endpoint.id.as_str() == id;
    case.seen.endpoints.get().is_ok_and(|all| all.iter().any(is_it))
        || list(case, to).is_ok_and(|it| !it.name.is_empty())
}

/// A table's routes, each with a block that it leads to; but for those of gateway endpoints.
fn blocks_of<'a>(
    case: &Case<'a>,
    table: &'a RouteTable,
) -> Result<Vec<(Block, &'a Route)>, Unseen> {
    let mut routes = Vec::new();
    for route in &table.routes {
        match &route.to {
            Destination::Block(block) => routes.push((*block, route)),
            Destination::List(_) if is_gateways(case, route) => {}
            Destination::List(id) => {
                routes.extend(list(case, id)?.blocks.iter().map(|block| (*block, route)));
            }
        }
    }
    Ok(routes)
}

/// `needed`, split by the route that each part takes. The longest prefix wins; of routes to one block,
/// a static one, then one to a prefix list, and then one that a gateway announces (VPC user guide, "How
/// route priority works").
fn split(mut routes: Vec<(Block, &Route)>, needed: Addresses) -> Vec<(Addresses, Option<&Route>)> {
    let is_list = |route: &Route| matches!(route.to, Destination::List(_));
    routes.sort_unstable_by_key(|(block, route)| {
        (Reverse(block.length()), route.is_propagated, is_list(route))
    });
    let (mut rest, mut parts) = (vec![needed], Vec::new());
    for (block, route) in routes {
        let block = block.addresses();
        parts.extend(rest.iter().filter_map(|it| it.and(&block)).map(|it| (it, Some(route))));
        rest = rest.iter().flat_map(|it| it.without(&block)).collect();
    }
    parts.extend(rest.into_iter().map(|it| (it, None)));
    parts.sort_unstable_by_key(|(addresses, _)| *addresses);
    parts
}

/// Addresses that are not on the internet (IANA, special-purpose address registries).
const NOT_PUBLIC: [&str; 8] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "224.0.0.0/3",
];

/// The addresses that AWS services may have.
pub(super) fn internet(family: Family) -> Vec<Addresses> {
    let block = |text: &str| Block::parse(text).ok().map(|block| block.addresses());
    match family {
        Family::V4 => {
            NOT_PUBLIC.iter().filter_map(|it| block(it)).fold(vec![family.all()], |rest, block| {
                rest.iter().flat_map(|it| it.without(&block)).collect()
            })
        }
        Family::V6 => block("2000::/3").into_iter().collect(),
    }
}

/// Whether services of AWS may be at one of these addresses, which a route takes. The lists of gateway
/// endpoints name some that are AWS's in the Region: what has none of them is taken for others', such as
/// public blocks of one's own.
fn may_be_aws(case: &Case<'_>, addresses: &Addresses, route: &Route) -> Result<bool, Unseen> {
    if matches!(route.to, Destination::Block(block) if block.length() == 0) {
        return Ok(true);
    }
    let mut is_known = false;
    for list in case.seen.prefix_lists.get()?.values().filter_map(|it| it.get().ok()) {
        for block in list.blocks.iter().filter(|_| !list.name.is_empty()).map(Block::addresses) {
            if block.and(addresses).is_some() {
                return Ok(true);
            }
            is_known |= block.family == addresses.family;
        }
    }
    Ok(!is_known)
}

/// What helps where a part of the internet is not reached as the rest is.
const NOT_AWS: &str =
    "see that no address of an AWS service in the Region is among them (ip-ranges.json)";

/// The parts of the internet and the routes that they take from a subnet. The VPC itself is none of it.
fn to_the_internet<'a>(
    case: &Case<'a>,
    subnet: &NetworkSubnet,
) -> Result<Vec<(Addresses, Option<&'a Route>)>, Unseen> {
    let routes = blocks_of(case, table_of(case, subnet)?)?;
    let internet = internet(subnet.family()).into_iter();
    let mut parts: Vec<_> = internet.flat_map(|part| split(routes.clone(), part)).collect();
    parts.retain(|(_, route)| !route.is_some_and(|route| route.target == Target::Local));
    Ok(parts)
}

fn nat<'a>(case: &Case<'a>, id: &str) -> Result<Option<&'a NatGateway>, Unseen> {
    Ok(case.seen.nat_gateways.get()?.iter().find(|it| it.id == id))
}

/// What keeps a NAT gateway from working, if anything does.
fn fault_of_nat(case: &Case<'_>, id: &str) -> Result<Option<String>, Unseen> {
    Ok(match nat(case, id)? {
        None => Some("is not there".to_owned()),
        Some(it) if it.state != "available" => Some(format!("is {}", it.state)),
        Some(_) => None,
    })
}

/// The way out of a subnet. Routes of parts of the internet that hardly hold services go `aside`, and decide
/// nothing.
fn way_of(
    case: &Case<'_>,
    subnet: &NetworkSubnet,
    aside: &mut BTreeSet<String>,
) -> Result<WayOut, Unseen> {
    let parts = to_the_internet(case, subnet)?;
    let (mut open, mut is_whole) = (BTreeSet::new(), true);
    let (mut beyond, mut broken) = (BTreeSet::new(), BTreeSet::new());
    for (part, route) in &parts {
        let Some(route) = route else {
            is_whole = false;
            continue;
        };
        let told = format!("{} to {}", route.to, route.target);
        let fault = match &route.target {
            _ if !route.is_active => Some("is gone".to_owned()),
            Target::Nat(id) => fault_of_nat(case, id)?,
            // Workers have no public address, so that an internet gateway is no way for them.
            Target::InternetGateway(_) => Some("is no way for private addresses".to_owned()),
            _ => None,
        };
        if let Some(fault) = fault {
            // Of a part that is gone the other checks tell.
            if may_be_aws(case, part, route)? {
                broken.insert(format!("{told}, which {fault}"));
            }
            continue;
        }
        let is_private = match &route.target {
            Target::Nat(id) => nat(case, id)?.is_some_and(|it| !it.is_public),
            _ => false,
        };
        if is_private || is_beyond(case, route) {
            let to = if may_be_aws(case, part, route)? { &mut beyond } else { &mut *aside };
            to.insert(if is_private { format!("{told}, a private one") } else { told });
        } else {
            open.insert(route.target.clone());
        }
    }
    let id = &subnet.subnet.id;
    Ok(if !beyond.is_empty() {
        WayOut::Unsure(format!(
            "from {id} traffic goes on where nobody sees from here: {}",
            some_of(beyond)
        ))
    } else if !broken.is_empty() {
        WayOut::Broken(format!("the way out of {id} does not work: {}", some_of(broken)))
    } else if open.is_empty() {
        let others = table_of(case, subnet)?.routes.iter();
        let others = others.filter(|it| it.is_active && is_beyond(case, it));
        let others: BTreeSet<String> =
            others.map(|it| format!("{} to {}", it.to, it.target)).gather();
        match others.is_empty() {
            true => WayOut::None,
            false => WayOut::Private(format!(
                "from {id} some traffic goes on where nobody sees from here, and where a hub VPC may have endpoints: {}",
                some_of(others)
            )),
        }
    } else if is_whole {
        WayOut::Open(open)
    } else {
        WayOut::Unsure(format!(
            "from {id} a part of the internet only is reached, by {}",
            listed(open)
        ))
    })
}

/// Whether a route leads where nobody sees from here.
fn is_beyond(case: &Case<'_>, route: &Route) -> bool {
    matches!(route.target, Target::Endpoint(_) | Target::Beyond(_)) && !is_gateways(case, route)
}

/// The way out of all of the environment's subnets: the poorest of theirs.
pub(super) fn way_out(case: &Case<'_>) -> Result<WayOut, Unseen> {
    let mut poorest = WayOut::Open(BTreeSet::new());
    for subnet in case.subnets()? {
        poorest = match (poorest, way_of(case, subnet, &mut BTreeSet::new())?) {
            (_, WayOut::None) => return Ok(WayOut::None),
            (WayOut::Open(mut all), WayOut::Open(targets)) => {
                all.extend(targets);
                WayOut::Open(all)
            }
            (one, other) if other.rank() < one.rank() => other,
            (one, _) => one,
        };
    }
    Ok(poorest)
}

/// What goes between the environment's subnets and those of its endpoints, and does not go straight:
/// which, and by what route. A route that a gateway announces is weaker than the VPC's own (Site-to-Site VPN
/// user guide, "Route tables and route priority").
fn detours<'a>(case: &Case<'a>) -> Result<Vec<(String, &'a Route)>, Unseen> {
    let (mut detours, (servers, unseen)) = (Vec::new(), super::acls::servers(case)?);
    for client in case.subnets()? {
        for server in servers.iter().filter(|it| it.subnet.id != client.subnet.id) {
            for (from, to) in [(client, *server), (*server, client)] {
                let routes = blocks_of(case, table_of(case, from)?)?;
                for part in to.addresses(client.family()) {
                    for (part, route) in split(routes.clone(), part) {
                        let is_detour =
                            |it: &&Route| it.target != Target::Local && !it.is_propagated;
                        if let Some(route) = route.filter(is_detour) {
                            let (from, target) = (&from.subnet.id, &route.target);
                            detours.push((format!("from {from} to {part} by {target}"), route));
                        }
                    }
                }
            }
        }
    }
    match unseen {
        Some(why) if !detours.is_empty() => Err(why),
        _ => Ok(detours),
    }
}

fn private(case: &Case<'_>) -> Answer {
    let (mut public, mut tables) = (Vec::new(), BTreeSet::new());
    for subnet in case.subnets()? {
        let table = table_of(case, subnet)?;
        tables.insert(&table.id);
        for route in &table.routes {
            if matches!(route.target, Target::InternetGateway(_)) {
                let id = &subnet.subnet.id;
                public.push(format!("{id}: {} leads {} to {}", table.id, route.to, route.target));
            }
        }
    }
    if public.is_empty() {
        return pass(format!("no route of {} leads to an internet gateway", listed(tables)));
    }
    fail(
        public.join("; "),
        "give the subnets a route table without a route to an internet gateway: MWAA takes private subnets only, and its workers have no public address",
    )
}

fn blackhole(case: &Case<'_>) -> Answer {
    let (mut needed, mut others, mut tables) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for subnet in case.subnets()? {
        let table = table_of(case, subnet)?;
        tables.insert(&table.id);
        let parts = to_the_internet(case, subnet)?;
        for route in table.routes.iter().filter(|route| !route.is_active) {
            // Of a NAT gateway that is gone routes.nat says so.
            if let Target::Nat(id) = &route.target
                && fault_of_nat(case, id).is_ok_and(|it| it.is_some())
            {
                continue;
            }
            let text =
                format!("{} leads {} to {}, which is gone", table.id, route.to, route.target);
            let mut is_needed = is_gateways(case, route);
            for (part, taken) in &parts {
                if taken.is_some_and(|it| std::ptr::eq(it, route)) {
                    is_needed |= may_be_aws(case, part, route)?;
                }
            }
            if is_needed {
                needed.insert(text);
            } else {
                others.insert(text);
            }
        }
    }
    let remedy = "delete the route, or lead it to something that is there (aws ec2 replace-route)";
    let inside: BTreeSet<String> =
        detours(case)?.into_iter().filter(|(_, it)| !it.is_active).map(|(text, _)| text).gather();
    if !inside.is_empty() {
        return fail(
            format!("inside of the VPC goes to what is gone: {}", some_of(inside)),
            remedy,
        );
    }
    if !needed.is_empty() {
        return if_needed(case, listed(needed), remedy);
    }
    if !others.is_empty() {
        return warn(listed(others), remedy);
    }
    pass(format!("no route of {} leads to what is gone", listed(tables)))
}

/// What is said where a way out does not work: it matters only to what has no endpoint.
fn if_needed(case: &Case<'_>, evidence: String, remedy: &str) -> Answer {
    match super::services::need_a_way_out(case) {
        Ok(true) => fail(evidence, remedy),
        Ok(false) => warn(format!("{evidence}; nothing needs it now"), remedy),
        Err(Unseen(why)) => {
            unknown(format!("{evidence}; whether anything needs it was not seen: {why}"), remedy)
        }
    }
}

fn known_way(case: &Case<'_>) -> Answer {
    let inside: BTreeSet<String> =
        detours(case)?.into_iter().filter(|(_, it)| it.is_active).map(|(text, _)| text).gather();
    if !inside.is_empty() {
        return unknown(
            format!("inside of the VPC traffic does not go straight: {}", some_of(inside)),
            "see that what stands there lets 443 and 5432 through, and the answers",
        );
    }
    match way_out(case)? {
        WayOut::None => pass("there is no way out, so that each service needs an endpoint"),
        WayOut::Private(why) => {
            pass(format!("there is no way out, so that each service needs an endpoint; {why}"))
        }
        WayOut::Broken(why) => {
            pass(format!("there is none, so that each service needs an endpoint; {why}"))
        }
        WayOut::Open(targets) => {
            let mut aside = BTreeSet::new();
            for subnet in case.subnets()? {
                way_of(case, subnet, &mut aside)?;
            }
            let by = format!("by {}", listed(targets));
            match aside.is_empty() {
                true => pass(by),
                false => warn(format!("{by}; but {}", some_of(aside)), NOT_AWS),
            }
        }
        WayOut::Unsure(why) => unknown(
            why,
            "see that what stands there leads on to the internet, or to a network with endpoints for the services, and back",
        ),
    }
}

fn alike(case: &Case<'_>) -> Answer {
    let mut ways = BTreeSet::new();
    let mut places = Vec::new();
    for subnet in case.subnets()? {
        let (kind, text) = match way_of(case, subnet, &mut BTreeSet::new())? {
            WayOut::None | WayOut::Private(_) => (Some(0), "no way out".to_owned()),
            // Other checks say so.
            WayOut::Broken(_) => (None, "one that does not work".to_owned()),
            WayOut::Open(targets) => (Some(1), listed(targets)),
            WayOut::Unsure(_) => (Some(2), "one that leads beyond what is seen here".to_owned()),
        };
        ways.extend(kind);
        places.push(format!("{}: {text}", subnet.subnet.id));
    }
    if ways.len() > 1 {
        return warn(
            places.join("; "),
            "give both the same kind of way out: otherwise tasks work or fail by the subnet in which they run",
        );
    }
    pass(places.join("; "))
}

/// The NAT gateways by which a subnet reaches the internet.
pub(super) fn nats_of<'a>(
    case: &Case<'a>,
    subnet: &NetworkSubnet,
) -> Result<Vec<&'a NatGateway>, Unseen> {
    let mut ids = BTreeSet::new();
    for (_, route) in to_the_internet(case, subnet)? {
        if let Some(Target::Nat(id)) = route.map(|route| &route.target) {
            ids.insert(id);
        }
    }
    Ok(case.seen.nat_gateways.get()?.iter().filter(|it| ids.contains(&it.id)).collect())
}

/// The NAT gateways that routes of the environment's subnets lead to.
fn nats(case: &Case<'_>) -> Result<BTreeSet<String>, Unseen> {
    let mut nats = BTreeSet::new();
    for subnet in case.subnets()? {
        for route in &table_of(case, subnet)?.routes {
            if let Target::Nat(id) = &route.target {
                nats.insert(id.clone());
            }
        }
    }
    Ok(nats)
}

fn nat_works(case: &Case<'_>) -> Answer {
    let nats = nats(case)?;
    if nats.is_empty() {
        return Ok(None);
    }
    let mut wrong = Vec::new();
    for id in &nats {
        if let Some(fault) = fault_of_nat(case, id)? {
            wrong.push(format!("{id} {fault}"));
        }
    }
    if !wrong.is_empty() {
        let remedy = "make a NAT gateway anew, and lead the route to it; or delete the route";
        return if_needed(case, wrong.join(", "), remedy);
    }
    pass(format!("{} available", listed(nats)))
}

fn nat_is_public(case: &Case<'_>) -> Answer {
    let nats = nats(case)?;
    if nats.is_empty() {
        return Ok(None);
    }
    let (mut wrong, mut unseen, mut right) = (Vec::new(), Vec::new(), Vec::new());
    let mut aside = BTreeSet::new();
    for id in &nats {
        // Of one that does not work routes.nat says so.
        let Some(it) = nat(case, id)?.filter(|it| it.state == "available") else { continue };
        if !it.is_public {
            unseen.push(format!("{id} is a private one, which leads to other networks only"));
            continue;
        }
        let Some(subnet) = &it.subnet else {
            right.push(format!("{id} is regional"));
            continue;
        };
        let (mut lacks, mut is_seen) = (false, true);
        for (part, route) in to_the_internet(case, case.subnet(subnet)?)? {
            let Some(route) = route else {
                lacks = true;
                continue;
            };
            if route.is_active && matches!(route.target, Target::InternetGateway(_)) {
                continue;
            }
            if !may_be_aws(case, &part, route)? {
                aside.insert(format!(
                    "{id} is in {subnet}, which leads {} to {}",
                    route.to, route.target
                ));
            } else if is_beyond(case, route) {
                is_seen = false;
            } else {
                lacks = true;
            }
        }
        if !lacks && is_seen {
            right.push(format!("{id} is in {subnet}"));
        } else if !lacks {
            unseen.push(format!(
                "{id} is in {subnet}, whose traffic goes on where nobody sees from here"
            ));
        } else {
            wrong.push(format!("{id} is in {subnet}, which has no route to an internet gateway for all of the internet"));
        }
    }
    if !wrong.is_empty() {
        return fail(
            wrong.join("; "),
            "make the NAT gateway in a subnet whose 0.0.0.0/0 leads to an internet gateway",
        );
    }
    if !unseen.is_empty() {
        return unknown(unseen.join("; "), "see that AWS services are reached by it");
    }
    if !aside.is_empty() {
        return warn(some_of(aside), NOT_AWS);
    }
    if right.is_empty() {
        return Ok(None);
    }
    pass(right.join("; "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block() -> impl Strategy<Value = (u32, u8)> {
        // Few high bits and long prefixes, so that blocks lie in one another.
        (0u32..16, 0u8..=8).prop_map(|(bits, length)| (bits << 28 | (bits & 3) << 24, length))
    }

    /// A block, whether the route is to a prefix list with it, and whether a gateway announces it.
    fn routes() -> impl Strategy<Value = Vec<((u32, u8), bool, bool)>> {
        let kind = prop::sample::select(vec![(false, false), (true, false), (false, true)]);
        let route = (block(), kind)
            .prop_map(|(block, (is_list, is_propagated))| (block, is_list, is_propagated));
        prop::collection::vec(route, 0..12)
    }

    fn mask(length: u8) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// The naive one asks for one packet at a time which routes match, and takes the longest.
        #[test]
        fn each_packet_takes_the_route_of_the_longest_prefix(
            routes in routes(),
            packets in prop::collection::vec(any::<u32>(), 40),
        ) {
            let named = |(bits, length): (u32, u8)| {
                Block::parse(&format!("{}/{length}", std::net::Ipv4Addr::from(bits))).unwrap()
            };
            let all: Vec<(Block, Route)> = routes
                .iter()
                .enumerate()
                .map(|(at, &(block, is_list, is_propagated))| {
                    let list = crate::environment::PrefixListId::parse("pl-1").unwrap();
                    let route = Route {
                        to: if is_list { Destination::List(list) } else { Destination::Block(named(block)) },
                        target: Target::Beyond(at.to_string()),
                        is_active: true,
                        is_propagated,
                    };
                    (named(block), route)
                })
                .collect();
            let parts = split(all.iter().map(|(block, it)| (*block, it)).collect(), Family::V4.all());
            // The parts are all addresses, each once.
            let mut next = 0u128;
            for (part, _) in &parts {
                prop_assert_eq!(part.first, next);
                next = part.last + 1;
            }
            prop_assert_eq!(next, 1u128 << 32);
            for packet in packets {
                let taken = parts
                    .iter()
                    .find(|(part, _)| (part.first..=part.last).contains(&u128::from(packet)))
                    .and_then(|(_, route)| route.map(|it| it.target.clone()));
                let naive = routes
                    .iter()
                    .enumerate()
                    .filter(|(_, ((bits, length), ..))| packet & mask(*length) == bits & mask(*length))
                    .min_by_key(|(at, ((_, length), is_list, is_propagated))| {
                        let rank = if *is_propagated { 2 } else { u8::from(*is_list) };
                        (32 - length, rank, *at)
                    })
                    .map(|(at, _)| Target::Beyond(at.to_string()));
                prop_assert_eq!(taken, naive);
            }
        }
    }

    #[test]
    fn the_internet_is_what_is_not_private() {
        let all = internet(Family::V4);
        let has = |text: &str| {
            let block = Block::parse(text).unwrap().addresses();
            all.iter().any(|it| it.and(&block).is_some())
        };
        for public in ["1.1.1.1/32", "52.94.0.0/16", "172.32.0.0/16", "11.0.0.0/8"] {
            assert!(has(public), "{public}");
        }
        for private in ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"] {
            assert!(!has(private), "{private}");
        }
    }
}
