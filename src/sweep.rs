//! The sweep: what events did not bring. It looks at EC2 first and asks MWAA second, so that what is
//! made in between is safe: only what that look saw is ever taken away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt;
use futures_util::stream;
use serde::Serialize;
use serde_json::Value;

use crate::environment::{AccountId, Environment, Region, SubnetId, VpcId};
use crate::event::{self, Origin, Purpose, Wanted, Work};
use crate::mwaa::Asking;
use crate::reconcile::{self, Context, Place};
use crate::report::{Done, Failure, Note, Outcome, Report};
use crate::security_group::OwnGroup;
use crate::settings::DEFAULT_ENDPOINT_QUOTA;
use crate::sqs_policy::MAX_POLICY_CHARACTERS;
use crate::vpc::{Endpoint, Seen};

/// How many calls are under way at once.
const AT_ONCE: usize = 4;
/// How long an endpoint may take to become available before it is reported.
const SLOW_ENDPOINT: TimeDelta = TimeDelta::minutes(30);
/// How long MWAA waits for endpoints (MWAA user guide, "Managing your own Amazon VPC endpoints").
const PATIENCE: TimeDelta = TimeDelta::hours(72);
/// The share of a quota from which on it is reported, in percent.
const NEARLY_FULL: usize = 80;
/// The most values of a filter (EC2 API, `Filter`).
const FILTER_VALUES: usize = 200;

/// What a sweep found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SweepReport {
    /// The environments for which something was done, or could not be, or should be known.
    pub environments: Vec<Report>,
    /// How many environments were looked at.
    pub looked_at: usize,
    /// The VPCs in which something of ours is, or should be.
    pub vpcs: Vec<VpcHealth>,
    /// What somebody should know.
    pub warnings: Vec<Note>,
    /// The participants' accounts that are not asked, since there is no role for it: nothing of theirs
    /// is taken away by a sweep.
    pub not_asked: BTreeSet<String>,
    /// The environments that could not be looked at, with the reason.
    pub failures: Vec<String>,
    /// The environment with which the next sweep goes on, if time ran out before the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped_before: Option<String>,
    /// Whether this is only what would be done.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// How much of a VPC's quotas is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VpcHealth {
    /// The VPC.
    pub vpc: String,
    /// Its endpoints that count against the quota.
    pub endpoints: usize,
    /// The quota.
    pub quota: usize,
    /// The characters of each SQS endpoint's policy, of 20,480.
    pub policy_characters: BTreeMap<String, usize>,
}

impl SweepReport {
    /// Whether anything failed, so that the invocation should fail too.
    pub fn has_failed(&self) -> bool {
        !self.failures.is_empty()
            || self.environments.iter().any(|report| report.outcome == Outcome::Failed)
    }
}

/// Where the last sweep stopped. It outlives an invocation as long as the process does; a new process
/// begins at the beginning.
#[derive(Debug, Default)]
pub struct Cursor(Mutex<Option<String>>);

impl Cursor {
    fn take(&self) -> Option<String> {
        self.0.lock().ok()?.take()
    }

    fn set(&self, environment: &str) {
        if let Ok(mut place) = self.0.lock() {
            *place = Some(environment.to_owned());
        }
    }
}

/// What is known of an environment.
enum Known {
    /// MWAA says this.
    Told(Box<Wanted>, Option<DateTime<Utc>>),
    /// MWAA says that it is in a state in which nothing is to be done.
    Busy,
    /// MWAA says that there is no such environment.
    Gone,
    /// MWAA cannot be asked, or did not answer: that proves nothing.
    Unknown,
}

