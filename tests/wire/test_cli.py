"""`mwaa-vpc`, the command line: what it shows of an emulated AWS, with profiles of both accounts."""

import contextlib
import json
import os
import pty
import re
import subprocess
import time

import pytest
from command_line import AWS, FINDINGS, OF_BOTH, OF_OWNER, RIGHT, USAGE, read, said
from harness import (
    LOOKS,
    OWNER,
    PARTICIPANT,
    REGION,
    ROOT,
    blog_policy,
    environment,
    event,
    sample,
)
from network import Network

NAME, GUEST = "analytics", "forecasting"  # the environments of the sample events
HOST = "a1b2c3d4-vpce.c3.us-east-1.airflow.amazonaws.com"
DENIED = {"EC2": "UnauthorizedOperation", "MWAA": "AccessDeniedException"}


@pytest.fixture
def ours(mwaa, vpc):
    """A waiting environment of the owner's, for minutes now."""
    it = event("pending-private", vpc)
    mwaa.put(it, createdAt=time.time() - 600)
    return it


@pytest.fixture
def guest(aws, mwaa, vpc):
    """The same of the participant's."""
    it = event("pending-participant", vpc, [aws.group(vpc.id, "airflow", PARTICIPANT)])
    mwaa.put(it, createdAt=time.time() - 600)
    return it


def no_change(proxy):
    """Nobody who looks changes anything."""
    return all(call.action.startswith(LOOKS) for call in proxy.calls)


# plan ----------------------------------------------------------------------------------------


def test_a_plan_is_a_diff_of_what_the_function_then_does(
    aws, people, function, cli, vpc, sqs, guest
):
    text = said(cli("plan", GUEST, *OF_BOTH), FINDINGS)

    signs = [line[:2] for line in text.splitlines() if re.match(r"[+~!-] ", line)]
    assert signs == ["+ ", "+ ", "+ ", "~ "]
    (group,) = guest["detail"]["networkConfiguration"]["securityGroupIds"]
    for part in (
        f"+ rule TCP 5432 from {PARTICIPANT}/{group}",
        f"+ service {guest['detail']['webserverVpcEndpointService']}",
        f"~ policy of {sqs}",
        "+ statement MwaaCeleryQueues {",
        guest["detail"]["celeryExecutorQueue"],
        "Plan: 3 to add, 1 to change, 0 to remove, 0 wrong",
    ):
        assert part in text, part
    assert no_change(people)

    assert function.deliver(guest).ok
    assert len(aws.snapshot(vpc).made_for(guest).endpoints) == 2
    assert "all is as it should be" in said(cli("plan", GUEST, *OF_BOTH), RIGHT)


def test_a_plan_has_the_result_that_the_function_answers_to_a_dry_run(
    aws, mwaa, function, cli, vpc, sqs, ours
):
    plan = read(cli("plan", NAME, *OF_OWNER, "--json"), FINDINGS)

    told = mwaa.put(ours)
    dry = function.deliver({"Environment": {**told, "CreatedAt": ours["time"]}, "dryRun": True})
    assert dry.ok, dry.error
    result = {key: it for key, it in dry.value.items() if key not in ("version", "note")}
    assert plan["result"] == result
    assert [it["sign"] for it in plan["diff"]] == ["add", "add", "change"]
    assert plan["environment"] == environment(ours)


def test_a_plan_takes_the_templates_parameters_as_options(aws, cli, vpc, ours):
    group = aws.group(vpc.id, "endpoints")

    options = ("--security-groups", group, "--ip-address-type", "dualstack")
    text = said(cli("plan", NAME, *OF_OWNER, *options), FINDINGS)
    assert f"security groups {group}" in text and "address type dualstack" in text

    refused = cli("plan", NAME, *OF_OWNER, "--vpc-ids", "subnet-1")
    assert refused.returncode == USAGE and "--vpc-ids: expected a VPC id" in refused.stderr
    other = said(cli("plan", NAME, *OF_OWNER, "--vpc-ids", "vpc-1"), RIGHT)
    assert "not among the VPCs that are served" in other


