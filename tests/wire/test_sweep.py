"""The sweep: what no event told is found, and what was changed by hand is put right."""

import json

import harness
import pytest
from harness import PARTICIPANT, environment, event, later, network

SWEEP = {"sweep": True}
ROLE = "mwaa-vpc-endpoints-reader"


@pytest.fixture
def own(vpc):
    return event("pending-private", vpc)


@pytest.fixture
def groups(aws, vpc):
    return [aws.group(vpc.id, f"airflow-{n}", PARTICIPANT) for n in (1, 2)]


@pytest.fixture
def guest(vpc, groups):
    return event("pending-participant", vpc, groups)


@pytest.fixture
def asking(configured):
    """The function with a role that participants let it take on."""
    return configured(READER_ROLE=ROLE, PARTICIPANT_ACCOUNTS=PARTICIPANT)


def done(function, *payloads):
    for payload in payloads:
        answer = function.deliver(payload)
        assert answer.ok, answer.error
    return answer


def running(mwaa, function, *events):
    """Environments that were served and are available now."""
    for it in events:
        mwaa.put(it)
        done(function, it)
        mwaa.put(it, status="AVAILABLE")


def many(vpc, number):
    """Events of so many environments in one VPC."""
    for n in range(number):
        it = event("pending-private", vpc)
        tail = f"{n:017x}"
        yield later(
            it,
            "PENDING",
            hours=0,
            name=f"analytics-{n:02}",
            databaseVpcEndpointService=f"com.amazonaws.vpce.us-east-1.vpce-svc-{tail}",
            webserverVpcEndpointService=f"com.amazonaws.vpce.us-east-1.vpce-svc-a{tail[1:]}",
            celeryExecutorQueue=f"arn:aws:sqs:us-east-1:555555555555:airflow-celery-{n:08}-0000",
        )


def looks(answer):
    """The calls of EC2 that only look."""
    return [action for action in answer.actions if action.startswith("Describe")]


def told(answer):
    """What a sweep did, by environment."""
    return {report["environment"]: report for report in answer.value["environments"]}


# Lost events ---------------------------------------------------------------------------------


def test_a_waiting_environment_whose_event_was_lost_is_served(aws, mwaa, function, vpc, sqs, own):
    mwaa.put(own)

    answer = done(function, SWEEP)

    after = aws.snapshot(vpc)
    assert len(after.made_for(own).endpoints) == 2
    assert own["detail"]["celeryExecutorQueue"] in json.dumps(after.endpoints[sqs]["policy"])
    report = told(answer)[environment(own)]
    assert (report["status"], report["outcome"]) == ("PENDING", "changed")
    assert answer.logged == [report]


def test_how_long_a_waiting_environment_has_been_waiting_is_said(mwaa, function, vpc, sqs, own):
    mwaa.put(own)
    done(function, own)

    report = told(done(function, SWEEP))[environment(own)]

    assert "72 h" in report["warnings"][0]["message"]


def test_a_participants_waiting_environment_is_served_through_its_role(
    aws, mwaa, asking, vpc, sqs, guest
):
    mwaa.put(guest)

    answer = done(asking, SWEEP)

    (assumed,) = [call for call in answer.calls if call.action == "AssumeRole"]
    assert assumed.parameters["RoleArn"] == f"arn:aws:iam::{PARTICIPANT}:role/{ROLE}"
    its = aws.snapshot(vpc).made_for(guest)
    assert (len(its.endpoints), len(its.groups)) == (2, 1)


@pytest.mark.parametrize("status", ["CREATING", "DELETING", "UNAVAILABLE", "CREATING_SNAPSHOT"])
def test_an_environment_that_asks_for_nothing_gets_nothing_and_loses_nothing(
    aws, mwaa, function, vpc, sqs, own, status
):
    running(mwaa, function, own)
    mwaa.put(own, status=status)
    before = aws.snapshot(vpc)

    answer = done(function, SWEEP)

    assert answer.changes == []
    assert aws.snapshot(vpc) == before


def test_an_environment_whose_endpoints_are_mwaas_own_gets_nothing(
    aws, mwaa, function, vpc, sqs, own
):
    mwaa.put(own, endpointManagement="SERVICE")
    before = aws.snapshot(vpc)

    assert done(function, SWEEP).changes == []
    assert aws.snapshot(vpc) == before


