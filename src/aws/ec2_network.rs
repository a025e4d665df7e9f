//! What the doctor looks at: a VPC's network, all of it at once. What may not be seen is `Unseen`,
//! with EC2's answer; and so is a kind of thing of which one cannot be read.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types as ec2;

use super::ec2::Ec2;
use super::ec2_query::{Element, Query};
use super::ec2_read::{filter, read_endpoint, read_subnet};
use super::error::failure;
use crate::environment::{AccountId, GroupId, PrefixListId, Region, SubnetId, VpcId};
use crate::gather::Gather;
use crate::report::Failure;
use crate::vpc::network::{
    Acl, AclEntry, Block, Destination, NatGateway, Network, NetworkEndpoint, NetworkSubnet, Peer,
    Permission, Ports, PrefixList, Protocol, Route, RouteTable, SecurityGroup, Seen, Target,
};

/// All pages of a call, each with at most so many results.
macro_rules! pages {
    ($call:expr, $name:literal, $most:literal, $items:ident) => {{
        let call = $call.max_results($most);
        let (mut all, mut next) = (Vec::new(), None);
        loop {
            match call.clone().set_next_token(next).send().await {
                Ok(page) => {
                    all.extend(page.$items.unwrap_or_default());
                    next = page.next_token.filter(|token| !token.is_empty());
                    if next.is_none() {
                        break Ok(all);
                    }
                }
                Err(e) => break Err(failure($name, "looking at the network", &e)),
            }
        }
    }};
}

/// The permissions that [`Ec2::network`] needs to see all.
pub const PERMISSIONS: [&str; 11] = [
    "ec2:DescribeDhcpOptions",
    "ec2:DescribeNatGateways",
    "ec2:DescribeNetworkAcls",
    "ec2:DescribePrefixLists",
    "ec2:DescribeRouteTables",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcAttribute",
    "ec2:DescribeVpcEndpoints",
    "ec2:DescribeVpcs",
    "ec2:GetManagedPrefixListEntries",
];

/// How much of a network is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of it.
    Whole,
    /// What the function looks at anyway: subnets, endpoints and security groups.
    Endpoints,
}

/// The environment's subnets and groups, wherever they are.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// Its subnets.
    pub subnets: &'a [SubnetId],
    /// Its groups.
    pub groups: &'a BTreeSet<GroupId>,
}

impl Ec2 {
    /// Looks at a VPC's network with the eyes of account `viewer`: a dozen calls, side by side, and
    /// one more each for the prefix lists of one's own that are named there.
    pub async fn network(
        &self,
        viewer: &AccountId,
        vpc: &VpcId,
        region: &Region,
        named: Named<'_>,
        scope: Scope,
    ) -> Network {
        let mut seen = match scope {
            Scope::Whole => self.whole_network(viewer, vpc, region, named).await,
            Scope::Endpoints => self.endpoints_network(viewer, vpc, named).await,
        };
        seen.hide_what_only_the_owner_sees();
        seen
    }

    /// The VPCs of these groups.
    ///
    /// # Errors
    ///
    /// As EC2 answers.
    pub async fn vpcs_of(&self, groups: &BTreeSet<GroupId>) -> Result<BTreeSet<VpcId>, Failure> {
        let ids = groups.iter().map(GroupId::to_string).collect();
        let call = self.client.describe_security_groups().filters(any_of("group-id", ids));
        let all = pages!(call, "DescribeSecurityGroups", 1000, security_groups)?;
        Ok(all.iter().filter_map(|it| VpcId::parse(it.vpc_id()?).ok()).gather())
    }

    async fn endpoints_network(
        &self,
        viewer: &AccountId,
        vpc: &VpcId,
        named: Named<'_>,
    ) -> Network {
        let (subnets, endpoints, groups) = tokio::join!(
            self.network_subnets(vpc, named.subnets),
            self.network_endpoints(vpc),
            self.network_groups(vpc, named.groups),
        );
        Network {
            subnets: seen(subnets),
            endpoints: seen(endpoints),
            groups: seen(groups),
            ..Network::unseen(viewer.clone(), vpc.clone(), "it was not looked at")
        }
    }

