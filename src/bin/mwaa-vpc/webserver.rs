//! `mwaa-vpc webserver`: how the web server of an environment is reached from the network.

use std::collections::BTreeSet;

use clap::{ArgMatches, Command};
use mwaa_vpc_endpoints::aws::mwaa::{Unanswered, as_json};
use mwaa_vpc_endpoints::environment::{Environment, Role};
use mwaa_vpc_endpoints::event::{self, EnvironmentSpec};
use mwaa_vpc_endpoints::report::Failure;
use mwaa_vpc_endpoints::vpc::{Endpoint, Entrance, LetIn, State, port};
use serde::Serialize;
use serde_json::json;

use crate::Answer;
use crate::accounts::{Accounts, Unseen};
use crate::iam::Needs;
use crate::options::{Common, needed_environment_arg};
use crate::paint::{Paint, fact, unseen};
use crate::problem::Problem;
use crate::spinner::Spinner;

/// What it needs of IAM. The subnets are looked at to say whose the VPC is, if it shows no endpoint.
pub const NEEDS: Needs = Needs {
    owner: &[
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSecurityGroups",
        "ec2:DescribeSubnets",
        "ec2:DescribeVpcEndpoints",
    ],
    environments: &["airflow:GetEnvironment"],
    ..Needs::NONE
};

const EXAMPLES: &str = "\
The host name must lead browsers to one of the private addresses: over a VPN or Direct Connect, or as the targets of a
load balancer. The security groups must let them in on TCP 443.

Examples:
  mwaa-vpc webserver analytics
  mwaa-vpc webserver forecasting --owner-profile network --environment-profile data
  mwaa-vpc webserver analytics --json | jq -r '.endpoints[].addresses[].ips[]'";

pub fn command() -> Command {
    Command::new("webserver")
        .about("Show the web server's host name, its private addresses, and who is let in")
        .after_help(EXAMPLES)
        .arg(needed_environment_arg())
}

/// A web server endpoint, as it is shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    state: String,
    vpc: String,
    #[serde(flatten)]
    entrance: Entrance,
    let_in: Vec<LetIn>,
}

/// What MWAA says of the web server.
#[derive(Debug, Default)]
struct Told {
    spec: Option<EnvironmentSpec>,
    host: Option<String>,
    mode: Option<String>,
}

pub async fn answer(
    matches: &ArgMatches,
    common: &Common,
    paint: Paint,
) -> Result<Answer, Problem> {
    let (accounts, environment) = Accounts::and_environment(matches, common).await?;
    let spinner = Spinner::start(format!("asking MWAA about {}", environment.name()));
    let mut not_seen = Vec::new();
    let told = ask(&accounts, &environment, &mut not_seen).await?;
    spinner.say("looking at the endpoint");
    let alive = alive(&accounts, &environment, &told).await?;
    let mut shown = Vec::new();
    for endpoint in &alive {
        let (entrance, let_in) = tokio::join!(
            accounts.ec2.entrance(&endpoint.id),
            accounts.ec2.let_in(&endpoint.groups, port(Role::Webserver))
        );
        shown.push(Shown {
            state: endpoint.state.to_string(),
            vpc: endpoint.vpc.to_string(),
            entrance: entrance?,
            let_in: let_in?,
        });
    }
    let is_public = told.spec.as_ref().is_some_and(EnvironmentSpec::is_public_only);
    let mut findings = findings(&alive, &shown);
    // Without MWAA's word nobody knows whether it needs one, and to which service: then only what is
    // tagged is found.
    if alive.is_empty() && !is_public && told.spec.is_some() {
        match elsewhere(&accounts, &told).await? {
            Some(unseen) => not_seen.push(unseen),
            None => findings
                .push("it has no web server endpoint that works or may come to work".to_owned()),
        }
    }
    drop(spinner);
    let text = text(&environment, &told, &shown, &findings, is_public, paint);
    let json = json!({
        "environment": environment.arn(),
        "host": told.host,
        "accessMode": told.mode,
        "endpoints": shown,
        "findings": findings,
        "unseen": not_seen,
    });
    Ok(Answer {
        json,
        text: text + &unseen(&not_seen, paint),
        has_findings: !findings.is_empty(),
        is_unseen: !not_seen.is_empty(),
    })
}

async fn ask(
    accounts: &Accounts,
    environment: &Environment,
    not_seen: &mut Vec<Unseen>,
) -> Result<Told, Problem> {
    if !accounts.asked().contains(&environment.account) {
        not_seen.push(accounts.unasked(environment));
        return Ok(Told::default());
    }
    match accounts.asking().answer(environment).await {
        Ok(Some(answer)) => {
            let spec = event::of_mwaa(as_json(&answer)).map_err(|refusal| {
                Problem::aws(format!("MWAA's answer cannot be read: {}", refusal.at_path()))
            })?;
            Ok(Told {
                host: answer.webserver_url().map(str::to_owned),
                mode: answer.webserver_access_mode().map(|mode| mode.as_str().to_owned()),
                spec: Some(spec),
            })
        }
        Ok(None) => Err(accounts.no_such(environment)),
        Err(Unanswered::MayNotAsk(failure)) => {
            not_seen.push(Unseen {
                what: Failure { remedy: None, ..failure }.to_string(),
                from: format!(
                    "account {}: a profile that may ask; `mwaa-vpc webserver --iam` prints what it needs",
                    environment.account
                ),
            });
            Ok(Told::default())
        }
        Err(unanswered) => Err(unanswered.into_failure().into()),
    }
}

