"""The environment's Celery queue in the policies of the VPC's SQS endpoints."""

import json
import pathlib
import tomllib

import pytest
from harness import OWNER, QUEUE_ACTIONS, SQS, blog_policy, event, sample

QUEUE = sample("pending-private")["detail"]["celeryExecutorQueue"]
OURS = {
    "Sid": "MwaaCeleryQueues",
    "Effect": "Allow",
    "Principal": "*",
    "Action": QUEUE_ACTIONS,
    "Resource": [QUEUE],
}
SQS_FIPS = "com.amazonaws.us-east-1.sqs-fips"


def allow(**fields):
    return {"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": "*", **fields}


def without_resource(**fields):
    return {key: value for key, value in allow(**fields).items() if key != "Resource"}


def deny(**fields):
    return allow(Effect="Deny", **fields)


def policy(*statements):
    return {"Version": "2012-10-17", "Statement": list(statements)}


def sqs_result(answer):
    """What the result says on the VPC's only SQS endpoint."""
    (found,) = [it for it in answer.value["resources"] if it["kind"] == "sqs-endpoint"]
    return found


@pytest.fixture
def deliver(aws, function, vpc):
    """Delivers the event to a VPC whose SQS endpoint has a policy; gives what comes of both."""

    def deliver(policy, function=function):
        endpoint = aws.endpoint(vpc, policy=policy)
        answer = function.deliver(event("pending-private", vpc))
        assert answer.ok, answer.error
        return answer, aws.snapshot(vpc).endpoints[endpoint]["policy"]

    return deliver


def test_the_queue_gets_a_statement_of_its_own_and_no_other_is_touched(deliver):
    answer, after = deliver(blog_policy())

    assert after == {"Statement": [*blog_policy()["Statement"], OURS]}
    assert sqs_result(answer)["outcome"] == "updated"


def test_what_is_unknown_in_a_policy_survives(deliver):
    before = {
        "Id": "corporate",
        "Version": "2008-10-17",
        "Statement": [
            allow(Resource="arn:aws:sqs:us-east-1:444455556666:orders", Sid="orders"),
            deny(Action="s3:*", NewField={"b": 1.50, "a": [None, True]}),
        ],
    }

    _, after = deliver(before)

    assert after == {**before, "Statement": [*before["Statement"], OURS]}


@pytest.mark.parametrize(
    "statements",
    [
        pytest.param([allow()], id="everything"),
        pytest.param([allow(Action="*")], id="any_action"),
        pytest.param([allow(Principal={"AWS": "*"})], id="every_principal_of_aws"),
        pytest.param([allow(Resource=[QUEUE])], id="the_queue"),
        pytest.param(
            [allow(Resource="arn:aws:sqs:*:*:airflow-celery-*")], id="a_pattern_that_covers"
        ),
        pytest.param(
            [allow(Action=QUEUE_ACTIONS[:3]), allow(Action=QUEUE_ACTIONS[3:])], id="two_together"
        ),
        pytest.param(
            [allow(Action=["SQS:send*", "sqs:Re*", "sqs:D*", "sqs:Ge*", "sqs:?hange*"])], id="case"
        ),
        pytest.param(
            [without_resource(NotResource="arn:aws:sqs:*:*:orders")], id="not_another_queue"
        ),
        pytest.param([allow(), deny(Action="sqs:DeleteQueue")], id="a_deny_of_something_else"),
    ],
)
def test_a_policy_that_surely_lets_the_queue_through_is_left_alone(deliver, statements):
    answer, after = deliver(policy(*statements))

    assert after == policy(*statements)
    assert "ModifyVpcEndpoint" not in answer.actions
    assert sqs_result(answer)["outcome"] == "kept"


def test_the_default_policy_is_left_alone(deliver):
    answer, _ = deliver(None)

    assert "ModifyVpcEndpoint" not in answer.actions
    assert sqs_result(answer)["outcome"] == "kept"


ANOTHER = "arn:aws:sqs:us-east-1:444455556666:orders"


