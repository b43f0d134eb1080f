"""What a failing run shows: the verdict, the seed, the timeline, the servers' own lines, how to replay it."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.rule import Rule
from rich.text import Text

from labrpc.errors import CodeFault
from labrpc.ledger import Decision
from tester.run import Run
from tester.story import tell, tell_how_many
from tester.timeline import terminal
from tester.timeline.reading import Reading, read

__all__ = ["failure_text", "seed_text", "time_title", "verdict"]

_OUTPUT_LINES = 20
_MOST_DECISIONS = 40
_MOST_EVENTS = 200_000
"""Of a long run, this many events at its end are read."""


def verdict(error: BaseException) -> str:
    """What failed, in one sentence."""
    text = str(error).strip() or type(error).__name__
    first = text.splitlines()[0]
    return first if isinstance(error, AssertionError) else f"{type(error).__name__}: {first}"


def failure_text(
    run: Run,
    error: BaseException,
    *,
    test: str,
    place: str,
    replay: str,
    colour: bool,
    notes: Sequence[tuple[str, str]] = (),
    symptoms: Sequence[str] = (),
    shrunk_from: Sequence[Decision] | None = None,
) -> str:
    """The whole report of a failing run, for the terminal.

    Args:
        test: the test's name.
        place: file:line of the test's statement that was running.
        replay: the command that runs it again.
        colour: whether escape sequences for colour are wanted.
        notes: more facts, each with its title.
        symptoms: verdicts on what follows.
        shrunk_from: the decisions of the run that this one, which is recorded, was shrunk from.
    """
    width = max(40, min(shutil.get_terminal_size((110, 40)).columns, 160))
    out = io.StringIO()
    console = Console(
        file=out, width=width, force_terminal=colour, no_color=not colour, highlight=False, legacy_windows=False
    )
    console.print(Text(verdict(error), style="bold red"), soft_wrap=True)
    for line in str(error).strip().splitlines()[1:]:
        console.print(Text(line), soft_wrap=True)
    for symptom in symptoms:
        console.print(Text(f"later symptom: {symptom}", style="dim"), soft_wrap=True)
    for warning in run.warnings:
        console.print(Text(f"warning: {warning}", style="yellow"), soft_wrap=True)
    console.print()
    facts = [("test", f"{test} at {place}"), ("seed", seed_text(run))]
    if run.clusters:
        cluster = run.clusters[-1]
        facts.append((time_title(run), f"{cluster.now:.6f} s"))
        facts.append(("journal", f"{len(cluster.journal)} events, hash {run.journal_hash}"))
    for title, text in (*facts, *notes):
        console.print(f"[bold]{title:>12}[/]  {escape(text)}")
    console.print(f"[bold]{'replay':>12}[/]  ", Text(replay, style="bold"), sep="", soft_wrap=True)
    if isinstance(error, CodeFault) and error.detail:
        _section(console, f"where it happened: {str(error).partition(':')[0]}")
        console.print(Text(error.detail), soft_wrap=True)
    if shrunk_from is not None:
        _print_story(console, run, shrunk_from)
    if run.clusters:
        reading = read(run.clusters[-1].journal, last=_MOST_EVENTS)
        _section(console, f"timeline: {terminal.LEGEND}")
        focus = getattr(error, "at", None)
        for row in terminal.lines(reading, width=width, verdict=verdict(error), focus=focus):
            console.print(row, soft_wrap=True)
        _print_output(console, reading)
    return out.getvalue().rstrip() + "\n"


def seed_text(run: Run) -> str:
    """The run's seed, and what it is worth."""
    hint = " (a hint: on the real clock the machine decides the schedule)" if run.options.is_real else ""
    return f"{run.seed}{hint}"


def time_title(run: Run) -> str:
    """What to call the run's time."""
    return "time" if run.options.is_real else "virtual time"


def _print_story(console: Console, run: Run, before: Sequence[Decision]) -> None:
    left = run.decisions
    sentences = tell(left, [cluster.journal for cluster in run.clusters])
    _section(console, f"{tell_how_many(before, left)}{':' if sentences else ''}")
    for sentence in sentences[:_MOST_DECISIONS]:
        console.print(Text(f"{sentence.at / 1e9:9.4f} s  {sentence.text}"), soft_wrap=True)
    if len(sentences) > _MOST_DECISIONS:
        console.print(Text(f"             … and {len(sentences) - _MOST_DECISIONS} more"), soft_wrap=True)


def _print_output(console: Console, reading: Reading) -> None:
    printed = [note for note in reading.notes if note.kind == "print"]
    if not printed:
        return
    shown = printed[-_OUTPUT_LINES:]
    more = f", the last {len(shown)} of {len(printed)} lines" if len(printed) > len(shown) else ""
    _section(console, f"what the servers printed{more}")
    for event in shown:
        console.print(Text(f"{event.at / 1e9:10.4f}  {event.host:>3}  {event.text}"), soft_wrap=True)


def _section(console: Console, title: str) -> None:
    console.print()
    console.print(Rule(Text(title, style="bold"), align="left", style="dim"))


def wants_colour() -> bool:
    """Whether the terminal takes colour and the user has not said no (NO_COLOR)."""
    if os.environ.get("NO_COLOR"):
        return False
    return sys.__stdout__ is not None and sys.__stdout__.isatty()