def test_every_option_for_a_parameter_is_the_templates_with_its_default(cli):
    text = (ROOT / "template.yaml").read_text().split("\nResources:")[0]
    help = said(cli("plan", "--help"), RIGHT).split("as parameters of template.yaml")[1]
    found = re.findall(r"--([a-z-]+) <VALUE>\s+[^\n]*?(?: \[default: (\S+)\])?$", help, re.M)
    assert len(found) == 8
    for option, default in found:
        name = "".join(part.capitalize() for part in option.split("-"))
        declared = re.search(rf"^  {name}:\n(?:    .*\n|\n)*?    Default: (.*)$", text, re.M)
        assert declared, name
        assert declared[1].strip("\"'") == default, name


def test_a_plan_of_a_participants_needs_a_profile_of_each_account_and_says_which(
    cli, vpc, sqs, guest
):
    arn = environment(guest)
    owner = cli("plan", arn, *OF_OWNER)
    assert owner.returncode == USAGE
    assert f"account {PARTICIPANT}: --environment-profile" in owner.stderr
    assert "--event" in owner.stderr

    alone = cli("plan", GUEST, "--environment-profile", "participant")
    assert alone.returncode == AWS  # moto shows a participant no shared subnets
    assert "--owner-profile" in alone.stderr


def test_a_vpc_of_another_account_is_named_with_its_owner(people, cli, vpc, sqs, ours):
    subnets = "".join(
        f"<item><subnetId>{id}</subnetId><vpcId>{vpc.id}</vpcId><ownerId>333344445555</ownerId>"
        f"<availabilityZone>{REGION}{zone}</availabilityZone></item>"
        for id, zone in zip(vpc.subnets, "ab")
    )
    shared = (
        '<DescribeSubnetsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
        f"<subnetSet>{subnets}</subnetSet></DescribeSubnetsResponse>"
    )
    people.fail("DescribeSubnets", "shared", status=200, content=shared.encode(), times=9)

    plan = cli("plan", NAME, *OF_OWNER)
    assert plan.returncode == USAGE
    assert vpc.id in plan.stderr and "account 333344445555: --owner-profile" in plan.stderr

    status = said(cli("status", *OF_OWNER), RIGHT)
    assert re.search(rf"^  +{NAME} .* not seen +not seen +not seen$", status, re.M)
    assert "Nothing wrong is seen" in status and "account 333344445555: --owner-profile" in status


def test_a_plan_goes_by_a_file_where_mwaa_may_not_be_asked(aws, people, cli, vpc, sqs, guest):
    aws.mwaa.reset()
    denied = cli("plan", GUEST, *OF_BOTH)
    assert denied.returncode == AWS and "mwaa-vpc plan --iam" in denied.stderr
    people.clear()

    plan = read(cli("plan", "--event", "-", *OF_OWNER, "--json", stdin=json.dumps(guest)), FINDINGS)
    assert [it["sign"] for it in plan["diff"]] == ["add", "add", "add", "change"]
    assert environment(guest) in plan["unseen"][0]["what"]
    assert "GetEnvironment" not in [call.action for call in people.calls]

    answer = json.dumps(sample("get-environment"))
    told = cli("plan", "--event", "-", *OF_OWNER, stdin=answer)
    assert told.returncode in (RIGHT, FINDINGS, AWS) and "panicked" not in told.stderr


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("no JSON", "no JSON"),
        ('{"sweep": true}', "mwaa-vpc status"),
        ('{"source": "aws.s3", "detail-type": "x", "detail": {}}', "source: expected"),
    ],
)
def test_a_file_that_is_no_event_is_refused_with_the_reason(cli, tmp_path, text, why):
    (tmp_path / "event.json").write_text(text)

    run = cli("plan", "--event", str(tmp_path / "event.json"), *OF_OWNER)

    assert run.returncode == USAGE and why in run.stderr


def test_what_is_left_of_an_environment_that_is_gone_is_shown_as_going(
    aws, mwaa, function, cli, vpc, sqs, ours
):
    assert function.deliver(ours).ok
    mwaa.remove(ours)

    text = said(cli("plan", NAME, *OF_OWNER), FINDINGS)

    for id in aws.snapshot(vpc).made_for(ours).endpoints:
        assert f"- endpoint {id}" in text
    assert "this is left of it" in said(cli("status", *OF_OWNER), FINDINGS)
    assert f"- {ours['detail']['celeryExecutorQueue']} in statement MwaaCeleryQueues" in text


