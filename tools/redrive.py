"""Serves what lies in the queues for lost events, and deletes it once it is served: make redrive

Shows each message with the reason why it is there. Serves each environment once, from what MWAA
says of it now, or from the event itself where MWAA may not be asked. A message is deleted when the
function has succeeded, and not before; one that asks for a sweep is deleted without, since the next
sweep comes by itself. What was received and not dealt with is visible in the queue again at the
end. It reads these variables of the environment:

    DRY_RUN      1 to be told what would be done; nothing is done, and nothing is deleted
    KEEP_GOING   1 to go on with the next environment when one fails
    QUEUE        failed or undelivered for one of the stack's two queues only; participant for that
                 of the participant's stack in the account of ENV_PROFILE; or a queue's URL
    ENV_PROFILE  the profile with which MWAA is asked in another account than PROFILE's
    PROFILE, REGION, STACK, FUNCTION  as for make replay

Ends with 0 if nothing is left in the queues, or would be, and with 1 otherwise.

SQS has a redrive of its own, StartMessageMoveTask, but only for dead-letter queues of other queues:
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html
"""

import contextlib
import datetime
import json
import re
import signal
import time
from collections import Counter
from dataclasses import dataclass, field

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from deployed import (
    Problem,
    client,
    code,
    explained,
    find_environment,
    flag_setting,
    invoke,
    outputs,
    outputs_of,
    run,
    session,
    setting,
    stack_name,
)
from show import WIDTH, bold, mark, section, show_result, wrapped

QUEUES = {"failed": "FailedEventsQueue", "undelivered": "UndeliveredEventsQueue"}
AT_ONCE = 1000  # the most messages in memory
PAGE = 10  # the most that SQS hands out, or takes, in one call
# How long nobody else receives what this run has received, in seconds, and when that is prolonged.
# An invocation, which takes 300 at most, may come between.
HIDDEN, PROLONG_AFTER = 1800, 600
WAIT = 1  # how long SQS waits for messages, in seconds
# Short, since a person may be waiting for Ctrl-C to take effect.
SQS = Config(connect_timeout=10, read_timeout=20, retries={"total_max_attempts": 3})
SERVED = {"changed", "unchanged", "ignored"}  # the outcomes of which nothing is to be repeated
GOING = {"DELETING", "DELETED"}
EVENT = "aws.airflow", "MWAA Environment Status Change"  # source and detail-type


class Left(Exception):
    """Why messages stay in the queue although nothing failed."""


def main():
    signals = Signals()
    dry_run, keep_going = flag_setting("DRY_RUN"), flag_setting("KEEP_GOING")
    owner = session("PROFILE")
    asking = session("ENV_PROFILE") if setting("ENV_PROFILE") else owner
    stack = outputs(owner, stack_name()) or {}
    queues = find_queues(owner, asking, stack)
    redrive = Redrive(
        queues,
        Function(owner, function_name(owner, stack), dry_run),
        {account_of(it): it for it in dict.fromkeys((asking, owner))},
        signals,
        keep_going,
    )
    try:
        redrive.run()
    except KeyboardInterrupt:
        mark("!", "Interrupted: what was not dealt with is put back.")
    finally:
        signals.ignore()
        for queue in queues:
            queue.put_back()
    redrive.show_outcome()
    if signals.asked:
        return 128 + signals.asked
    return 1 if redrive.left else 0


# The queues ----------------------------------------------------------------------------------


def function_name(owner, stack):
    found = setting("FUNCTION") or stack.get("FunctionName")
    if not found:
        raise Problem(f"{no_stack(owner)} Name the function: FUNCTION=…, or its stack: STACK=…")
    return found


def no_stack(owner):
    return f"There is no stack {stack_name()} of the function in {owner.region_name}."


