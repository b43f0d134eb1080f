"""Values of every kind that travels, and some that do not, for the tests of the codec."""

from __future__ import annotations

import collections
import dataclasses
import enum
import struct
from typing import Any, ClassVar, Generic, TypeVar

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from labrpc.codec import (
    EnumRecord,
    Record,
    message,
)

__all__ = [
    "BIG_INT",
    "CALM",
    "DICT",
    "EDGES",
    "ENUM",
    "FLOATS",
    "LEVELS",
    "MESSAGE",
    "TUPLE",
    "MyDict",
    "MyInt",
    "MyList",
    "MySet",
    "MyStr",
    "NamedPair",
    "PlainChild",
    "PlainData",
    "PlainEnum",
    "WireBox",
    "WireChild",
    "WireColor",
    "WireEmpty",
    "WireErr",
    "WireKey",
    "WireLevel",
    "WirePair",
    "WireSlots",
    "WireStrict",
    "exact",
    "extension",
    "keys",
    "leaves",
    "mutable_parts",
    "nested",
    "values",
    "without_classes",
]

LEVELS = 100
"""How deep a value may be nested."""

MESSAGE, TUPLE, BIG_INT, ENUM, DICT = 1, 2, 3, 4, 5

CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A slow machine is no failure."""

# The names below are long because a process has one registry, and other tests have messages too.


@message
class WireColor(enum.Enum):
    RED = 1
    GREEN = "green"
    CRIMSON = RED


@message
class WireLevel(enum.IntEnum):
    LOW = 1
    HIGH = 2


@message
class WireErr(enum.StrEnum):
    OK = "OK"
    NO_KEY = "NoKey"


@message
@dataclasses.dataclass
class WirePair:
    first: Any
    second: Any = None


@message
@dataclasses.dataclass(frozen=True)
class WireKey:
    name: Any
    number: int = 0


@message
@dataclasses.dataclass(slots=True, kw_only=True)
class WireSlots:
    value: Any
    items: list = dataclasses.field(default_factory=list)
    limit: ClassVar[int] = 7


@message
@dataclasses.dataclass
class WireEmpty:
    pass


T = TypeVar("T")


@message
@dataclasses.dataclass
class WireBox(Generic[T]):
    content: T


@message
@dataclasses.dataclass
class WireChild(WirePair):
    third: Any = 3


@message
@dataclasses.dataclass
class WireStrict:
    items: list

    def __post_init__(self) -> None:
        self.items.sort()


@dataclasses.dataclass
class PlainData:
    value: int


@dataclasses.dataclass
class PlainChild(WirePair):
    pass


class PlainEnum(enum.Enum):
    ONE = 1


class NamedPair(collections.namedtuple("NamedPair", "a b")):
    pass


class MyInt(int):
    pass


class MyStr(str):
    __slots__ = ()


class MyList(list):
    pass


class MyDict(dict):
    pass


class MySet(set):
    pass


# ------------------------------------------------------------------ strategies

EDGES = [
    0,
    -1,
    2**31,
    2**32,
    -(2**31) - 1,
    2**63 - 1,
    2**63,
    -(2**63),
    -(2**63) - 1,
    2**64 - 1,
    2**64,
    -(2**64),
    10**400,
]
FLOATS = [0.0, -0.0, float("inf"), float("-inf"), float("nan"), 5e-324, 1.0]

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from(EDGES),
    st.floats(),
    st.sampled_from(FLOATS),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.sampled_from([*WireColor, *WireLevel, *WireErr]),
)
keys = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.builds(WireKey, inner, st.integers(0, 9)),
    max_leaves=4,
)
values = st.recursive(
    leaves | st.builds(WireEmpty),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text(max_size=5), inner, max_size=4),
        st.dictionaries(keys, inner, max_size=4),
        st.builds(WirePair, inner, inner),
        st.builds(WireKey, inner),
        st.builds(WireSlots, value=inner, items=st.lists(inner, max_size=2)),
        st.builds(WireBox, inner),
        st.builds(WireChild, inner, inner, inner),
    ),
    max_leaves=12,
)


def exact(value: Any) -> Any:
    """`value` in a form whose equality is sameness: types, signs of zero, NaN bits and the order of dicts count."""
    kind = type(value)
    if kind is float:
        return float, struct.pack(">d", value)
    if kind in (list, tuple):
        return kind, [exact(item) for item in value]
    if kind is dict:
        return dict, [(exact(key), exact(item)) for key, item in value.items()]
    if kind is Record:
        return Record, value.type_name, exact(value.fields)
    if dataclasses.is_dataclass(value):
        return kind, [(field.name, exact(getattr(value, field.name))) for field in dataclasses.fields(value)]
    return kind, value


def mutable_parts(value: Any) -> list[object]:
    if isinstance(value, (list, tuple)):
        inner = [part for item in value for part in mutable_parts(item)]
    elif isinstance(value, dict):
        inner = [part for pair in value.items() for part in mutable_parts(pair)]
    elif dataclasses.is_dataclass(value):
        inner = [part for field in dataclasses.fields(value) for part in mutable_parts(getattr(value, field.name))]
        return [value, *inner]
    else:
        return []
    return inner if isinstance(value, tuple) else [value, *inner]


def without_classes(value: Any) -> Any:
    """What the judge should see of `value`."""
    if isinstance(value, enum.Enum):
        return EnumRecord(type(value).__name__, value.name)
    if dataclasses.is_dataclass(value):
        fields = {field.name: without_classes(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return Record(type(value).__name__, fields)
    if isinstance(value, (list, tuple)):
        return type(value)(without_classes(item) for item in value)
    if isinstance(value, dict):
        return {without_classes(key): without_classes(item) for key, item in value.items()}
    return value


def nested(kind: str, levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {
            "list": [value],
            "tuple": (value,),
            "dict": {"k": value},
            "keys": {1: value},
            "message": WirePair(value),
        }[kind]
    return value


def extension(code: int, content: bytes) -> bytes:
    return msgspec.msgpack.encode(msgspec.msgpack.Ext(code, content))