def test_an_environment_in_somebody_elses_vpc_is_none_of_ours(aws, mwaa, asking, vpc, sqs, guest):
    guest["detail"]["networkConfiguration"]["subnetIds"] = ["subnet-0123456789abcdef0"]
    mwaa.put(guest)

    answer = done(asking, SWEEP)

    assert answer.changes == []
    assert answer.value["environments"] == []


def test_what_an_update_left_behind_goes(aws, mwaa, asking, vpc, sqs, groups, guest):
    running(mwaa, asking, guest)
    mwaa.put(
        guest,
        status="AVAILABLE",
        webserverAccessMode="PUBLIC_ONLY",
        networkConfiguration=network(vpc, groups[:1]),
    )

    done(asking, SWEEP)

    its = aws.snapshot(vpc).alive.made_for(guest)
    ((_, group),) = its.groups.items()
    assert [rule[:4] for rule in group["rules"]] == [
        ("tcp", 5432, 5432, f"{PARTICIPANT}/{groups[0]}")
    ]
    assert len(its.endpoints) == 1


# Environments that are gone ------------------------------------------------------------------


def test_what_was_made_for_an_environment_that_is_gone_goes_too_and_nothing_else(
    aws, mwaa, asking, vpc, sqs, own, guest
):
    running(mwaa, asking, own)
    before = aws.snapshot(vpc)
    running(mwaa, asking, guest)
    mwaa.remove(guest)

    answer = done(asking, SWEEP)

    assert aws.snapshot(vpc).alive == before
    assert set(told(answer)) == {environment(guest)}
    assert told(answer)[environment(guest)]["status"] == "DELETED"


def test_with_deletion_turned_off_it_is_listed_by_every_sweep(aws, mwaa, configured, vpc, sqs, own):
    function = configured(DELETION="off")
    running(mwaa, function, own)
    mwaa.remove(own)
    before = aws.snapshot(vpc)

    for changes in ({"CreateTags"}, set()):
        answer = done(function, SWEEP)
        assert set(answer.changes) <= changes
        resources = told(answer)[environment(own)]["resources"]
        left = {it["id"] for it in resources if it["outcome"] == "left"}
        assert left == set(before.endpoints)
    after = aws.snapshot(vpc)
    assert set(after.alive.endpoints) == set(before.endpoints)
    assert after.endpoints[sqs] == before.endpoints[sqs]


@pytest.mark.parametrize(
    ("action", "fault"),
    [
        ("AssumeRole", {"code": "AccessDenied", "status": 403}),
        ("GetEnvironment", {"code": "AccessDeniedException", "status": 403}),
        ("GetEnvironment", {"code": "InternalServerException", "status": 500}),
        ("GetEnvironment", {"code": "cut"}),
    ],
    ids=lambda value: value if isinstance(value, str) else value["code"],
)
def test_without_an_answer_of_mwaa_nothing_is_taken_away_and_it_is_said(
    aws, mwaa, function, asking, vpc, sqs, guest, action, fault
):
    done(function, guest)
    before = aws.snapshot(vpc)
    aws.proxy.fail(action, times=50, **fault)

    answer = done(asking, SWEEP)

    assert answer.changes == []
    assert aws.snapshot(vpc) == before
    of_environments = [it["warnings"] for it in answer.value["environments"]]
    warnings = json.dumps([answer.value["warnings"], of_environments])
    assert PARTICIPANT in warnings and "taken away" in warnings


@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException"])
def test_what_is_not_listed_is_asked_about_by_its_name(
    aws, mwaa, function, asking, vpc, sqs, own, guest, code
):
    done(function, guest)
    mwaa.put(guest, status="AVAILABLE")
    before = aws.snapshot(vpc)
    aws.proxy.fail("ListEnvironments", code, times=50)

    answer = done(asking, SWEEP)

    assert "GetEnvironment" in answer.actions and aws.snapshot(vpc) == before
    assert "are not found" in json.dumps(answer.value["warnings"])
    mwaa.remove(guest)
    done(asking, SWEEP)
    assert aws.snapshot(vpc).alive.made_for(guest).endpoints == {}


