"""One Raft server: builds `Raft`, opens its handlers, and takes what comes out of `apply_ch` to the judge.

With `snapshot_interval` n in its config it also keeps the applied commands as its state, and has Raft take a snapshot
of them at every index i with (i + 1) % n == 0.
"""

from __future__ import annotations

import queue
import threading
from typing import Any

from labrpc import decode, encode
from labrpc.program import ProgramHost
from raft import ApplyMsg, Raft
from tester.programs.raft_controls import RaftControls

__all__ = ["boot"]


class Controls(RaftControls):
    """What the test may call on this server."""

    def __init__(self, raft: Raft) -> None:
        super().__init__(raft, raft.kill)

    def start(self, command: Any) -> tuple[int, int, bool]:
        index, term, is_leader = self._raft.start(command)
        return index, term, is_leader


class Service:
    """The state machine: the list of all commands applied."""

    def __init__(self, host: ProgramHost, snapshot_interval: int) -> None:
        self._host = host
        self._interval = snapshot_interval
        self._commands: list[Any] = []
        self.raft: Raft | None = None
        saved = host.persister.read_snapshot()
        if saved:
            index, self._commands = decode(saved)
            # The judge learns where this incarnation starts from.
            host.apply(ApplyMsg(snapshot_valid=True, snapshot=saved, snapshot_index=index))

    def apply(self, message: Any) -> None:
        self._host.apply(message)
        if not self._interval:
            return
        if message.snapshot_valid:
            _, self._commands = decode(message.snapshot)
        elif message.command_valid:
            self._commands.append(message.command)
            index = message.command_index
            if (index + 1) % self._interval == 0 and self.raft is not None:
                self.raft.snapshot(index, encode((index, self._commands)))


def boot(host: ProgramHost) -> Controls:
    apply_ch: queue.Queue[Any] = queue.Queue(1)  # as an unbuffered channel would be
    service = Service(host, host.config.get("snapshot_interval", 0))
    ready = threading.Event()

    def drain() -> None:
        message = apply_ch.get()
        ready.wait()  # until the service knows its Raft
        while True:
            service.apply(message)
            message = apply_ch.get()

    # It drains also after kill(), so that a server that puts one last message can end.
    threading.Thread(target=drain, name="lab apply", daemon=True).start()
    service.raft = raft = Raft(host.ends, host.config["me"], host.persister, apply_ch)
    ready.set()
    host.serve(raft)
    return Controls(raft)
