"""From where the function takes credentials and settings: variables on Lambda, profiles elsewhere."""

import contextlib
import ctypes
import hashlib
import json
import os
import pathlib
import re
import socket
import struct
import sys
import threading
import time

import harness
import pytest
from harness import OWNER, PARTICIPANT, REGION, ROOT, event

# What Lambda sets, and a person's machine does not have.
NO_KEYS = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}
PROFILE = {**NO_KEYS, "AWS_PROFILE": "owner"}


@pytest.fixture
def home(tmp_path):
    """A home folder; called with a `config` and `credentials` it has these files of the AWS CLI."""

    def write(config="", credentials=""):
        folder = tmp_path / ".aws"
        folder.mkdir(exist_ok=True)
        (folder / "config").write_text(config)
        (folder / "credentials").write_text(credentials)
        return {"HOME": str(tmp_path)}

    return write


@pytest.fixture
def on_a_laptop(aws, laptop):
    """Starts the function as a person's machine has it."""
    with contextlib.ExitStack() as stack:
        yield lambda **settings: stack.enter_context(harness.Lambda(aws, laptop, **settings))


KEYS = """
[owner]
aws_access_key_id = testing
aws_secret_access_key = testing
"""


def test_on_lambda_no_file_is_opened_and_nobody_else_is_asked(aws, configured, vpc, sqs, home):
    wrong = "[default]\nregion = eu-north-1\nendpoint_url = http://127.0.0.1:1\n"
    variables = home(wrong)
    with opened(pathlib.Path(variables["HOME"]) / ".aws") as files:
        answer = configured(**variables).deliver(event("pending-private", vpc))

    assert answer.ok, answer.error
    assert answer.value["outcome"] == "changed"
    assert files == []
    assert {call.action for call in aws.proxy.calls} <= {
        "DescribeSubnets",
        "DescribeVpcEndpoints",
        "CreateVpcEndpoint",
        "ModifyVpcEndpoint",
        "GetEnvironment",
    }


def test_a_profile_gives_credentials_region_and_endpoint(aws, configured, vpc, home):
    config = f"""
[profile owner]
region = {REGION}
endpoint_url = http://127.0.0.1:{aws.proxy.port}
"""
    variables = {**PROFILE, **home(config, KEYS), "AWS_ENDPOINT_URL": None, "AWS_REGION": None}
    with opened(pathlib.Path(variables["HOME"]) / ".aws") as files:
        answer = configured(**variables).deliver(event("pending-private", vpc))

    assert answer.ok, answer.error
    assert answer.value["outcome"] == "changed"
    assert set(files) == {"config", "credentials"}


def test_a_profile_can_take_on_a_role(aws, configured, vpc, home):
    role = f"arn:aws:iam::{OWNER}:role/network"
    config = f"[profile owner]\nregion = {REGION}\nrole_arn = {role}\nsource_profile = base\n"
    variables = {**PROFILE, **home(config, KEYS.replace("owner", "base"))}
    answer = configured(**variables).deliver(event("pending-private", vpc))

    assert answer.ok
    assumed = [call for call in answer.calls if call.action == "AssumeRole"]
    assert [call.parameters["RoleArn"] for call in assumed] == [role]


def test_a_profile_can_name_a_program(on_a_laptop, vpc, home, tmp_path):
    keys = {"Version": 1, "AccessKeyId": "testing", "SecretAccessKey": "testing"}
    program = tmp_path / "keys.py"
    program.write_text(f"print({json.dumps(keys)!r})")
    config = f"[profile owner]\ncredential_process = {sys.executable} {program}\n"
    answer = on_a_laptop(**PROFILE, **home(config)).deliver(event("pending-private", vpc))

    assert answer.ok, answer.error
    assert answer.value["outcome"] == "changed"


def test_a_profile_can_be_of_sso(aws, on_a_laptop, vpc, home):
    config = f"""
[profile owner]
sso_session = company
sso_account_id = {OWNER}
sso_role_name = Network
[sso-session company]
sso_region = {REGION}
sso_start_url = https://company.awsapps.com/start
"""
    variables = home(config)
    cache = pathlib.Path(variables["HOME"], ".aws", "sso", "cache")
    cache.mkdir(parents=True)
    signed_in = {"accessToken": "token", "expiresAt": "2099-01-01T00:00:00Z", "region": REGION}
    # The AWS CLI names the file by the session.
    name = hashlib.sha1(b"company").hexdigest()
    (cache / f"{name}.json").write_text(json.dumps(signed_in))
    keys = {"accessKeyId": "testing", "secretAccessKey": "testing", "sessionToken": "t"}
    given = {"roleCredentials": {**keys, "expiration": round((time.time() + 3600) * 1000)}}
    aws.proxy.hosts["sso"] = lambda *_: harness.mwaa.accept(given)
    variables["AWS_ENDPOINT_URL_SSO"] = f"http://portal.sso.{REGION}.amazonaws.com"
    try:
        answer = on_a_laptop(**PROFILE, **variables).deliver(event("pending-private", vpc))
    finally:
        del aws.proxy.hosts["sso"]

    assert answer.ok, answer.error
    assert answer.value["outcome"] == "changed"


