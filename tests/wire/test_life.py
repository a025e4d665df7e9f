"""What becomes of an environment's endpoints, queue, group and rules after it was made."""

import json

import harness
import pytest
from harness import PARTICIPANT, QUEUE_ACTIONS, environment, event, later, network

PUBLIC = {"webserverAccessMode": "PUBLIC_ONLY"}
NO_ACCOUNT = "000000000000"
ANOTHER_SERVICE = "com.amazonaws.vpce.us-east-1.vpce-svc-0123456789abcde0f"
ANOTHER_QUEUE = "arn:aws:sqs:us-east-1:555555555555:airflow-celery-0a0b0c0d-1111-4222-8333-444"


@pytest.fixture
def groups(aws, vpc):
    """The security groups of the participant's environment, in its own account."""
    return [aws.group(vpc.id, f"airflow-{n}", PARTICIPANT) for n in (1, 2, 3)]


@pytest.fixture
def own(vpc):
    """The owner's environment, as MWAA waits for its endpoints."""
    return event("pending-private", vpc)


@pytest.fixture
def guest(vpc, groups):
    """A participant's, with the first two of its groups."""
    return event("pending-participant", vpc, groups[:2])


def served(function, *events):
    for it in events:
        answer = function.deliver(it)
        assert answer.ok, answer.error
    return answer


def services(snapshot):
    return {it["service"] for it in snapshot.endpoints.values()}


def rules(snapshot):
    """(port, source) of the rules of the one group in a snapshot."""
    (group,) = snapshot.groups.values()
    return {(rule[1], rule[3]) for rule in group["rules"]}


def admitted(ports, groups):
    return {(port, f"{PARTICIPANT}/{group}") for port in ports for group in groups}


def without_tags(resources):
    """Resources but for their tags, of which one remembers the time of the newest event."""
    return {id: {**it, "tags": None} for id, it in resources.items()}


def policy(aws, vpc):
    (endpoint,) = aws.snapshot(vpc).alive.of(harness.SQS).values()
    return endpoint["policy"]


def recreated(event, **detail):
    """The environment made again under its name, two hours later, with other services."""
    return later(
        event,
        "PENDING",
        hours=2,
        databaseVpcEndpointService=f"{ANOTHER_SERVICE[:-1]}d",
        webserverVpcEndpointService=f"{ANOTHER_SERVICE[:-1]}e",
        celeryExecutorQueue=ANOTHER_QUEUE,
        **detail,
    )


# DELETED -------------------------------------------------------------------------------------


def test_a_deleted_environment_takes_all_that_is_its_with_it_and_nothing_else(
    aws, function, vpc, own, guest
):
    foreign = {**harness.blog_policy()["Statement"][0], "Sid": "Orders", "Resource": "*:orders"}
    aws.endpoint(vpc, policy={"Statement": [foreign]})
    aws.endpoint(vpc, "com.amazonaws.us-east-1.kms", Name="theirs")
    served(function, own)
    before = aws.snapshot(vpc)
    served(function, guest)
    assert len(aws.snapshot(vpc).made_for(guest).endpoints) == 2

    answer = served(function, later(guest, "DELETED"))

    assert aws.snapshot(vpc).alive == before
    assert answer.value["outcome"] == "changed"
    done = [(it["kind"], it["outcome"]) for it in answer.value["resources"]]
    assert done.count(("endpoint", "deleted")) == 2
    assert done.count(("security-group", "deleted")) == 1
    assert done.count(("sqs-endpoint", "updated")) == 1


def test_a_deleted_environments_rules_go_first_and_its_group_last(function, vpc, sqs, guest):
    served(function, guest)

    answer = served(function, later(guest, "DELETED"))

    assert answer.changes == [
        "RevokeSecurityGroupIngress",
        "CreateTags",  # the mark of what goes, so that nobody puts its queue back
        "ModifyVpcEndpoint",
        "DeleteVpcEndpoints",
        "DeleteSecurityGroup",
    ]


def test_deleting_says_what_it_took_away(aws, function, vpc, sqs, own):
    served(function, own)
    ids = set(aws.snapshot(vpc).made_for(own).endpoints)

    answer = served(function, later(own, "DELETED"))

    gone = {it["id"] for it in answer.value["resources"] if it["outcome"] == "deleted"}
    assert gone == ids
    assert answer.logged == [answer.value]


