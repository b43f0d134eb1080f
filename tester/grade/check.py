"""`tester check`: a student's own work, graded as it will be, under seeds that everybody knows."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.text import Text

from labrpc.errors import UsageError
from tester.grade import world
from tester.grade.course import load_course
from tester.grade.grade import STOPPED, stops_on_sigterm
from tester.grade.grading import do_jobs
from tester.grade.intake import take_folder
from tester.grade.plan import check_runs, jobs_of
from tester.grade.pool import Limits, LocalPool, cpu_count
from tester.grade.progress import Shown
from tester.grade.records import Job, Outcome, Refusal, Submission
from tester.grade.results import score
from tester.grade.scores import PartScore, TestScore, shown
from tester.grade.seeds import PublicSeeds, read_seeds
from tester.grade.store import Store
from tester.grade.worker import replay_command
from tester.parts import PARTS
from tester.run import reference_root

__all__ = ["check"]

_RUNS = 20


def check(
    out: Console,
    err: Console,
    *,
    folder: Path,
    parts: Sequence[str],
    runs: int | None,
    seeds: Path | None,
    course_file: Path | None,
    workers: int | None,
    wall_limit_s: float,
) -> int:
    """Grades `folder`, part by part; the exit code to leave with: 0 if no points are lost, else 1.

    Raises:
        UsageError: there is nothing to be graded, or something that was asked for makes no sense.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}")
    submission = take_folder(folder)
    if isinstance(submission, Refusal):
        raise UsageError(f"{folder} would be refused: {submission.reason}")
    known = None if seeds is None else read_seeds(seeds)
    if runs is None and course_file is None:
        runs = _RUNS if known is None else known.most
    course = load_course(course_file, parts=parts, runs=runs)
    source = known or PublicSeeds(range(1, max(rule.runs for rule in course.tests) + 1))
    check_runs(course, source)
    why_not = world.why_not_sandboxed()
    if why_not:
        err.print(Text(f"not sandboxed, as it will be when it is graded: {why_not}", style="yellow"), soft_wrap=True)
    for note in submission.notes:
        err.print(Text(f"note: {note}", style="yellow"), soft_wrap=True)
    with TemporaryDirectory(prefix="raftlab-check-") as temporary, Store(Path(temporary)) as store, stops_on_sigterm():
        suite = world.suite_digest()
        store.begin([submission], jobs_of(course, [submission], source), suite=suite, seeds=source.fingerprint)
        missing = store.missing()
        with LocalPool(workers or cpu_count(), Path(temporary) / "work", limits=Limits(wall_s=wall_limit_s)) as pool:
            for part in course.parts:
                jobs = [job for job in missing if job.part == part]
                is_whole = _done(err, store, pool, submission, jobs)
                found = score(submission, store, course)
                _show_part(out, next(each for each in found.parts if each.part == part), folder)
                if not is_whole:
                    err.print("stopped")
                    return STOPPED
    return 0 if all(test.points == test.of for test in found.tests) else 1


def _done(err: Console, store: Store, pool: LocalPool, submission: Submission, jobs: Sequence[Job]) -> bool:
    """Does `jobs`; whether all of them: not, if Ctrl-C came between."""
    try:
        with Shown(err, {submission.digest: [submission.name]}, jobs) as progress:
            do_jobs(store, jobs, pool, progress.outcome, progress.doubt)
    except KeyboardInterrupt:
        return False
    return True


def _show_part(out: Console, part: PartScore, folder: Path) -> None:
    title = f"part {part.part}, {PARTS[part.part]}: {shown(part.points)} of {shown(part.of)} points"
    out.print(Text(title, style="bold"))
    firsts = [_first(test) for test in part.tests]
    verdicts = {first.verdict for first in firsts if first is not None}
    if len(part.tests) > 1 and None not in firsts and len(verdicts) == 1:  # nothing of it is written yet, for instance
        out.print(Text(f"  every test fails alike: {verdicts.pop()}", style="red"), soft_wrap=True)
        return
    for test in part.tests:
        _show(out, test, folder)


def _first(test: TestScore) -> Outcome | None:
    """The first run that did not pass."""
    return next(iter((*test.failed, *test.broken)), None)


def _show(out: Console, test: TestScore, folder: Path) -> None:
    rule = test.rule
    passed = test.sentence if test.points is None or test.absent else f"{len(test.passed)} of {rule.runs} runs passed"
    points = "" if test.points is None else f", {shown(test.points)} of {shown(test.of)} points"
    style = "green" if len(test.passed) == rule.runs else "red"
    out.print(Text(f"  {rule.test}: {passed}{points}", style=style), soft_wrap=True)
    first = _first(test)
    if first is not None:
        out.print(Text(f"      {first.verdict}"), soft_wrap=True)
        command = replay_command(rule.test, first.job.seed)
        if folder.resolve() != reference_root().resolve():
            command += f" --solution {shlex.quote(str(folder))}"
        out.print(Text(f"      {command}", style="bold"), soft_wrap=True)
