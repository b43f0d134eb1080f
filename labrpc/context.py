"""Which host's code is running now, and what ends it.

In the virtual world exactly one host runs at a time in a process: `current` is that one. Where the clock is real each
host has threads of its own, which say whose they are (`enter`); what such a thread is wins over `current`, for the
judge steps virtual hosts while real ones run. Both are None outside every host: in pytest, in the coordinator, and in
ordinary programs that import `raft` or `kvraft`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from labrpc.codec import Registry

__all__ = ["Environment", "HostEnded", "current", "enter", "here", "require"]


class HostEnded(BaseException):
    """The host crashed or was stopped: nothing on it may go on."""


class Environment(Protocol):
    """What the public functions of `labrpc` need from the host they are called on."""

    registry: Registry

    def annotate(self, tag: str, text: str) -> int: ...

    def prolong_annotation(self, number: int) -> None: ...

    def end_annotation(self, number: int) -> None: ...

    def misuse(self, text: str) -> None: ...


class _Thread(threading.local):
    host: Environment | None = None


_thread = _Thread()

current: Environment | None = None
"""The virtual host that is being stepped."""


def enter(host: Environment) -> None:
    """The calling thread is one of `host`'s from now on."""
    _thread.host = host


def here() -> Environment | None:
    """The host that runs now, if any."""
    return _thread.host or current


def require(what: str) -> Environment:
    """The host that runs now.

    Raises:
        RuntimeError: outside every host; `what` names the function that needed one.
    """
    host = _thread.host or current
    if host is None:
        raise RuntimeError(f"{what} works only in server code that runs on a host")
    return host
