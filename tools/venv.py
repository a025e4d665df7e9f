"""Makes a virtual environment unless it is there already: venv.py FOLDER REQUIREMENTS [FIRST...]

REQUIREMENTS names every package of the whole tree, each in one version and with the hashes of its files. cargo-lambda and
zig, which make what is deployed, come this way. So pip may take nothing else, look for nothing by itself, and run nobody's
code while it installs: wheels only. With FIRST, only these packages need to be there afterwards: a build can begin with
them while the others are installed.
"""

import contextlib
import fcntl
import pathlib
import re
import shutil
import subprocess
import sys


def main(folder, requirements, *first):
    folder = pathlib.Path(folder)
    python, made_from, begun_with = (folder / it for it in ("bin/python", "made-from", "begun-with"))
    wanted = entries(pathlib.Path(requirements).read_text())
    if not set(first) <= wanted.keys():
        sys.exit(f"not all of {', '.join(first)} are required")
    is_usable = works(python) and all(of_this_python(mark) for mark in (made_from, begun_with))
    there = (there_from(begun_with) | there_from(made_from)) if is_usable else {}
    missing = {it: wanted[it] for it in first or wanted if there.get(it) != wanted[it]}
    if not missing and (first or made_from.exists()):
        return
    try:
        import ensurepip  # noqa: F401  Debian packages it and venv on their own
        import venv  # noqa: F401
    except ImportError:
        sys.exit(
            f"{sys.executable} cannot make virtual environments: install its venv module "
            "(Debian, Ubuntu: apt install python3-venv)"
        )
    names = " and ".join(missing) if len(missing) < 4 else f"{len(missing)} packages"
    print(f"Installing {names if first else requirements} into {folder}", flush=True)
    if not is_usable:
        # make finds the environment's own python first, which is about to go.
        outside = getattr(sys, "_base_executable", sys.executable)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([outside, "-m", "venv", folder], check=True)
    for mark in (made_from, begun_with):
        mark.unlink(missing_ok=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    exactly = ["--require-hashes", "--no-deps", "--only-binary", ":all:"]
    asked = folder / "asked.txt"
    asked.write_text("".join(missing.values()))
    if missing:
        subprocess.run([*pip, *exactly, "--requirement", asked], check=True)
    (begun_with if first else made_from).write_text(made_for_this("".join((there | missing).values())))


@contextlib.contextmanager
def alone(folder):
    """Keeps others who would make the same environment at once waiting."""
    folder = pathlib.Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / f"{folder.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def made_for_this(text):
    """What an environment of these requirements is marked with."""
    return f"# Python {' '.join(sys.version.split())}\n{text}"


def of_this_python(mark):
    """Whether an environment with this mark, if it is marked at all, was made by the Python that runs here."""
    return not mark.exists() or mark.read_text().startswith(made_for_this(""))


def there_from(mark):
    """The requirements that an environment with this mark has."""
    return entries(mark.read_text()) if mark.exists() else {}


def entries(text):
    """Requirements by name, with their hashes. A name may have several, for one Python each."""
    found = {}
    for entry in re.findall(r"^[^\s#].*\n(?:[ \t].*\n)*", text, re.MULTILINE):
        name = entry.split("==")[0]
        found[name] = found.get(name, "") + entry
    return found


def works(python):
    """Whether the environment's python runs: the one it links to may be gone."""
    return python.exists() and subprocess.run([python, "-c", "import pip"]).returncode == 0


if __name__ == "__main__":
    if sys.version_info < (3, 10):
        sys.exit(f"{sys.executable} is Python {sys.version.split()[0]}; 3.10 or later is needed")
    try:
        with alone(sys.argv[1]):
            main(*sys.argv[1:])
    except subprocess.CalledProcessError as failed:
        sys.exit(f"{' '.join(map(str, failed.cmd))} failed")
