"""Part 2D: log compaction (§7). The service takes a snapshot at every index i with (i + 1) % 10 == 0."""

from __future__ import annotations

from tester.parts import part

SNAPSHOT_INTERVAL = 10
MOST_RAFT_STATE = 2000
CONFIG = {"snapshot_interval": SNAPSHOT_INTERVAL}


def some_commands(cluster) -> range:
    """5 to 14 times."""
    return range(SNAPSHOT_INTERVAL // 2 + cluster.random.below(SNAPSHOT_INTERVAL))


def thirty_rounds(cluster, *, away: str = "") -> None:
    """30 rounds of commands; with `away` a server misses each of them, cut off ("cut") or crashed ("crash")."""
    cluster.one(cluster.command(), 3, retry=True)
    leader = cluster.one_leader()
    for number in range(30):
        victim, sender = (leader + 1) % 3, leader
        if number % 3 == 1:
            victim, sender = leader, (leader + 1) % 3
        if away == "cut":
            cluster.disconnect(victim)
            cluster.one(cluster.command(), 2, retry=True)
        elif away == "crash":
            cluster.crash(victim)
            cluster.one(cluster.command(), 2, retry=True)
        for _ in some_commands(cluster):
            cluster.server(sender).start(cluster.command())
        cluster.one(cluster.command(), 2 if away else 3, retry=True)
        demand_short_logs(cluster)
        if away:
            if away == "cut":
                cluster.connect(victim)
            else:
                cluster.start(victim)
            cluster.one(cluster.command(), 3, retry=True)
            leader = cluster.one_leader()


def demand_short_logs(cluster) -> None:
    for server in range(3):
        size = cluster.server(server).persist_bytes()
        if size is not None and cluster.is_reachable(server):
            assert size < MOST_RAFT_STATE, (
                f"server {server} has {size} bytes of raft state, {MOST_RAFT_STATE} are allowed: "
                "is the log not compacted?"
            )


@part("2D", points=10)
def test_snapshot_basic(raft_cluster):
    """Logs stay short."""
    thirty_rounds(raft_cluster(servers=3, config=CONFIG))


@part("2D", points=10)
def test_snapshot_install(raft_cluster):
    """A server that was cut off catches up by a snapshot, while a tenth of all messages arrives twice."""
    cluster = raft_cluster(servers=3, config=CONFIG)
    cluster.network.duplicate(100)
    thirty_rounds(cluster, away="cut")


@part("2D", points=10)
def test_snapshot_install_unreliable(raft_cluster):
    """The same over a network that loses and delays."""
    thirty_rounds(raft_cluster(servers=3, reliable=False, config=CONFIG), away="cut")


@part("2D", points=10)
def test_snapshot_install_crash(raft_cluster):
    """A server that had crashed catches up by a snapshot."""
    thirty_rounds(raft_cluster(servers=3, config=CONFIG), away="crash")


@part("2D", points=10)
def test_snapshot_install_crash_unreliable(raft_cluster):
    """The same over a network that loses and delays."""
    thirty_rounds(raft_cluster(servers=3, reliable=False, config=CONFIG), away="crash")


@part("2D", points=5)
def test_snapshot_all_crash(raft_cluster):
    """After a crash of all servers the log goes on where it was."""
    cluster = raft_cluster(servers=3, reliable=False, config=CONFIG)
    cluster.one(cluster.command(), 3, retry=True)
    for _ in range(5):
        for _ in some_commands(cluster):
            cluster.one(cluster.command(), 3, retry=True)
        before = cluster.one(cluster.command(), 3, retry=True)
        restart_all(cluster)
        after = cluster.one(cluster.command(), 3, retry=True)
        assert after > before, f"the index fell from {before} to {after} over a crash of all servers"


@part("2D", points=5)
def test_snapshot_init(raft_cluster):
    """Servers start well from a snapshot, and again when only little came after it."""
    cluster = raft_cluster(servers=3, reliable=False, config=CONFIG)
    cluster.one(cluster.command(), 3, retry=True)
    for _ in range(SNAPSHOT_INTERVAL + 1):
        cluster.one(cluster.command(), 3, retry=True)
    restart_all(cluster)
    cluster.one(cluster.command(), 3, retry=True)
    restart_all(cluster)
    cluster.one(cluster.command(), 3, retry=True)


def restart_all(cluster) -> None:
    for server in range(3):
        cluster.crash(server)
    for server in range(3):
        cluster.start(server)
