"""What a test may call on any server that has a Raft inside."""

from __future__ import annotations

from collections.abc import Callable

from raft import Raft

__all__ = ["RaftControls"]


class RaftControls:
    """The controls of one server.

    Args:
        raft: the server's Raft.
        kill: ends the whole server.
    """

    def __init__(self, raft: Raft, kill: Callable[[], None]) -> None:
        self._raft = raft
        self._kill = kill

    def get_state(self) -> tuple[int, bool]:
        term, is_leader = self._raft.get_state()
        return term, is_leader

    def persist_bytes(self) -> int:
        return self._raft.persist_bytes()

    def kill(self) -> None:
        self._kill()
