"""The real clock with servers as threads: the same runs, judged the same, on real time; and how servers end there."""

from __future__ import annotations

import io
import os
import shutil
import signal
import sys
import threading
import time

import pytest

from labrpc import context
from labrpc.errors import CodeFault, HarnessStalled, InvariantViolation, UsageError
from labrpc.journal import Annotated, Applied, Journal, Printed, Saved, Saving
from tester import interrupts
from tester.lateness import fair_verdict
from tester.raft_cluster import RaftCluster
from tester.run import Options, Run
from tester.timeline import terminal
from tester.timeline.reading import read
from tests.harness.conftest import ROOT, FixedDisturbance, header_line


@pytest.fixture
def threads_before():
    """Those there are already: a server of another test that could not be ended may be among them."""
    return set(threading.enumerate())


@pytest.fixture
def real_run():
    run = Run(1, Options(clock="real"))
    yield run
    run.close()


def new_threads(before) -> set[str]:
    """Names of the threads that are there beside those before, once they have had a moment to leave."""
    deadline = time.monotonic() + 2
    while (new := set(threading.enumerate()) - before) and time.monotonic() < deadline:
        time.sleep(0.01)
    return {thread.name for thread in new}


# ------------------------------------------------------------------ the same tests, the same judge


def test_servers_elect_and_agree_and_leave_no_thread_behind(real_run, threads_before):
    cluster = RaftCluster(real_run, 3)
    began = time.monotonic()
    for number in range(1, 4):
        assert cluster.one(number, 3) == number
    assert time.monotonic() - began == pytest.approx(cluster.now, abs=0.5)
    cluster.crash(0)
    cluster.start(0)
    cluster.one(4, 3)

    real_run.close()
    assert real_run.warnings == []
    assert new_threads(threads_before) == set()


def test_the_journal_can_be_read_and_drawn(real_run):
    cluster = RaftCluster(real_run, 3)
    cluster.one("x", 3)
    file = io.BytesIO()
    cluster.journal.write(file)
    file.seek(0)
    events = list(Journal.read(file))
    assert len(events) == len(cluster.journal)
    assert [event.at for event in events] == sorted(event.at for event in events)
    assert sum(isinstance(event, Applied) for event in events) >= 3
    assert any("leads term" in str(row) for row in terminal.lines(read(cluster.journal), width=120))


def test_a_sample_of_the_graded_tests_passes(run_pytest):
    result = run_pytest("--clock", "real", "--seed", "3", "-k", "initial")
    result.assert_outcomes(passed=1)
    assert "real clock, servers as threads" in result.stdout.str()
    assert "real seconds" in result.stdout.str()


def test_a_broken_rule_is_found_and_told_with_the_way_to_the_virtual_clock(run_pytest, tmp_path):
    solution = tmp_path / "solution"
    shutil.copytree(ROOT / "raft", solution / "raft")
    with (solution / "raft" / "__init__.py").open("a") as file:
        file.write("Raft.get_state = lambda self: (1, True)\n")
    result = run_pytest("--clock", "real", "--seed", "3", "-k", "initial", "--solution", str(solution))
    text = result.stdout.str()
    assert "both lead term 1" in text
    assert "3 (a hint: on the real clock the machine decides the schedule)" in text
    assert "virtual time" not in text
    assert "--seed 3 --clock real" in text
    assert "tester replay test_initial_election --seed 3" in text


def test_a_server_that_remembers_its_clients_is_told_how_much(run_pytest, tmp_path):
    solution = tmp_path / "solution"
    for package in ("raft", "kvraft"):
        shutil.copytree(ROOT / package, solution / package)
    server = solution / "kvraft" / "server.py"
    forgetful = "            return self.store.put(args)"
    assert forgetful in server.read_text()
    remembers = f"            self.store.__dict__.setdefault('seen', []).append(args)\n{forgetful}"
    server.write_text(server.read_text().replace(forgetful, remembers))
    tests = str(ROOT / "tests" / "labs" / "test_3a_kvserver.py")
    result = run_pytest("--clock", "real", "-k", "memory", "--solution", str(solution), tests=tests)
    result.stdout.fnmatch_lines("*the server keeps * bytes more for each client that came, put once and left*")


# ------------------------------------------------------------------ what server code sees

OWN = """
import concurrent.futures, logging, os

class Server:
    def __init__(self, ends, me, persister):
        self.persister = persister
        random.seed(me)

    def draws(self):
        return [random.random() for _ in range(3)], os.getpid()

    def speak(self):
        print("printed")
        logging.warning("logged")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: annotate("pool", "noted").end()).result()

    def save(self):
        save = self.persister.save_async(b"1")
        self.persister.save(b"2", b"s")
        return save.done()
"""


