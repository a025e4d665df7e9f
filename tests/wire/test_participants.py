"""Environments of other accounts in the owner's VPC."""

import pytest
from harness import PARTICIPANT, event

ARN = f"arn:aws:airflow:us-east-1:{PARTICIPANT}:environment/forecasting"


@pytest.fixture
def groups(aws, vpc):
    """The security groups of the participant's environment, in its own account."""
    return [aws.group(vpc.id, f"airflow-{n}", PARTICIPANT) for n in (1, 2)]


@pytest.fixture
def wanted(vpc, groups):
    return event("pending-participant", vpc, groups)


def own_group(aws, vpc):
    """The one group that the function keeps for the environment."""
    tagged = {
        id: group
        for id, group in aws.snapshot(vpc).groups.items()
        if group["tags"].get("mwaa-vpc-endpoints/environment") == ARN
    }
    assert len(tagged) == 1
    return next(iter(tagged.items()))


def rules(group):
    """A group's inbound rules without their descriptions."""
    return {rule[:4] for rule in group["rules"]}


def test_endpoints_carry_a_group_of_the_owner_that_lets_the_participants_groups_in(
    aws, function, vpc, sqs, groups, wanted
):
    answer = function.deliver(wanted)

    assert answer.ok, answer.error
    id, group = own_group(aws, vpc)
    assert PARTICIPANT in group["name"] and "forecasting" in group["name"]
    assert not group["name"].startswith("sg-")
    assert group["tags"]["mwaa-vpc-endpoints/role"] == "security-group"
    assert rules(group) == {
        ("tcp", port, port, f"{PARTICIPANT}/{theirs}") for port in (443, 5432) for theirs in groups
    }
    assert all(description for *_, description in group["rules"])
    endpoints = [it for other, it in aws.snapshot(vpc).endpoints.items() if other != sqs]
    assert len(endpoints) == 2
    assert all(endpoint["groups"] == [id] for endpoint in endpoints)
    done = {(it["kind"], it.get("role")): it["outcome"] for it in answer.value["resources"]}
    assert done["security-group", None] == "created"


def test_a_participants_queue_is_let_through(aws, function, vpc, sqs, wanted):
    assert function.deliver(wanted).ok

    ours = aws.snapshot(vpc).endpoints[sqs]["policy"]["Statement"][1]
    assert ours["Resource"] == [wanted["detail"]["celeryExecutorQueue"]]


def test_a_participants_groups_are_never_put_on_the_owners_endpoints(function, vpc, groups, wanted):
    answer = function.deliver(wanted)

    for call in answer.calls:
        if call.action == "CreateVpcEndpoint":
            sent = {value for key, value in call.parameters.items() if "SecurityGroupId" in key}
            assert sent and not sent & set(groups)


def test_the_rules_are_there_before_the_endpoints(function, vpc, wanted):
    answer = function.deliver(wanted)

    assert answer.changes[0] == "CreateSecurityGroup"
    last_rule = max(
        n for n, it in enumerate(answer.changes) if it == "AuthorizeSecurityGroupIngress"
    )
    assert last_rule < answer.changes.index("CreateVpcEndpoint")


def test_a_public_web_server_needs_no_rule(aws, function, vpc, groups, wanted):
    wanted["detail"]["webserverAccessMode"] = "PUBLIC_ONLY"

    answer = function.deliver(wanted)

    assert answer.ok, answer.error
    _, group = own_group(aws, vpc)
    assert {rule[1] for rule in rules(group)} == {5432}


def test_the_same_event_twice_makes_no_second_group_and_no_second_rule(
    aws, function, vpc, sqs, wanted
):
    assert function.deliver(wanted).ok
    before = aws.snapshot(vpc)

    again = function.deliver(wanted)

    assert again.ok, again.error
    assert again.changes == []
    assert aws.snapshot(vpc) == before
    assert again.value["outcome"] == "unchanged"


def test_a_new_group_of_the_environment_is_let_in_too_and_the_old_one_stays(
    aws, function, vpc, groups, wanted
):
    network = wanted["detail"]["networkConfiguration"]
    network["securityGroupIds"] = groups[:1]
    assert function.deliver(wanted).ok
    network["securityGroupIds"] = groups[1:]

    answer = function.deliver(wanted)

    assert answer.ok, answer.error
    _, group = own_group(aws, vpc)
    assert {rule[3] for rule in rules(group)} == {f"{PARTICIPANT}/{id}" for id in groups}


def test_others_may_reach_the_web_server_where_the_template_says_so(aws, configured, vpc, wanted):
    function = configured(WEBSERVER_SOURCES="10.0.0.0/8,fd00::/8,pl-0123456789abcdef0")

    answer = function.deliver(wanted)

    assert answer.ok, answer.error
    _, group = own_group(aws, vpc)
    others = {rule for rule in rules(group) if not rule[3].startswith(PARTICIPANT)}
    assert others == {
        ("tcp", 443, 443, source) for source in ("10.0.0.0/8", "fd00::/8", "pl-0123456789abcdef0")
    }


def test_a_group_of_that_name_that_is_not_ours_is_an_error_and_stays_as_it_is(
    aws, function, vpc, wanted
):
    assert function.deliver(wanted).ok
    ours, group = own_group(aws, vpc)
    aws.reset()
    vpc = aws.vpc()
    theirs = aws.group(vpc.id, group["name"])
    before = aws.snapshot(vpc)
    participants = [aws.group(vpc.id, f"airflow-{n}", PARTICIPANT) for n in (1, 2)]

    answer = function.deliver(event("pending-participant", vpc, participants))

    assert not answer.ok
    assert group["name"] in answer.error
    assert aws.snapshot(vpc).groups[theirs] == before.groups[theirs]


def test_listed_groups_are_used_for_all_environments(aws, configured, vpc, wanted):
    function = configured(SECURITY_GROUPS=vpc.group)

    answer = function.deliver(wanted)

    assert answer.ok, answer.error
    assert "CreateSecurityGroup" not in answer.actions
    assert {tuple(it["groups"]) for it in aws.snapshot(vpc).endpoints.values()} == {(vpc.group,)}


def test_an_environment_in_somebody_elses_vpc_is_not_ours_and_no_failure(function, vpc, wanted):
    wanted["detail"]["networkConfiguration"]["subnetIds"] = ["subnet-0123456789abcdef0"]

    answer = function.deliver(wanted)

    assert answer.ok, answer.error
    assert answer.value["outcome"] == "ignored"
    assert answer.changes == []


def test_a_participant_that_is_not_listed_is_refused_and_changes_nothing(
    aws, configured, vpc, wanted
):
    function = configured(PARTICIPANT_ACCOUNTS="444455556666")
    before = aws.snapshot(vpc)

    answer = function.deliver(wanted)

    assert answer.changes == []
    assert aws.snapshot(vpc) == before
    assert answer.ok, answer.error
    assert PARTICIPANT in answer.value["reason"]


def test_a_vpc_that_is_not_listed_is_refused_and_stays_as_it_is(aws, configured, vpc):
    function = configured(VPC_IDS="vpc-0123456789abcdef0")
    before = aws.snapshot(vpc)

    answer = function.deliver(event("pending-private", vpc))

    assert answer.changes == []
    assert aws.snapshot(vpc) == before
    assert answer.ok, answer.error
    assert vpc.id in answer.value["reason"]
