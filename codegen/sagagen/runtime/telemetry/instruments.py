"""Counters and histograms of one thread, as collectors of prometheus_client's registry.

The library's own are safe for any thread: each count is made under a lock, and an observation takes two after a walk
along the buckets. A saga makes some two dozen of both, all in its process's event loop. What is served is the same to
the byte, which a property test holds.
"""

import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, Exemplar, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString  # pyright: ignore[reportUnknownVariableType] - untyped

INFINITY = float("inf")


class Count:
    """One series of a Counter."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1) -> None:
        """Add a number that is not negative."""
        self.value += amount


class Observations:
    """One series of a Histogram."""

    __slots__ = ("_bounds", "_counts", "_exemplars", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds`: upper bounds of the buckets, in order; the last one is infinite."""
        self._bounds = bounds
        self._counts = [0] * len(bounds)
        self._sum = 0.0
        self._exemplars: dict[int, Exemplar] = {}

    def observe(self, value: float, exemplar: dict[str, str] | None = None) -> None:
        """Count a value in its bucket. The exemplar, if there is one, takes the place of that bucket's last.

        It is kept, and not copied.
        """
        bucket = bisect_left(self._bounds, value)
        self._counts[bucket] += 1
        self._sum += value
        if exemplar:
            self._exemplars[bucket] = Exemplar(exemplar, value, time.time())

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        below, buckets = 0, list[tuple[str, float, Exemplar | None]]()
        for index, bound in enumerate(self._bounds):
            below += self._counts[index]
            buckets.append((floatToGoString(bound), float(below), self._exemplars.get(index)))
        family.add_metric(labels, buckets, self._sum)  # pyright: ignore[reportArgumentType] - None is none


Series = TypeVar("Series", Count, Observations)


class Instrument(Collector, Generic[Series]):
    """Series of one name, by the values of their labels. One without labels has its one series from the start."""

    kind = ""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        *,
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        self.name = name
        self.documentation = documentation
        self.label_names = tuple(labels)
        self._series: dict[tuple[str, ...], Series] = {}
        if not labels:
            self.labels()
        registry.register(self)

    def labels(self, *values: str) -> Series:
        """The series of these values, in the order of the names; begun at zero if there is none yet."""
        if len(values) != len(self.label_names):
            raise ValueError(f"{self.name} has the labels {self.label_names}, not {len(values)} of them")
        if values not in self._series:
            self._series[values] = self._new()
        return self._series[values]

    def _new(self) -> Series:
        raise NotImplementedError


class Counter(Instrument[Count]):
    """A number that only grows; served with `_total` after its name."""

    kind = "counter"

    def inc(self, amount: float = 1) -> None:
        """As that of the series, of one without labels."""
        self.labels().inc(amount)

    def describe(self) -> Iterator[CounterMetricFamily]:
        yield CounterMetricFamily(self.name, self.documentation, labels=self.label_names)

    def collect(self) -> Iterator[CounterMetricFamily]:
        for family in self.describe():
            for values, series in self._series.items():
                family.add_metric(values, series.value)
            yield family

    def _new(self) -> Count:
        return Count()


class Histogram(Instrument[Observations]):
    """How often values fell at or under each of some bounds, and their sum."""

    kind = "histogram"

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        *,
        buckets: Sequence[float],
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        """`buckets`: upper bounds, in order, without the infinite one."""
        self._bounds = (*(float(bound) for bound in buckets), INFINITY)
        super().__init__(name, documentation, labels, registry=registry)

    def observe(self, value: float) -> None:
        """As that of the series, of one without labels."""
        self.labels().observe(value)

    def describe(self) -> Iterator[HistogramMetricFamily]:
        yield HistogramMetricFamily(self.name, self.documentation, labels=self.label_names)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        for family in self.describe():
            for values, series in self._series.items():
                series.add_to(family, values)
            yield family

    def _new(self) -> Observations:
        return Observations(self._bounds)
