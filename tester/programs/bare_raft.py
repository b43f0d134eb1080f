"""One Raft server without a service: what a probe asks."""

from __future__ import annotations

import queue
import threading
from typing import Any

from labrpc.program import ProgramHost
from raft import Raft
from tester.programs.raft_controls import RaftControls

__all__ = ["boot"]


def boot(host: ProgramHost) -> RaftControls:
    apply_ch: queue.Queue[Any] = queue.Queue(1)

    def drain() -> None:
        while True:
            apply_ch.get()

    threading.Thread(target=drain, name="lab apply", daemon=True).start()
    raft = Raft(host.ends, host.config["me"], host.persister, apply_ch)
    host.serve(raft)
    return RaftControls(raft, raft.kill)
