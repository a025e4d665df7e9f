"""What the function does, held against the role with which it is deployed.

The tests in Rust lead the function through all that it knows against a strict EC2, under every deployment that gives it
another role, and write down what IAM is asked about each call: the resources, and what is known of each. Here the role
is made for each combination of parameters, and every one of these calls must be allowed.
"""

import hashlib
import itertools
import json
import os
from collections import Counter
from pathlib import Path

import pytest
from test_template_iam import keys_of, known_key

OWNER, PARTICIPANT = "111122223333", "210987654321"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or Path(__file__).parents[2] / "target")


def real(name):
    """The double's short ids as ids that the parameters take: vpc-0a, sg-1, vpce-sqs."""
    prefix, _, rest = name.partition("-")
    return f"{prefix}-{hashlib.sha256(rest.encode()).hexdigest()[:17]}"


@pytest.fixture(scope="module")
def seen():
    """Every call that was seen: deployment, action, and what it touches, each once."""
    files = list((TARGET / "tmp" / "calls").glob("*.jsonl"))
    assert files, "no call was written down: run `make rust-tests` first"
    return [json.loads(line) for line in sorted({line for file in files for line in file.read_text().splitlines()})]


def kinds(seen):
    return Counter((call["deletion"], "list" if call["groups"] else "auto", call["action"]) for call in seen)


def test_every_call_was_seen_under_every_deployment_in_which_it_is_made(seen):
    making = {"CreateSecurityGroup", "AuthorizeSecurityGroupIngress"}
    always = {"CreateVpcEndpoint", "ModifyVpcEndpoint", "DeleteVpcEndpoints", "RevokeSecurityGroupIngress", "CreateTags"}
    for deletion, groups in itertools.product(("on", "off"), ("auto", "list")):
        wanted = set(always)
        if groups == "auto":
            wanted |= making
        if groups == "auto" or deletion == "on":
            wanted.add("DeleteSecurityGroup")
        found = {action for d, g, action in kinds(seen) if (d, g) == (deletion, groups)}
        assert wanted <= found, (deletion, groups, wanted - found)


SERVICES = {"ListEnvironments": "airflow", "GetEnvironment": "airflow", "AssumeRole": "sts"}
NARROWING = [
    dict(zip(("VpcIds", "SqsEndpointArns", "OrganizationId", "ParticipantAccounts"), values))
    for values in itertools.product((False, True), repeat=4)
]


def asked(call):
    """What IAM is asked about a call: (action, ARN, keys) for each resource."""
    action = f"{SERVICES.get(call['action'], 'ec2')}:{call['action']}"
    if not call["touches"]:
        yield action, "*", {}
    for kind, name, account, keys in call["touches"]:
        if kind == "account":
            if action == "sts:AssumeRole":
                role = f"arn:aws:iam::{account}:role/mwaa-vpc-endpoints-reader-us-east-1"
                yield action, role, {"aws:ResourceAccount": account, "aws:ResourceOrgID": "o-abcdefghij"}
            elif account == OWNER:  # others are asked with their own role
                yield action, f"arn:aws:airflow:us-east-1:{account}:environment/analytics", {}
            continue
        keys = dict(keys)
        for key in ("ec2:VpcID", "ec2:SecurityGroupID"):
            if key in keys:
                keys[key] = real(keys[key])
        if "ec2:Vpc" in keys:
            keys["ec2:Vpc"] = f"arn:aws:ec2:us-east-1:{OWNER}:vpc/{real(keys['ec2:Vpc'])}"
        arn = f"arn:aws:ec2:us-east-1:{account}:{kind}/{real(name)}"
        yield action, arn, keys
        # What is created with tags needs the permission to tag it, too.
        if any(key.startswith("aws:RequestTag/") for key in keys):
            yield "ec2:CreateTags", arn, {"ec2:CreateAction": call["action"]}


@pytest.mark.parametrize("narrowed", NARROWING, ids=lambda n: "+".join(k for k, on in n.items() if on) or "wide")
def test_the_role_allows_every_call_that_the_function_makes(render, iam, seen, narrowed):
    vpcs = {real(name) for call in seen for kind, name, _, _ in call["touches"] if kind == "vpc"}
    sqs = {real(n) for call in seen for kind, n, _, keys in call["touches"] if ".sqs" in str(keys.get("ec2:VpceServiceName"))}
    values = {
        "VpcIds": ",".join(sorted(vpcs)),
        "SqsEndpointArns": ",".join(f"arn:aws:ec2:us-east-1:{OWNER}:vpc-endpoint/{id}" for id in sorted(sqs)),
        "OrganizationId": "o-abcdefghij",
        "ParticipantAccounts": ",".join(
            sorted({PARTICIPANT} | {account for call in seen for kind, _, account, _ in call["touches"] if kind == "account"})
        ),
    }
    if values["ParticipantAccounts"].count(",") > 99:
        values["ParticipantAccounts"] = PARTICIPANT
    given = {name: values[name] for name, on in narrowed.items() if on}
    stacks, denied = {}, []
    for call in seen:
        of = (call["deletion"], tuple(call["groups"] or ()))
        if of not in stacks:
            groups = ",".join(real(id) for id in of[1]) or "auto"
            stack = render("template.yaml", Deletion=of[0], SecurityGroups=groups, ReaderRole="yes", **given)
            stacks[of] = [s for _, _, d in stack.identity_policies() for s in d["Statement"]]
        for action, arn, keys in asked(call):
            if action == "sts:AssumeRole" and not may_ask(arn.split(":")[4], given):
                continue
            if arn.startswith("arn:aws:ec2:"):
                kind = arn.split(":", 5)[5].split("/")[0]
                keys = {k: v for k, v in keys.items() if known_key(k, keys_of(action, kind))}
            if not iam.allows(stacks[of], action, arn, keys):
                denied.append((of, action, arn, keys))
    assert denied == []


def may_ask(account, given):
    """Whether the function is deployed to ask this account: the settings of the tests in Rust do not say it of all."""
    if not {"OrganizationId", "ParticipantAccounts"} & set(given):
        return False
    return account in given.get("ParticipantAccounts", account)
