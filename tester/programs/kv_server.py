"""The one key/value server of part 3A."""

from __future__ import annotations

from kvraft import KVServer
from labrpc.program import ProgramHost

__all__ = ["boot"]


class Controls:
    """What the test may call on this server."""

    def kill(self) -> None:
        """It has no threads to end."""


def boot(host: ProgramHost) -> Controls:
    host.serve(KVServer())
    return Controls()
