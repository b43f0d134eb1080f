"""The lab's speed, as a table: `python -m benchmarks` (or `make bench`); see also `benchmarks.log_scaling`.

Figures of one run on one machine; compare the ratios. Wall times are the best of several repetitions, since other
work on the machine can only add to them.
"""

from __future__ import annotations

import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.progress import track
from rich.table import Table

from tester.cluster import Cluster
from tester.parts import PARTS
from tester.raft_cluster import RaftCluster
from tester.run import Options, Run

ROOT = Path(__file__).parent.parent
ECHO = "benchmarks.echo_server"
PING = "tests.harness.programs.ping"
CALLS = 5_000
REPETITIONS = 3
GROUPS = {
    "2A to 2D": ({"2A": "at most 0.7 s", "2B": "", "2C": "", "2D": ""}, "at most 8 s"),
    "3A to 4B": ({"3A": "", "3B": "", "4A": "", "4B": ""}, "at most 10 s"),
}
"""Parts with their targets, and the target of each group."""


def rpc_seconds(servers: str, clock: str = "virtual") -> float:
    """Wall seconds of one no-op RPC through codec, network and a handler thread."""
    programs = {name: ROOT / f"{name.replace('.', '/')}.py" for name in (ECHO, PING)}
    run = Run(1, Options(clock=clock, servers=servers, schedule="none", programs=programs))
    # The benchmark's own patience: a control call may take 10 s of the run's clock.
    cluster = Cluster(run, 2, program=ECHO, latency=0.0 if run.options.is_real else 0.0002)
    try:
        cluster.start_all()
        cluster.sleep(0.01)
        cluster.server(0).call("hammer", 1, 200)
        began = time.perf_counter()
        replies = cluster.server(0).call("hammer", 1, CALLS)
        seconds = time.perf_counter() - began
        if replies != CALLS:
            raise SystemExit(f"{CALLS - replies} of {CALLS} calls on a reliable network got no reply")
        return seconds / CALLS
    finally:
        run.close()


def idle_hour_seconds() -> float:
    """Wall seconds of an idle 3-server cluster's virtual hour."""
    run = Run(1, Options())
    cluster = RaftCluster(run, 3, time_limit=4000.0)
    try:
        cluster.one_leader()
        began = time.perf_counter()
        cluster.sleep(3600.0)
        return time.perf_counter() - began
    finally:
        run.close()


def pytest_seconds(part: str, *arguments: str) -> tuple[float, float]:
    """(sum of the tests' own durations, wall time of the whole command) of `pytest -m part` with `arguments`."""
    with TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        command = [sys.executable, "-m", "pytest", "tests/labs", "-m", part, "-q", "-p", "no:cacheprovider"]
        command += [f"--junitxml={results}", *arguments]
        began = time.perf_counter()
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        wall = time.perf_counter() - began
        cases = ElementTree.parse(results).iter("testcase")
        return sum(float(case.get("time", 0)) for case in cases), wall


def best(measure: Callable[[], float]) -> float:
    return min(measure() for _ in range(REPETITIONS))


def main() -> None:
    console = Console()
    rows: list[tuple[str, str, str]] = []

    def in_threads() -> None:
        nonlocal threads
        threads = best(lambda: rpc_seconds("threads"))
        rows.append(("no-op RPC, servers as threads", f"{1 / threads:,.0f} RPC/s", "at least 20,000 RPC/s"))

    def in_processes() -> None:
        processes = best(lambda: rpc_seconds("processes"))
        rows.append(("no-op RPC, servers as processes", f"{processes / threads:.1f} × threads", "at most 6 ×"))

    def on_real_threads() -> None:
        real = best(lambda: rpc_seconds("threads", clock="real"))
        rows.append(("no-op RPC, real clock, servers as threads", f"{real * 1e6:.0f} µs", "at most 150 µs"))

    def in_real_processes() -> None:
        real = best(lambda: rpc_seconds("processes", clock="real"))
        rows.append(("no-op RPC, real clock, servers as processes", f"{real * 1e6:.0f} µs", "at most 400 µs"))

    def one_seed() -> None:
        for group, (parts, group_target) in GROUPS.items():
            totals = {"threads": 0.0, "processes": 0.0}
            for part, target in parts.items():
                for servers in totals:
                    arguments = "--seed", "1", "--servers", servers
                    seconds = best(lambda part=part, arguments=arguments: pytest_seconds(part, *arguments)[0])  # type: ignore[misc]
                    totals[servers] += seconds
                    if servers == "threads":
                        title = f"pytest -m {part}, {PARTS[part]}, one seed: the tests' own time"
                        rows.append((title, f"{seconds:.2f} s", target))
            ratio = totals["processes"] / totals["threads"]
            rows.append((f"{group}, one seed", f"{totals['threads']:.1f} s", group_target))
            rows.append(("the same, servers as processes", f"{ratio:.1f} × threads", "at most 5 ×"))

    def many_seeds() -> None:
        rows.append(
            (
                "pytest -m 2A --runs 100 -n 2 (300 runs)",
                f"{pytest_seconds('2A', '--runs', '100', '-n', '2')[1]:.1f} s",
                "at most 60 s",
            )
        )

    def idle() -> None:
        rows.append(("a virtual hour of 3 idle servers", f"{idle_hour_seconds():.1f} s", "at most 10 s"))

    threads = 0.0
    for measure in track(
        (in_threads, in_processes, on_real_threads, in_real_processes, one_seed, many_seeds, idle),
        "measuring",
        console=console,
        transient=True,
    ):
        measure()
    table = Table("what", "measured", "target", title="raftlab on this machine")
    for row in rows:
        table.add_row(*row)
    console.print(table)


if __name__ == "__main__":
    main()