    async fn whole_network(
        &self,
        viewer: &AccountId,
        vpc: &VpcId,
        region: &Region,
        named: Named<'_>,
    ) -> Network {
        let (
            (dns_support, dns_hostnames, resolvers),
            subnets,
            route_tables,
            nat_gateways,
            acls,
            (endpoints, elsewhere),
            groups,
            services_lists,
        ) = tokio::join!(
            async {
                tokio::join!(
                    self.vpc_attribute(vpc, "enableDnsSupport"),
                    self.vpc_attribute(vpc, "enableDnsHostnames"),
                    self.resolvers(vpc),
                )
            },
            self.network_subnets(vpc, named.subnets),
            self.route_tables(vpc),
            self.nat_gateways(vpc),
            self.acls(vpc),
            async { tokio::join!(self.network_endpoints(vpc), self.sqs_elsewhere(vpc, region)) },
            self.network_groups(vpc, named.groups),
            self.services_lists(),
        );
        let mut seen = Network {
            dns_support: seen(dns_support),
            dns_hostnames: seen(dns_hostnames),
            resolvers: seen(resolvers),
            subnets: seen(subnets),
            route_tables: seen(route_tables),
            nat_gateways: seen(nat_gateways),
            acls: seen(acls),
            endpoints: seen(endpoints),
            elsewhere: seen(elsewhere),
            groups: seen(groups),
            prefix_lists: seen(services_lists),
            ..Network::unseen(
                viewer.clone(),
                vpc.clone(),
                "AWS RAM is not asked with whom the subnets are shared",
            )
        };
        self.add_own_lists(&mut seen).await;
        seen
    }

    async fn vpc_attribute(&self, vpc: &VpcId, name: &'static str) -> Result<bool, Failure> {
        let query = Query::new("DescribeVpcAttribute").with("VpcId", vpc.as_str());
        let answer = self.query(&query.with("Attribute", name), LOOKING).await?;
        let value = answer.get(name).and_then(|it| it.flag("value"));
        value.ok_or_else(|| unreadable("VPC attribute", vpc.as_str()))
    }

    async fn resolvers(&self, vpc: &VpcId) -> Result<Vec<String>, Failure> {
        let query = Query::new("DescribeVpcs").with("VpcId.1", vpc.as_str());
        let answer = self.query(&query, LOOKING).await?;
        let id = answer.all("vpcSet").first().and_then(|it| it.text("dhcpOptionsId"));
        let id = id.ok_or_else(|| unreadable("VPC", vpc.as_str()))?;
        // A VPC may have none: then no resolver is named (EC2 API, `AssociateDhcpOptions`).
        if id == "default" {
            return Ok(Vec::new());
        }
        let query = Query::new("DescribeDhcpOptions").with("DhcpOptionsId.1", id);
        let answer = self.query(&query, LOOKING).await?;
        let options = answer.all("dhcpOptionsSet").first();
        let options =
            options.ok_or_else(|| unreadable("DHCP options", id))?.all("dhcpConfigurationSet");
        let of_resolvers =
            options.iter().filter(|it| it.text("key") == Some("domain-name-servers"));
        let values = of_resolvers.flat_map(|it| it.all("valueSet"));
        Ok(values.filter_map(|it| it.text("value").map(str::to_owned)).collect())
    }

    async fn network_subnets(
        &self,
        vpc: &VpcId,
        named: &[SubnetId],
    ) -> Result<Vec<NetworkSubnet>, Failure> {
        let ids = named.iter().map(SubnetId::to_string).collect();
        let of_vpc = self.client.describe_subnets().filters(filter("vpc-id", vpc.as_str()));
        let of_environment = self.client.describe_subnets().filters(any_of("subnet-id", ids));
        let (mut all, others) =
            tokio::join!(async { pages!(of_vpc, "DescribeSubnets", 1000, subnets) }, async {
                if named.is_empty() {
                    return Ok(Vec::new());
                }
                pages!(of_environment, "DescribeSubnets", 1000, subnets)
            },);
        if let Ok(all) = &mut all {
            let is_new = |it: &ec2::Subnet| {
                !all.iter().any(|own: &ec2::Subnet| own.subnet_id() == it.subnet_id())
            };
            let others: Vec<ec2::Subnet> = others?.into_iter().filter(is_new).collect();
            all.extend(others);
        }
        all?.iter().map(read_network_subnet).collect()
    }

