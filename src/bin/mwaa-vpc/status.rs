//! `mwaa-vpc status`: the environments that the account's VPCs serve, and what is not as it should be.

use std::collections::BTreeMap;

use clap::{ArgMatches, Command};
use mwaa_vpc_endpoints::environment::AccountId;
use mwaa_vpc_endpoints::event::Status;
use mwaa_vpc_endpoints::plan::proof::MwaaSays;
use mwaa_vpc_endpoints::report::{Change, Failure, Kind};
use mwaa_vpc_endpoints::sweep::survey::{Access, EndpointState, Survey, Surveyed, survey};
use serde::Serialize;
use serde_json::json;

use crate::accounts::{Accounts, Unseen};
use crate::iam::Needs;
use crate::options::{self, Common, Named, environment_arg};
use crate::paint::{Paint, unseen};
use crate::problem::Problem;
use crate::spinner::Spinner;
use crate::{Answer, Ended};

/// What it needs of IAM.
pub const NEEDS: Needs = Needs {
    owner: &["ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcEndpoints"],
    environments: &["airflow:GetEnvironment"],
    lists: &["airflow:ListEnvironments"],
    ..Needs::NONE
};

const EXAMPLES: &str = "\
Without ENV it shows all environments that something was made for in the owner's account, and those that MWAA lists in
both accounts and whose VPC the owner's account sees. What is wrong comes first.

Examples:
  mwaa-vpc status
  mwaa-vpc status --owner-profile network --environment-profile data
  mwaa-vpc status analytics
  mwaa-vpc status --json | jq '.environments[] | select(.findings != [])'";

pub fn command() -> Command {
    let command = Command::new("status")
        .about("Show environments, their endpoints and queues, and what is not as it should be")
        .after_help(EXAMPLES)
        .arg(environment_arg("Only this environment: its name, or its ARN"));
    options::with_settings(command)
}

/// An environment as it is shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    environment: String,
    #[serde(skip)]
    name: String,
    account: String,
    /// MWAA's word; none if it said none.
    status: Option<String>,
    /// Why it said none, in a word.
    #[serde(skip)]
    why_not: &'static str,
    hours_left: Option<i64>,
    vpc: Option<String>,
    /// Whether the VPC's endpoints could be seen: they belong to the VPC's owner.
    #[serde(skip)]
    is_seen: bool,
    endpoints: Vec<EndpointState>,
    queue: Vec<mwaa_vpc_endpoints::sweep::survey::QueueAccess>,
    findings: Vec<Finding>,
}

/// Something that is not as it should be.
#[derive(Debug, Serialize)]
pub struct Finding {
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    fn new(message: impl Into<String>, remedy: &str) -> Self {
        Self { message: message.into(), remedy: Some(remedy.to_owned()) }
    }
}

pub async fn answer(matches: &ArgMatches, common: &Common, paint: Paint) -> Result<Ended, Problem> {
    let settings = options::settings(matches)?;
    let named = Named::of(matches)?;
    let (accounts, only) = Accounts::and_named(named.as_ref(), common).await?;
    let spinner = Spinner::start("looking at the Region, and asking MWAA");
    let context = accounts.context(&settings);
    let survey = survey(&context, &accounts.region, &accounts.asked(), only.as_ref()).await?;
    drop(spinner);
    if let (Some(only), [found]) = (&only, survey.environments.as_slice())
        && found.says == MwaaSays::NotFound
        && found.endpoints.is_empty()
    {
        return Err(accounts.no_such(only));
    }
    let not_seen = not_seen(&accounts, &survey);
    let mut rows: Vec<Row> = survey.environments.iter().map(|it| row(it, &accounts)).collect();
    // False comes before true.
    rows.sort_by_key(|row| (row.findings.is_empty(), row.environment.clone()));
    let has_findings = rows.iter().any(|row| !row.findings.is_empty());
    let mut text = match rows.is_empty() {
        true => format!(
            "No environments{} in {} in VPCs that account {} sees.\n",
            if survey.not_listed.is_empty() { "" } else { " are seen" },
            accounts.region,
            accounts.owner.account
        ),
        false => table(&rows, paint),
    };
    text.push_str(&findings(&rows, paint));
    if !has_findings && !rows.is_empty() {
        text.push_str(match not_seen.is_empty() {
            true => "\nAll is as it should be.\n",
            false => "\nNothing wrong is seen.\n",
        });
    }
    text.push_str(&unseen(&not_seen, paint));
    let json = json!({
        "region": accounts.region.as_str(),
        "environments": rows,
        "unseen": not_seen,
    });
    let is_silent = !survey.not_listed.is_empty()
        || survey.environments.iter().any(|it| is_silent(it, &accounts));
    Ok(Ended { answer: Answer { json, text, has_findings, is_unseen: false }, is_silent })
}

