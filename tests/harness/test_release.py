"""`tester release`: nothing gets out by accident, and nothing is written over."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from labrpc.errors import UsageError
from tester import mutants
from tester.cli import app
from tester.release.checks import check_tree, leaks, mentions, missing_modules, strangers
from tester.release.links import dead_links, without_dead_links
from tester.release.made import constraints, pyproject
from tester.release.manifest import FILE, files_of, load_manifest
from tester.release.skeleton import SUBSTANTIAL
from tester.release.tree import MARKER, make_tree

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def manifest():
    return load_manifest(ROOT)


@pytest.fixture(scope="module")
def made(manifest):
    return make_tree(manifest)


@pytest.fixture
def tree(made):
    """The student's tree, to be spoilt."""
    return dict(made)


@pytest.fixture
def project(tmp_path) -> Path:
    """A copy of the project, to be changed."""
    for file in files_of(ROOT):
        path = tmp_path / "project" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / file, path)
    return tmp_path / "project"


def change(file: Path, before: str, after: str) -> None:
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))


# ------------------------------------------------------------------ release.toml decides


def test_the_copy_is_a_project_like_this_one(project, manifest):
    assert load_manifest(project).files == manifest.files


@pytest.mark.parametrize(
    "file",
    ["notes.md", "tester/new_module.py", "labrpc/data.bin", "docs/secrets.md", "raft/helper.py", "tests/hard.py"],
)
def test_a_file_that_nobody_decided_on_stops_the_release(project, file):
    (project / file).write_text("")
    with pytest.raises(UsageError, match=f"does not say what becomes of {file}"):
        load_manifest(project)


@pytest.mark.parametrize("file", ["tester/applied.py", "raft/rules.py", "docs/mutants.md", "README.md"])
def test_a_file_that_is_gone_stops_the_release(project, file):
    (project / file).unlink()
    with pytest.raises(UsageError, match=f"no file is {file} any more"):
        load_manifest(project)


def test_what_git_ignores_is_no_part_of_the_project(project):
    for file in (".venv-3.12/lib/x.py", "tester/__pycache__/x.pyc", ".raftlab/x", ".git/config", "x.egg-info/x"):
        (project / file).parent.mkdir(parents=True, exist_ok=True)
        (project / file).write_text("")
    load_manifest(project)


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ('    "LICENSE",\n', '    "LICENSE",\n    "LICEN*",\n', "has LICENSE twice"),
        ('    "raft/log.py",\n', "", "does not say what becomes of raft/log.py"),
        ('    "raft/rules.py",\n', '    "raft/rul*.p",\n', "no file is raft/rul"),
        ('    "kvraft/rpc.py",\n', "", "does not say what becomes of kvraft/rpc.py"),
        ('left_out = ["FREE", "LONGEST_PAUSE"]', 'left_out = ["FREE"]', "LONGEST_PAUSE is not mentioned"),
        ('given = ["StateMachine"]', 'given = ["StateMachine", "Counter"]', "Counter is not there any more"),
        ('cut."RSM.submit"', 'cut."RSM.submitted"', "RSM.submitted is not there any more"),
        ('[absence]', '[absence]\nextra = 1', "extra is missing or unknown"),
        ('lines = [', 'lines = ["no such line at all, anywhere", ', "is no line of the solution any more"),
        ('tables = [', 'tables = ["tool.black", ', "takes tool.black of pyproject.toml, which is not there"),
        ('addopts_without = [', 'addopts_without = ["-q", ', "addopts have no -q"),
        ('[modules."kvraft/lock.py"]', '[modules."kvraft/locks.py"]', "rules for exactly the modules that are made"),
        ('student = ["raft", "kvraft"]', 'student = ["raft"]', "rules for exactly the modules that are made"),
        ('student =', 'student', "tester/release/release.toml: "),
    ],
    ids=range(14),
)  # fmt: skip
def test_a_release_toml_that_does_not_fit_is_an_error(project, before, after, complaint):
    text = (project / FILE).read_text()
    assert text.count(before) >= 1
    (project / FILE).write_text(text.replace(before, after, 1))
    with pytest.raises(UsageError, match=complaint):
        check_tree(changed := load_manifest(project), make_tree(changed))


@pytest.mark.parametrize(
    ("file", "before", "after", "complaint"),
    [
        ("raft/raft.py", "    def kill(", "    def transfer(self) -> None: ...\n\n    def kill(", "Raft.transfer"),
        ("raft/raft.py", "def persist_bytes", "def state_bytes", "Raft.persist_bytes is not there any more"),
        ("raft/raft.py", "        self.me = me\n", "        self.number = me\n", "'self.me = me' 0 times"),
        ("kvraft/rpc.py", "class PutReply", "class PutAnswer", "PutReply is not there any more"),
        ("kvraft/lock.py", 'FREE = ""', 'FREE = ""\nHELD = "held"', "HELD is not mentioned"),
    ],
    ids=["a new method", "another name", "another statement", "another message", "a new constant"],
)  # fmt: skip
def test_a_reference_that_has_moved_on_stops_the_release(project, file, before, after, complaint):
    change(project / file, before, after)
    with pytest.raises(UsageError, match=complaint):
        make_tree(load_manifest(project))


