"""Metrics: lines of the log that CloudWatch reads, whatever level is set, and that move when something is wrong."""

import datetime
import json

import jsonschema
import pytest
from harness import OWNER, PARTICIPANT, REGION, event, later
from moto.ec2.models import ec2_backends

SWEEP = {"sweep": True}
NAMESPACE = "MwaaVpcEndpoints"
FUNCTION = "mwaa-vpc-endpoints"
# CloudWatch's units, and its JSON schema of the embedded metric format:
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
SIZES = ["Bytes", "Kilobytes", "Megabytes", "Gigabytes", "Terabytes", "Bits", "Kilobits", "Megabits", "Gigabits", "Terabits"]
UNITS = ["Seconds", "Microseconds", "Milliseconds", "Percent", "Count", "None", "Count/Second"]
UNITS += [*SIZES, *(f"{size}/Second" for size in SIZES)]


def listed(items, least=0, most=None):
    return {"type": "array", "items": items, "minItems": least, **({"maxItems": most} if most else {})}


def fields(required, **properties):
    return {"type": "object", "required": required, "properties": properties}


def text(most):
    return {"type": "string", "minLength": 1, "maxLength": most}


METRIC = fields(["Name"], Name=text(1024), Unit={"enum": UNITS}, StorageResolution={"enum": [1, 60]})
DIRECTIVE = fields(
    ["Namespace", "Dimensions", "Metrics"],
    Namespace=text(1024),
    Dimensions=listed(listed(text(250), 1, 30), 1),
    Metrics=listed(METRIC, 0, 100),
)
SCHEMA = fields(
    ["_aws"],
    _aws=fields(
        ["Timestamp", "CloudWatchMetrics"], Timestamp={"type": "integer"}, CloudWatchMetrics=listed(DIRECTIVE)
    ),
)
LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]


def lines(answer, level="INFO"):
    """The lines that Lambda lets through at a level: those without one count as INFO.

    https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
    """
    told = [json.loads(line) for line in answer.log.splitlines() if line.startswith("{")]
    return [it for it in told if LEVELS.index(it.get("level", "INFO")) >= LEVELS.index(level)]


def metrics(answer, level="INFO"):
    """What CloudWatch makes of the lines: {(name, dimensions): value}; each once."""
    found = {}
    for line in lines(answer, level):
        if "_aws" not in line:
            continue
        jsonschema.validate(line, SCHEMA)
        age = datetime.datetime.now().timestamp() - line["_aws"]["Timestamp"] / 1000
        assert -60 < age < 600, "CloudWatch takes no metrics of another time"
        for directive in line["_aws"]["CloudWatchMetrics"]:
            assert directive["Namespace"] == NAMESPACE
            (dimensions,) = directive["Dimensions"]
            values = tuple(line[name] for name in dimensions)
            assert dimensions[0] == "FunctionName" and values[0] == FUNCTION
            assert all(isinstance(it, str) and it for it in values)
            for metric in directive["Metrics"]:
                value = line[metric["Name"]]
                assert isinstance(value, (int, float)) and not isinstance(value, bool)
                key = (metric["Name"], *values[1:])
                assert key not in found, f"{key} is published twice"
                found[key] = value
    return found


def moved(answer):
    """The metrics of the function, without those of VPCs."""
    return {key[0]: value for key, value in metrics(answer).items() if len(key) == 1}


@pytest.fixture
def own(vpc):
    it = event("pending-private", vpc)
    return {**it, "time": f"{ago(minutes=1):%Y-%m-%dT%H:%M:%SZ}"}


def another(vpc, name):
    """The event of another environment of the owner's, which waits."""
    it = event("pending-private", vpc)
    number = int.from_bytes(name[-4:].encode())
    services = {f"{role}VpcEndpointService": f"{SERVICE}-{n}{number:016x}" for n, role in enumerate(["database", "webserver"])}
    it["detail"] |= {"name": name, **services}
    return it


SERVICE = "com.amazonaws.vpce.us-east-1.vpce-svc"


def ago(**time):
    return datetime.datetime.now(datetime.UTC) - datetime.timedelta(**time)


@pytest.fixture
def served(mwaa, function, vpc, sqs, own):
    """An environment that was served and is available, with endpoints that are, too."""
    mwaa.put(own)
    assert function.deliver(own).ok
    mwaa.put(own, status="AVAILABLE")
    return own


