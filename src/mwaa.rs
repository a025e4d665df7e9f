//! The thin layer that asks MWAA about environments: of this account, and of participants that let
//! the function take on a role for it.

use std::collections::BTreeMap;
use std::sync::Mutex;

use aws_config::SdkConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_sdk_mwaa::Client;
use aws_sdk_mwaa::error::SdkError;
use aws_sdk_mwaa::operation::get_environment::{GetEnvironmentError, GetEnvironmentOutput};
use aws_sdk_mwaa::primitives::{DateTime, DateTimeFormat};
use serde_json::{Value, json};

use crate::ec2::failure;
use crate::environment::{AccountId, Environment, Region};
use crate::report::Failure;

/// MWAA as this function uses it.
#[derive(Debug)]
pub struct Mwaa {
    config: SdkConfig,
    clients: Mutex<BTreeMap<AccountId, Client>>,
}

impl Mwaa {
    /// Asks with the credentials of `config`, and with roles that they may take on.
    pub fn new(config: SdkConfig) -> Self {
        Self { config, clients: Mutex::default() }
    }

    /// The client for `account`; none if there is no way to ask it.
    async fn client(
        &self,
        own: &AccountId,
        role: Option<&str>,
        account: &AccountId,
        region: &Region,
    ) -> Option<Client> {
        if let Some(client) = self.clients.lock().ok()?.get(account) {
            return Some(client.clone());
        }
        let client = if account == own {
            Client::new(&self.config)
        } else {
            let arn = format!("arn:{}:iam::{account}:role/{}", region.partition(), role?);
            let role = AssumeRoleProvider::builder(arn)
                .session_name("mwaa-vpc-endpoints")
                .configure(&self.config)
                .build()
                .await;
            let config = aws_sdk_mwaa::config::Builder::from(&self.config);
            Client::from_conf(config.credentials_provider(role).build())
        };
        self.clients.lock().ok()?.insert(account.clone(), client.clone());
        Some(client)
    }

    /// Those who can be asked: this account, and participants if there is a role.
    pub fn asking<'a>(
        &'a self,
        own: &'a AccountId,
        role: Option<&'a str>,
        region: &'a Region,
    ) -> Asking<'a> {
        Asking { mwaa: self, own, role, region }
    }
}

/// MWAA, asked from an account, with the name of the role that participants let it take on.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    mwaa: &'a Mwaa,
    own: &'a AccountId,
    role: Option<&'a str>,
    region: &'a Region,
}

impl Asking<'_> {
    async fn client(&self, account: &AccountId) -> Result<Client, Failure> {
        self.mwaa.client(self.own, self.role, account, self.region).await.ok_or_else(|| {
            Failure::new(
                format!("asking MWAA about account {account}"),
                "there is no role for it",
                "set ReaderRole in both templates, so that the function can ask the participant's MWAA",
            )
        })
    }

    /// The names of all environments of `account`.
    ///
    /// # Errors
    ///
    /// If MWAA did not answer. That proves nothing about any environment.
    pub async fn names(&self, account: &AccountId) -> Result<Vec<String>, Failure> {
        let client = self.client(account).await?;
        let mut pages = client.list_environments().into_paginator().send();
        let mut names = Vec::new();
        while let Some(page) = pages.next().await {
            let what = format!("asking for the environments of account {account}");
            let page = page.map_err(|e| named(failure("ListEnvironments", &what, e)))?;
            names.extend(page.environments);
        }
        Ok(names)
    }

    /// What MWAA says of `environment`, as its API does: the value of `Environment`; none if there is
    /// no such environment.
    ///
    /// # Errors
    ///
    /// If MWAA did not answer. That proves nothing about the environment.
    pub async fn environment(&self, environment: &Environment) -> Result<Option<Value>, Failure> {
        let client = self.client(&environment.account).await?;
        match client.get_environment().name(environment.name()).send().await {
            Ok(answer) => Ok(as_json(&answer)),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => {
                let what = format!("asking MWAA about {}", environment.arn());
                Err(named(failure("GetEnvironment", &what, error)))
            }
        }
    }
}

/// A failure to take on the participant's role comes without a code, somewhere in the message.
fn named(mut failure: Failure) -> Failure {
    if let Some(error) = &mut failure.error
        && error.code.is_none()
        && error.message.contains(ACCESS_DENIED)
    {
        error.code = Some(ACCESS_DENIED.to_owned());
    }
    failure
}

const ACCESS_DENIED: &str = "AccessDenied";

/// The proof that an environment is gone. Everything else (access denied, a time-out, a throttle) is
/// none.
fn is_not_found(error: &SdkError<GetEnvironmentError>) -> bool {
    error.as_service_error().is_some_and(GetEnvironmentError::is_resource_not_found_exception)
}

/// An answer in the form in which `aws mwaa get-environment` prints it, as far as it is read.
fn as_json(answer: &GetEnvironmentOutput) -> Option<Value> {
    let environment = answer.environment()?;
    let network = environment.network_configuration();
    let time = |time: Option<&DateTime>| time.and_then(|t| t.fmt(DateTimeFormat::DateTime).ok());
    Some(json!({
        "Name": environment.name(),
        "Arn": environment.arn(),
        "Status": environment.status().map(|status| status.as_str()),
        "CreatedAt": time(environment.created_at()),
        "LastUpdate": {"CreatedAt": time(environment.last_update().and_then(|u| u.created_at()))},
        "EndpointManagement": environment.endpoint_management().map(|m| m.as_str()),
        "WebserverAccessMode": environment.webserver_access_mode().map(|mode| mode.as_str()),
        "DatabaseVpcEndpointService": environment.database_vpc_endpoint_service(),
        "WebserverVpcEndpointService": environment.webserver_vpc_endpoint_service(),
        "CeleryExecutorQueue": environment.celery_executor_queue(),
        "NetworkConfiguration": {
            "SubnetIds": network.map(|network| network.subnet_ids()),
            "SecurityGroupIds": network.map(|network| network.security_group_ids()),
        },
    }))
}
