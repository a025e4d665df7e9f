//! What EC2 shows: each method is one call, or all pages of one.

use aws_sdk_ec2::types::{
    self as ec2, Filter, IpPermission, SecurityGroup, VpcEndpoint, VpcEndpointType,
};
use chrono::DateTime;

use super::ec2::{Ec2, read_tags};
use super::ec2_query::{Element, Query};
use super::error::failure;
use crate::environment::{
    AccountId, EndpointId, Environment, GroupId, PrefixListId, SubnetId, VpcId,
};
use crate::gather::Gather;
use crate::report::Failure;
use crate::tags;
use crate::vpc::{Endpoint, Group, Kind, Rule, Source, State, Subnet};

/// The most results that EC2 puts on one page (EC2 API, `DescribeVpcEndpoints.MaxResults`). Pages are
/// asked for one by one here: the SDK's paginators take several times the code.
const PAGE: i32 = 1000;

impl Ec2 {
    /// The subnets with these ids.
    ///
    /// # Errors
    ///
    /// As EC2 answers; [`Failure::is_unknown_subnet`] tells whether it does not know one of them.
    pub async fn subnets(&self, ids: &[SubnetId]) -> Result<Vec<Subnet>, Failure> {
        let ids: Vec<String> = ids.iter().map(SubnetId::to_string).collect();
        let answer = self.client.describe_subnets().set_subnet_ids(Some(ids.clone())).send().await;
        let what = format!("looking at subnets {}", ids.join(", "));
        let answer = answer.map_err(|e| failure("DescribeSubnets", &what, &e))?;
        answer.subnets().iter().map(|subnet| read_subnet(subnet, &what)).collect()
    }

    /// Those of the subnets with these ids that EC2 knows.
    pub async fn known_subnets(&self, ids: &[SubnetId]) -> Result<Vec<Subnet>, Failure> {
        let filter = Filter::builder()
            .name("subnet-id")
            .set_values(Some(ids.iter().map(SubnetId::to_string).collect()))
            .build();
        let what = "looking at the environment's subnets";
        let answer = self.client.describe_subnets().filters(filter).send().await;
        let answer = answer.map_err(|e| failure("DescribeSubnets", what, &e))?;
        answer.subnets().iter().map(|subnet| read_subnet(subnet, what)).collect()
    }

