"""A shrunk run as a file: what is left of a failing run, enough to have it again.

    {"format": "raftlab-shrunk", "version": 1,
     "test": "test_many_elections", "seed": 2, "of": 312,
     "decisions": [["event/disconnect", 0, 1], ["net/0->1/jitter", 5, 130211]]}

Each decision is a stream, a number in it and a value, as `labrpc.streams` has them; all others are calm. An event's
value is 1: it happens. `of` is how many decisions the run had before it was shrunk, and may be missing. So may
"schedule", that of the run, if it is the usual one.
`pytest TEST --shrunk FILE` runs it.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labrpc.disturbance import SCHEDULES
from labrpc.errors import UsageError
from tester.run import Options, Plan

__all__ = ["FORMAT", "VERSION", "ShrunkRun"]

FORMAT = "raftlab-shrunk"
VERSION = 1

_FIELDS = {"format", "version", "test", "seed", "decisions"}
_MAY_BE_MISSING = {"of", "schedule"}


@dataclass(frozen=True)
class ShrunkRun:
    """Which test, under which seed, and the (stream, number) -> value of all that is not calm."""

    test: str
    seed: int
    decisions: dict[tuple[str, int], int]
    of: int | None = None
    """How many there were before it was shrunk, if that is known."""
    schedule: str = Options.schedule

    def plan(self, *, recorded: bool = False, longest_s: float = math.inf) -> Plan:
        """How to run it."""
        return Plan(self.decisions, calm=True, recorded=recorded, longest_s=longest_s)

    def save(self, path: Path) -> None:
        """Writes it, and the folder it goes to."""
        head: dict[str, object] = {"format": FORMAT, "version": VERSION, "test": self.test, "seed": self.seed}
        if self.of is not None:
            head["of"] = self.of
        if self.schedule != Options.schedule:
            head["schedule"] = self.schedule
        fields = ",\n ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items())
        rows = ",\n  ".join(json.dumps([stream, number, value]) for (stream, number), value in self.decisions.items())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{{{fields},\n "decisions": [\n  {rows}\n ]}}\n', encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> ShrunkRun:
        """The run that `save` wrote.

        Raises:
            UsageError: the file cannot be read or is none; the text says what is wrong with it.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"--shrunk {path}: {error.strerror or error}") from None
        except (ValueError, RecursionError) as error:
            raise UsageError(f"--shrunk {path} is not JSON: {error}") from None
        try:
            return cls._read(data)
        except UsageError as error:
            raise UsageError(f"--shrunk {path}: {error}") from None

    @classmethod
    def _read(cls, data: Any) -> ShrunkRun:
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise UsageError(f'it is no shrunk run: its "format" must be "{FORMAT}"')
        if data.get("version") != VERSION:
            raise UsageError(f"its version is {data.get('version')!r}; this raftlab reads version {VERSION}")
        if data.keys() - _MAY_BE_MISSING != _FIELDS:
            wrong = ", ".join(sorted((data.keys() - _MAY_BE_MISSING) ^ _FIELDS))
            raise UsageError(f"it must have exactly the fields {', '.join(sorted(_FIELDS))}; look at {wrong}")
        test, seed, rows, of = data["test"], data["seed"], data["decisions"], data.get("of")
        schedule = data.get("schedule", Options.schedule)
        if not isinstance(test, str):
            raise UsageError(f"test is {test!r}, not a test's name")
        if type(seed) is not int or seed < 0:
            raise UsageError(f"seed is {seed!r}, not a number of 0 or more")
        if of is not None and (type(of) is not int or of < 0):
            raise UsageError(f"of is {of!r}, not a number of 0 or more")
        if schedule not in SCHEDULES:
            raise UsageError(f"schedule is {schedule!r}, not one of {', '.join(SCHEDULES)}")
        if not isinstance(rows, list):
            raise UsageError(f"decisions is {rows!r}, not a list")
        decisions: dict[tuple[str, int], int] = {}
        for place, row in enumerate(rows):
            match row:
                case [str(stream), int(number), int(value)] if type(number) is type(value) is int and number >= 0:
                    decisions[stream, number] = value
                case _:
                    raise UsageError(f"decision {place} is {row!r}, not a stream, a number of 0 or more, and a value")
        return cls(test, seed, decisions, of, schedule)
