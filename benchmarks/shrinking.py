"""How small do failing runs get, and how fast? `python -m benchmarks.shrinking [MUTANT …]`.

Each planted mistake is caught under the first seed that shows it, and that run is shrunk. What is left should be few
enough to be read: ten decisions at most in the median, found within a minute on one core.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from rich.console import Console
from rich.progress import track
from rich.table import Table

from tester import mutants
from tester.attempts import Attempt, first
from tester.run import Options
from tester.shrink import parse_budget
from tester.shrink_run import CannotShrink, shrink_run
from tester.story import tell_how_many

ROOT = Path(__file__).parent.parent
RUNS = 40
BUDGET = "60s"

MUTANTS = {
    "double-vote": "test_many_elections",
    "vote-without-lock": "test_many_elections",
    "leader-by-plurality": "test_many_elections",
    "no-consistency-check": "test_rejoin",
    "longer-log-wins": "test_rejoin",
    "older-term-committed": "test_fail_no_agree",
    "append-not-saved": "test_unreliable_churn",
    "reply-before-durable": "test_persist_more",
    "snapshot-holds-history": "test_snapshot_size",
    "put-without-lock": "test_put_concurrent",
    "answered-before-agreed": "test_rsm_leader_partition",
    "submit-without-check-of-id": "test_rsm_leader_partition",
    "applies-twice-after-failover": "test_one_partition",
    "get-from-own-state": "test_persist_partition_unreliable",
    "snapshot-misses-versions": "test_snapshot_unreliable_recover",
}
"""The mistake to catch, and a test that does."""


class Result(NamedTuple):
    """One mutant's failing run, shrunk."""

    mutant: str
    part: str
    test: str
    seed: int
    before: int
    after: int
    of: str
    runs: int
    seconds: float


def shrink(mutant: mutants.Mutant, test: str, folder: Path) -> Result | None:
    """Catches `mutant` by `test` and shrinks the run; None if no seed shows it."""

    def look(attempt: Attempt) -> Result | None:
        if attempt.error is None:
            return None
        shrunk = shrink_run(attempt.run, attempt.error, attempt.again, budget=parse_budget(BUDGET))
        return Result(
            mutant.name, mutant.part, test, attempt.run.seed, len(shrunk.before), len(shrunk.after),
            tell_how_many(shrunk.before, shrunk.after), shrunk.runs, shrunk.seconds,
        )  # fmt: skip

    solution = mutant.plant(ROOT, folder / mutant.name)
    return first(((test, seed) for seed in range(1, RUNS + 1)), Options(solution=solution), look)


def main() -> None:
    console = Console()
    names = sys.argv[1:] or MUTANTS
    table = Table("mutant", "part", "test", "seed", "before", "after", "what remains", "runs", "seconds", "wall")
    table.title = f"shrinking, at most {BUDGET} each"
    after, seconds = [], []
    with TemporaryDirectory() as folder:
        for name in track(names, "shrinking", console=console, transient=True):
            mutant = mutants.find(ROOT / mutants.FOLDER, name)
            began = time.perf_counter()
            try:
                result = shrink(mutant, MUTANTS[name], Path(folder))
            except CannotShrink as reason:
                table.add_row(name, mutant.part, MUTANTS[name], "", "", "", str(reason))
                continue
            if result is None:
                table.add_row(name, mutant.part, MUTANTS[name], "", "", "", "not caught")
                continue
            wall = f"{time.perf_counter() - began:.0f} s"
            after.append(result.after)
            seconds.append(result.seconds)
            what = result.of.partition(" of ")[0]
            if not console.is_terminal:
                console.print(f"{name}: {result.of}, {result.runs} runs, {result.seconds:.1f} s", soft_wrap=True)
            table.add_row(
                name, result.part, result.test, str(result.seed), str(result.before), str(result.after), what,
                str(result.runs), f"{result.seconds:.1f}", wall,
            )  # fmt: skip
    console.print(table)
    if after:
        console.print(f"median {statistics.median(after):g} left (target 10), longest {max(seconds):.0f} s (target 60)")


if __name__ == "__main__":
    main()
