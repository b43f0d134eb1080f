"""What a coordinator keeps of each incarnation, each call in flight and each pending control call."""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

from labrpc import frames
from labrpc.event_loop import HarnessTask
from labrpc.persister import MemoryPersister

__all__ = ["Machine", "Machines", "Node", "PendingControl", "Rpc"]


class Machine(Protocol):
    """A host as every coordinator sees it; how it is driven is each clock's own."""

    def end(self) -> None:
        """The host is gone at this instant."""


class Machines(Protocol):
    """Makes a machine for one incarnation, and is told when all of them are done with."""

    def create(self, settings: frames.HostSettings) -> Machine: ...

    def close(self) -> None: ...


M = TypeVar("M", bound=Machine)


class Node(Generic[M]):
    """One incarnation of one host."""

    def __init__(self, name: str, incarnation: int, machine: M, disk: MemoryPersister) -> None:
        self.name = name
        self.incarnation = incarnation
        self.machine = machine
        self.disk = disk
        self.alive = True
        self.detached = False
        """Shut down: it runs on, but neither network nor disk take anything from it."""
        self.paused = False
        self.inbox: list[frames.InboxItem] = []
        """What has come for it and is not handed over yet."""
        self.clock = 0
        """On virtual time: the host's own clock after its last step; it is busy until then."""
        self.wake: int | None = None
        """On virtual time: when it is to be stepped next, if nothing comes for it."""
        self.answering: dict[int, Rpc] = {}
        """Requests delivered here and not yet answered, by delivery number."""
        self.crash_after = 0
        """With n > 0, its n-th next effect does not happen: it crashes instead."""


class Rpc:
    """One call in flight."""

    __slots__ = ("arrived", "call", "copies", "done", "link_number", "message", "method", "payload", "source", "target")

    def __init__(self, source: Node[Any], call: int, target: str, method: str, payload: bytes, message: int) -> None:
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
    """A control call that the task waits for."""

    __slots__ = ("limit_ns", "name", "node", "task", "wait")

    def __init__(self, task: HarnessTask, wait: int, node: Node[Any], name: str, limit_ns: int) -> None:
        self.task, self.wait, self.node, self.name, self.limit_ns = task, wait, node, name, limit_ns
