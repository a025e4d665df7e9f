"""Events that are not as they should be, and VPCs that are not there."""

import json

import pytest
from harness import ROOT, event, sample

MALFORMED = ROOT / "events" / "malformed"

# Sample by sample, the field that the error names.
REFUSED = {
    "wrong-source": "source",
    "wrong-detail-type": "detail-type",
    "no-account": "account",
    "bad-account": "account",
    "no-region": "region",
    "bad-region": "region",
    "no-name": "detail.name",
    "bad-name": "detail.name",
    "no-subnets": "detail.networkConfiguration.subnetIds",
    "subnets-not-a-list": "detail.networkConfiguration.subnetIds",
    "bad-subnet": "detail.networkConfiguration.subnetIds[",
    "no-groups": "detail.networkConfiguration.securityGroupIds",
    "bad-group": "detail.networkConfiguration.securityGroupIds[",
    "no-database-service": "detail.databaseVpcEndpointService",
    "bad-database-service": "detail.databaseVpcEndpointService",
}

# Sample by sample, the field that the error names, and what is made although it is wrong.
LEFT_OUT = {
    "missing-queue": ("detail.celeryExecutorQueue", {"database", "webserver"}),
    "bad-queue": ("detail.celeryExecutorQueue", {"database", "webserver"}),
    "wrong-region-queue": ("detail.celeryExecutorQueue", {"database", "webserver"}),
    "missing-webserver-service": ("detail.webserverVpcEndpointService", {"database"}),
    "bad-webserver-service": ("detail.webserverVpcEndpointService", {"database"}),
}


def test_every_malformed_sample_is_tested():
    samples = {file.stem for file in MALFORMED.glob("*.json")}
    assert samples == {*REFUSED, *LEFT_OUT}


@pytest.mark.parametrize("name", REFUSED)
def test_a_malformed_event_is_refused_by_the_name_of_its_field_before_any_call(function, aws, name):
    answer = function.deliver(sample(f"malformed/{name}"))

    assert not answer.ok
    assert REFUSED[name] in answer.error
    assert answer.calls == []


@pytest.mark.parametrize(
    "payload",
    [
        (MALFORMED / "not-json.txt").read_bytes(),
        b"",
        b"null",
        b"[]",
        b"{}",
        b'"PENDING"',
        b"\xff\xfe",
    ],
    ids=["cut_off", "empty", "null", "list", "empty_object", "string", "not_utf8"],
)
def test_what_is_no_event_at_all_is_refused_before_any_call(function, aws, vpc, payload):
    answer = function.deliver(payload)

    assert not answer.ok and answer.error
    assert answer.calls == []
    assert function.deliver(event("pending-public", vpc)).ok, "and the function lives on"


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_an_event_leaves_out_does_not_stop_the_rest(aws, function, vpc, sqs, name):
    field, made = LEFT_OUT[name]
    broken = event(f"malformed/{name}", vpc)

    answer = function.deliver(broken)

    assert not answer.ok
    assert field in answer.error
    endpoints = aws.snapshot(vpc).endpoints
    roles = {it["tags"].get("mwaa-vpc-endpoints/role") for it in endpoints.values()} - {None}
    assert roles == made
    queue = sample("pending-private")["detail"]["celeryExecutorQueue"]
    let_through = "celeryExecutorQueue" not in field
    assert (queue in json.dumps(endpoints[sqs]["policy"])) == let_through


def test_what_was_left_out_is_made_when_the_event_comes_complete(aws, function, vpc, sqs):
    assert not function.deliver(event("malformed/missing-queue", vpc)).ok

    answer = function.deliver(event("pending-private", vpc))

    assert answer.ok, answer.error
    assert len(aws.snapshot(vpc).endpoints) == 3
    assert "CreateVpcEndpoint" not in answer.actions


def test_no_wildcard_of_an_event_reaches_a_policy(aws, function, vpc, sqs):
    before = aws.snapshot(vpc).endpoints[sqs]

    function.deliver(
        event("pending-private", vpc, celeryExecutorQueue="arn:aws:sqs:us-east-1:5555*:*")
    )

    assert aws.snapshot(vpc).endpoints[sqs] == before


def test_unknown_subnets_are_an_error_that_names_them(aws, function, vpc):
    vpc.subnets = [vpc.subnets[0], "subnet-0123456789abcdef0"]

    answer = function.deliver(event("pending-private", vpc))

    assert not answer.ok
    assert "subnet-0123456789abcdef0" in answer.error
    assert answer.changes == []


def test_subnets_in_two_vpcs_are_an_error_that_names_them(aws, function, vpc):
    other = aws.vpc("10.193")
    vpc.subnets = [vpc.subnets[0], other.subnets[1]]

    answer = function.deliver(event("pending-private", vpc))

    assert not answer.ok
    assert all(id in answer.error for id in (vpc.id, other.id, *vpc.subnets))
    assert answer.changes == []


def test_somebody_elses_subnets_are_an_error_that_names_the_account_to_deploy_in(
    aws, configured, vpc
):
    function = configured(account="444455556666")

    answer = function.deliver(event("pending-private", vpc))

    assert not answer.ok
    assert "111122223333" in answer.error
    assert answer.changes == []


def test_without_an_arn_the_function_does_without_its_account(aws, configured, vpc, sqs):
    function = configured(account=None)

    answer = function.deliver(event("pending-private", vpc))

    assert answer.ok, answer.error
    assert len(aws.snapshot(vpc).endpoints) == 3


def test_a_wrong_parameter_is_an_error_that_names_it_and_makes_no_call(configured, vpc):
    function = configured(SECURITY_GROUPS="auto,sg-0123456789abcdef0")

    answer = function.deliver(event("pending-private", vpc))

    assert "SECURITY_GROUPS" in answer.error
    assert answer.calls == []


def test_an_event_of_another_region_is_refused_before_any_call(function, vpc):
    elsewhere = event("pending-public", vpc)
    elsewhere["region"] = "eu-west-1"
    service = elsewhere["detail"]["databaseVpcEndpointService"]
    elsewhere["detail"]["databaseVpcEndpointService"] = service.replace("us-east-1", "eu-west-1")

    answer = function.deliver(elsewhere)

    assert "eu-west-1" in answer.error and "us-east-1" in answer.error
    assert answer.calls == []
