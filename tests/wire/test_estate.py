"""What is told of many environments: short lines, of which each can be found, and never the same again."""

import json

import pytest
from harness import OWNER, event

SWEEP = {"sweep": True}
COUNT = 40


@pytest.fixture
def estate(aws, mwaa, vpc, sqs):
    """The events of environments that wait, of which MWAA knows."""
    events = [environment_event(vpc, number) for number in range(COUNT)]
    for it in events:
        mwaa.put(it)
    return events


def environment_event(vpc, number):
    made = event("pending-private", vpc)
    made["detail"]["name"] = f"environment-{number:03}"
    made["resources"] = [f"arn:aws:airflow:us-east-1:{OWNER}:environment/environment-{number:03}"]
    detail = made["detail"]
    for role in ("database", "webserver"):
        detail[f"{role}VpcEndpointService"] += f"{number:03x}"
    detail["celeryExecutorQueue"] += f"-{number:03}"
    return made


def lines(answer):
    return [json.loads(line) for line in answer.log.splitlines() if line.startswith("{")]


def test_each_environment_is_a_line_of_the_log_and_the_sweep_a_short_one(estate, function):
    answer = function.deliver(SWEEP)

    assert answer.ok, answer.error
    assert answer.value["reached"] == COUNT and answer.value["notReached"] == 0
    told = [line["result"]["environment"] for line in lines(answer) if "result" in line]
    assert sorted(told) == sorted(it["resources"][0] for it in estate)
    (sweep,) = [line for line in lines(answer) if "sweep" in line]
    assert sweep["message"] == "sweep" and len(json.dumps(sweep)) < 1000
    assert sweep["sweep"]["changed"] == COUNT and sweep["sweep"]["failed"] == 0


def test_all_lines_of_a_sweep_are_found_by_its_request(estate, function):
    answers = [function.deliver(SWEEP) for _ in range(2)]

    requests = [{line.get("requestId") for line in lines(answer)} for answer in answers]
    assert all(len(ids) == 1 and None not in ids for ids in requests), requests
    assert requests[0] != requests[1]


def test_whatever_happens_lines_and_results_stay_short(aws, estate, function):
    aws.proxy.fail("CreateVpcEndpoint", "X" * 5000, times=10_000, status=403)

    answer = function.deliver(SWEEP)

    assert answer.ok, answer.error
    assert max(map(len, answer.log.splitlines())) <= 100_000
    size = len(json.dumps(answer.value, separators=(",", ":")))
    assert size <= 32 * 1024
    shown = len(answer.value["environments"])
    assert answer.value["cut"]["environments"] == COUNT - shown
    assert answer.value["environments"][0]["outcome"] == "failed"
    told = [line for line in lines(answer) if "result" in line]
    assert len(told) == COUNT and all(line["level"] == "ERROR" for line in told)


def test_what_lasts_is_not_told_again_in_the_log(aws, estate, function):
    aws.proxy.fail("CreateVpcEndpoint", "UnauthorizedOperation", times=10_000, status=403)

    first, second = (function.deliver(SWEEP) for _ in range(2))
    levels = [line["level"] for line in lines(second) if line["message"] not in ("metrics", "waiting")]
    assert "ERROR" in [line["level"] for line in lines(first)]
    assert levels == ["INFO"], levels
    (sweep,) = [line for line in lines(second) if line["message"] == "sweep"]
    assert sweep["sweep"]["failed"] == COUNT and sweep["sweep"]["lasting"] >= COUNT

    aws.proxy.clear()
    third = function.deliver(SWEEP)
    ended = [line["message"] for line in lines(third) if "no longer so" in line["message"]]
    assert any("UnauthorizedOperation" in it for it in ended), ended
    assert third.value["lasting"] == 0 or third.value["ended"]


def test_an_error_of_one_environment_stays_short(aws, function, vpc, sqs):
    """Many resources fail, and each has much to say."""
    aws.proxy.fail("CreateVpcEndpoint", "Y" * 300_000, times=100, status=403)

    answer = function.deliver(event("pending-private", vpc))

    assert not answer.ok and len(answer.error) <= 32 * 1024
    assert "Y" * 201 not in answer.error + answer.log