/// Looks at everything that is ours and at every environment that can be seen, and puts right what is
/// not. Stops before `deadline`.
///
/// # Errors
///
/// If EC2 could not be looked at to begin with.
pub async fn sweep(
    context: &Context<'_>,
    region: &Region,
    cursor: &Cursor,
    deadline: Instant,
) -> Result<SweepReport, Failure> {
    let (ec2, now) = (context.ec2, context.now);
    let mut report = SweepReport { dry_run: context.dry_run, ..SweepReport::default() };
    if context.dry_run {
        let message = "a dry run does not ask MWAA, so this tells of drift alone, not of environments whose events were lost or that are gone";
        report.warnings.push(Note { message: message.to_owned(), remedy: None });
    }
    let (endpoints, groups) = tokio::join!(ec2.own_endpoints(None), ec2.own_groups(None));
    let (endpoints, groups) = (endpoints?, groups?);

    let tagged: BTreeSet<Environment> = endpoints
        .iter()
        .filter(|endpoint| !endpoint.is_going())
        .map(|endpoint| &endpoint.tags)
        .chain(groups.iter().map(|group| &group.tags))
        .filter_map(|tags| Environment::parse(tags.get(crate::tags::ENVIRONMENT)?).ok())
        .filter(|environment| environment.region == *region)
        .collect();
    let began = Instant::now();
    let answers_by = began + deadline.saturating_duration_since(began) / 2;
    let known = ask(context, region, &tagged, answers_by, &mut report).await;

    // Where each environment is: one call for all subnets.
    let seen_of = |environment: &Environment| own_of(environment, &endpoints, &groups);
    let subnets: BTreeMap<&Environment, Vec<SubnetId>> = known
        .iter()
        .map(|(environment, known)| {
            let subnets = match known {
                Known::Told(wanted, _) => reconcile::subnets_of(wanted, &seen_of(environment)),
                Known::Unknown => {
                    let wanted = Wanted::from_memory(environment.clone());
                    reconcile::subnets_of(&wanted, &seen_of(environment))
                }
                Known::Gone | Known::Busy => Vec::new(),
            };
            (environment, subnets)
        })
        .collect();
    let all: Vec<SubnetId> =
        subnets.values().flatten().cloned().collect::<BTreeSet<_>>().into_iter().collect();
    let mut known_subnets = Vec::new();
    for some in all.chunks(FILTER_VALUES) {
        known_subnets.extend(ec2.known_subnets(some).await?);
    }

    // All endpoints of the VPCs that matter.
    let ours = endpoints.iter().filter(|e| !e.is_going()).filter_map(|e| VpcId::parse(&e.vpc).ok());
    let vpcs: BTreeSet<VpcId> = ours
        .chain(groups.iter().map(|group| group.vpc.clone()))
        .chain(
            known_subnets
                .iter()
                .filter(|subnet| context.own.is_none_or(|own| *own == subnet.owner))
                .map(|subnet| subnet.vpc.clone()),
        )
        .filter(|vpc| context.settings.vpcs.is_empty() || context.settings.vpcs.contains(vpc))
        .collect();
    let mut landscape: BTreeMap<VpcId, Vec<Endpoint>> = BTreeMap::new();
    let looks = stream::iter(vpcs)
        .map(|vpc| async move { (ec2.endpoints(&vpc).await, vpc) })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>();
    for (endpoints, vpc) in looks.await {
        landscape.insert(vpc, endpoints?);
    }
    // Only what the first look saw may be taken away.
    let first: BTreeSet<&str> = endpoints.iter().map(|endpoint| endpoint.id.as_str()).collect();

    let start = if context.dry_run { None } else { cursor.take() };
    let order = known
        .iter()
        .skip_while(|(e, _)| start.as_ref().is_some_and(|start| e.arn() < *start))
        .chain(
            known.iter().take_while(|(e, _)| start.as_ref().is_some_and(|start| e.arn() < *start)),
        );
    for (environment, known) in order {
        // At least one, so that a slow sweep gets on.
        if report.looked_at > 0 && Instant::now() >= deadline {
            if !context.dry_run {
                cursor.set(&environment.arn());
            }
            report.stopped_before = Some(environment.arn());
            break;
        }
        report.looked_at += 1;
        let seen = Seen {
            endpoints: landscape
                .values()
                .flatten()
                .filter(|e| {
                    !crate::tags::is_of(&e.tags, environment) || first.contains(e.id.as_str())
                })
                .cloned()
                .collect(),
            is_partial: false,
            groups: seen_of(environment).groups,
        };
        let answer =
            one(context, environment, known, &subnets[environment], &known_subnets, &seen).await;
        match answer {
            Ok(None) => {}
            Ok(Some(mut done)) => {
                if let Known::Told(wanted, since) = known {
                    done.warnings.extend(waiting(wanted, *since, now));
                }
                let changed = matches!(done.outcome, Outcome::Changed | Outcome::Failed);
                let vpc = done.vpc.as_deref().and_then(|vpc| VpcId::parse(vpc).ok());
                let is_right = done.resources.iter().all(|resource| resource.outcome == Done::Kept);
                if changed || !done.warnings.is_empty() || !is_right {
                    report.environments.push(done);
                }
                // The next environment's decision must rest on what this one's left behind.
                if changed && !context.dry_run {
                    let again: Vec<VpcId> = match vpc {
                        Some(vpc) => vec![vpc],
                        None => landscape.keys().cloned().collect(),
                    };
                    for vpc in again {
                        match ec2.endpoints(&vpc).await {
                            Ok(endpoints) => {
                                landscape.insert(vpc, endpoints);
                            }
                            Err(failure) => {
                                report.failures.push(failure.to_string());
                                return Ok(report);
                            }
                        }
                    }
                }
            }
            Err(failure) => report.failures.push(format!("{}: {failure}", environment.arn())),
        }
    }
    health(context, region, &landscape, now, &mut report);
    Ok(report)
}

