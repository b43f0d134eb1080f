"""What is wrong with the threads of a host: who waits for what, who holds it, and where.

Pure reading: nothing here changes a thread. Reports go out through `Host.report`.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

if TYPE_CHECKING:
    from labrpc.virtual.host import Host
    from labrpc.virtual.scheduler import GreenThread

__all__ = [
    "LOCK_WAIT_LIMIT_NS",
    "describe_threads",
    "examine_acquire",
    "held_locks",
    "lock_name",
    "overdue_acquire",
    "thread_name",
    "where",
]

LOCK_WAIT_LIMIT_NS = 2_000_000_000
"""How long an acquire without a timeout may wait before it counts as a deadlock."""


def examine_acquire(host: Host, lock: Any) -> bool:
    """Reports a deadlock if the running thread, about to wait for `lock`, closes a cycle of waiting threads.

    Returns whether it did.
    A lock that some thread released without holding it is a signal between threads, not a lock: nobody owns it.
    """
    me = host.current
    chain: list[tuple[GreenThread, Any]] = []
    thread, wanted = me, lock
    while thread is not None and wanted is not None and not wanted.is_signal:
        owner = wanted.owner
        if owner is None:
            return False
        chain.append((thread, wanted))
        if owner is me:
            break
        if any(owner is seen for seen, _ in chain):
            return False  # a cycle further on, reported when it closed
        thread, wanted = owner, owner.waits_for if hasattr(owner.waits_for, "owner") else None
    else:
        return False
    if len(chain) == 1:
        text = f"thread {thread_name(me)} acquires {lock_name(host, lock)}, which it holds already"
    else:
        links = [
            f"{thread_name(waiter)} waits for {lock_name(host, wanted)}, held by {thread_name(wanted.owner)}"
            for waiter, wanted in chain
        ]
        text = "; ".join(links)
    host.report("deadlock", text, where(host, me), describe_threads(host))
    return True


def overdue_acquire(host: Host, lock: Any) -> None:
    """Reports that the running thread has waited `LOCK_WAIT_LIMIT_NS` for `lock`."""
    if lock.is_signal:
        return
    me, owner = host.current, lock.owner
    held = ""
    if owner is not None:
        held = f", held by {thread_name(owner)} (in {where(host, owner)}, where it {_state(host, owner)})"
    text = f"thread {thread_name(me)} has waited {LOCK_WAIT_LIMIT_NS / 1e9:g} s for {lock_name(host, lock)}{held}"
    host.report("deadlock", text, where(host, me), describe_threads(host))


def describe_threads(host: Host) -> str:
    """Every thread of the host: its stack (the code under test's part), what it waits for, who holds that."""
    blocks: dict[str, int] = {}
    for thread in host.threads.values():
        stack = [
            f"    {_site(host, frame)} in {frame.f_code.co_name}: "
            f"{linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()}"
            for frame in _server_frames(host, thread)
        ]
        held = held_locks(host, thread)
        holding = f"; it holds {' and '.join(held)}" if held else ""
        block = "\n".join([f"  {thread_name(thread)} {_state(host, thread)}{holding}", *stack])
        blocks[block] = blocks.get(block, 0) + 1
    shown = [block if times == 1 else f"{block}\n    … and {times - 1} more like it" for block, times in blocks.items()]
    return "\n".join(shown) or "  no threads"


def where(host: Host, thread: GreenThread | None) -> str:
    """file:line of the code under test that `thread` is in, or "" if it is not in any."""
    if thread is None:
        return ""
    stack = _server_frames(host, thread)
    return _site(host, stack[-1]) if stack else ""


def lock_name(host: Host, lock: Any) -> str:
    """What the code under test calls it: `Raft.mu` for an attribute of an object on some thread's stack, a variable's
    name there, else its kind and number.
    """
    named = (name for name, value in _named_values(host) if _lock_of(value) is lock)
    return next(named, f"{type(lock).__name__} {lock.number}")


def held_locks(host: Host, thread: GreenThread) -> list[str]:
    """The names of the locks that `thread` holds; of those that nothing on a stack has a name for, how many."""
    if not thread.locks_held:
        return []
    found: dict[int, str] = {}
    for name, value in _named_values(host):
        lock = _lock_of(value)
        if lock is not None and lock.owner is thread:
            found.setdefault(lock.number, name)
    more = thread.locks_held - len(found)
    return [*found.values(), *([f"{more} {'lock' if more == 1 else 'locks'} without a name"] if more > 0 else [])]


def _named_values(host: Host) -> Iterator[tuple[str, Any]]:
    """What the code under test can name on its stacks: attributes of `self`, variables, globals."""
    for thread in host.threads.values():
        for frame in _server_frames(host, thread):
            variables = frame.f_locals
            owner = variables.get("self")
            for name, value in _attributes(owner).items():
                yield f"{type(owner).__name__}.{name}", value
            yield from (*variables.items(), *frame.f_globals.items())


def _lock_of(value: Any) -> Any:
    """The lock that `value` is, or that it is the Condition of; else None."""
    if type(value).__name__ == "Condition":
        value = _attributes(value).get("_lock")
    return value if hasattr(type(value), "is_signal") and hasattr(type(value), "owner") else None


def _attributes(owner: object) -> dict[str, Any]:
    """The instance's own attributes, without running any code of its class."""
    try:
        attributes = object.__getattribute__(owner, "__dict__")
    except AttributeError:
        return {}
    return attributes if type(attributes) is dict else {}


def _state(host: Host, thread: GreenThread) -> str:
    waits_for = thread.waits_for
    if waits_for is None:
        return "is running" if thread is host.current else "is ready to run"
    if isinstance(waits_for, str):
        return waits_for
    owner = waits_for.owner
    return f"waits for {lock_name(host, waits_for)}" + (f", held by {thread_name(owner)}" if owner is not None else "")


def _top_frame(thread: GreenThread) -> FrameType | None:
    green = thread.greenlet
    if green is None or green.dead:
        return None
    if green is getcurrent():
        return sys._getframe()  # gr_frame is only for those that do not run
    frame: FrameType | None = green.gr_frame
    return frame


def _server_frames(host: Host, thread: GreenThread) -> list[FrameType]:
    """The frames of the code under test on the thread's stack, outermost first."""
    found = []
    frame = _top_frame(thread)
    while frame is not None:
        if host.is_server_file(frame.f_code.co_filename):
            found.append(frame)
        frame = frame.f_back
    return found[::-1]


def _site(host: Host, frame: FrameType) -> str:
    return f"{host.short_path(frame.f_code.co_filename)}:{frame.f_lineno}"


def thread_name(thread: GreenThread | None) -> str:
    if thread is None:
        return "nobody"
    return thread.python_thread.name if thread.python_thread is not None else thread.name
