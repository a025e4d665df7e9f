"""`mwaa-vpc redrive`: from what lies in the queues for lost events to what a person reads."""

import json
import signal
import threading
from collections import Counter

import pytest
from deployment import FUNCTION, Deployed, Desk, made
from harness import OWNER, PARTICIPANT, Answer, environment, event, later, needed_beside, sample

pytestmark = pytest.mark.usefixtures("failed", "undelivered")

NO_MWAA = "--environment-profile"  # what is said where nobody may be asked
DONE, LEFT, USAGE, AWS = range(4)  # exit codes
OF_PARTICIPANT = ("--environment-profile", "participant")
PARTICIPANTS = ("--queue", "participant", *OF_PARTICIPANT)


# What lies in the queues ---------------------------------------------------------------------


def lost(name="analytics", status="PENDING", account=OWNER, hours=0, **detail):
    """An event of an environment."""
    it = sample("pending-private")
    it["account"] = account
    it["detail"]["name"] = name
    return later(it, status, hours, **detail)


def life(*statuses):
    """The events of a participant's environment, an hour between them."""
    return [lost(status=it, account=PARTICIPANT, hours=at) for at, it in enumerate(statuses)]


def record(payload, error="ActionsFailed", message="VpcEndpointLimitExceeded: too many"):
    """What Lambda writes when it gives up on an invocation; without an error it was never made.

    https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
    """
    it = {
        "version": "1.0",
        "timestamp": "2026-03-01T09:18:05.568Z",
        "requestContext": {
            "requestId": "e4b46cbf-b738-4d1a-8880-a18cdf61200e",
            "functionArn": f"arn:aws:lambda:us-east-1:{OWNER}:function:{FUNCTION}:$LATEST",
            "condition": "RetriesExhausted" if error else "EventAgeExceeded",
            "approximateInvokeCount": 3 if error else 0,
        },
        "requestPayload": payload,
    }
    if error:
        it["responseContext"] = {
            "statusCode": 200,
            "executedVersion": "$LATEST",
            "functionError": "Unhandled",
        }
        it["responsePayload"] = {"errorType": error, "errorMessage": message}
    return it


def reasons(code="NO_PERMISSIONS", message="Not authorized to invoke", **more):
    """What EventBridge puts beside an event that it could not deliver.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/rule-dlq.html
    """
    return {
        "RULE_ARN": f"arn:aws:events:us-east-1:{OWNER}:rule/mwaa",
        "TARGET_ARN": f"arn:aws:lambda:us-east-1:{OWNER}:function:{FUNCTION}",
        "ERROR_CODE": code,
        "ERROR_MESSAGE": message,
        "RETRY_ATTEMPTS": "0",
        **more,
    }


# The stack and a person ----------------------------------------------------------------------


class Scripted:
    """A function that answers with the outcome of each environment, or fails."""

    def __init__(self):
        self.outcomes = {}

    def deliver(self, body):
        payload = json.loads(body)
        answer = payload.get("Environment")
        name = answer["Name"] if answer else payload["detail"]["name"]
        outcome = self.outcomes.get(name, "changed")
        if outcome.startswith("Error: "):
            return Answer(error=outcome)
        return Answer(value={"outcome": outcome, "resources": [], "warnings": []})


@pytest.fixture
def scripted():
    return Scripted()


@pytest.fixture
def deployed(aws, mwaa, scripted):
    return Deployed(aws, scripted)


@pytest.fixture
def participants(aws, deployed):
    queue = made(aws, "participants", PARTICIPANT)
    deployed.stacks[PARTICIPANT] = {
        "other": {"SomeUrl": "x"},
        "any-name": {"UndeliveredEventsQueueUrl": queue.url},
    }
    return queue


@pytest.fixture
def begin(aws, program, tmp_path):
    """Begins to run the program with words."""
    desk = Desk(aws, tmp_path)

    def begin(*words, owner="owner", **variables):
        profile = ("--owner-profile", owner) if owner else ()
        return desk.begin(program, "redrive", *profile, *words, **variables)

    return begin


@pytest.fixture
def redrive(begin):
    """Runs the program."""

    def redrive(*words, **variables):
        run = Desk.finish(begin(*words, **variables))
        assert "panicked" not in run.stderr, run.stderr
        run.said = " ".join(run.stdout.split())
        return run

    return redrive