@pytest.mark.parametrize("command", [("plan",), ("webserver",), ("wait", "--for", "available")])
def test_an_environment_that_is_not_there_is_said_to_be_none(cli, mwaa, command):
    run = cli(*command, "nowhere", *OF_OWNER)

    assert run.returncode == AWS
    assert f"there is no environment nowhere in account {OWNER}, {REGION}" in run.stderr
    assert "--environment-profile" in run.stderr


def test_what_the_function_cannot_mend_is_not_said_to_be_right(mwaa, function, cli, vpc, sqs, ours):
    assert function.deliver(ours).ok
    mwaa.put(ours, createdAt=time.time() - 5 * 3600)

    text = said(cli("plan", NAME, *OF_OWNER), FINDINGS)

    assert "for at most 5 h now" in text and text.endswith("\nNothing would be done.\n"), text


def test_a_failed_creation_is_told_with_what_it_lacks(mwaa, cli, vpc, sqs, ours):
    mwaa.put(ours, status="CREATE_FAILED")

    plan = read(cli("plan", NAME, *OF_OWNER, "--json"), FINDINGS)

    assert "its creation failed" in plan["findings"][0]["message"]
    assert plan["onlyTells"] and plan["status"] == "CREATE_FAILED"
    assert any("a possible cause" in it["message"] for it in plan["result"]["warnings"])


# status --------------------------------------------------------------------------------------


@pytest.fixture
def two(aws, mwaa, function, vpc, sqs, ours, guest):
    """One environment that is right, and one that lacks its endpoints."""
    assert function.deliver(ours).ok
    mwaa.put(ours, status="AVAILABLE")
    return ours, guest


def test_the_status_of_all_environments_has_the_wrong_one_first(people, cli, two):
    text = said(cli("status", *OF_BOTH), FINDINGS)

    heading, wrong, right, *_ = text.splitlines()
    assert re.match(r" +ENVIRONMENT +ACCOUNT +STATUS +HOURS LEFT +DATABASE +WEB SERVER +QUEUE", heading)
    assert re.match(rf"! +{GUEST} +{PARTICIPANT} +PENDING +71 +missing +missing +not allowed", wrong)
    assert re.match(rf"  +{NAME} +{OWNER} +AVAILABLE +- +available +available +allowed", right)
    assert "the database endpoint is missing" in text
    assert no_change(people)


def test_the_status_as_json_has_every_endpoint_and_sqs_endpoint(aws, cli, vpc, sqs, two):
    status = read(cli("status", *OF_BOTH, "--json"), FINDINGS)

    wrong, right = status["environments"]
    assert wrong["hoursLeft"] == 71 and wrong["findings"]
    assert wrong["queue"] == [{"endpoint": sqs, "access": "notAllowed"}]
    assert right["findings"] == [] and right["vpc"] == vpc.id
    assert {it["id"] for it in right["endpoints"]} == set(aws.snapshot(vpc).made_for(two[0]).endpoints)
    assert status["unseen"] == []


def test_the_status_of_one_environment_is_about_no_other(people, cli, two):
    text = said(cli("status", environment(two[0]), *OF_BOTH), RIGHT)

    assert GUEST not in text and "All is as it should be" in text
    assert [call.action for call in people.calls].count("GetEnvironment") == 1


def test_a_queue_that_a_statement_denies_is_blocked(aws, mwaa, function, cli, vpc, ours):
    deny = {"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"}
    aws.endpoint(vpc, policy={"Statement": [*blog_policy()["Statement"], deny]})
    function.deliver(ours)
    mwaa.put(ours, status="AVAILABLE")

    text = said(cli("status", *OF_OWNER), FINDINGS)

    assert re.search(rf"^! +{NAME} .* blocked$", text, re.M)


def test_with_the_owners_profile_alone_it_says_whose_status_it_could_not_see(
    function, cli, two
):
    assert function.deliver(two[1]).ok

    text = said(cli("status", *OF_OWNER), RIGHT)

    assert re.search(rf"^  +{GUEST} +{PARTICIPANT} +not asked +- +available +available", text, re.M)
    assert f"account {PARTICIPANT}: --environment-profile" in text


