"""What was run already, kept as one line of JSON a run, by what it was run on.

    .raftlab/mutants/runs.jsonl     {"mutant": "double-vote", "schedule": "mix", "key": "…", "test": …, "seed": 2, …}

A line counts as long as its key does: the hash of the mutant and of all code that has a say in its verdict. A line that
a kill has cut short counts for nothing.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from tester.matrix.trial import Trial
from tester.mutants import Mutant

__all__ = ["Results", "Subject", "key_of"]

Subject = tuple[str, str]
"""A mutant's name and a schedule."""

_CODE = ("labrpc", "raft", "kvraft", "tester", "tests/labs")


def key_of(mutant: Mutant, root: Path) -> str:
    """What the runs of `mutant` depend on, hashed: itself, the reference, the world, the judge and the graded tests."""
    digest = hashlib.sha256(repr(mutant).encode())
    for folder in _CODE:
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(f"\0{path.relative_to(root).as_posix()}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


class Results:
    """The runs kept in `file`.

    Args:
        keys: the subjects of this campaign with their mutants' keys; their runs under other keys are dropped.
        fresh: whether all runs of these subjects are dropped.
    """

    def __init__(self, file: Path, keys: Mapping[Subject, str], *, fresh: bool = False) -> None:
        self._file = file
        self._keys = keys
        self._lock = threading.Lock()
        self._known: dict[Subject, dict[tuple[str, int], Trial]] = {subject: {} for subject in keys}
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        kept = [line for line in lines if self._take(line, fresh=fresh)]
        file.parent.mkdir(parents=True, exist_ok=True)
        written = file.with_suffix(".new")
        written.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        written.replace(file)

    def _take(self, line: str, *, fresh: bool) -> bool:
        """Whether `line` stays."""
        try:
            data = json.loads(line)
            subject, key = (data.pop("mutant"), data.pop("schedule")), data.pop("key")
            trial = Trial(**data)
        except (ValueError, TypeError, KeyError, AttributeError):
            return False
        if subject in self._keys:
            if fresh or key != self._keys[subject] or trial.fault:
                return False
            self._known[subject][trial.test, trial.seed] = trial
        return True

    def known(self, subject: Subject) -> dict[tuple[str, int], Trial]:
        """(test, seed) -> how that run of `subject` ended."""
        with self._lock:
            return dict(self._known[subject])

    def add(self, subject: Subject, trial: Trial) -> None:
        """Keeps one more; any thread may call it."""
        mutant, schedule = subject
        line = json.dumps({"mutant": mutant, "schedule": schedule, "key": self._keys[subject], **asdict(trial)})
        with self._lock:
            self._known[subject][trial.test, trial.seed] = trial
            with self._file.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
