"""Part 2A: leader election (§5.1, §5.2)."""

from __future__ import annotations

import warnings

from tester.parts import part
from tester.raft_cluster import ELECTION_TIMEOUT


@part("2A", points=10)
def test_initial_election(raft_cluster):
    """Three servers elect one leader, and with no failures keep it."""
    cluster = raft_cluster(servers=3)
    cluster.one_leader()

    cluster.sleep(0.05)  # let the followers hear of the election
    term = cluster.agreed_term()
    assert term >= 1, f"the term is {term} after an election, but terms start at 1"

    cluster.sleep(2 * ELECTION_TIMEOUT)
    later = cluster.agreed_term()
    assert later <= term + 2, (
        f"the term went from {term} to {later} in {2 * ELECTION_TIMEOUT:g} s though nothing failed: "
        "does a new leader's heartbeat keep the others from standing?"
    )
    if later != term:
        warnings.warn(f"the term went from {term} to {later} though nothing failed", stacklevel=1)
    cluster.one_leader()


@part("2A", points=10)
def test_re_election(raft_cluster):
    """A cut leader is replaced; without a majority nobody leads; servers that come back do no harm."""
    cluster = raft_cluster(servers=3)
    network = cluster.network
    first = cluster.one_leader()

    network.disconnect(first)
    cluster.one_leader()

    network.connect(first)  # the old leader must step down, not disturb the new one
    second = cluster.one_leader()

    network.disconnect(second)
    network.disconnect((second + 1) % 3)
    cluster.sleep(2 * ELECTION_TIMEOUT)
    cluster.no_leader()

    network.connect((second + 1) % 3)
    cluster.one_leader()

    network.connect(second)
    cluster.one_leader()


@part("2A", points=10)
def test_many_elections(raft_cluster):
    """Seven servers, any three of them cut, have one leader each time."""
    cluster = raft_cluster(servers=7)
    cluster.one_leader()
    for _ in range(9):
        cut = cluster.random.sample(list(range(7)), 3)
        for server in cut:
            cluster.network.disconnect(server)
        cluster.one_leader()
        for server in cut:
            cluster.network.connect(server)
    cluster.one_leader()
