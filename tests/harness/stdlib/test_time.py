"""Time on a host: virtual, exact, and its own."""

from __future__ import annotations

import datetime as real_datetime
import time as real_time

import pytest

from labrpc.frames import SetClock
from labrpc.virtual import stdlib
from tests.harness.stdlib.conftest import SECOND, Run


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
