"""What a node listens with: gRPC services for clients and peers, health and reflection.

KV        clients (and anyone with grpcurl: reflection tells what there is)
Raft      peers
grpc.health.v1.Health   "" serves while the process runs; "kvraft.KV" while the node knows a leader
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hmac
import logging
import queue
from collections.abc import Iterator
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from kvraft.service import kvraft_pb2 as pb
from kvraft.service import kvraft_pb2_grpc as rpc
from kvraft.service.events import Listener
from kvraft.service.links import MESSAGE_BYTES
from kvraft.service.node import READ_MODES, Gets, Node, Operation
from kvraft.service.settings import Settings
from labrpc import decode
from labrpc.codec import CodecError
from labrpc.errors import UsageError
from raft.messages import InstallSnapshotArgs

__all__ = ["Server"]

log = logging.getLogger("kvraft")

Refusal = tuple[grpc.StatusCode, str]

_STARTING: Refusal = (grpc.StatusCode.UNAVAILABLE, "the node is reading its log")

_KV = pb.DESCRIPTOR.services_by_name["KV"].full_name
_RAFT = pb.DESCRIPTOR.services_by_name["Raft"].full_name


class Server:
    """The listening side of `node`.

    Raises (start):
        UsageError: the port is taken, or the address or a certificate is bad.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        settings, limits = node.settings, node.settings.limits
        self.admission = Admission(settings)
        self.health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),
                # One limit for a port: a client's own is the smaller of the two, and kept in `Clients`.
                ("grpc.max_receive_message_length", max(limits.message_bytes, MESSAGE_BYTES)),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_connection_idle_ms", int(limits.idle_seconds * 1000)),
                ("grpc.max_allowed_incoming_connections", limits.connections),
                ("grpc.server_handshake_timeout_ms", 5_000),
                ("grpc.keepalive_time_ms", 10_000),
                ("grpc.keepalive_timeout_ms", 5_000),
                ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
                ("grpc.keepalive_permit_without_calls", 1),
            ]
        )
        self.clients = Clients(node, self.admission)
        self.peers = Peers(node, self.admission)
        rpc.add_KVServicer_to_server(self.clients, self._server)
        rpc.add_RaftServicer_to_server(self.peers, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        names = (_KV, _RAFT, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)

    async def start(self) -> None:
        """Listens."""
        settings = self.node.settings
        self._listen(settings.address, asks_for_certificate=True)
        if settings.client_listen:
            self._listen(settings.client_listen, asks_for_certificate=False)
        await self._server.start()
        await self.health.set("", health_pb2.HealthCheckResponse.SERVING)
        await self.health.set(_KV, health_pb2.HealthCheckResponse.NOT_SERVING)
        self.node.listeners.append(_Health(self.health))

    async def stop(self, grace: float | None = 1.0) -> None:
        """Takes nothing new, and ends what is left after `grace` seconds."""
        await self.health.enter_graceful_shutdown()
        self.clients.streams.end()
        self.peers.streams.end()
        await self._server.stop(grace)

    def _listen(self, address: str, *, asks_for_certificate: bool) -> None:
        settings = self.node.settings
        try:
            if settings.tls is None:
                self._server.add_insecure_port(address)
                return
            certificate, key, authority = settings.tls.read()
            mutual = asks_for_certificate and authority is not None
            credentials = grpc.ssl_server_credentials([(key, certificate)], authority if mutual else None, mutual)
            self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise UsageError(
                f"cannot listen on {address}: the port is taken, the address is not this machine's, or the certificate "
                f"is bad; another program may have it (ss -ltnp shows which), or this node runs already ({error})"
            ) from None


class Streams:
    """The handlers that run on streams, which would not end by themselves."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_over = False

    def __len__(self) -> int:
        return len(self._tasks)

    def end(self) -> None:
        """Ends them all, in good order for the other side."""
        self._is_over = True
        for task in self._tasks:
            task.cancel()

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Around a handler's work."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if not self._is_over:
                raise
            task.uncancel()
        finally:
            self._tasks.discard(task)


class Admission:
    """Who may call."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._token = None if settings.token is None else f"Bearer {settings.token}".encode()

    def client(self, context: Any) -> Refusal | None:
        """Why the caller is no client of this cluster, if so."""
        if self._token is None:
            return None
        shown = dict(context.invocation_metadata() or ()).get("authorization", "")
        shown = shown if isinstance(shown, bytes) else str(shown).encode()
        if hmac.compare_digest(shown, self._token):
            return None
        if not shown:
            return grpc.StatusCode.UNAUTHENTICATED, "a token is needed: metadata authorization: Bearer TOKEN"
        return grpc.StatusCode.UNAUTHENTICATED, "the token is not this cluster's"

    def peer(self, context: Any) -> Refusal | int:
        """Which peer calls; or why the caller is none."""
        settings = self._settings
        refusal = self.client(context)
        if refusal is not None:
            return refusal
        shown = dict(context.invocation_metadata() or ())
        sender, to = str(shown.get("from", "")), str(shown.get("to", ""))
        has_certificate = bool(context.auth_context().get("x509_common_name"))
        if settings.tls is not None and settings.tls.authority is not None and not has_certificate:
            return grpc.StatusCode.UNAUTHENTICATED, "nodes of this cluster show certificates"
        if shown.get("cluster") != settings.cluster:
            problem = f"this is a node of cluster {settings.cluster!r}, not of {shown.get('cluster')!r}"
        elif shown.get("nodes") != str(len(settings.peers)):
            problem = f"this cluster has {len(settings.peers)} nodes, the caller's {shown.get('nodes')}"
        elif shown.get("election") != settings.timing.text:
            problem = f"this node's election timeout is {settings.timing.text} s, the caller's {shown.get('election')}"
        elif to != str(settings.id):
            problem = f"this is node {settings.id}, not {to}: the caller's list of peers differs"
        elif not sender.isdigit() or not 0 <= int(sender) < len(settings.peers) or int(sender) == settings.id:
            problem = f"node {sender!r} is no peer of node {settings.id} in a cluster of {len(settings.peers)}"
        else:
            return int(sender)
        log.warning("refused a peer at %s: %s", context.peer(), problem)
        return grpc.StatusCode.FAILED_PRECONDITION, problem


class Peers:
    """Service Raft."""

    def __init__(self, node: Node, admission: Admission) -> None:
        self.node, self.admission = node, admission
        self.streams = Streams()

    async def _peer(self, context: Any) -> int:
        """Which peer calls; anyone else is turned away."""
        found = self.admission.peer(context)
        refusal = found if isinstance(found, tuple) else None if self.node.is_started else _STARTING
        if refusal is not None:
            self.node.listeners.tell("call_refused", "peer", refusal[0].name)
            await context.abort(*refusal)
        return found  # type: ignore[return-value]

    async def Exchange(self, _requests: Any, context: Any) -> None:
        peer = await self._peer(context)
        await context.send_initial_metadata(())
        outbox = Outbox(context)
        try:
            with self.streams.one():
                while (frame := await context.read()) is not grpc.aio.EOF:
                    try:
                        self.node.receive(peer, frame.payload, functools.partial(_reply, outbox, frame.sequence))
                    except (CodecError, KeyError, AttributeError) as error:
                        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"no message of Raft's: {error}")
        finally:
            outbox.close()

    async def InstallSnapshot(self, _requests: Any, context: Any) -> Any:
        peer = await self._peer(context)
        first = await context.read()
        args = None if first is grpc.aio.EOF else decode(first.payload)
        if not isinstance(args, InstallSnapshotArgs):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first frame holds no InstallSnapshotArgs")
        pieces: queue.Queue[bytes | None] = queue.Queue()
        installing = asyncio.get_running_loop().create_task(
            self.node.receive_snapshot(peer, args, _until_none(pieces))  # type: ignore[arg-type]
        )
        is_whole = False
        try:
            while (frame := await context.read()) is not grpc.aio.EOF:
                pieces.put(frame.payload)
                while pieces.qsize() > 16:
                    await asyncio.sleep(0.005)  # the disk is slower than the network
            is_whole = True
        finally:
            pieces.put(None if is_whole else b"")
            if not is_whole:
                installing.cancel()
        return pb.Frame(payload=await installing)


