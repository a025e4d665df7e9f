"""What tells people that something is wrong: each alarm is raised by what it is for, and goes off again; it names metrics
that there are, and leads into the runbook.

CloudWatch's way to evaluate an alarm is here in small: statistics over sliding windows, M of N, missing data, and the
metric math that the templates use. Time is in minutes. What it leaves out: CloudWatch fetches a few periods more than it
evaluates, and takes an older datapoint rather than none, so an alarm whose metric falls silent may be on for longer.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
"""

import bisect
import functools
import itertools
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OWNER, PARTICIPANT = "111122223333", "210987654321"
TOPIC = "arn:aws:sns:us-east-1:111122223333:alerts"
MAIL = "network@example.com"

# Every shape of the stack that its alarms, dashboard and queries depend on.
SHAPES = [
    {
        "ParticipantAccounts": PARTICIPANT if bus else "",
        "EventBusName": bus or "default",
        "SweepSchedule": schedule,
        "AlarmTopicArn": topic,
        "NotifyEmail": mail,
    }
    for bus, schedule, topic, mail in itertools.product(
        ("", "mwaa"), ("rate(15 minutes)", "off"), ("", TOPIC), ("", MAIL)
    )
]


@pytest.fixture(scope="module", params=SHAPES, ids=lambda shape: " ".join(v for v in shape.values() if v))
def stack(request, render):
    return render("template.yaml", **request.param)


def participants(render, **parameters):
    return render("participant.yaml", account=PARTICIPANT, OwnerAccountId=OWNER, **parameters)


def alarms(stack):
    return stack.of_type("AWS::CloudWatch::Alarm")


# ---- the metrics that there are ----------------------------------------------------------------------------------------

# Those of AWS, with the dimensions that each has, and where it says so.
AWS = {
    # https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html, "Viewing metrics for Lambda functions"
    "AWS/Lambda": (
        {"Errors", "Invocations", "Throttles", "Duration", "DestinationDeliveryFailures", "AsyncEventsDropped"},
        [{"FunctionName"}],
    ),
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
    "AWS/SQS": ({"NumberOfMessagesSent", "ApproximateNumberOfMessagesVisible"}, [{"QueueName"}]),
    # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html
    "AWS/Events": (
        {"FailedInvocations", "InvocationsFailedToBeSentToDlq"},
        [{"RuleName"}, {"EventBusName", "RuleName"}],
    ),
}
OWN = "MwaaVpcEndpoints"


def own_metrics():
    """Those of docs/operations.md: name, and its dimensions."""
    text = (ROOT / "docs" / "operations.md").read_text().split("\n## Metrics\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (?:Count|Seconds|Percent|None) \| ([^|]+) \|", text, re.M)
    assert len(rows) == len({name for name, _ in rows}) == 15
    return {name: set(re.findall(r"`(\w+)`", dimensions)) for name, dimensions in rows}


def check_metric(namespace, name, dimensions):
    if namespace == OWN:
        assert own_metrics()[name] == set(dimensions), name
    else:
        names, known = AWS[namespace]
        assert name in names and set(dimensions) in known, (namespace, name, dimensions)


# ---- CloudWatch in small -----------------------------------------------------------------------------------------------


def dimensions_of(metric):
    return {it["Name"]: it["Value"] for it in metric.get("Dimensions", [])}


