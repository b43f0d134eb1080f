"""Journals to export: of two runs, of a small one that was made up, and of nothing."""

from __future__ import annotations

import functools
import io
from contextlib import closing
from typing import Any

from labrpc.codec import EnumRecord, Record, encode
from labrpc.journal import (
    Annotated,
    Booted,
    Controlled,
    Delivered,
    Dropped,
    Faulted,
    Journal,
    Printed,
    Reported,
    Returned,
    Sent,
    Stopped,
)
from tester.raft_cluster import RaftCluster
from tester.run import Run
from tester.service_cluster import ReplicatedKVCluster


def journal_of(events: list[Any]) -> Journal:
    journal = Journal()
    for event in events:
        journal.append(event)
    return journal


def written(journal: Journal) -> bytes:
    file = io.BytesIO()
    journal.write(file)
    return file.getvalue()


@functools.cache
def raft_run() -> Journal:
    """Servers that are cut off, crash and come back on a network that loses and doubles messages."""
    with closing(Run(3)) as run, RaftCluster(run, 3) as cluster:
        leader = cluster.one_leader()
        cluster.one("a", 3)
        cluster.network.reliable = False
        cluster.network.duplicate(100)
        cluster.disconnect(leader)
        cluster.one("b", 2)
        cluster.crash((leader + 1) % 3)
        cluster.connect(leader)
        cluster.sleep(1)
        cluster.start((leader + 1) % 3)
        cluster.sleep(1)
        return Journal.read(io.BytesIO(written(cluster.journal)))


@functools.cache
def store_run() -> Journal:
    """Clients of the store, on a network that loses messages, while a server crashes and comes back."""
    with closing(Run(5)) as run, ReplicatedKVCluster(run, 3, max_raft_state=1000) as cluster:
        clerks = [cluster.clerk() for _ in range(2)]
        cluster.network.reliable = False
        for version in range(4):
            clerks[version % 2].put("x", str(version), version)
        cluster.crash(1)
        cluster.spawn(lambda: clerks[0].put("y", "1", 0))
        clerks[1].get("x")
        cluster.start(1)
        cluster.sleep(1)
        return Journal.read(io.BytesIO(written(cluster.journal)))


RUNS = {"raft": raft_run, "store": store_run, "empty": Journal}


MS = 1_000_000


def sent(at: int, number: int, source: str, target: str, method: str, reply_to: int = 0, **fields: Any) -> Sent:
    return Sent(at * MS, number, reply_to, source, 1, target, method, encode(Record("Message", fields)))


SMALL = [
    *(Booted(0, host, 1, 0, 0) for host in ("0", "1", "c0")),
    sent(1, 1, "0", "1", "Raft.request_vote", term=1, candidate_id=0, last_log_index=0, last_log_term=0),
    Delivered(2 * MS + 1, 1),
    sent(3, 2, "1", "0", "Raft.request_vote", 1, term=1, vote_granted=True),
    Delivered(4 * MS, 2),
    Delivered(5 * MS, 1),  # a duplicate
    Faulted(6 * MS, "disconnect", "1"),
    sent(6, 3, "0", "1", "Raft.append_entries", term=1, prev_log_index=0, prev_log_term=0, entries=[], leader_commit=0),
    Dropped(6 * MS, 3, "1 is disconnected"),
    Controlled(7 * MS, "c0", 1, "put", encode(("x", "1", 0))),
    sent(7, 4, "c0", "0", "KV.put", key="x", value="1", version=0),
    Delivered(8 * MS, 4),
    sent(8, 5, "0", "c0", "KV.put", 4, err=EnumRecord("Err", "OK")),
    Dropped(9 * MS, 5, "lost"),
    Printed(9 * MS, "0", "main", "hello"),
    Annotated(9 * MS, "0", "note", "an instant"),
    Reported(9 * MS, "", "liveness", "nobody leads", "", ""),
    Returned(10 * MS, "c0", 1, encode(EnumRecord("Err", "OK"))),
    Controlled(11 * MS, "c0", 2, "get", encode(("x",))),
    sent(11, 6, "c0", "1", "KV.get", key="x"),
    Stopped(12 * MS, "1", 1, "crash"),
    sent(12, 8, "1", "0", "Raft.request_vote", 7, term=1, vote_granted=False),  # to nothing that was seen
    Delivered(13 * MS, 8),
]
