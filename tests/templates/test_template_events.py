"""From an environment's event to the function: which events the rules of both templates let through, and how often.

The rules are laid out in moto's server, whose rules deliver to SQS queues with real pattern matching. Where a rule's
target is the function, which moto cannot invoke, a queue takes its place; everything in it is what the function would
have been invoked with.

moto does forward from a rule to an event bus of another account, and one test sees that a participant's rule reaches
exactly the bus that the owner's stack names. But (measured, 5.2.5) it drops `account`, `time` and `resources` on the
way: the event arrives as one of the receiving account's own, where EventBridge leaves the sender's account in it; and
it asks no bus policy. So for what the owner's rules make of a participant's event it is carried by hand: what the
participant's rule delivered to a queue is put, if the rendered bus policy admits it, on a bus with the owner's rules
that is laid out in the participant's account, since moto writes into an event the account it is put in. The id is new
at every step, as it may be in reality, and never compared.
"""

import json
from pathlib import Path

import botocore.session
import pytest
from moto.events.models import EventPattern

OWNER = "111122223333"
PARTICIPANT = "210987654321"
ANOTHER = "333344445555"
ORGANIZATION = "o-abcdefghij"

SAMPLES = {p.stem: json.loads(p.read_text()) for p in sorted((Path(__file__).parents[2] / "events").glob("*.json"))}
# Whole events; the other payloads reach the function by other ways.
EVENTS = [name for name, payload in SAMPLES.items() if "detail" in payload and "dryRun" not in payload]
HANDLED = [name for name in EVENTS if name != "creating"]
FOREIGN = ["malformed/wrong-source", "malformed/wrong-detail-type"]

# A rule's target gets the event as it is; moto (measured, 5.2.5) leaves `account` out unless it is asked for all of it.
WHOLE_EVENT = {"InputTemplate": "<aws.events.event.json>"}

# Every way in which participants can be admitted.
ADMITTED = {
    f"{bus} bus, {how}": {"EventBusName": bus} | parameters
    for bus in ("default", "mwaa")
    for how, parameters in {
        "organization": {"OrganizationId": ORGANIZATION},
        "accounts": {"ParticipantAccounts": f"222233334444,{PARTICIPANT}"},
        "organization and accounts": {"OrganizationId": ORGANIZATION, "ParticipantAccounts": PARTICIPANT},
        "accounts, the owner's among them": {"ParticipantAccounts": f"{OWNER},{PARTICIPANT}"},
    }.items()
}


@pytest.fixture(params=ADMITTED)
def owner(request, render):
    return render("template.yaml", **ADMITTED[request.param])


@pytest.fixture
def alone(render):
    """The owner's stack with the parameters' defaults."""
    return render("template.yaml")


def participants_stack(render, owner, account=PARTICIPANT):
    bus = owner.outputs.get("EventBusArn", "event-bus/default").split("/")[-1]
    return render("participant.yaml", account=account, OwnerAccountId=OWNER, EventBusName=bus)


def event_rules(stack):
    """Those that hear events; the other one has a schedule."""
    return {k: r for k, r in stack.of_type("AWS::Events::Rule").items() if "EventPattern" in r}


def lay_out(moto, stack, account, keep_targets=False):
    """Makes the stack's buses and rules in an account; returns the queue's URL for each rule."""
    client = moto.client("events", account)
    for bus in stack.of_type("AWS::Events::EventBus").values():
        client.create_event_bus(Name=bus["Name"])
    queues = {}
    for name, rule in event_rules(stack).items():
        bus = rule.get("EventBusName", "default")
        rule_name = rule.get("Name", name)
        client.put_rule(Name=rule_name, EventBusName=bus, EventPattern=json.dumps(rule["EventPattern"]))
        queues[name], arn = moto.queue(account, f"instead-of-{name}")
        targets = [{"Id": "queue", "Arn": arn, "InputTransformer": WHOLE_EVENT}]
        if keep_targets:
            targets += [{"Id": t["Id"], "Arn": t["Arn"], "RoleArn": t["RoleArn"]} for t in rule["Targets"]]
        client.put_targets(Rule=rule_name, EventBusName=bus, Targets=targets)
    return queues


