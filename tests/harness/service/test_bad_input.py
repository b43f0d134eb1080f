"""What goes wrong around a node: it says so clearly, the cluster goes on, and nothing acknowledged is lost."""

from __future__ import annotations

import contextlib
import json
import re
import resource
import socket
import subprocess
import time
from pathlib import Path

import pytest

from kvraft.rpc import Err, GetArgs
from kvraft.scenarios.disk import BadDisk, FaultyFiles
from kvraft.service import Client, Limits, Listener, Refused
from kvraft.service.event_raft import Timing
from kvraft.service.settings import Settings, check_identity, parse_peers, read_token
from labrpc.errors import UsageError
from tests.harness.service.conftest import eventually, kvraft, on_loop


def serve(*options: str, data: Path, peers: str = "127.0.0.1:1,127.0.0.1:2") -> subprocess.CompletedProcess[str]:
    return kvraft("serve", "--id", "0", "--peers", peers, "--data", str(data), *options)


def test_a_port_that_is_taken(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = serve(data=tmp_path / "data", peers=f"127.0.0.1:{port},127.0.0.1:2")
    assert done.returncode == 2
    assert done.stderr.strip().startswith(f"kvraft: cannot listen on 127.0.0.1:{port}: the port is taken")
    assert not (tmp_path / "data").exists(), "the disk is not touched"


@pytest.mark.parametrize(
    ("peers", "text"),
    [
        ("", "there are no addresses"),
        ("a:1,b", "'b' is no address; write host:port"),
        ("a:1,b:70000", "'b:70000' is no address"),
        ("a:1,a:1", "address a:1 is there twice"),
    ],
)
def test_addresses_that_are_none(peers, text):
    with pytest.raises(UsageError, match=text):
        parse_peers(peers)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"id": 3}, r"id 3 is not in 0..2"),
        ({"reads": "dirty"}, "reads must be one of index, lease, log"),
        ({"dial": {7: "a:1"}}, "dial names peer 7"),
    ],
)
def test_settings_that_cannot_be(tmp_path, options, text):
    with pytest.raises(UsageError, match=text):
        Settings(**{"id": 0, "peers": ["a:1", "b:1", "c:1"], "data": tmp_path, **options})
    for limits, text in (
        ({"operations": 0}, "limit operations must be more than 0"),
        ({"value_bytes": 9 << 20}, "nodes could not send that to each other"),
        ({"message_bytes": 1 << 20}, "message_bytes must be at least"),
    ):
        with pytest.raises(UsageError, match=text):
            Limits(**limits)


def test_the_directory_of_another_node_cluster_or_version(tmp_path):
    peers = ["a:1", "b:1", "c:1"]
    check_identity(Settings(id=1, peers=peers, data=tmp_path))
    check_identity(Settings(id=1, peers=["d:1", "e:1", "f:1"], data=tmp_path))  # nodes may move
    for other, text in (
        ({"id": 2}, "belongs to node 1 of 3 in cluster 'kvraft', not to node 2"),
        ({"cluster": "test"}, "not to node 1 of 3 in cluster 'test'"),
        ({"peers": peers[:2]}, "not to node 1 of 2"),
    ):
        with pytest.raises(UsageError, match=text):
            check_identity(Settings(**{"id": 1, "peers": peers, "data": tmp_path, **other}))
    identity = tmp_path / "identity.json"
    identity.write_text(json.dumps({"format": 9}))
    with pytest.raises(UsageError, match="of another version; this program reads format 1"):
        check_identity(Settings(id=1, peers=peers, data=tmp_path))
    identity.write_text("{")
    with pytest.raises(UsageError, match="is damaged"):
        check_identity(Settings(id=1, peers=peers, data=tmp_path))
    identity.unlink()
    (tmp_path / "raft").mkdir()
    with pytest.raises(UsageError, match="holds a log and no identity"):
        check_identity(Settings(id=1, peers=peers, data=tmp_path))


