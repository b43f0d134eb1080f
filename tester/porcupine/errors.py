"""What goes wrong before a verdict: a history that is none, and a model that is none."""

from __future__ import annotations

__all__ = ["HistoryError", "ModelError"]


class HistoryError(ValueError):
    """A history that nothing can have recorded, such as one in which an operation returns before its call."""


class ModelError(RuntimeError):
    """A model that breaks its promises: it raised, answered with something other than (bool, state), or was not a
    function of state and operation."""
