//! The environment's execution role, of which IAM itself is asked what it may.

use aws_sdk_iam::types::{
    ContextEntry, ContextKeyTypeEnum, PermissionsBoundaryDecisionDetail,
    PolicyEvaluationDecisionType as Decided,
};
use aws_types::SdkConfig;
use futures_util::future::join_all;
use mwaa_vpc_endpoints::aws::error::failure;
use mwaa_vpc_endpoints::doctor::Subject;
use mwaa_vpc_endpoints::doctor::role::{Decision, ExecutionRole, Outcome, Question, questions};
use mwaa_vpc_endpoints::report::Failure;

use crate::deployment::{Iam, seen, unasked};

/// Looks at a role: one round of calls. Without a way to its account nothing is asked.
pub async fn look(arn: &str, config: Option<&SdkConfig>, of: &Subject) -> ExecutionRole {
    let Some(config) = config else {
        return ExecutionRole {
            arn: arn.to_owned(),
            trust: unasked(&of.account),
            answers: Vec::new(),
        };
    };
    let iam = Iam::new(config);
    let name = arn.rsplit('/').next().unwrap_or(arn);
    let all = questions(of).into_iter().map(async |question| {
        let topic = question.topic;
        (topic, ask(&iam.client, arn, question).await)
    });
    let (trust, answers) = tokio::join!(iam.trust(name), join_all(all));
    let trust = seen(trust);
    let is_there = !matches!(trust.get(), Ok(None));
    let answers = answers.into_iter().filter(|_| is_there);
    let answers = answers.map(|(topic, answer)| (topic, seen(answer))).collect();
    ExecutionRole { arn: arn.to_owned(), trust, answers }
}

async fn ask(
    client: &aws_sdk_iam::Client,
    role: &str,
    question: Question,
) -> Result<Vec<Decision>, Failure> {
    let what = format!("asking IAM what {role} may");
    let keys = question.keys.into_iter().map(|(key, value)| {
        ContextEntry::builder()
            .context_key_name(key)
            .context_key_type(ContextKeyTypeEnum::String)
            .context_key_values(value)
            .build()
    });
    let mut pages = client
        .simulate_principal_policy()
        .policy_source_arn(role)
        .set_action_names(Some(question.actions))
        .resource_arns(question.resource)
        .set_context_entries(Some(keys.collect()))
        .into_paginator()
        .send();
    let mut decisions = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|e| failure("SimulatePrincipalPolicy", &what, &e))?;
        for result in page.evaluation_results() {
            let by_organization = result
                .organizations_decision_detail()
                .is_some_and(|it| !it.allowed_by_organizations());
            let limits = |detail: Option<&PermissionsBoundaryDecisionDetail>| {
                detail.is_some_and(|it| !it.allowed_by_permissions_boundary())
            };
            let by_boundary = limits(result.permissions_boundary_decision_detail());
            let decision = |resource: &str,
                            decided: &Decided,
                            missing: &[String],
                            by_boundary: bool| Decision {
                action: result.eval_action_name().to_owned(),
                resource: resource.to_owned(),
                outcome: match decided {
                    Decided::Allowed => Outcome::Allowed,
                    Decided::ExplicitDeny => Outcome::Denied,
                    _ => Outcome::NotAllowed,
                },
                missing_keys: missing.iter().cloned().collect(),
                forbidden_by: match (by_organization, by_boundary) {
                    (true, _) => Some("a service control policy"),
                    (false, true) => Some("the permissions boundary"),
                    (false, false) => None,
                },
            };
            // The whole result is of all resources together (IAM API, `EvaluationResult`).
            for of_one in result.resource_specific_results() {
                let decided =
                    by_identity(of_one.eval_resource_decision(), of_one.eval_decision_details());
                let resource = of_one.eval_resource_name();
                let own = of_one.permissions_boundary_decision_detail();
                let by_boundary = if own.is_some() { limits(own) } else { by_boundary };
                let missing = of_one.missing_context_values();
                decisions.push(decision(resource, decided, missing, by_boundary));
            }
            if result.resource_specific_results().is_empty() {
                let decided = by_identity(result.eval_decision(), result.eval_decision_details());
                let resource = result.eval_resource_name().unwrap_or("*");
                let missing = result.missing_context_values();
                decisions.push(decision(resource, decided, missing, by_boundary));
            }
        }
    }
    Ok(decisions)
}

/// What the role's own policies say, where the resource is another account's: MWAA's queue and key are, and
/// what these say for themselves is not known here (IAM API, `EvaluationResult.EvalDecisionDetails`).
fn by_identity<'a>(
    whole: &'a Decided,
    details: Option<&'a std::collections::HashMap<String, Decided>>,
) -> &'a Decided {
    let of_iam = |(kind, decided): (&'a String, &'a Decided)| {
        kind.to_ascii_lowercase().starts_with("iam").then_some(decided)
    };
    match whole {
        Decided::ExplicitDeny => whole,
        _ => details.and_then(|it| it.iter().find_map(of_iam)).unwrap_or(whole),
    }
}
