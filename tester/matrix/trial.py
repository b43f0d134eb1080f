"""What a run of a graded test on a planted mistake came to, and a mistake's runs in a process of their own.

    {"solution": DIR, "schedule": "mix", "groups": [[[test, seed], …], …], "full": false}
        --stdin--> python -m tester.matrix.trial
    a line of JSON a run <--stdout--

The process ends with its parent: its next line has nobody to read it.
"""

from __future__ import annotations

import contextlib
import json
import sys
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path

from tester.attempts import Attempt, first
from tester.report import verdict
from tester.run import Options

__all__ = ["WALL_LIMIT_S", "Trial", "trial_of"]

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


def trial_of(attempt: Attempt) -> Trial:
    """What there is to say of `attempt`."""
    error = attempt.error
    is_verdict = isinstance(error, AssertionError)
    return Trial(
        attempt.test.name,
        attempt.run.seed,
        verdict=verdict(error) if error is not None and is_verdict else "",
        fault="" if error is None or is_verdict else "".join(traceback.format_exception(error)),
        skipped=attempt.skipped,
        cpu_s=round(attempt.cpu_s, 3),
    )


def main() -> None:
    """Does what stdin asks for: of each group all runs, or those up to the first catch."""
    asked = json.load(sys.stdin)
    out, sys.stdout = sys.stdout, sys.stderr  # what a test prints is no answer of ours

    def look(attempt: Attempt) -> Trial | None:
        trial = trial_of(attempt)
        print(json.dumps(asdict(trial)), file=out, flush=True)
        return trial if trial.verdict and not asked["full"] else None

    for group in asked["groups"]:
        options = Options(solution=Path(asked["solution"]), schedule=asked["schedule"])
        first(group, options, look, wall_limit_s=WALL_LIMIT_S)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
