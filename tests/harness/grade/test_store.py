"""What is known of a grading, kept in one file."""

from __future__ import annotations

import itertools
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from labrpc.errors import UsageError
from tester.grade.records import Job, Outcome, Refusal, Status, Submission
from tester.grade.store import FILE, Store

ROOT = Path(__file__).parents[3]
ANN = Submission("ann", "a" * 64, {"raft/x.py": b"1"}, ("README",), ("kvraft/ is not there",), 1.5)
BOB = Submission("bob", "b" * 64, {"raft/x.py": b"2", "kvraft/y.py": b"\0"})
PLAN = [Job(each.digest, "2A", test, run, 100 + run) for each in (ANN, BOB) for run in range(4) for test in ("t", "u")]


def begin(store: Store, plan: list[Job] = PLAN, *, suite: str = "s1", seeds: str = "public 100 101 102 103") -> None:
    store.begin([BOB, ANN, Refusal("cid", "no files")], plan, suite=suite, seeds=seeds, settings={"x": 1})


def failed(job: Job) -> Outcome:
    report = {"report.txt": f"{job}".encode() * 50, "timeline.html": b"<html>"}
    return Outcome(job, Status.FAILED, "no leader", "ab", 1.25, 0.5, 1, report)


def test_what_is_put_in_comes_out(tmp_path):
    with Store(tmp_path / "out") as store:
        begin(store)
        assert store.missing() == PLAN
        store.add(failed(PLAN[3]))
        store.add(Outcome(PLAN[0], Status.PASSED, journal_hash="cd", virtual_s=2.5, cpu_s=0.25))
    with Store(tmp_path / "out") as store:
        begin(store)
        assert store.submissions() == [ANN, BOB]
        assert store.refusals() == [Refusal("cid", "no files")]
        assert store.outcomes(ANN.digest) == [
            Outcome(PLAN[0], Status.PASSED, "", "cd", 2.5, 0.25),
            Outcome(PLAN[3], Status.FAILED, "no leader", "ab", 1.25, 0.5),
        ]
        assert store.artefacts(PLAN[3]) == failed(PLAN[3]).artefacts
        assert store.artefacts(PLAN[0]) == {}
        assert store.missing() == [job for job in PLAN if job not in (PLAN[0], PLAN[3])]
        assert (store.settings, store.suite, store.count()) == ({"x": 1}, "s1", 16)


def test_artefacts_of_the_two_lowest_failing_runs_stay_in_whatever_order_they_come(tmp_path):
    jobs = [job for job in PLAN if job.digest == ANN.digest and job.test == "t"]
    others = [job for job in PLAN if job not in jobs]
    for number, order in enumerate(itertools.permutations([failed(jobs[1]), failed(jobs[2]), failed(jobs[3])])):
        with Store(tmp_path / f"{number}") as store:
            begin(store)
            for outcome in (*order, Outcome(jobs[0], Status.PASSED), *map(failed, others)):
                store.add(outcome)
            assert [bool(store.artefacts(job)) for job in jobs] == [False, True, True, False]
            assert store.is_explained(jobs[3])
            assert not store.is_explained(jobs[2])


def test_what_is_read_does_not_depend_on_the_order_of_the_outcomes(tmp_path):
    found = []
    outcomes = [failed(job) if job.run % 3 else Outcome(job, Status.PASSED) for job in PLAN]
    for number in range(3):
        random.Random(number).shuffle(outcomes)
        with Store(tmp_path / f"{number}") as store:
            begin(store)
            for outcome in outcomes:
                store.add(outcome)
            read = [each for submission in (ANN, BOB) for each in store.outcomes(submission.digest)]
            found.append([(each, store.artefacts(each.job)) for each in read])
    assert found[0] == found[1] == found[2]
    assert [each.job for each, _ in found[0]] == PLAN


def test_what_the_harness_could_not_resolve_is_missing_still(tmp_path):
    with Store(tmp_path) as store:
        begin(store)
        store.add(Outcome(PLAN[0], Status.HARNESS, "lost", attempts=2, artefacts={"harness.txt": b"x"}))
        assert PLAN[0] in store.missing()
        assert store.artefacts(PLAN[0]) == {"harness.txt": b"x"}
        store.add(Outcome(PLAN[0], Status.PASSED))
        assert PLAN[0] not in store.missing()
        assert store.artefacts(PLAN[0]) == {}


def test_outcomes_of_another_judge_or_of_another_plan_are_not_read(tmp_path):
    with Store(tmp_path) as store:
        begin(store)
        for job in PLAN:
            store.add(Outcome(job, Status.PASSED))
        begin(store, suite="s2")
        assert store.outcomes(ANN.digest) == []
        assert len(store.missing()) == 16
        begin(store, PLAN[:2])
        assert [each.job for each in store.outcomes(ANN.digest)] == PLAN[:2]
        assert store.missing() == []


def test_seeds_may_be_more_or_fewer_but_not_others(tmp_path):
    with Store(tmp_path) as store:
        begin(store)
        begin(store, seeds="public 100 101")
        begin(store, seeds="public 100 101 102 103 104")
        for other in ("public 7 101", "hidden 00ff"):
            with pytest.raises(UsageError, match="a grading under other seeds"):
                begin(store, seeds=other)


TRY_TO_OPEN = """
import sys
from pathlib import Path
from labrpc.errors import UsageError
from tester.grade.store import Store
try:
    with Store(Path(sys.argv[1])):
        print("opened")
except UsageError as error:
    print(error)
"""


def try_to_open(out: Path) -> str:
    """What comes of it in another process."""
    command = [sys.executable, "-c", TRY_TO_OPEN, str(out)]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=60).stdout


def test_a_second_process_is_refused(tmp_path):
    with Store(tmp_path):
        assert "another process grades into" in try_to_open(tmp_path)
    assert try_to_open(tmp_path) == "opened\n"


def test_what_is_no_grading_is_refused_and_let_go(tmp_path):
    (tmp_path / FILE).write_bytes(b"this is no database" * 100)
    for _ in range(2):
        with pytest.raises(UsageError, match=r"cannot be used: .*; name another folder"):
            Store(tmp_path)
    (tmp_path / FILE).unlink()
    with Store(tmp_path) as store:
        store.set_fact("format", "99")
    with pytest.raises(UsageError, match="of another version"):
        Store(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        Store(tmp_path / "file" / "out")


def test_the_file_can_be_read_by_others_meanwhile(tmp_path):
    with Store(tmp_path) as store:
        begin(store)
        store.add(failed(PLAN[0]))
        with sqlite3.connect(tmp_path / FILE) as other:
            assert other.execute("SELECT test, run, verdict FROM outcomes").fetchall() == [("t", 0, "no leader")]
