"""`make replay`: from MWAA's answer, through the function, to what a person reads."""

import json
import os
import subprocess
import sys

import mwaa as emulated
import pytest
from harness import AIRFLOW, OWNER, PARTICIPANT, REGION, ROOT, environment, event

FUNCTION = "mwaa-vpc-endpoints-MwaaVpcEndpointsFunction-1A2B3C4D5E6F"
STACKS = """<DescribeStacksResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/">
<DescribeStacksResult><Stacks><member><StackName>mwaa-vpc-endpoints</StackName>
<StackStatus>CREATE_COMPLETE</StackStatus><CreationTime>2026-03-01T08:00:00Z</CreationTime><Outputs>
<member><OutputKey>LogGroupName</OutputKey><OutputValue>/aws/lambda/x</OutputValue></member>
<member><OutputKey>FunctionName</OutputKey><OutputValue>{}</OutputValue></member>
</Outputs></member></Stacks></DescribeStacksResult></DescribeStacksResponse>"""
NO_STACK = """<ErrorResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/"><Error>
<Type>Sender</Type><Code>ValidationError</Code><Message>Stack with id does not exist</Message>
</Error></ErrorResponse>"""


class Deployed:
    """Lambda and CloudFormation, as far as a replay asks them, with the function behind them."""

    def __init__(self, aws, function):
        self._function = function
        self.payloads, self.stack = [], True
        aws.proxy.hosts |= {"lambda": self.invoke, "cloudformation": self.describe_stacks}

    def invoke(self, _method, path, headers, body):
        assert f"Credential={KEYS[OWNER]}/" in headers["Authorization"], "invoked by the owner"
        if f"/functions/{FUNCTION}/" not in path:
            return emulated.refuse(404, "ResourceNotFoundException", "Function not found")
        self.payloads.append(json.loads(body))
        answer = self._function.deliver(body)
        if answer.ok:
            return emulated.accept(answer.value)
        status, headers, content = emulated.accept({"errorMessage": answer.error})
        return status, {**headers, "X-Amz-Function-Error": "Unhandled"}, content

    def describe_stacks(self, *_):
        status, text = (200, STACKS.format(FUNCTION)) if self.stack else (400, NO_STACK)
        return status, {"Content-Type": "text/xml"}, text.encode()


KEYS = {OWNER: "testing"}


@pytest.fixture
def deployed(aws, mwaa, function):
    return Deployed(aws, function)


