"""A run as one HTML page, which needs no network: the verdict, charts over time, the faults.

Outcome ──> SVG and tables, drawn here ──> page/report.html with page/report.css ──> one file
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from importlib import resources
from pathlib import Path

from kvraft.scenarios.outcome import Happened, Outcome

__all__ = ["report_html", "write_report"]

WIDTH, LEFT, RIGHT = 1000, 52, 8
CHART_HEIGHT = 130
LANE = 18
MOST_POINTS = 600
"""Of a line; a long run's seconds are put together."""


def write_report(outcome: Outcome, path: Path) -> None:
    """Writes the page. Raises: OSError."""
    path.write_text(report_html(outcome), encoding="utf-8")


def report_html(outcome: Outcome) -> str:
    """The page's text, all of it."""
    page = resources.files("kvraft.scenarios").joinpath("page")
    parts = {
        "css": page.joinpath("report.css").read_text(encoding="utf-8"),
        "title": escape(str(outcome.settings["scenario"])),
        "verdict": _verdict(outcome),
        "charts": _charts(outcome),
        "faults": _faults(outcome),
        "details": _details(outcome),
    }
    text = page.joinpath("report.html").read_text(encoding="utf-8")
    pieces = text.split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        filled += [parts[name], rest]
    return "".join(filled)


# -------------------------------------------------------------- words


def _verdict(outcome: Outcome) -> str:
    held = outcome.held
    words, kind = ("Held", "good") if held else ("Broken", "bad") if outcome.broken else ("Undecided", "doubt")
    heading = f'<h1 class="{kind}">{words}: {escape(str(outcome.settings["scenario"]))}</h1>'
    rows = []
    for promise in outcome.promises:
        mark, kind = {True: ("kept", "good"), False: ("broken", "bad"), None: ("undecided", "doubt")}[promise.kept]
        rows.append(
            f'<li><span class="mark {kind}">{mark}</span> <b>{escape(promise.name)}</b>'
            f"<span>{escape(promise.detail)}</span></li>"
        )
    link = ""
    if outcome.page is not None:
        link = (
            f'<p>Where the history is wrong: <a href="{escape(outcome.page.absolute().as_uri())}">culprit.html</a></p>'
        )
    settings = outcome.settings
    rate = f"{settings['rate']:g} op/s" if settings.get("rate") else "closed loop"
    facts = (
        f"{settings['nodes']} nodes, {settings['clients']} clients ({rate}), reads {settings['reads']}, "
        f"seed {settings['seed']}, {outcome.seconds:.0f} s of load"
        + (", ended before its time" if outcome.was_stopped else "")
    )
    words = f"<p>{escape(outcome.shows)}</p><p class=soft>{escape(facts)}</p>"
    return f"{heading}{words}<ul class=promises>{''.join(rows)}</ul>{link}"


def _faults(outcome: Outcome) -> str:
    rows = []
    for number, each in enumerate(outcome.happened, 1):
        multiple = "" if each.recovery is None else f"{each.recovery / outcome.election:.1f}"
        rows.append(
            f'<tr class="{"late" if each.is_late else ""}"><td>{number}</td><td>{each.began:.1f} s</td>'
            f"<td>{each.ended - each.began:.1f} s</td><td class=text>{escape(each.text)}</td>"
            f"<td>{each.gap:.2f} s</td><td>{each.recovery_text}</td><td>{multiple}</td></tr>"
        )
    note = ""
    if any(each.from_end for each in outcome.happened):
        note = "<p class=soft>* measured from the end of the fault, and of those that overlapped it</p>"
    return (
        "<div class=scroll><table><thead><tr><th></th><th>at</th><th>for</th><th class=text>fault</th>"
        "<th>longest gap</th><th>answered after</th><th>election timeouts</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>{note}"
    )


