"""What tests of servers in processes of their own wait for, and what they do to disks."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["damage", "is_running", "wait_until"]


def is_running(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: Callable[[], bool], patience: float = 20.0) -> None:
    """Waits for `condition`, at most `patience` seconds, and demands it."""
    deadline = time.monotonic() + patience
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def damage(folder: Path) -> None:
    """Flips a bit of what is durable on the disk in `folder`."""
    log = folder / "log"
    data = bytearray(log.read_bytes())
    data[60] ^= 1
    log.write_bytes(data)
