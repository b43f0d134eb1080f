"""What clients did, as it comes: a file for the checker, and counts for those who look.

The file is JSON Lines as `tester check-history` reads it (model kv). A put that ended as MAYBE is written as that; an
operation whose end nobody knows has no return. What the cluster refused was not done, and is counted only.

Of times only the counts of slots of 10 ms are kept, so that a long run needs no more memory than a short one.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections import Counter
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from kvraft.load import ANSWERS, Histogram, Recorded

__all__ = ["Acknowledged", "Recording", "Second"]

SLOT_SECONDS = 0.01

_encode = msgspec.json.Encoder().encode


class Acknowledged(NamedTuple):
    """The latest write of a key that was acknowledged: the version that it made, and its value."""

    version: int
    value: str


@dataclass
class Second:
    """One second of the run, by when operations ended.

    Attributes:
        done: operations answered.
        failed: that ended without an answer.
        times: of those answered.
    """

    done: int
    failed: int
    times: Histogram


class Recording:
    """A history file that grows, and what it says. Any thread may record, and look.

    Attributes:
        began_at: time.monotonic() from which seconds are counted; 0.0 until `begin`, and nothing is counted then.
        operations: in the file.
        outcomes: how many ended how: OK, VERSION, NO_KEY, MAYBE, UNAVAILABLE, REFUSED.
        acknowledged: of each key.
        seconds: since `began_at`, in order.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.began_at = path, 0.0
        self._mu = threading.Lock()
        self._origin = time.monotonic()
        self.operations = 0
        self.outcomes: Counter[str] = Counter()
        self.acknowledged: dict[str, Acknowledged] = {}
        self.seconds: list[Second] = []
        self._file: IO[bytes] = open(path, "wb", buffering=1 << 20)  # noqa: SIM115 - closed by `close`
        head = {"format": "raftlab-history", "version": 1, "model": "kv", "time_unit": "ns"}
        self._file.write(_encode(head) + b"\n")
        # What ended before `begin`: (called, returned or None).
        self._early: list[tuple[float, float | None]] = []
        # Of each slot: the first and the last answer in it, and the earliest answer to what was called in it.
        self._first, self._last, self._earliest = array("d"), array("d"), array("d")

    def begin(self, at: float) -> None:
        """Says that the run has begun, at time.monotonic() `at`."""
        with self._mu:
            self.began_at = at
            early, self._early = self._early, []
            for called, returned in early:
                self._count(called, returned)

    def add(self, operation: Recorded, client: int | str | None = None, *, is_counted: bool = True) -> None:
        """Records an operation that has ended.

        Args:
            client: who asked, if it is not the operation's.
            is_counted: whether it is one of the load, which counts and times are about.
        """
        with self._mu:
            self._add(operation, client, is_counted)

    def _add(self, operation: Recorded, client: int | str | None, is_counted: bool) -> None:
        asked: dict[str, Any]
        if operation.kind == "get":
            value, version, outcome = operation.result
            asked = {"op": "get", "key": operation.key}
            answer: dict[str, Any] | None = {"err": outcome, "value": value, "version": version}
        else:
            value, version = operation.arguments
            outcome = operation.result
            asked = {"op": "put", "key": operation.key, "value": value, "version": version}
            answer = {"err": outcome}
            if outcome == "OK" and version >= self.acknowledged.get(operation.key, _NOTHING).version:
                self.acknowledged[operation.key] = Acknowledged(version + 1, value)
        returned = operation.returned_at
        if outcome not in ANSWERS or returned is None:
            answer = returned = None
        if is_counted:
            self.outcomes[outcome] += 1
            self._count(operation.called_at, returned)
        if outcome == "REFUSED":
            return
        self.operations += 1
        line = {
            "client": operation.client if client is None else client,
            "call": int((operation.called_at - self._origin) * 1e9),
            "return": None if returned is None else int((returned - self._origin) * 1e9),
            "input": asked,
            "output": answer,
        }
        self._file.write(_encode(line) + b"\n")

    def _count(self, called_at: float, returned_at: float | None) -> None:
        if not self.began_at:
            self._early.append((called_at, returned_at))
            return
        called = called_at - self.began_at
        if called < 0:
            return  # what made the keys
        if returned_at is None:
            self._second(called).failed += 1
            return
        returned = returned_at - self.began_at
        second = self._second(returned)
        second.done += 1
        second.times.add(returned - called)
        slot = int(returned / SLOT_SECONDS)
        while len(self._first) <= slot:
            self._first.append(inf)
            self._last.append(-inf)
            self._earliest.append(inf)
        self._first[slot] = min(self._first[slot], returned)
        self._last[slot] = max(self._last[slot], returned)
        slot = int(called / SLOT_SECONDS)
        self._earliest[slot] = min(self._earliest[slot], returned)

    def _second(self, at: float) -> Second:
        while len(self.seconds) <= int(at):
            self.seconds.append(Second(0, 0, Histogram()))
        return self.seconds[int(at)]

    def gap(self, begin: float, end: float) -> float:
        """The longest time without an answer that has a part in [begin, end], in seconds."""
        first, last = self._first, self._last
        index = min(int(begin / SLOT_SECONDS), len(first) - 1)
        before = 0.0
        for slot in range(index, -1, -1):
            found = last[slot] if last[slot] <= begin else first[slot] if first[slot] <= begin else -inf
            if found > -inf:
                before = found
                break
        longest = 0.0
        for slot in range(max(index, 0), len(first)):
            for at in (first[slot], last[slot]):
                if before < at < inf:
                    longest = max(longest, at - before)
                    before = at
                    if at > end:
                        return longest
        return max(longest, end - before)

    def next_answer(self, at: float) -> float | None:
        """How many seconds after `at` the first answer came to what was called from then on; None: never."""
        earliest = self._earliest
        least = inf
        for slot in range(int(at / SLOT_SECONDS) + 1, len(earliest)):
            least = min(least, earliest[slot])
            if (slot + 1) * SLOT_SECONDS > least:
                break
        return None if least == inf else least - at

    def between(self, begin: float, end: float) -> tuple[float, Histogram]:
        """(answers a second, how long they took) in the whole seconds in [begin, end]; 0 if there are none."""
        times = Histogram()
        numbers = range(int(begin) if begin == int(begin) else int(begin) + 1, min(int(end), len(self.seconds)))
        for number in numbers:
            times.merge(self.seconds[number].times)
        return (times.count / len(numbers) if len(numbers) else 0.0), times

    def close(self) -> None:
        """Has the file hold all that was recorded; twice is fine."""
        with self._mu:
            self._file.close()


_NOTHING = Acknowledged(0, "")
