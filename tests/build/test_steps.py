"""`make run` and `make test` make several targets, some beside others."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Instead of make: a target's name says what happens.
MAKE = """#!/bin/sh
for last; do :; done
case "$2" in
  slow*) sleep 0.6 ;;
  forever*) echo $$ > pid-$2; exec sleep 60 ;;
esac
echo "$2" >> made
echo "$2 says something"
case "$2" in *bad*) exit 1 ;; esac
"""


@pytest.fixture
def steps(tmp_path):
    (tmp_path / "make").write_text(MAKE)
    (tmp_path / "make").chmod(0o755)

    def start(*words):
        command = [sys.executable, ROOT / "tools" / "steps.py", *words[:-1], tmp_path / "make", "--", *words[-1].split()]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, cwd=tmp_path, start_new_session=True, **pipes)

    def run(*words):
        process = start(*words)
        output, _ = process.communicate(timeout=30)
        made = tmp_path / "made"
        return process.returncode, output, made.read_text().split() if made.exists() else []

    run.start, run.folder = start, tmp_path
    return run


def test_steps_follow_each_other_and_some_are_made_beside_the_others(steps):
    code, output, made = steps("slow& one two | three")
    assert (code, made) == (0, ["one", "two", "slow", "three"])
    assert output.endswith("0 passed, 0 failed\n")


def test_after_a_failure_the_others_are_made_all_the_same(steps):
    code, output, made = steps("bad one | two")
    assert (code, made) == (1, ["bad", "one", "two"])
    assert "Failed: bad" in output


@pytest.mark.parametrize("words", ["bad! one", "bad&! | one", "slow-bad&! one | two"])
def test_what_others_build_upon_must_not_fail(steps, words):
    code, output, made = steps(words)
    bad = next(word.rstrip("&!") for word in words.split() if "bad" in word)
    assert code == 1 and bad in made and made[-1] != "two"
    assert f"Failed: {bad}" in output


def test_what_is_made_beside_others_is_heard_only_if_it_fails(steps):
    assert "quiet says something" not in steps("quiet& one |")[1]
    assert "bad says something" in steps("bad& one |")[1]
    assert "one says something" in steps("one")[1]


def test_quiet_says_nothing_but_what_the_targets_say(steps):
    assert steps("--quiet", "slow& one |")[:2] == (0, "one says something\n")
    assert steps("--quiet", "bad! one")[0] == 1


@pytest.mark.parametrize("signalled", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("words", ["forever", "forever& forever2", "forever& one |"])
def test_nothing_is_left_running_when_it_is_told_to_stop(steps, words, signalled):
    process = steps.start(words)
    names = [word.rstrip("&") for word in words.split() if word.startswith("forever")]
    deadline = time.monotonic() + 20
    while not all((steps.folder / f"pid-{name}").exists() for name in names):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.2)
    if signalled == signal.SIGINT:  # Ctrl-C reaches all
        os.killpg(process.pid, signalled)
    else:
        process.send_signal(signalled)
    process.communicate(timeout=20)
    assert process.returncode != 0
    for name in names:
        pid = int((steps.folder / f"pid-{name}").read_text())
        for _ in range(100):
            if not pathlib.Path(f"/proc/{pid}").exists():
                break
            time.sleep(0.05)
        else:
            raise AssertionError(f"{name} still runs")
