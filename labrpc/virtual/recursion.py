"""A fixed recursion allowance for the threads of a host, however deep the stack below them is.

A green thread inherits the depth of whoever starts it, and that differs between pytest's process and a child's. With
the limit set relative to that depth, the same recursion ends at the same call in both.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator

__all__ = ["ALLOWANCE", "allow", "deeper"]

ALLOWANCE = 1000
"""Calls a host's thread may nest: what Python's own default is."""


def allow(levels_above: int) -> int:
    """Sets the recursion limit so that code `levels_above` calls above the caller may nest `ALLOWANCE` calls.

    Returns the limit there was.
    """
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(_depth() - 2 + levels_above + ALLOWANCE)  # less `_depth` and this function
    return before


@contextlib.contextmanager
def deeper(levels: int) -> Iterator[None]:
    """Within, the limit is `levels` higher: for who puts as many calls of his own between a run and its hosts."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(before + levels)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _depth() -> int:
    """The calls nested at this moment, as the interpreter counts them: only its refusal of a low limit tells."""
    try:
        sys.setrecursionlimit(1)
    except RecursionError as error:
        match = re.search(r"recursion depth (\d+)", str(error))
        if match is not None:
            return int(match.group(1))
    raise RuntimeError("this interpreter does not tell its recursion depth")
