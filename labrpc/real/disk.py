"""The disk of a server that is a process: a `DiskPersister` whose every save the judge is told of.

    in the server   save --> judge: Save(n) --> DiskPersister --> judge: Saved(n) --> save returns
    in the judge    Save, Saved --> claims, a MemoryPersister;   a crash --> recovered(folder, claims' survivors)

The judge knows of a save before the disk does, and that it is durable before the server does. So whatever a kill
leaves on the disk must be the state of a save that the judge knows of, at or after the last that was durable.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from labrpc import context, frames
from labrpc.disk_persister import DiskPersister
from labrpc.disk_store import DiskStore
from labrpc.errors import HarnessError, UsageError
from labrpc.files import RealFiles
from labrpc.persister import Contents, LatestContents, check_save
from labrpc.threaded_save import ThreadedSave
from labrpc.wal import DiskCorruption

if TYPE_CHECKING:
    from labrpc.real.host import RealHost

__all__ = ["LostSave", "MirroredDisk", "MirroredSave", "advice", "recovered"]


_MOST_KEPT = 64 << 20


class LostSave(HarnessError):
    """What a server had reported durable is not on its disk: `DiskPersister` or the file system is to blame.

    Attributes:
        files: file name -> content, of what was on the disk; empty if that was more than 64 MiB.
    """

    def __init__(self, text: str, files: dict[str, bytes]) -> None:
        super().__init__(text)
        self.files = files


def advice(error: Exception) -> str:
    """`error` of a file system, with what to do."""
    return f"{error}; set TMPDIR to a folder on a file system that has room and may be written to"


class MirroredDisk(LatestContents):
    """See `labrpc.Persister`. Once a save has failed no save ever returns: the server stands still, the run is over.

    Args:
        folder: the server's own.
        host: it tells the judge; once its `emit` has returned, the judge will have the effect whatever happens.
    """

    def __init__(self, folder: str, host: RealHost) -> None:
        self._host = host
        self._mu = threading.Lock()
        self._count = 0
        self._disk = DiskPersister(folder, on_failure=self._on_failure)
        self._latest = Contents(self._disk.read_raft_state(), self._disk.read_snapshot())

    def save(self, raft_state: bytes, snapshot: bytes | None = None) -> None:
        self.save_async(raft_state, snapshot).result()

    def save_async(self, raft_state: bytes, snapshot: bytes | None = None) -> MirroredSave:
        check_save(raft_state, snapshot)
        with self._mu:  # the judge hears of saves in the order in which the disk gets them
            self._count += 1
            number, save = self._count, MirroredSave(self)
            self._hand_over(raft_state, snapshot)
            self._host.emit(frames.Save(self._host.instant(), number, raft_state, snapshot))
            try:
                self._disk.save_async(raft_state, snapshot).add_done_callback(lambda _: self._on_saved(number, save))
            except OSError:
                pass  # an earlier save failed, and this one will not be durable either
        return save

    def _on_saved(self, number: int, save: MirroredSave) -> None:
        if self.is_calling_back():
            context.enter(self._host)  # for the callbacks of the code under test
        self._host.emit(frames.Saved(self._host.instant(), number))
        save.finish()

    def is_calling_back(self) -> bool:
        """Whether the caller runs in a callback of a save, so that it may wait for none."""
        return self._disk.is_calling_back()

    def _on_failure(self, error: OSError) -> None:
        self._host.report("disk", f"its disk failed: {advice(error)}")


class MirroredSave(ThreadedSave):
    """The `SaveFuture` of a `MirroredDisk`: it is done once the judge has been told."""

    def __init__(self, disk: MirroredDisk) -> None:
        super().__init__()
        self._disk = disk

    def _wait(self, timeout: float | None) -> bool:
        if not self.done() and self._disk.is_calling_back():
            raise UsageError("a callback that waits for a pending save would wait for itself; add a callback to it")
        return super()._wait(timeout)


def recovered(folder: Path, survivors: Sequence[Contents], title: str) -> Contents:
    """What a restart finds in `folder`, by the recovery that the server itself would use.

    Args:
        survivors: what the last save that it reported durable left, and each that it handed over after that.
        title: `server 2`, for the error.

    Raises:
        LostSave: that is not what one of these saves left, or is older than one that was durable.
        HarnessError: of the file system.
    """
    try:
        files = _read_all(folder)  # to open it cuts off what a kill has torn
        store = DiskStore(RealFiles(folder))
        store.close()
    except (DiskCorruption, UsageError) as error:  # UsageError: even what says that it is a disk of ours is damaged
        raise LostSave(f"{title} lost a save that it had reported durable: {error}", files) from None
    except OSError as error:
        raise HarnessError(f"the disk of {title} cannot be opened: {advice(error)}") from None
    found = Contents(store.raft_state, store.snapshot)
    if found not in survivors:
        raise LostSave(
            f"{title} lost a save that it had reported durable: a restart finds {len(found.raft_state)} "
            f"bytes of raft state and {len(found.snapshot)} of snapshot in {folder}, and neither the last durable save "
            f"nor any of the {len(survivors) - 1} handed over after it left these",
            files,
        )
    return found


def _read_all(folder: Path) -> dict[str, bytes]:
    files = [file for file in sorted(folder.iterdir()) if file.is_file()] if folder.is_dir() else []
    if sum(file.stat().st_size for file in files) > _MOST_KEPT:
        return {}
    return {file.name: file.read_bytes() for file in files}
