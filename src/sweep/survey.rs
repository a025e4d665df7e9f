//! What a sweep would find of each environment, for a person who wants to see all of them: those that
//! are right, too. Nothing is changed.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use serde::Serialize;

use super::look::{self, Landscape};
use super::{AT_ONCE, PATIENCE, waited};
use crate::endpoints::EndpointAction;
use crate::environment::{AccountId, Environment, QueueArn, Region, Role, VpcId};
use crate::event::{EnvironmentSpec, Status};
use crate::gather::{self, Gather};
use crate::plan::Plan;
use crate::plan::proof::MwaaSays;
use crate::reconcile::ask::{Voices, about_within};
use crate::reconcile::{self, Context, Decided};
use crate::report::{Certainty, Failure, Report};
use crate::sqs_policy::{PolicyAction, PolicyStep};
use crate::vpc::Endpoint;

/// What was found.
#[derive(Debug)]
pub struct Survey {
    /// The environments in VPCs that this account sees, or that something was made for, and those of
    /// which MWAA does not say where they are.
    pub environments: Vec<Surveyed>,
    /// Those of which MWAA says that they are in VPCs that this account does not see.
    pub elsewhere: Vec<Environment>,
    /// The accounts whose environments MWAA did not list, with the reason.
    pub not_listed: Vec<(AccountId, Failure)>,
}

/// What was found of an environment.
#[derive(Debug)]
pub struct Surveyed {
    /// The environment.
    pub environment: Environment,
    /// What MWAA says of it.
    pub says: MwaaSays,
    /// Its VPC, and the account that owns it, if this account sees its subnets.
    pub vpc: Option<(VpcId, AccountId)>,
    /// The endpoints that it needs, and those that were made for it.
    pub endpoints: Vec<EndpointState>,
    /// Each SQS endpoint of its VPC, and whether its queue is let through.
    pub queue: Vec<QueueAccess>,
    /// What a sweep would answer, or why it could not be looked.
    pub report: Result<Report, Failure>,
    /// The hours until MWAA gives up, while it waits.
    pub hours_left: Option<i64>,
    /// The hours that it has waited.
    pub hours_waited: Option<i64>,
}

/// The state of an endpoint of an environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointState {
    /// `database` or `webserver`.
    pub role: &'static str,
    /// Its id, if it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// EC2's word for its state; `missing` if there is none.
    pub state: String,
}

/// Whether an SQS endpoint lets an environment's queue through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueAccess {
    /// The SQS endpoint.
    pub endpoint: String,
    /// Whether the queue is let through.
    pub access: Access,
}

/// Whether a queue is let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Access {
    /// It is.
    Allowed,
    /// A statement may deny it: that depends on what is not known of a request.
    MaybeBlocked,
    /// A statement denies it.
    Blocked,
    /// Nothing allows it.
    NotAllowed,
}

/// Looks at the Region, and asks MWAA for the environments of `accounts`. With `only` one, nobody is
/// asked about others.
///
/// # Errors
///
/// If EC2 could not be looked at to begin with.
pub async fn survey(
    context: &Context<'_>,
    region: &Region,
    accounts: &BTreeSet<AccountId>,
    only: Option<&Environment>,
) -> Result<Survey, Failure> {
    let context = &Context { dry_run: true, ..*context };
    let landscape = look::landscape(context, region).await?;
    let voices = &Voices::new(context);
    let mut not_listed = Vec::new();
    let environments = if let Some(only) = only {
        gather::one(only.clone())
    } else {
        let mut all: BTreeSet<Environment> = landscape.environments().cloned().gather();
        for account in accounts {
            let Some(mwaa) = context.mwaa else { continue };
            match mwaa.names(account).await {
                Ok(names) => all.extend(names.iter().filter_map(|name| {
                    Environment::new(account.clone(), region.clone(), name).ok()
                })),
                Err(why) => not_listed.push((account.clone(), why.into_failure())),
            }
        }
        all
    };
    let found = stream::iter(environments)
        .map(|environment| surveyed(context, &landscape, voices, environment))
        .buffered(AT_ONCE)
        .collect::<Vec<Surveyed>>()
        .await;
    let (environments, others): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|it| only.is_some() || it.concerns(&landscape));
    let elsewhere = environments.iter().chain(&others).filter(|it| it.is_elsewhere());
    let elsewhere = elsewhere.map(|it| it.environment.clone()).collect();
    Ok(Survey { environments, elsewhere, not_listed })
}

