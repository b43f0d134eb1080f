"""Sets that iterate in insertion order, and a hash that does not differ from process to process.

Server code gets these in place of `set`, `frozenset` and `hash`: CPython salts the hash of strings anew in each
process, so a plain set of strings would make a run depend on more than its seed.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView
from enum import Enum
from typing import Any

__all__ = ["OrderedFrozenSet", "OrderedSet", "set_operators", "stable_hash"]

_VIEWS = (KeysView, ItemsView)


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

    def __reversed__(self) -> Any:
        return reversed(self._order)

    def __repr__(self) -> str:
        return f"frozenset({{{', '.join(map(repr, self))}}})" if self else "frozenset()"

    def copy(self) -> OrderedFrozenSet:
        return self if type(self) is OrderedFrozenSet else OrderedFrozenSet(self)

    def union(self, *others: Iterable[Any]) -> Any:
        return _like(self, [*self, *(item for other in others for item in other)])

    def intersection(self, *others: Iterable[Any]) -> Any:
        return _like(self, _common(self, others))

    def difference(self, *others: Iterable[Any]) -> Any:
        return _like(self, _without(self, others))

    def symmetric_difference(self, other: Iterable[Any]) -> Any:
        return _like(self, _either(self, other))

    def __or__(self: Any, other: Any) -> Any:
        return self.union(other) if _is_set(other) else NotImplemented

    def __and__(self: Any, other: Any) -> Any:
        return self.intersection(other) if _is_set(other) else NotImplemented

    def __sub__(self: Any, other: Any) -> Any:
        return self.difference(other) if _is_set(other) else NotImplemented

    def __xor__(self: Any, other: Any) -> Any:
        return self.symmetric_difference(other) if _is_set(other) else NotImplemented

    def __ror__(self, other: Any) -> Any:
        return _like(self, [*other, *self]) if _is_set(other) else NotImplemented

    def __rand__(self, other: Any) -> Any:
        return _like(self, _common(other, (self,))) if _is_set(other) else NotImplemented

    def __rsub__(self, other: Any) -> Any:
        return _like(self, _without(other, (self,))) if _is_set(other) else NotImplemented

    def __rxor__(self, other: Any) -> Any:
        return _like(self, _either(other, self)) if _is_set(other) else NotImplemented


class OrderedSet(set[Any]):
    """A set that iterates, and pops, in the order of its elements' first insertion."""

    __slots__ = ("_order",)
    __hash__ = None

    def __new__(cls, *args: Any, **kwargs: Any) -> OrderedSet:
        self = super().__new__(cls)
        self._order = {}  # a subclass may do without our __init__
        return self

    def __init__(self, iterable: Iterable[Any] = ()) -> None:
        self._order: dict[Any, None] = dict.fromkeys(iterable)
        super().__init__(self._order)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._order)

    def __reversed__(self) -> Any:
        return reversed(self._order)

    def __repr__(self) -> str:
        return f"{{{', '.join(map(repr, self))}}}" if self else "set()"

    def copy(self) -> OrderedSet:
        return OrderedSet(self)

    def __reduce__(self) -> Any:
        return type(self), (list(self),), getattr(self, "__dict__", None)

    def add(self, item: Any) -> None:
        super().add(item)
        self._order[item] = None

    def discard(self, item: Any) -> None:
        super().discard(item)
        self._order.pop(_hashable(item), None)

    def remove(self, item: Any) -> None:
        super().remove(item)
        del self._order[_hashable(item)]

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
        if not isinstance(other, (set, frozenset)):
            return NotImplemented  # with a dict view, `|=` makes a new set, as it does for builtin ones
        method(other)
        return self


def _like(model: Any, items: Iterable[Any]) -> Any:
    """`items` as a set if `model` is one, else as a frozenset. Of a subclass too the base, as builtin operators do."""
    return OrderedSet(items) if isinstance(model, set) else OrderedFrozenSet(items)


def _is_set(value: object) -> bool:
    return isinstance(value, (set, frozenset, *_VIEWS))


def _hashable(item: Any) -> Any:
    """A set as an argument of `remove` and `discard` stands for the frozenset equal to it."""
    return frozenset(item) if isinstance(item, set) and type(item).__hash__ is None else item


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
        if type(right) in _NUMBERS:
            return function(left, right)
        if isinstance(left, _VIEWS):
            right = _kept(right)
        elif isinstance(right, _VIEWS):
            left = _kept(left)
        result = function(left, right)
        if type(result) is set and result is not left:  # between dict views
            return OrderedSet([item for item in dict.fromkeys([*left, *right]) if item in result])
        return result

    return apply


_NUMBERS = frozenset({int, float, bool})


def _kept(operand: Any) -> Any:
    """`operand` as something that can be iterated twice: dict views take any iterable as the other operand."""
    return list(operand) if isinstance(operand, Iterator) else operand


set_operators: dict[str, Callable[..., Any]] = {
    "__ordered_set__": OrderedSet,
    "__set_and__": _operator(operator.and_),
    "__set_or__": _operator(operator.or_),
    "__set_xor__": _operator(operator.xor),
    "__set_sub__": _operator(operator.sub),
    "__set_iand__": _operator(operator.iand),
    "__set_ior__": _operator(operator.ior),
    "__set_ixor__": _operator(operator.ixor),
    "__set_isub__": _operator(operator.isub),
}
"""The builtins that instrumented code calls for set literals, for `&`, `|`, `^`, `-`, and for these with `=`."""


def stable_hash(value: Any) -> int:
    """`hash(value)`, but the same in every process for strings, bytes, None, enums, tuples and frozensets of these."""
    if value is None:
        return 0x5EED
    method: Any = type(value).__hash__  # a subclass that has its own (a frozen dataclass, say) keeps it
    if method is str.__hash__:
        return _digest(str.encode(value, "utf-8", "surrogatepass"))
    if method is bytes.__hash__:
        return _digest(value)
    if method is tuple.__hash__:
        return hash(tuple(stable_hash(item) for item in value))
    if method is frozenset.__hash__:
        return hash(frozenset(stable_hash(item) for item in value))
    if method is Enum.__hash__:
        return stable_hash(value.name)
    return hash(value)


def _digest(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=7).digest(), "big")