def queries(alarm):
    """What an alarm asks for, by ids: (namespace, metric, dimensions, statistic, period in minutes); and its expression."""
    if "MetricName" in alarm:
        asked = (alarm["Namespace"], alarm["MetricName"], dimensions_of(alarm), alarm["Statistic"], alarm["Period"] // 60)
        return {"m": asked}, "m"
    (expression,) = [it["Expression"] for it in alarm["Metrics"] if it.get("ReturnData", True)]
    found = {}
    for it in alarm["Metrics"]:
        if "MetricStat" in it:
            stat, metric = it["MetricStat"], it["MetricStat"]["Metric"]
            found[it["Id"]] = (
                metric["Namespace"], metric["MetricName"], dimensions_of(metric), stat["Stat"], stat["Period"] // 60,
            )  # fmt: skip
    return found, expression


def period(alarm):
    (minutes,) = {it[4] for it in queries(alarm)[0].values()}
    return minutes


class Data:
    """What was published: values with their minutes."""

    def __init__(self):
        self.points = defaultdict(list)

    def put(self, minute, namespace, name, value, **dimensions):
        self.points[namespace, name, frozenset(dimensions.items())].append((minute, value))

    def statistic(self, asked, end):
        namespace, name, dimensions, statistic, minutes = asked
        points = sorted(self.points.get((namespace, name, frozenset(dimensions.items())), []))
        first, last = (bisect.bisect_left(points, (minute,)) for minute in (end - minutes, end))
        values = [value for _, value in points[first:last]]
        return {"Sum": sum, "Maximum": max, "Minimum": min}[statistic](values) if values else None


def fill(value, instead):
    if isinstance(value, list):
        return [fill(it, instead) for it in value]
    return instead if value is None else value


def calculated(expression, values):
    """One datapoint of metric math; none where something is missing that is not filled."""
    functions = {
        "FILL": fill,
        "SUM": lambda series: sum(it for it in series if it is not None),
        "METRICS": lambda: list(values.values()),
    }
    try:
        return eval(expression, {"__builtins__": {}}, functions | values)
    except TypeError:
        assert None in values.values()
        return None


def is_breaching(alarm, data, end):
    asked, expression = queries(alarm)
    value = calculated(expression, {id: data.statistic(it, end) for id, it in asked.items()})
    if value is None:
        return {"breaching": True, "notBreaching": False}[alarm["TreatMissingData"]]
    threshold = float(alarm["Threshold"])
    return {
        "GreaterThanThreshold": value > threshold,
        "GreaterThanOrEqualToThreshold": value >= threshold,
        "LessThanThreshold": value < threshold,
    }[alarm["ComparisonOperator"]]


def is_on(alarm, data, now, breaching=is_breaching):
    count, step = int(alarm["EvaluationPeriods"]), period(alarm)
    needed = int(alarm.get("DatapointsToAlarm", count))
    return sum(breaching(alarm, data, now - k * step) for k in range(count)) >= needed


HOUR, DAY = 60, 24 * 60


def on_times(alarm, data, begin, end, step=5):
    known = functools.cache(lambda end: is_breaching(alarm, data, end))
    return [now for now in range(begin, end, step) if is_on(alarm, data, now, lambda *it: known(it[-1]))]


def test_the_evaluator_counts_as_cloudwatch_does():
    alarm = {
        "Namespace": "N", "MetricName": "M", "Statistic": "Sum", "Period": 300, "EvaluationPeriods": 3,
        "DatapointsToAlarm": 2, "Threshold": 0, "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
    }  # fmt: skip
    data = Data()
    for minute, value in ((0, 1), (7, 1), (12, 0)):
        data.put(minute, "N", "M", value)
    assert [is_on(alarm, data, now) for now in (5, 10, 15, 20)] == [False, True, True, False]
    assert is_on(alarm | {"TreatMissingData": "breaching"}, data, 60)
    values = {"a": 3, "b": None, "c": 1}
    assert calculated("SUM(FILL(METRICS(), 0))", values) == 4
    assert calculated("a - FILL(b, 0) - 2 * c", values) == 1
    assert calculated("a - b", values) is None


# ---- each alarm goes on, and off again ---------------------------------------------------------------------------------

QUIET = {
    "EnvironmentsServed": 10, "EndpointsCreated": 0, "ActionsFailed": 0, "InvocationsFailed": 0, "BlockedQueues": 0,
    "DriftRepaired": 0, "OldestPendingHours": 0, "EndpointsNotAvailable": 0, "AccountsNotAsked": 0,
    "EnvironmentsNotReached": 0, "SweepsCompleted": 1, "FullestQuotaPercent": 10,
}  # fmt: skip


class Life(Data):
    """A stack whose sweeps come as they should. In `trouble`, from one minute up to another, they tell something else."""

    def __init__(self, stack, every=15, days=4, trouble=(0, 0), **told):
        super().__init__()
        self.stack, self.function = stack, stack._names["MwaaVpcEndpointsFunction"]
        for minute in range(3, days * DAY, every):
            if told.get("sweeps") == 0 and trouble[0] <= minute < trouble[1]:
                continue
            self.sweep(minute, **(told if trouble[0] <= minute < trouble[1] else {}))

    def sweep(self, minute, **told):
        for name, value in (QUIET | told).items():
            self.own(minute, name, value)
        self.of_lambda(minute, "Errors", 0)

    def own(self, minute, name, value):
        self.put(minute, OWN, name, value, FunctionName=self.function)

    def of_lambda(self, minute, name, value):
        self.put(minute, "AWS/Lambda", name, value, FunctionName=self.function)


def queue(name):
    def put(life, minute):
        life.put(minute, "AWS/SQS", "NumberOfMessagesSent", 1, QueueName=life.stack._names[name])

    return put


def of_lambda(name):
    return lambda life, minute: life.of_lambda(minute, name, 1)


def rule(name, metric, bus=None):
    def put(life, minute):
        of = {"RuleName": life.stack._names[name]} | ({"EventBusName": bus} if bus else {})
        life.put(minute, "AWS/Events", metric, 1, **of)

    return put


# What AWS tells while something is wrong, once a minute, for an hour: alarm, what is published, minutes until it is on.
EVENTS = [
    ("FailedEventsAlarm", queue("FailedEventsQueue"), 5),
    ("UndeliveredEventsAlarm", queue("UndeliveredEventsQueue"), 5),
    ("LostEventsAlarm", of_lambda("DestinationDeliveryFailures"), 5),
    ("DroppedEventsAlarm", of_lambda("AsyncEventsDropped"), 5),
    ("ThrottledAlarm", of_lambda("Throttles"), 60),
    ("ProcessAlarm", of_lambda("Errors"), 5),
    ("NotDeliveredAlarm", rule("DefaultBusRule", "FailedInvocations"), 5),
    ("NotDeliveredAlarm", rule("DefaultBusRule", "InvocationsFailedToBeSentToDlq"), 5),
    ("NotDeliveredAlarm", rule("SweepRule", "FailedInvocations"), 5),
    ("NotDeliveredAlarm", rule("ParticipantBusRule", "FailedInvocations", "mwaa"), 5),
    ("NotDeliveredAlarm", rule("ParticipantBusRule", "InvocationsFailedToBeSentToDlq", "mwaa"), 5),
]
# What sweeps tell while something is wrong.
TOLD = {
    "BlockedQueueAlarm": {"BlockedQueues": 1},
    "PendingAlarm": {"OldestPendingHours": 24.1},
    "EndpointsNotAvailableAlarm": {"EndpointsNotAvailable": 1},
    "QuotaAlarm": {"FullestQuotaPercent": 80},
    "DriftAlarm": {"DriftRepaired": 1},
    "EstateTooLargeAlarm": {"EnvironmentsServed": 10, "EnvironmentsNotReached": 111},
    "NoSweepAlarm": {"sweeps": 0},
}


@pytest.fixture(scope="module")
def whole(render):
    return render("template.yaml", ParticipantAccounts=PARTICIPANT, EventBusName="mwaa")


def test_every_alarm_has_its_story(whole):
    assert set(alarms(whole)) == {name for name, _, _ in EVENTS} | set(TOLD)


@pytest.mark.parametrize("name, put, minutes", EVENTS)
def test_what_aws_tells_raises_its_alarm_and_lets_it_go(whole, name, put, minutes):
    alarm, life, begin = alarms(whole)[name], Life(whole, days=2), DAY
    for minute in range(begin, begin + HOUR + 5):
        put(life, minute)
    on = on_times(alarm, life, begin - 6 * HOUR, begin + 6 * HOUR)
    assert on and begin < on[0] <= begin + minutes, "it is on in time"
    assert on[-1] <= begin + HOUR + 5 + 5, "and off in time"


@pytest.mark.parametrize("name, put, minutes", [it for it in EVENTS if it[0] != "ThrottledAlarm"])
def test_one_message_is_enough_and_is_forgotten_after_five_minutes(whole, name, put, minutes):
    life = Life(whole, days=2)
    put(life, DAY)
    assert on_times(alarms(whole)[name], life, DAY - HOUR, DAY + 3 * HOUR, step=1) == list(range(DAY + 1, DAY + 6))


def test_some_throttling_is_as_it_should_be(whole):
    life = Life(whole, days=2)
    for minute in range(DAY, DAY + 50):
        life.of_lambda(minute, "Throttles", 5)
    assert not on_times(alarms(whole)["ThrottledAlarm"], life, DAY - HOUR, DAY + 3 * HOUR)


@pytest.mark.parametrize("name", TOLD)
def test_what_sweeps_tell_raises_its_alarm_and_lets_it_go(whole, name):
    begin, end = DAY, DAY + 3 * HOUR
    life = Life(whole, trouble=(begin, end), **TOLD[name])
    on = on_times(alarms(whole)[name], life, begin - 6 * HOUR, begin + 2 * DAY)
    window = DAY if name == "DriftAlarm" else HOUR
    assert on and begin < on[0] <= begin + HOUR + 5, "it is on in time"
    assert on == list(range(on[0], on[-1] + 1, 5)), "it does not go off between two sweeps"
    assert on[-1] <= end + window, "nothing old keeps it on"


@pytest.mark.parametrize("name", TOLD)
def test_a_quiet_stack_raises_no_alarm(whole, name):
    assert not on_times(alarms(whole)[name], Life(whole, days=2), DAY, 2 * DAY)


@pytest.mark.parametrize("name", sorted(set(TOLD) - {"NoSweepAlarm", "DriftAlarm", "EndpointsNotAvailableAlarm"}))
def test_one_sweep_is_enough_and_is_forgotten_after_an_hour(whole, name):
    life = Life(whole, trouble=(DAY, DAY + 15), **TOLD[name])
    on = on_times(alarms(whole)[name], life, DAY - HOUR, DAY + DAY, step=1)
    assert len(on) == HOUR and on[0] <= DAY + 5


def test_an_endpoint_that_is_just_being_made_raises_none(whole):
    for quarters in (1, 2, 3):
        life = Life(whole, trouble=(DAY, DAY + quarters * 15), EndpointsNotAvailable=3)
        assert not on_times(alarms(whole)["EndpointsNotAvailableAlarm"], life, DAY - HOUR, DAY + DAY, step=1)


def test_what_is_put_right_twice_a_day_is_no_drift(whole):
    life = Life(whole, trouble=(DAY, DAY + 30), DriftRepaired=20)
    assert not on_times(alarms(whole)["DriftAlarm"], life, DAY - HOUR, DAY + 2 * DAY, step=15)


@pytest.mark.parametrize("served, left, large", [(10, 110, False), (10, 111, True), (0, 1, True), (0, 0, False), (500, 0, False)])
def test_a_round_may_take_twelve_sweeps(whole, served, left, large):
    life = Life(whole, trouble=(DAY, DAY + HOUR), EnvironmentsServed=served, EnvironmentsNotReached=left)
    assert is_on(alarms(whole)["EstateTooLargeAlarm"], life, DAY + HOUR) == large


def test_what_the_function_itself_reports_is_no_error_of_its_process(whole):
    life = Life(whole, days=2)
    for minute in (DAY, DAY + 1, DAY + 3):
        life.of_lambda(minute, "Errors", 1)
        life.own(minute, "InvocationsFailed", 1)
    alarm = alarms(whole)["ProcessAlarm"]
    assert not on_times(alarm, life, DAY - HOUR, DAY + HOUR, step=1)
    life.of_lambda(DAY + 2, "Errors", 1)  # a time-out: the function published nothing
    assert on_times(alarm, life, DAY - HOUR, DAY + HOUR, step=1)


def test_a_blocked_queue_that_an_event_found_raises_its_alarm_where_no_sweep_runs(render):
    stack = render("template.yaml", SweepSchedule="off")
    life = Life(stack, every=100 * DAY)
    life.own(DAY, "BlockedQueues", 1)
    assert len(on_times(alarms(stack)["BlockedQueueAlarm"], life, DAY - HOUR, 2 * DAY, step=1)) == HOUR


# ---- sweeps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("late", range(0, 15, 2))
def test_sweeps_of_the_default_schedule_never_raise_the_alarm_even_if_some_are_lost(whole, late):
    life = Life(whole, every=10 * DAY)
    for n, minute in enumerate(range(0, 2 * DAY, 15)):
        if n % 4 != 1:  # one of four does not come
            life.own(minute + (n * 7 + late) % 13, "SweepsCompleted", 1)
    assert not on_times(alarms(whole)["NoSweepAlarm"], life, 2 * HOUR, 2 * DAY - HOUR, step=1)


def test_without_sweeps_the_alarm_is_on_after_an_hour_and_off_with_the_next(whole):
    life = Life(whole, trouble=(DAY, DAY + 10 * HOUR), sweeps=0)
    on = on_times(alarms(whole)["NoSweepAlarm"], life, DAY - HOUR, DAY + DAY, step=1)
    assert DAY + 45 < on[0] <= DAY + HOUR and on[-1] == DAY + 10 * HOUR + 3


def test_a_new_stack_has_had_no_sweep_and_says_so_until_the_first(whole):
    life = Life(whole)
    assert on_times(alarms(whole)["NoSweepAlarm"], life, 0, DAY, step=1) == [0, 1, 2, 3]
    others = [alarm for name, alarm in alarms(whole).items() if name != "NoSweepAlarm"]
    assert not [1 for alarm in others for _ in on_times(alarm, life, 0, 15, step=1)]


SCHEDULES = [("rate(30 minutes)", 30, "2"), ("rate(1 hour)", 60, "4"), ("rate(6 hours)", 360, "24"), ("rate(1 day)", DAY, "96")]


# A day may have no three sweeps: docs/operations.md says so.
RARER = [(*it, name) for it in SCHEDULES for name in TOLD if name != "DriftAlarm" or it[1] <= DAY / 3]


@pytest.mark.parametrize("schedule, every, hours, name", RARER)
def test_with_a_rarer_schedule_too_alarms_go_on_and_off_again(render, schedule, every, hours, name):
    stack = render("template.yaml", SweepSchedule=schedule, SweepAlarmHours=hours)
    alarm, begin, end = alarms(stack)[name], 6 * every + DAY, 12 * every + DAY
    window = DAY if name == "DriftAlarm" else int(hours) * HOUR
    life = Life(stack, every=every, days=(end + 3 * window) // DAY + 1, trouble=(begin, end), **TOLD[name])
    on = on_times(alarm, life, window, end + 3 * window, step=every // 3)
    assert on and begin < on[0] <= begin + window + every, "it is on"
    assert on[-1] <= end + window + every, "and off again"
    if name != "NoSweepAlarm":
        assert on == list(range(on[0], on[-1] + 1, every // 3)), "and not off between two sweeps"


# ---- what they have in common ------------------------------------------------------------------------------------------


def test_every_metric_of_an_alarm_is_one_that_there_is(stack, render):
    for alarm in [*alarms(stack).values(), *alarms(participants(render)).values()]:
        for namespace, name, dimensions, _, _ in queries(alarm)[0].values():
            check_metric(namespace, name, dimensions)


def test_every_alarm_says_what_happened_what_of_the_72_hours_and_where_to_read_on(stack, render):
    anchors = {heading.lower() for heading in re.findall(r"^### (\w+)$", (ROOT / "docs" / "runbook.md").read_text(), re.M)}
    for name, alarm in alarms(stack).items():
        text = alarm["AlarmDescription"]
        assert "72 hours" in text and text.endswith(f"What to do: docs/runbook.md#{name.lower()}"), name
        assert name.lower() in anchors and len(text) <= 1024
    for alarm in alarms(participants(render)).values():
        assert "72 hours" in alarm["AlarmDescription"]


def test_no_alarm_looks_back_further_than_cloudwatch_lets_it(render):
    """PutMetricAlarm: a day at most, and seven if a period is an hour or longer."""
    stack = render("template.yaml", SweepAlarmHours="168")
    for alarm in alarms(stack).values():
        length = period(alarm) * int(alarm["EvaluationPeriods"])
        assert length <= (7 * DAY if period(alarm) >= HOUR else DAY)
        assert int(alarm.get("DatapointsToAlarm", 1)) <= int(alarm["EvaluationPeriods"])


def test_every_alarm_tells_whoever_is_to_be_told(stack, render):
    told = [it for it in (stack.parameters["AlarmTopicArn"],) if it]
    told += [stack.arn("AlarmEmailTopic")] if stack.parameters["NotifyEmail"] else []
    for alarm in alarms(stack).values():
        assert alarm.get("AlarmActions", []) == told
    (composite,) = stack.of_type("AWS::CloudWatch::CompositeAlarm").values()
    assert composite.get("AlarmActions", []) == composite.get("OKActions", []) == told
    theirs = participants(render, AlarmTopicArn=stack.parameters["AlarmTopicArn"], NotifyEmail=stack.parameters["NotifyEmail"])
    assert [len(it.get("AlarmActions", [])) for it in alarms(theirs).values()] == [len(told)]


def test_the_one_alarm_over_all_is_over_all_that_there_are(stack):
    (composite,) = stack.of_type("AWS::CloudWatch::CompositeAlarm").values()
    parts = composite["AlarmRule"].split(" OR ")
    assert sorted(parts) == sorted(f'ALARM("{stack._names[name]}")' for name in alarms(stack))
    assert "MWAA endpoints need somebody" in composite["AlarmDescription"]
    assert ("NoSweepAlarm" in alarms(stack)) == ("EstateTooLargeAlarm" in alarms(stack)) == ("SweepRule" in stack.resources)


# ---- topics ------------------------------------------------------------------------------------------------------------


def test_the_topic_of_a_mail_address_is_told_by_this_stacks_alarms_and_by_nobody_else(render, iam):
    for stack in (render("template.yaml", NotifyEmail=MAIL), participants(render, NotifyEmail=MAIL)):
        topic = stack.arn("AlarmEmailTopic")
        (subscription,) = stack.of_type("AWS::SNS::Subscription").values()
        assert subscription == {"TopicArn": topic, "Protocol": "email", "Endpoint": MAIL}
        (policy,) = stack.of_type("AWS::SNS::TopicPolicy").values()
        assert policy["Topics"] == [topic]

        def may_tell(alarm, account=stack.account, service="cloudwatch.amazonaws.com"):
            keys = {"aws:SourceArn": alarm, "aws:SourceAccount": account}
            return iam.allows(policy["PolicyDocument"]["Statement"], "sns:Publish", topic, keys, principal=service)

        for name in [*alarms(stack), *stack.of_type("AWS::CloudWatch::CompositeAlarm")]:
            arn = stack.arn(name)
            assert may_tell(arn)
            assert not may_tell(arn.replace(":alarm:stack-", ":alarm:other-"))
            assert not may_tell(arn, account="333344445555")
            assert not may_tell(arn, service="events.amazonaws.com")


def test_without_a_mail_address_there_is_no_topic(render):
    for stack in (render("template.yaml", AlarmTopicArn=TOPIC), participants(render, AlarmTopicArn=TOPIC)):
        assert not [it for it in stack.resources.values() if it["Type"].startswith("AWS::SNS::")]
    in_owners_account = render("participant.yaml", account=OWNER, OwnerAccountId=OWNER, NotifyEmail=MAIL)
    assert list(in_owners_account.resources) == ["Placeholder"]


def test_a_participants_alarm_tells_of_events_that_were_kept_and_that_were_lost(render):
    stack = participants(render)
    ((_, alarm),) = alarms(stack).items()
    for namespace, name, dimensions in (
        ("AWS/SQS", "NumberOfMessagesSent", {"QueueName": stack._names["UndeliveredEventsQueue"]}),
        ("AWS/Events", "InvocationsFailedToBeSentToDlq", {"RuleName": stack._names["ForwardRule"]}),
    ):
        data = Data()
        data.put(DAY, namespace, name, 1, **dimensions)
        assert on_times(alarm, data, DAY - HOUR, DAY + HOUR, step=1) == list(range(DAY + 1, DAY + 6))
