"""Of many runs of a test those that fail alike: the first of each kind is told in full, the others are counted.

    reports of failing runs --tell_apart--> by test: kinds of failure, the commonest first --summary--> lines

Two failures are alike if their verdicts differ in numbers only (tester.likeness).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tester.likeness import pattern

__all__ = ["Kind", "summary", "tell_apart", "test_of"]

_SEEDS_SHOWN = 6


@dataclass(frozen=True)
class Kind:
    """Alike failures of one test: pytest's reports of them, by seed."""

    reports: Sequence[Any]

    @property
    def verdict(self) -> str:
        """Of the first, in one line."""
        return " ".join(_properties(self.reports[0])["verdict"].split())

    @property
    def seeds(self) -> list[str]:
        return [_properties(report)["seed"] for report in self.reports]


def test_of(report: Any) -> str:
    """The node id of the test, without its run's number."""
    return str(report.nodeid).partition("[")[0]


def tell_apart(reports: Iterable[Any]) -> dict[str, list[Kind]]:
    """Test -> its kinds of failure; of reports that have a verdict."""
    alike: dict[str, dict[str, list[Any]]] = {}
    for report in reports:
        verdict = _properties(report).get("verdict")
        if verdict is not None:
            alike.setdefault(test_of(report), {}).setdefault(pattern(verdict), []).append(report)
    kinds = {
        test: [Kind(sorted(same, key=lambda report: int(_properties(report)["seed"]))) for same in found.values()]
        for test, found in alike.items()
    }
    return {test: sorted(found, key=lambda kind: -len(kind.reports)) for test, found in kinds.items()}


def summary(kinds: Mapping[str, Sequence[Kind]], runs: Counter[str]) -> Iterator[str]:
    """Lines that tell what failed, and how often.

    Args:
        kinds: see `tell_apart`.
        runs: test -> how many runs of it there were.
    """
    for test, found in kinds.items():
        name = test.rpartition("::")[2]
        failed = sum(len(kind.reports) for kind in found)
        ways = "alike" if len(found) == 1 else f"in {len(found)} ways"
        yield f"{name}: {failed} of {runs[test]} runs failed{f', {ways}' if failed > 1 else ''}"
        for kind in found:
            count = len(kind.reports)
            yield f"{count:6} {'run: ' if count == 1 else 'runs:'} {kind.verdict}"
            more = count - _SEEDS_SHOWN
            rest = f" and {more} more" if more > 0 else ""
            yield f"             seed{'s' if count > 1 else ''} {', '.join(kind.seeds[:_SEEDS_SHOWN])}{rest}"
    yield "told above: the first run of each kind; tester failures lists the runs that are kept"


def _properties(report: Any) -> dict[str, str]:
    return dict(getattr(report, "user_properties", ()))
