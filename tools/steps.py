"""Makes several targets in turn, says how long each took, and sums up: steps.py MAKE -- TARGET...

Goes on after a failed target, so that one run shows all that is wrong, but not after one written
with `!`, which the later ones build upon. The last line has the numbers of passed and failed tests.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

BOLD, RED, GREEN, PLAIN = (
    ("\033[1m", "\033[31m", "\033[32m", "\033[0m") if sys.stdout.isatty() else [""] * 4
)


def step(command):
    """Runs a command to its end, also when we are told to stop meanwhile, and returns its code."""
    process = subprocess.Popen(command)
    # Ctrl-C reaches the command too, but SIGTERM may be sent to us alone.
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    interrupted = False
    while True:
        try:
            code = process.wait()
            break
        except KeyboardInterrupt:
            interrupted = True
    if interrupted:
        sys.exit(130)
    if code < 0:
        sys.exit(128 - code)
    return code


def counts(results):
    """The numbers of passed and failed tests in the files that the steps left."""
    passed = failed = 0
    for file in results.glob("*.json"):
        more = json.loads(file.read_text())
        passed, failed = passed + more[0], failed + more[1]
    for file in results.glob("*.xml"):
        suite = xml.etree.ElementTree.parse(file).getroot().find("testsuite")
        tests, bad, errors, skipped = (
            int(suite.get(key)) for key in ("tests", "failures", "errors", "skipped")
        )
        passed, failed = passed + tests - bad - errors - skipped, failed + bad + errors
    return passed, failed


def main(make, targets):
    os.environ.pop("MAKELEVEL", None)  # so that make does not number its messages
    broken = []
    with tempfile.TemporaryDirectory() as results:
        for number, target in enumerate(targets, 1):
            name = target.rstrip("!")
            heading = f"{BOLD}[{number}/{len(targets)}] {name}{PLAIN}"
            print(heading, flush=True)
            began = time.monotonic()
            code = step([*make, "--no-print-directory", name, f"RESULTS={results}"])
            seconds = time.monotonic() - began
            verdict = f"{RED}failed{PLAIN}" if code else f"{GREEN}ok{PLAIN}"
            print(f"{heading}: {verdict}, {seconds:.1f} s\n", flush=True)
            if code:
                broken.append(name)
                if target.endswith("!"):
                    break
        passed, failed = counts(pathlib.Path(results))
    if broken:
        print(f"{RED}Failed: {', '.join(broken)}{PLAIN}")
    print(f"{passed} passed, {failed} failed", flush=True)
    sys.exit(bool(broken))


if __name__ == "__main__":
    separator = sys.argv.index("--")
    main(sys.argv[1:separator], sys.argv[separator + 1 :])
