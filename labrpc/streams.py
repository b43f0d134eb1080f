"""Named streams of random decisions: decision *n* of stream *s* under seed *x* is a pure function of (x, s, n).

Because no decision depends on how many others were drawn, overriding one moves no other: that is what makes a
failing run shrinkable. Integers only, so every machine draws the same. 0 is always the benign choice.

A stream's key comes from its parent's by BLAKE2b, one way: a process that is given `Streams.sub("host/2")` can draw
its own decisions and can compute neither the seed nor anybody else's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from labrpc.errors import UsageError

__all__ = ["Overrides", "Stream", "Streams"]

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15

Overrides = Mapping[tuple[str, int], int]
"""(full stream name, decision number) -> the value to use instead of the drawn one."""


class Stream:
    """One sequence of decisions. `at` looks a decision up; `draw` takes the next one."""

    __slots__ = ("_forced", "_key", "count", "name")

    def __init__(self, name: str, key: int, overrides: Overrides) -> None:
        self.name = name
        self._key = key
        self.count = 0
        """Decisions taken by `draw` so far."""
        self._forced = {n: value for (stream, n), value in overrides.items() if stream == name} or None

    def bits(self, n: int) -> int:
        """64 well-mixed bits of decision `n` (the finaliser of SplitMix64, Steele et al., OOPSLA 2014)."""
        z = (self._key + n * _GOLDEN) & _MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def at(self, n: int, bound: int) -> int:
        """Decision `n` as a number in [0, bound). An override is clamped into the same range."""
        if self._forced is not None and n in self._forced:
            return min(max(self._forced[n], 0), bound - 1)
        return (self.bits(n) * bound) >> 64

    def draw(self, bound: int) -> int:
        """The next decision as a number in [0, bound)."""
        n = self.count
        self.count = n + 1
        return self.at(n, bound)


class Streams:
    """A tree of streams under one key.

    Args:
        key: the seed (any int), or a sub-key of 16 bytes.
        overrides: decisions to replace, by full stream name.
        path: the full name of this subtree, "" at the root.
    """

    def __init__(self, key: int | bytes, overrides: Overrides | None = None, *, path: str = "") -> None:
        self.key = key if isinstance(key, bytes) else _root_key(key)
        self.path = path
        self.overrides: Overrides = overrides or {}

    def sub(self, name: str) -> Streams:
        """The subtree `name`, with a key of its own from which this one's cannot be computed."""
        key = hashlib.blake2b(name.encode(), key=self.key, digest_size=16, person=b"raftlab-sub").digest()
        return Streams(key, self.overrides, path=self._full(name))

    def stream(self, name: str) -> Stream:
        """A fresh cursor on stream `name`, at decision 0."""
        digest = hashlib.blake2b(name.encode(), key=self.key, digest_size=8, person=b"raftlab-stream").digest()
        return Stream(self._full(name), int.from_bytes(digest, "big"), self.overrides)

    def _full(self, name: str) -> str:
        return f"{self.path}/{name}" if self.path else name


def _root_key(seed: int) -> bytes:
    if seed < 0:
        raise UsageError(f"a seed is 0 or more, not {seed}")
    size = max(8, (seed.bit_length() + 7) // 8)
    return hashlib.blake2b(seed.to_bytes(size, "big"), digest_size=16, person=b"raftlab-seed").digest()
