"""The sagas of one person, whose data can be erased once all of them have ended."""

from collections.abc import Sequence
from dataclasses import dataclass

from sagagen.runtime.saga.events import SagaStatus


class StillOpen(Exception):
    """Sagas of the subject have not ended, and need their data."""

    def __init__(self, ids: Sequence[str]) -> None:
        super().__init__(
            f"{len(ids)} of its sagas {'is' if len(ids) == 1 else 'are'} open, and nothing was erased: "
            f"{', '.join(ids)}. Wait for their end, or cancel them"
        )
        self.ids = tuple(ids)


@dataclass(frozen=True, slots=True)
class OfSubject:
    """A saga of a subject."""

    number: int
    saga_id: str
    status: SagaStatus
