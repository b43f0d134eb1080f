"""The three kinds of fault, by whose it is.

Every error this project raises on purpose is one of them, so that a report can say at once whether the reader,
the code under test or the harness is to blame.
"""

from __future__ import annotations

__all__ = ["HarnessError", "InvariantViolation", "UsageError"]


class UsageError(Exception):
    """The caller's mistake: a bad argument, an unregistered type, an option that does not fit."""


class InvariantViolation(AssertionError):
    """The code under test broke a rule of the paper; the text names who, when and which section."""


class HarnessError(Exception):
    """The harness's own mistake, or the machine's: never a verdict about the code under test."""
