"""What a grading leaves for people and programs.

    Store, Course --write--> OUT/index.html, class.csv, class.json
                             OUT/submissions/<name>/results.json, report.html, failures/<test>-seed-<n>/…

The same outcomes give the same bytes, wherever and however often they are written: no file holds a date, a duration or
anything of the machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from labrpc.errors import HarnessError
from tester.grade.class_page import REPORT, class_page
from tester.grade.class_table import class_csv, class_json
from tester.grade.course import Course, TestRule, packages_of
from tester.grade.records import Job, Outcome, Refusal, Submission
from tester.grade.results_json import as_bytes, refusal_json, submission_json
from tester.grade.scores import SubmissionScore, score_submission, shown
from tester.grade.student_page import failure_folder, refusal_page, student_page
from tester.grade.tree import Tree

__all__ = ["Grades", "score", "write"]

_ARTEFACT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Grades(Protocol):
    """What results need of the store (tester.grade.store.Store)."""

    def submissions(self) -> Sequence[Submission]: ...

    def refusals(self) -> Sequence[Refusal]: ...

    def outcomes(self, digest: str) -> Iterable[Outcome]:
        """Of the submissions with that digest."""
        ...

    def artefacts(self, job: Job) -> Mapping[str, bytes]:
        """File name -> content; none, if none are kept."""
        ...


def write(store: Grades, course: Course, out: Path) -> list[SubmissionScore]:
    """Writes all results below `out`, and removes those of an earlier writing that are none any more.

    Returns the scores, by the submissions' names.

    Raises:
        UsageError: `out` cannot be written to.
    """
    submissions = sorted(store.submissions(), key=lambda submission: submission.name)
    refusals = sorted(store.refusals(), key=lambda refusal: refusal.name)
    scores = [score(submission, store, course) for submission in submissions]
    of = sum(map(course.points_of, course.parts), Decimal(0))
    with Tree(out) as tree:
        for each in scores:
            _write_submission(tree, each, store, course.name)
        for refusal in refusals:
            folder = f"submissions/{refusal.name}"
            tree.write(f"{folder}/results.json", as_bytes(refusal_json(refusal, of)))
            tree.write(f"{folder}/{REPORT}", refusal_page(refusal, course.name, shown(of)))
        tree.write("class.csv", class_csv(scores, refusals, course.tests))
        tree.write("class.json", as_bytes(class_json(scores, refusals, course.name, course.tests)))
        tree.write("index.html", class_page(scores, refusals, course.name))
    return scores


def score(submission: Submission, store: Grades, course: Course) -> SubmissionScore:
    """What a submission has come to, as far as is known."""
    absent = _absent(submission, course.tests)
    return score_submission(
        submission, course.tests, store.outcomes(submission.digest), late=course.late, absent=absent
    )


def _write_submission(tree: Tree, score: SubmissionScore, store: Grades, course: str) -> None:
    folder = f"submissions/{score.submission.name}"
    artefacts: dict[Job, Mapping[str, bytes]] = {}
    for test in score.tests:
        if test.rule.visibility != "hidden":
            for failure in test.failed:
                files = store.artefacts(failure.job)
                if files:
                    artefacts[failure.job] = files
    reports = {job: files["report.txt"] for job, files in artefacts.items() if "report.txt" in files}
    for job, files in artefacts.items():
        for name, content in sorted(files.items()):
            if not _ARTEFACT.fullmatch(name):
                raise HarnessError(f"{name!r} is no name for a file of {job.test}, seed {job.seed}")
            tree.write(f"{folder}/failures/{failure_folder(job)}/{name}", content)
    tree.write(f"{folder}/results.json", as_bytes(submission_json(score, reports)))
    tree.write(f"{folder}/{REPORT}", student_page(score, course, artefacts))


def _absent(submission: Submission, rules: Iterable[TestRule]) -> dict[str, str]:
    """Part -> why there is nothing to test in it."""
    there = {path.partition("/")[0] for path in submission.files if "/" in path}
    missing = {}
    for part in dict.fromkeys(rule.part for rule in rules):
        lacking = [package for package in packages_of(part) if package not in there]
        if lacking:
            missing[part] = f"{' and '.join(f'{package}/' for package in lacking)} is not in the submission"
    return missing
