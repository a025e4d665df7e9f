//! `mwaa-vpc doctor`: what of a VPC's network keeps an environment from working, before it is made or
//! after.

use std::collections::BTreeSet;

use chrono::{SubsecRound, Utc};
use clap::{Arg, ArgAction, ArgMatches, Command};
use mwaa_vpc_endpoints::aws::ec2_network::{self, Named as InVpc, Scope};
use mwaa_vpc_endpoints::aws::mwaa::Unanswered;
use mwaa_vpc_endpoints::doctor::{self, Check, Subject, Verdict, show};
use mwaa_vpc_endpoints::environment::{AccountId, Environment, GroupId, SubnetId, VpcId};
use mwaa_vpc_endpoints::vpc::Subnet;
use serde_json::json;

use crate::Answer;
use crate::accounts::{Accounts, Unseen};
use crate::iam::Needs;
use crate::options::{Common, ENVIRONMENT, Named, environment_arg};
use crate::paint::{Paint, fact, unseen};
use crate::problem::Problem;
use crate::spinner::Spinner;

/// What it needs of IAM.
pub const NEEDS: Needs = Needs {
    owner: &ec2_network::PERMISSIONS,
    environments: &["airflow:GetEnvironment"],
    ..Needs::NONE
};

const EXAMPLES: &str = "\
Of an environment that is there, or of the subnets and groups that one is to have. The exit code is 1 if a check fails;
what could not be seen is `unknown`, and never a pass.

Examples:
  mwaa-vpc doctor analytics
  mwaa-vpc doctor forecasting --owner-profile network --environment-profile data
  mwaa-vpc doctor --subnets subnet-1111,subnet-2222 --groups sg-3333 --bucket my-dags
  mwaa-vpc doctor --vpc vpc-1111 --subnets subnet-2222,subnet-3333 --groups sg-4444 --account 210987654321
  mwaa-vpc doctor analytics --markdown > ticket.md
  mwaa-vpc doctor analytics --json | jq '.checks[] | select(.verdict == \"fail\")'";

pub fn command() -> Command {
    let planned = |name: &'static str, value, help| {
        Arg::new(name)
            .long(name)
            .value_name(value)
            .help(help)
            .help_heading("An environment that is to be")
            .conflicts_with(ENVIRONMENT)
    };
    let limit =
        |name: &'static str, value, help| Arg::new(name).long(name).value_name(value).help(help);
    Command::new("doctor")
        .about("Say what of the network keeps an environment from working")
        .after_help(EXAMPLES)
        .arg(
            environment_arg("An environment that is there: its name, or its ARN")
                .required_unless_present_any(["subnets", "iam"]),
        )
        .arg(planned("vpc", "VPC", "Its VPC. Without it, that of its subnets"))
        .arg(
            planned("subnets", "SUBNETS", "Its subnets: subnet-…,subnet-…")
                .value_delimiter(',')
                .requires("groups"),
        )
        .arg(
            planned("groups", "GROUPS", "Its security groups: sg-…,sg-…")
                .value_delimiter(',')
                .requires("subnets"),
        )
        .arg(planned(
            "account",
            "ACCOUNT",
            "Its account. Without it, that of --environment-profile",
        ))
        .arg(planned("bucket", "BUCKET", "The bucket of its DAGs"))
        .arg(limit(
            "queue-principal-org-id",
            "ORGANIZATION",
            "Organization to which whoever uses a queue must belong, as in template.yaml",
        ))
        .arg(
            limit("endpoint-quota", "NUMBER", "The most endpoints that the VPC may have")
                .value_parser(clap::value_parser!(u16).range(1..)),
        )
        .arg(
            Arg::new("markdown")
                .long("markdown")
                .help("Print Markdown, for a ticket")
                .action(ArgAction::SetTrue)
                .conflicts_with("json"),
        )
}

pub async fn answer(
    matches: &ArgMatches,
    common: &Common,
    paint: Paint,
) -> Result<Answer, Problem> {
    let planned = planned(matches)?;
    let named = Named::of(matches)?;
    let common = match &named {
        Some(named) => named.within(common)?,
        None => common.clone(),
    };
    let accounts = Accounts::of(&common).await?;
    let spinner = Spinner::start("looking at the network");
    let environment = named.map(|named| accounts.environment(&named)).transpose()?;
    let subject = match (&environment, planned) {
        (Some(environment), _) => of_mwaa(&accounts, environment).await?,
        (None, Some(planned)) => planned.subject(&accounts, matches)?,
        (None, None) => return Err(Problem::usage("no environment is named, and no subnets")),
    };
    let subject = with_limits(subject, matches);
    let (vpc, owner) = vpc_of(&accounts, &subject, matches.get_one::<String>("vpc")).await?;
    let in_vpc = InVpc { subnets: &subject.subnets, groups: &subject.groups };
    let viewer = &accounts.owner.account;
    let network = accounts.ec2.network(viewer, &vpc, &accounts.region, in_vpc, Scope::Whole).await;
    drop(spinner);
    let checks = doctor::examine(&network, &subject);
    let not_seen: Vec<Unseen> = owner
        .filter(|owner| *owner != accounts.owner.account)
        .map(|owner| accounts.of_another(vpc.as_str(), &owner))
        .into_iter()
        .collect();
    Ok(shown(&subject, environment.as_ref(), &vpc, &checks, &not_seen, matches, paint))
}

/// What is asked for of an environment that is to be.
struct Planned {
    subnets: Vec<SubnetId>,
    groups: BTreeSet<GroupId>,
    account: Option<AccountId>,
}

