//! What is changed in EC2: each method is one call in this project's types, and each error says what
//! was being done, what EC2 answered and what helps.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::Builder;
use aws_sdk_ec2::config::interceptors::InterceptorContext;
use aws_sdk_ec2::config::retry::{ClassifyRetry, RetryAction, RetryConfig};
use aws_sdk_ec2::types::{IpAddressType, ResourceType, Tag, TagSpecification, VpcEndpointType};

use super::ec2_query::Query;
use super::ec2_read::read_endpoint;
use super::error::{EXPIRED, answered, failure, is_unknown_endpoint};
use crate::environment::{EndpointId, Environment, GroupId, ServiceName, SubnetId, VpcId};
use crate::gather::Gather;
use crate::report::Failure;
use crate::tags::Tags;
use crate::vpc::{Endpoint, Rule, Source};

/// EC2 as this function uses it.
#[derive(Clone, Debug)]
pub struct Ec2 {
    pub(super) client: Client,
    /// The pause before something that EC2 may not show yet is looked for again. Longer pauses are
    /// multiples of it.
    pub pause: Duration,
}

/// Lets the SDK sign and send a request again whose signature was too old, which it does not by itself.
#[derive(Debug)]
struct Expired;

impl ClassifyRetry for Expired {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let body = context.response().and_then(|response| response.body().bytes());
        let code = format!("<Code>{EXPIRED}</Code>");
        let is_expired = body.is_some_and(|body| String::from_utf8_lossy(body).contains(&code));
        if is_expired { RetryAction::transient_error() } else { RetryAction::NoActionIndicated }
    }

    fn name(&self) -> &'static str {
        "expired request"
    }
}

/// A security group to make.
#[derive(Clone, Copy, Debug)]
pub struct NewGroup<'a> {
    /// The VPC.
    pub vpc: &'a VpcId,
    /// Its name.
    pub name: &'a str,
    /// Its description.
    pub description: &'a str,
    /// Its tags.
    pub tags: &'a Tags,
}

/// An interface endpoint to make.
#[derive(Clone, Copy, Debug)]
pub struct NewEndpoint<'a> {
    /// The VPC.
    pub vpc: &'a VpcId,
    /// The service.
    pub service: &'a ServiceName,
    /// The subnets.
    pub subnets: &'a BTreeSet<SubnetId>,
    /// The security groups.
    pub groups: &'a [GroupId],
    /// `ipv4`, `ipv6` or `dualstack`.
    pub address_type: &'a str,
    /// Its tags.
    pub tags: &'a Tags,
    /// The `ClientToken`.
    pub token: &'a str,
}

impl Ec2 {
    /// Wraps a client.
    pub fn new(client: Client) -> Self {
        let config = client.config().to_builder().retry_classifier(Expired).build();
        Self { client: Client::from_conf(config), pause: Duration::from_millis(500) }
    }

    /// The pauses before what was refused for a moment is tried again, or what EC2 may tell late is
    /// looked at again: ten seconds in all.
    pub fn pauses(&self) -> impl Iterator<Item = Duration> + use<> {
        let pause = self.pause;
        [1, 1, 2, 4, 6, 6].into_iter().map(move |times| pause * times)
    }

    /// Takes rules off a group: all, or none if one of them is not there.
    pub async fn revoke(
        &self,
        group: &GroupId,
        rules: &BTreeSet<Rule>,
        environment: &Environment,
    ) -> Result<(), Failure> {
        let what = format!("taking rules off security group {group} ({})", names(rules));
        let query = Query::new("RevokeSecurityGroupIngress").with("GroupId", group.as_str());
        self.query(&with_permissions(query, rules, environment), &what).await?;
        Ok(())
    }

    /// Takes rules off a group by their ids.
    pub async fn revoke_by_id(&self, group: &GroupId, ids: Vec<String>) -> Result<(), Failure> {
        let what = format!("taking rules off security group {group} ({})", ids.join(", "));
        let query = Query::new("RevokeSecurityGroupIngress").with("GroupId", group.as_str());
        self.query(&query.each("SecurityGroupRuleId", ids), &what).await?;
        Ok(())
    }

