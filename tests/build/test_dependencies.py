"""What Cargo compiles: the EC2 client takes minutes, so each profile may compile it only once."""

import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOYED = ["--no-default-features", "--edges", "normal,build"]
LAPTOP = ["--edges", "normal,build"]
CLI = ["--features", "cli", "--edges", "normal,build"]
TESTS = ["--features", "cli", "--edges", "normal,build,dev"]


def tree(*options):
    """What a build consists of: its lines as (depth, package with its features), in order."""
    command = ["cargo", "tree", "--locked", "--no-dedupe", "--prefix", "depth", "--format", " {p} {f}"]
    run = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    lines = [re.fullmatch(r"(\d+) (.*)", line) for line in run.stdout.splitlines()]
    return [(int(line[1]), line[2]) for line in lines if line]


def part_of_ec2(lines):
    """The packages that the EC2 client is made of, with their features."""
    start = next(n for n, (_, package) in enumerate(lines) if package.startswith("aws-sdk-ec2 "))
    depth = lines[start][0]
    packages = {lines[start][1]}
    for below, package in lines[start + 1 :]:
        if below <= depth:
            return packages
        packages.add(package)
    return packages


@pytest.mark.parametrize("other", [LAPTOP, CLI, TESTS], ids=["with_sign_in", "with_the_command_line", "tests"])
def test_the_ec2_client_is_made_of_the_same_in_every_build(other):
    deployed = part_of_ec2(tree(*DEPLOYED))

    assert len(deployed) > 50
    assert part_of_ec2(tree(*other)) == deployed


def test_what_only_a_persons_machine_needs_is_not_deployed():
    def has_sso(options):
        return any(package.startswith("aws-sdk-sso ") for _, package in tree(*options))

    assert has_sso(LAPTOP)
    assert not has_sso(DEPLOYED)


def test_what_only_the_command_line_needs_is_in_nobody_elses_build():
    def has_clap(options):
        return any(package.startswith("clap") for _, package in tree(*options))

    assert has_clap(CLI)
    assert not has_clap(LAPTOP) and not has_clap(DEPLOYED)
    recipe = re.search(r"^BUILD = (.*)$", (ROOT / "Makefile").read_text(), re.M)[1]
    assert "--bin mwaa-vpc-endpoints " in recipe and "cli" not in recipe


def test_no_crate_of_the_sdk_is_there_twice():
    packages = {re.match(r"(\S+) v(\S+)", package).groups() for _, package in tree(*CLI)}
    names = [name for name, _ in packages if name.startswith(("aws-", "tokio", "hyper", "rustls"))]

    assert len(names) > 15
    assert sorted(set(names)) == sorted(names)
