"""Runs the deployed binary as Lambda does, against an emulated AWS.

    binary <- `cargo lambda watch`, a Lambda Runtime API <- deliver(event)
       |
       +--> Proxy, which counts calls and injects faults --> moto, an EC2 and STS
                                                         +--> Mwaa, which moto has not

`Aws` is the emulated AWS with its VPCs, `Lambda` the running function. Both are context managers
that leave no process behind, however they end.
"""

import atexit
import contextlib
import copy
import copyreg
import ctypes
import datetime
import functools
import http.client
import json
import logging
import os
import pathlib
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest.mock
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import moto_gaps  # noqa: F401  what moto does not answer
import mwaa
import strict_ec2  # noqa: F401  moto's EC2 with EC2's own rules
from botocore.config import Config
from moto.core import responses
from moto.core.base_backend import BackendDict
from moto.iam.models import get_account_id_from
from moto.server import ThreadedMotoServer

# moto looks for the methods of a service at each call, which is an eighth of all the processor's time of the tests.
responses.method_names_from_class = functools.cache(responses.method_names_from_class)

# A copy of what moto knows has locks of its own.
for made in (threading.Lock, threading.RLock, threading.Condition):
    copyreg.pickle(type(made()), lambda _, made=made: (made, ()))

ROOT = pathlib.Path(__file__).resolve().parents[2]
CARGO_LAMBDA = pathlib.Path(sys.executable).parent / "cargo-lambda"  # in our virtual environment
REGION = "us-east-1"
OWNER, PARTICIPANT = "111122223333", "210987654321"  # the accounts of the sample events
AIRFLOW = f"http://airflow.{REGION}.amazonaws.com"  # the SDKs put "api." before it
SQS = f"com.amazonaws.{REGION}.sqs"
LOOKS = ("Describe", "Get", "List", "AssumeRole")  # how calls begin that change nothing
QUEUE_ACTIONS = [
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "sqs:GetQueueUrl",
    "sqs:ReceiveMessage",
    "sqs:SendMessage",
]


# Processes -----------------------------------------------------------------------------------

_running = set()
_libc = ctypes.CDLL(None)


def start(command, env, log=None):
    """A child process in a process group of its own, so that Ctrl-C reaches it only through us.

    Without a file for its log it writes to where we write.
    """
    with open(log, "wb") if log else contextlib.nullcontext() as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if log else None,
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
    _running.add(process)
    return process


def _end_with_parent():
    """Lets Linux kill this process when its parent has ended, in whatever way."""
    pr_set_pdeathsig = 1
    _libc.prctl(pr_set_pdeathsig, signal.SIGKILL)


def stop(process):
    """Ends a process and whatever it has started, at once: none of them has anything to save."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    _running.discard(process)


def adopt_orphans():
    """Lets Linux give us the children of a process of ours that ends, so `stop_tree` finds them."""
    pr_set_child_subreaper = 36
    _libc.prctl(pr_set_child_subreaper, 1)


def stop_tree():
    """Ends all that descends from us, in sessions of its own too, where `stop` misses it."""
    while doomed := _descendants():
        for pid in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)


def _descendants():
    parents = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended since
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}


@atexit.register
def stop_all():
    for process in list(_running):
        stop(process)


def end_on_signals():
    """Lets a signal that asks us to end raise KeyboardInterrupt; cleaning up is not disturbed."""
    ending = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def end(_signum, _frame):
        for signum in ending:
            signal.signal(signum, signal.SIG_IGN)
        raise KeyboardInterrupt

    for signum in ending:
        signal.signal(signum, end)


def wait_until(ready, process, log, what, seconds=30):
    """Polls until `ready`, and fails with the process's own words if it ends before."""
    deadline = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            words = pathlib.Path(log).read_text(errors="replace").strip()
            raise RuntimeError(f"{what} did not start:\n{words}")
        time.sleep(0.02)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listening(port, address="127.0.0.1"):
    try:
        socket.create_connection((address, port)).close()
    except OSError:
        return False
    return True


# The wire ------------------------------------------------------------------------------------


@dataclass
class Call:
    """One request to AWS, such as `CreateVpcEndpoint` with its parameters as sent."""

    action: str
    parameters: dict
    began: float = field(default=0.0, compare=False)  # in seconds, by `time.monotonic`
    ended: float = field(default=0.0, compare=False)


