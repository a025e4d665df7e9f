//! Lambda, as far as commands need it: what invokes a function, and what describes one.
//!
//! aws-sdk-lambda turns on `event-stream` of crates that the EC2 client is built on, which would make
//! the function bigger, or compile that client once more. So the calls are made here, on the runtime
//! that the SDK's clients are made of: it signs, sends and waits as they do.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_runtime::auth::sigv4::{SCHEME_ID, SigV4AuthScheme};
use aws_runtime::auth::{SigV4OperationSigningConfig, SigningOptions};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_async::time::SystemTimeSource;
use aws_smithy_runtime::client::identity::IdentityCache;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::auth::static_resolver::StaticAuthSchemeOptionResolver;
use aws_smithy_runtime_api::client::auth::{
    AuthSchemeOptionResolverParams, SharedAuthScheme, SharedAuthSchemeOptionResolver,
};
use aws_smithy_runtime_api::client::identity::SharedIdentityResolver;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use aws_smithy_runtime_api::client::runtime_plugin::StaticRuntimePlugin;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::Layer;
use aws_smithy_types::error::metadata::{ErrorMetadata, ProvideErrorMetadata};
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::region::SigningRegion;
use aws_types::service_config::ServiceConfigKey;
use aws_types::{SdkConfig, SigningName};
use mwaa_vpc_endpoints::aws::error::failure;
use mwaa_vpc_endpoints::environment::Region;
use mwaa_vpc_endpoints::report::{AwsError, Failure};
use serde_json::Value;

/// Lambda of one account and Region.
#[derive(Clone, Debug)]
pub struct Lambda {
    config: SdkConfig,
    region: Region,
}

/// More than the function has.
const TIME: Duration = Duration::from_secs(330);

/// What is asked for.
#[derive(Debug)]
struct Request {
    method: &'static str,
    path: String,
    body: Vec<u8>,
}

/// What Lambda answered.
#[derive(Debug)]
struct Reply {
    status: u16,
    /// The error's code, if Lambda has not done it.
    code: Option<String>,
    /// Whether the function itself has failed.
    function_error: bool,
    body: Vec<u8>,
}

/// An error of Lambda's, which is never made: what it answers is a [`Reply`].
#[derive(Debug)]
enum Never {}

impl fmt::Display for Never {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl Error for Never {}

impl ProvideErrorMetadata for Never {
    fn meta(&self) -> &ErrorMetadata {
        match *self {}
    }
}

/// A connection that ended in an invocation does not end the function.
fn may_be_at_work(failure: Failure) -> Failure {
    let message = failure.error.as_ref().map_or("", |error| error.message.as_str());
    let is_cut = failure.code().is_none()
        && ["closed the connection", "did not answer in time"]
            .iter()
            .any(|it| message.contains(it));
    let remedy = is_cut.then(|| AT_WORK.to_owned()).or(failure.remedy);
    Failure { remedy, ..failure }
}

const AT_WORK: &str =
    "the function may be at work still: see what its log says before you invoke it again";

/// What an invoked function answered, or what its runtime says of its failure.
#[derive(Debug)]
pub struct Invoked {
    pub failed: bool,
    pub payload: Value,
}

impl Lambda {
    pub fn new(config: SdkConfig, region: Region) -> Self {
        Self { config, region }
    }

    /// Invokes a function, and waits for what it answers. It is not tried again: nobody knows what an
    /// invocation has done that was not answered.
    ///
    /// # Errors
    ///
    /// As Lambda answers, such as `ResourceNotFoundException`.
    pub async fn invoke(&self, function: &str, payload: &Value) -> Result<Invoked, Failure> {
        let request = Request {
            method: "POST",
            path: format!("/2015-03-31/functions/{}/invocations", escaped(function)),
            body: payload.to_string().into_bytes(),
        };
        let reply = self.ask("Invoke", &format!("invoking function {function}"), request).await;
        let reply = reply.map_err(may_be_at_work)?;
        let text = || Value::String(String::from_utf8_lossy(&reply.body).into_owned());
        let payload = serde_json::from_slice(&reply.body).unwrap_or_else(|_| text());
        Ok(Invoked { failed: reply.function_error, payload })
    }

