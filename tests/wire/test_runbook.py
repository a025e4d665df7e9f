"""The runbook, walked: each fault is caused, and the page's own commands are run, as they stand, until it is put right.

A test walks one section, and must run all of its commands. What they ask is emulated (tests/emulator). What the page says
in words, such as to deploy the template again or to ask who changed something, the tests do in their own way: another
function with other parameters, a policy that is put right.
"""

import contextlib
import json
import re
import sys
from collections import defaultdict

import cloudformation
import cloudwatch
import logs
import pytest
from deployment import Deployed, Desk, made
from harness import OWNER, PARTICIPANT, REGION, ROOT, environment, event, later
from moto.ec2.models import ec2_backends
from test_metrics import SWEEP, ago, another, metrics
from test_redrive import reasons, record

sys.path.insert(0, str(ROOT / "tests" / "docs"))
import pages  # noqa: E402

pytestmark = pytest.mark.usefixtures("failed", "undelivered")

ROLE = "mwaa-vpc-endpoints-reader"
RULE = "mwaa-vpc-endpoints-SweepRule-1A2B3C4D5E6F"
LOOK, DO, WORKED = "Look here", "Do this", "It worked"
DENY = {"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*"}


# The page ------------------------------------------------------------------------------------


def taken_apart():
    """{section: {label: its commands in order}}: a label is what stands in bold before them, if anything does."""
    page = pages.page("docs/runbook.md")
    blocks = {it.line: it.text for it in page.blocks if it.kind == "sh"}
    found, section, label = defaultdict(lambda: defaultdict(list)), "", ""
    for number, line in enumerate(page.prose.splitlines(), 1):
        if heading := re.match(r"#{1,3} (.+)", line):
            section, label = heading[1], ""
            found[section]
        elif bold := re.match(r"\*\*([^*]+?)[:,.?]?\*\*", line):
            label = bold[1]
        if number in blocks:
            found[section][label].append(blocks[number])
    return found


PAGE = taken_apart()
((SET_UP,),) = PAGE["Runbook"].values()
WALKED = {}  # which test walks a section


def walks(section):
    def marked(test):
        assert WALKED.setdefault(section, test.__name__) == test.__name__
        test.section = section
        return test

    return marked


# Who walks -----------------------------------------------------------------------------------


class Shell:
    """Runs the page's commands with the variables that it tells to set first, and knows which were run."""

    variables = {}  # what the page's first commands set: the same in each test

    def __init__(self, desk):
        self.desk = desk
        self.left = {}

    def walk(self, section):
        self.left = {(section, label, n) for label, blocks in PAGE[section].items() for n in range(len(blocks))}

    def sh(self, script):
        if not self.variables:
            asked = self.desk.shell(SET_UP + 'printf "%s\\n" "$FUNCTION" "$FAILED" "$UNDELIVERED"')
            assert asked.returncode == 0 and not asked.stderr, asked.stderr
            names = ("FUNCTION", "FAILED", "UNDELIVERED")
            self.variables.update(zip(names, asked.stdout.splitlines(), strict=True))
        return self.desk.shell(script, self.variables)

    def run(self, section, label="", nth=0, ends_with=0):
        """What one block of commands prints."""
        self.left.discard((section, label, nth))
        return self.text(PAGE[section][label][nth], ends_with)

    def text(self, script, ends_with=0):
        run = self.sh(script)
        assert run.returncode == ends_with, script + run.stdout + run.stderr
        assert "Traceback" not in run.stderr and "not found" not in run.stderr, run.stderr
        return " ".join(f"{run.stdout} {run.stderr if ends_with else ''}".split())


@pytest.fixture
def with_settings(configured):
    """Starts the function with the reader role and other parameters."""
    return lambda **more: configured(READER_ROLE=ROLE, PARTICIPANT_ACCOUNTS=PARTICIPANT, **more)


@pytest.fixture
def reader(deployed, with_settings):
    """There is the reader role."""
    deployed.function = with_settings()


