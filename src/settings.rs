//! What the person who deployed the function chose: the template's parameters, which arrive as
//! environment variables. An empty variable is one that is not set.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::environment::{AccountId, GroupId, PrefixListId, VpcId};
use crate::gather::Gather;
use crate::tags;
use crate::vpc::Source;

/// The template's parameters, parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The user's own tags, for everything that the function makes.
    pub tags: BTreeMap<String, String>,
    /// The organization that our statement in SQS endpoint policies is limited to.
    pub organization: Option<String>,
    /// Which security groups endpoints carry.
    pub groups: GroupChoice,
    /// Who else may reach a participant's web server endpoint: browsers, VPN, load balancers.
    pub webserver_sources: BTreeSet<Source>,
    /// The participants that are served; all if empty.
    pub participants: BTreeSet<AccountId>,
    /// The VPCs that are served; all if empty.
    pub vpcs: BTreeSet<VpcId>,
    /// The address type of endpoints.
    pub address_type: AddressType,
    /// Whether what was made for an environment is left when the environment goes. Rules that name
    /// its groups go all the same: they would keep the groups from being deleted.
    pub keep_leftovers: bool,
    /// The role that participants let the function assume to ask MWAA of their environments.
    pub reader_role: Option<String>,
    /// Whether the function may look at all of a network to say why an environment does not come to be.
    pub diagnosis: bool,
    /// The most endpoints that a VPC may have; [`DEFAULT_ENDPOINT_QUOTA`] if not set.
    pub endpoint_quota: Option<usize>,
}

/// The default quota of interface endpoints of a VPC (VPC user guide, "Amazon VPC quotas").
pub const DEFAULT_ENDPOINT_QUOTA: usize = 50;

/// Which security groups endpoints carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum GroupChoice {
    /// The environment's own if it lives in the VPC owner's account; otherwise one that the function
    /// keeps for it, since groups of a participant cannot be put on the owner's endpoints.
    #[default]
    Auto,
    /// These, whatever the environment.
    Listed(BTreeSet<GroupId>),
}

/// The address type of endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressType {
    /// IPv4, but IPv6 where all subnets are IPv6-only.
    #[default]
    Auto,
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// Both; the endpoint service must support it too.
    Dualstack,
}

impl AddressType {
    /// As EC2 writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto | Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Dualstack => "dualstack",
        }
    }
}

/// EC2 takes 50 tags for a resource (EC2 user guide, "Tag restrictions"), of which five are ours.
const MAX_TAGS: usize = 45;

impl Settings {
    /// Reads the settings through `variable`, which gives an environment variable's value.
    ///
    /// # Errors
    ///
    /// A sentence that names the variable and says what is wrong with it.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let text = |name: &str| variable(name).unwrap_or_default().trim().to_owned();
        let list = |name: &str| -> Vec<String> {
            let items = text(name);
            items.split(',').map(str::trim).filter(|i| !i.is_empty()).map(str::to_owned).collect()
        };

        let mut tags = BTreeMap::new();
        for tag in list("ENDPOINT_TAGS") {
            let (key, value) =
                tag.split_once('=').map(|(key, value)| (key.trim(), value.trim())).ok_or_else(
                    || format!("ENDPOINT_TAGS: {tag:?} is not of the form key=value"),
                )?;
            check_tag(key, value).map_err(|why| format!("ENDPOINT_TAGS: {tag:?} {why}"))?;
            if tags.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(format!("ENDPOINT_TAGS: {key:?} is given twice"));
            }
        }
        if tags.len() > MAX_TAGS {
            return Err(format!("ENDPOINT_TAGS: more than {MAX_TAGS} tags"));
        }

        let organization = Some(text("PRINCIPAL_ORG_ID")).filter(|id| !id.is_empty());
        if let Some(id) = &organization {
            let well_formed = id.strip_prefix("o-").is_some_and(|rest| {
                (10..=32).contains(&rest.len())
                    && rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            });
            if !well_formed {
                return Err(format!("PRINCIPAL_ORG_ID: {id:?} is no organization id (o-…)"));
            }
        }

        let groups = match text("SECURITY_GROUPS").as_str() {
            "" | "auto" => GroupChoice::Auto,
            _ => GroupChoice::Listed(parse_all("SECURITY_GROUPS", list, GroupId::parse)?),
        };

        Ok(Self {
            tags,
            organization,
            groups,
            webserver_sources: list("WEBSERVER_SOURCES")
                .iter()
                .map(|item| webserver_source(item))
                .gather::<Result<_, _>>()?,
            participants: parse_all("PARTICIPANT_ACCOUNTS", list, AccountId::parse)?,
            vpcs: parse_all("VPC_IDS", list, VpcId::parse)?,
            keep_leftovers: !on_or_off("DELETION", text, true)?,
            diagnosis: on_or_off("DIAGNOSIS", text, false)?,
            reader_role: match text("READER_ROLE") {
                name if name.is_empty() => None,
                name if is_role_name(&name) => Some(name),
                name => return Err(format!("READER_ROLE: {name:?} is no role's name")),
            },
            endpoint_quota: match text("ENDPOINT_QUOTA").as_str() {
                "" => None,
                number => match number.parse() {
                    Ok(quota) if quota > 0 => Some(quota),
                    _ => return Err(format!("ENDPOINT_QUOTA: {number:?} is no number above 0")),
                },
            },
            address_type: match text("IP_ADDRESS_TYPE").as_str() {
                "" | "auto" => AddressType::Auto,
                "ipv4" => AddressType::Ipv4,
                "ipv6" => AddressType::Ipv6,
                "dualstack" => AddressType::Dualstack,
                other => {
                    return Err(format!(
                        "IP_ADDRESS_TYPE: {other:?} is none of auto, ipv4, ipv6 and dualstack"
                    ));
                }
            },
        })
    }
}

