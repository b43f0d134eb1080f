"""What `tester replay` adds to pytest, in the process that runs the test: `-p tester.replay_plugin`.

    a run that passes   --> says so, and keeps its journal and its timeline too
    --replay-until T    --> the run ends there; how every server stands
    --replay-break B    --> pdb in that server, with the world stopped
    --replay-record N   --> what host N is given and does, for `labrpc.virtual.inbox`

pytest's own chatter is left out, so that what is said is said once. These options are not for people: see
`tester.replay_command`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from labrpc.errors import HarnessError, RunLimitExceeded
from labrpc.ledger import Ledger
from labrpc.network import is_clerk
from labrpc.virtual.debugger import Break, DebuggedMachines
from labrpc.virtual.inbox import InboxHead, RecordingMachines, this_python
from labrpc.virtual.steps import StepMachines
from tester import failures, report
from tester.breaks import parse_break
from tester.cluster import Cluster
from tester.plugin import MAKE_RUN, run_of
from tester.replay_command import HARNESS_FAULT
from tester.run import Options, Plan, Run
from tester.standstill import standstill_text

__all__: list[str] = []


class _Left(BaseException):
    """The student has quit the debugger: the run is over. Not an Exception, for tests may catch those."""


@dataclasses.dataclass
class _Wishes:
    """What the command line asks for, and what came of it."""

    folder: Path
    until_ns: int | None
    breaks: list[Break]
    record: str | None
    world: str
    quiet: bool
    run: _ReplayedRun | None = None
    done: str = ""
    """What the run came to, where that is not its verdict: it was left, or stopped as `until_ns` says."""


_wishes_key = pytest.StashKey[_Wishes]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("replay", "tester replay")
    group.addoption("--replay-folder", help="where to keep what there is to look at")
    group.addoption("--replay-until", type=int, help="virtual ns at which to stop")
    group.addoption("--replay-break", action="append", default=[], help="where to stop in pdb")
    group.addoption("--replay-record", help="the host to record")
    group.addoption("--replay-world", default="", help="what to say of the world in the recorded file")
    group.addoption("--replay-quiet", action="store_true", help="say what the run came to in one line")


def pytest_configure(config: pytest.Config) -> None:
    option = config.option
    wishes = _Wishes(
        folder=Path(option.replay_folder),
        until_ns=option.replay_until,
        breaks=[parse_break(text) for text in option.replay_break],
        record=option.replay_record,
        world=option.replay_world,
        quiet=option.replay_quiet,
    )
    config.stash[_wishes_key] = wishes

    class Replayed(_ReplayedRun):
        def __init__(self, seed: int, options: Options | None = None, *, plan: Plan | None = None) -> None:
            super().__init__(seed, options, plan=plan, wishes=wishes)

    config.stash[MAKE_RUN] = Replayed


class _ReplayedRun(Run):
    """A run under a debugger, a recorder, or an end of its own. Of several clusters the last is recorded."""

    def __init__(self, seed: int, options: Options | None = None, *, plan: Plan | None = None, wishes: _Wishes) -> None:
        self._own_plan = plan or Plan()
        until_s = self._own_plan.longest_s if wishes.until_ns is None else wishes.until_ns / 1e9
        super().__init__(seed, options, plan=dataclasses.replace(self._own_plan, longest_s=until_s))
        self._wishes = wishes
        self._is_aside = False
        self.debugged: DebuggedMachines | None = None
        self.recorder: RecordingMachines | None = None
        wishes.run = self

    def machines(self, ledger: Ledger | None = None) -> StepMachines:
        if self._is_aside:
            return super().machines(ledger)
        factory: StepMachines
        if self._wishes.breaks:
            factory = self.debugged = DebuggedMachines(self.options.bundle(), self._wishes.breaks, self._leave, ledger)
        else:
            factory = super().machines(ledger)
        if self._wishes.record is not None:
            factory = self.recorder = RecordingMachines(factory, self._wishes.record)
        return factory

    @contextlib.contextmanager
    def aside(self, plan: Plan) -> Iterator[None]:
        """That other run is a plain one, and as long as it is."""
        self._is_aside = True
        try:
            with super().aside(dataclasses.replace(plan, longest_s=self._own_plan.longest_s)):
                yield
        finally:
            self._is_aside = False

    def _leave(self) -> None:
        self.clusters[-1].coordinator.interrupt(_Left())

    @property
    def stopped_at_until(self) -> bool:
        """Whether its last cluster was ended by the wish for it, not by its own limit of time."""
        until = self._wishes.until_ns
        if until is None or not self.clusters:
            return False
        coordinator = self.clusters[-1].coordinator
        return isinstance(coordinator.failure, RunLimitExceeded) and coordinator.now > until


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Innermost: what ends a run because somebody wished it is no failure."""
    wishes = item.config.stash[_wishes_key]
    if wishes.breaks and hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)  # a mark on the test may have set it; people take their time
    result = None
    try:
        result = yield
    except _Left:
        wishes.done = f"left at {_seconds(wishes)} s, before its end"
    except Exception:
        run = wishes.run
        if run is None or not run.stopped_at_until:
            raise
        assert wishes.until_ns is not None
        wishes.done = f"stopped at {wishes.until_ns / 1e9:g} s, as you asked"
        _say(item.config, standstill_text(run.clusters[-1], wishes.until_ns, colour=_colour(item.config)))
    finally:
        _save_inbox(item, wishes)
    return result


