"""One Raft server: builds `Raft`, opens its handlers, and drains `apply_ch` for the judge."""

from __future__ import annotations

import queue
import threading
from typing import Any

from labrpc.program import ProgramHost
from raft import Raft

__all__ = ["boot"]


class Controls:
    """What the test may call on this server."""

    def __init__(self, raft: Raft) -> None:
        self._raft = raft

    def start(self, command: Any) -> tuple[int, int, bool]:
        index, term, is_leader = self._raft.start(command)
        return index, term, is_leader

    def get_state(self) -> tuple[int, bool]:
        term, is_leader = self._raft.get_state()
        return term, is_leader

    def kill(self) -> None:
        self._raft.kill()


def boot(host: ProgramHost) -> Controls:
    apply_ch: queue.Queue[Any] = queue.Queue(1)  # as an unbuffered channel would be

    def drain() -> None:
        while True:
            host.apply(apply_ch.get())

    # It drains also after kill(), so that a server that puts one last message can end.
    threading.Thread(target=drain, name="lab apply", daemon=True).start()
    raft = Raft(host.ends, host.config["me"], host.persister, apply_ch)
    host.serve(raft)
    return Controls(raft)
