"""What students get: as it is, each test fails and says what to write; once that is written, it passes."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from rich.console import Console

from tester import mutants
from tester.parts import PARTS
from tester.release.command import release

ROOT = Path(__file__).parents[2]

MISSING = re.compile(r"[\w.]+ is not implemented yet; (?P<part>\d[A-D]): [^()]+.* \((raft|kvraft)/\w+\.py:\d+\)")

# Leader election and nothing more: no log, nothing saved. Each body takes the place of a `raise` in the skeleton.
ELECTION = {
    "__init__": """
        self.mu = threading.Lock()
        self.current_term, self.voted_for, self.leads = 0, None, False
        self.heard_at = time.monotonic()
        threading.Thread(target=self.elect, daemon=True).start()

    def elect(self) -> None:
        while not self.killed:
            began = time.monotonic()
            time.sleep(0.1 if self.leads else random.uniform(0.3, 0.6))
            with self.mu:
                if not self.leads and self.heard_at < began:
                    self.current_term, self.voted_for, self.heard_at = self.current_term + 1, self.me, time.monotonic()
                    self.votes = {self.me}
                elif not self.leads:
                    continue
                method, args = "Raft.request_vote", RequestVoteArgs(self.current_term, self.me, 0, 0)
                if self.leads:
                    method, args = "Raft.append_entries", AppendEntriesArgs(self.current_term, self.me, 0, 0, [], 0)
            for peer in range(len(self.peers)):
                if peer != self.me:
                    threading.Thread(target=self.ask, args=(peer, method, args), daemon=True).start()

    def ask(self, peer: int, method: str, args: Any) -> None:
        reply = self.peers[peer].call(method, args, timeout=0.2)
        with self.mu:
            if reply is None or self.is_newer(reply.term) or args.term != self.current_term:
                return
            if isinstance(args, RequestVoteArgs) and reply.vote_granted:
                self.votes.add(peer)
                self.leads = self.leads or 2 * len(self.votes) > len(self.peers)

    def is_newer(self, term: int) -> bool:
        if term <= self.current_term:
            return False
        self.current_term, self.voted_for, self.leads = term, None, False
        return True
""",
    "get_state": """
        with self.mu:
            return self.current_term, self.leads
""",
    "request_vote": """
        with self.mu:
            self.is_newer(args.term)
            granted = args.term == self.current_term and self.voted_for in (None, args.candidate_id)
            if granted:
                self.voted_for, self.heard_at = args.candidate_id, time.monotonic()
            return RequestVoteReply(self.current_term, granted)
""",
    "append_entries": """
        with self.mu:
            self.is_newer(args.term)
            if args.term == self.current_term:
                self.heard_at = time.monotonic()
            return AppendEntriesReply(self.current_term, args.term == self.current_term)
