"""One real Raft server on a host, whose peers, network, disk and time are all in the test's hands.

    test --ask(args)--> server --> its reply        test <--next_call()-- server, which test answers, or loses, or not
    test --advance(0.5)--> its clock                test <--applied, durable, history-- server

Nothing disturbs the server but the test: no thread stalls, each save takes exactly `save_ns`, a message arrives at the
instant at which the test sends it. The driver knows the server by its interface and its messages alone: to read a log,
it has a copy of the server, restarted from its durable bytes, lead and replicate it (`LoneServer.log`).
Everything the host reports against the server (a dead thread, a deadlock, an RPC under a lock) fails the test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labrpc import frames
from labrpc.codec import decode, encode
from labrpc.persister import MemoryPersister
from labrpc.streams import Streams
from labrpc.virtual.host import Host
from raft import (
    AppendEntriesArgs,
    AppendEntriesReply,
    ApplyMsg,
    InstallSnapshotArgs,
    InstallSnapshotReply,
    LogEntry,
    RequestVoteArgs,
    RequestVoteReply,
)
from raft.raft import ELECTION_TIMEOUT, HEARTBEAT_INTERVAL, RPC_TIMEOUT
from tester.run import Options

__all__ = [
    "HEARTBEAT_INTERVAL",
    "LONGEST_TIMEOUT",
    "PROGRAMS",
    "RPC_TIMEOUT",
    "SHORTEST_TIMEOUT",
    "Bench",
    "LoneServer",
    "SentCall",
    "commands",
    "entries",
    "heartbeat",
    "terms",
]

SHORTEST_TIMEOUT, LONGEST_TIMEOUT = ELECTION_TIMEOUT

PROGRAM = "tests.harness.paper.programs.lone_raft"
PROGRAMS = {PROGRAM: Path(__file__).parent / "programs" / "lone_raft.py"}

_QUANTUM_NS = 1_000_000
_PATIENCE = 5.0
"""Seconds of virtual time after which a server that does not do what it must has failed."""

_MOST_CALLS = 2000
"""Messages that one incarnation may send: no test here needs so many, and a flood must fail, not run for ever."""

_METHODS = {
    RequestVoteArgs: "Raft.request_vote",
    AppendEntriesArgs: "Raft.append_entries",
    InstallSnapshotArgs: "Raft.install_snapshot",
}


def entries(*terms: int, first: int = 1) -> list[LogEntry]:
    """Entries with these terms, from index `first` on. Each one's command tells its index and term apart."""
    return [LogEntry(term, f"{first + offset}@{term}") for offset, term in enumerate(terms)]


def terms(log: Sequence[LogEntry]) -> list[int]:
    return [entry.term for entry in log]


def commands(applied: Sequence[ApplyMsg]) -> list[tuple[int, Any]]:
    """(index, command) of each applied command."""
    return [(message.command_index, message.command) for message in applied if message.command_valid]


def heartbeat(
    term: int, prev: tuple[int, int] = (0, 0), *, sent: Sequence[LogEntry] = (), commit: int = 0, leader: int = 1
) -> AppendEntriesArgs:
    """AppendEntries from `leader`, with `sent` after `prev` = (index, term); without `sent` a heartbeat."""
    return AppendEntriesArgs(term, leader, prev[0], prev[1], list(sent), commit)


@dataclass(eq=False)
class SentCall:
    """An RPC that the server has sent, at virtual time `at_ns`."""

    number: int
    to: int
    args: Any
    at_ns: int
    seen: bool = False
    """Whether `next_call` has returned it."""
    over: bool = False
    """Whether it was answered or lost."""


class Bench:
    """Makes lone servers, and ends them.

    Args:
        options: whose `solution` the servers run.
    """

    def __init__(self, options: Options | None = None) -> None:
        self.bundle = (options or Options(programs=PROGRAMS)).bundle()
        self._servers: list[LoneServer] = []

    def __call__(self, **arguments: Any) -> LoneServer:
        """A running server; see `LoneServer`."""
        server = LoneServer(self, **arguments)
        self._servers.append(server)
        return server

    def close(self) -> None:
        for server in self._servers:
            if server.is_up:
                server.crash()


