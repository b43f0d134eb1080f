"""The textbook search (Wing and Gong, with Lowe's memo), for small partitions and small budgets.

Calls and returns stand in one linked list by time. An operation whose call is met before any return may be linearized
next: both its entries leave the list, and the walk starts over. A return that is met means that the last choice was
wrong: it is put back. It needs no tables, so easy histories are done before a cleverer search has set itself up, but
its memo holds masks as wide as the history: never give it a large one.

Observers (`Traits.observer`) are linearized the moment they are possible, and that choice is never revised. If A·r·B
completes, where r is an observer that is possible now, so does r·A·B: r changes nothing for A, its result is right
where it stands now, and no other operation is made to wait for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tester.porcupine.model import CheckResult
from tester.porcupine.stepper import IMPOSSIBLE, Stepper

__all__ = ["Prefixes", "plain_search"]


class Prefixes:
    """For each operation of a partition the longest partial linearization found that contains it."""

    def __init__(self, count: int) -> None:
        self._longest: list[list[int] | None] = [None] * count

    def offer(self, order: Sequence[int]) -> None:
        """Takes in one partial linearization."""
        copy: list[int] | None = None
        length = len(order)
        for operation in order:
            longest = self._longest[operation]
            if longest is None or length > len(longest):
                if copy is None:
                    copy = list(order)
                self._longest[operation] = copy

    def distinct(self) -> list[list[int]]:
        """Each of them once, the longest first."""
        found = {id(order): order for order in self._longest if order is not None}
        return sorted(found.values(), key=len, reverse=True)


def plain_search(
    stepper: Stepper,
    observers: Sequence[bool] | None = None,
    *,
    budget: int | None = None,
    prefixes: Prefixes | None = None,
) -> tuple[CheckResult, list[int]]:
    """A verdict, and if it is OK a linearization; UNKNOWN if that took more than `budget` steps of the model.

    Args:
        observers: for each operation whether it is an observer.
        prefixes: told of every partial linearization that could not go on.
    """
    operations = stepper.operations
    entries: list[tuple[Any, int, int]] = []
    left = 0
    for index, operation in enumerate(operations):
        if operation.return_time is not None:
            entries.append((operation.call_time, 0, index))
            entries.append((operation.return_time, 1, index))
            left += 1
        elif observers is None or not observers[index]:  # an observer that never returned proves nothing
            entries.append((operation.call_time, 0, index))
    entries.sort()  # at equal times calls come first: intervals are closed
    count = len(entries)
    following = [*range(1, count + 1), 0]  # entry 0 is the head; entries are numbered from 1
    preceding = [count, *range(count)]
    operation_at = [-1] * (count + 1)
    is_call = bytearray(count + 1)
    return_entry = [0] * len(operations)
    for entry, (_, kind, index) in enumerate(entries, start=1):
        operation_at[entry] = index
        if kind == 0:
            is_call[entry] = 1
        else:
            return_entry[index] = entry

    apply = stepper.apply
    state = stepper.initial
    done = 0  # the mask of linearized operations
    seen: set[tuple[int, Any]] = set()
    trail: list[tuple[int, Any, bool]] = []  # (call entry, the state before it, whether it was no choice)
    steps = 0
    entry = following[0]
    while left:
        if is_call[entry]:
            steps += 1
            if budget is not None and steps > budget:
                return CheckResult.UNKNOWN, []
            index = operation_at[entry]
            after = apply(state, index)
            if after is IMPOSSIBLE:
                entry = following[entry]
                continue
            forced = observers is not None and observers[index]
            if not forced:
                key = (done | 1 << index, after)
                if key in seen:
                    entry = following[entry]
                    continue
                seen.add(key)
            trail.append((entry, state, forced))
            done |= 1 << index
            state = after
            before, behind = preceding[entry], following[entry]
            following[before] = behind
            preceding[behind] = before
            entry = return_entry[index]
            if entry:
                before, behind = preceding[entry], following[entry]
                following[before] = behind
                preceding[behind] = before
                left -= 1
            entry = following[0]
            continue
        if prefixes is not None:
            prefixes.offer([operation_at[call] for call, _, _ in trail])
        while True:
            if not trail:
                return CheckResult.ILLEGAL, []
            entry, state, forced = trail.pop()
            index = operation_at[entry]
            done ^= 1 << index
            back = return_entry[index]
            if back:
                following[preceding[back]] = back
                preceding[following[back]] = back
                left += 1
            following[preceding[entry]] = entry
            preceding[following[entry]] = entry
            if not forced:
                break
        entry = following[entry]
    return CheckResult.OK, [operation_at[call] for call, _, _ in trail]
