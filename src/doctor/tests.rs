//! Two healthy networks, and one fault at a time in them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;
use serde_json::{Value, json};

use super::*;
use crate::environment::{AccountId, EndpointId, GroupId, PrefixListId, Region, SubnetId, VpcId};
use crate::event::Origin;
use crate::sqs_policy::SID;

const OWNER: &str = "111122223333";
const PARTICIPANT: &str = "210987654321";
const DATABASE: &str = "com.amazonaws.vpce.us-east-1.vpce-svc-0aa11bb22cc33dd44";
const WEBSERVER: &str = "com.amazonaws.vpce.us-east-1.vpce-svc-0ee55ff66aa77bb88";
const QUEUE: &str = "arn:aws:sqs:us-east-1:555555555555:airflow-celery-1";
const OWN_LIST: &str = "pl-0123456789abcdef0";
const S3_LIST: &str = "pl-63a5400a";

fn account(text: &str) -> AccountId {
    AccountId::parse(text).unwrap()
}

fn subnet_id(name: &str) -> SubnetId {
    SubnetId::parse(&format!("subnet-{name}")).unwrap()
}

fn group_id(name: &str) -> GroupId {
    GroupId::parse(&format!("sg-{name}")).unwrap()
}

fn endpoint_id(name: &str) -> EndpointId {
    EndpointId::parse(&format!("vpce-{name}")).unwrap()
}

fn vpc_id() -> VpcId {
    VpcId::parse("vpc-1").unwrap()
}

fn block(text: &str) -> Block {
    Block::parse(text).unwrap()
}

fn subnet(name: &str, zone: u8, cidr: &str) -> NetworkSubnet {
    NetworkSubnet {
        subnet: Subnet {
            id: subnet_id(name),
            vpc: vpc_id(),
            owner: account(OWNER),
            zone: format!("us-east-1{zone}"),
            ipv6_only: false,
        },
        zone_id: format!("use1-az{zone}"),
        free: 200,
        blocks: vec![block(cidr)],
    }
}

fn endpoint(name: &str, service: &str, groups: &[&str]) -> NetworkEndpoint {
    NetworkEndpoint {
        endpoint: Endpoint {
            id: endpoint_id(name),
            vpc: vpc_id(),
            created: None,
            service: service.to_owned(),
            state: State::Available,
            kind: Kind::Interface,
            subnets: BTreeSet::from([subnet_id("a"), subnet_id("b")]),
            groups: groups.iter().map(|it| group_id(it)).collect(),
            tags: BTreeMap::new(),
            policy: None,
            requester_managed: false,
        },
        is_gateway: false,
        private_dns: true,
        address_type: Some("ipv4".to_owned()),
        record_type: Some("ipv4".to_owned()),
        route_tables: BTreeSet::new(),
    }
}

fn gateway() -> NetworkEndpoint {
    let mut it = endpoint("s3", "com.amazonaws.us-east-1.s3", &[]);
    it.endpoint.kind = Kind::Other;
    it.endpoint.subnets.clear();
    it.is_gateway = true;
    it.private_dns = false;
    it.address_type = None;
    it.route_tables = ["rtb-a", "rtb-main"].map(str::to_owned).into();
    it
}

fn route(to: &str, target: &str) -> Route {
    let to = match PrefixListId::parse(to) {
        Ok(list) => Destination::List(list),
        Err(_) => Destination::Block(block(to)),
    };
    Route { to, target: Target::parse(target), is_active: true, is_propagated: false }
}

/// A prefix list of one's own.
fn own_list(seen: &mut Network, blocks: &[&str]) {
    let blocks = blocks.iter().map(|it| block(it)).collect();
    let list = PrefixList { name: String::new(), blocks };
    let id = PrefixListId::parse(OWN_LIST).unwrap();
    seen.prefix_lists.get_mut().insert(id, Seen::known(list));
}

fn gone(to: &str, target: &str) -> Route {
    Route { is_active: false, ..route(to, target) }
}

fn table(id: &str, subnets: &[&str], routes: &[(&str, &str)]) -> RouteTable {
    RouteTable {
        id: id.to_owned(),
        is_main: id == "rtb-main",
        subnets: subnets.iter().map(|it| subnet_id(it)).collect(),
        routes: routes.iter().map(|(to, target)| route(to, target)).collect(),
    }
}

fn entry(number: i32, is_egress: bool, ports: Option<(u16, u16)>, cidr: &str) -> AclEntry {
    AclEntry {
        number,
        is_egress,
        protocol: if ports.is_some() { Protocol::Number(6) } else { Protocol::All },
        block: block(cidr),
        ports: ports.map(|(first, last)| Ports { first, last }),
        allows: number != 32767,
    }
}

fn deny(number: i32, is_egress: bool, ports: (u16, u16), cidr: &str) -> AclEntry {
    AclEntry { allows: false, ..entry(number, is_egress, Some(ports), cidr) }
}

/// An ACL that lets through nothing but what is needed without a way out.
fn tight(id: &str, subnet: &str) -> Acl {
    let mut entries = Vec::new();
    for is_egress in [false, true] {
        entries.extend([
            entry(100, is_egress, Some((443, 443)), "10.0.0.0/16"),
            entry(110, is_egress, Some((5432, 5432)), "10.0.0.0/16"),
            entry(120, is_egress, Some((1024, 65535)), "10.0.0.0/16"),
            entry(32767, is_egress, None, "0.0.0.0/0"),
        ]);
    }
    entries.push(entry(130, true, Some((443, 443)), "52.216.0.0/15"));
    entries.push(entry(130, false, Some((1024, 65535)), "52.216.0.0/15"));
    Acl { id: id.to_owned(), subnets: BTreeSet::from([subnet_id(subnet)]), entries }
}

fn permission(ports: Option<u16>, peer: Peer) -> Permission {
    Permission {
        protocol: if ports.is_some() { Protocol::Number(6) } else { Protocol::All },
        ports: ports.map(Ports::one),
        peer,
    }
}

fn cidr(text: &str) -> Peer {
    Peer::Block(block(text))
}

fn carrier(name: &str) -> Peer {
    Peer::Group(Some(account(PARTICIPANT)), group_id(name))
}

fn group(
    name: &str,
    owner: &str,
    inbound: Vec<Permission>,
    outbound: Vec<Permission>,
) -> SecurityGroup {
    SecurityGroup { id: group_id(name), vpc: vpc_id(), owner: account(owner), inbound, outbound }
}

const SHORT_NAMES: [&str; 9] = [
    "sqs",
    "ecr.api",
    "ecr.dkr",
    "logs",
    "monitoring",
    "kms",
    "airflow.api",
    "airflow.env",
    "airflow.ops",
];

