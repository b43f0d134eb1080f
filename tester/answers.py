"""What control calls return, by name: whatever else a server or clerk answers is a fault of its own.

A server's process may answer anything. The tests go on with values of the types below, or not at all.
"""

from __future__ import annotations

from typing import Any

from labrpc.errors import CodeFault
from labrpc.network import host_title

__all__ = ["checked"]

_COUNT, _FLAG, _TEXT = (int,), (bool, int), (str,)
_SHAPES: dict[str, tuple[tuple[type, ...], ...] | tuple[type, ...]] = {
    "acquire": (type(None),),
    "counter": _COUNT,
    "get": (_TEXT, _COUNT, _TEXT),
    "get_state": (_COUNT, _FLAG),
    "kept_bytes": _COUNT,
    "persist_bytes": _COUNT,
    "put": _TEXT,
    "release": (type(None),),
    "snapshot_bytes": _COUNT,
    "start": (_COUNT, _COUNT, _FLAG),
    "submit": (_TEXT, (object,)),
}
"""Control -> the types of its result, or of each part of it."""

_LARGEST = 1 << 64
_LONGEST = 60


def checked(host: str, control: str, value: Any) -> Any:
    """`value`, which host `host` returned from `control`. None is what one returns that is down.

    Raises:
        CodeFault: it is not of the kind that `control` returns.
    """
    shape = _SHAPES.get(control)
    if shape is None or value is None or _fits(value, shape):
        return value
    raise CodeFault(f"{host_title(host)}: {control}() returned {_short(value)}, which is not what it returns")


def _fits(value: Any, shape: Any) -> bool:
    if isinstance(shape[0], tuple):
        return (
            isinstance(value, tuple | list)
            and len(value) == len(shape)
            and all(_fits(each, types) for each, types in zip(value, shape, strict=True))
        )
    return object in shape or (type(value) in shape and (type(value) is not int or -_LARGEST < value < _LARGEST))


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # too deep, or a number that is too long to print
        text = f"a {type(value).__name__}"
    text = text.encode("unicode_escape").decode() if not text.isprintable() else text
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