def test_an_account_that_may_not_list_its_environments_is_said(people, cli, two):
    people.fail("ListEnvironments", DENIED["MWAA"], status=403)

    status = read(cli("status", *OF_OWNER, "--json"), AWS)

    assert "ListEnvironments" in status["unseen"][0]["what"]
    assert [it["environment"] for it in status["environments"]] == [environment(two[0])]


def test_an_environment_of_which_mwaa_does_not_tell_is_not_lost_and_no_success(people, cli, guest, ours):
    people.fail("GetEnvironment", "ThrottlingException", status=429, times=9)

    for one in ((), (NAME,)):
        text = said(cli("status", *one, *OF_OWNER), AWS)
        assert re.search(rf"^  +{NAME} +{OWNER} +no answer +- +not seen +not seen +not seen$", text, re.M)
        assert f"what MWAA says of {NAME}: GetEnvironment answered ThrottlingException" in text
        assert "as it should be" not in text and "VPCs of" not in text


def test_nothing_to_show_is_said_and_so_is_what_is_elsewhere(mwaa, cli, guest):
    assert "No environments in us-east-1" in said(cli("status", *OF_OWNER), RIGHT)

    text = said(cli("status", "--environment-profile", "participant"), RIGHT)
    assert f"the VPCs of {GUEST}: account {PARTICIPANT} does not see their subnets" in text
    assert "--owner-profile" in text


# wait ----------------------------------------------------------------------------------------


def wait(cli, goal, *more):
    return cli("wait", NAME, "--for", goal, "--interval", "1s", *OF_OWNER, *more)


@pytest.fixture
def becomes(mwaa, ours, people):
    """Lets an environment be something else when it is asked about for the second time."""

    @contextlib.contextmanager
    def later(change):
        asked = []

        def on_call(call):
            if call.action == "GetEnvironment":
                asked.append(call)
                if len(asked) == 2:
                    change()

        people.on_call = on_call
        yield

    return later


def test_it_waits_until_an_environment_is_available(mwaa, cli, ours, becomes):
    with becomes(lambda: mwaa.put(ours, status="AVAILABLE")):
        run = wait(cli, "available")

    assert "ok: analytics is AVAILABLE" in said(run, RIGHT)
    assert "PENDING (at least 71 h until MWAA gives up)" in run.stderr


def test_what_was_waited_for_already_is_said_at_once(cli, ours):
    answer = read(wait(cli, "pending", "--json"))

    assert answer["reached"] and answer["status"] == "PENDING" and answer["reason"] is None


def test_it_ends_with_mwaas_reason_when_the_creation_fails(mwaa, cli, ours, becomes):
    error = {"ErrorCode": "INCORRECT_CONFIGURATION", "ErrorMessage": "no way to SQS"}
    failed = {"status": "CREATE_FAILED", "lastUpdate": {"Status": "FAILED", "Error": error}}
    with becomes(lambda: mwaa.put(ours, **failed)):
        answer = read(wait(cli, "available", "--json"), FINDINGS)

    assert answer["reached"] is False
    assert "INCORRECT_CONFIGURATION no way to SQS" in answer["reason"]


def test_what_was_never_there_is_said_not_to_have_been_seen(mwaa, cli):
    assert "is not there, and was not seen by this command" in said(wait(cli, "deleted"), RIGHT)


def test_it_ends_when_the_time_is_over(cli, ours):
    answer = read(wait(cli, "available", "--timeout", "1s", "--json"), FINDINGS)

    assert "the time is over" in answer["reason"] and answer["status"] == "PENDING"
    assert 1 <= answer["seconds"] < 10


def test_an_environment_that_goes_is_waited_for_until_it_is_not_there(mwaa, cli, ours, becomes):
    mwaa.put(ours, status="DELETING")
    with becomes(lambda: mwaa.remove(ours)):
        answer = read(wait(cli, "deleted", "--json"))

    assert answer["reached"] and answer["status"] == "not there"


