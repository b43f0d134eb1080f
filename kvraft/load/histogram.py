"""How long things took: counts in buckets that grow with the value, so that the error is a share of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

__all__ = ["RELATIVE_ERROR", "Histogram"]

_BUCKETS_AN_OCTAVE = 128

RELATIVE_ERROR = 1 / (2 * _BUCKETS_AN_OCTAVE)
"""The most by which a percentile differs from the value that was recorded, as a share of that: 0.4 %."""


class Histogram:
    """Durations in seconds, above 0. The largest is kept as it is; any other is known to `RELATIVE_ERROR`."""

    __slots__ = ("count", "counts", "largest", "total")

    def __init__(self) -> None:
        # How many fell into each bucket.
        self.counts: dict[int, int] = {}
        self.count = 0
        self.total = 0.0
        self.largest = 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        """Records a duration."""
        bucket = _bucket(seconds)
        self.counts[bucket] = self.counts.get(bucket, 0) + times
        self.count += times
        self.total += seconds * times
        if seconds > self.largest:
            self.largest = seconds

    def merge(self, other: Histogram) -> None:
        """Adds all that `other` has."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.count += other.count
        self.total += other.total
        self.largest = max(self.largest, other.largest)

    def percentile(self, percent: float) -> float:
        """The least duration that `percent` of all do not exceed, in seconds; 0.0 if there are none.

        Raises:
            ValueError: `percent` is not in 0..100.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"percentile {percent:g} is not in 0..100")
        rank = max(math.ceil(self.count * percent / 100), 1)
        if rank >= self.count:
            return self.largest
        seen = 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= rank:
                return min(_middle(bucket), self.largest)
        return self.largest

    @property
    def mean(self) -> float:
        """In seconds; 0.0 if there are none."""
        return self.total / self.count if self.count else 0.0

    def corrected(self, interval: float) -> Histogram:
        """What clients that ask every `interval` seconds, whether answered or not, would have waited.

        A closed loop that waits for an answer does not ask meanwhile, and so leaves out the operations that would have
        waited as well. For each duration beyond `interval` this adds those: one that is `interval` shorter, one that is
        two of them shorter, and so on (as HdrHistogram's copyCorrectedForCoordinatedOmission).
        """
        result = Histogram()
        result.merge(self)
        if interval <= 0:
            return result
        for bucket, count in self.counts.items():
            missed = min(_middle(bucket), self.largest) - interval
            while missed >= interval:
                result.add(missed, count)
                missed -= interval
        return result

    def as_pairs(self) -> list[tuple[int, int]]:
        """(bucket, count) of those that are not empty, in order."""
        return sorted(self.counts.items())

    @classmethod
    def from_pairs(cls, pairs: Iterable[Iterable[int]], total: float, largest: float) -> Histogram:
        """The histogram that `as_pairs`, `total` and `largest` are of.

        Raises:
            ValueError: they are of none.
        """
        result = cls()
        for bucket, count in pairs:
            if not (isinstance(bucket, int) and isinstance(count, int) and count > 0):
                raise ValueError(f"({bucket!r}, {count!r}) is no bucket with its count")
            result.counts[bucket] = count
            result.count += count
        result.total, result.largest = float(total), float(largest)
        return result


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """One of all."""
    result = Histogram()
    for each in histograms:
        result.merge(each)
    return result


def summary(histogram: Histogram) -> Mapping[str, float]:
    """The figures that are usually asked for, in seconds."""
    return {
        "mean": histogram.mean,
        "p50": histogram.percentile(50),
        "p95": histogram.percentile(95),
        "p99": histogram.percentile(99),
        "p99.9": histogram.percentile(99.9),
        "max": histogram.largest,
    }


def _bucket(seconds: float) -> int:
    mantissa, exponent = math.frexp(seconds)
    return exponent * _BUCKETS_AN_OCTAVE + int((mantissa - 0.5) * (2 * _BUCKETS_AN_OCTAVE))


def _middle(bucket: int) -> float:
    exponent, place = divmod(bucket, _BUCKETS_AN_OCTAVE)
    return math.ldexp(0.5 + (place + 0.5) / (2 * _BUCKETS_AN_OCTAVE), exponent)