def find_queues(owner, asking, stack):
    """The queues that are to be emptied.

    What lies in a queue of the function's own stack was written by Lambda or EventBridge. Nothing
    else is believed of any other queue, whoever's it is, than which environment is meant.
    """
    asked = setting("QUEUE")
    ours = {it: stack.get(f"{output}Url") for it, output in QUEUES.items()}
    names = [it for it in QUEUES if asked in ("", it)]
    names += [it for it, url in ours.items() if url and asked == url]
    if names:
        if missing := [QUEUES[it] for it in names if not ours[it]]:
            raise Problem(f"{no_stack(owner)} {missing[0]} is not known: STACK=…, or QUEUE=URL")
        return [Queue(QUEUES[it], sqs(owner), ours[it], is_ours=True) for it in names]
    if asked == "participant":
        asked = participants_queue(asking)
    if not re.match(r"https?://[^/]+/\d{12}/[\w-]+$", asked):
        raise Problem(f"QUEUE: {asked!r} is none of failed, undelivered, participant, or a URL")
    return [Queue(asked.rpartition("/")[2], sqs(asking), asked, is_ours=False)]


def sqs(session):
    return client(session, "sqs", SQS)


def participants_queue(asking):
    """The queue of a stack of participant.yaml, which may have any name."""
    if not setting("ENV_PROFILE"):
        raise Problem("QUEUE=participant: name a profile of the participant's: ENV_PROFILE=…")
    pages = client(asking, "cloudformation").get_paginator("describe_stacks").paginate()
    stacks = [outputs_of(stack) for page in pages for stack in page["Stacks"]]
    name = "UndeliveredEventsQueueUrl"
    found = [it[name] for it in stacks if name in it and "FailedEventsQueueUrl" not in it]
    if len(found) == 1:
        return found[0]
    there = f"are {len(found)} stacks" if found else "is no stack"
    raise Problem(
        f"There {there} of participant.yaml in {asking.region_name} in the account of ENV_PROFILE. "
        f"Name the queue: QUEUE=URL. {' '.join(found)}"
    )


def account_of(session):
    return client(session, "sts").get_caller_identity()["Account"]


@dataclass
class Queue:
    """A queue, with the messages that this run holds, which nobody else receives meanwhile."""

    name: str
    client: object
    url: str
    is_ours: bool
    held: dict = field(default_factory=dict)  # receipt handles by message id
    prolonged: float = 0.0

    def receive(self):
        """A page of messages that were not held yet, and whether there may be more.

        It waits a little, since SQS looks on all its servers only then.
        """
        self.prolonged = self.prolonged or time.monotonic()
        answer = self.client.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=PAGE,
            VisibilityTimeout=HIDDEN,
            WaitTimeSeconds=WAIT,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["SentTimestamp"],
        )
        page = answer.get("Messages", [])
        new = [it for it in page if it["MessageId"] not in self.held]
        self.held |= {it["MessageId"]: it["ReceiptHandle"] for it in page}
        return [Message.read(self, it) for it in new], bool(page)

    def delete(self, ids):
        failed = self._batch("delete_message", ids)
        for id in set(ids) - failed.keys():
            self.held.pop(id, None)
        if failed:
            raise Problem(
                f"{len(failed)} messages were dealt with and could not be deleted from "
                f"{self.name}: {plain(next(iter(failed.values())))}"
            )

    def prolong(self):
        """Keeps what is held to this run for longer, if it is time to."""
        if self.held and time.monotonic() - self.prolonged > PROLONG_AFTER:
            self._batch("change_message_visibility", list(self.held), VisibilityTimeout=HIDDEN)
            self.prolonged = time.monotonic()

    def put_back(self):
        """Makes what is held visible again, at once. What cannot be is by itself, later."""
        try:
            self._batch("change_message_visibility", list(self.held), VisibilityTimeout=0)
        except (BotoCoreError, ClientError) as error:
            later = f"{counted(len(self.held))} of {self.name} cannot be seen for half an hour"
            show_lines("!", f"{later}, since SQS did not put back: {explained(error)}")
        self.held = {}

    def hidden(self):
        """How many messages somebody else holds."""
        name = "ApproximateNumberOfMessagesNotVisible"
        with contextlib.suppress(ClientError):  # it is only said, if it may be known
            told = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=[name])
            return int(told["Attributes"][name])
        return 0

    def _batch(self, call, ids, **fields):
        """Calls what takes ten messages at a time; why not, of each that it does not take."""
        failed = {}
        for start in range(0, len(ids), PAGE):
            page = ids[start : start + PAGE]
            entries = [
                {"Id": str(at), "ReceiptHandle": self.held[id], **fields}
                for at, id in enumerate(page)
            ]
            answer = getattr(self.client, f"{call}_batch")(QueueUrl=self.url, Entries=entries)
            for it in answer.get("Failed", []):
                failed[page[int(it["Id"])]] = f"{it.get('Code')} {it.get('Message', '')}".strip()
        return failed