def served(run):
    assert run.returncode == DONE, run.stdout + run.stderr
    return run.said


def not_all(run):
    assert run.returncode == LEFT, run.stdout + run.stderr
    return run.said


def about(deployed):
    """Of which environment each invocation was, and with whose word."""
    return [
        (it["Environment"]["Name"], "MWAA") if "Environment" in it else (it["detail"]["name"], it["detail"]["status"])
        for it in deployed.payloads
    ]


# What is served, and from what ---------------------------------------------------------------


def test_what_lambda_gave_up_on_is_made_right_and_leaves_the_queue(
    aws, mwaa, deployed, failed, redrive, function, vpc, sqs
):
    waiting = event("pending-private", vpc)
    mwaa.put(waiting)
    deployed.function = function
    failed.put(record(waiting))

    said = served(redrive())

    endpoints = aws.snapshot(vpc).made_for(waiting).endpoints
    assert len(endpoints) == 2 and all(id in said for id in [*endpoints, sqs])
    assert "ActionsFailed: VpcEndpointLimitExceeded: too many" in said
    assert "1 message dealt with and deleted, 0 left" in said
    assert failed.visible == 0


def test_what_eventbridge_could_not_deliver_is_served_with_its_reason(mwaa, deployed, undelivered, redrive):
    mwaa.put(lost())
    condition = {"EXHAUSTED_RETRY_CONDITION": "MaximumEventAgeInSeconds"}
    undelivered.put(lost(), reasons("THROTTLING", "Rate exceeded", **condition))

    said = served(redrive())

    assert "THROTTLING: Rate exceeded (MaximumEventAgeInSeconds, after 0 attempts)" in said
    assert about(deployed) == [("analytics", "MWAA")] and undelivered.visible == 0


def test_an_event_that_was_never_handed_over_says_so(mwaa, failed, redrive):
    mwaa.put(lost())
    failed.put(record(lost(), error=None))

    assert "EventAgeExceeded, after no invocations, without an error" in served(redrive())


def test_what_mwaa_says_now_is_handed_over_and_not_the_old_event(mwaa, deployed, failed, redrive):
    mwaa.put(lost(status="AVAILABLE"))
    failed.put(record(lost(status="PENDING")))

    served(redrive())

    (payload,) = deployed.payloads
    assert list(payload) == ["Environment"] and payload["Environment"]["Status"] == "AVAILABLE"


def test_one_invocation_serves_all_messages_of_an_environment(mwaa, deployed, failed, undelivered, redrive):
    mwaa.put(lost())
    for hours, status in enumerate(["PENDING", "UPDATING", "DELETED"]):
        failed.put(record(lost(status=status, hours=hours)))
    undelivered.put(lost(), reasons())

    assert "4 messages dealt with" in served(redrive())

    assert about(deployed) == [("analytics", "MWAA")]
    assert (failed.visible, undelivered.visible) == (0, 0)


def test_where_mwaa_may_not_be_asked_each_event_is_handed_over_as_it_is_in_order(deployed, failed, redrive):
    events = life("PENDING", "UPDATING", "AVAILABLE")
    for it in (events[2], events[0], events[1]):
        failed.put(record(it))

    assert NO_MWAA in served(redrive())

    assert deployed.payloads == events and failed.visible == 0


def test_an_account_that_lets_nobody_ask_is_served_from_its_events(aws, deployed, failed, redrive):
    aws.mwaa.reset()
    failed.put(record(lost()))

    assert "may not ask MWAA" in served(redrive())

    assert deployed.payloads == [lost()]


def test_what_is_older_than_the_last_deletion_goes_with_it(deployed, failed, redrive):
    events = life("PENDING", "DELETED", "PENDING")
    for it in events:
        failed.put(record(it))

    served(redrive())

    assert deployed.payloads == events[1:] and failed.visible == 0


def test_an_answer_of_mwaa_that_failed_as_a_payload_is_served_too(mwaa, deployed, failed, redrive):
    told = {**mwaa.put(lost()), "CreatedAt": "2026-03-01T08:00:00+00:00"}
    failed.put(record({"Environment": told}))

    served(redrive())

    assert about(deployed) == [("analytics", "MWAA")] and failed.visible == 0


