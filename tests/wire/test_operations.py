"""What an on-call engineer sees and hears: alarms, dashboard and queries of the template, over lines that the function printed.

Each alarm's fault is caused here once. CloudWatch is small (tests/emulator/cloudwatch.py), the lines are real.
"""

import json
import re

import cloudformation
import cloudwatch
import pytest
from harness import OWNER, ROOT, event
from moto.ec2.models import ec2_backends
from test_metrics import SWEEP, ago, another, lines, metrics

STACK = "mwaa-vpc-endpoints"
NAMESPACE = "MwaaVpcEndpoints"


@pytest.fixture(scope="module")
def stack():
    text = (ROOT / "template.yaml").read_text()
    return cloudformation.Stack(cloudformation.load(text), {}, OWNER, "us-east-1", "aws")


@pytest.fixture
def own(mwaa, vpc):
    it = event("pending-private", vpc)
    it["time"] = f"{ago(minutes=1):%Y-%m-%dT%H:%M:%SZ}"
    mwaa.put(it)
    return it


@pytest.fixture
def cloudwatch_of(stack):
    """CloudWatch's metrics after invocations: {minute: answer}."""

    def of(answers):
        data = cloudwatch.Data()
        for minute, answer in answers.items():
            for (name, *vpc), value in metrics(answer).items():
                more = {"vpc": vpc[0]} if vpc else {}
                data.put(minute, NAMESPACE, name, value, FunctionName=stack._names["MwaaVpcEndpointsFunction"], **more)
            data.put(minute, "AWS/Lambda", "Errors", 0 if answer.ok else 1, FunctionName=stack._names["MwaaVpcEndpointsFunction"])
        return data

    return of


@pytest.fixture
def is_on(stack, cloudwatch_of):
    """Whether an alarm is on after sweeps that told so, every 15 minutes of an hour."""

    def is_on(name, *answers):
        answers = [*answers] if len(answers) > 1 else [*answers] * 4
        data = cloudwatch_of({3 + 15 * n: answer for n, answer in enumerate(answers)})
        return cloudwatch.is_on(stack.of_type("AWS::CloudWatch::Alarm")[name], data, 60)

    return is_on


def sweep(function):
    answer = function.deliver(SWEEP)
    assert answer.ok, answer.error
    return answer


def policy(aws, sqs):
    return json.loads(aws.ec2.describe_vpc_endpoints(VpcEndpointIds=[sqs])["VpcEndpoints"][0]["PolicyDocument"])


def change(aws, sqs, statements):
    aws.ec2.modify_vpc_endpoint(VpcEndpointId=sqs, PolicyDocument=json.dumps({"Statement": statements}))


DENY = {"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*"}


# Each fault raises its alarm -----------------------------------------------------------------


def test_while_all_is_well_no_alarm_is_on(stack, mwaa, function, sqs, own, is_on):
    function.deliver(own)
    mwaa.put(own, status="AVAILABLE")
    answer = sweep(function)

    assert [name for name in stack.of_type("AWS::CloudWatch::Alarm") if is_on(name, answer)] == []


def test_a_blocked_queue(aws, mwaa, function, sqs, own, is_on):
    function.deliver(own)
    well = sweep(function)
    change(aws, sqs, [*policy(aws, sqs)["Statement"], DENY])

    assert is_on("BlockedQueueAlarm", sweep(function)) and not is_on("BlockedQueueAlarm", well)


def test_an_environment_that_has_waited_for_a_day(mwaa, function, sqs, own, is_on):
    mwaa.put(own, createdAt=ago(hours=23).timestamp())
    assert not is_on("PendingAlarm", sweep(function))
    mwaa.put(own, createdAt=ago(hours=24, minutes=1).timestamp())
    assert is_on("PendingAlarm", sweep(function))


def test_an_endpoint_that_was_rejected(aws, function, vpc, sqs, own, is_on):
    function.deliver(own)
    well = sweep(function)
    for id in aws.snapshot(vpc).made_for(own).endpoints:
        ec2_backends[OWNER]["us-east-1"].vpc_end_points[id].state = "rejected"
    ill = sweep(function)

    assert is_on("EndpointsNotAvailableAlarm", ill)
    assert not is_on("EndpointsNotAvailableAlarm", ill, ill, ill, well)


def test_a_vpc_that_is_nearly_full(aws, configured, sqs, own, is_on):
    function = configured(ENDPOINT_QUOTA="4")
    function.deliver(own)
    assert not is_on("QuotaAlarm", sweep(function))
    aws.endpoint(aws.vpc("10.193"), policy=None)
    assert not is_on("QuotaAlarm", sweep(function)), "another VPC has a quota of its own"
    ill = configured(ENDPOINT_QUOTA="3")
    assert is_on("QuotaAlarm", sweep(ill))


def test_a_policy_that_is_nearly_full(aws, function, sqs, own, is_on):
    function.deliver(own)
    queues = [f"arn:aws:sqs:us-east-1:444455556666:orders-{number:04}" for number in range(350)]
    filler = {"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": queues}
    change(aws, sqs, [*policy(aws, sqs)["Statement"], filler])

    assert is_on("QuotaAlarm", sweep(function))


def test_another_writer_of_the_policy(aws, mwaa, stack, function, sqs, own, cloudwatch_of):
    function.deliver(own)
    mwaa.put(own, status="AVAILABLE")
    alarm = stack.of_type("AWS::CloudWatch::Alarm")["DriftAlarm"]
    answers = {}
    for n in range(3):
        change(aws, sqs, [])
        answers[n * 300] = sweep(function)
        assert cloudwatch.is_on(alarm, cloudwatch_of(answers), n * 300 + 5) == (n == 2)
    assert not cloudwatch.is_on(alarm, cloudwatch_of(answers), 25 * 60), "a day later it is forgotten"


