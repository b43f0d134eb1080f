"""The test that a command line means."""

from __future__ import annotations

import os
from pathlib import Path

from labrpc.errors import UsageError
from tester.run import reference_root

__all__ = ["find_test"]

_LABS = "tests/labs"
_EXAMPLE = f"{_LABS}/test_2a_election.py::test_re_election"


def find_test(test: str) -> str:
    """`test`, or the graded test of that name, as pytest has it.

    Raises:
        UsageError: there is none; for a test in a file of its own only that file is looked for.
    """
    file, _, name = test.partition("::")
    if name:
        if not Path(file).is_file():
            raise UsageError(f"there is no test {test}: {file} is no file")
        return test
    for path in sorted((reference_root() / _LABS).glob("test_*.py")):
        if f"\ndef {test}(" in path.read_text(encoding="utf-8"):
            return f"{os.path.relpath(path)}::{test}"
    raise UsageError(f"there is no graded test {test}; name one, or write it as pytest does: {_EXAMPLE}")
