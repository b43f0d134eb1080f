"""Part 3B: a replicated state machine. The service is a counter; a request gives the counter's new value."""

from __future__ import annotations

from tester.parts import part

MAX_RAFT_STATE = 1000
ROUNDS, DOOMED = 5, 8


def submit_many(cluster, requests: int, request: str = "inc") -> list:
    """Tasks that submit `request` at the same time."""
    return [cluster.spawn(lambda: cluster.submit(request)) for _ in range(requests)]


def stop_all(cluster) -> None:
    """Shuts every server down: all that runs in it must come to an end."""
    stopped = [cluster.shutdown(server) for server in range(cluster.n)]
    for server in stopped:
        server.assert_all_returned()


@part("3B", points=5)
def test_rsm_basic(rsm_cluster):
    """Ten requests, one after the other."""
    cluster = rsm_cluster(servers=3)
    for number in range(10):
        _, value = cluster.submit("inc")
        cluster.assert_count(value, number + 1)
    cluster.wait_for_counter(10, 3)


@part("3B", points=5)
def test_rsm_concurrent(rsm_cluster):
    """Fifty requests at once: each is done once."""
    cluster = rsm_cluster(servers=3)
    values = sorted(task.join()[1] for task in submit_many(cluster, 50))
    assert len(set(values)) == 50, f"of 50 increments some gave the same value: {values}"
    cluster.assert_count(values[-1], 50)
    cluster.wait_for_counter(50, 3)


@part("3B", points=5)
def test_rsm_leader_failure(rsm_cluster):
    """The others go on without the leader, and it catches up."""
    cluster = rsm_cluster(servers=3)
    leader, _ = cluster.submit("inc")
    cluster.wait_for_counter(1, 3)
    cluster.disconnect(leader)
    new_leader, value = cluster.submit("inc")
    assert new_leader != leader
    cluster.assert_count(value, 2)
    cluster.wait_for_counter(2, 2)
    cluster.connect(leader)
    cluster.wait_for_counter(2, 3)


@part("3B", points=10)
def test_rsm_leader_partition(rsm_cluster):
    """Requests at a leader without a majority are not done, and their submits return soon after it is back."""
    cluster = rsm_cluster(servers=3)
    leader, _ = cluster.submit("inc")
    cluster.wait_for_counter(1, 3)
    others = [server for server in range(3) if server != leader]
    cluster.network.partition(others, [leader])

    doomed = [cluster.spawn(lambda: cluster.server(leader).submit("dec")) for _ in range(100)]
    cluster.sleep(0.01)
    cluster.disconnect(leader)  # also from the test's own search for a leader
    _, value = cluster.submit("inc")
    cluster.assert_count(value, 2)
    cluster.connect(leader)
    cluster.network.heal()

    deadline = cluster.now + 1
    results = [task.join() for task in doomed]
    assert cluster.now <= deadline, (
        f"a submit returned {cluster.now - deadline + 1:.3f} s after its server had lost its place; 1 s is allowed"
    )
    done = [value for err, value in results if err == "OK"]
    assert not done, "a request was done by a leader without a majority"
    cluster.wait_for_counter(2, 3)

    for done in range(2, 2 + ROUNDS * (DOOMED + 1), DOOMED + 1):  # the same requests on both sides
        leader, _ = cluster.submit("inc")
        cluster.network.partition([server for server in range(3) if server != leader], [leader])
        doomed = [cluster.spawn(lambda leader=leader: cluster.server(leader).submit("inc")) for _ in range(DOOMED)]
        cluster.sleep(0.01)
        cluster.disconnect(leader)
        for number in range(DOOMED):
            cluster.assert_count(cluster.submit("inc")[1], done + 2 + number)
        cluster.connect(leader)
        cluster.network.heal()
        mistaken = [task for task in doomed if task.join()[0] == "OK"]
        assert not mistaken, "a request was taken for another that took its place"


@part("3B", points=5)
def test_rsm_restart_replay(rsm_cluster):
    """After a crash of all the log is replayed: the state is what it was."""
    cluster = rsm_cluster(servers=3)
    for _ in range(100):
        cluster.submit("inc")
    restart_all(cluster)
    _, value = cluster.submit("inc")
    cluster.assert_count(value, 101)
    cluster.wait_for_counter(101, 3)


def restart_all(cluster) -> None:
    """All servers crash, and start again a second later."""
    for server in range(cluster.n):
        cluster.crash(server)
    cluster.sleep(1)
    for server in range(cluster.n):
        cluster.start(server)


def submit_and_stop(cluster) -> None:
    """A hundred submits at each server that are under way when all servers are shut down."""
    for _ in range(100):
        for server in range(cluster.n):
            cluster.spawn(lambda server=server: cluster.server(server).submit("inc"))
    cluster.sleep(0.02)
    stop_all(cluster)


@part("3B", points=5)
def test_rsm_shutdown(rsm_cluster):
    """No submit hangs in a server that was shut down."""
    cluster = rsm_cluster(servers=3)
    cluster.submit("inc")
    submit_and_stop(cluster)


@part("3B", points=5)
def test_rsm_restart_submit(rsm_cluster):
    """The same after a replay of the log, and what comes after counts from what was agreed."""
    cluster = rsm_cluster(servers=3)
    for _ in range(100):
        cluster.submit("inc")
    restart_all(cluster)
    _, value = cluster.submit("inc")
    cluster.assert_count(value, 101)
    submit_and_stop(cluster)
    for server in range(3):
        cluster.start(server)
    _, value = cluster.submit("inc")
    cluster.unsure += 300
    cluster.assert_count(value, 102)
    cluster.wait_for_counter(102, 3)


@part("3B", points=10)
def test_rsm_snapshot(rsm_cluster):
    """Snapshots keep Raft's state short, and a restart finds all that they hold."""
    cluster = rsm_cluster(servers=3, max_raft_state=MAX_RAFT_STATE)
    for _ in range(100):
        cluster.submit("inc")
    cluster.wait_for_counter(100, 3)
    cluster.sleep(0.1)  # snapshots may be on their way to the disk
    for server in range(3):
        size = cluster.server(server).persist_bytes()
        most = 2 * MAX_RAFT_STATE
        assert size <= most, f"server {server} has {size} bytes of raft state, {most} are allowed"
    restart_all(cluster)
    _, value = cluster.submit("inc")
    cluster.assert_count(value, 101)
    cluster.wait_for_counter(101, 3)

    clients = [cluster.spawn(lambda: [cluster.submit("inc") for _ in range(20)]) for _ in range(8)]
    while not all(client.done for client in clients):  # crashes fall into the taking of snapshots
        cluster.sleep(cluster.random.between(0.1, 0.3))
        victim = cluster.random.below(3)
        cluster.crash(victim)
        cluster.sleep(0.05)
        cluster.start(victim)
    cluster.wait_for_counter(101 + 8 * 20, 3)
    restart_all(cluster)
    cluster.wait_for_counter(101 + 8 * 20, 3)