def test_a_damaged_log_stops_its_node_and_no_other(local):
    cluster = local()
    with cluster.client() as client:
        for version in range(10):
            client.put("a", f"value-{version}", version)
        victim = cluster.followers()[0]
        eventually(lambda: cluster.node(victim).store.index >= 10)
        cluster.stop(victim, graceful=False)
        log = cluster.folder / str(victim) / "raft" / "log"
        data = bytearray(log.read_bytes())
        data[data.index(b"value-4")] ^= 1
        log.write_bytes(data)
        data_folder = str(log.parent.parent)
        done = kvraft("serve", "--id", str(victim), "--peers", ",".join(cluster.peers), "--data", data_folder)
        assert done.returncode == 1
        assert re.match(rf"kvraft: {log} is damaged at byte \d+: .*put a new server in its place", done.stderr)
        assert client.put("a", "on", 10) is Err.OK
        assert log.read_bytes() == data


def test_a_peer_that_belongs_elsewhere_is_refused(local, caplog):
    cluster = local()
    with cluster.client() as client:
        client.put("a", "1", 0)
        moved = cluster.followers()[0]
        cluster.stop(moved)
        # One that believes it belongs to another cluster, on the same port, with another directory.
        cluster.start(moved, cluster="other", data=cluster.folder / "other")
        eventually(
            lambda: any("this is a node of cluster 'kvraft', not of 'other'" in text for text in caplog.messages)
        )
        time.sleep(1)
        assert client.put("a", "2", 1) is Err.OK
        assert cluster.node(moved).raft.get_state() == (0, False), "nobody has answered it"
        assert len(cluster.node(moved).store) == 0