    async fn route_tables(&self, vpc: &VpcId) -> Result<Vec<RouteTable>, Failure> {
        let query = Query::new("DescribeRouteTables").filter("vpc-id", vpc.as_str());
        let all = self.query_all(query, 100, "routeTableSet", LOOKING).await?;
        read_all("route table", &all, id_of("routeTableId"), read_route_table)
    }

    async fn nat_gateways(&self, vpc: &VpcId) -> Result<Vec<NatGateway>, Failure> {
        let query = Query::new("DescribeNatGateways").filter("vpc-id", vpc.as_str());
        let all = self.query_all(query, 1000, "natGatewaySet", LOOKING).await?;
        read_all("NAT gateway", &all, id_of("natGatewayId"), read_nat_gateway)
    }

    async fn acls(&self, vpc: &VpcId) -> Result<Vec<Acl>, Failure> {
        let query = Query::new("DescribeNetworkAcls").filter("vpc-id", vpc.as_str());
        let all = self.query_all(query, 1000, "networkAclSet", LOOKING).await?;
        read_all("network ACL", &all, id_of("networkAclId"), read_acl)
    }

    async fn network_endpoints(&self, vpc: &VpcId) -> Result<Vec<NetworkEndpoint>, Failure> {
        let call = self.client.describe_vpc_endpoints().filters(filter("vpc-id", vpc.as_str()));
        let all: Vec<ec2::VpcEndpoint> = pages!(call, "DescribeVpcEndpoints", 1000, vpc_endpoints)?;
        read_all("endpoint", &all, ec2::VpcEndpoint::vpc_endpoint_id, read_network_endpoint)
    }

    async fn sqs_elsewhere(
        &self,
        vpc: &VpcId,
        region: &Region,
    ) -> Result<Vec<NetworkEndpoint>, Failure> {
        let by_service = any_of("service-name", region.sqs_services().into());
        let call = self.client.describe_vpc_endpoints().filters(by_service);
        let all: Vec<ec2::VpcEndpoint> = pages!(call, "DescribeVpcEndpoints", 1000, vpc_endpoints)?;
        let mut all =
            read_all("endpoint", &all, ec2::VpcEndpoint::vpc_endpoint_id, read_network_endpoint)?;
        all.retain(|it| it.endpoint.vpc != *vpc);
        Ok(all)
    }

    async fn network_groups(
        &self,
        vpc: &VpcId,
        named: &BTreeSet<GroupId>,
    ) -> Result<Vec<SecurityGroup>, Failure> {
        let ids = named.iter().map(GroupId::to_string).collect();
        let of_vpc = self.client.describe_security_groups().filters(filter("vpc-id", vpc.as_str()));
        let of_environment =
            self.client.describe_security_groups().filters(any_of("group-id", ids));
        let (all, others) = tokio::join!(
            async { pages!(of_vpc, "DescribeSecurityGroups", 1000, security_groups) },
            async {
                if named.is_empty() {
                    return Ok(Vec::new());
                }
                pages!(of_environment, "DescribeSecurityGroups", 1000, security_groups)
            },
        );
        let mut all: Vec<ec2::SecurityGroup> = all?;
        for group in others? {
            if !all.iter().any(|it| it.group_id() == group.group_id()) {
                all.push(group);
            }
        }
        read_all("security group", &all, ec2::SecurityGroup::group_id, read_security_group)
    }

    /// The prefix lists of AWS services that have gateway endpoints.
    async fn services_lists(&self) -> Result<BTreeMap<PrefixListId, Seen<PrefixList>>, Failure> {
        let query = Query::new("DescribePrefixLists");
        let all = self.query_all(query, 1000, "prefixListSet", LOOKING).await?;
        let read = |list: &Element| {
            let id = PrefixListId::parse(list.text("prefixListId")?).ok()?;
            let name = list.text("prefixListName").unwrap_or_default().to_owned();
            let blocks = blocks(list.all("cidrSet").iter().map(|it| Some(it.own_text())))?;
            Some((id, Seen::known(PrefixList { name, blocks })))
        };
        let all = read_all("prefix list", &all, id_of("prefixListId"), read)?;
        Ok(all.into_iter().gather())
    }

