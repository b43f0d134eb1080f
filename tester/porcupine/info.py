"""What a verdict rests on, in a form that anybody can check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

from tester.porcupine.model import Model, Operation
from tester.porcupine.stepper import Stepper, replay

__all__ = ["LinearizationInfo", "is_in_time", "verify_linearization"]


@dataclass(frozen=True, slots=True)
class LinearizationInfo:
    """How far operations can be put in order, and what is in the way.

    Attributes:
        partitions: the histories that were checked one by one.
        partial_linearizations: for each partition, orders of indices into it, the longest first. For a legal partition
            one, of everything; operations that never returned may be left out. For another one the longest found, such
            that each operation that was ever placed is in one of them.
        explanation: why the history is illegal, in one sentence; None if it is not, or nobody knows.
        culprit: (partition, operation) of what cannot be placed; None likewise.
    """

    partitions: list[list[Operation]]
    partial_linearizations: list[list[list[int]]] = field(default_factory=list)
    explanation: str | None = None
    culprit: tuple[int, int] | None = None


def verify_linearization(
    model: Model, partition: Sequence[Operation], order: Sequence[int], *, partial: bool = False
) -> bool:
    """Whether `order` is a linearization of `partition`: each operation at most once, each that returned exactly once,
    each possible in its turn, and none after one that was called only after its return.

    Args:
        partial: operations may be missing, if nothing in `order` was called after their return.

    Raises:
        ModelError: the model's step did.
    """
    return is_in_time(partition, order, partial=partial) and replay(Stepper(model, partition), order) is None


def is_in_time(partition: Sequence[Operation], order: Sequence[int], *, partial: bool = False) -> bool:
    """What `verify_linearization` says, but for what the operations do."""
    present = set(order)
    if len(present) != len(order) or not all(0 <= index < len(partition) for index in order):
        return False
    latest = -inf
    for index in order:
        operation = partition[index]
        if operation.return_time is not None and operation.return_time < latest:
            return False
        latest = max(latest, operation.call_time)
    for index, operation in enumerate(partition):
        end = operation.return_time
        if end is not None and index not in present and not (partial and end >= latest):
            return False
    return True
