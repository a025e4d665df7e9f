"""The endpoints to an environment's metadata database and web server."""

import pytest
from harness import environment, event, sample


def made(aws, vpc, sqs=None):
    """The endpoints of a VPC by role, without the SQS endpoint."""
    endpoints = aws.snapshot(vpc).endpoints
    return {
        it["tags"].get("mwaa-vpc-endpoints/role"): it for id, it in endpoints.items() if id != sqs
    }


def test_a_private_environment_gets_an_endpoint_to_its_database_and_one_to_its_web_server(
    aws, function, vpc, sqs
):
    wanted = event("pending-private", vpc)
    answer = function.deliver(wanted)

    assert answer.ok, answer.error
    endpoints = made(aws, vpc, sqs)
    assert set(endpoints) == {"database", "webserver"}
    for role, endpoint in endpoints.items():
        assert endpoint["service"] == wanted["detail"][f"{role}VpcEndpointService"]
        assert endpoint["subnets"] == sorted(vpc.subnets)
        assert endpoint["groups"] == [vpc.group]
        assert endpoint["tags"] == {
            "Name": f"analytics-{role}",
            "mwaa-vpc-endpoints/environment": environment(wanted),
            "mwaa-vpc-endpoints/role": role,
            "mwaa-vpc-endpoints/queue": wanted["detail"]["celeryExecutorQueue"],
            "mwaa-vpc-endpoints/groups": vpc.group,
            "mwaa-vpc-endpoints/event-time": wanted["time"],
        }


def test_the_result_says_what_was_done_to_which_resource(aws, function, vpc, sqs):
    answer = function.deliver(event("pending-private", vpc))

    result = answer.value
    assert result["environment"] == environment(sample("pending-private"))
    assert (result["status"], result["vpc"]) == ("PENDING", vpc.id)
    assert (result["outcome"], result["warnings"]) == ("changed", [])
    endpoints = aws.snapshot(vpc).endpoints
    done = {(it["kind"], it.get("role")): it for it in result["resources"]}
    assert done["endpoint", "database"]["outcome"] == "created"
    assert done["endpoint", "webserver"]["outcome"] == "created"
    assert (done["sqs-endpoint", None]["outcome"], done["sqs-endpoint", None]["id"]) == (
        "updated",
        sqs,
    )
    for resource in done.values():
        assert endpoints[resource["id"]]["service"] == resource["service"]
        assert resource["detail"]
    assert answer.logged == [result]


def test_endpoints_are_requested_as_mwaa_expects_them(function, vpc):
    answer = function.deliver(event("pending-private", vpc))

    creates = [call.parameters for call in answer.calls if call.action == "CreateVpcEndpoint"]
    assert len(creates) == 2
    for create in creates:
        assert create["VpcEndpointType"] == "Interface"
        assert "PrivateDnsEnabled" not in create
        assert 0 < len(create["ClientToken"]) <= 64
    assert creates[0]["ClientToken"] != creates[1]["ClientToken"]


def test_a_private_environment_costs_no_more_calls_than_it_must(function, vpc, sqs):
    answer = function.deliver(event("pending-private", vpc))

    assert sorted(answer.changes) == ["CreateVpcEndpoint", "CreateVpcEndpoint", "ModifyVpcEndpoint"]
    assert set(answer.actions) - set(answer.changes) <= {
        "DescribeSubnets",
        "DescribeVpcEndpoints",
        "DescribeSecurityGroups",
        "GetEnvironment",
    }


def test_a_public_web_server_needs_no_endpoint(aws, function, vpc, sqs):
    answer = function.deliver(event("pending-public", vpc))

    assert answer.ok, answer.error
    assert set(made(aws, vpc, sqs)) == {"database"}


def test_a_public_and_private_web_server_needs_its_endpoint(aws, function, vpc, sqs):
    answer = function.deliver(event("pending-public-and-private", vpc))

    assert answer.ok, answer.error
    assert set(made(aws, vpc, sqs)) == {"database", "webserver"}


def test_an_access_mode_not_known_yet_gets_the_named_web_server_and_a_warning(aws, function, vpc):
    answer = function.deliver(
        event("pending-private", vpc, webserverAccessMode="PUBLIC_ON_SUNDAYS")
    )

    assert answer.ok, answer.error
    assert set(made(aws, vpc)) == {"database", "webserver"}
    assert "PUBLIC_ON_SUNDAYS" in answer.value["warnings"][0]["message"]


def test_the_same_event_twice_makes_no_second_endpoint(aws, function, vpc, sqs):
    wanted = event("pending-private", vpc)
    assert function.deliver(wanted).ok
    before = aws.snapshot(vpc)

    again = function.deliver(wanted)

    assert again.ok, again.error
    assert again.changes == []
    assert aws.snapshot(vpc) == before
    assert again.value["outcome"] == "unchanged"
    assert {resource["outcome"] for resource in again.value["resources"]} == {"kept"}


def test_a_retry_makes_only_what_the_first_attempt_could_not(aws, function, vpc, sqs):
    wanted = event("pending-private", vpc)
    aws.proxy.fail("CreateVpcEndpoint", "VpcEndpointLimitExceeded", nth=2)
    failed = function.deliver(wanted)
    assert not failed.ok
    assert "VpcEndpointLimitExceeded" in failed.error
    assert len(made(aws, vpc, sqs)) == 1
    aws.proxy.clear()

    retry = function.deliver(wanted)

    assert retry.ok, retry.error
    assert retry.changes == ["CreateVpcEndpoint"]
    endpoints = aws.snapshot(vpc).endpoints
    assert len(endpoints) == 3
    assert set(made(aws, vpc, sqs)) == {"database", "webserver"}