# Messages ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Environment:
    account: str
    region: str
    name: str

    def __str__(self):
        return f"{self.name}, of {self.account} in {self.region}"


@dataclass
class Message:
    queue: Queue
    id: str
    sent: float
    why: str
    text: str  # how it begins
    payload: object  # what the function should have got
    environment: Environment = None
    status: str = ""
    time: str = ""

    @classmethod
    def read(cls, queue, told):
        """A message as SQS hands it out. One that cannot be read has no environment."""
        try:
            body = json.loads(told["Body"])
        except (ValueError, RecursionError):
            body = None
        sent = int(told.get("Attributes", {}).get("SentTimestamp", 0)) / 1000
        payload = body
        if isinstance(body, dict) and "requestPayload" in body:
            payload, why = body["requestPayload"], why_failed(body)
        else:
            why = why_undelivered(told.get("MessageAttributes", {}))
        text = plain(told["Body"])[:300]
        return cls(queue, told["MessageId"], sent, plain(why), text, payload, *about(payload))

    @property
    def is_sweep(self):
        it = self.payload
        return self.queue.is_ours and isinstance(it, dict) and it.get("sweep") is True

    @property
    def order(self):
        return self.time or f"{as_time(self.sent):%Y-%m-%dT%H:%M:%SZ}", self.sent


def why_failed(record):
    """From Lambda's record of an invocation that failed.

    https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
    """
    answer, context = record.get("responsePayload"), record.get("requestContext")
    if isinstance(answer, dict) and answer.get("errorMessage"):
        kind = answer.get("errorType")
        return f"{kind}: {answer['errorMessage']}" if kind else str(answer["errorMessage"])
    context = context if isinstance(context, dict) else {}
    condition, times = context.get("condition"), context.get("approximateInvokeCount")
    return f"{condition or 'no reason'}, after {times or 'no'} invocations, without an error"


def why_undelivered(attributes):
    """From what EventBridge puts beside an event that it could not deliver.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/rule-dlq.html
    """
    told = {name: it.get("StringValue", "") for name, it in attributes.items()}
    why = ": ".join(it for name in ("ERROR_CODE", "ERROR_MESSAGE") if (it := told.get(name)))
    if condition := told.get("EXHAUSTED_RETRY_CONDITION"):
        why += f" ({condition}, after {told.get('RETRY_ATTEMPTS', '?')} attempts)"
    return why or "no reason is told"


def about(payload):
    """The environment that an event, or MWAA's answer, is about, with its status and the time."""
    if not isinstance(payload, dict):
        return ()
    account, region, status, at = None, None, None, ""
    if isinstance(answer := payload.get("Environment"), dict):
        account, region, name = of_arn(answer.get("Arn"))
        status = answer.get("Status")
    elif (payload.get("source"), payload.get("detail-type")) == EVENT:
        detail = payload.get("detail")
        detail = detail if isinstance(detail, dict) else {}
        account, region, name = payload.get("account"), payload.get("region"), detail.get("name")
        status, at = detail.get("status"), payload.get("time")
    else:
        return ()
    parts = [
        (r"\d{12}", account),
        (r"[a-z]{2,}(-[a-z0-9]+)+", region),
        (r"[a-zA-Z][0-9a-zA-Z_-]{0,79}", name),
        (r"[A-Z_]+", status),
    ]
    if not all(isinstance(it, str) and re.fullmatch(form, it, re.A) for form, it in parts):
        return ()
    is_time = isinstance(at, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", at)
    return Environment(account, region, name), status, at if is_time else ""


def of_arn(arn):
    """Account, Region and name in an environment's ARN."""
    form = r"arn:[\w-]+:airflow:([\w-]+):(\d+):environment/([\w-]+)"
    if not (isinstance(arn, str) and (match := re.fullmatch(form, arn, re.A))):
        return None, None, None
    return match[2], match[1], match[3]


# The work ------------------------------------------------------------------------------------


class Signals:
    """Lets Ctrl-C and SIGTERM end the run where nothing gets lost by it."""

    def __init__(self):
        self.asked, self._guarded = None, False
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, self._end)

    def _end(self, signum, _frame):
        self.asked = signum
        if not self._guarded:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def held(self):
        """Waits with the end until what is in here is done: a call of SQS, which is short."""
        self._guarded = True
        try:
            yield
        finally:
            self._guarded = False
        if self.asked:
            raise KeyboardInterrupt

    def ignore(self):
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, signal.SIG_IGN)


