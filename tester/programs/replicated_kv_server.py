"""One server of the fault-tolerant key/value service."""

from __future__ import annotations

from kvraft import ReplicatedKVServer
from labrpc.program import ProgramHost
from tester.programs.raft_tap import RaftTap

__all__ = ["boot"]


class Controls:
    """What the test may call on this server."""

    def __init__(self, server: ReplicatedKVServer, tap: RaftTap, host: ProgramHost) -> None:
        self._server, self._raft, self._persister = server, tap.raft, host.persister

    def get_state(self) -> tuple[int, bool]:
        term, is_leader = self._raft.get_state()
        return term, is_leader

    def persist_bytes(self) -> int:
        return self._raft.persist_bytes()

    def snapshot_bytes(self) -> int:
        return self._persister.snapshot_size()

    def kill(self) -> None:
        self._server.kill()


def boot(host: ProgramHost) -> Controls:
    tap = RaftTap(host)
    server = ReplicatedKVServer(host.ends, host.config["me"], host.persister, host.config.get("max_raft_state", -1))
    host.serve(tap.raft, server)
    return Controls(server, tap, host)
