"""The lab's `Store`, with snapshots that do not stop the node, and watchers."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Iterator

import msgspec

from kvraft.rpc import Err, PutArgs, PutReply
from kvraft.store import Store
from labrpc.errors import HarnessError

__all__ = ["ServiceStore"]

KEYS_A_PIECE = 2000
"""Keys encoded at a time: about a millisecond, in which nothing else runs."""

_LENGTH = 4
_NOTHING = ("", 0)

Watcher = Callable[[str, str, int, int], None]
"""Called with (key, value, version, index)."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, tuple[str, int]]).decode


class ServiceStore(Store):
    """Keys with versions, as in the lab."""

    def __init__(self) -> None:
        super().__init__()
        self.index = 0
        """Of the log entry that is being applied."""
        # Who watches: by key, and by prefix.
        self._watchers: dict[str, set[Watcher]] = {}
        self._prefixes: dict[str, set[Watcher]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, args: PutArgs) -> PutReply:
        reply = super().put(args)
        if reply.err is Err.OK and (self._watchers or self._prefixes):
            self._tell(args.key)
        return reply

    def look(self, keys: Iterable[str]) -> tuple[list[str], list[int]]:
        """The values and the versions of `keys`; ("", 0) where there is no such key."""
        entries = self._entries
        found = [entries.get(key, _NOTHING) for key in keys]
        return [value for value, _ in found], [version for _, version in found]

    # -------------------------------------------------------------- watchers

    def watch(self, key: str, is_prefix: bool, watcher: Watcher) -> list[tuple[str, str, int]]:
        """Calls `watcher` at each change of `key` from now on; returns (key, value, version) as they are now."""
        (self._prefixes if is_prefix else self._watchers).setdefault(key, set()).add(watcher)
        return self._matching(key, is_prefix)

    def unwatch(self, key: str, is_prefix: bool, watcher: Watcher) -> None:
        """Ends a `watch`."""
        registry = self._prefixes if is_prefix else self._watchers
        registry[key].discard(watcher)
        if not registry[key]:
            del registry[key]

    def _matching(self, key: str, is_prefix: bool) -> list[tuple[str, str, int]]:
        if is_prefix:
            return [(name, *entry) for name, entry in self._entries.items() if name.startswith(key)]
        return [(key, *self._entries[key])] if key in self._entries else []

    def _tell(self, key: str) -> None:
        value, version = self._entries[key]
        for watcher in tuple(self._watchers.get(key, ())):
            watcher(key, value, version, self.index)
        for prefix, watchers in tuple(self._prefixes.items()):
            if key.startswith(prefix):
                for watcher in tuple(watchers):
                    watcher(key, value, version, self.index)

    # -------------------------------------------------------------- snapshots, in pieces

    def frozen(self) -> dict[str, tuple[str, int]]:
        """The state as it is now; it does not change with the store."""
        return dict(self._entries)

    @staticmethod
    def pieces(frozen: dict[str, tuple[str, int]]) -> Iterator[bytes]:
        """A snapshot of a frozen state. Any thread may ask for it."""
        items = iter(frozen.items())
        while part := dict(itertools.islice(items, KEYS_A_PIECE)):
            encoded = _encode(part)
            yield len(encoded).to_bytes(_LENGTH, "big") + encoded

    async def load(self, pieces: Iterable[bytes]) -> None:
        """Takes the state of a snapshot, cut anywhere, in place of its own; others run in between.

        Raises:
            HarnessError: it is cut short.
        """
        entries: dict[str, tuple[str, int]] = {}
        data = bytearray()
        for piece in pieces:
            data += piece
            start = 0
            while len(data) - start >= _LENGTH:
                end = start + _LENGTH + int.from_bytes(data[start : start + _LENGTH], "big")
                if len(data) < end:
                    break
                entries.update(_decode(data[start + _LENGTH : end]))
                start = end
                await asyncio.sleep(0)
            del data[:start]
        if data:
            raise HarnessError(f"a snapshot of the store ends inside a piece, with {len(data)} bytes of it")
        self._entries = entries
        for registry, is_prefix in ((self._watchers, False), (self._prefixes, True)):
            for key, watchers in tuple(registry.items()):
                for watcher in tuple(watchers):
                    for found in self._matching(key, is_prefix):
                        watcher(*found, self.index)
