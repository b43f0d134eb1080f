"""What this process and those below it use of the machine, as Linux tells it; elsewhere nothing is known."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

__all__ = ["below", "cpu_seconds", "memory_of_self", "stacks_of", "take_cpu"]

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_MOST_STACK = 1 << 16


def below(pid: int) -> list[int]:
    """The processes below `pid`."""
    found = _children(pid)
    for each in found:  # grows as it goes
        found += _children(each)
    return found


def _children(pid: int) -> list[int]:
    children: list[int] = []
    with contextlib.suppress(OSError):
        for task in (_PROC / str(pid) / "task").iterdir():
            with contextlib.suppress(OSError):
                children += map(int, (task / "children").read_text().split())
    return children


def cpu_seconds(pid: int) -> float:
    """CPU time that `pid` and its children that have ended have used; 0 of one that is gone."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS


def memory_of_self() -> int:
    """Bytes of memory that this process has now; where that is not told, the most it ever had."""
    try:
        return int((_PROC / "self" / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def stacks_of(pids: Iterable[int]) -> list[str]:
    """Where these processes are at this moment; left out are those without a handler, faulthandler's, for SIGUSR1."""
    with contextlib.ExitStack() as stack:
        asked: list[BinaryIO] = []
        for pid in pids:
            with contextlib.suppress(OSError):
                if not _catches(pid, signal.SIGUSR1):
                    continue
                errors = stack.enter_context(open(_PROC / str(pid) / "fd" / "2", "rb"))
                errors.seek(0, os.SEEK_END)
                os.kill(pid, signal.SIGUSR1)
                asked.append(errors)
        time.sleep(0.2)
        return [errors.read(_MOST_STACK).decode("utf-8", "replace") for errors in asked]


def _catches(pid: int, number: int) -> bool:
    """Whether `pid` has a handler for a signal: else it would end of it."""
    for line in (_PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def take_cpu() -> tuple[int, socket.socket] | None:
    """A CPU's place among those this process may use that no other worker on this machine has taken, and what holds it
    until it is closed; None if all are taken, or CPUs cannot be chosen here."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    for place, cpu in enumerate(sorted(os.sched_getaffinity(0))):
        held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            held.bind(f"\0raftlab-cpu-{os.getuid()}-{cpu}")
        except OSError:
            held.close()
        else:
            return place, held
    return None
