"""`make replay`: from MWAA's answer, through the function, to what a person reads."""

import pytest
from deployment import FUNCTION, Deployed, Desk
from harness import OWNER, PARTICIPANT, environment, event


@pytest.fixture
def deployed(aws, mwaa, function):
    return Deployed(aws, function)


@pytest.fixture
def replay(aws, tmp_path):
    """Runs the tool with variables, as make does."""
    desk = Desk(aws, tmp_path)
    return lambda **variables: desk.run("replay", **variables)


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
    deployed.stacks[OWNER] = {}

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
    deployed.stacks[OWNER] = {}

    said = refused(replay(ENV="analytics"))

    assert "There is no stack mwaa-vpc-endpoints" in said and "FUNCTION=" in said


def test_an_account_that_may_not_ask_is_said(aws, deployed, replay, waiting):
    aws.mwaa.reset()

    assert "AccessDenied" in refused(replay(ENV="analytics"))


def test_a_failure_of_the_function_is_said_and_the_replay_fails(aws, deployed, replay, waiting):
    aws.proxy.fail("CreateVpcEndpoint", "VpcEndpointLimitExceeded", times=2)

    said = refused(replay(ENV="analytics"))

    assert "The function failed" in said and "VpcEndpointLimitExceeded" in said
