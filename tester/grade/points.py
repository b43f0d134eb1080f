"""What outcomes are worth under a course's rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from tester.grade.course import Course, TestRule
from tester.grade.records import Outcome, Status, Submission

__all__ = ["Score", "TestScore", "score_of"]


@dataclass(frozen=True)
class TestScore:
    """One test of a submission.

    Attributes:
        passed, failed, unresolved: runs; those that are missing were not made, and count as not passed.
    """

    __test__ = False

    rule: TestRule
    passed: int = 0
    failed: int = 0
    unresolved: int = 0

    @property
    def points(self) -> Fraction:
        return self.rule.earned(self.passed)

    @property
    def is_flaky(self) -> bool:
        """Whether some runs passed and some failed."""
        return self.passed > 0 and self.failed > 0


@dataclass(frozen=True)
class Score:
    """A submission's points.

    Attributes:
        tests: in the course's order.
        late: points taken for lateness.
    """

    tests: tuple[TestScore, ...]
    late: Fraction

    @property
    def parts(self) -> Mapping[str, Fraction]:
        """part -> points, before any are taken for lateness."""
        points: dict[str, Fraction] = {}
        for test in self.tests:
            points[test.rule.part] = points.get(test.rule.part, Fraction(0)) + test.points
        return points

    @property
    def points(self) -> Fraction:
        return sum(self.parts.values(), Fraction(0)) - self.late

    @property
    def flaky(self) -> list[str]:
        return [test.rule.test for test in self.tests if test.is_flaky]

    @property
    def unresolved(self) -> int:
        return sum(test.unresolved for test in self.tests)


def score_of(course: Course, submission: Submission, outcomes: Iterable[Outcome]) -> Score:
    """The points of `submission`, from its runs."""
    counts: dict[tuple[str, Status], int] = {}
    for outcome in outcomes:
        key = outcome.job.test, outcome.status
        counts[key] = counts.get(key, 0) + 1
    tests = tuple(
        TestScore(
            rule, *(counts.get((rule.test, status), 0) for status in (Status.PASSED, Status.FAILED, Status.HARNESS))
        )
        for rule in course.tests
    )
    earned = sum((test.points for test in tests), Fraction(0))
    return Score(tests, course.late.taken(earned, submission.days_late))
