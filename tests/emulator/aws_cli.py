"""The AWS CLI, version 2, in small: what the documentation's commands need of it, over botocore.

An operation's options come from botocore's service models, so that a misspelt one is refused as the CLI does. What is not
done here is refused, too: nothing is passed over in silence. AWS_ENDPOINT_URL_… lead to the emulated AWS.
https://docs.aws.amazon.com/cli/latest/reference/
"""

import base64
import datetime
import json
import re
import sys
import time
from pathlib import Path

import botocore.session
import jmespath
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

GLOBAL = {"--cli-binary-format", "--cli-read-timeout", "--output", "--profile", "--query", "--region"}
TAIL = {"--filter-pattern", "--since"}


class Usage(Exception):
    """A command that the CLI would not run."""


def main(words):
    if len(words) < 2:
        raise Usage("aws <service> <operation>")
    service, operation, *rest = words
    given, positional = options(rest)
    shared = {name: single(given, name) for name in GLOBAL & given.keys()}
    session = botocore.session.Session(profile=shared.get("--profile"))
    if service not in session.get_available_services():
        raise Usage(f"there is no service {service}")
    seconds = int(shared.get("--cli-read-timeout", 60))
    config = Config(read_timeout=seconds, retries={"total_max_attempts": 1})
    client = session.create_client(service, region_name=shared.get("--region"), config=config)
    if (service, operation) == ("logs", "tail"):
        return tail(client, given, positional)
    answer = call(client, operation, given, positional, shared.get("--cli-binary-format", "base64"))
    if answer:
        if query := shared.get("--query"):
            answer = jmespath.search(query, answer)
        show(answer, shared.get("--output", "json"))


def options(words):
    """{option: its words}, and the words before the first option or after the last one's value."""
    given, positional, at = {}, [], 0
    while at < len(words):
        if not words[at].startswith("--"):
            positional.append(words[at])
            at += 1
            continue
        name, equals, value = words[at].partition("=")
        at += 1
        end = at
        while not equals and end < len(words) and not words[end].startswith("--"):
            end += 1
        if name in given:
            raise Usage(f"{name} is given twice")
        given[name] = [value] if equals else words[at:end]
        at = end
    return given, positional


def single(given, name):
    if len(given[name]) != 1:
        raise Usage(f"{name} takes one value: {given[name]}")
    return given[name][0]


# Operations ----------------------------------------------------------------------------------


def call(client, operation, given, positional, binary_format):
    model = client.meta.service_model
    names = {xform_name(it, "-"): it for it in model.operation_names}
    if operation not in names:
        raise Usage(f"{model.service_name} has no operation {operation}")
    shape = model.operation_model(names[operation])
    members = shape.input_shape.members if shape.input_shape else {}
    required = set(shape.input_shape.required_members) if shape.input_shape else set()
    streams = shape.output_shape and shape.output_shape.serialization.get("payload")
    streams = streams if streams and shape.has_streaming_output else None
    by_option = {f"--{xform_name(it, '-')}": it for it in members}
    wanted = {}
    for option in given.keys() - GLOBAL:
        words, name = list(given[option]), by_option.get(option)
        if name is None and option.startswith("--no-") and f"--{option[5:]}" in by_option:
            name, words = by_option[f"--{option[5:]}"], ["false"]
        if name is None:
            raise Usage(f"unknown option: {option}")
        takes_many = members[name].type_name == "list"
        if streams and not takes_many and len(words) > 1:  # the file for the answer
            positional += words[1:]
            words = words[:1]
        wanted[name] = value_of(members[name], words, option, binary_format)
    if missing := required - wanted.keys():
        raise Usage(f"required: {', '.join(f'--{xform_name(it, chr(45))}' for it in sorted(missing))}")
    if len(positional) != (1 if streams else 0):
        raise Usage(f"{operation}: {positional or 'outfile is missing'}")
    method = xform_name(names[operation])
    if client.can_paginate(method) and not streams:
        answer = client.get_paginator(method).paginate(**wanted).build_full_result()
    else:
        answer = getattr(client, method)(**wanted)
    answer.pop("ResponseMetadata", None)
    if streams:
        Path(positional[0]).write_bytes(answer.pop(streams).read())
    return answer


