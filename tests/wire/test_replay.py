"""`mwaa-vpc replay` and `sweep`: through the deployed function, to what a person reads."""

import datetime
import json
import re
import urllib.parse

import mwaa as emulated
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from deployment import FUNCTION, STACK, Deployed, Desk
from harness import OWNER, PARTICIPANT, REGION, ROOT, Answer, environment, event, later

NAME, GUEST = "analytics", "forecasting"
DONE, FINDINGS, USAGE, AWS = range(4)  # exit codes
OF_OWNER = ("--owner-profile", "owner")
OF_BOTH = (*OF_OWNER, "--environment-profile", "participant")


@pytest.fixture
def deployed(aws, mwaa, function):
    return Deployed(aws, function)


@pytest.fixture
def run(aws, program, tmp_path):
    """Runs the program with words."""
    desk = Desk(aws, tmp_path)

    def run(*words, **variables):
        done = Desk.finish(desk.begin(program, *words, **variables))
        assert "panicked" not in done.stderr, done.stderr
        return done

    return run


@pytest.fixture
def replay(run):
    return lambda *words, **variables: run("replay", *words, **variables)


@pytest.fixture
def sweep(run):
    return lambda *words, **variables: run("sweep", *OF_OWNER, *words, **variables)


@pytest.fixture
def waiting(mwaa, vpc):
    """An environment of the owner that waits."""
    it = event("pending-private", vpc)
    mwaa.put(it)
    return it


def said(run, code=DONE):
    """What it printed, on one line, if it ended so."""
    assert run.returncode == code, f"{run.returncode}\n{run.stdout}\n{run.stderr}"
    return " ".join(run.stdout.split())


def refused(run, code):
    """What one that has no answer said, on one line."""
    assert run.returncode == code, f"{run.returncode}\n{run.stdout}\n{run.stderr}"
    assert not run.stdout
    return " ".join(run.stderr.split())


# replay --------------------------------------------------------------------------------------


def test_a_replay_does_what_the_event_does_and_shows_it(aws, deployed, replay, vpc, sqs, waiting):
    shown = said(replay(NAME, *OF_OWNER))

    endpoints = aws.snapshot(vpc).made_for(waiting).endpoints
    assert len(endpoints) == 2
    assert all(id in shown for id in [*endpoints, sqs, environment(waiting), FUNCTION])
    assert "Outcome: changed" in shown


def test_the_function_gets_all_that_it_reads_of_mwaas_answer(mwaa, deployed, replay, vpc, waiting):
    before = mwaa.put(waiting)
    replay(NAME, *OF_OWNER)

    (payload,) = deployed.payloads
    assert payload["dryRun"] is False
    told = payload["Environment"]
    assert datetime.datetime.fromisoformat(told["CreatedAt"]).tzinfo
    source = "".join((ROOT / "src" / "event" / it).read_text() for it in ("fields.rs", "get_environment.rs"))
    read = set(re.findall(r'alias = "(\w+)"', source)) - {"SubnetIds", "SecurityGroupIds"}
    assert len(read) == 6
    for name in {"Arn", "Status", "Name"} | read:
        assert told[name] == before[name], name
    assert "/LastUpdate/CreatedAt" in source and "CreatedAt" in told["LastUpdate"]


def test_a_dry_run_shows_the_plan_and_changes_nothing(aws, deployed, replay, vpc, sqs, waiting):
    before = aws.snapshot(vpc)

    shown = said(replay(NAME, "--dry-run", *OF_OWNER))

    assert aws.snapshot(vpc) == before
    assert "would do" in shown and "database endpoint" in shown and "unchanged, as a plan" in shown


def test_a_participants_environment_is_asked_for_with_a_profile_of_its_own(
    aws, mwaa, deployed, replay, vpc, sqs
):
    guest = event("pending-participant", vpc, [aws.group(vpc.id, "airflow", PARTICIPANT)])
    mwaa.put(guest)
    assert "--environment-profile" in refused(replay(GUEST, *OF_OWNER), AWS)
    by_arn = refused(replay(environment(guest), *OF_OWNER), USAGE)
    assert f"account {PARTICIPANT}: --environment-profile" in by_arn
    assert deployed.payloads == []

    said(replay(GUEST, *OF_BOTH))

    assert len(aws.snapshot(vpc).made_for(guest).endpoints) == 2


def test_the_function_and_the_stack_can_be_named(deployed, replay, waiting):
    deployed.stacks[OWNER] = {"mine": {"FunctionName": FUNCTION}}

    said(replay(NAME, "--stack", "mine", *OF_OWNER))
    said(replay(NAME, "--function", FUNCTION, *OF_OWNER))

    assert len(deployed.payloads) == 2


