"""What Restate can tell of many sagas at once, by its SQL. It tells nothing of rates, nor of first acceptances."""

from collections.abc import Sequence

from sagagen.runtime.model.definition import Saga
from sagagen.runtime.restate.looking import Looking
from sagagen.runtime.restate.recorded import SagaOnRestate
from sagagen.runtime.saga.definitions import Definitions
from sagagen.runtime.saga.figures import Overview
from sagagen.runtime.saga.search import OpenCount, SagaQuery, UnreadableSaga
from sagagen.runtime.saga.searched_figures import Bounds, Recorded, overview_of_counts

BOUNDS = Bounds(of_groups=200, turned_back=200, ended=200, open=200)


class FiguresOnRestate:
    """Implements `Sagas` for `SearchedFigures`."""

    def __init__(self, looking: Looking, definitions: Definitions) -> None:
        self._looking = looking
        self._definitions = definitions

    async def search(self, query: SagaQuery) -> Sequence[Recorded | UnreadableSaga]:
        return await self._looking.search(query, self._definitions)

    async def open_counts(self) -> Sequence[OpenCount]:
        return await self._looking.open_counts()

    def rests(self, found: Recorded) -> bool:
        return isinstance(found, SagaOnRestate) and found.is_resting

    async def overview(self, newest: Sequence[Saga]) -> Overview:
        return overview_of_counts(await self._looking.open_counts(), await self._looking.counts_of_ended())
