"""What `sam` makes of samconfig.toml: asked of the pinned sam itself, without AWS."""

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tomllib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAM = pathlib.Path(sys.prefix).parent / "sam" / "bin"


def sam(folder, *arguments):
    env = {**os.environ, "SAM_CLI_TELEMETRY": "0", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    return subprocess.run([SAM / "sam", *arguments], cwd=folder, env=env, capture_output=True, text=True)


def test_sam_deploy_without_sam_build_says_so_and_packs_nothing(tmp_path):
    for name in ("template.yaml", "samconfig.toml"):
        shutil.copy(ROOT / name, tmp_path)
    run = sam(tmp_path, "deploy", "--region", "us-east-1", "--no-confirm-changeset")
    assert run.returncode != 0
    assert ".aws-sam/build/template.yaml" in run.stdout + run.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"template.yaml", "samconfig.toml"}


PARSE = """
import json, sys
from samcli.cli.types import CfnParameterOverridesType
print(json.dumps(CfnParameterOverridesType().convert(tuple(json.loads(sys.argv[1])), None, None)))
"""


def parsed(*overrides):
    command = [SAM / "python", "-c", PARSE, json.dumps(overrides)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_parameters_with_blanks_arrive_whole_as_samconfig_writes_them():
    (example,) = re.findall(r"^#   (parameter_overrides = .*)$", (ROOT / "samconfig.toml").read_text(), re.M)
    text = tomllib.loads(example)["parameter_overrides"]
    assert parsed(text) == {
        "ReaderRole": "yes",
        "SweepSchedule": "rate(30 minutes)",
        "EndpointTags": "CostCenter=42,Owner=net work",
    }


def overrides():
    """The parameters of every `sam deploy` in README and docs, as a shell hands them over."""
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for block in re.findall(r"```sh\n(.*?)```", path.read_text(), re.S):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("sam deploy") and "--parameter-overrides" in line:
                    words = shlex.split(line, comments=True)
                    yield words[words.index("--parameter-overrides") + 1 :]


@pytest.mark.parametrize("words", list(overrides()), ids=" ".join)
def test_parameters_arrive_whole_as_the_documents_write_them(words):
    wanted = {name: value.strip('"') for name, value in (word.split("=", 1) for word in words)}
    assert parsed(*words) == wanted


def test_the_documents_show_how_a_blank_is_written():
    assert any(" " in word for words in overrides() for word in words)