# Whose environment ---------------------------------------------------------------------------


def test_an_account_is_never_asked_about_anothers_environment_of_the_same_name(aws, mwaa, deployed, failed, redrive):
    mwaa.put(lost())
    failed.put(record(lost(account=PARTICIPANT)))

    served(redrive())

    assert deployed.payloads == [lost(account=PARTICIPANT)]
    assert "GetEnvironment" not in [it.action for it in aws.proxy.calls]


def test_a_participants_environment_is_asked_for_with_its_profile(mwaa, deployed, failed, redrive):
    mwaa.put(lost(status="AVAILABLE"))
    mwaa.put(lost(status="UPDATING", account=PARTICIPANT))
    for account in (OWNER, PARTICIPANT):
        failed.put(record(lost(account=account)))

    served(redrive(*OF_PARTICIPANT))

    assert sorted(it["Environment"]["Arn"].split(":")[4] for it in deployed.payloads) == [OWNER, PARTICIPANT]


def test_an_answer_about_another_environment_is_not_handed_over(mwaa, deployed, failed, redrive):
    mwaa.put(lost(), Arn=environment(lost(account=PARTICIPANT)))
    failed.put(record(lost()))

    assert "the answer is" in not_all(redrive())

    assert deployed.payloads == [] and failed.visible == 1


def test_an_event_of_another_region_is_not_asked_for_here(aws, mwaa, deployed, failed, redrive):
    mwaa.put(lost())
    failed.put(record({**lost(), "region": "eu-west-1"}))

    served(redrive())

    assert "GetEnvironment" not in [it.action for it in aws.proxy.calls]
    assert deployed.payloads[0]["region"] == "eu-west-1"


# What is gone --------------------------------------------------------------------------------


def test_what_is_left_of_an_environment_that_is_gone_is_taken_away(aws, mwaa, deployed, failed, redrive, function, vpc):
    waiting = event("pending-private", vpc)
    mwaa.put(waiting)
    function.deliver(waiting)
    mwaa.remove(waiting)
    deployed.function = function
    failed.put(record(waiting))
    failed.put(record(later(waiting, "DELETED")))

    served(redrive())

    assert aws.snapshot(vpc).alive.made_for(waiting).endpoints == {}
    assert len(deployed.payloads) == 1 and failed.visible == 0


def test_an_event_of_an_environment_that_is_gone_is_deleted_if_the_function_has_nothing_to_do(
    deployed, scripted, failed, redrive
):
    scripted.outcomes["analytics"] = "ignored"
    failed.put(record(lost()))

    served(redrive())

    assert failed.visible == 0


def test_an_environment_that_is_gone_is_not_served_again(deployed, scripted, failed, redrive):
    failed.put(record(lost()))

    assert "see docs/runbook.md" in not_all(redrive())

    assert [it["dryRun"] for it in deployed.payloads] == [True] and failed.visible == 1


@pytest.mark.parametrize("status", ["DELETING", "DELETED"])
def test_a_deletion_waits_until_mwaa_says_that_it_is_done(mwaa, deployed, failed, redrive, status):
    mwaa.put(lost(status=status))
    failed.put(record(lost(status="DELETED")))

    assert f"MWAA says that it is {status}" in not_all(redrive())

    assert deployed.payloads == [] and failed.visible == 1


# Sweeps, and what is none of ours ------------------------------------------------------------


def test_sweeps_are_shown_and_dropped_without_an_invocation(deployed, failed, undelivered, redrive):
    failed.put(record({"sweep": True}, "LookFailed", "RequestLimitExceeded"))
    undelivered.put({"sweep": True}, reasons())

    said = served(redrive())

    assert "LookFailed: RequestLimitExceeded" in said and "NO_PERMISSIONS" in said
    assert deployed.payloads == [] and (failed.visible, undelivered.visible) == (0, 0)


