"""Workers: nothing of a submission runs in them, and one that is lost costs its own job only."""

from __future__ import annotations

import os
import signal
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tester.grade import processes
from tester.grade.frames import Answer
from tester.grade.grading import do_jobs, outcome_of
from tester.grade.intake import digest_of
from tester.grade.pool import Limits, LocalPool, Lost, Task, Worker
from tester.grade.records import Job, Outcome, Status, Submission
from tester.grade.store import Store
from tester.grade.world import graded_here
from tester.run import Options, Run
from tests.harness.grade.a_class import ROOT

REFERENCE = {
    path.relative_to(ROOT).as_posix(): path.read_bytes()
    for package in ("raft", "kvraft")
    for path in sorted((ROOT / package).rglob("*.py"))
}


def changed(before: str, after: str, file: str = "raft/raft.py") -> dict[str, bytes]:
    """The reference with one text changed for another."""
    text = REFERENCE[file].decode()
    assert before in text
    return {**REFERENCE, file: text.replace(before, textwrap.dedent(after), 1).encode()}


def submission(files: dict[str, bytes], name: str = "s") -> Submission:
    return Submission(name, digest_of(files), files)


def task(files: dict[str, bytes], test: str = "test_initial_election", *, seed: int = 7, run: int = 0) -> Task:
    return Task(Job(digest_of(files), "2A", test, run, seed), files)


def graded(folder: Path, files: dict[str, bytes], jobs: list[Job], limits: Limits) -> tuple[list[Outcome], list[Job]]:
    """What `do_jobs` makes of them with two workers, and what it tried again."""
    doubted: list[Job] = []
    with Store(folder) as store, LocalPool(2, folder / "work", limits=limits) as pool:
        store.begin([submission(files)], jobs, suite="s", seeds="public 1")
        do_jobs(store, store.missing(), pool, lambda outcome: None, doubted.append)
        return store.outcomes(digest_of(files)), doubted


@pytest.fixture
def worker(tmp_path) -> Iterator[Worker]:
    made = Worker(tmp_path / "worker", limits=Limits())
    yield made
    made.end()


# ------------------------------------------------------------------ what a worker says


def test_a_job_is_the_run_that_the_student_has(worker):
    answer = worker.do(task(REFERENCE, seed=7))
    assert isinstance(answer, Answer)
    (test,) = (each for each in graded_here("2A") if each.name == "test_initial_election")
    run = Run(7, Options())
    assert test.attempt(run) is None
    run.close()
    assert (answer.verdict, answer.fault, answer.journal_hash) == ("", "", run.journal_hash)
    assert answer.virtual_s == pytest.approx(sum(cluster.now for cluster in run.clusters))
    assert answer.cpu_s > 0
    assert answer.artefacts == {}
    run.clusters[0].journal.close()


def test_a_failing_run_is_explained_by_the_students_own_names(tmp_path):
    broken = changed(
        "def get_state(self)", "def get_state(self):\n        raise KeyError('mine')\n\n    def other(self)"
    )
    found = []
    for number in range(2):
        worker = Worker(tmp_path / f"a-folder-{number * 7}", limits=Limits())
        answer = worker.do(task(broken, seed=3))
        again = worker.do(Task(task(broken, seed=3).job, broken, explain=False))
        worker.end()
        assert isinstance(answer, Answer)
        assert isinstance(again, Answer)
        assert (again.verdict, again.artefacts) == (answer.verdict, {})
        found.append((answer.verdict, answer.artefacts))
    assert found[0] == found[1], "the same bytes, wherever it was run"
    verdict, artefacts = found[0]
    assert "KeyError" in verdict
    assert "raft/raft.py:" in verdict
    report = artefacts["report.txt"].decode()
    assert verdict in report
    assert "tester replay test_initial_election --seed 3\n" in report
    assert "tests/labs/test_2a_election.py:" in report
    assert str(tmp_path) not in report
    assert artefacts["timeline.html"].startswith(b"<!doctype html>")


def test_what_cannot_be_compiled_fails_and_says_where(worker):
    answer = worker.do(task({**REFERENCE, "raft/raft.py": b"def (:\n"}))
    assert isinstance(answer, Answer)
    assert not answer.fault
    assert "raft/raft.py:1" in answer.verdict
    deep = b"x = " + b"(" * 150_000 + b")" * 150_000
    answer = worker.do(task({**REFERENCE, "raft/raft.py": deep}))
    assert isinstance(answer, Answer)
    assert "raft/raft.py" in answer.verdict


