"""What a load shows: progress on the standard error, a table at the end, and two results side by side."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from kvraft.load import RELATIVE_ERROR, Histogram, Load, Result, Second
from labrpc.errors import UsageError

__all__ = ["compare", "console", "progress", "read_result", "show", "write_result"]

PERCENTILES = (50, 95, 99, 99.9)

PLAIN_WIDTH = 120

_BARS = "▁▂▃▄▅▆▇█"
_SPARK_SECONDS = 30


def console(*, is_plain: bool, stderr: bool = False) -> Console:
    """A console without colours if `is_plain` or NO_COLOR say so."""
    without = is_plain or bool(os.environ.get("NO_COLOR"))
    made = Console(stderr=stderr, no_color=without or None, highlight=False)
    if without or not made.is_terminal:
        return Console(stderr=stderr, no_color=True, highlight=False, width=PLAIN_WIDTH, force_terminal=False)
    return made


# -------------------------------------------------------------- progress


@contextlib.contextmanager
def progress(load: Load, out: Console) -> Iterator[Any]:
    """A function to call with each `Second`: a bar that moves on a terminal, else a line each."""
    if not out.is_terminal:
        yield lambda second: out.print(_line(second), soft_wrap=True)
        return
    columns = (TextColumn("{task.fields[phase]:9}"), BarColumn(30), TextColumn("{task.description}"))
    with Progress(*columns, TimeRemainingColumn(), console=out, transient=True) as bars:
        whole = load.warm_up + load.seconds
        task = bars.add_task("", total=whole, phase="connects")
        rates: list[int] = []

        def tell(second: Second) -> None:
            rates.append(second.done)
            bars.update(
                task,
                completed=min(load.warm_up + second.second + 1, whole),
                description=f"{_spark(rates)} {_figures(second)}",
                phase="warms up" if second.second < -1 else "measures",
            )

        yield tell


def _line(second: Second) -> str:
    what = f"{second.second:4} s" if second.second >= 0 else "warm-up"
    return f"{what:>8}  {_figures(second)}"


def _figures(second: Second) -> str:
    text = f"{second.done:,} op/s, p50 {_ms(second.p50)}, p99 {_ms(second.p99)}, max {_ms(second.largest)} ms"
    if second.errors:
        text += f", {second.errors:,} errors"
    if second.late:
        text += f", {second.late:,} late"
    return text


def _spark(rates: list[int]) -> str:
    latest = rates[-_SPARK_SECONDS:]
    most = max(*latest, 1) if len(latest) > 1 else max(latest[0], 1)
    return "".join(_BARS[(len(_BARS) - 1) * rate // most] for rate in latest)


# -------------------------------------------------------------- the table


def show(result: Result, out: Console) -> None:
    """What came of a load."""
    load = result.load
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("", "op/s", "answered", "errors", *(f"p{percent:g} ms" for percent in PERCENTILES), "max ms"):
        table.add_column(title, justify="left" if not title else "right")
    for name, kind in result.kinds.items():
        rate = kind.answered / result.elapsed if result.elapsed else 0.0
        errors = kind.count - kind.answered
        table.add_row(name, f"{rate:,.0f}", f"{kind.answered:,}", f"{errors:,}", *_times(kind.times))
    if len(result.kinds) > 1:
        row = (f"{result.throughput:,.0f}", f"{result.answered:,}", f"{result.errors:,}")
        table.add_row("all", *row, *_times(result.times))
    if not load.is_open:
        for name in result.kinds:
            table.add_row(f"{name}, corrected", "", "", "", *_times(result.corrected(name)), style="dim")
    out.print(table)
    for line in _remarks(result):
        out.print(line, soft_wrap=True)


def _remarks(result: Result) -> Iterator[str]:
    load, facts = result.load, result.facts
    for name, kind in result.kinds.items():
        others = {outcome: count for outcome, count in kind.outcomes.items() if outcome != "OK"}
        if others:
            yield f"{name}: " + ", ".join(f"{outcome} {count:,}" for outcome, count in sorted(others.items()))
    if load.is_open:
        yield f"open loop, {load.rate:,.0f} op/s: times count from the instant at which an operation was due"
        if result.never_begun:
            yield f"{result.never_begun:,} operations were due and never begun: the rate is more than it can do"
    else:
        yield (
            f"closed loop, {load.clients} clients over {load.connection_count} connections: who waits does not ask; "
            f"corrected: as if they had asked at even intervals"
        )
    if result.was_stopped:
        yield f"ended before its time, after {result.elapsed:.1f} s"
    machine = ", ".join(_machine(facts))
    yield f"percentiles to {RELATIVE_ERROR:.1%}" + (f"; {machine}" if machine else "")


def _machine(facts: Mapping[str, Any]) -> Iterator[str]:
    machine, cluster = facts.get("machine", {}), facts.get("cluster", {})
    if "cores" in machine:
        yield f"{machine['cores']} cores"
    if machine.get("load_average") is not None:
        yield f"load average {machine['load_average']} before, {facts.get('load_average_after')} after"
    if "fsync" in facts:
        yield f"fsync {_ms(facts['fsync']['p50'])} ms, p99 {_ms(facts['fsync']['p99'])} ms"
    if cluster.get("cpu_an_operation"):
        yield f"{cluster['cpu_an_operation'] * 1e6:.0f} us of CPU an operation, nodes and clients"


def _times(times: Histogram) -> list[str]:
    return [_ms(times.percentile(percent)) for percent in PERCENTILES] + [_ms(times.largest)]


def _ms(seconds: float) -> str:
    milliseconds = seconds * 1e3
    return (
        f"{milliseconds:.2f}"
        if milliseconds < 10
        else f"{milliseconds:.1f}"
        if milliseconds < 1000
        else f"{milliseconds:,.0f}"
    )


# -------------------------------------------------------------- files


def write_result(result: Result, file: Path) -> None:
    """Puts it into `file`, whole or not at all.

    Raises:
        OSError: of the file system.
    """
    with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=f".{file.name}.", delete=False) as temporary:
        try:
            json.dump(result.as_json(), temporary, indent=1)
            temporary.write("\n")
            temporary.close()
            os.chmod(temporary.name, 0o644)
            os.replace(temporary.name, file)
        except BaseException:
            os.unlink(temporary.name)
            raise


def read_result(file: Path) -> Result:
    """What `write_result` has put into `file`.

    Raises:
        UsageError: it cannot be read, or is none.
    """
    try:
        data = json.loads(file.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{file} is no JSON, so no result of kvraft bench --json: {error}") from None
    try:
        return Result.from_json(data)
    except UsageError as error:
        raise UsageError(f"{file} is no result of kvraft bench --json: {error}") from None


# -------------------------------------------------------------- two results


def compare(old: Result, new: Result, names: tuple[str, str], out: Console) -> None:
    """Both, and new over old: more is better for op/s, less for times. Then what else differs."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("", "", *names, "ratio"):
        table.add_column(title, justify="left" if not title else "right")
    for name in sorted({*old.kinds, *new.kinds}):
        if name not in old.kinds or name not in new.kinds:
            table.add_row(name, "only in one", *("yes" if name in each.kinds else "no" for each in (old, new)), "")
            continue
        before, after = old.kinds[name], new.kinds[name]
        rates = [kind.answered / each.elapsed if each.elapsed else 0.0 for kind, each in ((before, old), (after, new))]
        table.add_row(name, "op/s", *(f"{rate:,.0f}" for rate in rates), _ratio(*rates))
        for percent in PERCENTILES:
            times = before.times.percentile(percent), after.times.percentile(percent)
            table.add_row("", f"p{percent:g} ms", *map(_ms, times), _ratio(*times))
        times = before.times.largest, after.times.largest
        table.add_row("", "max ms", *map(_ms, times), _ratio(*times))
        errors = before.count - before.answered, after.count - after.answered
        if any(errors):
            table.add_row("", "errors", *(f"{count:,}" for count in errors), _ratio(*map(float, errors)))
    out.print(table)
    differences = list(_differences(old, new))
    out.print("the same settings and the same machine" if not differences else "what differs:")
    for line in differences:
        out.print(f"  {line}", soft_wrap=True)


def _ratio(old: float, new: float) -> str:
    return f"{new / old:.2f}" if old else "-"


def _differences(old: Result, new: Result) -> Iterator[str]:
    before, after = old.load.as_json(), new.load.as_json()
    for name in before:
        if before[name] != after[name]:
            yield f"{name}: {before[name]} -> {after[name]}"
    for first, second, left_out in (
        (
            old.facts.get("cluster", {}),
            new.facts.get("cluster", {}),
            {"cpu_seconds", "cpu_an_operation", "memory_bytes"},
        ),
        (old.facts.get("machine", {}), new.facts.get("machine", {}), {"at"}),
    ):
        for name in sorted({*first, *second} - left_out):
            if first.get(name) != second.get(name):
                yield f"{name}: {first.get(name)} -> {second.get(name)}"
    fsyncs = [each.facts.get("fsync", {}).get("p50") for each in (old, new)]
    if None not in fsyncs:
        yield f"fsync: {_ms(fsyncs[0])} -> {_ms(fsyncs[1])} ms"
