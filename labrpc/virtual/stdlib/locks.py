r"""`Lock`, `RLock` and `Condition` as server code on a host sees them.

    acquire --free--> taken
       \---held--> wait-for graph examined, parked in FIFO order --released--> the first that waits tries again

As in CPython a released lock is free for whoever comes first, also for a thread that did not wait; a waiter that comes
too late keeps its place at the head. Each lock knows its owner, so that `diagnosis` can say who waits for whom.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from labrpc.context import HostEnded
from labrpc.virtual import diagnosis
from labrpc.virtual.scheduler import GreenThread
from labrpc.virtual.stdlib.waiting import POLL_STEPS, HostObject, NumberedObject, Waiter, deadline_after, notify

__all__ = ["Condition", "Lock", "RLock"]

T = TypeVar("T")

_OUTSIDE = GreenThread(0, "outside the host's threads")
"""Owns what is acquired by code that runs between the host's threads, such as a `__del__` during garbage collection."""


class _OwnedLock(NumberedObject):
    """What both kinds of lock share: an owner, and threads that wait for it to let go."""

    __slots__ = ("_waiters", "owner")

    is_signal: bool

    def __init__(self) -> None:
        super().__init__()
        self.owner: GreenThread | None = None
        """The thread that holds the lock, None while it is free."""
        self._waiters: deque[GreenThread] | None = None

    def _take(self) -> None:
        thread = self._host.current or _OUTSIDE
        self.owner = thread
        thread.locks_held += 1

    def _let_go(self, owner: GreenThread) -> None:
        self.owner = None
        owner.locks_held -= 1
        if self._waiters:
            self._host.unpark(self._waiters.popleft())

    def _acquire_held(self, blocking: bool, timeout: float) -> bool:
        """`acquire` with every argument, when the lock need not be free."""
        deadline = None
        if timeout != -1:
            if not blocking:
                raise ValueError("can't specify a timeout for a non-blocking call")
            if not timeout >= 0:
                raise ValueError("timeout value must be a non-negative number")
            deadline = deadline_after(self._host, timeout)
        if self.owner is not None and not (blocking and timeout != 0 and self._wait(deadline)):
            return False
        self._take()
        return True

    def _wait(self, deadline: int | None) -> bool:
        """Parks the running thread until the lock is free (True) or until `deadline` (False)."""
        host = self._host
        thread = host.current
        if thread is None:
            raise RuntimeError(f"{self!r} is held, and code outside the host's threads cannot wait for it")
        if host.stopped:
            raise RuntimeError(
                f"{self!r} is held by thread {diagnosis.thread_name(self.owner)}, and the world is stopped"
            )
        waits_for: Any = self
        if deadline is None:
            thread.waits_for = self  # for the report
            suspect = not diagnosis.examine_acquire(host, self)
            until = host.clock() + diagnosis.LOCK_WAIT_LIMIT_NS if suspect else None
        else:  # it gives up by itself, so it closes no cycle: a phrase, which the wait-for graph does not follow
            waits_for = f"waits for {diagnosis.lock_name(host, self)}, with a timeout"
            until = deadline
        if self._waiters is None:
            self._waiters = deque()
        waiters = self._waiters
        waiters.append(thread)
        while self.owner is not None:
            if thread not in waiters:  # woken, and somebody else was faster
                waiters.appendleft(thread)
            if host.park(until, waits_for) or self.owner is None:
                continue
            if deadline is not None:
                break
            thread.waits_for = self
            diagnosis.overdue_acquire(host, self)
            until = None
        if thread in waiters:
            waiters.remove(thread)
        return self.owner is None

    def _refuse_release(self, text: str) -> BaseException:
        """What to raise when a lock is released that is not held: a dying host's threads must not catch it."""
        return HostEnded() if self._host.ended else RuntimeError(text)


class Lock(_OwnedLock):
    """A lock that is held or free. Any thread may release it, but only a signal between threads is used so."""

    __slots__ = ("is_signal",)
    __module__ = "threading"

    def __init__(self) -> None:
        super().__init__()
        self.is_signal = False
        """Whether a thread that did not hold it has ever released it: then nobody owns it in earnest."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Takes the lock; False if that was not possible at once (`blocking` false) or within `timeout` seconds."""
        if self.owner is None and blocking is True and timeout == -1:
            self.owner = thread = self._host.current or _OUTSIDE
            thread.locks_held += 1
            return True
        return self._acquire_held(blocking, timeout)

    def release(self) -> None:
        """Frees the lock and wakes the thread that has waited longest.

        Raises:
            RuntimeError: it is free.
        """
        owner = self.owner
        if owner is None:
            raise self._refuse_release("release unlocked lock")
        if owner is not (self._host.current or _OUTSIDE):
            if self._host.ended:
                raise HostEnded
            self.is_signal = True
            self._host.foreign_release(self)
        self._let_go(owner)

    def locked(self) -> bool:
        return self.owner is not None

    def __enter__(self) -> bool:
        if self.owner is None:
            self.owner = thread = self._host.current or _OUTSIDE
            thread.locks_held += 1
            return True
        return self._acquire_held(True, -1)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        owner = self.owner
        if owner is None or self._waiters or owner is not self._host.current:
            self.release()
        else:
            self.owner = None
            owner.locks_held -= 1

    def __repr__(self) -> str:
        state = "unlocked" if self.owner is None else "locked"
        return f"<{state} {self._kind()} object at {self._host.name}/{self.number}>"

    # What a Condition needs.

    def _is_owned(self) -> bool:
        return self.owner is not None  # by whomever, as in CPython

    def _release_save(self) -> None:
        self.release()

    def _acquire_restore(self, saved: None) -> None:
        self._acquire_held(True, -1)


