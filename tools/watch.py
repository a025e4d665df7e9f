"""Serves `cargo lambda invoke` with the function, in an emulated AWS: make watch

    cargo lambda invoke -> `cargo lambda watch` <- Proxy <- the function, compiled and run by it
                                                                |
                                                                +--> the emulated AWS

In that AWS is all that the sample events in events/ name, under these very ids, and MWAA says there
what the events say. The variable PORT says where to serve, if not at cargo lambda's own port. The
function's variables, which are those in template.yaml, can be set too: DELETION=off make watch
"""

import contextlib
import errno
import http.client
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time

signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C leaves no traceback while moto is loading
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "emulator"))

from harness import (  # noqa: E402
    CARGO_LAMBDA,
    LOOKS,
    OWNER,
    REGION,
    ROOT,
    Aws,
    Proxy,
    Vpc,
    adopt_orphans,
    as_lambda,
    blog_policy,
    end_on_signals,
    environment,
    listening,
    sample,
    start,
    stop,
    stop_tree,
    variables_on_lambda,
)
from mwaa import capital  # noqa: E402
from show import bold, fail, mark, paint, paragraph, section  # noqa: E402

PORT = 9000  # where `cargo lambda invoke` calls if it is not told otherwise
FIRST_EVENT = sample("creating")  # the function ignores it, and asks AWS nothing
PENDING = [sample(file.stem) for file in sorted((ROOT / "events").glob("pending-*.json"))]
FIELDS = sample("updating")["detail"]  # what an event can say

_one_at_a_time = threading.Lock()


def main():
    address, port = loopback(), wanted_port()
    check_free(address, port)
    print(bold("Here runs the function under cargo lambda watch; the AWS it talks to is moto."))
    say_what_takes_long()
    with contextlib.ExitStack() as stack:
        aws = stack.enter_context(Aws())
        lay_out(aws)
        invocations = Invocations(aws.mwaa)
        runtime = Proxy(port, answer=invocations.hand_on, address=address)
        stack.callback(runtime.close)
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        adopt_orphans()
        stack.callback(stop_tree)
        emulator = start(command(address, port, launcher(folder, aws, runtime)), os.environ)
        stack.callback(stop, emulator)
        start_function(emulator, address, port)
        aws.mwaa.remove(FIRST_EVENT)
        with _one_at_a_time:
            aws.proxy.on_call = show_call
            invocations.show = True
            say_ready(aws, address, port)
        emulator.wait()
        fail("cargo lambda watch has ended.")


# Where it is served --------------------------------------------------------------------------


def wanted_port():
    text = os.environ.get("PORT", "").strip() or str(PORT)
    if not re.fullmatch(r"\d{1,5}", text) or not 0 < int(text) < 65536:
        fail(f"PORT: {text!r} is no port: make watch PORT=9001")
    return int(text)