def _reply(outbox: Outbox, sequence: int, payload: bytes) -> None:
    outbox.put(pb.Frame(sequence=sequence, payload=payload))


def _until_none(pieces: queue.Queue[bytes | None]) -> Iterator[bytes]:
    """What comes until None. An empty piece says that the sender is gone."""
    while (piece := pieces.get()) is not None:
        if not piece:
            raise ConnectionError("the sender of the snapshot is gone")
        yield piece


class Clients:
    """Service KV."""

    def __init__(self, node: Node, admission: Admission) -> None:
        self.node, self.admission = node, admission
        self.streams = Streams()

    async def Get(self, request: Any, context: Any) -> Any:
        await self._admit(context)
        result = await self._one(request.key, None, 0, READ_MODES.get(request.reads))
        return pb.GetResponse(
            value=result.value,
            version=result.version,
            err=result.err,
            leader=result.leader,
            detail=result.detail,
            started=result.started,
        )

    async def Put(self, request: Any, context: Any) -> Any:
        await self._admit(context)
        result = await self._one(request.key, request.value, request.version, None)
        return pb.PutResponse(err=result.err, leader=result.leader, detail=result.detail, started=result.started)

    async def _one(self, key: str, value: str | None, version: int, reads: str | None) -> Any:
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def finish(result: Any) -> None:
            if not done.done():  # else the caller is gone
                done.set_result(result)

        self.node.submit(Operation(finish, key, value, version, reads))
        return await done

    async def Pipeline(self, _requests: Any, context: Any) -> None:
        await self._admit(context)
        limits = self.node.settings.limits
        if len(self.streams) >= limits.streams:
            self.node.listeners.tell("call_refused", "client", grpc.StatusCode.RESOURCE_EXHAUSTED.name)
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{limits.streams} clients are connected already")
        await context.send_initial_metadata(())
        outbox = Outbox(context, self._gather)
        try:
            with self.streams.one():
                self.node.listeners.tell("client_connected", len(self.streams))
                while (batch := await context.read()) is not grpc.aio.EOF:
                    size, most = batch.ByteSize(), limits.message_bytes
                    self.node.listeners.tell("client_bytes", size, 0)
                    if size > most:
                        detail = f"a message of {size} bytes, this cluster takes at most {most}"
                        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, detail)
                    for each in batch.operations:
                        self._submit(each, outbox)
                    for gets in batch.gets:
                        if len(gets.ids) != len(gets.keys):
                            detail = f"gets with {len(gets.ids)} ids and {len(gets.keys)} keys"
                            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, detail)
                        self._submit_gets(gets, outbox)
                await outbox.drained()
        finally:
            outbox.close()
            self.node.listeners.tell("client_connected", len(self.streams))

    def _gather(self, results: list[Any]) -> Any:
        batch = _result_batch(results)
        self.node.listeners.tell("client_bytes", 0, batch.ByteSize())
        return batch

    def _submit(self, each: Any, outbox: Outbox) -> None:
        outbox.expected += 1
        number = each.id

        def finish(result: Any) -> None:
            result.id = number
            outbox.put(result)

        kind = each.WhichOneof("kind")
        if kind == "put":
            put = each.put
            self.node.submit(Operation(finish, put.key, put.value, put.version))
        elif kind == "get":
            self.node.submit(Operation(finish, each.get.key, None, 0, READ_MODES.get(each.get.reads)))
        else:
            finish(pb.Result(err=pb.INVALID, detail="the operation is neither a get nor a put"))

    def _submit_gets(self, gets: Any, outbox: Outbox) -> None:
        reads = READ_MODES.get(gets.reads) or self.node.settings.reads
        if reads == "log":
            for number, key in zip(gets.ids, gets.keys, strict=True):
                self._submit(pb.Operation(id=number, get=pb.GetRequest(key=key, reads=gets.reads)), outbox)
            return
        outbox.expected += len(gets.ids)

        def finish(answer: Any) -> None:
            if isinstance(answer, list):
                for result in answer:
                    outbox.put(result)
            else:
                outbox.put(answer, len(answer.ids))

        self.node.submit_gets(Gets(finish, gets.ids, gets.keys, reads))

    async def Watch(self, request: Any, context: Any) -> None:
        await self._admit(context)
        if not request.key and not request.prefix:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the key is empty; with prefix, that means all keys")
        store, most = self.node.store, self.node.settings.limits.watch_events
        events: asyncio.Queue[Any] = asyncio.Queue(most)
        has_lost = False

        def watcher(key: str, value: str, version: int, index: int) -> None:
            nonlocal has_lost
            if events.full():
                has_lost = True
            else:
                events.put_nowait(pb.WatchEvent(key=key, value=value, version=version, index=index, is_change=True))

        present = store.watch(request.key, request.prefix, watcher)
        index = store.index
        try:
            for key, value, version in present:
                await context.write(pb.WatchEvent(key=key, value=value, version=version, index=index))
            await context.write(pb.WatchEvent(index=index, is_ready=True))
            with self.streams.one():
                while not has_lost:
                    await context.write(await events.get())
        finally:
            store.unwatch(request.key, request.prefix, watcher)
        if has_lost:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"more than {most} changes waited; watch again")

    async def Status(self, request: Any, context: Any) -> Any:
        await self._admit(context)
        return self.node.status()

    async def TransferLeadership(self, request: Any, context: Any) -> Any:
        await self._admit(context)
        raft = self.node.raft
        try:
            begun = raft.get_state()[1] and raft.transfer_leadership(request.to)
            return pb.TransferResponse(begun=begun)
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))

    async def _admit(self, context: Any) -> None:
        refusal = self.admission.client(context)
        if refusal is None and not self.node.is_started:
            refusal = _STARTING
        if refusal is not None:
            self.node.listeners.tell("call_refused", "client", refusal[0].name)
            await context.abort(*refusal)


