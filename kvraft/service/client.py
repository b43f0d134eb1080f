"""The client of the service: finds the leader, sends many operations at a time, and says when it cannot know.

    thread ─put─┐                                                      ┌─> node 0
    thread ─get─┼─> the client's event loop ─> operations that came ───┼─> node 1, which led last
    thread ─put─┘   (one thread a process)     together, one message   └─> node 2

`Client` is for threads, `AsyncClient` for tasks of an event loop. Both may be used by many at once, and each has one
stream to the node that leads.

What an operation's end means is as for the lab's `Clerk`: a put whose first attempt finds another version is VERSION;
one that was sent again is MAYBE, for the first may have done it. A node that refuses and says that it has not started
the operation has made no attempt at it.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import itertools
import random
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import grpc
import grpc.aio

from kvraft.rpc import Err
from kvraft.service import kvraft_pb2 as pb
from kvraft.service import kvraft_pb2_grpc as rpc
from kvraft.service.links import channel_options
from kvraft.service.settings import CLIENT_MESSAGE_BYTES
from labrpc.errors import UsageError

if TYPE_CHECKING:
    from kvraft.service.client_metrics import ClientMetrics

__all__ = ["AsyncClient", "Client", "Closed", "Refused", "Unavailable", "Watched"]

T = TypeVar("T")

ATTEMPT_SECONDS = 0.5
"""Silence after which an operation is sent to another node: a leader that was cut off can answer nobody."""

PAUSE_SECONDS = (0.01, 0.2)
"""Before an operation is sent again when no node leads, more each time."""

MOST_UNANSWERED = 4096
"""Operations that one client has under way; more wait."""

_READS = {None: pb.DEFAULT, "index": pb.INDEX, "lease": pb.LEASE, "log": pb.LOG}

_ERRORS = {number: Err(name) for name, number in pb.Err.items() if name in Err.__members__}


class Unavailable(TimeoutError):
    """No answer within the operation's time; a put may have taken effect, or may yet."""


class Closed(Unavailable):
    """The client was closed before the answer came."""


class Refused(Exception):
    """The cluster does not take this operation, or this client: too large, no token, too busy. It was not done."""


class Watched(NamedTuple):
    """A key's value as it is, or as it has become."""

    key: str
    value: str
    version: int
    is_change: bool


class _Answer(NamedTuple):
    """How an operation ended; value and version are those of a get."""

    err: Err
    value: str
    version: int


class _Call:
    """An operation under way."""

    __slots__ = (
        "attempts",
        "began",
        "deadline",
        "detail",
        "done",
        "key",
        "reads",
        "sent_at",
        "size",
        "value",
        "version",
    )

    def __init__(
        self, key: str, value: str | None, version: int, reads: int, began: float, deadline: float, done: Any
    ) -> None:
        self.key, self.value, self.version, self.reads = key, value, version, reads
        self.began, self.deadline, self.done = began, deadline, done
        self.attempts = 0
        self.sent_at = 0.0
        self.detail = "no node has answered"
        self.size = _bytes_in(key) + (0 if value is None else _bytes_in(value)) + 32

    def put(self, number: int) -> Any:
        return pb.Operation(id=number, put=pb.PutRequest(key=self.key, value=self.value, version=self.version))


