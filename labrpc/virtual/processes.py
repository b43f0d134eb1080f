"""Hosts in child processes: `--servers processes`. A step is one frame there and one back over a socket pair.

The run is the same as with hosts in this process, event for event. What a child says is checked (see `claims`): one
that dies, hangs, writes garbage or claims what cannot be fails the test by name, and none outlives its run.
Coordinator and children share one CPU: only one of them works at a time, and a switch between CPUs costs more than
the step.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import tempfile
import time
from typing import IO, Any, NoReturn

import msgspec

from labrpc import frames
from labrpc.errors import CodeFault, HarnessError
from labrpc.framing import receive, send
from labrpc.network import host_title
from labrpc.nursery import READY, Nursery, describe_status, innermost_site
from labrpc.sandbox import deeds
from labrpc.virtual.claims import Bounds, BrokenClaim, Budget, Claims, harmless
from labrpc.virtual.loader import CodeBundle
from labrpc.virtual.steps import Step, StepFrame

__all__ = ["ProcessMachine", "ProcessMachines"]

_PATIENCE_S = 2.0
"""How long a child that has closed its connection may take to end."""

_encode = msgspec.msgpack.Encoder().encode
_decode_step: Any = msgspec.msgpack.Decoder(tuple[list[frames.Effect], int, int | None]).decode


class ProcessMachines:
    """Makes hosts in children of `nursery`, for one run.

    Args:
        bundle: the code under test.
        cpu: the CPU to share with them, None for no pinning.
        bounds: how much they may say and take.
    """

    def __init__(
        self, bundle: CodeBundle, nursery: Nursery, *, cpu: int | None = None, bounds: Bounds | None = None
    ) -> None:
        self.bundle = bundle.to_bytes()
        self.files = bundle.files
        self.nursery = nursery
        self.bounds = bounds or Bounds()
        self.budget = Budget(self.bounds)
        self._pins = cpu is not None and hasattr(os, "sched_setaffinity")
        if cpu is not None and self._pins:
            nursery.pin(cpu)

    def create(self, settings: frames.HostSettings) -> ProcessMachine:
        return ProcessMachine(self, settings)

    def close(self) -> None:
        if self._pins:
            self._pins = False
            self.nursery.unpin()


class ProcessMachine:
    """One host in a child process."""

    def __init__(self, machines: ProcessMachines, settings: frames.HostSettings) -> None:
        self._title = host_title(settings.name)
        self._nursery = nursery = machines.nursery
        self._files = machines.files
        self._bounds = bounds = machines.bounds
        self._budget = machines.budget
        self._claims = Claims(bounds, settings.output_limit)
        ours, theirs = socket.socketpair()
        self._errors: IO[bytes] = tempfile.TemporaryFile(prefix="raftlab-child-")  # noqa: SIM115  # closed in end()
        try:
            files = [theirs.fileno(), self._errors.fileno()]
            self.pid = nursery.fork("virtual", settings, machines.bundle, files)
        except BaseException:
            ours.close()
            self._errors.close()
            raise
        finally:
            theirs.close()
        # A time limit in the kernel costs a step nothing.
        seconds = int(bounds.step_wall_s)
        limit = struct.pack("ll", seconds, int((bounds.step_wall_s - seconds) * 1e6))
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self._connection = ours
        self._ended = False
        self.interrupted = False
        if nursery.sandboxed:
            self._wait_until_confined()

    def _wait_until_confined(self) -> None:
        try:
            if receive(self._connection, len(READY)) == READY:
                return
        except (OSError, ValueError):
            pass
        self._nursery.end(self.pid, answer=True)
        self._ended = True
        self._connection.close()
        written = self._written()
        reason = written.splitlines()[-1] if written else "its process is gone"
        raise HarnessError(f"{self._title} could not be put into its sandbox: {reason}")

    def step(self, now: int, limit: int, inbox: list[frames.InboxItem]) -> Step:
        self._claims.hear(inbox)
        data = self._ask(_encode(StepFrame(now, limit, inbox)))
        try:
            effects, clock, wake = _decode_step(data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            self._fail_garbage(str(error))
        try:
            self._claims.check(now, limit, effects, clock, wake)
        except BrokenClaim as claim:
            self._nursery.end(self.pid, answer=True)
            self._fail(f"it {claim}")
        return Step(effects, clock, wake)

    def collect(self) -> None:
        if self._ask(b""):
            self._fail_garbage("an answer to no question")

    def _ask(self, question: bytes) -> bytes:
        began = time.monotonic()
        try:
            send(self._connection, question)
            data = receive(self._connection, self._bounds.frame_bytes, within_s=self._bounds.step_wall_s)
        except BlockingIOError:
            self._fail_hung()
        except ValueError as error:
            self._fail_garbage(str(error))
        except OSError:
            data = None
        if data is None:
            self._fail_dead()
        excess = self._budget.spend(self._title, len(data), time.monotonic() - began)
        if excess is not None:
            raise excess
        return data

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
        deed = deeds.deed_in(self._written()) if status == deeds.EXIT_STATUS else ""
        if deed:
            self._fail(f"its process {deed}")
        self._fail(f"its process died ({describe_status(status)})", is_of_the_machine=True)

    def _fail_hung(self) -> NoReturn:
        self._nursery.signal(self.pid, signal.SIGUSR1)  # faulthandler writes its stack, even from inside C code
        time.sleep(0.2)
        self._nursery.end(self.pid, answer=True)
        self._fail(
            f"its process did not come back from a step within {self._bounds.step_wall_s:g} s of wall time: "
            "it is inside a call that never ends",
            is_of_the_machine=True,
        )

    def _fail_garbage(self, why: str) -> NoReturn:
        self._nursery.end(self.pid, answer=True)
        self._fail(f"its process wrote a frame that is no frame: {why}")

    def _fail(self, text: str, *, is_of_the_machine: bool = False) -> NoReturn:
        self._ended = True
        self._connection.close()
        written = self._written()
        self._errors.close()
        site = innermost_site(written, self._files)
        text = f"{self._title}: {text}{f' at {site}' if site else ''}"
        raise CodeFault(text, written, is_of_the_machine=is_of_the_machine)

    def _written(self) -> str:
        """The end of what is on its standard error."""
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - (1 << 20)))
        return harmless(self._errors.read().decode("utf-8", "replace").strip(), 1 << 20, keeps="\t\n")
