"""What runs in a child process of the real world: one host, on threads and time of its own, and a real disk.

    socket --inbox items--> this thread --post--> RealHost --emit--> socket

Every effect is in the socket before the thread that had it goes on, so that a kill at any instant leaves the judge with
all that the disk was given before. When the judge's end of the socket closes, the process ends at once.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
import threading

import msgspec

from labrpc import frames
from labrpc.context import HostEnded
from labrpc.errors import HarnessError, UsageError
from labrpc.framing import Splitter, frame
from labrpc.persister import MemoryPersister, Persister
from labrpc.real.disk import MirroredDisk, advice
from labrpc.real.host import RealHost
from labrpc.virtual.loader import CodeBundle

__all__ = ["serve"]

_encode = msgspec.msgpack.Encoder().encode
_decode_item = msgspec.msgpack.Decoder(frames.InboxItem).decode


def serve(
    connection: socket.socket,
    settings: frames.HostSettings,
    bundle: CodeBundle,
    folder: str | None,
    switch_interval: float | None,
) -> None:
    """Serves `connection` until it closes.

    Args:
        folder: the host's disk, None if it has none.
        switch_interval: see `RealProcessMachines`.
    """
    gc.enable()
    if switch_interval is not None:
        sys.setswitchinterval(switch_interval)
    sending = threading.Lock()

    def emit(effect: frames.Effect) -> None:
        data = frame(_encode(effect))
        with sending:
            try:
                connection.sendall(data)
            except OSError:  # the judge is gone
                os._exit(0)

    def make_persister(host: RealHost) -> Persister:
        return MemoryPersister() if folder is None else _open_disk(folder, host)

    host = RealHost(settings, bundle, make_persister, emit)
    splitter = Splitter()
    while data := connection.recv(1 << 16):
        for message in splitter.feed(data):
            host.post(_decode_item(message))


def _open_disk(folder: str, host: RealHost) -> MirroredDisk:
    try:
        disk = MirroredDisk(folder, host)
        if (disk.read_raft_state(), disk.read_snapshot()) != host.found:
            raise HarnessError(f"{folder} holds something else than the test found there when the server was down")
        return disk
    except OSError as error:
        host.report("disk", f"its disk cannot be opened: {advice(error)}")
    except (UsageError, HarnessError) as error:
        host.report("disk", f"its disk cannot be opened: {error}")
    raise HostEnded
