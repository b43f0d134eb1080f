"""A Raft server: roles, leader election, heartbeats (§5.1, §5.2).

    election timer --timeout--> candidate --majority--> leader
         ^                          |                      |
         +------- follower <--------+---- higher term -----+

    threads   one election timer; one loop for each peer, which asks it for its vote or sends it heartbeats;
              handlers of incoming RPCs
    lock      `mu` guards every field; it is never held across an RPC or a sleep

A server answers an RPC, and sends one, only after what the message promises is on stable storage.
"""

from __future__ import annotations

import enum
import queue
import random
import threading
import time
from collections.abc import Sequence
from typing import Any

from labrpc import ClientEnd, Persister, decode, encode, rpc
from raft.log import Log
from raft.messages import (
    AppendEntriesArgs,
    AppendEntriesReply,
    PersistentState,
    RequestVoteArgs,
    RequestVoteReply,
    StartResult,
)
from raft.rules import is_at_least_as_up_to_date, majority

__all__ = ["Raft", "Role"]

HEARTBEAT_INTERVAL = 0.1
"""Seconds between a leader's heartbeats to one follower."""

ELECTION_TIMEOUT = (0.3, 0.6)
"""Seconds without a leader until a server stands for election, drawn anew each time (§5.2). Several heartbeats fit in
the shorter one, so that a few lost messages start no election."""

VOTE_RETRY_INTERVAL = 0.05
"""Seconds until a candidate asks again a peer that has not answered."""

