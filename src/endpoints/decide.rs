//! For each role, whether an endpoint is kept, completed or made.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::environment::{EndpointId, Environment, GroupId, Role, ServiceName, SubnetId, VpcId};
use crate::event::EnvironmentSpec;
use crate::gather::Gather;
use crate::report::{Change, Failure, Kind, Resource, Tense, Warning};
use crate::settings::{AddressType, GroupChoice, Settings};
use crate::tags::{self, Tags};
use crate::vpc::{Endpoint, Group, Observed, State, Subnet, Vpc, port};

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
        id: EndpointId,
        /// Its state.
        state: State,
        /// Whether it is ours.
        ours: bool,
    },
    /// It is ours and lacks something.
    Complete {
        /// The endpoint.
        id: EndpointId,
        /// The subnets that it lacks.
        subnets: BTreeSet<SubnetId>,
        /// The groups that it lacks.
        groups: Groups,
    },
    /// There is none that is alive.
    Create {
        /// Dead ones of ours that it replaces: they are deleted before.
        replaces: BTreeSet<EndpointId>,
        /// All dead ones to the same service.
        dead: BTreeSet<EndpointId>,
        /// What to ask for.
        request: EndpointRequest,
    },
    /// It cannot be done.
    Impossible(Failure),
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
    /// Its address type, as EC2 writes it.
    pub address_type: AddressType,
    /// The tags.
    pub tags: Tags,
    /// What makes another token if the token stands for something that EC2 does not list. Only of
    /// work that is old enough for EC2 to list what was made for it.
    pub salt: Option<String>,
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
    pub fn token(
        &self,
        groups: &[GroupId],
        dead: &BTreeSet<EndpointId>,
        salt: Option<&str>,
    ) -> String {
        let mut hash = Sha256::new();
        let mut add = |name: &str, value: &str| {
            // Lengths keep one value from running into the next.
            hash.update(format!("{name} {} {value}\n", value.len()));
        };
        add("vpc", self.vpc.as_str());
        add("service", self.service.as_str());
        self.subnets.iter().for_each(|subnet| add("subnet", subnet.as_str()));
        groups.iter().for_each(|group| add("group", group.as_str()));
        add("address type", self.address_type.as_str());
        let only_remembers = |key: &str| [tags::EVENT_TIME, tags::GROUPS].contains(&key);
        for (key, value) in self.tags.iter().filter(|(key, _)| !only_remembers(key)) {
            add("tag", key);
            add("value", value);
        }
        dead.iter().for_each(|id| add("dead", id.as_str()));
        salt.iter().for_each(|salt| add("salt", salt));
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The subnets that endpoints should be in: the first of each Availability Zone, since an interface
/// endpoint takes one per zone only (`DuplicateSubnetsInSameZone`). The others are in the warning.
pub fn one_per_zone(vpc: &Vpc) -> (Vec<&Subnet>, Option<Warning>) {
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
    let warning = (!unused.is_empty()).then(|| Warning {
        message: format!(
            "an endpoint takes one subnet per Availability Zone, so these are not used: {}",
            unused.join(", ")
        ),
        remedy: None,
    });
    (used, warning)
}

/// The groups that the environment's endpoints should carry.
pub fn groups(spec: &EnvironmentSpec, vpc: &Vpc, settings: &Settings) -> Groups {
    match &settings.groups {
        GroupChoice::Listed(groups) => Groups::Listed(groups.clone()),
        GroupChoice::Auto if spec.environment.account != vpc.owner => Groups::Own,
        GroupChoice::Auto => Groups::Listed(spec.groups.clone()),
    }
}

/// The alive endpoint to `service` that counts: of several, one of ours; of several of ours, always
/// the same.
pub fn in_use<'a>(
    observed: &'a Observed,
    vpc: &'a VpcId,
    environment: &Environment,
    role: Role,
    service: &str,
) -> Option<&'a Endpoint> {
    observed
        .endpoints_in(vpc)
        .filter(|endpoint| endpoint.service == service && endpoint.state.is_alive())
        .min_by_key(|endpoint| (!endpoint.is_ours(environment, role), &endpoint.id))
}

/// What an environment's endpoints are decided from.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// What is said of the environment.
    pub spec: &'a EnvironmentSpec,
    /// Its VPC.
    pub vpc: &'a Vpc,
    /// What was seen there.
    pub observed: &'a Observed,
    /// The template's parameters.
    pub settings: &'a Settings,
    /// The group that is kept for it, if there is one already.
    pub own_group: Option<&'a Group>,
    /// Whether that group cannot be made.
    pub has_no_group: bool,
    /// Why a dead endpoint may not be replaced, if it may not.
    pub keeps_dead: Option<&'a str>,
    /// What makes another token for what EC2 does not list.
    pub salt: Option<&'a str>,
}