@dataclass
class Function:
    owner: object
    name: str
    dry_run: bool

    def serve(self, payload, ask_only=False):
        """The function's result."""
        if self.dry_run or ask_only:
            payload = {**payload, "dryRun": True}
        result = invoke(self.owner, self.name, payload)
        if not isinstance(result, dict) or not {"outcome", "resources", "warnings"} <= set(result):
            raise Problem(f"{self.name} answered with no result of an environment: FUNCTION=…")
        return result


@dataclass
class Step:
    """An invocation, and the messages that are dealt with if it succeeds."""

    payload: dict
    source: str
    messages: list
    # Only whether the function has nothing to do for the event is asked.
    ask_only: bool = False


@dataclass
class Redrive:
    queues: list
    function: Function
    askers: dict  # sessions by account
    signals: Signals
    keep_going: bool
    done: int = 0
    left: int = 0
    is_over: bool = False

    def run(self):
        more = True
        while more:
            messages, more = [], False
            for queue in self.queues:
                found, has_more = self.receive(queue)
                messages, more = messages + found, more or has_more
            self.left += len(messages)  # until they are dealt with
            self.deal_with(messages)
            more = more and not (self.function.dry_run or self.is_over)

    def receive(self, queue):
        """What a queue has, as far as it fits, and whether it may have more."""
        messages, more, most = [], True, AT_ONCE // len(self.queues)
        while more and len(messages) < most:
            with self.signals.held():
                queue.prolong()
                page, more = queue.receive()
            messages += page
        if self.function.dry_run:
            with self.signals.held():
                queue.put_back()
        if messages:
            print(f"{queue.name}: {'the first ' if more else ''}{counted(len(messages))}.")
        else:
            self.say_empty(queue)
        return messages, more

    def say_empty(self, queue):
        hidden = queue.hidden() - len(queue.held)
        if hidden > 0:
            they = f"{counted(hidden)} that somebody else received a while ago"
            print(f"{queue.name} has nothing but {they}: look again later.")
        else:
            print(f"{queue.name} {'has no more' if queue.held else 'is empty'}.")

    def deal_with(self, messages):
        sweeps = [it for it in messages if it.is_sweep]
        strange = [it for it in messages if not it.is_sweep and not it.environment]
        if sweeps:
            self.drop(sweeps)
        if strange:
            section("No event of an environment", counted(len(strange)))
            for message in strange:
                show_message(message, "message")
                show_lines(" ", message.text, "text")
            show_lines("!", "Left in the queue.")
        groups = {}
        for message in sorted(messages, key=lambda it: it.order):
            if message.environment:
                groups.setdefault(message.environment, []).append(message)
        while groups and not self.is_over:
            environment = next(iter(groups))
            self.serve(environment, groups.pop(environment))
        if groups:
            show_lines("!", f"{len(groups)} more not tried. KEEP_GOING=1 goes on after a failure.")

    def drop(self, sweeps):
        section("Sweeps", counted(len(sweeps)))
        for why, times in Counter(it.why for it in sweeps).items():
            show_lines(" ", f"{why}{f' ({times} times)' if times > 1 else ''}", "why")
        print("  Dropped: the next sweep comes by itself.")
        self.settle(sweeps)

    def serve(self, environment, messages):
        section(str(environment), counted(len(messages)))
        for message in messages:
            show_message(message, message.status)
        try:
            says, why = self.ask_mwaa(environment)
            for step in steps(messages, says, why):
                self.take(step)
        except Left as left:
            show_lines("!", f"Left in the queue: {left}")
        except (Problem, BotoCoreError, ClientError) as error:
            why = str(error) if isinstance(error, Problem) else explained(error)
            show_lines("!", f"{why} What is not dealt with stays in the queue.")
            self.is_over = not self.keep_going

    def ask_mwaa(self, environment):
        """What MWAA says of an environment; None if it is gone; and why it is not known, if so.

        Only the account of the environment is asked: in another one of the same name may be.
        """
        asker = self.askers.get(environment.account)
        if asker is None:
            return None, f"no profile of account {environment.account} was named (ENV_PROFILE)"
        if asker.region_name != environment.region:
            return None, f"it is not of the Region {asker.region_name}"
        try:
            says = find_environment(asker, environment.name)
        except ClientError as error:
            if not code(error).startswith("AccessDenied"):
                raise
            return None, f"this profile of account {environment.account} may not ask MWAA"
        if says and Environment(*of_arn(says.get("Arn"))) != environment:
            return None, f"MWAA answered of {plain(str(says.get('Arn')))}"
        return says, ""

    def take(self, step):
        for queue in self.queues:
            with self.signals.held():
                queue.prolong()
        result = self.function.serve(step.payload, step.ask_only)
        outcome = plain(str(result["outcome"]))
        if step.ask_only and outcome != "ignored":
            raise Left(
                "MWAA says that there is no such environment, and the function, which may not ask "
                "MWAA there, would serve it. If something is left of it, see docs/runbook.md, "
                '"Left over after deletion". Then delete the message.'
            )
        show_result(result)
        print(f"  From {step.source}: {bold(outcome)}{self.as_plan()}")
        if outcome not in SERVED:
            raise Problem(f"The outcome is {outcome}.")
        self.settle(step.messages)

    def settle(self, messages):
        """Deletes messages that are dealt with."""
        if not self.function.dry_run:
            for queue in self.queues:
                if ids := [it.id for it in messages if it.queue is queue]:
                    with self.signals.held():
                        queue.delete(ids)
        self.done, self.left = self.done + len(messages), self.left - len(messages)

    def as_plan(self):
        return ", as a plan" if self.function.dry_run else ""

    def show_outcome(self):
        if not self.done and not self.left:
            return
        dealt = "would be dealt with" if self.function.dry_run else "dealt with and deleted"
        stay = "would be left" if self.function.dry_run else "left in the queue"
        print(f"\n{bold('Outcome:')} {counted(self.done)} {dealt}, {self.left} {stay}")