@pytest.mark.parametrize(
    "left_out",
    [
        {},
        {
            "networkConfiguration": None,
            "databaseVpcEndpointService": None,
            "webserverVpcEndpointService": None,
            "webserverAccessMode": None,
            "celeryExecutorQueue": None,
        },
    ],
    ids=["with_everything", "with_its_name_only"],
)
def test_an_event_of_a_deletion_needs_to_say_no_more_than_the_name(
    aws, function, vpc, sqs, own, left_out
):
    before = aws.snapshot(vpc)
    served(function, own)

    served(function, later(own, "DELETED", **left_out))

    after = aws.snapshot(vpc).alive
    assert set(after.endpoints) == set(before.endpoints)
    assert own["detail"]["celeryExecutorQueue"] not in json.dumps(policy(aws, vpc))


def test_deleting_twice_changes_nothing_more(aws, function, vpc, sqs, guest):
    served(function, guest, later(guest, "DELETED"))
    before = aws.snapshot(vpc)

    again = served(function, later(guest, "DELETED"))

    assert again.changes == []
    assert aws.snapshot(vpc) == before
    assert again.value["outcome"] == "unchanged"


def test_a_late_deletion_hits_nothing_of_an_environment_that_was_made_again(
    aws, function, vpc, sqs, guest
):
    again = recreated(guest)
    served(function, guest, again)
    expected = rules(aws.snapshot(vpc).made_for(guest))

    served(function, later(guest, "DELETED", hours=1))

    after = aws.snapshot(vpc).alive
    new = {again["detail"][f"{role}VpcEndpointService"] for role in ("database", "webserver")}
    assert new == services(after.made_for(guest)), "and what was the old one's is gone"
    assert rules(after.made_for(guest)) == expected
    assert ANOTHER_QUEUE in json.dumps(policy(aws, vpc))


def test_a_late_deletion_that_names_nothing_hits_nothing_newer(aws, function, vpc, sqs, guest):
    again = recreated(guest)
    served(function, again)
    before = aws.snapshot(vpc)
    nothing_named = {name: None for name in guest["detail"] if name not in ("name", "status")}

    answer = served(function, later(guest, "DELETED", hours=1, **nothing_named))

    assert answer.changes == []
    assert aws.snapshot(vpc) == before


def test_with_deletion_turned_off_only_rules_go_and_the_rest_is_listed(
    aws, configured, vpc, sqs, guest
):
    function = configured(DELETION="off")
    served(function, guest)
    before = aws.snapshot(vpc)

    answer = served(function, later(guest, "DELETED"))

    assert [it for it in answer.changes if it != "CreateTags"] == ["RevokeSecurityGroupIngress"]
    after = aws.snapshot(vpc)
    assert without_tags(after.endpoints) == without_tags(before.endpoints)
    assert rules(after.made_for(guest)) == set()
    left = {it["id"] for it in answer.value["resources"] if it["outcome"] == "left"}
    its = after.made_for(guest)
    assert left == {*its.endpoints, *its.groups, sqs}
    told = json.dumps(answer.value["warnings"])
    assert all(id in told for id in left)


@pytest.mark.parametrize(
    "others", [[], [{"Sid": "Orders", "Effect": "Allow", "Principal": "*", "Action": "sqs:*"}]]
)
def test_the_last_queue_leaves_a_policy_that_is_valid_and_no_more_open(
    aws, function, vpc, own, others
):
    others = [{**it, "Resource": "arn:aws:sqs:us-east-1:444455556666:orders"} for it in others]
    aws.endpoint(vpc, policy={"Statement": others})
    served(function, own, later(own, "DELETED"))

    statements = policy(aws, vpc)["Statement"]

    if others:
        assert statements == others
    else:
        (ours,) = statements
        resources = ours.pop("Resource")
        assert [it.split(":")[4] for it in resources] == [NO_ACCOUNT]
        assert ours == {
            "Sid": "MwaaCeleryQueues",
            "Effect": "Allow",
            "Principal": "*",
            "Action": QUEUE_ACTIONS,
        }


