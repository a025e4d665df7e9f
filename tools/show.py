"""What the tools print for people: reports of the function, in colour on a terminal."""

import os
import sys
import textwrap

WIDTH = 100
COLOURS = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "cyan": 36}
COLOURFUL = sys.stdout.isatty() and "NO_COLOR" not in os.environ
MARKS = {"+": "green", "~": "yellow", "-": "red", "!": "red", "=": "dim", " ": None}
ROLES = {"database": "database", "webserver": "web server"}
OUTCOMES = {
    "created": "+",
    "updated": "~",
    "deleted": "-",
    "kept": "=",
    "left": "!",
    "blocked": "!",
    "failed": "!",
}


def show_result(result):
    """The answer of the function about one environment, line by line."""
    if reason := result.get("reason"):
        for line in wrapped(reason, WIDTH - 4):
            mark("=", line)
    for done in result["resources"]:
        what = {
            "endpoint": f"{ROLES.get(done.get('role'))} endpoint",
            "sqs-endpoint": "SQS endpoint",
        }
        name = what.get(done["kind"], done["kind"].replace("-", " "))
        first, *more = wrapped(done["detail"], WIDTH - 34)
        mark(OUTCOMES[done["outcome"]], f"{done['outcome']:<8} {name:<20} {first}")
        for line in more:
            mark(" ", f"{'':<30}{line}")
    for warning in result["warnings"]:
        for line in wrapped(f"{warning['message']} {warning.get('remedy', '')}", WIDTH - 4):
            mark("!", line)


def paint(colour, text):
    return f"\033[{COLOURS[colour]}m{text}\033[0m" if COLOURFUL and colour and text else text


def bold(text):
    return paint("bold", text)


def section(title, note=""):
    gap = " " * (WIDTH - len(title) - len(note))
    print(f"\n{paint('cyan', title)}{gap if note else ''}{paint('dim', note)}")


def mark(sign, text):
    colour = MARKS[sign]
    print(f"  {paint(colour, sign)} {paint(colour, text) if sign in '+-' else text}".rstrip())


def fact(name, text):
    print(f"  {name:<11} {shortened(text, WIDTH - 14)}")


def paragraph(text):
    for line in wrapped(text, WIDTH):
        print(line)


def wrapped(text, width):
    """The text as lines, with words that are longer than a line cut."""
    words = " ".join(shortened(word, width) for word in text.split())
    return textwrap.wrap(words, width, break_long_words=False, break_on_hyphens=False)


def shortened(text, width):
    """The text, cut where it says least if it is too long: an ARN behind its beginning."""
    if len(text) <= width:
        return text
    head = text.find("arn:") + 4 if "arn:" in text else width // 2
    return f"{text[:head]}…{text[len(text) - width + head + 1 :]}"


def fail(why):
    print()
    for line in wrapped(why, WIDTH - 4):
        mark("!", paint("red", line))
    sys.exit(1)
