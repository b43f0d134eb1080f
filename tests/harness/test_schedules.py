"""`--schedule`: each is a function of the seed, the same run in both worlds, recorded, and what it says it is."""

from __future__ import annotations

from collections import Counter
from functools import partial

import pytest

from labrpc.climate import SLOW, Climate
from labrpc.disturbance import SCHEDULES, Disturbance
from labrpc.errors import UsageError
from labrpc.ledger import Decision
from labrpc.streams import Streams
from labrpc.virtual.pins import TurnPins
from labrpc.virtual.priorities import Priorities
from labrpc.virtual.scheduler import (
    STALL_CREDIT_NS,
    STALL_SHARE,
    GreenThread,
    Scheduler,
    StallPlan,
)
from tester.kv_traffic import SLOWEST_PUT
from tester.raft_cluster import RaftCluster
from tester.run import Options, Plan, Run
from tester.service_cluster import ReplicatedKVCluster
from tester.story import origin_of, tell

MS = 1_000_000
ROUGH = ("uniform", "swarm", "pct")


def figures(seed: int, schedule: str) -> dict[str, object]:
    """All that a run is given beside its draws."""
    return {name: value for name, value in vars(Disturbance(Streams(seed), schedule)).items() if name != "_draws"}


def lived(
    seed: int, schedule: str, plan: Plan | None = None, servers: str = "threads"
) -> tuple[str, list[Decision], list[str]]:
    """A second and more of a cluster with elections, commands, a cut and a crash: hash, decisions, sentences."""
    run = Run(seed, Options(servers=servers, schedule=schedule), plan=plan or Plan())
    try:
        cluster = RaftCluster(run, 3, reliable=False)
        for number in range(3):
            cluster.sleep(0.4)
            for server in range(3):
                if cluster.server(server).is_up:
                    cluster.server(server).start(number)
            cluster.network.disconnect(number)
            cluster.crash((number + 1) % 3)
            cluster.sleep(0.1)
            cluster.network.heal()
            cluster.start((number + 1) % 3)
        sentences = tell(run.decisions, [cluster.journal])
        return run.journal_hash, run.decisions, [sentence.text for sentence in sentences]
    finally:
        run.close()


# ------------------------------------------------------------------ functions of the seed


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_is_a_function_of_the_seed(schedule):
    drawn = [figures(seed, schedule) for seed in range(100)]
    assert [figures(seed, schedule) for seed in range(100)] == drawn
    characters = {str(sorted(each.items(), key=lambda item: item[0])) for each in drawn}
    assert len(characters) >= {"mix": 40, "uniform": 12, "swarm": 60, "pct": 20, "none": 2}[schedule]


def test_mix_draws_each_of_the_three_and_is_then_the_same_as_that():
    shares: Counter[object] = Counter()
    for seed in range(400):
        mixed = figures(seed, "mix")
        shares[mixed["schedule"]] += 1
        assert mixed == figures(seed, str(mixed["schedule"]))
    assert set(shares) == set(ROUGH)
    assert min(shares.values()) >= 40


def test_only_swarm_changes_the_climate_and_spares_hosts():
    for seed in range(60):
        for schedule in ("uniform", "pct", "none"):
            plain = figures(seed, schedule)
            assert plain["climate"] == Climate()
            assert plain["spared"] == frozenset()
            assert plain["longest_sync_save_ns"] == 0
    swarm = [Disturbance(Streams(seed), "swarm") for seed in range(300)]
    assert {each.climate.slow for each in swarm} == set(SLOW)
    assert {each.climate.lost_per_thousand for each in swarm} == {50, 100, 150}
    assert {bool(each.climate.late_per_thousand) for each in swarm} == {False, True}
    assert {bool(each.climate.spread_ns) for each in swarm} == {False, True}
    assert {len(each.spared) for each in swarm} == {0, 1, 2}
    spared = next(each for each in swarm if each.spared and each.mean_gap_steps)
    assert {spared.mean_gap_of(str(host)) for host in range(3)} == {0, spared.mean_gap_steps}


WORST = {
    "all disks are slow": {"longest_async_save_ns": 7 * MS, "longest_sync_save_ns": MS},
    "every message may take longer": {"climate": Climate(spread_ns=3 * MS)},
    "server 0 is slow": {"climate": Climate(slow="host", slow_ns=3 * MS)},
    "ways up are slow": {"climate": Climate(slow="way", slow_ns=10 * MS)},
    "many messages are late": {"climate": Climate(late_per_thousand=100, late_ns=25 * MS)},
}


