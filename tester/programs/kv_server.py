"""The one key/value server of part 3A."""

from __future__ import annotations

from kvraft import KVServer
from labrpc.program import ProgramHost
from tester.programs.reachable import kept_bytes

__all__ = ["boot"]


class Controls:
    """What the test may call on this server."""

    def __init__(self, server: KVServer) -> None:
        self._server = server

    def kept_bytes(self) -> int:
        return kept_bytes(self._server)

    def kill(self) -> None:
        """It has no threads to end."""


def boot(host: ProgramHost) -> Controls:
    server = KVServer()
    host.serve(server)
    return Controls(server)
