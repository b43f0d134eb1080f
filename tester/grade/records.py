"""What grading passes from one layer to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["Job", "Outcome", "Refusal", "Status", "Submission"]


@dataclass(frozen=True)
class Submission:
    """What was taken of one student's work.

    Attributes:
        name: of the folder, archive or repository it came in; unique in a grading, safe as a folder's name.
        digest: SHA-256 of `files`, hex: two equal submissions have one.
        files: relative path with / (`raft/raft.py`) -> content, of the files that are the student's to write.
        left_out: the paths that were there and are not taken.
        notes: what the student should know of it (`kvraft/ is not there: its parts get no points`).
        days_late: 0 for one that was in time.
    """

    name: str
    digest: str
    files: Mapping[str, bytes]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    days_late: float = 0.0


@dataclass(frozen=True)
class Refusal:
    """A submission that cannot be taken, and why; it gets no points, and the others are graded."""

    name: str
    reason: str


@dataclass(frozen=True, order=True)
class Job:
    """One run to make: a graded test on a submission.

    Attributes:
        digest: the submission's.
        part, test: `2A`, `test_re_election`.
        run: 0 for a test's first.
        seed: of the run.
    """

    digest: str
    part: str
    test: str
    run: int
    seed: int


class Status(StrEnum):
    """How a job ended."""

    PASSED = "passed"
    FAILED = "failed"
    """The submission's fault: the verdict says what."""
    HARNESS = "harness"
    """Not the submission's fault, and tried twice: it counts for nobody until it is run again."""


@dataclass(frozen=True)
class Outcome:
    """What a job showed.

    Attributes:
        verdict: one sentence, "" of a run that passed.
        journal_hash: of the run, "" if it had none: equal wherever the job is done.
        virtual_s: seconds of the run's own time.
        cpu_s: seconds of CPU time it took; differs from machine to machine, and is in no result.
        attempts: 2 if the first died of something that was not the run's own.
        artefacts: file name -> content, of a run that failed: `report.txt`, `timeline.html`.
    """

    job: Job
    status: Status
    verdict: str = ""
    journal_hash: str = ""
    virtual_s: float = 0.0
    cpu_s: float = 0.0
    attempts: int = 1
    artefacts: Mapping[str, bytes] = field(default_factory=dict)