# ------------------------------------------------------------------ nothing of the solution


def test_the_tree_is_what_it_must_be(manifest, tree):
    check_tree(manifest, tree)


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("docs/journal.md", "        if self.voted_for not in (None, args.candidate_id):  # 2"),
        ("labrpc/api.py", "# index = committed_index(self.match_index)"),
        ("tests/labs/test_2b_log.py", "x = sorted(match_index)[len(match_index) - majority(len(match_index))]"),
        ("kvraft/clerk.py", "    # one message may be lost on the way to a leader that is well"),
        ("README.md", "Note: Seconds without a leader until a server stands for election, drawn anew each time (§5.2). "
         "Several heartbeats fit in"),
        ("Makefile", 'self.holder = f"{random.getrandbits(64):016x}"'),
    ],
)  # fmt: skip
def test_a_line_of_the_solution_anywhere_is_found(manifest, made, file, line):
    spoilt = made[file] + f"{line}\n".encode()
    [found, *_] = leaks(manifest, {file: spoilt})
    number = spoilt.count(b"\n")
    assert found.startswith(f"{file}:{number} has a line of the solution in ")


SKELETONS = ["raft/raft.py", "kvraft/rsm.py", "kvraft/clerk.py", "kvraft/lock.py", "kvraft/server.py"]


@pytest.mark.parametrize("file", SKELETONS)
def test_the_reference_in_place_of_a_skeleton_is_found(manifest, file):
    found = leaks(manifest, {file: (ROOT / file).read_bytes()})
    assert any(f"has a line of the solution in {file}" in each for each in found)


def test_one_body_that_is_not_cut_is_found(manifest, made):
    """Each function that is cut, with the reference's body back in its place."""
    tried = 0
    for file in SKELETONS:
        reference = (ROOT / file).read_text()
        bodies = {node.name: node for node in ast.walk(ast.parse(reference)) if isinstance(node, ast.FunctionDef)}
        for node in ast.walk(ast.parse(made[file])):
            if not isinstance(node, ast.FunctionDef) or b"NotImplementedError" not in ast.unparse(node).encode():
                continue
            lines = made[file].decode().splitlines()
            statements = bodies[node.name].body[ast.get_docstring(bodies[node.name]) is not None :]
            body = reference.splitlines()[statements[0].lineno - 1 : statements[-1].end_lineno]
            lines[node.body[-1].lineno - 1 : node.body[-1].end_lineno] = body
            if max(len(line.strip()) for line in body) >= SUBSTANTIAL:
                assert leaks(manifest, {file: "\n".join(lines).encode()}), f"{file}, {node.name}"
                tried += 1
    assert tried >= 9


def test_other_solutions_that_are_left_out_are_secret_too(project):
    other = project / "tests" / "harness" / "data" / "other" / "raft" / "raft.py"
    other.parent.mkdir(parents=True)
    other.write_text("def elect(self):\n    self.ballots_of_this_term.clear()\n")
    (project / "kvraft" / "store.proto").write_text("no Python at all")
    change(project / FILE, '    "kvraft/store.py",\n', '    "kvraft/store.*",\n')
    [found] = leaks(load_manifest(project), {"README.md": b"Then: self.ballots_of_this_term.clear()\n"})
    assert found.startswith("README.md:1 has a line of the solution in tests/harness/data/other/raft/raft.py")


def test_a_stranger_and_what_is_lacking_are_found(manifest, tree):
    tree["raft/log.py"] = b""
    del tree["kvraft/rpc.py"]
    said = strangers(manifest, tree)
    assert "raft/log.py is in the tree, and release.toml does not have it there" in said
    assert "kvraft/rpc.py is not in the tree" in said
    assert "kvraft/clerk.py:12 imports kvraft.rpc, which is not in the tree" in missing_modules(tree)
    with pytest.raises(UsageError, match="nothing was released") as caught:
        check_tree(manifest, tree)
    for each in said:
        assert each in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "see docs/architecture.md", "`tester.gallery` has", "from tests/mutants/", "raft.rules says",
        "in benchmarks/echo_server.py", "tester/release/release.toml", "in {root}",
    ],
)  # fmt: skip
def test_what_students_do_not_have_is_not_named(text):
    manifest = load_manifest(ROOT.resolve())
    spoilt = {"labrpc/api.py": f"x = 1\n# {text.format(root=ROOT.resolve())}\n".encode()}
    [found] = mentions(manifest, spoilt)
    assert found.startswith("labrpc/api.py:2 mentions ")
    assert mentions(manifest, {"labrpc/api.py": b"# craft.rules, mytests/mutants, raft/raft.py, tester.run\n"}) == []


