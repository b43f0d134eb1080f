"""The network's policy: which messages pass, how late, what is counted, and that each decision stands alone."""

from __future__ import annotations

import itertools
import re
import statistics
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from labrpc.climate import Climate
from labrpc.errors import UsageError
from labrpc.network import Fate, Network
from labrpc.streams import Streams

CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

MS = 1_000_000
SECOND = 1_000 * MS
HOSTS = ["0", "1", "2", "3", "c0", "c1"]

hosts = st.sampled_from(HOSTS)


def network(seed: int = 1, overrides: dict[tuple[str, int], int] | None = None, **options: Any) -> Network:
    return Network(Streams(seed, overrides), **options)


def delays(net: Network, count: int, *, is_reply: bool = False, source: str = "0", target: str = "1") -> list[int]:
    """The delays of the messages that arrive, of `count` sent."""
    fates = [net.send(source, target, 100, is_reply=is_reply) for _ in range(count)]
    return [fate.delays[0] for fate in fates if fate.delays]


# ------------------------------------------------------------------ which links are open, against a model


class LinksAgainstModel(RuleBasedStateMachine):
    """Any sequence of faults, and messages between them: what passes is what a set of closed pairs says."""

    @initialize(seed=st.integers(0, 1000))
    def start(self, seed: int) -> None:
        self.net = network(seed)
        self.told: list[tuple[str, str]] = []
        self.net.listeners.append(lambda kind, detail: self.told.append((kind, detail)))
        self.isolated: set[str] = set()
        self.cuts: set[tuple[str, str]] = set()
        self.groups: list[set[str]] = []
        self.deleted: set[str] = set()
        self.sent: Counter[tuple[str, str]] = Counter()
        self.rpcs: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.expected_told = 0

    def passes(self, source: str, target: str) -> bool:
        if {source, target} & (self.isolated | self.deleted) or (source, target) in self.cuts:
            return False
        mine = [group for group in self.groups if source in group]
        theirs = [group for group in self.groups if target in group]
        return not mine or not theirs or mine == theirs

    @rule(host=hosts)
    def disconnect(self, host: str) -> None:
        self.net.disconnect(host)
        self.isolated.add(host)
        self.expected_told += 1

    @rule(host=hosts)
    def connect(self, host: str) -> None:
        self.net.connect(host)
        self.isolated -= {host}
        self.expected_told += 1

    @rule(sender=hosts, receiver=hosts)
    def cut(self, sender: str, receiver: str) -> None:
        self.net.cut(sender, receiver)
        self.cuts.add((sender, receiver))
        self.expected_told += 1

    @rule(sender=hosts, receiver=hosts)
    def mend(self, sender: str, receiver: str) -> None:
        self.net.mend(sender, receiver)
        self.cuts -= {(sender, receiver)}
        self.expected_told += 1

    @rule(sender=hosts, receiver=hosts, enabled=st.booleans())
    def enable(self, sender: str, receiver: str, enabled: bool) -> None:
        self.net.enable(sender, receiver, enabled)
        both = {(sender, receiver), (receiver, sender)}
        self.cuts = self.cuts - both if enabled else self.cuts | both
        self.expected_told += 2

    @rule(assigned=st.dictionaries(hosts, st.integers(0, 2)))
    def partition(self, assigned: dict[str, int]) -> None:
        groups = [{host for host, group in assigned.items() if group == number} for number in range(3)]
        self.net.partition(*groups)
        self.groups = groups
        self.expected_told += 1

    @rule(shared=hosts, others=st.sets(hosts))
    def partition_with_a_host_in_two_groups(self, shared: str, others: set[str]) -> None:
        with pytest.raises(UsageError, match=f"host {shared} is in two groups of the partition"):
            self.net.partition([shared], sorted(others - {shared}), [shared])

    @rule()
    def heal(self) -> None:
        self.net.heal()
        self.isolated, self.cuts, self.groups = set(), set(), []
        self.expected_told += 1

    @rule(host=st.sampled_from(HOSTS[:4]))
    def delete(self, host: str) -> None:
        self.net.delete_server(int(host))
        self.deleted.add(host)
        self.expected_told += 1

    @rule(host=st.sampled_from(HOSTS[:4]))
    def add(self, host: str) -> None:
        self.net.add_server(int(host))
        self.expected_told += host in self.deleted
        self.deleted -= {host}

    @rule(sender=hosts, receiver=hosts, size=st.integers(0, 500), is_reply=st.booleans())
    def send(self, sender: str, receiver: str, size: int, is_reply: bool) -> None:
        fate = self.net.send(sender, receiver, size, is_reply=is_reply)
        assert bool(fate.delays) == self.passes(sender, receiver)
        assert bool(fate.reason) != bool(fate.delays)
        assert fate.number == self.sent[sender, receiver]
        self.sent[sender, receiver] += 1
        if not is_reply and "c" not in sender + receiver:
            self.rpcs[receiver] += 1
        self.bytes[receiver] += size

    @invariant()
    def every_link_is_as_the_model_says(self) -> None:
        for source in HOSTS:
            for target in HOSTS:
                assert self.net.is_open(source, target) == self.passes(source, target)

    @invariant()
    def hosts_are_connected_as_the_model_says(self) -> None:
        for host in HOSTS:
            assert self.net.is_connected(host) == (host not in self.isolated | self.deleted)

    @invariant()
    def traffic_is_counted(self) -> None:
        assert (self.net.total.rpcs, self.net.total.bytes) == (self.rpcs.total(), self.bytes.total())
        for host in HOSTS:
            counts = self.net.counts(host)
            assert (counts.rpcs, counts.bytes) == (self.rpcs[host], self.bytes[host])

    @invariant()
    def every_fault_is_told(self) -> None:
        assert len(self.told) == self.expected_told


