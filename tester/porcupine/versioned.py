"""The exact check of one key with versions, in O(n log n), however many clients and however many unknown outcomes.

The key's history is a row of instants: t[v] is when version v becomes v+1. All that operations say is of four kinds:

    order       t[v-1] <= t[v]
    bounds      low <= t[v] <= high     who saw version v did so after t[v-1] and before t[v]; a put at v that was done
                                        was done at t[v]
    choices     t[v] lies in one of some intervals, those of the puts at v of which nobody knows whether they were
                done; or it is never, if nobody has seen what comes after v
    clauses     t[v] > end implies t[v-1] >= start, for a put at v, over [start, end], that found another version

The componentwise minimum of two solutions is a solution too, for each kind, so if there is a solution there is a least
one. It is found by lifting each t[v], from -infinity, only as far as it must: what is lifted then was lifted in every
solution. An instant that is lifted past its upper bound proves that there is none, and the two operations behind the
two bounds say why.

Values need no search: a version is made by one put, so all that see it must have seen what that put wrote.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, TypeAlias

from tester.porcupine.explain import moment, where
from tester.porcupine.model import Decision, Finding, Operation

__all__ = ["decide_versioned"]

_Describe: TypeAlias = Callable[[Any, Any], str]
_Interval: TypeAlias = "tuple[float, float, int]"
"""(call, return, operation)."""

_REFUSED = frozenset(("VERSION", "NO_KEY"))


@dataclass(frozen=True, slots=True)
class _Conflict:
    """Why there is no solution.

    Attributes:
        low: the operation that cannot be placed, or that sets the lower bound.
        high: the one that contradicts it; None: nothing in particular does.
        version: the version whose making is in question.
        kind: which sentence is right.
    """

    low: int
    high: int | None
    version: int
    kind: str


class _Key:
    """The constraints of one key's operations, and their least solution."""

    def __init__(self, operations: Sequence[Operation], until: float = inf) -> None:
        """Reads `operations`: those that return at `until` or later are open then, those called later are not there."""
        self.operations = operations
        self.until = until
        self.times: list[float] = []
        """The least solution: t[v] for each v below `made`."""
        self.conflict = self._read() or self._lift()

    def _read(self) -> _Conflict | None:
        operations, until = self.operations, self.until
        limit = len(operations)  # no version is higher: each takes a put
        low: list[float] = [-inf] * (limit + 2)
        high: list[float] = [inf] * (limit + 2)
        low_by = [-1] * (limit + 2)
        high_by = [-1] * (limit + 2)
        value: list[Any] = [None] * (limit + 2)
        seen_by = [-1] * (limit + 2)
        done_by = [-1] * (limit + 2)
        choices: dict[int, list[_Interval]] = {}
        clauses: dict[int, list[tuple[float, float, int]]] = {}
        required = 0
        for index, operation in enumerate(operations):
            start, end, input, output = operation.call_time, operation.return_time, operation.input, operation.output
            if end is None or end >= until:
                if start > until or (end is not None and output.err in _REFUSED):
                    continue
                end, output = inf, None
            if input.op == "get":
                if output is None:
                    continue
                version = output.version
                if output.err == "OK":
                    if version < 1 or version > limit:
                        return _Conflict(index, None, version, "nobody")
                    if version > required:
                        required = version
                    known = value[version]
                    if known is None:
                        value[version] = output.value
                        seen_by[version] = index
                    elif known != output.value:
                        return _Conflict(index, seen_by[version], version, "value")
                    if end < high[version - 1]:
                        high[version - 1] = end
                        high_by[version - 1] = index
                elif version != 0 or output.value != "":
                    return _Conflict(index, None, 0, "nothing")
                if start > low[version]:
                    low[version] = start
                    low_by[version] = index
                continue
            version = input.version
            err = "LOST" if output is None else output.err
            if err == "OK":
                if version < 0 or version >= limit:
                    return _Conflict(index, None, version, "nobody")
                if done_by[version] >= 0:
                    return _Conflict(index, done_by[version], version, "twice")
                done_by[version] = index
                if version >= required:
                    required = version + 1
                if start > low[version]:
                    low[version] = start
                    low_by[version] = index
                if end < high[version]:
                    high[version] = end
                    high_by[version] = index
                continue
            if err == "NO_KEY":
                if version == 0:
                    return _Conflict(index, None, 0, "absent")
                if start > low[0]:
                    low[0] = start
                    low_by[0] = index
                continue
            if err != "VERSION" and 0 <= version < limit:
                choices.setdefault(version, []).append((start, end, index))
            if err == "LOST":
                continue
            if err == "VERSION" or version == 0:  # it found the key, or made it
                required = max(required, 1)
                if end < high[0]:
                    high[0] = end
                    high_by[0] = index
            if err == "VERSION" and version == 1:  # of versions 1 and more it did not find 1
                required = max(required, 2)
                if end < high[1]:
                    high[1] = end
                    high_by[1] = index
            elif 0 < version <= limit and end < high[version]:  # else t[version] comes first, whatever follows
                clauses.setdefault(version, []).append((end, start, index))
        self._low, self._high, self._low_by, self._high_by = low, high, low_by, high_by
        self._value, self._seen_by, self._done_by = value, seen_by, done_by
        self._choices, self._clauses, self._required = choices, clauses, required
        return self._choose()

    def _choose(self) -> _Conflict | None:
        """Which puts may have made which version, and how far versions go."""
        choices, value = self._choices, self._value
        required = self._required
        for version in range(required):
            wanted = value[version + 1]
            done = self._done_by[version]
            if done >= 0:
                if wanted is not None and self.operations[done].input.value != wanted:
                    return _Conflict(self._seen_by[version + 1], done, version + 1, "value")
                choices.pop(version, None)
                continue
            possible = choices.get(version)
            if possible is None:
                return self._unmade(version)
            if wanted is not None:
                possible = [each for each in possible if self.operations[each[2]].input.value == wanted]
                if not possible:
                    return _Conflict(self._seen_by[version + 1], None, version + 1, "nobody")
            possible.sort()
            choices[version] = possible
        made = required
        while made in choices:
            choices[made].sort()
            made += 1
        self._made = made
        """Versions beyond the required ones may have come about as well."""
        for clauses in self._clauses.values():
            clauses.sort(reverse=True)
        return None

    def _unmade(self, version: int) -> _Conflict:
        """Nobody can have made version+1, yet it or a later one is needed: by whom first?"""
        needed_by = [
            index
            for later in range(version, self._required)
            for index in (self._seen_by[later + 1], self._done_by[later + 1], self._high_by[later])
            if index >= 0
        ]
        return _Conflict(min(needed_by, key=lambda index: _end(self.operations[index])), None, version + 1, "nobody")

    def _lift(self) -> _Conflict | None:
        times, low_by = self._low, self._low_by
        high, choices, clauses = self._high, self._choices, self._clauses
        made, required = self._made, self._required
        version = 0
        while version <= made:
            time = times[version]
            if version and times[version - 1] > time:
                time = times[version - 1]
                low_by[version] = low_by[version - 1]
            if version == made:
                time = inf
            elif version in choices:
                least, by = _least(choices[version], time)
                if least == inf and version < required:
                    return _Conflict(low_by[version], self._last_choice(version), version, "order")
                if least > time:
                    time, low_by[version] = least, by
            if time > high[version]:
                return _Conflict(low_by[version], self._high_by[version], version, "order")
            times[version] = time
            pending = clauses.get(version)
            if pending:
                before = times[version - 1]
                lifted = False
                while pending and pending[-1][0] < time:
                    _, start, index = pending.pop()
                    if start > before:
                        before = start
                        low_by[version - 1] = index
                        lifted = True
                if lifted:
                    times[version - 1] = before
                    version -= 1
                    continue
            version += 1
        self.times = times[:made]
        return None

    def _last_choice(self, version: int) -> int:
        return max(self._choices[version], key=lambda each: each[1])[2]

    # -------------------------------------------------------------- a linearization

    def order(self) -> list[int]:
        """The operations, without those that never took effect and never returned, in the order of one linearization.

        Each stands at (its instant, the version it finds, what changes the version last, its call).
        """
        times, until = self.times, self.until
        placed: list[tuple[float, int, int, float, int]] = []
        makers = {}
        for version, time in enumerate(times):
            if time == inf:
                break
            index = self._done_by[version]
            if index < 0:
                index = next(each[2] for each in self._choices[version] if each[0] <= time <= each[1])
            makers[index] = version
            placed.append((time, version, 1, time, index))
        for index, operation in enumerate(self.operations):
            end, start = operation.return_time, operation.call_time
            if end is None or end >= until or index in makers:
                continue
            input, output = operation.input, operation.output
            if input.op == "get" or output.err == "NO_KEY":
                version = output.version if input.op == "get" else 0
                time = start if version == 0 else max(start, times[version - 1])
            else:
                time, version = self._refusal(input.version, output.err == "VERSION", start)
            placed.append((time, version, 0, start, index))
        placed.sort()
        return [index for _, _, _, _, index in placed]

    def _refusal(self, own: int, present: bool, start: float) -> tuple[float, int]:
        """Where a put at version `own`, called at `start`, finds another one, of a key that exists if `present`."""
        times = self.times
        time = max(start, times[0]) if present else start
        version = bisect_left(times, time)
        if present and version == 0:
            version = 1
        return (time, version) if version != own else (times[own], own + 1)  # by the clause, or by the bounds


