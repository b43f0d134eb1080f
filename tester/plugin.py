"""The pytest plugin: seeds, runs, worlds, and the report of a failing run.

    pytest -m 2A                                  one run of each test of part 2A, under a fresh seed
    pytest -m 2A --runs 100 -n 2                  100 seeds, on two processes
    pytest 'tests/…::test_re_election' --seed 7   that run again, event for event
    pytest -m 2A --servers processes              each server in a process of its own: the same runs
    pytest -m 2A --clock real                     on real threads and real time: no two runs are the same
    pytest -m 2A --runs 100 --shrink              of a run that fails, the few faults and decisions that it needs

Run k (from 0) of a test has seed S + k, where S is --seed. Test ids carry the run's number, never the seed, so that
editors and xdist collect the same ids each time.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import secrets
import shlex
import signal
import sys
import threading
import traceback
import warnings
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from labrpc.disturbance import SCHEDULES
from labrpc.errors import HarnessStalled, UsageError
from labrpc.real.disk import LostSave
from tester import alike, determinism, failures, interrupts, report
from tester.history import save_history
from tester.lateness import fair_verdict
from tester.parts import PARTS
from tester.raft_cluster import RaftCluster
from tester.run import CLOCKS, SERVERS, Options, Run, parse_seed
from tester.service_cluster import KVCluster, ReplicatedKVCluster, RSMCluster
from tester.shrink import Budget, parse_budget
from tester.shrink_progress import ShrinkProgress
from tester.shrink_run import CannotShrink, Shrunk, shrink_run
from tester.shrunk import ShrunkRun
from tester.story import tell_how_many
from tester.symptoms import later_symptoms

__all__ = ["MAKE_RUN", "LabWarning", "run_of"]

MAKE_RUN = pytest.StashKey[type[Run]]()
"""In a config's stash: the class of its runs, if it is not `Run` itself."""

_PATH_OPTIONS = ("--solution", "--journal", "--shrunk")
_SEED_BITS = 48
_options_key = pytest.StashKey[Options]()
_seed_key = pytest.StashKey[int]()
_run_key = pytest.StashKey[Run]()
_lift_key = pytest.StashKey[Any]()
_budget_key = pytest.StashKey[Budget]()
_replayed_key = pytest.StashKey[ShrunkRun | None]()
_shrunk_key = pytest.StashKey[Shrunk]()
_not_shrunk_key = pytest.StashKey[str]()
_symptoms_key = pytest.StashKey[Sequence[str]]()


class LabWarning(UserWarning):
    """What the lab warns of in the code under test."""


def run_of(item: pytest.Item) -> Run | None:
    """The run of a test that is on; None of one that has none."""
    return item.stash.get(_run_key, None)


# ------------------------------------------------------------------ command line


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("raftlab", "raftlab: seeds, runs and worlds")
    group.addoption("--seed", metavar="N", help="run under this seed (decimal or 0x…); run k of a test has seed N + k. "
                    "Without it a fresh one is drawn and shown in the header")  # fmt: skip
    group.addoption("--runs", metavar="N", default="1", help="run each graded test under N seeds (default 1)")
    group.addoption(
        "--clock", metavar="virtual|real", default="virtual", help=f"{' or '.join(CLOCKS)} (default virtual)"
    )
    group.addoption(
        "--servers",
        metavar="threads|processes",
        default="threads",
        help=f"{' or '.join(SERVERS)} (default threads); the same seed gives the same run in both",
    )
    group.addoption(
        "--gil-switch-interval",
        metavar="SECONDS",
        help="with --clock real: how long a thread keeps the interpreter while others want it (Python's own: 0.005)",
    )
    group.addoption("--solution", metavar="DIR", help="test the raft/ and kvraft/ in DIR instead of this repository's")
    group.addoption(
        "--schedule",
        metavar="|".join(SCHEDULES),
        help="how threads are preempted, and how rough disks and network are: "
        "mix (default): of the next three one, by the seed; uniform: stalls, evenly drawn; "
        "swarm: kinds of trouble on and off; pct: by random priorities; none: no thread is preempted",
    )
    group.addoption(
        "--check-determinism",
        action="store_true",
        help="run each seed a second time, in another process, and name the first event that differs",
    )
    group.addoption("--journal", metavar="DIR", help="write each run's journal, and its clients' history, into DIR")
    group.addoption(
        "--keep-no-failures",
        action="store_true",
        help=f"do not keep failing runs, with their timelines, in {failures.FOLDER}",
    )
    group.addoption(
        "--shrink",
        action="store_true",
        help="of each run that fails, find the faults and decisions that it needs, and keep them for --shrunk",
    )
    group.addoption(
        "--shrink-budget", metavar="60s|200runs", default="60s", help="what --shrink may take of each run (default 60s)"
    )
    group.addoption("--shrunk", metavar="FILE", help="have the shrunk run again that --shrink has kept in FILE")


