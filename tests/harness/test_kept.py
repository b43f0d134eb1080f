"""How commands find a run by what the user types, and what they make of a journal that is not as it should be."""

from __future__ import annotations

import io
import os
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from labrpc.errors import UsageError
from labrpc.journal import Booted, Journal, Saved
from tester.failures import FOLDER, Failure
from tester.kept import KeptRun, find_run, load

EVENTS = [Booted(0, "0", 1, 0, 0), Saved(5, "0", 1), Saved(6, "0", 2)]


def write_journal(path: Path, cut: int = 0) -> Path:
    journal = Journal()
    for event in EVENTS:
        journal.append(event)
    file = io.BytesIO()
    journal.write(file)
    path.write_bytes(file.getvalue()[: -cut or None])
    return path


def keep(root: Path, test: str, seed: int, at: int) -> Path:
    folder = root / FOLDER / f"{test}-seed-{seed}"
    folder.mkdir(parents=True)
    write_journal(folder / "run.journal")
    failure = Failure(test=test, seed=seed, verdict="it broke", virtual_seconds=1, journal_hash="", replay="")
    (folder / "failure.json").write_bytes(msgspec.json.encode(failure))
    os.utime(folder / "failure.json", (at, at))
    return folder


def loaded(path: Path) -> tuple[Journal, str]:
    out = io.StringIO()
    return load(KeptRun(path), Console(file=out, width=1000)), out.getvalue()


# ------------------------------------------------------------------ which run


def test_nothing_is_the_latest_failure(tmp_path):
    keep(tmp_path, "test_x", 1, at=1)
    latest = keep(tmp_path, "test_y", 2, at=3)
    keep(tmp_path, "test_z", 3, at=2)
    run = find_run(None, tmp_path)
    assert (run.folder, run.journal) == (latest, latest / "run.journal")
    assert run.failure is not None
    assert (run.failure.test, run.failure.seed, run.title) == ("test_y", 2, "test_y, seed 2")


@pytest.mark.parametrize("name", ["test_x-seed-1", "{folder}", "{folder}/run.journal"])
def test_a_failure_is_found_by_its_name_its_folder_and_its_journal(tmp_path, name):
    folder = keep(tmp_path, "test_x", 1, at=1)
    keep(tmp_path, "test_y", 2, at=2)
    run = find_run(name.format(folder=folder), tmp_path)
    assert run.journal == folder / "run.journal"
    assert run.title == "test_x, seed 1"


def test_a_journal_is_found_anywhere(tmp_path):
    path = write_journal(tmp_path / "some.journal")
    run = find_run(str(path), tmp_path)
    assert (run.journal, run.failure, run.title) == (path, None, "some.journal")


def test_another_journal_in_a_failures_folder_is_not_that_failure(tmp_path):
    folder = keep(tmp_path, "test_x", 1, at=1)
    assert find_run(str(write_journal(folder / "other.journal")), tmp_path).failure is None


def test_a_damaged_record_of_a_failure_leaves_its_journal(tmp_path):
    folder = keep(tmp_path, "test_x", 1, at=1)
    (folder / "failure.json").write_bytes(b"\xff{")
    run = find_run("test_x-seed-1", tmp_path)
    assert (run.failure, run.title) == (None, "run.journal")


def test_if_nothing_is_kept_it_says_what_to_do(tmp_path):
    place = tmp_path / FOLDER
    with pytest.raises(UsageError, match=f"^no failing run is kept in {place}; run pytest first, or name a journal$"):
        find_run(None, tmp_path)
    with pytest.raises(UsageError, match=f"there is no run 'x': .* no failing run is kept in {place}$"):
        find_run("x", tmp_path)


def test_a_run_that_there_is_not_is_answered_with_those_that_there_are(tmp_path):
    for seed in range(7):
        keep(tmp_path, "test_x", seed, at=seed)
    with pytest.raises(UsageError, match=r"there is no run 'test_x-seed-9': .*there are test_x-seed-6, .* and 2 more$"):
        find_run("test_x-seed-9", tmp_path)


@pytest.mark.parametrize("name", [None, "test_x-seed-1", "{folder}"])
def test_a_folder_without_a_journal_is_an_error(tmp_path, name):
    folder = keep(tmp_path, "test_x", 1, at=1)
    (folder / "run.journal").unlink()
    with pytest.raises(UsageError, match=f"there is no run.journal in {folder}"):
        find_run(name and name.format(folder=folder), tmp_path)


@pytest.mark.parametrize("name", ["", "x" * 5000, "a\0b", "\ud800", "../nothing"], ids=range(5))
def test_names_that_cannot_be_are_errors(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError):
        find_run(name, tmp_path)


# ------------------------------------------------------------------ its journal


def test_a_journal_is_read_without_a_word(tmp_path):
    journal, said = loaded(write_journal(tmp_path / "a"))
    assert (list(journal), journal.cut_short, said) == (EVENTS, False, "")


def test_of_a_journal_that_is_cut_short_there_is_the_whole_part_and_a_warning(tmp_path):
    path = write_journal(tmp_path / "a", cut=10)
    journal, said = loaded(path)
    assert (list(journal), journal.cut_short) == (EVENTS[:2], True)
    assert said == f"{path} is cut short: its end is missing, these are the 2 events before that\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"raftlab-journal 7\n", "of version 7; this raftlab reads up to version 1: update it"),
        (b"hello\n", "no journal: it begins with b'hello"),
        (b"raftlab-journal 1\n\0\0\0\1x", "no journal event after 0 events"),
    ],
    ids=["newer", "another file", "damaged"],
)
def test_what_cannot_be_read_is_an_error_that_names_the_file(tmp_path, data, message):
    path = tmp_path / "a.journal"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=message) as caught:
        loaded(path)
    assert str(path) in str(caught.value)


def test_a_journal_that_is_gone_is_an_error(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read .*gone: No such file or directory"):
        loaded(tmp_path / "gone")
