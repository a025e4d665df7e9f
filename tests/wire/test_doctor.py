"""`mwaa-vpc doctor`: of a VPC with one fault it says that one, and of a healthy one nothing."""

import json
import re
import time

import network
import pytest
from command_line import FINDINGS, OF_BOTH, OF_OWNER, OF_PARTICIPANT, RIGHT, USAGE, read, said
from harness import LOOKS, OWNER, PARTICIPANT, REGION, ROOT, Call, event, rounds, rounds_of
from network import ANYWHERE, allow, deny, s3_policy, tcp

NAME, GUEST = "analytics", "forecasting"  # the environments of the sample events

# The function and what brings it events are not there, which is a warning of these.
NOT_OF_THE_NETWORK = ("deployment", "participant", "role")

# Bases: what they are, and what is said of each although nothing is wrong there.
CLOSED = "no way out"
NAT = "NAT gateways"
SHARED = "a participant's environment"
PLANNED = "no environment yet"
HEALTHY = {
    CLOSED: {},
    NAT: {},
    SHARED: {},
    PLANNED: {},
}


@pytest.fixture
def laid_out(aws, mwaa, function, laid):
    """Lays a base out, with an environment that the function has served, if there is one."""

    def make(base):
        net = network.with_nat(aws) if base == NAT else network.closed(aws)
        net.words, net.asks = (NAME,), OF_OWNER
        if base == PLANNED:
            return net
        if base == SHARED:
            network.share(net)
            net.words, net.asks = (GUEST,), OF_BOTH
        sample = "pending-participant" if base == SHARED else "pending-private"
        net.event = event(sample, net.vpc, net.groups)
        net.tell()
        served = function.deliver(net.event)
        assert served.ok, served.error
        net.learn_own()
        return net

    return lambda base: laid(base, lambda: make(base))


class Told:
    """What the doctor said of the network, and its exit code. test_doctor_deployment.py has the rest."""

    def __init__(self, run):
        assert run.returncode in (RIGHT, FINDINGS, USAGE), run.stdout + run.stderr
        self.code, self.answer = run.returncode, json.loads(run.stdout)
        assert "checks" in self.answer, run.stdout
        all = {it["id"]: it for it in self.answer["checks"]}
        assert len(all) == len(self.answer["checks"])
        self.checks = {id: it for id, it in all.items() if it["group"] not in NOT_OF_THE_NETWORK}

    def __getitem__(self, id):
        return self.checks[id]

    def having(self, *verdicts):
        return {id for id, it in self.checks.items() if it["verdict"] in verdicts}

    def not_passed(self):
        return {id: it["verdict"] for id, it in self.checks.items() if it["verdict"] != "pass"}

    def __repr__(self):
        """What is not right, for whoever reads why a test failed."""
        wrong = [it for it in self.checks.values() if it["verdict"] != "pass"]
        lines = [f"{it['verdict']} {it['id']}: {it['evidence']}" for it in wrong]
        return "\n".join([f"exit code {self.code}", *lines])


@pytest.fixture
def doctor(cli):
    """Asks about a network's environment, or about one like it that is to be."""

    def ask(net, *more):
        if net.event:
            net.tell()
        words = net.words if net.event else net.planned()
        return Told(cli("doctor", *words, *net.asks, "--json", *more))

    return ask


# Healthy ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", HEALTHY)
def test_of_a_healthy_vpc_no_check_fails(laid_out, doctor, people, base):
    told = doctor(laid_out(base))

    assert told.not_passed() == HEALTHY[base], told
    assert told.code == RIGHT
    assert all(call.action.startswith(LOOKS) for call in people.calls)


# One fault at a time ---------------------------------------------------------------------------

VPC, ELSEWHERE = "10.192.0.0/16", "10.193"


def pending_for(hours):
    return lambda it: it.fields.update(createdAt=time.time() - hours * 3600)


def state(name, value):
    """No call of EC2's brings these states about."""
    return lambda it: setattr(it.model(name), "state", value)


def without(name):
    return lambda it: it.delete(name)


def changed(name, **wanted):
    return lambda it: it.change(name, **wanted)


def policy(name, *statements):
    return lambda it: it.set_policy(name, *statements)


def denied(way, block, *ports, acl="acl"):
    """An ACL's entry that comes before those which allow all: for what comes in, or goes out."""
    return lambda it: it.entry(getattr(it, acl), 90, way == "out", block, ports)


def lets_nobody_in(group):
    return lambda it: it.let_in_no_more(group(it))


def named_too(group):
    return lambda it: it.groups.append(group(it))


def the_services_group(it):
    return it.services_group


def the_environments_group(it):
    return it.groups[0]


def internet_gateway_on_a_private_table(it):
    it.route(it.tables[0], GatewayId=it.internet_gateway())


def third_subnet(it):
    subnet = it.aws.subnet(it.vpc.id, "10.192.22.0/24", "c")
    it.associate(it.tables[0], subnet)
    it.subnets.append(subnet)


def one_subnet(it):
    it.subnets.pop()


def second_subnet(other):
    def change(it):
        it.subnets[1] = other(it)

    return change


def same_zone_by_id(it):
    """Zones `b` and `a` of two accounts may be one."""
    first, second = map(it.subnet_model, it.subnets)
    second._availability_zone = first._availability_zone


