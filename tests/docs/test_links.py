"""Every link leads somewhere, in the pages and in whatever else names them; and README is short."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

import pages
from pages import ROOT, page, slugged

PAGES = pages.pages()

# What names pages to people beside the pages.
NAMES_PAGES = ["template.yaml", "participant.yaml", "samconfig.toml", "Makefile", "Cargo.toml"]
NAMES_PAGES += [
    path.relative_to(ROOT).as_posix()
    for folder, ending in [("src", "*.rs"), ("tools", "*.py"), ("policies", "*"), ("docs", "*.svg")]
    for path in sorted((ROOT / folder).rglob(ending))
    if path.is_file()
]

# Where packages come from is a setting of whoever installs them. Names and endings, so that no host is named here either.
PUBLIC = {
    "pypi": "org", "pythonhosted": "org", "crates": "io", "npmjs": "(?:com|org)", "yarnpkg": "com", "rubygems": "org",
    r"proxy\.golang": "org", r"repo1?\.maven": "org", "jfrog": "io", r"artifactory[\w.-]*": r"\w+", r"nexus[\w-]*": r"[\w.-]+",
}  # fmt: skip
HOSTS = "|".join(rf"{name}\.{ending}" for name, ending in PUBLIC.items())
REGISTRIES = re.compile(rf"\b(?:[\w-]+\.)*(?:{HOSTS})\b", re.I)
MACHINE_PATHS = re.compile(r"(?<![\w.~/}-])/(?:work|root|tmp|home|Users|mnt|var/folders)(?:/[\w.-]+|(?![\w/-]))")


def test_the_readme_is_read_in_five_minutes():
    size = (ROOT / "README.md").stat().st_size

    assert size <= 12_288, f"README.md has {size} bytes: move what is not for a newcomer to docs/"


@pytest.mark.parametrize("it", PAGES, ids=str)
def test_every_link_leads_somewhere(it):
    broken = [link for link in it.links if is_ours(link) and not leads_somewhere(link, it.path)]

    assert not broken, f"{it}: {broken}"


def test_every_page_that_code_and_templates_name_is_there_with_its_anchor():
    broken = [
        f"{name}: {link}"
        for name in NAMES_PAGES
        for link in named_pages((ROOT / name).read_text())
        if not any(leads_somewhere(link, base) for base in (ROOT / "README.md", ROOT / name))
    ]

    assert not broken


def test_every_page_of_docs_can_be_reached_from_the_readme():
    reached, todo = set(), {page("README.md")}
    while todo:
        it = todo.pop()
        reached.add(it.path)
        linked = {(it.path.parent / unquote(link.split("#")[0])).resolve() for link in it.links if is_ours(link)}
        todo |= {other for other in PAGES if other.path in linked - reached}

    missing = [it for it in PAGES if it.path.parent == ROOT / "docs" and it.path not in reached]
    assert not missing


@pytest.mark.parametrize("it", PAGES, ids=str)
def test_no_page_names_a_place_of_one_machine_or_a_package_registry(it):
    found = [match[0] for rule in (MACHINE_PATHS, REGISTRIES) for match in rule.finditer(it.text)]

    assert not found, f"{it}: {found}"


@pytest.mark.parametrize(
    "heading, anchor",
    [
        ("Try it", "try-it"),
        ("0. The VPC", "0-the-vpc"),
        ("`CREATE_FAILED`: what now?", "create_failed-what-now"),
        ("A dry run, from *your* machine", "a-dry-run-from-your-machine"),
        ("Terraform & CloudFormation", "terraform--cloudformation"),
        ("[Security](security.md)", "security"),
        ("The sweep’s `--flag`", "the-sweeps---flag"),
    ],
)
def test_anchors_are_made_as_github_makes_them(heading, anchor):
    assert slugged(heading) == anchor


def is_ours(link):
    return not re.match(r"[a-z][a-z0-9+.-]*:|//", link)


def leads_somewhere(link, base):
    path, _, anchor = unquote(link).partition("#")
    target = (base.parent / path).resolve() if path else base
    if not target.exists() or not target.is_relative_to(ROOT):
        return False
    if not anchor:
        return True
    found = [it for it in PAGES if it.path == target]
    return bool(found) and anchor in found[0].anchors


def named_pages(text):
    """The Markdown files that a text names; of addresses, those of this project's own repository."""
    text = re.sub(r"https?://\S*?/mwaa-vpc-endpoints/(?:blob|tree)/[\w.-]+/", "", text)
    text = re.sub(r"https?://[^\s\"'<>)]+", "", text)
    return re.findall(r"(?<![\w/.-])(?:[\w.-]+/)*[\w-]+\.md(?:#[\w-]+)?", text)