def needed_beside(calls):
    """What must be permitted, too, for such calls (CloudFormation API, `DescribeStacks`: `StackName`)."""
    named = [it.parameters.get("StackName") for it in calls if it.action == "DescribeStacks"]
    return set() if all(named) else {"cloudformation:ListStacks"}


def rounds(calls):
    """How many of the calls were made one after another, each after the answer to the one before."""
    done = []
    for call in sorted(calls, key=lambda it: it.began):
        before = (depth for ended, depth in done if ended <= call.began)
        done.append((call.ended, 1 + max(before, default=0)))
    return max((depth for _, depth in done), default=0)


def rounds_of(run, proxy):
    """In how many rounds `run` makes its calls, tried again and again.

    On a busy machine, calls that are made side by side may look as if one was made after another's answer. The longer a
    call takes, the less.
    """
    for seconds in (0.15, 0.3, 0.6, 1.2):
        proxy.clear()
        proxy.replay(seconds)
        run()
        yield rounds(proxy.calls)


@dataclass
class Fault:
    """What happens to some calls of an action instead of what should."""

    action: str
    nth: int  # the first call it happens to, counted from 1 when the fault is set
    times: int  # to how many calls in a row
    after: bool  # the call took effect, only its answer is lost
    status: int
    code: str  # an EC2 error code, or "cut" for a connection that ends without an answer
    content: bytes = None  # what is answered instead of an error with that code
    seen: int = 0

    def strikes(self, action):
        if action != self.action:
            return False
        self.seen += 1
        return self.nth <= self.seen < self.nth + self.times


class Proxy:
    """An HTTP server that passes each request on, writes down AWS's calls and injects faults."""

    def __init__(
        self,
        port,
        request=lambda headers: headers,
        answer=lambda headers, content: headers,
        hosts=None,
        address="127.0.0.1",
    ):
        """Passes on to a port, with headers as `request` and `answer` make them.

        As a client's HTTP proxy it answers for `hosts`: by a part of the host's name, what makes an
        answer of method, path, headers and body.
        """
        self.calls, self.faults = [], []
        self.on_call = lambda call: None
        self._answers, self._seconds = None, None
        self._request_headers, self._answer_headers = request, answer
        self.hosts = hosts or {}
        self._upstream = address, port
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # otherwise every small answer waits 40 ms

            def handle_one_request(self):
                with contextlib.suppress(ConnectionError):
                    super().handle_one_request()

            def do(self):
                proxy._pass_on(self)

            do_GET = do_POST = do_PUT = do_DELETE = do

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.port = self._server.server_address[1]
        serve = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        serve.start()

    def fail(self, action, code="cut", *, status=400, nth=1, times=1, after=False, content=None):
        """Lets some calls of an action fail; `after` they took effect, or before.

        With `content` it is this that they answer, whatever it is.
        """
        self.faults.append(Fault(action, nth, times, after, status, code, content))

    def record(self):
        """Keeps what is answered from now on."""
        self._answers = {}

    def replay(self, seconds):
        """Answers from now on what was asked before as it was answered then, after some seconds.

        So a call takes as long as one to AWS, and not as long as moto does.
        """
        self._seconds = seconds

    def clear(self):
        with self._lock:
            self.calls, self.faults = [], []

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def _pass_on(self, request):
        body = _body(request)
        url = urllib.parse.urlsplit(request.path)
        path = url._replace(scheme="", netloc="").geturl()
        call = _call(path, body, request.headers)
        call.began = time.monotonic()
        with self._lock:
            self.calls.append(call)
            struck = [fault for fault in self.faults if fault.strikes(call.action)]
        self.on_call(call)
        signer = request.headers.get("Authorization", "").partition("/")[0]
        asked = request.command, request.path, body, signer

        def answered(*answer):
            if self._answers is not None:
                self._answers[asked] = answer
            call.ended = time.monotonic()
            _answer(request, *answer)

        if self._seconds is not None:
            time.sleep(self._seconds)
            return answered(*self._answers[asked])
        if struck and not struck[0].after:
            return _break(request, struck[0])
        if url.netloc:
            answer = self._host(url.hostname)(request.command, path, request.headers, body)
            return _break(request, struck[0]) if struck else answered(*answer)
        upstream = http.client.HTTPConnection(*self._upstream)
        with contextlib.closing(upstream):
            headers = self._request_headers(end_to_end(request.headers))
            upstream.request(request.command, request.path, body, headers)
            if not _still_waits(request.connection, upstream.sock):
                request.close_connection = True
                return
            answer = upstream.getresponse()
            content = answer.read()
        if struck:
            return _break(request, struck[0])
        headers = self._answer_headers(end_to_end(answer.headers), content)
        answered(answer.status, headers, content)

    def _host(self, name):
        known = (answer for part, answer in self.hosts.items() if part in name.split("."))
        return next(known, lambda *_: (502, {}, f"{name} is not emulated".encode()))