def pytest_configure(config: pytest.Config) -> None:
    for name, title in PARTS.items():
        config.addinivalue_line("markers", f"{name}: part {name}, {title}")
    config.addinivalue_line("markers", "points(n): what a graded test is worth")
    option = config.option
    try:
        _check_paths(config)
        config.stash[_budget_key] = parse_budget(option.shrink_budget)
        config.stash[_replayed_key] = replayed = None if option.shrunk is None else ShrunkRun.load(Path(option.shrunk))
        if replayed is not None:
            _check_shrunk(option, replayed)
        if option.seed is None:
            option.seed = str(secrets.randbits(_SEED_BITS))  # workers of xdist are sent this value
        config.stash[_seed_key] = parse_seed(str(option.seed))
        config.stash[_options_key] = options = Options(
            clock=option.clock,
            servers=option.servers,
            solution=None if option.solution is None else Path(option.solution),
            schedule=option.schedule or (Options.schedule if replayed is None else replayed.schedule),
            switch_interval=_seconds("--gil-switch-interval", option.gil_switch_interval),
        )
        if options.is_real:
            _check_real(option)
        if not (str(option.runs).isdigit() and int(option.runs) > 0):
            raise UsageError(f"--runs {option.runs} is not a number of runs; give 1 or more")
        if option.solution is not None:
            options.bundle()
        if option.journal is not None:
            Path(option.journal).mkdir(parents=True, exist_ok=True)
    except (UsageError, OSError) as error:
        raise pytest.UsageError(str(error)) from None


def _check_paths(config: pytest.Config) -> None:
    """pytest looks for its settings before it knows our options: there `--solution DIR` is an option and a folder."""
    here, given = config.invocation_params.dir, config.invocation_params.args
    if config.args_source is not config.ArgsSource.INVOCATION_DIR or (
        config.inipath is not None and config.rootpath in (here, *here.parents)
    ):
        return
    for option, path in itertools.pairwise(map(str, given)):
        if option in _PATH_OPTIONS and (here / path).exists():
            raise UsageError(
                f"pytest takes {path} for a folder of tests, since it learns too late what {option} is; "
                f"write {option}={path}"
            )


def _check_shrunk(option: Any, replayed: ShrunkRun) -> None:
    if option.seed is None:
        option.seed = str(replayed.seed)
    if parse_seed(str(option.seed)) != replayed.seed:
        raise UsageError(f"--shrunk {option.shrunk} is of seed {replayed.seed}, not {option.seed}; leave --seed out")
    if option.schedule not in (None, replayed.schedule):
        raise UsageError(
            f"--shrunk {option.shrunk} is of a run under --schedule {replayed.schedule}, not {option.schedule}; "
            "leave --schedule out"
        )
    if str(option.runs) != "1":
        raise UsageError(f"--shrunk is one run: it does not go with --runs {option.runs}")


def _check_real(option: Any) -> None:
    for name in ("shrink", "shrunk", "check_determinism"):
        if getattr(option, name):
            raise UsageError(
                f"--{name.replace('_', '-')} needs runs that can be had again: leave --clock real out, "
                "and have the test fail on the virtual clock"
            )


def _seconds(name: str, value: str | None) -> float | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        raise UsageError(f"{name} {value} is not a number of seconds") from None


