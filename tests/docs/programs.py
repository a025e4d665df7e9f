"""What the programs understand that the documentation tells people to run: make, cargo, the AWS CLI, SAM, mwaa-vpc.

Each `check_…` raises a Wrong that says what is not so. Nothing here reaches AWS: the AWS CLI's commands are those of
botocore's service models, SAM's and cargo-lambda's are asked of themselves.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import botocore.session
from botocore import xform_name

from pages import ROOT, load_yaml
from shell import FILLED_IN

TOOLS = Path(sys.prefix)
SAM = TOOLS.parent / "sam"

# What a reader knows what to do with, and what these tests do not look into.
PLAIN = {
    "cat", "cd", "chmod", "cp", "curl", "cut", "date", "diff", "echo", "exit", "export", "false", "git", "grep", "head",
    "install", "jq", "ls", "mkdir", "mktemp", "mv", "printf", "python3", "read", "rm", "rustup", "sed", "set", "sha256sum",
    "sleep", "sort", "sudo", "tail", "tar", "tee", "test", "time", "true", "unzip", "uv", "wc", "xargs", "zip", "[",
}  # fmt: skip
CARGO = {"add", "bench", "build", "check", "clippy", "doc", "fmt", "install", "metadata", "run", "test", "tree", "update"}
TERRAFORM = {"apply", "fmt", "get", "import", "init", "output", "plan", "show", "state", "test", "validate"}
# Variables that programs read beside those of this project.
VARIABLES = re.compile(r"AWS_[A-Z_]+|CARGO_[A-Z_]+|RUST_[A-Z_]+|SAM_CLI_[A-Z_]+|TF_[A-Za-z_]+|NO_COLOR|PATH|HTTPS?_PROXY")


class Wrong(Exception):
    """What is wrong with a command."""


def check(command, made=(), is_whole=True):
    """Whether a command can be run as it stands. `made` are files that earlier commands wrote.

    One that is mentioned in a sentence need not be whole: it may leave out what must be given.
    """
    settings = make_variables() | function_variables()
    for name in command.variables:
        of_this_text = not command.words
        if not (of_this_text or name in settings or VARIABLES.fullmatch(name)):
            raise Wrong(f"nobody reads the variable {name}")
    if not command.words:
        return
    program, *words = command.words
    if program == "make":
        check_make(words)
    elif program == "aws":
        check_aws(words, made, is_whole)
    elif program == "sam":
        check_sam(words, made)
    elif program == "cargo":
        check_cargo(words, made)
    elif program == "mwaa-vpc":
        check_mwaa_vpc(words, made, is_whole)
    elif program == "terraform":
        if not words or words[0] not in TERRAFORM:
            raise Wrong(f"terraform does not know {words[:1]}")
    elif program == "jq":
        check_jq(words)
    elif program == "python3" and words and words[0].endswith(".py"):
        check_file(words[0], made)
    elif program not in PLAIN and not (ROOT / program).is_file() and program not in made:
        raise Wrong(f"{program} is a program that nobody told to install")


def check_file(name, made):
    """Whether a file is there that a command reads."""
    if FILLED_IN in name or "…" in name or "<" in name:
        return
    # cargo and sam fill it.
    is_built = name.startswith(("target/", ".venv/", ".aws-sam/"))
    if not ((ROOT / name).exists() or name in made or is_built or name.startswith("/dev/")):
        raise Wrong(f"there is no file {name}")


# make ----------------------------------------------------------------------------------------


@cache
def make_targets():
    text = (ROOT / "Makefile").read_text()
    return set(re.findall(r"^([A-Za-z][\w-]*)(?:\s+[\w-]+)*\s*:(?!=)", text, re.M)) | {
        name for names in re.findall(r"^([a-z][a-z -]*):(?!=)", text, re.M) for name in names.split()
    }


@cache
def make_variables():
    """Those of the Makefile, and those that its tools read."""
    text = (ROOT / "Makefile").read_text()
    names = set(re.findall(r"^(?:override |export )?([A-Z_]+)\s*[?:]?=", text, re.M))
    names |= set(re.findall(r"\$\(([A-Z_]+)\)", text))
    for path in [*(ROOT / "tools").glob("*.py"), *(ROOT / "bench").glob("*.py")]:
        names |= set(re.findall(r"environ(?:\.get)?[\[(]\s*\"([A-Z_]+)\"", path.read_text()))
    return names


@cache
def function_variables():
    """The variables that template.yaml hands to the function."""
    text = (ROOT / "template.yaml").read_text().split("        Variables:\n", 1)[1]
    return set(re.findall(r"^          ([A-Z_]+):", text.split("\n      #", 1)[0], re.M))


def check_make(words):
    for word in words:
        name, is_variable, _ = word.partition("=")
        if word.startswith("-"):
            continue
        if is_variable and name not in make_variables():
            raise Wrong(f"make, and what it calls, reads no variable {name}")
        if not is_variable and word not in make_targets():
            raise Wrong(f"the Makefile has no target {word}")


# cargo ---------------------------------------------------------------------------------------


@cache
def cargo_lambda_options(command):
    """The options of a cargo-lambda command, as its help tells them."""
    program = TOOLS / "bin" / "cargo-lambda"
    done = subprocess.run([program, "lambda", command, "--help"], capture_output=True, text=True)
    if done.returncode:
        raise Wrong(f"cargo lambda does not know {command}")
    lines = re.findall(r"^\s+(-.*)$", done.stdout, re.M)
    return {option for line in lines for option in re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", line.split("  ")[0])}


def check_cargo(words, made):
    words = [word for word in words if not word.startswith("+")]
    if not words or words[0] not in {*CARGO, "lambda"} and not words[0].startswith("-"):
        raise Wrong(f"cargo does not know {' '.join(words[:1])}")
    if words[0] != "lambda" or len(words) < 2:
        return
    known = cargo_lambda_options(words[1])
    for option, value in options(words[2:]):
        if option not in known:
            raise Wrong(f"cargo lambda {words[1]} has no option {option}")
        if option == "--data-file":
            check_file(value, made)


def options(words):
    """Pairs of an option and the word behind it, or behind its =; all behind -- is somebody else's."""
    words = words[: words.index("--")] if "--" in words else words
    for word, after in zip(words, [*words[1:], ""]):
        if re.match(r"--?[A-Za-z]", word):
            option, given, value = word.partition("=")
            yield option, value if given else after


