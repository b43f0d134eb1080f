"""How late each submission is: from a CSV file, or from the date of a repository's last commit.

name,days_late            name,timestamp
student-42,1.5            student-42,2026-10-02T08:30:00+02:00      with due in course.toml
"""

from __future__ import annotations

import csv
import dataclasses
import datetime
import math
from collections.abc import Sequence
from pathlib import Path

from labrpc.errors import UsageError
from tester.grade.course import Course
from tester.grade.intake import Taken
from tester.grade.records import Submission

__all__ = ["by_commit", "by_file"]

_DAY_S = 86_400.0
_MOST_DAYS = 10_000


def by_file(path: Path, course: Course, submissions: Sequence[Taken]) -> tuple[list[Taken], list[str]]:
    """`submissions` with the lateness that the file at `path` says; and what is strange, in sentences.

    One that the file does not name is in time, and a note says so.

    Raises:
        UsageError: the file cannot be read, or a line in it makes no sense, or there is no due date.
    """
    late = _read(path, course)
    known = {name for taken in submissions for name in (taken.original, taken.result.name)}
    strange = [f"{path} names {name}, and there is no such submission" for name in late if name not in known]
    found = []
    for taken in submissions:
        days = late.get(taken.original, late.get(taken.result.name))
        if days is None and isinstance(taken.result, Submission):
            strange.append(f"{path} does not name {taken.original}: it counts as in time")
        found.append(_with(taken, days or 0.0))
    return found, strange


def by_commit(course: Course, submissions: Sequence[Taken]) -> tuple[list[Taken], list[str]]:
    """`submissions` with the lateness of their last commits; and which have none.

    Raises:
        UsageError: there is no due date.
    """
    due = _due(course, "--late-by-commit")
    strange = []
    found = []
    for taken in submissions:
        if taken.committed_at is None and isinstance(taken.result, Submission):
            strange.append(f"{taken.original} is no git repository: it counts as in time")
        found.append(_with(taken, _days(taken.committed_at - due) if taken.committed_at is not None else 0.0))
    return found, strange


def _with(taken: Taken, days: float) -> Taken:
    if not isinstance(taken.result, Submission):
        return taken
    return dataclasses.replace(taken, result=dataclasses.replace(taken.result, days_late=days))


def _days(seconds: float) -> float:
    return round(max(0.0, seconds / _DAY_S), 6)


def _due(course: Course, option: str) -> float:
    due = course.due_date()
    if due is None:
        raise UsageError(f"{option} needs to know when what is graded was due: write due = … in course.toml")
    return due.timestamp()


def _read(path: Path, course: Course) -> dict[str, float]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"--submitted {path} cannot be read: {error}") from None
    columns = [column.strip().lower() for column in lines[0]] if lines else []
    kinds = [kind for kind in ("days_late", "timestamp") if kind in columns]
    if "name" not in columns or len(kinds) != 1:
        raise UsageError(f"{path}: its first line must name the columns: name,days_late or name,timestamp")
    name_at, value_at = columns.index("name"), columns.index(kinds[0])
    due = _due(course, f"--submitted {path}") if kinds[0] == "timestamp" else 0.0
    late: dict[str, float] = {}
    for number, line in enumerate(lines[1:], 2):
        if not any(cell.strip() for cell in line):
            continue
        if len(line) != len(columns):
            raise UsageError(f"{path}, line {number}: {len(line)} cells; there are {len(columns)} columns")
        name, value = line[name_at].strip(), line[value_at].strip()
        if name in late:
            raise UsageError(f"{path}, line {number}: {name} is there twice")
        late[name] = _days_late(value, f"{path}, line {number}") if kinds[0] == "days_late" else (
            _days(_timestamp(value, f"{path}, line {number}") - due)
        )  # fmt: skip
    return late


def _days_late(text: str, where: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = math.nan
    if not 0 <= days <= _MOST_DAYS:
        raise UsageError(f"{where}: {text[:40]!r} is not a number of days in 0..{_MOST_DAYS}")
    return days


def _timestamp(text: str, where: str) -> float:
    try:
        at = datetime.datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise UsageError(f"{where}: {text[:40]!r} is not a time with its offset, as 2026-10-02T08:30:00+02:00")
    return at.timestamp()
