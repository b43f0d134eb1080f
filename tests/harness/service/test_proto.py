"""The generated code is what kvraft.proto says. It is in the repository, so that installing needs no compiler."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from kvraft.rpc import Err
from kvraft.service import kvraft_pb2 as pb
from tests.harness.service.conftest import ROOT, eventually, on_loop

GENERATE = ("-m", "grpc_tools.protoc", "-I.", "kvraft/service/kvraft.proto")


def test_the_generated_code_is_of_the_proto(tmp_path):
    generated = (f"--python_out={tmp_path}", f"--grpc_python_out={tmp_path}", f"--descriptor_set_out={tmp_path}/set")
    subprocess.run([sys.executable, *GENERATE, *generated], cwd=ROOT, check=True)
    fresh = descriptor_pb2.FileDescriptorSet.FromString((tmp_path / "set").read_bytes()).file[0]
    for message in fresh.message_type:
        for field in message.field:
            field.ClearField("json_name")  # the compiler adds it here and not there
    here = descriptor_pb2.FileDescriptorProto()
    pb.DESCRIPTOR.CopyToProto(here)
    advice = "make proto"
    assert here == fresh, advice
    services = ("def Exchange(", "def TransferLeadership(", "def Pipeline(")
    stubs = (ROOT / "kvraft/service/kvraft_pb2_grpc.py").read_text()
    for line in (tmp_path / "kvraft/service/kvraft_pb2_grpc.py").read_text().splitlines():
        if line.strip().startswith(("class ", "def ", "'/kvraft.")):
            assert line in stubs, advice
    assert all(service in stubs for service in services)


def test_every_err_of_the_lab_is_on_the_wire_but_the_clerks_own():
    assert {err.name for err in Err} - set(pb.Err.keys()) == {"MAYBE"}


def test_health_and_reflection(local):
    cluster = local(token="s3cret")  # neither needs it
    leader = cluster.leader()

    async def ask():
        async with grpc.aio.insecure_channel(cluster.peers[leader]) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            states = [
                (await health.Check(health_pb2.HealthCheckRequest(service=name))).status for name in ("", "kvraft.KV")
            ]
            reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
            call = reflection.ServerReflectionInfo()
            await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            reply = await call.read()
            await call.done_writing()
            return states, {service.name for service in reply.list_services_response.service}

    serving = health_pb2.HealthCheckResponse.SERVING
    states, services = eventually(lambda: (found := on_loop(ask()))[0] == [serving, serving] and found)
    assert states == [serving, serving]
    assert {"kvraft.KV", "kvraft.Raft", "grpc.health.v1.Health"} <= services


def test_a_node_without_a_leader_is_alive_and_does_not_serve(local):
    cluster = local()
    last = cluster.followers()[0]
    for number in tuple(cluster.running):
        if number != last:
            cluster.stop(number, graceful=False)

    async def ask():
        async with grpc.aio.insecure_channel(cluster.peers[last]) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            return [
                (await health.Check(health_pb2.HealthCheckRequest(service=name))).status for name in ("", "kvraft.KV")
            ]

    state = health_pb2.HealthCheckResponse
    eventually(lambda: on_loop(ask()) == [state.SERVING, state.NOT_SERVING])


def test_unary_calls_from_any_language(local):
    cluster = local()
    leader = cluster.leader()
    follower = cluster.followers()[0]

    async def ask():
        from kvraft.service import kvraft_pb2_grpc as rpc

        async with grpc.aio.insecure_channel(cluster.peers[leader]) as channel:
            stub = rpc.KVStub(channel)
            assert (await stub.Put(pb.PutRequest(key="a", value="1"))).err == pb.OK
            got = await stub.Get(pb.GetRequest(key="a", reads=pb.LOG))
            assert (got.value, got.version, got.err) == ("1", 1, pb.OK)
            with pytest.raises(grpc.aio.AioRpcError, match="the key is empty"):
                async for _ in stub.Watch(pb.WatchRequest()):
                    pass
        async with grpc.aio.insecure_channel(cluster.peers[follower]) as channel:
            refused = await rpc.KVStub(channel).Put(pb.PutRequest(key="a", value="2", version=1))
            assert (refused.err, refused.leader, refused.started) == (pb.WRONG_LEADER, cluster.peers[leader], False)
        await asyncio.sleep(0)

    on_loop(ask())