def test_an_account_without_a_role_is_reported_and_keeps_all_that_is_its(
    aws, mwaa, function, vpc, sqs, own, guest
):
    running(mwaa, function, own)
    done(function, guest)
    mwaa.remove(own)

    answer = done(function, SWEEP)

    after = aws.snapshot(vpc).alive
    assert after.made_for(own).endpoints == {}
    assert len(after.made_for(guest).endpoints) == 2
    assert answer.value["notAsked"] == [PARTICIPANT]


# Drift ---------------------------------------------------------------------------------------


def overwrite_policy(aws, vpc, sqs, guest):
    aws.ec2.modify_vpc_endpoint(VpcEndpointId=sqs, PolicyDocument=json.dumps(BLANK))


def remove_rule(aws, vpc, sqs, guest):
    (id,) = aws.snapshot(vpc).made_for(guest).groups
    group = aws.ec2.describe_security_groups(GroupIds=[id])["SecurityGroups"][0]
    aws.ec2.revoke_security_group_ingress(GroupId=id, IpPermissions=group["IpPermissions"][:1])


def delete_endpoint(aws, vpc, sqs, guest):
    its = aws.snapshot(vpc).made_for(guest).endpoints
    (database,) = [id for id, it in its.items() if it["tags"]["Name"].endswith("-database")]
    aws.ec2.delete_vpc_endpoints(VpcEndpointIds=[database])


BLANK = harness.blog_policy()
DRIFT = [overwrite_policy, remove_rule, delete_endpoint]


def shape(aws, vpc):
    """All of a VPC but the ids of endpoints and the time of the last change."""
    snapshot = aws.snapshot(vpc).alive
    for it in [*snapshot.endpoints.values(), *snapshot.groups.values()]:
        it["tags"].pop("mwaa-vpc-endpoints/event-time", None)
    return sorted(snapshot.endpoints.values(), key=str), snapshot.groups


@pytest.mark.parametrize("drift", DRIFT, ids=lambda drift: drift.__name__)
def test_what_was_changed_by_hand_is_put_right(aws, mwaa, asking, vpc, sqs, own, guest, drift):
    running(mwaa, asking, own, guest)
    before = shape(aws, vpc)
    drift(aws, vpc, sqs, guest)
    assert shape(aws, vpc) != before

    answer = done(asking, SWEEP)

    assert shape(aws, vpc) == before
    assert answer.changes
    assert done(asking, SWEEP).changes == [], "and a second sweep changes nothing"


def test_a_rule_is_put_back_from_the_tags_where_mwaa_cannot_be_asked(
    aws, function, vpc, sqs, own, guest
):
    done(function, own, guest)
    before = shape(aws, vpc)
    remove_rule(aws, vpc, sqs, guest)

    done(function, SWEEP)

    assert shape(aws, vpc) == before
    assert done(function, SWEEP).changes == []


def test_a_queue_that_only_tags_name_is_put_back_by_a_replay_and_not_by_a_sweep(
    aws, function, vpc, sqs, own, guest
):
    done(function, own, guest)
    before = shape(aws, vpc)
    overwrite_policy(aws, vpc, sqs, guest)

    swept = done(function, SWEEP)

    assert swept.changes == []
    for event in (own, guest):
        warnings = json.dumps(told(swept)[environment(event)]["warnings"])
        assert event["detail"]["celeryExecutorQueue"] in warnings and "replay" in warnings
    done(function, later(guest, "UPDATING"))
    assert shape(aws, vpc) == before, "whoever knows the one queue knows the account of the other"


def test_a_failed_repair_fails_neither_the_sweep_nor_what_else_it_repairs(
    aws, mwaa, asking, vpc, sqs, own, guest
):
    running(mwaa, asking, own, guest)
    delete_endpoint(aws, vpc, sqs, guest)
    delete_endpoint(aws, vpc, sqs, own)
    aws.proxy.fail("CreateVpcEndpoint", "VpcEndpointLimitExceeded")

    first = done(asking, SWEEP)
    failed = [it for it in first.value["environments"] if it["outcome"] == "failed"]
    assert len(failed) == 1 and "VpcEndpointLimitExceeded" in json.dumps(failed)
    assert first.changes.count("CreateVpcEndpoint") == 2
    done(asking, SWEEP)

    for it in (own, guest):
        assert len(aws.snapshot(vpc).alive.made_for(it).endpoints) == 2


