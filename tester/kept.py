"""A run as it is named on the command line, and its journal.

    nothing                            the latest failure kept below .raftlab/failures
    test_many_elections-seed-2         a failure kept there, by its folder's name
    DIR                                the folder of a failure, wherever it is
    FILE                               a journal

Every command that looks at a run names it so, and reads it by `load`.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from labrpc.errors import UsageError
from labrpc.journal import Journal
from tester.failures import FOLDER, JOURNAL, Failure, failure_in, kept

__all__ = ["KeptRun", "find_run", "load"]

_MOST_NAMED = 5


@dataclass(frozen=True)
class KeptRun:
    """A journal's file, and what is known of the run beside its events; None: nothing."""

    journal: Path
    failure: Failure | None = None

    @property
    def folder(self) -> Path:
        return self.journal.parent

    @property
    def title(self) -> str:
        """Which run it is, for people."""
        return f"{self.failure.test}, seed {self.failure.seed}" if self.failure else self.journal.name


def find_run(name: str | None, root: Path) -> KeptRun:
    """The run that `name` names; None: the latest failure.

    Args:
        root: the folder that pytest ran in, below which failures are kept.

    Raises:
        UsageError: there is no such run; the text says which there are.
    """
    if name is None:
        folders = [each.folder for each in kept(root)]
        if not folders:
            raise UsageError(f"no failing run is kept in {root / FOLDER}; run pytest first, or name a journal")
        return _run_in(folders[0])
    path = Path(name)
    try:
        if path.is_dir():
            return _run_in(path)
        if path.exists():
            return KeptRun(path, failure_in(path.parent) if path.name == JOURNAL else None)
        if (root / FOLDER / name).is_dir():
            return _run_in(root / FOLDER / name)
    except (OSError, ValueError) as error:  # of a name too long, or with NUL in it
        raise UsageError(f"cannot look for run {name!r}: {error}") from error
    raise UsageError(f"there is no run {name!r}: no journal, no folder of one, {_those_kept(root)}")


def load(run: KeptRun, console: Console) -> Journal:
    """The run's journal, to be closed after use. Of a file that is cut short, what is whole of it.

    Args:
        console: for what is wrong with a file that can be read all the same, and, if it is a terminal, for how far the
            reading is.

    Raises:
        UsageError: the file cannot be read, or is no journal, or one of a newer version, or damaged.
    """
    try:
        with contextlib.ExitStack() as stack:
            file: BinaryIO = stack.enter_context(run.journal.open("rb"))
            if console.is_terminal:
                columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
                progress = stack.enter_context(Progress(*columns, console=console, transient=True))
                size = run.journal.stat().st_size
                file = progress.wrap_file(file, total=size, description=f"reading {run.journal.name}")
            journal = Journal.read(file, partial=True)
    except OSError as error:
        raise UsageError(f"cannot read {run.journal}: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"{run.journal}: {error}") from error
    if journal.cut_short:
        warning = f"{run.journal} is cut short: its end is missing, these are the {len(journal):,} events before that"
        console.print(Text(warning, style="yellow"), soft_wrap=True)
    return journal


def _run_in(folder: Path) -> KeptRun:
    path = folder / JOURNAL
    if not path.is_file():
        raise UsageError(f"there is no {JOURNAL} in {folder}; name a journal, or the folder of a failure")
    return KeptRun(path, failure_in(folder))


def _those_kept(root: Path) -> str:
    names = [each.folder.name for each in kept(root)]
    if not names:
        return f"and no failing run is kept in {root / FOLDER}"
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"and in {root / FOLDER} there are {', '.join(names[:_MOST_NAMED])}{more}"
