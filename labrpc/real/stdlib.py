"""The standard library that server code sees where the clock is real: the real one, but for what reaches out of a host.

Which modules there are, and what is refused, is the same as in the virtual world.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from labrpc.real import threads
from labrpc.virtual import stdlib
from labrpc.virtual.stdlib import system

if TYPE_CHECKING:
    from labrpc.real.host import RealHost
    from labrpc.real.loader import RealLoader

__all__ = ["overlay"]

_SAME_AS_EVERYWHERE = frozenset({"datetime", "queue", "secrets", "uuid"})


def _os(host: RealHost, loader: RealLoader) -> dict[str, Any]:
    path = ModuleType("os.path")
    path.__dict__.update(system.path_namespace())
    loader.modules["os.path"] = path
    contents = system.os_namespace(host, path)  # type: ignore[arg-type]
    return {**contents, "sched_yield": lambda: time.sleep(0), "urandom": os.urandom}


def _random(host: RealHost, loader: RealLoader) -> dict[str, Any]:
    """The module's functions are methods of one generator; here it is the host's own."""
    own = random.Random(f"{host.streams.path} {host.settings.key.hex()}")
    bound = {name: getattr(own, name) for name in random.__all__ if hasattr(own, name)}
    return {**vars(random), **bound, "__all__": list(random.__all__)}


def _time(host: RealHost, loader: RealLoader) -> dict[str, Any]:
    return {**vars(time), "sleep": host.sleep}


_FILLS: dict[str, Callable[[RealHost, RealLoader], dict[str, Any]]] = {"os": _os, "random": _random, "time": _time}


def overlay(name: str, host: RealHost, loader: RealLoader) -> ModuleType | None:
    """Module `name` as `host` sees it, made anew; None if the real one will do."""
    if name in _SAME_AS_EVERYWHERE:
        return None
    module = ModuleType(name)
    if name == "threading":
        module.__dict__.update(threads.namespace(host, module))
    elif name in _FILLS:
        module.__dict__.update(_FILLS[name](host, loader))
    else:
        return stdlib.overlay(name, host, loader)  # type: ignore[arg-type]
    return module
