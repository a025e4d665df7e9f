//! Look, decide, act: the one way through which every piece of work on an environment goes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::future::join_all;

use crate::act::{self, Acted};
use crate::ec2::{self, Ec2};
use crate::endpoints::EndpointAction;
use crate::environment::{AccountId, Role, SubnetId, VpcId};
use crate::event::{self, Origin, Purpose, Wanted, Work};
use crate::mwaa::Asking;
use crate::plan::{self, Plan};
use crate::removal::{self, Removal};
use crate::report::{Done, Failure, Kind, Note, Outcome, Report};
use crate::settings::{GroupChoice, Settings};
use crate::vpc::{Endpoint, Seen, Subnet, Vpc};

/// What work on an environment needs beside the environment.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// EC2.
    pub ec2: &'a Ec2,
    /// The template's parameters.
    pub settings: &'a Settings,
    /// The account that the function runs in, if it is known.
    pub own: Option<&'a AccountId>,
    /// MWAA, if it can be asked at all.
    pub mwaa: Option<Asking<'a>>,
    /// Whether only the plan is asked for.
    pub dry_run: bool,
    /// When this work began, to the second: events tell no more.
    pub now: DateTime<Utc>,
}

/// Where an environment is.
pub enum Place {
    /// In a VPC that this account owns.
    Here(Vpc),
    /// Nobody said where, or in a VPC that this account does not see.
    Elsewhere(String),
}

/// Does what `wanted` asks for, and tells what was done.
///
/// # Errors
///
/// A [`Failure`] if it could not even be looked or decided. A failed action is in the report, so
/// that what else was done is told too.
pub async fn environment(context: &Context<'_>, wanted: &Wanted) -> Result<Report, Failure> {
    if let Some(reason) = context.own.and_then(|own| refusal(context.settings, own, wanted)) {
        return Ok(nothing(wanted, Outcome::Refused, reason));
    }
    if wanted.purpose == Purpose::Provide {
        provide(context, wanted).await
    } else {
        follow(context, wanted).await
    }
}

fn nothing(wanted: &Wanted, outcome: Outcome, reason: impl Into<String>) -> Report {
    Report::nothing(wanted.environment.arn(), wanted.status.clone(), outcome, reason)
}

/// Why the settings do not let an environment be served, if they do not.
fn refusal(settings: &Settings, own: &AccountId, wanted: &Wanted) -> Option<String> {
    let account = &wanted.environment.account;
    let refused = account != own
        && !settings.participants.is_empty()
        && !settings.participants.contains(account);
    refused
        .then(|| format!("account {account} is not among the participant accounts that are served"))
}

/// An environment that waits: its subnets are named, and most often nothing of ours is there yet.
///
/// All that its work rests on can be asked for at once, before its VPC is known: its own endpoints by
/// their tag, and others by the services that they lead to. Only what its neighbours need cannot, and
/// is looked at last, when the policy is read back.
async fn provide(context: &Context<'_>, wanted: &Wanted) -> Result<Report, Failure> {
    let Context { ec2, settings, own, .. } = *context;
    let environment = &wanted.environment;
    let near = async { (Instant::now(), near(ec2, wanted).await) };
    let may_keep_group = settings.groups == GroupChoice::Auto && own != Some(&environment.account);
    let groups = async {
        if may_keep_group { ec2.own_groups(Some(environment)).await } else { Ok(Vec::new()) }
    };
    let (place, fate, (seen_at, near), groups) =
        tokio::join!(place(context, wanted, &wanted.subnets), fate(context, wanted), near, groups);
    let vpc = match admitted(context, wanted, place?)? {
        Ok(vpc) => vpc,
        Err(report) => return Ok(*report),
    };
    let mut seen = Seen { endpoints: near?, is_partial: true, groups: groups? };
    if context.dry_run || seen_at.elapsed() > FRESH {
        // A dry run tells of neighbours too; and a policy that somebody may have changed while MWAA
        // took its time must not be written back.
        seen.endpoints.retain(|endpoint| endpoint.vpc != vpc.id.as_str());
        seen.endpoints.extend(ec2.endpoints(&vpc.id).await?);
        seen.is_partial = false;
    }
    if environment.account == vpc.owner {
        seen.groups.clear();
    }
    match fate {
        Fate::Gone => Ok(nothing(wanted, Outcome::Ignored, EVENT_IS_LATE)),
        // The event is of an environment that had this name before.
        Fate::MadeAgain(told) => Box::pin(self::environment(context, &told)).await,
        Fate::Unknown => serve(context, wanted, vpc, &seen, true).await,
        Fate::Silent => serve(context, wanted, vpc, &seen, false).await,
    }
}

