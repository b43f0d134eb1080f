"""The journal: every event of a run, typed and in order. Timelines, invariants, hashes and shrinking read it alone.

    journal.append(Sent(...)) --> listeners (the judge), running hash, chunks in memory --past 64 MB--> a temporary file

Two runs are the same run if their journals' hashes are equal. What servers print or annotate, and the texts of
diagnoses, are in the journal but not in the hash: they may hold addresses and paths.
`at` is virtual nanoseconds since the run began. Hosts are named as in `labrpc.network`.

A journal's file is a line that names the format and its version, then frames, each a length of four bytes (big-endian)
and an event in MessagePack; an empty frame ends it. docs/journal.md lists the events and their fields. Any change of
them, or of what they mean, is a new version: a reader takes its own and earlier ones.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Iterator
from typing import IO, Any, Final, cast

import msgspec

__all__ = [
    "UNHASHED",
    "VERSION",
    "Annotated",
    "AnnotationEnded",
    "Applied",
    "Booted",
    "Controlled",
    "Delivered",
    "Dropped",
    "Event",
    "Faulted",
    "Journal",
    "Printed",
    "Reported",
    "Returned",
    "Saved",
    "Saving",
    "Sent",
    "Stopped",
]


class _Event(msgspec.Struct, array_like=True, tag=True, gc=False):
    at: int


class Booted(_Event):
    """A new incarnation of `host` starts; its disk holds this many bytes."""

    host: str
    incarnation: int
    raft_state_size: int
    snapshot_size: int


class Stopped(_Event):
    """The incarnation is over: `how` is `crash` or `shutdown`."""

    host: str
    incarnation: int
    how: str


class Sent(_Event):
    """`source` sends message `message`: a request, or the reply to request `reply_to` (0: it is a request)."""

    message: int
    reply_to: int
    source: str
    incarnation: int
    target: str
    method: str
    payload: bytes


class Delivered(_Event):
    """Message `message` arrives."""

    message: int


class Dropped(_Event):
    """Message `message` is lost; `reason` in words."""

    message: int
    reason: str


class Saving(_Event):
    """`host` hands save `number` to its disk: sizes in bytes (snapshot -1: none given) and the CRC-32 of both."""

    host: str
    number: int
    raft_state_size: int
    snapshot_size: int
    checksum: int


class Saved(_Event):
    """Save `number` of `host`, and every earlier one, is durable."""

    host: str
    number: int


class Applied(_Event):
    """`host` hands an encoded `ApplyMsg` to its service."""

    host: str
    payload: bytes


class Controlled(_Event):
    """The test calls control `name` of `host` with the encoded tuple of arguments."""

    host: str
    control: int
    name: str
    payload: bytes


class Returned(_Event):
    """Control call `control` returns an encoded value."""

    host: str
    control: int
    payload: bytes


class Faulted(_Event):
    """A fault begins or ends on the network: `kind` is the method of `Network` that did it."""

    kind: str
    detail: str


class Printed(_Event):
    """`host` printed a line. Not hashed."""

    host: str
    thread: str
    text: str


class Annotated(_Event):
    """`host` put a note on the timeline. Not hashed.

    `number` is that of its `AnnotationEnded`, if one comes before the incarnation ends; 0: none will. With `lasts` it
    holds until then, or to the end of the incarnation, and else for an instant if nothing ends it.
    """

    host: str
    tag: str
    text: str
    number: int = 0
    lasts: bool = False


class AnnotationEnded(_Event):
    """Annotation `number` of `host`'s incarnation has lasted until now. Not hashed."""

    host: str
    number: int


class Reported(_Event):
    """The harness's diagnosis of `host` ("" for the run as a whole). Not hashed."""

    host: str
    kind: str
    text: str
    site: str
    detail: str


Event = (
    Booted | Stopped | Sent | Delivered | Dropped | Saving | Saved | Applied | Controlled | Returned | Faulted
    | Printed | Annotated | AnnotationEnded | Reported
)  # fmt: skip

UNHASHED = (Printed, Annotated, AnnotationEnded, Reported)
"""Two runs that differ in such events only are the same run."""

_SPILL_BYTES = 64 << 20
_HASH_CHUNKS = 4096
_BLOCK_BYTES = 1 << 18
_LENGTH_BYTES = 4

VERSION: Final = 1
"""Of the file's format, and so of the events."""

_HEADER = b"raftlab-journal %d\n"
_LONGEST_HEADER = 40

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Event)


