"""Raft with what a production cluster adds, each by choice: pre-vote, check-quorum, leadership transfer, cheap reads.

    Raft (raft.py)  <--  ProductionRaft: overrides what happens at a timeout, a vote request, a reply

Sections are those of Ongaro's thesis, "Consensus: Bridging Theory and Practice". With all options off and no method of
its own called, it does what `Raft` does, message for message.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from labrpc import ClientEnd, Persister, message, rpc
from raft.messages import LogEntry, RequestVoteArgs, RequestVoteReply, StartResult
from raft.raft import ELECTION_TIMEOUT, VOTE_RETRY_INTERVAL, Raft, Role
from raft.rules import majority, quorum_heard_at

__all__ = ["Options", "ProductionRaft"]


@dataclass(frozen=True)
class Options:
    """What to switch on. All servers of a cluster must agree.

    Attributes:
        pre_vote: ask whether an election could be won before starting one, so that a server that was cut off does not
            depose a working leader when it comes back (§9.6).
        check_quorum: a leader that has not heard from a majority for an election timeout steps down, so that its
            clients look elsewhere (§6.2).
        leases: followers refuse to vote while they hear from a leader (§4.2.3), so that it may answer reads without
            asking them; see `ProductionRaft.lease_read`.
        max_clock_drift: by how much two servers' clocks may differ in speed, as a part of one; leases end that much
            earlier. The answers of `lease_read` are only as good as this bound.
        no_op: a new leader appends an entry with command None, so that it can commit, and answer reads, at once
            (extended paper, §8). The service must ignore it.
    """

    pre_vote: bool = False
    check_quorum: bool = False
    leases: bool = False
    max_clock_drift: float = 0.05
    no_op: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.max_clock_drift < 1:
            raise ValueError(f"max_clock_drift {self.max_clock_drift} is not in 0..1")


@message
@dataclass
class PreVoteArgs:
    """A server asks whether it would get a vote in `term`, which it has not entered (§9.6)."""

    term: int
    candidate_id: int
    last_log_index: int
    last_log_term: int


@message
@dataclass
class PreVoteReply:
    """`term` is the voter's own, for the server that asks to update itself."""

    term: int
    vote_granted: bool


@message
@dataclass
class TimeoutNowArgs:
    """A leader hands over: stand for election at once (§3.10)."""

    term: int
    leader_id: int


@message
@dataclass
class SuccessorVoteArgs(RequestVoteArgs):
    """A RequestVote of a server that its leader asked to stand: leases do not hold it up (§4.2.3, §3.10)."""


@message
@dataclass
class TimeoutNowReply:
    """`term` is for the leader to update itself."""

    term: int


