"""A function's process, under an emulator of the Lambda Runtime API."""

import asyncio
import itertools
import json
import pathlib
import subprocess
import time
from dataclasses import dataclass

import wire
from cloud import ACCOUNT, REGION

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
PREFIX = "/2018-06-01/runtime"
PATIENCE = 130  # seconds


@dataclass
class Invocation:
    handed_out: float = 0.0
    answered: float = 0.0
    value: object = None
    error: str = ""

    @property
    def seconds(self):
        return self.answered - self.handed_out


class Function:
    """An asynchronous context manager; `started` is when the process began to be made."""

    def __init__(self, command, environment, log):
        self._command, self._environment, self._log = command, environment, log
        self._ids = itertools.count()
        self._idle = asyncio.Event()  # the process has asked for the next event
        self._next = None  # how to answer it
        self._pending = None  # what to answer it with
        self._done = None
        self.process = None

    async def __aenter__(self):
        self._server = await wire.serve(self._answer)
        return self

    async def __aexit__(self, *_):
        self.stop()
        self._server.close()

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def start(self):
        environment = {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{wire.port(self._server)}",
            "AWS_LAMBDA_FUNCTION_NAME": "f",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f",
            "AWS_LAMBDA_LOG_STREAM_NAME": "local",
            "AWS_LAMBDA_LOG_FORMAT": "JSON",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "ASIABENCHMARK",
            "AWS_SECRET_ACCESS_KEY": "benchmark",
            "AWS_SESSION_TOKEN": "benchmark",
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            **self._environment,
        }
        with open(self._log, "wb") as log:
            self.started = time.perf_counter()
            self.process = subprocess.Popen(
                self._command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    async def ready(self):
        """Waits until the process can be handed an event."""
        await self._patiently(self._idle.wait())

    async def invoke(self, event):
        """Hands an event out, now or when the process asks for one, and waits for the answer."""
        self._pending = json.dumps(event).encode()
        self._done = asyncio.get_running_loop().create_future()
        self._invocation = Invocation()
        self._hand_out()
        return await self._patiently(self._done)

    async def _patiently(self, awaitable):
        answer = asyncio.ensure_future(awaitable)
        deadline = time.monotonic() + PATIENCE
        while not answer.done():
            await asyncio.wait([answer], timeout=1)
            if not answer.done() and self._is_lost(deadline):
                answer.cancel()
                words = pathlib.Path(self._log).read_text(errors="replace")
                raise RuntimeError(f"{self._command} did not answer:\n{words}")
        return answer.result()

    def _is_lost(self, deadline):
        return self.process.poll() is not None or time.monotonic() > deadline

    def _answer(self, request, reply):
        if request.path == f"{PREFIX}/invocation/next":
            self._next = reply
            self._idle.set()
            self._hand_out()
            return
        kind = request.path.rpartition("/")[2]
        if self._done and not self._done.done():
            self._invocation.answered = request.arrived
            value = json.loads(request.body or b"null")
            if kind == "response":
                self._invocation.value = value
            else:
                self._invocation.error = (value or {}).get("errorMessage") or kind
            self._done.set_result(self._invocation)
        reply(202, {"Content-Type": "application/json"}, b'{"status":"OK"}')

    def _hand_out(self):
        if self._pending is None or self._next is None:
            return
        reply, body = self._next, self._pending
        self._next = self._pending = None
        self._idle.clear()
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": f"8476a536-e9f4-11e8-9739-{next(self._ids):012x}",
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + 120) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": ARN,
            "Lambda-Runtime-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0",
        }
        self._invocation.handed_out = time.perf_counter()
        reply(200, headers, body)

    # What Linux says of the process

    def peak_memory(self):
        """In bytes; of this process alone, unlike `ru_maxrss`, which begins with its parent's."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024

    def processor_time(self):
        """In seconds, so far, of all threads that still run."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
