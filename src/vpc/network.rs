//! A VPC's network as it was looked at: what decides whether traffic gets through, in plain types.
//!
//! Each kind of thing is [`Seen`], or not, with the reason. What was not seen cannot be had from it, so
//! that nobody takes it for absent.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use super::{Endpoint, Subnet};
use crate::environment::{AccountId, GroupId, Malformed, PrefixListId, SubnetId, VpcId};

/// Why something could not be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen(pub String);

/// What was looked at. What is in it can be had with [`Seen::get`] only, which is an error if it was
/// not seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen<T>(Result<T, Unseen>);

impl<T> Seen<T> {
    /// It was seen.
    pub fn known(value: T) -> Self {
        Self(Ok(value))
    }

    /// It was not seen, for this reason.
    pub fn unseen(why: impl Into<String>) -> Self {
        Self(Err(Unseen(why.into())))
    }

    /// What was seen.
    ///
    /// # Errors
    ///
    /// The reason, if it was not.
    pub fn get(&self) -> Result<&T, Unseen> {
        self.0.as_ref().map_err(Clone::clone)
    }

    /// What was seen, for a test to change.
    #[cfg(test)]
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.as_mut().unwrap()
    }
}

/// A VPC and what is in it, as an account sees it.
#[derive(Clone, Debug)]
pub struct Network {
    /// The account that looked. A participant sees little of what the VPC's owner sees.
    pub viewer: AccountId,
    /// The VPC.
    pub vpc: VpcId,
    /// Whether names are resolved (`enableDnsSupport`).
    pub dns_support: Seen<bool>,
    /// Whether private DNS names work (`enableDnsHostnames`).
    pub dns_hostnames: Seen<bool>,
    /// The resolvers that the VPC's DHCP options name, as they stand there.
    pub resolvers: Seen<Vec<String>>,
    /// The VPC's subnets, and those that the environment names.
    pub subnets: Seen<Vec<NetworkSubnet>>,
    /// With whom each subnet is shared: accounts, organizational units, organizations.
    pub shares: Seen<BTreeMap<SubnetId, BTreeSet<String>>>,
    /// The VPC's route tables.
    pub route_tables: Seen<Vec<RouteTable>>,
    /// The VPC's NAT gateways.
    pub nat_gateways: Seen<Vec<NatGateway>>,
    /// The VPC's network ACLs.
    pub acls: Seen<Vec<Acl>>,
    /// The VPC's endpoints, in whatever state.
    pub endpoints: Seen<Vec<NetworkEndpoint>>,
    /// SQS endpoints in other VPCs of the account that looked.
    pub elsewhere: Seen<Vec<NetworkEndpoint>>,
    /// The VPC's security groups, and those that the environment names.
    pub groups: Seen<Vec<SecurityGroup>>,
    /// Prefix lists: those of AWS services, and those of one's own that routes and rules name.
    pub prefix_lists: Seen<BTreeMap<PrefixListId, Seen<PrefixList>>>,
}

impl Network {
    /// Of which nothing was seen yet.
    pub(crate) fn unseen(viewer: AccountId, vpc: VpcId, why: &str) -> Self {
        Self {
            viewer,
            vpc,
            dns_support: Seen::unseen(why),
            dns_hostnames: Seen::unseen(why),
            resolvers: Seen::unseen(why),
            subnets: Seen::unseen(why),
            shares: Seen::unseen(why),
            route_tables: Seen::unseen(why),
            nat_gateways: Seen::unseen(why),
            acls: Seen::unseen(why),
            endpoints: Seen::unseen(why),
            elsewhere: Seen::unseen(why),
            groups: Seen::unseen(why),
            prefix_lists: Seen::unseen(why),
        }
    }

    /// The account that owns the VPC, if a subnet of it was seen.
    fn owner(&self) -> Option<&AccountId> {
        let all = self.subnets.get().ok()?;
        all.iter().find(|it| it.subnet.vpc == self.vpc).map(|it| &it.subnet.owner)
    }

