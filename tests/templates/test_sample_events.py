"""The sample events: well-formed, consistent in themselves, each malformed one wrong in exactly one way, all documented."""

import json
import re
from pathlib import Path

import pytest

EVENTS = Path(__file__).parents[2] / "events"
WELL_FORMED = sorted(EVENTS.glob("*.json"))
MALFORMED = sorted((EVENTS / "malformed").iterdir())


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
    assert status == {s: ("PENDING" if s.startswith("pending-") else s.upper()) for s in status}
    mode = {p.stem: json.loads(p.read_text())["detail"]["webserverAccessMode"] for p in WELL_FORMED}
    assert mode["pending-private"] == mode["pending-participant"] == "PRIVATE_ONLY"
    assert mode["pending-public"] == "PUBLIC_ONLY"
    assert mode["pending-public-and-private"] == "PUBLIC_AND_PRIVATE"
    accounts = {p.stem: json.loads(p.read_text())["account"] for p in WELL_FORMED}
    assert {s for s, a in accounts.items() if a != "111122223333"} == {"pending-participant"}
    assert accounts["pending-participant"] == "210987654321"


def test_no_two_samples_have_the_same_id():
    ids = [json.loads(p.read_text())["id"] for p in WELL_FORMED]
    assert len(set(ids)) == len(ids)


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
    assert sorted(documented) == sorted(names(WELL_FORMED) + names(MALFORMED))
