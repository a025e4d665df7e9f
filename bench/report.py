"""The figures, and the table of them."""

import statistics

GOALS = {"cold_ratio": 10, "warm_over_round_trips_ms": 5, "memory_share": 0.2, "zip_mb": 3.5}


def spread(values, factor=1):
    """Median, least and greatest."""
    values = [value * factor for value in values]
    return {
        "median": round(statistics.median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
        "n": len(values),
    }


def figures(rounds, samples, bursts, sizes):
    of, measured = {}, {}
    for key, taken in samples.items():
        if key == "spawn":
            continue
        name, scheme, latency = key
        of[key] = {
            "cold_ms": spread(taken["cold"], 1000),
            "init_ms": spread(taken["init"], 1000),
            "cold_processor_ms": spread(taken["cold_processor"], 1000),
            "warm_ms": spread(taken["warm"], 1000),
            "warm_processor_ms": spread(taken["warm_processor"], 1000),
            "memory_mb": spread(taken["memory"], 1e-6),
            "calls": statistics.median_low(taken["calls"]),
        }
        if "depth" in taken:
            of[key]["depth"] = statistics.median_low(taken["depth"])
        if "served" in taken:
            of[key]["served_ms"] = spread(taken["served"], 1000)
        measured.setdefault(name, {})[f"{scheme}_{latency}ms"] = of[key]

    ours, theirs = of["function", "http", 0], of["boto3", "http", 0]
    distant, repeated = of["function", "http", 20], of["emulators", "http", 20]
    reached = {
        "cold_ratio": round(_median(theirs, "cold_ms") / _median(ours, "cold_ms"), 1),
        "warm_over_round_trips_ms": round(
            _median(distant, "warm_ms") - _median(repeated, "warm_ms"), 1
        ),
        "memory_share": round(_median(ours, "memory_mb") / _median(theirs, "memory_mb"), 3),
        "zip_mb": round(sizes["function"]["zip"] / 1e6, 2),
    }
    return {
        "rounds": rounds,
        "measured": measured,
        "spawn_ms": spread(samples["spawn"], 1000),
        "package_bytes": sizes,
        "bursts": bursts,
        "goals": {
            name: {"goal": goal, "reached": reached[name], "met": _met(name, goal, reached[name])}
            for name, goal in GOALS.items()
        },
    }


def _met(name, goal, reached):
    return reached >= goal if name == "cold_ratio" else reached <= goal


def _median(measured, what):
    return measured[what]["median"]


def table(figures):
    machine, sizes = figures["machine"], figures["package_bytes"]
    ours, theirs = figures["measured"]["function"], figures["measured"]["boto3"]
    alone = figures["measured"]["emulators"]
    lines = [
        f"{machine['cores']} cores {machine['processor']}, {machine['kernel']}; Rust "
        f"{machine['rust']}; Python {machine['python']}, boto3 {machine['boto3']}, awslambdaric "
        f"{machine['awslambdaric']}; load before: {machine['load']}",
        f"medians of {figures['rounds']} processes each, with least and greatest",
        "",
        _row("", "this function", "boto3 handler", "ratio"),
    ]

    def compare(title, case, what, unit):
        pair = ours[case][what], theirs[case][what]
        ratio = pair[1]["median"] / pair[0]["median"]
        lines.append(_row(title, *(_cell(it, unit) for it in pair), f"{ratio:.1f} x"))

    for latency in (0, 20):
        case = f"http_{latency}ms"
        compare(f"cold start, {latency} ms per call", case, "cold_ms", "ms")
        compare("  of it until it takes an event", case, "init_ms", "ms")
        compare("  of it processor time", case, "cold_processor_ms", "ms")
    compare("cold start, TLS, 0 ms per call", "https_0ms", "cold_ms", "ms")
    compare("  of it until it takes an event", "https_0ms", "init_ms", "ms")
    compare("  of it processor time", "https_0ms", "cold_processor_ms", "ms")
    for latency in (0, 20):
        compare(f"warm, {latency} ms per call", f"http_{latency}ms", "warm_ms", "ms")
        compare("  of it processor time", f"http_{latency}ms", "warm_processor_ms", "ms")
    compare("warm, TLS, 0 ms per call", "https_0ms", "warm_ms", "ms")
    compare("peak memory, HTTP", "http_0ms", "memory_mb", "MB")
    compare("peak memory, TLS", "https_0ms", "memory_mb", "MB")
    zips = [sizes[name]["zip"] / 1e6 for name in ("function", "boto3")]
    lines.append(
        _row("package, zipped", *(f"{it:.2f} MB" for it in zips), f"{zips[1] / zips[0]:.1f} x")
    )
    for title, what in (("calls", "calls"), ("calls one after the other", "depth")):
        pair = [str(measured["http_20ms"][what]) for measured in (ours, theirs)]
        lines.append(_row(title, *pair, ""))

    lines += ["", "The emulators alone: the function's requests repeated by a client with no work"]
    for latency in (0, 20):
        it = alone[f"http_{latency}ms"]
        lines.append(_row(f"  warm, {latency} ms per call", _cell(it["warm_ms"], "ms"), "", ""))
    served = alone["http_0ms"]["served_ms"]
    lines.append(_row("  of it EC2 and MWAA, 0 ms per call", _cell(served, "ms"), "", ""))
    spawn = _cell(figures["spawn_ms"], "ms")
    lines.append(_row("  a process that does nothing", spawn, "", ""))

    lines += ["", *_bursts(figures["bursts"]), "", *_goals(figures["goals"])]
    return "\n".join(line.rstrip() for line in lines)


def comparison(samples, sizes):
    """Two builds of the function beside each other: medians, and by how much they differ."""
    lines = [_row("", "this build", "the other", "more")]
    for title, scheme, what, factor, unit in (
        ("cold start", "http", "cold", 1000, "ms"),
        ("  of it until it takes an event", "http", "init", 1000, "ms"),
        ("  of it processor time", "http", "cold_processor", 1000, "ms"),
        ("cold start, TLS", "https", "cold", 1000, "ms"),
        ("  of it until it takes an event", "https", "init", 1000, "ms"),
        ("  of it processor time", "https", "cold_processor", 1000, "ms"),
        ("warm", "http", "warm", 1000, "ms"),
        ("peak memory", "http", "memory", 1e-6, "MB"),
        ("peak memory, TLS", "https", "memory", 1e-6, "MB"),
    ):
        taken = [samples[name, scheme, 0][what] for name in ("function", "against")]
        pair = [spread(values, factor) for values in taken]
        more = pair[0]["median"] - pair[1]["median"]
        lines.append(_row(title, *(_cell(it, unit) for it in pair), f"{more:+.2f}"))
    zips = [sizes[name]["zip"] / 1e6 for name in ("function", "against")]
    lines.append(
        _row("package, zipped", *(f"{it:.2f} MB" for it in zips), f"{zips[0] - zips[1]:+.2f}")
    )
    return "\n".join(line.rstrip() for line in lines)


def _row(title, *cells):
    return f"{title:<38}" + "".join(f"{cell:>28}" for cell in cells[:2]) + f"{cells[2]:>9}"


def _cell(it, unit):
    places = 1 if it["max"] < 1000 else 0
    low, high = f"{it['min']:.{places}f}", f"{it['max']:.{places}f}"
    return f"{it['median']:.1f} {unit} ({low}–{high})"


def _bursts(bursts):
    yield "Bursts, 20 ms per call"
    yield (
        f"{'':<38}{'calls':>8}{'time each':>12}{'in all':>10}{'failed':>8}{'endpoints':>11}"
        f"{'twice':>7}{'queues':>8}{'later':>7}"
    )
    for it in bursts:
        who = "" if it["name"] == "function" else "boto3: "
        title = f"{who}{it['environments']} in {it['vpcs']} VPC{'s' * (it['vpcs'] > 1)}"
        title += f", {it['concurrency']} at once"
        later = it["queues_let_through_after"] if it["deliveries_after"] else "–"
        yield (
            f"{title:<38}{it['calls_per_environment']:>8.1f}"
            f"{it['invocation_ms']['median']:>9.1f} ms"
            f"{it['wall_ms_per_environment'] * it['environments'] / 1000:>8.2f} s"
            f"{it['failed_invocations']:>8}{it['endpoints']:>11}{it['endpoints_twice']:>7}"
            f"{it['queues_let_through']:>8}{later:>7}"
        )
    yield "Calls: per environment. Later: after one more delivery, of each failed event or one per VPC."


def _goals(goals):
    texts = {
        "cold_ratio": ("cold start at 0 ms at least {} times faster", "{} times"),
        "warm_over_round_trips_ms": (
            "warm within {} ms of its round trips",
            "{} ms more than its requests take alone, at 20 ms",
        ),
        "memory_share": ("peak memory over HTTP at most {} of boto3's", "{}"),
        "zip_mb": ("zip at most {} MB", "{} MB"),
    }
    for name, (what, reached) in texts.items():
        it = goals[name]
        verdict = "met" if it["met"] else "not met"
        yield f"Goal {verdict}: {what.format(it['goal'])}: {reached.format(it['reached'])}"
