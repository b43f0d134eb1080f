"""What the README shows is what the reader gets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer

from tester import mutants
from tester.cli import app

ROOT = Path(__file__).parents[2]


def test_the_failure_in_the_readme_is_the_one_its_seed_gives(run_pytest, monkeypatch, tmp_path):
    shown = re.search(r"```text\n(server 2 voted.+?)\n```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert shown is not None
    monkeypatch.setenv("COLUMNS", "100")
    solution = mutants.load(ROOT / "tests" / "mutants" / "double-vote.toml").plant(ROOT, tmp_path)
    result = run_pytest("-k", "test_many_elections", "--seed", "2", "--solution", str(solution))
    printed = iter([line.rstrip() for line in result.outlines])
    for line in shown[1].splitlines():
        if line and not line.lstrip().startswith(("test  ", "replay  ", "to look at: ")):  # those have paths
            assert line in printed, f"the README's line is not printed, or not there: {line}"


def test_the_shrunk_run_in_the_readme_is_what_shrinking_leaves(run_pytest, tmp_path):
    shown = re.search(r"```text\n(2 faults and .+?)\n```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert shown is not None
    solution = mutants.load(ROOT / "tests" / "mutants" / "vote-without-lock.toml").plant(ROOT, tmp_path)
    shrinking = ("--shrink", "--shrink-budget", "300s")
    result = run_pytest("-k", "test_many_elections", "--seed", "2", *shrinking, "--solution", str(solution))
    printed = "\n".join(line.rstrip(" ─") for line in result.outlines)
    assert shown[1] in printed


def test_every_option_in_the_readme_exists(pytestconfig):
    text = (ROOT / "README.md").read_text()
    options = set(re.findall(r"`(--[a-z-]+)", text))
    known = {name for option in pytestconfig._parser._anonymous.options for name in option.names()}
    for group in pytestconfig._parser._groups:
        known |= {name for option in group.options for name in option.names()}
    commands: Any = typer.main.get_command(app)
    known |= {name for command in commands.commands.values() for each in command.params for name in each.opts}
    assert options - known - {"--help"} == set()
