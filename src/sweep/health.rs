//! What is slow or nearly full in the VPCs that a sweep has looked at.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;

use super::look::{Landscape, Seen};
use super::{SweepReport, VpcHealth};
use crate::doctor::{MORE_ENDPOINTS, SHORTER_POLICY, is_nearly_full};
use crate::environment::{Region, VpcId};
use crate::gather::Gather;
use crate::reconcile::Context;
use crate::report::Warning;
use crate::settings::DEFAULT_ENDPOINT_QUOTA;
use crate::sqs_policy::MAX_POLICY_CHARACTERS;
use crate::vpc::{Endpoint, State};

/// How long an endpoint may take to become available before it is reported.
const SLOW_ENDPOINT: TimeDelta = TimeDelta::minutes(30);

/// Reports what is slow or nearly full in `vpcs`, as the sweep saw them first.
pub(super) fn health(
    context: &Context<'_>,
    region: &Region,
    landscape: &Landscape,
    vpcs: &BTreeSet<VpcId>,
    report: &mut SweepReport,
) {
    let now = context.now;
    let quota = context.settings.endpoint_quota.unwrap_or(DEFAULT_ENDPOINT_QUOTA);
    let none = Seen::default();
    let is_served =
        |vpc: &&VpcId| context.settings.vpcs.is_empty() || context.settings.vpcs.contains(vpc);
    for vpc in vpcs.iter().filter(is_served) {
        let Seen { endpoints, interfaces } = landscape.vpc(vpc).unwrap_or(&none);
        let interfaces = *interfaces;
        let is_available = |it: &Endpoint| it.state.is_going() || it.state == State::Available;
        let not_available = endpoints
            .iter()
            .filter(|endpoint| endpoint.made_for().is_some() && !is_available(endpoint));
        report.not_available += not_available.clone().count();
        for endpoint in not_available.filter(|endpoint| {
            endpoint.created.is_some_and(|c| now.signed_duration_since(c) > SLOW_ENDPOINT)
        }) {
            report.warnings.push(Warning::new(
                format!(
                    "{} to {} is {} after {} minutes",
                    endpoint.id,
                    endpoint.service,
                    endpoint.state,
                    SLOW_ENDPOINT.num_minutes()
                ),
                "see whether the environment still waits for it; a dead one is replaced while it does",
            ));
        }
        if is_nearly_full(interfaces, quota) {
            report.warnings.push(Warning::new(
                format!("{vpc} has {interfaces} of {quota} endpoints"),
                MORE_ENDPOINTS,
            ));
        }
        let policy_characters: BTreeMap<String, usize> = endpoints
            .iter()
            .filter(|endpoint| endpoint.serves_sqs(region))
            .filter_map(|e| Some((e.id.to_string(), e.policy.as_ref()?.chars().count())))
            .gather();
        for (id, characters) in &policy_characters {
            if is_nearly_full(*characters, MAX_POLICY_CHARACTERS) {
                report.warnings.push(Warning::new(
                    format!(
                        "the policy of {id} has {characters} of {MAX_POLICY_CHARACTERS} characters"
                    ),
                    SHORTER_POLICY,
                ));
            }
        }
        report.vpcs.push(VpcHealth {
            vpc: vpc.to_string(),
            endpoints: interfaces,
            quota,
            policy_characters,
        });
    }
}