def pytest_report_header(config: pytest.Config) -> str:
    options = config.stash[_options_key]
    runs = int(config.option.runs)
    solution = f"; code under test: {options.solution}" if options.solution else ""
    schedule = "" if options.schedule == Options.schedule else f"; schedule {options.schedule}"
    times = "one run" if runs == 1 else f"{runs} runs"
    return (
        f"raftlab: --seed {config.stash[_seed_key]}; {times} of each graded test; {options.clock} clock, "
        f"servers as {options.servers}{schedule}{solution}"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        points = item.get_closest_marker("points")
        part = next((name for name in PARTS if item.get_closest_marker(name)), None)
        if points is not None and part is not None:
            item.user_properties += [("part", part), ("points", str(points.args[0]))]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None, None, None]:
    """Of many runs that fail alike, pytest tells the first; after that, how many there are, and the points."""
    failed = terminalreporter.stats.get("failed", ())
    kinds = alike.tell_apart(failed) if int(terminalreporter.config.option.runs) > 1 else {}
    for kind in (kind for found in kinds.values() for kind in found):
        for each in kind.reports[1:]:
            each._pdbshown = True  # pytest's own mark of what was shown already, and is not shown again
    if kinds:
        terminalreporter.reportchars = terminalreporter.reportchars.replace("f", "")
    yield
    ended = (each for outcome in ("passed", "failed") for each in terminalreporter.stats.get(outcome, ()))
    runs = Counter(alike.test_of(each) for each in ended if each.when == "call")
    for line in alike.summary(kinds, runs) if kinds else ():
        terminalreporter.write_line(line)
    _tell_points(terminalreporter)


