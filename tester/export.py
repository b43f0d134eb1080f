"""The command `tester export`: a run's journal in, a file for other programs out.

journal --jsonl--> export_jsonl: every event, a line each
        --perfetto--> Reading --> timeline/perfetto: slices, counters and arrows, for ui.perfetto.dev
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from labrpc.errors import UsageError
from labrpc.journal import Journal
from tester import export_jsonl
from tester.kept import KeptRun, find_run, load
from tester.timeline import perfetto
from tester.timeline.reading import read

__all__ = ["FORMATS", "export"]

FORMATS = {"jsonl": ".jsonl", "perfetto": ".perfetto.json"}
"""By name: how the file's name ends, if it is not given."""


def export(
    console: Console, progress_console: Console, *, run: str | None, root: Path, file_format: str, out: str | None
) -> int:
    """Does it; the exit code to leave with, 0.

    Args:
        progress_console: for warnings, and, if it is a terminal, for how far it is.
        run, root: as for `find_run`.
        out: a path, or "-" for stdout; None: beside the journal, with its name.

    Raises:
        UsageError: there is no such run or format, or its journal cannot be read, or the file cannot be written.
    """
    if file_format not in FORMATS:
        raise UsageError(f"no format {file_format!r}; there are {', '.join(FORMATS)}")
    found = find_run(run, root)
    path = None if out == "-" else Path(out) if out else found.journal.with_suffix(FORMATS[file_format])
    if path is not None and path.exists() and path.samefile(found.journal):
        raise UsageError(f"{path} is the journal itself; give another file, or - for stdout")
    with closing(load(found, progress_console)) as journal:
        count = len(journal)
        is_shown = progress_console.is_terminal and not (path is None and sys.stdout.isatty())
        with _progress(progress_console, is_shown) as progress:
            _write(path, _lines(file_format, journal, found, progress))
    if path is not None:
        hint = "; open it at ui.perfetto.dev" if file_format == "perfetto" else ""
        console.print(Text(f"{count:,} events of {found.title}: {path}{hint}"), soft_wrap=True)
    return 0


def _lines(file_format: str, journal: Journal, run: KeptRun, progress: Progress) -> Iterable[bytes]:
    if file_format == "jsonl":
        lines = export_jsonl.lines(journal, run.failure)
        return progress.track(lines, total=len(journal) + 1, description="writing")
    reading = read(progress.track(journal, total=len(journal), description="reading"))
    return perfetto.trace_lines(reading, title=run.title, verdict=run.failure.verdict if run.failure else None)


def _write(path: Path | None, lines: Iterable[bytes]) -> None:
    try:
        if path is not None:
            with path.open("wb") as file:
                file.writelines(lines)
            return
        sys.stdout.buffer.writelines(lines)
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # whoever reads has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        raise UsageError(f"cannot write {path or 'stdout'}: {error.strerror or error}") from error


def _progress(console: Console, is_shown: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=not is_shown)
