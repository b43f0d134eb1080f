"""A client of the key/value service: asks until a server answers, and says when it cannot know.

    get, put --> the server that led last --no answer twice, or no leader--> the next one --> ...

An answer may be lost after the put took effect. Sending the put again is safe, for it names its version; but if the
second attempt finds another version, that may be the work of the first. Then the honest result is `Err.MAYBE`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from kvraft.rpc import Err, GetArgs, PutArgs
from labrpc import ClientEnd, UsageError

__all__ = ["Clerk"]

CALL_TIMEOUT = 0.3
"""Seconds after which it tries another server: a leader that was cut off can answer nobody. Shorter would send again
what a busy leader is about to answer."""

RETRY_INTERVAL = 0.03
"""Seconds of pause once every server has refused: they are electing a leader."""


class Clerk:
    """A client with one operation at a time.

    Args:
        servers: an end for each server of the service.

    Raises:
        UsageError: there are no servers.
    """

    def __init__(self, servers: Sequence[ClientEnd]) -> None:
        if not servers:
            raise UsageError("a clerk needs at least 1 server")
        self.servers = servers
        # The server that answered last: it probably still leads.
        self.leader = 0

    def get(self, key: str) -> tuple[str, int, Err]:
        """(value, version, OK), or ("", 0, NO_KEY). Returns once a server has answered, however long that takes."""
        reply, _ = self._ask("KV.get", GetArgs(key))
        return reply.value, reply.version, reply.err

    def put(self, key: str, value: str, version: int) -> Err:
        """Sets `key` if it has `version` (0: if it does not exist). Returns once a server has answered.

        OK: it took effect. VERSION, NO_KEY: it did not, for the key has another version, or none. MAYBE: the key has
        another version now, and perhaps because of this put, whose first answer was lost.
        """
        reply, attempts = self._ask("KV.put", PutArgs(key, value, version))
        if reply.err is Err.VERSION and attempts > 1:
            return Err.MAYBE
        err: Err = reply.err
        return err

    def _ask(self, method: str, args: Any) -> tuple[Any, int]:
        """A reply of a server that leads, and how many times the request was sent for it."""
        attempts = silences = refusals = 0
        while True:
            attempts += 1
            reply = self.servers[self.leader].call(method, args, timeout=CALL_TIMEOUT)
            if reply is None:
                silences += 1
                if silences % 2 == 1:
                    continue  # one message may be lost on the way to a leader that is well
            elif reply.err is not Err.WRONG_LEADER:
                return reply, attempts
            else:
                silences = 0
                refusals += 1
                if refusals % len(self.servers) == 0:
                    time.sleep(RETRY_INTERVAL)
            self.leader = (self.leader + 1) % len(self.servers)
