"""From the steps that a search took to a linearization of everything.

The search knows only the steps that changed the state, and that each other operation had credit. Here its own rules are
applied once more along the one path, and each of those is put where it first had credit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tester.porcupine.model import ANY_STATE
from tester.porcupine.stepper import IMPOSSIBLE

if TYPE_CHECKING:
    from tester.porcupine.search import StageSearch

__all__ = ["Placement"]


class Placement:
    """Where operations go.

    Args:
        search: it has run.
        steps: (stage, operation) of each step that it took on the way to where it got.
    """

    def __init__(self, search: StageSearch, steps: list[tuple[int, int]]) -> None:
        self._search = search
        self._steps = steps
        self._placed: list[int] = []
        self._open: dict[int, None] = {}
        """Operations that have returned or will, are open, and stand nowhere yet."""
        self._state = search.stepper.unboxed(search.stepper.initial)

    def walk(self, stages: int) -> list[int]:
        """The order of operations, up to the return at stage `stages`, which may be missing."""
        search = self._search
        timeline = search.timeline
        visible = {index for _, index in self._steps}
        position = 0
        merged = search.merged(0, self._state)
        for stage in range(min(stages + 1, timeline.stages)):
            before, merged = merged, search.merged(stage, self._state)
            if merged != before:
                self._settle(stage, list(self._open))
            fresh = [
                index
                for index in timeline.arrivals[stage]
                if index not in visible and timeline.rank[index] < timeline.stages
            ]
            self._open.update(dict.fromkeys(fresh))
            self._settle(stage, fresh)
            while position < len(self._steps) and self._steps[position][0] == stage:
                index = self._steps[position][1]
                position += 1
                if search.traits[index].blind:
                    self._place_total()
                self._place(index)
                merged = search.merged(stage, self._state)
                self._settle(stage, list(self._open))
        return self._placed

    def _place(self, index: int) -> bool:
        after = self._search.stepper.step(self._state, index)
        if after is IMPOSSIBLE:
            return False
        self._state = after
        self._placed.append(index)
        self._open.pop(index, None)
        return True

    def _place_total(self) -> None:
        """A blind operation comes next: whatever is possible in every state can stand right before it."""
        traits = self._search.traits
        for index in [index for index in self._open if traits[index].total or traits[index].blind]:
            self._place(index)

    def _settle(self, stage: int, candidates: list[int]) -> None:
        """Places what changes nothing that matters."""
        search = self._search
        stepper, traits = search.stepper, search.traits
        for index in candidates:
            if index not in self._open:
                continue
            only_in = traits[index].only_in
            if only_in is not ANY_STATE and not stepper.boxed and only_in != self._state:
                continue
            after = stepper.step(self._state, index)
            if after is IMPOSSIBLE:
                continue
            if stepper.same(after, self._state) or (
                search.foresight is not None
                and (traits[index].total or traits[index].blind)
                and search.merged(stage, after) == search.merged(stage, self._state)
            ):
                self._place(index)
