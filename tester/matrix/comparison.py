"""What the schedules of `--schedule` are worth: the same mistakes under the same seeds, schedule by schedule."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from labrpc.disturbance import SCHEDULES
from tester.matrix.finding import Finding

__all__ = ["MUCH_SOONER", "Row", "compare", "comparison_table"]

MUCH_SOONER = 4
"""Under a seed that is so many times lower."""

_PURE = tuple(name for name in SCHEDULES if name != "mix")
"""The schedules that are compared with each other; mix is made of them."""


@dataclass(frozen=True)
class Row:
    """What one schedule found.

    Attributes:
        at_once: mistakes that are caught under seed 1.
        runs: seeds of each test; `caught` are the mistakes that these show.
        mean_runs, median_runs: runs up to the first catch; a mistake that survives counts with all of its runs.
        cpu_s: what all of them took.
        only: mistakes that no other schedule finds, mix left aside.
        sooner: those that every other one finds under a seed `MUCH_SOONER` times as high or higher, or not at all.
    """

    schedule: str
    mistakes: int
    runs: int
    at_once: int
    caught: int
    mean_runs: float
    median_runs: float
    cpu_s: float
    only: Sequence[str]
    sooner: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        """All of it, for programs."""
        return {**vars(self), "only": list(self.only), "sooner": list(self.sooner)}


def compare(findings: Mapping[str, Sequence[Finding]]) -> list[Row]:
    """A row a schedule.

    Args:
        findings: by schedule, of the same mistakes in the same order.
    """
    seeds = {
        schedule: {each.mutant.name: each.catch.trial.seed for each in found if each.catch}
        for schedule, found in findings.items()
    }
    return [_row(schedule, found, seeds) for schedule, found in findings.items()]


def _row(schedule: str, findings: Sequence[Finding], seeds: Mapping[str, Mapping[str, int]]) -> Row:
    own = seeds[schedule]
    others = [found for other, found in seeds.items() if other != schedule and other in _PURE]
    only, sooner = [], []
    if schedule in _PURE and others:
        for name, seed in own.items():
            best = min((found[name] for found in others if name in found), default=None)
            if best is None:
                only.append(name)
            elif best >= MUCH_SOONER * seed:
                sooner.append(name)
    runs = [_runs(finding) for finding in findings]
    return Row(
        schedule=schedule,
        mistakes=len(findings),
        runs=findings[0].runs,
        at_once=sum(seed == 1 for seed in own.values()),
        caught=len(own),
        mean_runs=round(statistics.mean(runs), 1),
        median_runs=statistics.median(runs),
        cpu_s=round(sum(each.catch.cpu_s if each.catch else each.cpu_s for each in findings), 1),
        only=only,
        sooner=sooner,
    )


def _runs(finding: Finding) -> int:
    """Runs up to the first catch, that included."""
    return next((place for place, trial in enumerate(finding.own, 1) if trial.verdict), len(finding.own))


def comparison_table(rows: Sequence[Row]) -> Table:
    """For the terminal: a schedule a row."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    titles = ("schedule", "seed 1", f"{rows[0].runs} seeds", "runs, mean", "median", "CPU s", "only it", "much sooner")
    for title in titles:
        shown.add_column(title, overflow="fold")
    for row in rows:
        shown.add_row(
            row.schedule, str(row.at_once), f"{row.caught} of {row.mistakes}", f"{row.mean_runs:.1f}",
            f"{row.median_runs:g}", f"{row.cpu_s:.0f}", ", ".join(row.only), ", ".join(row.sooner),
        )  # fmt: skip
    return shown
