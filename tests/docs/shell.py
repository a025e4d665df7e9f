"""Takes shell text apart into its commands, as far as documentation needs it."""

import re
from dataclasses import dataclass, field

KEYWORDS = {"if", "then", "else", "elif", "fi", "while", "until", "do", "done", "!", "{", "}", "time"}
ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.S)
HERE_DOCUMENT = re.compile(r"<<-?\s*(['\"]?)(\w+)\1.*?\n(.*?\n)?\s*\2(?=\n|$)", re.S)
# Stands for what the shell would put in: a variable, or what a command prints.
FILLED_IN = "\N{OBJECT REPLACEMENT CHARACTER}"


@dataclass
class Command:
    """A simple command: variables that are set for it, its words without quotes, and the files it writes."""

    variables: dict = field(default_factory=dict)
    words: list = field(default_factory=list)
    writes: list = field(default_factory=list)

    def __str__(self):
        return " ".join([*(f"{name}={value}" for name, value in self.variables.items()), *self.words])


def commands(text):
    """All commands of a text, those in $(…) as well."""
    text = HERE_DOCUMENT.sub("", text).replace("\\\n", " ")
    found, inner = [], []
    command, redirected = Command(), None

    def end():
        nonlocal command, redirected
        assert redirected is None, f"nothing to redirect to: {text}"
        if command.words and command.words[0] == "for":
            command = Command()
        if command.words or command.variables:
            found.append(command)
        command = Command()

    for kind, word in _tokens(text, inner):
        if kind == "separator":
            end()
        elif kind == "redirection":
            redirected = word
        elif redirected is not None:
            if ">" in redirected:
                command.writes.append(word)
            redirected = None
        elif not command.words and kind == "bare" and word in KEYWORDS:
            continue
        elif not command.words and (match := ASSIGNMENT.fullmatch(word)):
            command.variables[match[1]] = match[2]
        else:
            command.words.append(word)
    end()
    return found + [it for text in inner for it in commands(text)]


def _tokens(text, inner):
    """Words, separators of commands and redirections; `inner` gets what stands in $(…)."""
    at, word, is_bare = 0, None, True
    while at < len(text):
        rest = text[at:]
        if rest[0] == "\\" and len(rest) > 1:
            word, at, is_bare = (word or "") + rest[1], at + 2, False
        elif rest[0] == "'":
            end = rest.index("'", 1)
            word, at, is_bare = (word or "") + rest[1:end], at + end + 1, False
        elif rest[0] == '"':
            quoted, length = _double_quoted(rest, inner)
            word, at, is_bare = (word or "") + quoted, at + length, False
        elif length := _substitution(rest, inner):
            word, at, is_bare = (word or "") + FILLED_IN, at + length, False
        elif rest[0] == "#" and word is None:
            at += len(rest.split("\n", 1)[0])
        elif match := re.match(r"\d?(?:>>|>&|<&|>|<)|&>", rest) if word is None else re.match(r">>|>&|>|<", rest):
            if word is not None:
                yield "bare" if is_bare else "quoted", word
                word, is_bare = None, True
            if descriptor := re.match(r"\d?[<>]&[\d-]", rest):
                at += len(descriptor[0])
            else:
                yield "redirection", match[0]
                at += len(match[0])
        elif match := re.match(r"&&|\|\||;;|[;|&\n()]", rest):
            if word is not None:
                yield "bare" if is_bare else "quoted", word
                word, is_bare = None, True
            yield "separator", match[0]
            at += len(match[0])
        elif rest[0].isspace():
            if word is not None:
                yield "bare" if is_bare else "quoted", word
                word, is_bare = None, True
            at += 1
        else:
            word, at = (word or "") + rest[0], at + 1
    if word is not None:
        yield "bare" if is_bare else "quoted", word


def _double_quoted(text, inner):
    """What a text's double quotes hold, and how long it is with them."""
    at, quoted = 1, ""
    while text[at] != '"':
        if text[at] == "\\" and text[at + 1] in '"\\$`\n':
            quoted, at = quoted + text[at + 1], at + 2
        elif length := _substitution(text[at:], inner):
            quoted, at = quoted + FILLED_IN, at + length
        else:
            quoted, at = quoted + text[at], at + 1
    return quoted, at + 1


def _substitution(text, inner):
    """How long the $(…), ${…} or $NAME is that a text begins with."""
    if text.startswith("$(("):
        return text.index("))") + 2
    if text.startswith("$("):
        depth, at, quote = 0, 1, None
        while True:
            if quote:
                quote = None if text[at] == quote else quote
            elif text[at] in "'\"":
                quote = text[at]
            else:
                depth += {"(": 1, ")": -1}.get(text[at], 0)
            at += 1
            if not depth:
                inner.append(text[2 : at - 1])
                return at
    if match := re.match(r"\$(?:\{[^}]*\}|\w+|[?@*#!$])", text):
        return len(match[0])
    return 0
