//! `mwaa-vpc doctor`: what of a VPC's network, of the function's deployment and of the execution role
//! keeps an environment from working, before it is made or after.

use std::collections::BTreeSet;

use chrono::{SubsecRound, Utc};
use clap::{Arg, ArgAction, ArgMatches, Command};
use mwaa_vpc_endpoints::aws::ec2_network::{self, Named as InVpc, Scope};
use mwaa_vpc_endpoints::aws::mwaa::Unanswered;
use mwaa_vpc_endpoints::doctor::deployment::{Deployment, Part};
use mwaa_vpc_endpoints::doctor::{self, Check, Subject, Verdict, show};
use mwaa_vpc_endpoints::environment::{AccountId, Environment, GroupId, SubnetId, VpcId};
use mwaa_vpc_endpoints::report::Failure;
use mwaa_vpc_endpoints::vpc::Subnet;
use serde_json::json;

use crate::Answer;
use crate::accounts::{Accounts, Unseen};
use crate::deployed::stack_name;
use crate::deployment::{self, From};
use crate::execution_role;
use crate::iam::Needs;
use crate::options::{Common, ENVIRONMENT, Named, environment_arg};
use crate::paint::{Paint, fact, unseen};
use crate::problem::Problem;
use crate::spinner::Spinner;
use crate::stack;

/// What it needs of IAM.
pub const NEEDS: Needs = Needs {
    owner: &OWNERS,
    environments: &["airflow:GetEnvironment"],
    lists: &deployment::PARTICIPANTS_PERMISSIONS,
    ..Needs::NONE
};

const OWNERS: [&str; ec2_network::PERMISSIONS.len() + deployment::OWNERS_PERMISSIONS.len()] = {
    let (network, others) = (ec2_network::PERMISSIONS, deployment::OWNERS_PERMISSIONS);
    let mut all = [""; ec2_network::PERMISSIONS.len() + deployment::OWNERS_PERMISSIONS.len()];
    let mut at = 0;
    while at < all.len() {
        all[at] = if at < others.len() { others[at] } else { network[at - others.len()] };
        at += 1;
    }
    all
};

const EXAMPLES: &str = "\
Of an environment that is there, or of the subnets and groups that one is to have. The exit code is 1 if a check fails;
what could not be seen is `unknown`, and never a pass.

