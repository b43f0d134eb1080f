"""The arrows between packages, and that planted mistakes still fit the reference."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from labrpc.errors import UsageError
from tester import mutants

ROOT = Path(__file__).parents[2]
MUTANTS = sorted((ROOT / "tests" / "mutants").glob("*.toml"))


def test_imports_follow_the_arrows():
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", MUTANTS, ids=lambda path: path.stem)
def test_every_mutant_fits_the_reference_and_changes_it(path, tmp_path):
    mutant = mutants.load(path)
    solution = mutant.plant(ROOT, tmp_path)
    assert (solution / mutant.file).read_text() != (ROOT / mutant.file).read_text()


def test_a_mutant_that_no_longer_fits_is_an_error(tmp_path):
    path = tmp_path / "stale.toml"
    text = (ROOT / "tests" / "mutants" / "double-vote.toml").read_text()
    path.write_text(text.replace("before = '''", "before = '''no such line"))
    with pytest.raises(UsageError, match="mutant stale does not fit"):
        mutants.load(path).plant(ROOT, tmp_path / "out")


@pytest.mark.parametrize(
    "text",
    ["part = 1\n", "not toml", 'part = "9Z"\ntitle=""\nmisconception=""\nsection=""\nfile=""\nbefore=""\nafter=""\n'],
)
def test_a_malformed_mutant_is_an_error(tmp_path, text):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"bad\.toml"):
        mutants.load(path)
