"""Raft in batches: the disk and the network are given all that has come since they were last given something.

    start, handlers --> log in memory, version + 1
    saver    each 2 ms: the whole state to the disk, not waiting for it --done--> durable --> answers, votes, commits
    sender   each 3 ms: to each peer all that is new, up to 4 appends under way, each on a short-lived thread
    applier  what is committed --> apply_ch

How it differs: nothing that is asked of it waits for a save of its own. Each change gets a version, one save makes
many versions durable, and an answer waits for the version it speaks of. A leader sends entries before they are durable
here, and a candidate asks for votes before its own is. `next_index` runs ahead of what is acknowledged, by up to four
appends; one that is refused or lost takes it back. A follower refuses with its commit index, where any leader's log
agrees with its own, and acknowledges all that it has of its leader's log and is durable, asked or not.

Why it is correct: whatever counts, counts once it is durable. A follower's yes is sent then. A leader's own copy of an
entry is one of the majority, and a candidate's own vote is one of its votes, only then; before that they are words that
bind nobody. To lead, a server needs its own vote: so no term is led twice, whatever a crash takes back. `agreed`, the
index up to which the log is the present leader's, only grows within a term, so a save that holds version v holds all
that was agreed at v.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Sequence
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

SAVE_INTERVAL = 0.002
SEND_INTERVAL = 0.003
HEARTBEAT_INTERVAL = 0.06
ELECTION_TIMEOUT = 0.3, 0.55
CALL_TIMEOUT = 0.25
"""All in seconds."""

WINDOW = 4
"""Appends with entries that may be under way to one peer."""

MOST_ENTRIES = 200
"""In one append, and handed to the applier at once."""

HANDLERS = {
    RequestVoteArgs: "Raft.request_vote",
    AppendEntriesArgs: "Raft.append_entries",
    InstallSnapshotArgs: "Raft.install_snapshot",
}


class Peer:
    """What a candidate or leader knows of another server, in its present term."""

    def __init__(self, next_index: int) -> None:
        self.next_index = next_index
        """The first entry not yet sent; what is before it may be lost yet."""
        self.match_index = 0
        self.under_way = 0
        """Appends with entries that were neither answered nor given up."""
        self.course = 0
        """How often `next_index` was taken back: what was sent before cannot take it back again."""
        self.due = 0.0
        """When it is sent something even though there is nothing new; in time.monotonic() seconds."""
        self.votes: bool | None = None
        """Its vote, None while it has not answered."""


class Raft:
    """One server; the arguments are those of the lab's interface."""

    def __init__(self, peers: Sequence[ClientEnd], me: int, persister: Persister, apply_ch: queue.Queue[Any]) -> None:
        self.ends = peers
        self.me = me
        self.persister = persister
        self.apply_ch = apply_ch
        self.mu = threading.Lock()
        self.changed = threading.Condition(self.mu)
        """There is something to save."""
        self.durable_grew = threading.Condition(self.mu)
        self.to_send = threading.Condition(self.mu)
        self.to_apply = threading.Condition(self.mu)
        self.killed = False

        # What is saved. `tail` holds the entries after the snapshot.
        self.current_term = 0
        self.voted_for: int | None = None
        self.base, self.base_term = 0, 0
        self.tail: list[LogEntry] = []
        self.snapshot_data = b""
        if saved := persister.read_raft_state():
            self.current_term, self.voted_for, self.base, self.base_term, self.tail = decode(saved)
            self.snapshot_data = persister.read_snapshot()

        # Versions of what is saved: the present one, the last given to the disk, the last that is durable.
        self.version = self.handed = self.durable = 0
        # The version that holds the snapshot.
        self.snapshot_version = 0
        # Up to here the log is that of the leader of current_term.
        self.agreed = 0
        # (term, agreed) in the durable version.
        self.durable_agreed = 0, 0

        self.commit_index = self.base
        # Below `base` only while a snapshot of the leader's is to be applied.
        self.last_applied = self.base
        self.role = "follower"
        self.others: dict[int, Peer] = {}
        # A candidate's: the version that holds its vote for itself.
        self.own_vote = 0
        self.deadline = 0.0
        self._hope_locked()
        for work in (self._saver, self._sender, self._applier):
            threading.Thread(target=work, name=work.__name__.strip("_"), daemon=True).start()

    # -------------------------------------------------------------- the service's side

    def start(self, command: Any) -> StartResult:
        """Appends `command` if this server leads; see the lab's interface."""
        with self.mu:
            if self.role != "leader" or self.killed:
                return StartResult(-1, self.current_term, False)
            self.tail.append(LogEntry(self.current_term, command))
            self.agreed = self._last()
            self._change_locked()
            self.to_send.notify()
            return StartResult(self.agreed, self.current_term, True)

    def get_state(self) -> tuple[int, bool]:
        """(term, whether it believes that it leads)."""
        with self.mu:
            return self.current_term, self.role == "leader"

    def snapshot(self, index: int, snapshot: bytes) -> None:
        """The service's state up to `index` is in `snapshot`."""
        with self.mu:
            if index > self.last_applied:
                raise ValueError(f"snapshot at index {index} exceeds last applied index {self.last_applied}")
            if index > self.base:
                self._rebase_locked(index, self._term(index), snapshot)

    def persist_bytes(self) -> int:
        """Bytes of Raft state given to the disk last."""
        return self.persister.raft_state_size()

    def kill(self) -> None:
        """Ends all threads, once what was said is saved."""
        with self.mu:
            self.killed = True
            for condition in (self.changed, self.to_send, self.to_apply):
                condition.notify_all()

    # -------------------------------------------------------------- the log

    def _last(self) -> int:
        return self.base + len(self.tail)

    def _term(self, index: int) -> int:
        return self.tail[index - self.base - 1].term if index > self.base else self.base_term

    def _rebase_locked(self, index: int, term: int, snapshot: bytes) -> None:
        """The log begins after `index` now; what it has there stays if it agrees."""
        agrees = index <= self._last() and self._term(index) == term
        self.tail = self.tail[index - self.base :] if agrees else []
        self.base, self.base_term, self.snapshot_data = index, term, snapshot
        self._change_locked()
        self.snapshot_version = self.version

    # -------------------------------------------------------------- saving

    def _change_locked(self) -> None:
        self.version += 1
        self.changed.notify()

    def _saver(self) -> None:
        """Gives the latest version to the disk, again and again, and waits for none."""
        while True:
            with self.mu:
                while self.version == self.handed:
                    if self.killed and not self.changed.wait(0.5):
                        return
                    if not self.killed:
                        self.changed.wait()
                state = encode((self.current_term, self.voted_for, self.base, self.base_term, self.tail))
                snapshot = self.snapshot_data if self.snapshot_version > self.handed else None
                holds = self.version, (self.current_term, self.agreed)
                self.handed = self.version
            save = self.persister.save_async(state, snapshot)
            save.add_done_callback(lambda _, holds=holds: self._saved(*holds))
            time.sleep(SAVE_INTERVAL)

    def _saved(self, version: int, agreed: tuple[int, int]) -> None:
        with self.mu:
            if version > self.durable:
                self.durable, self.durable_agreed = version, agreed
                self.durable_grew.notify_all()
                if self.role == "candidate":
                    self._count_votes_locked()
                elif self.role == "leader":
                    self._count_copies_locked()

    def _await_durable_locked(self) -> None:
        version = self.version
        while self.durable < version:
            self.durable_grew.wait()

    # -------------------------------------------------------------- terms and votes

    def _hope_locked(self) -> None:
        self.deadline = time.monotonic() + random.uniform(*ELECTION_TIMEOUT)

    def _enter_locked(self, term: int) -> None:
        if term > self.current_term:
            if self.role == "leader":
                self._hope_locked()
            self.role = "follower"
            self.current_term, self.voted_for, self.agreed = term, None, 0
            self._change_locked()

    def _stand_locked(self) -> None:
        self._enter_locked(self.current_term + 1)
        self.role, self.voted_for = "candidate", self.me
        self._change_locked()
        self.own_vote = self.version
        self.others = {peer: Peer(self._last() + 1) for peer in range(len(self.ends)) if peer != self.me}
        self._hope_locked()

    def _count_votes_locked(self) -> None:
        votes = sum(peer.votes is True for peer in self.others.values()) + 1
        if self.durable >= self.own_vote and 2 * votes > len(self.ends):
            self.role = "leader"
            self.agreed = self._last()
            for peer in self.others.values():
                peer.next_index, peer.due = self._last() + 1, 0.0
            self.to_send.notify()

    @rpc
    def request_vote(self, args: RequestVoteArgs) -> RequestVoteReply:
        """RequestVote RPC."""
        with self.mu:
            self._enter_locked(args.term)
            granted = (
                args.term == self.current_term
                and self.voted_for in (None, args.candidate_id)
                and (args.last_log_term, args.last_log_index) >= (self._term(self._last()), self._last())
            )
            if granted:
                self._hope_locked()
                if self.voted_for is None:
                    self.voted_for = args.candidate_id
                    self._change_locked()
            reply = RequestVoteReply(self.current_term, granted)
            self._await_durable_locked()
            return reply

    # -------------------------------------------------------------- sending

    def _sender(self) -> None:
        """Sends what is due, then lets more come together; stands for election when its time has come."""
        while True:
            with self.mu:
                if self.killed:
                    return
                now = time.monotonic()
                if self.role != "leader" and now >= self.deadline:
                    self._stand_locked()
                sent = False
                if self.role != "follower":
                    for number, peer in self.others.items():
                        sent = self._serve_locked(number, peer, now) or sent
                if not sent:
                    self.to_send.wait(max(0.0, self._due_locked() - time.monotonic()))
            time.sleep(SEND_INTERVAL)

    def _due_locked(self) -> float:
        due = [peer.due for peer in self.others.values() if self.role == "leader" or peer.votes is None]
        if self.role != "leader":
            due = [*due, self.deadline] if self.role == "candidate" else [self.deadline]
        return min(due, default=self.deadline)

    def _serve_locked(self, number: int, peer: Peer, now: float) -> bool:
        """Sends one peer what there is for it; whether there was anything."""
        term, me = self.current_term, self.me
        if self.role == "candidate":
            if peer.votes is not None or now < peer.due:
                return False
            self._call_locked(number, peer, RequestVoteArgs(term, me, self._last(), self._term(self._last())))
            return True
        if peer.next_index <= self.base:
            if now < peer.due:
                return False
            self._call_locked(
                number, peer, InstallSnapshotArgs(term, me, self.base, self.base_term, self.snapshot_data)
            )
            return True
        has_news = peer.next_index <= self._last() and peer.under_way < WINDOW
        if not has_news and now < peer.due:
            return False
        # A sign of life follows what is known to be there: it may overtake the entries under way.
        previous = peer.next_index - 1 if has_news or peer.match_index <= self.base else peer.match_index
        first = previous - self.base
        entries = self.tail[first : first + MOST_ENTRIES] if has_news else []
        if has_news:
            peer.next_index += len(entries)
            peer.under_way += 1
        prev_term = self._term(previous)
        self._call_locked(number, peer, AppendEntriesArgs(term, me, previous, prev_term, entries, self.commit_index))
        return True

    def _call_locked(self, number: int, peer: Peer, args: Any) -> None:
        peer.due = time.monotonic() + HEARTBEAT_INTERVAL
        course = peer.course

        def call() -> None:
            reply = self.ends[number].call(HANDLERS[type(args)], args, timeout=CALL_TIMEOUT)
            with self.mu:
                if reply is not None:
                    self._enter_locked(reply.term)
                if self.others.get(number) is peer and self.current_term == args.term:
                    self._on_reply_locked(peer, course, args, reply)

        threading.Thread(target=call, name=f"call to {number}", daemon=True).start()

    def _on_reply_locked(self, peer: Peer, course: int, args: Any, reply: Any) -> None:
        """`peer` has answered, or not (None), this server, which is in the term in which it asked."""
        if isinstance(args, RequestVoteArgs):
            if self.role == "candidate" and reply is not None:
                peer.votes = reply.vote_granted
                self._count_votes_locked()
            return
        if isinstance(args, InstallSnapshotArgs):
            if reply is not None:
                self._matches_locked(peer, args.last_included_index)
            return
        if args.entries:
            peer.under_way -= 1
            self.to_send.notify()
        if reply is not None and reply.success:
            self._matches_locked(peer, max(reply.match_index, args.prev_log_index + len(args.entries)))
        elif course == peer.course and (reply is not None or args.entries):
            agreed = args.prev_log_index if reply is None else reply.match_index
            peer.next_index = max(peer.match_index, min(agreed, peer.next_index - 1)) + 1
            peer.course += 1
            self.to_send.notify()

    def _matches_locked(self, peer: Peer, index: int) -> None:
        if index > peer.match_index:
            peer.match_index = index
            peer.next_index = max(peer.next_index, index + 1)
            self._count_copies_locked()
            self.to_send.notify()

    def _count_copies_locked(self) -> None:
        """Leaders, last rule. This server's own copy counts as far as it is durable."""
        term, own = self.durable_agreed
        copies = [own if term == self.current_term else 0, *(peer.match_index for peer in self.others.values())]
        index = sorted(copies)[(len(copies) - 1) // 2]
        if index > self.commit_index and self._term(index) == self.current_term:
            self._commit_locked(index)

    # -------------------------------------------------------------- receiving

    def _is_led_by_locked(self, term: int) -> bool:
        self._enter_locked(term)
        if term < self.current_term:
            return False
        self.role = "follower"
        self._hope_locked()
        return True

    @rpc
    def append_entries(self, args: AppendEntriesArgs) -> AppendEntriesReply:
        """AppendEntries RPC."""
        with self.mu:
            if not self._is_led_by_locked(args.term) or not self._append_locked(args):
                reply = AppendEntriesReply(self.current_term, False, self.commit_index)
                self._await_durable_locked()
                return reply
            upto = args.prev_log_index + len(args.entries)
            self._await_durable_locked()
            term, agreed = self.durable_agreed
            return AppendEntriesReply(args.term, True, max(upto, agreed) if term == args.term else upto)

    def _append_locked(self, args: AppendEntriesArgs) -> bool:
        covered = max(0, self.base - args.prev_log_index)  # by the snapshot, so committed, so the same
        previous, entries = args.prev_log_index + covered, args.entries[covered:]
        if not covered and (previous > self._last() or self._term(previous) != args.prev_log_term):
            return False
        for place, entry in enumerate(entries, start=previous - self.base):
            if place >= len(self.tail) or self.tail[place].term != entry.term:
                self.tail[place:] = entries[place - (previous - self.base) :]
                self._change_locked()
                break
        self.agreed = max(self.agreed, previous + len(entries))
        self._commit_locked(min(args.leader_commit, previous + len(entries)))
        return True

    @rpc
    def install_snapshot(self, args: InstallSnapshotArgs) -> InstallSnapshotReply:
        """InstallSnapshot RPC, the snapshot in one piece."""
        with self.mu:
            if self._is_led_by_locked(args.term) and args.last_included_index > self.commit_index:
                self._rebase_locked(args.last_included_index, args.last_included_term, args.data)
                self.agreed = max(self.agreed, args.last_included_index)
                self._commit_locked(args.last_included_index)
            reply = InstallSnapshotReply(self.current_term)
            self._await_durable_locked()
            return reply

    # -------------------------------------------------------------- applying

    def _commit_locked(self, index: int) -> None:
        if index > self.commit_index:
            self.commit_index = index
            self.to_apply.notify()

    def _applier(self) -> None:
        while True:
            with self.mu:
                while not self.killed and self.last_applied == self.commit_index:
                    self.to_apply.wait()
                if self.killed:
                    return
                batch = self._next_batch_locked()
            for message in batch:
                self.apply_ch.put(message)

    def _next_batch_locked(self) -> list[ApplyMsg]:
        if self.last_applied < self.base:
            self.last_applied = index = self.base
            data, term = self.snapshot_data, self.base_term
            return [ApplyMsg(snapshot_valid=True, snapshot=data, snapshot_index=index, snapshot_term=term)]
        first = self.last_applied + 1
        self.last_applied = min(self.commit_index, self.last_applied + MOST_ENTRIES)
        entries = self.tail[first - self.base - 1 : self.last_applied - self.base]
        return [
            ApplyMsg(command_valid=True, command=entry.command, command_index=index)
            for index, entry in enumerate(entries, start=first)
        ]
