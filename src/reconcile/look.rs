//! Looking at EC2 for one environment: where it is, what is there, and what is ours.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::{Context, nothing};
use crate::aws::Ec2;
use crate::environment::{AccountId, GroupId, SubnetId, VpcId};
use crate::event::{EnvironmentSpec, Status};
use crate::gather::Gather;
use crate::report::{Failure, Outcome, Report};
use crate::settings::{GroupChoice, Settings};
use crate::vpc::{Endpoint, Group, Observed, Subnet, Vpc};

/// Where an environment is.
#[derive(Clone, Debug)]
pub enum Place {
    /// In a VPC.
    Here(Vpc),
    /// Nobody said where, or in a VPC that this account does not see.
    Elsewhere(String),
}

/// The first look, for which nothing but the hint need be known.
#[derive(Debug)]
pub struct First {
    /// What was seen: what was made for the environment, and of a waiting one what its work rests on.
    /// A sweep has seen all of the VPCs that matter.
    pub observed: Observed,
    /// The subnets that were looked at, and where they are.
    place: Option<(Vec<SubnetId>, Result<Place, Failure>)>,
    /// The services whose endpoints were looked at; none if only the environment's own were.
    services: Option<BTreeSet<String>>,
    /// Whether nothing may be taken away.
    pub only_adds: bool,
    /// In a sweep: what its look at the Region did not show of the environment's own, so that it may
    /// have been made for another of this name. It is not taken away.
    pub unseen: Option<BTreeSet<String>>,
}

impl First {
    /// What a sweep has seen of all VPCs that matter to an environment that is at these subnets.
    pub fn of_sweep(
        observed: Observed,
        subnets: Vec<SubnetId>,
        place: Result<Place, Failure>,
    ) -> Self {
        let (place, unseen) = (Some((subnets, place)), Some(BTreeSet::new()));
        Self { observed, place, services: None, only_adds: false, unseen }
    }

    /// Whether something was made for the environment since a sweep looked at the Region.
    pub fn has_unseen(&self) -> bool {
        self.unseen.as_ref().is_some_and(|unseen| !unseen.is_empty())
    }

    /// Takes out of what is looked at what a sweep may not take away: what was not seen, and groups
    /// that an endpoint still carries which was not seen or is being deleted. Those cannot go yet, and
    /// the next sweep finds them.
    pub fn spare(&self, observed: &mut Observed) {
        let Some(unseen) = &self.unseen else { return };
        let is_unseen = |endpoint: &Endpoint| unseen.contains(endpoint.id.as_str());
        let carries: BTreeSet<&GroupId> = observed
            .endpoints
            .iter()
            .filter(|endpoint| is_unseen(endpoint) || endpoint.state.is_deleting())
            .flat_map(|endpoint| &endpoint.groups)
            .gather();
        let stays =
            |group: &Group| unseen.contains(group.id.as_str()) || carries.contains(&group.id);
        observed.groups.retain(|group| !stays(group));
        observed.endpoints.retain(|endpoint| !is_unseen(endpoint));
    }

    /// Where the environment is: as this look showed, if it was at these subnets.
    pub async fn place_of(
        &self,
        context: &Context<'_>,
        spec: &EnvironmentSpec,
    ) -> Result<Place, Failure> {
        match self.seen_place(spec) {
            Some(place) => place,
            None => place(context, spec, &subnets_of(spec, &self.observed)).await,
        }
    }

    /// The VPC of the subnets that were looked at, if it is one that this account sees.
    pub fn vpc(&self) -> Option<&Vpc> {
        match self.place.as_ref()? {
            (_, Ok(Place::Here(vpc))) => Some(vpc),
            _ => None,
        }
    }

    fn seen_place(&self, spec: &EnvironmentSpec) -> Option<Result<Place, Failure>> {
        let (subnets, place) = self.place.as_ref()?;
        let wanted = subnets_of(spec, &self.observed);
        // MWAA may name them in another order than the event.
        let same = |one: &[SubnetId], other: &[SubnetId]| one.iter().all(|id| other.contains(id));
        let is_same = same(subnets, &wanted) && same(&wanted, subnets);
        (is_same && !subnets.is_empty()).then(|| place.clone())
    }
}

