"""The general search: depth first over stages of returns, with credit for operations that need not be seen.

    operations --> Timeline (stages, slots) --> OpenOperations (masks) --> StageSearch --> verdict, a linearization

A *configuration* is (stage, state, used, credited). Everything that returned before the stage is done. Of the open
operations,

- a *used* one has been linearized, by a step that changed the state;
- a *credited* one could have been linearized at some moment since its call without any effect that a later operation
  notices: in a state that it leaves as it is, or, being total, right before a blind operation, which hides what it did.
  When it returns, the credit will do. Until then it may still be used. An observer has no use, so once it is credited
  no more is said of it. An operation that never returned has credit from the start: it may as well not have happened.

At a stage, the operation about to return is used or credited and is let go, or steps are taken until it is. That
is complete: in any linearization give each operation the earliest stage at which it or anything after it in the order
returns; all of them are open by then, and within a stage any order of steps is tried. Credit is complete because it is
given whenever a state is reached, and whenever an operation arrives in a state.

What is not explored, and why:

1. A configuration seen before, or *dominated*: same stage and state, and each open operation has the same status in
   an earlier one or is credited there. From credit, one can do all that can be done from "used" or from neither.
2. Of identical operations (same input, same output), all but the one that returns first among those without credit:
   in any completion that uses a later one, the two can change places. One with credit is passed over too if one without
   credit returns earlier; not the other way round, since using it leaves the other in need.
3. A blind operation now, if nothing open gains from the state it leads to, nothing could change that state, and its own
   return is not due. The next step from there is either blind too and hides it (then it has credit, being total), or
   the stage ends (then it can be taken at the next stage, after what is due, with the same outcome).
4. A blind operation as the use of a credited one at its return, if nothing later looks for its state, and no later
   operation is *choosy* (neither total nor tied to one state): then staying in the present state allows everything that
   the step would.
5. What `Foresight` says is hopeless; and states that do not matter any more are one state.

The memo is of use only while alternatives are on the stack; it is dropped whenever there are none. There is no
recursion: configurations are immutable and stand on an explicit stack.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from tester.porcupine.memo import Memo
from tester.porcupine.model import ANY_STATE, CheckResult, Model, Traits
from tester.porcupine.open_operations import BLIND, CHANGING, LOOKING, WAITING, OpenOperations
from tester.porcupine.placement import Placement
from tester.porcupine.stepper import IMPOSSIBLE, Stepper
from tester.porcupine.timeline import Timeline

__all__ = ["StageSearch", "traits_of"]

_Path: TypeAlias = "tuple[_Path, int, int] | None"
"""The steps that changed the state, last first: (the steps before, stage, operation)."""

_Configuration: TypeAlias = "tuple[int, int, Any]"
"""(used, credited, state), of a stage that is clear."""

_LET_GO = -1
"""Instead of a step: let go what is about to return, since it has credit."""
_PAUSE = 500
"""Configurations between two pauses of a search."""

_NO_TRAITS = Traits()


def traits_of(stepper: Stepper) -> list[Traits]:
    """What the model says of each operation; nothing if it says nothing, or has an equality of its own."""
    traits, operations = stepper.model.traits, stepper.operations
    if traits is None:
        return [_NO_TRAITS] * len(operations)
    return [traits(operation.input, operation.output) for operation in operations]


class StageSearch:
    """A search of one partition. `run` it; then `order` and `stuck` are known.

    Args:
        look_ahead: leaves what `Foresight` says is hopeless. Without it more is explored, and `stuck` is exact.

    Attributes:
        verdict: UNKNOWN until the search is done.
        stuck: the operation whose return no order could pass, of those that return first; None if legal.
        configurations: how many were explored.
    """

    def __init__(self, model: Model, stepper: Stepper, traits: list[Traits], *, look_ahead: bool = True) -> None:
        self.verdict = CheckResult.UNKNOWN
        self.stuck: int | None = None
        self.configurations = 0
        self.stepper = stepper
        operations = stepper.operations
        unneeded = frozenset(
            index
            for index, operation in enumerate(operations)
            if operation.return_time is None and traits[index].observer
        )
        self.timeline = Timeline(operations, unneeded)
        self.traits = traits
        self.foresight = None if model.foresight is None or stepper.boxed else model.foresight(self.timeline)
        # Boxes come and go, so a state in a trait is looked up by its box only while that box lives: not at all, then.
        self._trusted = not stepper.boxed
        self._aspect = None if stepper.boxed else model.aspect
        self._look_ahead = look_ahead
        self._deepest = 0
        self._deepest_path: _Path = None
        self._constant: dict[int, Any] = {}

    def run(self) -> Iterator[None]:
        """Pauses now and then; ends when there is a verdict."""
        timeline, stepper = self.timeline, self.stepper
        if not timeline.stages:
            self.verdict = CheckResult.OK
            return
        traits = self.traits if self._trusted else [_without_states(each) for each in self.traits]
        for index, each in enumerate(traits):
            if each.blind and not each.observer:
                self._constant[index] = stepper.apply(stepper.initial, index)
        opened = self._opened = OpenOperations(timeline, traits, _identical(stepper, traits, self._constant))
        order, bits, kinds, stages = timeline.order, timeline.bit, opened.kind, timeline.stages
        foresight = self.foresight
        last_choosy = max(
            (
                timeline.rank[index]
                for index, each in enumerate(traits)
                if not (each.total or each.blind) and each.only_in is ANY_STATE
            ),
            default=-1,
        )

        stage = used = 0
        state = self.merged(0, stepper.initial)
        path: _Path = None
        opened.arrive(0)
        credited = self._greet(0, state, 0)
        stack: list[tuple[int, int, int, Any, _Path, list[int]]] = []  # each with steps yet to be tried from it
        memo = Memo()
        while True:
            # Let go whatever has been used, or has credit and no use left.
            undecided = False
            while True:
                index = order[stage]
                bit = bits[index]
                if used & bit:
                    used ^= bit
                elif credited & bit:
                    kind = kinds[index]
                    if not (
                        kind <= LOOKING
                        or (
                            kind == BLIND
                            and foresight is not None
                            and last_choosy <= stage
                            and not foresight.matters(stage + 1, self._constant[index])
                        )
                    ):
                        undecided = True
                        break
                    credited ^= bit
                else:
                    break
                stage += 1
                if stage == stages:
                    self._succeed(path)
                    return
                credited, state = self._enter(stage, used, credited, state)
            if stage > self._deepest:
                self._deepest, self._deepest_path = stage, path
            self.configurations += 1
            if self.configurations % _PAUSE == 0:
                yield

            if not stack and (memo.forget() or stepper.boxed):
                stepper.forget([state, stepper.initial, *self._constant.values()])
            if not stack or memo.admits(stage, state, used, credited):
                candidates = self._candidates(stage, used, credited, state)
                if undecided:  # it has credit, and that is one way to let it go
                    candidates.append(_LET_GO)
                if candidates:
                    stack.append((stage, used, credited, state, path, candidates))
            after: _Configuration | None = None
            while stack and after is None:
                there, used, credited, state, path, candidates = stack[-1]
                index = candidates.pop()
                if not candidates:
                    stack.pop()
                if there < stage:
                    opened.retreat(stage, there)
                    stage = there
                if index != _LET_GO:
                    after = self._step(stage, used, credited, state, index)
                    path = (path, stage, index)
                elif stage + 1 == stages:
                    self._succeed(path)
                    return
                else:
                    credited ^= bits[order[stage]]
                    stage += 1
                    after = used, *self._enter(stage, used, credited, state)
            if after is None:
                self.verdict = CheckResult.ILLEGAL
                self.stuck = order[self._deepest]
                return
            used, credited, state = after

    def _enter(self, stage: int, used: int, credited: int, state: Any) -> tuple[int, Any]:
        """(credited, state) after going on to `stage` from the one before: there, less may matter, and some arrive."""
        foresight = self.foresight
        self._opened.advance(stage - 1)
        if foresight is not None and state is not foresight.nowhere and not foresight.matters(stage, state):
            state = foresight.nowhere
            credited = self._settle(stage, state, used, credited)
        return self._greet(stage, state, credited) if self.timeline.arrivals[stage] else credited, state

    def _candidates(self, stage: int, used: int, credited: int, state: Any) -> list[int]:
        """The operations whose step may be taken from here, what returns first last."""
        opened, rank = self._opened, self.timeline.rank
        operation_in = opened.operation_in
        aspect = state if self._aspect is None else self._aspect(state)
        candidates: list[int] = []
        for groups in (opened.effective.get(aspect), opened.effective.get(ANY_STATE)):
            if groups is None:
                continue
            for mask in groups.values():
                mask &= ~used
                if not mask & (mask - 1):
                    if mask:
                        candidates.append(operation_in[mask.bit_length() - 1])
                    continue
                first = self._first(mask & ~credited)
                if first >= 0:
                    candidates.append(first)
                other = self._first(mask & credited)
                if other >= 0 and (first < 0 or rank[other] < rank[first]):
                    candidates.append(other)
        candidates.sort(key=rank.__getitem__, reverse=True)
        return candidates

    def _step(self, stage: int, used: int, credited: int, state: Any, index: int) -> _Configuration | None:
        """What the step of `index` leads to; None if it is not possible, or leads nowhere that others do not."""
        opened, foresight = self._opened, self.foresight
        bit = self.timeline.bit[index]
        used |= bit
        if opened.kind[index] == BLIND:
            after = self.merged(stage, self._constant[index])
            if index != self.timeline.order[stage]:
                if after == state:
                    if not opened.total & ~(used | credited):
                        return None
                elif not self._gains(after, used, credited):
                    return None
            credited = (credited | opened.total) & ~used
        else:
            after = self.stepper.apply(state, index)
            if after is IMPOSSIBLE:
                return None
            after = self.merged(stage, after)
            if after == state and credited & bit:
                return None
            credited &= ~bit
        if self._look_ahead and foresight is not None and foresight.hopeless(stage, state, after, used):
            return None
        if after != state:
            credited = self._settle(stage, after, used, credited)
        return used, credited, after

    def _first(self, mask: int) -> int:
        """The operation of a set that returns first; -1 for the empty one."""
        rank, operation_in = self.timeline.rank, self._opened.operation_in
        best = -1
        while mask:
            low = mask & -mask
            mask ^= low
            index = operation_in[low.bit_length() - 1]
            if best < 0 or rank[index] < rank[best]:
                best = index
        return best

    def merged(self, stage: int, state: Any) -> Any:
        foresight = self.foresight
        return state if foresight is None or foresight.matters(stage, state) else foresight.nowhere

    def _settle(self, stage: int, state: Any, used: int, credited: int) -> int:
        """`credited`, and the open operations that are possible without effect in a state just reached."""
        opened = self._opened
        if opened.waiting:
            credited |= opened.waiting.get(state, 0)
        if opened.all_idle:
            aspect = state if self._aspect is None else self._aspect(state)
            credited |= opened.all_idle & ~opened.idle.get(aspect, 0) & ~used
        mask = opened.probing & ~(used | credited)
        if opened.restless and self.foresight is not None and state is self.foresight.nowhere:
            mask |= opened.restless & ~(used | credited)
        while mask:
            low = mask & -mask
            mask ^= low
            if self._idles(stage, state, opened.operation_in[low.bit_length() - 1], low):
                credited |= low
        return credited

    def _greet(self, stage: int, state: Any, credited: int) -> int:
        """`credited`, and the operations called since the stage before that are possible without effect in `state`."""
        timeline, opened = self.timeline, self._opened
        for index in timeline.arrivals[stage]:
            bit = timeline.bit[index]
            kind = opened.kind[index]
            if timeline.rank[index] > timeline.stages:
                credited |= bit
            elif kind == WAITING:
                credited |= opened.waiting.get(state, 0) & bit
            elif kind == CHANGING:
                if opened.all_idle & bit:
                    aspect = state if self._aspect is None else self._aspect(state)
                    credited |= bit & ~opened.idle.get(aspect, 0)
            elif opened.restless & bit and (self.foresight is None or state is not self.foresight.nowhere):
                pass
            elif self._idles(stage, state, index, bit):
                credited |= bit
        return credited

    def _idles(self, stage: int, state: Any, index: int, bit: int) -> bool:
        if self._opened.kind[index] == BLIND:
            after = self._constant[index]
        else:
            after = self.stepper.apply(state, index)
            if after is IMPOSSIBLE:
                return False
        return bool(after == state) or (
            self._opened.total & bit != 0 and self.foresight is not None and self.merged(stage, after) == state
        )

    def _gains(self, state: Any, used: int, credited: int) -> bool:
        """Whether any open operation could make use of this state, or change it."""
        opened = self._opened
        if opened.waiting.get(state, 0) & ~credited:
            return True
        if opened.all_idle & ~(used | credited) or opened.restless & ~used:
            return True
        aspect = state if self._aspect is None else self._aspect(state)
        groups = opened.effective.get(aspect)
        if groups is not None and any(mask & ~used for mask in groups.values()):
            return True
        mask = opened.probing & ~used
        while mask:
            low = mask & -mask
            mask ^= low
            index = opened.operation_in[low.bit_length() - 1]
            kind = opened.kind[index]
            if kind == LOOKING:
                if not credited & low and self.stepper.apply(state, index) is not IMPOSSIBLE:
                    return True
            elif kind != BLIND:
                return True
        return False

    # -------------------------------------------------------------- what was found

    def _succeed(self, path: _Path) -> None:
        self.verdict = CheckResult.OK
        self._deepest, self._deepest_path = self.timeline.stages, path

    def order(self) -> list[int]:
        """The linearization found, or the longest part of one; operations that never returned may be missing."""
        steps: list[tuple[int, int]] = []
        path = self._deepest_path
        while path is not None:
            path, stage, index = path
            steps.append((stage, index))
        steps.reverse()
        return Placement(self, steps).walk(self._deepest)


def _without_states(traits: Traits) -> Traits:
    """The traits that hold whatever states are equal."""
    return Traits(observer=traits.observer, total=traits.total, blind=traits.blind, restless=traits.restless)


def _identical(stepper: Stepper, traits: list[Traits], constant: dict[int, Any]) -> list[int]:
    """A number for each operation; of two operations with the same, only the times differ."""
    numbers: dict[Any, int] = {}
    found = []
    for index, operation in enumerate(stepper.operations):
        if traits[index].observer:
            found.append(0)
        elif index in constant:
            found.append(numbers.setdefault(constant[index], len(numbers)))
        else:
            try:
                found.append(numbers.setdefault((operation.input, operation.output), len(numbers)))
            except TypeError:  # not hashable, so like no other
                found.append(numbers.setdefault(_Alone(), len(numbers)))
    return found


class _Alone:
    """Equal to nothing but itself."""
