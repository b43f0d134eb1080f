"""Shrinks one failing run: records it, leaves out what the failure does not need, and leaves the smallest one behind.

    the run fails --again, recorded--> its decisions --Shrinker--> the few it needs --again--> the shrunk run

A run may stand in for another only if it fails with the same kind of exception in the same words (`tester.likeness`),
and if what it says still holds of the code under test. The judge's rules and diagnoses hold of every run. What a test
demands may rest on what it did before: with the cut left out, "nothing was applied without a majority" accuses a
correct Raft. So:

    rules and diagnoses broken               all may be left out
    progress, or a history, demanded         weather and faults; commands stay
    the test's own assertion, or no_leader   weather; and the rest where the reference Raft does not fail in this way
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import labrpc
import tester
from labrpc.errors import CodeFault, InvariantViolation, RunLimitExceeded
from labrpc.ledger import Decision
from tester import interrupts
from tester.likeness import Likeness, likeness
from tester.run import Options, Plan, Run, reference_root
from tester.shrink import Budget, Shrinker
from tester.story import COMMANDS, origin_of

__all__ = ["CannotShrink", "Shrunk", "shrink_run"]

Key = tuple[str, int]
"""(stream, decision number)"""

_HARNESS = tuple(f"{Path(package.__file__ or '').parent}{os.sep}" for package in (labrpc, tester))

_SLICES = 16

_SLACK = 1.5
_SLACK_S = 2.0
"""A run that has taken so many times the failing run's time, and so many seconds more, has not failed in its way."""


class CannotShrink(Exception):
    """The run cannot be shrunk; the text says why."""


@dataclass(frozen=True)
class Shrunk:
    """What came of it. The shrunk run itself is the `Run` that was given.

    Attributes:
        error: what the shrunk run raised.
        before, after: the decisions of the failing run and of the shrunk one that were not calm.
        runs, seconds: what the search took.
        is_complete: whether no decision that is left could be left out alone; else the budget ended the search.
    """

    error: Exception
    before: list[Decision]
    after: list[Decision]
    runs: int
    seconds: float
    is_complete: bool

    @property
    def decisions(self) -> dict[Key, int]:
        """(stream, number) -> value of what is left."""
        return _values(self.after)


def shrink_run(
    run: Run,
    error: Exception,
    attempt: Callable[[], Exception | None],
    *,
    budget: Budget | None = None,
    on_try: Callable[[int, int], None] | None = None,
) -> Shrunk:
    """Shrinks `run`, which has failed with `error`. Afterwards `run` is the shrunk run, at its end.

    Args:
        attempt: runs the test once more on `run`, and gives what it raised.
        on_try: called with the number of runs so far and of the decisions that are left.

    Raises:
        CannotShrink: the failure does not repeat. `run` is then the failing run once more.
    """
    began = time.monotonic()
    budget = budget or Budget()
    search = _Search(run, error, attempt, budget)
    shrinker = Shrinker(
        search.optional,
        search.is_same_failure,
        levels=(_family, _kind, _place, search.slice_of),
        in_effect=search.in_effect,
        budget=dataclasses.replace(budget, seconds=max(1e-9, search.deadline - time.monotonic())),
        on_try=None if on_try is None else lambda runs, left: on_try(runs, left + len(search.fixed)),
    )
    try:
        shrinker.shrink()
    except KeyboardInterrupt:  # enough: what has been found so far is shown
        pass
    after = search.replay(shrinker.kept)
    return Shrunk(after, search.before, run.decisions, shrinker.runs, time.monotonic() - began, shrinker.is_complete)


class _TooSlow(AssertionError):
    """A try took more wall time than it may."""


