//! The thin layer that asks MWAA about environments: of this account, and of participants that let
//! the function assume a role for it.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Mutex, PoisonError};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use aws_sdk_mwaa::Client;
use aws_sdk_mwaa::config::IdentityCache;
use aws_sdk_mwaa::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_mwaa::operation::get_environment::GetEnvironmentError;
use aws_sdk_mwaa::primitives::{DateTime, DateTimeFormat};
use aws_sdk_mwaa::types;
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_types::SdkConfig;
use serde_json::{Value, json};

use super::error::{causes_of, failure};
use crate::environment::{AccountId, Environment, Region};
use crate::report::Failure;

/// MWAA as this function uses it.
#[derive(Debug)]
pub struct Mwaa {
    config: SdkConfig,
    own: Client,
    participants: Mutex<BTreeMap<AccountId, Client>>,
}

impl Mwaa {
    /// Asks with the credentials of `config`, and with roles that they may assume.
    pub fn new(config: SdkConfig) -> Self {
        Self { own: Client::new(&config), config, participants: Mutex::default() }
    }

    /// Asks in `account` with credentials of its own, and not with a role.
    #[must_use]
    pub fn also(self, account: AccountId, config: &SdkConfig) -> Self {
        let client = Client::new(config);
        self.participants.lock().unwrap_or_else(PoisonError::into_inner).insert(account, client);
        self
    }

    /// The client for `account`; none if there is no way to ask it.
    fn client(
        &self,
        own: &AccountId,
        role: Option<&str>,
        account: &AccountId,
        region: &Region,
    ) -> Option<Client> {
        if account == own {
            return Some(self.own.clone());
        }
        // What a panic elsewhere has left behind is still right: a client is put in whole.
        let mut participants = self.participants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = participants.get(account) {
            return Some(client.clone());
        }
        let arn = format!("arn:{}:iam::{account}:role/{}", region.partition(), role?);
        let role = ReaderRole { sts: aws_sdk_sts::Client::new(&self.config), arn };
        let config = aws_sdk_mwaa::config::Builder::from(&self.config);
        // A cache of its own: the one that clients share keeps 64 identities, and gives up any of them
        // for the next (smithy-rs#4607).
        let cache = IdentityCache::lazy().build();
        let config = config.credentials_provider(role).identity_cache(cache);
        let client = Client::from_conf(config.build());
        participants.insert(account.clone(), client.clone());
        Some(client)
    }
}

/// The role in a participant's account that lets its MWAA be asked. Clients keep what it provides
/// until that expires.
#[derive(Debug)]
struct ReaderRole {
    sts: aws_sdk_sts::Client,
    arn: String,
}

impl ProvideCredentials for ReaderRole {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.assume())
    }
}

impl ReaderRole {
    async fn assume(&self) -> provider::Result {
        let call = self.sts.assume_role().role_arn(&self.arn).role_session_name(SESSION);
        let answer = call.send().await.map_err(CredentialsError::provider_error)?;
        let given = answer.credentials.ok_or_else(|| {
            CredentialsError::unhandled(format!("STS gave no credentials for {}", self.arn))
        })?;
        let expires = given.expiration.try_into().map_err(CredentialsError::unhandled)?;
        Ok(Credentials::new(
            given.access_key_id,
            given.secret_access_key,
            Some(given.session_token),
            Some(expires),
            "ReaderRole",
        ))
    }
}

/// What a participant's CloudTrail shows as the session's name.
const SESSION: &str = "mwaa-vpc-endpoints";

/// MWAA, asked from an account, with the name of the role that participants let it assume.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    mwaa: &'a Mwaa,
    own: &'a AccountId,
    role: Option<&'a str>,
    region: &'a Region,
}

/// Why MWAA does not say anything of an environment.
#[derive(Clone, Debug)]
pub enum Unanswered {
    /// There is no role to ask with: nobody meant to ask there.
    NoRole(Failure),
    /// It may not be asked: the answer is that access is denied.
    MayNotAsk(Failure),
    /// It did not answer. That proves nothing.
    NoReply(Failure),
}

impl Unanswered {
    /// What went wrong.
    pub fn into_failure(self) -> Failure {
        match self {
            Self::NoRole(failure) | Self::MayNotAsk(failure) | Self::NoReply(failure) => failure,
        }
    }
}

impl<'a> Asking<'a> {
    /// Asks with the credentials of account `own`, and in other accounts with a `role` of this name.
    pub fn new(
        mwaa: &'a Mwaa,
        own: &'a AccountId,
        role: Option<&'a str>,
        region: &'a Region,
    ) -> Self {
        Self { mwaa, own, role, region }
    }

    fn client(&self, account: &AccountId) -> Result<Client, Unanswered> {
        self.mwaa.client(self.own, self.role, account, self.region).ok_or_else(|| {
            Unanswered::NoRole(Failure::new(
                format!("asking MWAA about account {account}"),
                "there is no role for it",
                "set ReaderRole in both templates, so that the function can ask the participant's MWAA",
            ))
        })
    }

    /// The names of all environments of `account`.
    ///
    /// # Errors
    ///
    /// If MWAA said nothing. That proves nothing about any environment.
    pub async fn names(&self, account: &AccountId) -> Result<Vec<String>, Unanswered> {
        let client = self.client(account)?;
        let mut pages = client.list_environments().into_paginator().send();
        let mut names = Vec::new();
        while let Some(page) = pages.next().await {
            let what = format!("asking for the environments of account {account}");
            let page = page.map_err(|e| asking_failed("ListEnvironments", &what, &e))?;
            names.extend(page.environments);
        }
        Ok(names)
    }

