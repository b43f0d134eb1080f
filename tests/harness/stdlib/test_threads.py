"""Threads on a host: names, numbers, deaths and ends."""

from __future__ import annotations

import pytest

from labrpc.frames import Output
from tests.harness.stdlib.conftest import QUANTUM_NS, SECOND, Run


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
