"""How small do failing runs get, and how fast? `python -m benchmarks.shrinking [MUTANT …]`.

Each planted mistake is caught under the first seed that shows it, and that run is shrunk. What is left should be few
enough to be read: ten decisions at most in the median, found within a minute on one core.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from rich.console import Console
from rich.progress import track
from rich.table import Table

from tester import mutants

ROOT = Path(__file__).parent.parent
RUNS = 40
BUDGET = "60s"

MUTANTS = {
    "double-vote": "many_elections",
    "vote-without-lock": "many_elections",
    "leader-by-plurality": "many_elections",
    "no-consistency-check": "rejoin",
    "longer-log-wins": "rejoin",
    "older-term-committed": "fail_no_agree",
    "append-not-saved": "unreliable_churn",
    "reply-before-durable": "persist_more",
    "snapshot-holds-history": "snapshot_size",
    "put-without-lock": "put_concurrent",
    "answered-before-agreed": "rsm_leader_partition",
    "submit-without-check-of-id": "rsm_leader_partition",
    "applies-twice-after-failover": "one_partition",
    "get-from-own-state": "persist_partition_unreliable",
    "snapshot-misses-versions": "snapshot_unreliable_recover",
}
"""The mistake to catch, and a test that does."""


class Result(NamedTuple):
    """One mutant's failing run, shrunk."""

    mutant: str
    part: str
    test: str
    seed: str
    before: int
    after: int
    of: str
    runs: str
    seconds: float


def shrink(mutant: mutants.Mutant, test: str, folder: Path) -> Result | None:
    """Catches `mutant` by `test` and shrinks the run; None if no seed shows it."""
    solution = mutant.plant(ROOT, folder / mutant.name)
    results = folder / "results.xml"
    command = [sys.executable, "-m", "pytest", str(ROOT / "tests" / "labs"), "-c", str(ROOT / "pyproject.toml")]
    command += ["--rootdir", str(ROOT), "-k", test, "--seed", "1", "--runs", str(RUNS), "-x", "-q"]
    command += ["-p", "no:cacheprovider", "--solution", str(solution), "--shrink", "--shrink-budget", BUDGET]
    subprocess.run([*command, f"--junitxml={results}"], cwd=folder, check=False, capture_output=True)
    for case in ElementTree.parse(results).iter("testcase"):
        failure = case.find("failure")
        found = {entry.get("name"): entry.get("value") or "" for entry in case.iter("property")}
        if failure is not None and "shrunk_of" in found:
            name = (case.get("name") or "").partition("[")[0]
            before, after = (int(found[f"shrunk_{key}"]) for key in ("before", "after"))
            return Result(
                mutant.name, mutant.part, name, found["seed"], before, after, found["shrunk_of"],
                found["shrunk_runs"], float(found["shrunk_seconds"]),
            )  # fmt: skip
    return None


def main() -> None:
    console = Console()
    names = sys.argv[1:] or MUTANTS
    table = Table("mutant", "part", "test", "seed", "before", "after", "what remains", "runs", "seconds", "wall")
    table.title = f"shrinking, at most {BUDGET} each"
    after, seconds = [], []
    with TemporaryDirectory() as folder:
        for name in track(names, "shrinking", console=console, transient=True):
            mutant = mutants.load(ROOT / "tests" / "mutants" / f"{name}.toml")
            began = time.perf_counter()
            result = shrink(mutant, MUTANTS[name], Path(folder))
            if result is None:
                table.add_row(name, mutant.part, "not caught, or not shrunk")
                continue
            wall = f"{time.perf_counter() - began:.0f} s"
            after.append(result.after)
            seconds.append(result.seconds)
            what = result.of.partition(" of ")[0]
            if not console.is_terminal:
                console.print(f"{name}: {result.of}, {result.runs} runs, {result.seconds:.1f} s", soft_wrap=True)
            table.add_row(
                name, result.part, result.test, result.seed, str(result.before), str(result.after), what, result.runs,
                f"{result.seconds:.1f}", wall,
            )  # fmt: skip
    console.print(table)
    if after:
        console.print(f"median {statistics.median(after):g} left (target 10), longest {max(seconds):.0f} s (target 60)")


if __name__ == "__main__":
    main()