Examples:
  mwaa-vpc doctor analytics
  mwaa-vpc doctor forecasting --owner-profile network --environment-profile data
  mwaa-vpc doctor --subnets subnet-1111,subnet-2222 --groups sg-3333 --bucket my-dags
  mwaa-vpc doctor --vpc vpc-1111 --subnets subnet-2222,subnet-3333 --groups sg-4444 --account 210987654321
  mwaa-vpc doctor analytics --markdown > ticket
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
        .about("Say what of the network, the function's deployment or the execution role keeps an environment from working")
        .after_help(EXAMPLES)
        .arg(environment_arg("An environment that is there: its name, or its ARN"))
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
        .arg(planned("name", "NAME", "What it is to be called"))
        .arg(planned("bucket", "BUCKET", "The bucket of its DAGs: its name, or its ARN"))
        .arg(planned("dag-folder", "PATH", "Where its DAGs lie in the bucket"))
        .arg(planned("execution-role", "ARN", "The role of its workers"))
        .arg(planned("kms-key", "KEY", "Its key in KMS, if it is to have one of yours"))
        .arg(limit(
            "queue-principal-org-id",
            "ORGANIZATION",
            "Organization to which the environment's account belongs, if policies are limited to it",
        ))
        .arg(limit("stack", "STACK", "The function's stack in the owner's account").default_value(stack::OWNERS))
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
    let vpc = matches.get_one::<String>("vpc").map(|it| VpcId::parse(it)).transpose();
    let vpc = vpc.map_err(|error| Problem::usage(format!("--vpc: {error}")))?;
    let planned = planned(matches)?;
    let named = Named::of(matches)?;
    if named.is_none() && planned.is_none() {
        return Err(Problem::usage("no environment is named").with_remedy(
            "name one that is there (<ENV>), or what one is to have (--subnets and --groups)",
        ));
    }
    let (accounts, environment) = Accounts::and_named(named.as_ref(), common).await?;
    let spinner = Spinner::start("looking at the network");
    let subject = match (&environment, planned) {
        (Some(environment), _) => of_mwaa(&accounts, environment).await?,
        (None, Some(planned)) => planned.subject(&accounts, matches)?,
        (None, None) => return Err(Problem::usage("no environment is named")),
    };
    let subject = with_limits(subject, matches);
    let (vpc, owner) = vpc_of(&accounts, &subject, vpc).await?;
    let in_vpc = InVpc { subnets: &subject.subnets, groups: &subject.groups };
    let viewer = &accounts.owner.account;
    let owner = owner.unwrap_or_else(|| viewer.clone());
    let from = From {
        owner: &owner,
        owner_config: accounts.config_of(&owner),
        environment_config: accounts.config_of(&subject.account),
        vpc: &vpc,
        stack: stack_name(matches),
    };
    let (mut network, shares, deployment, role) = tokio::join!(
        accounts.ec2.network(viewer, &vpc, &accounts.region, in_vpc, Scope::Whole),
        async {
            if owner == subject.account {
                return None;
            }
            let config = from.owner_config?;
            Some(deployment::shares(config, &owner, &subject.region, &subject.subnets).await)
        },
        deployment::look(from, &subject),
        async {
            let role = subject.execution_role.as_deref()?;
            Some(execution_role::look(role, from.environment_config, &subject).await)
        },
    );
    drop(spinner);
    let subject = as_deployed(subject, &deployment, matches);
    if let Some(shares) = shares {
        network.shares = shares;
    }
    let mut checks = doctor::examine(&network, &subject);
    checks.extend(doctor::deployment::examine(&deployment, &subject));
    checks.extend(role.iter().flat_map(|role| doctor::role::examine(role, &subject)));
    let not_seen = not_seen(&accounts, from, &subject);
    let answer = shown(&subject, environment.as_ref(), &vpc, &checks, &not_seen, matches, paint);
    // What of another account's deployment is not seen leaves the rest of the answer whole.
    Ok(Answer { is_unseen: owner != *viewer, ..answer })
}

/// What could not be seen with the profiles that are named.
fn not_seen(accounts: &Accounts, from: From<'_>, subject: &Subject) -> Vec<Unseen> {
    let mut not_seen = Vec::new();
    let (owner, account) = (from.owner, &subject.account);
    if *owner != accounts.owner.account {
        not_seen.push(accounts.of_another(from.vpc.as_str(), owner));
    }
    if from.owner_config.is_none() {
        not_seen.push(Unseen {
            what: format!("the function and what brings it events: they are of account {owner}"),
            from: format!("account {owner}: --owner-profile with a profile of it"),
        });
    }
    if from.environment_config.is_none() {
        not_seen.push(Unseen {
            what: format!(
                "the participant's stack and the execution role: they are of account {account}"
            ),
            from: format!("account {account}: --environment-profile with a profile of it"),
        });
    }
    not_seen
}

/// What is asked for of an environment that is to be.
struct Planned {
    subnets: Vec<SubnetId>,
    groups: BTreeSet<GroupId>,
    account: Option<AccountId>,
    bucket: Option<String>,
}

/// A bucket's name, also of its ARN, which is what MWAA takes and shows.
fn bucket(text: &str) -> Result<String, Problem> {
    let of_arn = text.strip_prefix("arn:aws").and_then(|it| it.split_once(":s3:::"));
    let name = of_arn.map_or(text, |(_, name)| name);
    let fits = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || b".-".contains(&it);
    match (3..=63).contains(&name.len()) && name.bytes().all(fits) {
        true => Ok(name.to_owned()),
        false => Err(Problem::usage(format!(
            "--bucket: {text:?} is neither the name of a bucket nor its ARN"
        ))),
    }
}

