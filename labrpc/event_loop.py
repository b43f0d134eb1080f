"""The events of a run, and the test's body as tasks among them.

    the test's body --sleep, join, a control call--> the loop: the earliest event, the next ... --> the body goes on

Loop and tasks are greenlets of one thread: exactly one of them runs at a time. Events are ordered by (due, sequence).
What the loop does until the next event is due is another matter on each clock.
"""

from __future__ import annotations

import heapq
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NoReturn

from greenlet import GreenletExit, getcurrent, greenlet

from labrpc.errors import InvariantViolation, UsageError

__all__ = ["EventLoop", "HarnessTask"]


class HarnessTask:
    """A part of the test's body that runs beside the rest; see `EventLoop.spawn`."""

    def __init__(self) -> None:
        self.greenlet: Any = None
        self.done = False
        self.value: Any = None
        self.joiners: list[HarnessTask] = []
        self.waiting = 0
        """Number of its current wait; a wake-up for an earlier one is stale."""


class EventLoop(ABC):
    """Time, the event queue and the test's tasks. The greenlet that makes it is the test's.

    Args:
        limit_ns: how long the run may take on its own clock.
    """

    def __init__(self, limit_ns: int) -> None:
        self.now = 0
        """The run's own time, in ns since it began."""
        self.events = 0
        """Events processed so far."""
        self.interruption: BaseException | None = None
        """Set by `interrupt`, from a signal handler; raised in the test as soon as the code under test is left."""
        self.tolerated: list[InvariantViolation] | None = None
        """Broken invariants, if these are to be noted instead of ending the run."""
        self._limit_ns = limit_ns
        self._queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = 0
        self._tasks: dict[HarnessTask, None] = {}
        """Spawned and not yet at their end."""
        self._recursion_limit = sys.getrecursionlimit()
        """While the run goes on."""
        self._closed = False
        self._failure: BaseException | None = None
        self._main = HarnessTask()
        self._main.greenlet = getcurrent()
        self._task = self._main
        self._hub = greenlet(self._run_loop)

    # -------------------------------------------------------------- the test's tasks

    def sleep_ns(self, ns: int) -> None:
        """Lets `ns` of the run's time pass. Called from harness tasks."""
        if ns < 0:
            raise UsageError(f"cannot sleep {ns} ns")
        task, wait = self._begin_wait()
        self._push(self.now + ns, self._resume, task, wait)
        self._wait()

    def spawn(self, function: Callable[[], Any]) -> HarnessTask:
        """Runs `function` as a harness task of its own, from now on. What it raises fails the test."""
        self._check_usable()
        task = HarnessTask()
        task.greenlet = greenlet(lambda *_: self._run_task(task, function), parent=self._hub)
        self._tasks[task] = None
        self._push(self.now, self._resume, task, 0)
        return task

    def join(self, task: HarnessTask) -> Any:
        """Waits for `task` to end; what its function returned."""
        if task is self._task:
            raise UsageError("a task cannot join itself")
        while not task.done:
            me, _ = self._begin_wait()
            task.joiners.append(me)
            self._wait()
        return task.value

    def _run_task(self, task: HarnessTask, function: Callable[[], Any]) -> None:
        try:
            task.value = function()
        except GreenletExit:
            return
        except BaseException as error:
            if self._closed:  # it could not bear being ended
                return
            self._fail(error)
        task.done = True
        self._tasks.pop(task, None)
        for joiner in task.joiners:
            self._push(self.now, self._resume, joiner, joiner.waiting)

    def _begin_wait(self) -> tuple[HarnessTask, int]:
        self._check_usable()
        task = self._task
        task.waiting += 1
        return task, task.waiting

    def _wait(self) -> Any:
        return self._hub.switch()

    def _resume(self, task: HarnessTask, wait: int, value: Any = None) -> None:
        if task.waiting != wait or task.done:
            return
        self._task = task
        task.greenlet.switch(value)
        sys.setrecursionlimit(self._recursion_limit)  # the task may have run another cluster

    def _check_usable(self) -> None:
        if self._closed or self._failure is not None:
            raise UsageError("the run is over: nothing more can happen in this cluster")
        if getcurrent() is not self._task.greenlet:
            raise UsageError("only the test's own tasks may wait on the cluster; use cluster.spawn for concurrency")

    # -------------------------------------------------------------- the loop

    @abstractmethod
    def _loop(self) -> None:
        """Has one event after the other happen, without end."""

    def _push(self, due: int, action: Callable[..., None], *args: Any) -> None:
        self._sequence = sequence = self._sequence + 1
        heapq.heappush(self._queue, (due, sequence, action, args))

    def _run_loop(self) -> None:
        try:
            self._loop()
        except GreenletExit:
            return
        except BaseException as error:  # of a listener of the journal, or of a machine that broke down
            self._fail(error)

    # -------------------------------------------------------------- the end

    def _fail(self, error: BaseException) -> NoReturn:
        """Ends the run: `error` is raised in the test."""
        self._failure = error
        self._task = self._main
        self._main.greenlet.throw(error)
        raise GreenletExit  # only if the test's greenlet comes back here, at close

    def fail(self, error: BaseException) -> None:
        """Ends the run with `error`; for the judge's listeners, which run inside the loop or inside the test.

        With `tolerated` a list, a broken invariant is only noted there.
        """
        if self.tolerated is not None and isinstance(error, InvariantViolation):
            self.tolerated.append(error)
        elif self._failure is None:
            if getcurrent() is self._main.greenlet:
                self._failure = error
                raise error
            self._fail(error)

    @property
    def failure(self) -> BaseException | None:
        """What has ended the run, if anything has."""
        return self._failure

    def interrupt(self, error: BaseException) -> bool:
        """Ends the run with `error` as soon as the code under test can be left. For signal handlers.

        Returns False, and does nothing, if the run is over.
        """
        if self._closed or self._failure is not None:
            return False
        self.interruption = error
        return True

    def _begin_close(self) -> bool:
        """The run is over, whatever came of it. Returns False if it was already.

        Raises:
            UsageError: a spawned task calls it.
        """
        if self._closed:
            return False
        if any(task.greenlet is getcurrent() for task in self._tasks):
            raise UsageError("a spawned task cannot close its own cluster; return from it instead")
        self._closed = True
        return True

    def _end_tasks(self) -> None:
        """Ends the loop and all tasks, and lets go of what was to happen."""
        if self._hub:
            self._hub.throw(GreenletExit)
        for task in self._tasks:
            if task.greenlet:
                task.greenlet.throw(GreenletExit)
        self._tasks.clear()
        self._queue.clear()
