"""`time` as server code on a host sees it: virtual time, in UTC.

The epoch of the virtual world is `EPOCH_NS`; the host's own clock, skew and drift included, counts from there.
"""

from __future__ import annotations

import calendar
import operator
import time as real_time
from time import struct_time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from labrpc.virtual.stdlib.waiting import TIMEOUT_MAX, deadline_after

if TYPE_CHECKING:
    from labrpc.virtual.host import Host

__all__ = ["EPOCH_NS", "HostTime", "namespace"]

EPOCH_NS = 1_700_000_000 * 1_000_000_000
"""What `time.time_ns()` is when a run begins: 2023-11-14T22:13:20Z."""

_YIELD_STEPS = 100
"""What `sleep(0)` costs, in step points: a loop around it must be seen to spin, and soon."""

_CLOCKS = {name: getattr(real_time, name) for name in dir(real_time) if name.startswith("CLOCK_")}
_WALL_CLOCKS = {_CLOCKS[name] for name in ("CLOCK_REALTIME", "CLOCK_TAI") if name in _CLOCKS}


def namespace(host: Host) -> dict[str, Any]:
    """The contents of a host's `time`."""
    functions = HostTime(host)
    contents = {name: getattr(functions, name) for name in dir(HostTime) if not name.startswith("_")}
    contents.update(_CLOCKS, struct_time=struct_time)
    contents.update(altzone=0, daylight=0, timezone=0, tzname=("UTC", "UTC"))
    return contents


class HostTime:
    """The functions of one host's `time`.

    They are bound methods because the real ones are built in: neither turns into a method of a class that keeps it.
    """

    def __init__(self, host: Host) -> None:
        self._host = host

    def monotonic_ns(self) -> int:
        return self._host.monotonic_ns()

    def monotonic(self) -> float:
        return self._host.monotonic_ns() / 1e9

    # CPU time is not told apart from the clock: step points are all that moves it while a thread runs.
    perf_counter = process_time = thread_time = monotonic
    perf_counter_ns = process_time_ns = thread_time_ns = monotonic_ns

    def time_ns(self) -> int:
        return EPOCH_NS + self._host.monotonic_ns()

    def time(self) -> float:
        return (EPOCH_NS + self._host.monotonic_ns()) / 1e9

    def clock_gettime_ns(self, clock: int, /) -> int:
        return self.time_ns() if clock in _WALL_CLOCKS else self.monotonic_ns()

    def clock_gettime(self, clock: int, /) -> float:
        return self.clock_gettime_ns(clock) / 1e9

    def clock_getres(self, clock: int, /) -> float:
        return 1e-9

    def get_clock_info(self, name: str, /) -> SimpleNamespace:
        if name not in ("monotonic", "perf_counter", "process_time", "thread_time", "time"):
            raise ValueError("unknown clock")
        wall = name == "time"
        return SimpleNamespace(implementation="virtual", monotonic=not wall, adjustable=wall, resolution=1e-9)

    def sleep(self, seconds: float, /) -> None:
        """Blocks for `seconds`; 0 gives way to the host's other threads.

        Raises:
            ValueError: `seconds` is negative or not a number.
            OverflowError: it exceeds 292 years.
        """
        length = seconds if isinstance(seconds, float) else operator.index(seconds)
        if length != length:
            raise ValueError("Invalid value NaN (not a number)")
        if length < 0:
            raise ValueError("sleep length must be non-negative")
        if length > TIMEOUT_MAX:
            raise OverflowError("timestamp too large to convert to C PyTime_t")
        host = self._host
        if not length:
            host.charge(_YIELD_STEPS)
            host.slow_step()
            host.yield_now()
            return
        deadline = deadline_after(host, length)
        while host.park(deadline, "sleeps") and host.clock() < deadline:
            pass

    def gmtime(self, seconds: float | None = None, /) -> struct_time:
        return real_time.gmtime(self.time() if seconds is None else seconds)

    localtime = gmtime

    def mktime(self, moment: Any, /) -> float:
        return float(calendar.timegm(tuple(moment)))

    def asctime(self, moment: Any = None, /) -> str:
        return real_time.asctime(self.gmtime() if moment is None else moment)

    def ctime(self, seconds: float | None = None, /) -> str:
        return real_time.asctime(self.gmtime(seconds))

    def strptime(self, text: str, layout: str = "%a %b %d %H:%M:%S %Y", /) -> struct_time:
        return real_time.strptime(text, layout)  # called from here, it imports _strptime as this module would

    def strftime(self, layout: str, moment: Any = None, /) -> str:
        return real_time.strftime(layout, self.gmtime() if moment is None else moment)
