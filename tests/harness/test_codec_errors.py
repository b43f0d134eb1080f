"""The wire: which error names what cannot travel, and damaged bytes."""

from __future__ import annotations

import collections
import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from labrpc.codec import (
    CodecError,
    EnumRecord,
    Record,
    decode,
    decode_record,
    encode,
)
from labrpc.virtual.sets import OrderedFrozenSet, OrderedSet
from raft import AppendEntriesArgs, LogEntry
from tests.harness.wire import (
    BIG_INT,
    CALM,
    DICT,
    ENUM,
    LEVELS,
    MESSAGE,
    TUPLE,
    MyDict,
    MyInt,
    MyList,
    MySet,
    MyStr,
    NamedPair,
    PlainChild,
    PlainData,
    PlainEnum,
    WireErr,
    WireKey,
    WirePair,
    WireStrict,
    exact,
    extension,
    mutable_parts,
    nested,
    values,
)

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
        (exact, f"function {SIMPLE}"),
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
