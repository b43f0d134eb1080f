"""The warmed parent of child processes: it imports the lab once, and forks one child for each incarnation.

    coordinator --control socket--> nursery --fork--> child (one host)
         \\------------ a socket pair for each child ------/

It never imports the code under test; a child does, after the fork. It runs in a session of its own, so Ctrl-C does
not reach it, and when the coordinator's end of the control socket closes, however that came about, it kills all
children and exits. Messages both ways are a 4-byte length and MessagePack.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import signal
import socket
import sys
from typing import Any

import msgspec

from labrpc.virtual import recursion
from labrpc.virtual.frames import HostSettings, Step, StepFrame
from labrpc.virtual.host import Host
from labrpc.virtual.loader import CodeBundle, warm

__all__ = ["KILL_SIGNAL_NAMES", "main", "receive", "send"]

_HEADER = 4

KILL_SIGNAL_NAMES = {number: signal.Signals(number).name for number in (4, 6, 7, 8, 9, 11, 15)}

_encode = msgspec.msgpack.Encoder().encode
_decode_frame = msgspec.msgpack.Decoder(StepFrame).decode


def send(connection: socket.socket, data: bytes, files: list[int] | None = None) -> None:
    """Sends one message, with open files attached to its first bytes."""
    message = len(data).to_bytes(_HEADER, "big") + data
    if files:
        sent = socket.send_fds(connection, [message], files)
        message = message[sent:]
        if not message:
            return
    connection.sendall(message)


def receive(connection: socket.socket, most: int = 1 << 28) -> bytes | None:
    """One message, or None at the connection's end.

    Raises:
        ValueError: it claims more than `most` bytes.
        BlockingIOError: nothing came within the socket's own time limit.
    """
    head = connection.recv(65536)
    while 0 < len(head) < _HEADER:
        more = connection.recv(65536)
        if not more:
            return None
        head += more
    if not head:
        return None
    size = int.from_bytes(head[:_HEADER], "big")
    if size > most:
        raise ValueError(f"a frame of {size} bytes, more than {most}")
    parts = [head[_HEADER:]]
    missing = size - len(parts[0])
    while missing > 0:
        part = connection.recv(min(missing, 1 << 20))
        if not part:
            return None
        parts.append(part)
        missing -= len(part)
    return b"".join(parts) if len(parts) > 1 else parts[0]


class _Control:
    """The nursery's end of the control socket: messages may carry open files."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._data = b""
        self._files: list[int] = []

    def next(self) -> tuple[Any, list[int]] | None:
        while True:
            if len(self._data) >= _HEADER:
                size = int.from_bytes(self._data[:_HEADER], "big")
                if len(self._data) >= _HEADER + size:
                    body = self._data[_HEADER : _HEADER + size]
                    self._data = self._data[_HEADER + size :]
                    message = msgspec.msgpack.decode(body)
                    count = message.get("files", 0)
                    files, self._files = self._files[:count], self._files[count:]
                    return message, files
            data, files, _, _ = socket.recv_fds(self.connection, 1 << 20, 16)
            if not data:
                return None
            self._data += data
            self._files += files


def main(descriptor: int) -> None:
    """Serves the control socket `descriptor` until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = _Control(socket.socket(fileno=descriptor))
    bundles: dict[str, CodeBundle] = {}
    children: set[int] = set()
    warm()
    gc.disable()
    gc.freeze()
    try:
        while (received := control.next()) is not None:
            message, files = received
            kind = message["kind"]
            if kind == "bundle":
                bundles[message["digest"]] = CodeBundle.from_bytes(message["data"])
            elif kind == "fork":
                pid = os.fork()
                if pid == 0:
                    _become_child(control.connection, files, message["settings"], bundles[message["digest"]])
                children.add(pid)
                for descriptor in files:
                    os.close(descriptor)
                send(control.connection, _encode(pid))
            elif kind == "end":
                pid = message["pid"]
                status = _reap(pid, kill=message["kill"])
                children.discard(pid)
                if message["answer"]:
                    send(control.connection, _encode(status))
    finally:
        for pid in children:
            _reap(pid, kill=True)
        os._exit(0)


def _reap(pid: int, *, kill: bool) -> int:
    """The exit status of child `pid` as from `os.waitstatus_to_exitcode`; 0 if it is unknown."""
    if kill:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return 0


def _become_child(control: socket.socket, files: list[int], settings: bytes, bundle: CodeBundle) -> None:
    """Runs one host until its socket closes. Never returns: nothing of the nursery may run in the child."""
    status = 1
    try:
        control.close()
        connection = socket.socket(fileno=files[0])
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        os.dup2(files[1], 2)
        faulthandler.enable(2)
        faulthandler.register(signal.SIGUSR1, 2)
        _serve(connection, Host(msgspec.msgpack.decode(settings, type=HostSettings), bundle))
        status = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _serve(connection: socket.socket, host: Host) -> None:
    recursion.allow(0)
    while (data := receive(connection)) is not None:
        if not data:  # the coordinator says when, so that a run is the same with all hosts in one process
            gc.collect()
            send(connection, b"")
            continue
        frame = _decode_frame(data)
        step: Step = host.step(frame.now, frame.limit, frame.inbox)
        send(connection, _encode(step))
