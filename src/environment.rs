//! What an MWAA environment is called, and the other names that an event carries.
//!
//! Every type here is parsed once, at the door, and cannot hold anything else afterwards: nothing
//! from an event reaches a policy, a tag or a request as a bare string.

use std::fmt;

/// A text that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// What would have been right.
    pub expected: String,
    /// What was there instead.
    pub got: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, got {:?}", self.expected, self.got)
    }
}

impl std::error::Error for Malformed {}

fn malformed(expected: impl Into<String>, got: &str) -> Malformed {
    // A hostile or broken event may hold a text of any length; the error should still be readable.
    const SHOWN: usize = 200;
    let mut shown: String = got.chars().take(SHOWN).collect();
    if shown.len() < got.len() {
        shown.push('…');
    }
    Malformed { expected: expected.into(), got: shown }
}

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text as AWS writes it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }
    };
}

text_type! {
    /// A 12-digit AWS account id.
    AccountId
}

impl AccountId {
    /// Parses 12 digits.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(malformed("an account id of 12 digits", text))
        }
    }
}

text_type! {
    /// An AWS Region's code, such as `eu-central-1`.
    Region
}

impl Region {
    /// Parses a Region code: lower-case words joined by hyphens, a number at the end.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let words: Vec<&str> = text.split('-').collect();
        let well_formed = text.len() <= 32
            && words.len() >= 3
            && words
                .iter()
                .rev()
                .skip(1)
                .all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()))
            && words.last().is_some_and(|number| {
                !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
            });
        if well_formed {
            Ok(Self(text.to_owned()))
        } else {
            Err(malformed("a Region such as eu-central-1", text))
        }
    }

    /// The partition that the Region belongs to, as it stands in the ARNs of its resources.
    ///
    /// Source: the Regions' prefixes in the SDK's own `partitions.json`.
    pub fn partition(&self) -> &'static str {
        const PREFIXES: [(&str, &str); 7] = [
            ("cn-", "aws-cn"),
            ("us-gov-", "aws-us-gov"),
            ("us-iso-", "aws-iso"),
            ("us-isob-", "aws-iso-b"),
            ("eu-isoe-", "aws-iso-e"),
            ("us-isof-", "aws-iso-f"),
            ("eusc-", "aws-eusc"),
        ];
        PREFIXES
            .iter()
            .find(|(prefix, _)| self.0.starts_with(prefix))
            .map_or("aws", |(_, partition)| partition)
    }

    /// What a service name may begin with in this Region. In China some services carry the prefix
    /// `cn.` and others do not, so both are taken there.
    fn service_prefixes(&self) -> &'static [&'static str] {
        if self.partition() == "aws-cn" {
            &["com.amazonaws.", "cn.com.amazonaws."]
        } else {
            &["com.amazonaws."]
        }
    }

    /// The names that this Region's interface endpoint services for SQS can have.
    pub fn sqs_services(&self) -> [String; 4] {
        let named = |prefix, name| format!("{prefix}com.amazonaws.{self}.{name}");
        [("", "sqs"), ("", "sqs-fips"), ("cn.", "sqs"), ("cn.", "sqs-fips")]
            .map(|(prefix, name)| named(prefix, name))
    }

    /// Whether `service` is one of this Region's interface endpoint services for SQS.
    pub fn is_sqs_service(&self, service: &str) -> bool {
        self.sqs_services().iter().any(|name| name == service)
    }
}

fn is_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|rest| {
        (1..=64).contains(&rest.len())
            && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    })
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $what:literal) => {
        text_type! { $(#[$doc])* $name }

        impl $name {
            #[doc = concat!("Parses ", $what, ".")]
            pub fn parse(text: &str) -> Result<Self, Malformed> {
                if is_id(text, $prefix) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(malformed($what, text))
                }
            }
        }
    };
}

// The patterns of subnet and group ids are those of MWAA's API (NetworkConfiguration).
id_type! {
    /// A subnet's id.
    SubnetId, "subnet-", "a subnet id (subnet-…)"
}
id_type! {
    /// A security group's id.
    GroupId, "sg-", "a security group id (sg-…)"
}
id_type! {
    /// A VPC's id.
    VpcId, "vpc-", "a VPC id (vpc-…)"
}
id_type! {
    /// A VPC endpoint's id.
    EndpointId, "vpce-", "a VPC endpoint id (vpce-…)"
}
id_type! {
    /// A managed prefix list's id.
    PrefixListId, "pl-", "a prefix list id (pl-…)"
}

/// An MWAA environment: the account it lives in, its Region and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Environment {
    /// The account that created the environment: the VPC's owner or a participant.
    pub account: AccountId,
    /// The Region.
    pub region: Region,
    name: String,
}

