//! What EC2 shows of a VPC: the part of it that decisions rest on.

mod endpoint;
mod entrance;
mod group;
pub mod network;
mod rule;

use std::collections::BTreeSet;
use std::time::Instant;

use chrono::{DateTime, Utc};

pub use endpoint::{Endpoint, Kind, State};
pub use entrance::{Address, Entrance, LetIn};
pub use group::Group;
pub use rule::{Rule, Source, port};

use crate::environment::{AccountId, Environment, Region, SubnetId, VpcId};
use crate::gather::Gather;
use crate::report::Failure;
use crate::tags;

/// A VPC with its owner and the environment's subnets in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vpc {
    /// The VPC's id.
    pub id: VpcId,
    /// The account that owns it.
    pub owner: AccountId,
    /// The environment's subnets, in the event's order.
    pub subnets: Vec<Subnet>,
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

impl Vpc {
    /// Puts the VPC together from subnets of one environment.
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
        let Some(first) = subnets.first() else {
            return Err(Failure::new(doing, "none is named", "check the event"));
        };
        if subnets.iter().any(|subnet| subnet.vpc != first.vpc) {
            let places: Vec<String> =
                subnets.iter().map(|subnet| format!("{} in {}", subnet.id, subnet.vpc)).collect();
            return Err(Failure::new(
                doing,
                format!("they are in several VPCs: {}", places.join(", ")),
                "an environment's subnets must be in one VPC; check the event",
            ));
        }
        Ok(Self { id: first.vpc.clone(), owner: first.owner.clone(), subnets })
    }
}

/// What one look at EC2 showed of an environment's surroundings.
#[derive(Clone, Debug)]
pub struct Observed {
    /// When EC2 had answered.
    pub at: Instant,
    /// Endpoints, in whatever state and VPC.
    pub endpoints: Vec<Endpoint>,
    /// Whether these are all the endpoints of the VPCs that matter. If not, only those are here that
    /// the environment itself needs, and not its neighbours'.
    pub is_whole: bool,
    /// The groups that were made for the environment, in whatever VPC.
    pub groups: Vec<Group>,
}

impl Observed {
    /// The endpoints that were made for `environment` and are not deleted, dead ones among them.
    pub fn own_endpoints(&self, environment: &Environment) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.iter().filter(|e| !e.state.is_going() && e.is_of(environment))
    }

    /// The endpoints of a VPC, in whatever state.
    pub fn endpoints_in<'a>(&'a self, vpc: &'a VpcId) -> impl Iterator<Item = &'a Endpoint> {
        self.endpoints.iter().filter(move |endpoint| endpoint.vpc == *vpc)
    }

    /// The environment's groups in a VPC; the one in use comes first.
    pub fn groups_in<'a>(&'a self, vpc: &'a VpcId) -> impl Iterator<Item = &'a Group> {
        self.groups.iter().filter(move |group| group.vpc == *vpc)
    }

    /// Whether anything was made for `environment`.
    pub fn owns_anything(&self, environment: &Environment) -> bool {
        self.own_endpoints(environment).next().is_some() || !self.groups.is_empty()
    }

    /// Whether all that was made for `environment` was left behind when it went.
    pub fn is_left_behind(&self, environment: &Environment) -> bool {
        let endpoints = self.own_endpoints(environment).map(|endpoint| &endpoint.tags);
        let mut all = endpoints.chain(self.groups.iter().map(|group| &group.tags)).peekable();
        all.peek().is_some() && all.all(tags::is_left_behind)
    }

    /// The time of the newest event that was applied to what was made for `environment`.
    pub fn remembered_time(&self, environment: &Environment) -> Option<DateTime<Utc>> {
        let endpoints = self.own_endpoints(environment).map(|endpoint| &endpoint.tags);
        let groups = self.groups.iter().map(|group| &group.tags);
        endpoints.chain(groups).filter_map(tags::event_time).max()
    }

    /// The alive SQS endpoints of some VPCs, whatever subnets they are in: with private DNS an
    /// endpoint serves its whole VPC.
    pub fn sqs_endpoints<'a>(
        &'a self,
        vpcs: &'a BTreeSet<VpcId>,
        region: &'a Region,
    ) -> impl Iterator<Item = &'a Endpoint> {
        let here = move |endpoint: &&Endpoint| vpcs.contains(&endpoint.vpc);
        self.endpoints.iter().filter(here).filter(move |endpoint| endpoint.serves_sqs(region))
    }

    /// The VPCs in which something was made for `environment`.
    pub fn own_vpcs(&self, environment: &Environment) -> BTreeSet<VpcId> {
        let endpoints = self.own_endpoints(environment).map(|endpoint| endpoint.vpc.clone());
        endpoints.chain(self.groups.iter().map(|group| group.vpc.clone())).gather()
    }
}
