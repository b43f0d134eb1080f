"""One host's part of a run as a file, and that host alone again, from the file.

    run --RecordingMachines--> steps: (now, limit, inbox) and (effects, clock, wake) --> server-2.inbox
    server-2.inbox --replay_alone--> a fresh host, the same inboxes --> the same effects, or the first that differs

A host is a deterministic machine, so what it was given is all that its life needs: no network, no judge, no other
server. What it prints, annotates or is told by the diagnosis is no part of the comparison, as it is no part of a run.

The file is a line of JSON (see `InboxHead`), then frames, each a length of four bytes (big-endian) and a record in
MessagePack; an empty frame ends it. Any change of these is a new `VERSION`.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from labrpc import frames
from labrpc.errors import UsageError
from labrpc.virtual import interpreter, recursion
from labrpc.virtual.steps import Step, StepMachine, StepMachines

__all__ = [
    "FORMAT",
    "VERSION",
    "Born",
    "Difference",
    "Ended",
    "Inbox",
    "InboxHead",
    "Lived",
    "RecordingMachines",
    "Stepped",
    "replay_alone",
    "size_of",
    "this_python",
]

FORMAT = "raftlab-inbox"
VERSION = 1

_LENGTH_BYTES = 4
_LONGEST_HEAD = 1 << 16

_DEEDS = (frames.Call, frames.Answer, frames.Save, frames.Saved, frames.Apply, frames.Result)
"""The effects that are compared."""


_MOST_SAVED = 1024
"""Bytes of a save that are kept; of more, their number and digest: a server saves its whole log, again and again."""

_DIGEST = b"raftlab-digest "


class _Record(msgspec.Struct, array_like=True, tag=True, gc=False):
    incarnation: int


class Born(_Record):
    """An incarnation is made."""

    settings: frames.HostSettings


class Stepped(_Record):
    """It was given `inbox` at `now` ns and did `effects`, long saves as digests; the rest is as in `Step`."""

    now: int
    limit: int
    inbox: list[frames.InboxItem]
    effects: list[frames.Effect]
    clock: int
    wake: int | None


class Ended(_Record):
    """It is gone, at `at` ns by its own clock."""

    at: int


class InboxHead(msgspec.Struct, kw_only=True, frozen=True):
    """Which host of which run: the file's first line.

    Attributes:
        host: its name.
        world: how the run was made, beside test and seed; runs of another world are other runs.
        python: versions count nested calls differently.
    """

    format: str = FORMAT
    version: int = VERSION
    test: str
    seed: int
    host: str
    world: str
    python: str


class Inbox(NamedTuple):
    """A whole file."""

    head: InboxHead
    records: list[Born | Stepped | Ended]

    @classmethod
    def load(cls, path: Path) -> Inbox:
        """The inbox that `RecordingMachines.save` wrote.

        Raises:
            UsageError: the file cannot be read, is no inbox, one of a newer version, damaged, or cut short.
        """
        try:
            with path.open("rb") as file:
                head = _read_head(path, file)
                return cls(head, list(_read_records(path, file)))
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror or error}") from None


def this_python() -> str:
    """The version that matters to a run, e.g. 3.11."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


_encode = msgspec.msgpack.Encoder().encode
_decode: Any = msgspec.msgpack.Decoder(Born | Stepped | Ended).decode


def _read_head(path: Path, file: IO[bytes]) -> InboxHead:
    line = file.readline(_LONGEST_HEAD)
    try:
        found = msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        found = None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise UsageError(f"{path} is no recorded inbox: its first line does not name the format {FORMAT}")
    version = found.get("version")
    if type(version) is not int or version > VERSION:
        raise UsageError(f"{path} is of version {version}; this raftlab reads up to version {VERSION}")
    try:
        return msgspec.convert(found, InboxHead)
    except msgspec.ValidationError as error:
        raise UsageError(f"{path} has a damaged first line: {error}") from None


def _read_records(path: Path, file: IO[bytes]) -> Iterator[Born | Stepped | Ended]:
    count = 0
    while True:
        head = file.read(_LENGTH_BYTES)
        size = int.from_bytes(head, "big")
        data = file.read(size)
        if len(head) < _LENGTH_BYTES or len(data) < size:
            raise UsageError(f"{path} is cut short after {count} records")
        if not size:
            if file.read(1):
                raise UsageError(f"{path} goes on after its end, which comes after {count} records")
            return
        try:
            yield _decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} has no record after {count} records: {error}") from None
        count += 1


# ------------------------------------------------------------------ recording


def size_of(saved: bytes) -> int:
    """How many bytes were saved, of which `saved` may be the digest."""
    return int(saved.split()[1]) if saved.startswith(_DIGEST) else len(saved)


def _condensed(effect: frames.Effect) -> frames.Effect:
    if not isinstance(effect, frames.Save):
        return effect
    snapshot = None if effect.snapshot is None else _digest(effect.snapshot)
    return frames.Save(effect.at, effect.number, _digest(effect.raft_state), snapshot)


