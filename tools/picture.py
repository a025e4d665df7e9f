"""Draws runs in a terminal: picture.py run|doctor PROGRAM FILE

`run` is what tools/demo.py prints, in part; `doctor` what tools/session.py does, whole.
tests/wire/test_picture.py compares the pictures with runs of its own, so they are drawn again
(make picture) when one of the programs says something else.
"""

import pathlib
import re
import subprocess
import sys
from xml.sax.saxutils import escape, unescape

TOOLS = pathlib.Path(__file__).parent
DEMO, SESSION = TOOLS / "demo.py", TOOLS / "session.py"
COMMAND = "make run"
CUT = "…"
# The parts of the run: the line that each begins with, how many such lines come before, and how many lines are shown.
PARTS = [
    ("2. ", 0, 1),
    ("What the function did", 1, 11),
    ("The same event, delivered again", 1, 2),
    ("3. ", 0, 1),
    ("What the function did", 2, 1),
    ("  - deleted", 0, 3),
    ("The VPC after", 2, 2),
    ("All as promised.", 0, 1),
]

FONT, LINE, LETTER, EDGE, BAR = 13, 19, 7.83, 24, 34
STYLE = """
    .screen { fill: #f6f8fa; stroke: #d0d7de; }
    .bar { fill: #d0d7de; }
    text { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
      font-size: 13px; white-space: pre; fill: #1f2328; }
    .made { fill: #116329; }
    .gone { fill: #a40e26; }
    .changed { fill: #7d4e00; }
    .quiet { fill: #57606a; }
    .title { font-weight: bold; }
    .heading { fill: #0550ae; }
    @media (prefers-color-scheme: dark) {
      .screen { fill: #161b22; stroke: #30363d; }
      .bar { fill: #30363d; }
      text { fill: #e6edf3; }
      .made { fill: #56d364; }
      .gone { fill: #ff7b72; }
      .changed { fill: #e3b341; }
      .quiet { fill: #9198a1; }
      .heading { fill: #79c0ff; }
    }
"""
MARKS = {"+": "made", "-": "gone", "~": "changed", "=": "quiet"}
VERDICTS = {"fail": "gone", "warn": "changed", "unknown": "changed", "pass": "made"}
RUN = """What make run prints, in part: the function makes a participant's endpoints, finds nothing to do when \
the event comes again, and takes all away when the environment is deleted."""
DOCTOR = """What mwaa-vpc doctor prints about a VPC with three faults: a network ACL that stops the database's port, a gateway \
endpoint to S3 that one subnet lacks, and resolvers of one's own; and that the function is not deployed."""


def run(program, script=DEMO):
    """What a script prints about a program, line by line."""
    done = subprocess.run(
        [sys.executable, script, program], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise RuntimeError(f"{script.name} failed:\n{done.stdout[-2000:]}{done.stderr}")
    return done.stdout.splitlines()


def shown(lines):
    """The lines of the picture: parts of a run, with a mark wherever lines are left out."""
    picture, end = [f"$ {COMMAND}"], 0
    for beginning, before, count in PARTS:
        starts = [at for at, line in enumerate(lines) if line.startswith(beginning)]
        if len(starts) <= before:
            raise RuntimeError(f"the run has no line {before + 1} that begins with: {beginning}")
        start = starts[before]
        part = lines[start : start + count]
        if any(line.strip() for line in lines[end:start]):
            picture.append(CUT)
        elif start > end:
            picture.append("")
        # A part ends where its paragraph does.
        while part and not part[-1].strip():
            part.pop()
        picture += part
        end = start + len(part)
    if any(line.strip() for line in lines[end:]):
        picture.append(CUT)
    return picture


def compared(lines):
    """The lines without what is another with each run: ids, times, and in which order endpoints are deleted."""
    text = re.sub(r"\b(sg|vpce|vpc|subnet|acl|rtb)-[0-9a-f]{17}\b", r"\1-…", "\n".join(lines))
    text = re.sub(r" +", " ", re.sub(r"\b\d+ ms\b", "… ms", text))
    text = re.sub(r"(?:^ - .*\n?)+", lambda match: "\n".join(sorted(match[0].splitlines())) + "\n", text, flags=re.M)
    return [line.strip() for line in text.splitlines() if line.strip()]


def drawn(svg):
    """The lines of a picture, as it shows them."""
    return [unescape(text) for text in re.findall(r"<text [^>]*>([^<]*)</text>", svg)]


def draw(picture, about=RUN):
    """The lines as SVG, each a text of its own."""
    width = round(max(map(len, picture)) * LETTER) + 2 * EDGE
    height = BAR + len(picture) * LINE + EDGE
    texts = "\n  ".join(
        f'<text class="{kind_of(line)}" x="{EDGE}" y="{BAR + LINE * number + FONT}" '
        f'xml:space="preserve">{escape(line)}</text>'
        for number, line in enumerate(picture)
        if line
    )
    dots = "".join(f'<circle class="bar" cx="{EDGE + 16 * n}" cy="17" r="5"/>' for n in range(3))
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" \
aria-labelledby="title desc">
  <title id="title">A run in a terminal</title>
  <desc id="desc">{about}</desc>
  <style>{STYLE}  </style>
  <rect class="screen" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>
  {dots}
  {texts}
</svg>
"""


def kind_of(line):
    """How a line is coloured."""
    if verdict := re.match(r"(fail|warn|unknown) ", line):
        return VERDICTS[verdict[1]]
    if counts := re.match(r"(?:[a-z0-9]+ +)?(\d+) (fail|warn|unknown|pass)(?:, |$)", line):
        return VERDICTS[counts[2]]
    if mark := re.match(r"  ([-+~=]) ", line):
        return MARKS[mark[1]]
    if re.match(r"\d\. |\$ ", line):
        return "title"
    if line[0] in CUT + "─":
        return "quiet"
    return "plain" if line[0] == " " or not re.match(r"What|The (?:event|same|VPC)", line) else "heading"


def main(name, program, file):
    picture = draw(shown(run(program))) if name == "run" else draw(run(program, SESSION), DOCTOR)
    pathlib.Path(file).write_text(picture)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except RuntimeError as error:
        sys.exit(str(error))
