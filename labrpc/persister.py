"""Where a server keeps what must survive a crash: its raft state and its snapshot.

    save(state)        returns once durable
    save_async(state)  returns at once; durable when the future completes

Saves are first in, first out: one that has completed makes all earlier ones durable, and a crash keeps a prefix of
them. Raft state and snapshot given to one save become durable together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

from labrpc.errors import UsageError

__all__ = ["MemoryPersister", "Persister", "SaveFuture", "check_save"]


@runtime_checkable
class SaveFuture(Protocol):
    """The outcome of an asynchronous save."""

    def done(self) -> bool:
        """Whether the save is durable."""

    def result(self, timeout: float | None = None) -> None:
        """Waits until the save is durable.

        Raises:
            TimeoutError: `timeout` seconds went by first.
        """

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        """Calls `callback(future)` once the save is durable; at once if it is."""


@runtime_checkable
class Persister(Protocol):
    """A server's stable storage (Fig. 2, persistent state; Fig. 13, snapshot)."""

    def save(self, raft_state: bytes, snapshot: bytes | None = None) -> None:
        """Makes both durable, together, before it returns. `snapshot` None keeps the one there is."""

    def save_async(self, raft_state: bytes, snapshot: bytes | None = None) -> SaveFuture:
        """Hands both to the disk and returns; they are durable, together, once the future is done."""

    def read_raft_state(self) -> bytes:
        """The latest saved raft state, b"" at first."""

    def read_snapshot(self) -> bytes:
        """The latest saved snapshot, b"" at first."""

    def raft_state_size(self) -> int:
        """Bytes of the latest saved raft state."""

    def snapshot_size(self) -> int:
        """Bytes of the latest saved snapshot."""


class Contents(NamedTuple):
    """What a disk holds."""

    raft_state: bytes
    snapshot: bytes


class LatestContents:
    """The reading half of a `Persister`: what was handed over last, durable or not."""

    _latest: Contents

    def read_raft_state(self) -> bytes:
        """The raft state handed over last, or found at the start; b"" at first."""
        return self._latest.raft_state

    def read_snapshot(self) -> bytes:
        """The snapshot handed over last, or found at the start; b"" at first."""
        return self._latest.snapshot

    def raft_state_size(self) -> int:
        """Bytes of `read_raft_state()`."""
        return len(self._latest.raft_state)

    def snapshot_size(self) -> int:
        """Bytes of `read_snapshot()`."""
        return len(self._latest.snapshot)

    def _hand_over(self, raft_state: bytes, snapshot: bytes | None) -> None:
        """A save: `snapshot` None keeps the one there is."""
        self._latest = Contents(raft_state, self._latest.snapshot if snapshot is None else snapshot)


class MemoryPersister(LatestContents):
    """A `Persister` in memory, with a disk's crash semantics: pending saves complete in order, or are lost in a crash.

    `save` completes at once; what `save_async` hands over waits for `complete`. The simulator owns one a server and
    decides when; on its own (in a test) call `complete()`.
    """

    def __init__(self, raft_state: bytes = b"", snapshot: bytes = b"") -> None:
        self.durable = Contents(raft_state, snapshot)
        """What a crash at this moment is sure to leave."""
        self._latest = self.durable
        self._pending: deque[tuple[int, Contents, MemorySave]] = deque()
        self._count = 0

    def save(self, raft_state: bytes, snapshot: bytes | None = None) -> None:
        self.begin(raft_state, snapshot)
        self.complete()

    def save_async(self, raft_state: bytes, snapshot: bytes | None = None) -> SaveFuture:
        self.begin(raft_state, snapshot)
        return self._pending[-1][2]

    # -------------------------------------------------------------- the disk's side

    @property
    def pending(self) -> int:
        """Saves handed over and not yet durable."""
        return len(self._pending)

    def survivors(self) -> list[Contents]:
        """What a crash at this moment may leave, oldest first."""
        return [self.durable, *(contents for _, contents, _ in self._pending)]

    def begin(self, raft_state: bytes, snapshot: bytes | None) -> int:
        """Hands a save to the disk; returns its number, from 1."""
        check_save(raft_state, snapshot)
        self._hand_over(raft_state, snapshot)
        self._count += 1
        self._pending.append((self._count, self._latest, MemorySave()))
        return self._count

    def complete(self, number: int | None = None) -> None:
        """Makes save `number` (None: the last) durable, and so all earlier ones."""
        last = self._count if number is None else number  # a callback may hand over the next save
        while self._pending and self._pending[0][0] <= last:
            _, self.durable, future = self._pending.popleft()
            future.finish()

    def crash(self, survivors: int = 0) -> None:
        """Loses all pending saves but the first `survivors`; what was lost never completes."""
        if not 0 <= survivors <= len(self._pending):
            raise UsageError(f"survivors {survivors} is not in 0..{len(self._pending)}, the saves pending")
        if survivors:
            self.complete(self._pending[survivors - 1][0])
        self._pending.clear()
        self._latest = self.durable


class MemorySave:
    """The `SaveFuture` of a `MemoryPersister`; it completes when the disk's side says so."""

    def __init__(self) -> None:
        self._done = False
        self._callbacks: list[Callable[[Any], object]] = []

    def done(self) -> bool:
        return self._done

    def result(self, timeout: float | None = None) -> None:
        if not self._done:
            raise TimeoutError("the save is pending: nothing completes it while this thread waits")

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        if self._done:
            callback(self)
        else:
            self._callbacks.append(callback)

    def finish(self) -> None:
        self._done = True
        for callback in self._callbacks:
            callback(self)
        self._callbacks.clear()


def check_save(raft_state: bytes, snapshot: bytes | None) -> None:
    """Raises: UsageError if either is not bytes."""
    if type(raft_state) is not bytes:
        raise UsageError(f"raft_state must be bytes, not {type(raft_state).__name__}; use labrpc.encode")
    if snapshot is not None and type(snapshot) is not bytes:
        raise UsageError(f"snapshot must be bytes or None, not {type(snapshot).__name__}; use labrpc.encode")
