"""The figures as a picture. It brings its own background, so that it reads the same on a light and
on a dark page."""

import textwrap
from xml.sax.saxutils import escape

WIDTH, LEFT, BARS = 860, 272, 390  # the bars begin at LEFT and are at most BARS long
STYLE = """
    text { font-family: "Helvetica Neue", Helvetica, Arial, "Liberation Sans", sans-serif;
      font-size: 14px; fill: #1f2328; }
    .heading { font-size: 17px; font-weight: bold; }
    .bold { font-weight: bold; }
    .small { font-size: 12.5px; fill: #57606a; }
    .right { text-anchor: end; }
    .panel { fill: #ffffff; stroke: #8c959f; }
    .function { fill: #b35900; }
    .boto3 { fill: #8c959f; }
    .spread { stroke: #1f2328; stroke-width: 1.2; }
"""


def draw(figures):
    ours, theirs = figures["measured"]["function"], figures["measured"]["boto3"]

    def pair(case, what):
        return ours[case][what], theirs[case][what]

    def zipped(name):
        size = figures["package_bytes"][name]["zip"] / 1e6
        return {"median": size, "min": size, "max": size}

    groups = [
        (
            "Time",
            "ms",
            [
                ("cold start, EC2 at 0 ms", *pair("http_0ms", "cold_ms")),
                ("cold start, EC2 at 20 ms", *pair("http_20ms", "cold_ms")),
                ("cold start over TLS, at 0 ms", *pair("https_0ms", "cold_ms")),
                ("warm, EC2 at 0 ms", *pair("http_0ms", "warm_ms")),
                ("warm, EC2 at 20 ms", *pair("http_20ms", "warm_ms")),
            ],
        ),
        (
            "Peak memory",
            "MB",
            [
                ("over HTTP", *pair("http_0ms", "memory_mb")),
                ("over TLS", *pair("https_0ms", "memory_mb")),
            ],
        ),
        ("Package", "MB", [("zip", zipped("function"), zipped("boto3"))]),
    ]
    parts, y = [], 96
    for title, unit, rows in groups:
        parts.append(f'<text class="bold" x="40" y="{y + 4}">{title}</text>')
        y += 16
        # A stray value does not shrink all others; its line ends where the bars do.
        longest = max(it["median"] for _, *both in rows for it in both) * 1.12
        for name, *both in rows:
            parts += _row(y, name, unit, longest, *both)
            y += 46
        y += 18
    machine = figures["machine"]
    notes = textwrap.wrap(
        f"Medians of {figures['rounds']} processes each, in turns; the lines go from the least to "
        "the greatest. Cold start: from the start of the process to its first answer. The work: a "
        "private environment in the VPC owner's account. This function "
        f"makes {ours['http_20ms']['calls']} calls, {ours['http_20ms']['depth']} in a row; the "
        f"boto3 handler {theirs['http_20ms']['calls']}, {theirs['http_20ms']['depth']} in a row. "
        f"{machine['processor']}, {machine['cores']} cores, {machine['kernel']}; Rust "
        f"{machine['rust']}; Python {machine['python']}, boto3 {machine['boto3']}, awslambdaric "
        f"{machine['awslambdaric']}.",
        width=112,
    )
    parts += [
        f'<text class="small" x="40" y="{y + 12 + 18 * number}">{escape(note)}</text>'
        for number, note in enumerate(notes)
    ]
    height = y + 12 + 18 * len(notes) + 22
    body = "\n  ".join(parts)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" \
aria-labelledby="title desc">
  <title id="title">This function beside a plain boto3 handler</title>
  <desc id="desc">{escape(_description(groups))}</desc>
  <style>{STYLE}  </style>
  <rect width="{WIDTH}" height="{height}" rx="10" fill="#eef1f4"/>
  <rect class="panel" x="20" y="20" width="{WIDTH - 40}" height="{height - 40}" rx="8"/>
  <text class="heading" x="40" y="52">This function beside a plain boto3 handler</text>
  <rect class="function" x="{WIDTH - 340}" y="41" width="14" height="12"/>
  <text x="{WIDTH - 320}" y="52">this function</text>
  <rect class="boto3" x="{WIDTH - 210}" y="41" width="14" height="12"/>
  <text x="{WIDTH - 190}" y="52">boto3 handler</text>
  {body}
</svg>
"""


def _row(y, name, unit, longest, ours, theirs):
    yield f'<text x="60" y="{y + 24}">{escape(name)}</text>'
    for number, (kind, it) in enumerate((("function", ours), ("boto3", theirs))):
        top = y + 3 + number * 18
        length = max(it["median"] / longest * BARS, 1)
        low, high = (min(it[key] / longest, 1.0) * BARS for key in ("min", "max"))
        yield f'<rect class="{kind}" x="{LEFT}" y="{top}" width="{length:.1f}" height="14"/>'
        if high - low > 2:
            line = f'x1="{LEFT + low:.1f}" x2="{LEFT + high:.1f}" y1="{top + 7}" y2="{top + 7}"'
            yield f'<line class="spread" {line}/>'
        end = LEFT + max(length, high) + 8
        yield f'<text class="small" x="{end:.1f}" y="{top + 11.5}">{_short(it, unit)}</text>'
    ratio = theirs["median"] / ours["median"]
    yield f'<text class="bold right" x="{WIDTH - 40}" y="{y + 24}">{_times(ratio)}</text>'


def _times(ratio):
    return f"{ratio:.0f} ×" if ratio >= 10 else f"{ratio:.1f} ×"


def _short(it, unit):
    value = it["median"]
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"


def _description(groups):
    sentences = [
        f"{title}, {name}: {_short(ours, unit)}, boto3 {_short(theirs, unit)}."
        for title, unit, rows in groups
        for name, ours, theirs in rows
    ]
    return " ".join(sentences)