def test_nothing_that_a_mutant_changes_is_in_the_tree(tree):
    """The mutants' texts are places where the solution is decided: an account of it that no skeleton has made."""
    texts = {name: content.decode() for name, content in tree.items()}
    known = mutants.load_all(ROOT / mutants.FOLDER)
    assert len(known) > 100
    for mutant in known:
        for block in (mutant.before.strip(), mutant.after.strip()):
            if len(block) >= 40:
                assert [name for name, text in texts.items() if block in text] == [], mutant.name


# ------------------------------------------------------------------ what is made


def test_no_link_leads_to_what_students_do_not_have(tree):
    dead = {file: dead_links(file, tree[file].decode(), tree) for file in tree if file.endswith(".md")}
    assert {file: targets for file, targets in dead.items() if targets} == {}
    assert "- The double vote: the opposite" in tree["docs/handouts/2a.md"].decode()


def test_only_links_that_are_dead_become_text():
    text = "[a](a.md#x) [b](../b.md) [c](https://x.org/y) [d](#here) ![e](e.svg) [f](sub)\n```\n[b](../b.md)\n```\n"
    assert without_dead_links("docs/page.md", text, {"docs/a.md", "docs/page.md", "docs/sub/x.md"}) == (
        "[a](a.md#x) b [c](https://x.org/y) [d](#here) e [f](sub)\n```\n[b](../b.md)\n```\n"
    )


def test_dependencies_are_ours_and_pinned_as_ours(tree):
    made, ours = tomllib.loads(tree["pyproject.toml"].decode()), tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert made["project"]["dependencies"] == ours["project"]["dependencies"]
    assert made["project"]["scripts"] == {"tester": "tester.cli:main"}
    assert made["project"]["entry-points"] == ours["project"]["entry-points"]
    assert "optional-dependencies" not in made["project"]
    assert "pytester" not in made["tool"]["pytest"]["ini_options"]["addopts"]
    assert made["tool"].keys() == {"setuptools", "pytest"}
    pins = tree["constraints.txt"].decode().splitlines()[1:]
    assert set(pins) < set((ROOT / "constraints.txt").read_text().splitlines())
    names = {pin.partition("==")[0].lower() for pin in pins}
    assert {"greenlet", "msgspec", "pytest", "pytest-xdist", "execnet", "rich", "typer", "pluggy"} <= names
    assert not {"hypothesis", "mypy", "ruff", "playwright"} & names


def test_toml_that_is_written_says_what_was_read():
    ours = (
        '[project]\nname = "ä \\"x\\""\nkeywords = ["a", "b"]\n[project.urls]\n"a b" = "c"\n[tool.pytest.ini_options]\n'
    )
    ours += 'addopts = ["-q", "-x"]\n[tool.setuptools.packages.find]\ninclude = ["b", "a"]\n'
    rules = {"tables": ["project", "tool"], "without": ["project.keywords"], "addopts_without": ["-x"]}
    assert tomllib.loads(pyproject(ours, rules)) == {
        "project": {"name": 'ä "x"', "urls": {"a b": "c"}},
        "tool": {
            "pytest": {"ini_options": {"addopts": ["-q"]}},
            "setuptools": {"packages": {"find": {"include": ["a", "b"]}}},
        },
    }


def test_only_what_is_needed_is_pinned():
    needed = constraints("# ours\npytest==1\nPygments==2\nmypy==3\n", '[project]\ndependencies = ["pytest>=8"]\n')
    assert needed.splitlines()[1:] == ["Pygments==2", "pytest==1"]


# ------------------------------------------------------------------ the command


@pytest.fixture
def unchecked(monkeypatch):
    """Commands are not about the tree's contents here."""
    monkeypatch.setattr("tester.release.command.check_tree", lambda *_: None)


def command_line(*arguments: str | Path):
    return CliRunner().invoke(app, ["release", *map(str, arguments)])


def test_the_command_says_what_it_made_and_what_to_do_next(tmp_path, manifest):
    done = command_line(tmp_path / "lab")
    assert done.exit_code == 0, done.output
    files = [path for path in (tmp_path / "lab").rglob("*") if path.is_file()]
    tests = sum(file.read_text().count("\ndef test_") for file in (ROOT / "tests" / "labs").glob("*.py"))
    todo = sum(bool(cut.todo) for rules in manifest.modules.values() for cut in rules.cut.values())
    assert f"{len(files)} files, {todo} functions to write, {tests} graded tests" in done.output
    assert "make setup" in done.output
    marker = json.loads((tmp_path / "lab" / MARKER).read_text())
    assert marker["student"] == ["raft", "kvraft"]
    assert marker["files"].keys() == {path.relative_to(tmp_path / "lab").as_posix() for path in files} - {MARKER}


