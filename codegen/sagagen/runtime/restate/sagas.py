"""The gateway's half: `RestateSagas` starts, watches and operates sagas whose rows Restate keeps. It needs no disk."""

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random, SystemRandom
from urllib.parse import quote

import structlog

from sagagen.runtime.audit.entry import AuditEntry
from sagagen.runtime.clock import Clock, SystemClock
from sagagen.runtime.engine.acceptance import accepted_row, started_of
from sagagen.runtime.engine.port import (
    Acceptance,
    CallerQuery,
    CommandRejected,
    Delivered,
    Delivery,
    DiskUse,
    Halted,
    JournalUnreadable,
    NotDelivered,
    Offer,
    OpenCount,
    OperatorCommand,
    Overloaded,
    RecordedSaga,
    Refusal,
    SagaPage,
    SagaQuery,
    SagaResult,
    SagaView,
    Started,
    TooManyRunning,
    UnknownSaga,
    UnreadableSaga,
)
from sagagen.runtime.identity import ANONYMOUS, run_id
from sagagen.runtime.messages.apart import LARGE_BYTES, apart
from sagagen.runtime.model.definition import Saga
from sagagen.runtime.restate.batch import RowBatch, to_bytes
from sagagen.runtime.restate.callers import ActiveOfCallers
from sagagen.runtime.restate.client import Answer, RestateClient, Unreachable
from sagagen.runtime.restate.failing import Failing
from sagagen.runtime.restate.figures import BOUNDS, FiguresOnRestate
from sagagen.runtime.restate.looking import Looking
from sagagen.runtime.restate.orders import Order, is_new_of, order_to_bytes
from sagagen.runtime.restate.permits import Permits
from sagagen.runtime.restate.recorded import SagaOnRestate, recorded
from sagagen.runtime.restate.replies import ReplyListener, Told
from sagagen.runtime.restate.workflow_names import HEAD, ORDER, RUN, service_name
from sagagen.runtime.saga.commands import offers
from sagagen.runtime.saga.definitions import Definitions
from sagagen.runtime.saga.events import Accepted, SagaStatus
from sagagen.runtime.saga.history import fold
from sagagen.runtime.saga.searched_figures import SearchedFigures
from sagagen.runtime.saga.view import view_of

ACCEPT_S = 5.0
"""How long Restate may take to make an acceptance durable, in seconds."""
ORDER_S, ORDER_HOST_S = 15.0, 11.0
"""How long an order may take, in seconds, and at one of several hosts: a second above the time that it waits there."""
STOPPING_S = 1.0
"""How long an event that is on its way may still take, in seconds, once the gateway stops."""
ASKS_S = (0.3, 0.5, 1.0, 2.0)
"""After how many seconds a gateway that was told nothing asks; the last again and again."""
ASKS_UNHEARD = 2
"""So many of these times are left out while adapters tell it of other sagas: then this one has not got so far.
Where all have much to do, each question makes them slower."""
PERMITS_ASKED = 10
"""Sagas a second that the gateway asks about, of those that began longest ago and of which it has heard nothing."""
STILL_MS = 1_000
"""A saga whose last row is older, in ms, and that does not rest, is in a call; or its attempts fail."""
_BYTES = {"content-type": "application/octet-stream"}

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Waiting:
    """Those who wait for one saga's result."""

    answered: "asyncio.Future[SagaResult | None]"
    count: int = 0


