//! An environment's endpoints: for each role, whether one is kept, completed or made.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::environment::{Environment, GroupId, Role, ServiceName, SubnetId, VpcId};
use crate::event::Wanted;
use crate::report::Note;
use crate::settings::{AddressType, GroupChoice, Settings};
use crate::tags::{self, Tags};
use crate::vpc::{Endpoint, Subnet, Vpc};

/// The security groups that an endpoint should carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Groups {
    /// These.
    Listed(BTreeSet<GroupId>),
    /// The one that the function keeps for the environment.
    Own,
}

/// What must happen for one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointStep {
    /// The role.
    pub role: Role,
    /// The service that the endpoint leads to.
    pub service: ServiceName,
    /// What must happen.
    pub action: EndpointAction,
}

/// What must happen to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointAction {
    /// Nothing.
    Keep {
        /// The endpoint.
        id: String,
        /// Its state.
        state: String,
        /// Whether it is ours.
        ours: bool,
    },
    /// It is ours and lacks something.
    Complete {
        /// The endpoint.
        id: String,
        /// The subnets that it lacks.
        subnets: BTreeSet<SubnetId>,
        /// The groups that it carries.
        carries: BTreeSet<String>,
        /// The groups that it should carry.
        groups: Groups,
    },
    /// There is none that is alive.
    Create {
        /// Dead ones of ours that must be deleted before.
        bury: BTreeSet<String>,
        /// All dead ones to the same service.
        dead: BTreeSet<String>,
        /// What to ask for.
        request: EndpointRequest,
    },
}

/// The parameters of a CreateVpcEndpoint, but for the groups of one that must be made first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointRequest {
    /// The VPC.
    pub vpc: VpcId,
    /// The service.
    pub service: ServiceName,
    /// The subnets, one per Availability Zone.
    pub subnets: BTreeSet<SubnetId>,
    /// The groups.
    pub groups: Groups,
    /// `ipv4`, `ipv6` or `dualstack`.
    pub address_type: &'static str,
    /// The tags.
    pub tags: Tags,
}

impl EndpointRequest {
    /// The request's `ClientToken`: 64 characters, a hash over the parameters and the dead endpoints
    /// to the service, so that a repeated request is known for one, and one after a failure is not.
    ///
    /// What only remembers is left out, the time of the event and the environment's groups: whether
    /// work arrives by an event, by its repetition or otherwise, the token must be the same. EC2 then
    /// answers a request that differs in them alone with `IdempotentParameterMismatch`, which proves
    /// that the endpoint has been asked for before (EC2 API, "Ensuring idempotency in Amazon EC2 API
    /// requests").
    pub fn token(&self, groups: &[GroupId], dead: &BTreeSet<String>, salt: Option<&str>) -> String {
        let mut hash = Sha256::new();
        let mut add = |name: &str, value: &str| {
            // Lengths keep one value from running into the next.
            hash.update(format!("{name} {} {value}\n", value.len()));
        };
        add("vpc", self.vpc.as_str());
        add("service", self.service.as_str());
        self.subnets.iter().for_each(|subnet| add("subnet", subnet.as_str()));
        groups.iter().for_each(|group| add("group", group.as_str()));
        add("address type", self.address_type);
        let only_remembers = |key: &str| [tags::EVENT_TIME, tags::GROUPS].contains(&key);
        for (key, value) in self.tags.iter().filter(|(key, _)| !only_remembers(key)) {
            add("tag", key);
            add("value", value);
        }
        dead.iter().for_each(|id| add("dead", id));
        salt.iter().for_each(|salt| add("salt", salt));
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The subnets that endpoints should be in: the first of each Availability Zone, since an interface
/// endpoint takes one per zone only (`DuplicateSubnetsInSameZone`). The others are in the warning.
pub fn one_per_zone(vpc: &Vpc) -> (Vec<&Subnet>, Option<Note>) {
    let mut used: Vec<&Subnet> = Vec::new();
    let mut unused: Vec<String> = Vec::new();
    for subnet in &vpc.subnets {
        match used.iter().find(|other| other.zone == subnet.zone) {
            Some(other) => {
                unused.push(format!("{} (in {}, as {} is)", subnet.id, subnet.zone, other.id));
            }
            None => used.push(subnet),
        }
    }
    let warning = (!unused.is_empty()).then(|| Note {
        message: format!(
            "an endpoint takes one subnet per Availability Zone, so these are not used: {}",
            unused.join(", ")
        ),
        remedy: None,
    });
    (used, warning)
}

/// The groups that the environment's endpoints should carry.
pub fn groups(wanted: &Wanted, vpc: &Vpc, settings: &Settings) -> Groups {
    match &settings.groups {
        GroupChoice::Listed(groups) => Groups::Listed(groups.clone()),
        GroupChoice::Auto if wanted.environment.account != vpc.owner => Groups::Own,
        GroupChoice::Auto => Groups::Listed(wanted.groups.iter().cloned().collect()),
    }
}

/// The alive endpoint to `service` that counts: of several, one of ours; of several of ours, always
/// the same.
pub fn in_use<'a>(
    vpc: &'a Vpc,
    environment: &Environment,
    role: Role,
    service: &str,
) -> Option<&'a Endpoint> {
    vpc.endpoints
        .iter()
        .filter(|endpoint| endpoint.service == service && endpoint.is_alive())
        .min_by_key(|endpoint| (!endpoint.is_ours(environment, role), &endpoint.id))
}

