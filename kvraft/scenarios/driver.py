"""A run of a scenario: a cluster of processes, clients, faults by the plan, and the verdict.

plan ──> faults ──> network (proxy), nodes ──roles──┐
                        │                           ├──> Outcome
load ──operations──> nodes ──answers──> recording ──┘
                                           └──> history ──> verdict
"""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kvraft.load import Histogram, Load, Recorded, Second
from kvraft.load import run as run_load
from kvraft.scenarios.faults import FAULTS, Step, targets_of
from kvraft.scenarios.network import Counts, Network
from kvraft.scenarios.nodes import NodeProgram, Nodes
from kvraft.scenarios.outcome import (
    CLIENT_SECONDS,
    Happened,
    Outcome,
    Promise,
    calm_seconds,
    held_up_for,
    judge_recoveries,
)
from kvraft.scenarios.plans import Scenario, make_plan
from kvraft.scenarios.probes import Probes
from kvraft.scenarios.recording import Recording
from kvraft.scenarios.verdict import Checked, check
from kvraft.service.client import Client, Refused, Unavailable
from kvraft.service.cluster import free_ports
from labrpc.errors import HarnessError, UsageError

__all__ = ["Options", "Run"]

START_SECONDS = 60.0
SETTLE_SECONDS = 60.0
"""In which all nodes must have all that was acknowledged, once nothing is wrong any more."""

FINAL_READS_AT_ONCE = 200


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a run is asked to be.

    Attributes:
        seconds: of load.
        rate: operations a second; None: as many as the clients can.
        recover_within: how long the cluster may take to answer again, in longest election timeouts.
        module: the nodes' program.

    Raises:
        UsageError: a value is out of its bounds.
    """

    nodes: int = 5
    seconds: float = 60.0
    clients: int = 20
    seed: int = 1
    reads: str = "index"
    rate: float | None = None
    keys: int = 0
    value_bytes: int = 40
    election: tuple[float, float] = (0.3, 0.6)
    recover_within: float = 10.0
    module: str = "kvraft.scenarios.node"

    def __post_init__(self) -> None:
        if not 3 <= self.nodes <= 9:
            raise UsageError(f"nodes must be in 3..9, not {self.nodes}: with fewer than 3 none may fail")
        if not self.recover_within > 0:
            raise UsageError(f"recover_within must be more than 0, not {self.recover_within:g}")

    def load(self) -> Load:
        """The clients'. Raises: UsageError."""
        return Load(
            clients=self.clients,
            connections=min(self.clients, 8),
            read_share=0.5,
            value_bytes=self.value_bytes,
            keys=self.keys or max(100, 4 * self.clients),
            contended=True,
            reads=self.reads,
            seconds=self.seconds,
            warm_up=0.0,
            rate=self.rate,
            timeout=10.0,
            seed=self.seed,
            prefix="key",
        )


@dataclass
class Progress:
    """How far a run is, for those who look.

    Attributes:
        phase: in a few words.
        began_at: time.monotonic() at which the load began; 0.0: it has not.
        active: the steps that are on.
        checked: (slices, of how many) of the history.
    """

    phase: str = "starting"
    began_at: float = 0.0
    active: list[Happened] = field(default_factory=list)
    happened: list[Happened] = field(default_factory=list)
    checked: tuple[int, int] = (0, 0)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began_at if self.began_at else 0.0


