"""Runs tests that are coroutines on virtual time: `pytest -p sagagen.testing.pytest_plugin`.

Tests that another plugin runs (pytest-asyncio, anyio) are left to it.
"""

import inspect
from collections.abc import Iterable

import pytest

from sagagen.testing.virtual_time import virtual_time


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """Each such test becomes a function that pytest itself can run."""
    for item in items:
        # Other plugins have classes of their own for the tests that they run.
        if type(item) is pytest.Function and inspect.iscoroutinefunction(item.obj):
            item.obj = virtual_time(item.obj)
