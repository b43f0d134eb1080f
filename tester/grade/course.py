"""What a course wants of a grading: `course.toml`, and what its rules make of runs.

    course.toml --load--> Course: which tests, how many runs, which policy, how many points, what lateness costs

Everything in the file may be left out; docs/course.toml shows all there is. A mistake in it is an error that names the
key: nothing is passed over.
"""

from __future__ import annotations

import datetime
import difflib
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from labrpc.errors import UsageError
from tester.grade.world import graded_here
from tester.parts import PARTS

__all__ = ["POLICIES", "VISIBILITIES", "Course", "LateRule", "TestRule", "load_course", "packages_of"]

POLICIES = ("all", "fraction", "threshold")
VISIBILITIES = ("visible", "hidden", "after_due_date", "after_published")
"""Of a test's result for its student, in the words of Gradescope."""

_MOST_RUNS = 100_000
_MOST_POINTS = 1_000_000


@dataclass(frozen=True)
class TestRule:
    """What a graded test is worth, and for what.

    Attributes:
        runs: how many there are of it.
        policy: `all`: its points if every run passes; `fraction`: the share of them of the runs that pass;
            `threshold`: its points if that share is at least `threshold`.
        threshold: in (0, 1]; used by policy `threshold` only.
        visibility: one of `VISIBILITIES`.
    """

    __test__ = False

    part: str
    test: str
    points: float
    runs: int
    policy: str = "all"
    threshold: float = 1.0
    visibility: str = "visible"

    def earned(self, passed: int) -> Fraction:
        """The points of a submission of whose runs `passed` passed, exactly.

        Raises:
            UsageError: there are not so many.
        """
        if not 0 <= passed <= self.runs:
            raise UsageError(f"{passed} runs of {self.test} passed; there are {self.runs}")
        points, share = _exact(self.points), Fraction(passed, self.runs)
        if self.policy == "fraction":
            return points * share
        return points if share >= (1 if self.policy == "all" else _exact(self.threshold)) else Fraction(0)


@dataclass(frozen=True)
class LateRule:
    """What lateness costs: of the points a submission earns, so many per cent for each day that has begun.

    Attributes:
        percent_per_day, most_percent: 0..100.
        grace_hours: so much lateness is none; one that is later is late from the due date on.
    """

    percent_per_day: float = 0.0
    most_percent: float = 100.0
    grace_hours: float = 0.0

    def taken(self, points: Fraction, days_late: float) -> Fraction:
        """How many of `points` a submission loses that is `days_late` late."""
        if days_late <= 0 or _exact(days_late) * 24 <= _exact(self.grace_hours):
            return Fraction(0)
        percent = min(_exact(self.percent_per_day) * math.ceil(_exact(days_late)), _exact(self.most_percent))
        return points * percent / 100


