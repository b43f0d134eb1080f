"""The persister that server code sees on a virtual host.

It keeps the latest contents for reading, and tells the coordinator, which owns the durable ones, by effects: `Save`
when a save is handed over, `Saved` when it completes. Synchronous saves complete at once unless asynchronous ones are
still pending before them; those take a drawn time each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labrpc.persister import check_save
from labrpc.virtual import frames

if TYPE_CHECKING:
    from labrpc.virtual.host import Host
    from labrpc.virtual.scheduler import GreenThread

__all__ = ["HostPersister", "HostSave"]


class HostPersister:
    """See `labrpc.Persister`."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._raft_state = b""
        self._snapshot = b""
        self._count = 0
        self._free_at = 0
        self._longest = host.settings.longest_async_save_ns
        self._latency = host.streams.stream("disk/latency")

    def load(self, raft_state: bytes, snapshot: bytes) -> None:
        """What the disk held when the host started."""
        self._raft_state, self._snapshot = raft_state, snapshot

    def save(self, raft_state: bytes, snapshot: bytes | None = None) -> None:
        host = self._host
        number = self._begin(raft_state, snapshot)
        while host.clock() < self._free_at:
            host.park(self._free_at, "waits for the disk")
        host.emit(frames.Saved(host.clock(), number))

    def save_async(self, raft_state: bytes, snapshot: bytes | None = None) -> HostSave:
        host = self._host
        number = self._begin(raft_state, snapshot)
        self._free_at = max(self._free_at, host.clock()) + self._latency.draw(self._longest + 1)
        future = HostSave(host)
        host.spawn("disk", self._finish, number, self._free_at, future)
        return future

    def _begin(self, raft_state: bytes, snapshot: bytes | None) -> int:
        check_save(raft_state, snapshot)
        self._raft_state = raft_state
        if snapshot is not None:
            self._snapshot = snapshot
        self._count += 1
        host = self._host
        host.charge((len(raft_state) + len(snapshot or b"")) // 100)
        host.emit(frames.Save(host.clock(), self._count, raft_state, snapshot))
        return self._count

    def _finish(self, number: int, due: int, future: HostSave) -> None:
        host = self._host
        if host.clock() < due:
            host.park(due, "is the disk, writing")
        host.emit(frames.Saved(host.clock(), number))
        future.finish()

    def read_raft_state(self) -> bytes:
        return self._raft_state

    def read_snapshot(self) -> bytes:
        return self._snapshot

    def raft_state_size(self) -> int:
        return len(self._raft_state)

    def snapshot_size(self) -> int:
        return len(self._snapshot)


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
        while not self._done:
            if host.current is not None:
                self._waiting.append(host.current)
            if not host.park(deadline, "waits for a save to complete") and not self._done:
                raise TimeoutError(f"the save did not complete within {timeout} s")

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        if self._done:
            callback(self)
        else:
            self._callbacks.append(callback)

    def finish(self) -> None:
        self._done = True
        for thread in self._waiting:
            self._host.unpark(thread)
        for callback in self._callbacks:
            callback(self)