STRANGE = [
    "not JSON",
    "[" * 20_000,
    [1],
    "null",
    {"detail": "none"},
    {**lost(), "source": "aws.s3"},
    {**lost(), "detail-type": "Object Created"},
    {**lost(), "account": 111122223333},
    {**lost(), "account": "١" * 12},
    {**lost(), "region": "../x"},
    {**lost(), "detail": {"status": "PENDING"}},
    lost("a/../b"),
    lost(status="\x1b[2J"),
    {"Environment": {"Arn": "arn:aws:s3:::x"}},
    {"sweep": "true"},
    record(None),
]


def test_what_is_no_event_of_ours_is_shown_left_and_counted(mwaa, deployed, failed, undelivered, redrive):
    mwaa.put(lost())
    for it in STRANGE:
        undelivered.put(it, reasons())
    failed.put(record(lost()))

    said = not_all(redrive())

    assert f"No event of an environment {len(STRANGE)} messages" in said and "not JSON" in said
    assert f"1 message dealt with and deleted, {len(STRANGE)} left" in said
    assert len(deployed.payloads) == 1 and undelivered.visible == len(STRANGE)


def test_a_message_cannot_write_on_the_terminal(mwaa, undelivered, redrive):
    undelivered.put("\x1b]0;title\x07 \x9b2J \u202e", reasons(message="\x1b[31mred"))
    mwaa.put(lost())
    undelivered.put(lost(), reasons(message="\x1b[31mred\x08"))

    run = redrive()

    assert not {"\x1b", "\x07", "\x08", "\x9b", "\u202e"} & set(run.stdout)


# Empty and long queues -----------------------------------------------------------------------


def test_empty_queues_are_said_to_be_empty(deployed, redrive):
    said = served(redrive())

    assert "FailedEventsQueue is empty" in said and "UndeliveredEventsQueue is empty" in said


def test_messages_that_somebody_else_received_are_told(deployed, failed, redrive):
    failed.put(record(lost()))
    failed.client.receive_message(QueueUrl=failed.url, VisibilityTimeout=300)
    assert "Somebody else holds 1 message of FailedEventsQueue" in not_all(redrive())

    failed.put({"sweep": True})  # and what can be received is dealt with
    answer = json.loads(not_all(redrive("--json")))
    assert [answer[it] for it in ("done", "left", "heldByOthers")] == [1, 0, 1]

    deployed.sqs_refuses["GetQueueAttributes"] = "AccessDenied"
    run = redrive()
    assert run.returncode == AWS and "is not known" in run.said and "is empty" not in run.said


class Long:
    """SQS with a long queue, which takes moto minutes."""

    def __init__(self, queue, bodies):
        self.url, self.hidden = queue.url, set()
        self.messages = {str(at): it if isinstance(it, str) else json.dumps(it) for at, it in enumerate(bodies)}

    def answer(self, _method, _path, headers, body):
        asked, call = json.loads(body), headers["X-Amz-Target"].partition(".")[2]
        told = {}
        if asked["QueueUrl"] == self.url:
            told = getattr(self, call)(asked)
        return 200, {"Content-Type": "application/x-amz-json-1.0"}, json.dumps(told).encode()

    def ReceiveMessage(self, asked):
        ids = [it for it in self.messages if it not in self.hidden][: asked["MaxNumberOfMessages"]]
        self.hidden |= set(ids)
        return {"Messages": [{"MessageId": it, "ReceiptHandle": it, "Body": self.messages[it]} for it in ids]}

    def DeleteMessageBatch(self, asked):
        for it in asked["Entries"]:
            del self.messages[it["ReceiptHandle"]]
            self.hidden.remove(it["ReceiptHandle"])
        return {"Successful": [{"Id": it["Id"]} for it in asked["Entries"]], "Failed": []}

    def ChangeMessageVisibilityBatch(self, asked):
        assert {it["VisibilityTimeout"] for it in asked["Entries"]} == {0}
        self.hidden -= {it["ReceiptHandle"] for it in asked["Entries"]}
        return {"Successful": [{"Id": it["Id"]} for it in asked["Entries"]], "Failed": []}

    def GetQueueAttributes(self, _asked):
        return {"Attributes": {"ApproximateNumberOfMessagesNotVisible": str(len(self.hidden))}}


