//! How AWS is reached: settings and connections that all clients share, made once when the process
//! starts.

use std::env;
use std::time::Duration;

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{
    HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_types::region::Region;
use aws_types::service_config::ServiceConfigKey;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How often a call is tried, unless somebody has set another number.
const ATTEMPTS: u32 = 4;

/// What every client is made with: settings and credentials from where all of AWS's tools take them,
/// the environment variables first (AWS SDKs and Tools Reference Guide, "Settings reference"). So on
/// a person's machine a profile works, with all that may stand in it.
///
/// # Panics
///
/// If `AWS_MAX_ATTEMPTS` or `AWS_RETRY_MODE` cannot be read, as aws-config does everywhere: the
/// process ends with the reason before it takes an event.
pub async fn config() -> SdkConfig {
    let mut loader = loader();
    if is_on_lambda() {
        let none = EnvConfigFiles::builder().with_contents(EnvConfigFileKind::Config, "");
        loader = loader.profile_files(none.build());
    }
    with_attempts(loader.load().await)
}

/// The same for a person, who may name a profile and a Region. Of a profile that is named, the
/// credentials are taken whatever the environment variables say, as the AWS CLI does with `--profile`.
///
/// # Panics
///
/// As [`config`].
pub async fn of_person(profile: Option<&str>, region: Option<&str>) -> SdkConfig {
    let mut loader = loader();
    if let Some(region) = region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    let Some(profile) = profile else { return with_attempts(loader.load().await) };
    let config = with_attempts(loader.profile_name(profile).load().await);
    let mut surroundings = ProviderConfig::without_region()
        .with_region(config.region().cloned())
        .with_sleep_impl(TokioSleep::new());
    if let Some(client) = config.http_client() {
        surroundings = surroundings.with_http_client(client);
    }
    let provider = ProfileFileCredentialsProvider::builder()
        .configure(&surroundings)
        .profile_name(profile)
        .build();
    config.into_builder().credentials_provider(SharedCredentialsProvider::new(provider)).build()
}

fn loader() -> ConfigLoader {
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(connections())
        .sleep_impl(TokioSleep::new())
        // The template's time limit for the function leaves room for a call that hangs and is
        // tried again.
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .operation_attempt_timeout(Duration::from_secs(15))
                .operation_timeout(Duration::from_secs(40))
                .build(),
        )
}

/// Whether the environment variables say all, as they do on Lambda (Lambda developer guide, "Defined
/// runtime environment variables"): then no file is looked for. `cargo lambda watch` sets Lambda's
/// own variables too, so they do not tell where this runs.
fn is_on_lambda() -> bool {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    is_set("AWS_ACCESS_KEY_ID") && is_set("AWS_SECRET_ACCESS_KEY") && !is_set("AWS_PROFILE")
}

/// The configuration with this function's number of attempts, unless a variable or the profile has
/// one: aws-config does not tell its own default from theirs.
fn with_attempts(config: SdkConfig) -> SdkConfig {
    let key = ServiceConfigKey::builder()
        .service_id("")
        .env("AWS_MAX_ATTEMPTS")
        .profile("max_attempts")
        .build()
        .expect("all parts of the key are there");
    if config.service_config().is_some_and(|it| it.load_config(key).is_some()) {
        return config;
    }
    let retries = config.retry_config().cloned().unwrap_or_else(RetryConfig::standard);
    config.into_builder().retry_config(retries.with_max_attempts(ATTEMPTS)).build()
}

/// One pool of connections for all clients, ready for TLS. Left to itself, each client parses the
/// root certificates once when it is made, and once more when it is first used.
fn connections() -> SharedHttpClient {
    let connector = Connector::builder()
        .connector_settings(
            HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).build(),
        )
        .sleep_impl(TokioSleep::new())
        .proxy_config(ProxyConfig::from_env())
        .tls_provider(Provider::rustls(CryptoMode::Ring))
        .build();
    let connector = SharedHttpConnector::new(connector);
    http_client_fn(move |_, _| connector.clone())
}