def without_id(event):
    return {k: v for k, v in event.items() if k not in ("id", "ingestion-time")}


def invocations(moto, stack, bus, event):
    """What the function of the owner's stack is invoked with when an event arrives on one of the owner's buses."""
    moto.reset()
    queues = lay_out(moto, stack, event["account"])
    if bus != "default" and bus not in [b["Name"] for b in stack.of_type("AWS::Events::EventBus").values()]:
        return []  # no such bus
    moto.put(event["account"], bus, event)
    return [without_id(e) for url in queues.values() for e in moto.drain(event["account"], url)]


def forwarded(moto, stack, event):
    """What a participant's rule sends on, and the ARNs it sends to, when an event is put on the default bus."""
    moto.reset()
    queues = lay_out(moto, stack, stack.account)
    moto.put(stack.account, "default", event)
    sent = [e for url in queues.values() for e in moto.drain(stack.account, url)]
    targets = [t["Arn"] for rule in stack.of_type("AWS::Events::Rule").values() for t in rule["Targets"]]
    return sent, targets


def admitted(iam, owner, bus_arn, event, organization):
    context = {"events:source": [event["source"]], "events:detail-type": [event["detail-type"]]}
    if organization:
        context["aws:PrincipalOrgID"] = organization
    return any(
        iam.allows(p["Statement"], "events:PutEvents", bus_arn, context, principal=event["account"])
        for p in owner.of_type("AWS::Events::EventBusPolicy").values()
    )


def journey(moto, iam, render, owner, event, organization=ORGANIZATION):
    """An event from the default bus of the account where it happens to the owner's function."""
    sent, targets = forwarded(moto, participants_stack(render, owner, event["account"]), event)
    arrived = []
    for e in sent:
        for bus_arn in targets:
            assert bus_arn.rsplit("/", 1)[0] == f"arn:aws:events:us-east-1:{OWNER}:event-bus"
            if admitted(iam, owner, bus_arn, e, organization):
                arrived += invocations(moto, owner, bus_arn.split("/")[-1], e)
    return arrived


# ---- the owner's own environments --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVENTS + FOREIGN)
def test_with_the_defaults_exactly_the_owners_events_that_mean_something_are_handled(moto, alone, event, name):
    e = event(name)
    wanted = name in HANDLED and e["account"] == OWNER
    assert invocations(moto, alone, "default", e) == ([without_id(e)] if wanted else [])


def test_an_owners_environment_is_handled_exactly_once_however_participants_are_admitted(moto, owner, event):
    e = event("pending-private")
    assert invocations(moto, owner, "default", e) == [without_id(e)]


def test_all_rules_hear_exactly_the_statuses_on_which_the_function_acts(moto, render, alone, owner, event, statuses):
    for stack in (alone, owner, participants_stack(render, owner)):
        for rule in event_rules(stack).values():
            assert sorted(rule["EventPattern"]["detail"]["status"]) == sorted(statuses)
    known = botocore.session.get_session().get_service_model("mwaa").shape_for("EnvironmentStatus").enum
    e = event("pending-private")
    queues = lay_out(moto, alone, OWNER)
    for status in [*known, "SOMETHING_NEW"]:
        moto.put(OWNER, "default", e | {"detail": e["detail"] | {"status": status}})
    heard = [h["detail"]["status"] for url in queues.values() for h in moto.drain(OWNER, url)]
    assert set(statuses) < set(known)
    assert sorted(heard) == sorted(statuses)


def test_what_is_replayed_from_an_archive_is_not_heard(render, alone, owner, event):
    """Whoever has an archive of genuine events could flood the function with them."""
    for stack in (alone, owner, participants_stack(render, owner)):
        for rule in event_rules(stack).values():
            pattern = EventPattern.load(json.dumps(rule["EventPattern"]))
            e = event("pending-private") | {"account": rule["EventPattern"].get("account", [OWNER])[0]}
            assert pattern.matches_event(e)
            assert not pattern.matches_event(e | {"replay-name": "flood"})


# ---- the sweep ---------------------------------------------------------------------------------------------------------


def sweep_rules(stack):
    return {k: r for k, r in stack.of_type("AWS::Events::Rule").items() if "ScheduleExpression" in r}


