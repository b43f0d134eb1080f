"""A simulated disk: what programs see, what is durable, and everything that a power failure may leave of the rest.

    disk = FaultyDisk()                     write ──> seen by all ──fsync──────────> durable contents
    store = DiskStore(disk.files())         create, rename, unlink ──fsync_directory──> durable names
    disk.moments                            the disk before every single operation
    survivors(moment)                       what a power failure at that moment may leave: an `Image` each

It is crueller than most disks. Of the writes since the last fsync any prefix survives, to the byte, but also any single
512-byte sector without the others, zeros, or junk; of large writes the first and the last sectors stand for all. Of the
creations, renames and removals since the last fsync_directory any subset survives, whatever became of the contents.
An fsync that fails loses the writes for good though they are still seen; the next fsync succeeds.

A crash in the middle of an operation needs no moment of its own: until an fsync has returned, all is as before it, and
what half a write leaves is among what the whole one may leave.
"""

from __future__ import annotations

import errno
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from labrpc.disk_store import DiskStore
from labrpc.errors import UsageError

SECTOR = 512

Image = dict[str, bytes]
"""File names and contents: what is on a disk after a power failure."""


class Crashed(BaseException):
    """The power is off: the program gets no further."""


class Contents(NamedTuple):
    """One file. `seen` is `durable` with `writes`, (offset, bytes) each, and with those that a failed fsync lost."""

    durable: bytes = b""
    seen: bytes = b""
    writes: tuple[tuple[int, bytes], ...] = ()


class Change(NamedTuple):
    """What one operation does to the directory; file numbers stand for files."""

    removed: str | None
    added: tuple[str, int] | None

    def apply(self, names: dict[str, int]) -> None:
        if self.removed is not None:
            names.pop(self.removed, None)
        if self.added is not None:
            names[self.added[0]] = self.added[1]


class Moment(NamedTuple):
    """A disk between two operations: `before` says which is next; `note` is what the test's own `note()` returned."""

    before: str
    files: dict[int, Contents]
    names: dict[str, int]
    durable_names: dict[str, int]
    changes: tuple[Change, ...]
    note: Any


class FaultyDisk:
    """A disk with one directory. What is in `image` is durable.

    Args:
        room: bytes that can still be written until ENOSPC; the write that hits it writes what fits.
        bad_fsyncs: which of the fsyncs, files' and directory's counted together from 0, fail with EIO.
        note: called at every moment.
    """

    def __init__(
        self,
        image: Image | None = None,
        *,
        room: int | None = None,
        bad_fsyncs: frozenset[int] | set[int] = frozenset(),
        note: Callable[[], Any] = lambda: None,
    ) -> None:
        self.contents = {n: Contents(data, data) for n, data in enumerate((image or {}).values())}
        self.names = {name: n for n, name in enumerate(image or {})}
        self.durable_names = dict(self.names)
        self.changes: tuple[Change, ...] = ()
        self.room = room
        self.bad_fsyncs = bad_fsyncs
        self.fsyncs = 0
        self.written = 0
        self.note = note
        self.moments: list[Moment] = []
        self.holder: FaultyFiles | None = None
        self.crashed = False
        self._mu = threading.Lock()
        self._gate = threading.Event()
        self._gate.set()
        self._first_held = ""
        self._arrived = threading.Event()

    @classmethod
    def at(cls, moment: Moment) -> FaultyDisk:
        """The disk as it goes on after the program was killed at `moment`, with the power on."""
        disk = cls()
        disk.contents, disk.names = dict(moment.files), dict(moment.names)
        disk.durable_names, disk.changes = dict(moment.durable_names), moment.changes
        return disk

    def files(self) -> FaultyFiles:
        """The directory as one program opens it."""
        return FaultyFiles(self)

    def now(self, before: str = "the end") -> Moment:
        return Moment(
            before, dict(self.contents), dict(self.names), dict(self.durable_names), self.changes, self.note()
        )

    def image(self) -> Image:
        """What programs see."""
        return {name: self.contents[n].seen for name, n in self.names.items()}

    def crash(self) -> Moment:
        """No operation happens any more."""
        with self._mu:
            self.crashed = True
            return self.now("the crash")

    @contextmanager
    def held(self, first: str = "") -> Iterator[None]:
        """While inside, the next operation whose name begins with `first` waits, and so all that come after it."""
        self._arrived.clear()
        self._first_held = first
        self._gate.clear()
        try:
            yield
        finally:
            self._gate.set()

    def wait_for_arrival(self) -> None:
        """Inside `held`: returns once an operation waits."""
        assert self._arrived.wait(60)

    @contextmanager
    def operation(self, what: str) -> Iterator[None]:
        if not self._gate.is_set() and what.startswith(self._first_held):
            self._arrived.set()
            self._gate.wait()
        with self._mu:
            if self.crashed:
                raise Crashed(what)
            self.moments.append(self.now(what))
            yield

    def count_fsync(self) -> None:
        """Raises if this fsync is one that fails."""
        self.fsyncs += 1
        if self.fsyncs - 1 in self.bad_fsyncs:
            raise OSError(errno.EIO, "simulated: Input/output error")


