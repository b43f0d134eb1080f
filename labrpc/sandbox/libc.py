"""Calls of the C library that Python has no names for, with errors as exceptions."""

from __future__ import annotations

import ctypes
import os
from typing import Any

__all__ = ["call", "clone"]

_libc = ctypes.PyDLL(None, use_errno=True)  # it keeps the interpreter's lock: `clone` must not let another thread run
_libc.syscall.restype = ctypes.c_long

_CLONE = {"x86_64": 56, "aarch64": 220}


def call(name: str, *arguments: Any) -> int:
    """Calls function `name`; what it returned.

    Raises:
        OSError: it failed.
    """
    result: int = _libc[name](*arguments)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def clone(flags: int) -> int:
    """As `os.fork`, into the new namespaces that `flags` name. For processes with one thread.

    Raises:
        OSError: the kernel refuses, or this machine is of a kind that is not known here.
    """
    number = _CLONE.get(os.uname().machine)
    if number is None:
        raise OSError(f"clone is not known on {os.uname().machine}")
    python = ctypes.pythonapi
    python.PyOS_BeforeFork()
    pid = _libc.syscall(ctypes.c_long(number), ctypes.c_ulong(flags), None, None, None, None)
    error = ctypes.get_errno()
    if pid == 0:
        python.PyOS_AfterFork_Child()
        return 0
    python.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(error, f"clone: {os.strerror(error)}")
    return int(pid)