/// A policy that lists the environment's queue, as the function writes it, with more statements.
fn queue_policy(queues: &[&str], more: &[Value]) -> String {
    let mut statements = vec![json!({
        "Sid": SID,
        "Effect": "Allow",
        "Principal": "*",
        "Action": crate::sqs_policy::QUEUE_ACTIONS,
        "Resource": queues,
    })];
    statements.extend(more.iter().cloned());
    json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

/// An environment of a participant that waits for its endpoints, in a VPC without a way out, in which
/// all is there; the owner looks.
fn closed() -> (Network, Subject) {
    let mut endpoints: Vec<NetworkEndpoint> = SHORT_NAMES
        .iter()
        .map(|it| {
            endpoint(&it.replace('.', "-"), &format!("com.amazonaws.us-east-1.{it}"), &["services"])
        })
        .collect();
    endpoints[0].endpoint.policy = Some(queue_policy(&[QUEUE], &[]));
    endpoints.extend([
        endpoint("database", DATABASE, &["ours"]),
        endpoint("webserver", WEBSERVER, &["ours"]),
        gateway(),
    ]);
    for it in &mut endpoints {
        it.private_dns &= it.endpoint.service.starts_with("com.amazonaws.us-east-1");
    }
    let environment = group(
        "environment",
        PARTICIPANT,
        vec![permission(None, Peer::Group(None, group_id("environment")))],
        vec![
            permission(Some(443), cidr("10.0.0.0/16")),
            permission(Some(5432), cidr("10.0.0.0/16")),
            permission(Some(443), Peer::List(PrefixListId::parse(S3_LIST).unwrap())),
        ],
    );
    let ours = [443, 5432].map(|port| permission(Some(port), carrier("environment")));
    let services = vec![permission(Some(443), carrier("environment"))];
    let s3 = PrefixList {
        name: "com.amazonaws.us-east-1.s3".to_owned(),
        blocks: vec![block("52.216.0.0/15")],
    };
    let shared = BTreeSet::from([PARTICIPANT.to_owned()]);
    let local = ("10.0.0.0/16", "local");
    let seen = Network {
        viewer: account(OWNER),
        vpc: vpc_id(),
        dns_support: Seen::known(true),
        dns_hostnames: Seen::known(true),
        resolvers: Seen::known(vec!["AmazonProvidedDNS".to_owned()]),
        subnets: Seen::known(vec![
            subnet("a", 1, "10.0.0.0/24"),
            subnet("b", 2, "10.0.1.0/24"),
            subnet("public", 1, "10.0.9.0/24"),
        ]),
        shares: Seen::known([(subnet_id("a"), shared.clone()), (subnet_id("b"), shared)].into()),
        route_tables: Seen::known(vec![
            table("rtb-a", &["a"], &[local, (S3_LIST, "vpce-s3")]),
            table("rtb-main", &[], &[local, (S3_LIST, "vpce-s3")]),
            table("rtb-public", &["public"], &[local, ("0.0.0.0/0", "igw-1")]),
        ]),
        nat_gateways: Seen::known(vec![NatGateway {
            id: "nat-1".to_owned(),
            state: "available".to_owned(),
            subnet: Some(subnet_id("public")),
            is_public: true,
        }]),
        acls: Seen::known(vec![tight("acl-a", "a"), tight("acl-b", "b")]),
        endpoints: Seen::known(endpoints),
        elsewhere: Seen::known(Vec::new()),
        groups: Seen::known(vec![
            environment,
            group("ours", OWNER, ours.into(), Vec::new()),
            group("services", OWNER, services, Vec::new()),
        ]),
        prefix_lists: Seen::known(
            [(PrefixListId::parse(S3_LIST).unwrap(), Seen::known(s3))].into(),
        ),
    };
    (seen, Subject::of_mwaa(answer(), at("2026-03-04T11:00:00Z")).unwrap())
}

/// What MWAA says of the environment.
fn answer() -> Value {
    json!({
        "Arn": format!("arn:aws:airflow:us-east-1:{PARTICIPANT}:environment/analytics"),
        "Name": "analytics",
        "Status": "PENDING",
        "CreatedAt": "2026-03-04T10:15:00Z",
        "CeleryExecutorQueue": QUEUE,
        "DatabaseVpcEndpointService": DATABASE,
        "WebserverVpcEndpointService": WEBSERVER,
        "WebserverAccessMode": "PRIVATE_ONLY",
        "EndpointManagement": "CUSTOMER",
        "SourceBucketArn": "arn:aws:s3:::dags",
        "MaxWorkers": 10,
        "NetworkConfiguration": {
            "SubnetIds": ["subnet-a", "subnet-b"],
            "SecurityGroupIds": ["sg-environment"],
        },
    })
}

/// MWAA makes the endpoints in a VPC of the environment's own account.
fn mwaas(seen: &mut Network, of: &mut Subject) {
    let mut answer = answer();
    answer["EndpointManagement"] = json!("SERVICE");
    answer["Status"] = json!("AVAILABLE");
    *of = Subject::of_mwaa(answer, of.now).unwrap();
    let subnets = seen.subnets.get_mut().iter_mut();
    subnets.for_each(|it| it.subnet.owner = account(PARTICIPANT));
    without_endpoint(seen, "database");
    without_endpoint(seen, "webserver");
}

/// MWAA has begun to make it, and names neither its services nor its queue.
fn creating(seen: &mut Network, of: &mut Subject) {
    let mut answer = answer();
    answer["Status"] = json!("CREATING");
    for name in ["CeleryExecutorQueue", "DatabaseVpcEndpointService", "WebserverVpcEndpointService"]
    {
        answer.as_object_mut().unwrap().remove(name);
    }
    *of = Subject::of_mwaa(answer, of.now).unwrap();
    without_endpoint(seen, "database");
    without_endpoint(seen, "webserver");
}

fn at(time: &str) -> DateTime<chrono::Utc> {
    DateTime::parse_from_rfc3339(time).unwrap().to_utc()
}

/// An environment that is to be, of the owner's account, in a VPC with NAT and no endpoint.
fn open() -> (Network, Subject) {
    let (mut seen, _) = closed();
    seen.endpoints = Seen::known(Vec::new());
    for table in seen.route_tables.get_mut().iter_mut().take(2) {
        table.routes = vec![route("10.0.0.0/16", "local"), route("0.0.0.0/0", "nat-1")];
    }
    let all = |id: &str, subnet: &str| Acl {
        id: id.to_owned(),
        subnets: BTreeSet::from([subnet_id(subnet)]),
        entries: [false, true].map(|is_egress| entry(100, is_egress, None, "0.0.0.0/0")).into(),
    };
    seen.acls = Seen::known(vec![all("acl-a", "a"), all("acl-b", "b"), all("acl-p", "public")]);
    let itself = vec![permission(None, Peer::Group(None, group_id("environment")))];
    let out = vec![permission(None, cidr("0.0.0.0/0"))];
    seen.groups = Seen::known(vec![group("environment", OWNER, itself, out)]);
    let of = Subject::planned(
        account(OWNER),
        Region::parse("us-east-1").unwrap(),
        vec![subnet_id("a"), subnet_id("b")],
        BTreeSet::from([group_id("environment")]),
        at("2026-03-04T11:00:00Z"),
    );
    (seen, of)
}

fn found_endpoint<'a>(seen: &'a mut Network, name: &str) -> &'a mut NetworkEndpoint {
    let id = endpoint_id(name);
    seen.endpoints.get_mut().iter_mut().find(|it| it.endpoint.id == id).unwrap()
}

fn without_endpoint(seen: &mut Network, name: &str) {
    let id = endpoint_id(name);
    seen.endpoints.get_mut().retain(|it| it.endpoint.id != id);
}

/// S3's interface endpoint, with private DNS, beside what is there.
fn s3_interface<'a>(seen: &'a mut Network, groups: &[&str]) -> &'a mut NetworkEndpoint {
    let it = endpoint("s3-interface", "com.amazonaws.us-east-1.s3", groups);
    seen.endpoints.get_mut().push(it);
    found_endpoint(seen, "s3-interface")
}

/// A third subnet behind an ACL of its own, with an endpoint to S3.
fn s3_elsewhere(seen: &mut Network) {
    seen.subnets.get_mut().push(subnet("c", 3, "10.0.2.0/24"));
    seen.acls.get_mut().push(tight("acl-c", "c"));
    s3_interface(seen, &["services"]).endpoint.subnets = BTreeSet::from([subnet_id("c")]);
}

/// One more endpoint to a service, without private DNS.
fn second(seen: &mut Network, name: &str) {
    let mut it = endpoint("second", &format!("com.amazonaws.us-east-1.{name}"), &["services"]);
    it.private_dns = false;
    seen.endpoints.get_mut().push(it);
}

fn entries(seen: &mut Network, acl: usize) -> &mut Vec<AclEntry> {
    &mut seen.acls.get_mut()[acl].entries
}

fn routes(seen: &mut Network, table: usize) -> &mut Vec<Route> {
    &mut seen.route_tables.get_mut()[table].routes
}

fn policy(seen: &mut Network, name: &str, statements: Value) {
    let document = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    found_endpoint(seen, name).endpoint.policy = Some(document);
}

fn allow(action: &str, resource: &str) -> Value {
    json!({"Effect": "Allow", "Principal": "*", "Action": action, "Resource": resource})
}

fn tagged(mut statement: Value) -> Value {
    statement["Condition"] = json!({"StringEquals": {"aws:PrincipalTag/team": "data"}});
    statement
}

/// Everything to an account.
fn to(account: &str) -> Value {
    let principal = json!({"AWS": format!("arn:aws:iam::{account}:root")});
    json!({"Effect": "Allow", "Principal": principal, "Action": "*", "Resource": "*"})
}

/// A data perimeter: nothing outside of the organization, with an exception.
fn perimeter(except: &str) -> Value {
    let condition = json!({"StringNotEquals": {"aws:ResourceOrgID": "o-1"}});
    let resource = if except == "*" { "Resource" } else { "NotResource" };
    json!({"Effect": "Deny", "Principal": "*", "Action": "*", resource: except, "Condition": condition})
}

/// It is not there yet.
fn planned(of: &mut Subject) {
    of.told = None;
}

const FIRST_LAYERS: &str = "arn:aws:s3:::prod-us-east-1-starport-layer-bucket/*";

type Healthy = fn() -> (Network, Subject);
type Change = fn(&mut Network, &mut Subject);

/// A fault, and the checks that then do not pass, of which the first is the one that it is for.
struct Fault {
    what: &'static str,
    healthy: Healthy,
    change: Change,
    told: &'static [(&'static str, Verdict)],
}

macro_rules! faults {
    ($($healthy:ident, $what:literal, $change:expr => $($id:literal $verdict:ident),+;)*) => {
        &[$(Fault {
            what: $what,
            healthy: $healthy,
            change: $change,
            told: &[$(($id, Verdict::$verdict)),+],
        }),*]
    };
}