class FaultyFiles:
    """The `labrpc.files.Files` of a `FaultyDisk`."""

    def __init__(self, disk: FaultyDisk) -> None:
        self._disk = disk

    def path(self, name: str) -> str:
        return f"disk/{name}"

    def lock(self, name: str) -> None:
        with self._disk.operation("lock"):
            if self._disk.holder is not None:
                raise UsageError("disk is in use")
            self._disk.holder = self
            if name not in self._disk.names:
                self._add(name)

    def list(self) -> list[str]:
        return list(self._disk.names)

    def read(self, name: str) -> bytes:
        if name not in self._disk.names:
            raise FileNotFoundError(errno.ENOENT, "simulated: No such file", name)
        return self._disk.contents[self._disk.names[name]].seen

    def create(self, name: str) -> FaultyFile:
        """An old file is not emptied but replaced: after a crash it may be back whole, which is worse."""
        with self._disk.operation(f"create {name}"):
            return FaultyFile(self._disk, self._add(name), name)

    def rename(self, old: str, new: str) -> None:
        with self._disk.operation(f"rename {old}"):
            self._change(Change(old, (new, self._disk.names[old])))

    def unlink(self, name: str) -> None:
        with self._disk.operation(f"unlink {name}"):
            if name in self._disk.names:
                self._change(Change(name, None))

    def fsync_directory(self) -> None:
        with self._disk.operation("fsync directory"):
            changes, self._disk.changes = self._disk.changes, ()
            self._disk.count_fsync()
            for change in changes:
                change.apply(self._disk.durable_names)

    def close(self) -> None:
        if self._disk.holder is self:
            self._disk.holder = None

    def _add(self, name: str) -> int:
        number = len(self._disk.contents)
        self._disk.contents[number] = Contents()
        self._change(Change(None, (name, number)))
        return number

    def _change(self, change: Change) -> None:
        change.apply(self._disk.names)
        self._disk.changes += (change,)


class FaultyFile:
    """The `labrpc.files.OpenFile` of a `FaultyDisk`."""

    def __init__(self, disk: FaultyDisk, number: int, name: str) -> None:
        self._disk = disk
        self._number = number
        self._name = name

    def write(self, offset: int, *parts: bytes) -> None:
        disk, data = self._disk, b"".join(parts)
        with disk.operation(f"write {self._name}"):
            fits = data if disk.room is None else data[: disk.room]
            old = disk.contents[self._number]
            disk.contents[self._number] = old._replace(
                seen=_overwrite(old.seen, offset, fits), writes=old.writes + ((offset, fits),) * bool(fits)
            )
            disk.written += len(fits)
            if disk.room is not None:
                disk.room -= len(fits)
            if len(fits) < len(data):
                raise OSError(errno.ENOSPC, "simulated: No space left on device", self._name)

    def fsync(self) -> None:
        with self._disk.operation(f"fsync {self._name}"):
            durable, seen, writes = self._disk.contents[self._number]
            self._disk.contents[self._number] = Contents(durable, seen)
            self._disk.count_fsync()
            for offset, data in writes:
                durable = _overwrite(durable, offset, data)
            self._disk.contents[self._number] = Contents(durable, seen)

    def close(self) -> None:
        pass


