"""What does it cost to be able to explain a failure? `python -m benchmarks.failure_report`.

The journal's share of a run is the CPU time that is saved when events go to the judge's listeners and nowhere else:
pairs of the same runs, in processes of their own, turn by turn, the least of each. A report and a page are timed on
kept runs.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from labrpc import coordinator
from labrpc.journal import Journal
from tester import mutants
from tester.determinism import JOURNAL_FILE
from tester.timeline.page import write_page
from tester.timeline.reading import read
from tester.timeline.terminal import lines

ROOT = Path(__file__).parent.parent
SEEDS = {"2A": 20, "2B": 8, "2C": 2, "2D": 4, "3A": 8, "3B": 5, "4A": 1, "4B": 1}
"""How many make some seconds of a part."""
REPETITIONS = 3
LONGEST = "test_snapshot_unreliable_recover_concurrent_partition_linearizable"


class UnwrittenJournal(Journal):
    """Tells its listeners of each event, and keeps none."""

    def append(self, event: Any) -> None:
        for listener in self.listeners:
            listener(event)


def pytest_configure() -> None:
    """As a plugin of pytest: no run writes a journal."""
    coordinator.Journal = UnwrittenJournal  # type: ignore[misc]


def cpu_seconds(part: str, *options: str) -> float:
    """Of `SEEDS` of `part`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _pytest("-m", part, "--seed", "1", "--runs", str(SEEDS[part]), *options)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def journal_share(part: str) -> float:
    """How much of a run's CPU time the journal takes. pytest's own start is in neither."""
    start = min(cpu_seconds(part, "--collect-only") for _ in range(REPETITIONS))
    pairs = [(cpu_seconds(part), cpu_seconds(part, "-p", "benchmarks.failure_report")) for _ in range(REPETITIONS)]
    written, unwritten = (min(times) - start for times in zip(*pairs, strict=True))
    return 1 - unwritten / written


def failing_seconds(folder: Path) -> float:
    """Wall seconds of a failing run of part 2A and its rendered report; pytest's own start is not counted."""
    solution = mutants.load(ROOT / "tests" / "mutants" / "double-vote.toml").plant(ROOT, folder / "double-vote")
    command = ("-k", "test_many_elections", "--seed", "2", "--solution", str(solution), "--keep-no-failures")
    began = time.perf_counter()
    _pytest(*command, "--collect-only")
    collected = time.perf_counter()
    _pytest(*command, code=1)
    return (time.perf_counter() - collected) - (collected - began)


def _pytest(*options: str, code: int = 0) -> None:
    command = [sys.executable, "-m", "pytest", "tests/labs", "-q", "-p", "no:cacheprovider", *options]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode != code:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}, not {code}:\n{done.stdout[-2000:]}")


def main() -> None:
    console = Console()
    table = Table("what", "measured", "target", title="what it costs to explain a failure")
    for part in track(SEEDS, "pairs of runs", console=console, transient=True):
        table.add_row(f"the journal, in part {part}", f"{journal_share(part):.0%} of run time", "at most 25 %")
    with TemporaryDirectory() as name:
        folder = Path(name)
        seconds = min(failing_seconds(folder / str(number)) for number in range(REPETITIONS))
        table.add_row("a failing run of 2A and its report", f"{seconds:.2f} s", "at most 1 s")
        _pytest("-k", LONGEST, "--seed", "1", "--journal", name)
        journal = folder / JOURNAL_FILE.format(test=LONGEST, seed=1, number=0)
        with journal.open("rb") as file:
            events = Journal.read(file)
        began = time.perf_counter()
        write_page(read(events), folder / "page.html", title=LONGEST)
        seconds, size = time.perf_counter() - began, (folder / "page.html").stat().st_size
        what = f"the page of a run of 4B with {len(events):,} events"
        table.add_row(what, f"{seconds:.2f} s, {size / 1e6:.1f} MB", "at most 3 s, 5 MB")
        began = time.perf_counter()
        count = len(list(lines(read(events), width=100)))
        table.add_row(f"the timeline of that run, {count} lines", f"{time.perf_counter() - began:.2f} s", "")
    console.print(table)


if __name__ == "__main__":
    main()
