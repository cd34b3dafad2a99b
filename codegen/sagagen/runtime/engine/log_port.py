"""The port between an engine that runs in a gateway's process and its saga log: `EngineLog`.

It is a journal that gives back what it was given. An engine knows its log by this module alone; which log it is, only
`process/` decides. `SagasInLog` is what operators need of it, while an engine runs on the log and while none does.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Protocol

from sagagen.runtime.engine.parking import WaitingSagas
from sagagen.runtime.saga.events import Accepted, SagaStatus
from sagagen.runtime.saga.figures import SagaFigures
from sagagen.runtime.saga.journal import Journal
from sagagen.runtime.saga.logged import Found, LoggedSaga, SagaHead, SagaRef
from sagagen.runtime.saga.search import CallerQuery, OpenCount, SagaPage, SagaPlace, SagaQuery


class DrivenElsewhere(Exception):
    """Another gateway on the same log drives the saga: it has to be asked."""


class SagasInLog(Journal[SagaRef], Protocol):
    """A log as operators see it."""

    async def find(self, saga_id: str) -> LoggedSaga | None:
        """A saga with all of its rows; None if there is no such saga. Raises JournalUnreadable."""
        ...

    async def ids(self, beginning: str, at_most: int) -> Sequence[str]:
        """Ids that begin like this, in order."""
        ...

    async def search(self, query: SagaQuery) -> Sequence[Found]:
        """A page of the sagas that match, newest first; those that can't be read among them."""
        ...

    async def open_counts(self) -> Sequence[OpenCount]:
        """How many sagas are open, by definition and status."""
        ...

    async def ended_counts(self) -> Mapping[tuple[str, SagaStatus], int]:
        """How many of the kept sagas have ended, by name and status."""
        ...

    @property
    def figures(self) -> SagaFigures:
        """What is known of many sagas at once; reading it holds up neither an engine nor its writes."""
        ...

    async def last_ms(self) -> int:
        """Time of the last row, ms since the epoch; 0 if there is none."""
        ...

    @property
    def size_bytes(self) -> int | None:
        """Bytes on a disk of this machine; None: it is kept elsewhere."""
        ...

    @property
    def is_disk_full(self) -> bool:
        """Open sagas go on, new ones are refused until there is room again."""
        ...


class EngineLog(SagasInLog, WaitingSagas, Protocol):
    """A log that an engine runs on."""

    @property
    def keeps_subjects(self) -> bool:
        """The subject of a saga is kept with it: where it is encrypted."""
        ...

    @property
    def is_full(self) -> bool:
        """So many rows wait to be written that new sagas should be refused."""
        ...

    async def accept(
        self, row: Accepted, index: Sequence[tuple[str, str | int]] = (), subject: str = ""
    ) -> SagaRef | None:
        """Begin a saga, durably. None, and nothing written, if its id is already in the log.

        `index` has the values by which it can be found; `subject` is the person whose data it holds.
        Raises JournalUnavailable.
        """
        ...

    async def head(self, saga_id: str) -> SagaHead | None:
        """Where a saga stands, who started it, and its result if it has one; None if there is no such saga.

        Raises JournalUnreadable.
        """
        ...

    def active_sagas(self) -> AsyncIterator[Sequence[Found]]:
        """The active sagas that this engine has to go on with, oldest first, a page at a time."""
        ...

    async def active_by_caller(self) -> Mapping[str, int]:
        """How many active sagas each caller has; who has none is not in it."""
        ...

    async def last_ends_ms(self) -> Mapping[str, int]:
        """When the last saga of each definition has ended, ms since the epoch, of those that are kept."""
        ...

    async def waiting_count(self) -> int:
        """How many sagas only wait."""
        ...

    async def unchanged(self, before_ms: int, at_most: int) -> Sequence[SagaPlace]:
        """Active sagas that have something to do and whose status is from before then, oldest first.

        On a shared log those that this engine has to drive, and those that no engine drives that lives.
        """
        ...

    async def of_caller(self, query: CallerQuery) -> SagaPage:
        """A page of a caller's sagas, newest first. Raises UnknownSaga if `after` is none of them."""
        ...

    def gather_for(self, at_work: Callable[[float], int]) -> None:
        """Let commits wait a little for company: `at_work` says how many writers may bring some, as of a time."""
        ...


class Letter(Protocol):
    """Something that came for a saga at another gateway."""

    @property
    def id(self) -> int: ...

    @property
    def body(self) -> bytes: ...

    @property
    def was_taken(self) -> bool:
        """A gateway that has died since had begun with it."""
        ...


class Left(Protocol):
    """Shards that nobody owned any more, of one gateway that had them."""

    @property
    def shards(self) -> Sequence[int]: ...

    @property
    def died(self) -> bool:
        """It gave them to nobody: it died, or was taken for dead."""
        ...

    @property
    def on_trial(self) -> str:
        """The one saga that it tried then; empty: none."""
        ...


class LettersInLog(Protocol):
    """How something reaches the gateway that drives a saga."""

    async def post(self, saga_id: str, body: bytes, within_s: float) -> int | None:
        """Send something to whoever owns the saga. Returns the letter's number; None if there is no such saga."""
        ...

    async def replies(self, ids: Collection[int]) -> Mapping[int, bytes]:
        """The answers that are there."""
        ...

    async def forget_letter(self, letter_id: int) -> None:
        """Nobody waits for its answer any more."""
        ...


class SharedLog(EngineLog, LettersInLog, Protocol):
    """A log that the engines of several gateways run on. Each saga is driven by the one that owns its shard.

    All of it raises JournalUnavailable while the log is away.
    """

    @property
    def has_lease(self) -> bool:
        """False: others own the sagas that this gateway drove."""
        ...

    async def begin_again(self) -> None:
        """Ask for another lease, once nothing here drives a saga any more."""
        ...

    @property
    def begun_with(self) -> Sequence[Left]:
        """What the life that runs took when it began."""
        ...

    async def take(self) -> Sequence[Left]:
        """Own what nobody owns, and what dead gateways have left. Returns what is new."""
        ...

    async def counted_deaths(self, saga_ids: Sequence[str]) -> Mapping[str, tuple[int, int]]:
        """How many gateways in a row have died with each of these sagas under way, and its rows then."""
        ...

    async def count_deaths(self, counts: Mapping[str, tuple[int, int]]) -> None:
        """Keep them."""
        ...

    async def try_alone(self, saga_id: str) -> None:
        """Say whose fault it is if this gateway dies now; empty: nobody's."""
        ...

    def active_sagas(self, shards: Collection[int] | None = None) -> AsyncIterator[Sequence[Found]]:
        """The active sagas of this gateway, or of some of its shards, oldest first, a page at a time."""
        ...

    async def waiting_count(self, shards: Collection[int] | None = None) -> int:
        """How many sagas of this gateway, or of some of its shards, only wait."""
        ...

    async def active_of(self, caller: str) -> int:
        """How many active sagas a caller has, at all gateways; 0 for those that nobody knows."""
        ...

    async def rung(self) -> None:
        """Return when another gateway has something for this one, or it is time to look."""
        ...

    async def letters(self) -> Sequence[Letter]:
        """What has come for sagas of this gateway; it is given out once."""
        ...

    async def reply(self, letter_id: int, body: bytes) -> None:
        """Answer a letter."""
        ...

    async def tidy(self) -> None:
        """Remove what nobody asks for any more."""
        ...
