"""Whatever call fails once, before or after it took effect, the next delivery makes good."""

import concurrent.futures

import harness
import pytest
from harness import PARTICIPANT, blog_policy, event

FAULTS = {
    "refused": {"code": "UnauthorizedOperation", "status": 403},
    "throttled": {"code": "RequestLimitExceeded", "status": 503},
    "broken": {"code": "InternalError", "status": 500},
    "cut_off": {"code": "cut"},
}
CALLS = {
    "pending-private": [
        ("GetEnvironment", 1),
        ("DescribeSubnets", 1),
        ("DescribeVpcEndpoints", 1),
        ("CreateVpcEndpoint", 1),
        ("CreateVpcEndpoint", 2),
        ("ModifyVpcEndpoint", 1),
        ("DescribeVpcEndpoints", 2),
    ],
    "pending-participant": [
        ("DescribeSecurityGroups", 1),
        ("CreateSecurityGroup", 1),
        ("AuthorizeSecurityGroupIngress", 1),
        ("CreateVpcEndpoint", 1),
        ("CreateVpcEndpoint", 2),
        ("ModifyVpcEndpoint", 1),
    ],
}


def build(aws):
    """A VPC with an SQS endpoint, and a participant with two groups; the same ids every time."""
    aws.reset()
    vpc = aws.vpc()
    aws.endpoint(vpc, policy=blog_policy())
    groups = [aws.group(vpc.id, f"airflow-{n}", PARTICIPANT) for n in (1, 2)]
    return vpc, {
        "pending-private": event("pending-private", vpc),
        "pending-participant": event("pending-participant", vpc, groups),
    }


def shape(aws, vpc):
    """All of a VPC but the ids of what was made in it."""
    snapshot = aws.snapshot(vpc)
    names = {id: group["name"] for id, group in snapshot.groups.items()}
    endpoints = [
        {**it, "groups": [names[id] for id in it["groups"]]} for it in snapshot.endpoints.values()
    ]
    groups = [{**group} for group in snapshot.groups.values()]
    return sorted(endpoints, key=str), sorted(groups, key=str)


@pytest.fixture(scope="session")
def undisturbed(running_aws, function):
    """What each event makes of the VPC when nothing fails."""
    shapes = {}
    for name in CALLS:
        vpc, events = build(running_aws)
        answer = function.deliver(events[name])
        assert answer.ok, answer.error
        shapes[name] = shape(running_aws, vpc)
    return shapes


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    "after", [False, True], ids=["before_it_took_effect", "after_it_took_effect"]
)
@pytest.mark.parametrize(
    ("name", "action", "nth"),
    [
        pytest.param(name, *call, id=f"{name}-{call[0]}-{call[1]}")
        for name in CALLS
        for call in CALLS[name]
    ],
)
def test_any_call_may_fail_once(
    running_aws, function, undisturbed, name, action, nth, after, fault
):
    vpc, events = build(running_aws)
    running_aws.proxy.fail(action, nth=nth, after=after, **FAULTS[fault])

    first = function.deliver(events[name])
    assert action in [call.action for call in first.calls], "the call that should fail was made"
    if not first.ok:
        assert action in first.error, "the error names the call"
        second = function.deliver(events[name])
        assert second.ok, second.error

    assert shape(running_aws, vpc) == undisturbed[name]
    assert function.deliver(events[name]).changes == []


@pytest.mark.parametrize("name", CALLS)
def test_deliveries_at_the_same_time_make_one_of_everything(
    running_aws, function, undisturbed, configured, name
):
    others = [configured() for _ in range(3)]
    vpc, events = build(running_aws)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda it: it.deliver(events[name]), [function, *others]))
    if not all(answer.ok for answer in answers):
        assert function.deliver(events[name]).ok

    assert shape(running_aws, vpc) == undisturbed[name]


def test_two_environments_at_the_same_time_get_their_queues_through_with_one_more_delivery(
    running_aws, function, configured
):
    """Without reserved concurrency: EC2 has no compare-and-set, so one write may undo the other."""
    other = configured()
    vpc, events = build(running_aws)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        deliveries = zip([function, other], events.values())
        answers = list(pool.map(lambda it: it[0].deliver(it[1]), deliveries))

    assert all(answer.ok for answer in answers), [answer.error for answer in answers]
    assert function.deliver(next(iter(events.values()))).ok
    sqs = running_aws.snapshot(vpc).of(harness.SQS)
    (policy,) = [endpoint["policy"] for endpoint in sqs.values()]
    queues = sorted(it["detail"]["celeryExecutorQueue"] for it in events.values())
    assert policy["Statement"][1]["Resource"] == queues