def test_a_moment_without_an_answer_does_not_end_the_waiting(mwaa, people, cli, ours, becomes):
    people.fail("GetEnvironment", "InternalServerException", status=500, nth=2)
    with becomes(lambda: mwaa.put(ours, status="AVAILABLE")):
        assert read(wait(cli, "available", "--json"))["reached"]


# webserver -----------------------------------------------------------------------------------


@pytest.fixture
def served(mwaa, function, vpc, guest):
    assert function.deliver(guest).ok
    mwaa.put(guest, status="AVAILABLE", webserverUrl=HOST)
    return guest


def test_the_web_server_is_shown_with_names_addresses_and_who_is_let_in(aws, cli, vpc, served):
    shown = read(cli("webserver", GUEST, *OF_BOTH, "--json"))

    (endpoint,) = shown["endpoints"]
    service = served["detail"]["webserverVpcEndpointService"]
    (id,) = aws.snapshot(vpc).of(service)
    described = aws.ec2.describe_vpc_endpoints(VpcEndpointIds=[id])["VpcEndpoints"][0]
    assert shown["host"] == HOST and endpoint["endpoint"] == id
    assert endpoint["names"] == [it["DnsName"] for it in described["DnsEntries"]]
    assert {it["interface"] for it in endpoint["addresses"]} == set(described["NetworkInterfaceIds"])
    assert all(it["zone"].startswith(REGION) and it["ips"] for it in endpoint["addresses"])
    (group,) = served["detail"]["networkConfiguration"]["securityGroupIds"]
    assert [it["sources"] for it in endpoint["letIn"]] == [[f"{PARTICIPANT}/{group}"]]

    text = said(cli("webserver", GUEST, *OF_BOTH), RIGHT)
    assert all(part in text for part in (HOST, id, f"from {PARTICIPANT}/{group}"))


def test_a_group_that_lets_nobody_in_is_found(aws, cli, vpc, mwaa, ours):
    mwaa.put(ours, status="AVAILABLE", webserverUrl=HOST)
    id = aws.endpoint(vpc, ours["detail"]["webserverVpcEndpointService"])

    shown = read(cli("webserver", NAME, *OF_OWNER, "--json"), FINDINGS)

    assert shown["findings"] == [f"no security group of {id} lets anybody in on TCP 443"]


def test_a_public_web_server_has_no_endpoint_and_a_missing_one_is_found(mwaa, people, cli, ours):
    missing = said(cli("webserver", NAME, *OF_OWNER), FINDINGS)
    assert "no web server endpoint" in missing and "none yet" in missing

    mwaa.put(ours, status="AVAILABLE", webserverAccessMode="PUBLIC_ONLY")
    assert "public only" in said(cli("webserver", NAME, *OF_OWNER), RIGHT)

    people.fail("GetEnvironment", DENIED["MWAA"], status=403)
    assert read(cli("webserver", NAME, *OF_OWNER, "--json"), USAGE)["findings"] == []


def test_with_one_profile_the_half_of_the_web_server_is_shown_that_can_be_seen(cli, served):
    owner = cli("webserver", environment(served), *OF_OWNER)
    text = said(owner, USAGE)
    assert "not known" in text and "vpce-" in text
    assert f"account {PARTICIPANT}: --environment-profile" in text

    alone = said(cli("webserver", GUEST, "--environment-profile", "participant"), USAGE)
    assert HOST in alone and "--owner-profile" in alone


# What all have in common -----------------------------------------------------------------------