def another_vpc(it):
    return it.aws.vpc(ELSEWHERE)


def few_addresses(it, left=1):
    for subnet in map(it.subnet_model, it.subnets):
        subnet._available_ip_addresses -= subnet.available_ip_address_count - left


def main_table_leads_to_the_internet(it):
    it.route(it.main_table(), GatewayId=it.internet_gateway())
    it.change("s3", AddRouteTableIds=[it.main_table()])
    it.leave_table(it.subnets[0])


def subnet_of_another_vpc(it):
    return another_vpc(it).subnets[1]


def route_to_what_is_gone(it, block=ANYWHERE):
    gateway = it.ec2.create_transit_gateway()["TransitGateway"]["TransitGatewayId"]
    if block == ANYWHERE and it.nats:
        it.reroute(it.tables[0])
    it.route(it.tables[0], block, TransitGatewayId=gateway)
    it.ec2.delete_transit_gateway(TransitGatewayId=gateway)


def public_without_endpoints(it):
    for table in it.tables:
        it.reroute(table, GatewayId=it.internet_gateway())


def nats_are_gone(it):
    for nat in it.nats:
        it.ec2.delete_nat_gateway(NatGatewayId=nat)


def made_by_mwaa(it):
    it.fields.update(endpointManagement="SERVICE", status="AVAILABLE")
    it.delete("database")
    it.delete("webserver")


def made_by_mwaa_in_a_shared_vpc(it):
    it.fields.update(endpointManagement="SERVICE")


def made_by_mwaa_and_another_queue(it):
    made_by_mwaa(it)
    another_queue(it)


def denied_to_planned(it):
    it.add_policy("sqs", deny("sqs:*"))


def no_place_for_ours(it):
    it.set_policy("sqs", {**allow("*", []), "Sid": "MwaaCeleryQueues"})


def same_subnet_twice(it):
    it.subnets[1] = it.subnets[0]


def nat_in_a_private_subnet(it):
    it.reroute(it.tables[0], NatGatewayId=it.nat(it.subnets[1]))


def nat_state(value):
    def change(it):
        network.ec2_backends[OWNER][REGION].nat_gateways[it.nats[0]].state = value

    return change


def no_way_back_to_the_private_subnet(it):
    it.entry(it.public_acl, 90, True, "10.192.20.0/24", (1024, 65535))


def nothing_out_but_to_the_vpc(it):
    it.entry(it.acl, 80, True, VPC, allow=True)
    it.entry(it.acl, 90, True, ports=(443,))


def only_the_vpc(it):
    """As many do by hand."""
    for egress in (False, True):
        it.ec2.delete_network_acl_entry(NetworkAclId=it.acl, RuleNumber=100, Egress=egress)
        it.entry(it.acl, 100, egress, VPC, allow=True, protocol="-1")


def denied_before_it_is_allowed(it):
    it.entry(it.acl, 90, False, ports=(443,), allow=True)
    it.entry(it.acl, 80, False, ports=(0, 1023))


def endpoint_behind_another_acl(it):
    others = [it.aws.subnet(it.vpc.id, f"10.192.{n}.0/24", z) for n, z in ((30, "a"), (31, "b"))]
    it.delete("kms")
    it.endpoint("kms", SubnetIds=others)
    it.entry(it.new_acl(others), 90, False, ports=(443,))


def admits(*sources, ports=(443,), protocol="tcp"):
    """The services' endpoints let these in, and nobody else."""

    def change(it):
        it.let_in_no_more(it.services_group)
        groups = [source(it) for source in sources]
        it.let_in(it.services_group, *groups, ports=ports, protocol=protocol)

    return change


def itself_only_by(*ports):
    def change(it):
        it.let_in_no_more(it.vpc.group)
        it.let_in(it.vpc.group, it.vpc.group, ports=ports)

    return change


def six_groups(it):
    it.groups += [it.aws.group(it.vpc.id, f"more-{n}") for n in range(5)]


def own_endpoint_with_the_services_group(it):
    it.change(
        "database",
        AddSecurityGroupIds=[it.services_group],
        RemoveSecurityGroupIds=[it.own_group],
    )


def own_endpoints_admit_the_bare_group(it):
    """An id without an account is one of the owner's own groups."""
    it.let_in_no_more(it.own_group)
    it.let_in(it.own_group, it.groups[0], ports=(443, 5432))


def full_policy(it):
    queue = "arn:aws:sqs:us-east-1:555555555555:airflow-celery-"
    queues = [f"{queue}{n:08}-5b6a-7988-8796-a5b4c3d2e1f0" for n in range(228)]
    it.set_policy("sqs", allow("sqs:*", queues))


def many_endpoints(it):
    for n in range(40):
        it.endpoint(f"execute-api-{n}")


def s3_on_one_table(it):
    it.change("s3", RemoveRouteTableIds=it.tables[1:])


def in_one_subnet(name):
    return lambda it: it.change(name, RemoveSubnetIds=it.subnets[1:])


def another_queue(it):
    queue = it.event["detail"]["celeryExecutorQueue"]
    it.set_policy("sqs", allow("sqs:*", f"{queue}-2"))


