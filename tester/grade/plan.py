"""Which jobs a grading has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from labrpc.errors import UsageError
from tester.grade.course import Course, packages_of
from tester.grade.records import Job, Submission
from tester.grade.seeds import Seeds

__all__ = ["check_runs", "jobs_of"]


def check_runs(course: Course, seeds: Seeds) -> None:
    """There is a seed for each run.

    Raises:
        UsageError: there are fewer.
    """
    most = max((rule.runs for rule in course.tests), default=0)
    if seeds.most is not None and most > seeds.most:
        raise UsageError(
            f"{most} runs of a test are wanted, and there are {seeds.most} seeds; give more, or --runs {seeds.most}"
        )


def jobs_of(course: Course, submissions: Iterable[Submission], seeds: Seeds) -> Iterator[Job]:
    """Every run of every test on every submission: submission by submission, then part by part, then run by run.

    Equal submissions are run once. What a submission has no files for is not run.
    """
    seen: set[str] = set()
    for submission in submissions:
        if submission.digest in seen:
            continue
        seen.add(submission.digest)
        there = {path.partition("/")[0] for path in submission.files}
        for part in course.parts:
            if not there.issuperset(packages_of(part)):
                continue
            rules = course.of_part(part)
            for run in range(max(rule.runs for rule in rules)):
                for rule in rules:
                    if run < rule.runs:
                        seed = seeds.seed(submission.digest, rule.test, run)
                        yield Job(submission.digest, part, rule.test, run, seed)
