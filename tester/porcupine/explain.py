"""Why a history is illegal, in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tester.porcupine.model import Operation, Time
from tester.porcupine.stepper import IMPOSSIBLE, Stepper

__all__ = ["explain_stuck", "moment", "where"]


def moment(time: Time) -> str:
    """A time to nine digits, which is enough to tell nanoseconds apart in a run of a second."""
    return str(time) if isinstance(time, int) else f"{time:.9g}"


def where(operation: Operation, describe: Callable[[Any, Any], str]) -> str:
    """An operation with its client and its times, for the middle of a sentence."""
    times = f"called at {moment(operation.call_time)}"
    if operation.return_time is not None:
        times += f", returned at {moment(operation.return_time)}"
    return f"client {operation.client_id}'s {describe(operation.input, operation.output)} ({times})"


def explain_stuck(stepper: Stepper, culprit: int, order: Sequence[int]) -> str:
    """Why `culprit` cannot be placed, given the longest `order` in which the operations returning before it can."""
    operations, model = stepper.operations, stepper.model
    stuck = operations[culprit]
    state = stepper.unboxed(stepper.initial)
    last: int | None = None
    for index in order:
        after = stepper.step(state, index)
        if after is IMPOSSIBLE:
            break
        if not stepper.same(after, state):
            last = index
        state = after
    text = f"{where(stuck, model.describe_operation)} cannot be placed"
    if last is None:
        text += f": nothing that was done by its return changes the initial state, {model.describe_state(state)}"
    else:
        text += (
            f": at best it comes after {where(operations[last], model.describe_operation)}, "
            f"which leaves {model.describe_state(state)}"
        )
    assert stuck.return_time is not None
    later = [each for each in operations if each.call_time > stuck.return_time]
    if later:
        text += f", and before {where(min(later, key=lambda each: each.call_time), model.describe_operation)}"
    return text