fn planned(matches: &ArgMatches) -> Result<Option<Planned>, Problem> {
    let all =
        |name: &str| matches.get_many::<String>(name).into_iter().flatten().map(|it| it.trim());
    if let Some(vpc) = matches.get_one::<String>("vpc") {
        VpcId::parse(vpc).map_err(|error| Problem::usage(format!("--vpc: {error}")))?;
    }
    let subnets: Result<Vec<SubnetId>, _> = all("subnets").map(SubnetId::parse).collect();
    let groups: Result<_, _> = all("groups").map(GroupId::parse).collect();
    let account = matches.get_one::<String>("account").map(|it| AccountId::parse(it)).transpose();
    let planned = Planned {
        subnets: subnets.map_err(|error| Problem::usage(format!("--subnets: {error}")))?,
        groups: groups.map_err(|error| Problem::usage(format!("--groups: {error}")))?,
        account: account.map_err(|error| Problem::usage(format!("--account: {error}")))?,
    };
    Ok((!planned.subnets.is_empty()).then_some(planned))
}

impl Planned {
    fn subject(self, accounts: &Accounts, matches: &ArgMatches) -> Result<Subject, Problem> {
        let account = self.account.unwrap_or_else(|| accounts.environment.account.clone());
        let region = accounts.region.clone();
        let mut subject = Subject::planned(
            account,
            region,
            self.subnets,
            self.groups,
            Utc::now().trunc_subsecs(0),
        );
        subject.bucket = matches.get_one::<String>("bucket").cloned();
        Ok(subject)
    }
}

async fn of_mwaa(accounts: &Accounts, environment: &Environment) -> Result<Subject, Problem> {
    if !accounts.asked().contains(&environment.account) {
        let Unseen { what, from } = accounts.unasked(environment);
        return Err(Problem::usage(format!("{what} could not be seen"))
            .with_remedy(format!("{from}; or say what it has: --subnets, --groups, --account")));
    }
    let answer = accounts.asking().environment(environment).await;
    let answer = answer.map_err(Unanswered::into_failure)?;
    let answer = answer.ok_or_else(|| accounts.no_such(environment))?;
    Subject::of_mwaa(answer, Utc::now().trunc_subsecs(0))
        .map_err(|why| Problem::aws(format!("MWAA's answer cannot be read: {why}")))
}

fn with_limits(mut subject: Subject, matches: &ArgMatches) -> Subject {
    subject.organization = matches.get_one::<String>("queue-principal-org-id").cloned();
    if let Some(quota) = matches.get_one::<u16>("endpoint-quota") {
        subject.quota = usize::from(*quota);
    }
    subject
}

/// The VPC, and its owner if that is seen.
async fn vpc_of(
    accounts: &Accounts,
    subject: &Subject,
    named: Option<&String>,
) -> Result<(VpcId, Option<AccountId>), Problem> {
    let known = accounts.ec2.known_subnets(&subject.subnets).await?;
    let first = subject.subnets.iter().find_map(|id| known.iter().find(|it| it.id == *id));
    let in_it = |vpc: &VpcId| known.iter().find(|it: &&Subnet| it.vpc == *vpc);
    match (named, first) {
        (Some(named), _) => {
            let vpc = VpcId::parse(named).map_err(|error| Problem::usage(error.to_string()))?;
            let owner = in_it(&vpc).map(|it| it.owner.clone());
            Ok((vpc, owner))
        }
        (None, Some(subnet)) => Ok((subnet.vpc.clone(), Some(subnet.owner.clone()))),
        (None, None) => {
            let subnets: Vec<&str> = subject.subnets.iter().map(SubnetId::as_str).collect();
            let subnets = subnets.join(", ");
            Err(Problem::usage(format!("EC2 does not know {subnets} from {}", accounts.owner))
                .with_remedy(
                    "name a profile of the account that owns the VPC, and its Region: --owner-profile, --region",
                ))
        }
    }
}

fn shown(
    subject: &Subject,
    environment: Option<&Environment>,
    vpc: &VpcId,
    checks: &[Check],
    not_seen: &[Unseen],
    matches: &ArgMatches,
    paint: Paint,
) -> Answer {
    let arn = environment.map(Environment::arn);
    let groups: Vec<&str> = subject.groups.iter().map(GroupId::as_str).collect();
    let subnets: Vec<&str> = subject.subnets.iter().map(SubnetId::as_str).collect();
    let facts = [
        ("environment", arn.clone().unwrap_or_else(|| "to be made".to_owned())),
        ("account", subject.account.to_string()),
        ("VPC", format!("{vpc} in {}", subject.region)),
        ("subnets", subnets.join(", ")),
        ("groups", groups.join(", ")),
    ];
    let text = if matches.get_flag("markdown") {
        let facts: String =
            facts.iter().map(|(name, text)| format!("- {name}: `{text}`\n")).collect();
        let unseen = not_seen.iter().map(|it| format!("- Not seen: {} ({})\n", it.what, it.from));
        format!("{facts}{}\n{}", unseen.collect::<String>(), show::markdown(checks))
    } else {
        let facts: String = facts.iter().map(|(name, text)| fact(name, text)).collect();
        let painted = show::painted(checks, &|verdict, text| paint.verdict(verdict, text));
        format!("{facts}\n{painted}{}", unseen(not_seen, paint))
    };
    let json = json!({
        "environment": arn,
        "account": subject.account.as_str(),
        "region": subject.region.as_str(),
        "vpc": vpc.as_str(),
        "subnets": subnets,
        "groups": groups,
        "checks": checks,
        "unseen": not_seen,
    });
    let has_findings = checks.iter().any(|it| it.verdict == Verdict::Fail);
    Answer { json, text, has_findings, is_unseen: !not_seen.is_empty() }
}
