//! What AWS answers when it does not do what it was asked for: which codes mean what, and what helps.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};

use crate::report::{AwsError, Failure};

impl Failure {
    fn has(&self, codes: &[&str]) -> bool {
        self.code().is_some_and(|code| codes.contains(&code))
    }

    /// Whether EC2 does not know a subnet.
    pub fn is_unknown_subnet(&self) -> bool {
        self.has(&["InvalidSubnetID.NotFound", "InvalidSubnetId.NotFound"])
    }

    /// Whether EC2 does not know a security group: a new one may be unknown for some seconds.
    pub fn is_unknown_group(&self) -> bool {
        self.has(&[
            "InvalidGroup.NotFound",
            "InvalidSecurityGroupID.NotFound",
            "InvalidGroupId.NotFound",
        ])
    }

    /// Whether EC2 does not know an endpoint. Both spellings are documented (EC2 API, "Error codes").
    pub fn is_unknown_endpoint(&self) -> bool {
        self.has(UNKNOWN_ENDPOINT)
    }

    /// Whether there is a group of that name already.
    pub fn is_duplicate_group(&self) -> bool {
        self.has(&["InvalidGroup.Duplicate"])
    }

    /// Whether the group has one of the rules already.
    pub fn is_duplicate_rule(&self) -> bool {
        self.has(&["InvalidPermission.Duplicate"])
    }

    /// Whether the group does not have one of the rules.
    pub fn is_unknown_rule(&self) -> bool {
        self.has(&["InvalidPermission.NotFound"])
    }

    /// Whether the group is still in use.
    pub fn is_in_use(&self) -> bool {
        self.has(&["DependencyViolation", "InvalidGroup.InUse"])
    }

    /// Whether a request with this token was made before, with other parameters.
    pub fn is_token_of_another(&self) -> bool {
        self.has(&["IdempotentParameterMismatch"])
    }

    /// Whether the caller may not do it.
    pub fn is_denied(&self) -> bool {
        self.has(&["UnauthorizedOperation", "AccessDenied", "AccessDeniedException"])
    }

    /// Whether another change of the same endpoint is under way (terraform-provider-aws#42698,
    /// #48364: EC2 answers so for a second or more after any change).
    pub fn is_in_progress(&self) -> bool {
        self.has(&["OperationInProgress", "IncorrectState"])
    }

    /// Whether the same may work in a moment: EC2 is busy or limits the rate of calls, or no answer
    /// came, so that nobody knows whether it was done.
    pub fn may_pass(&self) -> bool {
        const BUSY: &[&str] = &[
            "RequestLimitExceeded",
            "Throttling",
            "ThrottlingException",
            "EC2ThrottledException",
            "InternalError",
            "InternalFailure",
            "ServiceUnavailable",
            "Unavailable",
        ];
        let no_code = self.error.as_ref().is_some_and(|error| error.code.is_none());
        no_code || self.has(BUSY) || self.is_in_progress()
    }
}

impl AwsError {
    /// Whether EC2 does not know the service of an endpoint.
    pub fn is_unknown_service(&self) -> bool {
        self.code.as_deref() == Some("InvalidServiceName")
    }
}

const UNKNOWN_ENDPOINT: &[&str] = &["InvalidVpcEndpoint.NotFound", "InvalidVpcEndpointId.NotFound"];

/// Whether a code says that EC2 does not know an endpoint.
pub(super) fn is_unknown_endpoint(code: Option<&str>) -> bool {
    code.is_some_and(|code| UNKNOWN_ENDPOINT.contains(&code))
}

/// An SDK error as a failure.
pub(super) fn failure<E>(call: &str, what: &str, error: &SdkError<E>) -> Failure
where
    E: ProvideErrorMetadata + Error + 'static,
    SdkError<E>: Error,
{
    let code = error.code().map(str::to_owned);
    let message = match error.message() {
        Some(message) => message.to_owned(),
        None => {
            let status = error.raw_response().map(|it| format!(" (HTTP {})", it.status().as_u16()));
            causes(error) + &status.unwrap_or_default()
        }
    };
    let mut failure = answered(call, what, code, message);
    if failure.remedy.is_none() && has_no_credentials(error) {
        failure.remedy = Some(NO_CREDENTIALS.to_owned());
    }
    failure
}

