"""Makes what is uploaded without SAM: package.py ARCHITECTURE BOOTSTRAP FOLDER

A zip with the binary, from the same binary always the same bytes; a list of what the binary consists of, in CycloneDX's
format, made from Cargo.lock; and the checksums of all that is in the folder.
"""

import hashlib
import json
import pathlib
import subprocess
import sys
import tomllib
import zipfile

from architecture import architecture_of

ROOT = pathlib.Path(__file__).resolve().parents[1]
TARGETS = {"x86_64": "x86_64-unknown-linux-gnu", "arm64": "aarch64-unknown-linux-gnu"}


def write_zip(binary, path):
    """The zip that Lambda takes. Nothing in it depends on who makes it, or when."""
    entry = zipfile.ZipInfo("bootstrap", date_time=(1980, 1, 1, 0, 0, 0))
    entry.create_system = 3  # Unix, so that the mode counts
    entry.external_attr = 0o100755 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, binary, compresslevel=9)


def crates(target):
    """The crates that are linked into the binary, as (name, version, licence), our own first."""
    # Macros run in the compiler and are not in the binary.
    command = [
        "cargo", "tree", "--locked", "--no-default-features", "--edges", "normal,no-proc-macro", "--target", target,
        "--prefix", "none", "--no-dedupe", "--format", "{p}\t{l}",
    ]  # fmt: skip
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = {}
    for line in run.stdout.splitlines():
        package, licence = line.split("\t")
        name, version = package.split()[:2]
        found[name, version.removeprefix("v")] = licence.replace(" / ", "/").replace("/", " OR ")
    return [(name, version, licence) for (name, version), licence in found.items()]


def bill_of_materials(architecture, binary):
    """CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/), without a time or a random number."""
    checksums = {
        (p["name"], p["version"]): p.get("checksum") for p in tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    }
    (own, version, licence), *others = crates(TARGETS[architecture])

    def purl(name, version):
        return f"pkg:cargo/{name}@{version}"

    components = [
        {
            "type": "library",
            "bom-ref": purl(name, version),
            "name": name,
            "version": version,
            "purl": purl(name, version),
            "licenses": [{"expression": licence}],
            "hashes": [{"alg": "SHA-256", "content": checksums[name, version]}],
        }
        for name, version, licence in sorted(others)
    ]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": purl(own, version),
                "name": own,
                "version": version,
                "purl": purl(own, version),
                "licenses": [{"expression": licence}],
                "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(binary).hexdigest()}],
                "properties": [{"name": "architecture", "value": architecture}],
            }
        },
        "components": components,
        "dependencies": [{"ref": purl(own, version), "dependsOn": [c["bom-ref"] for c in components]}],
    }


def main(architecture, bootstrap, folder):
    binary = pathlib.Path(bootstrap).read_bytes()
    if (made_for := architecture_of(binary)) != architecture:
        sys.exit(f"{bootstrap} is made for {made_for}, not for {architecture}")
    bill = bill_of_materials(architecture, binary)
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"mwaa-vpc-endpoints-{bill['metadata']['component']['version']}-{architecture}"
    write_zip(binary, folder / f"{name}.zip")
    (folder / f"{name}.cdx.json").write_text(json.dumps(bill, indent=1) + "\n")
    files = sorted(path for path in folder.iterdir() if path.suffix in (".zip", ".json"))
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (folder / "SHA256SUMS").write_text("".join(sums))
    for path in (folder / f"{name}.zip", folder / f"{name}.cdx.json", folder / "SHA256SUMS"):
        print(path)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except subprocess.CalledProcessError as failed:
        sys.exit(f"{' '.join(failed.cmd)} failed: {failed.stderr.strip()}")
