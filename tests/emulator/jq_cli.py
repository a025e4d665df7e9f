"""jq, from the library of PyPI's package `jq`, with the options that the documentation uses; others are refused.

https://jqlang.org/manual/
"""

import json
import sys
from pathlib import Path

import jq


def main(words):
    flags, named, rest = set(), {}, []
    while words:
        word = words.pop(0)
        if word == "--arg":
            name, value, *words = words
            named[name] = value
        elif word.startswith("-") and len(word) > 1 and set(word[1:]) <= set("rcne"):
            flags |= set(word[1:])
        elif word.startswith("-"):
            sys.exit(f"jq: Unknown arguments: {word}")
        else:
            rest.append(word)
    program, *files = rest
    text = "".join(Path(it).read_text() for it in files) if files else "" if "n" in flags else sys.stdin.read()
    compiled = jq.compile(program, args=named)
    value = None
    for value in compiled.input_value(None) if "n" in flags else compiled.input_text(text):
        if "r" in flags and isinstance(value, str):
            print(value)
        elif "c" in flags:
            print(json.dumps(value, separators=(",", ":"), ensure_ascii=False))
        else:
            print(json.dumps(value, indent=2, ensure_ascii=False))
    return 1 if "e" in flags and value in (None, False) else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ValueError as error:
        print(f"jq: error: {error}", file=sys.stderr)
        sys.exit(5)
