//! Creates the VPC endpoints that an Amazon MWAA environment waits for, and lets its Celery queue
//! through the policies of the VPC's SQS endpoints.
//!
//! The map, from the door inwards:
//!
//! - [`handler`]: a payload in, an answer and a log out.
//! - `event`: what is said of an environment, by an event, a person or MWAA: `EnvironmentSpec`.
//! - `reconcile`, `sweep`: look at EC2 and ask MWAA, judge, decide; then describe or do.
//! - `plan`: whose word counts (`plan::proof`), what must be done (`plan::decide`), and doing it
//!   (`plan::execute`). It is decided once: a `plan::Plan` is described or carried out; `plan::diff`
//!   shows it to a person.
//! - `endpoints`, `security_group`, `sqs_policy`: one kind of resource each, what must happen to it
//!   (`decide`, `step`) and making it happen (`apply`).
//! - `vpc`: what EC2 shows, and whose it is.
//! - [`doctor`]: what of a network keeps an environment from working, before and after it is there.
//! - `aws`: EC2, MWAA, and what they answer when they do not.
//!
//! There are two programs on it: the function (`main.rs`), and the command line for people
//! (`bin/mwaa-vpc/`), which only looks: `reconcile::preview` and `sweep::survey`.
//!
//! The rule for strangers: of these rooms, only those named `apply`, `plan::execute`, `reconcile` and
//! `sweep` may name [`aws::Ec2`]. All else is pure, and has its tests beside it.

pub mod aws;
pub mod doctor;
pub(crate) mod endpoints;
pub mod environment;
pub mod event;
mod gather;
pub mod handler;
pub mod plan;
pub mod reconcile;
pub mod report;
pub(crate) mod security_group;
pub mod settings;
pub mod sqs_policy;
pub mod sweep;
pub mod tags;
pub mod vpc;
