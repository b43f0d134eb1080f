"""Green threads under virtual time: the machine inside one host.

    ready: deque ----> run one green thread until it parks, stalls, or the quantum is used up ----> timers: heap

Guarantees: only one thread runs at a time and the order is a function of the inbox and the seed alone; every step
point costs `STEP_NS` of virtual CPU, so busy code makes time pass; at step points, drawn gaps apart, the running
thread may *stall* for a drawn time while the host's other threads go on; once the host has ended, every step point
and every blocking call raises `HostEnded`, so no `except:` and no `finally` in the code under test outlives a crash.
Ready threads take turns first come, first served, unless they have priorities (`labrpc.virtual.priorities`).
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from greenlet import getcurrent, greenlet

from labrpc import context
from labrpc.context import HostEnded
from labrpc.streams import Streams
from labrpc.virtual.pins import StallPins, TurnPins
from labrpc.virtual.priorities import Priorities

__all__ = ["GIVE_WAY_NS", "STEP_NS", "GreenThread", "Scheduler", "StallPlan", "host"]

STEP_NS = 100
"""Virtual CPU time of one step point: about what one statement of CPython takes."""

SPIN_LIMIT_NS = 1_000_000_000
"""CPU time a thread may use without blocking once before it is reported as spinning."""

STALL_CREDIT_NS = 50_000_000
"""The most that stalls may take in one burst."""

STALL_SHARE = 5
"""In the long run stalls take one part in so many of a host's time."""

GIVE_WAY_NS = 1
"""The stall of a thread that lets those of higher priority go first."""

_STEPS_OUTSIDE_THREADS = 1 << 30

_REFUSALS = 100_000
"""How often a thread may catch the end of its host before it is left."""

_undying: list[greenlet] = []
"""Kept, since a greenlet that is let go of is run once more, to end it."""


class StallPlan(NamedTuple):
    """How a run preempts: the mean gap between stalls, in step points (0: never), and the longest stall.

    With `stretch_steps` threads have priorities, `changes` of which change in so many step points; that is where the
    stalls are then.
    """

    mean_gap_steps: int
    longest_ns: int
    stretch_steps: int = 0
    changes: int = 0


class GreenThread:
    """One thread of a host.

    `waits_for` is what it is parked on: a lock (anything with an `owner`), or a phrase for people.
    `timer` is the number of its live timer, 0 when it has none.
    """

    __slots__ = (
        "__weakref__",
        "anchor",
        "atomic",
        "cpu_steps",
        "greenlet",
        "ident",
        "locals",
        "locks_held",
        "name",
        "on_exit",
        "parked",
        "parks",
        "priority",
        "python_thread",
        "spinning",
        "timer",
        "turns",
        "waits_for",
        "woken",
    )  # fmt: skip

    def __init__(self, ident: int, name: str) -> None:
        self.ident = ident
        self.name = name
        self.greenlet: Any = None
        self.parked = False
        self.woken = True
        self.timer = 0
        self.waits_for: Any = None
        self.cpu_steps = 0
        """Step points since it last blocked."""
        self.parks = 0
        """How often it has blocked."""
        self.turns = 0
        """How often it has become ready since it last blocked; only where turns are drawn or pinned."""
        self.priority = 0
        """The highest goes first; only in a host whose threads have priorities."""
        self.anchor = ""
        """Its name, and how many threads of that name the host has had before; only where stalls are pinned."""
        self.spinning = False
        self.atomic = 0
        """Depth of regions without preemption (module imports)."""
        self.locks_held = 0
        self.locals: dict[Any, dict[str, Any]] = {}
        """Values of `threading.local` objects, by the object's key."""
        self.on_exit: list[Callable[[], None]] = []
        self.python_thread: Any = None
        """The `threading.Thread` that runs on it, if there is one."""

    def __repr__(self) -> str:
        return f"<green thread {self.ident} {self.name}>"