/// Looks at all that can be looked at while the VPC is not known: the named subnets, what is tagged as
/// the environment's, and of a waiting one the endpoints to its services and to SQS, in whatever VPC.
/// An endpoint of its own that EC2 does not find by its tag yet is found by its service.
pub async fn first(context: &Context<'_>, hint: &EnvironmentSpec) -> Result<First, Failure> {
    let Context { ec2, settings, own, .. } = *context;
    let environment = &hint.environment;
    let is_waiting = hint.status == Status::Pending;
    let services = is_waiting.then(|| {
        let named = hint.named.values().map(ToString::to_string);
        named.chain(environment.region.sqs_services()).gather::<BTreeSet<String>>()
    });
    let by_service = async {
        let endpoints = match &services {
            Some(services) => ec2.endpoints_to_any(services.iter().cloned().collect()).await,
            None => Ok(Vec::new()),
        };
        (Instant::now(), endpoints)
    };
    let place = async {
        if hint.subnets.is_empty() {
            return None;
        }
        Some((hint.subnets.clone(), place(context, hint, &hint.subnets).await))
    };
    // A waiting environment of the owner's own account has no group; one that is past it may.
    let has_groups =
        !is_waiting || settings.groups == GroupChoice::Auto && own != Some(&environment.account);
    let groups = async {
        if has_groups { ec2.own_groups(Some(environment), own).await } else { Ok(Vec::new()) }
    };
    let (place, tagged, (at, by_service), groups) =
        tokio::join!(place, ec2.tagged_endpoints(Some(environment)), by_service, groups);
    let mut endpoints = by_service?;
    merge(&mut endpoints, tagged?);
    // Policies are only looked at among the endpoints to SQS.
    let observed = Observed { at, endpoints, is_whole: false, groups: groups? };
    Ok(First { observed, place, services, only_adds: false, unseen: None })
}

fn merge(endpoints: &mut Vec<Endpoint>, more: Vec<Endpoint>) {
    for endpoint in more {
        if !endpoints.iter().any(|seen| seen.id == endpoint.id) {
            endpoints.push(endpoint);
        }
    }
}

/// How old the first look may be when work begins that rests on it.
const FRESH: Duration = Duration::from_millis(500);

/// What the work for an environment in `vpc` rests on: of a waiting one the first look, if it is fresh
/// and saw all that is needed. Otherwise the whole VPC is looked at, its neighbours too.
pub async fn around(
    context: &Context<'_>,
    spec: &EnvironmentSpec,
    is_waiting: bool,
    vpc: &Vpc,
    first: &First,
) -> Result<Observed, Failure> {
    let saw_all = first.services.as_ref().is_some_and(|seen| {
        spec.services().iter().all(|(_, service)| seen.contains(service.as_str()))
    });
    if is_waiting && saw_all && !context.dry_run && first.observed.at.elapsed() <= FRESH {
        let mut observed = first.observed.clone();
        if spec.environment.account == vpc.owner {
            observed.groups.clear();
        }
        observed.groups.retain(|group| group.owner == vpc.owner);
        return Ok(observed);
    }
    let mut observed = whole(context, spec, Some(&vpc.id), first).await?;
    observed.groups.retain(|group| group.owner == vpc.owner);
    Ok(observed)
}

/// All endpoints of the VPCs in which something was made for the environment, and of `vpc`.
pub async fn whole(
    context: &Context<'_>,
    spec: &EnvironmentSpec,
    vpc: Option<&VpcId>,
    first: &First,
) -> Result<Observed, Failure> {
    if first.observed.is_whole {
        return Ok(first.observed.clone());
    }
    let mut vpcs = first.observed.own_vpcs(&spec.environment);
    vpcs.extend(vpc.cloned());
    let (at, endpoints) = endpoints_in(context.ec2, &vpcs).await?;
    Ok(Observed { at, endpoints, is_whole: true, groups: first.observed.groups.clone() })
}

/// All endpoints of some VPCs, and when EC2 had told of the first.
pub async fn endpoints_in(
    ec2: &Ec2,
    vpcs: &BTreeSet<VpcId>,
) -> Result<(Instant, Vec<Endpoint>), Failure> {
    let looks = vpcs.iter().map(|vpc| async {
        let endpoints = ec2.endpoints(vpc).await;
        (Instant::now(), endpoints)
    });
    let mut endpoints = Vec::new();
    let mut at: Option<Instant> = None;
    for (answered, of_vpc) in join_all(looks).await {
        endpoints.extend(of_vpc?);
        at = Some(at.map_or(answered, |at| at.min(answered)));
    }
    Ok((at.unwrap_or_else(Instant::now), endpoints))
}

