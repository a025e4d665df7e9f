//! What EC2 says of a VPC: the part of it that decisions rest on.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::environment::{AccountId, Environment, QueueArn, Region, Role, SubnetId, VpcId};
use crate::report::Failure;
use crate::security_group::OwnGroup;
use crate::tags::{self, Tags};

/// A VPC with its owner, the environment's subnets, its endpoints, and what is ours of its groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vpc {
    /// The VPC's id.
    pub id: VpcId,
    /// The account that owns it.
    pub owner: AccountId,
    /// The environment's subnets, in the event's order.
    pub subnets: Vec<Subnet>,
    /// Its endpoints, in whatever state: all of them unless it [is partial](Self::is_partial).
    pub endpoints: Vec<Endpoint>,
    /// Whether some endpoints are not here, as in [`Seen::is_partial`].
    pub is_partial: bool,
    /// The groups that were made for the environment; the one in use comes first.
    pub own_groups: Vec<OwnGroup>,
}

/// A subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// Its id.
    pub id: SubnetId,
    /// The VPC that it is in.
    pub vpc: VpcId,
    /// The account that owns it, and so the VPC.
    pub owner: AccountId,
    /// Its Availability Zone.
    pub zone: String,
    /// Whether it has IPv6 addresses only.
    pub ipv6_only: bool,
}

/// An endpoint of the VPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its id.
    pub id: String,
    /// The VPC that it is in.
    pub vpc: String,
    /// When it was made, if EC2 tells.
    pub created: Option<DateTime<Utc>>,
    /// The service that it leads to.
    pub service: String,
    /// Its state in lower case; EC2's own spelling varies.
    pub state: String,
    /// Whether it is an interface endpoint.
    pub is_interface: bool,
    /// Whether it counts against the VPC's quota of interface and Gateway Load Balancer endpoints.
    pub takes_quota: bool,
    /// The subnets that it has an interface in.
    pub subnets: BTreeSet<String>,
    /// The security groups on its interfaces.
    pub groups: BTreeSet<String>,
    /// Its tags.
    pub tags: Tags,
    /// Its policy; an absent one allows everything.
    pub policy: Option<String>,
    /// Whether an AWS service manages it.
    pub requester_managed: bool,
}

impl Endpoint {
    /// Whether it works or may come to work: any state but those that lead nowhere.
    ///
    /// Source: EC2 API, `VpcEndpoint.State`.
    pub fn is_alive(&self) -> bool {
        !self.is_going() && !matches!(self.state.as_str(), "rejected" | "failed" | "expired")
    }

    /// Whether it is deleted or about to be.
    pub fn is_going(&self) -> bool {
        matches!(self.state.as_str(), "deleting" | "deleted")
    }

    /// Whether queues of `region` are reached through it: an alive interface endpoint to SQS.
    pub fn serves_sqs(&self, region: &Region) -> bool {
        self.is_alive() && self.is_interface && region.is_sqs_service(&self.service)
    }

    /// Whether it was made for `environment` in this `role`.
    pub fn is_ours(&self, environment: &Environment, role: Role) -> bool {
        tags::made_for(&self.tags, environment, role.as_str())
    }

    /// The environment that it was made for, if it was made by this function.
    pub fn environment(&self) -> Option<Environment> {
        Environment::parse(self.tags.get(tags::ENVIRONMENT)?).ok()
    }

    /// The role that it was made for, if it was made by this function.
    pub fn role(&self) -> Option<Role> {
        let tagged = self.tags.get(tags::ROLE)?;
        Role::ALL.into_iter().find(|role| role.as_str() == tagged)
    }

    /// The queue of the environment that it was made for, if it was made by this function.
    pub fn tagged_queue(&self) -> Option<&str> {
        self.tags.get(tags::ENVIRONMENT)?;
        self.tags.get(tags::QUEUE).map(String::as_str)
    }
}

/// What EC2 showed of an environment's surroundings, in one look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Endpoints, in whatever state: all of the VPCs that matter, unless it
    /// [is partial](Self::is_partial).
    pub endpoints: Vec<Endpoint>,
    /// Whether endpoints of the environment's neighbours are missing, whose queues SQS endpoints must
    /// admit too.
    pub is_partial: bool,
    /// The groups that were made for the environment.
    pub groups: Vec<OwnGroup>,
}