    /// Adds the prefix lists that routes and rules of security groups name.
    async fn add_own_lists(&self, seen: &mut Network) {
        let Ok(known) = seen.prefix_lists.get() else { return };
        let mut named = BTreeSet::new();
        for route in seen.route_tables.get().into_iter().flatten().flat_map(|it| &it.routes) {
            if let Destination::List(id) = &route.to {
                named.insert(id.clone());
            }
        }
        for group in seen.groups.get().into_iter().flatten() {
            for rule in group.inbound.iter().chain(&group.outbound) {
                if let Peer::List(id) = &rule.peer {
                    named.insert(id.clone());
                }
            }
        }
        named.retain(|id| !known.contains_key(id));
        let all = futures_util::future::join_all(named.into_iter().map(async |id| {
            let list = self::seen(self.own_list(&id).await);
            (id, list)
        }));
        let mut lists = known.clone();
        for (id, list) in all.await {
            lists.insert(id, list);
        }
        seen.prefix_lists = Seen::known(lists);
    }

    async fn own_list(&self, id: &PrefixListId) -> Result<PrefixList, Failure> {
        let query = Query::new("GetManagedPrefixListEntries").with("PrefixListId", id.as_str());
        let entries = self.query_all(query, 100, "entrySet", LOOKING).await?;
        let blocks = blocks(entries.iter().map(|it| it.text("cidr")));
        let blocks = blocks.ok_or_else(|| unreadable("prefix list", id.as_str()))?;
        Ok(PrefixList { name: String::new(), blocks })
    }
}

const LOOKING: &str = "looking at the network";

fn seen<T>(answer: Result<T, Failure>) -> Seen<T> {
    match answer {
        Ok(value) => Seen::known(value),
        // What helps the function's role does not help whoever looks here.
        Err(failure) => Seen::unseen(Failure { remedy: None, ..failure }.to_string()),
    }
}

fn unreadable(kind: &str, id: &str) -> Failure {
    Failure::new(LOOKING, format!("EC2's answer about {kind} {id} cannot be read"), "try again")
}

/// All of a kind, or why not: without one of them, checks would take for absent what is there.
fn read_all<T, R>(
    kind: &str,
    all: &[T],
    id: impl Fn(&T) -> Option<&str>,
    read: impl Fn(&T) -> Option<R>,
) -> Result<Vec<R>, Failure> {
    let read = |it| read(it).ok_or_else(|| unreadable(kind, id(it).unwrap_or_default()));
    all.iter().map(read).collect()
}

fn any_of(name: &str, values: Vec<String>) -> ec2::Filter {
    ec2::Filter::builder().name(name).set_values(Some(values)).build()
}

/// Blocks, unless one cannot be read.
fn blocks<T: AsRef<str>>(texts: impl Iterator<Item = Option<T>>) -> Option<Vec<Block>> {
    texts.map(|text| Block::parse(text?.as_ref()).ok()).collect()
}

/// The subnets of associations.
fn subnet_ids(associations: &[Element]) -> Option<BTreeSet<SubnetId>> {
    let ids = associations.iter().filter_map(|it| it.text("subnetId"));
    ids.map(|id| SubnetId::parse(id).ok()).gather()
}

fn id_of(name: &'static str) -> impl Fn(&Element) -> Option<&str> {
    move |it| it.text(name)
}

