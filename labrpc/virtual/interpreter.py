"""What runs change in this process: no garbage is collected unasked, and recursion has another limit.

Runs may overlap (a test with two clusters), so the first changes it and the last puts it back.
"""

from __future__ import annotations

import gc
import sys

__all__ = ["enter", "leave"]

_BATCHES_TO_COLLECT = 32
"""How many runs may leave their remains: they are in circles, and the next run has them frozen."""


class _Before:
    """How the process was before the first of the runs that overlap now."""

    runs = 0
    batches = 0
    recursion_limit = 0
    collects = False


def enter() -> None:
    """A run begins."""
    _Before.runs += 1
    if _Before.runs == 1:
        _Before.recursion_limit = sys.getrecursionlimit()
        _Before.collects = gc.isenabled()
        gc.disable()
        _Before.batches += 1
        if _Before.batches % _BATCHES_TO_COLLECT == 0:
            gc.collect()
        gc.freeze()


def leave() -> None:
    """A run is over."""
    _Before.runs -= 1
    if not _Before.runs:
        sys.setrecursionlimit(_Before.recursion_limit)
        gc.collect()  # quick: what was there before the runs is frozen
        gc.unfreeze()
        if _Before.collects:
            gc.enable()
