"""A node's stable storage: term, vote and log, saved by what has changed, and snapshots in files of their own.

    save(change) ─┐                              one record, one fsync, for all the changes that came
    save(change) ─┼─> pending ──> writer thread ─────────────────────────> log ──> all of them are durable, in order
    save(change) ─┘

    lock          held while the directory is open
    format        which format this is; there from the first opening on: a lost log is not taken for a fresh start
    log           records of changes, oldest first (the bytes: `labrpc.wal`, whose rules of recovery hold)
    snapshot-12   a state of the store; the log's last record says which one is in force
    *.tmp         a file being written; it gets its name once it is durable

The lab's `DiskPersister` writes the whole raft state with each save; here a save costs what it adds. A log that has
grown past its limit is begun anew with what is left after the snapshot, and so it is at every opening: a process
appends only to a log whose every earlier byte it saw become durable. What is assumed of the file system is in
`labrpc.disk_store`.
"""

from __future__ import annotations

import errno
import os
import re
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from kvraft.service.events import SaveTimes
from labrpc import wal
from labrpc.errors import UsageError
from labrpc.files import Files, OpenFile, RealFiles

__all__ = ["Change", "LogStore", "Save", "SnapshotFile"]

LOG_LIMIT = 4 << 20
"""Bytes that a log may have before a save that compacts begins a new one."""

_LOCK, _FORMAT, _LOG = "lock", "format", "log"
_FORMAT_TEXT = b"kvraft node, format 1\n"
_TEMPORARY = re.compile(r"(log|format|snapshot-\d+)\.tmp")
_SNAPSHOT = re.compile(r"snapshot-(\d+)")
_NO_SNAPSHOT = wal.SnapshotRef(0, 0, 0)
_PIECE = 1 << 20
_ENTRIES_A_RECORD = 20_000


class Change(NamedTuple):
    """What a save makes durable: the hard state, and how the log differs from what was saved before.

    Of the old log the entries after `last_included_index` and before `first_index` stay; `entries` follow them.
    """

    term: int
    voted_for: int | None
    last_included_index: int
    last_included_term: int
    first_index: int
    entries: list[tuple[int, bytes | None]]


class SnapshotFile(NamedTuple):
    """A snapshot on the disk, whole and durable; it counts once a save names it."""

    path: str
    ref: wal.SnapshotRef

    def __len__(self) -> int:
        return self.ref.length

    def pieces(self) -> Iterable[bytes]:
        """Its contents, a megabyte at a time. Raises: OSError."""
        with open(self.path, "rb") as file:
            while piece := file.read(_PIECE):
                yield piece


class Save:
    """A save under way. It is used on the thread that the store delivers to, and there alone."""

    __slots__ = ("callbacks", "handed_at", "is_done", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.handed_at = time.monotonic()
        self.is_done = False
        self.callbacks: list[Callable[[], object]] = []

    def done(self) -> bool:
        """Whether it is durable."""
        return self.is_done

    def result(self, timeout: float | None = None) -> None:
        """For code that may not wait: raises TimeoutError unless it is done."""
        if not self.is_done:
            raise TimeoutError("the save is pending; add a callback to it")

    def then(self, callback: Callable[[], object]) -> None:
        """Calls `callback` once it is durable; at once if it is."""
        if self.is_done:
            callback()
        else:
            self.callbacks.append(callback)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Change]).decode


