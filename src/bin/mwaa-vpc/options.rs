//! Options that commands share.

use clap::{Arg, ArgAction, ArgMatches, Command};
use mwaa_vpc_endpoints::environment::{Environment, Region};
use mwaa_vpc_endpoints::settings::Settings;

use crate::problem::Problem;

/// What every command is told.
#[derive(Clone, Debug, Default)]
pub struct Common {
    /// The profile of the VPC owner's account.
    pub owner_profile: Option<String>,
    /// The profile of the environment's account.
    pub environment_profile: Option<String>,
    /// The Region.
    pub region: Option<String>,
    /// Whether a program reads the answer.
    pub json: bool,
    /// Whether only the IAM policy is asked for.
    pub iam: bool,
}

pub const ENVIRONMENT: &str = "environment";

pub fn with_common(command: Command) -> Command {
    let option = |name: &'static str, value, help| {
        Arg::new(name).long(name).value_name(value).help(help).help_heading("Accounts")
    };
    let flag =
        |name: &'static str, help| Arg::new(name).long(name).help(help).action(ArgAction::SetTrue);
    command
        .arg(option(
            "owner-profile",
            "PROFILE",
            "Profile of the account that owns the VPC. Without it, the environment's",
        ))
        .arg(option(
            "environment-profile",
            "PROFILE",
            "Profile of the environment's account. Without it, the owner's; without both, the credentials that AWS tools take",
        ))
        .arg(option("region", "REGION", "Region. Without it, that of the ARN, of AWS_REGION or the profile"))
        .arg(flag("json", "Print JSON"))
        .arg(flag("iam", "Print the IAM policy that this command needs, and do nothing"))
}

/// The environment that a command is about.
pub fn environment_arg(help: &'static str) -> Arg {
    Arg::new(ENVIRONMENT).value_name("ENV").help(help)
}

/// The environment that a command is about, where it must be named.
pub fn needed_environment_arg() -> Arg {
    environment_arg("The environment's name, or its ARN").required_unless_present("iam")
}

impl Common {
    pub fn of(matches: &ArgMatches) -> Self {
        let text = |name: &str| matches.get_one::<String>(name).cloned();
        Self {
            owner_profile: text("owner-profile"),
            environment_profile: text("environment-profile"),
            region: text("region"),
            json: matches.get_flag("json"),
            iam: matches.get_flag("iam"),
        }
    }

    /// The same, in the Region of what the command is about if none is named.
    ///
    /// # Errors
    ///
    /// If another is named.
    pub fn within(&self, region: &Region, of: &str) -> Result<Self, Problem> {
        match self.region.as_deref() {
            Some(named) if named != region.as_str() => {
                Err(Problem::usage(format!("{of} is of {region}, and --region says {named}")))
            }
            _ => Ok(Self { region: Some(region.to_string()), ..self.clone() }),
        }
    }
}

/// An environment as a person names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// By its name alone: it is of the account whose MWAA is asked.
    Name(String),
    /// By its ARN.
    Whole(Environment),
}

impl Named {
    /// Reads the argument, if it is given.
    ///
    /// # Errors
    ///
    /// If it is an ARN, and none of an environment.
    pub fn of(matches: &ArgMatches) -> Result<Option<Self>, Problem> {
        let Some(text) = matches.get_one::<String>(ENVIRONMENT) else { return Ok(None) };
        if text.starts_with("arn:") {
            let environment =
                Environment::parse(text).map_err(|e| Problem::usage(e.to_string()))?;
            return Ok(Some(Self::Whole(environment)));
        }
        Ok(Some(Self::Name(text.clone())))
    }

    /// What the command is told, with the Region of an ARN.
    ///
    /// # Errors
    ///
    /// If the ARN is of another Region than the one that is named.
    pub fn within(&self, common: &Common) -> Result<Common, Problem> {
        match self {
            Self::Name(_) => Ok(common.clone()),
            Self::Whole(environment) => common.within(&environment.region, "the environment"),
        }
    }
}

/// The template's parameters that what would be done depends on, each with the variable that the
/// function has it from.
const SETTINGS: [(&str, &str, &str, &str); 8] = [
    ("participant-accounts", "PARTICIPANT_ACCOUNTS", "", "Accounts that are served; empty: all"),
    ("vpc-ids", "VPC_IDS", "", "VPCs in which the function may act; empty: all"),
    ("security-groups", "SECURITY_GROUPS", "auto", "Groups that all endpoints carry, or auto"),
    (
        "webserver-sources",
        "WEBSERVER_SOURCES",
        "",
        "Who may reach the web servers of participants' environments",
    ),
    (
        "ip-address-type",
        "IP_ADDRESS_TYPE",
        "auto",
        "Address type of endpoints: auto, ipv4, ipv6 or dualstack",
    ),
    ("endpoint-tags", "ENDPOINT_TAGS", "", "Your own tags: key=value,key=value"),
    (
        "queue-principal-org-id",
        "PRINCIPAL_ORG_ID",
        "",
        "Organization to which whoever uses a queue must belong",
    ),
    ("deletion", "DELETION", "on", "Whether what is no longer needed is deleted: on or off"),
];

/// Options for what the function is deployed with.
pub fn with_settings(command: Command) -> Command {
    command.args(SETTINGS.map(|(name, _, default, help)| {
        let arg = Arg::new(name)
            .long(name)
            .value_name("VALUE")
            .help(help)
            .help_heading("What the function is deployed with, as parameters of template.yaml");
        if default.is_empty() { arg } else { arg.default_value(default) }
    }))
}

/// Reads these options.
///
/// # Errors
///
/// If one of them is wrong.
pub fn settings(matches: &ArgMatches) -> Result<Settings, Problem> {
    let option = |variable: &str| SETTINGS.iter().find(|(_, it, ..)| *it == variable);
    let value = |variable: &str| matches.get_one::<String>(option(variable)?.0).cloned();
    Settings::read(value).map_err(|why| {
        let (variable, rest) = why.split_once(':').unwrap_or(("", &why));
        let name = option(variable).map_or(variable, |(name, ..)| name);
        Problem::usage(format!("--{name}:{rest}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(words: &[&str]) -> ArgMatches {
        let command = with_settings(with_common(Command::new("x")).arg(environment_arg("")));
        command.get_matches_from([&["x"], words].concat())
    }

    #[test]
    fn without_options_the_settings_are_the_templates_defaults() {
        assert_eq!(settings(&matches(&[])).unwrap(), Settings::default());
    }

    #[test]
    fn a_wrong_setting_is_named_as_the_option() {
        let problem = settings(&matches(&["--security-groups", "default"])).unwrap_err();
        assert!(problem.message.starts_with("--security-groups: expected"), "{problem:?}");
        assert_eq!(problem.exit_code(), 2);
    }

    #[test]
    fn an_arn_brings_its_region_and_contradicts_another() {
        let arn = "arn:aws:airflow:eu-central-1:210987654321:environment/analytics";
        let given = matches(&[arn]);
        let named = Named::of(&given).unwrap().unwrap();
        let region = named.within(&Common::of(&given)).unwrap().region;
        assert_eq!(region.as_deref(), Some("eu-central-1"));
        let other = matches(&[arn, "--region", "us-east-1"]);
        assert!(named.within(&Common::of(&other)).is_err());
        assert!(Named::of(&matches(&["arn:aws:s3:::x"])).is_err());
    }
}
