"""The gateway's own routes: `GET /sagas/{id}`, `/openapi.json`, `/healthz` and `/readyz`."""

import json
from pathlib import Path

from sagagen.runtime.clock import rfc3339, rfc3339_or_none
from sagagen.runtime.edge.answer import Answer
from sagagen.runtime.edge.entry import CREDENTIALS_MISSING, Entry
from sagagen.runtime.edge.exchange import Exchange
from sagagen.runtime.edge.problem import Problem, ProblemError, retry_after
from sagagen.runtime.edge.responder import JSON
from sagagen.runtime.engine.port import SagaRuntime, SagaView
from sagagen.runtime.escaping import escaped_json
from sagagen.runtime.health import Readiness
from sagagen.runtime.identity import ANONYMOUS
from sagagen.runtime.saga.view import StepView

TEXT = (("content-type", "text/plain; charset=utf-8"),)


class WatchEndpoint:
    """Shows a saga to whoever started it, without payloads.

    One that nobody in particular started, by a public route, is shown to everybody who knows its id and shows nothing.
    """

    def __init__(self, entry: Entry, engine: SagaRuntime) -> None:
        self._entry = entry
        self._engine = engine

    async def __call__(self, exchange: Exchange) -> Answer:
        try:
            caller = (await self._entry(exchange)).caller
        except ProblemError as refusal:
            if refusal.problem.reason != CREDENTIALS_MISSING:
                raise
            view = await self._engine.describe(exchange.values["id"])
            if view is None or view.caller != ANONYMOUS:
                raise
            return _shown(view)
        view = await self._engine.describe(exchange.values["id"])
        # To others it does not exist: whoever may not see it must not learn that it is there.
        if view is None or view.caller != caller:
            raise ProblemError(Problem(404, "NOT_FOUND", "SAGA_NOT_FOUND", "there is no such saga"))
        return _shown(view)


def _shown(view: SagaView) -> Answer:
    return Answer(200, JSON, escaped_json(json.dumps(_members(view), ensure_ascii=False)).encode())


class DocumentEndpoint:
    """`/openapi.json`: the document that was generated beside the descriptors, for everybody."""

    def __init__(self, descriptors: Path) -> None:
        file = descriptors.with_name("openapi.json")
        self._document = file.read_bytes() if file.exists() else b""

    async def __call__(self, exchange: Exchange) -> Answer:
        if not self._document:
            detail = "there is no OpenAPI document: run `sagagen generate`"
            raise ProblemError(Problem(404, "NOT_FOUND", "NO_DOCUMENT", detail))
        return Answer(200, JSON, self._document)


class HealthEndpoint:
    """`/healthz`: the process runs."""

    async def __call__(self, exchange: Exchange) -> Answer:
        return Answer(200, TEXT, b"ok\n")


class ReadyEndpoint:
    """`/readyz`: new sagas are accepted."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    async def __call__(self, exchange: Exchange) -> Answer:
        is_closing = exchange.closing is not None and exchange.closing.done()
        problems = ["gateway: it is stopping"] if is_closing else await self._readiness.problems()
        if problems:
            detail = "; ".join(problems)
            raise ProblemError(Problem(503, "UNAVAILABLE", "NOT_READY", detail, headers=(retry_after(),)))
        return Answer(200, TEXT, b"ready\n")


def _members(view: SagaView) -> dict[str, object]:
    return {
        "id": view.saga_id,
        "saga": view.saga,
        "version": view.version,
        "status": str(view.status),
        "trace_id": view.trace_id,
        "created_at": rfc3339(view.created_at_ms),
        "updated_at": rfc3339(view.updated_at_ms),
        "waiting_for": view.waiting_for or None,
        "starts_at": rfc3339_or_none(view.starts_ms),
        "incomplete": list(view.incomplete),
        "unconsumed": list(view.unconsumed),
        "steps": [_step(step) for step in view.steps],
    }


def _step(step: StepView) -> dict[str, object]:
    return {
        "name": step.name,
        "path": list(step.path),
        "status": str(step.status),
        "attempts": step.attempts,
        "compensation_attempts": step.compensation_attempts,
        "error": step.error or None,
        "event": step.event or None,
        "since": rfc3339_or_none(step.since_ms),
        "until": rfc3339_or_none(step.until_ms),
    }
