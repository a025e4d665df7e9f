//! The thin layer that talks to EC2: each method is one call (or all pages of one), in this
//! project's types, and each error says what was being done, what EC2 answered and what helps.

use std::collections::BTreeSet;
use std::error::Error;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::Client;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::types::{
    self as ec2, Filter, IpAddressType, IpPermission, IpRange, Ipv6Range, PrefixListId,
    ResourceType, SecurityGroup, Tag, TagSpecification, UserIdGroupPair, VpcEndpoint,
    VpcEndpointType,
};

use chrono::DateTime;

use crate::endpoints::EndpointRequest;
use crate::environment::{AccountId, Environment, GroupId, SubnetId, VpcId};
use crate::report::{AwsError, Failure};
use crate::security_group::{GroupStep, OwnGroup, Rule, Source};
use crate::tags::{self, Tags};
use crate::vpc::{Endpoint, Subnet};

/// EC2 as this function uses it.
#[derive(Clone, Debug)]
pub struct Ec2 {
    client: Client,
    /// The pause before something that EC2 may not show yet is looked for again.
    pub pause: Duration,
}

/// The most results that EC2 puts on one page (EC2 API, `DescribeVpcEndpoints.MaxResults`).
const PAGE: i32 = 1000;

impl Ec2 {
    /// Wraps a client.
    pub fn new(client: Client) -> Self {
        Self { client, pause: Duration::from_millis(500) }
    }

    /// The subnets with these ids.
    ///
    /// # Errors
    ///
    /// As EC2 answers; [`is_unknown_subnet`] tells whether it does not know one of them.
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