/// The endpoints to the web server's service; where it is not known, those that were made for it.
async fn alive(
    accounts: &Accounts,
    environment: &Environment,
    told: &Told,
) -> Result<Vec<Endpoint>, Problem> {
    let service = told.spec.as_ref().and_then(|spec| spec.named.get(&Role::Webserver));
    let mut endpoints = match service {
        Some(service) => accounts.ec2.endpoints_to_any(vec![service.to_string()]).await?,
        None => {
            let mut tagged = accounts.ec2.tagged_endpoints(Some(environment)).await?;
            tagged.retain(|endpoint| endpoint.is_ours(environment, Role::Webserver));
            tagged
        }
    };
    endpoints.retain(|endpoint| endpoint.state.is_alive());
    endpoints.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(endpoints)
}

fn findings(alive: &[Endpoint], shown: &[Shown]) -> Vec<String> {
    let mut findings = Vec::new();
    for (endpoint, shown) in alive.iter().zip(shown) {
        if endpoint.state != State::Available {
            findings.push(format!("{} is {}", endpoint.id, endpoint.state));
        }
        if shown.let_in.iter().all(|group| group.sources.is_empty()) {
            findings
                .push(format!("no security group of {} lets anybody in on TCP 443", endpoint.id));
        }
    }
    findings
}

/// Whose the VPC is, if it is not the account's that was looked at.
async fn elsewhere(accounts: &Accounts, told: &Told) -> Result<Option<Unseen>, Problem> {
    let subnets = told.spec.as_ref().map(|spec| spec.subnets.as_slice()).unwrap_or_default();
    if subnets.is_empty() {
        return Ok(None);
    }
    let known = accounts.ec2.known_subnets(subnets).await?;
    let ids: BTreeSet<&str> = subnets.iter().map(|subnet| subnet.as_str()).collect();
    Ok(match known.first() {
        None => Some(Unseen {
            what: format!(
                "its endpoint: EC2 does not know {} from {}",
                ids.into_iter().collect::<Vec<_>>().join(", "),
                accounts.owner
            ),
            from: "the account that owns the VPC: --owner-profile with a profile of it".to_owned(),
        }),
        Some(subnet) if subnet.owner != accounts.owner.account => {
            Some(accounts.of_another(subnet.vpc.as_str(), &subnet.owner))
        }
        Some(_) => None,
    })
}

fn text(
    environment: &Environment,
    told: &Told,
    shown: &[Shown],
    findings: &[String],
    is_public: bool,
    paint: Paint,
) -> String {
    let mut text = fact("environment", &environment.arn());
    text.push_str(&fact("access", told.mode.as_deref().unwrap_or("not known")));
    let none = if told.spec.is_some() { "none yet" } else { "not known" };
    text.push_str(&fact("host name", &paint.bold(told.host.as_deref().unwrap_or(none))));
    if is_public && shown.is_empty() {
        text.push_str("It is public only: it has no endpoint in the VPC, and needs none.\n");
    }
    for endpoint in shown {
        let Shown { state, vpc, entrance, let_in } = endpoint;
        let id = &entrance.endpoint;
        text.push_str(&format!(
            "\n{}\n",
            fact("endpoint", &format!("{id} in {vpc}, {state}")).trim_end()
        ));
        for (n, name) in entrance.names.iter().enumerate() {
            text.push_str(&fact(if n == 0 { "DNS names" } else { "" }, name));
        }
        for (n, it) in entrance.addresses.iter().enumerate() {
            let addresses = it.ips.join(", ");
            let place = paint.dim(&format!("{} {}", it.subnet, it.interface));
            let line = format!("{:<15} {addresses:<15}  {place}", it.zone);
            text.push_str(&fact(if n == 0 { "addresses" } else { "" }, &line));
        }
        for (n, group) in let_in.iter().enumerate() {
            let sources: Vec<&str> = group.sources.iter().map(String::as_str).collect();
            let from = if sources.is_empty() { "nobody".to_owned() } else { sources.join(", ") };
            let line = format!("{} from {from}", group.group);
            text.push_str(&fact(if n == 0 { "TCP 443" } else { "" }, &line));
        }
    }
    for finding in findings {
        text.push_str(&format!("{} {finding}\n", paint.red("!")));
    }
    text
}

#[cfg(test)]
mod tests {
    use mwaa_vpc_endpoints::environment::{EndpointId, GroupId, VpcId};
    use mwaa_vpc_endpoints::vpc::Kind;

    use super::*;

    #[test]
    fn an_endpoint_that_lets_nobody_in_is_found() {
        let group = GroupId::parse("sg-1").unwrap();
        let endpoint = |state| Endpoint {
            id: EndpointId::parse("vpce-1").unwrap(),
            vpc: VpcId::parse("vpc-1").unwrap(),
            created: None,
            service: String::new(),
            state,
            kind: Kind::Interface,
            subnets: BTreeSet::new(),
            groups: BTreeSet::from([group.clone()]),
            tags: std::collections::BTreeMap::new(),
            policy: None,
            requester_managed: false,
        };
        let shown = |sources: &[&str]| Shown {
            state: String::new(),
            vpc: String::new(),
            entrance: Entrance::new(&EndpointId::parse("vpce-1").unwrap()),
            let_in: vec![LetIn::new(&group, sources.iter().map(|it| it.to_string()).collect())],
        };
        let found = |state, sources| findings(&[endpoint(state)], &[shown(sources)]).len();
        assert_eq!(found(State::Available, &["10.0.0.0/8"][..]), 0);
        assert_eq!(found(State::Available, &[][..]), 1);
        assert_eq!(found(State::parse("pendingAcceptance"), &[][..]), 2);
    }
}