# ------------------------------------------------------------------ what survives


def survivors(moment: Moment) -> Iterator[tuple[str, Image]]:
    """What a power failure at `moment` may leave, each once, with a word on what was lost."""
    told: set[frozenset[tuple[str, bytes]]] = set()
    versions = {n: dict(_versions(contents)) for n, contents in moment.files.items()}
    for lost, names in _directories(moment):
        unsure = [n for n in dict.fromkeys(names.values()) if len(versions[n]) > 1]
        # All kept, all lost; then each file in all its versions, with the others lost and with the others kept.
        choices: list[tuple[int | None, str, str]] = [(None, "kept", "kept"), (None, "lost", "lost")]
        choices += [(n, version, rest) for n in unsure for version in versions[n] for rest in ("lost", "kept")]
        for file, version, rest in choices:
            image = {name: versions[n][version if n == file else rest] for name, n in names.items()}
            if (key := frozenset(image.items())) not in told:
                told.add(key)
                yield f"before {moment.before}: names {lost}, contents {version}, others {rest}", image


def _directories(moment: Moment) -> Iterator[tuple[str, dict[str, int]]]:
    """All subsets of the changes if they are few; else prefixes, each alone, and all but each."""
    numbers = range(len(moment.changes))
    kept: list[tuple[int, ...]]
    if len(numbers) <= 4:
        kept = [subset for size in range(len(numbers) + 1) for subset in itertools.combinations(numbers, size)]
    else:
        kept = [tuple(numbers[:size]) for size in range(len(numbers) + 1)]
        kept += [(n,) for n in numbers] + [tuple(m for m in numbers if m != n) for n in numbers]
    for subset in dict.fromkeys(kept):
        names = dict(moment.durable_names)
        for n in subset:
            moment.changes[n].apply(names)
        yield f"{list(subset)} of {len(numbers)} changes", names


def _versions(contents: Contents) -> Iterator[tuple[str, bytes]]:
    """What may become of a file, "lost" and "kept" among it."""
    yield "lost", contents.durable
    if not contents.writes:
        yield "kept", contents.durable
        return
    pieces = [piece for offset, data in contents.writes for piece in _sectors(offset, data)]
    yield "kept", _with(contents, pieces)
    length = max(offset + len(data) for offset, data in pieces)
    yield "zeros", contents.durable + bytes(max(0, length - len(contents.durable)))
    few = sorted({*range(min(4, len(pieces))), *range(max(0, len(pieces) - 3), len(pieces))})
    for n in few:
        offset, data = pieces[n]
        yield f"first {n} sectors", _with(contents, pieces[:n])
        for cut in {1, len(data) // 2, len(data) - 1}:
            yield f"first {n} sectors and {cut} bytes", _with(contents, [*pieces[:n], (offset, data[:cut])])
        yield f"all but sector {n}", _with(contents, pieces[:n] + pieces[n + 1 :])
        yield f"sector {n} alone", _with(contents, [pieces[n]])
        junk = (offset, bytes(byte ^ 0x5A for byte in data))
        yield f"junk in sector {n}", _with(contents, [*pieces[:n], junk, *pieces[n + 1 :]])


def _sectors(offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    """A write as the disk does it, in pieces that no sector's end divides."""
    while data:
        size = SECTOR - offset % SECTOR
        yield offset, data[:size]
        offset, data = offset + size, data[size:]


def _with(contents: Contents, pieces: list[tuple[int, bytes]]) -> bytes:
    data = contents.durable
    for offset, piece in pieces:
        data = _overwrite(data, offset, piece)
    return data


def _overwrite(old: bytes, offset: int, data: bytes) -> bytes:
    return old[:offset].ljust(offset, b"\0") + data + old[offset + len(data) :]


# ------------------------------------------------------------------ what is found


def reopened(disk: FaultyDisk | Image) -> tuple[bytes, bytes]:
    """What the next process finds. Raises what `DiskStore` does."""
    store = DiskStore((FaultyDisk(disk) if isinstance(disk, dict) else disk).files())
    found = store.raft_state, store.snapshot
    store.close()
    return found
