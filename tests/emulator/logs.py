"""CloudWatch Logs in small: FilterLogEvents with its filter patterns, which moto has not.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
"""

import json
import operator
import re
import time

TERM = re.compile(r'\s*([?-]?)("(?:[^"\\]|\\.)*"|[^\s"]+)')
TOKEN = re.compile(r'\s*(\$[\w.\[\]]+|"(?:[^"\\]|\\.)*"|&&|\|\||!=|>=|<=|[=<>(){}]|[\w.*-]+)')
COMPARED = {"=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


class Logs:
    """One log group: lines with their times in milliseconds."""

    def __init__(self, group):
        self.group = group
        self.events = []

    def put(self, line, ago=0):
        """A line that was written some seconds ago."""
        self.events.append((int((time.time() - ago) * 1000), line))

    def answer(self, _method, _path, headers, body):
        call, asked = headers["X-Amz-Target"].partition(".")[2], json.loads(body)
        assert call == "FilterLogEvents" and asked.keys() <= {"logGroupName", "startTime", "filterPattern"}, (call, asked)
        if asked["logGroupName"] != self.group:
            return _json(400, {"__type": "ResourceNotFoundException", "message": "There is no such log group."})
        is_wanted = pattern(asked.get("filterPattern", ""))
        found = [
            {"logStreamName": "2026/03/04/[$LATEST]1a2b3c", "timestamp": at, "message": line, "eventId": str(n)}
            for n, (at, line) in enumerate(self.events)
            if at >= asked.get("startTime", 0) and is_wanted(line)
        ]
        return _json(200, {"events": found, "searchedLogStreams": []})


def _json(status, value):
    return status, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(value).encode()


def pattern(text):
    """Whether a line matches a filter pattern."""
    text = text.strip()
    return _of_json(text) if text.startswith("{") else _of_terms(text)


def _of_terms(text):
    """All terms, at least one of those with ?, and none of those with -."""
    found = {"": [], "?": [], "-": []}
    for kind, term in TERM.findall(text):
        found[kind].append(term[1:-1].replace('\\"', '"') if term.startswith('"') else term)
    assert not (found["?"] and found[""]), f"CloudWatch ignores the terms with ? beside others: {text}"

    def matches(line):
        has_any = not found["?"] or any(it in line for it in found["?"])
        return has_any and all(it in line for it in found[""]) and not any(it in line for it in found["-"])

    return matches


def _of_json(text):
    tokens = TOKEN.findall(text)
    assert "".join(tokens) == re.sub(r'\s+(?=(?:[^"]*"[^"]*")*[^"]*$)', "", text), f"not understood: {text}"
    assert tokens.pop(0) == "{" and tokens.pop() == "}", text

    def any_of(tokens):
        left = all_of(tokens)
        while tokens[:1] == ["||"]:
            tokens.pop(0)
            left = _either(left, all_of(tokens))
        return left

    def all_of(tokens):
        left = one(tokens)
        while tokens[:1] == ["&&"]:
            tokens.pop(0)
            left = _both(left, one(tokens))
        return left

    def one(tokens):
        if tokens[0] == "(":
            tokens.pop(0)
            inner = any_of(tokens)
            assert tokens.pop(0) == ")", text
            return inner
        selector, sign, value = (tokens.pop(0) for _ in range(3))
        assert selector.startswith("$.") and sign in COMPARED, text
        return _comparison(selector[2:].split("."), sign, value)

    wanted = any_of(tokens)
    assert not tokens, text

    def matches(line):
        try:
            return wanted(json.loads(line))
        except ValueError:
            return False

    return matches


def _either(left, right):
    return lambda line: left(line) or right(line)


def _both(left, right):
    return lambda line: left(line) and right(line)


def _comparison(path, sign, wanted):
    """A field that is not there matches nothing."""
    is_text = wanted.startswith('"')
    wanted = wanted[1:-1] if is_text else wanted
    assert is_text or re.fullmatch(r"[\d.-]+", wanted), wanted

    def compare(line):
        for name in path:
            if not isinstance(line, dict) or name not in line:
                return False
            line = line[name]
        if isinstance(line, (dict, list)) or line is None:
            return False
        if not is_text:
            return isinstance(line, (int, float)) and COMPARED[sign](line, float(wanted))
        assert sign in ("=", "!="), sign
        return COMPARED[sign](re.fullmatch(re.escape(wanted).replace(r"\*", ".*"), str(line)) is not None, True)

    return compare
