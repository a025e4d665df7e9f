//! The doctor over EC2's wire protocol: what is described, in what pages, and what becomes of a call
//! that is denied. What each check says is told in the library's own tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::config::{
    AsyncSleep, BehaviorVersion, Credentials, HttpClient, RuntimeComponents, Sleep,
};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use mwaa_vpc_endpoints::aws::Ec2;
use mwaa_vpc_endpoints::aws::ec2_network::{Named, PERMISSIONS, Scope};
use mwaa_vpc_endpoints::doctor::{Check, Network, Subject, Verdict, examine};
use mwaa_vpc_endpoints::environment::{AccountId, GroupId, Region, SubnetId, VpcId};

const OWNER: &str = "111122223333";

#[derive(Debug)]
struct NoSleep;

impl AsyncSleep for NoSleep {
    fn sleep(&self, _: std::time::Duration) -> Sleep {
        Sleep::new(std::future::ready(()))
    }
}

/// Answers to each action, page by page, and what was asked.
#[derive(Clone, Debug, Default)]
struct Canned {
    pages: BTreeMap<&'static str, Vec<String>>,
    denied: BTreeSet<&'static str>,
    calls: Arc<Mutex<Vec<BTreeMap<String, String>>>>,
}

impl HttpClient for Canned {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Canned {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = request.body().bytes().unwrap_or_default();
        let asked: BTreeMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
        let (status, body) = self.answer(&asked);
        self.calls.lock().unwrap().push(asked);
        let status = StatusCode::try_from(status).unwrap();
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(body))))
    }
}

impl Canned {
    fn answer(&self, asked: &BTreeMap<String, String>) -> (u16, String) {
        let action = asked["Action"].as_str();
        // Two lists are asked for of one VPC, and elsewhere.
        let key = match (action, asked.get("Filter.1.Name").map(String::as_str)) {
            ("DescribeVpcEndpoints", Some("service-name")) => "elsewhere",
            ("DescribeSubnets", Some("subnet-id")) => "named subnets",
            ("DescribeSecurityGroups", Some("group-id")) => "named groups",
            ("DescribeVpcAttribute", _) => asked["Attribute"].as_str(),
            _ => action,
        };
        if self.denied.contains(key) {
            let error = "<Error><Code>UnauthorizedOperation</Code><Message>no</Message></Error>";
            return (403, format!("<Response><Errors>{error}</Errors></Response>"));
        }
        let at = asked.get("NextToken").map_or(0, |token| token.parse::<usize>().unwrap());
        let pages = self.pages.get(key).unwrap_or_else(|| panic!("{key} was not expected"));
        let next = at + 1;
        let more = if next < pages.len() {
            format!("<nextToken>{next}</nextToken>")
        } else {
            String::new()
        };
        (200, format!("<{action}Response>{}{more}</{action}Response>", pages[at]))
    }

    fn set(&mut self, key: &'static str, name: &str, pages: &[&[&str]]) {
        let pages = pages.iter().map(|items| {
            let items: String = items.iter().map(|item| format!("<item>{item}</item>")).collect();
            format!("<{name}>{items}</{name}>")
        });
        self.pages.insert(key, pages.collect());
    }

