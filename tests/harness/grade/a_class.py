"""A class of students, made out of the planted mistakes: as folders, zips, tars and git repositories in turn."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tester import mutants

ROOT = Path(__file__).parents[3]
GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "s", "GIT_AUTHOR_EMAIL": "s@x",
    "GIT_COMMITTER_NAME": "s", "GIT_COMMITTER_EMAIL": "s@x", "GIT_AUTHOR_DATE": "2026-10-02T12:00:00+00:00",
    "GIT_COMMITTER_DATE": "2026-10-02T12:00:00+00:00", "PATH": os.environ["PATH"],
}  # fmt: skip


@dataclass(frozen=True)
class Student:
    """One submission; `mistake` is a mutant's name, "" if there is none in it."""

    path: Path
    name: str
    mistake: str


def make_class(
    folder: Path, count: int, *, names: Sequence[str] = (), packages: Sequence[str] = ("raft", "kvraft")
) -> list[Student]:
    """`count` submissions in `folder`: correct ones first, then one a mistake.

    Args:
        names: of the mistakes, after the reference alone; by default all, in their order, as far as `count` goes.
        packages: what is handed in.
    """
    folder.mkdir(parents=True, exist_ok=True)
    others = sorted(path for path in (ROOT / "tests" / "correct").glob("*") if (path / "raft").is_dir())
    correct = [ROOT] if names else [ROOT, *others]
    chosen = [ROOT / mutants.FOLDER / f"{name}.toml" for name in names] or sorted(
        (ROOT / mutants.FOLDER).glob("*.toml")
    )
    students = []
    for number in range(count):
        mistake = mutants.load(chosen[(number - len(correct)) % len(chosen)]) if number >= len(correct) else None
        with tempfile.TemporaryDirectory() as temporary:
            tree = Path(temporary)
            if mistake is not None:
                mistake.plant(ROOT, tree)
            else:
                for package in packages:
                    if (correct[number] / package).is_dir():
                        ignored = shutil.ignore_patterns("__pycache__")
                        shutil.copytree(correct[number] / package, tree / package, ignore=ignored)
            name = f"student-{number:03}"
            path = _FORMS[number % len(_FORMS)](tree, folder, name, packages)
        students.append(Student(path, name, mistake.name if mistake else ""))
    return students


def copy_tree(tree: Path, folder: Path, name: str, packages: Sequence[str]) -> Path:
    for package in packages:
        if (tree / package).is_dir():
            shutil.copytree(tree / package, folder / name / package)
    return folder / name


def zip_tree(tree: Path, folder: Path, name: str, packages: Sequence[str]) -> Path:
    """One folder down, as file managers do it."""
    path = folder / f"{name}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in _files(tree, packages):
            archive.write(file, f"{name}-lab/{file.relative_to(tree)}")
    return path


def tar_tree(tree: Path, folder: Path, name: str, packages: Sequence[str]) -> Path:
    path = folder / f"{name}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for file in _files(tree, packages):
            archive.add(file, f"./{file.relative_to(tree)}")
    return path


def git_tree(tree: Path, folder: Path, name: str, packages: Sequence[str]) -> Path:
    path = copy_tree(tree, folder, name, packages)
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "hand in"]):
        subprocess.run(["git", *arguments], cwd=path, env=GIT, check=True)
    return path


_FORMS: tuple[Callable[[Path, Path, str, Sequence[str]], Path], ...] = (copy_tree, zip_tree, tar_tree, git_tree)


def _files(tree: Path, packages: Sequence[str]) -> list[Path]:
    return sorted(path for package in packages for path in (tree / package).rglob("*.py"))
