"""Workers on this machine, each with one job at a time.

    Task --> LocalPool --Ask--> Worker (a process of its own) --Answer--> (job, Answer or Lost)

A worker that dies, says nothing, takes too long or takes too much memory is ended, and costs the job it was doing; the
next job gets a fresh one. None outlives its pool, nor this process.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import tester
from labrpc.framing import Splitter, send
from labrpc.nursery import describe_status
from tester.grade.frames import Answer, Ask, Beat, decode_answer, encode
from tester.grade.records import Job

__all__ = ["Limits", "LocalPool", "Lost", "Pool", "Task", "Worker", "cpu_count"]

_MOST_JOBS = 400
_MOST_SUBMISSIONS = 40
"""A worker is followed by a fresh one after so many: its nursery keeps each submission's code."""
_PASSED_ON = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ", "VIRTUAL_ENV")
"""All that a worker, and so a submission's process, sees of the environment."""
_MOST_SAID = 2000


@dataclass(frozen=True)
class Limits:
    """What one job may take.

    Attributes:
        wall_s: seconds for the run; then the run ends, and that is its verdict.
        grace_s: seconds more for what is around it; then the worker is ended.
        silence_s: seconds without a sign of life.
        memory: bytes that the worker itself (no server) may use.
    """

    wall_s: float = 600.0
    grace_s: float = 120.0
    silence_s: float = 60.0
    memory: int = 1536 << 20


@dataclass(frozen=True)
class Task:
    """A job, and what a worker needs for it.

    Attributes:
        files: of the submission.
        explain: whether artefacts are wanted if it fails.
    """

    job: Job
    files: Mapping[str, bytes]
    explain: bool = True


@dataclass(frozen=True)
class Lost:
    """There is no answer: what became of the worker."""

    reason: str


class Pool(Protocol):
    """Where jobs are done."""

    @property
    def size(self) -> int:
        """Jobs that are done at a time."""
        ...

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[Job, Answer | Lost]]:
        """Does `tasks`, each asked for when it can begin; what came of each, as it ends.

        Those under way are given up if the iterator is closed.
        """
        ...

    def close(self) -> None:
        """Ends all workers."""
        ...


