//! A VPC endpoint as EC2 shows it, and whose it is.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, Utc};

use crate::environment::{
    EndpointId, Environment, GroupId, QueueArn, Region, Role, ServiceName, SubnetId, VpcId,
};
use crate::tags::{self, Tags};

/// An endpoint of a VPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// The VPC that it is in.
    pub vpc: VpcId,
    /// When it was made, if EC2 tells.
    pub created: Option<DateTime<Utc>>,
    /// The service that it leads to.
    pub service: String,
    /// Its state.
    pub state: State,
    /// Of what kind it is.
    pub kind: Kind,
    /// The subnets that it has an interface in.
    pub subnets: BTreeSet<SubnetId>,
    /// The security groups on its interfaces.
    pub groups: BTreeSet<GroupId>,
    /// Its tags, whoever wrote them.
    pub tags: Tags,
    /// Its policy; an absent one allows everything.
    pub policy: Option<String>,
    /// Whether an AWS service manages it.
    pub requester_managed: bool,
}

/// The kinds of endpoints, as far as they matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It has interfaces in subnets.
    Interface,
    /// It leads to Gateway Load Balancers, and counts against the quota of interface endpoints, too.
    LoadBalancer,
    /// Any other, of which each has a quota of its own: to resources and service networks, and those in
    /// route tables (VPC user guide, "Amazon VPC quotas").
    Other,
}

/// The state of an endpoint (EC2 API, `VpcEndpoint.State`). EC2's own spelling varies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It works.
    Available,
    /// It comes to be, or waits for the service's side.
    Coming(String),
    /// It is deleted, or about to be.
    Going(String),
    /// It leads nowhere: rejected, failed or expired.
    Dead(String),
}

impl State {
    /// Reads EC2's word for it. One that is not known may come to work.
    pub fn parse(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        match text.as_str() {
            "available" => Self::Available,
            "deleting" | "deleted" => Self::Going(text),
            "rejected" | "failed" | "expired" => Self::Dead(text),
            _ => Self::Coming(text),
        }
    }

    /// Whether it works or may come to work.
    pub fn is_alive(&self) -> bool {
        matches!(self, Self::Available | Self::Coming(_))
    }

    /// Whether it is deleted or about to be.
    pub fn is_going(&self) -> bool {
        matches!(self, Self::Going(_))
    }

    /// Whether it is being deleted, so that it still holds its groups.
    pub fn is_deleting(&self) -> bool {
        matches!(self, Self::Going(text) if text == "deleting")
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Available => f.write_str("available"),
            Self::Coming(text) | Self::Going(text) | Self::Dead(text) => f.write_str(text),
        }
    }
}

impl Endpoint {
    /// Whether queues of `region` are reached through it: an alive interface endpoint to SQS.
    pub fn serves_sqs(&self, region: &Region) -> bool {
        self.state.is_alive()
            && self.kind == Kind::Interface
            && region.is_sqs_service(&self.service)
    }

    /// The environment that it was made for, and in which role, if this function made it.
    ///
    /// Whoever may call CreateTags can write such tags. So they count only on what the function
    /// makes: an interface endpoint to a service that MWAA made for an environment, in the Region of
    /// both, with the environment *and* the role.
    pub fn made_for(&self) -> Option<(Environment, Role)> {
        let environment = Environment::parse(self.tags.get(tags::ENVIRONMENT)?).ok()?;
        let role = Role::parse(self.tags.get(tags::ROLE)?)?;
        let is_mwaas = ServiceName::parse_in(&self.service, &environment.region).is_ok();
        (self.kind == Kind::Interface && is_mwaas).then_some((environment, role))
    }

    /// Whether it was made for `environment`.
    pub fn is_of(&self, environment: &Environment) -> bool {
        self.made_for().is_some_and(|(whose, _)| whose == *environment)
    }

    /// The role that it was made for, if this function made it.
    pub fn role(&self) -> Option<Role> {
        self.made_for().map(|(_, role)| role)
    }

    /// Whether it was made for `environment` in this `role`.
    pub fn is_ours(&self, environment: &Environment, role: Role) -> bool {
        self.made_for().is_some_and(|made_for| made_for == (environment.clone(), role))
    }

    /// The queue of the environment that it was made for, as its tag remembers it.
    pub fn remembered_queue(&self) -> Option<QueueArn> {
        let (environment, _) = self.made_for()?;
        QueueArn::parse_in(self.tags.get(tags::QUEUE)?, &environment.region).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:airflow:us-east-1:210987654321:environment/analytics";
    const SERVICE: &str = "com.amazonaws.vpce.us-east-1.vpce-svc-0aa11bb22cc33dd44";

    fn endpoint(kind: Kind, service: &str, tags: &[(&str, &str)]) -> Endpoint {
        Endpoint {
            id: EndpointId::parse("vpce-1").unwrap(),
            vpc: VpcId::parse("vpc-1").unwrap(),
            created: None,
            service: service.to_owned(),
            state: State::Available,
            kind,
            subnets: BTreeSet::new(),
            groups: BTreeSet::new(),
            tags: tags.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
            policy: None,
            requester_managed: false,
        }
    }

    #[test]
    fn only_an_interface_endpoint_to_a_service_of_mwaas_with_both_tags_was_made_here() {
        let both = [(tags::ENVIRONMENT, ARN), (tags::ROLE, "database")];
        let made = endpoint(Kind::Interface, SERVICE, &both).made_for().unwrap();
        assert_eq!((made.0.arn().as_str(), made.1), (ARN, Role::Database));
        let elsewhere = SERVICE.replace("us-east-1", "us-west-2");
        for foreign in [
            endpoint(Kind::LoadBalancer, SERVICE, &both),
            endpoint(Kind::Other, SERVICE, &both),
            endpoint(Kind::Interface, "com.amazonaws.us-east-1.sqs", &both),
            endpoint(Kind::Interface, &elsewhere, &both),
            endpoint(Kind::Interface, SERVICE, &both[..1]),
            endpoint(Kind::Interface, SERVICE, &both[1..]),
            endpoint(Kind::Interface, SERVICE, &[both[0], (tags::ROLE, "security-group")]),
            endpoint(Kind::Interface, SERVICE, &[(tags::ENVIRONMENT, "analytics"), both[1]]),
        ] {
            assert_eq!(foreign.made_for(), None, "{foreign:?}");
        }
    }

    #[test]
    fn a_state_that_is_not_known_may_come_to_work() {
        for (text, alive, going) in [
            ("Available", true, false),
            ("pendingAcceptance", true, false),
            ("somethingNew", true, false),
            ("Deleting", false, true),
            ("rejected", false, false),
            ("Failed", false, false),
        ] {
            let state = State::parse(text);
            assert_eq!((state.is_alive(), state.is_going()), (alive, going), "{text}");
        }
    }
}
