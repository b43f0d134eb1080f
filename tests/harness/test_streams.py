"""Random decisions: each a pure function of seed, stream and number, and overriding one moves no other."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labrpc.errors import UsageError
from labrpc.ledger import Ledger
from labrpc.streams import Events, Stream, Streams

CALM = settings(deadline=None)

seeds = st.integers(0, 2**80)
names = st.sampled_from(["drop", "delay", "0->1/drop", "stall/gap", "é"]) | st.text(max_size=8)
numbers = st.integers(0, 1000)
bounds = st.integers(1, 2**40)


def first(stream: Stream, count: int = 8, bound: int = 1000) -> list[int]:
    return [stream.at(n, bound) for n in range(count)]


# ------------------------------------------------------------------ a pure function


@given(seeds, names, st.lists(st.tuples(numbers, bounds), max_size=20), st.randoms(use_true_random=False))
@settings(CALM)
def test_a_decision_does_not_depend_on_what_was_asked_before(
    seed: int, name: str, asked: list[tuple[int, int]], shuffler: random.Random
) -> None:
    stream = Streams(seed).stream(name)
    answers = {question: stream.at(*question) for question in asked}
    again = list(answers)
    shuffler.shuffle(again)
    other = Streams(seed).stream(name)
    for question in again:
        assert other.at(*question) == answers[question]


@given(seeds, names, st.lists(bounds, max_size=20))
@settings(CALM)
def test_drawing_takes_the_decisions_in_order(seed: int, name: str, asked: list[int]) -> None:
    stream = Streams(seed).stream(name)
    drawn = [stream.draw(bound) for bound in asked]
    assert stream.count == len(asked)
    assert drawn == [Streams(seed).stream(name).at(n, bound) for n, bound in enumerate(asked)]


def test_streams_of_one_tree_do_not_disturb_each_other() -> None:
    alone = Streams(7).stream("a")
    expected = [alone.draw(100) for _ in range(20)]
    streams = Streams(7)
    a, b = streams.stream("a"), streams.stream("b")
    mixed = []
    for n in range(20):
        for _ in range(n % 3):
            b.draw(100)
        mixed.append(a.draw(100))
    assert mixed == expected


def test_a_stream_asked_for_twice_starts_again_at_decision_0() -> None:
    streams = Streams(1)
    one = streams.stream("s")
    drawn = [one.draw(1000) for _ in range(5)]
    assert [streams.stream("s").draw(1000), *drawn[1:]] == drawn


# ------------------------------------------------------------------ overrides


@given(seeds, names, numbers, numbers, bounds, st.integers(-(2**70), 2**70))
@settings(CALM)
def test_overriding_one_decision_moves_no_other(
    seed: int, name: str, n: int, other: int, bound: int, value: int
) -> None:
    plain = Streams(seed).sub("net")
    forced = Streams(seed, {(f"net/{name}", n): value}).sub("net")
    assert forced.stream(name).at(n, bound) == min(max(value, 0), bound - 1)
    if other != n:
        assert forced.stream(name).at(other, bound) == plain.stream(name).at(other, bound)
    assert forced.stream(f"{name}x").at(n, bound) == plain.stream(f"{name}x").at(n, bound)
    assert forced.sub("x").stream(name).at(n, bound) == plain.sub("x").stream(name).at(n, bound)
    assert forced.key == plain.key


def test_an_overridden_decision_is_drawn_in_its_turn() -> None:
    plain, forced = Streams(3).stream("s"), Streams(3, {("s", 2): 5}).stream("s")
    drawn = [plain.draw(1000) for _ in range(6)]
    assert [forced.draw(1000) for _ in range(6)] == [*drawn[:2], 5, *drawn[3:]]


def test_an_override_names_the_stream_in_full() -> None:
    overrides = {("host/2/stall/gap", 0): 0, ("stall/gap", 0): 1, ("2/stall/gap", 0): 2}
    streams = Streams(5, overrides)
    assert streams.sub("host/2").stream("stall/gap").at(0, 10**9) == 0
    assert streams.sub("host").sub("2").stream("stall/gap").at(0, 10**9) == 0
    assert streams.sub("host/3").stream("stall/gap").at(0, 10**9) > 2


def test_a_host_that_is_given_its_key_path_and_overrides_decides_alike() -> None:
    overrides = {("host/2/disk/latency", 1): 42}
    ours = Streams(9, overrides).sub("host/2")
    theirs = Streams(ours.key, overrides, path=ours.path)
    assert theirs.stream("disk/latency").name == "host/2/disk/latency"
    assert first(theirs.stream("disk/latency")) == first(ours.stream("disk/latency"))
    assert theirs.stream("disk/latency").at(1, 1000) == 42


# ------------------------------------------------------------------ weather and events


@given(seeds, names, st.lists(st.tuples(numbers, bounds), max_size=20))
@settings(CALM)
def test_weather_draws_what_a_stream_of_its_name_draws_recorded_or_not(
    seed: int, name: str, asked: list[tuple[int, int]]
) -> None:
    plain, recorded = Streams(seed), Streams(seed, ledger=Ledger())
    for question in asked:
        drawn = plain.stream(name).at(*question)
        assert drawn == plain.weather(name).at(*question) == recorded.weather(name).at(*question)


def test_in_the_calm_weather_is_0_but_for_its_overrides_and_all_else_is_as_drawn() -> None:
    calm = Streams(4, {("net/delay", 2): 7}, calm=True)
    assert first(calm.sub("net").weather("delay"), 5) == [0, 0, 7, 0, 0]
    assert first(calm.sub("net").weather("drop"), 5) == [0] * 5
    assert first(calm.sub("host").stream("random")) == first(Streams(4).sub("host").stream("random"))


def test_a_ledger_holds_what_changes_something_once_and_nothing_of_plain_streams() -> None:
    ledger = Ledger()
    ledger.clock = lambda: 42
    streams = Streams(4, {("net/drop", 0): 899, ("net/drop", 1): 900, ("net/drop", 2): 0}, ledger=ledger).sub("net")
    drop = streams.weather("drop")
    for number in (0, 1, 2, 1):
        drop.at(number, 1000, 900)
    streams.stream("latency").at(0, 1000)
    assert [tuple(decision) for decision in ledger] == [("net/drop", 1, 900, 42, "")]


def test_events_are_numbered_by_kind_also_where_they_are_left_out() -> None:
    ledger = Ledger()
    events = Events(Streams(4, {("event/crash", 1): 0}, ledger=ledger))
    asked = [
        events.happens(kind, detail) for kind, detail in (("crash", "0"), ("cut", ""), ("crash", "1"), ("crash", "2"))
    ]
    assert asked == [True, True, False, True]
    assert [(decision.stream, decision.number, decision.detail) for decision in ledger] == [
        ("event/crash", 0, "0"),
        ("event/cut", 0, ""),
        ("event/crash", 2, "2"),
    ]


def test_in_the_calm_only_the_events_that_are_named_happen() -> None:
    events = Events(Streams(4, {("event/crash", 1): 1}, calm=True))
    assert [events.happens("crash") for _ in range(3)] == [False, True, False]


def test_a_subtree_knows_its_own_overrides() -> None:
    streams = Streams(4, {("host/2/a", 1): 5, ("host/20/a", 1): 6, ("net/a", 0): 7})
    assert streams.sub("host/2").overrides() == [("host/2/a", 1, 5)]
    assert len(streams.overrides()) == 3


# ------------------------------------------------------------------ range and spread


@given(seeds, names, numbers, bounds)
@settings(CALM)
def test_a_decision_is_in_its_range(seed: int, name: str, n: int, bound: int) -> None:
    assert 0 <= Streams(seed).stream(name).at(n, bound) < bound


def test_a_bound_of_1_leaves_no_choice() -> None:
    assert first(Streams(1).stream("s"), bound=1) == [0] * 8


@pytest.mark.parametrize("bound", [2, 3, 10, 1000])
def test_decisions_of_a_stream_are_spread_evenly(bound: int) -> None:
    stream = Streams(11).stream("s")
    buckets = min(bound, 10)
    counts = Counter(stream.at(n, bound) * buckets // bound for n in range(20_000))
    assert sorted(counts) == list(range(buckets))
    assert all(abs(count - 20_000 / buckets) < 600 for count in counts.values())


def test_the_first_decisions_of_many_seeds_are_spread_evenly() -> None:
    counts = Counter(Streams(seed).stream("s").at(0, 10) for seed in range(5_000))
    assert all(abs(counts[value] - 500) < 150 for value in range(10))


def test_neighbouring_decisions_are_independent() -> None:
    stream = Streams(13).stream("s")
    pairs = Counter((stream.at(n, 4), stream.at(n + 1, 4)) for n in range(16_000))
    assert all(abs(count - 1000) < 200 for count in pairs.values())
    assert len(pairs) == 16


# ------------------------------------------------------------------ keys


def test_streams_seeds_and_subtrees_all_differ() -> None:
    found = {
        tuple(first(stream, bound=2**60))
        for seed in (0, 1, 2, 256, 2**64 - 1, 2**64, 2**64 + 1, 2**200)
        for streams in (Streams(seed), Streams(seed).sub("a"), Streams(seed).sub("b"), Streams(seed).sub("a").sub("a"))
        for stream in (streams.stream("a"), streams.stream("b"), streams.stream("a/a"), streams.stream(""))
    }
    assert len(found) == 8 * 4 * 4


def test_a_subtrees_key_is_not_its_parents() -> None:
    root = Streams(1)
    keys = [root.key, root.sub("a").key, root.sub("b").key, root.sub("a").sub("a").key, root.sub("a/a").key]
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 16 for key in keys)
    assert root.sub("a").key == Streams(1).sub("a").key


def test_a_subtrees_key_cannot_be_had_from_a_siblings() -> None:
    mine = Streams(1).sub("host/1")
    assert Streams(mine.key, path="").sub("host/2").key != Streams(1).sub("host/2").key


# ------------------------------------------------------------------ the same on every machine

GOLDEN = [
    (0, "", "s", [10038, 949467, 930670, 173379]),
    (1, "net", "0->1/drop", [707077, 471628, 325156, 564182]),
    (42, "host/2", "stall/gap", [29160, 559572, 667150, 228748]),
    (2**64 + 5, "host/c0", "random", [364696, 105397, 956344, 982922]),
]


@pytest.mark.parametrize(
    ("seed", "sub", "name", "expected"), GOLDEN, ids=[f"{seed}-{name}" for seed, _, name, _ in GOLDEN]
)
def test_every_machine_and_version_draws_these(seed: int, sub: str, name: str, expected: list[int]) -> None:
    streams = Streams(seed).sub(sub) if sub else Streams(seed)
    assert [streams.stream(name).at(n, 1_000_000) for n in (0, 1, 2, 1000)] == expected


def test_every_machine_and_version_derives_these_keys() -> None:
    assert Streams(0).key.hex() == "cdbd751c4b2f705f5a4edeae2f57b45e"
    assert Streams(42).sub("host/2").key.hex() == "f6816fb3c3d7c28b90f1ac6db3c458df"


@pytest.mark.parametrize("seed", [-1, -(2**64)])
def test_a_negative_seed_is_an_error(seed: int) -> None:
    with pytest.raises(UsageError, match=f"a seed is 0 or more, not {seed}"):
        Streams(seed)
