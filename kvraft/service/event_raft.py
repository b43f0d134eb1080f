"""Raft on an event loop: the rules are those of `raft/`, what is new is how they wait.

    Raft (rules) <-- ProductionRaft (§6, §9 of the thesis) <-- EventRaft: no threads, appends in flight, saves in parts

In the lab each server has a dozen threads, and sends one message at a time to each peer. In one Python process threads
cost more than the work they do, so here one event loop calls the same handlers:

    wait                              the lab                        here
    for the election timeout          a thread sleeps                `call_at`
    for something to send             a thread for each peer         `_flush`, once for all that came together
    for the disk                      the handler's thread           the reply is sent by the save's callback
    for a reply                       the peer's thread              up to WINDOW requests in flight

Three things are done otherwise than in `Raft`, each after the thesis:

* A leader's own disk works beside those of its followers: what it appends is sent at once, and counts for itself once
  it is durable (§10.2.1).
* While appends are in flight, next_index is ahead of what is known to match; a refusal, a lost stream or silence takes
  it back (§10.2.1, pipelining).
* A heartbeat asks about the last entry known to match, so that it can be answered without a wait for the disk.

Everything is called on the loop's thread. `mu` is held as in the lab, so that other threads may read under it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from kvraft.service.log_store import Change, LogStore, SnapshotFile
from kvraft.service.recorded_log import RecordedLog
from labrpc import decode, encode
from raft.messages import (
    AppendEntriesArgs,
    AppendEntriesReply,
    InstallSnapshotArgs,
    LogEntry,
)
from raft.production import Options, ProductionRaft
from raft.raft import MAX_BATCH, Role
from raft.rules import committed_index, majority

__all__ = ["EventRaft", "Outside", "Timing"]

log = logging.getLogger("kvraft")

WINDOW = 16
"""Appends in flight to one peer."""

MOST_IN_FLIGHT = 24
"""Requests of all kinds in flight to one peer."""

MOST_APPEND_BYTES = 1 << 20
"""Bytes of entries in one append, unless a single entry is larger."""


ROUND_PATIENCE = 0.01
"""Seconds after which a round of reads asks also those whose answer it did not need."""


@dataclass(frozen=True)
class Timing:
    """Seconds, for a network of one site.

    Attributes:
        heartbeat: between a leader's messages to a follower when there is nothing to send.
        election: the bounds of the election timeout (§5.2).
        vote_retry: until a peer that has not answered is asked again for its vote.
        silence: after which a peer's stream is given up and opened anew.
    """

    heartbeat: float = 0.05
    election: tuple[float, float] = (0.15, 0.30)
    vote_retry: float = 0.05
    silence: float = 1.0

    @property
    def text(self) -> str:
        """The election timeout, for comparison with another node's."""
        return f"{self.election[0]:g}-{self.election[1]:g}"

    def __post_init__(self) -> None:
        low, high = self.election
        if not 0 < self.heartbeat * 2 <= low < high:
            raise ValueError(
                f"two heartbeats of {self.heartbeat} s must fit into the shortest election timeout of {low} s, "
                f"and that must be less than the longest of {high} s"
            )


class Outside(Protocol):
    """What an `EventRaft` asks of its surroundings. None of these may call it back at once."""

    def is_connected(self, peer: int) -> bool:
        """Whether what is sent to `peer` now may arrive."""

    def send(self, peer: int, sequence: int, request: Any, payload: bytes) -> None:
        """Sends a request; `EventRaft.on_reply` gets the reply."""

    def send_snapshot(self, peer: int, request: InstallSnapshotArgs, snapshot: SnapshotFile) -> None:
        """Sends a snapshot beside the other requests; `EventRaft.on_snapshot_sent` is told the outcome."""

    def reset(self, peer: int) -> None:
        """Gives up the stream to `peer`; `EventRaft.on_disconnected` is called, and a new one opened."""

    def role_changed(self) -> None:
        """Role, term or leader are others."""

    def commit_moved(self) -> None:
        """There is something to apply: `EventRaft.next_to_apply` has it."""


