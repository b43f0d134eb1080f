"""gRPC streams from a node to its peers: one each for Raft's messages, and one more while a snapshot is sent.

    send(peer, sequence, payload) --> outbox --writer--> Exchange stream --> the peer
    node.on_reply                 <------------reader---                <--

A stream that breaks is opened anew, over a new connection, after a short pause: one that hangs in a network's black
hole would take seconds to notice that the hole is gone.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from kvraft.service import kvraft_pb2 as pb
from kvraft.service import kvraft_pb2_grpc as rpc
from kvraft.service.log_store import SnapshotFile
from kvraft.service.settings import Settings
from labrpc import encode
from raft.messages import InstallSnapshotArgs

if TYPE_CHECKING:
    from kvraft.service.node import Node

__all__ = ["MESSAGE_BYTES", "Links", "channel_options"]

log = logging.getLogger("kvraft")

MESSAGE_BYTES = 16 << 20
"""The longest message between nodes."""

CONNECT_SECONDS = 0.5
PAUSE_SECONDS = (0.02, 0.3)
SNAPSHOT_SECONDS = 120.0


def channel_options(message_bytes: int = MESSAGE_BYTES) -> list[tuple[str, Any]]:
    """For connections that nobody else shares, and that notice a peer that is gone."""
    return [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", message_bytes),
        ("grpc.max_send_message_length", message_bytes),
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 3_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.initial_reconnect_backoff_ms", 50),
        ("grpc.min_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 500),
        ("grpc.enable_retries", 0),
    ]


class Links:
    """The `Transport` of a node that has peers on the network."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._links: dict[int, Link] = {}
        self._snapshots: set[asyncio.Task[None]] = set()
        self._credentials = None
        if settings.tls is not None:
            certificate, key, authority = settings.tls.read()
            self._credentials = grpc.ssl_channel_credentials(authority, key, certificate)

    def start(self, node: Node) -> None:
        for peer in range(len(self.settings.peers)):
            if peer != self.settings.id:
                self._links[peer] = Link(self, node, peer)

    def is_connected(self, peer: int) -> bool:
        return self._links[peer].is_connected

    def send(self, peer: int, sequence: int, payload: bytes) -> None:
        self._links[peer].send(pb.Frame(sequence=sequence, payload=payload))

    def send_snapshot(self, peer: int, request: InstallSnapshotArgs, snapshot: SnapshotFile) -> None:
        task = asyncio.get_running_loop().create_task(self._links[peer].send_snapshot(request, snapshot))
        self._snapshots.add(task)
        task.add_done_callback(self._snapshots.discard)

    def reset(self, peer: int) -> None:
        self._links[peer].reset()

    async def close(self) -> None:
        tasks = [*self._snapshots, *(link.task for link in self._links.values())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def connect(self, peer: int) -> grpc.aio.Channel:
        """A channel to `peer`."""
        address = self.settings.address_of(peer)
        if self._credentials is None:
            return grpc.aio.insecure_channel(address, channel_options())
        return grpc.aio.secure_channel(address, self._credentials, channel_options())

    def metadata(self, peer: int) -> tuple[tuple[str, str], ...]:
        """Who calls whom, so that a wrong address is found out before it does harm."""
        settings = self.settings
        who = (("cluster", settings.cluster), ("from", str(settings.id)), ("to", str(peer)))
        # Leases are only safe if all nodes wait as long before they stand for election.
        same = (("nodes", str(len(settings.peers))), ("election", settings.timing.text))
        return (*who, *same, *((("authorization", f"Bearer {settings.token}"),) if settings.token else ()))


class Link:
    """The stream to one peer."""

    def __init__(self, links: Links, node: Node, peer: int) -> None:
        self.links, self.node, self.peer = links, node, peer
        self.is_connected = False
        self._outbox: list[Any] = []
        self._wake = asyncio.Event()
        self._call: Any = None
        self._complaint = ""
        self.task = asyncio.get_running_loop().create_task(self._run())

    def send(self, frame: Any) -> None:
        """Hands a frame to the stream; if there is none it is lost."""
        if self.is_connected:
            self._outbox.append(frame)
            self._wake.set()

    def reset(self) -> None:
        """Ends the stream; another one follows."""
        if self._call is not None:
            self._call.cancel()

    async def send_snapshot(self, request: InstallSnapshotArgs, snapshot: SnapshotFile) -> None:
        """Sends a snapshot over a connection of its own, and tells the node what came of it."""
        payload = None
        try:
            async with self.links.connect(self.peer) as channel:
                stub = rpc.RaftStub(channel)
                frames = self._frames(encode(request), snapshot)
                metadata = self.links.metadata(self.peer)
                reply = await stub.InstallSnapshot(frames, timeout=SNAPSHOT_SECONDS, metadata=metadata)
                payload = reply.payload
        except (grpc.RpcError, OSError, TimeoutError) as error:
            log.warning("a snapshot for node %d did not arrive: %s", self.peer, _reason(error))
            await asyncio.sleep(PAUSE_SECONDS[1])
        self.node.on_snapshot_sent(self.peer, request, payload)

    async def _frames(self, head: bytes, snapshot: SnapshotFile) -> Any:
        yield pb.Frame(payload=head)
        for piece in snapshot.pieces():
            yield pb.Frame(payload=piece)

    async def _run(self) -> None:
        this = asyncio.current_task()
        assert this is not None
        pause = PAUSE_SECONDS[0]
        while True:
            try:
                async with self.links.connect(self.peer) as channel:
                    await self._exchange(channel)
                pause = PAUSE_SECONDS[0]
            except (grpc.RpcError, TimeoutError, asyncio.CancelledError) as error:
                self._complain(error)
            # A call that was cancelled looks like a task that was; and that this task was cancelled may come as another
            # exception, or not at all: from gRPC, or from Python 3.11's wait_for.
            if this.cancelling():
                return
            if self.is_connected:
                self.is_connected = False
                pause = PAUSE_SECONDS[0]
                self.node.on_disconnected(self.peer)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, PAUSE_SECONDS[1])

    async def _exchange(self, channel: grpc.aio.Channel) -> None:
        """One stream, from its beginning to its end."""
        call = self._call = rpc.RaftStub(channel).Exchange(metadata=self.links.metadata(self.peer))
        writer: asyncio.Task[None] | None = None
        try:
            await asyncio.wait_for(call.initial_metadata(), CONNECT_SECONDS)
            if call.done():
                await call.read()  # raises what ended it
                return
            self._outbox.clear()
            self.is_connected = True
            self._complaint = ""
            writer = asyncio.get_running_loop().create_task(self._write(call))
            self.node.on_connected(self.peer)
            while (frame := await call.read()) is not grpc.aio.EOF:
                self.node.on_reply(self.peer, frame.sequence, frame.payload)
            await call.code()
        finally:
            self._call = None
            call.cancel()
            if writer is not None:
                writer.cancel()

    async def _write(self, call: Any) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                frames, self._outbox = self._outbox, []
                for frame in frames:
                    await call.write(frame)
        except (grpc.RpcError, asyncio.InvalidStateError):
            pass  # the reader finds out too

    def _complain(self, error: BaseException) -> None:
        """Logs why there is no stream, once, if it is a matter of settings and not of who is up."""
        reason = _reason(error)
        is_refusal = isinstance(error, grpc.aio.AioRpcError) and error.code() in (
            grpc.StatusCode.FAILED_PRECONDITION,
            grpc.StatusCode.UNAUTHENTICATED,
            grpc.StatusCode.UNIMPLEMENTED,
        )
        if reason != self._complaint and is_refusal:
            log.warning("node %d refuses this node: %s", self.peer, reason)
        self._complaint = reason


def _reason(error: BaseException) -> str:
    return str(error.details()) if isinstance(error, grpc.aio.AioRpcError) else f"{type(error).__name__}: {error}"