# mwaa-vpc ------------------------------------------------------------------------------------


@cache
def mwaa_vpc_options():
    """Each command of the command line with its options, as its source has them; flags without a value have None.

    A test over the wire holds them against what the program's help says.
    """
    folder = ROOT / "src" / "bin" / "mwaa-vpc"
    shared = (folder / "options.rs").read_text()
    settings = shared.split("const SETTINGS", 1)[1].split("];", 1)[0]
    through = (folder / "deployed.rs").read_text()
    found = {}
    for path in sorted([*folder.glob("*.rs"), *folder.glob("*/mod.rs")]):
        text = path.read_text().split("#[cfg(test)]")[0]
        if "pub const NEEDS" not in text:
            continue
        names = re.findall(r"\b(?:time|planned|limit)\(\s*\"([a-z-]+)\"", text)
        names += re.findall(r"\boption\(\s*\"([a-z-]+)\"", shared)
        if "with_settings" in text:
            names += re.findall(r"\(\s*\"([a-z-]+)\",\s*\"[A-Z_]+\"", settings)
        flags = re.findall(r"\bflag\(\s*\"([a-z-]+)\"", shared)
        if "with_function" in text:
            names += re.findall(r"\boption\(\s*\"([a-z-]+)\"", through)
            text += through
        for name, rest in re.findall(r"\.long\(\"([a-z-]+)\"\)(.*?)(?=Arg::new|\Z)", text, re.S):
            (flags if "ArgAction::SetTrue" in rest else names).append(name)
        name = path.parent.name if path.stem == "mod" else path.stem
        found[name] = {f"--{it}": True for it in names} | {f"--{it}": None for it in flags}
    return found


