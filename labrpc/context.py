"""Which host's code is running now.

Exactly one host runs at a time in a process of the virtual world, so one module variable is enough. It is `None`
outside every host: in pytest, in the coordinator, and in ordinary programs that import `raft` or `kvraft`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from labrpc.codec import Registry

__all__ = ["Environment", "current", "require"]


class Environment(Protocol):
    """What the public functions of `labrpc` need from the host they are called on."""

    registry: Registry

    def annotate(self, tag: str, text: str) -> int: ...

    def prolong_annotation(self, number: int) -> None: ...

    def end_annotation(self, number: int) -> None: ...

    def misuse(self, text: str) -> None: ...


current: Environment | None = None


def require(what: str) -> Environment:
    """The host that runs now.

    Raises:
        RuntimeError: outside every host; `what` names the function that needed one.
    """
    if current is None:
        raise RuntimeError(f"{what} works only in server code that runs on a host")
    return current