class AsyncClient:
    """A client on the running event loop.

    Args:
        nodes: where the cluster's nodes are, "host:port"; not all of them need be there.
        timeout: seconds that an operation may take, retries included.
        token: what the cluster demands, None: nothing.
        authority: PEM file of the authority that signed the nodes' certificates; None: no TLS.
        certificate, key: PEM files of this client's own, if nodes ask for it.
        dial: where to reach a node, by its address, if not there: a proxy, for instance.
        metrics: what counts this client's operations; many clients of one event loop may share it.

    Raises:
        UsageError: no nodes, or files that cannot be read.
    """

    def __init__(
        self,
        nodes: Sequence[str],
        *,
        timeout: float = 10.0,
        token: str | None = None,
        authority: Path | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
        dial: Mapping[str, str] | None = None,
        metrics: ClientMetrics | None = None,
    ) -> None:
        if not nodes or isinstance(nodes, str):
            raise UsageError('a client needs a list of nodes: ["host:port", …]')
        self.nodes = list(nodes)
        self.timeout = timeout
        self._dial = dict(dial or {})
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._credentials = _credentials(authority, certificate, key)
        # Where the leader probably is; the nodes to try when it is not.
        self._target = self.nodes[0]
        self._turn = itertools.cycle(self.nodes)
        self._stream: _Stream | None = None
        self._queue: list[_Call] = []
        self._wake = asyncio.Event()
        self._refusals = 0
        self._closed = False
        self._metrics = metrics
        # Since when the nodes have not answered what is under way, though one had answered before.
        self._has_been_answered = False
        self._waits_since: float | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._run_in_background(self._send_loop())
        self._run_in_background(self._watch_clock())

    # -------------------------------------------------------------- operations

    async def get(self, key: str, *, reads: str | None = None, timeout: float | None = None) -> tuple[str, int, Err]:
        """(value, version, OK), or ("", 0, NO_KEY). `reads`: index, lease or log; None: as the node was started.

        Raises:
            Unavailable: no answer in time.
            Refused: the cluster does not take it.
        """
        answer = await self._ask(key, None, 0, reads, timeout)
        return answer.value, answer.version, answer.err

    async def put(self, key: str, value: str, version: int, *, timeout: float | None = None) -> Err:
        """Sets `key` if it has `version` (0: if it does not exist): OK, VERSION, NO_KEY, or MAYBE.

        Raises:
            Unavailable: no answer in time; it may have taken effect, or may yet.
            Refused: the cluster does not take it.
        """
        return (await self._ask(key, value, version, None, timeout)).err

    async def watch(self, key: str, *, prefix: bool = False) -> AsyncIterator[Watched]:
        """The key's value, or those of all keys with the prefix, then each change, until the caller stops.

        After a lost connection it goes on at another node, and may miss values in between, but never the latest.
        """
        seen: dict[str, int] = {}
        pause = PAUSE_SECONDS[0]
        while not self._closed:
            node = self._target if not seen else next(self._turn)
            try:
                async with self._connect(node) as channel:
                    request = pb.WatchRequest(key=key, prefix=prefix)
                    async for event in rpc.KVStub(channel).Watch(request, metadata=self._metadata):
                        pause = PAUSE_SECONDS[0]
                        if event.key and event.version > seen.get(event.key, 0):
                            seen[event.key] = event.version
                            yield Watched(event.key, event.value, event.version, event.is_change)
            except grpc.aio.AioRpcError as error:
                _raise_if_final(error)
                self._target = next(self._turn)
            await asyncio.sleep(pause)
            pause = min(2 * pause, PAUSE_SECONDS[1])

    async def status(self, node: str, *, timeout: float = 1.0) -> Any:
        """The `StatusResponse` of one node.

        Raises:
            Unavailable: it does not answer.
            Refused: it does not let this client in.
        """
        async with self._connect(node) as channel:
            return await self._unary(channel, "Status", pb.StatusRequest(), node, timeout)

    async def transfer_leadership(self, node: str, to: int, *, timeout: float = 1.0) -> bool:
        """Has `node` hand over to node number `to`; whether it leads, and so has begun."""
        async with self._connect(node) as channel:
            request = pb.TransferRequest(to=to)
            return bool((await self._unary(channel, "TransferLeadership", request, node, timeout)).begun)

    async def close(self) -> None:
        """Ends it; what is under way ends with Unavailable."""
        self._closed = True
        for task in tuple(self._tasks):
            task.cancel()
        calls = self._queue
        if self._stream is not None:
            calls = calls + list(self._stream.calls.values())
            await self._stream.close()
        for call in calls:
            if not call.done.done():
                call.done.set_exception(Closed("the client was closed"))

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.close()

    # -------------------------------------------------------------- how they are done

    def _ask(
        self, key: str, value: str | None, version: int, reads: str | None, timeout: float | None
    ) -> asyncio.Future[_Answer]:
        done = asyncio.get_running_loop().create_future()
        self.submit(key, value, version, reads, timeout, done)
        return done

    def submit(
        self, key: str, value: str | None, version: int, reads: str | None, timeout: float | None, done: Any
    ) -> None:
        """Begins an operation; `done` is a future of its `_Answer`."""
        if self._closed:
            done.set_exception(UsageError("the client is closed"))
            return
        try:
            number = _READS[reads]
        except (KeyError, TypeError):
            done.set_exception(UsageError(f"reads must be index, lease or log, not {reads!r}"))
            return
        now = time.monotonic()
        deadline = now + (self.timeout if timeout is None else timeout)
        try:
            call = _Call(key, value, version, number, now, deadline, done)
            if not 0 <= version < 1 << 64:
                raise ValueError(f"version {version} is not in 0..2**64 - 1")
        except (TypeError, ValueError) as error:
            done.set_exception(UsageError(f"keys and values are strings, versions whole numbers: {error}"))
            return
        self._queue.append(call)
        if self._metrics is not None:
            self._metrics.begun(value is not None, now, done, version)
        self._wake.set()

    def _run_in_background(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_loop(self) -> None:
        """Sends what is in the queue to the node that probably leads, all that fits in one message."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                stream = self._stream
                if stream is None or stream.is_over:
                    stream = await self._open()
                    if stream is None:
                        continue
                if len(stream.calls) >= MOST_UNANSWERED:
                    break  # an answer will wake it
                await stream.send(self._take())

    def _take(self) -> list[_Call]:
        size, now = 0, time.monotonic()
        taken: list[_Call] = []
        for count, call in enumerate(self._queue):
            size += call.size
            if taken and (size > CLIENT_MESSAGE_BYTES or count >= MOST_UNANSWERED):
                self._queue = self._queue[count:]
                return taken
            if not call.done.done():
                call.sent_at = now
                taken.append(call)
        self._queue = []
        return taken

    async def _open(self) -> _Stream | None:
        """A stream to the target; None if there is none to be had now: the target is another one then."""
        stream = _Stream(self, self._target)
        try:
            await asyncio.wait_for(stream.open(), ATTEMPT_SECONDS)
        except (grpc.aio.AioRpcError, TimeoutError) as error:
            await stream.close()
            detail = error.details() if isinstance(error, grpc.aio.AioRpcError) else "it does not answer"
            for call in self._queue:
                call.detail = f"{stream.node}: {detail}"
            if isinstance(error, grpc.aio.AioRpcError) and _is_final(error):
                self._fail_queue(Refused(error.details()))
            else:
                self._not_answered(self._queue)
                self._turn_away(stream.node)
                await self._pause()
            return None
        old, self._stream = self._stream, stream
        if old is not None:
            await old.close()
        return stream

    def _fail_queue(self, error: Exception) -> None:
        calls, self._queue = self._queue, []
        for call in calls:
            if not call.done.done():
                call.done.set_exception(error)

    def _turn_away(self, node: str) -> None:
        """`node` is not the one to ask."""
        while self._target == node:
            self._target = next(self._turn)
            if len(self.nodes) == 1:
                break

    async def _pause(self) -> None:
        """Once all nodes have refused, they are electing a leader: more refusals, longer pauses."""
        self._refusals += 1
        rounds = self._refusals // max(len(self.nodes), 1)
        if rounds:
            most = min(PAUSE_SECONDS[0] * 2 ** min(rounds, 8), PAUSE_SECONDS[1])
            await asyncio.sleep(most * random.uniform(0.5, 1.0))

    def on_results(self, stream: _Stream, batch: Any) -> None:
        """Answers have come."""
        calls = stream.calls
        for got in batch.got:
            self._refusals = 0
            self._answered()
            for number, value, version in zip(got.ids, got.values, got.versions, strict=False):
                call = calls.pop(number, None)
                if call is not None and not call.done.done():
                    call.done.set_result(_Answer(Err.OK if version else Err.NO_KEY, value, version))
        is_refused = is_busy = False
        for result in batch.results:
            call = stream.calls.pop(result.id, None)
            if call is None or call.done.done():
                continue
            if result.err == pb.BUSY:
                call.detail = f"{stream.node}: {result.detail}"
                is_busy = True
                self._send_again(call)
            elif result.err == pb.WRONG_LEADER:
                call.attempts += result.started
                call.detail = f"{stream.node} does not lead"
                is_refused = True
                if result.leader:
                    self._target = result.leader
                self._not_answered((call,))
                self._send_again(call)
            elif result.err == pb.INVALID:
                call.done.set_exception(Refused(result.detail))
            else:
                self._refusals = 0
                self._answered()
                err = _ERRORS[result.err]
                if err is Err.VERSION and call.attempts:
                    err = Err.MAYBE
                call.done.set_result(_Answer(err, result.value, result.version))
        if is_refused:
            if self._target == stream.node:
                self._turn_away(stream.node)
            stream.is_over = True
            for call in stream.drop():
                call.attempts += 1
                self._send_again(call)
            self._run_in_background(self._retry_soon())
        elif is_busy:
            self._run_in_background(self._retry_soon())
        elif self._queue:
            self._wake.set()

    def _send_again(self, call: _Call) -> None:
        self._queue.append(call)
        if self._metrics is not None:
            self._metrics.retried(call.value is not None)

    def _not_answered(self, calls: Sequence[_Call]) -> None:
        """`calls` have found no leader. If one had answered before, a failover has begun, when the first was sent."""
        if self._has_been_answered and self._waits_since is None and calls:
            self._waits_since = min(call.sent_at or call.began for call in calls)

    def _answered(self) -> None:
        self._has_been_answered = True
        if self._waits_since is not None:
            if self._metrics is not None:
                self._metrics.failed_over(time.monotonic() - self._waits_since)
            self._waits_since = None

    async def _retry_soon(self) -> None:
        await self._pause()
        self._wake.set()

    def on_lost(self, stream: _Stream, detail: str) -> None:
        """The stream is gone, and nobody knows what became of what was on it."""
        stream.is_over = True
        calls = stream.drop()
        for call in calls:
            call.attempts += 1
            call.detail = f"{stream.node}: {detail}"
            self._send_again(call)
        self._not_answered(calls)
        if self._target == stream.node:
            self._turn_away(stream.node)
        if calls:
            self._run_in_background(self._retry_soon())

    async def _watch_clock(self) -> None:
        """Ends what has had its time, and leaves a node that is silent."""
        while True:
            await asyncio.sleep(0.05)
            now = time.monotonic()
            stream = self._stream
            under_way = list(stream.calls.values()) if stream is not None else []
            for call in [*under_way, *self._queue]:
                if now > call.deadline and not call.done.done():
                    call.done.set_exception(Unavailable(f"no answer in time: {call.detail}"))
            self._queue = [call for call in self._queue if not call.done.done()]
            if stream is not None and not stream.is_over and under_way:
                waits_since = min(call.sent_at for call in under_way)
                if now - max(waits_since, stream.heard_at) > ATTEMPT_SECONDS:
                    self.on_lost(stream, "it does not answer")
                    await stream.close()

    # -------------------------------------------------------------- connections

    def _connect(self, node: str) -> grpc.aio.Channel:
        address = self._dial.get(node, node)
        if self._credentials is None:
            return grpc.aio.insecure_channel(address, channel_options())
        return grpc.aio.secure_channel(address, self._credentials, channel_options())

    async def _unary(self, channel: Any, method: str, request: Any, node: str, timeout: float) -> Any:
        try:
            return await getattr(rpc.KVStub(channel), method)(request, timeout=timeout, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            _raise_if_final(error)
            raise Unavailable(f"{node} does not answer: {error.details()}") from None


class _Stream:
    """A Pipeline to one node."""

    def __init__(self, client: AsyncClient, node: str) -> None:
        self.client, self.node = client, node
        self.calls: dict[int, _Call] = {}
        self.is_over = False
        self.heard_at = 0.0
        self._channel = client._connect(node)
        self._call: Any = None
        self._reader: asyncio.Task[None] | None = None
        self._next = 0

    async def open(self) -> None:
        """Raises: AioRpcError."""
        self._call = rpc.KVStub(self._channel).Pipeline(metadata=self.client._metadata)
        await self._call.initial_metadata()
        if self._call.done():
            await self._call.read()  # raises why
        self._reader = asyncio.get_running_loop().create_task(self._read())

    async def send(self, calls: list[_Call]) -> None:
        puts = []
        gets: dict[int, tuple[list[int], list[str]]] = {}
        for call in calls:
            self._next = number = self._next + 1
            self.calls[number] = call
            if call.value is not None:
                puts.append(call.put(number))
            else:
                ids, keys = gets.get(call.reads) or gets.setdefault(call.reads, ([], []))
                ids.append(number)
                keys.append(call.key)
        columns = [pb.Gets(ids=ids, keys=keys, reads=reads) for reads, (ids, keys) in gets.items()]
        try:
            await self._call.write(pb.OperationBatch(operations=puts, gets=columns))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
            self.client.on_lost(self, str(error))

    def drop(self) -> list[_Call]:
        """What was not answered, and will not be heard of here."""
        calls, self.calls = list(self.calls.values()), {}
        return [call for call in calls if not call.done.done()]

    async def _read(self) -> None:
        detail = "the connection has ended"
        try:
            while (batch := await self._call.read()) is not grpc.aio.EOF:
                self.heard_at = time.monotonic()
                self.client.on_results(self, batch)
            detail = (await self._call.details()) or detail
        except grpc.aio.AioRpcError as error:
            detail = error.details() or detail
        self.client.on_lost(self, detail)

    async def close(self) -> None:
        self.is_over = True
        if self._reader is not None and self._reader is not asyncio.current_task():
            self._reader.cancel()
        if self._call is not None:
            self._call.cancel()
        await self._channel.close()


class Client:
    """As `AsyncClient`, for threads; any number of them may use one. Close it, or use it in a `with` statement."""

    def __init__(self, nodes: Sequence[str], **options: Any) -> None:
        self._loop = _background_loop()
        self._client = self._wait(_make(nodes, options))

    def get(self, key: str, *, reads: str | None = None, timeout: float | None = None) -> tuple[str, int, Err]:
        """See `AsyncClient.get`."""
        answer = self._submit(key, None, 0, reads, timeout).result()
        return answer.value, answer.version, answer.err

    def put(self, key: str, value: str, version: int, *, timeout: float | None = None) -> Err:
        """See `AsyncClient.put`."""
        return self._submit(key, value, version, None, timeout).result().err

    def put_later(
        self, key: str, value: str, version: int, *, timeout: float | None = None
    ) -> concurrent.futures.Future[Err]:
        """Begins a put; its future has what `put` returns."""
        return self._later(self._client.put(key, value, version, timeout=timeout))

    def get_later(
        self, key: str, *, reads: str | None = None, timeout: float | None = None
    ) -> concurrent.futures.Future[tuple[str, int, Err]]:
        """Begins a get; its future has what `get` returns."""
        return self._later(self._client.get(key, reads=reads, timeout=timeout))

    def watch(self, key: str, *, prefix: bool = False) -> Iterator[Watched]:
        """See `AsyncClient.watch`; waits for the next change at each step."""
        events = self._client.watch(key, prefix=prefix)
        try:
            while True:
                yield self._wait(anext(events))  # type: ignore[arg-type]
        except StopAsyncIteration:
            return
        finally:
            self._wait(events.aclose())  # type: ignore[attr-defined]

    def status(self, node: str, *, timeout: float = 1.0) -> Any:
        """See `AsyncClient.status`."""
        return self._wait(self._client.status(node, timeout=timeout))

    def transfer_leadership(self, node: str, to: int, *, timeout: float = 1.0) -> bool:
        """See `AsyncClient.transfer_leadership`."""
        return self._wait(self._client.transfer_leadership(node, to, timeout=timeout))

    def close(self) -> None:
        """See `AsyncClient.close`."""
        self._wait(self._client.close())

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _submit(self, *arguments: Any) -> concurrent.futures.Future[_Answer]:
        done: concurrent.futures.Future[_Answer] = concurrent.futures.Future()
        self._loop.submit(self._client, (*arguments, done))
        return done

    def _later(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop.loop)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self._later(work).result()


async def _make(nodes: Sequence[str], options: dict[str, Any]) -> AsyncClient:
    return AsyncClient(nodes, **options)


class _BackgroundLoop:
    """The event loop of all `Client`s of this process, on a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._mu = threading.Lock()
        # Operations that the loop has not seen yet: one wake-up serves all that come before it runs.
        self._submitted: list[tuple[AsyncClient, tuple[Any, ...]]] = []
        self._thread = threading.Thread(target=self.loop.run_forever, name="kvraft client", daemon=True)
        self._thread.start()
        atexit.register(self._stop)

    def submit(self, client: AsyncClient, arguments: tuple[Any, ...]) -> None:
        """Begins an operation. Any thread."""
        with self._mu:
            self._submitted.append((client, arguments))
            is_first = len(self._submitted) == 1
        if is_first:
            self.loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        with self._mu:
            submitted, self._submitted = self._submitted, []
        for client, arguments in submitted:
            client.submit(*arguments)

    def _stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(1.0)


_loop: _BackgroundLoop | None = None
_loop_mu = threading.Lock()


def _background_loop() -> _BackgroundLoop:
    global _loop
    with _loop_mu:
        if _loop is None:
            _loop = _BackgroundLoop()
        return _loop


def _credentials(authority: Path | None, certificate: Path | None, key: Path | None) -> Any:
    if authority is None:
        if certificate or key:
            raise UsageError("a certificate needs the authority of the nodes' certificates, too")
        return None
    if (certificate is None) != (key is None):
        raise UsageError("a certificate and its key go together")
    try:
        own = (key.read_bytes(), certificate.read_bytes()) if key and certificate else (None, None)
        return grpc.ssl_channel_credentials(authority.read_bytes(), *own)
    except OSError as error:
        raise UsageError(f"cannot read {error.filename}: {error.strerror}") from None


def _bytes_in(text: str) -> int:
    """Raises: TypeError, UnicodeEncodeError: it is no text."""
    if not isinstance(text, str):
        raise TypeError(f"{text!r} is a {type(text).__name__}")
    return len(text) if text.isascii() else len(text.encode())


def _is_final(error: grpc.aio.AioRpcError) -> bool:
    """Whether trying again, or elsewhere, will not help."""
    return error.code() in (
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNIMPLEMENTED,
    )


def _raise_if_final(error: grpc.aio.AioRpcError) -> None:
    if _is_final(error):
        raise Refused(error.details()) from None
