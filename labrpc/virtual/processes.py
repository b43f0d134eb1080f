"""Hosts in child processes: `--servers processes`. A step is one frame there and one back over a socket pair.

The run is the same as with hosts in this process, event for event. A child that dies, hangs or writes garbage fails
the test by name, and none outlives its run. Coordinator and children share one CPU: only one of them works at a time,
and a switch between CPUs costs more than the step.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import struct
import tempfile
import time
from typing import IO, Any, NoReturn

import msgspec

from labrpc import frames
from labrpc.errors import CodeFault
from labrpc.framing import receive, send
from labrpc.network import host_title
from labrpc.nursery import Nursery, describe_status, innermost_site
from labrpc.virtual.loader import CodeBundle
from labrpc.virtual.steps import Step, StepFrame

__all__ = ["ProcessMachine", "ProcessMachines"]

STEP_WALL_LIMIT_S = 30.0
"""Wall time one step may take: a step is at most a millisecond of virtual CPU, so only a hang takes this long."""

_PATIENCE_S = 2.0
"""How long a child that has closed its connection may take to end."""

_encode = msgspec.msgpack.Encoder().encode
_decode_step: Any = msgspec.msgpack.Decoder(tuple[list[frames.Effect], int, int | None]).decode


class ProcessMachines:
    """Makes hosts in children of `nursery`.

    Args:
        bundle: the code under test.
        cpu: the CPU to share with them, None for no pinning.
        wall_limit_s: wall time a step may take.
    """

    def __init__(
        self, bundle: CodeBundle, nursery: Nursery, *, cpu: int | None = None, wall_limit_s: float = STEP_WALL_LIMIT_S
    ) -> None:
        self._bundle = bundle.to_bytes()
        self._digest = hashlib.blake2b(self._bundle, digest_size=16).hexdigest()
        self._files = bundle.files
        self._nursery = nursery
        self._wall_limit_s = wall_limit_s
        self._pins = cpu is not None and hasattr(os, "sched_setaffinity")
        if cpu is not None and self._pins:
            nursery.pin(cpu)

    def create(self, settings: frames.HostSettings) -> ProcessMachine:
        return ProcessMachine(settings, self._nursery, self._digest, self._bundle, self._files, self._wall_limit_s)

    def close(self) -> None:
        if self._pins:
            self._pins = False
            self._nursery.unpin()


class ProcessMachine:
    """One host in a child process."""

    def __init__(
        self,
        settings: frames.HostSettings,
        nursery: Nursery,
        digest: str,
        bundle: bytes,
        files: dict[str, str],
        wall_limit_s: float,
    ) -> None:
        self._title = host_title(settings.name)
        self._nursery = nursery
        self._files = files
        self._wall_limit_s = wall_limit_s
        ours, theirs = socket.socketpair()
        self._errors: IO[bytes] = tempfile.TemporaryFile(prefix="raftlab-child-")  # noqa: SIM115  # closed in end()
        self.pid = nursery.fork("virtual", settings, digest, bundle, [theirs.fileno(), self._errors.fileno()])
        theirs.close()
        # A time limit in the kernel costs a step nothing.
        seconds = int(wall_limit_s)
        limit = struct.pack("ll", seconds, int((wall_limit_s - seconds) * 1e6))
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self._connection = ours
        self._ended = False
        self.interrupted = False

    def step(self, now: int, limit: int, inbox: list[frames.InboxItem]) -> Step:
        data = self._ask(_encode(StepFrame(now, limit, inbox)))
        try:
            effects, clock, wake = _decode_step(data)
        except msgspec.MsgspecError as error:
            self._fail_garbage(str(error))
        if not self._plausible(now, limit, effects, clock, wake):
            self._fail_garbage("instants that are out of order or out of the step")
        return Step(effects, clock, wake)

    def collect(self) -> None:
        if self._ask(b""):
            self._fail_garbage("an answer to no question")

    def _ask(self, question: bytes) -> bytes:
        try:
            send(self._connection, question)
            data = receive(self._connection)
        except BlockingIOError:
            self._fail_hung()
        except ValueError as error:
            self._fail_garbage(str(error))
        except OSError:
            data = None
        if data is None:
            self._fail_dead()
        return data

    def _plausible(self, now: int, limit: int, effects: list[frames.Effect], clock: int, wake: int | None) -> bool:
        """Whether the child's claims about time can be true: it may lie about its CPU time, within one step."""
        last = now
        for effect in effects:
            if effect.at < last:
                return False
            last = effect.at
        slack = 1_000_000_000
        return last <= max(clock, now) <= now + limit + slack and (wake is None or wake >= 0)

    def end(self) -> None:
        if not self._ended:
            self._ended = True
            self._connection.close()
            self._nursery.end(self.pid)
            self._errors.close()

    def _fail_dead(self) -> NoReturn:
        status = self._nursery.end(self.pid, patience_s=_PATIENCE_S, answer=True)
        if status is None:
            self._fail("its process closed its connection to the test, and went on")
        self._fail(f"its process died ({describe_status(status)})")

    def _fail_hung(self) -> NoReturn:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGUSR1)  # faulthandler writes its stack, even from inside C code
        time.sleep(0.2)
        self._nursery.end(self.pid, answer=True)
        self._fail(
            f"its process did not come back from a step within {self._wall_limit_s:g} s of wall time: "
            "it is inside a call that never ends"
        )

    def _fail_garbage(self, why: str) -> NoReturn:
        self._nursery.end(self.pid, answer=True)
        self._fail(f"its process wrote a frame that is no frame: {why}")

    def _fail(self, text: str) -> NoReturn:
        self._ended = True
        self._connection.close()
        self._errors.seek(0)
        written = self._errors.read(1 << 20).decode("utf-8", "replace").strip()
        self._errors.close()
        site = innermost_site(written, self._files)
        raise CodeFault(f"{self._title}: {text}{f' at {site}' if site else ''}", written)
