"""Gets that travel together: each has its own answer, and what is wrong with one is no matter of the others."""

from __future__ import annotations

from collections import Counter

import grpc
import pytest

from kvraft.rpc import Err
from kvraft.service import Limits, Listener, Refused
from kvraft.service import kvraft_pb2 as pb
from kvraft.service import kvraft_pb2_grpc as rpc
from kvraft.service.events import Listeners
from tests.harness.service.conftest import on_loop

MODES = ("index", "lease", "log")


def ask(address: str, *batches, answers: int):
    """Sends batches over one stream, and returns so many answers: id -> (err, value, version)."""

    async def talk():
        found = {}
        async with grpc.aio.insecure_channel(address) as channel:
            call = rpc.KVStub(channel).Pipeline()
            for batch in batches:
                await call.write(batch)
            while len(found) < answers:
                batch = await call.read()
                if batch is grpc.aio.EOF:
                    raise AssertionError(await call.details())
                for each in batch.results:
                    found[each.id] = (pb.Err.Name(each.err), each.value, each.version)
                for got in batch.got:
                    for number, value, version in zip(got.ids, got.values, got.versions, strict=True):
                        found[number] = ("OK" if version else "NO_KEY", value, version)
            call.cancel()
        return found

    return on_loop(talk())


def gets(ids, keys, reads=pb.INDEX):
    return pb.OperationBatch(gets=[pb.Gets(ids=ids, keys=keys, reads=reads)])


@pytest.mark.parametrize("reads", MODES)
def test_each_get_has_its_own_answer(local, reads):
    cluster = local(limits=Limits(key_bytes=10))
    with cluster.client() as client:
        client.put("a", "1", 0)
        client.put("a", "2", 1)
        client.put("b", "", 0)
        futures = [client.get_later(key, reads=reads) for key in ("a", "b", "nobody", "far too long", "a")]
        assert [future.result() for future in futures[:3]] == [("2", 2, Err.OK), ("", 1, Err.OK), ("", 0, Err.NO_KEY)]
        with pytest.raises(Refused, match="the key has 12 bytes, this cluster takes at most 10"):
            futures[3].result()
        assert futures[4].result() == ("2", 2, Err.OK)


def test_a_follower_refuses_each(local):
    cluster = local()
    cluster.leader()
    found = ask(cluster.peers[cluster.followers()[0]], gets([7, 8], ["a", "b"]), answers=2)
    assert found == {7: ("WRONG_LEADER", "", 0), 8: ("WRONG_LEADER", "", 0)}


def test_of_too_many_gets_some_are_refused_for_now(local):
    cluster = local(limits=Limits(operations=5))
    leader = cluster.peers[cluster.leader()]
    found = ask(leader, gets(list(range(1, 9)), ["x"] * 8), answers=8)
    assert sorted(err for err, _, _ in found.values()) == ["BUSY"] * 3 + ["NO_KEY"] * 5
    assert cluster.node(cluster.leader()).under_way == 0
    with cluster.client() as client:
        futures = [client.get_later("x") for _ in range(100)]
        assert {future.result() for future in futures} == {("", 0, Err.NO_KEY)}, "in the end all are answered"


def test_gets_that_are_no_columns_end_the_stream(local):
    cluster = local()
    leader = cluster.peers[cluster.leader()]
    with pytest.raises(grpc.aio.AioRpcError, match="gets with 2 ids and 1 keys"):
        ask(leader, gets([1, 2], ["a"]), answers=1)
    assert ask(leader, gets([1], ["a"]), answers=1) == {1: ("NO_KEY", "", 0)}


def test_a_listener_hears_of_each_get(local):
    cluster = local()
    heard: Counter[tuple[str, str]] = Counter()

    class Hears(Listener):
        def operations_done(self, kind: str, err: str, count: int, seconds: float) -> None:
            assert 0 <= seconds < 30
            heard[kind, err] += count

    with cluster.client() as client:
        client.put("a", "1", 0)
        node = cluster.node(cluster.leader())
        before = node.reads
        node.listeners.append(Hears())
        futures = [client.get_later(key) for key in ("a", "nobody", "a")]
        for future in futures:
            future.result()
    assert heard == {("get", "NO_KEY"): 1, ("get", "OK"): 2}
    assert node.reads == before + 3


def test_listeners_are_told_of_what_they_override():
    class Roles(Listener):
        def __init__(self) -> None:
            self.roles: list[str] = []

        def role_changed(self, role: str, term: int, leader: int | None) -> None:
            self.roles.append(role)
            raise ValueError("logged, and no harm")

    first, second = Roles(), Roles()
    listeners = Listeners([first])
    assert not listeners.hear("applied"), "nobody wants to hear of it"
    listeners.tell("role_changed", "leader", 1, 0)
    listeners.append(second)
    listeners.tell("role_changed", "follower", 2, None)
    listeners.remove(first)
    listeners.tell("role_changed", "leader", 3, 0)
    assert (first.roles, second.roles) == (["leader", "follower"], ["follower", "leader"])
    with pytest.raises(AttributeError):
        listeners.tell("no_such_event")
