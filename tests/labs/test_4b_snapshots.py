"""Part 4B: the key/value service with snapshots."""

from __future__ import annotations

from tester.kv_traffic import MOST_RAFT_STATES, demand_short_logs, demand_speed, run_traffic
from tester.parts import part

MAX_RAFT_STATE = 1000
MOST_RAFT_STATE = MOST_RAFT_STATES * MAX_RAFT_STATE
MOST_SNAPSHOT = 500


def build(replicated_kv_cluster, *, servers: int = 5, reliable: bool = True):
    return replicated_kv_cluster(servers=servers, reliable=reliable, max_raft_state=MAX_RAFT_STATE)


def put(clerk, key: str, value: str) -> None:
    """Puts over whatever version there is."""
    assert clerk.put(key, value, clerk.get(key)[1]) in ("OK", "MAYBE")


@part("4B", points=5)
def test_snapshot_rpc(replicated_kv_cluster):
    """A server that was away catches up by a snapshot, and then serves what is in it."""
    cluster = build(replicated_kv_cluster, servers=3)
    clerk = cluster.clerk()
    put(clerk, "a", "A")
    away = 2
    cluster.network.partition([0, 1, clerk.name], [away])
    for number in range(50):
        put(clerk, str(number), str(number))
    cluster.sleep(1)
    put(clerk, "b", "B")
    demand_short_logs(cluster, MOST_RAFT_STATE)

    cluster.network.partition([0, away, clerk.name], [1])  # the one that was away is needed now
    put(clerk, "c", "C")
    put(clerk, "d", "D")
    assert clerk.get("a")[0] == "A"
    assert clerk.get("b")[0] == "B"
    assert clerk.get("49")[0] == "49"

    cluster.network.partition([1, away, clerk.name], [0])  # only it can lead now: server 1 lacks the last puts
    for key, value in {"a": "A", "1": "1", "49": "49", "d": "D"}.items():
        assert clerk.get(key)[0] == value, f"server {away} caught up by a snapshot and has lost key {key!r}"

    cluster.network.heal()
    put(clerk, "e", "E")
    for key in "cde":
        assert clerk.get(key)[0] == key.upper()
    assert clerk.get("1")[0] == "1"

    odd = {"emptied": "", "": "of the empty key", "ключ": "值\0"}
    put(clerk, "emptied", "not yet")
    for key, value in odd.items():
        put(clerk, key, value)
    for number in range(20):
        put(clerk, "later", str(number))  # until they are in snapshots only
    for server in range(3):
        cluster.crash(server)
    for server in range(3):
        cluster.start(server)
    for key, value in odd.items():
        got, _, err = clerk.get(key)
        assert (got, err) == (value, "OK"), f"key {key!r} lost its value over a restart from a snapshot"
    cluster.assert_linearizable()


@part("4B", points=5)
def test_snapshot_size(replicated_kv_cluster):
    """A snapshot holds the state, not its history."""
    cluster = build(replicated_kv_cluster, servers=3)
    clerk = cluster.clerk()
    version = 0
    for number in range(400):
        value = str(number % 2)
        assert clerk.put("x", value, version) in ("OK", "MAYBE")
        got, version, _ = clerk.get("x")
        assert got == value
    cluster.sleep(1)
    demand_short_logs(cluster, MOST_RAFT_STATE)
    for server in range(3):
        size = cluster.server(server).snapshot_bytes()
        assert 0 < size <= MOST_SNAPSHOT, (
            f"server {server} has a snapshot of {size} bytes of a store with one key; 1 to {MOST_SNAPSHOT} are expected"
        )
    cluster.assert_linearizable()


@part("4B", points=5)
def test_snapshot_speed(replicated_kv_cluster):
    """Puts do not wait for heartbeats, nor for snapshots."""
    demand_speed(build(replicated_kv_cluster, servers=3))


@part("4B", points=5)
def test_snapshot_recover(replicated_kv_cluster):
    """Servers crash and restart from snapshot and log while a client works."""
    run_traffic(build(replicated_kv_cluster), 1, crashes=True, most_raft_state=MOST_RAFT_STATE)


@part("4B", points=10)
def test_snapshot_recover_many_clients(replicated_kv_cluster):
    """The same with twenty clients."""
    run_traffic(build(replicated_kv_cluster), 20, crashes=True, most_raft_state=MOST_RAFT_STATE)


@part("4B", points=5)
def test_snapshot_unreliable(replicated_kv_cluster):
    """Five clients over a network that loses messages."""
    run_traffic(build(replicated_kv_cluster, reliable=False), 5, most_raft_state=MOST_RAFT_STATE)


@part("4B", points=5)
def test_snapshot_unreliable_recover(replicated_kv_cluster):
    """The same with crashes."""
    run_traffic(build(replicated_kv_cluster, reliable=False), 5, crashes=True, most_raft_state=MOST_RAFT_STATE)


@part("4B", points=10)
def test_snapshot_unreliable_recover_concurrent_partition(replicated_kv_cluster):
    """The same with crashes and partitions."""
    cluster = build(replicated_kv_cluster, reliable=False)
    run_traffic(cluster, 5, crashes=True, partitions=True, most_raft_state=MOST_RAFT_STATE)


@part("4B", points=10)
def test_snapshot_unreliable_recover_concurrent_partition_linearizable(replicated_kv_cluster):
    """All of it on seven servers, with fifteen clients on a hundred keys."""
    cluster = build(replicated_kv_cluster, servers=7, reliable=False)
    run_traffic(cluster, 15, crashes=True, partitions=True, random_keys=True, most_raft_state=MOST_RAFT_STATE)