    /// Deletes a group. One that is not there any more counts as deleted.
    pub async fn delete_group(&self, group: &GroupId) -> Result<(), Failure> {
        let query = Query::new("DeleteSecurityGroup").with("GroupId", group.as_str());
        match self.query(&query, &format!("deleting security group {group}")).await {
            Err(failure) if !failure.is_unknown_group() => Err(failure),
            _ => Ok(()),
        }
    }

    /// Takes groups off an endpoint.
    pub async fn detach(&self, id: &EndpointId, groups: &BTreeSet<GroupId>) -> Result<(), Failure> {
        let call = self
            .client
            .modify_vpc_endpoint()
            .vpc_endpoint_id(id.as_str())
            .set_remove_security_group_ids(Some(groups.iter().map(GroupId::to_string).collect()));
        call.send().await.map_err(|e| {
            failure("ModifyVpcEndpoint", &format!("taking groups off endpoint {id}"), &e)
        })?;
        Ok(())
    }

    /// Makes the environment's group.
    pub async fn create_group(&self, group: NewGroup<'_>) -> Result<GroupId, Failure> {
        let what = format!("making security group {} in {}", group.name, group.vpc);
        let call = self
            .client
            .create_security_group()
            .vpc_id(group.vpc.as_str())
            .group_name(group.name)
            .description(group.description)
            .tag_specifications(tag_specification(ResourceType::SecurityGroup, group.tags));
        let answer = call.send().await.map_err(|e| failure("CreateSecurityGroup", &what, &e))?;
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
        let what = format!("adding rules to security group {group} ({})", names(rules));
        let query = Query::new("AuthorizeSecurityGroupIngress").with("GroupId", group.as_str());
        self.query(&with_permissions(query, rules, environment), &what).await?;
        Ok(())
    }

    /// Makes an endpoint; the answer may be one that was made before with the same token.
    pub async fn create_endpoint(&self, new: NewEndpoint<'_>) -> Result<Endpoint, Failure> {
        let subnets: Vec<String> = new.subnets.iter().map(SubnetId::to_string).collect();
        let what = format!("making an endpoint to {} in {}", new.service, new.vpc);
        let call = self
            .client
            .create_vpc_endpoint()
            .vpc_endpoint_type(VpcEndpointType::Interface)
            .vpc_id(new.vpc.as_str())
            .service_name(new.service.as_str())
            .set_subnet_ids(Some(subnets))
            .set_security_group_ids(Some(new.groups.iter().map(GroupId::to_string).collect()))
            .ip_address_type(IpAddressType::from(new.address_type))
            .tag_specifications(tag_specification(ResourceType::VpcEndpoint, new.tags))
            .client_token(new.token);
        let answer = call.send().await.map_err(|e| failure("CreateVpcEndpoint", &what, &e))?;
        answer.vpc_endpoint().and_then(read_endpoint).ok_or_else(|| {
            Failure::new(what, "EC2's answer names no endpoint", "look at the VPC's endpoints")
        })
    }

    /// Puts an endpoint in more subnets and gives it more groups.
    pub async fn complete_endpoint(
        &self,
        id: &EndpointId,
        subnets: &BTreeSet<SubnetId>,
        groups: &BTreeSet<GroupId>,
    ) -> Result<(), Failure> {
        let some = |ids: Vec<String>| (!ids.is_empty()).then_some(ids);
        let call = self
            .client
            .modify_vpc_endpoint()
            .vpc_endpoint_id(id.as_str())
            .set_add_subnet_ids(some(subnets.iter().map(SubnetId::to_string).collect()))
            .set_add_security_group_ids(some(groups.iter().map(GroupId::to_string).collect()));
        call.send().await.map_err(|e| {
            failure("ModifyVpcEndpoint", &format!("adding what endpoint {id} lacks"), &e)
        })?;
        Ok(())
    }

    /// Replaces the policy of an endpoint. It is sent once: the SDK would send the same document
    /// again, over what somebody wrote meanwhile.
    pub async fn write_policy(&self, id: &EndpointId, document: &str) -> Result<(), Failure> {
        let once = Builder::new().retry_config(RetryConfig::disabled());
        let call = self
            .client
            .modify_vpc_endpoint()
            .vpc_endpoint_id(id.as_str())
            .policy_document(document)
            .customize()
            .config_override(once);
        call.send().await.map_err(|e| {
            failure("ModifyVpcEndpoint", &format!("writing the policy of endpoint {id}"), &e)
        })?;
        Ok(())
    }