# Whatever level is set -----------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
def test_metrics_get_through_whatever_level_is_set(aws, mwaa, configured, vpc, sqs, own, level):
    function = configured(AWS_LAMBDA_LOG_LEVEL=level)
    mwaa.put(own)
    for payload, told in [
        (own, "EndpointsCreated"),
        (SWEEP, "SweepsCompleted"),
        ({"no": "event"}, "InvocationsFailed"),
    ]:
        answer = function.deliver(payload)
        assert metrics(answer, level).get((told,)), f"{told} of {payload}"


def test_an_event_tells_what_was_done_for_whom(aws, mwaa, function, vpc, sqs, own):
    mwaa.put(own)

    answer = function.deliver(own)

    (line,) = [it for it in lines(answer) if "_aws" in it]
    told = moved(answer)
    assert told.pop("TimeToServeSeconds") in range(59, 120)
    assert told == {"EnvironmentsServed": 1, "EndpointsCreated": 2, "ActionsFailed": 0, "InvocationsFailed": 0}
    assert line["environment"].endswith(":environment/analytics") and line["status"] == "PENDING"
    assert line["requestId"] and line["message"] == "metrics"
    again = moved(function.deliver(own))
    assert "TimeToServeSeconds" not in again and again["EndpointsCreated"] == 0


def test_nothing_is_published_of_a_plan(aws, mwaa, function, vpc, sqs, own):
    mwaa.put(own)

    for payload in ({**own, "dryRun": True}, {**SWEEP, "dryRun": True}):
        answer = function.deliver(payload)
        assert answer.ok and metrics(answer) == {}


def test_an_account_with_one_vpc_has_at_most_15_metrics(aws, mwaa, function, vpc, sqs, own):
    mwaa.put(own)
    blocked = {"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*"}
    aws.ec2.modify_vpc_endpoint(VpcEndpointId=sqs, PolicyDocument=json.dumps({"Statement": [blocked]}))

    names = set()
    for payload in (own, SWEEP, {}):
        names |= metrics(function.deliver(payload)).keys()

    assert len(names) == 15, sorted(names)


# What is wrong moves a metric ----------------------------------------------------------------


def test_a_sweep_that_finds_all_well_moves_nothing(function, served):
    told = metrics(function.deliver(SWEEP))

    assert told.pop(("SweepsCompleted",)) == 1 and told.pop(("EnvironmentsServed",)) == 1
    percents = {key for key in told if "Percent" in key[0]}
    assert [told.pop(key) for key in percents if key[0] != "PolicyPercent"] and set(told) - percents
    assert {name: value for name, value in told.items() if name not in percents and value} == {}


def test_a_queue_that_is_surely_blocked_is_counted_by_events_and_sweeps(aws, function, served, sqs):
    policy = aws.ec2.describe_vpc_endpoints(VpcEndpointIds=[sqs])["VpcEndpoints"][0]["PolicyDocument"]
    policy = json.loads(policy)
    policy["Statement"].append({"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*"})
    aws.ec2.modify_vpc_endpoint(VpcEndpointId=sqs, PolicyDocument=json.dumps(policy))

    for payload in (later(served, "AVAILABLE"), SWEEP):
        assert moved(function.deliver(payload))["BlockedQueues"] == 1

    policy["Statement"].pop()
    aws.ec2.modify_vpc_endpoint(VpcEndpointId=sqs, PolicyDocument=json.dumps(policy))
    assert moved(function.deliver(SWEEP))["BlockedQueues"] == 0


def test_what_waits_is_told_with_the_hours_that_are_left(mwaa, function, vpc, sqs, own):
    mwaa.put(own, createdAt=ago(hours=30, minutes=1).timestamp())

    answer = function.deliver(SWEEP)

    assert moved(answer)["OldestPendingHours"] == 30
    (line,) = [it for it in lines(answer) if it.get("message") == "waiting"]
    assert line["environment"].endswith(":environment/analytics")
    assert (line["hoursWaited"], line["hoursLeft"]) == (30, 41)
    assert "_aws" not in line


def test_endpoints_that_are_not_available_are_counted(aws, function, served, vpc):
    assert moved(function.deliver(SWEEP))["EndpointsNotAvailable"] == 0
    for id in aws.snapshot(vpc).made_for(served).endpoints:
        ec2_backends[OWNER][REGION].vpc_end_points[id].state = "rejected"

    assert moved(function.deliver(SWEEP))["EndpointsNotAvailable"] == 2


