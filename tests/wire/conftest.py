"""What the tests over the wire share: an emulated AWS, the deployed binary, and a private VPC."""

import contextlib
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "emulator"))

import command_line  # noqa: E402
import harness  # noqa: E402
from deployment import STACK, made  # noqa: E402


def pytest_configure():
    harness.end_on_signals()


def built(variable):
    """The program that a variable names."""
    path = os.environ.get(variable)
    if not path:
        pytest.fail(f"{variable} is not set: run `make python-tests`")
    return path


@pytest.fixture(scope="session")
def binary():
    """The function as it is deployed."""
    return built("FUNCTION_BINARY")


@pytest.fixture(scope="session")
def laptop():
    """The function as `cargo lambda watch` builds it, with what only a person's machine has."""
    return built("LAPTOP_BINARY")


@pytest.fixture(scope="session")
def program():
    """The command line."""
    return built("CLI_BINARY")


@pytest.fixture(scope="session")
def running_aws():
    with harness.Aws() as aws:
        yield aws


@pytest.fixture
def aws(running_aws):
    """An empty AWS account."""
    running_aws.reset()
    return running_aws


@pytest.fixture
def mwaa(aws):
    """MWAA, which without this fixture lets nobody ask, with no environments yet."""
    aws.mwaa.admit(harness.OWNER, harness.PARTICIPANT)
    return aws.mwaa


@pytest.fixture(scope="session")
def kept():
    """What was laid out before."""
    return {}


@pytest.fixture
def laid(aws, kept):
    """Lays something out, or goes back to it if that was done before under this name."""

    def lay(name, make):
        if name not in kept:
            kept[name] = aws.keep(make())
        return kept[name]()

    return lay


@pytest.fixture(scope="session")
def function(running_aws, binary):
    """The function with the template's default parameters."""
    with harness.Lambda(running_aws, binary) as function:
        yield function


@pytest.fixture
def configured(aws, binary):
    """Starts the function with other parameters."""
    with contextlib.ExitStack() as stack:
        yield lambda **settings: stack.enter_context(harness.Lambda(aws, binary, **settings))


@pytest.fixture
def failed(aws, deployed):
    """The deployed stack's queue of failed events."""
    queue = made(aws, "failed")
    deployed.stacks[harness.OWNER][STACK]["FailedEventsQueueUrl"] = queue.url
    return queue


@pytest.fixture
def undelivered(aws, deployed):
    """The deployed stack's queue of undelivered events."""
    queue = made(aws, "undelivered")
    deployed.stacks[harness.OWNER][STACK]["UndeliveredEventsQueueUrl"] = queue.url
    return queue


@pytest.fixture
def vpc(aws):
    """Two private subnets and a security group."""
    return aws.vpc()


@pytest.fixture
def sqs(aws, vpc):
    """The VPC's SQS endpoint, with the policy of AWS's sample."""
    return aws.endpoint(vpc, policy=harness.blog_policy())


@pytest.fixture
def people(aws):
    """A person's way to the emulated AWS: which calls came by it, and what happens to them."""
    with contextlib.closing(aws.for_people()) as proxy:
        yield proxy


@pytest.fixture
def surroundings(aws, people, tmp_path):
    """The variables of a person's shell, with a profile for each account."""
    return command_line.shell(aws, people, tmp_path)


@pytest.fixture
def cli(program, surroundings):
    """Runs the program with words; variables that are None are left out."""

    def run(*words, stdin="", **variables):
        env = {name: it for name, it in {**surroundings, **variables}.items() if it is not None}
        return subprocess.run(
            [program, *words], env=env, input=stdin, capture_output=True, text=True, timeout=60
        )

    return run
