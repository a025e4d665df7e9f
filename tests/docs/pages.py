"""The project's Markdown files, taken apart: links, anchors, code blocks, tables and names in backticks."""

import os
import re
import sys
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "emulator"))
import cloudformation  # noqa: E402

# Folders that make and its tools fill.
MADE = {"target", "node_modules", "__pycache__"}

FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<kind>[^`\n]*)$")
CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.S)
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+[\"'(][^)]*)?\)")
REFERENCE = re.compile(r"^ {0,3}\[[^\]]+\]:\s*<?(\S+?)>?(?:\s|$)", re.M)
HTML_LINK = re.compile(r"<(?:a|img|source)\b[^>]*?\b(?:href|src|srcset)=\"([^\"]+)\"", re.S)
HTML_ANCHOR = re.compile(r"<[a-z0-9]+\b[^>]*?\b(?:id|name)=\"([^\"]+)\"", re.S)


@dataclass(frozen=True)
class Block:
    """A fenced block of code."""

    page: str
    line: int
    kind: str
    text: str

    def __str__(self):
        return f"{self.page}:{self.line}"


class Page:
    """A Markdown file."""

    def __init__(self, path):
        self.path = path
        self.name = path.relative_to(ROOT).as_posix()
        self.text = path.read_text()
        self.blocks, self.prose = _taken_apart(self.name, self.text)

    def __repr__(self):
        return self.name

    @property
    def spans(self):
        """What stands in backticks, outside of blocks."""
        return [" ".join(text.split()) for _, text in CODE_SPAN.findall(self.prose)]

    @property
    def links(self):
        """Where links and pictures point to."""
        text = CODE_SPAN.sub("``", self.prose)
        return [*LINK.findall(text), *REFERENCE.findall(text), *HTML_LINK.findall(text)]

    @property
    def headings(self):
        """Level and text of each heading."""
        return [
            (len(marks), text.strip())
            for marks, text in re.findall(r"^ {0,3}(#{1,6})\s+(.+?)\s*#*\s*$", self.prose, re.M)
        ]

    @property
    def anchors(self):
        """What a link may name behind its #, as GitHub makes it from the headings."""
        seen, anchors = Counter(), set(HTML_ANCHOR.findall(self.prose))
        for _, text in self.headings:
            slug = slugged(text)
            anchors.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
        return anchors

    @property
    def tables(self):
        """Each table as a list of rows, the one with the headings first; a row is a list of cells."""
        tables, rows = [], []
        for line in [*self.prose.splitlines(), ""]:
            if line.strip().startswith("|"):
                cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
                rows.append([cell.strip().replace(r"\|", "|") for cell in cells])
            elif rows:
                tables.append([row for row in rows if not re.fullmatch(r"[-: ]+", "".join(row))])
                rows = []
        return tables


def slugged(heading):
    """A heading's anchor: in small letters, without punctuation, with hyphens for spaces."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    text = re.sub(r"<[^>]+>", "", text) if "`" not in text else text
    text = re.sub(r"(?<![\w`])[*_]{1,2}(\S(?:.*?\S)?)[*_]{1,2}(?![\w`])", r"\1", text)
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


def _taken_apart(name, text):
    """The fenced blocks, and all else; in the latter blocks are empty lines, so that lines keep their numbers."""
    blocks, prose, inside, lines = [], [], None, []
    for number, line in enumerate(text.splitlines(), 1):
        fence = FENCE.match(line)
        if inside and fence and fence["fence"].startswith(inside["fence"]) and not fence["kind"].strip():
            kind = (inside["kind"].split() or [""])[0]
            blocks.append(Block(name, start, kind, "\n".join(lines) + "\n"))
            inside = None
        elif inside:
            lines.append(re.sub(rf"^ {{0,{len(inside['indent'])}}}", "", line))
        elif fence:
            inside, start, lines = fence, number, []
        prose.append("" if inside or fence else line)
    assert not inside, f"{name}:{start}: a block that does not end"
    return blocks, "\n".join(prose) + "\n"


@cache
def pages():
    """All Markdown files of the project."""
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [it for it in folders if it not in MADE and (it[0] != "." or it == ".github")]
        found += [Path(folder, file) for file in files if file.endswith(".md")]
    return [Page(path) for path in sorted(found)]


def page(name):
    """The page of this name."""
    found = [it for it in pages() if it.name == name]
    assert found, f"{name} is missing"
    return found[0]


def blocks(*kinds):
    """All blocks of code of these kinds."""
    return [block for it in pages() for block in it.blocks if block.kind in kinds]


def in_backticks(cell):
    """What stands in backticks in a table's cell, if that is all there is to the cell."""
    match = re.fullmatch(r"(`+)\s?(.*?)\s?\1", cell)
    return match and match[2]


def load_yaml(text):
    return cloudformation.load(text)
