"""What else goes wrong once a rule is broken: the same run again, its judge noting broken rules instead of ending it.

The first broken rule is the cause, or nearest to it; what follows helps to see what it leads to.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
import warnings
from collections.abc import Callable

from labrpc.errors import InvariantViolation, RunLimitExceeded
from tester import interrupts
from tester.likeness import likeness
from tester.report import verdict
from tester.run import Run

__all__ = ["later_symptoms"]

_MOST = 4
_LONGEST_WALL_S = 3.0


class _Enough(AssertionError):
    pass


def later_symptoms(
    run: Run, error: BaseException, attempt: Callable[[], Exception | None], *, within_s: float | None = None
) -> list[str]:
    """Verdicts on what follows `error` in the same run, each kind once, the test's own last.

    Only a broken invariant lets the run go on; of other failures there are none.

    Args:
        attempt: runs the test once more on `run`, and gives what it raised.
        within_s: for how many seconds of the run's clock it goes on; None: for a few seconds of wall time.
    """
    if not isinstance(error, InvariantViolation):
        return []
    plan = dataclasses.replace(run.plan, carries_on=True)
    limit: contextlib.AbstractContextManager[None] = interrupts.ended_after(
        run, _LONGEST_WALL_S, _Enough("there is more, but it takes too long")
    )
    if within_s is not None:
        limit = contextlib.nullcontext()
        plan = dataclasses.replace(plan, longest_s=run.clusters[-1].now + within_s)
    with warnings.catch_warnings(), run.aside(plan), limit:
        warnings.simplefilter("ignore")
        ended = attempt()
        found: list[Exception] = [each for cluster in run.clusters for each in cluster.coordinator.tolerated or ()]
    # That a run of which only so much is wanted goes on for longer is no symptom.
    is_over = isinstance(ended, _Enough) or (plan.longest_s < math.inf and isinstance(ended, RunLimitExceeded))
    if isinstance(ended, AssertionError) and not is_over:
        found.append(ended)
    texts: dict[str, str] = {_rule(error): ""}
    for each in found:
        texts.setdefault(_rule(each), verdict(each))
    return list(texts.values())[1 : _MOST + 1]


def _rule(error: BaseException) -> str:
    """Which rule is broken, whoever broke it."""
    return re.sub(r"\b[A-Z]\b", "#", likeness(error)[1])
