"""How a host is driven on virtual time: step by step.

    step(now, limit, inbox) -> Step(effects, clock, wake)

A host in this process takes a step as a function call, one in a child process as a frame there and one back.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import msgspec

from labrpc.frames import Effect, HostSettings, InboxItem

__all__ = ["QUANTUM_NS", "Step", "StepFrame", "StepMachine", "StepMachines"]

QUANTUM_NS = 1_000_000
"""The most CPU time one step of a host may use."""


class Step(NamedTuple):
    """What one step did: the effects, the host's own clock, and when it wants to go on (None: if something comes)."""

    effects: list[Effect]
    clock: int
    wake: int | None


class StepFrame(msgspec.Struct, array_like=True, gc=False):
    """A request for one step, as sent to a child process."""

    now: int
    limit: int
    inbox: list[InboxItem]


class StepMachine(Protocol):
    """A host as the coordinator of a virtual world sees it, in this process or in a child."""

    def step(self, now: int, limit: int, inbox: list[InboxItem]) -> Step:
        """Gives it `inbox` and lets it use `limit` ns of CPU, from virtual time `now` on."""

    def collect(self) -> None:
        """Collects its garbage, if that is in a process of its own."""

    def end(self) -> None:
        """The host is gone at this instant."""


class StepMachines(Protocol):
    """Makes a machine for one incarnation, and is told when all of them are done with."""

    def create(self, settings: HostSettings) -> StepMachine: ...

    def close(self) -> None: ...
