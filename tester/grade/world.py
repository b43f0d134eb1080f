"""The world that submissions are graded in: the one place that says so.

The virtual clock, each server and each clerk in a process of its own, in the sandbox where there is one. Equal seeds
give equal runs, so what is graded here a student can have again with `tester replay`.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

import labrpc
import tester
from tester.graded import GradedTest, graded_tests
from tester.run import Options, protections, reference_root

__all__ = ["graded_here", "options", "suite_digest", "why_not_sandboxed"]

_NO_SAY = ("tester/gallery", "tester/grade", "tester/matrix")
"""Folders whose code has no say in any verdict, but for `_SAY`."""
_SAY = ("tester/grade/worker.py", "tester/grade/world.py")


@functools.cache
def why_not_sandboxed() -> str:
    """What this machine lacks of a sandbox, and why; "" if servers are confined as they should be."""
    return "; ".join(f"{name}: {reason}" for name, reason in protections().items() if reason)


def options(solution: Path) -> Options:
    """The world in which the code in `solution` is graded: sandboxed as far as this machine can do that.

    Raises:
        UsageError: it cannot be made here.
    """
    return Options(clock="virtual", servers="processes", solution=solution, sandbox=True)


@functools.cache
def graded_here(part: str) -> list[GradedTest]:
    """The graded tests of a part, without those that skip this world (on the virtual clock memory is not measured).

    Raises:
        UsageError: see `graded_tests`.
    """
    world = Options(clock="virtual", servers="processes")
    return [test for test in graded_tests(part) if test.runs_in(world)]


@functools.cache
def suite_digest() -> str:
    """What a verdict depends on beside submission, test and seed, hashed: the world, the judge, the graded tests."""
    digest = hashlib.sha256()
    for name, path in _files():
        digest.update(f"\0{name}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def _files() -> Iterator[tuple[str, Path]]:
    """Name and path of each file that has a say."""
    judge, world, labs = Path(tester.__file__).parent, Path(labrpc.__file__).parent, reference_root() / "tests" / "labs"
    for folder, called in ((world, "labrpc"), (judge, "tester"), (labs, "tests/labs")):
        for path in sorted(folder.rglob("*.py")):
            name = f"{called}/{path.relative_to(folder).as_posix()}"
            if name in _SAY or not name.startswith(tuple(f"{each}/" for each in _NO_SAY)):
                yield name, path
