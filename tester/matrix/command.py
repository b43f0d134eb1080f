"""`tester mutants`."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from labrpc.disturbance import SCHEDULES, check_schedule
from labrpc.errors import UsageError
from tester import mutants
from tester.graded import graded_tests
from tester.matrix.campaign import Campaign, Job
from tester.matrix.comparison import Row, compare, comparison_table
from tester.matrix.finding import Finding, order
from tester.matrix.page import SURVIVES, page, rates, table
from tester.matrix.results import Results, key_of
from tester.matrix.trial import Trial
from tester.mutants import Mutant
from tester.parts import PARTS
from tester.run import Options, reference_root

__all__ = ["STOPPED", "kill_matrix"]

STOPPED = 130
"""The exit code after Ctrl-C, as of shells."""

_RESULTS = Path(".raftlab") / "mutants" / "runs.jsonl"


def kill_matrix(
    out: Console,
    err: Console,
    *,
    names: Sequence[str],
    parts: Sequence[str],
    runs: int,
    workers: int,
    full: bool,
    all_parts: bool,
    fresh: bool,
    json_file: Path | None,
    page_file: Path | None,
    folder: Path | None,
    schedule: str = Options.schedule,
    schedules: bool = False,
) -> int:
    """Makes the matrix; the exit code to leave with: 0 if all mistakes are caught, 1 if some survive.

    Args:
        names, parts: of mistakes; none means all.
        runs: seeds of each test.
        workers: processes.
        full: whether to go on after a mistake's first catch.
        all_parts: whether to run the tests of the other parts, too.
        fresh: whether to forget what was run before.
        folder: of the mistakes, if not the project's own.
        schedule: that of the runs.
        schedules: whether to run all under the other schedules as well, and compare them.

    Raises:
        UsageError: no such mistake, part or schedule, or one that does not fit the reference.
        HarnessError: a run ended in an error that is no verdict.
    """
    check_schedule(schedule)
    root = reference_root()
    chosen = _chosen(folder or root / mutants.FOLDER, names, parts)
    for file in (json_file, page_file):
        if file is not None and not file.parent.is_dir():
            raise UsageError(f"{file} cannot be written: {file.parent} is no folder")
    compared = [schedule, *(name for name in SCHEDULES if schedules and name != schedule)]
    keys = {mutant.name: key_of(mutant, root) for mutant in chosen}
    jobs = [_job(mutant, name, runs=runs, full=full, all_parts=all_parts) for name in compared for mutant in chosen]
    results = Results(Path.cwd() / _RESULTS, {job.subject: keys[job.mutant.name] for job in jobs}, fresh=fresh)
    began, cpu_began = time.monotonic(), _children_cpu()
    try:
        with _Shown(err, jobs, results) as shown:
            campaign = Campaign(root, results, on_trial=shown.trial, on_end=shown.end)
            all_findings = campaign.run(jobs, workers)
    except KeyboardInterrupt:
        err.print(Text("stopped; what was run is kept, and the same command goes on from there"), soft_wrap=True)
        return STOPPED
    by_schedule = {name: [each for each in all_findings if each.schedule == name] for name in compared}
    findings = by_schedule[schedule]
    comparison = compare(by_schedule) if schedules else []
    if json_file is not None:
        json_file.write_text(json.dumps(_as_json(findings, comparison), indent=1) + "\n", encoding="utf-8")
    if page_file is not None:
        page_file.write_text(page(findings, comparison), encoding="utf-8")
    out.print(table(findings))
    _print_rates(out, findings)
    if comparison:
        out.print()
        out.print(comparison_table(comparison))
    err.print(
        Text(
            f"{time.monotonic() - began:.0f} s, of which the runs took {_children_cpu() - cpu_began:.0f} s of CPU time"
        ),
        soft_wrap=True,
    )
    survivors = [finding.mutant.name for finding in findings if finding.catch is None]
    if survivors:
        text = (
            f"{len(survivors)} of {len(findings)} {SURVIVES if len(survivors) == 1 else 'survive'}: "
            f"{', '.join(survivors)}; try more seeds (--runs {10 * runs}), or sharpen a test of the part"
        )
        out.print(Text(text, style="bold red"), soft_wrap=True)
    return 1 if survivors else 0


def _chosen(folder: Path, names: Sequence[str], parts: Sequence[str]) -> list[Mutant]:
    """The mistakes that are meant, part by part."""
    if not folder.is_dir():
        raise UsageError(f"this needs the project's mistakes, in a checkout of it: there is no {folder}")
    for part in parts:
        if part not in PARTS:
            raise UsageError(f"there is no part {part}; there are {', '.join(PARTS)}")
    known = {mutant.name: mutant for mutant in mutants.load_all(folder)}
    for name in names:
        if name not in known:
            raise UsageError(f"no mutant {name}; there are {', '.join(known)}")
    chosen = [mutant for mutant in known.values() if not names or mutant.name in names]
    chosen = [mutant for mutant in chosen if not parts or mutant.part in parts]
    if not chosen:
        raise UsageError(f"none of the mutants named is of part {' or '.join(parts)}")
    for mutant in chosen:
        mutant.difference(reference_root())  # that it fits, before anything runs
    return sorted(chosen, key=lambda mutant: (list(PARTS).index(mutant.part), mutant.name))


def _job(mutant: Mutant, schedule: str, *, runs: int, full: bool, all_parts: bool) -> Job:
    parts = [mutant.part, *(part for part in PARTS if all_parts and part != mutant.part)]
    groups = {part: order([test.name for test in graded_tests(part)], runs) for part in parts}
    return Job(mutant, groups, runs, full, schedule)


def _print_rates(out: Console, findings: Sequence[Finding]) -> None:
    out.print()
    for name, count, caught, _ in rates(findings):
        where = "in all" if name == "all" else f"part {name}"
        out.print(Text(f"{where}: {caught} of {count} caught ({100 * caught // count} %)"))
    times = [finding.catch.cpu_s for finding in findings if finding.catch]
    if times:
        text = f"CPU time to the first catch: median {statistics.median(times):.1f} s, longest {max(times):.1f} s"
        out.print(Text(text), soft_wrap=True)


def _as_json(findings: Sequence[Finding], comparison: Sequence[Row]) -> dict[str, object]:
    return {
        **({"schedules": [row.as_json() for row in comparison]} if comparison else {}),
        "rates": {name: {"mutants": count, "caught": caught} for name, count, caught, _ in rates(findings)},
        "mutants": [finding.as_json() for finding in findings],
    }


def _children_cpu() -> float:
    times = os.times()
    return times.children_user + times.children_system


class _Shown:
    """How the campaign goes on: a bar on a terminal, else a line a mistake."""

    def __init__(self, err: Console, jobs: Sequence[Job], results: Results) -> None:
        self._err = err
        self._left = {job.subject: sum(map(len, job.missing(results.known(job.subject)))) for job in jobs}
        self._named = len({job.schedule for job in jobs}) > 1
        self._ended = 0
        self._count = len(jobs)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("runs,"))
        times = (TimeElapsedColumn(), TextColumn("gone,"), TimeRemainingColumn(), TextColumn("to go"))
        self._bar = Progress(*columns, *times, console=err, transient=True) if err.is_terminal else None
        if self._bar is not None:
            self._task = self._bar.add_task("catching", total=sum(self._left.values()))

    def trial(self, job: Job, trial: Trial) -> None:
        self._left[job.subject] -= 1
        if self._bar is not None:
            self._bar.update(self._task, advance=1, description=self._name(job))

    def end(self, job: Job, finding: Finding) -> None:
        self._ended += 1
        if self._bar is not None:
            self._bar.update(self._task, advance=self._left[job.subject])  # what its catch made needless
            return
        catch = finding.catch
        how = f"{catch.trial.test} under seed {catch.trial.seed}: {catch.trial.verdict}" if catch else SURVIVES
        self._err.print(Text(f"[{self._ended}/{self._count}] {self._name(job)}: {how}"), soft_wrap=True)

    def _name(self, job: Job) -> str:
        return f"{job.mutant.name} under {job.schedule}" if self._named else job.mutant.name

    def __enter__(self) -> _Shown:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
