"""What is wrong with the threads of a host: who waits for what, who holds it, and where.

Pure reading: nothing here changes a thread. Reports go out through `Host.report`.
"""

from __future__ import annotations

import traceback
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labrpc.virtual.host import Host
    from labrpc.virtual.scheduler import GreenThread

__all__ = ["LOCK_WAIT_LIMIT_NS", "describe_threads", "examine_acquire", "lock_name", "overdue_acquire", "site_of", "thread_name", "where"]

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
            f"{thread_name(waiter)} waits for {lock_name(host, wanted)}, held by {thread_name(wanted.owner)}" for waiter, wanted in chain
        ]
        text = "; ".join(links)
    host.report("deadlock", text, where(host, me), describe_threads(host))
    return True


def overdue_acquire(host: Host, lock: Any) -> None:
    """Reports that the running thread has waited `LOCK_WAIT_LIMIT_NS` for `lock`."""
    if lock.is_signal:
        return
    me, owner = host.current, lock.owner
    held = f", held by {thread_name(owner)} at {where(host, owner)}" if owner is not None else ""
    text = f"thread {thread_name(me)} has waited {LOCK_WAIT_LIMIT_NS / 1e9:g} s for {lock_name(host, lock)}{held}"
    host.report("deadlock", text, where(host, me), describe_threads(host))


def describe_threads(host: Host) -> str:
    """Every thread of the host: its stack (the code under test's part), what it waits for, who holds that."""
    blocks = []
    for thread in host.threads.values():
        stack = [
            f"    {_short(host, filename)}:{line} in {function}: {text}"
            for filename, line, function, text in _stack(host, thread)
        ]
        blocks.append("\n".join([f"  {thread_name(thread)} {_state(host, thread)}", *stack]))
    return "\n".join(blocks) if blocks else "  no threads"


def where(host: Host, thread: GreenThread | None) -> str:
    """file:line of the code under test that `thread` is in, or "" if it is not in any."""
    if thread is None:
        return ""
    stack = _stack(host, thread)
    return f"{_short(host, stack[-1][0])}:{stack[-1][1]}" if stack else ""


def site_of(host: Host, error: BaseException) -> str:
    """file:line of the innermost frame of the code under test in `error`'s traceback, or "" if there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_short(host, error.filename)}:{error.lineno}"
    site = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if host.is_server_file(frame.f_code.co_filename):
            site = f"{_short(host, frame.f_code.co_filename)}:{line}"
    return site


def lock_name(host: Host, lock: Any) -> str:
    """`Raft.mu` where an object on some thread's stack has the lock as an attribute, else its kind and number."""
    for thread in host.threads.values():
        frame = _top_frame(thread)
        while frame is not None:
            if host.is_server_file(frame.f_code.co_filename):
                for owner in (frame.f_locals.get("self"),):
                    for name, value in getattr(owner, "__dict__", {}).items():
                        if value is lock or getattr(value, "_lock", None) is lock:
                            return f"{type(owner).__name__}.{name}"
            frame = frame.f_back
    return f"{type(lock).__name__} {lock.number}"


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
    if green.gr_frame is not None:
        return green.gr_frame
    import sys  # the running thread's own frames: gr_frame is None for it

    return sys._getframe() if bool(green) else None


def _stack(host: Host, thread: GreenThread) -> list[tuple[str, int, str, str]]:
    frame = _top_frame(thread)
    if frame is None:
        return []
    found = []
    for entry, line in traceback.walk_stack(frame):
        filename = entry.f_code.co_filename
        if host.is_server_file(filename):
            found.append((filename, line, entry.f_code.co_name, _source(filename, line)))
    return list(reversed(found))


def _source(filename: str, line: int) -> str:
    import linecache

    return linecache.getline(filename, line).strip()


def _short(host: Host, filename: str) -> str:
    return host.short_path(filename)


def thread_name(thread: GreenThread | None) -> str:
    if thread is None:
        return "nobody"
    return thread.python_thread.name if thread.python_thread is not None else thread.name
