"""Exit codes of the commands, and how errors become them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from kvraft.service.client import Refused, Unavailable
from labrpc.errors import HarnessError, UsageError

__all__ = ["DONE", "FAILED", "INTERRUPTED", "MISUSE", "NOT_DONE", "one_line_errors"]

DONE, FAILED, MISUSE, NOT_DONE = 0, 1, 2, 3
INTERRUPTED = 130


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """One line for each error, and the exit code that fits it."""
    try:
        yield
    except (UsageError, ValueError) as error:
        _complain(error, MISUSE)
    except (Unavailable, Refused, HarnessError, OSError) as error:
        _complain(error, FAILED)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


def _complain(error: Exception, code: int) -> None:
    print(f"kvraft: {error}", file=sys.stderr)
    raise SystemExit(code) from None
