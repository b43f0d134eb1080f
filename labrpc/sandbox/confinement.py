"""All that a child gives up before the submission's code runs, in order, and what of it can be had on this machine.

    fork into namespaces -> ids -> mounts -> descriptors -> limits -> capabilities -> no way back -> system calls

Nothing here trusts what comes later: each step takes something away for good.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
from collections.abc import Callable
from pathlib import Path

from labrpc.sandbox import namespaces, seccomp
from labrpc.sandbox.libc import call

__all__ = ["CPU_SECONDS", "MEMORY_BYTES", "PROTECTIONS", "Confinement"]

MEMORY_BYTES = 1 << 30
"""Address space of a child."""

CPU_SECONDS = 600
"""CPU time of a child. A backstop: what its steps and its run may take on the wall ends it long before."""

_FILE_BYTES = 4 << 20
"""Of each file it writes; its standard error is one."""

_OPEN_FILES = 64

PROTECTIONS = {
    "view": "it sees Python's own files and labrpc, to read, and no other file",
    "namespaces": "it sees no process, network or memory but its own, and what it starts ends with it",
    "limits": "its memory, its CPU time, its files and its processes are limited",
    "capabilities": "it has no privileges, and cannot gain any",
    "system calls": "it cannot make processes, threads or sockets, execute files, or signal or look into anybody",
}
"""What a sandbox consists of, and what each part is good for."""

_PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 4, 24, 38
_CAPABILITIES_VERSION = 0x20080522
_FIRST_TO_GO = "1000"


class Confinement:
    """What the children of this process are confined by. Made once, in the nursery, by trying.

    Args:
        view: why this process sees more than it should; "" if it does not.
    """

    def __init__(self, view: str) -> None:
        self._user, self._group = os.getuid(), os.getgid()
        self.missing = {"view": view, "namespaces": namespaces.unavailable()}
        """Protection -> why it cannot be had here; "" if it can."""
        self.missing.update(self._try_the_rest())

    def fork(self) -> int:
        """As `os.fork`. The child has to call `enter`."""
        return os.fork() if self.missing["namespaces"] else namespaces.fork()

    def enter(self, keep: int) -> None:
        """In the child: gives up all but the descriptors 0 to 2 and `keep`.

        Raises:
            OSError: a part that could be had a moment ago cannot be had now.
        """
        os.setsid()  # a signal to its process group must not be one to its siblings
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO)  # should the machine run out of memory
        if not self.missing["namespaces"]:
            namespaces.map_ids(self._user, self._group)
            namespaces.cover_mounts()
        os.umask(0o077)
        os.chdir("/")
        os.closerange(3, keep)
        os.closerange(keep + 1, 1 << 16)
        for name, step in self._steps().items():
            if not self.missing.get(name):
                step()

    def _steps(self) -> dict[str, Callable[[], None]]:
        # Files of others are in sight without a view, and then nothing may be written at all.
        may_write = not self.missing["view"] and not self.missing["namespaces"]
        return {
            "limits": _set_limits,
            "capabilities": _drop_capabilities,
            "system calls": lambda: seccomp.refuse_the_rest(may_write=may_write),
        }

    def _try_the_rest(self) -> dict[str, str]:
        """Why each further part cannot be had; a child tries them one after the other."""
        failed = {"limits": "", "capabilities": "", "system calls": seccomp.unavailable()}
        reading, writing = os.pipe()
        pid = self.fork()
        if pid == 0:
            try:
                if not self.missing["namespaces"]:
                    namespaces.map_ids(self._user, self._group)
                for name, step in self._steps().items():
                    if not failed[name]:
                        try:
                            step()
                        except (OSError, ValueError, AttributeError) as error:
                            os.write(writing, f"{name}\t{error}\n".encode())
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as file:
            for line in file:
                name, _, reason = line.rstrip("\n").partition("\t")
                failed[name] = reason
        os.waitpid(pid, 0)
        return failed


def _set_limits() -> None:
    for limit, value in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, _FILE_BYTES),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(limit, (value, value))


def _drop_capabilities() -> None:
    """No capability is left, not even in its own namespaces; and no file that it might execute brings any."""
    capability = 0
    with contextlib.suppress(OSError):  # past the last one, or there are none to drop
        while True:
            call("prctl", _PR_CAPBSET_DROP, capability, 0, 0, 0)
            capability += 1
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION, 0)
    call("capset", header, (ctypes.c_uint32 * 6)())
    call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    call("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)
