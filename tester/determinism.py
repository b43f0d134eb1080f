"""Is the same seed the same run? Runs it again in a process with another hash seed, and compares event by event."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from labrpc.errors import HarnessError
from labrpc.journal import UNHASHED, Journal

__all__ = ["JOURNAL_FILE", "first_difference", "journal_of_replay"]

JOURNAL_FILE = "{test}-seed-{seed}-cluster-{number}.journal"
"""What --journal DIR writes for each cluster of a run, for `labrpc.journal.Journal.read`."""

_LIMIT_S = 600


def first_difference(ours: Iterable[Any], theirs: Iterable[Any]) -> str:
    """The first hashed event that differs, in words; "" if none does."""
    for number, (mine, other) in enumerate(itertools.zip_longest(_hashed(ours), _hashed(theirs))):
        if mine != other:
            return f"event {number} differs:\n  first run:  {_describe(mine)}\n  second run: {_describe(other)}"
    return ""


def journal_of_replay(command: Sequence[str], root: Path) -> list[Journal]:
    """Runs pytest with `command` in a process with a different PYTHONHASHSEED; the journals of its clusters.

    Raises:
        HarnessError: it left no journal.
    """
    with tempfile.TemporaryDirectory(prefix="raftlab-determinism-") as folder:
        hash_seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        for name in ("PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST"):
            environment.pop(name, None)
        arguments = [
            sys.executable,
            "-m",
            "pytest",
            *command,
            "--journal",
            folder,
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
        ]
        done = subprocess.run(
            arguments, cwd=root, env=environment, capture_output=True, text=True, timeout=_LIMIT_S, check=False
        )
        journals = []
        for path in sorted(Path(folder).glob("*.journal"), key=lambda path: int(path.stem.rpartition("-")[2])):
            with path.open("rb") as file:
                journals.append(Journal.read(file))
        if not journals:
            raise HarnessError(
                f"the second run left no journal; it printed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
        return journals


def _hashed(events: Iterable[Any]) -> Iterator[Any]:
    return (event for event in events if not isinstance(event, UNHASHED))


def _describe(event: Any) -> str:
    return "the run has ended" if event is None else f"{event.at / 1e9:.6f} s {event!r}"