@pytest.mark.parametrize(
    ("words", "variables", "code", "told"),
    [
        ((), {}, USAGE, "<ENV>"),
        (("/etc/profile", *OF_OWNER), {}, USAGE, "an environment's name"),
        ((NAME, "--dry-run=maybe", *OF_OWNER), {}, USAGE, "--dry-run"),
        (("nowhere", *OF_OWNER), {}, AWS, f"there is no environment nowhere in account {OWNER}, us-east-1"),
        ((NAME, "--function", "another", *OF_OWNER), {}, AWS, "there is no function another"),
        ((NAME, "--owner-profile", "nobody"), {}, AWS, "nobody"),
        ((NAME,), {}, AWS, "the default credentials"),
        ((NAME, *OF_OWNER), {"AWS_REGION": None}, USAGE, "there is no Region"),
    ],
    ids=lambda it: " ".join(map(str, it)) if isinstance(it, tuple) else "",
)
def test_what_is_wrong_is_said_in_a_sentence(deployed, replay, waiting, words, variables, code, told):
    assert told in refused(replay(*words, **variables), code)
    assert deployed.payloads == []


@pytest.mark.parametrize("words", [("replay", NAME), ("sweep",)], ids=" ".join)
def test_a_stack_that_is_not_there_is_said_with_what_to_do(deployed, run, waiting, words):
    deployed.stacks[OWNER] = {}
    told = refused(run(*words, *OF_OWNER), AWS)
    assert f"there is no stack {STACK} in account {OWNER}, {REGION}" in told and "--function" in told

    deployed.stacks[OWNER] = {STACK: {"Else": "x"}}
    assert "no output FunctionName" in refused(run(*words, *OF_OWNER), AWS)


def test_an_account_that_may_not_ask_is_said_with_the_policy_it_needs(aws, deployed, replay, waiting):
    aws.mwaa.reset()

    told = refused(replay(NAME, *OF_OWNER), AWS)

    assert "AccessDenied" in told and "mwaa-vpc replay --iam" in told


def test_a_failure_of_the_function_is_said_and_the_replay_fails(aws, deployed, replay, waiting):
    aws.proxy.fail("CreateVpcEndpoint", "VpcEndpointLimitExceeded", times=2)

    told = refused(replay(NAME, *OF_OWNER), FINDINGS)

    assert "the function failed" in told and "VpcEndpointLimitExceeded" in told


def test_what_may_not_be_invoked_is_said_with_the_call(aws, deployed, replay, waiting):
    answer = {"message": "not authorized to perform: lambda:InvokeFunction"}
    refusal = 403, {"x-amzn-ErrorType": "AccessDeniedException:http://x"}, json.dumps(answer).encode()
    aws.proxy.hosts["lambda"] = lambda *_: refusal

    told = refused(replay(NAME, *OF_OWNER), AWS)

    assert "Invoke answered AccessDeniedException: not authorized" in told
    assert "mwaa-vpc replay --iam" in told


@pytest.mark.parametrize("name", [FUNCTION, f"arn:aws:lambda:{REGION}:{OWNER}:function:{FUNCTION}"])
def test_an_invocation_is_signed_as_aws_wants_it(aws, deployed, replay, waiting, name):
    seen = []

    def answer(method, path, headers, body):
        seen.append((method, path, headers, body))
        return emulated.accept(RESULT)

    aws.proxy.hosts["lambda"] = answer
    said(replay(NAME, "--function", name, *OF_OWNER))

    ((method, path, headers, body),) = seen
    assert path == f"/2015-03-31/functions/{urllib.parse.quote(name, safe='')}/invocations"
    signed = re.search(r"SignedHeaders=([^,]+)", headers["Authorization"])[1].split(";")
    given = {it: headers[it] for it in signed}
    request = AWSRequest(method, f"http://lambda.{REGION}.amazonaws.com{path}", given, body)
    request.context["timestamp"] = headers["X-Amz-Date"]
    auth = SigV4Auth(Credentials("testing", "testing"), "lambda", REGION)
    text = auth.string_to_sign(request, auth.canonical_request(request))
    assert headers["Authorization"].endswith(f"Signature={auth.signature(text, request)}")


class Scripted:
    """A function that answers what a test wants."""

    def __init__(self, value):
        self.value = value

    def deliver(self, _body):
        return Answer(value=self.value)


