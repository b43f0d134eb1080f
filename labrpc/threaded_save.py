"""The future of a save for which real threads wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

__all__ = ["ThreadedSave"]


class ThreadedSave:
    """See `labrpc.persister.SaveFuture`; any thread may call it. The disk's side finishes it."""

    def __init__(self) -> None:
        self._mu = threading.Lock()
        self._done = threading.Event()
        self._callbacks: list[Callable[[Any], object]] = []

    def done(self) -> bool:
        return self._done.is_set()

    def result(self, timeout: float | None = None) -> None:
        if not self._wait(timeout):
            raise TimeoutError(f"the save did not complete within {timeout} s")

    def _wait(self, timeout: float | None) -> bool:
        """Waits, at most `timeout` seconds; whether the save is durable."""
        return self._done.wait(timeout)

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        with self._mu:
            if not self._done.is_set():
                self._callbacks.append(callback)
                return
        callback(self)

    def finish(self) -> None:
        """The save is durable: who waits for it goes on, and the callbacks run on this thread."""
        self.let_go()
        for callback in self._callbacks:
            callback(self)

    def let_go(self) -> None:
        """Who waits for it goes on."""
        with self._mu:
            self._done.set()
