"""Shows the function at work, for people: demo.py BINARY

Lays out a private VPC in an emulated AWS, delivers the events of two environments that wait for
their endpoints, and shows the VPC before and after; then one of them is deleted. Last come the metrics of all that. Ends with an error
if the function fails, if a second delivery of an event changes anything, or if the deletion leaves
anything behind.
"""

import datetime
import difflib
import json
import pathlib
import signal
import sys
import textwrap
from dataclasses import dataclass

signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C leaves no traceback while moto is loading
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "emulator"))

from harness import (  # noqa: E402
    OWNER,
    PARTICIPANT,
    Aws,
    Lambda,
    blog_policy,
    end_on_signals,
    event,
    later,
)
from show import (  # noqa: E402
    ROLES,
    WIDTH,
    bold,
    fact,
    fail,
    mark,
    paint,
    paragraph,
    section,
    show_result,
    shortened,
)


@dataclass
class Scenario:
    """An event, and what to say about it."""

    title: str
    story: str
    event: dict


def owner(aws, vpc):
    return Scenario(
        "An environment of the account that owns the VPC",
        "MWAA has set up its side of the environment, and waits for the endpoints in the VPC.",
        event("pending-private", vpc),
    )


def participant(aws, vpc):
    groups = [aws.group(vpc.id, f"airflow-{n}", PARTICIPANT) for n in (1, 2)]
    return Scenario(
        "An environment of a participant, in the same shared VPC",
        f"Account {PARTICIPANT} may use the VPC's subnets, but its security groups cannot be put "
        "on the owner's endpoints. So the function keeps a group there that lets them in.",
        event("pending-participant", vpc, groups),
    )


SCENARIOS = [owner, participant]


def main(binary):
    print(bold("Amazon MWAA waits for VPC endpoints, and this function makes them."))
    print("Here runs the binary that is deployed, under cargo lambda; the AWS it talks to is moto.")
    with Aws() as aws, Lambda(aws, binary) as function:
        aws.reset()
        vpc = aws.vpc()
        aws.endpoint(vpc, policy=blog_policy(), Name="sqs")
        aws.mwaa.admit(OWNER)
        for number, scenario in enumerate(SCENARIOS, 1):
            scenario = scenario(aws, vpc)
            scenario.event["time"] = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}"
            aws.mwaa.put(scenario.event)
            before = aws.snapshot(vpc)
            show(number, scenario, aws, function, vpc, before)
        show_end(number + 1, scenario.event, aws, function, vpc, before)
    show_metrics()
    print(f"\n{paint('green', 'All as promised.')} Nothing is left running.")


def show(number, scenario, aws, function, vpc, before):
    """An environment that waits for its endpoints, in a VPC that was so before."""
    title(number, scenario.title)
    paragraph(scenario.story)
    section("The VPC before")
    show_vpc(aws, vpc, before)
    section("The event")
    show_event(scenario.event)

    deliver(function, scenario.event)

    after = aws.snapshot(vpc)
    section("The VPC after")
    show_changes(before, after)

    again = hand_over(function, scenario.event)
    section("The same event, delivered again", effort(again))
    if not again.ok:
        fail(f"The function failed: {again.error}")
    if aws.snapshot(vpc) != after or again.changes:
        fail(f"It changed the VPC: {', '.join(again.changes)}")
    mark("=", "Nothing changed: it looked, and found all as it should be.")


def show_end(number, event, aws, function, vpc, before):
    """The end of an environment, in a VPC that was so before the environment's beginning."""
    title(number, "The participant deletes its environment")
    paragraph(
        "MWAA deletes none of the endpoints that were made for it: they would go on costing money, "
        "and the group's rules would keep the participant from deleting its own groups."
    )
    deliver(function, later(event, "DELETED", hours=1 / 60))

    section("The VPC after")
    if aws.snapshot(vpc).alive != before:
        fail("It is not as it was before the environment came.")
    mark("=", "It is as it was before the environment came: nothing is left, nothing else was hit.")


def title(number, text):
    print(f"\n{bold(f'{number}. {text}')}\n{paint('dim', '─' * WIDTH)}")


def deliver(function, event):
    answer = hand_over(function, event)
    section("What the function did", effort(answer))
    if not answer.ok:
        fail(f"The function failed: {answer.error}")
    show_result(answer.value)


# What CloudWatch gets to see: {name: (unit, values)}
METRICS = {}


def hand_over(function, event):
    answer = function.deliver(event)
    for line in answer.log.splitlines():
        for directive in json.loads(line).get("_aws", {}).get("CloudWatchMetrics", []):
            for metric in directive["Metrics"]:
                unit, values = METRICS.setdefault(metric["Name"], (metric["Unit"], []))
                values.append(json.loads(line)[metric["Name"]])
    return answer


def show_metrics():
    section("The metrics of all that", "docs/operations.md")
    for name, (unit, values) in METRICS.items():
        text = f"{sum(values)}" if unit == "Count" else f"{max(values)} {unit.lower()} at most"
        mark(" ", f"{name:<22} {text}")


# The parts -----------------------------------------------------------------------------------


