//! A CloudFormation stack of this project: its outputs and its resources.

use std::collections::BTreeMap;

use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::error::ProvideErrorMetadata;
use aws_sdk_cloudformation::types::Stack as Described;
use aws_types::SdkConfig;
use mwaa_vpc_endpoints::aws::error::failure;
use mwaa_vpc_endpoints::report::Failure;

/// What the owner's stack is called, unless somebody gave it another name.
pub const OWNERS: &str = "mwaa-vpc-endpoints";

/// A stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stack {
    /// Its name.
    pub name: String,
    /// Its status, such as `UPDATE_COMPLETE`.
    pub status: String,
    /// Its outputs, by name.
    pub outputs: BTreeMap<String, String>,
}

/// The stacks of one account and Region.
#[derive(Clone, Debug)]
pub struct Stacks {
    client: Client,
}

impl Stacks {
    pub fn new(config: &SdkConfig) -> Self {
        Self { client: Client::new(config) }
    }

    /// The stack of this name, if it is there.
    ///
    /// # Errors
    ///
    /// As CloudFormation answers.
    pub async fn named(&self, name: &str) -> Result<Option<Stack>, Failure> {
        match self.client.describe_stacks().stack_name(name).send().await {
            Ok(answer) => Ok(answer.stacks().first().map(read)),
            // CloudFormation's way to say that there is none.
            Err(error) if error.code() == Some("ValidationError") => Ok(None),
            Err(error) => {
                Err(failure("DescribeStacks", &format!("looking at stack {name}"), &error))
            }
        }
    }

    /// All stacks. Where no name is given, `ListStacks` must be permitted, too (CloudFormation API,
    /// `DescribeStacks`: `StackName`).
    ///
    /// # Errors
    ///
    /// As CloudFormation answers.
    pub async fn all(&self) -> Result<Vec<Stack>, Failure> {
        let mut pages = self.client.describe_stacks().into_paginator().send();
        let mut all = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| failure("DescribeStacks", "looking at the stacks", &e))?;
            all.extend(page.stacks().iter().map(read));
        }
        Ok(all)
    }

    /// What a stack consists of: the physical id of each resource by its logical id.
    ///
    /// # Errors
    ///
    /// As CloudFormation answers.
    pub async fn resources(&self, name: &str) -> Result<BTreeMap<String, String>, Failure> {
        let mut pages = self.client.list_stack_resources().stack_name(name).into_paginator().send();
        let mut all = BTreeMap::new();
        while let Some(page) = pages.next().await {
            let what = format!("looking at stack {name}");
            let page = page.map_err(|e| failure("ListStackResources", &what, &e))?;
            for it in page.stack_resource_summaries() {
                if let (Some(logical), Some(physical)) =
                    (it.logical_resource_id(), it.physical_resource_id())
                {
                    all.insert(logical.to_owned(), physical.to_owned());
                }
            }
        }
        Ok(all)
    }
}

fn read(stack: &Described) -> Stack {
    let outputs = stack.outputs().iter();
    let outputs = outputs.filter_map(|it| Some((it.output_key()?, it.output_value()?)));
    Stack {
        name: stack.stack_name().unwrap_or_default().to_owned(),
        status: stack.stack_status().map_or("", |it| it.as_str()).to_owned(),
        outputs: outputs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
    }
}
