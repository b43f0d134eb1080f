"""What the coordinator keeps of each incarnation, each call in flight, each pending control call and each test task."""

from __future__ import annotations

from typing import Any, Protocol

from labrpc.persister import MemoryPersister
from labrpc.virtual import frames

__all__ = ["HarnessTask", "Machine", "MachineFactory", "Node", "PendingControl", "Rpc"]


class Machine(Protocol):
    """A host as the coordinator sees it, in this process or in a child."""

    def step(self, now: int, limit: int, inbox: list[frames.InboxItem]) -> frames.Step: ...

    def collect(self) -> None:
        """Collects its garbage, if that is in a process of its own."""

    def end(self) -> None: ...


class MachineFactory(Protocol):
    """Makes a machine for one incarnation, and says when all of them are done with."""

    def create(self, settings: frames.HostSettings) -> Machine: ...

    def close(self) -> None: ...


class Node:
    """One incarnation of one host."""

    def __init__(self, name: str, incarnation: int, machine: Machine, disk: MemoryPersister) -> None:
        self.name = name
        self.incarnation = incarnation
        self.machine = machine
        self.disk = disk
        self.alive = True
        self.detached = False
        """Shut down: it runs on, but neither network nor disk take anything from it."""
        self.paused = False
        self.inbox: list[frames.InboxItem] = []
        self.clock = 0
        """The host's own clock after its last step: it is busy until then."""
        self.wake: int | None = None
        self.answering: dict[int, Rpc] = {}
        """Requests delivered here and not yet answered, by delivery number."""
        self.crash_after = 0
        """With n > 0, its n-th next effect does not happen: it crashes instead."""


class Rpc:
    """One call in flight."""

    __slots__ = ("arrived", "call", "copies", "done", "link_number", "message", "method", "payload", "source", "target")

    def __init__(self, source: Node, call: int, target: str, method: str, payload: bytes, message: int) -> None:
        self.source = source
        self.call = call
        self.target = target
        self.method = method
        self.payload = payload
        self.message = message
        self.link_number = 0
        self.copies = 0
        """How many of the request are on their way."""
        self.arrived = False
        self.done = False


class PendingControl:
    __slots__ = ("limit_ns", "name", "node", "task", "wait")

    def __init__(self, task: HarnessTask, wait: int, node: Node, name: str, limit_ns: int) -> None:
        self.task, self.wait, self.node, self.name, self.limit_ns = task, wait, node, name, limit_ns


class HarnessTask:
    """A part of the test's body that runs beside the rest; see `Coordinator.spawn`."""

    def __init__(self) -> None:
        self.greenlet: Any = None
        self.done = False
        self.value: Any = None
        self.joiners: list[HarnessTask] = []
        self.waiting = 0
        """Number of its current wait; a wake-up for an earlier one is stale."""
