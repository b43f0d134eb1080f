"""The virtual world as a test sees it: time, tasks, faults, clocks, journal."""

from __future__ import annotations

import gc
import time

import pytest

from labrpc.errors import CodeFault, HarnessError, RunLimitExceeded, UsageError
from labrpc.journal import Delivered, Dropped, Faulted, Printed, Sent
from tester.raft_cluster import RaftCluster
from tester.run import Options, Run

SERVER = """
class Server:
    def __init__(self, ends, me, persister):
        self.ends, self.me, self.seen = ends, me, []

    def ask(self, peer, timeout=None):
        reply = self.ends[peer].call("Server.ping", Ping(self.me), timeout=timeout)
        return None if reply is None else reply.number

    def ask_many(self, peer, times):
        return [self.ask(peer) for _ in range(times)]

    def clock(self):
        return time.monotonic()

    def nap(self, seconds):
        before = time.monotonic()
        time.sleep(seconds)
        return time.monotonic() - before

    def received(self):
        return len(self.seen)

    @rpc
    def ping(self, args: Ping) -> Pong:
        self.seen.append(args.number)
        return Pong(args.number + 100)
"""


# ------------------------------------------------------------------ time and tasks


def test_sleeping_costs_no_wall_time(lab):
    cluster = lab(SERVER, time_limit=1e6)
    began = time.perf_counter()
    cluster.sleep(100_000)
    assert cluster.now == 100_000
    assert time.perf_counter() - began < 5


def test_the_same_seed_is_the_same_run_and_another_is_not(lab, world):
    def journal_hash(seed: int, world: str) -> str:
        cluster = lab(SERVER, servers=3, world=world, seed=seed, reliable=False, latency=None)
        for _ in range(5):
            cluster.server(0).call("ask", 1)
        return cluster.journal.digest()

    assert journal_hash(1, world) == journal_hash(1, "threads")
    assert journal_hash(1, world) != journal_hash(2, world)


def test_spawned_tasks_run_beside_the_test_and_return_values(lab):
    cluster = lab(SERVER)
    tasks = [cluster.spawn(lambda n=n: (cluster.sleep(1), cluster.now, n)[1:]) for n in range(3)]
    assert [task.done for task in tasks] == [False] * 3
    assert [task.join() for task in tasks] == [(1.0, 0), (1.0, 1), (1.0, 2)]
    assert cluster.now == 1.0


def test_an_exception_in_a_spawned_task_fails_the_test(lab):
    cluster = lab(SERVER)

    def fail() -> None:
        cluster.sleep(0.5)
        raise AssertionError("the task's own words")

    cluster.spawn(fail)
    with pytest.raises(AssertionError, match="the task's own words"):
        cluster.sleep(10)
    assert cluster.now == 0.5


def test_a_run_may_not_take_more_than_its_time(lab):
    cluster = lab(SERVER, time_limit=2)
    with pytest.raises(RunLimitExceeded, match="more than 2 s of its own time"):
        cluster.sleep(3)


def test_after_the_end_of_a_run_nothing_more_can_happen(lab):
    cluster = lab(SERVER)
    cluster.close()
    cluster.close()
    with pytest.raises(UsageError, match="the run is over"):
        cluster.sleep(1)


def test_garbage_collection_is_restored_after_a_run(lab):
    assert gc.isenabled()
    cluster = lab(SERVER)
    assert not gc.isenabled()
    cluster.close()
    assert gc.isenabled()


def test_negative_sleep_and_unknown_control_are_errors(lab):
    cluster = lab(SERVER)
    with pytest.raises(UsageError, match="cannot sleep"):
        cluster.sleep(-1)
    with pytest.raises((CodeFault, HarnessError), match="no control fly"):
        cluster.server(0).call("fly")


# ------------------------------------------------------------------ RPC and faults, in both worlds


def test_a_call_returns_the_reply_after_the_latency_both_ways(lab, world):
    cluster = lab(SERVER, world=world, latency=0.01)
    assert cluster.server(0).call("ask", 1) == 100
    assert 0.015 <= cluster.now <= 0.03


def test_a_cut_server_reaches_nobody_and_calls_return_none(lab, world):
    cluster = lab(SERVER, servers=3, world=world)
    cluster.network.disconnect(1)
    assert cluster.server(0).call("ask", 1) is None
    assert cluster.server(1).call("ask", 0) is None
    assert cluster.server(0).call("ask", 2) == 100
    cluster.network.connect(1)
    assert cluster.server(0).call("ask", 1) == 100