class Journal:
    """An append-only list of events with a running hash and bounded memory.

    Args:
        spill_bytes: how much may stay in memory before the rest goes to a temporary file.
    """

    def __init__(self, *, spill_bytes: int = _SPILL_BYTES) -> None:
        self.listeners: list[Callable[[Any], None]] = []
        """Called with each event as it is appended."""
        self._spill_bytes = spill_bytes
        self._chunks: list[bytes] = []
        self._chunk_bytes = 0
        self._file: IO[bytes] | None = None
        self._spilled = 0
        """How many events are in the file; the chunks are those after them."""
        self._hash = hashlib.blake2b(digest_size=16)
        self._unhashed_yet: list[bytes] = []
        self._count = 0
        self.cut_short = False
        """Whether it was read from a file whose end is missing: these are the events before that."""

    def __len__(self) -> int:
        return self._count

    def append(self, event: Any) -> None:
        data = _encoder.encode(event)
        self._count += 1
        self._chunks.append(data)
        self._chunk_bytes += len(data)
        if not isinstance(event, UNHASHED):
            pending = self._unhashed_yet
            pending.append(data)
            if len(pending) >= _HASH_CHUNKS:
                self._absorb()
        if self._chunk_bytes > self._spill_bytes:
            self._spill()
        for listener in self.listeners:
            listener(event)

    def __iter__(self) -> Iterator[Any]:
        """The events in order, decoded one at a time."""
        for data in self._encoded():
            yield _decoder.decode(data)

    def digest(self) -> str:
        """The hash of all hashed events so far, 32 hexadecimal digits."""
        self._absorb()
        return self._hash.hexdigest()

    def write(self, file: IO[bytes]) -> None:
        """Writes all events for `Journal.read`."""
        file.write(_HEADER % VERSION)
        for data in self._encoded():
            file.write(len(data).to_bytes(_LENGTH_BYTES, "big") + data)
        file.write(bytes(_LENGTH_BYTES))

    @classmethod
    def read(cls, file: IO[bytes], *, partial: bool = False) -> Journal:
        """The journal that `write` wrote.

        Args:
            partial: of a file that is cut short, take the events that are whole, and say so in `cut_short`.

        Raises:
            ValueError: the file is no journal, or one of a newer version, or damaged, or cut short; the text says
                after how many events.
        """
        journal = cls()
        whole = _read_header(file)
        while whole:
            head = file.read(_LENGTH_BYTES)
            size = int.from_bytes(head, "big")
            if size == 0 and len(head) == _LENGTH_BYTES:
                if file.read(1):
                    raise ValueError(f"the journal ends after {len(journal)} events, but its file goes on")
                return journal
            data = file.read(size)
            whole = len(head) == _LENGTH_BYTES and len(data) == size
            if whole:
                try:
                    journal.append(_decoder.decode(data))
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    raise ValueError(f"no journal event after {len(journal)} events: {error}") from None
        if not partial:
            raise ValueError(f"the journal is cut short after {len(journal)} events")
        journal.cut_short = True
        return journal

    def close(self) -> None:
        """Frees the temporary file, if there is one."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._spilled = 0
        self._chunks.clear()

    def _encoded(self) -> Iterator[bytes]:
        # Readers may be several, and events may be appended, and spilled, between two steps of one: each keeps its own
        # place, and its place in the file also while it reads chunks. What is in the file never changes.
        done = place = 0
        block, begin = b"", 0
        while True:
            if done < self._spilled:
                start = place - begin + _LENGTH_BYTES
                end = start + int.from_bytes(block[start - _LENGTH_BYTES : start], "big")
                if start > len(block) or end > len(block):
                    file = cast(IO[bytes], self._file)
                    file.seek(place)
                    head = file.read(_LENGTH_BYTES)
                    size = int.from_bytes(head, "big")
                    block, begin = head + file.read(max(size, _BLOCK_BYTES)), place
                    start, end = _LENGTH_BYTES, _LENGTH_BYTES + size
                data = block[start:end]
            elif done - self._spilled < len(self._chunks):
                data = self._chunks[done - self._spilled]
            else:
                return
            done += 1
            place += _LENGTH_BYTES + len(data)
            yield data

    def _absorb(self) -> None:
        self._hash.update(b"".join(self._unhashed_yet))
        self._unhashed_yet.clear()

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="raftlab-journal-")  # noqa: SIM115  # closed in close()
        self._file.seek(0, 2)
        self._file.writelines(len(data).to_bytes(_LENGTH_BYTES, "big") + data for data in self._chunks)
        self._spilled += len(self._chunks)
        self._chunks.clear()
        self._chunk_bytes = 0


def _read_header(file: IO[bytes]) -> bool:
    """Whether the header is whole. Raises: ValueError: it is of no journal, or of one that is newer than this code."""
    line = file.readline(_LONGEST_HEADER)
    found = re.fullmatch(rb"raftlab-journal ([1-9]\d*)\n", line)
    if found is None:
        if re.fullmatch(rb"raftlab-journal( [1-9]?\d*)?", line) or b"raftlab-journal".startswith(line):
            return False
        raise ValueError(f"no journal: it begins with {line[:20]!r}, and not with {(_HEADER % VERSION).strip()!r}")
    if int(found[1]) > VERSION:
        raise ValueError(
            f"the journal is of version {int(found[1])}; this raftlab reads up to version {VERSION}: update it"
        )
    return True
