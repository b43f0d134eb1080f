"""Real time: a single-threaded coordinator on the test's thread, with a clock that nobody winds.

    wait for the next due event or an effect in the mailbox -> handle it -> ...
          hosts' threads --effects--> mailbox          items --post--> hosts' threads

Time passes by itself, a host is handed what comes for it and runs on, and an effect happens when it arrives here.
"""

from __future__ import annotations

import gc
import heapq
import queue
import time
from typing import Any, NamedTuple

from labrpc import frames
from labrpc.coordinator import Coordinator
from labrpc.errors import HarnessError, RunLimitExceeded, UsageError
from labrpc.persister import MemoryPersister
from labrpc.real.machines import Arrival, RealMachine, RealMachines
from labrpc.records import Node
from labrpc.streams import Streams

__all__ = ["RealCoordinator", "Stall"]


_NOT_ITS_FAULT = frozenset({"disk", "lab"})
"""Kinds of report that accuse the machine or the lab, not the code under test."""


class Stall(NamedTuple):
    """The coordinator handled something `length_ns` late, `at_ns` since the run began."""

    at_ns: int
    length_ns: int


class RealCoordinator(Coordinator):
    """One run on the real clock; see `Coordinator`.

    Args:
        streams: the run's random streams: what the network does to message n of a link, but not when that is sent.
        machines: where hosts are made.
        options: as of the `Coordinator`.
    """

    _machines: RealMachines
    _nodes: dict[str, Node[RealMachine]]
    _ghosts: list[Node[RealMachine]]

    def __init__(self, streams: Streams, machines: RealMachines, **options: Any) -> None:
        self._origin = time.monotonic_ns()
        super().__init__(streams, machines, **options)
        self._mailbox = machines.mailbox
        self.stall = Stall(0, 0)
        """The longest so far. Its fault is the machine's, or the test body's, never the code under test's."""
        gc.freeze()  # a collection stops every thread: it need not look at pytest's objects, too

    def _leave(self) -> None:
        self.warnings += self._machines.warnings
        gc.unfreeze()

    # -------------------------------------------------------------- the loop

    def _loop(self) -> None:
        events = self._queue
        while True:
            if self.interruption is not None:
                self._fail(self.interruption)
            arrival = self._wait_for_arrival(events[0][0] if events else self._limit_ns)
            self._look_at_clock()
            if arrival is not None:
                self._arrived(arrival)
            while events and events[0][0] <= self.now:
                due, _, action, args = heapq.heappop(events)
                self._note_stall(due)
                self.events += 1
                action(*args)

    def _wait_for_arrival(self, due: int) -> Arrival | None:
        """The next effect; None if there is none until `due`, or somebody wants the loop to look around."""
        wait = due - (time.monotonic_ns() - self._origin)
        try:
            return self._mailbox.get(timeout=wait / 1e9) if wait > 0 else self._mailbox.get_nowait()
        except queue.Empty:
            return None

    def _look_at_clock(self) -> None:
        self.now = max(self.now, time.monotonic_ns() - self._origin)
        if self.now > self._limit_ns:
            self._fail(RunLimitExceeded(f"the run took more than {self._limit_ns / 1e9:g} s"))

    def _arrived(self, arrival: Arrival) -> None:
        name, incarnation, effect = arrival
        self.events += 1
        self._note_stall(effect.at - self._origin)
        for node in (self._nodes[name], *self._ghosts):
            if (node.name, node.incarnation) == (name, incarnation):
                self._happen(node, effect)
                return

    def _note_stall(self, due: int) -> None:
        if self.now - due > self.stall.length_ns:
            self.stall = Stall(self.now, self.now - due)

    def interrupt(self, error: BaseException) -> bool:
        reached = super().interrupt(error)
        self._mailbox.put(None)
        return reached

    # -------------------------------------------------------------- hosts

    def _deliver(self, node: Node[RealMachine], item: frames.InboxItem) -> None:
        if node.alive:
            if node.paused:
                node.inbox.append(item)
            else:
                self._hand(node, item)

    def _hand(self, node: Node[RealMachine], item: frames.InboxItem) -> None:
        node.machine.post(item)

    def _pause(self, node: Node[RealMachine], paused: bool) -> None:
        if not paused:
            held, node.inbox = node.inbox, []
            for item in held:
                self._hand(node, item)
        node.machine.pause(paused)

    def _surviving_disk(self, node: Node[RealMachine]) -> MemoryPersister:
        try:
            return node.machine.surviving_disk() or super()._surviving_disk(node)
        except HarnessError as error:
            self.fail(error)
            raise

    def _set_clock(self, name: str, offset_ns: int, drift_ppm: int) -> None:
        raise UsageError("a server's clock can be set with --clock virtual only")

    def threads_of(self, name: str) -> str:
        raise UsageError("a run can be looked at while it stands still with --clock virtual only")

    def _fault(self, report: frames.Report, text: str) -> Exception:
        if report.kind in _NOT_ITS_FAULT:
            return HarnessError(f"{text}\n{report.detail}".rstrip())
        return super()._fault(report, text)
