"""CloudWatch in small: when an alarm is on, and what a query of Logs Insights finds.

Statistics over sliding windows, M of N, missing data, and the metric math that the templates use. Time is in minutes. What it
leaves out: CloudWatch fetches a few periods more than it evaluates, and takes an older datapoint rather than none, so an
alarm whose metric falls silent may be on for longer.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
"""

import bisect
import functools
import json
import re
from collections import defaultdict

NOW = 1_772_619_300_000  # 2026-03-04T10:15:00Z, in milliseconds


def dimensions_of(metric):
    return {it["Name"]: it["Value"] for it in metric.get("Dimensions", [])}


def queries(alarm):
    """What an alarm asks for, by ids: (namespace, metric, dimensions, statistic, period in minutes); and its expression."""
    if "MetricName" in alarm:
        asked = (alarm["Namespace"], alarm["MetricName"], dimensions_of(alarm), alarm["Statistic"], alarm["Period"] // 60)
        return {"m": asked}, "m"
    (expression,) = [it["Expression"] for it in alarm["Metrics"] if it.get("ReturnData", True)]
    found = {}
    for it in alarm["Metrics"]:
        if "MetricStat" in it:
            stat, metric = it["MetricStat"], it["MetricStat"]["Metric"]
            found[it["Id"]] = (
                metric["Namespace"], metric["MetricName"], dimensions_of(metric), stat["Stat"], stat["Period"] // 60,
            )  # fmt: skip
    return found, expression


def period(alarm):
    (minutes,) = {it[4] for it in queries(alarm)[0].values()}
    return minutes


class Data:
    """What was published: values with their minutes."""

    def __init__(self):
        self.points = defaultdict(list)

    def put(self, minute, namespace, name, value, **dimensions):
        self.points[namespace, name, frozenset(dimensions.items())].append((minute, value))

    def statistic(self, asked, end):
        namespace, name, dimensions, statistic, minutes = asked
        points = sorted(self.points.get((namespace, name, frozenset(dimensions.items())), []))
        first, last = (bisect.bisect_left(points, (minute,)) for minute in (end - minutes, end))
        values = [value for _, value in points[first:last]]
        return {"Sum": sum, "Maximum": max, "Minimum": min}[statistic](values) if values else None


def fill(value, instead):
    if isinstance(value, list):
        return [fill(it, instead) for it in value]
    return instead if value is None else value


def calculated(expression, values):
    """One datapoint of metric math; none where something is missing that is not filled."""
    functions = {
        "FILL": fill,
        "SUM": lambda series: sum(it for it in series if it is not None),
        "METRICS": lambda: list(values.values()),
    }
    try:
        return eval(expression, {"__builtins__": {}}, functions | values)
    except TypeError:
        assert None in values.values()
        return None


def is_breaching(alarm, data, end):
    asked, expression = queries(alarm)
    value = calculated(expression, {id: data.statistic(it, end) for id, it in asked.items()})
    if value is None:
        return {"breaching": True, "notBreaching": False}[alarm["TreatMissingData"]]
    threshold = float(alarm["Threshold"])
    return {
        "GreaterThanThreshold": value > threshold,
        "GreaterThanOrEqualToThreshold": value >= threshold,
        "LessThanThreshold": value < threshold,
    }[alarm["ComparisonOperator"]]


def is_on(alarm, data, now, breaching=is_breaching):
    count, step = int(alarm["EvaluationPeriods"]), period(alarm)
    needed = int(alarm.get("DatapointsToAlarm", count))
    return sum(breaching(alarm, data, now - k * step) for k in range(count)) >= needed


HOUR, DAY = 60, 24 * 60


def on_times(alarm, data, begin, end, step=5):
    known = functools.cache(lambda end: is_breaching(alarm, data, end))
    return [now for now in range(begin, end, step) if is_on(alarm, data, now, lambda *it: known(it[-1]))]


class Insights:
    """CloudWatch Logs Insights in small: the commands and functions that the templates use, on lines of JSON.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax.html
    """

    TOKEN = re.compile(
        r"""\s*(?:(?P<regex>/(?:[^/\\]|\\.)+/)|(?P<text>"[^"]*")|(?P<number>\d+(?:\.\d+)?)|(?P<name>[@\w][\w.]*)"""
        r"""|(?P<sign>!=|>=|<=|[=<>()*+,-]))"""
    )

    def __init__(self, query):
        self.commands = [it.strip().partition(" ")[::2] for it in self._parted(query)]

    @staticmethod
    def _parted(query):
        """The commands: what stands between pipes, but for those in texts and regular expressions."""
        return re.findall(r"""(?:"[^"]*"|'[^']*'|/(?:[^/\\]|\\.)+/|[^|"'/])+""", query)

    @staticmethod
    def event(minutes_ago, line):
        """A line as Insights sees it: its fields by their paths, and its own @timestamp and @message."""
        fields = {"@timestamp": NOW - minutes_ago * 60_000, "@message": json.dumps(line, separators=(",", ":"))}

        def flat(value, path):
            if isinstance(value, dict | list):
                for key, it in value.items() if isinstance(value, dict) else enumerate(value):
                    flat(it, [*path, str(key)])
            else:
                fields[".".join(path)] = value

        flat(line, [])
        return fields

    def run(self, events):
        rows, shown = list(events), ["@timestamp", "@message"]
        for command, rest in self.commands:
            if command == "filter":
                rows = [row for row in rows if self._value(rest, row)]
            elif command == "fields":
                shown = [it.strip() for it in rest.split(",")]
            elif command == "parse":
                field, pattern = re.fullmatch(r"(@?\w+) /(.*)/", rest).groups()
                pattern = re.sub(r"\(\?<(\w+)>", r"(?P<\1>", pattern)  # Python's way to name a part
                matches = [re.search(pattern, str(row[field])) for row in rows]
                rows = [row | (match.groupdict() if match else {}) for row, match in zip(rows, matches)]
            elif command == "stats":
                rows, shown = self._stats(rest, rows)
            elif command == "sort":
                field, order = rest.split()
                rows.sort(key=lambda row: row[field], reverse={"asc": False, "desc": True}[order])
            elif command == "limit":
                rows = rows[: int(rest)]
            else:
                assert command == "SOURCE", command
        return [{name: row.get(name) for name in shown} for row in rows]

    def _stats(self, rest, rows):
        measures, by = rest.split(" by ")
        by = [it.strip() for it in by.split(",")]
        wanted = [re.fullmatch(r"(\w+)\(([@\w.*]+)\) as (\w+)", it.strip()).groups() for it in measures.split(", ")]
        groups = defaultdict(list)
        for row in rows:
            groups[tuple(row.get(it) for it in by)].append(row)
        functions = {
            "latest": lambda group, field: max(group, key=lambda row: row["@timestamp"])[field],
            "max": lambda group, field: max(row[field] for row in group),
            "count": lambda group, field: len(group),
        }
        table = [
            dict(zip(by, key)) | {name: functions[function](group, field) for function, field, name in wanted}
            for key, group in groups.items()
        ]
        return table, [*by, *(name for _, _, name in wanted)]

    def _value(self, text, row):
        """The value of an expression: translated into Python's, word by word."""
        words, at = [], 0
        while at < len(text.rstrip()):
            match = self.TOKEN.match(text, at)
            assert match, f"not understood: {text[at:]}"
            at, kind, word = match.end(), match.lastgroup, match[match.lastgroup]
            if kind == "regex":
                words.append(f"regex({word[1:-1]!r})")
            elif kind == "name" and word not in ("and", "or", "not", "like", "now", "toMillis"):
                words.append(f"field({word!r})")
            else:
                words.append({"=": "==", "like": "<<"}.get(word, word))
        functions = {
            "field": lambda name: Field(row.get(name)),
            "regex": re.compile,
            "now": lambda: NOW // 1000,
            "toMillis": lambda field: field.value,
        }
        return eval(" ".join(words), {"__builtins__": {}}, functions)


class Field:
    """A field's value in a comparison; one that a line does not have equals nothing."""

    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return self.value == other

    def __ne__(self, other):
        return self.value != other

    def __lt__(self, other):
        return self.value is not None and self.value < other

    def __ge__(self, other):
        return self.value is not None and self.value >= other

    def __lshift__(self, pattern):  # like
        text = "" if self.value is None else str(self.value)
        return pattern in text if isinstance(pattern, str) else bool(pattern.search(text))
