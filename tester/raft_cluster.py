"""A cluster of Raft servers, and the questions the graded tests ask of it."""

from __future__ import annotations

from typing import Any

from labrpc.codec import encode
from tester.applied import AppliedLogs
from tester.cluster import Cluster, Server
from tester.invariants import RaftInvariants
from tester.log_invariants import LogInvariants
from tester.probe import DurabilityProbe
from tester.run import Run

__all__ = ["ELECTION_TIMEOUT", "RaftCluster", "RaftServer"]

ELECTION_TIMEOUT = 1.0
"""Seconds within which a healthy cluster surely has a leader: the tests' unit of patience."""


class RaftServer(Server):
    """A handle on one Raft server; each method gives None when the server is down."""

    def get_state(self) -> tuple[int, bool] | None:
        """(term, whether it believes that it leads)."""
        state: tuple[int, bool] | None = self.ask("get_state")
        return state

    def start(self, command: Any) -> tuple[int, int, bool] | None:
        """(index, term, whether it leads) for `command`; None too if a shrunk run leaves it out."""
        if not self._happens("start", command):
            return None
        return self.start_surely(command)

    def start_surely(self, command: Any) -> tuple[int, int, bool] | None:
        """As `start`, but never left out: for those who demand something of the command."""
        result: tuple[int, int, bool] | None = self.ask("start", command)
        return result

    def persist_bytes(self) -> int | None:
        """Bytes of its raft state on stable storage."""
        size: int | None = self.ask("persist_bytes")
        return size


class RaftCluster(Cluster):
    """Raft servers 0 to n-1, judged by the invariants from their first message on.

    Args:
        opaque_snapshots: whether the program's snapshots are its own affair; see `AppliedLogs`.
    """

    server_class = RaftServer

    def __init__(
        self,
        run: Run,
        servers: int,
        *,
        program: str = "tester.programs.raft_server",
        opaque_snapshots: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(run, servers, program=program, **options)
        probe = DurabilityProbe(self.machines, self.coordinator, servers)
        self.applied = AppliedLogs(self.coordinator, opaque_snapshots=opaque_snapshots)
        rules = RaftInvariants(self.coordinator, probe, servers), LogInvariants(self.coordinator, probe, servers)
        self.journal.listeners += [*(rule.observe for rule in rules), self.applied.observe]
        self.start_all()

    def one_leader(self) -> int:
        """The server that leads now; waits for one through up to 10 rounds of 450–550 ms.

        Raises:
            AssertionError: two reachable servers lead one term, or nobody leads in the end.
        """
        for _ in range(10):
            self.sleep(self.random.between(0.45, 0.55))
            leaders: dict[int, list[int]] = {}
            for index in range(self.n):
                if self.is_reachable(index):
                    state = self.server(index).get_state()
                    if state is not None and state[1]:
                        leaders.setdefault(state[0], []).append(index)
            for term, found in sorted(leaders.items()):
                if len(found) > 1:
                    raise AssertionError(
                        f"servers {_and(found)} both lead term {term} (§5.2: at most one leader a term)"
                    )
            if leaders:
                return leaders[max(leaders)][0]
        raise AssertionError(f"no leader among servers {_and(self._reachable())} within 10 rounds of 0.5 s")

    def no_leader(self) -> None:
        """Demands that no reachable server believes that it leads.

        Raises:
            AssertionError: one does.
        """
        for index in self._reachable():
            state = self.server(index).get_state()
            if state is not None and state[1]:
                others = [i for i in self._reachable() if i != index]
                reached = f"only {_and(others)}" if others else "no other server"
                raise AssertionError(
                    f"server {index} leads term {state[0]}, but it reaches {reached} of {self.n} "
                    f"(§5.2: a leader needs the votes of a majority) at {self.now:.3f} s"
                )

    def agreed_term(self) -> int:
        """The term that all reachable servers are in.

        Raises:
            AssertionError: they are in different terms.
        """
        terms: dict[int, int] = {}
        for index in self._reachable():
            state = self.server(index).get_state()
            if state is not None:
                terms[index] = state[0]
        if len(set(terms.values())) != 1:
            raise AssertionError(f"servers disagree on the term: {terms}")
        return next(iter(terms.values()))

    def disconnect(self, *servers: int) -> None:
        """Cuts servers off."""
        for server in servers:
            self.network.disconnect(server)

    def connect(self, *servers: int) -> None:
        """Ends `disconnect`."""
        for server in servers:
            self.network.connect(server)

    def command(self) -> int:
        """A command that no other is likely to equal."""
        return self.random.below(1 << 40)

    def applied_by(self, index: int) -> int:
        """How many servers have applied `index`."""
        return self.applied.servers_that_applied(index)

    def one(self, command: Any, servers: int, *, retry: bool = True, patience: float = 10) -> int:
        """Gets `command` agreed on: finds a leader, starts it there, waits until `servers` have applied it; its index.

        It takes up to `patience` s in all, and 2 s a submission; without `retry` the first submission must do.

        Raises:
            AssertionError: that was not enough.
        """
        data = encode(command)
        deadline = self.now + patience
        candidate = 0
        first_term = 0
        while self.now < deadline:
            index: int | None = None
            for _ in range(self.n):
                candidate = (candidate + 1) % self.n
                if self.is_reachable(candidate):
                    started = self.server(candidate).start_surely(command)
                    if started is not None and started[2]:
                        index = started[0]
                        first_term = first_term or started[1]
                        break
            if index is None:
                self.sleep(0.05)
                continue
            submission_ends = self.now + 2
            while self.now < submission_ends:
                if self.applied_by(index) >= servers and encode(self.applied.command(index)) == data:
                    return index
                self.sleep(0.02)
            if not retry:
                break
        raise AssertionError(
            f"{command if len(str(command)) < 40 else 'the command'} was not applied by {servers} servers "
            f"within {f'{patience:g} s' if retry else '2 s of its first submission'}{self._unrest(first_term)}"
        )

    def wait(self, index: int, servers: int, term: int | None = None) -> Any:
        """Waits until `servers` have applied `index`; the command there.

        Polls from 10 ms doubling to 1.28 s, 30 times. Gives up with None when a server has moved past `term`.

        Raises:
            AssertionError: too few have applied it in the end.
        """
        pause = 0.01
        for _ in range(30):
            if self.applied_by(index) >= servers:
                break
            self.sleep(pause)
            pause = min(2 * pause, 1.28)
            if term is not None:
                for server in range(self.n):
                    state = self.server(server).get_state()
                    if state is not None and state[0] > term:
                        return None
        found = self.applied_by(index)
        if found < servers:
            raise AssertionError(f"only {found} servers have applied index {index}, {servers} are needed")
        return self.applied.command(index)

    def _unrest(self, since: int) -> str:
        """How far the term has moved on from `since` (0: there was no leader); elections may be the trouble."""
        states = [self.server(server).get_state() for server in self._reachable()]
        now = max((state[0] for state in states if state is not None), default=0)
        return f", while the term went from {since} to {now}" if 0 < since < now else ""

    def _reachable(self) -> list[int]:
        return [index for index in range(self.n) if self.is_reachable(index)]


def _and(items: list[int]) -> str:
    return " and ".join(str(item) for item in items)