    /// Takes for unseen what looks empty to a participant because it is the owner's: endpoints and NAT
    /// gateways (VPC user guide, "Share your VPC subnets with other accounts").
    pub(crate) fn hide_what_only_the_owner_sees(&mut self) {
        if self.owner() == Some(&self.viewer) {
            return;
        }
        let whose = match self.owner() {
            Some(owner) => format!("{} is of account {owner}", self.vpc),
            None => format!("nobody knows here of which account {} is", self.vpc),
        };
        let why =
            |what: &str| format!("{whose}, and account {} does not see its {what}", self.viewer);
        let (endpoints, gateways) = (why("endpoints"), why("NAT gateways"));
        let elsewhere = why("other VPCs");
        self.endpoints = Seen::unseen(endpoints);
        self.elsewhere = Seen::unseen(elsewhere);
        self.nat_gateways = Seen::unseen(gateways);
    }
}

/// A subnet, with what its addresses are.
#[derive(Clone, Debug)]
pub struct NetworkSubnet {
    /// Its id, VPC, owner and zone.
    pub subnet: Subnet,
    /// The id of its zone. The same zone has other names in other accounts.
    pub zone_id: String,
    /// How many IPv4 addresses are free.
    pub free: u32,
    /// Its blocks.
    pub blocks: Vec<Block>,
}

impl NetworkSubnet {
    /// Its addresses of one family.
    pub fn addresses(&self, family: Family) -> impl Iterator<Item = Addresses> {
        self.blocks.iter().map(Block::addresses).filter(move |it| it.family == family)
    }

    /// The family that an environment in it speaks: IPv6 only where there is nothing else.
    pub fn family(&self) -> Family {
        if self.subnet.ipv6_only { Family::V6 } else { Family::V4 }
    }
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// All of its addresses.
    pub fn all(self) -> Addresses {
        Block { family: self, first: 0, length: 0 }.addresses()
    }
}

/// A CIDR block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Block {
    family: Family,
    first: u128,
    length: u8,
}

impl Block {
    /// Parses `10.0.0.0/16` or `2001:db8::/32`. What stands after the prefix does not count.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let malformed = || Malformed { expected: "a CIDR block".to_owned(), got: text.to_owned() };
        let (address, length) = text.split_once('/').ok_or_else(malformed)?;
        let address: IpAddr = address.parse().map_err(|_| malformed())?;
        let length: u8 = length.parse().map_err(|_| malformed())?;
        let (family, first) = match address {
            IpAddr::V4(it) => (Family::V4, u128::from(it.to_bits())),
            IpAddr::V6(it) => (Family::V6, it.to_bits()),
        };
        let rest = family.bits().checked_sub(length).ok_or_else(malformed)?;
        Ok(Self { family, first: first & !ones(rest), length })
    }

    /// The length of its prefix.
    pub fn length(&self) -> u8 {
        self.length
    }

    /// The addresses in it.
    pub fn addresses(&self) -> Addresses {
        let rest = self.family.bits() - self.length;
        Addresses { family: self.family, first: self.first, last: self.first | ones(rest) }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", address(self.family, self.first), self.length)
    }
}

/// As many low bits as this.
fn ones(bits: u8) -> u128 {
    if bits >= 128 { u128::MAX } else { (1 << bits) - 1 }
}

fn address(family: Family, bits: u128) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(u32::try_from(bits).unwrap_or(u32::MAX).into()),
        Family::V6 => IpAddr::V6(bits.into()),
    }
}

/// Addresses of one family that follow one another, both ends among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Addresses {
    /// Their family.
    pub family: Family,
    /// The first.
    pub first: u128,
    /// The last.
    pub last: u128,
}

impl Addresses {
    /// Those that are in both.
    pub fn and(&self, other: &Self) -> Option<Self> {
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        (self.family == other.family && first <= last).then_some(Self {
            family: self.family,
            first,
            last,
        })
    }

    /// Those that are not in `other`.
    pub fn without(&self, other: &Self) -> Vec<Self> {
        let Some(both) = self.and(other) else { return vec![*self] };
        let mut left = Vec::new();
        if self.first < both.first {
            left.push(Self { last: both.first - 1, ..*self });
        }
        if both.last < self.last {
            left.push(Self { first: both.last + 1, ..*self });
        }
        left
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { family, first, last } = *self;
        // A block has a size that is a power of two, and begins at a multiple of it.
        let size = last - first;
        let is_block = size & size.wrapping_add(1) == 0 && first & size == 0;
        if is_block {
            let rest = u8::try_from(size.count_ones()).unwrap_or_default();
            return write!(f, "{}/{}", address(family, first), family.bits() - rest);
        }
        write!(f, "{} to {}", address(family, first), address(family, last))
    }
}