LinksAgainstModel.TestCase.settings = settings(CALM, max_examples=60, stateful_step_count=30)
TestLinksAgainstModel = LinksAgainstModel.TestCase


@pytest.mark.parametrize(
    ("close", "reason"),
    [
        (lambda net: net.delete_server(1), "1 is down"),
        (lambda net: net.disconnect(0), "0 is disconnected"),
        (lambda net: net.cut(0, 1), "0->1 is cut"),
        (lambda net: net.partition([0, 2], [1]), "partitioned"),
    ],
    ids=["deleted", "disconnected", "cut", "partitioned"],
)
def test_a_drop_says_why(close: Any, reason: str) -> None:
    net = network()
    close(net)
    assert net.send("0", "1", 10) == Fate(0, (), reason)


def test_a_cut_is_one_way() -> None:
    net = network()
    net.cut(0, 1)
    assert not net.send("0", "1", 10).delays
    assert net.send("1", "0", 10).delays


def test_hosts_in_no_group_reach_everybody() -> None:
    net = network()
    net.partition([0, 1], [2])
    assert all(net.is_open("c0", host) and net.is_open(host, "c0") for host in "012")
    assert not net.is_open("1", "2")


def test_a_deleted_server_survives_healing() -> None:
    net = network()
    net.delete_server(1)
    net.heal()
    assert not net.send("1", "0", 10, is_reply=True).delays
    net.add_server(1)
    assert net.send("1", "0", 10, is_reply=True).delays


def test_a_refused_partition_changes_nothing() -> None:
    net = network()
    net.partition([0], [1])
    with pytest.raises(UsageError, match="host 2 is in two groups"):
        net.partition([0, 2], [2, 1])
    assert net.is_open("0", "2")
    assert not net.is_open("0", "1")


# ------------------------------------------------------------------ latency


def test_a_quiet_link_takes_0_2_to_2_ms_on_average_and_differs_by_seed() -> None:
    averages = []
    for seed in range(200):
        net = network(seed)
        average = statistics.fmean(delays(net, 200))
        assert average == pytest.approx(net.latency_ns, rel=0.05)
        averages.append(net.latency_ns)
    assert 0.2 * MS <= min(averages) < 0.4 * MS
    assert 1.8 * MS < max(averages) <= 2 * MS