/// How old a look may be when the work begins that rests on it.
const FRESH: Duration = Duration::from_millis(500);

/// The endpoints that the work on a waiting environment rests on, in whatever VPC: its own, those to
/// its services, and those to SQS. An endpoint of its own that EC2 does not find by its tag yet is
/// found by its service.
async fn near(ec2: &Ec2, wanted: &Wanted) -> Result<Vec<Endpoint>, Failure> {
    let environment = &wanted.environment;
    let services = wanted.named.values().map(ToString::to_string);
    let services = services.chain(environment.region.sqs_services()).collect();
    let (own, others) =
        tokio::join!(ec2.own_endpoints(Some(environment)), ec2.endpoints_to_any(services));
    let mut endpoints = others?;
    for endpoint in own? {
        if !endpoints.iter().any(|seen| seen.id == endpoint.id) {
            endpoints.push(endpoint);
        }
    }
    Ok(endpoints)
}

/// How long the work on an event waits for MWAA's answer.
const MWAA_PATIENCE: Duration = Duration::from_secs(3);

const EVENT_IS_LATE: &str =
    "MWAA says that there is no such environment any more: the event is late";

/// What became of the environment of an event.
enum Fate {
    /// MWAA says that there is none: the event is late.
    Gone,
    /// MWAA says that it has other services now.
    MadeAgain(Box<Wanted>),
    /// MWAA says nothing that the event does not, or may not be asked.
    Unknown,
    /// MWAA may be asked, and did not answer.
    Silent,
}

/// Asks MWAA what became of the environment of an event. An old event after a complete deletion
/// finds nothing to be compared with; where MWAA may not be asked, or does not answer, its work is
/// done, and undone by the sweep or by the absence of the service.
async fn fate(context: &Context<'_>, wanted: &Wanted) -> Fate {
    let Some(mwaa) = context.mwaa.filter(|_| wanted.origin != Origin::Mwaa && !context.dry_run)
    else {
        return Fate::Unknown;
    };
    let Ok(answer) =
        tokio::time::timeout(MWAA_PATIENCE, mwaa.environment(&wanted.environment)).await
    else {
        return Fate::Silent;
    };
    let answer = match answer {
        Ok(Some(answer)) => answer,
        Ok(None) => return Fate::Gone,
        Err(failure) if is_not_allowed(&failure) => return Fate::Unknown,
        Err(_) => return Fate::Silent,
    };
    match event::answer(answer) {
        Ok(Work::Environment(mut told))
            if told.named.contains_key(&Role::Database)
                && told.named.get(&Role::Database) != wanted.named.get(&Role::Database) =>
        {
            (told.origin, told.time) = (Origin::Mwaa, Some(context.now));
            Fate::MadeAgain(Box::new(told))
        }
        _ => Fate::Unknown,
    }
}

