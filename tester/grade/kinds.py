"""Failures told apart: those whose verdicts differ in numbers only are of one kind (tester.likeness)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tester.grade.records import Outcome
from tester.grade.texts import plain
from tester.likeness import pattern

__all__ = ["NO_VERDICT", "Kind", "kinds", "verdict_of"]

NO_VERDICT = "the run failed without a verdict"


@dataclass(frozen=True)
class Kind:
    """Alike failures.

    Attributes:
        pattern: their verdicts, with numbers taken out.
        failures: in the order in which they were given; the first is the example.
    """

    pattern: str
    failures: tuple[Outcome, ...]

    @property
    def verdict(self) -> str:
        """Of the example, as it may be shown."""
        return verdict_of(self.failures[0])


def kinds(failures: Iterable[Outcome]) -> list[Kind]:
    """The commonest first, and of equally common ones that which comes first."""
    found: dict[str, list[Outcome]] = {}
    for failure in failures:
        found.setdefault(pattern(verdict_of(failure)), []).append(failure)
    return sorted((Kind(text, tuple(alike)) for text, alike in found.items()), key=lambda kind: -len(kind.failures))


def verdict_of(failure: Outcome) -> str:
    """The verdict, harmless to show."""
    return plain(failure.verdict) or NO_VERDICT
