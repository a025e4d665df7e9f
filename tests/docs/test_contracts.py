"""What the pages list is what the code and the templates have: no more, no less."""

import json
import re

import botocore.session
import pytest

import pages
from pages import ROOT, in_backticks, page

ENVIRONMENT_STATUSES = (
    botocore.session.Session().get_service_model("mwaa").shape_for("EnvironmentStatus").enum
)


def source(name):
    return (ROOT / "src" / name).read_text()


def first_cells(table):
    """What the rows of a table are about: their first cells, without backticks; one may name several."""
    return [name for row in table[1:] for name in re.findall(r"`([^`]+)`", row[0])]


def table_with(name, *words):
    """The table of a page whose rows are about all of these words."""
    found = [it for it in page(name).tables if set(words) <= set(first_cells(it))]
    assert len(found) == 1, f"{name} has {len(found)} tables with rows about {', '.join(words)}"
    return found[0]


def section(text, heading):
    """The section of a page under a heading, subsections included."""
    match = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,6}} |\Z)", text, re.M | re.S)
    assert match, f"there is no section {heading}"
    return match[2]


# Parameters ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["template.yaml", "participant.yaml"])
def test_every_parameter_is_documented_with_its_default(templates, name):
    declared = {
        parameter: str(it["Default"]) if it.get("Default", "") != "" else ""
        for parameter, it in templates[name]["Parameters"].items()
    }
    tables = [it for it in page("docs/parameters.md").tables if set(first_cells(it)) == set(declared)]
    assert len(tables) == 1, f"no table has all of {sorted(declared)} and nothing else"

    (table,) = tables
    documented = {in_backticks(row[0]): in_backticks(row[1]) for row in table[1:]}
    has_default = {it for it, more in templates[name]["Parameters"].items() if "Default" in more}
    for parameter, default in declared.items():
        if parameter in has_default:
            assert documented[parameter] == (default or '""'), parameter
        else:
            assert documented[parameter] is None, f"{parameter} has no default"


def test_the_parameters_that_readme_lists_have_their_defaults(templates):
    declared = templates["template.yaml"]["Parameters"]
    rows = [row for table in page("README.md").tables for row in table[1:] if in_backticks(row[0]) in declared]

    for name, default in [(in_backticks(row[0]), in_backticks(row[1])) for row in rows]:
        if default is not None:
            assert default == (str(declared[name].get("Default", "")) or '""'), name


# Statuses and tags ---------------------------------------------------------------------------


def test_every_status_is_documented_and_no_other():
    words = re.findall(r'"([A-Z_]+)" => Self::', source("event/spec.rs").split("pub fn parse(")[1])
    needed = {*words, "UNAVAILABLE"}

    documented = first_cells(table_with("docs/semantics.md", "PENDING", "DELETED"))

    statuses = [it for it in documented if re.fullmatch(r"[A-Z_]+", it)]
    assert len(statuses) == len(set(statuses)), "each once"
    assert needed <= set(statuses), needed - set(statuses)
    assert set(statuses) <= needed | set(ENVIRONMENT_STATUSES), "MWAA knows no such status"


def test_every_tag_is_documented_and_no_other():
    constants = re.findall(r'pub const (\w+): &str = "([^"]+)"', source("tags.rs"))
    keys = {value for name, value in constants if "/" in value and not value.endswith("/") or name == "NAME"}
    assert "mwaa-vpc-endpoints/environment" in keys

    documented = first_cells(table_with("docs/semantics.md", "mwaa-vpc-endpoints/environment"))

    assert sorted(documented) == sorted(keys)


# Results -------------------------------------------------------------------------------------


def error_types():
    """Those that a failed invocation carries."""
    text = source("handler/mod.rs").split("impl From<InvocationError> for Diagnostic")[1]
    found = re.findall(r'=> "(\w+)",', text.split("\nimpl ")[0])
    assert "ActionsFailed" in found
    return found


@pytest.mark.parametrize("name", ["docs/runbook.md", "docs/result.md"])
def test_every_error_type_is_documented_and_no_other(name):
    documented = first_cells(table_with(name, "ActionsFailed"))

    assert sorted(documented) == sorted(error_types())


def fields(file, name):
    """The fields of a struct as serde writes them."""
    text = source(file).split(f"pub struct {name} {{")[1].split("\n}")[0]
    parts = re.findall(r"((?: *#\[[^\n]*\]\n)*) *pub (\w+):", text)
    assert parts
    return {
        re.sub(r"_(\w)", lambda match: match[1].upper(), field)
        for attributes, field in parts
        if "#[serde(skip)]" not in attributes
    }


