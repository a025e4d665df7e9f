"""Refuses a binary that Lambda could not run as it is deployed: architecture.py BOOTSTRAP ARCHITECTURE

Lambda itself says nothing at deployment: every invocation then fails with "exec format error".
"""

import pathlib
import re
import sys
import tomllib

# ELF's e_machine (System V ABI, "ELF header").
MACHINES = {0x3E: "x86_64", 0xB7: "arm64"}


def architecture_of(binary):
    """The architecture that an ELF binary is made for, in Lambda's words."""
    if binary[:4] != b"\x7fELF":
        return "no Linux"
    machine = int.from_bytes(binary[18:20], "little")
    return MACHINES.get(machine, f"ELF machine {machine:#x}")


def configured(samconfig):
    """What samconfig.toml says of the parameter Architecture, in any of its environments."""
    for environment in tomllib.loads(samconfig).values():
        if not isinstance(environment, dict):
            continue
        overrides = environment.get("deploy", {}).get("parameters", {}).get("parameter_overrides", "")
        overrides = " ".join(overrides) if isinstance(overrides, list) else str(overrides)
        if found := re.search(r"\bArchitecture=[\"']?(\w+)", overrides):
            yield found[1]


def main(bootstrap, wanted):
    found = architecture_of(pathlib.Path(bootstrap).read_bytes())
    if found != wanted:
        sys.exit(f"{bootstrap} is made for {found} and not for {wanted}: build it with ARCH={wanted} sam build")
    samconfig = pathlib.Path("samconfig.toml")
    for deployed in configured(samconfig.read_text()) if samconfig.exists() else []:
        if deployed != wanted:
            sys.exit(
                f"samconfig.toml deploys Architecture={deployed} and the binary is made for {wanted}: "
                f"ARCH={deployed} sam build"
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
