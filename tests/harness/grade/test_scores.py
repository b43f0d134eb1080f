"""Points, intervals and what is pending, of made-up outcomes."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labrpc.errors import UsageError
from tester.grade.course import LateRule
from tester.grade.records import Status
from tester.grade.scores import percent, score_submission, score_test, shown, wilson
from tests.harness.grade.made_up import (
    COURSE,
    FAILED,
    HARNESS,
    PASSED,
    a_rule,
    outcomes,
    submission,
)

POLICIES = ("all", "fraction", "threshold")


@pytest.mark.parametrize(
    ("passes", "runs", "low", "high"),
    [
        (17, 20, 0.6396, 0.9476),
        (20, 20, 0.8389, 1.0),
        (0, 20, 0.0, 0.1611),
        (1, 1, 0.2065, 1.0),
        (50, 100, 0.4038, 0.5962),
    ],
)
def test_wilson_intervals_are_those_of_the_tables(passes: int, runs: int, low: float, high: float) -> None:
    assert wilson(passes, runs) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 2000).flatmap(lambda runs: st.tuples(st.integers(0, runs), st.just(runs))))
def test_an_interval_holds_its_share_and_narrows_with_more_runs(counts: tuple[int, int]) -> None:
    passes, runs = counts
    low, high = wilson(passes, runs)
    assert 0 <= low <= passes / runs <= high <= 1
    assert wilson(runs - passes, runs) == pytest.approx((1 - high, 1 - low))
    closer_low, closer_high = wilson(passes * 4, runs * 4)
    assert closer_high - closer_low < high - low


@pytest.mark.parametrize(("passes", "runs"), [(1, 0), (-1, 3), (4, 3)])
def test_an_interval_of_impossible_counts_is_refused(passes: int, runs: int) -> None:
    with pytest.raises(UsageError, match="no interval"):
        wilson(passes, runs)


@pytest.mark.parametrize(
    ("policy", "passes", "points"),
    [
        ("all", 20, "10"),
        ("all", 19, "0"),
        ("fraction", 20, "10"),
        ("fraction", 17, "8.5"),
        ("fraction", 0, "0"),
        ("threshold", 18, "10"),
        ("threshold", 17, "0"),
    ],
)
def test_points_follow_the_policy(policy: str, passes: int, points: str) -> None:
    rule = a_rule("2A", "test_x", policy=policy)

    score = score_test(rule, outcomes("d", rule, [PASSED] * passes + [FAILED] * (20 - passes)))

    assert shown(score.points or Decimal(0)) == points
    assert not score.unresolved


def test_the_sentence_says_passes_and_interval() -> None:
    rule = a_rule("2A", "test_x")
    score = score_test(rule, outcomes("d", rule, [PASSED] * 17 + [FAILED] * 3))
    assert score.sentence == "passes 17 of 20, 95 % interval 64–95 %"
    assert score.flaky


@pytest.mark.parametrize("statuses", [[PASSED] * 20, [FAILED] * 20], ids=["all pass", "none pass"])
def test_a_test_that_always_ends_alike_is_not_flaky(statuses: list[Status]) -> None:
    rule = a_rule("2A", "test_x")
    assert not score_test(rule, outcomes("d", rule, statuses)).flaky


def test_runs_that_the_harness_failed_count_for_nobody() -> None:
    rule = a_rule("2A", "test_x", policy="fraction")

    score = score_test(rule, outcomes("d", rule, [HARNESS] * 2 + [PASSED] * 17 + [FAILED]))

    assert score.unresolved
    assert score.points is None
    assert (score.counted, score.lowest, score.highest) == (18, Decimal("8.5"), Decimal("9.5"))
    assert score.sentence == (
        "passes 17 of 18, 95 % interval 74–99 %; unresolved: 2 of 20 runs were failed by the harness and count for "
        "nobody; points pending: 8.5 to 9.5"
    )


def test_runs_that_were_not_made_keep_points_pending() -> None:
    rule = a_rule("2A", "test_x")
    score = score_test(rule, outcomes("d", rule, [FAILED] * 19))
    assert score.sentence.endswith("unresolved: 1 of 20 runs was not made; points pending: 0, whatever they show")


def test_a_test_without_any_run_is_unresolved_and_has_no_interval() -> None:
    score = score_test(a_rule("2A", "test_x"), [])
    assert score.unresolved
    assert score.interval is None
    assert (score.lowest, score.highest) == (0, 10)


def test_runs_beyond_those_planned_and_of_other_tests_do_not_count() -> None:
    rule, other = a_rule("2A", "test_x", runs=2), a_rule("2A", "test_y", runs=2)
    score = score_test(rule, [*outcomes("d", rule, [PASSED, PASSED, FAILED]), *outcomes("d", other, [FAILED, FAILED])])
    assert score.points == 10


@given(st.sampled_from(POLICIES), st.lists(st.sampled_from([PASSED, FAILED, HARNESS, None]), min_size=1, max_size=7))
def test_bounds_are_reached_whatever_open_runs_show(policy: str, known: list[Status | None]) -> None:
    rule = a_rule("2A", "test_x", points=7, runs=len(known), policy=policy)
    runs = outcomes("d", rule, [status or PASSED for status in known])
    made = [outcome for outcome, status in zip(runs, known, strict=True) if status]
    score = score_test(rule, made)

    open_runs = [place for place, status in enumerate(known) if status in (HARNESS, None)]
    ends = set()
    for shows in product([PASSED, FAILED], repeat=len(open_runs)):
        statuses = [status or PASSED for status in known]
        for place, status in zip(open_runs, shows, strict=True):
            statuses[place] = status
        ends.add(score_test(rule, outcomes("d", rule, statuses)).points)

    assert None not in ends
    assert {min(ends), max(ends)} == {score.lowest, score.highest}  # type: ignore[type-var]
    assert score.unresolved == bool(open_runs)


_COUNTS = st.integers(1, 30).flatmap(lambda runs: st.tuples(st.integers(0, runs), st.just(runs)))


@given(
    st.lists(st.tuples(st.integers(0, 10_000), _COUNTS), min_size=1, max_size=12),
    st.integers(0, 100),
    st.integers(0, 12),
)
def test_every_sum_is_the_sum_of_what_is_shown(
    tests: list[tuple[int, tuple[int, int]]], percent: int, days: int
) -> None:
    rules = [
        a_rule(f"2{'ABCD'[place % 4]}", f"test_{place}", points=points / 100, runs=runs, policy="fraction")
        for place, (points, (_, runs)) in enumerate(tests)
    ]
    known = [
        outcome
        for rule, (_, (passes, runs)) in zip(rules, tests, strict=True)
        for outcome in outcomes("d", rule, [PASSED] * passes + [FAILED] * (runs - passes))
    ]

    score = score_submission(submission("s", days_late=days), rules, known, late=LateRule(percent_per_day=percent))

    assert sum(Decimal(shown(test.points or Decimal(0))) for test in score.tests) == score.earned
    assert sum(Decimal(shown(part.points)) for part in score.parts) == score.earned
    assert Decimal(shown(score.earned)) - Decimal(shown(score.deduction)) == score.total
    assert 0 <= score.total <= score.earned <= score.of
    assert score.bounds == (score.total, score.total)
    share = min(Fraction(1), Fraction(percent * days, 100))
    assert abs(Fraction(score.deduction) - share * Fraction(score.earned)) <= Fraction(1, 200)


def test_lateness_is_taken_off_the_total_and_its_bounds() -> None:
    rules = [a_rule("2A", "test_x", runs=2), a_rule("2A", "test_y", runs=2)]
    known = [*outcomes("d", rules[0], [PASSED, PASSED]), *outcomes("d", rules[1], [PASSED, HARNESS])]

    score = score_submission(submission("s", days_late=1.5), rules, known, late=LateRule(percent_per_day=10))

    assert (score.earned, score.deduction, score.total) == (10, 2, 8)
    assert score.bounds == (8, 16)


def test_a_part_that_is_not_submitted_gets_no_points_and_is_not_pending() -> None:
    score = score_submission(submission("s"), COURSE.tests, [], absent={"4B": "kvraft/ is not in the submission"})
    *_, last = score.parts
    assert (last.points, last.of, last.unresolved) == (0, 20, ())
    assert last.tests[0].sentence == "not run: kvraft/ is not in the submission"
    assert len(score.unresolved) == 6


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0"), (0.004, "<1"), (0.005, "1"), (0.645, "65"), (0.994, "99"), (0.996, ">99"), (1.0, "100")],
)
def test_percents_keep_0_and_100_for_the_ends(share: float, text: str) -> None:
    assert percent(share) == text