def _details(outcome: Outcome) -> str:
    outside, whole = outcome.throughput
    times = outcome.times
    facts = [
        ("operations in the history", f"{outcome.operations:,}"),
        *((f"ended as {name}", f"{count:,}") for name, count in sorted(outcome.outcomes.items())),
        ("answers a second, in all", f"{whole:,.0f}"),
        ("answers a second, outside of faults", f"{outside:,.0f}"),
        ("p50 outside of faults", f"{1e3 * times.percentile(50):.1f} ms"),
        ("p99 outside of faults", f"{1e3 * times.percentile(99):.1f} ms"),
        ("election timeout", "{:g} to {:g} s".format(*outcome.settings["election"])),
        *((("history", str(outcome.history)),) if outcome.history else ()),
    ]
    rows = "".join(f"<tr><td class=text>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in facts)
    notes = "".join(f"<li>{escape(note)}</li>" for note in outcome.notes)
    return f"<table class=numbers>{rows}</table>" + (f"<ul>{notes}</ul>" if notes else "")


# -------------------------------------------------------------- charts


def _charts(outcome: Outcome) -> str:
    seconds = max(outcome.seconds, 1.0)
    series = outcome.series
    group = max(math.ceil(len(series) / MOST_POINTS), 1)
    parts = [series[start : start + group] for start in range(0, len(series), group)]
    done = [sum(second[0] for second in part) / len(part) for part in parts]
    failed = [float(sum(second[1] for second in part)) for part in parts]
    p50 = [1e3 * max(second[2] for second in part) for part in parts]
    p99 = [1e3 * max(second[3] for second in part) for part in parts]
    gaps = [max(second[5] for second in part) for part in parts]
    bands = _bands(outcome.happened, seconds)
    charts = [
        ("faults, and who leads", _roles(outcome, seconds), f"0 0 {WIDTH} {_roles_height(outcome)}"),
        (
            "answers a second",
            _lines([("a", done)], seconds, group, bands, lambda value: f"{value:,.0f}"),
            f"0 0 {WIDTH} {CHART_HEIGHT + 20}",
        ),
        (
            "time of an operation, ms: p99, p50 below it (each second)",
            _lines([("b", p99), ("a", p50)], seconds, group, bands, lambda value: f"{value:,.0f}"),
            f"0 0 {WIDTH} {CHART_HEIGHT + 20}",
        ),
        (
            "availability: the longest time without any answer, s (each second)",
            _lines([("bad", gaps)], seconds, group, bands, lambda value: f"{value:g}"),
            f"0 0 {WIDTH} {CHART_HEIGHT + 20}",
        ),
    ]
    if any(failed):
        charts.append(
            (
                "operations without an answer, by second of their call",
                _lines([("bad", failed)], seconds, group, bands, lambda value: f"{value:,.0f}"),
                f"0 0 {WIDTH} {CHART_HEIGHT + 20}",
            )
        )
    return "".join(
        f'<figure><figcaption>{escape(title)}</figcaption><div class=scroll><svg viewBox="{box}" role=img '
        f'aria-label="{escape(title)}">{drawing}</svg></div></figure>'
        for title, drawing, box in charts
    )


def _x(at: float, seconds: float) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * min(max(at / seconds, 0), 1), 1)


def _bands(happened: Sequence[Happened], seconds: float, top: float = 0, bottom: float = CHART_HEIGHT) -> str:
    """What times faults touch; those that overlap make one band."""
    bands: list[tuple[float, float, bool]] = []
    for each in sorted(happened, key=lambda each: each.began):
        if bands and each.began < bands[-1][1]:
            began, ended, is_late = bands[-1]
            bands[-1] = (began, max(ended, each.ended), is_late or each.is_late)
        else:
            bands.append((each.began, each.ended, each.is_late))
    return "".join(
        f'<rect class="band{" late" if is_late else ""}" x="{_x(began, seconds)}" y="{top}" '
        f'width="{max(_x(ended, seconds) - _x(began, seconds), 1.5):.1f}" height="{bottom - top}"/>'
        for began, ended, is_late in bands
    )


def _time_axis(seconds: float, y: float) -> str:
    step = next(step for step in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 1e9) if seconds / step <= 12)
    marks = []
    at = 0.0
    while at <= seconds:
        x = _x(at, seconds)
        anchor = "end" if x > WIDTH - RIGHT - 14 else "middle"
        marks.append(f'<text class=tick x="{x}" y="{y + 14}" text-anchor={anchor}>{at:.0f} s</text>')
        at += step
    return "".join(marks)


