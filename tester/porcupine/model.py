"""What a checker is told: a sequential specification, and a history of operations on the real thing.

A history is *linearizable* if each operation can be given one instant between its call and its return so that the
operations, taken one at a time in the order of those instants, do what the model says. Intervals are closed: of two
operations of which one returns at the very instant the other is called, either may come first.

The names are those of the Go library porcupine (github.com/anishathalye/porcupine), in Python's spelling.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["CheckResult", "Event", "EventKind", "Model", "NondeterministicModel", "Operation"]

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
    """

    init: Callable[[], Any]
    step: Callable[[Any, Any, Any], tuple[bool, Any]]
    partition: Callable[[Sequence[Operation]], list[list[Operation]]] | None = None
    partition_events: Callable[[Sequence[Event]], list[list[Event]]] | None = None
    equal: Callable[[Any, Any], bool] | None = None
    hash: Callable[[Any], int] | None = None
    describe_operation: Callable[[Any, Any], str] = _describe
    describe_state: Callable[[Any], str] = repr


@dataclass(frozen=True, kw_only=True)
class NondeterministicModel:
    """A specification in which one operation may lead to several states. `to_model` makes a `Model` of sets of states.

    Attributes:
        init: the states that are possible at the start.
        step: (state, input, output) -> the states that may follow; none: the output is wrong there.
        The others: as in `Model`, `equal` and `hash` for one state.
    """

    init: Callable[[], Sequence[Any]]
    step: Callable[[Any, Any, Any], Sequence[Any]]
    partition: Callable[[Sequence[Operation]], list[list[Operation]]] | None = None
    partition_events: Callable[[Sequence[Event]], list[list[Event]]] | None = None
    equal: Callable[[Any, Any], bool] | None = None
    hash: Callable[[Any], int] | None = None
    describe_operation: Callable[[Any, Any], str] = _describe
    describe_state: Callable[[Any], str] = repr