""",
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Path:
    """The released tree."""
    out = tmp_path_factory.mktemp("release") / "lab"
    assert release(Console(quiet=True), out=out, force=False, git=False) == 0
    return out


@pytest.fixture
def own(lab, tmp_path) -> Path:
    """A copy of it, to write in."""
    shutil.copytree(lab, tmp_path / "lab", ignore=shutil.ignore_patterns("__pycache__", ".raftlab"))
    return tmp_path / "lab"


def run(lab: Path, *command: str, check: bool = True) -> str:
    """What a command prints that runs in the tree, with the tree's packages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    environment = {**kept, "PYTHONPATH": str(lab), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "100", "TERM": "dumb"}
    done = subprocess.run(
        [sys.executable, *command], cwd=lab, env=environment, capture_output=True, text=True, check=False
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def helps(lab: Path) -> dict[str, str]:
    """command -> what its --help says."""
    code = """
import json
from typer.testing import CliRunner
from tester.cli import app
import typer
commands = typer.main.get_command(app).commands
results = {name: CliRunner().invoke(app, [name, "--help"]) for name in commands}
assert not any(result.exit_code for result in results.values())
print(json.dumps({name: result.output for name, result in results.items()}))
"""
    said: dict[str, str] = json.loads(run(lab, "-c", code))
    return said


def results(lab: Path, *arguments: str) -> dict[str, tuple[str, str]]:
    """test -> (failure, error or skipped; its message); of those that passed ("", "")."""
    output = run(lab, "-m", "pytest", "-q", "--keep-no-failures", "--junitxml=results.xml", *arguments, check=False)
    assert (lab / "results.xml").exists(), output
    found = {}
    for case in ElementTree.parse(lab / "results.xml").iter("testcase"):
        outcomes = [each for each in case if each.tag in ("failure", "error", "skipped")]
        found[case.get("name", "")] = (outcomes[0].tag, outcomes[0].get("message", "")) if outcomes else ("", "")
    return found


# ------------------------------------------------------------------ as it is


def test_it_is_ruff_clean(lab):
    for command in (["check"], ["format", "--check"]):
        run(lab, "-m", "ruff", *command, "--no-cache", "--config", str(ROOT / "pyproject.toml"), ".")


def test_all_of_it_can_be_imported(lab):
    modules = [
        file.relative_to(lab).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        for package in ("raft", "kvraft", "labrpc", "tester")
        for file in sorted((lab / package).rglob("*.py"))
        if file.name != "__main__.py"
    ]
    assert len(modules) > 120
    text = run(
        lab, "-c", f"import importlib, tester\nfor m in {modules}: importlib.import_module(m)\nprint(tester.__file__)"
    )
    assert text.strip() == str(lab / "tester" / "__init__.py")


def test_these_bodies_and_no_others_are_given(lab):
    given = set()
    for file in sorted([*(lab / "raft").glob("*.py"), *(lab / "kvraft").glob("*.py")]):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef):
                for method in node.body:
                    if isinstance(method, ast.FunctionDef) and not isinstance(method.body[-1], ast.Raise):
                        given.add(f"{node.name}.{method.name}: {len(method.body)}")
    assert given == {
        "Raft.__init__: 5", "Raft.persist_bytes: 2", "Raft.kill: 2", "KVServer.__init__: 1", "Clerk.__init__: 1",
        "Lock.__init__: 2", "RSM.__init__: 4", "StateMachine.do_op: 1", "StateMachine.snapshot: 1",
        "StateMachine.restore: 1",
    }  # fmt: skip


def test_the_command_has_the_students_commands_only(lab):
    text = run(lab, "-m", "tester", "--help")
    listed = re.findall(r"^│ ([a-z][\w-]+) ", text, re.MULTILINE)
    assert set(listed) == {"check", "check-history", "shrink", "replay", "failures", "timeline", "export", "logs"}
    assert set(helps(lab)) == set(listed)


def test_every_graded_test_fails_with_the_sentence_that_helps(lab):
    found = results(lab, "--seed", "1")
    assert len(found) == sum(file.read_text().count("\ndef test_") for file in (ROOT / "tests" / "labs").glob("*.py"))
    skipped = {test for test, (outcome, _) in found.items() if outcome == "skipped"}
    assert skipped == {"test_memory_many_clients"}, "it needs a real clock"
    parts = set()
    for test, (outcome, message) in found.items():
        if test not in skipped:
            assert outcome == "failure", f"{test}: {message}"
            match = MISSING.fullmatch(message)
            assert match, f"{test}: {message}"
            parts.add(match["part"])
    assert parts <= PARTS.keys()
    assert {"2A", "2B", "3A", "4A"} <= parts


@pytest.mark.parametrize("world", [("--servers", "processes"), ("--clock", "real")], ids=["processes", "real clock"])
def test_the_sentence_is_the_same_in_other_worlds(lab, world):
    found = results(lab, "-k", "test_initial_election or test_lock_one_client", "--seed", "1", *world)
    assert len(found) == 3
    for outcome, message in found.values():
        assert outcome == "failure"
        assert MISSING.fullmatch(message), message


# ------------------------------------------------------------------ once something is written


def with_election(lab: Path) -> Path:
    file = lab / "raft" / "raft.py"
    lines = file.read_text().splitlines()
    functions = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)]
    for node in sorted(functions, key=lambda node: -node.lineno):
        if node.name in ELECTION:
            body = ELECTION[node.name].strip("\n").splitlines()
            last = node.body[-1]
            if isinstance(last, ast.Raise):
                lines[last.lineno - 1 : last.end_lineno] = body
            else:
                lines[last.end_lineno or 0 : last.end_lineno or 0] = body
    text = "\n".join(lines).replace("import queue\n", "import queue\nimport random\nimport threading\nimport time\n")
    file.write_text(text + "\n")
    return lab


def test_who_has_written_2a_passes_2a_and_is_told_of_2b(own):
    with_election(own)
    found = results(own, "-m", "2A", "--runs", "4", "--seed", "1")
    assert set(found.values()) == {("", "")}, found
    [(outcome, message)] = results(own, "-k", "test_basic_agree", "--seed", "1").values()
    assert outcome == "failure"
    assert message.startswith("Raft.start is not implemented yet; 2B: append the command")


