"""Virtual time: the event queue that steps the hosts.

    pop the earliest event -> step that host -> its effects become events -> ...

Time (integer nanoseconds) is what the queue says. So the run is a function of the seed and the test alone, whether
hosts live in this process or each in its own.
"""

from __future__ import annotations

import gc
import heapq
import sys
from typing import Any, cast

from labrpc import frames
from labrpc.coordinator import Coordinator
from labrpc.errors import HarnessError, RunLimitExceeded
from labrpc.records import Node
from labrpc.streams import Streams
from labrpc.virtual import interpreter, recursion
from labrpc.virtual.steps import QUANTUM_NS, StepMachine, StepMachines

__all__ = ["VirtualCoordinator"]

GC_INTERVAL = 200_000
"""Garbage is collected after this many events and at no other time: collections are part of the run."""

GC_BOOTS = 64
"""And after this many starts of servers, each of which leaves a dead incarnation behind."""

_LEVELS_TO_STEP = 1
"""Calls between the loop and `StepMachine.step`."""


class VirtualCoordinator(Coordinator):
    """One run on virtual time; see `Coordinator`.

    Args:
        streams: the run's random streams.
        machines: where hosts are made.
        options: as of the `Coordinator`.
    """

    _machines: StepMachines
    _nodes: dict[str, Node[StepMachine]]
    _ghosts: list[Node[StepMachine]]

    def __init__(self, streams: Streams, machines: StepMachines, **options: Any) -> None:
        super().__init__(streams, machines, **options)
        self.running: Node[StepMachine] | None = None
        """The host that takes a step."""
        self._due: list[Node[StepMachine]] = []
        """Hosts to step before the next event."""
        self._boots = 0
        interpreter.enter()

    def _leave(self) -> None:
        interpreter.leave()

    # -------------------------------------------------------------- the loop

    def _loop(self) -> None:
        queue, due_nodes = self._queue, self._due
        pop = heapq.heappop
        # Hosts are stepped from here only, so their threads always start at the same depth of the stack.
        recursion.allow(_LEVELS_TO_STEP)
        self._recursion_limit = sys.getrecursionlimit()
        while True:
            if self.interruption is not None:
                self._fail(self.interruption)
            if not queue:
                self._fail(HarnessError("nothing is left to happen, but the test waits"))
            due, _, action, args = pop(queue)
            if due > self.now:
                self.now = due
                if due > self._limit_ns:
                    self._fail(RunLimitExceeded(f"the run took more than {self._limit_ns / 1e9:g} s of its own time"))
            self.events += 1
            if self.events % GC_INTERVAL == 0:
                self._collect_garbage()
            action(*args)
            while due_nodes:
                self._step(due_nodes.pop())

    def _step(self, node: Node[StepMachine]) -> None:
        if not node.alive:
            return
        inbox, node.inbox = node.inbox, []
        self.running = node
        try:
            effects, node.clock, wake = node.machine.step(self.now, QUANTUM_NS, inbox)
        finally:
            self.running = None
        node.wake = wake
        if wake is not None:
            self._push(max(wake, self.now), self._on_wake, node, wake)
        queue = self._queue
        for effect in effects:
            if queue and queue[0][0] <= effect.at:
                self._push(effect.at, self._happen, node, effect)
            else:  # nothing comes before it: the same as pushing it and popping it next
                if effect.at > self.now:
                    self.now = effect.at
                self._happen(node, effect)

    def _schedule_wake(self, node: Node[StepMachine], due: int) -> None:
        if node.wake is None or node.wake > due:
            node.wake = due
            self._push(due, self._on_wake, node, due)

    def _on_wake(self, node: Node[StepMachine], due: int) -> None:
        if node.wake == due and node.alive and not node.paused:
            self._due.append(node)

    def interrupt(self, error: BaseException) -> bool:
        reached = super().interrupt(error)
        node = self.running
        if reached and node is not None:
            cast(Any, node.machine).interrupted = True
        return reached

    # -------------------------------------------------------------- hosts

    def _create(self, settings: frames.HostSettings) -> StepMachine:
        self._boots += 1
        if self._boots % GC_BOOTS == 0:
            self._collect_garbage()
        return self._machines.create(settings)

    def _collect_garbage(self) -> None:
        gc.collect()
        for node in (*self._nodes.values(), *self._ghosts):
            if node.alive:
                node.machine.collect()

    def _deliver(self, node: Node[StepMachine], item: frames.InboxItem) -> None:
        if not node.alive:
            return
        node.inbox.append(item)
        if node.paused:
            return
        if node.clock > self.now:
            self._schedule_wake(node, node.clock)
        else:
            self._due.append(node)

    def _hand(self, node: Node[StepMachine], item: frames.InboxItem) -> None:
        node.inbox.append(item)
        self._due.append(node)

    def _pause(self, node: Node[StepMachine], paused: bool) -> None:
        if not paused:
            node.wake = None  # its wake-up came while it was paused, and was let pass
            self._schedule_wake(node, self.now)

    def threads_of(self, name: str) -> str:
        """See `Coordinator.threads_of` and `labrpc.virtual.diagnosis.describe_threads`.

        What the host does meanwhile is no part of the run.
        """
        if self._failure is None or self._closed:
            raise HarnessError("only a run that has ended may be asked for its threads: asking lets a host run on")
        if not self.is_up(name):
            return ""
        machine = self._nodes[name].machine
        cast(Any, machine).interrupted = True  # in this process none of its threads goes on
        effects = machine.step(self.now, QUANTUM_NS, [frames.Dump()]).effects
        reports = (each for each in effects if isinstance(each, frames.Report) and each.kind == "threads")
        return next((report.detail for report in reports), "")
