"""What outcomes are worth: passes, points, intervals, late deductions.

    Outcomes of a test --score_test--> TestScore --score_submission--> SubmissionScore: parts, deduction, total

Points are decimals, rounded to hundredths test by test, so that every sum is the sum of what is shown. A run that the
harness failed, or that was not made, counts for nobody: its test is unresolved, and the test's points are pending,
within bounds that hold whatever those runs will show.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from statistics import NormalDist
from types import MappingProxyType

from labrpc.errors import UsageError
from tester.grade.course import LateRule, TestRule
from tester.grade.records import Outcome, Status, Submission

__all__ = [
    "PartScore",
    "SubmissionScore",
    "TestScore",
    "percent",
    "score_submission",
    "score_test",
    "shown",
    "wilson",
]

_HUNDREDTH = Decimal("0.01")
_Z = NormalDist().inv_cdf(0.975)
"""95 % of a normal distribution lie within so many standard deviations."""


def wilson(passes: int, runs: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of the share of seeds that pass, each bound in 0..1.

    Raises:
        UsageError: not 0 <= passes <= runs, or no run.
    """
    if runs < 1 or not 0 <= passes <= runs:
        raise UsageError(f"{passes} passes of {runs} runs have no interval")
    share, z2 = passes / runs, _Z * _Z
    scale = 1 + z2 / runs
    middle = (share + z2 / (2 * runs)) / scale
    half = _Z / scale * math.sqrt(share * (1 - share) / runs + z2 / (4 * runs * runs))
    return (0.0 if passes == 0 else max(0.0, middle - half)), (1.0 if passes == runs else min(1.0, middle + half))


@dataclass(frozen=True)
class TestScore:
    """What a test's outcomes on one submission come to.

    Attributes:
        passed: the runs that passed, in the order of their numbers.
        failed: those that failed.
        broken: those that the harness failed.
        missing: how many runs were not made.
        absent: why the submission has nothing that the test could run on, "" if it has.
        lowest, highest: bounds of the points, equal if `points` is known.
    """

    __test__ = False  # pytest: this is no test

    rule: TestRule
    passed: tuple[Outcome, ...]
    failed: tuple[Outcome, ...]
    broken: tuple[Outcome, ...]
    missing: int
    lowest: Decimal
    highest: Decimal
    absent: str = ""

    @property
    def counted(self) -> int:
        """The runs that count."""
        return len(self.passed) + len(self.failed)

    @property
    def lost(self) -> int:
        """The runs that do not count."""
        return len(self.broken) + self.missing

    @property
    def unresolved(self) -> bool:
        """Whether runs that do not count keep the points pending."""
        return not self.absent and self.counted < self.rule.runs

    @property
    def points(self) -> Decimal | None:
        """None: pending."""
        return None if self.unresolved else self.lowest

    @property
    def of(self) -> Decimal:
        """What the test is worth."""
        return _rounded(Fraction(str(self.rule.points)))

    @property
    def flaky(self) -> bool:
        """Whether some runs pass and some fail."""
        return bool(self.passed and self.failed)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Of the share of seeds that pass; None without a run that counts."""
        return wilson(len(self.passed), self.counted) if self.counted else None

    @property
    def sentence(self) -> str:
        """How often it passes, and what is open."""
        if self.absent:
            return f"not run: {self.absent}"
        parts = []
        if self.interval is not None:
            low, high = self.interval
            parts.append(f"passes {len(self.passed)} of {self.counted}, 95 % interval {percent(low)}–{percent(high)} %")
        if self.unresolved:
            parts.append(f"unresolved: {self._open()}; {self._pending()}")
        return "; ".join(parts)

    def _open(self) -> str:
        runs = self.rule.runs
        reasons = []
        if self.broken:
            count = len(self.broken)
            ending = "was failed by the harness and counts" if count == 1 else "were failed by the harness and count"
            reasons.append(f"{count} of {runs} runs {ending} for nobody")
        if self.missing:
            reasons.append(f"{self.missing} of {runs} runs {'was' if self.missing == 1 else 'were'} not made")
        return ", ".join(reasons)

    def _pending(self) -> str:
        if self.lowest == self.highest:
            return f"points pending: {shown(self.lowest)}, whatever they show"
        return f"points pending: {shown(self.lowest)} to {shown(self.highest)}"


def score_test(rule: TestRule, outcomes: Iterable[Outcome], *, absent: str = "") -> TestScore:
    """What `outcomes`, all of one submission, come to under `rule`; those of other tests are passed over.

    Args:
        absent: why there is nothing to run the test on: it gets no points.
    """
    runs = {
        outcome.job.run: outcome
        for outcome in outcomes
        if (outcome.job.part, outcome.job.test) == (rule.part, rule.test) and outcome.job.run < rule.runs
    }
    if absent:
        return TestScore(rule, (), (), (), 0, Decimal(0), Decimal(0), absent)
    by_status: dict[Status, list[Outcome]] = {status: [] for status in Status}
    for _, outcome in sorted(runs.items()):
        by_status[outcome.status].append(outcome)
    passed, failed, broken = (tuple(by_status[status]) for status in (Status.PASSED, Status.FAILED, Status.HARNESS))
    lowest, highest = _rounded(rule.earned(len(passed))), _rounded(rule.earned(rule.runs - len(failed)))
    return TestScore(rule, passed, failed, broken, rule.runs - len(runs), lowest, highest)


@dataclass(frozen=True)
class PartScore:
    """The tests of a part, in the course's order."""

    part: str
    tests: tuple[TestScore, ...]

    @property
    def points(self) -> Decimal:
        """Of the tests that are resolved."""
        return _sum(test.points or Decimal(0) for test in self.tests)

    @property
    def of(self) -> Decimal:
        return _sum(test.of for test in self.tests)

    @property
    def unresolved(self) -> tuple[TestScore, ...]:
        return tuple(test for test in self.tests if test.unresolved)


