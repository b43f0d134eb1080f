"""One server with the production extras that its config asks for."""

from __future__ import annotations

import queue
import threading
from typing import Any

from labrpc.program import ProgramHost
from raft.production import Options, ProductionRaft
from tester.programs.raft_server import Controls


class ProductionControls(Controls):
    _raft: ProductionRaft

    def read_index(self) -> int | None:
        return self._raft.read_index()

    def lease_read(self) -> int | None:
        return self._raft.lease_read()

    def transfer_leadership(self, target: int) -> bool:
        return self._raft.transfer_leadership(target)


def boot(host: ProgramHost) -> ProductionControls:
    apply_ch: queue.Queue[Any] = queue.Queue(1)

    def drain() -> None:
        while True:
            host.apply(apply_ch.get())

    threading.Thread(target=drain, name="lab apply", daemon=True).start()
    options = Options(**host.config["options"])
    raft = ProductionRaft(host.ends, host.config["me"], host.persister, apply_ch, options)
    host.serve(raft)
    return ProductionControls(raft)
