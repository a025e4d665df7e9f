"""`mwaa-vpc doctor`: of a VPC with one fault it says which it is, and nothing else; of a healthy one, nothing."""

import json
import re
import time

import network
import pytest
from command_line import FINDINGS, OF_BOTH, OF_OWNER, OF_PARTICIPANT, RIGHT, USAGE, read, said
from harness import LOOKS, OWNER, PARTICIPANT, REGION, ROOT, Vpc, event
from network import ANYWHERE, allow, deny, s3_policy

NAME, GUEST = "analytics", "forecasting"  # the environments of the sample events

# Bases: what they are, and what is said of each although nothing is wrong there.
CLOSED = "no way out"
NAT = "NAT gateways"
SHARED = "a participant's environment"
PLANNED = "no environment yet"
HEALTHY = {
    CLOSED: {},
    NAT: {},
    SHARED: {"subnets.shared": "unknown"},
    PLANNED: {},
}


@pytest.fixture
def laid_out(aws, mwaa, function):
    """Lays a base out, with an environment that the function has served, if there is one."""

    def make(base):
        net = network.with_nat(aws) if base == NAT else network.closed(aws)
        net.words, net.asks = (NAME,), OF_OWNER
        if base == PLANNED:
            # There a policy lets through what comes later, since the function does not come.
            net.set_policy("sqs", allow("sqs:*"))
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

    return make


@pytest.fixture
def doctor(cli):
    """What the doctor says of a network, by the ids of its checks, if it ends with that code."""

    def ask(net, code, *more):
        if net.event:
            net.tell()
        words = net.words if net.event else net.planned()
        answer = read(cli("doctor", *words, *net.asks, "--json", *more), code)
        return {it["id"]: it for it in answer["checks"]}

    return ask


def having(checks, *verdicts):
    return {id: it["verdict"] for id, it in checks.items() if it["verdict"] in verdicts}


def evidence(checks):
    return "\n".join(f"{id}: {it['evidence']}" for id, it in checks.items() if it["verdict"] != "pass")


# Healthy ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", HEALTHY)
def test_of_a_healthy_vpc_no_check_fails(laid_out, doctor, people, base):
    checks = doctor(laid_out(base), RIGHT)

    assert having(checks, "fail", "warn", "unknown") == HEALTHY[base], evidence(checks)
    assert all(call.action.startswith(LOOKS) for call in people.calls)


# One fault at a time ---------------------------------------------------------------------------

ELSEWHERE = "10.193"


def pending_for(hours):
    return lambda it: it.fields.update(createdAt=time.time() - hours * 3600)


def state(name, value):
    """No call of EC2's brings these states about."""
    return lambda it: setattr(it.model(name), "state", value)


def without(name):
    return lambda it: it.delete(name)


def third_subnet(it):
    subnet = it.aws.subnet(it.vpc.id, "10.192.22.0/24", "c")
    it.associate(it.tables[0], subnet)
    it.subnets.append(subnet)


def same_zone_by_id(it):
    """Zones `b` and `a` of two accounts may be one."""
    first, second = map(it.subnet_model, it.subnets)
    second._availability_zone = first._availability_zone


def another_vpc(it):
    return it.aws.vpc(ELSEWHERE)


def few_addresses(it):
    subnet = it.subnet_model(it.subnets[1])
    subnet._available_ip_addresses -= subnet.available_ip_address_count - 1


def main_table_leads_to_the_internet(it):
    it.route(it.main_table(), GatewayId=it.internet_gateway())
    it.change("s3", AddRouteTableIds=[it.main_table()])
    it.leave_table(it.subnets[0])


def route_to_what_is_gone(it):
    gateway = it.ec2.create_transit_gateway()["TransitGateway"]["TransitGatewayId"]
    it.route(it.tables[0], TransitGatewayId=gateway)
    it.ec2.delete_transit_gateway(TransitGatewayId=gateway)