impl Surveyed {
    /// Whether it is in a VPC that this account sees and leaves its endpoints to the customer, or
    /// something was made for it, or nobody says that it is not so.
    fn concerns(&self, landscape: &Landscape) -> bool {
        let is_here = self.vpc.is_some() && self.is_customer_managed();
        let is_told = matches!(self.says, MwaaSays::Says(_) | MwaaSays::NotFound);
        landscape.has_anything_of(&self.environment) || is_here || !is_told
    }

    /// Whether MWAA says that it leaves its endpoints to the customer, in a VPC that this account does
    /// not see.
    pub fn is_elsewhere(&self) -> bool {
        matches!(self.says, MwaaSays::Says(_)) && self.vpc.is_none() && self.is_customer_managed()
    }

    /// Whether nobody says that MWAA makes its endpoints.
    fn is_customer_managed(&self) -> bool {
        match &self.says {
            MwaaSays::Says(answer) => answer.customer_managed != Some(false),
            _ => true,
        }
    }
}

/// How long a person waits for what MWAA says of an environment: time for the client to try again. There
/// may be hundreds of them.
const A_PERSONS_PATIENCE: Duration = Duration::from_secs(15);

async fn surveyed(
    context: &Context<'_>,
    landscape: &Landscape,
    voices: &Voices<'_>,
    environment: Environment,
) -> Surveyed {
    let untold = EnvironmentSpec::from_tags(environment.clone());
    voices.hear(&environment, about_within(context, &environment, A_PERSONS_PATIENCE).await);
    let says = voices.about(context, &environment).await;
    let first = landscape.of(context, &environment, &says);
    let vpc = first.vpc().map(|vpc| (vpc.id.clone(), vpc.owner.clone()));
    let decided = reconcile::decide(context, &untold, &says, &first, voices).await;
    let own: Vec<&Endpoint> = first.observed.own_endpoints(&environment).collect();
    let (mut endpoints, mut queue) = (Vec::new(), Vec::new());
    let report = match decided {
        Err(failure) => Err(failure),
        Ok(Decided::Report(report)) => Ok(*report),
        Ok(Decided::Work(work)) => {
            endpoints = states(&work.plan, &first.observed.endpoints);
            queue = work.plan.policies().map(access).collect();
            Ok(reconcile::carry_out(context, &work, voices).await)
        }
    };
    for endpoint in own {
        let is_told = |it: &EndpointState| it.id.as_deref() == Some(endpoint.id.as_str());
        if let Some(role) = endpoint.role()
            && !endpoints.iter().any(is_told)
        {
            endpoints.push(state_of(role, endpoint));
        }
    }
    let waiting = match &says {
        MwaaSays::Says(answer) if answer.status == Status::Pending => waited(answer, context.now),
        _ => None,
    };
    Surveyed {
        environment,
        says,
        vpc,
        endpoints,
        queue,
        report,
        hours_waited: waiting.map(|waited| waited.num_hours()),
        hours_left: waiting.map(|waited| (PATIENCE - waited).num_hours().max(0)),
    }
}

fn state_of(role: Role, endpoint: &Endpoint) -> EndpointState {
    EndpointState {
        role: role.as_str(),
        id: Some(endpoint.id.to_string()),
        state: endpoint.state.to_string(),
    }
}

fn states(plan: &Plan, observed: &[Endpoint]) -> Vec<EndpointState> {
    let seen = |step: &crate::endpoints::EndpointStep| match &step.action {
        EndpointAction::Keep { id, .. } | EndpointAction::Complete { id, .. } => {
            observed.iter().find(|endpoint| endpoint.id == *id)
        }
        _ => None,
    };
    let state = |step| match seen(step) {
        Some(endpoint) => state_of(step.role, endpoint),
        None => EndpointState { role: step.role.as_str(), id: None, state: "missing".to_owned() },
    };
    plan.endpoints().map(state).collect()
}

fn access(step: &PolicyStep) -> QueueAccess {
    let lacks_own = |added: &BTreeSet<QueueArn>| step.own.keys().any(|own| added.contains(own));
    let is_allowed = match &step.action {
        PolicyAction::Keep => true,
        PolicyAction::Write(added) => !lacks_own(added),
        PolicyAction::RequesterManaged { admits } => *admits,
        PolicyAction::Impossible(_) => false,
    };
    let access = match step.blocks.iter().map(|block| block.certainty).max() {
        Some(Certainty::Surely) => Access::Blocked,
        _ if !is_allowed => Access::NotAllowed,
        Some(Certainty::Maybe) => Access::MaybeBlocked,
        None => Access::Allowed,
    };
    QueueAccess { endpoint: step.endpoint.to_string(), access }
}
