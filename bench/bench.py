"""Measures the deployed function beside a plain boto3 handler: bench.py BINARY FOLDER

Both run under the same emulator of the Lambda Runtime API and against the same emulator of EC2, one
after the other in each round, so that whatever else the machine does befalls both. The figures are
printed, and go to `bench.json` and `bench.svg` in FOLDER. ROUNDS=… sets the number of rounds.

ESTATE=only measures the sweep of an estate alone, and writes nothing.

With AGAINST=… the function is measured in turns with another build of it instead, and only what a
process takes is printed.
"""

import asyncio
import contextlib
import gc
import itertools
import json
import os
import pathlib
import platform
import random
import signal
import ssl
import subprocess
import sys
import tempfile
import time

import botocore
import chart
import cloud
import estate
import packages
import report
import trustme
import wire
from function import Function

HERE = pathlib.Path(__file__).resolve().parent
AIRFLOW = f"airflow.{cloud.REGION}.amazonaws.com"  # the SDKs put "api." before it
WARM = 3  # invocations of each process after its first
LATENCIES = (0, 20)  # milliseconds
EMULATORS = "emulators"


class Bench:
    def __init__(self, binaries, rounds, folder, world=None):
        """`binaries` are the builds of the function to measure, by name."""
        self.binaries, self.rounds, self.folder = binaries, rounds, folder
        self.cloud = world or cloud.Cloud()
        self._numbers = itertools.count()

    async def run(self):
        """What processes take, and what bursts do."""
        await self._serve()
        await self._record()
        samples = await self._rounds(("function", "boto3", EMULATORS))
        bursts = []
        for name, environments, vpcs, at_once in (
            ("function", 1, 1, 1),
            ("function", 50, 1, 1),
            ("function", 50, 1, 10),
            ("function", 200, 10, 1),
            ("function", 200, 10, 10),
            ("boto3", 50, 1, 1),
            ("boto3", 50, 1, 10),
        ):
            _progress(f"{environments} environments, {at_once} at once")
            bursts.append(await self._burst(name, environments, vpcs, at_once))
        _progress("")
        return samples, bursts

    async def estate(self):
        """What sweeps of many environments take."""
        await self._serve()
        measured = await estate.run(self._sweeper, self.cloud, _progress)
        _progress("")
        return measured

    def _sweeper(self, variables):
        return self._function("function", "http", variables)

    async def compare(self):
        """What processes of each build take."""
        await self._serve()
        samples = await self._rounds(tuple(self.binaries))
        _progress("")
        return samples

    async def _rounds(self, names):
        _progress("Warming up")
        samples = {}
        for number in range(self.rounds + 1):
            if number == 1:  # what the files' first reading costs is not the functions' own
                samples = {}
            for scheme, latency in [*(("http", it) for it in LATENCIES), ("https", 0)]:
                # Whoever comes first after another scheme finds the machine less warm.
                for name in names if number % 2 else reversed(names):
                    if (name, scheme) != (EMULATORS, "https"):
                        await self._one(name, scheme, latency, samples)
            samples.setdefault("spawn", []).append(await self._spawn())
            _progress(f"Round {number} of {self.rounds}")
        return samples

    async def _serve(self):
        """EC2 and MWAA, over HTTP and over HTTPS with public roots and one of our own."""
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1", f"api.{AIRFLOW}")
        tls = _server_context(certificate)
        self._servers = {
            "http": await wire.serve(self.cloud.answer, proxied_tls=tls),
            "https": await wire.serve(self.cloud.answer, tls=tls),
        }
        self._ports = {scheme: wire.port(server) for scheme, server in self._servers.items()}
        public = pathlib.Path(botocore.__file__).with_name("cacert.pem").read_bytes()
        self._roots = self.folder / "roots.pem"
        self._roots.write_bytes(public + authority.cert_pem.bytes())

    async def _record(self):
        """What the function asks for, for the client that only repeats it."""
        self.cloud.latency, event = 0.02, self._fresh()
        async with self._function("function", "http") as function:
            function.start()
            _check(await function.invoke(event))
        groups = [
            [call.raw.decode("latin-1") for call in group]
            for group in cloud.levels(self.cloud.calls)
        ]
        self._recording = self.folder / "recording.json"
        self._recording.write_text(json.dumps([self._ports["http"], groups]))

    def _fresh(self):
        self.cloud.reset()
        return self.cloud.environment(1)

    def _function(self, name, scheme, variables=()):
        endpoint = f"{scheme}://127.0.0.1:{self._ports[scheme]}"
        roots = str(self._roots)
        environment = {"AWS_ENDPOINT_URL": endpoint}
        if name in self.binaries:
            command = [self.binaries[name]]
            # MWAA is asked at a host whose name begins with "api.", which no address allows.
            proxy = f"http://127.0.0.1:{self._ports['http']}"
            environment |= {
                "AWS_ENDPOINT_URL_MWAA": f"{scheme}://{AIRFLOW}",
                f"{scheme.upper()}_PROXY": proxy,
                "NO_PROXY": "127.0.0.1",
                "SSL_CERT_FILE": roots,
            }
        elif name == "boto3":
            command = [sys.executable, "-m", "awslambdaric", "boto3_handler.handle"]
            environment |= {
                "AWS_CA_BUNDLE": roots,
                "PYTHONPATH": str(HERE),
                "PYTHONPYCACHEPREFIX": str(self.folder / "pycache"),
            }
        else:
            command = [sys.executable, "-S", str(HERE / "replay.py"), str(self._recording)]
        environment |= dict(variables)
        log = self.folder / f"function-{next(self._numbers)}.log"
        return Function(command, environment, log)

    async def _one(self, name, scheme, latency, samples):
        """A process's life: it starts with an event, and is handed a few more."""
        self.cloud.latency = latency / 1000
        taken = samples.setdefault((name, scheme, latency), {})

        def take(what, value):
            taken.setdefault(what, []).append(value)

        gc.collect()
        async with self._function(name, scheme) as function:
            event = self._fresh()
            function.start()
            invocation = _check(await function.invoke(event))
            await function.ready()
            take("init", invocation.handed_out - function.started)
            take("cold", invocation.answered - function.started)
            take("cold_processor", function.processor_time())
            self._check_outcome(name, latency)
            for _ in range(WARM):
                event, before = self._fresh(), function.processor_time()
                invocation = _check(await function.invoke(event))
                await function.ready()
                take("warm", invocation.seconds)
                take("warm_processor", function.processor_time() - before)
                take("calls", len(self.cloud.calls))
                if latency:
                    take("depth", cloud.depth(self.cloud.calls))
                if name == EMULATORS:
                    take("served", sum(it.ended - it.began for it in self.cloud.calls))
            take("memory", function.peak_memory())

    def _check_outcome(self, name, latency):
        if len(self.cloud.endpoints) != 3 or len(self.cloud.queues(f"vpc-{0:017x}")) != 1:
            raise RuntimeError(f"{name} did not do its work at {latency} ms")

    async def _spawn(self):
        """What it takes to start a process that does nothing, and to see it end."""
        began = time.perf_counter()
        subprocess.Popen(["/bin/true"]).wait()
        return time.perf_counter() - began

    async def _burst(self, name, environments, vpcs, at_once):
        self.cloud.latency = 0.02
        self.cloud.reset(vpcs)
        events = [self.cloud.environment(number, number % vpcs) for number in range(environments)]
        waiting = random.Random(environments).sample(events, environments)
        failed, seconds = [], []

        async def work(function):
            while waiting:
                event = waiting.pop()
                invocation = await function.invoke(event)
                seconds.append(invocation.seconds)
                if invocation.error:
                    failed.append(event)

        async with contextlib.AsyncExitStack() as stack:
            functions = [
                await stack.enter_async_context(self._function(name, "http"))
                for _ in range(at_once)
            ]
            for function in functions:
                function.start()
                await function.ready()
            # Connections are open, as in a function that has worked before.
            began = time.perf_counter()
            await asyncio.gather(*map(work, functions))
            wall = time.perf_counter() - began
            calls = len(self.cloud.calls)
            through = self._through(vpcs)
            again = 0
            if name == "function":
                # Lambda would deliver failed events again; else one event of each VPC is.
                for event in failed or events[:vpcs]:
                    again += 1
                    _check(await functions[0].invoke(event))
        services = [endpoint.service for endpoint in self.cloud.endpoints.values()]
        own = [service for service in services if service != cloud.SQS]
        return {
            "name": name,
            "environments": environments,
            "vpcs": vpcs,
            "concurrency": at_once,
            "calls_per_environment": calls / environments,
            "invocation_ms": report.spread(seconds, 1000),
            "wall_ms_per_environment": wall * 1000 / environments,
            "failed_invocations": len(failed),
            "endpoints": len(own),
            "endpoints_twice": len(own) - len(set(own)),
            "queues_let_through": through,
            "deliveries_after": again,
            "queues_let_through_after": self._through(vpcs),
        }

    def _through(self, vpcs):
        return sum(len(self.cloud.queues(f"vpc-{vpc:017x}")) for vpc in range(vpcs))


