"""The search for a small cause: which of many items does a failure need? Pure: no run, no clock of its own.

    all items --is_same_failure--> by kind --> samples --> by place --> halves, quarters, … --> one by one --> few items

Delta debugging (Zeller and Hildebrandt, IEEE TSE 2002) on a hierarchy: whole groups are tried before parts of them, so
that a thousand items of which two matter take some dozens of tries. Where every change makes a wholly different run, as
in a race of elections, leaving out one item is as bold as leaving out most: so samples are tried, a sixteenth first.
The same items and the same answers make the same search. What it returns has failed: the best set so far, whenever the
budget ends.
"""

from __future__ import annotations

import math
import random
import re
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from labrpc.errors import UsageError

__all__ = ["Budget", "Shrinker", "parse_budget"]

T = TypeVar("T", bound=Hashable)

_FEW = 16
"""Groups of which each is tried alone."""

_MANY = 24
"""Items of which samples are tried."""

_SHARES = (16, 8, 4, 2)
"""A sample is one item of so many."""

_SAMPLES = 12
_MORE_SAMPLES = 100
"""Samples of each share: at first, and when nothing else helps any more."""


@dataclass(frozen=True)
class Budget:
    """How much a search may cost; what is reached first ends it.

    Attributes:
        seconds: of `clock`.
        runs: tries.
        clock: tells the seconds.
    """

    seconds: float = 60.0
    runs: int = 10_000
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise UsageError(f"a budget of {self.seconds:g} s is too small; give more than 0")
        if self.runs < 1:
            raise UsageError(f"a budget of {self.runs} runs is too small; give 1 or more")


def parse_budget(text: str) -> Budget:
    """A budget as written on a command line: `60s`, `2m`, or `200runs`, however long these take.

    Raises:
        UsageError: it is none of these.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(s|m|runs)?", text.strip())
    if match is None or (match[2] == "runs" and "." in match[1]):
        raise UsageError(f"a budget of {text} makes no sense; write it as 60s, 2m or 200runs")
    if match[2] == "runs":
        return Budget(seconds=math.inf, runs=int(match[1]))
    return Budget(seconds=float(match[1]) * (60 if match[2] == "m" else 1))


class _Spent(Exception):
    """The budget has come to its end."""


class Shrinker(Generic[T]):
    """One search.

    Args:
        items: what can be left out, in the order in which it happened.
        is_same_failure: whether a run with these items, and no other, fails in the same way. All of them do.
        levels: from coarse to fine, what groups the items: those with the same key are left out together.
        in_effect: after a try that failed in the same way, which of its items had an effect; the others are left out
            without another try. None: all had.
        budget: how much the search may cost.
        on_try: called after each try with the number of tries so far and of the items that are left.
    """

    def __init__(
        self,
        items: Sequence[T],
        is_same_failure: Callable[[frozenset[T]], bool],
        *,
        levels: Sequence[Callable[[T], Hashable]] = (),
        in_effect: Callable[[], Iterable[T]] | None = None,
        budget: Budget | None = None,
        on_try: Callable[[int, int], None] | None = None,
    ) -> None:
        if len(set(items)) != len(items):
            raise UsageError(f"{len(items)} items to shrink, only {len(set(items))} of them different")
        self.kept = list(items)
        """The best so far, in the order of the items."""
        self.runs = 0
        """Tries so far."""
        self.is_complete = False
        """Whether the search came to its end: no item that is left can be left out alone."""
        self._is_same_failure = is_same_failure
        self._levels = levels
        self._in_effect = in_effect
        self._budget = budget or Budget()
        self._on_try = on_try
        self._chance = random.Random(0)
        """The same samples each time."""
        self._tried: set[frozenset[T]] = {frozenset(items)}
        self._deadline = self._budget.clock() + self._budget.seconds

    def shrink(self) -> list[T]:
        """The items that the failure needs, as far as the budget allowed to tell."""
        try:
            self._search()
            self.is_complete = True
        except _Spent:
            pass
        return self.kept

    def _search(self) -> None:
        self._keep_only([])
        has_sampled = False
        for level in self._levels:
            groups = self._groups(level)
            if len(groups) > _FEW and not has_sampled:
                has_sampled = True
                self._sample(_SAMPLES)
                groups = self._groups(level)
            if len(groups) > 1:
                if len(groups) <= _FEW:
                    self._keep_one_of(groups)
                self._leave_out(groups)
        if not has_sampled:
            self._sample(_SAMPLES)
        while True:
            while self._leave_out([[item] for item in self.kept]):
                pass
            if not self._sample(_MORE_SAMPLES):
                return

    def _groups(self, level: Callable[[T], Hashable]) -> list[list[T]]:
        groups: dict[Hashable, list[T]] = {}
        for item in self.kept:
            groups.setdefault(level(item), []).append(item)
        return list(groups.values())

    def _sample(self, samples: int) -> bool:
        """Is a drawn part of the coarsest level's largest group, with all of the others, enough? Whether one was."""
        progress = False
        shares = list(_SHARES)
        while shares:
            largest = max(self._groups(self._levels[0]) if self._levels else [self.kept], key=len, default=[])
            if len(largest) < _MANY:
                break
            share = shares.pop(0)
            for _ in range(samples):
                gone = {item for item in largest if self._chance.randrange(share)}
                if self._keep_only([item for item in self.kept if item not in gone]):
                    progress = True
                    shares = list(_SHARES)
                    break
        return progress

    def _keep_one_of(self, groups: list[list[T]]) -> None:
        """Is one group, the smallest first, enough?"""
        for group in sorted(groups, key=len):
            if self._keep_only(group):
                return

    def _leave_out(self, units: list[list[T]]) -> bool:
        """Leaves out halves of the units, then quarters, …, then one by one; whether the last of these did any good."""
        size = max(1, len(units) // 2)
        while True:
            progress = False
            end = len(units)
            while end > 0:  # from the end: what came late is nearer to the failure, and changes less before it
                start = max(0, end - size)
                gone = {item for unit in units[start:end] for item in unit}
                if self._keep_only([item for item in self.kept if item not in gone]):
                    progress = True
                    left = set(self.kept)
                    units = [rest for unit in units if (rest := [item for item in unit if item in left])]
                    end = min(start, len(units))
                else:
                    end = start
            if size == 1:
                return progress
            size = max(1, min(size // 2, len(units) // 2))

    def _keep_only(self, items: list[T]) -> bool:
        """Tries without the rest; if the failure is the same, this is the best so far."""
        candidate = frozenset(items)
        if candidate in self._tried:
            return False
        if self.runs >= self._budget.runs or self._budget.clock() >= self._deadline:
            raise _Spent
        self._tried.add(candidate)
        self.runs += 1
        same = self._is_same_failure(candidate)
        if same:
            needed = candidate if self._in_effect is None else candidate.intersection(self._in_effect())
            self._tried.add(needed)
            self.kept = [item for item in self.kept if item in needed]
        if self._on_try is not None:
            self._on_try(self.runs, len(self.kept))
        return same
