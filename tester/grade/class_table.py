"""The class as a table: class.csv for spreadsheets, class.json for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from tester.grade.course import TestRule
from tester.grade.records import Refusal
from tester.grade.results_json import submission_json
from tester.grade.scores import SubmissionScore, shown
from tester.grade.texts import cell, plain

__all__ = ["class_csv", "class_json"]

_PENDING = "pending"


def class_csv(scores: Sequence[SubmissionScore], refusals: Sequence[Refusal], rules: Sequence[TestRule]) -> bytes:
    """A row a submission, by name; points of unresolved tests are `pending`, and are in no sum.

    Texts that a spreadsheet would take for formulas have an apostrophe before them.
    """
    parts = list(dict.fromkeys(rule.part for rule in rules))
    head = ["submission", "status", "total", "of", "total at least", "total at most", "days late", "late deduction"]
    head += [*parts, *(f"{rule.part} {rule.test}" for rule in rules), "notes", "refused"]
    rows = [
        [cell(score.submission.name), *_points(score), cell("; ".join(score.submission.notes)), ""] for score in scores
    ]
    empty = [""] * (len(parts) + len(rules))
    for refusal in refusals:
        row = [cell(refusal.name), "refused", "0", "", "0", "0", "", "", *empty, "", cell(refusal.reason)]
        rows.append(row)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(sorted(rows))
    return out.getvalue().encode("utf-8")


def _points(score: SubmissionScore) -> list[str]:
    low, high = score.bounds
    status = _PENDING if score.unresolved else "final"
    return [
        status, shown(score.total), shown(score.of), shown(low), shown(high),
        f"{score.submission.days_late:g}", shown(score.deduction),
        *(shown(part.points) for part in score.parts),
        *(_PENDING if test.points is None else shown(test.points) for test in score.tests),
    ]  # fmt: skip


def class_json(
    scores: Sequence[SubmissionScore], refusals: Sequence[Refusal], course: str, rules: Sequence[TestRule]
) -> dict[str, Any]:
    """All that results.json files say, in one, with the course's rules."""
    return {
        "version": 1,
        "course": course,
        "rules": [
            {"part": rule.part, "test": rule.test, "points": float(rule.points), "runs": rule.runs} for rule in rules
        ],
        "submissions": {score.submission.name: submission_json(score) for score in scores},
        "refused": {refusal.name: plain(refusal.reason) for refusal in refusals},
    }
