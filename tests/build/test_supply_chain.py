"""Licences and sources of what is compiled, without the internet; what a package consists of; and what is audited."""

import hashlib
import http.server
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import tomllib
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import architecture  # noqa: E402
import audit  # noqa: E402
import package  # noqa: E402

# Licences that ask for no more than a notice.
ADMITTED = {
    "MIT", "Apache-2.0", "ISC", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "Zlib", "Unicode-3.0", "Unlicense", "BSL-1.0",
    "CC0-1.0", "CDLA-Permissive-2.0",
}  # fmt: skip

# The SHA-256 of the index of the public registry, as Cargo.lock names it.
PUBLIC_REGISTRY = "c19b7c6f923b580ac259164a89f2577984ad5ab09ee9d583b888f934adbbe8d0"

# Crates of which two versions are linked into what is deployed, and why that stands.
TWICE = {
    "base64": "the SDK and lambda_runtime are not of one mind; it is small, and nobody's input reaches the older one alone",
}


def metadata():
    """What Cargo compiles on this platform, for the function, the command line, the tests and their tools."""
    command = ["cargo", "metadata", "--locked", "--offline", "--features", "cli", "--format-version", "1"]
    command.append("--filter-platform")
    run = subprocess.run([*command, "x86_64-unknown-linux-gnu"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)["packages"]


def is_admitted(expression):
    """Whether one of the ways to read a licence expression has admitted licences only. Written with `/`, crates mean OR."""
    expression = expression.replace("/", " OR ")
    while inner := re.search(r"\(([^()]*)\)", expression):
        expression = expression.replace(inner[0], "MIT" if is_admitted(inner[1]) else "refused")
    return any(
        all(it.split(" WITH ")[0].strip() in ADMITTED for it in way.split(" AND ")) for way in expression.split(" OR ")
    )


@pytest.mark.parametrize(
    "expression, admitted",
    [
        ("MIT", True), ("MIT/Apache-2.0", True), ("GPL-3.0 OR MIT", True), ("(MIT OR Apache-2.0) AND Unicode-3.0", True),
        ("GPL-3.0", False), ("MIT AND GPL-3.0", False), ("(GPL-3.0 OR AGPL-3.0) AND MIT", False), ("", False),
        ("Apache-2.0 WITH LLVM-exception", True),
    ],
)  # fmt: skip
def test_licence_expressions_are_read_right(expression, admitted):
    assert is_admitted(expression) == admitted


def test_everything_that_is_compiled_has_an_admitted_licence():
    packages = metadata()
    assert len(packages) > 100
    refused = {p["name"]: p["license"] for p in packages if not is_admitted(p["license"] or "")}
    assert not refused


def test_everything_that_is_compiled_comes_from_the_one_registry_with_a_checksum():
    packages = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    others = [p for p in packages if p["name"] != "mwaa-vpc-endpoints"]
    assert len(others) == len(packages) - 1
    (source,) = {p["source"] for p in others}
    assert hashlib.sha256(source.encode()).hexdigest() == PUBLIC_REGISTRY, source
    assert all(re.fullmatch("[0-9a-f]{64}", p["checksum"]) for p in others)


def test_no_crate_is_deployed_in_two_versions_without_a_reason():
    versions = {}
    for name, version, _ in package.crates("x86_64-unknown-linux-gnu"):
        versions.setdefault(name, set()).add(version)
    assert {name for name, found in versions.items() if len(found) > 1} == set(TWICE)


@pytest.mark.parametrize("path", sorted((ROOT / "tools").glob("requirements*.txt")), ids=lambda p: p.name)
def test_every_tool_is_pinned_with_hashes_and_is_what_was_asked_for(path):
    entries = re.split(r"\n(?=\S)", path.read_text().strip())
    for entry in entries:
        assert re.match(r"[\w.\[\],-]+==\S+", entry) and "--hash=sha256:" in entry, entry[:80]
    pinned = {m[1].lower().replace("_", "-"): m[2] for m in (re.match(r"([\w.-]+)==(\S+)", e) for e in entries)}
    asked = [line for line in path.with_suffix(".in").read_text().splitlines() if line and not line.startswith("#")]
    for line in asked:
        name, version = re.match(r"([\w.-]+)(?:\[.*\])?==(\S+)", line).groups()
        assert pinned[name.lower().replace("_", "-")] == version


def test_the_version_is_that_of_the_latest_release():
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
    released = re.findall(r"^## \[([\d.]+)\] - \d{4}-\d{2}-\d{2}$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert released[0] == version


# ---- the package -------------------------------------------------------------------------------------------------------


def elf(machine):
    return b"\x7fELF" + bytes(14) + machine.to_bytes(2, "little") + os.urandom(2000)


X86_64, ARM64 = 0x3E, 0xB7


def make(folder, binary, arch="x86_64"):
    folder.mkdir(exist_ok=True)
    (folder / "bootstrap").write_bytes(binary)
    command = [sys.executable, ROOT / "tools" / "package.py", arch, folder / "bootstrap", folder / "dist"]
    return subprocess.run(command, capture_output=True, text=True), folder / "dist"


def test_one_binary_always_makes_the_same_package(tmp_path):
    binary = elf(X86_64)
    one, two = (make(tmp_path / name, binary) for name in "ab")
    assert one[0].returncode == two[0].returncode == 0, one[0].stderr
    files = [{p.name: p.read_bytes() for p in folder.iterdir()} for _, folder in (one, two)]
    assert files[0] == files[1] and len(files[0]) == 3

    (name,) = (name for name in files[0] if name.endswith(".zip"))
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
    assert name == f"mwaa-vpc-endpoints-{version}-x86_64.zip"
    archive = zipfile.ZipFile(io.BytesIO(files[0][name]))
    (entry,) = archive.infolist()
    assert entry.filename == "bootstrap" and entry.external_attr >> 16 & 0o777 == 0o755
    assert archive.read("bootstrap") == binary
    sums = dict(reversed(line.split("  ")) for line in files[0]["SHA256SUMS"].decode().splitlines())
    assert sums == {n: hashlib.sha256(b).hexdigest() for n, b in files[0].items() if n != "SHA256SUMS"}


def test_the_bill_of_materials_lists_what_is_linked_with_checksums(tmp_path):
    binary = elf(X86_64)
    _, folder = make(tmp_path, binary)
    (path,) = folder.glob("*.cdx.json")
    bill = json.loads(path.read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    own = bill["metadata"]["component"]
    assert own["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(binary).hexdigest()}]
    names = {c["name"] for c in bill["components"]}
    assert {"aws-sdk-ec2", "tokio", "rustls", "lambda_runtime"} <= names
    assert not {"proptest", "aws-sdk-sso"} & names, "neither tests nor what only a laptop needs"
    assert all(re.fullmatch("[0-9a-f]{64}", c["hashes"][0]["content"]) for c in bill["components"])
    refs = [c["bom-ref"] for c in bill["components"]]
    assert bill["dependencies"] == [{"ref": own["bom-ref"], "dependsOn": refs}] and len(set(refs)) == len(refs)


def test_a_binary_of_another_architecture_is_not_packaged(tmp_path):
    run, folder = make(tmp_path, elf(ARM64))
    assert run.returncode != 0 and "is made for arm64, not for x86_64" in run.stderr
    assert not folder.exists()


# ---- the architecture ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "binary, wanted, samconfig, said",
    [
        (elf(X86_64), "x86_64", None, ""),
        (elf(ARM64), "arm64", None, ""),
        (elf(ARM64), "x86_64", None, "is made for arm64 and not for x86_64: build it with ARCH=x86_64 sam build"),
        (b"#!/bin/sh\n", "x86_64", None, "is made for no Linux and not for x86_64"),
        (elf(X86_64), "x86_64", "Architecture=x86_64", ""),
        (elf(X86_64), "x86_64", 'VpcIds=\\"\\" Architecture=\\"arm64\\"', "deploys Architecture=arm64"),
        (elf(ARM64), "arm64", "Architecture=x86_64", "ARCH=x86_64 sam build"),
        (elf(X86_64), "x86_64", "ParameterKey=Architecture,ParameterValue=arm64", "ARCH=arm64 sam build"),
        (elf(X86_64), "x86_64", 'EndpointTags=\\"Architecture=arm64,Owner=x\\"', ""),
        (elf(X86_64), "x86_64", '[default.global.parameters]\nparameter_overrides = "Architecture=arm64"', "ARCH=arm64 sam build"),
        (elf(X86_64), "x86_64", '[default.deploy.parameters.parameter_overrides]\nArchitecture = "arm64"', "ARCH=arm64 sam build"),
        (elf(X86_64), "x86_64", '[arm.deploy.parameters]\nparameter_overrides = "Architecture=arm64"', ""),
    ],
)
def test_a_binary_of_the_wrong_architecture_is_refused_when_it_is_built(tmp_path, binary, wanted, samconfig, said):
    (tmp_path / "bootstrap").write_bytes(binary)
    if samconfig:
        if not samconfig.startswith("["):
            samconfig = f'[default.deploy.parameters]\nparameter_overrides = "{samconfig}"'
        (tmp_path / "samconfig.toml").write_text(f"version = 0.1\n{samconfig}\n")
    command = [sys.executable, ROOT / "tools" / "architecture.py", "bootstrap", wanted]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (run.returncode == 0) == (not said)
    assert said in run.stderr


def test_sam_build_asks_for_the_architecture():
    recipe = (ROOT / "Makefile").read_text().split("build-MwaaVpcEndpointsFunction: build\n")[1].split("\n\n")[0]
    assert "tools/architecture.py $(BOOTSTRAP) $(ARCH)" in recipe
    assert architecture.architecture_of(elf(ARM64)) == "arm64"


# ---- advisories --------------------------------------------------------------------------------------------------------


@pytest.fixture
def osv():
    """A server that knows of one vulnerability, and what it was asked."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
            asked.extend(queries)
            bad = {"vulns": [{"id": "RUSTSEC-0000-0000"}]}
            results = [bad if q["package"]["name"] == "tokio" and self.server.knows else {} for q in queries]
            body = json.dumps({"results": results}).encode() if self.server.broken is None else self.server.broken
            if not body:
                return self.connection.close()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.knows, server.asked, server.broken = True, asked, None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def run_audit(url):
    env = {**os.environ, "OSV_URL": url, "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
    return subprocess.run([sys.executable, ROOT / "tools" / "audit.py"], env=env, capture_output=True, text=True)


def test_an_audit_tells_what_is_known_of_everything_that_is_locked(osv):
    url = f"http://127.0.0.1:{osv.server_port}"
    run = run_audit(url)
    assert run.returncode == 1 and "RUSTSEC-0000-0000" in run.stdout
    asked = {(q["package"]["name"], q["version"]) for q in osv.asked}
    assert asked == {(name, version) for _, name, version in audit.locked()}
    assert {"aws-sdk-ec2", "cargo-lambda", "aws-sam-cli"} <= {name for name, _ in asked}
    tools = [re.findall(r"^\S+==", path.read_text(), re.M) for path in (ROOT / "tools").glob("requirements*.txt")]
    assert sum(ecosystem != "crates" + ".io" for ecosystem, _, _ in audit.locked()) == sum(map(len, tools))
    osv.knows = False
    assert run_audit(url).returncode == 0


def test_an_audit_that_reaches_nobody_is_no_good_news(osv):
    run = run_audit("http://127.0.0.1:1")
    assert run.returncode == 3 and "could not be asked" in run.stderr
    for broken in (b"", b"[]", b"no JSON"):
        osv.broken = broken
        run = run_audit(f"http://127.0.0.1:{osv.server_port}")
        assert run.returncode == 3 and "could not be asked" in run.stderr
