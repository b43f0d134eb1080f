"""The kinds of fault, by whose it is: the caller's, the code under test's, or the harness's own.

Every error this project raises on purpose is one of them, so that a report can say at once whether the reader,
the code under test or the harness is to blame.
"""

from __future__ import annotations

__all__ = ["CodeFault", "HarnessError", "HarnessStalled", "InvariantViolation", "RunLimitExceeded", "UsageError"]


class UsageError(Exception):
    """The caller's mistake: a bad argument, an unregistered type, an option that does not fit."""


class InvariantViolation(AssertionError):
    """The code under test broke a rule of the paper; the text names who, when and which section."""


class CodeFault(AssertionError):
    """The code under test died, hung or misused the lab; the text says which server, what, and where."""

    def __init__(
        self, text: str, detail: str = "", *, is_overdue: bool = False, is_of_the_machine: bool = False
    ) -> None:
        super().__init__(text)
        self.detail = detail
        """A traceback or a list of threads, "" if there is none."""
        self.is_overdue = is_overdue
        """Whether all that is wrong is that something took too long."""
        self.is_of_the_machine = is_of_the_machine
        """Whether another machine, or a moment with less to do, might have seen something else."""


class RunLimitExceeded(AssertionError):
    """The run took more of its own time than it may."""


class HarnessError(Exception):
    """The harness's own mistake, or the machine's: never a verdict about the code under test."""


class HarnessStalled(HarnessError):
    """On the real clock the harness itself was so late that a test's verdict means nothing."""
