"""The warmed parent of child processes: it imports the lab once, and forks one child for each incarnation.

    judge --control socket--> nursery --fork--> child (one host, virtual or real)
      \\------------ a socket pair for each child ------/

It never imports the code under test, nor is it told of it: code, settings and random keys of a host are in a file that
only its child reads, so that no child finds another's in memory. It runs in a session of its own, so Ctrl-C does
not reach it, and when the judge's end of the control socket closes, however that came about, it kills all children,
removes the folders that it was told of, and exits. `Nursery` is the judge's handle on it.

In a sandbox (see `labrpc.sandbox`) it has a view of this machine in which there is nothing to be found, process
numbers of its own, and children that give up what they have left before they read their file.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import faulthandler
import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import msgspec

import labrpc
from labrpc.errors import HarnessError, UsageError
from labrpc.frames import HostSettings
from labrpc.framing import Splitter, frame, receive, send
from labrpc.sandbox import deeds, view
from labrpc.sandbox.confinement import PROTECTIONS, Confinement
from labrpc.virtual.loader import CodeBundle, warm

__all__ = ["READY", "Nursery", "describe_status", "innermost_site", "main"]

_START = "import sys; sys.path.insert(0, {root!r}); from labrpc.nursery import main; main({descriptor})"
_START_SANDBOXED = (
    "import sys; sys.path.append({root!r}); from labrpc.nursery import main; main({descriptor}, view={view!r})"
)

READY = b"ready"
"""What a child in a sandbox says first, when it is confined and has run nothing of the code under test."""

_SIGNAL_NAMES = {each.value: each.name for each in signal.Signals}

_PR_SET_PDEATHSIG = 1

_encode = msgspec.msgpack.Encoder().encode


class Nursery:
    """The process that children are forked from. Any thread may use it.

    Args:
        sandboxed: whether it and its children are confined, as far as this machine allows; see `missing`.
    """

    def __init__(self, *, sandboxed: bool = False) -> None:
        self.sandboxed = sandboxed
        self.missing: dict[str, str] = {}
        """Of one that is sandboxed: those of `PROTECTIONS` that this machine does not allow, each with the reason."""
        self._mu = threading.Lock()
        self._pinned = 0
        self._affinity: set[int] = set()
        if not sandboxed:
            root = str(Path(labrpc.__file__).parent.parent)
            self._start(lambda descriptor: [sys.executable, "-c", _START.format(root=root, descriptor=descriptor)])
        else:
            self._start_sandboxed()
        self.pid = self._process.pid
        """Of the process that is to be killed so that this one and all its children are no more."""
        atexit.register(self.close)

    def _start(
        self, command: Callable[[int], list[str]], environment: dict[str, str] | None = None, errors: Any = None
    ) -> None:
        ours, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            command(theirs.fileno()),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=environment,
            start_new_session=True,
        )
        theirs.close()
        self._connection = ours

    def _start_sandboxed(self) -> None:
        """With bubblewrap, or, where that is not to be had, without."""
        reason = view.unavailable()
        if not reason:

            def confined(descriptor: int) -> list[str]:
                return view.command(_START_SANDBOXED.format(root=view.LAB, descriptor=descriptor, view=""))

            with tempfile.TemporaryFile() as errors:
                self._start(confined, errors=errors)
                if self._is_told_what_is_missing():
                    return
                self._connection.close()
                self._process.wait()
                errors.seek(0)
                lines = errors.read().decode("utf-8", "replace").strip().splitlines()
                reason = f"bubblewrap does not work here: {lines[-1] if lines else 'it says nothing'}"
        root = str(Path(labrpc.__file__).parent.parent)

        def open_to_view(descriptor: int) -> list[str]:
            code = _START_SANDBOXED.format(root=root, descriptor=descriptor, view=reason)
            return [sys.executable, "-c", code]

        self._start(open_to_view, view.environment())
        if not self._is_told_what_is_missing():
            raise HarnessError("the process that forks the servers does not start; see its standard error above")

    def _is_told_what_is_missing(self) -> bool:
        try:
            data = receive(self._connection)
        except OSError:
            return False
        if data is None:
            return False
        missing = msgspec.msgpack.decode(data, type=dict[str, str])
        self.missing = {name: missing[name] for name in PROTECTIONS if missing.get(name)}
        return True

    def fork(
        self,
        role: str,
        settings: HostSettings,
        bundle: bytes,
        files: list[int],
        arguments: tuple[Any, ...] = (),
    ) -> int:
        """A new child that runs a host of `role`; `files` are its socket and its standard error. Returns its pid.

        The pid is the nursery's name for it, and in a sandbox nobody else's.
        """
        with _memory_file() as brief:
            brief.write(_encode((settings, bundle, arguments)))
            brief.flush()
            try:
                question = {"kind": "fork", "role": role, "files": 3}
                pid = self._ask(question, answer=True, files=[*files, brief.fileno()])
            except OSError as error:
                raise HarnessError(f"the process that forks the servers is gone: {error}") from None
        if isinstance(pid, str):
            raise UsageError(f"no process can be made for {settings.name}: {pid}; raise the limit (ulimit -u, memory)")
        return int(pid)

    def end(self, pid: int, *, patience_s: float = 0.0, answer: bool = False) -> int | None:
        """Ends child `pid`; with `answer`, its exit status (negative: the signal that killed it).

        Args:
            patience_s: how long it may take to end by itself; None is returned if it did not.
        """
        try:
            question = {"kind": "end", "pid": pid, "patience": patience_s, "answer": answer}
            status: int | None = self._ask(question, answer=answer)
            return status
        except OSError:
            if not self.sandboxed:  # else the number is another's here, and it ends with the nursery
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return None

    def signal(self, pid: int, number: int) -> None:
        """Sends signal `number` to child `pid`, if it is still there."""
        with contextlib.suppress(OSError):
            self._ask({"kind": "signal", "pid": pid, "number": number}, answer=False)

    def stop(self, pid: int) -> None:
        """Has child `pid` stand still, by SIGSTOP, once this returns; it does until it is sent SIGCONT."""
        with contextlib.suppress(OSError):
            self._ask({"kind": "stop", "pid": pid}, answer=True)

    def remove_at_end(self, folder: str) -> None:
        """Has `folder` removed when this process is no more, whatever became of it."""
        try:
            self._ask({"kind": "folder", "path": folder}, answer=True)
        except OSError as error:
            raise HarnessError(f"the process that forks the servers is gone: {error}") from None

    @property
    def is_gone(self) -> bool:
        """Whether it has died: no child can be made or lives any more."""
        return self._connection.fileno() < 0 or self._process.poll() is not None

    def _ask(self, question: dict[str, Any], *, answer: bool, files: list[int] | None = None) -> Any:
        """Sends `question`; what is answered.

        Raises:
            OSError: it is gone; its standard error says why.
        """
        with self._mu:
            try:
                send(self._connection, _encode(question), files)
                received = receive(self._connection) if answer else b""
            except BaseException:  # of Ctrl-C, too: the next question would get this one's answer
                self._connection.close()
                raise
        if received is None:
            raise ConnectionResetError("it closed its connection; see its standard error above")
        return msgspec.msgpack.decode(received) if answer else None

    def pin(self, cpu: int) -> None:
        """Has this process and the children to come run on `cpu` only, until as many calls of `unpin`."""
        self._pinned += 1
        if self._pinned == 1:
            self._affinity = os.sched_getaffinity(0)
            self._set_affinity({cpu})

    def unpin(self) -> None:
        self._pinned -= 1
        if not self._pinned:
            self._set_affinity(self._affinity)

    def _set_affinity(self, cpus: set[int]) -> None:
        os.sched_setaffinity(0, cpus)
        with contextlib.suppress(OSError):
            self._ask({"kind": "affinity", "cpus": sorted(cpus)}, answer=False)

    def close(self) -> None:
        """Ends it and all its children."""
        atexit.unregister(self.close)
        self._connection.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _memory_file() -> IO[bytes]:
    """An empty file without a name."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("brief"), "w+b")
    return tempfile.TemporaryFile()


