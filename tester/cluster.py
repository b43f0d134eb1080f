"""Handles on a cluster: what a test may do to servers, network and time.

    cluster.server(1).start("x")        a control call: no network latency
    cluster.network.disconnect(0)       a fault
    cluster.sleep(0.5)                  virtual time: it costs nothing
    cluster.crash(2); cluster.start(2)  a new incarnation, from what its disk holds

Tests never touch a server's objects, so the same test runs in every world.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

from labrpc.errors import UsageError
from labrpc.event_loop import HarnessTask
from labrpc.journal import Journal
from labrpc.network import Network
from labrpc.shutdown import Shutdown
from labrpc.streams import Events, Stream
from tester.answers import checked
from tester.run import Run

__all__ = ["Cluster", "Server", "Task"]


class Server:
    """A handle on server `index`, whatever incarnation runs now. A call on one that is down gives None."""

    def __init__(self, cluster: Cluster, index: int) -> None:
        self.index = index
        self._cluster = cluster

    def call(self, control: str, *args: Any) -> Any:
        """Calls a control of the server's program; see `Coordinator.control`."""
        return self._cluster.coordinator.control(str(self.index), control, *args)

    def ask(self, control: str, *args: Any) -> Any:
        """As `call`, for controls that `tester.answers` knows the results of: it is one of these, or a `CodeFault`."""
        return checked(str(self.index), control, self.call(control, *args))

    @property
    def is_up(self) -> bool:
        return self._cluster.coordinator.is_up(str(self.index))

    def _happens(self, control: str, argument: Any) -> bool:
        """Whether this call, which gives the server work, is to happen: a shrunk run may leave it out."""
        return self._cluster.events.happens(control, f"{self.index} {argument!r}")

    def __repr__(self) -> str:
        return f"<server {self.index}>"


class Task:
    """A part of the test that runs beside the rest."""

    def __init__(self, cluster: Cluster, task: HarnessTask) -> None:
        self._cluster = cluster
        self._task = task

    @property
    def done(self) -> bool:
        return self._task.done

    def join(self) -> Any:
        """Waits for it to end; what its function returned."""
        return self._cluster.coordinator.join(self._task)


class Cluster:
    """Servers 0 to n-1, each running `program`.

    Args:
        run: the run it belongs to.
        servers: how many.
        program: the module with `boot(host)`.
        config: what each server's program finds in `host.config`, beside `me` and `servers`.
        reliable: whether the network starts out reliable.
        time_limit: seconds of its own clock the run may take.
        latency: one-way latency of a quiet link in seconds; None draws it from the seed.
    """

    server_class: type[Server] = Server

    def __init__(
        self,
        run: Run,
        servers: int,
        *,
        program: str,
        config: dict[str, Any] | None = None,
        reliable: bool = True,
        time_limit: float = 120.0,
        latency: float | None = None,
    ) -> None:
        if servers < 1:
            raise UsageError(f"a cluster needs at least 1 server, not {servers}")
        self.run = run
        self.n = servers
        self.program = program
        self._config = config or {}
        streams = run.streams()
        disturbance = run.disturbance(streams)
        latency_ns = None if latency is None else round(latency * 1e9)
        self.network = Network(streams, latency_ns=latency_ns, climate=disturbance.climate)
        self.machines = run.machines(streams.ledger)
        self.coordinator = run.coordinator(
            streams, self.machines, disturbance=disturbance, network=self.network, time_limit=time_limit
        )
        if run.plan.carries_on:
            self.coordinator.tolerated = []
        run.clusters.append(self)
        self.events = Events(streams)
        self._spared: set[int] = set()
        """Servers whose crash was left out: the start that follows it is too."""
        self.random = _Choices(streams.stream("test"))
        if not reliable:
            self.network.reliable = False
        self._servers = [self.server_class(self, index) for index in range(servers)]

    # -------------------------------------------------------------- servers

    def start_all(self) -> None:
        """Starts every server."""
        for index in range(self.n):
            self.start(index)

    def start(self, index: int) -> None:
        """Starts server `index`, from what its disk holds. It is connected, unless the test has cut it off.

        Raises:
            UsageError: it is running.
        """
        self._check(index)
        if index in self._spared:
            self._spared.discard(index)
            if self.coordinator.is_up(str(index)):
                return
        ends = [str(peer) for peer in range(self.n)]
        self.coordinator.boot(str(index), self.program, ends, {"me": index, "servers": self.n, **self._config})

    def server(self, index: int) -> Any:
        """The handle on server `index`."""
        self._check(index)
        return self._servers[index]

    def crash(self, index: int, *, before_effect: int = 0) -> None:
        """Server `index` is gone, now or in place of its `before_effect`-th next effect; see `Coordinator.crash`.

        An event that a shrunk run may leave out.
        """
        self._check(index)
        when = f"{index} before effect {before_effect}" if before_effect else str(index)
        if self.coordinator.is_up(str(index)) and not self.events.happens("crash", when):
            self._spared.add(index)
            return
        self.coordinator.crash(str(index), before_effect=before_effect)

    def shutdown(self, index: int) -> Shutdown:
        """Cuts server `index` off and calls `kill()`; see `Coordinator.shutdown`."""
        self._check(index)
        return self.coordinator.shutdown(str(index))

    def is_reachable(self, index: int) -> bool:
        """Whether server `index` is up and not disconnected."""
        return self.coordinator.is_up(str(index)) and self.network.is_connected(index)

    def _check(self, index: int) -> None:
        if not 0 <= index < self.n:
            raise UsageError(f"server {index} is not in 0..{self.n - 1}")

    # -------------------------------------------------------------- time and tasks

    @property
    def now(self) -> float:
        """Seconds since the run began."""
        return self.coordinator.now / 1e9

    def sleep(self, seconds: float) -> None:
        """Lets time pass in the cluster."""
        self.coordinator.sleep_ns(round(seconds * 1e9))

    def spawn(self, function: Callable[[], Any]) -> Task:
        """Runs `function` beside the rest of the test; an exception in it fails the test at once."""
        return Task(self, self.coordinator.spawn(function))

    # -------------------------------------------------------------- what happened

    @property
    def journal(self) -> Journal:
        return self.coordinator.journal

    def rpc_count(self, index: int | None = None) -> int:
        """Requests sent so far from server to server: to server `index`, or in all."""
        return self.network.total.rpcs if index is None else self.network.counts(index).rpcs

    def byte_count(self) -> int:
        """Bytes of all messages sent so far."""
        return self.network.total.bytes

    def close(self) -> None:
        """Ends the run of this cluster."""
        self.coordinator.close()

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Choices:
    """The test's own random choices: a function of the seed, like everything else."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def below(self, bound: int) -> int:
        """A number in [0, bound)."""
        return self._stream.draw(bound)

    def chance(self, per_thousand: int) -> bool:
        """True `per_thousand` times of 1000."""
        return self._stream.draw(1000) < per_thousand

    def between(self, low: float, high: float) -> float:
        """A number in [low, high], in steps of a millionth of the range."""
        return low + (high - low) * self._stream.draw(1_000_001) / 1_000_000

    def sample(self, population: list[Any], k: int) -> list[Any]:
        """`k` different members of `population`, in drawn order."""
        rest = list(population)
        return [rest.pop(self._stream.draw(len(rest))) for _ in range(k)]
