"""The journal: every event comes back in order, memory is bounded, and the hash says whether two runs are the same."""

from __future__ import annotations

import io
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labrpc import journal as journal_module
from labrpc.journal import (
    UNHASHED,
    VERSION,
    Annotated,
    AnnotationEnded,
    Applied,
    Booted,
    Controlled,
    Delivered,
    Dropped,
    Event,
    Faulted,
    Journal,
    Printed,
    Reported,
    Returned,
    Saved,
    Saving,
    Sent,
    Stopped,
)

CALM = settings(deadline=None)

EVENTS = [
    Booted(0, "0", 1, 10, 20),
    Sent(1, 1, 0, "0", 1, "1", "Raft.request_vote", b"\x00payload"),
    Delivered(2, 1),
    Saving(3, "1", 1, 10, -1, 7),
    Saved(4, "1", 1),
    Sent(5, 2, 1, "1", 1, "0", "Raft.request_vote", b""),
    Dropped(6, 2, "lost"),
    Applied(7, "0", b"message"),
    Controlled(8, "0", 1, "start", b"arguments"),
    Returned(9, "0", 1, b"result"),
    Faulted(10, "cut", "0->1"),
    Printed(11, "0", "main", "a line, café"),
    Annotated(12, "0", "vote", "for 1", 1, True),
    AnnotationEnded(12, "0", 1),
    Reported(13, "", "died", "a thread died", "raft/raft.py:1", "Traceback"),
    Stopped(14, "0", 1, "crash"),
]
"""One of each kind."""

HASHED = [event for event in EVENTS if not isinstance(event, UNHASHED)]

SPILLS = [0, 1, 50, 64 << 20]


def strategy_of(kind: Any) -> Any:
    by_type = {
        int: st.integers(-(2**63), 2**63 - 1),
        str: st.text(max_size=5),
        bytes: st.binary(max_size=40),
        bool: st.booleans(),
    }
    hints = {field.name: field.type for field in msgspec.structs.fields(kind)}
    return st.builds(kind, **{name: by_type[hint] for name, hint in hints.items()})


kinds = [type(event) for event in EVENTS]
events = st.one_of([strategy_of(kind) for kind in kinds])


@pytest.fixture(autouse=True)
def _few_events_a_hash_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "_HASH_CHUNKS", 3)


def filled(contents: list[Any], *, spill_bytes: int = 64 << 20) -> Journal:
    journal = Journal(spill_bytes=spill_bytes)
    for event in contents:
        journal.append(event)
    return journal


def written(journal: Journal) -> bytes:
    file = io.BytesIO()
    journal.write(file)
    return file.getvalue()


def unended(journal: Journal) -> bytes:
    """As `written`, but the mark of the end is not there yet."""
    return written(journal)[:-4]


