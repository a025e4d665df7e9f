//! What a sweep looks at: all that is ours, and the VPCs that matter.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream;

use super::AT_ONCE;
use crate::aws::Ec2;
use crate::environment::{Environment, Region, SubnetId, VpcId};
use crate::event::EnvironmentSpec;
use crate::plan::proof::MwaaSays;
use crate::reconcile::Context;
use crate::reconcile::look::subnets_of;
use crate::report::Failure;
use crate::vpc::{Endpoint, Group, Observed, Subnet};

/// The most values of a filter (EC2 API, `Filter`).
const FILTER_VALUES: usize = 200;

/// The first look: all that is ours. Only what it saw may be taken away.
pub(super) struct First {
    at: Instant,
    endpoints: Vec<Endpoint>,
    groups: Vec<(Environment, Group)>,
}

pub(super) async fn first(context: &Context<'_>) -> Result<First, Failure> {
    let ec2 = context.ec2;
    let (endpoints, groups) =
        tokio::join!(ec2.tagged_endpoints(None), ec2.own_groups(None, context.own));
    let mut endpoints = endpoints?;
    endpoints.retain(|endpoint| endpoint.made_for().is_some());
    let owned = |group: Group| {
        let own = context.own.unwrap_or(&group.owner);
        group.made_for(own).map(|environment| (environment, group.clone()))
    };
    let groups = groups?.into_iter().filter_map(owned).collect();
    Ok(First { at: Instant::now(), endpoints, groups })
}

impl First {
    /// The environments that something was made for and is not deleted.
    pub(super) fn environments(&self, region: &Region) -> BTreeSet<Environment> {
        let endpoints = self.endpoints.iter().filter(|endpoint| !endpoint.state.is_going());
        endpoints
            .filter_map(|endpoint| endpoint.made_for())
            .map(|(environment, _)| environment)
            .chain(self.groups.iter().map(|(environment, _)| environment.clone()))
            .filter(|environment| environment.region == *region)
            .collect()
    }

    /// What was made for one environment.
    fn of(&self, environment: &Environment) -> Observed {
        let is_its = |endpoint: &&Endpoint| endpoint.is_of(environment);
        Observed {
            at: self.at,
            endpoints: self.endpoints.iter().filter(is_its).cloned().collect(),
            is_whole: false,
            groups: self.groups_of(environment),
        }
    }

    fn groups_of(&self, environment: &Environment) -> Vec<Group> {
        let its = self.groups.iter().filter(|(whose, _)| whose == environment);
        its.map(|(_, group)| group.clone()).collect()
    }

    fn saw(&self, endpoint: &Endpoint) -> bool {
        self.endpoints.iter().any(|seen| seen.id == endpoint.id)
    }
}

/// The endpoints of a VPC, and when EC2 had told them.
pub(super) struct Seen {
    at: Instant,
    pub(super) endpoints: Vec<Endpoint>,
}

/// The VPCs that matter, and the subnets of environments in them.
pub(super) struct Landscape {
    pub(super) subnets: Vec<Subnet>,
    vpcs: BTreeMap<VpcId, Seen>,
}

/// Looks at all VPCs in which something of ours is, or should be.
pub(super) async fn around(
    context: &Context<'_>,
    first: &First,
    said: &BTreeMap<Environment, MwaaSays>,
) -> Result<Landscape, Failure> {
    let wanted: BTreeSet<SubnetId> = said
        .iter()
        .flat_map(|(environment, says)| match says {
            MwaaSays::Says(answer) => subnets_of(answer, &first.of(environment)),
            MwaaSays::NotFound => Vec::new(),
            MwaaSays::MayNotAsk(_) | MwaaSays::NoReply(_) => {
                let unknown = EnvironmentSpec::from_tags(environment.clone());
                subnets_of(&unknown, &first.of(environment))
            }
        })
        .collect();
    let wanted: Vec<SubnetId> = wanted.into_iter().collect();
    let mut subnets = Vec::new();
    for some in wanted.chunks(FILTER_VALUES) {
        subnets.extend(context.ec2.known_subnets(some).await?);
    }
    let ours = first.endpoints.iter().filter(|it| !it.state.is_going()).map(|it| it.vpc.clone());
    let vpcs: BTreeSet<VpcId> = ours
        .chain(first.groups.iter().map(|(_, group)| group.vpc.clone()))
        .chain(
            subnets
                .iter()
                .filter(|subnet| context.own.is_none_or(|own| *own == subnet.owner))
                .map(|subnet| subnet.vpc.clone()),
        )
        .filter(|vpc| context.settings.vpcs.is_empty() || context.settings.vpcs.contains(vpc))
        .collect();
    let mut landscape = Landscape { subnets, vpcs: BTreeMap::new() };
    landscape.look(context.ec2, vpcs.into_iter().collect()).await?;
    Ok(landscape)
}

impl Landscape {
    async fn look(&mut self, ec2: &Ec2, vpcs: Vec<VpcId>) -> Result<(), Failure> {
        let looks = stream::iter(vpcs)
            .map(|vpc| async move {
                let endpoints = ec2.endpoints(&vpc).await;
                (vpc, Instant::now(), endpoints)
            })
            .buffer_unordered(AT_ONCE)
            .collect::<Vec<_>>();
        for (vpc, at, endpoints) in looks.await {
            self.vpcs.insert(vpc, Seen { at, endpoints: endpoints? });
        }
        Ok(())
    }

    /// Looks again at a VPC in which something was changed; at all if it is not known which.
    pub(super) async fn look_again(
        &mut self,
        ec2: &Ec2,
        vpc: Option<&VpcId>,
    ) -> Result<(), Failure> {
        let vpcs = match vpc {
            Some(vpc) => vec![vpc.clone()],
            None => self.vpcs.keys().cloned().collect(),
        };
        self.look(ec2, vpcs).await
    }

    /// What was seen, of what is the environment's own only what the first look saw, too.
    pub(super) fn of(&self, environment: &Environment, first: &First) -> Observed {
        let endpoints = self.vpcs.values().flat_map(|seen| &seen.endpoints);
        Observed {
            at: self.vpcs.values().map(|seen| seen.at).min().unwrap_or_else(Instant::now),
            endpoints: endpoints
                .filter(|endpoint| !endpoint.is_of(environment) || first.saw(endpoint))
                .cloned()
                .collect(),
            is_whole: true,
            groups: first.groups_of(environment),
        }
    }

    /// The VPCs, by their ids.
    pub(super) fn vpcs(&self) -> impl Iterator<Item = (&VpcId, &Seen)> {
        self.vpcs.iter()
    }
}
