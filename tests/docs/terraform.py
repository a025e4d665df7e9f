"""Reads Terraform's language, as far as the pages use it: blocks, their labels, arguments and what is in them."""

import re
from dataclasses import dataclass, field

TOKEN = re.compile(
    r"(?P<space>[ \t\r]+|(?:\#|//)[^\n]*|/\*.*?\*/)|(?P<line>\n)"
    r"|(?P<text>\"(?:\\.|\$\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}|[^\"\\\n])*\")"
    r"|(?P<heredoc><<-?(?P<mark>\w+)\n.*?\n\s*(?P=mark)(?=\n))"
    r"|(?P<name>[A-Za-z_][\w-]*)|(?P<number>\d+(?:\.\d+)?)|(?P<sign>=>|==|!=|<=|>=|&&|\|\||\.\.\.|[{}()\[\]=.,:?!<>+*/%-])",
    re.S,
)
PAIRS = {"{": "}", "[": "]", "(": ")"}


class Wrong(Exception):
    """What is wrong with a text."""


@dataclass
class Body:
    """What stands between a block's braces."""

    arguments: set = field(default_factory=set)
    blocks: list = field(default_factory=list)


@dataclass
class Block:
    """A block: its type, its labels, and its body."""

    kind: str
    labels: list
    body: Body


def read(text):
    """A file's body."""
    tokens, at = [], 0
    while at < len(text):
        match = TOKEN.match(text, at)
        if not match:
            raise Wrong(f"not Terraform's language: {text[at : at + 30]!r}")
        if match.lastgroup != "space" and not match["space"]:
            kind = next(it for it in ("line", "text", "heredoc", "name", "number", "sign") if match[it])
            tokens.append((kind, match[0]))
        at = match.end()
    body, end = _body(tokens, 0)
    if end != len(tokens):
        raise Wrong("a } too many")
    return body


def _body(tokens, at):
    body = Body()
    while at < len(tokens):
        kind, text = tokens[at]
        if kind == "line":
            at += 1
        elif text == "}":
            return body, at
        elif kind != "name":
            raise Wrong(f"an argument or a block should begin here: {text}")
        elif tokens[at + 1 : at + 2] == [("sign", "=")]:
            if text in body.arguments:
                raise Wrong(f"{text} is given twice")
            body.arguments.add(text)
            at = _expression(tokens, at + 2, text)
        else:
            labels, at = [], at + 1
            while at < len(tokens) and tokens[at][0] in ("text", "name"):
                labels.append(tokens[at][1].strip('"'))
                at += 1
            if tokens[at : at + 1] != [("sign", "{")]:
                raise Wrong(f"{text} is neither an argument nor a block")
            inner, at = _body(tokens, at + 1)
            if at >= len(tokens):
                raise Wrong(f"the block {text} does not end")
            body.blocks.append(Block(text, labels, inner))
            at += 1
    return body, at


def _expression(tokens, at, name):
    """The end of an expression: that of its line, unless a bracket is open."""
    begin, open_ = at, []
    while at < len(tokens):
        kind, text = tokens[at]
        if kind == "line" and not open_:
            break
        if kind == "sign" and text in PAIRS:
            open_.append(PAIRS[text])
        elif kind == "sign" and text in PAIRS.values():
            if not open_:
                break
            if open_.pop() != text:
                raise Wrong(f"{name}: brackets that do not match")
        at += 1
    if open_ or at == begin:
        raise Wrong(f"{name} has no whole value")
    return at
