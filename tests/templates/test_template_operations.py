"""What tells people that something is wrong: each alarm is raised by what it is for, and goes off again; it names metrics
that there are, and leads into the runbook. The lines of the log are made up here; tests/wire/test_operations.py does the
same with those that the function prints.
"""

import itertools
import json
import re
from pathlib import Path

import pytest
from cloudwatch import DAY, HOUR, NOW, Data, Insights, calculated, is_on, on_times, period, queries

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


def test_an_hour_without_a_sweep_is_a_value_and_no_gap(whole):
    """In the place of a gap CloudWatch would take an older hour, with sweeps."""
    asked, expression = queries(alarms(whole)["NoSweepAlarm"])
    assert calculated(expression, dict.fromkeys(asked)) == 0


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


def test_what_alarms_and_metrics_cost_is_what_the_page_says(render):
    """CloudWatch's price list: an alarm of metric math costs as much as the metrics that it asks for."""
    text = (ROOT / "docs" / "operations.md").read_text().split("\n## What it costs\n")[1]
    stack = render("template.yaml")
    asked = sum(len(queries(alarm)[0]) for alarm in alarms(stack).values())
    assert f"| alarms | {len(alarms(stack))} on {asked} metrics:" in text and f"0.10 each: {asked / 10:.2f} |" in text
    with_a_bus = render("template.yaml", ParticipantAccounts=PARTICIPANT, EventBusName="mwaa")
    assert sum(len(queries(alarm)[0]) for alarm in alarms(with_a_bus).values()) == asked + 2
    of_the_function = [it for it in own_metrics().values() if it == {"FunctionName"}]
    of_a_vpc = [it for it in own_metrics().values() if it == {"FunctionName", "vpc"}]
    assert f"| metrics | {len(of_the_function)}, and {len(of_a_vpc)} for each VPC: 15 with one VPC | 0.30 each: 4.50 |" in text


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


# ---- the dashboard -----------------------------------------------------------------------------------------------------


def dashboard(stack):
    (found,) = stack.of_type("AWS::CloudWatch::Dashboard").values()
    return json.loads(found["DashboardBody"])["widgets"]


def widgets(stack, kind):
    return [it["properties"] for it in dashboard(stack) if it["type"] == kind]


def shown(stack):
    """Every metric of the dashboard: namespace, name, dimensions."""
    for properties in widgets(stack, "metric"):
        for metric in properties["metrics"]:
            if isinstance(metric[0], dict):
                searched = re.fullmatch(
                    r"""SEARCH\('\{(\w+),([\w,]+)\} MetricName="(\w+)" FunctionName="([\w-]+)"', '\w+', \d+\)""",
                    metric[0]["expression"],
                )
                assert searched[4] == stack._names["MwaaVpcEndpointsFunction"]
                yield searched[1], searched[3], searched[2].split(",")
            else:
                namespace, name, *pairs = [it for it in metric if isinstance(it, str)]
                known = {"FunctionName": "AWS::Serverless::Function", "QueueName": "AWS::SQS::Queue", "RuleName": "AWS::Events::Rule"}
                for key, value in zip(pairs[::2], pairs[1::2]):
                    if key in known:
                        assert value in {stack._names[it] for it in stack.of_type(known[key])}, value
                yield namespace, name, pairs[::2]


def test_the_dashboard_shows_every_alarm_and_only_metrics_that_there_are(stack):
    (status,) = widgets(stack, "alarm")
    every = [*alarms(stack), *stack.of_type("AWS::CloudWatch::CompositeAlarm")]
    assert sorted(status["alarms"]) == sorted(stack.arn(name) for name in every)
    for namespace, name, dimensions in shown(stack):
        check_metric(namespace, name, dimensions)
    assert {name for namespace, name, _ in shown(stack) if namespace == OWN} == set(own_metrics())


def test_the_dashboard_shows_every_rule(render):
    stack = render("template.yaml", ParticipantAccounts=PARTICIPANT, EventBusName="mwaa", ResultTopicArn=TOPIC)
    names = [m[m.index("RuleName") + 1] for it in widgets(stack, "metric") for m in it["metrics"] if "RuleName" in m]
    assert sorted(names) == sorted(stack._names[rule] for rule in stack.of_type("AWS::Events::Rule"))