def _least(intervals: list[_Interval], time: float) -> tuple[float, int]:
    """The first instant from `time` on that lies in any of `intervals`, which are sorted, and whose that is.

    Infinity if none does.
    """
    best, by = inf, -1
    for start, end, index in intervals:
        if start >= best:
            break
        if end >= time:
            best, by = (start if start > time else time), index
            if best == time:
                break
    return best, by


def decide_versioned(operations: Sequence[Operation], describe: _Describe) -> Decision:
    """The verdict on the operations of one key: `KvInput` and `KvOutput`, in any order."""
    key = _Key(operations)
    if key.conflict is None:
        return Decision(True, lambda: Finding(key.order()))
    first = key.conflict
    return Decision(False, lambda: _refutation(operations, first, describe))


_CUTS = 4


def _refutation(operations: Sequence[Operation], explained: _Conflict, describe: _Describe) -> Finding:
    """The first conflict, in words, and a linearization of what went before.

    The history is cut right before the last return that a conflict needs, so that one operation less is certain; what
    is left may have another conflict, and so on. If that takes long, the right cut is looked for by halves.
    """
    cut = _ends(operations, explained)[-1]
    for _ in range(_CUTS):
        key = _Key(operations, cut)
        if key.conflict is None:
            break
        # What came too late for somebody needs no return: then the cut is where that other one returns.
        repeated = key.conflict.high == explained.high and key.conflict.high is not None
        explained = key.conflict
        cut = min(cut, _ends(operations, explained)[0 if repeated else -1])
    else:
        cuts = sorted({end for each in operations if (end := _end(each)) <= cut})
        legal, illegal = -1, len(cuts)
        while illegal - legal > 1:
            middle = (legal + illegal) // 2
            tried = _Key(operations, cuts[middle])
            if tried.conflict is None:
                legal = middle
            else:
                illegal, explained = middle, tried.conflict
        cut = cuts[legal] if legal >= 0 else -inf
        key = _Key(operations, cut)
    culprit = max(
        (index for index in (explained.low, explained.high) if index is not None),
        key=lambda index: (
            _end(operations[index]) == cut,
            operations[index].return_time is not None,
            _end(operations[index]),
        ),
    )
    return Finding(key.order(), culprit, _sentence(operations, explained, describe))