def nat_in_a_private_subnet(it):
    it.reroute(it.tables[0], NatGatewayId=it.nat(it.subnets[1]))


def nat_state(value):
    def change(it):
        network.ec2_backends[OWNER][REGION].nat_gateways[it.nats[0]].state = value

    return change


def no_way_back_to_the_private_subnet(it):
    it.entry(it.public_acl, 90, True, "10.192.20.0/24", (1024, 65535))


def nothing_out_but_to_the_vpc(it):
    it.entry(it.acl_id, 80, True, "10.192.0.0/16", allow=True)
    it.entry(it.acl_id, 90, True, ports=(443,))


def only_the_vpc(it):
    """As many do by hand."""
    for egress in (False, True):
        it.ec2.delete_network_acl_entry(NetworkAclId=it.acl_id, RuleNumber=100, Egress=egress)
        it.entry(it.acl_id, 100, egress, "10.192.0.0/16", allow=True, protocol="-1")


def endpoint_behind_another_acl(it):
    others = [it.aws.subnet(it.vpc.id, f"10.192.{n}.0/24", z) for n, z in ((30, "a"), (31, "b"))]
    it.delete("kms")
    it.endpoint("kms", SubnetIds=others)
    it.entry(it.acl(others), 90, False, ports=(443,))


def admits(*sources, ports=(443,), protocol="tcp"):
    """The services' endpoints let these in, and nobody else."""

    def change(it):
        it.let_in_no_more(it.door)
        it.let_in(it.door, *(source(it) for source in sources), ports=ports, protocol=protocol)

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
        AddSecurityGroupIds=[it.door],
        RemoveSecurityGroupIds=[it.own_door],
    )


def own_endpoints_admit_the_bare_group(it):
    """An id without an account is one of the owner's own groups."""
    it.let_in_no_more(it.own_door)
    it.let_in(it.own_door, it.groups[0], ports=(443, 5432))


def queue_of(net):
    return net.event["detail"]["celeryExecutorQueue"]


def outside_the_organization(it):
    """A queue of MWAA's is in no organization of ours."""
    condition = {"StringNotEquals": {"aws:ResourceOrgID": "o-1a2b3c4d5e"}}
    it.add_policy("sqs", {**deny("*", "*"), "Condition": condition})


def full_policy(it):
    queue = "arn:aws:sqs:us-east-1:555555555555:airflow-celery-"
    queues = [f"{queue}{n:08}-5b6a-7988-8796-a5b4c3d2e1f0" for n in range(200)]
    it.set_policy("sqs", allow("sqs:*", queues))


def many_endpoints(it):
    for n in range(40):
        it.endpoint(f"execute-api-{n}")