    /// What Lambda says of a function: `call` is the name of the API, `path` what follows the
    /// function's name, such as `/configuration`. None if there is none.
    ///
    /// # Errors
    ///
    /// As Lambda answers.
    pub async fn describe(
        &self,
        call: &'static str,
        version: &str,
        function: &str,
        path: &str,
    ) -> Result<Option<Value>, Failure> {
        let what = format!("looking at function {function}");
        let path = format!("/{version}/functions/{}{path}", escaped(function));
        let request = Request { method: "GET", path, body: Vec::new() };
        match self.ask(call, &what, request).await {
            Ok(reply) => serde_json::from_slice(&reply.body)
                .map(Some)
                .map_err(|error| Failure::new(what, error.to_string(), "try again")),
            Err(failure) if failure.code() == Some("ResourceNotFoundException") => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn ask(
        &self,
        call: &'static str,
        what: &str,
        request: Request,
    ) -> Result<Reply, Failure> {
        let failed = |code: Option<String>, message: String| Failure {
            doing: what.to_owned(),
            why: None,
            error: Some(Box::new(AwsError { call: call.to_owned(), code, message })),
            remedy: None,
        };
        let operation = self.operation(call);
        let reply: Result<Reply, SdkError<Never, _>> = operation.invoke(request).await;
        let reply = reply.map_err(|error| failure(call, what, &error))?;
        if reply.status < 300 {
            return Ok(reply);
        }
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let text = |name: &str| body.get(name).and_then(Value::as_str);
        let message = text("message").or(text("Message")).unwrap_or_default();
        let message = match message {
            "" => format!("HTTP status {}", reply.status),
            message => message.to_owned(),
        };
        Err(failed(reply.code, message))
    }

    fn operation(&self, call: &'static str) -> Operation<Request, Reply, Never> {
        let mut layer = Layer::new("lambda");
        layer.store_put(SigningName::from_static("lambda"));
        layer.store_put(SigningRegion::from(aws_types::region::Region::new(
            self.region.as_str().to_owned(),
        )));
        layer.store_put(SigV4OperationSigningConfig {
            signing_options: SigningOptions::default(),
            ..SigV4OperationSigningConfig::default()
        });
        layer.store_put(AuthSchemeOptionResolverParams::new(()));
        let mut parts = RuntimeComponentsBuilder::new("lambda");
        let schemes = StaticAuthSchemeOptionResolver::new(vec![SCHEME_ID]);
        parts.set_auth_scheme_option_resolver(Some(SharedAuthSchemeOptionResolver::new(schemes)));
        parts.push_auth_scheme(SharedAuthScheme::new(SigV4AuthScheme::new()));
        if let Some(credentials) = self.config.credentials_provider() {
            parts.set_identity_resolver(SCHEME_ID, SharedIdentityResolver::new(credentials));
        }
        parts.set_identity_cache(Some(IdentityCache::lazy().build()));
        let mut builder = Operation::builder()
            .service_name("Lambda")
            .operation_name(call)
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&self.endpoint())
            .no_retry()
            .timeout_config(TimeoutConfig::builder().operation_timeout(TIME).build())
            .sleep_impl(TokioSleep::new())
            .time_source(SystemTimeSource::new())
            .runtime_plugin(
                StaticRuntimePlugin::new()
                    .with_config(layer.freeze())
                    .with_runtime_components(parts),
            );
        if let Some(client) = self.config.http_client() {
            builder = builder.http_client(client);
        }
        builder.serializer(serialized).deserializer(read).build()
    }

    /// Where Lambda is: where a variable or the profile says, or its usual address (General Reference,
    /// "AWS Lambda endpoints and quotas").
    fn endpoint(&self) -> String {
        let config = &self.config;
        let key = ServiceConfigKey::builder()
            .service_id("Lambda")
            .env("AWS_ENDPOINT_URL")
            .profile("endpoint_url")
            .build()
            .expect("all parts of the key are there");
        let set = config.service_config().and_then(|it| it.load_config(key));
        if let Some(url) = set.or_else(|| config.endpoint_url().map(str::to_owned)) {
            return url;
        }
        let fips = if config.use_fips() == Some(true) { "-fips" } else { "" };
        let is_china = self.region.partition() == "aws-cn";
        let domain = match (config.use_dual_stack() == Some(true), is_china) {
            (false, false) => "amazonaws.com",
            (false, true) => "amazonaws.com.cn",
            (true, false) => "api.aws",
            (true, true) => "api.amazonwebservices.com.cn",
        };
        format!("https://lambda{fips}.{}.{domain}", self.region)
    }
}

fn serialized(request: Request) -> Result<HttpRequest, BoxError> {
    let Request { method, path, body } = request;
    let mut http = HttpRequest::new(SdkBody::from(body));
    http.set_method(method)?;
    http.set_uri(path)?;
    http.headers_mut().insert("content-type", "application/json");
    Ok(http)
}

fn read(response: &HttpResponse) -> Result<Reply, OrchestratorError<Never>> {
    let header = |name: &str| response.headers().get(name);
    Ok(Reply {
        status: response.status().as_u16(),
        // `Code:http://…` of REST JSON.
        code: header("x-amzn-errortype")
            .map(|it| it.split(':').next().unwrap_or_default().to_owned()),
        function_error: header("x-amz-function-error").is_some(),
        body: response.body().bytes().unwrap_or_default().to_vec(),
    })
}

/// A name, or an ARN, as a part of a path.
fn escaped(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                text.push(char::from(byte));
            }
            byte => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;
    use aws_credential_types::provider::SharedCredentialsProvider;
    use aws_smithy_runtime_api::client::http::{
        HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
    };
    use aws_smithy_runtime_api::client::result::ConnectorError;

