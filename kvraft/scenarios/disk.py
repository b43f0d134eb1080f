"""A node's directory on a disk that is slow, or full."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

from labrpc.files import OpenFile, RealFiles

__all__ = ["BadDisk", "FaultyFiles"]


class BadDisk:
    """What is wrong with a disk; one thread sets it, any may ask.

    Attributes:
        delay: seconds that each fsync takes, beside its own.
        is_full: nothing can be written any more.
    """

    def __init__(self) -> None:
        self.delay = 0.0
        self.is_full = False


class FaultyFiles(RealFiles):
    """The directory at `directory`, on `disk`."""

    def __init__(self, directory: str | os.PathLike[str], disk: BadDisk) -> None:
        super().__init__(directory)
        self._disk = disk

    def create(self, name: str) -> FaultyFile:  # type: ignore[override]
        _check(self._disk, name)
        return FaultyFile(super().create(name), name, self._disk)

    def fsync_directory(self) -> None:
        time.sleep(self._disk.delay)
        super().fsync_directory()


class FaultyFile:
    """A file of `FaultyFiles`."""

    def __init__(self, file: OpenFile, name: str, disk: BadDisk) -> None:
        self._file, self._name, self._disk = file, name, disk

    def write(self, offset: int, *parts: bytes) -> None:
        _check(self._disk, self._name)
        self._file.write(offset, *parts)

    def fsync(self) -> None:
        time.sleep(self._disk.delay)
        self._file.fsync()

    def close(self) -> None:
        self._file.close()


def _check(disk: BadDisk, name: str) -> None:
    if disk.is_full:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(Path(name)))