/// What the first look saw of one environment.
fn own_of(environment: &Environment, endpoints: &[Endpoint], groups: &[OwnGroup]) -> Seen {
    let is_its = |tags| crate::tags::is_of(tags, environment);
    Seen {
        endpoints: endpoints.iter().filter(|e| is_its(&e.tags)).cloned().collect(),
        is_partial: true,
        groups: groups.iter().filter(|g| is_its(&g.tags)).cloned().collect(),
    }
}

/// Does for one environment what the event would have asked for that did not come.
async fn one(
    context: &Context<'_>,
    environment: &Environment,
    known: &Known,
    subnets: &[SubnetId],
    known_subnets: &[crate::vpc::Subnet],
    seen: &Seen,
) -> Result<Option<Report>, Failure> {
    let memory;
    let wanted = match known {
        Known::Busy => return Ok(None),
        Known::Gone => return gone(context, environment, seen).await.map(Some),
        Known::Told(wanted, _) => wanted.as_ref(),
        // Its event was the proof, so nobody need be asked.
        Known::Unknown if seen.is_left_behind(environment) => {
            return gone(context, environment, seen).await.map(Some);
        }
        Known::Unknown => {
            memory = Wanted::from_memory(environment.clone());
            &memory
        }
    };
    if subnets.is_empty() || wanted.customer_managed.is_none() && !seen.owns_anything(environment) {
        return Ok(None);
    }
    let place = reconcile::locate(context.own, wanted, subnets, known_subnets)?;
    // An environment in somebody else's VPC is somebody else's to serve.
    if let (Place::Here(vpc), Some(own)) = (&place, context.own)
        && vpc.owner != *own
    {
        return Ok(None);
    }
    match reconcile::admitted(context, wanted, place)? {
        Ok(vpc) => reconcile::serve(context, wanted, vpc, seen, true).await.map(Some),
        Err(_) => Ok(None),
    }
}

