"""A clock that runs fast or slow, and jumps: what `time.monotonic` and `time.time` say where it is installed.

Everything in a node asks `time.monotonic` when it needs to know how late it is: the rules of raft/, the node, its event
loop. So it is replaced there, once for the whole process, and how long the loop sleeps is put right. What gRPC and the
kernel do by clocks of their own is not touched.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from typing import Any

__all__ = ["SkewedClock"]

_monotonic = time.monotonic
_wall = time.time


class SkewedClock:
    """A clock like this machine's until it is told otherwise. Any thread may ask it, one may set it."""

    def __init__(self) -> None:
        # What it says is base + (now - since) * rate; one tuple, so that who asks sees all three of one moment.
        self._line = (_monotonic(), _monotonic(), 1.0)
        self._wall_offset = 0.0

    @property
    def rate(self) -> float:
        """Its seconds a real second."""
        return self._line[2]

    def monotonic(self) -> float:
        """For `time.monotonic`; it never goes back."""
        since, base, rate = self._line
        return base + (_monotonic() - since) * rate

    def monotonic_ns(self) -> int:
        """For `time.monotonic_ns`."""
        return int(self.monotonic() * 1e9)

    def wall(self) -> float:
        """For `time.time`."""
        return _wall() + self._wall_offset

    def run_at(self, rate: float) -> None:
        """Makes it run at `rate`.

        Raises:
            ValueError: that is not more than 0.
        """
        if not 0 < rate < float("inf"):
            raise ValueError(f"a clock's rate must be more than 0, not {rate!r}")
        self._line = (_monotonic(), self.monotonic(), rate)

    def jump(self, seconds: float) -> None:
        """Sets it so many seconds ahead, or, below 0, the wall clock alone back: a monotonic clock never goes back."""
        self._wall_offset += seconds
        if seconds > 0:
            self._line = (_monotonic(), self.monotonic() + seconds, self.rate)

    def install(self) -> None:
        """Puts it into this process' `time`, for good."""
        time.monotonic = self.monotonic
        time.monotonic_ns = self.monotonic_ns
        time.time = self.wall

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """An event loop whose timers go by it."""
        return asyncio.SelectorEventLoop(_Selector(self))


class _Selector(selectors.DefaultSelector):
    """Waits as long as it takes until the clock is so much later."""

    def __init__(self, clock: SkewedClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> Any:
        return super().select(timeout if timeout is None else timeout / self._clock.rate)