/// Ports that follow one another, both ends among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ports {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl Ports {
    /// All of them.
    pub const ALL: Self = Self { first: 0, last: u16::MAX };

    /// One port.
    pub const fn one(port: u16) -> Self {
        Self { first: port, last: port }
    }

    /// Those that are in both.
    pub fn and(&self, other: &Self) -> Option<Self> {
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        (first <= last).then_some(Self { first, last })
    }

    /// Those that are not in `other`.
    pub fn without(&self, other: &Self) -> Vec<Self> {
        let Some(both) = self.and(other) else { return vec![*self] };
        let mut left = Vec::new();
        if self.first < both.first {
            left.push(Self { last: both.first - 1, ..*self });
        }
        if both.last < self.last {
            left.push(Self { first: both.last + 1, ..*self });
        }
        left
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first, self.last) {
            (first, last) if first == last => write!(f, "{first}"),
            (first, last) => write!(f, "{first}-{last}"),
        }
    }
}

/// An IP protocol in a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// All of them.
    All,
    /// One, by its number.
    Number(u8),
}

impl Protocol {
    /// Reads EC2's word for it, a name or a number; none if it is not known.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "-1" | "all" => Self::All,
            "tcp" => Self::Number(6),
            "udp" => Self::Number(17),
            "icmp" => Self::Number(1),
            "icmpv6" => Self::Number(58),
            number => Self::Number(number.parse().ok()?),
        })
    }

    /// Whether TCP is meant, too.
    pub fn is_tcp(self) -> bool {
        matches!(self, Self::All | Self::Number(6))
    }
}

/// A route table.
#[derive(Clone, Debug)]
pub struct RouteTable {
    /// Its id.
    pub id: String,
    /// Whether it is the VPC's main one.
    pub is_main: bool,
    /// The subnets that are associated with it.
    pub subnets: BTreeSet<SubnetId>,
    /// Its routes.
    pub routes: Vec<Route>,
}

/// A route.
#[derive(Clone, Debug)]
pub struct Route {
    /// Where to.
    pub to: Destination,
    /// Through what.
    pub target: Target,
    /// Whether the target is there; if not, traffic is dropped.
    pub is_active: bool,
    /// Whether a gateway announces it.
    pub is_propagated: bool,
}

/// Where a route leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A block.
    Block(Block),
    /// The blocks of a prefix list.
    List(PrefixListId),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block(block) => write!(f, "{block}"),
            Self::List(list) => write!(f, "{list}"),
        }
    }
}

/// Through what a route leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The VPC itself.
    Local,
    /// An internet gateway.
    InternetGateway(String),
    /// An egress-only internet gateway, for IPv6.
    EgressOnly(String),
    /// A NAT gateway.
    Nat(String),
    /// An endpoint: a gateway endpoint for a prefix list, one of a Gateway Load Balancer for a block.
    Endpoint(String),
    /// Anything else, behind which nobody sees from here.
    Beyond(String),
}

