"""The wire: what round-trips exactly, what the judge sees without classes, and which classes are refused."""

from __future__ import annotations

import dataclasses
import enum
import struct
import types
from typing import Any

import pytest
from hypothesis import given, settings

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
from raft import AppendEntriesArgs, LogEntry
from tests.harness.wire import (
    CALM,
    EDGES,
    FLOATS,
    WireColor,
    WireErr,
    WireKey,
    WireLevel,
    WirePair,
    WireSlots,
    exact,
    mutable_parts,
    values,
    without_classes,
)

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