def test_the_dashboards_widgets_stand_beside_each_other_and_are_of_this_region(stack):
    taken = set()
    for it in dashboard(stack):
        squares = {
            (x, y) for x in range(it["x"], it["x"] + it["width"]) for y in range(it["y"], it["y"] + it["height"])
        }
        assert not squares & taken and max(x for x, _ in squares) < 24
        taken |= squares
        assert it["properties"]["title"]
        assert it["type"] == "alarm" or it["properties"]["region"] == stack.region
    first = [it["type"] for it in dashboard(stack) if it["y"] == 0]
    assert first == ["alarm", "log"], "is anything wrong now, and who waits"


def test_the_dashboard_can_be_left_out(render):
    assert not render("template.yaml", Dashboard="off").of_type("AWS::CloudWatch::Dashboard")


# ---- queries -----------------------------------------------------------------------------------------------------------



def line(message, level="INFO", request="r-1", **more):
    return {"timestamp": "2026-03-04T10:00:00Z", "level": level, "requestId": request, "message": message} | more


FORECASTING = "arn:aws:airflow:us-east-1:210987654321:environment/forecasting"
ANALYTICS = "arn:aws:airflow:us-east-1:111122223333:environment/analytics"


def result(environment, outcome, *resources, level="INFO", request="r-1"):
    told = {"environment": environment, "outcome": outcome, "resources": list(resources), "status": "AVAILABLE", "warnings": []}
    return line("result", level, request, result=told)


# As serde writes them: fields in the order of their names.
ADDED = {
    "detail": "added arn:aws:sqs:us-east-1:555555555555:airflow-celery-1 to statement MwaaCeleryQueues of vpce-0ed16bfe16849ef30",
    "id": "vpce-0ed16bfe16849ef30", "kind": "sqs-endpoint", "outcome": "updated",
}  # fmt: skip
KEPT = ADDED | {"detail": "the queue is in statement MwaaCeleryQueues", "outcome": "kept"}
FAILED = {"detail": "making an endpoint: …", "kind": "endpoint", "outcome": "failed", "role": "webserver"}
DELETED = {"detail": "deleted vpce-1: the environment is gone", "id": "vpce-1", "kind": "endpoint", "outcome": "deleted"}


def waiting(environment, waited, request="r-1", level="INFO"):
    return line("waiting", level, request, environment=environment, hoursWaited=waited, hoursLeft=72 - waited)


# With the LogLevel ERROR the lines for machines have that level, or they would be lost.
LINES = [
    (300, waiting(ANALYTICS, 20.0, "r-0")),
    (40, waiting(ANALYTICS, 24.3, "r-0")),
    (28, waiting(FORECASTING, 1.0, "r-1")),
    (28, waiting(ANALYTICS, 24.5, "r-1")),
    (13, waiting(FORECASTING, 1.3, "r-2", level="ERROR")),
    (13, line("metrics", "ERROR", "r-2", FunctionName="stack", SweepsCompleted=1, InvocationsFailed=0)),
    (13, line("sweep", "INFO", "r-2", sweep={"reached": 2, "notReached": 0, "changed": 1, "failed": 0, "warnings": 0, "lasting": 0})),
    (12, result(FORECASTING, "changed", KEPT, ADDED, request="r-2")),
    (11, result(ANALYTICS, "unchanged", KEPT)),
    (10, result(ANALYTICS, "failed", FAILED, level="ERROR", request="r-3")),
    (10, line("metrics", "ERROR", "r-3", environment=ANALYTICS, InvocationsFailed=1)),
    (9, {"timestamp": "t", "level": "ERROR", "message": "making an endpoint: …", "span": {"requestId": "r-3"}}),
    (9, {"time": "t", "type": "platform.report", "record": {"requestId": "r-3", "status": "error"}}),
    (8, {"time": "t", "type": "platform.report", "record": {"requestId": "r-2", "status": "success"}}),
    (7, {"time": "t", "type": "platform.report", "record": {"requestId": "r-4", "status": "timeout"}}),
    (6, result(FORECASTING, "changed", DELETED)),
]  # fmt: skip
EVENTS_OF_THE_LOG = [Insights.event(minutes, it) for minutes, it in LINES]