@pytest.mark.parametrize("figures", WORST.values(), ids=WORST.keys())
def test_the_worst_that_swarm_draws_leaves_a_put_its_time(figures):
    seeds = range(3000)
    for name, worst in figures.items():
        drawn = [getattr(Disturbance(Streams(seed), "swarm"), name) for seed in seeds]
        if name == "climate":
            pairs = [(each.slow, each.slow_ns, each.spread_ns, each.late_per_thousand * each.late_ns) for each in drawn]
            alike = [pair for pair in pairs if pair[0] == worst.slow and bool(pair[3]) == bool(worst.late_ns)]
            assert max(pair[1] for pair in alike) == worst.slow_ns or not worst.slow
            assert max(pair[2] for pair in alike) == worst.spread_ns
            assert max(pair[3] for pair in alike) == worst.late_per_thousand * worst.late_ns
        else:
            assert max(drawn) == worst

    run = Run(1, plan=Plan({("net/latency", 0): 1_800_000, ("net/slow-host", 0): 0}))
    disturbance = Disturbance(Streams(1), "none")
    disturbance.mean_gap_steps, disturbance.longest_stall_ns = 10, 20 * MS
    quick_saves = {"longest_async_save_ns": MS // 2, "longest_sync_save_ns": MS // 5}
    for name, value in {**quick_saves, **figures}.items():
        setattr(disturbance, name, value)
    run.disturbance = lambda streams: disturbance  # type: ignore[method-assign]
    try:
        cluster = ReplicatedKVCluster(run, 3)
        clerk = cluster.clerk()
        clerk.put("x", "0", 0)
        while cluster.one_leader() != 0:  # the slow one, if any is
            cluster.crash(cluster.one_leader())
            cluster.sleep(1)
            for server in range(3):
                if not cluster.server(server).is_up:
                    cluster.start(server)
        first, began = clerk.get("x")[1], cluster.now
        for version in range(first, first + 60):
            clerk.put("x", "1", version)
        assert (cluster.now - began) / 60 < SLOWEST_PUT
    finally:
        run.close()


def test_a_schedule_that_there_is_not_is_an_error():
    with pytest.raises(UsageError, match="--schedule often is not one of mix, uniform, swarm, pct, none"):
        Options(schedule="often")
    with pytest.raises(UsageError, match="--schedule pct needs --clock virtual"):
        Options(clock="real", schedule="pct")
    assert Options(clock="real").schedule == "mix"


# ------------------------------------------------------------------ the same run, recorded and in both worlds


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_run_is_the_same_in_both_worlds_and_from_its_record(schedule):
    for seed in (2, 5, 7):
        plain, _, _ = lived(seed, schedule)
        recorded, decisions, texts = lived(seed, schedule, Plan(recorded=True))
        values = {(decision.stream, decision.number): decision.value for decision in decisions}
        assert lived(seed, schedule, servers="processes")[0] == plain == recorded
        again, same, _ = lived(seed, schedule, Plan(values, calm=True, recorded=True))
        assert again == plain
        assert {(decision.stream, decision.number): decision.value for decision in same} == values
        assert not any("decision" in text for text in texts), "every kind has its sentence"
        part = Plan(dict(list(values.items())[::2]), calm=True)
        assert lived(seed, schedule, part)[0] == lived(seed, schedule, part, "processes")[0]


def test_none_never_preempts_and_the_others_do():
    kinds = {
        schedule: {origin_of(each.stream).kind for seed in range(10) for each in lived(seed, schedule, RECORDED)[1]}
        for schedule in ("none", *ROUGH)
    }
    assert kinds["none"] & {"stall", "turn"} == set()
    assert kinds["uniform"] & {"stall", "turn"} == {"stall"}
    assert kinds["swarm"] >= {"stall", "duplicate", "late"}
    assert kinds["pct"] >= {"stall", "turn"}


RECORDED = Plan(recorded=True)


@pytest.mark.parametrize("schedule", ROUGH)
def test_a_host_is_stalled_for_a_fifth_of_its_time_and_50_ms_at_most(schedule):
    for seed in range(4):
        stalled: Counter[str] = Counter()
        last: dict[str, int] = {}
        for decision in lived(seed, schedule, RECORDED)[1]:
            if origin_of(decision.stream).kind == "stall":
                host = "/".join(decision.stream.split("/")[:3])
                stalled[host] += decision.value
                last[host] = decision.at
        for host, length in stalled.items():
            assert length <= STALL_CREDIT_NS + last[host] // STALL_SHARE + 5 * MS, (seed, host)


def test_pct_tells_who_gives_way_and_who_goes_ahead():
    texts = [text for seed in range(4) for text in lived(seed, "pct", RECORDED)[2]]
    assert any('thread "' in text and " gives way to one of higher priority at raft/" in text for text in texts)
    assert any('" goes ahead of "' in text for text in texts)


# ------------------------------------------------------------------ priorities


class Bare(Scheduler):
    """A host without code under test: its threads call `step` where others have step points."""

    def __init__(self, seed: int, plan: StallPlan) -> None:
        super().__init__(Streams(seed), plan)
        self.stalls: list[int] = []

    def step(self) -> None:
        self.left -= 1
        if self.left < 0:
            self.slow_step()

    def on_death(self, thread: GreenThread, error: BaseException) -> None:
        raise error

    def on_stall(self, thread: GreenThread, length: int) -> None:
        self.stalls.append(length)


SELDOM = StallPlan(0, 1000, stretch_steps=1 << 40, changes=1)
"""Priorities that do not change."""


@pytest.mark.parametrize("plan", [SELDOM, StallPlan(0, 0)], ids=["priorities", "none"])
def test_threads_run_in_the_order_of_their_priorities_or_as_they_come(plan):
    orders = set()
    for seed in range(20):
        host, order = Bare(seed, plan), []
        threads = [host.spawn(str(number), partial(order.append, number)) for number in range(6)]
        host.run(MS)
        by_priority = sorted(threads, key=lambda thread: (-thread.priority, thread.ident))
        assert order == [int(thread.name) for thread in by_priority]
        orders.add(tuple(order))
    assert len(orders) > 15 if plan is SELDOM else orders == {(0, 1, 2, 3, 4, 5)}


def test_a_thread_gives_way_at_its_next_step_to_one_of_higher_priority_that_it_spawns():
    def parent(host: Bare, log: list[str]) -> None:
        child = host.spawn("child", log.append, "child")
        log.append("spawned")
        host.step()
        log.append(f"{child.priority > threads[0].priority}")

    overtaken = 0
    for seed in range(30):
        host, log = Bare(seed, SELDOM), []
        threads = [host.spawn("parent", parent, host, log)]
        while (wake := host.run(MS)) is not None:
            host.now = max(host.now, wake)
        assert log == (["spawned", "child", "True"] if "True" in log else ["spawned", "False", "child"])
        assert len(host.stalls) == ("True" in log)
        overtaken += "True" in log
    assert 5 < overtaken < 25


def test_a_busy_thread_does_not_starve_the_others():
    for seed in range(10):
        host, log = Bare(seed, SELDOM), []

        def busy(host: Bare = host, log: list[str] = log) -> None:
            while not log:
                host.step()

        host.spawn("busy", busy)
        host.spawn("other", log.append, "other")
        for _ in range(3):
            host.run(MS)
        assert log == ["other"]


def test_each_stretch_has_its_change_points_and_they_demote():
    stretch, changes = 1 << 30, 3
    priorities = Priorities(Streams(4), stretch, changes)
    at, points = 0, []
    for _ in range(300):
        at += priorities.steps_to_change()
        points.append((at - 1) // stretch)
    assert Counter(points) == Counter(dict.fromkeys(range(100), changes))

    first, second = GreenThread(1, "first"), GreenThread(2, "second")
    priorities.admit(first)
    priorities.admit(second)
    assert min(first.priority, second.priority) > 0
    priorities.demote(first)
    assert priorities.overtaken(second, [first]) == 1
    priorities.demote(second)
    assert priorities.overtaken(second, [first]) == 0
    assert priorities.overtaken(first, [second]) == 1
    second.atomic = 1
    assert priorities.overtaken(first, [second]) == 0, "an import is not preempted"


def test_a_turn_is_pinned_to_a_thread_and_never_more_than_there_are():
    overrides = {("host/1/1/turn/a#0.2", 1): 5, ("host/1/1/turn/a#0.2", 2): 1}
    host = Streams(1, overrides, calm=True).sub("host/1/1")
    pins = TurnPins(host)
    assert pins
    assert not TurnPins(Streams(1, overrides, calm=True).sub("host/2/1"))
    thread, others = GreenThread(1, "a"), [GreenThread(2, "b"), GreenThread(3, "c")]
    thread.anchor, thread.parks, thread.turns = "a#0", 2, 1
    assert pins.overtaken(thread, others) == 2
    others[0].atomic = 1
    assert pins.overtaken(thread, others) == 1
    others[1].atomic = 1
    assert pins.overtaken(thread, others) == 0
    thread.turns = 3
    assert pins.overtaken(thread, []) == 0
