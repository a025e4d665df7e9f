"""The guard of the tags: the function's calls pass it, everybody else's on these tags do not, and no other tag is touched."""

import itertools
import json
from pathlib import Path

import pytest
from conftest import OWNER, PARTICIPANT, REGIONS
from test_template_iam import UPDATED_TAGS, keys_of, known_key, listed

TEXT = (Path(__file__).parents[2] / "policies" / "scp-tags.json").read_text()
GUARD = json.loads(TEXT)
OURS = "mwaa-vpc-endpoints/environment"


def denies(iam, principal, action, kind, keys, tagged=False, guard=GUARD):
    """Whether the guard denies that `principal` writes the tags `keys` of a resource; None: all that it has."""
    context = {"aws:PrincipalArn": principal}
    if keys is not None:
        context["aws:TagKeys"] = keys
    if tagged:
        context[f"aws:ResourceTag/{OURS}"] = "arn:aws:airflow:us-east-1:210987654321:environment/analytics"
    return iam.denies(guard["Statement"], f"ec2:{action}", f"arn:aws:ec2:us-east-1:{OWNER}:{kind}/x", context)


KINDS = ["vpc-endpoint", "security-group"]
EVERY_TAG = [*UPDATED_TAGS, OURS, "mwaa-vpc-endpoints/role"]


@pytest.mark.parametrize("partition, kind", list(itertools.product(REGIONS, KINDS)))
def test_the_functions_own_calls_pass(iam, render, partition, kind):
    role = render("template.yaml", partition=partition).arn("FunctionRole")
    guard = json.loads(TEXT.replace("us-east-1", REGIONS[partition]))  # as docs/security.md says
    for keys in (EVERY_TAG, [*EVERY_TAG, "Name", "CostCenter"], UPDATED_TAGS):
        assert not denies(iam, role, "CreateTags", kind, keys, guard=guard)
        assert not denies(iam, role, "CreateTags", kind, keys, tagged=True, guard=guard)


OTHERS = [
    "arn:{}:iam::{}:role/Admin".format("{0}", OWNER),
    "arn:{}:iam::{}:user/mwaa-vpc-endpoints-function-us-east-1".format("{0}", OWNER),
    "arn:{}:iam::{}:role/x/mwaa-vpc-endpoints-function-us-east-1".format("{0}", OWNER),
    "arn:{}:iam::{}:role/mwaa-vpc-endpoints-function-us-east-1".format("{0}", PARTICIPANT),
    "arn:{}:iam::{}:role/mwaa-vpc-endpoints-function-eu-west-1".format("{0}", OWNER),
    "arn:{}:iam::{}:role/mwaa-vpc-endpoints-function-us-east-1/Admin".format("{0}", OWNER),
    "arn:{}:iam::{}:root".format("{0}", OWNER),
]


@pytest.mark.parametrize("principal, partition, kind", list(itertools.product(OTHERS, REGIONS, KINDS)))
def test_nobody_else_writes_or_takes_off_these_tags(iam, principal, partition, kind):
    principal = principal.format(partition)
    for action, tagged, key in itertools.product(("CreateTags", "DeleteTags"), (False, True), EVERY_TAG):
        assert denies(iam, principal, action, kind, [key], tagged)
        assert denies(iam, principal, action, kind, ["Name", key], tagged)
        # IAM's condition on a tag does not tell capital letters from small ones.
        assert denies(iam, principal, action, kind, [key.upper()], tagged)
    # DeleteTags without keys takes off all that there are.
    assert denies(iam, principal, "DeleteTags", kind, None, tagged=True)


@pytest.mark.parametrize("principal, kind", list(itertools.product(OTHERS, [*KINDS, "instance"])))
def test_other_tags_are_untouched(iam, principal, kind):
    principal = principal.format("aws")
    for action, tagged in itertools.product(("CreateTags", "DeleteTags"), (False, True)):
        assert not denies(iam, principal, action, kind, ["Name", "CostCenter", "mwaa"], tagged)
    assert not denies(iam, principal, "DeleteTags", kind, None)


def test_the_guard_says_nothing_of_other_actions(iam):
    for action in ("CreateVpcEndpoint", "DeleteVpcEndpoints", "RunInstances"):
        assert not denies(iam, OTHERS[0].format("aws"), action, "vpc-endpoint", EVERY_TAG, tagged=True)


def test_the_guard_uses_keys_that_ec2_has_for_these_actions_and_fits():
    for statement in GUARD["Statement"]:
        keys = {key for condition in statement["Condition"].values() for key in condition} - {"aws:PrincipalArn"}
        for action, kind in itertools.product(listed(statement["Action"]), KINDS):
            assert all(known_key(key, keys_of(action, kind)) for key in keys), (action, kind)
    # A service control policy has at most 5,120 characters (Organizations user guide, "Quotas").
    assert len(json.dumps(GUARD)) < 5_120
