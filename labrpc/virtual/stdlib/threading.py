"""`threading` as server code on a host sees it: threads that are the host's green threads.

    Thread.start() --spawn--> GreenThread --runs--> Thread.run() --dies of an error--> threading.excepthook

One implementation serves all hosts. What is per host (names, the main thread, hooks) is in a `_State` on the host, and
what is per thread is on its `GreenThread`. Names and identifiers are a function of the order of events alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from threading import BrokenBarrierError, ExceptHookArgs
from types import ModuleType
from typing import TYPE_CHECKING, Any

from labrpc.context import HostEnded
from labrpc.virtual.scheduler import GreenThread
from labrpc.virtual.stdlib.local import local
from labrpc.virtual.stdlib.locks import Condition, Lock, RLock
from labrpc.virtual.stdlib.signals import Barrier, BoundedSemaphore, Event, Semaphore
from labrpc.virtual.stdlib.waiting import POLL_STEPS, TIMEOUT_MAX, HostObject, current_host, deadline_after

if TYPE_CHECKING:
    from labrpc.virtual.host import Host

__all__ = [
    "TIMEOUT_MAX",
    "Barrier",
    "BoundedSemaphore",
    "BrokenBarrierError",
    "Condition",
    "Event",
    "ExceptHookArgs",
    "Lock",
    "RLock",
    "Semaphore",
    "Thread",
    "ThreadError",
    "Timer",
    "active_count",
    "current_thread",
    "enumerate",
    "excepthook",
    "get_ident",
    "get_native_id",
    "getprofile",
    "gettrace",
    "local",
    "main_thread",
    "setprofile",
    "setprofile_all_threads",
    "settrace",
    "settrace_all_threads",
    "stack_size",
]

ThreadError = RuntimeError

_SMALLEST_STACK = 32_768


class _State:
    """What `threading` keeps for one host."""

    def __init__(self) -> None:
        self.module: ModuleType | None = None
        """The host's copy of this module, whose `excepthook` server code may replace."""
        self.named = 0
        """Threads that were given a number for a name."""
        self.main: _MainThread | None = None
        self.stack_size = 0
        self.trace: Any = None
        self.profile: Any = None


def _state(host: Host) -> _State:
    state: _State | None = host.stdlib.get("threading")
    if state is None:
        state = host.stdlib["threading"] = _State()
    return state


def namespace(host: Host, module: ModuleType) -> dict[str, Any]:
    """The contents of `module`, the host's own `threading`."""
    state = _state(host)
    state.module = module
    if state.main is None:  # from now on reports call it by the name that server code sees
        state.main = _MainThread(host)
    names = [*__all__, "__excepthook__", "_register_atexit", "activeCount", "currentThread"]
    return {"__all__": list(__all__), **{name: globals()[name] for name in names}}


