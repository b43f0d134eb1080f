"""A raft state and a snapshot in a directory, through any crash: opening, committing, rotating. One thread at a time.

    lock           held while the directory is open; never removed
    format         which format this is; there from the first opening on: a lost log is not taken for a fresh start
    log            the raft states, newest last (`labrpc.wal`)
    snapshot-12    the snapshot that came with record 12, as it was given; the log's last record refers to it
    *.tmp          a file being written; it gets its name once it is durable

A commit with a snapshot: snapshot-12.tmp written, fsynced, renamed, directory fsynced; then the record that refers to
it, appended and fsynced. That last fsync is what makes both durable, so they are so together. Only then is the older
snapshot removed.

Every opening writes a new log, as does one that would grow past its limit: log.tmp, fsync, rename over log, fsync the
directory. So a process appends only to a log that it began itself and whose every earlier byte it saw become durable;
what a crash cut short, or an fsync that failed in an earlier process left in doubt, is not built upon.

It is assumed that fsync does not lie, that a rename is one step, and that a write leaves alone, even if the power
fails, what is already durable beside it.
"""

from __future__ import annotations

import errno
import os
import re
import zlib

from labrpc import wal
from labrpc.errors import UsageError
from labrpc.files import Files, OpenFile

__all__ = ["LOG_LIMIT", "DiskStore"]

LOG_LIMIT = 4 << 20
"""Bytes that a log may have before the next commit begins a new one."""

_LOCK, _FORMAT, _LOG = "lock", "format", "log"
_FORMAT_TEXT = b"raftlab DiskPersister, format 1\n"
_TEMPORARY = re.compile(r"(log|format|snapshot-\d+)\.tmp")
_SNAPSHOT = re.compile(r"snapshot-\d+")
_NO_SNAPSHOT = wal.SnapshotRef(0, 0, 0)


