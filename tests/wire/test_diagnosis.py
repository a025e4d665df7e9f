"""What the function says of an environment whose creation failed, or that waits for long: the doctor's checks that fail."""

import re
import time

import network
import pytest
from harness import LOOKS, event, later

HOUR = 3600
# What the parameter Diagnosis lets the function see beside subnets, endpoints and security groups.
MORE = {
    *("DescribeDhcpOptions", "DescribeNatGateways", "DescribeNetworkAcls", "DescribePrefixLists"),
    *("DescribeRouteTables", "DescribeVpcAttribute", "DescribeVpcs"),
}


@pytest.fixture
def served(aws, mwaa, function):
    """An environment that waits, with all that it needs."""
    net = network.closed(aws)
    net.event = event("pending-private", net.vpc, net.groups)
    net.tell()
    answer = function.deliver(net.event)
    assert answer.ok, answer.error
    net.learn_own()
    return net


def causes(answer, of):
    """The ids of the checks that failed."""
    assert answer.ok, answer.error
    found = set()
    for it in answer.value["warnings"]:
        if it["message"].startswith(f"a possible cause of {of}: "):
            assert it["remedy"]
            found.add(re.search(r" \(([a-z0-9.-]+)\)$", it["message"])[1])
    return found


def failed(net):
    # Made before the time of the sample event.
    net.fields.update(status="CREATE_FAILED", createdAt=1_700_000_000)
    net.tell()
    return later(net.event, "CREATE_FAILED", hours=72)


def closes_443(net):
    net.entry(net.acl, 90, True, "10.192.0.0/16", (443,))


def test_of_a_failed_creation_it_tells_what_fails_in_the_network(configured, served):
    closes_443(served)
    served.delete("kms")
    served.change("database", RemoveSubnetIds=served.subnets[1:])

    answer = configured(DIAGNOSIS="on").deliver(failed(served))

    assert causes(answer, "CREATE_FAILED") == {"acls.https", "services.present", "ours.subnets"}
    assert "CREATE_FAILED: possible causes: " in answer.value["summary"]
    assert set(answer.actions) >= MORE
    assert all(action.startswith(LOOKS) for action in answer.actions)


def test_without_the_permissions_it_tells_what_it_sees_and_asks_for_no_more(function, served):
    closes_443(served)
    served.change("database", RemoveSubnetIds=served.subnets[1:])

    answer = function.deliver(failed(served))

    assert causes(answer, "CREATE_FAILED") == {"ours.subnets"}
    assert not set(answer.actions) & MORE


def test_a_permission_that_is_missing_all_the_same_hides_only_what_needs_it(aws, configured, served):
    closes_443(served)
    served.route(served.tables[0], GatewayId=served.internet_gateway())
    function = configured(DIAGNOSIS="on")
    aws.proxy.fail("DescribeNetworkAcls", "UnauthorizedOperation", status=403, times=9)

    assert "routes.private" in (found := causes(function.deliver(failed(served)), "CREATE_FAILED"))
    assert not any(it.startswith("acls.") for it in found)


@pytest.mark.parametrize(("hours", "told"), [(0.9, set()), (1.1, {"acls.https"})])
def test_what_has_been_pending_for_an_hour_is_examined(configured, served, hours, told):
    closes_443(served)
    served.fields.update(createdAt=time.time() - hours * HOUR)
    served.tell()

    answer = configured(DIAGNOSIS="on").deliver(served.event)

    assert causes(answer, "its waiting") == told


def test_a_sweep_examines_it_too_and_says_it_of_the_environment(configured, served):
    closes_443(served)
    served.fields.update(createdAt=time.time() - 2.5 * HOUR)
    served.tell()

    answer = configured(DIAGNOSIS="on").deliver({"sweep": True})

    (told,) = answer.value["environments"]
    messages = [it["message"] for it in told["warnings"]]
    assert any("(acls.https)" in it for it in messages)
    assert any("is PENDING, for at most 2 h now" in it for it in messages)


def test_what_was_put_right_only_now_is_not_blamed_on_the_network(configured, served):
    closes_443(served)
    served.delete("database")
    served.fields.update(createdAt=time.time() - 2 * HOUR)
    served.tell()
    function = configured(DIAGNOSIS="on")

    first, second = function.deliver(served.event), function.deliver(served.event)

    assert "CreateVpcEndpoint" in first.actions and causes(first, "its waiting") == set()
    assert causes(second, "its waiting") == {"acls.https"}


def waits(net):
    net.fields.update(createdAt=time.time() - 2 * HOUR)
    net.tell()


@pytest.mark.parametrize(
    "hides",
    [("DescribeNetworkAcls", "UnauthorizedOperation", 403), ("GetEnvironment", "InternalServerException", 500)],
    ids=lambda it: it[0],
)
def test_a_cause_that_a_sweep_could_not_look_at_again_is_neither_ended_nor_news(aws, configured, served, hides):
    call, code, status = hides
    closes_443(served)
    waits(served)
    function = configured(DIAGNOSIS="on")

    first = function.deliver({"sweep": True}).value
    aws.proxy.fail(call, code, status=status, times=9)
    hidden = function.deliver({"sweep": True}).value
    aws.proxy.clear()
    again = function.deliver({"sweep": True}).value
    served.ec2.delete_network_acl_entry(NetworkAclId=served.acl, RuleNumber=90, Egress=True)
    right = function.deliver({"sweep": True}).value

    assert "acls.https" in first["summary"]
    assert "ended" not in hidden and "summary" not in hidden
    assert "summary" not in again
    assert any("(acls.https)" in it for it in right["ended"])


def test_a_policy_that_cannot_be_written_does_not_hide_what_else_fails(configured, served):
    closes_443(served)
    waits(served)
    statement = {**network.allow("sqs:SendMessage", "arn:aws:sqs:us-east-1:1:x"), "Sid": "MwaaCeleryQueues"}
    served.set_policy("sqs", statement)

    (told,) = configured(DIAGNOSIS="on").deliver({"sweep": True}).value["environments"]

    assert "failed" in {it["outcome"] for it in told["resources"]}
    assert any("(acls.https)" in it["message"] for it in told["warnings"])


def test_an_environment_that_is_healthy_is_not_examined(configured, served):
    closes_443(served)
    served.fields.update(status="AVAILABLE")
    served.tell()

    answer = configured(DIAGNOSIS="on").deliver(later(served.event, "AVAILABLE"))

    assert answer.ok and not set(answer.actions) & MORE
    assert answer.value["warnings"] == []
