"""A run as it goes, on stderr: a live view on a terminal, plain lines elsewhere; and its end in words."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from kvraft.scenarios.driver import Run
from kvraft.scenarios.faults import Step, describe
from kvraft.scenarios.network import CLIENTS
from kvraft.scenarios.outcome import Happened, Outcome
from kvraft.scenarios.proxy import Conditions

__all__ = ["View", "console_for", "print_outcome", "print_plan"]

REFRESH_SECONDS = 0.25
PLAIN_SECONDS = 2.0
PLAIN_WIDTH = 140
MOST_STEPS = 20
"""Of a plan that are told beforehand, and in the table at the end."""

_ROLES = {"leader": "bold green", "candidate": "yellow", "follower": ""}


def console_for(*, stderr: bool) -> Console:
    """A console that heeds NO_COLOR."""
    console = Console(stderr=stderr, no_color=True if os.environ.get("NO_COLOR") else None, highlight=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console


def print_plan(console: Console, run: Run) -> None:
    """What is going to happen."""
    options = run.options
    console.print(Text(f"{run.scenario.name}: {run.scenario.shows}", style="bold"), soft_wrap=True)
    rate = f"{options.rate:g} op/s" if options.rate else "as fast as they can"
    console.print(
        f"{options.nodes} nodes, {options.clients} clients ({rate}, reads {options.reads}), {options.seconds:g} s, "
        f"seed {options.seed}; data and logs in {run.folder}",
        soft_wrap=True,
        markup=False,
    )
    for step in run.plan[:MOST_STEPS]:
        console.print(f"  {_when(step)}  {describe(step)}", soft_wrap=True, markup=False)
    if len(run.plan) > MOST_STEPS:
        console.print(f"  … and {len(run.plan) - MOST_STEPS} more, until {run.plan[-1].at:.0f} s")


def _when(step: Step) -> str:
    return f"{step.at:6.1f} s, for {step.seconds:.1f} s:"


class View:
    """What `run.run` calls as `tick`. Use it in a `with` statement."""

    def __init__(self, console: Console, run: Run) -> None:
        self._console, self._run = console, run
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._due = 0.0
        self._told: set[int] = set()
        self._told_ends: set[int] = set()
        self._phase = ""

    def __enter__(self) -> View:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *raised: object) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self) -> None:
        now = time.monotonic()
        if self._live is None:
            self._tell_events()
        if now < self._due or not hasattr(self._run, "nodes"):
            return
        if self._live is not None:
            self._due = now + REFRESH_SECONDS
            self._live.update(self._view(), refresh=True)
        else:
            self._due = now + PLAIN_SECONDS
            self._console.print(self._line(), soft_wrap=True, markup=False)

    # -------------------------------------------------------------- lines

    def _tell_events(self) -> None:
        for each in tuple(self._run.progress.happened):
            if id(each) not in self._told:
                self._told.add(id(each))
                self._console.print(f"{each.began:6.1f} s  begins: {each.text}", soft_wrap=True, markup=False)
            if each.ended and id(each) not in self._told_ends:
                self._told_ends.add(id(each))
                self._console.print(f"{each.ended:6.1f} s  is over: {each.text}", soft_wrap=True, markup=False)

    def _line(self) -> str:
        run = self._run
        parts = []
        for number, seen in enumerate(run.nodes.seen):
            state = seen.role if seen.state == "up" else seen.state
            parts.append(f"{number}: {state} {f'term {seen.term} ' if seen.state == 'up' else ''}".strip())
        rate, errors = self._numbers()
        what = f"{self._phase_words()}; {', '.join(parts)}; {rate:.0f} op/s, {errors} failed"
        return f"{run.progress.elapsed:6.1f} s  {what}"

    # -------------------------------------------------------------- the live view

    def _view(self) -> Group:
        run = self._run
        elapsed = run.progress.elapsed
        head = Text.assemble((run.scenario.name, "bold"), f"  seed {run.options.seed}  ")
        if run.progress.began_at:
            left = max(run.options.seconds - elapsed, 0)
            head.append(f"{min(elapsed, run.options.seconds):.0f} s, {left:.0f} s left  ")
        head.append(self._phase_words(), style="cyan")
        rate, errors = self._numbers()
        bars = _bars([second.done for second in run.recording.seconds[-60:]])
        return Group(
            head,
            self._table(),
            Text(f"links  {_links(run.network.faults, len(run.nodes))}", overflow="ellipsis", no_wrap=True),
            Text(f"{rate:6.0f} op/s  {errors} failed  {bars}", no_wrap=True),
            *self._faults(elapsed),
        )

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False)
        for title in ("node", "state", "term", "commit", "lag", "log kB", "fault"):
            table.add_column(title, justify="left" if title in ("state", "fault") else "right")
        seen = self._run.nodes.seen
        newest = max((each.commit for each in seen), default=0)
        for number, each in enumerate(seen):
            if each.state in ("down", "starting"):
                table.add_row(str(number), each.state, "", "", "", "", ", ".join(each.trouble), style="red")
                continue
            table.add_row(
                str(number),
                each.role if each.state == "up" else f"{each.role}, {each.state}",
                str(each.term),
                str(each.commit),
                str(newest - each.applied),
                f"{each.log_bytes / 1e3:.0f}",
                Text(", ".join(each.trouble), style="red"),
                style="yellow" if each.state == "paused" else _ROLES.get(each.role, ""),
            )
        return table

    def _faults(self, elapsed: float) -> list[Text]:
        run = self._run
        lines = [
            Text(f"now    {each.text}, {elapsed - each.began:.1f} s", style="red")
            for each in tuple(run.progress.active)
        ]
        future = [step for step in run.plan if step.at > elapsed]
        if future:
            lines.append(Text(f"next   in {future[0].at - elapsed:.1f} s: {describe(future[0])}", style="dim"))
        if not run.progress.began_at:
            return [Text(f"first  {describe(run.plan[0])}", style="dim")]
        return lines or [Text("next   no more faults", style="dim")]

    def _phase_words(self) -> str:
        progress = self._run.progress
        if progress.phase.startswith("checking") and progress.checked[1] > 1:
            return f"{progress.phase}: {progress.checked[0]} of {progress.checked[1]} parts"
        return progress.phase + (", stopping" if self._run.stop.is_set() and progress.phase == "running" else "")

    def _numbers(self) -> tuple[float, int]:
        """Answers a second of late, and operations that failed in all."""
        recording = self._run.recording
        recent = recording.seconds[-3:-1]
        failed = recording.outcomes["UNAVAILABLE"] + recording.outcomes["REFUSED"]
        return (sum(second.done for second in recent) / len(recent) if recent else 0.0), failed


def _bars(counts: Sequence[int]) -> str:
    """One character a second."""
    most = max(counts, default=0)
    return "".join(" ▁▂▃▄▅▆▇█"[round(8 * count / most)] if most else " " for count in counts)


def _links(faults: dict[tuple[str, str], Conditions], nodes: int) -> str:
    if not faults:
        return "all as they should be"
    kinds: Counter[str] = Counter()
    for (source, target), conditions in tuple(faults.items()):
        for name, what in (
            ("hold", "held back"),
            ("refuse", "refused"),
            ("garbage", "garbled"),
            ("half_open", "half-open"),
            ("jitter", "delayed"),
        ):
            if getattr(conditions, name):
                kinds[what + (" (clients)" if CLIENTS in (source, target) else "")] += 1
    ways = nodes * (nodes - 1)
    return ", ".join(f"{count} {what}" for what, count in sorted(kinds.items())) + f", of {ways} ways between nodes"


# -------------------------------------------------------------- the end


def print_outcome(console: Console, outcome: Outcome) -> None:
    """The verdict first, then what it rests on."""
    held = outcome.held
    if held:
        words = "HELD: every promise was kept"
    elif outcome.broken:
        broken = "; ".join(promise.name for promise in outcome.promises if promise.kept is False)
        words = "BROKEN: " + broken.replace("no acknowledged write lost", "an acknowledged write was lost")
    else:
        words = "UNDECIDED: " + "; ".join(promise.name for promise in outcome.promises if promise.kept is None)
    console.print(
        Text(words, style="bold green" if held else "bold red" if outcome.broken else "bold yellow"), soft_wrap=True
    )
    for promise in outcome.promises:
        mark, style = {True: ("yes", "green"), False: ("NO ", "bold red"), None: ("?  ", "yellow")}[promise.kept]
        console.print(f"  [{style}]{mark}[/]  {promise.name}: {escape(promise.detail)}", soft_wrap=True)
    if outcome.happened:
        console.print(_table_of(outcome.happened, outcome.election))
        if len(outcome.happened) > MOST_STEPS:
            console.print(f"these are the {MOST_STEPS} of {len(outcome.happened)} faults with the longest gaps")
    outside, whole = outcome.throughput
    console.print(
        f"{outcome.seconds:.0f} s of load: {whole:.0f} op/s, {outside:.0f} op/s outside of faults, there p99 "
        f"{1e3 * outcome.times.percentile(99):.0f} ms",
        soft_wrap=True,
    )
    console.print("ended as " + ", ".join(f"{count:,} {name}" for name, count in sorted(outcome.outcomes.items())))
    for note in outcome.notes:
        console.print(note, soft_wrap=True, markup=False)


def _table_of(happened: Sequence[Happened], election: float) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("at", "for", "fault", "gap", "recovered", "timeouts"):
        table.add_column(title, justify="left" if title == "fault" else "right")
    worst = sorted(happened, key=lambda each: (each.is_late, each.gap), reverse=True)[:MOST_STEPS]
    for each in sorted(worst, key=lambda each: each.began):
        table.add_row(
            f"{each.began:.1f} s",
            f"{each.ended - each.began:.1f} s",
            Text(each.text),
            f"{each.gap:.2f} s",
            each.recovery_text,
            "" if each.recovery is None else f"{each.recovery / election:.1f}",
            style="bold red" if each.is_late else "",
        )
    if any(each.from_end for each in worst):
        table.caption = "* after the end of the fault, and of those that overlapped it"
        table.caption_justify = "left"
    return table
