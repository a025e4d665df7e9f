"""`make watch`, and `cargo lambda invoke` on every file in events/, as its README tells it."""

import contextlib
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time
import uuid

import boto3
import harness
import pytest
from harness import REGION, ROOT, sample
from test_bad_input import LEFT_OUT, REFUSED

EVENTS = ROOT / "events"
MARK = "STARTED_BY_TEST"
OWN_GROUP, SECOND_GROUP = sample("updating")["detail"]["networkConfiguration"]["securityGroupIds"]


class Watch:
    """`make watch` but for make, in a process group of its own, as a shell starts it."""

    def __init__(self, folder, port):
        self.port, self.mark = port, str(uuid.uuid4())
        self._log = folder / f"watch-{self.mark}.log"
        variables = {**os.environ, "PORT": str(port), MARK: self.mark}
        command = [sys.executable, ROOT / "tools" / "watch.py"]
        self.process = harness.start(command, variables, self._log)

    @property
    def log(self):
        return self._log.read_text(errors="replace")

    def wait_for(self, text, times=1, seconds=180):
        deadline = time.monotonic() + seconds
        while self.log.count(text) < times:
            # That would take minutes, and means that the builds do not share it any more.
            assert "Compiling aws-sdk-ec2" not in self.log, self.log
            assert self.process.poll() is None and time.monotonic() < deadline, self.log
            time.sleep(0.05)

    def invoke(self, name):
        """What `cargo lambda invoke` answers, called as `make watch` says."""
        before = len(self.log)
        command = re.search(r"^  (cargo lambda invoke.*) events/dry-run.json$", self.log, re.M)[1]
        path = f"{harness.CARGO_LAMBDA.parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            [*shlex.split(command), f"events/{name}"],
            cwd=ROOT,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=20,
        )
        calls = re.findall(r"^  [ ~] (\w+)$", self.log[before:], re.M)
        calls = [harness.Call(action, {}) for action in calls]
        if done.returncode == 0:
            return harness.Answer(value=json.loads(done.stdout), calls=calls)
        # It is told in lines of 80 characters with a bar before them.
        return harness.Answer(error=re.sub(r"[\s│]", "", done.stderr), calls=calls)

    def snapshot(self):
        """The VPC, seen as the words of `make watch` tell it."""
        (address,) = re.findall(r"--endpoint-url (\S+)", self.log)
        keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
        ec2 = boto3.client("ec2", region_name=REGION, endpoint_url=address, **keys)
        subnet = sample("pending-private")["detail"]["networkConfiguration"]["subnetIds"][0]
        (found,) = ec2.describe_subnets(SubnetIds=[subnet])["Subnets"]
        return harness.snapshot(ec2, found["VpcId"]).alive

    def left(self):
        """The processes that are left of it."""
        marked = f"{MARK}={self.mark}".encode()
        found = []
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if marked in (process / "environ").read_bytes():
                    found.append((process / "cmdline").read_text())
        return found

    def end(self):
        self.process.terminate()
        self.process.wait()
        harness.stop(self.process)


@pytest.fixture(scope="module")
def watch(tmp_path_factory):
    watch = Watch(tmp_path_factory.mktemp("watch"), harness.free_port())
    try:
        watch.wait_for("Ctrl-C ends it all.")
        yield watch
    finally:
        watch.end()


def roles(snapshot):
    tags = [it["tags"] for it in snapshot.endpoints.values()]
    return {it.get("mwaa-vpc-endpoints/role") for it in tags} - {None}


def queues(snapshot):
    """The SQS endpoint's policy, as text."""
    (endpoint,) = snapshot.of(harness.SQS).values()
    return json.dumps(endpoint["policy"])


def done(answer):
    """What the answer says of each resource, tags aside."""
    assert answer.ok, answer.error
    resources = answer.value["resources"]
    return {(it.get("role", it["kind"]), it["outcome"]) for it in resources if it["kind"] != "tags"}


# Each expectation takes the sample, the answer, and the VPC before and after.


def ignored(event, answer, before, after):
    assert answer.value["outcome"] == "ignored" and answer.value["reason"]
    assert answer.calls == [] and after == before


def would_be_made(event, answer, before, after):
    assert answer.value["dryRun"] and answer.value["outcome"] == "unchanged"
    expected = {("database", "created"), ("webserver", "created"), ("sqs-endpoint", "updated")}
    assert done(answer) == expected
    assert answer.changes == [] and after == before


def made(*expected, group=False):
    def check(event, answer, before, after):
        assert answer.value["outcome"] == "changed"
        its = {(role, "created") for role in expected} | {("sqs-endpoint", "updated")}
        assert done(answer) == its | ({("security-group", "created")} if group else set())
        new = after.made_for(event)
        assert roles(new) == set(expected)
        groups = set(new.groups) if group else {OWN_GROUP}
        assert all(set(it["groups"]) == groups for it in new.endpoints.values())
        assert event["detail"]["celeryExecutorQueue"] in queues(after)

    return check


def made_with_group_of_the_owners(event, answer, before, after):
    made("database", "webserver", group=True)(event, answer, before, after)
    (group,) = after.made_for(event).groups.values()
    theirs = event["detail"]["networkConfiguration"]["securityGroupIds"]
    sources = {f"{event['account']}/{id}" for id in theirs}
    assert {(port, source) for _, port, _, source, _ in group["rules"]} == {
        (port, source) for port in (443, 5432) for source in sources
    }


def kept(event, answer, before, after):
    assert {outcome for _, outcome in done(answer)} == {"kept"}
    assert set(answer.changes) <= {"CreateTags"}
    assert "GetEnvironment" in answer.actions
    assert roles(after.made_for(event)) == {"database", "webserver"}