/// An environment that is past waiting: what is ours tells where it is if the event does not.
async fn follow(context: &Context<'_>, wanted: &Wanted) -> Result<Report, Failure> {
    let Context { ec2, .. } = context;
    let environment = &wanted.environment;
    let needs = matches!(wanted.purpose, Purpose::Extend | Purpose::Settle);
    let fate = async { if needs { fate(context, wanted).await } else { Fate::Unknown } };
    let names_subnets = !wanted.subnets.is_empty();
    let named_place = async {
        if names_subnets { Some(place(context, wanted, &wanted.subnets).await) } else { None }
    };
    let (own_endpoints, own_groups, fate, named_place) = tokio::join!(
        ec2.own_endpoints(Some(environment)),
        ec2.own_groups(Some(environment)),
        fate,
        named_place
    );
    let mut seen = Seen { endpoints: own_endpoints?, is_partial: true, groups: own_groups? };
    if wanted.customer_managed.is_none()
        && !seen.owns_anything(environment)
        && !matches!(wanted.purpose, Purpose::Remove | Purpose::Diagnose)
    {
        let reason =
            "it does not say that its endpoints are the customer's, and nothing here is its";
        return Ok(nothing(wanted, Outcome::Ignored, reason));
    }
    let is_sure = match fate {
        Fate::Gone => return Ok(nothing(wanted, Outcome::Ignored, EVENT_IS_LATE)),
        Fate::MadeAgain(told) => return Box::pin(self::environment(context, &told)).await,
        Fate::Unknown => true,
        Fate::Silent => false,
    };
    let place = match named_place {
        Some(place) => place,
        None => place(context, wanted, &subnets_of(wanted, &seen)).await,
    };
    let vpc = match place {
        // What AWS did not answer is asked again; the subnets of an environment that is gone may be
        // gone too.
        Err(failure) if failure.error.is_some() || wanted.purpose != Purpose::Remove => {
            return Err(failure);
        }
        Err(_) => None,
        Ok(place) => match admitted(context, wanted, place) {
            Ok(Ok(vpc)) => Some(vpc),
            _ if wanted.purpose == Purpose::Remove => None,
            Ok(Err(report)) => return Ok(*report),
            // That the function is in the wrong account was said when the environment waited.
            Err(failure) => return Ok(nothing(wanted, Outcome::Ignored, failure.to_string())),
        },
    };
    let vpcs: BTreeSet<VpcId> = seen
        .own_endpoints(environment)
        .filter_map(|endpoint| VpcId::parse(&endpoint.vpc).ok())
        .chain(seen.groups.iter().map(|group| group.vpc.clone()))
        .chain(vpc.iter().map(|vpc| vpc.id.clone()))
        .collect();
    // All endpoints of these VPCs, ours among them.
    seen.endpoints.clear();
    for endpoints in join_all(vpcs.iter().map(|vpc| ec2.endpoints(vpc))).await {
        seen.endpoints.extend(endpoints?);
    }
    seen.is_partial = false;
    match (wanted.purpose, vpc) {
        (Purpose::Remove, vpc) => {
            Ok(remove(context, wanted, vpc.as_ref().map(|vpc| &vpc.id), &seen).await)
        }
        (_, Some(vpc)) => serve(context, wanted, vpc, &seen, is_sure).await,
        (_, None) => {
            let reason = "neither the event nor anything of ours says where it is";
            Ok(nothing(wanted, Outcome::Ignored, reason))
        }
    }
}

/// The subnets that are named; otherwise those of an endpoint of ours.
pub fn subnets_of(wanted: &Wanted, seen: &Seen) -> Vec<SubnetId> {
    if !wanted.subnets.is_empty() {
        return wanted.subnets.clone();
    }
    let alive = seen.own_endpoints(&wanted.environment).find(|endpoint| endpoint.is_alive());
    alive.map_or_else(Vec::new, |endpoint| {
        endpoint.subnets.iter().filter_map(|subnet| SubnetId::parse(subnet).ok()).collect()
    })
}

/// Asks EC2 for the VPC of an environment's subnets.
async fn place(
    context: &Context<'_>,
    wanted: &Wanted,
    subnets: &[SubnetId],
) -> Result<Place, Failure> {
    let Context { ec2, own, .. } = context;
    if subnets.is_empty() {
        return Ok(Place::Elsewhere("no subnets are named".to_owned()));
    }
    let known = match ec2.subnets(subnets).await {
        // EC2 refuses the whole call if it does not know one of the ids: ask for those it knows.
        Err(failure) if ec2::is_unknown_subnet(&failure) => ec2.known_subnets(subnets).await?,
        answer => answer?,
    };
    locate(*own, wanted, subnets, &known)
}

