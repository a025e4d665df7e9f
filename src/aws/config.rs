//! How AWS is reached: settings and connections that all clients share, made once when the process
//! starts.

use std::env;
use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::ProvideRegion;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
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
/// # Errors
///
/// If a setting of how often a call is tried cannot be read: aws-config would panic.
pub async fn of_person(profile: Option<&str>, region: Option<&str>) -> Result<SdkConfig, String> {
    // Said here, it is not looked for: what stands for it is read from what was loaded.
    let mut loader = loader().retry_config(RetryConfig::standard());
    if let Some(region) = region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    let Some(profile) = profile else { return with_retries(loader.load().await) };
    let config = with_retries(loader.profile_name(profile).load().await)?;
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
    Ok(config.into_builder().credentials_provider(SharedCredentialsProvider::new(provider)).build())
}

/// The Region that a person has set, as a variable or in a profile.
pub async fn region_of_person(profile: Option<&str>) -> Option<String> {
    if let Some(region) = EnvironmentVariableRegionProvider::new().region().await {
        return Some(region.to_string());
    }
    let mut provider = ProfileFileRegionProvider::builder();
    if let Some(profile) = profile {
        provider = provider.profile_name(profile);
    }
    Some(provider.build().region().await?.to_string())
}

/// The configuration with the retries that a variable or the profile asks for. The AWS CLI's `legacy`
/// is none of this SDK's modes: what comes nearest is `standard`.
fn with_retries(config: SdkConfig) -> Result<SdkConfig, String> {
    let set = |variable, name| {
        let key = ServiceConfigKey::builder().service_id("").env(variable).profile(name).build();
        let key = key.expect("all parts of the key are there");
        let set = config.service_config().and_then(|it| it.load_config(key));
        set.filter(|value| !value.trim().is_empty())
    };
    let retries = retries(
        set("AWS_RETRY_MODE", "retry_mode").as_deref(),
        set("AWS_MAX_ATTEMPTS", "max_attempts").as_deref(),
    )?;
    Ok(config.into_builder().retry_config(retries).build())
}

fn retries(mode: Option<&str>, attempts: Option<&str>) -> Result<RetryConfig, String> {
    let retries = match mode.map(|it| it.trim().to_ascii_lowercase()).as_deref() {
        None | Some("standard" | "legacy") => RetryConfig::standard(),
        Some("adaptive") => RetryConfig::adaptive(),
        Some(_) => {
            let mode = mode.unwrap_or_default();
            return Err(format!(
                "AWS_RETRY_MODE, or retry_mode of the profile: expected standard, adaptive or legacy, got {mode:?}"
            ));
        }
    };
    let attempts = attempts.map(|it| match it.trim().parse::<u32>() {
        Ok(attempts @ 1..) => Ok(attempts),
        _ => Err(format!(
            "AWS_MAX_ATTEMPTS, or max_attempts of the profile: expected a number from 1, got {it:?}"
        )),
    });
    Ok(retries.with_max_attempts(attempts.transpose()?.unwrap_or(ATTEMPTS)))
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

#[cfg(test)]
mod tests {
    use aws_config::retry::RetryMode;

    use super::*;

    #[test]
    fn what_a_person_has_set_of_retries_is_taken_or_refused_in_a_sentence() {
        for (mode, attempts, expected) in [
            (None, None, (RetryMode::Standard, ATTEMPTS)),
            (Some("legacy"), None, (RetryMode::Standard, ATTEMPTS)),
            (Some("Adaptive"), Some("7"), (RetryMode::Adaptive, 7)),
        ] {
            let retries = retries(mode, attempts).unwrap();
            assert_eq!((retries.mode(), retries.max_attempts()), expected);
        }
        assert!(retries(Some("often"), None).unwrap_err().contains("retry_mode of the profile"));
        for wrong in ["0", "-1", "x"] {
            assert!(retries(None, Some(wrong)).unwrap_err().contains("from 1"), "{wrong}");
        }
    }
}