@pytest.fixture
def deployed(aws, mwaa, function):
    it = Deployed(aws, function)
    it.resources["SweepRule"] = RULE
    aws.client("events").put_rule(Name=RULE, ScheduleExpression="rate(15 minutes)", State="ENABLED")
    return it


@pytest.fixture
def participants(aws, deployed):
    queue = made(aws, "participants", PARTICIPANT)
    deployed.stacks[PARTICIPANT] = {"mwaa-events": {"UndeliveredEventsQueueUrl": queue.url}}
    return queue


@pytest.fixture
def shell(aws, deployed, failed, undelivered, tmp_path, request):
    """Runs the commands of the section that a test walks: of these none may be left out."""
    it = Shell(Desk(aws, tmp_path))
    section = getattr(request.function, "section", None)
    if section:
        it.walk(section)
    yield it
    assert not it.left or request.session.testsfailed, f"commands that were not run: {it.left}"


@pytest.fixture
def look(shell, request):
    """What the section's "Look here" prints."""
    return lambda nth=0, ends_with=0: shell.run(request.function.section, LOOK, nth, ends_with)


@pytest.fixture
def do(shell, request):
    return lambda nth=0: shell.run(request.function.section, DO, nth)


@pytest.fixture
def sweep_now(shell):
    """The result of what "Sweep now" runs."""

    def sweep_now():
        shell.run("Sweep now", "", 1)
        return json.loads((shell.desk.folder / "result.json").read_text())

    return sweep_now


@pytest.fixture
def guest(aws, mwaa, vpc):
    """The page's environment, `forecasting` of a participant, which waits."""
    it = event("pending-participant", vpc, [aws.group(vpc.id, "airflow", PARTICIPANT)])
    it["time"] = f"{ago(minutes=1):%Y-%m-%dT%H:%M:%SZ}"
    mwaa.put(it)
    return it


@pytest.fixture
def served(mwaa, deployed, sqs, guest):
    """The same, when it runs."""
    assert deployed.deliver(guest).ok
    mwaa.put(guest, status="AVAILABLE")
    return guest


@pytest.fixture(scope="module")
def alarms():
    text = (ROOT / "template.yaml").read_text()
    stack = cloudformation.Stack(cloudformation.load(text), {}, OWNER, REGION, "aws")
    return stack, stack.of_type("AWS::CloudWatch::Alarm")


@pytest.fixture
def is_on(alarms):
    """Whether an alarm is on after sweeps that told so, every 15 minutes of an hour."""
    stack, known = alarms
    name_of = stack._names["MwaaVpcEndpointsFunction"]

    def is_on(name, *answers, every=15):
        data = cloudwatch.Data()
        answers = [*answers] if len(answers) > 1 else [*answers] * 4
        for n, answer in enumerate(answers):
            for (metric, *vpc), value in metrics(answer).items():
                more = {"vpc": vpc[0]} if vpc else {}
                data.put(3 + every * n, "MwaaVpcEndpoints", metric, value, FunctionName=name_of, **more)
        return cloudwatch.is_on(known[name], data, every * len(answers))

    return is_on


@pytest.fixture
def its(aws, vpc, guest):
    """The endpoints of the page's environment that are there."""
    return lambda: aws.snapshot(vpc).alive.made_for(guest).endpoints


def sweep(deployed):
    answer = deployed.deliver(SWEEP)
    assert answer.ok, answer.error
    return answer


def statements(aws, sqs):
    return json.loads(aws.ec2.describe_vpc_endpoints(VpcEndpointIds=[sqs])["VpcEndpoints"][0]["PolicyDocument"])["Statement"]


def write(aws, sqs, statements):
    aws.ec2.modify_vpc_endpoint(VpcEndpointId=sqs, PolicyDocument=json.dumps({"Statement": statements}))


def set_state(endpoints, state):
    for id in endpoints:
        ec2_backends[OWNER][REGION].vpc_end_points[id].state = state


@contextlib.contextmanager
def no_endpoint_can_be_made(aws):
    aws.proxy.fail("CreateVpcEndpoint", "VpcEndpointLimitExceeded", times=99)
    yield
    aws.proxy.clear()