COMMANDS = {
    "plan": ("plan", NAME),
    "status": ("status",),
    "doctor": ("doctor", NAME),
    "wait": ("wait", NAME, "--for", "pending"),
    "webserver": ("webserver", NAME),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_without_credentials_it_says_what_to_do(cli, ours, command):
    run = cli(*command)
    assert run.returncode == AWS
    assert "the default credentials" in run.stderr and "aws sso login" in run.stderr

    unknown = cli(*command, "--owner-profile", "nobody", "--json")
    error = read(unknown, AWS)["error"]
    assert "profile nobody" in error["message"]


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_without_a_region_it_says_where_one_may_come_from(cli, ours, command):
    run = cli(*command, *OF_OWNER, AWS_REGION=None)
    assert run.returncode == USAGE and "there is no Region" in run.stderr

    assert cli(*command, *OF_OWNER, "--region", REGION, AWS_REGION=None).returncode != USAGE


def test_an_arn_brings_its_region(cli, ours):
    read(cli("plan", environment(ours), *OF_OWNER, "--json", AWS_REGION=None), FINDINGS)

    other = cli("plan", environment(ours), *OF_OWNER, "--region", "eu-west-1")
    assert other.returncode == USAGE and "--region says eu-west-1" in other.stderr


def test_a_profile_that_is_named_counts_more_than_keys_in_variables(people, cli, surroundings, guest):
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}

    wanted = cli("wait", GUEST, "--for", "pending", "--environment-profile", "participant", **keys)
    assert "ok:" in said(wanted, RIGHT)
    by_keys = cli("wait", GUEST, "--for", "pending", **keys)
    assert by_keys.returncode == AWS and OWNER in by_keys.stderr


DENIALS = [
    ("plan", "DescribeVpcEndpoints"),
    ("status", "DescribeSubnets"),
    ("webserver", "DescribeVpcEndpoints"),
    ("wait", "GetEnvironment"),
    ("plan", "GetEnvironment"),
]


@pytest.mark.parametrize(("name", "action"), DENIALS)
def test_a_call_that_is_denied_is_named_with_how_to_get_the_permission(
    people, cli, ours, name, action
):
    code = DENIED["MWAA" if action == "GetEnvironment" else "EC2"]
    people.fail(action, code, status=403, times=9)

    run = cli(*COMMANDS[name], *OF_OWNER)

    assert run.returncode == AWS, run.stdout + run.stderr
    assert action in run.stderr and code in run.stderr
    assert f"mwaa-vpc {name} --iam" in run.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_the_policy_that_a_command_prints_is_of_the_calls_that_it_makes(
    aws, mwaa, people, function, cli, vpc, sqs, guest, ours, name
):
    policy = read(cli(name, "--iam", AWS_ACCESS_KEY_ID=None))
    assert not people.calls, "nobody was asked"
    actions = {action for it in policy["Statement"] for action in it["Action"]}
    net = Network(aws, vpc)
    net.set_resolvers("AmazonProvidedDNS")
    net.let_in_list(vpc.group, "10.0.0.0/8")

    # Before the endpoints are there, and after that; and a participant's.
    cli(*COMMANDS[name], *OF_OWNER)
    function.deliver(ours)
    cli(*COMMANDS[name], *OF_OWNER)
    cli(*(GUEST if it == NAME else it for it in COMMANDS[name]), *OF_BOTH)

    # What the doctor asks of other services is in test_doctor_deployment.py.
    actions = {it for it in actions if it.startswith(("ec2:", "airflow:"))}
    prefix = {"GetEnvironment": "airflow", "ListEnvironments": "airflow"}
    made = {call.action for call in people.calls} - {"DescribeStacks", "ListStackResources", "ListPrincipals"}
    # Nobody needs a permission to ask whose credentials these are (STS API, `GetCallerIdentity`).
    made.remove("GetCallerIdentity")
    assert {f"{prefix.get(it, 'ec2')}:{it}" for it in made} == actions


def test_a_policy_is_of_the_partition_and_region_that_are_named(cli):
    policy = read(cli("wait", "--iam", "--region", "cn-north-1"))

    (statement,) = policy["Statement"]
    assert statement["Resource"] == "arn:aws-cn:airflow:cn-north-1:*:environment/*"
    arn = f"arn:aws-cn:airflow:cn-north-1:{OWNER}:environment/x"
    for words, region in (((arn,), None), ((), "cn-north-1")):
        assert read(cli("wait", *words, "--iam", AWS_REGION=region)) == policy
    wrong = cli("wait", "--iam", "--region", "US EAST")
    assert wrong.returncode == USAGE and "US EAST" in wrong.stderr and not wrong.stdout


