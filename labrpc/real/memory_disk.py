"""The disk of a server that is threads: in memory, and slow. The judge is told of each save, and keeps what is durable.

    save_async --Save--> judge ... 0 to 5 ms ... --Saved--> judge, then the future is done

The future and the order of saves are as in `labrpc.virtual.disk`; what a crash leaves is the coordinator's to decide.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from typing import TYPE_CHECKING

from labrpc import frames
from labrpc.context import HostEnded
from labrpc.persister import Contents, LatestContents, check_save
from labrpc.threaded_save import ThreadedSave

if TYPE_CHECKING:
    from labrpc.real.host import RealHost

__all__ = ["MemoryDisk"]


class MemoryDisk(LatestContents):
    """See `labrpc.Persister`.

    Args:
        host: whose it is; it holds what the host found when it started.
    """

    def __init__(self, host: RealHost) -> None:
        self._host = host
        self._latest = Contents(*host.found)
        self._latency = host.streams.weather("disk/latency")
        self._longest = host.settings.longest_async_save_ns
        self._mu = threading.Lock()
        """Held from a save's number to its effect: the judge hears of saves in their order."""
        self._count = 0
        self._pending: deque[_Save] = deque()
        """Handed over and not yet durable."""
        self._writes: queue.SimpleQueue[tuple[int, _Save] | None] = queue.SimpleQueue()
        self._has_thread = False
        host.at_end(self._let_go)

    def save(self, raft_state: bytes, snapshot: bytes | None = None) -> None:
        self._save(raft_state, snapshot, 0).result()

    def save_async(self, raft_state: bytes, snapshot: bytes | None = None) -> _Save:
        return self._save(raft_state, snapshot, self._longest)

    def _save(self, raft_state: bytes, snapshot: bytes | None, longest: int) -> _Save:
        check_save(raft_state, snapshot)
        host = self._host
        with self._mu:
            self._count += 1
            self._hand_over(raft_state, snapshot)
            save = _Save(host)
            host.emit(frames.Save(host.instant(), self._count, raft_state, snapshot))
            latency = self._latency.draw(longest + 1) if longest else 0
            at_once = not (latency or self._pending)
            self._pending.append(save)
            if at_once:
                self._complete()
            else:
                self._writes.put((host.instant() + latency, save))
                starts, self._has_thread = not self._has_thread, True
        if at_once:
            save.finish()
        elif starts:
            host.roster.start("lab disk", self._write)
        return save

    def _write(self) -> None:
        """The disk at work: one save after the other, each not before it is due."""
        while (write := self._writes.get()) is not None:
            due, save = write
            self._host.sleep(max(0, due - self._host.instant()) / 1e9)
            with self._mu:
                self._complete()
            save.finish()

    def _complete(self) -> None:
        """The oldest pending save is durable."""
        self._pending.popleft()
        self._host.emit(frames.Saved(self._host.instant(), self._count - len(self._pending)))

    def _let_go(self) -> None:
        """The host has ended: nobody waits for this disk any more."""
        with self._mu:
            pending = list(self._pending)
        for save in pending:
            save.let_go()
        self._writes.put(None)


class _Save(ThreadedSave):
    """One save: who waits for it when its host has ended goes no further."""

    def __init__(self, host: RealHost) -> None:
        super().__init__()
        self._host = host

    def _wait(self, timeout: float | None) -> bool:
        is_done = super()._wait(timeout)
        if self._host.ended:
            raise HostEnded
        return is_done
