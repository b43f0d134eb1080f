"""`tester gallery` and `tester plant`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.text import Text

from labrpc.errors import HarnessError, UsageError
from tester import mutants
from tester.gallery.entries import Entry, chosen, load_entries
from tester.gallery.exhibit import Exhibit, Progress, catch, replay
from tester.gallery.pages import INDEX, index, pages
from tester.mutants import Mutant
from tester.run import reference_root
from tester.shrink_run import CannotShrink
from tester.shrunk import ShrunkRun

__all__ = ["FOLDER", "gallery", "plant"]

FOLDER = Path("docs") / "gallery"
_ENTRIES = FOLDER / "entries.toml"


def plant(console: Console, *, name: str, folder: Path) -> int:
    """Plants a mistake: the reference with it goes into `folder`; the exit code to leave with.

    Raises:
        UsageError: there is no such mistake, or something in `folder` would be written over.
    """
    root = _checkout()
    mutant = mutants.find(root / mutants.FOLDER, name)
    for package in ("raft", "kvraft"):
        if (folder / package).exists():
            raise UsageError(f"{folder / package} is there already; remove it, or name another folder")
    with _written(folder):
        mutant.plant(root, folder)
    console.print(Text(f"{folder} holds the reference with one mistake: it {mutant.title}"), soft_wrap=True)
    console.print(Text(f"catch it: pytest -m {mutant.part} --runs 20 --solution={folder}"), soft_wrap=True)
    return 0


def gallery(out: Console, err: Console, *, names: list[str], folder: Path | None, search: bool, check: bool) -> int:
    """Makes the pages; the exit code to leave with: 0 if they are written, or are as they should be, else 1.

    Args:
        names: mutants; none means all.
        folder: where pages and kept runs are; None is the project's own.
        search: whether to catch and shrink also where there is a kept run that fails.
        check: whether to compare only.

    Raises:
        UsageError: no such mistake, one that does not fit the reference or is not caught, a damaged kept run.
    """
    if search and check:
        raise UsageError("--search makes new pages, --check compares those that are there; give one of them")
    root = _checkout()
    entries = load_entries(root / _ENTRIES)
    wanted = chosen(entries, names)
    folder = folder or root / FOLDER
    exhibits: list[Exhibit] = []
    lost: list[str] = []
    with TemporaryDirectory() as planted:
        for entry in entries:
            mutant = mutants.find(root / mutants.FOLDER, entry.mutant)
            solution = mutant.plant(root, Path(planted) / mutant.name)
            with _progress(err, mutant.name) as progress:
                exhibit = None if search and entry in wanted else _kept(entry, mutant, solution, folder)
                if exhibit is None and not check:
                    exhibit = _found(entry, mutant, solution, folder, progress)
            if exhibit is None:
                lost.append(mutant.name)
            else:
                exhibits.append(exhibit)
    made = {INDEX: index(exhibits)}
    for exhibit in exhibits:
        if exhibit.entry in wanted:
            made |= pages(exhibit, exhibit.mutant.difference(root))
    if check:
        return _compare(out, folder, made, lost)
    with _written(folder):
        for file, text in made.items():
            (folder / file).write_text(text, encoding="utf-8")
    out.print(Text(f"{len(made)} files written into {os.path.relpath(folder)}"), soft_wrap=True)
    return 0


def _kept(entry: Entry, mutant: Mutant, solution: Path, folder: Path) -> Exhibit | None:
    """Made of the kept run; None if there is none, or it is no run of this test any more, or does not fail."""
    file = folder / f"{mutant.name}.json"
    kept = ShrunkRun.load(file) if file.exists() else None
    return None if kept is None or kept.test != entry.test else replay(entry, mutant, solution, kept)


def _found(entry: Entry, mutant: Mutant, solution: Path, folder: Path, progress: Progress) -> Exhibit:
    """Made of a new run, which is kept."""
    try:
        kept = catch(entry, solution, progress)
    except CannotShrink as reason:
        raise HarnessError(f"{mutant.name}: {reason}") from None
    exhibit = replay(entry, mutant, solution, kept)
    if exhibit is None:
        raise HarnessError(f"{mutant.name}: its shrunk run does not fail again")
    with _written(folder):
        kept.save(folder / f"{mutant.name}.json")
    return exhibit


def _compare(out: Console, folder: Path, made: dict[str, str], lost: list[str]) -> int:
    for name in lost:
        text = f"{name}: {name}.json holds no run that fails; renew it with: tester gallery {name} --search"
        out.print(Text(text, style="red"), soft_wrap=True)
    differ = [file for file, text in made.items() if _text(folder / file) != text]
    for file in differ:
        what = "is not what its run shows today" if (folder / file).exists() else "is missing"
        out.print(Text(f"{file} {what}; renew it with: tester gallery", style="red"), soft_wrap=True)
    if lost or differ:
        return 1
    out.print(Text(f"{len(made)} files are as they should be"), soft_wrap=True)
    return 0


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


@contextlib.contextmanager
def _written(folder: Path) -> Iterator[None]:
    """What cannot be written is the user's mistake."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot write into {folder}: {error.strerror or error}") from None


@contextlib.contextmanager
def _progress(err: Console, name: str) -> Iterator[Progress]:
    """A line on the terminal that changes, and is gone afterwards."""
    if not err.is_terminal:
        yield lambda text: None
        return
    with err.status(Text(f"{name}: replaying")) as status:
        yield lambda text: status.update(Text(f"{name}: {text}"))


def _checkout() -> Path:
    root = reference_root()
    if not (root / mutants.FOLDER).is_dir():
        raise UsageError(f"this needs a checkout of the project: there is no {mutants.FOLDER} in {root}")
    return root
