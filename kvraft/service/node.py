"""One node of the store: Raft, its log on the disk, the store, and what clients wait for.

    puts, logged gets --> batch --> one log entry --> EventRaft ... committed --> applier --> Store --> answers
    gets -------------> one read-index round for all that wait ----------------------------> Store --> answers

Everything runs on one event loop, but for the fsyncs (`LogStore`) and the encoding of snapshots. A batch holds the
operations that came while `settings.batches` of them were under way: the more clients, the fewer entries, messages
and fsyncs an operation costs.

To watch it: `listeners` (kvraft/service/events.py), `status()`, and the attributes here. To disturb it: give it another
`Transport`, or let it dial a proxy (`Settings.dial`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from kvraft.rpc import GetArgs, PutArgs
from kvraft.service import kvraft_pb2 as pb
from kvraft.service.event_raft import EventRaft
from kvraft.service.events import Listeners, SaveTimes
from kvraft.service.log_store import LogStore, SnapshotFile
from kvraft.service.service_store import ServiceStore
from kvraft.service.settings import Settings, check_identity
from labrpc import decode
from labrpc.files import Files, RealFiles
from raft.messages import ApplyMsg, InstallSnapshotArgs
from raft.production import Options
from raft.raft import Role

__all__ = ["Gets", "Node", "Operation", "Transport"]

log = logging.getLogger("kvraft")

MOST_BATCH_BYTES = 512 << 10
"""Bytes of keys and values in one log entry, unless a single operation is larger."""

OPERATIONS_A_SLICE = 500
"""Operations applied before others get their turn on the loop."""

READ_MODES = {pb.INDEX: "index", pb.LEASE: "lease", pb.LOG: "log"}


class LoggedOperation(msgspec.Struct, array_like=True, gc=False):
    """An operation in a log entry; `value` None: a get."""

    key: str
    value: str | None
    version: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[LoggedOperation]).decode
_NUMBERS = dict(pb.Err.items())
_NAMES = {number: name for name, number in pb.Err.items()}
_ANSWERS = frozenset({pb.OK, pb.NO_KEY, pb.VERSION})


class Operation:
    """What a client asks. `finish` is called once with the result."""

    __slots__ = ("began", "finish", "key", "reads", "value", "version")

    def __init__(
        self,
        finish: Callable[[Any], object],
        key: str,
        value: str | None = None,
        version: int = 0,
        reads: str | None = None,
    ) -> None:
        self.finish = finish
        self.key, self.value, self.version, self.reads = key, value, version, reads
        self.began = 0.0


class Gets:
    """Gets that came together and are answered together, by a read-index round or on the lease.

    `finish` is called with a `Got`, or with a list of `Result`s for those that were refused; with both, one after the
    other, if they do not fare alike.
    """

    __slots__ = ("began", "finish", "ids", "keys", "reads")

    def __init__(
        self, finish: Callable[[Any], object], ids: Sequence[int], keys: Sequence[str], reads: str | None = None
    ) -> None:
        self.finish, self.ids, self.keys, self.reads = finish, ids, keys, reads
        self.began = 0.0


class Waiting(NamedTuple):
    """Operations in an entry of this leader's."""

    term: int
    operations: list[Operation]


class Transport(Protocol):
    """How a node reaches its peers. All methods are called on the node's loop, and what it calls as well."""

    def start(self, node: Node) -> None:
        """Connects, and stays connected, until `close`; tells `node` (`on_…`)."""

    def is_connected(self, peer: int) -> bool: ...

    def send(self, peer: int, sequence: int, payload: bytes) -> None:
        """Sends a request; `node.on_reply` gets the reply, or `node.on_disconnected` is called."""

    def send_snapshot(self, peer: int, request: InstallSnapshotArgs, snapshot: SnapshotFile) -> None:
        """Sends a snapshot; `node.on_snapshot_sent` gets the reply, or None."""

    def reset(self, peer: int) -> None:
        """Gives up the connection to `peer` and makes a new one."""

    async def close(self) -> None: ...


