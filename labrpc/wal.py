"""The log of a `DiskPersister` as bytes: how records are written, and what a log cut short or damaged is worth.

    log     header | state 1 | state 2 | ... | state n | confirmation of n, perhaps
    header  magic 8 | version 4 | stamp 16 | CRC 4
    record  magic 4 | kind 1 | zeros 3 | sequence 8 | payload length 8 | payload CRC 4 | head CRC 4 | payload
    payload snapshot number 8, length 8, CRC 4 | raft state              (integers little-endian; CRC is CRC-32)

In the log of a `DiskPersister` each state record holds all there is to know, so the last good one is the state; where
each adds to the ones before, `recover_all` gives them all. The writer keeps two rules, and all
that recovery concludes follows from them:

1. No byte of a record is written before the one ahead of it is durable.
2. A confirmation is written once its record is durable, where the next record will begin: that one overwrites it.

So whatever stands behind a record proves that the record was durable:

    state 7 | bad          | end of file       8 was being written when the power went; nobody was promised it: drop it
    state 7 | bad          | head of state 9   8 was durable and is damaged: refuse
    state 7 | bad          | confirmation of 8 the same
    state 7 | confirmation | bad               8 was being written, a later part of it came first: drop it

One thing cannot be told: a last record that is damaged when its confirmation has not reached the disk, or goes with it,
looks like one that was cut short; so does a log whose end was cut off later.

A head's CRC covers the log's random stamp and the record's offset, so neither what another log left on the disk nor a
payload that quotes a log is taken for a record.

Nothing here does I/O.
"""

from __future__ import annotations

import struct
import zlib
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from labrpc.errors import HarnessError, UsageError

__all__ = [
    "HEADER_SIZE",
    "STAMP_SIZE",
    "VERSION",
    "DiskCorruption",
    "Recovered",
    "SnapshotRef",
    "confirmation",
    "corruption",
    "header",
    "recover",
    "recover_all",
    "state_record",
]

VERSION = 1
STAMP_SIZE = 16

_LOG_MAGIC = b"raftlab\n"
_RECORD_MAGIC = b"\xf5rec"
_HEADER = struct.Struct("<8sI16s")
_HEAD = struct.Struct("<4sB3xQQI")
_REF = struct.Struct("<QQI")
_CRC = struct.Struct("<I")
_STATE, _CONFIRMATION = 1, 2

HEADER_SIZE = _HEADER.size + _CRC.size
_HEAD_SIZE = _HEAD.size + _CRC.size


class DiskCorruption(HarnessError):
    """What was durable is damaged or gone; the text names the file, the byte offset and what to do."""


class SnapshotRef(NamedTuple):
    """Which snapshot file belongs to a raft state; number 0: none, the snapshot is b""."""

    number: int
    length: int
    crc: int


class Recovered(NamedTuple):
    """What a log holds."""

    sequence: int
    snapshot: SnapshotRef
    raft_state: bytes
    dropped: int
    """Bytes after the last good record, of one that was never durable."""


class _Head(NamedTuple):
    kind: int
    sequence: int
    length: int
    crc: int


# ------------------------------------------------------------------ writing


def header(stamp: bytes) -> bytes:
    """The start of a log; `stamp` is random and its own."""
    start = _HEADER.pack(_LOG_MAGIC, VERSION, stamp)
    return start + _CRC.pack(zlib.crc32(start))


def state_record(
    stamp: bytes, offset: int, sequence: int, snapshot: SnapshotRef, raft_state: bytes
) -> tuple[bytes, bytes]:
    """The record to write at `offset`, in two parts, so that a large raft state need not be copied."""
    ref = _REF.pack(*snapshot)
    crc = zlib.crc32(raft_state, zlib.crc32(ref))
    return _head(stamp, offset, _Head(_STATE, sequence, len(ref) + len(raft_state), crc)) + ref, raft_state


def confirmation(stamp: bytes, offset: int, sequence: int) -> bytes:
    """Says that state record `sequence`, which ends at `offset`, is durable. Shorter than any state record."""
    return _head(stamp, offset, _Head(_CONFIRMATION, sequence, 0, 0))


def _head(stamp: bytes, offset: int, head: _Head) -> bytes:
    start = _HEAD.pack(_RECORD_MAGIC, *head)
    return start + _CRC.pack(_head_crc(stamp, offset, start))


def _head_crc(stamp: bytes, offset: int, start: bytes) -> int:
    return zlib.crc32(start, zlib.crc32(stamp + offset.to_bytes(8, "little")))


