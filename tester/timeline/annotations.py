"""Which annotations are intervals: those that their server ended, and those that it was in when it went down.

    Annotated, AnnotationEnded, Booted, Stopped, in order --take--> End(of which, when, by what)

What is kept in mind is bounded by how much one incarnation of each host may print.
"""

from __future__ import annotations

from typing import Any, Generic, NamedTuple, TypeVar

from labrpc.journal import Annotated, AnnotationEnded, Booted, Stopped

__all__ = ["End", "OpenAnnotations", "duration_of"]

T = TypeVar("T")


class End(NamedTuple, Generic[T]):
    """The annotation `annotation` lasted until `at` ns; `by` is code, crash, shutdown, or run: nothing ended it."""

    annotation: T
    at: int
    by: str


class OpenAnnotations(Generic[T]):
    """The annotations that may still be ended, each as the caller knows it."""

    def __init__(self) -> None:
        self._open: dict[str, dict[int, tuple[T, bool]]] = {}

    def take(self, event: Any, annotation: T | None = None) -> list[End[T]]:
        """The annotations that `event` ends. What it begins, if it does, is `annotation` to the caller."""
        kind = type(event)
        if kind is Annotated:
            if event.number and annotation is not None:
                self._open.setdefault(event.host, {})[event.number] = annotation, event.lasts
        elif kind is AnnotationEnded:
            begun = self._open.get(event.host, {}).pop(event.number, None)
            return [] if begun is None else [End(begun[0], event.at, "code")]
        elif kind is Stopped:
            return self._lasting(event.host, event.at, event.how)
        elif kind is Booted:
            self._open.pop(event.host, None)
        return []

    def finish(self, at: int) -> list[End[T]]:
        """Those that last to the end of the run."""
        return [end for host in sorted(self._open) for end in self._lasting(host, at, "run")]

    def _lasting(self, host: str, at: int, by: str) -> list[End[T]]:
        return [End(annotation, at, by) for annotation, lasts in self._open.pop(host, {}).values() if lasts]


_ENDED_BY = {"crash": ", to the crash", "shutdown": ", to the shutdown", "run": ", to the end of the run"}


def duration_of(ns: int, by: str) -> str:
    """How long an annotation lasted, and what ended it if not its code, as `12.3 ms, to the crash`."""
    size, unit = next(
        ((size, unit) for size, unit in ((10**9, "s"), (10**6, "ms"), (1000, "µs")) if ns >= size), (1, "ns")
    )
    return f"{ns / size:.4g} {unit}{_ENDED_BY.get(by, '')}"
