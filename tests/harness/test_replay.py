"""`tester replay`: the run again, to an instant, under pdb, and one server of it alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from labrpc.errors import RunLimitExceeded, UsageError
from labrpc.journal import Journal
from labrpc.virtual.debugger import Break
from labrpc.virtual.inbox import Inbox, InboxHead, RecordingMachines, replay_alone
from labrpc.virtual.machines import InProcessMachines
from tester import mutants
from tester.breaks import parse_break
from tester.cli import app
from tester.lone_server import both_in_words
from tester.raft_cluster import RaftCluster
from tester.run import Options, Run

ROOT = Path(__file__).parents[2]
RAFT = ROOT / "raft" / "raft.py"

TESTS = """
def test_short(raft_cluster):
    cluster = raft_cluster(servers=3)
    leader = cluster.one_leader()
    cluster.crash((leader + 1) % 3)
    cluster.sleep(0.2)
    cluster.start((leader + 1) % 3)
    cluster.sleep(0.3)

def test_fails(raft_cluster):
    cluster = raft_cluster(servers=3)
    cluster.one_leader()
    assert cluster.now > 100, "too early"
"""
SHORT = "test_lab.py::test_short"


def line_of(text: str) -> int:
    """The number of the one line of raft/raft.py that holds `text`."""
    [number] = [number for number, line in enumerate(RAFT.read_text().splitlines(), 1) if text in line]
    return number


@pytest.fixture
def replay(tmp_path, monkeypatch):
    """Runs `tester replay` in a folder of its own: (exit code, what it printed)."""
    (tmp_path / "test_lab.py").write_text(TESTS)

    def run(test: str, *arguments: str, commands: str = "") -> tuple[int, str]:
        environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
        for name in ("PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST"):
            environment.pop(name, None)
        done = subprocess.run(
            [sys.executable, "-m", "tester", "replay", test, *arguments],
            cwd=tmp_path, env=environment, input=commands, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    return run


def hash_in(text: str) -> str:
    return re.search(r"hash (\w{32})", text)[1]


# ------------------------------------------------------------------ the whole run


def test_a_seed_that_passes_says_so_and_is_kept(replay, tmp_path):
    code, text = replay(SHORT, "--seed", "7")
    assert code == 0
    assert "test_short passes under seed 7" in text
    folder = tmp_path / ".raftlab" / "replays" / "test_short-seed-7"
    assert f"its journal and timeline are in {folder.relative_to(tmp_path)}" in text
    with (folder / "run.journal").open("rb") as file:
        assert Journal.read(file).digest() == hash_in(text)
    assert (folder / "timeline.html").exists()


def test_a_graded_test_is_found_by_its_name_and_is_the_same_run_in_both_worlds(replay):
    _, threads = replay("test_initial_election", "--seed", "7")
    _, processes = replay("test_initial_election", "--seed", "7", "--servers", "processes")
    assert hash_in(threads) == hash_in(processes)


def test_a_run_that_fails_prints_its_report_and_keeps_its_page(replay, tmp_path):
    code, text = replay("test_lab.py::test_fails", "--seed", "7", "--until", "90")
    assert code == 1
    assert text.startswith("too early")
    assert "leads term 1" in text
    assert "before 90 s" in text
    assert (tmp_path / ".raftlab" / "failures" / "test_fails-seed-7" / "timeline.html").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["test_nothing", "--seed", "1"], "there is no graded test test_nothing"),
        (["nowhere.py::test_x", "--seed", "1"], "nowhere.py is no file"),
        ([SHORT, "--seed", "x"], "--seed x is not a number"),
        ([SHORT], "which run\\? name its seed with --seed N"),
        ([SHORT, "--seed", "1", "--until", "soon"], "--until: soon is no time"),
        ([SHORT, "--seed", "1", "--break", "time=1"], "--break time=1 does not name a server"),
        ([SHORT, "--seed", "1", "--break", "server=1,time=1", "--servers", "processes"], "leave --servers processes"),
        ([SHORT, "--seed", "1", "--break", "server=1,line=raft/nothing.py:2"], "there is no raft/nothing.py"),
        ([SHORT, "--seed", "1", "--break", "server=1,line=raft/raft.py:2"], "no code on line 2 of raft/raft.py; "),
        ([SHORT, "--seed", "1", "--record"], "--record is about one server"),
        ([SHORT, "--seed", "1", "--servers", "fibres"], "--servers fibres is not one of"),
        ([SHORT, "--seed", "1", "--schedule", "some"], "--schedule some is not one of mix, uniform, swarm, pct, none"),
        ([SHORT, "--seed", "1", "--solution", "nowhere"], "--solution nowhere is not a folder"),
        ([SHORT, "--shrunk", "nowhere.json"], "--shrunk nowhere.json: No such file"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ",
)
def test_a_mistake_is_told(tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test_lab.py").write_text(TESTS)
    with pytest.raises(UsageError, match=expected):
        CliRunner().invoke(app, ["replay", *arguments], catch_exceptions=False)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["test_lab.py::test_nothing", "--seed", "1"], "there is no run of test_lab.py::test_nothing"),
        ([SHORT, "--seed", "1", "--server", "9"], "no server 9 was started in test_short"),
    ],
    ids=["test", "server"],
)
def test_a_mistake_that_only_the_run_shows_has_exit_code_2(replay, arguments, expected):
    code, text = replay(*arguments)
    assert expected in text
    assert code == 2
    assert "Traceback" not in text


# ------------------------------------------------------------------ --until


def test_until_shows_every_server_as_its_messages_tell_and_asks_it_nothing(replay):
    code, text = replay(SHORT, "--seed", "7", "--until", "0.6")
    assert code == 0
    assert "timeline up to 0.6 s" in text
    assert re.search(r"server \d: up, leader in term 1 ", text)
    assert re.search(r"server \d: down ", text)
    assert "election timer sleeps" in text
    assert "raft/raft.py:" in text
    assert "was stopped at 0.6 s" in text
    assert "passes" not in text


def test_until_an_instant_that_the_run_does_not_live_to_see(replay):
    code, text = replay(SHORT, "--seed", "7", "--until", "90")
    assert code == 0
    assert re.search(r"it ended at 1\.\d+ s, before 90 s", text)


def test_threads_are_shown_with_the_locks_they_hold(lab):
    cluster = lab(
        """
        class Server:
            def __init__(self, *_):
                self.mu = threading.Lock()
                threading.Thread(target=self.sit, name="sitter").start()
                threading.Thread(target=self.wait, name="waiter").start()
            def sit(self):
                with self.mu:
                    time.sleep(100)
            def wait(self):
                self.mu.acquire(timeout=50)
        """,
        time_limit=0.5,
    )
    with pytest.raises(RunLimitExceeded):
        cluster.sleep(1)
    text = cluster.coordinator.threads_of("0")
    assert "sitter sleeps; it holds Server.mu\n" in text
    assert "waiter waits for Server.mu, with a timeout\n" in text


# ------------------------------------------------------------------ --break


@pytest.mark.parametrize(
    ("breaks", "commands"),
    [
        (["server=2,time=0.7"], "p self.current_term\nw\nl\nc\n"),
        (["server=2,time=0.3"], "n\ns\nn\nr\nn\nn\nn\nn\nn\nn\nc\n"),
        (["server=0,time=0.1", "server=1,time=0.5", "server=1,time=0.8"], "p self.role\nc\nn\nup\ndown\nc\nc\n"),
        (["server=2,line=raft/raft.py:LINE"], "p args\nb raft/raft.py:LINE\nc\nc\ncl 1\nc\n"),
        (["server=0,time=0.4"], "p self.mu.acquire(False) and self.mu.release()\np time.monotonic()\nc\n"),
    ],
    ids=["look", "step", "several", "line", "call"],
)  # fmt: skip
def test_looking_does_not_change_the_run(replay, breaks, commands):
    line = str(line_of("granted = self._grant_vote_locked(args)"))
    _, plain = replay(SHORT, "--seed", "7")
    arguments = [f"--break={each.replace('LINE', line)}" for each in breaks]
    code, text = replay(SHORT, "--seed", "7", *arguments, commands=commands.replace("LINE", line) + "c\n" * 40)
    assert code == 0
    assert hash_in(text) == hash_in(plain)
    assert text.count("(Pdb)") > 2
    assert "Traceback" not in text
    assert "not reached" not in text


def test_the_prompt_is_in_the_code_under_test_at_that_instant(replay):
    _, text = replay(
        SHORT, "--seed", "7", "--break", "server=0,time=0.7", commands="p self.me, self.role.value\nl\nw\nc\n"
    )
    at, file, line = re.search(r"server 0 at (0\.7\d+) s, thread .+\n> (.+)\((\d+)\)\w+\(\)\n", text).groups()
    assert 0.7 <= float(at) < 0.8
    assert file == str(RAFT)
    source = RAFT.read_text().splitlines()[int(line) - 1].strip()
    assert f"\n-> {source}\n" in text
    assert re.search(rf"(?m)^{line}\s*->\t.*{re.escape(source)}$", text), "l shows it"
    assert re.search(r"\(Pdb\) \(0, '\w+'\)", text)
    assert "labrpc/virtual" not in text


def test_what_would_wait_at_the_prompt_is_refused(replay):
    line = line_of("granted = self._grant_vote_locked(args)")
    where = f"server=2,line=raft/raft.py:{line}"
    commands = "p self.get_state()\np time.sleep(1)\np self.peers[0].call('Raft.x', 1)\n!print('said', 7)\nc\n"
    code, text = replay(SHORT, "--seed", "7", "--break", where, commands=commands)
    assert code == 0
    assert re.search(r"\*\*\* RuntimeError: .* is held by thread Raft.request_vote, and the world is stopped", text)
    assert text.count("*** ") == 3
    assert text.count("the world is stopped at this prompt") == 2
    assert "(Pdb) said 7\n" in text
    assert "passes" in text


@pytest.mark.parametrize(
    "commands", ["q\n", "", "n\nn\nq\n", "b raft/raft.py:15\nexit\n"], ids=["q", "eof", "n-q", "exit"]
)
def test_quitting_ends_the_run_without_a_traceback(replay, commands):
    code, text = replay(SHORT, "--seed", "7", "--break", "server=1,time=0.3", commands=commands)
    assert code == 0
    assert re.search(r"test_short under seed 7 was left at 0\.4\d+ s, before its end", text)
    assert "Traceback" not in text
    assert "passes" not in text


def test_breaks_that_are_not_reached_are_told(replay):
    code, text = replay(SHORT, "--seed", "7", "--break", "server=2,time=50", "--break", "server=9,time=0")
    assert code == 0
    assert "not reached: server 9 from 0 s on; there are only server 0, server 1, server 2" in text
    assert re.search(r"not reached: server 2 from 50 s on; the run ended at 1\.\d+ s", text)


def test_a_failing_run_stops_once_at_each_break_and_fails_as_it_does(replay, tmp_path):
    """Its report runs it once more, to see what follows the broken rule: not under pdb."""
    mutants.load(ROOT / "tests" / "mutants" / "double-vote.toml").plant(ROOT, tmp_path / "solution")
    shutil.copy(ROOT / "tests" / "labs" / "test_2a_election.py", tmp_path)
    test = ["test_2a_election.py::test_many_elections", "--seed", "2", "--solution", "solution"]
    breaks = ["--break", "server=2,time=0.4", "--break", "server=2,time=0.87", "--until", "5"]
    code, text = replay(*test, *breaks, commands="p self.voted_for\nc\np self.voted_for\nc\nq\n")
    assert code == 1
    assert text.count("server 2 at 0.4") == text.count("server 2 at 0.8") == 1
    assert "server 2 voted for 1 and for 6 in term 2" in text
    assert "5 s of its own time" not in text


@pytest.mark.parametrize(
    ("text", "server", "expected"),
    [
        ("server=2,time=3.2", "", Break("2", 3_200_000_000)),
        ("time=3,server=c0", "", Break("c0", 3_000_000_000)),
        ("time=3.2", "2", Break("2", 3_200_000_000)),
        ("server=2,line=raft/log.py:7", "", Break("2", 0, "raft/log.py", 7)),
        ("line=raft/log.py:7,time=1", "2", Break("2", 1_000_000_000, "raft/log.py", 7)),
        ("time=3", "", "does not name a server"),
        ("server=2", "", "neither when nor where"),
        ("server=2,time=", "", "is no time"),
        ("server=2,time=nan", "", "nan is no time"),
        ("server=2,time=-1", "", "-1 is no time"),
        ("server=2,time=1,time=2", "", "'time=2' is not one of"),
        ("server=2,at=1", "", "'at=1' is not one of"),
        ("server=two,time=1", "", "does not name a server"),
        ("server=2,line=7", "", "7 is no line"),
        ("server=1,time=1", "2", "is of server 1, but server 2"),
    ],
)
def test_breaks_are_read(text, server, expected):
    if isinstance(expected, Break):
        assert parse_break(text, server=server) == expected
    else:
        with pytest.raises(UsageError, match=expected):
            parse_break(text, server=server)


# ------------------------------------------------------------------ one server


def test_one_server_alone_does_the_same_again_and_says_what(replay):
    first = replay(SHORT, "--seed", "7", "--server", "0")
    assert first[0] == 0
    assert "recording server 0: the whole run, once" in first[1]
    code, text = replay(SHORT, "--seed", "7", "--server", "0")
    assert code == 0
    assert "recording" not in text
    assert "server 0 starts, incarnation 1, with nothing on its disk" in text
    assert re.search(r"0\.\d+  <- Raft\.\w+ \w+Args\(term=1, ", text)
    assert re.search(r"0\.\d+  -> (answers |\d )Raft\.\w+", text)
    assert re.search(r"every effect is equal: \d+ steps, \d+ messages", text)


def test_every_incarnation_is_replayed(replay):
    texts = [replay(SHORT, "--seed", "7", "--server", str(server))[1] for server in range(3)]
    [crashed] = [text for text in texts if "is gone, incarnation 1" in text]
    assert re.search(r"server \d starts, incarnation 2, with \d+ bytes of state and 0 of snapshot on its disk", crashed)
    assert all("every effect is equal" in text for text in texts)


def test_print_statements_do_not_change_it_and_other_changes_are_named(replay, tmp_path):
    solution = mutants.load(ROOT / "tests" / "mutants" / "double-vote.toml").plant(ROOT, tmp_path / "solution")
    arguments = [SHORT, "--seed", "7", "--server", "0", "--solution", "solution"]
    assert replay(*arguments)[0] == 0
    file = solution / "raft" / "raft.py"
    source = file.read_text()
    begin = "        assert term >= self.current_term"
    assert begin in source
    file.write_text(source.replace(begin, f'        print("steps down into", term)\n{begin}'))
    code, text = replay(*arguments)
    assert code == 0
    assert re.search(r"0\.\d+  \| steps down into 1\n", text)
    assert "every effect is equal" in text

    file.write_text(source.replace("self.voted_for = args.candidate_id", "self.voted_for = 5 + args.candidate_id"))
    code, text = replay(*arguments)
    assert code == 1
    assert re.search(r"server 0 does something else than in the recorded run, first at 0\.\d+ s", text)
    was, now = re.search(r"was  (.+)\n +is   (.+)\n", text).groups()
    assert was != now
    assert replay(*arguments, "--record")[0] == 0


def test_one_server_alone_under_pdb(replay):
    commands = "p self.me\nn\nn\nc\n"
    for _ in range(2):
        code, text = replay(
            SHORT, "--seed", "7", "--server", "1", "--break", "time=0.3", "--until", "0.9", commands=commands
        )
        assert code == 0
        assert "(Pdb) 1\n" in text
        assert re.search(r"every effect is equal up to 0\.9 s: \d+ steps", text)
    code, text = replay(SHORT, "--seed", "7", "--server", "1", "--break", "time=0.3", commands="q\n")
    assert code == 0
    assert "left before its end" in text


def test_a_run_of_another_world_is_recorded_anew(replay):
    replay(SHORT, "--seed", "7", "--server", "1")
    _, text = replay(SHORT, "--seed", "7", "--server", "1", "--schedule", "none")
    assert "is of the repository's code, not the repository's code, schedule none: it is made anew" in text
    assert "every effect is equal" in text


def test_a_damaged_inbox_is_told_and_can_be_made_anew(replay, tmp_path):
    replay(SHORT, "--seed", "7", "--server", "1")
    file = tmp_path / ".raftlab" / "replays" / "test_short-seed-7" / "server-1.inbox"
    file.write_bytes(file.read_bytes()[:-9])
    code, text = replay(SHORT, "--seed", "7", "--server", "1")
    assert code == 2
    assert re.search(r"is cut short after \d+ records; make it anew with --record", text)
    assert replay(SHORT, "--seed", "7", "--server", "1", "--record")[0] == 0


# ------------------------------------------------------------------ the file


HEAD = InboxHead(test="t", seed=1, host="1", world="", python="3")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A recorded server, and the bundle it ran."""
    run = Run(3)
    bundle = Options().bundle()
    recorder = RecordingMachines(InProcessMachines(bundle), "1")
    run.machines = lambda ledger=None: recorder  # type: ignore[method-assign]
    with RaftCluster(run, 3) as cluster:
        cluster.sleep(1.5)
        digest = cluster.journal.digest()
        path = tmp_path_factory.mktemp("inbox") / "a" / "server-1.inbox"
        recorder.save(path, HEAD)
    run.close()
    return path, bundle, digest


