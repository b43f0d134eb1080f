"""Runs what is not known yet of a kill matrix: a worker process a mutant, several at a time."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

from labrpc.errors import HarnessError
from tester.matrix.finding import Finding, Group
from tester.matrix.results import Results, Subject
from tester.matrix.trial import Trial
from tester.mutants import Mutant
from tester.run import Options

__all__ = ["Campaign", "Job"]


@dataclass(frozen=True)
class Job:
    """A mutant and its runs: a group a part, its own part's first.

    Attributes:
        full: whether a group goes on after its first catch.
        schedule: that of its runs.
    """

    mutant: Mutant
    groups: Mapping[str, Group]
    runs: int
    full: bool
    schedule: str = Options.schedule

    @property
    def subject(self) -> Subject:
        """By what its runs are kept."""
        return self.mutant.name, self.schedule

    def missing(self, known: dict[tuple[str, int], Trial]) -> list[Group]:
        """What there is still to run, group by group: what a catch that is known makes needless is left out."""
        groups: list[Group] = []
        for group in self.groups.values():
            todo = []
            for run in group:
                trial = known.get(run)
                if trial is None:
                    todo.append(run)
                elif trial.verdict and not self.full:
                    break
            groups.append(todo)
        return groups

    def finding(self, known: dict[tuple[str, int], Trial]) -> Finding:
        """What the runs show: the same, whoever ran them and in however many campaigns."""
        own, *others = (self._counted(group, known) for group in self.groups.values())
        by_part = dict(zip(list(self.groups)[1:], others, strict=True))
        return Finding(self.mutant, self.runs, self.full, own, by_part, self.schedule)

    def _counted(self, group: Group, known: dict[tuple[str, int], Trial]) -> list[Trial]:
        counted = []
        for run in group:
            trial = known.get(run)
            if trial is None or trial.skipped:
                continue
            counted.append(trial)
            if trial.verdict and not self.full:
                break
        return counted


class Campaign:
    """Some jobs, and what is known of them.

    Args:
        root: of the checkout.
        on_trial: told of each run as it ends; any thread may call it.
        on_end: told when a job is done.
    """

    def __init__(
        self,
        root: Path,
        results: Results,
        *,
        on_trial: Callable[[Job, Trial], None],
        on_end: Callable[[Job, Finding], None],
    ) -> None:
        self._root = root
        self._results = results
        self._on_trial = on_trial
        self._on_end = on_end
        self._lock = threading.Lock()
        self._workers: set[subprocess.Popen[str]] = set()
        self._is_over = False

    def run(self, jobs: Sequence[Job], workers: int) -> list[Finding]:
        """Runs all that is missing; the findings, in the order of `jobs`.

        Raises:
            HarnessError: a worker died, or a test ended in an error that is no verdict.
        """
        with TemporaryDirectory() as folder, ThreadPoolExecutor(workers) as pool:
            futures = [pool.submit(self._do, job, Path(folder)) for job in jobs]
            try:
                return [future.result() for future in futures]
            finally:
                self._end()

    def _end(self) -> None:
        """Nothing more begins, and what is under way ends."""
        with self._lock:
            self._is_over = True
            for worker in self._workers:
                worker.kill()

    def _do(self, job: Job, folder: Path) -> Finding:
        missing = job.missing(self._results.known(job.subject))
        if any(missing) and not self._is_over:
            solution = job.mutant.plant(self._root, folder / "-".join(job.subject))
            asked = {"solution": str(solution), "schedule": job.schedule, "groups": missing, "full": job.full}
            for trial in self._answers(job, json.dumps(asked)):
                if trial.fault:
                    raise HarnessError(f"{job.mutant.name}, {trial.test} under seed {trial.seed}: {trial.fault}")
                self._results.add(job.subject, trial)
                self._on_trial(job, trial)
        finding = job.finding(self._results.known(job.subject))
        if not self._is_over:
            self._on_end(job, finding)
        return finding

    def _answers(self, job: Job, asked: str) -> Iterator[Trial]:
        command = [sys.executable, "-m", "tester.matrix.trial"]
        path = os.pathsep.join([str(self._root), *filter(None, [os.environ.get("PYTHONPATH")])])
        with TemporaryFile("w+") as errors:
            worker = subprocess.Popen(
                command,
                cwd=self._root,
                env={**os.environ, "PYTHONPATH": path},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
            assert worker.stdin is not None
            assert worker.stdout is not None
            with self._lock:
                self._workers.add(worker)
                if self._is_over:
                    worker.kill()
            try:
                with contextlib.suppress(BrokenPipeError):
                    worker.stdin.write(asked)
                    worker.stdin.close()
                for line in worker.stdout:
                    yield Trial(**json.loads(line))
                if worker.wait() != 0 and not self._is_over:
                    errors.seek(0)
                    said = errors.read()[-2000:]
                    raise HarnessError(f"the worker of {job.mutant.name} ended with {worker.returncode}: {said}")
            finally:
                with self._lock:
                    self._workers.discard(worker)
                worker.kill()
                worker.wait()
                worker.stdout.close()
