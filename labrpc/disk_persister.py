"""A `Persister` on a real disk: what it acknowledged survives kill -9, a power failure and a full disk.

    save(…) ─┐                              ┌─> snapshot file, if there is a new one: write, fsync, rename
    save(…) ─┼─> pending ──> writer thread ─┤
    save(…) ─┘   the newest state of all    └─> log: one record, one fsync ──> all of them are durable, in order

Saves that come while the disk is busy are committed together: the newest raft state and the newest snapshot among them
are written, for the states in between would be overwritten at once. A crash then keeps all of them or none, and all
before them: a prefix. `labrpc.disk_store` is the directory, `labrpc.wal` the log's format and the limits of what it can
tell.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from labrpc.disk_store import LOG_LIMIT, DiskStore
from labrpc.errors import UsageError
from labrpc.files import Files, RealFiles
from labrpc.persister import Contents, LatestContents, check_save

__all__ = ["DiskPersister", "DiskSave"]


class DiskSave:
    """The `SaveFuture` of a `DiskPersister`. A save that failed is never done, and nobody is called back for it."""

    def __init__(self, persister: DiskPersister) -> None:
        self._persister = persister
        self._durable = False
        self._failed = False
        self._callbacks: list[Callable[[Any], object]] = []

    def done(self) -> bool:
        """Whether the save is durable."""
        return self._durable

    def result(self, timeout: float | None = None) -> None:
        """Waits until the save is durable.

        Raises:
            OSError: it did not become durable; whether it did in part is found out at the next opening.
            TimeoutError: `timeout` seconds went by first.
            UsageError: a callback waits for a save that can only come after it.
        """
        self._persister._wait(self, timeout)

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        """Calls `callback(future)` once the save is durable; at once if it is, else on the writer thread, in order.

        A callback must not wait for another save; it may hand one over. An exception in it goes to
        `threading.excepthook`.
        """
        with self._persister._mu:
            if not self._durable:
                self._callbacks.append(callback)
                return
        callback(self)


class DiskPersister(LatestContents):
    """A `Persister` in a directory of its own; any thread may call it. Close it, or use it in a `with` statement.

    A save is acknowledged when `save` returns, or when the future of `save_async` is done. What was acknowledged is
    found at the next opening, whatever happens to the process, the machine or its power; so may be what was handed
    over later, up to some save. If the disk damages it, opening refuses (`labrpc.wal` has the one exception). An end of
    the program without `close` is a crash.

    Once a save has failed (a full disk, a bad one), its caller and those of all later saves get an OSError, and nothing
    more is accepted: after a failed fsync nobody knows what the disk holds. All that was acknowledged is still there;
    close the persister and open the directory anew.

    Args:
        directory: created if need be; an empty one is a fresh start.
        log_limit: bytes of log after which a new one is begun.
        on_failure: called once, with the error, on the writer thread, if a save fails. A server does best to stop then.
        files: what to use in place of the directory (for tests of this class).

    Raises:
        UsageError: another process has the directory open, it holds something else or another version of the format,
            or an argument is bad.
        DiskCorruption: what was durable is damaged or gone; the text says where and what to do. Nothing was changed.
        OSError: of the file system.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        log_limit: int = LOG_LIMIT,
        on_failure: Callable[[OSError], object] | None = None,
        files: Files | None = None,
    ) -> None:
        if log_limit < 1:
            raise UsageError(f"log_limit must be at least 1 byte, not {log_limit}")
        self._directory = os.fspath(directory)
        self._on_failure = on_failure
        self._store = DiskStore(RealFiles(directory) if files is None else files, log_limit=log_limit)
        self.dropped = self._store.dropped
        """Bytes of a record cut short by a crash that opening dropped; they were promised to nobody."""

        self._mu = threading.Lock()
        # There is something to do for the writer.
        self._work = threading.Condition(self._mu)
        # A save has become durable or has failed.
        self._progress = threading.Condition(self._mu)
        # The contents last handed over; durable once _pending and _writing are empty.
        self._latest = Contents(self._store.raft_state, self._store.snapshot)
        self._store.raft_state = self._store.snapshot = b""  # they may be large, and one copy is enough
        # Whether the snapshot in it is still to be written.
        self._snapshot_is_new = False
        # Saves handed over, in order: those that the writer has not taken, and those that it is committing.
        self._pending: list[DiskSave] = []
        self._writing: list[DiskSave] = []
        self._closed = False
        # Why nothing more can be saved. Never unset.
        self._failure: BaseException | None = None
        self._writer = threading.Thread(target=self._write, name=f"DiskPersister {self._directory}", daemon=True)
        self._writer.start()

    def save(self, raft_state: bytes, snapshot: bytes | None = None) -> None:
        """Makes both durable, together, and all earlier saves, before it returns. `snapshot` None keeps the old one.

        Raises:
            OSError: it did not become durable, or an earlier save did not; from then on no save is accepted.
            UsageError: an argument is not bytes, the persister is closed, or a callback calls this.
        """
        if self.is_calling_back():
            raise UsageError("save() in a callback would wait for itself; use save_async()")
        self.save_async(raft_state, snapshot).result()

    def save_async(self, raft_state: bytes, snapshot: bytes | None = None) -> DiskSave:
        """Hands both to the disk and returns; they are durable, together, once the future is done.

        Raises:
            OSError: an earlier save failed; nothing is accepted until the directory is opened anew.
            UsageError: an argument is not bytes, or the persister is closed.
        """
        check_save(raft_state, snapshot)
        save = DiskSave(self)
        with self._mu:
            if self._failure is not None:
                raise self._error("no save is accepted since an earlier one failed")
            if self._closed:
                raise UsageError(f"the DiskPersister of {self._directory} is closed; open the directory anew")
            if snapshot is not None:
                self._snapshot_is_new = True
            self._hand_over(raft_state, snapshot)
            self._pending.append(save)
            self._work.notify()
        return save

    def close(self) -> None:
        """Makes all saves handed over durable and gives the directory back. Closing twice is fine.

        Raises:
            OSError: a save failed, now or before; the directory is given back all the same.
            UsageError: a callback calls this.
        """
        if self.is_calling_back():
            raise UsageError("close() in a callback would wait for itself; call it on another thread")
        with self._mu:
            was_closed, self._closed = self._closed, True
            self._work.notify()
        self._writer.join()
        if self._failure is not None and not was_closed:
            raise self._error("not all that was handed over is sure to be durable")

    def __enter__(self) -> DiskPersister:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.close()
        except OSError:
            if kind is None:  # else the error that is under way says more
                raise

    def is_calling_back(self) -> bool:
        """Whether the caller is a callback of a save that has just become durable, and so may wait for none."""
        return threading.current_thread() is self._writer

    # -------------------------------------------------------------- waiting

    def _wait(self, save: DiskSave, timeout: float | None) -> None:
        with self._mu:
            if not (save._durable or save._failed) and self.is_calling_back():
                raise UsageError("result() of a pending save in a callback would wait for itself; add a callback to it")
            if not self._progress.wait_for(lambda: save._durable or save._failed, timeout):
                raise TimeoutError(f"the save did not complete within {timeout} s")
            if save._failed:
                raise self._error("the save did not become durable")

    def _error(self, what: str) -> OSError:
        """A fresh error, since many threads may raise one."""
        cause = self._failure
        number = cause.errno if isinstance(cause, OSError) and cause.errno else errno.EIO
        text = f"{what} ({type(cause).__name__}: {cause}); close this DiskPersister and open the directory anew"
        error = OSError(number, text, self._directory)
        error.__cause__ = cause
        return error

    # -------------------------------------------------------------- the writer thread

    def _write(self) -> None:
        try:
            while (batch := self._take()) is not None:
                self._store.commit(*batch)
                self._acknowledge()
                self._store.settle()
        except BaseException as error:  # whatever it was, nobody may wait for ever
            self._fail(error)
        try:
            self._store.close()
        except BaseException as error:
            self._fail(error)

    def _take(self) -> tuple[bytes, bytes | None] | None:
        """Waits for saves and takes all there are; returns what to commit for them. None: there will be no more."""
        with self._mu:
            self._work.wait_for(lambda: self._pending or self._closed)
            if not self._pending:
                return None
            self._writing, self._pending = self._pending, []
            snapshot = self._latest.snapshot if self._snapshot_is_new else None
            self._snapshot_is_new = False
            return self._latest.raft_state, snapshot

    def _acknowledge(self) -> None:
        with self._mu:
            saves, self._writing = self._writing, []
            for save in saves:
                save._durable = True
            calls = [(callback, save) for save in saves for callback in save._callbacks]
            self._progress.notify_all()
        for callback, save in calls:
            self._call(callback, save)

    def _fail(self, error: BaseException) -> None:
        with self._mu:
            if self._failure is not None:
                return
            self._failure = error
            for save in self._writing + self._pending:
                save._failed = True
            self._writing, self._pending = [], []
            self._progress.notify_all()
            told = self._error("saving failed")
        if self._on_failure is not None:
            self._call(self._on_failure, told)

    def _call(self, callback: Callable[[Any], object], argument: object) -> None:
        """An exception in somebody else's code must not end the writer."""
        try:
            callback(argument)
        except BaseException:
            threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), self._writer)))
