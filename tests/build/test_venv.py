"""A virtual environment gets what is missing, once, whoever asks for which part."""

import importlib.util
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# By its path: Python has a module of this name.
spec = importlib.util.spec_from_file_location("tools_venv", ROOT / "tools" / "venv.py")
tools_venv = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tools_venv)

ONE = "one==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:ab\n"
OLD, NEW = "two==1.0 ; python_version < '3' \\\n    --hash=sha256:ba\n", "two==2.0 \\\n    --hash=sha256:bb\n"
THREE = "three==3.0 \\\n    --hash=sha256:ca\n"


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Makes it from requirements, and says what pip was asked for; nothing if it was not."""
    asked, folder = [], tmp_path / "tools"

    def run(command, **_):
        if "-m" in command and "venv" in command:
            (folder / "bin").mkdir(parents=True)
            (folder / "bin" / "python").touch()
        elif "pip" in command:
            asked.append(pathlib.Path(command[-1]).read_text())
            if made.fails:
                raise subprocess.CalledProcessError(1, command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(tools_venv.subprocess, "run", run)

    def made(text, *first):
        asked.clear()
        (tmp_path / "requirements.txt").write_text(text)
        tools_venv.main(folder, tmp_path / "requirements.txt", *first)
        return "".join(asked)

    made.fails = False
    return made


def test_a_part_is_installed_first_and_the_rest_when_it_is_needed(made):
    text = ONE + OLD + NEW + THREE

    assert made(text, "one") == ONE
    assert made(text, "one") == ""
    assert made(text, "one", "two") == OLD + NEW
    assert made(text) == THREE
    assert made(text) == "" == made(text, "three")


def test_what_is_required_in_another_version_is_installed_again(made):
    made(ONE + NEW + THREE)

    assert made(ONE + NEW.replace("2.0", "2.1") + THREE, "one") == ""
    assert made(ONE + NEW.replace("2.0", "2.1") + THREE) == NEW.replace("2.0", "2.1")


def test_after_an_installation_that_failed_nothing_is_taken_for_done(made):
    made(ONE + NEW, "one")
    made.fails = True
    with pytest.raises(subprocess.CalledProcessError):
        made(ONE + NEW)
    made.fails = False

    assert made(ONE + NEW) == ONE + NEW


def test_the_environment_of_another_python_is_made_anew(made, monkeypatch):
    made(ONE)
    monkeypatch.setattr(sys, "version", "3.99.0\n[of another]")

    assert made(ONE) == ONE
    assert made(ONE) == ""


def test_what_is_not_required_cannot_be_a_part(made):
    with pytest.raises(SystemExit, match="four"):
        made(ONE, "four")
