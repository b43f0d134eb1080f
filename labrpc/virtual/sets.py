"""Sets that iterate in insertion order, and a hash that does not differ from process to process.

Server code gets these in place of `set`, `frozenset` and `hash`: CPython salts the hash of strings anew in each
process, so a plain set of strings would make a run depend on more than its seed.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any

__all__ = ["OrderedFrozenSet", "OrderedSet", "set_operators", "stable_hash"]


class OrderedFrozenSet(frozenset[Any]):
    """A frozenset that iterates in the order of its elements' first insertion."""

    __slots__ = ("_order",)
    _order: dict[Any, None]

    def __new__(cls, iterable: Iterable[Any] = ()) -> OrderedFrozenSet:
        order = dict.fromkeys(iterable)
        self = super().__new__(cls, order)
        self._order = order
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(self._order)

    def __reversed__(self) -> Iterator[Any]:
        return reversed(self._order)

    def __repr__(self) -> str:
        return f"frozenset({{{', '.join(map(repr, self))}}})" if self else "frozenset()"

    def copy(self) -> OrderedFrozenSet:
        return self

    def union(self, *others: Iterable[Any]) -> Any:
        return type(self)([*self, *(item for other in others for item in other)])

    def intersection(self, *others: Iterable[Any]) -> Any:
        return type(self)(_common(self, others))

    def difference(self, *others: Iterable[Any]) -> Any:
        return type(self)(_without(self, others))

    def symmetric_difference(self, other: Iterable[Any]) -> Any:
        return type(self)(_either(self, other))

    def __or__(self, other: Any) -> Any:
        return self.union(other) if _is_set(other) else NotImplemented

    def __and__(self, other: Any) -> Any:
        return self.intersection(other) if _is_set(other) else NotImplemented

    def __sub__(self, other: Any) -> Any:
        return self.difference(other) if _is_set(other) else NotImplemented

    def __xor__(self, other: Any) -> Any:
        return self.symmetric_difference(other) if _is_set(other) else NotImplemented

    def __ror__(self, other: Any) -> Any:
        return type(self)([*other, *self]) if _is_set(other) else NotImplemented

    def __rand__(self, other: Any) -> Any:
        return type(self)(_common(other, (self,))) if _is_set(other) else NotImplemented

    def __rsub__(self, other: Any) -> Any:
        return type(self)(_without(other, (self,))) if _is_set(other) else NotImplemented

    def __rxor__(self, other: Any) -> Any:
        return type(self)(_either(other, self)) if _is_set(other) else NotImplemented


class OrderedSet(set[Any]):
    """A set that iterates, and pops, in the order of its elements' first insertion."""

    __slots__ = ("_order",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, iterable: Iterable[Any] = ()) -> None:
        self._order: dict[Any, None] = dict.fromkeys(iterable)
        super().__init__(self._order)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._order)

    def __reversed__(self) -> Iterator[Any]:
        return reversed(self._order)

    def __repr__(self) -> str:
        return f"{{{', '.join(map(repr, self))}}}" if self else "set()"

    def copy(self) -> OrderedSet:
        return type(self)(self)

    __copy__ = copy

    def __reduce__(self) -> Any:
        return (type(self), (list(self),))

    def add(self, item: Any) -> None:
        super().add(item)
        self._order[item] = None

    def discard(self, item: Any) -> None:
        super().discard(item)
        self._order.pop(item, None)

    def remove(self, item: Any) -> None:
        super().remove(item)
        del self._order[item]

    def pop(self) -> Any:
        if not self._order:
            raise KeyError("pop from an empty set")
        item = next(iter(self._order))
        self.remove(item)
        return item

    def clear(self) -> None:
        super().clear()
        self._order.clear()

    def update(self, *others: Iterable[Any]) -> None:
        for other in others:
            for item in list(other):
                self.add(item)

    def intersection_update(self, *others: Iterable[Any]) -> None:
        self._become(_common(self, others))

    def difference_update(self, *others: Iterable[Any]) -> None:
        self._become(_without(self, others))

    def symmetric_difference_update(self, other: Iterable[Any]) -> None:
        self._become(_either(self, other))

    def _become(self, items: list[Any]) -> None:
        self.clear()
        self.update(items)

    union = OrderedFrozenSet.union
    intersection = OrderedFrozenSet.intersection
    difference = OrderedFrozenSet.difference
    symmetric_difference = OrderedFrozenSet.symmetric_difference
    __or__ = OrderedFrozenSet.__or__
    __and__ = OrderedFrozenSet.__and__
    __sub__ = OrderedFrozenSet.__sub__
    __xor__ = OrderedFrozenSet.__xor__
    __ror__ = OrderedFrozenSet.__ror__
    __rand__ = OrderedFrozenSet.__rand__
    __rsub__ = OrderedFrozenSet.__rsub__
    __rxor__ = OrderedFrozenSet.__rxor__

    def __ior__(self, other: Any) -> Any:
        return self._in_place(self.update, other)

    def __iand__(self, other: Any) -> Any:
        return self._in_place(self.intersection_update, other)

    def __isub__(self, other: Any) -> Any:
        return self._in_place(self.difference_update, other)

    def __ixor__(self, other: Any) -> Any:
        return self._in_place(self.symmetric_difference_update, other)

    def _in_place(self, method: Callable[[Any], None], other: Any) -> Any:
        if not _is_set(other):
            return NotImplemented
        method(other)
        return self


def _is_set(value: object) -> bool:
    return isinstance(value, (set, frozenset, type({}.keys()), type({}.items())))


def _common(first: Iterable[Any], others: tuple[Iterable[Any], ...]) -> list[Any]:
    kept = [set(other) for other in others]
    return [item for item in first if all(item in other for other in kept)]


def _without(first: Iterable[Any], others: tuple[Iterable[Any], ...]) -> list[Any]:
    dropped = {item for other in others for item in other}
    return [item for item in first if item not in dropped]


def _either(first: Iterable[Any], second: Iterable[Any]) -> list[Any]:
    left, right = dict.fromkeys(first), dict.fromkeys(second)
    return [item for item in left if item not in right] + [item for item in right if item not in left]


def _operator(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def apply(left: Any, right: Any) -> Any:
        result = function(left, right)
        if type(result) is set:  # between dict views
            return OrderedSet([item for item in dict.fromkeys([*left, *right]) if item in result])
        return result

    return apply


set_operators: dict[str, Callable[[Any, Any], Any]] = {
    "__and__": _operator(operator.and_),
    "__or__": _operator(operator.or_),
    "__xor__": _operator(operator.xor),
    "__sub__": _operator(operator.sub),
}
"""The builtins that instrumented code calls for `&`, `|`, `^` and `-`."""


def stable_hash(value: Any) -> int:
    """`hash(value)`, but the same in every process for strings, bytes, None and tuples of these."""
    kind = type(value)
    if kind is str:
        return _digest(value.encode("utf-8", "surrogatepass"))
    if kind is bytes:
        return _digest(value)
    if value is None:
        return 0x5EED
    if kind is tuple:
        return hash(tuple(stable_hash(item) for item in value))
    return hash(value)


def _digest(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=7).digest(), "big")