# Cost and health -----------------------------------------------------------------------------


def test_a_sweep_where_nothing_is_ours_only_looks(aws, mwaa, function, vpc, sqs):
    before = aws.snapshot(vpc)

    answer = done(function, SWEEP)

    assert answer.changes == []
    assert aws.snapshot(vpc) == before
    assert answer.value["lookedAt"] == 0


def test_the_calls_of_ec2_do_not_grow_with_the_number_of_environments(
    aws, mwaa, function, vpc, sqs
):
    counts = {}
    served = 0
    for it in many(vpc, 25):
        running(mwaa, function, it)
        served += 1
        if served in (1, 25):
            answer = done(function, SWEEP)
            assert answer.changes == []
            assert answer.value["lookedAt"] == served
            counts[served] = sorted(looks(answer))

    assert counts[1] == counts[25]
    assert len(counts[25]) <= 5


def test_environments_beyond_the_first_page_are_seen_too(aws, mwaa, function, vpc, sqs):
    events = list(many(vpc, 26))
    for it in events[:-1]:
        mwaa.put(it, status="CREATING")
    mwaa.put(events[-1])

    answer = done(function, SWEEP)

    assert answer.actions.count("ListEnvironments") == 2
    assert len(aws.snapshot(vpc).made_for(events[-1]).endpoints) == 2


def test_two_vpcs_cost_no_more_looks_than_one(aws, mwaa, function, vpc, sqs, own):
    running(mwaa, function, own)
    one = looks(done(function, SWEEP))
    other = aws.vpc("10.193")
    running(mwaa, function, later(event("pending-public", other), "PENDING", hours=0))

    two = looks(done(function, SWEEP))

    assert sorted(two) == sorted(one)
    assert len(one) == 3


def test_a_sweep_whose_time_is_over_says_where_it_stopped(
    aws, mwaa, function, configured, vpc, sqs, own, guest
):
    running(mwaa, function, own, guest)
    before = aws.snapshot(vpc)

    answer = done(configured(seconds=0), SWEEP)

    assert answer.changes == []
    assert aws.snapshot(vpc) == before
    assert answer.value["lookedAt"] == 1, "at least one, so that a slow sweep gets on"
    assert (answer.value["reached"], answer.value["notReached"]) == (1, 1)
    assert answer.value["stoppedBefore"] in (environment(own), environment(guest))


def test_how_much_of_the_quotas_is_used_is_said(mwaa, configured, vpc, sqs, own):
    function = configured(ENDPOINT_QUOTA="3")
    running(mwaa, function, own)

    answer = done(function, SWEEP)

    (health,) = answer.value["vpcs"]
    assert (health["vpc"], health["endpoints"], health["quota"]) == (vpc.id, 3, 3)
    assert health["policyCharacters"][sqs] > 0
    assert "3 of 3 endpoints" in json.dumps(answer.value["warnings"])


def test_a_dry_run_of_a_sweep_describes_only_and_says_what_would_be_put_right(
    aws, mwaa, asking, vpc, sqs, own, guest
):
    running(mwaa, asking, own, guest)
    for drift in (overwrite_policy, remove_rule):
        drift(aws, vpc, sqs, guest)
    before = aws.snapshot(vpc)

    plan = done(asking, {**SWEEP, "dryRun": True})

    assert plan.changes == [] and "GetEnvironment" in plan.actions
    assert aws.snapshot(vpc) == before
    assert plan.value["dryRun"] is True
    resources = told(plan)[environment(guest)]["resources"]
    planned = {(it["kind"], it["outcome"]) for it in resources}
    assert {("security-group", "updated"), ("sqs-endpoint", "updated")} <= planned
    done(asking, SWEEP)
    assert done(asking, {**SWEEP, "dryRun": True}).value["environments"] == []


def test_a_sweep_that_is_not_true_is_refused(function, aws):
    answer = function.deliver({"sweep": "yes"})

    assert "sweep" in answer.error
    assert answer.calls == []
