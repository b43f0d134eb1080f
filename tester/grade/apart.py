"""A function in a process of its own, with limits: for reading what nobody has looked at yet.

A reader of archives has mistakes of its own: one that goes round without end, or takes all memory, costs its archive
only.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import msgspec

from labrpc.errors import HarnessError

__all__ = ["Overrun", "apart"]

_MOST_RESULT = 1 << 30


class Overrun(Exception):
    """The function did not come to its end: it took too long, or too much memory."""


def apart(function: Callable[[], Any], *, wall_s: float = 120.0, cpu_s: int = 60, memory: int = 2 << 30) -> Any:
    """What `function` gives, in a fork of this process; it must be plain data, and nothing else of it stays.

    Args:
        memory: bytes of address space that it may have.

    Raises:
        Overrun: it took more than it may, or was killed.
        HarnessError: it raised an exception, which the text names.
    """
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of other threads: the child needs none of them
        pid = os.fork()
    if pid == 0:
        _do(function, reader, writer, cpu_s, memory)
    os.close(writer)
    try:
        data = _all_of(reader, time.monotonic() + wall_s)
    finally:
        os.close(reader)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    if not data:
        raise Overrun("it takes more time or memory than a submission may")
    kind, result = msgspec.msgpack.decode(data)
    if kind == "error":
        raise HarnessError(f"a submission could not be read:\n{result}")
    return result


def _do(function: Callable[[], Any], reader: int, writer: int, cpu_s: int, memory: int) -> None:
    """In the child; never returns."""
    try:
        os.close(reader)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        _limit(resource.RLIMIT_CPU, cpu_s)
        _limit(resource.RLIMIT_AS, memory)
        _limit(resource.RLIMIT_FSIZE, _MOST_RESULT)
        _limit(resource.RLIMIT_CORE, 0)
        try:
            said = ("result", function())
        except MemoryError:
            os._exit(1)
        except Exception:
            said = ("error", traceback.format_exc())
        data = msgspec.msgpack.encode(said)
        with open(writer, "wb") as file:
            file.write(data)
    finally:
        os._exit(0)


def _limit(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(which, (value, value))


def _all_of(reader: int, deadline: float) -> bytes:
    """All that comes; nothing if the end does not come in time."""
    parts: list[bytes] = []
    size = 0
    while True:
        ready, _, _ = select.select([reader], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return b""
        part = os.read(reader, 1 << 20)
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
        if size > _MOST_RESULT:
            return b""
