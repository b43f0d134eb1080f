"""Crash, shutdown and restart: what survives, what cannot, and what is thrown away."""

from __future__ import annotations

import pytest

from labrpc.codec import encode
from labrpc.errors import CodeFault, UsageError
from labrpc.journal import Dropped, Saved, Sent, Stopped
from tests.harness.conftest import FixedDisturbance

COUNTER = """
shared = []

class Server:
    born = 0

    def __init__(self, ends, me, persister):
        self.ends, self.me, self.persister = ends, me, persister
        saved = persister.read_raft_state()
        self.count = decode(saved) if saved else 0
        Server.born += 1
        shared.append(me)

    def add(self):
        self.count += 1
        self.persister.save(encode(self.count))
        return self.count

    def add_later(self, times):
        for _ in range(times):
            self.count += 1
            self.persister.save_async(encode(self.count))
        return self.count

    def births(self):
        return Server.born, list(shared)

    def ask(self, peer):
        reply = self.ends[peer].call("Server.ping", Ping(1))
        return None if reply is None else reply.number

    @rpc
    def ping(self, args: Ping) -> Pong:
        self.count += 1
        self.persister.save(encode(self.count))
        return Pong(self.count)
"""


def test_what_was_saved_survives_a_crash_and_nothing_else_does(lab, world):
    cluster = lab(COUNTER, world=world)
    assert [cluster.server(0).call("add") for _ in range(3)] == [1, 2, 3]

    cluster.crash(0)
    assert cluster.server(0).call("add") is None
    cluster.start(0)

    assert cluster.server(0).call("add") == 4
    assert cluster.server(0).call("births") == (1, [0])


def test_two_servers_share_no_class_attribute_and_no_module(lab, world):
    cluster = lab(COUNTER, servers=3, world=world)
    assert [cluster.server(n).call("births") for n in range(3)] == [(1, [0]), (1, [1]), (1, [2])]


def test_a_crash_can_fall_between_a_save_and_its_reply(lab, world):
    cluster = lab(COUNTER, world=world)
    cluster.sleep(0.1)
    # Its effects on a ping are: the save is handed over, the save is durable, the reply.
    cluster.crash(1, before_effect=3)
    assert cluster.server(0).call("ask", 1) is None

    assert not cluster.server(1).is_up
    stopped = [event for event in cluster.journal if isinstance(event, Stopped)]
    saved = [event for event in cluster.journal if isinstance(event, Saved)]
    assert [event.host for event in saved] == ["1"]
    assert stopped[0].at >= saved[0].at
    cluster.start(1)
    assert cluster.server(0).call("ask", 1) == 2, "the save before the crash must have survived"


def test_a_save_that_a_crash_cuts_short_is_there_whole_or_not_at_all(lab, world):
    outcomes = set()
    for seed in range(10):
        cluster = lab(COUNTER, world=world, seed=seed)
        cluster.sleep(0.1)
        # Its effects on a ping are: the save is handed over, the save is durable, the reply.
        cluster.crash(1, before_effect=2)
        assert cluster.server(0).call("ask", 1) is None
        outcomes.add(cluster.coordinator.disk("1").durable.raft_state)
    assert outcomes == {b"", encode(1)}


def test_a_crash_keeps_a_prefix_of_the_pending_saves(lab, world):
    kept = set()
    for seed in range(12):
        disturbance = FixedDisturbance(longest_async_save_ns=50_000_000)
        cluster = lab(COUNTER, world=world, seed=seed, disturbance=disturbance)
        cluster.server(0).call("add_later", 4)
        cluster.crash(0)
        cluster.start(0)
        kept.add(cluster.server(0).call("add") - 1)
    assert kept <= {0, 1, 2, 3, 4}
    assert len(kept) > 1, "how many pending saves survive must vary with the seed"


STUBBORN = """
class Server:
    def __init__(self, ends, me, persister):
        self.ends, self.persister, self.beats = ends, persister, 0
        threading.Thread(target=self.cling).start()

    def cling(self):
        while True:
            try:
                while True:
                    time.sleep(0.01)
                    self.beats += 1
            except:
                self.persister.save(b"after death")
            finally:
                self.persister.save(b"after death")
                self.ends[1].call("Server.ping", Ping(0))

    @rpc
    def ping(self, args: Ping) -> Pong:
        return Pong(0)
"""


def test_no_bare_except_and_no_finally_outlives_a_crash(lab, world):
    cluster = lab(STUBBORN, world=world)
    cluster.sleep(0.1)
    cluster.crash(0)
    at = cluster.coordinator.now
    cluster.sleep(1.0)

    assert cluster.coordinator.disk("0").durable.raft_state == b""
    assert not [
        event for event in cluster.journal if isinstance(event, Sent) and event.source == "0" and event.at >= at
    ]


def test_a_crash_answers_pending_control_calls_with_none(lab, world):
    cluster = lab("""
        class Server:
            def __init__(self, ends, me, persister): pass
            def wait(self):
                time.sleep(5)
                return "late"
    """, world=world)  # fmt: skip
    task = cluster.spawn(lambda: cluster.server(0).call("wait"))
    cluster.sleep(0.1)
    cluster.crash(0)
    assert task.join() is None
    assert cluster.now < 1


