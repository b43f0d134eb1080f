"""`tester grade` and `tester check`, from the command line to the points."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from labrpc.errors import UsageError
from tester.cli import app
from tester.grade import world
from tester.grade.store import FILE, Store
from tests.harness.grade.a_class import ROOT, Student, make_class

SECRET = "correct horse battery staple"
CODE_OF_STOPPED = 130


@pytest.fixture(scope="module")
def students(tmp_path_factory: pytest.TempPathFactory) -> list[Student]:
    """A correct one as a folder, a mistake in an archive each, and one that has the second's."""
    names = ["double-vote", "leader-silent-at-first", "double-vote"]
    return make_class(tmp_path_factory.mktemp("class"), 4, names=names)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Where commands are run; it has a secret."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(world, "why_not_sandboxed", lambda: "")
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "seeds").write_text("11\n12\n13\n")
    return tmp_path


def command_line(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def grade(students: list[Student], *arguments: object, out: str = "out", runs: int = 2, workers: int = 2) -> Result:
    fixed = ("--parts", "2A", "--runs", runs, "--hidden-seed-file", "secret", "--out", out, "-n", workers)
    return command_line("grade", students[0].path.parent, *fixed, *arguments)


def found(out: str | Path) -> list[object]:
    """All that results are made of, but for what differs from machine to machine."""
    with Store(Path(out)) as store:
        outcomes = [each for submission in store.submissions() for each in store.outcomes(submission.digest)]
        facts = [
            (each.job, each.status, each.verdict, each.journal_hash, each.virtual_s, store.artefacts(each.job))
            for each in outcomes
        ]
        return [store.submissions(), store.refusals(), facts]


# ------------------------------------------------------------------ grading


def test_a_class_gets_its_points_and_one_and_two_workers_find_the_same(folder, students):
    result = grade(students, "--json", workers=2)
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    points = {name: each["score"] for name, each in said["submissions"].items()}
    assert points["student-000"] == 30
    assert points["student-002"] <= 20, "no leader at first: test_initial_election fails under any seed"
    assert points["student-001"] == points["student-003"] < 30, "one mistake, as zip and as repository"
    assert "[4/4]" not in result.stderr
    assert "student-001, student-003: 6 runs," in result.stderr
    assert "[1/3] student-000: 6 runs, all passed" in result.stderr
    assert grade(students, out="alone", workers=1).exit_code == 0
    assert found("out") == found("alone")
    assert not (folder / "out" / "work").exists()
    seeds = [fact[0].seed for fact in found("out")[2]]
    assert len(set(seeds)) == len({fact[0] for fact in found("out")[2]}), "each run has a seed of its own"


def test_the_table_has_points_by_part_and_refusals_are_told(folder, students):
    (folder / "bad.zip").write_bytes(b"PK\3\4 nonsense")
    arguments = ("--parts", "2A", "--seeds", "seeds", "--out", "out", "-n", 2)
    result = command_line("grade", students[2].path, "bad.zip", *arguments)
    assert result.exit_code == 1
    assert "2A of 30" in result.stdout
    assert "student-002" in result.stdout
    assert "refused: bad: the zip is damaged" in result.stderr
    assert "9 runs" in result.stderr, "as many as there are seeds"
    facts = found("out")[2]
    assert {fact[0].seed for fact in facts} == {11, 12, 13}
    failed = next(fact for fact in facts if fact[5])
    assert f"tester replay {failed[0].test} --seed {failed[0].seed}\n" in failed[5]["report.txt"].decode()


def test_the_secret_is_in_no_file_and_in_no_output(folder, students):
    result = grade(students[:1], "--json")
    written = [path.read_bytes() for path in (folder / "out").rglob("*") if path.is_file()]
    assert written
    assert not any(SECRET.encode() in content for content in written)
    assert SECRET not in result.output
    warned = command_line(
        "grade", students[0].path, "--parts", "2A", "--runs", 1, "--hidden-seed", SECRET, "--out", "other"
    )
    assert "--hidden-seed can be read by everybody on this machine" in warned.stderr
    assert SECRET not in warned.output
    one = found("other")[2]
    first_runs = [fact for fact in found("out")[2] if fact[0].run == 0 and fact[0].digest == one[0][0].digest]
    assert one == first_runs, "the same secret, however it is given"


def test_the_courses_rules_count(folder, students):
    (folder / "course.toml").write_text(
        'name = "Raft"\nruns = 1\n[test.test_re_election]\npoints = 70\n[late]\npercent_per_day = 50\n'
    )
    (folder / "late.csv").write_text("name,days_late\nstudent-000,0.5\n")
    course = ("--course", "course.toml", "--submitted", "late.csv", "--parts", "2A", "--seeds", "seeds")
    result = command_line("grade", students[0].path, *course, "--out", "out", "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["course"] == "Raft"
    [result] = said["submissions"].values()
    facts = result["extra_data"]["raftlab"]
    assert (facts["earned"], facts["late"], result["score"]) == (90, {"days": 0.5, "deduction": 45}, 45)
    assert said == json.loads((folder / "out" / "class.json").read_text())


# ------------------------------------------------------------------ going on


def process(students: list[Student], *, runs: int, **options: object) -> subprocess.Popen[str]:
    command = [
        sys.executable, "-m", "tester", "grade", str(students[0].path.parent), "--parts", "2A", "--runs", str(runs),
        "--hidden-seed-file", "secret", "--out", "out", "-n", "2", "--allow-unsandboxed",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def rows() -> list[tuple[object, ...]]:
    """What is kept now."""
    if not Path("out", FILE).exists():
        return []
    with sqlite3.connect(Path("out", FILE)) as database:
        try:
            return database.execute("SELECT * FROM outcomes ORDER BY digest, test, run").fetchall()
        except sqlite3.OperationalError:
            return []


def wait_for(count: int, running: subprocess.Popen[str]) -> None:
    while len(rows()) < count:
        assert running.poll() is None, running.communicate()
        time.sleep(0.02)


def test_a_killed_grading_goes_on_where_it_was_and_repeats_nothing(folder, students):
    for least in (3, 8):
        with process(students, runs=4) as running:
            wait_for(least, running)
            workers = [int(pid) for pid in Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()]
            running.send_signal(signal.SIGKILL)
        killed = rows()
        assert least <= len(killed) < 36
        deadline = time.monotonic() + 20
        while any(Path(f"/proc/{pid}").exists() for pid in workers):
            assert time.monotonic() < deadline, "a worker outlives its grading"
            time.sleep(0.05)
    result = grade(students, runs=4)
    assert result.exit_code == 0, result.output
    assert f"{len(killed)} of 36 runs are known already" in result.stderr
    now = rows()
    assert len(now) == 36
    assert set(killed) <= set(now), "with their CPU times: none was run again"
    assert grade(students, out="whole", runs=4).exit_code == 0
    assert found("out") == found("whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_says_so_and_keeps_what_was_done(folder, students, number):
    with process(students, runs=40) as running:
        wait_for(2, running)
        running.send_signal(number)
        _, said = running.communicate(timeout=60)
    assert running.returncode == CODE_OF_STOPPED
    assert "stopped; what was run is kept, and the same command goes on from there" in said
    assert "Traceback" not in said
    assert 2 <= len(rows()) < 360
    assert not (folder / "out" / "work").exists()


def test_two_cannot_grade_into_one_folder(folder, students):
    with process(students, runs=40) as running:
        wait_for(1, running)
        result = grade(students)
        assert isinstance(result.exception, UsageError)
        assert "another process grades into out" in str(result.exception)
        running.kill()


def test_another_secret_is_refused(folder, students):
    assert grade(students[:1], runs=1).exit_code == 0
    (folder / "secret").write_text(SECRET + "?")
    result = grade(students[:1], runs=1)
    assert isinstance(result.exception, UsageError)
    assert "is a grading under other seeds (a hidden seed; now: a hidden seed)" in str(result.exception)


# ------------------------------------------------------------------ mistakes of the user


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["no-such", "--seeds", "seeds"], "there is no no-such"),
        (["."], "under which seeds? give one of --hidden-seed-file FILE"),
        ([".", "--seeds", "seeds", "--hidden-seed-file", "secret"], "under which seeds?"),
        ([".", "--seeds", "seeds", "--parts", "2E"], "there is no part 2E; there are 2A, 2B"),
        ([".", "--seeds", "seeds", "--runs", "4"], "4 runs of a test are wanted, and there are 3 seeds"),
        ([".", "--seeds", "seeds", "--course", "none.toml"], "none.toml cannot be read"),
        ([".", "--seeds", "seeds", "--submitted", "a", "--late-by-commit"], "both say how late a submission is"),
        ([".", "--seeds", "none"], "--seeds none cannot be read"),
        (["folder", "--seeds", "seeds"], "folder holds neither raft/ nor kvraft/"),
    ],
)
def test_a_mistake_of_the_user_is_told(folder, arguments, expected):
    (folder / "folder").mkdir()
    result = command_line("grade", *arguments, "--out", "out")
    assert isinstance(result.exception, UsageError), result.output
    assert expected in str(result.exception)


def test_without_a_sandbox_it_is_refused_unless_allowed(folder, students, monkeypatch):
    monkeypatch.setattr(world, "why_not_sandboxed", lambda: "no bubblewrap")
    result = grade(students[:1], runs=1)
    assert isinstance(result.exception, UsageError)
    assert "would not be sandboxed (no bubblewrap); with --allow-unsandboxed they run as you" in str(result.exception)
    allowed = grade(students[:1], "--allow-unsandboxed", runs=1)
    assert allowed.exit_code == 0
    assert "not sandboxed: no bubblewrap" in allowed.stderr


def test_the_help_teaches():
    text = " ".join(command_line("grade", "--help").output.split())
    assert "tester grade hand-ins/ --parts 2A,2B --runs 20 --hidden-seed-file secret --out grades" in text
    assert "the same command goes on from there" in text
    assert "tester check --parts 2A,2B --runs 50" in command_line("check", "--help").output


# ------------------------------------------------------------------ tester check


def test_a_student_checks_the_tree_they_stand_in(folder, students, monkeypatch):
    monkeypatch.chdir(students[0].path)
    result = command_line("check", "--parts", "2A", "--runs", 1, "-n", 2)
    assert result.exit_code == 0, result.output
    assert "part 2A, leader election: 30 of 30 points" in result.stdout
    assert "test_re_election: 1 of 1 runs passed, 10 of 10 points" in result.stdout


def test_what_fails_can_be_had_again_with_the_command_that_is_printed(folder, students):
    tree = folder / "mine"
    shutil.unpack_archive(students[1].path, tree)
    (solution,) = tree.iterdir()
    result = command_line("check", solution, "--parts", "2A", "--runs", 2, "-n", 2)
    assert result.exit_code == 1, result.output
    lines = result.stdout.splitlines()
    place = next(number for number, line in enumerate(lines) if "tester replay" in line)
    assert "at most one vote per term" in lines[place - 1]
    arguments = lines[place].split()[1:]
    assert arguments[-2:] == ["--solution", str(solution)]
    again = subprocess.run(
        [sys.executable, "-m", "tester", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 1
    assert lines[place - 1].strip() in again.stdout, "the same verdict, with servers as threads"


def test_a_check_tells_part_by_part_and_stopped_what_it_knows(students):
    command = [sys.executable, "-u", "-m", "tester", "check", str(students[0].path), "--parts", "2A,2B"]
    command += ["--runs", "30", "-n", "2"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("part 2A, leader election: 30 of 30 points")
        assert [running.stdout.readline().split()[1] for _ in range(3)] == ["30"] * 3
        time.sleep(0.5)  # it is at part 2B by now
        running.send_signal(signal.SIGINT)
        rest = running.stdout.read()
    assert running.returncode == CODE_OF_STOPPED
    assert "part 2B, log: 0 of 60 points" in rest
    assert re.search(r"test_backup: unresolved: \d+ of 30 runs were not made; points pending: 0 to 5", rest)


def test_what_would_be_refused_is_told_to_the_student(folder):
    (folder / "raft").mkdir()
    (folder / "raft" / "x.py").symlink_to("/etc/passwd")
    result = command_line("check", ".", "--parts", "2A")
    assert isinstance(result.exception, UsageError)
    assert ". would be refused: 'raft/x.py' is a link" in str(result.exception)


def test_a_part_of_which_nothing_is_written_is_told_in_one_line(folder):
    (folder / "raft").mkdir()
    (folder / "raft" / "__init__.py").write_text(
        "ApplyMsg = dict\n\n\nclass Raft:\n    def __init__(self, peers, me, persister, apply_ch):\n"
        "        raise NotImplementedError('2A: begin')\n"
    )
    result = command_line("check", ".", "--parts", "2A", "--runs", 1, "-n", 2)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[0] == "part 2A, leader election: 0 of 30 points"
    assert result.stdout.splitlines()[1].startswith(
        "  every test fails alike: Raft.__init__ is not implemented yet; 2A: begin"
    )
    assert len(result.stdout.splitlines()) == 2
