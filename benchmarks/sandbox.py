"""What the sandbox costs: `python -m benchmarks.sandbox`.

A cluster's start with each server in a child of its own, and the graded tests of parts 2A to 2D under one seed, in
this process, in plain child processes and in sandboxed ones. The journals' hashes must be equal. Wall times of one
machine; medians, since other work on it can only add to them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import track
from rich.table import Table

from tester.graded import GradedTest, graded_tests
from tester.raft_cluster import RaftCluster
from tester.run import Options, Run, protections

WORLDS = {
    "in this process": Options(),
    "in processes": Options(servers="processes"),
    "in sandboxed processes": Options(servers="processes", sandbox=True),
}
PARTS = ("2A", "2B", "2C", "2D")
SEED = 1
STARTS = 11
REPETITIONS = 3


def start_seconds(options: Options, servers: int = 5) -> float:
    """Wall seconds until `servers` servers have taken their first step."""
    run = Run(SEED, options)
    try:
        began = time.perf_counter()
        RaftCluster(run, servers).sleep(0.0)
        return time.perf_counter() - began
    finally:
        run.close()


def attempt(test: GradedTest, options: Options) -> tuple[float, str]:
    """(wall seconds of a run of `test`, its journal's hash).

    Raises:
        SystemExit: the reference did not pass.
    """
    run = Run(SEED, options)
    try:
        began = time.perf_counter()
        error = test.attempt(run)
        seconds = time.perf_counter() - began
        if error is not None:
            raise SystemExit(f"{test.name} failed: {error}")
        return seconds, run.journal_hash
    finally:
        run.close()
        for cluster in run.clusters:
            cluster.journal.close()


def median(measure: Callable[[], float], times: int) -> float:
    return statistics.median(measure() for _ in range(times))


def main() -> None:
    console = Console()
    missing = {name: reason for name, reason in protections().items() if reason}
    if missing:
        console.print(f"this machine's sandbox lacks parts: {missing}")
    rows: list[tuple[str, str, str]] = []
    for world, options in WORLDS.items():
        start_seconds(options)
        target = "at most 300 ms" if options.sandbox else ""
        milliseconds = median(lambda options=options: start_seconds(options), STARTS) * 1e3  # type: ignore[misc]
        rows.append((f"start of 5 servers, {world}", f"{milliseconds:.0f} ms", target))
    tests = [test for part in PARTS for test in graded_tests(part)]
    totals = dict.fromkeys(WORLDS, 0.0)
    for test in track(tests, "measuring", console=console, transient=True):
        hashes = set()
        for world, options in WORLDS.items():
            attempts = [attempt(test, options) for _ in range(REPETITIONS)]
            totals[world] += statistics.median(seconds for seconds, _ in attempts)
            hashes |= {digest for _, digest in attempts}
        if len(hashes) != 1:
            raise SystemExit(f"{test.name} is not the same run in all worlds: {hashes}")
    base = totals["in this process"]
    for world, seconds in totals.items():
        target = "at most 5 ×" if world != "in this process" else ""
        rows.append((f"2A to 2D, seed {SEED}, {world}", f"{seconds:.1f} s, {seconds / base:.1f} ×", target))
    table = Table("what", "measured", "target", title=f"the sandbox on this machine ({len(tests)} graded tests)")
    for row in rows:
        table.add_row(*row)
    console.print(table)


if __name__ == "__main__":
    main()
