"""The standard library that server code sees on a host.

    import threading --Loader--> overlay("threading", host, loader): a module of this host's own
                                   over one shared implementation that finds the host that runs

`OVERLAYS` are the modules that are different here, `PRIVATE` those executed anew on top of them, `ALLOWED` those that
are the real ones; for others, `REFUSED` says what to use instead. An overlay's contents are copied for each host, so
that what one sets on a module no other sees.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from labrpc.errors import UsageError
from labrpc.virtual.stdlib import datetime, queue, randomness, system, terminal, threading, time
from labrpc.virtual.stdlib.policy import ALLOWED, PRIVATE, REFUSED
from labrpc.virtual.stdlib.terminal import builtins_for

if TYPE_CHECKING:
    from labrpc.virtual.host import Host
    from labrpc.virtual.loader import Loader

__all__ = ["ALLOWED", "OVERLAYS", "PRIVATE", "REFUSED", "builtins_for", "overlay"]

_Fill = Callable[["Host", "Loader", ModuleType], dict[str, Any]]


def _atexit(host: Host, loader: Loader, module: ModuleType) -> dict[str, Any]:
    """For the private modules that import it: a host ends by losing its power, and nothing runs at exit."""
    return {"register": lambda function, *args, **kwargs: function, "unregister": lambda function: None}


def _process_pool(host: Host, loader: Loader, module: ModuleType) -> dict[str, Any]:
    """For `concurrent.futures`, which imports it when server code asks for the class."""

    class ProcessPoolExecutor:
        def __init__(self, *args: object, **kwargs: object) -> None:
            raise UsageError(f"no ProcessPoolExecutor on a host: {REFUSED['concurrent.futures.process']}")

    return {"ProcessPoolExecutor": ProcessPoolExecutor}


def _os(host: Host, loader: Loader, module: ModuleType) -> dict[str, Any]:
    path = ModuleType("os.path")
    path.__dict__.update(system.path_namespace())
    loader.modules["os.path"] = path
    return system.os_namespace(host, path)


def _queue(host: Host, loader: Loader, module: ModuleType) -> dict[str, Any]:
    return {"__all__": list(queue.__all__), **{name: getattr(queue, name) for name in queue.__all__}}


_FILLS: dict[str, _Fill] = {
    "atexit": _atexit,
    "concurrent.futures.process": _process_pool,
    "datetime": lambda host, loader, module: datetime.namespace(),
    "io": lambda host, loader, module: terminal.io_namespace(),
    "os": _os,
    "queue": _queue,
    "random": lambda host, loader, module: randomness.random_namespace(host),
    "secrets": lambda host, loader, module: randomness.secrets_namespace(),
    "sys": lambda host, loader, module: system.sys_namespace(host, loader, module),
    "threading": lambda host, loader, module: threading.namespace(host, module),
    "time": lambda host, loader, module: time.namespace(host),
    "traceback": lambda host, loader, module: terminal.traceback_namespace(),
    "uuid": lambda host, loader, module: randomness.uuid_namespace(host),
}

OVERLAYS = frozenset(_FILLS) - frozenset(REFUSED) | {"os.path"}
"""The modules that server code may import and that are not the real ones."""


def overlay(name: str, host: Host, loader: Loader) -> ModuleType | None:
    """Module `name` as `host` sees it, made anew; None if the real one will do. The loader keeps it."""
    fill = _FILLS.get(name)
    if fill is None:
        return None
    module = ModuleType(name)
    module.__dict__.update(fill(host, loader, module))
    return module
