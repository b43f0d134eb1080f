"""Part 2B: log replication (§5.3, §5.4)."""

from __future__ import annotations

from tester.parts import part
from tester.raft_cluster import ELECTION_TIMEOUT

BEHIND = 400
IDLE_RPCS = 30
"""That a follower may be sent in a second in which nothing happens."""


@part("2B", points=5)
def test_basic_agree(raft_cluster):
    """Commands are applied where they were started, and nothing before."""
    cluster = raft_cluster(servers=3)
    for index in range(1, 4):
        assert cluster.applied_by(index) == 0, f"index {index} was applied before any command was started"
        assert cluster.one(index * 100, 3, retry=False) == index


@part("2B", points=5)
def test_rpc_bytes(raft_cluster):
    """A leader sends each command to each peer once."""
    cluster = raft_cluster(servers=3)
    cluster.one(99, 3, retry=False)
    before = cluster.byte_count()
    sent = 0
    for index in range(2, 12):
        command = f"{index:02}" * 2500
        assert cluster.one(command, 3, retry=False) == index
        sent += len(command)
    used = cluster.byte_count() - before
    assert used <= 3 * sent + 50_000, f"{used} bytes of RPCs for {sent} bytes of commands; 3 times that should do"


@part("2B", points=5)
def test_follower_failure(raft_cluster):
    """One follower down: progress. Two down: none."""
    cluster = raft_cluster(servers=3)
    cluster.one(101, 3, retry=False)

    leader = cluster.one_leader()
    cluster.disconnect((leader + 1) % 3)
    cluster.one(102, 2, retry=False)
    cluster.sleep(ELECTION_TIMEOUT)
    cluster.one(103, 2, retry=False)

    leader = cluster.one_leader()
    cluster.disconnect((leader + 1) % 3, (leader + 2) % 3)
    index, _, is_leader = cluster.server(leader).start(104)
    assert is_leader, f"server {leader} stopped leading as soon as its followers were cut off"
    assert index == 4, f"the fourth command got index {index}"
    cluster.sleep(2 * ELECTION_TIMEOUT)
    assert cluster.applied_by(4) == 0, "a command was applied without a majority"


@part("2B", points=5)
def test_leader_failure(raft_cluster):
    """One leader down: progress under the next. Two down: none."""
    cluster = raft_cluster(servers=3)
    cluster.one(101, 3, retry=False)

    cluster.disconnect(cluster.one_leader())
    cluster.one(102, 2, retry=False)
    cluster.sleep(ELECTION_TIMEOUT)
    cluster.one(103, 2, retry=False)

    cluster.disconnect(cluster.one_leader())
    for server in range(3):
        cluster.server(server).start(104)
    cluster.sleep(2 * ELECTION_TIMEOUT)
    assert cluster.applied_by(4) == 0, "a command was applied without a majority"


@part("2B", points=5)
def test_fail_agree(raft_cluster):
    """A follower that was away gets everything when it comes back."""
    cluster = raft_cluster(servers=3)
    cluster.one(101, 3, retry=False)

    away = (cluster.one_leader() + 1) % 3
    cluster.disconnect(away)
    cluster.one(102, 2, retry=False)
    cluster.one(103, 2, retry=False)
    cluster.sleep(ELECTION_TIMEOUT)
    cluster.one(104, 2, retry=False)
    cluster.one(105, 2, retry=False)

    cluster.connect(away)
    cluster.one(106, 3, retry=True)
    cluster.sleep(ELECTION_TIMEOUT)
    cluster.one(107, 3, retry=True)


@part("2B", points=5)
def test_fail_no_agree(raft_cluster):
    """Three of five down: nothing is applied. Healed: the doomed entry may be replaced, and all agree."""
    cluster = raft_cluster(servers=5)
    cluster.one(10, 5, retry=False)

    leader = cluster.one_leader()
    away = [(leader + offset) % 5 for offset in (1, 2, 3)]
    cluster.disconnect(*away)
    index, _, is_leader = cluster.server(leader).start(20)
    assert is_leader, f"server {leader} stopped leading as soon as its followers were cut off"
    assert index == 2, f"the second command got index {index}"
    cluster.sleep(2 * ELECTION_TIMEOUT)
    assert cluster.applied_by(2) == 0, "a command was applied without a majority"

    cluster.connect(*away)
    index, _, is_leader = cluster.server(cluster.one_leader()).start(30)
    assert is_leader, "the leader rejected a command"
    assert index in (2, 3), f"after one doomed command the next got index {index}, not 2 or 3"
    cluster.one(1000, 5, retry=True)


@part("2B", points=5)
def test_concurrent_starts(raft_cluster):
    """Commands started at once, in one term, are all applied."""
    cluster = raft_cluster(servers=3)
    for _ in range(5):
        leader = cluster.one_leader()
        _, term, is_leader = cluster.server(leader).start(1)
        if not is_leader:
            continue  # the leadership has moved on: try again
        tasks = [cluster.spawn(lambda n=n, leader=leader: cluster.server(leader).start(100 + n)) for n in range(5)]
        started = [task.join() for task in tasks]
        if any(result is None or result[1] != term or not result[2] for result in started):
            continue
        applied = [cluster.wait(index, 3, term) for index, _, _ in started]
        if None in applied:
            continue
        assert sorted(applied) == [100, 101, 102, 103, 104], f"started 100 to 104 at once, applied {applied}"
        return
    raise AssertionError("the term changed in each of 5 tries, though nothing failed")


