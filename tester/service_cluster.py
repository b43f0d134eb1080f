"""Clusters of the services in kvraft: a replicated counter, one key/value server, the replicated key/value service."""

from __future__ import annotations

from typing import Any, ClassVar

from labrpc.errors import UsageError
from tester.clerks import Clerk, Clerks
from tester.cluster import Cluster
from tester.raft_cluster import RaftCluster, RaftServer
from tester.run import Run

__all__ = ["KVCluster", "RSMCluster", "RSMServer", "ReplicatedKVCluster", "ReplicatedKVServer"]


class _ServiceCluster(RaftCluster):
    """Servers of a service on Raft.

    Args:
        max_raft_state: bytes of Raft state after which a server takes a snapshot; -1: never.
    """

    service_program: ClassVar[str]

    def __init__(self, run: Run, servers: int, *, max_raft_state: int = -1, **options: Any) -> None:
        config = {"max_raft_state": max_raft_state}
        super().__init__(run, servers, program=self.service_program, opaque_snapshots=True, config=config, **options)


class RSMServer(RaftServer):
    """A handle on one replica of the counter; each method gives None when the server is down."""

    def submit(self, request: str) -> tuple[str, Any] | None:
        """(err, the counter's new value) for `request`, one of "inc", "dec", "null".

        One that a shrunk run leaves out ends as on a server that does not lead.
        """
        if not self._happens("submit", request):
            return "WRONG_LEADER", None
        return self.submit_surely(request)

    def submit_surely(self, request: str) -> tuple[str, Any] | None:
        """As `submit`, but never left out: for those who demand something of the result."""
        result: tuple[str, Any] | None = self.ask("submit", request)
        return result

    def counter(self) -> int | None:
        """The counter's value on this replica."""
        value: int | None = self.ask("counter")
        return value


class RSMCluster(_ServiceCluster):
    """A counter replicated by `RSM`."""

    server_class = RSMServer
    service_program = "tester.programs.rsm_server"

    def __init__(self, run: Run, servers: int, **options: Any) -> None:
        super().__init__(run, servers, **options)
        self.unsure = 0
        """Increments that a leader took and then did not answer with OK: each may have been done, or not."""

    def submit(self, request: str) -> tuple[int, Any]:
        """Has the cluster do `request`: (the server that led, the counter's new value).

        If a leader loses its place meanwhile, another is asked; see `unsure`.

        Raises:
            AssertionError: no server has done it within 10 s.
        """
        deadline = self.now + 10
        while self.now < deadline:
            for index in range(self.n):
                state = self.server(index).get_state() if self.is_reachable(index) else None
                if state is not None and state[1]:
                    result = self.server(index).submit_surely(request)
                    if result is not None and result[0] == "OK":
                        return index, result[1]
                    self.unsure += request == "inc"
            self.sleep(0.05)
        raise AssertionError(f"no server did a submitted {request} within 10 s")

    def assert_count(self, value: Any, done: int) -> None:
        """Demands that `value` can be the counter's after `done` increments.

        Raises:
            AssertionError: it cannot.
        """
        if not done <= value <= done + self.unsure:
            unsure = f" and {self.unsure} whose leader lost its place" if self.unsure else ""
            raise AssertionError(f"the counter is {value} after {done} increments{unsure}")

    def wait_for_counter(self, done: int, servers: int) -> None:
        """Waits until the counters of `servers` replicas show the same value, one that `done` increments can have made.

        From time to time it submits a "null": a new leader cannot tell that entries of earlier terms are committed
        before one of its own is (§5.4.2).

        Raises:
            AssertionError: they do not within 10 s.
        """
        deadline = self.now + 10
        nudge = self.now + 0.5
        while True:
            values = {index: self.server(index).counter() for index in range(self.n)}
            if any(list(values.values()).count(done + more) >= servers for more in range(self.unsure + 1)):
                return
            if self.now >= deadline:
                raise AssertionError(f"{servers} counters should show {done} increments; they show {values}")
            if self.now >= nudge:
                self.submit("null")
                nudge = self.now + 0.5
            self.sleep(0.02)


class _WithClerks:
    """Clients of the cluster's service."""

    clerks: Clerks

    def clerk(self) -> Clerk:
        """One more client."""
        return self.clerks.boot()

    def assert_linearizable(self) -> None:
        """See `Clerks.assert_linearizable`."""
        self.clerks.assert_linearizable()


class KVCluster(_WithClerks, Cluster):
    """One key/value server that keeps its state in memory, and its clients."""

    def __init__(self, run: Run, servers: int = 1, **options: Any) -> None:
        if servers != 1:
            raise UsageError(f"part 3A has 1 server, not {servers}")
        super().__init__(run, servers, program="tester.programs.kv_server", **options)
        self.clerks = Clerks(self)
        self.start_all()


class ReplicatedKVServer(RaftServer):
    """A handle on one server of the service; each method gives None when the server is down."""

    def snapshot_bytes(self) -> int | None:
        """Bytes of its snapshot on stable storage."""
        size: int | None = self.ask("snapshot_bytes")
        return size


class ReplicatedKVCluster(_WithClerks, _ServiceCluster):
    """The replicated key/value service and its clients."""

    server_class = ReplicatedKVServer
    service_program = "tester.programs.replicated_kv_server"

    def __init__(self, run: Run, servers: int, **options: Any) -> None:
        super().__init__(run, servers, **options)
        self.clerks = Clerks(self)
