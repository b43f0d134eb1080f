"""What a checker is told: a sequential specification, and a history of operations on the real thing.

A history is *linearizable* if each operation can be given one instant between its call and its return so that the
operations, taken one at a time in the order of those instants, do what the model says. Intervals are closed: of two
operations of which one returns at the very instant the other is called, either may come first.

The names are those of the Go library porcupine (github.com/anishathalye/porcupine), in Python's spelling.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from tester.porcupine.timeline import Timeline

__all__ = [
    "ANY_STATE",
    "CheckResult",
    "Decision",
    "Event",
    "EventKind",
    "Finding",
    "Foresight",
    "Model",
    "NondeterministicModel",
    "Operation",
    "Time",
    "Traits",
]

Time: TypeAlias = int | float
"""Any clock's numbers, one clock a history; never NaN."""


class CheckResult(enum.Enum):
    """A verdict."""

    OK = "ok"
    ILLEGAL = "illegal"
    UNKNOWN = "unknown"
    """The check was told to give up after a time, and did."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One call on the thing under test, and what came of it.

    Attributes:
        client_id: who called; a client has at most one operation at a time.
        input: what was asked, in the model's terms.
        call_time: when.
        output: what came back; None if nothing did.
        return_time: when it came back. None: never, so it may have taken effect at any time since the call, or not.
    """

    client_id: Hashable
    input: Any
    call_time: Time
    output: Any = None
    return_time: Time | None = None


class EventKind(enum.Enum):
    """Which end of an operation an `Event` is."""

    CALL = "call"
    RETURN = "return"


@dataclass(frozen=True, slots=True)
class Event:
    """One end of an operation, for histories that know only the order of things.

    Attributes:
        kind: a call or its return.
        value: the operation's input, or its output.
        id: the same for a call and its return, and for no other operation. A call without a return never came back.
        client_id: who called.
    """

    kind: EventKind
    value: Any
    id: int
    client_id: Hashable = 0


class _AnyState:
    def __repr__(self) -> str:
        return "ANY_STATE"


ANY_STATE: Final = _AnyState()
"""In `Traits`: no one state in particular."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What holds of an operation in every state, so that a search need not try: all of it is optional, none of it may
    be wrong. A wrong trait makes wrong verdicts.

    Attributes:
        observer: it changes no state in which it is possible, such as a read, or a put that was refused. (That it
            leaves the present state alone is not enough: a write of 1 does so in state 1.)
        total: it is possible in every state.
        blind: it is total, and the state after it is the same whatever was before, such as a write.
        only_in: the one state in which it is possible; if it is possible in none, leave this alone.
        restless: it changes every state in which it is possible, such as an append.
        changes_in: the only `Model.aspect` of a state, by default the state itself, in which it changes the state.
            In others it is impossible; if it is total, it leaves them as they are.
    """

    observer: bool = False
    total: bool = False
    blind: bool = False
    restless: bool = False
    only_in: Any = ANY_STATE
    changes_in: Any = ANY_STATE


class Foresight(Protocol):
    """What the operations still to come make of a state: lets a search merge states, and leave hopeless ones."""

    @property
    def nowhere(self) -> Any:
        """A state that stands for all those that do not matter."""

    def matters(self, stage: int, state: Any) -> bool:
        """Whether any operation returning at `stage` or later, or never, can tell `state` from `nowhere`."""

    def hopeless(self, stage: int, state: Any, next_state: Any, used: int) -> bool:
        """Whether a step from `state` to `next_state` leads nowhere. `used`: the slots whose operations, this step's
        included, have had their effect."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a decision rests on, for one partition.

    Attributes:
        order: operations, as indices, in the order of a linearization: of everything if legal, else the longest part.
        culprit: the operation that cannot be placed; None if legal.
        explanation: why it cannot, in one sentence; None if legal.
    """

    order: list[int]
    culprit: int | None = None
    explanation: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """An exact verdict on one partition, without a search.

    Attributes:
        legal: whether it is linearizable.
        finding: works out, when asked, what this rests on; None: nothing was worked out, a search may be asked.
    """

    legal: bool
    finding: Callable[[], Finding | None] = lambda: None


def _describe(input: Any, output: Any) -> str:
    return f"{input!r} -> {output!r}"