/// Whether MWAA was asked about it, and did not tell.
fn is_silent(found: &Surveyed, accounts: &Accounts) -> bool {
    match &found.says {
        MwaaSays::NoReply(_) => true,
        MwaaSays::MayNotAsk(_) => accounts.asked().contains(&found.environment.account),
        MwaaSays::Says(_) | MwaaSays::NotFound => false,
    }
}

fn not_seen(accounts: &Accounts, survey: &Survey) -> Vec<Unseen> {
    let mut not_seen = Vec::new();
    for (account, failure) in &survey.not_listed {
        let what = format!("which environments account {account} has: {}", without_remedy(failure));
        let from = format!("account {account}: a profile that may list them");
        not_seen.push(Unseen { what, from });
    }
    // Once for each account, VPC and answer, however many environments are concerned.
    let mut unasked: BTreeMap<&AccountId, usize> = BTreeMap::new();
    let mut silent: Vec<(&AccountId, &Failure, Vec<&str>)> = Vec::new();
    let mut foreign: BTreeMap<String, AccountId> = BTreeMap::new();
    for found in &survey.environments {
        let (account, name) = (&found.environment.account, found.environment.name());
        match &found.says {
            MwaaSays::MayNotAsk(failure) | MwaaSays::NoReply(failure)
                if is_silent(found, accounts) =>
            {
                let is_it = |it: &&mut (&AccountId, &Failure, Vec<&str>)| {
                    let (a, b) = (it.1.error.as_ref(), failure.error.as_ref());
                    it.0 == account && it.1.code() == failure.code() && a.is_some() == b.is_some()
                };
                match silent.iter_mut().find(is_it) {
                    Some((.., names)) => names.push(name),
                    None => silent.push((account, failure, vec![name])),
                }
            }
            MwaaSays::MayNotAsk(_) => *unasked.entry(account).or_default() += 1,
            _ => {}
        }
        if let Some((vpc, owner)) = &found.vpc
            && *owner != accounts.owner.account
        {
            foreign.insert(vpc.to_string(), owner.clone());
        }
    }
    not_seen.extend(silent.into_iter().map(|(account, failure, names)| {
        let doing = format!("what MWAA says of {}", some_of(&names));
        let remedy = Problem::from(failure.clone()).advised("status").remedy;
        let helps = remedy.unwrap_or_else(|| "the same again, a little later".to_owned());
        Unseen {
            what: Failure { doing, remedy: None, ..failure.clone() }.to_string(),
            from: format!("account {account}: {helps}"),
        }
    }));
    if !survey.elsewhere.is_empty() {
        let names: Vec<&str> = survey.elsewhere.iter().map(|it| it.name()).collect();
        not_seen.push(Unseen {
            what: format!(
                "the VPCs of {}: account {} does not see their subnets",
                some_of(&names),
                accounts.owner.account
            ),
            from: "the accounts that own these VPCs: --owner-profile with a profile of one"
                .to_owned(),
        });
    }
    not_seen.extend(unasked.into_iter().map(|(account, count)| {
        let environments = if count == 1 { "environment" } else { "environments" };
        Unseen {
            what: format!(
                "the status of {count} {environments} of account {account}, and which others it has"
            ),
            from: format!("account {account}: --environment-profile with a profile of it"),
        }
    }));
    not_seen.extend(foreign.iter().map(|(vpc, owner)| accounts.of_another(vpc, owner)));
    not_seen
}

/// A few names, and how many more there are: of hundreds nobody reads more.
fn some_of(names: &[&str]) -> String {
    match names.split_at_checked(10) {
        Some((first, rest)) if !rest.is_empty() => {
            format!("{} and {} more", first.join(", "), rest.len())
        }
        _ => names.join(", "),
    }
}