impl Environment {
    /// Puts an environment's identity together; the name must be one that MWAA allows
    /// (`[a-zA-Z][0-9a-zA-Z-_]*`, 1 to 80 characters).
    pub fn new(account: AccountId, region: Region, name: &str) -> Result<Self, Malformed> {
        let well_formed = (1..=80).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if well_formed {
            Ok(Self { account, region, name: name.to_owned() })
        } else {
            Err(malformed(
                "an environment's name (a letter, then letters, digits, - and _, at most 80 in all)",
                name,
            ))
        }
    }

    /// Parses an environment's ARN.
    pub fn parse(arn: &str) -> Result<Self, Malformed> {
        let expected =
            "an environment's ARN (arn:<partition>:airflow:<region>:<account>:environment/<name>)";
        let parts: Vec<&str> = arn.split(':').collect();
        let &["arn", partition, "airflow", region, account, resource] = parts.as_slice() else {
            return Err(malformed(expected, arn));
        };
        let name = resource.strip_prefix("environment/").ok_or_else(|| malformed(expected, arn))?;
        let region = Region::parse(region)?;
        if partition != region.partition() {
            return Err(malformed(expected, arn));
        }
        Self::new(AccountId::parse(account)?, region, name)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The environment's ARN.
    pub fn arn(&self) -> String {
        let Self { account, region, name } = self;
        format!("arn:{}:airflow:{region}:{account}:environment/{name}", region.partition())
    }
}

text_type! {
    /// The ARN of an SQS queue: no wildcard, no variable, nothing that a policy could misread.
    QueueArn
}

const PLACEHOLDER_ACCOUNT: &str = "000000000000";
const PLACEHOLDER_QUEUE: &str = "no-mwaa-environment";

impl QueueArn {
    /// Parses `arn:<partition>:sqs:<region>:<account>:<name>`; the name is as SQS allows it
    /// (up to 80 letters, digits, hyphens and underscores; a FIFO queue's ends in `.fifo`).
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let expected = "a queue's ARN (arn:<partition>:sqs:<region>:<account>:<name>, no wildcard)";
        let parts: Vec<&str> = text.split(':').collect();
        let &["arn", partition, "sqs", region, account, name] = parts.as_slice() else {
            return Err(malformed(expected, text));
        };
        let region = Region::parse(region).map_err(|_| malformed(expected, text))?;
        AccountId::parse(account).map_err(|_| malformed(expected, text))?;
        let plain = name.strip_suffix(".fifo").unwrap_or(name);
        let well_named = !plain.is_empty()
            && name.len() <= 80
            && plain.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if well_named && partition == region.partition() {
            Ok(Self(text.to_owned()))
        } else {
            Err(malformed(expected, text))
        }
    }

    /// Parses a queue's ARN that must be of `region`.
    pub fn parse_in(text: &str, region: &Region) -> Result<Self, Malformed> {
        let queue = Self::parse(text)?;
        if queue.0.split(':').nth(3) == Some(region.as_str()) {
            Ok(queue)
        } else {
            Err(malformed(format!("a queue of Region {region}"), text))
        }
    }

    /// The account that the queue belongs to.
    pub fn account(&self) -> AccountId {
        AccountId(self.0.split(':').nth(4).unwrap_or_default().to_owned())
    }

    /// A queue of the same Region that cannot be, since no account has this number.
    pub fn placeholder(&self) -> Self {
        let mut parts: Vec<&str> = self.0.split(':').collect();
        (parts[4], parts[5]) = (PLACEHOLDER_ACCOUNT, PLACEHOLDER_QUEUE);
        Self(parts.join(":"))
    }

    /// Whether this is a queue that cannot be.
    pub fn is_placeholder(&self) -> bool {
        self.placeholder() == *self
    }

    /// Whether the name begins as MWAA names its Celery queues.
    pub fn is_named_as_celery_queue(&self) -> bool {
        self.0.rsplit(':').next().is_some_and(|name| name.starts_with("airflow-celery-"))
    }
}

text_type! {
    /// The name of an endpoint service that MWAA made for one environment.
    ServiceName
}

impl ServiceName {
    /// Parses `com.amazonaws.vpce.<region>.vpce-svc-…`, in China with or without `cn.` before it.
    pub fn parse_in(text: &str, region: &Region) -> Result<Self, Malformed> {
        let well_formed = region.service_prefixes().iter().any(|prefix| {
            text.strip_prefix(&format!("{prefix}vpce.{region}."))
                .is_some_and(|id| is_id(id, "vpce-svc-"))
        });
        if well_formed {
            Ok(Self(text.to_owned()))
        } else {
            Err(malformed(
                format!(
                    "an endpoint service of Region {region} (com.amazonaws.vpce.{region}.vpce-svc-…)"
                ),
                text,
            ))
        }
    }
}