    async fn network(&self) -> Network {
        let config = aws_sdk_ec2::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(aws_sdk_ec2::config::Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .retry_config(RetryConfig::standard().with_max_attempts(1))
            .sleep_impl(NoSleep)
            .http_client(self.clone())
            .build();
        let ec2 = Ec2::new(aws_sdk_ec2::Client::from_conf(config));
        let (of, vpc) = (subject(), VpcId::parse("vpc-1").unwrap());
        let named = Named { subnets: &of.subnets, groups: &of.groups };
        ec2.network(&AccountId::parse(OWNER).unwrap(), &vpc, &of.region, named, Scope::Whole).await
    }
}

fn subject() -> Subject {
    Subject::planned(
        AccountId::parse(OWNER).unwrap(),
        Region::parse("us-east-1").unwrap(),
        ["subnet-a", "subnet-b"].map(|it| SubnetId::parse(it).unwrap()).into(),
        BTreeSet::from([GroupId::parse("sg-own").unwrap()]),
        chrono::DateTime::UNIX_EPOCH,
    )
}

fn subnet(id: &str, zone: u8, cidr: &str) -> String {
    format!(
        "<subnetId>subnet-{id}</subnetId><vpcId>vpc-1</vpcId><ownerId>{OWNER}</ownerId><availabilityZone>us-east-1{zone}</availabilityZone><availabilityZoneId>use1-az{zone}</availabilityZoneId><cidrBlock>{cidr}</cidrBlock><availableIpAddressCount>100</availableIpAddressCount>"
    )
}

fn table(id: &str, association: &str, way_out: &str) -> String {
    format!(
        "<routeTableId>rtb-{id}</routeTableId><vpcId>vpc-1</vpcId><associationSet><item>{association}</item></associationSet><routeSet><item><destinationCidrBlock>10.0.0.0/16</destinationCidrBlock><gatewayId>local</gatewayId><state>active</state><origin>CreateRouteTable</origin></item><item><destinationCidrBlock>0.0.0.0/0</destinationCidrBlock>{way_out}<state>active</state><origin>CreateRoute</origin></item></routeSet>"
    )
}

fn acl_entry(number: u16, is_egress: bool, action: &str) -> String {
    format!(
        "<item><ruleNumber>{number}</ruleNumber><protocol>-1</protocol><ruleAction>{action}</ruleAction><egress>{is_egress}</egress><cidrBlock>0.0.0.0/0</cidrBlock></item>"
    )
}

/// A VPC with NAT and an SQS endpoint, as EC2 tells it.
fn healthy() -> Canned {
    let mut canned = Canned::default();
    for name in ["enableDnsSupport", "enableDnsHostnames"] {
        let value = format!("<vpcId>vpc-1</vpcId><{name}><value>true</value></{name}>");
        canned.pages.insert(name, vec![value]);
    }
    canned.set(
        "DescribeVpcs",
        "vpcSet",
        &[&["<vpcId>vpc-1</vpcId><dhcpOptionsId>dopt-1</dhcpOptionsId>"]],
    );
    canned.set("DescribeDhcpOptions", "dhcpOptionsSet", &[&[
        "<dhcpOptionsId>dopt-1</dhcpOptionsId><dhcpConfigurationSet><item><key>domain-name-servers</key><valueSet><item><value>AmazonProvidedDNS</value></item></valueSet></item></dhcpConfigurationSet>",
    ]]);
    let (a, b) = (subnet("a", 1, "10.0.0.0/24"), subnet("b", 2, "10.0.1.0/24"));
    let public = subnet("public", 1, "10.0.9.0/24");
    canned.set("DescribeSubnets", "subnetSet", &[&[&a], &[&b, &public]]);
    canned.set("named subnets", "subnetSet", &[&[&a, &b]]);
    let nat = "<natGatewayId>nat-1</natGatewayId>";
    let main = table("main", "<main>true</main>", nat);
    let own = table("own", "<main>false</main><subnetId>subnet-b</subnetId>", nat);
    let to_public = "<main>false</main><subnetId>subnet-public</subnetId>";
    let public = table("public", to_public, "<gatewayId>igw-1</gatewayId>");
    canned.set("DescribeRouteTables", "routeTableSet", &[&[&main], &[&own], &[&public]]);
    canned.set("DescribeNatGateways", "natGatewaySet", &[&[
        "<natGatewayId>nat-1</natGatewayId><vpcId>vpc-1</vpcId><subnetId>subnet-public</subnetId><state>available</state><connectivityType>public</connectivityType>",
    ]]);
    let places: String = ["a", "b", "public"]
        .map(|id| format!("<item><subnetId>subnet-{id}</subnetId></item>"))
        .concat();
    let entries: String = [true, false]
        .map(|is_egress| acl_entry(100, is_egress, "allow") + &acl_entry(32767, is_egress, "deny"))
        .concat();
    let acl = format!(
        "<networkAclId>acl-1</networkAclId><associationSet>{places}</associationSet><entrySet>{entries}</entrySet>"
    );
    canned.set("DescribeNetworkAcls", "networkAclSet", &[&[&acl]]);
    let sqs = "<vpcEndpointId>vpce-1</vpcEndpointId><vpcEndpointType>Interface</vpcEndpointType><vpcId>vpc-1</vpcId><serviceName>com.amazonaws.us-east-1.sqs</serviceName><state>available</state><privateDnsEnabled>true</privateDnsEnabled><ipAddressType>ipv4</ipAddressType><subnetIdSet><item>subnet-a</item><item>subnet-b</item></subnetIdSet><groupSet><item><groupId>sg-sqs</groupId></item></groupSet>";
    canned.set("DescribeVpcEndpoints", "vpcEndpointSet", &[&[], &[sqs]]);
    canned.set("elsewhere", "vpcEndpointSet", &[&[sqs]]);
    let own = format!(
        "<groupId>sg-own</groupId><vpcId>vpc-1</vpcId><ownerId>{OWNER}</ownerId><ipPermissions><item><ipProtocol>-1</ipProtocol><groups><item><userId>{OWNER}</userId><groupId>sg-own</groupId></item></groups></item></ipPermissions><ipPermissionsEgress><item><ipProtocol>-1</ipProtocol><ipRanges><item><cidrIp>0.0.0.0/0</cidrIp></item></ipRanges></item></ipPermissionsEgress>"
    );
    let sqs = format!(
        "<groupId>sg-sqs</groupId><vpcId>vpc-1</vpcId><ownerId>{OWNER}</ownerId><ipPermissions><item><ipProtocol>tcp</ipProtocol><fromPort>443</fromPort><toPort>443</toPort><prefixListIds><item><prefixListId>pl-own</prefixListId></item></prefixListIds></item></ipPermissions>"
    );
    canned.set("DescribeSecurityGroups", "securityGroupInfo", &[&[&own], &[&sqs]]);
    canned.set("named groups", "securityGroupInfo", &[&[&own]]);
    canned.set("DescribePrefixLists", "prefixListSet", &[&[
        "<prefixListId>pl-s3</prefixListId><prefixListName>com.amazonaws.us-east-1.s3</prefixListName><cidrSet><item>52.216.0.0/15</item></cidrSet>",
    ]]);
    canned.set(
        "GetManagedPrefixListEntries",
        "entrySet",
        &[&["<cidr>10.0.0.0/24</cidr>"], &["<cidr>10.0.1.0/24</cidr>"]],
    );
    canned
}

fn verdicts(checks: &[Check], verdict: Verdict) -> BTreeSet<&str> {
    checks.iter().filter(|it| it.verdict == verdict).map(|it| it.id).collect()
}

#[tokio::test]
async fn a_healthy_network_is_read_page_by_page_and_passes() {
    let canned = healthy();
    let checks = examine(&canned.network().await, &subject());
    let wrong: Vec<&Check> = checks.iter().filter(|it| it.verdict != Verdict::Pass).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Each of them is of a page after the first, or of a list that is asked for by its name.
    for (id, evidence) in [
        ("hub.sqs", "by vpce-1"),
        ("services.groups", "they let in TCP 443: sqs"),
        ("routes.nat-public", "nat-1 is in subnet-public"),
    ] {
        let told = checks.iter().find(|it| it.id == id).map(|it| it.evidence.as_str());
        assert_eq!(told, Some(evidence), "{id}");
    }
}

#[tokio::test]
async fn only_what_may_be_seen_is_judged_and_the_rest_is_unknown_with_the_reason() {
    for (denied, check) in [
        ("enableDnsSupport", "vpc.dns-support"),
        ("enableDnsHostnames", "vpc.dns-hostnames"),
        ("DescribeVpcs", "vpc.resolvers"),
        ("DescribeDhcpOptions", "vpc.resolvers"),
        ("named subnets", "subnets.zones"),
        ("DescribeSubnets", "subnets.zones"),
        ("DescribeRouteTables", "routes.private"),
        ("DescribeNatGateways", "routes.nat"),
        ("DescribeNetworkAcls", "acls.https"),
        ("DescribeVpcEndpoints", "services.present"),
        ("DescribeSecurityGroups", "groups.self"),
        ("named groups", "groups.self"),
        ("DescribePrefixLists", "services.groups"),
        ("GetManagedPrefixListEntries", "services.groups"),
    ] {
        let mut canned = healthy();
        canned.denied.insert(denied);
        let checks = examine(&canned.network().await, &subject());
        for wrong in [Verdict::Fail, Verdict::Warn] {
            assert_eq!(verdicts(&checks, wrong), BTreeSet::new(), "without {denied}");
        }
        let unknown = checks.iter().find(|it| it.id == check);
        let unknown = unknown.unwrap_or_else(|| panic!("{check} was not made without {denied}"));
        assert_eq!(unknown.verdict, Verdict::Unknown, "{check} without {denied}");
        assert!(unknown.evidence.contains("UnauthorizedOperation"), "{unknown:?}");
    }
}

#[tokio::test]
async fn an_endpoint_for_an_inbound_resolver_endpoint_only_is_not_the_way_to_s3() {
    for (only, is_way) in [("false", true), ("true", false)] {
        let s3 = format!(
            "<vpcEndpointId>vpce-2</vpcEndpointId><vpcEndpointType>Interface</vpcEndpointType><vpcId>vpc-1</vpcId><serviceName>com.amazonaws.us-east-1.s3</serviceName><state>available</state><privateDnsEnabled>true</privateDnsEnabled><dnsOptions><dnsRecordIpType>ipv4</dnsRecordIpType><privateDnsOnlyForInboundResolverEndpoint>{only}</privateDnsOnlyForInboundResolverEndpoint></dnsOptions><ipAddressType>ipv4</ipAddressType><subnetIdSet><item>subnet-a</item></subnetIdSet>"
        );
        let mut canned = healthy();
        canned.set("DescribeVpcEndpoints", "vpcEndpointSet", &[&[&s3]]);
        let checks = examine(&canned.network().await, &subject());
        let way = checks.iter().find(|it| it.id == "s3.way").unwrap();
        assert_eq!(way.evidence.starts_with("by vpce-2"), is_way, "{only}: {way:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_makes_its_kind_unseen() {
    for (key, name, item) in [
        (
            "DescribeNetworkAcls",
            "networkAclSet",
            "<networkAclId>acl-1</networkAclId><entrySet><item><ruleNumber>1</ruleNumber></item></entrySet>",
        ),
        (
            "DescribeRouteTables",
            "routeTableSet",
            "<routeTableId>rtb-1</routeTableId><routeSet><item><destinationCidrBlock>x</destinationCidrBlock></item></routeSet>",
        ),
    ] {
        let mut canned = healthy();
        canned.set(key, name, &[&[item]]);
        let checks = examine(&canned.network().await, &subject());
        let told = checks.iter().find(|it| it.evidence.contains("cannot be read"));
        assert_eq!(told.map(|it| it.verdict), Some(Verdict::Unknown), "{key}: {checks:#?}");
    }
}

#[tokio::test]
async fn what_only_the_owner_sees_is_not_absent_for_a_participant() {
    let mut canned = healthy();
    canned.set("DescribeVpcEndpoints", "vpcEndpointSet", &[&[]]);
    canned.set("DescribeNatGateways", "natGatewaySet", &[&[]]);
    for (key, name) in [("DescribeSubnets", "subnetSet"), ("named subnets", "subnetSet")] {
        let shared = ["a", "b"].map(|id| {
            let it = subnet(
                id,
                if id == "a" { 1 } else { 2 },
                &format!("10.0.{}.0/24", u8::from(id == "b")),
            );
            it.replace(OWNER, "999988887777")
        });
        canned.set(key, name, &[&[&shared[0], &shared[1]]]);
    }
    let checks = examine(&canned.network().await, &subject());
    assert_eq!(verdicts(&checks, Verdict::Fail), BTreeSet::new());
    let unknown = verdicts(&checks, Verdict::Unknown);
    for id in ["services.present", "routes.nat", "hub.sqs", "ours.quota"] {
        assert!(unknown.contains(id), "{id}: {unknown:?}");
    }
    assert!(verdicts(&checks, Verdict::Pass).contains("subnets.shared"));
}

#[tokio::test]
async fn the_permissions_are_those_of_the_calls_that_are_made() {
    let canned = healthy();
    canned.network().await;
    let calls = canned.calls.lock().unwrap();
    let seen: BTreeSet<String> = calls.iter().map(|it| format!("ec2:{}", it["Action"])).collect();
    assert_eq!(seen, PERMISSIONS.map(str::to_owned).into());
    let told = include_str!("../docs/doctor.md");
    for permission in PERMISSIONS {
        assert!(told.contains(&format!("\n{permission}\n")), "{permission} is not told");
    }
}
