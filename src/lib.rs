//! Creates the VPC endpoints that an Amazon MWAA environment waits for, and lets its Celery queue
//! through the policies of the VPC's SQS endpoints.
//!
//! What arrives becomes a [`event::Request`] at the door ([`event`]); [`reconcile`] looks at the VPC
//! through [`ec2`], lets [`plan`] decide, and acts. Only [`ec2`] knows AWS's client; everything that
//! decides is a pure function.

pub mod act;
pub mod aws;
pub mod ec2;
pub mod endpoints;
pub mod environment;
pub mod event;
pub mod handler;
pub mod mwaa;
pub mod plan;
pub mod reconcile;
pub mod removal;
pub mod report;
pub mod security_group;
pub mod settings;
pub mod sqs_policy;
pub mod sweep;
pub mod tags;
pub mod vpc;
