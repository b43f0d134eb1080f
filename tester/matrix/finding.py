"""What the runs of one planted mistake show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tester.matrix.trial import Trial
from tester.mutants import Mutant
from tester.run import Options

__all__ = ["Catch", "Finding", "Group", "first_catch", "order"]

Group = Sequence[tuple[str, int]]
"""(test, seed) of runs of one part, in their order."""


def order(tests: Sequence[str], runs: int) -> list[tuple[str, int]]:
    """The runs of a part: all its tests under seed 1, then all under seed 2, …"""
    return [(test, seed) for seed in range(1, runs + 1) for test in tests]


@dataclass(frozen=True)
class Catch:
    """The first run that failed, and the CPU seconds up to its end."""

    trial: Trial
    cpu_s: float


@dataclass(frozen=True)
class Finding:
    """A mistake, the runs of its part's tests in their order, and those of other parts' tests.

    Attributes:
        runs: the seeds that each test was to run under.
        full: whether it went on after the first catch.
    """

    mutant: Mutant
    runs: int
    full: bool
    own: Sequence[Trial]
    others: Mapping[str, Sequence[Trial]]
    schedule: str = Options.schedule

    @property
    def catch(self) -> Catch | None:
        """By a test of its part, which must catch it; None if it survives."""
        return first_catch(self.own)

    @property
    def cpu_s(self) -> float:
        return sum(trial.cpu_s for trials in (self.own, *self.others.values()) for trial in trials)

    @property
    def seeds_caught(self) -> int:
        """Of `runs`, those under which a test of its part fails."""
        return len({trial.seed for trial in self.own if trial.verdict})

    @property
    def tests(self) -> dict[str, tuple[int, int]]:
        """test -> (failed runs, first seed that fails), of those in its part that catch it, best first."""
        return _by_test(self.own)

    @property
    def tests_of_other_parts(self) -> dict[str, dict[str, tuple[int, int]]]:
        """part -> the same of its tests, where there are any."""
        found = {part: _by_test(trials) for part, trials in self.others.items()}
        return {part: tests for part, tests in found.items() if tests}

    def as_json(self) -> dict[str, Any]:
        """All of it, for programs."""
        catch = self.catch
        return {
            "mutant": self.mutant.name,
            "part": self.mutant.part,
            "schedule": self.schedule,
            "seeds": self.runs,
            "seeds_caught": self.seeds_caught if self.full else None,
            "first": catch
            and {
                "test": catch.trial.test,
                "seed": catch.trial.seed,
                "verdict": catch.trial.verdict,
                "cpu_s": catch.cpu_s,
            },
            "tests": {test: {"failed": failed, "first_seed": seed} for test, (failed, seed) in self.tests.items()},
            "other_parts": {
                part: {test: {"failed": failed, "first_seed": seed} for test, (failed, seed) in tests.items()}
                for part, tests in self.tests_of_other_parts.items()
            },
            "trials": len(self.own) + sum(map(len, self.others.values())),
            "cpu_s": round(self.cpu_s, 3),
        }


def first_catch(trials: Iterable[Trial]) -> Catch | None:
    """The first failure, with what all runs up to it took."""
    cpu_s = 0.0
    for trial in trials:
        cpu_s += trial.cpu_s
        if trial.verdict:
            return Catch(trial, round(cpu_s, 3))
    return None


def _by_test(trials: Iterable[Trial]) -> dict[str, tuple[int, int]]:
    seeds: dict[str, list[int]] = {}
    for trial in trials:
        if trial.verdict:
            seeds.setdefault(trial.test, []).append(trial.seed)
    by_count = sorted(seeds.items(), key=lambda item: (-len(item[1]), item[0]))
    return {test: (len(found), min(found)) for test, found in by_count}
