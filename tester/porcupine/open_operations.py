"""The open operations at one stage, in groups that a search asks for as masks; moves from stage to stage both ways.

Moving on is the search making progress, moving back is it giving up; each step costs what arrives or leaves, never what
is open. (Lists of what is open at each stage would take history times concurrency in memory.)
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from tester.porcupine.model import ANY_STATE, Traits
from tester.porcupine.timeline import Timeline

__all__ = ["BLIND", "CHANGING", "LOOKING", "PROBING", "WAITING", "OpenOperations"]

WAITING, LOOKING, BLIND, CHANGING, PROBING = range(5)
"""What an operation is to a search: an observer possible in one state only; any other observer; a blind operation; one
that changes one aspect only; one that nothing is known of."""


class OpenOperations:
    """Masks over the slots of `timeline`; at first, nothing is open.

    Args:
        traits: of each operation.
        identical: for each operation a number; of two with the same, only the times differ.
    """

    def __init__(self, timeline: Timeline, traits: Sequence[Traits], identical: Sequence[int]) -> None:
        self._timeline = timeline
        self._identical = identical
        self._changes_in: list[Any] = [each.changes_in for each in traits]
        self._only_in: list[Any] = [None] * len(traits)
        self.kind = bytearray(len(traits))
        for index, each in enumerate(traits):
            if each.observer:
                self.kind[index] = LOOKING
                if each.only_in is not ANY_STATE:
                    self.kind[index] = WAITING
                    self._only_in[index] = each.only_in
            elif each.blind:
                self.kind[index] = BLIND
                self._changes_in[index] = ANY_STATE
            else:
                self.kind[index] = PROBING if each.changes_in is ANY_STATE else CHANGING
        self._total = [each.total or each.blind for each in traits]
        self._restless = [each.restless for each in traits]
        self.operation_in = [0] * timeline.slots
        """Slot -> the operation in it, if any."""
        self.waiting: dict[Any, int] = {}
        """State -> observers that are possible in it only."""
        self.probing = 0
        """Operations that must be tried to know whether they are possible without an effect."""
        self.restless = 0
        """Operations that never are."""
        self.idle: dict[Hashable, int] = {}
        """Aspect -> total operations that change the state only in it."""
        self.all_idle = 0
        self.total = 0
        """Operations that are possible in every state."""
        self.effective: dict[Any, dict[int, int]] = {}
        """Aspect, or ANY_STATE -> number of identity -> operations that may change the state there."""

    def arrive(self, stage: int) -> None:
        """Opens what was called since the stage before."""
        for index in self._timeline.arrivals[stage]:
            self.operation_in[self._timeline.bit[index].bit_length() - 1] = index
            self._toggle(index)

    def advance(self, stage: int) -> None:
        """From `stage` to the next: one operation returns, others were called."""
        self._toggle(self._timeline.order[stage])
        self.arrive(stage + 1)

    def retreat(self, stage: int, target: int) -> None:
        """From `stage` back to `target`."""
        order, arrivals, bit = self._timeline.order, self._timeline.arrivals, self._timeline.bit
        while stage > target:
            for index in arrivals[stage]:
                self._toggle(index)
            stage -= 1
            index = order[stage]
            self.operation_in[bit[index].bit_length() - 1] = index
            self._toggle(index)

    def _toggle(self, index: int) -> None:
        """Opens a closed operation, closes an open one."""
        bit = self._timeline.bit[index]
        kind = self.kind[index]
        if self._total[index]:
            self.total ^= bit
        if kind == WAITING:
            waiting = self.waiting
            state = self._only_in[index]
            mask = waiting.get(state, 0) ^ bit
            if mask:
                waiting[state] = mask
            else:
                del waiting[state]
            return
        if kind != CHANGING:
            if self._restless[index]:
                self.restless ^= bit
            else:
                self.probing ^= bit
            if kind == LOOKING:
                return
        aspect = self._changes_in[index]
        if kind == CHANGING and self._total[index]:
            self.all_idle ^= bit
            mask = self.idle.get(aspect, 0) ^ bit
            if mask:
                self.idle[aspect] = mask
            else:
                del self.idle[aspect]
        groups = self.effective.get(aspect)
        if groups is None:
            groups = self.effective[aspect] = {}
        group = self._identical[index]
        mask = groups.get(group, 0) ^ bit
        if mask:
            groups[group] = mask
        else:
            del groups[group]
            if not groups:
                del self.effective[aspect]
