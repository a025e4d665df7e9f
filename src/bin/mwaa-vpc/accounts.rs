//! The two accounts: the one that owns the VPC, whose EC2 is looked at, and the environment's, whose
//! MWAA is asked. They may be one.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aws_types::SdkConfig;
use chrono::{SubsecRound, Utc};
use clap::ArgMatches;
use mwaa_vpc_endpoints::aws::mwaa::Asking;
use mwaa_vpc_endpoints::aws::{self, Ec2, Mwaa};
use mwaa_vpc_endpoints::environment::{AccountId, Environment, Region};
use mwaa_vpc_endpoints::reconcile::Context;
use mwaa_vpc_endpoints::report::Failure;
use mwaa_vpc_endpoints::settings::Settings;
use serde::Serialize;

use crate::options::{Common, Named};
use crate::problem::Problem;
use crate::spinner::Spinner;

/// Both accounts, with what they are asked through.
#[derive(Debug)]
pub struct Accounts {
    /// The Region.
    pub region: Region,
    /// Whose EC2 is looked at.
    pub owner: Side,
    /// Whose MWAA is asked first.
    pub environment: Side,
    /// EC2 of the owner's account.
    pub ec2: Ec2,
    /// How the owner's account is reached.
    pub owner_config: SdkConfig,
    /// How the environment's account is reached.
    pub environment_config: SdkConfig,
    mwaa: Mwaa,
}

/// Whose credentials are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// What they are called.
    pub name: String,
    /// Whose they are.
    pub account: AccountId,
}

/// Something that could not be seen, and from where it can.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unseen {
    /// What could not be seen.
    pub what: String,
    /// From where it can be.
    pub from: String,
}

impl Accounts {
    /// Finds out whose the credentials are. Of two profiles that are not both named, each stands in for
    /// the other.
    ///
    /// # Errors
    ///
    /// If there are no credentials, or no Region.
    pub async fn of(common: &Common) -> Result<Self, Problem> {
        let _spinner = Spinner::start("asking whose the credentials are");
        let owner = common.owner_profile.as_deref().or(common.environment_profile.as_deref());
        let environment = common.environment_profile.as_deref().or(owner);
        let config = aws::config::of_person(owner, common.region.as_deref()).await;
        let config = config.map_err(Problem::usage)?;
        let region = region(config.region().map(AsRef::as_ref))?;
        let mut mwaa = Mwaa::new(config.clone());
        let mut environment_config = config.clone();
        let (owner_side, environment_side) = if environment == owner {
            let side = side(owner, &config).await?;
            (side.clone(), side)
        } else {
            let other = aws::config::of_person(environment, Some(region.as_str())).await;
            let other = other.map_err(Problem::usage)?;
            let (owner, environment) =
                tokio::join!(side(owner, &config), side(environment, &other));
            let environment = environment?;
            mwaa = mwaa.also(environment.account.clone(), &other);
            environment_config = other;
            (owner?, environment)
        };
        Ok(Self {
            region,
            owner: owner_side,
            environment: environment_side,
            ec2: Ec2::new(aws_sdk_ec2::Client::new(&config)),
            owner_config: config,
            environment_config,
            mwaa,
        })
    }

    /// Both accounts, and the environment that a command is about.
    ///
    /// # Errors
    ///
    /// If none is named, or as [`Accounts::of`] and [`Accounts::environment`].
    pub async fn and_environment(
        matches: &ArgMatches,
        common: &Common,
    ) -> Result<(Self, Environment), Problem> {
        let named = Named::of(matches)?;
        let named = named.ok_or_else(|| Problem::usage("no environment is named"))?;
        Self::and_this(&named, common).await
    }

    /// Both accounts, and the environment that a command is about if one is named.
    ///
    /// # Errors
    ///
    /// As [`Accounts::of`] and [`Accounts::environment`].
    pub async fn and_named(
        named: Option<&Named>,
        common: &Common,
    ) -> Result<(Self, Option<Environment>), Problem> {
        let Some(named) = named else { return Ok((Self::of(common).await?, None)) };
        let (accounts, environment) = Self::and_this(named, common).await?;
        Ok((accounts, Some(environment)))
    }

