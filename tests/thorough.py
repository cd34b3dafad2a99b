"""How much is tried. By default: a representative of each kind; with these variables: what a release tries.

CONTRIBUTING.md lists them, with what the default run takes.
"""

import os
from collections.abc import Sequence
from typing import TypeVar

import pytest
from hypothesis import HealthCheck

T = TypeVar("T")

_VARIABLES = (
    "SAGAGEN_PROOFS",
    "SAGAGEN_FUZZ_ROUNDS",
    "SAGAGEN_FAULT_ROUNDS",
    "SAGAGEN_GENERATE_KILLS",
    "OPENAPI_EXAMPLES",
    "SAGAGEN_TEST_DELIVERIES",
    "SAGAGEN_SIM_ROUNDS",
)
TRIES_MORE = any(name in os.environ for name in _VARIABLES)
"""Whether anything is tried at another length than by default: then no test is taken for one that hangs."""
TRIES_ALL = os.environ.get("SAGAGEN_PROOFS") == "all"
"""Whether every case of what is tried on whole projects and processes is."""
FUZZ_ROUNDS = int(os.environ.get("SAGAGEN_FUZZ_ROUNDS", "1"))
"""How many times as many made-up contracts."""
FAULT_ROUNDS = int(os.environ.get("SAGAGEN_FAULT_ROUNDS", "1"))
"""How many rounds of kills."""
GENERATE_KILLS = int(os.environ.get("SAGAGEN_GENERATE_KILLS", "2"))
"""How many runs of the generator are killed."""
OPENAPI_EXAMPLES = int(os.environ.get("OPENAPI_EXAMPLES", "60"))
"""How many requests are made up from the shop's OpenAPI document."""
DELIVERIES = int(os.environ.get("SAGAGEN_TEST_DELIVERIES", "1000"))
"""About how many deliveries reach the barrier."""
SIM_ROUNDS = int(os.environ.get("SAGAGEN_SIM_ROUNDS", "200"))
"""How many sagas are simulated of each kind of world."""

EXAMPLES = 100 if TRIES_MORE else 50
"""How many a property is tried with that says nothing of it itself."""

SLOW_AND_LARGE = (
    HealthCheck.too_slow,
    HealthCheck.data_too_large,
    HealthCheck.filter_too_much,
    HealthCheck.function_scoped_fixture,
)
"""What is no mistake of a test that tries whole requests or histories."""


for_a_release = pytest.mark.skipif(not TRIES_ALL, reason="SAGAGEN_PROOFS=all tries it")
"""Marks what takes long, and whose parts other tests try."""


def chosen(cases: Sequence[T], *, first: int) -> Sequence[T]:
    """All cases where everything is tried, else so many."""
    return cases if TRIES_ALL else cases[:first]
