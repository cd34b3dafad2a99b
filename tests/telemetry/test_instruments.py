"""What is served is what prometheus_client's own counters and histograms would serve."""

from typing import Any, NamedTuple

import prometheus_client
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics  # pyright: ignore[reportUnknownVariableType] - its options have no types

from sagagen.runtime.telemetry import instruments

BOUNDS = (0.001, 0.5, 1, 2.5, 10.0)
VALUES = st.floats(0, 20) | st.sampled_from([*BOUNDS, 0.0])
LABELS = st.tuples(st.sampled_from(["a", 'b"\\\n']), st.text(max_size=2))

prometheus_client.disable_created_metrics()  # as sagagen.runtime.telemetry.metrics does


class Inc(NamedTuple):
    labels: tuple[str, str]
    amount: float


class Observe(NamedTuple):
    labels: tuple[str, str]
    value: float
    has_exemplar: bool


STEPS = st.lists(
    st.builds(Inc, LABELS, st.floats(0, 1e9)) | st.builds(Observe, LABELS, VALUES, st.booleans()), max_size=20
)


def told(library: Any, steps: list[Inc | Observe]) -> CollectorRegistry:
    """The same steps, told to prometheus_client or to ours, with instruments without labels too."""
    registry = CollectorRegistry()
    counter = library.Counter("calls", "How many.", ["who", "what"], registry=registry)
    alone = library.Counter("all_calls", "All of them.", registry=registry)
    histogram = library.Histogram("took", "How long.", ["who", "what"], buckets=BOUNDS, registry=registry)
    altogether = library.Histogram("all_took", "All of it.", buckets=BOUNDS, registry=registry)
    for step in steps:
        match step:
            case Inc(labels, amount):
                counter.labels(*labels).inc(amount)
                alone.inc()
            case Observe(labels, value, has_exemplar):
                histogram.labels(*labels).observe(value, {"trace_id": "0" * 32} if has_exemplar else None)
                altogether.observe(value)
    return registry


@pytest.fixture(autouse=True)
def still_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exemplars have a time."""
    monkeypatch.setattr("time.time", lambda: 1.5)


@settings(max_examples=200)
@given(STEPS)
def test_any_counts_and_observations_are_served_as_the_library_would(steps: list[Inc | Observe]) -> None:
    theirs, ours = told(prometheus_client, steps), told(instruments, steps)
    assert generate_latest(ours) == generate_latest(theirs)
    assert generate_openmetrics(ours) == generate_openmetrics(theirs)


def test_a_name_can_be_taken_once() -> None:
    registry = CollectorRegistry()
    prometheus_client.Counter("calls", "How many.", registry=registry)
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        instruments.Counter("calls", "Others.", registry=registry)


def test_labels_that_are_too_few_are_a_mistake() -> None:
    counter = instruments.Counter("calls", "How many.", ["who", "what"], registry=CollectorRegistry())
    with pytest.raises(ValueError, match="calls has the labels"):
        counter.labels("a")
