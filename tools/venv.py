"""Makes a virtual environment unless it is there already: venv.py FOLDER REQUIREMENTS [FIRST...]

REQUIREMENTS names every package of the whole tree, each in one version and with the hashes of its files. cargo-lambda and
zig, which make what is deployed, come this way. So pip may take nothing else, look for nothing by itself, and run nobody's
code while it installs: wheels only. With FIRST, only these packages need to be there afterwards: a build can begin with
them while the others are installed.
"""

import pathlib
import re
import shutil
import subprocess
import sys


def main(folder, requirements, *first):
    folder = pathlib.Path(folder)
    python, made_from = folder / "bin" / "python", folder / "made-from"
    text = pathlib.Path(requirements).read_text()
    wanted = made_for_this(text)
    begun_with, first_wanted = folder / "begun-with", made_for_this(entries(text, first))
    is_usable = works(python) and all(of_this_python(mark) for mark in (made_from, begun_with))
    if is_usable and (is_there(made_from, wanted) or first and is_there(begun_with, first_wanted)):
        return
    try:
        import ensurepip  # noqa: F401  Debian packages it and venv on their own
        import venv  # noqa: F401
    except ImportError:
        sys.exit(
            f"{sys.executable} cannot make virtual environments: install its venv module "
            "(Debian, Ubuntu: apt install python3-venv)"
        )
    print(f"Installing {' and '.join(first) or requirements} into {folder}", flush=True)
    if not is_usable:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    made_from.unlink(missing_ok=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    exactly = ["--require-hashes", "--no-deps", "--only-binary", ":all:"]
    mark, asked = made_from, requirements
    if first:
        mark, wanted, asked = begun_with, first_wanted, folder / "begin-with.txt"
        asked.write_text(entries(text, first))
    mark.unlink(missing_ok=True)
    subprocess.run([*pip, *exactly, "--requirement", asked], check=True)
    mark.write_text(wanted)


def made_for_this(text):
    """What an environment of these requirements is marked with."""
    return f"# Python {sys.version}\n{text}"


def of_this_python(mark):
    """Whether an environment with this mark, if it is marked at all, was made by the Python that runs here."""
    return not mark.exists() or mark.read_text().startswith(made_for_this(""))


def is_there(mark, wanted):
    return mark.exists() and mark.read_text() == wanted


def entries(text, names):
    """The requirements of these names, with their hashes."""
    found = [it for it in re.split(r"\n(?=\S)", text.strip()) if it.split("==")[0] in names]
    if len(found) != len(names):
        sys.exit(f"not all of {', '.join(names)} are required")
    return "".join(f"{it}\n" for it in found)


def works(python):
    """Whether the environment's python runs: the one it links to may be gone."""
    return python.exists() and subprocess.run([python, "-c", "import pip"]).returncode == 0


if __name__ == "__main__":
    if sys.version_info < (3, 10):
        sys.exit(f"{sys.executable} is Python {sys.version.split()[0]}; 3.10 or later is needed")
    try:
        main(*sys.argv[1:])
    except subprocess.CalledProcessError as failed:
        sys.exit(f"{' '.join(map(str, failed.cmd))} failed")
