"""`mwaa-vpc` as a person runs it: its profiles, its exit codes, and what it printed."""

import json

OF_OWNER = ("--owner-profile", "owner")
OF_PARTICIPANT = ("--environment-profile", "participant")
OF_BOTH = (*OF_OWNER, *OF_PARTICIPANT)
RIGHT, FINDINGS, USAGE, AWS = range(4)  # exit codes


def said(run, code):
    """What it printed, if it ended so."""
    assert run.returncode == code, f"{run.returncode}\n{run.stdout}\n{run.stderr}"
    assert "panicked" not in run.stderr
    return run.stdout


def read(run, code=RIGHT):
    return json.loads(said(run, code))
