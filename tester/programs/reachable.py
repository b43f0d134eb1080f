"""How much memory a server keeps: all that can be reached from an object and from the globals of its code."""

from __future__ import annotations

import gc
import sys
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, ModuleType
from typing import Any

__all__ = ["kept_bytes"]

_NO_DATA = (BuiltinFunctionType, CodeType, FrameType, FunctionType, ModuleType)


def kept_bytes(server: object) -> int:
    """Bytes of `server`, of what the classes and globals of its package hold, and of all that these refer to."""
    package = type(server).__module__.partition(".")[0]
    modules = [module for name, module in sys.modules.items() if name.partition(".")[0] == package]
    todo: list[Any] = [server]
    for module in modules:
        for value in list(vars(module).values()):
            todo += vars(value).values() if isinstance(value, type) and value.__module__ == module.__name__ else [value]
    seen: set[int] = set()
    size = 0
    while todo:
        value = todo.pop()
        if id(value) in seen or isinstance(value, (type, *_NO_DATA)):
            continue
        seen.add(id(value))
        size += sys.getsizeof(value)
        todo += gc.get_referents(value)
    return size
