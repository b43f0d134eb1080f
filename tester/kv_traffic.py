"""What parts 4A and 4B have in common: clients that put and get while servers crash and the network falls apart.

three times:  clients at work  ||  partitions  ||  crashes   -->  healed, clients done  -->  all stop and restart
then:         versions add up, and the whole history is linearizable
"""

from __future__ import annotations

from collections.abc import Callable

from tester.clerks import Clerk
from tester.service_cluster import ReplicatedKVCluster

__all__ = ["MOST_RAFT_STATES", "demand_short_logs", "demand_speed", "run_traffic"]

ITERATIONS = 3
WORK_TIME = 1.0
"""Seconds of traffic in an iteration, if no fault wants more."""

PAUSE_PER_CLIENT = 0.08
"""Seconds: a client pauses between two operations for up to so many times this as there are clients. However many they
are, together they ask about as much."""

MOST_RAFT_STATES = 8
"""How many times `max_raft_state` the raft state may be, once the cluster is healed and idle."""


PUTS = 1000
SLOWEST_PUT = 0.1 / 3
"""Seconds a put may take on average: three of them in a heartbeat interval of 100 ms, so none may wait for one."""


class _Client:
    """One client's work and what came of it."""

    def __init__(self, cluster: ReplicatedKVCluster, clerk: Clerk, keys: list[str], longest_pause: float) -> None:
        self._cluster = cluster
        self._clerk = clerk
        self._keys = keys
        self._longest_pause = longest_pause
        self._versions = dict.fromkeys(keys, 0)
        """key -> the version it believes it to have."""
        self._count = 0
        self.ok = 0
        self.maybe = 0

    def work(self, goes_on: Callable[[], bool]) -> None:
        """Puts and gets, at random, with pauses between them."""
        random = self._cluster.random
        while goes_on():
            key = self._keys[random.below(1 + random.below(len(self._keys)))]  # the first ones are contended
            if random.chance(500):
                self._put(key)
            else:
                _, self._versions[key], _ = self._clerk.get(key)
            self._cluster.sleep(random.between(0, self._longest_pause))

    def _put(self, key: str) -> None:
        self._count += 1
        err = self._clerk.put(key, f"{self._clerk.name}-{self._count}", self._versions[key])
        if err == "OK":
            self._versions[key] += 1
            self.ok += 1
        else:
            self.maybe += err == "MAYBE"
            _, self._versions[key], _ = self._clerk.get(key)


def run_traffic(
    cluster: ReplicatedKVCluster,
    clients: int,
    *,
    partitions: bool = False,
    crashes: bool = False,
    random_keys: bool = False,
    most_raft_state: int | None = None,
) -> None:
    """Lets `clients` work on the service, in three iterations, and demands that it stays right.

    Args:
        partitions: the servers fall into two random parts, for 1.0–1.2 s each time, while the clients work.
        crashes: single servers crash and restart while the clients work, and all of them after each iteration.
        random_keys: on 100 keys; else all on one.
        most_raft_state: bytes of Raft state that each server may have at the end of each iteration.

    Raises:
        AssertionError: versions do not add up, the history is not linearizable, or Raft's state is too long.
    """
    keys = [f"k{number}" for number in range(100)] if random_keys else ["k"]
    observer = cluster.clerk()
    workers = [_Client(cluster, cluster.clerk(), keys, PAUSE_PER_CLIENT * clients) for _ in range(clients)]
    for _ in range(ITERATIONS):
        _work(cluster, workers, partitions=partitions, crashes=crashes)
        cluster.network.heal()
        if crashes:
            _restart_all(cluster)
        cluster.assert_linearizable()  # first: it names the operation
        if not random_keys:
            _demand_versions(observer, workers)
        if most_raft_state is not None:
            cluster.sleep(1)  # what was not committed can be compacted only now
            demand_short_logs(cluster, most_raft_state)


