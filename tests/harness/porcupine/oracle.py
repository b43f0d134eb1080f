"""Linearizability by its definition: every order is tried. For histories of up to about seven operations."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from tester.porcupine import Model, Operation

__all__ = ["is_linearizable"]


def is_linearizable(model: Model, history: Sequence[Operation]) -> bool:
    """Whether `model` allows some order of `history`, with or without each operation that never returned."""
    parts = [history] if model.partition is None else model.partition(history)
    return all(_can_complete(model, model.init(), frozenset(range(len(part))), part) for part in parts)


def _can_complete(model: Model, state: object, remaining: frozenset[int], history: Sequence[Operation]) -> bool:
    ends = [end for index in remaining if (end := history[index].return_time) is not None]
    if not ends:
        return True
    first_end = min(ends, default=inf)
    for index in sorted(remaining):
        operation = history[index]
        if operation.call_time <= first_end:  # closed intervals: at equal times either may come first
            possible, after = model.step(state, operation.input, operation.output)
            if possible and _can_complete(model, after, remaining - {index}, history):
                return True
    return False
