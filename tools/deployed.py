"""The deployed function and its stack, as replay.py and redrive.py reach them with profiles."""

import datetime
import functools
import json
import os
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError
from show import fail

STACK = "mwaa-vpc-endpoints"
# More than the function has. A call that is not answered in this time is not made again.
INVOKE = Config(read_timeout=300, retries={"total_max_attempts": 1})


class Problem(Exception):
    """What went wrong, for a person."""


def run(main):
    """Runs a tool; what goes wrong is told in a sentence."""
    try:
        sys.exit(main())
    except Problem as problem:
        fail(str(problem))
    except (BotoCoreError, ClientError) as error:
        fail(explained(error))
    except KeyboardInterrupt:
        sys.exit(130)


# What is asked for ---------------------------------------------------------------------------


def setting(name):
    return os.environ.get(name, "").strip()


def flag_setting(name):
    value = setting(name).lower()
    if value in ("1", "true", "yes"):
        return True
    if value in ("", "0", "false", "no"):
        return False
    raise Problem(f"{name}: {value!r} is neither 1 nor 0")


def session(profile):
    """AWS, with the profile that a variable names."""
    return boto3.Session(
        profile_name=setting(profile) or None,
        region_name=setting("REGION") or setting("AWS_REGION") or None,
    )


def stack_name():
    return setting("STACK") or STACK


@functools.cache
def client(session, service, config=None):
    return session.client(service, config=config)


# What AWS is asked ---------------------------------------------------------------------------


def find_environment(session, name):
    """What MWAA says of an environment, as `aws mwaa get-environment` prints it, if it is there."""
    try:
        answer = client(session, "mwaa").get_environment(Name=name)
    except ClientError as error:
        if code(error) == "ResourceNotFoundException":
            return None
        raise
    return json.loads(json.dumps(answer["Environment"], default=as_text))


def as_text(value):
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    raise TypeError(f"{value!r} cannot be written as JSON")


def outputs(session, stack):
    """The outputs of a stack, if it is there."""
    try:
        (found,) = client(session, "cloudformation").describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if code(error) == "ValidationError":
            return None
        raise
    return outputs_of(found)


def outputs_of(stack):
    return {it["OutputKey"]: it["OutputValue"] for it in stack.get("Outputs", [])}


def function_of_stack(session, stack):
    otherwise = "Name the function: FUNCTION=…, or its stack: STACK=…"
    found = outputs(session, stack)
    if found is None:
        raise Problem(f"There is no stack {stack} in {session.region_name}. {otherwise}")
    if "FunctionName" not in found:
        raise Problem(f"The stack {stack} has no output FunctionName. {otherwise}")
    return found["FunctionName"]


def invoke(session, function, payload):
    try:
        answer = client(session, "lambda", INVOKE).invoke(
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
