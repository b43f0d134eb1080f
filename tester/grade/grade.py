"""`tester grade`: from submissions to points."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.table import Table
from rich.text import Text

from labrpc.errors import UsageError
from tester.grade import lateness, world
from tester.grade.class_table import class_json
from tester.grade.course import Course, load_course
from tester.grade.grading import do_jobs
from tester.grade.intake import Taken, take_all
from tester.grade.plan import check_runs, jobs_of
from tester.grade.pool import Limits, LocalPool, Pool, cpu_count
from tester.grade.progress import Shown
from tester.grade.records import Submission
from tester.grade.results import write
from tester.grade.scores import SubmissionScore, shown
from tester.grade.seeds import HiddenSeeds, Seeds, read_secret, read_seeds
from tester.grade.store import Store

__all__ = ["STOPPED", "Request", "grade", "stops_on_sigterm", "table_of"]

STOPPED = 130
"""The exit code after Ctrl-C, as of shells."""

_UNFINISHED = 1


@dataclass(frozen=True)
class Request:
    """What `tester grade` was asked for; see its --help."""

    submissions: Sequence[str]
    out: Path
    parts: Sequence[str] = ()
    runs: int | None = None
    seeds: Path | None = None
    hidden_seed: str | None = None
    hidden_seed_file: Path | None = None
    workers: int | None = None
    course: Path | None = None
    submitted: Path | None = None
    late_by_commit: bool = False
    allow_unsandboxed: bool = False
    scheduler: str | None = None
    wall_limit_s: float = Limits.wall_s
    as_json: bool = False


def grade(out: Console, err: Console, request: Request) -> int:
    """Grades; the exit code to leave with: 0, or 1 if something was refused or could not be resolved.

    Raises:
        UsageError: something that was asked for makes no sense, or is not there.
    """
    seeds = _seeds(err, request)
    runs = request.runs
    if runs is None and request.course is None:
        runs = seeds.most
    course = load_course(request.course, parts=request.parts, runs=runs)
    check_runs(course, seeds)
    if request.submitted is not None and request.late_by_commit:
        raise UsageError("--submitted and --late-by-commit both say how late a submission is; give one")
    why_not = "" if request.scheduler else _why_not_sandboxed(err, request.allow_unsandboxed)
    with Store(request.out) as store, stops_on_sigterm():
        try:
            taken = _taken(err, request, course)
            submissions = [each.result for each in taken if isinstance(each.result, Submission)]
            settings = {"not_sandboxed": why_not, "seeds": "hidden" if isinstance(seeds, HiddenSeeds) else "public"}
            store.begin(
                [each.result for each in taken],
                jobs_of(course, submissions, seeds),
                suite=world.suite_digest(),
                seeds=seeds.fingerprint,
                course=json.dumps(course.as_json()),
                settings=settings,
            )
            _do(err, store, request)
        except KeyboardInterrupt:
            err.print(Text("stopped; what was run is kept, and the same command goes on from there"), soft_wrap=True)
            return STOPPED
        return _show(out, err, store, course, request)


def _seeds(err: Console, request: Request) -> Seeds:
    given = [each for each in (request.seeds, request.hidden_seed, request.hidden_seed_file) if each is not None]
    if len(given) != 1:
        raise UsageError(
            "under which seeds? give one of --hidden-seed-file FILE (a secret that only you have) and --seeds FILE "
            "(one a line, known to all)"
        )
    if request.seeds is not None:
        return read_seeds(request.seeds)
    if request.hidden_seed_file is not None:
        return read_secret(request.hidden_seed_file)
    text = "--hidden-seed can be read by everybody on this machine (ps) and in your shell's history; a file cannot: "
    err.print(Text(f"{text}--hidden-seed-file FILE", style="yellow"), soft_wrap=True)
    return HiddenSeeds((request.hidden_seed or "").encode("utf-8", "surrogateescape"))


def _why_not_sandboxed(err: Console, allow_unsandboxed: bool) -> str:
    """What this machine lacks of a sandbox.

    Raises:
        UsageError: something, and that is not allowed.
    """
    why_not = world.why_not_sandboxed()
    if why_not and not allow_unsandboxed:
        raise UsageError(
            f"submissions would not be sandboxed ({why_not}); "
            "with --allow-unsandboxed they run as you, and can do what you can"
        )
    if why_not:
        err.print(Text(f"not sandboxed: {why_not}", style="yellow"), soft_wrap=True)
    return why_not


def _taken(err: Console, request: Request, course: Course) -> list[Taken]:
    taken = take_all(request.submissions)
    strange: list[str] = []
    if request.submitted is not None:
        taken, strange = lateness.by_file(request.submitted, course, taken)
    elif request.late_by_commit:
        taken, strange = lateness.by_commit(course, taken)
    for text in strange:
        err.print(Text(text, style="yellow"), soft_wrap=True)
    return taken


def _do(err: Console, store: Store, request: Request) -> None:
    missing, count = store.missing(), store.count()
    if len(missing) < count:
        err.print(Text(f"{count - len(missing)} of {count} runs are known already"), soft_wrap=True)
    if not missing:
        return
    names: dict[str, list[str]] = {}
    for submission in store.submissions():
        names.setdefault(submission.digest, []).append(submission.name)
    with _pool(request) as pool, Shown(err, names, missing) as progress:
        do_jobs(store, missing, pool, progress.outcome, progress.doubt)


@contextlib.contextmanager
def _pool(request: Request) -> Iterator[Pool]:
    limits = Limits(wall_s=request.wall_limit_s)
    pool: Pool
    if request.scheduler is None:
        workers = cpu_count() if request.workers is None else request.workers
        pool = LocalPool(workers, request.out / "work", limits=limits)
    else:
        from tester.grade.dask_pool import DaskPool

        pool = DaskPool(request.scheduler, allow_unsandboxed=request.allow_unsandboxed, limits=limits)
    try:
        yield pool
    finally:
        pool.close()


@contextlib.contextmanager
def stops_on_sigterm() -> Iterator[None]:
    """Within, SIGTERM (as of a batch system) is as Ctrl-C."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