class DiskStore:
    """The directory behind `files`, opened; what was left half done is put right.

    After an OSError from any method only `close` may be called: which of the bytes are durable is not known any more.
    To open the directory anew is to find out.

    Args:
        files: the directory; this object closes it, also if opening fails.
        log_limit: bytes; four records fit into a log however large they are, so large states do not rotate each time.

    Raises:
        UsageError: another process has the directory open, or it holds something else or another version.
        wal.DiskCorruption: what was durable is damaged or gone. Nothing was changed.
        OSError: of the file system.
    """

    def __init__(self, files: Files, *, log_limit: int = LOG_LIMIT) -> None:
        self._files = files
        self._log_limit = log_limit
        self._log: OpenFile | None = None
        self.raft_state = b""
        self.snapshot = b""
        """What was found at opening; the store itself has no more use for them."""
        self.dropped = 0
        """Bytes of a record cut short by a crash that opening dropped; they were promised to nobody."""
        self._sequence = 0
        # The snapshot that the last record refers to.
        self._ref = _NO_SNAPSHOT
        # The log's random stamp, and where its next record begins.
        self._stamp = b""
        self._end = 0
        # Whether there may be snapshots that it does not refer to.
        self._has_old_snapshots = True
        # Whether every operation so far succeeded.
        self._sound = False
        try:
            files.lock(_LOCK)
            self._open()
            self._sound = True
        except BaseException:
            self.close()
            raise

    def commit(self, raft_state: bytes, snapshot: bytes | None = None) -> None:
        """Makes both durable, together, before it returns. `snapshot` None keeps the one there is.

        Raises:
            OSError: of the file system; either this commit or the one before it is found at the next opening.
        """
        self._begin()
        self._sequence += 1
        if snapshot is not None:
            self._has_old_snapshots = True
            self._ref = self._write_snapshot(snapshot)
        record = wal.state_record(self._stamp, self._end, self._sequence, self._ref, raft_state)
        size = sum(map(len, record))
        if self._end + size > max(self._log_limit, 4 * size):
            self._start_log(raft_state)
        else:
            assert self._log is not None
            self._log.write(self._end, *record)
            self._log.fsync()
            self._end += size
        self._sound = True

    def settle(self) -> None:
        """What can be done after a commit and need not be waited for: confirms it, removes what it made superfluous.

        Until the confirmation is on the disk too (the next commit or `close` sees to it, or the system in its own
        time), damage to the last record looks like a record cut short.

        Raises:
            OSError: of the file system; the last commit is durable all the same.
        """
        self._begin()
        assert self._log is not None
        self._log.write(self._end, wal.confirmation(self._stamp, self._end, self._sequence))
        if self._has_old_snapshots:
            self._remove_old_snapshots()
        self._sound = True

    def close(self) -> None:
        """Gives the directory back; confirms the last commit durably if no operation failed.

        Raises:
            OSError: of the file system; the last commit is durable all the same, and the directory is given back.
        """
        try:
            if self._sound and self._log is not None:
                self.settle()
                self._log.fsync()
        finally:
            self._sound = False
            log, self._log = self._log, None
            try:
                if log is not None:
                    log.close()
            finally:
                self._files.close()

    def _begin(self) -> None:
        """Marks the store unsound until the operation has succeeded."""
        if not self._sound:
            raise OSError(errno.EIO, "the store failed or was closed; open the directory anew", self._files.path(""))
        self._sound = False

    # -------------------------------------------------------------- opening

    def _open(self) -> None:
        names = set(self._files.list())
        if _FORMAT in names and (text := self._files.read(_FORMAT)) != _FORMAT_TEXT:
            raise UsageError(
                f"{self._files.path(_FORMAT)} says {text[:80]!r}, not {_FORMAT_TEXT!r}: "
                f"the directory is of another format or damaged; nothing was changed, choose another directory"
            )
        if _LOG in names:
            self._recover()
        else:
            self._check_new(names)
        for name in sorted(filter(_TEMPORARY.fullmatch, names)):
            self._files.unlink(name)
        self._start_log(self.raft_state)
        if _FORMAT not in names:  # after the log, so that a format without a log means a lost log
            self._write_durably(_FORMAT, _FORMAT_TEXT).close()
        # Not earlier: until now a crash could have brought back a record that refers to an older one.
        self._remove_old_snapshots()

    def _check_new(self, names: set[str]) -> None:
        """Raises unless nothing was ever saved here."""
        if lost := sorted(name for name in names if name == _FORMAT or _SNAPSHOT.fullmatch(name)):
            raise wal.corruption(self._files.path(_LOG), 0, f"it is missing, though {lost[0]} is there")
        if foreign := sorted(name for name in names if name != _LOCK and not _TEMPORARY.fullmatch(name)):
            raise UsageError(
                f"{self._files.path('')} holds {foreign[0]} and no log: it is not a DiskPersister's; "
                f"choose an empty directory"
            )

    def _recover(self) -> None:
        found = wal.recover(self._files.read(_LOG), self._files.path(_LOG))
        self._sequence, self._ref, self.raft_state, self.dropped = found
        if self._ref.number:
            self.snapshot = self._read_snapshot(self._ref)

    def _read_snapshot(self, ref: wal.SnapshotRef) -> bytes:
        path = self._files.path(_snapshot_name(ref.number))
        try:
            snapshot = self._files.read(_snapshot_name(ref.number))
        except FileNotFoundError:
            raise wal.corruption(path, 0, "it is missing, though the last record refers to it") from None
        if len(snapshot) != ref.length:
            offset = min(len(snapshot), ref.length)
            raise wal.corruption(path, offset, f"it has {len(snapshot)} bytes, its record says {ref.length}")
        if zlib.crc32(snapshot) != ref.crc:
            raise wal.corruption(path, 0, f"somewhere in its {ref.length} bytes: its checksum is not the record's")
        return snapshot

    # -------------------------------------------------------------- files of their own

    def _start_log(self, raft_state: bytes) -> None:
        """Puts a log that begins with `raft_state` in the place of the one there is."""
        self._stamp = os.urandom(wal.STAMP_SIZE)
        header = wal.header(self._stamp)
        record = wal.state_record(self._stamp, len(header), self._sequence, self._ref, raft_state)
        old, self._log = self._log, self._write_durably(_LOG, header, *record)
        self._end = len(header) + sum(map(len, record))
        if old is not None:
            old.close()

    def _write_snapshot(self, snapshot: bytes) -> wal.SnapshotRef:
        if not snapshot:
            return _NO_SNAPSHOT
        self._write_durably(_snapshot_name(self._sequence), snapshot).close()
        return wal.SnapshotRef(self._sequence, len(snapshot), zlib.crc32(snapshot))

    def _remove_old_snapshots(self) -> None:
        for name in sorted(filter(_SNAPSHOT.fullmatch, self._files.list())):
            if name != _snapshot_name(self._ref.number):
                self._files.unlink(name)
        self._has_old_snapshots = False

    def _write_durably(self, name: str, *parts: bytes) -> OpenFile:
        """Puts a file with these contents in the place of `name`, or leaves all as it was; returns it open."""
        temporary = f"{name}.tmp"
        file = self._files.create(temporary)
        try:
            file.write(0, *parts)
            file.fsync()
            self._files.rename(temporary, name)
            self._files.fsync_directory()
        except BaseException:
            file.close()
            raise
        return file


def _snapshot_name(number: int) -> str:
    return f"snapshot-{number}"
