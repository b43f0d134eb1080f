"""Part 4A: the fault-tolerant key/value service, without snapshots."""

from __future__ import annotations

from tester.kv_traffic import demand_speed, run_traffic
from tester.parts import part

MOST_REQUESTS = 400
"""In two seconds of waiting: one every 5 ms."""


@part("4A", points=5)
def test_basic(replicated_kv_cluster):
    """One client; and two that put the same, of whom only one may be told that it did."""
    cluster = replicated_kv_cluster(servers=5)
    run_traffic(cluster, 1)
    first, second = cluster.clerk(), cluster.clerk()
    assert first.put("same", "value", 0) in ("OK", "MAYBE")
    assert second.put("same", "value", 0) in ("VERSION", "MAYBE"), "the key had version 1 by then"
    cluster.assert_linearizable()


@part("4A", points=5)
def test_speed(replicated_kv_cluster):
    """Puts do not wait for heartbeats."""
    demand_speed(replicated_kv_cluster(servers=3))


@part("4A", points=5)
def test_concurrent(replicated_kv_cluster):
    """Five clients."""
    run_traffic(replicated_kv_cluster(servers=5), 5)


@part("4A", points=5)
def test_unreliable(replicated_kv_cluster):
    """Five clients over a network that loses messages."""
    run_traffic(replicated_kv_cluster(servers=5, reliable=False), 5)


@part("4A", points=5)
def test_one_partition(replicated_kv_cluster):
    """The majority serves its clients; those of the minority wait, and are served once the network is whole."""
    cluster = replicated_kv_cluster(servers=5, reliable=False)
    inside, outside_put, outside_get, anywhere = (cluster.clerk() for _ in range(4))
    assert inside.put("1", "13", 0) in ("OK", "MAYBE")
    assert anywhere.get("1")[2] == "OK"  # it knows the leader now
    leader = cluster.one_leader()
    others = [server for server in range(5) if server != leader]
    minority, majority = [leader, others[0]], others[1:]
    cluster.network.partition([*majority, inside.name], [*minority, outside_put.name, outside_get.name])
    version = inside.get("1")[1]
    assert inside.put("1", "14", version) in ("OK", "MAYBE")
    assert inside.get("1") == ("14", version + 1, "OK")

    assert anywhere.get("1") == ("14", version + 1, "OK"), "a client that reaches all servers was given an old state"

    put = cluster.spawn(lambda: outside_put.put("1", "15", version + 1))
    get = cluster.spawn(lambda: outside_get.get("1"))
    cluster.sleep(1)
    assert not put.done, "a put was answered by servers without a majority"
    assert not get.done, "a get was answered by servers without a majority: what it saw may be old"
    assert inside.get("1") == ("14", version + 1, "OK"), "a put to the minority took effect on the majority"
    assert inside.put("1", "16", version + 1) in ("OK", "MAYBE")

    cluster.network.heal()
    healed = cluster.now
    put.join()
    _, seen, _ = get.join()
    assert cluster.now - healed <= 3, f"the waiting clients were served only {cluster.now - healed:.1f} s after healing"
    assert seen >= version + 2, f"the waiting get saw version {seen}, older than what was there when the network healed"
    value, final, _ = inside.get("1")
    assert (value, final) == ("16", version + 2)
    cluster.assert_linearizable()


@part("4A", points=5)
def test_old_leader(replicated_kv_cluster):
    """A leader that was cut off gives no old answers, not even in the first moments."""
    cluster = replicated_kv_cluster(servers=5)
    reader, writer = cluster.clerk(), cluster.clerk()
    assert writer.put("k", "0", 0) in ("OK", "MAYBE")
    for version in range(1, 4):
        leader = cluster.one_leader()
        reader.get("k")  # it knows the leader now
        others = [server for server in range(5) if server != leader]
        cluster.network.partition([leader, reader.name], [*others, writer.name])
        healing = cluster.now + 1.5

        def read(healing: float = healing) -> None:
            while cluster.now < healing:
                reader.get("k")
                cluster.sleep(0.01)

        reading = cluster.spawn(read)
        assert writer.put("k", str(version), version) in ("OK", "MAYBE")
        cluster.sleep(max(0.0, healing - cluster.now))
        cluster.network.heal()
        reading.join()
    cluster.assert_linearizable()


@part("4A", points=5)
def test_no_majority(replicated_kv_cluster):
    """Where no server can lead, a client waits; it does not ask without pause."""
    cluster = replicated_kv_cluster(servers=3)
    clerk = cluster.clerk()
    clerk.put("k", "1", 0)
    leader = cluster.one_leader()
    cluster.network.partition([0], [1], [2])
    cluster.crash(leader)
    cluster.start(leader)  # now all refuse
    cluster.sleep(0.5)
    before = clerk.requests
    get = cluster.spawn(lambda: clerk.get("k"))
    cluster.sleep(2)
    assert not get.done, "a get was answered though no server can lead"
    sent = clerk.requests - before
    assert sent <= MOST_REQUESTS, (
        f"a client sent {sent} requests in 2 s though all servers refuse, {MOST_REQUESTS} are allowed"
    )
    cluster.network.heal()
    assert get.join() == ("1", 1, "OK")
    cluster.assert_linearizable()


@part("4A", points=5)
def test_many_partitions_one_client(replicated_kv_cluster):
    """The servers fall into changing parts while a client works."""
    run_traffic(replicated_kv_cluster(servers=5), 1, partitions=True)


@part("4A", points=5)
def test_many_partitions_many_clients(replicated_kv_cluster):
    """The same with five clients."""
    run_traffic(replicated_kv_cluster(servers=5), 5, partitions=True)


@part("4A", points=5)
def test_persist_one_client(replicated_kv_cluster):
    """Servers crash and restart while a client works, and all of them in between."""
    run_traffic(replicated_kv_cluster(servers=5), 1, crashes=True)


@part("4A", points=5)
def test_persist_concurrent(replicated_kv_cluster):
    """The same with five clients."""
    run_traffic(replicated_kv_cluster(servers=5), 5, crashes=True)


@part("4A", points=5)
def test_persist_concurrent_unreliable(replicated_kv_cluster):
    """The same over a network that loses messages."""
    run_traffic(replicated_kv_cluster(servers=5, reliable=False), 5, crashes=True)


@part("4A", points=5)
def test_persist_partition(replicated_kv_cluster):
    """Crashes and partitions at the same time."""
    run_traffic(replicated_kv_cluster(servers=5), 5, crashes=True, partitions=True)


@part("4A", points=5)
def test_persist_partition_unreliable(replicated_kv_cluster):
    """The same over a network that loses messages."""
    run_traffic(replicated_kv_cluster(servers=5, reliable=False), 5, crashes=True, partitions=True)


@part("4A", points=10)
def test_persist_partition_unreliable_linearizable(replicated_kv_cluster):
    """All of it on seven servers, with fifteen clients on a hundred keys."""
    cluster = replicated_kv_cluster(servers=7, reliable=False)
    run_traffic(cluster, 15, crashes=True, partitions=True, random_keys=True)
