"""Raft's rules of terms, votes and leaders, checked on the wire while the run goes on, without help from the code.

    journal events --observe--> the first broken rule ends the run, in one sentence with its paper section

Each rule is stated so that no correct Raft can break it. Code under test that uses other messages than the paper's is
not judged by the rules that read those messages.
"""

from __future__ import annotations

from typing import Any

from labrpc.codec import Record
from labrpc.coordinator import Coordinator
from labrpc.errors import InvariantViolation
from labrpc.journal import Delivered, Dropped, Sent
from tester.payloads import message_body
from tester.probe import DurabilityProbe

__all__ = ["RaftInvariants"]

_VOTE = "Raft.request_vote"
_JUDGED = {_VOTE, "Raft.append_entries", "Raft.install_snapshot"}
_VOTE_FIELDS = {"term", "candidate_id", "last_log_index", "last_log_term"}


class RaftInvariants:
    """A listener of a journal.

    Args:
        coordinator: the run; a violation ends it.
        probe: answers whether a vote was saved before it was sent.
        servers: the cluster's size.
    """

    def __init__(self, coordinator: Coordinator, probe: DurabilityProbe, servers: int) -> None:
        self._coordinator = coordinator
        self._probe = probe
        self._servers = servers
        self._votes: dict[tuple[str, int], int] = {}
        """(server, term) -> the candidate it sent its vote to."""
        self._stood: dict[tuple[str, int], int] = {}
        """(server, term) -> the last incarnation in which it asked for votes: it had voted for itself, saved or not."""
        self._leaders: dict[int, str] = {}
        """term -> the server that led it."""
        self._terms: dict[str, tuple[int, int, int]] = {}
        """server -> (incarnation, highest term it was bound by, highest term that earlier incarnations were)."""
        self._vote_requests: dict[int, Record] = {}
        """Vote requests not yet answered, by message number."""
        self._candidacies: dict[str, Record] = {}
        """Each server's latest vote request."""
        self._votes_sent: dict[int, tuple[str, int, str]] = {}
        """(candidate, term, voter) of votes in flight, by message number."""
        self._votes_won: dict[tuple[str, int], set[str]] = {}
        """(candidate, term) -> the servers whose votes have reached it."""
        self._votes_granted: dict[tuple[str, int], set[str]] = {}
        """(candidate, term) -> the servers that have sent it their votes."""
        self._knows_all_votes = True
        """False once servers have used messages other than the paper's, which may be votes too."""

    def observe(self, event: Any) -> None:
        """Takes in one event of the journal.

        Raises:
            InvariantViolation: in the test, through the coordinator.
        """
        kind = type(event)
        if kind is Sent:
            if event.method.startswith("Raft.") and event.method not in _JUDGED:
                self._knows_all_votes = False
            elif event.method in _JUDGED:
                body = message_body(event.payload)
                if body is not None and type(body.fields.get("term")) is int:
                    self._on_message(event, body)
        elif kind is Delivered:
            vote = self._votes_sent.pop(event.message, None)
            if vote is not None:
                candidate, term, voter = vote
                self._votes_won.setdefault((candidate, term), set()).add(voter)
        elif kind is Dropped:
            self._vote_requests.pop(event.message, None)
            self._votes_sent.pop(event.message, None)

    def _on_message(self, event: Sent, body: Record) -> None:
        term = body.term
        method = event.method
        # To ask for votes binds nobody: a candidate may do so while its new term is on its way to the disk.
        self._check_term(event.source, event.incarnation, term, binds=bool(event.reply_to) or method != _VOTE)
        if event.reply_to:
            request = self._vote_requests.pop(event.reply_to, None)
            if request is not None and "vote_granted" not in body.fields:
                self._knows_all_votes = False
            if request is not None and body.fields.get("vote_granted") is True:
                self._votes_granted.setdefault((event.target, request.term), set()).add(event.source)
                self._votes_sent[event.message] = (event.target, request.term, event.source)
                self._check_vote(event.source, event.incarnation, request.term, request.candidate_id)
                self._check_vote_saved(event.source, request)
        elif method == _VOTE:
            understood = body.fields.keys() >= _VOTE_FIELDS and type(body.candidate_id) is int
            if not understood or "pre_vote" in body.fields:
                self._knows_all_votes = False
            if understood and not body.fields.get("pre_vote"):
                self._vote_requests[event.message] = body
                # A candidate votes for itself before it asks others (§5.2).
                self._check_candidacy(event.source, event.incarnation, term)
                self._candidacies[event.source] = body
        elif method in ("Raft.append_entries", "Raft.install_snapshot"):
            self._check_leader(event.source, term)

    def _check_term(self, server: str, incarnation: int, term: int, *, binds: bool) -> None:
        known, highest, floor = self._terms.get(server, (incarnation, 0, 0))
        if incarnation > known:
            known, floor, highest = incarnation, max(floor, highest), 0
        if incarnation == known:
            self._terms[server] = (known, max(highest, term) if binds else highest, floor)
            if term < floor:
                self._violation(
                    f"server {server} came back from its crash in term {term}, but had sent term {floor} before it "
                    "(Fig. 2: current_term is on stable storage before a server answers or leads in it)"
                )

    def _check_candidacy(self, server: str, incarnation: int, term: int) -> None:
        self._stood[server, term] = incarnation
        earlier = self._votes.get((server, term), int(server))
        if earlier != int(server):
            self._two_votes(server, term, earlier, int(server))

    def _check_vote(self, server: str, incarnation: int, term: int, candidate: int) -> None:
        earlier = self._votes.setdefault((server, term), candidate)
        if earlier != candidate:
            self._two_votes(server, term, earlier, candidate)
        # Its vote for itself may have been lost in a crash. That does no harm if it did not count: if it did not lead.
        stood = self._stood.get((server, term))
        if candidate != int(server) and (
            stood == incarnation or (stood is not None and self._leaders.get(term) == server)
        ):
            self._two_votes(server, term, int(server), candidate)

    def _two_votes(self, server: str, term: int, first: int, second: int) -> None:
        self._violation(
            f"server {server} voted for {first} and for {second} in term {term} (§5.2: at most one vote per term)"
        )

    def _check_vote_saved(self, server: str, request: Record) -> None:
        rival = self._probe.rival_that_wins(int(server), request.candidate_id, request)
        if rival is not None:
            self._violation(
                f"server {server} answered before it had saved: it granted {request.candidate_id} its vote in term "
                f"{request.term}, and restarted from what is durable it would vote for {rival} too "
                "(Fig. 2: persistent state is updated on stable storage before responding to RPCs)"
            )

    def _check_leader(self, server: str, term: int) -> None:
        leader = self._leaders.get(term)
        if leader is None:
            self._leaders[term] = server
            self._check_majority(server, term)
            self._check_leader_saved(server, term)
        elif leader != server:
            self._violation(f"servers {leader} and {server} both lead term {term} (§5.2: at most one leader per term)")

    def _check_majority(self, server: str, term: int) -> None:
        votes = len(self._votes_granted.get((server, term), set()) | {server})
        if self._knows_all_votes and votes <= self._servers // 2:
            self._violation(
                f"server {server} leads term {term} with {votes} of {self._servers} votes "
                "(§5.2: a candidate becomes leader by the votes of a majority)"
            )

    def _check_leader_saved(self, server: str, term: int) -> None:
        """A leader that needed its own vote must have saved it: else, after a crash, it may elect another too."""
        request = self._candidacies.get(server)
        if request is None or request.term != term:
            return
        if len(self._votes_won.get((server, term), ())) > self._servers // 2:
            return  # the others' votes were enough
        rival = self._probe.rival_that_wins(int(server), int(server), request)
        if rival is not None:
            self._violation(
                f"server {server} leads term {term} without having saved its vote for itself: restarted from what is "
                f"durable it would vote for {rival} in that term too (§5.2, Fig. 2: current_term and voted_for persist)"
            )

    def _violation(self, text: str) -> None:
        self._coordinator.fail(InvariantViolation(f"{text} at {self._coordinator.now / 1e9:.3f} s"))