def _still_waits(client, upstream):
    """Whether the client is still there when the answer comes.

    A function that has ended was waiting for its next event, which must go to the one after it.
    """
    readable, _, _ = select.select([client, upstream], [], [])
    return upstream in readable or client.recv(1, socket.MSG_PEEK) != b""


# Of Lambda and RAM, as far as somebody asks them: the end of a path, and the call that it is.
_PATHS = {
    "/configuration": "GetFunctionConfiguration",
    "/policy": "GetPolicy",
    "/concurrency": "GetFunctionConcurrency",
    "/event-invoke-config": "GetFunctionEventInvokeConfig",
    "/listprincipals": "ListPrincipals",
}


def _call(path, body, headers):
    if known := mwaa.action(path):
        return Call(*known)
    if target := headers.get("X-Amz-Target"):
        return Call(target.rpartition(".")[2], json.loads(body or b"{}"))
    for end, action in _PATHS.items():
        if path.endswith(end):
            return Call(action, {})
    parameters = dict(urllib.parse.parse_qsl(body.decode("utf-8", "replace")))
    return Call(parameters.pop("Action", path), parameters)


def _body(request):
    if "chunked" not in request.headers.get("Transfer-Encoding", ""):
        return request.rfile.read(int(request.headers.get("Content-Length") or 0))
    chunks = []
    while size := int(request.rfile.readline().split(b";")[0], 16):
        chunks.append(request.rfile.read(size))
        request.rfile.readline()
    request.rfile.readline()
    return b"".join(chunks)


def end_to_end(headers):
    """A request's or an answer's headers without those that concern one connection only."""
    hop = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}
    return {name: value for name, value in headers.items() if name.lower() not in hop}


def _answer(request, status, headers, content):
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content)


def _break(request, fault):
    if fault.code == "cut":
        request.close_connection = True
        request.connection.shutdown(socket.SHUT_RDWR)
        return
    if fault.content is not None:
        return _answer(request, fault.status, {"Content-Type": "text/html"}, fault.content)
    _answer(request, *_error(fault))


def _error(fault):
    """A fault's answer, in the form of the service: EC2's, STS's or MWAA's."""
    message, id = "Injected by the test", "00000000-0000-0000-0000-000000000000"
    error = f"<Error><Code>{fault.code}</Code><Message>{message}</Message></Error>"
    if fault.action in ("GetEnvironment", "ListEnvironments"):
        return mwaa.refuse(fault.status, fault.code, message)
    if fault.action == "AssumeRole":
        text = f"<ErrorResponse>{error}<RequestId>{id}</RequestId></ErrorResponse>"
    else:
        text = f"<Response><Errors>{error}</Errors><RequestID>{id}</RequestID></Response>"
    return fault.status, {"Content-Type": "text/xml"}, text.encode()


# AWS -----------------------------------------------------------------------------------------


@dataclass
class Vpc:
    """Two private subnets in two Availability Zones and one security group."""

    id: str
    subnets: list
    group: str


def caller(account):
    """The header that tells moto whose call it is."""
    return {"x-moto-account-id": account}


def account_of(headers):
    """The account whose credentials signed a request: a role's that was assumed, or the owner's."""
    signed = next((it for name, it in headers.items() if name.lower() == "authorization"), "")
    key = re.search(r"Credential=(\w+)/", signed)[1]
    return OWNER if key == "testing" else get_account_id_from(key)


def _given(maker, id):
    """Lets moto, which makes ids itself, in this process, make this one, if there is one."""
    if id is None:
        return contextlib.nullcontext()
    return unittest.mock.patch(f"moto.ec2.models.{maker}", return_value=id)