/// Decides what must happen for `role`. `common` are the tags of everything made for the
/// environment; what somebody should know is added to `warnings`.
pub fn decide(
    given: &Situation<'_>,
    (role, service): (Role, ServiceName),
    common: &Tags,
    warnings: &mut Vec<Warning>,
) -> EndpointStep {
    let alive =
        in_use(given.observed, &given.vpc.id, &given.spec.environment, role, service.as_str());
    let action = match alive {
        Some(endpoint) => complete(given, role, endpoint, warnings),
        None => create(given, role, &service, common),
    };
    EndpointStep { role, service, action }
}

fn complete(
    given: &Situation<'_>,
    role: Role,
    endpoint: &Endpoint,
    warnings: &mut Vec<Warning>,
) -> EndpointAction {
    let (subnets, _) = one_per_zone(given.vpc);
    let subnets = lacking_subnets(endpoint, given.vpc, &subnets);
    let lacks = match groups(given.spec, given.vpc, given.settings) {
        Groups::Listed(groups) => {
            Groups::Listed(groups.difference(&endpoint.groups).cloned().gather())
        }
        Groups::Own if given.own_group.is_some_and(|it| endpoint.groups.contains(&it.id)) => {
            Groups::Listed(BTreeSet::new())
        }
        Groups::Own => Groups::Own,
    };
    let fits = subnets.is_empty() && lacks == Groups::Listed(BTreeSet::new());
    let ours = endpoint.is_ours(&given.spec.environment, role);
    let id = endpoint.id.clone();
    if ours && !fits {
        if lacks == Groups::Own && given.has_no_group {
            return EndpointAction::Impossible(group_is_not_ready(role));
        }
        return EndpointAction::Complete { id, subnets, groups: lacks };
    }
    if !fits {
        warnings.push(misfit(role, endpoint, &subnets, &lacks));
    }
    EndpointAction::Keep { id, state: endpoint.state.clone(), ours }
}

fn create(
    given: &Situation<'_>,
    role: Role,
    service: &ServiceName,
    common: &Tags,
) -> EndpointAction {
    let environment = &given.spec.environment;
    let (subnets, _) = one_per_zone(given.vpc);
    let groups = groups(given.spec, given.vpc, given.settings);
    let to_service: Vec<&Endpoint> = given
        .observed
        .endpoints_in(&given.vpc.id)
        .filter(|endpoint| endpoint.service == service.as_str())
        .collect();
    let dead =
        |endpoint: &&&Endpoint| !endpoint.state.is_going() && endpoint.is_ours(environment, role);
    let replaces: BTreeSet<EndpointId> =
        to_service.iter().filter(dead).map(|endpoint| endpoint.id.clone()).gather();
    if let Some(why) = given.keeps_dead.filter(|_| !replaces.is_empty()) {
        return EndpointAction::Impossible(Failure::new(
            format!("the dead {role} endpoint was not replaced"),
            why,
            "the next delivery or sweep tries again",
        ));
    }
    match &groups {
        // EC2 would put the VPC's default group on the endpoint.
        Groups::Listed(groups) if groups.is_empty() => {
            return EndpointAction::Impossible(Failure::new(
                format!("the {role} endpoint was left out"),
                "neither the event nor any tag names the environment's security groups",
                "replay the environment (aws mwaa get-environment)",
            ));
        }
        Groups::Own if given.has_no_group => {
            return EndpointAction::Impossible(group_is_not_ready(role));
        }
        _ => {}
    }
    let mut tags = common.clone();
    tags.insert(tags::NAME.to_owned(), format!("{}-{role}", environment.name()));
    tags.insert(tags::ROLE.to_owned(), role.as_str().to_owned());
    EndpointAction::Create {
        replaces,
        dead: to_service.iter().map(|endpoint| endpoint.id.clone()).gather(),
        request: EndpointRequest {
            vpc: given.vpc.id.clone(),
            service: service.clone(),
            subnets: subnets.iter().map(|subnet| subnet.id.clone()).gather(),
            groups,
            address_type: address_type(given.settings.address_type, &subnets),
            tags,
            salt: given.salt.map(str::to_owned),
        },
    }
}

/// Why an endpoint cannot carry the group that is kept for the environment.
pub(super) fn group_is_not_ready(role: Role) -> Failure {
    Failure::new(
        format!("the {role} endpoint was left out"),
        "its security group is not ready",
        "see the security group's failure; the next delivery goes on from there",
    )
}

/// The subnets that `endpoint` must still be put in. A zone in which it has any of the environment's
/// subnets is served: it could not take a second one there.
fn lacking_subnets(endpoint: &Endpoint, vpc: &Vpc, subnets: &[&Subnet]) -> BTreeSet<SubnetId> {
    let served: BTreeSet<&str> = vpc
        .subnets
        .iter()
        .filter(|subnet| endpoint.subnets.contains(&subnet.id))
        .map(|subnet| subnet.zone.as_str())
        .gather();
    subnets
        .iter()
        .filter(|subnet| !served.contains(subnet.zone.as_str()))
        .map(|subnet| subnet.id.clone())
        .gather()
}