@dataclass(frozen=True)
class SubmissionScore:
    """A submission's tests, and what they come to.

    Attributes:
        parts: in the course's order.
        late: None: being late costs nothing.
    """

    submission: Submission
    parts: tuple[PartScore, ...]
    late: LateRule | None = None

    @property
    def tests(self) -> tuple[TestScore, ...]:
        return tuple(test for part in self.parts for test in part.tests)

    @property
    def unresolved(self) -> tuple[TestScore, ...]:
        return tuple(test for test in self.tests if test.unresolved)

    @property
    def earned(self) -> Decimal:
        """Points of the tests that are resolved, nothing taken off."""
        return _sum(part.points for part in self.parts)

    @property
    def of(self) -> Decimal:
        return _sum(part.of for part in self.parts)

    @property
    def deduction(self) -> Decimal:
        """Points taken off `earned` for being late."""
        return self._deduction(self.earned)

    @property
    def total(self) -> Decimal:
        """Without what is pending."""
        return self.earned - self.deduction

    @property
    def bounds(self) -> tuple[Decimal, Decimal]:
        """Between which the total will be once nothing is pending."""
        low = self.earned + _sum(test.lowest for test in self.unresolved)
        high = self.earned + _sum(test.highest for test in self.unresolved)
        return low - self._deduction(low), high - self._deduction(high)

    def _deduction(self, points: Decimal) -> Decimal:
        if self.late is None:
            return Decimal(0)
        return _rounded(self.late.taken(Fraction(points), self.submission.days_late))


def score_submission(
    submission: Submission,
    rules: Sequence[TestRule],
    outcomes: Iterable[Outcome],
    *,
    late: LateRule | None = None,
    absent: Mapping[str, str] = MappingProxyType({}),
) -> SubmissionScore:
    """Scores all tests of a submission.

    Args:
        rules: in the order in which tests are shown.
        outcomes: of this submission.
        absent: part -> why the submission has nothing for it.
    """
    known = list(outcomes)
    parts: dict[str, list[TestScore]] = {}
    for rule in rules:
        score = score_test(rule, known, absent=absent.get(rule.part, ""))
        parts.setdefault(rule.part, []).append(score)
    return SubmissionScore(submission, tuple(PartScore(part, tuple(tests)) for part, tests in parts.items()), late)


def shown(points: Decimal) -> str:
    """Points for people: `10`, `3.33`."""
    text = format(points.quantize(_HUNDREDTH), "f")
    return text.rstrip("0").rstrip(".")


def percent(share: float) -> str:
    """A share for people, `64`; 0 and 100 are said of nothing else."""
    if 0 < share < 0.005:
        return "<1"
    if 0.995 <= share < 1:
        return ">99"
    return str(math.floor(share * 100 + 0.5))


def _rounded(points: Fraction) -> Decimal:
    """To hundredths, halves up."""
    return Decimal(math.floor(points * 100 + Fraction(1, 2))) * _HUNDREDTH


def _sum(points: Iterable[Decimal]) -> Decimal:
    return sum(points, Decimal(0))