    async fn endpoints_by(&self, filters: Vec<Filter>) -> Result<Vec<Endpoint>, Failure> {
        let mut pages = self
            .client
            .describe_vpc_endpoints()
            .set_filters(Some(filters))
            .into_paginator()
            .page_size(PAGE)
            .send();
        let mut endpoints = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| {
                failure("DescribeVpcEndpoints", "looking at the VPC's endpoints", &e)
            })?;
            endpoints.extend(page.vpc_endpoints().iter().map(read_endpoint));
        }
        Ok(endpoints)
    }

    /// The policy of an endpoint as EC2 tells it now.
    pub async fn policy(&self, endpoint: &str) -> Result<Option<String>, Failure> {
        let answer = self.client.describe_vpc_endpoints().vpc_endpoint_ids(endpoint).send().await;
        let answer = answer.map_err(|e| {
            failure("DescribeVpcEndpoints", &format!("reading the policy of {endpoint}"), &e)
        })?;
        Ok(answer.vpc_endpoints().first().and_then(|e| e.policy_document()).map(str::to_owned))
    }

    /// All endpoints, in whatever VPC and state, that were made for `environment`; for any if none is
    /// given.
    pub async fn own_endpoints(
        &self,
        environment: Option<&Environment>,
    ) -> Result<Vec<Endpoint>, Failure> {
        self.endpoints_by(vec![made_for(environment)]).await
    }

    /// All groups, in whatever VPC, that were made for `environment`; for any if none is given.
    pub async fn own_groups(
        &self,
        environment: Option<&Environment>,
    ) -> Result<Vec<OwnGroup>, Failure> {
        let by_role = filter(ROLE_FILTER, tags::SECURITY_GROUP);
        let groups = self.groups_by(vec![made_for(environment), by_role]).await?;
        let mut groups: Vec<OwnGroup> = groups.iter().filter_map(read_group).collect();
        groups.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(groups)
    }

    /// The groups of this name in the VPC: whether each is tagged as the environment's, and itself.
    pub async fn groups_named(&self, vpc: &VpcId, name: &str) -> Result<Vec<OwnGroup>, Failure> {
        let filters = vec![filter("vpc-id", vpc.as_str()), filter("group-name", name)];
        let groups = self.groups_by(filters).await?;
        Ok(groups.iter().filter_map(read_group).collect())
    }

    async fn groups_by(&self, filters: Vec<Filter>) -> Result<Vec<SecurityGroup>, Failure> {
        let mut pages = self
            .client
            .describe_security_groups()
            .set_filters(Some(filters))
            .into_paginator()
            .page_size(PAGE)
            .send();
        let mut groups = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| {
                failure("DescribeSecurityGroups", "looking for the environment's group", &e)
            })?;
            groups.extend(page.security_groups().iter().cloned());
        }
        Ok(groups)
    }

    /// Takes rules off a group: all, or none if one of them is not there.
    pub async fn revoke(
        &self,
        group: &GroupId,
        rules: &BTreeSet<Rule>,
        environment: &Environment,
    ) -> Result<(), Failure> {
        let permissions = rules.iter().map(|rule| permission(rule, environment)).collect();
        let names: Vec<String> = rules.iter().map(Rule::to_string).collect();
        self.client
            .revoke_security_group_ingress()
            .group_id(group.as_str())
            .set_ip_permissions(Some(permissions))
            .send()
            .await
            .map_err(|e| {
                let what =
                    format!("taking rules off security group {group} ({})", names.join(", "));
                failure("RevokeSecurityGroupIngress", &what, &e)
            })?;
        Ok(())
    }

    /// Deletes a group. One that is not there any more counts as deleted.
    pub async fn delete_group(&self, group: &GroupId) -> Result<(), Failure> {
        let answer = self.client.delete_security_group().group_id(group.as_str()).send().await;
        match answer {
            Ok(_) => Ok(()),
            Err(e) => {
                let what = format!("deleting security group {group}");
                let failure = failure("DeleteSecurityGroup", &what, &e);
                if is_unknown_group(&failure) { Ok(()) } else { Err(failure) }
            }
        }
    }

    /// Takes groups off an endpoint.
    pub async fn detach(&self, id: &str, groups: &BTreeSet<GroupId>) -> Result<(), Failure> {
        self.client
            .modify_vpc_endpoint()
            .vpc_endpoint_id(id)
            .set_remove_security_group_ids(Some(groups.iter().map(GroupId::to_string).collect()))
            .send()
            .await
            .map_err(|e| {
                failure("ModifyVpcEndpoint", &format!("taking groups off endpoint {id}"), &e)
            })?;
        Ok(())
    }

    /// Makes the environment's group.
    pub async fn create_group(&self, vpc: &VpcId, step: &GroupStep) -> Result<GroupId, Failure> {
        let what = format!("making security group {} in {vpc}", step.name);
        let answer = self
            .client
            .create_security_group()
            .vpc_id(vpc.as_str())
            .group_name(&step.name)
            .description(&step.description)
            .tag_specifications(tag_specification(ResourceType::SecurityGroup, &step.tags))
            .send()
            .await
            .map_err(|e| failure("CreateSecurityGroup", &what, &e))?;
        GroupId::parse(answer.group_id().unwrap_or_default()).map_err(|e| {
            Failure::new(what, format!("EC2's answer: {e}"), "look at the group by hand")
        })
    }

    /// Adds rules to a group.
    pub async fn authorize(
        &self,
        group: &GroupId,
        rules: &BTreeSet<Rule>,
        environment: &Environment,
    ) -> Result<(), Failure> {
        let permissions = rules.iter().map(|rule| permission(rule, environment)).collect();
        let names: Vec<String> = rules.iter().map(Rule::to_string).collect();
        self.client
            .authorize_security_group_ingress()
            .group_id(group.as_str())
            .set_ip_permissions(Some(permissions))
            .send()
            .await
            .map_err(|e| {
                let what = format!("adding rules to security group {group} ({})", names.join(", "));
                failure("AuthorizeSecurityGroupIngress", &what, &e)
            })?;
        Ok(())
    }

    /// Makes an endpoint; the answer may be one that was made before with the same token.
    pub async fn create_endpoint(
        &self,
        request: &EndpointRequest,
        groups: &[GroupId],
        token: &str,
    ) -> Result<Endpoint, Failure> {
        let subnets: Vec<String> = request.subnets.iter().map(SubnetId::to_string).collect();
        let what = format!("making an endpoint to {} in {}", request.service, request.vpc);
        let answer = self
            .client
            .create_vpc_endpoint()
            .vpc_endpoint_type(VpcEndpointType::Interface)
            .vpc_id(request.vpc.as_str())
            .service_name(request.service.as_str())
            .set_subnet_ids(Some(subnets))
            .set_security_group_ids(Some(groups.iter().map(GroupId::to_string).collect()))
            .ip_address_type(IpAddressType::from(request.address_type))
            .tag_specifications(tag_specification(ResourceType::VpcEndpoint, &request.tags))
            .client_token(token)
            .send()
            .await
            .map_err(|e| failure("CreateVpcEndpoint", &what, &e))?;
        answer.vpc_endpoint().map(read_endpoint).ok_or_else(|| {
            Failure::new(what, "EC2's answer names no endpoint", "look at the VPC's endpoints")
        })
    }

    /// Puts an endpoint in more subnets and gives it more groups.
    pub async fn complete_endpoint(
        &self,
        id: &str,
        subnets: &BTreeSet<SubnetId>,
        groups: &[GroupId],
    ) -> Result<(), Failure> {
        let some = |ids: Vec<String>| (!ids.is_empty()).then_some(ids);
        self.client
            .modify_vpc_endpoint()
            .vpc_endpoint_id(id)
            .set_add_subnet_ids(some(subnets.iter().map(SubnetId::to_string).collect()))
            .set_add_security_group_ids(some(groups.iter().map(GroupId::to_string).collect()))
            .send()
            .await
            .map_err(|e| {
                failure("ModifyVpcEndpoint", &format!("adding what endpoint {id} lacks"), &e)
            })?;
        Ok(())
    }

    /// Replaces the policy of an endpoint.
    pub async fn write_policy(&self, id: &str, document: &str) -> Result<(), Failure> {
        self.client
            .modify_vpc_endpoint()
            .vpc_endpoint_id(id)
            .policy_document(document)
            .send()
            .await
            .map_err(|e| {
                failure("ModifyVpcEndpoint", &format!("writing the policy of endpoint {id}"), &e)
            })?;
        Ok(())
    }

    /// Deletes endpoints. One that is not there any more counts as deleted.
    pub async fn delete_endpoints(&self, ids: &BTreeSet<String>) -> Result<(), Failure> {
        let list: Vec<&str> = ids.iter().map(String::as_str).collect();
        let what = format!("deleting endpoints {}", list.join(", "));
        let answer = self
            .client
            .delete_vpc_endpoints()
            .set_vpc_endpoint_ids(Some(ids.iter().cloned().collect()))
            .send()
            .await;
        let unsuccessful = match answer {
            Ok(answer) => answer.unsuccessful.unwrap_or_default(),
            Err(e) if is_unknown_endpoint(e.code()) => return Ok(()),
            Err(e) => return Err(failure("DeleteVpcEndpoints", &what, &e)),
        };
        // The call answers 200 even where it deleted nothing (EC2 API, `DeleteVpcEndpoints`).
        let errors = unsuccessful.iter().filter_map(|item| item.error());
        match errors.into_iter().find(|error| !is_unknown_endpoint(error.code())) {
            None => Ok(()),
            Some(error) => {
                let call = "DeleteVpcEndpoints";
                let code = error.code().map(str::to_owned);
                let message = error.message().unwrap_or_default().to_owned();
                Err(answered(call, &what, code, message))
            }
        }
    }

    /// Sets tags on resources of ours.
    pub async fn tag(&self, ids: &BTreeSet<String>, tags: &Tags) -> Result<(), Failure> {
        let list: Vec<&str> = ids.iter().map(String::as_str).collect();
        self.client
            .create_tags()
            .set_resources(Some(ids.iter().cloned().collect()))
            .set_tags(Some(tag_list(tags)))
            .send()
            .await
            .map_err(|e| {
                failure("CreateTags", &format!("updating the tags of {}", list.join(", ")), &e)
            })?;
        Ok(())
    }
}

