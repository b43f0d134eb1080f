"""How long does a verdict take? `python -m benchmarks.checker`, beside what the Go library porcupine took.

Each history is made, and then judged, in a process of its own. CPU time is the best of three; memory is what Python
allocated at most for one verdict, the history not counted. The Go figures are recorded ones, measured on the same
machine, pinned to one core with GOMAXPROCS=1, of other histories with the same numbers of operations, clients and keys;
those of the first two rows are of porcupine's own test logs, which ours imitate.
"""

from __future__ import annotations

import gc
import random
import subprocess
import sys
import time
import tracemalloc
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from rich.console import Console
from rich.progress import track
from rich.table import Table

from tester.porcupine import CheckResult, Model, Operation, check_operations, check_operations_verbose
from tests.harness.porcupine.histories import MODELS, corrupt, simulate

__all__ = ["CASES", "Case"]

REPETITIONS = 3
TIMEOUT_S = 60.0
UNDECIDED = "> 30,000, undecided"


_Histories: TypeAlias = "list[tuple[list[Operation], bool | None]]"
_Make: TypeAlias = "Callable[[], _Histories]"


@dataclass(frozen=True, slots=True)
class Case:
    """A row of the table.

    Attributes:
        make: the histories, and whether each is meant to be legal; None: either.
        search: whether the model's own decision is left out.
        verbose: whether the linearization, or the explanation, is asked for as well.
        target_ms: CPU time that it should take at most.
        go: what the Go library took, in ms.
    """

    title: str
    kind: str
    make: _Make
    target_ms: float
    go: str = ""
    search: bool = False
    verbose: bool = False


def _kv(operations: int, clients: int, keys: int, *, legal: bool = True) -> _Make:
    def make() -> _Histories:
        history = simulate("kv", seed=1, operations=operations, clients=clients, keys=keys, lost=0.0005, maybe=0.02)
        return [(history if legal else corrupt(history, random.Random(2)), legal)]

    return make