class Scheduler:
    """The green threads, the clock and the preemption of one host.

    Args:
        streams: this host's random streams; `stall/…` are used here.
        stalls: how often and how long its threads are preempted.
    """

    def __init__(self, streams: Streams, stalls: StallPlan) -> None:
        self.now = 0
        """Virtual time up to which the CPU use is settled; `clock()` adds the steps since. ns."""
        self.ready: deque[GreenThread] = deque()
        self.threads: dict[int, GreenThread] = {}
        self.current: GreenThread | None = None
        self.ended = False
        self.interrupted = False
        """Set from a signal handler: leave the code under test at its next slow step point."""
        self.stopped = False
        """A debugger's prompt is open: what runs there is no part of the run, and nothing can be waited for."""
        self.left = _STEPS_OUTSIDE_THREADS
        """Step points until something is due (a stall, the quantum's end)."""
        self.stdlib: dict[str, Any] = {}
        """What the standard library that its threads see keeps for this host, by module."""
        self._budget = self.left
        self._timers: list[tuple[int, int, GreenThread]] = []
        self._timer_count = 0
        self._stale_timers = 0
        self._thread_count = 0
        self._refusals = 0
        self._hub: Any = None
        self._quantum_steps = 0
        self._stalls = stalls
        self._gap_stream = streams.stream("stall/gap")
        self._length_stream = streams.stream("stall/length")
        self._pins = StallPins(streams) if streams.calm else None
        self._names: dict[str, int] | None = {} if streams.calm or streams.ledger is not None else None
        """How many threads of each name there have been; only where stalls are pinned."""
        self._priorities = None
        if stalls.stretch_steps and not streams.calm:
            self._priorities = Priorities(streams, stalls.stretch_steps, stalls.changes)
        self._order: Priorities | TurnPins | None = self._priorities or (TurnPins(streams) if streams.calm else None)
        self._make_ready: Callable[[GreenThread], object] = self._take_turn if self._order else self.ready.append
        self._gap_steps = self._draw_gap()
        self._stall_credit = STALL_CREDIT_NS
        self._credited_at = 0

    # -------------------------------------------------------------- time

    def clock(self) -> int:
        """Virtual time now, the steps since the last settlement included. ns."""
        return self.now + (self._budget - self.left) * STEP_NS

    def charge(self, steps: int) -> None:
        """Charges work that has no step points of its own (copying a message) to the running thread."""
        self.left -= steps

    def _settle(self) -> None:
        used = self._budget - self.left
        if used:
            self._budget = self.left
            self.now += used * STEP_NS
            self._quantum_steps -= used
            self._gap_steps -= used
            if self.current is not None:
                self.current.cpu_steps += used

    def _arm(self) -> None:
        gap = self._gap_steps if self._pins is None else self._pins.steps_to_next(self.current)
        left = gap if gap < self._quantum_steps else self._quantum_steps
        self.left = self._budget = left if left > 0 else 0

    def slow_step(self) -> None:
        """A step point at which something is due: a stall, the quantum's end, or the end of the host."""
        thread = self.current
        if thread is None or getcurrent() is not thread.greenlet:
            self.left = 0  # not on a thread: a `__del__` called between them, or while the ended host is cleared away
            return
        if self.ended:
            self._refuse()
        self._settle()
        if thread.atomic:
            self._step_in_import(thread)
            return
        length = 0
        if self._pins is not None or self._gap_steps <= 0:
            length = self._draw_stall() if self._pins is None else self._pins.take(thread)
        if not length and self._priorities is not None and self.ready and self.ready[0].priority > thread.priority:
            length = GIVE_WAY_NS
        if length:
            self.on_stall(thread, length)
            self._pause(thread, self.now + length, "is stalled by the scheduler")
        self._look_for_spin(thread)
        if self._quantum_steps <= 0 or self.interrupted:
            self.yield_now()
        self._arm()

    def _step_in_import(self, thread: GreenThread) -> None:
        """An import is not preempted, but it takes time: at the quantum's end it is the first to go on."""
        self._look_for_spin(thread)
        if self._quantum_steps <= 0 or self.interrupted:
            thread.woken = True
            self.ready.appendleft(thread)
            self._hub.switch()
        self.left = self._budget = max(0, self._quantum_steps)

    def _look_for_spin(self, thread: GreenThread) -> None:
        if thread.cpu_steps * STEP_NS > SPIN_LIMIT_NS and not thread.spinning:
            thread.spinning = True
            self.on_spin(thread)

    def _draw_stall(self) -> int:
        """For how many ns to stall now, 0: not at all."""
        self._gap_steps = self._draw_gap()
        length = self._length_stream.draw(self._stalls.longest_ns + 1)
        if self._priorities is not None and self.current is not None:
            self._priorities.demote(self.current)
        return length if length and self._afford(length) else 0

    def _afford(self, length: int) -> bool:
        """Whether the host may stall for `length` ns more.

        Time earns credit for stalls, up to a limit: dense when something happens after a quiet while (an election),
        while under steady load they slow the host by no more than `STALL_SHARE`.
        """
        earned = (self.now - self._credited_at) // STALL_SHARE
        self._credited_at = self.now
        self._stall_credit = min(STALL_CREDIT_NS, self._stall_credit + earned)
        if length > self._stall_credit:
            return False
        self._stall_credit -= length
        return True

    def _draw_gap(self) -> int:
        if self._priorities is not None:
            return self._priorities.steps_to_change()
        mean = self._stalls.mean_gap_steps
        return 1 + self._gap_stream.draw(2 * mean) if mean else _STEPS_OUTSIDE_THREADS

    # -------------------------------------------------------------- running

    def run(self, limit_ns: int) -> int | None:
        """Runs ready threads for at most `limit_ns` of CPU; returns when it wants to go on, None if nothing is due."""
        self._hub = getcurrent()
        self._quantum_steps = max(1, limit_ns // STEP_NS)
        self._arm()
        ready = self.ready
        while True:
            self._settle()
            if self._timers:
                self._fire()
            if not ready or self._quantum_steps <= 0 or self.interrupted:
                break
            self.current = thread = ready.popleft()
            self._arm()
            thread.greenlet.switch()
        self.current = None
        if ready:
            return self.now
        return self._next_timer()

    def spawn(self, name: str, function: Callable[..., object], *args: Any) -> GreenThread:
        """A new thread that runs `function(*args)`; it becomes ready now."""
        if self.ended:
            raise HostEnded
        self._thread_count += 1
        thread = GreenThread(self._thread_count, name)
        if self._names is not None:
            number = self._names.get(name, 0)
            self._names[name] = number + 1
            thread.anchor = f"{name}#{number}"
        self.threads[thread.ident] = thread
        # The parent is where a dying greenlet goes: always the hub, whoever spawned it.
        thread.greenlet = greenlet(partial(self._body, thread, function, args), parent=self._hub)
        if self._priorities is not None:
            self._priorities.admit(thread)
        self._make_ready(thread)
        return thread

    def _body(self, thread: GreenThread, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        try:
            function(*args)
        except HostEnded:
            pass
        except (
            BaseException
        ) as error:  # SystemExit too: a `Thread` ends of it quietly, but nobody waits for one's reply
            self.on_death(thread, error)
        finally:
            for callback in thread.on_exit:
                callback()
            thread.locals.clear()
            self.threads.pop(thread.ident, None)

    def park(self, deadline: int | None, waits_for: Any) -> bool:
        """Blocks the running thread until `unpark` (True) or virtual time `deadline` in ns (False)."""
        if self.ended:
            self._refuse()
        thread = self.current
        if thread is None or getcurrent() is not thread.greenlet:
            raise RuntimeError("blocking call outside the host's threads")
        self._settle()  # what it has used so far was used before it blocked
        thread.cpu_steps = 0
        thread.parks += 1
        thread.turns = 0
        thread.spinning = False
        self._pause(thread, deadline, waits_for)
        return thread.woken

    def _pause(self, thread: GreenThread, deadline: int | None, waits_for: Any) -> None:
        thread.parked = True
        thread.waits_for = waits_for
        if deadline is not None:
            self._timer_count += 1
            thread.timer = self._timer_count
            heapq.heappush(self._timers, (deadline, thread.timer, thread))
        self._hub.switch()
        thread.waits_for = None

    def unpark(self, thread: GreenThread) -> None:
        """Makes a parked thread ready; nothing happens to one that is not parked."""
        if not thread.parked:
            return
        thread.parked = False
        thread.woken = True
        self._make_ready(thread)
        if thread.timer:
            thread.timer = 0
            self._stale_timers += 1
            if self._stale_timers > 64 and 2 * self._stale_timers > len(self._timers):
                self._timers = [entry for entry in self._timers if entry[2].timer == entry[1]]
                heapq.heapify(self._timers)
                self._stale_timers = 0

    def yield_now(self) -> None:
        """Puts the running thread behind the others that are ready; its priority becomes the lowest."""
        if self.ended:
            raise HostEnded
        thread = self.current
        if thread is None or getcurrent() is not thread.greenlet:
            return
        thread.woken = True
        if self._priorities is not None:
            self._priorities.demote(thread)
        self._make_ready(thread)
        self._hub.switch()

    def _take_turn(self, thread: GreenThread) -> None:
        """Puts `thread`, which is ready, where its turn is."""
        assert self._order is not None
        ready = self.ready
        thread.turns += 1
        count = self._order.overtaken(thread, ready)
        if count:
            self.on_turn(thread, list(ready)[-count:])
        ready.insert(len(ready) - count, thread)
        running = self.current
        if running is not None and thread.priority > running.priority and getcurrent() is running.greenlet:
            self._settle()
            self.left = self._budget = 0  # it gives way at its next step point

    def _fire(self) -> None:
        timers, now = self._timers, self.now
        while timers and timers[0][0] <= now:
            _, number, thread = heapq.heappop(timers)
            if thread.timer != number:
                self._stale_timers -= 1
                continue
            thread.timer = 0
            thread.parked = False
            thread.woken = False
            self._make_ready(thread)

    def _next_timer(self) -> int | None:
        timers = self._timers
        while timers:
            due, number, thread = timers[0]
            if thread.timer == number:
                return due
            heapq.heappop(timers)  # a stale entry must not wake the host
            self._stale_timers -= 1
        return None

    def end(self) -> None:
        """Ends every thread where it stands. Called from outside the host's threads, once."""
        self.ended = True
        self.left = -1
        here = getcurrent()
        for thread in list(self.threads.values()):
            green = thread.greenlet
            if green:  # it has started: to throw into one that has not would raise here
                self.current = thread
                self._refusals = 0
                green.parent = here
                green.throw(HostEnded)
        self.current = None
        self.ready.clear()
        self._timers.clear()
        self.threads.clear()

    def _refuse(self) -> None:
        """Ends the running thread of a host that has ended; one that will not end is left where it stands."""
        self._refusals += 1
        thread = self.current
        if self._refusals > _REFUSALS and thread is not None and getcurrent() is thread.greenlet:
            # A loop in C (`any(map(f, repeat(1)))`) around a function that catches everything: it has no step point.
            _undying.append(thread.greenlet)
            while True:
                thread.greenlet.parent.switch()
        raise HostEnded

    # -------------------------------------------------------------- what the host makes of it

    def on_death(self, thread: GreenThread, error: BaseException) -> None:
        """A thread died of an exception."""
        raise NotImplementedError

    def on_stall(self, thread: GreenThread, length: int) -> None:
        """The running thread is about to be stalled for `length` ns."""

    def on_turn(self, thread: GreenThread, overtaken: Sequence[GreenThread]) -> None:
        """A thread became ready, and goes ahead of `overtaken`, which were ready before it."""

    def on_spin(self, thread: GreenThread) -> None:
        """A thread used `SPIN_LIMIT_NS` of CPU without blocking."""
        raise NotImplementedError


def host() -> Any:
    """The host whose code runs now (a `Host`), for the standard library that a host sees.

    Raises:
        RuntimeError: outside every host.
    """
    return context.require("this function")