class ProductionRaft(Raft):
    """A `Raft` with `options`; the other arguments are the same."""

    methods: ClassVar[dict[type, str]] = {
        **Raft.methods,
        PreVoteArgs: "Raft.pre_vote",
        TimeoutNowArgs: "Raft.timeout_now",
        SuccessorVoteArgs: "Raft.successor_vote",
    }
    election_timeout: tuple[float, float] = ELECTION_TIMEOUT
    """As the constant, for extensions with other clocks than the lab's: it bounds leases and refusals to vote."""

    def __init__(
        self,
        peers: Sequence[ClientEnd],
        me: int,
        persister: Persister,
        apply_ch: queue.Queue[Any],
        options: Options | None = None,
    ) -> None:
        self.options = options or Options()
        super().__init__(peers, me, persister, apply_ch)

    def _prepare(self) -> None:
        self.progress = threading.Condition(self.mu)
        """Wakes readers when a reply has come or the role has changed."""
        # When this server last heard from a leader, in time.monotonic() seconds. Its start counts: it has forgotten
        # whom it had let hold a lease.
        self.leader_heard_at = time.monotonic()
        # When the latest message to each server was sent, and the latest that was answered in this leader's term.
        self.sent_at = [0.0] * len(self.peers)
        self.heard_at = [0.0] * len(self.peers)
        # When this leader was elected.
        self.led_since = 0.0
        # Whether this follower asks for pre-votes. Invariant: only followers do.
        self.pre_voting = False
        # Whether this candidate stands because its leader asked it to.
        self.is_successor = False
        # Whether this leader has asked somebody to stand in its term: it never trusts its lease again.
        self.has_abdicated = False
        # The server that this leader hands over to, None at most times.
        self.transfer_target: int | None = None

    def kill(self) -> None:
        super().kill()
        with self.mu:
            self.progress.notify_all()

    # -------------------------------------------------------------- roles

    def _become_follower_locked(self, term: int) -> None:
        super()._become_follower_locked(term)
        self.pre_voting = self.is_successor = self.has_abdicated = False
        self.transfer_target = None
        self.progress.notify_all()

    def _become_candidate_locked(self) -> None:
        self.pre_voting = self.is_successor = False
        super()._become_candidate_locked()

    def _become_leader_locked(self) -> None:
        self.is_successor = False
        self.heard_at = [0.0] * len(self.peers)
        self.led_since = time.monotonic()
        super()._become_leader_locked()
        if self.options.no_op:
            self.log.append(LogEntry(self.current_term, None))
            self._save_locked()

    def _follow_leader_locked(self, term: int) -> None:
        super()._follow_leader_locked(term)
        self.leader_heard_at = time.monotonic()

    def _hears_a_leader_locked(self) -> bool:
        """Whether this server leads, or has heard from a leader within the shortest election timeout."""
        return self.role is Role.LEADER or time.monotonic() < self.leader_heard_at + self.election_timeout[0]

    # -------------------------------------------------------------- pre-vote (§9.6), check-quorum (§6.2)

    def _election_timeout_locked(self) -> None:
        if self.role is Role.LEADER:
            self.transfer_target = None  # it has had its time
            heard = max(self._quorum_heard_at_locked(), self.led_since)
            if self.options.check_quorum and time.monotonic() > heard + self.election_timeout[1]:
                self._become_follower_locked(self.current_term)
            self._reset_election_timer_locked()
        elif self.options.pre_vote and len(self.peers) > 1:
            super()._become_follower_locked(self.current_term)
            self.pre_voting = True
            self._ask_for_votes_locked()
        else:
            self._become_candidate_locked()

    @rpc
    def pre_vote(self, args: PreVoteArgs) -> PreVoteReply:
        """Whether this server would vote for the one that asks, if it stood now. Nothing changes here."""
        with self.mu:
            granted = (
                args.term > self.current_term
                and not self._hears_a_leader_locked()
                and self._may_be_led_by_locked(args.last_log_index, args.last_log_term)
            )
            return PreVoteReply(self.current_term, granted)

    def _handle_pre_vote_locked(self, peer: int, args: PreVoteArgs, reply: PreVoteReply) -> None:
        if not self.pre_voting or args.term != self.current_term + 1:
            return  # a reply to a question that is no more asked
        self.voters_heard.add(peer)
        if reply.vote_granted:
            self.votes.add(peer)
            if len(self.votes) >= majority(len(self.peers)):
                self._become_candidate_locked()

    def _grant_vote_locked(self, args: RequestVoteArgs) -> bool:
        if self.options.leases and self._hears_a_leader_locked():
            return False  # not even its term counts: the leader may be answering reads on its lease (§4.2.3)
        return super()._grant_vote_locked(args)

    # -------------------------------------------------------------- leadership transfer (§3.10)

    def start(self, command: Any) -> StartResult:
        """As `Raft.start`; refused while the leadership is being handed over."""
        with self.mu:
            if self.transfer_target is not None:
                return StartResult(-1, self.current_term, False)
        return super().start(command)

    def transfer_leadership(self, target: int) -> bool:
        """Has `target` stand for election as soon as its log is complete; commands are refused meanwhile.

        It is given up when an election timeout passes first. Returns whether this server leads, and so has begun.

        Raises:
            ValueError: `target` is this server, or none of the cluster.
        """
        if target == self.me or not 0 <= target < len(self.peers):
            raise ValueError(f"server {target} is not another server of 0..{len(self.peers) - 1}")
        with self.mu:
            if self.role is not Role.LEADER or self.killed:
                return False
            self.transfer_target = target
            self._reset_election_timer_locked()
            self._send_now_locked(target)
            return True

    @rpc
    def timeout_now(self, args: TimeoutNowArgs) -> TimeoutNowReply:
        """The leader hands over: stand for election at once, without pre-vote."""
        with self.mu:
            if args.term == self.current_term and self.role is Role.FOLLOWER:
                self._become_candidate_locked()
                self.is_successor = True
            reply, saved = TimeoutNowReply(self.current_term), self.latest_save
        self._wait_until_durable(saved)
        return reply

    @rpc
    def successor_vote(self, args: SuccessorVoteArgs) -> RequestVoteReply:
        """As `request_vote`, leases notwithstanding."""
        with self.mu:
            granted = super()._grant_vote_locked(args)
            reply, saved = RequestVoteReply(self.current_term, granted), self.latest_save
        self._wait_until_durable(saved)
        return reply

    # -------------------------------------------------------------- reads without the log (§6.4)

    def read_index(self, timeout: float = 1.0) -> int | None:
        """An index such that a read of the service's state, once it has applied that, is linearizable.

        Nothing is written: a majority's answers to messages sent after the call show that no newer leader had been
        elected when it was made. Waits for them, and until the index has been handed to the service.

        Returns:
            The index; None if this server does not lead, has not yet committed in its term, or `timeout` s pass.
        """
        with self.mu:
            if not self._may_read_locked():
                return None
            asked_at, term, index = time.monotonic(), self.current_term, self.commit_index
            self._send_now_locked()
            while self._quorum_heard_at_locked() < asked_at or self.last_applied < index:
                wait = asked_at + timeout - time.monotonic()
                if self.role is not Role.LEADER or self.current_term != term or self.killed or wait <= 0:
                    return None
                self.progress.wait(min(wait, 0.01))  # replies wake it; the applier does not
            return index

    def lease_read(self) -> int | None:
        """As `read_index`, but at once, on the strength of the leader's lease (§6.4.1).

        A majority answered messages sent after some time t, and each refuses votes for the shortest election timeout
        from when it got them. So nobody else can be elected before t plus that timeout on the fastest clock: the lease
        ends `max_clock_drift` of it earlier. If two clocks drift apart faster than that, a read may be stale.

        Returns:
            The index; None if this server does not lead, holds no lease, or has not yet handed over what is committed.
        """
        with self.mu:
            lease = self.election_timeout[0] * (1 - self.options.max_clock_drift)
            may_hold = self.options.leases and not self.has_abdicated
            holds = may_hold and time.monotonic() < self._quorum_heard_at_locked() + lease
            if not (holds and self._may_read_locked() and self.last_applied >= self.commit_index):
                return None
            return self.commit_index

    def _may_read_locked(self) -> bool:
        """Whether this leader knows what is committed: once an entry of its own term is (§6.4, step 1)."""
        leads = self.role is Role.LEADER and not self.killed and self.transfer_target is None
        return leads and self.log.term_at(self.commit_index) == self.current_term

    def _quorum_heard_at_locked(self) -> float:
        """A majority still took this server for its leader at some time after this one (time.monotonic() seconds)."""
        self.heard_at[self.me] = time.monotonic()
        return quorum_heard_at(self.heard_at)

    # -------------------------------------------------------------- one loop a peer

    def _talks_to_locked(self, peer: int) -> bool:
        return super()._talks_to_locked(peer) or (self.pre_voting and peer not in self.voters_heard)

    def _request_locked(self, peer: int) -> Any:
        if self.pre_voting:
            self.next_send[peer] = time.monotonic() + VOTE_RETRY_INTERVAL
            return PreVoteArgs(self.current_term + 1, self.me, self.log.last_index, self.log.last_term)
        if peer == self.transfer_target and self.match_index[peer] == self.log.last_index:
            self.next_send[peer] = time.monotonic() + VOTE_RETRY_INTERVAL
            self.has_abdicated = True
            return TimeoutNowArgs(self.current_term, self.me)
        self.sent_at[peer] = time.monotonic()  # one message at a time, so the next reply is to this one
        request = super()._request_locked(peer)
        if self.is_successor and isinstance(request, RequestVoteArgs):
            return SuccessorVoteArgs(**vars(request))
        return request

    def _handle_reply_locked(self, peer: int, request: Any, reply: Any) -> None:
        if self.role is Role.LEADER and request.term == reply.term == self.current_term:
            self.heard_at[peer] = max(self.heard_at[peer], self.sent_at[peer])
        if isinstance(request, PreVoteArgs) and reply.term <= self.current_term:
            self._handle_pre_vote_locked(peer, request, reply)
        elif not isinstance(request, TimeoutNowArgs) or reply.term > self.current_term:
            super()._handle_reply_locked(peer, request, reply)
        self.progress.notify_all()
