"""A whole class, graded: on the pool with kills on the way, on Dask, and with one worker and two.

    python -m benchmarks.grading                  100 submissions, 2A and 2B, 2 seeds, killed twice
    python -m benchmarks.grading --dask           the same on a Dask cluster too, and compared
    python -m benchmarks.grading --students 20 --parts 2A,2B,2C,2D --runs 3 --kills 0
    python -m benchmarks.grading --students 8 --parts 2A --runs 10 --kills 0 --compare-workers

The class is generated: the reference, correct Rafts of other designs, and the planted mistakes in turn, as folders,
zips, tars and git repositories. CPU is that of the runs, as the grading itself counts it.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from rich.console import Console

from tests.harness.grade.a_class import ROOT, make_class
from tests.harness.grade.dask_cluster import DaskCluster

_SECRET = "a secret of this benchmark"
_KEPT = "grades.sqlite"
"""The only file of a grading that says how long something took."""

console = Console(highlight=False, soft_wrap=True)


class Grading:
    """One `tester grade` into `out`, as often as it takes."""

    def __init__(self, students: Path, out: Path, parts: str, runs: int, *options: str) -> None:
        self.out = out
        secret = out.parent / "secret"
        secret.write_text(_SECRET)
        self._command = [
            sys.executable, "-m", "tester", "grade", str(students), "--parts", parts, "--runs", str(runs),
            "--hidden-seed-file", str(secret), "--out", str(out), *options,
        ]  # fmt: skip
        self.seconds = 0.0
        self.memory: list[int] = []
        """MiB that the grader itself has, once a second."""

    def finish(self, *, kills: int = 0) -> None:
        """Grades, killed `kills` times, after equal shares of the runs."""
        for kill in range(1, kills + 1):
            self._run(until=kill / (kills + 1))
        self._run()

    def _run(self, until: float = 2.0) -> None:
        began = time.monotonic()
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(self._command, env=environment, stdout=subprocess.DEVNULL, stderr=errors)
            watch = threading.Thread(target=self._watch, args=(process,))
            watch.start()
            while process.poll() is None:
                if self.done() >= until * (self._ask("SELECT count(*) FROM plan") or 1):
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    console.print(f"  killed after {self.done()} runs")
                time.sleep(0.2)
            watch.join()
            self.seconds += time.monotonic() - began
            if process.returncode not in (0, -signal.SIGKILL):
                errors.seek(0)
                raise SystemExit(f"grading left with {process.returncode}:\n{errors.read().decode()}")

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None:
            try:
                fields = Path(f"/proc/{process.pid}/statm").read_text().split()
            except OSError:
                return
            self.memory.append(int(fields[1]) * os.sysconf("SC_PAGE_SIZE") >> 20)
            time.sleep(1)

    def done(self) -> int:
        return int(self._ask("SELECT count(*) FROM outcomes") or 0)

    def cpu_seconds(self) -> float:
        return float(self._ask("SELECT sum(cpu_s) FROM outcomes") or 0)

    def _ask(self, query: str) -> float | None:
        try:
            with sqlite3.connect(f"file:{self.out / _KEPT}?mode=ro", uri=True) as db:
                return db.execute(query).fetchone()[0]
        except sqlite3.OperationalError:  # it has only just begun
            return None

    def tell(self, name: str) -> None:
        runs, cpu_s = self.done(), self.cpu_seconds()
        classed = json.loads((self.out / "class.json").read_text())
        scores = [each["score"] for each in classed["submissions"].values()]
        full = sum(1 for score in scores if score == max(scores))
        console.print(
            f"{name}: {runs} runs in {self.seconds:.0f} s, {runs / self.seconds:.1f} a second, {cpu_s:.0f} s of CPU; "
            f"{len(scores)} submissions, {full} with all points"
        )
        if len(self.memory) > 8:
            early, late = self.memory[len(self.memory) // 4], self.memory[-2]
            console.print(f"  memory of the grader: {early} MiB after a quarter of the time, {late} MiB at the end")


def differences(one: Path, other: Path) -> list[str]:
    """The files of two gradings that are not equal."""
    names = {
        path.relative_to(root).as_posix()
        for root in (one, other)
        for path in root.rglob("*")
        if path.is_file() and not path.name.startswith(_KEPT)
    }
    console.print(f"  {len(names)} files compared")
    return sorted(
        name
        for name in names
        if not ((one / name).is_file() and (other / name).is_file())
        or not filecmp.cmp(one / name, other / name, shallow=False)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--students", type=int, default=100, metavar="N")
    parser.add_argument("--parts", default="2A,2B")
    parser.add_argument("--runs", type=int, default=2, metavar="N")
    parser.add_argument("--kills", type=int, default=2, metavar="N", help="how often the grading is killed on the way")
    parser.add_argument("--dask", action="store_true", help="grade on a Dask cluster of two workers too, and compare")
    parser.add_argument("--compare-workers", action="store_true", help="grade with one worker and with two")
    parser.add_argument("--folder", type=Path, help="where it is all made, and left")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="grading-") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        students = folder / "hand-ins"
        make_class(students, options.students)
        console.print(f"{options.students} submissions; load average {os.getloadavg()[0]:.1f}")
        _grade_all(options, folder, students)


def _grade_all(options: argparse.Namespace, folder: Path, students: Path) -> None:
    def grading(name: str, *more: str) -> Grading:
        return Grading(students, folder / name, options.parts, options.runs, *more)

    if options.compare_workers:
        rates = []
        for workers in (1, 2, 1, 2):
            one = grading(f"workers-{len(rates)}", "-n", str(workers))
            one.finish()
            one.tell(f"{workers} workers")
            rates.append(one.done() / one.seconds)
        console.print(f"two workers do {sum(rates[1::2]) / sum(rates[::2]):.2f} times as much as one")
        return
    here = grading("pool")
    here.finish(kills=options.kills)
    here.tell("pool")
    if options.dask:
        (folder / "cluster").mkdir(exist_ok=True)
        cluster = DaskCluster(folder / "cluster")
        try:
            for _ in range(2):
                cluster.start_worker()
            there = grading("dask", "--scheduler", cluster.address)
            there.finish(kills=options.kills)
            there.tell("Dask")
        finally:
            cluster.close()
        unequal = differences(here.out, there.out)
        console.print("equal, byte for byte" if not unequal else f"NOT EQUAL: {', '.join(unequal[:20])}")
        if unequal:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
