"""`run`: starts the processes of clients, and puts together what they say."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kvraft.load.frames import (
    LENGTH_BYTES,
    Ended,
    Failed,
    Go,
    Order,
    Ready,
    SecondPart,
    Stop,
    decode_frame,
    encode_frame,
)
from kvraft.load.histogram import Histogram
from kvraft.load.load import Load
from kvraft.load.result import Kind, Recorded, Result, Second
from labrpc.errors import HarnessError, UsageError

__all__ = ["LoadFailed", "run"]

START_SECONDS = 0.05
"""From the order to go until the clients do: all processes begin at the same instant."""

POLL_SECONDS = 0.05


class LoadFailed(HarnessError):
    """The load could not begin, or its processes have ended."""


def run(
    load: Load,
    addresses: Sequence[str],
    *,
    on_second: Callable[[Second], object] | None = None,
    record: Callable[[Recorded], object] | None = None,
    stop: threading.Event | None = None,
    options: Mapping[str, Any] | None = None,
) -> Result:
    """Puts `load` on the cluster at `addresses`, from processes of its own, and waits until it is over.

    Args:
        on_second: called with each second, soon after its end, on the caller's thread.
        record: called with each operation, those that make the keys and those of the warm-up included, up to a second
            after its end, on the caller's thread; those of one client in order.
        stop: once set, no more is asked, what is under way gets half a second, and the result is of what there was.
        options: for the clients: token, authority, certificate, key, dial; see `AsyncClient`.

    Raises:
        UsageError: no addresses, or options that are none.
        LoadFailed: no cluster answers, it refuses these clients, or a process of clients has ended.
    """
    if not addresses or isinstance(addresses, str):
        raise UsageError('a load needs a list of nodes: ["host:port", …]')
    with _workers(load, list(addresses), dict(options or {}), record is not None) as workers:
        driver = _Run(load, workers, on_second, record, stop)
        driver.drive()
        return driver.result(tuple(addresses))


class _Worker:
    """One process of clients, and the thread that reads what it says."""

    def __init__(self, number: int, frames: queue.Queue[tuple[int, Any]]) -> None:
        environment = {"GRPC_VERBOSITY": "NONE", **os.environ}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kvraft.load.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches the caller, who stops it in order
        )
        self._number, self._frames = number, frames
        self._thread = threading.Thread(target=self._read, name=f"load {number}", daemon=True)
        self._thread.start()

    def send(self, frame: Any) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # if it is gone the reader tells
            self.process.stdin.write(encode_frame(frame))
            self.process.stdin.flush()

    def close(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(2.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._thread.join(2.0)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _read(self) -> None:
        pipe: Any = self.process.stdout
        try:
            while len(head := pipe.read(LENGTH_BYTES)) == LENGTH_BYTES:
                length = int.from_bytes(head, "big")
                if len(body := pipe.read(length)) < length:
                    break
                self._frames.put((self._number, decode_frame(body)))
        except (OSError, ValueError):
            pass  # closed from this side
        self._frames.put((self._number, None))


class _Workers(list[_Worker]):
    """All processes, and what they say."""

    def __init__(self) -> None:
        self.frames: queue.Queue[tuple[int, Any]] = queue.Queue()


@contextlib.contextmanager
def _workers(load: Load, addresses: list[str], options: dict[str, Any], is_recorded: bool) -> Iterator[_Workers]:
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
    workers = _Workers()
    try:
        for number in range(load.processes):
            worker = _Worker(number, workers.frames)
            workers.append(worker)
            worker.send(Order(load.as_json(), addresses, plain, number, is_recorded))
        yield workers
    finally:
        for worker in workers:
            worker.close()


class _Run:
    """One load under way."""

    def __init__(
        self,
        load: Load,
        workers: _Workers,
        on_second: Callable[[Second], object] | None,
        record: Callable[[Recorded], object] | None,
        stop: threading.Event | None,
    ) -> None:
        self._load, self._workers = load, workers
        self._on_second, self._record, self._stop = on_second, record, stop
        self._ready: set[int] = set()
        self._ended: dict[int, Ended] = {}
        self._parts: dict[int, dict[int, SecondPart]] = {}
        self._series: list[Second] = []
        self._is_stopped = False
        # time.monotonic() at which the warm-up begins.
        self._at = 0.0

    def drive(self) -> None:
        while len(self._ended) < len(self._workers):
            if self._stop is not None and self._stop.is_set() and not self._is_stopped:
                self._is_stopped = True
                for worker in self._workers:
                    worker.send(Stop())
            try:
                number, frame = self._workers.frames.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            self._take(number, frame)
            self._tell_seconds()

    def _take(self, number: int, frame: Any) -> None:
        if isinstance(frame, Ready):
            self._ready.add(number)
            if len(self._ready) == len(self._workers) and not self._is_stopped:
                self._at = time.monotonic() + START_SECONDS
                for worker in self._workers:
                    worker.send(Go(self._at))
        elif isinstance(frame, SecondPart):
            if self._record is not None:
                for each in frame.records:
                    self._record(Recorded(*each))
            self._parts.setdefault(frame.second, {})[number] = frame
        elif isinstance(frame, Ended):
            self._ended[number] = frame
        elif isinstance(frame, Failed):
            raise LoadFailed(frame.detail)
        elif frame is None and number not in self._ended:
            if not self._is_stopped:
                code = self._workers[number].process.wait()
                raise LoadFailed(f"a process of clients has ended with exit code {code}")
            self._ended[number] = Ended({}, 0.0, 0, 0.0)

    def _tell_seconds(self) -> None:
        """Each second that all processes have told of, or will not tell of any more."""
        for second in sorted(self._parts):
            parts = self._parts[second]
            if any(number not in parts and number not in self._ended for number in range(len(self._workers))):
                return
            del self._parts[second]
            times = Histogram()
            for part in parts.values():
                times.merge(Histogram.from_pairs(part.buckets, part.total, part.largest))
            told = Second(
                second=second,
                began_at=self._at + self._load.warm_up + second,
                done=sum(part.done for part in parts.values()),
                errors=sum(part.errors for part in parts.values()),
                p50=times.percentile(50),
                p99=times.percentile(99),
                largest=times.largest,
                late=sum(part.late for part in parts.values()),
            )
            self._series.append(told)
            if self._on_second is not None:
                self._on_second(told)

    def result(self, addresses: tuple[str, ...]) -> Result:
        outcomes: dict[str, dict[str, int]] = {}
        times: dict[str, Histogram] = {}
        for ended in self._ended.values():
            for kind, part in ended.kinds.items():
                counts = outcomes.setdefault(kind, {})
                for outcome, count in part.outcomes.items():
                    counts[outcome] = counts.get(outcome, 0) + count
                mine = Histogram.from_pairs(part.buckets, part.total, part.largest)
                times.setdefault(kind, Histogram()).merge(mine)
        return Result(
            load=self._load,
            addresses=addresses,
            elapsed=max(ended.elapsed for ended in self._ended.values()),
            kinds={kind: Kind(outcomes=outcomes[kind], times=times[kind]) for kind in sorted(outcomes)},
            series=tuple(self._series),
            never_begun=sum(ended.never_begun for ended in self._ended.values()),
            was_stopped=self._is_stopped,
            client_cpu=sum(ended.cpu for ended in self._ended.values()),
        )
