"""The service does what the lab's store does, on real nodes."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from kvraft.rpc import Err
from kvraft.service import Client, Listener, Refused, Unavailable
from kvraft.service import kvraft_pb2 as pb
from tests.harness.service.conftest import eventually, on_loop


def test_puts_and_gets_have_the_labs_semantics(local):
    with local().client() as client:
        assert client.get("a") == ("", 0, Err.NO_KEY)
        assert client.put("a", "1", 3) is Err.NO_KEY
        assert client.put("a", "1", 0) is Err.OK
        assert client.put("a", "2", 0) is Err.VERSION
        assert client.put("a", "2", 1) is Err.OK
        for reads in ("index", "lease", "log"):
            assert client.get("a", reads=reads) == ("2", 2, Err.OK)


def test_one_node_is_a_cluster(local):
    with local(1).client() as client:
        assert client.put("a", "1", 0) is Err.OK
        assert client.get("a") == ("1", 1, Err.OK)


def test_a_follower_names_the_leader_and_has_not_started_what_it_refuses(local):
    cluster = local()
    with cluster.client() as client:
        client.put("a", "1", 0)
        follower, leader = cluster.followers()[0], cluster.leader()
        found = []

        async def ask() -> Any:
            import asyncio

            from kvraft.service.node import Operation

            done = asyncio.get_running_loop().create_future()
            cluster.node(follower).submit(Operation(done.set_result, "a", "2", 1))
            found.append(await done)

        on_loop(ask())
        assert found[0].err == pb.WRONG_LEADER
        assert found[0].leader == cluster.peers[leader]
        assert not found[0].started
        # A client that asks it first finds the leader, and a version that does not fit is no MAYBE for that.
    with Client([cluster.peers[follower]]) as client:
        assert client.put("a", "2", 5) is Err.VERSION


def test_many_threads_share_a_client(local):
    cluster = local()
    with cluster.client() as client:
        client.put("ready", "", 0)
        saves = cluster.node(cluster.leader()).saves

        def write(number: int) -> None:
            for version in range(20):
                assert client.put(f"key-{number}", str(version), version) is Err.OK

        threads = [threading.Thread(target=write, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [client.get(f"key-{number}")[:2] for number in range(20)] == [("19", 20)] * 20
        assert cluster.node(cluster.leader()).saves - saves < 300, "400 puts, one fsync for each batch of them"


def test_a_put_whose_answer_is_lost_is_maybe(local):
    cluster = local()
    with cluster.client() as client:
        client.put("a", "1", 0)
        leader = cluster.leader()
        node, server = cluster.running[leader]
        lost = []

        class Loses(Listener):
            def applied(self, index: int, operations: int) -> None:
                if operations:
                    lost.append(index)

        # The answer is swallowed: the client has to send the put again.
        server.clients.node = _Swallowing(node, server)
        node.listeners.append(Loses())
        assert client.put("a", "2", 1) is Err.MAYBE
        assert lost
        server.clients.node = node
        assert client.get("a") == ("2", 2, Err.OK)


class _Swallowing:
    """A node that does the next operation, and says nothing."""

    def __init__(self, node: Any, server: Any) -> None:
        self.node, self.server = node, server
        self.settings, self.listeners = node.settings, node.listeners

    def submit(self, operation: Any) -> None:
        def swallow(result: Any) -> None:
            self.server.clients.node = self.node

        operation.finish = swallow
        self.node.submit(operation)


def test_watchers_see_the_present_and_every_change(local):
    cluster = local()
    with cluster.client() as client:
        client.put("user/1", "a", 0)
        client.put("other", "b", 0)
        events = client.watch("user/", prefix=True)
        seen = [next(events)]
        for version in range(1, 5):
            client.put("user/1", str(version), version)
        client.put("other", "c", 1)
        client.put("user/2", "new", 0)
        seen += [next(events) for _ in range(5)]
        assert [(event.key, event.value, event.version) for event in seen] == [
            ("user/1", "a", 1),
            *(("user/1", str(version), version + 1) for version in range(1, 5)),
            ("user/2", "new", 1),
        ]
        assert [event.is_change for event in seen] == [False] + [True] * 5
        events.close()


def test_a_watch_goes_on_when_its_node_is_gone(local):
    cluster = local()
    with cluster.client() as client:
        client.put("a", "1", 0)
        events = client.watch("a")
        assert next(events).value == "1"
        cluster.stop(cluster.leader(), graceful=False)
        assert client.put("a", "2", 1) in (Err.OK, Err.MAYBE)
        assert next(events).value == "2"
        events.close()


def test_no_round_of_reads_for_each_read(local):
    cluster = local()
    with cluster.client() as client:
        client.put("a", "1", 0)
        sent = []

        class Counts(Listener):
            def request_sent(self, peer: int, request: Any, size: int) -> None:
                sent.append(request)

        leader = cluster.node(cluster.leader())
        leader.listeners.append(Counts())
        futures = [client.get_later("a", reads="index") for _ in range(500)]
        assert {future.result() for future in futures} == {("1", 1, Err.OK)}
        assert len(sent) < 200, "500 reads, two messages a round"
        before, log = len(sent), leader.raft.log.last_index
        futures = [client.get_later("a", reads="lease") for _ in range(500)]
        assert {future.result() for future in futures} == {("1", 1, Err.OK)}
        assert len(sent) - before < 40, "leases ask nobody"
        assert leader.raft.log.last_index == log


def test_a_leader_that_is_cut_off_answers_no_read(local):
    cluster = local()
    with cluster.client(timeout=5) as client:
        client.put("a", "1", 0)
        leader = cluster.leader()
        for follower in cluster.followers():
            cluster.stop(follower, graceful=False)
        with pytest.raises(Unavailable, match="no answer in time"):
            client.get("a", timeout=3)  # also once it has stepped down
        eventually(lambda: not cluster.node(leader).raft.get_state()[1])  # check-quorum


@pytest.mark.parametrize("graceful", [True, False], ids=["SIGTERM", "crash"])
def test_nothing_acknowledged_is_lost_when_leaders_end(local, graceful):
    cluster = local()
    with cluster.client() as client:
        for version in range(6):
            err = client.put("a", str(version), version)
            assert err in (Err.OK, Err.MAYBE)
            if version % 2:
                leader = cluster.leader()
                term = cluster.node(leader).raft.get_state()[0]
                began = time.monotonic()
                cluster.stop(leader, graceful=graceful)
                successor = cluster.leader()
                if graceful and cluster.node(successor).raft.get_state()[0] == term + 1:
                    assert time.monotonic() - began < 5
                cluster.start(leader)
            assert client.get("a") == (str(version), version + 1, Err.OK)


def test_a_graceful_stop_hands_over_without_an_election_timeout(local):
    cluster = local()
    with cluster.client() as client:
        client.put("a", "1", 0)
        leader = cluster.leader()
        roles = []

        class Hears(Listener):
            def role_changed(self, role: str, term: int, leader: int | None) -> None:
                roles.append((role, time.monotonic()))

        for follower in cluster.followers():
            cluster.node(follower).listeners.append(Hears())
        began = time.monotonic()
        cluster.stop(leader)
        elected = [when for role, when in roles if role == "leader"]
        assert elected
        assert elected[0] - began < 0.3, "sooner than the shortest election timeout"


def test_snapshots_bound_the_log_and_serve_those_who_were_away(local):
    cluster = local(snapshot_bytes=20_000)
    with cluster.client() as client:
        client.put("first", "1", 0)
        away = cluster.followers()[0]
        cluster.stop(away)
        for version in range(150):
            client.put("a", "x" * 1000, version)
        leader = cluster.node(cluster.leader())
        eventually(lambda: leader.raft.log.last_included_index > 50)
        assert leader.raft.log.size < 100_000
        assert len(list((leader.settings.data / "raft").glob("snapshot-*"))) == 1
        installed = []

        class Hears(Listener):
            def snapshot_installed(self, index: int, size: int) -> None:
                installed.append((index, cluster.node(away).store.index))

        cluster.start(away, listeners=[Hears()])
        node = cluster.node(away)
        eventually(lambda: node.store.index == leader.store.index)
        assert node.store._entries == leader.store._entries
        assert node.raft.log.last_included_index > 50
        assert installed
        assert all(index == applied for index, applied in installed)
        # And it starts from the snapshot that it was sent.
        cluster.stop(away)
        cluster.start(away)
        eventually(lambda: cluster.node(away).store.index >= leader.store.index)
        assert cluster.node(away).store._entries == leader.store._entries


def test_all_nodes_restarted_at_once_have_everything(local):
    cluster = local()
    with cluster.client() as client:
        for number in range(50):
            client.put(f"key-{number}", str(number), 0)
        for number in range(3):
            cluster.stop(number, graceful=False)
        for number in range(3):
            cluster.start(number)
        assert [client.get(f"key-{number}")[0] for number in range(50)] == [str(number) for number in range(50)]


def test_what_is_too_large_is_refused_and_harms_nobody(local):
    cluster = local()
    limits = cluster.node(0).settings.limits
    with cluster.client() as client:
        with pytest.raises(Refused, match=rf"the key has {limits.key_bytes + 1} bytes, this cluster takes at most"):
            client.put("k" * (limits.key_bytes + 1), "v", 0)
        with pytest.raises(Refused, match=r"the value has 1048578 bytes"):
            client.put("k", "ä" * (limits.value_bytes // 2 + 1), 0)
        with pytest.raises(Refused, match="the key is empty"):
            client.get("")
        assert client.put("k" * limits.key_bytes, "v" * limits.value_bytes, 0) is Err.OK
        assert len(client.get("k" * limits.key_bytes)[0]) == limits.value_bytes


def test_a_client_with_nobody_to_talk_to_gives_up_in_time():
    with Client(["127.0.0.1:1", "127.0.0.1:2"], timeout=0.5) as client:
        began, cpu = time.monotonic(), time.process_time()
        with pytest.raises(Unavailable, match=r"127.0.0.1:[12]"):
            client.put("a", "1", 0)
        assert 0.4 < time.monotonic() - began < 2
        assert time.process_time() - cpu < 0.3, "it must not spin"


def test_an_idle_cluster_sleeps(local):
    cluster = local()
    with cluster.client() as client:
        client.put("a", "1", 0)
        cpu = time.process_time()
        time.sleep(1)
        assert time.process_time() - cpu < 0.5, "three nodes with 20 heartbeats a second"


def test_status_tells_of_everyone(local):
    cluster = local()
    with cluster.client() as client:
        client.put("a", "1", 0)
        leader = cluster.leader()
        status = client.status(cluster.peers[leader])
        assert (status.id, status.role, status.leader) == (leader, "leader", cluster.peers[leader])
        assert status.writes == 1
        assert status.keys == 1
        assert [peer.is_connected for peer in status.peers] == [True] * 3
        eventually(
            lambda: (
                [peer.match_index for peer in client.status(cluster.peers[leader]).peers if peer.id != leader]
                == [status.commit_index] * 2
            )
        )