#[rustfmt::skip]
const FAULTS: &[Fault] = faults![
    closed, "DNS support is off", |n, _| n.dns_support = Seen::known(false) => "vpc.dns-support" Fail;
    closed, "DNS hostnames are off", |n, _| n.dns_hostnames = Seen::known(false) => "vpc.dns-hostnames" Fail;
    closed, "a resolver of one's own", |n, _| n.resolvers.get_mut().push("10.0.0.53".into()) => "vpc.resolvers" Warn;
    closed, "no resolver", |n, _| n.resolvers.get_mut().clear() => "vpc.resolvers" Warn;

    closed, "one subnet", |_, s| drop(s.subnets.pop()) => "subnets.two" Fail;
    closed, "a subnet of another VPC", |n, _| n.subnets.get_mut()[1].subnet.vpc = VpcId::parse("vpc-2").unwrap()
        => "subnets.vpc" Fail, "routes.private" Unknown, "routes.blackhole" Unknown, "routes.alike" Unknown,
            "routes.way-out" Unknown, "routes.nat" Unknown, "routes.nat-public" Unknown, "acls.s3" Unknown, "s3.way" Unknown,
            "s3.policy" Unknown, "groups.outbound" Unknown;
    closed, "one subnet, named twice", |_, s| s.subnets[1] = s.subnets[0].clone() => "subnets.two" Fail;
    closed, "two subnets in one zone", |n, _| n.subnets.get_mut()[1].zone_id = "use1-az1".into() => "subnets.zones" Fail;
    closed, "a subnet in a Local Zone", |n, _| n.subnets.get_mut()[1].zone_id = "use1-bos1-az1".into() => "subnets.zones" Fail;
    closed, "MWAA is to make the endpoints in a shared VPC",
        |_, s| s.told.as_mut().unwrap().customer_managed = Some(false) => "subnets.owner" Fail;
    closed, "nobody says who makes the endpoints",
        |_, s| s.told.as_mut().unwrap().customer_managed = None => "subnets.owner" Unknown;
    closed, "a subnet that is not shared", |n, _| drop(n.shares.get_mut().remove(&subnet_id("b"))) => "subnets.shared" Fail;
    closed, "a subnet that is shared with a unit",
        |n, _| drop(n.shares.get_mut().insert(subnet_id("b"), BTreeSet::from(["ou-1".into()]))) => "subnets.shared" Unknown;
    open, "no address for the endpoints", |n, _| n.subnets.get_mut()[0].free = 1 => "subnets.addresses" Fail;
    open, "no address for workers", |n, _| n.subnets.get_mut().iter_mut().for_each(|it| it.free = 2) => "subnets.addresses" Fail;
    closed, "no address for the endpoints, and MWAA names no service yet", |n, s| {
        creating(n, s);
        n.subnets.get_mut()[1].free = 1;
    } => "subnets.addresses" Fail, "ours.database" Unknown, "ours.webserver" Unknown, "ours.queue" Unknown, "ours.queue-denied" Unknown;
    open, "few addresses", |n, _| n.subnets.get_mut().iter_mut().for_each(|it| it.free = 4) => "subnets.addresses" Warn;

    closed, "a public subnet", |n, _| routes(n, 0).push(route("0.0.0.0/0", "igw-1")) => "routes.private" Fail;
    open, "public subnets, and no endpoint", |n, _| (0..2).for_each(|it| routes(n, it)[1] = route("0.0.0.0/0", "igw-1"))
        => "routes.private" Fail, "services.present" Unknown, "s3.way" Unknown;
    open, "the way out leads nowhere", |n, _| routes(n, 1)[1] = gone("0.0.0.0/0", "tgw-1")
        => "routes.blackhole" Fail, "services.present" Unknown, "s3.way" Unknown;
    closed, "a way out that leads nowhere, and nothing needs it", |n, _| routes(n, 1).push(gone("0.0.0.0/0", "tgw-1"))
        => "routes.blackhole" Warn;
    closed, "a route to a peer that is gone", |n, _| routes(n, 1).push(gone("10.50.0.0/16", "pcx-1"))
        => "routes.blackhole" Warn;
    closed, "endpoints of a hub by its private addresses", |n, _| {
        (0..2).for_each(|it| routes(n, it).push(route("10.0.0.0/8", "tgw-1")));
        without_endpoint(n, "kms");
        without_endpoint(n, "s3");
    } => "services.present" Unknown, "s3.way" Unknown;
    closed, "endpoints of a hub by a list of its addresses", |n, _| {
        own_list(n, &["10.0.0.0/8", "172.16.0.0/12"]);
        (0..2).for_each(|it| routes(n, it).push(route(OWN_LIST, "tgw-1")));
        without_endpoint(n, "kms");
        without_endpoint(n, "s3");
    } => "services.present" Unknown, "s3.way" Unknown;
    closed, "a firewall by a list of all addresses", |n, _| {
        own_list(n, &["0.0.0.0/0"]);
        (0..2).for_each(|it| routes(n, it).push(route(OWN_LIST, "vpce-firewall")));
    } => "routes.way-out" Unknown;
    open, "a list of services' addresses leads elsewhere than NAT", |n, _| {
        own_list(n, &["52.216.0.0/16"]);
        (0..2).for_each(|it| routes(n, it).push(route(OWN_LIST, "tgw-1")));
    } => "routes.way-out" Unknown, "services.present" Unknown, "s3.way" Unknown, "hub.sqs" Unknown;
    closed, "a list that nobody sees", |n, _| {
        let id = PrefixListId::parse(OWN_LIST).unwrap();
        n.prefix_lists.get_mut().insert(id, Seen::unseen("denied"));
        routes(n, 0).push(route(OWN_LIST, "tgw-1"));
    } => "routes.blackhole" Unknown, "routes.way-out" Unknown, "routes.alike" Unknown, "acls.internet" Unknown, "groups.outbound" Unknown;
    open, "a list of private addresses leads to what is gone", |n, _| {
        own_list(n, &["10.0.0.0/8"]);
        routes(n, 0).push(gone(OWN_LIST, "tgw-1"));
    } => "routes.blackhole" Warn;
    open, "public addresses of one's own", |n, _| (0..2).for_each(|it| routes(n, it).push(route("203.0.113.0/24", "tgw-1")))
        => "routes.way-out" Warn;
    open, "public addresses of one's own, by a private NAT gateway", |n, _| {
        let mut private = n.nat_gateways.get().unwrap()[0].clone();
        (private.id, private.is_public) = ("nat-private".to_owned(), false);
        n.nat_gateways.get_mut().push(private);
        (0..2).for_each(|it| routes(n, it).push(route("203.0.113.0/24", "nat-private")));
    } => "routes.way-out" Warn, "routes.nat-public" Unknown;
    open, "public addresses of one's own, which lead nowhere", |n, _| routes(n, 0).push(gone("203.0.113.0/24", "tgw-1"))
        => "routes.blackhole" Warn;
    open, "public addresses of AWS lead nowhere", |n, _| routes(n, 0).push(gone("52.216.1.0/24", "tgw-1"))
        => "routes.blackhole" Fail, "services.present" Unknown, "s3.way" Unknown;
    open, "public addresses of one's own, from the NAT gateway", |n, _| routes(n, 2).push(route("203.0.113.0/24", "tgw-1"))
        => "routes.nat-public" Warn;
    closed, "a hub with public addresses of one's own", |n, _| {
        (0..2).for_each(|it| routes(n, it).push(route("203.0.113.0/24", "tgw-1")));
        without_endpoint(n, "kms");
    } => "services.present" Unknown;
    closed, "an appliance between the subnets", |n, _| routes(n, 0).push(route("10.0.1.0/24", "eni-1"))
        => "routes.way-out" Unknown;
    closed, "an appliance on the way back from an endpoint", |n, _| {
        n.subnets.get_mut().push(subnet("c", 3, "10.0.2.0/24"));
        n.acls.get_mut().push(tight("acl-c", "c"));
        found_endpoint(n, "kms").endpoint.subnets.insert(subnet_id("c"));
        n.route_tables.get_mut().push(table("rtb-c", &["c"], &[("10.0.0.0/16", "local"), ("10.0.1.0/24", "vpce-firewall")]));
    } => "routes.way-out" Unknown;
    closed, "an appliance between the subnets that is gone", |n, _| routes(n, 0).push(gone("10.0.1.0/24", "eni-1"))
        => "routes.blackhole" Fail;
    closed, "a hub for one subnet only", |n, _| {
        routes(n, 0).push(route("10.0.0.0/8", "tgw-1"));
        without_endpoint(n, "kms");
    } => "services.present" Fail;
    closed, "no hub behind a peering connection that is gone", |n, _| {
        (0..2).for_each(|it| routes(n, it).push(gone("10.0.0.0/8", "pcx-1")));
        without_endpoint(n, "kms");
    } => "services.present" Fail, "routes.blackhole" Warn;
    closed, "a transit gateway", |n, _| (0..2).for_each(|it| routes(n, it).push(route("0.0.0.0/0", "tgw-1")))
        => "routes.way-out" Unknown;
    open, "half of the internet", |n, _| (0..2).for_each(|it| routes(n, it)[1] = route("0.0.0.0/1", "nat-1"))
        => "routes.way-out" Unknown, "services.present" Unknown, "s3.way" Unknown, "hub.sqs" Unknown;
    closed, "NAT for one subnet", |n, _| routes(n, 0).push(route("0.0.0.0/0", "nat-1")) => "routes.alike" Warn;
    open, "a NAT gateway that failed", |n, _| n.nat_gateways.get_mut()[0].state = "failed".into()
        => "routes.nat" Fail, "services.present" Unknown, "s3.way" Unknown;
    open, "a NAT gateway that is gone", |n, _| {
        (0..2).for_each(|it| routes(n, it)[1] = gone("0.0.0.0/0", "nat-1"));
        n.nat_gateways.get_mut().clear();
    } => "routes.nat" Fail, "services.present" Unknown, "s3.way" Unknown;
    closed, "a NAT gateway that is gone, and nothing needs it", |n, _| {
        (0..2).for_each(|it| routes(n, it).push(gone("0.0.0.0/0", "nat-2")));
    } => "routes.nat" Warn;
    open, "a NAT gateway in a private subnet", |n, _| n.nat_gateways.get_mut()[0].subnet = Some(subnet_id("a"))
        => "routes.nat-public" Fail;
    open, "a NAT gateway behind a firewall", |n, _| routes(n, 2)[1] = route("0.0.0.0/0", "vpce-firewall")
        => "routes.nat-public" Unknown;

    closed, "an ACL stops 5432", |n, _| entries(n, 1).push(deny(90, false, (5432, 5432), "10.0.0.0/24"))
        => "acls.database" Fail;
    closed, "an ACL stops 5432 to endpoints that MWAA makes", |n, s| {
        mwaas(n, s);
        entries(n, 0).push(deny(90, true, (5432, 5432), "10.0.1.0/24"));
    } => "acls.database" Fail;
    closed, "an ACL stops 5432 from one address", |n, _| entries(n, 0).push(deny(90, true, (5000, 6000), "10.0.1.7/32"))
        => "acls.database" Fail, "acls.answers" Warn;
    closed, "an ACL stops 5432, and the other is not seen", |n, _| {
        entries(n, 1).push(deny(90, false, (5432, 5432), "10.0.0.0/24"));
        n.acls.get_mut().remove(0);
    } => "acls.database" Fail, "acls.https" Unknown, "acls.answers" Unknown, "acls.s3" Unknown;
    closed, "an ACL stops 443 at an endpoint in another subnet", |n, _| {
        n.subnets.get_mut().push(subnet("c", 3, "10.0.2.0/24"));
        n.acls.get_mut().push(Acl { entries: Vec::new(), ..tight("acl-c", "c") });
        found_endpoint(n, "kms").endpoint.subnets.insert(subnet_id("c"));
    } => "acls.https" Fail, "acls.answers" Fail;
    closed, "an ACL stops 443", |n, _| entries(n, 0).push(deny(90, true, (443, 443), "10.0.1.0/24")) => "acls.https" Fail;
    closed, "an ACL stops a part of the answers", |n, _| {
        entries(n, 0).retain(|it| !(it.is_egress && it.number == 120));
        entries(n, 0).push(entry(120, true, Some((1024, 40000)), "10.0.0.0/16"));
    } => "acls.answers" Fail;
    closed, "an ACL stops answers to one port that Linux may choose", |n, _| entries(n, 1).push(deny(90, false, (60999, 65535), "10.0.0.0/24"))
        => "acls.answers" Fail;
    closed, "an ACL lets through the answers to the ports of Linux", |n, _| {
        entries(n, 0).retain(|it| !(it.is_egress && it.number == 120));
        entries(n, 0).push(entry(120, true, Some((32768, 60999)), "10.0.0.0/16"));
    } => "acls.answers" Warn;
    closed, "an ACL stops S3's answers", |n, _| entries(n, 1).retain(|it| it.is_egress || it.number != 130) => "acls.s3" Fail;
    closed, "an ACL lets through S3's answers to the ports of Linux", |n, _| {
        entries(n, 1).push(deny(90, false, (1024, 32767), "52.216.0.0/15"));
    } => "acls.s3" Warn;
    open, "an ACL stops what goes out", |n, _| {
        entries(n, 0).push(entry(80, true, None, "10.0.0.0/16"));
        entries(n, 0).push(deny(90, true, (443, 443), "0.0.0.0/0"));
    } => "acls.internet" Fail;
    open, "an ACL stops a part of the internet", |n, _| entries(n, 0).push(deny(90, true, (443, 443), "52.0.0.0/8"))
        => "acls.internet" Warn;
    open, "the NAT gateway's ACL stops what goes back", |n, _| entries(n, 2).push(deny(90, true, (1024, 65535), "10.0.1.0/24"))
        => "acls.internet" Fail;
    open, "an ACL stops all answers to the ports of Linux", |n, _| entries(n, 0).push(deny(90, false, (32768, 65535), "0.0.0.0/0"))
        => "acls.internet" Fail, "acls.answers" Fail;
    open, "an ACL stops all answers, by two rules", |n, _| {
        entries(n, 0).push(entry(80, false, None, "10.0.0.0/16"));
        entries(n, 0).push(deny(90, false, (1024, 50000), "0.0.0.0/1"));
        entries(n, 0).push(deny(91, false, (40000, 65535), "128.0.0.0/1"));
    } => "acls.internet" Fail;
    open, "an ACL stops answers of two parts of the internet, to other ports each", |n, _| {
        entries(n, 0).push(entry(80, false, None, "10.0.0.0/16"));
        entries(n, 0).push(deny(90, false, (1024, 40000), "0.0.0.0/1"));
        entries(n, 0).push(deny(91, false, (40001, 65535), "128.0.0.0/1"));
    } => "acls.internet" Warn;
    open, "an ACL stops answers to the other ports of Linux", |n, _| {
        entries(n, 0).push(entry(80, false, None, "10.0.0.0/16"));
        entries(n, 0).push(deny(90, false, (1024, 32767), "0.0.0.0/0"));
    } => "acls.internet" Warn;
    open, "the NAT gateway's ACL stops a part of the answers", |n, _| {
        entries(n, 2).push(entry(80, false, None, "10.0.0.0/16"));
        entries(n, 2).push(deny(90, false, (1024, 32767), "0.0.0.0/0"));
    } => "acls.internet" Fail;
    open, "the NAT gateway's ACL stops half of a subnet", |n, _| entries(n, 2).push(deny(90, false, (443, 443), "10.0.0.0/25"))
        => "acls.internet" Fail;
    closed, "an ACL knows no IPv6, and the subnets have it", |n, _| {
        for (at, text) in [(0, "2001:db8:0:1::/64"), (1, "2001:db8:0:2::/64")] {
            n.subnets.get_mut()[at].blocks.push(block(text));
        }
    } => "acls.database" Warn, "acls.https" Warn, "acls.answers" Warn;

    closed, "an endpoint is missing", |n, _| without_endpoint(n, "kms") => "services.present" Fail;
    closed, "an endpoint is missing, and there may be a way out", |n, _| {
        without_endpoint(n, "kms");
        (0..2).for_each(|it| routes(n, it).push(route("0.0.0.0/0", "tgw-1")));
    } => "services.present" Unknown, "routes.way-out" Unknown;
    closed, "an endpoint failed", |n, _| found_endpoint(n, "logs").endpoint.state = State::parse("failed")
        => "services.state" Fail;
    closed, "an endpoint without private DNS", |n, _| found_endpoint(n, "kms").private_dns = false
        => "services.private-dns" Fail;
    closed, "two endpoints, each with a fault of its own", |n, _| {
        second(n, "logs");
        found_endpoint(n, "logs").endpoint.state = State::parse("rejected");
    } => "services.state" Fail, "services.private-dns" Fail;
    closed, "two SQS endpoints, each with a fault of its own", |n, _| {
        second(n, "sqs");
        found_endpoint(n, "sqs").endpoint.state = State::parse("pendingAcceptance");
    } => "services.state" Fail, "services.private-dns" Fail;
    closed, "an endpoint in no subnet", |n, _| found_endpoint(n, "kms").endpoint.subnets.clear()
        => "services.private-dns" Fail;
    open, "an endpoint in no subnet, which has the name", |n, _| {
        n.endpoints.get_mut().push(endpoint("kms", "com.amazonaws.us-east-1.kms", &["environment"]));
        found_endpoint(n, "kms").endpoint.subnets.clear();
    } => "services.private-dns" Unknown;
    closed, "a service's endpoint of IPv6", |n, _| found_endpoint(n, "sqs").address_type = Some("ipv6".into())
        => "services.private-dns" Fail;
    closed, "a service's name of IPv6", |n, _| found_endpoint(n, "kms").record_type = Some("ipv6".into())
        => "services.private-dns" Fail;
    closed, "nobody says of which addresses a service is", |n, _| found_endpoint(n, "kms").address_type = None
        => "services.private-dns" Unknown;
    closed, "the services' group lets nobody in", |n, _| n.groups.get_mut()[2].inbound.clear() => "services.groups" Fail;
    closed, "the services' group lets in a part", |n, _| {
        n.groups.get_mut()[2].inbound = vec![permission(Some(443), cidr("10.0.0.0/24"))];
    } => "services.groups" Fail;
    closed, "the services' group lets in another account's group of that id", |n, _| {
        let other = Peer::Group(Some(account(OWNER)), group_id("environment"));
        n.groups.get_mut()[2].inbound = vec![permission(Some(443), other)];
    } => "services.groups" Fail;
    closed, "the services' group is not seen", |n, _| drop(n.groups.get_mut().pop()) => "services.groups" Unknown;
    closed, "a policy allows too little", |n, _| policy(n, "logs", json!([allow("logs:PutLogEvents", "*")]))
        => "services.policy" Fail;
    closed, "a policy denies", |n, _| {
        let deny = json!({"Effect": "Deny", "Principal": "*", "Action": "kms:*", "Resource": "*"});
        policy(n, "kms", json!([allow("*", "*"), deny]));
    } => "services.policy" Fail;
    closed, "a policy for one key", |n, _| {
        policy(n, "kms", json!([allow("kms:*", "arn:aws:kms:us-east-1:210987654321:key/1")]));
    } => "services.policy" Unknown;
    closed, "a policy for another environment's logs", |n, _| {
        policy(n, "logs", json!([allow("logs:*", "arn:aws:logs:us-east-1:210987654321:log-group:airflow-other-*")]));
    } => "services.policy" Unknown;
    closed, "a policy for another account", |n, _| policy(n, "logs", json!([to(OWNER)])) => "services.policy" Fail;
    closed, "a policy that denies queues, and none is known yet", |n, s| {
        planned(s);
        policy(n, "sqs", json!([allow("*", "*"), json!({"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*"})]));
    } => "services.policy" Fail;
    closed, "a policy that may deny a queue that is not known yet", |n, s| {
        planned(s);
        policy(n, "sqs", json!([allow("*", "*"), perimeter("*")]));
    } => "services.policy" Unknown;
    closed, "a policy without a place for a queue that is not known yet", |n, s| {
        planned(s);
        policy(n, "sqs", json!([json!({"Sid": SID, "Effect": "Allow", "Principal": "*", "Action": "*", "Resource": []})]));
    } => "services.policy" Fail;
    closed, "a policy for the tagged", |n, _| policy(n, "monitoring", json!([tagged(allow("*", "*"))]))
        => "services.policy" Unknown;
    closed, "a policy for the logs of tasks", |n, _| {
        let tasks = "arn:aws:logs:us-east-1:210987654321:log-group:airflow-analytics-Task:*";
        policy(n, "logs", json!([allow("logs:*", tasks)]));
    } => "services.policy" Unknown;
    closed, "a policy for another key than MWAA names", |n, s| {
        s.kms_key = Some("arn:aws:kms:us-east-1:210987654321:key/2".into());
        policy(n, "kms", json!([allow("kms:*", "arn:aws:kms:us-east-1:210987654321:key/1")]));
    } => "services.policy" Fail;
    closed, "a policy for one key, and MWAA names an alias", |n, s| {
        s.kms_key = Some("alias/airflow".into());
        policy(n, "kms", json!([allow("kms:*", "arn:aws:kms:us-east-1:210987654321:key/1")]));
    } => "services.policy" Unknown;
    closed, "an endpoint in one zone", |n, _| drop(found_endpoint(n, "kms").endpoint.subnets.pop_last())
        => "services.zones" Warn;

    closed, "S3 on one route table", |n, _| _ = found_endpoint(n, "s3").route_tables.remove("rtb-main")
        => "s3.way" Fail;
    closed, "a policy without the images' layers", |n, _| {
        policy(n, "s3", json!([allow("s3:*", "arn:aws:s3:::dags"), allow("s3:*", "arn:aws:s3:::dags/*")]));
    } => "s3.policy" Fail;
    closed, "a policy without the DAG bucket", |n, _| policy(n, "s3", json!([allow("s3:GetObject", FIRST_LAYERS)]))
        => "s3.policy" Fail;
    closed, "a policy for the organization's own", |n, _| {
        let mut own = allow("*", "*");
        own["Condition"] = json!({"StringEquals": {"aws:PrincipalAccount": PARTICIPANT}});
        policy(n, "s3", json!([own]));
    } => "s3.policy" Unknown;
    closed, "a gateway's policy for an account, which there is its root user", |n, _| {
        policy(n, "s3", json!([to(PARTICIPANT), allow("s3:GetObject", FIRST_LAYERS)]));
    } => "s3.policy" Unknown;
    closed, "a policy for a bucket, and nobody names the environment's", |n, s| {
        s.bucket = None;
        policy(n, "s3", json!([allow("s3:*", "arn:aws:s3:::dags*"), allow("s3:GetObject", FIRST_LAYERS)]));
    } => "s3.policy" Unknown;

    closed, "S3's interface endpoint lets nobody in", |n, _| {
        n.groups.get_mut().push(group("silent", OWNER, Vec::new(), Vec::new()));
        s3_interface(n, &["silent"]);
    } => "services.groups" Fail;
    closed, "S3's interface endpoint behind an ACL", |n, _| {
        s3_elsewhere(n);
        entries(n, 2).clear();
    } => "acls.https" Fail, "acls.answers" Fail, "services.zones" Warn;
    closed, "a group that does not let out to S3's interface endpoint", |n, _| {
        s3_elsewhere(n);
        n.groups.get_mut()[0].outbound[0] = permission(Some(443), cidr("10.0.0.0/23"));
    } => "groups.outbound" Fail, "services.zones" Warn;
    closed, "S3's interface endpoint without the images' layers", |n, _| {
        s3_interface(n, &["services"]);
        policy(n, "s3-interface", json!([allow("s3:*", "arn:aws:s3:::dags"), allow("s3:*", "arn:aws:s3:::dags/*")]));
    } => "s3.policy" Fail;
    closed, "S3's interface endpoint in no subnet", |n, _| s3_interface(n, &["services"]).endpoint.subnets.clear()
        => "services.private-dns" Fail;
    closed, "S3's interface endpoint is not accepted, and there is no other", |n, _| {
        s3_interface(n, &["services"]).endpoint.state = State::parse("pendingAcceptance");
        without_endpoint(n, "s3");
    } => "s3.way" Fail;

    closed, "six groups", |n, s| {
        for name in ["1", "2", "3", "4", "5"] {
            n.groups.get_mut().push(group(name, PARTICIPANT, Vec::new(), Vec::new()));
            s.groups.insert(group_id(name));
        }
    } => "groups.count" Fail;
    closed, "a group of another VPC", |n, _| n.groups.get_mut()[0].vpc = VpcId::parse("vpc-2").unwrap()
        => "groups.usable" Unknown;
    open, "a group of another account", |n, s| {
        n.groups.get_mut().push(group("theirs", PARTICIPANT, Vec::new(), Vec::new()));
        s.groups.insert(group_id("theirs"));
    } => "groups.usable" Fail;
    closed, "a group that lets in SSH", |n, _| n.groups.get_mut()[0].inbound = vec![permission(Some(22), cidr("0.0.0.0/0"))]
        => "groups.self" Fail;
    closed, "a group that lets itself in to 443", |n, _| n.groups.get_mut()[0].inbound[0] = permission(Some(443), carrier("environment"))
        => "groups.self" Fail;
    closed, "a group that does not let out to S3", |n, _| drop(n.groups.get_mut()[0].outbound.pop()) => "groups.outbound" Fail;
    closed, "a group that does not let out to the database", |n, _| drop(n.groups.get_mut()[0].outbound.remove(1))
        => "groups.outbound" Fail;
    closed, "a group that does not let out to the database that MWAA makes", |n, s| {
        mwaas(n, s);
        n.groups.get_mut()[0].outbound = vec![permission(Some(443), cidr("0.0.0.0/0"))];
    } => "groups.outbound" Fail;
    open, "a group that lets out to a part of the internet", |n, _| {
        n.groups.get_mut()[0].outbound = vec![permission(None, cidr("10.0.0.0/8")), permission(None, cidr("52.0.0.0/8"))];
    } => "groups.outbound" Warn;

    open, "a group that lets out to the VPC only", |n, _| {
        n.groups.get_mut()[0].outbound = vec![permission(None, cidr("10.0.0.0/16"))];
    } => "groups.outbound" Fail;
    closed, "a group that lets out to S3's gateway endpoint, and a service needs NAT", |n, _| {
        (0..2).for_each(|it| routes(n, it).push(route("0.0.0.0/0", "nat-1")));
        (0..2).for_each(|it| entries(n, it).push(entry(140, true, Some((443, 443)), "0.0.0.0/0")));
        (0..2).for_each(|it| entries(n, it).push(entry(140, false, Some((1024, 65535)), "0.0.0.0/0")));
        n.acls.get_mut().push(open().0.acls.get_mut().pop().unwrap());
        without_endpoint(n, "kms");
    } => "groups.outbound" Fail;

    closed, "an SQS endpoint in a hub", |n, _| {
        without_endpoint(n, "sqs");
        let mut hub = endpoint("hub", "com.amazonaws.us-east-1.sqs", &[]);
        hub.endpoint.vpc = VpcId::parse("vpc-hub").unwrap();
        n.elsewhere.get_mut().push(hub);
    } => "hub.sqs" Unknown, "services.present" Fail;
    closed, "no SQS endpoint, and a hub of another account may have one", |n, _| {
        without_endpoint(n, "sqs");
        (0..2).for_each(|it| routes(n, it).push(route("10.0.0.0/8", "tgw-1")));
    } => "hub.sqs" Unknown, "services.present" Unknown;
    closed, "no SQS endpoint, and nobody sees other VPCs", |n, _| {
        without_endpoint(n, "sqs");
        n.elsewhere = Seen::unseen("denied");
    } => "hub.sqs" Unknown, "services.present" Fail;

    closed, "few hours left", |_, s| s.now = at("2026-03-07T00:00:00Z") => "ours.clock" Warn;
    closed, "no hours left", |_, s| s.now = at("2026-03-07T11:00:00Z") => "ours.clock" Fail;
    closed, "its creation failed", |_, s| s.told.as_mut().unwrap().status = crate::event::Status::CreateFailed
        => "ours.clock" Fail;
    closed, "nobody says since when it waits", |_, s| s.told.as_mut().unwrap().origin = Origin::Replay
        => "ours.clock" Unknown;
    closed, "the database endpoint is rejected", |n, _| found_endpoint(n, "database").endpoint.state = State::parse("rejected")
        => "ours.database" Fail;
    closed, "the database endpoint is missing", |n, _| without_endpoint(n, "database") => "ours.database" Fail;
    closed, "MWAA names the services before it waits", |n, s| {
        s.told.as_mut().unwrap().status = crate::event::Status::Creating;
        without_endpoint(n, "database");
        without_endpoint(n, "webserver");
    } => "ours.database" Unknown, "ours.webserver" Unknown;
    closed, "neither endpoint is there", |n, _| {
        without_endpoint(n, "database");
        without_endpoint(n, "webserver");
    } => "ours.database" Fail, "ours.webserver" Fail;
    closed, "the database endpoint is not accepted", |n, _| {
        found_endpoint(n, "database").endpoint.state = State::parse("pendingAcceptance");
    } => "ours.database" Warn;
    closed, "MWAA names no database", |_, s| drop(s.told.as_mut().unwrap().named.remove(&crate::environment::Role::Database))
        => "ours.database" Unknown;
    closed, "the web server endpoint is missing", |n, _| without_endpoint(n, "webserver") => "ours.webserver" Fail;
    closed, "two database endpoints", |n, _| n.endpoints.get_mut().push(endpoint("second", DATABASE, &["ours"]))
        => "ours.duplicate" Warn;
    closed, "the web server endpoint in one zone", |n, _| drop(found_endpoint(n, "webserver").endpoint.subnets.pop_last())
        => "ours.subnets" Fail;
    closed, "the database endpoint in other subnets of the same zones", |n, _| {
        n.subnets.get_mut().push(subnet("c", 1, "10.0.2.0/24"));
        n.acls.get_mut().push(tight("acl-c", "c"));
        let subnets = &mut found_endpoint(n, "database").endpoint.subnets;
        subnets.remove(&subnet_id("a"));
        subnets.insert(subnet_id("c"));
    } => "ours.subnets" Fail;
    closed, "the web server endpoint in one zone, and the environment is in use", |n, s| {
        s.told.as_mut().unwrap().status = crate::event::Status::Available;
        drop(found_endpoint(n, "webserver").endpoint.subnets.pop_last());
    } => "ours.subnets" Warn;
    closed, "the endpoints' group lets in no 5432", |n, _| drop(n.groups.get_mut()[1].inbound.pop()) => "ours.groups" Fail;
    closed, "the endpoints' group is not seen", |n, _| drop(n.groups.get_mut().remove(1)) => "ours.groups" Unknown;
    closed, "an endpoint of IPv6", |n, _| found_endpoint(n, "database").address_type = Some("ipv6".into())
        => "ours.address-type" Fail;
    closed, "an endpoint of both", |n, _| found_endpoint(n, "database").address_type = Some("dualstack".into())
        => "ours.address-type" Warn;
    closed, "nobody says of which addresses", |n, _| found_endpoint(n, "database").address_type = None
        => "ours.address-type" Unknown;
    closed, "the queue is not listed", |n, _| {
        found_endpoint(n, "sqs").endpoint.policy = Some(queue_policy(&["arn:aws:sqs:us-east-1:555555555555:other"], &[]));
    } => "ours.queue" Fail;
    closed, "the queue is allowed to the tagged", |n, _| policy(n, "sqs", json!([tagged(allow("*", "*"))]))
        => "ours.queue" Unknown;
    closed, "the queue is allowed without the condition", |_, s| {
        s.organization = Some("o-1".into());
        s.limited_to = Some("o-1".into());
    } => "ours.queue" Warn;
    closed, "the queue is missing, and MWAA makes the endpoints", |n, s| {
        mwaas(n, s);
        found_endpoint(n, "sqs").endpoint.policy = Some(queue_policy(&["arn:aws:sqs:us-east-1:555555555555:other"], &[]));
    } => "ours.queue" Fail;
    closed, "MWAA cannot make the endpoints in another's VPC", |n, s| {
        mwaas(n, s);
        n.subnets.get_mut().iter_mut().for_each(|it| it.subnet.owner = account(OWNER));
    } => "subnets.owner" Fail;
    closed, "the queue is outside of the organization of a data perimeter", |n, _| {
        found_endpoint(n, "sqs").endpoint.policy = Some(queue_policy(&[QUEUE], &[perimeter("*")]));
    } => "ours.queue-denied" Unknown;
    closed, "another SQS endpoint does not list the queue", |n, _| {
        let mut fips = endpoint("fips", "com.amazonaws.us-east-1.sqs-fips", &["services"]);
        fips.endpoint.policy = Some(queue_policy(&["arn:aws:sqs:us-east-1:555555555555:other"], &[]));
        n.endpoints.get_mut().push(fips);
    } => "ours.queue" Fail;
    closed, "the queue is denied", |n, _| {
        let deny = json!({"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "NotResource": "arn:aws:sqs:*:111122223333:*"});
        found_endpoint(n, "sqs").endpoint.policy = Some(queue_policy(&[QUEUE], &[deny]));
    } => "ours.queue-denied" Fail;
    closed, "the queue is denied to the tagged", |n, _| {
        let deny = json!({"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*"});
        found_endpoint(n, "sqs").endpoint.policy = Some(queue_policy(&[QUEUE], &[tagged(deny)]));
    } => "ours.queue-denied" Unknown;
    closed, "a long policy", |n, _| {
        let spaced = queue_policy(&[QUEUE], &[]) + &" ".repeat(17_000);
        found_endpoint(n, "sqs").endpoint.policy = Some(spaced);
    } => "ours.policy-length" Warn;
    closed, "a full policy", |n, _| {
        let others: Vec<String> =
            (0..430).map(|it| format!("arn:aws:sqs:us-east-1:555555555555:other-{it:04}")).collect();
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        found_endpoint(n, "sqs").endpoint.policy = Some(queue_policy(&others, &[]));
    } => "ours.policy-length" Fail, "ours.queue" Fail;
    closed, "a policy that is none", |n, _| found_endpoint(n, "sqs").endpoint.policy = Some("{oops".into())
        => "ours.policy-length" Unknown, "ours.queue" Unknown;
    closed, "more endpoints than the quota that is reckoned with", |_, s| s.quota = 9 => "ours.quota" Unknown;
    closed, "few endpoints left, and MWAA names no service yet", |n, s| {
        creating(n, s);
        s.quota = 10;
    } => "ours.quota" Fail, "ours.database" Unknown, "ours.webserver" Unknown, "ours.queue" Unknown, "ours.queue-denied" Unknown;
    closed, "few endpoints left", |_, s| s.quota = 12 => "ours.quota" Warn;
    open, "no endpoints left", |_, s| s.quota = 1 => "ours.quota" Fail;
];

/// What is not seen, one kind of thing at a time.
const UNSEEN: [(&str, Change); 14] = [
    ("DNS support", |n, _| n.dns_support = Seen::unseen("denied")),
    ("DNS hostnames", |n, _| n.dns_hostnames = Seen::unseen("denied")),
    ("resolvers", |n, _| n.resolvers = Seen::unseen("denied")),
    ("subnets", |n, _| n.subnets = Seen::unseen("denied")),
    ("shares", |n, _| n.shares = Seen::unseen("denied")),
    ("route tables", |n, _| n.route_tables = Seen::unseen("denied")),
    ("NAT gateways", |n, _| n.nat_gateways = Seen::unseen("denied")),
    ("ACLs", |n, _| n.acls = Seen::unseen("denied")),
    ("endpoints", |n, _| n.endpoints = Seen::unseen("denied")),
    ("other VPCs", |n, _| n.elsewhere = Seen::unseen("denied")),
    ("groups", |n, _| n.groups = Seen::unseen("denied")),
    ("prefix lists", |n, _| n.prefix_lists = Seen::unseen("denied")),
    ("the environment's subnets", |_, s| s.subnets.clear()),
    ("the environment's groups", |_, s| s.groups.clear()),
];

fn examined(healthy: Healthy, changes: &[Change]) -> Vec<Check> {
    let (mut seen, mut of) = healthy();
    changes.iter().for_each(|change| change(&mut seen, &mut of));
    examine(&seen, &of)
}

fn not_right(checks: &[Check]) -> BTreeMap<&'static str, Verdict> {
    let wrong = checks.iter().filter(|it| it.verdict != Verdict::Pass);
    wrong.map(|it| (it.id, it.verdict)).collect()
}

const HEALTHY: [Healthy; 2] = [closed, open];

#[test]
fn a_healthy_network_passes() {
    for healthy in HEALTHY {
        let checks = examined(healthy, &[]);
        assert_eq!(not_right(&checks), BTreeMap::new(), "{}", show::plain(&checks));
        assert!(checks.iter().all(|it| !it.evidence.is_empty()), "{}", show::plain(&checks));
    }
}

/// What works in another way than in the healthy networks.
#[rustfmt::skip]
const RIGHT_TOO: &[(&str, Change)] = &[
    ("MWAA makes the endpoints", mwaas),
    ("it is being deleted, and its endpoints are gone", |n, s| {
        s.told.as_mut().unwrap().status = crate::event::Status::Deleting;
        without_endpoint(n, "database");
        without_endpoint(n, "webserver");
        found_endpoint(n, "sqs").endpoint.policy = Some(queue_policy(&["arn:aws:sqs:us-east-1:555555555555:other"], &[]));
    }),
    ("NAT that nothing needs, and that no group lets out to", |n, _| {
        (0..2).for_each(|it| routes(n, it).push(route("0.0.0.0/0", "nat-1")));
        (0..2).for_each(|it| entries(n, it).push(entry(140, true, Some((443, 443)), "0.0.0.0/0")));
        (0..2).for_each(|it| entries(n, it).push(entry(140, false, Some((1024, 65535)), "0.0.0.0/0")));
        n.acls.get_mut().push(open().0.acls.get_mut().pop().unwrap());
    }),
    ("it is being deleted, in full subnets and a full VPC", |n, s| {
        s.told.as_mut().unwrap().status = crate::event::Status::Deleting;
        n.subnets.get_mut().iter_mut().for_each(|it| it.free = 0);
        without_endpoint(n, "database");
        without_endpoint(n, "webserver");
        s.quota = 12;
    }),
    ("its group lets out to the groups of endpoints, and to S3", |n, _| {
        let to = |name: &str| Peer::Group(Some(account(OWNER)), group_id(name));
        let s3 = n.groups.get_mut()[0].outbound.pop().unwrap();
        n.groups.get_mut()[0].outbound =
            vec![permission(Some(443), to("services")), permission(Some(443), to("ours")), permission(Some(5432), to("ours")), s3];
    }),
    ("NAT by lists, and to the internet by one", |n, s| {
        (*n, *s) = open();
        own_list(n, &["0.0.0.0/0"]);
        (0..2).for_each(|it| routes(n, it)[1] = route(OWN_LIST, "nat-1"));
        routes(n, 2)[1] = route(OWN_LIST, "igw-1");
    }),
    ("routes inside of the VPC that do not count", |n, _| {
        routes(n, 0).push(Route { is_propagated: true, ..route("10.0.1.0/24", "vgw-1") });
        routes(n, 0).push(route("10.0.9.0/24", "eni-1"));
    }),
    ("its account is of an organization, to which the function limits nothing", |_, s| s.organization = Some("o-1".into())),
    ("Amazon's resolver by its addresses", |n, _| {
        *n.resolvers.get_mut() = ["10.0.0.2", "169.254.169.253", "fd00:ec2::253"].map(str::to_owned).into();
    }),
    ("no endpoint is on 443, and no ACL lets it through to the subnets", |n, s| {
        *n = open().0;
        let mut database = endpoint("database", DATABASE, &["ours"]);
        database.private_dns = false;
        n.endpoints.get_mut().push(database);
        n.groups = closed().0.groups;
        let mut groups = open().0.groups;
        n.groups.get_mut()[0].outbound = groups.get_mut()[0].outbound.clone();
        s.told.as_mut().unwrap().mode = Some(crate::event::Mode::PublicOnly);
        for (at, other) in [(0, "10.0.1.0/24"), (1, "10.0.0.0/24")] {
            entries(n, at).push(deny(90, false, (443, 443), other));
        }
    }),
    ("the logs of its account", |n, _| {
        policy(n, "logs", json!([allow("logs:*", "arn:aws:logs:us-east-1:210987654321:*")]));
    }),
    ("its own logs", |n, _| {
        let own = "arn:aws:logs:us-east-1:210987654321:log-group:airflow-analytics-*";
        policy(n, "logs", json!([allow("logs:*", own)]));
    }),
    ("its own logs, and it is to be made", |n, s| {
        planned(s);
        s.planned_name = Some("analytics".to_owned());
        policy(n, "logs", json!([allow("logs:*", "arn:aws:logs:us-east-1:210987654321:log-group:airflow-analytics-*")]));
    }),
    ("its account", |n, _| ["logs", "kms"].into_iter().for_each(|it| policy(n, it, json!([to(PARTICIPANT)])))),
    ("its account, by its id", |n, _| {
        let mut own = to(PARTICIPANT);
        own["Principal"] = json!({"AWS": PARTICIPANT});
        policy(n, "monitoring", json!([own]));
    }),
    ("its account and organization, by conditions", |n, s| {
        s.organization = Some("o-1".into());
        s.limited_to = Some("o-1".into());
        let mut own = allow("*", "*");
        own["Condition"] = json!({"StringEquals": {"aws:PrincipalAccount": PARTICIPANT, "aws:PrincipalOrgID": "o-1"}});
        ["logs", "kms", "sqs"].into_iter().for_each(|it| policy(n, it, json!([own.clone()])));
    }),
    ("no queue is known yet, and the policy lists others", |n, s| {
        planned(s);
        found_endpoint(n, "sqs").endpoint.policy = Some(queue_policy(&["arn:aws:sqs:us-east-1:555555555555:other"], &[]));
    }),
    ("no queue is known yet, and the policy lists none", |n, s| {
        planned(s);
        policy(n, "sqs", json!([{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": []}]));
    }),
    ("no queue is known yet, and a data perimeter excepts MWAA's", |n, s| {
        planned(s);
        policy(n, "sqs", json!([allow("*", "*"), perimeter("arn:aws:sqs:*:*:airflow-celery-*")]));
    }),
    ("S3 by an interface endpoint, and what leads to the gateway endpoint is closed", |n, _| {
        s3_interface(n, &["services"]);
        policy(n, "s3", json!([allow("s3:*", "arn:aws:s3:::others/*")]));
        (0..2).for_each(|it| entries(n, it).retain(|it| it.number != 130));
        n.groups.get_mut()[0].outbound.pop();
    }),
    ("S3 by an interface endpoint alone", |n, _| {
        s3_interface(n, &["services"]);
        without_endpoint(n, "s3");
    }),
    ("an endpoint that failed, beside one that works", |n, _| {
        second(n, "logs");
        found_endpoint(n, "second").endpoint.state = State::parse("failed");
    }),
    ("a service's endpoint of both address types", |n, _| found_endpoint(n, "kms").address_type = Some("dualstack".into())),
    ("a policy for the key that MWAA names", |n, s| {
        s.kms_key = Some("arn:aws:kms:us-east-1:210987654321:key/1".into());
        policy(n, "kms", json!([allow("kms:*", "arn:aws:kms:us-east-1:210987654321:key/1")]));
    }),
];

#[test]
fn what_works_in_another_way_passes_too() {
    for (what, change) in RIGHT_TOO {
        let checks = examined(closed, &[*change]);
        assert_eq!(not_right(&checks), BTreeMap::new(), "{what}\n{}", show::plain(&checks));
        assert!(checks.iter().all(|it| !it.evidence.is_empty()), "{}", show::plain(&checks));
    }
}

#[test]
fn of_endpoints_that_mwaa_makes_none_of_ours_is_missed() {
    let checks = examined(closed, &[mwaas]);
    let ours: Vec<&str> =
        checks.iter().map(|it| it.id).filter(|it| it.starts_with("ours.")).collect();
    assert_eq!(ours, ["ours.queue", "ours.queue-denied", "ours.policy-length", "ours.quota"]);
}

#[test]
fn without_any_way_to_a_hub_none_is_told() {
    let checks = examined(closed, &[|n, _| without_endpoint(n, "sqs")]);
    assert_eq!(not_right(&checks), BTreeMap::from([("services.present", Verdict::Fail)]));
    assert!(!checks.iter().any(|it| it.id == "hub.sqs"), "{}", show::plain(&checks));
}

#[test]
fn a_group_that_does_not_let_out_is_told_though_nobody_sees_the_gateway_endpoint() {
    let change: Change = |n, _| {
        n.groups.get_mut()[0].outbound.remove(1);
        n.route_tables = Seen::unseen("denied");
    };
    let checks = examined(closed, &[change]);
    assert_eq!(not_right(&checks)["groups.outbound"], Verdict::Fail);
}

#[test]
fn the_evidence_names_routes_and_whole_blocks() {
    let evidence = |healthy: Healthy, change: Change, id: &str| {
        let checks = examined(healthy, &[change]);
        checks.into_iter().find(|it| it.id == id).unwrap().evidence
    };
    let way: Change = |n, _| (0..2).for_each(|it| routes(n, it).push(route("0.0.0.0/0", "tgw-1")));
    let way = evidence(closed, way, "routes.way-out");
    assert!(way.ends_with(": 0.0.0.0/0 to transit gateway tgw-1"), "{way}");
    let out: Change = |n, _| {
        entries(n, 0).push(entry(80, true, None, "10.0.0.0/16"));
        entries(n, 0).push(deny(90, true, (443, 443), "0.0.0.0/0"));
    };
    let out = evidence(open, out, "acls.internet");
    assert_eq!(out, "acl-a out of subnet-a: TCP 443 to 0.0.0.0/0 (rule 90 denies it)");
    let broken: Change = |n, _| n.nat_gateways.get_mut()[0].state = "failed".into();
    let broken = evidence(open, broken, "routes.way-out");
    assert!(broken.ends_with("0.0.0.0/0 to NAT gateway nat-1, which is failed"), "{broken}");
    let of_others = "no queue is known yet, and the policy lists others";
    let (_, later) = RIGHT_TOO.iter().find(|(what, _)| *what == of_others).unwrap();
    let later = evidence(closed, *later, "services.policy");
    assert!(later.ends_with("the function adds it to the policy of vpce-sqs"), "{later}");
}

#[test]
fn a_fault_is_told_by_its_check_and_by_no_other() {
    for fault in FAULTS {
        let checks = examined(fault.healthy, &[fault.change]);
        let expected = fault.told.iter().copied().collect();
        assert_eq!(not_right(&checks), expected, "{}\n{}", fault.what, show::plain(&checks));
        for check in &checks {
            assert!(!check.evidence.is_empty(), "{} of {}", check.id, fault.what);
        }
        for check in checks.iter().filter(|it| it.verdict != Verdict::Pass) {
            let is_whole = |text: &str| !text.ends_with(' ') && !text.ends_with([';', ':', ',']);
            assert!(is_whole(&check.evidence), "{}: {:?}", fault.what, check.evidence);
            let has_remedy = check.remedy.is_some() || check.verdict == Verdict::Unknown;
            assert!(has_remedy, "{} of {}", check.id, fault.what);
        }
    }
}

#[test]
fn what_is_not_seen_is_unknown_and_no_fault() {
    for healthy in HEALTHY {
        for (what, change) in UNSEEN {
            for (id, verdict) in not_right(&examined(healthy, &[change])) {
                assert_eq!(verdict, Verdict::Unknown, "{id} without {what}");
            }
        }
    }
}

#[test]
fn a_fault_that_is_not_seen_does_not_pass() {
    for fault in FAULTS {
        for (what, change) in UNSEEN {
            let checks = examined(fault.healthy, &[fault.change, change]);
            for (id, verdict) in fault.told {
                let told = checks.iter().find(|it| it.id == *id).map(|it| it.verdict);
                let is_right = told.is_some_and(|it| it == *verdict || it == Verdict::Unknown);
                assert!(is_right, "{id} is {told:?} with {} and without {what}", fault.what);
            }
        }
    }
}

#[test]
fn each_check_is_seen_to_pass_to_fail_and_not_to_know() {
    /// What these find depends on what nobody sees from here, at worst.
    const NEVER_FAIL: [&str; 1] = ["hub.sqs"];
    let mut seen: BTreeSet<(&str, Verdict)> = BTreeSet::new();
    let mut add = |checks: Vec<Check>| seen.extend(checks.iter().map(|it| (it.id, it.verdict)));
    for healthy in HEALTHY {
        add(examined(healthy, &[]));
        UNSEEN.iter().for_each(|(_, change)| add(examined(healthy, &[*change])));
    }
    FAULTS.iter().for_each(|fault| add(examined(fault.healthy, &[fault.change])));
    for (group, entries) in CATALOGUE {
        for Entry { id, source, .. } in entries {
            let has = |verdict| seen.contains(&(*id, verdict));
            assert!(has(Verdict::Pass), "{id} was never seen to pass");
            assert!(has(Verdict::Unknown), "{id} was never seen not to know");
            let fails = has(Verdict::Fail) || has(Verdict::Warn);
            assert_eq!(fails, !NEVER_FAIL.contains(id), "whether {id} was seen to fail");
            assert!(id.starts_with(&format!("{group}.")), "{id} is of {group}");
            assert!(source.starts_with("https://docs.aws.amazon.com/"), "{id}: {source}");
        }
    }
    let ids: Vec<&str> = CATALOGUE.iter().flat_map(|(_, all)| all.iter().map(|it| it.id)).collect();
    assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len(), "ids are unique");
}

/// The same network with IPv6 alone: DNS64 and an egress-only gateway are its way out.
fn ipv6_only() -> (Network, Subject) {
    let (mut seen, of) = open();
    for (at, text) in [(0, "2001:db8:0:1::/64"), (1, "2001:db8:0:2::/64")] {
        let subnet = &mut seen.subnets.get_mut()[at];
        (subnet.blocks, subnet.subnet.ipv6_only, subnet.free) = (vec![block(text)], true, 0);
        let all = [false, true].map(|is_egress| entry(100, is_egress, None, "::/0"));
        *entries(&mut seen, at) = all.into();
        *routes(&mut seen, at) = vec![route("2001:db8::/56", "local"), route("::/0", "eigw-1")];
    }
    seen.groups.get_mut()[0].outbound = vec![permission(None, cidr("::/0"))];
    (seen, of)
}

#[test]
fn what_speaks_ipv6_alone_is_judged_by_its_ipv6() {
    assert_eq!(not_right(&examined(ipv6_only, &[])), BTreeMap::new());
    let faults: [(Change, &str); 3] = [
        (|n, _| entries(n, 0).push(deny(90, true, (443, 443), "2001:db8:0:2::/64")), "acls.https"),
        (|n, _| drop(routes(n, 0).pop()), "services.present"),
        (
            |n, _| n.groups.get_mut()[0].inbound = vec![permission(None, cidr("0.0.0.0/0"))],
            "groups.self",
        ),
    ];
    for (change, id) in faults {
        let told = not_right(&examined(ipv6_only, &[change]));
        assert_eq!(told.get(id), Some(&Verdict::Fail), "{id}: {told:?}");
    }
}

#[test]
fn the_page_tells_all_checks() {
    let page = include_str!("../../docs/doctor.md");
    let told: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let all = CATALOGUE.iter().flat_map(|(_, entries)| entries.iter());
    let all = all.map(|it| (it.id, it.title)).chain(deployment_tests::all().map(|(.., it)| it));
    let expected: Vec<String> = all.map(|(id, title)| format!("| `{id}` | {title} |")).collect();
    assert_eq!(told, expected);
}