# ------------------------------------------------------------------ reading


def recover(log: bytes, name: str = "log") -> Recovered:
    """The last state in `log`, the contents of file `name`, without what a crash cut short.

    Raises:
        UsageError: it is of another version of this format.
        DiskCorruption: something in it that was durable is damaged.
    """
    return deque(_replay(log, name), maxlen=1)[0]


def recover_all(log: bytes, name: str = "log") -> list[Recovered]:
    """As `recover`, for a log whose records each add to the ones before: what every good record holds, in order.

    Raises:
        UsageError, DiskCorruption: as `recover`.
    """
    return list(_replay(log, name))


def _replay(log: bytes, name: str) -> Iterator[Recovered]:
    """The good records, in order, at least one; what is dropped behind them is in the last."""
    stamp = _stamp(log, name)
    begin, last = HEADER_SIZE, _state_at(log, stamp, HEADER_SIZE)
    if last is None:  # a log gets its name once its first record is durable
        raise corruption(name, HEADER_SIZE, "the first record is bad")
    while True:
        end = begin + _HEAD_SIZE + last.length
        following = _state_at(log, stamp, end)
        if following is None or following.sequence != last.sequence + 1:
            break
        yield _recovered(log, begin, end, last, 0)
        begin, last = end, following
    for offset, later in _heads(log, stamp, end):
        own = later.kind == _CONFIRMATION and later.sequence == last.sequence
        cut_short = later.kind == _STATE and later.sequence == last.sequence + 1
        if offset > end or not (own or cut_short):
            raise corruption(name, end, f"a bad record, and one at byte {offset} that proves it was durable")
    confirmed = _head_at(log, stamp, end)
    good = end + (_HEAD_SIZE if confirmed and confirmed.kind == _CONFIRMATION else 0)
    yield _recovered(log, begin, end, last, len(log) - good)


def _recovered(log: bytes, begin: int, end: int, head: _Head, dropped: int) -> Recovered:
    payload = begin + _HEAD_SIZE
    ref = SnapshotRef(*_REF.unpack_from(log, payload))
    return Recovered(head.sequence, ref, log[payload + _REF.size : end], dropped)


def corruption(name: str, offset: int, what: str) -> DiskCorruption:
    return DiskCorruption(
        f"{name} is damaged at byte {offset}: {what}; nothing was changed. Restore what this server last saved, "
        f"or put a new server in its place: one that starts again from an older or an empty state "
        f"may vote twice or lose entries that it acknowledged"
    )


def _stamp(log: bytes, name: str) -> bytes:
    if len(log) < HEADER_SIZE:
        raise corruption(name, len(log), f"it ends inside the header of {HEADER_SIZE} bytes")
    magic, version, stamp = _HEADER.unpack_from(log)
    if magic != _LOG_MAGIC or _CRC.unpack_from(log, _HEADER.size)[0] != zlib.crc32(log[: _HEADER.size]):
        raise corruption(name, 0, "the header is bad, or this is no log of a DiskPersister")
    if version != VERSION:  # the header's layout is the same in all versions
        raise UsageError(f"{name} has format version {version}; this program reads and writes version {VERSION}")
    return bytes(stamp)


def _head_at(log: bytes, stamp: bytes, offset: int) -> _Head | None:
    if offset + _HEAD_SIZE > len(log):
        return None
    crc_at = offset + _HEAD.size
    magic, *fields = _HEAD.unpack_from(log, offset)
    if magic != _RECORD_MAGIC or _CRC.unpack_from(log, crc_at)[0] != _head_crc(stamp, offset, log[offset:crc_at]):
        return None
    return _Head(*fields)


def _state_at(log: bytes, stamp: bytes, offset: int) -> _Head | None:
    """The head of the state record at `offset`, if there is one and it is whole."""
    head = _head_at(log, stamp, offset)
    if head is None or head.kind != _STATE:
        return None
    begin = offset + _HEAD_SIZE
    payload = memoryview(log)[begin : begin + head.length]
    return head if len(payload) == head.length and zlib.crc32(payload) == head.crc else None


def _heads(log: bytes, stamp: bytes, start: int) -> Iterator[tuple[int, _Head]]:
    """All heads from `start` on, wherever they stand, with their offsets."""
    offset = log.find(_RECORD_MAGIC, start)
    while offset >= 0:
        if head := _head_at(log, stamp, offset):
            yield offset, head
        offset = log.find(_RECORD_MAGIC, offset + 1)
