"""`threading.local` as server code on a host sees it: attributes that each green thread has for itself."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from labrpc.virtual.stdlib.waiting import current_host

if TYPE_CHECKING:
    from labrpc.virtual.host import Host

__all__ = ["local"]

_get = object.__getattribute__
_set = object.__setattr__


class _Key:
    """What a `local`'s values are found by in `GreenThread.locals`; they go when the object does."""

    __slots__ = ("arguments", "host", "owner", "reference")

    def __init__(self, host: Host, instance: local, arguments: tuple[Any, Any]) -> None:
        self.host = host
        self.arguments = arguments
        self.owner: Any = None
        """The thread whose values are the object's `__dict__` now."""
        self.reference: Any = weakref.ref(instance, self._forget)

    def _forget(self, reference: object) -> None:
        self.reference = self.owner = None  # or the key would keep itself alive
        for thread in self.host.threads.values():
            thread.locals.pop(self, None)


class local:
    """An object whose attributes are different ones in each thread.

    A subclass's `__init__` runs once in each thread that uses the object, with the arguments it was made with.
    """

    __slots__ = ("__dict__", "__weakref__", "_local__key")
    __module__ = "threading"

    def __new__(cls, /, *args: Any, **kwargs: Any) -> local:
        if (args or kwargs) and cls.__init__ is object.__init__:
            raise TypeError("Initialization arguments are not supported")
        self = object.__new__(cls)
        key = _Key(current_host(), self, (args, kwargs))
        _set(self, "_local__key", key)
        thread = key.host.current
        if thread is not None:  # the maker's own __init__ is called by type.__call__
            _show(self, key, thread)
        return self

    def __getattribute__(self, name: str) -> Any:
        key = _get(self, "_local__key")
        if key.owner is not key.host.current:
            _swap(self, key)
        return _get(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._local__use(name)
        _set(self, name, value)

    def __delattr__(self, name: str) -> None:
        self._local__use(name)
        object.__delattr__(self, name)

    def _local__use(self, name: str) -> None:
        if name == "__dict__":
            raise AttributeError(f"{type(self).__name__!r} object attribute '__dict__' is read-only")


def _swap(instance: local, key: _Key) -> None:
    """Makes the running thread's values the object's, and initialises them if it has none yet."""
    thread = key.host.current
    if thread is None:
        raise RuntimeError("threading.local is used outside the host's threads")
    known = key in thread.locals
    _show(instance, key, thread)
    cls = type(instance)
    if not known and cls.__init__ is not object.__init__:
        args, kwargs = key.arguments
        cls.__init__(instance, *args, **kwargs)
        if key.owner is not thread:  # __init__ was preempted
            _show(instance, key, thread)


def _show(instance: local, key: _Key, thread: Any) -> None:
    values = thread.locals.get(key)
    if values is None:
        values = thread.locals[key] = {}
    _set(instance, "__dict__", values)
    key.owner = thread
