//! What a sweep looks at: all endpoints, subnets and groups of the Region, in a few calls.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::environment::{Environment, Region, ServiceName, SubnetId, VpcId};
use crate::event::EnvironmentSpec;
use crate::gather::Gather;
use crate::plan::proof::MwaaSays;
use crate::reconcile::Context;
use crate::reconcile::look::{First, Place, endpoints_in, locate, subnets_of};
use crate::report::Failure;
use crate::vpc::{Endpoint, Group, Kind, Observed, Subnet};

/// The Region as the sweep saw it first. What it did not show is not taken away.
pub(super) struct Landscape {
    at: Instant,
    /// The VPCs that have endpoints.
    vpcs: BTreeMap<VpcId, Seen>,
    subnets: BTreeMap<SubnetId, Subnet>,
    /// The environments of this Region that something was made for which is not deleted, and where.
    own: BTreeMap<Environment, BTreeSet<VpcId>>,
    groups: BTreeMap<Environment, Vec<Group>>,
}

/// The endpoints of a VPC.
#[derive(Default)]
pub(super) struct Seen {
    /// Those that an environment, or its queue, may have to do with.
    pub(super) endpoints: Vec<Endpoint>,
    /// How many count against the VPC's quota.
    pub(super) interfaces: usize,
}

pub(super) async fn landscape(
    context: &Context<'_>,
    region: &Region,
) -> Result<Landscape, Failure> {
    let ec2 = context.ec2;
    let (endpoints, subnets, groups) =
        tokio::join!(ec2.all_endpoints(), ec2.all_subnets(), ec2.own_groups(None, context.own));
    let mut seen = Landscape {
        at: Instant::now(),
        vpcs: BTreeMap::new(),
        subnets: subnets?.into_iter().map(|subnet| (subnet.id.clone(), subnet)).gather(),
        own: BTreeMap::new(),
        groups: BTreeMap::new(),
    };
    for endpoint in endpoints? {
        let vpc = seen.vpcs.entry(endpoint.vpc.clone()).or_default();
        let is_going = endpoint.state.is_going();
        vpc.interfaces += usize::from(endpoint.kind != Kind::Other && !is_going);
        if let Some((environment, _)) = endpoint.made_for()
            && environment.region == *region
            && !is_going
        {
            seen.own.entry(environment).or_default().insert(endpoint.vpc.clone());
        }
        let is_mwaas = ServiceName::parse_in(&endpoint.service, region).is_ok();
        if is_mwaas || endpoint.serves_sqs(region) {
            vpc.endpoints.push(endpoint);
        }
    }
    for group in groups? {
        let made_for = group.made_for(context.own.unwrap_or(&group.owner));
        let Some(environment) = made_for.filter(|it| it.region == *region) else { continue };
        seen.own.entry(environment.clone()).or_default().insert(group.vpc.clone());
        seen.groups.entry(environment).or_default().push(group);
    }
    Ok(seen)
}

impl Landscape {
    /// The environments that something was made for.
    pub(super) fn environments(&self) -> impl Iterator<Item = &Environment> {
        self.own.keys()
    }

    /// Whether anything was made for an environment.
    pub(super) fn has_anything_of(&self, environment: &Environment) -> bool {
        self.own.contains_key(environment)
    }

    /// The VPCs in which something was made for somebody.
    pub(super) fn own_vpcs(&self) -> impl Iterator<Item = &VpcId> {
        self.own.values().flatten()
    }

    /// A VPC's endpoints, if it has any.
    pub(super) fn vpc(&self, id: &VpcId) -> Option<&Seen> {
        self.vpcs.get(id)
    }

    /// What is to be known of an environment of which MWAA `says` this.
    pub(super) fn of(
        &self,
        context: &Context<'_>,
        environment: &Environment,
        says: &MwaaSays,
    ) -> First {
        let mut vpcs = self.own.get(environment).cloned().unwrap_or_default();
        let mut observed = self.observed(environment, &vpcs);
        let untold = EnvironmentSpec::from_tags(environment.clone());
        let spec = match says {
            MwaaSays::Says(answer) => answer,
            _ => &untold,
        };
        let subnets = subnets_of(spec, &observed);
        let known: Vec<Subnet> =
            subnets.iter().filter_map(|id| self.subnets.get(id)).cloned().collect();
        let place = if known.is_empty() {
            // Its own event says so if that is a mistake.
            Ok(Place::Elsewhere("EC2 knows none of its subnets here".to_owned()))
        } else {
            locate(context.own, spec, &subnets, &known)
        };
        if let Ok(Place::Here(vpc)) = &place
            && vpcs.insert(vpc.id.clone())
        {
            observed = self.observed(environment, &vpcs);
        }
        First::of_sweep(observed, subnets, place)
    }

    fn observed(&self, environment: &Environment, vpcs: &BTreeSet<VpcId>) -> Observed {
        let seen = vpcs.iter().filter_map(|vpc| self.vpcs.get(vpc));
        Observed {
            at: self.at,
            endpoints: seen.flat_map(|vpc| vpc.endpoints.iter().cloned()).collect(),
            is_whole: true,
            groups: self.groups.get(environment).cloned().unwrap_or_default(),
        }
    }

    /// The same as it is in these VPCs now, before anything is written.
    pub(super) async fn again(
        &self,
        context: &Context<'_>,
        environment: &Environment,
        vpcs: &BTreeSet<VpcId>,
        mut first: First,
    ) -> Result<First, Failure> {
        let ec2 = context.ec2;
        let (endpoints, groups) =
            tokio::join!(endpoints_in(ec2, vpcs), ec2.own_groups(Some(environment), context.own));
        let (at, endpoints) = endpoints?;
        let observed = Observed { at, endpoints, is_whole: true, groups: groups? };
        first.unseen = Some(self.unseen(environment, &observed));
        first.observed = observed;
        Ok(first)
    }

    /// What was made for an environment, or was used again, since this was seen.
    fn unseen(&self, environment: &Environment, now: &Observed) -> BTreeSet<String> {
        let is_seen = |endpoint: &Endpoint| {
            let vpc = self.vpcs.get(&endpoint.vpc);
            vpc.is_some_and(|vpc| vpc.endpoints.iter().any(|seen| seen.id == endpoint.id))
        };
        let endpoints = now.own_endpoints(environment).filter(|endpoint| !is_seen(endpoint));
        let seen = self.groups.get(environment).map_or(&[][..], Vec::as_slice);
        let groups = now
            .groups
            .iter()
            .filter(|group| !seen.iter().any(|it| (&it.id, &it.tags) == (&group.id, &group.tags)));
        let groups = groups.map(|group| group.id.to_string());
        endpoints.map(|endpoint| endpoint.id.to_string()).chain(groups).gather()
    }
}
