"""The sentence for who tries what a server has no business with: an audit hook that ends the process at once.

    audit event --what it amounts to--> a line and the stack on standard error, and this exit status

It is no boundary: code that gets at system calls past Python is stopped by the kernel, and not named as exactly.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from typing import Any

__all__ = ["DEEDS", "EXIT_STATUS", "deed_in", "end", "is_watching", "watch"]

EXIT_STATUS = 120

DEEDS = {
    "process": "tried to start a process",
    "thread": "tried to start a thread of the operating system",
    "socket": "tried to open a socket",
    "signal": "tried to send a signal",
    "c": "tried to call C code",
    "gc": "looked for the harness's objects in memory",
    "memory": "used more than 1 GiB of memory",
}
"""What a child may be ended for, by the word that it leaves behind."""

_EVENTS = {
    "process": "os.exec os.fork os.forkpty os.posix_spawn os.spawn os.startfile os.system pty.spawn subprocess.Popen",
    "thread": "_thread.start_new_thread _thread.start_joinable_thread",
    "socket": "socket.__new__ socket.bind socket.connect socket.getaddrinfo socket.gethostbyname socket.sendmsg",
    "signal": "os.kill os.killpg signal.pthread_kill",
    "c": "ctypes.dlopen ctypes.dlsym ctypes.call_function ctypes.cdata ctypes.string_at ctypes.create_string_buffer",
    "gc": "gc.get_objects gc.get_referrers gc.get_referents",
}
_DEED_OF = {event: deed for deed, events in _EVENTS.items() for event in events.split()}

_MARK = b"raftlab-deed "

_watching = False


def watch() -> None:
    """From now on, and for good, this process ends when it tries one of these things."""
    deed_of, leave = _DEED_OF.get, end

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        deed = deed_of(event)
        if deed is not None:
            leave(deed)

    global _watching
    _watching = True
    sys.addaudithook(hook)


def is_watching() -> bool:
    """Whether this process is a child in a sandbox."""
    return _watching


def end(deed: str) -> None:
    """Ends this process, for `deed`."""
    os.write(2, _MARK + deed.encode() + b"\n")
    faulthandler.dump_traceback(2, all_threads=False)
    os._exit(EXIT_STATUS)


def deed_in(written: str) -> str:
    """What the standard error of a process that has ended by `end` says that it did: one of `DEEDS`, "" if nothing."""
    for line in reversed(written.splitlines()):
        if line.startswith(_MARK.decode()):
            return DEEDS.get(line[len(_MARK) :], "")
    return ""
