"""Part 3B: a replicated state machine, the layer between Raft and a service.

submit(req) --> Raft.start --> ... --> apply_ch --> reader --> state_machine.do_op(req) --> submit returns its result
                                                      |
                                                      +--> every max_raft_state bytes: Raft.snapshot

threads   one reader of apply_ch, the only one that touches the state machine; the callers of submit
lock      `mu` guards the waiting submits; `submit` holds it while it calls Raft.start, so that the reader cannot
          reach an entry before its submit waits for it
"""

from __future__ import annotations

import queue
import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kvraft.rpc import Err
from labrpc import ClientEnd, Persister, decode, encode, message
from raft import ApplyMsg, Raft

__all__ = ["RSM", "StateMachine"]

LEADERSHIP_CHECK_INTERVAL = 0.05
"""Seconds between a waiting submit's looks at whether its server still leads. A leader that lost its place may never
hear what became of the entry."""

QUIET_TIME = 1.0
"""Seconds that apply_ch stays empty after kill() before the reader ends: Raft may be in the middle of a put."""


class StateMachine(Protocol):
    """A service that can be replicated: what it does depends on its state and the request alone.

    RSM calls these from one thread.
    """

    def do_op(self, req: Any) -> Any:
        """Does one operation, and returns its result."""

    def snapshot(self) -> bytes:
        """The whole state."""

    def restore(self, data: bytes) -> None:
        """Takes the state of a `snapshot` in place of its own."""


@message
@dataclass(frozen=True)
class Op:
    """A request in the log. `id` tells a submit's own entry from another that took its index."""

    id: int
    req: Any


class Waiter:
    """A submit that waits for its entry to be applied."""

    def __init__(self, id: int, term: int) -> None:
        self.id = id
        self.term = term
        """The term in which its server led when it started the entry."""
        self.done = threading.Event()
        self.err = Err.WRONG_LEADER
        self.result: Any = None


class RSM:
    """One replica.

    Args:
        peers: an end for each replica, this one's own included, in the same order everywhere.
        me: this replica's place in `peers`.
        persister: its stable storage; it starts from what it finds there.
        max_raft_state: bytes of Raft state after which it takes a snapshot; -1: never.
        state_machine: the service, in its initial state.
    """

    def __init__(
        self,
        peers: Sequence[ClientEnd],
        me: int,
        persister: Persister,
        max_raft_state: int,
        state_machine: StateMachine,
    ) -> None:
        self.max_raft_state = max_raft_state
        self.state_machine = state_machine
        self.mu = threading.Lock()
        self.killed = False
        # index -> the submit that waits for it. Invariant: indices are greater than that of the last command applied.
        self.waiters: dict[int, Waiter] = {}
        # Index of the last command in the state machine. Only the reader uses it.
        self.last_applied = 0
        snapshot = persister.read_snapshot()
        if snapshot:
            self._restore(snapshot)
        self.apply_ch: queue.Queue[ApplyMsg] = queue.Queue(1)
        self.raft = Raft(peers, me, persister, self.apply_ch)
        threading.Thread(target=self._reader, name="rsm reader", daemon=True).start()

    def submit(self, req: Any) -> tuple[Err, Any]:
        """Has all replicas do `req`, and returns (OK, its result) once this one has.

        (WRONG_LEADER, None): this replica does not lead, lost its place meanwhile, or was killed. Unless it never led,
        `req` may still be done later.
        """
        waiter, index = self._start(req)
        if waiter is None:
            return Err.WRONG_LEADER, None
        while not waiter.done.wait(LEADERSHIP_CHECK_INTERVAL):
            term, _ = self.raft.get_state()
            if self.killed or term != waiter.term:
                self._give_up(index, waiter)
        return waiter.err, waiter.result

    def kill(self) -> None:
        """Ends the replica: submits return, its threads end."""
        self.killed = True
        self.raft.kill()

    def _start(self, req: Any) -> tuple[Waiter | None, int]:
        id = random.getrandbits(62)
        with self.mu:
            if self.killed:
                return None, 0
            index, term, is_leader = self.raft.start(Op(id, req))
            if not is_leader:
                return None, 0
            # A submit that waits at this index lost it: its entry was cut off the log.
            self._give_up_locked(index)
            self.waiters[index] = waiter = Waiter(id, term)
            return waiter, index

    def _give_up(self, index: int, waiter: Waiter) -> None:
        with self.mu:
            if self.waiters.get(index) is waiter:
                self._give_up_locked(index)

    def _give_up_locked(self, index: int) -> None:
        waiter = self.waiters.pop(index, None)
        if waiter is not None:
            waiter.done.set()

    # -------------------------------------------------------------- the reader

    def _reader(self) -> None:
        """Does what Raft has agreed on, in order. After kill() it only empties apply_ch, so that Raft can end."""
        while True:
            try:
                message = self.apply_ch.get(timeout=QUIET_TIME)
            except queue.Empty:
                if self.killed:
                    return
                continue
            if self.killed:
                continue
            if message.command_valid:
                self._apply(message.command_index, message.command)
            elif message.snapshot_valid:
                self._install(message)

    def _apply(self, index: int, op: Op) -> None:
        result = self.state_machine.do_op(op.req)
        self.last_applied = index
        with self.mu:
            waiter = self.waiters.pop(index, None)
            if waiter is not None:
                if waiter.id == op.id:
                    waiter.err, waiter.result = Err.OK, result
                waiter.done.set()
        if 0 <= self.max_raft_state <= self.raft.persist_bytes():
            self.raft.snapshot(index, encode((index, self.state_machine.snapshot())))

    def _install(self, message: ApplyMsg) -> None:
        """A snapshot from the leader stands for commands that will not come one by one."""
        self._restore(message.snapshot)
        with self.mu:
            # Whether they are among those commands, and with what result, this replica cannot know.
            for index in [index for index in self.waiters if index <= self.last_applied]:
                self._give_up_locked(index)

    def _restore(self, snapshot: bytes) -> None:
        self.last_applied, state = decode(snapshot)
        self.state_machine.restore(state)
