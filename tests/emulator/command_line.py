"""`mwaa-vpc` as a person runs it: its profiles, its exit codes, and what it printed."""

import json
import os
import pathlib

from harness import AIRFLOW, PARTICIPANT, REGION

OF_OWNER = ("--owner-profile", "owner")
OF_PARTICIPANT = ("--environment-profile", "participant")
OF_BOTH = (*OF_OWNER, *OF_PARTICIPANT)
RIGHT, FINDINGS, USAGE, AWS = range(4)  # exit codes


def shell(aws, people, home):
    """The variables of a person's shell, with a profile for each account. `people` is the way to AWS."""
    iam = aws.client("iam", PARTICIPANT)
    iam.create_user(UserName="airflow")
    key = iam.create_access_key(UserName="airflow")["AccessKey"]["AccessKeyId"]
    credentials = pathlib.Path(home, "credentials")
    credentials.write_text(
        "[owner]\naws_access_key_id = testing\naws_secret_access_key = testing\n"
        f"[participant]\naws_access_key_id = {key}\naws_secret_access_key = testing\n"
    )
    address = f"http://127.0.0.1:{people.port}"
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": address,
        "AWS_ENDPOINT_URL_MWAA": AIRFLOW,
        "HTTP_PROXY": address,
        "NO_PROXY": "127.0.0.1",
    }


def said(run, code):
    """What it printed, if it ended so."""
    assert run.returncode == code, f"{run.returncode}\n{run.stdout}\n{run.stderr}"
    assert "panicked" not in run.stderr
    return run.stdout


def read(run, code=RIGHT):
    return json.loads(said(run, code))
