//! What a command needs of IAM.

use mwaa_vpc_endpoints::environment::Region;
use serde_json::{Value, json};

use crate::stack;

/// The actions that a command needs. Only those on the function and its queues change anything.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    /// In the account that owns the VPC.
    pub owner: &'static [&'static str],
    /// In the environment's account, on environments.
    pub environments: &'static [&'static str],
    /// In the environment's account, on nothing in particular.
    pub lists: &'static [&'static str],
    /// On the deployed function, in the account that owns the VPC.
    pub function: &'static [&'static str],
    /// On queues for lost events, in the account whose they are.
    pub queues: &'static [&'static str],
}

impl Needs {
    /// Nothing.
    pub const NONE: Self =
        Self { owner: &[], environments: &[], lists: &[], function: &[], queues: &[] };
}

/// What the deployed function and the queues for lost events are called. CloudFormation calls what a
/// stack has `<stack>-<name in the template>-<random>`.
#[derive(Clone, Debug)]
pub struct Names {
    /// The function.
    pub function: String,
    /// The queues.
    pub queues: Vec<String>,
}

impl Names {
    /// Of what is in a stack, and of participants' queues, whose stacks may have any name.
    pub fn in_stack(stack: &str) -> Self {
        let queues = vec![format!("{stack}-*"), "*-UndeliveredEventsQueue-*".to_owned()];
        Self { function: format!("{stack}-*"), queues }
    }
}

impl Default for Names {
    fn default() -> Self {
        Self::in_stack(stack::OWNERS)
    }
}

/// The policy for a command. Where the VPC's owner is another account than the environment's, each
/// account needs the statements that name it.
pub fn policy(needs: Needs, region: Option<&str>, names: &Names) -> Value {
    let region = region.and_then(|region| Region::parse(region).ok());
    let partition = region.as_ref().map_or("aws", Region::partition);
    let region = region.as_ref().map_or("*", Region::as_str);
    let arn = |service: &str, rest: &str| format!("arn:{partition}:{service}:{region}:*:{rest}");
    let environments = arn("airflow", "environment/*");
    let function = arn("lambda", &format!("function:{}", names.function));
    let queues: Vec<String> = names.queues.iter().map(|name| arn("sqs", name)).collect();
    // Descriptions and lists know no resources (Service Authorization Reference).
    let statements = [
        ("VpcOwner", needs.owner, json!("*")),
        ("VpcOwnerFunction", needs.function, json!(function)),
        ("EnvironmentAccount", needs.environments, json!(environments)),
        ("EnvironmentAccountLists", needs.lists, json!("*")),
        ("QueuesForLostEvents", needs.queues, json!(queues)),
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
