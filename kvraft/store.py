"""The store itself: a dictionary with versions. Pure: it holds no lock, no clock and no network.

    put(key, value, version)      version == the key's: value is set, the version goes up by one
                                  another version:      Err.VERSION, or Err.NO_KEY if there is no such key

Every replica that starts from the same state and does the same operations in the same order gives the same replies and
ends in the same state, to the byte.
"""

from __future__ import annotations

from kvraft.rpc import Err, GetArgs, GetReply, PutArgs, PutReply
from labrpc import UsageError, decode, encode

__all__ = ["Store"]


class Store:
    """Keys with their values and versions; a `StateMachine`."""

    def __init__(self) -> None:
        # key -> (value, version). Invariant: version >= 1; a key that was never put is not there.
        self._entries: dict[str, tuple[str, int]] = {}

    def get(self, args: GetArgs) -> GetReply:
        """The key's value and version."""
        if args.key not in self._entries:
            return GetReply("", 0, Err.NO_KEY)
        value, version = self._entries[args.key]
        return GetReply(value, version, Err.OK)

    def put(self, args: PutArgs) -> PutReply:
        """Sets the key, if it has the version that the put expects."""
        _, version = self._entries.get(args.key, ("", 0))
        if args.version != version:
            return PutReply(Err.VERSION if version else Err.NO_KEY)
        self._entries[args.key] = (args.value, version + 1)
        return PutReply(Err.OK)

    # -------------------------------------------------------------- as a state machine of RSM

    def do_op(self, req: object) -> GetReply | PutReply:
        """Does one operation.

        Raises:
            UsageError: `req` is neither a get nor a put.
        """
        if isinstance(req, GetArgs):
            return self.get(req)
        if isinstance(req, PutArgs):
            return self.put(req)
        raise UsageError(f"the store cannot do {req!r}; give it a GetArgs or a PutArgs")

    def snapshot(self) -> bytes:
        """The whole state."""
        return encode(self._entries)

    def restore(self, data: bytes) -> None:
        """Takes the state of a `snapshot` in place of its own."""
        self._entries = decode(data)
