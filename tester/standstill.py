"""How a run stands at one instant: its timeline up to there, and each server with its role, threads and locks."""

from __future__ import annotations

import io
import shutil

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from labrpc.network import host_title, is_clerk
from tester.cluster import Cluster
from tester.timeline import terminal
from tester.timeline.reading import read

__all__ = ["standstill_text"]

_ROLES = {"F": "follower", "C": "candidate", "L": "leader"}
_MOST_EVENTS = 200_000


def standstill_text(cluster: Cluster, at: int, *, colour: bool) -> str:
    """The world of a run that was stopped at `at` ns and is not closed, for the terminal.

    Nothing is asked of the servers: their roles and terms are what their messages tell.
    """
    width = max(80, min(shutil.get_terminal_size((110, 40)).columns, 160))
    out = io.StringIO()
    console = Console(
        file=out, width=width, force_terminal=colour, no_color=not colour, highlight=False, legacy_windows=False
    )
    _section(console, f"timeline up to {at / 1e9:g} s: {terminal.LEGEND}")
    reading = read(cluster.journal, last=_MOST_EVENTS)
    for line in terminal.lines(reading, width=width):
        console.print(line, soft_wrap=True)
    last = {span.lane: span for span in reading.roles}
    coordinator = cluster.coordinator
    for name in coordinator.hosts:
        if not coordinator.is_up(name):
            _section(console, f"{host_title(name)}: down")
            continue
        span = last.get(name)
        role = f", {_ROLES[span.role]} in term {span.term}" if span is not None and span.role in _ROLES else ""
        cut = "" if is_clerk(name) or cluster.network.is_connected(int(name)) else ", cut off"
        _section(console, f"{host_title(name)}: up{role}{cut}")
        console.print(Text(coordinator.threads_of(name)), soft_wrap=True)
    return out.getvalue().lstrip("\n").rstrip() + "\n"


def _section(console: Console, title: str) -> None:
    console.print()
    console.print(Rule(Text(title, style="bold"), align="left", style="dim"))
