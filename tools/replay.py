"""Hands what MWAA says of an environment now to the deployed function: make replay ENV=name

For an environment that was PENDING before the function was deployed, or whose event went wrong. It
reads these variables of the environment:

    ENV          the environment's name
    DRY_RUN      1 to be told what would be done
    FUNCTION     the function's name, if it is not the output FunctionName of the stack STACK
    STACK        the stack's name, if it is not mwaa-vpc-endpoints
    REGION       the Region, if it is not the profile's
    PROFILE      the profile of the AWS configuration with which the function is invoked
    ENV_PROFILE  the profile with which MWAA is asked, if the environment is of another account
"""

import re

from deployed import (
    Problem,
    find_environment,
    flag_setting,
    function_of_stack,
    invoke,
    run,
    session,
    setting,
    stack_name,
)
from show import bold, fact, section, show_result


def main():
    name, dry_run = environment_name(), flag_setting("DRY_RUN")
    owner = session("PROFILE")
    asking = session("ENV_PROFILE") if setting("ENV_PROFILE") else owner
    environment = get_environment(asking, name)
    function = setting("FUNCTION") or function_of_stack(owner, stack_name())
    result = invoke(owner, function, {"Environment": environment, "dryRun": dry_run})

    fact("environment", environment.get("Arn", name))
    fact("status", environment.get("Status", "unknown"))
    fact("function", function)
    section("What the function would do" if dry_run else "What the function did")
    show_result(result)
    print(f"\n{bold('Outcome:')} {result['outcome']}{', as a plan' if dry_run else ''}")


def environment_name():
    name = setting("ENV")
    if not name:
        raise Problem("Say which environment: make replay ENV=name")
    if not re.fullmatch(r"[a-zA-Z][0-9a-zA-Z_-]{0,79}", name):
        raise Problem(f"ENV: {name!r} is no name of an environment: make replay ENV=name")
    return name


def get_environment(session, name):
    environment = find_environment(session, name)
    if environment is None:
        raise Problem(
            f"There is no environment {name} in {session.region_name} in the account that was "
            "asked. If it is a participant's, name a profile of that account: ENV_PROFILE=…"
        )
    return environment


if __name__ == "__main__":
    run(main)