def test_a_failed_endpoint_keeps_nothing_else_from_being_done(aws, function, vpc, sqs):
    aws.proxy.fail("CreateVpcEndpoint", "UnauthorizedOperation", status=403, times=2)

    answer = function.deliver(event("pending-private", vpc))

    assert not answer.ok
    assert answer.error.count("UnauthorizedOperation") >= 2, "each failure is named"
    assert "ec2:CreateVpcEndpoint" in answer.error, "and which permission is missing"
    assert len(aws.snapshot(vpc).endpoints[sqs]["policy"]["Statement"]) == 2


def test_somebody_elses_endpoint_is_kept_and_never_changed(aws, function, vpc):
    wanted = event("pending-private", vpc)
    service = wanted["detail"]["databaseVpcEndpointService"]
    theirs = aws.endpoint(vpc, service, subnets=vpc.subnets[:1])
    before = aws.snapshot(vpc).endpoints[theirs]

    answer = function.deliver(wanted)

    assert answer.ok, answer.error
    after = aws.snapshot(vpc)
    assert after.endpoints[theirs] == before
    assert set(after.of(service)) == {theirs}
    assert any(theirs in warning["message"] for warning in answer.value["warnings"])


def test_an_endpoint_of_ours_gets_the_subnet_that_it_lacks(aws, function, vpc):
    wanted = event("pending-public", vpc)
    assert function.deliver(wanted).ok
    (id,) = aws.snapshot(vpc).endpoints
    aws.ec2.modify_vpc_endpoint(VpcEndpointId=id, RemoveSubnetIds=vpc.subnets[1:])

    answer = function.deliver(wanted)

    assert answer.ok, answer.error
    assert aws.snapshot(vpc).endpoints[id]["subnets"] == sorted(vpc.subnets)


def test_a_deleted_endpoint_gets_one_successor(aws, function, vpc):
    wanted = event("pending-public", vpc)
    assert function.deliver(wanted).ok
    (first,) = aws.snapshot(vpc).endpoints
    aws.ec2.delete_vpc_endpoints(VpcEndpointIds=[first])

    answer = function.deliver(wanted)
    assert answer.ok, answer.error
    function.deliver(wanted)

    alive = [id for id, it in aws.snapshot(vpc).endpoints.items() if it["state"] == "available"]
    assert len(alive) == 1 and alive != [first]


def test_two_environments_have_endpoints_of_their_own(aws, function, vpc, sqs):
    for name in ("pending-private", "pending-public"):
        assert function.deliver(event(name, vpc)).ok

    names = {it["tags"].get("Name") for it in aws.snapshot(vpc).endpoints.values()}
    assert names == {None, "analytics-database", "analytics-webserver", "ingest-database"}


@pytest.mark.parametrize("name", ["creating", "pending-service-managed"])
def test_an_event_that_asks_for_nothing_makes_no_call(aws, function, vpc, sqs, name):
    before = aws.snapshot(vpc)

    answer = function.deliver(event(name, vpc))

    assert answer.ok, answer.error
    assert answer.calls == []
    assert aws.snapshot(vpc) == before
    assert answer.value["outcome"] == "ignored"
    assert answer.value["reason"]
    assert answer.logged == [answer.value]


def test_one_subnet_is_enough(aws, function, vpc, sqs):
    vpc.subnets = vpc.subnets[:1]

    answer = function.deliver(event("pending-private", vpc))

    assert answer.ok, answer.error
    assert {tuple(it["subnets"]) for it in made(aws, vpc, sqs).values()} == {tuple(vpc.subnets)}


def test_of_two_subnets_in_one_zone_the_first_is_used_with_a_warning(aws, function, vpc):
    second = aws.subnet(vpc.id, "10.192.30.0/24", "a")
    first = vpc.subnets[0]
    vpc.subnets = [first, second]

    answer = function.deliver(event("pending-public", vpc))

    assert answer.ok, answer.error
    (endpoint,) = made(aws, vpc).values()
    assert endpoint["subnets"] == [first]
    assert second in answer.value["warnings"][0]["message"]


def test_a_subnet_named_twice_is_one_subnet(aws, function, vpc):
    vpc.subnets = vpc.subnets * 2

    answer = function.deliver(event("pending-public", vpc))

    assert answer.ok, answer.error
    (endpoint,) = made(aws, vpc).values()
    assert endpoint["subnets"] == sorted(set(vpc.subnets))


def test_ones_own_tags_are_put_on_endpoints_too(aws, configured, vpc):
    function = configured(ENDPOINT_TAGS="team=data,cost-center=42")

    assert function.deliver(event("pending-public", vpc)).ok

    (endpoint,) = made(aws, vpc).values()
    assert (endpoint["tags"]["team"], endpoint["tags"]["cost-center"]) == ("data", "42")
    assert endpoint["tags"]["Name"] == "ingest-database"


def test_the_address_type_is_a_parameter(configured, vpc):
    function = configured(IP_ADDRESS_TYPE="dualstack")

    answer = function.deliver(event("pending-public", vpc))

    (create,) = [call.parameters for call in answer.calls if call.action == "CreateVpcEndpoint"]
    assert create["IpAddressType"] == "dualstack"