    /// All subnets of the Region that this account sees.
    pub async fn all_subnets(&self) -> Result<Vec<Subnet>, Failure> {
        let what = "looking at the Region's subnets";
        let mut subnets = Vec::new();
        let mut next = None;
        loop {
            let call = self.client.describe_subnets().max_results(PAGE).set_next_token(next);
            let page = call.send().await.map_err(|e| failure("DescribeSubnets", what, &e))?;
            // One that cannot be read is nobody's place.
            subnets.extend(page.subnets().iter().filter_map(|it| read_subnet(it, what).ok()));
            next = page.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(subnets);
            }
        }
    }

    /// All endpoints of the Region, in whatever VPC and state.
    pub async fn all_endpoints(&self) -> Result<Vec<Endpoint>, Failure> {
        self.endpoints_by(Vec::new()).await
    }

    /// All endpoints of a VPC, in whatever state.
    pub async fn endpoints(&self, vpc: &VpcId) -> Result<Vec<Endpoint>, Failure> {
        self.endpoints_by(vec![filter("vpc-id", vpc.as_str())]).await
    }

    /// All endpoints of a VPC that lead to a service, in whatever state.
    pub async fn endpoints_to(&self, vpc: &VpcId, service: &str) -> Result<Vec<Endpoint>, Failure> {
        self.endpoints_by(vec![filter("vpc-id", vpc.as_str()), filter("service-name", service)])
            .await
    }

    /// All endpoints that lead to one of `services`, in whatever VPC and state.
    pub async fn endpoints_to_any(&self, services: Vec<String>) -> Result<Vec<Endpoint>, Failure> {
        let by_service = Filter::builder().name("service-name").set_values(Some(services)).build();
        self.endpoints_by(vec![by_service]).await
    }

    /// All endpoints, in whatever VPC and state, whose tag names `environment`; any environment if
    /// none is given. Whether it was made for it, only [`Endpoint::made_for`] says.
    pub async fn tagged_endpoints(
        &self,
        environment: Option<&Environment>,
    ) -> Result<Vec<Endpoint>, Failure> {
        self.endpoints_by(vec![tagged(environment)]).await
    }

    async fn endpoints_by(&self, filters: Vec<Filter>) -> Result<Vec<Endpoint>, Failure> {
        let mut endpoints = Vec::new();
        let mut next = None;
        loop {
            let call = self.client.describe_vpc_endpoints().set_filters(Some(filters.clone()));
            let page = call.max_results(PAGE).set_next_token(next).send().await.map_err(|e| {
                failure("DescribeVpcEndpoints", "looking at the VPC's endpoints", &e)
            })?;
            endpoints.extend(page.vpc_endpoints().iter().filter_map(read_endpoint));
            next = page.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(endpoints);
            }
        }
    }

    /// An endpoint as EC2 tells it now; none if it is not there any more.
    pub async fn endpoint(&self, id: &EndpointId) -> Result<Option<Endpoint>, Failure> {
        let answer =
            self.client.describe_vpc_endpoints().vpc_endpoint_ids(id.as_str()).send().await;
        let what = format!("reading the policy of endpoint {id}");
        match answer.map_err(|e| failure("DescribeVpcEndpoints", &what, &e)) {
            // EC2 says it in an error if it is gone: what is not in an answer may be there.
            Ok(answer) => match answer.vpc_endpoints().first().and_then(read_endpoint) {
                None => Err(Failure::new(what, "EC2's answer does not hold it", "try again")),
                found => Ok(found),
            },
            Err(failure) if failure.is_unknown_endpoint() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// The groups of account `own`, in whatever VPC, that were made for `environment`; for any if none
    /// is given. Sorted by their ids.
    pub async fn own_groups(
        &self,
        environment: Option<&Environment>,
        own: Option<&AccountId>,
    ) -> Result<Vec<Group>, Failure> {
        let role = filter("tag:mwaa-vpc-endpoints/role", tags::SECURITY_GROUP);
        let mut groups = self.groups_by(vec![tagged(environment), role], own).await?;
        groups.retain(|group| group.made_for(own.unwrap_or(&group.owner)).is_some());
        groups.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        Ok(groups)
    }

    /// The group of account `own` that has this name in the VPC. Names are unique per account only
    /// (cloud-custodian#6164), and a VPC's owner sees its participants' groups, too.
    pub async fn group_named(
        &self,
        vpc: &VpcId,
        name: &str,
        own: &AccountId,
    ) -> Result<Option<Group>, Failure> {
        let filters = vec![filter("vpc-id", vpc.as_str()), filter("group-name", name)];
        Ok(self.groups_by(filters, Some(own)).await?.into_iter().next())
    }

    /// The ids of the inbound rules of `group` that are `rule` but for the account of the group that it
    /// names: EC2 does not tell it of a group that is gone, of another VPC.
    pub async fn rule_ids(
        &self,
        group: &GroupId,
        rule: &Rule,
        description: &str,
    ) -> Result<Vec<String>, Failure> {
        let Source::Group(_, named) = &rule.source else { return Ok(Vec::new()) };
        let what = format!("looking for rules of security group {group}");
        // A group has 1,000 rules at most (VPC user guide, "Amazon VPC quotas").
        let query = Query::new("DescribeSecurityGroupRules").filter("group-id", group.as_str());
        let answer = self.query(&query.with("MaxResults", PAGE.to_string()), &what).await?;
        let port = rule.port.to_string();
        let is_it = |it: &&Element| {
            let of = it.get("referencedGroupInfo").and_then(|group| group.text("groupId"));
            it.flag("isEgress") == Some(false)
                && it.text("fromPort") == Some(&port)
                && it.text("toPort") == Some(&port)
                && of == Some(named.as_str())
                && it.text("description") == Some(description)
        };
        let found = answer.all("securityGroupRuleSet").iter().filter(is_it);
        Ok(found.filter_map(|it| it.text("securityGroupRuleId").map(str::to_owned)).collect())
    }

    async fn groups_by(
        &self,
        mut filters: Vec<Filter>,
        own: Option<&AccountId>,
    ) -> Result<Vec<Group>, Failure> {
        filters.extend(own.map(|own| filter("owner-id", own.as_str())));
        let mut groups = Vec::new();
        let mut next = None;
        loop {
            let call = self.client.describe_security_groups().set_filters(Some(filters.clone()));
            let page = call.max_results(PAGE).set_next_token(next).send().await.map_err(|e| {
                failure("DescribeSecurityGroups", "looking for the environment's group", &e)
            })?;
            groups.extend(page.security_groups().iter().filter_map(read_group));
            next = page.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                break;
            }
        }
        groups.retain(|group| own.is_none_or(|own| group.owner == *own));
        Ok(groups)
    }
}

pub(super) fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