def framed(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


# ------------------------------------------------------------------ what goes in comes out


def test_the_examples_are_of_every_kind() -> None:
    assert set(kinds) == set(Event.__args__)
    public = {getattr(journal_module, name) for name in journal_module.__all__}
    assert set(kinds) == public - {Event, Journal, UNHASHED, VERSION}


@given(st.lists(events, max_size=20), st.sampled_from(SPILLS))
@settings(CALM)
def test_events_come_back_in_order_and_unchanged(contents: list[Any], spill_bytes: int) -> None:
    journal = filled(contents, spill_bytes=spill_bytes)
    assert list(journal) == contents
    assert [type(event) for event in journal] == [type(event) for event in contents]
    assert len(journal) == len(contents)
    journal.close()


@pytest.mark.parametrize("spill_bytes", SPILLS)
def test_events_can_be_appended_between_two_readings(spill_bytes: int) -> None:
    journal = Journal(spill_bytes=spill_bytes)
    for n, event in enumerate(EVENTS):
        journal.append(event)
        assert list(journal) == EVENTS[: n + 1]
    journal.close()


@pytest.mark.parametrize("spill_bytes", SPILLS)
def test_two_readers_do_not_disturb_each_other(spill_bytes: int) -> None:
    journal = filled(EVENTS, spill_bytes=spill_bytes)
    assert list(zip(journal, journal, strict=True)) == list(zip(EVENTS, EVENTS, strict=True))
    journal.close()


@pytest.mark.parametrize("spill_bytes", SPILLS)
def test_a_reader_sees_what_is_appended_while_it_reads(spill_bytes: int) -> None:
    journal = filled(EVENTS[:3], spill_bytes=spill_bytes)
    rest = iter(EVENTS[3:])
    seen = []
    for event in journal:
        seen.append(event)
        for late in (next(rest, None), next(rest, None)):
            if late is not None:
                journal.append(late)
    assert seen == EVENTS
    journal.close()


def test_little_stays_in_memory() -> None:
    journal = Journal(spill_bytes=1000)
    most = 0
    for n in range(5000):
        journal.append(Dropped(n, n, "x" * 50))
        most = max(most, sum(len(chunk) for chunk in journal._chunks))
    assert most <= 1000
    assert [event.at for event in journal] == list(range(5000))
    journal.close()


def test_listeners_get_each_event_as_it_is_appended() -> None:
    journal = Journal(spill_bytes=0)
    heard: list[tuple[str, Any, int]] = []
    journal.listeners.append(lambda event: heard.append(("first", event, len(journal))))
    journal.listeners.append(lambda event: heard.append(("second", event, len(list(journal)))))
    for event in EVENTS[:2]:
        journal.append(event)
    assert heard == [
        ("first", EVENTS[0], 1),
        ("second", EVENTS[0], 1),
        ("first", EVENTS[1], 2),
        ("second", EVENTS[1], 2),
    ]
    journal.close()


def test_close_frees_the_file_and_twice_is_fine() -> None:
    journal = filled(EVENTS, spill_bytes=0)
    file = journal._file
    assert file is not None
    digest = journal.digest()
    journal.close()
    journal.close()
    assert file.closed
    assert list(journal) == []
    assert journal.digest() == digest


# ------------------------------------------------------------------ the hash


@given(st.lists(events, max_size=20), st.sampled_from(SPILLS))
@settings(CALM)
def test_the_hash_does_not_depend_on_spilling(contents: list[Any], spill_bytes: int) -> None:
    journal = filled(contents, spill_bytes=spill_bytes)
    assert journal.digest() == filled(contents).digest()
    journal.close()


@given(st.lists(events, max_size=20), st.lists(st.tuples(st.integers(0, 20), events), max_size=5))
@settings(CALM)
def test_the_hash_does_not_depend_on_output_notes_and_diagnoses(
    contents: list[Any], more: list[tuple[int, Any]]
) -> None:
    noisy = list(contents)
    for place, event in more:
        if isinstance(event, UNHASHED):
            noisy.insert(place, event)
    quiet = [event for event in contents if not isinstance(event, UNHASHED)]
    assert filled(noisy).digest() == filled(quiet).digest()


def test_the_hash_does_not_depend_on_when_it_is_asked_for() -> None:
    asked = Journal()
    for event in EVENTS:
        asked.append(event)
        asked.digest()
    assert asked.digest() == filled(EVENTS).digest()


@pytest.mark.parametrize("n", range(len(HASHED) - 1))
def test_the_hash_depends_on_the_order(n: int) -> None:
    swapped = [*HASHED[:n], HASHED[n + 1], HASHED[n], *HASHED[n + 2 :]]
    assert filled(swapped).digest() != filled(HASHED).digest()


FIELDS = [
    pytest.param(n, field.name, id=f"{type(event).__name__}.{field.name}")
    for n, event in enumerate(EVENTS)
    for field in msgspec.structs.fields(event)
]


@pytest.mark.parametrize(("n", "field"), FIELDS)
def test_the_hash_depends_on_every_field_of_a_hashed_event(n: int, field: str) -> None:
    value = getattr(EVENTS[n], field)
    more: Any = {int: 1, str: "x", bytes: b"x", bool: 1}[type(value)]
    changed = msgspec.structs.replace(EVENTS[n], **{field: value + more})
    same = filled([*EVENTS[:n], changed, *EVENTS[n + 1 :]]).digest() == filled(EVENTS).digest()
    assert same == isinstance(EVENTS[n], UNHASHED)


def test_the_hash_depends_on_the_kind_and_the_number_of_events() -> None:
    alike = [Saved(1, "0", 2), Booted(1, "0", 2, 0, 0), Delivered(1, 2), Dropped(1, 2, "")]
    digests = {filled([event]).digest() for event in alike} | {filled(alike[:n]).digest() for n in (0, 2, 3)}
    digests.add(filled([alike[0], alike[0]]).digest())
    assert len(digests) == 8


def test_the_hash_is_the_same_on_every_machine() -> None:
    assert filled(EVENTS).digest() == "c14c373b14b62f4c6c4e43477f9a88c3"
    assert filled([]).digest() == "cae66941d9efbd404e4d88758ea67670"


# ------------------------------------------------------------------ files


@given(st.lists(events, max_size=20), st.sampled_from(SPILLS))
@settings(CALM)
def test_what_is_written_is_read_back(contents: list[Any], spill_bytes: int) -> None:
    journal = filled(contents, spill_bytes=spill_bytes)
    data = written(journal)
    read = Journal.read(io.BytesIO(data))
    assert list(read) == contents
    assert read.digest() == journal.digest()
    assert written(read) == data
    journal.close()


def test_a_file_that_is_cut_short_is_an_error_that_says_where() -> None:
    data = written(filled(EVENTS[:3]))
    ends = [len(unended(filled(EVENTS[:n]))) for n in range(1, 4)]
    for size in range(len(data)):
        whole = sum(end <= size for end in ends)
        with pytest.raises(ValueError, match=f"the journal is cut short after {whole} events"):
            Journal.read(io.BytesIO(data[:size]))


def test_what_is_whole_of_a_file_that_is_cut_short_can_be_had() -> None:
    data = written(filled(EVENTS[:3]))
    ends = [len(unended(filled(EVENTS[:n]))) for n in range(1, 4)]
    for size in range(len(data)):
        journal = Journal.read(io.BytesIO(data[:size]), partial=True)
        assert list(journal) == EVENTS[: sum(end <= size for end in ends)]
        assert journal.cut_short
    whole = Journal.read(io.BytesIO(data), partial=True)
    assert (list(whole), whole.cut_short) == (EVENTS[:3], False)


def test_the_file_names_its_format_and_version() -> None:
    assert written(filled([])) == b"raftlab-journal 1\n\0\0\0\0"
    assert VERSION == 1


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("version", [2, 10, 999])
def test_a_newer_journal_is_refused(version: int, partial: bool) -> None:
    newer = b"raftlab-journal %d\n" % version + framed(b"what nobody knows yet")
    with pytest.raises(ValueError, match=f"of version {version}; this raftlab reads up to version 1: update it"):
        Journal.read(io.BytesIO(newer), partial=partial)


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize(
    "data",
    [b"no journal at all\n", b"\0\0\0\0", b"raftlab-journal 0\n", b"raftlab-journal one\n", b"raftlab-journals",
     b'{"format": "raftlab-journal", "version": 1}\n', b"\n"],
)  # fmt: skip
def test_another_file_is_no_journal(data: bytes, partial: bool) -> None:
    with pytest.raises(ValueError, match="no journal: it begins with"):
        Journal.read(io.BytesIO(data), partial=partial)


def test_what_follows_the_end_is_an_error() -> None:
    with pytest.raises(ValueError, match="the journal ends after 2 events, but its file goes on"):
        Journal.read(io.BytesIO(written(filled(EVENTS[:2])) + b"\n"))


def test_a_damaged_journal_is_no_partial_one() -> None:
    with pytest.raises(ValueError, match="no journal event after 2 events"):
        Journal.read(io.BytesIO(unended(filled(EVENTS[:2])) + framed(b"text")), partial=True)


@pytest.mark.parametrize(
    "garbage",
    [
        b"no frame at all\n",
        b"\x00",
        framed(b"text"),
        framed(b"\xc0"),
        framed(msgspec.msgpack.encode(["Dropped", 1, 1])),
        framed(msgspec.msgpack.encode(["Dropped", 1, "one", "x"])),
        framed(msgspec.msgpack.encode(["Dropped", None, 1, "x"])),
        framed(msgspec.msgpack.encode(["Nothing", 1, 1, "x"])),
        framed(msgspec.msgpack.encode({"Dropped": 1})),
        framed(b"\x94\xa7Dropped\x01\x01\xa2\xff\xff"),
        framed(msgspec.msgpack.encode(["Dropped", 1, 1, "x"]) + b"\xc0"),
    ],
    ids=[
        "text", "one-byte", "text-event", "none", "too-few-fields", "wrong-type", "no-instant",
        "unknown-kind", "no-array", "no-utf-8", "too-long",
    ],
)  # fmt: skip
def test_garbage_is_an_error_that_says_where(garbage: bytes) -> None:
    for before in (0, 2):
        data = unended(filled(EVENTS[:before])) + garbage
        with pytest.raises(ValueError, match=f"after {before} events") as caught:
            Journal.read(io.BytesIO(data))
        assert type(caught.value) is ValueError


@given(st.binary(max_size=60), st.integers(0, 2))
@settings(CALM)
def test_any_other_bytes_give_a_journal_or_a_value_error(garbage: bytes, before: int) -> None:
    data = unended(filled(EVENTS[:before])) + garbage
    try:
        journal = Journal.read(io.BytesIO(data))
    except ValueError:
        return
    assert list(journal)[:before] == EVENTS[:before]


@given(st.integers(0, 10_000), st.integers(0, 7))
@settings(CALM)
def test_a_flipped_bit_gives_a_journal_or_a_value_error(place: int, bit: int) -> None:
    data = bytearray(written(filled(EVENTS)))
    data[place % len(data)] ^= 1 << bit
    try:
        Journal.read(io.BytesIO(data))
    except ValueError as error:
        assert re.search("after|no journal|of version", str(error))  # noqa: PT017