def check_mwaa_vpc(words, made, is_whole):
    if not words and not is_whole or words[:1] in (["--help"], ["--version"]):
        return
    name, rest = words[0] if words else "", words[1:]
    if name == "completions":
        if len(rest) != 1 and is_whole:
            raise Wrong("mwaa-vpc completions takes a shell")
        return
    known = mwaa_vpc_options().get(name)
    if known is None:
        raise Wrong(f"mwaa-vpc does not know {name or 'nothing'}")
    loose, at = [], 0
    while at < len(rest):
        option, has_value, value = rest[at].partition("=")
        if option.startswith("--") and option != "--help":
            if option not in known:
                raise Wrong(f"mwaa-vpc {name} has no option {option}")
            if known[option] and not has_value:
                at += 1
                value = rest[at] if at < len(rest) else ""
            if option == "--event" and value != "-":
                check_file(value, made)
        elif option != "--help":
            loose.append(rest[at])
        at += 1
    is_cut = "…" in words or not is_whole
    needs = name not in ("status", "sweep", "redrive")
    needs = needs and not {"--iam", "--help", "--event", "--subnets"} & set(rest)
    takes = name not in ("sweep", "redrive")
    if len(loose) > takes or needs and not loose and not is_cut:
        raise Wrong(f"mwaa-vpc {name}: {loose or 'no environment'}")
    if name == "wait" and not {"--for", "--iam", "--help"} & {it.split("=")[0] for it in rest} and not is_cut:
        raise Wrong("mwaa-vpc wait needs --for")


# jq ------------------------------------------------------------------------------------------