fn read_network_subnet(subnet: &ec2::Subnet) -> Result<NetworkSubnet, Failure> {
    let ipv6 = subnet.ipv6_cidr_block_association_set().iter();
    let is_there = |it: &&ec2::SubnetIpv6CidrBlockAssociation| {
        let state = it.ipv6_cidr_block_state().and_then(|it| it.state());
        state.is_none_or(|it| matches!(it.as_str(), "associated" | "associating"))
    };
    let ipv6 = ipv6.filter(is_there).filter_map(|it| it.ipv6_cidr_block());
    let blocks = blocks(subnet.cidr_block().into_iter().chain(ipv6).map(Some));
    let id = subnet.subnet_id().unwrap_or_default();
    let free = u32::try_from(subnet.available_ip_address_count().unwrap_or_default());
    Ok(NetworkSubnet {
        subnet: read_subnet(subnet, LOOKING)?,
        zone_id: subnet.availability_zone_id().unwrap_or_default().to_owned(),
        free: free.unwrap_or_default(),
        blocks: blocks.ok_or_else(|| unreadable("subnet", id))?,
    })
}

fn read_route_table(table: &Element) -> Option<RouteTable> {
    let associations = table.all("associationSet");
    Some(RouteTable {
        id: table.text("routeTableId")?.to_owned(),
        is_main: associations.iter().any(|it| it.flag("main") == Some(true)),
        subnets: subnet_ids(associations)?,
        routes: table.all("routeSet").iter().map(read_route).collect::<Option<_>>()?,
    })
}

/// Where a route leads: what EC2 may name of it. Of an instance its interface is named, too.
const TARGETS: [&str; 11] = [
    "gatewayId",
    "natGatewayId",
    "egressOnlyInternetGatewayId",
    "transitGatewayId",
    "vpcPeeringConnectionId",
    "localGatewayId",
    "carrierGatewayId",
    "coreNetworkArn",
    "odbNetworkArn",
    "instanceId",
    "networkInterfaceId",
];

fn read_route(route: &Element) -> Option<Route> {
    let block = route.text("destinationCidrBlock").or(route.text("destinationIpv6CidrBlock"));
    let to = match block {
        Some(block) => Destination::Block(Block::parse(block).ok()?),
        None => {
            Destination::List(PrefixListId::parse(route.text("destinationPrefixListId")?).ok()?)
        }
    };
    let target = TARGETS.into_iter().find_map(|it| route.text(it));
    Some(Route {
        to,
        target: Target::parse(target.unwrap_or("a target that EC2 does not name")),
        is_active: route.text("state").is_none_or(|it| it == "active"),
        is_propagated: route.text("origin") == Some("EnableVgwRoutePropagation"),
    })
}

fn read_nat_gateway(nat: &Element) -> Option<NatGateway> {
    Some(NatGateway {
        id: nat.text("natGatewayId")?.to_owned(),
        state: nat.text("state")?.to_owned(),
        subnet: nat.text("subnetId").map(SubnetId::parse).transpose().ok()?,
        is_public: nat.text("connectivityType") != Some("private"),
    })
}

fn read_acl(acl: &Element) -> Option<Acl> {
    Some(Acl {
        id: acl.text("networkAclId")?.to_owned(),
        subnets: subnet_ids(acl.all("associationSet"))?,
        entries: acl.all("entrySet").iter().map(read_acl_entry).collect::<Option<_>>()?,
    })
}

fn read_acl_entry(entry: &Element) -> Option<AclEntry> {
    let number = |of: &Element, name: &str| of.text(name)?.parse::<i32>().ok();
    let protocol = Protocol::parse(entry.text("protocol")?)?;
    let port = |name: &str| entry.get("portRange").and_then(|it| number(it, name));
    let block = entry.text("cidrBlock").or(entry.text("ipv6CidrBlock"));
    Some(AclEntry {
        number: number(entry, "ruleNumber")?,
        is_egress: entry.flag("egress")?,
        protocol,
        block: Block::parse(block?).ok()?,
        ports: ports(protocol, port("from"), port("to"))?,
        allows: entry.text("ruleAction")? == "allow",
    })
}

/// The ports of a rule: all if none are named, or -1; none at all if they cannot be read. Of other
/// protocols than TCP and UDP all ports are meant, whatever is named (EC2 API, `CreateNetworkAclEntry`
/// and `IpPermission`): Terraform names port 0 for all protocols, and of ICMP they are types and codes.
#[allow(clippy::option_option)]
fn ports(protocol: Protocol, from: Option<i32>, to: Option<i32>) -> Option<Option<Ports>> {
    if !matches!(protocol, Protocol::Number(6 | 17)) {
        return Some(None);
    }
    match (from, to) {
        (None | Some(-1), None | Some(-1)) => Some(None),
        (Some(from), Some(to)) => {
            let (first, last) = (u16::try_from(from).ok()?, u16::try_from(to).ok()?);
            Some(Some(Ports { first, last }))
        }
        _ => None,
    }
}