@pytest.fixture
def replay(aws, tmp_path):
    """Runs the tool with variables, as make does, with a profile for each account."""
    iam = aws.client("iam", PARTICIPANT)
    iam.create_user(UserName="airflow")
    key = iam.create_access_key(UserName="airflow")["AccessKey"]["AccessKeyId"]
    credentials = tmp_path / "credentials"
    credentials.write_text(
        f"[owner]\naws_access_key_id = {KEYS[OWNER]}\naws_secret_access_key = testing\n"
        f"[participant]\naws_access_key_id = {key}\naws_secret_access_key = testing\n"
    )
    address = {
        name: f"http://{name.lower()}.{REGION}.amazonaws.com"
        for name in ("LAMBDA", "CLOUDFORMATION")
    }
    surroundings = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_ENDPOINT_URL_MWAA": AIRFLOW,
        **{f"AWS_ENDPOINT_URL_{name}": url for name, url in address.items()},
        "HTTP_PROXY": f"http://127.0.0.1:{aws.proxy.port}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }

    def replay(**variables):
        asked = {"REGION": REGION, "PROFILE": "owner", **variables}
        return subprocess.run(
            [sys.executable, ROOT / "tools" / "replay.py"],
            env={**surroundings, **{name: value for name, value in asked.items() if value}},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return replay


@pytest.fixture
def waiting(mwaa, vpc):
    """An environment of the owner that waits."""
    it = event("pending-private", vpc)
    mwaa.put(it)
    return it


def refused(run):
    """What a replay that failed said, on one line."""
    assert run.returncode == 1, run.stdout + run.stderr
    assert "Traceback" not in run.stderr
    return " ".join(run.stdout.split())


def test_a_replay_does_what_the_event_does_and_shows_it(aws, deployed, replay, vpc, sqs, waiting):
    run = replay(ENV="analytics")

    assert run.returncode == 0, run.stdout + run.stderr
    endpoints = aws.snapshot(vpc).made_for(waiting).endpoints
    assert len(endpoints) == 2
    assert all(id in run.stdout for id in [*endpoints, sqs, environment(waiting)])
    assert "Outcome: changed" in run.stdout


def test_the_function_gets_what_the_cli_would_print(deployed, replay, vpc, waiting):
    replay(ENV="analytics")

    (payload,) = deployed.payloads
    assert payload["dryRun"] is False
    told = payload["Environment"]
    assert told["CreatedAt"][10] == "T" and told["CreatedAt"][-6] in "+-"
    assert told["DatabaseVpcEndpointService"] == waiting["detail"]["databaseVpcEndpointService"]


def test_a_dry_run_shows_the_plan_and_changes_nothing(aws, deployed, replay, vpc, sqs, waiting):
    before = aws.snapshot(vpc)

    run = replay(ENV="analytics", DRY_RUN="1")

    assert run.returncode == 0, run.stdout + run.stderr
    assert aws.snapshot(vpc) == before
    assert "would do" in run.stdout and "database endpoint" in run.stdout


def test_a_participants_environment_is_asked_for_with_a_profile_of_its_own(
    aws, mwaa, deployed, replay, vpc, sqs
):
    guest = event("pending-participant", vpc, [aws.group(vpc.id, "airflow", PARTICIPANT)])
    mwaa.put(guest)
    assert "ENV_PROFILE" in refused(replay(ENV="forecasting"))

    run = replay(ENV="forecasting", ENV_PROFILE="participant")

    assert run.returncode == 0, run.stdout + run.stderr
    assert len(aws.snapshot(vpc).made_for(guest).endpoints) == 2


def test_the_function_can_be_named(deployed, replay, waiting):
    deployed.stack = False

    assert replay(ENV="analytics", FUNCTION=FUNCTION).returncode == 0


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "make replay ENV=name"),
        ({"ENV": "/etc/profile"}, "no name of an environment"),
        ({"ENV": "analytics", "DRY_RUN": "maybe"}, "DRY_RUN"),
        ({"ENV": "nowhere"}, "There is no environment nowhere in us-east-1"),
        ({"ENV": "analytics", "FUNCTION": "another"}, "There is no function another"),
        ({"ENV": "analytics", "PROFILE": "nobody"}, "nobody"),
        ({"ENV": "analytics", "PROFILE": None}, "no AWS credentials"),
        ({"ENV": "analytics", "REGION": None}, "There is no Region"),
    ],
    ids=lambda value: " ".join(map(str, value)) or "nothing" if isinstance(value, dict) else "",
)
def test_what_is_wrong_is_said_in_a_sentence(deployed, replay, waiting, variables, said):
    assert said in refused(replay(**variables))
    assert deployed.payloads == []


def test_a_stack_that_is_not_there_is_said_with_what_to_do(deployed, replay, waiting):
    deployed.stack = False

    said = refused(replay(ENV="analytics"))

    assert "There is no stack mwaa-vpc-endpoints" in said and "FUNCTION=" in said


def test_an_account_that_may_not_ask_is_said(aws, deployed, replay, waiting):
    aws.mwaa.reset()

    assert "AccessDenied" in refused(replay(ENV="analytics"))


def test_a_failure_of_the_function_is_said_and_the_replay_fails(aws, deployed, replay, waiting):
    aws.proxy.fail("CreateVpcEndpoint", "VpcEndpointLimitExceeded", times=2)

    said = refused(replay(ENV="analytics"))

    assert "The function failed" in said and "VpcEndpointLimitExceeded" in said