@pytest.mark.parametrize("latency", [0, 1, 2, 3, 1001, MS, 5 * MS])
def test_a_quiet_links_latency_stays_within_a_quarter_of_its_average(latency: int) -> None:
    found = delays(network(latency_ns=latency), 500)
    assert len(found) == 500
    assert min(found) >= latency - latency / 4 - 1
    assert max(found) <= latency + latency / 4 + 1


def test_a_negative_latency_is_an_error() -> None:
    with pytest.raises(UsageError, match="latency_ns -1 must be 0 or more"):
        network(latency_ns=-1)


# ------------------------------------------------------------------ weather


@pytest.mark.parametrize("is_reply", [False, True], ids=["requests", "replies"])
def test_an_unreliable_network_loses_a_tenth_and_delays_up_to_26_ms(is_reply: bool) -> None:
    net = network(latency_ns=0)
    net.reliable = False
    found = delays(net, 10_000, is_reply=is_reply)
    assert 8_850 < len(found) < 9_150
    assert 0 <= min(found) < MS
    assert 25 * MS < max(found) < 26 * MS
    assert statistics.fmean(found) == pytest.approx(13 * MS, rel=0.03)


def test_a_climate_says_how_much_is_lost_how_late_and_how_often_twice() -> None:
    climate = Climate(
        spread_ns=4 * MS, late_per_thousand=100, late_ns=20 * MS, lost_per_thousand=50, delay_ns=8 * MS,
        duplicated_per_thousand=30,
    )  # fmt: skip
    net = network(latency_ns=0, climate=climate)
    quiet = delays(net, 5000)
    assert statistics.fmean(quiet) == pytest.approx(2 * MS + 0.1 * 10 * MS, rel=0.05)
    assert max(quiet) > 20 * MS
    assert 400 < sum(delay > 4 * MS for delay in quiet) < 520, "a tenth is late, by 0 to 20 ms more"
    net.reliable = False
    found = delays(net, 5000)
    assert 4_650 < len(found) < 4_850
    assert statistics.fmean(found) == pytest.approx(statistics.fmean(quiet) + 4 * MS, rel=0.05)
    twice = {pair: sum(len(net.send(*pair, 10).delays) == 2 for _ in range(5000)) for pair in (("0", "1"), ("c0", "1"))}
    assert 90 < twice["0", "1"] < 200
    assert twice["c0", "1"] == 0, "a clerk's put must not be executed twice"


@pytest.mark.parametrize(("slow", "links"), [("", 0), ("host", 6), ("link", 1), ("way", 3)])
def test_a_climate_says_who_is_slow(slow: str, links: int) -> None:
    chosen = set()
    pairs = list(itertools.permutations(["0", "1", "2", "c0"], 2))
    for seed in range(20):
        net = network(seed, latency_ns=0, climate=Climate(slow=slow, slow_ns=10 * MS))
        found = {pair for pair in pairs if max(delays(net, 30, source=pair[0], target=pair[1])) > 0}
        assert len(found) == links
        chosen.add(frozenset(found))
        if slow == "host":
            assert frozenset.intersection(*map(frozenset, found)) <= {"0", "1", "2"}
        elif slow:
            assert not any("c0" in pair for pair in found)
    assert len(chosen) == {"": 1, "host": 3, "link": 6, "way": 1}[slow]


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"slow": "all"}, "slow 'all' is not one of '', 'host', 'link', 'way'"),
        ({"lost_per_thousand": 1001}, "lost_per_thousand 1001 is not in 0..1000"),
        ({"late_ns": -1}, "late_ns -1 must be 0 or more"),
        ({"delay_ns": 0}, "delay_ns 0 must be 1 or more"),
    ],
)
def test_a_climate_that_makes_no_sense_is_an_error(wrong: dict[str, Any], expected: str) -> None:
    with pytest.raises(UsageError, match=re.escape(expected)):
        Climate(**wrong)


def test_a_lost_message_says_lost() -> None:
    net = network()
    net.reliable = False
    reasons = Counter(net.send("0", "1", 10).reason for _ in range(1000))
    assert set(reasons) == {"", "lost"}


