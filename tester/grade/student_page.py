"""A student's page: what the submission earned, what failed and how to see it fail again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tester.grade.charts import bar
from tester.grade.kinds import Kind, kinds
from tester.grade.page import Column, anchor, badge, code, link, passes, points, render, table
from tester.grade.records import Job, Outcome, Refusal
from tester.grade.results_json import MOST_KINDS, late_sentence, pending_sentence
from tester.grade.scores import PartScore, SubmissionScore, TestScore, shown
from tester.grade.texts import Markup, join, plain, plain_lines, tag
from tester.grade.worker import replay_command
from tester.parts import PARTS

__all__ = ["failure_folder", "refusal_page", "student_page", "verdict_badge"]

_MOST_REPORT = 48_000
"""Bytes of a report that stand on the page; the rest is in its file."""

_LABELS = {"timeline.html": "timeline of the run", "report.txt": "report", "history.html": "history of its clients"}

_HOW_TO_READ = (
    "Every test is run under many seeds. A seed fixes the whole run: messages, delays, faults, the order of threads. "
    "How often a test passes is thus an estimate of how often it would pass under all seeds, and the 95 % interval "
    "says how good the estimate is. The mark in a bar is the share of runs that passed, the band is the interval.",
    "A replay command gives the same run again, to its last event, in the course's tree with the submitted code in it. "
    "tester replay --help says how to stop at an instant, or to look into a server with pdb.",
)


def failure_folder(job: Job) -> str:
    """Where the files of a failing run are, beside the page."""
    return f"{job.test}-seed-{job.seed}"


def student_page(score: SubmissionScore, course: str, artefacts: Mapping[Job, Mapping[str, bytes]]) -> bytes:
    """The page, as a file.

    Args:
        course: its name.
        artefacts: of failing runs, as far as there are; they stand in failures/<failure_folder> beside the page.
    """
    name = score.submission.name
    shown_parts = [part for part in score.parts if any(map(_is_shown, part.tests))]
    failing = [test for part in shown_parts for test in part.tests if _is_shown(test) and test.failed]
    body: list[Markup] = [_head(name, course, score), *_notes(score)]
    if score.parts:
        body += [tag("h2", "Parts"), _parts_table(score)]
    for part in shown_parts:
        body += [tag("h2", f"{part.part}: {PARTS.get(part.part, '')}"), _tests_table(part)]
    if failing:
        body.append(tag("h2", "What failed"))
        body += [piece for test in failing for piece in _failing_test(test, artefacts)]
    body.append(tag("footer", *(tag("p", text) for text in _HOW_TO_READ)))
    return render(f"{name}: results", [tag("main", *body)])


def refusal_page(refusal: Refusal, course: str, of: str) -> bytes:
    """The page of a submission that could not be taken."""
    head = [tag("p", course, class_="soft"), tag("h1", refusal.name)]
    score = tag("p", "0 ", tag("small", f"of {of} points"), class_="score")
    why = tag("p", f"This submission cannot be graded: {plain(refusal.reason)}", class_="note bad")
    return render(f"{refusal.name}: results", [tag("main", tag("div", tag("div", *head), score, class_="head"), why)])


def verdict_badge(test: TestScore) -> Markup:
    """The test's result in a word or two."""
    if test.absent:
        return badge("not run", "none")
    if test.unresolved:
        return badge("unresolved", "doubt")
    if test.flaky:
        return badge("flaky", "doubt")
    return badge("fails", "bad") if test.failed else badge("passes", "good")


def _is_shown(test: TestScore) -> bool:
    return test.rule.visibility != "hidden"


def _head(name: str, course: str, score: SubmissionScore) -> Markup:
    titles = [tag("p", course, class_="soft")] if course else []
    of = f"{'so far, ' if score.unresolved else ''}of {shown(score.of)} points"
    total = tag("p", shown(score.total), " ", tag("small", of), class_="score")
    return tag("header", tag("div", *titles, tag("h1", name)), total, class_="head")


def _notes(score: SubmissionScore) -> Iterator[Markup]:
    if score.submission.days_late > 0:
        yield tag("p", late_sentence(score), class_="note")
    if score.unresolved:
        yield tag("p", pending_sentence(score), class_="note doubt")
    for note in score.submission.notes:
        yield tag("p", plain(note), class_="note")