def fail(aws, deployed, failed, it):
    """An event fails three times, and Lambda puts it into the queue."""
    with no_endpoint_can_be_made(aws):
        answer = deployed.deliver(it)
    assert not answer.ok
    failed.put(record(it, answer.error_type, answer.error))


# What is emulated ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("aws ec2 describe-vpc-endpoint", "no operation"),
        ("aws ec2 describe-vpc-endpoints --filter x", "unknown option"),
        ("aws ec2 describe-vpc-endpoints --filters Name=x,Value=y", "not understood"),
        ("aws mwaa get-environment", "--name"),
        ("aws lambda invoke --function-name f --payload '{\"sweep\": true}' result.json", "base64"),
        ("aws lambda invoke --function-name f", "outfile"),
    ],
)
def test_a_command_that_the_cli_would_not_run_is_refused(shell, command, said):
    assert said in shell.text(command, ends_with=252)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "abc"),
        ('"outcome" "updated"', "c"),
        ('?"kept" ?updated', "bc"),
        ("-outcome", "a"),
        ('{ $.level = "ERROR" && $.message != "metrics" }', "b"),
        ('{ ($.level = "WARN" || $.level = "ERR*") && $.message = "result" }', "bc"),
        ('{ $.n >= 2 }', "c"),
        ('{ $.a.b != "x" }', "b"),
    ],
)
def test_filter_patterns_find_what_they_find_in_cloudwatch(text, found):
    lines = {
        "a": {"level": "ERROR", "message": "metrics", "n": "2"},
        "b": {"level": "ERROR", "message": "result", "outcome": "kept", "n": 1, "a": {"b": "y"}},
        "c": {"level": "WARN", "message": "result", "outcome": "updated", "n": 2, "a": {"b": "x"}},
    }
    is_wanted = logs.pattern(text)
    assert "".join(name for name, line in lines.items() if is_wanted(json.dumps(line))) == found


# All of it -----------------------------------------------------------------------------------


def test_every_section_with_commands_is_walked():
    with_commands = {section for section, labels in PAGE.items() if labels} - {"Runbook"}
    assert with_commands == WALKED.keys()


def test_every_alarm_is_walked():
    page = pages.page("docs/runbook.md")
    at = page.headings.index((2, "Alarms"))
    sections = [text for _, text in page.headings[at + 1 : page.headings.index((2, "Symptoms"))]]
    assert len(sections) == 15 and set(sections) <= WALKED.keys()


@walks("Alarms")
def test_which_alarms_are_on_is_listed(aws, shell):
    client = aws.client("cloudwatch")
    # moto asks for the prefix alone, and then for no state.
    for name, state in (("mwaa-vpc-endpoints-BlockedQueueAlarm-1A2B3C", "ALARM"), ("another", "ALARM")):
        client.put_metric_alarm(
            AlarmName=name, MetricName="x", Namespace="x", Statistic="Sum", Period=60, EvaluationPeriods=1, Threshold=1,
            ComparisonOperator="GreaterThanThreshold",
        )  # fmt: skip
        client.set_alarm_state(AlarmName=name, StateValue=state, StateReason="x")

    told = shell.run("Alarms")

    assert "BlockedQueueAlarm" in told and "another" not in told


# An event did not arrive ---------------------------------------------------------------------


@walks("FailedEventsAlarm")
def test_what_the_function_failed_with_is_shown_and_served(aws, deployed, failed, sqs, guest, its, look, do):
    fail(aws, deployed, failed, guest)

    told = look()
    assert all(it in told for it in ("forecasting", "ActionsFailed", "VpcEndpointLimitExceeded", "as a plan"))
    assert its() == {} and failed.visible == 1

    assert do().endswith("0 left in the queue")
    assert len(its()) == 2 and failed.visible == 0


