"""One server with the production extras that its config asks for."""

from __future__ import annotations

import queue
import threading
from typing import Any

from labrpc.program import ProgramHost
from raft.production import Options, ProductionRaft


class Controls:
    def __init__(self, raft: ProductionRaft) -> None:
        self._raft = raft

    def start(self, command: Any) -> tuple[int, int, bool]:
        index, term, is_leader = self._raft.start(command)
        return index, term, is_leader

    def get_state(self) -> tuple[int, bool]:
        term, is_leader = self._raft.get_state()
        return term, is_leader

    def read_index(self) -> int | None:
        return self._raft.read_index()

    def lease_read(self) -> int | None:
        return self._raft.lease_read()

    def transfer_leadership(self, target: int) -> bool:
        return self._raft.transfer_leadership(target)

    def kill(self) -> None:
        self._raft.kill()


def boot(host: ProgramHost) -> Controls:
    apply_ch: queue.Queue[Any] = queue.Queue(1)

    def drain() -> None:
        while True:
            host.apply(apply_ch.get())

    threading.Thread(target=drain, name="lab apply", daemon=True).start()
    options = Options(**host.config["options"])
    raft = ProductionRaft(host.ends, host.config["me"], host.persister, apply_ch, options)
    host.serve(raft)
    return Controls(raft)