class LogStore:
    """The directory, opened, and its writer thread. All but `write_snapshot` is for one thread.

    Args:
        directory: created if need be; an empty one is a fresh start.
        deliver: has a function called on the caller's thread, from any thread, in order.
        on_failure: called there, with the OSError, if a save fails; nothing is accepted or acknowledged after that.
        on_commit: called on the writer thread after each fsync with (saves, bytes, seconds, times); `times` without
            when they were acknowledged.
        files: what to use in place of the directory (for tests).

    Attributes:
        term, voted_for, last_included_index, last_included_term, entries: what was found.
        snapshot: the snapshot in force, None if there is none.
        dropped: bytes of a record cut short by a crash; they were promised to nobody.

    Raises:
        UsageError: another process has the directory open, or it holds something else or another version.
        wal.DiskCorruption: what was durable is damaged or gone. Nothing was changed.
        OSError: of the file system.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        deliver: Callable[[Callable[[], object]], object],
        on_failure: Callable[[OSError], object],
        on_commit: Callable[[int, int, float, SaveTimes], object] | None = None,
        files: Files | None = None,
        log_limit: int = LOG_LIMIT,
    ) -> None:
        self._files = RealFiles(directory) if files is None else files
        self._deliver = deliver
        self._on_failure = on_failure
        self._on_commit = on_commit
        self._log_limit = log_limit
        self.term = 0
        self.voted_for: int | None = None
        self.last_included_index = 0
        self.last_included_term = 0
        self.entries: list[tuple[int, bytes | None]] = []
        self.snapshot: SnapshotFile | None = None
        self.dropped = 0
        self._log: OpenFile | None = None
        self._sequence = 0
        self._stamp = b""
        self._end = 0
        # What the last fsync took, in seconds.
        self._fsync_seconds = 0.0
        self._ref = _NO_SNAPSHOT
        self._next_snapshot = 1
        self._snapshot_mu = threading.Lock()
        try:
            self._files.lock(_LOCK)
            self._open()
        except BaseException:
            self._release()
            raise

        self._work = threading.Condition()
        # Handed over and not taken by the writer: the saves, what they change, the snapshot the last of them names.
        self._pending: list[Save] = []
        self._changes: list[Change] = []
        self._new_ref: wal.SnapshotRef | None = None
        # Whether the changes say all there is to know, and begin a new log.
        self._begins_log = False
        self._closed = False
        self._failed = False
        self._saves = 0
        self._writer = threading.Thread(target=self._write, name="log writer", daemon=True)
        self._writer.start()

    def save(
        self, change: Change, snapshot: SnapshotFile | None, rest: Sequence[tuple[int, bytes | None]] | None = None
    ) -> Save:
        """Hands `change` to the disk; from then on `snapshot` is in force, unless it is None.

        `rest`, with a snapshot: all entries that the log has after it; a new log begins with them.
        """
        self._saves += 1
        save = Save(self._saves)
        with self._work:
            self._pending.append(save)
            self._changes.append(change)
            if snapshot is not None:
                self._new_ref = snapshot.ref
                self.snapshot = snapshot
                if rest is not None and self._end > self._log_limit:
                    # All that this save and the ones before it say is in `rest`.
                    self._changes = [change._replace(first_index=change.last_included_index + 1, entries=list(rest))]
                    self._begins_log = True
            self._work.notify()
        return save

    def write_snapshot(self, pieces: Iterable[bytes]) -> SnapshotFile:
        """Puts a snapshot on the disk, durably. Any thread may call it.

        Raises:
            OSError: of the file system; nothing has changed.
        """
        with self._snapshot_mu:
            number = self._next_snapshot
            self._next_snapshot += 1
        name = f"snapshot-{number}"
        file = self._files.create(f"{name}.tmp")
        length = crc = 0
        try:
            for piece in pieces:
                file.write(length, piece)
                length += len(piece)
                crc = zlib.crc32(piece, crc)
            file.fsync()
        except BaseException:
            self._files.unlink(f"{name}.tmp")
            raise
        finally:
            file.close()
        self._files.rename(f"{name}.tmp", name)
        self._files.fsync_directory()
        return SnapshotFile(self._files.path(name), wal.SnapshotRef(number, length, crc))

    @property
    def pending(self) -> int:
        """Saves that the writer has not taken."""
        return len(self._pending)

    @property
    def log_bytes(self) -> int:
        """Of the log's file."""
        return self._end

    def close(self) -> None:
        """Makes all that was handed over durable and gives the directory back. Any thread; twice is fine."""
        with self._work:
            self._closed = True
            self._work.notify()
        self._writer.join()

    # -------------------------------------------------------------- the writer thread

    def _write(self) -> None:
        try:
            while True:
                with self._work:
                    self._work.wait_for(lambda: self._pending or self._closed)
                    if not self._pending:
                        break
                    saves, self._pending = self._pending, []
                    changes, self._changes = self._changes, []
                    ref, self._new_ref = self._new_ref, None
                    begins_log, self._begins_log = self._begins_log, False
                began = time.monotonic()
                size = self._commit(changes, ref, begins_log)
                self._deliver(lambda saves=saves: _acknowledge(saves))  # type: ignore[misc]
                if self._on_commit is not None:
                    handed = [save.handed_at for save in saves]
                    times = SaveTimes(handed, began, 0.0, self._fsync_seconds, begins_log)
                    self._on_commit(len(saves), size, time.monotonic() - began, times)
                self._settle(ref is not None)
            if self._log is not None:
                self._log.fsync()  # the last confirmation
        except BaseException as error:
            self._failed = True
            cause = error if isinstance(error, OSError) else OSError(errno.EIO, f"{type(error).__name__}: {error}")
            self._deliver(lambda: self._on_failure(cause))
        finally:
            self._release()

    def _commit(self, changes: list[Change], ref: wal.SnapshotRef | None, begins_log: bool) -> int:
        """Makes `changes` durable; returns how many bytes that were."""
        if ref is not None:
            self._ref = ref
        self._sequence += 1
        payload = _encode(changes)
        if begins_log:
            self._start_log([payload])
            return len(payload)
        record = wal.state_record(self._stamp, self._end, self._sequence, self._ref, payload)
        assert self._log is not None
        self._log.write(self._end, *record)
        began = time.monotonic()
        self._log.fsync()
        self._fsync_seconds = time.monotonic() - began
        size = sum(map(len, record))
        self._end += size
        return size

    def _settle(self, has_old_snapshots: bool) -> None:
        """What nobody waits for: confirms the last record, removes older snapshots."""
        assert self._log is not None
        self._log.write(self._end, wal.confirmation(self._stamp, self._end, self._sequence))
        if has_old_snapshots:
            self._remove_old_snapshots(below=self._ref.number)

    def _release(self) -> None:
        log, self._log = self._log, None
        try:
            if log is not None:
                log.close()
        finally:
            self._files.close()

    # -------------------------------------------------------------- opening

    def _open(self) -> None:
        names = set(self._files.list())
        if _FORMAT in names and (text := self._files.read(_FORMAT)) != _FORMAT_TEXT:
            raise UsageError(
                f"{self._files.path(_FORMAT)} says {text[:80]!r}, not {_FORMAT_TEXT!r}: the directory is of another "
                f"format or damaged; nothing was changed, choose another directory"
            )
        if _LOG in names:
            self._recover()
        elif lost := sorted(name for name in names if name == _FORMAT or _SNAPSHOT.fullmatch(name)):
            raise wal.corruption(self._files.path(_LOG), 0, f"it is missing, though {lost[0]} is there")
        elif foreign := sorted(name for name in names if name != _LOCK and not _TEMPORARY.fullmatch(name)):
            raise UsageError(
                f"{self._files.path('')} holds {foreign[0]} and no log: it is not a node's; choose an empty directory"
            )
        for name in sorted(filter(_TEMPORARY.fullmatch, names)):
            self._files.unlink(name)
        numbers = [int(match[1]) for name in names if (match := _SNAPSHOT.fullmatch(name))]
        self._next_snapshot = max([self._ref.number, *numbers]) + 1
        first = self.last_included_index + 1
        payloads = []
        for start in range(0, max(len(self.entries), 1), _ENTRIES_A_RECORD):
            part = self.entries[start : start + _ENTRIES_A_RECORD]
            payloads.append(_encode([self._base()._replace(first_index=first + start, entries=part)]))
        self._start_log(payloads)
        if _FORMAT not in names:  # after the log, so that a format without a log means a lost log
            self._write_durably(_FORMAT, _FORMAT_TEXT).close()
        self._remove_old_snapshots(below=1 << 63)

    def _base(self) -> Change:
        return Change(self.term, self.voted_for, self.last_included_index, self.last_included_term, 0, [])

    def _recover(self) -> None:
        path = self._files.path(_LOG)
        records = wal.recover_all(self._files.read(_LOG), path)
        for record in records:
            for change in _decode(record.raft_state):
                self._replay(change)
        self._sequence, self._ref, self.dropped = records[-1].sequence, records[-1].snapshot, records[-1].dropped
        if self._ref.number:
            self.snapshot = SnapshotFile(self._files.path(f"snapshot-{self._ref.number}"), self._ref)
            self._check_snapshot(self.snapshot)

    def _replay(self, change: Change) -> None:
        kept_to = max(change.first_index - self.last_included_index - 1, 0)
        gone = max(change.last_included_index - self.last_included_index, 0)
        if gone:
            self.entries = self.entries[gone:kept_to]
        else:
            del self.entries[kept_to:]
        self.entries += change.entries
        self.term, self.voted_for = change.term, change.voted_for
        self.last_included_index, self.last_included_term = change.last_included_index, change.last_included_term

    def _check_snapshot(self, snapshot: SnapshotFile) -> None:
        length = crc = 0
        try:
            for piece in snapshot.pieces():
                length += len(piece)
                crc = zlib.crc32(piece, crc)
        except FileNotFoundError:
            raise wal.corruption(snapshot.path, 0, "it is missing, though the last record refers to it") from None
        if length != snapshot.ref.length:
            offset = min(length, snapshot.ref.length)
            raise wal.corruption(snapshot.path, offset, f"it has {length} bytes, its record says {snapshot.ref.length}")
        if crc != snapshot.ref.crc:
            raise wal.corruption(snapshot.path, 0, f"somewhere in its {length} bytes: its checksum is not the record's")

    # -------------------------------------------------------------- files of their own

    def _start_log(self, payloads: list[bytes]) -> None:
        """Puts a log that begins with `payloads`, a record each, in the place of the one there is."""
        self._stamp = os.urandom(wal.STAMP_SIZE)
        parts = [wal.header(self._stamp)]
        end = len(parts[0])
        for payload in payloads:
            self._sequence += 1
            record = wal.state_record(self._stamp, end, self._sequence, self._ref, payload)
            parts += record
            end += sum(map(len, record))
        old, self._log = self._log, self._write_durably(_LOG, *parts)
        self._end = end
        if old is not None:
            old.close()

    def _remove_old_snapshots(self, *, below: int) -> None:
        for name in sorted(self._files.list()):
            match = _SNAPSHOT.fullmatch(name)
            if match and int(match[1]) < below and int(match[1]) != self._ref.number:
                self._files.unlink(name)

    def _write_durably(self, name: str, *parts: bytes) -> OpenFile:
        temporary = f"{name}.tmp"
        file = self._files.create(temporary)
        try:
            file.write(0, *parts)
            began = time.monotonic()
            file.fsync()
            self._fsync_seconds = time.monotonic() - began
            self._files.rename(temporary, name)
            self._files.fsync_directory()
        except BaseException:
            file.close()
            raise
        return file


def _acknowledge(saves: list[Save]) -> Any:
    for save in saves:
        save.is_done = True
        for callback in save.callbacks:
            callback()
        save.callbacks.clear()