/// What an endpoint is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The metadata database, PostgreSQL on 5432.
    Database,
    /// The web server, HTTPS on 443.
    Webserver,
}

impl Role {
    /// Both roles, in the order in which results list them.
    pub const ALL: [Role; 2] = [Role::Database, Role::Webserver];

    /// Reads the word in a tag.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }

    /// The word in tags, names and results.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Database => "database",
            Role::Webserver => "webserver",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(text: &str) -> Region {
        Region::parse(text).expect("a Region")
    }

    #[test]
    fn arns_carry_the_partition_of_their_region() {
        for (code, partition) in [
            ("us-east-1", "aws"),
            ("eu-central-1", "aws"),
            ("ap-southeast-7", "aws"),
            ("cn-north-1", "aws-cn"),
            ("cn-northwest-1", "aws-cn"),
            ("us-gov-west-1", "aws-us-gov"),
            ("us-gov-east-1", "aws-us-gov"),
        ] {
            let account = AccountId::parse("210987654321").unwrap();
            let environment = Environment::new(account, region(code), "analytics").unwrap();
            assert_eq!(
                environment.arn(),
                format!("arn:{partition}:airflow:{code}:210987654321:environment/analytics")
            );
            assert_eq!(Environment::parse(&environment.arn()), Ok(environment));
        }
    }

    #[test]
    fn a_queue_is_never_a_pattern_and_never_of_another_region_or_partition() {
        let here = region("us-east-1");
        let good = "arn:aws:sqs:us-east-1:555555555555:airflow-celery-1f2e";
        assert_eq!(QueueArn::parse_in(good, &here).unwrap().as_str(), good);
        for bad in [
            "arn:aws:sqs:us-east-1:555555555555:*",
            "arn:aws:sqs:us-east-1:555555555555:airflow-celery-?",
            "arn:aws:sqs:us-east-1:555555555555:airflow-${aws:username}",
            "arn:aws:sqs:us-east-1:55555555555:airflow-celery-1",
            "arn:aws:sqs:us-east-1:*:airflow-celery-1",
            "arn:aws:sqs:us-west-2:555555555555:airflow-celery-1",
            "arn:aws-cn:sqs:us-east-1:555555555555:airflow-celery-1",
            "arn:aws:sns:us-east-1:555555555555:airflow-celery-1",
            "arn:aws:sqs:us-east-1:555555555555:",
            "arn:aws:sqs:us-east-1:555555555555:a:b",
            "arn:aws:sqs:us-east-1:555555555555:a\"b",
            "*",
            "",
        ] {
            assert!(QueueArn::parse_in(bad, &here).is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn services_carry_the_chinese_prefix_in_china_only() {
        let china = region("cn-north-1");
        for good in [
            "com.amazonaws.vpce.cn-north-1.vpce-svc-0aa11bb22cc33dd44",
            "cn.com.amazonaws.vpce.cn-north-1.vpce-svc-0aa11bb22cc33dd44",
        ] {
            assert!(ServiceName::parse_in(good, &china).is_ok(), "{good} was refused");
        }
        let here = region("us-east-1");
        for bad in [
            "cn.com.amazonaws.vpce.us-east-1.vpce-svc-0aa11bb22cc33dd44",
            "com.amazonaws.vpce.us-west-2.vpce-svc-0aa11bb22cc33dd44",
            "com.amazonaws.us-east-1.sqs",
            "com.amazonaws.vpce.us-east-1.vpce-svc-",
            "com.amazonaws.vpce.us-east-1.vpce-svc-*",
            "",
        ] {
            assert!(ServiceName::parse_in(bad, &here).is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn sqs_services_are_those_of_the_region_with_either_prefix() {
        let china = region("cn-north-1");
        assert!(china.is_sqs_service("cn.com.amazonaws.cn-north-1.sqs"));
        assert!(china.is_sqs_service("com.amazonaws.cn-north-1.sqs-fips"));
        let here = region("us-east-1");
        assert!(here.is_sqs_service("com.amazonaws.us-east-1.sqs"));
        assert!(!here.is_sqs_service("com.amazonaws.us-west-2.sqs"));
        assert!(!here.is_sqs_service("com.amazonaws.us-east-1.sqs-other"));
    }

    #[test]
    fn names_are_those_that_mwaa_allows() {
        let account = AccountId::parse("210987654321").unwrap();
        let named = |name: &str| Environment::new(account.clone(), region("us-east-1"), name);
        for good in ["a", "Analytics-2_x", &"a".repeat(80)] {
            assert!(named(good).is_ok(), "{good} was refused");
        }
        for bad in ["", "1a", "-a", "a b", "a/b", "ä", &"a".repeat(81)] {
            assert!(named(bad).is_err(), "{bad} was taken");
        }
    }
}