fn without_remedy(failure: &Failure) -> String {
    Failure { remedy: None, ..failure.clone() }.to_string()
}

fn row(found: &Surveyed, accounts: &Accounts) -> Row {
    let is_here = match &found.vpc {
        Some((_, owner)) => *owner == accounts.owner.account,
        None => found.says == MwaaSays::NotFound || !found.endpoints.is_empty(),
    };
    let is_mwaas = matches!(&found.says, MwaaSays::Says(it) if it.customer_managed == Some(false));
    let status = match &found.says {
        MwaaSays::Says(answer) => Some(answer.status.to_string()),
        MwaaSays::NotFound => Some("not there".to_owned()),
        MwaaSays::MayNotAsk(_) | MwaaSays::NoReply(_) => None,
    };
    Row {
        environment: found.environment.arn(),
        name: found.environment.name().to_owned(),
        account: found.environment.account.to_string(),
        status,
        why_not: match &found.says {
            MwaaSays::NoReply(_) => "no answer",
            _ if is_silent(found, accounts) => "refused",
            _ => "not asked",
        },
        hours_left: found.hours_left,
        vpc: found.vpc.as_ref().map(|(vpc, _)| vpc.to_string()),
        is_seen: is_here || is_mwaas,
        endpoints: found.endpoints.clone(),
        queue: found.queue.clone(),
        findings: found_wrong(found),
    }
}

/// What is wrong with an environment in this status.
pub fn of_status(status: &Status) -> Option<Finding> {
    match status {
        Status::CreateFailed => Some(Finding::new(
            "its creation failed",
            "`mwaa-vpc doctor` says what may have caused it; it must be deleted and made again",
        )),
        Status::InUse(status) if status == "UNAVAILABLE" => Some(Finding::new(
            "it is UNAVAILABLE: a change failed, and it is not stable",
            "see the environment's logs, and its security groups and routes",
        )),
        _ => None,
    }
}

/// What is wrong with one that has waited for so many hours.
pub fn of_waiting(waited: i64, left: i64) -> Option<Finding> {
    let message = format!(
        "it is PENDING, for at most {waited} h now; MWAA gives up in {left} h at the earliest"
    );
    (waited > 0).then(|| Finding::new(message, "`mwaa-vpc doctor` says what may keep it"))
}

/// What is not as it should be.
fn found_wrong(found: &Surveyed) -> Vec<Finding> {
    let mut findings = Vec::new();
    if found.says == MwaaSays::NotFound {
        findings.push(Finding::new(
            "MWAA does not know it any more, and this is left of it",
            "the next sweep takes it away",
        ));
    }
    if let MwaaSays::Says(answer) = &found.says {
        findings.extend(of_status(&answer.status));
    }
    if let (Some(waited), Some(left)) = (found.hours_waited, found.hours_left) {
        findings.extend(of_waiting(waited, left));
    }
    match &found.report {
        Err(failure) => findings
            .push(Finding { message: without_remedy(failure), remedy: failure.remedy.clone() }),
        Ok(report) => {
            let wrong = report
                .resources
                .iter()
                .filter(|line| line.outcome != Change::Kept && line.kind != Kind::Tags);
            findings.extend(
                wrong.map(|line| Finding {
                    message: line.detail.clone(),
                    remedy: line.remedy.clone(),
                }),
            );
            findings.extend(report.warnings.iter().map(|warning| Finding {
                message: warning.message.clone(),
                remedy: warning.remedy.clone(),
            }));
        }
    }
    let not_available = found.endpoints.iter().filter_map(|endpoint| {
        let id = endpoint.id.as_ref().filter(|_| endpoint.state != "available")?;
        Some(Finding::new(
            format!("the {} endpoint {id} is {}", endpoint.role, endpoint.state),
            "a dead one is replaced while the environment waits; of another see who must accept the connection",
        ))
    });
    findings.extend(not_available);
    findings
}

const HEADINGS: [&str; 8] =
    ["", "ENVIRONMENT", "ACCOUNT", "STATUS", "HOURS LEFT", "DATABASE", "WEB SERVER", "QUEUE"];