    async fn and_this(named: &Named, common: &Common) -> Result<(Self, Environment), Problem> {
        let accounts = Self::of(&named.within(common)?).await?;
        let environment = accounts.environment(named)?;
        Ok((accounts, environment))
    }

    /// The environment that a person names.
    ///
    /// # Errors
    ///
    /// If no environment can be called so.
    pub fn environment(&self, named: &Named) -> Result<Environment, Problem> {
        match named {
            Named::Whole(environment) => Ok(environment.clone()),
            Named::Name(name) => {
                let account = self.environment.account.clone();
                Environment::new(account, self.region.clone(), name)
                    .map_err(|error| Problem::usage(error.to_string()))
            }
        }
    }

    /// MWAA of both accounts.
    pub fn asking(&self) -> Asking<'_> {
        Asking::new(&self.mwaa, &self.owner.account, None, &self.region)
    }

    /// The accounts whose MWAA can be asked.
    pub fn asked(&self) -> BTreeSet<AccountId> {
        BTreeSet::from([self.owner.account.clone(), self.environment.account.clone()])
    }

    /// How an account is reached, if a profile of it is named.
    pub fn config_of(&self, account: &AccountId) -> Option<&SdkConfig> {
        let sides =
            [(&self.owner, &self.owner_config), (&self.environment, &self.environment_config)];
        sides.into_iter().find(|(side, _)| side.account == *account).map(|(_, config)| config)
    }

    /// What the function would have at hand here.
    pub fn context<'a>(&'a self, settings: &'a Settings) -> Context<'a> {
        Context {
            ec2: &self.ec2,
            settings,
            own: Some(&self.owner.account),
            mwaa: Some(self.asking()),
            dry_run: true,
            now: Utc::now().trunc_subsecs(0),
            until: Instant::now() + Duration::from_secs(60),
        }
    }

    /// That MWAA was not asked about an environment, since no profile of its account is named.
    pub fn unasked(&self, environment: &Environment) -> Unseen {
        let account = &environment.account;
        Unseen {
            what: format!("what MWAA says of {}", environment.arn()),
            from: format!("account {account}: --environment-profile with a profile of it"),
        }
    }

    /// That the endpoints of a VPC are not seen, since another account owns it.
    pub fn of_another(&self, vpc: &str, owner: &AccountId) -> Unseen {
        Unseen {
            what: format!(
                "the endpoints in {vpc}: they belong to account {owner}, and EC2 was asked with {}",
                self.owner
            ),
            from: format!("account {owner}: --owner-profile with a profile of it"),
        }
    }

    /// That MWAA knows no such environment.
    pub fn no_such(&self, environment: &Environment) -> Problem {
        let Environment { account, region, .. } = environment;
        Problem::aws(format!(
            "there is no environment {} in account {account}, {region}",
            environment.name()
        ))
        .with_remedy(
            "if it is of another account: --environment-profile with a profile of that account; of another Region: --region",
        )
    }
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of account {}", self.name, self.account)
    }
}

async fn side(profile: Option<&str>, config: &aws_types::SdkConfig) -> Result<Side, Problem> {
    let name = profile.map_or("the default credentials".to_owned(), |it| format!("profile {it}"));
    match aws::identity::account(config).await {
        Ok(account) => Ok(Side { name, account }),
        Err(failure) => {
            let doing = format!("{} ({name})", failure.doing);
            Err(Failure { doing, ..failure }.into())
        }
    }
}

fn region(name: Option<&str>) -> Result<Region, Problem> {
    let Some(name) = name else {
        return Err(Problem::usage("there is no Region")
            .with_remedy("--region, AWS_REGION, or a profile that has one"));
    };
    Region::parse(name).map_err(|error| Problem::usage(error.to_string()))
}
