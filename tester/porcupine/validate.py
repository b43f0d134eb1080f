"""Histories that nothing can have recorded are refused, not judged."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Sequence
from math import inf, isfinite
from typing import Any

from tester.porcupine.errors import HistoryError
from tester.porcupine.model import Event, EventKind, Model, Operation

__all__ = ["operations_of_events", "validate_history"]


def validate_history(
    model: Model,
    history: Sequence[Operation],
    clients: Collection[Hashable] | None = None,
    *,
    anonymous: bool = False,
) -> None:
    """Checks times and clients, and what the model has to say.

    Args:
        anonymous: nobody said who called what, so the client ids mean nothing.
        clients: the only ones there are; None: any.

    Raises:
        HistoryError: names the first operation that is wrong, by its number in `history` and its description.
    """
    if not _looks_right(history, anonymous):
        _find_fault(model, history, anonymous)
    if clients is not None:
        known = frozenset(clients)
        for index, operation in enumerate(history):
            if operation.client_id not in known:
                raise _fault(model, history, index, f"its client is unknown; known are {sorted(map(repr, known))}")
    if model.validate is not None:
        model.validate(history)


def _looks_right(history: Sequence[Operation], anonymous: bool) -> bool:
    """Whether a quick look finds nothing that may be wrong; most of the time, that is all it takes.

    One pass, since a long history is far larger than a processor's caches. Comparisons with NaN are false.
    """
    before: Any = -inf
    busy_until: dict[Any, Any] = {}
    try:
        for operation in history:
            call, end = operation.call_time, operation.return_time
            if not before <= call:
                return False
            before = call
            if end is None:
                end = inf
            elif not call <= end < inf:
                return False
            client = operation.client_id
            if client in busy_until and not busy_until[client] <= call and not anonymous:
                return False
            busy_until[client] = end
        return not history or (bool(before < inf) and bool(history[0].call_time > -inf))
    except (AttributeError, TypeError):
        return False


def _find_fault(model: Model, history: Sequence[Operation], anonymous: bool) -> None:
    for index, operation in enumerate(history):
        if not isinstance(operation, Operation):
            raise HistoryError(f"operation {index} is {operation!r}; it must be an Operation")
        for name in ("call_time", "return_time"):
            time = getattr(operation, name)
            if name == "return_time" and time is None:
                continue
            if type(time) is not int and not (isinstance(time, float) and isfinite(time)):
                raise _fault(model, history, index, f"its {name} is {time!r}; it must be a finite number")
        if operation.return_time is not None and operation.return_time < operation.call_time:
            raise _fault(model, history, index, "it returned before it was called")
        try:
            hash(operation.client_id)
        except TypeError:
            raise _fault(model, history, index, "its client is not hashable") from None
    if anonymous:
        return
    last: dict[Any, int] = {}
    order = sorted(range(len(history)), key=lambda index: _span(history[index]))
    for index in order:
        operation = history[index]
        before = last.get(operation.client_id)
        if before is not None:
            end = history[before].return_time
            other = f"operation {before}, {_describe(model, history[before])}"
            if end is None:
                raise _fault(
                    model,
                    history,
                    index,
                    f"the same client's {other}, called at {history[before].call_time}, never returned; "
                    "whoever goes on after that must have a new client id",
                )
            if end > operation.call_time:
                raise _fault(model, history, index, f"the same client's {other}, returned only at {end}")
        last[operation.client_id] = index


def _span(operation: Operation) -> tuple[float, float]:
    return operation.call_time, float("inf") if operation.return_time is None else operation.return_time


def _describe(model: Model, operation: Operation) -> str:
    try:
        return model.describe_operation(operation.input, operation.output)
    except Exception:  # the input is not of the model's kind, but that is not the fault we found
        return f"{operation.input!r} -> {operation.output!r}"


def _fault(model: Model, history: Sequence[Operation], index: int, wrong: str) -> HistoryError:
    operation = history[index]
    return HistoryError(
        f"operation {index} of client {operation.client_id}, {_describe(model, operation)}, "
        f"called at {operation.call_time!r}: {wrong}"
    )


def operations_of_events(events: Iterable[Event]) -> list[Operation]:
    """The operations that events are the ends of, by call; the times are the events' positions.

    Raises:
        HistoryError: an id was called twice, or returned without a call, twice, or by another client.
    """
    calls: dict[int, tuple[int, Event]] = {}
    found: dict[int, Operation] = {}
    for position, event in enumerate(events):
        if not isinstance(event, Event):
            raise HistoryError(f"event {position} is {event!r}; it must be an Event")
        if event.kind is EventKind.CALL:
            if event.id in calls:
                raise HistoryError(f"event {position} calls operation {event.id} a second time: {event.value!r}")
            calls[event.id] = position, event
            found[event.id] = Operation(event.client_id, event.value, position)
            continue
        if event.id not in calls:
            raise HistoryError(f"event {position} returns {event.value!r} from operation {event.id}, never called")
        start, call = calls[event.id]
        if found[event.id].return_time is not None:
            raise HistoryError(f"event {position} returns {event.value!r} from operation {event.id}, a second time")
        if event.client_id not in (call.client_id, 0):
            raise HistoryError(
                f"event {position} returns operation {event.id} to client {event.client_id}; "
                f"client {call.client_id} called it"
            )
        found[event.id] = Operation(call.client_id, call.value, start, event.value, position)
    return list(found.values())
