//! The VPC's settings.

use super::{
    Addresses, Answer, Block, Case, Destination, Entry, Route, Target, fail, listed, pass, warn,
};

pub(super) const CHECKS: [Entry; 3] = [
    Entry {
        id: "vpc.dns-support",
        title: "The VPC resolves names",
        source: "https://docs.aws.amazon.com/vpc/latest/userguide/AmazonDNS-concepts.html",
        look: dns_support,
    },
    Entry {
        id: "vpc.dns-hostnames",
        title: "Private DNS names of endpoints work",
        source: "https://docs.aws.amazon.com/vpc/latest/privatelink/privatelink-access-aws-services.html",
        look: dns_hostnames,
    },
    Entry {
        id: "vpc.resolvers",
        title: "Names are resolved by Amazon's resolver",
        source: "https://docs.aws.amazon.com/vpc/latest/userguide/DHCPOptionSetConcepts.html",
        look: resolvers,
    },
];

fn dns_support(case: &Case<'_>) -> Answer {
    let vpc = &case.seen.vpc;
    if *case.seen.dns_support.get()? {
        return pass(format!("enableDnsSupport of {vpc} is on"));
    }
    fail(
        format!("enableDnsSupport of {vpc} is off"),
        format!(
            "aws ec2 modify-vpc-attribute --vpc-id {vpc} --enable-dns-support '{{\"Value\":true}}'"
        ),
    )
}

fn dns_hostnames(case: &Case<'_>) -> Answer {
    let vpc = &case.seen.vpc;
    if *case.seen.dns_hostnames.get()? {
        return pass(format!("enableDnsHostnames of {vpc} is on"));
    }
    fail(
        format!(
            "enableDnsHostnames of {vpc} is off, so that no private DNS name leads to an endpoint"
        ),
        format!(
            "aws ec2 modify-vpc-attribute --vpc-id {vpc} --enable-dns-hostnames '{{\"Value\":true}}'"
        ),
    )
}

/// What DHCP options call the VPC's own resolver.
const AMAZONS: &str = "AmazonProvidedDNS";
/// The addresses that it has in each VPC.
const FIXED: [&str; 2] = ["169.254.169.253", "fd00:ec2::253"];

fn resolvers(case: &Case<'_>) -> Answer {
    let resolvers = case.seen.resolvers.get()?;
    // The same resolver has fixed addresses, and the third one of a block of the VPC's (VPC user guide, "DNS
    // attributes for your VPC").
    let tables = case.seen.route_tables.get().map(Vec::as_slice).unwrap_or_default();
    let is_local = |route: &&Route| route.target == Target::Local;
    let locals = tables.iter().flat_map(|it| &it.routes).filter(is_local);
    let blocks: Vec<Addresses> = locals
        .filter_map(|route| match &route.to {
            Destination::Block(block) => Some(block.addresses()),
            Destination::List(_) => None,
        })
        .collect();
    let is_third = |text: &str| {
        let only = Block::parse(&format!("{text}/32")).map(|it| it.addresses());
        only.is_ok_and(|it| {
            blocks.iter().any(|block| block.family == it.family && block.first + 2 == it.first)
        })
    };
    let is_amazons = |it: &&String| {
        let it = it.as_str();
        it == AMAZONS || FIXED.contains(&it) || is_third(it)
    };
    let others: Vec<&String> = resolvers.iter().filter(|it| !is_amazons(it)).collect();
    // Without an entry there is no resolver at all.
    if others.is_empty() && !resolvers.is_empty() {
        return pass(format!("the DHCP options name {}", listed(resolvers)));
    }
    if resolvers.is_empty() {
        return warn(
            "the DHCP options name no resolver",
            format!("give the VPC DHCP options that name {AMAZONS}"),
        );
    }
    warn(
        format!("the DHCP options name resolvers of your own: {}", listed(others)),
        "see that they forward the names of AWS services and of vpce.amazonaws.com to the VPC's resolver: otherwise private DNS names lead past the endpoints",
    )
}