/// What stands in the way where the credentials could not be had.
const NO_CREDENTIALS: &str = "on Lambda the credentials are the role's; anywhere else set AWS_PROFILE to a profile of the account that owns the VPC, and sign in (`aws sso login`) if it says so: `aws sts get-caller-identity` must work";

/// An error and its causes, as far as each says more than the one before. As text for people: what
/// errors say for debugging shows the Rust values that they are made of.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in causes_of(error) {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
    }
    text
}

/// The causes of an error, the nearest first.
pub(super) fn causes_of<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause: &&'a (dyn Error + 'static)| (**cause).source())
}

fn has_no_credentials(error: &(dyn Error + 'static)) -> bool {
    causes_of(error).any(|cause| cause.is::<CredentialsError>())
}

pub(super) fn answered(call: &str, what: &str, code: Option<String>, message: String) -> Failure {
    let remedy = code.as_deref().and_then(|code| remedy(call, code));
    let error = Box::new(AwsError { call: call.to_owned(), code, message });
    Failure { doing: what.to_owned(), why: None, error: Some(error), remedy }
}

/// What helps against an error of EC2, where that is known.
fn remedy(call: &str, code: &str) -> Option<String> {
    let text = match code {
        "AccessDenied" | "AccessDeniedException"
            if matches!(call, "ListEnvironments" | "GetEnvironment" | "AssumeRole") =>
        {
            "in this account: deploy the template again; in a participant's: deploy participant.yaml there with the reader role, which lets this function's role ask"
        }
        "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" => {
            return Some(format!(
                "the function's role may not do ec2:{call} on this resource: deploy the template again, and look for a service control policy or permissions boundary that denies it"
            ));
        }
        "VpcEndpointLimitExceeded" => {
            "the VPC has as many endpoints as its quota allows: delete unused ones, or ask for a higher \"Interface VPC endpoints per VPC\" in Service Quotas"
        }
        "RulesPerSecurityGroupLimitExceeded" => {
            "the group would have more inbound rules than the quota allows (60 by default; a prefix list counts with its maximum number of entries): ask for more \"Inbound or outbound rules per security group\" in Service Quotas, or name fewer sources in the template's parameters"
        }
        "SecurityGroupLimitExceeded" => {
            "the account has as many security groups as its quota allows: delete unused ones, or ask for more \"VPC security groups per Region\" in Service Quotas"
        }
        "SecurityGroupsPerInterfaceLimitExceeded" => {
            "an interface takes a few groups only: give the environment fewer, or ask for more \"Security groups per network interface\" in Service Quotas"
        }
        "InvalidServiceName" => {
            "the service is not there for this account: either the event is stale and the environment is gone, or the function does not run in the account that owns the VPC"
        }
        "DuplicateSubnetsInSameZone" => {
            "the endpoint is in another subnet of the same Availability Zone: take that subnet off it"
        }
        "InvalidPolicyDocument" => {
            "look at the policy that the endpoint has; EC2 refuses it with the queue added"
        }
        "InvalidSubnetID.NotFound" | "InvalidSubnetId.NotFound" => {
            "the subnets are gone, or the function does not run in the account and Region of the VPC's owner"
        }
        "InvalidGroup.NotFound" | "InvalidSecurityGroupID.NotFound" | "InvalidGroupId.NotFound" => {
            "the security group is gone, or belongs to another account or VPC"
        }
        "RequestLimitExceeded" | "Throttling" | "ThrottlingException" => {
            "EC2 limits the rate of calls: the next delivery tries again"
        }
        _ => return None,
    };
    Some(text.to_owned())
}
