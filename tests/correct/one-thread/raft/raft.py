"""Raft without a lock: one thread owns all state, everything else sends it events.

    handlers, start, snapshot --ask--> inbox --> the loop: takes what is there, saves once --> answers, calls, applies
    callers of other servers ---reply--> inbox                                                  |        |
    deliverer <-- outbox: a queue, emptied into apply_ch <---------------------------------------+        |
    callers: a small pool a peer <-------------------------------------------------------------------------+

How it differs: no locks and no conditions; the loop handles all events that have come, then saves once for all of them,
and only then lets out what they gave rise to. Logs are repaired by a list of the follower's terms: a refusal says where
each of its terms ends, so that the leader finds the last entry both have, in one round trip.

Why it is correct: only the loop touches the state, so no two events interleave. Answers, calls and applies of a round
wait for its save, so nothing is said, nor shown to the service, that a crash could take back. The loop never waits for
anything but its inbox and the disk: the service may ask it something while it is handed a command.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from labrpc import ClientEnd, Persister, decode, encode, rpc
from raft.messages import (
    AppendEntriesArgs,
    AppendEntriesReply,
    ApplyMsg,
    InstallSnapshotArgs,
    InstallSnapshotReply,
    LogEntry,
    RequestVoteArgs,
    RequestVoteReply,
    StartResult,
)

__all__ = ["Raft"]

ELECTION_TIMEOUT = 0.25, 0.5
"""Seconds."""

HEARTBEAT_INTERVAL = 0.07
"""Seconds."""

CALL_TIMEOUT = 0.2
"""Seconds."""

CALLERS_PER_PEER = 4
"""Calls to one peer that may be under way: what is lost must not hold up what comes next."""

MOST_EVENTS = 100
"""Events of one round: those that wait for its save must not wait for ever."""

MOST_TERMS = 50
"""Terms that a refusal lists."""


class Question:
    """What somebody wants of the loop, and waits for."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.function = function
        self.args = args
        self.answer: Any = None
        self.answered = threading.Event()