/// Where an environment with these subnets is, of which EC2 knows those in `known`.
///
/// # Errors
///
/// If the subnets are not all known, or of several VPCs.
pub fn locate(
    own: Option<&AccountId>,
    wanted: &Wanted,
    subnets: &[SubnetId],
    known: &[Subnet],
) -> Result<Place, Failure> {
    let account = &wanted.environment.account;
    let participant = own.is_some_and(|own| own != account);
    let none_known = !subnets.iter().any(|id| known.iter().any(|subnet| subnet.id == *id));
    if none_known && participant {
        return Ok(Place::Elsewhere(format!(
            "EC2 does not know the subnets of this environment of account {account} here: it is in a VPC that is not this account's"
        )));
    }
    Vpc::of_subnets(subnets, known).map(Place::Here)
}

/// The VPC, if it is this account's and the settings admit it; otherwise the report that says why
/// nothing was done.
///
/// # Errors
///
/// If the VPC belongs to another account.
pub fn admitted(
    context: &Context<'_>,
    wanted: &Wanted,
    place: Place,
) -> Result<Result<Vpc, Box<Report>>, Failure> {
    let refused = |outcome, reason: String| Ok(Err(Box::new(nothing(wanted, outcome, reason))));
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
    if let Some(reason) = refusal(context.settings, &vpc.owner, wanted) {
        return refused(Outcome::Refused, reason);
    }
    if !context.settings.vpcs.is_empty() && !context.settings.vpcs.contains(&vpc.id) {
        return refused(
            Outcome::Refused,
            format!("{} is not among the VPCs that are served", vpc.id),
        );
    }
    Ok(Ok(vpc))
}

/// Sees to it that an environment in `vpc` has what it needs, and, once it is available, no more.
/// Unless it `is_sure` that the environment still exists, as far as that can be known, dead endpoints
/// are not replaced: they may be all that remembers it.
///
/// # Errors
///
/// None so far: what fails is in the report.
pub async fn serve(
    context: &Context<'_>,
    wanted: &Wanted,
    vpc: Vpc,
    seen: &Seen,
    is_sure: bool,
) -> Result<Report, Failure> {
    let environment = &wanted.environment;
    if let Some(time) = wanted.time.filter(|_| wanted.origin != Origin::Mwaa)
        && let Some(remembered) = seen.remembered_time(environment)
        && remembered > time
    {
        let reason =
            format!("an event of {remembered} was applied before, and this one is of {time}");
        return Ok(nothing(wanted, Outcome::Ignored, reason));
    }
    let vpc = vpc.with(seen);
    let mut recalled = wanted.clone().recalling(&vpc);
    let mut plan = plan::decide(&recalled, &vpc, context.settings);
    let (stale, doubt) = proven_stale(context, wanted, &vpc, seen).await;
    if wanted.origin == Origin::Mwaa && (plan.changes_anything() || stale.changes_anything()) {
        // What changes by an observation must not be changed back by an older event.
        let remembered = Wanted { origin: Origin::Event, ..recalled.clone() };
        plan = plan::decide(&remembered, &vpc, context.settings);
    }
    plan.warnings.extend(doubt);
    if !is_sure {
        recalled.left_out.extend(plan.leave_dead_endpoints());
    }
    let acted = if context.dry_run || wanted.purpose == Purpose::Diagnose {
        let mut acted = act::preview(&recalled, &vpc, &plan);
        acted.resources.extend(act::preview_removal(&stale));
        if wanted.purpose == Purpose::Diagnose {
            acted.warnings.extend(diagnosis(&acted, &plan));
        }
        acted
    } else {
        let mut acted = act::provide(context.ec2, context.settings, &recalled, &vpc, &plan).await;
        // Nothing is taken away from an environment that lacks something.
        if !stale.is_empty() && !acted.has_failed() {
            let removed = act::take_away(context.ec2, environment, &stale).await;
            acted.resources.extend(removed.resources);
            acted.warnings.extend(removed.warnings);
        }
        acted
    };
    Ok(report(context, wanted, Some(&vpc.id), acted))
}

/// What is wrong with the endpoints of an environment whose creation failed, as they stand.
fn diagnosis(acted: &Acted, plan: &Plan) -> Vec<Note> {
    let lacking = acted
        .resources
        .iter()
        .filter(|resource| resource.outcome != Done::Kept && resource.kind != Kind::Tags);
    let unavailable = plan.endpoints.iter().filter_map(|step| match &step.action {
        EndpointAction::Keep { id, state, .. } if state != "available" => {
            Some(format!("the {} endpoint {id} is {state}", step.role))
        }
        _ => None,
    });
    lacking
        .map(|resource| resource.detail.clone())
        .chain(unavailable)
        .map(|finding| Note {
            message: format!("a possible cause of CREATE_FAILED: {finding}"),
            remedy: Some("put it right before the environment is created again".to_owned()),
        })
        .collect()
}