def saved(stack, name, **put_in):
    (query,) = [it for it in stack.of_type("AWS::Logs::QueryDefinition").values() if it["Name"] == f"stack/{name}"]
    assert query["LogGroupNames"] == ["/aws/lambda/stack"]
    text = query["QueryString"]
    for old, new in put_in.items():
        assert old in text
        text = text.replace(old, new)
    return Insights(text).run(EVENTS_OF_THE_LOG)


def minutes_ago(rows):
    return [(NOW - row["@timestamp"]) // 60_000 for row in rows]


def test_insights_in_small_reads_expressions_as_insights_does():
    event = Insights.event(3, {"a": {"b": "x y"}, "n": 3, "list": [{"c": 1}]})
    for text, wanted in {
        'a.b = "x y" and n >= 3': True, "n < 3": False, "missing < 3": False, 'a.b like "x"': True, "a.b like /^y/": False, 'missing != "x"': True,
        'missing = "x"': False, 'not (a.b = "x")': True, 'n = 3 or (n = 4 and n = 5)': True, "list.0.c = 1": True,
        "toMillis(@timestamp) >= now() * 1000 - 2 * 60000": False, "toMillis(@timestamp) >= now() * 1000 - 180000": True,
    }.items():  # fmt: skip
        assert Insights("")._value(text, event) == wanted, text


def test_the_story_of_one_environment_has_all_its_lines_in_order_and_no_metrics(render):
    rows = saved(render("template.yaml"), "One environment", **{"environment/forecasting": "environment/analytics"})
    assert minutes_ago(rows) == [300, 40, 28, 11, 10]
    assert [row["result.outcome"] for row in rows[-2:]] == ["unchanged", "failed"]
    assert rows[0]["hoursLeft"] == 52


def test_failures_are_those_of_the_function_and_of_its_process_and_no_metrics(render):
    rows = saved(render("template.yaml"), "Failures")
    assert minutes_ago(rows) == [7, 9, 9, 10]
    assert rows[0]["record.status"] == "timeout" and rows[-1]["result.environment"] == ANALYTICS


def test_the_queries_name_what_they_are_asked_for(render):
    stack = render("template.yaml")
    (written,) = saved(stack, "Policies that were written")
    assert written["what"] == ADDED["detail"] and written["result.environment"] == FORECASTING
    (deleted,) = saved(stack, "What was deleted or left over")
    assert deleted["result.environment"] == FORECASTING
    (sweep,) = saved(stack, "Sweeps")
    assert (sweep["requestId"], sweep["sweep.reached"]) == ("r-2", 2)
    assert minutes_ago(saved(stack, "One sweep or event", **{"put-in-the-id": "r-3"})) == [10, 10, 9, 9]
    waits = saved(stack, "Environments that wait")
    assert [(it["environment"], it["hoursLeft"]) for it in waits] == [(ANALYTICS, 47.5), (FORECASTING, 70.7)]


@pytest.mark.parametrize("hours", ["1", "96"])
def test_the_dashboard_tells_who_waits_as_the_last_sweeps_told(render, hours):
    who, _ = [Insights(it["query"]) for it in widgets(render("template.yaml", SweepAlarmHours=hours), "log")]
    rows = who.run(EVENTS_OF_THE_LOG)
    assert [(it["environment"], it["hoursLeft"]) for it in rows] == [(ANALYTICS, 47.5), (FORECASTING, 70.7)], "the most urgent first"
    later = [it | {"@timestamp": it["@timestamp"] - 20 * 60_000} for it in EVENTS_OF_THE_LOG]
    assert len(who.run(later)) == (0 if hours == "1" else 2), "of whom two sweeps have not told waits no more"


def test_the_dashboard_shows_the_failures_that_the_query_finds(render):
    _, failures = [Insights(it["query"]) for it in widgets(render("template.yaml"), "log")]
    assert minutes_ago(failures.run(EVENTS_OF_THE_LOG)) == [7, 9, 9, 10]


def test_every_query_is_saved_under_the_stacks_name(stack):
    names = [it["Name"] for it in stack.of_type("AWS::Logs::QueryDefinition").values()]
    assert len(names) == len(set(names)) == 7 and all(it.startswith("stack/") for it in names)
    documented = (ROOT / "docs" / "operations.md").read_text().split("\n## Queries\n")[1].split("\n## ")[0]
    assert {it.removeprefix("stack/") for it in names} == set(re.findall(r"^\| ([A-Z][^|]+?) \|", documented, re.M))
