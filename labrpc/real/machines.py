"""Hosts beside the judge, on real threads: `--clock real --servers threads`."""

from __future__ import annotations

import queue
import sys
from typing import NamedTuple, Protocol

from labrpc import frames
from labrpc.network import host_title
from labrpc.persister import MemoryPersister
from labrpc.real import diagnosis
from labrpc.real.host import RealHost
from labrpc.real.memory_disk import MemoryDisk
from labrpc.real.reaper import Reaper
from labrpc.virtual.loader import CodeBundle, warm

__all__ = ["Arrival", "Mailbox", "RealMachine", "RealMachines", "ThreadMachine", "ThreadMachines"]

_PATIENCE_S = 2.0
"""What the threads of all servers have to end, once the run is over."""


class Arrival(NamedTuple):
    """An effect on its way to the coordinator, and whose it is."""

    name: str
    incarnation: int
    effect: frames.Effect


Mailbox = queue.SimpleQueue[Arrival | None]
"""Where all threads put what the coordinator is to see; None only wakes it."""


class RealMachine(Protocol):
    """A host as the coordinator of a real world sees it."""

    def post(self, item: frames.InboxItem) -> None:
        """Hands `item` over; returns at once."""

    def end(self) -> None:
        """The host is gone at this instant."""

    def pause(self, paused: bool) -> None:
        """Has it stand still, or go on, if that is possible; it is given nothing while it is paused."""

    def surviving_disk(self) -> MemoryPersister | None:
        """What is on a disk of its own if it crashes now, ended or not; None: it has none, its saves decide."""


class RealMachines(Protocol):
    """Makes a machine for one incarnation; its effects come into the mailbox."""

    mailbox: Mailbox
    warnings: list[str]
    """What went on beyond the run's end. Whole once it is closed."""

    def create(self, settings: frames.HostSettings) -> RealMachine: ...

    def close(self) -> None:
        """All machines have ended: waits until nothing of them is left, or gives it up."""


class ThreadMachines:
    """Makes hosts in this process.

    Args:
        bundle: the code under test, not instrumented.
        switch_interval: seconds that a thread may keep the interpreter while others want it; None: as it is.
    """

    def __init__(self, bundle: CodeBundle, switch_interval: float | None = None) -> None:
        self.mailbox: Mailbox = queue.SimpleQueue()
        self.warnings: list[str] = []
        self._bundle = bundle
        warm(ordered=False)
        self._reaper = Reaper()
        self._interval_before = sys.getswitchinterval()
        if switch_interval is not None:
            sys.setswitchinterval(switch_interval)

    def create(self, settings: frames.HostSettings) -> ThreadMachine:
        def emit(effect: frames.Effect) -> None:
            self.mailbox.put(Arrival(settings.name, settings.incarnation, effect))

        return ThreadMachine(RealHost(settings, self._bundle, MemoryDisk, emit), self._reaper)

    def close(self) -> None:
        for host in self._reaper.survivors(_PATIENCE_S):
            threads = diagnosis.describe_threads(host)
            self.warnings.append(
                f"{host_title(host.name)}: threads go on after its end, and nothing can stop them:\n{threads}"
            )
        sys.setswitchinterval(self._interval_before)


class ThreadMachine:
    """One host in this process."""

    def __init__(self, host: RealHost, reaper: Reaper) -> None:
        self._host = host
        self._reaper = reaper

    def post(self, item: frames.InboxItem) -> None:
        self._host.post(item)

    def end(self) -> None:
        self._host.end()
        self._reaper.take(self._host)

    def pause(self, paused: bool) -> None:
        """Its threads go on, as far as they get without the network."""

    def surviving_disk(self) -> None:
        """Its disk is kept by the coordinator."""