@pytest.mark.parametrize("servers", ["threads", "processes"])
def test_2a_alone_passes_on_the_real_clock_too(own, servers):
    with_election(own)
    found = results(own, "-k", "test_initial_election", "--clock", "real", "--servers", servers)
    assert found == {"test_initial_election": ("", "")}


def test_with_the_reference_back_in_its_place_tests_pass(own):
    for package in ("raft", "kvraft"):
        shutil.rmtree(own / package)
        shutil.copytree(ROOT / package, own / package, ignore=shutil.ignore_patterns("__pycache__"))
    names = [
        "test_initial_election", "test_basic_agree", "test_persist_basic", "test_snapshot_basic", "test_reliable_put",
        "test_rsm_basic", "test_one_partition", "test_snapshot_rpc",
    ]  # fmt: skip
    found = results(own, "-k", " or ".join(names), "--seed", "1")
    assert set(names) <= found.keys()
    assert set(found.values()) == {("", "")}, found


# ------------------------------------------------------------------ installing


@pytest.mark.skipif(importlib.util.find_spec("setuptools") is None, reason="setuptools is not installed here")
def test_it_installs_into_a_fresh_environment(own, tmp_path):
    """Offline: the packages that it needs are this environment's."""
    if int(importlib.metadata.version("setuptools").partition(".")[0]) < 77:
        pytest.skip("setuptools here is older than 77")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    [folder] = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    ours = [path for path in sys.path if path.endswith("site-packages")]
    (folder / "lab-needs.pth").write_text("\n".join(ours) + "\n")
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH" and not name.startswith("PYTEST")}
    environment = {**kept, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

    def do(*command: str | Path, expected: int = 0) -> str:
        done = subprocess.run(command, cwd=own, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == expected, done.stdout + done.stderr
        return done.stdout + done.stderr

    do(python, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "-e", ".")
    assert do(python, "-c", "import raft, tester; print(raft.__file__, tester.__file__)").split() == [
        str(own / "raft" / "__init__.py"), str(own / "tester" / "__init__.py"),
    ]  # fmt: skip
    assert "timeline" in do(tmp_path / "venv" / "bin" / "tester", "--help")
    assert not (tmp_path / "venv" / "bin" / "kvraft").exists()
    text = do(python, "-m", "pytest", "-m", "2A", "-p", "no:cacheprovider", expected=1)
    assert "Raft.get_state is not implemented yet; 2A" in text


# ------------------------------------------------------------------ its README and its Makefile


def test_the_readmes_show_the_first_failure_as_it_is(lab):
    [(_, message)] = results(lab, "-k", "test_initial_election").values()
    for readme in (lab / "README.md", ROOT / "README.md"):
        assert f"\n{message}\n" in readme.read_text()


def test_the_failure_in_the_readme_is_the_one_its_seed_gives(lab, tmp_path):
    shown = re.search(r"```text\n(server 2 voted.+?)\n```", (lab / "README.md").read_text(), re.DOTALL)
    assert shown is not None
    solution = mutants.load(ROOT / "tests" / "mutants" / "double-vote.toml").plant(ROOT, tmp_path / "planted")
    selected = ["-k", "test_many_elections", "--seed", "2", "--solution", str(solution), "--keep-no-failures"]
    text = run(lab, "-m", "pytest", "-c", "pyproject.toml", "--rootdir", ".", *selected, check=False)
    printed = iter([line.rstrip() for line in text.replace(f" --solution {solution}", "").splitlines()])
    for line in shown[1].splitlines():
        if line and not line.lstrip().startswith("replay  "):  # a path is in it, of this test only
            assert line in printed, f"the README's line is not printed, or not there: {line}"


def test_every_option_and_file_in_the_readme_exists(lab):
    text = (lab / "README.md").read_text()
    helped = run(lab, "-m", "pytest", "--help")
    for command, said in helps(lab).items():
        assert f"`tester {command}" in text or command == "check-history"
        helped += said
    for option in sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - {"--help"}):
        assert option in helped, option
    for path in re.findall(r"\]\(([^):]+)\)", text):
        assert (lab / path).exists(), path
    for path in re.findall(r"`(kvraft/[\w./]+|raft/[\w./]*)`", text):
        assert (lab / path).exists(), path


def test_the_makefile_has_a_target_for_each_part(lab):
    for target in [*PARTS, "setup", "all", "clean", "help"]:
        done = subprocess.run(["make", "-n", target], cwd=lab, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        if target in PARTS:
            assert f"pytest -m {target} --runs 1" in done.stdout
