"""What the threads of a host do at this moment: for deadlocks, hung controls and threads that would not end.

Read from their frames, without any lock of the code under test, in the form of `labrpc.virtual.diagnosis`.
"""

from __future__ import annotations

import linecache
import os
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labrpc.real.host import RealHost

__all__ = ["describe_threads", "innermost_site"]


def describe_threads(host: RealHost) -> str:
    """Every thread of the host that does something: its stack (the code under test's part) and what it waits for."""
    blocks: dict[str, int] = {}
    for name, innermost in host.roster.frames():
        stack = _stack(innermost)
        lines = [
            f"    {_site(host, frame)} in {frame.f_code.co_name}: "
            f"{linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()}"
            for frame in stack
            if host.is_server_file(frame.f_code.co_filename)
        ]
        block = "\n".join([f"  {name} {_state(host, stack)}", *lines])
        blocks[block] = blocks.get(block, 0) + 1
    shown = [block if times == 1 else f"{block}\n    … and {times - 1} more like it" for block, times in blocks.items()]
    return "\n".join(shown) or "  no threads"


def innermost_site(host: RealHost, frame: FrameType | None) -> str:
    """file:line of the innermost frame of the code under test at or below `frame`, "" if there is none."""
    while frame is not None and not host.is_server_file(frame.f_code.co_filename):
        frame = frame.f_back
    return "" if frame is None else _site(host, frame)


def _stack(frame: FrameType | None) -> list[FrameType]:
    """The frames up to `frame`, outermost first."""
    found = []
    while frame is not None:
        found.append(frame)
        frame = frame.f_back
    return found[::-1]


def _state(host: RealHost, stack: list[FrameType]) -> str:
    """What it waits for, as far as the library's functions that the code under test is in tell."""
    inner = stack
    for position, frame in enumerate(stack):
        if host.is_server_file(frame.f_code.co_filename):
            inner = stack[position + 1 :]
    if not inner:
        return "is running, or waits for a lock"
    code = inner[0 if inner is not stack else -1].f_code
    if code is type(host).call.__code__:
        variables = inner[0].f_locals
        return f"waits for the reply of {variables['target']} to {variables['method']}"
    if code is type(host).sleep.__code__:
        return "sleeps"
    module = os.path.basename(code.co_filename).removesuffix(".py")
    return f"is in {module}.{getattr(code, 'co_qualname', code.co_name)}"


def _site(host: RealHost, frame: FrameType) -> str:
    return f"{host.short_path(frame.f_code.co_filename)}:{frame.f_lineno}"
