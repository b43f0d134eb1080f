"""A submission's results in the form that Gradescope reads, and other programs may.

Its documented fields are used, and `extra_data` holds the rest: intervals, seeds, what is pending. Texts are given as
plain text, so that nothing a submission printed is taken for markup.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from tester.grade.kinds import kinds
from tester.grade.records import Job, Refusal
from tester.grade.scores import SubmissionScore, TestScore, shown
from tester.grade.texts import plain, plain_lines
from tester.grade.worker import replay_command

__all__ = [
    "MOST_KINDS",
    "as_bytes",
    "fault_json",
    "late_sentence",
    "pending_sentence",
    "refusal_json",
    "submission_json",
]

MOST_KINDS = 3
"""So many kinds of failure of a test are told, each with one run."""

_MOST_REPORT = 12_000
"""Bytes of a report in results.json."""

_COMMON = {
    "output_format": "text",
    "test_output_format": "text",
    "test_name_format": "text",
    "visibility": "visible",
    "stdout_visibility": "hidden",
}

_FAULT = (
    "The grading itself failed. This is not the submission's fault and says nothing about it; no score was given. "
    "Please tell your instructor, who can run the autograder again. What happened"
)


def submission_json(score: SubmissionScore, reports: Mapping[Job, bytes] = MappingProxyType({})) -> dict[str, Any]:
    """results.json of a submission; a test whose points are pending has no score.

    Args:
        reports: of failing runs; of each test the first that is there is told.
    """
    lines = [f"{shown(score.total)} of {shown(score.of)} points"]
    if score.submission.days_late > 0:
        lines.append(late_sentence(score))
    if score.unresolved:
        lines.append(pending_sentence(score))
    lines += map(plain, score.submission.notes)
    return {
        "score": float(score.total),
        **_COMMON,
        "output": "\n".join(lines),
        "tests": [
            _test_json(test, f"{number}.{place}", reports)
            for number, part in enumerate(score.parts, 1)
            for place, test in enumerate(part.tests, 1)
        ],
        "extra_data": {
            "raftlab": {
                "digest": score.submission.digest,
                "of": float(score.of),
                "earned": float(score.earned),
                "late": {"days": score.submission.days_late, "deduction": float(score.deduction)},
                "final": not score.unresolved,
                "total_between": [float(bound) for bound in score.bounds],
                "unresolved": [test.rule.test for test in score.unresolved],
            }
        },
    }


def refusal_json(refusal: Refusal, of: Decimal) -> dict[str, Any]:
    """results.json of a submission that could not be taken."""
    return {
        "score": 0.0,
        **_COMMON,
        "output": f"This submission cannot be graded, and gets 0 of {shown(of)} points: {plain(refusal.reason)}",
        "tests": [],
        "extra_data": {"raftlab": {"refused": plain(refusal.reason), "of": float(of), "final": True}},
    }


def fault_json(fault: str) -> dict[str, Any]:
    """results.json of a grading that failed by our own fault: it has no score, for none is known."""
    return {
        **_COMMON,
        "output": f"{_FAULT}: {plain(fault)}",
        "extra_data": {"raftlab": {"fault": plain(fault), "final": False}},
    }


def late_sentence(score: SubmissionScore) -> str:
    """What being late cost."""
    days = f"{score.submission.days_late:.3g}"
    taken = f"{shown(score.deduction)} of {shown(score.earned)} points are taken off"
    return f"{days} {'day' if days == '1' else 'days'} late: {taken}"


def pending_sentence(score: SubmissionScore) -> str:
    """What is unresolved, and between which bounds the total will be."""
    low, high = score.bounds
    count = len(score.unresolved)
    tests = "1 test is unresolved" if count == 1 else f"{count} tests are unresolved"
    whose = "its points are" if count == 1 else "their points are"
    bounds = f"{shown(low)} to {shown(high)}" if low < high else shown(low)
    return f"{tests}, for no fault of the submission, and {whose} pending: the total will be {bounds} points"


def as_bytes(data: object) -> bytes:
    """JSON for files: in the order given, indented, whatever the characters."""
    return (json.dumps(data, indent=2, ensure_ascii=True, allow_nan=False) + "\n").encode("ascii")


def _test_json(test: TestScore, number: str, reports: Mapping[Job, bytes]) -> dict[str, Any]:
    rule = test.rule
    data: dict[str, Any] = {}
    if test.points is not None:
        data["score"] = float(test.points)
    data["max_score"] = float(test.of)
    if not test.unresolved:
        data["status"] = "failed" if test.failed or test.absent else "passed"
    tags = [rule.part, *(["flaky"] if test.flaky else []), *(["unresolved"] if test.unresolved else [])]
    return {
        **data,
        "name": f"{rule.part} {rule.test}",
        "name_format": "text",
        "number": number,
        "output": "\n".join(_output(test, reports)),
        "output_format": "text",
        "tags": tags,
        "visibility": rule.visibility,
        "extra_data": {
            "runs": rule.runs,
            "passes": len(test.passed),
            "counted": test.counted,
            "interval": None if test.interval is None else [round(bound, 4) for bound in test.interval],
            "flaky": test.flaky,
            "points_between": [float(test.lowest), float(test.highest)],
            "failing_seeds": [failure.job.seed for failure in test.failed],
        },
    }


def _output(test: TestScore, reports: Mapping[Job, bytes]) -> Iterator[str]:
    yield test.sentence
    found = kinds(test.failed)
    for kind in found[:MOST_KINDS]:
        count = len(kind.failures)
        yield ""
        yield f"{count} {'run' if count == 1 else 'runs'}: {kind.verdict}"
        yield f"replay: {replay_command(test.rule.test, kind.failures[0].job.seed)}"
    if len(found) > MOST_KINDS:
        yield f"\nand {len(found) - MOST_KINDS} more kinds of failure"
    told = next((failure.job for failure in test.failed if failure.job in reports), None)
    if told is not None:
        text, whole = plain_lines(reports[told], _MOST_REPORT)
        yield f"\nreport of seed {told.seed}:\n\n{text.rstrip()}"
        if not whole:
            yield "…"