def loopback():
    """The address that `cargo lambda invoke` calls, unless this machine is without IPv6."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return "127.0.0.1"
    return "::1"


def check_free(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        socket.create_server((address, port), family=family).close()
    except OSError as error:
        why = f"cannot be had ({os.strerror(error.errno)})"
        if error.errno == errno.EADDRINUSE:
            why = "is taken (another make watch?)"
        other = port + 1 if 1023 < port < 65535 else PORT + 1
        fail(f"Port {port} {why}: make watch PORT={other}, cargo lambda invoke -P {other} …")


# The emulated AWS ----------------------------------------------------------------------------


def lay_out(aws):
    """The VPC of the sample events: its subnets, the groups of both accounts, and SQS."""
    aws.reset()
    aws.mwaa.admit(OWNER)
    vpc_id = aws.ec2.create_vpc(CidrBlock="10.192.0.0/16")["Vpc"]["VpcId"]
    subnets, groups = named_in_samples()
    for n, id in enumerate(subnets):
        aws.subnet(vpc_id, f"10.192.{20 + n}.0/24", "abcdef"[n], id)
    for n, (id, account) in enumerate(groups.items()):
        aws.group(vpc_id, f"airflow-{n}", account, id)
    vpc = Vpc(vpc_id, list(subnets), next(id for id in groups if groups[id] == OWNER))
    aws.endpoint(vpc, policy=blog_policy(), Name="sqs")


def named_in_samples():
    """The subnets that sample events name, in order, and the groups with their accounts."""
    subnets, groups = {}, {}
    for file in sorted((ROOT / "events").glob("*.json")):
        event = sample(file.stem)
        network = event.get("detail", {}).get("networkConfiguration", {})
        subnets |= dict.fromkeys(network.get("subnetIds", []))
        groups |= dict.fromkeys(network.get("securityGroupIds", []), event.get("account"))
    return subnets, groups


class Invocations:
    """What the function is handed, and what MWAA says of it.

    An event is about an environment in some status, and the function may ask MWAA whether that is
    so still. So MWAA is told of each event just before the function gets it.
    """

    def __init__(self, mwaa):
        self.show = False
        self._mwaa = mwaa
        self._networks = {
            environment(event): event["detail"]["networkConfiguration"] for event in PENDING
        }

    def hand_on(self, headers, payload):
        """The headers of an answer of the Runtime API, which may be an invocation, as Lambda's."""
        handed = as_lambda(headers)
        if handed != headers:
            if self.show:
                show_invocation(payload)
            # The function says itself what is wrong with a payload.
            with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError):
                self._tell(event_of(payload))
        return handed

    def _tell(self, event):
        if not is_from_mwaa(event):
            return
        # MWAA knows no more than the event, but for the network, without which it knows nothing.
        detail = well_formed(event["detail"])
        network = self._networks.get(environment(event), {})
        detail.setdefault("networkConfiguration", network)
        self._networks[environment(event)] = detail["networkConfiguration"]
        if detail["status"] == "DELETED":
            self._mwaa.remove(event)
        else:
            self._mwaa.put({**event, "detail": detail})


def event_of(payload):
    """The event that a payload is, or that would say the same as MWAA's answer in it."""
    value = json.loads(payload)
    if "Environment" not in value:
        return value
    answer = value["Environment"]
    region, account = answer["Arn"].split(":")[3:5]
    detail = {name: answer[capital(name)] for name in FIELDS if capital(name) in answer}
    network = detail["networkConfiguration"]
    detail["networkConfiguration"] = {name: network[capital(name)] for name in NETWORK}
    return {**FIRST_EVENT, "account": account, "region": region, "detail": detail}


SERVICE = rf"com\.amazonaws\.vpce\.{REGION}\.vpce-svc-\w+"
NETWORK = {"subnetIds": r"subnet-\w+", "securityGroupIds": r"sg-\w+"}
FORMS = {
    "databaseVpcEndpointService": SERVICE,
    "webserverVpcEndpointService": SERVICE,
    "celeryExecutorQueue": rf"arn:aws:sqs:{REGION}:\d{{12}}:[\w-]+",
}


def is_from_mwaa(event):
    """Whether MWAA in this Region could have sent it about an environment."""
    return (
        all(event[name] == FIRST_EVENT[name] for name in ("source", "detail-type", "region"))
        and re.fullmatch(r"\d{12}", event["account"])
        and re.fullmatch(r"[a-zA-Z][\w-]*", event["detail"]["name"])
        and isinstance(event["detail"]["status"], str)
    )


def well_formed(detail):
    """The fields of an event's detail that MWAA could have sent."""
    right = {
        name: it
        for name, it in detail.items()
        if name not in FORMS or re.fullmatch(FORMS[name], str(it))
    }
    network = right.pop("networkConfiguration", {})
    if all(
        network.get(name)
        and isinstance(network[name], list)
        and all(re.fullmatch(form, id) for id in network[name])
        for name, form in NETWORK.items()
    ):
        right["networkConfiguration"] = network
    return right


# The function --------------------------------------------------------------------------------


def launcher(folder, aws, runtime):
    """A script that runs a command as on Lambda in the emulated AWS, and nowhere near the real one.

    cargo starts the function through it, since cargo lambda sets another Runtime API, and what
    leads to the emulated AWS does not concern cargo.
    """
    foreign = [name for name in os.environ if re.match("aws_|.*_proxy$", name, re.IGNORECASE)]
    words = ["exec", "env"]
    # Only cargo lambda sets this, and the runtime has a warning for everybody who does.
    for name in ("AWS_LAMBDA_MAX_CONCURRENCY", *foreign):
        words += ["-u", name]
    words += [f"{name}={it}" for name, it in variables_on_lambda(aws, runtime.port).items()]
    script = folder / "as-on-lambda"
    script.write_text(f'{shlex.join(words)} "$@"\n')
    return script