def test_a_one_way_cut_loses_replies_that_way_too(lab, world):
    cluster = lab(SERVER, world=world)
    cluster.network.cut(1, 0)
    assert cluster.server(0).call("ask", 1) is None
    assert cluster.server(1).call("received") == 1, "the request passed; its reply did not"
    cluster.network.mend(1, 0)
    assert cluster.server(0).call("ask", 1) == 100


def test_partitions_separate_groups_and_heal(lab):
    cluster = lab(SERVER, servers=5)
    cluster.network.partition([0, 1], [2, 3, 4])
    assert [cluster.server(0).call("ask", peer) for peer in range(1, 5)] == [100, None, None, None]
    assert cluster.server(2).call("ask", 4) == 102
    cluster.network.heal()
    assert cluster.server(0).call("ask", 4) == 100


def test_a_message_in_flight_is_lost_when_its_link_is_cut(lab):
    cluster = lab(SERVER, latency=0.05)
    task = cluster.spawn(lambda: cluster.server(0).call("ask", 1))
    cluster.sleep(0.02)
    cluster.network.disconnect(1)
    assert task.join() is None
    assert [event.reason for event in cluster.journal if isinstance(event, Dropped)] == ["cut while in flight"]


def test_an_unreliable_network_loses_some_calls_and_every_call_returns(lab, world):
    cluster = lab(SERVER, world=world, reliable=False)
    answers = cluster.server(0).call("ask_many", 1, 100)
    assert 60 <= sum(answer == 100 for answer in answers) <= 95
    assert set(answers) == {100, None}


def test_duplicated_requests_run_the_handler_twice_and_answer_once(lab):
    cluster = lab(SERVER)
    cluster.network.duplicate(1000)
    assert cluster.server(0).call("ask", 1) == 100
    cluster.sleep(0.1)
    assert cluster.server(1).call("received") == 2


def test_a_request_is_lost_only_when_its_last_copy_is(lab):
    """The first copy finds nobody; by the time of the second the server is back."""
    cluster = lab(SERVER, latency=0.001)
    cluster.network.duplicate(1000)
    answers = []
    for _ in range(20):
        cluster.crash(1)
        call = cluster.spawn(lambda: cluster.server(0).call("ask", 1))
        cluster.sleep(0.0025)
        cluster.start(1)
        answers.append(call.join())
    requests = {event.message for event in cluster.journal if isinstance(event, Sent) and not event.reply_to}
    arrived = {event.message for event in cluster.journal if isinstance(event, Delivered)} & requests
    lost = {event.message for event in cluster.journal if isinstance(event, Dropped)} & requests
    assert set(answers) == {100, None}
    assert len(arrived) == answers.count(100)
    assert arrived.isdisjoint(lost)
    assert arrived | lost == requests


def test_a_timeout_ends_a_call_and_its_late_reply_is_discarded(lab, world):
    cluster = lab(SERVER, world=world, latency=0.1)
    began = cluster.now
    assert cluster.server(0).call("ask", 1, 0.05) is None
    assert 0.05 <= cluster.now - began < 0.06
    assert cluster.server(0).call("ask", 1) == 100


def test_a_call_to_a_server_that_is_down_returns_none(lab, world):
    cluster = lab(SERVER, world=world)
    cluster.crash(1)
    assert cluster.server(0).call("ask", 1) is None
    assert [event.reason for event in cluster.journal if isinstance(event, Dropped)] == ["server is down"]


def test_long_delays_hold_calls_over_closed_links_for_seconds(lab):
    cluster = lab(SERVER)
    cluster.network.disconnect(1)
    cluster.network.long_delays = True
    spans = []
    for _ in range(5):
        began = cluster.now
        assert cluster.server(0).call("ask", 1) is None
        spans.append(cluster.now - began)
    assert max(spans) > 1
    assert max(spans) <= 7.1


def test_a_paused_server_does_nothing_and_then_catches_up(lab, world):
    cluster = lab(SERVER, world=world)
    cluster.network.pause(1)
    task = cluster.spawn(lambda: cluster.server(0).call("ask", 1))
    cluster.sleep(2)
    assert not task.done
    cluster.network.resume(1)
    assert task.join() == 100


