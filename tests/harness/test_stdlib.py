"""The standard library that server code sees on a host: virtual time, named threads, diagnosis, and nothing shared.

Most tests run a few lines of server code on one host and look at what it printed and what the host reported:

    run("raft/__init__.py's text") --Host--> Outcome(lines, reports)
"""

from __future__ import annotations

import datetime as real_datetime
import importlib
import random as real_random
import sys
import textwrap
import time as real_time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from labrpc.virtual import stdlib
from labrpc.virtual.frames import HostSettings, InboxItem, Output, Report, SetClock
from labrpc.virtual.host import Host
from labrpc.virtual.loader import CodeBundle

SECOND = 1_000_000_000
QUANTUM_NS = 10_000_000


class Outcome(NamedTuple):
    """What a host did until it was idle."""

    host: Host
    outputs: list[Output]
    reports: list[Report]

    @property
    def lines(self) -> list[str]:
        return [output.text for output in self.outputs]

    @property
    def kinds(self) -> list[str]:
        return [report.kind for report in self.reports]


Run = Callable[..., Outcome]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A function that runs server code on a host until nothing is left to do, or until virtual time `until`."""
    count = 0

    def run(
        source: str,
        *,
        name: str = "server-0",
        seed: int = 1,
        mean_gap: int = 0,
        clock: SetClock | None = None,
        until: int = 3600 * SECOND,
        expects_reports: bool = False,
    ) -> Outcome:
        nonlocal count
        count += 1
        root = tmp_path / str(count)
        (root / "raft").mkdir(parents=True)
        (root / "raft" / "__init__.py").write_text(textwrap.dedent(source))
        settings = HostSettings(name, 1, seed.to_bytes(16, "big"), name, [], mean_gap, 1_000_000, 0, 1 << 20)
        host = Host(settings, CodeBundle.build(root, {}))
        host.spawn("main", host.loader.import_module, "raft")
        inbox: list[InboxItem] = [clock] if clock is not None else []
        outcome = Outcome(host, [], [])
        now: int | None = 0
        while now is not None and now < until:
            step = host.step(now, QUANTUM_NS, inbox)
            outcome.outputs.extend(effect for effect in step.effects if isinstance(effect, Output))
            outcome.reports.extend(effect for effect in step.effects if isinstance(effect, Report))
            now, inbox = step.wake, []
        if not expects_reports:
            assert not outcome.reports, outcome.reports[0].text + "\n" + outcome.reports[0].detail
        return outcome

    return run


# ------------------------------------------------------------------ time


def test_an_hour_of_sleep_costs_no_real_time(run: Run) -> None:
    began = real_time.perf_counter()
    outcome = run("import time; time.sleep(3600 - 1); print(time.monotonic())", until=4000 * SECOND)
    assert outcome.lines == ["3599.0"]
    assert real_time.perf_counter() - began < 5


@pytest.mark.parametrize(
    "expression",
    [
        "time.sleep(0.25)",
        "lock.acquire(timeout=0.25)",
        "rlock.acquire(timeout=0.25)",
        "event.wait(0.25)",
        "condition.wait(0.25)",
        "condition.wait_for(lambda: False, 0.25)",
        "semaphore.acquire(timeout=0.25)",
        "thread.join(0.25)",
        "empty(queue.Queue(), 0.25)",
        "empty(queue.SimpleQueue(), 0.25)",
        "full(0.25)",
        "broken(0.25)",
        "late(0.25)",
    ],
)
@pytest.mark.parametrize("drift_ppm", [0, 100_000, -100_000])
def test_a_timeout_lasts_as_long_as_the_hosts_own_clock_says(run: Run, expression: str, drift_ppm: int) -> None:
    outcome = run(
        f"""
        import concurrent.futures, queue, threading, time
        lock, rlock, event, semaphore = threading.Lock(), threading.RLock(), threading.Event(), threading.Semaphore(0)
        condition = threading.Condition()
        condition.acquire()

        def hold():
            with lock, rlock:
                time.sleep(1)

        def empty(source, timeout):
            try:
                source.get(timeout=timeout)
            except queue.Empty:
                return False

        def full(timeout):
            target = queue.Queue(1)
            target.put(1)
            try:
                target.put(2, timeout=timeout)
            except queue.Full:
                return False

        def broken(timeout):
            try:
                threading.Barrier(2).wait(timeout)
            except threading.BrokenBarrierError:
                return False

        def late(timeout):
            future = concurrent.futures.Future()
            try:
                future.result(timeout)
            except TimeoutError:
                return False

        thread = threading.Thread(target=hold)
        thread.start()
        time.sleep(0.001)
        began = time.monotonic()
        result = {expression}
        print(result or False, round(time.monotonic() - began, 5))
        """,
        clock=SetClock(5 * SECOND, drift_ppm),
    )
    assert outcome.lines == ["False 0.25"]
    assert outcome.outputs[0].at == pytest.approx(0.251 * SECOND / (1 + drift_ppm / 1e6), rel=1e-3)


def test_a_timed_wait_is_never_shorter_than_the_timer_slack(run: Run) -> None:
    outcome = run("import time; time.sleep(1e-9); print(time.monotonic_ns())")
    assert outcome.lines == ["50000"]


@pytest.mark.parametrize(
    ("length", "error"),
    [("-1", "ValueError"), ("float('nan')", "ValueError"), ("1e300", "OverflowError"), ("'1'", "TypeError")],
)
def test_sleep_refuses_what_is_no_length_of_time(run: Run, length: str, error: str) -> None:
    outcome = run(f"import time; time.sleep({length})", expects_reports=True)
    assert outcome.kinds == ["died"] or outcome.kinds == ["boot"]
    assert error in outcome.reports[0].text


def test_the_wall_clock_starts_at_a_fixed_instant_in_utc(run: Run) -> None:
    outcome = run(
        """
        import time
        print(time.time(), time.time_ns(), time.strftime("%Y-%m-%dT%H:%M:%S%z"), time.ctime())
        print(time.mktime(time.localtime(12345)), time.gmtime() == time.localtime(), time.tzname)
        print(time.get_clock_info("monotonic").monotonic, time.clock_gettime(time.CLOCK_REALTIME))
        """
    )
    assert outcome.lines == [
        "1700000000.0 1700000000000000000 2023-11-14T22:13:20+0000 Tue Nov 14 22:13:20 2023",
        "12345.0 True ('UTC', 'UTC')",
        "True 1700000000.0",
    ]


def test_clock_functions_do_not_turn_into_methods(run: Run) -> None:
    outcome = run(
        """
        import time
        class Server:
            now = time.monotonic
            pause = time.sleep
        server = Server()
        server.pause(2)
        print(server.now())
        """
    )
    assert outcome.lines == ["2.0"]


def test_sleep_0_gives_way_to_other_threads(run: Run) -> None:
    outcome = run(
        """
        import threading, time
        def work(name):
            for n in range(3):
                print(name, n)
                time.sleep(0)
        for name in "ab":
            threading.Thread(target=work, args=(name,)).start()
        """
    )
    assert outcome.lines == ["a 0", "b 0", "a 1", "b 1", "a 2", "b 2"]


def test_a_loop_around_sleep_0_is_reported_as_spinning_where_it_spins(run: Run) -> None:
    outcome = run(
        """
        import threading, time
        def poll():
            while True:
                time.sleep(0)
        threading.Thread(target=poll, name="poller").start()
        """,
        until=2 * SECOND,
        expects_reports=True,
    )
    assert outcome.kinds == ["spin"]
    assert "poller" in outcome.reports[0].text
    assert outcome.reports[0].site == "raft/__init__.py:5"


def test_datetime_is_virtual_and_behaves_like_the_real_classes(run: Run) -> None:
    outcome = run(
        """
        import datetime, json, time
        from datetime import date, datetime as dt, timedelta, timezone
        time.sleep(86400)
        print(dt.now(), dt.utcnow() == dt.today() == dt.now(), date.today())
        print(dt.now(timezone(timedelta(hours=2))), repr(dt.now(timezone.utc)))
        later = dt.now() + timedelta(days=1)
        print(type(later) is dt, isinstance(later, date), later - dt.now(), later.date() == date(2023, 11, 16))
        print(dt.fromtimestamp(0), dt.now().timestamp() == time.time(), dt.now().astimezone().tzinfo)
        print(f"{dt.now():%H}", date.today().strftime("%d"), time.strptime("2024", "%Y").tm_year, dt.now().time())
        print(dt.strptime("2024", "%Y"), dt.max > dt.now() > dt.min, issubclass(dt, date))
        class Day(date):
            pass
        print(isinstance(date(2024, 1, 1), Day), Day.today(), isinstance(Day.today(), date))
        """,
        until=100_000 * SECOND,
    )
    assert outcome.lines == [
        "2023-11-15 22:13:20 True 2023-11-15",
        "2023-11-16 00:13:20+02:00 datetime.datetime(2023, 11, 15, 22, 13, 20, tzinfo=datetime.timezone.utc)",
        "True True 1 day, 0:00:00 True",
        "1970-01-01 00:00:00 True UTC",
        "22 15 2024 22:13:20",
        "2024-01-01 00:00:00 True True",
        "False 2023-11-15 True",
    ]


def test_real_dates_are_instances_of_the_hosts_classes() -> None:
    host_datetime = stdlib.datetime.namespace()
    assert isinstance(real_datetime.datetime(2024, 1, 1), host_datetime["datetime"])
    assert isinstance(real_datetime.date(2024, 1, 1), host_datetime["date"])
    assert not isinstance(real_datetime.date(2024, 1, 1), host_datetime["datetime"])
    assert issubclass(host_datetime["datetime"], real_datetime.datetime)


# ------------------------------------------------------------------ threads


def test_names_and_numbers_of_threads_depend_on_the_order_of_events_alone(run: Run) -> None:
    source = """
        import threading
        def work():
            print(threading.current_thread(), threading.get_ident(), threading.current_thread() is threads[-1])
        threads = []
        for target, name in ((work, None), (work, "applier"), (lambda: work(), None)):
            threads.append(threading.Thread(target=target, name=name, daemon=True))
            threads[-1].start()
            print(threading.active_count(), [thread.name for thread in threading.enumerate()])
            threads[-1].join()
        print(threading.main_thread(), threading.current_thread() is threading.main_thread(), threads[0].is_alive())
        """
    expected = [
        "2 ['MainThread', 'Thread-1 (work)']",
        "<Thread(Thread-1 (work), started daemon 2)> 2 True",
        "2 ['MainThread', 'applier']",
        "<Thread(applier, started daemon 3)> 3 True",
        "2 ['MainThread', 'Thread-2 (<lambda>)']",
        "<Thread(Thread-2 (<lambda>), started daemon 4)> 4 True",
        "<_MainThread(MainThread, started 1)> True False",
    ]
    assert run(source).lines == expected
    assert run(source, name="server-1", seed=2).lines == expected


def test_a_thread_the_host_started_has_the_hosts_name_for_it(run: Run) -> None:
    outcome = run("import threading; show = lambda: print(threading.current_thread().name, threading.get_ident())")
    host = outcome.host
    host.spawn("Raft.request_vote", host.loader.modules["raft"].show)
    effects = host.step(host.now, QUANTUM_NS, []).effects
    assert [effect.text for effect in effects if isinstance(effect, Output)] == ["Raft.request_vote 2"]


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("thread.start()", "threads can only be started once"),
        ("threading.Thread().join()", "cannot join thread before it is started"),
        ("threading.current_thread().join()", "cannot join current thread"),
        ("thread.daemon = True", "cannot set daemon status of active thread"),
        ("Forgetful().start()", "thread.__init__() not called"),
    ],
)
def test_misused_threads_raise_what_cpython_raises(run: Run, statement: str, text: str) -> None:
    outcome = run(
        f"""
        import threading, time
        class Forgetful(threading.Thread):
            def __init__(self):
                pass
        thread = threading.Thread(target=time.sleep, args=(1,))
        thread.start()
        try:
            {statement}
        except RuntimeError as error:
            print(error)
        """
    )
    assert outcome.lines == [text]


def test_timer_calls_its_function_late_or_not_at_all(run: Run) -> None:
    outcome = run(
        """
        import threading, time
        def ring(name):
            print(name, time.monotonic())
        first = threading.Timer(1.5, ring, ["first"])
        second = threading.Timer(1.0, ring, kwargs={"name": "second"})
        first.start(), second.start()
        time.sleep(0.5)
        second.cancel()
        second.join()
        print(second.finished.is_set(), first.is_alive())
        """
    )
    assert outcome.lines == ["True True", "first 1.5"]


def test_a_local_has_other_values_in_each_thread(run: Run) -> None:
    outcome = run(
        """
        import threading
        class Context(threading.local):
            made = 0
            def __init__(self, start):
                Context.made += 1
                self.values = [start]
            @property
            def last(self):
                return self.values[-1]
        context, plain = Context(7), threading.local()
        plain.x = "main"
        def work(n):
            context.values.append(n)
            print(context.last, context.values, hasattr(plain, "x"))
            plain.x = n
            print(plain.x, plain.__dict__)
        for n in range(2):
            thread = threading.Thread(target=work, args=(n,))
            thread.start()
            thread.join()
        print(context.last, plain.x, Context.made)
        del plain.x
        print(vars(plain))
        """,
        mean_gap=3,
    )
    assert outcome.lines == ["0 [7, 0] False", "0 {'x': 0}", "1 [7, 1] False", "1 {'x': 1}", "7 main 3", "{}"]


def test_a_local_may_block_while_a_thread_initialises_it(run: Run) -> None:
    outcome = run(
        """
        import threading, time
        class Context(threading.local):
            def __init__(self):
                self.name = threading.current_thread().name
                time.sleep(0.1)
        context = Context()
        def work():
            print(context.name)
        for name in "ab":
            threading.Thread(target=work, name=name).start()
        """
    )
    assert outcome.lines == ["a", "b"]


def test_values_of_a_local_go_with_the_object(run: Run) -> None:
    outcome = run(
        """
        import threading, weakref
        class Value:
            pass
        local = threading.local()
        local.value = Value()
        seen = weakref.ref(local.value)
        print(seen() is not None)
        del local
        print(seen() is None)
        """
    )
    assert outcome.lines == ["True", "True"]


def test_a_thread_that_dies_is_reported_with_its_line(run: Run) -> None:
    outcome = run(
        """
        import threading
        def work():
            raise ValueError("no such entry")
        threading.Thread(target=work, name="applier").start()
        """,
        expects_reports=True,
    )
    assert outcome.kinds == ["died"]
    assert outcome.reports[0].text == "thread applier died: ValueError: no such entry"
    assert outcome.reports[0].site == "raft/__init__.py:4"
    assert 'raise ValueError("no such entry")' in outcome.reports[0].detail


def test_server_code_may_set_its_own_excepthook_for_threads(run: Run) -> None:
    outcome = run(
        """
        import sys, threading
        def hook(args):
            print(args.thread.name, args.exc_type.__name__)
            if str(args.exc_value) == "2":
                threading.__excepthook__(args)
            if str(args.exc_value) == "3":
                raise KeyError("in the hook")
        def work(n):
            if n == 0:
                sys.exit(1)
            raise ValueError(n)
        first = threading.Thread(target=work, args=(0,))
        first.start()
        first.join()
        threading.excepthook = hook
        for n in (1, 2, 3):
            threading.Thread(target=work, args=(n,), name=f"worker {n}").start()
        """,
        expects_reports=True,
    )
    assert outcome.lines == ["worker 1 ValueError", "worker 2 ValueError", "worker 3 ValueError"]
    assert [report.text for report in outcome.reports] == [
        "thread worker 2 died: ValueError: 2",
        "thread worker 3 died: KeyError: 'in the hook'",
    ]


def test_nothing_outlives_the_end_of_its_host(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = run(
        """
        import queue, threading, time
        condition, lock, empty = threading.Condition(), threading.Lock(), queue.Queue()
        lock.acquire()
        def stubborn(wait):
            while True:
                try:
                    with condition:
                        wait()
                except BaseException:
                    print("caught")
                finally:
                    print("finally")
                print("survived")
        waits = (condition.wait, empty.get, lock.acquire, lambda: time.sleep(1000), threading.Event().wait)
        for wait in waits:
            threading.Thread(target=stubborn, args=(wait,)).start()
        """,
        until=SECOND,
    )
    assert len(outcome.host.threads) == 5
    printed: list[str] = []
    monkeypatch.setattr(outcome.host, "output", printed.append)
    outcome.host.end()
    assert not printed
    assert not outcome.host.threads


def test_the_end_of_a_host_is_no_exception_that_server_code_could_handle(run: Run) -> None:
    outcome = run(
        """
        import threading
        seen, condition = [], threading.Condition()
        threading.excepthook = note = seen.append
        def careful():
            try:
                with condition:
                    condition.wait()
            except Exception as error:
                note(error)
        for target in (careful, threading.Event().wait):
            threading.Thread(target=target).start()
        """,
        until=SECOND,
    )
    seen = outcome.host.loader.modules["raft"].seen
    outcome.host.end()
    assert not seen


# ------------------------------------------------------------------ locks


@pytest.mark.parametrize(
    ("made", "acquire", "release"),
    [
        ("threading.Lock()", "acquire", "release"),
        ("threading.RLock()", "acquire", "release"),
        ("threading.Semaphore()", "acquire", "release"),
        ("Handover()", "get", "put"),
    ],
)
def test_who_gave_up_waiting_takes_no_wake_up_from_who_still_waits(
    run: Run, made: str, acquire: str, release: str
) -> None:
    outcome = run(
        f"""
        import queue, threading, time
        class Handover(queue.SimpleQueue):
            def __init__(self):
                super().__init__()
                super().put(0)
            def put(self):
                super().put(0)
            def get(self, timeout=None):
                try:
                    return super().get(timeout=timeout)
                except queue.Empty:
                    pass
        wanted = {made}
        def impatient():
            wanted.{acquire}(timeout=0.1)
            time.sleep(10)
            print("slept", round(time.monotonic(), 3))
        def patient():
            wanted.{acquire}()
            print("acquired", round(time.monotonic(), 3))
        def hold():
            wanted.{acquire}()
            time.sleep(1)
            wanted.{release}()
        for target in (hold, impatient, patient):
            threading.Thread(target=target).start()
        """
    )
    assert outcome.lines == ["acquired 1.0", "slept 10.1"]


def test_a_condition_gives_back_a_lock_that_was_acquired_twice_and_takes_it_twice(run: Run) -> None:
    outcome = run(
        """
        import threading
        condition = threading.Condition()
        def attempt():
            print(condition.acquire(False))
        def from_a_thread():
            thread = threading.Thread(target=attempt)
            thread.start()
            thread.join()
        def notify():
            with condition:
                condition.notify()
        with condition:
            with condition:
                threading.Timer(1, notify).start()
                print("notified", condition.wait())
            from_a_thread()
        from_a_thread()
        """
    )
    assert outcome.lines == ["notified True", "False", "True"]


def test_reprs_and_copies_of_locks_show_no_address(run: Run) -> None:
    outcome = run(
        """
        import copy, queue, threading
        made = [threading.Lock(), threading.RLock(), threading.Event(), threading.Semaphore(2), threading.Barrier(2)]
        made[1].acquire()
        print(*made, threading.Condition(made[0]), sep="\\n")
        for thing in (*made, threading.Condition(), queue.Queue(), threading.Thread()):
            try:
                copy.deepcopy([thing])
            except TypeError as error:
                print(error)
        """
    )
    assert outcome.lines[:6] == [
        "<unlocked threading.Lock object at server-0/1>",
        "<locked threading.RLock object owner='MainThread' count=1 at server-0/2>",
        "<threading.Event at server-0/3: unset>",
        "<threading.Semaphore at server-0/4: value=2>",
        "<threading.Barrier at server-0/5: waiters=0/2>",
        "<Condition(<unlocked threading.Lock object at server-0/1>, 0)>",
    ]
    assert outcome.lines[6:8] == ["cannot pickle or copy 'Lock' object", "cannot pickle or copy 'RLock' object"]
    assert len(outcome.lines) == 6 + 8


def test_each_thread_knows_how_many_locks_it_holds(run: Run) -> None:
    outcome = run(
        """
        import threading
        lock, condition = threading.Lock(), threading.Condition()
        def wait():
            with lock, condition, condition:
                condition.wait(1)
        thread = threading.Thread(target=wait)
        thread.start()
        """,
        until=SECOND // 2,
    )
    host = outcome.host
    waiting = host.threads[2]
    assert waiting.locks_held == 1  # the condition's is given back while it waits
    host.spawn("helper", host.loader.modules["raft"].lock.release)
    host.step(host.now, QUANTUM_NS, [])
    assert waiting.locks_held == 0


def test_acquiring_ones_own_lock_is_reported_at_once(run: Run) -> None:
    outcome = run(
        """
        import threading
        class Raft:
            def __init__(self):
                self.mu = threading.Lock()
            def outer(self):
                with self.mu:
                    self.inner()
            def inner(self):
                with self.mu:
                    pass
        threading.Thread(target=Raft().outer, name="ticker").start()
        """,
        expects_reports=True,
    )
    assert outcome.kinds == ["deadlock"]
    report = outcome.reports[0]
    assert report.text == "thread ticker acquires Raft.mu, which it holds already"
    assert report.site == "raft/__init__.py:10"
    assert report.at < SECOND // 1000
    assert "ticker waits for Raft.mu, held by ticker" in report.detail


def test_a_cycle_of_locks_is_reported_with_threads_and_locks_by_name(run: Run) -> None:
    outcome = run(
        """
        import threading, time
        class Server:
            def __init__(self):
                self.log_lock, self.state_lock = threading.Lock(), threading.RLock()
            def append(self):
                with self.log_lock:
                    time.sleep(0.1)
                    with self.state_lock:
                        pass
            def vote(self):
                with self.state_lock:
                    time.sleep(0.1)
                    with self.log_lock:
                        pass
        server = Server()
        threading.Thread(target=server.append, name="appender").start()
        threading.Thread(target=server.vote, name="voter").start()
        """,
        until=SECOND,
        expects_reports=True,
    )
    assert outcome.kinds == ["deadlock"]
    report = outcome.reports[0]
    assert report.text == (
        "voter waits for Server.log_lock, held by appender; appender waits for Server.state_lock, held by voter"
    )
    assert report.site == "raft/__init__.py:14"
    assert "raft/__init__.py:9 in append" in report.detail


def test_a_lock_that_is_waited_for_too_long_is_reported_with_its_holder(run: Run) -> None:
    outcome = run(
        """
        import threading, time
        lock = threading.Lock()
        def hold():
            with lock:
                time.sleep(5)
        threading.Thread(target=hold, name="holder").start()
        time.sleep(0.5)
        with lock:
            print(time.monotonic() >= 5)
        """,
        expects_reports=True,
    )
    assert outcome.lines == ["True"]
    assert outcome.kinds == ["deadlock"]
    assert "has waited 2 s for" in outcome.reports[0].text
    assert "held by holder (in raft/__init__.py:6, where it sleeps)" in outcome.reports[0].text
    assert outcome.reports[0].at == pytest.approx(2.5 * SECOND, rel=1e-4)


def test_a_cycle_that_a_timeout_breaks_is_no_deadlock(run: Run) -> None:
    outcome = run(
        """
        import threading, time
        first, second = threading.Lock(), threading.Lock()
        def polite():
            with first:
                time.sleep(0.1)
                print(second.acquire(timeout=0.5))
        threading.Thread(target=polite).start()
        with second:
            time.sleep(0.2)
            with first:
                print("mine")
        """
    )
    assert outcome.lines == ["False", "mine"]


def test_a_foreign_release_warns_once_a_site_and_makes_the_lock_a_signal(run: Run) -> None:
    outcome = run(
        """
        import threading, time
        done = threading.Lock()
        def work():
            for _ in range(3):
                time.sleep(0.1)
                done.release()
        done.acquire()
        threading.Thread(target=work, name="worker").start()
        time.sleep(0.15)
        for _ in range(3):
            done.acquire()
        """,
        until=10 * SECOND,
        expects_reports=True,
    )
    assert outcome.kinds == ["foreign-release"]
    assert outcome.reports[0].site == "raft/__init__.py:7"


def test_a_lock_of_the_servers_own_making_works_under_a_condition(run: Run) -> None:
    outcome = run(
        """
        import threading
        class Counted:
            def __init__(self):
                self.inner, self.acquired = threading.Lock(), 0
            def acquire(self, *args):
                self.acquired += 1
                return self.inner.acquire(*args)
            def release(self):
                self.inner.release()
            def __enter__(self):
                self.acquire()
            def __exit__(self, *error):
                self.release()
        lock = Counted()
        condition = threading.Condition(lock)
        with condition:
            print(condition.wait(0.1), condition.wait_for(lambda: 7))
        print(lock.acquired > 2)
        """
    )
    assert outcome.lines == ["False 7", "True"]


# ------------------------------------------------------------------ queues and executors


def test_a_queue_that_is_shut_down_wakes_who_waits(run: Run) -> None:
    outcome = run(
        """
        import queue, threading, time
        work, full = queue.Queue(), queue.Queue(1)
        full.put(0)
        def attempt(name, function, *args):
            try:
                function(*args)
            except queue.ShutDown:
                print(name, "shut down at", time.monotonic())
        threading.Thread(target=attempt, args=("get", work.get)).start()
        threading.Thread(target=attempt, args=("put", full.put, 1)).start()
        time.sleep(1)
        work.shutdown(), full.shutdown()
        time.sleep(1)
        print(full.get(), issubclass(queue.ShutDown, Exception))
        attempt("drained", full.get)
        """
    )
    assert [line.partition(".")[0] for line in outcome.lines] == [
        "get shut down at 1",
        "put shut down at 1",
        "0 True",
        "drained shut down at 2",
    ]


def test_comparisons_in_a_priority_queue_may_be_preempted(run: Run) -> None:
    outcome = run(
        """
        import queue, threading
        class Job:
            def __init__(self, rank):
                self.rank = rank
            def __lt__(self, other):
                return self.rank < other.rank
        jobs, got = queue.PriorityQueue(), []
        def put(start):
            for n in range(start, 60, 3):
                jobs.put(Job(n))
        threads = [threading.Thread(target=put, args=(start,)) for start in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print([jobs.get().rank for _ in range(60)] == list(range(60)))
        """,
        mean_gap=2,
    )
    assert outcome.lines == ["True"]


def test_the_mutex_of_a_queue_keeps_others_out(run: Run) -> None:
    outcome = run(
        """
        import queue, threading, time
        source = queue.Queue()
        source.put(1)
        def get():
            print(source.get(), time.monotonic() >= 1)
        def put():
            source.put(2)
            print(time.monotonic() >= 1, list(source.queue))
        with source.mutex:
            for target in (get, put):
                threading.Thread(target=target).start()
            time.sleep(1)
            source.queue.append(3)
        """
    )
    assert outcome.lines == ["1 True", "True [3, 2]"]


def test_an_unbuffered_handover_between_threads_keeps_its_order(run: Run) -> None:
    outcome = run(
        """
        import queue, threading
        channel = queue.Queue(1)
        def produce():
            for n in range(100):
                channel.put(n)
            channel.put(None)
        threading.Thread(target=produce).start()
        print(list(iter(channel.get, None)) == list(range(100)), channel.empty(), channel.unfinished_tasks)
        """,
        mean_gap=3,
    )
    assert outcome.lines == ["True True 101"]


def test_thread_pools_run_in_virtual_time(run: Run) -> None:
    outcome = run(
        """
        import threading, time
        from concurrent import futures
        def work(n):
            time.sleep(n)
            if n == 4:
                raise ValueError(n)
            return n, threading.current_thread().name
        with futures.ThreadPoolExecutor(max_workers=2, thread_name_prefix="pool") as pool:
            print(*pool.map(work, (3, 1, 1)), time.monotonic() < 3.1)
            jobs = [pool.submit(work, n) for n in (2, 4)]
            try:
                for job in futures.as_completed(jobs, timeout=3):
                    print(job.result()[0])
            except futures.TimeoutError as error:
                print(error)
        print(jobs[1].done(), repr(jobs[1].exception()), round(time.monotonic(), 3))
        try:
            pool.submit(work, 1)
        except RuntimeError as error:
            print(error)
        done, pending = futures.wait(jobs, return_when=futures.FIRST_COMPLETED)
        print(len(done), len(pending))
        """
    )
    assert outcome.lines == [
        "(3, 'pool_0') (1, 'pool_1') (1, 'pool_1') True",
        "2",
        "1 (of 2) futures unfinished",
        "True ValueError(4) 7.0",
        "cannot schedule new futures after shutdown",
        "2 0",
    ]


def test_futures_come_in_an_order_that_no_address_decides(run: Run) -> None:
    outcome = run(
        """
        import time
        from concurrent import futures
        with futures.ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(lambda n=n: n) for n in range(8)]
            time.sleep(1)
            print([job.result() for job in futures.as_completed(jobs)])
            print([job.result() for job in futures.wait(jobs).done])
        """
    )
    assert outcome.lines == [str([7, 6, 5, 4, 3, 2, 1, 0]), str([0, 1, 2, 3, 4, 5, 6, 7])]


def test_sched_runs_on_the_hosts_clock(run: Run) -> None:
    outcome = run(
        """
        import sched, time
        agenda = sched.scheduler()
        for delay in (3, 1, 2):
            agenda.enter(delay, 1, lambda: print(round(time.monotonic(), 3)))
        agenda.run()
        """
    )
    assert outcome.lines == ["1.0", "2.0", "3.0"]


# ------------------------------------------------------------------ randomness

DRAWS = """
    import os, random, secrets, statistics, uuid
    print(random.random(), random.randint(0, 10**9), random.sample(range(100), 3), random.Random().random())
    print(random.SystemRandom().getrandbits(70), os.urandom(8), uuid.uuid4(), uuid.uuid1(), secrets.token_hex())
    print(secrets.choice("abc"), secrets.randbelow(10**9), statistics.NormalDist().samples(1))
    """


def test_a_seed_fixes_every_draw_and_hosts_draw_differently(run: Run) -> None:
    first, again, other = (run(DRAWS, seed=seed).lines for seed in (1, 1, 2))
    assert first == again
    assert not set(first[:2]) & set(other[:2])


def test_random_has_the_real_modules_api_and_generator(run: Run) -> None:
    outcome = run(
        """
        import random
        random.seed(42)
        state = random.getstate()
        first = random.random()
        random.setstate(state)
        print(first == random.random(), first, random.Random("x").random(), random.gauss(0, 1) is not None)
        print(all(hasattr(random, name) for name in random.__all__), sorted(random.__all__))
        """
    )
    expected = f"True {real_random.Random(42).random()} {real_random.Random('x').random()} True"
    assert outcome.lines == [expected, f"True {sorted(real_random.__all__)}"]


def test_uuids_are_well_formed(run: Run) -> None:
    outcome = run(
        """
        import uuid
        first, second = uuid.uuid1(), uuid.uuid1()
        print(uuid.uuid4().version, first.version, first.time < second.time, first.node == uuid.getnode())
        print(uuid.uuid5(uuid.NAMESPACE_DNS, "x") == uuid.UUID(str(uuid.uuid5(uuid.NAMESPACE_DNS, "x"))))
        """
    )
    assert outcome.lines == ["4 1 True True", "True"]


# ------------------------------------------------------------------ output


def test_what_is_printed_becomes_lines_of_output_with_their_thread(run: Run) -> None:
    outcome = run(
        """
        import pprint, sys, threading, traceback
        print("a", 1, None, sep="-")
        print("no newline", end="")
        print("; and", "now", flush=True)
        print("error", file=sys.stderr)
        sys.stdout.write("two\\nlines\\n")
        threading.Thread(target=print, args=("from a thread",), name="printer").start()
        pprint.pprint({"b": 1})
        try:
            1 / 0
        except ZeroDivisionError:
            traceback.print_exc()
        """
    )
    assert outcome.lines[:6] == ["a-1-None", "no newline; and now", "error", "two", "lines", "{'b': 1}"]
    assert outcome.lines[6] == "Traceback (most recent call last):"
    assert outcome.lines[-2:] == ["ZeroDivisionError: division by zero", "from a thread"]
    assert [output.thread for output in outcome.outputs[-2:]] == ["MainThread", "printer"]


def test_a_printed_line_is_whole_even_if_its_values_are_preempted(run: Run) -> None:
    outcome = run(
        """
        import threading
        class Entry:
            def __init__(self, term):
                self.term = term
            def __str__(self):
                return f"entry of term {self.term}"
        def work(term):
            for _ in range(5):
                print(Entry(term), Entry(term))
        for term in range(4):
            threading.Thread(target=work, args=(term,)).start()
        """,
        mean_gap=2,
    )
    assert sorted(outcome.lines) == sorted(5 * [f"entry of term {n} entry of term {n}" for n in range(4)])


def test_print_goes_where_server_code_points_stdout(run: Run) -> None:
    outcome = run(
        """
        import io, sys
        real, sys.stdout = sys.stdout, io.StringIO()
        print("kept")
        text, sys.stdout = sys.stdout.getvalue(), real
        print(repr(text))
        """
    )
    assert outcome.lines == ["'kept\\n'"]


def test_logging_writes_to_the_journal_with_virtual_time(run: Run) -> None:
    outcome = run(
        """
        import logging, threading, time
        logging.warning("before it is configured: %d", 1)
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(threadName)s %(name)s %(message)s", force=True)
        time.sleep(61.5)
        logging.info("hello")
        logging.getLogger("raft.election").info("term %d", 3)
        logging.debug("not shown")
        try:
            {}["x"]
        except KeyError:
            logging.exception("it failed")
        """
    )
    assert outcome.lines[:4] == [
        "WARNING:root:before it is configured: 1",
        "2023-11-14 22:14:21,500 MainThread root hello",
        "2023-11-14 22:14:21,500 MainThread raft.election term 3",
        "2023-11-14 22:14:21,500 MainThread root it failed",
    ]
    assert outcome.lines[-1] == "KeyError: 'x'"


# ------------------------------------------------------------------ what server code may not do


@pytest.mark.parametrize(
    ("statement", "advice"),
    [
        ("open('state.json')", "persister"),
        ("input()", "comes in calls"),
        ("import sys; sys.stdin.readline()", "comes in calls"),
        ("import io; io.open('x')", "persister"),
        ("import os; os.listdir('.')", "os.listdir: a server has no files"),
        ("import os; os.fork()", "os.fork: a server is one process; use threading"),
        ("import os; os._exit(1)", "the test stops or crashes it"),
        ("import os.path; os.path.exists('x')", "os.path.exists: a server has no files"),
        ("import os; os.environ['X'] = '1'", "read-only"),
        ("import sys; sys.path.append('x')", "raft/ and kvraft/"),
        ("import sys; sys.setrecursionlimit(10)", "use a loop"),
        ("import sys; sys.nonsense", "sys.nonsense"),
        ("import logging; logging.basicConfig(filename='x')", "a server has no files"),
        ("import concurrent.futures; concurrent.futures.ProcessPoolExecutor()", "ThreadPoolExecutor"),
        *((f"import {name}", advice) for name, advice in sorted(stdlib.REFUSED.items())),
    ],
)
def test_what_is_refused_says_what_to_use_instead(run: Run, statement: str, advice: str) -> None:
    outcome = run(
        f"""
        try:
            {statement}
        except Exception as error:
            print(error)
        """
    )
    assert len(outcome.lines) == 1
    assert advice in outcome.lines[0]


def test_every_module_that_is_allowed_can_be_imported(run: Run) -> None:
    names = sorted(stdlib.ALLOWED | stdlib.PRIVATE | stdlib.OVERLAYS)
    run("\n".join(f"import {name}" for name in names))
    for name in names:
        importlib.import_module(name)
    assert not stdlib.ALLOWED & stdlib.OVERLAYS
    assert not stdlib.ALLOWED & set(stdlib.REFUSED)


@pytest.mark.parametrize(
    "statement",
    [
        "from threading import *; Lock()",
        "from queue import *; Queue()",
        "from time import *; sleep(1)",
        "from random import *; randint(1, 2)",
        "from datetime import *; datetime.now()",
        "from os.path import *; join('a', 'b')",
        "import os; os.path.join(os.getenv('HOME', ''), 'x'), os.environ.get('X'), os.cpu_count(), os.sep",
        "import sys; assert sys.modules[__name__].__dict__ is globals() and sys.version_info > (3, 11)",
        "import sys; sys.intern('x'), sys.maxsize, sys._getframe(), sys.argv",
        "import threading; threading.settrace(print), threading.gettrace(), threading.stack_size(65536)",
        "import threading; threading.currentThread().getName(), threading.Event().isSet()",
    ],
)
def test_ordinary_uses_work(run: Run, statement: str) -> None:
    run(statement)


def test_process_ids_differ_between_servers_and_not_between_runs(run: Run) -> None:
    source = "import os; print(os.getpid())"
    first, again, other = (run(source, name=name).lines for name in ("server-0", "server-0", "server-1"))
    assert first == again
    assert first != other


def test_hosts_share_no_module_and_no_counter(run: Run) -> None:
    first = run(
        """
        import queue, random, sys, threading, time
        for module in (queue, random, sys, threading, time):
            module.mark = "mine"
        threading.excepthook = None
        threading.Thread(target=print).start()
        threading.stack_size(65536)
        random.seed(1)
        """
    )
    second = run(
        """
        import queue, random, sys, threading, time
        print([hasattr(module, "mark") for module in (queue, random, sys, threading, time)])
        print(threading.excepthook, threading.stack_size(), threading.Thread(target=print).name)
        print(sys.modules["threading"] is threading)
        """,
        name="server-1",
    )
    assert second.lines[0] == str([False] * 5)
    assert "excepthook" in second.lines[1]
    assert second.lines[1].endswith("0 Thread-1 (print)")
    assert first.host.loader.modules["threading"] is not second.host.loader.modules["threading"]
    assert not hasattr(sys.modules["threading"], "mark")