/// Takes away what was made for an environment that is gone.
async fn gone(
    context: &Context<'_>,
    environment: &Environment,
    seen: &Seen,
) -> Result<Report, Failure> {
    let mut wanted = Wanted::from_memory(environment.clone());
    wanted.status = "DELETED".to_owned();
    wanted.purpose = Purpose::Remove;
    let mut seen = seen.clone();
    if !seen.groups.is_empty() {
        // An environment that was made again meanwhile may use the group again.
        let now = context.ec2.own_groups(Some(environment)).await?;
        seen.groups
            .retain(|group| now.iter().any(|g| (&g.id, &g.tags) == (&group.id, &group.tags)));
        // One that an endpoint carries which is being deleted cannot go yet.
        let is_held = |group: &OwnGroup| {
            let mut going = seen.endpoints.iter().filter(|endpoint| endpoint.state == "deleting");
            going.any(|endpoint| endpoint.groups.contains(group.id.as_str()))
        };
        seen.groups = seen.groups.iter().filter(|group| !is_held(group)).cloned().collect();
    }
    Ok(reconcile::remove(context, &wanted, None, &seen).await)
}

/// Asks MWAA about every environment that can be seen and every one in our tags.
async fn ask(
    context: &Context<'_>,
    region: &Region,
    tagged: &BTreeSet<Environment>,
    deadline: Instant,
    report: &mut SweepReport,
) -> BTreeMap<Environment, Known> {
    let mut known: BTreeMap<Environment, Known> =
        tagged.iter().map(|environment| (environment.clone(), Known::Unknown)).collect();
    let Some(mwaa) = context.mwaa else { return known };
    let accounts: BTreeSet<AccountId> = tagged
        .iter()
        .map(|environment| environment.account.clone())
        .chain(context.settings.participants.iter().cloned())
        .chain(context.own.cloned())
        .collect();
    let lists = stream::iter(accounts)
        .map(|account| async move { (in_time(deadline, mwaa.names(&account)).await, account) })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    let mut asked: BTreeSet<Environment> = tagged.clone();
    let mut silent: BTreeSet<AccountId> = BTreeSet::new();
    for (names, account) in lists {
        match names {
            Ok(names) => asked.extend(
                names
                    .iter()
                    .filter_map(|n| Environment::new(account.clone(), region.clone(), n).ok()),
            ),
            // Nobody meant to ask there.
            Err(_) if context.settings.reader_role.is_none() && context.own != Some(&account) => {
                report.not_asked.insert(account.to_string());
                silent.insert(account);
            }
            Err(failure) => {
                report.warnings.push(Note {
                    message: format!("nothing of account {account} is taken away: {failure}"),
                    remedy: None,
                });
                silent.insert(account);
            }
        }
    }
    asked.retain(|environment| !silent.contains(&environment.account));
    let answers = stream::iter(asked)
        .map(|environment| async move {
            (in_time(deadline, mwaa.environment(&environment)).await, environment)
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    for (answer, environment) in answers {
        let what = match answer {
            Ok(None) => Known::Gone,
            Ok(Some(answer)) => told(answer, context.now, &mut report.warnings),
            Err(failure) => {
                report.warnings.push(Note {
                    message: format!("nothing of {} is taken away: {failure}", environment.arn()),
                    remedy: None,
                });
                Known::Unknown
            }
        };
        known.insert(environment, what);
    }
    known
}

/// An answer of MWAA, if it comes before the sweep must end.
async fn in_time<T>(
    deadline: Instant,
    answer: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::time::timeout_at(deadline.into(), answer).await.unwrap_or_else(|_| {
        Err(Failure {
            doing: "asking MWAA".to_owned(),
            why: Some("the sweep's time ran out".to_owned()),
            error: None,
            remedy: None,
        })
    })
}

/// What an answer of MWAA means.
fn told(answer: Value, now: DateTime<Utc>, warnings: &mut Vec<Note>) -> Known {
    let time = |pointer: &str| {
        let text = answer.pointer(pointer)?.as_str()?;
        Some(DateTime::parse_from_rfc3339(text).ok()?.with_timezone(&Utc))
    };
    let since = time("/LastUpdate/CreatedAt").max(time("/CreatedAt"));
    match event::answer(answer) {
        Ok(Work::Environment(mut wanted)) => {
            (wanted.origin, wanted.time) = (Origin::Mwaa, Some(now));
            match wanted.purpose {
                // A failed creation is told by its event.
                Purpose::Diagnose => Known::Busy,
                _ => Known::Told(Box::new(wanted), since),
            }
        }
        // In maintenance, after a failed update and the like it runs, and its tags say what it needs.
        Ok(Work::Nothing { status, .. })
            if !matches!(status.as_str(), "CREATING" | "PENDING" | "DELETING" | "DELETED") =>
        {
            Known::Unknown
        }
        Ok(_) => Known::Busy,
        Err(refusal) => {
            warnings.push(Note { message: refusal.to_string(), remedy: None });
            Known::Unknown
        }
    }
}

/// How long an environment has been waiting, and how long MWAA still waits.
fn waiting(wanted: &Wanted, since: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<Note> {
    if wanted.purpose != Purpose::Provide {
        return None;
    }
    let waited = now.signed_duration_since(since?);
    let left = PATIENCE - waited;
    Some(Note::new(
        format!(
            "{} is PENDING, for at most {} h now; MWAA gives up after 72 h, in {} h at the earliest",
            wanted.environment.name(),
            waited.num_hours(),
            left.num_hours().max(0)
        ),
        "see that both endpoints are available and that their security groups admit the environment",
    ))
}

/// Reports what is slow or nearly full.
fn health(
    context: &Context<'_>,
    region: &Region,
    landscape: &BTreeMap<VpcId, Vec<Endpoint>>,
    now: DateTime<Utc>,
    report: &mut SweepReport,
) {
    let quota = context.settings.endpoint_quota.unwrap_or(DEFAULT_ENDPOINT_QUOTA);
    for (vpc, endpoints) in landscape {
        let slow = endpoints.iter().filter(|endpoint| {
            endpoint.environment().is_some()
                && !endpoint.is_going()
                && endpoint.state != "available"
                && endpoint.created.is_some_and(|c| now.signed_duration_since(c) > SLOW_ENDPOINT)
        });
        for endpoint in slow {
            report.warnings.push(Note::new(
                format!(
                    "{} to {} is {} after {} minutes",
                    endpoint.id,
                    endpoint.service,
                    endpoint.state,
                    SLOW_ENDPOINT.num_minutes()
                ),
                "see whether the environment still waits for it; a dead one is replaced while it does",
            ));
        }
        let interfaces = endpoints.iter().filter(|e| e.takes_quota && !e.is_going()).count();
        if interfaces * 100 >= quota * NEARLY_FULL {
            report.warnings.push(Note::new(
                format!("{vpc} has {interfaces} of {quota} endpoints"),
                "ask for a higher \"Interface VPC endpoints per VPC\" in Service Quotas",
            ));
        }
        let policy_characters: BTreeMap<String, usize> = endpoints
            .iter()
            .filter(|endpoint| endpoint.serves_sqs(region))
            .filter_map(|e| Some((e.id.clone(), e.policy.as_ref()?.chars().count())))
            .collect();
        for (id, characters) in &policy_characters {
            if characters * 100 >= MAX_POLICY_CHARACTERS * NEARLY_FULL {
                report.warnings.push(Note::new(
                    format!("the policy of {id} has {characters} of {MAX_POLICY_CHARACTERS} characters"),
                    "allow the queues with one pattern, such as arn:<partition>:sqs:<region>:*:airflow-celery-*",
                ));
            }
        }
        report.vpcs.push(VpcHealth {
            vpc: vpc.to_string(),
            endpoints: interfaces,
            quota,
            policy_characters,
        });
    }
}

/// What MWAA can be asked for, if the function knows the account that it runs in.
pub fn asking<'a>(
    mwaa: Option<&'a crate::mwaa::Mwaa>,
    own: Option<&'a AccountId>,
    role: Option<&'a str>,
    region: &'a Region,
) -> Option<Asking<'a>> {
    Some(mwaa?.asking(own?, role, region))
}
