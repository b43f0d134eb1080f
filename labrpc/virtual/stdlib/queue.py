"""`queue` as server code on a host sees it.

Nothing in this package preempts, so a `put` or `get` of a plain queue that need not wait is done without its mutex, as
long as nobody holds that. Priority queues and subclasses always take it: they call code under test (`__lt__`, `_put`).
"""

from __future__ import annotations

import queue as real_queue
from collections import deque
from heapq import heappop, heappush
from queue import Empty, Full
from types import GenericAlias
from typing import Any

from labrpc.virtual.scheduler import GreenThread
from labrpc.virtual.stdlib.locks import Condition, Lock
from labrpc.virtual.stdlib.waiting import HostObject, deadline_after, notify

__all__ = ["Empty", "Full", "LifoQueue", "PriorityQueue", "Queue", "ShutDown", "SimpleQueue"]

if hasattr(real_queue, "ShutDown"):
    ShutDown: Any = real_queue.ShutDown
else:

    class ShutDown(Exception):  # type: ignore[no-redef]
        """A put or get on a queue that was shut down."""

        __module__ = "queue"


class Queue(HostObject):
    """A FIFO queue of at most `maxsize` items; 0 or less: no bound."""

    __module__ = "queue"

    _is_plain = True
    """Whether `_qsize`, `_put` and `_get` are the ones below and call no code under test."""

    __class_getitem__: Any = classmethod(GenericAlias)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._is_plain = False

    def __init__(self, maxsize: int = 0) -> None:
        super().__init__()
        self.maxsize = maxsize
        self._init(maxsize)
        self.mutex = Lock()
        self.not_empty = Condition(self.mutex)
        self.not_full = Condition(self.mutex)
        self.all_tasks_done = Condition(self.mutex)
        self.not_empty.waits_for = "waits for an item in a Queue"
        self.not_full.waits_for = "waits for a free place in a Queue"
        self.all_tasks_done.waits_for = "waits until the tasks of a Queue are done"
        self.unfinished_tasks = 0
        self.is_shutdown = False

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Adds `item`, waiting for a free place if there is none.

        Raises:
            Full: there is no place now (`block` false) or within `timeout` seconds.
            ShutDown: the queue was shut down.
        """
        if (
            timeout is None
            and self._is_plain
            and self.mutex.owner is None
            and not self.is_shutdown
            and not 0 < self.maxsize <= self._qsize()
        ):
            self._put(item)
            self.unfinished_tasks += 1
            if self.not_empty._waiters:
                notify(self._host, self.not_empty._waiters, 1)
            return
        with self.not_full:
            self._check_open()
            if self.maxsize > 0:
                deadline = self._deadline(block, timeout)
                while self._qsize() >= self.maxsize:
                    if not self._wait(self.not_full, block, deadline):
                        raise Full
                    self._check_open()
            self._put(item)
            self.unfinished_tasks += 1
            self.not_empty.notify()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Removes and returns an item, waiting for one if there is none.

        Raises:
            Empty: there is none now (`block` false) or within `timeout` seconds.
            ShutDown: the queue was shut down and is empty.
        """
        if timeout is None and self._is_plain and self.mutex.owner is None and self._qsize():
            item = self._get()
            if self.not_full._waiters:
                notify(self._host, self.not_full._waiters, 1)
            return item
        with self.not_empty:
            if self.is_shutdown and not self._qsize():
                raise ShutDown
            deadline = self._deadline(block, timeout)
            while not self._qsize():
                if not self._wait(self.not_empty, block, deadline):
                    raise Empty
                if self.is_shutdown and not self._qsize():
                    raise ShutDown
            item = self._get()
            self.not_full.notify()
            return item

    def _deadline(self, block: bool, timeout: float | None) -> int | None:
        if not block or timeout is None:
            return None
        if timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")
        return deadline_after(self._host, timeout)

    def _wait(self, condition: Condition, block: bool, deadline: int | None) -> bool:
        """Waits once; False if there is no time left to wait."""
        if not block or (deadline is not None and self._host.clock() >= deadline):
            return False
        condition._wait_until(deadline)
        return True

    def _check_open(self) -> None:
        if self.is_shutdown:
            raise ShutDown

    def put_nowait(self, item: Any) -> None:
        self.put(item, block=False)

    def get_nowait(self) -> Any:
        return self.get(block=False)

    def qsize(self) -> int:
        with self.mutex:
            return self._qsize()

    def empty(self) -> bool:
        with self.mutex:
            return not self._qsize()

    def full(self) -> bool:
        with self.mutex:
            return 0 < self.maxsize <= self._qsize()

    def task_done(self) -> None:
        """Says that the work on one item that was got is done.

        Raises:
            ValueError: more often than items were put.
        """
        with self.all_tasks_done:
            if self.unfinished_tasks <= 0:
                raise ValueError("task_done() called too many times")
            self.unfinished_tasks -= 1
            if not self.unfinished_tasks:
                self.all_tasks_done.notify_all()

    def join(self) -> None:
        """Waits until `task_done` was called for each item that was put."""
        with self.all_tasks_done:
            while self.unfinished_tasks:
                self.all_tasks_done.wait()

    def shutdown(self, immediate: bool = False) -> None:
        """Refuses further items; `immediate` drops those there are. Threads that wait get `ShutDown`."""
        with self.mutex:
            self.is_shutdown = True
            if immediate:
                while self._qsize():
                    self._get()
                    if self.unfinished_tasks > 0:
                        self.unfinished_tasks -= 1
                self.all_tasks_done.notify_all()
            self.not_empty.notify_all()
            self.not_full.notify_all()

    # What a subclass may override; called with the mutex held.

    def _init(self, maxsize: int) -> None:
        self.queue: Any = deque()

    def _qsize(self) -> int:
        return len(self.queue)

    def _put(self, item: Any) -> None:
        self.queue.append(item)

    def _get(self) -> Any:
        return self.queue.popleft()


