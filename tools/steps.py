"""Makes several targets, says how long each took, and sums up: steps.py [--quiet] MAKE -- STEP...

A step is a target. Written with `&` it is made beside those that follow, up to the next `|`, where it is waited for; what
it says is shown only if it fails. It gives way to them, unless it is written with `&&`. Written with `!`, the later ones build upon it: if it fails they are not made. All
others go on after a failure, so that one run shows all that is wrong. The last line has the numbers of passed and failed
tests; with --quiet there is nothing but what the targets say, and how long the first build will take.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree

BOLD, RED, GREEN, PLAIN = (
    ("\033[1m", "\033[31m", "\033[32m", "\033[0m") if sys.stdout.isatty() else [""] * 4
)
# How often somebody who waits is told that it goes on, in seconds.
REMINDER = 60


class Step:
    """A target that is being made."""

    def __init__(self, name, command, beside, gives_way, results):
        self.name, self.began = name, time.monotonic()
        self.output = open(results / f"{name}.log", "w+b") if beside else None
        # Tests that wait come first, and compiling fills the gaps.
        nice = ["nice", "-n", "10"] if gives_way else []
        self.process = subprocess.Popen(
            [*nice, *command], stdout=self.output, stderr=self.output and subprocess.STDOUT
        )

    def finish(self):
        """Waits, tells what was said meanwhile if it failed, and returns the code."""
        code = self.process.wait()
        if self.output:
            self.output.seek(0)
            text = self.output.read().decode(errors="replace")
            self.output.close()
            print(text if code else "", end="", flush=True)
        return code


class Steps:
    """All of them, in order."""

    def __init__(self, make, steps, quiet, results):
        self.make, self.steps, self.quiet, self.results = make, steps, quiet, results
        self.began = time.monotonic()
        self.count = sum(it != "|" for it in steps)
        self.broken, self.beside, self.now = [], [], None
        self.must_stop = False
        self.interrupted = False
        signal.signal(signal.SIGTERM, lambda *_: self.end())

    def end(self):
        """Tells all that runs to end: Ctrl-C reaches it too, but SIGTERM may be sent to us alone."""
        self.interrupted = True
        for step in [*self.beside, *([self.now] if self.now else [])]:
            step.process.terminate()

    def finish(self, step, must):
        while True:
            try:
                code = step.finish()
                break
            except KeyboardInterrupt:
                self.interrupted = True
        if self.interrupted:
            self.end()
            for other in self.beside:
                other.process.wait()
            sys.exit(130)
        if code < 0:
            self.end()
            sys.exit(128 - code)
        seconds = time.monotonic() - step.began
        verdict = f"{RED}failed{PLAIN}" if code else f"{GREEN}ok{PLAIN}"
        if not self.quiet:
            print(f"{BOLD}{step.name}{PLAIN}: {verdict}, {seconds:.1f} s\n", flush=True)
        elif code:
            print(f"{RED}Failed: {step.name}{PLAIN}", flush=True)
        if code:
            self.broken.append(step.name)
            self.must_stop |= must

    def remind(self, ended):
        """Says every minute what is at work, for somebody who looks at a line that does not move."""
        while not ended.wait(REMINDER):
            names = [it.name for it in [*self.beside, *([self.now] if self.now else [])] if it.process.poll() is None]
            minutes, seconds = divmod(round(time.monotonic() - self.began), 60)
            print(f"  … {minutes} min {seconds:02} s: {', '.join(names)}", flush=True)

    def wait(self, musts):
        for step in self.beside:
            self.finish(step, step.name in musts)
        self.beside = []

    def run(self):
        ended, musts = threading.Event(), set()
        threading.Thread(target=self.remind, args=(ended,), daemon=True).start()
        number = 0
        try:
            for word in [*self.steps, "|"]:
                if self.must_stop and word != "|":
                    continue
                if word == "|":
                    self.wait(musts)
                    continue
                number += 1
                name = word.rstrip("!&")
                beside = "&" in word
                if "!" in word:
                    musts.add(name)
                if not self.quiet:
                    how = ", beside what follows" if beside else ""
                    print(f"{BOLD}[{number}/{self.count}] {name}{PLAIN}{how}", flush=True)
                command = [*self.make, "--no-print-directory", name, f"RESULTS={self.results}"]
                step = Step(name, command, beside, beside and "&&" not in word, self.results)
                if beside:
                    self.beside.append(step)
                else:
                    self.now = step
                    self.finish(step, name in musts)
                    self.now = None
        finally:
            ended.set()
        return self.broken


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


def main(make, steps, quiet):
    os.environ.pop("MAKELEVEL", None)  # so that make does not number its messages
    with tempfile.TemporaryDirectory() as folder:
        results = pathlib.Path(folder)
        broken = Steps(make, steps, quiet, results).run()
        passed, failed = counts(results)
    if not quiet:
        if broken:
            print(f"{RED}Failed: {', '.join(broken)}{PLAIN}")
        print(f"{passed} passed, {failed} failed", flush=True)
    sys.exit(bool(broken))


if __name__ == "__main__":
    arguments = sys.argv[1:]
    quiet = arguments[0] == "--quiet"
    separator = arguments.index("--")
    main(arguments[quiet:separator], arguments[separator + 1 :], quiet)
