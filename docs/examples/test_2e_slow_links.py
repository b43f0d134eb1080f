"""Part 2E: slow links. The worked example of docs/architecture.md."""

from __future__ import annotations

from tester.parts import part
from tester.raft_cluster import ELECTION_TIMEOUT


@part("2E", points=10)
def test_slow_leader(raft_cluster):
    """A leader whose messages take 30 ms longer still commits, and keeps its place."""
    cluster = raft_cluster(servers=3)
    leader = cluster.one_leader()
    cluster.one("before", servers=3)
    term = cluster.agreed_term()

    cluster.network.slow(leader, 0.03)
    cluster.one("while it is slow", servers=3)
    cluster.sleep(2 * ELECTION_TIMEOUT)
    later = cluster.agreed_term()
    assert later <= term + 1, f"the term went from {term} to {later} while leader {leader} was slow"

    cluster.network.fast(leader)
    cluster.one("after", servers=3)
