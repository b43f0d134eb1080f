"""`tester shrink`: one test, one seed, and what its failure needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from labrpc.disturbance import check_schedule
from labrpc.errors import UsageError
from tester.find_test import find_test
from tester.run import parse_seed
from tester.shrink import parse_budget

__all__ = ["shrink"]

_NOT_FOUND = (4, 5)
"""Exit codes of pytest."""


def shrink(console: Console, *, test: str, seed: str, solution: Path | None, budget: str, schedule: str) -> int:
    """Runs it; the exit code to leave with: 0 if the run was shrunk, 1 if it fails but could not be.

    Args:
        test: a test as pytest has it, or the name alone of a graded one.
        schedule: that of the run that fails.

    Raises:
        UsageError: there is no such test, or the seed passes.
    """
    number = parse_seed(seed)
    parse_budget(budget)
    check_schedule(schedule)
    test = find_test(test)
    command = [test, "--seed", str(number), "--shrink", "--shrink-budget", budget, "-q", "--schedule", schedule]
    if solution is not None:
        command += ["--solution", str(solution)]
    name = test.rpartition("::")[2].partition("[")[0]
    file = Path(".raftlab") / "shrunk" / f"{name}-{number}.json"
    file.unlink(missing_ok=True)
    colour = "yes" if console.is_terminal and not console.no_color else "no"
    pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    code = subprocess.run([*pytest, *command, f"--color={colour}"], check=False).returncode
    if code == 0:
        raise UsageError(f"{name} passes under seed {number}: there is nothing to shrink")
    if code in _NOT_FOUND:
        raise UsageError(f"there is no test {test}; what pytest says is above")
    if code != 1:
        raise UsageError(f"pytest ended with exit code {code}; what it says is above")
    if not file.exists():
        return 1
    console.print(Text(f"what is left is in {file}; the command after `replay` above has it again"), soft_wrap=True)
    return 0
