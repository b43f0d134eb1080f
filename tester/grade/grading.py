"""From jobs to outcomes: what is doubtful is tried again, alone, before it counts.

    store.missing --> pool, all workers --> Answer --> Outcome --> store
                                  \\-- lost, or of the machine --> again, one at a time --> Outcome --> store

Doubtful is a job whose worker was lost, one that the harness had a fault in, and one whose verdict the machine may have
had a say in: a server's process that was killed or hung, a run over its wall limit. The second time decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from tester.grade.frames import Answer
from tester.grade.pool import Lost, Pool, Task
from tester.grade.records import Job, Outcome, Status
from tester.grade.store import Store

__all__ = ["do_jobs", "outcome_of"]

BUSY = 0.25
"""Of a run over its wall limit, twice: the share of the time that its servers must have computed to be at fault."""


def do_jobs(
    store: Store,
    jobs: Sequence[Job],
    pool: Pool,
    on_outcome: Callable[[Outcome], None],
    on_doubt: Callable[[Job], None],
) -> None:
    """Does `jobs`, some that are missing in `store`, and keeps there what comes of them.

    Args:
        on_outcome: told of each outcome, when it is kept.
        on_doubt: told of each job that will be tried again.
    """
    files = {submission.digest: submission.files for submission in store.submissions()}
    doubtful: list[tuple[Job, Answer | Lost]] = []

    def keep(outcome: Outcome) -> None:
        store.add(outcome)
        on_outcome(outcome)

    for job, result in pool.run(_tasks(store, jobs, files)):
        if is_doubtful(result):
            doubtful.append((job, result))
            on_doubt(job)
        else:
            keep(outcome_of(job, result))
    confirmed: set[tuple[str, str]] = set()
    for job, first in sorted(doubtful, key=lambda each: each[0]):
        if isinstance(first, Answer) and first.depends and (job.digest, job.test) in confirmed:
            keep(outcome_of(job, first))  # a lower run of this test, alone, showed that it is the submission's
            continue
        for _, second in pool.run(_tasks(store, [job], files)):
            outcome = outcome_of(job, second, attempts=2)
            if isinstance(second, Answer) and second.depends and outcome.status is Status.FAILED:
                confirmed.add((job.digest, job.test))
            keep(outcome)


def _tasks(store: Store, jobs: Iterable[Job], files: Mapping[str, Mapping[str, bytes]]) -> Iterator[Task]:
    for job in jobs:
        yield Task(job, files[job.digest], explain=not store.is_explained(job))


def is_doubtful(result: Answer | Lost) -> bool:
    """Whether it must be tried again before it counts."""
    return isinstance(result, Lost) or bool(result.fault) or result.depends


def outcome_of(job: Job, result: Answer | Lost, *, attempts: int = 1) -> Outcome:
    """What `result` says of `job`, at the last attempt."""
    if isinstance(result, Lost):
        why, _, more = result.reason.partition("\n")
        return _unresolved(job, f"the worker that ran it was lost: {why}", more, attempts)
    if result.fault:
        return _unresolved(
            job, f"the harness had a fault: {result.fault.strip().splitlines()[-1]}", result.fault, attempts
        )
    status = Status.FAILED if result.verdict else Status.PASSED
    verdict = result.verdict
    if result.is_over and (result.busy is None or result.busy < BUSY):
        status = Status.HARNESS
        share = "it is not known how much" if result.busy is None else f"only {result.busy:.0%}"
        verdict = f"{verdict}; of that time its servers computed {share}: the machine may have kept it waiting"
    return Outcome(
        job=job,
        status=status,
        verdict=verdict,
        journal_hash=result.journal_hash,
        virtual_s=result.virtual_s,
        cpu_s=result.cpu_s,
        attempts=attempts,
        artefacts=result.artefacts,
    )


def _unresolved(job: Job, verdict: str, detail: str, attempts: int) -> Outcome:
    artefacts = {"harness.txt": detail.encode("utf-8", "replace")} if detail else {}
    return Outcome(job, Status.HARNESS, verdict, attempts=attempts, artefacts=artefacts)