    /// What MWAA says of `environment`, as its API does: the value of `Environment`; none if there is
    /// no such environment.
    ///
    /// # Errors
    ///
    /// If MWAA said nothing. That proves nothing about the environment.
    pub async fn environment(
        &self,
        environment: &Environment,
    ) -> Result<Option<Value>, Unanswered> {
        Ok(self.answer(environment).await?.as_ref().map(as_json))
    }

    /// The same as MWAA's API has it, with what is of no use to the function.
    ///
    /// # Errors
    ///
    /// If MWAA said nothing. That proves nothing about the environment.
    pub async fn answer(
        &self,
        environment: &Environment,
    ) -> Result<Option<types::Environment>, Unanswered> {
        let client = self.client(&environment.account)?;
        let what = format!("asking MWAA about {}", environment.arn());
        let answer = match client.get_environment().name(environment.name()).send().await {
            Ok(answer) => answer.environment,
            Err(error) if is_not_found(&error) => return Ok(None),
            Err(error) => return Err(asking_failed("GetEnvironment", &what, &error)),
        };
        // Whatever else answers in MWAA's place, or of another environment, has said nothing of this one.
        let arn = answer.as_ref().and_then(|it| it.arn()).unwrap_or_default();
        let why = match Environment::parse(arn) {
            Ok(it) if it == *environment => return Ok(answer),
            Ok(_) => "the answer is about another environment",
            Err(_) => "the answer is about no environment",
        };
        let why = why.to_owned();
        Err(Unanswered::NoReply(Failure { doing: what, why: Some(why), error: None, remedy: None }))
    }
}

/// A failure to ask, which may have been one to assume the participant's role for it.
fn asking_failed<E>(call: &str, what: &str, error: &SdkError<E>) -> Unanswered
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let role = causes_of(error).find_map(|it| it.downcast_ref::<SdkError<AssumeRoleError>>());
    let failure = match role {
        Some(error) => failure("AssumeRole", what, error),
        None => failure(call, what, error),
    };
    if failure.is_denied() { Unanswered::MayNotAsk(failure) } else { Unanswered::NoReply(failure) }
}

/// The proof that an environment is gone: MWAA says so. Everything else (access denied, a time-out, a
/// throttle, an answer with nothing in it) is none.
fn is_not_found(error: &SdkError<GetEnvironmentError>) -> bool {
    error.as_service_error().is_some_and(GetEnvironmentError::is_resource_not_found_exception)
}

/// An answer in the form in which `aws mwaa get-environment` prints it, as far as it is read.
pub fn as_json(environment: &types::Environment) -> Value {
    let network = environment.network_configuration();
    let time = |time: Option<&DateTime>| time.and_then(|t| t.fmt(DateTimeFormat::DateTime).ok());
    json!({
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
        "SourceBucketArn": environment.source_bucket_arn(),
        "DagS3Path": environment.dag_s3_path(),
        "ExecutionRoleArn": environment.execution_role_arn(),
        "KmsKey": environment.kms_key(),
        "MinWorkers": environment.min_workers(),
        "MaxWorkers": environment.max_workers(),
        "Schedulers": environment.schedulers(),
        "NetworkConfiguration": {
            "SubnetIds": network.map(|network| network.subnet_ids()),
            "SecurityGroupIds": network.map(|network| network.security_group_ids()),
        },
    })
}

#[cfg(test)]
mod tests {
    use aws_credential_types::provider::SharedCredentialsProvider;
    use aws_sdk_mwaa::config::BehaviorVersion;
    use aws_smithy_runtime_api::client::http::{
        HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
    };
    use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
    use aws_smithy_types::body::SdkBody;

    use super::*;

    /// What is in MWAA's place: it always answers the same.
    #[derive(Clone, Debug)]
    struct Answers(u16, Option<&'static str>, String);

    impl HttpConnector for Answers {
        fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
            let Self(status, code, body) = self.clone();
            let mut answer = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
            if let Some(code) = code {
                answer.headers_mut().insert("x-amzn-errortype", code);
            }
            HttpConnectorFuture::ready(Ok(answer))
        }
    }

    async fn told(answers: Answers) -> Result<Option<Value>, Unanswered> {
        let connector = SharedHttpConnector::new(answers);
        let credentials = Credentials::new("key", "secret", None, None, "a test");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(aws_types::region::Region::from_static("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .build();
        let arn = "arn:aws:airflow:us-east-1:111122223333:environment/analytics";
        let environment = Environment::parse(arn).unwrap();
        let mwaa = Mwaa::new(config);
        let asking = Asking::new(&mwaa, &environment.account, None, &environment.region);
        asking.environment(&environment).await
    }

    #[tokio::test]
    async fn an_environment_is_gone_only_if_mwaa_says_so_in_an_error() {
        const GONE: Option<&str> = Some("ResourceNotFoundException");
        let of = |name: &str| {
            let arn = format!("arn:aws:airflow:us-east-1:111122223333:environment/{name}");
            json!({"Environment": {"Arn": arn, "Status": "AVAILABLE"}}).to_string()
        };
        assert!(matches!(told(Answers(404, GONE, "{}".to_owned())).await, Ok(None)));
        let here = told(Answers(200, None, of("analytics"))).await.unwrap().unwrap();
        assert_eq!(here["Status"], "AVAILABLE");
        for (status, body) in [
            (200, String::new()),
            (200, "{}".to_owned()),
            (200, "null".to_owned()),
            (200, r#"{"Environment": null}"#.to_owned()),
            (200, r#"{"Environment": {"Status": "AVAILABLE"}}"#.to_owned()),
            (200, of("another")),
            (404, "<html>not found</html>".to_owned()),
        ] {
            let told = told(Answers(status, None, body.clone())).await;
            assert!(matches!(&told, Err(Unanswered::NoReply(_))), "{status} {body}: {told:?}");
        }
    }
}
