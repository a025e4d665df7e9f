"""The sample events and other payloads: well-formed, consistent in themselves and with each other, each malformed one
wrong in exactly one way, all documented."""

import datetime
import json
import re
from pathlib import Path

import botocore.session
import pytest
from botocore.stub import Stubber

EVENTS = Path(__file__).parents[2] / "events"
OTHER_PAYLOADS = {"sweep.json", "get-environment.json", "dry-run.json"}  # what EventBridge delivers from no event
WELL_FORMED = sorted(p for p in EVENTS.glob("*.json") if p.name not in OTHER_PAYLOADS)
MALFORMED = sorted((EVENTS / "malformed").iterdir())


def payload(name):
    return json.loads((EVENTS / f"{name}.json").read_text())


def names(paths):
    return [p.name for p in paths]


@pytest.mark.parametrize("path", WELL_FORMED, ids=names(WELL_FORMED))
def test_a_sample_event_is_what_mwaa_sends(path):
    event = json.loads(path.read_text())
    account, region, detail = event["account"], event["region"], event["detail"]
    assert list(event) == ["version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"]
    assert (event["source"], event["detail-type"]) == ("aws.airflow", "MWAA Environment Status Change")
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", event["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", event["time"])
    assert re.fullmatch(r"[a-zA-Z][0-9a-zA-Z_-]{0,79}", detail["name"])
    assert event["resources"] == [f"arn:aws:airflow:{region}:{account}:environment/{detail['name']}"]
    assert re.fullmatch(rf"arn:aws:sqs:{region}:555555555555:airflow-celery-[0-9a-f-]{{36}}", detail["celeryExecutorQueue"])
    services = [detail["databaseVpcEndpointService"]]
    if detail["webserverAccessMode"] == "PUBLIC_ONLY":
        assert "webserverVpcEndpointService" not in detail
    else:
        services.append(detail["webserverVpcEndpointService"])
    assert len(set(services)) == len(services)
    for service in services:
        assert re.fullmatch(rf"com\.amazonaws\.vpce\.{region}\.vpce-svc-[0-9a-f]{{17}}", service)
    network = detail["networkConfiguration"]
    assert len(set(network["subnetIds"])) == 2
    assert all(re.fullmatch(r"subnet-[0-9a-f]{17}", s) for s in network["subnetIds"])
    assert network["securityGroupIds"]
    assert all(re.fullmatch(r"sg-[0-9a-f]{17}", g) for g in network["securityGroupIds"])


def test_the_samples_say_by_their_names_what_they_are():
    status = {p.stem: json.loads(p.read_text())["detail"]["status"] for p in WELL_FORMED}
    assert status == {s: ("PENDING" if s.startswith("pending-") else s.upper().replace("-", "_")) for s in status}
    mode = {p.stem: json.loads(p.read_text())["detail"]["webserverAccessMode"] for p in WELL_FORMED}
    assert mode["pending-private"] == mode["pending-participant"] == "PRIVATE_ONLY"
    assert mode["pending-public"] == "PUBLIC_ONLY"
    assert mode["pending-public-and-private"] == "PUBLIC_AND_PRIVATE"
    accounts = {p.stem: json.loads(p.read_text())["account"] for p in WELL_FORMED}
    assert {s for s, a in accounts.items() if a != "111122223333"} == {"pending-participant"}
    assert accounts["pending-participant"] == "210987654321"


def test_there_is_a_sample_of_every_status_that_means_something(statuses):
    assert {json.loads(p.read_text())["detail"]["status"] for p in WELL_FORMED} == {*statuses, "CREATING"}


