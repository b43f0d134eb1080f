"""Asks a throwaway incarnation what a server would do if it crashed right now.

Raft state is opaque to the judge, so it cannot read whether a vote or an entry was saved. It boots a server from the
bytes that are durable at this moment. For a vote, a rival asks for the same term's: a server that forgot grants it (one
that would grant it in any case, crash or not, breaks another rule and is left to that). For entries, their leader sends
an append that follows the last of them: a server that forgot rejects it.
Servers none of which has ever saved anything are not asked: that is a Raft whose author has not come to part 2C. There
servers crash, and what such a Raft forgets is seen without a probe.
The probe is no part of the run: it has no network, its own time, and no place in the journal.
"""

from __future__ import annotations

from typing import Any

from labrpc import frames
from labrpc.codec import CodecError, Record, encode
from labrpc.coordinator import Coordinator
from labrpc.virtual.steps import QUANTUM_NS, StepMachines
from tester.payloads import message_body

__all__ = ["DurabilityProbe"]

_PATIENCE_NS = 200_000_000
"""Virtual time a probed server has to answer; one that does not is not judged."""

_PROGRAM = "tester.programs.bare_raft"
"""The service above Raft is not asked, so it is not booted."""

_LONGEST_LOG = 1 << 31
_VOTE = "Raft.request_vote"


class DurabilityProbe:
    """Answers what a server, restarted from the bytes that are durable now, would have forgotten.

    Args:
        machines: where to make the throwaway incarnations.
        coordinator: whose servers they stand for.
        servers: the cluster's size.
    """

    def __init__(self, machines: StepMachines, coordinator: Coordinator, servers: int) -> None:
        self._machines = machines
        self._coordinator = coordinator
        self._servers = servers
        self._asked: dict[tuple[bytes, bytes, int], int | None] = {}

    def rival_that_wins(self, voter: int, candidate: int, args: Record) -> int | None:
        """The rival of `candidate` that `voter`, had it crashed now, would vote for too; None if there is none.

        `args` is the request that `voter` has granted to `candidate` (perhaps itself). Equal bytes are asked only once.
        """
        if not self._has_anything_been_saved():
            return None
        durable = self._coordinator.disk(str(voter)).durable
        question = (durable.raft_state, durable.snapshot, args.term)
        if question not in self._asked or self._asked[question] in (voter, candidate):  # known of another server only
            self._asked[question] = self._find_rival(voter, candidate, args)
        return self._asked[question]

    def _find_rival(self, voter: int, candidate: int, args: Record) -> int | None:
        others = [server for server in range(self._servers) if server not in (voter, candidate)]
        if not others:
            return None
        try:
            rival = _request(args, others[0])
        except CodecError:
            return None  # more levels than a server takes
        if not _grants(self._ask(voter, _VOTE, [rival])[-1], args.term):
            return None
        # Would it vote twice even without a crash between? Then saving is not what it forgot.
        first = _request(args, others[-1] if candidate == voter else candidate)
        if first != rival and _grants(self._ask(voter, _VOTE, [first, rival])[-1], args.term):
            return None
        return others[0]

    def forgets_entries(self, server: int, args: Record) -> bool:
        """Whether `server`, had it crashed now, would lack entries of the append `args` that it has acknowledged.

        One that has gone on to a newer term, saved with the entries, rejects the question for that term alone.
        """
        if not self._has_anything_been_saved():
            return False
        if self._coordinator.disk(str(server)).durable.snapshot:
            return False  # the entries may be in it, where an append cannot ask for them
        fields = {**args.fields, "prev_log_index": args.prev_log_index + len(args.entries), "entries": []}
        fields.update(prev_log_term=args.entries[-1].term, leader_commit=0)
        try:
            request = encode(Record(args.type_name, fields))
        except CodecError:
            return False  # more levels than a server takes
        reply = self._ask(server, "Raft.append_entries", [request])[-1]
        rejected = isinstance(reply, Record) and reply.fields.get("success") is False
        return rejected and reply.fields.get("term") == args.term

    def _has_anything_been_saved(self) -> bool:
        """Whether any server has handed raft state to its disk, durable yet or not."""
        disks = [self._coordinator.disk(str(server)) for server in range(self._servers)]
        return any(contents.raft_state for disk in disks for contents in disk.survivors())

    def _ask(self, server: int, method: str, requests: list[bytes]) -> list[Any]:
        """The replies of a server booted from `server`'s durable bytes to one request after the other."""
        name = str(server)
        settings = self._coordinator.settings(name, 0)
        settings.mean_gap_steps = settings.stretch_steps = settings.longest_sync_save_ns = 0
        durable = self._coordinator.disk(name).durable
        config = encode({"me": server, "servers": self._servers})
        ends = [str(peer) for peer in range(self._servers)]
        replies: list[Any] = []
        machine = self._machines.create(settings)
        try:
            inbox: list[frames.InboxItem] = [
                frames.Boot(_PROGRAM, ends, config, durable.raft_state, durable.snapshot),
                frames.Request(0, method, requests[0]),
            ]
            now: int | None = 0
            while now is not None and now <= _PATIENCE_NS:
                effects, clock, wake = machine.step(now, QUANTUM_NS, inbox)
                inbox = []
                now = None if wake is None else max(wake, clock)
                if any(isinstance(effect, frames.Answer) for effect in effects):
                    replies += [
                        message_body(effect.payload or b"") for effect in effects if isinstance(effect, frames.Answer)
                    ]
                    if len(replies) == len(requests):
                        return replies
                    inbox = [frames.Request(len(replies), method, requests[len(replies)])]
                    now = clock
        finally:
            machine.end()
        return [None]


def _request(args: Record, candidate: int) -> bytes:
    """`args` as `candidate` would send it, with a log as good as any: only a vote already given may refuse it."""
    fields = {**args.fields, "candidate_id": candidate, "last_log_index": _LONGEST_LOG, "last_log_term": args.term}
    return encode(Record(args.type_name, fields))


def _grants(reply: Any, term: int) -> bool:
    return isinstance(reply, Record) and reply.fields.get("vote_granted") is True and reply.fields.get("term") == term
