"""What was not calm in a run, decision by decision: the list that shrinking starts from.

    Stream, Events, Host --record--> Ledger --> (stream, number) -> value, when, and what it was about

A decision that changes nothing is not in it: a drawn 0, a message that was not chosen to be lost, a stall that the
host could not afford. So a run in which everything but these decisions is calm is the same run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

__all__ = ["Decision", "Ledger"]


class Decision(NamedTuple):
    """Decision `number` of `stream` was `value`, at `at` ns; `detail` says what it was about, as far as is known."""

    stream: str
    number: int
    value: int
    at: int
    detail: str


class Ledger:
    """The decisions of one cluster's run that were not calm, in the order in which they were taken."""

    def __init__(self) -> None:
        self.clock: Callable[[], int] = lambda: 0
        """Virtual time in ns; the coordinator puts its own here."""
        self._taken: dict[tuple[str, int], Decision] = {}

    def record(self, stream: str, number: int, value: int, *, at: int | None = None, detail: str = "") -> None:
        """Takes one down. A decision that is looked up twice counts once."""
        key = stream, number
        if key not in self._taken:
            self._taken[key] = Decision(stream, number, value, self.clock() if at is None else at, detail)

    def __iter__(self) -> Iterator[Decision]:
        return iter(self._taken.values())

    def __len__(self) -> int:
        return len(self._taken)