/// Decides what must happen for `role`. `common` are the tags of everything made for the
/// environment; what somebody should know is added to `warnings`.
pub fn decide(
    wanted: &Wanted,
    vpc: &Vpc,
    settings: &Settings,
    (role, service): (Role, &ServiceName),
    common: &Tags,
    warnings: &mut Vec<Note>,
) -> EndpointStep {
    let environment = &wanted.environment;
    let (subnets, _) = one_per_zone(vpc);
    let groups = groups(wanted, vpc, settings);
    let to_service: Vec<&Endpoint> =
        vpc.endpoints.iter().filter(|endpoint| endpoint.service == service.as_str()).collect();
    let alive = in_use(vpc, environment, role, service.as_str());

    let action = if let Some(endpoint) = alive {
        let lacking = lacking_subnets(endpoint, vpc, &subnets);
        let lacks_group = match &groups {
            Groups::Listed(groups) => {
                groups.iter().any(|group| !endpoint.groups.contains(group.as_str()))
            }
            Groups::Own => !vpc
                .own_groups
                .first()
                .is_some_and(|group| endpoint.groups.contains(group.id.as_str())),
        };
        let ours = endpoint.is_ours(environment, role);
        let fits = lacking.is_empty() && !lacks_group;
        if ours && !fits {
            EndpointAction::Complete {
                id: endpoint.id.clone(),
                subnets: lacking,
                carries: endpoint.groups.clone(),
                groups,
            }
        } else {
            if !fits {
                warnings.push(misfit(role, endpoint, &lacking, lacks_group, &groups));
            }
            let (id, state) = (endpoint.id.clone(), endpoint.state.clone());
            EndpointAction::Keep { id, state, ours }
        }
    } else {
        let dead =
            |endpoint: &&&Endpoint| !endpoint.is_going() && endpoint.is_ours(environment, role);
        let mut tags = common.clone();
        tags.insert(tags::NAME.to_owned(), format!("{}-{role}", environment.name()));
        tags.insert(tags::ROLE.to_owned(), role.as_str().to_owned());
        EndpointAction::Create {
            bury: to_service.iter().filter(dead).map(|endpoint| endpoint.id.clone()).collect(),
            dead: to_service.iter().map(|endpoint| endpoint.id.clone()).collect(),
            request: EndpointRequest {
                vpc: vpc.id.clone(),
                service: service.clone(),
                subnets: subnets.iter().map(|subnet| subnet.id.clone()).collect(),
                groups,
                address_type: address_type(settings.address_type, &subnets),
                tags,
            },
        }
    };
    EndpointStep { role, service: service.clone(), action }
}

/// The subnets that `endpoint` must still be put in. A zone in which it has any of the environment's
/// subnets is served: it could not take a second one there.
fn lacking_subnets(endpoint: &Endpoint, vpc: &Vpc, subnets: &[&Subnet]) -> BTreeSet<SubnetId> {
    let served: BTreeSet<&str> = vpc
        .subnets
        .iter()
        .filter(|subnet| endpoint.subnets.contains(subnet.id.as_str()))
        .map(|subnet| subnet.zone.as_str())
        .collect();
    subnets
        .iter()
        .filter(|subnet| !served.contains(subnet.zone.as_str()))
        .map(|subnet| subnet.id.clone())
        .collect()
}

/// The warning for an endpoint that is not ours to change and does not fit.
fn misfit(
    role: Role,
    endpoint: &Endpoint,
    lacking: &BTreeSet<SubnetId>,
    lacks_group: bool,
    groups: &Groups,
) -> Note {
    let mut lacks = Vec::new();
    if !lacking.is_empty() {
        let ids: Vec<&str> = lacking.iter().map(SubnetId::as_str).collect();
        lacks.push(format!("is not in {}", ids.join(", ")));
    }
    if lacks_group {
        lacks.push(match groups {
            Groups::Listed(groups) => {
                let ids: Vec<&str> = groups
                    .iter()
                    .filter(|group| !endpoint.groups.contains(group.as_str()))
                    .map(GroupId::as_str)
                    .collect();
                format!("does not carry {}", ids.join(", "))
            }
            Groups::Own => {
                "does not carry the group that this function keeps for the environment".to_owned()
            }
        });
    }
    Note::new(
        format!(
            "the {role} endpoint {} was not made by this function and is never changed by it, but {}: a known cause of CREATE_FAILED",
            endpoint.id,
            lacks.join(" and ")
        ),
        format!(
            "add what it lacks, or see that the groups it carries admit the environment's groups on TCP {}; or delete it, and the next delivery makes one that fits",
            crate::security_group::port(role)
        ),
    )
}

fn address_type(choice: AddressType, subnets: &[&Subnet]) -> &'static str {
    match choice {
        AddressType::Auto if subnets.iter().all(|subnet| subnet.ipv6_only) => "ipv6",
        AddressType::Auto | AddressType::Ipv4 => "ipv4",
        AddressType::Ipv6 => "ipv6",
        AddressType::Dualstack => "dualstack",
    }
}
