"""What nodes and clients show Prometheus: names and labels that users' dashboards rely on, and right numbers."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from kvraft.rpc import Err
from kvraft.service import Client, Refused, Unavailable, node_gauges
from kvraft.service import kvraft_pb2 as pb
from kvraft.service.client_metrics import CLIENT_FAILURES, ClientMetrics
from kvraft.service.cluster import free_ports, run_cluster
from kvraft.service.events import Listener, SaveTimes
from kvraft.service.metrics import BATCHES, METHODS, OUTCOMES, REFUSALS, SNAPSHOTS, NodeMetrics
from kvraft.service.metrics_endpoint import MetricsEndpoint
from kvraft.service.tallies import Counters, Histograms, Spread, Tallies
from labrpc.errors import UsageError
from raft.messages import AppendEntriesArgs, LogEntry, RequestVoteArgs
from raft.production import SuccessorVoteArgs
from tests.harness.service.conftest import eventually, kvraft, on_loop

# Names, types and labels that dashboards and alerts of users have in them. They do not change.
KEPT = """
raft_rpc_total                              counter    method from to ok
raft_rpc_duration_seconds                   histogram  method from to ok
raft_appendentries_handler_duration_seconds histogram  node
raft_commit_latency_seconds                 histogram  node
raft_election_duration_seconds              histogram  node
raft_persist_enqueue_wait_seconds           histogram  node
raft_persist_done_wait_seconds              histogram  node
raft_channel_depth                          gauge      node name
raft_batch_size                             histogram  node type
raft_role                                   gauge      node role
raft_current_term                           gauge      node
raft_elections_started_total                counter    node
raft_leader_elected_total                   counter    node
raft_commit_index                           gauge      node
raft_last_applied                           gauge      node
raft_start_index                            gauge      node
raft_log_len                                gauge      node
raft_log_size_bytes                         gauge      node
raft_replication_lag_entries                gauge      leader peer
raft_raftstate_bytes                        gauge      node
raft_snapshot_index                         gauge      node
raft_snapshot_bytes                         gauge      node
raft_snapshot_size_bytes                    gauge      node
raft_snapshot_in_progress                   gauge      node kind
raft_persist_duration_seconds               histogram  node
raft_snapshot_duration_seconds              histogram  node kind
raft_disk_writes_total                      counter    node kind
kv_submit_latency_seconds                   histogram  method status reason
kv_pending_ops                              gauge
kv_state_entries                            gauge
kv_snapshot_bytes                           gauge
kv_apply_queue_depth                        gauge
kv_queue_depth                              gauge
kv_ops_total                                counter    method status reason
kv_snapshot_total                           counter
kv_failover_duration_seconds                histogram  event
"""
KEPT_OF_CLIENTS = """
kv_request_latency_seconds                  histogram  method
kv_client_requests_total                    counter    method
kv_client_retries_total                     counter    method
kv_client_failures_total                    counter    method reason
kv_client_in_flight                         gauge
kv_observed_version                         gauge      method
kv_failover_duration_seconds                histogram  event
"""


def scrape(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as response:
        return str(response.read().decode())


def families(text: str) -> dict[str, tuple[str, set[str]]]:
    """(type, labels) of each family, by the name that its samples have in queries."""
    found = {}
    for family in text_string_to_metric_families(text):
        labels: set[str] = set()
        for sample in family.samples:
            labels |= sample.labels.keys()
        if family.samples:
            name = f"{family.name}_total" if family.type == "counter" else family.name
            found[name] = family.type, labels - {"le"}
    return found


def kept(table: str) -> dict[str, tuple[str, set[str]]]:
    rows = [line.split() for line in table.strip().splitlines()]
    return {name: (kind, set(labels)) for name, kind, *labels in rows}


def watched(cluster: Any, number: int) -> NodeMetrics:
    """Metrics of a node that runs already."""
    node, server = cluster.running[number]
    metrics = NodeMetrics(node, server)
    node.listeners.append(metrics)
    return metrics


def test_every_series_that_dashboards_rely_on_is_there_with_its_labels(local):
    cluster = local()
    metrics = watched(cluster, cluster.leader())
    registry = CollectorRegistry()
    with cluster.client(metrics=ClientMetrics(registry)) as client:
        client.put("a", "1", 0)
    for found, table in ((metrics.registry, KEPT), (registry, KEPT_OF_CLIENTS)):
        endpoint = MetricsEndpoint(found)
        shown = families(scrape(endpoint.url))
        endpoint.close()
        expected = kept(table)
        assert {name: shown.get(name) for name in expected} == expected
        if found is metrics.registry:
            assert {"process_cpu_seconds_total", "process_resident_memory_bytes", "python_gc_collections_total"} <= set(
                shown
            )


def test_labels_take_few_values_that_are_known_beforehand(local):
    cluster = local()
    every = [watched(cluster, number) for number in range(3)]
    registry = CollectorRegistry()
    with cluster.client(metrics=ClientMetrics(registry)) as client:
        client.put("a key", "a value", 0)
        for attempt in (("a key", "", 7), ("another", "", 7)):
            client.put(*attempt)
        for reads in ("index", "lease", "log"):
            client.get("a key", reads=reads)
        with pytest.raises(Refused):
            client.get("")
    nodes = {"0", "1", "2"}
    allowed = {
        **dict.fromkeys(("node", "from", "to", "leader", "peer"), nodes),
        "method": {*METHODS.values(), "get", "put"},
        "ok": {"true", "false"},
        "name": {"batch", "reads", "apply", "committed", "persist", "flights"},
        "type": set(BATCHES),
        "role": {"follower", "candidate", "leader"},
        "kind": {*SNAPSHOTS, "log", "new_log", "snapshot"},
        "status": {status for status, _ in OUTCOMES.values()},
        "reason": {*(reason for _, reason in OUTCOMES.values()), *CLIENT_FAILURES},
        "event": {"elected", "serving", "client"},
        "mode": {"index", "lease"},
        "party": {"peers", "clients"},
        "direction": {"in", "out"},
        "caller": {"client", "peer"},
        "code": {code for _, code in REFUSALS},
        "generation": {"0", "1", "2"},
    }
    for each in (*(metrics.registry for metrics in every), registry):
        samples = [sample for family in each.collect() for sample in family.samples]
        assert len(samples) < 1500
        for sample in samples:
            for label, value in sample.labels.items():
                assert label == "le" or value in allowed[label], (sample.name, label, value)


def test_every_answer_of_a_node_has_its_labels():
    errors = set(pb.Err.keys()) - {"ERR_UNSPECIFIED"}
    assert {err for _, err in OUTCOMES} == errors
    assert {("put", err) for err in errors} <= OUTCOMES.keys()
    assert {("get", err) for err in errors - {"VERSION"}} <= OUTCOMES.keys(), "a get expects no version"


# -------------------------------------------------------------- numbers


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def alone(clock: Clock | None = None) -> tuple[NodeMetrics, Any]:
    """Metrics of node 0 of 3 that has not started, and what tells the value of a sample."""
    node: Any = SimpleNamespace(settings=SimpleNamespace(id=0, peers=["a:1", "b:1", "c:1"]), is_started=False)
    metrics = NodeMetrics(node, clock=clock or Clock())

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(name, {key.rstrip("_"): text for key, text in labels.items()})

    return metrics, value


def test_numbers_of_a_sequence_of_events():
    clock = Clock()
    metrics, value = alone(clock)
    # It follows node 1, which dies; stands twice, wins the second time.
    metrics.role_changed("follower", 1, 1)
    metrics.election_started(2)
    metrics.role_changed("candidate", 2, None)
    metrics.election_started(3)
    metrics.election_won(3, 0.4, 0.7)
    metrics.role_changed("leader", 3, 0)
    clock.now += 0.05
    metrics.committed(10)
    assert value("raft_elections_started_total", node="0") == 2
    assert value("raft_leader_elected_total", node="0") == 1
    assert value("raft_election_duration_seconds_sum", node="0") == pytest.approx(0.4)
    assert value("kv_failover_duration_seconds_sum", event="elected") == pytest.approx(0.7)
    assert value("kv_failover_duration_seconds_sum", event="serving") == pytest.approx(0.75)
    # Two batches, of which one is committed after 20 ms.
    metrics.batch_proposed(11, 5)
    clock.now += 0.02
    metrics.batch_proposed(12, 7)
    metrics.committed(11)
    assert value("raft_commit_latency_seconds_count", node="0") == 1
    assert value("raft_commit_latency_seconds_sum", node="0") == pytest.approx(0.02)
    assert value("raft_batch_size_sum", node="0", type="propose") == 12
    assert value("kv_failover_duration_seconds_count", event="serving") == 1, "only its first commit ends a failover"
    # What it proposed and another leader decides about is nobody's latency.
    metrics.role_changed("follower", 4, 2)
    clock.now += 5
    metrics.committed(12)
    assert value("raft_commit_latency_seconds_count", node="0") == 1


def test_the_first_election_of_a_cluster_is_no_failover():
    metrics, value = alone()
    metrics.election_started(1)
    metrics.election_won(1, 0.1, 0.5)
    metrics.role_changed("leader", 1, 0)
    metrics.committed(1)
    assert value("raft_leader_elected_total", node="0") == 1
    assert value("kv_failover_duration_seconds_count", event="elected") == 0
    assert value("kv_failover_duration_seconds_count", event="serving") == 0


def test_numbers_of_the_disk():
    metrics, value = alone()
    metrics.saved(3, 1000, 0.004)
    metrics.save_timed(SaveTimes([1.0, 1.1, 1.2], 1.25, 1.3, 0.003, begins_log=False))
    metrics.saved(1, 500, 0.04)
    metrics.save_timed(SaveTimes([2.0], 2.0, 2.1, 0.03, begins_log=True))
    assert value("raft_persist_duration_seconds_count", node="0") == 2
    assert value("raft_persist_duration_seconds_bucket", node="0", le="0.005") == 1
    assert value("raft_fsync_duration_seconds_sum", node="0") == pytest.approx(0.033)
    assert value("raft_persist_enqueue_wait_seconds_count", node="0") == 4
    assert value("raft_persist_enqueue_wait_seconds_sum", node="0") == pytest.approx(0.25 + 0.15 + 0.05)
    assert value("raft_persist_done_wait_seconds_sum", node="0") == pytest.approx(0.3 + 0.2 + 0.1 + 0.1)
    assert value("raft_disk_writes_total", node="0", kind="log") == 1
    assert value("raft_disk_writes_total", node="0", kind="new_log") == 1
    assert value("raft_disk_bytes_total", node="0", kind="log") == 1500
    metrics.snapshot_began("take", None)
    assert value("raft_snapshot_in_progress", node="0", kind="take") == 1
    metrics.snapshot_ended("take", None, 4000, 0.2)
    metrics.snapshot_taken(9, 4000, 0.2)
    assert value("raft_snapshot_in_progress", node="0", kind="take") == 0
    assert value("raft_snapshot_duration_seconds_sum", node="0", kind="take") == pytest.approx(0.2)
    assert value("raft_disk_bytes_total", node="0", kind="snapshot") == 4000
    assert value("kv_snapshot_total") == 1


def test_numbers_of_messages_and_operations():
    metrics, value = alone()
    append = AppendEntriesArgs(1, 0, 0, 0, [LogEntry(1, b"x"), LogEntry(1, b"y")], 0)
    metrics.request_sent(1, append, 300)
    metrics.request_ended(1, append, True, 0.003)
    metrics.request_ended(2, AppendEntriesArgs(1, 0, 0, 0, [], 0), False, 1.0)
    for vote in (RequestVoteArgs(1, 0, 0, 0), SuccessorVoteArgs(1, 0, 0, 0)):
        metrics.request_ended(2, vote, True, 0.01)
    metrics.request_handled(1, append, 20, 0.006)
    metrics.request_handled(1, RequestVoteArgs(1, 1, 0, 0), 20, 9.0)
    link = {"from_": "0", "to": "1", "ok": "true"}
    assert value("raft_rpc_total", method="AppendEntries", **link) == 1
    assert value("raft_rpc_duration_seconds_sum", method="AppendEntries", **link) == pytest.approx(0.003)
    assert value("raft_rpc_total", method="AppendEntries", from_="0", to="2", ok="false") == 1
    assert value("raft_rpc_total", method="RequestVote", from_="0", to="2", ok="true") == 2
    assert value("raft_appendentries_handler_duration_seconds_sum", node="0") == pytest.approx(0.006)
    assert value("raft_batch_size_sum", node="0", type="append") == 2
    assert value("kv_network_bytes_total", node="0", party="peers", direction="out") == 340
    for kind, err in (("put", "OK"), ("put", "VERSION"), ("get", "NO_KEY"), ("put", "NO_KEY"), ("get", "BUSY")):
        metrics.operations_done(kind, err, 1, 0.5)
    assert value("kv_ops_total", method="put", status="ok", reason="none") == 1
    assert value("kv_ops_total", method="put", status="conflict", reason="version") == 1
    assert value("kv_ops_total", method="get", status="ok", reason="no_key") == 1
    assert value("kv_ops_total", method="put", status="conflict", reason="no_key") == 1
    assert value("kv_ops_total", method="get", status="error", reason="busy") == 1
    assert value("kv_submit_latency_seconds_sum", method="put", status="ok", reason="none") == 0.5


def test_a_bucket_holds_what_is_at_most_its_bound():
    spread = Spread((1.0, 2.5))
    for value in (0.5, 1.0, 1.5, 2.5, 99.0):
        spread.observe(value)
    assert spread.buckets() == [("1.0", 2.0), ("2.5", 4.0), ("+Inf", 5.0)]
    assert spread.total == 104.5


def test_counts_survive_that_a_scrape_comes_in_between():
    counts, spreads = Counters("a_total", "…", ["of"]), Histograms("b", "…", ["of"], (1.0,))
    registry = CollectorRegistry()
    registry.register(Tallies([counts, spreads]))
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            list(registry.collect())

    looker = threading.Thread(target=look)
    looker.start()
    for number in range(20_000):
        counts.of(str(number % 50)).value += 1
        spreads.of(str(number % 50)).observe(0.5)
    over.set()
    looker.join()
    assert registry.get_sample_value("a_total", {"of": "7"}) == 400
    assert registry.get_sample_value("b_count", {"of": "7"}) == 400


# -------------------------------------------------------------- a cluster


def test_a_cluster_says_how_it_is(local):
    cluster = local(snapshot_bytes=20_000)
    leader = cluster.leader()
    metrics = watched(cluster, leader)
    away = cluster.followers()[0]
    follower = watched(cluster, away)

    def value(of: NodeMetrics, name: str, **labels: str) -> float:
        return of.registry.get_sample_value(name, labels) or 0.0

    with cluster.client() as client:
        client.put("a", "x", 0)
        assert client.get("a", reads="index")[2] is Err.OK
        me = str(leader)
        assert value(metrics, "raft_role", node=me, role="leader") == 1
        assert value(follower, "raft_role", node=str(away), role="follower") == 1
        assert value(metrics, "kv_ops_total", method="put", status="ok", reason="none") == 1
        assert value(metrics, "kv_state_entries") == 1
        assert value(metrics, "raft_reads_total", node=me, mode="index") == 1
        assert value(metrics, "raft_read_round_duration_seconds_count", node=me) == 1
        assert value(metrics, "raft_commit_latency_seconds_count", node=me) >= 1
        assert value(metrics, "raft_peer_connected", node=me, peer=str(away)) == 1
        assert value(metrics, "kv_streams", node=me, party="clients") == 1
        eventually(lambda: not value(metrics, "raft_replication_lag_entries", leader=me, peer=str(away)))
        handled = "raft_appendentries_handler_duration_seconds_count"
        assert value(follower, handled, node=str(away)) > 1
        cluster.stop(away)
        for version in range(60):
            client.put("b", "x" * 1000, version)
        assert value(metrics, "raft_replication_lag_entries", leader=me, peer=str(away)) >= 50
        assert value(
            metrics, "raft_rpc_total", **{"method": "AppendEntries", "from": me, "to": str(away), "ok": "true"}
        )
        eventually(lambda: value(metrics, "kv_snapshot_total"))
        assert value(metrics, "raft_snapshot_duration_seconds_count", node=me, kind="take") >= 1
        eventually(lambda: value(metrics, "raft_snapshot_index", node=me) > 1)
        assert value(metrics, "kv_snapshot_bytes") == value(metrics, "raft_snapshot_bytes", node=me) > 1000
        cluster.start(away)
        eventually(lambda: value(metrics, "raft_snapshot_duration_seconds_count", node=me, kind="send"))
        assert value(metrics, "raft_snapshot_in_progress", node=me, kind="send") == 0
        sent = {"method": "InstallSnapshot", "from": me, "to": str(away), "ok": "true"}
        assert value(metrics, "raft_rpc_total", **sent) == 1


def test_requests_that_are_lost_with_their_stream_are_counted(local):
    cluster = local()
    with cluster.client() as client:
        client.put("a", "x", 0)
        leader = cluster.leader()
        away = cluster.followers()[0]
        metrics = watched(cluster, leader)
        on_loop(hold_back(cluster.node(away)))
        lost = {"method": "AppendEntries", "from": str(leader), "to": str(away), "ok": "false"}
        eventually(lambda: metrics.registry.get_sample_value("raft_rpc_total", lost))
        count = metrics.registry.get_sample_value("raft_rpc_duration_seconds_count", lost)
        within = metrics.registry.get_sample_value("raft_rpc_duration_seconds_bucket", {**lost, "le": "0.5"})
        assert count > within, "the first was given up after a second of silence"


async def hold_back(node: Any) -> None:
    """From now on `node` answers nobody."""
    node.receive = lambda peer, payload, reply_to: None


def test_a_new_leader_tells_of_its_election_and_the_failover(local):
    cluster = local()
    every = {number: watched(cluster, number) for number in range(3)}
    registry = CollectorRegistry()
    with cluster.client(metrics=ClientMetrics(registry)) as client:
        client.put("a", "1", 0)
        old = cluster.leader()
        cluster.stop(old, graceful=False)
        assert client.put("a", "2", 1) in (Err.OK, Err.MAYBE)
        new = cluster.leader()
        found = every[new].registry
        eventually(lambda: found.get_sample_value("kv_failover_duration_seconds_count", {"event": "serving"}))
        elected = found.get_sample_value("kv_failover_duration_seconds_sum", {"event": "elected"})
        serving = found.get_sample_value("kv_failover_duration_seconds_sum", {"event": "serving"})
        assert 0.3 < elected < serving < 10, "the shortest election timeout is 0.4 s, its last heartbeat 0.05 before"
        assert 0 < found.get_sample_value("raft_election_duration_seconds_sum", {"node": str(new)}) < elected
        assert registry.get_sample_value("kv_client_retries_total", {"method": "put"}) >= 1
        assert registry.get_sample_value("kv_failover_duration_seconds_count", {"event": "client"}) == 1
        felt = registry.get_sample_value("kv_failover_duration_seconds_sum", {"event": "client"})
        assert 0.2 < felt < 10


def test_clients_count_each_end_of_an_operation(local):
    cluster = local(1)
    registry = CollectorRegistry()
    metrics = ClientMetrics(registry)

    def failures(method: str) -> dict[str, float]:
        named = {reason: {"method": method, "reason": reason} for reason in CLIENT_FAILURES}
        found = {reason: registry.get_sample_value("kv_client_failures_total", each) for reason, each in named.items()}
        return {reason: count for reason, count in found.items() if count}

    with cluster.client(metrics=metrics) as client:
        client.put("a", "1", 0)
        client.put("a", "2", 1)
        assert client.put("a", "1", 7) is Err.VERSION
        assert client.put("nowhere", "1", 7) is Err.NO_KEY
        assert client.get("nowhere")[2] is Err.NO_KEY
        with pytest.raises(Refused):
            client.get("")
        assert failures("put") == {"version": 1, "no_key": 1}
        assert failures("get") == {"refused": 1}, "that there is no such key is an answer"
        assert registry.get_sample_value("kv_observed_version", {"method": "put"}) == 2
        assert client.get("a") == ("2", 2, Err.OK)
        assert registry.get_sample_value("kv_observed_version", {"method": "get"}) == 2
        assert registry.get_sample_value("kv_client_requests_total", {"method": "put"}) == 4
        assert registry.get_sample_value("kv_request_latency_seconds_count", {"method": "get"}) == 3
    retries = registry.get_sample_value("kv_client_retries_total", {"method": "put"})
    with Client(["127.0.0.1:1"], metrics=metrics) as client:
        waits = client.get_later("a")
        eventually(lambda: registry.get_sample_value("kv_client_in_flight") == 1)
        with pytest.raises(Unavailable):
            client.put("a", "1", 0, timeout=0.1)
        client.close()
        with pytest.raises(Unavailable, match="closed"):
            waits.result(5)
    assert failures("put") == {"version": 1, "no_key": 1, "unavailable": 1}
    eventually(lambda: failures("get") == {"refused": 1, "closed": 1})
    assert registry.get_sample_value("kv_client_in_flight") == 0
    assert registry.get_sample_value("kv_client_retries_total", {"method": "put"}) == retries, "it was never sent"


# -------------------------------------------------------------- over HTTP


def test_a_node_that_is_not_started_or_has_ended_shows_what_it_has(local):
    cluster = local(1)
    cluster.leader()
    node, server = cluster.running[0]
    seen: list[str] = []
    metrics = NodeMetrics(node, server)
    endpoint = MetricsEndpoint(metrics.registry)
    raft, node.raft = node.raft, None  # as it is while the node reads its log
    text = scrape(endpoint.url)
    node.raft = raft
    assert "raft_role{" not in text
    assert 'kv_ops_total{method="put",reason="none",status="ok"} 0.0' in text
    assert "process_cpu_seconds_total" in text
    assert "raft_role{" in scrape(endpoint.url)
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            seen.append(scrape(endpoint.url))

    looker = threading.Thread(target=look)
    looker.start()
    cluster.stop(0)
    time.sleep(0.05)
    over.set()
    looker.join()
    assert seen
    assert all("raft_current_term{" in text for text in seen)
    endpoint.close()
    endpoint.close()
    with pytest.raises(OSError, match="refused"):
        scrape(endpoint.url)


def test_a_node_whose_loop_is_closed_shows_its_counts():
    async def nothing() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    metrics, value = alone()
    metrics.gauges._node = SimpleNamespace(is_started=True, raft=SimpleNamespace(loop=asyncio.run(nothing())))  # type: ignore[assignment]
    metrics.operations_done("put", "OK", 1, 0.1)
    assert value("kv_ops_total", method="put", status="ok", reason="none") == 1
    assert value("raft_current_term", node="0") is None


def test_a_node_that_is_stuck_is_reported_as_down(local, monkeypatch):
    monkeypatch.setattr(node_gauges, "LOOP_SECONDS", 0.1)
    cluster = local(1)
    cluster.leader()
    endpoint = MetricsEndpoint(watched(cluster, 0).registry)
    let_go = threading.Event()
    cluster.node(0).raft.loop.call_soon_threadsafe(let_go.wait, 10)
    with pytest.raises(urllib.error.HTTPError) as raised:
        scrape(endpoint.url)
    let_go.set()
    assert raised.value.code == 503
    assert "has not answered for 0.1 s" in raised.value.read().decode()
    assert "raft_role{" in scrape(endpoint.url)
    endpoint.close()


def test_only_metrics_are_there_and_in_the_format_that_is_asked_for():
    metrics, _ = alone()
    endpoint = MetricsEndpoint(metrics.registry)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        scrape(endpoint.url.replace("/metrics", "/"))
    wanted = "application/openmetrics-text; version=1.0.0"
    request = urllib.request.Request(f"{endpoint.url}?name=x", headers={"Accept": wanted})
    with urllib.request.urlopen(request, timeout=5) as response:
        assert response.headers["Content-Type"].startswith("application/openmetrics-text")
        assert response.read().endswith(b"# EOF\n")
    with urllib.request.urlopen(urllib.request.Request(endpoint.url, method="HEAD"), timeout=5) as response:
        assert int(response.headers["Content-Length"]) > 1000
        assert not response.read()
    endpoint.close()


def test_a_port_that_is_taken_is_said_before_anything_is_touched(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"cannot show metrics on 127\.0\.0\.1:{port}: Address already in use"):
            MetricsEndpoint(CollectorRegistry(), port=port)
        address = f"127.0.0.1:{free_ports(1)[0]}"
        data = tmp_path / "data"
        options = ("--id", "0", "--peers", address, "--data", str(data), "--metrics-port", str(port))
        done = kvraft("serve", *options)
        assert done.returncode == 2
        assert f"kvraft: cannot show metrics on 127.0.0.1:{port}: Address already in use" in done.stderr
        assert not data.exists()
        with pytest.raises(UsageError, match=f"port {port}: Address already in use; choose another --metrics-port"):
            run_cluster(1, data, metrics_port=port)
    with pytest.raises(UsageError, match=r"port 65536: it is not in 1\.\.65535"):
        run_cluster(3, data, metrics_port=65534)
    assert not data.exists()


@pytest.mark.parametrize("host", ["nowhere.invalid", "203.0.113.1"])
def test_a_host_that_is_not_this_machine_is_said(host):
    with pytest.raises(UsageError, match=re.escape(f"cannot show metrics on {host}:0")):
        MetricsEndpoint(CollectorRegistry(), host)


def test_listeners_hear_of_every_event(local):
    cluster = local(snapshot_bytes=20_000)
    told: set[str] = set()

    def hears(name: str) -> Any:
        return lambda self, *arguments: told.add(name)

    documented = {name for name in vars(Listener) if not name.startswith("_")}
    Hears = type("Hears", (Listener,), {name: hears(name) for name in documented})
    for number in range(3):
        cluster.node(number).listeners.append(Hears())
    away = cluster.followers()[0]
    with cluster.client() as client:
        client.get("a")
        cluster.stop(away)
        for version in range(60):
            client.put("a", "x" * 1000, version)
        cluster.start(away, listeners=[Hears()])
        client.transfer_leadership(cluster.peers[cluster.leader()], cluster.followers()[0])
        client.get("a", reads="lease")
        eventually(lambda: told >= documented - {"failed", "call_refused"})