impl Seen {
    /// The endpoints that were made for `environment` and are not deleted, dead ones among them.
    pub fn own_endpoints(&self, environment: &Environment) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.iter().filter(|e| !e.is_going() && tags::is_of(&e.tags, environment))
    }

    /// Whether anything of ours was made for `environment`.
    pub fn owns_anything(&self, environment: &Environment) -> bool {
        self.own_endpoints(environment).next().is_some() || !self.groups.is_empty()
    }

    /// Whether all that is ours of `environment` was left behind when it went.
    pub fn is_left_behind(&self, environment: &Environment) -> bool {
        let endpoints = self.own_endpoints(environment).map(|endpoint| &endpoint.tags);
        let mut all = endpoints.chain(self.groups.iter().map(|group| &group.tags)).peekable();
        all.peek().is_some() && all.all(tags::is_left_behind)
    }

    /// The time of the newest event that was applied to what is ours of `environment`.
    pub fn remembered_time(&self, environment: &Environment) -> Option<DateTime<Utc>> {
        let endpoints = self.own_endpoints(environment).map(|endpoint| &endpoint.tags);
        let groups = self.groups.iter().map(|group| &group.tags);
        endpoints.chain(groups).filter_map(tags::event_time).max()
    }

    /// The alive SQS endpoints of the VPCs with these ids.
    pub fn sqs_endpoints(
        &self,
        vpcs: &BTreeSet<String>,
        region: &Region,
    ) -> impl Iterator<Item = &Endpoint> {
        self.endpoints
            .iter()
            .filter(|endpoint| vpcs.contains(&endpoint.vpc) && endpoint.serves_sqs(region))
    }
}

/// The queues in the tags of those of `endpoints` that are ours, and the tags that hold no queue of
/// the Region.
pub fn tagged_queues<'a>(
    endpoints: impl IntoIterator<Item = &'a Endpoint>,
    region: &Region,
) -> (BTreeSet<QueueArn>, BTreeSet<String>) {
    let mut queues = BTreeSet::new();
    let mut unreadable = BTreeSet::new();
    for endpoint in endpoints {
        let Some(text) = endpoint.tagged_queue() else { continue };
        match QueueArn::parse_in(text, region) {
            Ok(queue) => {
                queues.insert(queue);
            }
            Err(_) => {
                unreadable.insert(format!("{}: {text}", endpoint.id));
            }
        }
    }
    (queues, unreadable)
}

impl Vpc {
    /// Puts the VPC together from subnets of one environment, with no endpoints and groups yet.
    ///
    /// # Errors
    ///
    /// If one of `ids` is not among `subnets`, or if they are of several VPCs.
    pub fn of_subnets(ids: &[SubnetId], subnets: &[Subnet]) -> Result<Self, Failure> {
        let doing = "looking at the environment's subnets";
        let (known, unknown): (Vec<_>, Vec<_>) = ids
            .iter()
            .map(|id| subnets.iter().find(|subnet| subnet.id == *id).ok_or(id))
            .partition(Result::is_ok);
        if !unknown.is_empty() {
            let ids: Vec<&str> =
                unknown.into_iter().filter_map(Result::err).map(SubnetId::as_str).collect();
            return Err(Failure::new(
                doing,
                format!("EC2 does not know {}", ids.join(", ")),
                "check that the subnets still exist and that the function is deployed in the account and Region of the VPC's owner",
            ));
        }
        let subnets: Vec<Subnet> = known.into_iter().filter_map(Result::ok).cloned().collect();
        let first = &subnets[0];
        if subnets.iter().any(|subnet| subnet.vpc != first.vpc) {
            let places: Vec<String> =
                subnets.iter().map(|subnet| format!("{} in {}", subnet.id, subnet.vpc)).collect();
            return Err(Failure::new(
                doing,
                format!("they are in several VPCs: {}", places.join(", ")),
                "an environment's subnets must be in one VPC; check the event",
            ));
        }
        Ok(Self {
            id: first.vpc.clone(),
            owner: first.owner.clone(),
            subnets,
            endpoints: Vec::new(),
            is_partial: true,
            own_groups: Vec::new(),
        })
    }

    /// The VPC with what was seen of it.
    pub fn with(mut self, seen: &Seen) -> Self {
        let here = |vpc: &str| vpc == self.id.as_str();
        self.endpoints = seen.endpoints.iter().filter(|e| here(&e.vpc)).cloned().collect();
        self.is_partial = seen.is_partial;
        self.own_groups = seen.groups.iter().filter(|g| here(g.vpc.as_str())).cloned().collect();
        self
    }
}