fn cells(row: &Row) -> [String; 8] {
    let none = || if row.is_seen { "-" } else { "not seen" }.to_owned();
    let state = |role: &str| {
        let states: Vec<&str> =
            row.endpoints.iter().filter(|it| it.role == role).map(|it| it.state.as_str()).collect();
        if states.is_empty() { none() } else { states.join(", ") }
    };
    [
        if row.findings.is_empty() { " " } else { "!" }.to_owned(),
        row.name.clone(),
        row.account.clone(),
        row.status.clone().unwrap_or_else(|| row.why_not.to_owned()),
        row.hours_left.map_or_else(|| "-".to_owned(), |hours| hours.to_string()),
        state("database"),
        state("webserver"),
        if row.queue.is_empty() { none() } else { queue(row) },
    ]
}

/// Whether the queue is let through, in a word if all SQS endpoints agree.
fn queue(row: &Row) -> String {
    let word = |access: Access| match access {
        Access::Allowed => "allowed",
        Access::MaybeBlocked => "maybe blocked",
        Access::Blocked => "blocked",
        Access::NotAllowed => "not allowed",
    };
    match row.queue.as_slice() {
        [] => "-".to_owned(),
        [first, rest @ ..] if rest.iter().all(|it| it.access == first.access) => {
            word(first.access).to_owned()
        }
        all => {
            let allowed = all.iter().filter(|it| it.access == Access::Allowed).count();
            format!("allowed by {allowed} of {}", all.len())
        }
    }
}

/// A table, with rows that are not right in red.
fn table(rows: &[Row], paint: Paint) -> String {
    let all: Vec<[String; 8]> = rows.iter().map(cells).collect();
    let headings = HEADINGS.map(str::to_owned);
    let width = |column: usize| {
        let cells = all.iter().chain([&headings]);
        cells.map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
    let line = |cells: &[String; 8]| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut text = format!("{}\n", paint.bold(&line(&headings)));
    for (row, cells) in rows.iter().zip(&all) {
        let line = line(cells);
        let line = if row.findings.is_empty() { line } else { paint.red(&line) };
        text.push_str(&format!("{line}\n"));
    }
    text
}

fn findings(rows: &[Row], paint: Paint) -> String {
    let mut text = String::new();
    for row in rows.iter().filter(|row| !row.findings.is_empty()) {
        let place = row.vpc.as_ref().map(|vpc| format!(" in {vpc}")).unwrap_or_default();
        text.push_str(&format!("\n{}{place}\n", paint.bold(&row.environment)));
        for finding in &row.findings {
            text.push_str(&format!("  {} {}\n", paint.red("!"), finding.message));
            if let Some(remedy) = &finding.remedy {
                text.push_str(&format!("    {} {remedy}\n", paint.dim("what helps:")));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use mwaa_vpc_endpoints::sweep::survey::QueueAccess;

    use super::*;

    fn row(name: &str, findings: Vec<Finding>, accesses: &[Access]) -> Row {
        let queue = accesses
            .iter()
            .map(|access| QueueAccess { endpoint: "vpce-1".to_owned(), access: *access });
        Row {
            environment: format!("arn:{name}"),
            name: name.to_owned(),
            account: "111122223333".to_owned(),
            status: Some("AVAILABLE".to_owned()),
            why_not: "",
            hours_left: None,
            vpc: None,
            is_seen: true,
            endpoints: Vec::new(),
            queue: queue.collect(),
            findings,
        }
    }

    #[test]
    fn the_wrong_row_has_a_mark_and_columns_are_aligned() {
        let rows = [
            row("bad", vec![Finding::new("it is bad", "mend it")], &[Access::Blocked]),
            row("a-longer-name", Vec::new(), &[Access::Allowed]),
        ];
        let text = table(&rows, Paint::on(false));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("!  bad ") && lines[2].starts_with("   a-longer-name "));
        let column = lines[0].find("QUEUE").unwrap();
        assert_eq!((&lines[1][column..], &lines[2][column..]), ("blocked", "allowed"));
    }

    #[test]
    fn a_queue_is_allowed_if_every_sqs_endpoint_lets_it_through() {
        for (accesses, told) in [
            (&[][..], "-"),
            (&[Access::Allowed, Access::Allowed], "allowed"),
            (&[Access::Allowed, Access::NotAllowed], "allowed by 1 of 2"),
            (&[Access::MaybeBlocked], "maybe blocked"),
        ] {
            assert_eq!(queue(&row("x", Vec::new(), accesses)), told);
        }
    }
}