def _digest(data: bytes) -> bytes:
    if len(data) <= _MOST_SAVED:
        return data
    return b"%s%d %s" % (_DIGEST, len(data), hashlib.blake2b(data, digest_size=16).hexdigest().encode())


class RecordingMachines:
    """Makes machines as `inner` does, and takes down what host `name` is given and does.

    Args:
        inner: where machines are made.
        name: the host.
    """

    def __init__(self, inner: StepMachines, name: str) -> None:
        self._inner = inner
        self._name = name
        self.records: list[bytes] = []

    def create(self, settings: frames.HostSettings) -> StepMachine:
        machine = self._inner.create(settings)
        if settings.name != self._name or settings.incarnation == 0:  # 0: the judge's own, no part of the run
            return machine
        self.records.append(_encode(Born(settings.incarnation, settings)))
        return _RecordedMachine(machine, settings.incarnation, self.records)

    def close(self) -> None:
        self._inner.close()

    def save(self, path: Path, head: InboxHead) -> None:
        """Writes the file, and the folder it goes to.

        Raises:
            OSError: it cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        with partial.open("wb") as file:
            file.write(msgspec.json.encode(head) + b"\n")
            for data in (*self.records, b""):
                file.write(len(data).to_bytes(_LENGTH_BYTES, "big") + data)
        partial.replace(path)


class _RecordedMachine:
    def __init__(self, inner: StepMachine, incarnation: int, records: list[bytes]) -> None:
        self._inner = inner
        self._incarnation = incarnation
        self._records = records
        self._clock = 0

    def step(self, now: int, limit: int, inbox: list[frames.InboxItem]) -> Step:
        with recursion.deeper(1):
            step = self._inner.step(now, limit, inbox)
        self._clock = step.clock
        effects = [_condensed(effect) for effect in step.effects]
        self._records.append(_encode(Stepped(self._incarnation, now, limit, inbox, effects, step.clock, step.wake)))
        return step

    def collect(self) -> None:
        self._inner.collect()

    def end(self) -> None:
        self._records.append(_encode(Ended(self._incarnation, self._clock)))
        self._inner.end()

    @property
    def interrupted(self) -> bool:
        return bool(self._inner.interrupted)  # type: ignore[attr-defined]

    @interrupted.setter
    def interrupted(self, value: bool) -> None:
        self._inner.interrupted = value  # type: ignore[attr-defined]


# ------------------------------------------------------------------ replaying


class Difference(NamedTuple):
    """The first thing that a host did otherwise than recorded: at `at` ns. None: nothing at all."""

    at: int
    was: frames.Effect | Step | None
    now: frames.Effect | Step | None
    """A `Step` where the effects are equal, but not the host's clock after them or when it wants to go on."""


class Lived(NamedTuple):
    """One record, what the fresh host did at it, and how that differs from what is recorded."""

    record: Born | Stepped | Ended
    effects: list[frames.Effect]
    difference: Difference | None


def replay_alone(
    inbox: Inbox, create: Callable[[frames.HostSettings], StepMachine], *, until_ns: int | None = None
) -> Iterator[Lived]:
    """Gives a fresh host what the recorded one was given, step by step, up to the first difference.

    What came in after that was meant for a host that had done something else.

    Args:
        create: makes the machine of one incarnation.
        until_ns: the steps that begin later are left out.
    """
    machines: dict[int, StepMachine] = {}
    interpreter.enter()
    try:
        for record in inbox.records:
            if isinstance(record, Born):
                machines[record.incarnation] = create(record.settings)
                yield Lived(record, [], None)
            elif isinstance(record, Ended):
                machines.pop(record.incarnation).end()
                yield Lived(record, [], None)
            elif until_ns is not None and record.now > until_ns:
                return
            else:
                limit = recursion.allow(0)
                try:
                    step = machines[record.incarnation].step(record.now, record.limit, record.inbox)
                finally:
                    sys.setrecursionlimit(limit)
                difference = _compare(record, step)
                yield Lived(record, step.effects, difference)
                if difference is not None:
                    return
    finally:
        for machine in machines.values():
            machine.end()
        interpreter.leave()


def _compare(record: Stepped, step: Step) -> Difference | None:
    was = [effect for effect in record.effects if isinstance(effect, _DEEDS)]
    now = [_condensed(effect) for effect in step.effects if isinstance(effect, _DEEDS)]
    for before, after in zip(was, now, strict=False):
        if before != after:
            return Difference(min(before.at, after.at), before, after)
    if len(was) != len(now):
        missing = was[len(now)] if len(was) > len(now) else None
        new = now[len(was)] if len(now) > len(was) else None
        return Difference((missing or new).at, missing, new)  # type: ignore[union-attr]
    recorded = Step(record.effects, record.clock, record.wake)
    if (recorded.clock, recorded.wake) != (step.clock, step.wake):
        return Difference(record.now, recorded, step)
    return None