class RestateSagas:
    """Implements `SagaRuntime`. Use it by `async with`. `replies` is where adapters tell it what becomes of sagas."""

    def __init__(
        self,
        project: str,
        sagas: Sequence[Saga],
        ingress: RestateClient,
        looking: Looking,
        failing: Failing | None = None,
        *,
        max_running: int,
        is_alone: bool = True,
        max_running_per_caller: int | None = None,
        audited: Callable[[AuditEntry], None] | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        """`is_alone` says that no other engine can have a run of a saga: then none claims its id first. `audited` is
        told what the audit has, since it went with a saga's row."""
        self._project = project
        self._audited = audited
        self._definitions = Definitions(sagas)
        self._names = list(dict.fromkeys(saga.name for saga in sagas))
        self._ingress = ingress
        self._looking = looking
        self._failing = failing
        self._clock = clock or SystemClock()
        self._random = random or Random(SystemRandom().getrandbits(256))
        self.figures = SearchedFigures(FiguresOnRestate(looking, self._definitions), BOUNDS)
        """What can be told of many sagas at once."""
        self._is_contested = not is_alone
        self._permits = Permits(max_running)
        self._of_callers = (
            ActiveOfCallers(max_running_per_caller, looking.active_by_caller, self._permits.of_caller)
            if max_running_per_caller is not None
            else None
        )
        self._sending: dict[str, asyncio.Task[Answer]] = {}
        """Acceptances that Restate has not answered yet, by saga."""
        self._waiting: dict[str, _Waiting] = {}
        self._closing = asyncio.Event()
        self._reply_to = b""
        self._heard = 0
        """How often adapters have told it something."""

    async def __aenter__(self) -> "RestateSagas":
        self._asking = asyncio.create_task(self._ask_about_permits(), name="permits")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop_accepting()
        self._asking.cancel()

    def heard_by(self, listener: ReplyListener) -> None:
        """Adapters are asked to tell it."""
        self._reply_to = listener.reply_to

    def hear(self, told: Told) -> None:
        self._heard += 1
        if told.is_resting:
            self._permits.give_back(told.saga_id)
        waiting = self._waiting.get(told.saga_id)
        if waiting and not waiting.answered.done() and (told.result is not None or told.is_stuck):
            waiting.answered.set_result(told.result)

    @property
    def definitions(self) -> Definitions:
        return self._definitions

    # Starting sagas, and what is said to them

    async def accept(self, acceptance: Acceptance) -> Started:
        if refusal := self._refusal() or await self._refusal_of_caller(acceptance):
            found = await self._find(acceptance.saga_id, acceptance.saga.name)
            if found is None:
                raise refusal
            return started_of(fold(found.rows), is_new=False)
        return await self._accept(acceptance)

    async def _refusal_of_caller(self, acceptance: Acceptance) -> Overloaded | None:
        if self._of_callers is None or self._permits.row(acceptance.saga_id) is not None:
            return None
        if not await self._of_callers.is_full(acceptance.caller):
            return None
        return TooManyRunning(
            f"you have {self._of_callers.at_most} active sagas, which is all that you may have"
        )

    def _refusal(self) -> Overloaded | None:
        if self._closing.is_set():
            return Overloaded("the gateway is stopping")
        if not self._permits.room:
            return Overloaded(f"{self._permits.at_most} sagas of this gateway are under way")
        return None

    async def _accept(self, acceptance: Acceptance) -> Started:
        at_ms, run = self._clock.wall_ms(), run_id(self._random)
        if len(acceptance.input) > LARGE_BYTES:
            row = await apart(lambda: self._row(acceptance, at_ms, run))
        else:
            row = self._row(acceptance, at_ms, run)
        while before := self._sending.get(acceptance.saga_id):  # a repeat is not to get there first
            await asyncio.wait([before])
            if not before.cancelled() and not before.exception():
                return await self._started_before(acceptance, row)
        is_first = self._permits.take(acceptance.saga_id)
        # In a task of its own: a client that hangs up leaves a saga that is accepted, and whose permit is held.
        sending = asyncio.create_task(self._sent(acceptance, row, is_first=is_first), name="accepting")
        self._sending[acceptance.saga_id] = sending
        return await self._started(acceptance, row, await asyncio.shield(sending))

    def _row(self, acceptance: Acceptance, at_ms: int, run: str) -> Accepted:
        return accepted_row(acceptance, at_ms, run, is_contested=self._is_contested)

    async def _sent(self, acceptance: Acceptance, row: Accepted, *, is_first: bool) -> Answer:
        """Raises Unreachable where it was not accepted, as far as anybody knows."""
        path = self._path(acceptance.saga.name, acceptance.saga_id, f"{RUN}/send")
        body = to_bytes(RowBatch([row], reply=self._reply_to))
        try:
            answer = await self._ingress.ask("POST", path, body, _BYTES, ACCEPT_S)
            _check(answer)
            if _is_new(answer):
                self._permits.accepted(acceptance.saga_id, row)
        except BaseException:
            if is_first:
                self._permits.give_back(acceptance.saga_id)
            raise
        finally:
            del self._sending[acceptance.saga_id]
        return answer

    async def _started(self, acceptance: Acceptance, row: Accepted, answer: Answer) -> Started:
        if _is_new(answer):
            return Started(
                acceptance.saga_id,
                True,
                acceptance.caller,
                acceptance.fingerprint,
                None,
                row.trace.trace_id,
                row.at_ms,
                SagaStatus.RUNNING,
            )
        return await self._started_before(acceptance, row)

    async def _started_before(self, acceptance: Acceptance, row: Accepted) -> Started:
        """It was accepted already: by this request, whose answer was lost, by another one here, or elsewhere."""
        saga_id = acceptance.saga_id
        found = await self._find(saga_id, acceptance.saga.name)
        is_ours = found is not None and found.accepted.run == row.run
        if is_ours:
            self._permits.accepted(saga_id, row)
        elif self._permits.row(saga_id) is None:
            self._permits.give_back(saga_id)
        if found is None:  # no adapter has begun it, and who has accepted it is not known here
            trace_id = acceptance.trace.trace_id
            return Started(saga_id, False, acceptance.caller, None, None, trace_id, 0, SagaStatus.RUNNING)
        return started_of(fold(found.rows), is_new=is_ours)

    async def deliver(self, delivery: Delivery) -> Delivered:
        found = await self._find(delivery.saga_id, delivery.saga)
        if found is None:
            raise NotDelivered(Refusal.UNKNOWN_SAGA, f"there is no saga {delivery.saga_id}", 1.0)
        accepted = found.accepted
        if missing := self._missing(found):
            raise NotDelivered(Refusal.NOT_READY, f"the saga waits for a deployment: {missing}", 1.0)
        is_new = await self._order_unless_stopping(accepted.saga, accepted.saga_id, delivery)
        self._tell_audit(delivery, is_new=is_new)
        return Delivered(
            is_new, accepted.trace.trace_id, accepted.started_ms, accepted.version, accepted.input
        )

    async def command(self, saga_id: str, command: OperatorCommand) -> None:
        found = await self.find(saga_id)
        if found is None:
            raise UnknownSaga(saga_id)
        if self._closing.is_set():
            raise CommandRejected("the gateway is stopping: repeat it at another one, or after its restart")
        if missing := self._missing(found):
            raise CommandRejected(f"the saga waits for a deployment: {missing}")
        try:
            is_new = await self._order(found.accepted.saga, saga_id, command)
        except NotDelivered as error:  # it was not heard in time
            raise CommandRejected(str(error)) from error
        self._tell_audit(command, is_new=is_new)

    def _tell_audit(self, order: Order, *, is_new: bool) -> None:
        if is_new and order.audit and self._audited:
            self._audited(order.audit)

    def _missing(self, found: SagaOnRestate) -> str:
        is_active = fold(found.rows).status.is_active
        return (self._definitions.missing(found.accepted) or found.waiting_for) if is_active else ""

    async def _order_unless_stopping(self, saga: str, saga_id: str, order: Order) -> bool:
        """A server that stops cuts off whoever waits longer than it does, without an answer."""
        asking = asyncio.create_task(self._order(saga, saga_id, order), name="order")
        stopping = asyncio.create_task(self._closing.wait(), name="stopping")
        try:
            await asyncio.wait([asking, stopping], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait([asking], timeout=STOPPING_S)
            if asking.done():
                return asking.result()
            raise NotDelivered(Refusal.NOT_READY, "the gateway is stopping: send the same again", 1.0)
        finally:
            asking.cancel()
            stopping.cancel()

    async def _order(self, saga: str, saga_id: str, order: Order) -> bool:
        answer = await self._ingress.ask(
            "POST", self._path(saga, saga_id, ORDER), order_to_bytes(order), _BYTES, ORDER_S, ORDER_HOST_S
        )
        if answer.status != 200:
            raise Unreachable(f"Restate has refused it with {answer.status}")
        return is_new_of(answer.body)

    # Waiting for what becomes of them

    async def wait(
        self, saga_id: str, timeout_s: float, closing: "asyncio.Future[None] | None" = None
    ) -> SagaResult | None:
        if self._permits.row(saga_id) is None:  # it may be over: nobody would tell
            found = await self._recorded(saga_id)
            if found is None or self._is_told(found):
                return fold(found.rows).result if found else None
        waiting = self._waiting.setdefault(saga_id, _Waiting(asyncio.get_running_loop().create_future()))
        waiting.count += 1
        asking = asyncio.create_task(self._ask_for_result(saga_id, waiting.answered), name="asking")
        stopping = asyncio.create_task(self._closing.wait())
        ends = {waiting.answered, asking, stopping, *({closing} if closing else ())}
        try:
            await asyncio.wait(ends, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            return waiting.answered.result() if waiting.answered.done() else None
        finally:
            asking.cancel()
            stopping.cancel()
            waiting.count -= 1
            if not waiting.count:
                self._waiting.pop(saga_id, None)

    async def _ask_for_result(self, saga_id: str, answered: "asyncio.Future[SagaResult | None]") -> None:
        """Ask again and again, in case that nobody tells. It ends once there is nothing to wait for."""
        for number in itertools.count():
            heard = self._heard
            await asyncio.sleep(ASKS_S[min(number, len(ASKS_S) - 1)])
            is_told = self._heard > heard and self._permits.row(saga_id) is not None
            if is_told and number < ASKS_UNHEARD:
                continue
            try:
                found = await self._recorded(saga_id)
            except (Unreachable, JournalUnreadable):
                continue
            if found and self._is_told(found):
                if not answered.done():
                    answered.set_result(fold(found.rows).result)
                return

    def _is_told(self, found: SagaOnRestate) -> bool:
        """Nothing is left to wait for."""
        history = fold(found.rows)
        return bool(history.result or history.stuck or self._definitions.missing(history.accepted))

    async def _ask_about_permits(self) -> None:
        """Sagas of which nothing was heard: an adapter that was killed tells nothing."""
        while True:
            await asyncio.sleep(1.0)
            for saga_id in self._permits.longest(PERMITS_ASKED, older_than_s=5.0):
                try:
                    found = await self._recorded(saga_id)
                except (Unreachable, JournalUnreadable):
                    break
                if found is not None and (found.is_resting or not fold(found.rows).status.is_active):
                    self._permits.give_back(saga_id)
                else:
                    self._permits.look_later(saga_id)

    # What is recorded of them

    async def find(self, saga_id: str) -> SagaOnRestate | None:
        found = await self._recorded(saga_id)
        return await self._explained(found) if found else None

    async def _recorded(self, saga_id: str) -> SagaOnRestate | None:
        for name in self._names:
            if found := await self._find(saga_id, name):
                return found
        return None

    async def _explained(self, found: SagaOnRestate) -> SagaOnRestate:
        """With what it waits for, as Restate knows it, if it should have gone on a while ago."""
        history = fold(found.rows)
        if self._failing is None or found.is_resting or not history.status.is_active:
            return found
        if self._clock.wall_ms() - history.updated_ms < STILL_MS:
            return found
        return replace(found, waiting_for=await self._failing.of(found.accepted.saga_id))

    async def _find(self, saga_id: str, saga: str) -> SagaOnRestate | None:
        answer = await self._ingress.ask("POST", self._path(saga, saga_id, HEAD), b"", _BYTES)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise Unreachable(f"Restate answers {answer.status}")
        if answer.body:
            return recorded(answer.body)
        row = self._permits.row(saga_id)  # accepted here a moment ago: no adapter has begun it
        return SagaOnRestate((row,), row) if row and row.saga == saga else None

    async def describe(self, saga_id: str) -> SagaView | None:
        found = await self.find(saga_id)
        if found is None:
            return None
        history = fold(found.rows)
        missing = self._missing(found)
        return view_of(history, self._definitions.of(history.accepted), missing)

    async def ids(self, beginning: str, at_most: int) -> Sequence[str]:
        return await self._looking.ids(beginning, at_most)

    async def search(self, query: SagaQuery) -> Sequence[RecordedSaga | UnreadableSaga]:
        return await self._looking.search(query, self._definitions)

    async def of_caller(self, query: CallerQuery) -> SagaPage:
        return await self._looking.of_caller(query)

    async def open_counts(self) -> Sequence[OpenCount]:
        return await self._looking.open_counts()

    async def ended_counts(self) -> Mapping[tuple[str, SagaStatus], int]:
        return await self._looking.ended_counts()

    def offers(self, recorded: RecordedSaga) -> Sequence[Offer]:
        saga = self._definitions.of(recorded.accepted)
        return tuple(offers(saga, fold(recorded.rows))) if saga else ()

    async def halted(self) -> Halted:
        return await self._looking.halted()

    def disk_use(self) -> DiskUse | None:
        return None

    # While the project moves from one engine to another

    @property
    def running(self) -> int:
        return self._permits.taken

    async def active_of(self, caller: str) -> int:
        return 0 if caller in ("", ANONYMOUS) else await self._looking.active_of(caller)

    async def started(self, saga_id: str, saga: str = "") -> Started | None:
        for name in (saga,) if saga else self._names:
            if not await self._is_sent(saga_id, name):
                continue
            if found := await self._find(saga_id, name):
                return started_of(fold(found.rows), is_new=False)
            return Started(saga_id, False, "", None, None, "", 0, SagaStatus.RUNNING)  # nobody has begun it
        return None

    async def _is_sent(self, saga_id: str, saga: str) -> bool:
        """Whether Restate has a workflow of this id, begun or not."""
        path = f"/restate/workflow/{service_name(self._project, saga)}/{saga_id}/output"
        answer = await self._ingress.ask("GET", path)
        if answer.status == 404:
            return False
        if answer.status not in (200, 470):  # 470: it has not ended
            raise Unreachable(f"Restate answers {answer.status}")
        return True

    async def open_count(self) -> int:
        return await self._looking.open_count()

    async def last_ends_ms(self) -> Mapping[str, int]:
        return await self._looking.last_ends_ms()

    # Readiness

    async def check(self) -> str:
        if self._closing.is_set():
            return "it is stopping"
        try:
            answer = await self._ingress.ask("GET", "/restate/health", timeout_s=1.5)
        except Unreachable:
            return "Restate can't be reached"
        return "" if answer.status == 200 else f"Restate answers {answer.status}"

    def room(self) -> int:
        return 0 if self._closing.is_set() else self._permits.room

    def stop_accepting(self) -> None:
        self._closing.set()

    def _path(self, saga: str, saga_id: str, handler: str) -> str:
        # An id may be what a client wrote into a URL.
        return f"/{service_name(self._project, saga)}/{quote(saga_id, safe='')}/{handler}"


def _check(answer: Answer) -> None:
    """Raises Unreachable where Restate has not taken a saga on."""
    if answer.status == 404:
        raise Unreachable("no adapter has told Restate of this saga yet")
    if answer.status not in (200, 202):
        raise Unreachable(f"Restate has refused it with {answer.status}")


def _is_new(answer: Answer) -> bool:
    """The workflow was begun by this request."""
    return answer.json()["status"] == "Accepted"