def _result_batch(answers: list[Any]) -> Any:
    """One message of `Result`s and `Got`s."""
    got = [answer for answer in answers if isinstance(answer, pb.Got)]
    if not got:
        return pb.ResultBatch(results=answers)
    return pb.ResultBatch(results=[answer for answer in answers if not isinstance(answer, pb.Got)], got=got)


class Outbox:
    """What goes out on one stream: all that has come together in one message, one message at a time.

    Args:
        gather: makes one message of many; without it each goes alone.
    """

    def __init__(self, context: Any, gather: Any = None) -> None:
        self._context, self._gather = context, gather
        self._waiting: list[Any] = []
        self._count = 0
        self._wake = asyncio.Event()
        self._said = asyncio.Event()
        self.expected = 0
        """What is still to be answered, of those who count."""
        self._task = asyncio.get_running_loop().create_task(self._write())

    def put(self, message: Any, answers: int = 1) -> None:
        """It goes out soon, or is lost if the stream is gone; it holds so many answers."""
        self._waiting.append(message)
        self._count += answers
        self._wake.set()

    async def drained(self) -> None:
        """Waits until as many answers as expected have gone out."""
        while self.expected > 0 and not self._task.done():
            self._said.clear()
            await self._said.wait()

    def close(self) -> None:
        """Nothing more goes out."""
        self._task.cancel()

    async def _write(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                waiting, self._waiting = self._waiting, []
                count, self._count = self._count, 0
                for message in [self._gather(waiting)] if self._gather else waiting:
                    await self._context.write(message)
                self.expected -= count
                self._said.set()
        except (grpc.RpcError, asyncio.InvalidStateError, grpc.aio.UsageError):
            pass  # the other side is gone
        finally:
            self._said.set()


class _Health(Listener):
    """Tells the health service whether the node can serve."""

    def __init__(self, servicer: Any) -> None:
        self._servicer = servicer
        self._tasks: set[asyncio.Task[None]] = set()

    def role_changed(self, role: str, term: int, leader: int | None) -> None:
        state = health_pb2.HealthCheckResponse
        status = state.NOT_SERVING if leader is None else state.SERVING
        task = asyncio.get_running_loop().create_task(self._servicer.set(_KV, status))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
