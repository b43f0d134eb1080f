"""What runs in a child process of the virtual world: one host, which takes a step for each frame that comes."""

from __future__ import annotations

import gc
import socket

import msgspec

from labrpc.frames import HostSettings
from labrpc.framing import receive, send
from labrpc.virtual import recursion
from labrpc.virtual.host import Host
from labrpc.virtual.loader import CodeBundle
from labrpc.virtual.steps import Step, StepFrame

__all__ = ["serve"]

_encode = msgspec.msgpack.Encoder().encode
_decode_frame = msgspec.msgpack.Decoder(StepFrame).decode


def serve(connection: socket.socket, settings: HostSettings, bundle: CodeBundle) -> None:
    """Serves `connection` until it closes."""
    host = Host(settings, bundle)
    recursion.allow(0)
    while (data := receive(connection)) is not None:
        if not data:  # the coordinator says when, so that a run is the same with all hosts in one process
            gc.collect()
            send(connection, b"")
            continue
        step = _decode_frame(data)
        done: Step = host.step(step.now, step.limit, step.inbox)
        send(connection, _encode(done))