def not_shared(net):
    ram = net.aws.client("ram")
    for share in ram.get_resource_shares(resourceOwner="SELF")["resourceShares"]:
        ram.delete_resource_share(resourceShareArn=share["resourceShareArn"])


OTHERS = {"AWS": f"arn:aws:iam::{PARTICIPANT}:root"}

# Which check fails, in which base, by what; where several do, it is one cause with several symptoms.
# A fault that returns words adds them to the command line.
FAULTS = [
    ("vpc.dns-support", CLOSED, "off", lambda it: it.set_attribute(EnableDnsSupport=False)),
    ("vpc.dns-hostnames", CLOSED, "off", lambda it: it.set_attribute(EnableDnsHostnames=False)),
    ("subnets.two", PLANNED, "three", third_subnet),
    ("subnets.two", CLOSED, "one", one_subnet),
    ("subnets.vpc", PLANNED, "not there", second_subnet(lambda it: "subnet-0123")),
    ("subnets.vpc", PLANNED, "of another VPC", second_subnet(subnet_of_another_vpc)),
    ("subnets.two", PLANNED, "one, named twice", same_subnet_twice),
    ("subnets.owner", SHARED, "MWAA makes the endpoints", made_by_mwaa_in_a_shared_vpc),
    ("subnets.zones", CLOSED, "one by its id", same_zone_by_id),
    ("subnets.addresses", PLANNED, "one free", few_addresses),
    ("routes.private", CLOSED, "internet gateway", internet_gateway_on_a_private_table),
    ("routes.private", CLOSED, "by the main table", main_table_leads_to_the_internet),
    ("routes.private", NAT, "without endpoints", public_without_endpoints),
    ("routes.blackhole", NAT, "transit gateway that is gone", route_to_what_is_gone),
    ("routes.nat", NAT, "gone", nats_are_gone),
    ("routes.nat", NAT, "failed", nat_state("failed")),
    ("routes.nat", NAT, "coming", nat_state("pending")),
    ("routes.nat-public", NAT, "in a private subnet", nat_in_a_private_subnet),
    ("routes.nat-public", NAT, "its subnet leads nowhere", lambda it: it.reroute(it.public_table)),
    ("acls.database", CLOSED, "not in", denied("in", VPC, 5432)),
    ("acls.database", CLOSED, "not out", denied("out", VPC, 5432)),
    ("acls.https", CLOSED, "denied before it is allowed", denied_before_it_is_allowed),
    ("acls.https", CLOSED, "not out to one", denied("out", "10.192.21.0/24", 443)),
    ("acls.https", CLOSED, "an endpoint behind another ACL", endpoint_behind_another_acl),
    ("acls.answers", CLOSED, "not in", denied("in", VPC, 32768, 60999)),
    ("acls.answers", CLOSED, "not out", denied("out", VPC, 40000, 65535)),
    ("acls.s3", CLOSED, "no answers", denied("in", "52.216.0.0/15", 1024, 65535)),
    ("acls.s3", CLOSED, "not out to a part of it", denied("out", "3.5.0.0/24", 443)),
    ("acls.s3", CLOSED, "the VPC only", only_the_vpc),
    ("acls.internet", NAT, "no answers to NAT", denied("in", ANYWHERE, 1024, 65535, acl="public_acl")),
    ("acls.internet", NAT, "no answers from NAT", no_way_back_to_the_private_subnet),
    ("acls.internet", NAT, "nothing out but to the VPC", nothing_out_but_to_the_vpc),
    ("services.present", CLOSED, "no kms", without("kms")),
    ("services.present", CLOSED, "no airflow.ops", without("airflow.ops")),
    ("services.present", CLOSED, "no sqs", without("sqs")),
    ("services.state", CLOSED, "rejected", state("logs", "rejected")),
    ("services.state", CLOSED, "failed", state("ecr.api", "failed")),
    ("services.private-dns", CLOSED, "sqs", changed("sqs", PrivateDnsEnabled=False)),
    ("services.private-dns", CLOSED, "ecr.dkr", changed("ecr.dkr", PrivateDnsEnabled=False)),
    ("services.groups", CLOSED, "nobody", lets_nobody_in(the_services_group)),
    ("services.groups", CLOSED, "another port", admits(the_environments_group, ports=(80,))),
    ("services.groups", CLOSED, "UDP", admits(the_environments_group, protocol="udp")),
    ("services.groups", NAT, "nobody, beside NAT", lets_nobody_in(the_services_group)),
    ("services.groups", SHARED, "a group without its account", admits(the_environments_group)),
    ("services.policy", CLOSED, "kms is denied", policy("kms", allow(), deny("kms:Decrypt"))),
    ("services.policy", CLOSED, "logs for reading only", policy("logs", allow("logs:Get*"))),
    ("services.policy", CLOSED, "for another account", policy("monitoring", allow(principal=OTHERS))),
    ("services.policy", PLANNED, "queues are denied", denied_to_planned),
    ("services.policy", PLANNED, "no place for the queue", no_place_for_ours),
    ("s3.way", CLOSED, "no gateway endpoint", without("s3")),
    ("s3.way", CLOSED, "on one route table only", s3_on_one_table),
    ("s3.way", CLOSED, "failed", state("s3", "failed")),
    ("s3.policy", CLOSED, "no layers", policy("s3", s3_policy()[0])),
    ("s3.policy", CLOSED, "another bucket", policy("s3", *s3_policy("other"))),
    ("s3.policy", CLOSED, "denied", lambda it: it.add_policy("s3", deny("s3:*"))),
    ("groups.count", CLOSED, "six", six_groups),
    ("groups.usable", SHARED, "one of the owner's", named_too(lambda it: it.vpc.group)),
    ("groups.self", SHARED, "nothing", lets_nobody_in(the_environments_group)),
    ("groups.self", PLANNED, "SSH", itself_only_by(22)),
    ("groups.self", PLANNED, "443", itself_only_by(443)),
    # Of the owner's environments the endpoints have the same group, which keeps out their own, too.
    (("groups.self", "ours.groups"), CLOSED, "nothing", lets_nobody_in(the_environments_group)),
    ("groups.outbound", CLOSED, "nothing", lambda it: it.let_in_no_more(it.vpc.group, egress=True)),
    ("groups.outbound", CLOSED, "443", lambda it: it.let_out_only(it.vpc.group, ports=(443,))),
    ("groups.outbound", CLOSED, "the VPC", lambda it: it.let_out_only(it.vpc.group, VPC)),
    ("ours.clock", CLOSED, "72 hours", pending_for(73)),
    ("ours.clock", CLOSED, "failed", lambda it: it.fields.update(status="CREATE_FAILED")),
    ("ours.database", CLOSED, "deleted", without("database")),
    ("ours.database", CLOSED, "rejected", state("database", "rejected")),
    ("ours.webserver", CLOSED, "deleted", without("webserver")),
    ("ours.webserver", NAT, "failed", state("webserver", "failed")),
    ("ours.subnets", CLOSED, "one subnet", in_one_subnet("database")),
    ("subnets.shared", SHARED, "not shared", not_shared),
    ("ours.groups", CLOSED, "the services' group", own_endpoint_with_the_services_group),
    ("ours.groups", SHARED, "a group without its account", own_endpoints_admit_the_bare_group),
    ("ours.address-type", CLOSED, "ipv6", changed("webserver", IpAddressType="ipv6")),
    ("ours.queue", CLOSED, "missing", policy("sqs", allow("sqs:*", []))),
    ("ours.queue", SHARED, "another's", another_queue),
    ("ours.queue", CLOSED, "MWAA makes the endpoints", made_by_mwaa_and_another_queue),
    ("ours.queue-denied", CLOSED, "denied", lambda it: it.add_policy("sqs", deny("sqs:*"))),
    # The queue is missing because there is no room for it.
    (("ours.queue", "ours.policy-length"), CLOSED, "full", full_policy),
    ("ours.quota", PLANNED, "50 at most", many_endpoints),
    ("ours.quota", PLANNED, "10 at most", lambda it: ("--endpoint-quota", "10")),
]  # fmt: skip


