"""One server of the fault-tolerant key/value service."""

from __future__ import annotations

from kvraft import ReplicatedKVServer
from labrpc.program import ProgramHost
from tester.programs.raft_controls import RaftControls
from tester.programs.raft_tap import RaftTap

__all__ = ["boot"]


class Controls(RaftControls):
    """What the test may call on this server."""

    def __init__(self, server: ReplicatedKVServer, tap: RaftTap, host: ProgramHost) -> None:
        super().__init__(tap.raft, server.kill)
        self._persister = host.persister

    def snapshot_bytes(self) -> int:
        return self._persister.snapshot_size()


def boot(host: ProgramHost) -> Controls:
    tap = RaftTap(host)
    server = ReplicatedKVServer(host.ends, host.config["me"], host.persister, host.config.get("max_raft_state", -1))
    host.serve(tap.raft, server)
    return Controls(server, tap, host)