def words(file, name):
    """The words that serde writes for an enum."""
    text = source(file).split(f"pub enum {name} {{")[1].split("\n}")[0]
    variants = re.findall(r"^    ([A-Z]\w*),", text, re.M)
    attributes = source(file).split(f"pub enum {name} {{")[0][-300:]
    kebab = 'rename_all = "kebab-case"' in attributes.rsplit("\n\n", 1)[-1]
    return {re.sub(r"(?<!^)([A-Z])", r"-\1" if kebab else r"\1", it).lower() for it in variants}


@pytest.mark.parametrize(
    "heading, file, name",
    [
        ("Fields", "report.rs", "Report"),
        ("Resources", "report.rs", "Resource"),
        ("A sweep", "sweep/mod.rs", "SweepReport"),
    ],
)
def test_every_field_of_a_result_is_documented_and_no_other(heading, file, name):
    text = section(page("docs/result.md").text, heading)
    rows = re.findall(r"^\| `(\w+)` \|", text.split("\n\n| `outcome` of a resource")[0], re.M)

    assert sorted(rows) == sorted(fields(file, name))


@pytest.mark.parametrize("file, name", [("report.rs", "AwsError"), ("report.rs", "Warning"), ("sweep/mod.rs", "VpcHealth")])
def test_every_field_of_a_part_of_a_result_is_documented(file, name):
    spans = set(page("docs/result.md").spans)

    assert fields(file, name) <= spans


@pytest.mark.parametrize("name", ["Outcome", "Change"])
def test_every_outcome_is_documented_and_no_other(name):
    documented = {"Outcome": "changed", "Change": "created"}[name]

    rows = first_cells(table_with("docs/result.md", documented, "failed"))

    assert sorted(rows) == sorted(words("report.rs", name))


@pytest.mark.parametrize("name", ["Kind", "Certainty"])
def test_every_word_of_a_resource_is_documented(name):
    assert words("report.rs", name) <= set(page("docs/result.md").spans)


RESULTS = [
    it
    for it in pages.blocks("json")
    if it.page == "docs/result.md" and {"environment", "environments", "kind"} & set(json.loads(it.text))
]


@pytest.mark.parametrize("block", RESULTS, ids=str)
def test_every_example_of_a_result_has_fields_that_there_are(block):
    example = json.loads(block.text)
    environments = example.get("environments", [example] if "environment" in example else [])
    resources = [it for each in environments for it in each["resources"]] + [example] * ("kind" in example)

    assert all(set(it) <= fields("report.rs", "Report") for it in environments)
    assert all(set(it) <= fields("report.rs", "Resource") for it in resources)
    if "environments" in example:
        assert set(example) <= fields("sweep/mod.rs", "SweepReport")
        assert set(example["vpcs"][0]) == fields("sweep/mod.rs", "VpcHealth")


# Alarms --------------------------------------------------------------------------------------


def alarm_anchor(template, logical_id, alarm):
    """Where the runbook tells of an alarm: the anchor that its description names, or else its logical id in small
    letters, since the section's heading is the logical id. participant.yaml's is named after what it means, because
    both templates have queues of undelivered events."""
    description = alarm["Properties"].get("AlarmDescription", "")
    text = description if isinstance(description, str) else json.dumps(description)
    if match := re.search(r"runbook(?:\.md)?#([\w-]+)", text):
        return match[1]
    return logical_id.lower() if template == "template.yaml" else "an-event-did-not-reach-the-owner"


def test_every_alarm_has_its_section_in_the_runbook(templates):
    alarms = {
        (name, logical_id): alarm_anchor(name, logical_id, it)
        for name, template in templates.items()
        for logical_id, it in template["Resources"].items()
        if it["Type"] == "AWS::CloudWatch::Alarm"
    }
    assert len(alarms) >= 2

    missing = {it: anchor for it, anchor in alarms.items() if anchor not in page("docs/runbook.md").anchors}
    assert not missing


def test_readme_leads_from_every_alarm_to_its_section(templates):
    linked = {link.split("#")[1] for link in page("README.md").links if link.startswith("docs/runbook.md#")}
    needed = {
        alarm_anchor(name, logical_id, it)
        for name, template in templates.items()
        for logical_id, it in template["Resources"].items()
        if it["Type"] == "AWS::CloudWatch::Alarm"
    }

    assert needed <= linked