class LoneServer:
    """One Raft server of a cluster in which it is the only one that exists.

    Args:
        me, servers: its place, and the cluster's size.
        seed: of its random choices, the election timeouts.
        save_ns: how long each save takes.
        slow_clock: whether its clock runs a hundred times too slow, so that it does not stand while others can.
        now_ns: virtual time at which it starts.
        disk: what it starts from.
    """

    def __init__(
        self,
        bench: Bench,
        *,
        me: int = 0,
        servers: int = 5,
        seed: int = 1,
        save_ns: int = 0,
        slow_clock: bool = False,
        now_ns: int = 0,
        disk: MemoryPersister | None = None,
    ) -> None:
        self.me = me
        self.servers = servers
        self.peers = [peer for peer in range(servers) if peer != me]
        self.slow_clock = slow_clock
        self.now_ns = now_ns
        self.calls: list[SentCall] = []
        """Every RPC that this incarnation has sent, in order."""
        self.applied: list[ApplyMsg] = []
        """What this incarnation has handed to its service, in order."""
        self.history: list[str] = []
        """What this incarnation did, a phrase each, in order: save, saved, answer, call, apply."""
        self._bench = bench
        self._seed = seed
        self._save_ns = save_ns
        self._disk = disk or MemoryPersister()
        self._incarnation = 0
        self._host: Host | None = None
        self._wake: int | None = None
        self._numbers = 0
        self._replies: dict[int, Any] = {}
        self._results: dict[int, Any] = {}
        self._threads: list[str] = []
        self.restart()

    # -------------------------------------------------------------- life

    @property
    def is_up(self) -> bool:
        return self._host is not None

    def restart(self) -> None:
        """Starts a new incarnation from what is durable."""
        assert self._host is None, f"server {self.me} is running"
        self._incarnation += 1
        self.calls, self.applied, self.history = [], [], []
        self._replies.clear()
        streams = Streams(self._seed).sub(f"server/{self.me}/{self._incarnation}")
        disk = f"{streams.path}/disk/latency"
        settings = frames.HostSettings(
            name=str(self.me),
            incarnation=self._incarnation,
            key=streams.key,
            path=streams.path,
            overrides=[(disk, number, self._save_ns) for number in range(500)] if self._save_ns else [],
            mean_gap_steps=0,
            longest_stall_ns=0,
            longest_async_save_ns=self._save_ns,
            output_limit=1 << 20,
        )
        self._host = Host(settings, self._bench.bundle)
        ends = [str(peer) for peer in range(self.servers)]
        config = encode({"me": self.me, "servers": self.servers})
        inbox: list[frames.InboxItem] = [frames.Boot(PROGRAM, ends, config, *self._disk.durable)]
        if self.slow_clock:
            inbox.append(frames.SetClock(0, -990_000))
        self._step(inbox)

    def crash(self) -> None:
        """Ends it now; saves that were not durable are lost."""
        assert self._host is not None, f"server {self.me} is down"
        self._host.end()
        self._host = None
        self._wake = None
        self._disk = MemoryPersister(*self._disk.durable)

    def copy(self, **changes: Any) -> LoneServer:
        """What this server would be if it crashed now and restarted."""
        disk = MemoryPersister(*self._disk.durable)
        chosen = {"me": self.me, "servers": self.servers, "seed": self._seed, "now_ns": self.now_ns, **changes}
        return self._bench(disk=disk, **chosen)

    # -------------------------------------------------------------- time

    @property
    def next_event_ns(self) -> int | None:
        """When it will do something of its own accord, None if never."""
        return None if self._wake is None else max(self._wake, self.now_ns)

    def advance(self, seconds: float) -> None:
        """Lets it run for `seconds` of virtual time."""
        self.advance_to(self.now_ns + round(seconds * 1e9))

    def advance_to(self, end_ns: int) -> None:
        self._run(end_ns, lambda: False)

    def wait_for(self, condition: Callable[[], Any], what: str, seconds: float = _PATIENCE) -> None:
        """Lets it run until `condition` holds; fails if that takes over `seconds`."""
        self._run(self.now_ns + round(seconds * 1e9), condition)
        assert condition(), f"server {self.me} did not do this within {seconds} s: {what}"

    def _run(self, end_ns: int, stop: Callable[[], Any]) -> None:
        while not stop():
            due = self.next_event_ns
            if due is None or due > end_ns:
                self.now_ns = max(self.now_ns, end_ns)
                return
            self.now_ns = due
            self._step([])

    def _step(self, inbox: list[frames.InboxItem]) -> None:
        assert self._host is not None, f"server {self.me} is down"
        effects, clock, self._wake = self._host.step(self.now_ns, _QUANTUM_NS, inbox)
        self.now_ns = max(self.now_ns, clock)
        for effect in effects:
            self._take(effect)

    # -------------------------------------------------------------- what it does

    def _take(self, effect: frames.Effect) -> None:
        match effect:
            case frames.Call():
                args = decode(effect.payload)
                self.calls.append(SentCall(effect.call, int(effect.target), args, effect.at))
                assert len(self.calls) <= _MOST_CALLS, f"server {self.me} sends over {_MOST_CALLS} messages"
                self.history.append(f"call {type(args).__name__.removesuffix('Args')}")
            case frames.Answer():
                assert effect.payload is not None, f"no reply to request {effect.call}: {effect.error or 'it died'}"
                self._replies[effect.call] = decode(effect.payload)
                self.history.append("answer")
            case frames.Save():
                self._disk.begin(effect.raft_state, effect.snapshot)
                self.history.append("save" if effect.snapshot is None else "save with snapshot")
            case frames.Saved():
                self._disk.complete(effect.number)
                self.history.append("saved")
            case frames.Apply():
                self.applied.append(decode(effect.payload))
                self.history.append("apply")
            case frames.Result():
                self._results[effect.control] = decode(effect.payload)
            case frames.Report(kind="threads"):
                self._threads = effect.text.splitlines()
            case frames.Report():
                raise AssertionError(f"server {self.me}: {effect.kind}: {effect.text} {effect.site}\n{effect.detail}")

    # -------------------------------------------------------------- requests to it

    def send(self, args: Any) -> int:
        """A request arrives; its number, for `reply_to`."""
        self._numbers += 1
        self._step([frames.Request(self._numbers, _METHODS[type(args)], encode(args))])
        return self._numbers

    def reply_to(self, request: int) -> Any | None:
        """Its reply to a request, None if there is none yet."""
        return self._replies.get(request)

    def ask(self, args: Any) -> Any:
        """A request arrives; its reply, for which it may take its time."""
        request = self.send(args)
        self.wait_for(lambda: request in self._replies, f"reply to {args}")
        return self._replies[request]

    def vote_for(self, candidate: int, term: int, last: tuple[int, int] = (99, 99)) -> RequestVoteReply:
        """Its reply to a candidate whose log ends in `last` = (index, term), by default at least as good as any."""
        reply: RequestVoteReply = self.ask(RequestVoteArgs(term, candidate, last[0], last[1]))
        return reply

    def hold(self, *terms: int, term: int | None = None, commit: int = 0) -> None:
        """Makes it a follower, in `term` (by default the last entry's), with entries of these terms as its log.

        The leader they come from is server 1 (0 if this is 1).
        """
        leader = 1 if self.me != 1 else 0
        log = entries(*terms)
        message = heartbeat(term or terms[-1], sent=log, commit=commit, leader=leader)
        assert self.ask(message).success
        self.wait_for(lambda: len(self.applied) == commit, f"apply up to {commit}")

    # -------------------------------------------------------------- RPCs it sends

    def next_call(self, to: int | None = None, kind: type | None = None, *, within: float = _PATIENCE) -> SentCall:
        """The first RPC that it has sent (to `to`, of `kind`) and the test has not seen; it runs until there is one."""

        def unseen() -> list[SentCall]:
            return [
                call
                for call in self.calls
                if not call.seen and to in (None, call.to) and isinstance(call.args, kind or object)
            ]

        self.wait_for(unseen, f"send {kind.__name__ if kind else 'something'} to {to}", within)
        call = unseen()[0]
        call.seen = True
        return call

    def calls_since(self, at_ns: int, kind: type | None = None) -> list[SentCall]:
        return [call for call in self.calls if call.at_ns >= at_ns and isinstance(call.args, kind or object)]

    def answer(self, call: SentCall, reply: Any) -> None:
        """The reply to `call` arrives; None says that it was lost."""
        assert not call.over, f"{call} was answered already"
        call.over = True
        self._step([frames.Reply(call.number, None if reply is None else encode(reply))])

    def accept(self, call: SentCall) -> None:
        """The peer answers `call` as the server would like it."""
        term = call.args.term
        if isinstance(call.args, RequestVoteArgs):
            self.answer(call, RequestVoteReply(term, True))
        elif isinstance(call.args, AppendEntriesArgs):
            self.answer(call, AppendEntriesReply(term, True))
        else:
            self.answer(call, InstallSnapshotReply(term))

    def stand(self, term: int | None = None) -> int:
        """Lets its election timeout pass until it asks all peers for their votes (in `term`); the term."""
        before, _ = self.state()
        if term is not None:
            assert before < term, f"server {self.me} is in term {before} already"
            if before < term - 1:
                self.vote_for(self.peers[-1], term - 1, last=(0, 0))
                before = term - 1
        for call in self.calls:
            call.seen = True

        def asked() -> list[SentCall]:
            return [call for call in self.calls if isinstance(call.args, RequestVoteArgs) and call.args.term > before]

        self.wait_for(lambda: len(asked()) == len(self.peers), "stand for election")
        stood: int = asked()[0].args.term
        return stood

    def lead(self, term: int | None = None) -> int:
        """Has it stand (in `term`) and win every vote; the term. Its first messages as leader are left to the test."""
        stood = self.stand(term)
        for _ in range(4 * self.servers):  # some of the calls may be retries
            if not self.state()[1]:
                self.accept(self.next_call(kind=RequestVoteArgs))
        for call in self.calls:
            if isinstance(call.args, RequestVoteArgs) and not call.seen:
                call.seen = True
                self.accept(call)
        assert self.state() == (stood, True), f"server {self.me} does not lead term {stood}, though all voted for it"
        return stood

    # -------------------------------------------------------------- controls

    def control(self, name: str, *args: Any) -> Any:
        """Calls a control of the program; what it returns."""
        self.begin(name, *args)
        number = self._numbers
        self.wait_for(lambda: number in self._results, f"return from {name}")
        return self._results.pop(number)

    def begin(self, name: str, *args: Any) -> None:
        """Calls a control of the program, and does not wait until it returns."""
        self._numbers += 1
        self._step([frames.Control(self._numbers, name, encode(args))])

    def start(self, command: Any) -> tuple[int, int, bool]:
        index, term, is_leader = self.control("start", command)
        return index, term, is_leader

    def state(self) -> tuple[int, bool]:
        """(current term, whether it leads)."""
        term, is_leader = self.control("get_state")
        return term, is_leader

    def snapshot(self, index: int, data: bytes) -> str:
        """Takes a snapshot; the ValueError's text, "" if there was none."""
        text: str = self.control("snapshot", index, data)
        return text

    def threads(self) -> list[str]:
        """Names of its threads that are alive."""
        self._step([frames.Dump()])
        return self._threads

    # -------------------------------------------------------------- what a crash would leave

    @property
    def durable_snapshot(self) -> bytes:
        return self._disk.durable.snapshot

    def log(self) -> list[LogEntry]:
        """Its log after the snapshot as a crash now would leave it, read off the messages of a copy that leads."""
        copy = self.copy(servers=max(self.servers, 2))
        copy.lead()
        last_index = copy.calls[0].args.last_log_index
        log: list[LogEntry] = []
        base = 0
        peer = copy.peers[0]
        for _ in range(last_index + 10):
            if base + len(log) == last_index:
                break
            call = copy.next_call(peer)
            term, args = call.args.term, call.args
            if isinstance(args, InstallSnapshotArgs):
                base, log = args.last_included_index, []
                copy.answer(call, InstallSnapshotReply(term))
            elif args.prev_log_index != base + len(log):
                copy.answer(call, AppendEntriesReply(term, False, 0, base + len(log) + 1))
            else:
                log += args.entries
                copy.answer(call, AppendEntriesReply(term, True))
        assert base + len(log) == last_index, f"a copy of server {self.me} does not replicate its log"
        copy.crash()
        return log

    def log_terms(self) -> list[int]:
        return terms(self.log())

    def has_voted(self, term: int) -> bool:
        """Whether a copy that restarts from what is durable refuses a new candidate its vote in `term`."""
        copy = self.copy(servers=self.servers + 1)
        granted = copy.vote_for(self.servers, term).vote_granted
        copy.crash()
        return not granted