def describe_status(status: int) -> str:
    """An exit status as from `os.waitstatus_to_exitcode`, for people."""
    if status < 0:
        return f"killed by {_SIGNAL_NAMES.get(-status, f'signal {-status}')}"
    return f"exit status {status}"


def innermost_site(written: str, files: dict[str, str]) -> str:
    """The innermost line of `files` (short paths by full ones) in what faulthandler or a traceback wrote."""
    sites = []
    for line in written.splitlines():
        text = line.strip()
        if text.startswith('File "') and '", line ' in text:
            path, _, rest = text[6:].partition('", line ')
            number = rest.partition(" ")[0].rstrip(",")
            if path in files:
                sites.append(f"{files[path]}:{number}")
    if not sites:
        return ""
    return sites[0] if "most recent call first" in written else sites[-1]


# ------------------------------------------------------------------ the nursery's own process


class _Control:
    """The nursery's end of the control socket: messages may carry open files."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._splitter = Splitter()
        self._messages: list[bytes] = []
        self._files: list[int] = []

    def next(self) -> tuple[Any, list[int]] | None:
        while not self._messages:
            data, files, _, _ = socket.recv_fds(self.connection, 1 << 20, 16)
            if not data:
                return None
            self._messages += self._splitter.feed(data)
            self._files += files
        message = msgspec.msgpack.decode(self._messages.pop(0))
        count = message.get("files", 0)
        files, self._files = self._files[:count], self._files[count:]
        return message, files

    def answer(self, value: Any) -> None:
        self.connection.sendall(frame(_encode(value)))


class _Children:
    """The children that are there, and the ends of those that ended while something else was waited for."""

    def __init__(self) -> None:
        self._running: set[int] = set()
        self._ended: dict[int, int] = {}

    def add(self, pid: int) -> None:
        self._running.add(pid)

    def signal(self, pid: int, number: int) -> None:
        if pid in self._running:
            os.kill(pid, number)

    def stop(self, pid: int) -> None:
        if pid in self._running:
            os.kill(pid, signal.SIGSTOP)
            _, status = os.waitpid(pid, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                self._running.discard(pid)
                self._ended[pid] = os.waitstatus_to_exitcode(status)

    def end(self, pid: int, patience_s: float) -> int | None:
        """Its exit status; None if it did not end by itself within `patience_s`, though it might have."""
        if pid not in self._running:
            return self._ended.pop(pid, 0)
        self._running.discard(pid)
        deadline = time.monotonic() + patience_s
        while patience_s:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > deadline:
                break
            time.sleep(0.005)
        os.kill(pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return None if patience_s else status

    def end_all(self) -> None:
        for pid in tuple(self._running):
            self.end(pid, 0.0)


def main(descriptor: int, *, view: str | None = None) -> None:
    """Serves the control socket `descriptor` until it closes.

    Args:
        view: of one in a sandbox, why it sees more than it should; "" if it does not. None: it is in no sandbox.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = _Control(socket.socket(fileno=descriptor))
    confinement = None if view is None else Confinement(view)
    children = _Children()
    folders: list[str] = []
    roles = _import_roles()
    warm()
    gc.disable()
    gc.freeze()
    if confinement is not None:
        control.answer(confinement.missing)
    try:
        while (received := control.next()) is not None:
            message, files = received
            kind = message["kind"]
            if kind == "fork":
                try:
                    pid = os.fork() if confinement is None else confinement.fork()
                except OSError as error:
                    control.answer(str(error))
                else:
                    if pid == 0:
                        _become_child(control, files, roles[message["role"]], confinement)
                    children.add(pid)
                    control.answer(pid)
                for file in files:
                    os.close(file)
            elif kind == "signal":
                children.signal(message["pid"], message["number"])
            elif kind == "affinity":
                os.sched_setaffinity(0, message["cpus"])
            elif kind == "stop":
                children.stop(message["pid"])
                control.answer(None)
            elif kind == "end":
                status = children.end(message["pid"], message["patience"])
                if message["answer"]:
                    control.answer(status)
            elif kind == "folder":
                folders.append(message["path"])
                control.answer(None)
    finally:
        children.end_all()
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)