def cpu_count() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Worker:
    """A worker process, started when it is needed and again after each loss.

    Args:
        folder: for its files; made anew, and removed at the end.
    """

    def __init__(self, folder: Path, *, limits: Limits) -> None:
        self._folder = folder
        self._limits = limits
        self._mu = threading.Lock()
        self._is_over = False
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._said: IO[bytes] | None = None
        self._splitter = Splitter()
        self._digest = ""
        self._jobs = self._submissions = 0

    @property
    def pid(self) -> int | None:
        """Of the process that is there now."""
        return None if self._process is None else self._process.pid

    def do(self, task: Task) -> Answer | Lost:
        """Does one job."""
        is_new = task.job.digest != self._digest
        if self._jobs >= _MOST_JOBS or (is_new and self._submissions >= _MOST_SUBMISSIONS):
            self.end()
        ask = Ask(
            job=task.job,
            files=dict(task.files) if self._process is None or is_new else None,
            explain=task.explain,
            wall_limit_s=self._limits.wall_s,
        )
        try:
            if self._process is None:
                self._start()
            self._jobs += 1
            self._submissions += ask.files is not None
            self._digest = task.job.digest
            return self._ask(ask)
        except _Loss as loss:
            self.end()
            return Lost(str(loss))
        except OSError as error:
            said = self._what_it_said()
            self.end()
            return Lost(f"{error.strerror or error}{said}")

    def stop(self) -> None:
        """Ends it for good; any thread may call this, while another waits for an answer."""
        with self._mu:
            self._is_over = True
            if self._process is not None:
                self._process.kill()

    def end(self) -> None:
        """Ends the process; the next job gets another."""
        with self._mu:
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
        for each in (self._connection, self._said):
            if each is not None:
                each.close()
        self._connection = self._said = None
        self._digest = ""
        self._jobs = self._submissions = 0
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        ours, theirs = socket.socketpair()
        root = Path(tester.__file__).parent.parent
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._said = tempfile.TemporaryFile(prefix="raftlab-worker-")  # noqa: SIM115  # closed in end()
        with self._mu:
            if self._is_over:
                raise _Loss("the grading was stopped")
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tester.grade.worker", str(theirs.fileno()), str(self._folder)],
                env={**environment, "PYTHONPATH": path},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._said,
                start_new_session=True,
            )
        theirs.close()
        ours.settimeout(self._limits.silence_s)
        self._connection = ours
        self._splitter = Splitter()

    def _ask(self, ask: Ask) -> Answer:
        assert self._connection is not None
        deadline = time.monotonic() + self._limits.wall_s + self._limits.grace_s
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            send(self._connection, encode(ask))
        while True:
            try:
                data = self._connection.recv(1 << 20)
            except TimeoutError:
                raise _Loss(f"it gave no sign of life for {self._limits.silence_s:g} s") from None
            except ConnectionResetError:
                data = b""
            if not data:
                raise _Loss(self._how_it_ended())
            for message in self._splitter.feed(data):
                heard = decode_answer(message)
                if isinstance(heard, Answer):
                    return heard
                self._check(heard, deadline)

    def _check(self, beat: Beat, deadline: float) -> None:
        if beat.memory > self._limits.memory:
            raise _Loss(f"it grew to {beat.memory >> 20} MiB; {self._limits.memory >> 20} MiB are the most")
        if time.monotonic() > deadline:
            raise _Loss(f"it did not come to an end within {self._limits.wall_s + self._limits.grace_s:g} s")

    def _how_it_ended(self) -> str:
        assert self._process is not None
        try:
            status = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "it closed its connection, and went on"
        return f"it ended: {describe_status(status)}{self._what_it_said()}"

    def _what_it_said(self) -> str:
        if self._said is None:
            return ""
        end = self._said.seek(0, os.SEEK_END)
        self._said.seek(max(0, end - _MOST_SAID))
        said = self._said.read().decode("utf-8", "replace").strip()
        return f"\n{said}" if said else ""


class _Loss(Exception):
    pass


class LocalPool:
    """`workers` of them, with their files below `folder`."""

    def __init__(self, workers: int, folder: Path, *, limits: Limits | None = None) -> None:
        self._workers = [Worker(folder / f"worker-{number}", limits=limits or Limits()) for number in range(workers)]
        self._folder = folder
        shutil.rmtree(folder, ignore_errors=True)  # of a grading that was killed

    @property
    def size(self) -> int:
        return len(self._workers)

    @property
    def pids(self) -> list[int]:
        """Of the workers that are there now."""
        return [worker.pid for worker in self._workers if worker.pid is not None]

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[Job, Answer | Lost]]:
        """See `Pool.run`."""
        todo = iter(tasks)
        done: queue.Queue[tuple[int, Job, Answer | Lost]] = queue.Queue()
        inboxes: list[queue.Queue[Task | None]] = [queue.Queue() for _ in self._workers]

        def serve(number: int) -> None:
            while (task := inboxes[number].get()) is not None:
                done.put((number, task.job, self._workers[number].do(task)))

        threads = [threading.Thread(target=serve, args=(number,), daemon=True) for number in range(self.size)]
        for thread in threads:
            thread.start()
        under_way: set[int] = set()
        is_whole = False
        try:
            for number, inbox in enumerate(inboxes):
                if (task := next(todo, None)) is not None:
                    inbox.put(task)
                    under_way.add(number)
            while under_way:
                number, job, result = done.get()
                under_way.discard(number)
                yield job, result
                if (task := next(todo, None)) is not None:
                    inboxes[number].put(task)
                    under_way.add(number)
            is_whole = True
        finally:
            if not is_whole:
                for worker in self._workers:
                    worker.stop()
            for inbox in inboxes:
                inbox.put(None)
            for thread in threads:
                thread.join()

    def close(self) -> None:
        for worker in self._workers:
            worker.stop()
            worker.end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> LocalPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