def command(address, port, launcher):
    runner = json.dumps(["sh", str(launcher)])
    # The feature is not the function's: with it nothing is compiled that the Rust tests have not. Without --bin cargo
    # lambda has two functions, and `cargo lambda invoke` would have to name one.
    watch = [CARGO_LAMBDA, "lambda", "watch", "--locked", "--features", "cli"]
    watch += ["--bin", "mwaa-vpc-endpoints", "--config"]
    watch.append(f"target.'cfg(unix)'.runner={runner}")
    return [*watch, "--invoke-address", address, "--invoke-port", str(port)]


def start_function(emulator, address, port):
    """Lets `cargo lambda watch` compile and start the function, which it does for an event only.

    If it does not compile, this waits until it does: cargo lambda tries again after a change.
    """
    try:
        while not listening(port, address):
            if emulator.poll() is not None:
                raise ConnectionError
            time.sleep(0.02)
        connection = http.client.HTTPConnection(address, port)
        with contextlib.closing(connection):
            event = json.dumps(FIRST_EVENT)
            connection.request("POST", "/2015-03-31/functions/_/invocations", event)
            connection.getresponse().read()
    except (ConnectionError, http.client.HTTPException):
        fail("cargo lambda watch has ended.")


# What is told --------------------------------------------------------------------------------


def say_what_takes_long():
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    if not (target / "debug" / "mwaa-vpc-endpoints").exists():
        print("The first build compiles the EC2 client, which takes several minutes.")
    print("For a first event, events/creating.json, cargo lambda compiles and starts the function:")
    print(flush=True)


def say_ready(aws, address, port):
    section("Ready")
    paragraph("In a second terminal, in this folder:")
    print()
    if not is_installed_elsewhere():
        print(f"  export PATH={shlex.quote(str(CARGO_LAMBDA.parent))}:$PATH   # cargo-lambda")
    options = "" if port == PORT else f" --invoke-port {port}"
    options += "" if address == "::1" else f" --invoke-address {address}"
    for name in ("dry-run", "pending-private"):
        print(f"  cargo lambda invoke{options} --data-file events/{name}.json")
    print()
    paragraph(
        "events/README.md says what the function does with each file there. After a change in src/ "
        "it is compiled and started anew; the VPC stays as it is. To look at that, with any keys:"
    )
    print(f"\n  aws --endpoint-url http://127.0.0.1:{aws.proxy.port} --region {REGION} \\")
    print("    ec2 describe-vpc-endpoints\n")
    print("Ctrl-C ends it all.", flush=True)


def is_installed_elsewhere():
    """Whether cargo finds cargo-lambda without our virtual environment, which make puts first."""
    home = pathlib.Path(os.environ.get("CARGO_HOME") or pathlib.Path.home() / ".cargo")
    folders = [str(home / "bin"), *os.environ.get("PATH", "").split(os.pathsep)]
    others = [it for it in folders if it != str(CARGO_LAMBDA.parent)]
    return shutil.which("cargo-lambda", path=os.pathsep.join(others)) is not None


def show_invocation(payload):
    with _one_at_a_time, contextlib.suppress(OSError):  # the terminal may be gone
        section(title(payload))
        sys.stdout.flush()


def title(payload):
    try:
        value = json.loads(payload)
        dry = "Dry run: " if value.get("dryRun") else ""
        if value.get("sweep"):
            return f"{dry}sweep"
        event = event_of(payload)
        detail = event["detail"]
        return f"{dry}{detail['status']}, {detail['name']} of account {event['account']}"
    except (ValueError, LookupError, TypeError, AttributeError):
        return "A payload that is no event"


def show_call(call):
    with _one_at_a_time, contextlib.suppress(OSError):
        looks = call.action.startswith(LOOKS)
        mark(" " if looks else "~", paint("dim" if looks else None, call.action))
        sys.stdout.flush()


if __name__ == "__main__":
    end_on_signals()
    try:
        main()
    except RuntimeError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:  # which is how it ends when all is well
        with contextlib.suppress(OSError):
            print(flush=True)