RPC_TIMEOUT = 0.15
"""Seconds after which a peer's loop gives up a call. It must not wait long: the next message may get through."""


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
        apply_ch: where it puts committed commands and snapshots, as `ApplyMsg`s.
    """

    def __init__(
        self, peers: Sequence[ClientEnd], me: int, persister: Persister, apply_ch: queue.Queue[Any]
    ) -> None:
        self.peers = peers
        self.me = me
        self.persister = persister
        self.apply_ch = apply_ch
        self.mu = threading.Lock()
        self.role_changed = threading.Condition(self.mu)
        """Wakes the peers' loops when there is something new to send, and everything at the end."""
        self.killed = False

        # Persistent state (Fig. 2), saved before any message that depends on it leaves.
        # Latest term this server has seen. Invariant: it never decreases, restarts included.
        self.current_term = 0
        # Candidate that got this server's vote in current_term. Invariant: set at most once a term.
        self.voted_for: int | None = None
        self.log = Log()

        # Volatile state.
        self.role = Role.FOLLOWER
        # When this server, if it is no leader, stands for election; in time.monotonic() seconds.
        self.election_deadline = 0.0
        # Servers whose votes a candidate has in current_term. Invariant: a candidate's own is among them.
        self.votes: set[int] = set()
        # Servers that have answered the candidate's request, one way or the other.
        self.voters_heard: set[int] = set()
        # When the next message to each peer is due, in time.monotonic() seconds.
        self.next_send = [0.0] * len(peers)

        self._restore()
        self._reset_election_timer_locked()
        threading.Thread(target=self._election_timer, name="election timer", daemon=True).start()
        for peer in range(len(peers)):
            if peer != me:
                threading.Thread(target=self._peer_loop, args=(peer,), name=f"peer {peer}", daemon=True).start()

    # -------------------------------------------------------------- interface to the service

    def start(self, command: Any) -> StartResult:
        """Appends `command` to the log if this server is the leader; part 2B builds this."""
        raise NotImplementedError("2B: append the command to the leader's log and replicate it")

    def get_state(self) -> tuple[int, bool]:
        """(current term, whether this server believes that it leads it)."""
        with self.mu:
            return self.current_term, self.role is Role.LEADER

    def kill(self) -> None:
        """Ends this server's threads; calls already under way may still finish."""
        with self.mu:
            self.killed = True
            self.role_changed.notify_all()

    # -------------------------------------------------------------- stable storage

    def _persist_locked(self) -> None:
        """Saves what Fig. 2 calls persistent; on return it is durable."""
        state = PersistentState(self.current_term, self.voted_for, self.log.entries)
        self.persister.save(encode(state))

    def _restore(self) -> None:
        saved = self.persister.read_raft_state()
        if saved:
            state: PersistentState = decode(saved)
            self.current_term = state.current_term
            self.voted_for = state.voted_for
            self.log = Log(state.log)

    # -------------------------------------------------------------- roles: the only places where one changes

    def _become_follower_locked(self, term: int) -> None:
        """Steps down, into `term` if that is newer (Fig. 2, All Servers)."""
        assert term >= self.current_term, f"term {term} is older than current_term {self.current_term}"
        self.role = Role.FOLLOWER
        if term > self.current_term:
            self.current_term = term
            self.voted_for = None
            self._persist_locked()

    def _become_candidate_locked(self) -> None:
        """Starts an election: a new term, a vote for oneself (Fig. 2, Candidates)."""
        assert self.role is not Role.LEADER, f"leader {self.me} of term {self.current_term} cannot stand again"
        self.role = Role.CANDIDATE
        self.current_term += 1
        self.voted_for = self.me
        self._persist_locked()
        self.votes = {self.me}
        self.voters_heard = {self.me}
        self._reset_election_timer_locked()
        self._send_now_locked()
        self._count_votes_locked()

    def _become_leader_locked(self) -> None:
        """Takes the lead of the term it was elected in (Fig. 2, Leaders)."""
        assert self.role is Role.CANDIDATE, f"{self.role.value} {self.me} cannot become leader"
        assert len(self.votes) >= majority(len(self.peers)), f"{len(self.votes)} votes are no majority"
        self.role = Role.LEADER
        self._send_now_locked()  # heartbeats at once keep others from standing

    # -------------------------------------------------------------- elections (§5.2)

    def _election_timer(self) -> None:
        """Stands for election whenever the election timeout passes without a leader or a vote granted."""
        while True:
            with self.mu:
                if self.killed:
                    return
                wait = self.election_deadline - time.monotonic()
                if wait <= 0:
                    if self.role is Role.LEADER:
                        self._reset_election_timer_locked()
                    else:
                        self._become_candidate_locked()
                    continue
            time.sleep(wait)

    def _reset_election_timer_locked(self) -> None:
        self.election_deadline = time.monotonic() + random.uniform(*ELECTION_TIMEOUT)

    @rpc
    def request_vote(self, args: RequestVoteArgs) -> RequestVoteReply:
        """Fig. 2, RequestVote RPC, receiver implementation."""
        with self.mu:
            if args.term < self.current_term:  # 1
                return RequestVoteReply(self.current_term, vote_granted=False)
            if args.term > self.current_term:  # All Servers
                self._become_follower_locked(args.term)
            up_to_date = is_at_least_as_up_to_date(
                last_log_term=args.last_log_term,
                last_log_index=args.last_log_index,
                than_last_log_term=self.log.last_term,
                than_last_log_index=self.log.last_index,
            )
            if self.voted_for in (None, args.candidate_id) and up_to_date:  # 2
                if self.voted_for is None:
                    self.voted_for = args.candidate_id
                    self._persist_locked()
                # Only a granted vote resets the timer: a candidate that cannot win must not silence one that can.
                self._reset_election_timer_locked()
                return RequestVoteReply(self.current_term, vote_granted=True)
            return RequestVoteReply(self.current_term, vote_granted=False)

    def _handle_vote_locked(self, peer: int, args: RequestVoteArgs, reply: RequestVoteReply) -> None:
        if reply.term > self.current_term:
            self._become_follower_locked(reply.term)
        if self.role is not Role.CANDIDATE or args.term != self.current_term:
            return  # a reply to an election that is over
        self.voters_heard.add(peer)
        if reply.vote_granted:
            self.votes.add(peer)
            self._count_votes_locked()

    def _count_votes_locked(self) -> None:
        if len(self.votes) >= majority(len(self.peers)):
            self._become_leader_locked()

    # -------------------------------------------------------------- heartbeats

    @rpc
    def append_entries(self, args: AppendEntriesArgs) -> AppendEntriesReply:
        """Fig. 2, AppendEntries RPC, as far as leader election needs it: heartbeats."""
        with self.mu:
            if args.term < self.current_term:  # 1
                return AppendEntriesReply(self.current_term, success=False)
            # Candidates: an AppendEntries from the term's leader ends the election.
            self._become_follower_locked(args.term)
            self._reset_election_timer_locked()
            return AppendEntriesReply(self.current_term, success=True)

    def _handle_append_locked(self, args: AppendEntriesArgs, reply: AppendEntriesReply) -> None:
        if reply.term > self.current_term:
            self._become_follower_locked(reply.term)

    # -------------------------------------------------------------- one loop a peer

    def _send_now_locked(self) -> None:
        self.next_send = [0.0] * len(self.peers)
        self.role_changed.notify_all()

    def _peer_loop(self, peer: int) -> None:
        """Sends `peer` what is due, one call at a time: so many peers, so many threads, whatever the network does."""
        while True:
            request = self._next_request(peer)
            if request is None:
                return
            method, args = request
            reply = self.peers[peer].call(method, args, timeout=RPC_TIMEOUT)
            if reply is None:
                continue
            with self.mu:
                if isinstance(args, RequestVoteArgs):
                    self._handle_vote_locked(peer, args, reply)
                else:
                    self._handle_append_locked(args, reply)

    def _next_request(self, peer: int) -> tuple[str, RequestVoteArgs | AppendEntriesArgs] | None:
        """Waits until something is due for `peer`; the method to call and its argument, None once killed."""
        with self.mu:
            while not self.killed:
                wait = None
                if self.role is Role.LEADER or (self.role is Role.CANDIDATE and peer not in self.voters_heard):
                    wait = self.next_send[peer] - time.monotonic()
                    if wait <= 0:
                        return self._request_locked(peer)
                self.role_changed.wait(wait)
            return None

    def _request_locked(self, peer: int) -> tuple[str, RequestVoteArgs | AppendEntriesArgs]:
        log = self.log
        if self.role is Role.CANDIDATE:
            self.next_send[peer] = time.monotonic() + VOTE_RETRY_INTERVAL
            return "Raft.request_vote", RequestVoteArgs(self.current_term, self.me, log.last_index, log.last_term)
        self.next_send[peer] = time.monotonic() + HEARTBEAT_INTERVAL
        return "Raft.append_entries", AppendEntriesArgs(
            self.current_term, self.me, log.last_index, log.last_term, entries=[], leader_commit=0
        )
