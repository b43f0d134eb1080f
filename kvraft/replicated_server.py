"""Parts 4A and 4B: one server of the fault-tolerant key/value service."""

from __future__ import annotations

from collections.abc import Sequence

from kvraft.rpc import Err, GetArgs, GetReply, PutArgs, PutReply
from kvraft.rsm import RSM
from kvraft.store import Store
from labrpc import ClientEnd, Persister, rpc

__all__ = ["ReplicatedKVServer"]


class ReplicatedKVServer:
    """A replica of the `Store`; clerks are answered by the one that leads.

    Gets go through the log like puts, so that each sees all that was put before it.

    Args:
        peers, me, persister, max_raft_state: as for `RSM`.
    """

    service_name = "KV"

    def __init__(self, peers: Sequence[ClientEnd], me: int, persister: Persister, max_raft_state: int) -> None:
        self.rsm = RSM(peers, me, persister, max_raft_state, Store())

    @rpc
    def get(self, args: GetArgs) -> GetReply:
        """As `KVServer.get`; Err.WRONG_LEADER if this server could not have it agreed on."""
        err, reply = self.rsm.submit(args)
        return reply if err is Err.OK else GetReply("", 0, err)

    @rpc
    def put(self, args: PutArgs) -> PutReply:
        """As `KVServer.put`; Err.WRONG_LEADER if this server could not have it agreed on. It may yet take effect."""
        err, reply = self.rsm.submit(args)
        return reply if err is Err.OK else PutReply(err)

    def kill(self) -> None:
        """Ends the server; its handlers return."""
        self.rsm.kill()