def _parts_table(score: SubmissionScore) -> Markup:
    rows = []
    for part in score.parts:
        pending = join([" ", badge("pending", "doubt")]) if part.unresolved else Markup("")
        earned = join([shown(part.points), tag("span", f" of {shown(part.of)}", class_="of"), pending])
        rows.append([f"{part.part} {PARTS.get(part.part, '')}", bar(_share(part)), earned])
    foot = ["sum", "", join([shown(score.earned), tag("span", f" of {shown(score.of)}", class_="of")])]
    columns = [Column("part", "test"), Column("", "odds"), Column("points", "number worth")]
    return table("Points by part, before anything is taken off for lateness.", columns, rows, foot, stacked=True)


def _share(part: PartScore) -> float:
    return float(part.points / part.of) if part.of else 0.0


def _tests_table(part: PartScore) -> Markup:
    rows = []
    for test in part.tests:
        if _is_shown(test):
            named = code(test.rule.test)
            heading = tag("a", named, href=f"#{anchor(test)}") if test.failed else named
            remark = tag("p", test.sentence, class_="soft") if test.unresolved or test.absent else Markup("")
            rows.append([join([heading, remark]), verdict_badge(test), passes(test), points(test)])
    hidden = [test for test in part.tests if not _is_shown(test)]
    caption = "The runs of each test that passed, with the 95 % interval."
    if hidden:
        worth = shown(sum((test.of for test in hidden), start=hidden[0].of * 0))
        tests = "1 test is" if len(hidden) == 1 else f"{len(hidden)} tests are"
        caption += f" {tests} not shown here, worth {worth} points."
    columns = [Column("test", "test"), Column("", "state"), Column("passes", "odds"), Column("points", "number worth")]
    return table(caption, columns, rows, stacked=True)


def _failing_test(test: TestScore, artefacts: Mapping[Job, Mapping[str, bytes]]) -> Iterator[Markup]:
    yield tag("h3", f"{test.rule.part} ", code(test.rule.test), id=anchor(test))
    yield tag("p", test.sentence)
    found = kinds(test.failed)
    for kind in found[:MOST_KINDS]:
        yield _kind(kind, artefacts)
    if len(found) > MOST_KINDS:
        rest = [failure for kind in found[MOST_KINDS:] for failure in kind.failures]
        seeds = ", ".join(str(failure.job.seed) for failure in rest[:10])
        yield tag("p", f"And {len(found) - MOST_KINDS} more kinds of failure, under seeds {seeds}.", class_="soft")


def _kind(kind: Kind, artefacts: Mapping[Job, Mapping[str, bytes]]) -> Markup:
    count = len(kind.failures)
    kept = [failure for failure in kind.failures if artefacts.get(failure.job)]
    example = kept[0] if kept else kind.failures[0]
    pieces = [
        tag("p", kind.verdict, class_="verdict"),
        tag("p", "1 run" if count == 1 else f"{count} runs, alike but for numbers", class_="soft"),
        tag("code", replay_command(example.job.test, example.job.seed), class_="command", tabindex=0),
    ]
    for place, failure in enumerate(kept):
        files = artefacts[failure.job]
        pieces.append(_links(failure, files, several=len(kept) > 1))
        if place == 0 and "report.txt" in files:
            pieces.append(_report(failure, files["report.txt"]))
    return tag("article", *pieces, class_="failure")


def _links(failure: Outcome, files: Mapping[str, bytes], *, several: bool) -> Markup:
    folder = ("failures", failure_folder(failure.job))
    names = sorted(files, key=lambda name: (name not in _LABELS, name == "report.txt", name))
    which = f"seed {failure.job.seed}: " if several else ""
    return tag("p", which, join((link(_LABELS.get(name, name), *folder, name) for name in names), ", "))


def _report(failure: Outcome, content: bytes) -> Markup:
    text, whole = plain_lines(content, _MOST_REPORT)
    rest = [] if whole else [tag("p", "The rest is in the report's file.", class_="soft")]
    return tag("details", tag("summary", f"Report of seed {failure.job.seed}"), tag("pre", text, tabindex=0), *rest)
