"""`os` and `sys` as server code on a host sees them: the parts that make sense there, and advice about the rest."""

from __future__ import annotations

import os as real_os
import sys as real_sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from labrpc.errors import UsageError
from labrpc.virtual.stdlib.randomness import random_bytes
from labrpc.virtual.stdlib.terminal import HostInput, stderr, stdout
from labrpc.virtual.stdlib.time import HostTime

if TYPE_CHECKING:
    from labrpc.virtual.host import Host
    from labrpc.virtual.loader import Loader

__all__ = ["advising", "os_namespace", "path_namespace", "sys_namespace"]

_USE_PERSISTER = "a server has no files; keep what must survive a crash with the persister"
_USE_THREADS = "a server is one process; use threading"
_USE_KILL = "a server ends when the test stops or crashes it"


def advising(module: str, advice: Mapping[str, str], default: str) -> Callable[[str], NoReturn]:
    """A module's `__getattr__` that says what to use instead of what the module does not have."""

    def missing(name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(f"module {module!r} has no attribute {name!r}", name=name)
        raise AttributeError(f"server code may not use {module}.{name}: {advice.get(name, default)}", name=name)

    return missing


# ------------------------------------------------------------------ os

_OS_NAMES = (
    "EX_OK", "PathLike", "altsep", "curdir", "devnull", "error", "extsep", "fsdecode", "fsencode", "fspath", "linesep",
    "name", "pardir", "pathsep", "sep", "strerror",
)  # fmt: skip
_PATH_NAMES = (
    "altsep", "basename", "commonpath", "commonprefix", "curdir", "devnull", "dirname", "extsep", "isabs", "join",
    "normcase", "normpath", "pardir", "pathsep", "sep", "split", "splitdrive", "splitext", "splitroot",
)  # fmt: skip
_OS_ADVICE = {
    **dict.fromkeys(("_exit", "abort", "kill", "killpg"), _USE_KILL),
    **dict.fromkeys(
        ("execl", "execv", "execve", "execvp", "fork", "forkpty", "popen", "posix_spawn", "register_at_fork", "spawnl",
         "spawnv", "system", "wait", "waitpid"), _USE_THREADS,
    ),
    **dict.fromkeys(("getloadavg", "times", "wait3", "wait4"), "use time.monotonic()"),
    **dict.fromkeys(("putenv", "unsetenv"), "the environment cannot be changed on a host"),
}  # fmt: skip


class _Environment(Mapping[str, str]):
    """The process's environment, to read."""

    def __init__(self) -> None:
        self._values = dict(real_os.environ)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def _refuse(self, *args: object, **kwargs: object) -> NoReturn:
        raise UsageError("os.environ is read-only on a host; keep settings in your own variables")

    __setitem__ = __delitem__ = clear = pop = popitem = setdefault = update = _refuse

    def copy(self) -> dict[str, str]:
        return dict(self._values)

    def __repr__(self) -> str:
        return f"environ({self._values!r})"


def _process_id(host: Host) -> int:
    """A number that differs from server to server and from incarnation to incarnation, but not from run to run."""
    return 2 + zlib.crc32(f"{host.name}/{host.settings.incarnation}".encode()) % 30_000


def path_namespace() -> dict[str, Any]:
    """The contents of a host's `os.path`: arithmetic with names, nothing that looks at a disk."""
    contents = {name: getattr(real_os.path, name) for name in _PATH_NAMES if hasattr(real_os.path, name)}
    return {**contents, "__all__": list(contents), "__getattr__": advising("os.path", {}, _USE_PERSISTER)}


def os_namespace(host: Host, path: ModuleType) -> dict[str, Any]:
    """The contents of a host's `os`; `path` is its `os.path`."""
    environment = _Environment()
    process = _process_id(host)
    contents: dict[str, Any] = {name: getattr(real_os, name) for name in _OS_NAMES if hasattr(real_os, name)}
    contents.update(
        cpu_count=lambda: 1,
        environ=environment,
        getenv=environment.get,
        getpid=lambda: process,
        getppid=lambda: 1,
        path=path,
        process_cpu_count=lambda: 1,
        sched_yield=lambda: HostTime(host).sleep(0),
        urandom=lambda size: random_bytes(host, size),
    )
    return {**contents, "__all__": list(contents), "__getattr__": advising("os", _OS_ADVICE, _USE_PERSISTER)}


# ------------------------------------------------------------------ sys

_SYS_NAMES = (
    "_getframe", "api_version", "builtin_module_names", "byteorder", "copyright", "exc_info", "exception", "exit",
    "flags", "float_info", "float_repr_style", "get_int_max_str_digits", "getdefaultencoding",
    "getfilesystemencodeerrors", "getfilesystemencoding", "getrecursionlimit", "getsizeof", "hash_info", "hexversion",
    "implementation", "int_info", "intern", "is_finalizing", "maxsize", "maxunicode", "platform",
    "stdlib_module_names", "thread_info", "version", "version_info",
)  # fmt: skip
_SYS_ADVICE = {
    **dict.fromkeys(("meta_path", "path", "path_hooks"), "a server's modules are in raft/ and kvraft/"),
    **dict.fromkeys(("monitoring", "setprofile", "settrace"), "tracing is the whole process's; start it outside"),
    **dict.fromkeys(("getswitchinterval", "setswitchinterval"), "the scheduler decides where threads are preempted"),
    "getrefcount": "reference counts differ from run to run",
    "setrecursionlimit": "each thread of a host has a fixed allowance; use a loop",
}


def sys_namespace(host: Host, loader: Loader, module: ModuleType) -> dict[str, Any]:
    """The contents of `module`, the host's own `sys`."""
    host.stdlib["sys"] = module
    contents: dict[str, Any] = {name: getattr(real_sys, name) for name in _SYS_NAMES if hasattr(real_sys, name)}

    def excepthook(kind: type[BaseException], error: BaseException, trace: object, /) -> None:
        host.on_death(host.current, error)

    contents.update(
        __excepthook__=excepthook,
        __stderr__=stderr(host),
        __stdout__=stdout(host),
        argv=[""],
        excepthook=excepthook,
        modules=MappingProxyType(loader.modules),
        stderr=stderr(host),
        stdin=HostInput(),
        stdout=stdout(host),
        __getattr__=advising("sys", _SYS_ADVICE, "it is the whole process's, not the server's"),
    )
    return contents
