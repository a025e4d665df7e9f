"""Refuses a binary that Lambda could not run as it is deployed: architecture.py BOOTSTRAP ARCHITECTURE

Lambda itself says nothing at deployment: every invocation then fails with "exec format error".
"""

import os
import pathlib
import re
import shlex
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


def configured(samconfig, environment):
    """What samconfig.toml says of the parameter Architecture, in the environment that sam uses; None: nothing."""
    settings = tomllib.loads(samconfig).get(environment, {})
    found = None
    for command in ("global", "deploy"):  # as sam reads them: the command's own come last
        overrides = settings.get(command, {}).get("parameters", {}).get("parameter_overrides")
        if isinstance(overrides, dict):
            found = overrides.get("Architecture", found)
        elif overrides:
            text = " ".join(map(str, overrides)) if isinstance(overrides, list) else str(overrides)
            for word in shlex.split(text):
                if match := re.fullmatch(r"(?:ParameterKey=Architecture,ParameterValue|Architecture)=(\w+)", word):
                    found = match[1]
    return found


def main(bootstrap, wanted):
    found = architecture_of(pathlib.Path(bootstrap).read_bytes())
    if found != wanted:
        sys.exit(f"{bootstrap} is made for {found} and not for {wanted}: build it with ARCH={wanted} sam build")
    samconfig = pathlib.Path("samconfig.toml")
    environment = os.environ.get("SAM_CONFIG_ENV", "default")
    deployed = configured(samconfig.read_text(), environment) if samconfig.exists() else None
    if deployed not in (None, wanted):
        sys.exit(
            f"samconfig.toml deploys Architecture={deployed} and the binary is made for {wanted}: "
            f"ARCH={deployed} sam build"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