def test_what_was_changed_by_hand_and_put_right_is_drift_and_a_lost_event_is_not(
    aws, mwaa, function, vpc, sqs, own
):
    mwaa.put(own)
    assert moved(function.deliver(SWEEP))["DriftRepaired"] == 0, "its event was lost"
    mwaa.put(own, status="AVAILABLE")

    aws.ec2.modify_vpc_endpoint(VpcEndpointId=sqs, PolicyDocument='{"Statement": []}')
    assert moved(function.deliver(SWEEP))["DriftRepaired"] == 1
    assert moved(function.deliver(SWEEP))["DriftRepaired"] == 0

    mwaa.remove(own)
    cleared = function.deliver(SWEEP)
    assert "DeleteVpcEndpoints" in cleared.actions and moved(cleared)["DriftRepaired"] == 0


def test_quotas_are_told_per_vpc_and_the_fullest_of_all(aws, mwaa, configured, vpc, sqs, own):
    function = configured(ENDPOINT_QUOTA="4")
    mwaa.put(own)
    assert function.deliver(own).ok

    told = metrics(function.deliver(SWEEP))

    assert told["EndpointQuotaPercent", vpc.id] == 75 == told["FullestQuotaPercent",]
    assert 0 < told["PolicyPercent", vpc.id] < 10
    aws.endpoint(vpc, service="com.amazonaws.us-east-1.logs")
    assert moved(function.deliver(SWEEP))["FullestQuotaPercent"] == 100


def test_accounts_that_are_not_asked_are_counted(aws, mwaa, configured, vpc, sqs):
    function = configured(PARTICIPANT_ACCOUNTS=PARTICIPANT)
    guest = event("pending-participant", vpc, [aws.group(vpc.id, "airflow", PARTICIPANT)])
    assert function.deliver(guest).ok

    assert moved(function.deliver(SWEEP))["AccountsNotAsked"] == 1


def test_environments_without_a_turn_are_counted(aws, mwaa, configured, vpc, sqs):
    function = configured(seconds=1)
    for n in range(60):
        mwaa.put(another(vpc, f"e{n:03}"))

    told = moved(function.deliver(SWEEP))

    assert told["EnvironmentsNotReached"] > 0
    assert told["EnvironmentsNotReached"] + told["EnvironmentsServed"] == 60


def test_what_failed_is_counted_and_whether_the_invocation_did(aws, mwaa, function, vpc, sqs, own):
    mwaa.put(own)
    aws.proxy.fail("CreateVpcEndpoint", "VpcEndpointLimitExceeded", times=10)

    told = moved(function.deliver(own))
    assert (told["ActionsFailed"], told["InvocationsFailed"], told["EnvironmentsServed"]) == (2, 1, 0)

    told = moved(function.deliver(SWEEP))
    assert (told["ActionsFailed"], told["InvocationsFailed"]) == (2, 0), "a sweep goes on"

    aws.proxy.fail("DescribeVpcEndpoints", "UnauthorizedOperation", status=403, times=10)
    told = moved(function.deliver(SWEEP))
    assert told == {"InvocationsFailed": 1}, "a sweep that could not look has not been completed"


# For people ----------------------------------------------------------------------------------


def test_a_result_that_changed_something_says_so_in_a_sentence(aws, mwaa, function, vpc, sqs, own):
    mwaa.put(own)

    made = function.deliver(own).value
    assert made["outcome"] == "changed"
    assert made["summary"].startswith("analytics of account 111122223333, PENDING: made 2 endpoints, ")
    assert "the policy of 1 SQS endpoint" in made["summary"] and " s after PENDING" in made["summary"]

    # It has waited for long by then, so that only what may keep it is told.
    again = function.deliver(own).value["summary"]
    assert ": possible causes: " in again and "made" not in again
    function.deliver(SWEEP)
    swept = function.deliver(SWEEP).value
    assert swept["outcome"] == "unchanged" and "summary" not in swept, "that is no news any more"


def test_a_sweep_that_changed_something_says_for_whom(aws, mwaa, function, vpc, sqs, own):
    mwaa.put(own)

    swept = function.deliver(SWEEP).value

    assert swept["outcome"] == "changed"
    assert swept["summary"].startswith("analytics of account 111122223333, PENDING: made 2 endpoints")