RESULT = {"outcome": "unchanged", "resources": [], "warnings": []}


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (RESULT, DONE),
        ({**RESULT, "outcome": "ignored"}, DONE),
        ({**RESULT, "outcome": "refused"}, FINDINGS),
        ({**RESULT, "resources": [{"kind": "sqs-endpoint", "outcome": "blocked", "detail": "x"}]}, FINDINGS),
        ({"hello": "world"}, AWS),
        ("hello", AWS),
    ],
    ids=["unchanged", "ignored", "refused", "blocked", "another's", "text"],
)
def test_the_exit_code_says_whether_the_function_did_all(deployed, replay, waiting, result, code):
    deployed.function = Scripted(result)

    done = replay(NAME, "--json", *OF_OWNER)

    assert done.returncode == code, done.stdout
    answer = json.loads(done.stdout)
    assert ("error" in answer) == (code == AWS)
    if code != AWS:
        assert answer["result"] == result and answer["function"] == FUNCTION


def test_an_answer_cannot_write_on_the_terminal(deployed, replay, waiting):
    deployed.function = Scripted({**RESULT, "reason": "\x1b[2Ja\u202e", "outcome": "\x9b"})

    assert not {"\x1b", "\u202e", "\x9b"} & set(replay(NAME, *OF_OWNER).stdout)


# sweep ---------------------------------------------------------------------------------------


def test_a_sweep_puts_right_what_an_event_did_not_bring_and_shows_it(aws, deployed, sweep, vpc, sqs, waiting):
    shown = said(sweep())

    endpoints = aws.snapshot(vpc).made_for(waiting).endpoints
    assert len(endpoints) == 2 and all(id in shown for id in [*endpoints, sqs, environment(waiting)])
    assert "environments looked at: 1" in shown and "Outcome: changed" in shown
    assert deployed.payloads == [{"sweep": True, "dryRun": False}]


def test_a_dry_sweep_shows_what_would_be_done_and_changes_nothing(aws, deployed, sweep, vpc, sqs, waiting):
    before = aws.snapshot(vpc)

    shown = said(sweep("--dry-run"))

    assert aws.snapshot(vpc) == before
    assert environment(waiting) in shown and "database endpoint" in shown and ", as a plan" in shown


def test_a_sweep_that_failed_for_one_ends_with_1_and_says_for_which(aws, mwaa, deployed, sweep, vpc, sqs, waiting):
    aws.proxy.fail("CreateVpcEndpoint", "VpcEndpointLimitExceeded", times=9)

    done = sweep("--json")

    assert done.returncode == FINDINGS, done.stdout + done.stderr
    (one,) = json.loads(done.stdout)["result"]["environments"]
    assert one["environment"] == environment(waiting) and one["outcome"] in ("failed", "changed")
    shown = said(sweep(), FINDINGS)
    assert "failed" in shown and "VpcEndpointLimitExceeded" in shown


def test_a_sweep_in_which_time_ran_out_ends_with_1_and_says_so(deployed, sweep):
    short = {"outcome": "unchanged", "environments": [], "reached": 3, "notReached": 2, "accountsNotListed": 1}
    deployed.function = Scripted(short)

    shown = said(sweep(), FINDINGS)

    assert "had no turn, since time ran out: 2" in shown and "not listed, since time ran out: 1" in shown


# What both have in common ----------------------------------------------------------------------


@pytest.mark.parametrize("words", [("replay", NAME), ("sweep",)], ids=" ".join)
def test_the_policy_that_a_command_prints_is_of_the_calls_that_it_makes(aws, deployed, run, waiting, words):
    policy = json.loads(said(run(*words, "--iam", AWS_REGION=None)))
    assert not aws.proxy.calls and not deployed.payloads, "nobody was asked"
    actions = {action for it in policy["Statement"] for action in it["Action"]}

    # The function's own calls come by the same way.
    deployed.function = Scripted({**RESULT, "environments": []})
    said(run(*words, *OF_OWNER))

    named = {"GetEnvironment": "airflow:GetEnvironment", "DescribeStacks": "cloudformation:DescribeStacks"}
    made = {it.action for it in aws.proxy.calls} - {"GetCallerIdentity"}
    assert {named.get(it) or re.sub(r".*/invocations", "lambda:InvokeFunction", it) for it in made} == actions


def test_the_policy_names_the_stacks_function_alone(run):
    def resource(*words):
        policy = json.loads(said(run("sweep", "--iam", "--region", "eu-central-1", *words)))
        (statement,) = [it for it in policy["Statement"] if it["Action"] == ["lambda:InvokeFunction"]]
        return statement["Resource"]

    function = "arn:aws:lambda:eu-central-1:*:function:"
    assert resource() == f"{function}{STACK}-*"
    assert resource("--stack", "mine") == f"{function}mine-*"
    assert resource("--function", "it") == f"{function}it"


def test_a_replay_of_what_is_gone_is_refused_before_the_function_is_asked(mwaa, deployed, replay, waiting):
    mwaa.remove(later(waiting, "DELETED"))

    assert "there is no environment" in refused(replay(NAME, *OF_OWNER), AWS)
    assert deployed.payloads == []
