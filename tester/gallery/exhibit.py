"""One mistake at work: caught under the first seed that shows it, shrunk, and replayed to be looked at.

The budget of a search counts runs, not seconds, so the same code makes the same exhibit on every machine.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from labrpc.errors import CodeFault, UsageError
from tester.attempts import Attempt, first
from tester.gallery.entries import Entry
from tester.graded import GradedTest, graded_test
from tester.mutants import Mutant
from tester.report import verdict
from tester.run import Options, Run
from tester.shrink import parse_budget
from tester.shrink_run import shrink_run
from tester.shrunk import ShrunkRun
from tester.story import Sentence, tell, tell_how_many
from tester.symptoms import later_symptoms
from tester.timeline import terminal
from tester.timeline.reading import read

__all__ = ["SEEDS", "WIDTH", "Exhibit", "Progress", "catch", "replay"]

Progress = Callable[[str], None]
"""Takes in how a search goes on, in words."""

SEEDS = 40
"""Seeds that are tried."""

WIDTH = 112
"""Characters across the timeline."""

_BUDGET = "300runs"

_LATER_S = 30.0
"""For how long a run goes on after its verdict, to see what that leads to."""


@dataclass(frozen=True)
class Exhibit:
    """What there is to show of a mistake.

    Attributes:
        kept: the shrunk run.
        detail: of a fault in the code under test, where it happened.
        left: how much of the run remains, in words.
        story: what remains, a sentence each.
        picture: the timeline's lines.
    """

    entry: Entry
    mutant: Mutant
    test: GradedTest
    kept: ShrunkRun
    verdict: str
    detail: str
    symptoms: Sequence[str]
    warnings: Sequence[str]
    left: str
    story: Sequence[Sentence]
    picture: Sequence[Text]


def catch(entry: Entry, solution: Path, progress: Progress) -> ShrunkRun:
    """The first run of `entry.test` that fails with the mistake in `solution`, shrunk.

    Raises:
        UsageError: none of the seeds shows it.
        CannotShrink: the run does not fail twice.
    """
    seeds = range(entry.seed, entry.seed + SEEDS)

    def look(attempt: Attempt) -> ShrunkRun | None:
        name, seed = attempt.test.name, attempt.run.seed
        if attempt.error is None:
            progress(f"{name} passes under seed {seed}")
            return None

        def on_try(runs: int, left: int) -> None:
            progress(f"{name}, seed {seed}: {runs} runs tried, {left} decisions left")

        budget = parse_budget(_BUDGET)
        shrunk = shrink_run(attempt.run, attempt.error, attempt.again, budget=budget, on_try=on_try)
        return ShrunkRun(name, seed, shrunk.decisions, len(shrunk.before))

    found = first(((entry.test, seed) for seed in seeds), Options(solution=solution), look)
    if found is not None:
        return found
    raise UsageError(f"{entry.mutant} is not caught by {entry.test} under seeds {seeds[0]} to {seeds[-1]}")


def replay(entry: Entry, mutant: Mutant, solution: Path, kept: ShrunkRun) -> Exhibit | None:
    """The kept run again; None if it does not fail any more."""
    test = graded_test(kept.test)
    run = Run(kept.seed, Options(solution=solution), plan=kept.plan(recorded=True))
    try:
        error = test.attempt(run)
        if not isinstance(error, AssertionError):
            return None
        text = verdict(error)
        left = run.decisions
        reading = read(run.clusters[-1].journal)
        return Exhibit(
            entry=entry,
            mutant=mutant,
            test=test,
            kept=kept,
            verdict=text,
            detail=error.detail if isinstance(error, CodeFault) else "",
            symptoms=later_symptoms(run, error, functools.partial(test.attempt, run), within_s=_LATER_S),
            warnings=list(run.warnings),
            left=tell_how_many(range(kept.of or len(left)), left),
            story=tell(left, [cluster.journal for cluster in run.clusters]),
            picture=list(terminal.lines(reading, width=WIDTH, verdict=text, focus=getattr(error, "at", None))),
        )
    finally:
        run.close()