def _lines(
    lines: Sequence[tuple[str, Sequence[float]]],
    seconds: float,
    group: int,
    bands: str,
    words: Callable[[float], str],
) -> str:
    most = max((value for _, values in lines for value in values), default=0.0)
    top = _round_up(most)
    drawn = [bands]
    for part in (0.0, 0.5, 1.0):
        y = CHART_HEIGHT - (CHART_HEIGHT - 12) * part
        drawn.append(f'<line class=grid x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        if most or not part:
            drawn.append(f'<text class=tick x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor=end>{words(top * part)}</text>')
    for kind, values in lines:
        steps = []
        for number, value in enumerate(values):
            y = CHART_HEIGHT - (CHART_HEIGHT - 12) * value / top
            left, right = _x(number * group, seconds), _x((number + 1) * group, seconds)
            steps.append(f"{left},{y:.1f} {right},{y:.1f}")
        if steps:
            base = f"{_x(len(values) * group, seconds)},{CHART_HEIGHT} {LEFT},{CHART_HEIGHT}"
            drawn.append(f'<polygon class="area {kind}" points="{" ".join(steps)} {base}"/>')
            drawn.append(f'<polyline class="line {kind}" points="{" ".join(steps)}"/>')
    return "".join(drawn) + _time_axis(seconds, CHART_HEIGHT)


def _round_up(most: float) -> float:
    """The top of an axis: 1, 2 or 5 times a power of ten."""
    if most <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(most))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= most)


def _lanes(happened: Sequence[Happened]) -> list[int]:
    """A lane for each fault, so that those that overlap are below each other."""
    free: list[float] = []
    lanes = []
    for each in happened:
        lane = next((number for number, at in enumerate(free) if at <= each.began), len(free))
        if lane == len(free):
            free.append(0.0)
        free[lane] = each.ended
        lanes.append(lane)
    return lanes


def _roles_height(outcome: Outcome) -> float:
    return _roles_top(outcome) + int(outcome.settings["nodes"]) * LANE + 20


def _roles_top(outcome: Outcome) -> float:
    return (max(_lanes(outcome.happened), default=0) + 1) * LANE + 6


def _roles(outcome: Outcome, seconds: float) -> str:
    """A lane for faults, one for each node: who leads, who stands for election, who is down."""
    drawn = []
    for number, (each, lane) in enumerate(zip(outcome.happened, _lanes(outcome.happened), strict=True), 1):
        left, right = _x(each.began, seconds), _x(each.ended, seconds)
        drawn.append(
            f'<rect class="fault{" late" if each.is_late else ""}" x="{left}" y="{lane * LANE + 1}" '
            f'width="{max(right - left, 3):.1f}" height="{LANE - 3}" rx="3"><title>{escape(each.text)}</title></rect>'
        )
        if right - left > 14:
            drawn.append(
                f'<text class="inside fault" x="{(left + right) / 2:.1f}" y="{lane * LANE + 13}" '
                f"text-anchor=middle>{number}</text>"
            )
    top = _roles_top(outcome)
    nodes = int(outcome.settings["nodes"])
    for node in range(nodes):
        y = top + node * LANE
        drawn.append(f'<text class=tick x="{LEFT - 6}" y="{y + 13}" text-anchor=end>node {node}</text>')
        told = [(at, role, term) for at, each, role, term in outcome.roles if each == node]
        for number, (at, role, term) in enumerate(told):
            until = told[number + 1][0] if number + 1 < len(told) else seconds
            left, right = _x(at, seconds), _x(until, seconds)
            if at > seconds or until <= 0:
                continue
            words = "down" if role == "down" else f"{role}, term {term}"
            drawn.append(
                f'<rect class="role {role}" x="{left}" y="{y + 1}" width="{max(right - left, 1):.1f}" '
                f'height="{LANE - 3}"><title>node {node}: {words}, from {max(at, 0):.2f} s</title></rect>'
            )
            if role == "leader" and right - left > 26:
                drawn.append(f'<text class="inside leader" x="{left + 4}" y="{y + 13}">{term}</text>')
    return "".join(drawn) + _time_axis(seconds, top + nodes * LANE)
