"""What is inside a folder or an archive, as untrusted data: listed, and read, with limits on all that it may take.

    FolderSource, ZipSource, TarSource:  members() -> Member(path, kind) …    read(paths) -> {path: content}

Nothing is unpacked: contents are read into memory, up to a limit, whatever sizes the headers claim. Paths are as they
are written there; `tester.grade.intake` says which are taken.
"""

from __future__ import annotations

import bz2
import io
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

from tester.grade.names import MOST_DEPTH, PACKAGES

__all__ = [
    "ARCHIVES", "MOST_FILE", "FolderSource", "Kind", "Member", "Refused", "Source", "TarSource", "ZipSource",
    "archive_source", "is_archive",
]  # fmt: skip

MOST_FILE = 512 << 10
"""Bytes of one file that is taken."""
MOST_MEMBERS = 50_000
MOST_ARCHIVE = 256 << 20
"""Bytes of an archive."""
MOST_UNPACKED = 1 << 30
"""Bytes of all that a tar holds: it can only be read from its beginning on."""
MOST_RATIO = 200
"""How many times its own size an archive may unpack to, past the first `_FREE` bytes."""
_FREE = 16 << 20
_LZMA_MEMORY = 128 << 20
_MOST_PAST_ITS_END = 100

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tbz")
"""What archives that can be read are called."""


class Refused(Exception):
    """The submission cannot be taken; the text says why, to its student."""


class Kind(Enum):
    FILE = "a file"
    FOLDER = "a folder"
    LINK = "a link"
    OTHER = "a device or the like"


@dataclass(frozen=True)
class Member:
    """One entry, with its path as it is written."""

    path: str
    kind: Kind


class Source(Protocol):
    """Somewhere that a submission is in."""

    def members(self) -> Iterator[Member]:
        """All that is there.

        Raises:
            Refused: it is damaged, encrypted, or larger than it may be.
        """
        ...

    def read(self, paths: Collection[str]) -> dict[str, bytes]:
        """The contents of the files with these paths, each up to `MOST_FILE` + 1 bytes.

        Raises:
            Refused: one cannot be read.
        """
        ...


# ------------------------------------------------------------------ folders


class FolderSource:
    """A folder: its entries, and all of the packages in it and in its folders."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def members(self) -> Iterator[Member]:
        for entry in _entries(self._folder):
            yield Member(entry.name, _kind(entry))
            if _kind(entry) is not Kind.FOLDER:
                continue
            if _is_package(entry.name):
                yield from self._below(entry.name, 1)
            elif not entry.name.startswith("."):
                for inner in _entries(Path(entry.path)):
                    if _is_package(inner.name):
                        yield Member(f"{entry.name}/{inner.name}", _kind(inner))
                        if _kind(inner) is Kind.FOLDER:
                            yield from self._below(f"{entry.name}/{inner.name}", 1)

    def _below(self, path: str, depth: int) -> Iterator[Member]:
        for entry in _entries(self._folder / path):
            kind = _kind(entry)
            yield Member(f"{path}/{entry.name}", kind)
            if kind is Kind.FOLDER:
                if depth > MOST_DEPTH:
                    raise Refused(f"{path} has folders more than {MOST_DEPTH} deep")
                yield from self._below(f"{path}/{entry.name}", depth + 1)

    def read(self, paths: Collection[str]) -> dict[str, bytes]:
        return {path: self._content(path) for path in paths}

    def _content(self, path: str) -> bytes:
        try:
            descriptor = os.open(self._folder / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with open(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise Refused(f"{path} is not a file")
                return file.read(MOST_FILE + 1)
        except OSError as error:
            raise Refused(f"{path} cannot be read: {error.strerror or error}") from None


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    found: list[os.DirEntry[str]] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                found.append(entry)
                if len(found) > MOST_MEMBERS:
                    raise Refused(f"{folder.name}/ has more than {MOST_MEMBERS} entries")
    except OSError as error:
        raise Refused(f"{folder.name}/ cannot be read: {error.strerror or error}") from None
    return sorted(found, key=lambda entry: os.fsencode(entry.name))


def _kind(entry: os.DirEntry[str]) -> Kind:
    if entry.is_symlink():
        return Kind.LINK
    if entry.is_dir(follow_symlinks=False):
        return Kind.FOLDER
    return Kind.FILE if entry.is_file(follow_symlinks=False) else Kind.OTHER


def _is_package(name: str) -> bool:
    return name.casefold() in PACKAGES


# ------------------------------------------------------------------ archives


def is_archive(path: Path) -> bool:
    """Whether a file is called, or begins, as an archive does."""
    return path.name.lower().endswith(ARCHIVES) or _kind_of_archive(path) is not None


def archive_source(path: Path) -> ZipSource | TarSource:
    """What can read the archive in `path`, by how it begins, whatever it is called.

    Raises:
        Refused: nothing can, or it is too large.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise Refused(f"it cannot be read: {error.strerror or error}") from None
    if size > MOST_ARCHIVE:
        raise Refused(f"the archive has {size >> 20} MiB; {MOST_ARCHIVE >> 20} are the most")
    kind = _kind_of_archive(path)
    if kind is None:
        raise Refused("it is no zip, tar, tar.gz, tar.xz or tar.bz2, or it is damaged")
    return ZipSource(path) if kind == "zip" else TarSource(path, kind)


