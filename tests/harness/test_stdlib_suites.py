"""CPython's own suites for locks, queues, locals and sched, run inside a host, preempted every few step points.

    test.lock_tests, test.test_queue ... --Loader, with step points--> a host --virtual time--> unittest's verdict

The suites come from the interpreter that runs these tests. What they need of `test.support` is written anew below: the
original waits by real means. Deadlock reports are ignored here, since the suites acquire their own locks on purpose.
"""

from __future__ import annotations

import contextlib
import doctest
import gc
import importlib
import os
import unittest
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from labrpc.frames import HostSettings
from labrpc.virtual import diagnosis
from labrpc.virtual.host import Host
from labrpc.virtual.loader import CodeBundle, Loader
from labrpc.virtual.stdlib.local import local

MODULES = ("test.lock_tests", "test.test_queue", "test.test_sched", "test.test_threading_local")
for _module in MODULES:
    pytest.importorskip(_module, reason="this Python comes without its test suite")

MEAN_GAPS = (3, 5, 10, 20, 50)
"""Step points between stalls, on average: seed n has the n-th, round and round."""

SEEDS = int(os.environ.get("RAFTLAB_SUITE_SEEDS", "10"))

LONGEST_STALL_NS = 200_000
QUANTUM_NS = 10_000_000
LAST_NS = 3600 * 1_000_000_000

_SAME_CLASS = "a host has one implementation of it; the class with C in its name runs it"
_NO_FORK = "it resets a lock after fork(), and a host cannot fork"
_REENTRANT = "it needs a put() in C, which the garbage collector cannot enter"
NOT_APPLICABLE = {
    ("LockTests", "test_at_fork_reinit"): _NO_FORK,
    ("EventTests", "test_at_fork_reinit"): _NO_FORK,
    ("ConditionAsRLockTests", "test_recursion_count"): "a Condition has no recursion count, in CPython neither",
    ("PyQueueTest", "*"): _SAME_CLASS,
    ("PyLifoQueueTest", "*"): _SAME_CLASS,
    ("PyPriorityQueueTest", "*"): _SAME_CLASS,
    ("PyFailingQueueTest", "*"): _SAME_CLASS,
    ("PySimpleQueueTest", "*"): _SAME_CLASS,
    ("CSimpleQueueTest", "test_reentrancy"): _REENTRANT,
    ("ThreadLocalTest", "test_cycle_collection"): "a value that holds its own local lives as long as its thread does",
    ("PyThreadingLocalTest", "*"): _SAME_CLASS,
}
"""(class, case) -> why it says nothing about a host. "*" stands for every case of the class."""

LONG_CASES = {
    "test_shutdown_all_methods_in_many_threads": 1,
    "test_shutdown_immediate_all_methods_in_many_threads": 1,
    "test_many_threads": 2,
    "test_many_threads_nonblock": 2,
    "test_many_threads_timeout": 2,
}
"""How many seeds the cases get that pass tens of thousands of items."""


class Suite(NamedTuple):
    """A class of cases: where it is, and, if the class is abstract, the attribute that takes the class under test."""

    module: str
    base: str
    attribute: str = ""
    under_test: str = ""


SUITES = {
    "LockTests": Suite("test.lock_tests", "LockTests", "locktype", "Lock"),
    "RLockTests": Suite("test.lock_tests", "RLockTests", "locktype", "RLock"),
    "ConditionAsRLockTests": Suite("test.lock_tests", "RLockTests", "locktype", "Condition"),
    "EventTests": Suite("test.lock_tests", "EventTests", "eventtype", "Event"),
    "ConditionTests": Suite("test.lock_tests", "ConditionTests", "condtype", "Condition"),
    "SemaphoreTests": Suite("test.lock_tests", "SemaphoreTests", "semtype", "Semaphore"),
    "BoundedSemaphoreTests": Suite("test.lock_tests", "BoundedSemaphoreTests", "semtype", "BoundedSemaphore"),
    "BarrierTests": Suite("test.lock_tests", "BarrierTests", "barriertype", "Barrier"),
    **{
        name: Suite(module, name)
        for module in MODULES[1:]
        for name, value in vars(importlib.import_module(module)).items()
        if isinstance(value, type) and issubclass(value, unittest.TestCase)
    },
}


def cases() -> list[Any]:
    found = []
    for name, suite in SUITES.items():
        cls = getattr(importlib.import_module(suite.module), suite.base)
        for case in unittest.defaultTestLoader.getTestCaseNames(cls):
            reason = NOT_APPLICABLE.get((name, case)) or NOT_APPLICABLE.get((name, "*"))
            marks = [pytest.mark.skip(reason=reason)] if reason else []
            found.append(pytest.param(name, case, id=f"{name}-{case}", marks=marks))
    return found


