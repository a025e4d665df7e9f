//! How AWS is reached: settings and connections that all clients share, made once when the process
//! starts.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::config::timeout::TimeoutConfig;
use aws_sdk_ec2::config::{BehaviorVersion, IdentityCache, Region};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{
    HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_types::SdkConfig;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Gives the value of an environment variable.
pub type Variables = fn(&str) -> Option<String>;

/// What every client is made with. Region and credentials are those that Lambda puts into the
/// environment variables of the process (Lambda developer guide, "Defined runtime environment
/// variables"). The usual chain of providers (aws-config) would look into files first, and be a good
/// part of the package, only to find these.
///
/// The variables that say where a service is and in which form are as the SDK's own (AWS SDKs and
/// Tools Reference Guide, "Settings reference"): `AWS_ENDPOINT_URL`, alone or with the name of a
/// service, `AWS_USE_FIPS_ENDPOINT`, `AWS_USE_DUALSTACK_ENDPOINT`.
pub fn config(variables: Variables) -> SdkConfig {
    let value = |name: &str| variables(name).filter(|value| !value.is_empty());
    let switch = |name: &str| value(name).and_then(|text| text.to_ascii_lowercase().parse().ok());
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(value("AWS_REGION").map(Region::new))
        .identity_cache(IdentityCache::lazy().build())
        .http_client(connections())
        .sleep_impl(TokioSleep::new())
        .retry_config(RetryConfig::standard().with_max_attempts(4))
        // The template's time limit for the function leaves room for a call that hangs and is
        // tried again.
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .operation_attempt_timeout(Duration::from_secs(15))
                .operation_timeout(Duration::from_secs(40))
                .build(),
        )
        .service_config(OfService(variables));
    // The execution role's credentials hold for as long as Lambda keeps the process.
    if let (Some(id), Some(secret)) = (value("AWS_ACCESS_KEY_ID"), value("AWS_SECRET_ACCESS_KEY")) {
        let credentials = Credentials::new(id, secret, value("AWS_SESSION_TOKEN"), None, "Lambda");
        config.set_credentials_provider(Some(SharedCredentialsProvider::new(credentials)));
    }
    config.set_endpoint_url(value("AWS_ENDPOINT_URL"));
    config.set_use_fips(switch("AWS_USE_FIPS_ENDPOINT"));
    config.set_use_dual_stack(switch("AWS_USE_DUALSTACK_ENDPOINT"));
    config.build()
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

/// The settings of a single service, such as `AWS_ENDPOINT_URL_EC2`.
#[derive(Debug)]
struct OfService(Variables);

impl LoadServiceConfig for OfService {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let service = key.service_id().to_ascii_uppercase().replace([' ', '-'], "_");
        (self.0)(&format!("{}_{service}", key.env())).filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use aws_credential_types::provider::ProvideCredentials;

    use super::*;

    #[tokio::test]
    async fn all_settings_are_lambdas_environment_variables() {
        let config = config(|name| {
            let value = match name {
                "AWS_REGION" => "us-gov-west-1",
                "AWS_ACCESS_KEY_ID" => "ASIA1",
                "AWS_SECRET_ACCESS_KEY" => "secret",
                "AWS_SESSION_TOKEN" => "token",
                "AWS_ENDPOINT_URL" => "",
                "AWS_ENDPOINT_URL_EC2" => "http://127.0.0.1:1",
                "AWS_USE_FIPS_ENDPOINT" => "True",
                _ => return None,
            };
            Some(value.to_owned())
        });
        assert_eq!(config.region().map(AsRef::as_ref), Some("us-gov-west-1"));
        assert_eq!(config.endpoint_url(), None);
        assert_eq!((config.use_fips(), config.use_dual_stack()), (Some(true), None));
        let credentials = config.credentials_provider().unwrap().provide_credentials().await;
        let credentials = credentials.unwrap();
        assert_eq!(credentials.access_key_id(), "ASIA1");
        assert_eq!(credentials.secret_access_key(), "secret");
        assert_eq!(credentials.session_token(), Some("token"));

        let endpoint = |service| {
            let key = ServiceConfigKey::builder()
                .service_id(service)
                .env("AWS_ENDPOINT_URL")
                .profile("endpoint_url")
                .build();
            config.service_config().unwrap().load_config(key.unwrap())
        };
        assert_eq!(endpoint("EC2").as_deref(), Some("http://127.0.0.1:1"));
        assert_eq!(endpoint("MWAA"), None);
    }

    #[test]
    fn without_credentials_there_are_none() {
        assert!(config(|_| None).credentials_provider().is_none());
    }
}