class LifoQueue(Queue):
    """A queue that gives back the latest item first."""

    __module__ = "queue"

    def _init(self, maxsize: int) -> None:
        self.queue = []

    def _get(self) -> Any:
        return self.queue.pop()


LifoQueue._is_plain = True


class PriorityQueue(Queue):
    """A queue that gives back the smallest item first."""

    __module__ = "queue"

    def _init(self, maxsize: int) -> None:
        self.queue = []

    def _put(self, item: Any) -> None:
        heappush(self.queue, item)

    def _get(self) -> Any:
        return heappop(self.queue)


class SimpleQueue(HostObject):
    """A FIFO queue without a bound."""

    __module__ = "queue"

    __class_getitem__: Any = classmethod(GenericAlias)

    def __init__(self) -> None:
        super().__init__()
        self._items: deque[Any] = deque()
        self._waiters: deque[GreenThread] = deque()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Adds `item`; it never waits, and takes the other arguments for the sake of `Queue.put`."""
        self._items.append(item)
        if self._waiters:
            self._host.unpark(self._waiters.popleft())

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Removes and returns an item, waiting for one if there is none.

        Raises:
            Empty: there is none now (`block` false) or within `timeout` seconds.
        """
        if block and timeout is not None and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")
        if not self._items and not (block and timeout != 0 and self._wait(timeout)):
            raise Empty
        return self._items.popleft()

    def _wait(self, timeout: float | None) -> bool:
        host = self._host
        deadline = None if timeout is None else deadline_after(host, timeout)
        thread = host.current
        waiters = self._waiters
        while not self._items:
            if thread is not None and thread not in waiters:
                waiters.append(thread)
            if not host.park(deadline, "waits for an item in a SimpleQueue"):
                break
        if thread is not None and thread in waiters:
            waiters.remove(thread)
        return bool(self._items)

    def put_nowait(self, item: Any) -> None:
        self.put(item)

    def get_nowait(self) -> Any:
        return self.get(block=False)

    def empty(self) -> bool:
        return not self._items

    def qsize(self) -> int:
        return len(self._items)