/// Whether IAM would take `name` for a role (IAM API, `CreateRole`).
fn is_role_name(name: &str) -> bool {
    name.len() <= 64 && name.chars().all(|c| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c))
}

fn parse_all<T: Ord, E: std::fmt::Display>(
    name: &str,
    list: impl Fn(&str) -> Vec<String>,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<BTreeSet<T>, String> {
    list(name).iter().map(|item| parse(item).map_err(|e| format!("{name}: {e}"))).gather()
}

/// What a switch says, which is so if it is not set.
fn on_or_off(name: &str, text: impl Fn(&str) -> String, default: bool) -> Result<bool, String> {
    match text(name).as_str() {
        "" => Ok(default),
        "on" => Ok(true),
        "off" => Ok(false),
        other => Err(format!("{name}: {other:?} is neither on nor off")),
    }
}

fn check_tag(key: &str, value: &str) -> Result<(), String> {
    if key.is_empty() || key.chars().count() > 128 {
        Err("has a key that is not 1 to 128 characters long".to_owned())
    } else if value.chars().count() > 256 {
        Err("has a value of more than 256 characters".to_owned())
    } else if key.to_ascii_lowercase().starts_with("aws:") {
        Err("has a key that AWS reserves".to_owned())
    } else if key == tags::NAME || key.starts_with(tags::PREFIX) {
        Err("has a key that the function sets itself".to_owned())
    } else {
        Ok(())
    }
}

fn webserver_source(item: &str) -> Result<Source, String> {
    if item.starts_with("pl-") {
        return PrefixListId::parse(item)
            .map(Source::PrefixList)
            .map_err(|e| format!("WEBSERVER_SOURCES: {e}"));
    }
    let wrong = || {
        format!("WEBSERVER_SOURCES: {item:?} is neither a CIDR block nor a prefix list id (pl-…)")
    };
    let (address, length) = item.split_once('/').ok_or_else(wrong)?;
    let (address, length): (IpAddr, u32) =
        (address.parse().map_err(|_| wrong())?, length.parse().map_err(|_| wrong())?);
    // EC2 stores a block with its host bits cleared; a rule that is compared with what EC2 says must
    // be spelt the same way.
    match address {
        IpAddr::V4(v4) if length <= 32 => {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            let network = std::net::Ipv4Addr::from_bits(v4.to_bits() & mask);
            Ok(Source::Ipv4(format!("{network}/{length}")))
        }
        IpAddr::V6(v6) if length <= 128 => {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            let network = std::net::Ipv6Addr::from_bits(v6.to_bits() & mask);
            Ok(Source::Ipv6(format!("{network}/{length}")))
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::read(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string())
        })
    }

    #[test]
    fn nothing_set_is_the_default() {
        assert_eq!(read(&[]), Ok(Settings::default()));
        assert_eq!(read(&[("SECURITY_GROUPS", ""), ("VPC_IDS", " ")]), Ok(Settings::default()));
    }

    #[test]
    fn everything_set_is_read() {
        let settings = read(&[
            ("ENDPOINT_TAGS", "team=data, cost-center=42"),
            ("PRINCIPAL_ORG_ID", "o-a1b2c3d4e5"),
            ("SECURITY_GROUPS", "sg-1, sg-2"),
            ("WEBSERVER_SOURCES", "10.1.2.3/8,2001:db8:0:1::5/32, pl-0123"),
            ("PARTICIPANT_ACCOUNTS", "210987654321"),
            ("VPC_IDS", "vpc-1,vpc-2"),
            ("IP_ADDRESS_TYPE", "dualstack"),
        ])
        .unwrap();
        assert_eq!(settings.tags["cost-center"], "42");
        assert_eq!(settings.organization.as_deref(), Some("o-a1b2c3d4e5"));
        assert!(matches!(settings.groups, GroupChoice::Listed(ref groups) if groups.len() == 2));
        let sources: Vec<String> =
            settings.webserver_sources.iter().map(Source::to_string).collect();
        assert_eq!(sources, ["10.0.0.0/8", "2001:db8::/32", "pl-0123"]);
        assert_eq!(settings.vpcs.len(), 2);
        assert_eq!(settings.address_type, AddressType::Dualstack);
    }

    #[test]
    fn a_wrong_setting_is_named() {
        for (name, value) in [
            ("ENDPOINT_TAGS", "team"),
            ("ENDPOINT_TAGS", "aws:x=1"),
            ("ENDPOINT_TAGS", "Name=x"),
            ("ENDPOINT_TAGS", "mwaa-vpc-endpoints/role=x"),
            ("ENDPOINT_TAGS", "a=1,a=2"),
            ("PRINCIPAL_ORG_ID", "123456789012"),
            ("SECURITY_GROUPS", "default"),
            ("WEBSERVER_SOURCES", "10.0.0.0"),
            ("WEBSERVER_SOURCES", "10.0.0.0/33"),
            ("WEBSERVER_SOURCES", "everyone"),
            ("PARTICIPANT_ACCOUNTS", "21098765432"),
            ("VPC_IDS", "subnet-1"),
            ("IP_ADDRESS_TYPE", "ipv5"),
            ("DELETION", "no"),
            ("DIAGNOSIS", "yes"),
            ("READER_ROLE", "arn:aws:iam::210987654321:role/x"),
            ("ENDPOINT_QUOTA", "many"),
        ] {
            let error = read(&[(name, value)]).expect_err(value);
            assert!(error.starts_with(name), "{error}");
        }
    }
}