def value_of(shape, words, option, binary_format):
    """What an option's words say."""
    kind = shape.type_name
    if kind == "boolean" and words in ([], ["true"], ["false"]):
        return words != ["false"]
    if not words:
        raise Usage(f"{option} takes a value")
    if kind == "list" and not words[0].startswith("["):
        return [value_of(shape.member, [it], option, binary_format) for it in words]
    if len(words) != 1:
        raise Usage(f"{option} takes one value: {words}")
    (word,) = words
    if kind == "blob":
        return blob(word, binary_format)
    if word.startswith("file://"):
        word = Path(word[7:]).read_text()
    if kind in ("integer", "long"):
        return int(word)
    if kind == "string":
        return word
    if word.startswith(("{", "[")):
        return json.loads(word)
    if kind == "structure":
        return shorthand(shape, word, option)
    raise Usage(f"{option}: not understood: {word}")


def blob(word, binary_format):
    if word.startswith("fileb://"):
        return Path(word[8:]).read_bytes()
    if word.startswith("file://"):
        word = Path(word[7:]).read_text()
    if binary_format == "raw-in-base64-out":
        return word.encode()
    return base64.b64decode(word, validate=True)


def shorthand(shape, word, option):
    """Name=a,Values=b,c"""
    parts = re.split(r",(?=\w+=)", word)
    found = {}
    for part in parts:
        name, equals, value = part.partition("=")
        member = shape.members.get(name)
        if not equals or member is None or member.type_name not in ("string", "list"):
            raise Usage(f"{option}: not understood: {word}")
        found[name] = value.split(",") if member.type_name == "list" else value
    return found


def tail(client, given, positional):
    if unknown := given.keys() - GLOBAL - TAIL:
        raise Usage(f"unknown options: {', '.join(unknown)}")
    (group,) = positional
    amount, unit = re.fullmatch(r"(\d+)([smhdw])", single(given, "--since") if "--since" in given else "10m").groups()
    seconds = int(amount) * {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}[unit]
    asked = {"logGroupName": group, "startTime": int((time.time() - seconds) * 1000)}
    if "--filter-pattern" in given:
        asked["filterPattern"] = single(given, "--filter-pattern")
    for page in client.get_paginator("filter_log_events").paginate(**asked):
        for it in page["events"]:
            told = datetime.datetime.fromtimestamp(it["timestamp"] / 1000, datetime.timezone.utc)
            print(told.isoformat(), it["logStreamName"], it["message"].rstrip("\n"))


# What is shown -------------------------------------------------------------------------------


def show(answer, form):
    if form == "json":
        print(json.dumps(answer, indent=4, default=plain, ensure_ascii=False))
    elif form in ("text", "table"):
        has_rows = isinstance(answer, list) and all(isinstance(it, list) for it in answer)
        for row in answer if has_rows else [answer]:
            cells = row if isinstance(row, list) else [row]
            if any(isinstance(it, (dict, list)) for it in cells):
                raise Usage(f"--output {form} of this is not done here: {row}")
            cells = [it if isinstance(it, str) else str(plain(it)) for it in cells]
            print("\t".join(cells) if form == "text" else f"|  {'  |  '.join(cells)}  |")
    else:
        raise Usage(f"--output {form}")


def plain(value):
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (Usage, ValueError) as error:
        print(f"aws: [ERROR]: {error}", file=sys.stderr)
        sys.exit(252)
    except ClientError as error:
        print(f"\nAn error occurred: {error}", file=sys.stderr)
        sys.exit(254)
    except BotoCoreError as error:
        print(f"\naws: [ERROR]: {error}", file=sys.stderr)
        sys.exit(255)
