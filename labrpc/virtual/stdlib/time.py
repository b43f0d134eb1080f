"""`time` as server code on a host sees it: virtual time, in UTC.

The epoch of the virtual world is `EPOCH_NS`; the host's own clock, skew and drift included, counts from there.
"""

from __future__ import annotations

import calendar
import operator
import time as real_time
from time import strptime, struct_time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from labrpc.virtual.stdlib.waiting import TIMEOUT_MAX, current_host, deadline_after

if TYPE_CHECKING:
    from labrpc.virtual.host import Host

__all__ = [
    "EPOCH_NS",
    "altzone",
    "asctime",
    "clock_getres",
    "clock_gettime",
    "clock_gettime_ns",
    "ctime",
    "daylight",
    "get_clock_info",
    "gmtime",
    "localtime",
    "mktime",
    "monotonic",
    "monotonic_ns",
    "perf_counter",
    "perf_counter_ns",
    "process_time",
    "process_time_ns",
    "sleep",
    "strftime",
    "strptime",
    "struct_time",
    "thread_time",
    "thread_time_ns",
    "time",
    "time_ns",
    "timezone",
    "tzname",
]

EPOCH_NS = 1_700_000_000 * 1_000_000_000
"""What `time.time_ns()` is when a run begins: 2023-11-14T22:13:20Z."""

_YIELD_STEPS = 100
"""What `sleep(0)` costs, in step points: a loop around it must be seen to spin, and soon."""

timezone = altzone = daylight = 0
tzname = ("UTC", "UTC")

_CLOCKS = {name: getattr(real_time, name) for name in dir(real_time) if name.startswith("CLOCK_")}
_WALL_CLOCKS = {_CLOCKS[name] for name in ("CLOCK_REALTIME", "CLOCK_TAI") if name in _CLOCKS}


def namespace() -> dict[str, Any]:
    """The contents of a host's `time`."""
    public = [name for name in __all__ if name != "EPOCH_NS"]
    return {"__all__": [*public, *_CLOCKS], **_CLOCKS, **{name: globals()[name] for name in public}}


def monotonic_ns() -> int:
    nanoseconds: int = current_host().monotonic_ns()
    return nanoseconds


def monotonic() -> float:
    seconds: float = current_host().monotonic_ns() / 1e9
    return seconds


# CPU time is not told apart from the clock: step points are all that moves it while a thread runs.
perf_counter = process_time = thread_time = monotonic
perf_counter_ns = process_time_ns = thread_time_ns = monotonic_ns


def time_ns() -> int:
    return EPOCH_NS + monotonic_ns()


def time() -> float:
    return time_ns() / 1e9


def clock_gettime_ns(clock: int, /) -> int:
    return time_ns() if clock in _WALL_CLOCKS else monotonic_ns()


def clock_gettime(clock: int, /) -> float:
    return clock_gettime_ns(clock) / 1e9


def clock_getres(clock: int, /) -> float:
    return 1e-9


def get_clock_info(name: str, /) -> SimpleNamespace:
    if name not in ("monotonic", "perf_counter", "process_time", "thread_time", "time"):
        raise ValueError("unknown clock")
    return SimpleNamespace(implementation="virtual", monotonic=name != "time", adjustable=name == "time", resolution=1e-9)


def sleep(seconds: float, /) -> None:
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
    host: Host = current_host()
    if not length:
        host.charge(_YIELD_STEPS)
        host.slow_step()
        host.yield_now()
        return
    deadline = deadline_after(host, length)
    while host.park(deadline, "sleeps") and host.clock() < deadline:
        pass


def gmtime(seconds: float | None = None, /) -> struct_time:
    return real_time.gmtime(time() if seconds is None else seconds)


localtime = gmtime


def mktime(moment: Any, /) -> float:
    return float(calendar.timegm(tuple(moment)))


def asctime(moment: Any = None, /) -> str:
    return real_time.asctime(gmtime() if moment is None else moment)


def ctime(seconds: float | None = None, /) -> str:
    return real_time.asctime(gmtime(seconds))


def strftime(layout: str, moment: Any = None, /) -> str:
    return real_time.strftime(layout, gmtime() if moment is None else moment)
