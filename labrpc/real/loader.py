"""The code under test on a host of the real world: its own copies of the modules, without step points."""

from __future__ import annotations

import threading
from types import ModuleType
from typing import TYPE_CHECKING, Any

from labrpc.real import stdlib
from labrpc.virtual.loader import CodeBundle, Loader

if TYPE_CHECKING:
    from labrpc.real.host import RealHost

__all__ = ["RealLoader"]


class RealLoader(Loader):
    """The modules of one incarnation; see `labrpc.virtual.loader.Loader`.

    Args:
        host: whose they are.
        bundle: where server packages and programs come from, not instrumented.
    """

    _orders_sets = False

    def __init__(self, host: RealHost, bundle: CodeBundle) -> None:
        self._real_host = host
        self._mu = threading.RLock()
        """Held by the thread that imports, as no other may see a module that is not whole."""
        super().__init__(host, bundle)  # type: ignore[arg-type]

    def import_module(self, name: str) -> ModuleType:
        with self._mu:
            return super().import_module(name)

    def release_pools(self) -> None:
        """Lets the idle threads of all thread pools go; see `_python_exit` in concurrent/futures/thread.py."""
        module: Any = self.modules.get("concurrent.futures.thread")
        if module is not None:
            module._shutdown = True
            for work in list(module._threads_queues.values()):
                work.put(None)

    def _import(self, name: str, globals: Any, fromlist: Any, level: int, *, trusted: bool) -> ModuleType:
        with self._mu:
            return super()._import(name, globals, fromlist, level, trusted=trusted)

    def _library_differences(self) -> dict[str, Any]:
        return {}

    def _server_differences(self) -> dict[str, Any]:
        return {}

    def _overlay(self, full: str) -> ModuleType | None:
        return stdlib.overlay(full, self._real_host, self)
