"""The routes that start a saga: accepted durably once for each idempotency key, answered the same ever after."""

from dataclasses import replace
from random import Random
from typing import Any

from sagagen.runtime.access.identity import Identity
from sagagen.runtime.clock import Clock, SystemClock
from sagagen.runtime.edge.answer import Answer
from sagagen.runtime.edge.entry import Entry
from sagagen.runtime.edge.exchange import SAGA, Exchange, traceparent
from sagagen.runtime.edge.key import idempotency_key, missing_key
from sagagen.runtime.edge.problem import RETRY_AFTER_S, Problem, ProblemError, retry_after
from sagagen.runtime.edge.responder import (
    OWNER_RUN,
    HttpResponder,
    accepted,
    key_expired,
    key_reused,
    location,
)
from sagagen.runtime.edge.shared_answers import SharedAnswer, SharedAnswers
from sagagen.runtime.edge.transcoding.request import RequestReader
from sagagen.runtime.engine.port import (
    Acceptance,
    JournalUnavailable,
    NotAcceptable,
    Overloaded,
    SagaResult,
    SagaRuntime,
    Started,
    TooManyRunning,
)
from sagagen.runtime.identity import fingerprint_of, random_saga_id, saga_id
from sagagen.runtime.model.definition import AT_ACCEPTANCE, Saga
from sagagen.runtime.rpc.caller_claims import claims_of
from sagagen.runtime.rpc.errors import ExpressionError
from sagagen.runtime.scope import Scope
from sagagen.runtime.telemetry.metrics import REFUSED, child
from sagagen.runtime.telemetry.spans import saga_attributes

REPLAYED = ("idempotency-replayed", "true")