class Aws:
    """moto, and `mwaa` beside it, as the AWS that the function talks to, through a `proxy`."""

    def __enter__(self):
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._moto.start()
        self._port = self._moto.get_host_and_port()[1]
        self._clients = {}
        self.mwaa = mwaa.Mwaa()
        self.proxy = Proxy(
            self._port,
            lambda headers: {**headers, **caller(OWNER)},
            hosts={"airflow": self._ask_mwaa},
        )
        self.ec2 = self.client("ec2")
        self.ec2.describe_vpcs()  # moto loads EC2 at its first call, which takes seconds
        return self

    def __exit__(self, *_):
        self.proxy.close()
        self._moto.stop()

    @property
    def port(self):
        """moto's own."""
        return self._port

    def client(self, service, account=OWNER):
        """A boto3 client of an account, past the proxy. Each takes long to make, so it is kept."""
        if known := self._clients.get((service, account)):
            return known
        client = boto3.client(
            service,
            region_name=REGION,
            endpoint_url=f"http://127.0.0.1:{self._port}",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            config=Config(retries={"max_attempts": 0}),
        )
        client.meta.events.register(
            "before-send", lambda request, **_: request.headers.update(caller(account))
        )
        self._clients[service, account] = client
        return client

    def _ask_mwaa(self, _method, path, headers, _body):
        return self.mwaa.answer(account_of(headers), path)

    def for_people(self):
        """A proxy for programs that have credentials of several accounts: each call is its signer's."""
        return Proxy(
            self._port,
            lambda headers: {**headers, **caller(account_of(headers))},
            hosts=self.proxy.hosts,
        )

    def reset(self, seed=42):
        """Empties the emulated AWS; ids that it makes from now on depend on the seed alone."""
        for path in ("reset", f"seed?a={seed}"):
            address = f"http://127.0.0.1:{self._port}/moto-api/{path}"
            urllib.request.urlopen(urllib.request.Request(address, method="POST")).close()
        self.mwaa.reset()
        self.proxy.clear()

    def keep(self, about):
        """What there is now, and something about it, as a function that brings both about again.

        To lay out a whole network takes half a second, to go back to it a tenth of that.
        """
        there = [
            (accounts, account, region, backend)
            for accounts in BackendDict._instances
            for account, regions in accounts.items()
            for region, backend in regions.items()
        ]
        parts = [it.__dict__ for *_, it in there], self.mwaa.__dict__, about
        # These are not a part of what there is.
        constant = {id(it): it for it in (self, self.ec2)}
        kept = copy.deepcopy(parts, constant | {id(it): it for *_, it in there})

        def again():
            self.reset()
            now = [accounts[account][region] for accounts, account, region, _ in there]
            same = {id(then): it for (*_, then), it in zip(there, now)}
            states, asked, told = copy.deepcopy(kept, constant | same)
            for it, state in zip([*now, self.mwaa], [*states, asked]):
                it.__dict__ = state
            return told

        return again

    def vpc(self, cidr="10.192"):
        id = self.ec2.create_vpc(CidrBlock=f"{cidr}.0.0/16")["Vpc"]["VpcId"]
        subnets = [self.subnet(id, f"{cidr}.{n}.0/24", zone) for n, zone in ((20, "a"), (21, "b"))]
        return Vpc(id, subnets, self.group(id))

    def subnet(self, vpc_id, cidr, zone, id=None):
        with _given("subnets.random_subnet_id", id):
            made = self.ec2.create_subnet(
                VpcId=vpc_id, CidrBlock=cidr, AvailabilityZone=f"{REGION}{zone}"
            )
        return made["Subnet"]["SubnetId"]

    def group(self, vpc_id, name="airflow", account=OWNER, id=None):
        """A security group; a participant's lies in a VPC of its own, since moto shares none."""
        ec2 = self.client("ec2", account)
        if account != OWNER:
            vpc_id = ec2.create_vpc(CidrBlock="10.192.0.0/16")["Vpc"]["VpcId"]
        with _given("security_groups.random_security_group_id", id):
            made = ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc_id)
        return made["GroupId"]

    def endpoint(self, vpc, service=SQS, policy=None, subnets=None, **tags):
        """An interface endpoint that somebody else made."""
        wanted = {
            "VpcId": vpc.id,
            "VpcEndpointType": "Interface",
            "ServiceName": service,
            "SubnetIds": subnets or vpc.subnets,
            "SecurityGroupIds": [vpc.group],
        }
        if policy is not None:
            wanted["PolicyDocument"] = json.dumps(policy, separators=(",", ":"))
        if tags:
            pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
            wanted["TagSpecifications"] = [{"ResourceType": "vpc-endpoint", "Tags": pairs}]
        return self.ec2.create_vpc_endpoint(**wanted)["VpcEndpoint"]["VpcEndpointId"]

    def snapshot(self, vpc):
        return snapshot(self.ec2, vpc.id)


