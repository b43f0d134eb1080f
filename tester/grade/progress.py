"""How a grading goes on: bars on a terminal, else a line a submission."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from tester.grade.records import Job, Outcome, Status

__all__ = ["Shown"]


class Shown:
    """To be told of each outcome.

    Args:
        names: digest -> the names of the submissions that have it.
        left: the jobs to be done.
    """

    def __init__(self, err: Console, names: Mapping[str, list[str]], left: Iterable[Job]) -> None:
        self._err = err
        self._names = names
        self._left = Counter(job.digest for job in left)
        self._count = len(self._left)
        self._done = 0
        self._failed: Counter[str] = Counter()
        self._runs: Counter[str] = Counter()
        self._again = 0
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        times = (TimeElapsedColumn(), TextColumn("gone,"), TimeRemainingColumn(), TextColumn("to go"))
        self._bars = Progress(*columns, *times, console=err, transient=True) if err.is_terminal else None
        if self._bars is not None:
            self._runs_bar = self._bars.add_task("runs", total=self._left.total())
            self._submissions_bar = self._bars.add_task("submissions", total=self._count)

    def outcome(self, outcome: Outcome) -> None:
        """One job is done."""
        digest = outcome.job.digest
        self._left[digest] -= 1
        self._runs[digest] += 1
        self._failed[digest] += outcome.status is not Status.PASSED
        if self._bars is not None:
            self._bars.update(self._runs_bar, advance=1, description=f"{self._names[digest][0]}")
        if outcome.status is Status.HARNESS:
            text = f"{', '.join(self._names[digest])}, {outcome.job.test}, seed {outcome.job.seed}: {outcome.verdict}"
            self._err.print(Text(text, style="yellow"), soft_wrap=True)
        if self._left[digest] == 0:
            self._done += 1
            if self._bars is not None:
                self._bars.update(self._submissions_bar, advance=1)
            else:
                failed = f"{self._failed[digest]} failed" if self._failed[digest] else "all passed"
                who = f"[{self._done}/{self._count}] {', '.join(self._names[digest])}"
                self._err.print(Text(f"{who}: {self._runs[digest]} runs, {failed}"), soft_wrap=True)

    def doubt(self, job: Job) -> None:
        """A job will be tried again."""
        self._again += 1
        if self._bars is not None:
            description = f"submissions, {self._again} runs to be tried again"
            self._bars.update(self._submissions_bar, description=description)

    def __enter__(self) -> Shown:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()