def _progress(text):
    if sys.stdout.isatty():
        print(f"\r{text:<40}\r", end="", flush=True)


def _server_context(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def _check(invocation):
    if invocation.error:
        raise RuntimeError(f"the function failed: {invocation.error}")
    return invocation


def machine():
    model = "unknown"
    with contextlib.suppress(OSError):
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        named = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
        model = next(named, platform.machine())
    rust = "unknown"
    with contextlib.suppress(OSError):
        rust = subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout.split()
        rust = rust[1] if len(rust) > 1 else "unknown"
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "rust": rust,
        "load": round(os.getloadavg()[0], 2),
        **packages.versions("boto3", "awslambdaric"),
    }


def _run(work):
    """Runs to the end, or until a signal asks us to end; no process is left behind."""
    loop = wire.new_event_loop()
    task = loop.create_task(work)
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(signum, task.cancel)
    try:
        return loop.run_until_complete(task)
    except asyncio.CancelledError:
        sys.exit(130)


def compare(binaries, rounds):
    with tempfile.TemporaryDirectory() as scratch:
        samples = _run(Bench(binaries, rounds, pathlib.Path(scratch)).compare())
    sizes = {name: packages.binary(path) for name, path in binaries.items()}
    print(report.comparison(samples, sizes))


def main(binary, folder):
    rounds = int(os.environ.get("ROUNDS") or 20)
    binaries = {"function": os.path.abspath(binary)}
    if against := os.environ.get("AGAINST"):
        return compare(binaries | {"against": os.path.abspath(against)}, rounds)
    folder, figures = pathlib.Path(folder), {"machine": machine()}
    gc.disable()  # it is done between measurements
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(binaries, rounds, pathlib.Path(scratch), estate.Estate())
        swept = _run(bench.estate())
    if os.environ.get("ESTATE") == "only":
        print("\n".join(estate.table(swept)))
        return None
    with tempfile.TemporaryDirectory() as scratch:
        samples, bursts = _run(Bench(binaries, rounds, pathlib.Path(scratch)).run())
    sizes = {"function": packages.binary(binary), "boto3": packages.handler(HERE)}
    figures |= report.figures(rounds, samples, bursts, sizes)
    figures["estate"] = swept
    print(report.table(figures))
    print("\n".join(["", *estate.table(swept)]))
    (folder / "bench.json").write_text(json.dumps(figures, indent=1) + "\n")
    (folder / "bench.svg").write_text(chart.draw(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