    /// Deletes endpoints, and tells which of them were not deleted, and why. One that is not there any
    /// more counts as deleted.
    ///
    /// # Errors
    ///
    /// If none was deleted.
    pub async fn delete_endpoints(
        &self,
        ids: &BTreeSet<EndpointId>,
    ) -> Result<BTreeMap<EndpointId, Failure>, Failure> {
        let ids: Vec<String> = ids.iter().map(EndpointId::to_string).collect();
        let what = format!("deleting endpoints {}", ids.join(", "));
        let query = Query::new("DeleteVpcEndpoints").each("VpcEndpointId", ids);
        let answer = match self.query(&query, &what).await {
            Ok(answer) => answer,
            Err(failure) if failure.is_unknown_endpoint() => return Ok(BTreeMap::new()),
            Err(failure) => return Err(failure),
        };
        // The call answers 200 even where it deleted nothing (EC2 API, `DeleteVpcEndpoints`).
        let mut failures = BTreeMap::new();
        for item in answer.all("unsuccessful") {
            let Some(error) = item.get("error").filter(|it| !is_unknown_endpoint(it.text("code")))
            else {
                continue;
            };
            let id = item.text("resourceId").unwrap_or_default();
            let what = format!("deleting endpoint {id}");
            let message = error.text("message").unwrap_or_default();
            let failure = answered("DeleteVpcEndpoints", &what, error.text("code"), message);
            match EndpointId::parse(id) {
                Ok(id) => drop(failures.insert(id, failure)),
                // Nobody knows which.
                Err(_) => return Err(failure),
            }
        }
        Ok(failures)
    }

    /// Sets tags on resources of ours.
    pub async fn tag(&self, ids: &BTreeSet<String>, tags: &Tags) -> Result<(), Failure> {
        let ids: Vec<String> = ids.iter().cloned().collect();
        let what = format!("updating the tags of {}", ids.join(", "));
        let mut query = Query::new("CreateTags").each("ResourceId", ids);
        for (at, (key, value)) in tags.iter().enumerate() {
            let tag = |part: &str| format!("Tag.{}.{part}", at + 1);
            query = query.with(&tag("Key"), key).with(&tag("Value"), value);
        }
        self.query(&query, &what).await?;
        Ok(())
    }
}

fn names(rules: &BTreeSet<Rule>) -> String {
    rules.iter().map(Rule::to_string).collect::<Vec<_>>().join(", ")
}

fn tag_list(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

fn tag_specification(kind: ResourceType, tags: &Tags) -> TagSpecification {
    TagSpecification::builder().resource_type(kind).set_tags(Some(tag_list(tags))).build()
}

pub(super) fn read_tags(tags: &[Tag]) -> Tags {
    tags.iter()
        .filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned())))
        .gather()
}

/// Rules, as EC2 takes them: one permission each (EC2 API, `IpPermission`).
fn with_permissions(query: Query, rules: &BTreeSet<Rule>, environment: &Environment) -> Query {
    rules.iter().zip(1..).fold(query, |query, (rule, at)| {
        let (list, key, value) = match &rule.source {
            Source::Group(_, group) => ("Groups", "GroupId", group.as_str()),
            Source::Ipv4(block) => ("IpRanges", "CidrIp", block.as_str()),
            Source::Ipv6(block) => ("Ipv6Ranges", "CidrIpv6", block.as_str()),
            Source::PrefixList(list) => ("PrefixListIds", "PrefixListId", list.as_str()),
        };
        let name = |part: &str| format!("IpPermissions.{at}.{part}");
        let of_source = |part: &str| format!("IpPermissions.{at}.{list}.1.{part}");
        let mut query = query
            .with(&name("IpProtocol"), "tcp")
            .with(&name("FromPort"), rule.port.to_string())
            .with(&name("ToPort"), rule.port.to_string())
            .with(&of_source(key), value)
            .with(&of_source("Description"), rule.description(environment));
        if let Source::Group(account, _) = &rule.source {
            query = query.with(&of_source("UserId"), account.as_str());
        }
        query
    })
}
