"""`tester timeline`: a kept run's timeline in the terminal, whole or in part, or as a page."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from labrpc.errors import UsageError
from tester.kept import find_run, load
from tester.timeline import terminal
from tester.timeline.page import write_page
from tester.timeline.reading import Reading, read

__all__ = ["show_timeline"]

_NEAR_THE_END = 200_000
_MOST_EVENTS = 1_000_000
"""Of a longer run, as many events before its end, or before `--to`, are read; fewer where only its end is shown."""


def show_timeline(
    out: Console,
    err: Console,
    *,
    run: str | None,
    root: Path,
    full: bool,
    start: float | None,
    end: float | None,
    servers: Sequence[str],
    html: Path | None,
) -> int:
    """Prints it, or writes it to `html`; the exit code to leave with.

    Args:
        run: see `tester.kept.find_run`.
        start, end: seconds of the run's clock.
        servers: hosts; only what they did or were sent is shown.

    Raises:
        UsageError: there is no such run or server, its journal cannot be read, or `html` cannot be written.
    """
    found = find_run(run, root)
    if start is not None and end is not None and start > end:
        raise UsageError(f"--from {start:g} is after --to {end:g}")
    journal = load(found, err)
    try:
        until = None if end is None else round(end * 1e9)
        events = journal if until is None else itertools.takewhile(lambda event: event.at <= until, journal)
        is_part = not full and start is None and end is None and html is None
        reading = read(events, last=_NEAR_THE_END if is_part else _MOST_EVENTS)
    finally:
        journal.close()
    _check(reading, servers, start)
    if reading.left_out:
        err.print(Text(f"{reading.what_is_left_out}; with --to T it is read up to there"), soft_wrap=True)
    failure = found.failure
    verdict = failure.verdict if failure else ""
    if html is not None:
        try:
            write_page(reading, html, title=found.title, verdict=verdict)
        except OSError as error:
            raise UsageError(f"cannot write {html}: {error.strerror or error}") from None
        out.print(Text(f"{html} shows {found.title}"), soft_wrap=True)
        return 0
    if failure is not None:
        out.print(Text(f"{found.title}: {verdict}", style="bold red"), soft_wrap=True)
    out.print(Text(terminal.LEGEND, style="dim"), soft_wrap=True)
    lines = terminal.lines(
        reading,
        width=max(40, out.width),
        full=full,
        start=None if start is None else round(start * 1e9),
        end=None if end is None else round(end * 1e9),
        hosts=servers,
        verdict=verdict,
        focus=failure.focus if failure else None,
    )
    for line in lines:
        out.print(line, soft_wrap=True)
    return 0


def _check(reading: Reading, servers: Sequence[str], start: float | None) -> None:
    known = [*reading.servers, *reading.clerks]
    for name in servers:
        if name not in known:
            clerks = f", clerks {', '.join(reading.clerks)}" if reading.clerks else ""
            raise UsageError(f"the run has no server {name}; it has servers {', '.join(reading.servers)}{clerks}")
    if start is not None and start * 1e9 > reading.end:
        raise UsageError(f"--from {start:g} is after the end, {reading.end / 1e9:.6f} s")