@pytest.mark.parametrize(
    "statements",
    [
        pytest.param([allow(Resource=ANOTHER)], id="a_resource_that_is_one_string"),
        pytest.param([allow(Resource="arn:aws:sqs:*:*:foo-*")], id="a_pattern_that_does_not_cover"),
        pytest.param(
            [allow(Condition={"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}})],
            id="a_condition",
        ),
        pytest.param([allow(Action=QUEUE_ACTIONS[:5])], id="fewer_actions"),
        pytest.param(
            [allow(Principal={"AWS": "arn:aws:iam::444455556666:root"})], id="another_principal"
        ),
        pytest.param(
            [allow(Action="s3:*"), allow(Resource=ANOTHER)], id="an_allow_for_something_else_first"
        ),
        pytest.param(
            [without_resource(NotResource="arn:aws:sqs:*:*:airflow-*")], id="not_resource"
        ),
        pytest.param([deny(Action="sqs:DeleteQueue")], id="only_a_deny"),
        pytest.param([], id="no_statement"),
    ],
)
def test_in_any_doubt_the_queue_is_added_beside_what_is_there(deliver, statements):
    answer, after = deliver(policy(*statements))

    assert after == policy(*statements, OURS)
    assert sqs_result(answer)["outcome"] == "updated"


def test_a_statement_that_is_no_list_is_kept_as_the_first_of_one(deliver):
    _, after = deliver({"Statement": allow(Resource=[])})

    assert after == {"Statement": [allow(Resource=[]), OURS]}


def test_a_deny_that_blocks_the_queue_is_reported_and_stays(deliver):
    block = deny(Sid="Lockdown")

    answer, after = deliver(policy(allow(), block))

    assert block in after["Statement"]
    assert sqs_result(answer)["outcome"] == "blocked"
    assert "Lockdown" in answer.log


def test_a_deny_with_a_condition_is_reported_as_one_that_may_block(deliver):
    perimeter = deny(
        Sid="Perimeter", Condition={"StringNotEquals": {"aws:ResourceOrgID": "o-a1b2c3d4e5"}}
    )

    answer, after = deliver(policy(allow(), perimeter))

    assert perimeter in after["Statement"]
    assert sqs_result(answer)["outcome"] == "blocked"
    assert "may be blocked" in answer.log


def test_every_sqs_endpoint_of_the_vpc_lets_the_queue_through_whatever_its_subnets(
    aws, function, vpc
):
    elsewhere = [aws.subnet(vpc.id, "10.192.40.0/24", "c")]
    endpoints = [
        aws.endpoint(vpc, SQS, blog_policy()),
        aws.endpoint(vpc, SQS, blog_policy(), subnets=elsewhere),
        aws.endpoint(vpc, SQS_FIPS, blog_policy(), subnets=elsewhere),
    ]

    answer = function.deliver(event("pending-private", vpc))

    assert answer.ok, answer.error
    after = aws.snapshot(vpc).endpoints
    for endpoint in endpoints:
        assert after[endpoint]["policy"]["Statement"][1:] == [OURS]


def test_sqs_endpoints_of_other_vpcs_are_none_of_our_business(aws, function, vpc, sqs):
    other = aws.vpc("10.193")
    aws.endpoint(other, policy=blog_policy())
    before = aws.snapshot(other)

    assert function.deliver(event("pending-private", vpc)).ok

    assert aws.snapshot(other) == before


def test_endpoints_to_other_services_keep_their_policies(aws, function, vpc):
    s3 = aws.endpoint(vpc, "com.amazonaws.us-east-1.s3", blog_policy())

    assert function.deliver(event("pending-private", vpc)).ok

    assert aws.snapshot(vpc).endpoints[s3]["policy"] == blog_policy()


def test_a_deleted_sqs_endpoint_is_not_modified(aws, function, vpc, sqs):
    aws.ec2.delete_vpc_endpoints(VpcEndpointIds=[sqs])

    answer = function.deliver(event("pending-private", vpc))

    assert answer.ok, answer.error
    assert "ModifyVpcEndpoint" not in answer.actions


def test_a_vpc_without_an_sqs_endpoint_is_fine(function, vpc):
    answer = function.deliver(event("pending-private", vpc))

    assert answer.ok, answer.error
    assert "ModifyVpcEndpoint" not in answer.actions
    assert "no SQS interface endpoint" in json.dumps(answer.value)


def test_a_second_environments_queue_joins_the_first_ones(aws, function, vpc, sqs):
    queues = []
    for name in ("pending-private", "pending-public"):
        wanted = event(name, vpc)
        queues.append(wanted["detail"]["celeryExecutorQueue"])
        assert function.deliver(wanted).ok

    after = aws.snapshot(vpc).endpoints[sqs]["policy"]
    assert after["Statement"][1:] == [{**OURS, "Resource": sorted(queues)}]


def test_a_queue_that_another_writer_removed_comes_back(aws, function, vpc, sqs):
    assert function.deliver(event("pending-private", vpc)).ok
    aws.ec2.modify_vpc_endpoint(VpcEndpointId=sqs, PolicyDocument='{"Statement": []}')

    other = event("pending-public", vpc)
    assert function.deliver(other).ok

    (ours,) = aws.snapshot(vpc).endpoints[sqs]["policy"]["Statement"]
    assert ours["Resource"] == sorted([QUEUE, other["detail"]["celeryExecutorQueue"]])


def test_the_organization_can_be_made_a_condition(deliver, configured):
    function = configured(PRINCIPAL_ORG_ID="o-a1b2c3d4e5")

    _, after = deliver(blog_policy(), function)

    condition = {"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}}
    assert after["Statement"][1] == {**OURS, "Condition": condition}


def test_an_edited_statement_of_ours_is_an_error_and_is_not_rewritten(aws, function, vpc):
    edited = policy({**OURS, "Action": "sqs:SendMessage", "Resource": []})
    endpoint = aws.endpoint(vpc, policy=edited)

    answer = function.deliver(event("pending-private", vpc))

    assert not answer.ok
    assert "MwaaCeleryQueues" in answer.error and endpoint in answer.error
    after = aws.snapshot(vpc)
    assert after.endpoints[endpoint]["policy"] == edited
    assert len(after.endpoints) == 3, "the environment's own endpoints are made all the same"


def test_a_policy_that_would_be_too_long_is_not_written(aws, function, vpc):
    queues = [f"arn:aws:sqs:us-east-1:444455556666:orders-{number:04}" for number in range(415)]
    long = policy(allow(Resource=queues))
    assert 20_300 < len(json.dumps(long, separators=(",", ":"))) < 20_480
    endpoint = aws.endpoint(vpc, policy=long)

    answer = function.deliver(event("pending-private", vpc))

    assert not answer.ok
    assert "20480" in answer.error and endpoint in answer.error
    assert aws.snapshot(vpc).endpoints[endpoint]["policy"] == long


def test_a_result_names_the_version_and_once_a_policy_was_written_what_narrows_the_role(aws, function, vpc, deliver):
    manifest = (pathlib.Path(__file__).parents[2] / "Cargo.toml").read_text()
    version = tomllib.loads(manifest)["package"]["version"]
    answer, _ = deliver(blog_policy())
    endpoint = sqs_result(answer)["id"]
    arn = f"arn:aws:ec2:us-east-1:{OWNER}:vpc-endpoint/{endpoint}"

    assert answer.value["version"] == version
    assert "SqsEndpointArns" in answer.value["note"] and answer.value["note"].endswith(f": {arn}")

    again = function.deliver(event("pending-private", vpc))
    assert again.value["version"] == version and "note" not in again.value

    swept = function.deliver({"sweep": True})
    assert swept.value["version"] == version and "note" not in swept.value
    lines = [json.loads(line) for line in swept.log.splitlines() if line.startswith("{")]
    (told,) = [line for line in lines if line.get("message") == "sweep"]
    assert told["version"] == version