def test_recording_does_not_change_the_run(recorded):
    run = Run(3)
    with RaftCluster(run, 3) as cluster:
        cluster.sleep(1.5)
        assert cluster.journal.digest() == recorded[2]
    run.close()


def test_a_file_is_read_and_lived_again(recorded):
    path, bundle, _ = recorded
    inbox = Inbox.load(path)
    assert inbox.head == HEAD
    lived = list(replay_alone(inbox, InProcessMachines(bundle).create))
    assert len(lived) == len(inbox.records) > 10
    assert all(each.difference is None for each in lived)


def test_of_long_saves_only_a_digest_is_kept(lab, tmp_path):
    snippet = """
        class Server:
            def __init__(self, ends, me, persister):
                persister.save(bytes(5000), None)
                persister.save(b"short", bytes(WITH))
        """
    recorder = None
    for last in (3000, 3001):
        cluster = lab(snippet.replace("WITH", str(last)), start=False)
        machines = InProcessMachines(cluster.run.options.bundle())
        if recorder is None:
            recorder = RecordingMachines(machines, "1")
            cluster.coordinator._machines = recorder
            cluster.start_all()
            cluster.sleep(1)
            recorder.save(tmp_path / "f", HEAD)
            assert (tmp_path / "f").stat().st_size < 2500
        [*_, end] = replay_alone(Inbox.load(tmp_path / "f"), machines.create)
        texts = both_in_words("1", end.difference) if end.difference else None
        expected = [f"saves 5 bytes and a snapshot of {size}, number 2" for size in (3000, 3001)]
        assert (texts is None) == (last == 3000)
        assert texts is None or [text.partition("  ")[2] for text in texts] == expected


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda data: b"", "is no recorded inbox"),
        (lambda data: b"raftlab-journal 1\n" + data, "is no recorded inbox"),
        (lambda data: b"\xff\xfe\n" + data, "is no recorded inbox"),
        (lambda data: data.replace(b'"version":1', b'"version":2', 1), "is of version 2; this raftlab reads up to"),
        (lambda data: data.replace(b'"seed":1', b'"seed":"x"', 1), "has a damaged first line"),
        (lambda data: data[:-3], "is cut short after"),
        (lambda data: data[: len(data) // 2], "is cut short after"),
        (lambda data: data + b"x", "goes on after its end"),
        (lambda data: data.partition(b"\n")[0] + b"\n\0\0\0\2ab\0\0\0\0", "has no record after 0 records"),
    ],
    ids=["empty", "journal", "binary", "newer", "head", "no-end", "torn", "longer", "record"],
)
def test_a_file_that_is_no_inbox_is_refused(recorded, tmp_path, damage, expected):
    path = tmp_path / "damaged.inbox"
    path.write_bytes(damage(recorded[0].read_bytes()))
    with pytest.raises(UsageError, match=expected):
        Inbox.load(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        Inbox.load(tmp_path / "nothing")
