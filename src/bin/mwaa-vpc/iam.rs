//! What a command needs of IAM.

use mwaa_vpc_endpoints::environment::Region;
use serde_json::{Value, json};

/// The actions that a command needs. None of them changes anything.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    /// In the account that owns the VPC.
    pub owner: &'static [&'static str],
    /// In the environment's account, on environments.
    pub environments: &'static [&'static str],
    /// In the environment's account, on nothing in particular.
    pub lists: &'static [&'static str],
}

/// The policy for a command. Where the VPC's owner is another account than the environment's, each
/// account needs the statements that name it.
pub fn policy(needs: Needs, region: Option<&str>) -> Value {
    let region = region.and_then(|region| Region::parse(region).ok());
    let partition = region.as_ref().map_or("aws", Region::partition);
    let region = region.as_ref().map_or("*", Region::as_str);
    let environments = format!("arn:{partition}:airflow:{region}:*:environment/*");
    // Descriptions and lists know no resources (Service Authorization Reference).
    let statements = [
        ("VpcOwner", needs.owner, "*"),
        ("EnvironmentAccount", needs.environments, environments.as_str()),
        ("EnvironmentAccountLists", needs.lists, "*"),
    ];
    let statements: Vec<Value> = statements
        .into_iter()
        .filter(|(_, actions, _)| !actions.is_empty())
        .map(|(sid, actions, resource)| {
            json!({"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resource})
        })
        .collect();
    json!({"Version": "2012-10-17", "Statement": statements})
}
