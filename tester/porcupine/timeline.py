"""The operations of a partition in the order of their returns.

    time       ---a----------->          stage 0: b is about to return; open: a, b
               -----b--->                stage 1: c is about to return; open: a, c
               ----------c--->           stage 2: a is about to return; open: a
    slots      a: 0, b: 1, c: 1 (b's, free since b returned)

A stage is the moment just before a return: whatever was called by then is open, whatever returned before is done. Sets
of open operations are bit masks over slots, so they are as wide as the concurrency, not as the history.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from tester.porcupine.model import Operation

__all__ = ["Timeline"]


class Timeline:
    """Which operations are open at which stage, for the operations that a search has to place.

    Args:
        operations: a partition.
        unneeded: indices of operations that never returned and that no linearization needs.
    """

    def __init__(self, operations: Sequence[Operation], unneeded: frozenset[int] = frozenset()) -> None:
        self.operations = operations
        calls = list(map(attrgetter("call_time"), operations))
        returns = list(map(attrgetter("return_time"), operations))
        count = len(operations)
        by_call = sorted(range(count), key=calls.__getitem__)
        self.order = [index for index in by_call if returns[index] is not None]
        """The operations that returned, by return, then by call; order[k] returns at stage k."""
        self.order.sort(key=returns.__getitem__)
        self.stages = len(self.order)
        self.rank = [self.stages + 1] * count
        """The stage at which an operation returns; of one that never does: more than any."""
        for stage, index in enumerate(self.order):
            self.rank[index] = stage
        self.bit = [0] * count
        """The mask of an operation's slot. Slots are used again once their operation has returned."""
        self.call_stage = [self.stages] * count
        """The first stage at which an operation is open."""
        self.arrivals: list[list[int]] = []
        """The operations that are open at a stage and were not at the one before, by call."""
        if unneeded:
            by_call = [index for index in by_call if index not in unneeded]
        free: list[int] = []
        slots = position = 0
        for stage, returning in enumerate(self.order):
            arrived = []
            until = returns[returning]
            while position < len(by_call) and calls[by_call[position]] <= until:
                index = by_call[position]
                position += 1
                if free:
                    self.bit[index] = free.pop()
                else:
                    self.bit[index] = 1 << slots
                    slots += 1
                self.call_stage[index] = stage
                arrived.append(index)
            self.arrivals.append(arrived)
            free.append(self.bit[returning])
        self.slots = slots
        """How many slots there are."""