def snapshot(ec2, vpc_id):
    """All that the function could change in a VPC, comparable and readable."""
    inside = [{"Name": "vpc-id", "Values": [vpc_id]}]
    endpoints = ec2.describe_vpc_endpoints(Filters=inside)["VpcEndpoints"]
    groups = ec2.describe_security_groups(Filters=inside)["SecurityGroups"]
    return Snapshot(
        {
            endpoint["VpcEndpointId"]: {
                "service": endpoint["ServiceName"],
                "state": endpoint["State"],
                "subnets": sorted(endpoint["SubnetIds"]),
                "groups": sorted(it["GroupId"] for it in endpoint.get("Groups", [])),
                "tags": _tags(endpoint),
                "policy": json.loads(endpoint["PolicyDocument"]),
            }
            for endpoint in endpoints
        },
        {
            group["GroupId"]: {
                "name": group["GroupName"],
                "description": group["Description"],
                "tags": _tags(group),
                "rules": sorted(_rules(group["IpPermissions"])),
                "outbound": sorted(_rules(group["IpPermissionsEgress"])),
            }
            for group in groups
        },
    )


@dataclass
class Snapshot:
    endpoints: dict
    groups: dict

    def of(self, service):
        """The endpoints to a service, by id."""
        return {id: it for id, it in self.endpoints.items() if it["service"] == service}

    @property
    def alive(self):
        """The same without the endpoints that are deleted, which EC2 goes on listing."""
        alive = {id: it for id, it in self.endpoints.items() if it["state"] != "deleted"}
        return Snapshot(alive, self.groups)

    def made_for(self, event):
        """The endpoints and groups whose tags name the environment of an event."""

        def its(resources):
            key, arn = "mwaa-vpc-endpoints/environment", environment(event)
            return {id: it for id, it in resources.items() if it["tags"].get(key) == arn}

        return Snapshot(its(self.endpoints), its(self.groups))


def _tags(resource):
    return {tag["Key"]: tag["Value"] for tag in resource.get("Tags", [])}


def _rules(permissions):
    """Security group rules as (protocol, from port, to port, source, description)."""
    for permission in permissions:
        ports = (
            permission["IpProtocol"],
            permission.get("FromPort", -1),
            permission.get("ToPort", -1),
        )
        for pair in permission.get("UserIdGroupPairs", []):
            yield *ports, f"{pair['UserId']}/{pair['GroupId']}", pair.get("Description", "")
        for kind, key in (
            ("IpRanges", "CidrIp"),
            ("Ipv6Ranges", "CidrIpv6"),
            ("PrefixListIds", "PrefixListId"),
        ):
            for source in permission.get(kind, []):
                yield *ports, source[key], source.get("Description", "")


# The function --------------------------------------------------------------------------------


@dataclass
class Answer:
    """What an invocation answered, and what it did on the way."""

    value: object = None  # the function's result, if it succeeded
    error: str = ""  # the error's message, if it failed
    error_type: str = ""
    calls: list = field(default_factory=list)
    log: str = ""
    seconds: float = 0.0

    @property
    def ok(self):
        return not self.error

    @property
    def actions(self):
        return [call.action for call in self.calls]

    @property
    def logged(self):
        """The results that were logged, one JSON line each."""
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [line["result"] for line in lines if "result" in line]

    @property
    def changes(self):
        """The calls that change something, in order."""
        return [action for action in self.actions if not action.startswith(LOOKS)]


