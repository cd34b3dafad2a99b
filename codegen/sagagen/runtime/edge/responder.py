"""The final answers of sagas, rendered as they are stored and replayed: pure, so recovery renders the same bytes."""

import json
from collections.abc import Mapping

from sagagen.runtime.edge.json.protojson import JsonWriter
from sagagen.runtime.edge.problem import COMPENSATED, HTTP_STATUS, Problem
from sagagen.runtime.edge.transcoding.request import RouteError
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Mesh, Saga, final_status
from sagagen.runtime.rpc.errors import Code
from sagagen.runtime.saga.answer import Answer
from sagagen.runtime.scope import Failure

JSON = (("content-type", "application/json"),)
ELSEWHERE = "SAGA_ELSEWHERE"
OWNER_RUN = "saga-owner-run"
"""Header of SAGA_ELSEWHERE: the run that owns the saga. Gateways find its answer by it (`shared_answers.py`)."""
KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"


class HttpResponder:
    """Implements `runtime.answer.Responder` for a mesh."""

    def __init__(self, mesh: Mesh, schema: Schema) -> None:
        """Raises RouteError where the bindings of one trigger answer with different fields."""
        fields = _response_fields(mesh)
        self._writers = {
            (saga.trigger.path, saga.trigger.response_name): JsonWriter(
                schema.message_type(saga.trigger.response_name), fields.get(saga.trigger.path, "")
            )
            for saga in mesh.sagas
        }

    def success(self, saga: Saga, saga_id: str, body: bytes, trace_id: str) -> Answer:
        """The trigger's response as JSON, with the contract's status."""
        writer = self._writers[saga.trigger.path, saga.trigger.response_name]
        return Answer(final_status(saga.respond.status), (*JSON, _monitor(saga_id)), writer.write(body))

    def failure(self, saga: Saga, saga_id: str, failure: Failure, trace_id: str, *, refused: bool) -> Answer:
        """A service's refusal by its own code, as a 4xx; anything else as 502 SAGA_COMPENSATED."""
        problem = _refused(failure) if refused else _compensated(failure)
        return _answer(problem, saga_id, trace_id, failure.step)

    def superseded(
        self, saga: Saga, saga_id: str, trace_id: str, *, owner_run: str, is_other_payload: bool
    ) -> Answer:
        """Another gateway's run owns the saga: 409 SAGA_ELSEWHERE, or 422 if it was started with another payload."""
        problem = key_reused() if is_other_payload else _elsewhere(owner_run)
        return _answer(problem, saga_id, trace_id, "")


def accepted(saga: Saga, saga_id: str, trace_id: str) -> Answer:
    """202: the saga exists and goes on; where to see how it ends."""
    members = {"id": saga_id, "saga": saga.name, "version": saga.version, "trace_id": trace_id}
    return Answer(202, (*JSON, location(saga_id)), json.dumps(members).encode())


def _monitor(saga_id: str) -> tuple[str, str]:
    """RFC 8288, relation `monitor`: Location would name what the request made, which only the contract knows."""
    return "link", f'</sagas/{saga_id}>; rel="monitor"'


def location(saga_id: str) -> tuple[str, str]:
    """Where the saga can be watched."""
    return "location", f"/sagas/{saga_id}"


def key_reused() -> Problem:
    """draft-ietf-httpapi-idempotency-key-header-07, section 2.7: 422 for a key that comes with another payload."""
    return Problem(
        422,
        "INVALID_ARGUMENT",
        KEY_REUSED,
        "this idempotency key was used before, with another request; use a new one",
    )


def _elsewhere(owner_run: str) -> Problem:
    detail = (
        "another gateway took the request with this idempotency key; this one had no effect: ask that one"
    )
    headers = ((OWNER_RUN, owner_run),) if owner_run else ()
    return Problem(409, "ABORTED", ELSEWHERE, detail, headers=headers)


def _refused(failure: Failure) -> Problem:
    status = HTTP_STATUS.get(Code[failure.code], 409) if failure.code in Code.__members__ else 409
    return Problem(
        status if 400 <= status < 500 else 409,
        failure.code,
        failure.reason,
        failure.message or f"the step {failure.step} was refused",
    )


def _compensated(failure: Failure) -> Problem:
    cause = f"{failure.reason}: {failure.message}" if failure.message else failure.reason
    detail = (
        f"the step {failure.step} failed ({cause}), so everything before it is undone; this answer is final: "
        "to try again, use a new idempotency key"
    )
    return Problem(502, failure.code, COMPENSATED, detail)


def _answer(problem: Problem, saga_id: str, trace_id: str, step: str) -> Answer:
    return problem.of_saga(saga_id, trace_id, step).answer()


def _response_fields(mesh: Mesh) -> Mapping[str, str]:
    """What the routes of each trigger take from its response. The answer is stored once, so all must take the same."""
    fields: dict[str, str] = {}
    for route in mesh.routes:
        if (
            route.starts_saga
            and fields.setdefault(route.method.path, route.response_body) != route.response_body
        ):
            raise RouteError(
                f"{route.template}: every route of {route.method.path} needs the same response_body"
            )
    return fields
