"""Ctrl-C and wall-clock alarms while the code under test runs.

A signal handler that raised would raise inside a server, whose bare `except` could swallow it. So while a cluster is
alive the handlers set a flag that step points and the event loop poll, and the exception comes up in the test.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from types import FrameType

from tester.run import Run

__all__ = ["WallTimeout", "deferred", "ended_after", "limit_wall_time"]


class WallTimeout(AssertionError):
    """The test took more wall time than it may."""


_active: list[Run] = []


@contextlib.contextmanager
def deferred(run: Run) -> Iterator[None]:
    """While `run` is on, Ctrl-C is raised in the test, not in the code under test; a second one is raised at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: KeyboardInterrupt | None = None

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        error = KeyboardInterrupt()
        if pressed is not None or not _interrupt(error):
            raise error
        pressed = error

    before = signal.signal(signal.SIGINT, on_interrupt)
    _active.append(run)
    try:
        yield
    finally:
        _active.pop()
        signal.signal(signal.SIGINT, before)
    if pressed is not None and all(cluster.coordinator.failure is not pressed for cluster in run.clusters):
        raise pressed  # the test ended without waiting again


def limit_wall_time(seconds: float) -> Callable[[], None]:
    """After `seconds` of wall time the test fails; the returned function lifts the limit."""

    def on_alarm(number: int, frame: FrameType | None) -> None:
        error = WallTimeout(f"the test took more than {seconds:g} s of wall time")
        if any(run.options.is_real for run in _active):
            _print_threads()
        if not _interrupt(error):
            raise error

    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds)

    def lift() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    return lift


def _print_threads() -> None:
    """Every thread of this process and where it is: the servers' are among them."""
    stacks = sys._current_frames()
    for thread in threading.enumerate():
        stack = traceback.format_stack(stacks.get(thread.ident or 0))
        print(f"{thread.name}:\n{''.join(stack)}", file=sys.stderr)


@contextlib.contextmanager
def ended_after(run: Run, seconds: float, error: Exception) -> Iterator[None]:
    """Ends what goes on in `run` with `error` once `seconds` of wall time are over."""
    is_over = False
    lock = threading.Lock()

    def end() -> None:
        with lock:  # never the run after this one
            for cluster in () if is_over else run.clusters:
                cluster.coordinator.interrupt(error)

    timer = threading.Timer(max(0.0, seconds), end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with lock:
            is_over = True


def _interrupt(error: BaseException) -> bool:
    clusters = [cluster for run in _active for cluster in run.clusters]
    reached = [cluster.coordinator.interrupt(error) for cluster in clusters]  # all: any of them may be running
    return any(reached)