def test_the_next_environment_takes_the_place_of_the_last_one_in_the_policy(
    aws, function, vpc, own
):
    aws.endpoint(vpc, policy={"Statement": []})
    other = event("pending-public", vpc)

    served(function, own, later(own, "DELETED"), other)

    (ours,) = policy(aws, vpc)["Statement"]
    assert other["detail"]["celeryExecutorQueue"] in ours["Resource"]
    assert own["detail"]["celeryExecutorQueue"] not in ours["Resource"]


def test_a_group_that_is_still_in_use_is_deleted_a_moment_later(aws, function, vpc, sqs, guest):
    served(function, guest)
    aws.proxy.fail("DeleteSecurityGroup", "DependencyViolation", times=2)

    answer = served(function, later(guest, "DELETED"))

    assert answer.changes.count("DeleteSecurityGroup") == 3
    assert aws.snapshot(vpc).made_for(guest).groups == {}


def test_a_group_that_stays_in_use_is_left_and_said_and_goes_with_the_next_delivery(
    aws, function, vpc, sqs, guest
):
    served(function, guest)
    (group,) = aws.snapshot(vpc).made_for(guest).groups
    aws.proxy.fail("DeleteSecurityGroup", "DependencyViolation", times=20)

    answer = served(function, later(guest, "DELETED"))

    (left,) = [it for it in answer.value["resources"] if it["outcome"] == "left"]
    assert left["id"] == group
    assert group in json.dumps(answer.value["warnings"])
    aws.proxy.clear()
    served(function, later(guest, "DELETED"))
    assert aws.snapshot(vpc).made_for(guest).groups == {}


def test_a_deletion_in_a_vpc_without_anything_of_ours_only_looks(aws, function, vpc, sqs, own):
    before = aws.snapshot(vpc)

    answer = served(function, later(own, "DELETED"))

    assert answer.changes == []
    assert aws.snapshot(vpc) == before
    assert answer.value["reason"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "action",
    [
        "RevokeSecurityGroupIngress",
        "CreateTags",
        "ModifyVpcEndpoint",
        "DeleteVpcEndpoints",
        "DeleteSecurityGroup",
    ],
)
def test_whatever_call_of_a_deletion_fails_the_next_delivery_ends_it(
    aws, function, vpc, sqs, guest, action, after
):
    before = aws.snapshot(vpc)
    served(function, guest)
    aws.proxy.fail(action, "UnauthorizedOperation", status=403, after=after)

    first = function.deliver(later(guest, "DELETED"))
    assert action in first.error
    served(function, later(guest, "DELETED"))

    assert set(aws.snapshot(vpc).alive.endpoints) == set(before.endpoints)
    assert aws.snapshot(vpc).groups == before.groups
    assert guest["detail"]["celeryExecutorQueue"] not in json.dumps(policy(aws, vpc))


# UPDATING and AVAILABLE ----------------------------------------------------------------------


def test_an_update_lets_new_groups_in_while_the_old_ones_are_in_use(
    aws, function, vpc, sqs, groups, guest
):
    served(function, guest)

    update = later(guest, "UPDATING", networkConfiguration=network(vpc, groups[1:]))
    answer = served(function, update)

    assert rules(aws.snapshot(vpc).made_for(guest)) == admitted((443, 5432), groups)
    assert answer.value["outcome"] == "changed"


def test_an_update_puts_the_owners_new_groups_on_the_endpoints(aws, function, vpc, sqs, own):
    served(function, own)
    second = aws.group(vpc.id, "second")

    served(function, later(own, "UPDATING", networkConfiguration=network(vpc, [second])))

    for endpoint in aws.snapshot(vpc).made_for(own).endpoints.values():
        assert endpoint["groups"] == sorted([vpc.group, second])


def test_an_update_to_a_private_web_server_makes_its_endpoint(aws, function, vpc, sqs, own):
    served(function, later(own, "PENDING", hours=0, **PUBLIC))
    assert len(aws.snapshot(vpc).made_for(own).endpoints) == 1

    answer = served(function, later(own, "UPDATING"))

    service = own["detail"]["webserverVpcEndpointService"]
    assert service in services(aws.snapshot(vpc).made_for(own))
    assert answer.changes.count("CreateVpcEndpoint") == 1