def test_long_reordering_holds_back_two_replies_of_three_0_2_to_2_2_s() -> None:
    net = network(latency_ns=0)
    net.long_reordering = True
    found = delays(net, 10_000, is_reply=True)
    held = [delay for delay in found if delay]
    assert 6_500 < len(held) < 6_840
    assert 200 * MS <= min(held) < 205 * MS
    assert 2_195 * MS < max(held) < 2_200 * MS


def test_long_reordering_leaves_requests_alone() -> None:
    net = network(latency_ns=0)
    net.long_reordering = True
    assert set(delays(net, 1000)) == {0}


def test_good_weather_can_come_back() -> None:
    net = network(latency_ns=0)
    net.reliable, net.long_reordering, net.long_delays = False, True, True
    net.duplicate(1000)
    net.reliable, net.long_reordering, net.long_delays = True, False, False
    net.duplicate(0)
    assert [net.send("0", "1", 1, is_reply=True) for _ in range(50)] == [Fate(n, (0,)) for n in range(50)]
    assert (net.reliable, net.long_reordering, net.long_delays) == (True, False, False)


@pytest.mark.parametrize("per_thousand", [1, 10, 100, 500, 1000])
def test_duplicates_arrive_twice_the_second_time_up_to_10_ms_later(per_thousand: int) -> None:
    net = network(latency_ns=MS)
    net.duplicate(per_thousand)
    fates = [net.send("0", "1", 10) for _ in range(10_000)]
    pairs = [fate.delays for fate in fates if len(fate.delays) == 2]
    assert abs(len(pairs) - 10 * per_thousand) <= 5 * (10 * per_thousand) ** 0.5
    gaps = [second - first for first, second in pairs]
    assert all(0 < gap <= 10 * MS for gap in gaps)
    if per_thousand >= 10:
        assert statistics.fmean(gaps) == pytest.approx(5 * MS, rel=0.25)
    assert all(len(fate.delays) in (1, 2) for fate in fates)


@pytest.mark.parametrize("per_thousand", [-1, 1001])
def test_a_share_of_duplicates_out_of_range_is_an_error(per_thousand: int) -> None:
    with pytest.raises(UsageError, match=f"per_thousand {per_thousand} is not in 0..1000"):
        network().duplicate(per_thousand)


def test_one_delivery_of_a_duplicate_does_not_count_as_traffic_twice() -> None:
    net = network()
    net.duplicate(1000)
    net.send("0", "1", 10)
    assert (net.total.rpcs, net.total.bytes) == (1, 10)


@pytest.mark.parametrize(
    ("long_delays", "closed", "most"),
    [(False, True, 100 * MS), (True, True, 7 * SECOND), (False, False, 26 * MS), (True, False, 26 * MS)],
    ids=["closed", "closed-long-delays", "lost", "lost-long-delays"],
)
def test_a_caller_learns_of_a_loss_in_time(long_delays: bool, closed: bool, most: int) -> None:
    net = network(latency_ns=0)
    net.long_delays = long_delays
    net.disconnect(1)
    found = [net.notice("0", "1", net.send("0", "1", 10).number, closed=closed) for _ in range(5000)]
    assert 0 <= min(found) < most / 100
    assert most * 0.99 < max(found) < most
    assert statistics.fmean(found) == pytest.approx(most / 2, rel=0.05)


# ------------------------------------------------------------------ counts and listeners


@pytest.mark.parametrize(
    ("source", "target", "is_reply", "rpcs"),
    [("0", "1", False, 1), ("0", "1", True, 0), ("c0", "1", False, 0), ("1", "c0", True, 0)],
    ids=["server-to-server", "reply", "clerks-request", "reply-to-a-clerk"],
)
@pytest.mark.parametrize("open_", [True, False], ids=["open", "cut"])
def test_only_requests_between_servers_count_as_rpcs(
    source: str, target: str, is_reply: bool, rpcs: int, open_: bool
) -> None:
    net = network()
    if not open_:
        net.cut(source, target)
    net.send(source, target, 7, is_reply=is_reply)
    assert (net.total.rpcs, net.total.bytes) == (rpcs, 7)
    assert (net.counts(target).rpcs, net.counts(target).bytes) == (rpcs, 7)
    assert (net.counts(source).rpcs, net.counts(source).bytes) == (0, 0)