/// Why the settings do not let an environment be served, if they do not.
pub fn refusal(settings: &Settings, own: &AccountId, spec: &EnvironmentSpec) -> Option<String> {
    let account = &spec.environment.account;
    let refused = account != own
        && !settings.participants.is_empty()
        && !settings.participants.contains(account);
    refused
        .then(|| format!("account {account} is not among the participant accounts that are served"))
}

/// The subnets that are named; otherwise those of an endpoint of ours.
pub fn subnets_of(spec: &EnvironmentSpec, observed: &Observed) -> Vec<SubnetId> {
    if !spec.subnets.is_empty() {
        return spec.subnets.clone();
    }
    let mut alive = observed.own_endpoints(&spec.environment).filter(|it| it.state.is_alive());
    alive.next().map_or_else(Vec::new, |endpoint| endpoint.subnets.iter().cloned().collect())
}

/// Asks EC2 for the VPC of an environment's subnets.
pub async fn place(
    context: &Context<'_>,
    spec: &EnvironmentSpec,
    subnets: &[SubnetId],
) -> Result<Place, Failure> {
    if subnets.is_empty() {
        let reason = "neither the event nor anything of ours says where it is";
        return Ok(Place::Elsewhere(reason.to_owned()));
    }
    let known = known(context.ec2, subnets).await?;
    locate(context.own, spec, subnets, &known)
}

async fn known(ec2: &Ec2, subnets: &[SubnetId]) -> Result<Vec<Subnet>, Failure> {
    match ec2.subnets(subnets).await {
        // EC2 refuses the whole call if it does not know one of the ids: ask for those it knows.
        Err(failure) if failure.is_unknown_subnet() => ec2.known_subnets(subnets).await,
        answer => answer,
    }
}

/// Where an environment with these subnets is, of which EC2 knows those in `known`.
///
/// # Errors
///
/// If the subnets are not all known, or of several VPCs.
pub fn locate(
    own: Option<&AccountId>,
    spec: &EnvironmentSpec,
    subnets: &[SubnetId],
    known: &[Subnet],
) -> Result<Place, Failure> {
    let account = &spec.environment.account;
    let participant = own.is_some_and(|own| own != account);
    let none_known = !subnets.iter().any(|id| known.iter().any(|subnet| subnet.id == *id));
    if none_known && participant {
        return Ok(Place::Elsewhere(format!(
            "EC2 does not know the subnets of this environment of account {account} here: it is in a VPC that is not this account's"
        )));
    }
    Vpc::of_subnets(subnets, known).map(Place::Here)
}

/// Whether an environment is served.
#[derive(Debug)]
pub enum Admitted {
    /// It is, in this VPC.
    To(Vpc),
    /// It is not; the report says why.
    Not(Box<Report>),
}

/// Whether the VPC is this account's and the settings admit the environment.
///
/// # Errors
///
/// If the VPC belongs to another account.
pub fn admitted(
    context: &Context<'_>,
    spec: &EnvironmentSpec,
    place: Place,
) -> Result<Admitted, Failure> {
    let refused =
        |outcome, reason: String| Ok(Admitted::Not(Box::new(nothing(spec, outcome, reason))));
    let vpc = match place {
        Place::Here(vpc) => vpc,
        Place::Elsewhere(reason) => return refused(Outcome::Ignored, reason),
    };
    if context.own.is_some_and(|own| *own != vpc.owner) {
        return Err(Failure::new(
            format!("looking at the environment's subnets in {}", vpc.id),
            format!("they belong to account {}, and this function runs in another", vpc.owner),
            format!(
                "deploy the function in the VPC owner's account, {}: only the owner can make endpoints that MWAA accepts",
                vpc.owner
            ),
        ));
    }
    if let Some(reason) = refusal(context.settings, &vpc.owner, spec) {
        return refused(Outcome::Refused, reason);
    }
    if !context.settings.vpcs.is_empty() && !context.settings.vpcs.contains(&vpc.id) {
        let reason = format!("{} is not among the VPCs that are served", vpc.id);
        return refused(Outcome::Refused, reason);
    }
    Ok(Admitted::To(vpc))
}
