"""What was run already, kept as one line of JSON a run, by what it was run on.

    .raftlab/mutants/runs.jsonl     {"mutant": "double-vote", "key": "…", "test": …, "seed": 2, "verdict": …}

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

__all__ = ["Results", "key_of"]

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
        keys: the mutants of this campaign, by name, with their keys; their runs under other keys are dropped.
        fresh: whether all runs of these mutants are dropped.
    """

    def __init__(self, file: Path, keys: Mapping[str, str], *, fresh: bool = False) -> None:
        self._file = file
        self._keys = keys
        self._lock = threading.Lock()
        self._known: dict[str, dict[tuple[str, int], Trial]] = {name: {} for name in keys}
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
            name, key = data.pop("mutant"), data.pop("key")
            trial = Trial(**data)
        except (ValueError, TypeError, KeyError, AttributeError):
            return False
        if name in self._keys:
            if fresh or key != self._keys[name] or trial.fault:
                return False
            self._known[name][trial.test, trial.seed] = trial
        return True

    def known(self, mutant: str) -> dict[tuple[str, int], Trial]:
        """(test, seed) -> how that run of `mutant` ended."""
        with self._lock:
            return dict(self._known[mutant])

    def add(self, mutant: str, trial: Trial) -> None:
        """Keeps one more; any thread may call it."""
        line = json.dumps({"mutant": mutant, "key": self._keys[mutant], **asdict(trial)})
        with self._lock:
            self._known[mutant][trial.test, trial.seed] = trial
            with self._file.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