def _register(operations: int, clients: int, values: int | None, *, legal: bool = True) -> _Make:
    def make() -> _Histories:
        history = simulate("register", seed=clients, operations=operations, clients=clients, values=values)
        rng = random.Random(5)
        for _ in range(0 if legal else 1 if values is None else operations // 20):
            history = corrupt(history, rng)
        return [(history, True if legal else None)]

    return make


def _etcd() -> _Histories:
    """As many operations, and as many that never returned, as Jepsen's logs of etcd have on average."""
    histories: _Histories = []
    for seed in range(102):
        history = simulate("cas", seed=seed, operations=95, clients=5, values=5, writes=0.66, lost=0.12)
        for number in range(3 if seed % 3 == 0 else 0):
            history = corrupt(history, random.Random(seed + number))
        histories.append((history, None if seed % 3 == 0 else True))
    return histories


def _strings() -> _Histories:
    """Of the sizes of porcupine's logs of a store of strings: 1, 10 and 50 clients."""
    histories: _Histories = []
    for seed, (clients, operations) in enumerate(((1, 56), (10, 400), (50, 1500))):
        history = simulate("string", seed=seed, operations=operations, clients=clients, keys=10, writes=0.6)
        histories += [(history, True), (corrupt(history, random.Random(seed)), False)]
    return histories


def _cases() -> list[Case]:
    cases = [
        Case("102 register logs like Jepsen's of etcd, sum", "cas", _etcd, 100, "360"),
        Case("6 logs of appends, 1 to 50 clients, sum", "string", _strings, 50, "138 legal, 19 to 34 not, at 50"),
    ]
    go = {
        (1_000, 15, 1): "17",
        (1_000, 50, 1): UNDECIDED,
        (100_000, 5, 1): "1,470",
        (100_000, 15, 1): UNDECIDED,
        (100_000, 50, 1): UNDECIDED,
        (100_000, 15, 10): "224 to 383",
    }
    for operations, clients, keys in (*go, (10_000, 15, 1), (100_000, 5, 10), (100_000, 50, 10)):
        title = f"versioned kv, {operations:,} operations, {keys} key{'s' * (keys > 1)}, {clients} clients"
        cases.append(
            Case(
                title,
                "kv",
                _kv(operations, clients, keys),
                150 * operations / 100_000,
                go.get((operations, clients, keys), ""),
            )
        )
    for clients in (5, 15, 50):
        title = f"versioned kv, 100,000 operations, 1 key, {clients} clients"
        illegal = _kv(100_000, clients, 1, legal=False)
        cases.append(Case(f"{title}, illegal, explained", "kv", illegal, 300, verbose=True))
    cases.append(
        Case(
            "versioned kv, 1,000 operations, 1 key, 15 clients, illegal",
            "kv",
            _kv(1_000, 15, 1, legal=False),
            3,
            "2,824",
        )
    )
    for clients in (5, 15, 50):
        title = f"versioned kv, 100,000 operations, 1 key, {clients} clients, search alone"
        cases.append(Case(title, "kv", _kv(100_000, clients, 1), 1_000, search=True))
    for values in (None, 5):
        for clients in (10, 20, 30):
            for operations in (1_000, 5_000):
                for legal in (True, False):
                    known = "> 10,000" if legal and values is None and clients > 10 else ""
                    if legal and (values, clients, operations) == (5, 20, 1_000):
                        known = "6,925"
                    written = "distinct values" if values is None else f"{values} values"
                    title = f"register, {operations:,} operations, {clients} writers, {written}"
                    title += "" if legal else ", 1 answer changed" if values is None else ", 1 in 20 answers changed"
                    make = _register(operations, clients, values, legal=legal)
                    cases.append(
                        Case(title, "register", make, 20 if values is None else 200 if legal else 10_000, known)
                    )
    return cases


CASES = _cases()


def _judge(case: Case, model: Model, history: list[Operation]) -> CheckResult:
    if case.verbose:
        return check_operations_verbose(model, history, timeout=TIMEOUT_S)[0]
    return check_operations(model, history, timeout=TIMEOUT_S)


def _measure(case: Case) -> tuple[str, float, float]:
    """(verdicts, CPU ms, peak MB beside the history)."""
    model: Model = MODELS[case.kind]()
    if case.search:
        model = replace(model, decide=None)
    histories = case.make()
    best = float("inf")
    for _ in range(REPETITIONS):
        verdicts = []
        spent = 0.0
        for history, legal in histories:
            gc.collect()
            began = time.process_time()
            verdict = _judge(case, model, history)
            spent += time.process_time() - began
            if legal is not None and verdict is not (CheckResult.OK if legal else CheckResult.ILLEGAL):
                raise SystemExit(f"{case.title}: {verdict.value}, but legal is {legal}")
            verdicts.append(verdict.value)
        best = min(best, spent)
    said = verdicts[0] if len(verdicts) == 1 else f"{verdicts.count('ok')} ok, {verdicts.count('illegal')} illegal"
    tracemalloc.start()
    for history, _ in histories:
        _judge(case, model, history)
    return said, 1000 * best, tracemalloc.get_traced_memory()[1] / 1e6


def main() -> None:
    parser = ArgumentParser(description=__doc__, prog="python -m benchmarks.checker")
    parser.add_argument("--only", default="", help="rows whose title has this in it")
    parser.add_argument("--case", type=int, help="measures one row and prints its figures, for the table")
    options = parser.parse_args()
    if options.case is not None:
        print(*_measure(CASES[options.case]), sep="\t")
        return
    console = Console()
    table = Table("history", "verdict", "CPU ms", "target", "peak MB", "Go, CPU ms", title="verdicts on this machine")
    rows = [number for number, case in enumerate(CASES) if options.only in case.title]
    for number in track(rows, "judging", console=console, transient=True):
        command = [sys.executable, "-m", "benchmarks.checker", "--case", str(number)]
        done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=True)
        verdict, milliseconds, megabytes = done.stdout.strip().split("\t")
        case = CASES[number]
        spent = float(milliseconds)
        shown = f"{spent:,.1f}" if spent <= case.target_ms else f"[red]{spent:,.1f}[/red]"
        table.add_row(case.title, verdict, shown, f"{case.target_ms:,.1f}", f"{float(megabytes):.1f}", case.go)
    console.print(table)


if __name__ == "__main__":
    main()
