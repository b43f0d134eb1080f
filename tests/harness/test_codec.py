"""The wire: what round-trips exactly, what the judge sees without classes, and which error names what cannot travel."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import enum
import struct
import types
from typing import Any, ClassVar, Generic, TypeVar

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from labrpc import codec, context
from labrpc.codec import (
    CodecError,
    EnumRecord,
    Record,
    Registry,
    decode,
    decode_record,
    decode_shared_record,
    encode,
    message,
)
from labrpc.errors import UsageError
from labrpc.virtual.sets import OrderedFrozenSet, OrderedSet
from raft import AppendEntriesArgs, LogEntry

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


# ------------------------------------------------------------------ round trips


@given(values)
@settings(CALM, max_examples=300)
def test_every_value_round_trips_exactly(value: Any) -> None:
    assert exact(decode(encode(value))) == exact(value)


@pytest.mark.parametrize(
    "value", [*EDGES, *(-n for n in EDGES)], ids=lambda n: f"{n:.3g}" if abs(n) < 2**70 else "huge"
)
def test_integers_of_any_size_round_trip(value: int) -> None:
    decoded = decode(encode(value))
    assert decoded == value
    assert type(decoded) is int


@pytest.mark.parametrize("value", FLOATS, ids=str)
def test_floats_keep_every_bit(value: float) -> None:
    assert struct.pack(">d", decode(encode(value))) == struct.pack(">d", value)


@pytest.mark.parametrize("value", [True, 1, 1.0, "1", b"1", (1,), [1]], ids=repr)
def test_values_that_look_alike_keep_their_type(value: object) -> None:
    assert type(decode(encode(value))) is type(value)
    assert type(decode(encode({1: value, "k": [value]}))["k"][0]) is type(value)


@pytest.mark.parametrize(
    "value",
    [{}, {"b": 1, "a": 2}, {2: "b", 1: "a"}, {True: 1, 2: 3}, {(1, (2, "x")): [1]}, {None: 0, b"k": 1, "k": 2, 1.5: 3}],
    ids=repr,
)
def test_dicts_keep_their_keys_and_their_order(value: dict[Any, Any]) -> None:
    assert exact(decode(encode(value))) == exact(value)


def test_a_dict_key_may_be_a_message() -> None:
    key = WireKey(("x", 1), 2)
    assert decode(encode({key: 1})) == {key: 1}
    assert decode_record(encode({key: 1})) == {Record("WireKey", {"name": ("x", 1), "number": 2}): 1}


def test_an_enums_alias_travels_as_the_member_it_stands_for() -> None:
    assert decode(encode([WireColor.CRIMSON, WireLevel.LOW, WireErr.NO_KEY])) == [
        WireColor.RED,
        WireLevel.LOW,
        WireErr.NO_KEY,
    ]
    assert decode(encode(WireColor.CRIMSON)) is WireColor.RED


def test_what_is_not_a_field_does_not_travel() -> None:
    value = WireSlots(value=1, items=[2])
    assert decode_record(encode(value)).fields == {"value": 1, "items": [2]}
    assert decode(encode(value)) == value


def test_bytes_are_the_same_in_every_version() -> None:
    value = [(1, -(2**70)), WireKey("k", 2), WireErr.OK, {1: b"x"}, {"s": 1.5, "n": None}]
    assert encode(value).hex() == GOLDEN


@pytest.mark.parametrize(
    "last",
    [WirePair(3, 2), WirePair(2**64, 2), WirePair(1.0, [2]), WirePair(WireErr.OK), WireColor.RED, LogEntry(1, 2), 3],
    ids=["plain", "a big int", "a list", "an enum within", "an enum", "another class", "no message"],
)
def test_messages_in_a_list_have_the_bytes_that_each_has_alone(last: Any) -> None:
    items = [WirePair(1, b"x"), WirePair(None, "y"), last]
    assert encode(items) == b"\x93" + b"".join(map(encode, items))


GOLDEN = (
    "95"  # a list of 5
    "c71802" "9201" "c713032d343030303030303030303030303030303030"  # a tuple: 1, and a big int in hexadecimal
    "c71901" "92a7576972654b6579" "82a46e616d65a16ba66e756d62657202"  # a message: its name, its fields
    "c70c04" "92a757697265457272a24f4b"  # an enum: its name, its member
    "c70605" "919201c40178"  # a dict with a key that is no string
    "82a173cb3ff8000000000000a16ec0"  # a dict
)  # fmt: skip


@given(values)
@settings(CALM, max_examples=100)
def test_a_decoded_value_shares_no_object_with_the_first(value: Any) -> None:
    ours = {id(part) for part in mutable_parts(value)}
    theirs = mutable_parts(decode(encode(value)))
    assert not ours.intersection(map(id, theirs))
    assert len({id(part) for part in theirs}) == len(theirs)


def test_two_references_to_one_list_become_two_lists() -> None:
    shared = [1]
    first, second = decode(encode([shared, shared]))
    first.append(2)
    assert second == [1]


# ------------------------------------------------------------------ without classes


@given(values)
@settings(CALM, max_examples=200)
def test_the_judge_sees_every_message_without_its_class(value: Any) -> None:
    assert exact(decode_record(encode(value))) == exact(without_classes(value))


@given(values)
@settings(CALM, max_examples=200)
def test_a_record_encodes_to_the_bytes_it_came_from(value: Any) -> None:
    data = encode(value)
    assert encode(decode_record(data)) == data


@given(values)
@settings(CALM, max_examples=200)
def test_shared_records_are_equal_to_fresh_ones(value: Any) -> None:
    data = encode(WirePair(value))
    assert exact(decode_shared_record(data)) == exact(decode_record(data))


def test_equal_entries_of_two_messages_are_one_shared_record() -> None:
    entries = [LogEntry(1, "x"), LogEntry(1, "y")]
    first = decode_shared_record(encode(AppendEntriesArgs(1, 0, 0, 0, entries[:1], 0)))
    second = decode_shared_record(encode(AppendEntriesArgs(1, 0, 0, 0, entries, 0)))
    assert second.entries[0] is first.entries[0]
    assert second.entries[1] == Record("LogEntry", {"term": 1, "command": "y"})


def test_a_record_shows_its_fields_as_attributes() -> None:
    record = decode_record(encode(WirePair(first=[WireErr.OK], second=(1,))))
    assert (record.type_name, record.first, record.second) == ("WirePair", [EnumRecord("WireErr", "OK")], (1,))
    assert repr(record) == "WirePair(first=[WireErr.OK], second=(1,))"
    with pytest.raises(AttributeError, match="message WirePair has no field third"):
        _ = record.third


def test_a_record_is_read_without_any_registration(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(WirePair(WireColor.RED))
    monkeypatch.setattr(codec, "_process_registry", Registry())
    assert decode_record(data) == Record("WirePair", {"first": EnumRecord("WireColor", "RED"), "second": None})
    with pytest.raises(
        CodecError, match=r"message type WireColor is not registered here; mark its class with @message"
    ):
        decode(data)


def test_a_host_decodes_into_its_own_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(WireKey("k", 1))
    host = types.SimpleNamespace(registry=Registry())
    monkeypatch.setattr(context, "current", host)
    with pytest.raises(CodecError, match="message type WireKey is not registered here"):
        decode(data)

    @message
    @dataclasses.dataclass
    class WireKeyOfTheHost:
        name: str
        number: int

    host.registry.types["WireKey"] = WireKeyOfTheHost
    assert decode(data) == WireKeyOfTheHost("k", 1)


# ------------------------------------------------------------------ what cannot travel

SIMPLE = "does not travel; send a @message dataclass, or None, bool, int, float, str, bytes, list, tuple, dict"


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ({1}, "set does not travel; use a sorted list"),
        (frozenset({1}), "frozenset does not travel; use a sorted tuple"),
        (OrderedSet([1]), "set does not travel; use a sorted list"),
        (OrderedFrozenSet([1]), "frozenset does not travel; use a sorted tuple"),
        (MySet(), "set does not travel; use a sorted list"),
        (bytearray(b"x"), "bytearray does not travel; use bytes"),
        (memoryview(b"x"), "memoryview does not travel; use bytes"),
        (PlainData(1), "PlainData is not registered; mark the class with @message"),
        (PlainChild(1), "PlainChild is not registered; mark the class with @message"),
        (PlainEnum.ONE, "PlainEnum is not registered; mark the class with @message"),
        (NamedPair(1, 2), f"NamedPair {SIMPLE}"),
        (MyInt(1), f"MyInt {SIMPLE}"),
        (MyStr("x"), f"MyStr {SIMPLE}"),
        (MyList(), f"MyList {SIMPLE}"),
        (MyDict(), f"MyDict {SIMPLE}"),
        (collections.OrderedDict(), f"OrderedDict {SIMPLE}"),
        (1j, f"complex {SIMPLE}"),
        (object(), f"object {SIMPLE}"),
        (test_an_enums_alias_travels_as_the_member_it_stands_for, f"function {SIMPLE}"),
        (WirePair, f"type {SIMPLE}"),
        (range(3), f"range {SIMPLE}"),
        ({}.keys(), f"dict_keys {SIMPLE}"),
    ],
    ids=lambda value: "" if type(value) is str else type(value).__name__,
)
def test_what_cannot_travel_is_named_with_its_fix(value: object, error: str) -> None:
    with pytest.raises(CodecError) as caught:
        encode(value)
    assert str(caught.value) == f"cannot encode value: {error}"


ENTRIES = [LogEntry(1, "a"), LogEntry(1, "b"), LogEntry(2, "c"), LogEntry(2, {"x"})]


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (AppendEntriesArgs(2, 0, 0, 0, ENTRIES, 0), "AppendEntriesArgs.entries[3].command"),
        ([1, [object()]], "value[1][0]"),
        ((1, {"k": object()}), "value[1]['k']"),
        ({(1, object()): 2}, "value key[1]"),
        ({1: object(), (2, object()): 3}, "value[1]"),
        (WirePair({"a": [WireKey(object())]}), "WirePair.first['a'][0].name"),
        ([Record("Anything", {"a": 1}), EnumRecord("Any", "X"), object()], "value[2]"),
        (Record("Anything", {"a": [object()]}), "Anything.a[0]"),
        ([2**70, -(2**70), WireErr.OK, None, object()], "value[4]"),
    ],
    ids=["raft", "list", "dict", "key", "second-key", "message", "after-a-record", "in-a-record", "after-plain-values"],
)
def test_the_error_names_the_place(value: object, place: str) -> None:
    with pytest.raises(CodecError) as caught:
        encode(value)
    assert str(caught.value).startswith(f"cannot encode {place}: ")


@given(values, st.randoms(use_true_random=False))
@settings(CALM)
def test_one_bad_part_anywhere_is_found_and_named(value: Any, random: Any) -> None:
    bad = {1}
    spots = [part for part in mutable_parts(value) if isinstance(part, (list, dict))]
    whole = [value, bad]
    if spots:
        spot = random.choice(spots)
        if isinstance(spot, list):
            spot.insert(random.randint(0, len(spot)), bad)
        else:
            spot["bad"] = bad
    with pytest.raises(CodecError, match=r"^cannot encode value\[[01]\].*: set does not travel; use a sorted list$"):
        encode(whole)


def test_a_lone_surrogate_cannot_travel() -> None:
    with pytest.raises(CodecError, match="surrogates not allowed"):
        encode(["\ud800"])


def test_a_message_that_lost_a_field_cannot_travel() -> None:
    value = WirePair(1)
    del value.first
    with pytest.raises(CodecError, match=r"cannot encode a message without all of its fields: .*'first'"):
        encode(value)


def loop_of_lists() -> object:
    value: list[Any] = []
    value.append(value)
    return value


def loop_of_dicts() -> object:
    value: dict[Any, Any] = {}
    value[1] = value
    return value


def loop_of_messages() -> object:
    value = WirePair(None)
    value.second = [value]
    return value


@pytest.mark.parametrize("make", [loop_of_lists, loop_of_dicts, loop_of_messages])
def test_a_value_that_contains_itself_is_an_error(make: Any) -> None:
    with pytest.raises(CodecError, match="nested more than 100 deep or contains itself"):
        encode(make())


@pytest.mark.parametrize("kind", ["list", "tuple", "dict", "keys", "message"])
def test_what_can_be_encoded_can_be_decoded_however_deep(kind: str) -> None:
    deepest = nested(kind, LEVELS)
    data = encode(deepest)
    assert exact(decode(data)) == exact(deepest)
    assert encode(decode_record(data)) == data
    for levels in (LEVELS + 1, 10 * LEVELS, 100 * LEVELS):
        with pytest.raises(CodecError, match="nested more than 100 deep or contains itself"):
            encode(nested(kind, levels))


def test_deep_nesting_behind_a_bad_part_does_not_hide_it() -> None:
    with pytest.raises(CodecError, match=r"cannot encode value\[0\]: set"):
        encode([{1}, nested("list", 10 * LEVELS)])


# ------------------------------------------------------------------ registration


def test_two_messages_of_one_name_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "_process_registry", Registry())
    first = dataclasses.make_dataclass("WireTwice", ["a"], namespace={"__qualname__": "one.WireTwice"})
    second = dataclasses.make_dataclass("WireTwice", ["a"], namespace={"__qualname__": "two.WireTwice"})
    message(first)
    with pytest.raises(
        UsageError, match=r"two messages are named WireTwice: .*one\.WireTwice and .*two\.WireTwice; rename one"
    ):
        message(second)


def test_a_class_that_is_executed_again_replaces_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "_process_registry", Registry())
    first, second = (message(dataclasses.make_dataclass("WireAgain", ["a"])) for _ in range(2))
    assert type(decode(encode(first(1)))) is second


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: type("Bare", (), {}), "@message needs a dataclass or an enum: put @dataclass under @message on Bare"),
        (lambda: type("Heir", (WirePair,), {}), "put @dataclass under @message on Heir"),
        (
            lambda: dataclasses.make_dataclass("Hidden", [("x", int, dataclasses.field(init=False))]),
            "field x of message Hidden has init=False and could not be decoded",
        ),
        (
            lambda: dataclasses.make_dataclass("Given", [("x", dataclasses.InitVar[int])]),
            "InitVar x of message Given is not kept and could not be decoded",
        ),
        (lambda: enum.Flag("Bits", "A B"), "a combination of Bits has no name; send an int"),
        (lambda: enum.IntFlag("IntBits", "A B"), "a combination of IntBits has no name; send an int"),
    ],
    ids=["no-dataclass", "heir-of-a-message", "init-false", "init-var", "flag", "int-flag"],
)
def test_a_class_that_could_not_be_decoded_is_refused(make: Any, error: str) -> None:
    with pytest.raises(UsageError) as caught:
        message(make())
    assert error in str(caught.value)


# ------------------------------------------------------------------ damage

odd_parts = st.one_of(
    st.text(max_size=3),
    st.integers(-(2**63), 2**64 - 1),
    st.sampled_from(["WirePair", "WireColor", "WireStrict", "WireBox", "RED"]),
    st.dictionaries(
        st.sampled_from(["first", "items", "content", "value", "names"]), st.integers(0, 9) | st.text(max_size=2)
    ),
)
odd_contents = st.one_of(
    st.binary(max_size=20), values.map(encode), st.lists(odd_parts, max_size=4).map(msgspec.msgpack.encode)
)


def read_both_ways(data: bytes) -> None:
    for read in (decode, decode_record):
        with contextlib.suppress(CodecError):
            read(data)


@given(st.binary(max_size=80))
@settings(CALM, max_examples=500)
@example(b"")
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\xdf\xff\xff\xff\xff")
@example(b"\xc9\xff\xff\xff\xff\x01")
@example(b"\x91" * 100_000)
@example(b"\x81\xa1a" * 100_000)
@example(b"\xa2\xff\xff")
def test_random_bytes_give_a_value_or_a_codec_error(data: bytes) -> None:
    read_both_ways(data)


@given(st.integers(-128, 127), odd_contents)
@settings(CALM, max_examples=500)
def test_extensions_with_odd_contents_give_a_value_or_a_codec_error(code: int, content: bytes) -> None:
    read_both_ways(extension(code, content))


@given(values, st.data())
@settings(CALM, max_examples=500)
def test_a_flipped_bit_gives_a_value_or_a_codec_error(value: Any, data: Any) -> None:
    damaged = bytearray(encode([value, WireStrict([1])]))
    for _ in range(data.draw(st.integers(1, 3))):
        bit = data.draw(st.integers(0, 8 * len(damaged) - 1))
        damaged[bit // 8] ^= 1 << bit % 8
    read_both_ways(bytes(damaged))


@given(values)
@settings(CALM, max_examples=50)
def test_bytes_that_are_cut_short_or_too_long_are_an_error(value: Any) -> None:
    data = encode(value)
    for damaged in (data[:-1], data[: len(data) // 2], data + b"\xc0"):
        with pytest.raises(CodecError, match=r"damaged message of \d+ bytes"):
            decode(damaged)


def test_bytes_that_are_nested_too_deeply_are_an_error() -> None:
    data = b"\xc0"
    for _ in range(3000):
        data = extension(TUPLE, b"\x91" + data)
    for read in (decode, decode_record):
        with pytest.raises(CodecError, match=r"message of \d+ bytes is nested too deeply"):
            read(data)


@pytest.mark.parametrize(
    ("code", "content", "error"),
    [
        (MESSAGE, ["WirePair", {"nope": 1}], "message WirePair does not fit its class"),
        (MESSAGE, ["WirePair", {}], "message WirePair does not fit its class"),
        (MESSAGE, ["WirePair", {1: 2}], "message WirePair does not fit its class"),
        (MESSAGE, ["WirePair", 3], "message WirePair does not fit its class"),
        (
            MESSAGE,
            ["WireStrict", {"items": 3}],
            "message WireStrict does not fit its class: 'int' object has no attribute",
        ),
        (MESSAGE, ["Nobody", {}], "message type Nobody is not registered here"),
        (MESSAGE, ["WirePair"], "malformed message"),
        (MESSAGE, [[], {}], "malformed message"),
        (ENUM, ["WireColor", "BLUE"], "enum WireColor has no member BLUE"),
        (ENUM, ["WireColor", []], "malformed message"),
        (ENUM, ["WirePair", "first"], "message type WirePair is no enum here"),
        (ENUM, ["WireBox", "content"], "message type WireBox is no enum here"),
        (DICT, [[[1], 2]], "malformed message"),
        (DICT, 7, "malformed message"),
        (TUPLE, 7, "malformed message"),
        (99, [], "unknown extension type 99"),
    ],
    ids=lambda value: None if isinstance(value, str) else "",
)
def test_damage_is_described(code: int, content: Any, error: str) -> None:
    with pytest.raises(CodecError) as caught:
        decode(extension(code, msgspec.msgpack.encode(content)))
    assert error in str(caught.value)


def test_a_big_int_of_odd_digits_is_an_error() -> None:
    for digits in (b"", b"zz", b"\xff", b"--1"):
        with pytest.raises(CodecError, match="malformed message"):
            decode(extension(BIG_INT, digits))


@pytest.mark.parametrize("data", [None, "text", 5, [b"x"]], ids=repr)
def test_only_bytes_are_decoded(data: Any) -> None:
    with pytest.raises(CodecError, match=f"decode takes bytes, not {type(data).__name__}"):
        decode(data)


def test_any_bytes_like_object_is_decoded() -> None:
    data = encode([1])
    assert decode(bytearray(data)) == decode(memoryview(data)) == [1]