def show_vpc(aws, vpc, snapshot):
    mark(" ", f"{vpc.id}, owned by {OWNER}")
    for subnet in aws.ec2.describe_subnets(SubnetIds=vpc.subnets)["Subnets"]:
        place = f"{subnet['CidrBlock']} in {subnet['AvailabilityZone']}"
        mark(" ", f"  {subnet['SubnetId']:<26}private subnet, {place}")
    for id, group in snapshot.groups.items():
        if group["name"] != "default":
            mark(" ", f"  {id:<26}security group {group['name']}")
    for id, endpoint in by_name(snapshot.endpoints):
        service = endpoint["service"].removeprefix("com.amazonaws.us-east-1.")
        name = endpoint["tags"].get("Name", "")
        what = f"endpoint {name}" if ".vpce-svc-" in service else f"endpoint to {service}"
        mark(" ", f"  {id:<26}{what}{queues_through(endpoint)}")


def queues_through(endpoint):
    if not endpoint["service"].endswith(".sqs"):
        return ""
    number = sum(len(listed(it.get("Resource", []))) for it in endpoint["policy"]["Statement"])
    return f", whose policy lets {number or 'no'} queue{'s' if number > 1 else ''} through"


def show_event(event):
    detail = event["detail"]
    fact("status", f"{detail['status']} since {event['time']}")
    fact("environment", f"{detail['name']} of account {event['account']}")
    for role, name in ROLES.items():
        if service := detail.get(f"{role}VpcEndpointService"):
            mode = f"  ({detail['webserverAccessMode']})" if role == "webserver" else ""
            fact(name, service + mode)
    fact("queue", detail["celeryExecutorQueue"])
    fact("subnets", ", ".join(detail["networkConfiguration"]["subnetIds"]))
    fact("groups", ", ".join(detail["networkConfiguration"]["securityGroupIds"]))


def show_changes(before, after):
    for id, group in after.groups.items():
        old = before.groups.get(id)
        if old != group:
            mark("~" if old else "+", bold(f"{id}  security group {group['name']}"))
            show_lines(group_lines(old) if old else [], group_lines(group))
    for id, endpoint in sorted(by_name(after.endpoints), key=lambda it: it[0] in before.endpoints):
        old = before.endpoints.get(id)
        if old != endpoint:
            name = endpoint["tags"].get("Name", "")
            mark("~" if old else "+", bold(f"{id}  endpoint {name}, {endpoint['state']}"))
            show_lines(endpoint_lines(old) if old else [], endpoint_lines(endpoint))


def by_name(endpoints):
    return sorted(endpoints.items(), key=lambda it: it[1]["tags"].get("Name", ""))


def group_lines(group):
    for protocol, low, _, source, description in group["rules"]:
        yield f"{'inbound':<9}{protocol} {low} from {source}"
        yield f"{'':<9}  {description}"
    yield from tag_lines(group["tags"])


def endpoint_lines(endpoint):
    yield f"{'to':<9}{endpoint['service']}"
    yield f"{'in':<9}{', '.join(endpoint['subnets'])}"
    yield f"{'groups':<9}{', '.join(endpoint['groups'])}"
    if endpoint["service"].endswith(".sqs"):
        for statement in endpoint["policy"]["Statement"]:
            yield from statement_lines(statement)
    else:
        yield from tag_lines(endpoint["tags"])


def tag_lines(tags):
    for label, (key, value) in zip(["tags", *[""] * len(tags)], sorted(tags.items())):
        yield f"{label:<9}{key} = {value}"


def statement_lines(statement):
    """A statement of a policy: on one line if it is short, otherwise one line per resource."""
    rest = {key: ", ".join(listed(value)) or "none" for key, value in statement.items()}
    text = "  ".join(f"{key}: {value}" for key, value in rest.items())
    if len(text) < WIDTH - 15:
        yield f"{'policy':<9}{text}"
        return
    rest.pop("Resource")
    actions = rest.pop("Action")
    yield f"{'policy':<9}" + "  ".join(f"{key}: {value}" for key, value in rest.items())
    for line in textwrap.wrap(f"Action: {actions}", WIDTH - 15, subsequent_indent=" " * 8):
        yield f"{'':<9}{line}"
    yield f"{'':<9}Resource:"
    for resource in listed(statement["Resource"]):
        yield f"    {resource}"


def show_lines(old, new):
    """The lines of a new resource, or those of a changed one with what was added and removed."""
    old, new = list(old), list(new)
    for line in difflib.ndiff(old, new) if old else [f"  {line}" for line in new]:
        sign, text = line[0], shortened(line[2:], WIDTH - 6)
        if sign != "?":
            mark(sign, f"  {paint('dim' if old and sign == ' ' else None, text)}")


def listed(value):
    return [value] if isinstance(value, str) else value


def effort(answer):
    looked = len(answer.calls) - len(answer.changes)
    calls = f"{looked} calls to look, {len(answer.changes) or 'none'} to change"
    return f"{calls}, {answer.seconds * 1000:.0f} ms"


if __name__ == "__main__":
    end_on_signals()
    try:
        main(*sys.argv[1:])
    except RuntimeError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        print()
        sys.exit(130)
