"""One run of one test: its seed, the world it runs in, and the clusters it builds.

    Options (command line) + seed (+ Plan) --> Run --> Cluster(s) --> journal hash, warnings, failure

The same seed, options and code under test make the same run.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from labrpc.coordinator import Coordinator
from labrpc.disturbance import Disturbance, check_schedule
from labrpc.errors import UsageError
from labrpc.ledger import Decision, Ledger
from labrpc.network import Network
from labrpc.nursery import Nursery
from labrpc.real.coordinator import RealCoordinator
from labrpc.real.machines import RealMachines, ThreadMachines
from labrpc.real.processes import RealProcessMachines
from labrpc.sandbox.confinement import PROTECTIONS
from labrpc.streams import Overrides, Streams
from labrpc.virtual.claims import Bounds
from labrpc.virtual.coordinator import VirtualCoordinator
from labrpc.virtual.loader import CodeBundle
from labrpc.virtual.machines import InProcessMachines
from labrpc.virtual.processes import ProcessMachines
from labrpc.virtual.steps import StepMachines

if TYPE_CHECKING:
    from tester.cluster import Cluster

__all__ = ["CLOCKS", "PROGRAMS", "SERVERS", "Options", "Plan", "Run", "parse_seed", "protections", "reference_root"]

CLOCKS = ("virtual", "real")
SERVERS = ("threads", "processes")

PROGRAMS = Path(__file__).parent / "programs"


def reference_root() -> Path:
    """The folder that holds this installation's own raft/ and kvraft/."""
    spec = importlib.util.find_spec("raft")
    if spec is None or spec.origin is None:
        raise UsageError("no raft package is installed here; name one with --solution DIR")
    return Path(spec.origin).parent.parent


def parse_seed(text: str) -> int:
    """A seed as written on a command line, decimal or 0x…

    Raises:
        UsageError: it is neither, or negative.
    """
    try:
        seed = int(text, 0)
    except ValueError:
        raise UsageError(f"--seed {text} is not a number; write it in decimal or as 0x…") from None
    if seed < 0:
        raise UsageError(f"--seed {text} is negative; seeds are 0 or more")
    return seed


@dataclass(frozen=True)
class Options:
    """The world that runs take place in.

    Attributes:
        clock: the first switch, one of `CLOCKS`.
        servers: the second, one of `SERVERS`.
        solution: the folder with the code under test; None is this repository's own.
        schedule: how threads are preempted, and how rough disks and network are: one of `SCHEDULES`.
        programs: more program modules by name, for tests of the harness itself.
        sandbox: whether the servers' and clerks' processes reach nothing but the judge, as far as this machine can do
            that; see `labrpc.sandbox`, and `protections` for what it cannot.
        bounds: what a child process may say and take.
        switch_interval: seconds a thread may keep the interpreter's lock while others wait for it; None: as it is.
    """

    clock: str = "virtual"
    servers: str = "threads"
    solution: Path | None = None
    schedule: str = "mix"
    programs: Mapping[str, Path] = field(default_factory=dict)
    sandbox: bool = False
    bounds: Bounds = field(default_factory=Bounds)
    switch_interval: float | None = None

    def __post_init__(self) -> None:
        if self.clock not in CLOCKS:
            raise UsageError(f"--clock {self.clock} is not one of {', '.join(CLOCKS)}")
        if self.servers not in SERVERS:
            raise UsageError(f"--servers {self.servers} is not one of {', '.join(SERVERS)}")
        check_schedule(self.schedule)
        if self.is_real and self.schedule not in ("mix", "none"):
            raise UsageError(
                f"--schedule {self.schedule} needs --clock virtual: real threads are not the lab's to order"
            )
        if self.switch_interval is not None:
            if self.clock != "real":
                raise UsageError(
                    "--gil-switch-interval needs --clock real: on the virtual clock no two threads run at once"
                )
            if not 1e-6 <= self.switch_interval <= 10:
                raise UsageError(f"--gil-switch-interval {self.switch_interval:g} is not in 0.000001..10 seconds")
        if self.sandbox and (self.is_real or self.servers != "processes"):
            raise UsageError("a sandbox needs --clock virtual --servers processes")
        if self.servers == "processes" and not hasattr(os, "fork"):
            raise UsageError("--servers processes needs fork(); run with --servers threads on this system")
        if self.solution is not None and not self.solution.is_dir():
            raise UsageError(f"--solution {self.solution} is not a folder; name the one that holds raft/ and kvraft/")

    @property
    def is_real(self) -> bool:
        """Whether time is real: then no run can be had again."""
        return self.clock == "real"

    def bundle(self, *, instrumented: bool = True) -> CodeBundle:
        """The code under test and the programs around it, compiled; cached for this process.

        Args:
            instrumented: whether with step points, for virtual hosts.

        Raises:
            UsageError: the solution holds no server package.
        """
        root = (self.solution or reference_root()).resolve()
        return _bundle(root, tuple(sorted(self.programs.items())), instrumented)


@functools.lru_cache(maxsize=8)
def _bundle(root: Path, extra: tuple[tuple[str, Path], ...], instrumented: bool) -> CodeBundle:
    programs = {
        f"tester.programs.{path.stem}": path for path in sorted(PROGRAMS.glob("*.py")) if path.stem != "__init__"
    }
    programs.update(extra)
    return CodeBundle.build(root, programs, instrumented=instrumented)


def protections() -> dict[str, str]:
    """What a sandbox consists of (see `labrpc.sandbox.confinement.PROTECTIONS`), each with why this machine cannot give
    it; "" if it can. The first call of a process tries.
    """
    missing = _nursery(True).missing
    return {name: missing.get(name, "") for name in PROTECTIONS}