def test_a_jumping_clock(local, monkeypatch):
    cluster = local(timing=Timing(heartbeat=0.05, election=(1.0, 2.0)))
    with cluster.client() as client:
        client.put("a", "1", 0)
        term, leader = cluster.node(cluster.leader()).raft.get_state()[0], cluster.leader()
        real = time.time
        for jump in (86_400, -86_400, 1e9):
            monkeypatch.setattr(time, "time", lambda jump=jump: real() + jump)
            version = client.get("a", reads="lease")[1]
            assert client.put("a", "x", version) is Err.OK
            time.sleep(0.3)
        assert (cluster.leader(), cluster.node(leader).raft.get_state()[0]) == (leader, term)


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no file system can be mounted here (it takes root): {made.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_stops_its_node_and_loses_nothing(local, small_disk):
    victim = 1
    cluster = local(places={victim: small_disk / "data"})
    with cluster.client() as client:
        client.put("first", "1", 0)
        if cluster.leader() != victim:
            on_loop(_transfer(cluster.node(cluster.leader()), victim))
            eventually(lambda: cluster.leader() == victim)
        written = 0
        while not cluster.node(victim).failed.done():
            assert client.put(f"large-{written}", "x" * 50_000, 0) in (Err.OK, Err.MAYBE)
            written += 1
            assert written < 60, "the disk must be full by now"
        assert "No space left on device" in str(cluster.node(victim).failed.result())
        assert client.put("after", "1", 0) is Err.OK
        for number in range(written):
            assert client.get(f"large-{number}")[1] == 1


def test_a_disk_that_fills_up_stops_its_node_until_there_is_room(local):
    cluster = local()
    victim = cluster.followers()[0]
    disk = BadDisk()
    cluster.stop(victim)
    cluster.start(victim, files=lambda place: FaultyFiles(place, disk))
    with cluster.client() as client:
        for version in range(10):
            assert client.put("a", str(version), version) is Err.OK
        if cluster.leader() != victim:
            eventually(lambda: cluster.node(victim).store.index == cluster.node(cluster.leader()).store.index)
            on_loop(_transfer(cluster.node(cluster.leader()), victim))
            eventually(lambda: cluster.leader() == victim)
        disk.is_full = True
        results = [client.put("a", str(version), version) for version in range(10, 13)]
        assert set(results) <= {Err.OK, Err.MAYBE}
        assert "No space left on device" in str(cluster.node(victim).failed.result())
        _, version, _ = client.get("a")
        assert version == 13
        cluster.stop(victim, graceful=False)
        disk.is_full = False
        cluster.start(victim)
        assert client.put("a", "on", 13) is Err.OK
        eventually(lambda: cluster.node(victim).store.get(GetArgs("a")).version == 14)


async def _transfer(node, to):
    assert node.raft.transfer_leadership(to)


def test_a_node_whose_directory_was_emptied_is_named_and_not_asked_for_ever(local, caplog):
    cluster = local()
    with cluster.client() as client:
        for version in range(5):
            client.put("a", str(version), version)
        victim = cluster.followers()[0]
        leader = cluster.node(cluster.leader())
        eventually(lambda: leader.raft.match_index[victim] == leader.raft.log.last_index)
        cluster.stop(victim)
        cluster.start(victim, data=cluster.folder / "empty")
        eventually(lambda: any("has lost them" in text for text in caplog.messages))
        sent = []

        class Counts(Listener):
            def request_sent(self, peer, request, size):
                sent.append(peer)

        leader.listeners.append(Counts())
        assert client.put("a", "on", 5) is Err.OK
        time.sleep(0.5)
        assert sent.count(victim) < 30, "heartbeats only"


def test_tokens(local, tmp_path):
    cluster = local(token="s3cret")
    with cluster.client(token="s3cret") as client:
        assert client.put("a", "1", 0) is Err.OK
        for token, text in ((None, "a token is needed"), ("wrong", "the token is not this cluster's")):
            with cluster.client(token=token) as stranger:
                began = time.monotonic()
                with pytest.raises(Refused, match=text):
                    stranger.put("a", "2", 1)
                with pytest.raises(Refused, match=text):
                    stranger.status(cluster.peers[0])
                with pytest.raises(Refused, match=text):
                    next(stranger.watch("a"))
                assert time.monotonic() - began < 5, "no use in trying again"
        assert client.get("a") == ("1", 1, Err.OK)
    for content, text in (("", "must hold one line"), ("two words", "without blanks"), ("ä", "printable")):
        (tmp_path / "token").write_text(content)
        with pytest.raises(UsageError, match=text):
            read_token(tmp_path / "token")
    with pytest.raises(UsageError, match="cannot read the token file"):
        read_token(tmp_path / "nowhere")


def test_idle_half_open_and_garbled_connections(local):
    cluster = local(limits=Limits(connections=150, streams=5))
    with cluster.client() as client:
        client.put("a", "1", 0)
        leader = cluster.peers[cluster.leader()].split(":")
        address = (leader[0], int(leader[1]))
        idle = [socket.create_connection(address) for _ in range(100)]
        try:
            for number, connection in enumerate(idle):
                if number % 3 == 0:
                    connection.sendall(b"PRI * HTTP/2.0\r\n")  # the beginning of a connection, and no more
                elif number % 3 == 1:
                    connection.sendall(bytes(range(256)) * 20)  # garbage
            for version in range(1, 30):
                assert client.put("a", str(version), version) is Err.OK
        finally:
            for connection in idle:
                connection.close()
        crowd = [socket.create_connection(address) for _ in range(200)]
        eventually(lambda: sum(_is_closed(connection) for connection in crowd) >= 50)
        for connection in crowd:
            connection.close()
        garbage = socket.create_connection(address)
        garbage.sendall(b"\xff" * 10_000)
        garbage.settimeout(10)
        with pytest.raises((ConnectionError, AssertionError)):
            while garbage.recv(4096):
                pass
            raise ConnectionError("closed, as it should be")
        assert client.put("a", "last", 30) is Err.OK


def test_ten_thousand_idle_connections(processes):
    """As many as this system lets one process open, if those are fewer; half of them say the beginning of something."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(10_000, hard - 500)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 500), hard))
    cluster = processes(3, "--max-connections", "500")
    idle: list[socket.socket] = []
    try:
        with Client(cluster.peers) as client:
            assert client.put("a", "0", 0, timeout=30) is Err.OK
            host, _, port = cluster.peers[cluster.leader(client)].rpartition(":")
            for number in range(count):
                connection = socket.socket()
                connection.setblocking(False)
                connection.connect_ex((host, int(port)))
                idle.append(connection)
                if number % 500 == 0:
                    assert client.put("a", str(number), client.get("a")[1]) in (Err.OK, Err.MAYBE)
            for connection in idle[::2]:
                with contextlib.suppress(OSError):
                    connection.send(b"PRI * HT")
            assert client.put("a", "through all of it", client.get("a")[1]) in (Err.OK, Err.MAYBE)
            with Client(cluster.peers, timeout=30) as late:
                assert late.get("a")[0] == "through all of it", "those who say nothing make room in some seconds"
            assert all(process.poll() is None for process in cluster.processes.values())
    finally:
        for connection in idle:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        while connection.recv(4096):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def test_more_clients_than_streams(local):
    cluster = local(limits=Limits(streams=3))
    clients = [cluster.client() for _ in range(3)]
    try:
        for number, client in enumerate(clients):
            assert client.put(f"key-{number}", "1", 0) is Err.OK
        leader = cluster.peers[cluster.leader()]
        with (
            Client([leader], timeout=1.0) as late,
            pytest.raises(TimeoutError, match="3 clients are connected already"),
        ):
            late.put("b", "1", 0)
        clients.pop().close()
        with cluster.client() as late:
            assert late.put("b", "1", 0) is Err.OK
    finally:
        for client in clients:
            client.close()


def test_more_operations_than_a_node_takes(local):
    cluster = local(limits=Limits(operations=50))
    with cluster.client() as client:
        client.put("a", "1", 0)
        futures = [client.put_later(f"key-{number}", "1", 0) for number in range(500)]
        assert {future.result(30) for future in futures} <= {Err.OK, Err.MAYBE}, "refused for now, and done later"
        assert {client.get(f"key-{number}")[1] for number in range(500)} == {1}


def test_a_stranger_on_the_nodes_service_is_refused(local):
    import asyncio

    import grpc

    from kvraft.service import kvraft_pb2 as pb
    from kvraft.service import kvraft_pb2_grpc as rpc

    cluster = local()
    leader = cluster.leader()

    async def call(metadata: tuple[tuple[str, str], ...], payload: bytes) -> grpc.aio.AioRpcError:
        async with grpc.aio.insecure_channel(cluster.peers[leader]) as channel:
            stream = rpc.RaftStub(channel).Exchange(metadata=metadata)
            with pytest.raises((grpc.aio.AioRpcError, asyncio.InvalidStateError)) as raised:
                await stream.write(pb.Frame(sequence=1, payload=payload))
                await stream.read()
                await stream.read()
            assert raised.value
            return await stream.code(), await stream.details()

    code, detail = on_loop(call((), b""))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "not of None" in detail
    peer = str(cluster.followers()[0])
    who = (("cluster", "kvraft"), ("nodes", "3"), ("election", "0.4-0.8"), ("from", peer), ("to", str(leader)))
    for wrong, text in (
        ({"to": peer}, "the caller's list of peers differs"),
        ({"from": "7"}, "node '7' is no peer of node"),
        ({"nodes": "5"}, "this cluster has 3 nodes, the caller's 5"),
        ({"election": "1-2"}, "this node's election timeout is 0.4-0.8 s"),
    ):
        code, detail = on_loop(call(tuple({**dict(who), **wrong}.items()), b""))
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert text in detail
    for payload in (b"\xc1 no message", b"\x93\x01\x02\x03"):
        code, detail = on_loop(call(who, payload))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "no message of Raft's" in detail
    with cluster.client() as client:
        assert client.put("a", "1", 0) is Err.OK


def test_what_is_no_text_or_no_version_is_refused_at_once(local):
    with local().client() as client:
        for key, value, version in (("a", "\ud800", 0), ("\ud800", "1", 0), (7, "1", 0), ("a", b"1", 0)):
            with pytest.raises(UsageError, match="keys and values are strings"):
                client.put(key, value, version)
        for version in (-1, 1 << 64, "1", None):
            with pytest.raises(UsageError, match="versions whole numbers"):
                client.put("a", "1", version)
        with pytest.raises(UsageError, match="reads must be index, lease or log"):
            client.get("a", reads="dirty")
        assert client.put("a", "ä\0\U0001f600", 0) is Err.OK
        assert client.get("a")[0] == "ä\0\U0001f600"


def test_a_client_needs_nodes_and_files_that_are_there(tmp_path):
    with pytest.raises(UsageError, match="a client needs a list of nodes"):
        Client([])
    with pytest.raises(UsageError, match="a client needs a list of nodes"):
        Client("127.0.0.1:7000")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="cannot read"):
        Client(["127.0.0.1:7000"], authority=tmp_path / "nowhere")
