"""The system calls that are left to a child: reading, computing, its socket; all others fail with EPERM.

It is a list of what is allowed, so what the next kernel invents is refused too. In particular there is no way to make
a process, a thread, a socket or a namespace, to execute a file, or to signal, trace or look into anybody.
"""

from __future__ import annotations

import ctypes
import platform
import struct
import sys

from labrpc.sandbox.libc import call

__all__ = ["refuse_the_rest", "unavailable"]

# Name, number on x86_64, number on aarch64 (-1: there is no such call).
_READING = """
    read 0 63, write 1 64, close 3 57, stat 4 -1, fstat 5 80, lstat 6 -1, poll 7 -1, lseek 8 62, mmap 9 222,
    mprotect 10 226, munmap 11 215, brk 12 214, rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139,
    ioctl 16 29, pread64 17 67, pwrite64 18 68, readv 19 65, writev 20 66, access 21 -1, select 23 -1,
    sched_yield 24 124, mremap 25 216, madvise 28 233, dup 32 23, dup2 33 -1, nanosleep 35 101, getpid 39 172,
    sendto 44 206, recvfrom 45 207, exit 60 93, uname 63 160, fcntl 72 25, getcwd 79 17, readlink 89 -1,
    gettimeofday 96 169, getrlimit 97 163, getrusage 98 165, sysinfo 99 179, times 100 153, getuid 102 174,
    getgid 104 176, geteuid 107 175, getegid 108 177, getppid 110 173, sigaltstack 131 132, gettid 186 178,
    time 201 -1, futex 202 98, sched_getaffinity 204 123, getdents64 217 61, set_tid_address 218 96,
    restart_syscall 219 128, clock_gettime 228 113, clock_getres 229 114, clock_nanosleep 230 115, exit_group 231 94,
    newfstatat 262 79, readlinkat 267 78, faccessat 269 48, pselect6 270 72, ppoll 271 73, set_robust_list 273 99,
    dup3 292 24, prlimit64 302 261, getrandom 318 278, membarrier 324 283, statx 332 291, rseq 334 293,
    faccessat2 439 439
"""
_OPENING = "open 2 -1, openat 257 56"
_CHANGING = """
    ftruncate 77 46, rename 82 -1, mkdir 83 -1, rmdir 84 -1, unlink 87 -1, mkdirat 258 34, unlinkat 263 35,
    renameat 264 38, renameat2 316 276
"""

_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Machine -> its column above, and what the kernel calls it."""

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _MACHINE_AT, _ARGUMENTS_AT = 0, 4, 16
_ALLOW, _KILL, _EPERM = 0x7FFF0000, 0x80000000, 0x00050001
_X32 = 0x40000000
_WRITING = 0o3 | 0o100 | 0o1000  # O_ACCMODE, O_CREAT, O_TRUNC

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def unavailable() -> str:
    """Why there is no such list for this machine; "" if there is one."""
    if sys.platform != "linux":
        return f"there is no seccomp on {sys.platform}"
    if platform.machine() not in _MACHINES:
        return f"the list of system calls is not written for {platform.machine()}"
    return ""


def refuse_the_rest(*, may_write: bool) -> None:
    """From now on, and for good, this process has only the calls above.

    Args:
        may_write: whether files may be changed: else they can be opened for reading only. For who sees any of others.

    Raises:
        OSError: the kernel refuses.
    """
    filters = _filters(may_write)
    program = _Program(len(filters) // 8, filters)
    call("prctl", _PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0)


def _filters(may_write: bool) -> bytes:
    column, machine = _MACHINES[platform.machine()]
    lines = [
        (_LOAD, 0, 0, _MACHINE_AT),
        (_EQUAL, 1, 0, machine),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _EPERM),
    ]
    free = _numbers(_READING, column) + (_numbers(_OPENING + "," + _CHANGING, column) if may_write else [])
    for number in free:
        lines += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    if not may_write:
        # The flags are open's second argument, and openat's third.
        for position, opening in enumerate(_OPENING.split(","), start=1):
            for number in _numbers(opening, column):
                flags_at = _ARGUMENTS_AT + 8 * position
                lines += [(_EQUAL, 0, 4, number), (_LOAD, 0, 0, flags_at), (_ANY_BIT, 0, 1, _WRITING)]
                lines += [(_RETURN, 0, 0, _EPERM), (_RETURN, 0, 0, _ALLOW)]
    lines.append((_RETURN, 0, 0, _EPERM))
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def _numbers(table: str, column: int) -> list[int]:
    rows = [entry.split() for entry in table.split(",")]
    return [number for row in rows if (number := int(row[1 + column])) >= 0]