@pytest.mark.parametrize("strange", [7, 1207], ids=["at once", "by turns"])
def test_of_a_long_queue_each_message_is_served_once(mwaa, deployed, failed, redrive, strange):
    names = [f"e{number}" for number in range(23)]
    for name in names:
        mwaa.put(lost(name))
    half = [record(lost(name)) for name in names[:11]], [record(lost(name)) for name in names[11:]]
    queue = Long(failed, [*half[0], *["strange"] * strange, *half[1]])
    deployed.aws.proxy.hosts["sqs"] = queue.answer

    said = not_all(redrive())

    assert f"23 messages dealt with and deleted, {strange} left" in said
    assert said.count("the first 500 messages") == (2 if strange > 1000 else 0)
    assert Counter(about(deployed)) == {(name, "MWAA"): 1 for name in names}
    assert len(queue.messages) == strange and not queue.hidden


def test_a_message_that_sqs_hands_out_twice_is_one(mwaa, deployed, failed, redrive):
    mwaa.put(lost())
    failed.put(record(lost()))
    ask_sqs, answers = deployed.ask_sqs, []

    def repeat(method, path, headers, body):
        answer = ask_sqs(method, path, headers, body)
        if headers["X-Amz-Target"].endswith(".ReceiveMessage"):
            answers.append(answer)
            return answers[0] if len(answers) == 2 else answer
        return answer

    deployed.aws.proxy.hosts["sqs"] = repeat

    assert "1 message dealt with and deleted, 0 left" in served(redrive())


def test_what_is_received_is_hidden_for_half_an_hour_and_sqs_looks_on_all_its_servers(mwaa, deployed, failed, redrive):
    mwaa.put(lost())
    failed.put(record(lost()))

    redrive()

    received = [it for call, it in deployed.sqs_calls if call == "ReceiveMessage"]
    assert all(it["VisibilityTimeout"] == 1800 and it["WaitTimeSeconds"] == 1 for it in received)


# What fails ----------------------------------------------------------------------------------


@pytest.fixture
def two(mwaa, scripted, failed):
    """Messages of two environments, of which the function cannot serve the first."""
    for name in ("bad", "good"):
        mwaa.put(lost(name))
        failed.put(record(lost(name)))
    scripted.outcomes["bad"] = "Error: RulesPerSecurityGroupLimitExceeded"


def test_a_failure_stops_the_redrive_and_its_message_stays(two, deployed, failed, redrive):
    said = not_all(redrive())

    assert "RulesPerSecurityGroupLimitExceeded" in said and "--keep-going" in said
    assert about(deployed) == [("bad", "MWAA")] and failed.visible == 2


def test_it_goes_on_after_a_failure_if_told_to(two, deployed, failed, redrive):
    said = not_all(redrive("--keep-going"))

    assert "1 message dealt with and deleted, 1 left" in said
    assert len(deployed.payloads) == 2 and failed.visible == 1


@pytest.mark.parametrize("outcome", ["refused", "failed", "unheard-of"])
def test_an_outcome_that_is_no_success_deletes_nothing(mwaa, scripted, failed, redrive, outcome):
    mwaa.put(lost())
    scripted.outcomes["analytics"] = outcome
    failed.put(record(lost()))

    assert f"the outcome is {outcome}" in not_all(redrive())

    assert failed.visible == 1


def test_while_mwaa_does_not_answer_nothing_is_handed_over(aws, mwaa, deployed, failed, redrive):
    mwaa.put(lost())
    aws.proxy.fail("GetEnvironment", "InternalServerException", status=500, times=9)
    failed.put(record(lost()))

    assert "InternalServerException" in not_all(redrive())

    assert deployed.payloads == [] and failed.visible == 1


def test_a_message_that_cannot_be_deleted_is_told_and_can_be_received_again(mwaa, deployed, failed, redrive):
    mwaa.put(lost())
    failed.put(record(lost()))
    deployed.sqs_refuses["DeleteMessageBatch"] = "AccessDenied"

    assert "AccessDenied" in not_all(redrive())

    assert failed.visible == 1