const ENVIRONMENT_FILTER: &str = "tag:mwaa-vpc-endpoints/environment";
const ROLE_FILTER: &str = "tag:mwaa-vpc-endpoints/role";

fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

/// What was made for `environment`; for any if none is given.
fn made_for(environment: Option<&Environment>) -> Filter {
    match environment {
        Some(environment) => filter(ENVIRONMENT_FILTER, &environment.arn()),
        None => filter("tag-key", tags::ENVIRONMENT),
    }
}

/// Whether EC2 does not know an endpoint. Its error codes have both spellings (EC2 API, "Error codes").
fn is_unknown_endpoint(code: Option<&str>) -> bool {
    matches!(code, Some("InvalidVpcEndpoint.NotFound" | "InvalidVpcEndpointId.NotFound"))
}

/// Whether EC2 does not know a subnet.
pub fn is_unknown_subnet(failure: &Failure) -> bool {
    matches!(failure.code(), Some("InvalidSubnetID.NotFound" | "InvalidSubnetId.NotFound"))
}

/// Whether EC2 does not know a security group: a new one may be unknown for some seconds.
pub fn is_unknown_group(failure: &Failure) -> bool {
    const CODES: [&str; 3] =
        ["InvalidGroup.NotFound", "InvalidSecurityGroupID.NotFound", "InvalidGroupId.NotFound"];
    failure.code().is_some_and(|code| CODES.contains(&code))
}

