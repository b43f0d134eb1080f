"""Correct Rafts of other designs: the graded tests and the judge's rules have nothing to say against them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from labrpc.errors import UsageError
from labrpc.journal import Sent
from tester import variants
from tester.graded import graded_test
from tester.payloads import message_body
from tester.raft_cluster import RaftCluster
from tester.run import Options, Run
from tests.harness.conftest import FixedDisturbance

ROOT = Path(__file__).parents[2]
VARIANTS = {variant.name: variant for variant in variants.load_all(ROOT / variants.FOLDER)}

SAMPLE = [
    "test_many_elections", "test_only_one_can_lead", "test_backup", "test_rpc_count", "test_rpc_bytes",
    "test_persist_more", "test_persist_partitioned_leader", "test_late_acknowledgements",
    "test_snapshot_install_crash_unreliable", "test_snapshot_all_crash",
    "test_rsm_restart_submit", "test_old_leader", "test_snapshot_rpc",
]  # fmt: skip


@pytest.fixture(scope="module")
def composed(tmp_path_factory) -> dict[str, Path]:
    """Each variant as a solution."""
    return {
        name: variant.compose(ROOT, tmp_path_factory.mktemp("variants") / name) for name, variant in VARIANTS.items()
    }


def attempt(solution: Path, test: str, seed: int) -> Exception | None:
    run = Run(seed, Options(solution=solution))
    try:
        return graded_test(test).attempt(run)
    finally:
        run.close()


@pytest.mark.parametrize("test", SAMPLE)
@pytest.mark.parametrize("name", VARIANTS)
def test_a_correct_raft_of_another_design_passes(composed, name, test):
    assert attempt(composed[name], test, seed=1) is None


@pytest.mark.parametrize(
    ("name", "test"), [(variant.name, test) for variant in VARIANTS.values() for test in variant.lacks]
)
def test_what_a_variant_lacks_is_demanded(composed, name, test):
    error = attempt(composed[name], test, seed=1)
    assert isinstance(error, AssertionError)
    assert "does next_index go back by one entry a rejection?" in str(error)


class Candidacies:
    """A listener: who has stood in which term, and who came back from a crash in an older one."""

    def __init__(self) -> None:
        self.latest: tuple[int, int, int] = 0, 0, 0
        """(server, incarnation, term)"""
        self.taken_back = 0

    def observe(self, event: Any) -> None:
        body = message_body(event.payload) if isinstance(event, Sent) else None
        if body is None:
            return
        server, incarnation, term = self.latest
        if event.method == "Raft.request_vote" and not event.reply_to:
            self.latest = int(event.source), event.incarnation, body.term
        elif int(event.source) == server and event.incarnation > incarnation and body.term < term:
            self.taken_back += 1


def test_a_candidacy_that_a_crash_took_back_breaks_no_rule(composed):
    """`batching` asks for votes while its own is on its way to the disk: that binds nobody."""
    run = Run(1, Options(solution=composed["batching"]))
    run.disturbance = lambda streams: FixedDisturbance(longest_async_save_ns=60_000_000)  # type: ignore[method-assign]
    cluster = RaftCluster(run, 3)
    candidacies = Candidacies()
    cluster.journal.listeners.append(candidacies.observe)
    try:
        for _ in range(6):
            cluster.one_leader()
            before = candidacies.latest
            cluster.network.partition([0], [1], [2])
            while candidacies.latest == before:
                cluster.sleep(0.001)
            candidate = candidacies.latest[0]
            cluster.crash(candidate)
            cluster.network.heal()
            cluster.start(candidate)
            cluster.one(cluster.command(), 3)
    finally:
        run.close()
    assert candidacies.taken_back > 0


def test_a_folder_without_variants_is_named(tmp_path):
    with pytest.raises(UsageError, match="there are no variants in"):
        variants.load_all(tmp_path)


def test_a_malformed_variant_is_named(tmp_path):
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "variant.toml").write_text('title = "odd"\n')
    with pytest.raises(UsageError, match=r"variant\.toml must have exactly the fields title and lacks, not title"):
        variants.load_all(tmp_path)
