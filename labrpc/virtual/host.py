"""One host of the virtual world: a deterministic machine, events in, timed effects out.

    step(now, limit, inbox) -> Step(effects, clock, wake)

A host runs one program around the code under test (see `ProgramHost`), with its own copies of that code's modules.
It knows nothing of other hosts: what it sends are effects, and what comes back are inbox items. The same inbox, item
for item, makes the same effects, instant for instant.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from labrpc import context, frames
from labrpc.codec import CodecError, decode, encode
from labrpc.errors import HarnessError, UsageError
from labrpc.hosting import HostBase, HostEnd
from labrpc.ledger import Ledger
from labrpc.streams import Streams
from labrpc.virtual import diagnosis
from labrpc.virtual.disk import HostPersister
from labrpc.virtual.loader import CodeBundle, Loader
from labrpc.virtual.pins import pin_of, turn_of
from labrpc.virtual.scheduler import STEP_NS, GreenThread, Scheduler, StallPlan
from labrpc.virtual.steps import Step

__all__ = ["Host"]

_RPC_STEPS = 20
"""CPU charged for sending or receiving a message, in step points, beside its bytes."""
_BYTES_PER_STEP = 100


class Host(HostBase, Scheduler):
    """One incarnation of one server or clerk.

    Args:
        settings: who it is and how it is disturbed.
        bundle: the code under test, compiled.
        ledger: where its stalls, its turns out of order and its slow saves are taken down.
    """

    def __init__(self, settings: frames.HostSettings, bundle: CodeBundle, ledger: Ledger | None = None) -> None:
        overrides = {(stream, n): value for stream, n, value in settings.overrides}
        streams = Streams(settings.key, overrides, path=settings.path, calm=settings.calm, ledger=ledger)
        HostBase.__init__(self, settings, bundle.files, streams)
        stalls = StallPlan(settings.mean_gap_steps, settings.longest_stall_ns, settings.stretch_steps, settings.changes)
        Scheduler.__init__(self, streams, stalls)
        self.bundle = bundle
        self.loader = Loader(self, bundle)
        self.persister = HostPersister(self)
        self.lock_count = 0
        """Locks made so far: it numbers them."""
        self._effects: list[frames.Effect] = []
        self._calls: dict[int, _PendingCall] = {}
        self._call_count = 0
        self._warned: set[str] = set()
        self._offset_ns = 0
        """What the host's clock shows more than virtual time, all drift up to `_drift_since` included."""
        self._offset_set_ns = 0
        self._drift_since = 0
        self._drift_ppm = 0

    # -------------------------------------------------------------- the coordinator's side

    def step(self, now: int, limit: int, inbox: list[frames.InboxItem]) -> Step:
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
        return Step(effects, self.now, wake)

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
        self.spawn("main", self._run_program, item)

    def _run_program(self, item: frames.Boot) -> None:
        if not self.start_program(item):
            return
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
        payload, error = self.respond(item)
        if payload is not None:
            self.charge(_RPC_STEPS + len(payload) // _BYTES_PER_STEP)
        self._effects.append(frames.Answer(self.clock(), item.call, payload, error))

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
        payload = self.run_control(item)
        self._effects.append(frames.Result(self.clock(), item.control, payload))

    def _set_clock(self, item: frames.SetClock) -> None:
        # What the clock has gained by drifting so far stays: it must not jump back when the drift ends.
        gained = (self.now - self._drift_since) * self._drift_ppm // 1_000_000
        self._offset_ns += gained + item.offset_ns - self._offset_set_ns
        self._offset_set_ns = item.offset_ns
        self._drift_since, self._drift_ppm = self.now, item.drift_ppm

    def _dump(self, item: frames.Dump) -> None:
        self.report("threads", "\n".join(self.thread_names()), detail=diagnosis.describe_threads(self))

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

    def prolong_annotation(self, number: int) -> None:
        """The annotation just made lasts until it is ended. A later one is left alone: it may be on its way."""
        last = self._effects[-1] if self._effects else None
        if isinstance(last, frames.Annotation) and last.number == number:
            last.lasts = True

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

    def instant(self) -> int:
        return self.clock()

    def running_name(self) -> str:
        return diagnosis.thread_name(self.current) if self.current is not None else ""

    def running_site(self) -> str:
        return diagnosis.where(self, self.current)

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
        self.report_death("" if thread is None else diagnosis.thread_name(thread), error)

    def on_stall(self, thread: GreenThread, length: int) -> None:
        ledger = self.streams.ledger
        if ledger is not None:
            where = f"{diagnosis.thread_name(thread)} at {diagnosis.where(self, thread)}"
            ledger.record(pin_of(self.streams, thread), thread.cpu_steps, length, at=self.clock(), detail=where)

    def on_turn(self, thread: GreenThread, overtaken: Sequence[GreenThread]) -> None:
        ledger = self.streams.ledger
        if ledger is not None:
            names = [diagnosis.thread_name(each) for each in (thread, *overtaken)]
            stream = turn_of(self.streams, thread)
            ledger.record(stream, thread.turns, len(overtaken), at=self.clock(), detail="\n".join(names))

    def on_spin(self, thread: GreenThread) -> None:
        seconds = thread.cpu_steps * STEP_NS / 1e9
        name = diagnosis.thread_name(thread)
        text = f"thread {name} used {seconds:.1f} s of CPU without blocking once; wait or sleep in the loop"
        self.report("spin", text, diagnosis.where(self, thread), diagnosis.describe_threads(self))


class _PendingCall:
    __slots__ = ("answered", "error", "payload", "thread")

    def __init__(self, thread: GreenThread) -> None:
        self.thread = thread
        self.answered = False
        self.payload: bytes | None = None
        self.error = ""


_ACCEPT: dict[type, Callable[[Host, Any], None]] = {
    frames.Boot: Host._boot,
    frames.Request: Host._request,
    frames.Reply: Host._reply,
    frames.Control: Host._control,
    frames.SetClock: Host._set_clock,
    frames.Dump: Host._dump,
}
