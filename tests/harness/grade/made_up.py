"""A class that was never taught: submissions, rules and outcomes, made up, for tests of what is written of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tester.grade.course import Course, LateRule, TestRule
from tester.grade.records import Job, Outcome, Refusal, Status, Submission

__all__ = [
    "COURSE",
    "FAILED",
    "HARNESS",
    "PASSED",
    "MadeUpStore",
    "a_class",
    "a_course",
    "a_rule",
    "outcomes",
    "submission",
]

PASSED, FAILED, HARNESS = Status.PASSED, Status.FAILED, Status.HARNESS

TESTS = {
    "2A": ("test_initial_election", "test_re_election", "test_many_elections"),
    "2B": ("test_basic_agree", "test_backup", "test_rpc_count"),
    "4B": ("test_snapshot_rpc", "test_snapshot_unreliable_recover_concurrent_partition_linearizable"),
}


def a_rule(part: str, test: str, *, points: float = 10, runs: int = 20, policy: str = "all") -> TestRule:
    return TestRule(part, test, points, runs, policy, threshold=0.9)


def a_course(tests: Iterable[TestRule] | None = None) -> Course:
    """All tests of `TESTS`, those of 2B with points in proportion; a tenth of the points is the price of a day."""
    if tests is None:
        tests = [
            a_rule(part, test, policy="fraction" if part == "2B" else "all") for part in TESTS for test in TESTS[part]
        ]
    return Course("6.5840 in Python", tuple(tests), LateRule(percent_per_day=10))


COURSE = a_course()


@dataclass
class MadeUpStore:
    taken: list[Submission] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    known: dict[str, list[Outcome]] = field(default_factory=dict)
    kept: dict[Job, Mapping[str, bytes]] = field(default_factory=dict)

    def submissions(self) -> list[Submission]:
        return self.taken

    def refusals(self) -> list[Refusal]:
        return self.refused

    def outcomes(self, digest: str) -> Iterable[Outcome]:
        return self.known.get(digest, [])

    def artefacts(self, job: Job) -> Mapping[str, bytes]:
        return self.kept.get(job, {})


def submission(
    name: str, folders: Sequence[str] = ("raft", "kvraft"), *, notes: tuple[str, ...] = (), days_late: float = 0.0
) -> Submission:
    files = {f"{folder}/__init__.py": f"# {name}\n".encode() for folder in folders}
    return Submission(name, hashlib.sha256(name.encode()).hexdigest(), files, (), notes, days_late)


def outcomes(digest: str, rule: TestRule, statuses: Iterable[Status], verdict: str = "no leader") -> list[Outcome]:
    """A run each; `{run}` in the verdict is the run's number."""
    found = []
    for run, status in enumerate(statuses):
        seed = int.from_bytes(hashlib.sha256(f"{digest}{rule.test}{run}".encode()).digest()[:8], "big") >> 1
        said = "" if status is PASSED else verdict.replace("{run}", str(run))
        found.append(Outcome(Job(digest, rule.part, rule.test, run, seed), status, said, "ab", 1.5, 0.25))
    return found


def a_class(size: int = 12, verdict: Callable[[int], str] | None = None) -> MadeUpStore:
    """`size` submissions: the first is perfect, the others fail more and more, and each is special in its own way."""
    store = MadeUpStore()
    verdicts = [
        "server 2 voted for 1 and for {run} in term 2 (§5.2: at most one vote per term) at 0.871 s",
        "servers 1 and 6 both lead term {run} (§5.2: at most one leader per term) at 0.877 s",
        "no leader was elected within 5.{run} s, though servers 0, 1 and 2 are connected",
        "HostFault: server 1's thread apply_loop died of KeyError: {run} at raft/raft.py:212",
        "one(103) failed to reach agreement: 2 of 3 servers applied it within 10 s",
    ]
    for number in range(size):
        folders = ("raft",) if number == 3 else ("raft", "kvraft")
        notes = ("kvraft/ is not there: its parts get no points",) if number == 3 else ()
        late = 1.5 if number == 4 else 0.0
        taken = submission(f"student-{number:02}", folders, notes=notes, days_late=late)
        store.taken.append(taken)
        known: list[Outcome] = []
        for place, rule in enumerate(COURSE.tests):
            if rule.part == "4B" and number == 3:
                continue
            passes = max(0, rule.runs - (number * (place + 1) * 3) // 8)
            statuses = [PASSED if (run * 7) % rule.runs < passes else FAILED for run in range(rule.runs)]
            if number == 5 and place in (0, 4):
                statuses[:2] = [HARNESS, HARNESS]
            said = verdict(place) if verdict else verdicts[(place + number // 4) % len(verdicts)]
            runs = outcomes(taken.digest, rule, statuses, said)
            known += runs
            failed = [outcome for outcome in runs if outcome.status is FAILED]
            for outcome in failed[:2]:
                report = f"{outcome.verdict}\n\n        test  {rule.test}\n        seed  {outcome.job.seed}\n"
                store.kept[outcome.job] = {
                    "report.txt": report.encode(),
                    "timeline.html": f"<!doctype html><title>{rule.test}</title>".encode(),
                }
        store.known[taken.digest] = known
    store.refused.append(Refusal("zz-broken", "submission.zip is no archive: its central directory is not there"))
    return store
