"""Raft as Figure 2 has it, word for word: a leader steps back by one entry a refusal.

    ticker --each 10 ms--> stands for election, or sends to each peer what is due, a short-lived thread a message
    reply threads -------> next_index, match_index, commit_index
    applier <--condition-- commit_index

How it differs: one lock that covers everything, saves included; nothing is woken by `start`, the ticker finds new
entries at its next look; a message goes out whether or not the one before it was answered, and late answers count.

Why it is correct: whoever changes the term, the vote or the log saves it before the lock is free again, so nothing is
said that is not durable. An answer is taken for what its own request asked: in the leader's present term, success means
that the logs agree up to the last entry sent, whenever it comes; a refusal moves `next_index` only if it is about the
place where that stands now. Entries are never skipped on the way back, so the place where the logs agree is found.
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

TICK = 0.01
"""Seconds between two looks of the ticker."""

HEARTBEAT = 0.09
"""Seconds after which a peer is sent a message in any case, and again what it has not answered."""

PATIENCE = (0.3, 0.6)
"""Seconds without a leader until a server stands for election."""

FOLLOWER, CANDIDATE, LEADER = "follower", "candidate", "leader"


class Raft:
    """One server; the arguments are those of the lab's interface."""

    def __init__(self, peers: Sequence[ClientEnd], me: int, persister: Persister, apply_ch: queue.Queue[Any]) -> None:
        self.peers = peers
        self.me = me
        self.others = [peer for peer in range(len(peers)) if peer != me]
        self.persister = persister
        self.apply_ch = apply_ch
        self.mu = threading.Lock()
        self.news = threading.Condition(self.mu)
        """There is something to apply, or the server was killed."""
        self.killed = False

        self.current_term = 0
        self.voted_for: int | None = None
        # The entries from index `base` on. Of the one at `base`, the snapshot's last, only the term counts.
        self.log = [LogEntry(0, None)]
        self.base = 0

        self.role = FOLLOWER
        self.commit_index = 0
        # Invariant: last_applied <= commit_index; it is below `base` only while a leader's snapshot is to be applied.
        self.last_applied = 0
        self.votes = 0
        self.next_index = [1] * len(peers)
        self.match_index = [0] * len(peers)
        # Up to which index each peer has been sent entries, and when it was last sent anything.
        self.sent_index = [0] * len(peers)
        self.sent_at = [0.0] * len(peers)
        # Whether each peer has refused entries in this term.
        self.refused = [False] * len(peers)

        if saved := persister.read_raft_state():
            self.current_term, self.voted_for, self.base, self.log = decode(saved)
            self.commit_index = self.last_applied = self.base
        self._be_patient_locked()
        threading.Thread(target=self._ticker, name="ticker", daemon=True).start()
        threading.Thread(target=self._applier, name="applier", daemon=True).start()

    # -------------------------------------------------------------- the service's side

    def start(self, command: Any) -> StartResult:
        """Appends `command` if this server leads; see the lab's interface."""
        with self.mu:
            if self.role != LEADER or self.killed:
                return StartResult(-1, self.current_term, False)
            self.log.append(LogEntry(self.current_term, command))
            self._save_locked()
            self._count_locked()  # alone it is a majority
            return StartResult(self._last_index(), self.current_term, True)

    def get_state(self) -> tuple[int, bool]:
        """(term, whether it believes that it leads)."""
        with self.mu:
            return self.current_term, self.role == LEADER

    def snapshot(self, index: int, snapshot: bytes) -> None:
        """The service's state up to `index` is in `snapshot`."""
        with self.mu:
            if index > self.last_applied:
                raise ValueError(f"snapshot at index {index} exceeds last applied index {self.last_applied}")
            if index > self.base:
                self._forget_locked(index)
                self._save_locked(snapshot)

    def persist_bytes(self) -> int:
        """Bytes of saved Raft state."""
        return self.persister.raft_state_size()

    def kill(self) -> None:
        """Ends all threads."""
        with self.mu:
            self.killed = True
            self.news.notify_all()

    # -------------------------------------------------------------- the log

    def _last_index(self) -> int:
        return self.base + len(self.log) - 1

    def _term_at(self, index: int) -> int:
        return self.log[index - self.base].term

    def _forget_locked(self, index: int) -> None:
        self.log = self.log[index - self.base :]
        self.log[0] = LogEntry(self.log[0].term, None)
        self.base = index

    def _save_locked(self, snapshot: bytes | None = None) -> None:
        self.persister.save(encode((self.current_term, self.voted_for, self.base, self.log)), snapshot)

    # -------------------------------------------------------------- time

    def _be_patient_locked(self) -> None:
        self.standing_at = time.monotonic() + random.uniform(*PATIENCE)

    def _ticker(self) -> None:
        while True:
            with self.mu:
                if self.killed:
                    return
                if self.role == LEADER:
                    for peer in self.others:
                        silent = time.monotonic() - self.sent_at[peer] >= HEARTBEAT
                        unsent = self.sent_index[peer] < self._last_index()
                        # Where logs differ much there are many places to try, and few answers may come soon.
                        if silent or unsent or self._is_lost_locked(peer):
                            self._send_locked(peer)
                elif time.monotonic() >= self.standing_at:
                    self._stand_locked()
            time.sleep(TICK)

    # -------------------------------------------------------------- elections

    def _step_down_locked(self, term: int) -> None:
        """All Servers: into a newer term, as a follower."""
        if term > self.current_term:
            if self.role == LEADER:
                self._be_patient_locked()
            self.role = FOLLOWER
            self.current_term, self.voted_for = term, None
            self._save_locked()

    def _stand_locked(self) -> None:
        self.role = CANDIDATE
        self.current_term += 1
        self.voted_for = self.me
        self._save_locked()
        self._be_patient_locked()
        self.votes = 1
        self._win_locked()
        last = self._last_index()
        request = RequestVoteArgs(self.current_term, self.me, last, self._term_at(last))
        for peer in self.others:
            self._call_locked(peer, "request_vote", request, self._on_vote_locked)

    def _win_locked(self) -> None:
        if 2 * self.votes > len(self.peers):
            self.role = LEADER
            self.next_index = [self._last_index() + 1] * len(self.peers)
            self.match_index = [0] * len(self.peers)
            self.sent_index = [self._last_index()] * len(self.peers)
            self.refused = [False] * len(self.peers)
            for peer in self.others:
                self._send_locked(peer)

    @rpc
    def request_vote(self, args: RequestVoteArgs) -> RequestVoteReply:
        """RequestVote RPC."""
        with self.mu:
            self._step_down_locked(args.term)
            last = self._last_index()
            granted = (
                args.term == self.current_term
                and self.voted_for in (None, args.candidate_id)
                and (args.last_log_term, args.last_log_index) >= (self._term_at(last), last)
            )
            if granted:
                self.voted_for = args.candidate_id
                self._save_locked()
                self._be_patient_locked()
            return RequestVoteReply(self.current_term, granted)

    def _on_vote_locked(self, peer: int, args: RequestVoteArgs, reply: RequestVoteReply) -> None:
        if self.role == CANDIDATE and reply.vote_granted:
            self.votes += 1  # each peer was asked once this term
            self._win_locked()

    # -------------------------------------------------------------- replication, the leader's side

    def _is_lost_locked(self, peer: int) -> bool:
        """Whether `peer` has refused, and the place where the logs agree is not found yet."""
        return self.refused[peer] and self.match_index[peer] < self.next_index[peer] - 1

    def _send_locked(self, peer: int) -> None:
        """All that `peer` may lack, or nothing but a sign of life or a question whether the logs agree."""
        self.sent_at[peer] = time.monotonic()
        previous = self.next_index[peer] - 1
        if previous < self.base:
            self.sent_index[peer] = self._last_index()
            snapshot = self.persister.read_snapshot()
            install = InstallSnapshotArgs(self.current_term, self.me, self.base, self.log[0].term, snapshot)
            self._call_locked(peer, "install_snapshot", install, self._on_installed_locked)
            return
        entries: list[LogEntry] = []
        if not self._is_lost_locked(peer):
            entries = self.log[previous - self.base + 1 :]
            self.sent_index[peer] = self._last_index()
        request = AppendEntriesArgs(
            self.current_term, self.me, previous, self._term_at(previous), entries, self.commit_index
        )
        self._call_locked(peer, "append_entries", request, self._on_appended_locked)

    def _on_appended_locked(self, peer: int, args: AppendEntriesArgs, reply: AppendEntriesReply) -> None:
        if self.role != LEADER:
            return
        if reply.success:
            self._matches_locked(peer, args.prev_log_index + len(args.entries))
        elif args.prev_log_index == self.next_index[peer] - 1 and self.next_index[peer] > self.match_index[peer] + 1:
            self.next_index[peer] -= 1
            self.refused[peer] = True
            self._send_locked(peer)

    def _on_installed_locked(self, peer: int, args: InstallSnapshotArgs, reply: InstallSnapshotReply) -> None:
        if self.role == LEADER and args.last_included_index > self.match_index[peer]:
            self._matches_locked(peer, args.last_included_index)
            self.sent_index[peer] = args.last_included_index  # what follows is due now

    def _matches_locked(self, peer: int, index: int) -> None:
        if index > self.match_index[peer]:
            if self._is_lost_locked(peer):  # found: what follows is due now
                self.sent_index[peer] = index
            self.match_index[peer] = index
            self.next_index[peer] = max(self.next_index[peer], index + 1)
            self._count_locked()

    def _count_locked(self) -> None:
        """Leaders, last rule: an entry of this term that is on a majority is committed, and all before it."""
        self.match_index[self.me] = self._last_index()
        index = sorted(self.match_index)[(len(self.peers) - 1) // 2]
        if index > self.commit_index and self._term_at(index) == self.current_term:
            self.commit_index = index
            self.news.notify_all()

    # -------------------------------------------------------------- replication, the follower's side

    def _heard_from_leader_locked(self, term: int) -> bool:
        """Whether `term` is not over; then its leader is this server's."""
        self._step_down_locked(term)
        if term < self.current_term:
            return False
        self.role = FOLLOWER
        self._be_patient_locked()
        return True

    @rpc
    def append_entries(self, args: AppendEntriesArgs) -> AppendEntriesReply:
        """AppendEntries RPC."""
        with self.mu:
            good = self._heard_from_leader_locked(args.term) and self._append_locked(args)
            return AppendEntriesReply(self.current_term, good)

    def _append_locked(self, args: AppendEntriesArgs) -> bool:
        previous, entries = args.prev_log_index, args.entries
        if previous < self.base:  # what the snapshot covers is committed: it agrees
            entries = entries[self.base - previous :]
            previous = self.base
        elif previous > self._last_index() or self._term_at(previous) != args.prev_log_term:
            return False
        for index, entry in enumerate(entries, start=previous + 1):
            if index > self._last_index() or self._term_at(index) != entry.term:
                self.log[index - self.base :] = entries[index - previous - 1 :]
                self._save_locked()
                break
        committed = min(args.leader_commit, previous + len(entries))
        if committed > self.commit_index:
            self.commit_index = committed
            self.news.notify_all()
        return True

    @rpc
    def install_snapshot(self, args: InstallSnapshotArgs) -> InstallSnapshotReply:
        """InstallSnapshot RPC, the snapshot in one piece."""
        with self.mu:
            index = args.last_included_index
            if self._heard_from_leader_locked(args.term) and index > self.commit_index:
                if index <= self._last_index() and self._term_at(index) == args.last_included_term:
                    self._forget_locked(index)
                else:
                    self.log, self.base = [LogEntry(args.last_included_term, None)], index
                self._save_locked(args.data)
                self.commit_index = index
                self.news.notify_all()
            return InstallSnapshotReply(self.current_term)

    # -------------------------------------------------------------- calls, applying

    def _call_locked(self, peer: int, handler: str, request: Any, take: Any) -> None:
        """Calls a handler of `peer` on a thread of its own, which gives `take` the reply, if it comes in this term."""

        def call() -> None:
            reply = self.peers[peer].call(f"Raft.{handler}", request)
            if reply is not None:
                with self.mu:
                    self._step_down_locked(reply.term)
                    if self.current_term == request.term and not self.killed:
                        take(peer, request, reply)

        threading.Thread(target=call, name=f"{handler} to {peer}", daemon=True).start()

    def _applier(self) -> None:
        while True:
            with self.mu:
                while not self.killed and self.last_applied == self.commit_index:
                    self.news.wait()
                if self.killed:
                    return
                first = self.last_applied + 1
                if first <= self.base:
                    self.last_applied = self.base
                    batch = [
                        ApplyMsg(
                            snapshot_valid=True,
                            snapshot=self.persister.read_snapshot(),
                            snapshot_index=self.base,
                            snapshot_term=self.log[0].term,
                        )
                    ]
                else:
                    self.last_applied = self.commit_index
                    committed = self.log[first - self.base : self.commit_index - self.base + 1]
                    batch = [
                        ApplyMsg(command_valid=True, command=entry.command, command_index=index)
                        for index, entry in enumerate(committed, start=first)
                    ]
            for message in batch:
                self.apply_ch.put(message)
