"""The world that submissions are graded in: the one place that says so.

The virtual clock, each server and each clerk in a process of its own, in the sandbox where there is one. Equal seeds
give equal runs, so what is graded here a student can have again with `tester replay`.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tester.graded import GradedTest, graded_tests
from tester.run import Options, reference_root

__all__ = ["can_sandbox", "options", "suite_digest", "tests_of"]

_CODE = ("labrpc", "tester", "tests/labs")
_NO_SAY = ("tester/gallery", "tester/grade", "tester/matrix")
"""Folders whose code has no say in any verdict, but for `_SAY`."""
_SAY = ("tester/grade/worker.py", "tester/grade/world.py")


def can_sandbox() -> bool:
    """Whether this version can put servers into a sandbox."""
    return any(field.name == "sandbox" for field in dataclasses.fields(Options))


def options(solution: Path, *, sandboxed: bool) -> Options:
    """The world in which the code in `solution` is graded.

    Raises:
        UsageError: it cannot be made here.
    """
    extra: dict[str, Any] = {"sandbox": sandboxed} if can_sandbox() else {}
    return Options(clock="virtual", servers="processes", solution=solution, **extra)


@functools.cache
def tests_of(part: str) -> list[GradedTest]:
    """The graded tests of a part, without those that skip this world (on the virtual clock memory is not measured).

    Raises:
        UsageError: see `graded_tests`.
    """
    world = Options(clock="virtual", servers="processes")
    return [test for test in graded_tests(part) if test.runs_in(world)]


def suite_digest(*, sandboxed: bool) -> str:
    """What a verdict depends on beside submission, test and seed, hashed: the world, the judge, the graded tests."""
    root = reference_root()
    digest = hashlib.sha256(f"sandboxed={sandboxed}".encode())
    for path in _files(root):
        digest.update(f"\0{path.relative_to(root).as_posix()}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def _files(root: Path) -> Iterator[Path]:
    for folder in _CODE:
        for path in sorted((root / folder).rglob("*.py")):
            name = path.relative_to(root).as_posix()
            if name in _SAY or not name.startswith(tuple(f"{each}/" for each in _NO_SAY)):
                yield path
