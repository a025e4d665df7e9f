//! What AWS answers when it does not do what it was asked for: which codes mean what, and what helps.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};

use crate::report::{AwsError, Failure, shortened};

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
        self.error.as_ref().is_some_and(|error| error.is_unknown_group())
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
        self.has(&["InvalidPermission.NotFound", "InvalidSecurityGroupRuleId.NotFound"])
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
            // The process was frozen between signing and sending.
            EXPIRED,
        ];
        let no_code = self.error.as_ref().is_some_and(|error| error.code.is_none());
        no_code || self.has(BUSY) || self.is_in_progress()
    }
}

impl AwsError {
    /// Whether EC2 does not know a security group.
    pub fn is_unknown_group(&self) -> bool {
        const UNKNOWN: [&str; 3] =
            ["InvalidGroup.NotFound", "InvalidSecurityGroupID.NotFound", "InvalidGroupId.NotFound"];
        self.code.as_deref().is_some_and(|code| UNKNOWN.contains(&code))
    }

    /// Whether EC2 does not know the service of an endpoint.
    pub fn is_unknown_service(&self) -> bool {
        self.code.as_deref() == Some("InvalidServiceName")
    }
}

const UNKNOWN_ENDPOINT: &[&str] = &["InvalidVpcEndpoint.NotFound", "InvalidVpcEndpointId.NotFound"];

/// EC2 takes a request for up to 15 minutes after it was signed (EC2 API, "Error codes"). Lambda may
/// freeze a process for longer.
pub(super) const EXPIRED: &str = "RequestExpired";

/// Whether a code says that EC2 does not know an endpoint.
pub(super) fn is_unknown_endpoint(code: Option<&str>) -> bool {
    code.is_some_and(|code| UNKNOWN_ENDPOINT.contains(&code))
}

/// An SDK error as a failure.
pub fn failure<E>(call: &str, what: &str, error: &SdkError<E>) -> Failure
where
    E: ProvideErrorMetadata + Error + 'static,
    SdkError<E>: Error,
{
    let status = error.raw_response().map(|answer| answer.status().as_u16());
    let (message, helps) = match (error.message(), status) {
        (Some(message), _) => (message.to_owned(), None),
        (None, Some(status)) => unreadable(status),
        (None, None) => no_answer(&causes(error)),
    };
    let mut failure = answered(call, what, error.code(), message);
    if has_no_credentials(error) {
        failure.remedy.get_or_insert(NO_CREDENTIALS.to_owned());
    }
    if let Some(helps) = helps {
        failure.remedy.get_or_insert(helps.to_owned());
    }
    failure
}

const MOST_OF_A_CODE: usize = 100;

/// AWS's message, without what follows a denial for `aws sts decode-authorization-message`. Of a long one
/// both ends are told: a denial begins with who was denied, and ends with what and why.
fn told(message: &str) -> String {
    let message = message.split(" Encoded authorization failure message:").next();
    shortened(message.unwrap_or_default())
}

/// An answer that is none of AWS's. Nothing of what is in it is told: it may hold anything.
fn unreadable(status: u16) -> (String, Option<&'static str>) {
    match status {
        407 => ("a proxy asks who the function is (HTTP 407)".to_owned(), Some(PROXY)),
        _ => (format!("the answer cannot be read (HTTP {status})"), Some(SOMETHING_BETWEEN)),
    }
}

const PROXY: &str = "see what HTTPS_PROXY says; a user and a password for the proxy belong into it";
const SOMETHING_BETWEEN: &str = "if it lasts, look for what answers in place of AWS, such as a proxy or a firewall, and at AWS_ENDPOINT_URL";
const NO_WAY: &str = "see that there is a way to AWS from here: a function in a VPC needs NAT or an interface endpoint for the service, and its DNS; look at AWS_ENDPOINT_URL and HTTPS_PROXY if they are set";

/// Why no answer came, as a sentence, by what the SDK's HTTP client says of it.
fn no_answer(causes: &str) -> (String, Option<&'static str>) {
    let has = |text| causes.contains(text);
    if has("proxy authorization required") {
        return unreadable(407);
    }
    let (whose, helps) = match has("tunnel error") {
        true => ("the proxy's", PROXY),
        false => ("the service's", NO_WAY),
    };
    let why = if has("dns error") {
        format!("{whose} host name cannot be resolved")
    } else if has("Connection refused") {
        format!("{whose} host refused the connection")
    } else if has("reset by peer") || has("unexpected end of file") || has("connection closed") {
        format!("{whose} host closed the connection without an answer")
    } else if has("timeout") || has("timed out") {
        format!("{whose} host did not answer in time")
    } else if has("TLS handshake") || has("certificate") {
        format!("no TLS connection to {whose} host: {}", last(causes))
    } else {
        return (shortened(causes), None);
    };
    (why, Some(helps))
}

/// The innermost of some causes; of a certificate, what of it is wrong.
fn last(causes: &str) -> String {
    let last = causes.rsplit(": ").next().unwrap_or_default();
    let of_certificate = causes.find("invalid peer certificate").map(|at| &causes[at..]);
    shortened(of_certificate.unwrap_or(last))
}

/// What stands in the way where the credentials could not be had.
pub const NO_CREDENTIALS: &str = "on Lambda the credentials are the role's; anywhere else set AWS_PROFILE to a profile of the account that owns the VPC, and sign in (`aws sso login`) if it says so: `aws sts get-caller-identity` must work";

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

pub(super) fn answered(
    call: &str,
    what: &str,
    code: Option<&str>,
    message: impl AsRef<str>,
) -> Failure {
    let code: Option<String> = code.map(|code| code.chars().take(MOST_OF_A_CODE).collect());
    let message = told(message.as_ref());
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
            "a network interface takes 5 groups, or up to 16 with a higher quota, and nothing was put on it: give the environment fewer, or ask for more \"Security groups per network interface\" in Service Quotas"
        }
        "InvalidServiceName" => {
            "the service is not there for this account: either the event is stale and the environment is gone, or the function does not run in the account that owns the VPC"
        }
        "DuplicateSubnetsInSameZone" => {
            "the endpoint is in another subnet of the same Availability Zone: take that subnet off it"
        }
        "InvalidPolicyDocument" => {
            "EC2 refuses the endpoint's policy with the queue added. What it took once it may refuse when it is written again, as its rules became stricter (VPC user guide, \"Control access to VPC endpoints using endpoint policies\"): write the policy as it is once by hand, and correct the statement that EC2 names"
        }
        "InsufficientFreeAddressesInSubnet" => {
            "an endpoint takes an address in each subnet: free some, or give the environment subnets with more room"
        }
        "TagPolicyViolation" => {
            "the organization's tag policy does not admit one of the tags: set EndpointTags to what it asks for, or except the keys mwaa-vpc-endpoints/* from it"
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