def test_sweeps_that_do_not_come_to_their_end(aws, function, sqs, own, is_on):
    well = sweep(function)
    aws.proxy.fail("DescribeVpcEndpoints", "UnauthorizedOperation", status=403, times=10)
    ill = function.deliver(SWEEP)
    assert not ill.ok

    assert is_on("NoSweepAlarm", ill) and not is_on("NoSweepAlarm", ill, ill, ill, well)
    assert not is_on("ProcessAlarm", ill), "the function itself says that it failed"


def test_an_estate_that_is_too_large(aws, mwaa, configured, vpc, sqs, is_on):
    for n in range(60):
        mwaa.put(another(vpc, f"e{n:03}"))

    assert is_on("EstateTooLargeAlarm", sweep(configured(seconds=0.1)))


def test_a_process_that_ended(aws, mwaa, function, sqs, own, stack, cloudwatch_of):
    """What the function cannot tell of: Lambda counts an error, and there is no line."""
    function.deliver(own)
    answer = function.deliver(own)
    alarm = stack.of_type("AWS::CloudWatch::Alarm")["ProcessAlarm"]
    data = cloudwatch_of({1: answer})
    assert not cloudwatch.is_on(alarm, data, 5)

    data.put(2, "AWS/Lambda", "Errors", 1, FunctionName=stack._names["MwaaVpcEndpointsFunction"])

    assert cloudwatch.is_on(alarm, data, 5) and not cloudwatch.is_on(alarm, data, 10)


# What is documented, and asked, is what is printed -------------------------------------------


@pytest.fixture
def story(aws, mwaa, configured, vpc, sqs, own):
    """All kinds of things that happen, at their minutes before now."""
    function = configured()
    other = another(vpc, "forecasting")
    told = {40: function.deliver(own), 30: sweep(function)}
    aws.proxy.fail("CreateVpcEndpoint", "VpcEndpointLimitExceeded", times=20)
    mwaa.put(other)
    told[20] = function.deliver(other)
    aws.proxy.clear()
    change(aws, sqs, [*policy(aws, sqs)["Statement"], DENY])
    told[10] = sweep(function)
    mwaa.remove(other)
    change(aws, sqs, policy(aws, sqs)["Statement"][:-1])
    told[5] = sweep(function)
    told[1] = function.deliver({"no": "event"})
    return told


def test_every_documented_metric_is_printed_with_its_unit_and_dimensions_and_no_other(story):
    text = (ROOT / "docs" / "operations.md").read_text().split("\n## Metrics\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]+) \|", text, re.M)
    documented = {(name, unit, *re.findall(r"`(\w+)`", dimensions)) for name, unit, dimensions in rows}

    printed = set()
    for line in (line for answer in story.values() for line in lines(answer) if "_aws" in line):
        for directive in line["_aws"]["CloudWatchMetrics"]:
            (dimensions,) = directive["Dimensions"]
            printed |= {(it["Name"], it["Unit"], *dimensions) for it in directive["Metrics"]}

    assert printed == documented and len(documented) == 15


@pytest.fixture
def log(story):
    """The lines as Logs Insights has them."""
    return [cloudwatch.Insights.event(minutes, line) for minutes, answer in story.items() for line in lines(answer)]


@pytest.fixture
def ask(stack, log):
    def ask(name, put_in=None):
        found = stack.of_type("AWS::Logs::QueryDefinition").values()
        (query,) = [it["QueryString"] for it in found if it["Name"].endswith(f"/{name}")]
        for old, new in (put_in or {}).items():
            assert old in query
            query = query.replace(old, new)
        return cloudwatch.Insights(query).run(log)

    return ask


def minutes(rows):
    return sorted({(cloudwatch.NOW - row["@timestamp"]) // 60_000 for row in rows}, reverse=True)


def test_the_queries_find_in_real_lines_what_they_are_for(ask, story):
    failures = ask("Failures")
    assert minutes(failures) == [20, 10, 1]
    assert any("VpcEndpointLimitExceeded" in row["@message"] for row in failures)
    assert not any(row["message"] in ("metrics", "waiting") for row in failures)

    one = ask("One environment", {"forecasting": "analytics"})
    assert minutes(one)[0] == 40 and one[0]["result.outcome"] in ("changed", None)
    assert all("environment/analytics" in row["@message"] for row in one)

    written = ask("Policies that were written")
    assert 40 in minutes(written) and "airflow-celery" in written[-1]["what"]

    sweeps = ask("Sweeps")
    assert minutes(sweeps) == [30, 10, 5]
    request = sweeps[0]["requestId"]
    assert minutes(ask("One sweep or event", {"put-in-the-id": request})) == [5]

    waits = ask("Environments that wait")
    assert {row["environment"].rsplit("/", 1)[1] for row in waits} >= {"analytics"}
    assert all(0 <= row["hoursLeft"] <= 72 for row in waits)


def test_the_dashboards_log_widgets_find_what_waits_and_what_failed(stack, log):
    (body,) = [json.loads(it["DashboardBody"]) for it in stack.of_type("AWS::CloudWatch::Dashboard").values()]
    texts = [it["properties"]["query"] for it in body["widgets"] if it["type"] == "log"]
    waits, failures = [cloudwatch.Insights(text).run(log) for text in texts]

    assert {row["environment"].rsplit("/", 1)[1] for row in waits} == {"analytics", "forecasting"}
    assert minutes(failures) == [20, 10, 1]
