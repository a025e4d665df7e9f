//! What IAM is asked about the calls that reach the double, written to a file that the tests of the
//! templates hold against the roles there.
//!
//! IAM decides a call on every resource that it touches, with the keys that EC2 knows of that resource.
//! Both are known here only: what an endpoint's service and tags were at the time. Which of the keys
//! EC2 sends is the other tests' business.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::sync::{LazyLock, Mutex};

use mwaa_vpc_endpoints::settings::{GroupChoice, Settings};
use serde_json::{Map, Value, json};

use super::{Call, OWNER, Parameters, Tags, VPC, World};

/// The tag by which the roles know what is the function's.
const OURS: &str = "mwaa-vpc-endpoints/environment";

/// How the function is deployed that speaks to the double, as far as its role depends on it.
#[derive(Clone, Debug, Default)]
pub struct Deployed {
    keep_leftovers: bool,
    groups: Option<BTreeSet<String>>,
}

impl From<&Settings> for Deployed {
    fn from(settings: &Settings) -> Self {
        let groups = match &settings.groups {
            GroupChoice::Auto => None,
            GroupChoice::Listed(ids) => Some(ids.iter().map(ToString::to_string).collect()),
        };
        Self { keep_leftovers: settings.keep_leftovers, groups }
    }
}

/// The calls that are written, each once, and where to.
struct Written {
    calls: HashSet<String>,
    file: File,
}

static WRITTEN: LazyLock<Mutex<Written>> = LazyLock::new(|| {
    let folder = concat!(env!("CARGO_TARGET_TMPDIR"), "/calls");
    fs::create_dir_all(folder).unwrap();
    let path = format!("{folder}/{}.jsonl", env!("CARGO_CRATE_NAME"));
    let file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    Mutex::new(Written { calls: HashSet::new(), file })
});

/// A resource that a call touches: its type, id and account, and what is known of it.
fn touched(kind: &str, id: &str, account: &str, keys: Vec<(String, Value)>) -> Value {
    json!([kind, id, account, keys.into_iter().collect::<Map<_, _>>()])
}

fn own_tag(prefix: &str, tags: &Tags) -> Option<(String, Value)> {
    tags.get(OURS).map(|arn| (format!("{prefix}/{OURS}"), json!(arn)))
}

impl World {
    /// Writes down what IAM is asked about a call, before EC2 looks at it.
    pub(super) fn note_what_iam_is_asked(&self, call: &Call) {
        let p = Parameters(&call.parameters);
        let touches = match call.action.as_str() {
            "GetEnvironment" | "AssumeRole" => {
                let account = p.get("Account").or_else(|| p.get("RoleArn")).unwrap_or_default();
                vec![json!(["account", "", account.split(':').nth(4).unwrap_or(&account), {}])]
            }
            action if action.starts_with("Describe") || action == "ListEnvironments" => Vec::new(),
            "CreateVpcEndpoint" => self.touched_by_new_endpoint(&p),
            "CreateSecurityGroup" => {
                let keys = own_tag(
                    "aws:RequestTag",
                    &p.tags("TagSpecification.1.Tag").ok().unwrap_or_default(),
                );
                let vpc = p.get("VpcId").unwrap_or_default();
                vec![
                    touched("security-group", "sg-new", OWNER, keys.into_iter().collect()),
                    touched("vpc", &vpc, OWNER, vec![("ec2:VpcID".into(), json!(vpc))]),
                ]
            }
            "ModifyVpcEndpoint" => {
                let id = p.get("VpcEndpointId").unwrap_or_default();
                let lists =
                    ["AddSecurityGroupId", "RemoveSecurityGroupId"].map(|name| p.list(name));
                let subnets = p.list("AddSubnetId");
                let more = subnets.iter().map(|id| self.subnet(id));
                let more = more.chain(lists.iter().flatten().map(|id| self.group(id)));
                std::iter::once(self.named_endpoint(&id)).chain(more).collect()
            }
            "DeleteVpcEndpoints" => {
                p.list("VpcEndpointId").iter().map(|id| self.named_endpoint(id)).collect()
            }
            "CreateTags" => {
                let keys: Vec<String> = p.tags("Tag").unwrap_or_default().into_keys().collect();
                let named = |id: &String| {
                    let mut touched = match id.starts_with("vpce-") {
                        true => self.named_endpoint(id),
                        false => self.group(id),
                    };
                    touched[3]["aws:TagKeys"] = json!(keys);
                    touched
                };
                p.list("ResourceId").iter().map(named).collect()
            }
            _ => vec![self.group(&p.get("GroupId").unwrap_or_default())],
        };
        let line = json!({
            "deletion": if self.deployed.keep_leftovers { "off" } else { "on" },
            "groups": self.deployed.groups,
            "action": call.action,
            "touches": touches,
        });
        let line = line.to_string();
        let mut written = WRITTEN.lock().unwrap();
        if written.calls.insert(line.clone()) {
            writeln!(written.file, "{line}").unwrap();
        }
    }

    fn touched_by_new_endpoint(&self, p: &Parameters) -> Vec<Value> {
        let tags = p.tags("TagSpecification.1.Tag").ok().unwrap_or_default();
        let mut keys = vec![("ec2:VpceServiceName".into(), json!(p.get("ServiceName")))];
        keys.extend(own_tag("aws:RequestTag", &tags));
        let vpc = p.get("VpcId").unwrap_or_default();
        let endpoint = touched("vpc-endpoint", "vpce-new", OWNER, keys);
        let vpc = touched("vpc", &vpc, OWNER, vec![("ec2:VpcID".into(), json!(vpc))]);
        let subnets = p.list("SubnetId").into_iter().map(|id| self.subnet(&id));
        let groups = p.list("SecurityGroupId").into_iter().map(|id| self.group(&id));
        [endpoint, vpc].into_iter().chain(subnets).chain(groups).collect()
    }

    /// An endpoint. Ids matter only where a parameter may name them: those of SQS endpoints.
    fn named_endpoint(&self, id: &str) -> Value {
        let Some(endpoint) = self.endpoints.iter().find(|endpoint| endpoint.id == id) else {
            return touched("vpc-endpoint", "vpce-gone", OWNER, Vec::new());
        };
        let mut keys = vec![("ec2:VpceServiceName".into(), json!(endpoint.service))];
        keys.extend(own_tag("aws:ResourceTag", &endpoint.tags));
        let is_sqs = endpoint.service.contains(".sqs");
        touched("vpc-endpoint", if is_sqs { id } else { "vpce-other" }, OWNER, keys)
    }

    fn subnet(&self, id: &str) -> Value {
        let subnet = self.subnets.get(id);
        let account = subnet.map_or(OWNER, |subnet| &subnet.owner);
        let vpc = subnet.map_or(VPC, |subnet| &subnet.vpc);
        touched("subnet", "subnet-any", account, vec![("ec2:Vpc".into(), json!(vpc))])
    }

    /// A group. Ids matter only where `SecurityGroups` may name them.
    fn group(&self, id: &str) -> Value {
        let group = self.groups.iter().find(|group| group.id == id);
        let account = group.map_or(OWNER, |group| &group.owner);
        let listed = self.deployed.groups.as_ref().is_some_and(|groups| groups.contains(id));
        let mut keys = vec![
            ("ec2:Vpc".into(), json!(group.map_or(VPC, |group| &group.vpc))),
            ("ec2:SecurityGroupID".into(), json!(if listed { id } else { "sg-other" })),
        ];
        keys.extend(group.and_then(|group| own_tag("aws:ResourceTag", &group.tags)));
        touched("security-group", if listed { id } else { "sg-other" }, account, keys)
    }
}