def test_what_is_there_already_is_not_written_over(tmp_path):
    out = tmp_path / "lab"
    out.mkdir()
    (out / "thesis.txt").write_text("all my work")
    for options, complaint in (((), "is not empty"), (("--force",), "was not made by this command")):
        done = command_line(out, *options)
        assert isinstance(done.exception, UsageError)
        assert complaint in str(done.exception)
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]
    assert "is no folder" in str(command_line(out / "thesis.txt").exception)


@pytest.mark.parametrize(
    "place", [ROOT, ROOT.parent, ROOT / "out", ROOT / "raft"], ids=["it", "above", "in it", "raft"]
)
def test_the_project_itself_is_no_place_for_a_release(place):
    assert "the project" in str(command_line(place, "--force").exception)


def test_force_replaces_a_release_but_not_what_was_added_or_changed(tmp_path, unchecked):
    out = tmp_path / "lab"
    assert command_line(out).exit_code == 0
    old = json.loads((out / MARKER).read_text())
    (out / "mine.txt").write_text("notes")
    (out / "docs" / "old.md").write_text("an older release had this")
    old["files"]["docs/old.md"] = "d0d7f0a0a8de1a9c3d4d4f0d4ad7e5a2c8a1b0de83a0d8a0f0b7a4f6a5b1b3de"
    (out / MARKER).write_text(json.dumps(old))
    refused = command_line(out, "--force")
    assert "docs/old.md in" in str(refused.exception)
    assert "changed since they were released" in str(refused.exception)
    (out / "docs" / "old.md").unlink()
    (out / "labrpc" / "wal.py").unlink()
    assert command_line(out, "--force").exit_code == 0
    assert (out / "mine.txt").read_text() == "notes"
    assert (out / "labrpc" / "wal.py").exists()
    (out / "raft" / "raft.py").write_text("a student's own")
    assert "raft/raft.py in" in str(command_line(out, "--force").exception)
    assert (out / "raft" / "raft.py").read_text() == "a student's own"


def test_files_of_an_older_release_go(tmp_path, unchecked):
    out = tmp_path / "lab"
    assert command_line(out).exit_code == 0
    marker = json.loads((out / MARKER).read_text())
    (out / "old").mkdir()
    (out / "old" / "part.py").write_text("")
    marker["files"]["old/part.py"] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # of no bytes
    (out / MARKER).write_text(json.dumps(marker))
    assert command_line(out, "--force").exit_code == 0
    assert not (out / "old").exists()


@pytest.mark.parametrize("path", ["../outside.txt", "/etc/hostname", "raft/../../outside.txt"])
def test_a_marker_cannot_have_other_files_removed(tmp_path, path):
    out = tmp_path / "lab"
    out.mkdir()
    (tmp_path / "outside.txt").write_text("")
    digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    (out / MARKER).write_text(json.dumps({"format": "raftlab-release", "version": 1, "files": {path: digest}}))
    assert "was not made by this command" in str(command_line(out, "--force").exception)
    assert (tmp_path / "outside.txt").exists()


def test_git_has_the_release_as_its_first_commit_and_the_next_as_another(tmp_path, monkeypatch, unchecked):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    out = tmp_path / "lab"

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=out, capture_output=True, text=True, check=True).stdout

    assert "committed as" in command_line(out, "--git").output
    assert git("status", "--porcelain") == ""
    assert git("log", "--format=%an %s").splitlines() == ["raftlab The lab, as it is handed out"]
    assert len(git("ls-files").splitlines()) == len(json.loads((out / MARKER).read_text())["files"]) + 1
    assert "nothing has changed" in command_line(out, "--git", "--force").output
    git("-c", "user.name=a", "-c", "user.email=b", "rm", "-q", "LICENSE")
    git("-c", "user.name=a", "-c", "user.email=b", "commit", "-q", "-m", "no licence")
    assert "committed as" in command_line(out, "--git", "--force").output
    assert len(git("log", "--format=%s").splitlines()) == 3


def test_a_tree_that_fails_its_checks_is_not_written(tmp_path, monkeypatch):
    def leaking(manifest):
        return {**make_tree(manifest), "raft/raft.py": (ROOT / "raft" / "raft.py").read_bytes()}

    monkeypatch.setattr("tester.release.command.make_tree", leaking)
    done = command_line(tmp_path / "lab")
    assert "has a line of the solution" in str(done.exception)
    assert not (tmp_path / "lab").exists()