@dataclass(frozen=True)
class Course:
    """The rules of a grading.

    Attributes:
        name: of the course, "" if it has none.
        tests: the graded tests, part by part in the parts' order.
        due: part -> when its submissions are due, of those that have a due date.
    """

    name: str
    tests: tuple[TestRule, ...]
    late: LateRule = LateRule()
    due: Mapping[str, datetime.datetime] = field(default_factory=dict)

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that are graded."""
        return tuple(dict.fromkeys(rule.part for rule in self.tests))

    def of_part(self, part: str) -> tuple[TestRule, ...]:
        return tuple(rule for rule in self.tests if rule.part == part)

    def points_of(self, part: str) -> Decimal:
        """What a part is worth."""
        return sum((Decimal(str(rule.points)) for rule in self.of_part(part)), Decimal(0))

    def as_json(self) -> dict[str, Any]:
        """All of it, for programs."""
        return {
            "name": self.name,
            "tests": [vars(rule) for rule in self.tests],
            "late": vars(self.late),
            "due": {part: date.isoformat() for part, date in self.due.items()},
        }

    def due_date(self) -> datetime.datetime | None:
        """When what is graded was due; None: it is not said.

        Raises:
            UsageError: its parts were due at different times.
        """
        dates = {self.due[part] for part in self.parts if part in self.due}
        if len(dates) > 1 or (dates and len(self.due.keys() & set(self.parts)) < len(self.parts)):
            raise UsageError(
                f"the parts {', '.join(self.parts)} are not due at one time: grade them one by one (--parts), "
                "or say how late each submission is (--submitted with days_late)"
            )
        return next(iter(dates), None)


def packages_of(part: str) -> tuple[str, ...]:
    """The folders of a submission without which a part cannot be done."""
    if part.startswith("2"):
        return ("raft",)
    return ("kvraft",) if part == "3A" else ("raft", "kvraft")


def load_course(path: Path | None, *, parts: Sequence[str] = (), runs: int | None = None) -> Course:
    """The course in a file; None: one without any rules of its own.

    Args:
        parts: those that are graded; none: those that the file names, else all.
        runs: of each test, whatever the file says.

    Raises:
        UsageError: the file cannot be read, or something in it is wrong; or there is no such part.
    """
    return course_from({} if path is None else _read(path), "" if path is None else f"{path}: ", parts, runs)


def course_from(data: dict[str, Any], where: str, parts: Sequence[str] = (), runs: int | None = None) -> Course:
    """The course that TOML `data` says; `where` begins each error."""
    top = _Table(data, where)
    name = top.text("name", "")
    named = top.names("parts", PARTS, list(PARTS))
    rules = _Rules(20, "all", None, "visible").with_those_of(top)
    due = top.date("due")
    by_part, by_test = top.tables("part"), top.tables("test")
    late = _late(top.table("late"))
    top.done()
    for part in parts:
        if part not in PARTS:
            raise UsageError(f"there is no part {part}; there are {', '.join(PARTS)}")
    chosen = [part for part in PARTS if part in (parts or named)]
    known = {test.name: part for part in PARTS for test in graded_here(part)}
    for key, table in by_part.items():
        _check_name(table, key, PARTS, "part")
    for key, table in by_test.items():
        _check_name(table, key, known, "graded test")
    dates: dict[str, datetime.datetime] = {}
    found = []
    for part in PARTS:
        table = by_part.get(part, _Table({}, where))
        of_part = rules.with_those_of(table)
        date = table.date("due") or due
        table.done()
        for test in graded_here(part):
            table = by_test.get(test.name, _Table({}, where))
            of_test = of_part.with_those_of(table)
            points = table.number("points", test.points, 0, _MOST_POINTS)
            table.done()
            rule = TestRule(
                part=part,
                test=test.name,
                points=points,
                runs=of_test.runs if runs is None else runs,
                policy=of_test.policy,
                threshold=of_test.checked_threshold(),
                visibility=of_test.visibility,
            )
            if part in chosen:
                found.append(rule)
        if date is not None and part in chosen:
            dates[part] = date
    return Course(name, tuple(found), late, dates)


@dataclass(frozen=True)
class _Rules:
    """What tests take over from their part, and parts from the course."""

    runs: int
    policy: str
    threshold: float | None
    visibility: str
    policy_at: str = ""

    def with_those_of(self, table: _Table) -> _Rules:
        policy = table.word("policy", self.policy, POLICIES)
        is_said = "policy" in table.data
        return _Rules(
            runs=table.whole("runs", self.runs, 1, _MOST_RUNS),
            policy=policy,
            threshold=table.number("threshold", self.threshold, 0, 1, above=True),
            visibility=table.word("visibility", self.visibility, VISIBILITIES),
            policy_at=f"{table.where}{table.path}policy" if is_said else self.policy_at,
        )

    def checked_threshold(self) -> float:
        if self.policy != "threshold":
            return 1.0
        if self.threshold is None:
            raise UsageError(f'{self.policy_at} is "threshold", and no threshold is given; write e.g. threshold = 0.9')
        return self.threshold


def _late(table: _Table) -> LateRule:
    rule = LateRule(
        percent_per_day=table.number("percent_per_day", 0.0, 0, 100),
        most_percent=table.number("most_percent", 100.0, 0, 100),
        grace_hours=table.number("grace_hours", 0.0, 0, 24 * 365),
    )
    table.done()
    return rule


def _check_name(table: _Table, key: str, known: Mapping[str, object], what: str) -> None:
    if key not in known:
        raise UsageError(f"{table.where}{table.path[:-1]}: there is no {what} {key}{_meant(key, known)}")


def _meant(key: str, known: Mapping[str, object] | Sequence[str]) -> str:
    near = difflib.get_close_matches(key, list(known), 1)
    return f"; is {near[0]} meant?" if near else f"; there are {', '.join(known)}"


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from None


class _Table:
    """A table of the file, read key by key; what was not asked for is a mistake."""

    def __init__(self, data: dict[str, Any], where: str, path: str = "") -> None:
        self.data, self.where, self.path = data, where, path
        self._asked: dict[str, None] = {}

    def wrong(self, key: str, text: str) -> UsageError:
        return UsageError(f"{self.where}{self.path}{key} {text}")

    def _get(self, key: str, default: Any) -> Any:
        self._asked[key] = None
        return self.data.get(key, default)

    def text(self, key: str, default: str) -> str:
        value = self._get(key, default)
        if not isinstance(value, str) or not value.isprintable() or len(value) > 200:
            raise self.wrong(key, f"is {value!r}, not a text in one line, of at most 200 characters")
        return value

    def word(self, key: str, default: str, known: Sequence[str]) -> str:
        value = self._get(key, default)
        if value not in known:
            raise self.wrong(key, f"is {value!r}, not one of {', '.join(known)}")
        return str(value)

    def names(self, key: str, known: Mapping[str, object], default: list[str]) -> list[str]:
        value = self._get(key, default)
        if not isinstance(value, list) or not value:
            raise self.wrong(key, f"is {value!r}, not a list of some of {', '.join(known)}")
        for each in value:
            if not isinstance(each, str) or each not in known:
                raise self.wrong(key, f"names {each!r}, not one of {', '.join(known)}")
        return value

    def whole(self, key: str, default: int, least: int, most: int) -> int:
        value = self._get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.wrong(key, f"is {value!r}, not a whole number in {least}..{most}")
        return value

    def number(self, key: str, default: Any, least: float, most: float, *, above: bool = False) -> Any:
        """A number in `least`..`most`, `above` its lower end; the default may be None."""
        value = self._get(key, default)
        if value is None:
            return None
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not least <= value <= most or (above and value == least):
            how = f"above {least}, at most {most}" if above else f"in {least}..{most}"
            raise self.wrong(key, f"is {value!r}, not a number {how}")
        return value

    def date(self, key: str) -> datetime.datetime | None:
        value = self._get(key, None)
        if value is None:
            return None
        if not isinstance(value, datetime.datetime) or value.tzinfo is None:
            example = "2026-10-01T23:59:00+02:00"
            raise self.wrong(key, f"is {value!s}, not a time with its offset from UTC; write it as {example}")
        return value

    def table(self, key: str) -> _Table:
        value = self._get(key, {})
        if not isinstance(value, dict):
            raise self.wrong(key, f"is {value!r}, not a table; write [{self.path}{key}]")
        return _Table(value, self.where, f"{self.path}{key}.")

    def tables(self, key: str) -> dict[str, _Table]:
        table = self.table(key)
        return {name: table.table(name) for name in table.data}

    def done(self) -> None:
        """All keys that may be here have been asked for."""
        for key in self.data:
            if key not in self._asked:
                raise self.wrong(key, f"is no key of course.toml{_meant(key, list(self._asked))}")


def _exact(number: float) -> Fraction:
    """As it is written: 0.1 is a tenth."""
    return Fraction(str(number))
