"""A server that was shut down: cut off, told to end, and watched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labrpc.errors import CodeFault

if TYPE_CHECKING:
    from labrpc.coordinator import Coordinator

__all__ = ["SHUTDOWN_NS", "Shutdown"]

SHUTDOWN_NS = 11_000_000_000
"""How long a server that was shut down keeps running, so that everything in it can return."""


class Shutdown:
    """A server that was shut down and still has `SHUTDOWN_NS` to return from everything."""

    def __init__(self, coordinator: Coordinator, name: str, due: int) -> None:
        self.name = name
        self._coordinator = coordinator
        self._due = due
        self._threads: list[str] | None = None
        self._detail = ""

    def finish(self, threads: list[str], detail: str) -> None:
        self._threads, self._detail = threads, detail

    def remaining_threads(self) -> list[str]:
        """Waits until the time is over; the names of the threads that still run then."""
        while self._threads is None:
            self._coordinator.sleep_ns(max(1, self._due - self._coordinator.now))
        return self._threads

    def assert_all_returned(self) -> None:
        """Waits, and fails the test if a thread of the dead server still runs.

        Raises:
            CodeFault: names each thread and where it stands.
        """
        threads = self.remaining_threads()
        if threads:
            seconds = SHUTDOWN_NS // 1_000_000_000
            text = (
                f"server {self.name} still runs {len(threads)} threads {seconds} s after kill(): {', '.join(threads)}"
            )
            raise CodeFault(text, self._detail, is_overdue=True)
