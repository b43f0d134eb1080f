"""The pytest plugin, as a student meets it: options, ids, reports, replay, determinism."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from labrpc.journal import Controlled, Journal
from tester import mutants
from tester.history import load_history

ROOT = Path(__file__).parents[2]
LABS = ROOT / "tests" / "labs" / "test_2a_election.py"


@pytest.fixture(scope="module")
def double_vote(tmp_path_factory) -> Path:
    """A solution whose servers vote twice in a term."""
    mutant = mutants.load(ROOT / "tests" / "mutants" / "double-vote.toml")
    return mutant.plant(ROOT, tmp_path_factory.mktemp("double-vote"))


def failing(run_pytest, double_vote: Path, *arguments: str) -> pytest.RunResult:
    result = run_pytest(
        "--solution", str(double_vote), "--seed", "0", "--runs", "40", "-x", "-k", "many_elections", *arguments
    )
    assert result.ret == 1
    return result


def test_a_part_is_selected_by_its_mark(run_pytest):
    result = run_pytest("-m", "2A", "--collect-only", "-q")
    result.stdout.fnmatch_lines(
        ["*::test_initial_election", "*::test_re_election", "*::test_many_elections", "3 tests*"]
    )
    assert run_pytest("-m", "2B", "--collect-only", "-q").ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_ids_do_not_depend_on_the_seed_and_runs_are_numbered(run_pytest):
    first = run_pytest("--runs", "2", "--collect-only", "-q").outlines[:6]
    second = run_pytest("--runs", "2", "--collect-only", "-q", "--seed", "99").outlines[:6]
    assert first == second
    assert first[0].endswith("::test_initial_election[run0]")
    assert first[1].endswith("::test_initial_election[run1]")


def test_without_a_seed_a_fresh_one_is_drawn_and_shown(run_pytest):
    seeds = set()
    for _ in range(2):
        result = run_pytest("--collect-only")
        match = re.search(r"raftlab: --seed (\d+); one run", result.stdout.str())
        assert match is not None
        seeds.add(match.group(1))
    assert len(seeds) == 2


def test_seed_and_hash_are_in_every_report_and_junit_file_and_repeat(run_pytest, tmp_path):
    hashes = []
    for servers in ("threads", "threads", "processes"):
        path = tmp_path / "results.xml"
        result = run_pytest("--seed", "0x10", "--runs", "2", "--servers", servers, f"--junitxml={path}")
        result.assert_outcomes(passed=6)
        cases = list(ElementTree.parse(path).iter("testcase"))
        properties = [{entry.get("name"): entry.get("value") for entry in case.iter("property")} for case in cases]
        assert [entry["seed"] for entry in properties] == ["16", "17"] * 3
        hashes.append([entry["journal_hash"] for entry in properties])
    assert hashes[0] == hashes[1] == hashes[2]
    assert len(set(hashes[0])) == 6


def test_a_failing_run_says_what_when_and_how_to_replay_it(run_pytest, double_vote):
    result = failing(run_pytest, double_vote)
    text = result.stdout.str()
    verdict = re.search(
        r"server \d voted for \d and for \d in term \d+ \(§5\.2: at most one vote per term\) at [\d.]+ s", text
    )
    assert verdict is not None, text
    for expected in (
        "seed  ",
        "virtual time  ",
        "journal  ",
        "timeline:",
        "what happens",
        "stands for term",
        "votes for",
    ):
        assert expected in text
    assert "tests/labs/test_2a_election.py:" in text
    assert "Traceback" not in text

    replay = re.search(r"replay  pytest (.+)", text)
    assert replay is not None
    again = run_pytest(*shlex.split(replay.group(1))[1:], tests=shlex.split(replay.group(1))[0])
    assert again.ret == 1
    assert verdict.group(0) in again.stdout.str()
    assert re.search(r"hash (\w+)", text).group(1) == re.search(r"hash (\w+)", again.stdout.str()).group(1)  # type: ignore[union-attr]


def test_the_report_shows_what_servers_printed(run_pytest, double_vote, tmp_path):
    solution = tmp_path / "talkative"
    mutants.load(ROOT / "tests" / "mutants" / "double-vote.toml").plant(ROOT, solution)
    file = solution / "raft" / "raft.py"
    text = file.read_text()
    file.write_text(
        text.replace(
            "        self.role = Role.CANDIDATE\n",
            "        self.role = Role.CANDIDATE\n        print('I stand for', self.current_term + 1)\n",
        )
    )
    silent, talkative = failing(run_pytest, double_vote).stdout.str(), failing(run_pytest, solution).stdout.str()
    assert "I stand for" in talkative
    assert re.search(r"hash (\w+)", silent).group(1) == re.search(r"hash (\w+)", talkative).group(1), (  # type: ignore[union-attr]
        "a print statement must not change the run"
    )


@pytest.mark.parametrize(
    ("no_color", "arguments", "coloured"), [("", ["--color=yes"], True), ("1", [], False), ("", [], False)]
)
def test_colour_only_where_it_is_wanted(run_pytest, double_vote, monkeypatch, no_color, arguments, coloured):
    monkeypatch.setenv("NO_COLOR", no_color)
    if not no_color:
        monkeypatch.delenv("NO_COLOR")
    assert ("\x1b[" in failing(run_pytest, double_vote, *arguments).stdout.str()) is coloured


def test_runs_of_one_test_spread_over_workers(run_pytest, tmp_path):
    path = tmp_path / "results.xml"
    result = run_pytest("--runs", "8", "-n", "2", "-k", "initial", "--seed", "5", "-v", f"--junitxml={path}")
    result.assert_outcomes(passed=8)
    workers = set(re.findall(r"\[(gw\d)\]", result.stdout.str()))
    assert workers == {"gw0", "gw1"}
    seeds = sorted(
        int(entry.get("value") or 0)
        for entry in ElementTree.parse(path).iter("property")
        if entry.get("name") == "seed"
    )
    assert seeds == list(range(5, 13))


def test_check_determinism_passes_on_the_reference(run_pytest):
    run_pytest("--check-determinism", "-k", "re_election", "--seed", "3").assert_outcomes(passed=1)


def test_check_determinism_names_the_first_event_that_differs(run_pytest, tmp_path):
    solution = tmp_path / "solution"
    mutants.load(ROOT / "tests" / "mutants" / "double-vote.toml").plant(ROOT, solution)
    file = solution / "raft" / "raft.py"
    reference = (ROOT / "raft" / "raft.py").read_text()
    # An object's address differs from process to process: the one thing a server can get at that no seed decides.
    file.write_text(reference.replace("random.uniform(*ELECTION_TIMEOUT)", "0.3 + (id(object()) >> 4) % 1000 / 5000"))
    result = run_pytest("--check-determinism", "-k", "initial", "--seed", "3", "--solution", str(solution))
    assert result.ret == 1
    text = result.stdout.str()
    assert "seed 3 is not the same run twice: event" in text
    assert "first run: " in text
    assert "second run: " in text


def test_journals_and_histories_are_kept_where_one_says(run_pytest, tmp_path):
    tests = str(LABS.with_name("test_4a_kvraft.py"))
    run_pytest("-k", "one_partition", "--seed", "3", "--journal", str(tmp_path), tests=tests).assert_outcomes(
        passed=1, deselected=14
    )
    name = "test_one_partition-seed-3-cluster-0"
    with (tmp_path / f"{name}.journal").open("rb") as file:
        puts = [event for event in Journal.read(file) if isinstance(event, Controlled) and event.name == "put"]
    model, history = load_history(tmp_path / f"{name}.history.jsonl")
    assert model == "kv"
    assert sum(operation.input.op == "put" for operation in history) == len(puts) > 0


def test_warnings_of_the_lab_are_pytest_warnings(run_pytest, tmp_path):
    solution = tmp_path / "solution"
    mutants.load(ROOT / "tests" / "mutants" / "double-vote.toml").plant(ROOT, solution)
    reference = (ROOT / "raft" / "raft.py").read_text()
    call = "            reply = self.peers[peer].call(self.methods[type(request)], request, timeout=RPC_TIMEOUT)\n"
    assert call in reference
    under_lock = f"            with self.mu:\n    {call}"
    (solution / "raft" / "raft.py").write_text(reference.replace(call, under_lock))
    result = run_pytest("-k", "initial", "--seed", "3", "--solution", str(solution))
    assert "made while holding a lock at raft/raft.py:" in result.stdout.str()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--seed", "x"], "--seed x is not a number"),
        (["--seed", "-3"], "--seed"),
        (["--runs", "0"], "--runs 0 is not a number of runs"),
        (["--clock", "sundial"], "--clock sundial is not one of virtual, real"),
        (["--servers", "goroutines"], "--servers goroutines is not one of threads, processes"),
        (["--solution", "/nowhere/at/all"], "--solution /nowhere/at/all is not a folder"),
        (["--solution", str(ROOT / "docs")], "no raft/ or kvraft/ package"),
        (["--schedule", "maybe"], "--schedule maybe is not one of mix, uniform, swarm, pct, none"),
        (["--schedule", "pct", "--clock", "real"], "--schedule pct needs --clock virtual"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_bad_options_are_refused_in_one_line(run_pytest, arguments, expected):
    (ROOT / "docs").mkdir(exist_ok=True)
    result = run_pytest(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert expected in result.stderr.str()
    assert "Traceback" not in result.stderr.str()


def test_a_solution_that_does_not_import_fails_with_its_line(run_pytest, tmp_path):
    package = tmp_path / "raft"
    package.mkdir()
    (package / "__init__.py").write_text("import os\nfrom raft.missing import Raft\n")
    result = run_pytest("-k", "initial", "--solution", str(tmp_path))
    assert result.ret == 1
    assert (
        "it did not start: ModuleNotFoundError: No module named 'raft.missing' at raft/__init__.py:2"
        in result.stdout.str()
    )


def test_wall_time_limits_end_a_run_that_bare_excepts_would_keep(run_pytest, tmp_path):
    package = tmp_path / "raft"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import threading\n"
        "class ApplyMsg: pass\n"
        "class Raft:\n"
        "    def __init__(self, peers, me, persister, apply_ch):\n"
        "        self.n = 0\n"
        "        while True:\n"
        "            try:\n"
        "                self.n += 1\n"
        "                threading.Event().wait(1e-6)\n"
        "                sum(range(5000))\n"
        "            except BaseException:\n"
        "                pass\n"
    )
    result = run_pytest("-k", "initial", "--solution", str(tmp_path), "--timeout", "2")
    assert result.ret == 1
    assert "the test took more than 2 s of wall time" in result.stdout.str()


def test_the_header_names_the_world(run_pytest):
    result = run_pytest("--collect-only", "--servers", "processes", "--runs", "3")
    result.stdout.fnmatch_lines(["raftlab: --seed *; 3 runs of each graded test; virtual clock, servers as processes"])


def test_no_child_process_is_left_when_pytest_ends(run_pytest, monkeypatch, tmp_path):
    """Its processes are known by their environment, which children inherit."""
    if not Path("/proc/self/environ").exists():
        pytest.skip("needs /proc to see other processes' environments")
    monkeypatch.setenv("RAFTLAB_TEST_MARK", str(tmp_path))

    def marked() -> list[str]:
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and entry.name != str(os.getpid()):
                with contextlib.suppress(OSError):
                    if f"RAFTLAB_TEST_MARK={tmp_path}".encode() in (entry / "environ").read_bytes():
                        found.append(entry.name)
        return found

    run_pytest("-k", "initial", "--servers", "processes").assert_outcomes(passed=1)
    assert marked() == []


def test_points_are_summed_by_part_and_need_every_run(run_pytest, double_vote):
    passing = run_pytest("--seed", "1", "--runs", "2")  # 2 × 3 tests
    assert "part 2A, leader election: 30 of 30 points in 3 tests" in passing.stdout.str()
    assert re.search(r"6 runs lived [\d.]+ virtual seconds", passing.stdout.str())
    failing_one = run_pytest("--seed", "0", "--runs", "4", "--solution", str(double_vote), "-n", "2")
    assert "part 2A, leader election: 30 of 30 points" not in failing_one.stdout.str()
    assert re.search(r"part 2A, leader election: \d+ of 30 points", failing_one.stdout.str())


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_of_failures_that_are_alike_the_first_is_told_and_all_are_counted(run_pytest, double_vote, workers):
    result = run_pytest("-k", "re_election", "--seed", "1", "--runs", "8", "--solution", str(double_vote), *workers)
    assert result.parseoutcomes()["failed"] == 4
    text = result.stdout.str()
    assert text.count("timeline: role") == 1
    assert "FAILED" not in text
    result.stdout.fnmatch_lines([
        "test_re_election: 4 of 8 runs failed, alike",
        "     4 runs: server * voted for * and for * in term * (§5.2: at most one vote per term) at * s",
        "             seeds 1, 5, 7, 8",
        "told above: the first run of each kind; *",
    ], consecutive=True)  # fmt: skip


def test_one_run_that_fails_is_told_as_pytest_does(run_pytest, double_vote):
    result = run_pytest("-k", "re_election", "--seed", "1", "--solution", str(double_vote))
    assert "FAILED" in result.stdout.str()
    assert "told above" not in result.stdout.str()


def test_an_option_that_pytest_takes_for_a_folder_of_tests_is_told(double_vote, tmp_path):
    """Without a test's path, as in `pytest -m 2A --solution /elsewhere`, pytest would look for tests there."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "2A", "-p", "no:cacheprovider"]
    apart = subprocess.run([*command, "--solution", str(double_vote)], cwd=ROOT, capture_output=True, text=True)
    assert apart.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"write --solution={double_vote}" in apart.stderr
    joined = subprocess.run([*command, f"--solution={double_vote}"], cwd=ROOT, capture_output=True, text=True)
    assert joined.returncode == 0, joined.stdout