def _work(cluster: ReplicatedKVCluster, workers: list[_Client], *, partitions: bool, crashes: bool) -> None:
    end = cluster.now + WORK_TIME
    faults = []
    if partitions:
        faults.append(cluster.spawn(lambda: _partition_once(cluster)))
    if crashes:
        faults.append(cluster.spawn(lambda: _crash_some(cluster)))

    def goes_on() -> bool:
        return cluster.now < end or not all(fault.done for fault in faults)

    tasks = [cluster.spawn(lambda worker=worker: worker.work(goes_on)) for worker in workers]  # type: ignore[misc]
    for task in (*faults, *tasks):
        task.join()


def _partition_once(cluster: ReplicatedKVCluster) -> None:
    """Two random parts, then a whole again, and some time to see both sides meet."""
    random = cluster.random
    cluster.sleep(random.between(0.05, 0.2))
    sides: tuple[list[int], list[int]] = [], []
    for server in range(cluster.n):
        sides[random.below(2)].append(server)
    cluster.network.partition(*sides)
    cluster.sleep(random.between(1.0, 1.2))
    cluster.network.heal()
    cluster.sleep(random.between(0.1, 0.4))


def _crash_some(cluster: ReplicatedKVCluster) -> None:
    """Single servers crash, sometimes in the middle of what they do, and start again."""
    random = cluster.random
    for _ in range(3):
        cluster.sleep(random.between(0.05, 0.2))
        victim = random.below(cluster.n)
        cluster.crash(victim, before_effect=random.below(8))
        patience = cluster.now + 0.2
        while cluster.server(victim).is_up and cluster.now < patience:
            cluster.sleep(0.01)
        if cluster.server(victim).is_up:
            cluster.crash(victim)
        cluster.sleep(random.between(0.05, 0.3))
        cluster.start(victim)


def _restart_all(cluster: ReplicatedKVCluster) -> None:
    for server in range(cluster.n):
        cluster.crash(server)
    cluster.sleep(cluster.random.between(0.1, 0.5))
    for server in range(cluster.n):
        cluster.start(server)


def _demand_versions(observer: Clerk, workers: list[_Client]) -> None:
    _, version, _ = observer.get("k")
    ok, maybe = sum(worker.ok for worker in workers), sum(worker.maybe for worker in workers)
    assert ok <= version <= ok + maybe, (
        f"the key has version {version} after {ok} puts that ended in OK and {maybe} that ended in MAYBE"
    )


def demand_short_logs(cluster: ReplicatedKVCluster, most: int) -> None:
    """Demands that no server that is up has more than `most` bytes of Raft state.

    Raises:
        AssertionError: one has.
    """
    for server in range(cluster.n):
        size = cluster.server(server).persist_bytes()
        assert size is None or size <= most, (
            f"server {server} has {size} bytes of raft state, {most} are allowed: is the log not compacted?"
        )


def demand_speed(cluster: ReplicatedKVCluster) -> None:
    """Demands that a thousand puts in a row, on a healthy cluster, do not wait for heartbeats.

    Raises:
        AssertionError: they do, or one of them did not end in OK.
    """
    clerk = cluster.clerk()
    # On a busy machine's real time an answer may come after the clerk has asked again.
    good = ("OK", "MAYBE") if cluster.run.options.is_real else ("OK",)
    assert clerk.put("x", "0", 0) in good  # by now there is a leader
    began = cluster.now
    for version in range(1, PUTS):
        err = clerk.put("x", str(version), version)
        assert err in good, f"put of version {version} by the only client ended in {err}, though nothing failed"
    seconds = (cluster.now - began) / (PUTS - 1)
    assert seconds <= SLOWEST_PUT, (
        f"a put took {seconds * 1000:.1f} ms on average, {SLOWEST_PUT * 1000:.1f} ms are allowed: "
        "does replication wait for the next heartbeat?"
    )
    assert clerk.get("x") == (str(PUTS - 1), PUTS, "OK")
    cluster.assert_linearizable()
