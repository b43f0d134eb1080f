"""Asks a throwaway incarnation what a server would do if it crashed right now.

Raft state is opaque to the judge, so it cannot read whether a vote was saved. It boots a server from the bytes that
are durable at the moment of the reply, and has a rival ask for the same term's vote. A server that forgot grants it.
The probe is no part of the run: it has no network, its own time, and no place in the journal.
"""

from __future__ import annotations

from typing import Any

from labrpc.codec import CodecError, Record, decode_record, encode
from labrpc.virtual import frames
from labrpc.virtual.coordinator import QUANTUM_NS, Coordinator, MachineFactory

__all__ = ["VoteProbe"]

_PATIENCE_NS = 200_000_000
"""Virtual time a probed server has to answer; one that does not is not judged."""

_LONGEST_LOG = 1 << 31


class VoteProbe:
    """Answers one question: would server `voter`, restarted from its durable bytes, vote again in this term?

    Args:
        machines: where to make the throwaway incarnations.
        coordinator: whose servers they stand for.
        program: the servers' program.
        servers: the cluster's size.
    """

    def __init__(self, machines: MachineFactory, coordinator: Coordinator, program: str, servers: int) -> None:
        self._machines = machines
        self._coordinator = coordinator
        self._program = program
        self._servers = servers
        self._asked: dict[tuple[bytes, bytes, int], int | None] = {}

    def rival_that_wins(self, voter: int, candidate: int, args: Record) -> int | None:
        """The rival of `candidate` that a restarted `voter` would vote for too, None if there is none.

        `args` is the request that `voter` has just granted. Equal bytes and requests are asked only once.
        """
        durable = self._coordinator.disk(str(voter)).durable
        question = (durable.raft_state, durable.snapshot, args.term)
        if question not in self._asked:
            rivals = [server for server in range(self._servers) if server not in (voter, candidate)]
            self._asked[question] = rivals[0] if rivals and self._votes_for(voter, rivals[0], args) else None
        return self._asked[question]

    def _votes_for(self, voter: int, rival: int, args: Record) -> bool:
        fields = {**args.fields, "candidate_id": rival}
        # The rival's log is as good as any: only the vote already given may refuse it.
        fields.update(last_log_index=_LONGEST_LOG, last_log_term=args.term)
        request = encode(Record(args.type_name, fields))
        reply = self._ask(voter, request)
        return isinstance(reply, Record) and bool(reply.fields.get("vote_granted")) and reply.fields.get("term") == args.term

    def _ask(self, voter: int, request: bytes) -> Any:
        name = str(voter)
        settings = self._coordinator.settings(name, 0)
        settings.mean_gap_steps = 0
        durable = self._coordinator.disk(name).durable
        config = encode({"me": voter, "servers": self._servers})
        ends = [str(server) for server in range(self._servers)]
        machine = self._machines.create(settings)
        try:
            inbox: list[frames.InboxItem] = [
                frames.Boot(self._program, ends, config, durable.raft_state, durable.snapshot),
                frames.Request(1, "Raft.request_vote", request),
            ]
            now: int | None = 0
            while now is not None and now <= _PATIENCE_NS:
                effects, clock, wake = machine.step(now, QUANTUM_NS, inbox)
                inbox = []
                for effect in effects:
                    if isinstance(effect, frames.Answer):
                        return None if effect.payload is None else decode_record(effect.payload)
                now = None if wake is None else max(wake, clock)
        except CodecError:
            return None
        finally:
            machine.end()
        return None