def test_a_message_that_sqs_keeps_when_it_deletes_others_is_told(mwaa, deployed, failed, undelivered, redrive):
    mwaa.put(lost())
    failed.put(record(lost()))
    undelivered.put(lost(), reasons())
    ask_sqs = deployed.ask_sqs

    def keep(method, path, headers, body):
        if not headers["X-Amz-Target"].endswith(".DeleteMessageBatch") or failed.url not in body.decode():
            return ask_sqs(method, path, headers, body)
        kept = [{"Id": it["Id"], "Code": "InternalError", "SenderFault": False} for it in json.loads(body)["Entries"]]
        told = json.dumps({"Successful": [], "Failed": kept})
        return 200, {"Content-Type": "application/x-amz-json-1.0"}, told.encode()

    deployed.aws.proxy.hosts["sqs"] = keep

    said = not_all(redrive())

    assert "could not be deleted from FailedEventsQueue: InternalError" in said
    assert "1 message dealt with and deleted, 1 left" in said
    assert (failed.visible, undelivered.visible) == (1, 0)


def test_a_message_that_cannot_be_put_back_is_told(two, deployed, redrive):
    deployed.sqs_refuses["ChangeMessageVisibilityBatch"] = "AccessDenied"

    assert "2 messages of FailedEventsQueue cannot be seen for half an hour" in not_all(redrive())


# A dry run -----------------------------------------------------------------------------------


def test_a_dry_run_shows_the_plan_and_touches_nothing(aws, mwaa, deployed, failed, redrive, function, vpc, sqs):
    waiting = event("pending-private", vpc)
    mwaa.put(waiting)
    deployed.function = function
    failed.put(record(waiting))
    failed.put(record({"sweep": True}))
    seen, before = [], aws.snapshot(vpc)
    deployed.while_invoked = lambda _: seen.append(failed.counts)

    said = served(redrive("--dry-run"))

    assert aws.snapshot(vpc) == before
    assert seen == [(2, 0)] and failed.visible == 2, "visible again while it is at work"
    assert "database endpoint" in said and "unchanged, as a plan" in said
    assert "2 messages would be dealt with, 0 would be left" in said


def test_a_dry_run_tells_the_function_so_whatever_it_is_served_from(mwaa, deployed, failed, redrive):
    mwaa.put(lost("known"))
    failed.put(record(lost("known")))
    failed.put(record(lost("other", account=PARTICIPANT)))
    failed.put(record(lost("gone", status="DELETED")))

    served(redrive("--dry-run"))

    assert [it["dryRun"] for it in deployed.payloads] == [True] * 3 and failed.visible == 3


# Interrupted, and two at once ----------------------------------------------------------------


class Gate:
    """Holds up whoever comes first, until the test lets it on."""

    def __init__(self):
        self._reached, self._open = threading.Event(), threading.Event()

    def pass_by(self, *_):
        self._reached.set()
        assert self._open.wait(30)

    def wait(self):
        assert self._reached.wait(30)

    def open(self):
        self._open.set()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda it: it.name)
def test_an_interruption_while_the_function_is_at_work_loses_nothing(two, deployed, failed, begin, signum):
    failed.put("strange")
    gate = Gate()
    deployed.while_invoked = gate.pass_by
    process = begin()
    gate.wait()
    assert failed.counts == (0, 3)

    process.send_signal(signum)
    run = Desk.finish(process)
    gate.open()

    assert run.returncode == 128 + signum, run.stdout + run.stderr
    assert "Interrupted" in run.stdout and "3 left in the queue" in run.stdout
    assert not run.stderr and failed.visible == 3


@pytest.mark.parametrize("call, remain", [("ReceiveMessage", 1), ("DeleteMessageBatch", 0)])
def test_an_interruption_while_sqs_is_called_waits_for_its_answer(mwaa, deployed, failed, begin, call, remain):
    mwaa.put(lost())
    failed.put(record(lost()))
    gate, ask_sqs = Gate(), deployed.ask_sqs

    def held_up(method, path, headers, body):
        answer = ask_sqs(method, path, headers, body)
        if headers["X-Amz-Target"].endswith(f".{call}"):
            gate.pass_by()
        return answer

    deployed.aws.proxy.hosts["sqs"] = held_up
    process = begin()
    gate.wait()

    process.send_signal(signal.SIGINT)
    gate.open()
    run = Desk.finish(process)

    assert run.returncode == 130, run.stdout + run.stderr
    assert failed.visible == remain and len(deployed.payloads) == 1 - remain