@walks("UndeliveredEventsAlarm")
def test_what_eventbridge_could_not_hand_over_is_shown_and_served(deployed, undelivered, sqs, guest, its, look, do):
    undelivered.put(guest, reasons())
    undelivered.put(SWEEP, reasons())

    told = look()
    assert "forecasting" in told and "NO_PERMISSIONS: Not authorized to invoke" in told and "as a plan" in told
    assert its() == {}

    assert do().endswith("0 left in the queue")
    assert len(its()) == 2 and undelivered.visible == 0


@walks("LostEventsAlarm")
def test_what_failed_is_listed_and_a_sweep_makes_up_for_what_is_lost(
    reader, aws, deployed, sqs, guest, its, look, sweep_now
):
    with no_endpoint_can_be_made(aws):
        deployed.deliver(guest)
    deployed.deliver(later(guest, "PENDING", 0))  # what went well afterwards is not listed
    for id in its():
        aws.ec2.delete_vpc_endpoints(VpcEndpointIds=[id])

    told = look()
    assert "VpcEndpointLimitExceeded" in told and "_aws" not in told and '"message":"waiting"' not in told

    assert sweep_now()["failures"] == [] and len(its()) == 2


@walks("ThrottledAlarm")
def test_a_concurrency_of_0_is_seen(deployed, look):
    deployed.concurrency = 0
    told = look()
    assert '"ReservedConcurrentExecutions": 0' in told and '"UnreservedConcurrentExecutions": 900' in told

    deployed.concurrency = None
    assert '"ReservedConcurrentExecutions"' not in look()


@walks("DroppedEventsAlarm")
def test_a_dropped_event_is_in_the_queue_or_a_sweep_makes_up_for_it(
    reader, deployed, failed, sqs, guest, its, look, sweep_now
):
    assert '"ApproximateNumberOfMessages": "0"' in look()
    sweep_now()
    assert len(its()) == 2

    failed.put(record(guest, error=None))
    assert '"ApproximateNumberOfMessages": "1"' in look()


@walks("NotDeliveredAlarm")
def test_an_event_that_was_given_up_is_in_the_queue_or_a_sweep_makes_up_for_it(
    reader, undelivered, sqs, guest, its, look, sweep_now
):
    assert '"ApproximateNumberOfMessages": "0"' in look()
    sweep_now()
    assert len(its()) == 2

    undelivered.put(guest, reasons())
    assert '"ApproximateNumberOfMessages": "1"' in look()


@walks("An event did not reach the owner")
def test_what_did_not_reach_the_owner_is_served_and_what_is_gone_is_purged(
    mwaa, participants, shell, sqs, guest, its, look, do
):
    participants.put(guest, reasons("NO_PERMISSIONS", "not allowed to PutEvents"))

    told = look()
    assert "forecasting" in told and "NO_PERMISSIONS" in told and "as a plan" in told and its() == {}

    do()
    assert len(its()) == 2 and participants.visible == 0

    mwaa.remove(guest)
    participants.put(guest, reasons())
    shell.run("An event did not reach the owner", DO, 0, ends_with=1)
    assert participants.visible == 1
    _, _, of_participant = queues_of_the_page()
    shell.text(of_participant + PAGE["An event did not reach the owner"][DO][1])
    shell.left.discard(("An event did not reach the owner", DO, 1))
    assert participants.visible == 0


def queues_of_the_page():
    """The ways to find the queue, of which one is to be chosen."""
    return re.findall(r"^QUEUE=.*?\n(?=QUEUE=|\Z)", PAGE["Redrive with the AWS CLI alone"][""][0], re.M | re.S)


# The function has a problem ------------------------------------------------------------------


@walks("ProcessAlarm")
def test_how_a_process_ended_is_seen_in_the_log(reader, deployed, shell, served, look, sweep_now):
    report = {"durationMs": 120000, "memorySizeMB": 128, "maxMemoryUsedMB": 61}
    for status in ("success", "timeout"):
        line = {"type": "platform.report", "record": {"requestId": status, "status": status, "metrics": report}}
        deployed.logs.put(json.dumps(line))
    deployed.logs.put("thread 'main' panicked at src/main.rs:1:1:")

    told = look()
    assert '"status": "timeout"' in told and '"status": "success"' not in told and "panicked" in told
    assert "maxMemoryUsedMB" in told and "memorySizeMB" in told

    sweep_now()
    assert '"message":"sweep"' in shell.text(PAGE["EstateTooLargeAlarm"][LOOK][0])


