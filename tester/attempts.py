"""Graded tests tried on some code, run after run, until one tells what is asked: usually the first that fails.

(test, seed), (test, seed), ... --run--> Attempt --look--> None: the next one, else: that is the answer
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import pytest

from tester import interrupts
from tester.graded import GradedTest, graded_test
from tester.run import Options, Run

__all__ = ["Attempt", "first"]

T = TypeVar("T")


@dataclass(frozen=True)
class Attempt:
    """One run of one graded test, at its end; `run` is closed once it has been looked at.

    Attributes:
        error: what the test raised, None if it passed.
        skipped: whether the test does not run in this world.
        cpu_s: seconds of CPU time that it took.
    """

    test: GradedTest
    run: Run
    error: Exception | None
    skipped: bool
    cpu_s: float

    def again(self) -> Exception | None:
        """Runs the test once more on `run`; what it raised."""
        return self.test.attempt(self.run)


def first(
    tries: Iterable[tuple[str, int]],
    options: Options,
    look: Callable[[Attempt], T | None],
    *,
    wall_limit_s: float | None = None,
) -> T | None:
    """The first answer of `look`; None if it has none for any of `tries`.

    Args:
        tries: names of tests, each with a seed.
        look: called with each attempt, while its run can still be looked at.
        wall_limit_s: wall time a run may take; None: as long as it takes.

    Raises:
        UsageError: there is no such test.
    """
    for name, seed in tries:
        run = Run(seed, options)
        with interrupts.deferred(run):
            try:
                answer = look(_attempt(graded_test(name), run, wall_limit_s))
            finally:
                run.close()
                for cluster in run.clusters:
                    cluster.journal.close()
        if answer is not None:
            return answer
    return None


def _attempt(test: GradedTest, run: Run, wall_limit_s: float | None) -> Attempt:
    began = time.process_time()
    error, skipped = None, False
    lift = interrupts.limit_wall_time(wall_limit_s) if wall_limit_s is not None else None
    try:
        error = test.attempt(run)
    except pytest.skip.Exception:
        skipped = True
    finally:
        if lift is not None:
            lift()
    return Attempt(test, run, error, skipped, time.process_time() - began)
