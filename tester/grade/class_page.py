"""The class's page: how it went, which tests were hard and why, who is unresolved, and a line a student."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from tester.grade.charts import bar, histogram
from tester.grade.kinds import verdict_of
from tester.grade.page import Column, anchor, badge, code, link, render, table
from tester.grade.records import Refusal
from tester.grade.scores import SubmissionScore, TestScore, percent, shown
from tester.grade.texts import Markup, join, plain, tag
from tester.likeness import pattern
from tester.parts import PARTS

__all__ = ["REPORT", "class_page"]

REPORT = "report.html"
"""A student's page, in submissions/<name>."""

_BINS = 10
_HARDEST = 8
_MOST_VERDICTS = 15
_MOST_NAMES = 8

Each = TypeVar("Each")


def class_page(scores: Sequence[SubmissionScore], refusals: Sequence[Refusal], course: str) -> bytes:
    """The page, as a file.

    Args:
        scores: by name.
        course: its name.
    """
    sections = [
        ("Scores", "scores", _distribution(scores)),
        ("Parts", "parts", _parts(scores)),
        ("Hardest tests", "hardest", _hardest(scores)),
        ("Commonest verdicts", "verdicts", _verdicts(scores)),
        ("Unresolved", "unresolved", _unresolved(scores)),
        ("Refused", "refused", _refused(refusals)),
        ("Flaky", "flaky", _flaky(scores)),
        ("Submissions", "submissions", _students(scores, refusals)),
        ("All tests", "tests", _tests(scores)),
    ]
    there = [(title, name, pieces) for title, name, pieces in sections if pieces]
    title = f"{course}: results" if course else "Results of the class"
    jumps = tag("nav", *(tag("a", title, href=f"#{name}") for title, name, _ in there), aria_label="On this page")
    body = [
        tag("a", "to the submissions", href="#submissions", class_="skip"),
        tag("h1", title),
        _cards(scores, refusals),
        jumps,
    ]
    for heading, name, pieces in there:
        body.append(tag("section", tag("h2", heading, id=name), *pieces))
    return render(title, [tag("main", *body)])


def _cards(scores: Sequence[SubmissionScore], refusals: Sequence[Refusal]) -> Markup:
    pending = sum(bool(score.unresolved) for score in scores)
    cards = [("submissions graded", str(len(scores))), ("refused", str(len(refusals)))]
    cards.append(("with points pending", str(pending)))
    cards.append(("late", str(sum(score.deduction > 0 for score in scores))))
    if scores:
        totals = [score.total for score in scores]
        cards.append(("median score", f"{shown(statistics.median(totals))} of {shown(scores[0].of)}"))
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in cards), class_="cards")


def _distribution(scores: Sequence[SubmissionScore]) -> list[Markup]:
    if not scores or not scores[0].of:
        return []
    of = scores[0].of
    counts = [0] * _BINS
    for score in scores:
        counts[min(_BINS - 1, int(score.total / of * _BINS))] += 1
    step = 100 // _BINS
    edges = [str(edge) for edge in range(0, 101, step)]
    words = ", ".join(
        f"{count} at {low} to {high} %" for count, low, high in zip(counts, edges, edges[1:], strict=False) if count
    )
    low, quarter, middle, three, high = _five([score.total for score in scores])
    said = (
        f"Of {shown(of)} points: lowest {shown(low)}, a quarter of the class at or below {shown(quarter)}, median "
        f"{shown(middle)}, three quarters at or below {shown(three)}, highest {shown(high)}."
    )
    caption = "Submissions by their share of all points, in per cent, after late deductions and without pending points."
    label = f"Distribution of scores: {words}"
    return [tag("p", said), histogram(counts, edges, label=label), tag("p", caption, class_="soft")]


