"""What the tests of the documentation share. The pages are in pages.py, the commands in programs.py."""

import pytest

from pages import ROOT, load_yaml as load


@pytest.fixture(scope="session")
def load_yaml():
    return load


@pytest.fixture(scope="session")
def templates():
    """Both templates, by their names."""
    return {name: load((ROOT / name).read_text()) for name in ("template.yaml", "participant.yaml")}