def test_an_update_says_more_than_needs_to_change_and_takes_nothing_away(
    aws, function, vpc, sqs, own
):
    served(function, own)
    before = aws.snapshot(vpc)

    answer = served(function, later(own, "UPDATING", **PUBLIC))

    assert set(answer.changes) <= {"CreateTags"}
    assert set(aws.snapshot(vpc).alive.endpoints) == set(before.endpoints)


@pytest.mark.parametrize("status", ["UPDATING", "AVAILABLE"])
def test_what_an_environment_lacks_is_made_on_any_sign(aws, function, vpc, sqs, own, status):
    answer = served(function, later(own, status, endpointManagement="CUSTOMER"))

    assert answer.value["outcome"] == "changed"
    assert len(aws.snapshot(vpc).made_for(own).endpoints) == 2
    assert own["detail"]["celeryExecutorQueue"] in json.dumps(policy(aws, vpc))


@pytest.mark.parametrize("status", ["UPDATING", "AVAILABLE"])
def test_an_environment_that_may_have_mwaas_own_endpoints_is_not_ours(
    aws, function, vpc, sqs, own, status
):
    before = aws.snapshot(vpc)

    answer = served(function, later(own, status))

    assert answer.changes == []
    assert aws.snapshot(vpc) == before
    assert answer.value["outcome"] == "ignored"


def test_an_available_environments_old_groups_are_let_in_no_more(
    aws, function, vpc, sqs, groups, guest
):
    served(function, guest)
    new = network(vpc, groups[1:])

    served(
        function,
        later(guest, "UPDATING", networkConfiguration=new),
        later(guest, "AVAILABLE", hours=2, networkConfiguration=new),
    )

    after = aws.snapshot(vpc).made_for(guest)
    assert rules(after) == admitted((443, 5432), groups[1:])
    for resource in [*after.endpoints.values(), *after.groups.values()]:
        assert resource["tags"]["mwaa-vpc-endpoints/groups"] == " ".join(sorted(groups[1:]))


def test_an_available_environments_old_groups_go_off_the_owners_endpoints(
    aws, function, vpc, sqs, own
):
    served(function, own)
    theirs, second = aws.group(vpc.id, "theirs"), aws.group(vpc.id, "second")
    for id in aws.snapshot(vpc).made_for(own).endpoints:
        aws.ec2.modify_vpc_endpoint(VpcEndpointId=id, AddSecurityGroupIds=[theirs])

    new = network(vpc, [second])
    served(
        function,
        later(own, "UPDATING", networkConfiguration=new),
        later(own, "AVAILABLE", hours=2, networkConfiguration=new),
    )

    for endpoint in aws.snapshot(vpc).made_for(own).endpoints.values():
        assert endpoint["groups"] == sorted([theirs, second]), "somebody else's stays"


def test_a_rule_that_a_person_added_stays(aws, function, vpc, sqs, groups, guest):
    served(function, guest)
    (id,) = aws.snapshot(vpc).made_for(guest).groups
    aws.ec2.authorize_security_group_ingress(
        GroupId=id, IpProtocol="tcp", FromPort=443, ToPort=443, CidrIp="10.0.0.0/8"
    )

    served(function, later(guest, "AVAILABLE", networkConfiguration=network(vpc, groups[2:])))

    after = rules(aws.snapshot(vpc).made_for(guest))
    assert after == admitted((443, 5432), groups[2:]) | {(443, "10.0.0.0/8")}


def test_a_web_server_that_became_public_loses_its_endpoint(aws, function, vpc, sqs, own):
    served(function, own)

    answer = served(function, later(own, "AVAILABLE", **PUBLIC))

    its = aws.snapshot(vpc).alive.made_for(own)
    assert services(its) == {own["detail"]["databaseVpcEndpointService"]}
    (gone,) = [it for it in answer.value["resources"] if it["outcome"] == "deleted"]
    assert gone["role"] == "webserver"
    assert own["detail"]["celeryExecutorQueue"] in json.dumps(policy(aws, vpc))