def _import_roles() -> dict[str, Callable[..., None]]:
    """What a child may be, each as `serve(connection, settings, bundle, *arguments)`.

    The programs around the code under test find `labrpc.program` imported: a child may see no files to import it from.
    """
    import labrpc.program  # noqa: F401
    from labrpc.real import child as real
    from labrpc.virtual import child as virtual

    return {"virtual": virtual.serve, "real": real.serve}


def _become_child(
    control: _Control, files: list[int], serve: Callable[..., None], confinement: Confinement | None
) -> None:
    """Runs one host until its socket closes. Never returns: nothing of the nursery may run in the child."""
    status = 1
    try:
        _die_with_parent()
        control.connection.close()
        connection = socket.socket(fileno=files[0])
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        os.dup2(files[1], 2)
        faulthandler.enable(2)
        faulthandler.register(signal.SIGUSR1, 2)
        brief = _read_all(files[2])
        for file in files[1:]:
            os.close(file)
        if confinement is not None:
            confinement.enter(keep=files[0])
            send(connection, READY)
        settings, bundle, arguments = msgspec.msgpack.decode(brief, type=tuple[HostSettings, bytes, list[Any]])
        code = CodeBundle.from_bytes(bundle)
        if confinement is not None:
            code.show_sources()
            deeds.watch()
        serve(connection, settings, code, *arguments)
        status = 0
    except MemoryError:
        if confinement is not None:
            deeds.end("memory")
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _read_all(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        file.seek(0)
        return file.read()


def _die_with_parent() -> None:
    """Has this child killed when the nursery dies, even if it is stopped then. Where there is no such thing, a child
    ends when its socket closes."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
