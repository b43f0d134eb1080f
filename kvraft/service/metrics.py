"""A node's metrics for Prometheus: a listener that counts, and gauges that are read when somebody looks.

    node's loop:   events --> Count, Spread (tallies.py)      no lock, no object for an event
    a scrape:      registry --> tallies; state, read on the node's loop (node_gauges.py)

    metrics = NodeMetrics(node, server)
    node.listeners.append(metrics)
    MetricsEndpoint(metrics.registry, "127.0.0.1", 9100)

Labels take few values, all known beforehand: places of nodes, and the words below. Nothing that a client sends becomes
one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector

from kvraft.service.events import Listener, SaveTimes
from kvraft.service.node import Node
from kvraft.service.node_gauges import NodeGauges
from kvraft.service.server import Server
from kvraft.service.tallies import SIZES, Counters, CountsOf, Gauges, Histograms, Tallies
from raft.messages import AppendEntriesArgs, InstallSnapshotArgs, RequestVoteArgs
from raft.production import PreVoteArgs, SuccessorVoteArgs, TimeoutNowArgs

__all__ = ["BATCHES", "METHODS", "OUTCOMES", "REFUSALS", "SNAPSHOTS", "NodeMetrics"]

METHODS: dict[type, str] = {
    AppendEntriesArgs: "AppendEntries",
    RequestVoteArgs: "RequestVote",
    SuccessorVoteArgs: "RequestVote",
    PreVoteArgs: "PreVote",
    TimeoutNowArgs: "TimeoutNow",
    InstallSnapshotArgs: "InstallSnapshot",
}
"""Label `method` of Raft's messages."""

OUTCOMES: dict[tuple[str, str], tuple[str, str]] = {
    ("get", "OK"): ("ok", "none"),
    ("put", "OK"): ("ok", "none"),
    ("get", "NO_KEY"): ("ok", "no_key"),
    ("put", "NO_KEY"): ("conflict", "no_key"),
    ("put", "VERSION"): ("conflict", "version"),
    **{
        (method, err): ("error", err.lower())
        for method in ("get", "put")
        for err in ("WRONG_LEADER", "BUSY", "INVALID")
    },
}
"""Labels `status` and `reason` of an operation, by its method and what it is answered with."""

BATCHES = ("propose", "append", "persist", "apply")
"""Label `type`: operations in an entry of the log, entries in a message, saves in an fsync, operations applied."""

SNAPSHOTS = ("take", "send", "install")
"""Label `kind` of snapshots."""

REFUSALS = (
    *(("client", code) for code in ("UNAUTHENTICATED", "UNAVAILABLE", "RESOURCE_EXHAUSTED")),
    *(("peer", code) for code in ("UNAUTHENTICATED", "UNAVAILABLE", "FAILED_PRECONDITION")),
)
"""Labels `caller` and `code` of calls that are turned away."""

_LONG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_ELECTION_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0)


