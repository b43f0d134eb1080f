"""Ends the threads of servers that are dead: Python cannot kill a thread, it can only ask it to end.

    crash --Reaper.take--> kill() on a thread of its own --0.1 s--> HostEnded in each that is left, again and again

A server that ends when it is killed is gone at once. One that does not is asked at every call and every loop it makes;
what cannot be asked is a call into C that never returns, a lock that nobody will release above all.
"""

from __future__ import annotations

import threading
import time

from labrpc.real.host import RealHost

__all__ = ["Reaper"]

_GRACE_S = 0.1
"""What a server has to end by itself."""

_INTERVAL_S = 0.02


class Reaper:
    """The dead hosts of one run."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._dying: dict[RealHost, float] = {}
        """Each with the instant, by `time.monotonic`, from which its threads are pressed."""
        self._thread: threading.Thread | None = None

    def take(self, host: RealHost) -> None:
        """Ends the threads of `host`, which has ended. Returns at once."""
        host.kill()
        with self._changed:
            self._dying[host] = time.monotonic() + _GRACE_S
            if self._thread is None:
                self._thread = threading.Thread(target=self._reap, name="lab reaper", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def survivors(self, patience: float) -> list[RealHost]:
        """Waits up to `patience` seconds, then gives up; the hosts that have threads left even now."""
        with self._changed:
            self._changed.wait_for(lambda: not self._dying, patience)
            left = list(self._dying)
            self._dying.clear()
            return left

    def _reap(self) -> None:
        while True:
            with self._changed:
                if not self._dying:
                    self._thread = None
                    return
                self._changed.wait(_INTERVAL_S)
                dying = list(self._dying.items())
            gone = [host for host, due in dying if not _press(host, due)]
            with self._changed:
                for host in gone:
                    self._dying.pop(host, None)
                self._changed.notify_all()


def _press(host: RealHost, due: float) -> bool:
    """Whether `host` has threads left; from `due` on they are asked to end."""
    if not host.roster.alive():
        host.forget()
        return False
    if time.monotonic() >= due:
        host.roster.press()
    return True
