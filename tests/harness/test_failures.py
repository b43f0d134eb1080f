"""What is kept of failing runs, and how it is found again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from labrpc.journal import Journal
from tester import failures
from tester.cli import app
from tester.failures import Failure
from tester.history import load_history
from tester.run import Run
from tester.service_cluster import KVCluster

ROOT = Path(__file__).parents[2]


def failure(test: str = "test_x", seed: int = 7, verdict: str = "it broke") -> Failure:
    return Failure(
        test=test, seed=seed, verdict=verdict, virtual_seconds=1.5, journal_hash="ab", replay=f"pytest {test} --seed 7"
    )


@pytest.fixture
def cluster():
    run = Run(7)
    with KVCluster(run) as cluster:
        clerk = cluster.clerk()
        clerk.put("k", "v", 0)
        clerk.get("k")
        cluster.sleep(1)
        yield cluster
    run.close()


def test_all_there_is_to_look_at_is_kept(tmp_path, cluster):
    folder = failures.keep(tmp_path, failure(), cluster, "the report", {"seed": "7"})
    assert folder == tmp_path / ".raftlab" / "failures" / "test_x-seed-7"
    assert (folder / "report.txt").read_text() == "the report"
    with (folder / "run.journal").open("rb") as file:
        assert Journal.read(file).digest() == cluster.journal.digest()
    model, history = load_history(folder / "history.jsonl")
    assert (model, len(history)) == ("kv", 2)
    assert "it broke" in (folder / "timeline.html").read_text()
    assert (folder / "history.html").exists()
    index = (folder.parent / "index.html").read_text()
    assert 'href="test_x-seed-7/timeline.html"' in index
    assert "pytest test_x --seed 7" in index


def test_the_same_run_again_takes_the_place_of_the_first(tmp_path, cluster):
    failures.keep(tmp_path, failure(verdict="first"), cluster, "", {})
    failures.keep(tmp_path, failure(verdict="second"), cluster, "", {})
    assert [each.failure.verdict for each in failures.kept(tmp_path)] == ["second"]


def test_the_latest_stay(tmp_path, cluster, monkeypatch):
    monkeypatch.setattr(failures, "MOST_KEPT", 2)
    for seed in (1, 2, 3):
        folder = failures.keep(tmp_path, failure(seed=seed), cluster, "", {})
        os.utime(folder / "failure.json", (seed, seed))
    assert [each.failure.seed for each in failures.kept(tmp_path)] == [3, 2]
    assert not (tmp_path / failures.FOLDER / "test_x-seed-1").exists()


def test_what_is_damaged_is_passed_over(tmp_path, cluster):
    folder = failures.keep(tmp_path, failure(), cluster, "", {})
    (folder / "failure.json").write_text("{")
    assert failures.kept(tmp_path) == []


def test_a_verdict_is_text_in_the_index(tmp_path, cluster):
    folder = failures.keep(tmp_path, failure(verdict="<script>alert(1)</script>"), cluster, "", {})
    assert "<script" not in (folder.parent / "index.html").read_text()


def test_the_command_lists_them(tmp_path, cluster):
    none = CliRunner().invoke(app, ["failures", "--root", str(tmp_path)])
    assert none.exit_code == 0
    assert "no failing run is kept" in none.output
    failures.keep(tmp_path, failure(), cluster, "", {})
    some = CliRunner().invoke(app, ["failures", "--root", str(tmp_path)])
    assert some.exit_code == 1
    for text in ("test_x", "seed 7", "it broke", "timeline.html", "pytest test_x --seed 7"):
        assert text in some.output


def test_pytest_keeps_failing_runs_and_says_where(pytester, monkeypatch):
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    pytester.makepyfile(
        """
        def test_leader(raft_cluster):
            cluster = raft_cluster(servers=3)
            assert cluster.one_leader() is None, "there is a leader"
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--seed", "5")
    result.stdout.fnmatch_lines(["to look at: *.raftlab/failures/test_leader-seed-5/timeline.html"])
    [found] = failures.kept(pytester.path)
    assert (found.failure.test, found.failure.seed, found.failure.verdict) == ("test_leader", 5, "there is a leader")
    quiet = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--seed", "6", "--keep-no-failures")
    quiet.stdout.no_fnmatch_line("to look at: *")
    assert len(failures.kept(pytester.path)) == 1