class NodeMetrics(Listener):
    """Metrics of one node, in a registry of their own, with the process's and the garbage collector's.

    Args:
        server: what it listens with, for counts of streams; None: there is none.
        clock: seconds, as time.monotonic().
    """

    def __init__(
        self, node: Node, server: Server | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._me = me = str(node.settings.id)
        peers = [str(peer) for peer in range(len(node.settings.peers)) if peer != node.settings.id]
        self._define(me, peers)
        # Entries of this leader's that are not committed: (index, since when).
        self._proposed: deque[tuple[int, float]] = deque()
        # Whether it has ever known a leader: what ends before that is no failover. Since when nobody has answered
        # clients, until this new leader's first commit.
        self._has_known_leader = False
        self._leaderless_since: float | None = None
        self.gauges = NodeGauges(node, server)
        self.registry = CollectorRegistry()
        self.registry.register(Tallies(each for each in vars(self).values() if isinstance(each, _KINDS)))
        self.registry.register(self.gauges)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def _define(self, me: str, peers: list[str]) -> None:
        link = ["method", "from", "to", "ok"]
        self.rpc_seconds = Histograms(
            "raft_rpc_duration_seconds", "From sending a request to its reply or loss.", link, shows_empty=False
        )
        self.rpcs = CountsOf(
            self.rpc_seconds, "raft_rpc_total", "Requests to a peer that were answered (ok) or lost with the stream."
        )
        self.handler_seconds = Histograms(
            "raft_appendentries_handler_duration_seconds",
            "From an AppendEntries to its reply, the wait for the disk included.",
            ["node"],
        )
        self.commit_seconds = Histograms(
            "raft_commit_latency_seconds", "From an entry's append on the leader to its commitment.", ["node"]
        )
        self.election_seconds = Histograms(
            "raft_election_duration_seconds",
            "From the first request for votes or pre-votes to leadership, on the winner.",
            ["node"],
            _ELECTION_SECONDS,
        )
        self.queued_seconds = Histograms(
            "raft_persist_enqueue_wait_seconds",
            "From a save's handing over until the disk's thread takes it.",
            ["node"],
        )
        self.done_seconds = Histograms(
            "raft_persist_done_wait_seconds",
            "From a save's handing over until it is acknowledged as durable.",
            ["node"],
        )
        self.persist_seconds = Histograms(
            "raft_persist_duration_seconds", "Encoding, writing and fsync of all saves that came together.", ["node"]
        )
        self.fsync_seconds = Histograms("raft_fsync_duration_seconds", "Each fsync of the log.", ["node"])
        self.batch_sizes = Histograms(
            "raft_batch_size",
            "Operations in an entry (propose), entries in a message (append), saves in an fsync (persist), "
            "operations of an entry applied (apply).",
            ["node", "type"],
            SIZES,
        )
        self.elections = Counters("raft_elections_started_total", "Times this node stood for election.", ["node"])
        self.victories = Counters("raft_leader_elected_total", "Elections that this node won.", ["node"])
        self.snapshots_under_way = Gauges(
            "raft_snapshot_in_progress", "Snapshots being taken, sent to a peer, or received.", ["node", "kind"]
        )
        self.snapshot_seconds = Histograms(
            "raft_snapshot_duration_seconds", "Of taking, sending, or receiving one.", ["node", "kind"], _LONG_SECONDS
        )
        kind = ["node", "kind"]
        self.disk_writes = Counters(
            "raft_disk_writes_total", "Records (log), logs begun anew, snapshots written.", kind
        )
        self.disk_bytes = Counters("raft_disk_bytes_total", "Bytes written to the log, in snapshots.", kind)
        self.round_seconds = Histograms(
            "raft_read_round_duration_seconds", "Until a majority has confirmed the leader to gets.", ["node"]
        )
        self.reads = Counters(
            "raft_reads_total", "Gets confirmed by a round (index) or on the lease.", ["node", "mode"]
        )
        self.submit_seconds = Histograms(
            "kv_submit_latency_seconds",
            "From an operation's arrival to its answer.",
            ["method", "status", "reason"],
            shows_empty=False,
        )
        self.operations = CountsOf(
            self.submit_seconds,
            "kv_ops_total",
            "Clients' operations answered by this node. ok: done, a get of no key too; conflict: refused by the store; "
            "error: not done here.",
        )
        self.failover_seconds = Histograms(
            "kv_failover_duration_seconds",
            "Since the old leader was last heard: until this node was elected, until it served.",
            ["event"],
            _ELECTION_SECONDS,
        )
        self.snapshots = Counters("kv_snapshot_total", "Snapshots of the store that this node took.")
        self.network = Counters(
            "kv_network_bytes_total",
            "Bytes of messages, without gRPC's own, from and to peers and clients' streams.",
            ["node", "party", "direction"],
        )
        self.refused = Counters(
            "kv_refused_calls_total", "Calls turned away, by gRPC's status code.", ["node", "caller", "code"]
        )

        # The children, so that an event looks nothing up that could be known before.
        self._handled = self.handler_seconds.of(me)
        self._commits = self.commit_seconds.of(me)
        self._won_in = self.election_seconds.of(me)
        self._queued, self._done = self.queued_seconds.of(me), self.done_seconds.of(me)
        self._persists, self._fsyncs = self.persist_seconds.of(me), self.fsync_seconds.of(me)
        self._batches = {each: self.batch_sizes.of(me, each) for each in BATCHES}
        self._appends, self._applied = self._batches["append"], self._batches["apply"]
        self._started, self._won = self.elections.of(me), self.victories.of(me)
        self._under_way = {each: self.snapshots_under_way.of(me, each) for each in SNAPSHOTS}
        self._taken_in = {each: self.snapshot_seconds.of(me, each) for each in SNAPSHOTS}
        self._writes = {each: self.disk_writes.of(me, each) for each in ("log", "new_log", "snapshot")}
        self._bytes = {each: self.disk_bytes.of(me, each) for each in ("log", "snapshot")}
        self._rounds = self.round_seconds.of(me)
        self._reads = {each: self.reads.of(me, each) for each in ("index", "lease")}
        self._answers = {(method, err): self.submit_seconds.of(method, *end) for (method, err), end in OUTCOMES.items()}
        self._calls = {
            (kind, int(peer), ok): self.rpc_seconds.of(*labels)
            for kind, method in METHODS.items()
            for peer in peers
            for ok in (True, False)
            for labels in [(method, me, peer, "true" if ok else "false")]
        }
        self._elected, self._serving = self.failover_seconds.of("elected"), self.failover_seconds.of("serving")
        self._snapshots = self.snapshots.of()
        for caller, code in REFUSALS:
            self.refused.of(me, caller, code)
        self._peers_in, self._peers_out = self.network.of(me, "peers", "in"), self.network.of(me, "peers", "out")
        self._clients_in, self._clients_out = (
            self.network.of(me, "clients", "in"),
            self.network.of(me, "clients", "out"),
        )

    # -------------------------------------------------------------- roles and elections

    def role_changed(self, role: str, term: int, leader: int | None) -> None:
        if role != "leader":
            self._proposed.clear()
            self._leaderless_since = None
        self._has_known_leader = self._has_known_leader or leader is not None

    def election_started(self, term: int) -> None:
        self._started.value += 1

    def election_won(self, term: int, seconds: float, leaderless: float) -> None:
        self._won.value += 1
        self._won_in.observe(seconds)
        if self._has_known_leader:
            self._elected.observe(leaderless)
            self._leaderless_since = self._clock() - leaderless

    # -------------------------------------------------------------- the log

    def batch_proposed(self, index: int, operations: int) -> None:
        self._proposed.append((index, self._clock()))
        self._batches["propose"].observe(operations)

    def committed(self, index: int) -> None:
        now = self._clock()
        proposed = self._proposed
        while proposed and proposed[0][0] <= index:
            self._commits.observe(now - proposed.popleft()[1])
        if self._leaderless_since is not None:  # a leader's first commit is of its own term (§5.4.2)
            self._serving.observe(now - self._leaderless_since)
            self._leaderless_since = None

    def applied(self, index: int, operations: int) -> None:
        self._applied.observe(operations)

    def saved(self, saves: int, size: int, seconds: float) -> None:
        self._persists.observe(seconds)
        self._batches["persist"].observe(saves)
        self._bytes["log"].value += size

    def save_timed(self, times: SaveTimes) -> None:
        self._writes["new_log" if times.begins_log else "log"].value += 1
        self._fsyncs.observe(times.fsync_seconds)
        for handed in times.handed:
            self._queued.observe(times.taken - handed)
            self._done.observe(times.acknowledged - handed)

    # -------------------------------------------------------------- peers

    def request_sent(self, peer: int, request: Any, size: int) -> None:
        self._peers_out.value += size
        if type(request) is AppendEntriesArgs and request.entries:
            self._appends.observe(len(request.entries))

    def reply_received(self, peer: int, size: int) -> None:
        self._peers_in.value += size

    def request_ended(self, peer: int, request: Any, is_answered: bool, seconds: float) -> None:
        self._calls[type(request), peer, is_answered].observe(seconds)

    def request_received(self, peer: int, request: Any, size: int) -> None:
        self._peers_in.value += size

    def request_handled(self, peer: int, request: Any, size: int, seconds: float) -> None:
        self._peers_out.value += size
        if type(request) is AppendEntriesArgs:
            self._handled.observe(seconds)

    # -------------------------------------------------------------- clients

    def operations_done(self, kind: str, err: str, count: int, seconds: float) -> None:
        self._answers[kind, err].observe(seconds, count)

    def reads_confirmed(self, mode: str, gets: int, seconds: float) -> None:
        self._reads[mode].value += gets
        if mode == "index":
            self._rounds.observe(seconds)

    def client_bytes(self, received: int, sent: int) -> None:
        self._clients_in.value += received
        self._clients_out.value += sent

    def call_refused(self, caller: str, code: str) -> None:
        self.refused.children[self._me, caller, code].value += 1

    # -------------------------------------------------------------- snapshots

    def snapshot_began(self, kind: str, peer: int | None) -> None:
        self._under_way[kind].value += 1

    def snapshot_ended(self, kind: str, peer: int | None, size: int, seconds: float) -> None:
        self._under_way[kind].value -= 1
        self._taken_in[kind].observe(seconds)
        if kind != "send" and size:
            self._writes["snapshot"].value += 1
            self._bytes["snapshot"].value += size
        if kind == "install":
            self._peers_in.value += size

    def snapshot_taken(self, index: int, size: int, seconds: float) -> None:
        self._snapshots.value += 1
        self.gauges.last_snapshot_bytes = size

    def snapshot_installed(self, index: int, size: int) -> None:
        self.gauges.last_snapshot_bytes = size


_KINDS = (Counters, CountsOf, Gauges, Histograms)
