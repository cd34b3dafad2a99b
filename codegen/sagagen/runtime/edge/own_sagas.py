"""`GET /sagas`: a caller's own sagas, newest first, a page at a time."""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence

from sagagen.runtime.clock import rfc3339
from sagagen.runtime.edge.answer import Answer
from sagagen.runtime.edge.entry import Entry
from sagagen.runtime.edge.exchange import Exchange
from sagagen.runtime.edge.problem import Problem, ProblemError, broken_rules
from sagagen.runtime.edge.responder import JSON
from sagagen.runtime.edge.transcoding.request import parameters
from sagagen.runtime.engine.port import CallerQuery, SagaRuntime, SagaSummary, UnknownSaga
from sagagen.runtime.escaping import escaped_json
from sagagen.runtime.identity import ANONYMOUS
from sagagen.runtime.rpc.errors import FieldViolation
from sagagen.runtime.saga.events import SagaStatus
from sagagen.runtime.saga.search import CALLER_PAGE, MAX_CALLER_PAGE

STATUS, PAGE_SIZE, PAGE_TOKEN = "status", "page_size", "page_token"
"""The parameters."""
_WRONG = "INVALID_PARAMETERS"


class OwnSagasEndpoint:
    """Lists the sagas that a caller has started, without payloads. Of others' sagas nobody learns that they exist."""

    def __init__(self, entry: Entry, engine: SagaRuntime) -> None:
        self._entry = entry
        self._engine = engine

    async def __call__(self, exchange: Exchange) -> Answer:
        identity = await self._entry(exchange)
        caller = identity.caller
        if caller in ("", ANONYMOUS):
            # All whom nobody knows have one name: what one of them has started is not another's to see.
            raise ProblemError(_unknown_caller())
        query = query_of(caller, exchange.query)
        try:
            page = await self._engine.of_caller(query)
        except UnknownSaga as error:
            detail = "is of no page that follows: begin again without it"
            raise broken_rules(_WRONG, [FieldViolation(PAGE_TOKEN, detail, "query")]) from error
        members = {"sagas": [_members(each) for each in page.sagas], "next_page_token": page.last or None}
        return Answer(200, JSON, escaped_json(json.dumps(members, ensure_ascii=False)).encode())


def query_of(caller: str, query: bytes) -> CallerQuery:
    """What a query asks for. Raises ProblemError (400), which names each parameter that is wrong."""
    given = parameters(query)
    violations = [
        *_unknown_parameters(given),
        *_repeated(given),
        *_wrong_statuses(given),
        *_wrong_size(given),
    ]
    if violations:
        raise broken_rules(_WRONG, violations)
    names = _names(given)
    return CallerQuery(
        caller,
        statuses=frozenset(map(SagaStatus, names) if names else SagaStatus),
        after=given.get(PAGE_TOKEN, [""])[0],
        limit=int(given.get(PAGE_SIZE, ["0"])[0] or 0) or CALLER_PAGE,
    )


def _names(given: Mapping[str, Sequence[str]]) -> list[str]:
    """`status=RUNNING,STUCK` and `status=RUNNING&status=STUCK` are the same."""
    return [name for text in given.get(STATUS, ()) for name in text.split(",") if name]


def _unknown_parameters(given: Mapping[str, Sequence[str]]) -> Iterator[FieldViolation]:
    known = (STATUS, PAGE_SIZE, PAGE_TOKEN)
    for name in given:
        if name not in known:
            hint = _did_you_mean(name, known)
            yield FieldViolation(name[:60], f"is no parameter of this route{hint}", "query")


def _repeated(given: Mapping[str, Sequence[str]]) -> Iterator[FieldViolation]:
    for name in (PAGE_SIZE, PAGE_TOKEN):
        if len(given.get(name, ())) > 1:
            yield FieldViolation(name, "stands there more than once", "query")


def _wrong_statuses(given: Mapping[str, Sequence[str]]) -> Iterator[FieldViolation]:
    known = [status.value for status in SagaStatus]
    for name in _names(given):
        if name not in known:
            hint = _did_you_mean(name.upper(), known) or f"; there are: {', '.join(known)}"
            yield FieldViolation(STATUS, f"{name[:60]} is no status{hint}", "query")


def _wrong_size(given: Mapping[str, Sequence[str]]) -> Iterator[FieldViolation]:
    for text in given.get(PAGE_SIZE, ()):
        is_number = text.isascii() and text.isdigit() and len(text) < 10
        if text and not (is_number and int(text) <= MAX_CALLER_PAGE):
            yield FieldViolation(PAGE_SIZE, f"is a number from 1 to {MAX_CALLER_PAGE}", "query")


def _did_you_mean(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name[:60], known, n=1)
    return f'; did you mean "{close[0]}"?' if close else ""


def _members(saga: SagaSummary) -> dict[str, object]:
    return {
        "id": saga.saga_id,
        "saga": saga.saga,
        "version": saga.version,
        "status": saga.status,
        "trace_id": saga.trace_id,
        "created_at": rfc3339(saga.created_ms),
        "updated_at": rfc3339(saga.updated_ms),
    }


def _unknown_caller() -> Problem:
    detail = (
        "sagas are listed for a caller whom this gateway knows, and it does not know who sent this; a single saga is "
        "shown by its id"
    )
    return Problem(401, "UNAUTHENTICATED", "CALLER_UNKNOWN", detail)
