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

import datetime
import json
import os
import re
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError
from show import bold, fact, fail, section, show_result

STACK = "mwaa-vpc-endpoints"
# More than the function has. A call that is not answered in this time is not made again.
INVOKE = Config(read_timeout=300, retries={"total_max_attempts": 1})


class Problem(Exception):
    """What went wrong, for a person."""


def main():
    name, dry_run = environment_name(), is_dry_run()
    owner = session("PROFILE")
    asking = session("ENV_PROFILE") if setting("ENV_PROFILE") else owner
    environment = get_environment(asking, name)
    function = setting("FUNCTION") or function_of_stack(owner, setting("STACK") or STACK)
    result = invoke(owner, function, {"Environment": environment, "dryRun": dry_run})

    fact("environment", environment.get("Arn", name))
    fact("status", environment.get("Status", "unknown"))
    fact("function", function)
    section("What the function would do" if dry_run else "What the function did")
    show_result(result)
    print(f"\n{bold('Outcome:')} {result['outcome']}{', as a plan' if dry_run else ''}")


# What is asked for ---------------------------------------------------------------------------


def setting(name):
    return os.environ.get(name, "").strip()


def environment_name():
    name = setting("ENV")
    if not name:
        raise Problem("Say which environment: make replay ENV=name")
    if not re.fullmatch(r"[a-zA-Z][0-9a-zA-Z_-]{0,79}", name):
        raise Problem(f"ENV: {name!r} is no name of an environment: make replay ENV=name")
    return name


def is_dry_run():
    value = setting("DRY_RUN").lower()
    if value in ("1", "true", "yes"):
        return True
    if value in ("", "0", "false", "no"):
        return False
    raise Problem(f"DRY_RUN: {value!r} is neither 1 nor 0")


def session(profile):
    return boto3.Session(
        profile_name=setting(profile) or None,
        region_name=setting("REGION") or setting("AWS_REGION") or None,
    )


# What AWS is asked ---------------------------------------------------------------------------


def get_environment(session, name):
    """What MWAA says of an environment, as `aws mwaa get-environment` prints it."""
    try:
        answer = session.client("mwaa").get_environment(Name=name)
    except ClientError as error:
        if code(error) == "ResourceNotFoundException":
            raise Problem(
                f"There is no environment {name} in {session.region_name} in the account that was "
                "asked. If it is a participant's, name a profile of that account: ENV_PROFILE=…"
            ) from error
        raise
    return json.loads(json.dumps(answer["Environment"], default=as_text))


def as_text(value):
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    raise TypeError(f"{value!r} cannot be written as JSON")


def function_of_stack(session, stack):
    otherwise = "Name the function: FUNCTION=…, or its stack: STACK=…"
    try:
        (found,) = session.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if code(error) == "ValidationError":
            where = f"in {session.region_name}"
            raise Problem(f"There is no stack {stack} {where}. {otherwise}") from error
        raise
    for output in found.get("Outputs", []):
        if output["OutputKey"] == "FunctionName":
            return output["OutputValue"]
    raise Problem(f"The stack {stack} has no output FunctionName. {otherwise}")


def invoke(session, function, payload):
    try:
        answer = session.client("lambda", config=INVOKE).invoke(
            FunctionName=function, InvocationType="RequestResponse", Payload=json.dumps(payload)
        )
    except ClientError as error:
        if code(error) == "ResourceNotFoundException":
            where = f"in {session.region_name}"
            raise Problem(f"There is no function {function} {where}: FUNCTION=…") from error
        raise
    text = answer["Payload"].read().decode(errors="replace")
    try:
        value = json.loads(text)
    except ValueError:
        value = {"errorMessage": text}
    if answer.get("FunctionError"):
        raise Problem(f"The function failed: {value.get('errorMessage', text)}")
    return value


def code(error):
    return error.response["Error"]["Code"]


def explained(error):
    """A sentence on what AWS or its client says."""
    if isinstance(error, NoCredentialsError):
        return "There are no AWS credentials: set them up (aws configure), or name a profile."
    if isinstance(error, NoRegionError):
        return "There is no Region: REGION=…, or a profile that has one."
    return str(error)


if __name__ == "__main__":
    try:
        main()
    except Problem as problem:
        fail(str(problem))
    except (BotoCoreError, ClientError) as error:
        fail(explained(error))
    except KeyboardInterrupt:
        sys.exit(130)
