"""How rough a run is on its hosts: preemption, slow disks and the network's climate, drawn from the seed.

    seed + schedule (--schedule) --> Disturbance --> hosts: stalls, priorities, saves
                                             '-----> network: its climate

    uniform   stalls at evenly drawn gaps, as dense and as long as the seed says; the standard climate
    swarm     the seed turns kinds of trouble on and off, each at an intensity of its own
    pct       threads have random priorities, and now and then the running one loses its own; see `priorities`
    mix       the seed draws one of these three
    none      no thread is ever preempted; the standard climate

Swarm is after Groce, Zhang, Eide, Chen and Regehr, Swarm Testing (ISSTA 2012): a run with all kinds of trouble at once
hides what a run with few of them shows. Its figures stay where a correct service keeps the graded tests' time limits.
"""

from __future__ import annotations

from typing import TypeVar

from labrpc.climate import SLOW, Climate
from labrpc.errors import UsageError
from labrpc.streams import Streams

__all__ = ["SCHEDULES", "Disturbance", "check_schedule"]

SCHEDULES = ("mix", "uniform", "swarm", "pct", "none")

_SHARES = {"uniform": 34, "swarm": 33, "pct": 33}
"""Of 100 seeds under mix. On mistakes that do not show under every seed the three find about equally much in all, but
each finds others of them best, and which it will be is not known beforehand. So none is preferred; `docs/mutants.md`
compares them."""

MS = 1_000_000

T = TypeVar("T")


def check_schedule(name: str) -> None:
    """
    Raises:
        UsageError: there is no such schedule.
    """
    if name not in SCHEDULES:
        raise UsageError(f"--schedule {name} is not one of {', '.join(SCHEDULES)}")


class Disturbance:
    """How much a run preempts its hosts, how slow their disks are, and its network's climate.

    Args:
        streams: the run's streams; this uses `run/…` only.
        schedule: one of `SCHEDULES`.
    """

    # A race is found in proportion to length / gap: at 20 steps and 5 ms the lock that is missing in a vote handler
    # shows in every third seed, at 1000 steps in hardly one.
    _GAPS = (0, 1_000, 200, 80, 40, 20)
    _LENGTHS = (1 * MS, 5 * MS)
    _SAVES = (0, MS // 2, 5 * MS)

    def __init__(self, streams: Streams, schedule: str = "mix") -> None:
        check_schedule(schedule)
        self._draws = streams.sub("run")
        self.schedule = self._drawn_schedule() if schedule == "mix" else schedule
        """What it is, never mix."""
        self.mean_gap_steps = 0
        self.longest_stall_ns = self._pick("stall-length", self._LENGTHS)
        self.stretch_steps = 0
        """See `StallPlan`."""
        self.changes = 0
        self.spared: frozenset[str] = frozenset()
        """Hosts whose threads are not preempted."""
        self.longest_async_save_ns = self._pick("async-save", self._SAVES)
        self.longest_sync_save_ns = 0
        self.climate = Climate()
        if self.schedule == "uniform":
            self.mean_gap_steps = self._pick("stall-gap", self._GAPS)
        elif self.schedule == "swarm":
            self._swarm()
        elif self.schedule == "pct":
            self._pct()

    def mean_gap_of(self, host: str) -> int:
        """Step points between stalls of `host`'s threads, on average; 0: they are never stalled."""
        return 0 if host in self.spared else self.mean_gap_steps

    def _swarm(self) -> None:
        self.mean_gap_steps = self._pick("swarm/stall-gap", (0, 1_000, 200, 80, 40, 20, 10))
        self.longest_stall_ns = self._pick("swarm/stall-length", (MS // 5, MS, 5 * MS, 20 * MS))
        spared = self._pick("swarm/spared", (0, 0, 1, 2))
        first: int = self._pick("swarm/first-spared", (0, 1, 2))
        self.spared = frozenset(str((first + number) % 3) for number in range(spared))
        shape = self._pick("swarm/shape", ("steady", "wide", "late", *SLOW[1:]))
        # Either the disks are slow or the network is: of a put each takes several in a row.
        saves, sync_saves = (
            ((0, MS // 2, 5 * MS, 7 * MS), (0, MS)) if shape == "steady" else ((0, MS // 2), (0, MS // 5))
        )
        self.longest_async_save_ns = self._pick("swarm/async-save", saves)
        self.longest_sync_save_ns = self._pick("swarm/sync-save", sync_saves)
        self.climate = Climate(
            spread_ns=self._pick("swarm/spread", (MS, 3 * MS)) if shape == "wide" else 0,
            slow=shape if shape in SLOW else "",
            # A leader that is the slow host is so four times in a put.
            slow_ns=self._pick("swarm/slow", (MS, 3 * MS) if shape == "host" else (4 * MS, 10 * MS)),
            late_per_thousand=self._pick("swarm/late-share", (10, 100)) if shape == "late" else 0,
            late_ns=self._pick("swarm/late", (8 * MS, 25 * MS)),
            lost_per_thousand=self._pick("swarm/lost", (50, 100, 150)),
            delay_ns=self._pick("swarm/delay", (8 * MS, 26 * MS, 40 * MS)),
            duplicated_per_thousand=self._pick("swarm/duplicated", (0, 0, 10, 30)),
        )

    def _pct(self) -> None:
        self.stretch_steps = self._pick("pct/stretch", (400, 1_500, 6_000))
        self.changes = self._pick("pct/changes", (1, 2, 3))
        self.longest_stall_ns = self._pick("pct/stall-length", (2 * MS, 10 * MS, 30 * MS))

    def _drawn_schedule(self) -> str:
        drawn = self._draws.stream("schedule").at(0, sum(_SHARES.values()))
        for name, share in _SHARES.items():
            if drawn < share:
                return name
            drawn -= share
        raise AssertionError("shares do not add up")

    def _pick(self, name: str, choices: tuple[T, ...]) -> T:
        return choices[self._draws.stream(name).at(0, len(choices))]