def set_attribute(name: str, value: bool) -> Any:
    return lambda net: setattr(net, name, value)


FAULTS = {
    "disconnect": (lambda net: net.disconnect(1), [("disconnect", "1")]),
    "connect": (lambda net: net.connect("c1"), [("connect", "c1")]),
    "cut": (lambda net: net.cut(0, 1), [("cut", "0->1")]),
    "mend": (lambda net: net.mend(0, 1), [("mend", "0->1")]),
    "disable": (lambda net: net.enable(0, 1, False), [("cut", "0->1"), ("cut", "1->0")]),
    "enable": (lambda net: net.enable(0, 1, True), [("mend", "0->1"), ("mend", "1->0")]),
    "partition": (lambda net: net.partition([0, 1], iter(["c0", 2])), [("partition", "0 1 | c0 2")]),
    "heal": (lambda net: net.heal(), [("heal", "")]),
    "delete": (lambda net: net.delete_server(2), [("delete", "2")]),
    "add-what-is-there": (lambda net: net.add_server(2), []),
    "duplicate": (lambda net: net.duplicate(5), [("duplication", "5 of 1000")]),
    "unreliable": (set_attribute("reliable", False), [("unreliable", "")]),
    "reliable": (set_attribute("reliable", True), [("reliable", "")]),
    "long-reordering": (set_attribute("long_reordering", True), [("long reordering", "on")]),
    "no-long-delays": (set_attribute("long_delays", False), [("long delays", "off")]),
    "pause": (lambda net: net.pause(1), [("pause", "1")]),
    "resume": (lambda net: net.resume(1), [("resume", "1")]),
    "clock": (lambda net: net.set_clock(1, offset=1.5, drift=0.01), [("clock", "1 offset 1.5 s, drift 0.01")]),
}


@pytest.mark.parametrize(("fault", "told"), FAULTS.values(), ids=FAULTS.keys())
def test_listeners_are_told_of_each_fault(fault: Any, told: list[tuple[str, str]]) -> None:
    net = network()
    heard: list[tuple[str, str]] = []
    net.listeners.append(lambda kind, detail: heard.append((kind, detail)))
    fault(net)
    assert heard == told


def test_pauses_and_clocks_are_passed_on() -> None:
    net = network()
    heard: list[tuple[Any, ...]] = []
    net.pause_listeners.append(lambda *args: heard.append(args))
    net.clock_listeners.append(lambda *args: heard.append(args))
    net.pause(1)
    net.resume("1")
    net.set_clock(2, offset=-0.25, drift=-0.02)
    assert heard == [("1", True), ("1", False), ("2", -250 * MS, -20_000)]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"drift": 1.01}, "drift 1.01 is not in -0.9..1.0"),
        ({"drift": -1.0}, "drift -1.0 is not in -0.9..1.0"),
        ({"drift": float("nan")}, "drift nan is not in"),
        ({"offset": float("nan")}, "offset nan is not a number of seconds"),
        ({"offset": float("inf")}, "offset inf is not a number of seconds"),
    ],
    ids=["too-fast", "backwards", "drift-nan", "offset-nan", "offset-inf"],
)
def test_a_clock_that_cannot_be_is_an_error(options: dict[str, float], error: str) -> None:
    net = network()
    heard: list[Any] = []
    net.listeners.append(lambda *args: heard.append(args))
    with pytest.raises(UsageError, match=error):
        net.set_clock(0, **options)
    assert heard == []


# ------------------------------------------------------------------ decisions stand alone


def every_weather() -> Iterator[dict[str, Any]]:
    for bits in range(8):
        yield {"reliable": not bits & 1, "long_reordering": bool(bits & 2), "long_delays": bool(bits & 4)}