def test_nothing_of_a_submission_runs_in_the_worker(worker):
    """It says in its verdict which process its code runs in: a child of the worker's nursery."""
    spy = changed(
        "def get_state(self)",
        """def get_state(self):
        import random
        raise KeyError(open("/proc/self/stat").read())

    def other(self)""",
    )
    answer = worker.do(task(spy))
    assert isinstance(answer, Answer)
    assert answer.verdict
    assert f"'{worker.pid} (" not in answer.verdict
    ending = b"raise SystemExit('the worker, too?')\n"
    files = {**REFERENCE, "raft/__init__.py": ending, "raft/sitecustomize.py": ending, "raft/conftest.py": ending}
    pid = worker.pid
    answer = worker.do(task(files))
    assert isinstance(answer, Answer)
    assert "SystemExit" in answer.verdict
    assert isinstance(worker.do(task(REFERENCE)), Answer)
    assert worker.pid == pid


def test_a_worker_sees_no_more_of_the_environment_than_it_needs(worker, monkeypatch):
    monkeypatch.setenv("RAFTLAB_SECRET", "correct horse battery staple")
    assert isinstance(worker.do(task(REFERENCE)), Answer)
    environment = Path(f"/proc/{worker.pid}/environ").read_bytes()
    assert b"RAFTLAB_SECRET" not in environment
    assert b"PATH=" in environment


def test_the_submissions_files_are_where_we_put_them(worker, tmp_path):
    assert isinstance(worker.do(task(REFERENCE)), Answer)
    (tree,) = (tmp_path / "worker" / "trees").iterdir()
    assert tree.name == digest_of(REFERENCE)
    answer = worker.do(Task(Job("f" * 64, "2A", "test_initial_election", 0, 1), {"../../evil.py": b""}))
    assert isinstance(answer, Lost)
    assert "is no name of a student's file" in answer.reason
    assert not list(tmp_path.rglob("evil.py"))


# ------------------------------------------------------------------ workers that are lost


def test_a_worker_that_is_killed_costs_its_own_job_which_is_tried_again(tmp_path):
    jobs = [Job(digest_of(REFERENCE), "2A", "test_re_election", run, run) for run in range(4)]
    doubted: list[Job] = []
    killed: list[int] = []
    with Store(tmp_path) as store, LocalPool(2, tmp_path / "work", limits=Limits()) as pool:
        store.begin([submission(REFERENCE)], jobs, suite="s", seeds="public 1")

        def on_outcome(outcome: Outcome) -> None:
            if not killed:
                killed.append(pool.pids[0])
                os.kill(killed[0], signal.SIGKILL)

        do_jobs(store, store.missing(), pool, on_outcome, doubted.append)
        outcomes = store.outcomes(digest_of(REFERENCE))
    assert [outcome.status for outcome in outcomes] == [Status.PASSED] * 4
    assert len(doubted) <= 1
    assert [outcome.job for outcome in outcomes if outcome.attempts == 2] == doubted


def test_a_worker_lost_twice_is_the_harness_fault(tmp_path, monkeypatch):
    monkeypatch.setattr("tester.grade.pool.sys.executable", "/bin/false")
    jobs = [Job(digest_of(REFERENCE), "2A", "test_initial_election", 0, 1)]
    (outcome,), _ = graded(tmp_path, REFERENCE, jobs, Limits())
    assert (outcome.status, outcome.attempts) == (Status.HARNESS, 2)
    assert outcome.verdict == "the worker that ran it was lost: it ended: exit status 1"


def test_a_worker_that_stands_still_is_lost(tmp_path):
    worker = Worker(tmp_path / "worker", limits=Limits(silence_s=1.5))
    assert isinstance(worker.do(task(REFERENCE)), Answer)
    stopped = worker.pid
    assert stopped is not None
    os.kill(stopped, signal.SIGSTOP)
    assert worker.do(task(REFERENCE)) == Lost("it gave no sign of life for 1.5 s")
    assert isinstance(worker.do(task(REFERENCE)), Answer)
    assert worker.pid != stopped
    worker.end()