def _ends(operations: Sequence[Operation], conflict: _Conflict) -> list[float]:
    """The returns that a conflict is about, in order."""
    ends = [_end(operations[index]) for index in (conflict.low, conflict.high) if index is not None]
    return sorted(end for end in ends if end < inf) or [operations[conflict.low].call_time]


def _end(operation: Operation) -> float:
    return inf if operation.return_time is None else operation.return_time


def _sentence(operations: Sequence[Operation], conflict: _Conflict, describe: _Describe) -> str:
    def named(index: int) -> str:
        return where(operations[index], describe)

    key = operations[conflict.low].input.key
    version, other = conflict.version, conflict.high
    if conflict.kind == "nobody":
        return (
            f"{named(conflict.low)} cannot be placed: no put can have made version {version} of {key!r}, "
            "which it needs, with what was seen of it"
        )
    if conflict.kind == "nothing":
        return f"{named(conflict.low)} cannot be placed: a key that is missing has no value and no version"
    if conflict.kind == "absent":
        return f"{named(conflict.low)} cannot be placed: a put at version 0 is never refused for want of the key"
    assert other is not None
    if conflict.kind == "value":
        return f"{named(conflict.low)} cannot be placed: version {version} of {key!r} is what {named(other)} says it is"
    if conflict.kind == "twice":
        return (
            f"{named(conflict.low)} cannot be placed: {named(other)} was done at version {version} of {key!r} as well"
        )
    return (
        f"version {version + 1} of {key!r} cannot be placed: it was made no earlier than "
        f"{moment(operations[conflict.low].call_time)}, after the call of {named(conflict.low)}, and no later than "
        f"{moment(_end(operations[other]))}, before the return of {named(other)}"
    )