@pytest.mark.parametrize("schedule", ["rate(15 minutes)", "cron(0/30 * * * ? *)"])
def test_the_schedule_asks_for_a_sweep(moto, render, schedule):
    stack = render("template.yaml", SweepSchedule=schedule)
    ((name, rule),) = sweep_rules(stack).items()
    assert rule["ScheduleExpression"] == schedule
    assert "EventPattern" not in rule and "EventBusName" not in rule  # a schedule is possible on the default bus only
    assert [(t["Arn"], t["Input"]) for t in rule["Targets"]] == [(stack.arn("MwaaVpcEndpointsFunction"), '{"sweep": true}')]
    assert stack.arn(name) in [p["SourceArn"] for p in stack.of_type("AWS::Lambda::Permission").values()]


def test_the_sweep_is_on_unless_it_is_turned_off(render, alone):
    assert [r["ScheduleExpression"] for r in sweep_rules(alone).values()] == ["rate(15 minutes)"]
    stack = render("template.yaml", SweepSchedule="off")
    assert not sweep_rules(stack)
    assert list(stack.of_type("AWS::Lambda::Permission")) == ["DefaultBusPermission"]
    assert not sweep_rules(render("participant.yaml", account=PARTICIPANT, OwnerAccountId=OWNER))


# ---- results -----------------------------------------------------------------------------------------------------------

RESULT_TOPIC = f"arn:aws:sns:us-east-1:{OWNER}:results"


def record(stack, result, function=None):
    """What Lambda puts on the default bus when an invocation ended well (developer guide, "Capturing records of Lambda
    asynchronous invocations"; for the event's own fields the page on destinations of the CDK)."""
    function = function or stack.arn("MwaaVpcEndpointsFunction")
    return {
        "version": "0",
        "id": "6b3a4d2c-5e1f-4c0d-9a8b-7c6d5e4f3a2b",
        "detail-type": "Lambda Function Invocation Result - Success",
        "source": "lambda",
        "account": OWNER,
        "time": "2026-03-04T10:15:07Z",
        "region": "us-east-1",
        "resources": [f"{function}:$LATEST", f"arn:aws:events:us-east-1:{OWNER}:event-bus/default"],
        "detail": {
            "version": "1.0",
            "timestamp": "2026-03-04T10:15:06.651Z",
            "requestContext": {
                "requestId": "c2a6f2ae-7dbb-4d22-8782-d0485c9877e2",
                "functionArn": f"{function}:$LATEST",
                "condition": "Success",
                "approximateInvokeCount": 1,
            },
            "requestPayload": {"sweep": True},
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
            "responsePayload": result,
        },
    }


SUMMARY = "made 2 endpoints for forecasting of 210987654321, 40 s after it became PENDING"
CHANGED = {"outcome": "changed", "summary": SUMMARY, "warnings": []}


@pytest.mark.parametrize(
    "result, told",
    [
        (CHANGED | {"environment": "arn:aws:airflow:us-east-1:210987654321:environment/forecasting"}, True),
        (CHANGED | {"environments": [], "reached": 3}, True),  # a sweep's
        (CHANGED | {"dryRun": True}, False),
        (CHANGED | {"dryRun": True, "status": "CREATE_FAILED", "outcome": "unchanged"}, True),  # possible causes
        (CHANGED | {"outcome": "unchanged", "environments": []}, True),  # those of waiting
        ({"outcome": "unchanged", "warnings": []}, False),
        ({"outcome": "unchanged", "dryRun": True, "status": "CREATE_FAILED"}, False),
        ({"outcome": "changed"}, False),
        (None, False),
    ],
)
def test_of_results_those_with_a_sentence_are_told_and_no_plans(render, result, told):
    stack = render("template.yaml", ResultTopicArn=RESULT_TOPIC)
    pattern = EventPattern.load(json.dumps(event_rules(stack)["ResultRule"]["EventPattern"]))
    assert pattern.matches_event(record(stack, result)) == told
    another = f"arn:aws:lambda:us-east-1:{OWNER}:function:another"
    assert not pattern.matches_event(record(stack, result, another))
    assert not pattern.matches_event(record(stack, result) | {"detail-type": "Lambda Function Invocation Result - Failure"})