def test_a_worker_that_grows_too_large_is_lost(tmp_path):
    worker = Worker(tmp_path / "worker", limits=Limits(memory=1 << 20))
    answer = worker.do(task(REFERENCE))
    assert isinstance(answer, Lost)
    assert "MiB; 1 MiB are the most" in answer.reason
    worker.end()


def test_no_process_outlives_its_pool(tmp_path):
    with LocalPool(2, tmp_path / "work", limits=Limits()) as pool:
        running = pool.run(task(REFERENCE, "test_many_elections", seed=seed) for seed in range(10))
        next(running)
        pids = pool.pids
        pids += [child for pid in pids for child in processes.below(pid)]
        running.close()
    assert len(pids) >= 4
    deadline = time.monotonic() + 10
    while any(_is_there(pid) for pid in pids):
        assert time.monotonic() < deadline, "processes are left"
        time.sleep(0.02)
    assert not (tmp_path / "work").exists()


def _is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_pool_asks_for_no_job_before_it_can_begin(tmp_path):
    asked: list[int] = []

    def tasks() -> Iterator[Task]:
        for seed in range(6):
            asked.append(seed)
            yield task(REFERENCE, seed=seed)

    with LocalPool(2, tmp_path / "work", limits=Limits()) as pool:
        for done, _ in enumerate(pool.run(tasks()), 1):
            assert len(asked) <= 2 + done
    assert asked == list(range(6))


# ------------------------------------------------------------------ whose fault it is


def test_a_run_that_is_far_too_slow_is_the_submissions_fault_twice_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("tester.grade.grading.BUSY", 0.01)  # this machine may have more to do than our two servers
    spin = "def get_state(self):\n        sum(range(10**7))\n        return 0, False\n\n    def other(self)"
    slow = changed("def get_state(self)", spin)
    jobs = [Job(digest_of(slow), "2A", "test_initial_election", run, run) for run in range(2)]
    outcomes, doubted = graded(tmp_path, slow, jobs, Limits(wall_s=3.0))
    assert sorted(doubted) == jobs
    assert {outcome.status for outcome in outcomes} == {Status.FAILED}, outcomes
    assert all("more than 3 s of wall time" in outcome.verdict for outcome in outcomes)
    assert "a server was at raft/raft.py:" in outcomes[0].verdict
    assert [outcome.attempts for outcome in outcomes] == [2, 1], "the second run's is as the first's"


def test_a_run_that_was_kept_waiting_is_not():
    job = Job("d", "2A", "t", 0, 1)
    slow = Answer(verdict="too slow", depends=True, is_over=True)
    assert outcome_of(job, slow).status is Status.HARNESS
    assert outcome_of(job, Answer(verdict="too slow", depends=True, is_over=True, busy=0.1)).status is Status.HARNESS
    assert outcome_of(job, Answer(verdict="too slow", depends=True, is_over=True, busy=0.9)).status is Status.FAILED
    assert outcome_of(job, Answer(verdict="died", depends=True)).status is Status.FAILED
    fault = outcome_of(job, Answer(fault="Traceback …\nTypeError: no\n"), attempts=2)
    assert (fault.status, fault.verdict) == (Status.HARNESS, "the harness had a fault: TypeError: no")
    assert fault.artefacts == {"harness.txt": b"Traceback \xe2\x80\xa6\nTypeError: no\n"}


def test_memory_stays_as_it_is(worker):
    """Eight different submissions, three runs each: after the first ones the worker does not grow."""
    sizes = []
    for number in range(8):
        files = {**REFERENCE, "raft/number.py": f"x = {number}\n".encode() * 1000}
        for seed in range(3):
            assert isinstance(worker.do(task(files, seed=seed)), Answer)
        resident = int(Path(f"/proc/{worker.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        sizes.append(resident)
    assert max(sizes) - sizes[3] < 12 << 20


def test_a_worker_is_used_from_one_thread_and_stopped_from_another(tmp_path):
    worker = Worker(tmp_path / "worker", limits=Limits())
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(worker.do(task(REFERENCE, "test_many_elections"))))
    thread.start()
    time.sleep(0.3)
    worker.stop()
    thread.join(20)
    assert isinstance(found[0], Lost)
    assert worker.do(task(REFERENCE)) == Lost("the grading was stopped")