/// What carries the tag of `environment`; of any if none is given.
fn tagged(environment: Option<&Environment>) -> Filter {
    match environment {
        Some(environment) => filter("tag:mwaa-vpc-endpoints/environment", &environment.arn()),
        None => filter("tag-key", tags::ENVIRONMENT),
    }
}

pub(super) fn read_subnet(subnet: &ec2::Subnet, what: &str) -> Result<Subnet, Failure> {
    let unreadable = |field: &str| {
        Failure::new(what, format!("EC2's answer has no usable {field}"), "try again")
    };
    Ok(Subnet {
        id: SubnetId::parse(subnet.subnet_id().unwrap_or_default())
            .map_err(|_| unreadable("subnet id"))?,
        vpc: VpcId::parse(subnet.vpc_id().unwrap_or_default()).map_err(|_| unreadable("VPC id"))?,
        owner: AccountId::parse(subnet.owner_id().unwrap_or_default())
            .map_err(|_| unreadable("owner"))?,
        zone: subnet.availability_zone().unwrap_or_default().to_owned(),
        ipv6_only: subnet.ipv6_native() == Some(true),
    })
}

/// An endpoint, unless it has no id or VPC: then it can neither be used nor changed.
pub(super) fn read_endpoint(endpoint: &VpcEndpoint) -> Option<Endpoint> {
    Some(Endpoint {
        id: EndpointId::parse(endpoint.vpc_endpoint_id()?).ok()?,
        vpc: VpcId::parse(endpoint.vpc_id()?).ok()?,
        created: endpoint
            .creation_timestamp()
            .and_then(|time| DateTime::from_timestamp(time.secs(), time.subsec_nanos())),
        service: endpoint.service_name().unwrap_or_default().to_owned(),
        state: State::parse(endpoint.state().map_or("", |state| state.as_str())),
        kind: match endpoint.vpc_endpoint_type() {
            Some(VpcEndpointType::Interface) => Kind::Interface,
            Some(VpcEndpointType::GatewayLoadBalancer) => Kind::LoadBalancer,
            _ => Kind::Other,
        },
        subnets: endpoint.subnet_ids().iter().filter_map(|id| SubnetId::parse(id).ok()).gather(),
        groups: endpoint
            .groups()
            .iter()
            .filter_map(|group| GroupId::parse(group.group_id()?).ok())
            .gather(),
        tags: read_tags(endpoint.tags()),
        policy: endpoint.policy_document().map(str::to_owned),
        requester_managed: endpoint.requester_managed() == Some(true),
    })
}

fn read_group(group: &SecurityGroup) -> Option<Group> {
    let owner = AccountId::parse(group.owner_id()?).ok()?;
    let rules = group
        .ip_permissions()
        .iter()
        .flat_map(|permission| read_permission(permission, &owner))
        .gather();
    Some(Group {
        id: GroupId::parse(group.group_id()?).ok()?,
        vpc: VpcId::parse(group.vpc_id()?).ok()?,
        tags: read_tags(group.tags()),
        owner,
        rules,
    })
}

/// The rules of this function's kind (TCP, one port) in a permission, each with its description;
/// others are not ours to judge.
fn read_permission(permission: &IpPermission, owner: &AccountId) -> Vec<(Rule, String)> {
    let port = match (permission.ip_protocol(), permission.from_port(), permission.to_port()) {
        (Some("tcp" | "6"), Some(from), Some(to)) if from == to => u16::try_from(from).ok(),
        _ => None,
    };
    let Some(port) = port else { return Vec::new() };
    let groups = permission.user_id_group_pairs().iter().filter_map(|pair| {
        let account = match pair.user_id() {
            Some(account) => AccountId::parse(account).ok()?,
            None => owner.clone(),
        };
        let source = Source::Group(account, GroupId::parse(pair.group_id()?).ok()?);
        Some((source, pair.description()))
    });
    let ipv4 = permission
        .ip_ranges()
        .iter()
        .filter_map(|range| Some((Source::Ipv4(range.cidr_ip()?.into()), range.description())));
    let ipv6 = permission
        .ipv6_ranges()
        .iter()
        .filter_map(|range| Some((Source::Ipv6(range.cidr_ipv6()?.into()), range.description())));
    let lists = permission.prefix_list_ids().iter().filter_map(|list| {
        let id = PrefixListId::parse(list.prefix_list_id()?).ok()?;
        Some((Source::PrefixList(id), list.description()))
    });
    groups
        .chain(ipv4)
        .chain(ipv6)
        .chain(lists)
        .map(|(source, description)| {
            (Rule { port, source }, description.unwrap_or_default().to_owned())
        })
        .collect()
}