def all_of(ids):
    return {ids} if isinstance(ids, str) else set(ids)


@pytest.mark.parametrize(
    ("ids", "base", "change"),
    [
        pytest.param(ids, base, it, id=f"{' '.join(sorted(all_of(ids)))}: {what}")
        for ids, base, what, it in FAULTS
    ],
)
def test_a_fault_fails_its_check_and_no_other_with_an_environment_and_without(
    laid_out, doctor, ids, base, change
):
    net = laid_out(base)

    words = change(net) or ()
    told = doctor(net, *words)

    assert (told.having("fail"), told.code) == (all_of(ids), FINDINGS), told
    # Who makes the endpoints is up to the environment, too.
    of_the_network = {id for id in all_of(ids) if not id.startswith(("ours.", "subnets.owner"))}
    if net.event and of_the_network:
        net.forget()
        told = doctor(net)
        assert (told.having("fail"), told.code) == (of_the_network, FINDINGS), told


def catalogue():
    """The source of each check, by its id."""
    found = {}
    for path in sorted((ROOT / "src" / "doctor").glob("*.rs")):
        if path.stem in NOT_OF_THE_NETWORK:
            continue
        text = path.read_text()
        for id, look in re.findall(r'\bid: "([a-z0-9.-]+)",.*?\blook: (\w+)', text, re.S):
            found[id] = re.search(rf"^fn {look}\(.*?^}}", text, re.S | re.M)[0]
    return found


# The worst that these come to is a warning, or unknown.
NEVER_FAIL = {
    *("vpc.resolvers", "routes.way-out", "routes.alike"),
    *("services.zones", "hub.sqs", "ours.duplicate"),
}
# All of them are laid out.
NOT_OVER_THE_WIRE = set()


def test_each_check_that_can_fail_has_its_fault():
    checks = catalogue()
    shown = set().union(*(all_of(ids) for ids, *_ in FAULTS))

    assert set(checks) - shown == NEVER_FAIL | NOT_OVER_THE_WIRE
    assert not shown & NEVER_FAIL
    for id in NEVER_FAIL:
        assert not re.search(r"\bfail\(|unless_open|Verdict::Fail", checks[id]), id
    rust = (ROOT / "src" / "doctor" / "tests.rs").read_text()
    assert all(f'"{id}"' in rust for id in NOT_OVER_THE_WIRE)
    assert len(FAULTS) >= 36


