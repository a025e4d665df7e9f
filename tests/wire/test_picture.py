"""What `make run` shows: the picture of it is of a run as it is today, and it needs no more than is installed for it."""

import importlib.metadata
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import picture  # noqa: E402


def test_the_picture_shows_what_a_run_prints(binary):
    shown = picture.shown(picture.run(binary))

    old = picture.drawn((ROOT / "docs" / "run.svg").read_text())
    assert picture.compared(old) == picture.compared(shown), "docs/run.svg is out of date: make picture"


def test_the_doctors_picture_shows_what_it_prints(program):
    printed = picture.run(program, picture.SESSION)

    old = picture.drawn((ROOT / "docs" / "doctor.svg").read_text())
    assert picture.compared(old) == picture.compared(printed), "docs/doctor.svg is out of date: make picture"
    assert sum(line.startswith("fail ") for line in old) == 2


def test_a_run_imports_only_what_is_installed_for_it(binary):
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    installed = set(re.search(r"^EMULATOR := (.*)$", makefile, re.M)[1].split())

    done = subprocess.run(
        [sys.executable, "-X", "importtime", picture.DEMO, binary], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    modules = re.findall(r"^import time:[^|]*\|[^|]*\| +(\w+)", done.stderr, re.M)
    of = importlib.metadata.packages_distributions()
    needed = {name.lower().replace("_", "-") for module in modules for name in of.get(module, [])}
    assert "moto" in needed
    assert needed - {"setuptools"} <= installed, "python3 -m venv brings setuptools, or nobody"


def test_the_picture_of_lines_is_read_back_as_they_are():
    lines = ["$ make run", "  + created  <a> & b", "…", "", "All as promised."]

    assert picture.drawn(picture.draw(lines)) == [line for line in lines if line]


def test_pictures_are_the_same_but_for_ids_and_times_and_the_order_of_deletions():
    one = ["done  5 ms", "  - deleted  database  vpce-0123456789abcdef0", "  - deleted  web server", "end"]
    two = ["done 17 ms", "  - deleted  web server", "  - deleted  database  vpce-fedcba98765432100", "end"]

    assert picture.compared(one) == picture.compared(two)
    assert picture.compared(one) != picture.compared([*one, "more"])
