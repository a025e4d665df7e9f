"""`mwaa-vpc doctor` on the way of an event and on the execution role: the templates deployed into an emulated AWS, and one
fault at a time."""

import json
import time

import pytest
from command_line import OF_BOTH, OF_OWNER
from harness import LOOKS, OWNER, PARTICIPANT, REGION, event, needed_beside, rounds_of
from moto.core.responses import ActionResult
from moto.iam.responses import IamResponse
from stacks import Stacks

STACK = "mwaa-vpc-endpoints"
EXECUTION_ROLE = "airflow"
BUCKET = "dags"
GROUPS = ("deployment", "participant", "role")


def statement(action, resource, **more):
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def execution_policy(account, folder):
    """The policy of the MWAA user guide, "Amazon MWAA execution role", for a key that AWS owns."""
    by_sqs = {"StringLike": {"kms:ViaService": [f"sqs.{REGION}.amazonaws.com"]}}
    key = statement(["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey*", "kms:Encrypt"], "*", Condition=by_sqs)
    key["NotResource"] = f"arn:aws:kms:*:{account}:key/*"
    del key["Resource"]
    return [
        statement(["s3:GetObject*", "s3:GetBucket*", "s3:List*"], [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/{folder}/*"]),
        statement(
            ["logs:CreateLogStream", "logs:PutLogEvents", "logs:GetLogEvents"],
            f"arn:aws:logs:{REGION}:{account}:log-group:airflow-*",
        ),
        statement("cloudwatch:PutMetricData", "*"),
        statement(
            [
                f"sqs:{it}"
                for it in (
                    "ChangeMessageVisibility DeleteMessage GetQueueAttributes GetQueueUrl ReceiveMessage SendMessage"
                ).split()
            ],
            f"arn:aws:sqs:{REGION}:*:airflow-celery-*",
        ),
        key,
    ]


class Scene:
    """Both stacks, an environment with its role, and what happens to them."""

    def __init__(self, aws, account, **parameters):
        self.aws, self.account = aws, account
        self.stacks = Stacks(aws)
        self.owners = self.stacks.deploy("template.yaml", STACK, **parameters)
        self.participants = {}
        if account != OWNER:
            self.participants = self.stacks.deploy(
                "participant.yaml",
                "StackSet-mwaa-1a2b3c",
                account,
                OwnerAccountId=OWNER,
                EventBusName=parameters.get("EventBusName", "default"),
                ReaderRole=parameters.get("ReaderRole", "no"),
            )
        services = ["airflow.amazonaws.com", "airflow-env.amazonaws.com"]
        trust = {"Effect": "Allow", "Principal": {"Service": services}, "Action": "sts:AssumeRole"}
        self.iam(account).create_role(
            RoleName=EXECUTION_ROLE, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": trust})
        )
        self.folder = "dags"
        self.set_role(self.policy())

    def policy(self):
        return execution_policy(self.account, self.folder)

    def shown_to(self, people):
        self.people = people
        people.hosts = {**people.hosts, "cloudformation": self.stacks.answer}
        return self

    def iam(self, account=OWNER):
        return self.aws.client("iam", account)

    def set_role(self, statements):
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        self.iam(self.account).put_role_policy(
            RoleName=EXECUTION_ROLE, PolicyName="mwaa", PolicyDocument=document
        )

    @property
    def role_arn(self):
        return f"arn:aws:iam::{self.account}:role/{EXECUTION_ROLE}"

    def events(self, account=OWNER):
        return self.aws.client("events", account)

    @property
    def sqs(self):
        return self.aws.client("sqs")

    @property
    def function(self):
        return self.aws.client("lambda"), self.owners["MwaaVpcEndpointsFunction"]


@pytest.fixture
def surroundings(surroundings):
    """CloudFormation is not moto's."""
    return {**surroundings, "AWS_ENDPOINT_URL_CLOUDFORMATION": f"http://cloudformation.{REGION}.amazonaws.com"}


@pytest.fixture
def own(aws, mwaa, people, laid):
    """An environment of the owner's, with the function deployed for it alone."""
    return laid("deployed for the owner", lambda: _own(aws)).shown_to(people)


def _own(aws):
    it = Scene(aws, OWNER)
    bucket = {"sourceBucketArn": f"arn:aws:s3:::{BUCKET}", "dagS3Path": "prod/dags"}
    aws.mwaa.put(event("pending-private", aws.vpc()), executionRoleArn=it.role_arn, **bucket)
    it.folder = "prod"
    it.set_role(it.policy())
    it.name, it.profiles = "analytics", OF_OWNER
    return it


@pytest.fixture
def guest(aws, mwaa, people, laid):
    """One of the participant's, with a bus for participants, the role for the function to ask with, and diagnosis."""
    return laid("deployed for a participant", lambda: _guest(aws)).shown_to(people)


def _guest(aws):
    vpc = aws.vpc()
    parameters = {"EventBusName": "mwaa", "ReaderRole": "yes", "VpcIds": vpc.id, "Diagnosis": "on"}
    it = Scene(aws, PARTICIPANT, ParticipantAccounts=PARTICIPANT, **parameters)
    groups = [aws.group(vpc.id, "airflow", PARTICIPANT)]
    told = event("pending-participant", vpc, groups)
    aws.mwaa.put(told, executionRoleArn=it.role_arn, sourceBucketArn=f"arn:aws:s3:::{BUCKET}")
    arns = [f"arn:aws:ec2:{REGION}:{OWNER}:subnet/{subnet}" for subnet in vpc.subnets]
    aws.client("ram").create_resource_share(
        name="airflow", resourceArns=arns, principals=[PARTICIPANT], allowExternalPrincipals=True
    )
    it.name, it.profiles, it.vpc = "forecasting", OF_BOTH, vpc
    return it


def verdicts(cli, scene, *words):
    """Every check of the way and of the role, with its verdict."""
    run = cli("doctor", scene.name, *(words or scene.profiles), "--json")
    assert "panicked" not in run.stderr and run.stdout, run.stderr
    told = json.loads(run.stdout)
    assert "checks" in told, told
    return {it["id"]: it for it in told["checks"]}


def wrong(cli, scene, *words):
    all = verdicts(cli, scene, *words)
    return {id: it["verdict"] for id, it in all.items() if it["group"] in GROUPS and it["verdict"] != "pass"}


OWN = {
    "deployment.stack", "deployment.function", "deployment.settings", "deployment.rules", "deployment.permissions",
    "deployment.queues", "deployment.waiting", "deployment.schedule", "deployment.role",
    "role.trust", "role.queue", "role.logs", "role.metrics", "role.kms", "role.bucket",
}  # fmt: skip
OF_GUESTS = {
    "deployment.bus-policy", "participant.stack", "participant.rule", "participant.role", "participant.reader",
}  # fmt: skip


def test_what_the_templates_make_passes(cli, people, own):
    told = verdicts(cli, own)

    assert {id: it for id, it in told.items() if it["group"] in GROUPS and it["verdict"] != "pass"} == {}
    assert {id for id, it in told.items() if it["group"] in GROUPS} == OWN


def test_a_participants_side_passes_too_and_its_shares_are_seen(cli, people, guest):
    told = verdicts(cli, guest)

    assert {id: it for id, it in told.items() if it["group"] in GROUPS and it["verdict"] != "pass"} == {}
    assert {id for id, it in told.items() if it["group"] in GROUPS} == OWN | OF_GUESTS
    assert told["subnets.shared"]["verdict"] == "pass"


# One fault at a time -------------------------------------------------------------------------------

FAULTS = {}


def fault(scene, **told):
    """A fault in a scene, and the checks that then do not pass: `deployment_rules="fail"`."""

    def add(change):
        def named(id):
            group, _, rest = id.partition("_")
            return f"{group}.{rest.replace('_', '-')}"

        FAULTS[change.__name__] = (scene, change, {named(id): verdict for id, verdict in told.items()})
        return change

    return add


def stack_of(scene, account=OWNER):
    return next(it for (of, _), it in scene.stacks.stacks.items() if of == account)


@fault("own", deployment_stack="warn")
def no_stack(scene):
    scene.stacks.stacks.clear()


@fault("own", deployment_stack="fail")
def a_stack_that_failed(scene):
    stack_of(scene)["status"] = "UPDATE_ROLLBACK_FAILED"


@fault("own", deployment_function="fail")
def a_function_that_is_gone(scene):
    client, name = scene.function
    client.delete_function(FunctionName=name)


@fault("own", deployment_function="fail")
def a_function_that_may_not_run(scene):
    client, name = scene.function
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)


def variables(scene, **more):
    client, name = scene.function
    had = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    client.update_function_configuration(FunctionName=name, Environment={"Variables": {**had, **more}})


@fault("own", deployment_settings="fail", deployment_role="warn")  # which is not limited to that VPC
def a_vpc_that_is_not_served(scene):
    variables(scene, VPC_IDS="vpc-0123456789abcdef0")


@fault("own", deployment_settings="fail", deployment_role="unknown")
def a_setting_that_cannot_be_read(scene):
    variables(scene, DELETION="perhaps")


@fault("guest", deployment_settings="fail")
def a_participant_that_is_not_served(scene):
    variables(scene, PARTICIPANT_ACCOUNTS="333344445555")


@fault("own", deployment_rules="fail")
def a_rule_that_is_disabled(scene):
    scene.events().disable_rule(Name=scene.owners["DefaultBusRule"])


@fault("own", deployment_rules="fail")
def a_rule_that_is_gone(scene):
    rule = scene.owners["DefaultBusRule"]
    scene.events().remove_targets(Rule=rule, Ids=["function"])
    scene.events().delete_rule(Name=rule)


@fault("own", deployment_rules="fail")
def a_rule_without_a_target(scene):
    scene.events().remove_targets(Rule=scene.owners["DefaultBusRule"], Ids=["function"])


@fault("own", deployment_rules="fail")
def a_rule_that_hands_over_a_part(scene):
    rule = scene.owners["DefaultBusRule"]
    (target,) = scene.events().list_targets_by_rule(Rule=rule)["Targets"]
    scene.events().put_targets(Rule=rule, Targets=[{**target, "InputPath": "$.detail"}])


@fault("own", deployment_rules="fail")
def a_rule_that_takes_other_events(scene):
    pattern = {"source": ["aws.airflow"], "detail": {"status": ["AVAILABLE"]}}
    scene.events().put_rule(Name=scene.owners["DefaultBusRule"], EventPattern=json.dumps(pattern))


@fault("guest", deployment_rules="fail")
def a_rule_that_takes_no_events_of_the_participant(scene):
    bus, _, rule = scene.owners["ParticipantBusRule"].partition("|")
    pattern = {"source": ["aws.airflow"], "account": ["333344445555"]}
    scene.events().put_rule(Name=rule, EventBusName=bus, EventPattern=json.dumps(pattern))


@fault("own", deployment_permissions="fail")
def a_rule_that_may_not_invoke(scene):
    client, name = scene.function
    client.remove_permission(FunctionName=name, StatementId="stack-DefaultBusPermission")


def bus_policy(scene, **changes):
    events = scene.events()
    policy = json.loads(events.describe_event_bus(Name="mwaa")["Policy"])
    policy["Statement"][0] |= changes
    events.put_permission(EventBusName="mwaa", Policy=json.dumps(policy))


@fault("guest", deployment_bus_policy="fail")
def a_bus_that_admits_another_account(scene):
    bus_policy(scene, Principal={"AWS": "arn:aws:iam::333344445555:root"})


@fault("guest", deployment_bus_policy="unknown")
def a_bus_that_admits_an_organization(scene):
    bus_policy(scene, Principal="*", Condition={"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}})


@fault("own", deployment_queues="warn")
def a_queue_without_its_policy(scene):
    scene.sqs.set_queue_attributes(QueueUrl=scene.owners["UndeliveredEventsQueue"], Attributes={"Policy": ""})


@fault("own", deployment_queues="warn")
def a_queue_that_is_gone(scene):
    scene.sqs.delete_queue(QueueUrl=scene.owners["FailedEventsQueue"])


@fault("own", deployment_queues="warn")
def a_function_whose_failures_go_nowhere(scene):
    client, name = scene.function
    client.delete_function_event_invoke_config(FunctionName=name)


@fault("own", deployment_waiting="warn")
def an_event_that_failed(scene):
    scene.sqs.send_message(QueueUrl=scene.owners["FailedEventsQueue"], MessageBody="{}")


@fault("own", deployment_schedule="warn")
def sweeps_that_are_disabled(scene):
    scene.events().disable_rule(Name=scene.owners["SweepRule"])


@fault("own", deployment_schedule="warn")
def sweeps_that_are_off(scene):
    del scene.owners["SweepRule"]


@fault("own", deployment_role="warn")
def an_administrator(scene):
    policy = {"Version": "2012-10-17", "Statement": [statement("*", "*")]}
    made = scene.iam().create_policy(PolicyName="AdministratorAccess", PolicyDocument=json.dumps(policy))
    scene.iam().attach_role_policy(RoleName=scene.owners["FunctionRole"], PolicyArn=made["Policy"]["Arn"])


def inline(scene, name, statements):
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    scene.iam().put_role_policy(RoleName=scene.owners["FunctionRole"], PolicyName=name, PolicyDocument=document)


@fault("own", deployment_role="fail")
def a_boundary(scene):
    policy = {"Version": "2012-10-17", "Statement": [statement("s3:GetObject", "*")]}
    made = scene.iam().create_policy(PolicyName="limit", PolicyDocument=json.dumps(policy))
    scene.iam().put_role_permissions_boundary(
        RoleName=scene.owners["FunctionRole"], PermissionsBoundary=made["Policy"]["Arn"]
    )


@fault("own", deployment_role="warn")
def a_wildcard(scene):
    inline(scene, "vpc-endpoints", [statement("ec2:*", "*")])


@fault("own", deployment_role="warn")
def a_policy_that_is_not_the_templates(scene):
    inline(scene, "more", [statement("ec2:DescribeVpcs", "*")])


@fault("own", deployment_role="fail")
def a_role_without_its_policy(scene):
    scene.iam().delete_role_policy(RoleName=scene.owners["FunctionRole"], PolicyName="vpc-endpoints")


@fault("guest", participant_stack="fail")
def no_participants_stack(scene):
    del scene.stacks.stacks[PARTICIPANT, "StackSet-mwaa-1a2b3c"]


@fault("guest", participant_stack="fail")
def a_participants_stack_for_another_owner(scene):
    arn = f"arn:aws:events:{REGION}:{PARTICIPANT}:rule/mwaa-vpc-endpoints-333344445555"
    stack_of(scene, PARTICIPANT)["outputs"]["RuleArn"] = arn


FORWARD = f"mwaa-vpc-endpoints-{OWNER}"


@fault("guest", participant_rule="fail")
def a_participants_rule_that_is_disabled(scene):
    scene.events(PARTICIPANT).disable_rule(Name=FORWARD)


@fault("guest", participant_rule="fail")
def a_participants_rule_to_another_bus(scene):
    events = scene.events(PARTICIPANT)
    (target,) = events.list_targets_by_rule(Rule=FORWARD)["Targets"]
    target["Arn"] = f"arn:aws:events:{REGION}:{OWNER}:event-bus/default"
    events.put_targets(Rule=FORWARD, Targets=[target])


@fault("guest", participant_rule="fail")
def a_participants_rule_without_a_target(scene):
    scene.events(PARTICIPANT).remove_targets(Rule=FORWARD, Ids=["owner"])


@fault("guest", participant_role="fail")
def a_participants_role_that_may_not_send(scene):
    role = scene.participants["ForwardRole"]
    scene.iam(PARTICIPANT).delete_role_policy(RoleName=role, PolicyName="forward")


@fault("guest", participant_role="fail")
def a_participants_role_that_trusts_somebody_else(scene):
    trust = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = scene.participants["ForwardRole"]
    scene.iam(PARTICIPANT).update_assume_role_policy(RoleName=role, PolicyDocument=document)


@fault("guest", participant_reader="warn")
def a_role_to_ask_with_that_is_not_there(scene):
    variables(scene, READER_ROLE="somebody")


@fault("guest", participant_reader="warn")
def no_role_to_ask_with(scene):
    iam, role = scene.iam(PARTICIPANT), scene.participants["ReaderRoleForOwner"]
    iam.delete_role_policy(RoleName=role, PolicyName="read")
    iam.delete_role(RoleName=role)


@fault("own", role_trust="fail")
def no_execution_role(scene):
    iam = scene.iam(scene.account)
    iam.delete_role_policy(RoleName=EXECUTION_ROLE, PolicyName="mwaa")
    iam.delete_role(RoleName=EXECUTION_ROLE)


@fault("own", role_trust="fail")
def an_execution_role_that_only_one_service_may_use(scene):
    trust = {"Effect": "Allow", "Principal": {"Service": "airflow.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    scene.iam().update_assume_role_policy(RoleName=EXECUTION_ROLE, PolicyDocument=document)


def deny(action, **more):
    def change(scene):
        denied = {"Effect": "Deny", "Action": action, "Resource": "*", **more}
        scene.set_role([*scene.policy(), denied])

    return change


for _check, _action in (
    ("queue", "sqs:SendMessage"),
    ("logs", "logs:PutLogEvents"),
    ("metrics", "cloudwatch:*"),
    ("kms", "kms:Decrypt"),
    ("bucket", "s3:ListBucket"),
):
    _change = deny(_action)
    _change.__name__ = f"an_execution_role_that_is_denied_{_check}"
    fault("guest" if _check == "queue" else "own", **{f"role_{_check}": "fail"})(_change)


@fault("own", role_queue="fail")
def an_execution_role_without_the_queue(scene):
    scene.set_role([it for it in scene.policy() if "sqs" not in str(it["Action"])])


@fault("own", role_queue="unknown")
def a_denial_by_a_key_that_nobody_knows(scene):
    deny("sqs:*", Condition={"StringNotEquals": {"aws:SourceVpce": "vpce-1"}})(scene)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_by_its_check_and_by_no_other(request, cli, name):
    scene, change, told = FAULTS[name]
    scene = request.getfixturevalue(scene)
    change(scene)

    assert wrong(cli, scene) == told


def test_a_second_target_and_a_policy_that_is_attached_change_nothing(cli, guest):
    iam, role = guest.iam(PARTICIPANT), guest.participants["ForwardRole"]
    document = iam.get_role_policy(RoleName=role, PolicyName="forward")["PolicyDocument"]
    iam.delete_role_policy(RoleName=role, PolicyName="forward")
    made = iam.create_policy(PolicyName="forward", PolicyDocument=json.dumps(document))
    iam.attach_role_policy(RoleName=role, PolicyArn=made["Policy"]["Arn"])
    events = guest.events(PARTICIPANT)
    (own,) = events.list_targets_by_rule(Rule=FORWARD)["Targets"]
    other = {
        "Id": "another",
        "Arn": f"arn:aws:states:{REGION}:{PARTICIPANT}:stateMachine:x",
        "RoleArn": f"arn:aws:iam::{PARTICIPANT}:role/another",
    }
    events.remove_targets(Rule=FORWARD, Ids=[own["Id"]])
    events.put_targets(Rule=FORWARD, Targets=[other, own])

    assert wrong(cli, guest) == {}


def test_an_execution_role_that_its_boundary_limits(cli, own, monkeypatch):
    def simulate(self):
        no = {"PermissionsBoundaryDecisionDetail": {"AllowedByPermissionsBoundary": False}}
        (resource,) = self._get_params()["ResourceArns"]
        answer = {
            "EvalDecision": "implicitDeny",
            "EvalDecisionDetails": {"IAM Policy": "allowed", "Permissions Boundary Policy": "implicitDeny"},
        }
        results = [{"EvalActionName": it, "EvalResourceName": resource, **answer, **no} for it in self._get_params()["ActionNames"]]
        return ActionResult({"EvaluationResults": results, "IsTruncated": False})

    monkeypatch.setattr(IamResponse, "simulate_principal_policy", simulate)

    told = verdicts(cli, own)

    for id in ("role.queue", "role.kms"):
        assert told[id]["verdict"] == "fail" and "the permissions boundary" in told[id]["evidence"]


def test_an_environment_of_another_account_needs_a_stack_that_admits_it(aws, cli, own, mwaa, vpc):
    scene = own
    scene.name, scene.account, scene.profiles = "forecasting", PARTICIPANT, OF_BOTH
    mwaa.put(event("pending-participant", vpc, [aws.group(vpc.id, "airflow", PARTICIPANT)]))

    told = wrong(cli, scene)

    assert told == {
        "deployment.rules": "fail", "deployment.bus-policy": "fail", "participant.stack": "fail",
    }  # fmt: skip


# What cannot be seen -------------------------------------------------------------------------------

CALLS = {
    "DescribeStacks": {"deployment.stack"},
    "ListStackResources": OWN - {"deployment.stack"} - {it for it in OWN if it.startswith("role.")},
    "DescribeRule": {"deployment.rules", "deployment.permissions", "deployment.queues", "deployment.schedule"},
    "ListTargetsByRule": {"deployment.rules", "deployment.queues", "deployment.schedule"},
    "TestEventPattern": {"deployment.rules"},
    "GetQueueAttributes": {"deployment.queues", "deployment.waiting", "deployment.role"},
    "GetRole": {"deployment.role", "role.trust"},
    "ListRolePolicies": {"deployment.role"},
    "GetRolePolicy": {"deployment.role"},
    "ListAttachedRolePolicies": {"deployment.role"},
    "SimulatePrincipalPolicy": {"role.queue", "role.logs", "role.metrics", "role.kms", "role.bucket"},
    "GetFunctionConfiguration": {
        "deployment.function", "deployment.settings", "deployment.rules", "deployment.permissions",
        "deployment.queues", "deployment.schedule", "deployment.role",
    },
    "GetPolicy": {"deployment.permissions"},
    "GetFunctionConcurrency": {"deployment.function"},
    "GetFunctionEventInvokeConfig": {"deployment.queues", "deployment.role"},
}  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_what_may_not_be_seen_is_unknown_and_nothing_else_is(cli, people, own, call):
    people.fail(call, "AccessDenied", status=403, times=99)

    assert wrong(cli, own) == dict.fromkeys(CALLS[call], "unknown")


def test_of_a_participants_environment_the_owner_alone_sees_no_more_than_its_own_side(cli, guest):
    words = ("--subnets", ",".join(guest.vpc.subnets), "--groups", guest.vpc.group, "--account", PARTICIPANT)
    run = cli("doctor", *words, "--execution-role", guest.role_arn, *OF_OWNER, "--json")

    told = json.loads(run.stdout)
    found = {it["id"]: it["verdict"] for it in told["checks"] if it["group"] in GROUPS}
    assert {id for id, it in found.items() if it != "pass"} == {"participant.stack", "role.trust"}
    assert {found["participant.stack"], found["role.trust"]} == {"unknown"}
    assert [it["from"] for it in told["unseen"]] == [
        f"account {PARTICIPANT}: --environment-profile with a profile of it"
    ]
    assert run.returncode in (0, 1), "that alone is no wrong command line"


def test_the_stack_may_have_another_name(cli, own):
    own.stacks.stacks[OWNER, "mine"] = own.stacks.stacks.pop((OWNER, STACK))

    assert wrong(cli, own) == {"deployment.stack": "warn"}
    assert wrong(cli, own, *OF_OWNER, "--stack", "mine") == {}


# What it asks --------------------------------------------------------------------------------------

SERVICES = {
    "cloudformation": "DescribeStacks ListStackResources",
    "events": "DescribeEventBus DescribeRule ListTargetsByRule TestEventPattern",
    "iam": (
        "GetPolicy GetPolicyVersion GetRole GetRolePolicy ListAttachedRolePolicies ListRolePolicies SimulatePrincipalPolicy"
    ),
    "lambda": "GetFunctionConcurrency GetFunctionConfiguration GetFunctionEventInvokeConfig GetPolicy",
    "ram": "ListPrincipals",
    "sqs": "GetQueueAttributes",
}


def test_the_policy_that_it_prints_is_of_the_calls_that_it_makes(cli, people, guest):
    policy = json.loads(cli("doctor", "--iam").stdout)
    by_sid = {it["Sid"]: set(it["Action"]) for it in policy["Statement"]}

    cli("doctor", guest.name, *guest.profiles)

    made = {call.action for call in people.calls}
    needed = {f"{it}:{call}" for it, calls in SERVICES.items() for call in calls.split() if call in made}
    needed |= needed_beside(people.calls)
    asked = set().union(*by_sid.values())
    assert needed == {it for it in asked if it.partition(":")[0] in SERVICES}
    of_others = ("iam:Simulate", "cloudformation:ListStacks")
    assert by_sid["VpcOwner"] >= {it for it in needed if not it.startswith(of_others)}
    changes = [it for it in made if not it.startswith((*LOOKS, "TestEventPattern", "SimulatePrincipalPolicy"))]
    assert changes == []


def test_all_of_it_is_asked_in_a_few_rounds(cli, people, guest):
    words = ("doctor", guest.name, *guest.profiles, "--json")
    people.record()
    told = cli(*words)

    def again():
        assert cli(*words).stdout == told.stdout

    # Whose the credentials are, the environment, its subnets; then the stacks, what they have made, what is asked about
    # that, and the policies of the role that a rule sends with. At 150 ms a call, ten are 1.5 seconds.
    assert any(it <= 10 for it in rounds_of(again, people))
