"""Hosts in child processes: `--servers processes`. A step is one frame there and one back over a socket pair.

The run is the same as with hosts in this process, event for event. A child that dies, hangs or writes garbage fails
the test by name, and none outlives its run. Coordinator and children share one CPU: only one of them works at a time,
and a switch between CPUs costs more than the step.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any, NoReturn

import msgspec

import labrpc
from labrpc.errors import CodeFault, HarnessError
from labrpc.virtual import frames
from labrpc.virtual.coordinator import host_title
from labrpc.virtual.loader import CodeBundle
from labrpc.virtual.nursery import KILL_SIGNAL_NAMES, receive, send

__all__ = ["Nursery", "ProcessMachine", "ProcessMachines"]

STEP_WALL_LIMIT_S = 30.0
"""Wall time one step may take: a step is at most a millisecond of virtual CPU, so only a hang takes this long."""

_START = "import sys; sys.path.insert(0, {root!r}); from labrpc.virtual.nursery import main; main({descriptor})"

_encode = msgspec.msgpack.Encoder().encode
_decode_step: Any = msgspec.msgpack.Decoder(tuple[list[frames.Effect], int, int | None]).decode


class Nursery:
    """The process that children are forked from; see `labrpc.virtual.nursery`."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        root = str(Path(labrpc.__file__).parent.parent)
        code = _START.format(root=root, descriptor=theirs.fileno())
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        self._connection = ours
        self._known: set[str] = set()
        self._pinned = 0
        self._affinity: set[int] = set()
        self.pid = self._process.pid
        atexit.register(self.close)

    def fork(self, settings: frames.HostSettings, digest: str, bundle: bytes, files: list[int]) -> int:
        """A new child that runs a host; `files` are its socket and its standard error. Returns its pid."""
        try:
            if digest not in self._known:
                self._known.add(digest)
                send(self._connection, _encode({"kind": "bundle", "digest": digest, "data": bundle}))
            message = {"kind": "fork", "digest": digest, "settings": _encode(settings), "files": len(files)}
            send(self._connection, _encode(message), files)
            answer = receive(self._connection)
        except OSError as error:
            raise HarnessError(f"the process that forks the servers is gone: {error}") from None
        if answer is None:
            raise HarnessError("the process that forks the servers died; see its standard error above")
        return int(msgspec.msgpack.decode(answer))

    def end(self, pid: int, *, kill: bool = True, answer: bool = False) -> int:
        """Ends child `pid`; with `answer`, its exit status (negative: the signal that killed it)."""
        try:
            send(self._connection, _encode({"kind": "end", "pid": pid, "kill": kill, "answer": answer}))
            received = receive(self._connection) if answer else None
        except OSError:
            return 0
        return int(msgspec.msgpack.decode(received)) if received is not None else 0

    def pin(self, cpu: int) -> None:
        """Has this process and the children to come run on `cpu` only, until as many calls of `unpin`."""
        self._pinned += 1
        if self._pinned == 1:
            self._affinity = os.sched_getaffinity(0)
            os.sched_setaffinity(0, {cpu})
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(self.pid, {cpu})

    def unpin(self) -> None:
        self._pinned -= 1
        if not self._pinned:
            os.sched_setaffinity(0, self._affinity)

    def close(self) -> None:
        """Ends it and all its children."""
        atexit.unregister(self.close)
        self._connection.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


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
        self.pid = nursery.fork(settings, digest, bundle, [theirs.fileno(), self._errors.fileno()])
        theirs.close()
        # A time limit in the kernel costs a step nothing.
        seconds = int(wall_limit_s)
        limit = struct.pack("ll", seconds, int((wall_limit_s - seconds) * 1e6))
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self._connection = ours
        self._ended = False
        self.interrupted = False

    def step(self, now: int, limit: int, inbox: list[frames.InboxItem]) -> frames.Step:
        data = self._ask(_encode(frames.StepFrame(now, limit, inbox)))
        try:
            effects, clock, wake = _decode_step(data)
        except msgspec.MsgspecError as error:
            self._fail_garbage(str(error))
        if not self._plausible(now, limit, effects, clock, wake):
            self._fail_garbage("instants that are out of order or out of the step")
        return frames.Step(effects, clock, wake)

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
        status = self._nursery.end(self.pid, kill=False, answer=True)
        how = (
            f"killed by {KILL_SIGNAL_NAMES.get(-status, f'signal {-status}')}"
            if status < 0
            else f"exit status {status}"
        )
        self._fail(f"its process died ({how})")

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
        site = self._innermost_site(written)
        raise CodeFault(f"{self._title}: {text}{f' at {site}' if site else ''}", written)

    def _innermost_site(self, dump: str) -> str:
        """The innermost line of the code under test in what faulthandler or a traceback wrote."""
        sites = []
        for line in dump.splitlines():
            text = line.strip()
            if text.startswith('File "') and '", line ' in text:
                path, _, rest = text[6:].partition('", line ')
                number = rest.partition(" ")[0].rstrip(",")
                if path in self._files:
                    sites.append(f"{self._files[path]}:{number}")
        if not sites:
            return ""
        return sites[0] if "most recent call first" in dump else sites[-1]
