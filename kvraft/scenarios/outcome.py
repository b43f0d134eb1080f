"""What came of a run: what was done to the cluster, how it took it, and which promises it kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kvraft.load import Histogram
from kvraft.scenarios.faults import Step, describe
from kvraft.scenarios.recording import Recording

__all__ = ["Happened", "Outcome", "Promise", "calm_seconds", "held_up_for", "judge_recoveries"]

FORMAT, VERSION = "kvraft scenario", 1

CLIENT_SECONDS = 0.5
"""Silence after which a client turns to another node: no recovery can look quicker to a client that was cut off."""


@dataclass
class Happened:
    """A step as it came about; seconds after the load had begun.

    Attributes:
        targets: the nodes that it was done to.
        began, harmed, ended: when; between the first two the harm is done, as a kill that waits for the process' end.
        gap: the longest time without an answer that has a part in it.
        recovery: seconds from when the cluster had to answer until it did, what was asked from then on; None: never, or
            the run ended before.
        from_end: whether it had to answer only once this step, and those that overlapped it, had ended.
        is_late: whether that took longer than it may.
    """

    step: Step
    targets: list[int]
    began: float
    harmed: float = 0.0
    ended: float = 0.0
    gap: float = 0.0
    recovery: float | None = None
    from_end: bool = False
    is_late: bool = False

    @property
    def text(self) -> str:
        """What was done, in words."""
        return describe(self.step, self.targets)

    @property
    def recovery_text(self) -> str:
        """The recovery in words; an asterisk if it is from the end."""
        if self.recovery is None:
            return "never" if self.is_late else "not seen"  # the run ended before
        return f"{self.recovery:.2f} s{' *' if self.from_end else ''}"


@dataclass(frozen=True)
class Promise:
    """One of the things that the service promises: whether it was kept, None: not decided; and a sentence on it."""

    name: str
    kept: bool | None
    detail: str


@dataclass
class Outcome:
    """All that a run has shown.

    Attributes:
        settings: what was asked: scenario, seed, seconds, nodes, clients, reads, ….
        shows: the scenario's sentence.
        promises: each, kept or not.
        happened: the steps.
        seconds: of load.
        operations: in the history.
        outcomes: of operations, by how they ended.
        throughput: answers a second outside of faults; in all.
        times: of answers outside of failovers: in seconds that no step touches.
        series: of each second: operations answered; failed; the p50, p99 and largest time of those answered; the
            longest time without an answer that has a part in it.
        roles: (when, node, role, term), as nodes told of changes.
        notes: what else there is to know.
        history: the file; None: it was not kept.
        folder: data and logs; None: they were not kept.
        page: the culprit's part of the history.
    """

    settings: Mapping[str, Any]
    shows: str
    promises: list[Promise]
    happened: list[Happened]
    seconds: float
    operations: int
    outcomes: Mapping[str, int]
    throughput: tuple[float, float]
    times: Histogram
    series: list[tuple[int, int, float, float, float, float]]
    roles: list[tuple[float, int, str, int]]
    notes: list[str] = field(default_factory=list)
    history: Path | None = None
    folder: Path | None = None
    page: Path | None = None
    was_stopped: bool = False

    @property
    def held(self) -> bool:
        """Whether every promise was kept."""
        return all(promise.kept for promise in self.promises)

    @property
    def broken(self) -> bool:
        """Whether a promise was broken; if neither, something could not be decided."""
        return any(promise.kept is False for promise in self.promises)

    @property
    def election(self) -> float:
        """The longest election timeout, in seconds: what recoveries are measured in."""
        return float(self.settings["election"][1])

    def as_json(self) -> dict[str, Any]:
        """All of it, as JSON can hold it; times in seconds."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "held": self.held,
            "settings": dict(self.settings),
            "shows": self.shows,
            "promises": [asdict(promise) for promise in self.promises],
            "faults": [
                {
                    **each.step.as_json(),
                    "text": each.text,
                    "targets": each.targets,
                    "began": round(each.began, 3),
                    "ended": round(each.ended, 3),
                    "gap": round(each.gap, 3),
                    "recovery": None if each.recovery is None else round(each.recovery, 3),
                    "recovery_in_election_timeouts": None
                    if each.recovery is None
                    else round(each.recovery / self.election, 2),
                    "recovery_from_end": each.from_end,
                    "is_late": each.is_late,
                }
                for each in self.happened
            ],
            "seconds": round(self.seconds, 3),
            "operations": self.operations,
            "outcomes": dict(self.outcomes),
            "throughput_outside_faults": round(self.throughput[0], 1),
            "throughput": round(self.throughput[1], 1),
            "outside_faults": {
                "count": self.times.count,
                "p50": self.times.percentile(50),
                "p99": self.times.percentile(99),
                "largest": self.times.largest,
            },
            "series": self.series,
            "roles": self.roles,
            "notes": self.notes,
            "was_stopped": self.was_stopped,
            "history": None if self.history is None else str(self.history),
            "folder": None if self.folder is None else str(self.folder),
        }


def judge_recoveries(happened: Sequence[Happened], recording: Recording, until: float, limit: float) -> None:
    """Fills in what answers there were around each step.

    A step that the cluster must survive is measured from when its harm is done, if no other one is on then; another one
    from when it and those that overlap it are over.

    Args:
        until: when the load ended.
        limit: seconds that a recovery may take.
    """
    for each in happened:
        others = [other for other in happened if other is not each]
        overlaps = any(other.began < each.ended and each.began < other.ended for other in others)
        each.from_end = not each.step.survivable or overlaps
        ready = each.harmed
        if each.from_end:
            ready = each.ended
            while later := [other.ended for other in others if other.began <= ready < other.ended]:
                ready = max(later)
        each.gap = recording.gap(each.began, min(max(each.ended, ready), until))
        each.recovery = recording.next_answer(ready)
        if each.recovery is None:
            each.is_late = until - ready > limit
        else:
            each.is_late = each.recovery > limit
        if not each.from_end and each.gap > limit:
            each.is_late = True


def held_up_for(happened: Happened, held_up: Sequence[tuple[float, float]], limit: float) -> float:
    """Seconds of `held_up`, (when, how long), from the beginning of a step until it had to be over."""
    end = happened.ended + max(limit, happened.recovery or 0.0)
    return sum(max(min(at + seconds, end) - max(at, happened.began), 0.0) for at, seconds in held_up)


def calm_seconds(happened: Sequence[Happened], until: float, after: float) -> list[tuple[float, float]]:
    """The times from 0 to `until` that no step touches, nor the `after` seconds after it."""
    calm, at = [], 0.0
    for each in sorted(happened, key=lambda each: each.began):
        if each.began > at:
            calm.append((at, each.began))
        at = max(at, each.ended + after)
    return [*calm, (at, until)] if until > at else calm