def test_a_skewed_and_drifting_clock_is_the_hosts_own(lab, world):
    cluster = lab(SERVER, world=world)
    cluster.network.set_clock(1, offset=10.0, drift=0.5)
    cluster.sleep(2)
    assert cluster.server(0).call("clock") == pytest.approx(2, abs=0.01)
    assert cluster.server(1).call("clock") == pytest.approx(10 + 2 * 1.5, abs=0.01)
    began = cluster.now
    assert cluster.server(1).call("nap", 3) == pytest.approx(3, abs=0.01)
    assert cluster.now - began == pytest.approx(2, abs=0.01)


def test_a_clock_set_before_a_restart_stays_set(lab):
    cluster = lab(SERVER)
    cluster.network.set_clock(1, offset=10.0)
    cluster.crash(1)
    cluster.start(1)
    assert cluster.server(1).call("clock") > 10


def test_pausing_a_server_that_is_down_is_an_error(lab):
    cluster = lab(SERVER)
    cluster.crash(1)
    with pytest.raises(UsageError, match="not running"):
        cluster.network.pause(1)


def test_requests_from_server_to_server_and_bytes_are_counted(lab):
    cluster = lab(SERVER)
    cluster.server(0).call("ask_many", 1, 7)
    assert cluster.rpc_count() == 7
    assert (cluster.rpc_count(0), cluster.rpc_count(1)) == (0, 7)
    payloads = [event.payload for event in cluster.journal if isinstance(event, Sent)]
    assert cluster.byte_count() == sum(map(len, payloads))


# ------------------------------------------------------------------ journal


def test_every_message_sent_is_delivered_or_dropped_with_a_reason(lab):
    cluster = lab(SERVER, servers=3, reliable=False)
    cluster.network.disconnect(2)
    for peer in (1, 2):
        cluster.server(0).call("ask_many", peer, 20)
    cluster.sleep(1)
    sent = {event.message for event in cluster.journal if isinstance(event, Sent)}
    delivered = {event.message for event in cluster.journal if isinstance(event, Delivered)}
    dropped = {event.message: event.reason for event in cluster.journal if isinstance(event, Dropped)}
    assert sent == delivered | dropped.keys()
    assert not delivered & dropped.keys()
    assert set(dropped.values()) == {"lost", "2 is disconnected"}


def test_faults_are_journaled(lab):
    cluster = lab(SERVER)
    cluster.network.disconnect(1)
    cluster.network.reliable = False
    kinds = [(event.kind, event.detail) for event in cluster.journal if isinstance(event, Faulted)]
    assert kinds == [("disconnect", "1"), ("unreliable", "")]


def test_printed_lines_are_journaled_with_server_and_time_and_change_nothing(lab, world):
    talking = SERVER.replace(
        "self.seen.append(args.number)", "self.seen.append(args.number); print('got', args.number)"
    )
    talking = talking.replace("; print(", "\n        print(")
    hashes = set()
    for snippet in (SERVER, talking):
        cluster = lab(snippet, world=world)
        cluster.sleep(0.5)
        cluster.server(0).call("ask", 1)
        hashes.add(cluster.journal.digest())
        printed = [event for event in cluster.journal if isinstance(event, Printed)]
    assert len(hashes) == 1
    assert [(event.host, event.text) for event in printed] == [("1", "got 0")]
    assert printed[0].at > 500_000_000


def test_cost_grows_with_events_and_not_with_virtual_time(lab):
    cluster = lab(SERVER, time_limit=1e9)
    cluster.sleep(1)
    before = cluster.coordinator.events
    cluster.sleep(1e8)
    assert cluster.coordinator.events - before < 10


# ------------------------------------------------------------------ Raft on it


def test_every_decision_can_be_overridden_alone():
    """Slowing one message by hand leaves every decision before it as it was."""

    def events(overrides):
        run = Run(11, Options(schedule="none"), overrides=overrides)
        cluster = RaftCluster(run, 3)
        cluster.one_leader()
        journal = list(cluster.journal)
        run.close()
        return journal

    plain = events({})
    link = next((event.source, event.target) for event in plain if isinstance(event, Sent))
    slowed = events({(f"net/{link[0]}->{link[1]}/jitter", 0): 10**9})
    first = next(n for n, (a, b) in enumerate(zip(plain, slowed, strict=False)) if a != b)
    assert first > 0
    assert isinstance(plain[first], Delivered) or isinstance(slowed[first], Delivered)
    assert plain[:first] == slowed[:first]
