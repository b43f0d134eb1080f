"""Queues, pools and schedulers on a host."""

from __future__ import annotations

from tests.harness.stdlib.conftest import Run


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
