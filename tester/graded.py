"""A graded test without pytest: called on a run, as often as wanted.

    graded_test("test_many_elections").attempt(Run(seed=2))     what it raised, None if it passed

The tests are looked for in tests/labs beside the reference, so this needs a checkout of the project.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from labrpc.errors import HarnessError, UsageError
from tester.cluster import Cluster
from tester.find_test import find_test
from tester.raft_cluster import RaftCluster
from tester.run import Options, Run, reference_root
from tester.service_cluster import KVCluster, ReplicatedKVCluster, RSMCluster

__all__ = ["CLUSTERS", "GradedTest", "graded_test", "graded_tests"]

CLUSTERS: dict[str, type[Cluster]] = {
    "raft_cluster": RaftCluster,
    "kv_cluster": KVCluster,
    "rsm_cluster": RSMCluster,
    "replicated_kv_cluster": ReplicatedKVCluster,
}
"""What a graded test names as its argument, and gets a builder of."""

_LABS = "tests/labs"


@dataclass(frozen=True)
class GradedTest:
    """One graded test.

    Attributes:
        name: of its function.
        file: of that, seen from the project's root.
        points: what it is worth.
    """

    name: str
    file: str
    points: int
    _function: Callable[..., None]
    _arguments: tuple[str, ...]

    def attempt(self, run: Run) -> Exception | None:
        """Runs it on `run`; what it raised."""
        try:
            self._function(**{name: _argument(name, run) for name in self._arguments})
        except Exception as error:
            return error
        return None

    def runs_in(self, options: Options) -> bool:
        """Whether it does not skip the world of `options`. Nothing is run: it is called up to its first cluster."""

        def build(*_: Any, **__: Any) -> None:
            raise _ClusterWanted

        run = Run(0, options)
        try:
            self._function(**{name: run if name == "lab_run" else build for name in self._arguments})
        except pytest.skip.Exception:
            return False
        except _ClusterWanted:
            pass
        return True


class _ClusterWanted(Exception):
    pass


@functools.cache
def graded_test(name: str) -> GradedTest:
    """The graded test of that name.

    Raises:
        UsageError: there is none.
    """
    path = Path(find_test(name).partition("::")[0]).resolve()
    function = getattr(_module(path), name)
    file = path.relative_to(reference_root().resolve()).as_posix()
    return GradedTest(name, file, _points(function), function, tuple(inspect.signature(function).parameters))


def _points(function: Any) -> int:
    return next((mark.args[0] for mark in getattr(function, "pytestmark", ()) if mark.name == "points"), 0)


def _argument(name: str, run: Run) -> Any:
    """What a graded test is given as its argument of that name."""
    return run if name == "lab_run" else functools.partial(CLUSTERS[name], run)


@functools.cache
def graded_tests(part: str) -> list[GradedTest]:
    """The graded tests of a part, in their order there.

    Raises:
        UsageError: there are none: this is no checkout of the project.
    """
    tests = []
    for path in sorted((reference_root() / _LABS).glob("test_*.py")):
        for name, function in vars(_module(path.resolve())).items():
            if name.startswith("test_") and part in {mark.name for mark in getattr(function, "pytestmark", ())}:
                tests.append(graded_test(name))
    if not tests:
        raise UsageError(f"there are no graded tests of part {part} in {reference_root() / _LABS}")
    return tests


@functools.cache
def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"graded_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise HarnessError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