fn planned(matches: &ArgMatches) -> Result<Option<Planned>, Problem> {
    let all =
        |name: &str| matches.get_many::<String>(name).into_iter().flatten().map(|it| it.trim());
    let subnets: Result<Vec<SubnetId>, _> = all("subnets").map(SubnetId::parse).collect();
    let groups: Result<_, _> = all("groups").map(GroupId::parse).collect();
    let account = matches.get_one::<String>("account").map(|it| AccountId::parse(it)).transpose();
    let planned = Planned {
        subnets: subnets.map_err(|error| Problem::usage(format!("--subnets: {error}")))?,
        groups: groups.map_err(|error| Problem::usage(format!("--groups: {error}")))?,
        account: account.map_err(|error| Problem::usage(format!("--account: {error}")))?,
        bucket: matches.get_one::<String>("bucket").map(|it| bucket(it)).transpose()?,
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
        let given = |name: &str| matches.get_one::<String>(name).cloned();
        (subject.planned_name, subject.execution_role) = (given("name"), given("execution-role"));
        (subject.bucket, subject.dag_path) = (self.bucket, given("dag-folder"));
        subject.kms_key = given("kms-key");
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
    // Without a function it is what the function would be given.
    subject.limited_to.clone_from(&subject.organization);
    if let Some(quota) = matches.get_one::<u16>("endpoint-quota") {
        subject.quota = usize::from(*quota);
    }
    subject
}

/// What the deployed function is set to counts, where it is seen: to what it limits its statement, and the
/// quota, unless an option names that.
fn as_deployed(mut subject: Subject, deployment: &Deployment, matches: &ArgMatches) -> Subject {
    let variables = match deployment.function.get() {
        Ok(Part::There(function)) => function.variables.get().ok(),
        _ => None,
    };
    let Some(variables) = variables else { return subject };
    let of = |name: &str| variables.get(name).filter(|text| !text.is_empty()).cloned();
    subject.limited_to = of("PRINCIPAL_ORG_ID");
    if !matches.contains_id("endpoint-quota")
        && let Some(quota) = of("ENDPOINT_QUOTA").and_then(|text| text.parse().ok())
    {
        subject.quota = quota;
    }
    subject
}

/// The VPC, and its owner if that is seen.
async fn vpc_of(
    accounts: &Accounts,
    subject: &Subject,
    named: Option<VpcId>,
) -> Result<(VpcId, Option<AccountId>), Problem> {
    let known = match accounts.ec2.known_subnets(&subject.subnets).await {
        Ok(known) => known,
        // Then the VPC's subnets and its owner stay unseen, and what needs them.
        Err(_) if named.is_some() => Vec::new(),
        Err(failure) => return of_groups(accounts, subject, failure).await,
    };
    let first = subject.subnets.iter().find_map(|id| known.iter().find(|it| it.id == *id));
    let in_it = |vpc: &VpcId| known.iter().find(|it: &&Subnet| it.vpc == *vpc);
    match (named, first) {
        (Some(vpc), _) => {
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

/// The VPC of an environment's groups, if its subnets may not be seen.
async fn of_groups(
    accounts: &Accounts,
    subject: &Subject,
    failure: Failure,
) -> Result<(VpcId, Option<AccountId>), Problem> {
    let vpcs = accounts.ec2.vpcs_of(&subject.groups).await.unwrap_or_default();
    let mut vpcs = vpcs.into_iter();
    match (vpcs.next(), vpcs.next()) {
        (Some(vpc), None) => Ok((vpc, None)),
        _ => Err(failure.into()),
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
    Answer { json, text, has_findings, is_unseen: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_named_or_its_arn_is() {
        for text in ["my-dags", "arn:aws:s3:::my-dags", "arn:aws-us-gov:s3:::my-dags"] {
            assert_eq!(bucket(text).unwrap(), "my-dags");
        }
        for text in
            ["s3://my-dags", "my-dags/dags", "arn:aws:s3:::my-dags/*", "My", "", "arn:aws:sqs:::x"]
        {
            assert_eq!(bucket(text).unwrap_err().exit_code(), crate::exit::USAGE, "{text}");
        }
    }
}
