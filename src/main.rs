//! The Lambda function's process: telemetry, clients, the run loop.

use std::env;
use std::time::{Duration, Instant, SystemTime};

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use mwaa_vpc_endpoints::aws::{self, Ec2, Mwaa};
use mwaa_vpc_endpoints::environment::Region;
use mwaa_vpc_endpoints::handler::{Clock, Function, Invocation, Telemetry};
use mwaa_vpc_endpoints::settings::Settings;
use mwaa_vpc_endpoints::sweep::Lasting;
use serde_json::Value;
use tracing::level_filters::LevelFilter;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(log_level(env::var("AWS_LAMBDA_LOG_LEVEL").ok().as_deref()))
        .with_target(false)
        .init();

    let config = aws::config::config().await;
    let function = &Function {
        ec2: Ec2::new(aws_sdk_ec2::Client::new(&config)),
        settings: Settings::read(|name| env::var(name).ok()),
        region: config.region().and_then(|region| Region::parse(region.as_ref()).ok()),
        lasting: Lasting::default(),
        clock: Clock::default(),
        telemetry: Telemetry::read(|name| env::var(name).ok()),
        mwaa: Some(Mwaa::new(config)),
    };
    run(service_fn(move |event: LambdaEvent<Value>| async move {
        let (payload, context) = event.into_parts();
        let left = match context.deadline().duration_since(SystemTime::now()) {
            Ok(left) => left,
            // An emulator may tell something else than a time.
            Err(error) if error.duration() > NO_DEADLINE => DEFAULT_TIME,
            Err(_) => Duration::ZERO,
        };
        let invocation = Invocation {
            function_arn: &context.invoked_function_arn,
            request_id: &context.request_id,
            deadline: Instant::now() + left,
        };
        // In a box it is small enough for the compiler to see, in the runtime, that it is never a stream: what would
        // send one is then left out, a hundredth of the package.
        function.handle(payload, invocation).await.map(Box::new)
    }))
    .await
}

/// The time for an invocation whose deadline is not known.
const DEFAULT_TIME: Duration = Duration::from_secs(60);
/// A deadline that was over this long ago is none.
const NO_DEADLINE: Duration = Duration::from_secs(3600);

/// The level that Lambda's logging configuration asks for. Lambda's FATAL is told as ERROR here.
fn log_level(name: Option<&str>) -> LevelFilter {
    match name.unwrap_or_default().to_ascii_uppercase().as_str() {
        "TRACE" => LevelFilter::TRACE,
        "DEBUG" => LevelFilter::DEBUG,
        "WARN" => LevelFilter::WARN,
        "ERROR" | "FATAL" => LevelFilter::ERROR,
        _ => LevelFilter::INFO,
    }
}
