"""The threads of a host where they are real: those that server code starts, and those that run what comes in.

    Roster       the host's threads that are alive: who they are, and how they are made to end
    HostThread   threading.Thread as server code sees it
    Workers      threads that run one handler, or one control, after the other

A thread is on its host's roster from before it runs anything of the code under test until after.
"""

from __future__ import annotations

import ctypes
import queue
import sys
import threading
from collections.abc import Callable
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, cast

from labrpc import context
from labrpc.context import HostEnded

if TYPE_CHECKING:
    from labrpc.real.host import RealHost

__all__ = ["HostThread", "HostTimer", "Roster", "Workers", "namespace"]

IDLE = "lab idle"
"""The name of a worker that has nothing to do."""


class Roster:
    """The threads of one host.

    Args:
        host: whose they are.
        title: `server 2`, for the names of those that the host starts itself.
    """

    def __init__(self, host: RealHost, title: str) -> None:
        self._host = host
        self._prefix = f"{title}: "
        self._mu = threading.Lock()
        self._alive: dict[threading.Thread, None] = {}

    def start(self, name: str, function: Callable[[], object]) -> None:
        """A new thread of the host that runs `function`."""
        thread = threading.Thread(target=self.live, args=(function,), name=self._prefix + name, daemon=True)
        self.add(thread)
        thread.start()

    def add(self, thread: threading.Thread) -> None:
        """`thread` is about to be started, and to `live`."""
        with self._mu:
            self._alive[thread] = None

    def live(self, function: Callable[[], object]) -> None:
        """Runs `function` on the calling thread, as one of the host's. What it dies of is reported."""
        me = threading.current_thread()
        context.enter(self._host)
        try:
            try:
                self.add(me)
                function()
            except HostEnded:
                pass
            except BaseException as error:
                self._host.report_death(self.name_of(me), error)
            finally:
                with self._mu:
                    self._alive.pop(me, None)
        except HostEnded:
            pass  # asked to end once more, in the midst of ending

    def rename(self, name: str) -> None:
        """From now on the calling thread, one that `start` made, is called `name`."""
        threading.current_thread().name = self._prefix + name

    def name_of(self, thread: threading.Thread) -> str:
        """What the host calls `thread`."""
        return thread.name.removeprefix(self._prefix)

    def alive(self) -> list[threading.Thread]:
        """Those that have not ended, in the order of their start."""
        with self._mu:
            for thread in [thread for thread in self._alive if thread.ident is not None and not thread.is_alive()]:
                del self._alive[thread]  # it was asked to end just as it left
            return list(self._alive)

    def frames(self) -> list[tuple[str, FrameType]]:
        """(name, innermost frame) of each thread that does something; they run on meanwhile."""
        running = sys._current_frames()
        named = [(self.name_of(thread), running.get(thread.ident or 0)) for thread in self.alive()]
        return [(name, frame) for name, frame in named if frame is not None and name != IDLE]

    def press(self) -> None:
        """Has each thread raise `HostEnded` where it stands, or as soon as it comes back from a call into C."""
        with self._mu:  # who is on the roster is alive: nobody else has its ident by now
            for thread in self._alive:
                if thread.ident is not None:
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        ctypes.c_ulong(thread.ident), ctypes.py_object(HostEnded)
                    )
        running = sys._current_frames()
        for thread in self.alive():
            _wake(running.get(thread.ident or 0))


def _wake(frame: FrameType | None) -> None:
    """Has the thread whose innermost frame is `frame` come back from waiting, if it does so in Python's own library.

    Condition.wait, on which events, semaphores, queues and futures are built, waits for a lock of its own.
    """
    if frame is not None and frame.f_code is threading.Condition.wait.__code__:
        waiter = frame.f_locals.get("waiter")
        try:
            if waiter is not None:
                waiter.release()
        except RuntimeError:
            pass  # it has been notified


class Workers:
    """Threads of a host that run one job after the other: a new one only if all are busy.

    Args:
        roster: where they live.
        most: how many there may be; more jobs wait.
    """

    def __init__(self, roster: Roster, most: int) -> None:
        self._roster = roster
        self._most = most
        self._mu = threading.Lock()
        self._count = 0
        self._free = 0
        """Idle workers less waiting jobs."""
        self._jobs: queue.SimpleQueue[tuple[str, Callable[[Any], None], Any] | None] = queue.SimpleQueue()

    def submit(self, name: str, function: Callable[[Any], None], argument: Any) -> None:
        """Has `function(argument)` run on a thread that is called `name` meanwhile."""
        with self._mu:
            self._free -= 1
            grows = self._free < 0 and self._count < self._most
            if grows:
                self._count += 1
                self._free += 1
        self._jobs.put((name, function, argument))
        if grows:
            self._roster.start(IDLE, self._work)

    def end(self) -> None:
        """Lets idle workers go, and busy ones once they are done."""
        for _ in range(self._most):
            self._jobs.put(None)

    def _work(self) -> None:
        roster, jobs = self._roster, self._jobs
        while (job := jobs.get()) is not None:
            name, function, argument = job
            roster.rename(name)
            function(argument)
            roster.rename(IDLE)
            del job, argument
            with self._mu:
                self._free += 1


class HostThread(threading.Thread):
    """`threading.Thread` as server code sees it: on its host's roster, and never in the way of the process's end."""

    __module__ = "threading"

    def start(self) -> None:
        """Starts the thread.

        Raises:
            RuntimeError: it was started before.
        """
        host = _host()
        if host.ended:
            raise HostEnded
        if self.ident is None:
            run = self.run
            self.daemon = True
            self.run = lambda: host.roster.live(lambda: self._run_and_report(host, run))  # type: ignore[method-assign]
            host.roster.add(self)
        super().start()

    def _run_and_report(self, host: RealHost, run: Callable[[], None]) -> None:
        del self.run  # it holds this thread
        try:
            run()
        except HostEnded:
            raise
        except BaseException as error:
            hook = getattr(host.stdlib.get("threading"), "excepthook", _excepthook)
            hook(threading.ExceptHookArgs((type(error), error, error.__traceback__, self)))


class HostTimer(HostThread, threading.Timer):
    """`threading.Timer` as server code sees it."""

    __module__ = "threading"


HostThread.__name__ = HostThread.__qualname__ = "Thread"
HostTimer.__name__ = HostTimer.__qualname__ = "Timer"


def namespace(host: RealHost, module: ModuleType) -> dict[str, Any]:
    """The contents of `module`, the host's own `threading`: the real one, but for threads and what tells of them."""
    host.stdlib["threading"] = module
    return {
        **{name: getattr(threading, name) for name in (*threading.__all__, "activeCount", "currentThread")},
        "__all__": list(threading.__all__),
        "__excepthook__": _excepthook,
        "_register_atexit": lambda function, *args, **kwargs: None,  # asked for by concurrent.futures
        "Thread": HostThread,
        "Timer": HostTimer,
        "active_count": lambda: len(host.roster.alive()),
        "enumerate": host.roster.alive,
        "excepthook": _excepthook,
        "main_thread": lambda: host.main_thread,
    }


def _excepthook(args: Any, /) -> None:
    """What happens when a thread dies of an exception: the host reports it. `SystemExit` is an ordinary end."""
    if args.exc_type is not SystemExit:
        host = _host()
        thread = args.thread or threading.current_thread()
        host.report_death(host.roster.name_of(thread), args.exc_value or args.exc_type())


def _host() -> RealHost:
    return cast("RealHost", context.require("this function"))
