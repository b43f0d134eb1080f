"""What came of a load: counts, times, and both second by second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kvraft.load.histogram import Histogram, merged, summary
from kvraft.load.load import Load
from labrpc.errors import UsageError

__all__ = ["ANSWERS", "Kind", "Recorded", "Result", "Second"]

FORMAT = "kvraft load"
VERSION = 1

ANSWERS = frozenset({"OK", "NO_KEY", "VERSION", "MAYBE"})
"""Outcomes that the cluster has given; the others are UNAVAILABLE (nobody knows) and REFUSED (not done)."""


class Recorded(NamedTuple):
    """One operation, for checks of linearizability.

    Attributes:
        client: who asked; nobody does two things at a time. After an outcome that is not known a client goes on under
            another number, for its operation may still take effect.
        kind: "get" or "put".
        key: of it.
        arguments: of a put (value, version); of a get ().
        result: of a get (value, version, outcome); of a put its outcome.
        called_at, returned_at: time.monotonic() of this machine; returned_at None: the outcome is not known.
    """

    client: int
    kind: str
    key: str
    arguments: tuple[Any, ...]
    result: Any
    called_at: float
    returned_at: float | None


@dataclass(frozen=True, kw_only=True)
class Second:
    """One second of a load, warm-up included.

    Attributes:
        second: which, from 0, the first that counts; below 0: of the warm-up. What ended after the last that counts is
            in one more, which is no whole second.
        began_at: time.monotonic() of this machine.
        done: operations answered in it.
        errors: operations that ended without an answer in it.
        p50, p99, largest: seconds that those which ended in it took.
        late: operations that were due at its end and had not begun (open loop).
    """

    second: int
    began_at: float
    done: int
    errors: int
    p50: float
    p99: float
    largest: float
    late: int = 0


@dataclass(frozen=True, kw_only=True)
class Kind:
    """All operations of one kind: how many ended how, and the seconds that they took."""

    outcomes: Mapping[str, int]
    times: Histogram

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.outcomes.values())

    @property
    def answered(self) -> int:
        """How many the cluster has answered."""
        return sum(count for outcome, count in self.outcomes.items() if outcome in ANSWERS)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of a load.

    Counted is what was asked (open loop: what was due) in `load.seconds`; `elapsed` ends with the last answer to that.

    Attributes:
        load, addresses: what was asked of whom.
        elapsed: seconds.
        kinds: "get" and "put", if there were any.
        series: second by second, in order, warm-up included.
        never_begun: operations that were due and that no client was free for until the end (open loop).
        was_stopped: whether it was ended before its time.
        client_cpu: seconds that the processes of the clients have computed.
        facts: of the machine and the cluster, whatever the caller has put there.
    """

    load: Load
    addresses: tuple[str, ...]
    elapsed: float
    kinds: Mapping[str, Kind]
    series: tuple[Second, ...] = ()
    never_begun: int = 0
    was_stopped: bool = False
    client_cpu: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Operations of all kinds."""
        return sum(kind.count for kind in self.kinds.values())

    @property
    def answered(self) -> int:
        """Operations that the cluster has answered."""
        return sum(kind.answered for kind in self.kinds.values())

    @property
    def errors(self) -> int:
        """Operations without an answer."""
        return self.count - self.answered

    @property
    def throughput(self) -> float:
        """Answers a second."""
        return self.answered / self.elapsed if self.elapsed > 0 else 0.0

    @property
    def times(self) -> Histogram:
        """Of all kinds together."""
        return merged(kind.times for kind in self.kinds.values())

    def corrected(self, kind: str) -> Histogram:
        """The times of `kind` in a closed loop, as if each client had asked at even intervals all the time.

        The interval is the median of what an operation took. In an open loop the times are so already.
        """
        times = self.kinds[kind].times
        return times if self.load.is_open else times.corrected(self.times.percentile(50))

    def as_json(self) -> dict[str, Any]:
        """All of it, as JSON can hold it; times in seconds."""
        kinds = {}
        for name, kind in self.kinds.items():
            kinds[name] = {
                "outcomes": dict(kind.outcomes),
                "throughput": kind.answered / self.elapsed if self.elapsed > 0 else 0.0,
                "times": dict(summary(kind.times)),
                "corrected": None if self.load.is_open else dict(summary(self.corrected(name))),
                "histogram": {
                    "buckets": [list(pair) for pair in kind.times.as_pairs()],
                    "total": kind.times.total,
                    "largest": kind.times.largest,
                },
            }
        return {
            "format": FORMAT,
            "version": VERSION,
            "load": self.load.as_json(),
            "addresses": list(self.addresses),
            "elapsed": self.elapsed,
            "throughput": self.throughput,
            "kinds": kinds,
            "series": [vars(second).copy() for second in self.series],
            "never_begun": self.never_begun,
            "was_stopped": self.was_stopped,
            "client_cpu": self.client_cpu,
            "facts": dict(self.facts),
        }

    @classmethod
    def from_json(cls, data: Any) -> Result:
        """What `as_json` gave.

        Raises:
            UsageError: it is not that, or of another version.
        """
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise UsageError("it holds no result of a load")
        if data.get("version") != VERSION:
            raise UsageError(f"it is of version {data.get('version')}; this program reads version {VERSION}")
        try:
            kinds = {
                name: Kind(
                    outcomes={str(outcome): int(count) for outcome, count in kind["outcomes"].items()},
                    times=Histogram.from_pairs(
                        kind["histogram"]["buckets"], kind["histogram"]["total"], kind["histogram"]["largest"]
                    ),
                )
                for name, kind in data["kinds"].items()
            }
            return cls(
                load=Load.from_json(data["load"]),
                addresses=tuple(data["addresses"]),
                elapsed=float(data["elapsed"]),
                kinds=kinds,
                series=tuple(Second(**second) for second in data["series"]),
                never_begun=int(data["never_begun"]),
                was_stopped=bool(data["was_stopped"]),
                client_cpu=float(data["client_cpu"]),
                facts=dict(data["facts"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"it is damaged: {type(error).__name__}: {error}") from None
