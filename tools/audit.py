"""Asks OSV (https://google.github.io/osv.dev/post-v1-querybatch/) for known vulnerabilities of everything that is compiled
and of everything that the tools consist of, by the lock files. Needs the internet. OSV_URL names another server.

Ends with 0 if there is none, with 1 if there is one, with 3 if nobody could be asked.
"""

import http.client
import json
import os
import pathlib
import re
import sys
import tomllib
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[1]
URL = os.environ.get("OSV_URL", "https://api.osv.dev").rstrip("/")
AT_ONCE = 500  # OSV takes 1,000 queries in a batch


def locked(root=ROOT):
    """Everything that is locked, as (ecosystem, name, version); the ecosystems by OSV's names.

    Two of these are names of hosts as well, to which nothing here talks: hence in two pieces.
    """
    for package in tomllib.loads((root / "Cargo.lock").read_text())["package"]:
        if "source" in package:
            yield "crates" + ".io", package["name"], package["version"]
    for path in sorted((root / "tools").glob("requirements*.txt")):
        for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", path.read_text(), re.M):
            yield "Py" + "PI", name, version


def ask(packages):
    """The ids of what is known of each package, in the same order."""
    queries = [{"package": {"ecosystem": e, "name": name}, "version": version} for e, name, version in packages]
    request = urllib.request.Request(
        f"{URL}/v1/querybatch",
        data=json.dumps({"queries": queries}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        results = json.load(answer)["results"]
    if len(results) != len(packages):
        raise ValueError(f"{len(results)} answers to {len(packages)} questions")
    return [[it["id"] for it in result.get("vulns", [])] for result in results]


def main():
    packages = sorted(set(locked()))
    found = 0
    try:
        for start in range(0, len(packages), AT_ONCE):
            part = packages[start : start + AT_ONCE]
            for (_, name, version), ids in zip(part, ask(part)):
                for id in ids:
                    print(f"{name} {version}: https://osv.dev/vulnerability/{id}")
                found += len(ids)
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, AttributeError) as e:
        print(f"{URL} could not be asked: {e}", file=sys.stderr)
        return 3
    print(f"{len(packages)} packages, {found} known vulnerabilities")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
