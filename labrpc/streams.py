"""Named streams of random decisions: decision *n* of stream *s* under seed *x* is a pure function of (x, s, n).

Because no decision depends on how many others were drawn, overriding one moves no other: that is what makes a
failing run shrinkable. Integers only, so every machine draws the same. 0 is always the benign choice.

    stream    the code under test's own randomness, the test's choices: never taken away
    weather   what the simulator does to messages, threads and disks: shrinking takes it away
    Events    what the test does to servers and network: shrinking leaves some out

A stream's key comes from its parent's by BLAKE2b, one way: a process that is given `Streams.sub("host/2")` can draw
its own decisions and can compute neither the seed nor anybody else's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from labrpc.errors import UsageError
from labrpc.ledger import Ledger

__all__ = ["Events", "Overrides", "Stream", "Streams"]

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15

Overrides = Mapping[tuple[str, int], int]
"""(full stream name, decision number) -> the value to use instead of the drawn one."""


class Stream:
    """One sequence of decisions. `at` looks a decision up; `draw` takes the next one."""

    __slots__ = ("_forced", "_key", "count", "name")

    def __init__(self, name: str, key: int, forced: Mapping[int, int] | None) -> None:
        self.name = name
        self._key = key
        self.count = 0
        """Decisions taken by `draw` so far."""
        self._forced = forced

    def bits(self, n: int) -> int:
        """64 well-mixed bits of decision `n` (the finaliser of SplitMix64, Steele et al., OOPSLA 2014)."""
        z = (self._key + n * _GOLDEN) & _MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def at(self, n: int, bound: int, harmless: int = 1) -> int:
        """Decision `n` as a number in [0, bound). An override is clamped into the same range.

        Values below `harmless` all mean the same: that nothing happens. Ledgers have no place for them.
        """
        if self._forced is not None and n in self._forced:
            return min(max(self._forced[n], 0), bound - 1)
        return (self.bits(n) * bound) >> 64

    def draw(self, bound: int, harmless: int = 1) -> int:
        """The next decision as a number in [0, bound)."""
        n = self.count
        self.count = n + 1
        return self.at(n, bound, harmless)


class _WatchedStream(Stream):
    """A stream of weather in a run that is recorded, or calm but for its overrides."""

    __slots__ = ("_calm", "_ledger")

    def __init__(self, name: str, key: int, forced: Mapping[int, int] | None, calm: bool, ledger: Ledger | None):
        super().__init__(name, key, forced)
        self._calm = calm
        self._ledger = ledger

    def at(self, n: int, bound: int, harmless: int = 1) -> int:
        if self._calm and (self._forced is None or n not in self._forced):
            return 0
        value = super().at(n, bound, harmless)
        if self._ledger is not None and value >= harmless:
            self._ledger.record(self.name, n, value)
        return value


class Streams:
    """A tree of streams under one key.

    Args:
        key: the seed (any int), or a sub-key of 16 bytes.
        overrides: decisions to replace, by full stream name.
        path: the full name of this subtree, "" at the root.
        calm: whether weather that `overrides` do not name is 0, and events that they do not name are left out.
        ledger: where weather and events are taken down.
    """

    def __init__(
        self,
        key: int | bytes,
        overrides: Overrides | None = None,
        *,
        path: str = "",
        calm: bool = False,
        ledger: Ledger | None = None,
    ) -> None:
        self.key = key if isinstance(key, bytes) else _root_key(key)
        self.path = path
        self.calm = calm
        self.ledger = ledger
        self._forced: dict[str, dict[int, int]] = {}
        """Full stream name -> decision number -> value; one for the whole tree."""
        for (stream, number), value in (overrides or {}).items():
            self._forced.setdefault(stream, {})[number] = value

    def sub(self, name: str) -> Streams:
        """The subtree `name`, with a key of its own from which this one's cannot be computed."""
        key = hashlib.blake2b(name.encode(), key=self.key, digest_size=16, person=b"raftlab-sub").digest()
        below = Streams(key, path=self._full(name), calm=self.calm, ledger=self.ledger)
        below._forced = self._forced
        return below

    def stream(self, name: str) -> Stream:
        """A fresh cursor on stream `name`, at decision 0."""
        full = self._full(name)
        return Stream(full, self._stream_key(name), self._forced.get(full))

    def weather(self, name: str) -> Stream:
        """As `stream`, for decisions that the code under test suffers from."""
        if not self.calm and self.ledger is None:
            return self.stream(name)
        full = self._full(name)
        return _WatchedStream(full, self._stream_key(name), self._forced.get(full), self.calm, self.ledger)

    def overrides(self) -> list[tuple[str, int, int]]:
        """(full stream name, decision number, value) of each override in this subtree."""
        below = f"{self.path}/" if self.path else ""
        named = (item for item in self._forced.items() if item[0].startswith(below))
        return [(stream, number, value) for stream, forced in named for number, value in forced.items()]

    def event(self, name: str, number: int, detail: str) -> bool:
        """Whether event `number` of stream `name` happens: it does unless an override, or the calm, says no."""
        full = self._full(name)
        if not self._forced.get(full, {}).get(number, 0 if self.calm else 1):
            return False
        if self.ledger is not None:
            self.ledger.record(full, number, 1, detail=detail)
        return True

    def _stream_key(self, name: str) -> int:
        digest = hashlib.blake2b(name.encode(), key=self.key, digest_size=8, person=b"raftlab-stream").digest()
        return int.from_bytes(digest, "big")

    def _full(self, name: str) -> str:
        return f"{self.path}/{name}" if self.path else name


class Events:
    """What the test does to a run, numbered by kind: event *n* of kind *k* is decision *n* of stream `event/k`.

    The number counts what the test asks for, also where it was left out, so leaving one out moves no other.

    Args:
        streams: the run's streams; this uses `event/…` only.
    """

    def __init__(self, streams: Streams) -> None:
        self._streams = streams.sub("event")
        self._counts: dict[str, int] = {}

    def happens(self, kind: str, detail: str = "") -> bool:
        """Whether the next event of `kind`, about `detail`, is to happen."""
        number = self._counts.get(kind, 0)
        self._counts[kind] = number + 1
        return self._streams.event(kind, number, detail)


def _root_key(seed: int) -> bytes:
    if seed < 0:
        raise UsageError(f"a seed is 0 or more, not {seed}")
    size = max(8, (seed.bit_length() + 7) // 8)
    return hashlib.blake2b(seed.to_bytes(size, "big"), digest_size=16, person=b"raftlab-seed").digest()
