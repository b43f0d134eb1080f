"""Grading on a Dask cluster: a real scheduler, workers in processes of their own, one of which is killed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from labrpc.errors import UsageError
from tester.grade.course import load_course
from tester.grade.grading import do_jobs
from tester.grade.intake import take_all
from tester.grade.plan import jobs_of
from tester.grade.pool import LocalPool, Pool
from tester.grade.records import Outcome, Submission
from tester.grade.seeds import PublicSeeds
from tester.grade.store import Store
from tests.harness.grade.a_class import make_class
from tests.harness.grade.dask_cluster import DaskCluster

pytest.importorskip("distributed", reason="Dask is not installed: pip install 'raftlab[grade]'")

from tester.grade import dask_pool
from tester.grade.dask_pool import DaskPool

RUNS = 2


@pytest.fixture
def cluster(tmp_path) -> Iterator[DaskCluster]:
    (tmp_path / "cluster").mkdir()
    made = DaskCluster(tmp_path / "cluster")
    yield made
    made.close()


@pytest.fixture(scope="module")
def submissions(tmp_path_factory: pytest.TempPathFactory) -> list[Submission]:
    students = make_class(tmp_path_factory.mktemp("class"), 3, names=["double-vote", "leader-silent-at-first"])
    results = [taken.result for taken in take_all([str(students[0].path.parent)])]
    return [result for result in results if isinstance(result, Submission)]


def graded(folder: Path, submissions: list[Submission], pool: Pool, on_outcome=lambda outcome: None) -> list[object]:
    course = load_course(None, parts=["2A"], runs=RUNS)
    seeds = PublicSeeds(range(1, RUNS + 1))
    with Store(folder) as store:
        store.begin(submissions, jobs_of(course, submissions, seeds), suite="s", seeds=seeds.fingerprint)
        do_jobs(store, store.missing(), pool, on_outcome, lambda job: None)
        outcomes = [each for submission in store.submissions() for each in store.outcomes(submission.digest)]
        return [
            (each.job, each.status, each.verdict, each.journal_hash, each.virtual_s, store.artefacts(each.job))
            for each in outcomes
        ]


def test_a_cluster_finds_what_this_machine_finds_also_when_a_worker_is_killed(cluster, submissions, tmp_path):
    with LocalPool(2, tmp_path / "work") as pool:
        here = graded(tmp_path / "here", submissions, pool)
    assert len(here) == len(submissions) * 3 * RUNS
    cluster.start_worker()
    cluster.start_worker()
    pool = DaskPool(cluster.address, allow_unsandboxed=True)
    ended: list[Outcome] = []

    def kill_one(outcome: Outcome) -> None:
        ended.append(outcome)
        if len(ended) == 4:
            cluster.workers[0].send_signal(signal.SIGKILL)

    there = graded(tmp_path / "there", submissions, pool, kill_one)
    assert cluster.workers[0].wait() == -signal.SIGKILL
    assert pool.size == 1
    pool.close()
    assert there == here, "byte for byte, artefacts included"


def test_a_worker_with_another_judge_is_refused(cluster, submissions, tmp_path, monkeypatch):
    cluster.start_worker()
    pool = DaskPool(cluster.address, allow_unsandboxed=True)
    monkeypatch.setattr(pool, "_suite", "another")
    with pytest.raises(UsageError, match="has another version of raftlab"):
        graded(tmp_path / "out", submissions, pool)
    pool.close()


def test_no_scheduler_and_no_workers_are_told(cluster, monkeypatch):
    monkeypatch.setattr(dask_pool, "_PATIENCE", "1s")
    with pytest.raises(UsageError, match=r"there is no Dask scheduler at tcp://127.0.0.1:1"):
        DaskPool("tcp://127.0.0.1:1")
    with pytest.raises(UsageError, match="has no workers"):
        DaskPool(cluster.address)
    assert threading.active_count() < 50