@pytest.mark.parametrize(
    "absent",
    [
        ["webserverAccessMode"],
        ["networkConfiguration"],
        ["databaseVpcEndpointService"],
        ["webserverVpcEndpointService", "webserverAccessMode"],
        ["celeryExecutorQueue"],
    ],
    ids=lambda names: "-".join(names),
)
def test_what_an_event_leaves_out_proves_nothing(aws, function, vpc, sqs, own, guest, absent):
    served(function, own, guest)
    before = aws.snapshot(vpc)

    for it in (own, guest):
        answer = served(function, later(it, "AVAILABLE", **dict.fromkeys(absent)))
        assert set(answer.changes) <= {"CreateTags"}, "the time of the event is remembered"

    after = aws.snapshot(vpc)
    assert set(after.alive.endpoints) == set(before.alive.endpoints)
    assert policy(aws, vpc) == before.endpoints[sqs]["policy"]
    for event in (own, guest):
        for id, group in after.made_for(event).groups.items():
            assert group["rules"] == before.groups[id]["rules"]


def test_the_endpoints_of_the_environment_before_go_when_its_successor_is_available(
    aws, function, vpc, sqs, own
):
    again = recreated(own)
    served(function, own, again)

    served(function, later(again, "AVAILABLE"))

    names = [again["detail"][f"{role}VpcEndpointService"] for role in ("database", "webserver")]
    assert services(aws.snapshot(vpc).alive.made_for(own)) == set(names)
    (ours,) = policy(aws, vpc)["Statement"][1:]
    assert ours["Resource"] == [ANOTHER_QUEUE]


def test_mwaas_answer_is_the_proof_where_it_may_be_asked(aws, mwaa, function, vpc, sqs, own):
    mwaa.put(own, status="AVAILABLE")
    served(function, own)
    before = aws.snapshot(vpc)

    answer = served(function, later(own, "AVAILABLE", **PUBLIC))

    assert "GetEnvironment" in answer.actions
    assert set(aws.snapshot(vpc).alive.endpoints) == set(before.endpoints)
    mwaa.put(own, status="AVAILABLE", **PUBLIC)
    served(function, later(own, "AVAILABLE", hours=2, **PUBLIC))
    assert len(aws.snapshot(vpc).alive.made_for(own).endpoints) == 1


def test_mwaas_silence_proves_nothing(aws, mwaa, function, vpc, sqs, own):
    mwaa.put(own)
    served(function, own)
    before = aws.snapshot(vpc)
    aws.proxy.fail("GetEnvironment", "ValidationException", times=20)

    answer = function.deliver(later(own, "AVAILABLE", **PUBLIC))

    assert not answer.ok and "MWAA did not say" in answer.error
    assert set(aws.snapshot(vpc).alive.endpoints) == set(before.endpoints)


# Order ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["PENDING", "UPDATING", "AVAILABLE"])
def test_an_event_older_than_what_is_remembered_changes_nothing(
    aws, function, vpc, sqs, groups, guest, status
):
    new = later(guest, "AVAILABLE", hours=5, networkConfiguration=network(vpc, groups[1:]))
    served(function, guest, new)
    before = aws.snapshot(vpc)

    answer = served(function, later(guest, status, hours=3, **PUBLIC))

    assert answer.changes == []
    assert aws.snapshot(vpc) == before
    assert answer.value["outcome"] == "ignored"
    assert answer.value["reason"]


def test_an_old_event_of_an_environment_that_is_gone_makes_nothing_where_mwaa_can_be_asked(
    aws, mwaa, function, vpc, sqs, own
):
    before = aws.snapshot(vpc)

    answer = served(function, own)

    assert answer.changes == []
    assert aws.snapshot(vpc) == before
    assert answer.value["outcome"] == "ignored"


# CREATE_FAILED -------------------------------------------------------------------------------