/// What an environment that is `AVAILABLE` does not need any more.
///
/// An event may be late: what it names may have been true before something that no event told. So
/// where MWAA can be asked, it is, and its answer is the proof. Where it may not be asked, the event
/// is. An answer that does not come proves nothing.
async fn proven_stale(
    context: &Context<'_>,
    wanted: &Wanted,
    vpc: &Vpc,
    seen: &Seen,
) -> (Removal, Option<Note>) {
    if wanted.purpose != Purpose::Settle {
        return (Removal::default(), None);
    }
    let by_event = removal::stale(wanted, vpc, seen, context.settings);
    if by_event.is_empty() || context.dry_run {
        return (by_event, None);
    }
    if wanted.origin == Origin::Mwaa {
        // Something newer was applied since MWAA was asked.
        let is_outdated = seen.remembered_time(&wanted.environment) > wanted.time;
        return (if is_outdated { Removal::default() } else { by_event }, None);
    }
    let unproven = |why: String| {
        let message = format!("nothing is taken away: {why}");
        (Removal::default(), Some(Note { message, remedy: None }))
    };
    let may_be_proof = wanted.origin == Origin::Event;
    let Some(mwaa) = context.mwaa else {
        return if may_be_proof {
            (by_event, None)
        } else {
            unproven("a replayed answer may be old, and MWAA cannot be asked".to_owned())
        };
    };
    match mwaa.environment(&wanted.environment).await {
        Ok(Some(answer)) => match event::answer(answer) {
            Ok(Work::Environment(told)) if told.purpose == Purpose::Settle => {
                (removal::stale(&told, vpc, seen, context.settings), None)
            }
            _ => (Removal::default(), None),
        },
        Ok(None) => (Removal::default(), None),
        Err(failure) if may_be_proof && is_not_allowed(&failure) => (by_event, None),
        Err(failure) => unproven(failure.to_string()),
    }
}

/// Whether MWAA may not be asked at all, as opposed to not having answered.
fn is_not_allowed(failure: &Failure) -> bool {
    failure.error.is_none() || failure.code().is_some_and(|code| code.starts_with("AccessDenied"))
}

const NOTHING_LEFT: &str =
    "nothing is left that was made for it, or what there is was used again after this event";

/// Takes away what was made for an environment that is gone.
pub async fn remove(
    context: &Context<'_>,
    wanted: &Wanted,
    vpc: Option<&VpcId>,
    seen: &Seen,
) -> Report {
    let removal = removal::gone(wanted, vpc, seen, context.settings, context.now);
    if removal.is_empty() {
        return nothing(wanted, Outcome::Unchanged, NOTHING_LEFT);
    }
    let acted = if context.dry_run {
        Acted { resources: act::preview_removal(&removal), warnings: Vec::new() }
    } else {
        act::take_away(context.ec2, &wanted.environment, &removal).await
    };
    report(context, wanted, vpc, acted)
}

fn report(context: &Context<'_>, wanted: &Wanted, vpc: Option<&VpcId>, acted: Acted) -> Report {
    let looked_only = context.dry_run || wanted.purpose == Purpose::Diagnose;
    let any = |done: &[Done]| acted.resources.iter().any(|r| done.contains(&r.outcome));
    let outcome = if any(&[Done::Failed]) && !looked_only {
        Outcome::Failed
    } else if any(&[Done::Created, Done::Updated, Done::Deleted]) && !looked_only {
        Outcome::Changed
    } else {
        Outcome::Unchanged
    };
    Report {
        environment: wanted.environment.arn(),
        status: wanted.status.clone(),
        vpc: vpc.map(VpcId::to_string),
        outcome,
        dry_run: looked_only,
        reason: None,
        resources: acted.resources,
        warnings: acted.warnings,
    }
}
