"""Whose fault a failure on the real clock is: never the code's under test if the harness itself stood still.

Only verdicts that are a matter of time are taken back. A broken rule of the paper, a thread that died, a history that
is not linearizable: those stay what they are, however slow the machine was.
"""

from __future__ import annotations

from labrpc.errors import CodeFault, HarnessStalled, InvariantViolation
from labrpc.real.coordinator import RealCoordinator, Stall
from tester.clerks import NotLinearizable
from tester.run import Run

__all__ = ["fair_verdict"]

TOLERATED_NS = 250_000_000
"""How late the harness may be: less than a clerk waits for an answer before it asks again."""


def fair_verdict(run: Run, error: Exception) -> Exception:
    """`error`, with which `run` has failed, or the machine's fault if the harness was too late for such a verdict."""
    stall = max((_stall_of(cluster.coordinator) for cluster in run.clusters), key=lambda each: each.length_ns)
    if stall.length_ns <= TOLERATED_NS or not _is_matter_of_time(error):
        return error
    text = str(error).strip().partition("\n")[0]
    return HarnessStalled(
        f"the harness itself stood still for {stall.length_ns / 1e9:.1f} s at {stall.at_ns / 1e9:.1f} s: "
        "the machine has too much to do, or this process was stopped; run it again with less beside it "
        f"(the test's own verdict was: {text})"
    )


def _stall_of(coordinator: object) -> Stall:
    return coordinator.stall if isinstance(coordinator, RealCoordinator) else Stall(0, 0)


def _is_matter_of_time(error: Exception) -> bool:
    if isinstance(error, CodeFault):
        return error.is_overdue
    return isinstance(error, AssertionError) and not isinstance(error, InvariantViolation | NotLinearizable)