@part("2B", points=5)
def test_rejoin(raft_cluster):
    """A leader that comes back with doomed commands does not harm; leaders swap, and all agree."""
    cluster = raft_cluster(servers=3)
    cluster.one(101, 3, retry=True)

    first = cluster.one_leader()
    cluster.disconnect(first)
    for command in (102, 103, 104):
        cluster.server(first).start(command)
    cluster.one(103, 2, retry=True)

    second = cluster.one_leader()
    cluster.disconnect(second)
    cluster.connect(first)
    cluster.one(104, 2, retry=True)

    cluster.connect(second)
    cluster.one(105, 3, retry=True)


@part("2B", points=5)
def test_backup(raft_cluster):
    """Long conflicting logs are repaired, by one entry a refusal if need be: `one` allows 10 s."""
    cluster = raft_cluster(servers=5)

    def start_fifty(leader: int) -> None:
        for _ in range(50):
            cluster.server(leader).start(cluster.command())

    def agree_fifty() -> None:
        for _ in range(50):
            cluster.one(cluster.command(), 3, retry=True)

    cluster.one(cluster.command(), 5, retry=True)
    first = cluster.one_leader()
    others = [(first + offset) % 5 for offset in (2, 3, 4)]
    cluster.disconnect(*others)
    start_fifty(first)  # with one follower: doomed
    cluster.sleep(ELECTION_TIMEOUT / 2)

    cluster.disconnect(first, (first + 1) % 5)
    cluster.connect(*others)
    agree_fifty()

    second = cluster.one_leader()
    spare = next(server for server in others if server != second)
    cluster.disconnect(spare)
    start_fifty(second)  # doomed too
    cluster.sleep(ELECTION_TIMEOUT / 2)

    cluster.disconnect(*range(5))
    cluster.connect(first, (first + 1) % 5, spare)
    agree_fifty()

    cluster.connect(*range(5))
    cluster.one(cluster.command(), 5, retry=True)


@part("2B", points=5)
def test_fast_backup(raft_cluster):
    """A server far behind catches up in few RPCs.

    The paper leaves this to the builder (§5.3, end): a Raft that goes back by one entry a refusal is correct. The lab
    asks for more, here alone: everywhere else there is time for the slow way.
    """
    cluster = raft_cluster(servers=5)
    cluster.one(cluster.command(), 5, retry=True)
    leader = cluster.one_leader()
    behind = (leader + 1) % 5
    cluster.disconnect(behind)
    for _ in range(BEHIND):
        cluster.server(leader).start(cluster.command())
    cluster.one(cluster.command(), 4, retry=True)
    cluster.disconnect(leader)  # a new leader must find out how far back the log of `behind` ends
    cluster.connect(behind)
    before, began = cluster.rpc_count(), cluster.now
    cluster.one(cluster.command(), 4, retry=True)
    used = cluster.rpc_count() - before
    allowed = 100 + round(4 * IDLE_RPCS * (cluster.now - began))
    assert used <= allowed, (
        f"a server {BEHIND} entries behind took {used} RPCs to catch up, more than {allowed}: "
        "does next_index go back by one entry a rejection?"
    )


@part("2B", points=5)
def test_rpc_count(raft_cluster):
    """Elections, agreement and idleness take few RPCs."""
    cluster = raft_cluster(servers=3)
    leader = cluster.one_leader()
    elected = cluster.rpc_count()
    assert 1 <= elected <= 30, f"electing the first leader took {elected} RPCs, not 1 to 30"

    for attempt in range(5):
        if attempt:
            cluster.sleep(3)  # for a leader that has just been deposed
        leader = cluster.one_leader()
        before = cluster.rpc_count()
        first, term, is_leader = cluster.server(leader).start(1)
        if not is_leader:
            continue
        commands = [cluster.command() for _ in range(12)]
        started = [cluster.server(leader).start(command) for command in commands]
        if any(result[1] != term or not result[2] for result in started):
            continue
        assert [result[0] for result in started] == list(range(first + 1, first + 13)), "indices are not in a row"
        applied = [cluster.wait(index, 3, term) for index, _, _ in started]
        if None in applied:
            continue
        assert applied == commands, "other commands were applied than were started"
        used = cluster.rpc_count() - before
        assert used <= (12 + 1 + 1) * 3, f"agreeing on 12 commands took {used} RPCs, more than 42"
        break
    else:
        raise AssertionError("the term changed in each of 5 tries, though nothing failed")

    before = cluster.rpc_count()
    cluster.sleep(ELECTION_TIMEOUT)
    idle = cluster.rpc_count() - before
    assert idle <= 60, f"one idle second took {idle} RPCs, more than 60"


@part("2B", points=5)
def test_only_one_can_lead(raft_cluster):
    """Of four servers left of seven one has the last entry: it leads soon, however often the others ask for votes."""
    cluster = raft_cluster(servers=7)
    for _ in range(3):
        cluster.one(cluster.command(), 7, retry=True)
        leader = cluster.one_leader()
        ring = [(leader + offset) % 7 for offset in range(7)]
        cluster.disconnect(*ring[4:])
        cluster.one(cluster.command(), 4, retry=True)

        cluster.disconnect(*ring[:3])
        cluster.connect(*ring[4:])
        patience = cluster.now + 3 * ELECTION_TIMEOUT
        while not leads(cluster, ring[3]):
            assert cluster.now < patience, (
                f"server {ring[3]} does not lead within {3 * ELECTION_TIMEOUT:g} s, though only it can: "
                "do vote requests that it must refuse reset its election timer?"
            )
            cluster.sleep(0.02)
        cluster.connect(*ring[:3])


def leads(cluster, server: int) -> bool:
    state = cluster.server(server).get_state()
    return state is not None and state[1]
