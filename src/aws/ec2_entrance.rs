//! How an endpoint is reached, as EC2 shows it. The function does not ask for it; people do.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{Filter, IpPermission, NetworkInterface};

use super::ec2::Ec2;
use super::error::failure;
use crate::environment::{EndpointId, GroupId};
use crate::gather::Gather;
use crate::report::Failure;
use crate::vpc::{Address, Entrance, LetIn};

impl Ec2 {
    /// The names of an interface endpoint, and its addresses.
    ///
    /// # Errors
    ///
    /// As EC2 answers.
    pub async fn entrance(&self, id: &EndpointId) -> Result<Entrance, Failure> {
        let what = format!("looking at the names and addresses of endpoint {id}");
        let call = self.client.describe_vpc_endpoints().vpc_endpoint_ids(id.as_str());
        let answer = call.send().await.map_err(|e| failure("DescribeVpcEndpoints", &what, &e))?;
        let mut entrance = Entrance::new(id);
        let Some(endpoint) = answer.vpc_endpoints().first() else { return Ok(entrance) };
        let names = endpoint.dns_entries().iter().filter_map(|entry| entry.dns_name());
        entrance.names = names.map(str::to_owned).collect();
        let interfaces = endpoint.network_interface_ids();
        if interfaces.is_empty() {
            return Ok(entrance);
        }
        // An endpoint has one for each Availability Zone, so they are on one page.
        let call = self
            .client
            .describe_network_interfaces()
            .set_network_interface_ids(Some(interfaces.to_vec()));
        let answer =
            call.send().await.map_err(|e| failure("DescribeNetworkInterfaces", &what, &e))?;
        entrance.addresses = answer.network_interfaces().iter().map(address).collect();
        entrance.addresses.sort();
        Ok(entrance)
    }

    /// Who these groups let in on a TCP port.
    ///
    /// # Errors
    ///
    /// As EC2 answers.
    pub async fn let_in(
        &self,
        groups: &BTreeSet<GroupId>,
        port: u16,
    ) -> Result<Vec<LetIn>, Failure> {
        if groups.is_empty() {
            return Ok(Vec::new());
        }
        let ids = groups.iter().map(GroupId::to_string).collect();
        let by_id = Filter::builder().name("group-id").set_values(Some(ids)).build();
        let answer = self.client.describe_security_groups().filters(by_id).send().await;
        let what = "looking at the endpoint's security groups";
        let answer = answer.map_err(|e| failure("DescribeSecurityGroups", what, &e))?;
        let sources = |id: &GroupId| {
            let group =
                answer.security_groups().iter().find(|it| it.group_id() == Some(id.as_str()));
            let owner = group.and_then(|group| group.owner_id()).unwrap_or_default();
            let permissions = group.map(|group| group.ip_permissions()).unwrap_or_default();
            let admitting = permissions.iter().filter(|permission| admits(permission, port));
            admitting.flat_map(|permission| sources_of(permission, owner)).gather()
        };
        Ok(groups.iter().map(|id| LetIn::new(id, sources(id))).collect())
    }
}

fn address(interface: &NetworkInterface) -> Address {
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    let ipv4 = interface.private_ip_address().into_iter();
    let ipv6 = interface.ipv6_addresses().iter().filter_map(|it| it.ipv6_address());
    Address {
        zone: text(interface.availability_zone()),
        ips: ipv4.chain(ipv6).map(str::to_owned).collect(),
        subnet: text(interface.subnet_id()),
        interface: text(interface.network_interface_id()),
    }
}

/// Whether a rule lets TCP to a port in: `-1` is every protocol, and then no ports are told (EC2 API,
/// `IpPermission`).
fn admits(permission: &IpPermission, port: u16) -> bool {
    let port = i32::from(port);
    match permission.ip_protocol() {
        Some("-1") => true,
        Some("tcp" | "6") => match (permission.from_port(), permission.to_port()) {
            (Some(from), Some(to)) => from == -1 || (from..=to).contains(&port),
            _ => true,
        },
        _ => false,
    }
}

fn sources_of(permission: &IpPermission, owner: &str) -> Vec<String> {
    let groups = permission.user_id_group_pairs().iter().filter_map(|pair| {
        Some(format!("{}/{}", pair.user_id().unwrap_or(owner), pair.group_id()?))
    });
    let ipv4 = permission.ip_ranges().iter().filter_map(|it| it.cidr_ip()).map(str::to_owned);
    let ipv6 = permission.ipv6_ranges().iter().filter_map(|it| it.cidr_ipv6()).map(str::to_owned);
    let lists = permission.prefix_list_ids().iter().filter_map(|it| it.prefix_list_id());
    groups.chain(ipv4).chain(ipv6).chain(lists.map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{IpRange, UserIdGroupPair};

    use super::*;

    fn rule(protocol: &str, ports: Option<(i32, i32)>) -> IpPermission {
        let (from, to) = ports.unzip();
        IpPermission::builder()
            .ip_protocol(protocol)
            .set_from_port(from)
            .set_to_port(to)
            .ip_ranges(IpRange::builder().cidr_ip("10.0.0.0/8").build())
            .user_id_group_pairs(UserIdGroupPair::builder().group_id("sg-1").build())
            .build()
    }

    #[test]
    fn a_rule_lets_a_port_in_by_itself_in_a_range_and_with_every_protocol() {
        for (protocol, ports, admitted) in [
            ("tcp", Some((443, 443)), true),
            ("6", Some((0, 65535)), true),
            ("tcp", Some((442, 443)), true),
            ("-1", None, true),
            ("tcp", Some((80, 80)), false),
            ("tcp", Some((444, 65535)), false),
            ("udp", Some((443, 443)), false),
            ("icmp", Some((-1, -1)), false),
        ] {
            assert_eq!(admits(&rule(protocol, ports), 443), admitted, "{protocol} {ports:?}");
        }
    }

    #[test]
    fn a_group_without_an_account_is_of_the_same_account() {
        let sources = sources_of(&rule("tcp", Some((443, 443))), "111122223333");
        assert_eq!(sources, ["111122223333/sg-1", "10.0.0.0/8"]);
    }
}
