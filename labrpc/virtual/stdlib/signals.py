"""`Semaphore`, `BoundedSemaphore`, `Event` and `Barrier` as server code on a host sees them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import BrokenBarrierError

from labrpc.virtual.stdlib.locks import Condition, Lock
from labrpc.virtual.stdlib.waiting import NumberedObject, Waiter, deadline_after, notify, wait_in

__all__ = ["Barrier", "BoundedSemaphore", "BrokenBarrierError", "Event", "Semaphore"]


class Semaphore(NumberedObject):
    """A number of permits, `value` at first; `acquire` takes one, `release` gives some back."""

    __module__ = "threading"

    def __init__(self, value: int = 1) -> None:
        if value < 0:
            raise ValueError("semaphore initial value must be >= 0")
        super().__init__()
        self._value = value
        self._waiters: deque[Waiter] = deque()

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Takes a permit; False if there was none at once (`blocking` false) or within `timeout` seconds."""
        if not blocking and timeout is not None:
            raise ValueError("can't specify timeout for non-blocking acquire")
        if not self._value and (not blocking or not self._wait(timeout)):
            return False
        self._value -= 1
        return True

    def _wait(self, timeout: float | None) -> bool:
        host = self._host
        if timeout is None:
            while not self._value:  # who is woken may find that another took the permit
                wait_in(host, self._waiters, None, "waits for a Semaphore")
            return True
        deadline = deadline_after(host, timeout)
        while not self._value and timeout > 0:
            wait_in(host, self._waiters, timeout, "waits for a Semaphore")
            timeout = (deadline - host.clock()) / 1e9
        return self._value > 0

    def release(self, n: int = 1) -> None:
        """Gives `n` permits back and wakes as many threads."""
        if n < 1:
            raise ValueError("n must be one or more")
        self._value += n
        notify(self._host, self._waiters, n)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<{self._title()}: value={self._value}>"


class BoundedSemaphore(Semaphore):
    """A semaphore that never holds more permits than it had at first."""

    __module__ = "threading"

    def __init__(self, value: int = 1) -> None:
        super().__init__(value)
        self._initial_value = value

    def release(self, n: int = 1) -> None:
        """Gives `n` permits back.

        Raises:
            ValueError: more than were taken.
        """
        if n >= 1 and self._value + n > self._initial_value:
            raise ValueError("Semaphore released too many times")
        super().release(n)

    def __repr__(self) -> str:
        return f"<{self._title()}: value={self._value}/{self._initial_value}>"


class Event(NumberedObject):
    """A flag that threads can wait for."""

    __module__ = "threading"

    def __init__(self) -> None:
        super().__init__()
        self._flag = False
        self._waiters: deque[Waiter] = deque()

    def is_set(self) -> bool:
        return self._flag

    isSet = is_set

    def set(self) -> None:
        """Sets the flag and wakes every thread that waits for it."""
        self._flag = True
        if self._waiters:
            notify(self._host, self._waiters, len(self._waiters))

    def clear(self) -> None:
        self._flag = False

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until the flag is set (True), also if it is cleared right after, or for `timeout` seconds (False)."""
        return self._flag or wait_in(self._host, self._waiters, timeout, "waits for an Event")

    def __repr__(self) -> str:
        return f"<{self._title()}: {'set' if self._flag else 'unset'}>"


class _Round:
    """One filling of a barrier."""

    __slots__ = ("arrived", "outcome")

    def __init__(self) -> None:
        self.arrived = 0
        self.outcome = ""
        """"" while it fills; then "passed", "reset" or "broken"."""


class Barrier(NumberedObject):
    """A place where `parties` threads wait for each other; the last to arrive calls `action` and lets all go on.

    A thread whose round was passed has passed it, even if the barrier breaks before that thread runs again.
    """

    __module__ = "threading"

    def __init__(self, parties: int, action: Callable[[], object] | None = None, timeout: float | None = None) -> None:
        if parties < 1:
            raise ValueError("parties must be > 0")
        super().__init__()
        self._parties = parties
        self._action = action
        self._timeout = timeout
        self._cond = Condition(Lock())
        self._cond.waits_for = "waits at a Barrier"
        self._round = _Round()

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the other parties; returns how many arrived before, so that each of a round has its own number.

        Raises:
            BrokenBarrierError: the barrier is broken, breaks or is reset while this thread waits, or `timeout` seconds
                (the barrier's own timeout by default) go by, which breaks it.
        """
        if timeout is None:
            timeout = self._timeout
        with self._cond:
            if self._round.outcome:
                raise BrokenBarrierError
            here = self._round
            index = here.arrived
            here.arrived += 1
            if here.arrived == self._parties:
                if self._action is not None:
                    try:
                        self._action()
                    except BaseException:
                        self._finish("broken")
                        raise
                self._finish("passed")
            elif not self._cond.wait_for(lambda: here.outcome, timeout):
                self._finish("broken")
            if here.outcome != "passed":
                raise BrokenBarrierError
            return index

    def reset(self) -> None:
        """Makes the barrier empty and whole; threads that wait at it get `BrokenBarrierError`."""
        with self._cond:
            if self._round.arrived or self._round.outcome:
                self._finish("reset")

    def abort(self) -> None:
        """Breaks the barrier: who waits at it, now or later, gets `BrokenBarrierError`, until it is reset."""
        with self._cond:
            self._finish("broken")

    def _finish(self, outcome: str) -> None:
        self._round.outcome = self._round.outcome or outcome
        if outcome != "broken":
            self._round = _Round()
        self._cond.notify_all()

    @property
    def parties(self) -> int:
        return self._parties

    @property
    def n_waiting(self) -> int:
        """The threads that wait at the barrier now."""
        return 0 if self._round.outcome else self._round.arrived

    @property
    def broken(self) -> bool:
        return self._round.outcome == "broken"

    def __repr__(self) -> str:
        if self.broken:
            return f"<{self._title()}: broken>"
        return f"<{self._title()}: waiters={self.n_waiting}/{self._parties}>"