def test_a_result_starts_nothing_again(render, owner, alone):
    """It is put on the bus on which events of environments are heard."""
    for stack in (alone, owner):
        for rule in event_rules(stack).values():
            assert not EventPattern.load(json.dumps(rule["EventPattern"])).matches_event(record(stack, CHANGED))


def transformed(transformer, event):
    """The text that EventBridge makes: each path's value in the place of its name."""
    text = transformer["InputTemplate"]
    for name, path in transformer["InputPathsMap"].items():
        value = event
        for key in path.removeprefix("$.").split("."):
            value = value[key]
        assert f"<{name}>" in text, f"{name} is not used"
        text = text.replace(f"<{name}>", value)
    assert "<" not in text
    return text


def test_a_person_can_read_what_is_told(render):
    stack = render("template.yaml", ResultTopicArn=RESULT_TOPIC)
    (target,) = event_rules(stack)["ResultRule"]["Targets"]
    assert target["Arn"] == RESULT_TOPIC
    first, second = transformed(target["InputTransformer"], record(stack, CHANGED)).splitlines()
    assert json.loads(first) == SUMMARY  # each line is a string, or EventBridge takes the whole for broken JSON
    assert json.loads(second) == (
        f"At 2026-03-04T10:15:07Z, by {stack.arn('MwaaVpcEndpointsFunction')}:$LATEST, "
        "in its log under c2a6f2ae-7dbb-4d22-8782-d0485c9877e2."
    )


def test_results_reach_the_bus_only_if_somebody_is_told(render, alone, iam):
    bus = f"arn:aws:events:us-east-1:{OWNER}:event-bus/default"
    for stack, told in ((alone, False), (render("template.yaml", ResultTopicArn=RESULT_TOPIC), True)):
        (config,) = stack.of_type("AWS::Lambda::EventInvokeConfig").values()
        assert config["DestinationConfig"].get("OnSuccess") == ({"Destination": bus} if told else None)
        statements = [s for _, _, document in stack.identity_policies() for s in document["Statement"]]
        assert iam.allows(statements, "events:PutEvents", bus, {}) == told
        assert not iam.allows(statements, "events:PutEvents", bus.replace("default", "mwaa"), {})
        assert ("ResultRule" in stack.resources) == told


# ---- participants' environments ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVENTS + FOREIGN)
def test_a_participant_sends_exactly_its_events_that_mean_something(moto, render, owner, event, name):
    e = event(name) | {"account": PARTICIPANT}
    sent, _ = forwarded(moto, participants_stack(render, owner), e)
    assert [without_id(s) for s in sent] == ([without_id(e)] if name in HANDLED else [])


@pytest.mark.parametrize("name", EVENTS + FOREIGN)
def test_a_participants_event_is_handled_exactly_once_if_it_means_something(moto, iam, render, owner, event, name):
    e = event(name) | {"account": PARTICIPANT}
    assert journey(moto, iam, render, owner, e) == ([without_id(e)] if name in HANDLED else [])


def test_other_accounts_are_heard_only_if_admitted(moto, iam, render, owner, event):
    e = event("pending-participant") | {"account": ANOTHER}
    listed = owner.parameters["ParticipantAccounts"] != ""
    assert len(journey(moto, iam, render, owner, e)) == (0 if listed else 1)
    assert journey(moto, iam, render, owner, e, organization="o-zzzzzzzzzz") == []
    assert journey(moto, iam, render, owner, e, organization=None) == []


def test_the_rule_itself_stops_accounts_that_are_not_listed(moto, owner, event):
    """Even if somebody else's statement in the policy of the bus admits them."""
    e = event("pending-participant") | {"account": ANOTHER}
    listed = owner.parameters["ParticipantAccounts"] != ""
    bus = owner.parameters["EventBusName"]
    assert len(invocations(moto, owner, bus, e)) == (0 if listed else 1)


def test_with_the_defaults_no_participant_is_heard(moto, iam, render, alone, event):
    e = event("pending-participant")
    assert journey(moto, iam, render, alone, e) == []
    assert invocations(moto, alone, "default", e) == []


