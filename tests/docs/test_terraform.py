"""Terraform in the pages is Terraform's language, and has arguments that the AWS provider knows."""

import json
from pathlib import Path

import pytest

import programs
import terraform
from pages import ROOT, blocks, page
from terraform import Wrong

# Resource types with their arguments and blocks, and which of them must be given; of the AWS provider 6.
KNOWN = json.loads(Path(__file__).with_name("terraform.json").read_text())
TOP = {"resource": 2, "data": 2, "module": 1, "variable": 1, "output": 1, "provider": 1, "locals": 0, "terraform": 0}
TOP |= {"import": 0, "moved": 0, "removed": 0, "check": 1}
META = {"count", "for_each", "provider", "depends_on", "lifecycle", "provisioner", "connection"}
LIFECYCLE = {"ignore_changes", "create_before_destroy", "prevent_destroy", "replace_triggered_by"}


def check(text):
    """Whether a text can be read, and its resources are such as the provider has."""
    for block in terraform.read(text).blocks:
        if block.kind not in TOP:
            raise Wrong(f"no block is called {block.kind}")
        if len(block.labels) != TOP[block.kind]:
            raise Wrong(f"{block.kind} has {TOP[block.kind]} labels")
        if block.kind in ("resource", "data"):
            check_resource(block)


def check_resource(block):
    name = f"{block.kind} {block.labels[0]}"
    if name not in KNOWN:
        raise Wrong(f"{name} is not in terraform.json: it may be wrong, or be added there")
    given = block.body.arguments | {it.labels[0] if it.kind == "dynamic" else it.kind for it in block.body.blocks}
    if unknown := given - set(KNOWN[name]["arguments"]) - META:
        raise Wrong(f"{name} has no {', '.join(sorted(unknown))}")
    if missing := set(KNOWN[name]["required"]) - given:
        raise Wrong(f"{name} needs {', '.join(sorted(missing))}")
    for inner in block.body.blocks:
        if inner.kind == "lifecycle" and (unknown := inner.body.arguments - LIFECYCLE):
            raise Wrong(f"lifecycle has no {', '.join(sorted(unknown))}")


@pytest.mark.parametrize("block", blocks("hcl", "terraform", "tf"), ids=str)
def test_every_block_of_terraform_can_be_read_and_has_arguments_that_there_are(block):
    check(block.text)


def test_the_page_about_terraform_has_some():
    assert [it for it in page("docs/terraform.md").blocks if it.kind == "hcl"]


@pytest.mark.parametrize(
    "text, why",
    [
        ('resource "aws_vpc_endpoint" "x" {\n', "does not end"),
        ('resource "aws_vpc_endpoint" {\n}\n', "2 labels"),
        ('resource "aws_vpc_endpoints" "x" {\n}\n', "not in terraform.json"),
        ('resource "aws_vpc_endpoint_policy" "x" {\n  policy = 1\n}\n', "needs vpc_endpoint_id"),
        ('resource "aws_vpc_endpoint_policy" "x" {\n  vpc_endpoint_id = 1\n  polices = 2\n}\n', "no polices"),
        ('data "aws_x" "x" {\n  a = [1, 2\n}\n', "do not match"),
        ('resource "a" "x" {\n  a = \n}\n', "no whole value"),
        ('resource "a" "x" {\n  a = 1\n  a = 2\n}\n', "given twice"),
        ('resource "a" "x" {\n}\n}\n', "too many"),
        ('resource "a" "x" {\n  a : 1\n}\n', "neither an argument nor a block"),
        ("resources {\n}\n", "no block is called resources"),
    ],
)
def test_what_terraform_would_refuse_is_seen(text, why):
    with pytest.raises(Wrong, match=why):
        check(text)


def test_terraform_is_read_as_it_is_meant():
    body = terraform.read('a "b" "c" { # no\n  d = jsonencode({\n    E = ["${f["g"]}", h]\n  })\n  i {\n    j = k ? l : m\n  }\n}\n')

    (block,) = body.blocks
    assert (block.kind, block.labels, block.body.arguments) == ("a", ["b", "c"], {"d"})
    assert block.body.blocks[0].body.arguments == {"j"}
