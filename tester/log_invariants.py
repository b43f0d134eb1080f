"""Raft's rules of logs and commitment, checked on the wire and on what is applied.

    AppendEntries --> what each leader's log holds
    replies       --> how far a majority has it, and how far each server at least
    votes         --> for a log that is as up to date?
    applies       --> was that allowed?

Commitment is judged by what servers apply: what a message says of it may rightly be old. Acknowledgements count from
the moment they are sent, so a server may have known no more than is counted here. Code under test whose AppendEntries
lack the paper's fields is not judged by these rules.
"""

from __future__ import annotations

import math
from itertools import islice, takewhile
from operator import is_
from typing import Any

from labrpc.codec import Record
from labrpc.coordinator import Coordinator
from labrpc.errors import InvariantViolation
from labrpc.journal import Applied, Delivered, Dropped, Sent
from tester.payloads import message_body
from tester.probe import DurabilityProbe

__all__ = ["LogInvariants"]


class _Leadership:
    """What is known of one term: its leader's own entries, and how far each server has acknowledged its log."""

    def __init__(self, leader: str) -> None:
        self.leader = leader
        self.first_own_index: float = math.inf
        """Lowest index at which it has sent an entry of its own term. All after it are of its term too."""
        self.match_index: dict[str, int] = {}
        self._sent: list[Record] = []
        """Its entries from index `_sent_from` on, as last sent: each has passed, after the one before it."""
        self._sent_from = 0

    def unchanged(self, first: int, entries: list[Any]) -> int:
        """How many of `entries`, which it sends from index `first` on, are just what it last sent there.

        Nearly all that is sent was sent before, and most of the judge's work was to see that it still passes. Equal
        entries are one object (see `decode_shared_record`), so comparing identities finds them, and quickly.
        """
        position = first - self._sent_from
        if not 0 <= position <= len(self._sent):
            return 0
        return sum(takewhile(bool, map(is_, entries, islice(self._sent, position, None))))

    def sends(self, first: int, entries: list[Record]) -> None:
        """It has sent `entries` from index `first` on, and they have passed."""
        position = first - self._sent_from
        if not 0 <= position <= len(self._sent):
            self._sent, self._sent_from, position = [], first, 0
        self._sent[position:] = entries


