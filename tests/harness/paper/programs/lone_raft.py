"""One Raft server with nothing around it: what it applies is told, and every call of its interface is a control.

A control that raises gives the exception's name and text, so that a test can expect it.
"""

from __future__ import annotations

import queue
import threading
from typing import Any

from labrpc import CodecError
from labrpc.program import ProgramHost
from raft import Raft

__all__ = ["boot"]


class Controls:
    """What the test may call on this server."""

    def __init__(self, raft: Raft, reading: threading.Event) -> None:
        self._raft = raft
        self._reading = reading

    def start(self, command: Any) -> tuple[int, int, bool]:
        index, term, is_leader = self._raft.start(command)
        return index, term, is_leader

    def start_what_cannot_be_encoded(self) -> str:
        try:
            self._raft.start(object())
        except CodecError as error:
            return f"CodecError: {error}"
        return ""

    def get_state(self) -> tuple[int, bool]:
        term, is_leader = self._raft.get_state()
        return term, is_leader

    def snapshot(self, index: int, data: bytes) -> str:
        try:
            self._raft.snapshot(index, data)
        except ValueError as error:
            return f"ValueError: {error}"
        return ""

    def persist_bytes(self) -> int:
        return self._raft.persist_bytes()

    def kill(self) -> None:
        self._raft.kill()

    def stop_reading(self) -> None:
        """The service takes nothing more out of apply_ch."""
        self._reading.clear()

    def go_on_reading(self) -> None:
        self._reading.set()


def boot(host: ProgramHost) -> Controls:
    apply_ch: queue.Queue[Any] = queue.Queue(1)
    reading = threading.Event()
    reading.set()

    def drain() -> None:
        while True:
            reading.wait()
            host.apply(apply_ch.get())

    threading.Thread(target=drain, name="lab apply", daemon=True).start()
    raft = Raft(host.ends, host.config["me"], host.persister, apply_ch)
    host.serve(raft)
    return Controls(raft, reading)
