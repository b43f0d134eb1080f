"""`kvraft serve` in bad surroundings: a node as a process, whose disk, clock and processor can be made bad as it runs.

    driver --lines of JSON, stdin--> {"disk_delay": 0.05}, {"clock_rate": 1.2}, …
           <--lines of JSON, stdout-- {"role": "leader", "term": 3}, {"applied": 812, …}

The node is `kvraft.service.serve.serve`, unchanged. It ends when its stdin does: who drives it has died.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from kvraft.scenarios.clock import SkewedClock
from kvraft.scenarios.disk import BadDisk, FaultyFiles
from kvraft.service.event_raft import Timing
from kvraft.service.events import Listener
from kvraft.service.node import Node
from kvraft.service.serve import serve
from kvraft.service.settings import Settings

__all__ = ["Surroundings", "main"]

REPORT_SECONDS = 0.25
STUTTER_SECONDS = 0.02

_PR_SET_PDEATHSIG = 1


class Surroundings:
    """What a node runs in, and what its driver can change of that."""

    def __init__(self) -> None:
        self.clock = SkewedClock()
        self.disk = BadDisk()
        self.busy = 0.0
        """Part of the time in which the processor is not there for the node."""

    def change(self, **what: Any) -> None:
        """Raises: ValueError: there is nothing of that name, or it cannot have that value."""
        for name, value in what.items():
            if name == "disk_delay":
                self.disk.delay = float(value)
            elif name == "disk_full":
                self.disk.is_full = bool(value)
            elif name == "clock_rate":
                self.clock.run_at(float(value))
            elif name == "clock_jump":
                self.clock.jump(float(value))
            elif name == "busy":
                if not 0 <= value < 1:
                    raise ValueError(f"busy {value!r} is not in 0..1")
                self.busy = float(value)
            else:
                raise ValueError(f"a node's surroundings have no {name!r}")

    async def stutter(self) -> None:
        """Takes the processor away from the loop, as others on a busy machine do."""
        while True:
            await asyncio.sleep(STUTTER_SECONDS * (1 - self.busy))
            if self.busy:
                time.sleep(STUTTER_SECONDS * self.busy)


class _Told(Listener):
    """Tells the driver of roles, as they change."""

    def role_changed(self, role: str, term: int, leader: int | None) -> None:
        _tell(role=role, term=term)

    def snapshot_installed(self, index: int, size: int) -> None:
        _tell(installed=index, size=size)

    def snapshot_taken(self, index: int, size: int, seconds: float) -> None:
        _tell(snapshot=index, size=size)

    def failed(self, error: BaseException) -> None:
        _tell(failed=str(error))


def main(text: str) -> int:
    """Runs the node that `text`, JSON, tells of; its exit code."""
    told = json.loads(text)
    surroundings = Surroundings()
    surroundings.clock.install()
    surroundings.change(**told.pop("surroundings", {}))
    timing = Timing(heartbeat=told.pop("heartbeat"), election=tuple(told.pop("election")))
    dial = {int(peer): address for peer, address in told.pop("dial").items()}
    settings = Settings(**{**told, "data": Path(told["data"]), "dial": dial, "timing": timing})
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s.%(msecs)03d %(levelname)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
        stream=sys.stderr,
    )
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # also if it is stopped then
    threading.Thread(target=_listen, args=(surroundings,), name="driver", daemon=True).start()
    with asyncio.Runner(loop_factory=surroundings.clock.new_event_loop) as runner:
        return runner.run(_run(settings, surroundings))


async def _run(settings: Settings, surroundings: Surroundings) -> int:
    tasks: list[asyncio.Task[None]] = []

    def ready(node: Node) -> None:
        tasks.extend(map(asyncio.get_running_loop().create_task, (_report(node), surroundings.stutter())))

    try:
        return await serve(
            settings, on_ready=ready, listeners=[_Told()], files=lambda place: FaultyFiles(place, surroundings.disk)
        )
    except Exception as error:
        _tell(failed=str(error))
        print(f"kvraft: {error}", file=sys.stderr)
        return 1
    finally:
        for task in tasks:
            task.cancel()


async def _report(node: Node) -> None:
    while True:
        raft = node.raft
        _tell(
            role=raft.role.value,
            term=raft.current_term,
            commit=raft.commit_index,
            applied=node.store.index,
            snapshot=raft.log.last_included_index,
            log_bytes=raft.log.size,
            operations=node.writes + node.reads,
        )
        await asyncio.sleep(REPORT_SECONDS)


def _tell(**what: Any) -> None:
    with contextlib.suppress(OSError):
        os.write(1, (json.dumps(what) + "\n").encode())


def _listen(surroundings: Surroundings) -> None:
    for line in sys.stdin:
        try:
            surroundings.change(**json.loads(line))
        except (ValueError, TypeError) as error:
            print(f"kvraft: not understood: {line.strip()}: {error}", file=sys.stderr)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
