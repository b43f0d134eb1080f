"""Workers on a Dask cluster: each of its threads has a worker process of its own beside it, as `LocalPool` has.

    Task --> DaskPool --scheduler--> do_task in a Dask worker --Ask--> Worker (a process) --Answer--> DaskPool

Nothing of a submission runs in Dask's own processes. If a Dask worker dies, Dask gives its jobs to another; a job whose
Dask workers keep dying is lost, and is tried again alone, as ever.
"""

from __future__ import annotations

import itertools
import os
import platform
import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from labrpc.errors import UsageError
from tester.grade import world
from tester.grade.frames import Answer
from tester.grade.pool import Limits, Lost, Task, Worker
from tester.grade.records import Job

__all__ = ["DaskPool", "do_task"]

_PATIENCE = "30s"
_AHEAD = 2
"""Jobs given to the cluster for each of its threads: the next is there when one ends."""

_of_this_thread = threading.local()


def do_task(task: Task, *, limits: Limits, suite: str, allow_unsandboxed: bool) -> Answer | Lost:
    """Does one job; called in a Dask worker, on the thread that a worker process then belongs to.

    Raises:
        UsageError: another judge is installed here than where the grading was started, or this machine has no sandbox.
    """
    if world.suite_digest() != suite:
        raise UsageError(f"{platform.node()} has another version of raftlab than the grading that it works for")
    why_not = "" if allow_unsandboxed else world.why_not_sandboxed()
    if why_not:
        raise UsageError(f"submissions would not be sandboxed on {platform.node()} ({why_not})")
    worker: Worker | None = getattr(_of_this_thread, "worker", None)
    if worker is None or _of_this_thread.made_for != limits:
        if worker is not None:
            worker.end()
        folder = Path(tempfile.mkdtemp(prefix="raftlab-grade-"))
        worker = _of_this_thread.worker = Worker(folder, limits=limits)
        _of_this_thread.made_for = limits
    return worker.do(task)


class DaskPool:
    """The cluster of the scheduler at `address`.

    Raises:
        UsageError: `distributed` is not installed, or there is no scheduler, or it has no workers.
    """

    def __init__(self, address: str, *, allow_unsandboxed: bool = False, limits: Limits | None = None) -> None:
        try:
            import distributed
        except ImportError:
            raise UsageError("--scheduler needs Dask: pip install 'raftlab[grade]'") from None
        self._distributed: Any = distributed
        self._suite = world.suite_digest()
        self._allow_unsandboxed = allow_unsandboxed
        self._limits = limits or Limits()
        self._numbers = itertools.count()
        try:
            self._client = distributed.Client(address, timeout=_PATIENCE, set_as_default=False)
        except (OSError, ValueError) as error:
            raise UsageError(f"there is no Dask scheduler at {address}: {error}") from None
        try:
            self._client.wait_for_workers(1, timeout=_PATIENCE)
        except TimeoutError:
            self._client.close()
            raise UsageError(f"the Dask scheduler at {address} has no workers") from None

    @property
    def size(self) -> int:
        """Threads that the cluster has now: it may grow and shrink."""
        threads: dict[str, int] = self._client.nthreads()
        return max(1, sum(threads.values()))

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[Job, Answer | Lost]]:
        """See `Pool.run`."""
        todo = iter(tasks)
        under_way: dict[str, Job] = {}
        done = self._distributed.as_completed(loop=self._client.loop)
        try:
            self._fill(todo, under_way, done)
            while under_way:
                future = next(done)
                job = under_way.pop(future.key)
                yield job, self._result(future)
                future.release()
                self._fill(todo, under_way, done)
        finally:
            if under_way:
                self._client.cancel(list(done.futures), force=True)

    def _fill(self, todo: Iterator[Task], under_way: dict[str, Job], done: Any) -> None:
        while len(under_way) < _AHEAD * self.size and (task := next(todo, None)) is not None:
            key = f"raftlab-{os.getpid()}-{next(self._numbers)}-{task.job.test}"
            under_way[key] = task.job
            done.add(
                self._client.submit(
                    do_task,
                    task,
                    limits=self._limits,
                    suite=self._suite,
                    allow_unsandboxed=self._allow_unsandboxed,
                    key=key,
                    pure=False,
                )
            )

    def _result(self, future: Any) -> Answer | Lost:
        error = future.exception() if future.status == "error" else None
        if future.status == "finished":
            result: Answer | Lost = future.result()
            return result
        if isinstance(error, UsageError):
            raise error
        return Lost(f"Dask gave it up: {error or future.status}")

    def close(self) -> None:
        self._client.close()