class Node:
    """One node. Make it, then `await start()` on the event loop that it is to run on, and `await stop()` at the end.

    Attributes:
        settings, listeners: as given; `files` opens the log's directory.
        raft: its Raft, for those who look; None before `start`.
        store: the store as far as it has been applied.
        failed: completes with the error when the node cannot go on.
        writes, reads, saves: counts since the start.

    Raises (start):
        UsageError: the data directory is another's or in use.
        DiskCorruption: what was durable is damaged.
        OSError: of the file system.
    """

    def __init__(
        self,
        settings: Settings,
        transport: Transport,
        listeners: Iterable[Any] = (),
        *,
        files: Callable[[Path], Files] = RealFiles,
    ) -> None:
        self.settings = settings
        self.transport = transport
        self._files = files
        self.listeners = Listeners(listeners)
        self.store = ServiceStore()
        self.raft: EventRaft = None  # type: ignore[assignment]
        self.log_store: LogStore = None  # type: ignore[assignment]
        self.failed: asyncio.Future[BaseException]
        self.started_at = time.monotonic()
        self.writes = self.reads = self.saves = 0
        self.under_way = 0
        """Operations taken and not answered."""
        self.is_stopping = False
        # Writes that wait for a batch; batches under way, by index; gets that wait for a round, and for the applier.
        self._batch: list[Operation] = []
        self._waiting: dict[int, Waiting] = {}
        self._gets: list[Gets] = []
        self._confirmed: list[tuple[int, list[Gets]]] = []
        self._batch_is_due = self._gets_are_due = False
        self._work = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._is_taking_snapshot = False
        self._last_role = ("follower", 0, None)
        # What listeners have been told of: elections started and won. When snapshots went to peers.
        self._elections_told = (0, 0)
        self._snapshots_sent_at: dict[int, float] = {}

    # -------------------------------------------------------------- life

    async def start(self) -> None:
        """Opens the directory, and takes part in the cluster."""
        loop = asyncio.get_running_loop()
        self.failed = loop.create_future()
        check_identity(self.settings)
        self.log_store = LogStore(
            self.settings.data / "raft",
            deliver=lambda function: _deliver(loop, function),
            on_failure=self.fail,
            on_commit=lambda *numbers: _deliver(loop, lambda: self._saved(*numbers)),
            files=self._files(self.settings.data / "raft"),
        )
        if self.log_store.dropped:
            log.warning("dropped %d bytes that a crash had cut short; nobody was told of them", self.log_store.dropped)
        if self.log_store.snapshot is not None:
            await self.store.load(self.log_store.snapshot.pieces())
            self.store.index = self.log_store.last_included_index
        options = Options(pre_vote=True, check_quorum=True, leases=True, no_op=True)
        self.raft = EventRaft(
            len(self.settings.peers), self.settings.id, self.log_store, self, options, self.settings.timing
        )
        self.transport.start(self)
        self._tasks.append(loop.create_task(self._guard(self._applier())))

    async def stop(self) -> None:
        """Finishes what is under way, hands over if it leads, makes all durable and gives the directory back."""
        self.is_stopping = True
        if self.raft is not None and not self.raft.killed:
            await self._until(lambda: not self.under_way, self.settings.drain_seconds)
            await self._hand_over()
            self.raft.kill()
        self._refuse_all()
        await self.transport.close()
        for task in self._tasks:
            task.cancel()
        if self.log_store is not None:
            await asyncio.to_thread(self.log_store.close)

    async def _hand_over(self) -> None:
        raft = self.raft
        successors = [peer for peer in raft.others if self.transport.is_connected(peer)]
        if raft.role is Role.LEADER and successors:
            target = max(successors, key=lambda peer: raft.match_index[peer])
            if raft.transfer_leadership(target):
                await self._until(lambda: raft.role is not Role.LEADER, 2 * self.settings.timing.election[1])

    async def _until(self, condition: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition() and time.monotonic() < deadline:
            await asyncio.sleep(0.01)

    def fail(self, error: BaseException) -> None:
        """The node cannot go on: it answers nothing any more. `failed` tells why."""
        if self.failed.done():
            return
        log.error("node %d stops: %s", self.settings.id, error)
        self.is_stopping = True
        if self.raft is not None:
            self.raft.kill()
        self._refuse_all()
        self.listeners.tell("failed", error)
        self.failed.set_result(error)

    async def _guard(self, work: Any) -> None:
        try:
            await work
        except Exception as error:
            log.exception("node %d fails", self.settings.id)
            self.fail(error)

    @property
    def is_started(self) -> bool:
        """Whether it has found what is on its disk, and takes part."""
        return self.raft is not None

    # -------------------------------------------------------------- operations of clients

    def submit(self, operation: Operation) -> None:
        """Takes an operation; it is answered by its `finish`, perhaps at once."""
        if operation.value is None and (operation.reads or self.settings.reads) != "log":
            finish = operation.finish
            self.submit_gets(Gets(lambda answer: finish(_only(answer)), [0], [operation.key], operation.reads))
            return
        operation.began = time.monotonic()
        self.under_way += 1
        if problem := self._problem(operation.key, operation.value):
            self._finish(operation, pb.Result(err=pb.INVALID, detail=problem))
        elif self.under_way > self.settings.limits.operations:
            detail = f"{self.settings.limits.operations} operations are under way; try again later"
            self._finish(operation, pb.Result(err=pb.BUSY, detail=detail))
        elif self.is_stopping or self.raft.role is not Role.LEADER:
            self._refuse(operation, started=False)
        else:
            self._batch.append(operation)
            self._begin_batches_soon()

    def submit_gets(self, gets: Gets) -> None:
        """Takes gets by index or lease; they are answered by their `finish`, perhaps at once."""
        gets.began = time.monotonic()
        limits = self.settings.limits
        if not all(gets.keys) or max(map(len, gets.keys), default=0) * 4 > limits.key_bytes:
            gets = self._without(gets, [self._problem(key, None) for key in gets.keys], pb.INVALID)
        if (excess := self.under_way + len(gets.ids) - limits.operations) > 0:
            detail = f"{limits.operations} operations are under way; try again later"
            room = max(len(gets.ids) - excess, 0)
            gets = self._without(gets, [""] * room + [detail] * (len(gets.ids) - room), pb.BUSY)
        self.under_way += len(gets.ids)
        if self.is_stopping or self.raft.role is not Role.LEADER:
            self._refuse_gets(gets)
        elif gets.ids:
            self._gets.append(gets)
            if not self._gets_are_due:
                self._gets_are_due = True
                self.raft.loop.call_soon(self._ask_for_reads)

    def _without(self, gets: Gets, problems: list[str], err: int) -> Gets:
        """The gets that have no problem; the others are answered."""
        bad = [
            pb.Result(id=number, err=err, detail=problem)
            for number, problem in zip(gets.ids, problems, strict=True)
            if problem
        ]
        if not bad:
            return gets
        self._tell_of_gets(gets, len(bad), err)
        gets.finish(bad)
        kept = [
            (number, key) for number, key, problem in zip(gets.ids, gets.keys, problems, strict=True) if not problem
        ]
        rest = Gets(gets.finish, [number for number, _ in kept], [key for _, key in kept], gets.reads)
        rest.began = gets.began
        return rest

    def _problem(self, key: str, value: str | None) -> str:
        limits = self.settings.limits
        if not key:
            return "the key is empty"
        for what, text, most in (("key", key, limits.key_bytes), ("value", value, limits.value_bytes)):
            if text is not None and len(text) * 4 > most and (size := len(text.encode())) > most:
                return f"the {what} has {size} bytes, this cluster takes at most {most}"
        return ""

    def _begin_batches_soon(self) -> None:
        if not self._batch_is_due:
            self._batch_is_due = True
            self.raft.loop.call_soon(self._begin_batches)

    def _begin_batches(self) -> None:
        self._batch_is_due = False
        while self._batch and len(self._waiting) < self.settings.batches:
            operations = self._take_batch()
            command = _encode([LoggedOperation(each.key, each.value, each.version) for each in operations])
            place = self.raft.propose(command)
            if place is None:
                for operation in operations:
                    self._refuse(operation, started=False)
            else:
                index, term = place
                self._waiting[index] = Waiting(term, operations)
                self.listeners.tell("batch_proposed", index, len(operations))

    def _take_batch(self) -> list[Operation]:
        size = 0
        for count, operation in enumerate(self._batch):
            size += len(operation.key) + len(operation.value or "")
            if size > MOST_BATCH_BYTES and count:
                break
        else:
            count = len(self._batch)
        operations, self._batch = self._batch[:count], self._batch[count:]
        return operations

    def _ask_for_reads(self) -> None:
        self._gets_are_due = False
        gets, self._gets = self._gets, []
        leased = [get for get in gets if (get.reads or self.settings.reads) == "lease"]
        index = self.raft.lease_read() if leased else None
        if index is not None:
            self.listeners.tell("reads_confirmed", "lease", _count(leased), 0.0)
            self._read_at(index, leased)
            gets = [get for get in gets if (get.reads or self.settings.reads) != "lease"]
        if gets:
            began = time.monotonic()
            self.raft.read(lambda index: self._round_ended(index, gets, began))

    def _round_ended(self, index: int | None, gets: list[Gets], began: float) -> None:
        if index is not None:
            self.listeners.tell("reads_confirmed", "index", _count(gets), time.monotonic() - began)
        self._read_at(index, gets)

    def _read_at(self, index: int | None, gets: list[Gets]) -> None:
        """The state from `index` on may be shown to `gets`; None: this node cannot say."""
        if index is None:
            for each in gets:
                self._refuse_gets(each)
        elif index > self.store.index:
            self._confirmed.append((index, gets))
        else:
            for each in gets:
                values, versions = self.store.look(each.keys)
                count = len(versions)
                self.under_way -= count
                self.reads += count
                self._tell_of_gets(each, count - versions.count(0), pb.OK)
                self._tell_of_gets(each, versions.count(0), pb.NO_KEY)
                each.finish(pb.Got(ids=each.ids, values=values, versions=versions))

    def _refuse_gets(self, gets: Gets) -> None:
        self.under_way -= len(gets.ids)
        self._tell_of_gets(gets, len(gets.ids), pb.WRONG_LEADER)
        leader = self.leader_address
        gets.finish([pb.Result(id=number, err=pb.WRONG_LEADER, leader=leader) for number in gets.ids])

    def _tell_of_gets(self, gets: Gets, count: int, err: int) -> None:
        if count:
            self.listeners.tell("operations_done", "get", _NAMES[err], count, time.monotonic() - gets.began)

    def _do(self, key: str, value: str | None, version: int) -> Any:
        """One operation on the store."""
        if value is None:
            got = self.store.get(GetArgs(key))
            return pb.Result(err=_NUMBERS[got.err.value], value=got.value, version=got.version)
        return pb.Result(err=_NUMBERS[self.store.put(PutArgs(key, value, version)).err.value])

    def _finish(self, operation: Operation, result: Any) -> None:
        self.under_way -= 1
        if result.err in _ANSWERS:
            if operation.value is None:
                self.reads += 1
            else:
                self.writes += 1
        if self.listeners.hear("operations_done"):
            kind = "get" if operation.value is None else "put"
            self.listeners.tell("operations_done", kind, _NAMES[result.err], 1, time.monotonic() - operation.began)
        operation.finish(result)

    def _refuse(self, operation: Operation, *, started: bool) -> None:
        self._finish(operation, pb.Result(err=pb.WRONG_LEADER, leader=self.leader_address, started=started))

    def _refuse_all(self) -> None:
        """What is under way here will not be answered otherwise."""
        batch, self._batch = self._batch, []
        waiting, self._waiting = self._waiting, {}
        confirmed, self._confirmed = self._confirmed, []
        gets, self._gets = self._gets, []
        for operation in batch:
            self._refuse(operation, started=False)
        for each in [*gets, *(each for _, part in confirmed for each in part)]:
            self._refuse_gets(each)
        for entry in waiting.values():
            for operation in entry.operations:
                self._refuse(operation, started=True)

    @property
    def leader_address(self) -> str:
        """Where the leader is, as far as this node knows; "" if it does not."""
        leader = self.raft.leader_id if self.raft is not None else None
        return (
            "" if leader is None or (leader == self.settings.id and self.is_stopping) else self.settings.peers[leader]
        )

    # -------------------------------------------------------------- the applier

    async def _applier(self) -> None:
        """Does what Raft has agreed on, in order."""
        since_pause = 0
        while True:
            await self._work.wait()
            self._work.clear()
            while messages := self.raft.next_to_apply():
                for message in messages:
                    if message.snapshot_valid:
                        await self._install(message)
                        continue
                    since_pause += self._apply(message.command_index, message.command)
                    if since_pause >= OPERATIONS_A_SLICE:
                        since_pause = 0
                        await asyncio.sleep(0)
                self._applied()

    def _apply(self, index: int, command: bytes | None) -> int:
        waiting = self._waiting.pop(index, None)
        operations = [] if command is None else _decode(command)
        self.store.index = index
        if waiting is None:  # nobody here wants to know the results
            for each in operations:
                if each.value is not None:
                    self.store.put(PutArgs(each.key, each.value, each.version))
        else:
            results = [self._do(each.key, each.value, each.version) for each in operations]
            is_own = self.raft.log.last_included_index < index and self.raft.log.term_at(index) == waiting.term
            for operation, result in zip(waiting.operations, results, strict=is_own) if is_own else ():
                self._finish(operation, result)
            if not is_own:
                for operation in waiting.operations:
                    self._refuse(operation, started=True)
        self.listeners.tell("applied", index, len(operations))
        return len(operations)

    def _applied(self) -> None:
        """The store has moved on."""
        index = self.store.index
        if self._confirmed:
            ready = [gets for needed, gets in self._confirmed if needed <= index]
            self._confirmed = [each for each in self._confirmed if each[0] > index]
            for gets in ready:
                self._read_at(index, gets)
        if self._batch:
            self._begin_batches_soon()
        if self.raft.log.size > self.settings.snapshot_bytes and not self._is_taking_snapshot:
            self._is_taking_snapshot = True
            taking = self._take_snapshot(index, self.store.frozen())
            self._tasks.append(self.raft.loop.create_task(self._guard(taking)))

    async def _take_snapshot(self, index: int, frozen: dict[str, tuple[str, int]]) -> None:
        began, size = time.monotonic(), 0
        self.listeners.tell("snapshot_began", "take", None)
        try:
            file = await asyncio.to_thread(self.log_store.write_snapshot, self.store.pieces(frozen))
            size = len(file)
        finally:
            self.listeners.tell("snapshot_ended", "take", None, size, time.monotonic() - began)
        self._is_taking_snapshot = False
        self._tasks = [task for task in self._tasks if not task.done()]
        if not self.raft.killed:
            self.raft.snapshot(index, file)  # type: ignore[arg-type]
            self.listeners.tell("snapshot_taken", index, len(file), time.monotonic() - began)

    async def _install(self, message: ApplyMsg) -> None:
        snapshot: Any = message.snapshot
        await self.store.load(snapshot.pieces())
        self.store.index = message.snapshot_index
        self.listeners.tell("snapshot_installed", message.snapshot_index, len(snapshot))

    # -------------------------------------------------------------- what EventRaft asks for

    def is_connected(self, peer: int) -> bool:
        return self.transport.is_connected(peer)

    def send(self, peer: int, sequence: int, request: Any, payload: bytes) -> None:
        if self.listeners.hear("request_sent"):
            self.listeners.tell("request_sent", peer, request, len(payload))
        self.transport.send(peer, sequence, payload)

    def send_snapshot(self, peer: int, request: InstallSnapshotArgs, snapshot: SnapshotFile) -> None:
        if self.listeners.hear("request_sent"):
            self.listeners.tell("request_sent", peer, request, len(snapshot))
        self._snapshots_sent_at[peer] = time.monotonic()
        self.listeners.tell("snapshot_began", "send", peer)
        self.transport.send_snapshot(peer, request, snapshot)

    def reset(self, peer: int) -> None:
        self.transport.reset(peer)

    def role_changed(self) -> None:
        role = (self.raft.role.value, self.raft.current_term, self.raft.leader_id)
        if self.raft.role is not Role.LEADER:
            self._refuse_all()
        if role != self._last_role:
            self._last_role = role  # type: ignore[assignment]
            log.info("node %d: %s in term %d, leader %s", self.settings.id, *role)
            self.listeners.tell("role_changed", *role)
        self._tell_elections()

    def _tell_elections(self) -> None:
        raft, (started, won) = self.raft, self._elections_told
        self._elections_told = raft.elections_started, raft.elections_won
        if raft.elections_started > started:
            self.listeners.tell("election_started", raft.current_term)
        if raft.elections_won > won:
            self.listeners.tell("election_won", raft.current_term, *raft.last_election)

    def commit_moved(self) -> None:
        self._work.set()
        if self.listeners.hear("committed"):
            self.raft.loop.call_soon(self.listeners.tell, "committed", self.raft.commit_index)

    def _saved(self, saves: int, size: int, seconds: float, times: SaveTimes) -> None:
        self.saves += 1
        self.listeners.tell("saved", saves, size, seconds)
        self.listeners.tell("save_timed", times._replace(acknowledged=time.monotonic()))

    # -------------------------------------------------------------- what the transport tells

    def receive(self, peer: int, payload: bytes, reply_to: Callable[[bytes], object]) -> None:
        """A request of `peer`'s has come.

        Raises:
            CodecError, KeyError: it is none.
        """
        args = decode(payload)
        if self.listeners.hear("request_received"):
            self.listeners.tell("request_received", peer, args, len(payload))
            reply_to = self._timed(peer, args, reply_to)
        if self.raft.killed:
            return
        try:
            self.raft.receive(args, reply_to)
        except (AssertionError, IndexError) as error:  # a rule of Raft's is broken: better no node than a wrong one
            self.fail(error)

    def _timed(self, peer: int, args: Any, reply_to: Callable[[bytes], object]) -> Callable[[bytes], object]:
        began = time.monotonic()

        def reply(payload: bytes) -> None:
            self.listeners.tell("request_handled", peer, args, len(payload), time.monotonic() - began)
            reply_to(payload)

        return reply

    async def receive_snapshot(self, peer: int, args: InstallSnapshotArgs, pieces: Iterable[bytes]) -> bytes:
        """A snapshot of `peer`'s has come; returns the reply once it is durable. `pieces` may wait, on a thread."""
        if self.listeners.hear("request_received"):
            self.listeners.tell("request_received", peer, args, 0)
        self.listeners.tell("snapshot_began", "install", peer)
        began, size = time.monotonic(), 0
        try:
            file: Any = await asyncio.to_thread(self.log_store.write_snapshot, pieces)
            args.data, size = file, len(file)
            done: asyncio.Future[bytes] = self.raft.loop.create_future()
            self.raft.receive(args, done.set_result)
            return await done
        finally:
            self.listeners.tell("snapshot_ended", "install", peer, size, time.monotonic() - began)

    def on_reply(self, peer: int, sequence: int, payload: bytes) -> None:
        if self.listeners.hear("reply_received"):
            self.listeners.tell("reply_received", peer, len(payload))
            if (flight := self.raft.flights[peer].get(sequence)) is not None:
                self.listeners.tell("request_ended", peer, flight.request, True, time.monotonic() - flight.sent_at)
        if not self.raft.killed:
            self.raft.on_reply(peer, sequence, payload)

    def on_connected(self, peer: int) -> None:
        self.listeners.tell("peer_connected", peer, True)
        self.raft.on_connected(peer)

    def on_disconnected(self, peer: int) -> None:
        self.listeners.tell("peer_connected", peer, False)
        now = time.monotonic()
        for flight in self.raft.flights[peer].values():
            self.listeners.tell("request_ended", peer, flight.request, False, now - flight.sent_at)
        self.raft.on_disconnected(peer)

    def on_snapshot_sent(self, peer: int, request: InstallSnapshotArgs, payload: bytes | None) -> None:
        now = time.monotonic()
        seconds = now - self._snapshots_sent_at.pop(peer, now)
        self.listeners.tell("request_ended", peer, request, payload is not None, seconds)
        self.listeners.tell("snapshot_ended", "send", peer, 0, seconds)
        self.raft.on_snapshot_sent(peer, request, payload)

    # -------------------------------------------------------------- to look at

    def depths(self) -> dict[str, int]:
        """How much waits at each place of this node; once it is started.

        batch, reads, apply: operations that wait for an entry of the log, for a round, for the applier (gets).
        committed: entries that are committed and not applied. persist: saves that the disk has not taken.
        flights: requests to peers that are not answered.
        """
        raft = self.raft
        return {
            "batch": len(self._batch),
            "reads": len(self._gets) + len(raft.waiting_reads),
            "apply": sum(len(gets) for _, gets in self._confirmed),
            "committed": max(raft.commit_index - self.store.index, 0),
            "persist": self.log_store.pending,
            "flights": sum(map(len, raft.flights)),
        }

    def status(self) -> Any:
        """A `StatusResponse`."""
        raft, now = self.raft, time.monotonic()
        is_leader = raft.role is Role.LEADER
        peers = [
            pb.PeerStatus(
                id=peer,
                address=self.settings.peers[peer],
                is_connected=peer == self.settings.id or self.transport.is_connected(peer),
                match_index=raft.match_index[peer] if is_leader and peer != self.settings.id else 0,
                silent_seconds=now - raft.answered_at[peer] if is_leader and peer != self.settings.id else 0,
            )
            for peer in range(len(self.settings.peers))
        ]
        return pb.StatusResponse(
            id=self.settings.id,
            cluster=self.settings.cluster,
            role=raft.role.value,
            term=raft.current_term,
            leader=self.leader_address,
            commit_index=raft.commit_index,
            applied_index=self.store.index,
            last_index=raft.log.last_index,
            snapshot_index=raft.log.last_included_index,
            log_bytes=raft.log.size,
            keys=len(self.store),
            writes=self.writes,
            reads=self.reads,
            saves=self.saves,
            uptime_seconds=now - self.started_at,
            version="0.1.0",
            peers=peers,
        )


def _only(answer: Any) -> Any:
    """The `Result` of a single get."""
    if isinstance(answer, list):
        return answer[0]
    version = answer.versions[0]
    return pb.Result(err=pb.OK if version else pb.NO_KEY, value=answer.values[0], version=version)


def _deliver(loop: asyncio.AbstractEventLoop, function: Callable[[], object]) -> None:
    try:
        loop.call_soon_threadsafe(function)
    except RuntimeError:  # the loop is closed: nobody is left to be told
        pass


def _count(gets: list[Gets]) -> int:
    return sum(len(each.ids) for each in gets)