@pytest.mark.parametrize(("name", "case"), cases())
def test_cpython_case_passes_on_a_host_under_preemption(name: str, case: str) -> None:
    for seed in range(min(SEEDS, LONG_CASES.get(case, SEEDS))):
        mean_gap = MEAN_GAPS[seed % len(MEAN_GAPS)]
        host = make_host(seed, mean_gap)
        result = unittest.TestResult()
        ended = run_on_host(host, run_case, host, SUITES[name], case, result)
        where = f"seed {seed}, stalls {mean_gap} steps apart"
        assert ended, f"{where}: nothing is left to happen\n{diagnosis.describe_threads(host)}"
        host.end()
        for _, text in result.failures + result.errors:
            pytest.fail(f"{where}:\n{text}")
        assert not result.skipped, f"it skips itself: {result.skipped}; say why in NOT_APPLICABLE"
        assert result.testsRun == 1


def test_every_exception_from_the_suites_still_exists() -> None:
    known = {(param.values[0], case) for param in cases() for case in (param.values[1], "*")}
    assert set(NOT_APPLICABLE) <= known


# ------------------------------------------------------------------ a host of its own


def make_host(seed: int, mean_gap: int) -> Host:
    settings = HostSettings("host", 1, seed.to_bytes(16, "big"), "host", [], mean_gap, LONGEST_STALL_NS, 0, 1 << 20)
    host = Host(settings, CodeBundle({}, {}))
    host.loader = Loader(host, host.bundle, private=MODULES)
    host.loader.modules.update(helpers(host))
    return host


def run_on_host(host: Host, function: Callable[..., object], *args: object) -> bool:
    """Runs `function(*args)` on a thread of `host`, and the host until it is idle; whether the function returned."""
    returned = []
    host.spawn("main", lambda: returned.append(function(*args)))
    now: int | None = 0
    while now is not None and now < LAST_NS:
        now = host.step(now, QUANTUM_NS, []).wake
    return bool(returned)


def run_case(host: Host, suite: Suite, case: str, result: unittest.TestResult) -> None:
    cls: Any = getattr(host.loader.import_module(suite.module), suite.base)
    if suite.attribute:
        under_test = getattr(host.loader.import_module("threading"), suite.under_test)
        cls = type(suite.base, (cls,), {suite.attribute: staticmethod(under_test)})
    cls(case).run(result)


# ------------------------------------------------------------------ what the suites import


def helpers(host: Host) -> dict[str, ModuleType]:
    """Modules that the suites import and server code may not, or that wait by real means."""
    support = module(
        "test.support",
        cpython_only=lambda case: case,
        LONG_TIMEOUT=300.0,
        SHORT_TIMEOUT=30.0,
        gc_collect=lambda: None,  # CPython frees at once what these cases look at
        has_fork_support=False,
        reap_children=lambda: None,
        sleeping_retry=lambda *args, **kwargs: sleeping_retry(host, *args, **kwargs),
    )
    support.import_helper = module(
        "test.support.import_helper",
        import_fresh_module=lambda name, **kwargs: host.loader.import_module(name),
        import_module=lambda name, **kwargs: host.loader.import_module(name),
    )
    support.threading_helper = module(
        "test.support.threading_helper",
        join_thread=join_thread,
        requires_working_threading=lambda **kwargs: lambda case: case,
        start_threads=start_threads,
        threading_cleanup=lambda: None,
        threading_setup=lambda: (),
        wait_threads_exit=lambda *args: wait_threads_exit(host),
    )
    return {
        "_thread": module(
            "_thread",
            TIMEOUT_MAX=9223372036.0,
            _local=local,
            start_new_thread=lambda function, args: host.spawn("thread", function, *args),
        ),
        "_threading_local": module("_threading_local", local=local),
        "doctest": doctest,
        "gc": gc,
        "test": module("test", support=support, __path__=[]),
        "test.support": support,
        "test.support.import_helper": support.import_helper,
        "test.support.threading_helper": support.threading_helper,
        "unittest": unittest,
    }


def module(name: str, **contents: object) -> Any:
    made = ModuleType(name)
    made.__dict__.update(contents)
    return made


def sleeping_retry(host: Host, timeout: float) -> Iterator[None]:
    """Turns of a loop that waits for something, further and further apart, until `timeout` seconds are over."""
    time = host.loader.import_module("time")
    end = time.monotonic() + timeout
    pause = 0.01
    while time.monotonic() < end:
        yield
        time.sleep(pause)
        pause = min(2 * pause, 1.0)
    raise AssertionError(f"it did not happen within {timeout} s")


@contextlib.contextmanager
def wait_threads_exit(host: Host) -> Iterator[None]:
    """On leaving, waits until every thread that was started inside has ended."""
    before = len(host.threads)
    yield
    for _ in sleeping_retry(host, 30.0):
        if len(host.threads) <= before:
            break


@contextlib.contextmanager
def start_threads(threads: list[Any]) -> Iterator[None]:
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        join_thread(thread)


def join_thread(thread: Any, timeout: float = 30.0) -> None:
    thread.join(timeout)
    assert not thread.is_alive(), f"{thread} did not end within {timeout} s"