class Thread(HostObject):
    """See the standard library's `threading.Thread`."""

    __module__ = "threading"

    _initialized = False

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        daemon: bool | None = None,
    ) -> None:
        if group is not None:
            raise ValueError("group argument must be None for now")
        super().__init__()
        self._target = target
        self._args = args
        self._kwargs = {} if kwargs is None else kwargs
        self._name = str(name) if name else self._numbered_name(target)
        self._daemon = _running_is_daemon(self._host) if daemon is None else bool(daemon)
        self._green: GreenThread | None = None
        self._stopped = False
        self._joiners: list[GreenThread] = []
        self._initialized = True

    def _numbered_name(self, target: object) -> str:
        state = _state(self._host)
        state.named += 1
        function = getattr(target, "__name__", None)
        return f"Thread-{state.named} ({function})" if function is not None else f"Thread-{state.named}"

    def start(self) -> None:
        """Makes the thread ready to run.

        Raises:
            RuntimeError: it was started before.
        """
        self._check_initialized("thread.__init__() not called")
        if self._green is not None:
            raise RuntimeError("threads can only be started once")
        self._run_on(self._host.spawn(self._name, self._bootstrap))

    def _run_on(self, green: GreenThread) -> None:
        self._green = green
        green.python_thread = self
        green.on_exit.append(self._finish)

    def run(self) -> None:
        """Calls the target; subclasses may override it."""
        try:
            if self._target is not None:
                self._target(*self._args, **self._kwargs)
        finally:
            del self._target, self._args, self._kwargs  # or a thread that keeps itself would keep them

    def _bootstrap(self) -> None:
        try:
            self.run()
        except HostEnded:
            raise
        except BaseException as error:
            self._died(error)

    def _died(self, error: BaseException) -> None:
        module = _state(self._host).module
        hook = getattr(module, "excepthook", None) or excepthook
        try:
            hook(ExceptHookArgs((type(error), error, error.__traceback__, self)))
        except HostEnded:
            raise
        except BaseException as second:
            self._host.on_death(self._green, second)

    def _finish(self) -> None:
        self._stopped = True
        joiners, self._joiners = self._joiners, []
        for green in joiners:
            self._host.unpark(green)

    def join(self, timeout: float | None = None) -> None:
        """Waits until the thread has ended, or for `timeout` seconds.

        Raises:
            RuntimeError: it was not started, or is the calling thread.
        """
        self._check_initialized("Thread.__init__() not called")
        host = self._host
        me = host.current
        if self._green is None:
            raise RuntimeError("cannot join thread before it is started")
        if self._green is me:
            raise RuntimeError("cannot join current thread")
        if self._stopped:
            return
        if timeout is not None and timeout <= 0:
            host.charge(POLL_STEPS)
            return
        deadline = None if timeout is None else deadline_after(host, timeout)
        waits_for = f"waits for thread {self._name} to end"
        while not self._stopped:
            if me is not None and me not in self._joiners:
                self._joiners.append(me)
            if not host.park(deadline, waits_for) and not self._stopped:
                self._joiners = [green for green in self._joiners if green is not me]
                return

    def is_alive(self) -> bool:
        self._check_initialized("Thread.__init__() not called")
        return self._green is not None and not self._stopped

    @property
    def ident(self) -> int | None:
        """The thread's number, None before it is started."""
        self._check_initialized("Thread.__init__() not called")
        return None if self._green is None else self._green.ident

    @property
    def native_id(self) -> int | None:
        return self.ident

    @property
    def name(self) -> str:
        self._check_initialized("Thread.__init__() not called")
        return self._name

    @name.setter
    def name(self, name: object) -> None:
        self._check_initialized("Thread.__init__() not called")
        self._name = str(name)

    @property
    def daemon(self) -> bool:
        """Kept for `threading`'s sake: a host ends all its threads alike."""
        self._check_initialized("Thread.__init__() not called")
        return self._daemon

    @daemon.setter
    def daemon(self, daemon: bool) -> None:
        self._check_initialized("Thread.__init__() not called")
        if self._green is not None:
            raise RuntimeError("cannot set daemon status of active thread")
        self._daemon = bool(daemon)

    def _check_initialized(self, text: str) -> None:
        if not self._initialized:
            raise RuntimeError(text)

    def getName(self) -> str:
        return self.name

    def setName(self, name: str) -> None:
        self.name = name

    def isDaemon(self) -> bool:
        return self.daemon

    def setDaemon(self, daemonic: bool) -> None:
        self.daemon = daemonic

    def __repr__(self) -> str:
        self._check_initialized("Thread.__init__() not called")
        words = ["initial" if self._green is None else "stopped" if self._stopped else "started"]
        if self._daemon:
            words.append("daemon")
        if self._green is not None:
            words.append(str(self._green.ident))
        return f"<{type(self).__name__}({self._name}, {' '.join(words)})>"