class Lambda:
    """The binary under `cargo lambda`'s emulator of the Runtime API."""

    def __init__(self, aws, binary, account=OWNER, seconds=120, **env):
        """With `account=None` the function sees the emulator's own ARN, which is none.

        `seconds` is the time that the function is told to have.
        """
        self._aws, self._binary = aws, os.path.abspath(binary)
        self._env, self._account, self._seconds = env, account, seconds

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def _start(self, stack):
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self._port = free_port()
        log = folder / "emulator.log"
        command = [CARGO_LAMBDA, "lambda", "watch", "--only-lambda-apis"]
        command += ["--invoke-address", "127.0.0.1", "--invoke-port", str(self._port)]
        emulator = start(command, os.environ, log)
        stack.callback(stop, emulator)
        wait_until(lambda: listening(self._port), emulator, log, "cargo lambda watch")

        runtime = Proxy(
            self._port,
            answer=lambda headers, _: as_lambda(headers, self._account, self._seconds),
        )
        stack.callback(runtime.close)
        self._log = folder / "function.log"
        self._process = function = start([self._binary], self._environment(runtime.port), self._log)
        stack.callback(stop, function)
        wait_until(lambda: runtime.calls, function, self._log, "the function")

    def _environment(self, port):
        """The function's variables; a setting that is None leaves one out."""
        variables = {**variables_on_lambda(self._aws, port), **self._env}
        return {name: value for name, value in variables.items() if value is not None}

    def deliver(self, event):
        """Invokes the function with an event: a value, or bytes as they are."""
        if self._process.poll() is not None:
            raise RuntimeError(f"the function has ended:\n{self._log.read_text(errors='replace')}")
        payload = event if isinstance(event, bytes) else json.dumps(event).encode()
        before, logged = len(self._aws.proxy.calls), self._log.stat().st_size
        began = time.monotonic()
        status, answer = self._post(payload)
        seconds = time.monotonic() - began
        calls = self._aws.proxy.calls[before:]
        with open(self._log, errors="replace") as log:
            log.seek(logged)
            text = log.read()
        try:
            value = json.loads(answer)
        except ValueError:
            value = {"errorMessage": answer.decode(errors="replace") or f"HTTP {status}, no answer"}
            status = max(status, 500)
        if status == 200:
            return Answer(value=value, calls=calls, log=text, seconds=seconds)
        kind = value.get("errorType", "")
        return Answer(error=value["errorMessage"], error_type=kind, calls=calls, log=text, seconds=seconds)

    def _post(self, payload):
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        with contextlib.closing(connection):
            connection.request("POST", "/2015-03-31/functions/_/invocations", payload)
            answer = connection.getresponse()
            return answer.status, answer.read()


def as_lambda(headers, account=OWNER, seconds=120):
    """The headers of an invocation as Lambda has them.

    Lambda names the invoked function by its ARN, and the end of its time as milliseconds since
    1970. The emulator does neither.
    """
    arn, deadline = "lambda-runtime-invoked-function-arn", "lambda-runtime-deadline-ms"
    names = {name.lower() for name in headers}
    if arn not in names:
        return headers
    end = round((time.time() + seconds) * 1000)
    known = {deadline: str(end)}
    if account:
        known[arn] = f"arn:aws:lambda:{REGION}:{account}:function:mwaa-vpc-endpoints"
    return {name: value for name, value in headers.items() if name.lower() not in known} | known


def variables_on_lambda(aws, port):
    """What Lambda sets, with a Runtime API on a port, and what leads to the emulated AWS."""
    return {
        "AWS_LAMBDA_RUNTIME_API": f"http://127.0.0.1:{port}/.rt",
        "AWS_LAMBDA_FUNCTION_NAME": "mwaa-vpc-endpoints",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/mwaa-vpc-endpoints",
        "AWS_LAMBDA_LOG_STREAM_NAME": "local",
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{aws.proxy.port}",
        # The SDK asks MWAA at a host whose name begins with "api.", which no address allows.
        "AWS_ENDPOINT_URL_MWAA": AIRFLOW,
        "HTTP_PROXY": f"http://127.0.0.1:{aws.proxy.port}",
        "NO_PROXY": "127.0.0.1",
    }


# Events --------------------------------------------------------------------------------------


def sample(name):
    return json.loads((ROOT / "events" / f"{name}.json").read_text())


def event(name, vpc, groups=None, **detail):
    """The sample event of that name, about an environment in this VPC; None leaves a field out."""
    it = sample(name)
    it["detail"]["networkConfiguration"] = network(vpc, groups or [vpc.group])
    for field_name, value in detail.items():
        it["detail"][field_name] = value
        if value is None:
            del it["detail"][field_name]
    return it


def later(event, status, hours=1, **detail):
    """An event of the same environment some hours later; None leaves a field out."""
    it = copy.deepcopy(event)
    time = datetime.datetime.fromisoformat(event["time"].replace("Z", "+00:00"))
    it["time"] = f"{time + datetime.timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}"
    fields = {**it["detail"], **detail, "status": status}
    it["detail"] = {name: value for name, value in fields.items() if value is not None}
    return it


def network(vpc, groups):
    """An environment's networkConfiguration in this VPC."""
    return {"subnetIds": list(vpc.subnets), "securityGroupIds": list(groups)}


def environment(event):
    """The ARN of the environment that an event is about."""
    place = f"{event['region']}:{event['account']}"
    return f"arn:aws:airflow:{place}:environment/{event['detail']['name']}"


def blog_policy():
    """The SQS endpoint's policy in AWS's own shared VPC sample: no queue is let through yet."""
    return {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": []}]}