@walks("NoSweepAlarm")
def test_it_is_seen_whether_the_schedule_runs_and_why_a_sweep_fails(reader, aws, deployed, is_on, served, look):
    aws.proxy.fail("DescribeVpcEndpoints", "UnauthorizedOperation", status=403, times=99)
    assert is_on("NoSweepAlarm", deployed.deliver(SWEEP))
    assert '"ENABLED", "rate(15 minutes)"' in look()
    assert '"errorType": "LookFailed"' in look()
    aws.client("events").disable_rule(Name=RULE)
    assert '"DISABLED"' in look()

    aws.proxy.clear()
    aws.client("events").enable_rule(Name=RULE)
    told = look()
    assert '"errorType": null' in told and '"reached": 1' in told
    assert not is_on("NoSweepAlarm", sweep(deployed))


@walks("EstateTooLargeAlarm")
def test_how_many_environments_had_no_turn_is_seen(mwaa, deployed, configured, vpc, sqs, is_on, look):
    for n in range(60):
        mwaa.put(another(vpc, f"e{n:03}"))
    at_its_time = deployed.function
    for seconds in (0.1, 0.15, 0.2, 0.3):  # on a machine that is busy nothing is reached at all
        deployed.function = configured(seconds=seconds)
        if ill := is_on("EstateTooLargeAlarm", sweep(deployed)):
            break
    assert ill

    told = look()
    names = ("reached", "notReached", "accountsNotListed")
    reached, *others = (int(re.findall(rf'"{it}":(\d+)', told)[-1]) for it in names)
    assert sum(others) > 11 * reached, "the page's bound"

    deployed.function = at_its_time
    assert not is_on("EstateTooLargeAlarm", sweep(deployed))


@walks("QuotaAlarm")
def test_which_vpc_is_nearly_full_is_seen(deployed, with_settings, served, vpc, is_on, look):
    deployed.function = with_settings(ENDPOINT_QUOTA="3")
    assert is_on("QuotaAlarm", sweep(deployed))

    told = look()
    assert vpc.id in told and '"quota":3' in told

    deployed.function = with_settings(ENDPOINT_QUOTA="50")
    assert not is_on("QuotaAlarm", sweep(deployed)) and '"quota":50' in look()


# An environment has a problem ----------------------------------------------------------------


@walks("BlockedQueueAlarm")
def test_what_surely_blocks_a_queue_is_named_and_its_remedy_works(
    reader, aws, deployed, function, served, sqs, is_on, look
):
    before = statements(aws, sqs)
    write(aws, sqs, [*before, DENY])
    assert is_on("BlockedQueueAlarm", sweep(deployed))

    told = look()
    assert environment(served) in told and "surely" in told and sqs in told
    assert "airflow-celery-*" in told, "the remedy says what to except"

    asking, deployed.function = deployed.function, function
    assert "surely" not in look(), "without the reader role a sweep tells nothing"
    deployed.function = asking

    excepted = {"NotResource": f"arn:aws:sqs:{REGION}:*:airflow-celery-*"}
    write(aws, sqs, [*before, {name: it for name, it in DENY.items() if name != "Resource"} | excepted])
    assert "surely" not in look() and not is_on("BlockedQueueAlarm", sweep(deployed))


@walks("PendingAlarm")
def test_who_waits_and_how_long_it_still_can_is_seen(reader, mwaa, deployed, sqs, guest, is_on, look):
    mwaa.put(guest, createdAt=ago(hours=25, minutes=30).timestamp())
    assert is_on("PendingAlarm", sweep(deployed))

    told = look()
    assert environment(guest) in told and '"hoursLeft":46,"hoursWaited":25,' in told

    mwaa.put(guest, status="CREATING")
    assert not is_on("PendingAlarm", sweep(deployed))