class Timer(Thread):
    """A thread that calls `function(*args, **kwargs)` after `interval` seconds, unless it is cancelled first."""

    __module__ = "threading"

    def __init__(
        self,
        interval: float,
        function: Callable[..., object],
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.interval = interval
        self.function = function
        self.args: Iterable[Any] = [] if args is None else args
        self.kwargs: Mapping[str, Any] = {} if kwargs is None else kwargs
        self.finished = Event()

    def cancel(self) -> None:
        """Stops the timer if it has not called its function yet."""
        self.finished.set()

    def run(self) -> None:
        if not self.finished.wait(self.interval):
            self.function(*self.args, **self.kwargs)
        self.finished.set()


class _ForeignThread(Thread):
    """The `Thread` of a green thread that the host started itself: an RPC handler, a control call."""

    def __init__(self, green: GreenThread) -> None:
        super().__init__(name=green.name, daemon=True)
        self._run_on(green)

    def start(self) -> None:
        raise RuntimeError("threads can only be started once")

    def join(self, timeout: float | None = None) -> None:
        raise RuntimeError("cannot join a dummy thread")


class _MainThread(Thread):
    """The thread that boots the host; it counts as alive as long as the host is."""

    def __init__(self, host: Host) -> None:
        super().__init__(name="MainThread", daemon=False)
        green = host.threads.get(1)
        self._green = green if green is not None else GreenThread(1, "main")
        self._green.python_thread = self


def _running_is_daemon(host: Host) -> bool:
    green = host.current
    if green is None or green.ident == 1:
        return False
    thread: Thread | None = green.python_thread
    return True if thread is None else thread.daemon


def current_thread() -> Thread:
    """The `Thread` that runs now."""
    host: Host = current_host()
    green = host.current
    if green is None or green.ident == 1:
        return main_thread()
    thread: Thread | None = green.python_thread
    return _ForeignThread(green) if thread is None else thread


def main_thread() -> Thread:
    """The host's main thread."""
    host: Host = current_host()
    state = _state(host)
    if state.main is None:
        state.main = _MainThread(host)
    return state.main


def enumerate() -> list[Thread]:
    """The threads that are alive, in the order of their start."""
    host: Host = current_host()
    main = main_thread()
    alive = [green.python_thread for green in host.threads.values()]
    return [main, *(thread for thread in alive if thread is not None and thread is not main)]


def active_count() -> int:
    """How many threads are alive."""
    return len(enumerate())


def get_ident() -> int:
    """The running thread's number, 0 outside the host's threads."""
    green: GreenThread | None = current_host().current
    return 0 if green is None else green.ident


def get_native_id() -> int:
    return get_ident()


def excepthook(args: Any, /) -> None:
    """What happens when a thread dies of an exception: the host reports it. `SystemExit` is an ordinary end."""
    if args.exc_type is SystemExit:
        return
    host: Host = current_host()
    green = args.thread._green if args.thread is not None else host.current
    host.on_death(green, args.exc_value if args.exc_value is not None else args.exc_type())


__excepthook__ = excepthook


def stack_size(size: int = 0, /) -> int:
    """Keeps `size`, and returns the one before. Green threads have no stack of a fixed size."""
    if size and size < _SMALLEST_STACK:
        raise ValueError(f"size not valid: {size} bytes")
    state = _state(current_host())
    before, state.stack_size = state.stack_size, size
    return before


# Hooks for debuggers are kept and never called: those work on the process, not on its green threads.


def settrace(function: Any) -> None:
    _state(current_host()).trace = function


def setprofile(function: Any) -> None:
    _state(current_host()).profile = function


def gettrace() -> Any:
    return _state(current_host()).trace


def getprofile() -> Any:
    return _state(current_host()).profile


settrace_all_threads = settrace
setprofile_all_threads = setprofile
currentThread = current_thread
activeCount = active_count


def _register_atexit(function: Callable[..., object], *args: Any, **kwargs: Any) -> None:
    """Asked for by `concurrent.futures`. A host ends by losing its power: nothing runs at exit."""