class RLock(_OwnedLock):
    """A lock that its owner may acquire again; it is free once it was released as often."""

    __slots__ = ("_count",)
    __module__ = "threading"

    is_signal = False

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Takes the lock once more; False if that was not possible at once or within `timeout` seconds."""
        thread = self._host.current or _OUTSIDE
        if self.owner is thread:
            self._count += 1
            return True
        if self.owner is None and blocking is True and timeout == -1:
            self.owner = thread
            thread.locks_held += 1
        elif not self._acquire_held(blocking, timeout):
            return False
        self._count = 1
        return True

    def release(self) -> None:
        """Releases it once.

        Raises:
            RuntimeError: the calling thread does not hold it.
        """
        owner = self.owner
        if owner is None or owner is not (self._host.current or _OUTSIDE):
            raise self._refuse_release("cannot release un-acquired lock")
        self._count -= 1
        if not self._count:
            self._let_go(owner)

    def locked(self) -> bool:
        return self.owner is not None

    def __enter__(self) -> bool:
        if self.owner is None:
            self.owner = thread = self._host.current or _OUTSIDE
            thread.locks_held += 1
            self._count = 1
            return True
        return self.acquire()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.release()

    def __repr__(self) -> str:
        state = "unlocked" if self.owner is None else "locked"
        owner = None if self.owner is None else diagnosis.thread_name(self.owner)
        place = f"{self._host.name}/{self.number}"
        return f"<{state} {self._kind()} object owner={owner!r} count={self._count} at {place}>"

    # What a Condition needs.

    def _is_owned(self) -> bool:
        return self.owner is (self._host.current or _OUTSIDE)

    def _recursion_count(self) -> int:
        return self._count if self._is_owned() else 0

    def _release_save(self) -> int:
        owner = self.owner
        if owner is None or owner is not (self._host.current or _OUTSIDE):
            raise self._refuse_release("cannot release un-acquired lock")
        count, self._count = self._count, 0
        self._let_go(owner)
        return count

    def _acquire_restore(self, count: int) -> None:
        self._acquire_held(True, -1)
        self._count = count


class Condition(HostObject):
    """A place to wait for a change that is made under a lock.

    Args:
        lock: anything with `acquire` and `release`; a new `RLock` if none is given.
    """

    __module__ = "threading"

    acquire: Callable[..., bool]
    release: Callable[[], None]
    waits_for = "waits for a Condition to be notified"
    """What its threads wait for, in words."""

    def __init__(self, lock: Any = None) -> None:
        super().__init__()
        self._lock: Any = RLock() if lock is None else lock
        self.acquire = self._lock.acquire
        self.release = self._lock.release
        self._waiters: deque[Waiter] = deque()
        for name in ("_is_owned", "_release_save", "_acquire_restore"):
            if hasattr(self._lock, name):  # else it is a lock of the caller's own making
                setattr(self, name, getattr(self._lock, name))

    def __enter__(self) -> bool:
        entered: bool = self._lock.__enter__()
        return entered

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._lock.__exit__(kind, error, trace)

    def __repr__(self) -> str:
        return f"<Condition({self._lock!r}, {len(self._waiters)})>"

    def _is_owned(self) -> bool:
        if self._lock.acquire(False):
            self._lock.release()
            return False
        return True

    def _release_save(self) -> Any:
        self._lock.release()

    def _acquire_restore(self, saved: Any) -> None:
        self._lock.acquire()

    def wait(self, timeout: float | None = None) -> bool:
        """Releases the lock, waits to be notified (True) or for `timeout` seconds (False), and takes the lock again.

        Raises:
            RuntimeError: the lock is not held.
        """
        deadline = None
        if timeout is not None and timeout > 0:
            deadline = deadline_after(self._host, timeout)
        return self._wait_until(deadline, timeout is None or timeout > 0)

    def _wait_until(self, deadline: int | None, parks: bool = True) -> bool:
        """`wait` with the instant at which to give up (None: never); `parks` False: it is over already."""
        if not self._is_owned():
            raise self._refusal("cannot wait on un-acquired lock")
        host = self._host
        waiter = Waiter(host.current)
        self._waiters.append(waiter)
        saved = self._release_save()
        if not parks:
            host.charge(POLL_STEPS)
        # No `finally` takes the lock back: nothing but the host's end comes out of park().
        while parks and not waiter.notified and host.park(deadline, self.waits_for):
            pass
        notified = waiter.notified
        waiter.thread = None
        self._acquire_restore(saved)
        if not notified and not waiter.notified:
            # Only now: as in CPython, a notify() that comes while this thread waits for the lock is spent on it.
            self._waiters.remove(waiter)
        return notified

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Waits until `predicate()` is true, and returns its value; after `timeout` seconds, whatever it is then."""
        deadline = None if timeout is None else deadline_after(self._host, max(timeout, 0))
        over = timeout is not None and timeout <= 0
        result = predicate()
        while not result and not over:
            self._wait_until(deadline)
            result = predicate()
            over = deadline is not None and self._host.clock() >= deadline
        return result

    def notify(self, n: int = 1) -> None:
        """Wakes the first `n` threads that wait.

        Raises:
            RuntimeError: the lock is not held.
        """
        if not self._is_owned():
            raise self._refusal("cannot notify on un-acquired lock")
        notify(self._host, self._waiters, n)

    def notify_all(self) -> None:
        """Wakes every thread that waits."""
        self.notify(len(self._waiters))

    notifyAll = notify_all

    def _refusal(self, text: str) -> BaseException:
        return HostEnded() if self._host.ended else RuntimeError(text)
