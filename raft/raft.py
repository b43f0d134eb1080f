"""A Raft server: roles, elections, replication, persistence, compaction (§5, §7).

    start(command) -> log -> peer loops -AppendEntries-> followers -> commit_index -> applier -> apply_ch

    threads   one election timer; one loop for each peer, which asks for its vote, sends it entries, heartbeats or a
              snapshot, one call at a time; one applier; handlers of incoming RPCs
    lock      `mu` guards every field; it is never held across an RPC, a sleep, a put or a wait for the disk

One rule keeps crashes harmless: every message, request or reply, waits until the latest save at the time it was made is
durable. Saves complete in order, so all that the message promises is durable then.
"""

from __future__ import annotations

import enum
import queue
import random
import threading
import time
from collections.abc import Sequence
from typing import Any, ClassVar

from labrpc import ClientEnd, Persister, decode, encode, rpc
from raft.log import Log
from raft.messages import (
    AppendEntriesArgs,
    AppendEntriesReply,
    ApplyMsg,
    InstallSnapshotArgs,
    InstallSnapshotReply,
    LogEntry,
    PersistentState,
    RequestVoteArgs,
    RequestVoteReply,
    StartResult,
)
from raft.rules import committed_index, is_at_least_as_up_to_date, majority

__all__ = ["Raft", "Role"]

HEARTBEAT_INTERVAL = 0.1
"""Seconds between a leader's messages to one follower when there is nothing to send."""

ELECTION_TIMEOUT = (0.3, 0.6)
"""Seconds without a leader until a server stands for election, drawn anew each time (§5.2). Several heartbeats fit in
the shorter one, so that a few lost messages start no election."""

VOTE_RETRY_INTERVAL = 0.05
"""Seconds until a candidate asks again a peer that has not answered."""

RPC_TIMEOUT = 0.1
"""Seconds after which a peer's loop gives up a call. It must not wait long: the next message may get through."""

MAX_BATCH = 1000
"""Entries in one AppendEntries, and commands handed to the applier at once."""


class Role(enum.Enum):
    """What a server is at the moment (§5.1)."""

    FOLLOWER = "follower"
    CANDIDATE = "candidate"
    LEADER = "leader"


