"""One host of the virtual world: a deterministic machine, events in, timed effects out.

    step(now, limit, inbox) -> Step(effects, clock, wake)

A host runs one program around the code under test (see `ProgramHost`), with its own copies of that code's modules.
It knows nothing of other hosts: what it sends are effects, and what comes back are inbox items. The same inbox, item
for item, makes the same effects, instant for instant.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Any

from labrpc import context
from labrpc.api import Handler, handlers_of
from labrpc.codec import CodecError, Registry, decode, encode
from labrpc.errors import HarnessError, UsageError
from labrpc.ledger import Ledger
from labrpc.streams import Streams
from labrpc.virtual import diagnosis, frames
from labrpc.virtual.disk import HostPersister
from labrpc.virtual.loader import CodeBundle, Loader
from labrpc.virtual.pins import pin_of
from labrpc.virtual.scheduler import STEP_NS, GreenThread, Scheduler, StallPlan

__all__ = ["Host", "HostEnd"]

_RPC_STEPS = 20
"""CPU charged for sending or receiving a message, in step points, beside its bytes."""
_BYTES_PER_STEP = 100


class Host(Scheduler):
    """One incarnation of one server or clerk.

    Args:
        settings: who it is and how it is disturbed.
        bundle: the code under test, compiled.
        ledger: where its stalls and slow saves are taken down.
    """

    def __init__(self, settings: frames.HostSettings, bundle: CodeBundle, ledger: Ledger | None = None) -> None:
        overrides = {(stream, n): value for stream, n, value in settings.overrides}
        self.streams = Streams(settings.key, overrides, path=settings.path, calm=settings.calm, ledger=ledger)
        super().__init__(self.streams, StallPlan(settings.mean_gap_steps, settings.longest_stall_ns))
        self.settings = settings
        self.name = settings.name
        self.registry = Registry()
        self.bundle = bundle
        self.loader = Loader(self, bundle)
        self.persister = HostPersister(self)
        self.ends: list[HostEnd] = []
        self.config: Any = None
        self.lock_count = 0
        """Locks made so far: it numbers them."""
        self._effects: list[frames.Effect] = []
        self._handlers: dict[str, Handler] | None = None
        self._early: list[frames.Request] = []
        self._controls: object | None = None
        self._early_controls: list[frames.Control] = []
        self._calls: dict[int, _PendingCall] = {}
        self._call_count = 0
        self._output_bytes = 0
        self._annotation_count = 0
        self._warned: set[str] = set()
        self._offset_ns = 0
        """What the host's clock shows more than virtual time, all drift up to `_drift_since` included."""
        self._offset_set_ns = 0
        self._drift_since = 0
        self._drift_ppm = 0

    # -------------------------------------------------------------- the coordinator's side

    def step(self, now: int, limit: int, inbox: list[frames.InboxItem]) -> frames.Step:
        """Takes `inbox` in at virtual time `now` and runs for at most `limit` ns of CPU."""
        if now > self.now:
            self.now = now
        effects: list[frames.Effect] = []
        self._effects = effects
        context.current = self
        try:
            for item in inbox:
                _ACCEPT[type(item)](self, item)
            wake = self.run(limit)
        finally:
            context.current = None
        return frames.Step(effects, self.now, wake)

    def collect(self) -> None:
        """Its garbage is this process's, which the coordinator collects."""

    def end(self) -> None:
        """Ends every thread; nothing the dying code does has an effect."""
        before, hook = context.current, sys.unraisablehook
        context.current = self
        sys.unraisablehook = lambda _: None  # what a dead server's __del__ runs into is nobody's concern
        try:
            super().end()
            self.loader.clear()
        finally:
            context.current = before
            sys.unraisablehook = hook
            self._effects = []
            # The coordinator may keep this object until its own end: not what ran on it.
            self._controls = None
            self._handlers = {}
            self._calls.clear()
            self.ends.clear()

    def _boot(self, item: frames.Boot) -> None:
        self.ends = [HostEnd(self, target) for target in item.ends]
        self.config = decode(item.config)
        self.persister.load(item.raft_state, item.snapshot)
        self.spawn("main", self._run_program, item.program)

    def _run_program(self, program: str) -> None:
        try:
            module = self.loader.import_module(program)
            controls = module.boot(self)
        except (Exception, SystemExit) as error:
            self.report(
                "boot", f"it did not start: {_describe(error)}", diagnosis.site_of(self, error), self._traceback(error)
            )
            return
        self._controls = controls
        self._handlers = self._handlers or {}
        for request in self._early:
            self._request(request)
        for control in self._early_controls:
            self._control(control)
        self._early.clear()
        self._early_controls.clear()

    def _request(self, item: frames.Request) -> None:
        if self._handlers is None:
            self._early.append(item)
        else:
            self.spawn(item.method, self._handle, item)

    def _handle(self, item: frames.Request) -> None:
        self.charge(_RPC_STEPS + len(item.payload) // _BYTES_PER_STEP)
        try:
            function, argument = self._resolve(item)
        except UsageError as error:
            self._effects.append(frames.Answer(self.clock(), item.call, None, str(error)))
            return
        try:
            reply = function(argument)
            payload = encode(reply)
        except Exception as error:
            self.on_death(self.current, error)
            self._effects.append(frames.Answer(self.clock(), item.call, None))
            return
        handler = self._handlers[item.method]  # type: ignore[index]
        if handler.reply_type is not None and type(reply) is not handler.reply_type:
            code = function.__func__.__code__  # type: ignore[attr-defined]
            self.report(
                "misuse",
                f"handler {item.method} returned {type(reply).__name__}, "
                f"its annotation says {handler.reply_type.__name__}",
                f"{self.short_path(code.co_filename)}:{code.co_firstlineno}",
            )
            payload = None  # type: ignore[assignment]
        self.charge(_RPC_STEPS + len(payload or b"") // _BYTES_PER_STEP)
        self._effects.append(frames.Answer(self.clock(), item.call, payload))

    def _resolve(self, item: frames.Request) -> tuple[Callable[[Any], Any], Any]:
        handlers = self._handlers or {}
        handler = handlers.get(item.method)
        if handler is None:
            service, _, _ = item.method.partition(".")
            known = sorted({name.partition(".")[0] for name in handlers})
            if service not in known:
                raise UsageError(f"{self.name} has no service {service}; it has {', '.join(known) or 'none'}")
            methods = ", ".join(sorted(name for name in handlers if name.startswith(f"{service}.")))
            raise UsageError(f"{self.name} has no method {item.method}; it has {methods}")
        try:
            argument = decode(item.payload)
        except CodecError as error:
            raise UsageError(f"{self.name} cannot read the argument of {item.method}: {error}") from None
        if handler.argument_type is not None and type(argument) is not handler.argument_type:
            raise UsageError(f"{item.method} takes {handler.argument_type.__name__}, not {type(argument).__name__}")
        return handler.function, argument

    def _reply(self, item: frames.Reply) -> None:
        pending = self._calls.pop(item.call, None)
        if pending is not None:  # else it is late: the caller has given up
            pending.answered = True
            pending.payload = item.payload
            pending.error = item.error
            self.unpark(pending.thread)

    def _control(self, item: frames.Control) -> None:
        if self._controls is None and self._handlers is None:
            self._early_controls.append(item)
        else:
            self.spawn(f"test calls {item.name}", self._run_control, item)

    def _run_control(self, item: frames.Control) -> None:
        function = getattr(self._controls, item.name, None)
        if function is None:
            raise HarnessError(f"the program of {self.name} has no control {item.name}")
        result = function(*decode(item.payload))
        self._effects.append(frames.Result(self.clock(), item.control, encode(result)))

    def _set_clock(self, item: frames.SetClock) -> None:
        # What the clock has gained by drifting so far stays: it must not jump back when the drift ends.
        gained = (self.now - self._drift_since) * self._drift_ppm // 1_000_000
        self._offset_ns += gained + item.offset_ns - self._offset_set_ns
        self._offset_set_ns = item.offset_ns
        self._drift_since, self._drift_ppm = self.now, item.drift_ppm

    def _dump(self, item: frames.Dump) -> None:
        self.report("threads", "\n".join(self.thread_names()), detail=diagnosis.describe_threads(self))

    # -------------------------------------------------------------- the program's side (`ProgramHost`)

    def serve(self, *services: object) -> None:
        """Opens the host's handlers to the network: requests that came before are handled now."""
        handlers: dict[str, Handler] = {}
        for service in services:
            handlers.update(handlers_of(service))
        self._handlers = handlers

    def apply(self, message: Any) -> None:
        """Tells the judge that the server handed `message` to its service."""
        self._effects.append(frames.Apply(self.clock(), encode(message)))

    def thread_names(self) -> list[str]:
        """The code under test's threads that are alive. The program's own have names that begin with `lab `."""
        names = [diagnosis.thread_name(thread) for thread in self.threads.values()]
        return [name for name in names if not name.startswith("lab ")]

    # -------------------------------------------------------------- what server code reaches through `labrpc`

    def call(self, target: str, method: str, args: Any, timeout: float | None) -> Any | None:
        """See `ClientEnd.call`."""
        thread = self.current
        if thread is None:
            raise HarnessError("an RPC outside the host's threads")
        if thread.locks_held:
            self._warn("rpc-under-lock", f"RPC {method} to {target} is made while holding a lock")
        try:
            payload = encode(args)
        except CodecError as error:
            self.misuse(f"call of {method}: {error}")
            raise
        self.charge(_RPC_STEPS + len(payload) // _BYTES_PER_STEP)
        self._call_count += 1
        number = self._call_count
        deadline = None if timeout is None else self.deadline(timeout)
        self._calls[number] = pending = _PendingCall(thread)
        self._effects.append(frames.Call(self.clock(), number, target, method, payload))
        while not pending.answered:
            if not self.park(deadline, f"waits for the reply of {target} to {method}") and not pending.answered:
                self._calls.pop(number, None)
                return None
        if pending.error:
            self.misuse(pending.error)
            raise UsageError(pending.error)
        if pending.payload is None:
            return None
        self.charge(_RPC_STEPS + len(pending.payload) // _BYTES_PER_STEP)
        return decode(pending.payload)

    def emit(self, effect: frames.Effect) -> None:
        self._effects.append(effect)

    def annotate(self, tag: str, text: str) -> int:
        """See `labrpc.annotate`. Returns the annotation's number; 0: there is none, for there was too much output."""
        tag, text = (each.encode("utf-8", "backslashreplace").decode("utf-8") for each in (tag, text))  # as print does
        if not self._has_room_for(len(tag) + len(text) + 2):
            return 0
        self._annotation_count += 1
        self._effects.append(frames.Annotation(self.clock(), self._annotation_count, tag, text))
        return self._annotation_count

    def prolong_annotation(self, number: int) -> None:
        """The annotation just made lasts until it is ended. A later one is left alone: it may be on its way."""
        last = self._effects[-1] if self._effects else None
        if isinstance(last, frames.Annotation) and last.number == number:
            last.lasts = True

    def end_annotation(self, number: int) -> None:
        if number:
            self._effects.append(frames.AnnotationEnd(self.clock(), number))

    def output(self, text: str) -> None:
        """A line that server code printed or logged."""
        if self._has_room_for(len(text) + 1):
            name = diagnosis.thread_name(self.current) if self.current is not None else ""
            self._effects.append(frames.Output(self.clock(), name, text))

    def _has_room_for(self, size: int) -> bool:
        """Whether `size` more bytes of output are within the limit. The first time that they are not is reported."""
        limit = self.settings.output_limit
        if self._output_bytes > limit:
            return False
        self._output_bytes += size
        if self._output_bytes > limit:
            site = diagnosis.where(self, self.current)
            self.report("output", f"it printed and annotated more than {limit} bytes; do it less often", site)
            return False
        return True

    # -------------------------------------------------------------- clocks, as the host's own

    def monotonic_ns(self) -> int:
        """The host's own monotonic clock: virtual time, skewed and drifting as the test has set it."""
        clock = self.clock()
        return clock + self._offset_ns + (clock - self._drift_since) * self._drift_ppm // 1_000_000

    def deadline(self, seconds: float) -> int:
        """The instant `seconds` from now by the host's own clock. A positive wait is never 0 ns."""
        ns = int(seconds * 1_000_000_000)
        if ns < seconds * 1_000_000_000:
            ns += 1
        if self._drift_ppm:
            ns = ns * 1_000_000 // (1_000_000 + self._drift_ppm)
        return self.clock() + max(ns, 0)

    # -------------------------------------------------------------- diagnosis

    def report(self, kind: str, text: str, site: str = "", detail: str = "") -> None:
        self._effects.append(frames.Report(self.clock(), kind, text, site, detail))

    def misuse(self, text: str) -> None:
        """A mistake in how server code uses the lab: it fails the test, even if the exception is swallowed."""
        self.report("misuse", text, diagnosis.where(self, self.current))

    def foreign_release(self, lock: Any) -> None:
        """A lock was released by a thread that does not hold it."""
        self._warn(
            "foreign-release", f"{diagnosis.lock_name(self, lock)} is released by a thread that does not hold it"
        )

    def _warn(self, kind: str, text: str) -> None:
        site = diagnosis.where(self, self.current)
        if site and f"{kind} {site}" not in self._warned:
            self._warned.add(f"{kind} {site}")
            self.report(kind, text, site)

    def on_death(self, thread: GreenThread | None, error: BaseException) -> None:
        name = diagnosis.thread_name(thread) if thread is not None else "main"
        text = f"thread {name} died: {_describe(error)}"
        self.report("died", text, diagnosis.site_of(self, error), self._traceback(error))

    def on_stall(self, thread: GreenThread, length: int) -> None:
        ledger = self.streams.ledger
        if ledger is not None:
            where = f"{diagnosis.thread_name(thread)} at {diagnosis.where(self, thread)}"
            ledger.record(pin_of(self.streams, thread), thread.cpu_steps, length, at=self.clock(), detail=where)

    def on_spin(self, thread: GreenThread) -> None:
        seconds = thread.cpu_steps * STEP_NS / 1e9
        name = diagnosis.thread_name(thread)
        text = f"thread {name} used {seconds:.1f} s of CPU without blocking once; wait or sleep in the loop"
        self.report("spin", text, diagnosis.where(self, thread), diagnosis.describe_threads(self))

    def is_server_file(self, filename: str) -> bool:
        return filename in self.bundle.files

    def short_path(self, filename: str) -> str:
        return self.bundle.files.get(filename, filename)

    def _traceback(self, error: BaseException) -> str:
        shown = [entry for entry in traceback.extract_tb(error.__traceback__) if self.is_server_file(entry.filename)]
        lines = traceback.format_list(shown) + traceback.format_exception_only(error)
        return "".join(lines).rstrip()


class HostEnd:
    """The `ClientEnd` of a host to `target`."""

    __slots__ = ("_host", "target")

    def __init__(self, host: Host, target: str) -> None:
        self._host = host
        self.target = target

    def call(self, method: str, args: Any, timeout: float | None = None) -> Any | None:
        return self._host.call(self.target, method, args, timeout)

    def __repr__(self) -> str:
        return f"<end to {self.target}>"


class _PendingCall:
    __slots__ = ("answered", "error", "payload", "thread")

    def __init__(self, thread: GreenThread) -> None:
        self.thread = thread
        self.answered = False
        self.payload: bytes | None = None
        self.error = ""


def _describe(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


_ACCEPT: dict[type, Callable[[Host, Any], None]] = {
    frames.Boot: Host._boot,
    frames.Request: Host._request,
    frames.Reply: Host._reply,
    frames.Control: Host._control,
    frames.SetClock: Host._set_clock,
    frames.Dump: Host._dump,
}
