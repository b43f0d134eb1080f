"""The demonstration: the reference on many seeds, then a broken Raft that is caught, named and replayed."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from rich.console import Console
from rich.rule import Rule
from rich.syntax import Syntax
from rich.text import Text

from labrpc.errors import HarnessError, UsageError
from tester import mutants
from tester.run import reference_root

__all__ = ["demonstrate"]

_LABS = "tests/labs"
_BROKEN_RUNS = 50


def demonstrate(console: Console, *, runs: int, mutant_name: str) -> int:
    """Runs it; the exit code to leave with: 0 if the reference passed and the broken Raft was caught and replayed."""
    root = reference_root()
    if not (root / _LABS).is_dir():
        raise UsageError(f"the demonstration needs a checkout of the project: there is no {_LABS} in {root}")
    mutant = _mutant(root, mutant_name)
    workers = str(min(os.cpu_count() or 1, 8))

    _title(console, f"1. Part 2A on the reference Raft, {runs} seeds of each test")
    if _pytest(console, root, [_LABS, "-m", "2A", "--runs", str(runs), "-n", workers, "-q"]) != 0:
        console.print(Text("the reference failed: that is a bug worth a report; the seed is above", style="bold red"))
        return 1

    _title(console, f"2. A Raft that {mutant.title}")
    console.print(Text(f"“{mutant.misconception}” ({mutant.section} says otherwise)"))
    folder = Path(".raftlab") / "demo"  # kept, so that the reader can replay what is shown
    shutil.rmtree(root / folder, ignore_errors=True)
    solution = folder / mutant.name
    mutant.plant(root, root / solution)
    console.print(Syntax(mutant.difference(root), "diff", background_color="default"))
    broken = ["-m", "2A", "--runs", str(_BROKEN_RUNS), "-x", "-q", "--solution", str(solution)]
    results = folder / "results.xml"
    if _pytest(console, root, [_LABS, *broken, f"--junitxml={results}"]) != 1:
        console.print(Text(f"{mutant.name} was not caught: that is a bug in the tests", style="bold red"))
        return 1
    test, seed, journal_hash = _failure(root / results)

    _title(console, "3. The same seed is the same failure, event for event")
    replay = [f"{_LABS}/test_2a_election.py::{test}", "--seed", seed, "--solution", str(solution), "-q"]
    if _pytest(console, root, [*replay, f"--junitxml={results}"]) != 1:
        console.print(Text("the replay did not fail: the run is not deterministic", style="bold red"))
        return 1
    _, _, replayed_hash = _failure(root / results)
    console.print()
    if replayed_hash != journal_hash:
        console.print(Text(f"journal hashes differ: {journal_hash} and {replayed_hash}", style="bold red"))
        return 1
    console.print(Text(f"Caught, named and replayed: {test} under seed {seed}.", style="bold green"))
    console.print(Text(f"Both runs have the journal hash {journal_hash}.", style="bold green"))
    return 0


def _mutant(root: Path, name: str) -> mutants.Mutant:
    known = {mutant.name: mutant for mutant in mutants.load_all(root / mutants.FOLDER) if mutant.part == "2A"}
    if name not in known:
        raise UsageError(f"no mutant {name} of part 2A; there are {', '.join(known)}")
    return known[name]


def _title(console: Console, text: str) -> None:
    console.print()
    console.print(Rule(Text(text, style="bold cyan"), align="left"))


def _pytest(console: Console, root: Path, arguments: list[str]) -> int:
    command = [sys.executable, "-m", "pytest", *arguments, "-p", "no:cacheprovider"]
    console.print(Text("$ pytest " + shlex.join(arguments), style="dim"), soft_wrap=True)
    colour = ["--color=yes"] if console.is_terminal and not console.no_color else ["--color=no"]
    return subprocess.run([*command, *colour], cwd=root, check=False).returncode


def _failure(results: Path) -> tuple[str, str, str]:
    """(test, seed, journal hash) of the first failure in a junit file."""
    for case in ElementTree.parse(results).iter("testcase"):
        if case.find("failure") is not None:
            properties = {entry.get("name"): entry.get("value") or "" for entry in case.iter("property")}
            name = (case.get("name") or "").partition("[")[0]
            return name, properties.get("seed", ""), properties.get("journal_hash", "")
    raise HarnessError(f"pytest failed, but {results} names no failed test")