def test_a_failed_creation_changes_nothing_and_says_what_is_wrong(aws, function, vpc, own):
    block = {"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*", "Sid": "Lock"}
    aws.endpoint(vpc, policy={"Statement": [block]})
    served(function, own)
    its = aws.snapshot(vpc).made_for(own)
    (lost,) = [id for id, it in its.endpoints.items() if "webserver" in it["tags"]["Name"]]
    aws.ec2.delete_vpc_endpoints(VpcEndpointIds=[lost])
    before = aws.snapshot(vpc)

    answer = served(function, later(own, "CREATE_FAILED"))

    assert answer.changes == []
    assert aws.snapshot(vpc) == before
    told = {(it["kind"], it.get("role")): it for it in answer.value["resources"]}
    assert "available" in told["endpoint", "database"]["detail"]
    assert "missing" in told["endpoint", "webserver"]["detail"]
    assert told["sqs-endpoint", None]["outcome"] == "blocked"
    assert "Lock" in told["sqs-endpoint", None]["detail"]


def test_a_failed_creation_of_a_participants_environment_tells_of_its_groups_rules(
    aws, function, vpc, sqs, groups, guest
):
    served(function, guest)
    (id,) = aws.snapshot(vpc).made_for(guest).groups
    permissions = aws.ec2.describe_security_groups(GroupIds=[id])["SecurityGroups"][0]
    aws.ec2.revoke_security_group_ingress(GroupId=id, IpPermissions=permissions["IpPermissions"])

    answer = served(function, later(guest, "CREATE_FAILED"))

    assert answer.changes == []
    (told,) = [it for it in answer.value["resources"] if it["kind"] == "security-group"]
    assert all(group in told["detail"] for group in groups[:2])


# By hand -------------------------------------------------------------------------------------


def shape(aws, vpc):
    """All of a VPC but ids and times of what was made in it."""
    snapshot = aws.snapshot(vpc).alive
    for it in [*snapshot.endpoints.values(), *snapshot.groups.values()]:
        it["tags"].pop("mwaa-vpc-endpoints/event-time", None)
        it.pop("groups", None)
    return (
        sorted(snapshot.endpoints.values(), key=str),
        sorted(snapshot.groups.values(), key=str),
    )


@pytest.mark.parametrize("name", ["pending-private", "pending-participant"])
def test_what_get_environment_answers_does_what_the_event_does(aws, function, name):
    shapes = []
    for by_hand in (False, True):
        aws.reset()
        vpc = aws.vpc()
        aws.endpoint(vpc, policy=harness.blog_policy())
        groups = [aws.group(vpc.id, f"airflow-{n}", PARTICIPANT) for n in (1, 2)]
        it = event(name, vpc, groups if "participant" in name else None)
        told = {"Environment": aws.mwaa.put(it)}

        answer = served(function, told if by_hand else it)

        assert answer.value["environment"] == environment(it)
        assert answer.value["outcome"] == "changed"
        shapes.append(shape(aws, vpc))
    assert shapes[0] == shapes[1]


def test_what_get_environment_answers_twice_changes_nothing(aws, function, vpc, sqs, own):
    told = {"Environment": aws.mwaa.put(own)}
    served(function, told)
    before = aws.snapshot(vpc)

    again = served(function, told)

    assert again.changes == []
    assert aws.snapshot(vpc) == before


STATUSES = ["PENDING", "UPDATING", "AVAILABLE", "CREATE_FAILED", "DELETED"]


@pytest.mark.parametrize("status", STATUSES)
def test_a_dry_run_describes_only_and_says_what_would_be_done(
    aws, function, vpc, sqs, groups, guest, status
):
    if status != "PENDING":
        served(function, guest)
    before = aws.snapshot(vpc)
    asked = later(guest, status, networkConfiguration=network(vpc, groups[1:]), **PUBLIC)

    plan = served(function, {**asked, "dryRun": True})

    assert {action for action in plan.actions if not action.startswith("Describe")} == set()
    assert aws.snapshot(vpc) == before
    assert plan.value["dryRun"] is True
    done = served(function, asked)
    planned, did = (
        {(it["kind"], it.get("role"), it["outcome"]) for it in answer.value["resources"]}
        for answer in (plan, done)
    )
    assert planned == did


@pytest.mark.parametrize("wrong", ["yes", 1, None], ids=str)
def test_a_dry_run_that_is_neither_true_nor_false_is_refused(function, vpc, own, wrong):
    answer = function.deliver({**own, "dryRun": wrong})

    assert "dryRun" in answer.error
    assert answer.calls == []