class LogInvariants:
    """A listener of a journal.

    Args:
        coordinator: the run; a violation ends it.
        probe: answers whether acknowledged entries are durable.
        servers: the cluster's size.
    """

    def __init__(self, coordinator: Coordinator, probe: DurabilityProbe, servers: int) -> None:
        self._coordinator = coordinator
        self._probe = probe
        self._servers = servers
        self._judging = servers > 1
        self._entries: dict[tuple[int, int], tuple[Any, int, str]] = {}
        """(index, term) -> (command, term of the entry before it, the server that sent it first)."""
        self._terms: dict[int, _Leadership] = {}
        self._requests: dict[int, tuple[Record, int]] = {}
        """Appends and snapshots not yet answered: (the request, the index up to which success acknowledges)."""
        self._committed = 0
        """The highest index that anybody may hold to be committed by now."""
        self._on_majority = 0
        """The highest index that a majority has acknowledged, entries of older terms included."""
        self._acknowledgements: dict[str, int] = {}
        self._in_flight: dict[int, tuple[str, int]] = {}
        """(target, term) of messages on their way."""
        self._heard: dict[str, int] = {}
        """The highest term that any message has brought to each server."""
        self._acknowledged: dict[str, tuple[int, int]] = {}
        """server -> (the last term in which it acknowledged entries, the highest index it acknowledged then)."""
        self._promised: dict[int, int] = {}
        """Appends that were delivered -> the index up to which their target had acknowledged their leader's log."""
        self._log_ends: dict[str, tuple[int, int, tuple[int, int]]] = {}
        """server -> where its log ends, if not later: it has sent or acknowledged that. (Its incarnation, the term of
        the leader whose log that is, (term, index) of the entry)"""
        self._appended: dict[str, int] = {}
        """The highest term of the appends and snapshots that have reached each server: they may have cut its log."""
        self._vote_requests: dict[int, Record] = {}
        self._compacted: dict[str, int] = {}
        """server -> the index up to which its log may be gone: it has applied that, or was sent its snapshot."""

    def observe(self, event: Any) -> None:
        """Takes in one event of the journal.

        Raises:
            InvariantViolation: in the test, through the coordinator.
        """
        if not self._judging:
            return
        kind = type(event)
        if kind is Sent:
            body = message_body(event.payload) if event.method.startswith("Raft.") else None
            if body is not None and type(body.fields.get("term")) is int:
                self._in_flight[event.message] = (event.target, body.term)
                if event.method == "Raft.append_entries":
                    (self._on_reply if event.reply_to else self._on_append)(event, body)
                elif event.method == "Raft.install_snapshot":
                    (self._on_reply if event.reply_to else self._on_snapshot)(event, body)
                elif event.method == "Raft.request_vote":
                    self._on_vote_message(event, body)
        elif kind is Delivered:
            target, term = self._in_flight.pop(event.message, ("", 0))
            self._heard[target] = max(term, self._heard.get(target, 0))
            known_term, index = self._acknowledged.get(target, (0, 0))
            if event.message in self._requests:
                self._appended[target] = max(term, self._appended.get(target, 0))
                if known_term == term:
                    self._promised.setdefault(event.message, index)
        elif kind is Applied:
            if self._terms:
                self._on_apply(event)
        elif kind is Dropped:
            self._requests.pop(event.message, None)
            self._vote_requests.pop(event.message, None)
            self._promised.pop(event.message, None)
            self._in_flight.pop(event.message, None)

    # -------------------------------------------------------------- what leaders send

    def _on_append(self, event: Sent, body: Record) -> None:
        fields = body.fields
        prev_index, prev_term, entries = (fields.get(f) for f in ("prev_log_index", "prev_log_term", "entries"))
        if type(prev_index) is not int or type(prev_term) is not int or type(entries) is not list:
            self._judging = False
            return
        leadership = self._terms.get(body.term)
        if leadership is None:
            leadership = self._terms[body.term] = _Leadership(event.source)
        self._requests[event.message] = (body, prev_index + len(entries))
        if not entries:
            return
        first = prev_index + 1
        unchanged = leadership.unchanged(first, entries)
        # What is unchanged has passed before, but for the first: that may follow another entry this time.
        for n in (*range(min(unchanged, 1)), *range(unchanged, len(entries))):
            entry = entries[n]
            if type(entry) is not Record or type(entry.fields.get("term")) is not int:
                self._judging = False
                return
            before = entries[n - 1].fields["term"] if n else prev_term
            self._check_entry(event.source, first + n, entry, before)
        self._has_log(event, body)
        if unchanged < len(entries):
            leadership.sends(first, entries)
        if entries[-1].fields["term"] == body.term and leadership.first_own_index > first:
            own = next(n for n, entry in enumerate(entries, start=first) if entry.fields["term"] == body.term)
            leadership.first_own_index = min(leadership.first_own_index, own)

    def _check_entry(self, server: str, index: int, entry: Record, before: int) -> None:
        term, command = entry.fields["term"], entry.fields.get("command")
        known = self._entries.get((index, term))
        if known is None:
            self._entries[index, term] = (command, before, server)
            return
        known_command, known_before, other = known
        if known_command != command:
            self._violation(
                f"servers {other} and {server} sent different entries for index {index} of term {term} "
                "(§5.3, Log Matching: a leader makes at most one entry at an index in its term)"
            )
        if known_before != before:
            self._violation(
                f"servers {other} and {server} have the same entry at index {index} of term {term}, but entries of "
                f"terms {known_before} and {before} before it "
                "(§5.3, Log Matching: logs that agree at an entry agree on all before it)"
            )

    def _on_snapshot(self, event: Sent, body: Record) -> None:
        index = body.fields.get("last_included_index")
        if type(index) is not int:
            self._judging = False
            return
        self._terms.setdefault(body.term, _Leadership(event.source))
        self._requests[event.message] = (body, index)
        self._compacted[event.target] = max(index, self._compacted.get(event.target, 0))

    # -------------------------------------------------------------- what followers acknowledge

    def _on_reply(self, event: Sent, body: Record) -> None:
        request, index = self._requests.pop(event.reply_to, (None, 0))
        promised = self._promised.pop(event.reply_to, 0)
        if request is None or body.term != request.term:
            return
        if body.fields.get("success", True) is not True:
            self._check_follows(event.source, request)
            self._check_kept(event.source, request, promised)
            return
        last_term, last_index = self._acknowledged.get(event.source, (0, 0))
        if request.term > last_term or (request.term == last_term and index > last_index):
            self._acknowledged[event.source] = (request.term, index)
        match = self._terms[request.term].match_index
        if request.fields.get("entries"):
            self._check_saved(event.source, request)
        # A reply of its own design may say more than the message it answers asked, or less.
        own = [value for name, value in body.fields.items() if type(value) is int and name != "term"]
        if event.method == "Raft.append_entries" and not any(0 < value < index for value in own):
            self._has_log(event, request)
        acknowledged = max(index, *own) if own else index
        if acknowledged <= match.get(event.source, -1):
            return
        match[event.source] = acknowledged
        needed = self._servers // 2  # beside the leader, who has all it sends
        if len(match) < needed:
            return
        on_majority = sorted(match.values(), reverse=True)[needed - 1]
        self._on_majority = max(self._on_majority, on_majority)
        if on_majority >= self._terms[request.term].first_own_index:
            self._committed = max(self._committed, on_majority)

    def _has_log(self, event: Sent, request: Record) -> None:
        """The server that says so in `event` has all that `request` tells of its leader's log."""
        entries = request.entries
        term = entries[-1].fields["term"] if entries else request.prev_log_term
        end = event.incarnation, request.term, (term, request.prev_log_index + len(entries))
        if end > self._log_ends.get(event.source, (0, 0, (0, 0))):
            self._log_ends[event.source] = end

    # -------------------------------------------------------------- for whom servers vote

    def _on_vote_message(self, event: Sent, body: Record) -> None:
        if not event.reply_to:
            if not body.fields.get("pre_vote"):
                self._vote_requests[event.message] = body
            return
        request = self._vote_requests.pop(event.reply_to, None)
        if request is None or body.fields.get("vote_granted") is not True:
            return
        offered = request.fields.get("last_log_term"), request.fields.get("last_log_index")
        if type(offered[0]) is not int or type(offered[1]) is not int:
            return
        incarnation, leaders_term, end = self._log_ends.get(event.source, (0, 0, (0, 0)))
        # What a newer leader has sent since may have cut the log; what came before a crash, the disk may have lost.
        is_known = incarnation == event.incarnation and self._appended.get(event.source, 0) <= leaders_term
        if is_known and leaders_term < request.term and offered < end:
            self._violation(
                f"server {event.source} voted in term {request.term} for {event.target}, whose log ends with index "
                f"{offered[1]} of term {offered[0]}, though its own has index {end[1]} of term {end[0]} (§5.4.1: a "
                "vote is for a log at least as up to date as the voter's)"
            )

    def _check_saved(self, server: str, request: Record) -> None:
        """Probes acknowledgements number 1, 2, 4, 8, … of each server: a server that forgets does so always.

        A server that has heard of a newer term is let be: while it waited for its disk, that term's leader may rightly
        have replaced the entries, which then were not committed and never will be.
        """
        if self._heard.get(server, 0) > request.term:
            return
        count = self._acknowledgements[server] = self._acknowledgements.get(server, 0) + 1
        if count & (count - 1) == 0 and self._probe.forgets_entries(int(server), request):
            last = request.prev_log_index + len(request.entries)
            self._violation(
                f"server {server} answered before it had saved: it acknowledged entries up to index {last} in term "
                f"{request.term}, and restarted from what is durable it lacks them "
                "(Fig. 2: persistent state is updated on stable storage before responding to RPCs)"
            )

    def _check_follows(self, server: str, request: Record) -> None:
        """All logs agree at index 0, so what follows it is rejected for its term alone, and the reply has the same."""
        if request.fields.get("prev_log_index") == 0 and not self._compacted.get(server, 0):
            self._violation(
                f"server {server} rejected what follows index 0, where all logs agree, from the leader of term "
                f"{request.term}, in which it is itself (§5.2: who hears from the leader of its term follows it)"
            )

    def _check_kept(self, server: str, request: Record, promised: int) -> None:
        """What a follower has acknowledged stays in its log for the rest of the term, or in its snapshot.

        append 5, 6   append 7, 8   append 5, 6 once more, which cuts 7, 8 off   append 9: rejected
        """
        previous = request.fields.get("prev_log_index", 0)
        if self._compacted.get(server, 0) < previous <= promised:
            self._violation(
                f"server {server} rejected entries that follow index {previous} in term {request.term}, though it had "
                f"acknowledged all up to index {promised} in that term (Fig. 2, AppendEntries receiver 3: a log is cut "
                "only where an entry conflicts)"
            )

    # -------------------------------------------------------------- what servers apply

    def _on_apply(self, event: Applied) -> None:
        message = message_body(event.payload)
        if message is None:
            return
        snapshot = message.fields.get("snapshot_valid")
        index = message.fields.get("snapshot_index" if snapshot else "command_index")
        if type(index) is not int:
            return
        self._compacted[event.host] = max(index, self._compacted.get(event.host, 0))
        if index <= self._committed:
            return
        if index <= self._on_majority:
            self._violation(
                f"server {event.host} applied index {index}, which is on a majority, but under no leader that has an "
                "entry of its own term there (§5.4.2, Figure 8: entries of older terms are not committed by counting)"
            )
        else:
            self._violation(
                f"server {event.host} applied index {index}, but no majority has acknowledged more than index "
                f"{self._on_majority} (§5.3: an entry is committed once a majority has it)"
            )

    def _violation(self, text: str) -> None:
        self._coordinator.fail(InvariantViolation(f"{text} at {self._coordinator.now / 1e9:.3f} s"))