    use super::*;

    /// A connection that ends before the answer.
    #[derive(Clone, Debug)]
    struct Cut;

    impl HttpConnector for Cut {
        fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
            HttpConnectorFuture::ready(Err(ConnectorError::io("connection closed".into())))
        }
    }

    #[tokio::test]
    async fn of_an_invocation_that_was_cut_off_it_is_said_that_it_may_go_on() {
        let connector = SharedHttpConnector::new(Cut);
        let credentials = Credentials::new("key", "secret", None, None, "a test");
        let config = SdkConfig::builder()
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .build();
        let lambda = Lambda::new(config, Region::parse("us-east-1").unwrap());
        let why = lambda.invoke("f", &Value::Null).await.unwrap_err();
        assert_eq!(why.remedy.as_deref(), Some(AT_WORK));
        let told = "invoking function f: Invoke: the service's host closed the connection without an answer (";
        assert!(why.to_string().starts_with(told), "{why}");
        let why = lambda.describe("GetFunction", "2015-03-31", "f", "").await.unwrap_err();
        assert_ne!(why.remedy.as_deref(), Some(AT_WORK));
    }

    fn endpoint(region: &str, fips: bool, dual_stack: bool) -> String {
        let config = SdkConfig::builder().use_fips(fips).use_dual_stack(dual_stack).build();
        Lambda::new(config, Region::parse(region).unwrap()).endpoint()
    }

    #[test]
    fn lambda_is_where_the_partition_has_it() {
        for (region, fips, dual_stack, expected) in [
            ("us-east-1", false, false, "https://lambda.us-east-1.amazonaws.com"),
            ("us-east-1", true, false, "https://lambda-fips.us-east-1.amazonaws.com"),
            ("eu-west-1", false, true, "https://lambda.eu-west-1.api.aws"),
            ("cn-north-1", false, false, "https://lambda.cn-north-1.amazonaws.com.cn"),
        ] {
            assert_eq!(endpoint(region, fips, dual_stack), expected);
        }
    }

    #[test]
    fn a_name_cannot_leave_its_part_of_the_path() {
        assert_eq!(escaped("arn:aws:lambda:x/../y?z"), "arn%3Aaws%3Alambda%3Ax%2F..%2Fy%3Fz");
    }
}
