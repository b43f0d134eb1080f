"""Locks on a host: who waits for whom, and what is reported of it."""

from __future__ import annotations

import pytest

from tests.harness.stdlib.conftest import QUANTUM_NS, SECOND, Run


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
