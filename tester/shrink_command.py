"""`tester shrink`: one test, one seed, and what its failure needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from labrpc.errors import UsageError
from tester.run import parse_seed, reference_root
from tester.shrink import parse_budget

__all__ = ["shrink"]

_LABS = "tests/labs"


def shrink(console: Console, *, test: str, seed: str, solution: Path | None, budget: str, options: list[str]) -> int:
    """Runs it; the exit code to leave with: 0 if the run was shrunk, 1 if it fails but could not be.

    Args:
        test: a test as pytest has it, or the name alone of a graded one.
        options: more options for pytest.

    Raises:
        UsageError: there is no such test, or more than one, or the seed passes.
    """
    number = parse_seed(seed)
    parse_budget(budget)
    test = _find(test)
    command = [test, "--seed", str(number), "--shrink", "--shrink-budget", budget, "-q", *options]
    if solution is not None:
        command += ["--solution", str(solution)]
    name = test.rpartition("::")[2].partition("[")[0]
    file = Path(".raftlab") / "shrunk" / f"{name}-{number}.json"
    file.unlink(missing_ok=True)
    colour = "yes" if console.is_terminal and not console.no_color else "no"
    code = _pytest([*command, f"--color={colour}"], quiet=False).returncode
    if code == 0:
        raise UsageError(f"{name} passes under seed {number}: there is nothing to shrink")
    if code != 1:
        raise UsageError(f"pytest ended with exit code {code}; what it says is above")
    if not file.exists():
        return 1
    console.print(Text(f"what is left is in {file}; the command after `replay` above has it again"), soft_wrap=True)
    return 0


def _find(test: str) -> str:
    """The one test that `test` names, as pytest has it."""
    where = test
    if "::" not in test and not Path(test).exists():
        where = str(reference_root() / _LABS)
    done = _pytest([where, "--collect-only", "-q", "--no-header", "--color=no"], quiet=True)
    found = [line for line in done.stdout.splitlines() if "::" in line and not line.startswith(("ERROR", "FAILED"))]
    if where != test:
        files = sorted(Path(where).glob("test_*.py"))
        lines = (
            f"{os.path.relpath(file)}::{test}"
            for file in files
            for line in found
            if line.endswith(f"{file.name}::{test}")
        )
        found = list(lines)
    if not found:
        raise UsageError(f"there is no test {test}; name one as {_LABS}/test_2a_election.py::test_re_election")
    if len(found) > 1:
        raise UsageError(f"{test} is {len(found)} tests, but one run is shrunk: name one of them, such as {found[0]}")
    return found[0] if where != test else test


def _pytest(arguments: list[str], *, quiet: bool) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, check=False, capture_output=quiet, text=True)