class _Search:
    """The failing run, recorded, and the question whether a part of it fails in the same way."""

    def __init__(self, run: Run, error: Exception, attempt: Callable[[], Exception | None], budget: Budget) -> None:
        self._run = run
        self._patience: float | None = None
        """Seconds that a run may take; None: as long as it takes."""
        self.deadline = time.monotonic() + budget.seconds
        self._attempt = attempt
        self._wanted = likeness(error)
        self._original = run.plan
        self._options = dataclasses.replace(run.options, servers="threads")  # the same run, and one that is recorded
        self._reference: Options | None = None
        """Where the reference must not fail in the same way, the world that it runs in."""
        journal_hash = run.journal_hash
        longest_s = max((cluster.now for cluster in run.clusters), default=0.0)
        began = time.monotonic()
        found = self._fails(dataclasses.replace(run.plan, recorded=True), self._options)
        if found != self._wanted or run.journal_hash != journal_hash:
            self._give_up("the same seed did not fail in the same way again: the run is not deterministic")
        self.before = run.decisions
        self._values = _values(self.before)
        self._longest_s = math.inf if isinstance(error, RunLimitExceeded) else _SLACK * longest_s + _SLACK_S
        allowed = self._what_may_go(error)
        self.optional = [key for key in self._values if allowed(key)]
        self.fixed = [key for key in self._values if not allowed(key)]
        self._order = {key: place for place, key in enumerate(self.optional)}
        self._effects: list[Key] = []
        self._last: frozenset[Key] = frozenset(self.optional)
        """The latest part that failed in the same way."""
        if self._fails(self._plan(self._last), self._options) != self._wanted:
            self._give_up("what was recorded of the run does not make it fail again")
        if math.isfinite(budget.seconds):
            twice = time.monotonic() - began
            self._patience = _SLACK_S + _SLACK * twice
            self.deadline -= twice / 2  # for the replay at the end

    def is_same_failure(self, kept: frozenset[Key]) -> bool:
        """Whether the run with no more than `kept`, and what is fixed, fails in the same way."""
        if self._fails(self._plan(kept), self._options) != self._wanted:
            return False
        self._effects = list(_values(self._run.decisions))
        if self._reference is not None and self._fails(self._plan(kept), self._reference) == self._wanted:
            return False
        self._last = kept
        return True

    def slice_of(self, key: Key) -> int:
        """Which part of the run it belongs to, in the order of time."""
        return self._order[key] * _SLICES // len(self._order)

    def in_effect(self) -> list[Key]:
        """What the latest run decided otherwise than calm."""
        return self._effects

    def replay(self, kept: list[Key]) -> Exception:
        """Makes `run` the run with `kept`; what it raised."""
        self._patience = None
        error = self._again(self._plan(frozenset(kept)), self._options)
        if error is None or likeness(error) != self._wanted:  # what had no effect had one after all: keep it
            error = self._again(self._plan(self._last), self._options)
        if error is None or likeness(error) != self._wanted:
            self._give_up("the shrunk run does not fail again")
        return error

    def _what_may_go(self, error: Exception) -> Callable[[Key], bool]:
        """See the module's docstring."""
        if isinstance(error, InvariantViolation | CodeFault):
            return lambda key: True
        innermost = traceback.extract_tb(error.__traceback__)[-1]
        if innermost.filename.startswith(_HARNESS) and innermost.name != "no_leader":
            return lambda key: _kind(key) not in COMMANDS
        solution = self._options.solution
        if solution is not None and solution.resolve() != reference_root().resolve():
            self._reference = dataclasses.replace(self._options, solution=None)
            return lambda key: True
        return lambda key: not _family(key)

    def _plan(self, kept: frozenset[Key]) -> Plan:
        wanted = kept.union(self.fixed)
        overrides = {key: value for key, value in self._values.items() if key in wanted}
        return Plan(overrides, calm=True, recorded=True, longest_s=self._longest_s)

    def _fails(self, plan: Plan, options: Options) -> Likeness | None:
        error = self._again(plan, options)
        return None if error is None else likeness(error)

    def _again(self, plan: Plan, options: Options) -> Exception | None:
        self._run.restart(plan, options)
        with warnings.catch_warnings(), self._limited():
            warnings.simplefilter("ignore")
            return self._attempt()

    def _limited(self) -> contextlib.AbstractContextManager[None]:
        """Ends the run that goes on when patience, or the budget, is at its end."""
        if self._patience is None:
            return contextlib.nullcontext()
        seconds = min(self._patience, self.deadline - time.monotonic())
        return interrupts.ended_after(self._run, seconds, _TooSlow("it took too long to be tried"))

    def _give_up(self, reason: str) -> NoReturn:
        self._again(self._original, self._options)
        raise CannotShrink(reason)


def _values(decisions: list[Decision]) -> dict[Key, int]:
    return {(decision.stream, decision.number): decision.value for decision in decisions}


def _family(key: Key) -> bool:
    """Whether it is an event, not weather."""
    return origin_of(key[0]).family == "event"


def _kind(key: Key) -> str:
    return origin_of(key[0]).kind


def _place(key: Key) -> tuple[str, str]:
    origin = origin_of(key[0])
    return origin.kind, origin.place
