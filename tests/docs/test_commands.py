"""Every command in the pages is one that its program understands; and data in the pages can be read."""

import json
import re
import shutil
import subprocess
import tomllib

import pytest

import pages
import programs
import shell
from pages import blocks
from programs import Wrong

SHELL = blocks("sh", "shell", "bash", "console")
KNOWN = {"sh", "shell", "bash", "console", "json", "yaml", "toml", "hcl", "text", "python", "rust", "diff", "mermaid"}
INLINE = re.compile(r"(?:[A-Z_]+=\S+ )*(?:make|aws|sam|cargo|mwaa-vpc) [a-z].*", re.S)


def script(block):
    """A block without prompts, and in a console's without what was printed."""
    if block.kind != "console":
        return block.text
    lines, more = [], False
    for line in block.text.splitlines():
        if line.startswith("$ ") or more:
            lines.append(line.removeprefix("$ "))
            more = line.endswith("\\")
    return "\n".join(lines)


def written_before(block):
    """Files that commands of the same page wrote, or were told to write, up to this block."""
    before = [it for it in SHELL if it.page == block.page and it.line <= block.line]
    found = [it for other in before for it in shell.commands(script(other))]
    files = [file for it in found for file in it.writes]
    files += [it.words[-1] for it in found if it.words[:3] == ["aws", "lambda", "invoke"]]
    return files + [it.words[-1] for it in found if it.words[:1] == ["cp"]]


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_every_command_is_one_that_its_program_understands(block):
    made = written_before(block)
    for command in shell.commands(script(block)):
        try:
            programs.check(command, made)
        except Wrong as wrong:
            pytest.fail(f"{block}: {command}: {wrong}", pytrace=False)


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_every_block_of_commands_is_shell(block):
    """What stands for something else, as <this> or this…, is a word."""
    text = re.sub(r"<[a-z][\w -]*>", "word", script(block))
    done = subprocess.run([shutil.which("bash") or "sh", "-n"], input=text, capture_output=True, text=True)

    assert not done.returncode and not done.stderr, f"{block}: {done.stderr}"


@pytest.mark.parametrize("page", pages.pages(), ids=str)
def test_every_command_in_a_sentence_is_one_that_its_program_understands(page):
    for text in page.spans:
        if INLINE.fullmatch(text):
            for command in shell.commands(text):
                try:
                    programs.check(command, is_whole=False)
                except Wrong as wrong:
                    pytest.fail(f"{page}: {text}: {wrong}", pytrace=False)


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_every_block_of_json_can_be_read(block):
    json.loads(block.text)


@pytest.mark.parametrize("block", blocks("yaml", "toml"), ids=str)
def test_every_block_of_yaml_or_toml_can_be_read(block, load_yaml):
    assert tomllib.loads(block.text) if block.kind == "toml" else load_yaml(block.text)


def test_every_block_says_what_it_is():
    unknown = [str(it) for page in pages.pages() for it in page.blocks if it.kind not in KNOWN]

    assert not unknown, f"a block needs its kind, one of {sorted(KNOWN)}: {unknown}"


# The tests' own eyes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line, why",
    [
        ("make tests", "no target tests"),
        ("make bench NAME=forecasting", "no variable NAME"),
        ("ROUND=5 make bench", "nobody reads the variable ROUND"),
        ("cargo lambda invoke --data-files events/dry-run.json", "no option --data-files"),
        ("cargo lambda invoke --data-file events/wet-run.json", "no file events/wet-run.json"),
        ("cargo lamda build", "cargo does not know lamda"),
        ("sam deploys", "sam does not know deploys"),
        ("sam deploy --guide", "no option --guide"),
        ("sam deploy --parameter-overrides OrganisationId=o-a1b2c3d4e5", "no parameter OrganisationId"),
        ("sam deploy --parameter-overrides 'SweepSchedule=rate(30 minutes)'", "at its blanks"),
        ("aws cloudformation deploy --template-file participant.yaml --parameter-overrides A B", "no parameter with"),
        ("sam deploy --parameter-overrides SweepSchedule=daily", "refuses SweepSchedule=daily"),
        ("aws mwaa get-environments --name x", "does not know get-environments"),
        ("aws mwa get-environment --name x", "aws does not know mwa"),
        ("aws mwaa get-environment --environment x", "no option --environment"),
        ("aws mwaa get-environment", "needs --name"),
        ("aws sqs receive-message x --queue-url y", "behind the options"),
        ("aws mwaa create-environment --endpoint-management OWNER …", "knows no OWNER"),
        ("aws mwaa create-environment --network-configuration Subnets=a …", "no key Subnets"),
        ("aws logs tail /aws/lambda/x --following", "no option --following"),
        ("aws ec2 wait vpc-endpoint-availible", "wait does not know"),
        ("aws cloudformation deploy --template-file owner.yaml --stack-name x", "no file owner.yaml"),
        (
            "aws cloudformation create-stack-set --stack-set-name x --template-body file://participant.yaml "
            "--parameters ParameterKey=Owner,ParameterValue=111122223333",
            "no parameter Owner",
        ),
        ("mwaa-vpc plans analytics", "mwaa-vpc does not know plans"),
        ("mwaa-vpc plan analytics --environment-profil data", "no option --environment-profil"),
        ("mwaa-vpc plan", "no environment"),
        ("mwaa-vpc plan --event events/none.json", "no file events/none.json"),
        ("mwaa-vpc wait analytics", "needs --for"),
        ("mwaa-vpc replay --dry-run", "no environment"),
        ("mwaa-vpc redrive analytics", "['analytics']"),
        ("mwaa-vpc redrive --keepgoing", "no option --keepgoing"),
        ("echo $(make nothing)", "no target nothing"),
        ("cat events/sweep.json | awscurl x", "awscurl is a program that nobody told to install"),
        ("python3 tools/resend.py", "no file tools/resend.py"),
    ],
)
def test_a_command_that_would_fail_is_seen(line, why):
    with pytest.raises(Wrong, match=re.escape(why)):
        for command in shell.commands(line):
            programs.check(command)


def test_shell_is_taken_apart_as_a_shell_does():
    text = "A=1 aws x --q 'a b' \"c $(jq .d e) f\" | tee \\\n  g > h  # not this\nfor i in 1 2; do echo $i; done\n"

    found = shell.commands(text)

    filled = shell.FILLED_IN
    assert [it.words for it in found] == [
        ["aws", "x", "--q", "a b", f"c {filled} f"], ["tee", "g"], ["echo", filled], ["jq", ".d", "e"],
    ]  # fmt: skip
    assert found[0].variables == {"A": "1"} and found[1].writes == ["h"]
