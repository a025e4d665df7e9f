"""Both templates, resolved for every combination of the parameters on which their shape depends: nothing dangles, nothing
is empty, and everything fits AWS's limits.

What one resource looks like depends on few of the parameters. So each resource is seen under every combination of those
that it depends on, while the others have their longest values; all of them at once would be tens of thousands of stacks.
"""

import itertools
import json
import re

import pytest

OWNER, PARTICIPANT = "111122223333", "210987654321"


def many(form, count):
    return ",".join(form.format(n) for n in range(count))


# Each value that a condition of the template tells from others, the longest that the parameter takes among them.
VALUES = {
    "template.yaml": {
        "OrganizationId": ["", "o-0123456789abcdefghijklmnopqrstuv"],
        "ParticipantAccounts": ["", many("{:012d}", 100)],
        "EventBusName": ["default", "x" * 256],
        "VpcIds": ["", many("vpc-{:017x}", 20)],
        "ReaderRole": ["no", "yes"],
        "SecurityGroups": ["auto", many("sg-{:017x}", 16)],
        "SqsEndpointArns": ["", many("arn:aws-us-gov:ec2:us-gov-west-1:111122223333:vpc-endpoint/vpce-{:017x}", 20)],
        "Deletion": ["on", "off"],
        "Diagnosis": ["off", "on"],
        "SweepSchedule": ["rate(15 minutes)", "off"],
        "ReservedConcurrency": ["1", "none"],
        "AlarmTopicArn": ["", "arn:aws-us-gov:sns:us-gov-west-1:111122223333:" + "x" * 256],
        "NotifyEmail": ["", "network@example.com"],
        "ResultTopicArn": ["", "arn:aws-us-gov:sns:us-gov-west-1:111122223333:" + "y" * 256],
        "SweepAlarmHours": ["1", "2", "168"],
        "Dashboard": ["off", "on"],
    },
    "participant.yaml": {
        "OwnerAccountId": [OWNER, PARTICIPANT],
        "EventBusName": ["default", "x" * 256],
        "ReaderRole": ["no", "yes"],
        "AlarmTopicArn": ["", "arn:aws-us-gov:sns:us-gov-west-1:111122223333:" + "x" * 256],
        "NotifyEmail": ["", "network@example.com"],
    },
}
LONGEST_PARTITION = "aws-us-gov"


def parameters_of_conditions(template):
    text = json.dumps(template["Conditions"])
    return {name for name in template["Parameters"] if f'"Ref": "{name}"' in text}


def named(value):
    """The conditions that a part of a template asks, and what else it names."""
    if isinstance(value, list):
        for it in value:
            yield from named(it)
    elif isinstance(value, dict):
        for key, it in value.items():
            if key == "Condition" and isinstance(it, str):
                yield "condition", it
            elif key == "Fn::If":
                yield "condition", it[0]
                yield from named(it[1:])
            elif key in ("Ref", "Fn::GetAtt"):
                yield "name", it if key == "Ref" else it[0]
            else:
                yield from named(it)
    elif isinstance(value, str):
        for name in re.findall(r"\$\{([^!}.]+)", value):
            yield "name", name


def depends_on(template, part):
    """The parameters on which it depends what a part of a template looks like, and whether all that it names is there."""
    found = set()
    for kind, name in named(part):
        if kind == "name" and name in template["Resources"]:
            there = template["Resources"][name].get("Condition")
            found |= depends_on(template, {"Condition": there}) if there else set()
        elif kind == "name" and name in template["Parameters"] and part in template["Conditions"].values():
            found.add(name)
        elif kind == "condition":
            found |= depends_on(template, template["Conditions"][name])
    return found


def combinations(template, values):
    """Values of all parameters, so that each resource is seen under all combinations of those that it depends on."""
    parts = [*template["Resources"].values(), *template["Outputs"].values()]
    groups = {frozenset(depends_on(template, part)) for part in parts}
    longest = {name: each[-1] for name, each in values.items()}
    for group in groups:
        if not any(group < other for other in groups):
            for chosen in itertools.product(*(values[name] for name in sorted(group))):
                yield longest | dict(zip(sorted(group), chosen))


def size(document):
    """As IAM counts: without white space."""
    return len(json.dumps(document, separators=(",", ":")))


def is_json(text):
    try:
        return bool(json.loads(text))
    except ValueError:
        return False


def empty(value, path=()):
    """Where there is a list, an object or a text with nothing in it."""
    if value in ("", [], {}):
        yield path
    elif isinstance(value, dict | list):
        for key, below in value.items() if isinstance(value, dict) else enumerate(value):
            yield from empty(below, (*path, key))


# Settings of the function that mean "none" when empty.
MAY_BE_EMPTY = ("Environment", "Variables")


def problems(stack):
    for name, resource in stack.resources.items():
        properties = resource["Properties"]
        for path in empty(properties, (name,)):
            if path[1:3] != MAY_BE_EMPTY and resource["Type"] != "AWS::CloudFormation::WaitConditionHandle":
                yield f"nothing in {path}"
        # IAM user guide, "IAM and AWS STS quotas": 10,240 characters of inline policies in a role, 6,144 of a managed one,
        # 2,048 of a trust policy.
        if resource["Type"] == "AWS::IAM::Role":
            inline = sum(size(policy["PolicyDocument"]) for policy in properties.get("Policies", []))
            if inline > 10_240 or size(properties["AssumeRolePolicyDocument"]) > 2_048:
                yield f"{name} has {inline} characters of policies"
        if resource["Type"] == "AWS::IAM::ManagedPolicy" and size(properties["PolicyDocument"]) > 6_144:
            yield f"{name} is too long"
        if resource["Type"] == "AWS::CloudWatch::Dashboard" and not is_json(properties["DashboardBody"]):
            yield f"{name} is no JSON"
        # PutCompositeAlarm: 10,240 characters of a rule.
        if resource["Type"] == "AWS::CloudWatch::CompositeAlarm" and len(properties["AlarmRule"]) > 10_240:
            yield f"{name} is too long"
        # EventBridge user guide, "Quotas": 2,048 characters of an event pattern, 10,240 of a bus's policy.
        if resource["Type"] == "AWS::Events::Rule" and size(properties.get("EventPattern", {})) > 2_048:
            yield f"the pattern of {name} has {size(properties['EventPattern'])} characters"
        if resource["Type"] == "AWS::Events::EventBusPolicy" and size(properties["Statement"]) > 10_240:
            yield f"{name} is too long"


@pytest.mark.parametrize("name", VALUES)
def test_every_combination_of_parameters_makes_a_stack(templates, render, name):
    values = VALUES[name]
    assert set(values) >= parameters_of_conditions(templates[name])
    account = OWNER if name == "template.yaml" else PARTICIPANT
    found = set()
    for combination in combinations(templates[name], values):
        stack = render(name, account=account, partition=LONGEST_PARTITION, **combination)
        found |= set(problems(stack))
    assert not found


def test_a_resource_depends_on_what_it_asks_and_on_what_it_names(templates):
    template = templates["template.yaml"]
    parts = template["Resources"]
    assert depends_on(template, parts["SweepRule"]) == {"SweepSchedule"}
    assert depends_on(template, parts["UndeliveredEventsQueuePolicy"]) == {
        "OrganizationId", "ParticipantAccounts", "EventBusName", "SweepSchedule",
    }  # fmt: skip
    assert depends_on(template, parts["AlarmEmailTopicPolicy"]) == {"NotifyEmail"}
    groups = [depends_on(template, part) for part in [*parts.values(), *template["Outputs"].values()]]
    assert set().union(*groups) == parameters_of_conditions(template)