class StartEndpoint:
    """Starts one saga, or repeats what was answered when it was started."""

    def __init__(
        self,
        project: str,
        saga: Saga,
        reader: RequestReader,
        entry: Entry,
        engine: SagaRuntime,
        responder: HttpResponder,
        shared: SharedAnswers | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._random = random
        self._project = project
        self._saga = saga
        self._reader = reader
        self._entry = entry
        self._engine = engine
        self._responder = responder
        self._shared = shared

    async def __call__(self, exchange: Exchange) -> Answer:
        identity = await self._entry(exchange)
        key = idempotency_key(exchange.request.headers)
        if not key and self._saga.key == "required":
            raise missing_key()
        body = await exchange.body(self._reader.max_body_bytes)
        data = await self._reader.read(exchange.values, exchange.query, body)
        self._entry.check_request(identity, data)
        acceptance = self._acceptance(exchange, identity, key, data)
        exchange.request.scope[SAGA] = saga_attributes(
            acceptance.saga_id, self._saga.name, self._saga.version
        )
        started = await self._accept(acceptance)
        if self._shared and started.is_new and (self._saga.events or self._saga.cancel):
            self._shared.tell(self._saga, started.saga_id)
        answer = await self._answer(exchange, started, acceptance)
        trace_id = started.trace_id
        if self._shared and (owner := answer.header(OWNER_RUN)):
            asked = await self._shared.find(started.saga_id, owner, exchange.trace)
            answer, trace_id = of_owner(started, acceptance.fingerprint, answer, asked)
        return replace(answer, headers=(*answer.headers, traceparent(exchange.trace, trace_id)))

    def _acceptance(self, exchange: Exchange, identity: Identity, key: str, data: bytes) -> Acceptance:
        trigger, caller = self._saga.trigger.path, identity.caller
        return Acceptance(
            saga=self._saga,
            saga_id=saga_id(self._project, caller, trigger, key) if key else self._random_id(),
            caller=caller,
            key=key,
            fingerprint=fingerprint_of(trigger, data),
            input=data,
            trace=exchange.trace,
            claims=identity.told_claims,
        )

    async def _accept(self, acceptance: Acceptance) -> Started:
        try:
            return await self._engine.accept(acceptance)
        except TooManyRunning as error:
            raise ProblemError(_too_many_running(error)) from error
        except (Overloaded, JournalUnavailable) as error:
            raise ProblemError(_nothing_accepted(error)) from error
        except NotAcceptable as error:
            raise ProblemError(Problem(400, "INVALID_ARGUMENT", "NOT_ACCEPTABLE", str(error))) from error

    async def _answer(self, exchange: Exchange, started: Started, acceptance: Acceptance) -> Answer:
        if started.is_new:
            return await self._first_answer(exchange, started, acceptance)
        if started.fingerprint is None:  # what it was accepted with can't be read yet: this may be a replay
            raise ProblemError(_under_way(started))
        if started.fingerprint != acceptance.fingerprint:
            raise ProblemError(key_reused().of_saga(started.saga_id, started.trace_id))
        if not started.status.is_active and self._is_expired(started):
            raise ProblemError(_expired(started))
        return _replayed(await self._repeated_answer(exchange, started))

    def _random_id(self) -> str:
        return random_saga_id(self._clock.wall_ms(), self._random)

    def _is_expired(self, started: Started) -> bool:
        return self._clock.wall_ms() - started.started_ms > self._saga.retention_s * 1000

    async def _first_answer(self, exchange: Exchange, started: Started, acceptance: Acceptance) -> Answer:
        """The final answer; 202 if the contract does not wait for it, or if it takes too long. That is never stored."""
        is_waited_for = self._saga.respond.after != AT_ACCEPTANCE
        result = started.result or (await self._wait(exchange, started) if is_waited_for else None)
        if result is None:
            return self._accepted(started, acceptance)
        return self._final(started, result)

    def _accepted(self, started: Started, acceptance: Acceptance) -> Answer:
        """202, with the contract's body if that needs no more than is known now."""
        if self._saga.respond.is_known_at_once:
            message = _body(acceptance, started.started_ms)
            if message is not None:
                return self._responder.at_once(self._saga, message, started.saga_id)
        return accepted(self._saga.name, self._saga.version, started.saga_id, started.trace_id)

    async def _repeated_answer(self, exchange: Exchange, started: Started) -> Answer:
        """The first answer again; while there is none, what the contract says of duplicates."""
        result = started.result
        if result is None and self._saga.on_concurrent == "wait":
            result = await self._wait(exchange, started)
        if result is None:
            raise ProblemError(_under_way(started))
        return self._final(started, result)

    def _final(self, started: Started, result: SagaResult) -> Answer:
        return self._responder.answer(self._saga.trigger.path, result, started.saga_id, started.trace_id)

    async def _wait(self, exchange: Exchange, started: Started) -> SagaResult | None:
        """The result; None after `respond.wait`, or when the server stops."""
        wait_s = self._saga.respond.wait_s
        return await self._engine.wait(started.saga_id, wait_s, exchange.closing)


def _body(acceptance: Acceptance, started_ms: int) -> bytes | None:
    """The trigger's response, of the input alone; None if it can't be built, of which the saga's end will tell."""
    saga = acceptance.saga
    assert saga.respond.body, "what is known at once is there"
    scope: Scope[Any] = Scope(
        acceptance.saga_id,
        saga.trigger.request,
        acceptance.input,
        {},
        caller=acceptance.caller,
        claims=claims_of(acceptance.claims),
        started_ms=started_ms,
    )
    try:
        return bytes(saga.respond.body(scope))
    except (ExpressionError, TypeError, ValueError, OverflowError):
        return None


def _replayed(answer: Answer) -> Answer:
    return replace(answer, headers=(*answer.headers, REPLAYED))


def of_owner(
    started: Started, fingerprint: bytes, elsewhere: Answer, found: SharedAnswer | None
) -> tuple[Answer, str]:
    """The answer of the run that owns the saga, and its trace id; `elsewhere` again where there is none yet.

    Raises ProblemError (422) if that run was started with another payload: `fingerprint` is that of this request.
    """
    if found is None:
        return replace(elsewhere, headers=(*elsewhere.headers, retry_after())), started.trace_id
    if found.fingerprint != fingerprint:
        raise ProblemError(key_reused().of_saga(started.saga_id, found.trace_id))
    return _replayed(found.answer), found.trace_id


def _under_way(started: Started) -> Problem:
    return Problem(
        409,
        "ABORTED",
        "IDEMPOTENCY_CONFLICT",
        "the first request with this idempotency key is under way; send this one again a little later",
        headers=(retry_after(), location(started.saga_id)),
    ).of_saga(started.saga_id, started.trace_id)


def _expired(started: Started) -> Problem:
    """As long as the log has the saga, a service may know its steps too: a new one of this id might find them done."""
    return key_expired().of_saga(started.saga_id, started.trace_id)


def _too_many_running(error: TooManyRunning) -> Problem:
    child(REFUSED, "running_sagas").inc()
    detail = (
        f"nothing was accepted ({error}); send the same request with the same key again once one has ended"
    )
    headers = (retry_after(error.retry_after_s),)
    return Problem(429, "RESOURCE_EXHAUSTED", "TOO_MANY_RUNNING", detail, headers=headers)


def _nothing_accepted(error: Exception) -> Problem:
    return Problem(
        503,
        "UNAVAILABLE",
        "NOT_ACCEPTED",
        f"nothing was accepted ({error}); send the same request with the same key again",
        headers=(retry_after(getattr(error, "retry_after_s", RETRY_AFTER_S)),),
    )
