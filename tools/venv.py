"""Makes a virtual environment unless it is there already: venv.py FOLDER REQUIREMENTS

REQUIREMENTS names every package of the whole tree, each in one version and with the hashes of its files. cargo-lambda and
zig, which make what is deployed, come this way. So pip may take nothing else, look for nothing by itself, and run nobody's
code while it installs: wheels only.
"""

import pathlib
import shutil
import subprocess
import sys


def main(folder, requirements):
    folder = pathlib.Path(folder)
    python, made_from = folder / "bin" / "python", folder / "made-from"
    wanted = f"# Python {sys.version}\n{pathlib.Path(requirements).read_text()}"
    if made_from.exists() and made_from.read_text() == wanted and works(python):
        return
    try:
        import ensurepip  # noqa: F401  Debian packages it and venv on their own
        import venv  # noqa: F401
    except ImportError:
        sys.exit(
            f"{sys.executable} cannot make virtual environments: install its venv module "
            "(Debian, Ubuntu: apt install python3-venv)"
        )
    print(f"Installing {requirements} into {folder}", flush=True)
    if not works(python):
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    made_from.unlink(missing_ok=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    exactly = ["--require-hashes", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*pip, *exactly, "--requirement", requirements], check=True)
    made_from.write_text(wanted)


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