def _kind_of_archive(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError:
        return None
    for start, kind in (
        (b"PK\3\4", "zip"),
        (b"PK\5\6", "zip"),
        (b"\x1f\x8b", "gz"),
        (b"\xfd7zXZ\0", "xz"),
        (b"BZh", "bz2"),
    ):
        if head.startswith(start):
            return kind
    return "tar" if head[257:262] == b"ustar" else None


class ZipSource:
    """A zip archive."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def members(self) -> Iterator[Member]:
        with self._open() as archive:
            for info in archive.infolist():
                if info.flag_bits & 1:
                    raise Refused("the zip is encrypted; hand it in without a password")
                if "\0" in info.orig_filename:  # zipfile forgets what is behind it
                    raise Refused(f"{info.orig_filename!a} is no file name")
                yield Member(info.filename, _kind_in_zip(info))

    def read(self, paths: Collection[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        with self._open() as archive:
            for info in archive.infolist():
                if info.filename in paths:
                    with _refused_if_damaged("the zip"), archive.open(info) as file:
                        found[info.filename] = file.read(MOST_FILE + 1)
        return found

    def _open(self) -> zipfile.ZipFile:
        with _refused_if_damaged("the zip"):
            archive = zipfile.ZipFile(self._path)
        if len(archive.infolist()) > MOST_MEMBERS:
            archive.close()
            raise Refused(f"the archive has more than {MOST_MEMBERS} members")
        return archive


def _kind_in_zip(info: zipfile.ZipInfo) -> Kind:
    mode = info.external_attr >> 16 if info.create_system == 3 else 0
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFLNK:
        return Kind.LINK
    if info.is_dir() or kind == stat.S_IFDIR:
        return Kind.FOLDER
    return Kind.FILE if kind in (0, stat.S_IFREG) else Kind.OTHER


class TarSource:
    """A tar archive, `kind` one of tar, gz, xz, bz2; read from its beginning on."""

    def __init__(self, path: Path, kind: str) -> None:
        self._path = path
        self._kind = kind

    def members(self) -> Iterator[Member]:
        for info, _ in self._infos():
            yield Member(info.name, _kind_in_tar(info))

    def read(self, paths: Collection[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for info, archive in self._infos():
            if info.name in paths and info.isreg():
                file = archive.extractfile(info)
                data = b"" if file is None else file.read(MOST_FILE + 1)
                if len(data) != min(info.size, MOST_FILE + 1):
                    raise Refused("the tar is damaged: a file in it is cut short")
                found[info.name] = data
        return found

    def _infos(self) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
        with _refused_if_damaged("the tar"), self._path.open("rb") as file:
            stream = _Unpacked(file, self._kind)
            with tarfile.open(fileobj=stream, mode="r|", errorlevel=2) as archive:
                for count, info in enumerate(archive):
                    if count >= MOST_MEMBERS:
                        raise Refused(f"the archive has more than {MOST_MEMBERS} members")
                    yield info, archive


def _kind_in_tar(info: tarfile.TarInfo) -> Kind:
    if info.issym() or info.islnk():
        return Kind.LINK
    if info.isdir():
        return Kind.FOLDER
    return Kind.FILE if info.isreg() and not info.issparse() else Kind.OTHER


class _refused_if_damaged:
    """What the readers of archives raise over damaged ones, whatever it is, is `Refused`."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Exception) and not isinstance(error, Refused):
            what = (
                "it is too large for memory" if isinstance(error, MemoryError) else f"{error or type(error).__name__}"
            )
            raise Refused(f"{self._what} is damaged, or packed as is not read here: {what[:200]!a}") from error


class _Unpacked(io.RawIOBase):
    """What a file unpacks to, as far as it may.

    Args:
        kind: tar (as it is), gz, xz or bz2.
    """

    def __init__(self, file: io.BufferedReader, kind: str) -> None:
        self._file = file
        self._kind = kind
        self._unpacker = self._fresh()
        self._taken = self._given = 0
        self._waiting = b""
        self._past_its_end = 0

    def _fresh(self) -> Any:
        match self._kind:
            case "gz":
                return zlib.decompressobj(wbits=31)
            case "bz2":
                return bz2.BZ2Decompressor()
            case "xz":
                return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_LZMA_MEMORY)
        return None

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Exactly `size` bytes, fewer at the end."""
        parts: list[bytes] = []
        missing = size
        while missing > 0 and (part := self._some(min(missing, 1 << 16))):
            parts.append(part)
            missing -= len(part)
        self._past_its_end += not parts
        if self._past_its_end > _MOST_PAST_ITS_END:  # a reader that believes a header would go on for days
            raise Refused("the archive is cut short")
        return b"".join(parts)

    def _some(self, most: int) -> bytes:
        while True:
            if self._unpacker is None:
                data = self._take(most)
            elif self._unpacker.eof:  # several, one after the other, are one file
                rest = self._unpacker.unused_data or self._take(1 << 16)
                if not rest.strip(b"\0"):
                    return b""
                self._unpacker = self._fresh()
                self._waiting = rest
                continue
            else:
                if not self._waiting and getattr(self._unpacker, "needs_input", True):
                    self._waiting = self._take(1 << 16)
                    if not self._waiting:
                        raise Refused("the archive is cut short")
                data = self._unpacker.decompress(self._waiting, most)
                self._waiting = getattr(self._unpacker, "unconsumed_tail", b"")
                if not data:
                    continue
            self._given += len(data)
            if self._given > MOST_UNPACKED:
                raise Refused(f"the archive unpacks to more than {MOST_UNPACKED >> 20} MiB")
            if self._given > _FREE and self._given > MOST_RATIO * self._taken:
                raise Refused(f"the archive unpacks to more than {MOST_RATIO} times its size: it is a bomb")
            return data

    def _take(self, most: int) -> bytes:
        data = self._file.read(most)
        self._taken += len(data)
        return data
