"""Several lone servers on one clock, between which the stage carries messages: a small cluster whose run is a story.

    server --call--> stage --5 ms, if the link is open--> server --reply--> stage --5 ms, likewise--> first server

What the servers say and apply is told as it happens. A message on a closed link is lost, and so is its reply.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Sequence
from typing import Any

from raft import (
    AppendEntriesArgs,
    AppendEntriesReply,
    InstallSnapshotArgs,
    LogEntry,
    RequestVoteArgs,
    RequestVoteReply,
)
from tests.harness.paper.lone_server import Bench, LoneServer, terms
from tests.harness.paper.story import Story

__all__ = ["Stage"]

LATENCY_NS = 5_000_000


class Stage:
    """A cluster of `names`, whose servers enter one by one.

    Args:
        quiet: servers whose clocks are so slow that they never stand for election here.
    """

    def __init__(self, bench: Bench, names: Sequence[str], *, quiet: Collection[str] = ()) -> None:
        self.names = list(names)
        self.story = Story()
        self.now_ns = 0
        self.servers: dict[str, LoneServer] = {}
        self.messages = dict.fromkeys(names, 0)
        """AppendEntries delivered to each server."""
        self._bench = bench
        self._quiet = set(quiet)
        self._open = set(names)
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._carried: dict[str, int] = {}
        self._told: set[tuple[str, str]] = set()
        self._votes: dict[tuple[str, int], str] = {}
        """Whom a server has voted for in a term."""
        self._applied: dict[str, int] = {}

    # -------------------------------------------------------------- what the play's author does

    def enter(self, name: str, log: Sequence[int], *, term: int, committed: int = 0) -> None:
        """Server `name` starts, and gets a log with these terms from an earlier leader."""
        me = self.names.index(name)
        server = self._bench(me=me, servers=len(self.names), slow_clock=name in self._quiet, now_ns=self.now_ns)
        self.servers[name] = server
        server.hold(*log, term=term, commit=committed)
        self._carried[name], self._applied[name] = 0, committed

    def crash(self, name: str) -> None:
        self.tell(name, "crashes")
        self.servers[name].crash()

    def restart(self, name: str) -> None:
        self.servers[name].now_ns = self.now_ns
        self.servers[name].restart()
        self._carried[name] = self._applied[name] = 0
        self.tell(name, "restarts")

    def start(self, name: str, command: Any) -> None:
        """A client gives leader `name` a command."""
        index, term, is_leader = self._at_this_moment(name).start(command)
        assert is_leader, f"{name} does not lead"
        self.tell(name, f"takes a command: {index}: {term}")
        self._collect(name)

    def connect(self, *names: str) -> None:
        """From now on messages pass between these servers only."""
        self._open = set(names)

    def run_until(self, condition: Callable[[], Any], seconds: float = 5.0) -> None:
        """The play goes on until `condition` holds; it must within `seconds`."""
        end = self.now_ns + round(seconds * 1e9)
        while not condition():
            assert self._advance(end), f"the play does not get there within {seconds} s"

    def run(self, seconds: float) -> None:
        end = self.now_ns + round(seconds * 1e9)
        while self._advance(end):
            pass
        self.now_ns = end

    def leads(self, name: str) -> bool:
        _, leads = self._at_this_moment(name).state()
        self._collect(name)
        return leads

    def tell(self, name: str, what: str) -> None:
        self.story.tell(self.now_ns / 1e9, name, what)

    def logs(self) -> dict[str, list[LogEntry]]:
        """Each server's log."""
        return {name: self.servers[name].log() for name in self.names}

    def draw(self) -> None:
        """Draws each server's log as it is now, and how far the server has applied it."""
        down = [name for name in self.names if not self.servers[name].is_up]
        applied = {name: self._applied[name] for name in self.names if name not in down}
        self.story.draw({name: terms(log) for name, log in self.logs().items()}, applied=applied, down=down)

    # -------------------------------------------------------------- how it goes on

    def _advance(self, end_ns: int) -> bool:
        """Does what comes next, up to `end_ns`; False if nothing does."""
        due, actor = end_ns + 1, None
        for name in self.names:
            server = self.servers.get(name)
            if server is not None and server.next_event_ns is not None and server.next_event_ns < due:
                due, actor = server.next_event_ns, name
        if self._events and self._events[0][0] <= due:
            due, _, deliver = heapq.heappop(self._events)
            if due > end_ns:
                self._later(due, deliver)
                return False
            self.now_ns = max(self.now_ns, due)
            deliver()
            return True
        if actor is None:
            return False
        self.now_ns = max(self.now_ns, due)
        self.servers[actor].advance_to(due)
        self._collect(actor)
        return True

    def _at_this_moment(self, name: str) -> LoneServer:
        """Server `name`, whose clock may have stood at its last event."""
        server = self.servers[name]
        server.advance_to(self.now_ns)
        return server

    def _later(self, due_ns: int, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (due_ns, self._count, action))

    def _collect(self, name: str) -> None:
        """Tells what server `name` has done, and takes its messages along."""
        server = self.servers[name]
        if len(server.applied) > 0 and server.applied[-1].command_index > self._applied[name]:
            first, self._applied[name] = self._applied[name] + 1, server.applied[-1].command_index
            self.tell(name, f"applies {_span(first, self._applied[name])}")
        while self._carried[name] < len(server.calls):
            call = server.calls[self._carried[name]]
            self._carried[name] += 1
            if isinstance(call.args, RequestVoteArgs):
                self._votes[name, call.args.term] = name
                self._tell_once(name, f"stands for term {call.args.term}")
            else:
                self._tell_once(name, f"leads term {call.args.term}")
            receiver = self.names[call.to]
            if {name, receiver} <= self._open:
                self._later(
                    self.now_ns + LATENCY_NS, lambda call=call, to=receiver: self._deliver(name, server, call, to)
                )

    def _deliver(self, sender: str, origin: LoneServer, call: Any, receiver: str) -> None:
        if receiver not in self.servers or not self.servers[receiver].is_up or not {sender, receiver} <= self._open:
            return
        reply = self._at_this_moment(receiver).ask(call.args)
        self._tell_exchange(sender, receiver, call.args, reply)
        self._collect(receiver)

        def return_reply() -> None:
            same_incarnation = any(sent is call for sent in origin.calls)
            if origin.is_up and same_incarnation and {sender, receiver} <= self._open:
                self._at_this_moment(sender).answer(call, reply)
                self._collect(sender)

        self._later(self.now_ns + LATENCY_NS, return_reply)

    # -------------------------------------------------------------- what is told of a message

    def _tell_once(self, name: str, what: str) -> None:
        if (name, what) not in self._told:
            self._told.add((name, what))
            self.tell(name, what)

    def _tell_exchange(self, sender: str, receiver: str, args: Any, reply: Any) -> None:
        assert not isinstance(args, InstallSnapshotArgs), "no snapshots in this play"
        if isinstance(args, RequestVoteArgs):
            self._tell_vote(sender, receiver, args, reply)
            return
        assert isinstance(args, AppendEntriesArgs)
        self.messages[receiver] += 1
        self._tell_append(sender, receiver, args, reply)

    def _tell_vote(self, sender: str, receiver: str, args: RequestVoteArgs, reply: RequestVoteReply) -> None:
        candidate = f"{sender}, whose log ends with {args.last_log_index}: {args.last_log_term}"
        if reply.vote_granted:
            self._votes[receiver, args.term] = sender
            self.tell(receiver, f"votes in term {args.term} for {candidate}")
            return
        log = self.servers[receiver].log()
        why = f"its own ends with {len(log)}: {log[-1].term}"
        if (receiver, args.term) in self._votes:
            why = f"it has voted for {self._votes[receiver, args.term]}"
        self.tell(receiver, f"does not vote in term {args.term} for {candidate}: {why}")

    def _tell_append(self, sender: str, receiver: str, args: AppendEntriesArgs, reply: AppendEntriesReply) -> None:
        prev = f"{args.prev_log_index}: {args.prev_log_term}"
        if not reply.success:
            if reply.term > args.term:
                why = f"it is in term {reply.term}"
            elif reply.conflict_term:
                why = (
                    f"it has {args.prev_log_index}: {reply.conflict_term}, and that term from {reply.conflict_index} on"
                )
            else:
                why = f"its log ends at {reply.conflict_index - 1}"
            self.tell(receiver, f"refuses {sender}'s message after {prev}: {why}")
        elif args.entries:
            first = args.prev_log_index + 1
            span = _span(first, first + len(args.entries) - 1)
            self.tell(receiver, f"takes {span} from {sender}, after {prev}")
        else:
            self._tell_once(receiver, f"agrees with {sender}, leader of term {args.term}, up to {prev}")


def _span(first: int, last: int) -> str:
    return f"{first}" if first == last else f"{first}–{last}"