@pytest.mark.parametrize(
    "words",
    [
        (), ("plans",), ("plan",), ("plan", "x", "--events", "y"), ("wait", "x"), ("wait", "x", "--for", "long"),
        ("wait", "x", "--for", "pending", "--timeout", "soon"), ("plan", "/etc/profile", *OF_OWNER), ("webserver",),
        ("doctor",), ("plan", "arn:aws:s3:::x"), ("completions", "cmd"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_wrong_command_line_ends_with_2_and_says_what_is_wrong(cli, words):
    run = cli(*words)

    assert run.returncode == USAGE
    assert run.stderr and not run.stdout
    assert read(cli(*words, "--json"), USAGE)["error"]["message"]


@pytest.mark.parametrize(("name", "value"), [("RETRY_MODE", "often"), ("MAX_ATTEMPTS", "0")])
def test_a_setting_that_cannot_be_read_is_named(cli, name, value):
    run = cli("status", *OF_OWNER, **{f"AWS_{name}": value})

    assert run.returncode == USAGE
    assert run.stderr.startswith(f"error: AWS_{name}, or ") and value in run.stderr


def test_an_answer_that_cannot_be_written_is_no_success(program, surroundings):
    words = [program, "wait", "--iam"]
    with open("/dev/full", "w") as full:
        run = subprocess.run(words, env=surroundings, stdout=full, stderr=subprocess.PIPE, text=True)

    assert run.returncode == USAGE and "could not be written" in run.stderr


def test_help_has_examples_and_exit_codes_and_the_version_is_the_packages(cli):
    assert "Exit codes:" in said(cli("--help"), RIGHT)
    for name in COMMANDS:
        assert "Examples:\n  mwaa-vpc" in said(cli(name, "--help"), RIGHT)
    version = re.search(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.M)[1]
    assert said(cli("--version"), RIGHT) == f"mwaa-vpc {version}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_know_every_command(cli, shell):
    script = said(cli("completions", shell), RIGHT)

    assert all(name in script for name in (*COMMANDS, "owner-profile", "completions"))
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def on_a_terminal(program, words, env):
    """What it writes to a terminal, and its exit code."""
    here, there = pty.openpty()
    process = subprocess.Popen([program, *words], env=env, stdin=there, stdout=there, stderr=there)
    os.close(there)
    written = b""
    with contextlib.suppress(OSError):  # Linux's word for the end
        while more := os.read(here, 4096):
            written += more
    os.close(here)
    return process.wait(timeout=60), written.decode()


def test_colour_and_progress_are_for_terminals_only(program, surroundings, cli, ours):
    terminal = {**surroundings, "TERM": "xterm"}
    words = ("status", *OF_OWNER)

    code, colourful = on_a_terminal(program, words, terminal)
    assert code == FINDINGS
    assert "\x1b[31m! " in colourful and "⠋" in colourful and " 0 s" in colourful

    for quiet in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        _, plain = on_a_terminal(program, words, {**terminal, **quiet})
        assert "\x1b[31m" not in plain
    piped = cli(*words, TERM="xterm")
    assert "\x1b" not in piped.stdout + piped.stderr and "⠋" not in piped.stderr


def test_a_reader_that_has_read_enough_is_no_error(program, surroundings, ours):
    env = {**surroundings, "TERM": "xterm"}
    process = subprocess.Popen(
        [program, "status", *OF_OWNER], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    _, errors = process.stderr.read(), process.wait(timeout=60)
    assert errors == FINDINGS

    words = [program, "wait", NAME, "--for", "available", "--timeout", "1s", *OF_OWNER]
    process = subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stderr.close()
    assert b"the time is over" in process.stdout.read() and process.wait(timeout=60) == FINDINGS


def test_the_documentation_is_checked_against_the_options_that_there_are(cli, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "docs"))
    import programs

    known = programs.mwaa_vpc_options()
    listed = said(cli("--help"), RIGHT).split("Commands:\n")[1].split("\n\n")[0]
    assert {*known, "completions"} == set(re.findall(r"^  ([a-z]+) ", listed, re.M))
    for name, options in known.items():
        help = said(cli(name, "--help"), RIGHT)
        shown = dict(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)( <[A-Z]+>)?", help, re.M))
        del shown["--help"]
        assert {option: bool(value) for option, value in shown.items()} == {
            option: bool(value) for option, value in options.items()
        }