_nurseries: dict[bool, Nursery] = {}


def _nursery(sandboxed: bool = False) -> Nursery:
    """This process's, made when there is none, or it has died."""
    nursery = _nurseries.get(sandboxed)
    if nursery is None or nursery.is_gone:
        nursery = _nurseries[sandboxed] = Nursery(sandboxed=sandboxed)
    return nursery


@dataclass(frozen=True)
class Plan:
    """How a run departs from what its seed says.

    Attributes:
        overrides: decisions to replace.
        calm: whether all weather and events that `overrides` do not name are left out; see `labrpc.streams`.
        recorded: whether `Run.decisions` is kept.
        longest_s: seconds of its own clock after which a cluster's run fails, if its own limit is not lower.
        carries_on: whether a broken invariant is noted, in `Coordinator.tolerated`, instead of ending the run.
    """

    overrides: Overrides = field(default_factory=dict)
    calm: bool = False
    recorded: bool = False
    longest_s: float = math.inf
    carries_on: bool = False


class Run:
    """One run under one seed.

    Args:
        seed: the run is a function of it, the test and the code under test.
        overrides: random decisions to replace; short for a `Plan` of them.
    """

    def __init__(
        self,
        seed: int,
        options: Options | None = None,
        *,
        overrides: Overrides | None = None,
        plan: Plan | None = None,
    ) -> None:
        self.seed = seed
        self.options = options or Options()
        self.plan = plan or Plan(overrides or {})
        self.clusters: list[Cluster] = []
        self._ledgers: list[Ledger] = []

    def restart(self, plan: Plan, options: Options | None = None) -> None:
        """Ends all its clusters and begins anew, by another plan (and in another world): whoever holds this run, a
        fixture for instance, builds the new run's clusters from now on.
        """
        self.close()
        for cluster in self.clusters:
            cluster.journal.close()
        self.clusters.clear()
        self._ledgers.clear()
        self.plan = plan
        self.options = options or self.options

    @contextlib.contextmanager
    def aside(self, plan: Plan) -> Iterator[None]:
        """For a while, another run in this one's place, as with `restart`; then this one is back as it was left."""
        kept = self.plan, self.clusters, self._ledgers
        self.plan, self.clusters, self._ledgers = plan, [], []
        try:
            yield
        finally:
            self.close()
            for cluster in self.clusters:
                cluster.journal.close()
            self.plan, self.clusters, self._ledgers = kept

    def streams(self) -> Streams:
        """The root of the next cluster's random streams: the first cluster's are the seed's own."""
        ledger = None
        if self.plan.recorded:
            ledger = Ledger()
            self._ledgers.append(ledger)
        root = Streams(self.seed, self.plan.overrides, calm=self.plan.calm, ledger=ledger)
        return root.sub(f"cluster-{len(self.clusters)}") if self.clusters else root

    def disturbance(self, streams: Streams) -> Disturbance:
        """How rough a cluster's run is. On the real clock its network has the standard climate."""
        return Disturbance(streams, "none" if self.options.is_real else self.options.schedule)

    def machines(self, ledger: Ledger | None = None) -> StepMachines:
        """Where this run's virtual hosts are made; those in this process record into `ledger`.

        On the real clock these are the judge's throwaway ones.

        Raises:
            UsageError: hosts in processes of their own cannot.
        """
        bundle = self.options.bundle()
        if self.options.is_real or self.options.servers == "threads":
            return InProcessMachines(bundle, ledger)
        if ledger is not None:
            raise UsageError("a run is recorded with --servers threads only")
        nursery = _nursery(self.options.sandbox)
        return ProcessMachines(bundle, nursery, cpu=_own_cpu(), bounds=self.options.bounds)

    def coordinator(
        self,
        streams: Streams,
        machines: StepMachines,
        *,
        disturbance: Disturbance,
        network: Network,
        time_limit: float,
    ) -> Coordinator:
        """What drives a cluster of this run.

        Args:
            machines: where its hosts are made if its clock is virtual.
            time_limit: seconds of its own clock that it may take.
        """
        limit_ns = round(min(time_limit, self.plan.longest_s) * 1e9)
        if not self.options.is_real:
            return VirtualCoordinator(streams, machines, disturbance=disturbance, network=network, limit_ns=limit_ns)
        real = self.real_machines()
        return RealCoordinator(streams, real, disturbance=disturbance, network=network, limit_ns=limit_ns)

    def real_machines(self) -> RealMachines:
        """Where the hosts of a cluster on the real clock are made."""
        bundle = self.options.bundle(instrumented=False)
        if self.options.servers == "processes":
            return RealProcessMachines(bundle, _nursery(), self.options.switch_interval)
        return ThreadMachines(bundle, self.options.switch_interval)

    @property
    def decisions(self) -> list[Decision]:
        """What was not calm in a recorded run, cluster by cluster, in the order in which it was decided."""
        return [decision for ledger in self._ledgers for decision in ledger]

    @property
    def journal_hash(self) -> str:
        """The journal's hash; with several clusters theirs, joined by +; "" before the first."""
        return "+".join(cluster.journal.digest() for cluster in self.clusters)

    @property
    def warnings(self) -> list[str]:
        """What the lab warns of in the code under test."""
        return [text for cluster in self.clusters for text in cluster.coordinator.warnings]

    def close(self) -> None:
        """Ends all its clusters."""
        for cluster in self.clusters:
            cluster.close()


def _own_cpu() -> int | None:
    """The CPU for this process and its children: parallel test workers take different ones."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    cpus = sorted(os.sched_getaffinity(0))
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    return cpus[int(worker) % len(cpus)] if worker.isdigit() else cpus[0]
