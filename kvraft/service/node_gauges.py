"""What of a node's metrics is its state: read on its event loop, whenever somebody looks."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Iterable

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from kvraft.service.node import Node
from kvraft.service.server import Server
from kvraft.service.tallies import gauge
from raft.raft import Role

__all__ = ["NodeGauges", "NotReadable"]

LOOP_SECONDS = 2.0
"""How long a scrape waits for the node's loop."""


class NotReadable(Exception):
    """The node is too busy to say how it is."""


class NodeGauges(Collector):
    """The gauges of one node. There are none before it has read its log, nor after its loop has ended.

    Attributes:
        last_snapshot_bytes: of the latest snapshot that was taken or installed since the process began.
    """

    def __init__(self, node: Node, server: Server | None) -> None:
        self._node, self._server = node, server
        self.last_snapshot_bytes = 0

    def collect(self) -> Iterable[Metric]:
        """Raises: NotReadable. Any thread may call it."""
        if not self._node.is_started:
            return []
        loop = self._node.raft.loop
        if _running_loop() is loop:
            return self._read()
        found: concurrent.futures.Future[list[Metric]] = concurrent.futures.Future()

        def read() -> None:
            try:
                found.set_result(self._read())
            except BaseException as error:
                found.set_exception(error)

        try:
            loop.call_soon_threadsafe(read)
        except RuntimeError:  # the loop is closed: the node has ended
            return []
        try:
            return found.result(LOOP_SECONDS)
        except concurrent.futures.TimeoutError:
            raise NotReadable(f"the node's event loop has not answered for {LOOP_SECONDS:g} s") from None

    def _read(self) -> list[Metric]:
        node, raft, store = self._node, self._node.raft, self._node.log_store
        me, log, depths = str(node.settings.id), raft.log, node.depths()
        snapshot = 0 if store.snapshot is None else len(store.snapshot)

        def mine(name: str, text: str, value: float) -> Metric:
            return gauge(name, text, ["node"], {(me,): value})

        roles = {(me, role.value): float(raft.role is role) for role in Role}
        lags = {
            (me, str(peer)): float(log.last_index - raft.match_index[peer])
            for peer in raft.others
            if raft.role is Role.LEADER
        }
        links = {(me, str(peer)): float(node.transport.is_connected(peer)) for peer in raft.others}
        found = [
            gauge("raft_role", "1 for the role that the node has.", ["node", "role"], roles),
            mine("raft_current_term", "The latest term it has seen.", raft.current_term),
            mine("raft_start_index", "The last entry of its log.", log.last_index),
            mine("raft_commit_index", "Up to where it knows its log to be committed.", raft.commit_index),
            mine("raft_last_applied", "Up to where the store has applied the log.", node.store.index),
            mine("raft_log_len", "Entries in the log after the snapshot.", log.last_index - log.last_included_index),
            mine("raft_log_size_bytes", "Their bytes.", log.size),
            mine("raft_raftstate_bytes", "Bytes of the log's file: term, vote and log.", store.log_bytes),
            mine("raft_snapshot_index", "The last entry that the snapshot stands for.", log.last_included_index),
            mine("raft_snapshot_bytes", "Bytes of the snapshot in force.", snapshot),
            mine(
                "raft_snapshot_size_bytes",
                "Bytes of the latest snapshot taken or received by this process, 0 if none was.",
                self.last_snapshot_bytes,
            ),
            gauge(
                "raft_replication_lag_entries",
                "Entries of the leader's log that a peer is not known to have; on the leader only.",
                ["leader", "peer"],
                lags,
            ),
            gauge(
                "raft_channel_depth",
                "What waits: operations for an entry (batch), a round (reads), the applier (apply); entries committed "
                "and not applied; saves for the disk (persist); requests for replies (flights).",
                ["node", "name"],
                {(me, name): float(depth) for name, depth in depths.items()},
            ),
            gauge("raft_peer_connected", "Whether there is a stream to that peer.", ["node", "peer"], links),
            gauge("kv_pending_ops", "Clients' operations taken and not answered.", [], {(): float(node.under_way)}),
            gauge(
                "kv_queue_depth",
                "Of them, those that wait for an entry of the log or a round.",
                [],
                {(): float(depths["batch"] + depths["reads"])},
            ),
            gauge("kv_apply_queue_depth", "Entries committed and not applied.", [], {(): float(depths["committed"])}),
            gauge("kv_state_entries", "Keys in the store.", [], {(): float(len(node.store))}),
            gauge("kv_snapshot_bytes", "Bytes of the store's snapshot in force.", [], {(): float(snapshot)}),
        ]
        if self._server is not None:
            streams = {
                (me, "clients"): float(len(self._server.clients.streams)),
                (me, "peers"): float(len(self._server.peers.streams)),
            }
            found.append(gauge("kv_streams", "gRPC streams that are open here.", ["node", "party"], streams))
        return found


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