@walks("EndpointsNotAvailableAlarm")
def test_endpoints_that_are_not_available_are_listed_and_replaced(deployed, served, its, shell, is_on, look, do):
    rejected = sorted(its())
    set_state(rejected, "rejected")
    assert is_on("EndpointsNotAvailableAlarm", sweep(deployed))

    told = look()
    assert all(id in told for id in rejected) and "forecasting-database" in told and "rejected" in told
    assert do() == '"AVAILABLE"'

    shell.text(PAGE["An environment stays PENDING"][DO][0])
    assert len(its()) == 2 and not set(its()) & set(rejected)
    assert look() == "" and not is_on("EndpointsNotAvailableAlarm", sweep(deployed))


@walks("DriftAlarm")
def test_who_changes_the_policy_again_and_again_is_seen(reader, aws, deployed, served, sqs, is_on, look):
    answers = []
    for _ in range(3):
        write(aws, sqs, [])
        deployed.trail.append({
            "EventName": "ModifyVpcEndpoint", "Username": "terraform", "Resources": [{"ResourceName": sqs}],
        })  # fmt: skip
        answers.append(sweep(deployed))
    assert is_on("DriftAlarm", *answers, every=300)

    told = look()
    assert sqs in told and '"outcome":"updated"' in told and "terraform" in told

    assert metrics(sweep(deployed))["DriftRepaired",] == 0


# Symptoms ------------------------------------------------------------------------------------


@walks("An environment stays PENDING")
def test_an_environment_that_stays_pending_is_served_and_it_is_seen_why_it_was_not(
    aws, mwaa, deployed, sqs, guest, its, shell, look, do
):
    with no_endpoint_can_be_made(aws):
        deployed.deliver(guest)
    assert "created" in look() and its() == {}

    assert "Outcome: changed" in do(0) and len(its()) == 2

    told = do(1)
    assert all(id in told for id in its()) and '"available"' in told
    set_state(its(), "failed")
    dead = set(its())
    assert '"failed"' in do(1)
    do(0)
    assert len(its()) == 2 and not dead & set(its()), "a dead endpoint is replaced"

    mwaa.put(guest, status="CREATING")
    assert shell.run("An environment stays PENDING", WORKED) == '"CREATING"'
    why = shell.run("An environment stays PENDING", "Why did the event not do it")
    assert "VpcEndpointLimitExceeded" in why


@walks("CREATE_FAILED")
def test_a_possible_cause_of_create_failed_is_told(aws, mwaa, deployed, guest, sqs, its, look):
    mwaa.put(guest, status="CREATE_FAILED")

    assert "a possible cause of CREATE_FAILED" in look() and its() == {}

    mwaa.put(guest)  # deleted, and made again
    deployed.deliver(guest)
    mwaa.put(guest, status="AVAILABLE")
    assert "a possible cause" not in look()


@walks("Tasks stay queued")
def test_why_tasks_stay_queued_is_told(aws, served, sqs, shell, look):
    before = statements(aws, sqs)
    write(aws, sqs, [])
    assert "updated SQS endpoint" in look()
    shell.text(PAGE["An environment stays PENDING"][DO][0])
    assert statements(aws, sqs) == before[-1:] and "kept SQS endpoint" in look()

    write(aws, sqs, [*before, DENY])
    assert "blocked SQS endpoint" in look(ends_with=1)

    (edited,) = [it for it in before if it.get("Sid") == "MwaaCeleryQueues"]
    write(aws, sqs, [{**edited, "Effect": "Deny"}])
    told = shell.sh(PAGE["Tasks stay queued"][LOOK][0]).stdout
    assert "is not as this function writes it" in " ".join(told.split())


