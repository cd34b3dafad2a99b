"""The engine of one gateway of several that share a log.

Each drives the sagas that it has accepted, and those of gateways that are gone. What comes for a saga that another one
drives (an event, a client's or an operator's command) goes there as a letter, by the log; so does the answer. Its
result is read from the log, where it is durable before anybody is told.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Self

import structlog

from sagagen.runtime.engine.asking import ask
from sagagen.runtime.engine.deaths import TRIALS_S, Count, Record, answered
from sagagen.runtime.engine.embedded import EmbeddedEngine, SagaEntry
from sagagen.runtime.engine.letters import (
    Sent,
    answer,
    command_letter,
    delivery_letter,
    read_letter,
    unreadable,
)
from sagagen.runtime.engine.log_port import DrivenElsewhere, Left, Letter, SharedLog
from sagagen.runtime.engine.pace import Pace
from sagagen.runtime.engine.port import (
    Acceptance,
    Delivered,
    Delivery,
    NotDelivered,
    Refusal,
    Started,
    TooManyRunning,
)
from sagagen.runtime.identity import ANONYMOUS
from sagagen.runtime.saga.commands import CommandRejected, OperatorCommand
from sagagen.runtime.saga.history import History
from sagagen.runtime.saga.journal import JournalUnavailable
from sagagen.runtime.saga.logged import LoggedSaga
from sagagen.runtime.saga.result import SagaResult

LOOK_FROM_S, LOOK_UP_TO_S = 0.05, 0.5
"""How often the result of a saga at another gateway is looked for: more and more rarely."""
HAND_OVER_S = 2.0
"""How many seconds a gateway that stops waits for its calls: then others go on, and repeat what has no answer yet."""
TIDY_S = 60.0
"""How often letters that nobody waits for are removed, in seconds."""

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class SharedEngine(EmbeddedEngine):
    """Implements `SagaRuntime` on a log that other gateways' engines run on too.

    `running_per_caller` is how many active sagas one caller may have at all gateways together, if that is limited.
    """

    def __init__(self, *, log: SharedLog, running_per_caller: int | None = None, **options: Any) -> None:
        """`options` are EmbeddedEngine's."""
        super().__init__(log=log, **options)
        self._shared = log
        self._running_per_caller = running_per_caller
        self._looking: asyncio.Task[None] | None = None
        self._to_do: list[Left] = []
        """What is owned, and was not taken up yet."""
        self._taking: asyncio.Task[None] | None = None
        self._counted: tuple[Left, Record] | None = None
        """The death that was counted last."""
        self._answering: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._looking = asyncio.create_task(self._look_again_and_again(), name="other gateways")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await super().__aexit__(kind, error, trace)
        finally:
            tasks = {*self._answering, *filter(None, (self._looking, self._taking))}
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    async def check(self) -> str:
        if self._looking and self._looking.done():
            return "other gateways are not heard"
        return await super().check()

    async def accept(self, acceptance: Acceptance) -> Started:
        if acceptance.saga_id not in self._entries:
            await self._check_caller(acceptance)
        return await super().accept(acceptance)

    async def _check_caller(self, acceptance: Acceptance) -> None:
        """Raises TooManyRunning. Of two gateways that look at once each may let one in."""
        at_most, caller = self._running_per_caller, acceptance.caller
        if at_most is None or caller in ("", ANONYMOUS) or await self._shared.active_of(caller) < at_most:
            return
        if await self._shared.head(acceptance.saga_id) is None:
            raise TooManyRunning(f"you have {at_most} active sagas, which is all that you may have")

    async def active_of(self, caller: str) -> int:
        """How many active sagas a caller has, at all gateways; 0 for those that nobody knows."""
        return await self._shared.active_of(caller)

    async def deliver(self, delivery: Delivery) -> Delivered:
        try:
            return await super().deliver(delivery)
        except DrivenElsewhere:
            pass
        found = await ask(self._shared, delivery.saga_id, delivery_letter(delivery))
        assert isinstance(found, Delivered), "a delivery is answered by one"
        return found

    async def command(self, saga_id: str, command: OperatorCommand) -> None:
        if await self._is_elsewhere(saga_id):
            await ask(self._shared, saga_id, command_letter(saga_id, command))
        else:
            await super().command(saga_id, command)

    async def wait(
        self, saga_id: str, timeout_s: float, closing: "asyncio.Future[None] | None" = None
    ) -> SagaResult | None:
        if not await self._is_elsewhere(saga_id):
            return await super().wait(saga_id, timeout_s, closing)
        loop, look_s = asyncio.get_running_loop(), LOOK_FROM_S
        ends_s = loop.time() + timeout_s
        while True:
            with suppress(JournalUnavailable):  # the saga is accepted all the same
                head = await self._shared.head(saga_id)
                if head is None or head.result or not head.status.is_active:
                    return head.result if head else None
            if self._is_draining:
                return None
            left_s = ends_s - loop.time()
            if left_s <= 0 or (closing and closing.done()):
                return None
            nap = {closing} if closing else {loop.create_future()}
            await asyncio.wait(nap, timeout=min(left_s, look_s))
            look_s = min(LOOK_UP_TO_S, look_s * 1.5)

    async def _is_elsewhere(self, saga_id: str) -> bool:
        entry = self._entries.get(saga_id)
        if entry and entry.driver:
            return False
        head = await self._shared.head(saga_id)
        return head is not None and head.is_elsewhere and head.status.is_open

    async def _look_again_and_again(self) -> None:
        """Whatever other gateways leave, and whatever they send."""
        tidied_s = float("-inf")
        while True:
            try:
                await self._look()
                if self._clock.monotonic_s() - tidied_s >= TIDY_S:
                    tidied_s = self._clock.monotonic_s()
                    await self._shared.tidy()
            except JournalUnavailable:
                pass  # readiness says it, and whoever writes
            except Exception:
                _logger.exception("other gateways could not be looked for; again in a second")
            await self._shared.rung()

    async def _look(self) -> None:
        if not self._is_draining:
            if not self._shared.has_lease:
                await self._let_go()
                await self._shared.begin_again()
                self._to_do = list(self._shared.begun_with)
            else:
                self._to_do += await self._shared.take()
            if self._to_do and (self._taking is None or self._taking.done()):
                self._taking = asyncio.create_task(self._take_over(), name="taking over")
        if self._shared.has_lease:
            for letter in await self._shared.letters():
                self._answer_apart(letter)

    async def _let_go(self) -> None:
        """Others own these sagas now: whatever is under way here is given up, and they repeat it."""
        if self._taking:
            self._taking.cancel()
            await asyncio.wait({self._taking})
        tasks = [entry.task for entry in self._entries.values() if entry.task]
        if tasks:
            _logger.warning("sagas are left to other gateways", count=len(tasks))
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for saga_id, entry in list(self._entries.items()):
            if entry.task in tasks:  # cancelled before its first step, a task does not get to forget
                self._forget(saga_id, entry)
        self._parked = 0

    async def _resume_all(self) -> None:
        self._parked = 0
        self._to_do = list(self._shared.begun_with)
        await self._take_over()
        if self._to_do:
            raise JournalUnavailable("the saga log went away while its sagas were taken up")

    async def _take_over(self) -> None:
        """Go on with the sagas of what others have left. What can't be read now is tried again at the next look."""
        try:
            while self._to_do:
                left = self._to_do[0]
                waiting = await self._shared.waiting_count(left.shards)
                count = await (self._go_on_after_death(left) if left.died else self._go_on_with(left.shards))
                self._parked += waiting
                del self._to_do[0]
                self._wheel.look_again()
                if waiting or count:
                    said = "what another gateway drove is driven here"
                    _logger.info(said, resumed=count, waiting=waiting, died=left.died)
        except JournalUnavailable as error:
            _logger.warning("sagas could not be taken over yet", error=str(error))

    async def _go_on_with(self, shards: Collection[int]) -> int:
        """Resume the sagas of these shards. Returns how many."""
        pace, count = Pace(), 0
        async for logged in self._resumable(self._shared.active_sagas(shards)):
            if logged.accepted.saga_id not in self._entries:
                self._enter(logged.accepted.saga_id, partial(self._resume, logged))
                count += 1
                await pace.step()
        return count

    async def _go_on_after_death(self, left: Left) -> int:
        """First the saga that is to blame, then those that may be, one by one, then all others: see `deaths`.

        Sagas that this gateway drives meanwhile go on. It may die of one of them, and the one on trial is blamed.
        """
        record = await self._charged(left)
        if culprit := record.to_set_aside(left.on_trial):
            await self._begin_apart(culprit, self._set_aside)
        ends_s = self._clock.monotonic_s() + TRIALS_S
        for saga_id in record.to_try():
            if saga_id != culprit and self._clock.monotonic_s() < ends_s:
                await self._try_here(saga_id)
        return await self._go_on_with(left.shards)

    async def _charged(self, left: Left) -> Record:
        """Count the death of a gateway, once, for each saga that it had under way."""
        if self._counted and self._counted[0] is left:
            return self._counted[1]
        counts: dict[str, Count] = {}
        async for page in self._shared.active_sagas(left.shards):
            rows = {
                each.accepted.saga_id: answered(each.rows) for each in page if isinstance(each, LoggedSaga)
            }
            before = await self._shared.counted_deaths(list(rows))
            known = Record({saga_id: Count(*count) for saga_id, count in before.items()}, left.on_trial)
            counts |= known.after_death(rows).counts
        if counts:
            await self._shared.count_deaths(counts)
        record = Record(counts)
        self._counted = left, record
        return record

    async def _begin_apart(
        self, saga_id: str, begin: "Callable[[LoggedSaga, SagaEntry], Awaitable[History]]"
    ) -> None:
        logged = await self._shared.find(saga_id)
        if logged and saga_id not in self._entries and not self._definitions.missing(logged.accepted):
            self._enter(saga_id, partial(begin, logged))

    async def _try_here(self, saga_id: str) -> None:
        """Resume a saga, and wait until its call has an answer: this gateway lives on, or it died of that saga."""
        logged = await self._shared.find(saga_id)
        if logged is None or saga_id in self._entries or self._definitions.missing(logged.accepted):
            return
        _logger.warning(
            "gateways died twice in a row with a saga under way: it goes on alone", saga_id=saga_id
        )
        await self._shared.try_alone(saga_id)
        await self._until_tried(saga_id, logged)
        await self._shared.try_alone("")

    async def _resume(self, logged: LoggedSaga, entry: SagaEntry) -> History:
        self._context.time.reach(logged.rows[-1].at_ms)
        return await super()._resume(logged, entry)

    def _drain_s(self) -> float:
        """Others go on with what hangs here: what is in doubt then they repeat."""
        return min(HAND_OVER_S, super()._drain_s())

    def _answer_apart(self, letter: Letter) -> None:
        task = asyncio.create_task(self._answer(letter), name=f"letter {letter.id}")
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, letter: Letter) -> None:
        try:
            outcome = await self._outcome(read_letter(letter.body), letter)
        except Exception as error:  # noqa: BLE001 - it is raised to whoever asked, at the other gateway
            outcome = error
        try:
            await self._shared.reply(letter.id, answer(outcome))
        except JournalUnavailable as error:
            _logger.warning("a letter of another gateway is not answered", error=str(error))

    async def _outcome(self, sent: Sent | None, letter: Letter) -> Delivered | None:
        match sent:
            case None:
                raise unreadable()
            case Delivery():
                try:
                    return await super().deliver(sent)
                except DrivenElsewhere:
                    said = "the saga changes its gateway: send the same again"
                    raise NotDelivered(Refusal.NOT_READY, said, 1.0) from None
            case (saga_id, command):
                if letter.was_taken:
                    raise CommandRejected("the gateway that drove the saga died: look, and repeat it")
                await super().command(saga_id, command)
                return None
