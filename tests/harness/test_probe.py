"""What the judge asks of a throwaway incarnation, and what it makes of the answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from labrpc.codec import Record
from labrpc.journal import Sent
from labrpc.persister import Contents
from tester.payloads import message_body
from tester.probe import DurabilityProbe
from tester.raft_cluster import RaftCluster
from tester.run import Options, Run
from tests.harness.conftest import FixedDisturbance


@pytest.fixture
def cluster() -> Iterator[RaftCluster]:
    run = Run(1, Options())
    run.disturbance = lambda streams: FixedDisturbance()  # type: ignore[method-assign]
    yield RaftCluster(run, 3)
    run.close()


def last_append_to(cluster: RaftCluster, server: int) -> Record:
    """The last request with entries that was sent to `server`."""
    bodies = [
        message_body(event.payload)
        for event in cluster.journal
        if isinstance(event, Sent) and event.method == "Raft.append_entries" and event.target == str(server)
    ]
    return next(body for body in reversed(bodies) if body is not None and body.fields.get("entries"))


@pytest.fixture
def acknowledged(cluster) -> tuple[int, Any]:
    """(a follower, the append that it has acknowledged)."""
    cluster.one("x", 3)
    follower = (cluster.one_leader() + 1) % 3
    return follower, last_append_to(cluster, follower)


def probe(cluster: RaftCluster) -> DurabilityProbe:
    return DurabilityProbe(cluster.machines, cluster.coordinator, 3)


def test_a_server_that_has_its_entries_forgets_none(cluster, acknowledged):
    assert not probe(cluster).forgets_entries(*acknowledged)


def test_a_server_whose_disk_lacks_the_entries_forgets_them(cluster, acknowledged):
    follower, _ = acknowledged
    cluster.coordinator.disk(str(follower)).durable = Contents(b"", b"")
    assert probe(cluster).forgets_entries(*acknowledged)


def test_a_server_that_has_its_entries_and_a_newer_term_forgets_none(cluster, acknowledged):
    """It may have stood for election while its answer waited for the disk, and one save may hold both."""
    follower, _ = acknowledged
    cluster.disconnect(follower)
    term, _ = cluster.server(follower).get_state()
    cluster.sleep(2)
    assert cluster.server(follower).get_state()[0] > term
    assert not probe(cluster).forgets_entries(*acknowledged)