@pytest.mark.parametrize(
    "variables, config, attempts",
    [
        ({}, "", 4),
        ({"AWS_MAX_ATTEMPTS": "2"}, "", 2),
        (PROFILE, "", 4),
        (PROFILE, "max_attempts = 3", 3),
        ({**PROFILE, "AWS_MAX_ATTEMPTS": "3"}, "max_attempts = 2", 3),
    ],
    ids=["lambda", "variable", "profile_without", "profile", "variable_over_profile"],
)
def test_a_call_is_tried_four_times_or_as_often_as_was_set(
    aws, configured, vpc, home, variables, config, attempts
):
    function = configured(**home(f"[profile owner]\n{config}\n", KEYS), **variables)
    aws.proxy.fail("DescribeSubnets", "InternalError", status=500, times=10)
    answer = function.deliver(event("pending-private", vpc))

    assert not answer.ok
    assert answer.actions.count("DescribeSubnets") == attempts


@pytest.mark.parametrize("fips", [True, False])
def test_fips_and_dual_stack_endpoints_are_used_where_they_are_set(configured, vpc, home, fips):
    setting = "use_fips_endpoint" if fips else "use_dualstack_endpoint"
    config = f"[profile owner]\nregion = {REGION}\n{setting} = true\n"
    with asked_for() as (port, hosts):
        proxy = f"http://127.0.0.1:{port}"
        variables = {**PROFILE, **home(config, KEYS), "AWS_MAX_ATTEMPTS": "1"}
        variables |= {"AWS_ENDPOINT_URL": None, "HTTPS_PROXY": proxy}
        answer = configured(**variables).deliver(event("pending-private", vpc))

    assert not answer.ok
    expected = f"ec2-fips.{REGION}.amazonaws.com" if fips else f"ec2.{REGION}.api.aws"
    assert set(hosts) == {f"{expected}:443"}


def test_without_credentials_people_are_told_what_to_do(configured, vpc, home):
    variables = {**NO_KEYS, **home(), "AWS_EC2_METADATA_DISABLED": "true"}
    answer = configured(**variables).deliver(event("pending-private", vpc))

    assert not answer.ok
    assert "AWS_PROFILE" in answer.error and "sign in" in answer.error
    for rust in ("{", "Some(", "Error("):
        assert rust not in answer.error
    assert len(answer.error) < 1000


def test_a_dry_run_from_a_laptop_needs_what_the_docs_say_and_no_more(
    aws, mwaa, configured, vpc, sqs, home
):
    documents = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "deploy.md").read_text(), re.S)
    (policy,) = [json.loads(document) for document in documents]
    (statement,) = policy["Statement"]
    # `cargo lambda watch` does not tell the function's ARN.
    function = configured(account=None, **PROFILE, **home("", KEYS))
    calls = set()
    for waiting in (
        event("pending-private", vpc),
        event("pending-participant", vpc, [aws.group(vpc.id, "airflow", PARTICIPANT)]),
    ):
        answer = function.deliver({**waiting, "dryRun": True})
        assert answer.ok and {it["outcome"] for it in answer.value["resources"]} >= {"created"}
        calls |= set(answer.actions)

    assert {f"ec2:{call}" for call in calls} == set(statement["Action"])


def test_a_reader_role_gives_credentials_of_the_participants_account(aws, configured, mwaa, vpc):
    waiting = event("pending-participant", vpc, [aws.group(vpc.id, "airflow", PARTICIPANT)])
    mwaa.put(waiting)
    answer = configured(READER_ROLE="mwaa-reader").deliver(waiting)

    assert answer.ok and answer.value["warnings"] == []
    assert answer.actions.count("AssumeRole") == 1


# Tools ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def opened(folder):
    """The names of the files in a folder that anybody opens meanwhile, one for each time."""
    libc = ctypes.CDLL(None, use_errno=True)
    in_open, in_isdir, nonblocking = 0x20, 0x40000000, os.O_NONBLOCK
    watch = libc.inotify_init1(nonblocking)
    assert libc.inotify_add_watch(watch, os.fsencode(folder), in_open) >= 0
    names = []
    try:
        yield names
        with contextlib.suppress(BlockingIOError):
            while told := os.read(watch, 65536):
                while told:
                    _, mask, _, size = struct.unpack_from("iIII", told)
                    if not mask & in_isdir:
                        names.append(told[16 : 16 + size].rstrip(b"\0").decode())
                    told = told[16 + size :]
    finally:
        os.close(watch)


@contextlib.contextmanager
def asked_for():
    """An HTTP proxy that lets nobody through: its port, and the hosts that it was asked for."""
    hosts = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse():
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    with client:
                        method, host, *_ = client.recv(65536).decode().split()
                        hosts.append(host if method == "CONNECT" else f"{method} {host}")
                        client.sendall(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")

        threading.Thread(target=refuse, daemon=True).start()
        yield server.getsockname()[1], hosts
        server.shutdown(socket.SHUT_RDWR)