def test_servers_share_no_module_and_their_output_is_in_the_journal(lab):
    cluster = lab(OWN, clock="real")
    first, second = cluster.server(0).call("draws"), cluster.server(1).call("draws")
    assert first[0] != second[0]
    assert first[1] != second[1]
    cluster.server(1).call("speak")
    cluster.sleep(0.01)
    assert [event.text for event in cluster.journal if isinstance(event, Printed)] == [
        "printed",
        "WARNING:root:logged",
    ]
    assert [event.text for event in cluster.journal if isinstance(event, Annotated)] == ["noted"]


def test_a_save_is_durable_when_it_returns_and_all_before_it_are(lab):
    cluster = lab(OWN, clock="real", disturbance=FixedDisturbance(longest_async_save_ns=5_000_000))
    assert cluster.server(0).call("save") is True
    told = [event.number for event in cluster.journal if isinstance(event, Saving | Saved)]
    assert sorted(told) == [1, 1, 2, 2]
    assert cluster.coordinator.disk("0").durable == (b"2", b"s")


def test_each_thread_knows_its_host_while_the_judge_steps_another():
    class Host:
        pass

    mine, stepped, seen = Host(), Host(), []

    def on_a_host() -> None:
        context.enter(mine)
        seen.append(context.here())

    context.current = stepped
    try:
        thread = threading.Thread(target=on_a_host)
        thread.start()
        thread.join()
        assert seen == [mine]
        assert context.here() is stepped
    finally:
        context.current = None


BUSY = """
class Server:
    def __init__(self, ends, me, persister):
        self.ends, self.never = ends, threading.Event()

    def ask_often(self, times):
        for _ in range(times):
            threading.Thread(target=self.ends[1].call, args=("Server.ping", Ping(1))).start()

    def answer(self):
        return 42

    @rpc
    def ping(self, args: Ping) -> Pong:
        self.never.wait()
        return Pong(1)
"""


def test_handlers_that_block_do_not_keep_controls_from_being_answered(lab, threads_before):
    cluster = lab(BUSY, clock="real")
    cluster.server(0).call("ask_often", 80)
    cluster.sleep(0.2)
    assert cluster.server(1).call("answer") == 42
    cluster.close()
    assert cluster.coordinator.warnings == []
    assert new_threads(threads_before) == set()


def test_a_paused_server_finds_what_has_come_when_it_goes_on(lab):
    cluster = lab(BUSY, clock="real")
    cluster.network.pause(0)
    asked = cluster.spawn(lambda: cluster.server(0).call("answer"))
    cluster.sleep(0.1)
    assert not asked.done
    cluster.network.resume(0)
    assert asked.join() == 42


def test_a_clock_cannot_be_set(lab):
    cluster = lab(BUSY, clock="real")
    with pytest.raises(UsageError, match="with --clock virtual only"):
        cluster.network.set_clock(0, offset=1.0)


# ------------------------------------------------------------------ the ends of servers

THREADS = """
import concurrent.futures

class Server:
    def __init__(self, ends, me, persister):
        self.ends, self.pool = ends, concurrent.futures.ThreadPoolExecutor(2)

    def block_in(self, how):
        lock = threading.Lock()
        lock.acquire()
        threading.Thread(target={
            "queue": queue.Queue().get,
            "event": threading.Event().wait,
            "call": self.call_on,
            "sleep": lambda: time.sleep(60),
            "loop": self.loop,
            "swallow": self.swallow,
            "timer": lambda: threading.Timer(60, print).run(),
            "pool": lambda: self.pool.submit(threading.Event().wait).result(),
            "lock": lambda: lock.acquire(timeout=4),
        }[how], name="stubborn").start()

    def die(self):
        threading.Thread(target=self.fail, name="applier").start()

    def fail(self):
        raise ValueError("no such entry")

    def call_on(self):
        while True:
            self.ends[1].call("Server.ping", Ping(1))

    def loop(self):
        while True:
            pass

    def swallow(self):
        while True:
            try:
                time.sleep(0.001)
            except Exception:
                pass

    @rpc
    def ping(self, args: Ping) -> Pong:
        return Pong(1)
"""


@pytest.mark.parametrize("how", ["queue", "event", "call", "sleep", "loop", "swallow", "timer", "pool"])
def test_a_crash_ends_the_threads_of_a_server_that_has_no_kill(lab, threads_before, how):
    cluster = lab(THREADS, clock="real")
    cluster.server(0).call("block_in", how)
    cluster.sleep(0.05)
    cluster.crash(0)
    cluster.crash(1)
    cluster.sleep(0.3)
    assert {thread.name for thread in set(threading.enumerate()) - threads_before} <= {"lab reaper"}
    assert cluster.server(0).call("die") is None


def test_a_thread_that_nothing_can_end_is_named_with_its_line(lab):
    cluster = lab(THREADS, clock="real")
    cluster.server(0).call("block_in", "lock")
    cluster.close()
    (warning,) = cluster.coordinator.warnings
    assert warning.startswith("server 0: threads go on after its end")
    assert "stubborn is running, or waits for a lock" in warning
    assert "raft/__init__.py:" in warning