# ------------------------------------------------------------------ what came of it


def _show(out: Console, err: Console, store: Store, course: Course, request: Request) -> int:
    scores, refusals = write(store, course, request.out), store.refusals()
    if request.as_json:
        said = class_json(scores, refusals, course.name, course.tests)
        out.print(json.dumps(said), soft_wrap=True, markup=False)
    else:
        out.print(table_of(course, scores))
    for refusal in refusals:
        err.print(Text(f"refused: {refusal.name}: {refusal.reason}", style="red"), soft_wrap=True)
    lost = sum(test.lost for score in scores for test in score.tests)
    if lost:
        text = f"{lost} runs were lost twice, not by their submissions' fault: the same command tries them again"
        err.print(Text(text, style="red"), soft_wrap=True)
    return _UNFINISHED if refusals or lost else 0


def table_of(course: Course, scores: Sequence[SubmissionScore]) -> Table:
    """A row a submission: its points by part, and the tests that passed some of their runs only."""
    table = Table(title=course.name or None)
    table.add_column("submission", overflow="fold")
    for part in course.parts:
        table.add_column(f"{part} of {shown(course.points_of(part))}", justify="right")
    table.add_column("late", justify="right")
    table.add_column("points", justify="right")
    table.add_column("flaky tests", overflow="fold")
    for score in scores:
        mark = " ?" if score.unresolved else ""
        points = [shown(part.points) for part in score.parts]
        late = f"-{shown(score.deduction)}" if score.deduction else ""
        flaky = Text(", ".join(test.rule.test for test in score.tests if test.flaky))
        table.add_row(Text(score.submission.name), *points, late, shown(score.total) + mark, flaky)
    return table