# What works in another way ----------------------------------------------------------------------


def acl_of_the_guides(it):
    """The ports that are asked, and those that answers go to."""
    for egress in (False, True):
        it.ec2.delete_network_acl_entry(NetworkAclId=it.acl, RuleNumber=100, Egress=egress)
        for number, ports in ((100, (443,)), (110, (5432,)), (120, (1024, 65535))):
            it.entry(it.acl, number, egress, ports=ports, allow=True)


def denied_after_it_is_allowed(it):
    for egress in (False, True):
        it.entry(it.acl, 110, egress, ports=(443,))


def let_in_by(group, block):
    def change(it):
        it.let_in_no_more(group(it))
        rules = [tcp(port, IpRanges=[{"CidrIp": block}]) for port in (443, 5432)]
        it.ec2.authorize_security_group_ingress(GroupId=group(it), IpPermissions=rules)

    return change


def let_in_by_a_prefix_list(it):
    it.let_in_no_more(it.services_group)
    it.let_in_list(it.services_group, "10.192.20.0/24", "10.192.21.0/24")


def let_in_by_a_second_group(it):
    second = it.aws.group(it.vpc.id, "second")
    it.let_in(second, it.vpc.group, ports=(443,))
    it.let_in_no_more(it.services_group)
    for name in network.SERVICES:
        it.change(name, AddSecurityGroupIds=[second])


def let_out_to_groups_and_s3(it):
    it.let_in_no_more(it.vpc.group, egress=True)
    groups = [{"GroupId": it.vpc.group}, {"GroupId": it.services_group}]
    rules = [tcp(443, 5432, UserIdGroupPairs=groups)]
    rules += [tcp(443, PrefixListIds=[{"PrefixListId": it.list_of_s3()}])]
    it.ec2.authorize_security_group_egress(GroupId=it.vpc.group, IpPermissions=rules)


def nat_by_halves(it):
    for table, nat in zip(it.tables, it.nats):
        it.reroute(table)
        for half in ("0.0.0.0/1", "128.0.0.0/1"):
            it.route(table, half, NatGatewayId=nat)


def one_nat_for_both(it):
    it.reroute(it.tables[1], NatGatewayId=it.nats[0])


def database_again(it):
    service = it.event["detail"]["databaseVpcEndpointService"]
    group = {"SecurityGroupIds": [it.own_group]}
    it.endpoint("again", ServiceName=service, PrivateDnsEnabled=False, **group)


def dead_beside_one_that_works(it):
    database_again(it)
    state("again", "rejected")(it)


def made_long_ago(it):
    it.fields.update(status="AVAILABLE", createdAt=1_700_000_000)


def going(it):
    it.fields.update(status="DELETING")
    for name in ("database", "webserver"):
        it.delete(name)
    it.set_policy("sqs", allow("sqs:*", []))


OWN = {"AWS": f"arn:aws:iam::{OWNER}:root"}


def for_the_account_only(it):
    it.set_policy("logs", allow("logs:*", f"arn:aws:logs:{REGION}:{OWNER}:*"))
    it.set_policy("monitoring", allow(principal=OWN))
    it.set_policy("kms", allow(principal={"AWS": OWNER}))


def s3_by_an_interface(it):
    it.delete("s3")
    it.endpoint("s3")


