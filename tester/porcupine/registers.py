"""What intervals alone say of a register: exact where every value is written once, else a quick refutation.

A value that one operation alone can have written is *unique*. Its *block* is that write with all that saw the value. In
any linearization nothing else changes the state inside a block, so of two blocks one comes wholly before the other:

    block of 1    |--w1--|      |-r1-|             first: the least return in the block (here w1's)
    block of 2            |-w2-|                   last: the greatest call (here r1's)

A block X must come before Y if X.first < Y.last: something in X had returned before something in Y was called. Any
cycle of that relation contains two blocks that must each come before the other, so an order exists unless there is
such a pair: O(n log n). A successful cas from one unique value to another glues two blocks to a chain, within which
the order is known. Anything that happened outside a block, for certain, must not lie strictly within it.

If all writes are of unique values and no cas failed or is unknown, that is all there is to say.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, TypeAlias

from tester.porcupine.explain import where
from tester.porcupine.model import Decision, Finding, Operation

__all__ = ["decide_register"]

_Describe: TypeAlias = Callable[[Any, Any], str]
_Placed: TypeAlias = "tuple[int, float, float, int]"
"""(position within a chain, call, return, operation)."""


@dataclass(slots=True)
class _Chain:
    """Blocks glued by compare-and-set, or one alone.

    Attributes:
        members: what happens in it; of a lower position means earlier.
        first: the least return.
        last: the greatest call.
    """

    members: list[_Placed] = field(default_factory=list)
    first: float = inf
    first_by: int = -1
    last: float = -inf
    last_by: int = -1


@dataclass(frozen=True, slots=True)
class _Conflict:
    """`stuck` cannot be placed: the value of `before` lasts until `after`; or, without them, nothing made its value."""

    stuck: int
    before: int | None = None
    after: int | None = None


class _Register:
    """One register's blocks."""

    def __init__(self, operations: Sequence[Operation], initial: Hashable) -> None:
        self.operations = operations
        self.initial = initial
        self.exact = True
        """Whether blocks are all there is to the history."""
        self.chains: list[_Chain] = []
        self.conflict: _Conflict | None = None
        self._sources: dict[Any, list[int]] = {}
        """Value -> operations that may have written it."""
        for index, operation in enumerate(operations):
            input, output = operation.input, operation.output
            if input.op == "write" or (
                input.op == "cas" and (output is None or output.ok) and input.value != input.expected
            ):
                self._sources.setdefault(input.value, []).append(index)
        self._done = self._promote()
        """Every cas that was done."""
        self._outside: list[tuple[float, float, int]] = []
        """(call, return, operation) of what certainly happened outside all blocks."""
        self.conflict = self._unfounded() or self._build() or self._disorder() or self._overlap()

    def _unique(self, value: Any) -> bool:
        return value != self.initial and len(self._sources.get(value, ())) == 1

    def _promote(self) -> set[int]:
        """A cas of unknown outcome was done if it alone can have written what was seen; it saw something itself."""
        operations = self.operations
        done = set()
        seen = []
        for index, operation in enumerate(operations):
            input, output = operation.input, operation.output
            if output is not None and input.op == "read":
                seen.append(output.value)
            elif output is not None and input.op == "cas" and output.ok:
                done.add(index)
                seen.append(input.expected)
        known = set()
        while seen:
            value = seen.pop()
            if value not in known:
                known.add(value)
                if self._unique(value):
                    source = self._sources[value][0]
                    if operations[source].input.op == "cas" and source not in done:
                        done.add(source)
                        seen.append(operations[source].input.expected)
        self._seen = known
        """Every value that was certainly found at some time."""
        return done

    def _found(self, index: int) -> Any:
        """The value an operation certainly found; the register itself if none is certain."""
        operation = self.operations[index]
        if operation.input.op == "read" and operation.output is not None:
            return operation.output.value
        return operation.input.expected if index in self._done else self

    def _unfounded(self) -> _Conflict | None:
        """Something found a value before any operation that may have written it was called."""
        operations = self.operations
        earliest = {
            value: min(operations[index].call_time for index in sources) for value, sources in self._sources.items()
        }
        earliest[self.initial] = -inf
        for index, operation in enumerate(operations):
            value = self._found(index)
            if value is not self and _end(operation) < earliest.get(value, inf):
                return _Conflict(index)
            if value is not self and value not in earliest:
                return _Conflict(index)
        return None

    def _build(self) -> _Conflict | None:
        """Chains, and what is outside of them."""
        operations, initial = self.operations, self.initial
        blocks: dict[Any, None] = {value: None for value in self._sources if self._unique(value)}
        if initial not in self._sources:
            blocks[initial] = None
        after: dict[Any, Any] = {}
        glue: dict[Any, int] = {}
        for index in sorted(self._done):
            input = operations[index].input
            if input.expected in blocks and input.expected != input.value:
                if input.expected in after:
                    return _Conflict(index, glue[input.expected], None)  # two left the same block
                after[input.expected] = input.value
                glue[input.expected] = index
        places: dict[Any, tuple[_Chain, int]] = {}
        inner = {value for value in after.values() if value in blocks}
        for root in blocks:
            if root in inner:
                continue
            chain, position, value = _Chain(), 0, root
            self.chains.append(chain)
            while True:
                places[value] = (chain, position)
                position += 2
                if value not in after or after[value] not in blocks:
                    break
                value = after[value]
        if len(places) < len(blocks):  # each is only reached from another: a circle
            value = next(value for value in inner if value not in places)
            return _Conflict(self._sources[value][0])
        for index, operation in enumerate(operations):
            self._put(index, operation, places)
        if initial in places:
            places[initial][0].first = -inf
        self.chains = [chain for chain in self.chains if chain.members]
        return None

    def _put(self, index: int, operation: Operation, places: dict[Any, tuple[_Chain, int]]) -> None:
        """Places one operation in its chain, or outside. Within a chain: written at an even position, seen after it."""
        input, output = operation.input, operation.output
        certain = operation.return_time is not None
        if input.op == "read" or (index in self._done and input.expected == input.value):
            if input.op == "read" and output is None:
                return
            value = output.value if input.op == "read" else input.expected
            if value in places:
                self._join(places, value, 1, index)
            else:
                self._outlie(index)
        elif not certain and input.value not in self._seen:
            pass  # it may as well not have happened: what it would leave, nobody saw
        elif input.op == "write":
            if input.value in places:
                self._join(places, input.value, 0, index)
            else:
                self.exact = False
                if certain:
                    self._outlie(index)
        elif index not in self._done:
            self.exact = False
        else:
            if input.value in places:
                self._join(places, input.value, 0, index)
            if input.expected in places:
                self._join(places, input.expected, 2, index)
            if input.value not in places or input.expected not in places:
                self.exact = False
                if input.value not in places and input.expected not in places and certain:
                    self._outlie(index)

    def _join(self, places: dict[Any, tuple[_Chain, int]], value: Any, offset: int, index: int) -> None:
        chain, position = places[value]
        operation = self.operations[index]
        start, end = operation.call_time, _end(operation)
        chain.members.append((position + offset, start, end, index))
        if end < chain.first or chain.first_by < 0:
            chain.first, chain.first_by = end, index
        if start > chain.last:
            chain.last, chain.last_by = start, index

    def _outlie(self, index: int) -> None:
        operation = self.operations[index]
        self.exact = False
        self._outside.append((operation.call_time, _end(operation), index))

    def _disorder(self) -> _Conflict | None:
        """Within a chain, something at a later position returned before something at an earlier one was called."""
        for chain in self.chains:
            members = chain.members
            members.sort()
            latest, latest_by = -inf, -1
            greatest, greatest_by = -inf, -1
            before = -1
            for position, start, end, index in members:
                if position != before:
                    latest, latest_by, before = greatest, greatest_by, position
                if end < latest:
                    return _Conflict(index, latest_by, None)
                if start > greatest:
                    greatest, greatest_by = start, index
        return None

    def _overlap(self) -> _Conflict | None:
        """Two chains that must each come before the other, or something outside of one that lies within it.

        A chain with first < last holds from the one to the other, at least. Those spans must be disjoint; everything
        else needs an instant that is not strictly within one.
        """
        spans = sorted(
            ((chain.first, chain.last, chain) for chain in self.chains if chain.first < chain.last),
            key=lambda each: each[:2],
        )
        furthest, by = -inf, None
        for first, last, chain in spans:
            if by is not None and first < furthest:
                return self._between(chain.first_by, by)
            if last > furthest:
                furthest, by = last, chain
        firsts = [first for first, _, _ in spans]
        for chain in self.chains:
            if chain.first >= chain.last:
                span = self._around(spans, firsts, chain.last, chain.first)
                if span is not None:
                    return self._between(chain.first_by, span)
        for start, end, index in self._outside:
            span = self._around(spans, firsts, start, end)
            if span is not None:
                return self._between(index, span)
        return None

    @staticmethod
    def _around(
        spans: list[tuple[float, float, _Chain]], firsts: list[float], start: float, end: float
    ) -> _Chain | None:
        """The span in which [start, end] lies strictly."""
        number = bisect_left(firsts, start) - 1
        return spans[number][2] if number >= 0 and end < spans[number][1] else None

    def _between(self, stuck: int, chain: _Chain) -> _Conflict:
        return _Conflict(stuck, chain.first_by if chain.first > -inf else None, chain.last_by)

    # -------------------------------------------------------------- a linearization

    def order(self) -> list[int]:
        """Of an exact register: its chains in order, each span at its first, all others where no span is around."""
        spans = sorted(
            ((chain.first, chain.last, chain) for chain in self.chains if chain.first < chain.last),
            key=lambda each: each[:2],
        )
        firsts = [first for first, _, _ in spans]
        keyed = []
        for number, chain in enumerate(self.chains):
            if chain.first < chain.last:
                keyed.append((chain.first, 1, number))
                continue
            point = chain.last
            around = bisect_left(firsts, point) - 1
            if around >= 0 and point < spans[around][1]:
                point = spans[around][1]
            keyed.append((point, 0, number))
        keyed.sort()
        order = []
        for _, _, number in keyed:
            chain = self.chains[number]
            latest = {
                index: position for position, _, _, index in chain.members
            }  # a cas from block to block is in both
            members = sorted({(latest[index], start, index) for _, start, _, index in chain.members})
            order += [index for _, _, index in members]
        return order


def _end(operation: Operation) -> float:
    return inf if operation.return_time is None else operation.return_time


def decide_register(operations: Sequence[Operation], initial: Hashable, describe: _Describe) -> Decision | None:
    """The verdict on one register: `RegisterInput` and `RegisterOutput`; None: intervals do not tell."""
    register = _Register(operations, initial)
    conflict = register.conflict
    if conflict is not None:
        return Decision(False, lambda: Finding([], conflict.stuck, _sentence(operations, conflict, describe)))
    return Decision(True, lambda: Finding(register.order())) if register.exact else None


def _sentence(operations: Sequence[Operation], conflict: _Conflict, describe: _Describe) -> str:
    text = f"{where(operations[conflict.stuck], describe)} cannot be placed"
    if conflict.before is not None and conflict.after is not None:
        return (
            f"{text}: between {where(operations[conflict.before], describe)} and "
            f"{where(operations[conflict.after], describe)} the register holds one value that was written once"
        )
    if conflict.before is not None:
        return f"{text}: it must come after {where(operations[conflict.before], describe)}, or not at all"
    if conflict.after is not None:
        return f"{text}: the initial value is still found by {where(operations[conflict.after], describe)}"
    return f"{text}: nothing called by then can have written the value it finds"
