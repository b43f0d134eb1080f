"""`tester release`: makes the tree, checks it, and only then writes it."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.text import Text

from labrpc.errors import UsageError
from tester.release.checks import check_tree
from tester.release.manifest import load_manifest
from tester.release.tree import MARKER, Tree, make_tree, marker_of
from tester.run import reference_root

__all__ = ["release"]

_AUTHOR = ("raftlab", "raftlab@localhost")
"""Of the first commit, where git knows nobody."""


def release(console: Console, *, out: Path, force: bool, git: bool) -> int:
    """Writes the student's tree into `out`; the exit code to leave with.

    Args:
        force: whether an earlier release in `out` is replaced.
        git: whether `out` becomes a git repository, or has the release as its next commit.

    Raises:
        UsageError: `out` may not be written over, or release.toml does not fit the project; nothing was written.
    """
    root = reference_root().resolve()
    _check_place(root, out)
    earlier = _earlier(out, force=force)
    if git and shutil.which("git") is None:
        raise UsageError("--git needs git, which is not installed")
    manifest = load_manifest(root)
    tree = make_tree(manifest)
    check_tree(manifest, tree)
    with _told(out):
        for file in earlier:
            _remove(out, file)
        _write(tree, out)
    commit = _commit(out) if git else ""
    _tell(console, tree, out, manifest.student, commit)
    return 0


def _check_place(root: Path, out: Path) -> None:
    place = out.resolve()
    if place == root or place in root.parents:
        raise UsageError(f"{out} holds the project itself; name another folder")
    if place.is_relative_to(root) and not place.is_relative_to(root / ".raftlab"):
        raise UsageError(f"{out} is inside the project; name a folder outside it")


def _earlier(out: Path, *, force: bool) -> list[str]:
    """The files of an earlier release in `out` that are to be replaced."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is no folder; name one that is empty or not there yet")
    if not out.exists() or not any(out.iterdir()):
        return []
    if not force:
        raise UsageError(f"{out} is not empty; name another folder, or --force to replace an earlier release there")
    marker = marker_of(out)
    if marker is None:
        raise UsageError(f"{out} was not made by this command: it has no {MARKER}; --force replaces nothing else")
    files = sorted({*marker["files"], MARKER})
    changed = [file for file, digest in sorted(marker["files"].items()) if _is_changed(out / file, digest)]
    if changed:
        some = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        raise UsageError(f"{some} in {out} were changed since they were released; move them away first")
    return files


def _is_changed(file: Path, digest: str) -> bool:
    """Whether there is a file with something else in it."""
    return file.exists() and (not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != digest)


def _remove(out: Path, file: str) -> None:
    path = out / file
    path.unlink(missing_ok=True)
    for folder in path.parents:
        if folder == out or not folder.is_dir() or any(folder.iterdir()):
            return
        folder.rmdir()


def _write(tree: Tree, out: Path) -> None:
    """All or nothing, as far as a new folder goes: the tree is moved into place once it is whole."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as made:
        for file, content in tree.items():
            path = Path(made) / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        shutil.copytree(made, out, dirs_exist_ok=True)
    out.chmod(0o755)  # a temporary folder is its owner's alone


def _commit(out: Path) -> str:
    """Commits the tree; how the commit is called."""
    if not (out / ".git").exists():
        _git(out, "init", "-q", "-b", "main")
    _git(out, "add", "-A")
    if not _git(out, "status", "--porcelain"):
        return "nothing has changed since the last commit"
    name, email = _AUTHOR
    known = _git(out, "config", "--default", "", "--get", "user.email").strip()
    identity = [] if known else ["-c", f"user.name={name}", "-c", f"user.email={email}"]
    _git(out, *identity, "commit", "-q", "-m", "The lab, as it is handed out")
    return _git(out, "log", "-1", "--format=committed as %h on %D").strip()


def _git(out: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=out, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UsageError(f"git {arguments[0]} failed in {out}: {done.stderr.strip()}")
    return done.stdout


def _tell(console: Console, tree: Tree, out: Path, student: tuple[str, ...], commit: str) -> None:
    functions = sum(
        content.count(b"raise NotImplementedError(") for file, content in tree.items() if file.split("/")[0] in student
    )
    tests = sum(content.count(b"\ndef test_") for file, content in tree.items() if file.startswith("tests/"))
    console.print(
        Text(f"{out}: {len(tree)} files, {functions} functions to write, {tests} graded tests"), soft_wrap=True
    )
    console.print(Text("no line of the solution is in it, and nothing that release.toml does not name"), soft_wrap=True)
    if commit:
        console.print(Text(commit), soft_wrap=True)
    console.print(Text("next:"))
    console.print(Text(f"  cd {out} && make setup   as a student would"), soft_wrap=True)
    console.print(Text("  make 2A                    fails, and says what to write first"), soft_wrap=True)


@contextlib.contextmanager
def _told(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error}") from None
