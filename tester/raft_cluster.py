"""A cluster of Raft servers, and the questions the graded tests ask of it."""

from __future__ import annotations

from typing import Any

from tester.cluster import Cluster, Server
from tester.invariants import RaftInvariants
from tester.probe import VoteProbe
from tester.run import Run

__all__ = ["ELECTION_TIMEOUT", "RaftCluster", "RaftServer"]

ELECTION_TIMEOUT = 1.0
"""Seconds within which a healthy cluster surely has a leader: the tests' unit of patience."""


class RaftServer(Server):
    """A handle on one Raft server; each method gives None when the server is down."""

    def get_state(self) -> tuple[int, bool] | None:
        """(term, whether it believes that it leads)."""
        state: tuple[int, bool] | None = self.call("get_state")
        return state

    def start(self, command: Any) -> tuple[int, int, bool] | None:
        """(index, term, whether it leads) for `command`."""
        result: tuple[int, int, bool] | None = self.call("start", command)
        return result


class RaftCluster(Cluster):
    """Raft servers 0 to n-1, judged by the invariants from their first message on."""

    server_class = RaftServer

    def __init__(self, run: Run, servers: int, *, program: str = "tester.programs.raft_server", **options: Any) -> None:
        super().__init__(run, servers, program=program, **options)
        probe = VoteProbe(self.machines, self.coordinator, program, servers)
        self.invariants = RaftInvariants(self.coordinator, probe, servers)
        self.journal.listeners.append(self.invariants.observe)
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
                    raise AssertionError(f"servers {_and(found)} both lead term {term} (§5.2: at most one leader a term)")
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
                others = _and([i for i in self._reachable() if i != index]) or "nobody"
                raise AssertionError(
                    f"server {index} leads term {state[0]}, but it reaches only {others} of {self.n} servers "
                    "(§5.2: a leader needs the votes of a majority)"
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

    def _reachable(self) -> list[int]:
        return [index for index in range(self.n) if self.is_reachable(index)]


def _and(items: list[int]) -> str:
    return " and ".join(str(item) for item in items)