def _five(totals: Sequence[Decimal]) -> tuple[Decimal, Decimal, Decimal, Decimal, Decimal]:
    """Lowest, quartiles and highest, each one that a submission has, but for the median."""
    ordered = sorted(totals)
    last = len(ordered) - 1
    return (
        ordered[0], ordered[-(-(last + 1) // 4) - 1], statistics.median(ordered),
        ordered[-(-3 * (last + 1) // 4) - 1], ordered[last],
    )  # fmt: skip


def _parts(scores: Sequence[SubmissionScore]) -> list[Markup]:
    rows = []
    for place, part in enumerate(scores[0].parts if scores else ()):
        alike = [score.parts[place] for score in scores]
        tests = [test for each in alike for test in each.tests]
        full = sum(each.points == each.of for each in alike)
        mean = sum((each.points for each in alike), Decimal(0)) / len(alike)
        name = f"{part.part} {PARTS.get(part.part, '')}"
        rows.append([name, *_rate(tests), f"{shown(mean)} of {shown(part.of)}", f"{full} of {len(alike)}"])
    columns = [
        Column("part"), Column("runs that pass"), Column("", "number"), Column("mean points", "number"),
        Column("full points", "number"),
    ]  # fmt: skip
    return (
        [
            table(
                "Pass rates by part, over all runs that count; mean points are without pending ones.",
                columns,
                rows,
                stacked=True,
            )
        ]
        if rows
        else []
    )


@dataclass(frozen=True)
class _ClassTest:
    """A test, over the class.

    Attributes:
        scores: (whose, score), of the submissions that it was run on.
    """

    part: str
    test: str
    scores: tuple[tuple[SubmissionScore, TestScore], ...]

    @property
    def rate(self) -> float:
        """The share of all its runs that passed; 1 if none counts."""
        counted = sum(score.counted for _, score in self.scores)
        return sum(len(score.passed) for _, score in self.scores) / counted if counted else 1.0

    def count(self, wanted: Callable[[TestScore], bool]) -> int:
        return sum(wanted(score) for _, score in self.scores)

    @property
    def commonest(self) -> str:
        """The verdict of the commonest kind of failure, "" without failures."""
        found = _groups(
            (pattern(verdict_of(failure)), verdict_of(failure)) for _, score in self.scores for failure in score.failed
        )
        return found[0][1][0] if found else ""


def _class_tests(scores: Sequence[SubmissionScore]) -> list[_ClassTest]:
    return [
        _ClassTest(
            test.rule.part,
            test.rule.test,
            tuple((score, score.tests[place]) for score in scores if not score.tests[place].absent),
        )
        for place, test in enumerate(scores[0].tests if scores else ())
    ]


def _hardest(scores: Sequence[SubmissionScore]) -> list[Markup]:
    tests = [test for test in _class_tests(scores) if test.rate < 1]
    rows = []
    for test in sorted(tests, key=lambda test: test.rate)[:_HARDEST]:
        name = join([f"{test.part} ", code(test.test)])
        rows.append([name, *_rate([score for _, score in test.scores]), test.commonest])
    columns = [Column("test"), Column("runs that pass"), Column("", "number"), Column("commonest verdict", "words")]
    caption = "The tests of which the fewest runs pass."
    return [table(caption, columns, rows, stacked=True)] if rows else []


def _tests(scores: Sequence[SubmissionScore]) -> list[Markup]:
    rows = []
    for test in _class_tests(scores):
        counts = [
            test.count(lambda score: not score.failed and not score.unresolved),
            test.count(lambda score: score.flaky),
            test.count(lambda score: bool(score.failed) and not score.passed),
            test.count(lambda score: score.unresolved),
        ]
        name = join([f"{test.part} ", code(test.test)])
        rows.append([name, *_rate([score for _, score in test.scores]), *map(str, counts)])
    columns = [Column("test"), Column("runs that pass"), Column("", "number"), *(
        Column(title, "number") for title in ("pass", "flaky", "fail", "unresolved"))]  # fmt: skip
    caption = "Of how many submissions each test passes, passes now and then, always fails, or is unresolved."
    return [table(caption, columns, rows, stacked=True)] if rows else []


def _verdicts(scores: Sequence[SubmissionScore]) -> list[Markup]:
    failures = [
        (pattern(verdict_of(failure)), (score, test, verdict_of(failure)))
        for score in scores
        for test in score.tests
        for failure in test.failed
    ]
    rows = []
    groups = _groups(failures)
    groups.sort(key=lambda group: -len({score.submission.name for score, _, _ in group[1]}))
    for _, alike in groups[:_MOST_VERDICTS]:
        names = list(dict.fromkeys(score.submission.name for score, _, _ in alike))
        tests = list(dict.fromkeys(test.rule.test for _, test, _ in alike))
        where = {score.submission.name: test for score, test, _ in reversed(alike)}
        linked = [_to(name, anchor(where[name])) for name in names[:_MOST_NAMES]]
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        cells = [alike[0][2], str(len(names)), str(len(alike)), join(map(code, tests[:3]), ", ")]
        cells[3] = join([cells[3], f" and {len(tests) - 3} more" if len(tests) > 3 else ""])
        rows.append([*cells, join([join(linked, ", "), more])])
    columns = [
        Column("verdict", "words"), Column("submissions", "number"), Column("runs", "number"), Column("tests", "words"),
        Column("of"),
    ]  # fmt: skip
    caption = "Verdicts that differ in numbers only count as one; an example of each is shown."
    left = len(groups) - _MOST_VERDICTS
    rest = [tag("p", f"And {left} more, in fewer submissions.", class_="soft")] if left > 0 else []
    return [table(caption, columns, rows, stacked=True), *rest] if rows else []


def _unresolved(scores: Sequence[SubmissionScore]) -> list[Markup]:
    rows = [
        [_to(score.submission.name), join([f"{test.rule.part} ", code(test.rule.test)]), "; ".join(_why_open(test))]
        for score in scores
        for test in score.unresolved
    ]
    caption = "Runs that the harness failed, or that were not made. The same grading command makes them again."
    return (
        [table(caption, [Column("submission"), Column("test"), Column("", "words")], rows, stacked=True)]
        if rows
        else []
    )


def _why_open(test: TestScore) -> Iterator[str]:
    yield test.sentence
    if test.broken:
        yield f"the first: {verdict_of(test.broken[0])}"


def _refused(refusals: Sequence[Refusal]) -> list[Markup]:
    rows = [[_to(refusal.name), plain(refusal.reason)] for refusal in refusals]
    caption = "Submissions that could not be taken. They get no points."
    return [table(caption, [Column("submission"), Column("why", "words")], rows, stacked=True)] if rows else []


def _flaky(scores: Sequence[SubmissionScore]) -> list[Markup]:
    rows = []
    for score in scores:
        flaky = [test for test in score.tests if test.flaky]
        if flaky:
            more = f" and {len(flaky) - _MOST_NAMES} more" if len(flaky) > _MOST_NAMES else ""
            which = join([join(map(_odds, flaky[:_MOST_NAMES]), ", "), more])
            rows.append([_to(score.submission.name), str(len(flaky)), which])
    caption = "Submissions with tests that pass under some seeds only, and how often each does."
    columns = [Column("submission"), Column("flaky tests", "number"), Column("which", "words")]
    return [table(caption, columns, rows, stacked=True)] if rows else []


def _odds(test: TestScore) -> Markup:
    return join([code(test.rule.test), f"\N{NO-BREAK SPACE}{len(test.passed)}/{test.counted}"])


def _students(scores: Sequence[SubmissionScore], refusals: Sequence[Refusal]) -> list[Markup]:
    parts = scores[0].parts if scores else ()
    rows: dict[str, list[str]] = {}
    for score in scores:
        cells = [badge("pending", "doubt") if part.unresolved else shown(part.points) for part in score.parts]
        late = f"−{shown(score.deduction)}" if score.deduction else ""
        remarks = [*map(plain, score.submission.notes)]
        rows[score.submission.name] = [
            _to(score.submission.name), _total(score), *cells, late, join(remarks, "; ")
        ]  # fmt: skip
    for refusal in refusals:
        rows[refusal.name] = [
            _to(refusal.name),
            badge("refused", "bad"),
            *([""] * len(parts)),
            "",
            plain(refusal.reason),
        ]
    columns = [Column("submission"), Column("total", "number"), *(Column(part.part, "number") for part in parts),
               Column("late", "number"), Column("notes")]  # fmt: skip
    of = ", ".join(f"{part.part} {shown(part.of)}" for part in parts)
    caption = f"A line a submission. All there is to earn: {of}." if of else "A line a submission."
    return [table(caption, columns, [row for _, row in sorted(rows.items())])] if rows else []


def _total(score: SubmissionScore) -> Markup:
    if not score.unresolved:
        return Markup(shown(score.total))
    low, high = score.bounds
    return join([badge(f"{shown(low)}–{shown(high)}", "doubt")])


def _rate(tests: Sequence[TestScore]) -> Iterator[str]:
    """A bar and its words: the runs that passed, of those that count."""
    counted, passed = sum(test.counted for test in tests), sum(len(test.passed) for test in tests)
    if not counted:
        yield from ("", "no run")
    else:
        yield from (bar(passed / counted), f"{percent(passed / counted)} %")


def _to(name: str, fragment: str = "") -> Markup:
    return link(name, "submissions", name, REPORT, fragment=fragment)


def _groups(pairs: Iterable[tuple[str, Each]]) -> list[tuple[str, list[Each]]]:
    """Things by their key: the largest group first, of equally large ones that which began first."""
    found: dict[str, list[Each]] = {}
    for key, thing in pairs:
        found.setdefault(key, []).append(thing)
    return sorted(found.items(), key=lambda group: -len(group[1]))