def _save_inbox(item: pytest.Item, wishes: _Wishes) -> None:
    run = wishes.run
    if run is None or run.recorder is None or not run.recorder.records or wishes.record is None:
        return
    head = InboxHead(test=item.name, seed=run.seed, host=wishes.record, world=wishes.world, python=this_python())
    run.recorder.save(wishes.folder / f"server-{wishes.record}.inbox", head)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Outermost: says what came of the run, when the report is complete."""
    result = yield
    if call.excinfo is not None and isinstance(call.excinfo.value, HarnessError):
        item.session.stash[_fault_key] = True
    if call.when == "call" or result.failed:
        _conclude(item, result)
    return result


_fault_key = pytest.StashKey[bool]()


def _conclude(item: pytest.Item, result: pytest.TestReport) -> None:
    config = item.config
    wishes = config.stash[_wishes_key]
    run = run_of(item)
    cluster = run.clusters[-1] if run is not None and run.clusters else None
    title = f"{item.name} under seed {run.seed}" if run is not None else item.name
    if result.skipped:
        _say(config, f"{title} is skipped: {result.longrepr[2] if isinstance(result.longrepr, tuple) else ''}\n")
    elif result.failed and wishes.quiet:
        _say(config, f"{title} fails: {str(result.longrepr).strip().partition(os.linesep)[0]}\n")
    elif result.failed:
        _say(config, f"{str(result.longrepr).rstrip()}\n")
    elif wishes.done:
        _say(config, f"{title} was {wishes.done}\n")
    elif wishes.quiet:
        _say(config, f"{title} passes\n")
    elif run is None or cluster is None:
        _say(config, f"{item.name} passes; it has no cluster, so there is nothing to look at\n")
    else:
        _say(config, _passed(run, cluster, item, wishes))
    _conclude_wishes(config, wishes, cluster)


def _passed(run: Run, cluster: Cluster, item: pytest.Item, wishes: _Wishes) -> str:
    """Keeps the run; says that it passed, and where it is."""
    facts = {"seed": str(run.seed), "virtual time": f"{cluster.now:.6f} s", "verdict": "it passes"}
    lines = [
        f"{item.name} passes under seed {run.seed}: "
        f"{cluster.now:.6f} s of virtual time, {len(cluster.journal)} events, hash {run.journal_hash}",
        *(f"warning: {text}" for text in run.warnings),
    ]
    try:
        wishes.folder.mkdir(parents=True, exist_ok=True)
        failures.keep_run(wishes.folder, cluster, title=f"{item.name}, seed {run.seed}", verdict=None, facts=facts)
        lines.append(f"its journal and timeline are in {wishes.folder}; to look at: {wishes.folder / 'timeline.html'}")
    except OSError as error:
        lines.append(f"it could not be kept: {error}")
    return "\n".join(lines) + "\n"


def _conclude_wishes(config: pytest.Config, wishes: _Wishes, cluster: Cluster | None) -> None:
    """Says which wishes the run did not live to see."""
    if cluster is None or wishes.done:
        return
    if wishes.until_ns is not None:
        _say(config, f"it ended at {cluster.now:.6f} s, before {wishes.until_ns / 1e9:g} s\n")
    debugged = wishes.run.debugged if wishes.run is not None else None
    hosts = cluster.coordinator.hosts
    for each in debugged.missed if debugged is not None else ():
        known = each.host in hosts
        why = f"the run ended at {cluster.now:.6f} s" if known else f"there are only {_names(hosts)}"
        _say(config, f"not reached: {each}; {why}\n")


def _names(hosts: list[str]) -> str:
    return ", ".join(f"clerk {name[1:]}" if is_clerk(name) else f"server {name}" for name in hosts)


def _seconds(wishes: _Wishes) -> str:
    clusters = wishes.run.clusters if wishes.run is not None else []
    return f"{clusters[-1].now:.6f}" if clusters else "0"


def _say(config: pytest.Config, text: str) -> None:
    terminal: Any = config.pluginmanager.getplugin("terminalreporter")
    terminal.ensure_newline()
    terminal._tw.write(text, flush=True)


def _colour(config: pytest.Config) -> bool:
    return config.option.color == "yes" or (config.option.color != "no" and report.wants_colour())


# ------------------------------------------------------------------ instead of pytest's chatter


def pytest_report_teststatus() -> tuple[str, str, str]:
    return "", "", ""  # no letter, and in no summary


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        print(str(report.longrepr).rstrip())


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.stash.get(_fault_key, False):
        session.exitstatus = HARNESS_FAULT