def test_a_reply_of_a_dead_incarnation_is_never_delivered(lab):
    cluster = lab("""
        class Server:
            def __init__(self, ends, me, persister):
                self.ends = ends
            def ask(self):
                return self.ends[1].call("Server.slow", Ping(1)) is None
            @rpc
            def slow(self, args: Ping) -> Pong:
                time.sleep(0.05)
                return Pong(1)
    """, latency=0.01)  # fmt: skip
    task = cluster.spawn(lambda: cluster.server(0).call("ask"))
    cluster.sleep(0.064)  # the reply is on its way
    cluster.crash(1)
    cluster.start(1)
    assert task.join() is True
    assert [event.reason for event in cluster.journal if isinstance(event, Dropped)] == ["its server is gone"]


SHUTDOWN = """
class Server:
    def __init__(self, ends, me, persister):
        self.ends, self.persister = ends, persister
        self.killed = threading.Event()
        threading.Thread(target=self.work, name="worker").start()
        threading.Thread(target=self.hang, name="hanger").start()

    def work(self):
        while not self.killed.wait(0.1):
            pass
        self.persister.save(b"too late")
        assert self.ends[1].call("Server.ping", Ping(1)) is None

    def hang(self):
        if {hangs}:
            queue.Queue().get()

    def kill(self):
        self.killed.set()

    @rpc
    def ping(self, args: Ping) -> Pong:
        return Pong(0)
"""


def test_a_shut_down_server_runs_on_without_network_and_disk_until_all_has_returned(lab, world):
    cluster = lab(SHUTDOWN.format(hangs=False), world=world)
    cluster.sleep(0.5)
    shutdown = cluster.shutdown(0)
    assert shutdown.remaining_threads() == []
    shutdown.assert_all_returned()
    assert cluster.coordinator.disk("0").durable.raft_state == b""


def test_a_thread_that_does_not_return_after_kill_is_named(lab, world):
    cluster = lab(SHUTDOWN.format(hangs=True), world=world)
    cluster.sleep(0.5)
    shutdown = cluster.shutdown(0)
    assert shutdown.remaining_threads() == ["hanger"]
    with pytest.raises(CodeFault, match=r"server 0 still runs 1 threads 11 s after kill\(\): hanger"):
        shutdown.assert_all_returned()


def test_a_server_can_restart_while_its_former_incarnation_winds_down(lab, world):
    cluster = lab(COUNTER, world=world)
    cluster.server(0).call("add")
    shutdown = cluster.shutdown(0)
    cluster.start(0)
    assert cluster.server(0).call("add") == 2
    assert cluster.server(1).call("ask", 0) == 3
    assert shutdown.remaining_threads() == []


@pytest.mark.parametrize("misuse", ["crash twice", "start twice", "shutdown of a crashed one", "no such server"])
def test_misuse_of_servers_is_a_usage_error(lab, misuse):
    cluster = lab(COUNTER)
    with pytest.raises(UsageError, match="server"):
        if misuse == "start twice":
            cluster.start(0)
        elif misuse == "no such server":
            cluster.server(7)
        else:
            cluster.crash(0)
            (cluster.crash if misuse == "crash twice" else cluster.shutdown)(0)


TICKING = """
class Server:
    def __init__(self, ends, me, persister):
        self.beats = 0
        threading.Thread(target=self.tick).start()
    def tick(self):
        while True:
            time.sleep(0.1)
            self.beats += 1
    def count(self):
        return self.beats
"""


def test_a_resumed_servers_timers_go_on_without_any_message(lab, world):
    cluster = lab(TICKING, world=world)
    cluster.sleep(0.25)
    cluster.network.pause(0)
    cluster.sleep(5)
    cluster.network.resume(0)
    cluster.sleep(1)
    assert 10 <= cluster.server(0).call("count") <= 13


@pytest.mark.parametrize("instant_ns", range(0, 2000, 250))
def test_a_crash_at_any_instant_of_the_start_is_clean(lab, world, instant_ns):
    cluster = lab(TICKING, world=world)
    cluster.coordinator.sleep_ns(instant_ns)
    cluster.crash(0)
    cluster.start(0)
    cluster.sleep(1)
    assert cluster.server(0).call("count") >= 9


def test_a_shutdown_disarms_a_pending_crash(lab, world):
    cluster = lab(COUNTER, world=world)
    cluster.sleep(0.1)
    cluster.crash(1, before_effect=50)
    assert cluster.shutdown(1).remaining_threads() == []


def test_a_paused_server_that_is_shut_down_hears_of_it(lab, world):
    cluster = lab(SHUTDOWN.format(hangs=False), world=world)
    cluster.sleep(0.5)
    cluster.network.pause(0)
    assert cluster.shutdown(0).remaining_threads() == []


def test_code_that_catches_everything_in_a_c_loop_cannot_hold_up_a_crash(lab):
    cluster = lab("""
        import itertools
        class Server:
            def __init__(self, ends, me, persister):
                self.n = 0
                threading.Thread(target=lambda: any(map(self.cling, itertools.repeat(1)))).start()
            def cling(self, _):
                try:
                    time.sleep(0.01)
                    self.n += 1
                except BaseException:
                    pass
                return False
    """)  # fmt: skip
    cluster.sleep(0.5)
    cluster.crash(0)
    cluster.sleep(1)


def test_two_clusters_at_once_leave_the_process_as_it_was(lab, world):
    import gc
    import os
    import sys

    def process() -> tuple[object, ...]:
        return sys.getrecursionlimit(), gc.isenabled(), os.sched_getaffinity(0)

    before = process()
    first, second = lab(COUNTER, world=world), lab(COUNTER, world=world)
    assert first.server(0).call("add") == second.server(0).call("add") == 1
    first.close()
    assert not gc.isenabled(), "the second run still decides when garbage is collected"
    assert second.server(0).call("add") == 2
    second.close()
    assert process() == before
