"""The owner's deployed stack, as far as the command line asks for it, and how a person runs that."""

import contextlib
import http.client
import json
import os
import subprocess
import sys
import threading
import time
import urllib.parse
from dataclasses import dataclass

import harness
import logs
import mwaa as emulated
from harness import AIRFLOW, OWNER, PARTICIPANT, REGION, ROOT, account_of

STACK = "mwaa-vpc-endpoints"
FUNCTION = f"{STACK}-MwaaVpcEndpointsFunction-1A2B3C4D5E6F"
STACKS = """<DescribeStacksResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/">
<DescribeStacksResult><Stacks>{}</Stacks></DescribeStacksResult></DescribeStacksResponse>"""
A_STACK = """<member><StackName>{}</StackName><StackStatus>CREATE_COMPLETE</StackStatus>
<CreationTime>2026-03-01T08:00:00Z</CreationTime><Outputs>{}</Outputs></member>"""
OUTPUT = "<member><OutputKey>{}</OutputKey><OutputValue>{}</OutputValue></member>"
NO_STACK = """<ErrorResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/"><Error>
<Type>Sender</Type><Code>ValidationError</Code><Message>Stack with id does not exist</Message>
</Error></ErrorResponse>"""
A_RESOURCE = """<DescribeStackResourceResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/">
<DescribeStackResourceResult><StackResourceDetail><StackName>{0}</StackName><LogicalResourceId>{1}</LogicalResourceId>
<PhysicalResourceId>{2}</PhysicalResourceId><ResourceType>AWS::Events::Rule</ResourceType>
<LastUpdatedTimestamp>2026-03-01T08:00:00Z</LastUpdatedTimestamp><ResourceStatus>CREATE_COMPLETE</ResourceStatus>
</StackResourceDetail></DescribeStackResourceResult></DescribeStackResourceResponse>"""
IDENTITY = """<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<GetCallerIdentityResult><Account>{}</Account></GetCallerIdentityResult>
</GetCallerIdentityResponse>"""


class Deployed:
    """Lambda, CloudFormation, SQS, STS, the log and CloudTrail with the function behind them, in the owner's account.

    `stacks` are the stacks of each account, with their outputs; `resources` the names of the owner's stack's; `trail` what
    CloudTrail tells; `concurrency` how many may run at a time, if that is limited.
    """

    def __init__(self, aws, function):
        self.aws, self.function = aws, function
        self.payloads = []
        self.stacks = {OWNER: {STACK: {"LogGroupName": "/aws/lambda/x", "FunctionName": FUNCTION}}}
        self.while_invoked = lambda payload: None
        self.sqs_calls, self.sqs_refuses = [], {}
        self.resources, self.trail, self.concurrency = {}, [], None
        self.logs = logs.Logs(f"/aws/lambda/{STACK}")
        self._lock = threading.Lock()
        aws.proxy.hosts |= {
            "lambda": self.ask_lambda,
            "logs": self.logs.answer,
            "cloudtrail": self.look_up_events,
            "cloudformation": self.ask_cloudformation,
            "sts": self.get_caller_identity,
            "sqs": self.ask_sqs,
        }

    def deliver(self, event):
        """An event that EventBridge brings: what the function prints is in the log afterwards."""
        answer = self.function.deliver(event)
        for line in answer.log.splitlines():
            self.logs.put(line)
        return answer

    def ask_lambda(self, method, path, headers, body):
        if path.endswith("/invocations"):
            return self.invoke(method, path, headers, body)
        if path.endswith(f"/functions/{FUNCTION}/concurrency"):
            limited = self.concurrency is not None
            return emulated.accept({"ReservedConcurrentExecutions": self.concurrency} if limited else {})
        assert path.endswith("/account-settings"), path
        return emulated.accept({"AccountLimit": {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 900}})

    def look_up_events(self, _method, _path, _headers, body):
        """CloudTrail's LookupEvents."""
        (wanted,) = json.loads(body)["LookupAttributes"]
        found = [it for it in self.trail if it[wanted["AttributeKey"]] == wanted["AttributeValue"]]
        return emulated.accept({"Events": [{"EventTime": time.time(), **it} for it in found]})

    def ask_cloudformation(self, method, path, headers, body):
        asked = dict(urllib.parse.parse_qsl(body.decode()))
        if asked["Action"] != "DescribeStackResource":
            return self.describe_stacks(method, path, headers, body)
        name = self.resources.get(asked["LogicalResourceId"])
        known = name and account_of(headers) == OWNER and asked["StackName"] == STACK
        return _xml(200, A_RESOURCE.format(STACK, asked["LogicalResourceId"], name)) if known else _xml(400, NO_STACK)

    def invoke(self, _method, path, headers, body):
        assert account_of(headers) == OWNER, "invoked by the owner"
        if f"/functions/{FUNCTION}/" not in path:
            return emulated.refuse(404, "ResourceNotFoundException", "Function not found")
        payload = json.loads(body)
        with self._lock:
            self.payloads.append(payload)
        self.while_invoked(payload)
        answer = self.deliver(body)
        if answer.ok:
            return emulated.accept(answer.value)
        told = {"errorType": answer.error_type} if answer.error_type else {}
        status, headers, content = emulated.accept({**told, "errorMessage": answer.error})
        return status, {**headers, "X-Amz-Function-Error": "Unhandled"}, content

    def describe_stacks(self, _method, _path, headers, body):
        stacks = self.stacks.get(account_of(headers), {})
        asked = dict(urllib.parse.parse_qsl(body.decode())).get("StackName")
        if asked and asked not in stacks:
            return _xml(400, NO_STACK)
        told = [
            A_STACK.format(name, "".join(OUTPUT.format(*it) for it in outputs.items()))
            for name, outputs in stacks.items()
            if asked in (None, name)
        ]
        return _xml(200, STACKS.format("".join(told)))

    def get_caller_identity(self, _method, _path, headers, _body):
        return _xml(200, IDENTITY.format(account_of(headers)))

    def ask_sqs(self, method, path, headers, body):
        """moto's SQS, of the account whose credentials signed; some calls are refused. It need not be waited for."""
        call = headers["X-Amz-Target"].partition(".")[2]
        asked = json.loads(body)
        with self._lock:
            self.sqs_calls.append((call, asked))
        if code := self.sqs_refuses.get(call):
            told = json.dumps({"__type": f"com.amazonaws.sqs#{code}", "message": "refused"})
            return 400, {"Content-Type": "application/x-amz-json-1.0"}, told.encode()
        sent = {**harness.end_to_end(headers), **harness.caller(account_of(headers))}
        if "WaitTimeSeconds" in asked:
            body = json.dumps({**asked, "WaitTimeSeconds": 0}).encode()
            sent = {name: it for name, it in sent.items() if name.lower() != "content-length"}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.aws.port)) as moto:
            moto.request(method, path, body, sent)
            answer = moto.getresponse()
            return answer.status, harness.end_to_end(answer.headers), answer.read()