@dataclass(slots=True)
class Flight:
    """A request that has not been answered."""

    request: Any
    sent_at: float


class EventRaft(ProductionRaft):
    """One node's Raft.

    Args:
        servers: how many there are in the cluster.
        me: this one's place.
        store: its stable storage, just opened.
        outside: the network and the service.
    """

    log: RecordedLog
    snapshot_data: Any

    def __init__(
        self, servers: int, me: int, store: LogStore, outside: Outside, options: Options, timing: Timing | None = None
    ) -> None:
        self.timing = timing or Timing()
        self.election_timeout = self.timing.election
        self.loop = asyncio.get_running_loop()
        self.store = store
        self.outside = outside
        super().__init__([None] * servers, me, store, None, options)  # type: ignore[arg-type,list-item]
        self._tick()

    def _prepare(self) -> None:
        super()._prepare()
        # log.cuts at the latest save.
        self.durable_cuts = self.log.cuts
        self.others = [peer for peer in range(len(self.peers)) if peer != self.me]
        # Who leads current_term, as far as this server knows.
        self.leader_id: int | None = None
        # Highest index up to which this server's log is durable as it is. Invariant: <= log.last_index.
        self.durable_index = self.log.last_index
        # The save of the latest change of term or vote.
        self.hard_state = (self.current_term, self.voted_for)
        self.hard_state_save: Any = None
        # Requests in flight to each server, by sequence number.
        self.flights: list[dict[int, Flight]] = [{} for _ in self.peers]
        # When the latest request to each server was sent, and when it last answered one.
        self.dispatched_at = [0.0] * len(self.peers)
        self.answered_at = [0.0] * len(self.peers)
        # Whether an append to each server has succeeded since its log was last in doubt; until then one at a time.
        self.is_matched = [False] * len(self.peers)
        # Servers that do not have any more what they acknowledged in this term; they get nothing but heartbeats.
        self.without_log: set[int] = set()
        # Servers to which a snapshot is on its way.
        self.installing: set[int] = set()
        self._sequence = 0
        # Reads that wait for the next round, and those of the round under way: (asked at, term, index, callbacks).
        self.waiting_reads: list[Callable[[int | None], object]] = []
        self.round: tuple[float, int, int, list[Callable[[int | None], object]]] | None = None
        self._round_timer: asyncio.TimerHandle | None = None
        self._flush_is_due = False
        self._flush_timer: asyncio.TimerHandle | None = None
        self._tick_timer: asyncio.TimerHandle | None = None
        # For those who watch: elections it has stood for and won; since when it has been asking for votes or pre-votes,
        # None while it knows a leader; when it last ceased to lead; what came of its last election, in seconds.
        self.elections_started = self.elections_won = 0
        self.asking_since: float | None = None
        self.led_until = 0.0
        self.last_election = (0.0, 0.0)
        # Whether the election timer came too late to mean anything, the last time.
        self._was_late = False

    def _spawn(self, name: str, target: Any, *args: Any) -> None:
        """No threads."""

    @staticmethod
    def _wait_until_durable(save: Any) -> None:
        """Nothing waits on the loop; `receive` holds the reply back."""

    def persist_bytes(self) -> int:
        return self.log.size

    def kill(self) -> None:
        super().kill()
        for timer in (self._tick_timer, self._flush_timer):
            if timer is not None:
                timer.cancel()
        self._fail_reads()

    # -------------------------------------------------------------- stable storage

    def _restore(self) -> None:
        store = self.store
        self.current_term, self.voted_for = store.term, store.voted_for
        self.log = RecordedLog.from_saved(store.last_included_index, store.last_included_term, store.entries)
        store.entries = []
        self.snapshot_data = store.snapshot
        self.commit_index = self.last_applied = self.log.last_included_index

    def _save_locked(self, snapshot: Any = None) -> None:
        if type(self.log) is not RecordedLog:  # a snapshot has taken the place of the whole log
            cuts = self.durable_cuts + 1
            self.log = RecordedLog(self.log.last_included_index, self.log.last_included_term)
            self.log.cuts = cuts
        log = self.log
        first, entries = log.take_unsaved()
        self.durable_index = min(self.durable_index, max(first - 1, log.last_included_index))
        change = Change(
            self.current_term, self.voted_for, log.last_included_index, log.last_included_term, first, entries
        )
        rest = None if snapshot is None else log.saved_form(log.first_index)
        save = self.latest_save = self.store.save(change, snapshot, rest)
        if self.hard_state != (self.current_term, self.voted_for):
            self.hard_state = (self.current_term, self.voted_for)
            self.hard_state_save = save
        last_index, cuts = log.last_index, log.cuts
        self.durable_cuts = cuts
        save.then(lambda: self._on_durable(last_index, cuts))

    def _on_durable(self, last_index: int, cuts: int) -> None:
        with self.mu:
            if cuts != self.log.cuts:
                return  # what was saved has been cut since; the save of that comes
            self.durable_index = max(self.durable_index, min(last_index, self.log.last_index))
            if self.role is Role.LEADER and not self.killed:
                self._advance_commit_locked()

    # -------------------------------------------------------------- roles

    def _become_follower_locked(self, term: int) -> None:
        led, entered = self.role is Role.LEADER, term > self.current_term
        super()._become_follower_locked(term)
        if led:
            self.led_until = time.monotonic()
        if led or entered:
            self.leader_id = None
            self._role_changed_locked()

    def _become_candidate_locked(self) -> None:
        self.leader_id = None
        self.elections_started += 1
        if self.asking_since is None:
            self.asking_since = time.monotonic()
        super()._become_candidate_locked()
        self._role_changed_locked()

    def _become_leader_locked(self) -> None:
        for flights in self.flights:
            flights.clear()
        self.is_matched = [False] * len(self.peers)
        self.answered_at = [time.monotonic()] * len(self.peers)
        self.installing.clear()
        self.without_log.clear()
        self.leader_id = self.me
        now = time.monotonic()
        asking_since, self.asking_since = self.asking_since or now, None
        self.last_election = (now - asking_since, now - max(self.leader_heard_at, self.led_until))
        self.elections_won += 1
        super()._become_leader_locked()
        self._role_changed_locked()

    def _election_timeout_locked(self) -> None:
        if self.role is not Role.LEADER and self.asking_since is None:
            self.asking_since = time.monotonic()
        super()._election_timeout_locked()
        if self.role is not Role.LEADER:
            self.leader_id = None  # whoever it was has been silent for too long
        self._role_changed_locked()

    def _role_changed_locked(self) -> None:
        self.loop.call_soon(self._tell_role)

    def _tell_role(self) -> None:
        if self.role is not Role.LEADER:
            self._fail_reads()
        self.outside.role_changed()

    # -------------------------------------------------------------- time

    def _reset_election_timer_locked(self) -> None:
        self.election_deadline = time.monotonic() + random.uniform(*self.election_timeout)
        timer = self._tick_timer
        if timer is not None and self.election_deadline < timer.when():
            timer.cancel()
            self._tick_timer = self.loop.call_at(self.election_deadline, self._tick)

    def _tick(self) -> None:
        """The election timer: the lab's thread, as a callback. The loop's clock is time.monotonic()."""
        with self.mu:
            if self.killed:
                return
            self._tick_timer = None
            late = time.monotonic() - self.election_deadline
            if late > self.timing.heartbeat and not self._was_late:
                # This process was held up: what the leader sent meanwhile is still to be read.
                self.election_deadline += late + self.timing.heartbeat
                self._was_late = True
            elif late >= 0:
                self._was_late = False
                self._election_timeout_locked()
            self._tick_timer = self.loop.call_at(self.election_deadline, self._tick)

    # -------------------------------------------------------------- interface to the service

    def propose(self, command: bytes) -> tuple[int, int] | None:
        """As `start`: (index, term) of the entry, or None from a server that does not lead or is handing over."""
        with self.mu:
            if self.role is not Role.LEADER or self.killed or self.transfer_target is not None:
                return None
            index = self.log.append(LogEntry(self.current_term, command))
            self._save_locked()
            self._send_now_locked()
            return index, self.current_term

    def read(self, callback: Callable[[int | None], object]) -> None:
        """Calls back with an index as `read_index` gives it, or None. All reads of a round cost one message to each."""
        self.waiting_reads.append(callback)
        if self.round is None:
            with self.mu:
                self._begin_round_locked()

    def next_to_apply(self) -> list[Any] | None:
        """What the service is to apply next, as `ApplyMsg`s; None if there is nothing yet."""
        if self.killed or not (self.snapshot_pending or self.last_applied < self.commit_index):
            return None
        if self.snapshot_pending and not self.latest_save.done():
            self.latest_save.then(self.outside.commit_moved)
            return None
        return self._next_to_apply()

    def _commit_locked(self, index: int) -> None:
        super()._commit_locked(index)
        self.outside.commit_moved()
        if self.waiting_reads and self.round is None:
            self._begin_round_locked()  # a new leader's first entry may be what they waited for

    def _advance_commit_locked(self) -> None:
        """As `Raft._advance_commit_locked`, but its own entries count once they are durable (thesis §10.2.1)."""
        self.match_index[self.me] = self.durable_index
        index = committed_index(self.match_index)
        if index > self.commit_index and self.log.term_at(index) == self.current_term:
            self._commit_locked(index)

    # -------------------------------------------------------------- requests of other servers

    def receive(self, args: Any, reply_to: Callable[[bytes], object]) -> None:
        """Handles a request by the method that the lab's network would call, and replies once that may be said.

        Raises:
            KeyError: it is no request of Raft's.
        """
        handler = getattr(self, self.methods[type(args)].partition(".")[2])
        reply = handler(args)
        with self.mu:
            save = self._promised_locked(args, reply)
        if isinstance(args, (AppendEntriesArgs, InstallSnapshotArgs)) and args.term == self.current_term:
            self._led_by(args.leader_id)
        payload = encode(reply)
        if save is None or save.done():
            reply_to(payload)
        else:
            save.then(lambda: reply_to(payload))

    def _promised_locked(self, args: Any, reply: Any) -> Any:
        """The save that must be durable before `reply` may be sent."""
        if isinstance(args, AppendEntriesArgs):
            told = args.prev_log_index + len(args.entries) if reply.success else 0
            if told <= self.durable_index:
                return self.hard_state_save
        return self.latest_save

    def _led_by(self, leader: int) -> None:
        self.asking_since = None
        if self.leader_id != leader:
            self.leader_id = leader
            self.outside.role_changed()

    # -------------------------------------------------------------- requests to other servers

    def _send_now_locked(self, peer: int | None = None) -> None:
        super()._send_now_locked(peer)
        if not self._flush_is_due:
            self._flush_is_due = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Sends all that is due."""
        self._flush_is_due = False
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        now = time.monotonic()
        with self.mu:
            if self.killed:
                return
            for peer in self.others:
                if self.outside.is_connected(peer):
                    self._give_up_silent(peer, now)
                    while (request := self._due_locked(peer, now)) is not None:
                        self._dispatch_locked(peer, request, now)
            connected = filter(self.outside.is_connected, self.others)
            talks = [self.next_send[peer] for peer in connected if self._talks_to_locked(peer)]
        if talks:
            wait = max(min(talks) - now, 0.001)
            self._flush_timer = self.loop.call_later(wait, self._flush)

    def _due_locked(self, peer: int, now: float) -> Any:
        """What is to be sent to `peer` now, if anything."""
        if not self._talks_to_locked(peer):
            return None
        flights = self.flights[peer]
        is_due = self.next_send[peer] <= now
        if self.role is not Role.LEADER:
            if not is_due:
                return None
            request = self._request_locked(peer)
            self.next_send[peer] = now + self.timing.vote_retry
            return request
        if len(flights) >= MOST_IN_FLIGHT:
            self.next_send[peer] = now + self.timing.heartbeat
            return None
        if is_due and peer == self.transfer_target and self.match_index[peer] == self.log.last_index:
            request = self._request_locked(peer)  # the order to stand
            self.next_send[peer] = now + self.timing.vote_retry
            return request
        first = self.next_index[peer]
        window = WINDOW if self.is_matched[peer] else 1
        has_room = len(flights) < window and peer not in self.installing and peer not in self.without_log
        if first <= self.log.last_index and has_room:
            self.next_send[peer] = now + self.timing.heartbeat
            if first <= self.log.last_included_index:
                self.installing.add(peer)
                return self._request_locked(peer)  # the snapshot
            entries = self.log.entries_up_to(first, MAX_BATCH, MOST_APPEND_BYTES)
            self.next_index[peer] = first + len(entries)
            return self._append_request_locked(first - 1, entries)
        if first <= self.log.last_index and self.round is None:
            # It is due because of entries for which there is no room: that is no reason for a heartbeat.
            self.next_send[peer] = max(self.next_send[peer], self.dispatched_at[peer] + self.timing.heartbeat)
            is_due = self.next_send[peer] <= now
        if not is_due:
            return None
        self.next_send[peer] = now + self.timing.heartbeat
        known = self.match_index[peer]
        return self._append_request_locked(known if known >= self.log.last_included_index else 0, [])

    def _append_request_locked(self, prev_log_index: int, entries: list[LogEntry]) -> AppendEntriesArgs:
        # Index 0 has term 0 in every log, so that a server about which nothing is known can be asked about it.
        term = self.log.term_at(prev_log_index) if prev_log_index else 0
        return AppendEntriesArgs(self.current_term, self.me, prev_log_index, term, entries, self.commit_index)

    def _dispatch_locked(self, peer: int, request: Any, now: float) -> None:
        if isinstance(request, InstallSnapshotArgs):
            self.outside.send_snapshot(peer, replace(request, data=b""), request.data)  # type: ignore[arg-type]
            return
        self._sequence += 1
        if not self.flights[peer]:
            self.answered_at[peer] = now  # it has had nothing to answer until now
        self.dispatched_at[peer] = now
        self.flights[peer][self._sequence] = Flight(request, now)
        sequence, payload = self._sequence, encode(request)
        save = self.hard_state_save  # the term and the vote that it speaks of; entries may come before they are durable
        if save is None or save.done():
            self.outside.send(peer, sequence, request, payload)
        else:
            save.then(lambda: self.outside.send(peer, sequence, request, payload))

    def on_reply(self, peer: int, sequence: int, payload: bytes) -> None:
        """`peer` has answered request `sequence`."""
        flight = self.flights[peer].pop(sequence, None)
        if flight is None:
            return
        request, reply = flight.request, decode(payload)
        with self.mu:
            self.answered_at[peer] = time.monotonic()
            self.sent_at[peer] = flight.sent_at
            if isinstance(reply, AppendEntriesReply) and request.term == reply.term == self.current_term:
                if self._has_lost_its_log_locked(peer, request, reply):
                    return
                self._look_at_append_locked(peer, flight, reply)
            self._handle_reply_locked(peer, request, reply)
            self._check_round_locked()
            if self.role is Role.LEADER and self.next_index[peer] <= self.log.last_index:
                self._send_now_locked(peer)  # there is room in the window

    def _look_at_append_locked(self, peer: int, flight: Flight, reply: AppendEntriesReply) -> None:
        if reply.success:
            self.is_matched[peer] = self.is_matched[peer] or bool(flight.request.entries)
        else:
            # What was sent after it will be refused too, before anything new is sent. The rule for refusals expects
            # that nothing was in flight.
            self.is_matched[peer] = False
            self.next_index[peer] = flight.request.prev_log_index + 1

    def _has_lost_its_log_locked(self, peer: int, request: Any, reply: AppendEntriesReply) -> bool:
        """Whether `peer` refuses what it has acknowledged in this term: its disk has been emptied or put back.

        No message can mend that, and asking again at once would go on for ever.
        """
        if self.role is not Role.LEADER or reply.success or request.prev_log_index > self.match_index[peer]:
            return False
        if peer not in self.without_log:
            log.error(
                "node %d had acknowledged entries up to %d and has lost them: its directory was emptied or is an older "
                "one; it may vote against what is committed. Stop it",
                peer,
                self.match_index[peer],
            )
        self.without_log.add(peer)
        return True

    def on_disconnected(self, peer: int) -> None:
        """The stream to `peer` is gone, and with it all that was in flight."""
        with self.mu:
            self.flights[peer].clear()
            self.is_matched[peer] = False
            self.without_log.discard(peer)  # it may come back with what it had
            self.next_index[peer] = min(self.next_index[peer], self.match_index[peer] + 1)

    def on_connected(self, peer: int) -> None:
        """There is a new stream to `peer`."""
        with self.mu:
            self._send_now_locked(peer)

    def on_snapshot_sent(self, peer: int, request: InstallSnapshotArgs, payload: bytes | None) -> None:
        """`peer` has answered, or (None) has not."""
        self.installing.discard(peer)
        with self.mu:
            if payload is not None:
                self.sent_at[peer] = self.heard_at[peer]  # the snapshot was long on its way: it proves nothing newer
                self._handle_reply_locked(peer, request, decode(payload))
            self._send_now_locked(peer)

    def _give_up_silent(self, peer: int, now: float) -> None:
        if self.flights[peer] and now - self.answered_at[peer] > self.timing.silence:
            self.answered_at[peer] = now
            self.loop.call_soon(self.outside.reset, peer)

    # -------------------------------------------------------------- reads (thesis §6.4), a round for many

    def _begin_round_locked(self) -> None:
        if self.role is not Role.LEADER or self.killed or self.transfer_target is not None:
            self.loop.call_soon(self._fail_reads)
        elif self._may_read_locked():
            reads, self.waiting_reads = self.waiting_reads, []
            self.round = (time.monotonic(), self.current_term, self.commit_index, reads)
            # Only as many as are needed are asked, those that answered last; should one of them not answer soon, all
            # are.
            connected = [peer for peer in self.others if self.outside.is_connected(peer)]
            connected.sort(key=lambda peer: self.heard_at[peer], reverse=True)
            for peer in connected[: majority(len(self.peers)) - 1]:
                self._send_now_locked(peer)
            self._round_timer = self.loop.call_later(ROUND_PATIENCE, self._widen_round)
            if len(self.peers) == 1:
                self._check_round_locked()

    def _widen_round(self) -> None:
        """The round takes long: asks all who have not been asked since it began."""
        self._round_timer = None
        with self.mu:
            if self.round is None or self.killed or self.role is not Role.LEADER:
                return
            for peer in self.others:
                if self.dispatched_at[peer] < self.round[0] and self.outside.is_connected(peer):
                    self._send_now_locked(peer)

    def _end_round(self) -> None:
        self.round = None
        if self._round_timer is not None:
            self._round_timer.cancel()
            self._round_timer = None

    def _check_round_locked(self) -> None:
        if self.round is None:
            return
        asked_at, term, index, reads = self.round
        if self.role is Role.LEADER and self.current_term == term and self._quorum_heard_at_locked() >= asked_at:
            self._end_round()
            for callback in reads:
                self.loop.call_soon(callback, index)
            if self.waiting_reads:
                self._begin_round_locked()

    def _fail_reads(self) -> None:
        reads, self.waiting_reads = self.waiting_reads, []
        if self.round is not None:
            reads += self.round[3]
            self._end_round()
        for callback in reads:
            callback(None)
