"""The production extras: each does what it is for, and none breaks a rule."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labrpc.errors import CodeFault
from tester.raft_cluster import RaftCluster
from tester.run import Options, Run
from tests.harness.conftest import FixedDisturbance

PROGRAM = "tests.harness.programs.production_server"
PROGRAMS = {PROGRAM: Path(__file__).parent / "programs" / "production_server.py"}
ALL = {"pre_vote": True, "check_quorum": True, "leases": True, "no_op": True}


@pytest.fixture
def cluster_with() -> Iterator[Any]:
    """Builds a cluster with options: `cluster_with({"pre_vote": True}, servers=3, seed=1, disturbed=False)`."""
    runs = []

    def build(
        options: dict[str, Any], servers: int = 3, *, seed: int = 1, disturbed: bool = False, **more: Any
    ) -> RaftCluster:
        run = Run(seed, Options(programs=PROGRAMS))
        if not disturbed:
            run.disturbance = lambda streams: FixedDisturbance()  # type: ignore[method-assign]
        runs.append(run)
        return RaftCluster(run, servers, program=PROGRAM, config={"options": options}, **more)

    yield build
    for run in runs:
        run.close()


def terms(cluster: RaftCluster) -> list[int]:
    return [cluster.server(server).get_state()[0] for server in range(cluster.n)]


@pytest.mark.parametrize("options", [{}, *({name: True} for name in ALL), ALL], ids=lambda o: "+".join(o) or "none")
@pytest.mark.parametrize("seed", range(4))
def test_no_rule_breaks_under_cuts_crashes_and_preemption(cluster_with, options, seed):
    cluster = cluster_with(options, 5, seed=seed, disturbed=True, reliable=seed % 2 == 0)
    for number in range(6):
        cluster.one(("x", number), 3)
        victim, other = cluster.random.sample(range(5), 2)
        cluster.crash(victim)
        cluster.disconnect(other)
        cluster.one(("y", number), 3)
        cluster.start(victim)
        cluster.connect(other)
    cluster.one("last", 5)


@pytest.mark.parametrize("pre_vote", [True, False])
def test_with_pre_vote_a_server_that_was_cut_off_deposes_nobody(cluster_with, pre_vote):
    cluster = cluster_with({"pre_vote": pre_vote})
    leader = cluster.one_leader()
    term = cluster.agreed_term()
    cluster.disconnect((leader + 1) % 3)
    cluster.sleep(5)
    cluster.connect((leader + 1) % 3)
    cluster.sleep(2)
    assert (terms(cluster) == [term] * 3) is pre_vote
    assert (cluster.one_leader() == leader) or not pre_vote


@pytest.mark.parametrize("check_quorum", [True, False])
def test_with_check_quorum_a_leader_without_a_majority_steps_down(cluster_with, check_quorum):
    cluster = cluster_with({"check_quorum": check_quorum})
    leader = cluster.one_leader()
    cluster.disconnect(leader)
    cluster.sleep(1.5)
    assert cluster.server(leader).get_state()[1] is not check_quorum


def test_check_quorum_lets_a_healthy_leader_lead(cluster_with):
    cluster = cluster_with({"check_quorum": True}, 5)
    leader, term = cluster.one_leader(), cluster.agreed_term()
    cluster.sleep(20)
    assert (cluster.one_leader(), cluster.agreed_term()) == (leader, term)


@pytest.mark.parametrize("options", [{}, ALL], ids=["none", "all"])
def test_leadership_goes_to_the_server_it_is_handed_to_and_nothing_is_lost(cluster_with, options):
    cluster = cluster_with(options, 5)
    for number in range(5):
        leader = cluster.one_leader()
        cluster.one(number, 5)
        target = (leader + 2) % 5
        assert cluster.server(leader).call("transfer_leadership", target) is True
        assert cluster.server(leader).start("meanwhile")[2] is False
        cluster.sleep(2)
        assert cluster.one_leader() == target
    cluster.one("last", 5)


def test_a_transfer_to_a_server_that_is_cut_off_is_given_up(cluster_with):
    cluster = cluster_with({})
    leader = cluster.one_leader()
    cluster.disconnect((leader + 1) % 3)
    assert cluster.server(leader).call("transfer_leadership", (leader + 1) % 3) is True
    cluster.sleep(1.5)
    assert cluster.server(leader).start("after")[2] is True


@pytest.mark.parametrize("target", ["itself", "none"])
def test_a_transfer_to_no_other_server_is_an_error(cluster_with, target):
    cluster = cluster_with({})
    leader = cluster.one_leader()
    with pytest.raises(CodeFault, match="is not another server of"):
        cluster.server(leader).call("transfer_leadership", leader if target == "itself" else 7)


def test_followers_do_not_transfer_and_do_not_read(cluster_with):
    cluster = cluster_with(ALL)
    leader = cluster.one_leader()
    follower = cluster.server((leader + 1) % 3)
    assert follower.call("transfer_leadership", leader) is False
    assert follower.call("read_index") is None
    assert follower.call("lease_read") is None


def test_a_read_index_covers_every_command_committed_before_the_call(cluster_with):
    cluster = cluster_with({}, 5, seed=4, disturbed=True)
    for number in range(20):
        committed = cluster.one(number, 3)
        index = cluster.server(cluster.one_leader()).call("read_index")
        assert index is not None
        assert index >= committed


def test_a_leader_that_was_cut_off_answers_no_read_index(cluster_with):
    cluster = cluster_with({})
    cluster.one("x", 3)
    leader = cluster.one_leader()
    cluster.disconnect(leader)
    assert cluster.server(leader).call("read_index") is None


@pytest.mark.parametrize("no_op", [True, False])
def test_a_new_leader_reads_only_once_it_has_committed_in_its_term(cluster_with, no_op):
    cluster = cluster_with({"no_op": no_op})
    leader = cluster.one_leader()
    cluster.sleep(0.5)
    assert (cluster.server(leader).call("read_index") is not None) is no_op
    cluster.one("x", 3)
    assert cluster.server(leader).call("read_index") is not None


def test_a_lease_read_costs_no_message(cluster_with):
    cluster = cluster_with(ALL)
    cluster.one("x", 3)
    leader = cluster.one_leader()
    before, began = cluster.rpc_count(), cluster.now
    assert cluster.server(leader).call("lease_read") is not None
    assert cluster.rpc_count() == before
    assert cluster.now - began < 0.001


@pytest.mark.parametrize("seed", range(8))
def test_a_lease_ends_before_another_leader_can_be_elected(cluster_with, seed):
    cluster = cluster_with(ALL, 5, seed=seed, disturbed=True)
    cluster.one("x", 5)
    leader = cluster.one_leader()
    # The slowest clock that the bound allows: its lease seems to last longer.
    cluster.network.set_clock(leader, drift=-0.04)
    cluster.sleep(1)
    cluster.disconnect(leader)
    lease_ended = successor_elected = None
    while lease_ended is None or successor_elected is None:
        others = [cluster.server(server).get_state() for server in range(5) if server != leader]
        if successor_elected is None and any(is_leader for _, is_leader in others):
            successor_elected = cluster.now
        if lease_ended is None and cluster.server(leader).call("lease_read") is None:
            lease_ended = cluster.now
        cluster.sleep(0.005)
    assert lease_ended < successor_elected


def test_without_leases_nothing_is_read_on_one(cluster_with):
    cluster = cluster_with({})
    cluster.one("x", 3)
    assert cluster.server(cluster.one_leader()).call("lease_read") is None


@pytest.mark.parametrize("drift", [-0.1, 1, 2])
def test_a_drift_bound_that_makes_no_sense_is_refused(cluster_with, drift):
    cluster = cluster_with({"max_clock_drift": drift})
    with pytest.raises(CodeFault, match=r"max_clock_drift .* is not in 0\.\.1"):
        cluster.sleep(1)