def test_a_thread_that_dies_fails_the_test_with_its_line(lab):
    cluster = lab(THREADS, clock="real")
    line = header_line(1 + THREADS.strip().split("\n").index('        raise ValueError("no such entry")'))
    with pytest.raises(CodeFault) as caught:
        cluster.server(0).call("die")
        cluster.sleep(1)
    assert str(caught.value) == f"server 0: thread applier died: ValueError: no such entry at raft/__init__.py:{line}"
    assert 'raise ValueError("no such entry")' in caught.value.detail


# ------------------------------------------------------------------ the machine's faults, and the user's hand


def test_a_failure_after_the_harness_stood_still_is_the_harness_s(lab):
    cluster = lab(BUSY, clock="real")
    cluster.spawn(lambda: cluster.sleep(0.1))
    time.sleep(0.7)
    cluster.sleep(0.01)
    run = cluster.run
    fair = fair_verdict(run, AssertionError("no leader\nin sight"))
    assert isinstance(fair, HarnessStalled)
    assert "stood still for 0.7 s at 0.7 s" in str(fair)
    assert "the test's own verdict was: no leader)" in str(fair)
    overdue = CodeFault("no answer", is_overdue=True)
    assert isinstance(fair_verdict(run, overdue), HarnessStalled)
    for timeless in (InvariantViolation("two leaders"), CodeFault("died"), UsageError("no")):
        assert fair_verdict(run, timeless) is timeless


STALLS = """
import time
from tester.parts import part

@part("2A", points=1)
def test_stalls(raft_cluster):
    cluster = raft_cluster(servers=3)
    cluster.one_leader()
    time.sleep(1.2)
    cluster.sleep(0.01)
    assert False, "too few were told"

@part("2A", points=1)
def test_stalls_at_first(raft_cluster, tmp_path_factory):
    again = tmp_path_factory.getbasetemp() / "again"
    cluster = raft_cluster(servers=3)
    cluster.one_leader()
    if not again.exists():
        again.touch()
        time.sleep(0.6)
        cluster.sleep(0.01)
        assert False, "too few were told"

@part("2A", points=1)
def test_sleeps(raft_cluster):
    raft_cluster(servers=3).sleep(60)
"""


def test_a_stall_is_reported_as_the_harness_s_fault(run_pytest, tmp_path):
    (tmp_path / "test_slow.py").write_text(STALLS)
    result = run_pytest("--clock", "real", "-k", "stalls and not first", tests=str(tmp_path / "test_slow.py"))
    text = result.stdout.str()
    assert "HarnessStalled: the harness itself stood still for 1." in text
    assert "(the test's own verdict was: too few were told" in text
    assert "so the test was run once more" in text


def test_a_test_whose_run_stood_still_has_one_more_try(run_pytest, tmp_path):
    (tmp_path / "test_slow.py").write_text(STALLS)
    result = run_pytest("--clock", "real", "-k", "first", tests=str(tmp_path / "test_slow.py"))
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.re_match_lines([".*stood still for 0.* so the test was run once more"])


def test_the_wall_time_limit_shows_where_every_thread_is(run_pytest, tmp_path):
    (tmp_path / "test_slow.py").write_text(STALLS)
    result = run_pytest("--clock", "real", "-k", "sleeps", "--timeout", "4", tests=str(tmp_path / "test_slow.py"))
    text = result.stdout.str()
    assert "the test took more than 4 s of wall time" in text
    assert "server 0: lab disk:\n" in text or "election timer:\n" in text
    assert "in _election_timer\n" in text


def test_ctrl_c_is_raised_in_the_test_at_once(real_run):
    cluster = RaftCluster(real_run, 3)
    began = time.monotonic()
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt), interrupts.deferred(real_run):
        cluster.sleep(30)
    assert time.monotonic() - began < 1


def test_the_switch_interval_holds_for_the_run():
    before = sys.getswitchinterval()
    run = Run(1, Options(clock="real", switch_interval=0.0001))
    cluster = RaftCluster(run, 3)
    assert sys.getswitchinterval() == pytest.approx(0.0001)
    cluster.one(1, 3)
    run.close()
    assert sys.getswitchinterval() == pytest.approx(before)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--clock", "real", "--shrink"], "--shrink needs runs that can be had again"),
        (["--clock", "real", "--check-determinism"], "--check-determinism needs runs that can be had again"),
        (["--gil-switch-interval", "0.1"], "--gil-switch-interval needs --clock real"),
        (["--clock", "real", "--gil-switch-interval", "soon"], "--gil-switch-interval soon is not a number of seconds"),
        (["--clock", "real", "--gil-switch-interval", "0"], "--gil-switch-interval 0 is not in 0.000001..10 seconds"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_options_that_do_not_fit_the_real_clock_are_refused(run_pytest, arguments, expected):
    result = run_pytest(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert expected in result.stderr.str()
