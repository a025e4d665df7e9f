//! For whom a network is examined.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::environment::{AccountId, GroupId, QueueArn, Region, SubnetId};
use crate::event::{self, EnvironmentSpec};
use crate::settings::{DEFAULT_ENDPOINT_QUOTA, Settings};

/// An environment that is, or that is to be.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The account that it lives in, or will.
    pub account: AccountId,
    /// Its Region.
    pub region: Region,
    /// Its subnets.
    pub subnets: Vec<SubnetId>,
    /// Its security groups.
    pub groups: BTreeSet<GroupId>,
    /// What it is to be called, if that is said of one that is to be.
    pub planned_name: Option<String>,
    /// The bucket of its DAGs, if it is known.
    pub bucket: Option<String>,
    /// Where its DAGs lie in the bucket, if it is known.
    pub dag_path: Option<String>,
    /// The role that its workers have, if it is known: its ARN.
    pub execution_role: Option<String>,
    /// Its customer managed key in KMS, if one is named: by its id, its ARN or an alias.
    pub kms_key: Option<String>,
    /// How many workers and schedulers it may still start, each of which takes an address.
    pub tasks: u32,
    /// The organization of environments' accounts, if policies are limited to it.
    pub organization: Option<String>,
    /// The organization that the function limits its own statement to, if it does.
    pub limited_to: Option<String>,
    /// The most endpoints that a VPC may have.
    pub quota: usize,
    /// Now.
    pub now: DateTime<Utc>,
    /// What MWAA says of it, if it is there.
    pub(super) told: Option<EnvironmentSpec>,
}

/// MWAA's defaults (MWAA API, `CreateEnvironment`: `MaxWorkers`, `Schedulers`).
const WORKERS: u64 = 10;
const SCHEDULERS: u64 = 2;

impl Subject {
    /// An environment that is to be.
    pub fn planned(
        account: AccountId,
        region: Region,
        subnets: Vec<SubnetId>,
        groups: BTreeSet<GroupId>,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            account,
            region,
            subnets,
            groups,
            planned_name: None,
            bucket: None,
            dag_path: None,
            execution_role: None,
            kms_key: None,
            tasks: u32::try_from(WORKERS + SCHEDULERS).unwrap_or_default(),
            organization: None,
            limited_to: None,
            quota: DEFAULT_ENDPOINT_QUOTA,
            now,
            told: None,
        }
    }

    /// An environment as the function knows it.
    pub fn of(spec: &EnvironmentSpec, settings: &Settings, now: DateTime<Utc>) -> Self {
        let environment = &spec.environment;
        let (account, region) = (environment.account.clone(), environment.region.clone());
        let planned =
            Self::planned(account, region, spec.subnets.clone(), spec.groups.clone(), now);
        Self {
            organization: settings.organization.clone(),
            limited_to: settings.organization.clone(),
            quota: settings.endpoint_quota.unwrap_or(DEFAULT_ENDPOINT_QUOTA),
            told: Some(spec.clone()),
            ..planned
        }
    }

    /// An environment of which MWAA says this: the value of `Environment` in GetEnvironment's answer.
    ///
    /// # Errors
    ///
    /// A sentence with the path of the first field that cannot be read.
    pub fn of_mwaa(mut answer: Value, now: DateTime<Utc>) -> Result<Self, String> {
        let number = |name: &str| answer.get(name).and_then(Value::as_u64);
        let bucket = answer.get("SourceBucketArn").and_then(Value::as_str);
        let bucket = bucket.and_then(|arn| arn.rsplit(':').next()).map(str::to_owned);
        let text = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
        let (execution_role, kms_key) = (text("ExecutionRoleArn"), text("KmsKey"));
        let dag_path = text("DagS3Path");
        let most = number("MaxWorkers").unwrap_or(WORKERS);
        let (running, schedulers) =
            (number("MinWorkers").unwrap_or(1), number("Schedulers").unwrap_or(SCHEDULERS));
        // Of one whose endpoints MWAA makes itself the function needs nothing, and reads no more.
        let management = answer.get_mut("EndpointManagement");
        let of_mwaa = management.filter(|it| *it == "SERVICE").map(Value::take).is_some();
        let mut spec = event::of_mwaa(answer).map_err(|refusal| refusal.at_path())?;
        if of_mwaa {
            spec.customer_managed = Some(false);
            spec.named.clear();
        }
        let tasks = match spec.status {
            event::Status::Pending | event::Status::Creating => most + schedulers,
            _ => most.saturating_sub(running),
        };
        Ok(Self {
            account: spec.environment.account.clone(),
            region: spec.environment.region.clone(),
            subnets: spec.subnets.clone(),
            groups: spec.groups.clone(),
            planned_name: None,
            bucket,
            dag_path,
            execution_role,
            kms_key,
            tasks: u32::try_from(tasks).unwrap_or(u32::MAX),
            organization: None,
            limited_to: None,
            quota: DEFAULT_ENDPOINT_QUOTA,
            now,
            told: Some(spec),
        })
    }

    /// Its name, if it is known.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.told {
            Some(told) => Some(told.environment.name()),
            None => self.planned_name.as_deref(),
        }
    }

    /// The ARN of its customer managed key, if MWAA names the key and not an alias of it: policies name
    /// keys (KMS developer guide, "Policy resource").
    pub(super) fn key(&self) -> Option<String> {
        let key = self.kms_key.as_deref().filter(|it| !it.contains("alias/"))?;
        if key.starts_with("arn:") {
            return Some(key.to_owned());
        }
        let (partition, id) = (self.region.partition(), key.trim_start_matches("key/"));
        Some(format!("arn:{partition}:kms:{}:{}:key/{id}", self.region, self.account))
    }

    /// Its queue, if it is there and MWAA names it.
    pub(super) fn queue(&self) -> Option<&QueueArn> {
        self.told.as_ref()?.queue.as_ref()
    }
}
