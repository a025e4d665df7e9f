"""What is told of answers that are not as they should be: a sentence, and no secret that is in them."""

import json

import pytest
from harness import PARTICIPANT, event, later

SECRET = "correct-horse-battery-staple"
# Once is enough: what is told does not depend on how often it was tried.
ROLE = {
    "READER_ROLE": "mwaa-reader",
    "PARTICIPANT_ACCOUNTS": PARTICIPANT,
    "AWS_MAX_ATTEMPTS": "1",
}
ANSWER = {
    "Name": "analytics",
    "Arn": "arn:aws:airflow:us-east-1:111122223333:environment/analytics",
    "Status": "AVAILABLE",
    "AirflowConfigurationOptions": {"smtp.smtp_password": SECRET},
}
KEYS = f"<SecretAccessKey>{SECRET}</SecretAccessKey><SessionToken>{SECRET}</SessionToken>"

# Per call, answers that somebody reads: cut off, of wrong types, or of a machine in between.
BROKEN = {
    "GetEnvironment": [
        json.dumps({"Environment": {**ANSWER, "CreatedAt": "2026-03-04T10:02:11Z"}}),
        json.dumps({"Environment": {**ANSWER, "MaxWorkers": "10"}}),
        json.dumps({"Environment": {**ANSWER, "Tags": [1]}}),
        json.dumps({"Environment": {**ANSWER, "Arn": SECRET}}),
        json.dumps({"Environment": ANSWER})[:-20],
        f"<html>{SECRET}</html>",
    ],
    "ListEnvironments": [
        json.dumps({"Environments": [{"Name": SECRET}]}),
        f'{{"Environments": ["{SECRET}',
        f"<html>{SECRET}</html>",
    ],
    "AssumeRole": [
        f"<AssumeRoleResponse><AssumeRoleResult><Credentials>{KEYS}<Expiration>x</Expiration>"
        "</Credentials></AssumeRoleResult></AssumeRoleResponse>",
        f"<AssumeRoleResponse><AssumeRoleResult><Credentials>{KEYS}",
        f"<html>{SECRET}</html>",
    ],
    "DescribeSubnets": [
        f"<DescribeSubnetsResponse><subnetSet><item><subnetId>{SECRET}</subnetId>",
        f"<html>{SECRET}</html>",
    ],
    "CreateVpcEndpoint": [f"<html>{SECRET}</html>", f"<CreateVpcEndpointResponse>{SECRET}"],
}


def cases():
    for action, answers in BROKEN.items():
        for number, answer in enumerate(answers):
            for status in (200, 502):
                yield pytest.param(action, status, answer, id=f"{action}-{number}-{status}")


@pytest.mark.parametrize(("action", "status", "answer"), list(cases()))
def test_no_secret_in_an_answer_is_ever_told(
    aws, mwaa, configured, vpc, sqs, action, status, answer
):
    function = configured(**ROLE)
    groups = [aws.group(vpc.id, "airflow", PARTICIPANT)]
    own, guest = event("pending-private", vpc), event("pending-participant", vpc, groups)
    mwaa.put(own)
    mwaa.put(guest)
    function.deliver(own)
    service = "com.amazonaws.vpce.us-east-1.vpce-svc-0ff00ff00ff00ff00"
    for payload in (
        {"sweep": True},
        later(guest, "AVAILABLE", databaseVpcEndpointService=service),
        later(own, "AVAILABLE", databaseVpcEndpointService=service),
    ):
        aws.proxy.fail(action, "", status=status, times=50, content=answer.encode())
        told = function.deliver(payload)
        aws.proxy.faults.clear()

        text = json.dumps(told.value) + told.error + told.log
        assert SECRET not in text
        # Nor anything of the Rust values that an error is made of.
        assert "Error {" not in text and "SdkBody" not in text and "Some(" not in text


def test_a_proxys_answer_is_told_by_its_status(aws, function, vpc):
    aws.proxy.fail("CreateVpcEndpoint", "", status=502, times=50, content=b"<html>Bad Gateway</html>")

    told = function.deliver(event("pending-private", vpc))

    assert not told.ok
    assert "CreateVpcEndpoint" in told.error and "502" in told.error
    assert "<html>" not in told.error