def test_a_participants_rule_reaches_the_owners_bus_in_the_other_account(moto, render, owner, event):
    """moto's own forwarding from account to account: the bus is found under the ARN that the participant's rule names,
    and what arrives is the participant's event, but for the fields that moto drops."""
    client = moto.client("events", OWNER)
    lay_out(moto, owner, OWNER)
    bus = owner.parameters["EventBusName"]
    client.put_rule(Name="everything", EventBusName=bus, EventPattern='{"source": [{"exists": true}]}')
    url, arn = moto.queue(OWNER, "everything")
    client.put_targets(Rule="everything", EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])
    lay_out(moto, participants_stack(render, owner), PARTICIPANT, keep_targets=True)

    for name in EVENTS + FOREIGN:
        e = event(name)
        moto.put(PARTICIPANT, "default", e)
        arrived = moto.drain(OWNER, url)
        kept = [{k: a[k] for k in ("source", "detail-type", "region", "detail")} for a in arrived]
        wanted = {k: e[k] for k in ("source", "detail-type", "region", "detail")}
        assert kept == ([wanted] if name in HANDLED else []), name


# ---- what is laid out --------------------------------------------------------------------------------------------------


def test_in_the_owners_account_the_participants_template_makes_nothing(render):
    stack = render("participant.yaml", account=OWNER, OwnerAccountId=OWNER, ReaderRole="yes")
    assert stack.resources == {"Placeholder": {"Type": "AWS::CloudFormation::WaitConditionHandle", "Properties": {}}}
    assert stack.outputs == {}


def test_nothing_of_the_participants_stack_has_a_name_that_is_taken_in_another_region(render):
    stack = render("participant.yaml", account=PARTICIPANT, OwnerAccountId=OWNER, ReaderRole="yes")
    roles = {name: role.get("RoleName") for name, role in stack.of_type("AWS::IAM::Role").items()}
    assert roles == {"ForwardRole": None, "ReaderRoleForOwner": "mwaa-vpc-endpoints-reader-us-east-1"}
    named = {k: p["Name"] for k, p in ((k, r["Properties"]) for k, r in stack.resources.items()) if "Name" in p}
    assert named == {"ForwardRule": f"mwaa-vpc-endpoints-{OWNER}"}  # rule names are regional


def test_with_the_defaults_nothing_is_opened_to_other_accounts(render, alone):
    assert not alone.of_type("AWS::Events::EventBus")
    assert not alone.of_type("AWS::Events::EventBusPolicy")
    assert list(alone.of_type("AWS::Events::Rule")) == ["DefaultBusRule", "SweepRule"]
    assert "ReaderRoleForOwner" not in render("participant.yaml", account=PARTICIPANT, OwnerAccountId=OWNER).resources
    assert "EventBusArn" not in alone.outputs


def test_the_output_names_the_bus_that_the_participants_stack_sends_to(render, owner):
    (rule,) = participants_stack(render, owner).of_type("AWS::Events::Rule").values()
    assert [t["Arn"] for t in rule["Targets"]] == [owner.outputs["EventBusArn"]]


def test_nothing_crosses_a_second_bus(owner):
    """EventBridge would not deliver it: each of the owner's rules hands over to the function itself."""
    for rule in owner.of_type("AWS::Events::Rule").values():
        assert [t["Arn"] for t in rule["Targets"]] == [owner.arn("MwaaVpcEndpointsFunction")]


def test_each_rule_may_invoke_the_function_and_keeps_what_it_cannot_deliver(render, owner):
    rules = owner.of_type("AWS::Events::Rule")
    permitted = [p["SourceArn"] for p in owner.of_type("AWS::Lambda::Permission").values()]
    assert sorted(permitted) == sorted(owner.arn(name) for name in rules)
    for stack in (owner, participants_stack(render, owner)):
        for rule in stack.of_type("AWS::Events::Rule").values():
            for target in rule["Targets"]:
                assert target["DeadLetterConfig"] == {"Arn": stack.arn("UndeliveredEventsQueue")}


def test_queues_are_encrypted_and_keep_messages_as_long_as_they_can(render, owner):
    for stack in (owner, participants_stack(render, owner)):
        queues = stack.of_type("AWS::SQS::Queue")
        assert queues
        for queue in queues.values():
            assert queue == {"SqsManagedSseEnabled": True, "MessageRetentionPeriod": 14 * 24 * 3600}