# What is laid out, with which of its checks fail then; where several do, it is one cause with several
# symptoms. A fault that returns words adds them to the command line.
FAULTS = [
    ("vpc.dns-support", CLOSED, "off", lambda it: it.set_attribute(EnableDnsSupport=False)),
    ("vpc.dns-hostnames", CLOSED, "off", lambda it: it.set_attribute(EnableDnsHostnames=False)),
    ("subnets.two", PLANNED, "three", third_subnet),
    ("subnets.two", CLOSED, "one", lambda it: it.subnets.pop()),
    ("subnets.vpc", PLANNED, "not there", lambda it: it.subnets.__setitem__(1, "subnet-0123")),
    ("subnets.vpc", CLOSED, "one in another", lambda it: it.subnets.__setitem__(1, another_vpc(it).subnets[1])),
    ("subnets.zones", CLOSED, "one by its id", same_zone_by_id),
    ("subnets.owner", SHARED, "MWAA is to make the endpoints", lambda it: it.fields.update(endpointManagement="SERVICE")),
    ("subnets.addresses", PLANNED, "one free", few_addresses),
    ("routes.private", CLOSED, "internet gateway", lambda it: it.route(it.tables[0], GatewayId=it.internet_gateway())),
    ("routes.private", CLOSED, "internet gateway in the main table", main_table_leads_to_the_internet),
    ("routes.blackhole", CLOSED, "transit gateway that is gone", route_to_what_is_gone),
    ("routes.nat", NAT, "failed", nat_state("failed")),
    ("routes.nat", NAT, "deleted", lambda it: it.ec2.delete_nat_gateway(NatGatewayId=it.nats[0])),
    ("routes.nat-public", NAT, "in a private subnet", nat_in_a_private_subnet),
    ("routes.nat-public", NAT, "its subnet leads nowhere", lambda it: it.reroute(it.public_table)),
    ("acls.database", CLOSED, "not in", lambda it: it.entry(it.acl_id, 90, False, ports=(5432,))),
    ("acls.database", CLOSED, "not out", lambda it: it.entry(it.acl_id, 90, True, ports=(5432,))),
    ("acls.https", CLOSED, "denied by a lower number than it is allowed by",
     lambda it: (it.entry(it.acl_id, 80, False, ports=(443,)), it.entry(it.acl_id, 90, False, ports=(443,), allow=True))[2:]),
    ("acls.https", CLOSED, "not out to one of the subnets", lambda it: it.entry(it.acl_id, 90, True, "10.192.21.0/24", (443,))),
    ("acls.https", CLOSED, "an endpoint behind another ACL", endpoint_behind_another_acl),
    ("acls.answers", CLOSED, "not in", lambda it: it.entry(it.acl_id, 90, False, "10.192.0.0/16", (32768, 60999))),
    ("acls.answers", CLOSED, "not out", lambda it: it.entry(it.acl_id, 90, True, "10.192.0.0/16", (1024, 5431))),
    ("acls.s3", CLOSED, "no answers", lambda it: it.entry(it.acl_id, 90, False, "52.216.0.0/15", (1024, 65535))),
    ("acls.s3", CLOSED, "not out to a part of it", lambda it: it.entry(it.acl_id, 90, True, "3.5.0.0/24", (443,))),
    ("acls.s3", CLOSED, "the VPC only", only_the_vpc),
    ("acls.internet", NAT, "no answers to the NAT gateway", lambda it: it.entry(it.public_acl, 90, False, ports=(1024, 65535))),
    ("acls.internet", NAT, "no answers from the NAT gateway", no_way_back_to_the_private_subnet),
    ("acls.internet", NAT, "nothing out but to the VPC", nothing_out_but_to_the_vpc),
    ("services.present", CLOSED, "no kms", without("kms")),
    ("services.present", CLOSED, "no airflow.ops", without("airflow.ops")),
    ("services.present", CLOSED, "no sqs", without("sqs")),
    ("services.state", CLOSED, "rejected", state("logs", "rejected")),
    ("services.state", CLOSED, "failed", state("ecr.api", "failed")),
    ("services.private-dns", CLOSED, "sqs", lambda it: it.change("sqs", PrivateDnsEnabled=False)),
    ("services.private-dns", CLOSED, "ecr.dkr", lambda it: it.change("ecr.dkr", PrivateDnsEnabled=False)),
    ("services.groups", CLOSED, "nobody", lambda it: it.let_in_no_more(it.door)),
    ("services.groups", CLOSED, "another port", admits(lambda it: it.vpc.group, ports=(80,))),
    ("services.groups", CLOSED, "UDP", admits(lambda it: it.vpc.group, protocol="udp")),
    ("services.groups", NAT, "nobody, at an endpoint that is used beside NAT", lambda it: it.let_in_no_more(it.door)),
    ("services.groups", SHARED, "the participant's group without its account", admits(lambda it: it.groups[0])),
    ("services.policy", CLOSED, "kms is denied", lambda it: it.set_policy("kms", allow(), deny("kms:Decrypt"))),
    ("services.policy", CLOSED, "logs for reading only", lambda it: it.set_policy("logs", allow("logs:Get*"))),
    ("services.policy", CLOSED, "monitoring for another account", lambda it: it.set_policy(
        "monitoring", allow(principal={"AWS": f"arn:aws:iam::{PARTICIPANT}:root"}))),
    ("s3.way", CLOSED, "no gateway endpoint", without("s3")),
    ("s3.way", CLOSED, "on one route table only", lambda it: it.change("s3", RemoveRouteTableIds=it.tables[1:])),
    ("s3.way", CLOSED, "failed", state("s3", "failed")),
    ("s3.policy", CLOSED, "no layers", lambda it: it.set_policy("s3", s3_policy()[0])),
    ("s3.policy", CLOSED, "another bucket", lambda it: it.set_policy("s3", *s3_policy("other"))),
    ("s3.policy", CLOSED, "denied", lambda it: it.add_policy("s3", deny("s3:*"))),
    ("groups.count", CLOSED, "six", six_groups),
    ("groups.usable", CLOSED, "one of another VPC", lambda it: it.groups.append(another_vpc(it).group)),
    ("groups.usable", SHARED, "one of the owner's", lambda it: it.groups.append(it.vpc.group)),
    ("groups.self", CLOSED, "nothing", lambda it: it.let_in_no_more(it.vpc.group)),
    ("groups.self", CLOSED, "SSH", itself_only_by(22)),
    ("groups.self", CLOSED, "443", itself_only_by(443)),
    ("groups.outbound", CLOSED, "nothing", lambda it: it.let_in_no_more(it.vpc.group, egress=True)),
    ("groups.outbound", CLOSED, "443", lambda it: it.let_out_only(it.vpc.group, ports=(443,))),
    ("groups.outbound", CLOSED, "the VPC", lambda it: it.let_out_only(it.vpc.group, "10.192.0.0/16")),
    ("ours.clock", CLOSED, "72 hours", pending_for(73)),
    ("ours.clock", CLOSED, "failed", lambda it: it.fields.update(status="CREATE_FAILED")),
    ("ours.database", CLOSED, "deleted", without("database")),
    ("ours.database", CLOSED, "rejected", state("database", "rejected")),
    ("ours.webserver", CLOSED, "deleted", without("webserver")),
    ("ours.webserver", NAT, "failed", state("webserver", "failed")),
    ("ours.subnets", CLOSED, "one subnet", lambda it: it.change("database", RemoveSubnetIds=it.subnets[1:])),
    ("ours.groups", CLOSED, "the services' group", own_endpoint_with_the_services_group),
    ("ours.groups", SHARED, "the participant's group without its account", own_endpoints_admit_the_bare_group),
    ("ours.address-type", CLOSED, "ipv6", lambda it: it.change("webserver", IpAddressType="ipv6")),
    ("ours.queue", CLOSED, "missing", lambda it: it.set_policy("sqs", allow("sqs:*", []))),
    ("ours.queue", SHARED, "another's", lambda it: it.set_policy("sqs", allow("sqs:*", queue_of(it)[:-1] + "x"))),
    ("ours.queue-denied", CLOSED, "denied", lambda it: it.add_policy("sqs", deny("sqs:*"))),
    ("ours.queue-denied", CLOSED, "outside the organization", outside_the_organization),
    ("ours.policy-length", CLOSED, "full", full_policy),
    ("ours.quota", PLANNED, "50 at most", many_endpoints),
    ("ours.quota", PLANNED, "10 at most", lambda it: ("--endpoint-quota", "10")),
]  # fmt: skip


def named(faults):
    for ids, base, what, change in faults:
        yield pytest.param(ids, base, change, id=f"{ids if isinstance(ids, str) else ' '.join(ids)}: {what}")


@pytest.mark.parametrize(("ids", "base", "change"), named(FAULTS))
def test_a_fault_fails_its_check_and_no_other(laid_out, doctor, ids, base, change):
    net = laid_out(base)

    words = change(net)
    checks = doctor(net, FINDINGS, *(words if isinstance(words, tuple) else ()))

    assert set(having(checks, "fail")) == ({ids} if isinstance(ids, str) else set(ids)), evidence(checks)
