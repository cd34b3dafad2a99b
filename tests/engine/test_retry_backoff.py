"""Waits between attempts."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_mesh import RETRY

from sagagen.runtime.saga.retry import MAX_RETRY_AFTER_S, backoff_s, ceiling_s


@pytest.mark.parametrize(
    ("failures", "longest_s"), [(1, 0.05), (2, 0.1), (3, 0.2), (6, 1.6), (7, 2.0), (5000, 2.0)]
)
def test_the_ceiling_doubles_until_it_is_capped(failures: int, longest_s: float) -> None:
    assert ceiling_s(RETRY, failures) == pytest.approx(longest_s)


@given(st.integers(1, 10_000), st.integers())
def test_jitter_is_full(failures: int, seed: int) -> None:
    assert 0 <= backoff_s(RETRY, failures, None, Random(seed)) <= ceiling_s(RETRY, failures)


def test_the_first_attempt_does_not_wait() -> None:
    assert backoff_s(RETRY, 0, 5.0, Random(1)) == 0


def test_what_the_service_asked_for_is_the_least_and_bounded() -> None:
    waits = [backoff_s(RETRY, 3, 5.0, Random(seed)) for seed in range(100)]
    assert min(waits) >= 5.0
    assert max(waits) > min(waits), "those who were turned away together do not come back together"
    assert backoff_s(RETRY, 1, 1e9, Random(1)) <= MAX_RETRY_AFTER_S + RETRY.max_s
    assert backoff_s(RETRY, 1, -3.0, Random(1)) >= 0


def test_a_constant_wait_stays_constant() -> None:
    steady = replace(RETRY, multiplier=1.0)
    assert {ceiling_s(steady, failures) for failures in range(1, 50)} == {0.05}
