"""Counters and histograms that cost a fraction of a microsecond, for what happens with every operation.

    waits = Histograms("raft_commit_latency_seconds", "From … to …", ["node"], SECONDS)
    mine = waits.of("0")            once: it may be kept
    mine.observe(0.003)             often
    registry.register(Tallies([waits]))

prometheus_client's own take two locks with each event. These are for one thread that writes; any other may read them,
and then sees numbers that are at most one event apart.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Generic, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

__all__ = ["SECONDS", "SIZES", "Count", "Counters", "CountsOf", "Gauges", "Histograms", "Spread", "Tallies", "gauge"]

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of buckets, for what takes from half a millisecond to a client's patience."""

SIZES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)


class Count:
    """A number: `count.value += 1`."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0


class Spread:
    """How values are spread over buckets."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """`value` was there so many times. A bucket holds what is at most its bound."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    def buckets(self) -> list[tuple[str, float]]:
        """(upper bound, values up to it), as Prometheus has them."""
        names = [*(f"{bound:.12g}" if bound % 1 else f"{bound:.1f}" for bound in self.bounds), "+Inf"]
        return [(name, float(count)) for name, count in zip(names, accumulate(self.counts), strict=True)]


C = TypeVar("C")


class _Series(Generic[C]):
    """All series of one name: a child for each combination of labels' values."""

    def __init__(self, name: str, text: str, labels: Sequence[str], make: Callable[[], C]) -> None:
        self.name, self.text, self.labels = name, text, list(labels)
        self.children: dict[tuple[str, ...], C] = {}
        self._make = make

    def of(self, *values: str) -> C:
        """The child with these labels' values; it is there from then on."""
        child = self.children.get(values)
        if child is None:
            assert len(values) == len(self.labels), f"{self.name} has labels {self.labels}, not {values}"
            child = self.children[values] = self._make()
        return child

    def family(self) -> Metric:
        """What a scrape shows."""
        raise NotImplementedError


class Counters(_Series[Count]):
    """Numbers that only grow. `name` ends in _total."""

    def __init__(self, name: str, text: str, labels: Sequence[str] = ()) -> None:
        super().__init__(name, text, labels, Count)

    def family(self) -> Metric:
        family = CounterMetricFamily(self.name, self.text, labels=self.labels)
        for values, child in tuple(self.children.items()):
            family.add_metric(values, child.value)
        return family


class Gauges(_Series[Count]):
    """Numbers that go up and down."""

    def __init__(self, name: str, text: str, labels: Sequence[str] = ()) -> None:
        super().__init__(name, text, labels, Count)

    def family(self) -> Metric:
        return gauge(self.name, self.text, self.labels, {values: each.value for values, each in self.children.items()})


class Histograms(_Series[Spread]):
    """Spreads of values.

    Args:
        shows_empty: whether those in which there is nothing are shown. Where there are many children, of which few are
            used, that would be most of what a scrape has to write.
    """

    def __init__(
        self,
        name: str,
        text: str,
        labels: Sequence[str],
        bounds: Sequence[float] = SECONDS,
        *,
        shows_empty: bool = True,
    ) -> None:
        super().__init__(name, text, labels, lambda: Spread(bounds))
        self._shows_empty = shows_empty

    def family(self) -> Metric:
        family = HistogramMetricFamily(self.name, self.text, labels=self.labels)
        for values, child in tuple(self.children.items()):
            if self._shows_empty or any(child.counts):
                family.add_metric(values, child.buckets(), child.total)
        return family


class CountsOf:
    """Counters of what `histograms` observe, those of empty children too. `name` ends in _total."""

    def __init__(self, histograms: Histograms, name: str, text: str) -> None:
        self._histograms, self.name, self.text = histograms, name, text

    def family(self) -> Metric:
        """What a scrape shows."""
        family = CounterMetricFamily(self.name, self.text, labels=self._histograms.labels)
        for values, child in tuple(self._histograms.children.items()):
            family.add_metric(values, float(sum(child.counts)))
        return family


def gauge(name: str, text: str, labels: Sequence[str], values: Mapping[Any, float]) -> GaugeMetricFamily:
    """A gauge as it is at this moment; `values` by tuples of labels' values."""
    family = GaugeMetricFamily(name, text, labels=list(labels))
    for each, value in tuple(values.items()):
        family.add_metric(each, value)
    return family


class Tallies(Collector):
    """Some of the above, for a registry."""

    def __init__(self, series: Iterable[Counters | CountsOf | Gauges | Histograms]) -> None:
        self.series = tuple(series)

    def collect(self) -> Iterator[Metric]:
        for each in self.series:
            yield each.family()