@dataclass(frozen=True, kw_only=True)
class Model:
    """A sequential specification.

    States are values: `step` gives a new one and leaves the old one as it was.

    Attributes:
        init: the state at the start.
        step: (state, input, output) -> (whether the output is right there, the next state). The output is None for an
            operation that never returned; such a step says whether it can take effect at all.
        partition: splits a history into histories that do not touch each other (P-compositionality), such as one a
            key; None: it is checked as a whole.
        partition_events: the same for events.
        equal: whether two states are the same.
        hash: equal states have equal hashes. None with hashable states: the states' own `hash` and `==`.
        describe_operation: (input, output) -> text, for explanations and drawings.
        describe_state: state -> text.

    The rest makes checks fast, and never changes a verdict if it keeps its promises:

    Attributes:
        validate: raises `HistoryError` for a history that is not of this model's kind.
        decide: an exact decision for one partition; its None is "a search must".
        traits: (input, output) -> what holds of the operation in every state.
        aspect: state -> what `Traits.changes_in` speaks of; None: the state itself.
        foresight: what the operations of a partition, in the order of their returns, make of states.
    """

    init: Callable[[], Any]
    step: Callable[[Any, Any, Any], tuple[bool, Any]]
    partition: Callable[[Sequence[Operation]], list[list[Operation]]] | None = None
    partition_events: Callable[[Sequence[Event]], list[list[Event]]] | None = None
    equal: Callable[[Any, Any], bool] | None = None
    hash: Callable[[Any], int] | None = None
    describe_operation: Callable[[Any, Any], str] = _describe
    describe_state: Callable[[Any], str] = repr
    validate: Callable[[Sequence[Operation]], None] | None = None
    decide: Callable[[Sequence[Operation]], Decision | None] | None = None
    traits: Callable[[Any, Any], Traits] | None = None
    aspect: Callable[[Any], Hashable] | None = None
    foresight: Callable[[Timeline], Foresight] | None = None


@dataclass(frozen=True, kw_only=True)
class NondeterministicModel:
    """A specification in which one operation may lead to several states. `to_model` makes a `Model` of sets of states.

    Attributes:
        init: the states that are possible at the start.
        step: (state, input, output) -> the states that may follow; none: the output is wrong there.

    The others are as in `Model`, `equal` and `hash` for one state.
    """

    init: Callable[[], Sequence[Any]]
    step: Callable[[Any, Any, Any], Sequence[Any]]
    partition: Callable[[Sequence[Operation]], list[list[Operation]]] | None = None
    partition_events: Callable[[Sequence[Event]], list[list[Event]]] | None = None
    equal: Callable[[Any, Any], bool] | None = None
    hash: Callable[[Any], int] | None = None
    describe_operation: Callable[[Any, Any], str] = _describe
    describe_state: Callable[[Any], str] = repr

    def to_model(self) -> Model:
        """The deterministic model whose state is the set of states that are possible (the subset construction)."""
        plain = self.equal is None and self.hash is None

        def same(left: Any, right: Any) -> bool:
            return bool(left == right if self.equal is None else self.equal(left, right))

        def gather(states: Iterable[Any]) -> Any:
            found = list(states)
            if plain:
                try:
                    return frozenset(found)
                except TypeError:  # unhashable states
                    pass
            distinct: list[Any] = []
            for state in found:
                if not any(same(state, other) for other in distinct):
                    distinct.append(state)
            return tuple(distinct)

        def step(states: Any, input: Any, output: Any) -> tuple[bool, Any]:
            following = gather(after for state in states for after in self.step(state, input, output))
            return (True, following) if following else (False, states)

        def equal(left: Any, right: Any) -> bool:
            return len(left) == len(right) and all(any(same(one, other) for other in right) for one in left)

        def hash_of(states: Any) -> int:
            assert self.hash is not None
            return hash(frozenset(self.hash(state) for state in states))

        return Model(
            init=lambda: gather(self.init()),
            step=step,
            partition=self.partition,
            partition_events=self.partition_events,
            equal=None if plain else equal,
            hash=None if self.hash is None else hash_of,
            describe_operation=self.describe_operation,
            describe_state=lambda states: "{" + ", ".join(sorted(map(self.describe_state, states))) + "}",
        )
