"""One graded test on one submission that nobody trusts: its servers and clerks in a sandbox, its verdict one sentence.

    sandboxed_run(Path("hand-in"), "test_initial_election", seed=7) --> Verdict(passed, text, journal_hash, ...)

The judge, that is this process, never executes the submission. docs/sandbox.md says what is stopped, and by what.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from labrpc.errors import HarnessError, UsageError
from labrpc.sandbox.confinement import PROTECTIONS
from labrpc.virtual.claims import Bounds, harmless
from tester.graded import graded_test
from tester.run import Options, Run, protections

__all__ = ["Verdict", "require_protections", "sandboxed_run"]

_LONGEST = 1_000


@dataclass(frozen=True)
class Verdict:
    """How a run ended.

    Attributes:
        text: one sentence, "" of a run that passed.
        detail: what there is beside it: a traceback, a list of threads.
        journal_hash: of the run.
        virtual_s: seconds of the run's own time.
    """

    passed: bool
    text: str
    detail: str
    journal_hash: str
    virtual_s: float


def require_protections() -> None:
    """Demands a whole sandbox.

    Raises:
        UsageError: this machine lacks a part of it; the text says which, why, and what that part is good for.
    """
    missing = {name: reason for name, reason in protections().items() if reason}
    if missing:
        lines = (f"  {name} ({PROTECTIONS[name]}): {reason}" for name, reason in missing.items())
        raise UsageError("submissions cannot be confined on this machine; it lacks\n" + "\n".join(lines))


def sandboxed_run(
    solution: Path, test: str, seed: int, *, bounds: Bounds | None = None, allow_unsandboxed: bool = False
) -> Verdict:
    """Runs graded test `test` on the submission in folder `solution`.

    Args:
        bounds: how much its processes may say and take.
        allow_unsandboxed: whether a sandbox will do that lacks parts; see `tester.run.protections`.

    Raises:
        UsageError: the sandbox lacks parts, or there is no such test, or nothing in the folder.
        HarnessError: of the judge or the machine: no verdict on the submission.
    """
    if not allow_unsandboxed:
        require_protections()
    options = Options(servers="processes", sandbox=True, solution=solution, bounds=bounds or Bounds())
    run = Run(seed, options)
    try:
        error = graded_test(test).attempt(run)
        if isinstance(error, HarnessError):
            raise error
        virtual_s = max((cluster.now for cluster in run.clusters), default=0.0)
        detail = str(getattr(error, "detail", ""))
        return Verdict(error is None, _sentence(error), detail, run.journal_hash, virtual_s)
    finally:
        run.close()
        for cluster in run.clusters:
            cluster.journal.close()


def _sentence(error: Exception | None) -> str:
    if error is None:
        return ""
    text = str(error) or type(error).__name__
    if not isinstance(error, AssertionError):
        text = f"{type(error).__name__}: {text}"
    return harmless(" ".join(text.split()), _LONGEST)
