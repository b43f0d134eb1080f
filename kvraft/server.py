"""Part 3A: one key/value server, with no copy of its state anywhere."""

from __future__ import annotations

import threading

from kvraft.rpc import GetArgs, GetReply, PutArgs, PutReply
from kvraft.store import Store
from labrpc import rpc

__all__ = ["KVServer"]


class KVServer:
    """Gives a `Store` to clerks.

    It remembers nothing about a clerk: a put that comes twice finds another version the second time.
    """

    service_name = "KV"

    def __init__(self) -> None:
        # Guards `store`: handlers run at the same time.
        self.mu = threading.Lock()
        self.store = Store()

    @rpc
    def get(self, args: GetArgs) -> GetReply:
        """The key's value and version; Err.NO_KEY if it was never put."""
        with self.mu:
            return self.store.get(args)

    @rpc
    def put(self, args: PutArgs) -> PutReply:
        """Sets the key if it has the version the put expects; else Err.VERSION, or Err.NO_KEY."""
        with self.mu:
            return self.store.put(args)
