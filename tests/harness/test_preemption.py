"""Preemption finds the race that a missing lock leaves, and is what finds it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tester import mutants
from tester.raft_cluster import RaftCluster
from tester.run import Options, Run
from tests.harness.conftest import FixedDisturbance

ROOT = Path(__file__).parents[2]
SEEDS = 40


@pytest.fixture(scope="module")
def lockless(tmp_path_factory) -> Path:
    """The reference, but its vote handler does not take the lock."""
    mutant = mutants.load(ROOT / "tests" / "mutants" / "vote-without-lock.toml")
    return mutant.plant(ROOT, tmp_path_factory.mktemp("lockless"))


def failures(solution: Path | None, disturbance: FixedDisturbance) -> list[str]:
    """What goes wrong in elections among 7 servers, by seed."""
    verdicts = []
    for seed in range(SEEDS):
        run = Run(seed, Options(solution=solution))
        run.disturbance = lambda streams: disturbance  # type: ignore[method-assign]
        try:
            cluster = RaftCluster(run, 7)
            for _ in range(4):
                leader = cluster.one_leader()
                cluster.network.disconnect(leader)
                cluster.one_leader()
                cluster.network.connect(leader)
        except AssertionError as verdict:  # a broken rule, or a server that died of its own confusion
            verdicts.append(str(verdict))
        finally:
            run.close()
    return verdicts


def test_a_vote_handler_without_its_lock_votes_twice_under_preemption(lockless):
    found = failures(lockless, FixedDisturbance(20, 5_000_000))
    assert len(found) >= 3
    assert any("at most one vote per term" in verdict for verdict in found)


def test_without_preemption_the_same_handler_passes(lockless):
    assert failures(lockless, FixedDisturbance()) == []


def test_under_the_same_preemption_the_reference_passes():
    assert failures(None, FixedDisturbance(20, 5_000_000)) == []


def test_an_unprotected_increment_loses_updates_only_under_preemption(lab):
    racy = """
    class Server:
        def __init__(self, ends, me, persister):
            self.count = 0
        def race(self):
            threads = [threading.Thread(target=self.add) for _ in range(4)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            return self.count
        def add(self):
            for _ in range(100):
                self.count += 1
    """
    calm = lab(racy, servers=1).server(0).call("race")
    stormy = lab(racy, servers=1, disturbance=FixedDisturbance(10, 1_000_000)).server(0).call("race")
    assert calm == 400
    assert stormy < 400


def test_how_often_and_how_long_varies_from_seed_to_seed():
    seen = set()
    for seed in range(60):
        run = Run(seed, Options(schedule="uniform"))
        disturbance = run.disturbance(run.streams())
        seen.add((disturbance.mean_gap_steps, disturbance.longest_stall_ns))
    gaps = {gap for gap, _ in seen}
    assert 0 in gaps
    assert len(seen) >= 8
