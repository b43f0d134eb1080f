"""The planted mistakes: they fit, there are enough of each part, and `tester mutants` shows that tests catch them."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from labrpc.disturbance import SCHEDULES
from labrpc.errors import HarnessError, UsageError
from tester import mutants
from tester.attempts import first
from tester.cli import app
from tester.graded import graded_tests
from tester.matrix import campaign
from tester.matrix.campaign import Job
from tester.matrix.comparison import compare
from tester.matrix.finding import Finding, order
from tester.matrix.results import Results, key_of
from tester.matrix.trial import Trial, trial_of
from tester.mutants import Mutant
from tester.parts import PARTS
from tester.run import Options

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / mutants.FOLDER
MUTANTS = sorted(FOLDER.glob("*.toml"))
RUNS = Path(".raftlab") / "mutants" / "runs.jsonl"

EQUIVALENT = """\
part = "2A"
title = "says the same in other words"
misconception = "None."
section = "§5"
file = "raft/rules.py"
before = "return servers // 2 + 1"
after = "return 1 + servers // 2"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """Where the command is run, and keeps its results."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command_line(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["mutants", *arguments])


def kept() -> list[dict]:
    return [json.loads(line) for line in RUNS.read_text().splitlines()]


# ------------------------------------------------------------------ the mistakes


@pytest.mark.parametrize("path", MUTANTS, ids=lambda path: path.stem)
def test_every_mutant_fits_the_reference_and_compiles(path, tmp_path):
    mutant = mutants.load(path)
    changed = (mutant.plant(ROOT, tmp_path) / mutant.file).read_text()
    assert changed != (ROOT / mutant.file).read_text()
    compile(changed, mutant.file, "exec")
    assert not mutant.title.endswith("."), "a title goes on in a sentence"
    assert mutant.misconception.endswith((".", "?")), "a misconception is a sentence"


def test_there_are_enough_mistakes_of_each_part_and_no_two_are_the_same():
    known = mutants.load_all(FOLDER)
    count = Counter(mutant.part for mutant in known)
    least = {"2A": 10, "2B": 12, "2C": 8, "2D": 8, "3A": 5, "3B": 7}
    assert {part: count[part] for part in least if count[part] < least[part]} == {}
    assert count["4A"] + count["4B"] >= 10
    for what in ("title", "misconception"):
        twice = [text for text, times in Counter(getattr(each, what) for each in known).items() if times > 1]
        assert twice == []
    assert len({mutant.difference(ROOT) for mutant in known}) == len(known)


def test_a_mutant_that_no_longer_fits_is_an_error(tmp_path):
    path = tmp_path / "stale.toml"
    text = (FOLDER / "double-vote.toml").read_text()
    path.write_text(text.replace("before = '''", "before = '''no such line"))
    with pytest.raises(UsageError, match="mutant stale does not fit"):
        mutants.load(path).plant(ROOT, tmp_path / "out")
    result = command_line("--folder", str(tmp_path))
    assert "mutant stale does not fit" in str(result.exception)


@pytest.mark.parametrize(
    "text",
    ["part = 1\n", "not toml", 'part = "9Z"\ntitle=""\nmisconception=""\nsection=""\nfile=""\nbefore=""\nafter=""\n'],
)
def test_a_malformed_mutant_is_an_error(tmp_path, text):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"bad\.toml"):
        mutants.load(path)


# ------------------------------------------------------------------ the command


def test_a_sample_of_the_mistakes_is_caught():
    names = [
        "applier-not-woken", "candidate-defies-the-leader", "clerk-never-changes-server", "leader-silent-at-first",
        "newer-version-is-fine", "own-vote-not-restored", "reader-waits-with-the-lock", "snapshot-sent-for-ever",
        "vote-outlives-its-term",
    ]  # fmt: skip
    result = command_line(*names, "--runs", "12", "--json", "out.json")
    assert result.exit_code == 0, result.output
    assert f"in all: {len(names)} of {len(names)} caught (100 %)" in result.output
    found = json.loads(Path("out.json").read_text())["mutants"]
    assert sorted(each["mutant"] for each in found) == names
    assert {each["first"]["seed"] for each in found} == {1}


@pytest.mark.parametrize(
    ("mutant", "test", "verdict"),
    [
        ("leader-silent-at-first", "test_initial_election", "in 2 s though nothing failed"),
        ("candidate-defies-the-leader", "test_many_elections", "from the leader of term"),
        ("any-vote-request-resets-the-timer", "test_only_one_can_lead", "do vote requests that it must refuse reset"),
        ("back-by-one", "test_fast_backup", "does next_index go back by one entry a rejection?"),
        ("late-answers-counted", "test_late_acknowledgements", "IndexError"),
        ("snapshot-installed-again", "test_snapshot_install", "must not take the state back"),
    ],
)
def test_a_test_sharpened_for_a_mistake_catches_it(tmp_path, mutant, test, verdict):
    solution = mutants.load(FOLDER / f"{mutant}.toml").plant(ROOT, tmp_path / "solution")
    found = first(
        ((test, seed) for seed in range(1, 13)), Options(solution=solution), lambda each: trial_of(each).verdict or None
    )
    assert found is not None
    assert verdict in found


def test_a_mistake_that_survives_is_named_and_is_exit_code_1(tmp_path):
    mistakes = tmp_path / "mistakes"
    mistakes.mkdir()
    (mistakes / "nothing-wrong.toml").write_text(EQUIVALENT)
    (mistakes / "double-vote.toml").write_text((FOLDER / "double-vote.toml").read_text())
    page = tmp_path / "page.md"
    result = command_line("--folder", str(mistakes), "--runs", "2", "--full", "--out", str(page))
    assert result.exit_code == 1, result.output
    assert "1 of 2 survives: nothing-wrong; try more seeds (--runs 20), or sharpen a test" in result.output
    assert "part 2A: 1 of 2 caught (50 %)" in result.output
    assert len(kept()) == 2 * 2 * len(graded_tests("2A")), "every test under every seed"
    text = page.read_text()
    assert "| 2A | 2 | 1 (50 %) | 1 |" in text
    assert "says the same in other words (§5) | “None.” | 0 of 2 | **survives** |  |" in text
    assert "`test_many_elections` 2" in text
    assert str(tmp_path) not in text
    again = command_line("--folder", str(mistakes), "--runs", "2", "--full", "--out", str(page), "--fresh")
    assert again.exit_code == 1
    assert page.read_text() == text, "the same runs make the same page"
    assert command_line("--folder", str(mistakes), "--runs", "2", "--out", str(page)).exit_code == 1
    assert "all under seed 1, then all under seed 2, and so on up to 2, until one" in page.read_text()
    assert "(§5) | “None.” | **survives** |  |" in page.read_text()


def test_runs_end_at_the_first_catch_and_a_fuller_campaign_goes_on_from_there():
    assert command_line("double-vote", "--runs", "3").exit_code == 0
    first = kept()
    assert [bool(line["verdict"]) for line in first] == [False] * (len(first) - 1) + [True]
    assert command_line("double-vote", "--runs", "3").exit_code == 0
    assert kept() == first, "all of it was known"
    result = command_line("double-vote", "--runs", "3", "--full")
    assert kept()[: len(first)] == first
    assert len(kept()) == 9
    assert "3 of 3" in result.output
    command_line("double-vote", "--runs", "1", "--all-parts")
    parts = {test.name: part for part in PARTS for test in graded_tests(part)}
    assert {parts[line["test"]] for line in kept()} == set(PARTS)


def test_a_killed_campaign_goes_on_where_it_was(tmp_path):
    command = [sys.executable, "-m", "tester", "mutants", "double-vote", "--runs", "30", "--full"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        while process.poll() is None and not (RUNS.exists() and RUNS.read_text().count("\n") >= 5):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    killed = kept()
    assert 5 <= len(killed) < 90
    with RUNS.open("a") as file:
        file.write('{"mutant": "double-vote", "key"')  # as a kill may leave it
    assert command_line("double-vote", "--runs", "30", "--full").exit_code == 0
    assert kept()[: len(killed)] == killed
    runs = [(line["test"], line["seed"]) for line in kept()]
    assert sorted(runs) == sorted(order([test.name for test in graded_tests("2A")], 30)), "each once"


def test_ctrl_c_says_that_the_same_command_goes_on():
    command = [sys.executable, "-m", "tester", "mutants", "double-vote", "--runs", "60", "--full"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (RUNS.exists() and RUNS.read_text()):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "stopped; what was run is kept, and the same command goes on from there" in said


def test_schedules_are_compared_on_the_same_mistakes_and_seeds():
    names = ["double-vote", "leader-by-plurality"]
    command = [*names, "--schedules", "--runs", "2", "--json", "out.json", "--out", "out.md"]
    assert command_line(*command).exit_code == 0
    assert {(line["mutant"], line["schedule"]) for line in kept()} == set(itertools.product(names, SCHEDULES))
    rows = json.loads(Path("out.json").read_text())["schedules"]
    assert [row["schedule"] for row in rows] == list(SCHEDULES)
    for row in rows:
        firsts = [line for line in kept() if line["schedule"] == row["schedule"]]
        assert row["cpu_s"] == pytest.approx(sum(line["cpu_s"] for line in firsts), abs=0.06)
        assert row["mean_runs"] == len(firsts) / 2
        assert row["caught"] == sum(bool(line["verdict"]) for line in firsts)
    page = Path("out.md").read_text()
    assert "## The schedules compared" in page
    assert "tester mutants --schedules --runs 2 --out" in page
    assert all(f"| {name} | " in page for name in SCHEDULES)

    before = len(kept())
    assert command_line("double-vote", "--runs", "2", "--schedule", "pct", "--out", "pct.md").exit_code == 0
    assert len(kept()) == before, "that was known"
    assert "tester mutants --schedule pct --runs 2" in Path("pct.md").read_text()


def test_what_only_one_schedule_finds_and_what_it_finds_much_sooner():
    known = mutants.load_all(FOLDER)[:3]

    def findings(schedule: str, *seeds: int) -> list[Finding]:
        """Of the first three mistakes, caught under these seeds; 0: not at all."""
        found = []
        for mutant, seed in zip(known, seeds, strict=True):
            trials = [Trial("x", each, "no" if each == seed else "", cpu_s=0.5) for each in range(1, (seed or 20) + 1)]
            found.append(Finding(mutant, 20, False, trials, {}, schedule))
        return found

    compared = {"mix": (1, 1, 1), "uniform": (8, 0, 1), "swarm": (2, 5, 1), "pct": (9, 0, 4)}
    rows = {row.schedule: row for row in compare({name: findings(name, *seeds) for name, seeds in compared.items()})}
    names = [mutant.name for mutant in known]
    assert (rows["swarm"].only, rows["swarm"].sooner) == ([names[1]], [names[0]])
    for name in ("mix", "uniform", "pct"):
        assert (rows[name].only, rows[name].sooner) == ([], [])
    uniform = rows["uniform"]
    assert (uniform.at_once, uniform.caught, uniform.mistakes) == (1, 2, 3)
    assert (uniform.mean_runs, uniform.median_runs, uniform.cpu_s) == (9.7, 8, 14.5)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["no-such"], "no mutant no-such; there are always-maybe, "),
        (["--part", "2E"], "there is no part 2E; there are 2A, 2B"),
        (["double-vote", "--part", "3A"], "none of the mutants named is of part 3A"),
        (["--json", "no/such/file"], "no/such is no folder"),
        (["--schedule", "often"], "--schedule often is not one of mix, uniform, swarm, pct, none"),
        (["--folder", "nowhere"], "in a checkout of it: there is no nowhere"),
    ],
)
def test_a_mistake_of_the_user_is_told(arguments, expected):
    result = command_line(*arguments)
    assert isinstance(result.exception, UsageError)
    assert expected in str(result.exception)
    assert not RUNS.exists()


def test_the_help_has_an_example():
    result = command_line("--help")
    assert "tester mutants double-vote --runs 40 --full" in result.output
    assert command_line("--runs", "0").exit_code == 2


def test_a_worker_that_dies_is_a_fault_of_the_harness(monkeypatch):
    monkeypatch.setattr(campaign.sys, "executable", "/bin/false")
    result = command_line("double-vote")
    assert isinstance(result.exception, HarnessError)
    assert "the worker of double-vote ended with 1" in str(result.exception)


def test_the_page_of_the_project_has_every_mistake():
    text = (ROOT / "docs" / "mutants.md").read_text()
    assert [path.stem for path in MUTANTS if f"[{path.stem}](../tests/mutants/{path.stem}.toml)" not in text] == []
    assert f"# {len(MUTANTS)} planted mistakes" in text


# ------------------------------------------------------------------ what is kept


def test_results_count_as_long_as_neither_the_mistake_nor_the_code_changes(tmp_path):
    mutant = mutants.load(FOLDER / "double-vote.toml")
    key = key_of(mutant, ROOT)
    assert key == key_of(mutant, ROOT)
    assert key != key_of(Mutant(**{**vars(mutant), "after": "pass"}), ROOT)
    for name in ("labrpc", "tests/labs"):
        (tmp_path / name).mkdir(parents=True)
    empty = key_of(mutant, tmp_path)
    (tmp_path / "tests" / "labs" / "test_x.py").write_text("")
    assert key_of(mutant, tmp_path) != empty

    file = tmp_path / "runs.jsonl"
    a, b, a_pct = ("a", "mix"), ("b", "mix"), ("a", "pct")
    Results(file, {a: "1", b: "1", a_pct: "1"}).add(a, Trial("test_x", 1, verdict="no"))
    assert Results(file, {b: "1"}).known(b) == {}
    assert Results(file, {a: "1"}).known(a) == {("test_x", 1): Trial("test_x", 1, verdict="no")}
    assert Results(file, {a_pct: "1"}).known(a_pct) == {}, "of another schedule"
    assert Results(file, {a: "2"}).known(a) == {}, "of older code"
    assert file.read_text() == ""


def test_what_a_known_catch_makes_needless_is_not_run():
    mutant = mutants.load(FOLDER / "double-vote.toml")
    runs = order(["x", "y"], 3)
    known = {("x", 1): Trial("x", 1), ("x", 2): Trial("x", 2, verdict="no")}
    assert runs[:3] == [("x", 1), ("y", 1), ("x", 2)]
    assert Job(mutant, {"2A": runs}, 3, full=False).missing(known) == [[("y", 1)]]
    assert Job(mutant, {"2A": runs}, 3, full=True).missing(known) == [[("y", 1), ("y", 2), ("x", 3), ("y", 3)]]
    assert Job(mutant, {"2A": runs}, 3, full=False).missing({**known, ("y", 1): Trial("y", 1, verdict="no")}) == [[]]