class Run:
    """One run, in `folder`. Make it, then `run()`; `stop.set()` ends it early, with a verdict of what ran.

    Attributes:
        plan: its steps.
        progress, nodes, network, recording: to look at while it runs; the last three are None until it does.

    Raises:
        UsageError: the options do not fit together.
    """

    nodes: Nodes
    network: Network
    recording: Recording

    def __init__(self, scenario: Scenario, options: Options, folder: Path) -> None:
        self.scenario, self.options, self.folder = scenario, options, folder
        self.plan = make_plan(
            scenario, seed=options.seed, seconds=options.seconds, nodes=options.nodes, reads=options.reads
        )
        self.load = options.load()
        self.stop = threading.Event()
        self.progress = Progress()
        self._over = threading.Event()
        self._roles: list[tuple[float, int, str, int]] = []
        self._installed = 0
        self._notes: list[str] = []
        self._mu = threading.Lock()
        self._load_error: BaseException | None = None
        self._has_begun = threading.Event()

    def run(self, tick: Callable[[], Any] = lambda: None) -> Outcome:
        """Does it all; `tick` is called a few times a second, on this thread.

        Raises:
            HarnessError: the cluster did not start, or the proxy or the load failed.
            KeyboardInterrupt: it was ended before the load had begun.
        """
        options = self.options
        with contextlib.ExitStack() as stack:
            stack.enter_context(_signals(self.stop))
            self.recording = Recording(self.folder / "history.jsonl")
            stack.callback(self.recording.close)
            listen = [f"127.0.0.1:{port}" for port in free_ports(options.nodes)]
            self.network = Network(listen, seed=options.seed, folder=self.folder if self._is_temporary else None)
            stack.callback(self.network.close)
            program = NodeProgram(
                module=options.module,
                election=options.election,
                heartbeat=min(0.05, options.election[0] / 4),
                reads=options.reads,
                snapshot_bytes=self.scenario.snapshot_bytes,
            )
            self.nodes = Nodes(
                self.folder,
                listen,
                self.network,
                program,
                on_event=self._heard,
                fronts=self.scenario.needs_fronts,
            )
            stack.callback(self.nodes.close)
            for number in range(options.nodes):
                self.nodes.start(number)
            self._await(lambda: self.nodes.leader() is not None, START_SECONDS, tick)
            if self.nodes.leader() is None and not self.stop.is_set():
                raise HarnessError(f"no leader in {START_SECONDS:g} s; node 0: {self.nodes.last_words(0)}")
            self._drive(tick)
            settled = self._settle(tick)
            self.progress.phase = "reading all keys once more"
            lost = self._read_all(tick)
            until = self._until
            counts = self.network.counts()
            self.progress.phase = "ending the nodes"
            tick()
        self.progress.phase = "checking the history"
        checked = self._background(lambda: check(self.recording.path, on_slice=self._on_slice), tick)
        return self._judge(checked, settled, lost, until, counts)

    _is_temporary = False

    def remove_folder_if_killed(self) -> None:
        """The folder is removed also if this process is killed."""
        self._is_temporary = True

    # -------------------------------------------------------------- the run

    def _drive(self, tick: Callable[[], Any]) -> None:
        """The load, and the faults beside it, until the load ends."""
        self.progress.phase = "making the keys"
        ended = threading.Event()
        load_stop = threading.Event()

        def work() -> None:
            try:
                run_load(
                    self.load,
                    self.nodes.addresses,
                    on_second=self._on_second,
                    record=self.recording.add,
                    stop=load_stop,
                )
            except BaseException as error:
                self._load_error = error
            finally:
                ended.set()

        probes = Probes(self.nodes.addresses, self.recording, reads=self.options.reads, seed=self.options.seed)
        thread = threading.Thread(target=work, name="load")
        thread.start()
        faults = threading.Thread(target=self._faults, name="faults")
        try:
            self._await(lambda: self._has_begun.is_set() or ended.is_set(), START_SECONDS, tick)
            if self._has_begun.is_set():
                self.progress.phase = "running"
                faults.start()
                probes.start()
            self._await(ended.is_set, self.options.seconds + START_SECONDS, tick)
        finally:
            load_stop.set()
            self._over.set()
            probes.close()
            while thread.is_alive():
                thread.join(0.2)
                tick()
            if faults.ident is not None:
                faults.join()
        if self._load_error is not None and not self.stop.is_set():
            raise HarnessError(f"the load failed: {self._load_error}") from self._load_error
        if self.stop.is_set() and not self.progress.began_at:
            raise KeyboardInterrupt  # there is nothing to judge
        self._until = min(self.progress.elapsed, self.options.seconds) if self.progress.began_at else 0.0

    def _on_second(self, second: Second) -> None:
        if not self._has_begun.is_set():
            self.progress.began_at = second.began_at
            self.recording.begin(second.began_at)
            self._has_begun.set()

    def _faults(self) -> None:
        threads = []
        for step in self.plan:
            if self._over.wait(max(self.progress.began_at + step.at - time.monotonic(), 0)):
                break
            thread = threading.Thread(target=self._one, args=(step,), name=step.fault)
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join()

    def _one(self, step: Step) -> None:
        """One fault, from its beginning to its end."""
        choice = random.Random(step.draw)
        fault = FAULTS[step.fault]
        targets = targets_of(self, step, choice)
        happened = Happened(step, targets, self.progress.elapsed)
        with self._mu:
            self.progress.active.append(happened)
            self.progress.happened.append(happened)
        harm = fault.run(self, targets, step, choice)
        for node in targets if fault.mark else ():
            self.nodes.trouble(node, fault.mark)
        try:
            for seconds in harm:
                happened.harmed = happened.harmed or self.progress.elapsed
                if self._over.wait(seconds):
                    break
        except (HarnessError, OSError) as error:
            self._note(f"{step.fault} failed: {error}")
        finally:
            harm.close()  # type: ignore[attr-defined]
            for node in targets if fault.mark else ():
                self.nodes.trouble(node, fault.mark, over=True)
            happened.ended = self.progress.elapsed
            happened.harmed = happened.harmed or happened.ended
            with self._mu:
                self.progress.active.remove(happened)

    def _settle(self, tick: Callable[[], Any]) -> float | None:
        """Makes all good; seconds until all nodes had all that is committed, None: they never had."""
        self.progress.phase = "waiting until all nodes have caught up"
        began = time.monotonic()
        self.network.heal()
        for number in range(len(self.nodes)):
            self.nodes.resume(number)
            self.nodes.change(number, disk_delay=0.0, disk_full=False, clock_rate=1.0, busy=0.0)
            self.nodes.start(number)
        self._await(self.nodes.have_caught_up, SETTLE_SECONDS, tick, heeds_stop=False)
        return time.monotonic() - began if self.nodes.have_caught_up() else None

    def _read_all(self, tick: Callable[[], Any]) -> list[str]:
        """Reads every key that was written, for the history; sentences on writes that are gone."""
        lost: list[str] = []
        keys = sorted(self.recording.acknowledged)
        with Client(self.nodes.addresses, timeout=15.0) as client:
            for start in range(0, len(keys), FINAL_READS_AT_ONCE):
                tick()
                asked = []
                for key in keys[start : start + FINAL_READS_AT_ONCE]:
                    asked.append((key, time.monotonic(), client.get_later(key, reads="log")))
                for key, called, future in asked:
                    wanted = self.recording.acknowledged[key]
                    try:
                        value, version, err = future.result(20)
                    except (Unavailable, Refused, TimeoutError) as error:
                        lost.append(f"{key} cannot be read: {error}")
                        continue
                    result = (value, version, err.value)
                    operation = Recorded(0, "get", key, (), result, called, time.monotonic())
                    self.recording.add(operation, f"final {key}", is_counted=False)
                    if version < wanted.version:
                        lost.append(f"{key}: version {wanted.version} was acknowledged, version {version} is there")
                    elif version == wanted.version and value != wanted.value:
                        lost.append(f"{key}: version {version} is {value!r}, and {wanted.value!r} was acknowledged")
        return lost

    # -------------------------------------------------------------- the verdict

    def _judge(self, checked: Checked, settled: float | None, lost: list[str], until: float, counts: Counts) -> Outcome:
        options, recording = self.options, self.recording
        happened = sorted(self.progress.happened, key=lambda each: each.began)
        limit = options.recover_within * options.election[1] + CLIENT_SECONDS
        judge_recoveries(happened, recording, until, limit)
        calm = calm_seconds(happened, until, options.election[1])
        times, rates, length = Histogram(), 0.0, 0.0
        for begin, end in calm:
            rate, found = recording.between(begin, end)
            times.merge(found)
            if rate:
                rates += found.count
                length += found.count / rate
        whole = recording.between(0, until)[0]
        if self.scenario.must_install and not self._installed:
            self._notes.append("no node needed a snapshot, so this run has not shown what it is for; give it longer")
        if self._installed:
            self._notes.append(f"nodes brought up to date by a snapshot: {self._installed}")
        sent = sum(each["bytes"] for way, each in counts.ways.items() if "clients" not in way)
        connections = sum(each["connections"] for each in counts.ways.values())
        late = [(at - self.progress.began_at, seconds) for at, seconds in counts.late]
        if late:
            total, most = sum(seconds for _, seconds in late), max(seconds for _, seconds in late)
            self._notes.append(
                f"this machine held the proxy up {len(late)} times, for {total:.1f} s in all and {most:.1f} s at most"
            )
        self._notes.append(f"between nodes {sent / 1e6:.1f} MB, over {connections} connections in all")
        return Outcome(
            settings={
                "scenario": self.scenario.name,
                **{name: value for name, value in vars(options).items() if name != "module"},
            },
            shows=self.scenario.shows,
            promises=self._promises(checked, settled, lost, happened, limit, late),
            happened=happened,
            seconds=until,
            operations=checked.operations,
            outcomes=dict(recording.outcomes),
            throughput=(rates / length if length else 0.0, whole),
            times=times,
            series=[
                (
                    each.done,
                    each.failed,
                    round(each.times.percentile(50), 5),
                    round(each.times.percentile(99), 5),
                    round(each.times.largest, 5),
                    round(recording.gap(number, number + 1), 3),
                )
                for number, each in enumerate(recording.seconds[: max(int(until), 1)])
            ],
            roles=[(round(at - self.progress.began_at, 3), *rest) for at, *rest in self._roles],  # type: ignore[misc]
            notes=self._notes,
            history=recording.path,
            folder=self.folder,
            page=checked.page,
            was_stopped=self.stop.is_set(),
        )

    def _promises(
        self,
        checked: Checked,
        settled: float | None,
        lost: list[str],
        happened: list[Happened],
        limit: float,
        held_up: list[tuple[float, float]],
    ) -> list[Promise]:
        late = [each for each in happened if each.is_late]
        deaths = self.nodes.deaths
        answered = sum(second.done for second in self.recording.seconds)
        words = f"{checked.operations:,} operations on {checked.keys:,} keys, decided in {checked.seconds:.1f} s"
        if checked.explanation:
            words = f"{checked.explanation} ({words})"
        recovered = (
            f"answers again within {limit:.1f} s ({self.options.recover_within:g} election timeouts) of each fault"
        )
        slowest = max((each.recovery for each in happened if each.recovery is not None), default=0.0)
        if late:
            first = late[0]
            took = "never" if first.recovery is None else f"after {max(first.recovery, first.gap):.2f} s"
            recovered = f"{first.text}, at {first.began:.1f} s: answered {took}, {limit:.1f} s are allowed"
        # Who is held up himself can be no judge of how long others take.
        excuse = [each for each in late if held_up_for(each, held_up, limit) > limit / 4]
        if late and len(excuse) == len(late):
            recovered += "; but the machine held the proxy up meanwhile, so that this may be its fault: run it again"
        elif happened:
            recovered += f"; the slowest took {slowest:.2f} s"
        if not answered:
            recovered = "no operation was answered at all"
        return [
            Promise("linearizable", {"ok": True, "illegal": False}.get(checked.result), words),
            Promise(
                "no acknowledged write lost",
                not lost,
                "; ".join(lost[:3]) if lost else f"the latest of {len(self.recording.acknowledged):,} keys are there",
            ),
            Promise("recovered in time", None if late and excuse == late else not late and answered > 0, recovered),
            Promise(
                "all nodes caught up",
                settled is not None,
                f"{settled:.1f} s after the end"
                if settled is not None
                else f"not within {SETTLE_SECONDS:g} s: "
                + ", ".join(f"node {n} at {seen.applied}" for n, seen in enumerate(self.nodes.seen)),
            ),
            Promise(
                "no node gave up",
                not deaths,
                "; ".join(f"node {n} ended with exit code {code}: {words}" for n, code, words in deaths[:3])
                if deaths
                else "none ended but as it was told",
            ),
        ]

    # -------------------------------------------------------------- small things

    def _heard(self, node: int, what: dict[str, Any]) -> None:
        with self._mu:
            if "role" in what:
                told = (node, what["role"], what["term"])
                last = next((role for role in reversed(self._roles) if role[1] == node), None)
                if last is None or last[1:] != told:
                    self._roles.append((time.monotonic(), *told))
            if "installed" in what:
                self._installed += 1

    def _note(self, text: str) -> None:
        with self._mu:
            self._notes.append(text)

    def _on_slice(self, done: int, of: int) -> None:
        self.progress.checked = done, of

    def _await(
        self, condition: Callable[[], bool], seconds: float, tick: Callable[[], Any], *, heeds_stop: bool = True
    ) -> None:
        deadline = time.monotonic() + seconds
        while not condition() and time.monotonic() < deadline and not (heeds_stop and self.stop.is_set()):
            tick()
            time.sleep(0.05)

    def _background(self, work: Callable[[], Any], tick: Callable[[], Any]) -> Any:
        """What `work` returns or raises, done on a thread of its own."""
        found: list[Any] = []
        errors: list[BaseException] = []

        def do() -> None:
            try:
                found.append(work())
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=do)
        thread.start()
        while thread.is_alive():
            thread.join(0.1)
            tick()
        if errors:
            raise errors[0]
        return found[0]


@contextlib.contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a terminal that goes away end the run early; a second time they end it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def heard(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, heard) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