def steps(messages, says, why):
    """The invocations that messages of one environment need, the oldest message first."""
    newest = messages[-1]
    has_deleted = any(it.status == "DELETED" for it in messages)
    if says:
        status = says.get("Status", "")
        if has_deleted and status in GOING:
            raise Left(f"MWAA says that it is {status}. Look again when it is gone.")
        return [Step({"Environment": says}, f"MWAA's answer ({status})", messages)]
    if not newest.queue.is_ours:
        raise Left(
            f"{why or 'MWAA says that there is no such environment'}, and others may have written "
            "what lies in this queue. If the environment is gone, see docs/runbook.md, "
            '"Left over after deletion". Then delete the message.'
        )
    if not why:
        ask_only = newest.status != "DELETED"
        return [Step(newest.payload, "the event, since it is gone", messages, ask_only)]
    # An event before the last DELETED is about what is gone since.
    last = max((at for at, it in enumerate(messages) if it.status == "DELETED"), default=0)
    groups = [messages[: last + 1], *([it] for it in messages[last + 1 :])]
    return [Step(group[-1].payload, f"the event, since {why}", group) for group in groups]


# What is printed -----------------------------------------------------------------------------


def show_message(message, name):
    queued = f"in {message.queue.name} for {ago(message.sent)}"
    show_lines(" ", f"of {message.time}, {queued}" if message.time else queued, name)
    show_lines(" ", message.why, "why")


def show_lines(sign, text, name=""):
    for at, line in enumerate(wrapped(text, WIDTH - (18 if name else 4))):
        label = f"{'' if at else name:<14}" if name else ""
        mark(sign, f"{label}{line}")


def counted(number):
    return f"{number} message{'' if number == 1 else 's'}"


def as_time(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)


def ago(seconds):
    """How long it is since a time."""
    passed = max(0, time.time() - seconds)
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if passed >= 2 * size:
            return f"{passed // size:.0f} {unit}s"
    return "a moment"


def plain(text):
    """The text as a terminal may show it: whoever wrote it cannot move the cursor or colour it."""
    text = " ".join(text[:4000].split())
    return "".join(it if it.isprintable() else "\N{REPLACEMENT CHARACTER}" for it in text)[:1000]


if __name__ == "__main__":
    run(main)