class Raft:
    """One server; the arguments are those of the lab's interface."""

    def __init__(self, peers: Sequence[ClientEnd], me: int, persister: Persister, apply_ch: queue.Queue[Any]) -> None:
        self.peers = peers
        self.me = me
        self.others = [peer for peer in range(len(peers)) if peer != me]
        self.persister = persister
        self.apply_ch = apply_ch
        self.inbox: queue.Queue[Question | Callable[[], None] | None] = queue.Queue()
        self.outbox: queue.Queue[ApplyMsg | None] = queue.Queue()
        self.callers = {peer: ThreadPoolExecutor(CALLERS_PER_PEER, f"to {peer}") for peer in self.others}
        self.ended = threading.Event()
        """The loop takes no more questions."""

        # Below is the loop's alone, once it runs.
        self.current_term = 0
        self.voted_for = -1
        # Entry 1 of the log is entries[0] until a snapshot takes it; then entries[0] is at snapshot_index + 1.
        self.entries: list[LogEntry] = []
        self.snapshot_index = 0
        self.snapshot_term = 0
        if state := persister.read_raft_state():
            self.current_term, self.voted_for, self.snapshot_index, self.snapshot_term, self.entries = decode(state)
        self.commit_index = self.snapshot_index
        # Up to where the outbox has been given what is committed. A snapshot of the service's cannot be newer.
        self.last_applied = self.snapshot_index

        self.leader = False
        # The servers that vote for this one in current_term; empty if it is no candidate and no leader.
        self.supporters: set[int] = set()
        self.next_index: dict[int, int] = {}
        self.match_index: dict[int, int] = {}
        # When each peer is sent something next even though there is nothing new.
        self.due: dict[int, float] = {}
        # What each peer's latest append was; None: it was answered, so the next may go.
        self.asked: dict[int, AppendEntriesArgs | InstallSnapshotArgs | None] = {}
        self.deadline = self._new_deadline()

        # What the present round has given rise to.
        self.unsaved = False
        self.new_snapshot: bytes | None = None
        self.answered: list[Question] = []
        self.calls: list[tuple[int, str, Any]] = []
        threading.Thread(target=self._loop, name="loop", daemon=True).start()
        threading.Thread(target=self._deliver, name="deliverer", daemon=True).start()

    # -------------------------------------------------------------- from outside: questions to the loop

    def start(self, command: Any) -> StartResult:
        """Appends `command` if this server leads; see the lab's interface."""
        return self._ask(self._start, command) or StartResult(-1, self.current_term, False)

    def get_state(self) -> tuple[int, bool]:
        """(term, whether it believes that it leads)."""
        return self._ask(lambda: (self.current_term, self.leader)) or (self.current_term, False)

    def snapshot(self, index: int, snapshot: bytes) -> None:
        """The service's state up to `index` is in `snapshot`."""
        if self._ask(self._compact, index, snapshot) is False:
            raise ValueError(f"snapshot at index {index} exceeds what was applied")

    def persist_bytes(self) -> int:
        """Bytes of saved Raft state."""
        return self.persister.raft_state_size()

    def kill(self) -> None:
        """Ends all threads."""
        self.inbox.put(None)

    @rpc
    def request_vote(self, args: RequestVoteArgs) -> RequestVoteReply:
        """RequestVote RPC."""
        return self._ask(self._vote, args) or RequestVoteReply(self.current_term, False)

    @rpc
    def append_entries(self, args: AppendEntriesArgs) -> AppendEntriesReply:
        """AppendEntries RPC."""
        return self._ask(self._append, args) or AppendEntriesReply(self.current_term, False)

    @rpc
    def install_snapshot(self, args: InstallSnapshotArgs) -> InstallSnapshotReply:
        """InstallSnapshot RPC, the snapshot in one piece."""
        return self._ask(self._install, args) or InstallSnapshotReply(self.current_term)

    def _ask(self, function: Callable[..., Any], *args: Any) -> Any:
        """What `function` returns on the loop, once what it changed is durable; None if the loop has ended."""
        question = Question(function, args)
        if not self.ended.is_set():
            self.inbox.put(question)
            while not (question.answered.wait(0.5) or self.ended.is_set()):
                pass
        return question.answer

    # -------------------------------------------------------------- the loop

    def _loop(self) -> None:
        alive = True
        while alive:
            alive = self._take_events()
            self._look_at_the_clock()
            self._let_out()
        self.ended.set()
        self.outbox.put(None)
        for pool in self.callers.values():
            pool.shutdown(wait=False)

    def _take_events(self) -> bool:
        """Handles what has come, or what comes before something is due. False: the server was killed."""
        wait = max(0.0, self._next_due() - time.monotonic())
        try:
            for _ in range(MOST_EVENTS):
                event = self.inbox.get(timeout=wait)
                wait = 0.0
                if event is None:
                    return False
                if isinstance(event, Question):
                    event.answer = event.function(*event.args)
                    self.answered.append(event)
                else:
                    event()
        except queue.Empty:
            pass
        return True

    def _next_due(self) -> float:
        return min(self.due.values(), default=self.deadline) if self.leader else self.deadline

    def _look_at_the_clock(self) -> None:
        now = time.monotonic()
        if not self.leader and now >= self.deadline:
            self._stand()
        if self.leader:
            for peer in self.others:
                if now >= self.due[peer] or (self.asked[peer] is None and self.next_index[peer] <= self._last()):
                    self._replicate(peer)

    def _let_out(self) -> None:
        """Saves, and then does what the round has to do with others."""
        if self.unsaved:
            state = (self.current_term, self.voted_for, self.snapshot_index, self.snapshot_term, self.entries)
            self.persister.save(encode(state), self.new_snapshot)
            self.unsaved, self.new_snapshot = False, None
        self._count()  # what is saved here counts, too
        if self.last_applied < self.snapshot_index:
            data = self.persister.read_snapshot()
            self.outbox.put(
                ApplyMsg(
                    snapshot_valid=True,
                    snapshot=data,
                    snapshot_index=self.snapshot_index,
                    snapshot_term=self.snapshot_term,
                )
            )
            self.last_applied = self.snapshot_index
        while self.last_applied < self.commit_index:
            self.last_applied += 1
            command = self.entries[self.last_applied - self.snapshot_index - 1].command
            self.outbox.put(ApplyMsg(command_valid=True, command=command, command_index=self.last_applied))
        for peer, method, args in self.calls:
            self.callers[peer].submit(self._call, peer, method, args)
        for question in self.answered:
            question.answered.set()
        self.calls, self.answered = [], []

    def _call(self, peer: int, method: str, args: Any) -> None:
        reply = self.peers[peer].call(f"Raft.{method}", args, timeout=CALL_TIMEOUT)
        self.inbox.put(lambda: self._on_reply(peer, args, reply))

    def _deliver(self) -> None:
        while (message := self.outbox.get()) is not None:
            self.apply_ch.put(message)

    # -------------------------------------------------------------- log

    def _last(self) -> int:
        return self.snapshot_index + len(self.entries)

    def _term(self, index: int) -> int:
        return self.entries[index - self.snapshot_index - 1].term if index > self.snapshot_index else self.snapshot_term

    def _start(self, command: Any) -> StartResult:
        if not self.leader:
            return StartResult(-1, self.current_term, False)
        self.entries.append(LogEntry(self.current_term, command))
        self.unsaved = True
        return StartResult(self._last(), self.current_term, True)

    def _compact(self, index: int, snapshot: bytes) -> bool:
        if index > self.last_applied:
            return False
        if index > self.snapshot_index:
            self.snapshot_term = self._term(index)
            del self.entries[: index - self.snapshot_index]
            self.snapshot_index = index
            self.unsaved, self.new_snapshot = True, snapshot
        return True

    # -------------------------------------------------------------- terms and elections

    def _new_deadline(self) -> float:
        return time.monotonic() + random.uniform(*ELECTION_TIMEOUT)

    def _enter(self, term: int) -> None:
        """All Servers: a newer term makes anybody a follower in it."""
        if term > self.current_term:
            if self.leader:
                self.deadline = self._new_deadline()
            self.leader, self.supporters = False, set()
            self.current_term, self.voted_for, self.unsaved = term, -1, True

    def _stand(self) -> None:
        self._enter(self.current_term + 1)
        self.voted_for = self.me
        self.supporters = {self.me}
        self.deadline = self._new_deadline()
        request = RequestVoteArgs(self.current_term, self.me, self._last(), self._term(self._last()))
        self.calls += [(peer, "request_vote", request) for peer in self.others]
        self._elect()

    def _elect(self) -> None:
        if not self.leader and len(self.supporters) > len(self.peers) // 2:
            self.leader = True
            for peer in self.others:
                self.next_index[peer], self.match_index[peer] = self._last() + 1, 0
                self.asked[peer], self.due[peer] = None, 0.0
                self._replicate(peer)

    def _vote(self, args: RequestVoteArgs) -> RequestVoteReply:
        self._enter(args.term)
        mine = self._term(self._last()), self._last()
        good = args.term == self.current_term and (args.last_log_term, args.last_log_index) >= mine
        if good and self.voted_for in (-1, args.candidate_id):
            self.voted_for, self.unsaved = args.candidate_id, True
            self.deadline = self._new_deadline()
            return RequestVoteReply(self.current_term, True)
        return RequestVoteReply(self.current_term, False)

    # -------------------------------------------------------------- leading

    def _replicate(self, peer: int) -> None:
        previous = self.next_index[peer] - 1
        args: AppendEntriesArgs | InstallSnapshotArgs
        if previous < self.snapshot_index:
            data = self.persister.read_snapshot() if self.new_snapshot is None else self.new_snapshot
            args = InstallSnapshotArgs(self.current_term, self.me, self.snapshot_index, self.snapshot_term, data)
            self.calls.append((peer, "install_snapshot", args))
        else:
            entries = self.entries[previous - self.snapshot_index :]
            prev_term = self._term(previous)
            args = AppendEntriesArgs(self.current_term, self.me, previous, prev_term, entries, self.commit_index)
            self.calls.append((peer, "append_entries", args))
        self.asked[peer] = args
        self.due[peer] = time.monotonic() + HEARTBEAT_INTERVAL

    def _on_reply(self, peer: int, args: Any, reply: Any) -> None:
        if reply is None:
            return  # due[peer] comes
        self._enter(reply.term)
        if args.term != self.current_term:
            return
        if isinstance(args, RequestVoteArgs):
            if reply.vote_granted and self.supporters:
                self.supporters.add(peer)
                self._elect()
            return
        if isinstance(args, InstallSnapshotArgs):
            self._agrees(peer, args.last_included_index)
        elif reply.success:
            self._agrees(peer, args.prev_log_index + len(args.entries))
        elif args is self.asked[peer]:
            self.next_index[peer] = max(self.match_index[peer], self._last_common(args.prev_log_index, reply)) + 1
        if args is self.asked[peer]:
            self.asked[peer] = None

    def _agrees(self, peer: int, index: int) -> None:
        self.match_index[peer] = max(self.match_index[peer], index)
        self.next_index[peer] = max(self.next_index[peer], index + 1)

    def _last_common(self, before: int, reply: AppendEntriesReply) -> int:
        """The last index before `before` at which the logs may agree, by what the follower says of its terms.

        leader     1 1 4 4 4 5      term_ends of a refusal at index 6:  (7, 6), (4, 3), (1, 2)
        follower   1 1 4 7 7 7      of its term 4 the last common entry is at index 3, where either log's ends first
        """
        for term, end in reply.term_ends:
            index = min(end, before - 1)
            while index > self.snapshot_index and self._term(index) > term:
                index -= 1
            if self._term(index) == term:
                return index
            before = index + 1  # all after it is of later terms, which the follower's earlier entries are not
        return before - 1

    def _count(self) -> None:
        """Leaders, last rule: entries of this term that a majority has are committed, and all before them."""
        if self.leader:
            known = sorted([self._last(), *self.match_index.values()], reverse=True)
            index = known[len(self.peers) // 2]
            if index > self.commit_index and self._term(index) == self.current_term:
                self.commit_index = index

    # -------------------------------------------------------------- following

    def _follows(self, term: int) -> bool:
        """Whether a message from `term`'s leader is not over."""
        self._enter(term)
        if term < self.current_term:
            return False
        self.supporters = set()  # a candidate gives up
        self.deadline = self._new_deadline()
        return True

    def _append(self, args: AppendEntriesArgs) -> AppendEntriesReply:
        if not self._follows(args.term):
            return AppendEntriesReply(self.current_term, False)
        skipped = max(0, self.snapshot_index - args.prev_log_index)  # the snapshot has them
        previous, entries = args.prev_log_index + skipped, args.entries[skipped:]
        if not skipped and (previous > self._last() or self._term(previous) != args.prev_log_term):
            return self._refusal()
        same = 0
        while same < len(entries) and previous + same < self._last():
            if self._term(previous + same + 1) != entries[same].term:
                break
            same += 1
        if same < len(entries):
            self.entries[previous + same - self.snapshot_index :] = entries[same:]
            self.unsaved = True
        self.commit_index = max(self.commit_index, min(args.leader_commit, previous + len(entries)))
        return AppendEntriesReply(self.current_term, True)

    def _refusal(self) -> AppendEntriesReply:
        ends: list[tuple[int, int]] = []
        index = self._last()
        while index > self.snapshot_index and len(ends) < MOST_TERMS:
            term = self._term(index)
            ends.append((term, index))
            while index > self.snapshot_index and self._term(index) == term:
                index -= 1
        return AppendEntriesReply(self.current_term, False, [*ends, (self._term(index), index)])

    def _install(self, args: InstallSnapshotArgs) -> InstallSnapshotReply:
        index, term = args.last_included_index, args.last_included_term
        if self._follows(args.term) and index > self.commit_index:
            kept = index <= self._last() and self._term(index) == term
            self.entries = self.entries[index - self.snapshot_index :] if kept else []
            self.snapshot_index, self.snapshot_term = index, term
            self.commit_index = index
            self.unsaved, self.new_snapshot = True, args.data
        return InstallSnapshotReply(self.current_term)