def fates(
    seed: int, script: list[tuple[str, str, bool]], overrides: dict[tuple[str, int], int], weather: dict[str, Any]
) -> Any:
    """What becomes of each message of `script`, and how long its caller would wait if it were lost."""
    net = network(seed, overrides)
    for name, value in weather.items():
        setattr(net, name, value)
    net.duplicate(200)
    found = []
    for source, target, is_reply in script:
        fate = net.send(source, target, 10, is_reply=is_reply)
        notices = [net.notice(source, target, fate.number, closed=closed) for closed in (True, False)]
        found.append(((source, target, fate.number), fate, notices))
    return found


scripts = st.lists(st.tuples(hosts, hosts, st.booleans()), min_size=1, max_size=30)
weathers = st.sampled_from(list(every_weather()))
PURPOSES = ["jitter", "drop", "delay", "reorder", "reorder-delay", "duplicate", "notice"]


@given(st.integers(0, 2**64), scripts, weathers)
@settings(CALM)
def test_the_same_seed_gives_the_same_fates(seed: int, script: Any, weather: dict[str, Any]) -> None:
    assert fates(seed, script, {}, weather) == fates(seed, script, {}, weather)


def test_other_seeds_give_other_fates() -> None:
    script = [("0", "1", False)] * 20
    assert len({repr(fates(seed, script, {}, {"reliable": False})) for seed in range(50)}) == 50


@given(st.integers(0, 2**64), scripts, weathers)
@settings(CALM)
def test_a_links_fates_do_not_depend_on_other_links(seed: int, script: Any, weather: dict[str, Any]) -> None:
    together = fates(seed, script, {}, weather)
    source, target, _ = script[0]
    alone = fates(seed, [entry for entry in script if entry[:2] == (source, target)], {}, weather)
    assert [entry for entry in together if entry[0][:2] == (source, target)] == alone


@given(st.integers(0, 2**64), scripts, weathers, st.data())
@settings(CALM, max_examples=200)
def test_overriding_one_decision_changes_no_other_messages_fate(
    seed: int, script: Any, weather: dict[str, Any], data: st.DataObject
) -> None:
    source, target, _ = data.draw(st.sampled_from(script))
    number = data.draw(st.integers(0, 5))
    name = f"net/{source}->{target}/{data.draw(st.sampled_from(PURPOSES))}"
    value = data.draw(st.integers(0, 10**10))
    before = fates(seed, script, {}, weather)
    after = fates(seed, script, {(name, number): value}, weather)
    changed = {old[0] for old, new in zip(before, after, strict=True) if old != new}
    assert changed <= {(source, target, number)}


@pytest.mark.parametrize("weather", list(every_weather()), ids=str)
def test_0_is_the_benign_choice_of_every_decision(weather: dict[str, Any]) -> None:
    overrides = {(f"net/0->1/{purpose}", n): 0 for purpose in PURPOSES for n in range(20)}
    quickest = network(5).send("0", "1", 10, is_reply=True)
    least = fates(5, [("0", "1", True)] * 20, overrides, weather)
    for _, fate, notices in least:
        assert len(fate.delays) == 1
        assert fate.delays[0] <= quickest.delays[0]
        assert max(notices) == network(5).latency_ns


def test_the_names_of_the_streams_are_those_an_override_uses() -> None:
    """Each purpose's stream decides something: overriding it with the largest value changes the first fate."""
    bad_weather = {"reliable": False, "long_reordering": True, "long_delays": True}
    calm = {(f"net/0->1/{purpose}", 0): 0 for purpose in PURPOSES}
    unchanged = fates(1, [("0", "1", True)], calm, bad_weather)
    for purpose in PURPOSES:
        forced = {**calm, (f"net/0->1/{purpose}", 0): 10**12}
        if purpose == "reorder-delay":
            forced["net/0->1/reorder", 0] = 999
        assert fates(1, [("0", "1", True)], forced, bad_weather) != unchanged, purpose
    assert network(1, {("net/latency", 0): 0}).latency_ns == MS // 5