/// The warning for an endpoint that is not ours to change and does not fit.
fn misfit(
    role: Role,
    endpoint: &Endpoint,
    subnets: &BTreeSet<SubnetId>,
    groups: &Groups,
) -> Warning {
    let mut lacks = Vec::new();
    if !subnets.is_empty() {
        lacks.push(format!("is not in {}", joined(subnets)));
    }
    match groups {
        Groups::Listed(groups) if groups.is_empty() => {}
        Groups::Listed(groups) => lacks.push(format!("does not carry {}", joined(groups))),
        Groups::Own => lacks.push(
            "does not carry the group that this function keeps for the environment".to_owned(),
        ),
    }
    Warning::new(
        format!(
            "the {role} endpoint {} was not made by this function and is never changed by it, but {}: a known cause of CREATE_FAILED",
            endpoint.id,
            lacks.join(" and ")
        ),
        format!(
            "add what it lacks, or see that the groups it carries admit the environment's groups on TCP {}; or delete it, and the next delivery makes one that fits",
            port(role)
        ),
    )
}

fn address_type(choice: AddressType, subnets: &[&Subnet]) -> AddressType {
    match choice {
        AddressType::Auto if subnets.iter().all(|subnet| subnet.ipv6_only) => AddressType::Ipv6,
        AddressType::Auto => AddressType::Ipv4,
        chosen => chosen,
    }
}

fn joined<T: ToString>(ids: &BTreeSet<T>) -> String {
    ids.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

impl EndpointStep {
    /// What is told of it.
    pub fn line(&self, tense: Tense) -> Resource {
        let role = self.role;
        let (outcome, id, detail) = match &self.action {
            EndpointAction::Keep { id, state, ours } => {
                let whose =
                    if *ours { "made by this function" } else { "not made by this function" };
                (Change::Kept, Some(id), format!("{id} is {state}, {whose}"))
            }
            EndpointAction::Complete { id, subnets, groups } => {
                let mut what: Vec<String> = subnets.iter().map(SubnetId::to_string).collect();
                match groups {
                    Groups::Own => {
                        what.push("the group that is kept for the environment".to_owned());
                    }
                    Groups::Listed(groups) => what.extend(groups.iter().map(GroupId::to_string)),
                }
                let what = what.join(", ");
                let detail = match tense {
                    Tense::Would => format!("{id} lacks {what}"),
                    Tense::Did => format!("added {what} to {id}"),
                };
                (Change::Updated, Some(id), detail)
            }
            EndpointAction::Create { replaces, .. } => {
                let dead = if replaces.is_empty() {
                    String::new()
                } else {
                    format!(" ({} is dead)", joined(replaces))
                };
                (Change::Created, None, format!("the {role} endpoint is missing{dead}"))
            }
            EndpointAction::Impossible(failure) => {
                return self
                    .named(Resource::new(Kind::Endpoint, Change::Failed, ""))
                    .failed(failure.clone());
            }
        };
        let mut resource = self.named(Resource::new(Kind::Endpoint, outcome, detail));
        resource.id = id.map(EndpointId::to_string);
        resource
    }

    fn named(&self, mut resource: Resource) -> Resource {
        resource.role = Some(self.role.as_str());
        resource.service = Some(self.service.to_string());
        resource
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Region;

    #[test]
    fn a_token_is_of_what_is_asked_for_and_not_of_what_only_remembers() {
        let region = Region::parse("us-east-1").unwrap();
        let service = "com.amazonaws.vpce.us-east-1.vpce-svc-0aa";
        let request = EndpointRequest {
            vpc: VpcId::parse("vpc-1").unwrap(),
            service: ServiceName::parse_in(service, &region).unwrap(),
            subnets: [SubnetId::parse("subnet-1").unwrap()].into(),
            groups: Groups::Own,
            address_type: AddressType::Ipv4,
            tags: Tags::from([(tags::EVENT_TIME.to_owned(), "a".to_owned())]),
            salt: None,
        };
        let groups = [GroupId::parse("sg-1").unwrap()];
        let none = BTreeSet::new();
        let token = request.token(&groups, &none, None);
        assert_eq!(token.len(), 64);
        let with = |key: &str| {
            let mut request = request.clone();
            request.tags.insert(key.to_owned(), "b".to_owned());
            request.token(&groups, &none, None)
        };
        assert_eq!(with(tags::EVENT_TIME), token);
        assert_eq!(with(tags::GROUPS), token);
        assert_ne!(with(tags::QUEUE), token);
        assert_ne!(request.token(&[], &none, None), token);
        assert_ne!(request.token(&groups, &none, Some("salt")), token);
        let dead = BTreeSet::from([EndpointId::parse("vpce-1").unwrap()]);
        assert_ne!(request.token(&groups, &dead, None), token);
    }
}
