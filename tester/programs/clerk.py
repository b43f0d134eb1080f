"""One client of the key/value service: a `Clerk`, and the locks made with it."""

from __future__ import annotations

from kvraft import Clerk, Lock
from labrpc.program import ProgramHost

__all__ = ["boot"]


class Controls:
    """What the test may call on this client."""

    def __init__(self, clerk: Clerk) -> None:
        self._clerk = clerk
        self._locks: dict[str, Lock] = {}

    def get(self, key: str) -> tuple[str, int, str]:
        value, version, err = self._clerk.get(key)
        return value, version, str(err)

    def put(self, key: str, value: str, version: int) -> str:
        return str(self._clerk.put(key, value, version))

    def acquire(self, name: str) -> None:
        self._lock(name).acquire()

    def release(self, name: str) -> None:
        self._lock(name).release()

    def _lock(self, name: str) -> Lock:
        if name not in self._locks:
            self._locks[name] = Lock(self._clerk, name)
        return self._locks[name]

    def kill(self) -> None:
        """A client has nothing to end."""


def boot(host: ProgramHost) -> Controls:
    return Controls(Clerk(host.ends))
