"""Runs the test executables that a build named, as `cargo test` would: rust_tests.py MESSAGES

MESSAGES is what cargo said on the build, in JSON. With RESULTS set, the numbers of passed and
failed tests go to the file `rust.json` in that folder.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys


def executables(messages):
    """(package root, name, path) of every test executable, each once."""
    found = {}
    for line in pathlib.Path(messages).read_text().splitlines():
        message = json.loads(line) if line.startswith("{") else {}
        if message.get("executable") and message["profile"]["test"]:
            root = pathlib.Path(message["manifest_path"]).parent
            source = pathlib.Path(message["target"]["src_path"]).relative_to(root)
            found[message["executable"]] = (root, str(source), message["executable"])
    return sorted(found.values())


def run(root, name, executable):
    """Runs the tests of one executable and returns how many passed and failed."""
    print(f"\n{name}", flush=True)
    colour = ["--color", "always"] if sys.stdout.isatty() else []
    process = subprocess.Popen(
        [executable, *colour],
        cwd=root,
        env={**os.environ, "CARGO_MANIFEST_DIR": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    passed = failed = 0
    for line in process.stdout:
        if line.strip() and not line.startswith("running "):
            print(line, end="", flush=True)
        if counts := re.search(r"test result: .*?(\d+) passed; (\d+) failed", line):
            passed, failed = map(int, counts.groups())
    if process.wait() != 0 and failed == 0:
        print(f"{name} ended with {process.returncode}", flush=True)
        failed = 1
    return passed, failed


def main(messages):
    found = executables(messages)
    if not found:
        sys.exit("The build named no test executable.")
    # What the tests say of their calls is added to files, so that a single test does not undo what all said.
    shutil.rmtree(pathlib.Path(messages).parent / "tmp" / "calls", ignore_errors=True)
    counts = [run(*test) for test in found]
    passed, failed = (sum(column) for column in zip(*counts))
    print(f"\n{passed} passed, {failed} failed", flush=True)
    if folder := os.environ.get("RESULTS"):
        pathlib.Path(folder, "rust.json").write_text(json.dumps([passed, failed]))
    sys.exit(failed > 0)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