fn tag_list(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

fn tag_specification(kind: ResourceType, tags: &Tags) -> TagSpecification {
    TagSpecification::builder().resource_type(kind).set_tags(Some(tag_list(tags))).build()
}

fn read_tags(tags: &[Tag]) -> Tags {
    tags.iter()
        .filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned())))
        .collect()
}

fn read_subnet(subnet: &ec2::Subnet, what: &str) -> Result<Subnet, Failure> {
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

fn read_endpoint(endpoint: &VpcEndpoint) -> Endpoint {
    Endpoint {
        id: endpoint.vpc_endpoint_id().unwrap_or_default().to_owned(),
        vpc: endpoint.vpc_id().unwrap_or_default().to_owned(),
        created: endpoint
            .creation_timestamp()
            .and_then(|time| DateTime::from_timestamp(time.secs(), time.subsec_nanos())),
        service: endpoint.service_name().unwrap_or_default().to_owned(),
        state: endpoint.state().map(|s| s.as_str().to_ascii_lowercase()).unwrap_or_default(),
        is_interface: endpoint.vpc_endpoint_type() == Some(&VpcEndpointType::Interface),
        takes_quota: endpoint.vpc_endpoint_type() != Some(&VpcEndpointType::Gateway),
        subnets: endpoint.subnet_ids().iter().cloned().collect(),
        groups: endpoint.groups().iter().filter_map(|g| g.group_id().map(str::to_owned)).collect(),
        tags: read_tags(endpoint.tags()),
        policy: endpoint.policy_document().map(str::to_owned),
        requester_managed: endpoint.requester_managed() == Some(true),
    }
}

fn read_group(group: &SecurityGroup) -> Option<OwnGroup> {
    let id = GroupId::parse(group.group_id()?).ok()?;
    let vpc = VpcId::parse(group.vpc_id()?).ok()?;
    let owner = group.owner_id().and_then(|owner| AccountId::parse(owner).ok());
    let rules = group
        .ip_permissions()
        .iter()
        .flat_map(|permission| read_permission(permission, owner.as_ref()))
        .collect();
    Some(OwnGroup { id, vpc, tags: read_tags(group.tags()), rules })
}

/// The rules of this function's kind (TCP, one port) in a permission, each with its description;
/// others are not ours to judge.
fn read_permission(permission: &IpPermission, owner: Option<&AccountId>) -> Vec<(Rule, String)> {
    let port = match (permission.ip_protocol(), permission.from_port(), permission.to_port()) {
        (Some("tcp" | "6"), Some(from), Some(to)) if from == to => u16::try_from(from).ok(),
        _ => None,
    };
    let Some(port) = port else { return Vec::new() };
    let groups = permission.user_id_group_pairs().iter().filter_map(|pair| {
        let account = match pair.user_id() {
            Some(account) => AccountId::parse(account).ok()?,
            None => owner?.clone(),
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
        let id = crate::environment::PrefixListId::parse(list.prefix_list_id()?).ok()?;
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

fn permission(rule: &Rule, environment: &Environment) -> IpPermission {
    let description = rule.description(environment);
    let permission = IpPermission::builder()
        .ip_protocol("tcp")
        .from_port(rule.port.into())
        .to_port(rule.port.into());
    match &rule.source {
        Source::Group(account, group) => permission.user_id_group_pairs(
            UserIdGroupPair::builder()
                .user_id(account.as_str())
                .group_id(group.as_str())
                .description(description)
                .build(),
        ),
        Source::Ipv4(block) => {
            permission.ip_ranges(IpRange::builder().cidr_ip(block).description(description).build())
        }
        Source::Ipv6(block) => permission
            .ipv6_ranges(Ipv6Range::builder().cidr_ipv6(block).description(description).build()),
        Source::PrefixList(list) => permission.prefix_list_ids(
            PrefixListId::builder().prefix_list_id(list.as_str()).description(description).build(),
        ),
    }
    .build()
}

/// An SDK error as a failure.
pub(crate) fn failure<E>(call: &str, what: &str, error: &SdkError<E>) -> Failure
where
    E: ProvideErrorMetadata + Error + 'static,
    SdkError<E>: Error,
{
    let code = error.code().map(str::to_owned);
    let message = match error.message() {
        Some(message) => message.to_owned(),
        None => causes(error),
    };
    let mut failure = answered(call, what, code, message);
    if failure.remedy.is_none() && has_no_credentials(error) {
        failure.remedy = Some(NO_CREDENTIALS.to_owned());
    }
    failure
}

/// What stands in the way where the credentials could not be had.
const NO_CREDENTIALS: &str = "on Lambda the credentials are the role's; anywhere else set AWS_PROFILE to a profile of the account that owns the VPC, and sign in (`aws sso login`) if it says so: `aws sts get-caller-identity` must work";

/// An error and its causes, as far as each says more than the one before. As text for people: what
/// errors say for debugging shows the Rust values that they are made of.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in causes_of(error) {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
    }
    text
}

/// The causes of an error, the nearest first.
pub(crate) fn causes_of<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause: &&'a (dyn Error + 'static)| (**cause).source())
}