RIGHT_TOO = [
    (CLOSED, "an ACL as the guides have it", acl_of_the_guides),
    (NAT, "an ACL as the guides have it", acl_of_the_guides),
    (CLOSED, "denied after it is allowed", denied_after_it_is_allowed),
    (CLOSED, "the VPC is let in", let_in_by(the_services_group, VPC)),
    (CLOSED, "everybody is let in", let_in_by(the_services_group, ANYWHERE)),
    (CLOSED, "a prefix list is let in", let_in_by_a_prefix_list),
    (CLOSED, "a second group lets in", let_in_by_a_second_group),
    (CLOSED, "itself by the VPC's block", let_in_by(the_environments_group, VPC)),
    (CLOSED, "out to groups and S3 only", let_out_to_groups_and_s3),
    (CLOSED, "S3 by an interface endpoint", s3_by_an_interface),
    (CLOSED, "a dead endpoint beside one that works", dead_beside_one_that_works),
    (CLOSED, "made long ago", made_long_ago),
    (CLOSED, "MWAA makes the endpoints", made_by_mwaa),
    (CLOSED, "being deleted", going),
    (CLOSED, "for the account only", for_the_account_only),
    (NAT, "by halves of the internet", nat_by_halves),
    (NAT, "one NAT gateway for both", one_nat_for_both),
    (NAT, "without private DNS", changed("sqs", PrivateDnsEnabled=False)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("base", "change"),
    [pytest.param(base, it, id=f"{base}: {what}") for base, what, it in RIGHT_TOO],
)
def test_what_works_in_another_way_passes_too(laid_out, doctor, base, change):
    net = laid_out(base)

    change(net)
    told = doctor(net)

    assert (told.not_passed(), told.code) == ({}, RIGHT), told


# What may come to be wrong, and what nobody can tell ---------------------------------------------


def transit(it, *tables, block=ANYWHERE):
    gateway = it.ec2.create_transit_gateway()["TransitGateway"]["TransitGatewayId"]
    for table in tables:
        it.route(table, block, TransitGatewayId=gateway)


def hub_by_private_addresses(it):
    """By a route from one subnet, and by a prefix list from the other."""
    one, other = it.tables
    transit(it, one, block="10.0.0.0/8")
    gateway = it.ec2.create_transit_gateway()["TransitGateway"]["TransitGatewayId"]
    list_ = it.own_list("10.0.0.0/8", "172.16.0.0/12")
    it.ec2.create_route(
        RouteTableId=other, DestinationPrefixListId=list_, TransitGatewayId=gateway
    )
    it.delete("kms")
    it.delete("s3")


def nat_that_nothing_needs(it):
    """As it is left behind once there are endpoints."""
    it.route(it.tables[0], NatGatewayId=it.nat(it.subnets[1]))
    (nat,) = network.ec2_backends[OWNER][REGION].nat_gateways.values()
    nat.state = "deleted"


def outside_the_organization(it):
    """The usual data perimeter, which does not reckon with the account of MWAA's queues."""
    condition = {"StringNotEquals": {"aws:ResourceOrgID": "o-1a2b3c4d5e"}}
    it.add_policy("sqs", {**deny("*", "*"), "Condition": condition})


# All that does not pass is named here.
DOUBTS = [
    ({"vpc.resolvers": "warn"}, CLOSED, lambda it: it.set_resolvers("10.0.0.2")),
    ({"subnets.addresses": "warn"}, CLOSED, lambda it: few_addresses(it, left=5)),
    ({"routes.way-out": "unknown"}, CLOSED, lambda it: transit(it, *it.tables)),
    ({"routes.alike": "warn"}, CLOSED, lambda it: transit(it, it.tables[0])),
    ({"routes.blackhole": "warn"}, CLOSED, route_to_what_is_gone),
    ({"routes.nat": "warn"}, CLOSED, nat_that_nothing_needs),
    ({"services.present": "unknown", "s3.way": "unknown"}, CLOSED, hub_by_private_addresses),
    ({"acls.answers": "warn"}, CLOSED, denied("out", VPC, 1024, 5431)),
    ({"acls.s3": "warn"}, CLOSED, denied("in", "52.216.0.0/15", 1024, 32767)),
    ({"ours.queue": "warn"}, CLOSED, lambda it: ("--queue-principal-org-id", "o-1a2b3c4d5e")),
    ({"acls.internet": "warn"}, NAT, denied("out", "5.0.0.0/8", 443)),
    ({"services.zones": "warn"}, CLOSED, in_one_subnet("kms")),
    ({"ours.clock": "warn"}, CLOSED, pending_for(60)),
    ({"ours.database": "warn"}, CLOSED, state("database", "pendingAcceptance")),
    ({"ours.duplicate": "warn"}, SHARED, database_again),
    ({"ours.address-type": "warn"}, CLOSED, changed("database", IpAddressType="dualstack")),
    ({"groups.usable": "unknown"}, CLOSED, named_too(lambda it: another_vpc(it).group)),
    ({"ours.queue-denied": "unknown"}, CLOSED, outside_the_organization),
    ({"ours.quota": "warn"}, CLOSED, lambda it: ("--endpoint-quota", "13")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("verdicts", "base", "change"), DOUBTS, ids=[" ".join(it) for it, *_ in DOUBTS]
)
def test_what_is_in_doubt_is_said_and_fails_nothing(laid_out, doctor, verdicts, base, change):
    net = laid_out(base)

    words = change(net) or ()
    told = doctor(net, *words)

    assert (told.not_passed(), told.code) == ({**HEALTHY[base], **verdicts}, RIGHT), told


def test_an_sqs_endpoint_in_another_vpc_is_named_and_what_leads_there_is_unknown(
    laid_out, doctor
):
    net = laid_out(CLOSED)
    transit(net, *net.tables)
    net.delete("sqs")
    hub = another_vpc(net)
    id = net.aws.endpoint(hub)

    told = doctor(net)

    unknown = ("hub.sqs", "routes.way-out", "services.present")
    assert (told.not_passed(), told.code) == (dict.fromkeys(unknown, "unknown"), RIGHT), told
    assert f"{id} in {hub.id}" in told["hub.sqs"]["evidence"]
    assert "tgw-" in told["routes.way-out"]["evidence"]


# What is not seen ---------------------------------------------------------------------------------

# What is unknown where a call is denied. All that needs endpoints is little less than all.
OF_ACLS = {"acls.database", "acls.https", "acls.answers"}
OF_NAT = {"routes.nat", "routes.nat-public"}
OF_ROUTES = {"routes.private", "routes.blackhole", "routes.way-out", "routes.alike"} | OF_NAT
OF_WAY_OUT = {"routes.way-out", "routes.alike", "acls.internet", "services.present", "s3.way"}
OF_GROUPS = {"groups.usable", "groups.self", "groups.outbound", "services.groups", "ours.groups"}
OF_S3 = {"s3.way", "s3.policy", "acls.s3"}
NOT_OF_ENDPOINTS = {"groups.count", "groups.usable", "groups.self", "ours.clock"}
DENIED = [
    ("DescribeNetworkAcls", CLOSED, OF_ACLS | {"acls.s3"}),
    ("DescribeNetworkAcls", NAT, OF_ACLS | {"acls.internet"}),
    ("DescribeRouteTables", CLOSED, OF_ROUTES | OF_S3 | {"acls.internet", "groups.outbound"}),
    ("DescribeNatGateways", NAT, OF_WAY_OUT | OF_NAT | {"groups.outbound"}),
    ("DescribeSecurityGroups", CLOSED, OF_GROUPS),
    ("DescribePrefixLists", CLOSED, {"acls.s3", "groups.outbound"}),
    ("DescribeVpcAttribute", CLOSED, {"vpc.dns-support", "vpc.dns-hostnames"}),
    ("DescribeVpcs", CLOSED, {"vpc.resolvers"}),
    ("DescribeDhcpOptions", CLOSED, {"vpc.resolvers"}),
]


@pytest.mark.parametrize(
    ("action", "base", "ids"), DENIED, ids=[f"{it}: {base}" for it, base, _ in DENIED]
)
def test_where_a_call_is_denied_what_needs_it_is_unknown_and_nothing_else(
    laid_out, doctor, people, action, base, ids
):
    net = laid_out(base)
    people.fail(action, "UnauthorizedOperation", status=403, times=9)

    told = doctor(net)

    assert (told.not_passed(), told.code) == (dict.fromkeys(ids, "unknown"), RIGHT), told
    reason = f"{action} answered UnauthorizedOperation"
    assert all(reason in told[id]["evidence"] for id in ids), told


def test_without_the_endpoints_no_check_passes_that_needs_them(laid_out, doctor, people):
    net = laid_out(CLOSED)
    people.fail("DescribeVpcEndpoints", "UnauthorizedOperation", status=403, times=9)

    told = doctor(net)

    of_endpoints = ("acls", "services", "s3", "groups", "hub", "ours")
    rest = {id for id in told.having("pass") if id.startswith(of_endpoints)}
    assert (rest, told.having("fail", "warn"), told.code) == (NOT_OF_ENDPOINTS, set(), RIGHT), told


def test_without_the_subnets_no_check_fails_and_what_needs_none_passes(laid_out, doctor, people):
    net = laid_out(CLOSED)
    people.fail("DescribeSubnets", "UnauthorizedOperation", status=403, times=30)

    told = doctor(net)

    assert (told.having("fail", "warn"), told.code) == (set(), RIGHT), told
    passed = told.having("pass")
    assert passed >= {"vpc.dns-support", "vpc.resolvers", "groups.count", "groups.usable"}, told
    assert "DescribeSubnets answered UnauthorizedOperation" in told["subnets.zones"]["evidence"]


def test_a_fault_is_told_beside_what_could_not_be_seen(laid_out, doctor, people):
    net = laid_out(CLOSED)
    net.delete("kms")
    people.fail("DescribeNetworkAcls", "UnauthorizedOperation", status=403, times=9)

    told = doctor(net)

    assert (told.having("fail"), told.code) == ({"services.present"}, FINDINGS), told
    assert told.having("unknown") == OF_ACLS | {"acls.s3"}


def test_a_participant_alone_is_told_what_only_the_owner_sees(laid_out, doctor, cli):
    net = laid_out(SHARED)
    net.asks = OF_PARTICIPANT

    told = doctor(net)

    assert (told.having("fail", "warn"), told.code) == (set(), USAGE), told
    assert {"subnets.shared", "routes.private", "groups.self"} <= told.having("pass")
    owners = ("acls", "services", "s3", "hub")
    assert not {id for id in told.having("pass") if id.startswith(owners)}
    reason = f"account {PARTICIPANT} does not see its endpoints"
    assert reason in told["services.present"]["evidence"]
    of_network, of_function = told.answer["unseen"]
    assert "the endpoints" in of_network["what"] and "the function" in of_function["what"]
    for unseen in (of_network, of_function):
        assert unseen["from"].startswith(f"account {OWNER}: --owner-profile")
    assert "--owner-profile" in said(cli("doctor", GUEST, *OF_PARTICIPANT), USAGE)


def test_a_participants_own_fault_is_found_without_the_owner(laid_out, doctor):
    net = laid_out(SHARED)
    net.asks = OF_PARTICIPANT
    net.let_in_no_more(net.groups[0])

    told = doctor(net)

    assert (told.having("fail"), told.code) == ({"groups.self"}, FINDINGS), told


def test_of_the_owners_profile_alone_another_accounts_environment_is_asked_for(laid_out, cli):
    net = laid_out(SHARED)
    arn = f"arn:aws:airflow:{REGION}:{PARTICIPANT}:environment/{GUEST}"

    asked = cli("doctor", arn, *OF_OWNER)
    assert asked.returncode == USAGE
    assert f"account {PARTICIPANT}: --environment-profile" in asked.stderr
    assert "--subnets, --groups, --account" in asked.stderr

    net.forget()
    assert "to be made" in said(cli("doctor", *net.planned(), *OF_OWNER), RIGHT)


# How it is said -----------------------------------------------------------------------------------


@pytest.fixture
def faulty(laid_out):
    """One check fails, another warns."""
    net = laid_out(CLOSED)
    net.delete("kms")
    net.set_resolvers("10.0.0.2")
    return net


def test_the_text_has_what_fails_before_a_line_for_each_group(cli, faulty):
    text = said(cli("doctor", NAME, *OF_OWNER), FINDINGS)

    order = [
        f"environment  arn:aws:airflow:{REGION}:{OWNER}:environment/{NAME}",
        "1 fail, 2 warn, ",
        "fail    services.present  ",
        "no endpoint for kms",
        "remedy: make interface endpoints",
        "https://docs.aws.amazon.com/mwaa/latest/userguide/vpc-vpe-create-access.html",
        "warn    vpc.resolvers  ",
        "\nvpc        1 warn, 2 pass\n",
        "\nservices   1 fail, 5 pass\n",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places), text


def test_markdown_has_what_fails_as_its_first_heading_and_a_table_at_its_end(cli, faulty):
    text = said(cli("doctor", NAME, *OF_OWNER, "--markdown"), FINDINGS)

    headings = re.findall(r"^### (.*)$", text, re.M)
    assert [it.split(":")[0] for it in headings] == ["fail", "warn", "warn"]
    assert headings[0].endswith("(`services.present`)")
    assert "- Remedy: make interface endpoints" in text
    *_, last = text.rpartition("| --- | --- |\n")
    assert re.fullmatch(r"(\| \w+ \| [^|]+ \|\n)+", last)
    assert "| services | 1 fail, 5 pass |\n" in last


def test_json_has_each_check_with_all_that_is_known_of_it(cli, faulty):
    answer = read(cli("doctor", NAME, *OF_OWNER, "--json"), FINDINGS)

    fields = {"id", "title", "group", "verdict", "evidence", "source"}
    for check in answer["checks"]:
        is_right = check["verdict"] == "pass"
        assert set(check) == fields | (set() if is_right else {"remedy"}), check
        assert check["id"].startswith(f"{check['group']}.") and check["evidence"], check
        assert check["source"].startswith("https://docs.aws.amazon.com/"), check
    of_network = {it["id"] for it in answer["checks"] if it["group"] not in NOT_OF_THE_NETWORK}
    assert of_network <= set(catalogue())
    assert (answer["vpc"], answer["account"], answer["region"]) == (faulty.vpc.id, OWNER, REGION)


def test_the_vpc_is_that_of_the_subnets_if_none_is_named(cli, laid_out):
    net = laid_out(PLANNED)
    words = ("--subnets", ",".join(net.subnets), "--groups", net.groups[0], *OF_OWNER, "--json")

    answer = read(cli("doctor", *words), RIGHT)

    assert (answer["vpc"], answer["account"]) == (net.vpc.id, OWNER)
    assert answer == read(cli("doctor", "--vpc", net.vpc.id, *words), RIGHT)


SUBNETS, GROUPS = ("--subnets", "subnet-1,subnet-2"), ("--groups", "sg-1")
WRONG = [
    ((), "<ENV>"),
    ((), "--subnets and --groups"),
    (SUBNETS, "--groups"),
    (GROUPS, "--subnets"),
    ((NAME, *SUBNETS, *GROUPS), "cannot be used"),
    ((*SUBNETS, "--groups", "default"), "--groups: expected"),
    (("--subnets", "vpc-1", *GROUPS), "--subnets: expected"),
    ((*SUBNETS, *GROUPS, "--vpc", "subnet-1"), "--vpc: expected"),
    ((*SUBNETS, *GROUPS, "--account", "123"), "--account: expected"),
    ((NAME, "--endpoint-quota", "0"), "--endpoint-quota"),
    ((NAME, "--json", "--markdown"), "cannot be used"),
    ((*SUBNETS, *GROUPS), "EC2 does not know subnet-1, subnet-2 from profile owner"),
]


@pytest.mark.parametrize(("words", "why"), WRONG, ids=[" ".join(it) for it, _ in WRONG])
def test_what_is_wrong_on_the_command_line_is_said(cli, mwaa, words, why):
    run = cli("doctor", *words, *OF_OWNER)

    assert run.returncode == USAGE and bool(run.stdout) == ("--json" in words)
    assert why in (json.loads(run.stdout)["error"]["message"] if run.stdout else run.stderr)


# How long it takes --------------------------------------------------------------------------------

def test_a_round_is_what_is_asked_after_an_answer():
    times = [(0, 1), (1, 2), (1.1, 2.1), (1.5, 3), (3, 4)]

    assert rounds([Call("", {}, began, ended) for began, ended in times]) == 3
    assert rounds([]) == 0


@pytest.mark.parametrize("base", [CLOSED, SHARED])
def test_of_50_endpoints_it_asks_in_a_few_rounds(laid_out, cli, people, base):
    net = laid_out(base)
    for n in range(50 - len(net.endpoints)):
        net.endpoint(f"more-{n}")
    words = ("doctor", *net.words, *net.asks, "--json")
    people.record()
    told = cli(*words)

    def again():
        run = cli(*words)
        assert (run.returncode, run.stdout) == (RIGHT, told.stdout)

    # Whose the credentials are, the environment, its subnets, all else, and the VPC's DHCP options: five. At 150 ms a call,
    # eight would be 1.2 of the 2 seconds that it may take.
    assert any(it <= 8 for it in rounds_of(again, people))
    assert len(people.calls) <= 25