def _tell_points(terminalreporter: pytest.TerminalReporter) -> None:
    """Points by part (a test earns its own if all its runs passed), and how much virtual time that took."""
    passed: dict[tuple[str, str, int], bool] = {}
    runs, seconds = 0, 0.0
    kind = "real" if terminalreporter.config.stash[_options_key].is_real else "virtual"
    for outcome in ("passed", "failed", "error"):
        for result in terminalreporter.stats.get(outcome, ()):
            properties = dict(getattr(result, "user_properties", ()))
            if result.when == "call" and "virtual_seconds" in properties:
                runs += 1
                seconds += float(properties["virtual_seconds"])
            if "points" in properties and (result.when == "call" or outcome == "error"):
                test = (properties["part"], result.nodeid.partition("[")[0], int(properties["points"]))
                passed[test] = passed.get(test, True) and outcome == "passed"
    for part in PARTS:
        tests = {test: ok for test, ok in passed.items() if test[0] == part}
        if tests:
            earned = sum(test[2] for test, ok in tests.items() if ok)
            total = sum(test[2] for test in tests)
            which = "1 test" if len(tests) == 1 else f"{len(tests)} tests"
            terminalreporter.write_line(f"part {part}, {PARTS[part]}: {earned} of {total} points in {which}")
    if runs:
        lived = f"{seconds / 3600:.2f} {kind} hours" if seconds >= 360 else f"{seconds:.1f} {kind} seconds"
        terminalreporter.write_line(f"{runs} {'run' if runs == 1 else 'runs'} lived {lived}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    runs = int(metafunc.config.option.runs)
    if "run_number" in metafunc.fixturenames and runs > 1:
        metafunc.parametrize("run_number", range(runs), ids=[f"run{number}" for number in range(runs)])


# ------------------------------------------------------------------ fixtures


@pytest.fixture
def run_number() -> int:
    """Which run of its test this is, from 0; --runs makes more than one."""
    return 0


@pytest.fixture
def lab_run(request: pytest.FixtureRequest, run_number: int) -> Iterator[Run]:
    """This test's run: its seed, its world, its clusters."""
    config = request.config
    replayed = config.stash[_replayed_key]
    if replayed is not None and replayed.test != _test_name(request.node):
        raise UsageError(
            f"--shrunk {config.option.shrunk} is a run of {replayed.test}, not of {_test_name(request.node)}"
        )
    plan = None if replayed is None else replayed.plan()
    make_run = config.stash.get(MAKE_RUN, Run)
    run = make_run(config.stash[_seed_key] + run_number, config.stash[_options_key], plan=plan)
    request.node.stash[_run_key] = run
    with interrupts.deferred(run):
        yield run
        run.close()


@pytest.fixture
def raft_cluster(lab_run: Run) -> Any:
    """Builds a Raft cluster: `raft_cluster(servers=3, reliable=True)`."""

    return functools.partial(RaftCluster, lab_run)


@pytest.fixture
def kv_cluster(lab_run: Run) -> Any:
    """Builds one key/value server and room for clients: `kv_cluster(reliable=True)`."""
    return functools.partial(KVCluster, lab_run)


@pytest.fixture
def rsm_cluster(lab_run: Run) -> Any:
    """Builds a replicated counter: `rsm_cluster(servers=3, max_raft_state=-1)`."""
    return functools.partial(RSMCluster, lab_run)


@pytest.fixture
def replicated_kv_cluster(lab_run: Run) -> Any:
    """Builds the replicated key/value service: `replicated_kv_cluster(servers=5, max_raft_state=-1)`."""
    return functools.partial(ReplicatedKVCluster, lab_run)


# ------------------------------------------------------------------ running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    failed: Exception | None = None
    result = None
    try:
        result = yield
    except Exception as error:
        failed = error
    run = item.stash.get(_run_key, None)
    if run is not None and run.clusters:
        if run.options.is_real:
            run.close()  # its servers would run on; and what does not end is a warning
            failed = None if failed is None else _fair_verdict(item, run, failed)
        _keep_journals(item, run)
        if item.config.option.check_determinism:
            _check_determinism(item, run)
        for text in run.warnings if failed is None else ():
            warnings.warn(LabWarning(text), stacklevel=1)
        if failed is not None and item.config.option.shrink:
            failed = _shrink(item, run, failed)
        if failed is not None and not run.options.is_real:
            item.stash[_symptoms_key] = later_symptoms(run, failed, functools.partial(_attempt, item))
    if failed is not None:
        raise failed
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    try:
        return (yield)
    finally:  # pytest keeps every item to the end of the session: not its run with it
        run = item.stash.get(_run_key, None)
        if run is not None:
            del item.stash[_run_key]
            for cluster in run.clusters:
                cluster.journal.close()


def _fair_verdict(item: pytest.Item, run: Run, error: Exception) -> Exception | None:
    """The verdict on a run on the real clock. What is the machine's fault is none: then the test has one more try."""
    verdict = fair_verdict(run, error)
    if not isinstance(verdict, HarnessStalled):
        return verdict
    warnings.warn(LabWarning(f"{verdict}; so the test was run once more"), stacklevel=1)
    run.restart(run.plan)
    again = _attempt(item)
    run.close()
    return None if again is None else fair_verdict(run, again)


def _attempt(item: pytest.Item) -> Exception | None:
    """Runs the test once more; what it raised."""
    try:
        item.runtest()
    except Exception as error:
        return error
    return None


def _shrink(item: pytest.Item, run: Run, failed: Exception) -> Exception:
    """Makes `run` the smallest run that fails like this; what that one raises."""

    config = item.config
    with _uncaptured(config), ShrinkProgress(_progress_console(config), _test_name(item), run.seed) as progress:
        try:
            attempt = functools.partial(_attempt, item)
            shrunk = shrink_run(run, failed, attempt, budget=config.stash[_budget_key], on_try=progress.tried)
        except CannotShrink as reason:
            item.stash[_not_shrunk_key] = str(reason)
            return failed
    item.stash[_shrunk_key] = shrunk
    counts = tell_how_many(shrunk.before, shrunk.after)
    facts = {"of": counts, "before": len(shrunk.before), "after": len(shrunk.after), "runs": shrunk.runs}
    for name, value in {**facts, "seconds": f"{shrunk.seconds:.1f}"}.items():
        item.user_properties.append((f"shrunk_{name}", str(value)))
    kept = ShrunkRun(_test_name(item), run.seed, shrunk.decisions, len(shrunk.before), run.options.schedule)
    kept.save(_shrunk_file(item, run))
    return shrunk.error


def _shrunk_file(item: pytest.Item, run: Run) -> Path:
    return item.config.invocation_params.dir / ".raftlab" / "shrunk" / f"{_test_name(item)}-{run.seed}.json"


def _test_name(item: pytest.Item) -> str:
    return item.name.partition("[")[0]


def _uncaptured(config: pytest.Config) -> contextlib.AbstractContextManager[None]:
    capture: Any = config.pluginmanager.getplugin("capturemanager")
    return contextlib.nullcontext() if capture is None else capture.global_and_fixture_disabled()


def _progress_console(config: pytest.Config) -> Console | None:
    """Where progress is shown: on stderr, if that is a terminal, and not by one of several workers."""
    if hasattr(config, "workerinput") or not sys.stderr.isatty():
        return None
    return Console(stderr=True, no_color=not _colour(config), highlight=False)


def _keep_journals(item: pytest.Item, run: Run) -> None:
    item.user_properties.append(("seed", str(run.seed)))
    item.user_properties.append(("journal_hash", run.journal_hash))
    item.user_properties.append(("virtual_seconds", f"{sum(cluster.now for cluster in run.clusters):.6f}"))
    folder = item.config.option.journal
    if folder is not None:
        test = _test_name(item)
        for number, cluster in enumerate(run.clusters):
            name = determinism.JOURNAL_FILE.format(test=test, seed=run.seed, number=number)
            with (Path(folder) / name).open("wb") as file:
                cluster.journal.write(file)
            if isinstance(cluster, KVCluster | ReplicatedKVCluster):
                save_history((Path(folder) / name).with_suffix(".history.jsonl"), "kv", cluster.clerks.history)


def _check_determinism(item: pytest.Item, run: Run) -> None:
    again = determinism.journal_of_replay(_arguments(item, run, item.config.rootpath), item.config.rootpath)
    for cluster, journal in zip(run.clusters, again, strict=False):
        difference = determinism.first_difference(cluster.journal, journal)
        if difference:
            raise AssertionError(f"seed {run.seed} is not the same run twice: {difference}")
    if len(again) != len(run.clusters):
        raise AssertionError(f"seed {run.seed} made {len(run.clusters)} clusters, and {len(again)} the second time")


def _arguments(item: pytest.Item, run: Run, folder: Path) -> list[str]:
    """What to give pytest, in `folder`, to have this run again."""
    name = item.nodeid.partition("::")[2]
    fixed = getattr(item, "callspec", None)
    if fixed is None or set(fixed.params) == {"run_number"}:
        name = name.partition("[")[0]
    arguments = [f"{os.path.relpath(item.path, folder)}::{name}", "--seed", str(run.seed)]
    options = run.options
    if options.is_real:
        arguments += ["--clock", options.clock]
    if options.switch_interval is not None:
        arguments += ["--gil-switch-interval", f"{options.switch_interval:g}"]
    if options.servers != "threads":
        arguments += ["--servers", options.servers]
    if options.solution is not None:
        arguments += ["--solution", os.path.relpath(options.solution, folder)]
    if options.schedule != Options.schedule:
        arguments += ["--schedule", options.schedule]
    shrunk = _shrunk_file(item, run) if _shrunk_key in item.stash else item.config.option.shrunk
    if shrunk is not None:
        arguments += ["--shrunk", os.path.relpath(shrunk, folder)]
    return arguments


def _virtual_replay(item: pytest.Item, run: Run) -> str:
    """The command that has the same test on the virtual clock, under the same seed."""
    command = ["tester", "replay", _test_name(item), "--seed", str(run.seed)]
    if run.options.solution is not None:
        command += ["--solution", os.path.relpath(run.options.solution, item.config.invocation_params.dir)]
    return shlex.join(command)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    result = yield
    run = item.stash.get(_run_key, None)
    if run is None or call.when != "call" or call.excinfo is None or not result.failed:
        return result
    error = call.excinfo.value
    place = _place(item, call.excinfo)
    arguments = _arguments(item, run, item.config.invocation_params.dir)
    if item.config.option.check_determinism:
        arguments.append("--check-determinism")
    replay = "pytest " + shlex.join(arguments)
    shrunk = item.stash.get(_shrunk_key, None)
    notes = [] if shrunk is None else [("shrunk", _shrunk_note(shrunk))]
    if run.options.is_real:
        notes = [("or", f"{_virtual_replay(item, run)}: on the virtual clock a run is the same each time")]
    if _not_shrunk_key in item.stash:
        notes = [("not shrunk", item.stash[_not_shrunk_key])]
    text = report.failure_text(
        run,
        error,
        test=item.name,
        place=place,
        replay=replay,
        colour=_colour(item.config),
        notes=notes,
        symptoms=item.stash.get(_symptoms_key, ()),
        shrunk_from=None if shrunk is None else shrunk.before,
    )
    if not isinstance(error, AssertionError):  # the harness's fault, or the test's own: the stack matters
        text += "\n" + "".join(traceback.format_exception(error))
    if run.clusters and not item.config.option.keep_no_failures:
        text += _keep_failure(item, run, error, replay, text)
    result.user_properties.append(("verdict", report.verdict(error)))
    result.longrepr = _Report(text, report.verdict(error), place)  # type: ignore[assignment]
    return result


def _keep_failure(item: pytest.Item, run: Run, error: BaseException, replay: str, text: str) -> str:
    """Keeps what there is to look at; says where."""
    cluster = run.clusters[-1]
    failure = failures.Failure(
        test=item.name.partition("[")[0],
        seed=run.seed,
        verdict=report.verdict(error),
        virtual_seconds=cluster.now,
        journal_hash=run.journal_hash,
        replay=replay,
        focus=getattr(error, "at", None),
    )
    facts = {"seed": report.seed_text(run), report.time_title(run): f"{cluster.now:.6f} s", "replay": replay}
    try:
        disk = error.files if isinstance(error, LostSave) else None
        folder = failures.keep(item.config.rootpath, failure, cluster, text, facts, disk)
    except Exception as reason:  # whatever it is, it must not take the verdict's place
        return f"\n(the run could not be kept: {type(reason).__name__}: {reason})\n"
    return f"\nto look at: {os.path.relpath(folder / 'timeline.html', item.config.invocation_params.dir)}\n"


def _shrunk_note(shrunk: Shrunk) -> str:
    text = f"in {shrunk.runs} {'run' if shrunk.runs == 1 else 'runs'} and {shrunk.seconds:.1f} s"
    if not shrunk.is_complete:
        text += "; its budget is spent: with --shrink-budget 5m it may get smaller still"
    return text


class _Report:
    """A failing run's report, as pytest prints it: whole below, its verdict in the short summary."""

    def __init__(self, text: str, verdict: str, place: str) -> None:
        path, _, line = place.partition(":")
        self.text = text
        self.reprcrash = _Crash(path, int(line or 0), verdict)

    def toterminal(self, terminal: Any) -> None:
        terminal.write(self.text)

    def __str__(self) -> str:
        return self.text


class _Crash:
    def __init__(self, path: str, lineno: int, message: str) -> None:
        self.path, self.lineno, self.message = path, lineno, message


def _place(item: pytest.Item, excinfo: pytest.ExceptionInfo[BaseException]) -> str:
    """file:line of the statement of the test's own file that was running."""
    line = 0
    for entry in excinfo.traceback:
        if str(entry.path) == str(item.path):
            line = entry.lineno + 1
    try:
        path = item.path.relative_to(item.config.rootpath)
    except ValueError:
        path = item.path
    return f"{path}:{line}" if line else str(path)


def _colour(config: pytest.Config) -> bool:
    if config.option.color == "no":
        return False
    return config.option.color == "yes" or report.wants_colour()


# ------------------------------------------------------------------ pytest-timeout: wall time


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool | None:
    if _run_key not in item.stash and "lab_run" not in getattr(item, "fixturenames", ()):
        return None
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        return None
    item.stash[_lift_key] = interrupts.limit_wall_time(settings.timeout)
    return True


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_timeout_cancel_timer(item: pytest.Item) -> bool | None:
    lift = item.stash.get(_lift_key, None)
    if lift is None:
        return None
    del item.stash[_lift_key]
    lift()
    return True
