"""Part 3A: one key/value server with versioned puts, its clerk, and a lock made of a key."""

from __future__ import annotations

import pytest

from tester.parts import part

MOST_REQUESTS = 400
"""In two seconds of waiting: one every 5 ms."""


def put_until_stopped(cluster, clerk, key: str, stop: dict) -> tuple[int, int]:
    """Puts to `key` one after the other until `stop["now"]`: how many ended in OK, and in MAYBE."""
    ok = maybe = 0
    while not stop["now"]:
        _, version, _ = clerk.get(key)
        err = clerk.put(key, f"{clerk.name} {ok}", version)
        ok += err == "OK"
        maybe += err == "MAYBE"
        cluster.sleep(cluster.random.between(0, 0.01))
    return ok, maybe


@part("3A", points=5)
def test_reliable_put(kv_cluster):
    """A put takes effect if its version is the key's, and only then."""
    cluster = kv_cluster()
    clerk = cluster.clerk()
    assert clerk.put("k", "one", 0) == "OK", "the first put of a key expects version 0"
    assert clerk.get("k") == ("one", 1, "OK")
    assert clerk.put("k", "two", 0) == "VERSION", "the key has version 1, so a put that expects 0 does nothing"
    assert clerk.put("k", "two", 2) == "VERSION", "the key has version 1, so a put that expects 2 does nothing"
    assert clerk.put("other", "x", 1) == "NO_KEY", "a put that expects version 1 needs the key to exist"
    assert clerk.get("other") == ("", 0, "NO_KEY")
    assert clerk.get("k") == ("one", 1, "OK"), "puts that were refused change nothing"
    cluster.assert_linearizable()


@part("3A", points=5)
def test_put_concurrent(kv_cluster):
    """Ten clients put to one key: its version counts the puts that ended in OK."""
    cluster = kv_cluster()
    stop = {"now": False}
    tasks = [cluster.spawn(lambda: put_until_stopped(cluster, cluster.clerk(), "k", stop)) for _ in range(10)]
    cluster.sleep(1)
    stop["now"] = True
    results = [task.join() for task in tasks]
    puts = sum(ok for ok, _ in results)
    assert sum(maybe for _, maybe in results) == 0, "no message is lost on this network: no put may end in MAYBE"
    _, version, _ = cluster.clerk().get("k")
    assert version == puts, f"the key has version {version} after {puts} puts that ended in OK"
    cluster.assert_linearizable()


@part("3A", points=5)
def test_memory_many_clients(kv_cluster, lab_run):
    """The server keeps nothing about clients that went away."""
    if not lab_run.options.is_real:
        pytest.skip("measures the memory of a server on the real clock; run with --clock real")
    cluster = kv_cluster()

    def put_by_many() -> int:
        """The server's memory after a hundred more clients have come, put once and gone."""
        for _ in range(100):
            clerk = cluster.clerk()
            clerk.put("k", "x", clerk.get("k")[1])
            clerk.leave()
        return cluster.server(0).call("kept_bytes")

    before = put_by_many()
    grown = put_by_many() - before
    assert grown < 100 * 20, (
        f"the server keeps {grown / 100:.0f} bytes more for each client that came, put once and left"
    )


@part("3A", points=10)
def test_unreliable_put(kv_cluster):
    """A hundred puts over a network that loses messages: none is lost, none is done twice."""
    cluster = kv_cluster(reliable=False)
    clerk = cluster.clerk()
    maybe = 0
    for version in range(100):
        err = clerk.put("k", str(version), version)
        assert err in ("OK", "MAYBE"), f"put of version {version} by the only client ended in {err}"
        maybe += err == "MAYBE"
        assert clerk.get("k") == (str(version), version + 1, "OK"), "the put was lost, or done twice"
    assert maybe > 0, "of 100 puts over this network some replies were lost, so some puts must end in MAYBE"
    cluster.assert_linearizable()


def share_a_lock(cluster, clients: int, *, seconds: float = 2.0) -> None:
    """`clients` acquire and release one lock for a while: it has one holder at a time, and each client gets it."""
    holder: list[str] = []
    turns = dict.fromkeys(range(clients), 0)
    end = cluster.now + seconds

    def client(number: int) -> None:
        clerk = cluster.clerk()
        lock = clerk.lock("lock")
        while cluster.now < end or not turns[number]:
            lock.acquire()
            assert not holder, f"clerk {clerk.name[1:]} got the lock while clerk {holder[0][1:]} held it"
            holder.append(clerk.name)
            cluster.sleep(0.01)
            holder.remove(clerk.name)
            lock.release()
            turns[number] += 1
            cluster.sleep(cluster.random.between(0, 0.02))

    for task in [cluster.spawn(lambda number=number: client(number)) for number in range(clients)]:
        task.join()
    assert sum(turns.values()) > clients, f"the lock changed hands only {sum(turns.values())} times in {seconds:g} s"


@part("3A", points=5)
def test_lock_one_client(kv_cluster):
    """One client takes a lock and sets it free, again and again."""
    share_a_lock(kv_cluster(), 1)


@part("3A", points=10)
def test_lock_many_clients(kv_cluster):
    """Ten clients share a lock: never two hold it, and who waits for it does not ask without pause."""
    cluster = kv_cluster()
    share_a_lock(cluster, 10)

    holder, waiter = cluster.clerk(), cluster.clerk()
    holder.lock("other").acquire()
    waiting = cluster.spawn(lambda: waiter.lock("other").acquire())
    cluster.sleep(2)
    assert not waiting.done, "two clients hold the same lock"
    assert waiter.requests <= MOST_REQUESTS, (
        f"a client sent {waiter.requests} requests in 2 s while it waited for a lock, {MOST_REQUESTS} are allowed"
    )
    holder.lock("other").release()
    waiting.join()


@part("3A", points=10)
def test_lock_one_client_unreliable(kv_cluster):
    """A lost answer leaves neither a lock that nobody holds nor a holder that does not know."""
    share_a_lock(kv_cluster(reliable=False), 1)


@part("3A", points=10)
def test_lock_many_clients_unreliable(kv_cluster):
    """Ten clients share a lock over a network that loses messages."""
    share_a_lock(kv_cluster(reliable=False), 10)


@part("3A", points=10)
def test_linearizable(kv_cluster):
    """Gets and puts of five clients on three keys, over a network that loses messages, are linearizable."""
    cluster = kv_cluster(reliable=False)
    end = cluster.now + 3

    def client() -> None:
        clerk = cluster.clerk()
        versions = {"a": 0, "b": 0, "c": 0}
        while cluster.now < end:
            key = "abc"[cluster.random.below(3)]
            if cluster.random.chance(500):
                _, versions[key], _ = clerk.get(key)
            elif clerk.put(key, f"{clerk.name} at {cluster.now:.6f}", versions[key]) == "OK":
                versions[key] += 1

    for task in [cluster.spawn(client) for _ in range(5)]:
        task.join()
    cluster.assert_linearizable()