fn has_no_credentials(error: &(dyn Error + 'static)) -> bool {
    causes_of(error).any(|cause| cause.is::<CredentialsError>())
}

fn answered(call: &str, what: &str, code: Option<String>, message: String) -> Failure {
    let remedy = code.as_deref().and_then(|code| remedy(call, code));
    let error = Box::new(AwsError { call: call.to_owned(), code, message });
    Failure { doing: what.to_owned(), why: None, error: Some(error), remedy }
}

/// What helps against an error of EC2, where that is known.
fn remedy(call: &str, code: &str) -> Option<String> {
    let text = match code {
        "AccessDenied" | "AccessDeniedException"
            if matches!(call, "ListEnvironments" | "GetEnvironment" | "AssumeRole") =>
        {
            "in this account: deploy the template again; in a participant's: deploy participant.yaml there with the reader role, which lets this function's role ask"
        }
        "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" => {
            return Some(format!(
                "the function's role may not do ec2:{call} on this resource: deploy the template again, and look for a service control policy or permissions boundary that denies it"
            ));
        }
        "VpcEndpointLimitExceeded" => {
            "the VPC has as many endpoints as its quota allows: delete unused ones, or ask for a higher \"Interface VPC endpoints per VPC\" in Service Quotas"
        }
        "RulesPerSecurityGroupLimitExceeded" => {
            "the group would have more inbound rules than the quota allows (60 by default; a prefix list counts with its maximum number of entries): ask for more \"Inbound or outbound rules per security group\" in Service Quotas, or name fewer sources in the template's parameters"
        }
        "SecurityGroupLimitExceeded" => {
            "the account has as many security groups as its quota allows: delete unused ones, or ask for more \"VPC security groups per Region\" in Service Quotas"
        }
        "SecurityGroupsPerInterfaceLimitExceeded" => {
            "an interface takes a few groups only: give the environment fewer, or ask for more \"Security groups per network interface\" in Service Quotas"
        }
        "InvalidServiceName" => {
            "the service is not there for this account: either the event is stale and the environment is gone, or the function does not run in the account that owns the VPC"
        }
        "DuplicateSubnetsInSameZone" => {
            "the endpoint is in another subnet of the same Availability Zone: take that subnet off it"
        }
        "InvalidPolicyDocument" => {
            "look at the policy that the endpoint has; EC2 refuses it with the queue added"
        }
        "InvalidSubnetID.NotFound" | "InvalidSubnetId.NotFound" => {
            "the subnets are gone, or the function does not run in the account and Region of the VPC's owner"
        }
        "InvalidGroup.NotFound" | "InvalidSecurityGroupID.NotFound" | "InvalidGroupId.NotFound" => {
            "the security group is gone, or belongs to another account or VPC"
        }
        "RequestLimitExceeded" | "Throttling" | "ThrottlingException" => {
            "EC2 limits the rate of calls: the next delivery tries again"
        }
        _ => return None,
    };
    Some(text.to_owned())
}