def test_samples_of_one_environment_tell_one_story():
    """In the order in which they happen; only the update changes anything, and it adds a group."""
    for story in (
        ["creating", "pending-private", "available", "updating", "update-failed", "unavailable", "deleted"],
        ["pending-public-and-private", "create-failed"],
    ):
        told = [payload(name) for name in story]
        assert [e["time"] for e in told] == sorted({e["time"] for e in told})
        stay = ["name", "celeryExecutorQueue", "databaseVpcEndpointService", "webserverVpcEndpointService"]
        assert len({tuple(e["detail"][k] for k in stay) for e in told}) == 1
        groups = {name: e["detail"]["networkConfiguration"]["securityGroupIds"] for name, e in zip(story, told)}
        for name in story:
            assert groups[name][0] == groups[story[0]][0] and len(groups[name]) == (2 if name == "updating" else 1)
    began, ended = (datetime.datetime.fromisoformat(e["time"]) for e in told)  # of the failed creation
    assert ended - began >= datetime.timedelta(hours=72)


def test_no_two_samples_have_the_same_id():
    ids = [json.loads(p.read_text())["id"] for p in WELL_FORMED]
    assert len(set(ids)) == len(ids)


# ---- other payloads ----------------------------------------------------------------------------------------------------


def test_the_sweeps_payload_is_what_the_schedule_sends(render):
    (rule,) = [r for r in render("template.yaml").of_type("AWS::Events::Rule").values() if "ScheduleExpression" in r]
    assert [json.loads(t["Input"]) for t in rule["Targets"]] == [payload("sweep")] == [{"sweep": True}]
    assert payload("sweep")["sweep"] is True  # and not 1, which Python takes for the same


def test_a_dry_run_is_an_event_with_one_word_beside():
    assert payload("dry-run") == payload("pending-private") | {"dryRun": True}


def test_the_answer_of_get_environment_is_one_that_mwaa_gives():
    """Against MWAA's API model: no unknown or misspelt field, and fields of the right types, in the model's order."""
    mwaa = botocore.session.get_session().create_client("mwaa", "us-east-1")
    answer = payload("get-environment")
    with Stubber(mwaa) as stubber:
        stubber.add_response("get_environment", answer)
        mwaa.get_environment(Name="analytics")
        with pytest.raises(Exception, match="Unknown parameter"):
            stubber.add_response("get_environment", {"Environment": answer["Environment"] | {"Queue": "x"}})
    members = list(mwaa.meta.service_model.shape_for("Environment").members)
    order = [members.index(field) for field in answer["Environment"]]
    assert order == sorted(order)
    created = datetime.datetime.fromisoformat(answer["Environment"]["CreatedAt"])  # as the AWS CLI prints it
    assert created.tzinfo and created < datetime.datetime.fromisoformat(payload("pending-private")["time"])


def test_the_answer_of_get_environment_says_the_same_as_the_event():
    event, answer = payload("pending-private"), payload("get-environment")["Environment"]

    def pascal(value):
        return {k[0].upper() + k[1:]: pascal(v) for k, v in value.items()} if isinstance(value, dict) else value

    said = pascal(event["detail"])
    assert {k: answer[k] for k in said} == said
    assert answer["Arn"] == event["resources"][0]
    assert answer["EndpointManagement"] == "CUSTOMER"


# ---- malformed events and the description ------------------------------------------------------------------------------


def differences(a, b, path=""):
    if isinstance(a, dict) and isinstance(b, dict):
        return [d for k in a.keys() | b.keys() for d in differences(a.get(k), b.get(k), f"{path}.{k}")]
    return [] if a == b else [path]


@pytest.mark.parametrize("path", MALFORMED, ids=names(MALFORMED))
def test_a_malformed_event_is_wrong_in_exactly_one_way(path):
    if path.name == "not-json.txt":
        with pytest.raises(json.JSONDecodeError):
            json.loads(path.read_text())
        return
    good = json.loads((EVENTS / "pending-private.json").read_text())
    assert len(differences(good, json.loads(path.read_text()))) == 1


def test_every_file_is_documented_and_every_documented_file_is_there():
    text = (EVENTS / "README.md").read_text()
    documented = re.findall(r"^\| ((?:`[^`]+\.(?:json|txt)`(?:, )?)+)", text, re.MULTILINE)
    documented = [name for cell in documented for name in re.findall(r"`([^`]+)`", cell)]
    assert sorted(documented) == sorted([*names(WELL_FORMED), *names(MALFORMED), *OTHER_PAYLOADS])
