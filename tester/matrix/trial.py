"""One run of one graded test on one planted mistake, and a mistake's runs in a process of their own.

    {"solution": DIR, "schedule": "mix", "groups": [[[test, seed], …], …], "full": false}
        --stdin--> python -m tester.matrix.trial
    a line of JSON a run <--stdout--

The process ends with its parent: its next line has nobody to read it.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from tester import interrupts
from tester.graded import graded_test
from tester.report import verdict
from tester.run import Options, Run

__all__ = ["WALL_LIMIT_S", "Trial", "attempt"]

WALL_LIMIT_S = 120.0
"""Wall time one run may take: a mistake may make the code go round without end."""


@dataclass(frozen=True)
class Trial:
    """How one run ended.

    Attributes:
        verdict: what the test failed with, "" if it passed.
        fault: what went wrong in the test or the harness instead, "" in a run that counts.
        skipped: whether the test does not run in this world.
        cpu_s: seconds of CPU time that it took.
    """

    test: str
    seed: int
    verdict: str = ""
    fault: str = ""
    skipped: bool = False
    cpu_s: float = 0.0


def attempt(solution: Path, test: str, seed: int, schedule: str = Options.schedule) -> Trial:
    """Runs `test` under `seed` and `schedule` on the code in `solution`."""
    run = Run(seed, Options(solution=solution, schedule=schedule))
    began = time.process_time()
    found: dict[str, str | bool] = {}
    lift = interrupts.limit_wall_time(WALL_LIMIT_S)
    try:
        with interrupts.deferred(run):
            error = graded_test(test).attempt(run)
            if isinstance(error, AssertionError):
                found["verdict"] = verdict(error)
            elif error is not None:
                found["fault"] = "".join(traceback.format_exception(error))
            run.close()
    except pytest.skip.Exception:
        found["skipped"] = True
    finally:
        lift()
        for cluster in run.clusters:
            cluster.journal.close()
    return Trial(test, seed, cpu_s=round(time.process_time() - began, 3), **found)  # type: ignore[arg-type]


def main() -> None:
    """Does what stdin asks for: of each group all runs, or those up to the first catch."""
    asked = json.load(sys.stdin)
    out, sys.stdout = sys.stdout, sys.stderr  # what a test prints is no answer of ours
    for group in asked["groups"]:
        for test, seed in group:
            trial = attempt(Path(asked["solution"]), test, seed, asked["schedule"])
            print(json.dumps(asdict(trial)), file=out, flush=True)
            if trial.verdict and not asked["full"]:
                break


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
