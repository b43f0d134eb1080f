"""What a `DiskPersister` asks of one directory of a file system, so that a test can put another in its place.

`RealFiles` is the real one, on POSIX: a file's contents are durable after its `fsync`, its name after
`fsync_directory`, and `rename` replaces a file in one step.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Protocol

from labrpc.errors import UsageError

__all__ = ["Files", "OpenFile", "RealFiles"]


class OpenFile(Protocol):
    """A file open for writing. Renaming it does not disturb it."""

    def write(self, offset: int, *parts: bytes) -> None:
        """Writes all of `parts`, one after the other, from `offset` on. Raises: OSError; part may be written."""

    def fsync(self) -> None:
        """Makes the contents durable. Raises: OSError; then which of the writes are durable is unknown, for good."""

    def close(self) -> None:
        """Gives the handle back; makes nothing durable."""


class Files(Protocol):
    """One directory. All but `lock` raise OSError only."""

    def path(self, name: str) -> str:
        """How an error text names the file."""

    def lock(self, name: str) -> None:
        """Takes the directory for this object, by a lock on file `name`, until `close` or the end of the process.

        Raises:
            UsageError: another one has it.
        """

    def list(self) -> list[str]:
        """The names of all files."""

    def read(self, name: str) -> bytes:
        """A file's whole contents."""

    def create(self, name: str) -> OpenFile:
        """A new empty file, or an old one emptied."""

    def rename(self, old: str, new: str) -> None:
        """Gives `old` the name `new`, in one step; a file that had it is gone."""

    def unlink(self, name: str) -> None:
        """Removes a file; one that is not there is no error."""

    def fsync_directory(self) -> None:
        """Makes all creations, renames and removals so far durable."""

    def close(self) -> None:
        """Gives the lock back."""


class RealFiles:
    """The directory at `directory`, created if need be.

    Raises:
        OSError: it cannot be created or opened.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = Path(directory).absolute()
        _make_directory(self._directory)
        self._handle = os.open(self._directory, os.O_RDONLY)
        self._lock: int | None = None

    def path(self, name: str) -> str:
        return str(self._directory / name)

    def lock(self, name: str) -> None:
        import fcntl  # here, so that the rest of the package can be imported where there is none

        handle = os.open(self.path(name), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(handle)
            raise UsageError(
                f"{self._directory} is in use by process {holder}: "
                f"a directory has one DiskPersister at a time; close that one first"
            ) from None
        except BaseException:
            os.close(handle)
            raise
        self._lock = handle
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())

    def list(self) -> list[str]:
        return os.listdir(self._directory)

    def read(self, name: str) -> bytes:
        return (self._directory / name).read_bytes()

    def create(self, name: str) -> RealFile:
        return RealFile(os.open(self.path(name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))

    def rename(self, old: str, new: str) -> None:
        os.rename(self.path(old), self.path(new))

    def unlink(self, name: str) -> None:
        (self._directory / name).unlink(missing_ok=True)

    def fsync_directory(self) -> None:
        _fsync(self._handle)

    def close(self) -> None:
        if self._lock is not None:  # the file stays: else two processes could lock two files of one name
            os.close(self._lock)
            self._lock = None
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


class RealFile:
    """A file of `RealFiles`, by its descriptor."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def write(self, offset: int, *parts: bytes) -> None:
        os.lseek(self._handle, offset, os.SEEK_SET)
        left = [memoryview(part) for part in parts if part]
        while left:  # the system may take less than it is given
            written = os.writev(self._handle, left)
            while left and written >= len(left[0]):
                written -= len(left.pop(0))
            if left:
                left[0] = left[0][written:]

    def fsync(self) -> None:
        _fsync(self._handle)

    def close(self) -> None:
        os.close(self._handle)


def _fsync(handle: int) -> None:
    if sys.platform == "darwin":  # there, fsync leaves the data in the drive's cache
        import fcntl

        fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
    else:
        os.fsync(handle)


def _make_directory(directory: Path) -> None:
    """Creates `directory` and what is missing above it; their names are durable on return."""
    if not directory.parent.is_dir():
        _make_directory(directory.parent)
    is_new = not directory.is_dir()
    if is_new:
        directory.mkdir(mode=0o700, exist_ok=True)
    try:  # also if it was there: whoever made it may have crashed before this
        parent = os.open(directory.parent, os.O_RDONLY)
    except PermissionError:
        if is_new:
            raise
        return
    try:
        _fsync(parent)
    finally:
        os.close(parent)
