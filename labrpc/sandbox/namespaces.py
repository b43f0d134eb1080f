"""A child in namespaces of its own: it sees no other process, has no network, and one small folder to write in.

It is process 1 of its pid namespace, so whatever it might have started ends with it.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from labrpc.sandbox.libc import call, clone

__all__ = ["TEMPORARY_BYTES", "cover_mounts", "fork", "map_ids", "unavailable"]

TEMPORARY_BYTES = 16 << 20
"""What a child may keep in its temporary folder."""

_SIGCHLD = 17
_USER, _MOUNT, _PID, _NETWORK, _IPC, _NAMES, _CGROUP = (
    0x10000000, 0x00020000, 0x20000000, 0x40000000, 0x08000000, 0x04000000, 0x02000000,
)  # fmt: skip
_ALL = _USER | _MOUNT | _PID | _NETWORK | _IPC | _NAMES | _CGROUP

_READ_ONLY, _NO_SETUID, _NO_DEVICES, _NO_EXEC, _RECURSIVE, _PRIVATE = 1, 2, 4, 8, 1 << 14, 1 << 18


def fork() -> int:
    """As `os.fork`; the child is in new namespaces of all kinds.

    Raises:
        OSError: the kernel refuses.
    """
    return clone(_ALL | _SIGCHLD)


def unavailable() -> str:
    """Why a child cannot have namespaces of its own here; "" if it can. It tries."""
    user, group = os.getuid(), os.getgid()
    try:
        pid = fork()
    except (OSError, AttributeError) as error:
        return f"the kernel refuses new namespaces: {error}"
    if pid == 0:
        try:
            map_ids(user, group)
            cover_mounts()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return "" if os.waitpid(pid, 0)[1] == 0 else "new namespaces can be made, but neither ids nor mounts set in them"


def map_ids(user: int, group: int) -> None:
    """In a child after `fork`: it is `user` and `group`, as its parent was, and can be nobody else."""
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")


def cover_mounts() -> None:
    """In a child after `map_ids`: /tmp is a small folder in memory, its own; there is nothing in /proc."""
    call("mount", None, b"/", None, ctypes.c_ulong(_RECURSIVE | _PRIVATE), None)
    _mount_memory("/tmp", _NO_SETUID | _NO_DEVICES | _NO_EXEC, f"size={TEMPORARY_BYTES},nr_inodes=1000,mode=700")
    _mount_memory("/proc", _NO_SETUID | _NO_DEVICES | _NO_EXEC | _READ_ONLY, "size=4096,nr_inodes=1,mode=500")
    if os.path.isdir("/dev/shm"):
        _mount_memory("/dev/shm", _NO_SETUID | _NO_DEVICES | _NO_EXEC | _READ_ONLY, "size=4096,nr_inodes=1,mode=500")


def _mount_memory(place: str, flags: int, options: str) -> None:
    call("mount", b"tmpfs", place.encode(), b"tmpfs", ctypes.c_ulong(flags), options.encode())