fn read_network_endpoint(endpoint: &ec2::VpcEndpoint) -> Option<NetworkEndpoint> {
    let dns = endpoint.dns_options();
    // One to S3 may be for those alone who ask from elsewhere by an inbound endpoint of Route 53
    // Resolver: in the VPC the name then leads to the gateway endpoint (EC2 API, `DnsOptions`).
    let is_elsewheres =
        dns.and_then(|it| it.private_dns_only_for_inbound_resolver_endpoint()) == Some(true);
    Some(NetworkEndpoint {
        endpoint: read_endpoint(endpoint)?,
        is_gateway: endpoint.vpc_endpoint_type() == Some(&ec2::VpcEndpointType::Gateway),
        private_dns: endpoint.private_dns_enabled() == Some(true) && !is_elsewheres,
        address_type: endpoint.ip_address_type().map(|it| it.as_str().to_owned()),
        record_type: dns.and_then(|it| it.dns_record_ip_type()).map(|it| it.as_str().to_owned()),
        route_tables: endpoint.route_table_ids().iter().cloned().gather(),
    })
}

fn read_security_group(group: &ec2::SecurityGroup) -> Option<SecurityGroup> {
    let all = |rules: &[ec2::IpPermission]| {
        rules.iter().map(read_rules).collect::<Option<Vec<_>>>().map(|all| all.concat())
    };
    Some(SecurityGroup {
        id: GroupId::parse(group.group_id()?).ok()?,
        vpc: VpcId::parse(group.vpc_id()?).ok()?,
        owner: AccountId::parse(group.owner_id()?).ok()?,
        inbound: all(group.ip_permissions())?,
        outbound: all(group.ip_permissions_egress())?,
    })
}

fn read_rules(rule: &ec2::IpPermission) -> Option<Vec<Permission>> {
    let protocol = Protocol::parse(rule.ip_protocol()?)?;
    let ports = ports(protocol, rule.from_port(), rule.to_port())?;
    let mut peers = Vec::new();
    for range in rule.ip_ranges() {
        peers.push(Peer::Block(Block::parse(range.cidr_ip()?).ok()?));
    }
    for range in rule.ipv6_ranges() {
        peers.push(Peer::Block(Block::parse(range.cidr_ipv6()?).ok()?));
    }
    for list in rule.prefix_list_ids() {
        peers.push(Peer::List(PrefixListId::parse(list.prefix_list_id()?).ok()?));
    }
    for pair in rule.user_id_group_pairs() {
        let account = pair.user_id().filter(|it| !it.is_empty());
        let account = account.map(AccountId::parse).transpose().ok()?;
        peers.push(Peer::Group(account, GroupId::parse(pair.group_id()?).ok()?));
    }
    Some(peers.into_iter().map(|peer| Permission { protocol, ports, peer }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acl_entry_has_the_ports_that_its_protocol_leaves_it() {
        let read = |protocol: &str, range: &str| {
            let text = format!(
                "<item><ruleNumber>90</ruleNumber><egress>false</egress><protocol>{protocol}</protocol>\
                 <cidrBlock>0.0.0.0/0</cidrBlock><ruleAction>deny</ruleAction>{range}</item>"
            );
            read_acl_entry(&Element::read(&text).unwrap()).unwrap().ports
        };
        let of =
            |first, last| format!("<portRange><from>{first}</from><to>{last}</to></portRange>");
        assert_eq!(read("6", &of(443, 443)), Some(Ports::one(443)));
        assert_eq!(read("17", &of(0, 65535)), Some(Ports::ALL));
        for (protocol, range) in
            [("-1", of(0, 0)), ("-1", of(22, 22)), ("47", of(1, 2)), ("-1", String::new())]
        {
            assert_eq!(read(protocol, &range), None, "{protocol} {range}");
        }
    }
}