def test_two_redrives_at_once_serve_each_message_once(mwaa, deployed, failed, begin, redrive):
    names = [f"e{number}" for number in range(5)]
    for name in names:
        mwaa.put(lost(name))
        failed.put(record(lost(name)))
    gate = Gate()
    deployed.while_invoked = gate.pass_by
    first = begin()
    gate.wait()

    said = not_all(redrive())
    gate.open()
    run = Desk.finish(first)

    assert "holds 5 messages of FailedEventsQueue" in said
    assert run.returncode == 0 and failed.visible == 0
    assert Counter(about(deployed)) == {(name, "MWAA"): 1 for name in names}


# A participant's queue -----------------------------------------------------------------------


@pytest.fixture
def guest(mwaa):
    """An environment of a participant's, as it is."""
    return mwaa.put(lost("forecasting", status="AVAILABLE", account=PARTICIPANT))


def test_a_participants_queue_is_found_and_only_mwaas_word_handed_over(guest, participants, deployed, redrive):
    forged = lost("forecasting", account=PARTICIPANT, networkConfiguration={"subnetIds": ["subnet-00000000"]})
    participants.put(forged, reasons("NO_PERMISSIONS"))

    assert "NO_PERMISSIONS" in served(redrive(*PARTICIPANTS))

    (payload,) = deployed.payloads
    assert payload["Environment"]["Status"] == "AVAILABLE" and list(payload) == ["Environment"]
    assert participants.visible == 0


@pytest.mark.parametrize(
    "body",
    [
        lost("gone", status="DELETED", account=PARTICIPANT),
        lost("gone", account=PARTICIPANT),
        lost("theirs", status="DELETED", account="333344445555"),
        {**lost("forecasting", status="DELETED", account=PARTICIPANT), "region": "eu-west-1"},
        record(lost("gone", status="DELETED", account=PARTICIPANT)),
        {"sweep": True},
    ],
    ids=["gone and deleted", "gone", "another account", "another Region", "a record", "a sweep"],
)
def test_what_mwaa_does_not_answer_for_is_left_in_a_participants_queue(guest, participants, deployed, redrive, body):
    participants.put(body)

    assert "eft in the queue" in not_all(redrive(*PARTICIPANTS))

    assert deployed.payloads == [] and participants.visible == 1


def test_nothing_is_served_from_a_participants_queue_where_mwaa_may_not_be_asked(aws, participants, deployed, redrive):
    aws.mwaa.reset()
    participants.put(lost("forecasting", account=PARTICIPANT))

    assert "may not ask MWAA" in not_all(redrive(*PARTICIPANTS))

    assert deployed.payloads == [] and participants.visible == 1


def test_a_queue_of_the_owners_account_that_is_not_the_stacks_is_not_believed_either(aws, deployed, redrive):
    other = made(aws, "other")
    other.put(lost("gone", status="DELETED"))

    assert "others may have written" in not_all(redrive("--queue", other.url))

    assert deployed.payloads == [] and other.visible == 1


def test_a_queue_of_the_stacks_is_believed_by_its_url_too(deployed, failed, redrive):
    failed.put(record(lost("gone", status="DELETED")))

    served(redrive("--queue", failed.url))

    assert about(deployed) == [("gone", "DELETED")] and failed.visible == 0


def test_one_queue_can_be_named(mwaa, deployed, failed, undelivered, redrive):
    mwaa.put(lost())
    failed.put(record(lost()))
    undelivered.put(lost(), reasons())

    served(redrive("--queue", "undelivered"))

    assert (failed.visible, undelivered.visible) == (1, 0)


# What is wrong with what was asked -----------------------------------------------------------


