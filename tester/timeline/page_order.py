"""The order in which clerks' operations took effect, as far as there is one, for the bars of the page.

(Model, LinearizationInfo) --by client and time of call--> for each call: its place, an instant for it, the state
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import inf
from typing import Any

from tester.porcupine.info import LinearizationInfo
from tester.porcupine.model import Model, NondeterministicModel, Operation
from tester.timeline.page_words import words
from tester.timeline.reading import Call

__all__ = ["order_of"]

_MOST_CHARACTERS = 240
"""Of a state."""


def order_of(
    model: Model | NondeterministicModel, info: LinearizationInfo, calls: Sequence[Call], end: int
) -> dict[str, Any]:
    """What the page's operations say of their order: columns over those that the checker saw.

    Args:
        calls: of the run; an operation is the call of its client at its time.
        end: of the run, for operations that never returned.
    """
    if isinstance(model, NondeterministicModel):
        model = model.to_model()
    numbers = {(call.host, call.start): number for number, call in enumerate(calls)}
    columns: dict[str, list[Any]] = {name: [] for name in ("call", "place", "of", "point", "state", "partition")}
    culprit = None
    for partition, operations in enumerate(info.partitions):
        found = info.partial_linearizations[partition] if partition < len(info.partial_linearizations) else []
        order = found[0] if found else []
        points = _points(operations, order, end)
        places = {index: place for place, index in enumerate(order)}
        states = _states(model, operations, order)
        for index, operation in enumerate(operations):
            call = numbers.get((str(operation.client_id), int(operation.call_time)))
            if call is None:
                continue
            place = places.get(index, -1)
            if info.culprit == (partition, index):
                culprit = call
            columns["call"].append(call)
            columns["place"].append(place + 1)
            columns["of"].append(len(order))
            columns["point"].append(round(points[place]) if place >= 0 else None)
            columns["state"].append(states[place] if place >= 0 else "")
            columns["partition"].append(partition)
    return {
        "explanation": _with_seconds(info.explanation or "", info),
        "culprit": culprit,
        "partitions": [_name(operations, number) for number, operations in enumerate(info.partitions)],
        **columns,
    }


def _with_seconds(text: str, info: LinearizationInfo) -> str:
    """Times of operations in ns, as the checker gives them, in s, as the page does."""
    operations = [operation for partition in info.partitions for operation in partition]
    times = {str(time) for each in operations for time in (each.call_time, each.return_time)}
    return re.sub(r"\b\d{6,}\b", lambda found: f"{int(found[0]) / 1e9:.9f} s" if found[0] in times else found[0], text)


def _states(model: Model, operations: Sequence[Operation], order: Sequence[int]) -> list[str]:
    """After each operation of `order`."""
    state = model.init()
    described = []
    for index in order:
        _, state = model.step(state, operations[index].input, operations[index].output)
        text = model.describe_state(state)
        described.append(text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…")
    return described


def _points(operations: Sequence[Operation], order: Sequence[int], end: int) -> list[float]:
    """Instants for the operations of `order`, none earlier than the one before it, each between call and return, and
    before the return of everything that is not in `order`; those with one deadline share the room up to it."""
    placed = set(order)
    deadline: float = end
    for index, operation in enumerate(operations):
        if index not in placed:
            deadline = min(deadline, _return(operation))
    deadlines = []
    for index in reversed(order):
        deadline = min(deadline, _return(operations[index]))
        deadlines.append(deadline)
    deadlines.reverse()
    sharing = [1] * len(order)
    for place in range(len(order) - 2, -1, -1):
        if deadlines[place] == deadlines[place + 1]:
            sharing[place] = sharing[place + 1] + 1
    points = []
    earliest = -inf
    for place, index in enumerate(order):
        earliest = max(earliest, operations[index].call_time)
        earliest += max(0.0, deadlines[place] - earliest) / (sharing[place] + 1)
        points.append(earliest)
    return points


def _return(operation: Operation) -> float:
    return inf if operation.return_time is None else operation.return_time


def _name(operations: Sequence[Operation], number: int) -> str:
    """The key that all inputs share, if there is one."""
    keys = {getattr(each.input, "key", None) for each in operations}
    key = keys.pop() if len(keys) == 1 else None
    return f"partition {number + 1}" if key is None else f"key {words(key)}"