class Raft:
    """One server of a Raft cluster.

    Args:
        peers: an end for each server of the cluster, this one's own included, in the same order everywhere.
        me: this server's place in `peers`.
        persister: its stable storage; it starts from what it finds there.
        apply_ch: where it puts committed commands and snapshots, an `ApplyMsg` each, in order. After a restart commands
            after the persister's snapshot come again; the snapshot itself is the service's to read.
    """

    service_name = "Raft"
    methods: ClassVar[dict[type, str]] = {
        RequestVoteArgs: "Raft.request_vote",
        AppendEntriesArgs: "Raft.append_entries",
        InstallSnapshotArgs: "Raft.install_snapshot",
    }
    """The handler that each request is for."""

    def __init__(self, peers: Sequence[ClientEnd], me: int, persister: Persister, apply_ch: queue.Queue[Any]) -> None:
        self.peers = peers
        self.me = me
        self.persister = persister
        self.apply_ch = apply_ch
        self.mu = threading.Lock()
        self.work_ready = threading.Condition(self.mu)
        """Wakes the peers' loops when there is something new to send, and at the end."""
        self.apply_ready = threading.Condition(self.mu)
        """Wakes the applier when there is something to apply, and at the end."""
        self.killed = False

        # Persistent state (Fig. 2).
        # Latest term this server has seen. Invariant: it never decreases, restarts included.
        self.current_term = 0
        # Candidate that got this server's vote in current_term. Invariant: set at most once a term.
        self.voted_for: int | None = None
        self.log = Log()
        # The state that log.last_included_index stands for, b"" if there is none.
        self.snapshot_data = b""
        # The save that is the last to complete; what this server says waits for it.
        self.latest_save: Any = None

        # Volatile state on all servers.
        self.role = Role.FOLLOWER
        # Highest index known to be committed. Invariant: log.last_included_index <= commit_index <= log.last_index.
        self.commit_index = 0
        # Highest index handed to the applier. Invariant: last_applied <= commit_index.
        self.last_applied = 0
        # Whether a snapshot from the leader has still to be applied, before any entry after it.
        self.snapshot_pending = False
        # When this server, if it is no leader, stands for election; in time.monotonic() seconds.
        self.election_deadline = 0.0

        # Volatile state on candidates, new in each election.
        # Servers whose votes it has in current_term. Invariant: its own is among them.
        self.votes: set[int] = set()
        # Servers that have answered the request, one way or the other.
        self.voters_heard: set[int] = set()

        # Volatile state on leaders, new in each term.
        # Index of the next entry to send to each server. Invariant: match_index[i] < next_index[i] <= last_index + 1.
        self.next_index = [1] * len(peers)
        # Highest index known to be on each server. Invariant: it never decreases within a term.
        self.match_index = [0] * len(peers)
        # When the next message to each peer is due, in time.monotonic() seconds.
        self.next_send = [0.0] * len(peers)

        self._restore()
        self._prepare()
        self._reset_election_timer_locked()
        self._spawn("election timer", self._election_timer)
        self._spawn("applier", self._applier)
        for peer in range(len(peers)):
            if peer != me:
                self._spawn(f"peer {peer}", self._peer_loop, peer)

    def _prepare(self) -> None:
        """For extensions: fields of their own, before any thread runs."""

    def _spawn(self, name: str, target: Any, *args: Any) -> None:
        threading.Thread(target=target, args=args, name=name, daemon=True).start()

    # -------------------------------------------------------------- interface to the service

    def start(self, command: Any) -> StartResult:
        """Appends `command` to the log if this server leads, and returns at once; it may never be committed.

        Returns:
            Where it will stand if it is, and the term; (-1, term, False) if this server does not lead or was killed.

        Raises:
            CodecError: `command` cannot be encoded; nothing has changed.
        """
        with self.mu:
            if self.role is not Role.LEADER or self.killed:
                return StartResult(-1, self.current_term, False)
            index = self.log.append(LogEntry(self.current_term, command))
            self._save_locked()
            self._send_now_locked()
            result, saved = StartResult(index, self.current_term, True), self.latest_save
        if len(self.peers) == 1:  # nobody's answer will say that the save is durable
            saved.result()
            with self.mu:
                self._commit_locked(index)  # and no further: a later command's save may still be pending
        return result

    def get_state(self) -> tuple[int, bool]:
        """(current term, whether this server believes that it leads it)."""
        with self.mu:
            return self.current_term, self.role is Role.LEADER

    def snapshot(self, index: int, snapshot: bytes) -> None:
        """The service has put the effect of everything up to `index` into `snapshot`: the log may forget it (§7).

        A snapshot that is older than the latest one is ignored.

        Raises:
            ValueError: `index` has not been handed to the service here.
        """
        with self.mu:
            if index > self.last_applied:
                raise ValueError(f"snapshot at index {index} exceeds last applied index {self.last_applied}")
            if index <= self.log.last_included_index:
                return
            self.log.compact(index)
            self.snapshot_data = snapshot
            self._save_locked(snapshot)

    def persist_bytes(self) -> int:
        """Bytes of raft state on stable storage: the service's measure of when to take a snapshot."""
        return self.persister.raft_state_size()

    def kill(self) -> None:
        """Ends this server's threads; calls already under way may still finish."""
        with self.mu:
            self.killed = True
            self.work_ready.notify_all()
            self.apply_ready.notify_all()

    # -------------------------------------------------------------- stable storage

    def _save_locked(self, snapshot: bytes | None = None) -> None:
        """Hands to the disk what Fig. 2 calls persistent. It is durable once `latest_save` is done."""
        state = PersistentState(
            self.current_term,
            self.voted_for,
            self.log.last_included_index,
            self.log.last_included_term,
            self.log.encoded(),
        )
        self.latest_save = self.persister.save_async(encode(state), snapshot)

    def _restore(self) -> None:
        saved = self.persister.read_raft_state()
        if saved:
            state: PersistentState = decode(saved)
            self.current_term = state.current_term
            self.voted_for = state.voted_for
            self.log = Log.from_encoded(state.last_included_index, state.last_included_term, state.log)
            self.snapshot_data = self.persister.read_snapshot()
            self.commit_index = self.last_applied = self.log.last_included_index

    @staticmethod
    def _wait_until_durable(save: Any) -> None:
        if save is not None:
            save.result()

    # -------------------------------------------------------------- roles: the only places where one changes

    def _become_follower_locked(self, term: int) -> None:
        """Steps down, into `term` if that is newer (Fig. 2, All Servers)."""
        assert term >= self.current_term, f"term {term} is older than current_term {self.current_term}"
        if self.role is Role.LEADER:
            # Its deadline is from before it led, so it is over: it would stand at once, against its successor.
            self._reset_election_timer_locked()
        self.role = Role.FOLLOWER
        if term > self.current_term:
            self.current_term = term
            self.voted_for = None
            self._save_locked()

    def _become_candidate_locked(self) -> None:
        """Starts an election: a new term, a vote for oneself (Fig. 2, Candidates)."""
        assert self.role is not Role.LEADER, f"leader {self.me} of term {self.current_term} cannot stand again"
        self.role = Role.CANDIDATE
        self.current_term += 1
        self.voted_for = self.me
        self._save_locked()
        self._ask_for_votes_locked()
        self._count_votes_locked()

    def _become_leader_locked(self) -> None:
        """Takes the lead of the term it was elected in (Fig. 2, Leaders)."""
        assert self.role is Role.CANDIDATE, f"{self.role.value} {self.me} cannot become leader"
        assert len(self.votes) >= majority(len(self.peers)), f"{len(self.votes)} votes are no majority"
        self.role = Role.LEADER
        self.next_index = [self.log.last_index + 1] * len(self.peers)
        self.match_index = [0] * len(self.peers)
        self._send_now_locked()  # heartbeats at once keep others from standing

    # -------------------------------------------------------------- elections (§5.2, §5.4.1)

    def _election_timer(self) -> None:
        """Stands for election whenever the election timeout passes without a leader or a vote granted."""
        while True:
            with self.mu:
                if self.killed:
                    return
                wait = self.election_deadline - time.monotonic()
                if wait <= 0:
                    self._election_timeout_locked()
                    continue
            time.sleep(wait)

    def _election_timeout_locked(self) -> None:
        if self.role is Role.LEADER:
            self._reset_election_timer_locked()
        else:
            self._become_candidate_locked()

    def _reset_election_timer_locked(self) -> None:
        self.election_deadline = time.monotonic() + random.uniform(*ELECTION_TIMEOUT)

    def _ask_for_votes_locked(self) -> None:
        self.votes = {self.me}
        self.voters_heard = {self.me}
        self._reset_election_timer_locked()
        self._send_now_locked()

    @rpc
    def request_vote(self, args: RequestVoteArgs) -> RequestVoteReply:
        """Fig. 2, RequestVote RPC, receiver implementation."""
        with self.mu:
            granted = self._grant_vote_locked(args)
            reply, saved = RequestVoteReply(self.current_term, granted), self.latest_save
        self._wait_until_durable(saved)
        return reply

    def _grant_vote_locked(self, args: RequestVoteArgs) -> bool:
        if args.term < self.current_term:  # 1
            return False
        if args.term > self.current_term:  # All Servers
            self._become_follower_locked(args.term)
        if self.voted_for not in (None, args.candidate_id):  # 2
            return False
        if not self._may_be_led_by_locked(args.last_log_index, args.last_log_term):
            return False
        if self.voted_for is None:
            self.voted_for = args.candidate_id
            self._save_locked()
        # Only a granted vote resets the timer: a candidate that cannot win must not silence one that can.
        self._reset_election_timer_locked()
        return True

    def _may_be_led_by_locked(self, last_log_index: int, last_log_term: int) -> bool:
        """Whether a log that ends so is at least as up to date as this server's (§5.4.1)."""
        return is_at_least_as_up_to_date(
            last_log_term=last_log_term,
            last_log_index=last_log_index,
            than_last_log_term=self.log.last_term,
            than_last_log_index=self.log.last_index,
        )

    def _handle_vote_locked(self, peer: int, args: RequestVoteArgs, reply: RequestVoteReply) -> None:
        if self.role is not Role.CANDIDATE or args.term != self.current_term:
            return  # a reply to an election that is over
        self.voters_heard.add(peer)
        if reply.vote_granted:
            self.votes.add(peer)
            self._count_votes_locked()

    def _count_votes_locked(self) -> None:
        if len(self.votes) >= majority(len(self.peers)):
            self._become_leader_locked()

    # -------------------------------------------------------------- log replication (§5.3), follower's side

    @rpc
    def append_entries(self, args: AppendEntriesArgs) -> AppendEntriesReply:
        """Fig. 2, AppendEntries RPC, receiver implementation."""
        with self.mu:
            reply, saved = self._append_locked(args), self.latest_save
        self._wait_until_durable(saved)
        return reply

    def _append_locked(self, args: AppendEntriesArgs) -> AppendEntriesReply:
        if args.term < self.current_term:  # 1
            return AppendEntriesReply(self.current_term, success=False)
        # Candidates: an AppendEntries from the term's leader ends the election.
        self._follow_leader_locked(args.term)

        log = self.log
        prev_log_index, entries = args.prev_log_index, args.entries
        if prev_log_index < log.last_included_index:
            # The snapshot has the beginning of this message: it is committed, so it agrees.
            entries = entries[log.last_included_index - prev_log_index :]
            prev_log_index = log.last_included_index
        elif prev_log_index > log.last_index:  # 2: the log is too short
            return AppendEntriesReply(self.current_term, success=False, conflict_index=log.last_index + 1)
        elif log.term_at(prev_log_index) != args.prev_log_term:  # 2
            return AppendEntriesReply(
                self.current_term,
                success=False,
                conflict_term=log.term_at(prev_log_index),
                conflict_index=log.first_index_of_term_at(prev_log_index),
            )
        for offset, entry in enumerate(entries):
            index = prev_log_index + 1 + offset
            # 3: only a conflict may cut the log. A delayed message that holds less than the log must not: the leader
            # may have counted what it would remove.
            if index <= log.last_index and log.term_at(index) == entry.term:
                continue
            if index <= log.last_index:
                assert index > self.commit_index, f"committed entry {index} conflicts with leader {args.leader_id}"
                log.truncate(index)
            for new in entries[offset:]:  # 4
                log.append(new)
            self._save_locked()
            break
        # 5: no further than what this message has checked; a longer tail may be an old leader's.
        self._commit_locked(min(args.leader_commit, prev_log_index + len(entries)))
        return AppendEntriesReply(self.current_term, success=True)

    def _follow_leader_locked(self, term: int) -> None:
        """A message of the leader of `term` has come."""
        self._become_follower_locked(term)
        self._reset_election_timer_locked()

    def _commit_locked(self, index: int) -> None:
        if index > self.commit_index:
            self.commit_index = index
            self.apply_ready.notify_all()

    # -------------------------------------------------------------- log replication, leader's side

    def _handle_append_locked(self, peer: int, args: AppendEntriesArgs, reply: AppendEntriesReply) -> None:
        if self.role is not Role.LEADER or args.term != self.current_term:
            return  # a reply to what it sent as leader of another term
        if reply.success:
            self._matched_locked(peer, args.prev_log_index + len(args.entries))
        elif args.prev_log_index == self.next_index[peer] - 1:
            self.next_index[peer] = self._step_back_locked(peer, args, reply)
            self._send_now_locked(peer)

    def _step_back_locked(self, peer: int, args: AppendEntriesArgs, reply: AppendEntriesReply) -> int:
        """The next index to try: back by a whole term at a time (§5.3, end).

        leader    4 4 6 6 6          the follower's entry at prev_log_index has term 5, from index 3 on;
        follower  4 4 5 5            the leader has no term 5, so nothing from index 3 on can match
        """
        log = self.log
        next_index = reply.conflict_index
        if reply.conflict_term:
            same_term = log.last_index_of_term(reply.conflict_term)
            if same_term is not None:
                next_index = same_term + 1
        return max(self.match_index[peer] + 1, min(next_index, args.prev_log_index))

    def _matched_locked(self, peer: int, index: int) -> None:
        """`peer` has everything up to `index`."""
        if index > self.match_index[peer]:
            self.match_index[peer] = index
            self._advance_commit_locked()
        self.next_index[peer] = max(self.next_index[peer], index + 1)
        if self.next_index[peer] <= self.log.last_index:
            self._send_now_locked(peer)

    def _advance_commit_locked(self) -> None:
        """Fig. 2, Leaders, last rule. Its own entries count: what a follower acknowledged was durable here first."""
        self.match_index[self.me] = self.log.last_index
        index = committed_index(self.match_index)
        # Only entries of its own term are committed by counting (§5.4.2, Figure 8); older ones come with them.
        if index > self.commit_index and self.log.term_at(index) == self.current_term:
            self._commit_locked(index)

    # -------------------------------------------------------------- compaction (§7)

    @rpc
    def install_snapshot(self, args: InstallSnapshotArgs) -> InstallSnapshotReply:
        """Fig. 13, receiver implementation, with the snapshot in one piece."""
        with self.mu:
            self._install_locked(args)
            reply, saved = InstallSnapshotReply(self.current_term), self.latest_save
        self._wait_until_durable(saved)
        return reply

    def _install_locked(self, args: InstallSnapshotArgs) -> None:
        if args.term < self.current_term:  # 1
            return
        self._follow_leader_locked(args.term)
        index, term = args.last_included_index, args.last_included_term
        if index <= self.commit_index:
            return  # a late one: the log has it all, and going back would lose what was applied
        if index <= self.log.last_index and self.log.term_at(index) == term:
            self.log.compact(index)  # 6: what follows the snapshot stays
        else:
            self.log = Log(index, term)  # 7
        self.snapshot_data = args.data
        self._save_locked(args.data)  # 5
        self.commit_index = index
        self.snapshot_pending = True  # 8
        self.apply_ready.notify_all()

    # -------------------------------------------------------------- applying

    def _applier(self) -> None:
        """Hands committed commands and installed snapshots to the service, in order, with no lock held."""
        while True:
            batch = self._next_to_apply()
            if batch is None:
                return
            for message in batch:
                self.apply_ch.put(message)

    def _next_to_apply(self) -> list[ApplyMsg] | None:
        """Waits for what comes next; None once killed."""
        with self.mu:
            while not (self.killed or self.snapshot_pending or self.last_applied < self.commit_index):
                self.apply_ready.wait()
            if self.killed:
                return None
            if not self.snapshot_pending:
                first = self.last_applied + 1
                entries = self.log.entries(first, min(MAX_BATCH, self.commit_index - self.last_applied))
                self.last_applied += len(entries)
                return [
                    ApplyMsg(command_valid=True, command=entry.command, command_index=first + offset)
                    for offset, entry in enumerate(entries)
                ]
            self.snapshot_pending = False
            self.last_applied = self.log.last_included_index
            message = ApplyMsg(
                snapshot_valid=True,
                snapshot=self.snapshot_data,
                snapshot_index=self.log.last_included_index,
                snapshot_term=self.log.last_included_term,
            )
            saved = self.latest_save
        self._wait_until_durable(saved)  # else a crash could bring back a state older than what the service has seen
        return [message]

    # -------------------------------------------------------------- one loop a peer

    def _send_now_locked(self, peer: int | None = None) -> None:
        """There is something to send: to `peer`, or to all."""
        if peer is None:
            self.next_send = [0.0] * len(self.peers)
        else:
            self.next_send[peer] = 0.0
        self.work_ready.notify_all()

    def _peer_loop(self, peer: int) -> None:
        """Sends `peer` what is due, one call at a time: so many peers, so many threads, whatever the network does."""
        while True:
            request = self._next_request(peer)
            if request is None:
                return
            reply = self.peers[peer].call(self.methods[type(request)], request, timeout=RPC_TIMEOUT)
            if reply is not None:
                with self.mu:
                    self._handle_reply_locked(peer, request, reply)

    def _next_request(self, peer: int) -> Any:
        """Waits until something is due for `peer` and what it says is durable; None once killed."""
        with self.mu:
            while True:
                if self.killed:
                    return None
                wait = None
                if self._talks_to_locked(peer):
                    wait = self.next_send[peer] - time.monotonic()
                    if wait <= 0:
                        break
                self.work_ready.wait(wait)
            request, saved = self._request_locked(peer), self.latest_save
        self._wait_until_durable(saved)
        return request

    def _talks_to_locked(self, peer: int) -> bool:
        """Whether this server has anything to say to `peer`, sooner or later."""
        return self.role is Role.LEADER or (self.role is Role.CANDIDATE and peer not in self.voters_heard)

    def _request_locked(self, peer: int) -> Any:
        log = self.log
        if self.role is Role.CANDIDATE:
            self.next_send[peer] = time.monotonic() + VOTE_RETRY_INTERVAL
            return RequestVoteArgs(self.current_term, self.me, log.last_index, log.last_term)
        self.next_send[peer] = time.monotonic() + HEARTBEAT_INTERVAL
        prev_log_index = self.next_index[peer] - 1
        if prev_log_index < log.last_included_index:  # what it needs next is compacted
            return InstallSnapshotArgs(
                self.current_term, self.me, log.last_included_index, log.last_included_term, self.snapshot_data
            )
        return AppendEntriesArgs(
            self.current_term,
            self.me,
            prev_log_index,
            log.term_at(prev_log_index),
            log.entries(prev_log_index + 1, MAX_BATCH),
            self.commit_index,
        )

    def _handle_reply_locked(self, peer: int, request: Any, reply: Any) -> None:
        if reply.term > self.current_term:  # All Servers
            self._become_follower_locked(reply.term)
        elif isinstance(request, RequestVoteArgs):
            self._handle_vote_locked(peer, request, reply)
        elif isinstance(request, AppendEntriesArgs):
            self._handle_append_locked(peer, request, reply)
        elif self.role is Role.LEADER and request.term == self.current_term:
            self._matched_locked(peer, request.last_included_index)
