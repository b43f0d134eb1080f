"""The gallery: its pages are what the code makes of its kept runs, and its mistakes are caught."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from labrpc.errors import UsageError
from tester import mutants
from tester.cli import app
from tester.gallery.entries import load_entries
from tester.graded import graded_test
from tester.run import Options, Run

ROOT = Path(__file__).parents[2]
GALLERY = ROOT / "docs" / "gallery"
MUTANTS = ROOT / "tests" / "mutants"


def command_line(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A copy of the gallery."""
    return Path(shutil.copytree(GALLERY, tmp_path / "gallery"))


# ------------------------------------------------------------------ pages


def test_the_pages_are_what_the_kept_runs_show():
    result = command_line("gallery", "--check")
    assert result.exit_code == 0, result.output
    assert "21 files are as they should be" in result.output


def test_a_changed_page_is_named_and_can_be_renewed(folder):
    page = folder / "double-vote.md"
    made = page.read_text()
    page.write_text(made.replace("voted for", "noted for"))
    (folder / "never-maybe.svg").unlink()
    result = command_line("gallery", "--check", "--out", str(folder))
    assert result.exit_code == 1
    assert "double-vote.md is not what its run shows today; renew it with: tester gallery" in result.output
    assert "never-maybe.svg is missing" in result.output
    assert len(result.output.splitlines()) == 2
    assert command_line("gallery", "double-vote", "--out", str(folder)).exit_code == 0
    assert page.read_text() == made
    assert command_line("gallery", "double-vote", "--check", "--out", str(folder)).exit_code == 0


def test_a_run_that_fails_no_more_is_named_and_found_again(folder):
    kept = folder / "vote-not-saved.json"
    found = kept.read_text()
    kept.write_text(found.replace("test_initial_election", "test_re_election"))
    result = command_line("gallery", "--check", "vote-not-saved", "--out", str(folder))
    assert result.exit_code == 1
    assert "vote-not-saved.json holds no run that fails; renew it with: tester gallery vote-not-saved" in result.output
    assert command_line("gallery", "vote-not-saved", "--out", str(folder)).exit_code == 0
    assert kept.read_text() == found, "the same seed shrinks to the same run"
    assert command_line("gallery", "--check", "--out", str(folder)).exit_code == 0


def test_nothing_of_this_machine_is_on_a_page():
    for file in GALLERY.iterdir():
        text = file.read_text()
        assert str(ROOT) not in text
        assert "/tmp" not in text
        addresses = set(re.findall(r"https?://[^\s\"'<>)]+", text))
        assert addresses <= {"http://www.w3.org/2000/svg"}, f"{file.name} would load something"


# ------------------------------------------------------------------ mistakes of the user, and of ours


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["gallery", "no-such"], "no mistake no-such in the gallery; there are double-vote, "),
        (["gallery", "--search", "--check"], "give one of them"),
        (["plant", "no-such", "x"], "no mutant no-such; there are always-maybe, "),
        (["plant", "double-vote", __file__], f"cannot write into {__file__}: "),
    ],
)
def test_a_mistake_of_the_user_is_told(arguments, expected):
    result = command_line(*arguments)
    assert isinstance(result.exception, UsageError)
    assert expected in str(result.exception)


def test_a_mutant_that_no_longer_fits_is_an_error(monkeypatch, tmp_path, folder):
    changed = shutil.copytree(MUTANTS, tmp_path / "mutants")
    text = (changed / "double-vote.toml").read_text()
    (changed / "double-vote.toml").write_text(text.replace("before = '''", "before = '''no such line"))
    monkeypatch.setattr(mutants, "FOLDER", changed)
    result = command_line("gallery", "--check", "--out", str(folder))
    assert isinstance(result.exception, UsageError)
    assert "mutant double-vote does not fit raft/raft.py" in str(result.exception)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ('mutant = "m"', "look at look, mend, name, test"),
        ('mutant = "m"\nname = ""\ntest = ""\nlook = ""\nmend = 3', "mend is 3, not text"),
        ("no toml", "entries.toml: "),
    ],
)
def test_a_malformed_entry_is_an_error(tmp_path, entry, expected):
    file = tmp_path / "entries.toml"
    file.write_text(f"[[mistake]]\n{entry}\n")
    with pytest.raises(UsageError, match=expected):
        load_entries(file)


# ------------------------------------------------------------------ planting


def test_a_planted_mistake_is_the_reference_but_for_it(tmp_path):
    folder = tmp_path / "planted"
    result = command_line("plant", "double-vote", str(folder))
    assert result.exit_code == 0
    assert "one mistake: it votes twice in a term" in result.output
    assert (folder / "raft" / "raft.py").read_text() != (ROOT / "raft" / "raft.py").read_text()
    assert (folder / "raft" / "log.py").read_text() == (ROOT / "raft" / "log.py").read_text()
    again = command_line("plant", "double-vote", str(folder))
    assert "is there already; remove it, or name another folder" in str(again.exception)


# ------------------------------------------------------------------ the mistakes are caught


@pytest.mark.parametrize(
    ("mutant", "test", "seed", "verdict"),
    [
        ("old-votes-counted", "test_many_elections", 10, "by the votes of a majority"),
        ("applies-on-many-threads", "test_rpc_count", 6, "entries are applied in log order, each once"),
        ("heartbeats-do-not-count", "test_basic_agree", 8, "while the term went from 1 to"),
        ("heartbeats-do-not-count", "test_rpc_bytes", 5, "while the term went from 1 to"),
        ("lock-held-across-a-call", "test_re_election", 1, "where it waits for the reply of"),
        ("lock-held-while-applying", "test_snapshot_basic", 1, "where it waits for a free place in a Queue"),
        ("lock-held-while-applying", "test_snapshot_install", 1, "where it waits for a free place in a Queue"),
        ("cut-by-every-append", "test_reliable_churn", 2, "a log is cut only where an entry conflicts"),
        ("match-is-the-log-of-now", "test_concurrent_starts", 1, "committed once a majority has it"),
    ],
)
def test_the_graded_tests_catch_it(tmp_path, mutant, test, seed, verdict):
    solution = mutants.load(MUTANTS / f"{mutant}.toml").plant(ROOT, tmp_path)
    run = Run(seed, Options(solution=solution, schedule="uniform"))
    error = graded_test(test).attempt(run)
    run.close()
    assert verdict in str(error)