def _program(path, line):
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def _xml(status, text):
    return status, {"Content-Type": "text/xml"}, text.encode()


class Desk:
    """Where a person runs the command line, with a profile for each account, and the documentation's commands."""

    def __init__(self, aws, folder):
        self.folder, self._aws = folder, aws
        iam = aws.client("iam", PARTICIPANT)
        iam.create_user(UserName="airflow")
        key = iam.create_access_key(UserName="airflow")["AccessKey"]["AccessKeyId"]
        credentials = folder / "credentials"
        credentials.write_text(
            "[owner]\naws_access_key_id = testing\naws_secret_access_key = testing\n"
            f"[participant]\naws_access_key_id = {key}\naws_secret_access_key = testing\n"
        )
        services = ("LAMBDA", "CLOUDFORMATION", "STS", "SQS")
        self._surroundings = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_ENDPOINT_URL_MWAA": AIRFLOW,
            **{
                f"AWS_ENDPOINT_URL_{name}": f"http://{name.lower()}.{REGION}.amazonaws.com"
                for name in services
            },
            "HTTP_PROXY": f"http://127.0.0.1:{aws.proxy.port}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def begin(self, program, *words, **variables):
        """Begins to run the command line with words; variables that are None are left out."""
        env = {**self._surroundings, "AWS_REGION": REGION, **variables}
        return subprocess.Popen(
            [program, *words],
            env={name: it for name, it in env.items() if it is not None},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def shell(self, script, variables=None):
        """Runs commands with bash as they stand in the documentation, in a folder with what this repository's has.

        `aws` and `jq` are small ones (aws_cli.py, jq_cli.py); `mwaa-vpc` is the one that was built.
        """
        programs = self.folder / "bin"
        if not programs.exists():
            programs.mkdir()
            for name in ("aws", "jq"):
                tool = ROOT / "tests" / "emulator" / f"{name}_cli.py"
                _program(programs / name, f'exec "{sys.executable}" -W ignore "{tool}" "$@"')
            if built := os.environ.get("CLI_BINARY"):
                (programs / "mwaa-vpc").symlink_to(built)
            (self.folder / "events").symlink_to(ROOT / "events")
        address = f"http://127.0.0.1:{self._aws.proxy.port}"
        more = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "AWS_PROFILE": "owner",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": address,
            "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": f"http://logs.{REGION}.amazonaws.com",
            "AWS_ENDPOINT_URL_CLOUDTRAIL": f"http://cloudtrail.{REGION}.amazonaws.com",
            "NO_PROXY": "127.0.0.1",
        }
        process = subprocess.Popen(
            ["bash", "-u", "-o", "pipefail", "-c", script],
            cwd=self.folder,
            env={**self._surroundings, **more, **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self.finish(process)

    @staticmethod
    def finish(process):
        try:
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@dataclass
class Queue:
    """A queue of moto's."""

    client: object
    url: str

    def put(self, body, attributes=None):
        text = body if isinstance(body, str) else json.dumps(body)
        told = {name: {"DataType": "String", "StringValue": it} for name, it in (attributes or {}).items()}
        self.client.send_message(QueueUrl=self.url, MessageBody=text, MessageAttributes=told)

    @property
    def counts(self):
        """How many messages can be received, and how many somebody holds."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        told = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)
        return tuple(int(told["Attributes"][it]) for it in names)

    @property
    def visible(self):
        """How many messages there are; none may be hidden."""
        visible, hidden = self.counts
        assert hidden == 0
        return visible


def made(aws, name, account=OWNER):
    """An empty queue of this name."""
    client = aws.client("sqs", account)
    return Queue(client, client.create_queue(QueueName=name)["QueueUrl"])
