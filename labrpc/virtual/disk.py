"""The persister that server code sees on a virtual host.

It keeps the latest contents for reading, and tells the coordinator, which owns the durable ones, by effects: `Save`
when a save is handed over, `Saved` when it completes, in the same order. Each save takes a drawn time; where the run's
disks are quick synchronous ones take none, and complete at once unless earlier ones are still pending.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labrpc import frames
from labrpc.context import HostEnded
from labrpc.persister import Contents, LatestContents, check_save
from labrpc.virtual.scheduler import GreenThread

if TYPE_CHECKING:
    from labrpc.virtual.host import Host

__all__ = ["HostPersister", "HostSave"]


class HostPersister(LatestContents):
    """See `labrpc.Persister`."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._latest = Contents(b"", b"")
        self._count = 0
        self._saved = 0
        """The last save that is durable: all up to it are."""
        self._free_at = 0
        self._pending: deque[tuple[int, HostSave]] = deque()
        """The asynchronous saves after it."""
        self._longest = host.settings.longest_async_save_ns
        self._latency = host.streams.weather("disk/latency")
        self._longest_sync = host.settings.longest_sync_save_ns
        self._sync_latency = host.streams.weather("disk/sync")

    def load(self, raft_state: bytes, snapshot: bytes) -> None:
        """What the disk held when the host started."""
        self._latest = Contents(raft_state, snapshot)

    def save(self, raft_state: bytes, snapshot: bytes | None = None) -> None:
        host = self._host
        number = self._begin(raft_state, snapshot)
        if self._longest_sync:
            self._free_at = max(self._free_at, host.clock()) + self._sync_latency.draw(self._longest_sync + 1)
        due = self._free_at  # what other threads hand over while this one waits comes after it
        while host.clock() < due:
            host.park(due, "waits for the disk")
        self._complete(number)

    def save_async(self, raft_state: bytes, snapshot: bytes | None = None) -> HostSave:
        host = self._host
        number = self._begin(raft_state, snapshot)
        self._free_at = max(self._free_at, host.clock()) + self._latency.draw(self._longest + 1)
        future = HostSave(host)
        self._pending.append((number, future))
        host.spawn("lab disk", self._finish, number, self._free_at, future)
        return future

    def _begin(self, raft_state: bytes, snapshot: bytes | None) -> int:
        check_save(raft_state, snapshot)
        if self._host.ended:
            raise HostEnded
        self._hand_over(raft_state, snapshot)
        self._count += 1
        host = self._host
        host.charge((len(raft_state) + len(snapshot or b"")) // 100)
        host.emit(frames.Save(host.clock(), self._count, raft_state, snapshot))
        return self._count

    def _finish(self, number: int, due: int, future: HostSave) -> None:
        host = self._host
        if host.clock() < due:
            host.park(due, "is the disk, writing")
        self._complete(number)
        future.call_back()

    def _complete(self, number: int) -> None:
        """Makes save `number` durable, and before it, in order, the earlier ones.

        These are due too, but their threads may not have run yet. Their callbacks wait until these do: a thread that
        saves may hold the lock that a callback wants.
        """
        host = self._host
        while self._saved < number:
            self._saved += 1
            host.emit(frames.Saved(host.clock(), self._saved))
            if self._pending and self._pending[0][0] == self._saved:
                self._pending.popleft()[1].finish()


class HostSave:
    """The future of an asynchronous save; see `labrpc.persister.SaveFuture`."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._done = False
        self._waiting: list[GreenThread] = []
        self._callbacks: list[Callable[[Any], object]] = []

    def done(self) -> bool:
        return self._done

    def result(self, timeout: float | None = None) -> None:
        host = self._host
        deadline = None if timeout is None else host.deadline(timeout)
        thread = host.current
        while not self._done:
            if thread is not None:
                self._waiting.append(thread)
            woken = host.park(deadline, "waits for a save to complete")
            if thread in self._waiting:
                self._waiting.remove(thread)  # else `finish` would wake it from what it waits for next
            if not woken and not self._done:
                raise TimeoutError(f"the save did not complete within {timeout} s")

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        if self._done:
            callback(self)
        else:
            self._callbacks.append(callback)

    def finish(self) -> None:
        """The save is durable: who waits for it goes on."""
        self._done = True
        for thread in self._waiting:
            self._host.unpark(thread)
        self._waiting.clear()

    def call_back(self) -> None:
        """Runs the callbacks, on the running thread."""
        for callback in self._callbacks:
            callback(self)
        self._callbacks.clear()
