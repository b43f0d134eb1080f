"""One host of the real worlds: an incarnation of a server, on real threads and real time.

    post(item) --> a thread of the host --> code under test --> emit(effect)

`post` and `emit` may be called from any thread and return at once: nothing in here waits for the code under test.
Where the host lives, beside the judge or in a process of its own, is decided by who makes it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from sys import _getframe
from typing import Any, NamedTuple

from labrpc import frames
from labrpc.codec import CodecError, Registry, decode, encode
from labrpc.context import HostEnded
from labrpc.errors import UsageError
from labrpc.hosting import HostBase, HostEnd
from labrpc.network import host_title
from labrpc.persister import Persister
from labrpc.real import diagnosis
from labrpc.real.loader import RealLoader
from labrpc.real.threads import Roster, Workers
from labrpc.streams import Streams
from labrpc.virtual.loader import CodeBundle

__all__ = ["RealHost"]

_MOST_HANDLERS = 64
_MOST_CONTROLS = 256
"""More than any test has on at once: a control that blocks must not keep others from being answered."""

_AFTERLIFE_S = 0.01
"""What a call on a host that has ended takes, so that a loop around it does not take the CPU from the living."""


class Found(NamedTuple):
    """What the disk held when the host started, as far as the coordinator knows."""

    raft_state: bytes = b""
    snapshot: bytes = b""


class RealHost(HostBase):
    """One incarnation of one server or clerk.

    Args:
        settings: who it is.
        bundle: the code under test, compiled without step points.
        make_persister: makes its persister, on the thread that boots it.
        emit: takes its effects, from any thread, at once.
    """

    current = None
    """No green thread ever runs here; see `labrpc.virtual.scheduler.Scheduler`."""

    def __init__(
        self,
        settings: frames.HostSettings,
        bundle: CodeBundle,
        make_persister: Callable[[RealHost], Persister],
        emit: Callable[[frames.Effect], None],
    ) -> None:
        overrides = {(stream, n): value for stream, n, value in settings.overrides}
        streams = Streams(settings.key, overrides, path=settings.path, calm=settings.calm)
        super().__init__(settings, bundle.files, streams)
        self.stdlib: dict[str, Any] = {}
        """What the standard library that its threads see keeps for this host, by module."""
        self.ended = False
        self.found = Found()
        self.persister: Persister
        self.roster = Roster(self, host_title(settings.name))
        self.main_thread: threading.Thread = threading.main_thread()
        self.loader: RealLoader = RealLoader(self, bundle)
        self._make_persister = make_persister
        self._take = emit
        self._handler_threads = Workers(self.roster, _MOST_HANDLERS)
        self._control_threads = Workers(self.roster, _MOST_CONTROLS)
        self._mu = threading.Lock()
        """Guards what follows, and never held while the code under test runs."""
        self._calls: dict[int, _PendingCall] = {}
        self._call_count = 0
        self._booted = False
        self._at_end: list[Callable[[], None]] = []
        self._output_mu = threading.Lock()
        self._over = threading.Event()
        self._last_annotation: frames.Annotation | None = None

    # -------------------------------------------------------------- the coordinator's side

    def post(self, item: frames.InboxItem) -> None:
        """Takes `item` in. Any thread may call it."""
        _ACCEPT[type(item)](self, item)

    def end(self) -> None:
        """Nothing that it does from now on has an effect: calls return None, saves are not made. It may run on."""
        self.ended = True
        with self._mu:
            calls = list(self._calls.values())
            self._calls.clear()
            callbacks = list(self._at_end)
        for pending in calls:
            pending.finish(None, "")
        self._over.set()
        for callback in callbacks:
            callback()
        self._handler_threads.end()
        self._control_threads.end()
        self.loader.release_pools()

    def at_end(self, callback: Callable[[], None]) -> None:
        """Has `end` call `callback`."""
        with self._mu:
            self._at_end.append(callback)

    def kill(self) -> None:
        """Calls the program's control `kill` of a host that has ended, on a thread of its own."""
        kill = getattr(self._controls, "kill", None)
        if kill is not None:
            self.roster.start("lab kill", kill)

    def forget(self) -> None:
        """Lets go of all that ran on it. Once it has ended and has no threads."""
        self._controls = None
        self._handlers = {}
        self._at_end.clear()
        self.ends.clear()
        self.registry = Registry()
        self.stdlib.clear()
        self.loader.clear()

    def _boot(self, item: frames.Boot) -> None:
        self.ends = [HostEnd(self, target) for target in item.ends]
        self.config = decode(item.config)
        self.found = Found(item.raft_state, item.snapshot)
        self.roster.start("main", lambda: self._run_program(item))

    def _run_program(self, item: frames.Boot) -> None:
        self.main_thread = threading.current_thread()
        self.persister = self._make_persister(self)
        if not self.start_program(item):
            return
        with self._mu:
            self._handlers = self._handlers or {}
            self._booted = True
            early: list[frames.InboxItem] = [*self._early, *self._early_controls]
            self._early.clear()
            self._early_controls.clear()
        for waiting in early:
            self.post(waiting)

    def _request(self, item: frames.Request) -> None:
        with self._mu:
            if self._handlers is None:
                self._early.append(item)
                return
        self._handler_threads.submit(item.method, self._handle, item)

    def _handle(self, item: frames.Request) -> None:
        payload, error = self.respond(item)
        self.emit(frames.Answer(self.instant(), item.call, payload, error))

    def _reply(self, item: frames.Reply) -> None:
        with self._mu:
            pending = self._calls.pop(item.call, None)
        if pending is not None:  # else it is late: the caller has given up
            pending.finish(item.payload, item.error)

    def _control(self, item: frames.Control) -> None:
        with self._mu:
            if not self._booted:
                self._early_controls.append(item)
                return
        self._control_threads.submit(f"test calls {item.name}", self._run_control, item)

    def _run_control(self, item: frames.Control) -> None:
        payload = self.run_control(item)
        self.emit(frames.Result(self.instant(), item.control, payload))

    def _set_clock(self, item: frames.SetClock) -> None:
        raise UsageError("the clock of a real server cannot be set; run with --clock virtual")

    def _dump(self, item: frames.Dump) -> None:
        names = [name for name, _ in self.roster.frames() if not name.startswith("lab ")]
        self.report("threads", "\n".join(names), detail=diagnosis.describe_threads(self))

    # -------------------------------------------------------------- effects

    def emit(self, effect: frames.Effect) -> None:
        if type(effect) is frames.Annotation:
            self._last_annotation = effect
        if not self.ended:
            self._take(effect)

    def instant(self) -> int:
        return time.monotonic_ns()

    def annotate(self, tag: str, text: str) -> int:
        with self._output_mu:
            return super().annotate(tag, text)

    def prolong_annotation(self, number: int) -> None:
        """The annotation just made lasts until it is ended, and to the judge also until its server is gone, if it is
        not on its way yet.
        """
        last = self._last_annotation
        if last is not None and last.number == number:
            last.lasts = True

    def output(self, text: str) -> None:
        with self._output_mu:
            super().output(text)

    def running_name(self) -> str:
        return self.roster.name_of(threading.current_thread())

    def running_site(self) -> str:
        return diagnosis.innermost_site(self, _getframe())

    def on_death(self, thread: None, error: BaseException) -> None:
        """The running thread died of `error`."""
        self.report_death(self.running_name(), error)

    # -------------------------------------------------------------- what server code reaches through `labrpc`

    def call(self, target: str, method: str, args: Any, timeout: float | None) -> Any | None:
        """See `ClientEnd.call`. On a host that has ended it returns None."""
        try:
            payload = encode(args)
        except CodecError as error:
            self.misuse(f"call of {method}: {error}")
            raise
        pending = _PendingCall()
        with self._mu:
            self._call_count += 1
            number = self._call_count
            self._calls[number] = pending
        if self.ended:
            time.sleep(_AFTERLIFE_S)
            return None
        self.emit(frames.Call(self.instant(), number, target, method, payload))
        if not pending.wait(timeout):
            with self._mu:
                given_up = self._calls.pop(number, None) is not None
            if given_up:
                return None
            pending.wait(None)  # its reply comes at this very moment
        if pending.error:
            self.misuse(pending.error)
            raise UsageError(pending.error)
        return None if pending.payload is None else decode(pending.payload)

    def sleep(self, seconds: float, /) -> None:
        """`time.sleep` as server code sees it: it ends with the host."""
        if not isinstance(seconds, (int, float)) or not 0 < seconds <= threading.TIMEOUT_MAX:
            time.sleep(seconds)
        elif self._over.wait(seconds):
            raise HostEnded


class _PendingCall:
    __slots__ = ("_lock", "error", "payload")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self.payload: bytes | None = None
        self.error = ""

    def finish(self, payload: bytes | None, error: str) -> None:
        """The outcome is there. Once."""
        self.payload, self.error = payload, error
        self._lock.release()

    def wait(self, timeout: float | None) -> bool:
        """Waits for `finish`, at most `timeout` seconds; whether it came."""
        if timeout is None:
            return self._lock.acquire()
        return self._lock.acquire(timeout=min(max(timeout, 0), threading.TIMEOUT_MAX))


_ACCEPT: dict[type, Callable[[RealHost, Any], None]] = {
    frames.Boot: RealHost._boot,
    frames.Request: RealHost._request,
    frames.Reply: RealHost._reply,
    frames.Control: RealHost._control,
    frames.SetClock: RealHost._set_clock,
    frames.Dump: RealHost._dump,
}
