"""One replica of a counter on `RSM`: each request adds to the counter and gives its new value."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from kvraft import RSM
from labrpc import decode, encode, message
from labrpc.program import ProgramHost
from tester.programs.raft_controls import RaftControls
from tester.programs.raft_tap import RaftTap

__all__ = ["boot"]


@message
@dataclass(frozen=True)
class Inc:
    """Adds one."""


@message
@dataclass(frozen=True)
class Dec:
    """Takes one away."""


@message
@dataclass(frozen=True)
class Null:
    """Leaves the counter as it is."""


REQUESTS = {"inc": Inc(), "dec": Dec(), "null": Null()}
AMOUNTS = {Inc: 1, Dec: -1, Null: 0}


SNAPSHOT_TIME = 0.002
"""Seconds, as if the state were large. A snapshot that is taken beside the applying shows a later state then."""


class Counter:
    """The state machine."""

    def __init__(self) -> None:
        self.value = 0

    def do_op(self, req: Any) -> int:
        self.value += AMOUNTS[type(req)]
        return self.value

    def snapshot(self) -> bytes:
        time.sleep(SNAPSHOT_TIME)
        return encode(self.value)

    def restore(self, data: bytes) -> None:
        self.value = decode(data)


class Controls(RaftControls):
    """What the test may call on this server."""

    def __init__(self, rsm: RSM, counter: Counter, tap: RaftTap) -> None:
        super().__init__(tap.raft, rsm.kill)
        self._rsm, self._counter = rsm, counter

    def submit(self, request: str) -> tuple[str, Any]:
        err, result = self._rsm.submit(REQUESTS[request])
        return str(err), result

    def counter(self) -> int:
        return self._counter.value


def boot(host: ProgramHost) -> Controls:
    tap = RaftTap(host)
    counter = Counter()
    rsm = RSM(host.ends, host.config["me"], host.persister, host.config.get("max_raft_state", -1), counter)
    host.serve(tap.raft)
    return Controls(rsm, counter, tap)