def extended(event, answer, before, after):
    expected = {("database", "updated"), ("webserver", "updated"), ("sqs-endpoint", "kept")}
    assert done(answer) == expected
    for endpoint in after.made_for(event).endpoints.values():
        assert set(endpoint["groups"]) == {OWN_GROUP, SECOND_GROUP}


def restored(event, answer, before, after):
    stays = {("database", "kept"), ("webserver", "kept"), ("sqs-endpoint", "kept")}
    assert done(answer) == stays | {("endpoint", "updated")}  # what it loses is told of no role
    assert answer.actions.count("GetEnvironment") == 2
    for endpoint in after.made_for(event).endpoints.values():
        assert set(endpoint["groups"]) == {OWN_GROUP}


def looked_at(event, answer, before, after):
    assert answer.value["outcome"] == "unchanged" and answer.value["dryRun"]
    assert {what for what, _ in done(answer)} >= {"database", "webserver", "sqs-endpoint"}
    assert answer.actions and answer.changes == [] and after == before


def taken_away(event, answer, before, after):
    expected = {("database", "deleted"), ("webserver", "deleted"), ("sqs-endpoint", "updated")}
    assert done(answer) == expected
    assert after.made_for(event).endpoints == {}
    assert event["detail"]["celeryExecutorQueue"] not in queues(after)


def swept(event, answer, before, after):
    told = answer.value
    assert told["failures"] == [] and told["lookedAt"] >= 1
    waiting = {it["environment"] for it in told["environments"] if it["status"] == "PENDING"}
    assert harness.environment(sample("pending-private")) in waiting
    assert "ListEnvironments" in answer.actions and after == before


LIVES = {
    "of one of the owner": {
        "creating": ignored,
        "dry-run": would_be_made,
        "pending-private": made("database", "webserver"),
        "available": kept,
        "updating": extended,
        "update-failed": restored,
        "unavailable": kept,
        "deleted": taken_away,
    },
    "of one that fails": {
        "pending-public-and-private": made("database", "webserver"),
        "create-failed": looked_at,
    },
    "of one with a public web server": {"pending-public": made("database")},
    "of a participant's": {"pending-participant": made_with_group_of_the_owners},
    "of one that needs nothing": {"pending-service-managed": ignored},
    # The last, since what happens at the time of these is later than all sample events.
    "of one whose events were lost": {
        "get-environment": made("database", "webserver"),
        "sweep": swept,
    },
}


def test_every_file_is_invoked_here():
    expected = {f"{name}.json" for life in LIVES.values() for name in life}
    assert {file.name for file in EVENTS.iterdir()} == {*expected, "README.md", "malformed"}
    expected = {f"{name}.json" for name in (*REFUSED, *LEFT_OUT)}
    assert {file.name for file in (EVENTS / "malformed").iterdir()} == {*expected, "not-json.txt"}


@pytest.mark.parametrize("name", [*(f"{name}.json" for name in REFUSED), "not-json.txt"])
def test_a_malformed_sample_is_refused_before_any_call(watch, name):
    before = watch.snapshot()

    answer = watch.invoke(f"malformed/{name}")

    assert not answer.ok and REFUSED.get(name.removesuffix(".json"), "EOF") in answer.error
    assert answer.calls == [] and watch.snapshot() == before


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_a_malformed_sample_leaves_out_does_not_stop_the_rest(watch, name):
    field, expected = LEFT_OUT[name]

    answer = watch.invoke(f"malformed/{name}.json")

    assert not answer.ok and field in answer.error
    event, after = sample("pending-private"), watch.snapshot()
    assert roles(after.made_for(event)) == expected
    let_through = "Queue" not in field
    assert (event["detail"]["celeryExecutorQueue"] in queues(after)) == let_through
    assert watch.invoke("deleted.json").ok
    assert watch.snapshot().made_for(event).endpoints == {}


@pytest.mark.parametrize("life", LIVES)
def test_the_samples_tell_the_life(watch, life):
    for name, check in LIVES[life].items():
        event = sample(name)
        if name == "get-environment":
            event = sample("pending-private")
        before = watch.snapshot()
        answer = watch.invoke(f"{name}.json")
        assert answer.ok, f"{name}: {answer.error}"
        check(event, answer, before, watch.snapshot())


def test_an_event_after_a_restart_goes_to_the_function_that_runs(watch):
    starts = watch.log.count("Running `")
    os.utime(ROOT / "src")  # a change as far as cargo lambda can see, and none for cargo
    watch.wait_for("Running `", times=starts + 1)

    assert watch.invoke("creating.json").value["outcome"] == "ignored"


def test_a_port_that_is_taken_is_told_with_what_helps(watch, tmp_path):
    second = Watch(tmp_path, watch.port)

    assert second.process.wait(30) == 1
    assert f"Port {watch.port} is taken" in second.log
    assert f"make watch PORT={watch.port + 1}" in second.log
    assert "Traceback" not in second.log


# Ctrl-C, when it is ready, reaches the whole group; while it compiles, somebody ends it alone.
@pytest.mark.parametrize(
    ("moment", "end"),
    [
        ("Ctrl-C ends it all.", lambda process: os.killpg(process.pid, signal.SIGINT)),
        ("starting lambda function instance", lambda process: process.terminate()),
    ],
    ids=["ready", "compiling"],
)
def test_it_ends_with_all_that_it_started(tmp_path, moment, end):
    watch = Watch(tmp_path, harness.free_port())
    try:
        watch.wait_for(moment)
        assert len(watch.left()) >= 2
        end(watch.process)

        assert watch.process.wait(30) == 0
    finally:
        watch.end()
    assert watch.left() == []
    assert "Traceback" not in watch.log
    assert not any(harness.listening(watch.port, it) for it in ("127.0.0.1", "::1"))
