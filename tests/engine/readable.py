"""What was found of a log in which every saga can be read."""

from collections.abc import Iterable
from typing import TypeVar

from sagagen.runtime.saga.search import UnreadableSaga

Saga = TypeVar("Saga")


def readable(found: Iterable[Saga | UnreadableSaga]) -> list[Saga]:
    """Fails the test for a saga that can't be read."""
    sagas: list[Saga] = []
    for saga in found:
        assert not isinstance(saga, UnreadableSaga), saga
        sagas.append(saga)
    return sagas
