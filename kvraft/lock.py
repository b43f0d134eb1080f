"""A lock on the key/value service: one key, whose value names the holder."""

from __future__ import annotations

import random
import time

from kvraft.clerk import Clerk
from kvraft.rpc import Err
from labrpc import UsageError

__all__ = ["Lock"]

FREE = ""
LONGEST_PAUSE = 0.08
"""Seconds between two looks at a lock that another holds; the pause doubles up to this."""


class Lock:
    """A lock that any number of clients share by its `name`. One thread uses one `Lock` object.

    A holder that dies holds it for ever: the service knows nothing of clients.

    Args:
        clerk: the client that acts for the holder.
        name: the key; nothing else may put it.
    """

    def __init__(self, clerk: Clerk, name: str) -> None:
        self.clerk = clerk
        self.name = name
        # Tells this object's puts from all others', also when the answer to one was lost.
        self.holder = f"{random.getrandbits(64):016x}"

    def acquire(self) -> None:
        """Waits until the lock is free, and takes it.

        Raises:
            UsageError: this object holds it.
        """
        value, version = self._look()
        if value == self.holder:
            raise UsageError(f"lock {self.name} is held by this Lock; release it first")
        pause = LONGEST_PAUSE / 16
        while value != self.holder:  # or until a put that ended in MAYBE shows
            if value == FREE:
                if self.clerk.put(self.name, self.holder, version) is Err.OK:
                    return
            else:
                time.sleep(random.uniform(pause / 2, pause))
                pause = min(2 * pause, LONGEST_PAUSE)
            value, version = self._look()

    def release(self) -> None:
        """Sets the lock free.

        Raises:
            UsageError: this object does not hold it.
        """
        value, version = self._look()
        if value != self.holder:
            raise UsageError(f"lock {self.name} is not held by this Lock; acquire it first")
        while value == self.holder:  # until OK, or until a put that ended in MAYBE shows
            if self.clerk.put(self.name, FREE, version) is Err.OK:
                return
            value, version = self._look()

    def _look(self) -> tuple[str, int]:
        value, version, _ = self.clerk.get(self.name)
        return value, version