impl Target {
    /// Reads the id of a target.
    pub fn parse(id: &str) -> Self {
        let own = id.to_owned();
        match id.split('-').next().unwrap_or_default() {
            "local" => Self::Local,
            "igw" => Self::InternetGateway(own),
            "eigw" => Self::EgressOnly(own),
            "nat" => Self::Nat(own),
            "vpce" => Self::Endpoint(own),
            _ => Self::Beyond(own),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = |id: &str| match id.split('-').next().unwrap_or_default() {
            "tgw" => "transit gateway ",
            "pcx" => "peering connection ",
            "vgw" => "virtual private gateway ",
            "eni" => "network interface ",
            "i" => "instance ",
            "cagw" => "carrier gateway ",
            "lgw" => "local gateway ",
            _ => "",
        };
        match self {
            Self::Local => f.write_str("the VPC itself"),
            Self::InternetGateway(id) => write!(f, "internet gateway {id}"),
            Self::EgressOnly(id) => write!(f, "egress-only internet gateway {id}"),
            Self::Nat(id) => write!(f, "NAT gateway {id}"),
            Self::Endpoint(id) => write!(f, "endpoint {id}"),
            Self::Beyond(id) => write!(f, "{}{id}", kind(id)),
        }
    }
}

/// A NAT gateway.
#[derive(Clone, Debug)]
pub struct NatGateway {
    /// Its id.
    pub id: String,
    /// Its state, in EC2's word.
    pub state: String,
    /// Its subnet. A regional one has none, and needs none.
    pub subnet: Option<SubnetId>,
    /// Whether it leads to the internet, rather than to other private networks only.
    pub is_public: bool,
}

/// A network ACL.
#[derive(Clone, Debug)]
pub struct Acl {
    /// Its id.
    pub id: String,
    /// The subnets that it guards.
    pub subnets: BTreeSet<SubnetId>,
    /// Its entries, in any order.
    pub entries: Vec<AclEntry>,
}

/// An entry of a network ACL.
#[derive(Clone, Debug)]
pub struct AclEntry {
    /// Its number: the lowest that fits decides.
    pub number: i32,
    /// Whether it is about what leaves the subnet.
    pub is_egress: bool,
    /// The protocol.
    pub protocol: Protocol,
    /// The other end.
    pub block: Block,
    /// The destination's ports; all if none are named.
    pub ports: Option<Ports>,
    /// Whether it allows, or denies.
    pub allows: bool,
}

/// An endpoint with what of it matters to a network.
#[derive(Clone, Debug)]
pub struct NetworkEndpoint {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Whether it stands in route tables.
    pub is_gateway: bool,
    /// Whether the service's own name leads to it, for those who ask in its VPC.
    pub private_dns: bool,
    /// Its address type, in EC2's word.
    pub address_type: Option<String>,
    /// Of which address type the records of its names are, in EC2's word.
    pub record_type: Option<String>,
    /// The route tables that it stands in.
    pub route_tables: BTreeSet<String>,
}

/// A security group with all of its rules.
#[derive(Clone, Debug)]
pub struct SecurityGroup {
    /// Its id.
    pub id: GroupId,
    /// Its VPC.
    pub vpc: VpcId,
    /// Its account.
    pub owner: AccountId,
    /// What it lets in.
    pub inbound: Vec<Permission>,
    /// What it lets out.
    pub outbound: Vec<Permission>,
}

/// A rule of a security group.
#[derive(Clone, Debug)]
pub struct Permission {
    /// The protocol.
    pub protocol: Protocol,
    /// The destination's ports; all if none are named.
    pub ports: Option<Ports>,
    /// The other end.
    pub peer: Peer,
}

/// The other end of a security group's rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A block.
    Block(Block),
    /// What carries a group; of the same account if none is named.
    Group(Option<AccountId>, GroupId),
    /// The blocks of a prefix list.
    List(PrefixListId),
}

/// A prefix list.
#[derive(Clone, Debug)]
pub struct PrefixList {
    /// Its name, if it is an AWS service's.
    pub name: String,
    /// Its blocks.
    pub blocks: Vec<Block>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_told_as_the_block_that_it_is() {
        for (text, told) in [
            ("10.0.0.0/16", "10.0.0.0/16"),
            ("10.0.3.7/16", "10.0.0.0/16"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("10.0.0.1/32", "10.0.0.1/32"),
            ("::/0", "::/0"),
            ("2001:db8::1/64", "2001:db8::/64"),
        ] {
            let block = Block::parse(text).unwrap();
            assert_eq!(
                (block.to_string(), block.addresses().to_string()),
                (told.into(), told.into())
            );
        }
        let all = Block::parse("10.0.0.0/24").unwrap().addresses();
        let left = all.without(&Block::parse("10.0.0.64/26").unwrap().addresses());
        let told: Vec<String> = left.iter().map(Addresses::to_string).collect();
        assert_eq!(told, ["10.0.0.0/26", "10.0.0.128/25"]);
        let odd = all.without(&Block::parse("10.0.0.0/26").unwrap().addresses());
        assert_eq!(odd[0].to_string(), "10.0.0.64 to 10.0.0.255");
    }

    #[test]
    fn what_is_no_block_is_refused() {
        for bad in ["10.0.0.0", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/-1", ""] {
            assert!(Block::parse(bad).is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn what_was_not_seen_cannot_be_had() {
        let unseen: Seen<Vec<u8>> = Seen::unseen("denied");
        assert_eq!(unseen.get(), Err(Unseen("denied".to_owned())));
        assert_eq!(Seen::known(1).get(), Ok(&1));
    }
}