@walks("The web server does not answer")
def test_a_network_is_let_in_to_the_web_server(deployed, with_settings, aws, vpc, served, shell, look):
    (group,) = json.loads(look())
    assert not [it for it in aws.snapshot(vpc).groups[group]["rules"] if "10.0.0.0/8" in it]

    deployed.function = with_settings(WEBSERVER_SOURCES="10.0.0.0/8")
    shell.text(PAGE["An environment stays PENDING"][DO][0])

    assert [it for it in aws.snapshot(vpc).groups[group]["rules"] if it[1:4] == (443, 443, "10.0.0.0/8")]


@walks("Left over after deletion")
def test_what_is_left_over_is_listed_until_a_sweep_takes_it_away(
    mwaa, deployed, with_settings, served, its, look, sweep_now
):
    deployed.function = with_settings(DELETION="off")
    mwaa.remove(served)
    deployed.deliver(later(served, "DELETED"))
    told = look()
    assert all(id in told for id in its()) and environment(served) in told and "sg-" in told and len(its()) == 2

    assert '"left"' in json.dumps(sweep_now())

    deployed.function = with_settings()
    sweep_now()
    assert its() == {} and "sg-" not in look()


# By hand -------------------------------------------------------------------------------------


@walks("Replay an environment")
def test_a_replay_with_either_program_hands_over_the_same(deployed, guest, sqs, its, shell):
    told = shell.run("Replay an environment", "", 0)
    assert "as a plan" in told and "Outcome: changed" in told and len(its()) == 2

    told = shell.run("Replay an environment", "", 1)
    assert '"dryRun": true' in told and '"outcome": "unchanged"' in told
    by_cli, ours = (deployed.payloads[at]["Environment"] for at in (-1, -3))
    differ = {name for name, it in ours.items() if it is not None and it != by_cli.get(name)}
    assert differ <= {"CreatedAt", "LastUpdate"} and len(ours) > 10  # the form of times


@walks("Redrive the queues")
def test_a_redrive_empties_both_queues(aws, deployed, failed, undelivered, sqs, guest, its, shell):
    fail(aws, deployed, failed, guest)
    undelivered.put(guest, reasons())

    told = shell.run("Redrive the queues")

    assert "as a plan" in told and "2 messages dealt with and deleted, 0 left" in told
    assert len(its()) == 2 and (failed.visible, undelivered.visible) == (0, 0)


@walks("Redrive with the AWS CLI alone")
def test_the_cli_alone_finds_shows_and_empties_each_queue(
    aws, deployed, failed, undelivered, participants, sqs, guest, shell
):
    section = "Redrive with the AWS CLI alone"
    urls = [shell.text(f'{it}echo "$QUEUE"') for it in queues_of_the_page()]
    assert urls == [failed.url, undelivered.url, participants.url]
    assert shell.run(section, "", 0) == ""
    fail(aws, deployed, failed, guest)
    failed.put(record(SWEEP, "LookFailed", "RequestLimitExceeded"))
    undelivered.put(guest, reasons())

    for queue, told in zip(queues_of_the_page(), ("VpcEndpointLimitExceeded", "NO_PERMISSIONS Not authorized to invoke")):
        shown = shell.text(queue + PAGE[section][""][1])
        assert f"{PARTICIPANT} forecasting PENDING" in shown and told in shown
        shell.text(queue + PAGE[section][""][2])

    shell.left -= {(section, "", 1), (section, "", 2)}
    assert failed.counts == undelivered.counts == (0, 0)


@walks("Sweep now")
def test_a_sweep_by_hand_serves_who_waits(aws, reader, guest, sqs, its, shell, sweep_now):
    told = shell.run("Sweep now")
    assert "environments looked at: 1" in told and "Outcome: changed" in told and len(its()) == 2

    assert sweep_now()["reached"] == 1 and len(its()) == 2


@walks("Tell it that an environment is gone")
def test_what_an_environment_that_is_told_to_be_gone_used_is_deleted(mwaa, served, its, shell):
    mwaa.remove(served)

    told = shell.run("Tell it that an environment is gone", "", 0, ends_with=254)
    assert "ResourceNotFoundException" in told

    told = shell.run("Tell it that an environment is gone", "", 1)
    assert '"outcome": "deleted"' in told and its() == {}