def check_jq(words):
    program = next((word for word in words if not word.startswith("-")), None)
    if program is None or FILLED_IN in program or not (jq := shutil.which("jq")):
        return
    variables = [words[at + 1] for at, word in enumerate(words) if word in ("--arg", "--argjson")]
    given = [it for name in variables for it in ("--arg", name, "x")]
    if variables:
        program = [it for it in words if not it.startswith("-")][2 * len(variables)]
    done = subprocess.run([jq, "-n", *given, program], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode in (2, 3):
        raise Wrong(f"jq: {done.stderr.strip()}")


# SAM -----------------------------------------------------------------------------------------


@cache
def sam_options():
    """Each command of SAM that the pages may name, with its options, as its own code has them."""
    assert (SAM / "bin" / "python").exists(), f"{SAM} is missing: run `make python-tests`"
    code = """if True:
        import json, click
        from samcli.cli.main import cli
        context, found = click.Context(cli, obj=True), {}
        def add(name, command):
            subcommands = getattr(command, "list_commands", None)
            for it in subcommands(context) if subcommands else []:
                add(f"{name} {it}".strip(), command.get_command(context, it))
            found[name] = [o for p in command.params for o in [*p.opts, *p.secondary_opts]] + ["--help"]
        for name in ("build", "deploy", "delete", "logs", "package", "validate", "list", "traces"):
            add(name, cli.get_command(context, name))
        print(json.dumps(found))
    """
    done = subprocess.run(
        [SAM / "bin" / "python", "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "SAM_CLI_TELEMETRY": "0"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check_sam(words, made):
    known = sam_options()
    name = next((it for it in (" ".join(words[:2]), " ".join(words[:1])) if it in known), None)
    if name is None:
        raise Wrong(f"sam does not know {' '.join(words[:1])}")
    rest = words[len(name.split()) :]
    for option, value in options(rest):
        if option not in known[name]:
            raise Wrong(f"sam {name} has no option {option}")
        if option in ("--template", "--template-file", "-t", "--config-file"):
            check_file(value, made)
        if option == "--parameter-overrides":
            check_overrides("template.yaml", [unquoted(it) for it in values_of(rest, option)])


def unquoted(pair):
    """NAME=value of what SAM is given: it parts values at blanks, except between quotes of its own."""
    name, given, value = pair.partition("=")
    if re.fullmatch(r'".*"', value):
        return f"{name}={value[1:-1]}"
    if " " in value:
        raise Wrong(f"{pair}: SAM parts a value at its blanks: '{name}=\"{value}\"'")
    return pair


def values_of(words, option):
    """The words behind an option, up to the next."""
    at = next(at for at, word in enumerate(words) if word.split("=")[0] == option and word.startswith("--"))
    _, given, value = words[at].partition("=")
    values = [value] if given else []
    for word in words[at + 1 :]:
        if word.startswith("--"):
            break
        values.append(word)
    return values


# The templates' parameters ---------------------------------------------------------------------


@cache
def parameters(template):
    """A template's parameters, as they are declared."""
    return load_yaml((ROOT / template).read_text())["Parameters"]


def check_overrides(template, pairs):
    for pair in pairs:
        if pair == FILLED_IN or "…" in pair:
            continue
        name, given, value = pair.partition("=")
        if not given:
            raise Wrong(f"{pair} is no parameter with its value: a value with blanks needs quotes")
        check_parameter(template, name, value)


def check_parameter(template, name, value):
    """Whether a template has the parameter, and CloudFormation would take the value."""
    declared = parameters(template).get(name)
    if declared is None:
        raise Wrong(f"{template} has no parameter {name}")
    if FILLED_IN in value or "…" in value or "<" in value:
        return
    for member in value.split(",") if declared["Type"] == "CommaDelimitedList" else [value]:
        pattern, allowed = declared.get("AllowedPattern"), declared.get("AllowedValues")
        if pattern and not re.fullmatch(pattern, member):
            raise Wrong(f"{template} refuses {name}={value}")
        if allowed and member not in map(str, allowed):
            raise Wrong(f"{template} refuses {name}={value}: it is one of {allowed}")


# The AWS CLI ---------------------------------------------------------------------------------

GLOBAL_OPTIONS = {
    "--ca-bundle", "--cli-binary-format", "--cli-connect-timeout", "--cli-input-json", "--cli-input-yaml",
    "--cli-read-timeout", "--color", "--debug", "--endpoint-url", "--generate-cli-skeleton", "--no-cli-auto-prompt",
    "--no-cli-pager", "--no-paginate", "--no-sign-request", "--no-verify-ssl", "--output", "--profile", "--query",
    "--region",
}  # fmt: skip
PAGES_OPTIONS = {"--max-items", "--page-size", "--starting-token"}
# Commands and names that only the CLI has (aws-cli, awscli/customizations).
OWN_COMMANDS = {
    "cloudformation deploy": {
        "--capabilities", "--disable-rollback", "--fail-on-empty-changeset", "--force-upload", "--kms-key-id",
        "--no-execute-changeset", "--no-fail-on-empty-changeset", "--notification-arns", "--parameter-overrides",
        "--role-arn", "--s3-bucket", "--s3-prefix", "--stack-name", "--tags", "--template-file", "--use-json",
    },
    "cloudformation package": {
        "--force-upload", "--kms-key-id", "--output-template-file", "--s3-bucket", "--s3-prefix", "--template-file",
        "--use-json",
    },
    "configure export-credentials": {"--format"},
    "configure list": set(),
    "configure sso": set(),
    "login": set(),
    "logs tail": {
        "--filter-pattern", "--follow", "--format", "--log-stream-name-prefix", "--log-stream-names", "--since",
    },
    "s3 cp": {"--recursive", "--sse", "--sse-kms-key-id"},
    "sso login": {"--no-browser", "--sso-session"},
}  # fmt: skip
RENAMED = {"sns subscribe": {"--endpoint": "--notification-endpoint"}}
# Where the CLI wants a word without an option: `lambda invoke` writes its answer into a file.
POSITIONAL = {"lambda invoke": 1, "logs tail": 1, "s3 cp": 2}
# The CLI's own ways to say what has many parts.
SIMPLIFIED = {"ec2 authorize-security-group-ingress", "ec2 revoke-security-group-ingress"}
SIMPLER = {"--cidr", "--group-owner", "--port", "--protocol", "--source-group"}


@cache
def models():
    return botocore.session.Session()


@cache
def operations(service):
    """A service's operations by the names that the CLI gives them."""
    if service not in models().get_available_services():
        raise Wrong(f"aws does not know {service}")
    model = models().get_service_model(service)
    return {xform_name(name, "-"): model.operation_model(name) for name in model.operation_names}


def check_aws(words, made, is_whole=True):
    words = list(words)
    while words and words[0].startswith("--"):  # global options may come first
        del words[: 1 if words[0].startswith("--no-") or "=" in words[0] else 2]
    if len(words) < 2 and " ".join(words) not in OWN_COMMANDS:
        if words and not is_whole:
            return operations(words[0])
        raise Wrong(f"aws {' '.join(words)} is no command")
    name = " ".join(words[: 1 if words[0] in OWN_COMMANDS else 2])
    rest = words[len(name.split()) :]
    given = dict(options(rest))
    if name in OWN_COMMANDS:
        known = OWN_COMMANDS[name] | GLOBAL_OPTIONS
        if unknown := set(given) - known:
            raise Wrong(f"aws {name} has no option {', '.join(sorted(unknown))}")
        if file := given.get("--template-file"):
            check_file(file, made)
            if "--parameter-overrides" in given and Path(file).name in ("template.yaml", "participant.yaml"):
                check_overrides(Path(file).name, values_of(rest, "--parameter-overrides"))
        return None
    service, operation = name.split()
    if operation == "wait":
        return check_waiter(service, rest)
    model = operations(service).get(operation)
    if model is None:
        raise Wrong(f"aws {service} does not know {operation}")
    check_operation(name, model, rest, given, made, is_whole)
    return None


def check_waiter(service, rest):
    known = [xform_name(it, "-") for it in models().get_waiter_model(service).waiter_names]
    if not rest or rest[0] not in known:
        raise Wrong(f"aws {service} wait does not know {rest[:1]}")


def check_operation(name, model, rest, given, made, is_whole):
    shape = model.input_shape
    members = shape.members if shape else {}
    renamed = RENAMED.get(name, {})
    by_option = {renamed.get(option, option): member for member, option in ((m, f"--{xform_name(m, '-')}") for m in members)}
    flags = {f"--no-{option[2:]}": m for option, m in by_option.items() if members[m].type_name == "boolean"}
    known = {*by_option, *flags, *GLOBAL_OPTIONS, *PAGES_OPTIONS, *(SIMPLER if name in SIMPLIFIED else ())}
    if unknown := set(given) - known:
        raise Wrong(f"aws {name} has no option {', '.join(sorted(unknown))}")
    is_cut = "…" in rest or any(it.startswith("--cli-input") for it in given)
    needed = {f"--{xform_name(m, '-')}" for m in (shape.required_members if shape else ())}
    missing = {renamed.get(it, it) for it in needed} - set(given) - {f"--{it[5:]}" for it in given if it in flags}
    if missing and is_whole and not is_cut:
        raise Wrong(f"aws {name} needs {', '.join(sorted(missing))}")
    for option in set(given) & set(by_option):
        member = members[by_option[option]]
        for value in values_of(rest, option) if member.type_name != "boolean" else []:
            check_value(f"aws {name} {option}", member, value, made)
        if member.type_name == "boolean" and given[option] in ("true", "false"):
            raise Wrong(f"aws {name} {option} takes no value: there is --no-{option[2:]}")
    check_stack_parameters(rest, given)
    loose = positional(rest, by_option, members)
    if is_whole and len(loose) != POSITIONAL.get(name, 0) and not is_cut:
        raise Wrong(f"aws {name}: {loose or 'nothing'} behind the options")


def positional(rest, by_option, members):
    """The words that belong to no option."""
    loose, takes = [], 0
    for word in rest:
        if word.startswith("--"):
            option, has_value, _ = word.partition("=")
            kind = members[by_option[option]].type_name if option in by_option else None
            alone = has_value or kind == "boolean" or option.startswith("--no-") or option == "--debug"
            takes = 0 if alone else 1000 if kind in ("list", "map", "structure") else 1
        elif takes:
            takes -= 1
        else:
            loose.append(word)
    return loose


def check_value(where, shape, value, made):
    """Whether a value is of its shape, as far as it is written out."""
    if "://" in value and value.startswith(("file", "fileb")):
        return check_file(value.split("://", 1)[1], made)
    if FILLED_IN in value or "…" in value or "<" in value:
        return None
    if value[:1] in "[{" and shape.type_name in ("list", "map", "structure"):
        return json.loads(value)
    member = shape.member if shape.type_name == "list" else shape
    if member.type_name == "structure":
        for key in re.findall(r"(?:^|,)([A-Za-z]+)=", value):
            if key not in member.members:
                raise Wrong(f"{where} has no key {key}")
    enum = getattr(member, "enum", None)
    if enum and not set(value.split(",") if shape.type_name == "list" else [value]) <= set(enum):
        raise Wrong(f"{where} knows no {value}")
    return None


def check_stack_parameters(rest, given):
    """ParameterKey=…,ParameterValue=… of a template of ours."""
    file = Path(given.get("--template-body", "").split("://")[-1]).name
    if file not in ("template.yaml", "participant.yaml") or "--parameters" not in given:
        return
    for pair in values_of(rest, "--parameters"):
        if match := re.fullmatch(r"ParameterKey=([^,]+),ParameterValue=(.*)", pair):
            check_parameter(file, match[1], match[2].replace("\\,", ","))
