"""What everything that blocks on a host is made of: an owner of its own kind, deadlines, and queues of waiting threads.

The code in this package has no step points, so each of its functions is one indivisible action to the code under test:
a thread gives way only where it parks. None of it is copied per host: an object finds its host when it is made.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from labrpc.virtual.scheduler import GreenThread
from labrpc.virtual.scheduler import host as current_host

if TYPE_CHECKING:
    from labrpc.virtual.host import Host

__all__ = [
    "POLL_STEPS",
    "TIMEOUT_MAX",
    "TIMER_SLACK_NS",
    "HostObject",
    "NumberedObject",
    "Waiter",
    "current_host",
    "deadline_after",
    "notify",
    "wait_in",
]

TIMEOUT_MAX = 9223372036.0
"""The longest timeout, as in CPython on Linux. Seconds."""

TIMER_SLACK_NS = 50_000
"""The shortest timed wait: Linux's own default slack. It keeps a loop of tiny sleeps from crawling through time."""

POLL_STEPS = 5
"""What a wait of no time costs: the library's own loops have no step points, and one that polls must see time pass."""


class HostObject:
    """An object of one host, the one that runs when it is made."""

    __slots__ = ("__weakref__", "_host")

    def __init__(self) -> None:
        self._host: Host = current_host()

    def __reduce__(self) -> Any:
        raise TypeError(f"cannot pickle or copy {type(self).__name__!r} object")


class NumberedObject(HostObject):
    """One that is known by a number instead of its address, which would differ from run to run."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        super().__init__()
        self._host.lock_count += 1
        self.number = self._host.lock_count

    def _title(self) -> str:
        """`threading.Event at server-1/7`, for `repr`."""
        return f"{self._kind()} at {self._host.name}/{self.number}"

    def _kind(self) -> str:
        return f"{type(self).__module__}.{type(self).__qualname__}"


class Waiter:
    """One thread in a queue of threads that wait to be notified; `thread` None: it has given up, wake nobody."""

    __slots__ = ("notified", "thread")

    def __init__(self, thread: GreenThread | None) -> None:
        self.thread = thread
        self.notified = False


def deadline_after(host: Host, seconds: float) -> int:
    """The instant `seconds` from now by the host's own clock, never sooner than the timer slack. ns.

    Raises:
        OverflowError: `seconds` exceeds `TIMEOUT_MAX`.
        ValueError: it is not a number.
    """
    if seconds > TIMEOUT_MAX:
        raise OverflowError("timeout value is too large")
    return max(host.deadline(seconds), host.clock() + TIMER_SLACK_NS)


def wait_in(host: Host, waiters: deque[Waiter], timeout: float | None, waits_for: str) -> bool:
    """Parks the running thread at the end of `waiters` until it is notified (True) or `timeout` seconds are over."""
    deadline = None
    if timeout is not None:
        if timeout <= 0:
            host.charge(POLL_STEPS)
            return False
        deadline = deadline_after(host, timeout)
    waiter = Waiter(host.current)
    waiters.append(waiter)
    while not waiter.notified:
        if not host.park(deadline, waits_for) and not waiter.notified:
            waiters.remove(waiter)
            return False
    return True


def notify(host: Host, waiters: deque[Waiter], n: int) -> None:
    """Notifies the first `n` of `waiters`, or all there are."""
    while waiters and n > 0:
        waiter = waiters.popleft()
        waiter.notified = True
        if waiter.thread is not None:
            host.unpark(waiter.thread)
        n -= 1