@pytest.mark.parametrize(
    "words, variables, code, said",
    [
        (("--queue", "all"), {}, USAGE, '--queue: "all" is none of'),
        (("--queue", "participant"), {}, USAGE, "name a profile of the participant's account: --environment-profile"),
        (("--queue", "participant", "--environment-profile", "owner"), {}, AWS, "there is no stack of participant.yaml"),
        (("--dry-run=maybe",), {}, USAGE, "--dry-run"),
        (("--keep-going=maybe",), {}, USAGE, "--keep-going"),
        (("--stack", "another"), {}, AWS, "there is no stack another"),
        (("--stack", "another", "--function", FUNCTION), {}, AWS, "FailedEventsQueue is not known"),
        (("--function", "another"), {}, LEFT, "there is no function another"),
        ((), {"owner": "nobody"}, AWS, "nobody"),
        ((), {"owner": None}, AWS, "the default credentials"),
        ((), {"AWS_REGION": None}, USAGE, "there is no Region"),
    ],
    ids=lambda it: " ".join(map(str, it)) if isinstance(it, (tuple, dict)) else "",
)
def test_what_is_wrong_is_said_in_a_sentence(mwaa, deployed, failed, redrive, words, variables, code, said):
    mwaa.put(lost())
    failed.put(record(lost()))

    run = redrive(*words, **variables)

    assert run.returncode == code, run.stdout + run.stderr
    assert said in " ".join((run.stdout if code == LEFT else run.stderr).split())
    assert deployed.payloads == [] and failed.visible == 1


def test_what_may_not_be_received_is_said_with_the_policy_it_needs(deployed, failed, redrive):
    deployed.sqs_refuses["ReceiveMessage"] = "AccessDenied"

    run = redrive()

    assert run.returncode == AWS
    assert "ReceiveMessage answered AccessDenied" in run.stderr and "mwaa-vpc redrive --iam" in run.stderr


# For programs ----------------------------------------------------------------------------------


def test_a_program_is_told_every_message_every_invocation_and_what_is_left(two, deployed, failed, redrive):
    failed.put("strange")
    failed.put(record({"sweep": True}, "LookFailed", "no"))

    run = redrive("--json", "--keep-going")
    assert run.returncode == LEFT, run.stderr
    told = json.loads(run.stdout)

    assert (told["done"], told["left"], told["dryRun"]) == (2, 2, False)
    found = {it["environment"] or it["messages"][0]["why"]: it for it in told["found"]}
    bad, good = found[environment(lost("bad"))], found[environment(lost("good"))]
    assert "RulesPerSecurityGroupLimitExceeded" in bad["left"] and bad["invocations"] == []
    assert good["left"] is None and good["invocations"][0]["result"]["outcome"] == "changed"
    assert good["messages"][0]["queue"] == "FailedEventsQueue" and good["messages"][0]["status"] == "PENDING"
    assert found["LookFailed: no"]["left"] is None
    assert found["no reason is told"]["messages"][0]["text"] == "strange"


def test_the_policy_that_it_prints_is_of_the_calls_that_it_makes(aws, deployed, mwaa, failed, participants, redrive):
    policy = json.loads(served(redrive("--iam")))
    assert not aws.proxy.calls, "nobody was asked"
    actions = {action for it in policy["Statement"] for action in it["Action"]}

    mwaa.put(lost())
    failed.put(record(lost()))
    failed.put("strange")
    redrive()
    redrive(*PARTICIPANTS)

    single = {"DeleteMessageBatch": "DeleteMessage", "ChangeMessageVisibilityBatch": "ChangeMessageVisibility"}
    queues = {f"sqs:{single.get(call, call)}" for call, _ in deployed.sqs_calls}
    assert deployed.payloads and "GetEnvironment" in {it.action for it in aws.proxy.calls}
    others = {"airflow:GetEnvironment", "cloudformation:DescribeStacks", "lambda:InvokeFunction"}
    others |= needed_beside(aws.proxy.calls)
    assert "cloudformation:ListStacks" in others and queues | others == actions


def test_the_policy_names_the_stacks_queues_and_participants_or_the_one_that_is_named(redrive, failed):
    def queues(*words):
        policy = json.loads(served(redrive("--iam", "--region", "cn-north-1", *words)))
        (found,) = [it["Resource"] for it in policy["Statement"] if it["Sid"] == "QueuesForLostEvents"]
        return [it.rpartition(":")[2] for it in found]

    assert queues() == ["mwaa-vpc-endpoints-*", "*-UndeliveredEventsQueue-*"]
    assert queues("--stack", "mine")[0] == "mine-*"
    assert queues("--queue", failed.url) == ["failed"]
